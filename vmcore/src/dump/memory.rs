//! Physical memory as a dump or an image holds it, at any address.

use super::block_cache::BlockCache;
use super::byte_source::{ByteSource, Trouble};
use super::elf::ElfSegment;
use super::extent::{Extent, in_a_row};
use super::memory_range::MemoryRange;
use super::minidump::MinidumpFacts;
use super::stream::{Stream, StreamError};
use super::unfolded::{Unfolded, looked_at};
use super::{Content, Inspection};
use crate::bounds::{filled, head, head_mut, part, split_at_most, tail};
use crate::chunks::{Chunk, ChunkReader};
use crate::error::{Error, Result};
use crate::kerneldump::Compression;
use crate::lime;
use crate::memory::{Memory, NotRead, ReadError, WriteError};
use crate::opened::Scratch;
use crate::progress::Progress;
use crate::segment::Segment;
use std::io::{self, Read};
use std::ops::Range;

/// Memory in a dump: the pages of a minidump, the segments of a full dump or a LiME image, or an image without a
/// header. Finding an address takes the same time in every minidump.
///
/// ```no_run
/// use std::path::Path;
/// use vmcore::dump::{DumpedMemory, byte_source::ByteSource};
/// use vmcore::memory::Memory;
/// use vmcore::progress::Progress;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let source = ByteSource::open(Path::new("vmcore.0"))?;
/// let memory = DumpedMemory::open(source, None, None, &Progress::default())?;
/// for extent in memory.extents().take(3) {
///     let mut bytes = [0; 16];
///     memory.fill(extent.physical, &mut bytes)?;
///     println!("{:#x}: {bytes:x?}", extent.physical);
/// }
/// # Ok(())
/// # }
/// ```
pub struct DumpedMemory {
    volume: ByteSource,
    inspection: Inspection,
    /// Of everything but a minidump, in ascending order, without overlaps.
    extents: Vec<Extent>,
    /// Bytes of the dump.
    length: u64,
    /// Where it ends in `volume`.
    dump_end: u64,
    /// What was read before.
    pages: BlockCache,
    /// Memory by the virtual addresses that a core file has beside the physical ones: it is at these.
    virtual_extents: Vec<VirtualExtent>,
    is_kept: bool,
}

/// Memory that a core file tells both addresses of.
#[derive(Debug, Clone, Copy)]
struct VirtualExtent {
    first: u64,
    size: u64,
    physical: u64,
}

/// The memory of a core file by virtual addresses, in ascending order: of segments that begin at the same one, the first counts.
fn virtual_extents(inspection: &Inspection) -> Vec<VirtualExtent> {
    let Content::Elf(facts) = &inspection.content else { return Vec::new() };
    if facts.has_virtual_addresses_only() {
        return Vec::new();
    }
    let extent = |segment: &ElfSegment| {
        let (first, physical) = (segment.virtual_address.0, segment.physical.0);
        VirtualExtent { first, size: segment.size.min(u64::MAX - first).min(u64::MAX - physical), physical }
    };
    // A full dump has the physical address in both places (`sys/kern/kern_dump.c`).
    let is_told = |segment: &&ElfSegment| {
        ElfSegment::is_address(segment.virtual_address.0) && segment.virtual_address != segment.physical
    };
    let mut extents: Vec<VirtualExtent> = facts.segments.iter().filter(is_told).map(extent).collect();
    extents.sort_by_key(|extent| extent.first);
    extents.dedup_by_key(|extent| extent.first);
    extents
}

