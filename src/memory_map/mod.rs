//! Which physical addresses are RAM, and in which NUMA domain they lie.
//!
//! On FreeBSD a hole in physical memory does not fail when it is read: the kernel copies junk, or touches
//! device registers. So the map comes from the kernel's own tables, the best one first: `machdep.smap`
//! ([`smap`]), `machdep.efi_map` ([`efi`]), the variable `dump_avail` ([`vmcore::live::dump_avail`]), `vm.phys_segs` ([`phys_segs`]).
//! Only the last knows domains, and it leaves out what boot took for itself, the kernel's image included.

pub mod efi;
pub mod kernel_maps;
pub mod phys_free;
pub mod phys_segs;
pub mod smap;

use serde::{Deserialize, Serialize};
use vmcore::bounds::saturating_u64;
use vmcore::segment::{Segment, add_range, coalesce};
use vmcore::units::hex;

/// Physical addresses that the firmware lists and that are not RAM for the kernel to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserved {
    /// First byte's physical address.
    #[serde(with = "hex")]
    pub start: u64,
    /// First address after the range.
    #[serde(with = "hex")]
    pub end: u64,
    /// What the firmware calls it.
    pub kind: String,
}

/// The kernel table that a map was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapSource {
    /// The BIOS's map, as the loader handed it over.
    #[serde(rename = "machdep.smap")]
    Smap,
    /// The UEFI firmware's map, as the loader handed it over.
    #[serde(rename = "machdep.efi_map")]
    EfiMap,
    /// The RAM that the kernel may dump: a variable of its own, no sysctl.
    #[serde(rename = "dump_avail")]
    DumpAvail,
    /// The kernel's physical segments: what boot left over.
    #[serde(rename = "vm.phys_segs")]
    PhysSegs,
}

impl MapSource {
    /// The sysctl's name, or the variable's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smap => "machdep.smap",
            Self::EfiMap => "machdep.efi_map",
            Self::DumpAvail => "dump_avail",
            Self::PhysSegs => "vm.phys_segs",
        }
    }
}

/// The RAM of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryMap {
    /// Where the map comes from.
    pub source: MapSource,
    /// RAM, ascending, without overlaps.
    pub segments: Vec<Segment>,
    /// Everything else that the firmware lists.
    #[serde(default)]
    pub reserved: Vec<Reserved>,
}

/// The kernel's tables, as far as this kernel has them.
#[derive(Debug, Default)]
pub struct Tables<'a> {
    /// `machdep.smap`, opaque.
    pub smap: Option<&'a [u8]>,
    /// `machdep.efi_map`, opaque.
    pub efi_map: Option<&'a [u8]>,
    /// `dump_avail`, where neither of the two above is there.
    pub dump_avail: Option<&'a [(u64, u64)]>,
    /// `vm.phys_segs`, text.
    pub phys_segs: Option<&'a str>,
    /// `vm.ndomains`.
    pub domains: Option<u32>,
}

/// Why a kernel table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// The table's contents are not as its format demands.
    #[error("{table}: {why}")]
    Malformed {
        /// The sysctl's name.
        table: &'static str,
        /// What is wrong, and where.
        why: String,
    },
    /// None of the tables is there.
    #[error(
        "the kernel has none of machdep.smap, machdep.efi_map and vm.phys_segs, so it is unknown which addresses are RAM"
    )]
    NoTable,
}

impl MapError {
    fn malformed(source: MapSource, why: impl Into<String>) -> Self {
        Self::Malformed { table: source.name(), why: why.into() }
    }
}

/// A range as a firmware table lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareRange {
    /// First byte's physical address.
    pub start: u64,
    /// First address after the range.
    pub end: u64,
    /// `None`: RAM; otherwise what the firmware calls it.
    pub reserved: Option<String>,
}

