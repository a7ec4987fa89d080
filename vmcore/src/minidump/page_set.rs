//! A set of physical pages, as the page bitmap of a minidump holds it.

use super::dump_avail::DumpAvail;
use crate::sparse_bits::SparseBits;
use std::ops::Range;

/// A set of physical pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageSet {
    covered: DumpAvail,
    bits: SparseBits,
}

impl PageSet {
    /// An empty set of pages in these ranges: start and exclusive end each, ascending, disjoint, in whole pages. A page's
    /// size is not 0.
    pub fn new(page_size: u64, dump_avail: &[(u64, u64)]) -> Self {
        Self { covered: DumpAvail::new(page_size, dump_avail), bits: SparseBits::default() }
    }

    /// Pages that there are bits for.
    pub fn capacity(&self) -> u64 {
        self.covered.bits()
    }

    /// 64 bits, the lowest page lowest.
    pub fn word(&self, number: u64) -> u64 {
        self.bits.word(number)
    }

    /// Whether there are pages in any of these words. Of wide gaps this takes no time.
    pub fn has_pages_within(&self, words: Range<u64>) -> bool {
        self.bits.next_run(words.start.saturating_mul(64)..words.end.saturating_mul(64)).is_some()
    }

    /// Adds the pages of a word; bits beyond [`Self::capacity`] stand for none.
    pub fn add_word(&mut self, number: u64, bits: u64) {
        let remaining = self.capacity().saturating_sub(number.saturating_mul(64));
        let mask = if remaining < 64 { (1 << remaining) - 1 } else { u64::MAX };
        self.bits.add(number, bits & mask);
    }

    /// Pages in the set.
    pub fn count(&self) -> u64 {
        self.bits.count_before(self.capacity())
    }

    /// Adds the page that holds an address, if there is a bit for it.
    pub fn insert(&mut self, address: u64) {
        if let Some(bit) = self.covered.bit_of(address) {
            self.bits.insert(bit);
        }
    }

    /// Adds all pages of a range in whole pages, as far as there are bits for them.
    pub fn insert_range(&mut self, start: u64, end: u64) {
        let Self { covered, bits } = self;
        covered.bits_within(start, end).for_each(|run| bits.insert_run(run));
    }

    /// Whether the page that holds an address is in the set.
    pub fn contains(&self, address: u64) -> bool {
        self.covered.bit_of(address).is_some_and(|bit| self.bits.contains(bit))
    }

    /// Takes out every page that is not in another set of the same ranges.
    pub fn retain(&mut self, other: &Self) {
        self.bits.retain(&other.bits);
    }

    /// Takes out every page that is not in these ranges, which are ascending, and tells how many there were.
    pub fn keep_within(&mut self, ranges: &[(u64, u64)]) -> u64 {
        let mut kept = Self { covered: self.covered.clone(), bits: SparseBits::default() };
        for &(start, end) in ranges {
            kept.insert_range(start, end);
        }
        self.bits.retain(&kept.bits)
    }

    /// Takes out every page that is in another set of the same ranges.
    pub fn remove_all(&mut self, other: &Self) {
        let mut kept = SparseBits::default();
        let (mut at, end) = (0, self.capacity());
        while let Some(run) = self.bits.next_run(at..end) {
            for number in run.start / 64..run.end.div_ceil(64) {
                kept.add(number, self.bits.word(number) & !other.bits.word(number));
            }
            at = run.end;
        }
        self.bits = kept;
    }

    /// The pages as runs of physical addresses: start and exclusive end, ascending.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.covered.ranges().iter().flat_map(move |range| {
            let mut bits = range.bits();
            std::iter::from_fn(move || {
                let run = self.bits.next_run(bits.clone())?;
                bits.start = run.end;
                let address = |bit| self.covered.address_in(range, bit);
                Some((address(run.start), address(run.end)))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const PAGE: u64 = 4096;
    const AVAIL: [(u64, u64); 3] = [(0x1000, 0x9_f000), (0x10_0000, 0x18_3000), (0x1_0000_0000, 0x1_0000_1000)];

    proptest! {
        #[test]
        fn it_is_a_set_of_the_pages_of_its_ranges(
            pages in proptest::collection::btree_set(0u64..0x200, 0..300),
            kept in (0u64..0x200, 0u64..0x200),
        ) {
            let mut set = PageSet::new(PAGE, &AVAIL);
            for page in &pages {
                set.insert(page * PAGE + 0x123);
            }
            let there = |page: &u64| AVAIL.iter().any(|(start, end)| (*start..*end).contains(&(page * PAGE)));
            let expected: BTreeSet<u64> = pages.into_iter().filter(there).collect();
            let listed = |set: &PageSet| -> BTreeSet<u64> {
                set.runs().flat_map(|(start, end)| start / PAGE..end / PAGE).collect()
            };
            prop_assert_eq!(listed(&set), expected.clone());
            prop_assert_eq!(set.count(), expected.len() as u64);
            let mut rest = set.clone();
            let mut other = PageSet::new(PAGE, &AVAIL);
            other.insert_range(kept.0.min(kept.1) * PAGE, kept.0.max(kept.1) * PAGE);
            rest.remove_all(&other);
            let outside = |page: &u64| !(kept.0.min(kept.1)..kept.0.max(kept.1)).contains(page);
            prop_assert_eq!(listed(&rest), expected.iter().copied().filter(outside).collect::<BTreeSet<u64>>());
            prop_assert!((0..0x200).all(|page| set.contains(page * PAGE + 0xfff) == expected.contains(&page)));
            let kept = (kept.0.min(kept.1), kept.0.max(kept.1));
            let dropped = set.keep_within(&[(kept.0 * PAGE, kept.1 * PAGE)]);
            let remaining: BTreeSet<u64> = expected.range(kept.0..kept.1).copied().collect();
            prop_assert_eq!(dropped, (expected.len() - remaining.len()) as u64);
            prop_assert_eq!(listed(&set), remaining);
        }
    }

    #[test]
    fn bits_count_through_the_ranges() {
        let mut set = PageSet::new(PAGE, &AVAIL);
        assert_eq!(set.capacity(), 0x9e + 0x83 + 1);
        for (bit, address) in [(0, 0x1000), (0x9d, 0x9_e000), (0x9e, 0x10_0000), (0x121, 0x1_0000_0000)] {
            assert_eq!(set.covered.address_of(bit), Some(address));
            assert_eq!(set.covered.bit_of(address), Some(bit));
        }
        assert_eq!(set.covered.address_of(0x122), None);
        set.insert_range(0x9_e000, 0x10_1000);
        assert_eq!(set.runs().collect::<Vec<_>>(), [(0x9_e000, 0x9_f000), (0x10_0000, 0x10_1000)]);
        set.insert_range(0, u64::MAX);
        assert_eq!(set.runs().collect::<Vec<_>>(), AVAIL);
    }
}
