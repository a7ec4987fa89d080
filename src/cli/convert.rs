//! `memtool convert`: a dump as a core file for debuggers, or its memory in another format.

use super::custody::CustodyArguments;
use super::destination::{
    CompressionArguments, RemoteArguments, check_standard_output, destination, remark_on_delivery,
};
use super::dump::{before_compression, warn_of_unreadable};
use super::encryption::{IdentityArguments, RecipientArguments, encrypted_to};
use super::json::UnreadableDocument;
use super::kernel::{KernelArguments, Opened, RootArguments, remark_on_dump};
use super::{Context, Inputs, Verdict, seekable};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use memtool::compress::Compression;
use memtool::dump::converted;
use memtool::dump::destination::{Destination, MapDestination};
use memtool::dump::job::{Companion, Finished, Job, JobOptions};
use memtool::dump_input;
use memtool::encryption::Recipients;
use memtool::encryption::input::Unlock;
use memtool::files;
use memtool::observer::{Phase, observe_bytes};
use memtool::output_file::{chosen_directory, scratch, temporary_directory};
use memtool::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use vmcore::architecture::Architecture;
use vmcore::convert;
use vmcore::convert::core::{Core, CoreFacts};
use vmcore::convert::notes::Style;
use vmcore::convert::script::{self, Debugger, LoadedFiles, ScriptOptions};
use vmcore::convert::threads::CoreThreads;
use vmcore::dump::{Content, DumpInOrder, Inspection};
use vmcore::format::Format;
use vmcore::kernel::Access;
use vmcore::opened::directory_of;
use vmcore::text::Name;
use vmcore::units::{counted, exact_size, rough_size};

