//! Where a virtual address lies, and the steps that lead there.

use crate::pmap::{Level, Protection, Target};

/// Where a virtual address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// The physical address.
    pub physical: u64,
    /// Bytes from there on that the same entry, or the direct map, stands for.
    pub remaining: u64,
    /// What may be done with them.
    pub protection: Protection,
    /// Bytes of the page or superpage; `None` in the direct map, which is not looked up.
    pub page_size: Option<u64>,
}

/// An entry that was read on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkStep {
    /// Its level.
    pub level: Level,
    /// Its number in its table; in a minidump's section, from the kernel's base on.
    pub index: u64,
    /// Its physical address; `None` in a minidump's section.
    pub physical: Option<u64>,
    /// Where it is in the dump; `None` where it is not in one.
    pub offset: Option<u64>,
    /// Its value.
    pub entry: u64,
    /// What it says.
    pub target: Target,
}

/// Virtual memory that is mapped in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// First virtual address.
    pub address: u64,
    /// Its physical address.
    pub physical: u64,
    /// Bytes.
    pub size: u64,
    /// What may be done with them.
    pub protection: Protection,
}
