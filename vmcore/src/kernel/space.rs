//! The kernel's virtual address space: from an address to memory, step by step, and all that is mapped.
//!
//! A minidump has the tables of one level in a section of its own, from the kernel's base on; amd64's, whose entries
//! are page directory entries, has the page tables below them among its pages; powerpc64's is the hashed page table.
//! Elsewhere the tables are walked from their root, as the processor does.

use super::hashed::Hashed;
use super::translation::{Mapping, Translation, WalkStep};
use crate::architecture::{Architecture, DirectMap, Endianness};
use crate::dump::DumpedMemory;
use crate::dump::header::{Header, Relocation, Section};
use crate::fault::{Fault, Why};
use crate::memory::Memory;
use crate::pmap::{Format, Level, Protection, Target};
use std::ops::ControlFlow;

/// Where the tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tables {
    /// In a section of the minidump, from its kernel base on.
    Section {
        format: Format,
        level: Level,
        base: u64,
        /// Where the section is in the dump, and how many entries it has.
        offset: u64,
        entries: u64,
    },
    /// In a section of the minidump, hashed.
    Hashed(Hashed),
    /// In physical memory; kernel memory is mapped from this address on.
    Root { format: Format, root: u64, base: u64 },
    /// None: the dump has virtual memory by its addresses.
    Listed,
    /// Unknown, for this reason.
    Unknown(&'static str),
}

/// The kernel's address space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AddressSpace {
    pub order: Endianness,
    pub tables: Tables,
    pub direct_map: Option<DirectMap>,
    /// What may be done with memory in the direct map.
    pub direct_protection: Protection,
    /// How the kernel lies elsewhere than it is linked: addresses that it is linked at are followed, too.
    pub relocation: Option<Relocation>,
}

/// Entries of a level in a minidump's section, without those for what lies beyond the address space.
fn section(header: &Header, format: Format, level: Level) -> Tables {
    let base = header.kernel_base;
    let last = if format.is_32_bit() { u32::MAX.into() } else { u64::MAX };
    if !base.is_multiple_of(level.span()) || base > last {
        return Tables::Unknown("no page tables can begin at the kernel's base");
    }
    let entries = header.size_of(Section::PageTables) / format.entry_size();
    let entries = entries.min(((last - base) >> level.shift) + 1);
    Tables::Section { format, level, base, offset: header.offset_of(Section::PageTables), entries }
}

/// The memory that page tables are read from.
pub(super) enum Physical<'a> {
    Dump(&'a DumpedMemory),
    Live(&'a dyn Memory),
}

impl Physical<'_> {
    fn memory(&self) -> &dyn Memory {
        match self {
            Self::Dump(dump) => *dump,
            Self::Live(memory) => *memory,
        }
    }
}

/// Why an address of such a dump leads nowhere.
const LISTED: &str = "the dump has the virtual addresses of its memory and no others";

/// What may be done with memory in a direct map; each page of it may have less.
pub(super) const DATA: Protection = Protection { read: true, write: true, execute: false };
/// The same on powerpc64, whose kernel runs in its direct map (`moea64_kenter_large()` in `sys/powerpc/aim/mmu_oea64.c`,
/// `DMAP_PAGE_BITS` in `mmu_radix.c`).
const CODE: Protection = Protection { read: true, write: true, execute: true };

impl AddressSpace {
    /// A minidump's.
    pub fn from_minidump(header: &Header) -> Self {
        let tables = match header.table_format().zip(header.table_level()) {
            Some((format, level)) => section(header, format, level),
            None if header.architecture == Architecture::Powerpc64 => {
                Hashed::from_minidump(header).map_or_else(Tables::Unknown, Tables::Hashed)
            }
            None => Tables::Unknown("the page tables of this dump's MMU are not known"),
        };
        let direct_protection = if header.architecture == Architecture::Powerpc64 { CODE } else { DATA };
        let (direct_map, relocation) = (header.direct_map, header.relocation());
        Self { order: header.order, tables, direct_map, direct_protection, relocation }
    }

    /// That of a dump which has virtual memory by its addresses.
    pub fn listed(order: Endianness) -> Self {
        Self { order, tables: Tables::Listed, direct_map: None, direct_protection: DATA, relocation: None }
    }

