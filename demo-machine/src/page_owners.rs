//! Which pages of physical memory are taken, and who has them.

use std::collections::BTreeMap;

/// Where the pages of a process come from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Zone {
    /// Domain 0.
    Low,
    /// Domain 1, below 4 GiB.
    High,
    /// Above that.
    Above,
}

/// A page that is not free.
#[derive(Clone, Copy)]
pub struct Page {
    pub object: u64,
    /// Its number in the object.
    pub number: u64,
    /// `ref_count`.
    pub references: u32,
    pub queue: u8,
}

/// The pages, as they are being given away.
#[derive(Default)]
pub struct Pages {
    /// Where the array of each segment is.
    pub arrays: Vec<u64>,
    /// By physical address.
    pub used: BTreeMap<u64, Page>,
    /// Where the next page of each zone is.
    pub next: BTreeMap<Zone, u64>,
}