impl DumpedMemory {
    /// Opens what is in a volume. Of a dump that is compressed in frames with a table ([`super::Frames`]), those are
    /// decompressed that are read. Another compressed one is decompressed from its beginning as far as it is read, and
    /// kept in a file without a name in `scratch`; the progress counts the compressed bytes of what is decompressed now.
    ///
    /// Of an image without a header, the first byte is taken for that at physical address 0, unless `packed` tells
    /// which ranges lie in it one after another.
    ///
    /// # Errors
    ///
    /// It cannot be read, or there is no memory in it: it is a text dump, or encrypted. It is compressed, and there is no
    /// `scratch`.
    pub fn open<'a>(
        volume: ByteSource,
        packed: Option<&[(u64, u64)]>,
        scratch: impl Into<Option<Scratch<'a>>>,
        progress: &Progress,
    ) -> Result<Self> {
        let scratch = scratch.into();
        let inspection = looked_at(&volume, &Progress::default())?;
        let Unfolded { volume, inspection, is_kept } =
            Unfolded { volume, inspection, is_kept: false }.all(scratch, progress)?;
        Ok(Self { is_kept, ..Self::location(volume, inspection, packed)? })
    }

    /// Finds out where memory lies in the dump, as it is before compression.
    fn location(volume: ByteSource, inspection: Inspection, packed: Option<&[(u64, u64)]>) -> Result<Self> {
        if let Some(problem) = inspection.problem() {
            return Err(Error::Refused(format!("there is no memory to read in it: {problem}")));
        }
        if let (Content::Minidump(facts), Some(limit)) = (&inspection.content, inspection.limits.first())
            && facts.pages.count() == 0
        {
            return Err(Error::Unsupported(format!(
                "no page can be found in the dump: a limit of memtool, not damage: {limit}"
            )));
        }
        let length = match inspection.compression {
            Compression::None => inspection.location.end.min(volume.length()).saturating_sub(inspection.location.start),
            _ => inspection.length.unwrap_or(u64::MAX),
        };
        let mut extents = match &inspection.content {
            Content::Minidump(_) => Vec::new(),
            Content::Elf(facts) => {
                let segments = facts.segments.iter();
                let extent = |physical, size, offset| Extent { physical, size, offset };
                let has_virtual = facts.has_virtual_addresses_only();
                let address =
                    |segment: &ElfSegment| if has_virtual { segment.virtual_address.0 } else { segment.physical.0 };
                segments.map(|segment| extent(address(segment), segment.size, segment.offset)).collect()
            }
            Content::Lime(ranges) => in_a_row(ranges.iter().map(MemoryRange::bounds), lime::HEADER_LENGTH as u64),
            // Opened below.
            Content::Image(_) => Vec::new(),
            Content::Unknown => match packed {
                None if volume.lacks_state() => {
                    return Err(Error::Refused(
                        "the memory of a VMware machine without its state, a file .vmss or .vmsn, beside it: above 3 GiB it is not known where memory lies, unless --segments tells"
                            .to_owned(),
                    ));
                }
                None => vec![Extent { physical: 0, size: length, offset: 0 }],
                Some(ranges) => in_a_row(ranges.iter().copied(), 0),
            },
            Content::Text(_) | Content::Encrypted => {
                return Err(Error::NoMemory(inspection.content.name()));
            }
        };
        let (mut volume, mut length, mut dump_end) = (volume, length, inspection.location.end);
        if let Content::Image(facts) = &inspection.content {
            let image = facts.open(volume);
            volume = image.volume;
            extents = image.extents;
            if image.is_view {
                (length, dump_end) = (volume.length(), volume.length());
            }
        }
        // What the file is too short for is not there.
        for extent in &mut extents {
            extent.size = extent.size.min(length.saturating_sub(extent.offset)).min(u64::MAX - extent.physical);
        }
        extents.retain(|extent| extent.size > 0);
        extents.sort_by_key(|extent| extent.physical);
        // Where two hold the same memory, the first one does.
        let mut end = 0;
        extents.retain_mut(|extent| {
            *extent = extent.clipped(end, u64::MAX);
            end = end.max(extent.physical + extent.size);
            extent.size > 0
        });
        let virtual_extents = virtual_extents(&inspection);
        let pages = BlockCache::new(KEPT, BLOCK);
        Ok(Self { volume, inspection, extents, length, dump_end, pages, virtual_extents, is_kept: false })
    }

    /// Tells later why something of it could not be read.
    pub fn trouble(&self) -> Trouble {
        self.volume.trouble()
    }

    /// Whether what is read of it is decompressed from its beginning on, and kept in a file.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// What was found out about the dump.
    pub fn inspection(&self) -> &Inspection {
        &self.inspection
    }

    /// The minidump, if it is one.
    pub fn minidump(&self) -> Option<&MinidumpFacts> {
        match &self.inspection.content {
            Content::Minidump(facts) => Some(facts),
            _ => None,
        }
    }

    /// Whether the dump has memory by virtual addresses and tells no physical ones: then an address is a virtual one
    /// wherever a physical one is meant.
    pub fn has_virtual_addresses_only(&self) -> bool {
        matches!(&self.inspection.content, Content::Elf(facts) if facts.has_virtual_addresses_only())
    }

    /// Refuses a dump without physical addresses.
    ///
    /// # Errors
    ///
    /// [`Self::has_virtual_addresses_only`].
    pub fn check_physical(&self) -> Result<()> {
        if self.has_virtual_addresses_only() {
            return Err(Error::Refused(
                "it is a core file of virtual memory: its physical addresses are unknown".to_owned(),
            ));
        }
        Ok(())
    }

    /// Whether it is a core file that tells the virtual addresses of memory beside the physical ones.
    pub fn has_virtual_addresses(&self) -> bool {
        !self.virtual_extents.is_empty()
    }

    /// The physical address of a virtual one that a core file tells itself, and bytes from there on.
    pub fn physical_of(&self, address: u64) -> Option<(u64, u64)> {
        let next = self.virtual_extents.partition_point(|extent| extent.first <= address);
        let extent = self.virtual_extents.get(next.checked_sub(1)?)?;
        let within = address - extent.first;
        let remaining = extent.size.checked_sub(within).filter(|remaining| *remaining > 0)?;
        Some((extent.physical.checked_add(within)?, remaining))
    }

    /// Where the byte of a physical address is in the dump, and how many bytes from there on belong together, up to
    /// the end of a minidump's page; `None` if it is not in the dump.
    pub fn place_of(&self, physical: u64) -> Option<(u64, u64)> {
        if let Some(facts) = self.minidump() {
            let page = u64::from(facts.header.page_size);
            return Some((facts.offset_of(physical)?, page - physical % page));
        }
        let next = self.extents.partition_point(|extent| extent.physical <= physical);
        let extent = self.extents.get(next.checked_sub(1)?)?;
        let within = physical - extent.physical;
        let remaining = extent.size.checked_sub(within).filter(|remaining| *remaining > 0)?;
        Some((extent.offset.checked_add(within)?, remaining))
    }

    /// Bytes of memory in the dump.
    pub fn count(&self) -> u64 {
        match self.minidump() {
            Some(facts) => facts.pages.count().saturating_mul(facts.header.page_size.into()),
            None => self.extents.iter().fold(0, |sum: u64, extent| sum.saturating_add(extent.size)),
        }
    }

    /// All memory in the dump, in ascending order, in pieces that lie together in the dump.
    pub fn extents(&self) -> impl Iterator<Item = Extent> {
        self.extents_within(0, u64::MAX)
    }

    /// As [`Self::extents`], of the memory from a physical address on and before another one.
    pub fn extents_within(&self, start: u64, end: u64) -> impl Iterator<Item = Extent> {
        let pages = self.minidump().map(|facts| self.pages_within(facts, start, end));
        let first = self.extents.partition_point(|extent| extent.physical + extent.size <= start);
        let others = part(&self.extents, first..).iter().copied();
        let all = pages.into_iter().flatten().chain(others.take_while(move |extent| extent.physical < end));
        all.map(move |extent| extent.clipped(start, end))
    }

    /// As [`Self::extents_within`], of a minidump, in whole pages.
    fn pages_within(&self, facts: &MinidumpFacts, start: u64, end: u64) -> impl Iterator<Item = Extent> {
        let page = u64::from(facts.header.page_size);
        let (first, length) = (facts.header.offset_of_pages(), self.length);
        let extent = move |(physical, count, before): (u64, u64, u64)| Extent {
            physical,
            size: count.saturating_mul(page),
            offset: first.saturating_add(before.saturating_mul(page)),
        };
        // What the file is too short for is not there.
        let there =
            move |extent: Extent| Extent { size: extent.size.min(length.saturating_sub(extent.offset)), ..extent };
        let runs = facts.pages.runs_within(start, end).map(extent).map(there);
        let mut runs = runs.take_while(|extent| extent.size > 0).peekable();
        std::iter::from_fn(move || {
            let mut extent = runs.next()?;
            // A range may begin right behind the one before it.
            while let Some(more) = runs.next_if(|next| extent.physical.checked_add(extent.size) == Some(next.physical))
            {
                extent.size = extent.size.saturating_add(more.size);
            }
            Some(extent)
        })
    }

    /// Fills the buffer with bytes of the dump itself, as far as there are any; tells how many there were. Where it asks
    /// for little, what is around it is kept for the next time.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub fn read_dump(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let within = offset % BLOCK as u64;
        if buffer.len() as u64 > BLOCK as u64 - within || buffer.len() == BLOCK {
            return self.read_volume(offset, buffer);
        }
        match self.pages.get(offset / BLOCK as u64, BLOCK, |bytes| self.read_volume(offset - within, bytes)) {
            Ok(block) => tail(&block, within).read(buffer),
            // What is around it cannot be read; it alone may be.
            Err(_) => self.read_volume(offset, buffer),
        }
    }

    fn read_volume(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let at = self.inspection.location.start.saturating_add(offset);
        self.volume.read_at(at, head_mut(buffer, self.dump_end.saturating_sub(at)))
    }

    /// Reads few bytes at a place of the dump, such as a page table's entry. `None` where the dump has been cut off.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub fn entry<const N: usize>(&self, offset: u64) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        Ok((self.read_dump(offset, &mut bytes)? == N).then_some(bytes))
    }

    /// Writes over memory in the dump, up to the end of a page; tells how many bytes it took.
    ///
    /// # Errors
    ///
    /// Those of [`ByteSource::write_at`]; there is no memory at the address in the dump.
    pub fn write_at(&self, address: u64, bytes: &[u8]) -> Result<usize, WriteError> {
        let (offset, remaining) = self.place_of(address).ok_or(WriteError::Absent)?;
        let part = head(bytes, remaining);
        self.volume.write_at(self.inspection.location.start.saturating_add(offset), part)?;
        // Page tables may have been written to.
        self.pages.clear();
        Ok(part.len())
    }
}

