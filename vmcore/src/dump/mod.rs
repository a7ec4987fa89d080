//! Reading kernel dumps of every architecture FreeBSD dumps: from a file, plain, gzip or zstd, from a live dump
//! whose header was left on, or from a dump device; and saying whether they are whole.
//!
//! [`inspect`] looks at a dump once, from front to back; [`DumpedMemory`] reads memory out of one. Nothing is
//! allocated because a header says so before the file has been seen to be that long.

mod block_cache;
pub mod byte_source;
mod companion;
pub mod disk;
mod elf;
mod extent;
pub mod foreign;
mod frames;
#[cfg(feature = "gzip")]
mod gzip;
pub mod header;
mod images;
mod info;
mod lime_ranges;
mod locate;
mod memory;
mod memory_range;
mod minidump;
pub mod pages;
mod read_at;
mod running;
mod saved;
mod search;
#[cfg(feature = "zstd")]
mod seekable;
#[cfg(not(feature = "zstd"))]
#[path = "seekable_absent.rs"]
mod seekable;
pub mod stream;
mod text;
mod unfolded;
mod unpacked;

pub use elf::ElfFacts;
pub use extent::Extent;
pub use frames::Frames;
pub use images::{CoreWriter, ImageFacts, ImageFormat, Processor};
pub use info::InfoFile;
pub use locate::{Container, DeviceDump, DumpLocation, last_sectors, last_sectors_of};
pub use memory::{DumpInOrder, DumpedMemory};
pub use memory_range::MemoryRange;
pub use minidump::{MinidumpFacts, SegmentFacts, TableFacts};
pub use search::{DiskSearch, PartitionDump, on_disk};
pub use text::{Forwards, Member, TextFile, is_member as is_tar_header};
pub use unfolded::inspect_packed;

use crate::architecture::Architecture;
use crate::bounds::filled;
use crate::kerneldump;
use crate::lime;
use crate::progress::Progress;
use crate::units::counted;
use byte_source::ByteSource;
use foreign::Foreign;
use frames::NoTable;
use images::ReadImage;
use serde::Serialize;
use std::fmt;
use std::io;
use stream::{Stream, StreamError};

/// How thoroughly a dump is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// What is needed to find pages in it.
    Pages,
    /// Headers and tables, as far as they stand before the pages.
    Quick,
    /// Every byte and every page table entry.
    Full,
}

/// Something in a dump that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Which part of the dump, or which field of its header.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// What a file or device holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A minidump.
    Minidump(Box<MinidumpFacts>),
    /// A full dump: an ELF core file of physical memory, or another one.
    Elf(ElfFacts),
    /// A text dump, textdump(4), with the files in it.
    Text(Vec<Member>),
    /// An image of memory in LiME's format.
    Lime(Vec<MemoryRange>),
    /// Memory of a virtual machine, or an image of memory whose pages are compressed or scattered.
    Image(Box<ImageFacts>),
    /// A dump that only its key's owner can read.
    Encrypted,
    /// Nothing that is known: an image of memory without a header, perhaps. See [`Inspection::problem`].
    Unknown,
}

impl Content {
    /// What it is, for people.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Minidump(_) => "minidump",
            Self::Elf(_) => "ELF core file",
            Self::Text(_) => "text dump",
            Self::Lime(_) => "LiME image of memory",
            Self::Image(facts) => facts.format.name(),
            Self::Encrypted => "encrypted dump",
            Self::Unknown => "not a dump that memtool knows",
        }
    }
}

/// What was found out about a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Where in the file or device it is, and what its headers say.
    pub location: DumpLocation,
    /// How it is compressed.
    pub compression: kerneldump::Compression,
    /// The frames that it is compressed in, if a table tells of them, so that any part of it can be read alone.
    pub frames: Option<Frames>,
    /// How the image of the whole device is compressed that the dump is on.
    pub packed: kerneldump::Compression,
    /// What it is.
    pub content: Content,
    /// The format that it begins as, if that is one that is not read.
    pub foreign: Option<Foreign>,
    /// Bytes before compression, if it was read to its end.
    pub length: Option<u64>,
    /// What is wrong with it. A dump with damage is not to be trusted.
    pub damage: Vec<Damage>,
    /// What memtool does not look at, since it would take too much memory. Nothing need be wrong there.
    pub limits: Vec<Damage>,
    /// What may be wrong, or is worth knowing.
    pub warnings: Vec<String>,
    /// What is as it should be, and yet worth knowing for who looks closely.
    pub remarks: Vec<String>,
    /// Of a whole disk: its partitions, and the dumps in them.
    pub disk: Option<DiskSearch>,
}

