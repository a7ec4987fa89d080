//! The walk through page tables, on every architecture that has a tree of them: from the root, or from the entries of
//! one level that a minidump has in its place, down to pages. One address is looked up and a range gone through by the
//! same code, as libkvm's `_amd64_vatop` and `_kvm_walk_pages` (`lib/libkvm/kvm_minidump_amd64.c` and its siblings) and
//! `pmap_kextract()` (`sys/<architecture>/<architecture>/pmap.c`) do it each for itself.
//!
//! Tables are read by whoever asks: from a dump, a section of it, physical memory, or the kernel's own image.

use super::{Format, Level, Protection, Target};
use crate::bounds::{head_mut, saturating_usize};
use std::ops::{ControlFlow, RangeInclusive};

/// Entries that are read at once: more than any table has, so that each is read once; not more than a minidump has.
const CHUNK: u64 = 1 << 13;

/// A page table, or what stands in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// What its entries stand for.
    pub level: Level,
    /// Its physical address; `None` of entries that are read from elsewhere.
    pub physical: Option<u64>,
    /// The virtual address that its first entry stands for.
    pub base: u64,
    /// How many entries it has.
    pub entries: u64,
}

/// An entry of a page table.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The table.
    pub table: &'a Table,
    /// Its number in it.
    pub index: u64,
    /// The first virtual address that it stands for.
    pub address: u64,
    /// Its value.
    pub value: u64,
    /// What it says.
    pub target: Target,
}

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The physical address.
    pub physical: u64,
    /// Bytes from there on that the same entry stands for.
    pub remaining: u64,
    /// Bytes of the page or superpage.
    pub size: u64,
    /// What may be done with it.
    pub protection: Protection,
}

/// Why an address leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss<E> {
    /// The tables do not cover it.
    NotCovered,
    /// The entry of this level is not valid.
    NotMapped(Level),
    /// A table cannot be read, for this reason.
    Unread(E),
}

/// What a walk reads the tables through, and shows them to.
pub trait Visitor {
    /// With what a walk ends early.
    type Break;

    /// Reads entries of a table, the first of which has this index, and tells how many there were: where they are fewer
    /// than asked for, the walk does without the others.
    fn read(&mut self, table: &Table, index: u64, entries: &mut [u64]) -> ControlFlow<Self::Break, usize>;

    /// Takes an entry, whatever it says. If it names a table, that comes next.
    fn entry(&mut self, entry: &Entry<'_>) -> ControlFlow<Self::Break>;
}

impl Table {
    /// The top-level table of a format at a physical address.
    pub fn root(format: Format, physical: u64) -> Self {
        Self { physical: Some(physical), ..Self::detached_root(format) }
    }

    /// A top-level table that is read from elsewhere than from physical memory.
    pub fn detached_root(format: Format) -> Self {
        let level = format.levels().first().copied().unwrap_or(format.last_level());
        Self { level, physical: None, base: format.canonical(0), entries: 1 << level.bits }
    }

    /// The table that an entry names, if there is a level for it.
    fn below(format: Format, entry: &Entry<'_>) -> Option<Self> {
        let Target::Table(physical) = entry.target else { return None };
        let level = format.levels().iter().find(|level| level.shift < entry.table.level.shift).copied()?;
        Some(Self { level, physical: Some(physical), base: entry.address, entries: 1 << level.bits })
    }

    /// The number of an address's entry. Of a table of its own kind the address need not lie behind its base: a root is
    /// for both halves of the address space.
    fn index(&self, address: u64) -> u64 {
        match self.physical {
            Some(_) => self.level.index(address),
            None => address.wrapping_sub(self.base) >> self.level.shift,
        }
    }

    /// Whether it has an entry for an address.
    pub fn covers(&self, format: Format, address: u64) -> bool {
        let is_behind = self.physical.is_some() || address >= self.base;
        is_behind && format.is_canonical(address) && self.index(address) < self.entries
    }

    /// The numbers of the entries for a range of addresses.
    fn indices(&self, range: &RangeInclusive<u64>) -> RangeInclusive<u64> {
        let (mut first, mut last) = (*range.start(), *range.end());
        if self.physical.is_none() {
            first = first.max(self.base);
            last = last.min(self.base.wrapping_add((self.entries << self.level.shift).wrapping_sub(1)));
        }
        if first > last || self.entries == 0 { RangeInclusive::new(1, 0) } else { self.index(first)..=self.index(last) }
    }