/// Memory in a dump, to be read once in the order of its addresses. A dump that is compressed is decompressed on the
/// way, without a copy of it.
pub struct DumpInOrder(DumpedMemory);

impl DumpInOrder {
    /// Opens what is in a volume, as [`DumpedMemory::open`] does. A dump is decompressed into a file only where its
    /// bytes are in another order than its addresses, or its length is not known.
    ///
    /// # Errors
    ///
    /// Those of [`DumpedMemory::open`].
    pub fn open<'a>(
        volume: ByteSource,
        packed: Option<&[(u64, u64)]>,
        scratch: impl Into<Option<Scratch<'a>>>,
        progress: &Progress,
    ) -> Result<Self> {
        let scratch = scratch.into();
        let inspection = looked_at(&volume, progress)?;
        let is_plain = inspection.compression == Compression::None;
        let needs_file = match &inspection.content {
            Content::Image(_) => true,
            Content::Unknown => packed.is_none(),
            _ => false,
        };
        if inspection.frames.is_some() || (!is_plain && needs_file) {
            return DumpedMemory::open(volume, packed, scratch, progress).map(Self);
        }
        let memory = DumpedMemory::location(volume, inspection, packed)?;
        memory.check_physical()?;
        let ends = memory.extents.iter().map(|extent| extent.offset.saturating_add(extent.size));
        let in_order = memory.extents.iter().skip(1).zip(ends).all(|(extent, end)| extent.offset >= end);
        if is_plain || in_order {
            return Ok(Self(memory));
        }
        DumpedMemory::open(memory.volume, packed, scratch, progress).map(Self)
    }

    /// What was found out about the dump.
    pub fn inspection(&self) -> &Inspection {
        &self.0.inspection
    }

    /// All memory in the dump, in ascending order.
    pub fn extents(&self) -> impl Iterator<Item = Extent> {
        self.0.extents()
    }

    /// What [`DumpedMemory::read_in_order`] takes; where the dump is compressed, nothing else may be read of it.
    pub fn memory(&self) -> &DumpedMemory {
        &self.0
    }
}

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

