//! The kernel's virtual address space: from an address to memory, step by step, and all that is mapped.
//!
//! A minidump has the tables of one level in a section of its own, from the kernel's base on; amd64's, whose entries
//! are page directory entries, has the page tables below them among its pages; powerpc64's is the hashed page table.
//! Elsewhere the tables are walked from their root, as the processor does.

use super::hashed::{Hashed, RunningTable};
use super::tables::Physical;
use super::translation::{Mapping, Translation, WalkStep};
use crate::architecture::{Architecture, DirectMap, Endianness};
use crate::bounds::head_mut;
use crate::dump::DumpedMemory;
use crate::dump::header::{Header, Relocation, Section};
use crate::fault::{Fault, Why};
use crate::memory::Memory;
use crate::pmap::walk::{Entry, Miss, Page, Table, Visitor, lookup, walk};
use crate::pmap::{Format, Level, Protection, Target};
use std::cell::Cell;
use std::io;
use std::ops::ControlFlow;

/// Where the tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tables {
    /// A tree.
    Tree(PageTables),
    /// Hashed, in a section of the minidump or in physical memory.
    Hashed(Hashed),
    /// None: the dump has virtual memory by its addresses.
    Listed,
    /// Unknown, for this reason.
    Unknown(&'static str),
}

/// Page tables that are walked down from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageTables {
    pub(super) format: Format,
    /// The table to begin with: in physical memory, or a section of the minidump.
    pub(super) top: Table,
    /// Where that section is in the dump.
    offset: u64,
    /// Kernel memory is mapped from this address on.
    pub(super) base: u64,
}

impl PageTables {
    /// That of a root in physical memory, which maps kernel memory from an address on.
    pub(super) fn from_root(format: Format, root: u64, base: u64) -> Self {
        Self { format, top: Table::root(format, root), offset: 0, base }
    }

    /// Where an entry of a table in a section is in the dump.
    fn offset(&self, index: u64) -> u64 {
        self.offset.saturating_add(index.saturating_mul(self.format.entry_size()))
    }
}

/// What told where the page tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RootOrigin {
    /// The dump, the running system, or symbols.
    Told,
    /// The registers of a processor.
    Processor,
    /// Nothing: a page was taken for their root.
    Scan,
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
    pub origin: RootOrigin,
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
    let top = Table { level, physical: None, base, entries };
    Tables::Tree(PageTables { format, top, offset: header.offset_of(Section::PageTables), base })
}

/// Why an address of such a dump leads nowhere.
const LISTED: &str = "the dump has only its own virtual addresses";

