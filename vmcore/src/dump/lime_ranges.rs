//! Images of memory in LiME's format ([`crate::lime`]): the ranges that are in them.

use super::Findings;
use super::memory_range::MemoryRange;
use super::stream::Stream;
use crate::lime;
use crate::units::Hex;
use std::io;

/// Ranges that are listed in any case; beyond them a file has as many as make so many bytes each, so that the list stays
/// small beside what is read.
const RANGES: u64 = 1 << 20;
const BYTES_PER_RANGE: u64 = 512;

/// Lists the ranges.
pub fn list(stream: &mut Stream<'_>, findings: &mut Findings) -> io::Result<Vec<MemoryRange>> {
    let mut ranges = Vec::new();
    loop {
        let place = format!("LiME header {}", ranges.len() + 1);
        let mut raw = [0; lime::HEADER_LENGTH];
        match stream.read(&mut raw) {
            Ok(0) if !ranges.is_empty() => break,
            Ok(lime::HEADER_LENGTH) => {}
            Ok(_) => {
                findings.damaged(place, "it is truncated");
                break;
            }
            Err(stop) => {
                findings.stopped(place, stop)?;
                break;
            }
        }
        let (start, end) = match lime::decode_header(&raw) {
            Ok(range) => range,
            Err(error) => {
                findings.damaged(place, error);
                break;
            }
        };
        ranges.push(MemoryRange { start: Hex(start), end: Hex(end) });
        if let Err(stop) = stream.skip(end - start) {
            findings.stopped(format!("LiME range {}", ranges.len()), stop)?;
            break;
        }
        let limit = RANGES + stream.position() / BYTES_PER_RANGE;
        if ranges.len() as u64 > limit {
            findings.limited(place, format!("there are more than the {limit} ranges that memtool keeps"));
            break;
        }
    }
    Ok(ranges)
}
