//! `memtool livedump`: a minidump of the running kernel.

use super::custody::CustodyArguments;
use super::destination::{RemoteArguments, check_standard_output, destination, remark_on_delivery, stored_compression};
use super::encryption::{RecipientArguments, encrypted_to};
use super::json::UnreadableDocument;
use super::output::RECORDED;
use super::{Context, Inputs, Verdict, seekable};
use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, ValueEnum};
use memtool::compress::Level;
use memtool::dump::destination::Destination;
use memtool::files;
use memtool::host::Host;
use memtool::live_kernel::RunningSymbols;
use memtool::livedump::{self, LiveDump, LiveDumpDestination, LiveDumpOptions};
use memtool::output_file::OutputFile;
use memtool::{Error, Result};
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use vmcore::kerneldump::Compression;
use vmcore::live::UserDumpReport;
use vmcore::minidump::left_out::{LeftOut, Term};
use vmcore::symbols::Symbols;
use vmcore::text::Name;
use vmcore::units::{counted, rough_size, utc_of_seconds};

/// The schema of what is said about a dump.
const SCHEMA: &str = "memtool.livedump";

#[derive(Args)]
#[command(
    group = ArgGroup::new("destination").args(["file", "output", "dir"]).required(true),
    group = ArgGroup::new("compression").args(["uncompress", "gzip", "zstd"]),
    after_help = "Once begun, a dump by the kernel cannot be interrupted and shows no progress; --method user can and does."
)]
pub struct Arguments {
    /// The file to write, which appears only when complete, or another host, such as ssh://HOST/PATH or s3://BUCKET/KEY; '-' is standard output
    #[arg(value_parser = OsStringValueParser::new().try_map(destination))]
    file: Option<Destination>,
    /// The same as FILE
    #[arg(short, long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(destination))]
    output: Option<Destination>,
    /// Save the dump in a directory as savecore(8) does: livecore.N, info.N, and the links to them
    #[arg(long, value_name = "DIR", conflicts_with = "force")]
    dir: Option<PathBuf>,
    /// Compress with zstd; memtool makes a dump with a level, from 1 (fast) to 19 (small)
    #[arg(short = 'Z', long, value_name = "LEVEL", num_args = 0..=1, require_equals = true)]
    zstd: Option<Option<Level>>,
    /// Compress with gzip
    #[arg(short = 'z', long)]
    gzip: bool,
    /// Do not compress (default)
    #[arg(short, long, alias = "none")]
    uncompress: bool,
    #[command(flatten)]
    recipients: RecipientArguments,
    #[command(flatten)]
    remote: RemoteArguments,
    /// Keep the kernel's header at the end of the dump
    #[arg(long)]
    keep_header: bool,
    /// Write information about the dump to a file, '-' for standard output: as JSON with --json or if the name ends in .json, else as savecore(8) does
    #[arg(long, value_name = "FILE")]
    info: Option<PathBuf>,
    #[command(flatten)]
    custody: CustodyArguments,
    /// Do not check in advance whether the dump fits
    #[arg(long)]
    no_space_check: bool,
    /// Replace the dump and the info file if they exist
    #[arg(short, long)]
    force: bool,
    /// Who makes the dump
    #[arg(long, value_enum, default_value_t = Method::Auto)]
    method: Method,
    /// Leave pages out of the dump, such as user,cache: user, cache, zero or free; memtool makes it, by the kernel's types
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = term())]
    without: Vec<Term>,
    /// How to check the dump before it gets its name, as 'inspect' does
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_value_t = Verify::Full, default_missing_value = "full")]
    verify: Verify,
    /// Read the kernel's symbols from its image, such as /boot/kernel/kernel, not from the running kernel
    #[arg(short = 'N', long, value_name = "FILE", value_parser = seekable())]
    kernel: Option<PathBuf>,
}

/// How a dump is looked at when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Verify {
    /// Only the kernel's header
    None,
    /// Headers and tables
    Quick,
    /// Every byte and every page table entry
    Full,
}

impl From<Verify> for livedump::Verify {
    fn from(verify: Verify) -> Self {
        match verify {
            Verify::None => Self::None,
            Verify::Quick => Self::Quick,
            Verify::Full => Self::Full,
        }
    }
}

