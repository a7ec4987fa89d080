//! The page tables of the kernel map, as far as a dump has them: what they map, and those of the lowest levels themselves.

use super::{Snapshot, words_of};
use crate::memory::Memory;
use crate::minidump::Architecture;
use crate::minidump::writer::directory_entries;
use crate::pmap::Target;
use crate::pmap::walk::{Entry, Table, Visitor};
use std::convert::Infallible;
use std::ops::ControlFlow;

impl Snapshot<'_> {
    /// Adds what the kernel's page tables map, and keeps those of the lowest levels.
    pub(super) fn walk(&mut self, architecture: Architecture) {
        let kernel = self.kernel;
        let [_, directory, _] = architecture.levels();
        let first = architecture.kernel_base();
        // The end of the kernel map may be that of the address space.
        if let Some(last) = self.superpages.checked_sub(1) {
            let last = first.saturating_add((last << directory.shift) + (directory.span() - 1));
            let mut walk = Walk { snapshot: self, architecture };
            let ControlFlow::Continue(()) = kernel.memory.walk_tables(first..=last, &mut walk);
        }
    }

    /// Adds what is RAM of a range.
    pub(super) fn add(&mut self, start: u64, end: u64) {
        let ranges = self.kernel.ram().ranges();
        let first = ranges.partition_point(|range| range.1 <= start);
        for &(from, to) in ranges.iter().skip(first).take_while(|range| range.0 < end) {
            self.pages.insert_range(start.max(from), end.min(to));
        }
    }
}

/// The walk through a tree.
struct Walk<'s, 'k> {
    snapshot: &'s mut Snapshot<'k>,
    architecture: Architecture,
}

impl Walk<'_, '_> {
    /// Reads entries of a page table, and tells where that is; `None` where there is no RAM, or none that can be read.
    fn table_bytes(&self, table: &Table, index: u64, count: usize) -> Option<(u64, Vec<u8>)> {
        let (at, ram) = (table.physical?, self.snapshot.kernel.ram());
        let mut bytes = vec![0; count * 8];
        let is_there = ram.remaining(at) >= self.architecture.page_size();
        (is_there && ram.fill(at + index * 8, &mut bytes).is_ok()).then_some((at, bytes))
    }

    /// The number of a page directory, from the base of the kernel map on, by the first address that it is for.
    fn directory_number(&self, address: u64) -> u64 {
        let [upper, ..] = self.architecture.levels();
        (address - self.architecture.kernel_base()) >> upper.shift
    }

    /// Keeps a page directory in place of a page of the size that one maps: it says the same as so many superpages do.
    fn add_directory_of(&mut self, entry: &Entry<'_>) {
        let architecture = self.architecture;
        let [_, level, _] = architecture.levels();
        let superpages = 0..directory_entries(architecture);
        let format = architecture.format();
        let directory = superpages.map(|superpage| format.advance(entry.value, superpage << level.shift)).collect();
        self.snapshot.directories.insert(self.directory_number(entry.address), directory);
    }
}

impl Visitor for Walk<'_, '_> {
    type Break = Infallible;

    fn read(&mut self, table: &Table, index: u64, entries: &mut [u64]) -> ControlFlow<Infallible, usize> {
        let [_, directory, last] = self.architecture.levels();
        // What many entries name is looked at once.
        if table.level == last && table.physical.is_some_and(|at| self.snapshot.tables.contains_key(&at)) {
            return ControlFlow::Continue(0);
        }
        let Some((at, bytes)) = self.table_bytes(table, index, entries.len()) else {
            self.snapshot.lost_tables += 1;
            return ControlFlow::Continue(0);
        };
        entries.iter_mut().zip(words_of(&bytes)).for_each(|(entry, word)| *entry = word);
        if table.level == directory {
            self.snapshot.directories.insert(self.directory_number(table.base), entries.to_vec());
        } else if table.level == last {
            // amd64's dumps have it among their pages.
            let kept = if self.architecture == Architecture::Amd64 { Vec::new() } else { bytes };
            self.snapshot.tables.insert(at, kept);
        }
        ControlFlow::Continue(entries.len())
    }

    fn entry(&mut self, entry: &Entry<'_>) -> ControlFlow<Infallible> {
        let [upper, directory, _] = self.architecture.levels();
        let level = entry.table.level;
        match entry.target {
            // Dumps have no place for a page that is larger than a page directory's.
            Target::Page { physical, size, .. } if level.shift <= upper.shift => {
                self.snapshot.add(physical, physical.saturating_add(size));
                if level == upper {
                    self.add_directory_of(entry);
                }
            }
            Target::Table(at) if level == directory && self.architecture == Architecture::Amd64 => {
                self.snapshot.add(at, at + self.architecture.page_size());
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
