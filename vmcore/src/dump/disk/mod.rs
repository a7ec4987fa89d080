//! Partitions of a disk, or of the image of one: GPT, MBR with its logical partitions, and
//! BSD disklabels in MBR slices or on the disk itself.
//!
//! Only partition tables whose checksums and bounds are right are believed. The crates for these tables allocate what a
//! header claims (gpt, gptman) or need a disk to write to, so the few fields that are needed are read here.

mod bsd;
mod gpt;
mod mbr;

use super::byte_source::ByteSource;
use serde::Serialize;
use std::fmt;
use std::io;

/// A table of partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// A GUID partition table.
    Gpt,
    /// A master boot record.
    Mbr,
    /// A BSD disklabel on the disk itself.
    Bsd,
}

impl Scheme {
    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gpt => "GPT",
            Self::Mbr => "MBR",
            Self::Bsd => "BSD disklabel",
        }
    }
}

/// A partition, all of which is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number, and the letter of a BSD partition behind the number of its slice: `3`, `1b`.
    pub name: String,
    /// Its type as gpart(8) calls it; without a name a GUID, or a number such as `0xa9`.
    pub kind: String,
    /// Its label, which only a GPT has.
    pub label: Option<String>,
    /// Its first byte on the disk.
    pub start: u64,
    /// The first byte behind it.
    pub end: u64,
    /// Bytes of a sector of the disk.
    pub sector_size: u32,
}

impl Partition {
    /// Its first sector.
    pub fn first_sector(&self) -> u64 {
        self.start / u64::from(self.sector_size.max(1))
    }

    /// Its last sector.
    pub fn last_sector(&self) -> u64 {
        (self.end / u64::from(self.sector_size.max(1))).saturating_sub(1)
    }

    /// Whether a name is its: `3`, or `p3`, `s1b` as FreeBSD's devices end.
    pub fn is_named(&self, name: &str) -> bool {
        let number = name.strip_prefix(['p', 's']).unwrap_or(name);
        number.eq_ignore_ascii_case(&self.name)
    }
}

/// `partition 3 (freebsd-swap, label "swap0"), sectors 2048-4095`.
impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} ({}", self.name, self.kind)?;
        if let Some(label) = &self.label {
            write!(f, ", label {label:?}")?;
        }
        write!(f, "), sectors {}-{}", self.first_sector(), self.last_sector())
    }
}

/// The partitions of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// What lists them.
    pub scheme: Scheme,
    /// Bytes of a sector.
    pub sector_size: u32,
    /// In the order of the tables, those of a slice behind it.
    pub partitions: Vec<Partition>,
    /// What is wrong with the tables.
    pub warnings: Vec<String>,
}

/// Reads the partition tables of a disk; `None` where there are none. `sector_size` is what the disk tells itself.
///
/// # Errors
///
/// It cannot be read.
pub fn partitions(volume: &ByteSource, sector_size: Option<u32>) -> io::Result<Option<Disk>> {
    if let Some(disk) = gpt::read(volume, sector_size)? {
        return Ok(Some(disk));
    }
    // These tables do not tell the size of a sector, and most disks with larger ones have a GPT.
    let sector_size = sector_size.unwrap_or(512);
    match mbr::read(volume, sector_size)? {
        Some(disk) => Ok(Some(disk)),
        None => bsd::read_disk(volume, sector_size),
    }
}

/// Whether the first sector of something is one that disks begin with.
pub(super) fn begins_as_disk(bytes: &[u8]) -> bool {
    bytes.get(510..512) == Some(&[0x55, 0xaa])
}

/// Whether a sector begins as the header of a GPT does.
pub(super) fn is_gpt_header(bytes: &[u8]) -> bool {
    bytes.starts_with(&gpt::SIGNATURE)
}

/// The bytes of sectors, if all of them are before an end.
fn range(first: u64, count: u64, sector_size: u32, end: u64) -> Option<(u64, u64)> {
    let start = first.checked_mul(sector_size.into())?;
    let behind = first.checked_add(count)?.checked_mul(sector_size.into())?;
    (start < behind && behind <= end).then_some((start, behind))
}