/// Who makes a live dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// The kernel, or memtool if the kernel cannot, or if its dump is unusable or lacks pages
    Auto,
    /// The kernel, even if it loses pages
    Kernel,
    /// memtool, from /dev/kmem and /dev/mem (amd64, arm64, riscv64, powerpc64): in one pass, with progress, interruptible
    User,
}

impl From<Method> for livedump::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Auto => Self::Auto,
            Method::Kernel => Self::Kernel,
            Method::User => Self::User,
        }
    }
}

#[derive(Serialize)]
pub struct Document<'a> {
    output: Name,
    /// Who made it: `kernel` or `user`.
    method: &'static str,
    compression: Compression,
    /// Who can decrypt it.
    recipients: Option<Vec<String>>,
    /// Bytes of the file.
    size: u64,
    /// Bytes before compression.
    uncompressed_size: u64,
    /// Whether the kernel's header is behind the dump.
    header_kept: bool,
    architecture: &'a str,
    kernel_version: &'a Name,
    hostname: &'a Name,
    dumped_at: Option<String>,
    duration_seconds: f64,
    /// The dump's number in its directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
    /// The info file in its directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Name>,
    /// Pages of memory in it, where that was seen.
    page_count: Option<u64>,
    /// How it was looked at.
    verification: livedump::Verify,
    /// What only memtool knows of a dump.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    made: Option<Made<'a>>,
}

#[derive(Serialize)]
struct Made<'a> {
    #[serde(flatten)]
    unreadable: UnreadableDocument<'a>,
    /// Pages that the kernel marks and that are not RAM.
    not_ram_count: u64,
    /// Page tables that could not be read.
    missing_table_count: u64,
    #[serde(rename = "left_out_pages")]
    left_out: Option<LeftOutDocument>,
}

/// The pages that were left out of a dump at choice.
#[derive(Serialize)]
pub struct LeftOutDocument {
    terms: Vec<&'static str>,
    user_page_count: u64,
    cache_page_count: u64,
    zero_page_count: u64,
    free_page_count: u64,
    /// Pages that the kernel leaves out of its own dumps.
    nodump_page_count: u64,
}

impl From<&LeftOut> for LeftOutDocument {
    fn from(left_out: &LeftOut) -> Self {
        Self {
            terms: left_out.terms.iter().map(Term::name).collect(),
            user_page_count: left_out.pages_of(Term::User),
            cache_page_count: left_out.pages_of(Term::Cache),
            zero_page_count: left_out.pages_of(Term::Zero),
            free_page_count: left_out.pages_of(Term::Free),
            nodump_page_count: left_out.undumpable,
        }
    }
}

/// `--without user,cache: 12 pages (user 10, cache 0; not for dumps 2)`.
pub fn left_out_text(left_out: &LeftOut) -> String {
    let counts: Vec<String> =
        left_out.terms.iter().map(|term| format!("{} {}", term.name(), left_out.pages_of(term))).collect();
    let (total, counts) = (counted(left_out.total(), "page"), counts.join(", "));
    format!("--without {}: {total} ({counts}; not for dumps {})", left_out.terms, left_out.undumpable)
}

/// clap's parser for terms.
fn term() -> impl TypedValueParser<Value = Term> {
    PossibleValuesParser::new(Term::ALL.iter().map(|term| term.name())).try_map(|text| {
        let found = Term::ALL.into_iter().find(|term| term.name() == text);
        found.ok_or("there is no such term")
    })
}

