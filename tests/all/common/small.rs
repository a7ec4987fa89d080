//! A machine of little memory, and what must be in a dump of it.

use super::demo_machine;
use serde_json::{Value, json};

/// A machine of little memory, so that every byte can be compared; no kernel is laid out in it, so that all
/// of it is the pattern: each word holds its own address.
pub fn small_machine() -> Value {
    let mut machine = demo_machine();
    machine["system"]["machine_arch"] = json!("powerpc64le");
    machine["memory"]["segments"] = json!([
        {"start": "0x1004", "end": "0x9c01", "domain": 0},
        {"start": "0x9c01", "end": "0xb000", "domain": 1},
        {"start": "0x100000", "end": "0x1ff000"},
    ]);
    machine
}

/// Its RAM, what touches joined.
pub const SMALL: [(u64, u64); 2] = [(0x1004, 0xb000), (0x10_0000, 0x1f_f000)];

/// The byte at an address.
pub fn byte(address: u64) -> u8 {
    (address & !7).to_le_bytes()[usize::try_from(address % 8).unwrap()]
}

/// All bytes of some ranges.
pub fn bytes(ranges: &[(u64, u64)]) -> Vec<u8> {
    ranges.iter().flat_map(|(start, end)| *start..*end).map(byte).collect()
}

/// The map of a dump of some ranges.
pub fn map_text(ranges: &[(u64, u64)]) -> String {
    ranges.iter().map(|(start, end)| format!("{start:#x} {end:#x}\n")).collect()
}

/// The ranges without some addresses.
pub fn without(ranges: &[(u64, u64)], holes: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut left = ranges.to_vec();
    for &(from, to) in holes {
        left = left
            .into_iter()
            .flat_map(|(start, end)| [(start, end.min(from)), (start.max(to), end)])
            .filter(|(start, end)| start < end)
            .collect();
    }
    left
}
