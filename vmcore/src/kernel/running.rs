//! The memory of a running kernel, by its page tables; it goes on while they are read.

use super::hashed::RunningTable;
use super::space::{AddressSpace, PageTables, Tables};
use super::tables::Physical;
use super::{read_pieces, read_some};
use crate::architecture::{Architecture, DirectMap, Endianness};
use crate::dump::header::Relocation;
use crate::fault::{Fault, Why};
use crate::pmap::walk::{Visitor, walk};
use crate::pmap::{Format, powerpc64};
use crate::ram::Ram;
use std::ops::{ControlFlow, RangeInclusive};

/// The memory of a running kernel, and its page tables.
pub struct RunningMemory {
    pub(super) ram: Ram,
    pub(super) architecture: Architecture,
    pub(super) space: AddressSpace,
}

impl RunningMemory {
    /// Takes physical memory, of which whole pages are RAM, whose kernel is in it, its page tables
    /// ([`super::RootCandidate::try_running`]), and the direct map.
    pub(crate) fn new(ram: Ram, architecture: Architecture, tables: PageTables, direct_map: DirectMap) -> Self {
        let space = AddressSpace { direct_map: Some(direct_map), ..AddressSpace::from_tables(tables) };
        Self { ram, architecture, space }
    }

    /// Takes the same of powerpc64, whose page table is hashed, whose kernel is elsewhere than it is linked, and whose
    /// integers have this order of bytes.
    pub(crate) fn hashed(
        ram: Ram,
        table: RunningTable,
        order: Endianness,
        direct_map: DirectMap,
        relocation: Relocation,
    ) -> Self {
        let space = AddressSpace::from_hashed(table, powerpc64::KERNEL_MAP, order, relocation);
        let space = AddressSpace { direct_map: Some(direct_map), ..space };
        Self { ram, architecture: Architecture::Powerpc64, space }
    }

    /// Physical memory.
    pub fn ram(&self) -> &Ram {
        &self.ram
    }

    /// The format of the page tables, where they are a tree.
    pub(crate) fn format(&self) -> Option<Format> {
        match self.space.tables {
            Tables::Tree(tree) => Some(tree.format),
            _ => None,
        }
    }

    /// powerpc64's hashed page table, and where its kernel is.
    pub(crate) fn hashed_table(&self) -> Option<(RunningTable, Relocation)> {
        match self.space.tables {
            Tables::Hashed(table) => Some((table.running(), self.space.relocation?)),
            _ => None,
        }
    }

    /// Walks through the tree of page tables, where there is one, for a range of virtual addresses.
    pub(crate) fn walk_tables<V: Visitor>(&self, range: RangeInclusive<u64>, visitor: &mut V) -> ControlFlow<V::Break> {
        match self.space.tables {
            Tables::Tree(tree) => walk(tree.format, &tree.top, range, visitor),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Fills the buffer from a virtual address on, across pages: of the kernel map or the direct map.
    ///
    /// # Errors
    ///
    /// The first address that cannot be read, and why.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        self.space.read(&self.ram, address, buffer)
    }
}

impl AddressSpace {
    /// Fills the buffer from a virtual address of a running kernel on.
    pub fn read(&self, ram: &Ram, address: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        let place = |at| {
            let is_direct = self.direct_map.is_some_and(|map| (map.base..map.end).contains(&at));
            if !is_direct && matches!(self.tables, Tables::Tree(tree) if at < tree.base) {
                return Err(Fault::new(at, Why::NotCovered));
            }
            self.follow(&Physical::Live(ram), at, |_| {}).map(|found| (found.physical, found.remaining))
        };
        read_pieces(address, buffer, place, |at, physical, part| read_some(ram, at, physical, part))
    }
}
