//! Layers from ranges in any order, which may overlap.

use super::class::{Kind, LayerName};
use super::{Layer, MAX_RANGES, MapRange};
use crate::bounds::saturating_u16;
use crate::error::{Error, Result};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Takes the ranges of a layer. Where some overlap, the one that was added first counts.
#[derive(Debug)]
pub struct LayerBuilder {
    name: LayerName,
    source: String,
    kinds: BTreeMap<Kind, u16>,
    ranges: Vec<MapRange>,
    /// A range was left out, since there were too many.
    is_too_large: bool,
    /// Whether each range begins where the one before it ends, or later.
    is_ascending: bool,
}

impl LayerBuilder {
    /// A layer without ranges; where it is from.
    pub fn new(name: LayerName, source: impl Into<String>) -> Self {
        let source = source.into();
        Self { name, source, kinds: BTreeMap::new(), ranges: Vec::new(), is_too_large: false, is_ascending: true }
    }

    /// Which layer it is.
    pub const fn name(&self) -> LayerName {
        self.name
    }

    /// Adds a range; an empty one is ignored.
    pub fn add(&mut self, start: u64, end: u64, kind: Kind) {
        if start >= end {
            return;
        }
        let next = saturating_u16(self.kinds.len());
        let kind = *self.kinds.entry(kind).or_insert(next);
        let range = MapRange { start, end, kind };
        let count = self.ranges.len();
        match self.ranges.last_mut() {
            Some(last) if last.end == start && last.kind == kind => last.end = end,
            // With what fills the gaps there are twice as many at most.
            _ if count >= MAX_RANGES / 2 || kind == u16::MAX => self.is_too_large = true,
            last => {
                self.is_ascending &= last.is_none_or(|last| last.end <= start);
                self.ranges.push(range);
            }
        }
    }

    /// The first address behind all ranges.
    pub fn end(&self) -> u64 {
        self.ranges.iter().map(|range| range.end).max().unwrap_or(0)
    }

    /// The layer, of addresses before this one.
    ///
    /// # Errors
    ///
    /// It has more ranges than are kept.
    pub fn build(self, end: u64) -> Result<Layer> {
        if self.is_too_large {
            let limit = MAX_RANGES / 2;
            return Err(Error::Unsupported(format!("it has more than {limit} ranges: too many to draw")));
        }
        let ranges = if self.is_ascending { self.ranges } else { without_overlaps(&self.ranges) };
        let clipped = ranges.into_iter().map(|range| MapRange { end: range.end.min(end), ..range });
        let mut joined: Vec<MapRange> = Vec::new();
        for range in clipped.filter(|range| range.start < range.end) {
            match joined.last_mut() {
                Some(last) if last.end == range.start && last.kind == range.kind => last.end = range.end,
                _ => joined.push(range),
            }
        }
        Ok(sorted(self.name, self.source, self.kinds, joined))
    }
}

/// A layer whose kinds are in the order of the legend, without those that no range has.
fn sorted(name: LayerName, source: String, kinds: BTreeMap<Kind, u16>, mut ranges: Vec<MapRange>) -> Layer {
    let mut is_used = vec![false; kinds.len()];
    for range in &ranges {
        if let Some(is_used) = is_used.get_mut(usize::from(range.kind)) {
            *is_used = true;
        }
    }
    let mut places = vec![0; kinds.len()];
    let mut used = Vec::new();
    for (kind, number) in kinds {
        let number = usize::from(number);
        if is_used.get(number) == Some(&true)
            && let Some(place) = places.get_mut(number)
        {
            *place = saturating_u16(used.len());
            used.push(kind);
        }
    }
    for range in &mut ranges {
        range.kind = places.get(usize::from(range.kind)).copied().unwrap_or(range.kind);
    }
    Layer { name, source, kinds: used, ranges }
}

/// Cuts ranges where one that was added before them lies.
fn without_overlaps(ranges: &[MapRange]) -> Vec<MapRange> {
    let mut borders: Vec<u64> = ranges.iter().flat_map(|range| [range.start, range.end]).collect();
    borders.sort_unstable();
    borders.dedup();
    let mut by_start: Vec<(u64, usize)> =
        ranges.iter().enumerate().map(|(index, range)| (range.start, index)).collect();
    by_start.sort_unstable();
    let mut next = by_start.into_iter().peekable();
    // Those that have begun, the one that was added first on top.
    let mut open: BinaryHeap<Reverse<usize>> = BinaryHeap::new();
    let mut cut: Vec<MapRange> = Vec::new();
    for (&start, &end) in borders.iter().zip(borders.iter().skip(1)) {
        while let Some((_, index)) = next.next_if(|(begins, _)| *begins <= start) {
            open.push(Reverse(index));
        }
        let found = loop {
            let Some(Reverse(index)) = open.peek() else { break None };
            match ranges.get(*index).filter(|range| range.end > start) {
                None => _ = open.pop(),
                found => break found,
            }
        };
        let Some(found) = found else { continue };
        match cut.last_mut() {
            Some(last) if last.end == start && last.kind == found.kind => last.end = end,
            _ => cut.push(MapRange { start, end, kind: found.kind }),
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::saturating_usize;
    use crate::physical_map::Class;
    use proptest::prelude::*;

    const CLASSES: [Class; 3] = [Class::Ram, Class::Reserved, Class::Hole];

    proptest! {
        #[test]
        fn the_range_that_was_added_first_counts(ranges in proptest::collection::vec((0_u64..40, 0_u64..20, 0_usize..3), 0..12), end in 0_u64..50) {
            let mut builder = LayerBuilder::new(LayerName::Memory, "test");
            let mut plain = vec![None; 64];
            for &(start, length, class) in &ranges {
                builder.add(start, start + length, Kind::new(CLASSES[class], "text"));
                for at in start..start + length {
                    let of = &mut plain[saturating_usize(at)];
                    *of = of.or(Some(CLASSES[class]));
                }
            }
            let layer = builder.build(end).unwrap();
            for at in 0..64 {
                let expected = plain[saturating_usize(at)].filter(|_| at < end);
                let found = layer.within(at, at + 1).next();
                prop_assert_eq!(found.and_then(|range| layer.kind(range)).map(|kind| kind.class), expected);
            }
            for pair in layer.ranges.windows(2) {
                prop_assert!(pair[0].end < pair[1].start || pair[0].end == pair[1].start && pair[0].kind != pair[1].kind);
            }
            let bytes = plain.iter().take(saturating_usize(end)).flatten().count() as u64;
            prop_assert_eq!(layer.totals().iter().map(|total| total.bytes).sum::<u64>(), bytes);
            prop_assert_eq!(layer.bytes(), bytes);
            prop_assert!(layer.totals().iter().all(|total| total.bytes > 0 && total.ranges > 0));
        }
    }

    #[test]
    fn a_layer_with_too_many_ranges_is_refused_and_not_cut_off() {
        let mut builder = LayerBuilder::new(LayerName::Dump, "test");
        for page in 0..=MAX_RANGES as u64 / 2 {
            builder.add(2 * page, 2 * page + 1, Kind::new(Class::Held, "held"));
        }
        assert!(builder.build(u64::MAX).is_err());
    }
}
