//! `memtool dump`: physical memory, RAM only.

use super::{Context, Verdict, complain, size};
use clap::Args;
use memtool::dump::map_file::MapFile;
use memtool::dump::{self, Report};
use memtool::host::Host;
use memtool::memory_map::Source;
use memtool::output_file::OutputFile;
use memtool::units::{Hex, exact_size};
use memtool::{Error, Result};
use serde::Serialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Unreadable ranges that are listed without `-v`.
const LISTED: usize = 10;

#[derive(Args)]
#[command(
    after_help = "The output is raw: the segments of RAM one after another. The map tells which addresses its bytes come from. What cannot be read is left out of both and reported."
)]
pub struct Arguments {
    /// Write to a file, which appears whole or not at all; otherwise, or with '-', to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the map to a file, '-' for standard error: lines of '0xstart 0xend', the end exclusive
    #[arg(short, long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Bytes in a read
    #[arg(short, long, value_name = "SIZE", value_parser = size, default_value = "1m")]
    buffer: u64,
    /// Replace the files if they are there
    #[arg(long, requires = "output")]
    force: bool,
}

#[derive(Serialize)]
struct Document {
    file: String,
    memory_map: Source,
    written: u64,
    unreadable: Vec<Range>,
    unreadable_bytes: u64,
}

#[derive(Serialize)]
struct Range {
    start: Hex,
    end: Hex,
}

/// Whether two names stand for one file.
fn same_name(a: &Path, b: &Path) -> bool {
    let resolved = |path: &Path| {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some((directory.canonicalize().ok()?, path.file_name()?.to_owned()))
    };
    resolved(a).is_some_and(|a| resolved(b) == Some(a))
}

pub fn run(context: &mut Context, host: &dyn Host, arguments: &Arguments) -> Result<Verdict> {
    let file = arguments.output.as_deref().filter(|path| path.as_os_str() != "-");
    if let (Some(output), Some(map)) = (file, &arguments.map)
        && same_name(output, map)
    {
        return Err(Error::Refused("the dump and its map cannot be one file".to_owned()));
    }
    if file.is_none() {
        if context.out.is_json() {
            return Err(Error::Refused("--json and the dump cannot share standard output; give -o FILE".to_owned()));
        }
        if context.out.is_terminal() {
            return Err(Error::Refused(
                "standard output is a terminal, and a dump is binary; send it to a pipe, or give -o FILE".to_owned(),
            ));
        }
    }
    let memory_map = host.memory_map()?;
    if memory_map.source == Source::PhysSegs {
        context
            .warn("the memory map comes from vm.phys_segs, which leaves out what the kernel took for itself at boot");
    }
    let output = file.map(|path| OutputFile::create(path, arguments.force)).transpose()?;
    let to_stderr = arguments.map.as_deref().is_some_and(|path| path.as_os_str() == "-");
    let map = match arguments.map.as_deref() {
        Some(path) if !to_stderr => Some(OutputFile::create(path, arguments.force)?),
        _ => None,
    };
    let mut stderr = io::stderr();
    let mut map_file = map.as_ref().map(|map| io::BufWriter::new(map.file()));
    let mut map_writer = match &mut map_file {
        Some(file) => Some(MapFile::new(file)),
        None if to_stderr => Some(MapFile::new(&mut stderr)),
        None => None,
    };

    let memory = host.physical_memory()?;
    let page_size = u64::from(host.system()?.page_size);
    let buffer = usize::try_from(arguments.buffer).unwrap_or(usize::MAX);
    let segments = &memory_map.segments;
    let mut to_file = output.as_ref().map(OutputFile::file);
    let out: &mut dyn Write = match &mut to_file {
        Some(file) => file,
        None => context.out.writer(),
    };
    let report = dump::raw(&*memory, segments, page_size, buffer, out, map_writer.as_mut())?;
    drop(map_file);
    if report.written == 0 {
        return Err(Error::Refused("none of the RAM can be read, so there is no dump".to_owned()));
    }
    if let Some(output) = output {
        output.commit()?;
    }
    if let Some(map) = map {
        map.commit()?;
    }
    finish(context, host, file, memory_map.source, &report)?;
    Ok(Verdict::Done)
}

fn finish(context: &mut Context, host: &dyn Host, file: Option<&Path>, source: Source, report: &Report) -> Result<()> {
    let unreadable_bytes = report.unreadable_bytes();
    if unreadable_bytes > 0 {
        let listed = if context.global.verbose > 0 { usize::MAX } else { LISTED };
        for (start, end) in report.unreadable.iter().take(listed) {
            context.warn(&format!("{}..{} cannot be read and is not in the dump", Hex(*start), Hex(*end)));
        }
        if let Some(more) = report.unreadable.len().checked_sub(listed).filter(|more| *more > 0) {
            context.warn(&format!("and {more} more ranges; -v lists them"));
        }
        // Not a remark that -q may take away: the dump is not all of RAM.
        complain(&format!("warning: {} of RAM could not be read", exact_size(unreadable_bytes.into())));
    }
    let Some(file) = file else { return Ok(()) };
    if context.out.is_json() {
        let document = Document {
            file: file.display().to_string(),
            memory_map: source,
            written: report.written,
            unreadable: report
                .unreadable
                .iter()
                .map(|(start, end)| Range { start: Hex(*start), end: Hex(*end) })
                .collect(),
            unreadable_bytes,
        };
        return context.out.document("memtool.dump", host, &document);
    }
    if context.global.quiet {
        return Ok(());
    }
    let whose = if host.as_recorded().is_some() { " of a recorded machine" } else { "" };
    context.out.line(&format!("{}: {} bytes{whose}, memory map from {}", file.display(), report.written, source.name()))
}
