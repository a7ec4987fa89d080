//! `memtool report`: all that a dump tells of a crash.

use super::dmesg::MessagesDocument;
use super::inspect::KernelHeader;
use super::kernel::{KernelArguments, Opened, RootArguments, open_memory};
use super::ps::{KernelDocument, ProcessDocument};
use super::stack::StackDocument;
use super::{Context, Verdict, seekable};
use clap::Args;
use memtool::files;
use memtool::output_file::{self, OutputFile, scratch, temporary_directory};
use memtool::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use vmcore::debug_info::DebugInfo;
use vmcore::dump::{Container, Content, Damage, Depth, inspect_packed};
use vmcore::kerneldump;
use vmcore::messages::Message;
use vmcore::progress::Progress;
use vmcore::report::{Basis, DumpSummary, Report, html, text};
use vmcore::symbols::KernelFile;
use vmcore::text::Name;
use vmcore::units::Hex;

#[derive(Args)]
#[command(
    after_help = "Debug information is used where it is found, and not required. Exit codes: 0 the report is complete, 1 part of it is missing: it says why."
)]
pub struct Arguments {
    /// Report on this dump, or on the one on this dump device
    #[arg(value_name = "VMCORE", value_parser = seekable())]
    core: PathBuf,
    /// Read symbols from this kernel image, such as /boot/kernel/kernel
    #[arg(short = 'N', long, value_name = "FILE", value_parser = seekable())]
    kernel: Option<PathBuf>,
    /// Write the report to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file of --output if it exists
    #[arg(short, long, requires = "output")]
    force: bool,
    /// Write one HTML file, for a browser, that needs no other file
    #[arg(long)]
    pub html: bool,
    #[command(flatten)]
    root: RootArguments,
}

/// What JSON says that it is about.
const IMAGE: &str = "image";
/// The schema of a report.
const SCHEMA: &str = "memtool.report";

#[derive(Serialize)]
struct Document<'a> {
    dump: DumpDocument<'a>,
    symbol_file: Option<Name>,
    kernel: Option<KernelDocument>,
    panic: Option<Name>,
    fingerprint: Option<FingerprintDocument<'a>>,
    dumping_thread: Option<i32>,
    stack: Option<StackDocument>,
    on_cpu: Vec<StackDocument>,
    stacks: Vec<StackDocument>,
    processes: Option<Vec<ProcessDocument>>,
    message_buffer: Option<MessagesDocument>,
    /// Of the message that the panic begins with.
    panic_message_index: Option<usize>,
    variables: Option<BTreeMap<&'static str, u64>>,
    modules: Option<Vec<ModuleDocument<'a>>>,
    missing: Vec<Missing>,
}

#[derive(Serialize)]
struct DumpDocument<'a> {
    input: Name,
    description: &'a str,
    place: Container,
    size: u64,
    compression: kerneldump::Compression,
    header: Option<KernelHeader>,
    damage: &'a [Damage],
    limits: &'a [Damage],
}

#[derive(Serialize)]
struct FingerprintDocument<'a> {
    value: &'a str,
    basis: &'static str,
    parts: &'a [String],
}

#[derive(Serialize)]
struct ModuleDocument<'a> {
    name: &'a str,
    path: Name,
    address: Hex,
}

/// What a report does not have.
#[derive(Serialize)]
struct Missing {
    part: &'static str,
    why: String,
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    if let Some(output) = &arguments.output {
        output_file::check(output, arguments.force)?;
    }
    let mut information = DebugInfo::new(arguments.root.search()?);
    let (dump, mut opened) = arguments.open(context)?;
    if let Ok(opened) = &mut opened {
        arguments.root.apply(&mut opened.kernel);
    }
    let kernel = opened.as_mut().map(|opened| &mut opened.kernel).map_err(|why| why.clone());
    let report = Report::collect(dump, kernel, &mut information);
    if let Ok(opened) = &mut opened {
        opened.warn(context);
    }
    information.take_warnings().iter().for_each(|warning| context.warn(warning));
    arguments.write(context, &report, opened.as_ref().ok())?;
    Ok(if report.is_complete() { Verdict::Done } else { Verdict::Failed })
}

impl Arguments {
    /// The dump, and its kernel or why there is none.
    fn open(&self, context: &mut Context) -> Result<(DumpSummary, Result<Opened, String>)> {
        let name = self.core.display().to_string();
        let kernel = KernelArguments { core: Some(self.core.clone()), kernel: self.kernel.clone(), segments: None };
        let image = kernel.image()?;
        let directory = temporary_directory();
        let (memory, why) = match kernel.open_core(context, &self.core, Default::default(), &directory) {
            Ok(memory) => (Some(memory), String::new()),
            Err(error) => (None, error.to_string()),
        };
        let Some(memory) = memory else {
            let volume = files::open_dump_or_input(&self.core, &directory, context)?;
            let inspection = inspect_packed(&volume, Depth::Quick, scratch(&directory), &Progress::default())?;
            if inspection.content == Content::Unknown {
                return Err(Error::Refused(format!("{name}: {why}")));
            }
            return Ok((DumpSummary::new(&name, &inspection), Err(why)));
        };
        let dump = DumpSummary::new(&name, memory.inspection());
        let is_known = memory.inspection().content != Content::Unknown;
        match open_memory(context, &self.core, memory, image) {
            Err(error) if is_known => Ok((dump, Err(error.to_string()))),
            opened => Ok((dump, Ok(opened?))),
        }
    }

