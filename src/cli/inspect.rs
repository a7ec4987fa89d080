//! `memtool inspect`: what is in a kernel dump, and whether it is whole.

use super::encryption::IdentityArguments;
use super::json::Measured;
use super::livedump::{LeftOutDocument, left_out_text};
use super::partition::{DiskDocument, PartitionDocument};
use super::{Context, Inputs, Verdict, dmesg, output};
use clap::Args;
use memtool::dump_input;
use memtool::encryption::input::Unlock;
use memtool::files;
use memtool::observer::{Phase, observe_bytes};
use memtool::output_file::scratch;
use memtool::output_file::temporary_directory;
use memtool::receive::arrival::{Hole, WrittenDown};
use memtool::{Error, Result};
use serde::Serialize;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use vmcore::architecture::Architecture;
use vmcore::architecture::Endianness;
use vmcore::dump::header::{Header, Section};
use vmcore::dump::{
    Container, Content, Damage, Depth, ElfFacts, Frames, ImageFormat, Inspection, Member, MemoryRange, MinidumpFacts,
    Processor, SegmentFacts, TableFacts, inspect_packed,
};
use vmcore::kerneldump;
use vmcore::progress::Progress;
use vmcore::report::header_facts;
use vmcore::text::{Name, decode};
use vmcore::units::{Hex, counted, exact_size, rough_size, utc_of_seconds};

#[derive(Args)]
#[command(
    after_help = "Reads minidumps, full dumps and text dumps of every architecture, plain or compressed, and LiME images. Exit codes: 0 the file is a dump or an image without damage, 1 it is damaged, cannot be read, or has an unknown format."
)]
pub struct Arguments {
    /// Dumps or dump devices; '-' is standard input
    #[arg(value_name = "FILE|DEVICE", required = true)]
    pub files: Vec<PathBuf>,
    /// Print only the kernel's message buffer, as dmesg(8) does
    #[arg(long, conflicts_with = "list_segments")]
    msgbuf: bool,
    /// List the segments of memory and how much of each is in the dump
    #[arg(long, alias = "segments")]
    list_segments: bool,
    /// Read every byte and follow every page table entry
    #[arg(long)]
    verify: bool,
    /// The dump is in this partition of the disk: its number, such as 3 or 1b, or its label [default: the only one with a dump]
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    #[command(flatten)]
    identities: IdentityArguments,
}

impl Arguments {
    /// See [`super::Command::inputs`].
    pub fn inputs(&self) -> Inputs<'_> {
        self.files.iter().map(|file| ("FILE", Some(file))).chain(self.identities.inputs()).collect()
    }
}

/// The schema of what is said of a file.
const SCHEMA: &str = "memtool.inspect";
/// What JSON says that it is about.
const IMAGE: &str = "image";

/// What is said of a file that begins as nothing that is known.
const NO_HEADER: &str = "unknown format: not a dump or image that memtool knows; convert and --core read an image of memory without a header, from physical address 0 or by --segments";

/// So many holes of a dump are listed without -v.
const MAX_HOLES: usize = 10;

/// The kernel's header in JSON.
#[derive(Serialize)]
pub struct KernelHeader {
    kind: kerneldump::Kind,
    version: u32,
    architecture: String,
    architecture_version: u32,
    size: u64,
    extent: u64,
    dumped_at: Option<String>,
    key_size: u32,
    sector_size: u32,
    hostname: Name,
    kernel_version: Name,
    panic: Name,
    compression: String,
}

impl KernelHeader {
    pub fn new(header: &kerneldump::Header) -> Self {
        let compression = kerneldump::Compression::from_code(header.compression);
        Self {
            kind: header.kind,
            version: header.version,
            architecture: header.architecture.clone(),
            architecture_version: header.architecture_version,
            size: header.dump_length,
            extent: header.extent,
            dumped_at: utc_of_seconds(header.dump_time),
            key_size: header.key_size,
            sector_size: header.block_size,
            hostname: header.hostname.clone(),
            kernel_version: header.version_string.clone(),
            panic: header.panic_string.clone(),
            compression: compression.map_or_else(|| header.compression.to_string(), |known| known.name().to_owned()),
        }
    }
}