#[derive(Args)]
#[command(
    after_help = "Reads all dumps that 'inspect' does, and images of memory. Exit codes: 0 everything was converted, 1 a part or nothing was."
)]
pub struct Arguments {
    /// A dump, a dump device, or an image of memory; '-' is standard input
    #[arg(value_name = "IN", required_unless_present = "core", conflicts_with = "core")]
    input: Option<PathBuf>,
    /// Write to a file, which appears only when complete, or to another host, such as ssh://HOST/PATH or s3://BUCKET/KEY; '-' is standard output, the default
    #[arg(value_name = "OUT", value_parser = OsStringValueParser::new().try_map(destination))]
    out: Option<Destination>,
    /// The same as OUT
    #[arg(short, long, value_name = "FILE", conflicts_with = "out", value_parser = OsStringValueParser::new().try_map(destination))]
    output: Option<Destination>,
    /// The same as IN; OUT is then given with --output
    #[arg(short = 'M', long, value_name = "FILE")]
    core: Option<PathBuf>,
    /// Output format
    #[arg(long, alias = "to", value_enum)]
    format: OutputKind,
    /// Read symbols from this kernel image, such as /boot/kernel/kernel; they are required for threads in a core file
    #[arg(short = 'N', long, value_name = "FILE", value_parser = seekable())]
    kernel: Option<PathBuf>,
    /// Layout of the thread notes in a core file
    #[arg(long, value_enum, default_value_t = NotesOf::Freebsd)]
    notes: NotesOf,
    /// The dump is in this partition of the disk: its number, such as 3 or 1b, or its label [default: the only one with a dump]
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    /// List of the ranges in an image without headers, in order: a line '0xSTART 0xEND' for each
    #[arg(long, value_name = "FILE")]
    segments: Option<PathBuf>,
    /// Write a map of the memory to a file, or to standard error for '-': lines of '0xstart 0xend' (end exclusive)
    #[arg(short, long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Write a debugger script that loads modules and debug information, with the settings a core file needs: for gdb if the name ends in .gdb or the notes are GNU/Linux's, else for lldb
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    #[command(flatten)]
    root: RootArguments,
    #[command(flatten)]
    compression: CompressionArguments,
    #[command(flatten)]
    recipients: RecipientArguments,
    #[command(flatten)]
    remote: RemoteArguments,
    #[command(flatten)]
    identities: IdentityArguments,
    #[command(flatten)]
    custody: CustodyArguments,
    /// Do not check in advance whether the output fits
    #[arg(long)]
    no_space_check: bool,
    /// Replace the output, the map and the script if they exist
    #[arg(short, long)]
    force: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputKind {
    /// Kernel virtual memory as an ELF core file, for gdb and lldb
    Elf,
    /// Physical memory in LiME format, for Volatility
    Lime,
    /// The ranges of physical memory, one after another
    Raw,
    /// Each byte of physical memory at the file offset of its address, with sparse holes
    Padded,
    /// A minidump as it is: compressed anew, so that it can be read in place, or decompressed
    Minidump,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NotesOf {
    /// FreeBSD's: for gdb with FreeBSD support, and lldb except on riscv64
    Freebsd,
    /// FreeBSD's as lldb reads them: differs on riscv64 only
    Lldb,
    /// GNU/Linux's: for gdb without FreeBSD support, such as Debian's
    Linux,
}

#[derive(Serialize)]
struct Document<'a> {
    input: Name,
    output: Name,
    format: &'static str,
    compression: &'static str,
    recipients: Option<Vec<String>>,
    bytes_read: u64,
    size: u64,
    #[serde(flatten)]
    core: Option<CoreDocument>,
    #[serde(flatten)]
    unreadable: UnreadableDocument<'a>,
    damaged: bool,
    /// Whether a limit of memtool left something of the dump out.
    limited: bool,
}

#[derive(Clone, Copy, Serialize)]
struct CoreDocument {
    segment_count: u32,
    bytes_mapped: u64,
    bytes_missing: u64,
    missing_table_count: u64,
    unknown_tables: Option<&'static str>,
    thread_count: usize,
}

/// What came of it.
struct Converted {
    finished: Finished,
    core: Option<CoreDocument>,
    damaged: bool,
    limited: bool,
}

impl Arguments {
    /// The format of memory that is written.
    fn format(&self) -> Option<Format> {
        match self.format {
            OutputKind::Elf => Some(Format::Elf),
            OutputKind::Lime => Some(Format::Lime),
            OutputKind::Raw => Some(Format::Raw),
            OutputKind::Padded => Some(Format::Padded),
            OutputKind::Minidump => None,
        }
    }

    /// Where a dump is decompressed, if it has to be: where there is room for the output, or where that was chosen.
    fn scratch(&self) -> PathBuf {
        let beside_output = || self.target().file().map(|path| directory_of(path).to_owned());
        chosen_directory().or_else(beside_output).unwrap_or_else(temporary_directory)
    }

    fn style(&self) -> Style {
        match self.notes {
            NotesOf::Freebsd => Style::FreeBsd,
            NotesOf::Lldb => Style::Lldb,
            NotesOf::Linux => Style::Linux,
        }
    }

    /// Whose script is written: gdb's to what is named so, and for notes that only gdb reads.
    fn debugger(&self, script: &Path) -> Debugger {
        let is_gdb = script.extension().is_some_and(|ending| ending == "gdb");
        if is_gdb || self.notes == NotesOf::Linux { Debugger::Gdb } else { Debugger::Lldb }
    }

    /// What is converted.
    fn input(&self) -> &Path {
        self.input.as_deref().or(self.core.as_deref()).unwrap_or(Path::new(""))
    }

    /// Where the output goes.
    fn target(&self) -> &Destination {
        self.out.as_ref().or(self.output.as_ref()).unwrap_or(&Destination::StandardOutput)
    }

    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> Inputs<'_> {
        let files = [("IN", &self.input), ("--core", &self.core), ("--segments", &self.segments)];
        let files = files.into_iter().map(|(name, file)| (name, file.as_ref()));
        files.chain(self.identities.inputs()).chain(self.recipients.inputs()).chain(self.remote.inputs()).collect()
    }

