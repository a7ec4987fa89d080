//! Which pages are in a minidump, and where: the page bitmap with counts, so that finding a page takes the
//! same time in every dump.
//!
//! Bit i stands for the i-th page of the `dump_avail` ranges, or for physical page i where the dump has none.

use super::header::Order;
use crate::minidump::dump_avail::{DumpAvail, Range};
use crate::minidump::next_run;
use std::ops;

/// The pages of a minidump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    covered: DumpAvail,
    words: Vec<u64>,
    /// Bits set before each group of words.
    ranks: Vec<u64>,
    beyond: u64,
}

/// Words in a group whose bits are counted together.
const GROUP: usize = 8;

impl Pages {
    /// Takes the ranges of `dump_avail`, or `None` where there is none, and the bitmap as it is in the dump.
    pub fn new(page_size: u32, ranges: Option<&[(u64, u64)]>, bitmap: &[u8], order: Order) -> Self {
        let page_size = u64::from(page_size);
        let word = |bytes: &[u8]| {
            let mut word = [0; 8];
            word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            order.u64(word)
        };
        let mut words: Vec<u64> = bitmap.chunks(8).map(word).collect();
        let all = [(0, (words.len() as u64 * 64).saturating_mul(page_size))];
        let covered = DumpAvail::new(page_size, ranges.unwrap_or(&all));
        let beyond = clear_from(&mut words, covered.bits());
        let mut ranks = Vec::with_capacity(words.len() / GROUP + 1);
        let mut rank = 0;
        for group in words.chunks(GROUP) {
            ranks.push(rank);
            rank += group.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
        }
        ranks.push(rank);
        Self { covered, words, ranks, beyond }
    }

    /// How many pages are in the dump.
    pub fn count(&self) -> u64 {
        self.ranks.last().copied().unwrap_or(0)
    }

    /// Bits that stand for a page.
    pub fn bits(&self) -> u64 {
        self.covered.bits()
    }

    /// Bits that the bitmap has.
    pub fn capacity(&self) -> u64 {
        self.words.len() as u64 * 64
    }

    /// Ranges that the bitmap covers.
    pub fn ranges(&self) -> &[Range] {
        self.covered.ranges()
    }

    /// Pages of a range that are in the dump.
    pub fn count_in(&self, range: &Range) -> u64 {
        let bits = range.bits();
        self.rank(bits.end) - self.rank(bits.start)
    }

    /// Bits that were set behind those of the ranges. They stand for no page, and count nowhere: kernels write the
    /// rest of the bitmap's last page from memory that was never cleared (`sys/kern/kern_dump.c`).
    pub fn count_beyond(&self) -> u64 {
        self.beyond
    }

    /// Pages among those with lower bits that are in the dump.
    pub fn rank(&self, bit: u64) -> u64 {
        let bit = bit.min(self.capacity());
        let Ok(word) = usize::try_from(bit / 64) else { return self.count() };
        let before = self.ranks.get(word / GROUP).copied().unwrap_or_else(|| self.count());
        let group = self.words.get(word / GROUP * GROUP..word).unwrap_or_default();
        let here = self.words.get(word).map_or(0, |word| word & ((1 << (bit % 64)) - 1));
        before + group.iter().map(|word| u64::from(word.count_ones())).sum::<u64>() + u64::from(here.count_ones())
    }

    /// The bit of the page at a physical address; `None` outside all ranges.
    pub fn bit_of(&self, physical: u64) -> Option<u64> {
        self.covered.bit_of(physical)
    }

    /// The bits of the pages from a physical address on and before another one, as runs.
    pub fn bits_within(&self, start: u64, end: u64) -> impl Iterator<Item = ops::Range<u64>> {
        self.covered.bits_within(start, end)
    }