impl DumpedMemory {
    /// Holes in the dump's file, by their place in the dump. Shorter ones are read as soon as passed over.
    fn holes(&self) -> Vec<Range<u64>> {
        let (start, end) = (self.inspection.location.start, self.inspection.location.end);
        let holes = self.volume.holes(start..end, BUFFER as u64);
        holes.into_iter().map(|hole| hole.start - start..hole.end - start).collect()
    }

    /// Calls with each piece of the memory in ascending order, one after another.
    ///
    /// # Errors
    ///
    /// Those of the function called; a dump that cannot be decompressed.
    pub fn read_in_order(&self, mut take: impl FnMut(Chunk<'_>) -> Result<()> + Send) -> Result<()> {
        // What lies together in the dump is read together.
        let mut spans: Vec<Segment> = Vec::new();
        for extent in self.extents() {
            let end = extent.offset.saturating_add(extent.size);
            match spans.last_mut().filter(|last| last.end == extent.offset) {
                Some(last) => last.end = end,
                None => spans.push(Segment { start: extent.offset, end, domain: None }),
            }
        }
        let mut extents = self.extents();
        let mut extent = Extent { physical: 0, size: 0, offset: 0 };
        // They come in the order of the extents, whose physical addresses they get.
        let mut take_part = |part: PendingBytes<'_>| {
            let mut rest = part;
            while rest.length() > 0 {
                if extent.size == 0 {
                    let Some(next) = extents.next() else { break };
                    extent = next;
                }
                let (now, later) = rest.split_at(extent.size);
                let length = now.length();
                take(match now {
                    PendingBytes::Data(bytes) => Chunk::Data { address: extent.physical, bytes },
                    PendingBytes::Zeros(length) => {
                        Chunk::Zeros { start: extent.physical, end: extent.physical + length }
                    }
                    PendingBytes::Unreadable(length, why) => {
                        Chunk::Unreadable { start: extent.physical, end: extent.physical + length, why }
                    }
                })?;
                extent.physical += length;
                extent.size -= length;
                rest = later;
            }
            Ok(())
        };
        if self.inspection.compression == Compression::None {
            let dump = DumpBytes(self);
            let holes = self.holes();
            return ChunkReader::new(&dump, 4096, BUFFER)?.with_holes(&holes).read(&spans, |piece| {
                take_part(match piece {
                    Chunk::Data { bytes, .. } => PendingBytes::Data(bytes),
                    Chunk::Zeros { start, end } => PendingBytes::Zeros(end - start),
                    Chunk::Unreadable { start, end, why } => PendingBytes::Unreadable(end - start, why),
                })
            });
        }
        let failed = |source| Error::Io { what: "read the dump".to_owned(), source };
        let range = (self.inspection.location.start, self.inspection.location.end);
        let progress = Progress::default();
        let mut stream = Stream::new(&self.volume, range, self.inspection.compression, &progress).map_err(failed)?;
        let mut buffer = vec![0; BUFFER];
        for span in spans {
            let mut at = span.start;
            let before = stream.skip(at.saturating_sub(stream.position()));
            let ended = matches!(before, Err(StreamError::End { .. }));
            if !ended {
                before.map_err(stopped)?;
            }
            while at < span.end {
                let bytes = head_mut(&mut buffer, span.end - at);
                let read = if ended { 0 } else { stream.read(bytes).map_err(stopped)? };
                take_part(PendingBytes::Data(filled(bytes, read).map_err(failed)?))?;
                if read < bytes.len() {
                    take_part(PendingBytes::Unreadable(span.end - at - read as u64, NotRead::End))?;
                    break;
                }
                at += read as u64;
            }
        }
        Ok(())
    }
}

