//! `memtool livedump`: a minidump of the running kernel.

mod kernel;
mod user;

pub use kernel::kernel_dumps;

use super::destination::{Destination, destination, remark_on_delivery, warn_of_crossing};
use super::{Context, Verdict, save};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgGroup, Args, ValueEnum};
use memtool::dump::UnreadableRange;
use memtool::dump::sink::Target;
use memtool::files;
use memtool::free_space::FreeSpace;
use memtool::host::Host;
use memtool::live_kernel;
use memtool::live_kernel::RunningSymbols;
use memtool::livedump::{self, LiveDumpReport};
use memtool::network::Connection;
use memtool::output_file::{self, OutputFile};
use memtool::save::directory::SaveDirectory;
use memtool::save::info;
use memtool::{Error, Result};
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::{Content, Depth, Inspection, MinidumpFacts, inspect};
use vmcore::kerneldump::Compression;
use vmcore::minidump::Architecture;
use vmcore::progress::Progress;
use vmcore::symbols::Symbols;
use vmcore::units::{counted, rough_size};

/// The schema of what is said about a dump.
const SCHEMA: &str = "memtool.livedump";

#[derive(Args)]
#[command(
    group = ArgGroup::new("destination").args(["file", "dir"]).required(true),
    group = ArgGroup::new("compression").args(["none", "gzip", "zstd"]),
    after_help = "The kernel cannot be stopped once it has begun, and cannot say how far it is; --method user can."
)]
pub struct Arguments {
    /// The file to write, which appears whole or not at all, or tcp://HOST:PORT; '-' is standard output
    #[arg(value_parser = OsStringValueParser::new().try_map(destination))]
    file: Option<Destination>,
    /// Save the dump in a directory as savecore(8) does: livecore.N, info.N, and what goes with them
    #[arg(long, value_name = "DIR", conflicts_with = "force")]
    dir: Option<PathBuf>,
    /// Compress with Zstandard
    #[arg(long)]
    zstd: bool,
    /// Compress with gzip
    #[arg(long)]
    gzip: bool,
    /// Do not compress, which is the default
    #[arg(long)]
    none: bool,
    /// Leave the kernel's header behind the dump
    #[arg(long)]
    keep_header: bool,
    /// Write what is known of the dump to a file, '-' for standard output: JSON with --json or into FILE.json,
    /// else as savecore(8) does
    #[arg(long, value_name = "FILE")]
    info: Option<PathBuf>,
    /// Do not check beforehand whether the dump will fit
    #[arg(long)]
    no_space_check: bool,
    /// Replace the dump and the info file if they are there
    #[arg(long)]
    force: bool,
    /// Who makes the dump
    #[arg(long, value_enum, default_value_t = Method::Auto)]
    method: Method,
    /// How the dump is looked at before it gets its name, as 'inspect' does
    #[arg(long, value_enum, default_value_t = Verify::Full)]
    verify: Verify,
    /// Take the kernel's symbols from its image, such as /boot/kernel/kernel, not from the running kernel
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
}

/// How a dump is looked at when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verify {
    /// Not at all, but for the kernel's header
    None,
    /// Its headers and tables
    Quick,
    /// Every byte, and every page table entry
    Full,
}

/// Who makes a live dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// The kernel; or memtool, if the kernel cannot, or its dump cannot be used or lacks pages
    Auto,
    /// The kernel, whether it loses pages or not
    Kernel,
    /// memtool, from /dev/kmem and /dev/mem (amd64, arm64, riscv64): in one pass, with progress, and interruptible
    User,
}

#[derive(Serialize)]
struct Document<'a> {
    file: String,
    /// Who made it: `kernel` or `user`.
    method: &'static str,
    compression: Compression,
    /// Bytes of the file.
    size: u64,
    /// Bytes before compression.
    uncompressed_size: u64,
    /// Whether the kernel's header is behind the dump.
    header_kept: bool,
    architecture: &'a str,
    kernel: &'a str,
    hostname: &'a str,
    /// Seconds since the epoch.
    taken_at: u64,
    /// What it took.
    seconds: f64,
    /// The dump's number in its directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
    /// The info file in its directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<String>,
    /// Pages of memory in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<u64>,
    /// How it was looked at.
    verified: Verify,
    /// What only memtool knows of a dump.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    made: Option<Made<'a>>,
}

#[derive(Serialize)]
struct Made<'a> {
    unreadable: &'a [UnreadableRange],
    unreadable_bytes: u64,
    /// Ranges of them that are too many to list.
    unreadable_not_listed: u64,
    /// Pages that the kernel marks and that are not RAM.
    not_ram: u64,
    /// Page tables that could not be read.
    lost_tables: u64,
}

impl Arguments {
    fn compression(&self) -> Compression {
        match (self.zstd, self.gzip) {
            (true, _) => Compression::Zstd,
            (_, true) => Compression::Gzip,
            _ => Compression::None,
        }
    }

    /// The file for what is known of the dump, unless it is standard output.
    fn info_file(&self) -> Option<&Path> {
        self.info.as_deref().filter(|path| path.as_os_str() != "-")
    }

