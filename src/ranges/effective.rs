//! What cache type an address has in the end, where ranges overlap or none covers it.
//!
//! Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3, "MTRR Precedences";
//! AMD64 Architecture Programmer's Manual, volume 2, "Memory-Type Range Registers". Page tables (PAT) can
//! change the type further; mem(4) does not show them.

use super::rules::{FIXED_TOP, Rules, Table};
use super::{CacheType, Descriptor, powerpc};
use crate::memory_map::MemoryMap;
use ioctl_defs::memrange::Mdf;
use serde::Serialize;

/// The type that ranges add up to at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effective {
    /// One type results.
    Cache(CacheType),
    /// No range covers the address; see [`default_type`](super::default_type).
    Default,
    /// The processor manuals leave this mix of types undefined.
    Undefined,
    /// A range of a type that the kernel does not know, or one it finds bogus, has a part in it.
    Unknown,
}

impl Effective {
    /// The word for it in tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cache(cache) => cache.name(),
            Self::Default => "default",
            Self::Undefined => "undefined",
            Self::Unknown => "unknown",
        }
    }
}

impl Serialize for Effective {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The ranges that have a part in an address's type, the type, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation<'a> {
    /// Active ranges that cover the address, with their place in the table.
    pub covering: Vec<(usize, &'a Descriptor)>,
    /// Whether each of them has a say: below 1 MiB only the fixed range has.
    pub deciding: usize,
    /// The type.
    pub effective: Effective,
    /// Which rule gives it, in a sentence.
    pub why: String,
}

/// Explains the type of an address. On powerpc it is that of mappings of /dev/mem.
///
/// ```
/// use memtool::host::{self, Host, Selection};
/// use memtool::ranges::CacheType;
/// use memtool::ranges::effective::{Effective, explain};
/// use std::path::Path;
///
/// let host = host::open(&Selection { machine: Some(Path::new("demo")), device: None })?;
/// let table = host.range_table()?;
/// let explanation = explain(&table, 0xfee0_0000);
/// assert_eq!(explanation.effective, Effective::Cache(CacheType::Uncacheable));
/// assert_eq!(explanation.why, "one range covers it");
/// # Ok::<(), memtool::Error>(())
/// ```
pub fn explain<'a>(table: &'a Table, address: u64) -> Explanation<'a> {
    let covering: Vec<(usize, &Descriptor)> = table
        .descriptors()
        .iter()
        .enumerate()
        .filter(|(_, range)| range.is_active() && range.contains(address))
        .collect();
    if table.rules() == Rules::PowerPc {
        return explain_mapping(covering);
    }
    let fixed = address < FIXED_TOP && covering.first().is_some_and(|(_, range)| range.is_fixed());
    let deciding = if fixed { 1 } else { covering.len() };
    let (effective, why) = combine(covering.iter().take(deciding).map(|(_, range)| *range));
    let why = if fixed && covering.len() > 1 {
        "below 1 MiB the fixed range decides, regardless of variable ranges".to_owned()
    } else if fixed {
        "the fixed range decides".to_owned()
    } else {
        why.to_owned()
    };
    Explanation { covering, deciding, effective, why }
}

/// The kernel takes the first range in its list.
fn explain_mapping(covering: Vec<(usize, &Descriptor)>) -> Explanation<'_> {
    let deciding = covering.len().min(1);
    let first = covering.first().map(|(_, range)| powerpc::type_of_mapping(range));
    let (effective, why) = match first {
        Some(Some(cache)) => {
            (Effective::Cache(cache), "the first range that covers it decides, for mappings of /dev/mem")
        }
        Some(None) => (Effective::Default, "the kernel ignores the first range's type"),
        None => (Effective::Default, "no range covers it, so mappings of /dev/mem are as the kernel's"),
    };
    Explanation { covering, deciding, effective, why: why.to_owned() }
}

/// The type of an address.
pub fn at(table: &Table, address: u64) -> Effective {
    explain(table, address).effective
}

fn combine<'a>(ranges: impl Iterator<Item = &'a Descriptor> + Clone) -> (Effective, &'static str) {
    if ranges.clone().any(|range| range.flags.contains(Mdf::BOGUS) || range.cache().is_none()) {
        return (Effective::Unknown, "a range of unknown type covers it");
    }
    let mut types = ranges.filter_map(Descriptor::cache);
    let Some(first) = types.next() else {
        return (Effective::Default, "no range covers it, so the default type applies");
    };
    let mut rest = types.clone().peekable();
    if rest.peek().is_none() {
        return (Effective::Cache(first), "one range covers it");
    }
    if types.clone().all(|cache| cache == first) {
        return (Effective::Cache(first), "all ranges that cover it have this type");
    }
    if first == CacheType::Uncacheable || types.clone().any(|cache| cache == CacheType::Uncacheable) {
        return (Effective::Cache(CacheType::Uncacheable), "uncacheable takes precedence over all other types");
    }
    let mixes = |cache| matches!(cache, CacheType::WriteThrough | CacheType::WriteBack);
    if mixes(first) && types.all(mixes) {
        return (Effective::Cache(CacheType::WriteThrough), "write-through takes precedence over write-back");
    }
    (Effective::Undefined, "the processor manuals leave this mix of types undefined")
}

/// A run of addresses with one effective type that is RAM throughout, or nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveRange {
    /// First address.
    pub start: u64,
    /// First address after the run.
    pub end: u128,
    /// Whether it is RAM.
    pub ram: bool,
    /// Its type.
    pub effective: Effective,
}

/// Cuts `start..end` at every border of a range and of RAM.
pub fn pieces(table: &Table, map: &MemoryMap, start: u64, end: u128) -> Vec<EffectiveRange> {
    pieces_cut_at(table, map, start, end, [])
}

/// Cuts `start..end` at these addresses too.
pub(crate) fn pieces_cut_at(
    table: &Table,
    map: &MemoryMap,
    start: u64,
    end: u128,
    at_too: impl IntoIterator<Item = u64>,
) -> Vec<EffectiveRange> {
    let ranges = table.descriptors().iter().filter(|range| range.is_active());
    let borders = ranges
        .flat_map(|range| [u128::from(range.base), range.end()])
        .chain(map.segments.iter().flat_map(|segment| [u128::from(segment.start), u128::from(segment.end)]))
        .chain(at_too.into_iter().map(u128::from));
    let mut cuts: Vec<u128> = borders.filter(|border| (u128::from(start)..end).contains(border)).collect();
    cuts.push(u128::from(start));
    cuts.sort_unstable();
    cuts.dedup();
    let ends = cuts.iter().skip(1).copied().chain([end]);
    cuts.iter()
        .zip(ends)
        .filter_map(|(&from, to)| {
            let start = u64::try_from(from).ok()?;
            Some(EffectiveRange { start, end: to, ram: map.segment_at(start).is_some(), effective: at(table, start) })
        })
        .collect()
}