    /// Decodes the entry with this number; its address is that which the numbers lead to.
    pub fn decode(&self, format: Format, index: u64, value: u64) -> Entry<'_> {
        let address = self.base.wrapping_add(index << self.level.shift);
        Entry { table: self, index, address, value, target: format.decode(self.level, value) }
    }
}

impl Entry<'_> {
    /// Its own physical address; `None` if it is not read from physical memory.
    pub fn physical(&self, format: Format) -> Option<u64> {
        self.table.physical?.checked_add(self.index * format.entry_size())
    }

    /// The memory that it stands for: its physical address, and bytes. A large page of 16 small ones has as many entries.
    pub fn memory(&self) -> Option<(u64, u64)> {
        let Target::Page { physical, size, .. } = self.target else { return None };
        Some((physical.saturating_add(self.address % size), size.min(self.table.level.span())))
    }
}

/// Walks through a table and all that it leads to, and shows the entries for a range of addresses in ascending order.
/// Tables that lead to each other come to an end with the levels.
pub fn walk<V: Visitor>(
    format: Format,
    table: &Table,
    range: RangeInclusive<u64>,
    visitor: &mut V,
) -> ControlFlow<V::Break> {
    let indices = table.indices(&range);
    let (mut first, end) = (*indices.start(), indices.end().wrapping_add(1));
    let mut entries = vec![0; saturating_usize(end.saturating_sub(first).min(CHUNK))];
    while first < end {
        let part = head_mut(&mut entries, end - first);
        let read = visitor.read(table, first, part)?;
        for (index, value) in (first..).zip(part.iter().take(read)) {
            walk_entry(format, table.decode(format, index, *value), &range, visitor)?;
        }
        if read < part.len() {
            break;
        }
        first += part.len() as u64;
    }
    ControlFlow::Continue(())
}

fn walk_entry<V: Visitor>(
    format: Format,
    entry: Entry<'_>,
    range: &RangeInclusive<u64>,
    visitor: &mut V,
) -> ControlFlow<V::Break> {
    let address = format.canonical(entry.address);
    // A root has no base to go by, and a section may have entries that no address leads to.
    if entry.table.physical.is_none() && address != entry.address {
        return ControlFlow::Continue(());
    }
    let entry = Entry { address, ..entry };
    visitor.entry(&entry)?;
    let Some(below) = Table::below(format, &entry) else { return ControlFlow::Continue(()) };
    let last = address.saturating_add(entry.table.level.span() - 1);
    walk(format, &below, address.max(*range.start())..=last.min(*range.end()), visitor)
}