#[derive(Serialize)]
struct Minidump<'a> {
    architecture: &'static str,
    version: u32,
    byte_order: Endianness,
    page_size: u32,
    mmu: Option<&'a str>,
    kernel_base: Hex,
    direct_map: Option<Measured<DirectMap>>,
    hw_direct_map: Option<bool>,
    /// Where powerpc64's kernel was when it ran.
    kernel_image: Option<Measured<KernelImage>>,
    message_buffer_size: u32,
    dump_avail_size: Option<u32>,
    bitmap_size: u32,
    page_tables_size: u32,
    page_count: u64,
    /// What memtool left out when it made the dump.
    #[serde(rename = "left_out_pages")]
    left_out: Option<LeftOutDocument>,
    segments: Vec<Measured<SegmentFacts>>,
    page_tables: &'a Option<TableFacts>,
}

#[derive(Serialize)]
struct DirectMap {
    start: Hex,
    end: Hex,
    paddr: Hex,
}

#[derive(Serialize)]
struct KernelImage {
    start: Hex,
    end: Hex,
}

fn measured(ranges: &[MemoryRange]) -> Vec<Measured<&MemoryRange>> {
    ranges.iter().map(|range| Measured::new(range, range.start.0, range.end.0)).collect()
}

/// Memory of a virtual machine, or an image whose pages are compressed or scattered.
#[derive(Serialize)]
struct Image<'a> {
    format: ImageFormat,
    page_compression: Option<&'static str>,
    architecture: Option<&'static str>,
    #[serde(rename = "cpu_registers")]
    processors: &'a [Processor],
    ranges: Vec<Measured<&'a MemoryRange>>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Dump<'a> {
    Minidump(Box<Minidump<'a>>),
    Elf(&'a ElfFacts),
    Text {
        files: &'a [Member],
    },
    Lime {
        ranges: Vec<Measured<&'a MemoryRange>>,
    },
    Image(Image<'a>),
    Encrypted,
    Unknown {
        /// The format, where that is known by name.
        format: Option<&'static str>,
        remedy: Option<Cow<'static, str>>,
    },
}

impl<'a> Dump<'a> {
    fn new(inspection: &'a Inspection) -> Self {
        match &inspection.content {
            Content::Minidump(facts) => {
                let MinidumpFacts { header, pages, tables, .. } = &**facts;
                let measured = |segment: SegmentFacts| {
                    let (start, end) = (segment.start.0, segment.end.0);
                    Measured::new(segment, start, end)
                };
                Self::Minidump(Box::new(Minidump {
                    architecture: header.architecture.name(),
                    version: header.version,
                    byte_order: header.order,
                    page_size: header.page_size,
                    mmu: header.mmu.as_deref(),
                    kernel_base: Hex(header.kernel_base),
                    direct_map: header.direct_map.map(|map| {
                        let document = DirectMap { start: Hex(map.base), end: Hex(map.end), paddr: Hex(map.physical) };
                        Measured::new(document, map.base, map.end)
                    }),
                    hw_direct_map: header.hw_direct_map,
                    kernel_image: header.kernel_image.map(|(start, end)| {
                        Measured::new(KernelImage { start: Hex(start), end: Hex(end) }, start, end)
                    }),
                    message_buffer_size: header.message_buffer_size,
                    dump_avail_size: header.dump_avail_size,
                    bitmap_size: header.bitmap_size,
                    page_tables_size: header.page_tables_size,
                    page_count: pages.count(),
                    left_out: header.left_out.as_ref().map(LeftOutDocument::from),
                    segments: facts.segments().into_iter().map(measured).collect(),
                    page_tables: tables,
                }))
            }
            Content::Elf(facts) => Self::Elf(facts),
            Content::Text(files) => Self::Text { files },
            Content::Lime(ranges) => Self::Lime { ranges: measured(ranges) },
            Content::Image(facts) => Self::Image(Image {
                format: facts.format,
                page_compression: facts.page_compression,
                architecture: facts.architecture.map(Architecture::name),
                processors: &facts.processors,
                ranges: measured(&facts.ranges),
            }),
            Content::Encrypted => Self::Encrypted,
            Content::Unknown if inspection.disk.is_some() => {
                let has_table = inspection.disk.as_ref().is_some_and(|search| search.disk.is_some());
                Self::Unknown { format: has_table.then_some("a disk"), remedy: inspection.problem().map(Cow::Owned) }
            }
            Content::Unknown => Self::Unknown {
                format: inspection.foreign.map(|foreign| foreign.name),
                remedy: inspection.foreign.map(|foreign| foreign.remedy.into()),
            },
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    input: Name,
    place: Container,
    /// Where it begins, and its bytes there.
    file_offset: u64,
    size: u64,
    sector_size: Option<u32>,
    /// The partition that it is in, and all of the disk.
    partition: Option<PartitionDocument>,
    disk: Option<DiskDocument>,
    compression: kerneldump::Compression,
    packed: kerneldump::Compression,
    /// Bytes before compression, where all of them were seen or a table tells.
    uncompressed_size: Option<u64>,
    /// The frames that it is compressed in, where a table tells of them.
    zstd_frames: Option<Frames>,
    header: Option<KernelHeader>,
    dump: Dump<'a>,
    /// Whether every byte was read.
    verified: bool,
    damage: &'a [Damage],
    limits: &'a [Damage],
    remarks: &'a [String],
    /// What is known of a dump that has not all arrived over the network.
    incomplete: Option<Incomplete<'a>>,
    /// With `--msgbuf`: the kernel's messages, a line each.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Name>>,
}

/// Why a dump is not whole that has come over the network.
#[derive(Serialize)]
struct Incomplete<'a> {
    client: Option<&'a str>,
    received_at: Option<&'a str>,
    reasons: Vec<&'a str>,
    size: Option<u64>,
    holes: &'a [Hole],
    unlisted_hole_count: u64,
}

impl<'a> From<&'a Result<WrittenDown, String>> for Incomplete<'a> {
    fn from(known: &'a Result<WrittenDown, String>) -> Self {
        let (known, why) = (known.as_ref().ok(), known.as_ref().err().map(String::as_str));
        let reasons = known.into_iter().flat_map(|known| &known.reasons).map(String::as_str);
        Self {
            client: known.map(|known| &*known.client),
            received_at: known.and_then(|known| known.received_at.as_deref()),
            reasons: reasons.chain(why).collect(),
            size: known.map(|known| known.size),
            holes: known.map_or(&[], |known| &known.holes),
            unlisted_hole_count: known.map_or(0, |known| known.unlisted_hole_count),
        }
    }
}

/// One of several files in JSON.
#[derive(Serialize)]
struct Inspected<'a> {
    input: &'a Name,
    /// The object that there would be for this file alone.
    inspection: Option<output::Document<'a, Document<'a>>>,
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Documents<'a> {
    files: Vec<Inspected<'a>>,
}

/// A file that was looked at.
struct Looked {
    /// As it was named.
    input: Name,
    /// What it is called in messages.
    name: String,
    inspection: Inspection,
    /// Of a file that is called incomplete: what is known of that, or why it is not known.
    incomplete: Option<Result<WrittenDown, String>>,
    /// With `--msgbuf` and `--json`: the kernel's messages.
    messages: Option<Vec<Name>>,
    /// Warnings about it, which may be fewer than those of the run.
    warnings: Vec<String>,
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    if let [path] = arguments.files.as_slice() {
        let looked = look(context, arguments, path)?;
        if context.out.is_json() {
            context.out.document_of(SCHEMA, IMAGE, &Document::new(&looked, arguments))?;
        } else {
            print(context, arguments, &looked)?;
        }
        return Ok(looked.verdict());
    }
    several(context, arguments)
}

/// Describes several files, one after another. One that cannot be described keeps none of the others back.
fn several(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let mut kept: Vec<(Name, Result<Looked, String>)> = Vec::new();
    let mut verdict = Verdict::Done;
    for (index, path) in arguments.files.iter().enumerate() {
        if !context.out.is_json() {
            let before = if index > 0 { "\n" } else { "" };
            context.out.bytes(before.as_bytes())?;
            context.out.line(&format!("{}:", files::in_order(path).0.display()))?;
        }
        let json = context.out.is_json();
        let looked = look(context, arguments, path)
            .and_then(|looked| if json { Ok(()) } else { print(context, arguments, &looked) }.map(|()| looked));
        let looked = match looked {
            Err(error @ Error::StandardOutput(_)) => return Err(error),
            Err(error) => {
                context.print_failure(&error.to_string())?;
                Err(error.to_string())
            }
            Ok(looked) => Ok(looked),
        };
        if looked.as_ref().map_or(Verdict::Failed, Looked::verdict) == Verdict::Failed {
            verdict = Verdict::Failed;
        }
        if json {
            kept.push((path.as_path().into(), looked));
        }
    }
    if context.out.is_json() {
        let inspected = kept.iter().map(|(input, looked)| Inspected {
            input,
            inspection: looked
                .as_ref()
                .ok()
                .map(|looked| output::Document::new(SCHEMA, IMAGE, Document::new(looked, arguments), &looked.warnings)),
            error: looked.as_ref().err().map(String::as_str),
        });
        let documents = Documents { files: inspected.collect() };
        context.out.document_of("memtool.inspect.files", IMAGE, &documents)?;
    }
    Ok(verdict)
}

/// Looks into a file.
fn look(context: &mut Context, arguments: &Arguments, path: &Path) -> Result<Looked> {
    let identities = arguments.identities.read(context)?;
    let unlock = Unlock { identities: &identities, scratch: &temporary_directory() };
    let volume = dump_input::open_unlocked(path, unlock, context)?.with_partition(arguments.partition.clone());
    let depth = if arguments.verify { Depth::Full } else { Depth::Quick };
    let look = |progress: &Progress| inspect_packed(&volume, depth, scratch(&temporary_directory()), progress);
    let inspection = match arguments.verify {
        true => observe_bytes(context, Phase::Verifying, volume.length(), look)?,
        false => look(&Progress::default())?,
    };
    let name = files::in_order(path).0.display().to_string();
    let warnings: Vec<String> = inspection.warnings.iter().map(|warning| format!("{name}: {warning}")).collect();
    warnings.iter().for_each(|warning| context.warn(warning));
    let wants_messages = arguments.msgbuf && context.out.is_json();
    let messages = wants_messages.then(|| messages(context, &name, &inspection)).transpose()?;
    let incomplete = incomplete(path);
    Ok(Looked { input: path.into(), name, inspection, incomplete, messages, warnings })
}

/// What is known of a dump that was received in part, by its name.
fn incomplete(path: &Path) -> Option<Result<WrittenDown, String>> {
    if !WrittenDown::is_incomplete(path) {
        return None;
    }
    let unknown = || Err("the receiver was ended before it wrote down why; what is missing is not known".to_owned());
    Some(
        WrittenDown::beside(path)
            .map_err(|error| error.to_string())
            .and_then(|written| written.map_or_else(unknown, Ok)),
    )
}

impl Looked {
    fn is_known(&self) -> bool {
        self.inspection.content != Content::Unknown
    }

    /// Whether it is a dump without damage.
    fn verdict(&self) -> Verdict {
        let is_whole = self.is_known()
            && self.inspection.damage.is_empty()
            && self.inspection.limits.is_empty()
            && self.incomplete.is_none();
        if is_whole { Verdict::Done } else { Verdict::Failed }
    }
}

impl<'a> Document<'a> {
    fn new(looked: &'a Looked, arguments: &Arguments) -> Self {
        let inspection = &looked.inspection;
        let Inspection { location, compression, frames, packed, length, damage, limits, remarks, .. } = inspection;
        Self {
            input: looked.input.clone(),
            place: location.place,
            file_offset: location.start,
            size: location.end - location.start,
            sector_size: location.sector_size,
            partition: location.partition.as_ref().map(PartitionDocument::new),
            disk: inspection.disk.as_ref().and_then(DiskDocument::new),
            compression: *compression,
            packed: *packed,
            uncompressed_size: *length,
            zstd_frames: *frames,
            header: location.header.as_ref().map(KernelHeader::new),
            dump: Dump::new(inspection),
            verified: arguments.verify,
            damage,
            limits,
            remarks,
            incomplete: looked.incomplete.as_ref().map(Incomplete::from),
            messages: looked.messages.clone(),
        }
    }
}

/// Prints what a file is, and says what is wrong with it.
fn print(context: &mut Context, arguments: &Arguments, looked: &Looked) -> Result<()> {
    let Looked { name, inspection, .. } = looked;
    if arguments.msgbuf {
        for line in messages(context, name, inspection)? {
            context.out.line(&decode(line.as_bytes()))?;
        }
    } else {
        describe(context, arguments, inspection)?;
    }
    let verbose = context.global.verbose > 0;
    for remark in inspection.remarks.iter().filter(|_| verbose) {
        context.remark(&format!("{name}: {remark}"));
    }
    if let Some(known) = &looked.incomplete {
        let known = known.as_ref();
        let why = known.map_or_else(|why| why.clone(), |known| known.reasons.join("; "));
        context.print_failure(&format!("{name}: incomplete: {why}"))?;
        let holes = known.map_or(&[][..], |known| &known.holes);
        let listed = if verbose { holes.len() } else { MAX_HOLES };
        for Hole { start, end, .. } in holes.iter().take(listed) {
            context.print_failure(&format!("{name}: missing: bytes {}..{} of the dump", Hex(*start), Hex(*end)))?;
        }
        if holes.len() > listed {
            let more = counted((holes.len() - listed) as u64, "more hole");
            context.print_failure(&format!("{name}: and {more}; -v lists them"))?;
        }
    }
    for damage in &inspection.damage {
        context.print_failure(&format!("{name}: damaged: {damage}"))?;
    }
    for limit in &inspection.limits {
        context.print_failure(&format!("{name}: a limit of memtool, not damage: {limit}"))?;
    }
    if !looked.is_known() && inspection.damage.is_empty() {
        let what = inspection.problem().unwrap_or_else(|| NO_HEADER.to_owned());
        context.print_failure(&format!("{name}: {what}"))?;
    }
    Ok(())
}

/// The kernel's messages, a line each.
fn messages(context: &mut Context, name: &str, inspection: &Inspection) -> Result<Vec<Name>> {
    let Content::Minidump(facts) = &inspection.content else {
        let what = inspection.content.name();
        return Err(Error::Refused(format!("{name}: {what}: it has no message buffer")));
    };
    let buffer = facts.messages();
    dmesg::remark_on(context, name, &buffer);
    Ok(buffer.kernel_lines().map(|message| message.line.into()).collect())
}

fn describe(context: &mut Context, arguments: &Arguments, inspection: &Inspection) -> Result<()> {
    let Inspection { location, compression, content, length, .. } = inspection;
    let mut facts: Vec<(&str, String)> = Vec::new();
    facts.push(("dump", inspection.description()));
    facts.push(("place", place(inspection)));
    facts.extend(location.partition.iter().map(|partition| ("in", partition.to_string())));
    let size = location.end - location.start;
    facts.push(match compression {
        kerneldump::Compression::None => ("length", exact_size(size.into())),
        _ => {
            let before = match length {
                Some(length) => format!("{} before it", exact_size((*length).into())),
                None => "--verify tells the size before it".to_owned(),
            };
            ("length", format!("{} after {}, {before}", exact_size(size.into()), compression.name()))
        }
    });
    match (compression, inspection.frames) {
        (kerneldump::Compression::None, None) => {}
        (_, Some(frames)) => {
            facts.push(("read", format!("in place: a table tells of its {}", counted(frames.count, "frame"))))
        }
        (_, None) => facts.push(("read", "from its beginning only, as one stream".to_owned())),
    }
    if let Some(header) = &location.header {
        facts.extend(header_facts(header));
    }
    match content {
        Content::Minidump(minidump) => minidump_facts(minidump, &mut facts),
        Content::Elf(elf) => {
            let bytes: u128 = elf.segments.iter().map(|segment| u128::from(segment.size)).sum();
            facts.push(("memory", format!("{} in {}", exact_size(bytes), counted(elf.segments.len(), "segment"))));
            facts.extend(elf.writer.map(|writer| ("written by", writer.name().to_owned())));
            facts.extend(processors(&elf.processors));
        }
        Content::Lime(ranges) => facts.push(("memory", memory_in(ranges))),
        Content::Text(files) => {
            facts.extend(files.iter().map(|file| ("file", format!("{}, {}", file.name, exact_size(file.size.into())))));
        }
        Content::Image(image) if image.is_packed() => {
            facts.push(("memory", "known once it is decompressed".to_owned()));
        }
        Content::Image(image) => {
            facts.push(("memory", memory_in(&image.ranges)));
            facts.extend(image.page_compression.map(|how| ("pages", format!("compressed with {how}"))));
            facts.extend(processors(&image.processors));
        }
        Content::Encrypted | Content::Unknown => {}
    }
    facts.push(("state", state(arguments, inspection)));
    // Nothing else is among rows.
    if context.out.is_terminal() || !arguments.list_segments {
        for (name, text) in facts {
            context.out.line(&format!("{name:<15} {text}"))?;
        }
    }
    if arguments.list_segments { segments(context, content) } else { Ok(()) }
}

/// How much memory is in ranges of an image.
fn memory_in(ranges: &[MemoryRange]) -> String {
    let bytes: u128 = ranges.iter().map(|range| u128::from(range.length())).sum();
    format!("{} in {}", exact_size(bytes), counted(ranges.len(), "range"))
}

/// The processors of a machine, and the page tables of the first one that had them.
fn processors(processors: &[Processor]) -> Option<(&'static str, String)> {
    let tables = processors.iter().find_map(Processor::amd64_root);
    let tables = tables.map_or(String::new(), |(_, root)| format!(", page tables at {}", Hex(root)));
    (!processors.is_empty()).then(|| ("processors", format!("{}{tables}", processors.len())))
}

fn place(Inspection { location, packed, .. }: &Inspection) -> String {
    let noun = if location.partition.is_some() { "disk" } else { "device" };
    let packed = match packed {
        kerneldump::Compression::None => String::new(),
        packed => format!("; the image of the {noun} is compressed with {}", packed.name()),
    };
    match (location.place, location.sector_size) {
        (Container::File, _) => "a file of its own".to_owned(),
        (Container::LiveDump, _) => "a file, with a live dump's header at its end".to_owned(),
        (Container::Device, sector) => format!(
            "bytes {} to {} of a {} with sectors of {} bytes{packed}",
            location.start,
            location.end,
            if location.partition.is_some() { noun } else { "dump device" },
            sector.unwrap_or(0)
        ),
    }
}

fn minidump_facts(minidump: &MinidumpFacts, facts: &mut Vec<(&str, String)>) {
    let header: &Header = &minidump.header;
    facts.push(("kernel base", Hex(header.kernel_base).to_string()));
    if let Some(map) = header.direct_map {
        let physical = if map.physical == 0 { String::new() } else { format!(" of {} on", Hex(map.physical)) };
        facts.push(("direct map", format!("{}-{}{physical}", Hex(map.base), Hex(map.end))));
    }
    if let Some((start, end)) = header.kernel_image {
        facts.push(("kernel image", format!("{}-{}, as it ran", Hex(start), Hex(end))));
    }
    let names = [
        (Section::MessageBuffer, "message buffer"),
        (Section::DumpAvail, "dump_avail"),
        (Section::Bitmap, "page bitmap"),
        (Section::PageTables, "page tables"),
    ];
    for (section, name) in names {
        if section != Section::DumpAvail || header.dump_avail_size.is_some() {
            facts.push((
                name,
                format!("{} at {}", exact_size(header.size_of(section).into()), header.offset_of(section)),
            ));
        }
    }
    let pages = minidump.pages.count();
    let bytes = pages.saturating_mul(header.page_size.into());
    let segments = minidump.segments();
    let of: u64 = segments.iter().map(|segment| segment.of).sum();
    let within = counted(segments.len(), "segment");
    let share = if of == 0 { String::new() } else { format!(", {} % of {of} in {within}", share(pages, of)) };
    facts.push(("pages", format!("{pages} ({}){share}", rough_size(bytes))));
    facts.extend(header.left_out.iter().map(|left_out| ("left out", left_out_text(left_out))));
    if let Some(tables) = &minidump.tables {
        let TableFacts { mapped, missing, outside, missing_tables, unmapped } = tables;
        facts.push((
            "mapped",
            format!("{} of memory, {missing} of them missing; {outside} of devices", counted(*mapped, "page")),
        ));
        match (unmapped, header.direct_map) {
            (Some(unmapped), Some(_)) => {
                facts.push((
                    "unmapped",
                    format!("{}, reachable through the direct map only", counted(*unmapped, "page")),
                ));
            }
            (Some(unmapped @ 1..), None) => {
                facts.push(("unmapped", format!("{}, reachable through no mapping", counted(*unmapped, "page"))));
            }
            _ => {}
        }
        if *missing_tables > 0 {
            facts.push(("tables missing", format!("{} not in the dump", counted(*missing_tables, "page table page"))));
        }
    }
}

/// A share in per cent, to the nearest tenth; what is not all of it is not 100.
fn share(part: u64, of: u64) -> String {
    let (part, of) = (u128::from(part), u128::from(of.max(1)));
    let rounded = (part * 1000 + of / 2) / of;
    let tenths = if part < of { rounded.min(999) } else { rounded };
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn state(arguments: &Arguments, inspection: &Inspection) -> String {
    match (inspection.damage.len(), &inspection.content) {
        (0, Content::Unknown) => "nothing can be checked".to_owned(),
        (0, _) if !inspection.limits.is_empty() => "no damage found; not everything was checked".to_owned(),
        (0, Content::Encrypted) => "the headers are correct; the rest can be checked with the key".to_owned(),
        (0, _) if !inspection.warnings.is_empty() => "no damage, but see the warnings".to_owned(),
        (0, _) if arguments.verify => "consistent: everything was read".to_owned(),
        (0, _) => "no damage found; --verify reads everything".to_owned(),
        (1, _) => "DAMAGED in one place".to_owned(),
        (places, _) => format!("DAMAGED in {places} places"),
    }
}

fn range_rows(ranges: &[MemoryRange]) -> Vec<Vec<String>> {
    ranges.iter().map(|range| vec![range.start.to_string(), range.end.to_string()]).collect()
}

fn segments(context: &mut Context, content: &Content) -> Result<()> {
    let (headings, rows): (&[&str], Vec<Vec<String>>) = match content {
        Content::Minidump(facts) => {
            let row = |segment: &SegmentFacts| {
                let SegmentFacts { start, end, pages, of } = segment;
                let percent = if context.out.is_terminal() { " %" } else { "" };
                let share = share(*pages, *of) + percent;
                vec![start.to_string(), end.to_string(), pages.to_string(), of.to_string(), share]
            };
            (&["START", "END", "PAGES", "OF", "SHARE"], facts.segments().iter().map(row).collect())
        }
        Content::Elf(facts) => {
            let rows = facts.segments.iter().map(|segment| {
                vec![
                    segment.physical.to_string(),
                    segment.virtual_address.to_string(),
                    segment.offset.to_string(),
                    context.out.size(segment.size.into()),
                ]
            });
            (&["PHYSICAL", "VIRTUAL", "OFFSET", "SIZE"], rows.collect())
        }
        Content::Lime(ranges) => (&["START", "END"], range_rows(ranges)),
        Content::Image(facts) => (&["START", "END"], range_rows(&facts.ranges)),
        Content::Text(_) | Content::Encrypted | Content::Unknown => return Ok(()),
    };
    context.out.rows(headings, &rows)
}
