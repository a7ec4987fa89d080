//! `memtool livedump`: a minidump of the running kernel.

use super::destination::{Destination, destination};
use super::output::{host_kind, write_document};
use super::progress::{Display, clock};
use super::{Context, Verdict};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgGroup, Args, ValueEnum};
use flate2::read::GzDecoder;
use ioctl_defs::kerneldump::{KERNELDUMP_AMD64_VERSION, KERNELDUMPVERSION};
use memtool::dump::sink::Target;
use memtool::dump::{self, Progress, UnreadableRange};
use memtool::host::Host;
use memtool::kerneldump::{Compression, Header, Kind};
use memtool::livedump::estimate::{self, Facts};
use memtool::livedump::savedir::SaveDirectory;
use memtool::livedump::{self, Options, Report, info, kernel_config};
use memtool::minidump::live_amd64::{self, Check, LiveKernel, Loss, SYMBOLS};
use memtool::network::{Connection, Delivered};
use memtool::output_file::{self, OutputFile};
use memtool::symbols::{Image, Running, Symbols};
use memtool::units::rough_size;
use memtool::{Error, KernelError, Operation, Result};
use nix::errno::Errno;
use serde::Serialize;
use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the kernel writes a dump for standard output, if TMPDIR does not say so.
const TEMPORARY: &str = "/var/tmp";

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
    /// Have the kernel compress with Zstandard
    #[arg(long)]
    zstd: bool,
    /// Have the kernel compress with gzip
    #[arg(long)]
    gzip: bool,
    /// Have the kernel not compress, which is the default
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
    /// Take the kernel's symbols from its image, such as /boot/kernel/kernel, not from the running kernel
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
}

/// Who makes a live dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// The kernel; or memtool, if the kernel cannot or loses pages
    Auto,
    /// The kernel, and what it writes is taken as it is
    Kernel,
    /// memtool, from /dev/kmem and /dev/mem (amd64): in one pass, with progress, and it can be interrupted
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
    /// What only memtool knows of a dump.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    made: Option<Made<'a>>,
}

#[derive(Serialize)]
struct Made<'a> {
    pages: u64,
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

    /// Whether a signal ends the command at once, because the kernel has no part in it.
    pub fn can_be_interrupted(&self) -> bool {
        self.method == Method::User
    }

    fn is_to_output(&self) -> bool {
        matches!(self.file, Some(Destination::StandardOutput))
    }

    /// Where the dump goes in the library's words. To another host the connection is made.
    fn destination(&self, context: &mut Context) -> Result<livedump::Destination> {
        let stream = |target| livedump::Destination::Stream { target, temporary: temporary_directory() };
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
            _ => temporary_directory(),
        }
    }
}

fn temporary_directory() -> PathBuf {
    std::env::var_os("TMPDIR").filter(|path| !path.is_empty()).map_or_else(|| TEMPORARY.into(), PathBuf::from)
}

pub fn run(context: &mut Context, host: &dyn Host, arguments: &Arguments) -> Result<Verdict> {
    check_names(context, arguments)?;
    let symbols: Box<dyn Symbols + '_> = match &arguments.kernel {
        Some(path) => Box::new(Image::open(path, &SYMBOLS)?),
        None => Box::new(Running(host)),
    };
    if arguments.method == Method::User {
        return make(context, host, &*symbols, arguments);
    }
    let compression = arguments.compression();
    let facts = host.live_dump_facts()?;
    check_compression(&facts, compression)?;
    let directory = arguments.directory();
    let most = host.memory_map().ok().and_then(|map| estimate::at_most(&facts, map.total()));
    if !arguments.no_space_check {
        check_space(context, arguments, &directory, most, compression)?;
    }
    let kernel = match arguments.method {
        Method::Auto => LiveKernel::open(host, &*symbols).map(Some),
        _ => Ok(None),
    };
    let (check, unchecked) = match kernel.and_then(|kernel| kernel.map(Check::before).transpose()) {
        Ok(check) => (check, None),
        Err(error) => (None, Some(error)),
    };
    let begun = Instant::now();
    let info_file = arguments.info_file().map(|path| OutputFile::create(path, arguments.force)).transpose()?;
    let destination = arguments.destination(context)?;
    let options = Options { compression, keep_header: arguments.keep_header };
    let display = display(context, &directory, most)?;
    let mut loss = None;
    let taken = livedump::take(host, destination, options, |dump, _| {
        let Some(check) = &check else { return Ok(()) };
        let found = check.after(&mut *plain(dump, compression)?)?;
        loss = Some(found).filter(Loss::is_too_large);
        loss.map_or(Ok(()), |_| Err(Error::Refused("the kernel has lost pages".to_owned())))
    });
    drop(display);
    let report = match (taken, loss) {
        (Err(_), Some(Loss { marked, lost })) => {
            context.warn(&format!(
                "the kernel's dump lacks {lost} of the {marked} pages that it marked for dumping; memtool makes the dump"
            ));
            drop(info_file);
            return make(context, host, &*symbols, arguments);
        }
        (Err(Error::Kernel(error)), _) if arguments.method == Method::Auto && is_unknown(&error) => {
            context.remark("this kernel makes no live dumps, as FreeBSD 14.0 and later do; memtool makes the dump");
            drop(info_file);
            return make(context, host, &*symbols, arguments);
        }
        (taken, _) => taken?,
    };
    if let Some(error) = unchecked {
        context.remark(&format!("whether the kernel lost pages was not checked: {error}"));
    }
    let document = describe(arguments, &report, begun.elapsed(), None);
    conclude(context, host, arguments, info_file, &report, &document)?;
    Ok(Verdict::Done)
}

