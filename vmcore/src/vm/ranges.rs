//! Sets of page numbers, as ranges: of what is in memory, most lies together.

use crate::bounds::tail;

/// Ranges of page numbers, ascending, that do not touch each other: the first number, and the first one behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds a number that is greater than all others; `false` if it is not.
    #[must_use]
    pub fn push(&mut self, number: u64) -> bool {
        let Some(end) = number.checked_add(1) else { return false };
        match self.0.last_mut() {
            Some(last) if number < last.1 => return false,
            Some(last) if number == last.1 => last.1 = end,
            _ => self.0.push((number, end)),
        }
        true
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many numbers there are.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, (start, end)| sum + (end - start))
    }

    /// Those of so many numbers from one on, counted from that one.
    pub fn within(&self, first: u64, count: u64) -> Self {
        let end = first.saturating_add(count);
        let from = self.0.partition_point(|range| range.1 <= first);
        let inside = tail(&self.0, from).iter().take_while(|range| range.0 < end);
        Self(inside.map(|range| (range.0.max(first) - first, range.1.min(end) - first)).collect())
    }

    /// The numbers that are not in another set.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = Vec::new();
        let mut others = other.0.iter().peekable();
        for (start, end) in &self.0 {
            let mut at = *start;
            while others.next_if(|other| other.1 <= at).is_some() {}
            while let Some(other) = others.peek().filter(|other| other.0 < *end) {
                if at < other.0 {
                    rest.push((at, other.0));
                }
                at = other.1;
                if other.1 > *end {
                    break;
                }
                others.next();
            }
            if at < *end {
                rest.push((at, *end));
            }
        }
        Self(rest)
    }

    /// The numbers that are in either set.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut all: Vec<(u64, u64)> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (start, end) in all {
            match joined.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => joined.push((start, end)),
            }
        }
        Self(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(numbers: &[u64]) -> Ranges {
        let mut ranges = Ranges::default();
        assert!(numbers.iter().all(|number| ranges.push(*number)));
        ranges
    }

    #[test]
    fn numbers_that_lie_together_are_one_range() {
        let mut ranges = set(&[0, 1, 2, 7, 9, 10]);
        assert_eq!(ranges.0, [(0, 3), (7, 8), (9, 11)]);
        assert_eq!((ranges.count(), ranges.len()), (6, 3));
        assert!(!ranges.push(10) && !ranges.push(3) && !ranges.push(u64::MAX));
        assert_eq!(ranges.within(2, 6).0, [(0, 1), (5, 6)]);
        assert_eq!(ranges.within(8, u64::MAX).0, [(1, 3)]);
        assert_eq!(ranges.within(3, 4), Ranges::default());
    }

    /// By another way: one number after another.
    #[test]
    fn sets_are_joined_and_taken_from_each_other() {
        for bits in 0_u32..1 << 12 {
            let numbers = |shift: u32| (0..6).filter(move |bit| bits >> shift >> bit & 1 == 1).collect::<Vec<u64>>();
            let (one, other) = (numbers(0), numbers(6));
            let (a, b) = (set(&one), set(&other));
            let only: Vec<u64> = one.iter().copied().filter(|number| !other.contains(number)).collect();
            let both: Vec<u64> = (0..6).filter(|number| one.contains(number) || other.contains(number)).collect();
            assert_eq!((a.without(&b), a.with(&b)), (set(&only), set(&both)), "{one:?} {other:?}");
        }
    }
}
