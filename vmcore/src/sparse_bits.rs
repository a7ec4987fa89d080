//! A set of bits that takes memory only where some are set and some are not, however far apart they are.

use crate::bounds::{item, item_mut, saturating_usize};
use std::collections::BTreeMap;
use std::ops::Range;

/// Words that are kept together.
const WORDS: usize = 512;
/// Bits in them.
const BITS: u64 = WORDS as u64 * 64;

/// Bits that lie together.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Chunk {
    Full,
    /// Some are set, and some are not.
    Mixed(Box<[u64; WORDS]>),
}

impl Chunk {
    fn word(&self, within: usize) -> u64 {
        match self {
            Self::Full => u64::MAX,
            Self::Mixed(words) => item(&**words, within),
        }
    }
}

/// A set of bits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SparseBits {
    chunks: BTreeMap<u64, Chunk>,
    /// Chunks that are not full.
    mixed: usize,
}

impl SparseBits {
    /// Adds a bit.
    pub(crate) fn insert(&mut self, bit: u64) {
        self.add(bit / 64, 1 << (bit % 64));
    }

    /// Adds bits of a word.
    pub(crate) fn add(&mut self, word: u64, bits: u64) {
        let (number, within) = place(word);
        if bits == 0 {
            return;
        }
        let chunk = self.chunks.entry(number).or_insert_with(|| {
            self.mixed += 1;
            Chunk::Mixed(Box::new([0; WORDS]))
        });
        let Chunk::Mixed(words) = chunk else { return };
        let Ok(there) = item_mut(&mut **words, within) else { return };
        *there |= bits;
        if *there == u64::MAX && words.iter().all(|word| *word == u64::MAX) {
            *chunk = Chunk::Full;
            self.mixed -= 1;
        }
    }

    /// Adds a run of bits.
    pub(crate) fn insert_run(&mut self, bits: Range<u64>) {
        let mut at = bits.start;
        while at < bits.end {
            let end = (at - at % BITS).saturating_add(BITS);
            if at.is_multiple_of(BITS) && end <= bits.end {
                let before = self.chunks.insert(at / BITS, Chunk::Full);
                self.mixed -= usize::from(before.is_some_and(|chunk| chunk != Chunk::Full));
                at = end;
            } else {
                let end = (at - at % 64).saturating_add(64).min(bits.end);
                self.add(at / 64, mask(at, end));
                at = end;
            }
        }
    }

    /// Whether a bit is in the set.
    pub(crate) fn contains(&self, bit: u64) -> bool {
        self.word(bit / 64) >> (bit % 64) & 1 == 1
    }

    /// 64 bits of the set.
    pub(crate) fn word(&self, word: u64) -> u64 {
        let (number, within) = place(word);
        self.chunks.get(&number).map_or(0, |chunk| chunk.word(within))
    }

    /// Takes out what is not in another set; tells how many that were.
    pub(crate) fn retain(&mut self, other: &Self) -> u64 {
        let mut dropped = 0;
        let before = std::mem::take(self);
        for (number, chunk) in before.chunks {
            for within in 0..WORDS {
                let (bits, kept) =
                    (chunk.word(within), other.chunks.get(&number).map_or(0, |other| other.word(within)));
                dropped += u64::from((bits & !kept).count_ones());
                self.add(number * WORDS as u64 + within as u64, bits & kept);
            }
        }
        dropped
    }

    /// How many bits before one are in the set.
    pub(crate) fn count_before(&self, bit: u64) -> u64 {
        let whole = self.chunks.range(..bit / BITS).map(|(_, chunk)| match chunk {
            Chunk::Full => BITS,
            Chunk::Mixed(words) => words.iter().map(|word| u64::from(word.count_ones())).sum(),
        });
        let first = bit / BITS * WORDS as u64;
        let rest = (first..bit / 64).map(|word| u64::from(self.word(word).count_ones()));
        let last = self.word(bit / 64) & ((1 << (bit % 64)) - 1);
        whole.sum::<u64>() + rest.sum::<u64>() + u64::from(last.count_ones())
    }

    /// Parts of 4 KiB that take memory.
    pub(crate) fn mixed(&self) -> usize {
        self.mixed
    }