impl MemoryMap {
    /// Makes the map from the kernel's tables, by the order of preference in the module's description.
    pub fn from_tables(tables: &Tables<'_>) -> Result<Self, MapError> {
        let managed = tables.phys_segs.map(phys_segs::parse).transpose()?;
        let firmware = match (tables.smap, tables.efi_map) {
            (Some(bytes), _) if !bytes.is_empty() => Some((MapSource::Smap, smap::parse(bytes)?)),
            (_, Some(bytes)) if !bytes.is_empty() => Some((MapSource::EfiMap, efi::parse(bytes)?)),
            _ => tables.dump_avail.map(|ranges| {
                let range = |&(start, end): &(u64, u64)| FirmwareRange { start, end, reserved: None };
                (MapSource::DumpAvail, ranges.iter().map(range).collect())
            }),
        };
        let Some((source, ranges)) = firmware else {
            return managed.map_or(Err(MapError::NoTable), Self::from_managed);
        };
        let (mut ram, mut reserved) = (Vec::new(), Vec::new());
        for FirmwareRange { start, end, reserved: kind } in ranges {
            match kind {
                Some(kind) => reserved.push(Reserved { start, end, kind }),
                None => ram.push((start, end)),
            }
        }
        let ram = coalesce(ram);
        let only_domain = (tables.domains == Some(1)).then_some(0);
        Ok(Self { source, segments: with_domains(&ram, &managed.unwrap_or_default(), only_domain), reserved })
    }

    fn from_managed(mut segments: Vec<Segment>) -> Result<Self, MapError> {
        segments.sort_by_key(|segment| segment.start);
        let map = Self { source: MapSource::PhysSegs, segments: join(segments), reserved: Vec::new() };
        map.problem().map_or(Ok(map), |why| Err(MapError::malformed(MapSource::PhysSegs, why)))
    }

    /// Bytes of RAM.
    pub fn total(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end - segment.start).sum()
    }

    /// The segment that holds an address.
    pub fn segment_at(&self, address: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| (segment.start..segment.end).contains(&address))
    }

    /// The parts of `start..end` that are RAM; an `end` of 2^64 is allowed.
    pub fn ram_within(&self, start: u64, end: u128) -> Vec<(u64, u64)> {
        let inside = self.segments.iter().filter_map(|segment| {
            let from = segment.start.max(start);
            let to = saturating_u64(end).min(segment.end);
            (from < to).then_some((from, to))
        });
        let mut joined = Vec::new();
        for (from, to) in inside {
            add_range(&mut joined, from, to);
        }
        joined
    }

    /// What is wrong with a map that was not made by [`Self::from_tables`], if anything.
    pub fn problem(&self) -> Option<String> {
        for (index, segment) in self.segments.iter().enumerate() {
            if segment.start >= segment.end {
                return Some(format!(
                    "segment {index} ends at {:#x}, not after its start {:#x}",
                    segment.end, segment.start
                ));
            }
        }
        for (index, pair) in self.segments.windows(2).enumerate() {
            if let [before, after] = pair
                && after.start < before.end
            {
                return Some(format!(
                    "segment {} starts at {:#x}, before segment {index} ends",
                    index + 1,
                    after.start
                ));
            }
        }
        self.reserved
            .iter()
            .position(|range| range.start >= range.end)
            .map(|index| format!("reserved range {index} is empty"))
    }
}

/// Joins neighbours of the same domain.
fn join(segments: Vec<Segment>) -> Vec<Segment> {
    let mut joined: Vec<Segment> = Vec::new();
    for segment in segments {
        match joined.last_mut() {
            Some(last) if last.end == segment.start && last.domain == segment.domain => last.end = segment.end,
            _ => joined.push(segment),
        }
    }
    joined
}

/// Cuts RAM at the borders of the managed segments and takes their domains. What they leave out has the
/// machine's only domain, if there is only one; otherwise it is not known.
pub(crate) fn with_domains(ram: &[(u64, u64)], managed: &[Segment], only_domain: Option<u32>) -> Vec<Segment> {
    let mut managed: Vec<&Segment> = managed.iter().collect();
    managed.sort_by_key(|segment| segment.start);
    let mut segments = Vec::new();
    for &(start, end) in ram {
        let mut at = start;
        for segment in managed.iter().filter(|segment| segment.end > start && segment.start < end) {
            if segment.start > at {
                segments.push(Segment { start: at, end: segment.start, domain: only_domain });
            }
            let (from, to) = (segment.start.max(at), segment.end.min(end));
            if from < to {
                segments.push(Segment { start: from, end: to, domain: segment.domain });
                at = to;
            }
        }
        if at < end {
            segments.push(Segment { start: at, end, domain: only_domain });
        }
    }
    join(segments)
}

#[cfg(test)]
mod tests;
