//! Which pages are in a minidump, and where: the page bitmap with counts, so that finding a page takes the
//! same time in every dump.
//!
//! Bit i stands for the i-th page of the `dump_avail` ranges, or for physical page i where the dump has none.
//!
//! A machine of 64 TiB has a bitmap of 2 GiB. It is taken in parts of 4 KiB, of which those take memory that are neither
//! empty nor full: as the runs of their bits, or as they are if that is shorter.

use crate::architecture::Endianness;
use crate::bounds::{item, low_u16, part, saturating_u32, saturating_usize, split_at_most, tail};
use crate::minidump::dump_avail::{DumpAvail, Range};
use std::ops;

/// Bytes of the bitmap that are taken together.
const CHUNK: usize = 4096;
/// Bits in them.
const CHUNK_BITS: u64 = CHUNK as u64 * 8;
/// Words of a chunk whose bits are counted together.
const GROUP: usize = 8;
const GROUPS: usize = CHUNK / 8 / GROUP;

/// Numbers that are allocated at once.
const BLOCK: usize = 1 << 19;
const BLOCK_BITS: u32 = BLOCK.trailing_zeros();
/// Blocks at most: 136 MiB, which is room for every bitmap of 4 TiB, and of larger machines for 20 million runs.
const MAX_BLOCKS: usize = 136;

/// Where a chunk is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WordGroup {
    Empty,
    Full,
    /// Its runs, from this number of [`Pages::numbers`] on: how many there are, then of each its first bit, its last
    /// one, and the bits set before it.
    Runs(u32),
    /// The bits set before each group of words, and then the words.
    Words(u32),
}

/// The pages of a minidump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    covered: DumpAvail,
    capacity: u64,
    places: Vec<WordGroup>,
    /// Bits set before each chunk, and in the end all.
    ranks: Vec<u64>,
    numbers: Vec<Vec<u16>>,
    beyond: u64,
}

/// The bits of a chunk.
#[derive(Clone, Copy)]
enum Bits<'a> {
    Empty,
    Full,
    Runs(&'a [[u16; 3]]),
    Words(&'a [u16], &'a [[u16; 4]]),
}

impl Bits<'_> {
    fn word(words: &[[u16; 4]], number: u64) -> u64 {
        item(words, number).iter().rev().fold(0, |word, part| word << 16 | u64::from(*part))
    }

    fn is_set(self, bit: u64) -> bool {
        match self {
            Self::Words(_, words) => Self::word(words, bit / 64) >> (bit % 64) & 1 == 1,
            _ => self.next(bit, true) == Some(bit),
        }
    }

    /// Bits set before one.
    fn rank(self, bit: u64) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Full => bit,
            Self::Runs(runs) => {
                let after = runs.partition_point(|[first, ..]| u64::from(*first) < bit);
                let run = after.checked_sub(1).and_then(|at| runs.get(at));
                run.map_or(0, |[first, last, before]| {
                    u64::from(*before) + (bit.min(u64::from(*last) + 1) - u64::from(*first))
                })
            }
            Self::Words(ranks, words) => {
                let word = bit / 64;
                let group = word / GROUP as u64;
                let before = item(ranks, group);
                let whole = (group * GROUP as u64..word).map(|number| Self::word(words, number));
                let last = Self::word(words, word) & ((1 << (bit % 64)) - 1);
                u64::from(before) + whole.chain([last]).map(|word| u64::from(word.count_ones())).sum::<u64>()
            }
        }
    }

    /// The first run from a bit on, if these are runs and it does not go on behind the chunk: its first bit, and the one
    /// behind it.
    fn run_from(self, bit: u64) -> Option<(u64, u64)> {
        let Self::Runs(runs) = self else { return None };
        let [first, last, _] = runs.get(runs.partition_point(|[_, last, _]| u64::from(*last) < bit))?;
        let next = u64::from(*last) + 1;
        (next < CHUNK_BITS).then_some((bit.max(u64::from(*first)), next))
    }

    /// The first bit from one on that is set, or is not.
    fn next(self, bit: u64, value: bool) -> Option<u64> {
        match (self, value) {
            (Self::Empty, true) | (Self::Full, false) => None,
            (Self::Empty, false) | (Self::Full, true) => Some(bit),
            (Self::Runs(runs), _) => {
                let run = runs.get(runs.partition_point(|[_, last, _]| u64::from(*last) < bit));
                match run.map(|[first, last, _]| (u64::from(*first), u64::from(*last))) {
                    Some((first, _)) if value => Some(first.max(bit)),
                    Some((first, last)) if first <= bit => Some(last + 1).filter(|next| *next < CHUNK_BITS),
                    None if value => None,
                    _ => Some(bit),
                }
            }
            (Self::Words(_, words), _) => {
                let from = |number: u64, shift: u64| {
                    let word = Self::word(words, number);
                    let word = if value { word } else { !word } >> shift;
                    (word != 0).then(|| number * 64 + shift + u64::from(word.trailing_zeros()))
                };
                let rest = bit / 64 + 1..CHUNK_BITS / 64;
                from(bit / 64, bit % 64).or_else(|| rest.into_iter().find_map(|number| from(number, 0)))
            }
        }
    }
}