    /// Follows an address to memory, and shows each entry on the way.
    pub fn follow(
        &self,
        memory: &Physical<'_>,
        address: u64,
        seen: impl FnMut(WalkStep),
    ) -> Result<Translation, Fault> {
        let relocated = self.relocation.and_then(|relocation| Some((relocation, relocation.as_it_ran(address)?)));
        let Some((relocation, ran)) = relocated else { return self.follow_as_it_ran(memory, address, seen) };
        let found = self.follow_as_it_ran(memory, ran, seen).map_err(|fault| Fault { address, ..fault })?;
        let remaining = relocation.size - (address - relocation.linked);
        Ok(Translation { remaining: found.remaining.min(remaining), ..found })
    }

    fn follow_as_it_ran(
        &self,
        memory: &Physical<'_>,
        address: u64,
        mut seen: impl FnMut(WalkStep),
    ) -> Result<Translation, Fault> {
        if let Some(map) = self.direct_map.filter(|map| (map.base..map.end).contains(&address)) {
            let within = address - map.base;
            let physical = map.physical.checked_add(within).ok_or(Fault::new(address, Why::NotCovered))?;
            let protection = self.direct_protection;
            return Ok(Translation { physical, remaining: map.end - address, protection, page_size: None });
        }
        let fault = |why| Fault::new(address, why);
        let (format, mut step) = match self.tables {
            Tables::Section { format, level, base, offset, entries } => {
                let index = address.checked_sub(base).map(|within| within >> level.shift);
                let index = index.filter(|index| *index < entries && format.is_canonical(address));
                let index = index.ok_or(fault(Why::NotCovered))?;
                let offset = offset.saturating_add(index.saturating_mul(format.entry_size()));
                let entry = match memory {
                    Physical::Dump(dump) => self.dumped(dump, format, offset),
                    Physical::Live(_) => Ok(None),
                };
                let entry = entry.map_err(|error| Fault::io(address, &error))?;
                let entry = entry.ok_or(fault(Why::NotCovered))?;
                let target = format.decode(level, entry);
                (format, WalkStep { level, index, physical: None, offset: Some(offset), entry, target })
            }
            Tables::Hashed(table) => {
                let Physical::Dump(dump) = memory else { return Err(fault(Why::NotCovered)) };
                return table.follow(dump, address, &mut seen);
            }
            Tables::Root { format, root, .. } => {
                if !format.is_canonical(address) {
                    return Err(fault(Why::NotCovered));
                }
                let level = format.levels().first().copied().ok_or(fault(Why::NotCovered))?;
                (format, self.step(memory, format, level, root, address)?)
            }
            Tables::Listed => return Err(fault(Why::Untranslated(LISTED))),
            Tables::Unknown(reason) => return Err(fault(Why::Untranslated(reason))),
        };
        loop {
            seen(step);
            step = match step.target {
                Target::Nothing => return Err(fault(Why::NotMapped(step.level.name))),
                Target::Page { physical, size, protection } => {
                    // A large page of 16 small ones has as many entries.
                    let size_here = size.min(step.level.span());
                    let (physical, remaining) =
                        (physical.saturating_add(address % size), size_here - address % size_here);
                    return Ok(Translation { physical, remaining, protection, page_size: Some(size) });
                }
                Target::Table(table) => {
                    let below = format.levels().iter().find(|level| level.shift < step.level.shift);
                    let level = below.copied().ok_or(fault(Why::NotMapped(step.level.name)))?;
                    self.step(memory, format, level, table, address)?
                }
            };
        }
    }

    /// Reads the entry for an address in the table at a physical address.
    fn step(
        &self,
        memory: &Physical<'_>,
        format: Format,
        level: Level,
        table: u64,
        address: u64,
    ) -> Result<WalkStep, Fault> {
        let index = level.index(address);
        let no_table = Fault::new(address, Why::NoTable(table));
        let physical = table.checked_add(index * format.entry_size()).ok_or(no_table)?;
        let (offset, entry) = match memory {
            Physical::Dump(dump) => {
                let (offset, _) = dump.place_of(physical).ok_or(no_table)?;
                (Some(offset), self.dumped(dump, format, offset).map_err(|error| Fault::io(address, &error)))
            }
            Physical::Live(memory) => {
                let mut bytes = [0; 8];
                let wanted = if format.entry_size() == 4 { 4 } else { 8 };
                let read = memory.read_at(physical, bytes.get_mut(..wanted).unwrap_or_default());
                let value = bytes.get(..wanted).map(|bytes| self.order.number(bytes));
                (
                    None,
                    read.map(|read| value.filter(|_| read == wanted))
                        .map_err(|error| Fault::read(address, table, &error)),
                )
            }
        };
        let entry = entry?.ok_or(no_table)?;
        Ok(WalkStep { level, index, physical: Some(physical), offset, entry, target: format.decode(level, entry) })
    }

