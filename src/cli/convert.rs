//! `memtool convert`: a dump as a core file for debuggers, or its memory in another format.

use super::destination::{CompressionArguments, Destination, MapDestination, destination, remark_on_delivery};
use super::dump::warn_of_unreadable;
use super::kernel::{KernelArguments, Opened, remark_on_dump};
use super::progress::Display;
use super::{Context, Verdict, eprint_message};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use memtool::compress::Compression;
use memtool::convert::core::{Core, CoreFacts};
use memtool::convert::notes::{About, Notes, Style};
use memtool::convert::script::{self, Debugger, Moved};
use memtool::convert::{self, image};
use memtool::dump::format::Format;
use memtool::dump::plan::read_list;
use memtool::dump::sink::Target;
use memtool::dump::{self, DumpReport, UnreadableRange};
use memtool::files;
use memtool::output_file::{self, OutputFile, directory_of, temporary_directory};
use memtool::{Error, Result};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vmcore::architecture::Architecture;
use vmcore::dump::header::Relocation;
use vmcore::dump::{Content, DumpInOrder, Inspection};
use vmcore::kernel::{Access, KernelFacts, Processes};
use vmcore::progress::Progress;
use vmcore::units::{counted, exact_size, rough_size};

#[derive(Args)]
#[command(
    after_help = "Dumps of every kind that inspect knows are read, and images of memory. Exit codes: 0 all of it was converted, 1 not all, or nothing."
)]
pub struct Arguments {
    /// A dump, a dump device, or an image of memory
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Write to a file, which appears whole or not at all, to tcp://HOST:PORT, or to standard output for '-'
    #[arg(value_name = "OUT", value_parser = OsStringValueParser::new().try_map(destination))]
    output: Destination,
    /// What to make of it
    #[arg(long, value_enum)]
    to: OutputKind,
    /// Take symbols from this kernel image, such as /boot/kernel/kernel: a core file has the threads with it
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Whose layout the threads have in a core file
    #[arg(long, value_enum, default_value_t = NotesOf::Freebsd)]
    notes: NotesOf,
    /// Of an image without headers: the ranges in it, one after another, a line 0xSTART 0xEND for each
    #[arg(long, value_name = "FILE")]
    segments: Option<PathBuf>,
    /// Write a map of the memory to a file, or to standard error for '-': lines of '0xstart 0xend', the end
    /// exclusive
    #[arg(short, long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Write what a debugger has to be told of a core file, as a script: gdb's where the name ends in .gdb or the notes
    /// are GNU/Linux's, lldb's otherwise
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    #[command(flatten)]
    compression: CompressionArguments,
    /// Do not check beforehand whether the output will fit
    #[arg(long)]
    no_space_check: bool,
    /// Replace the output, the map and the script if they are there
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputKind {
    /// The kernel's virtual memory as an ELF core file, for gdb and lldb
    Elf,
    /// Physical memory in LiME's format, as Volatility reads it
    Lime,
    /// The ranges of physical memory one after another
    Raw,
    /// Every byte of physical memory at the offset of its address, holes sparse
    Padded,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NotesOf {
    /// FreeBSD's: for gdb with support for FreeBSD, and lldb, but for riscv64
    Freebsd,
    /// FreeBSD's, as lldb reads them: the same but for riscv64
    Lldb,
    /// GNU/Linux's: for a gdb without support for FreeBSD, such as Debian's
    Linux,
}

#[derive(Serialize)]
struct Document<'a> {
    input: String,
    output: String,
    format: &'static str,
    compression: &'static str,
    bytes_read: u64,
    written: u64,
    #[serde(flatten)]
    core: Option<CoreDocument>,
    unreadable: &'a [UnreadableRange],
    unreadable_bytes: u64,
    /// Ranges of them that are too many to list.
    unreadable_not_listed: u64,
    damaged: bool,
    /// Whether a limit of memtool left something of the dump out.
    limited: bool,
}

#[derive(Clone, Copy, Serialize)]
struct CoreDocument {
    segments: u32,
    mapped: u64,
    mapped_not_in_dump: u64,
    missing_tables: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown_tables: Option<&'static str>,
    threads: usize,
}

/// What came of it.
struct Converted {
    report: DumpReport,
    core: Option<CoreDocument>,
    damaged: bool,
    limited: bool,
}

impl Arguments {
    fn format(&self) -> Format {
        match self.to {
            OutputKind::Elf => Format::Elf,
            OutputKind::Lime => Format::Lime,
            OutputKind::Raw => Format::Raw,
            OutputKind::Padded => Format::Padded,
        }
    }

