//! What is read or decompressed together, and the ranges that such units make.

use super::codec::Codec;
use crate::units::Hex;
use serde::Serialize;

/// Bytes of a unit at most: chunks of snappy's frames have 64 KiB, pages of makedumpfile too.
pub(super) const MAX_UNIT: u64 = 1 << 16;
/// What a unit takes at most in the file: what does not get smaller is stored as it is, with a little around it.
pub(super) const MAX_STORED: u64 = 2 * MAX_UNIT;

/// A range of physical memory in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ImageRange {
    /// First address.
    pub start: Hex,
    /// First address after it.
    pub end: Hex,
}

/// Bytes that are read or decompressed together.
pub(super) struct Unit {
    /// Where they begin in the row.
    pub start: u64,
    /// How many there are in the row.
    pub size: u64,
    pub stored: Stored,
}

/// How they are stored.
pub(super) enum Stored {
    /// As zeros.
    Zeros,
    /// At this place of the file, as so many bytes.
    At(u64, u64, Codec),
}

/// Ranges in ascending order, those joined that meet.
pub(super) fn ranges(sorted: impl Iterator<Item = (u64, u64)>) -> Vec<ImageRange> {
    let mut ranges: Vec<ImageRange> = Vec::new();
    for (start, end) in sorted {
        match ranges.last_mut().filter(|last| last.end.0 == start) {
            Some(last) => last.end = Hex(end),
            None => ranges.push(ImageRange { start: Hex(start), end: Hex(end) }),
        }
    }
    ranges
}