    /// An entry in the dump; `None` where that has been cut off.
    fn dumped(&self, dump: &DumpedMemory, format: Format, offset: u64) -> std::io::Result<Option<u64>> {
        Ok(match format.entry_size() {
            4 => dump.entry(offset)?.map(|bytes| self.order.u32(bytes).into()),
            _ => dump.entry(offset)?.map(|bytes| self.order.u64(bytes)),
        })
    }

    /// Shows all that is mapped, in ascending order, in pieces as large as they come; `direct` is the memory that the
    /// direct map is to be shown of. Tells how many page tables could not be had. Where none are known, that is the error,
    /// once the direct map was shown.
    pub fn each_mapping(
        &self,
        memory: &Physical<'_>,
        direct: &mut dyn Iterator<Item = (u64, u64)>,
        take: &mut dyn FnMut(Mapping) -> ControlFlow<()>,
    ) -> Result<u64, Fault> {
        let mut pieces = Pieces { take, last: None };
        let base = match self.tables {
            Tables::Section { base, .. } | Tables::Hashed(Hashed { base, .. }) | Tables::Root { base, .. } => base,
            Tables::Listed => {
                let memory =
                    direct.map(|(address, size)| Mapping { address, physical: address, size, protection: DATA });
                for mapping in memory {
                    if take(mapping).is_break() {
                        break;
                    }
                }
                return Ok(0);
            }
            Tables::Unknown(_) => u64::MAX,
        };
        let direct_first = self.direct_map.is_some_and(|map| map.base < base);
        let mut walk = Walk { space: self, memory, pieces: &mut pieces, lost: 0, remaining: 0 };
        let mut go_on = ControlFlow::Continue(());
        for is_direct in [direct_first, !direct_first] {
            if go_on.is_continue() {
                go_on = if is_direct { walk.direct(direct) } else { walk.tables()? };
            }
        }
        let lost = walk.lost;
        if go_on.is_continue() {
            // It was the last one, whatever is answered.
            let _ = pieces.end();
        }
        match self.tables {
            Tables::Unknown(reason) => Err(Fault::new(0, Why::Untranslated(reason))),
            _ => Ok(lost),
        }
    }
}

/// Joins mappings that continue one another.
struct Pieces<'a> {
    take: &'a mut dyn FnMut(Mapping) -> ControlFlow<()>,
    last: Option<Mapping>,
}

impl Pieces<'_> {
    fn add(&mut self, next: Mapping) -> ControlFlow<()> {
        if let Some(last) = &mut self.last
            && last.address.checked_add(last.size) == Some(next.address)
            && last.physical.checked_add(last.size) == Some(next.physical)
            && last.protection == next.protection
            && let Some(size) = last.size.checked_add(next.size)
        {
            last.size = size;
            return ControlFlow::Continue(());
        }
        match self.last.replace(next) {
            Some(last) => (self.take)(last),
            None => ControlFlow::Continue(()),
        }
    }

    fn end(&mut self) -> ControlFlow<()> {
        self.last.take().map_or(ControlFlow::Continue(()), |last| (self.take)(last))
    }
}

/// Page tables that are read at most of the running kernel, those of 1 TiB in small pages; of a dump, as many as
/// pages are in it.
const MAX_TABLES: u64 = 1 << 20;
/// Entries of a minidump's section that are read at once.
const CHUNK: u64 = 1 << 13;

struct Walk<'a, 'm, 'p> {
    space: &'a AddressSpace,
    memory: &'a Physical<'m>,
    pieces: &'a mut Pieces<'p>,
    /// Tables that could not be had.
    lost: u64,
    /// Tables that may still be read: page tables that lead to each other must come to an end.
    remaining: u64,
}

