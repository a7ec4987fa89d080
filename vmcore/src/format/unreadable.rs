//! Memory that could not be read, as a dump reports it.

use crate::memory::NotRead;
use crate::units::hex;
use serde::{Deserialize, Serialize};

/// More ranges that cannot be read are counted, but not listed.
pub const MAX_LISTED: usize = 1 << 18;

/// Addresses that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnreadableRange {
    /// First address.
    #[serde(with = "hex")]
    pub start: u64,
    /// First address after the range.
    #[serde(with = "hex")]
    pub end: u64,
    /// Why: the errno's name, or `no data` where the device just had no more bytes.
    pub why: String,
}

/// Everything that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unreadable {
    ranges: Vec<UnreadableRange>,
    /// The last range, listed or not: its end, and why it was not read.
    last: Option<(u64, NotRead)>,
    count: u64,
    bytes: u64,
}

impl Unreadable {
    /// The ranges in ascending order; at most 2^18 of them.
    pub fn ranges(&self) -> &[UnreadableRange] {
        &self.ranges
    }

    /// How many ranges there are, listed or not.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many ranges are not listed.
    pub fn not_listed(&self) -> u64 {
        self.count - self.ranges.len() as u64
    }

    /// Bytes in all ranges, listed or not.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a range behind all others.
    pub fn add(&mut self, start: u64, end: u64, why: NotRead) {
        self.bytes += end - start;
        let goes_on = self.last.replace((end, why)) == Some((start, why));
        if !goes_on {
            self.count += 1;
            if self.ranges.len() < MAX_LISTED {
                self.ranges.push(UnreadableRange { start, end, why: why.to_string() });
            }
        } else if self.not_listed() == 0
            && let Some(last) = self.ranges.last_mut()
        {
            last.end = end;
        }
    }
}
