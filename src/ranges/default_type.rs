//! The cache type of addresses that no memory range covers.
//!
//! mem(4) does not report it. The processor's registers tell it, where cpuctl(4) reads them; elsewhere it is
//! inferred from the ranges that the firmware has made, as far as they show it.
//!
//! Sources: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 3, "IA32_MTRR_DEF_TYPE MSR"; AMD64
//! Architecture Programmer's Manual, volume 2, "Memory-Type Range Registers" and "SYSCFG Register".

use super::effective::{self, Effective, EffectiveRange};
use super::rules::Table;
use super::{CacheType, Descriptor};
use crate::memory_map::MemoryMap;
use ioctl_defs::memrange::Mdf;
use serde::{Deserialize, Serialize};
use vmcore::units::Hex;

/// Where TOP_MEM2 begins to matter.
const FOUR_GIB: u64 = 1 << 32;

/// What a processor's registers say of memory types.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registers {
    /// Who made it, as CPUID says: `GenuineIntel`, `AuthenticAMD`.
    pub vendor: String,
    /// `MTRRdefType`; its lowest byte is the default type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtrr_def_type: Option<Hex>,
    /// `SYSCFG`, of AMD's processors and those of its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syscfg: Option<Hex>,
    /// `TOP_MEM2`, of the same: where RAM above 4 GiB ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_mem2: Option<Hex>,
}

impl Registers {
    /// The number of `MTRRdefType`.
    pub const MTRR_DEF_TYPE: u32 = 0x2ff;
    /// The number of `SYSCFG`.
    pub const SYSCFG: u32 = 0xc001_0010;
    /// The number of `TOP_MEM2`.
    pub const TOP_MEM2: u32 = 0xc001_001d;

    /// Whether a processor of this vendor has `SYSCFG` and `TOP_MEM2`.
    pub fn has_top_mem2(vendor: &str) -> bool {
        matches!(vendor, "AuthenticAMD" | "HygonGenuine")
    }

    /// The type in `MTRRdefType`; `None` if it is not known, or is no type.
    fn default_type(&self) -> Option<CacheType> {
        match self.mtrr_def_type?.0 & 0xff {
            0 => Some(CacheType::Uncacheable),
            1 => Some(CacheType::WriteCombine),
            4 => Some(CacheType::WriteThrough),
            5 => Some(CacheType::WriteProtect),
            6 => Some(CacheType::WriteBack),
            _ => None,
        }
    }

    /// What the processor does above 4 GiB.
    fn above_4_gib(&self) -> Above {
        /// `MtrrTom2En` and `Tom2ForceMemTypeWB`.
        const FORCED: u64 = 1 << 21 | 1 << 22;
        /// Its bits in `TOP_MEM2`.
        const TOP: u64 = 0x000f_ffff_ff80_0000;
        if !Self::has_top_mem2(&self.vendor) {
            return Above::Default;
        }
        match (self.syscfg, self.top_mem2) {
            (Some(Hex(syscfg)), _) if syscfg & FORCED != FORCED => Above::Default,
            (Some(_), Some(Hex(top))) => Above::WriteBackTo(top & TOP),
            _ => Above::Unknown,
        }
    }
}

/// What a processor does above 4 GiB where no range is.
enum Above {
    /// The same as below.
    Default,
    /// Write-back up to this address.
    WriteBackTo(u64),
    /// It cannot be told.
    Unknown,
}

/// Where a default type is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The processor's registers.
    Processor,
    /// The firmware's ranges; it is likely.
    Inferred,
    /// It is not known.
    Unknown,
}

/// The type that holds at an address without a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultType {
    /// The type; `None` where it is not known.
    pub cache: Option<CacheType>,
    /// Where it is known from.
    pub basis: Basis,
    /// The reason, as a clause.
    pub why: String,
}

impl DefaultType {
    fn unknown(why: &str) -> Self {
        Self { cache: None, basis: Basis::Unknown, why: why.to_owned() }
    }
}

/// The default types of a machine: one everywhere, or another one from 4 GiB up to TOP_MEM2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    everywhere: DefaultType,
    top_mem2: Option<(u64, DefaultType)>,
}