impl Inspection {
    /// What it is, in more words than [`Content::name`].
    pub fn description(&self) -> String {
        match &self.content {
            Content::Unknown => match &self.disk {
                Some(DiskSearch { disk: Some(_), .. }) => "a disk with partitions",
                Some(_) => "a file without partitions",
                None => self.foreign.map_or(self.content.name(), |foreign| foreign.name),
            }
            .to_owned(),
            Content::Minidump(facts) => format!("minidump, {}", facts.header.format()),
            Content::Elf(facts) => {
                format!("ELF core file, {} bits, machine {} {}", facts.bits, facts.machine, facts.machine_name)
            }
            content => content.name().to_owned(),
        }
    }

    /// Why there is nothing to read in it: it is empty, of a format that is not read, or so damaged that it is not known
    /// what it is. `None` for what is known, and for what may be an image of memory without a header.
    pub fn problem(&self) -> Option<String> {
        if self.content != Content::Unknown {
            return None;
        }
        if self.location.start == self.location.end {
            return Some("it is empty".to_owned());
        }
        if let Some(search) = &self.disk {
            return Some(search.problem());
        }
        if let Some(Foreign { name, remedy }) = self.foreign {
            return Some(format!("{name}, which memtool does not read as it is; {remedy}"));
        }
        if let Some(damage) = self.damage.first() {
            return Some(format!("it is damaged: {damage}"));
        }
        let is_image = self.location.place == Container::File;
        (!is_image).then(|| "the data between the headers does not begin like a dump".to_owned())
    }
}

/// What is found on the way.
#[derive(Default)]
struct Findings {
    damage: Vec<Damage>,
    limits: Vec<Damage>,
    warnings: Vec<String>,
    remarks: Vec<String>,
    /// What the dump lies in, once that is known.
    place: Option<Container>,
    /// The partitions of a disk.
    disk: Option<DiskSearch>,
}

impl Findings {
    fn damaged(&mut self, place: impl fmt::Display, what: impl fmt::Display) {
        self.damage.push(Damage { place: place.to_string(), what: what.to_string() });
    }

    fn limited(&mut self, place: impl fmt::Display, what: impl fmt::Display) {
        self.limits.push(Damage { place: place.to_string(), what: what.to_string() });
    }

    /// Notes why reading stopped; only an error of the file itself is one.
    fn stopped(&mut self, place: impl fmt::Display, stop: StreamError) -> io::Result<()> {
        match stop {
            StreamError::Io(error) => Err(error),
            stop => {
                self.damaged(place, stop);
                Ok(())
            }
        }
    }
}

/// Finds the dump of a device, or of the image of one, by its last header, whatever the device begins with; with what
/// is wrong with its headers. `sector_size` is what the device does not tell itself; without it the usual sizes are
/// tried.
///
/// # Errors
///
/// It cannot be read.
pub fn on_device(volume: &ByteSource, sector_size: Option<u32>) -> io::Result<Option<(DeviceDump, Vec<Damage>)>> {
    let mut findings = Findings::default();
    let found = locate::on_device(volume, volume.sector_size().or(sector_size), &mut findings)?;
    Ok(found.map(|found| (found, findings.damage)))
}