impl Walk<'_, '_, '_> {
    fn direct(&mut self, memory: &mut dyn Iterator<Item = (u64, u64)>) -> ControlFlow<()> {
        let Some(map) = self.space.direct_map else { return ControlFlow::Continue(()) };
        let end = map.physical.saturating_add(map.end.saturating_sub(map.base));
        for (physical, size) in memory {
            let (first, last) = (physical.max(map.physical), physical.saturating_add(size).min(end));
            if first < last {
                let (address, protection) = (map.base + (first - map.physical), self.space.direct_protection);
                self.pieces.add(Mapping { address, physical: first, size: last - first, protection })?;
            }
        }
        ControlFlow::Continue(())
    }

    fn tables(&mut self) -> Result<ControlFlow<()>, Fault> {
        self.remaining = match (self.memory, self.space.tables) {
            (Physical::Dump(dump), Tables::Section { format, .. } | Tables::Root { format, .. }) => {
                dump.count() / format.page_size()
            }
            _ => MAX_TABLES,
        };
        match (self.space.tables, self.memory) {
            (Tables::Section { format, level, base, offset, entries }, Physical::Dump(dump)) => {
                let size = format.entry_size();
                let mut bytes = vec![0; usize::try_from(CHUNK * size).unwrap_or_default()];
                let mut index = 0;
                while index < entries {
                    let wanted = usize::try_from((entries - index).min(CHUNK) * size).unwrap_or_default();
                    let at = offset.saturating_add(index * size);
                    let part = bytes.get_mut(..wanted).unwrap_or_default();
                    let read = dump.read_dump(at, part).map_err(|error| Fault::io(base, &error))?;
                    let part = part.get(..read).unwrap_or_default();
                    let first = base.wrapping_add(index << level.shift);
                    if self.entries(format, level, part, first).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    if read < wanted {
                        // The dump has been cut off within its tables.
                        self.lost += 1;
                        break;
                    }
                    index += CHUNK;
                }
                Ok(ControlFlow::Continue(()))
            }
            (Tables::Hashed(table), Physical::Dump(dump)) => {
                let mut go_on = ControlFlow::Continue(());
                let mut take = |mapping| {
                    go_on = self.pieces.add(mapping);
                    go_on
                };
                let is_whole = table.each_mapping(dump, &mut take);
                self.lost += u64::from(!is_whole.map_err(|error| Fault::io(table.base, &error))?);
                Ok(go_on)
            }
            (Tables::Root { format, root, .. }, _) => {
                let Some(level) = format.levels().first() else { return Ok(ControlFlow::Continue(())) };
                Ok(self.table(format, *level, root, 0))
            }
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    /// Takes the entries of a table, whose first one is for that address.
    fn table(&mut self, format: Format, level: Level, physical: u64, first: u64) -> ControlFlow<()> {
        let lost = self.remaining == 0;
        self.remaining = self.remaining.saturating_sub(1);
        let size = if lost { 0 } else { format.entry_size() << level.bits };
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        if lost || self.memory.memory().fill(physical, &mut bytes).is_err() {
            self.lost += 1;
            return ControlFlow::Continue(());
        }
        self.entries(format, level, &bytes, first)
    }

    fn entries(&mut self, format: Format, level: Level, bytes: &[u8], first: u64) -> ControlFlow<()> {
        let (base, has_root) = match self.space.tables {
            Tables::Root { base, .. } => (base, true),
            _ => (0, false),
        };
        let below = format.levels().iter().find(|below| below.shift < level.shift);
        let size = usize::try_from(format.entry_size()).unwrap_or(8);
        let mut address = first;
        for entry in bytes.chunks_exact(size) {
            let word = self.space.order.number(entry);
            let here = format.canonical(address);
            let is_real = has_root || here == address;
            address = address.wrapping_add(level.span());
            // Below the base there is no kernel memory, but the tables may be found there themselves.
            if word == 0 || !is_real || here.wrapping_add(level.span() - 1) < base {
                continue;
            }
            match (format.decode(level, word), below) {
                (Target::Page { physical, size, protection }, _) => {
                    // A large page of 16 small ones has as many entries.
                    let (physical, size) = (physical + here % size, size.min(level.span()));
                    self.pieces.add(Mapping { address: here, physical, size, protection })?;
                }
                (Target::Table(physical), Some(below)) => self.table(format, *below, physical, here)?,
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}
