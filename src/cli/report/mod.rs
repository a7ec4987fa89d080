//! `memtool report`: all that a dump tells of a crash, or a kernel that runs of itself.

mod map;

#[cfg(feature = "archive")]
use super::crash::OpeningArguments;
use super::crash::{Crash, CrashArguments};
use super::destination::{RemoteArguments, destination, remark_on_delivery};
use super::dmesg::MessagesDocument;
use super::encryption::{RecipientArguments, check_terminal};
use super::inspect::KernelHeader;
use super::kernel::{IMAGE, Opened};
use super::output::RECORDED;
use super::ps::{KernelDocument, ProcessDocument};
use super::stack::StackDocument;
use super::{Context, Inputs, Verdict};
use clap::Args;
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use memtool::crash_dump::CrashDump;
use memtool::dump::destination::Destination;
use memtool::encryption::{EncryptingWriter, Recipients};
use memtool::output_file;
use memtool::save::directory::{SaveDirectory, report_name};
use memtool::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use vmcore::debug_info::DebugInfo;
use vmcore::dump::{Container, Damage, TextFile};
use vmcore::inventory::{Inventory, NoSection, SectionData, SectionName};
use vmcore::kernel::DebuggerOutput;
use vmcore::kerneldump;
use vmcore::messages::Message;
use vmcore::report::section::Section;
use vmcore::report::{Basis, DumpSummary, INVENTORY, REPORT_SECTIONS, Report, Subject, html, text};
use vmcore::symbols::KernelFile;
use vmcore::text::Name;
use vmcore::units::Hex;

#[derive(Args)]
#[command(
    after_help = "Debug information is used where it is found, and not required. Exit codes: 0 the report is complete, 1 part of it is missing: it says why."
)]
pub struct Arguments {
    #[command(flatten)]
    pub crash: CrashArguments,
    /// Report on the running kernel instead of a dump
    #[arg(long, conflicts_with_all = ["vmcore", "core", "number", "dir", "partition", "private_key", "batch"])]
    pub running: bool,
    /// Write the report to core.txt.N beside the dump, as crashinfo(8) does
    #[arg(short, long, conflicts_with_all = ["output", "html"])]
    batch: bool,
    /// Write the report to a file, or to an address, instead of standard output
    #[arg(short, long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(destination))]
    output: Option<Destination>,
    #[command(flatten)]
    remote: RemoteArguments,
    /// Replace the file of --output if it exists
    #[arg(short, long, requires = "output")]
    force: bool,
    /// Report these sections only, such as 'panic,stack,vmstat-m'; 'all' adds those that are otherwise left out
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = section_names(), hide_possible_values = true)]
    sections: Vec<String>,
    /// Write one HTML file, for a browser, that needs no other file
    #[arg(long)]
    pub html: bool,
    #[command(flatten)]
    recipients: RecipientArguments,
}

/// The schema of a report.
const SCHEMA: &str = "memtool.report";

#[derive(Serialize)]
struct Document<'a> {
    hostname: Option<Name>,
    dump: Option<DumpDocument<'a>>,
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
    configuration: Option<Name>,
    modules: Option<Vec<ModuleDocument<'a>>>,
    debugger_output: Option<DebuggerDocument>,
    inventory: Option<&'a Inventory>,
    text_files: Vec<TextFileDocument<'a>>,
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
    hostname: Option<Name>,
    version_string: Option<Name>,
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

/// What the kernel's debugger has printed.
#[derive(Serialize)]
struct DebuggerDocument {
    text: Name,
    full: bool,
    bytes_missing: u64,
}

/// A file of a text dump.
#[derive(Serialize)]
struct TextFileDocument<'a> {
    name: &'a Name,
    text: Name,
    bytes_missing: u64,
}

/// What a report does not have.
#[derive(Serialize)]
struct Missing {
    part: &'static str,
    why: String,
}

/// The name of all sections.
const ALL: &str = "all";
/// The section with the picture of memory, which is in front of another one.
const MAP: &str = "map";
const BEHIND_MAP: &str = "configuration";

/// Parses the name of a section of a report.
fn section_names() -> PossibleValuesParser {
    let of_kernel = SectionName::ALL.iter().map(|name| name.name());
    PossibleValuesParser::new([ALL].into_iter().chain(REPORT_SECTIONS).chain(of_kernel))
}

