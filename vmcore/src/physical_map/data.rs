//! What the script of a page needs to draw any part of a map: the axis, and the ranges of each layer, or, of layers with more
//! than are kept, cells. So the data is bounded, whatever the map: by about 20 bytes for each of these.

use super::axis::Axis;
use super::palette::class_of;
use super::share::Share;
use super::{Kind, Layer, PhysicalMap};
use crate::markup::is_invisible;
use serde::{Serialize, Serializer};
use serde_json::json;

/// Ranges, or cells, of a layer at most.
const MAX_RANGES: usize = 20_000;
/// Kinds in all cells of a layer at most.
const MAX_SHARES: usize = 50_000;

/// A range: the bytes between it and the one before, its bytes, and its kind; or, of a cell, kinds and bytes of each in turn.
enum Entry {
    Range(u64, u64, u16),
    Cell(u64, u64, Vec<(u16, u64)>),
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Range(gap, size, kind) => (gap, size, kind).serialize(serializer),
            Self::Cell(gap, size, kinds) => {
                let flat: Vec<u64> = kinds.iter().flat_map(|(kind, bytes)| [u64::from(*kind), *bytes]).collect();
                (gap, size, flat).serialize(serializer)
            }
        }
    }
}

/// A text whose invisible characters are written as in Rust: the script shows it as it is.
fn visible(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if is_invisible(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// The data of a map as JSON, which can stand in a page: it has no `<`.
pub(super) fn data(map: &PhysicalMap, page_size: u64) -> String {
    let axis: Vec<_> = Axis::new(map)
        .0
        .iter()
        .map(|stretch| (stretch.start, stretch.end, stretch.from, stretch.to, u8::from(stretch.is_folded)))
        .collect();
    let kind =
        |kind: &Kind| json!({"class": class_of(kind), "text": visible(&kind.text), "there": kind.class.is_there()});
    let layers = map.layers.iter().map(|layer| {
        json!({
            "name": layer.name.name(),
            "sparse": layer.name.is_sparse(),
            "kinds": layer.kinds.iter().map(kind).collect::<Vec<_>>(),
            "ranges": entries(layer, map.end),
        })
    });
    let layers: Vec<_> = layers.collect();
    let data = json!({"end": map.end, "page": page_size, "axis": axis, "layers": layers});
    data.to_string().replace('<', "\\u003c")
}

/// The ranges, or cells that are as small as their number allows.
fn entries(layer: &Layer, end: u64) -> Vec<Entry> {
    if layer.ranges.len() <= MAX_RANGES {
        let mut at = 0;
        let entry = layer.ranges.iter().map(|range| {
            let entry = Entry::Range(range.start - at, range.size(), range.kind);
            at = range.end;
            entry
        });
        return entry.collect();
    }
    let mut size = (end / MAX_RANGES as u64).max(4096).next_power_of_two() / 4;
    loop {
        if let Some(cells) = cells(layer, size) {
            return cells;
        }
        size = size.saturating_mul(2);
    }
}

/// Cells of so many bytes where ranges are smaller, if they are not too many.
fn cells(layer: &Layer, size: u64) -> Option<Vec<Entry>> {
    let mut found = Vec::new();
    let (mut at, mut index, mut shares) = (0, 0, 0);
    while let Some(range) = layer.ranges.get(index) {
        if found.len() >= MAX_RANGES || shares > MAX_SHARES {
            return None;
        }
        let start = range.start.max(at);
        if range.end.saturating_sub(start) >= size {
            found.push(Entry::Range(start - at, range.end - start, range.kind));
            (at, index) = (range.end, index + 1);
            continue;
        }
        let end = (start - start % size).saturating_add(size).max(range.end.min(start.saturating_add(1)));
        let share = Share::between(layer, start, end);
        shares += share.kinds.len();
        found.push(Entry::Cell(start - at, end - start, share.kinds));
        at = end;
        while layer.ranges.get(index).is_some_and(|range| range.end <= at) {
            index += 1;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physical_map::{Class, LayerBuilder, LayerName};

    #[test]
    fn cells_have_all_bytes_of_the_ranges() {
        let mut dump = LayerBuilder::new(LayerName::Dump, "test");
        for page in 0..100_000 {
            let kind = if page % 3 == 0 { Class::Held } else { Class::Missing };
            dump.add(page * 8192, page * 8192 + 4096 * (1 + page % 2), Kind::new(kind, "text"));
        }
        dump.add(1 << 32, 1 << 33, Kind::new(Class::Held, "text"));
        let layer = dump.build(1 << 34).unwrap();
        let entries = entries(&layer, 1 << 34);
        assert!(entries.len() <= MAX_RANGES && entries.len() > 500, "{}", entries.len());
        let mut sums = vec![0; layer.kinds.len()];
        let (mut at, mut last) = (0, 0);
        for entry in &entries {
            let (gap, size) = match entry {
                Entry::Range(gap, size, kind) => {
                    sums[usize::from(*kind)] += size;
                    (gap, size)
                }
                Entry::Cell(gap, size, kinds) => {
                    kinds.iter().for_each(|(kind, bytes)| sums[usize::from(*kind)] += bytes);
                    assert!(kinds.iter().map(|(_, bytes)| bytes).sum::<u64>() <= *size);
                    (gap, size)
                }
            };
            at += gap + size;
            assert!(at > last);
            last = at;
        }
        assert_eq!(sums, layer.totals().iter().map(|total| total.bytes).collect::<Vec<_>>());
    }

    #[test]
    fn data_cannot_end_the_element_that_it_is_in() {
        let mut memory = LayerBuilder::new(LayerName::Memory, "test");
        memory.add(0, 4096, Kind::new(Class::Firmware, "</script><!--"));
        let data = data(&PhysicalMap::new(4096, vec![memory.build(4096).unwrap()]), 4096);
        assert!(!data.contains('<'), "{data}");
        assert!(serde_json::from_str::<serde_json::Value>(&data).is_ok());
    }
}