/// Whether the kernel does not know `MEM_KERNELDUMP`.
fn is_unknown(error: &KernelError) -> bool {
    error.operation == Operation::KernelDump && error.errno == Errno::ENOTTY
}

/// The beginning of a dump, without compression.
fn plain(dump: &File, compression: Compression) -> Result<Box<dyn Read>> {
    let failed = |source| Error::Io { what: "read the kernel's dump back".to_owned(), source };
    let mut file = dump.try_clone().map_err(failed)?;
    file.rewind().map_err(failed)?;
    let file = BufReader::new(file);
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(GzDecoder::new(file)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(file).map_err(failed)?),
    })
}

/// Makes the dump from user space.
fn make(context: &mut Context, host: &dyn Host, symbols: &dyn Symbols, arguments: &Arguments) -> Result<Verdict> {
    if arguments.keep_header {
        return Err(Error::Refused("--keep-header: there is no header behind a dump that memtool makes".to_owned()));
    }
    let compression = arguments.compression();
    let system = host.system()?;
    let begun = Instant::now();
    let kernel = LiveKernel::open(host, symbols)?;
    let snapshot = kernel.snapshot()?;
    let size = snapshot.size()?;
    if !arguments.no_space_check && !arguments.is_stream() {
        check_space(context, arguments, &arguments.directory(), Some(size), compression)?;
    }
    let info_file = arguments.info_file().map(|path| OutputFile::create(path, arguments.force)).transpose()?;
    let destination = arguments.destination(context)?;
    let progress = Arc::new(Progress::default());
    let display = Display::start(Arc::clone(&progress), snapshot.page_bytes(), !context.global.quiet)?;
    let write = |target| {
        let output = dump::Output { target, compression: compression.into(), hash: false };
        snapshot.write(output, &progress)
    };
    let header = |made: &live_amd64::Report| Header {
        kind: Kind::KernelDump,
        architecture: system.machine_arch.clone(),
        version: KERNELDUMPVERSION,
        architecture_version: KERNELDUMP_AMD64_VERSION,
        dump_length: made.written.bytes,
        dump_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        key_size: 0,
        block_size: 4096,
        hostname: system.hostname.clone(),
        version_string: system.version.clone(),
        panic_string: String::new(),
        compression: compression.code(),
        extent: made.size,
    };
    let made = livedump::make(destination, write, header);
    drop(display);
    let (made, report) = made?;
    warn_of_missing(context, &made);
    let document = describe(arguments, &report, begun.elapsed(), Some(&made));
    conclude(context, host, arguments, info_file, &report, &document)?;
    Ok(Verdict::Done)
}

fn warn_of_missing(context: &mut Context, made: &live_amd64::Report) {
    let unreadable = made.unreadable.bytes().div_ceil(4096);
    if unreadable > 0 {
        context.warn(&format!("{unreadable} pages could not be read and are zeros in the dump"));
    }
    if made.not_ram > 0 {
        context.warn(&format!(
            "{} pages that the kernel marks for its dumps are not RAM by its memory map, and are left out",
            made.not_ram
        ));
    }
    if made.lost_tables > 0 {
        context
            .warn(&format!("{} page tables could not be read; pages that only they map are missing", made.lost_tables));
    }
}

/// Refuses what cannot become a dump or its info file, before anything is done.
fn check_names(context: &Context, arguments: &Arguments) -> Result<()> {
    if let Some(destination) = &arguments.file {
        destination.check(context)?;
    }
    let file = arguments.file.as_ref().and_then(Destination::file);
    for path in [file, arguments.info_file()].into_iter().flatten() {
        output_file::check(path, arguments.force)?;
    }
    if let (Some(file), Some(info)) = (file, arguments.info_file())
        && output_file::is_same_name(file, info)
    {
        return Err(Error::Refused("the dump and its info file cannot be one file".to_owned()));
    }
    if arguments.is_to_output() && arguments.info.is_some() && arguments.info_file().is_none() {
        return Err(Error::Refused(
            "the dump and what is known of it cannot share standard output; name a file with --info".to_owned(),
        ));
    }
    Ok(())
}