    /// Whether the dump is written in order, to standard output or another host.
    fn is_stream(&self) -> bool {
        matches!(self.file, Some(Destination::StandardOutput | Destination::Network(_)))
    }

    fn is_to_output(&self) -> bool {
        matches!(self.file, Some(Destination::StandardOutput))
    }

    /// Where the dump goes in the library's words. To another host the connection is made.
    fn destination(&self, context: &mut Context) -> Result<livedump::Destination> {
        match (&self.file, &self.dir) {
            (Some(Destination::File(path)), _) => {
                Ok(livedump::Destination::File { path: path.clone(), replace: self.force })
            }
            (Some(Destination::Network(address)), _) => Connection::connect(address).map(Target::Network).map(stream),
            (_, Some(path)) => Ok(livedump::Destination::Directory(path.clone())),
            _ => context.out.file().map(Target::stream).map(stream),
        }
    }

    /// The directory that the kernel writes into.
    fn directory(&self) -> PathBuf {
        match (&self.file, &self.dir) {
            (Some(Destination::File(path)), _) => output_file::directory_of(path).to_owned(),
            (_, Some(path)) => path.clone(),
            _ => output_file::temporary_directory(),
        }
    }
}

fn stream(target: Target) -> livedump::Destination {
    livedump::Destination::Stream { target, temporary: output_file::temporary_directory() }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let host = &*context.host()?;
    check_names(context, arguments)?;
    let symbols: Box<dyn Symbols + '_> = match &arguments.kernel {
        Some(path) => Box::new(files::open_kernel(path)?),
        None => Box::new(RunningSymbols(host)),
    };
    if arguments.method == Method::User || is_users(context, host, arguments)? {
        return user::make(context, host, &*symbols, arguments, None);
    }
    kernel::take(context, host, &*symbols, arguments)
}

/// Whether memtool makes the dump where it may choose, without asking the kernel.
fn is_users(context: &mut Context, host: &dyn Host, arguments: &Arguments) -> Result<bool> {
    if arguments.method != Method::Auto {
        return Ok(false);
    }
    let (system, compression) = (host.system()?, arguments.compression());
    let architecture = Architecture::from_system(&system);
    let why = if architecture.is_some_and(|architecture| !architecture.kernel_dumps_are_of_use(system.osreldate)) {
        format!("live dumps that this kernel of {} makes cannot be used", system.machine_arch)
    } else if !compression.suits_live_dumps(system.page_size) {
        format!("kernels cannot compress live dumps with {} where a page has more than 4096 bytes", compression.name())
    } else {
        return Ok(false);
    };
    context.remark(&format!("{why}; memtool makes the dump"));
    Ok(true)
}

/// Refuses what cannot become a dump or its info file, before anything is done.
fn check_names(context: &Context, arguments: &Arguments) -> Result<()> {
    if let Some(destination) = &arguments.file {
        destination.check(context)?;
    }
    let file = arguments.file.as_ref().and_then(Destination::file);
    output_file::check_all(&[("the dump", file), ("its info file", arguments.info_file())], arguments.force)?;
    if arguments.is_to_output() && arguments.info.is_some() && arguments.info_file().is_none() {
        return Err(Error::Refused(
            "the dump and what is known of it cannot share standard output; name a file with --info".to_owned(),
        ));
    }
    Ok(())
}

/// Refuses what may not fit. How far the kernel's memory can be compressed nobody knows.
fn check_space(
    context: &mut Context,
    arguments: &Arguments,
    directory: &Path,
    limit: Option<u64>,
    compression: Compression,
) -> Result<()> {
    let space = match arguments.dir {
        Some(_) => save::free_space_in(context, &SaveDirectory::open(directory)?)?,
        None => FreeSpace::within(directory)?,
    };
    let Some(limit) = limit else {
        context.warn("the kernel does not tell how large the dump can become, so nobody knows whether it will fit");
        return Ok(());
    };
    if context.global.verbose > 0 {
        context.remark(&format!("the dump takes {} at most before compression", rough_size(limit)));
    }
    match space.shortage(limit, limit) {
        Some(shortage) if compression == Compression::None => Err(Error::Refused(format!(
            "the dump may not fit into {}: at its largest {shortage}; --zstd takes less, --no-space-check tries all the same",
            directory.display()
        ))),
        Some(shortage) => {
            context
                .warn(&format!("the dump may not fit, unless it can be compressed enough: at its largest {shortage}"));
            Ok(())
        }
        None => {
            warn_of_crossing(context, &space, limit);
            Ok(())
        }
    }
}