/// The runs of bits that are set in the words of a chunk: the first bit and the last one of each. They are found by the words
/// alone, as a large machine's bitmap has millions.
fn runs_of(words: &[u64]) -> impl Iterator<Item = (u64, u64)> {
    // Bits that are not as the one before them.
    let borders = words.iter().scan(0, |last, word| {
        let borders = word ^ (word << 1 | *last);
        *last = word >> 63;
        Some(borders)
    });
    let mut places = (0..).zip(borders).flat_map(|(number, mut borders): (u64, u64)| {
        std::iter::from_fn(move || {
            let place = (borders != 0).then(|| number * 64 + u64::from(borders.trailing_zeros()))?;
            borders &= borders - 1;
            Some(place)
        })
    });
    std::iter::from_fn(move || {
        let first = places.next()?;
        Some((first, places.next().unwrap_or(CHUNK_BITS) - 1))
    })
}

/// Takes a page bitmap part by part.
pub struct Builder {
    pages: Pages,
    order: Endianness,
    /// What does not fill a chunk.
    rest: Vec<u8>,
    /// Blocks that may be allocated.
    blocks: usize,
    is_too_large: bool,
}

impl Builder {
    /// Takes the ranges of `dump_avail`, or `None` where there is none, and the bytes that the bitmap will have.
    pub fn new(page_size: u32, ranges: Option<&[(u64, u64)]>, size: u64, order: Endianness) -> Self {
        let page_size = u64::from(page_size);
        let capacity = size.div_ceil(8).saturating_mul(64);
        let all = [(0, capacity.saturating_mul(page_size))];
        let covered = DumpAvail::new(page_size, ranges.unwrap_or(&all));
        let pages = Pages { capacity, ..Pages::none_of(covered) };
        Self { pages, order, rest: Vec::new(), blocks: MAX_BLOCKS, is_too_large: false }
    }

    /// Takes the next bytes of the bitmap.
    pub fn push(&mut self, mut bytes: &[u8]) {
        if !self.rest.is_empty() {
            let (now, later) = split_at_most(bytes, CHUNK - self.rest.len());
            self.rest.extend_from_slice(now);
            bytes = later;
            if self.rest.len() == CHUNK {
                let chunk = std::mem::take(&mut self.rest);
                self.chunk(&chunk);
            }
        }
        let mut chunks = bytes.chunks_exact(CHUNK);
        chunks.by_ref().for_each(|chunk| self.chunk(chunk));
        self.rest.extend_from_slice(chunks.remainder());
    }

