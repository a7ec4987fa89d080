//! Memory in chunks of any size that are compressed each by itself.

use super::codec::Codec;
use super::unit::{Stored, Unit};
use super::{Result, damaged};
use crate::dump::memory_range::{MemoryRange, joined};

/// Memory that is compressed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub physical: u64,
    /// Where it begins among all of them in a row.
    pub start: u64,
    pub size: u64,
    /// Where it is in the file, as so many bytes.
    pub at: u64,
    pub stored: u64,
    pub codec: Codec,
}

/// Memory in chunks, in ascending order, without overlaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunks {
    chunks: Vec<Chunk>,
    length: u64,
}

impl Chunks {
    pub fn new(mut chunks: Vec<Chunk>) -> Result<Self> {
        chunks.sort_by_key(|chunk| chunk.physical);
        let (mut length, mut end) = (0_u64, 0);
        for chunk in &mut chunks {
            if chunk.physical < end {
                return damaged("AVML ranges", format!("two hold the memory at {:#x}", chunk.physical));
            }
            chunk.start = length;
            length = length.saturating_add(chunk.size);
            end = chunk.physical.saturating_add(chunk.size);
        }
        Ok(Self { chunks, length })
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn ranges(&self) -> Vec<MemoryRange> {
        joined(self.chunks.iter().map(|chunk| (chunk.physical, chunk.physical.saturating_add(chunk.size))))
    }

    pub fn unit_at(&self, at: u64) -> Option<Unit> {
        let number = self.chunks.partition_point(|chunk| chunk.start <= at).checked_sub(1)?;
        let chunk = self.chunks.get(number).filter(|chunk| at - chunk.start < chunk.size)?;
        let stored = Stored::At(chunk.at, chunk.stored, chunk.codec);
        Some(Unit { start: chunk.start, size: chunk.size, stored })
    }
}