    /// Where a dump is decompressed, if it has to be: where there is room for the output.
    fn scratch(&self) -> PathBuf {
        self.output.file().map_or_else(temporary_directory, |path| directory_of(path).to_owned())
    }

    fn map_to(&self) -> MapDestination<'_> {
        MapDestination(self.map.as_deref())
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

    fn check(&self, context: &Context) -> Result<()> {
        self.output.check(context)?;
        if self.to == OutputKind::Elf && self.map.is_some() {
            return Err(Error::Refused("a core file has its own map, and --map is for the other formats".to_owned()));
        }
        if self.to != OutputKind::Elf && self.script.is_some() {
            return Err(Error::Refused("--script is for a debugger, which opens what --to elf writes".to_owned()));
        }
        let (map, script) = (self.map_to(), self.script.as_deref());
        let outputs = [("the output", self.output.file()), ("its map", map.file()), ("its script", script)];
        output_file::check_all(&outputs, self.force)
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    arguments.check(context)?;
    let converted =
        if arguments.to == OutputKind::Elf { to_core(context, arguments)? } else { to_image(context, arguments)? };
    conclude(context, arguments, &converted)
}

/// An output that was begun.
struct Begun {
    file: Option<OutputFile>,
    output: dump::Output,
}

fn begin(context: &mut Context, arguments: &Arguments, stored: u64, size: u64) -> Result<Begun> {
    let compression = arguments.compression.compression();
    if !arguments.no_space_check {
        arguments.output.check_space(context, stored, size, compression)?;
    }
    let file = arguments.output.file().map(|path| OutputFile::create(path, arguments.force)).transpose()?;
    let target = arguments.output.target(context, file.as_ref())?;
    Ok(Begun { file, output: dump::Output { target, compression, hash: false } })
}

fn complete(context: &mut Context, target: Target, file: Option<OutputFile>) -> Result<()> {
    remark_on_delivery(context, target.complete()?);
    file.map_or(Ok(()), OutputFile::commit)
}

/// Refuses an output without anything in it.
fn check_read(report: &DumpReport) -> Result<()> {
    if report.read > 0 {
        return Ok(());
    }
    let why = report.unreadable.ranges().first().map_or_else(String::new, |range| format!(" ({})", range.why));
    Err(Error::Refused(format!("none of the memory in the dump can be read{why}")))
}

fn to_image(context: &mut Context, arguments: &Arguments) -> Result<Converted> {
    let volume = files::open_dump(&arguments.input)?;
    let packed = arguments.segments.as_deref().map(read_list).transpose()?;
    let progress = Arc::new(Progress::default());
    let display = Display::start(Arc::clone(&progress), volume.length(), !context.global.quiet)?;
    let dump = DumpInOrder::open(volume, packed.as_deref(), output_file::scratch(&arguments.scratch()), &progress);
    drop(display);
    let dump = dump?;
    let inspection = dump.inspection();
    remark_on_dump(context, &arguments.input, inspection, arguments.segments.is_some());
    let total = dump.extents().map(|extent| extent.size).sum();
    if total == 0 {
        return Err(Error::Refused(format!("there is no memory in {}", arguments.input.display())));
    }
    remark_on_pages(context, arguments, inspection);
    let layout = convert::layout(&dump, arguments.format())?;

    let Begun { file, output } = begin(context, arguments, layout.stored(), layout.size())?;
    let map_file = arguments.map_to().file().map(|path| OutputFile::create(path, arguments.force)).transpose()?;
    let mut map = arguments.map_to().map_file(map_file.as_ref());
    let progress = Arc::new(Progress::default());
    let live = !context.global.quiet && !arguments.map_to().is_standard_error();
    let display = Display::start(Arc::clone(&progress), total, live)?;
    let written = image(&dump, &layout, map.as_mut(), output, &progress);
    drop((display, map));
    let (report, target) = written?;
    check_read(&report)?;
    complete(context, target, file)?;
    if let Some(map) = map_file {
        map.commit()?;
    }
    let Inspection { damage, limits, .. } = dump.inspection();
    Ok(Converted { report, core: None, damaged: !damage.is_empty(), limited: !limits.is_empty() })
}

/// Says how much of memory a minidump has.
fn remark_on_pages(context: &mut Context, arguments: &Arguments, inspection: &Inspection) {
    let Content::Minidump(facts) = &inspection.content else { return };
    let pages = facts.pages.count();
    let all: u64 = facts.segments().iter().map(|segment| segment.of).sum();
    let pages = if all > 0 { format!("{pages} of {}", counted(all, "page")) } else { counted(pages, "page") };
    let fate = if arguments.to == OutputKind::Padded { "zeros" } else { "left out" };
    context.remark(&format!("a minidump has part of memory: {pages}; the others are {fate}"));
}

fn to_core(context: &mut Context, arguments: &Arguments) -> Result<Converted> {
    let kernel = KernelArguments {
        core: Some(arguments.input.clone()),
        kernel: arguments.kernel.clone(),
        segments: arguments.segments.clone(),
    };
    let opened = kernel.open_with(context, Access::Read, &arguments.scratch())?;
    let (notes, threads) = threads(context, arguments, &opened)?;
    let flags = opened.image().map_or(0, |image| image.flags());
    let core = Core::new(&opened.kernel, notes, flags)?;
    remark_on_core(context, core.facts());

    let Begun { file, output } = begin(context, arguments, core.size(), core.size())?;
    let script = arguments.script.as_deref().map(|path| begin_script(arguments, path, &opened)).transpose()?;
    let progress = Arc::new(Progress::default());
    let display = Display::start(Arc::clone(&progress), core.memory(), !context.global.quiet)?;
    let written = core.write(output, &progress);
    drop(display);
    let (report, target) = written?;
    check_read(&report)?;
    complete(context, target, file)?;
    script.map_or(Ok(()), OutputFile::commit)?;
    let CoreFacts { segments, mapped, absent, missing_tables, unknown_tables, .. } = *core.facts();
    let damaged = opened.kernel.dump().is_some_and(|dump| !dump.inspection().damage.is_empty()) || missing_tables > 0;
    let mapped_not_in_dump = absent;
    let document = CoreDocument { segments, mapped, mapped_not_in_dump, missing_tables, unknown_tables, threads };
    let limited = opened.kernel.dump().is_some_and(|dump| !dump.inspection().limits.is_empty());
    Ok(Converted { report, core: Some(document), damaged, limited })
}

/// Writes the script for a debugger, to be committed.
fn begin_script(arguments: &Arguments, path: &Path, opened: &Opened) -> Result<OutputFile> {
    let name = opened.image().and_then(|image| image.path().file_name()).unwrap_or("kernel".as_ref()).to_string_lossy();
    let displacement = opened.kernel.relocation().map(Relocation::displacement);
    let moved = displacement.map(|displacement| Moved { displacement, name: &name });
    let text = script::script(arguments.debugger(path), arguments.style(), opened.kernel.architecture(), moved);
    let file = OutputFile::create(path, arguments.force)?;
    file.file().write_all(text.as_bytes()).map_err(|source| Error::io("write", path, source))?;
    Ok(file)
}

/// The notes with the kernel's threads, and how many those are; none where the threads cannot be found.
fn threads(context: &mut Context, arguments: &Arguments, opened: &Opened) -> Result<(Vec<u8>, usize)> {
    let Some(image) = opened.image() else {
        context.warn("the core file has no threads: their places are known by the symbols of the kernel; name its image with --kernel");
        return Ok((Vec::new(), 0));
    };
    let kernel = &opened.kernel;
    let symbols = opened.symbols()?;
    let processes = match Processes::read(kernel, symbols) {
        Ok(processes) => processes,
        Err(error) => {
            context.warn(&format!("the core file has no threads: {error}"));
            return Ok((Vec::new(), 0));
        }
    };
    for warning in &processes.warnings {
        context.warn(warning);
    }
    let name = image.path().file_name().unwrap_or_default().to_string_lossy();
    let about = About {
        architecture: kernel.architecture(),
        order: kernel.order(),
        name: &name,
        entry: image.entry(),
        displacement: kernel.relocation().map(Relocation::displacement),
        release: KernelFacts::read(kernel, symbols)?.osreldate.unwrap_or(0),
        signed: processes.are_signed(kernel),
    };
    let style = arguments.style();
    if style == Style::FreeBsd && about.architecture == Architecture::Riscv {
        context.remark("the threads are for gdb: lldb misreads FreeBSD's notes of riscv64; for it use --notes lldb");
    }
    let mut notes = Notes::new(style, about);
    let mut unknown = 0;
    for (process, thread) in processes.threads() {
        let registers = processes.registers(kernel, thread).unwrap_or_else(|fault| {
            context.warn(&format!("the registers of thread {} cannot be read: {fault}", thread.tid));
            vmcore::kernel::Registers::unknown(kernel.architecture())
        });
        unknown += usize::from(registers.pc().is_none());
        notes.add(process, thread, &registers);
    }
    if unknown > 0 {
        context.warn(&format!(
            "registers of {unknown} of {} are not in the dump: zeros stand for them",
            counted(notes.threads(), "thread")
        ));
    }
    let threads = notes.threads();
    Ok((notes.finish(), threads))
}

fn remark_on_core(context: &mut Context, facts: &CoreFacts) {
    let CoreFacts { absent, missing_tables, unknown_tables, impossible, physical_unknown, .. } = *facts;
    if let Some(why) = unknown_tables {
        context.warn(&format!(
            "the core file has the direct map alone, and what the kernel mapped elsewhere only at its address there: {why}"
        ));
    }
    if absent > 0 {
        let absent = exact_size(absent.into());
        context.remark(&format!("{absent} that are mapped are not in the dump: devices, and pages that were left out"));
    }
    if missing_tables > 0 {
        context.warn(&format!(
            "{} cannot be had; what is mapped there is not in the core file",
            counted(missing_tables, "page table")
        ));
    }
    if impossible > 0 {
        context.warn(&format!(
            "left out, since they overlap others or end behind all addresses: {}",
            counted(impossible, "mapping")
        ));
    }
    if physical_unknown > 0 {
        context.warn(&format!(
            "beyond 4 GiB of physical memory, which a file of 32 bits cannot say: {}, with 0xffffffff as p_paddr",
            counted(physical_unknown, "segment")
        ));
    }
}

fn conclude(context: &mut Context, arguments: &Arguments, converted: &Converted) -> Result<Verdict> {
    let Converted { report, core, damaged, limited } = converted;
    warn_of_unreadable(context, report, arguments.format(), "the memory in the dump");
    let compression = arguments.compression.compression();
    let name = arguments.output.name();
    if context.out.is_json() {
        let document = Document {
            input: arguments.input.display().to_string(),
            output: name,
            format: arguments.format().name(),
            compression: compression.name(),
            bytes_read: report.read,
            written: report.written.bytes,
            core: *core,
            unreadable: report.unreadable.ranges(),
            unreadable_bytes: report.unreadable.bytes(),
            unreadable_not_listed: report.unreadable.not_listed(),
            damaged: *damaged,
            limited: *limited,
        };
        context.out.document_of("memtool.convert", "image", &document)?;
    } else if !matches!(arguments.output, Destination::StandardOutput) && !context.global.quiet {
        let before = match compression {
            Compression::None => String::new(),
            other => format!(", {} of memory before {}", rough_size(report.read), other.name()),
        };
        context.out.line(&format!("{name}: {}{before}", counted(report.written.bytes, "byte")))?;
        if let Some(CoreDocument { segments, mapped, threads, .. }) = core {
            let (segments, threads) = (counted(*segments, "segment"), counted(*threads, "thread"));
            context.out.line(&format!("{} mapped in {segments}, {threads}", rough_size(*mapped)))?;
        }
    }
    let has_tables = core.is_none_or(|core| core.unknown_tables.is_none());
    // What -q takes away said so before; why the command fails, it does not take away.
    for (is_so, why) in [
        (*damaged, "the dump is damaged"),
        (*limited, "a limit of memtool was met"),
        (!has_tables, "the kernel's page tables are not known"),
    ] {
        if is_so && context.global.quiet {
            eprint_message(&format!(
                "{}: {why}, so that {} has not all of it",
                arguments.input.display(),
                arguments.output.name()
            ));
        }
    }
    let whole = report.unreadable.bytes() == 0 && !damaged && !limited && has_tables;
    Ok(if whole { Verdict::Done } else { Verdict::Failed })
}
