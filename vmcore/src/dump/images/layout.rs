//! Where the memory of an image is, whatever its format: all of it in a row, in the order of physical addresses.

use super::chunks::Chunks;
use super::codec::Codec;
use super::kdump_pages::KdumpPages;
use super::pieces::Pieces;
use super::unit::{Stored, Unit};
use crate::dump::byte_source::ByteSource;
use crate::dump::memory_range::MemoryRange;
use std::io;

/// Where memory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// In pieces of the file.
    Pieces(Pieces),
    /// In pieces of the file beside it.
    Beside(Pieces),
    /// In chunks that are compressed each by itself.
    Chunks(Chunks),
    /// In pages that the file lists.
    Kdump(KdumpPages),
}

impl Layout {
    /// Bytes in the row.
    pub fn length(&self) -> u64 {
        match self {
            Self::Pieces(pieces) | Self::Beside(pieces) => pieces.length(),
            Self::Chunks(chunks) => chunks.length(),
            Self::Kdump(pages) => pages.length(),
        }
    }

    /// The ranges of memory.
    pub fn ranges(&self) -> Vec<MemoryRange> {
        match self {
            Self::Pieces(pieces) | Self::Beside(pieces) => pieces.ranges(),
            Self::Chunks(chunks) => chunks.ranges(),
            Self::Kdump(pages) => pages.ranges(),
        }
    }

    /// What holds a byte of the row; `None` behind the end, or where the file ends.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or says what cannot be.
    pub fn unit_at(&self, volume: &ByteSource, at: u64) -> io::Result<Option<Unit>> {
        match self {
            Self::Pieces(pieces) | Self::Beside(pieces) => Ok(pieces.place_in_row(at).map(|(place, size)| {
                let stored = place.map_or(Stored::Zeros, |place| Stored::At(place, size, Codec::Plain));
                Unit { start: at, size, stored }
            })),
            Self::Chunks(chunks) => Ok(chunks.unit_at(at)),
            Self::Kdump(pages) => pages.unit_at(volume, at),
        }
    }

    /// Reads the file's own bytes, as they are before a flattened one is put in order.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub fn read_stored(&self, volume: &ByteSource, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Kdump(pages) => pages.container().read(volume, at, buffer),
            _ => volume.read_at(at, buffer),
        }
    }
}