/// Refuses a compression that the kernel certainly does not have.
fn check_compression(facts: &Facts, compression: Compression) -> Result<()> {
    let Some(built_in) = facts.compressions.as_ref().filter(|built_in| !built_in.contains(&compression)) else {
        return Ok(());
    };
    let others: Vec<String> = [Compression::Zstd, Compression::Gzip, Compression::None]
        .into_iter()
        .filter(|other| *other != compression && (*other == Compression::None || built_in.contains(other)))
        .map(|other| format!("--{}", other.name()))
        .collect();
    Err(Error::Unsupported(format!(
        "the kernel cannot compress with {}: it was built without 'options {}' (kern.conftxt); try {}",
        compression.name(),
        kernel_config::option_for(compression).unwrap_or_default(),
        others.join(" or ")
    )))
}

/// Refuses what may not fit. How far the kernel's memory can be compressed nobody knows.
fn check_space(
    context: &mut Context,
    arguments: &Arguments,
    directory: &Path,
    most: Option<u64>,
    compression: Compression,
) -> Result<()> {
    let mut room = output_file::room_in(directory)?;
    if arguments.dir.is_some() {
        let reserved = SaveDirectory::open(directory)?.min_free().unwrap_or_else(|text| {
            context.warn(&format!("{}: '{text}' is no size in KiB, so 0", directory.join("minfree").display()));
            0
        });
        room = room.without(reserved.saturating_mul(1024));
    }
    let Some(most) = most else {
        context.warn("the kernel does not tell how large the dump can become, so nobody knows whether it will fit");
        return Ok(());
    };
    if context.global.verbose > 0 {
        context.remark(&format!("the dump takes {} at most before compression", rough_size(most)));
    }
    match room.shortage(most, most) {
        Some(shortage) if compression == Compression::None => Err(Error::Refused(format!(
            "the dump may not fit into {}: at its largest {shortage}; --zstd takes less, --no-space-check tries all the same",
            directory.display()
        ))),
        Some(shortage) => {
            context
                .warn(&format!("the dump may not fit, unless it can be compressed enough: at its largest {shortage}"));
            Ok(())
        }
        None => Ok(()),
    }
}

/// Shows time and free space: looking at the file itself would wait until the kernel is done with it.
fn display(context: &Context, directory: &Path, most: Option<u64>) -> Result<Display> {
    let opened = File::open(directory).map_err(|source| Error::io("open", directory, source))?;
    let before = output_file::free_behind(&opened).ok();
    let line = move |elapsed: Duration| {
        let fallen = before.zip(output_file::free_behind(&opened).ok()).map(|(was, is)| was.saturating_sub(is));
        describe_progress(elapsed, fallen, most)
    };
    Display::show(line, !context.global.quiet)
}

/// `0:12, free space fell by 80.0 MiB; the dump takes 120.0 MiB at most`.
fn describe_progress(elapsed: Duration, fallen: Option<u64>, most: Option<u64>) -> String {
    let mut line = format!("the kernel is dumping: {}", clock(elapsed.as_secs()));
    if let Some(fallen) = fallen {
        line.push_str(&format!(", free space fell by {}", rough_size(fallen)));
    }
    if let Some(most) = most {
        line.push_str(&format!("; the dump takes {} at most", rough_size(most)));
    }
    line
}

fn info_text(report: &Report) -> String {
    info::text(&report.trailer, report.saved.as_ref().map_or(0, |saved| saved.number))
}

fn describe<'a>(
    arguments: &Arguments,
    report: &'a Report,
    elapsed: Duration,
    made: Option<&'a live_amd64::Report>,
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
        header_kept: arguments.keep_header,
        architecture: &header.architecture,
        kernel: &header.version_string,
        hostname: &header.hostname,
        taken_at: header.dump_time,
        seconds: elapsed.as_secs_f64(),
        number: saved.map(|saved| saved.number),
        info: saved.map(|saved| saved.info.display().to_string()),
        made: made.map(|made| Made {
            pages: made.pages,
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
    report: &Report,
    document: &Document<'_>,
) -> Result<()> {
    if report.delivered == Some(Delivered::Acknowledged) {
        context.remark("the receiver's system has everything; the receiver itself has not closed the connection");
    }
    for problem in report.saved.iter().flat_map(|saved| &saved.problems) {
        context.warn(problem);
    }
    if let (Some(output), Some(path)) = (info_file, arguments.info_file()) {
        let json = context.out.is_json() || path.extension().is_some_and(|extension| extension == "json");
        let mut file = output.file();
        let written = match json {
            true => write_document(&mut file, SCHEMA, host_kind(host), document),
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
    let kind = if host.as_recorded().is_some() { "recorded machine" } else { "host" };
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
    context.out.line(&format!("{kind} {}, {}, {}", document.hostname, document.architecture, document.kernel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_time_and_free_space() {
        let after = Duration::from_secs(72);
        assert_eq!(describe_progress(after, None, None), "the kernel is dumping: 1:12");
        assert_eq!(
            describe_progress(after, Some(80 << 20), Some(120 << 20)),
            "the kernel is dumping: 1:12, free space fell by 80.0 MiB; the dump takes 120.0 MiB at most"
        );
    }
}
