//! `vm.pmap.kernel_maps`: the kernel's mapped virtual ranges.
//!
//! Text: headings such as `Direct map:`, and a line for each range: `0xstart-0xend`, permissions (`r`, `w`,
//! `x`, `u` or `s`, `g`), on some architectures the cache mode, and how many pages of each size map it, the
//! largest first (`sysctl_kmaps`, `sys/amd64/amd64/pmap.c`; arm64 and riscv alike).
//!
//! Cache modes are `WB`, `WT`, `WP`, `WC`, `UC`, `U-` (uncached minus) on amd64; `WB`, `WT`, `UC`, `DEV`,
//! `DEV-NP` (device memory) on arm64; `??` on both for what the kernel does not know; riscv lists `PMA`, `NC`,
//! `IO` and `???`, and before FreeBSD 15 none.

use super::{MemoryMap, Segment};
use serde::{Deserialize, Serialize};
use std::fmt;
use vmcore::bounds::{low_u64, saturating_u64};
use vmcore::pmap::amd64::{self, GIB};
use vmcore::segment::coalesce;
use vmcore::units::{hex, parse_address};

/// A range of kernel virtual addresses mapped in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelMapping {
    /// First virtual address.
    #[serde(with = "hex")]
    pub start: u64,
    /// First address after the range; 0 stands for the end of the address space.
    #[serde(with = "hex")]
    pub end: u64,
    /// Permissions as the kernel writes them, such as `rw-sg`.
    pub permissions: String,
    /// Cache mode (`WB`, `UC`, …), where the architecture's table has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// How many pages of each size map the range, largest size first; on amd64 1 GiB, 2 MiB, 4 KiB.
    pub pages: Vec<u64>,
    /// The heading it stands under, such as `Direct map`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub region: String,
}

impl KernelMapping {
    /// First address after the range; 2^64 for the end of the address space.
    pub fn end_address(&self) -> u128 {
        if self.end == 0 { ADDRESS_SPACE } else { self.end.into() }
    }
}

/// Reads the text.
///
/// # Errors
///
/// The line that is not understood.
pub fn parse(text: &str) -> Result<Vec<KernelMapping>, String> {
    let mut mappings = Vec::new();
    let mut region = "";
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(heading) = line.strip_suffix(':') {
            region = heading;
            continue;
        }
        mappings.push(parse_line(line, region).ok_or_else(|| format!("unexpected line '{line}'"))?);
    }
    Ok(mappings)
}

fn parse_line(line: &str, region: &str) -> Option<KernelMapping> {
    let mut fields = line.split_whitespace().peekable();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?.to_owned();
    let cache = fields.next_if(|field| !field.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned);
    let pages = fields.map(|field| field.parse().ok()).collect::<Option<Vec<u64>>>()?;
    let (start, end) = (parse_address(start).ok()?, parse_address(end).ok()?);
    (end == 0 || start < end).then_some(KernelMapping {
        start,
        end,
        permissions,
        cache,
        pages,
        region: region.to_owned(),
    })
}

/// What of the kernel's virtual memory may be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelSegments {
    /// Virtual addresses with RAM behind them, ascending, joined where they touch; their domains are not
    /// told.
    pub segments: Vec<Segment>,
    /// What else is mapped, ascending.
    pub skipped: Vec<SkippedRange>,
}

/// Mapped virtual addresses that are not to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedRange {
    /// First virtual address.
    pub start: u64,
    /// First address after the range; 0 stands for the end of the address space.
    pub end: u64,
    /// Why.
    pub why: Why,
}

/// Why mapped addresses are not to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// They stand under this heading, and such ranges are not read.
    Region(String),
    /// The mapping does not allow reading.
    NoRead,
    /// The mapping's cache mode, in the kernel's words, is one that device registers have.
    CacheMode(String),
    /// The kernel does not tell the cache mode.
    NoCacheMode,
    /// The physical address alone says whether it is a device.
    PhysicalAttributes,
    /// What lies behind is not RAM.
    NotRam,
    /// The kernel's direct map does not map these physical addresses, and it would panic if they were read.
    NotInDirectMap,
    /// They are in the direct map, and it is not certain which physical addresses that maps.
    DirectMapUnknown,
    /// A segment cannot end at 2^64.
    LastPage,
}

impl fmt::Display for Why {
    /// A phrase, as the rest of a sentence such as "0x1000..0x2000 is left out: ".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(region) if region.is_empty() => f.write_str("listed under no heading"),
            Self::Region(region) => write!(f, "listed under '{}'", region.escape_debug()),
            Self::NoRead => f.write_str("not mapped for reading"),
            Self::CacheMode(mode) => write!(f, "mapped {}, like device registers", mode.escape_debug()),
            Self::NoCacheMode => f.write_str("the kernel does not list its cache mode"),
            Self::PhysicalAttributes => {
                f.write_str("mapped PMA, so whether it is a device depends on its physical address")
            }
            Self::NotRam => f.write_str("not RAM"),
            Self::NotInDirectMap => f.write_str(
                "not in the kernel's direct map; this kernel panics when mem(4) reads addresses outside of it",
            ),
            Self::DirectMapUnknown => f.write_str("in the direct map, whose physical addresses are uncertain"),
            Self::LastPage => f.write_str("the last page of the address space"),
        }
    }
}