impl Arguments {
    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> Inputs<'_> {
        self.recipients.inputs().chain(self.remote.inputs()).collect()
    }

    /// See [`super::Command::check`].
    pub fn check(&self, json: bool) -> Result<(), String> {
        if self.method == Method::Kernel && !self.without.is_empty() {
            return Err("--without cannot be used with --method kernel: the kernel leaves nothing out".to_owned());
        }
        if self.method == Method::Kernel && self.level().is_some() {
            return Err("--zstd=LEVEL cannot be used with --method kernel: the kernel has its own level".to_owned());
        }
        self.remote.check(self.target())?;
        self.target().map_or(Ok(()), |target| self.custody.check(target))?;
        check_standard_output(json, self.target())?;
        if self.is_to_output() && self.info.is_some() && self.info_file().is_none() {
            return Err("the dump and its information cannot share standard output; give a file with --info".to_owned());
        }
        Ok(())
    }

    /// Where the dump goes, unless it is a directory.
    fn target(&self) -> Option<&Destination> {
        self.file.as_ref().or(self.output.as_ref())
    }

    /// The level that was asked for.
    fn level(&self) -> Option<Level> {
        self.zstd.flatten()
    }

    /// The file for what is known of the dump, unless it is standard output.
    fn info_file(&self) -> Option<&Path> {
        self.info.as_deref().filter(|path| path.as_os_str() != "-")
    }

    fn is_to_output(&self) -> bool {
        matches!(self.target(), Some(Destination::StandardOutput))
    }

    fn destination(&self) -> Result<LiveDumpDestination> {
        match (self.target(), &self.dir) {
            (Some(file), _) => Ok(LiveDumpDestination::Output(file.clone())),
            (None, Some(directory)) => Ok(LiveDumpDestination::Directory(directory.clone())),
            (None, None) => Err(Error::Usage("no file is given".to_owned())),
        }
    }

    fn options(&self) -> Result<LiveDumpOptions> {
        Ok(LiveDumpOptions {
            destination: self.destination()?,
            remote: self.remote.settings(),
            method: self.method.into(),
            compression: stored_compression(self.zstd.is_some(), self.gzip),
            level: self.level(),
            recipients: self.recipients.read()?,
            keep_header: self.keep_header,
            verify: self.verify.into(),
            info: self.info_file().map(Path::to_owned),
            check_space: !self.no_space_check,
            replace: self.force,
            limit: None,
            without: self.without.iter().copied().collect(),
            image: self.kernel.clone(),
            lenient: false,
        })
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let host = &*context.host()?;
    context.out.flush()?;
    let symbols: Box<dyn Symbols + '_> = match &arguments.kernel {
        Some(path) => Box::new(files::open_kernel(path)?),
        None => Box::new(RunningSymbols(host)),
    };
    let options = arguments.options()?;
    let mut dump = livedump::run(host, &*symbols, &options, context)?;
    warn_of_doubts(context, &dump, host.system()?.page_size.into());
    let saved = dump.saved.as_ref().map(|saved| &*saved.files.core);
    if let Some(file) = saved.or_else(|| arguments.target().and_then(Destination::file)) {
        let recorded = if host.kind() == RECORDED { " (recorded machine)" } else { "" };
        arguments.custody.begin(context, file, format!("the kernel of {}{recorded}", dump.trailer.header.hostname))?;
    }
    let info = dump.info.take();
    let document = describe(&options, &dump);
    if let Some(file) = info {
        write_info(context, host, file, &dump, &document)?;
    }
    if context.out.is_json() {
        context.out.document(SCHEMA, host, &document)?;
    } else if arguments.info.is_some() && arguments.info_file().is_none() {
        dump.info_text().lines().try_for_each(|line| context.out.line(line))?;
    } else if !arguments.is_to_output() {
        tell(context, host, &options, (&dump, &document))?;
    }
    Ok(Verdict::Done)
}

/// Says what may be wrong with a dump, or is not known of it.
pub fn warn_of_doubts(context: &mut Context, dump: &LiveDump, page_size: u64) {
    if let Some(error) = &dump.unchecked {
        context.remark(&format!("whether the kernel lost pages was not checked: {error}"));
    }
    if let Some(made) = &dump.made {
        warn_of_missing(context, made, page_size);
    }
    for doubt in dump.inspection.iter().flat_map(|inspection| &inspection.warnings) {
        context.warn(doubt);
    }
    remark_on_delivery(context, dump.delivered);
    for problem in dump.saved.iter().flat_map(|saved| &saved.problems) {
        context.warn(problem);
    }
}