    /// Whether a bit is set.
    pub fn is_set(&self, bit: u64) -> bool {
        let word = usize::try_from(bit / 64).ok().and_then(|word| self.words.get(word));
        word.is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    /// Whether the page at a physical address is in the dump.
    pub fn contains(&self, physical: u64) -> bool {
        self.bit_of(physical).is_some_and(|bit| self.is_set(bit))
    }

    /// How many pages come before the one at a physical address; `None` if it is not in the dump.
    pub fn number_of(&self, physical: u64) -> Option<u64> {
        let bit = self.bit_of(physical)?;
        self.is_set(bit).then(|| self.rank(bit))
    }

    /// The bits and physical addresses of all pages, in the order of the dump.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.ranges().iter().flat_map(move |range| {
            let bits = range.bits();
            let set = self.set_bits(bits.start, bits.end.min(self.capacity()));
            set.map(move |bit| (bit, self.covered.address_in(range, bit)))
        })
    }

    /// The pages of the dump from a physical address on and before another one, as runs: the first one's physical
    /// address, how many they are, and how many come before them in the dump.
    pub fn runs_within(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64, u64)> {
        let runs = self.bits_within(start, end).flat_map(move |bits| {
            let mut left = bits.start..bits.end.min(self.capacity());
            std::iter::from_fn(move || {
                let run = next_run(&self.words, left.clone())?;
                left.start = run.end;
                Some(run)
            })
        });
        runs.filter_map(move |run| {
            Some((self.covered.address_of(run.start)?, run.end - run.start, self.rank(run.start)))
        })
    }

    /// Bits that are set, from one on and before another.
    fn set_bits(&self, start: u64, end: u64) -> impl Iterator<Item = u64> {
        let first = usize::try_from(start / 64).unwrap_or(usize::MAX);
        let last = usize::try_from(end.div_ceil(64)).unwrap_or(usize::MAX).min(self.words.len());
        let words = self.words.get(first..last).unwrap_or_default().iter();
        words.zip(start / 64..).flat_map(move |(word, number)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = number * 64 + u64::from(left.trailing_zeros());
                // Clears the lowest bit.
                (left != 0).then(|| left &= left - 1).map(|()| bit)
            })
            .filter(move |bit| (start..end).contains(bit))
        })
    }
}

/// Clears the bits from one on; tells how many were set.
fn clear_from(words: &mut [u64], bit: u64) -> u64 {
    let first = usize::try_from(bit / 64).unwrap_or(usize::MAX);
    let mut cleared = 0;
    let mut below = (1 << (bit % 64)) - 1;
    for word in words.get_mut(first..).unwrap_or_default() {
        cleared += u64::from((*word & !below).count_ones());
        *word &= below;
        below = 0;
    }
    cleared
}

/// A set of bits of the same bitmap.
pub struct BitSet(Vec<u64>);

impl BitSet {
    /// An empty set for the pages of a dump.
    pub fn new(pages: &Pages) -> Self {
        Self(vec![0; pages.words.len()])
    }

    /// Puts a bit in; one beyond the bitmap is left out.
    pub fn insert(&mut self, bit: u64) {
        if let Some(word) = usize::try_from(bit / 64).ok().and_then(|word| self.0.get_mut(word)) {
            *word |= 1 << (bit % 64);
        }
    }

    /// Puts those of a run of bits in that are set in the bitmap.
    pub fn insert_set(&mut self, pages: &Pages, bits: ops::Range<u64>) {
        for number in bits.start / 64..bits.end.div_ceil(64) {
            let at = usize::try_from(number).unwrap_or(usize::MAX);
            let (Some(to), Some(from)) = (self.0.get_mut(at), pages.words.get(at)) else { break };
            let above = u64::MAX << bits.start.saturating_sub(number * 64);
            let below = u64::MAX >> (number * 64 + 64).saturating_sub(bits.end);
            *to |= from & above & below;
        }
    }