    /// The pages; `None` if their bits are so scattered that they are not kept.
    pub fn finish(mut self) -> Option<Pages> {
        if !self.rest.is_empty() {
            let mut chunk = std::mem::take(&mut self.rest);
            // Of big-endian ones the last word must be whole.
            chunk.resize(chunk.len().next_multiple_of(8), 0);
            self.chunk(&chunk);
        }
        (!self.is_too_large).then_some(self.pages)
    }

    fn chunk(&mut self, bytes: &[u8]) {
        const ZEROS: &[u8] = &[0; CHUNK];
        let first = self.pages.places.len() as u64 * CHUNK_BITS;
        let place = if ZEROS.starts_with(bytes) {
            self.add(&[], 0)
        } else {
            let mut words: Vec<u64> = bytes.as_chunks().0.iter().map(|word| self.order.u64(*word)).collect();
            words.resize(CHUNK / 8, 0);
            self.pages.beyond += clear_from(&mut words, self.pages.covered.bits().saturating_sub(first));
            let count = words.iter().map(|word| u64::from(word.count_ones())).sum();
            self.add(&words, count)
        };
        self.pages.places.push(place);
    }

    /// Keeps the words of a chunk with so many bits set.
    fn add(&mut self, words: &[u64], count: u64) -> WordGroup {
        let before = self.pages.ranks.last().copied().unwrap_or(0);
        self.pages.ranks.push(before + count);
        if count == 0 || count == CHUNK_BITS {
            return if count == 0 { WordGroup::Empty } else { WordGroup::Full };
        }
        // A run begins at each set bit behind one that is not.
        let starts = words.iter().scan(0, |last, word| {
            let starts = word & !(word << 1 | *last);
            *last = word >> 63;
            Some(starts.count_ones())
        });
        let runs: u32 = starts.sum();
        if u64::from(runs) * 3 >= (GROUPS + CHUNK / 2) as u64 {
            let parts = words.iter().flat_map(|word| [0, 16, 32, 48].map(|shift| low_u16(word >> shift)));
            let counts = words.chunks(GROUP).scan(0_u64, |rank, group| {
                let before = *rank;
                *rank += group.iter().map(|word| u64::from(word.count_ones())).sum::<u64>();
                Some(low_u16(before))
            });
            return WordGroup::Words(self.keep(counts.chain(parts)));
        }
        let mut rank = 0;
        let triples = runs_of(words).flat_map(|(first, last)| {
            let before = rank;
            rank += last - first + 1;
            [first, last, before].map(low_u16)
        });
        WordGroup::Runs(self.keep(std::iter::once(low_u16(runs.into())).chain(triples)))
    }

    /// Keeps numbers together; tells where.
    fn keep(&mut self, numbers: impl Iterator<Item = u16>) -> u32 {
        let numbers: Vec<u16> = numbers.collect();
        let blocks = &mut self.pages.numbers;
        if blocks.last().is_none_or(|block| block.len() + numbers.len() > BLOCK) {
            if self.is_too_large || blocks.len() == self.blocks {
                // What follows is counted only.
                self.is_too_large = true;
                blocks.clear();
                return 0;
            }
            blocks.push(Vec::new());
        }
        let number = blocks.len() - 1;
        let Some(block) = blocks.last_mut() else { return 0 };
        let place = number << BLOCK_BITS | block.len();
        block.extend(numbers);
        saturating_u32(place)
    }
}

impl Pages {
    /// The pages of a dump without any.
    pub fn none(page_size: u32) -> Self {
        Self::none_of(DumpAvail::new(page_size.into(), &[]))
    }