    /// The first run of bits of the set among these.
    pub(crate) fn next_run(&self, bits: Range<u64>) -> Option<Range<u64>> {
        let first = self.next(bits.clone(), true)?;
        Some(first..self.next(first..bits.end, false).unwrap_or(bits.end))
    }

    /// The first bit among these that is in the set, or is not.
    fn next(&self, bits: Range<u64>, value: bool) -> Option<u64> {
        let mut bit = bits.start;
        while bit < bits.end {
            bit = match self.chunks.get(&(bit / BITS)) {
                Some(Chunk::Mixed(words)) => {
                    let (_, within) = place(bit / 64);
                    let word = item(&**words, within);
                    let word = if value { word } else { !word } >> (bit % 64);
                    if word != 0 {
                        let found = bit + u64::from(word.trailing_zeros());
                        return (found < bits.end).then_some(found);
                    }
                    (bit | 63).checked_add(1)?
                }
                Some(Chunk::Full) if value => return Some(bit),
                Some(Chunk::Full) => (bit | (BITS - 1)).checked_add(1)?,
                None if !value => return Some(bit),
                None => self.chunks.range(bit / BITS..).next()?.0 * BITS,
            };
        }
        None
    }
}

/// The chunk of a word, and where the word is in it.
fn place(word: u64) -> (u64, usize) {
    let words = WORDS as u64;
    (word / words, saturating_usize(word % words))
}

/// The bits from one to before another of the same word.
fn mask(start: u64, end: u64) -> u64 {
    u64::MAX << (start % 64) & u64::MAX >> (64 - ((end - 1) % 64 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const END: u64 = 5 * BITS;

    /// Runs of bits, some of them long enough to fill a chunk.
    fn runs() -> impl Strategy<Value = Vec<(u64, u64)>> {
        proptest::collection::vec((0..END, prop_oneof![1_u64..3, 1_u64..200, 1_u64..2 * BITS]), 0..12)
    }

    fn both(runs: &[(u64, u64)]) -> (SparseBits, BTreeSet<u64>) {
        let (mut sparse, mut plain) = (SparseBits::default(), BTreeSet::new());
        for &(start, length) in runs {
            let run = start..(start + length).min(END);
            sparse.insert_run(run.clone());
            plain.extend(run);
        }
        (sparse, plain)
    }

    fn listed(set: &SparseBits) -> BTreeSet<u64> {
        let mut remaining = 0..END;
        let runs = std::iter::from_fn(|| {
            let run = set.next_run(remaining.clone())?;
            remaining.start = run.end;
            Some(run)
        });
        runs.flatten().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
        #[test]
        fn it_is_a_set(runs in runs(), others in runs(), singles in proptest::collection::vec(0..END, 0..50)) {
            let (mut sparse, mut plain) = both(&runs);
            for bit in singles {
                sparse.insert(bit);
                plain.insert(bit);
            }
            prop_assert_eq!(&listed(&sparse), &plain);
            for bit in (0..END).step_by(997).chain([BITS - 1, BITS, END - 1]) {
                prop_assert_eq!(sparse.contains(bit), plain.contains(&bit));
                prop_assert_eq!(sparse.count_before(bit), plain.range(..bit).count() as u64);
            }
            let (other, kept) = both(&others);
            prop_assert_eq!(sparse.retain(&other), plain.difference(&kept).count() as u64);
            prop_assert_eq!(&listed(&sparse), &plain.intersection(&kept).copied().collect::<BTreeSet<_>>());
            let mixed = sparse.chunks.values().filter(|chunk| **chunk != Chunk::Full).count();
            prop_assert_eq!(sparse.mixed(), mixed);
        }
    }

    #[test]
    fn what_is_full_or_empty_takes_no_words() {
        let mut set = SparseBits::default();
        set.insert_run(0..1 << 30);
        assert_eq!((set.mixed(), set.count_before(u64::MAX)), (0, 1 << 30));
        let mut set = SparseBits::default();
        (0..BITS).for_each(|bit| set.insert(bit));
        assert_eq!(set.mixed(), 0);
        set.insert(u64::MAX - 1);
        assert_eq!((set.mixed(), set.next_run(BITS..u64::MAX)), (1, Some(u64::MAX - 1..u64::MAX)));
    }
}