/// A report that is kept with its dump.
#[cfg(feature = "archive")]
pub struct KeptReport {
    /// The report as JSON.
    pub json: Vec<u8>,
    pub report: Report,
    /// The kernel that was used.
    pub kernel: Option<PathBuf>,
}

#[cfg(feature = "archive")]
impl KeptReport {
    /// Reports on a dump.
    pub fn collect(context: &mut Context, opening: &OpeningArguments, files: CrashDump) -> Result<Self> {
        let first_warning = context.out.warning_count();
        let mut information = DebugInfo::new(opening.root.search()?);
        let Crash { files, dump, kernel: mut opened } = opening.open(context, files)?;
        if let Ok(opened) = &mut opened {
            opened.load_own_types_if_any(context);
        }
        let kernel = opened.as_mut().map(|opened| &mut opened.kernel).map_err(|why| why.clone());
        let sections: Vec<SectionName> =
            SectionName::ALL.iter().copied().filter(|name| !name.is_on_request()).collect();
        let report = Report::collect(Subject::Dump(Box::new(dump)), kernel, &mut information, &sections);
        if let Ok(opened) = &mut opened {
            opened.warn(context);
        }
        information.take_warnings().iter().for_each(|warning| context.warn(warning));
        let mut json = Vec::new();
        let content = document(Some(&files.core), &report, opened.as_ref().ok());
        let written = context.out.write_document(&mut json, SCHEMA, IMAGE, &content, first_warning);
        written.map_err(|source| Error::Io { what: "write the report".to_owned(), source })?;
        drop(content);
        let image = report.image.as_ref().ok().and_then(Option::as_deref).map(Path::to_owned);
        Ok(Self { json, report, kernel: image })
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let recipients = arguments.recipients.read()?;
    match &arguments.output {
        Some(output) => output.file().map_or(Ok(()), |file| output_file::check(file, arguments.force))?,
        None if arguments.batch => {}
        None => check_terminal(context, &recipients)?,
    }
    let mut information = DebugInfo::new(arguments.crash.opening.root.search()?);
    let files = if arguments.running { None } else { Some(arguments.crash.find(context)?) };
    let for_batch = files.as_ref().filter(|_| arguments.batch);
    let saved = for_batch.map(|files| Saved::new(files, recipients.clone())).transpose()?;
    let (subject, core, mut opened) = match files {
        Some(files) => {
            let Crash { files, dump, kernel } = arguments.crash.opening.open(context, files)?;
            (Subject::Dump(Box::new(dump)), Some(files.core), kernel)
        }
        None => {
            let (subject, kernel) = arguments.crash.opening.open_running(context)?;
            (subject, None, Ok(kernel))
        }
    };
    if let Ok(opened) = &mut opened {
        opened.load_own_types_if_any(context);
    }
    let kernel = opened.as_mut().map(|opened| &mut opened.kernel).map_err(|why| why.clone());
    let report = Report::collect(subject, kernel, &mut information, &arguments.inventory());
    if let Ok(opened) = &mut opened {
        opened.warn(context);
    }
    information.take_warnings().iter().for_each(|warning| context.warn(warning));
    let is_for_people = saved.is_some() || !context.out.is_json();
    let map = (is_for_people && arguments.has_map()).then(|| map::section(context, opened.as_ref()));
    let sections = if is_for_people { arguments.shown(&report, map) } else { Vec::new() };
    let is_there = |name: &String| name == ALL || sections.iter().any(|section| section.id == name);
    let missing: Vec<&String> = arguments.sections.iter().filter(|name| is_for_people && !is_there(name)).collect();
    missing.iter().for_each(|name| context.warn_always(&format!("this report has no section '{name}'")));
    match saved {
        Some(saved) => saved.write(context, &arguments.written(&report, &sections)?)?,
        None => arguments.write(context, &recipients, core.as_deref(), (&report, &sections), opened.as_ref().ok())?,
    }
    Ok(if report.is_complete() && missing.is_empty() { Verdict::Done } else { Verdict::Failed })
}

/// A report that is saved beside its dump.
struct Saved {
    directory: SaveDirectory,
    number: u32,
    recipients: Recipients,
}

impl Saved {
    /// The report of a dump with a number, before anything is read.
    fn new(files: &CrashDump, recipients: Recipients) -> Result<Self> {
        let unknown = || {
            let core = files.core.display();
            Error::Refused(format!("the name of {core} has no number, as vmcore.0 has, which --batch requires"))
        };
        let number = files.number.ok_or_else(unknown)?;
        let saved = Self { directory: SaveDirectory::open(&files.directory)?, number, recipients };
        output_file::check(&saved.path(), true)?;
        Ok(saved)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join(report_name(self.number, !self.recipients.is_empty()))
    }

