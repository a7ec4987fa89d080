//! Images of memory in LiME's format: before each range a header of 32 bytes, little-endian: magic, version, first
//! and last address, 8 bytes of zeros.

use super::Findings;
use super::stream::Stream;
use crate::units::Hex;
use serde::Serialize;
use std::io;

const MAGIC: [u8; 4] = 0x4c69_4d45_u32.to_le_bytes();
/// Bytes of the header before each range.
pub const LIME_HEADER: u64 = 32;
/// Ranges that are listed in any case; beyond them a file has as many as make so many bytes each, so that the list stays
/// small beside what is read.
const RANGES: u64 = 1 << 20;
const BYTES_PER_RANGE: u64 = 512;

/// A range of memory in a LiME image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimeRange {
    /// First address.
    pub start: Hex,
    /// First address after it.
    pub end: Hex,
}

/// Whether the first bytes are a LiME image's.
pub fn is_lime(head: &[u8]) -> bool {
    head.starts_with(&MAGIC)
}

/// Lists the ranges.
pub fn lime(stream: &mut Stream<'_>, findings: &mut Findings) -> io::Result<Vec<LimeRange>> {
    let mut ranges = Vec::new();
    loop {
        let place = format!("LiME header {}", ranges.len() + 1);
        let mut raw = [0; 32];
        match stream.read(&mut raw) {
            Ok(0) if !ranges.is_empty() => break,
            Ok(32) => {}
            Ok(_) => {
                findings.damaged(place, "it is cut off");
                break;
            }
            Err(stop) => {
                findings.stopped(place, stop)?;
                break;
            }
        }
        let (words, _) = raw.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        let (head, start, last) = (words.next().unwrap_or(0), words.next().unwrap_or(0), words.next().unwrap_or(0));
        if head != u64::from(u32::from_le_bytes(MAGIC)) | 1 << 32 {
            findings.damaged(place, format!("its magic and version are {head:#x}"));
            break;
        }
        let (Some(bytes), Some(end)) =
            (last.checked_sub(start).and_then(|less| less.checked_add(1)), last.checked_add(1))
        else {
            findings.damaged(place, format!("the range {start:#x} to {last:#x} is none"));
            break;
        };
        ranges.push(LimeRange { start: Hex(start), end: Hex(end) });
        if let Err(stop) = stream.skip(bytes) {
            findings.stopped(format!("LiME range {}", ranges.len()), stop)?;
            break;
        }
        let limit = RANGES + stream.position() / BYTES_PER_RANGE;
        if ranges.len() as u64 > limit {
            findings.limited(place, format!("memtool lists {limit} ranges in so many bytes, and there are more"));
            break;
        }
    }
    Ok(ranges)
}
