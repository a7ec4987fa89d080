//! `memtool dump`: memory into a file, a pipe or over the network.

use super::custody::CustodyArguments;
use super::destination::{
    CompressionArguments, RemoteArguments, check_standard_output, destination, remark_on_delivery,
};
use super::encryption::{RecipientArguments, encrypted_to};
use super::json::{Measured, UnreadableDocument};
use super::output::RECORDED;
use super::signing::SigningArguments;
use super::{Context, Inputs, Verdict, dump_verify, size, usage};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgGroup, Args, ValueEnum};
use memtool::Result;
use memtool::compress::Compression;
use memtool::custody::Beginning;
use memtool::dump::destination::{Destination, MapDestination};
use memtool::dump::job::{Companion, JobOptions};
use memtool::dump::plan::{Plan, RequestedRanges, SegmentSource, parse_range};
use memtool::dump::source::{DumpRequest, DumpSource};
use memtool::dump::{self, DumpOptions, DumpReport, Dumped};
use memtool::encryption::Recipients;
use memtool::files;
use memtool::memory_map::MapSource;
use memtool::signature::SigningKey;
use serde::Serialize;
use std::path::PathBuf;
use vmcore::bounds::saturating_usize;
use vmcore::chunks::MAX_BUFFER;
use vmcore::format::unreadable::UnreadableRange;
use vmcore::format::{Format, Space};
use vmcore::text::Name;
use vmcore::units::{Hex, counted, exact_size, rough_size};

/// Unreadable ranges that are listed without `-v`.
const LISTED: usize = 10;

#[derive(Args)]
#[command(
    group = ArgGroup::new("files").args(["output", "map", "manifest"]).multiple(true),
    group = ArgGroup::new("chosen").args(["ranges", "segments"]).multiple(true),
    group = ArgGroup::new("compressed").args(["zstd", "gzip"]).multiple(true),
    after_help = "Only RAM is read, according to the kernel's memory map. Memory that cannot be read is reported; a raw dump omits it, the other formats have zeros there."
)]
pub struct Arguments {
    /// Write to a file, which appears only when complete, or to another host, such as ssh://HOST/PATH or s3://BUCKET/KEY; '-' is standard output, the default
    #[arg(short, long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(destination))]
    output: Option<Destination>,
    /// Format of the dump
    #[arg(long, value_enum, default_value_t = FormatName(Format::Raw))]
    format: FormatName,
    #[command(flatten)]
    compression: CompressionArguments,
    #[command(flatten)]
    recipients: RecipientArguments,
    #[command(flatten)]
    remote: RemoteArguments,
    /// Dump kernel virtual memory (/dev/kmem) that the kernel's maps list, without devices
    #[arg(short, long)]
    kmem: bool,
    /// Dump this range instead of what the kernel lists: START-END (END exclusive) or START+LENGTH; may be repeated
    #[arg(long = "range", value_name = "RANGE", value_parser = parse_range)]
    ranges: Vec<(u64, u64)>,
    /// Dump the ranges listed in a file: lines of 'START END' (END exclusive), as --map writes them
    #[arg(long, value_name = "FILE", conflicts_with = "ranges")]
    segments: Option<PathBuf>,
    /// Read --range and --segments even where the kernel lists no RAM; reading a device can hang the machine
    #[arg(long, requires = "chosen")]
    anywhere: bool,
    /// List the ranges that would be dumped and the table they come from; read and write nothing
    #[arg(long, conflicts_with_all = ["files", "compressed", "recipient", "strict", "custody"])]
    list_segments: bool,
    /// Write a map of what was read to a file, or to standard error for '-': lines of '0xstart 0xend' (end exclusive)
    #[arg(short, long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Write a manifest for --verify to a file: JSON with host, times, segments, and the dump's size and SHA-256
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    signing: SigningArguments,
    #[command(flatten)]
    custody: CustodyArguments,
    /// With --verify, check the manifest's signature first, by this public key of minisign, or the one in a file
    #[arg(long, value_name = "KEY", requires = "verify")]
    public_key: Option<PathBuf>,
    /// The dump to check with --verify; '-' is standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only check a dump, FILE, against the manifest given with --manifest
    #[arg(long, requires_all = ["manifest", "file"], conflicts_with_all = ["output", "map", "list_segments", "force", "chosen", "kmem", "compressed", "recipient", "dump_size", "strict", "custody"])]
    verify: bool,
    /// Number of bytes to read at a time, at most 16m
    #[arg(short, long, value_name = "SIZE", value_parser = size, default_value = "1m")]
    buffer: u64,
    /// Skip unreadable memory in steps of this size [default: the kernel's page size]
    #[arg(short, long, value_name = "SIZE", value_parser = size)]
    page_size: Option<u64>,
    /// Stop after this many bytes of memory; 0 is no limit
    #[arg(short, long, short_alias = 's', value_name = "SIZE", value_parser = size)]
    dump_size: Option<u64>,
    /// Exit with 1 if any memory cannot be read; the dump is kept
    #[arg(long)]
    strict: bool,
    /// Do not check in advance whether the dump fits
    #[arg(long)]
    no_space_check: bool,
    /// Replace the dump, the map and the manifest if they exist
    #[arg(short, long, requires = "files")]
    force: bool,
}

