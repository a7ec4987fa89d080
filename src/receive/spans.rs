//! Ranges of numbers: the bytes of a dump that are here, the packets that are not.

use std::collections::BTreeMap;

/// Spans of numbers; what is in them is in none twice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans(BTreeMap<u64, u64>);

impl Spans {
    /// Adds a range. Spans that meet become one.
    pub fn insert(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        while let Some((&before, &stop)) = self.0.range(..=end).next_back()
            && stop >= start
        {
            self.0.remove(&before);
            (start, end) = (start.min(before), end.max(stop));
        }
        self.0.insert(start, end);
    }

    /// Takes a number out, and says whether it was there.
    pub fn remove(&mut self, number: u64) -> bool {
        let Some((&start, &end)) = self.0.range(..=number).next_back().filter(|(_, end)| **end > number) else {
            return false;
        };
        self.0.remove(&start);
        self.insert(start, number);
        self.insert(number + 1, end);
        true
    }

    /// Whether a number is in one.
    pub fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, end)| *end > number)
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers there are.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// The end of the last.
    pub fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, end)| *end)
    }

    /// What is in none of them, before that number.
    pub fn gaps(&self, end: u64) -> Vec<(u64, u64)> {
        let ends = self.0.values().copied();
        let starts = self.0.keys().copied().chain([end]);
        let pairs = std::iter::once(0).chain(ends).zip(starts);
        pairs.map(|(from, to)| (from, to.min(end))).filter(|(from, to)| from < to).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn ranges_are_the_numbers_that_were_put_in(changes in prop::collection::vec((0_u64..60, 0_u64..9), 0..40)) {
            let (mut spans, mut numbers) = (Spans::default(), BTreeSet::new());
            for (start, length) in changes {
                if length == 0 {
                    prop_assert_eq!(spans.remove(start), numbers.remove(&start));
                } else {
                    spans.insert(start, start + length);
                    numbers.extend(start..start + length);
                }
                prop_assert_eq!(spans.total(), numbers.len() as u64);
                prop_assert_eq!(spans.end(), numbers.last().map_or(0, |last| last + 1));
                prop_assert!((0..70).all(|number| spans.contains(number) == numbers.contains(&number)));
                let gaps: Vec<u64> = spans.gaps(70).into_iter().flat_map(|(start, end)| start..end).collect();
                prop_assert!(gaps.into_iter().eq((0..70).filter(|number| !numbers.contains(number))));
                // No two of them meet.
                let starts = numbers.iter().filter(|number| **number == 0 || !numbers.contains(&(**number - 1)));
                prop_assert_eq!(spans.len(), starts.count());
            }
        }
    }
}