/// Looks at what is in a file or device.
///
/// # Errors
///
/// It cannot be read. That a dump is damaged is no error: the result says so.
///
/// ```
/// use vmcore::dump::{Content, Depth, byte_source::ByteSource, inspect};
/// use vmcore::progress::Progress;
///
/// let source = ByteSource::from_bytes(b"no dump, but what may be an image of memory".to_vec());
/// let found = inspect(&source, Depth::Full, &Progress::default())?;
/// assert_eq!(found.content, Content::Unknown);
/// assert!(found.damage.is_empty() && found.problem().is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn inspect(volume: &ByteSource, depth: Depth, progress: &Progress) -> io::Result<Inspection> {
    let mut findings = Findings::default();
    let location = search::locate(volume, &mut findings)?;
    findings.place = Some(location.place);
    let compression = match &location.header {
        _ if location.place == Container::File => stream::compression_at(volume, location.start)?,
        Some(header) => kerneldump::Compression::from_code(header.compression).unwrap_or_else(|| {
            findings.damaged("compression", format!("unknown code {}", header.compression));
            kerneldump::Compression::None
        }),
        None => kerneldump::Compression::None,
    };
    let mut result = Inspection {
        location,
        compression,
        frames: None,
        packed: kerneldump::Compression::None,
        content: Content::Unknown,
        foreign: None,
        length: None,
        damage: Vec::new(),
        limits: Vec::new(),
        warnings: Vec::new(),
        remarks: Vec::new(),
        disk: findings.disk.take(),
    };
    let location = &result.location;
    let header = location.header.as_ref();
    if result.disk.is_some() && location.partition.is_none() {
        // No dump on it is meant, and as memory it would give wrong answers.
        return Ok(result);
    }
    if header.is_some_and(|header| header.key_size > 0) {
        result.content = Content::Encrypted;
    } else if text::is_backwards(&result) {
        result.content = Content::Text(text::backwards(volume, location.start, location.end, &mut findings)?);
        result.length = Some(location.end - location.start);
    } else if let Some(format) = image_format(volume, &result)? {
        match images::read(volume, format, depth, &mut findings)? {
            ReadImage::Known(facts) => {
                result.content = Content::Image(facts);
                result.length = Some(result.location.end);
            }
            ReadImage::Refused(foreign) => result.foreign = Some(foreign),
            ReadImage::Damaged => {}
        }
    } else {
        let range = (location.start, location.end);
        let framed = if compression == kerneldump::Compression::Zstd {
            seekable::open(volume, range)?
        } else {
            Err(NoTable::Absent)
        };
        let framed = match framed {
            Ok((bytes, frames)) => {
                result.frames = Some(frames);
                Some(bytes)
            }
            Err(NoTable::Damaged(why)) => {
                findings.warnings.push(format!("the table of zstd's frames at the end is not used: {why}"));
                None
            }
            Err(NoTable::Absent | NoTable::LargeFrames(_)) => None,
        };
        // To see every byte, it is read as other decompressors read it.
        let (volume, range, packed) = match &framed {
            Some(bytes) if depth != Depth::Full => (bytes, (0, bytes.length()), kerneldump::Compression::None),
            _ => (volume, range, compression),
        };
        let again = || Stream::new(volume, range, packed, progress);
        // The beginning is read twice.
        let beginning = Progress::default();
        let first = Stream::new(volume, range, packed, &beginning)?;
        let is_compressed = compression != kerneldump::Compression::None;
        let found = content(first, (depth, is_compressed), &mut findings, again)?;
        (result.content, result.foreign, result.length) = found;
        if let (Some(bytes), Some(length)) = (&framed, result.length)
            && bytes.length() != length
        {
            let what =
                format!("there are {}, and the table of its frames says {}", counted(length, "byte"), bytes.length());
            findings.damaged("compression", what);
        }
    }
    if let Some(wanted) = volume.partition()
        && result.location.partition.is_none()
        && result.content != Content::Unknown
    {
        // What is compressed is a dump, and no disk.
        result.disk = Some(DiskSearch::without_table(wanted));
        result.content = Content::Unknown;
    }
    if volume.left_out() > 0 {
        let left_out = volume.left_out();
        findings.warnings.push(format!(
            "the last {left_out} bytes are not in the file: savecore(8) omits zeros at the end, and the info file has the dump's length"
        ));
    }
    check_header(&result, &mut findings);
    (result.damage, result.limits) = (findings.damage, findings.limits);
    (result.warnings, result.remarks) = (findings.warnings, findings.remarks);
    Ok(result)
}

/// The format of an image that is the whole file, and is not compressed as such.
fn image_format(volume: &ByteSource, found: &Inspection) -> io::Result<Option<ImageFormat>> {
    if found.location.place != Container::File || found.compression != kerneldump::Compression::None {
        return Ok(None);
    }
    if volume.running().is_some() {
        return Ok(Some(ImageFormat::BhyveMachine));
    }
    let mut head = vec![0; BEGINNING];
    let read = volume.read_at(found.location.start, &mut head)?;
    Ok(images::recognise(filled(&head, read)?).or_else(|| images::recognise_beside(volume)))
}