/// [`Format`] for clap.
#[derive(Clone, Copy)]
struct FormatName(Format);

impl ValueEnum for FormatName {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [FormatName; 4] = {
            let [a, b, c, d] = Format::ALL;
            [FormatName(a), FormatName(b), FormatName(c), FormatName(d)]
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let help = match self.0 {
            Format::Raw => "segments one after another, as memdump(1) writes them",
            Format::Padded => "each byte at the file offset of its address, with sparse holes",
            Format::Elf => "an ELF core file with a program header for each segment",
            Format::Lime => "LiME, for Volatility",
        };
        Some(clap::builder::PossibleValue::new(self.0.name()).help(help))
    }
}

#[derive(Serialize)]
struct Document<'a> {
    input: &'a Name,
    output: Name,
    format: Format,
    compression: &'static str,
    recipients: Option<Vec<String>>,
    space: Space,
    segments_from: &'a SegmentSource,
    bytes_read: u64,
    size: u64,
    /// With a manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
    /// The file of the manifest's signature.
    signature: Option<Name>,
    duration_seconds: f64,
    #[serde(flatten)]
    unreadable: UnreadableDocument<'a>,
}

#[derive(Serialize)]
struct Listing<'a> {
    space: Space,
    segments_from: &'a SegmentSource,
    size: u64,
    segments: Vec<ListedSegment>,
    left_out: Vec<Measured<ListedGap>>,
}

#[derive(Serialize)]
struct ListedSegment {
    start: Hex,
    end: Hex,
    size: u64,
    domain: Option<u32>,
}

#[derive(Serialize)]
struct ListedGap {
    start: Hex,
    end: Hex,
    why: String,
}

/// What is done with the dump besides, and with which keys.
struct Written {
    recipients: Recipients,
    signing_key: Option<SigningKey>,
    custody: Option<Beginning>,
}

impl Arguments {
    /// Whether a dump is looked at that is there already.
    pub fn verifies(&self) -> bool {
        self.verify
    }

