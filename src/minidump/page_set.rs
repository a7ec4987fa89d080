//! A set of physical pages, as the page bitmap of a minidump holds it.

use super::dump_avail::DumpAvail;
use std::ops;

/// A set of physical pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageSet {
    covered: DumpAvail,
    words: Vec<u64>,
}

impl PageSet {
    /// An empty set of pages in these ranges: start and exclusive end each, ascending, disjoint, in whole pages. It
    /// takes a bit for each page in them. A page's size is not 0.
    pub fn new(page_size: u64, dump_avail: &[(u64, u64)]) -> Self {
        let covered = DumpAvail::new(page_size, dump_avail);
        let words = vec![0; usize::try_from(covered.bits().div_ceil(64)).unwrap_or(usize::MAX)];
        Self { covered, words }
    }

    /// Pages that there are bits for.
    pub fn capacity(&self) -> u64 {
        self.covered.bits()
    }

    /// The bits, 64 a word, the lowest page lowest.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The same, to be filled; bits beyond [`Self::capacity`] mean nothing.
    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// Pages in the set.
    pub fn count(&self) -> u64 {
        self.runs().map(|(start, end)| (end - start) / self.covered.page_size()).sum()
    }

    /// Adds the page that holds an address, if there is a bit for it.
    pub fn insert(&mut self, address: u64) {
        if let Some(bit) = self.covered.bit_of(address) {
            set(&mut self.words, bit);
        }
    }

    /// Adds all pages of a range in whole pages, as far as there are bits for them.
    pub fn insert_range(&mut self, start: u64, end: u64) {
        let Self { covered, words } = self;
        for bit in covered.bits_within(start, end).flatten() {
            set(words, bit);
        }
    }

    /// Whether the page that holds an address is in the set.
    pub fn contains(&self, address: u64) -> bool {
        let word = self.covered.bit_of(address).and_then(|bit| Some((bit, self.words.get(index(bit))?)));
        word.is_some_and(|(bit, word)| word & 1 << (bit % 64) != 0)
    }

    /// Takes out every page that is not in these ranges, which are ascending, and tells how many there were.
    pub fn keep_within(&mut self, ranges: &[(u64, u64)]) -> u64 {
        let mut kept = Self { covered: self.covered.clone(), words: vec![0; self.words.len()] };
        for &(start, end) in ranges {
            kept.insert_range(start, end);
        }
        let mut dropped = 0;
        for (word, mask) in self.words.iter_mut().zip(&kept.words) {
            dropped += u64::from((*word & !mask).count_ones());
            *word &= mask;
        }
        dropped
    }

    /// The pages as runs of physical addresses: start and exclusive end, ascending.
    pub fn runs(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.covered.ranges().iter().flat_map(move |range| {
            let mut bits = range.bits();
            std::iter::from_fn(move || {
                let run = next_run(&self.words, bits.clone())?;
                bits.start = run.end;
                let address = |bit| self.covered.address_in(range, bit);
                Some((address(run.start), address(run.end)))
            })
        })
    }
}

/// The first run of bits that are set among these. There are words for all of them.
pub(crate) fn next_run(words: &[u64], bits: ops::Range<u64>) -> Option<ops::Range<u64>> {
    let first = next_bit(words, bits.clone(), true)?;
    Some(first..next_bit(words, first..bits.end, false).unwrap_or(bits.end))
}

/// The first bit with this value among these.
fn next_bit(words: &[u64], bits: ops::Range<u64>, value: bool) -> Option<u64> {
    let mut bit = bits.start;
    while bit < bits.end {
        let word = words.get(index(bit))?;
        let word = if value { *word } else { !*word } >> (bit % 64);
        if word != 0 {
            return Some(bit + u64::from(word.trailing_zeros())).filter(|bit| *bit < bits.end);
        }
        bit = (bit | 63) + 1;
    }
    None
}

fn set(words: &mut [u64], bit: u64) {
    if let Some(word) = words.get_mut(index(bit)) {
        *word |= 1 << (bit % 64);
    }
}

fn index(bit: u64) -> usize {
    usize::try_from(bit / 64).unwrap_or(usize::MAX)
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
            prop_assert!((0..0x200).all(|page| set.contains(page * PAGE + 0xfff) == expected.contains(&page)));
            let kept = (kept.0.min(kept.1), kept.0.max(kept.1));
            let dropped = set.keep_within(&[(kept.0 * PAGE, kept.1 * PAGE)]);
            let left: BTreeSet<u64> = expected.range(kept.0..kept.1).copied().collect();
            prop_assert_eq!(dropped, (expected.len() - left.len()) as u64);
            prop_assert_eq!(listed(&set), left);
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