const ADDRESS_SPACE: u128 = 1 << 64;
/// The smallest page of any architecture.
const PAGE: u128 = 4096;
/// `NBPML4`: what an entry of amd64's top-level table maps.
const NBPML4: u64 = 512 * GIB;
/// amd64's, in a type that has room for the end of the address space.
const KERNBASE: u128 = amd64::KERNBASE as u128;
const KERNSTART: u128 = amd64::KERNSTART as u128;

/// What arm64's direct map can begin before the lowest RAM.
const ROUNDING: u64 = 2 << 20;
/// What arm64's direct map maps besides the RAM of the memory map.
const FIRMWARE: [&str; 3] = ["runtime services code", "runtime services data", "ACPI reclaimable"];
const MAX_PAGE: u64 = 65536;

/// riscv's mode of all that no other is set for, devices too: the physical memory attributes of the processor's maker.
const PMA: &str = "PMA";
/// riscv's modes: that one, uncached, device, unknown.
const RISCV_MODES: [&str; 4] = [PMA, "NC", "IO", "???"];

/// The region of the direct map.
pub const DIRECT_MAP: &str = "Direct map";
const KERNEL_MAP: &str = "Kernel map";

/// Decides what of the kernel maps may be read: cached memory of the kernel map, and the RAM of the direct
/// map. Reading device registers can hang the machine, so what is not certain to be RAM is left out; where whoever reads
/// sees to it that there is RAM (`by_page_tables`), only what is mapped as devices are.
pub fn readable(maps: &[KernelMapping], ram: &MemoryMap, by_page_tables: bool) -> KernelSegments {
    let direct_map = direct_map(maps, ram);
    let mut sorted = Sorted { ram, readable: Vec::new(), skipped: Vec::new() };
    for map in maps {
        let (start, end) = (u128::from(map.start), map.end_address());
        if let Some(why) = objection(map, by_page_tables) {
            sorted.leave_out(start, end, why);
        } else if map.region == DIRECT_MAP {
            match direct_map {
                Some(linear) => sorted.cut(start, end, linear),
                None => sorted.leave_out(start, end, Why::DirectMapUnknown),
            }
        } else if is_amd64(map) {
            // Below the kernel itself, the first 2 MiB of physical memory are mapped write-back, the VGA
            // frame buffer and the BIOS included (create_pagetables).
            let low = Linear { address: KERNBASE, physical: 0 };
            sorted.read(start, end.min(KERNBASE));
            sorted.cut(start.max(KERNBASE), end.min(KERNSTART), low);
            sorted.read(start.max(KERNSTART), end);
        } else {
            sorted.read(start, end);
        }
    }
    sorted.joined()
}

/// What a mapping's line alone has against reading it.
fn objection(map: &KernelMapping, by_page_tables: bool) -> Option<Why> {
    // Of the others, /dev/kmem reads none: its check covers the kernel map and the direct map only (memrw;
    // kernacc, sys/vm/vm_glue.c). Nor should it. The recursive map shows, besides page tables, whatever
    // superpages map, devices too. The large map is for persistent memory, and its page tables come and go.
    // The shadow and origin maps of KASAN and KMSAN are RAM, but tell of memory, and are not the kernel's.
    if map.region != DIRECT_MAP && map.region != KERNEL_MAP {
        return Some(Why::Region(map.region.clone()));
    }
    if !map.permissions.contains('r') {
        return Some(Why::NoRead);
    }
    match map.cache.as_deref() {
        Some("WB" | "WT" | "WP") => None,
        Some(PMA) | None if by_page_tables => None,
        Some(PMA) => Some(Why::PhysicalAttributes),
        Some(mode) => Some(Why::CacheMode(mode.to_owned())),
        None => Some(Why::NoCacheMode),
    }
}

/// Besides amd64, only riscv lists cache modes and three sizes of pages; arm64 has a fourth, for contiguous pages.
fn is_amd64(map: &KernelMapping) -> bool {
    map.cache.as_deref().is_some_and(|mode| !RISCV_MODES.contains(&mode)) && map.pages.len() == 3
}

/// Physical addresses from `physical` on, mapped one after another from `address` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Linear {
    address: u128,
    physical: u128,
}

