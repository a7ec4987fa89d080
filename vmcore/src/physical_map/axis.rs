//! The axis of a drawing: addresses in equal measure, but for long stretches in which nothing changes, which are folded.

use super::{Class, LayerName, PhysicalMap};

/// A stretch is folded if it has more than this part of all that is drawn in full.
const PART: u64 = 8;
/// A folded stretch has as many units as this part of all others.
const FOLDED: f64 = 0.03;
/// Stretches that are folded at most.
const MAX_FOLDS: usize = 24;

/// A stretch of addresses, and where it is on the axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stretch {
    /// The first address.
    pub start: u64,
    /// The first address after it.
    pub end: u64,
    /// Where it begins, in parts of the axis's length.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// Whether it takes less room than its bytes.
    pub is_folded: bool,
}

/// Addresses from 0 to the end of a map.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis(pub Vec<Stretch>);

impl Axis {
    /// The axis of a map.
    pub fn new(map: &PhysicalMap) -> Self {
        let folded = folded(map);
        let mut parts: Vec<(u64, u64, bool)> = Vec::new();
        let mut at = 0;
        for (start, end) in folded {
            if at < start {
                parts.push((at, start, false));
            }
            parts.push((start, end, true));
            at = end;
        }
        if at < map.end {
            parts.push((at, map.end, false));
        }
        let plain: f64 =
            parts.iter().filter(|(.., is_folded)| !is_folded).map(|(start, end, _)| bytes(end - start)).sum();
        let weight = |&(start, end, is_folded): &(u64, u64, bool)| {
            if is_folded { (plain * FOLDED).max(1.0) } else { bytes(end - start) }
        };
        let whole: f64 = parts.iter().map(weight).sum();
        let mut from = 0.0;
        let stretch = |part: &(u64, u64, bool)| {
            let to = from + weight(part) / whole.max(1.0);
            let (start, end, is_folded) = *part;
            let stretch = Stretch { start, end, from, to, is_folded };
            from = to;
            stretch
        };
        Self(parts.iter().map(stretch).collect())
    }

    /// Where an address is, from 0 to 1.
    pub fn position(&self, address: u64) -> f64 {
        let index = self.0.partition_point(|stretch| stretch.end <= address);
        let Some(stretch) = self.0.get(index) else { return 1.0 };
        let part = bytes(address.saturating_sub(stretch.start)) / bytes(stretch.end - stretch.start).max(1.0);
        stretch.from + part * (stretch.to - stretch.from)
    }
}

/// Bytes as a number to draw with: of many, the last ones do not matter.
#[expect(clippy::cast_precision_loss, reason = "what is drawn has no more digits")]
pub(super) const fn bytes(number: u64) -> f64 {
    number as f64
}

/// Long stretches in which no layer changes and that are not RAM: the longest.
fn folded(map: &PhysicalMap) -> Vec<(u64, u64)> {
    let Some(memory) = map.layer(LayerName::Memory) else { return Vec::new() };
    let is_ram = |kind: Class| kind == Class::Ram;
    let mut stretches: Vec<(u64, u64)> = Vec::new();
    for range in memory.ranges.iter().filter(|range| memory.kind(range).is_none_or(|kind| !is_ram(kind.class))) {
        let mut borders = vec![range.start, range.end];
        for layer in map.layers.iter().filter(|layer| layer.name != LayerName::Memory) {
            let inside = layer.within(range.start, range.end).take(MAX_FOLDS);
            borders.extend(inside.flat_map(|other| [other.start.max(range.start), other.end.min(range.end)]));
        }
        borders.sort_unstable();
        borders.dedup();
        stretches.extend(borders.iter().copied().zip(borders.iter().skip(1).copied()));
    }
    stretches.sort_unstable_by_key(|(start, end)| std::cmp::Reverse(end - start));
    let mut plain = map.end;
    let mut folded = Vec::new();
    for (start, end) in stretches.into_iter().take(MAX_FOLDS) {
        // What remains is what the others are compared with.
        let rest = plain - (end - start);
        if (end - start) <= rest / PART || rest == 0 {
            break;
        }
        plain = rest;
        folded.push((start, end));
    }
    folded.sort_unstable();
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physical_map::{Kind, LayerBuilder};

    const GIB: u64 = 1 << 30;

    fn axis(ram: &[(u64, u64)], end: u64) -> Axis {
        let mut memory = LayerBuilder::new(LayerName::Memory, "test");
        ram.iter().for_each(|(start, end)| memory.add(*start, *end, Kind::ram(None)));
        memory.add(0, end, Kind::new(Class::Hole, "hole"));
        Axis::new(&PhysicalMap::new(end, vec![memory.build(end).unwrap()]))
    }

    #[test]
    fn long_holes_take_little_room_and_short_ones_their_own() {
        let axis = axis(&[(0, 3 * GIB), (4 * GIB, 32 * GIB), (1 << 40, (1 << 40) + GIB)], (1 << 40) + GIB);
        let folded: Vec<_> = axis.0.iter().filter(|stretch| stretch.is_folded).collect();
        assert_eq!(folded.iter().map(|of| (of.start, of.end)).collect::<Vec<_>>(), [(32 * GIB, 1 << 40)]);
        assert!(folded[0].to - folded[0].from < 0.05);
        assert!((axis.position(3 * GIB) - axis.position(0)) > 0.05);
    }

    #[test]
    fn positions_ascend_from_one_end_to_the_other() {
        let axis = axis(&[(0, GIB / 4), (4 * GIB, 5 * GIB)], 5 * GIB);
        let mut last = -1.0;
        for step in 0..=500 {
            let position = axis.position(5 * GIB / 500 * step);
            assert!(position > last && position <= 1.0, "{step}");
            last = position;
        }
        assert!(axis.position(0).abs() < 1e-9 && (axis.position(u64::MAX) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_and_one_stretch_have_an_axis() {
        assert_eq!(Axis::new(&PhysicalMap::default()).0, []);
        assert_eq!(axis(&[], GIB).0.len(), 1);
    }
}