/// Looks at a dump that has no name yet, as far as is wanted, and at its page bitmap if that is needed.
///
/// # Errors
///
/// It is damaged, or cannot be read.
fn verify(dump: &File, arguments: &Arguments, needed: bool) -> Result<Option<Inspection>> {
    let depth = match arguments.verify {
        Verify::None if !needed => return Ok(None),
        Verify::None | Verify::Quick => Depth::Quick,
        Verify::Full => Depth::Full,
    };
    let looked = ByteSource::from_file(dump).and_then(|volume| inspect(&volume, depth, &Progress::default()));
    let inspection = looked.map_err(|source| Error::Io { what: "read the dump back".to_owned(), source })?;
    match (inspection.damage.first(), &inspection.content) {
        (Some(damage), _) => Err(Error::Format(format!("the dump is damaged: {damage}"))),
        (None, Content::Minidump(_)) => Ok(Some(inspection)),
        (None, content) => Err(Error::Format(format!("the dump is no minidump: {}", content.name()))),
    }
}

/// Says what may be wrong with a dump that was looked at.
fn warn_of_doubts(context: &mut Context, inspection: Option<&Inspection>) {
    for doubt in inspection.iter().flat_map(|inspection| &inspection.warnings) {
        context.warn(doubt);
    }
}

fn minidump(inspection: &Inspection) -> Option<&MinidumpFacts> {
    match &inspection.content {
        Content::Minidump(facts) => Some(facts),
        _ => None,
    }
}

fn info_text(report: &LiveDumpReport) -> String {
    info::text(&report.trailer.subject(), report.saved.as_ref().map_or(0, |saved| saved.number))
}

fn describe<'a>(
    arguments: &Arguments,
    report: &'a LiveDumpReport,
    elapsed: Duration,
    made: Option<&'a live_kernel::UserDumpReport>,
    inspection: Option<&'a Inspection>,
) -> Document<'a> {
    let header = &report.trailer.header;
    let saved = report.saved.as_ref();
    let file = match (&arguments.file, saved) {
        (_, Some(saved)) => saved.core.display().to_string(),
        (Some(destination), _) => destination.name(),
        _ => String::new(),
    };
    Document {
        file,
        method: if made.is_some() { "user" } else { "kernel" },
        compression: arguments.compression(),
        size: report.size,
        uncompressed_size: report.uncompressed_size(),
        header_kept: arguments.keep_header && made.is_none(),
        architecture: &header.architecture,
        kernel: &header.version_string,
        hostname: &header.hostname,
        taken_at: header.dump_time,
        seconds: elapsed.as_secs_f64(),
        number: saved.map(|saved| saved.number),
        info: saved.map(|saved| saved.info.display().to_string()),
        pages: made.map(|made| made.pages).or_else(|| inspection.and_then(minidump).map(|facts| facts.pages.count())),
        verified: if inspection.is_some() { arguments.verify } else { Verify::None },
        made: made.map(|made| Made {
            unreadable: made.unreadable.ranges(),
            unreadable_bytes: made.unreadable.bytes(),
            unreadable_not_listed: made.unreadable.not_listed(),
            not_ram: made.not_ram,
            lost_tables: made.lost_tables,
        }),
    }
}

/// Writes the info file, and says what was done where there is room for words.
fn conclude(
    context: &mut Context,
    host: &dyn Host,
    arguments: &Arguments,
    info_file: Option<OutputFile>,
    report: &LiveDumpReport,
    document: &Document<'_>,
) -> Result<()> {
    remark_on_delivery(context, report.delivered);
    for problem in report.saved.iter().flat_map(|saved| &saved.problems) {
        context.warn(problem);
    }
    if let (Some(output), Some(path)) = (info_file, arguments.info_file()) {
        let json = context.out.is_json() || path.extension().is_some_and(|extension| extension == "json");
        let mut file = output.file();
        let written = match json {
            true => context.out.write_document(&mut file, SCHEMA, host.kind(), document),
            false => file.write_all(info_text(report).as_bytes()),
        };
        written.map_err(|source| Error::io("write", path, source))?;
        output.commit()?;
    }
    if context.out.is_json() {
        return context.out.document(SCHEMA, host, document);
    }
    if arguments.info.is_some() && arguments.info_file().is_none() {
        return info_text(report).lines().try_for_each(|line| context.out.line(line));
    }
    if context.global.quiet || arguments.is_to_output() {
        return Ok(());
    }
    let kind = if context.out.remark_on(host.kind()).is_empty() { "host" } else { "recorded machine" };
    let compressed = match arguments.compression() {
        Compression::None => String::new(),
        compression => {
            let before = report.uncompressed_size();
            let ratio = before as f64 / report.trailer.header.dump_length.max(1) as f64;
            format!(", {} before {} ({ratio:.1} to 1)", rough_size(before), compression.name())
        }
    };
    let (size, seconds) = (rough_size(report.size), document.seconds);
    context.out.line(&format!("{}: {size}{compressed}, in {seconds:.1} s", document.file))?;
    if let Some(pages) = document.pages {
        let checked = match document.verified {
            Verify::None => "not checked",
            Verify::Quick => "headers and tables checked",
            Verify::Full => "every byte checked",
        };
        context.out.line(&format!("{}; {checked}", counted(pages, "page")))?;
    }
    let name = if document.hostname.is_empty() { "without a name" } else { document.hostname };
    context.out.line(&format!("{kind} {name}, {}, {}", document.architecture, document.kernel))
}