    fn none_of(covered: DumpAvail) -> Self {
        Self { covered, capacity: 0, places: Vec::new(), ranks: vec![0], numbers: Vec::new(), beyond: 0 }
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
        self.capacity
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

    /// The chunk with a number.
    fn chunk(&self, number: u64) -> Bits<'_> {
        let place = usize::try_from(number).ok().and_then(|number| self.places.get(number));
        let from = |at: u32| {
            let (block, at) = (at >> BLOCK_BITS, at & ((1 << BLOCK_BITS) - 1));
            let block = self.numbers.get(saturating_usize(block));
            tail(block.map_or(&[], Vec::as_slice), at)
        };
        match place {
            None | Some(WordGroup::Empty) => Bits::Empty,
            Some(WordGroup::Full) => Bits::Full,
            Some(WordGroup::Runs(at)) => {
                let numbers = from(*at);
                Bits::Runs(part(part(numbers, 1..).as_chunks().0, ..item(numbers, 0_usize).into()))
            }
            Some(WordGroup::Words(at)) => {
                let (ranks, rest) = split_at_most(from(*at), GROUPS);
                Bits::Words(ranks, part(rest.as_chunks().0, ..CHUNK / 8))
            }
        }
    }

    /// Pages among those with lower bits that are in the dump.
    pub fn rank(&self, bit: u64) -> u64 {
        let Some(before) = self.ranks.get(saturating_usize(bit / CHUNK_BITS)) else { return self.count() };
        before + self.chunk(bit / CHUNK_BITS).rank(bit % CHUNK_BITS)
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
        self.chunk(bit / CHUNK_BITS).is_set(bit % CHUNK_BITS)
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
            let bits = self.runs(range.bits()).flatten();
            bits.map(move |bit| (bit, self.covered.address_in(range, bit)))
        })
    }

    /// The pages of the dump from a physical address on and before another one, as runs: the first one's physical
    /// address, how many they are, and how many come before them in the dump.
    pub fn runs_within(&self, start: u64, end: u64) -> impl Iterator<Item = (u64, u64, u64)> {
        self.bits_within(start, end).flat_map(move |bits| {
            let mut before = self.rank(bits.start);
            self.runs(bits).filter_map(move |run| {
                let (first, count) = (before, run.end - run.start);
                before += count;
                Some((self.covered.address_of(run.start)?, count, first))
            })
        })
    }

    /// The runs of bits that are set among these.
    pub fn runs(&self, bits: ops::Range<u64>) -> impl Iterator<Item = ops::Range<u64>> {
        let ops::Range { mut start, end } = bits;
        std::iter::from_fn(move || {
            // Most runs end in the part that they begin in, where one search finds both.
            let number = start / CHUNK_BITS;
            if let Some((first, next)) = self.chunk(number).run_from(start % CHUNK_BITS) {
                let (first, next) = (number * CHUNK_BITS + first, number * CHUNK_BITS + next);
                if next <= end {
                    start = next;
                    return Some(first..next);
                }
            }
            let first = self.next(start, end, true)?;
            start = self.next(first, end, false).unwrap_or(end);
            Some(first..start)
        })
    }

    /// The first bit from one on and before another that is set, or is not.
    fn next(&self, start: u64, end: u64, value: bool) -> Option<u64> {
        // What is behind the bitmap is not set.
        let end = if value { end.min(self.places.len() as u64 * CHUNK_BITS) } else { end };
        let mut bit = start;
        while bit < end {
            let number = bit / CHUNK_BITS;
            if let Some(found) = self.chunk(number).next(bit % CHUNK_BITS, value) {
                return Some(number * CHUNK_BITS + found).filter(|found| *found < end);
            }
            bit = (number + 1) * CHUNK_BITS;
        }
        None
    }
}