    fn write(&self, context: &mut Context, report: &[u8]) -> Result<()> {
        let report = encrypted(report, &self.recipients)?;
        let (path, problem) = self.directory.save_report(self.number, &report, !self.recipients.is_empty())?;
        if !context.global.quiet {
            context.out.line(&format!("Wrote crash summary to {}.", path.display()))?;
        }
        problem.iter().for_each(|problem| context.warn(&problem.to_string()));
        Ok(())
    }
}

/// A report that is encrypted, or as it is for nobody.
fn encrypted(report: &[u8], recipients: &Recipients) -> Result<Vec<u8>> {
    let write = || {
        let mut writer = EncryptingWriter::new(Vec::new(), recipients)?;
        writer.write_all(report)?;
        writer.finish()
    };
    write().map_err(|source| Error::Io { what: "encrypt the report".to_owned(), source })
}

impl Arguments {
    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> Inputs<'_> {
        let private_key = ("--private-key", self.crash.opening.private_key.as_ref());
        let files =
            [private_key].into_iter().chain(self.crash.opening.identities.inputs()).chain(self.recipients.inputs());
        files.chain(self.remote.inputs()).collect()
    }

    /// What clap cannot check.
    pub fn check(&self, json: bool) -> Result<(), String> {
        if self.batch && json {
            return Err("--batch writes the report as text; use --json with --output or alone".to_owned());
        }
        if self.output == Some(Destination::StandardOutput) {
            return Err(
                "--output: '-' is not allowed here; without --output the report goes to standard output".to_owned()
            );
        }
        self.remote.check(self.output.as_ref())
    }

    /// What is reported of all that the kernel counts and holds.
    fn inventory(&self) -> Vec<SectionName> {
        let is_chosen = |name: &SectionName| match self.sections.as_slice() {
            [] => !name.is_on_request(),
            _ => self.is_shown(name.name()),
        };
        SectionName::ALL.iter().copied().filter(is_chosen).collect()
    }

    /// Whether a section is wanted, by its name.
    fn is_shown(&self, id: &str) -> bool {
        self.sections.is_empty() || self.sections.iter().any(|wanted| wanted == id || wanted == ALL)
    }

    /// What JSON says that the report is about.
    fn kind(&self, context: &Context, opened: Option<&Opened>) -> &'static str {
        match opened.filter(|_| self.running) {
            Some(opened) => opened.kind,
            None if context.global.machine.is_some() => RECORDED,
            None => IMAGE,
        }
    }

    /// Whether there is a picture of memory: pages have one, text only if it is asked for.
    fn has_map(&self) -> bool {
        if self.sections.is_empty() { self.html } else { self.is_shown(MAP) }
    }

    /// Writes the report to where it is wanted.
    fn write(
        &self,
        context: &mut Context,
        recipients: &Recipients,
        core: Option<&Path>,
        (report, sections): (&Report, &[Section]),
        opened: Option<&Opened>,
    ) -> Result<()> {
        let write = |context: &Context, mut out: &mut dyn Write| match context.out.is_json() {
            true => context.out.write_document(
                &mut out,
                SCHEMA,
                self.kind(context, opened),
                &document(core, report, opened),
                0,
            ),
            false => self.write_sections(report, sections, out),
        };
        let Some(output) = &self.output else {
            if context.out.is_json() && recipients.is_empty() {
                let kind = self.kind(context, opened);
                return context.out.document_of(SCHEMA, kind, &document(core, report, opened));
            }
            let mut written = Vec::new();
            write(context, &mut written).map_err(|source| Error::Io { what: "write the report".to_owned(), source })?;
            return context.out.bytes(&encrypted(&written, recipients)?);
        };
        let delivered = output.write(self.force, &self.remote.settings(), |out| {
            let mut out = EncryptingWriter::new(out, recipients)?;
            write(context, &mut out)?;
            out.finish().map(drop)
        })?;
        remark_on_delivery(context, delivered);
        Ok(())
    }

    /// The report for people.
    fn written(&self, report: &Report, sections: &[Section]) -> Result<Vec<u8>> {
        let mut written = Vec::new();
        self.write_sections(report, sections, &mut written)
            .map_err(|source| Error::Io { what: "write the report".to_owned(), source })?;
        Ok(written)
    }

    /// The sections that are shown, with the picture of memory among them.
    fn shown(&self, report: &Report, map: Option<Section>) -> Vec<Section> {
        let mut sections = report.sections();
        let place = sections.iter().position(|section| section.id == BEHIND_MAP).unwrap_or(sections.len());
        sections.splice(place..place, map);
        sections.retain(|section| self.is_shown(section.id));
        sections
    }

    /// Writes the report for people.
    fn write_sections(&self, report: &Report, sections: &[Section], out: &mut dyn Write) -> io::Result<()> {
        if self.html { html::write(&report.head(), sections, out) } else { text::write(&report.title(), sections, out) }
    }
}

