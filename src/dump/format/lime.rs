//! LiME, version 1: for each segment a header of 32 bytes, then the memory.
//!
//! The header, all little-endian: u32 magic, u32 version, u64 first address, u64 last address (inclusive),
//! u64 zero. It is the format of the Linux Memory Extractor, which its own document specifies and Volatility
//! and others read.

use crate::memory_map::Segment;

/// `EMiL` in the file.
const MAGIC: u32 = 0x4c69_4d45;
const VERSION: u32 = 1;

/// The header of a segment.
pub fn header(segment: &Segment) -> [u8; 32] {
    let mut header = [0; 32];
    let last = segment.end.saturating_sub(1);
    let fields = MAGIC
        .to_le_bytes()
        .into_iter()
        .chain(VERSION.to_le_bytes())
        .chain(segment.start.to_le_bytes())
        .chain(last.to_le_bytes());
    for (to, from) in header.iter_mut().zip(fields) {
        *to = from;
    }
    header
}
