//! Runs of memory by their addresses.

use crate::units::hex;
use serde::{Deserialize, Serialize};

/// A run of RAM in one NUMA domain, by physical address; or of kernel memory, by virtual
/// address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// First byte's address; not always on a page border.
    #[serde(with = "hex")]
    pub start: u64,
    /// First address after the segment.
    #[serde(with = "hex")]
    pub end: u64,
    /// The NUMA domain; `None` where the kernel does not manage the memory and so does not tell.
    #[serde(default)]
    pub domain: Option<u32>,
}

/// Adds `start..end` to a list of ranges; one that begins within the last range, or right behind it, makes
/// that range longer.
pub fn add_range(ranges: &mut Vec<(u64, u64)>, start: u64, end: u64) {
    match ranges.last_mut() {
        Some(last) if (last.0..=last.1).contains(&start) => last.1 = last.1.max(end),
        _ => ranges.push((start, end)),
    }
}

/// Sorts ranges and joins those that touch or overlap.
pub fn coalesce(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut joined = Vec::new();
    for (start, end) in ranges {
        add_range(&mut joined, start, end);
    }
    joined
}

/// What is in both of two ascending lists of ranges.
pub fn intersect(ranges: &[(u64, u64)], others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let both = |&(start, end): &(u64, u64)| {
        let first = others.partition_point(|other| other.1 <= start);
        let overlapping = others.iter().skip(first).take_while(move |other| other.0 < end);
        overlapping.map(move |other| (start.max(other.0), end.min(other.1))).collect::<Vec<_>>()
    };
    ranges.iter().flat_map(both).collect()
}
