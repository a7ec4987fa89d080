//! `memtool map`: a picture of physical memory.

mod collect;
mod files;
mod picture;
mod ranges;

use super::kernel::{KernelArguments, RootArguments};
use super::{Context, Verdict, pid_or_kernel, seekable};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use memtool::Result;
use std::path::PathBuf;
use vmcore::physical_map::{Layer, LayerName, PhysicalMap};

#[derive(Args)]
#[command(
    after_help = "In a pipe, each range of each layer is a line with its exact addresses. For the memory map of a process by virtual addresses, see 'maps'. Exit codes: 0 success, 1 failure, a damaged dump, or a layer that was asked for is missing, 2 usage error."
)]
pub struct Arguments {
    #[command(flatten)]
    pub kernel: KernelArguments,
    #[command(flatten)]
    root: RootArguments,
    /// Draw these layers only, such as 'memory,types'
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = layer_names(), hide_possible_values = true)]
    layers: Vec<LayerName>,
    /// Draw where the pages of a process lie; 0 is the kernel
    #[arg(long, value_name = "PID", value_parser = pid_or_kernel, conflicts_with = "file")]
    pid: Option<i32>,
    /// Map a file and draw where its pages lie
    #[arg(long, value_name = "PATH", value_parser = seekable(), conflicts_with = "core")]
    file: Option<PathBuf>,
    /// Fault in every page of the file first
    #[arg(long, requires = "file")]
    touch: bool,
    /// Write the picture as one HTML file that zooms; '-' is standard output
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the picture as an SVG file; '-' is standard output
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Draw with ASCII characters, also where no terminal reads
    #[arg(long)]
    ascii: bool,
}

/// Parses the name of a layer.
fn layer_names() -> impl TypedValueParser<Value = LayerName> {
    let value = |name: &LayerName| PossibleValue::new(name.name()).help(name.title());
    PossibleValuesParser::new(LayerName::ALL.iter().map(value)).try_map(|text| {
        let found = LayerName::ALL.iter().find(|name| name.name() == text);
        found.copied().ok_or("there is no such layer")
    })
}

impl Arguments {
    /// What clap cannot check.
    pub fn check(&self, json: bool) -> Result<(), String> {
        let to_output = |file: &Option<PathBuf>| file.as_ref().is_some_and(|file| file.as_os_str() == "-");
        match (to_output(&self.html), to_output(&self.svg)) {
            (true, true) => Err("--html and --svg cannot share standard output; give a file".to_owned()),
            (true, _) if json => Err("--json and --html - cannot share standard output; give a file".to_owned()),
            (_, true) if json => Err("--json and --svg - cannot share standard output; give a file".to_owned()),
            _ => Ok(()),
        }
    }

    /// Whether the picture goes into files, and none is drawn.
    fn writes_files(&self) -> bool {
        self.html.is_some() || self.svg.is_some()
    }

    /// The layers to draw.
    fn wanted(&self) -> Vec<LayerName> {
        LayerName::ALL.into_iter().filter(|name| self.layers.is_empty() || self.layers.contains(name)).collect()
    }

    /// Layers without which the command fails, because an option asks for them.
    fn required(&self) -> Vec<LayerName> {
        let mut required = self.layers.clone();
        if self.kernel.names_core() {
            required.push(LayerName::Dump);
        }
        if self.pid.is_some() || self.file.is_some() {
            required.push(LayerName::Process);
        }
        required
    }
}

/// Prints the picture on a terminal, and elsewhere the ranges.
fn draw(context: &mut Context, map: &PhysicalMap, kind: &str, is_ascii: bool) -> Result<()> {
    if context.out.is_terminal() || is_ascii {
        picture::print(context, map, kind, is_ascii)
    } else {
        ranges::print(context, map)
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    files::check(arguments)?;
    let collect::Collected { map, kind, is_whole } = collect::collect(context, arguments)?;
    let required = arguments.required();
    let missing: Vec<_> = map.absent.iter().filter(|absent| required.contains(&absent.name)).collect();
    for absent in &missing {
        context.warn_always(&format!("there is no layer '{}': {}", absent.name.name(), absent.why));
    }
    let pages = map.layer(LayerName::Process).map_or(0, Layer::bytes);
    if let Some(path) = arguments.file.as_ref().filter(|_| pages == 0 && !arguments.touch) {
        context.remark(&format!("no page of {} is mapped: --touch faults them in", path.display()));
    }
    if context.out.is_json() {
        context.out.document_of("memtool.map", kind, &map)?;
    } else if !arguments.writes_files() {
        draw(context, &map, kind, arguments.ascii)?;
    }
    files::write(context, arguments, &map, kind)?;
    Ok(if missing.is_empty() && is_whole { Verdict::Done } else { Verdict::Failed })
}
