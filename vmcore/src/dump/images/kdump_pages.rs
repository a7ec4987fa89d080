//! The pages of a kdump-compressed dump: each has a descriptor, which tells where it is and how it is compressed.

use super::codec::Codec;
use super::container::Container;
use super::fields::Fields;
use super::unit::{MAX_STORED, MAX_UNIT, Stored, Unit};
use crate::architecture::Endianness;
use crate::dump::byte_source::ByteSource;
use crate::dump::memory_range::{MemoryRange, joined};
use std::io;

/// Bytes of a page's descriptor.
pub(super) const DESCRIPTOR: usize = 24;

/// How a page is compressed (`DUMP_DH_COMPRESSED_*`).
pub(super) const CODECS: [(u32, Codec); 4] =
    [(0x1, Codec::Zlib), (0x2, Codec::Lzo), (0x4, Codec::Snappy), (0x20, Codec::Zstd)];
/// Flags of a page or of the dump that say nothing of how it is compressed.
pub(super) const INCOMPLETE: u32 = 0x8;

/// Pages that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Number of the first page.
    pub first: u64,
    /// How many there are.
    pub count: u64,
}

/// Where the pages of such a dump are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KdumpPages {
    pub container: Container,
    pub order: Endianness,
    pub page_size: u64,
    /// Where the descriptors are.
    pub descriptors: u64,
    pub runs: Vec<Run>,
    pub count: u64,
}

impl KdumpPages {
    pub fn container(&self) -> &Container {
        &self.container
    }

    pub fn length(&self) -> u64 {
        self.count.saturating_mul(self.page_size)
    }

    pub fn ranges(&self) -> Vec<MemoryRange> {
        let end = |run: &Run| run.first.saturating_add(run.count).saturating_mul(self.page_size);
        joined(self.runs.iter().map(|run| (run.first.saturating_mul(self.page_size), end(run))))
    }

    /// The page that holds a byte of the row, by its descriptor.
    pub fn unit_at(&self, volume: &ByteSource, at: u64) -> io::Result<Option<Unit>> {
        let number = at / self.page_size;
        if number >= self.count {
            return Ok(None);
        }
        let place = self.descriptors.saturating_add(number * DESCRIPTOR as u64);
        let descriptor: Option<[u8; DESCRIPTOR]> = self.container.bytes(volume, place)?;
        let fields = descriptor.as_ref().map(|bytes| Fields { bytes, order: self.order });
        let Some((offset, size, flags)) =
            fields.and_then(|fields| Some((fields.u64(0)?, fields.u32(8)?, fields.u32(12)?)))
        else {
            return Ok(None);
        };
        let invalid =
            |why: String| Err(io::Error::new(io::ErrorKind::InvalidData, format!("page descriptor {number}: {why}")));
        let codec = match flags & !INCOMPLETE {
            0 => Codec::Plain,
            flags => match CODECS.iter().find(|(flag, _)| flags == *flag) {
                Some((_, codec)) => *codec,
                None => return invalid(format!("flags {flags:#x} are unknown")),
            },
        };
        let size = u64::from(size);
        if size > MAX_STORED || self.page_size > MAX_UNIT || (codec == Codec::Plain && size != self.page_size) {
            return invalid(format!(
                "a page of {} bytes does not take {size} bytes ({})",
                self.page_size,
                codec.name()
            ));
        }
        let stored = Stored::At(offset, size, codec);
        Ok(Some(Unit { start: number * self.page_size, size: self.page_size, stored }))
    }
}