/// Why an address of a core file that tells itself where memory is leads nowhere.
const TOLD: &str = "the core file does not have it, and has no page tables";

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
            None => Tables::Unknown("the page tables of this dump's MMU are not supported"),
        };
        let direct_protection = if header.architecture == Architecture::Powerpc64 { CODE } else { DATA };
        let (direct_map, relocation) = (header.direct_map, header.relocation());
        Self { order: header.order, tables, direct_map, direct_protection, relocation, origin: RootOrigin::Told }
    }

    /// That of a kernel whose page tables are in physical memory, without a direct map.
    pub fn from_tables(tables: PageTables) -> Self {
        let tables = Tables::Tree(tables);
        Self {
            order: Endianness::Little,
            tables,
            direct_map: None,
            direct_protection: DATA,
            relocation: None,
            origin: RootOrigin::Told,
        }
    }

    /// That of a kernel whose hashed page table is in physical memory, without a direct map; kernel memory is mapped from
    /// `base` on.
    pub fn from_hashed(table: RunningTable, base: u64, order: Endianness, relocation: Relocation) -> Self {
        let tables = Tables::Hashed(Hashed::from_running(table, base));
        Self {
            order,
            tables,
            direct_map: None,
            direct_protection: CODE,
            relocation: Some(relocation),
            origin: RootOrigin::Told,
        }
    }

    /// That of a dump which has virtual memory by its addresses.
    pub fn listed(order: Endianness) -> Self {
        Self {
            order,
            tables: Tables::Listed,
            direct_map: None,
            direct_protection: DATA,
            relocation: None,
            origin: RootOrigin::Told,
        }
    }

    /// That of a core file which tells itself where virtual memory is, and in which no page tables are found.
    pub fn told(order: Endianness) -> Self {
        Self { tables: Tables::Unknown(TOLD), ..Self::listed(order) }
    }

    /// Where the root of the tables is.
    pub fn root(&self) -> Option<u64> {
        match &self.tables {
            Tables::Tree(tree) => tree.top.physical,
            _ => None,
        }
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
        match self.tables {
            Tables::Tree(tree) => {
                let found = self.walk_to(memory, &tree, address, seen);
                // Core files that were made of minidumps tell where memory is, and lack page tables.
                found.or_else(|fault| match fault.why {
                    Why::NoTable(_) => listed(memory, address).ok_or(fault),
                    _ => Err(fault),
                })
            }
            Tables::Hashed(table) => table.follow(memory, address, &mut seen),
            Tables::Listed => Err(Fault::new(address, Why::Untranslated(LISTED))),
            Tables::Unknown(reason) => listed(memory, address).ok_or(Fault::new(address, Why::Untranslated(reason))),
        }
    }

    fn walk_to(
        &self,
        memory: &Physical<'_>,
        tree: &PageTables,
        address: u64,
        mut seen: impl FnMut(WalkStep),
    ) -> Result<Translation, Fault> {
        let format = tree.format;
        let offset = Cell::new(None);
        let read = |table: &Table, index| {
            let (at, entry) = self.read_entry(memory, tree, table, index)?;
            offset.set(at);
            Ok(entry)
        };
        let show = |entry: &Entry<'_>| {
            let (level, physical) = (entry.table.level, entry.physical(format));
            let Entry { index, value, target, .. } = *entry;
            seen(WalkStep { level, index, physical, offset: offset.get(), entry: value, target });
        };
        match lookup(format, &tree.top, address, read, show) {
            Ok(Page { physical, remaining, size, protection }) => {
                Ok(Translation { physical, remaining, protection, page_size: Some(size) })
            }
            Err(Miss::NotCovered) => Err(Fault::new(address, Why::NotCovered)),
            Err(Miss::NotMapped(level)) => Err(Fault::new(address, Why::NotMapped(level.name))),
            Err(Miss::Unread(why)) => Err(Fault::new(address, why)),
        }
    }

    /// Reads an entry of a table, and tells where it is in the dump.
    fn read_entry(
        &self,
        memory: &Physical<'_>,
        tree: &PageTables,
        table: &Table,
        index: u64,
    ) -> Result<(Option<u64>, u64), Why> {
        let Some(at) = table.physical else {
            let Physical::Dump(dump) = memory else { return Err(Why::NotCovered) };
            let offset = tree.offset(index);
            let entry = self.dumped(dump, tree.format, offset).map_err(Why::from)?;
            return Ok((Some(offset), entry.ok_or(Why::NotCovered)?));
        };
        let no_table = Why::NoTable(at);
        let physical = at.checked_add(index * tree.format.entry_size()).ok_or(no_table)?;
        match memory {
            Physical::Dump(dump) => {
                let (offset, _) = dump.place_of(physical).ok_or(no_table)?;
                let entry = self.dumped(dump, tree.format, offset).map_err(Why::from)?;
                Ok((Some(offset), entry.ok_or(no_table)?))
            }
            Physical::Live(ram) => {
                let mut bytes = [0; 8];
                let part = head_mut(&mut bytes, tree.format.entry_size());
                let read = ram.read_at(physical, part).map_err(|error| Why::unread(at, &error))?;
                if read < part.len() { Err(no_table) } else { Ok((None, self.order.number(part))) }
            }
        }
    }

    /// The entry with this number of a table in physical memory.
    pub fn entry(&self, memory: &Physical<'_>, table: &Table, index: u64) -> Option<u64> {
        let Tables::Tree(tree) = self.tables else { return None };
        self.read_entry(memory, &tree, table, index).ok().map(|(_, entry)| entry)
    }

    /// An entry in the dump; `None` where that has been cut off.
    fn dumped(&self, dump: &DumpedMemory, format: Format, offset: u64) -> io::Result<Option<u64>> {
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
            Tables::Tree(PageTables { base, .. }) | Tables::Hashed(Hashed { base, .. }) => base,
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
        let mut lost = 0;
        let mut go_on = ControlFlow::Continue(());
        for is_direct in [direct_first, !direct_first] {
            if go_on.is_continue() && is_direct {
                go_on = self.map_directly(direct, &mut pieces);
            } else if go_on.is_continue() {
                (lost, go_on) = self.map_tables(memory, &mut pieces)?;
            }
        }
        if go_on.is_continue() {
            // It was the last one, whatever is answered.
            let _ = pieces.end();
        }
        match self.tables {
            Tables::Unknown(reason) => Err(Fault::new(0, Why::Untranslated(reason))),
            _ => Ok(lost),
        }
    }

    /// Adds the memory that the direct map shows.
    fn map_directly(&self, memory: &mut dyn Iterator<Item = (u64, u64)>, pieces: &mut Pieces<'_>) -> ControlFlow<()> {
        let Some(map) = self.direct_map else { return ControlFlow::Continue(()) };
        let end = map.physical.saturating_add(map.end.saturating_sub(map.base));
        for (physical, size) in memory {
            let (first, last) = (physical.max(map.physical), physical.saturating_add(size).min(end));
            if first < last {
                let (address, protection) = (map.base + (first - map.physical), self.direct_protection);
                pieces.add(Mapping { address, physical: first, size: last - first, protection })?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Adds what the page tables map. Tells how many of them could not be had, and whether to go on.
    fn map_tables(&self, memory: &Physical<'_>, pieces: &mut Pieces<'_>) -> Result<(u64, ControlFlow<()>), Fault> {
        match (self.tables, memory) {
            (Tables::Tree(tree), _) => {
                let remaining = match memory {
                    Physical::Dump(dump) => dump.count() / tree.format.page_size(),
                    Physical::Live(_) => MAX_TABLES,
                };
                let (order, bytes) = (self.order, Vec::new());
                let mut mapper = Mapper { order, tree, memory, pieces, lost: 0, remaining, bytes };
                // Below the base there is no kernel memory, but the tables may be found there themselves.
                match walk(tree.format, &tree.top, tree.base..=u64::MAX, &mut mapper) {
                    ControlFlow::Break(Some(fault)) => Err(fault),
                    ControlFlow::Break(None) => Ok((mapper.lost, ControlFlow::Break(()))),
                    ControlFlow::Continue(()) => Ok((mapper.lost, ControlFlow::Continue(()))),
                }
            }
            (Tables::Hashed(table), memory) => {
                let mut go_on = ControlFlow::Continue(());
                let mut take = |mapping| {
                    go_on = pieces.add(mapping);
                    go_on
                };
                let is_whole = table.each_mapping(memory, &mut take);
                let is_whole = is_whole.map_err(|error| Fault::read(table.base, table.base, &error))?;
                Ok((u64::from(!is_whole), go_on))
            }
            _ => Ok((0, ControlFlow::Continue(()))),
        }
    }
}

/// Where a core file says that a virtual address is.
fn listed(memory: &Physical<'_>, address: u64) -> Option<Translation> {
    let Physical::Dump(dump) = memory else { return None };
    let (physical, remaining) = dump.physical_of(address)?;
    Some(Translation { physical, remaining, protection: DATA, page_size: None })
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

/// Bytes of an entry.
fn entry_bytes(format: Format) -> usize {
    if format.entry_size() == 4 { 4 } else { 8 }
}

/// The walk through all tables.
struct Mapper<'a, 'm, 'p> {
    order: Endianness,
    tree: PageTables,
    memory: &'a Physical<'m>,
    pieces: &'a mut Pieces<'p>,
    /// Tables that could not be had.
    lost: u64,
    /// Tables that may still be read: those of a dump are in it, however often they are named.
    remaining: u64,
    bytes: Vec<u8>,
}

impl Mapper<'_, '_, '_> {
    /// Reads entries of a table as they are; tells how many bytes of them there were.
    fn fill(&mut self, table: &Table, index: u64, length: usize) -> Result<usize, Fault> {
        self.bytes.resize(length, 0);
        match (table.physical, self.memory) {
            (Some(physical), memory) => {
                let is_left = self.remaining > 0;
                self.remaining = self.remaining.saturating_sub(1);
                let at = physical.checked_add(index * self.tree.format.entry_size());
                let at = at.filter(|_| is_left);
                let is_read = at.is_some_and(|at| memory.memory().fill(at, &mut self.bytes).is_ok());
                Ok(if is_read { length } else { 0 })
            }
            (None, Physical::Dump(dump)) => {
                let read = dump.read_dump(self.tree.offset(index), &mut self.bytes);
                read.map_err(|error| Fault::io(self.tree.base, &error))
            }
            (None, Physical::Live(_)) => Ok(0),
        }
    }
}

impl Visitor for Mapper<'_, '_, '_> {
    /// Why reading failed; nothing where it is told to stop.
    type Break = Option<Fault>;

    fn read(&mut self, table: &Table, index: u64, entries: &mut [u64]) -> ControlFlow<Self::Break, usize> {
        let size = entry_bytes(self.tree.format);
        let read = match self.fill(table, index, entries.len() * size) {
            Ok(read) => read / size,
            Err(fault) => return ControlFlow::Break(Some(fault)),
        };
        // A dump may have been cut off within its tables.
        self.lost += u64::from(read < entries.len());
        for (entry, bytes) in entries.iter_mut().zip(self.bytes.chunks_exact(size)) {
            *entry = self.order.number(bytes);
        }
        ControlFlow::Continue(read)
    }

    fn entry(&mut self, entry: &Entry<'_>) -> ControlFlow<Self::Break> {
        let (Target::Page { protection, .. }, Some((physical, size))) = (entry.target, entry.memory()) else {
            return ControlFlow::Continue(());
        };
        match self.pieces.add(Mapping { address: entry.address, physical, size, protection }) {
            ControlFlow::Break(()) => ControlFlow::Break(None),
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
        }
    }
}
