//! How much of a process's addresses superpages map, by the page tables of its pmap (`pmap_mincore()`,
//! `sys/<architecture>/<architecture>/pmap.c`). Minidumps have the page tables of the kernel alone.

use super::map::VmMapEntry;
use crate::architecture::Architecture;
use crate::bounds::saturating_usize;
use crate::kernel::{TypedMemory, user_tables};
use crate::pmap::walk::{Entry, Table, Visitor, walk};
use crate::pmap::{Format, Target};
use std::cell::Cell;
use std::ops::ControlFlow;

/// Page tables that are read of one map: those of 512 GiB of memory, in pages of 4 KiB.
const MAX_TABLES: u64 = 1 << 18;

/// `ATTR_CONTIGUOUS` of arm64: with the pages beside it, one of larger size.
const CONTIGUOUS: u64 = 1 << 52;

/// The page tables of a process.
pub(super) struct UserTables<'a> {
    typed: TypedMemory<'a>,
    format: Format,
    root: u64,
    remaining: Cell<u64>,
}

impl<'a> UserTables<'a> {
    /// Those of a pmap; `None` where they are not known.
    pub fn new(typed: TypedMemory<'a>, pmap: u64) -> Option<Self> {
        let pmap = typed.structure_at("pmap", pmap).ok()?;
        let (format, root) = user_tables(&pmap).ok()?;
        Some(Self { typed, format, root, remaining: Cell::new(MAX_TABLES) })
    }

    /// Bytes of an entry that superpages map; `None` where a page table cannot be had.
    pub fn superpages(&self, entry: &VmMapEntry) -> Option<u64> {
        let last = entry.end.checked_sub(1)?;
        let (first, last) = (self.format.canonical(entry.start), self.format.canonical(last));
        let mut counter = Counter { tables: self, range: (first, last), bytes: 0 };
        match walk(self.format, &Table::root(self.format, self.root), first..=last, &mut counter) {
            ControlFlow::Continue(()) => Some(counter.bytes),
            ControlFlow::Break(()) => None,
        }
    }
}

struct Counter<'a> {
    tables: &'a UserTables<'a>,
    /// First and last address.
    range: (u64, u64),
    bytes: u64,
}

impl Visitor for Counter<'_> {
    type Break = ();

    fn read(&mut self, table: &Table, index: u64, entries: &mut [u64]) -> ControlFlow<(), usize> {
        let size = saturating_usize(self.tables.format.entry_size());
        let physical = table.physical.and_then(|at| at.checked_add(index.checked_mul(size as u64)?));
        let remaining = self.tables.remaining.get().checked_sub(1);
        let (Some(physical), Some(remaining)) = (physical, remaining) else { return ControlFlow::Break(()) };
        self.tables.remaining.set(remaining);
        let mut bytes = vec![0; entries.len().saturating_mul(size)];
        let memory = self.tables.typed.memory;
        if memory.physical_memory().read(physical, &mut bytes).is_err() {
            return ControlFlow::Break(());
        }
        for (entry, bytes) in entries.iter_mut().zip(bytes.chunks(size)) {
            *entry = memory.order().number(bytes);
        }
        ControlFlow::Continue(entries.len())
    }

    fn entry(&mut self, entry: &Entry<'_>) -> ControlFlow<()> {
        let Target::Page { .. } = entry.target else { return ControlFlow::Continue(()) };
        let level = entry.table.level;
        let is_contiguous =
            self.tables.typed.memory.architecture() == Architecture::Arm64 && entry.value & CONTIGUOUS != 0;
        if level.shift > self.tables.format.last_level().shift || is_contiguous {
            let (first, last) = self.range;
            let end = entry.address.saturating_add(level.span() - 1).min(last);
            let covered = end.checked_sub(entry.address.max(first)).map_or(0, |length| length.saturating_add(1));
            self.bytes = self.bytes.saturating_add(covered);
        }
        ControlFlow::Continue(())
    }
}