impl DumpInOrder {
    /// Calls with the bytes of a minidump itself, as they are before compression, from front to back, and tells how many there
    /// were: fewer than [`Self::minidump_size`] where it has been cut off.
    ///
    /// # Errors
    ///
    /// Those of the function called; it is no minidump ([`Error::Refused`]); it cannot be read, or not decompressed.
    pub fn read_minidump(&self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
        let refused = || Error::Refused("what is no minidump cannot be read as one".to_owned());
        let size = self.minidump_size().ok_or_else(refused)?;
        let Self(DumpedMemory { volume, inspection, .. }) = self;
        let failed = |source| Error::Io { what: "read the dump".to_owned(), source };
        let range = (inspection.location.start, inspection.location.end);
        let progress = Progress::default();
        let mut stream = Stream::new(volume, range, inspection.compression, &progress).map_err(failed)?;
        let mut buffer = vec![0; BUFFER];
        while stream.position() < size {
            let part = head_mut(&mut buffer, size - stream.position());
            let read = stream.read(part).map_err(stopped)?;
            take(filled(part, read).map_err(failed)?)?;
            if read < part.len() {
                break;
            }
        }
        Ok(stream.position())
    }

    /// Bytes of a minidump before compression, as its own tables say; `None` of what is none.
    pub fn minidump_size(&self) -> Option<u64> {
        let facts = self.0.minidump()?;
        Some(facts.header.offset_of_pages().saturating_add(self.0.count()))
    }
}