/// Looks an address up: reads one entry of each table on the way, and shows it.
///
/// # Errors
///
/// The address leads nowhere; those of the function that reads, which is given a table, the number of an entry, and the
/// place for it.
pub fn lookup<E>(
    format: Format,
    table: &Table,
    address: u64,
    read: impl FnMut(&Table, u64) -> Result<u64, E>,
    seen: impl FnMut(&Entry<'_>),
) -> Result<Page, Miss<E>> {
    if !table.covers(format, address) {
        return Err(Miss::NotCovered);
    }
    let mut lookup = Lookup { address, read, seen };
    match walk(format, table, address..=address, &mut lookup) {
        ControlFlow::Break(found) => found,
        ControlFlow::Continue(()) => Err(Miss::NotMapped(format.last_level())),
    }
}

/// The walk to an address.
struct Lookup<R, S> {
    address: u64,
    read: R,
    seen: S,
}

impl<E, R: FnMut(&Table, u64) -> Result<u64, E>, S: FnMut(&Entry<'_>)> Visitor for Lookup<R, S> {
    type Break = Result<Page, Miss<E>>;

    fn read(&mut self, table: &Table, index: u64, entries: &mut [u64]) -> ControlFlow<Self::Break, usize> {
        for (index, entry) in (index..).zip(entries.iter_mut()) {
            *entry = match (self.read)(table, index) {
                Ok(entry) => entry,
                Err(error) => return ControlFlow::Break(Err(Miss::Unread(error))),
            };
        }
        ControlFlow::Continue(entries.len())
    }

    fn entry(&mut self, entry: &Entry<'_>) -> ControlFlow<Self::Break> {
        (self.seen)(entry);
        match (entry.target, entry.memory()) {
            (Target::Page { size, protection, .. }, Some((physical, size_here))) => {
                let within = self.address % size_here;
                let physical = physical.saturating_add(within);
                ControlFlow::Break(Ok(Page { physical, remaining: size_here - within, size, protection }))
            }
            (Target::Table(_), _) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(Err(Miss::NotMapped(entry.table.level))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pmap::amd64::{GIB, PG_PS, PG_RW, PG_V};
    use std::collections::BTreeMap;

    /// Tables by physical address: index and value of the entries that are not 0.
    struct Recorder {
        tables: BTreeMap<u64, Vec<(u64, u64)>>,
        /// The entries that were read of each table, in the order in which it was.
        reads: Vec<(Option<u64>, u64, usize)>,
        mapped: Vec<(u64, u64, u64)>,
        /// Addresses after which the walk ends.
        limit: usize,
    }

    impl Recorder {
        fn new(tables: &[(u64, &[(u64, u64)])]) -> Self {
            let tables = tables.iter().map(|(at, entries)| (*at, entries.to_vec())).collect();
            Self { tables, reads: Vec::new(), mapped: Vec::new(), limit: usize::MAX }
        }
    }

    impl Visitor for Recorder {
        type Break = ();

        fn read(&mut self, table: &Table, index: u64, entries: &mut [u64]) -> ControlFlow<(), usize> {
            self.reads.push((table.physical, index, entries.len()));
            let Some(set) = self.tables.get(&table.physical.unwrap_or(0)) else { return ControlFlow::Continue(0) };
            for (number, entry) in (index..).zip(entries.iter_mut()) {
                *entry = set.iter().find(|(index, _)| *index == number).map_or(0, |(_, value)| *value);
            }
            ControlFlow::Continue(entries.len())
        }

        fn entry(&mut self, entry: &Entry<'_>) -> ControlFlow<()> {
            self.mapped.extend(entry.memory().map(|(physical, size)| (entry.address, physical, size)));
            if self.mapped.len() < self.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }
    }

    const TABLES: [(u64, &[(u64, u64)]); 4] = [
        (0x1000, &[(0, 0x2000 | PG_V), (256, 0x9000 | PG_V), (511, 0x2000 | PG_V)]),
        (0x2000, &[(0, 0x4000_0000 | PG_V | PG_PS), (511, 0x3000 | PG_V)]),
        (0x3000, &[(1, 0x60_0000 | PG_V | PG_PS | PG_RW), (2, 0x4000 | PG_V)]),
        (0x4000, &[(0, 0x7000 | PG_V), (511, 0x8000 | PG_V)]),
    ];

    #[test]
    fn a_walk_shows_ascending_addresses_and_reads_each_table_that_is_named_once() {
        let mut recorder = Recorder::new(&TABLES);
        assert!(walk(Format::Amd64, &Table::root(Format::Amd64, 0x1000), 0..=u64::MAX, &mut recorder).is_continue());
        let half = |base: u64| {
            let end = base + 511 * GIB;
            [
                (base, 0x4000_0000, GIB),
                (end + 0x20_0000, 0x60_0000, 0x20_0000),
                (end + 0x40_0000, 0x7000, 0x1000),
                (end + 0x5f_f000, 0x8000, 0x1000),
            ]
        };
        assert_eq!(recorder.mapped, [half(0), half(0xffff_ff80_0000_0000)].concat());
        let tables: Vec<u64> = recorder.reads.iter().filter_map(|read| read.0).collect();
        assert_eq!(tables, [0x1000, 0x2000, 0x3000, 0x4000, 0x9000, 0x2000, 0x3000, 0x4000]);
        assert!(recorder.reads.iter().all(|read| (read.1, read.2) == (0, 512)));
    }

    #[test]
    fn a_range_reads_no_other_entries() {
        let first = 0xffff_ffff_c020_0000;
        let mut recorder = Recorder::new(&TABLES);
        let root = Table::root(Format::Amd64, 0x1000);
        assert!(walk(Format::Amd64, &root, first + 0x1000..=first + 0x20_0fff, &mut recorder).is_continue());
        assert_eq!(recorder.mapped, [(first, 0x60_0000, 0x20_0000), (first + 0x20_0000, 0x7000, 0x1000)]);
        let expected = [(0x1000, 511, 1), (0x2000, 511, 1), (0x3000, 1, 2), (0x4000, 0, 1)];
        assert_eq!(recorder.reads, expected.map(|(at, index, count)| (Some(at), index, count)));
    }

    #[test]
    fn a_walk_ends_where_it_is_told_to() {
        let mut recorder = Recorder { limit: 2, ..Recorder::new(&TABLES) };
        assert!(walk(Format::Amd64, &Table::root(Format::Amd64, 0x1000), 0..=u64::MAX, &mut recorder).is_break());
        assert_eq!(recorder.mapped.len(), 2);
    }

    #[test]
    fn a_section_has_its_entries_from_its_base_on_in_parts() {
        let [.., level, _] = Format::Amd64.levels() else { panic!("it has levels") };
        let base = 0xffff_fe00_0000_0000;
        let entries = CHUNK + 3;
        let mut recorder =
            Recorder::new(&[(0, &[(1, 0x20_0000 | PG_V | PG_PS), (CHUNK + 2, 0x4000 | PG_V)]), TABLES[3]]);
        let section = Table { level: *level, physical: None, base, entries };
        assert!(walk(Format::Amd64, &section, 0..=u64::MAX, &mut recorder).is_continue());
        let behind = base + ((CHUNK + 2) << 21);
        let pages = [(behind, 0x7000, 0x1000), (behind + 0x1f_f000, 0x8000, 0x1000)];
        assert_eq!(recorder.mapped, [&[(base + 0x20_0000, 0x20_0000, 0x20_0000)][..], &pages].concat());
        assert_eq!(recorder.reads, [(None, 0, 8192), (None, CHUNK, 3), (Some(0x4000), 0, 512)]);
        // Entries without an address are passed over, and none at all are no walk.
        let outside = Table { base: 0x7fff_ffff_ffff_0000 & !0x1f_ffff, ..section };
        let mut recorder = Recorder::new(&[(0, &[(1, 0x20_0000 | PG_V | PG_PS)])]);
        assert!(walk(Format::Amd64, &outside, 0..=u64::MAX, &mut recorder).is_continue());
        assert_eq!(recorder.mapped, []);
        recorder.reads.clear();
        assert!(walk(Format::Amd64, &Table { entries: 0, ..section }, 0..=u64::MAX, &mut recorder).is_continue());
        assert_eq!(recorder.reads, []);
    }

    #[test]
    fn a_lookup_reads_one_entry_of_each_level_and_tells_where_it_ended() {
        let root = Table::root(Format::Amd64, 0x1000);
        let mut names = Vec::new();
        let mut find = |address: u64| {
            names.clear();
            let read = |table: &Table, index: u64| {
                let set = TABLES.iter().find(|(at, _)| Some(*at) == table.physical).ok_or(table.physical)?.1;
                Ok(set.iter().find(|(number, _)| *number == index).map_or(0, |(_, value)| *value))
            };
            let found = lookup(Format::Amd64, &root, address, read, |entry| names.push(entry.table.level.name));
            (found, names.clone())
        };
        let (found, names) = find(0xffff_ffff_c05f_f123);
        let found = found.unwrap();
        assert_eq!((found.physical, found.remaining, found.size), (0x8123, 0xedd, 0x1000));
        assert_eq!(names, ["PML4", "PDP", "PD", "PT"]);
        let (found, names) = find(0x1234_5678);
        let found = found.unwrap();
        assert_eq!((found.physical, found.remaining, found.size), (0x5234_5678, GIB - 0x1234_5678, GIB));
        assert_eq!(names, ["PML4", "PDP"]);
        let (found, names) = find(0xffff_ffff_c040_1000);
        assert_eq!((found, names.len()), (Err(Miss::NotMapped(Format::Amd64.last_level())), 4));
        assert_eq!(find(0xffff_8000_0000_0000).0, Err(Miss::Unread(Some(0x9000))));
        assert_eq!(find(1 << 47), (Err(Miss::NotCovered), Vec::new()));
    }
}