    /// See [`super::Command::check`].
    pub fn check(&self, json: bool) -> Result<(), String> {
        if let Some(file) = self.file.as_ref().filter(|_| !self.verify) {
            let level = file.to_str().filter(|_| self.compression.is_zstd()).and_then(usage::level_of);
            let hint = level.unwrap_or_else(|| "; the output is given with --output".to_owned());
            return Err(format!("unexpected argument '{}'{hint}", file.display()));
        }
        let most = MAX_BUFFER as u64;
        if !(1..=most).contains(&self.buffer) {
            return Err(format!("--buffer {}: a size from 1 to 16m", self.buffer));
        }
        if let Some(size) = self.page_size.filter(|size| *size > 0 && !(size.is_power_of_two() && *size <= most)) {
            return Err(format!("--page-size {size}: a power of two, at most 16m"));
        }
        self.remote.check(Some(&self.destination()))?;
        if self.signing.is_given() && (self.verify || self.manifest.is_none() && !self.custody.is_given()) {
            return Err(
                "--sign signs what is written beside a new dump: use it with --manifest or --custody".to_owned()
            );
        }
        self.custody.check(&self.destination())?;
        if self.public_key.is_some() && self.manifest.as_deref().is_some_and(files::is_standard_input) {
            return Err("--public-key: the signature is beside the manifest, which cannot be standard input".to_owned());
        }
        check_standard_output(json && !self.list_segments && !self.verify, Some(&self.destination()))
    }

    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> Inputs<'_> {
        let manifest = self.manifest.as_ref().filter(|_| self.verify);
        let files = [
            ("FILE", self.file.as_ref()),
            ("--manifest", manifest),
            ("--segments", self.segments.as_ref()),
            ("--public-key", self.public_key.as_ref()),
        ];
        files
            .into_iter()
            .chain(self.recipients.inputs())
            .chain(self.remote.inputs())
            .chain(self.signing.inputs())
            .collect()
    }

    fn destination(&self) -> Destination {
        self.output.clone().unwrap_or(Destination::StandardOutput)
    }

    fn requested(&self) -> Result<Option<RequestedRanges>> {
        let (ranges, segments_from) = match &self.segments {
            Some(path) => (files::read_segments(path)?, SegmentSource::List(path.clone())),
            None if self.ranges.is_empty() => return Ok(None),
            None => (self.ranges.clone(), SegmentSource::Ranges),
        };
        Ok(Some(RequestedRanges { ranges, segments_from, allow_non_ram: self.anywhere }))
    }

    fn request(&self) -> Result<DumpRequest> {
        Ok(DumpRequest {
            space: if self.kmem { Space::Kernel } else { Space::Physical },
            ranges: self.requested()?,
            // As with memdump(1), 0 stands for what would be taken anyway.
            page_size: self.page_size.filter(|size| *size > 0),
            limit: self.dump_size.filter(|size| *size > 0),
        })
    }

    /// The first entry of the dump's custody log, if it gets one.
    fn beginning(
        &self,
        context: &mut Context,
        kind: &str,
        plan: &Plan,
        key: Option<SigningKey>,
    ) -> Result<Option<Beginning>> {
        if let Some(image) = image(context) {
            return self.custody.derived(context, &image, key);
        }
        let recorded = if kind == RECORDED { " (recorded machine)" } else { "" };
        Ok(self.custody.acquired(format!("{}{recorded}", device_name(context, plan)), key))
    }

    fn options(&self, context: &Context, plan: &Plan, with: Written) -> DumpOptions {
        let Written { recipients, signing_key, custody } = with;
        DumpOptions {
            signing_key,
            format: self.format.0,
            buffer_size: saturating_usize(self.buffer),
            device: device_name(context, plan),
            output: JobOptions {
                destination: self.destination(),
                remote: self.remote.settings(),
                compression: self.compression.compression(),
                recipients,
                map: self.map.clone().map(MapDestination::from),
                companion: self.manifest.clone().map(Companion::Manifest),
                custody,
                check_space: !self.no_space_check,
                replace: self.force,
            },
        }
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    if let (Some(file), Some(manifest)) = (&arguments.file, &arguments.manifest) {
        return dump_verify::run(context, file, manifest, arguments.public_key.as_deref());
    }
    let recipients = arguments.recipients.read()?;
    let signing_key = arguments.signing.key(context)?;
    let source = match image(context) {
        Some(image) => DumpSource::open_image(&image)?,
        None => DumpSource::Host(context.host()?),
    };
    let plan = source.plan(arguments.request()?)?;
    remark_on_plan(context, &plan, arguments.list_segments);
    if arguments.list_segments {
        return list(context, source.kind(), &plan);
    }
    let custody = arguments.beginning(context, source.kind(), &plan, signing_key.clone())?;
    let options = arguments.options(context, &plan, Written { recipients, signing_key, custody });
    context.out.flush()?;
    if options.output.map == Some(MapDestination::StandardError) {
        // Nothing else is to be in the map.
        context.out.remark_on(source.kind());
    }
    let dumped = dump::dump(source, &plan, &options, context)?;
    conclude(context, &plan, &dumped, &options)?;
    let is_failure = arguments.strict && dumped.report.unreadable.bytes() > 0;
    Ok(if is_failure { Verdict::Failed } else { Verdict::Done })
}

/// The image of memory that is read in place of a system.
fn image(context: &Context) -> Option<PathBuf> {
    context.global.device.clone().filter(|device| !files::is_mem_device(device))
}

/// Says what is worth knowing of what will be read.
fn remark_on_plan(context: &mut Context, plan: &Plan, listing: bool) {
    if plan.segments_from == SegmentSource::Table(MapSource::PhysSegs.name()) {
        context
            .warn("the memory map comes from vm.phys_segs, which omits the memory that the kernel allocated at boot");
    }
    let verbose = context.global.verbose > 0 || listing;
    for gap in plan.skipped.iter().filter(|_| verbose) {
        context.remark(&format!("{}..{} is left out: {}", Hex(gap.start), Hex(gap.end), gap.why));
    }
    if context.global.verbose > 0 && !listing {
        let (count, total) = (counted(plan.segments.len(), "segment"), rough_size(plan.total()));
        context.remark(&format!("reading {count}, {total}, by {}", plan.segments_from));
        for segment in &plan.segments {
            let size = exact_size((segment.end - segment.start).into());
            context.remark(&format!("segment {}..{} ({size})", Hex(segment.start), Hex(segment.end)));
        }
    }
}