fn stopped(stop: StreamError) -> Error {
    match stop {
        StreamError::Io(source) => Error::Io { what: "read the dump".to_owned(), source },
        stop => Error::Format(stop.to_string()),
    }
}

/// The bytes of a dump by their place in it.
struct DumpBytes<'a>(&'a DumpedMemory);

impl Memory for DumpBytes<'_> {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        Ok(self.0.read_dump(address, buffer)?)
    }
}

/// Bytes that come next, or how many of them cannot be read, and why.
#[derive(Clone, Copy)]
enum PendingBytes<'a> {
    Data(&'a [u8]),
    Zeros(u64),
    Unreadable(u64, NotRead),
}

impl PendingBytes<'_> {
    fn length(self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Zeros(length) | Self::Unreadable(length, _) => length,
        }
    }

    fn split_at(self, limit: u64) -> (Self, Self) {
        match self {
            Self::Data(bytes) => {
                let (now, later) = split_at_most(bytes, limit);
                (Self::Data(now), Self::Data(later))
            }
            Self::Zeros(length) => {
                let now = length.min(limit);
                (Self::Zeros(now), Self::Zeros(length - now))
            }
            Self::Unreadable(length, why) => {
                let now = length.min(limit);
                (Self::Unreadable(now, why), Self::Unreadable(length - now, why))
            }
        }
    }
}

impl Memory for DumpedMemory {
    /// Reads up to the end of a page. A page that is not in the dump is absent; where a dump has been cut off there
    /// are 0 bytes.
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let (offset, remaining) = self.place_of(address).ok_or(ReadError::Absent)?;
        Ok(self.read_dump(offset, head_mut(buffer, remaining))?)
    }
}

/// Bytes of a block that is kept.
const BLOCK: usize = 4096;
/// Blocks that are kept: 16 MiB, the page tables of 8 GiB of small pages.
const KEPT: usize = 4096;