/// Clears the bits from one on; tells how many were set.
fn clear_from(words: &mut [u64], bit: u64) -> u64 {
    let mut cleared = 0;
    let mut below = (1 << (bit % 64)) - 1;
    for word in words.iter_mut().skip(saturating_usize(bit / 64)) {
        cleared += u64::from((*word & !below).count_ones());
        *word &= below;
        below = 0;
    }
    cleared
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: u64 = 4096;

    fn pages(ranges: Option<&[(u64, u64)]>, bitmap: &[u8], order: Endianness) -> Pages {
        let mut builder = Builder::new(4096, ranges, bitmap.len() as u64, order);
        // In parts of odd lengths.
        bitmap.chunks(3001).for_each(|part| builder.push(part));
        builder.finish().unwrap()
    }

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
            let order = if big { Endianness::Big } else { Endianness::Little };
            let mut bitmap = vec![0_u8; (set.len().div_ceil(8) + spare).next_multiple_of(8)];
            for (bit, _) in set.iter().enumerate().filter(|(_, set)| **set) {
                let byte = if big { bit / 64 * 8 + 7 - bit % 64 / 8 } else { bit / 8 };
                bitmap[byte] |= 1 << (bit % 8);
            }
            let pages = pages(Some(&ranges), &bitmap, order);
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
                let runs = pages.bits_within(start, end).flat_map(|bits| pages.runs(bits)).flatten();
                let set = bits.iter().copied().filter(|bit| pages.is_set(*bit));
                prop_assert_eq!(runs.collect::<Vec<_>>(), set.collect::<Vec<_>>());
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
        let pages = pages(None, &[0b1000_0001, 0, 0, 0, 0, 0, 0, 0, 2], Endianness::Little);
        assert_eq!(pages.iter().collect::<Vec<_>>(), [(0, 0), (7, 7 * PAGE), (65, 65 * PAGE)]);
        assert_eq!((pages.number_of(65 * PAGE), pages.number_of(66 * PAGE)), (Some(2), None));
    }

    /// A bitmap of some chunks, each empty, full, or with runs of a length that lie so far apart.
    fn bitmaps() -> impl Strategy<Value = Vec<bool>> {
        let chunk = prop_oneof![
            Just((0, 1)),
            Just((1, 0)),
            (1_usize..3, 1_usize..3),
            (1_usize..100, 1_usize..100),
            (1_usize..20_000, 1_usize..20_000)
        ];
        let bits = |(set, clear)| (0..32_768).map(move |bit| bit % (set + clear) < set);
        proptest::collection::vec((chunk, 0_usize..32_768), 1..4).prop_map(move |chunks| {
            let last = chunks.len() - 1;
            let chunks = chunks.into_iter().enumerate();
            chunks
                .flat_map(|(number, (kind, cut))| bits(kind).take(if number == last { cut } else { 32_768 }))
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn chunks_of_all_kinds_are_what_was_put_in(set in bitmaps()) {
            let mut bitmap = vec![0_u8; set.len().div_ceil(8)];
            for (bit, _) in set.iter().enumerate().filter(|(_, set)| **set) {
                bitmap[bit / 8] |= 1 << (bit % 8);
            }
            let pages = pages(None, &bitmap, Endianness::Little);
            let expected: Vec<u64> = (0..).zip(&set).filter(|(_, set)| **set).map(|(bit, _)| bit).collect();
            prop_assert_eq!(pages.iter().map(|(bit, _)| bit).collect::<Vec<_>>(), expected);
            let mut rank = 0;
            for (bit, set) in (0..).zip(&set) {
                prop_assert_eq!((pages.is_set(bit), pages.rank(bit)), (*set, rank));
                rank += u64::from(*set);
            }
            prop_assert_eq!(pages.count(), rank);
        }
    }

    #[test]
    fn what_is_too_scattered_is_not_kept() {
        let scattered = vec![0x55; 1 << 20];
        for (parts, is_kept) in [(2, true), (6, false)] {
            let mut builder = Builder { blocks: 3, ..Builder::new(4096, None, 1 << 28, Endianness::Little) };
            (0..parts).for_each(|_| builder.push(&scattered));
            assert_eq!(builder.pages.count(), parts << 22);
            assert_eq!(builder.finish().is_some(), is_kept);
        }
    }
}
