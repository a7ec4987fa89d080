//! Physical memory as a dump or an image holds it, at any address.

use super::minidump::MinidumpFacts;
use super::stream::Stream;
use super::volume::Volume;
use super::{Content, Depth, Inspection, inspect};
use crate::dump::Progress;
use crate::error::{Error, Result};
use crate::host::Memory;
use crate::kerneldump::Compression;
use crate::output_file;
use nix::errno::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Memory in a dump: the pages of a minidump, the segments of a full dump or a LiME image, or an image without a
/// header. Finding an address takes the same time in every minidump.
pub struct DumpedMemory {
    volume: Volume,
    inspection: Inspection,
    /// Of everything but a minidump, in ascending order.
    extents: Vec<Extent>,
    blocks: Mutex<Blocks>,
}

/// Memory that lies in one piece in the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First physical address.
    pub physical: u64,
    /// Bytes.
    pub size: u64,
    /// Where they begin in the dump.
    pub offset: u64,
}

impl DumpedMemory {
    /// Opens what is in a volume. A dump that is compressed is decompressed into a file without a name in the
    /// directory `scratch`; the progress counts the compressed bytes.
    ///
    /// Of an image without a header, the first byte is taken for that at physical address 0, unless `packed` tells
    /// which ranges lie in it one after another.
    ///
    /// # Errors
    ///
    /// It cannot be read, or there is no memory in it: it is a text dump, or encrypted.
    pub fn open(volume: Volume, packed: Option<&[(u64, u64)]>, scratch: &Path, progress: &Progress) -> Result<Self> {
        let failed = |source| Error::Io { what: "read the dump".to_owned(), source };
        let unseen = Progress::default();
        let mut inspection = inspect(&volume, Depth::Pages, &unseen).map_err(failed)?;
        let mut volume = volume;
        if inspection.compression != Compression::None && inspection.content != Content::Encrypted {
            volume = Volume::of_file(&decompress(&volume, &inspection, scratch, progress)?).map_err(failed)?;
            let compressed = inspection;
            inspection = inspect(&volume, Depth::Pages, &unseen).map_err(failed)?;
            inspection.located.header = compressed.located.header;
            inspection.damage.extend(compressed.damage);
        }
        let length = inspection.located.end.min(volume.length()).saturating_sub(inspection.located.start);
        let mut extents = match &inspection.content {
            Content::Minidump(_) => Vec::new(),
            Content::Elf(facts) => {
                let segments = facts.segments.iter();
                let extent = |physical, size, offset| Extent { physical, size, offset };
                segments.map(|segment| extent(segment.physical.0, segment.size, segment.offset)).collect()
            }
            Content::Lime(ranges) => {
                let mut offset = 0_u64;
                let extent = |range: &super::LimeRange| {
                    offset = offset.saturating_add(super::image::LIME_HEADER);
                    let size = range.end.0.saturating_sub(range.start.0);
                    let extent = Extent { physical: range.start.0, size, offset };
                    offset = offset.saturating_add(size);
                    extent
                };
                ranges.iter().map(extent).collect()
            }
            Content::Unknown => match packed {
                None => vec![Extent { physical: 0, size: length, offset: 0 }],
                Some(ranges) => {
                    let mut offset = 0_u64;
                    let extent = |&(start, end): &(u64, u64)| {
                        let extent = Extent { physical: start, size: end.saturating_sub(start), offset };
                        offset = offset.saturating_add(extent.size);
                        extent
                    };
                    ranges.iter().map(extent).collect()
                }
            },
            Content::Text(_) | Content::Encrypted => {
                return Err(Error::Refused(format!("there is no memory to read in it: {}", inspection.content.name())));
            }
        };
        // What the file is too short for is not there.
        for extent in &mut extents {
            extent.size = extent.size.min(length.saturating_sub(extent.offset)).min(u64::MAX - extent.physical);
        }
        extents.retain(|extent| extent.size > 0);
        extents.sort_by_key(|extent| extent.physical);
        Ok(Self { volume, inspection, extents, blocks: Mutex::default() })
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
        let left = extent.size.checked_sub(within).filter(|left| *left > 0)?;
        Some((extent.offset.checked_add(within)?, left))
    }