impl Defaults {
    /// The default types, from the registers where they were read, else from what the firmware has set up.
    pub fn find(registers: Option<&Registers>, table: &Table, map: Option<&MemoryMap>) -> Self {
        let inferred = map.map_or_else(Self::unknown, |map| Self::infer(table, map));
        let Some((registers, cache)) = registers.and_then(|registers| Some((registers, registers.default_type()?)))
        else {
            return inferred;
        };
        let why = "by the processor's register MTRRdefType".to_owned();
        let everywhere = DefaultType { cache: Some(cache), basis: Basis::Processor, why };
        let top_mem2 = match registers.above_4_gib() {
            Above::Default => None,
            Above::WriteBackTo(top) => {
                let why = format!("SYSCFG and TOP_MEM2 of the processor make 4 GiB to {} write-back", Hex(top));
                Some((top, DefaultType { cache: Some(CacheType::WriteBack), basis: Basis::Processor, why }))
            }
            Above::Unknown => inferred.top_mem2,
        };
        Self { everywhere, top_mem2 }
    }

    fn unknown() -> Self {
        let everywhere = DefaultType::unknown("it cannot be determined without the memory map");
        Self { everywhere, top_mem2: None }
    }

    /// Judges by the ranges over RAM, which would be unusably slow were it not write-back.
    fn infer(table: &Table, map: &MemoryMap) -> Self {
        let ram = Ram::survey(table, map);
        let made = ram.write_back_below || ram.write_back_above;
        let (cache, basis, why) = match ram.bare_below {
            _ if made => {
                let why =
                    "the firmware has made ranges for RAM, which would need none if it were write-back".to_owned();
                (Some(CacheType::Uncacheable), Basis::Inferred, why)
            }
            Some(bare) if !ram.was_changed => {
                let why = format!("RAM at {} has no range, and would be unusably slow otherwise", Hex(bare));
                (Some(CacheType::WriteBack), Basis::Inferred, why)
            }
            Some(_) => {
                (None, Basis::Unknown, "firmware ranges have been removed, so the others are not conclusive".to_owned())
            }
            None => (None, Basis::Unknown, "no range of the firmware shows it".to_owned()),
        };
        let top_mem2 = (ram.bare_above && ram.write_back_below && !ram.write_back_above).then(|| {
            let why = "the firmware has made ranges for the RAM below 4 GiB only, as it does where TOP_MEM2 of an AMD processor makes the rest write-back".to_owned();
            (ram.end, DefaultType { cache: Some(CacheType::WriteBack), basis: Basis::Inferred, why })
        });
        Self { everywhere: DefaultType { cache, basis, why }, top_mem2 }
    }

    /// The type that holds at an address which no range covers.
    pub fn at(&self, address: u64) -> &DefaultType {
        match &self.top_mem2 {
            Some((top, above)) if (FOUR_GIB..*top).contains(&address) => above,
            _ => &self.everywhere,
        }
    }

    /// The addresses at which the default type changes.
    pub(crate) fn borders(&self) -> impl Iterator<Item = u64> {
        self.top_mem2.iter().flat_map(|(top, _)| [FOUR_GIB, *top])
    }
}

/// How the firmware has set up ranges for RAM.
#[derive(Default)]
struct Ram {
    /// The first RAM below 4 GiB that has no range.
    bare_below: Option<u64>,
    /// There is RAM above 4 GiB that has no range.
    bare_above: bool,
    /// A variable range of the firmware makes RAM below 4 GiB write-back.
    write_back_below: bool,
    /// The same above.
    write_back_above: bool,
    /// A variable range of the firmware has been removed since.
    was_changed: bool,
    /// The first address after all RAM.
    end: u64,
}

impl Ram {
    fn survey(table: &Table, map: &MemoryMap) -> Self {
        let variable = || table.descriptors().iter().skip(table.fixed_count());
        let firmware = |range: &&Descriptor| range.flags.contains(Mdf::FIRMWARE);
        let made: Vec<&Descriptor> = variable().filter(|range| range.is_active()).filter(firmware).collect();
        let mut ram = Self {
            was_changed: variable().filter(firmware).any(|range| !range.is_active()),
            end: map.segments.last().map_or(0, |segment| segment.end),
            ..Self::default()
        };
        let segments = map.segments.iter();
        let parts = segments
            .flat_map(|segment| effective::pieces_cut_at(table, map, segment.start, segment.end.into(), [FOUR_GIB]));
        for part in parts {
            ram.add(&part, made.iter().any(|range| range.contains(part.start)));
        }
        ram
    }

    fn add(&mut self, part: &EffectiveRange, made: bool) {
        let below = part.start < FOUR_GIB;
        match part.effective {
            Effective::Default if below => self.bare_below = self.bare_below.or(Some(part.start)),
            Effective::Default => self.bare_above = true,
            Effective::Cache(CacheType::WriteBack) if made && below => self.write_back_below = true,
            Effective::Cache(CacheType::WriteBack) if made => self.write_back_above = true,
            _ => {}
        }
    }
}
