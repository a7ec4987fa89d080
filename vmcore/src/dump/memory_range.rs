//! Ranges of physical memory, as images list them.

use crate::segment::add_range;
use crate::units::Hex;
use serde::Serialize;

/// A range of physical memory in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryRange {
    /// First address.
    pub start: Hex,
    /// First address after it.
    pub end: Hex,
}

impl MemoryRange {
    /// Both addresses.
    pub(super) fn bounds(&self) -> (u64, u64) {
        (self.start.0, self.end.0)
    }

    /// Bytes.
    pub fn length(&self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }
}

/// Ranges in ascending order, those joined that meet.
pub(super) fn joined(sorted: impl Iterator<Item = (u64, u64)>) -> Vec<MemoryRange> {
    let mut ranges = Vec::new();
    sorted.for_each(|(start, end)| add_range(&mut ranges, start, end));
    ranges.into_iter().map(|(start, end)| MemoryRange { start: Hex(start), end: Hex(end) }).collect()
}