    /// All memory in the dump, in ascending order, in pieces that lie together in the dump.
    pub fn extents(&self) -> Box<dyn Iterator<Item = Extent> + '_> {
        let Some(facts) = self.minidump() else { return Box::new(self.extents.iter().copied()) };
        let page = u64::from(facts.header.page_size);
        let mut offset = facts.header.offset_of_pages();
        let mut pages = facts.pages.iter().map(|(_, physical)| physical).peekable();
        Box::new(std::iter::from_fn(move || {
            let physical = pages.next()?;
            let mut size = page;
            while physical.checked_add(size).is_some_and(|next| pages.next_if_eq(&next).is_some()) {
                size += page;
            }
            let extent = Extent { physical, size, offset };
            offset = offset.saturating_add(size);
            Some(extent)
        }))
    }

    /// Fills the buffer with bytes of the dump itself, as far as there are any; tells how many there were.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub fn read_dump(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let at = self.inspection.located.start.saturating_add(offset);
        let left = usize::try_from(self.inspection.located.end.saturating_sub(at)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        self.volume.read_at(at, buffer.get_mut(..wanted).unwrap_or_default())
    }

    /// Reads few bytes at a place of the dump, such as a page table's entry. What was read around it is kept for the
    /// next one. `None` where the dump has been cut off.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub fn entry<const N: usize>(&self, offset: u64) -> io::Result<Option<[u8; N]>> {
        if offset % BLOCK + N as u64 > BLOCK {
            let mut bytes = [0; N];
            return Ok((self.read_dump(offset, &mut bytes)? == N).then_some(bytes));
        }
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let block = blocks.get(offset / BLOCK, |bytes| self.read_dump(offset - offset % BLOCK, bytes))?;
        let at = usize::try_from(offset % BLOCK).unwrap_or(usize::MAX);
        Ok(block.get(at..).and_then(|rest| rest.first_chunk()).copied())
    }
}

impl DumpedMemory {
    /// Writes over memory in the dump, up to the end of a page; tells how many bytes it took.
    ///
    /// # Errors
    ///
    /// Those of [`Volume::write_at`]; EFAULT where there is no memory in the dump.
    pub fn write_at(&self, address: u64, bytes: &[u8]) -> io::Result<usize> {
        let (offset, left) = self.place_of(address).ok_or(Errno::EFAULT)?;
        let part = bytes.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(bytes);
        self.volume.write_at(self.inspection.located.start.saturating_add(offset), part)?;
        // Page tables may have been written to.
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner).0.clear();
        Ok(part.len())
    }
}

impl Memory for DumpedMemory {
    /// Reads up to the end of a page. A page that is not in the dump is EFAULT; where a dump has been cut off there
    /// are 0 bytes.
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let (offset, left) = self.place_of(address).ok_or(Errno::EFAULT)?;
        let left = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.read_dump(offset, buffer.get_mut(..left).unwrap_or_default())
    }
}

/// Decompresses a dump into a file without a name.
fn decompress(volume: &Volume, inspection: &Inspection, scratch: &Path, progress: &Progress) -> Result<File> {
    let range = (inspection.located.start, inspection.located.end);
    let failed = |source| Error::Io { what: "read the dump".to_owned(), source };
    let mut stream = Stream::new(volume, range, inspection.compression, progress).map_err(failed)?;
    let mut file = output_file::nameless(scratch)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(0) => return Ok(file),
            Ok(read) => read,
            Err(stop) => return Err(Error::Format(stop.to_string())),
        };
        file.write_all(buffer.get(..read).unwrap_or_default())
            .map_err(|source| Error::io("decompress the dump into", scratch, source))?;
    }
}

/// Bytes of a block that is kept.
const BLOCK: u64 = 4096;
/// Blocks that are kept: 16 MiB, the page tables of 8 GiB of small pages.
const KEPT: u64 = 4096;

/// Blocks of the dump that were read before, each in the one place that its number has.
#[derive(Default)]
struct Blocks(Vec<Option<(u64, Vec<u8>)>>);

impl Blocks {
    fn get(&mut self, number: u64, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<&[u8]> {
        if self.0.is_empty() {
            self.0.resize_with(usize::try_from(KEPT).unwrap_or_default(), || None);
        }
        let Some(slot) = self.0.get_mut(usize::try_from(number % KEPT).unwrap_or_default()) else { return Ok(&[]) };
        if slot.as_ref().is_none_or(|(kept, _)| *kept != number) {
            let mut bytes = slot.take().map_or_else(Vec::new, |(_, bytes)| bytes);
            bytes.resize(usize::try_from(BLOCK).unwrap_or_default(), 0);
            let read = read(&mut bytes)?;
            bytes.truncate(read);
            *slot = Some((number, bytes));
        }
        Ok(slot.as_ref().map_or(&[], |(_, bytes)| bytes))
    }
}