fn list(context: &mut Context, kind: &'static str, plan: &Plan) -> Result<Verdict> {
    if context.out.is_json() {
        let segments = plan.segments.iter().map(|segment| ListedSegment {
            start: Hex(segment.start),
            end: Hex(segment.end),
            size: segment.end - segment.start,
            domain: segment.domain,
        });
        let gaps = plan.skipped.iter().map(|gap| {
            let listed = ListedGap { start: Hex(gap.start), end: Hex(gap.end), why: gap.why.to_string() };
            Measured::new(listed, gap.start, gap.end)
        });
        let listing = Listing {
            space: plan.space,
            segments_from: &plan.segments_from,
            size: plan.total(),
            segments: segments.collect(),
            left_out: gaps.collect(),
        };
        context.out.document_of("memtool.dump.segments", kind, &listing)?;
        return Ok(Verdict::Done);
    }
    let rows: Vec<Vec<String>> = plan
        .segments
        .iter()
        .map(|segment| {
            let domain = segment.domain.map_or_else(|| "-".to_owned(), |domain| domain.to_string());
            let size = context.out.size((segment.end - segment.start).into());
            vec![Hex(segment.start).to_string(), Hex(segment.end).to_string(), domain, size]
        })
        .collect();
    context.out.rows(&["START", "END", "DOMAIN", "SIZE"], &rows)?;
    if context.out.is_terminal() {
        let total = rough_size(plan.total());
        let whose = context.out.remark_on(kind);
        context.out.line("")?;
        let count = counted(rows.len(), "segment");
        context.out.line(&format!("{count}, {total}, by {}{whose}", plan.segments_from))?;
    }
    Ok(Verdict::Done)
}

/// The device as the manifest names it.
fn device_name(context: &Context, plan: &Plan) -> Name {
    let default = if plan.space == Space::Kernel { "/dev/kmem" } else { "/dev/mem" };
    let named = context.global.device.as_ref().or(context.global.machine.as_ref());
    named.map_or_else(|| default.into(), |path| path.as_path().into())
}

fn conclude(context: &mut Context, plan: &Plan, dumped: &Dumped, options: &DumpOptions) -> Result<()> {
    let Dumped { host, report, delivered, elapsed } = dumped;
    let (destination, compression) = (&options.output.destination, options.output.compression);
    remark_on_delivery(context, *delivered);
    warn_of_unreadable(context, report, options.format, plan.noun());
    if context.out.is_json() {
        let document = Document {
            input: &options.device,
            output: destination.into(),
            format: options.format,
            compression: compression.name(),
            recipients: options.output.recipients.public_keys(),
            space: plan.space,
            segments_from: &plan.segments_from,
            bytes_read: report.read,
            size: report.written.bytes,
            sha256: report.written.sha256.as_deref(),
            signature: options.signature().as_deref().map(Name::from),
            duration_seconds: elapsed.as_secs_f64(),
            unreadable: (&report.unreadable).into(),
        };
        return context.out.document_of("memtool.dump", host, &document);
    }
    if *destination == Destination::StandardOutput || context.global.quiet {
        return Ok(());
    }
    let whose = context.out.remark_on(host);
    let size = counted(report.written.bytes, "byte");
    let (before, encrypted) = (before_compression(report, compression), encrypted_to(&options.output.recipients));
    context.out.line(&format!("{destination}: {size}{whose}{before}{encrypted}"))?;
    let map = match (&plan.segments_from, plan.space) {
        (SegmentSource::Table(_), Space::Physical) => "memory map",
        (SegmentSource::Table(_), Space::Kernel) => "kernel map",
        _ => "addresses",
    };
    context.out.line(&format!("read in {:.1} s, {map} from {}", elapsed.as_secs_f64(), plan.segments_from))
}

/// What the dump was before compression, behind its size.
pub fn before_compression(report: &DumpReport, compression: Compression) -> String {
    match compression {
        Compression::None => String::new(),
        other => format!(", {} of memory before {}", rough_size(report.read), other.name()),
    }
}

/// Says what could not be read.
pub fn warn_of_unreadable(context: &mut Context, report: &DumpReport, format: Format, noun: &str) {
    let unreadable = &report.unreadable;
    if unreadable.bytes() == 0 {
        return;
    }
    let listed = if context.global.verbose > 0 { usize::MAX } else { LISTED };
    let fate = if format.is_packed() { "is not in the dump" } else { "is zeros in the dump" };
    for UnreadableRange { start, end, why } in unreadable.ranges().iter().take(listed) {
        context.warn(&format!("{}..{} cannot be read ({why}) and {fate}", Hex(*start), Hex(*end)));
    }
    let shown = unreadable.ranges().len().min(listed) as u64;
    match unreadable.count() - shown {
        0 => {}
        more if shown < unreadable.ranges().len() as u64 => {
            context.warn(&format!("and {}; -v lists them", counted(more, "more range")));
        }
        more => context.warn(&format!("and {}, too many to list", counted(more, "more range"))),
    }
    // Not a remark that -q may take away: the dump is not whole.
    context.warn_always(&format!("{} of {noun} could not be read", exact_size(unreadable.bytes().into())));
}