    /// Whether a bit is in.
    pub fn contains(&self, bit: u64) -> bool {
        usize::try_from(bit / 64).ok().and_then(|word| self.0.get(word)).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: u64 = 4096;

    /// Disjoint ranges in ascending order, and which of their pages are in the dump.
    fn dumps() -> impl Strategy<Value = (Vec<(u64, u64)>, Vec<bool>)> {
        let ranges = proptest::collection::vec((1_u64..9000, 1_u64..700_000), 1..5).prop_map(|gaps| {
            let mut at = 0_u64;
            let range = |(gap, length): (u64, u64)| {
                let start = at.next_multiple_of(PAGE) + gap;
                at = start + length;
                (start, at)
            };
            gaps.into_iter().map(range).collect::<Vec<_>>()
        });
        ranges.prop_flat_map(|ranges| {
            let bits = ranges.iter().map(|(start, end)| end.div_ceil(PAGE) - start / PAGE).sum::<u64>();
            (Just(ranges), proptest::collection::vec(any::<bool>(), usize::try_from(bits).unwrap()))
        })
    }

    proptest! {
        #[test]
        fn a_page_is_found_where_counting_finds_it((ranges, set) in dumps(), big in any::<bool>(), spare in 0_usize..80) {
            let order = if big { Order::Big } else { Order::Little };
            let mut bitmap = vec![0_u8; (set.len().div_ceil(8) + spare).next_multiple_of(8)];
            for (bit, _) in set.iter().enumerate().filter(|(_, set)| **set) {
                let byte = if big { bit / 64 * 8 + 7 - bit % 64 / 8 } else { bit / 8 };
                bitmap[byte] |= 1 << (bit % 8);
            }
            let pages = Pages::new(4096, Some(&ranges), &bitmap, order);
            let all = ranges.iter().flat_map(|(start, end)| start / PAGE..end.div_ceil(PAGE));
            let expected: Vec<u64> = all.zip(&set).filter(|(_, set)| **set).map(|(page, _)| page * PAGE).collect();
            prop_assert_eq!(pages.iter().map(|(_, physical)| physical).collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(pages.count(), expected.len() as u64);
            prop_assert_eq!(pages.count_beyond(), 0);
            for (number, physical) in expected.iter().enumerate() {
                prop_assert_eq!(pages.number_of(physical + 123), Some(number as u64));
            }
            let last = ranges.last().unwrap().1.next_multiple_of(PAGE);
            for physical in (0..last + PAGE).step_by(4096).filter(|physical| !expected.contains(physical)) {
                prop_assert_eq!(pages.number_of(physical), None);
            }
            for start in (0..last + PAGE).step_by(100 * 4096) {
                let end = start + 512 * PAGE;
                let bits: Vec<u64> = pages.bits_within(start, end).flatten().collect();
                let one_by_one = (start..end).step_by(4096).filter_map(|physical| pages.bit_of(physical));
                prop_assert_eq!(&bits, &one_by_one.collect::<Vec<_>>());
                let mut in_dump = BitSet::new(&pages);
                pages.bits_within(start, end).for_each(|bits| in_dump.insert_set(&pages, bits));
                for bit in 0..pages.capacity() {
                    prop_assert_eq!(in_dump.contains(bit), bits.contains(&bit) && pages.is_set(bit));
                }
            }
            let first = expected.len() / 3;
            let from = expected.get(first).copied().unwrap_or(0);
            let runs = pages.runs_within(from, u64::MAX).flat_map(|(physical, count, number)| {
                (0..count).map(move |page| (physical + page * PAGE, number + page))
            });
            let one_by_one = expected.iter().copied().zip(0..).skip(first);
            prop_assert_eq!(runs.collect::<Vec<_>>(), one_by_one.collect::<Vec<_>>());
            let by_range: u64 = pages.ranges().iter().map(|range| pages.count_in(range)).sum();
            prop_assert_eq!(by_range, pages.count());
        }
    }

    #[test]
    fn without_ranges_a_bit_is_a_page_number() {
        let pages = Pages::new(4096, None, &[0b1000_0001, 0, 0, 0, 0, 0, 0, 0, 2], Order::Little);
        assert_eq!(pages.iter().collect::<Vec<_>>(), [(0, 0), (7, 7 * PAGE), (65, 65 * PAGE)]);
        assert_eq!((pages.number_of(65 * PAGE), pages.number_of(66 * PAGE)), (Some(2), None));
    }
}