fn warn_of_missing(context: &mut Context, made: &UserDumpReport, page_size: u64) {
    let unreadable = made.unreadable.bytes().div_ceil(page_size);
    if unreadable > 0 {
        let are = if unreadable == 1 { "is" } else { "are" };
        context.warn(&format!("{} could not be read and {are} zeros in the dump", counted(unreadable, "page")));
    }
    if made.not_ram > 0 {
        context.warn(&format!(
            "marked by the kernel for dumping but not RAM in its memory map, and left out: {}",
            counted(made.not_ram, "page")
        ));
    }
    if made.lost_tables > 0 {
        context.warn(&format!(
            "{} could not be read; pages that are mapped only there are missing",
            counted(made.lost_tables, "page table")
        ));
    }
}

/// What is said of a dump.
pub fn describe<'a>(options: &LiveDumpOptions, dump: &'a LiveDump) -> Document<'a> {
    let header = &dump.trailer.header;
    let saved = dump.saved.as_ref();
    let output = match (&options.destination, saved) {
        (_, Some(saved)) => saved.files.core.as_path().into(),
        (LiveDumpDestination::Output(destination), _) => destination.into(),
        (LiveDumpDestination::Directory(directory), None) => directory.as_path().into(),
    };
    let made = dump.made.as_ref();
    Document {
        output,
        method: if made.is_some() { "user" } else { "kernel" },
        compression: options.compression,
        recipients: options.recipients.public_keys(),
        size: dump.size,
        uncompressed_size: dump.uncompressed_size(),
        header_kept: options.keep_header && made.is_none(),
        architecture: &header.architecture,
        kernel_version: &header.version_string,
        hostname: &header.hostname,
        dumped_at: utc_of_seconds(header.dump_time),
        duration_seconds: dump.elapsed.as_secs_f64(),
        number: saved.map(|saved| saved.files.number),
        info: saved.map(|saved| saved.files.info.as_path().into()),
        page_count: dump.pages(),
        verification: if dump.inspection.is_some() { options.verify } else { livedump::Verify::None },
        made: made.map(|made| Made {
            unreadable: (&made.unreadable).into(),
            not_ram_count: made.not_ram,
            missing_table_count: made.lost_tables,
            left_out: made.left_out.as_ref().map(LeftOutDocument::from),
        }),
    }
}

/// Writes the info file.
fn write_info(
    context: &Context,
    host: &dyn Host,
    output: OutputFile,
    dump: &LiveDump,
    document: &Document<'_>,
) -> Result<()> {
    let path = output.target();
    let json = context.out.is_json() || path.extension().is_some_and(|extension| extension == "json");
    let mut file = output.file();
    let written = match json {
        true => context.out.write_document(&mut file, SCHEMA, host.kind(), document, 0),
        false => file.write_all(dump.info_text().as_bytes()),
    };
    written.map_err(|source| Error::io("write", path, source))?;
    output.commit()
}

/// Says in words what was done.
pub fn tell(
    context: &mut Context,
    host: &dyn Host,
    options: &LiveDumpOptions,
    (dump, document): (&LiveDump, &Document<'_>),
) -> Result<()> {
    if context.global.quiet {
        return Ok(());
    }
    let kind = if context.out.remark_on(host.kind()).is_empty() { "host" } else { "recorded machine" };
    let compressed = match document.compression {
        Compression::None => String::new(),
        compression => {
            let before = dump.uncompressed_size();
            let ratio = before as f64 / dump.trailer.header.dump_length.max(1) as f64;
            format!(", {} before {} ({ratio:.1} to 1)", rough_size(before), compression.name())
        }
    };
    let (size, seconds) = (rough_size(dump.size), document.duration_seconds);
    let encrypted = encrypted_to(&options.recipients);
    context.out.line(&format!("{}: {size}{compressed}{encrypted}, in {seconds:.1} s", document.output))?;
    if let Some(pages) = document.page_count {
        let checked = match document.verification {
            livedump::Verify::None => "not checked",
            livedump::Verify::Quick => "headers and tables checked",
            livedump::Verify::Full => "every byte checked",
        };
        context.out.line(&format!("{}; {checked}", counted(pages, "page")))?;
    }
    if let Some(left_out) = dump.made.as_ref().and_then(|made| made.left_out.as_ref()) {
        context.out.line(&format!("left out by {}", left_out_text(left_out)))?;
    }
    let name = if document.hostname.is_empty() { "without a name".into() } else { document.hostname.text() };
    context.out.line(&format!("{kind} {name}, {}, {}", document.architecture, document.kernel_version))
}