fn document<'a>(core: Option<&Path>, report: &'a Report, opened: Option<&Opened>) -> Document<'a> {
    let stack = |found: &vmcore::report::ReportStack| StackDocument::new(&found.stack, &found.calls);
    let all = |stacks: &[vmcore::report::ReportStack]| stacks.iter().map(stack).collect();
    let facts = report.facts.as_ref().ok();
    let messages = report.messages.as_ref().ok();
    let all_messages: Vec<Message<'_>> = messages.into_iter().flat_map(|buffer| buffer.lines()).collect();
    let image = report.image.as_ref().ok().and_then(Option::as_deref);
    let processes = report.processes.as_ref().ok();
    Document {
        hostname: report.subject.host().map(Name::from),
        dump: core.zip(report.subject.dump()).map(|(core, dump)| dump_document(core, dump)),
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
        configuration: report.configuration.as_ref().ok().and_then(|text| Some(text.as_deref()?.into())),
        debugger_output: report.debugger.as_ref().ok().and_then(|output| output.as_ref().map(debugger_document)),
        inventory: report.inventory.as_ref().ok(),
        text_files: report.subject.dump().into_iter().flat_map(|dump| &dump.files).map(text_file_document).collect(),
        missing: missing(report),
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
        hostname: dump.host().map(Name::from),
        version_string: dump.version().map(Name::from),
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

fn debugger_document(output: &DebuggerOutput) -> DebuggerDocument {
    let DebuggerOutput { bytes, is_full: full, missing: bytes_missing } = output;
    DebuggerDocument { text: bytes.as_slice().into(), full: *full, bytes_missing: *bytes_missing }
}

fn text_file_document(file: &TextFile) -> TextFileDocument<'_> {
    TextFileDocument { name: &file.name, text: file.bytes.as_slice().into(), bytes_missing: file.missing }
}

/// The parts that are missing.
fn missing(report: &Report) -> Vec<Missing> {
    let why = |why: &String| why.clone();
    let is_of_dump = report.subject.dump().is_some();
    let parts = [
        ("symbol-file", report.image.as_ref().err().map(why)),
        ("kernel", report.facts.as_ref().err().map(why)),
        ("fingerprint", report.fingerprint.as_ref().err().filter(|_| is_of_dump).map(ToString::to_string)),
        ("processes", report.processes.as_ref().err().map(why)),
        ("messages", report.messages.as_ref().err().map(why)),
        ("variables", report.numbers.as_ref().err().map(why)),
        ("configuration", report.configuration.as_ref().err().map(why)),
        ("modules", report.modules.as_ref().err().map(why)),
        ("debugger-output", report.debugger.as_ref().err().map(why)),
    ];
    let parts = parts.into_iter().filter_map(|(part, why)| Some(Missing { part, why: why? }));
    parts.chain(missing_inventory(report)).collect()
}

/// What is missing of what the kernel counts and holds.
fn missing_inventory(report: &Report) -> Vec<Missing> {
    let Inventory(sections) = match &report.inventory {
        Ok(inventory) => inventory,
        Err(missing) => return vec![Missing { part: INVENTORY, why: missing.why.clone() }],
    };
    let of_section = |(name, read): &(SectionName, Result<SectionData, NoSection>)| {
        let why = match read {
            Ok(data) => data.warnings().to_vec(),
            Err(missing) => vec![missing.why.clone()],
        };
        let part = name.name();
        why.into_iter().map(move |why| Missing { part, why })
    };
    sections.iter().flat_map(of_section).collect()
}