/// Bytes that tell what a dump is.
const BEGINNING: usize = 4096;

/// What the first bytes of a dump that is not compressed say.
enum Beginning {
    Minidump(Box<header::Header>),
    /// A minidump whose header cannot be, and why.
    Damaged(String),
    Elf,
    Lime,
    Text,
    Image(ImageFormat),
    Foreign(Foreign),
    Other,
}

impl Beginning {
    fn from_head(head: &[u8]) -> Self {
        if let Some(format) = images::recognise(head) {
            return Self::Image(format);
        }
        let mut page = [0; header::HEADER_LENGTH];
        page.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
        match header::Header::parse(&page) {
            Ok(Some(header)) => Self::Minidump(Box::new(header)),
            Err(why) => Self::Damaged(why),
            Ok(None) if head.starts_with(b"\x7fELF") && elf::is_no_core(head) => Self::Foreign(foreign::NO_CORE),
            Ok(None) if head.starts_with(b"\x7fELF") => Self::Elf,
            Ok(None) if lime::is_lime(head) => Self::Lime,
            Ok(None) if head.first_chunk().is_some_and(text::begins) => Self::Text,
            Ok(None) => foreign::recognise(head).map_or(Self::Other, Self::Foreign),
        }
    }
}

/// Recognises what a stream holds by its first bytes, and reads it from there on.
fn content<'a>(
    mut first: Stream<'_>,
    (depth, is_compressed): (Depth, bool),
    findings: &mut Findings,
    again: impl FnOnce() -> io::Result<Stream<'a>>,
) -> io::Result<(Content, Option<Foreign>, Option<u64>)> {
    let mut head = vec![0; BEGINNING];
    match first.read(&mut head) {
        Ok(read) => head.truncate(read),
        Err(stop) => {
            findings.stopped("compression", stop)?;
            return Ok((Content::Unknown, None, None));
        }
    }
    let mut stream = again()?;
    let mut foreign = None;
    let content = match Beginning::from_head(&head) {
        Beginning::Minidump(header) => {
            Content::Minidump(Box::new(minidump::read(&mut stream, *header, depth, findings)?))
        }
        Beginning::Damaged(why) => {
            findings.damaged("minidump header", why);
            Content::Unknown
        }
        Beginning::Elf => elf::read(&mut stream, findings)?.map_or(Content::Unknown, Content::Elf),
        Beginning::Lime => Content::Lime(lime_ranges::list(&mut stream, findings)?),
        Beginning::Text => Content::Text(text::forwards(&mut stream, findings)?),
        // What is in it is known once it is decompressed. A device has none.
        Beginning::Image(format) if stream.is_compressed() => Content::Image(Box::new(ImageFacts::packed(format))),
        Beginning::Image(_) => Content::Unknown,
        Beginning::Foreign(found) => {
            foreign = Some(found);
            Content::Unknown
        }
        Beginning::Other => {
            let is_twice = is_compressed && stream::compression_of(&head) != kerneldump::Compression::None;
            foreign = is_twice.then_some(foreign::TWICE);
            Content::Unknown
        }
    };
    let mut length = stream.length();
    if length.is_none() && depth == Depth::Full && findings.damage.is_empty() {
        match stream.rest() {
            Ok(_) => length = Some(stream.position()),
            Err(stop) => findings.stopped("pages", stop)?,
        }
    }
    let ignored = stream.ignored();
    if ignored > 0 {
        findings
            .warnings
            .push(format!("data after the end of the gzip stream is ignored: {}", counted(ignored, "byte")));
    }
    Ok((content, foreign, length))
}

/// Compares what the header says with what was found.
fn check_header(inspection: &Inspection, findings: &mut Findings) {
    let Some(header) = &inspection.location.header else { return };
    let what = match &inspection.content {
        Content::Minidump(facts) => facts.header.architecture,
        _ => return,
    };
    if Architecture::from_machine_arch(&header.architecture) != Some(what) {
        let (named, what) = (header.architecture.escape_debug(), what.name());
        findings.damaged("architecture", format!("the header says '{named}', but the dump is for {what}"));
    }
    if let (Some(length), kerneldump::Compression::None) = (inspection.length, inspection.compression)
        && header.dump_length != length
    {
        findings.damaged(
            "dumplength",
            format!("the header says {}, but there are {}", header.dump_length, counted(length, "byte")),
        );
    }
}