/// What the direct map maps, if that is certain.
///
/// On amd64 it begins at a border of the top-level table, maps everything from physical address 0 to the end
/// of RAM, 4 GiB at least, and the MTRRs make device memory of parts of it: `WB` in the table says nothing
/// (`create_pagetables`).
///
/// On arm64 it maps RAM only, and begins at the GiB of the lowest RAM (`pmap_bootstrap_dmap`; with pages of
/// 16 KiB at 64 GiB). Firmware counts as RAM there that the memory map lists as reserved
/// (`add_efi_map_entry`, `sys/arm64/arm64/machdep.c`). Older kernels round the ends to 2 MiB, so it is
/// cut to the RAM all the same. The kernel does not tell where the lowest RAM was; so where it may have
/// been is tried, and taken if then all RAM is mapped, and in one way only.
fn direct_map(maps: &[KernelMapping], ram: &MemoryMap) -> Option<Linear> {
    let first = maps.iter().filter(|map| map.region == DIRECT_MAP).min_by_key(|map| map.start)?;
    if is_amd64(first) {
        return Some(Linear { address: (first.start & !(NBPML4 - 1)).into(), physical: 0 });
    }
    let lowest_ram = ram.segments.first()?.start;
    let firmware = ram.reserved.iter().filter(|range| FIRMWARE.contains(&range.kind.as_str())).map(|range| range.start);
    let mut found = None;
    for lowest in firmware.filter(|start| *start < lowest_ram).chain([lowest_ram]) {
        let rounded = (lowest % GIB).checked_sub(first.start % GIB);
        if rounded.is_none_or(|by| by >= ROUNDING) {
            continue;
        }
        let linear =
            Linear { address: (first.start - first.start % GIB).into(), physical: (lowest - lowest % GIB).into() };
        if found == Some(linear) || !linear.maps_all(maps, ram) {
            continue;
        }
        if found.is_some() {
            return None;
        }
        found = Some(linear);
    }
    found
}

impl Linear {
    /// Whether the direct map's ranges then map all RAM, but for parts of pages.
    fn maps_all(self, maps: &[KernelMapping], ram: &MemoryMap) -> bool {
        let ranges = maps.iter().filter(|map| map.region == DIRECT_MAP);
        let ranges = coalesce(ranges.map(|map| (map.start, saturating_u64(map.end_address()))).collect());
        ram.ram_within(0, ADDRESS_SPACE).into_iter().all(|(start, end)| {
            let (start, end) = (start.saturating_add(MAX_PAGE - 1) & !(MAX_PAGE - 1), end & !(MAX_PAGE - 1));
            let (from, to) = (self.address(start), self.address(end));
            start >= end || ranges.iter().any(|range| u128::from(range.0) <= from && to <= range.1.into())
        })
    }

    /// The virtual address of a physical one.
    fn address(self, physical: u64) -> u128 {
        (u128::from(physical) + self.address).saturating_sub(self.physical)
    }

    /// The physical address of a virtual one; 0 before the first.
    fn physical(self, address: u128) -> u128 {
        address.checked_sub(self.address).map_or(0, |offset| offset + self.physical)
    }
}

/// Ranges that are decided on.
struct Sorted<'a> {
    ram: &'a MemoryMap,
    readable: Vec<(u64, u64)>,
    skipped: Vec<SkippedRange>,
}

impl Sorted<'_> {
    /// Takes a range, unless it is empty.
    fn read(&mut self, start: u128, end: u128) {
        let last = ADDRESS_SPACE - PAGE;
        if let (Ok(from), Ok(to)) = (u64::try_from(start), u64::try_from(end.min(last)))
            && from < to
        {
            self.readable.push((from, to));
        }
        self.leave_out(start.max(last), end, Why::LastPage);
    }

    /// Takes what is RAM of a range.
    fn cut(&mut self, start: u128, end: u128, linear: Linear) {
        let mut at = start;
        if let Ok(from) = u64::try_from(linear.physical(start)) {
            for (ram_start, ram_end) in self.ram.ram_within(from, linear.physical(end)) {
                let (from, to) = (linear.address(ram_start), linear.address(ram_end));
                self.leave_out(at, from, Why::NotRam);
                self.read(from, to);
                at = to;
            }
        }
        self.leave_out(at, end, Why::NotRam);
    }

    /// Leaves a range out, unless it is empty.
    fn leave_out(&mut self, start: u128, end: u128, why: Why) {
        if start < end
            && let Ok(start) = u64::try_from(start)
        {
            // 2^64 is no u64.
            self.skipped.push(SkippedRange { start, end: low_u64(end), why });
        }
    }

    fn joined(mut self) -> KernelSegments {
        let segments = coalesce(self.readable).into_iter();
        self.skipped.sort_by_key(|range| range.start);
        let mut skipped: Vec<SkippedRange> = Vec::new();
        for range in self.skipped {
            match skipped.last_mut() {
                // An end of 0 is 2^64.
                Some(last) if last.end != 0 && last.end == range.start && last.why == range.why => last.end = range.end,
                _ => skipped.push(range),
            }
        }
        KernelSegments {
            segments: segments.map(|(start, end)| Segment { start, end, domain: None }).collect(),
            skipped,
        }
    }
}