    /// Writes the report to where it is wanted.
    fn write(&self, context: &mut Context, report: &Report, opened: Option<&Opened>) -> Result<()> {
        let Some(path) = &self.output else {
            if context.out.is_json() {
                return context.out.document_of(SCHEMA, IMAGE, &self.document(report, opened));
            }
            let mut written = Vec::new();
            self.write_sections(report, &mut written)
                .map_err(|source| Error::Io { what: "write the report".to_owned(), source })?;
            return context.out.bytes(&written);
        };
        let output = OutputFile::create(path, self.force)?;
        let mut file = BufWriter::new(output.file());
        let written = if context.out.is_json() {
            context.out.write_document(&mut file, SCHEMA, IMAGE, &self.document(report, opened))
        } else {
            self.write_sections(report, &mut file)
        };
        written.and_then(|()| file.flush()).map_err(|source| Error::io("write", path, source))?;
        drop(file);
        output.commit()
    }

    /// Writes the report for people.
    fn write_sections(&self, report: &Report, out: &mut dyn Write) -> io::Result<()> {
        if self.html {
            html::write(&report.head(), &report.sections(), out)
        } else {
            text::write(&report.title(), &report.sections(), out)
        }
    }

    fn document<'a>(&self, report: &'a Report, opened: Option<&Opened>) -> Document<'a> {
        let stack = |found: &vmcore::report::ReportStack| StackDocument::new(&found.stack, &found.calls);
        let all = |stacks: &[vmcore::report::ReportStack]| stacks.iter().map(stack).collect();
        let facts = report.facts.as_ref().ok();
        let messages = report.messages.as_ref().ok();
        let all_messages: Vec<Message<'_>> = messages.into_iter().flat_map(|buffer| buffer.lines()).collect();
        let image = report.image.as_deref().ok().filter(|image: &&Path| !image.as_os_str().is_empty());
        let processes = report.processes.as_ref().ok();
        Document {
            dump: dump_document(&self.core, &report.dump),
            symbol_file: image.map(Name::from),
            kernel: opened.zip(facts).map(|(opened, facts)| KernelDocument::new(opened.kernel.memory(), facts)),
            panic: report.panic.as_deref().map(Name::from),
            fingerprint: report.fingerprint.as_ref().ok().map(fingerprint_document),
            dumping_thread: processes.and_then(|processes| processes.dumping),
            stack: report.stacks.dumping.as_ref().map(stack),
            on_cpu: all(&report.stacks.on_cpu),
            stacks: all(&report.stacks.others),
            processes: processes.map(|processes| processes.list.iter().map(ProcessDocument::new).collect()),
            message_buffer: messages.map(|buffer| MessagesDocument::new(buffer, all_messages.iter())),
            panic_message_index: report.panic_message(&all_messages),
            variables: report
                .numbers
                .as_ref()
                .ok()
                .map(|numbers| numbers.iter().map(|number| (number.variable, number.value)).collect()),
            modules: report.modules.as_ref().ok().map(|listing| listing.files.iter().map(module_document).collect()),
            missing: missing(report),
        }
    }
}

fn dump_document<'a>(path: &Path, dump: &'a DumpSummary) -> DumpDocument<'a> {
    DumpDocument {
        input: path.into(),
        description: &dump.description,
        place: dump.place,
        size: dump.size,
        compression: dump.compression,
        header: dump.header.as_ref().map(KernelHeader::new),
        damage: &dump.damage,
        limits: &dump.limits,
    }
}

fn fingerprint_document(fingerprint: &vmcore::report::Fingerprint) -> FingerprintDocument<'_> {
    let basis = match fingerprint.basis {
        Basis::Stack => "stack",
        Basis::PanicMessage => "panic-message",
    };
    FingerprintDocument { value: &fingerprint.value, basis, parts: &fingerprint.parts }
}

fn module_document(file: &KernelFile) -> ModuleDocument<'_> {
    ModuleDocument { name: &file.name, path: file.path.as_str().into(), address: Hex(file.address) }
}

/// The parts that are missing.
fn missing(report: &Report) -> Vec<Missing> {
    let why = |why: &String| why.clone();
    let parts = [
        ("symbol-file", report.image.as_ref().err().map(why)),
        ("kernel", report.facts.as_ref().err().map(why)),
        ("fingerprint", report.fingerprint.as_ref().err().map(ToString::to_string)),
        ("processes", report.processes.as_ref().err().map(why)),
        ("messages", report.messages.as_ref().err().map(why)),
        ("variables", report.numbers.as_ref().err().map(why)),
        ("modules", report.modules.as_ref().err().map(why)),
    ];
    parts.into_iter().filter_map(|(part, why)| Some(Missing { part, why: why? })).collect()
}