    /// See [`super::Command::check`].
    pub fn check(&self, json: bool) -> Result<(), String> {
        if self.map.is_some() && matches!(self.format, OutputKind::Elf | OutputKind::Minidump) {
            return Err("--map is for the other formats: core files and minidumps have their own".to_owned());
        }
        if self.segments.is_some() && self.format == OutputKind::Minidump {
            return Err("--segments is for images without headers, which are not made to minidumps".to_owned());
        }
        if self.format != OutputKind::Elf && self.script.is_some() {
            return Err("--script is for the core file that --format elf writes".to_owned());
        }
        if self.script.as_deref().is_some_and(|script| script == Path::new("-")) {
            return Err("--script writes a file, not standard output; a file named '-' is './-'".to_owned());
        }
        if self.root.sysroot.is_some() && self.script.is_none() {
            return Err("--sysroot is for the files that a script loads: use it with --script".to_owned());
        }
        self.remote.check(Some(self.target()))?;
        self.custody.check(self.target())?;
        check_standard_output(json, Some(self.target()))
    }

    fn options(&self, context: &mut Context) -> Result<JobOptions> {
        Ok(JobOptions {
            destination: self.target().clone(),
            remote: self.remote.settings(),
            compression: self.compression.compression(),
            recipients: self.recipients.read()?,
            map: self.map.clone().map(MapDestination::from),
            companion: self.script.clone().map(Companion::Script),
            custody: self.custody.derived(context, self.input(), None)?,
            check_space: !self.no_space_check,
            replace: self.force,
        })
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let options = arguments.options(context)?;
    let job = Job::new(&options)?;
    let converted = match arguments.format {
        OutputKind::Elf => to_core(context, arguments, job)?,
        OutputKind::Lime | OutputKind::Raw | OutputKind::Padded | OutputKind::Minidump => {
            to_image(context, arguments, job)?
        }
    };
    conclude(context, arguments, &options.recipients, &converted)
}

fn to_image(context: &mut Context, arguments: &Arguments, job: Job<'_>) -> Result<Converted> {
    let identities = arguments.identities.read(context)?;
    let unlock = Unlock { identities: &identities, scratch: &arguments.scratch() };
    let volume = dump_input::open_unlocked(arguments.input(), unlock, context)?;
    let volume = volume.with_partition(arguments.partition.clone());
    let packed = arguments.segments.as_deref().map(files::read_segments).transpose()?;
    let dump = observe_bytes(context, Phase::Reading, volume.length(), |progress| {
        DumpInOrder::open(volume, packed.as_deref(), scratch(&arguments.scratch()), progress)
    })?;
    let name = files::in_order(arguments.input()).0.display().to_string();
    context.out.watch(name.clone(), dump.memory().trouble());
    let inspection = dump.inspection();
    remark_on_dump(context, files::in_order(arguments.input()).0, inspection, arguments.segments.is_some());
    if arguments.format().is_some() && dump.extents().all(|extent| extent.size == 0) {
        return Err(Error::Refused(format!("there is no memory in {name}")));
    }
    let finished = match arguments.format() {
        Some(format) => {
            remark_on_pages(context, arguments, inspection);
            let layout = convert::layout(&dump, format)?;
            converted::image(&dump, &layout, job, context)?
        }
        None => converted::minidump(&dump, &name, job, context)?,
    };
    let Inspection { damage, limits, .. } = dump.inspection();
    Ok(Converted { finished, core: None, damaged: !damage.is_empty(), limited: !limits.is_empty() })
}

/// Says how much of memory a minidump has.
fn remark_on_pages(context: &mut Context, arguments: &Arguments, inspection: &Inspection) {
    let Content::Minidump(facts) = &inspection.content else { return };
    let pages = facts.pages.count();
    let all: u64 = facts.segments().iter().map(|segment| segment.of).sum();
    let pages = if all > 0 { format!("{pages} of {}", counted(all, "page")) } else { counted(pages, "page") };
    let fate = if arguments.format == OutputKind::Padded { "zeros" } else { "left out" };
    context.remark(&format!("a minidump holds part of memory: {pages}; the others are {fate}"));
}

fn to_core(context: &mut Context, arguments: &Arguments, job: Job<'_>) -> Result<Converted> {
    let kernel = KernelArguments {
        core: Some(arguments.input().to_owned()),
        kernel: arguments.kernel.clone(),
        partition: arguments.partition.clone(),
        segments: arguments.segments.clone(),
        identity: arguments.identities.files().to_vec(),
    };
    let mut opened = kernel.open_with(context, Access::Read, &arguments.scratch())?;
    let CoreThreads { notes, count: threads, .. } = threads(context, arguments, &opened)?;
    let script = match arguments.script.as_deref() {
        Some(path) => script_for(context, arguments, path, &mut opened)?,
        None => Vec::new(),
    };
    let core = observe_bytes(context, Phase::ReadingPageTables, None, |_| Core::new(&opened.kernel, notes))?;
    remark_on_core(context, core.facts());
    let finished = converted::core(&core, &script, job, context)?;
    let CoreFacts { segments, mapped, absent, missing_tables, unknown_tables, .. } = *core.facts();
    let damaged =
        opened.kernel.memory().dump().is_some_and(|dump| !dump.inspection().damage.is_empty()) || missing_tables > 0;
    let document = CoreDocument {
        segment_count: segments,
        bytes_mapped: mapped,
        bytes_missing: absent,
        missing_table_count: missing_tables,
        unknown_tables,
        thread_count: threads,
    };
    let limited = opened.kernel.memory().dump().is_some_and(|dump| !dump.inspection().limits.is_empty());
    Ok(Converted { finished, core: Some(document), damaged, limited })
}

/// The script for a debugger.
fn script_for(context: &mut Context, arguments: &Arguments, path: &Path, opened: &mut Opened) -> Result<Vec<u8>> {
    let search = arguments.root.search()?;
    arguments.root.apply(&mut opened.kernel);
    if let Err(error) = opened.load_modules(context) {
        context.warn(&format!("the script loads no modules: {error}"));
    }
    let files = LoadedFiles::new(&opened.kernel, |table| {
        let (found, refused) = search.locate(table);
        refused.iter().for_each(|why| context.warn(why));
        found
    });
    // What is compressed or encrypted, or elsewhere, is no core file here.
    let is_plain = arguments.compression.compression() == Compression::None && !arguments.recipients.is_given();
    let core = arguments.target().file().filter(|_| is_plain);
    Ok(script::script(&ScriptOptions {
        debugger: arguments.debugger(path),
        style: arguments.style(),
        architecture: opened.kernel.memory().architecture(),
        files: files.as_ref(),
        core,
        script: path,
    }))
}

/// The kernel's threads; none where they cannot be found.
fn threads(context: &mut Context, arguments: &Arguments, opened: &Opened) -> Result<CoreThreads> {
    if opened.kernel.image().is_none() {
        context.warn("the core file has no threads: kernel symbols are required to find them; give the kernel's image with --kernel");
        return Ok(CoreThreads::default());
    }
    // Another kernel's symbols are refused, not left out.
    opened.kernel.symbols()?;
    let style = arguments.style();
    let processes = match opened.kernel.processes() {
        Ok(processes) => processes,
        Err(error) => {
            context.warn(&format!("the core file has no threads: {error}"));
            return Ok(CoreThreads::default());
        }
    };
    for warning in &processes.warnings {
        context.warn(warning);
    }
    let threads = CoreThreads::new(&opened.kernel, &processes, style)?;
    if style == Style::FreeBsd && opened.kernel.memory().architecture() == Architecture::Riscv {
        context.remark(
            "the thread notes are for gdb: lldb misreads FreeBSD's notes of riscv64; for lldb, use --notes lldb",
        );
    }
    for (tid, fault) in &threads.unreadable {
        context.warn(&format!("the registers of thread {tid} cannot be read: {fault}"));
    }
    if threads.unknown > 0 {
        context.warn(&format!(
            "registers of {} of {} are not in the dump and were written as zeros",
            threads.unknown,
            counted(threads.count, "thread")
        ));
    }
    Ok(threads)
}

fn remark_on_core(context: &mut Context, facts: &CoreFacts) {
    let CoreFacts { absent, missing_tables, unknown_tables, impossible, physical_unknown, .. } = *facts;
    if let Some(why) = unknown_tables {
        context.warn(&format!(
            "the core file has only the direct map, and memory mapped elsewhere only at its direct map address: {why}"
        ));
    }
    if absent > 0 {
        let absent = exact_size(absent.into());
        context
            .remark(&format!("{absent} of mapped memory are not in the dump: devices, and pages that were left out"));
    }
    if missing_tables > 0 {
        context.warn(&format!(
            "{} cannot be read; memory mapped there is not in the core file",
            counted(missing_tables, "page table")
        ));
    }
    if impossible > 0 {
        context.warn(&format!(
            "left out because they overlap others or end beyond the address space: {}",
            counted(impossible, "mapping")
        ));
    }
    if physical_unknown > 0 {
        context.warn(&format!(
            "beyond the 4 GiB of physical memory that a 32-bit file can express: {}, with p_paddr 0xffffffff",
            counted(physical_unknown, "segment")
        ));
    }
}

fn conclude(
    context: &mut Context,
    arguments: &Arguments,
    recipients: &Recipients,
    converted: &Converted,
) -> Result<Verdict> {
    let Converted { finished: Finished { report, delivered, .. }, core, damaged, limited } = converted;
    remark_on_delivery(context, *delivered);
    match arguments.format() {
        Some(format) => warn_of_unreadable(context, report, format, "the memory in the dump"),
        None if report.unreadable.bytes() > 0 => {
            let missing = exact_size(report.unreadable.bytes().into());
            context.warn(&format!("the dump has been cut off: {missing} at its end are missing"));
        }
        None => {}
    }
    let compression = arguments.compression.compression();
    let name = arguments.target().to_string();
    if context.out.is_json() {
        let document = Document {
            input: arguments.input().into(),
            output: arguments.target().into(),
            format: arguments.format().map_or("minidump", Format::name),
            compression: compression.name(),
            recipients: recipients.public_keys(),
            bytes_read: report.read,
            size: report.written.bytes,
            core: *core,
            unreadable: (&report.unreadable).into(),
            damaged: *damaged,
            limited: *limited,
        };
        context.out.document_of("memtool.convert", "image", &document)?;
    } else if !matches!(arguments.target(), Destination::StandardOutput) && !context.global.quiet {
        let before = before_compression(report, compression);
        context.out.line(&format!(
            "{name}: {}{before}{}",
            counted(report.written.bytes, "byte"),
            encrypted_to(recipients)
        ))?;
        if let Some(CoreDocument { segment_count, bytes_mapped, thread_count, .. }) = core {
            let (segments, threads) = (counted(*segment_count, "segment"), counted(*thread_count, "thread"));
            context.out.line(&format!("{} mapped in {segments}, {threads}", rough_size(*bytes_mapped)))?;
        }
    }
    let has_tables = core.is_none_or(|core| core.unknown_tables.is_none());
    for (is_so, why) in [
        (*damaged, "the dump is damaged"),
        (*limited, "a limit of memtool was reached"),
        (!has_tables, "the kernel's page tables are not known"),
    ] {
        if is_so {
            let (input, output) = (files::in_order(arguments.input()).0.display(), arguments.target());
            context.repeat_failure(&format!("{input}: {why}, and {output} is not complete"))?;
        }
    }
    let whole = report.unreadable.bytes() == 0 && !damaged && !limited && has_tables;
    Ok(if whole { Verdict::Done } else { Verdict::Failed })
}
