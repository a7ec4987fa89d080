//! A map in rows of characters: each cell stands for the same number of bytes, and its character for what most of them are.

use super::share::Share;
use super::{Class, Kind, Layer, LayerName, PhysicalMap};
use crate::bounds::saturating_usize;

/// A cell stands for no fewer bytes.
const MIN_CELL: u64 = 4096;
/// A stretch of holes is one line if it takes more rows.
const SHORT_HOLE: u64 = 2;
/// Digits of domains and orders.
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// How a map is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Cells in a row.
    pub columns: usize,
    /// Rows at most; the cells are made as large as that takes.
    pub max_rows: usize,
    /// Use ASCII alone.
    pub is_ascii: bool,
}

/// A map that is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Bytes of a cell, a power of two.
    pub cell_size: u64,
    /// The rows, ascending.
    pub rows: Vec<Row>,
}

/// A row of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Cells of each layer of the map.
    Cells {
        /// The first address.
        start: u64,
        /// Of each layer.
        layers: Vec<Vec<Cell>>,
    },
    /// Where no layer has anything but cache types.
    Hole {
        /// The first address.
        start: u64,
        /// The first address after it.
        end: u64,
    },
}

/// A cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// What is printed.
    pub mark: char,
    /// What most of it is, a place in [`Layer::kinds`]; `None` if the layer has nothing there.
    pub kind: Option<u16>,
}

impl Picture {
    /// Lays a map out.
    pub fn new(map: &PhysicalMap, options: Options) -> Self {
        let columns = options.columns.max(1) as u64;
        let mut cell_size = MIN_CELL;
        while starts(map, cell_size.saturating_mul(columns)).nth(options.max_rows.max(1)).is_some() {
            match cell_size.checked_mul(2) {
                Some(larger) => cell_size = larger,
                None => break,
            }
        }
        let rows = starts(map, cell_size.saturating_mul(columns)).take(options.max_rows.max(1));
        let rows = rows.map(|step| match step {
            Step::Hole(start, end) => Row::Hole { start, end },
            Step::Row(start) => {
                let layers = map.layers.iter().map(|layer| cells(map, layer, start, cell_size, options));
                Row::Cells { start, layers: layers.collect() }
            }
        });
        Self { cell_size, rows: rows.collect() }
    }
}

enum Step {
    Row(u64),
    Hole(u64, u64),
}

/// Where rows of so many bytes begin, and the holes between them.
fn starts(map: &PhysicalMap, row: u64) -> impl Iterator<Item = Step> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= map.end {
            return None;
        }
        let start = at;
        let next = next_content(map, start).unwrap_or(map.end);
        let end = if next >= map.end { map.end } else { next - next % row };
        if end > start && (end - start).div_ceil(row) > SHORT_HOLE {
            at = end;
            return Some(Step::Hole(start, end));
        }
        at = start.saturating_add(row);
        Some(Step::Row(start))
    })
}

/// The first address from one on where a layer has something that is no hole. Each address has a cache type.
fn next_content(map: &PhysicalMap, start: u64) -> Option<u64> {
    let next = |layer: &Layer| {
        let is_content = |kind: Option<&Kind>| kind.is_some_and(|kind| kind.class != Class::Hole);
        let found = layer.within(start, u64::MAX).find(|range| is_content(layer.kind(range)));
        found.map(|range| range.start.max(start))
    };
    map.layers.iter().filter(|layer| layer.name != LayerName::Types).filter_map(next).min()
}

/// The cells of a row, up to the end of the map.
fn cells(map: &PhysicalMap, layer: &Layer, start: u64, size: u64, options: Options) -> Vec<Cell> {
    let cells = (0..options.columns).map_while(|index| {
        let start = start.checked_add(size.checked_mul(index as u64)?)?;
        let end = start.saturating_add(size).min(map.end);
        (start < map.end).then(|| cell(layer, start, end, options.is_ascii))
    });
    cells.collect()
}

fn cell(layer: &Layer, start: u64, end: u64, is_ascii: bool) -> Cell {
    let share = Share::between(layer, start, end);
    let any = |_: &Kind| true;
    let nothing = Cell { mark: ' ', kind: None };
    let is_absent = |kind: &Kind| kind.class == Class::Missing;
    if layer.name.is_sparse() {
        let present = share.bytes(layer, |kind| !is_absent(kind));
        let Some(kind) = share.main(layer, |kind| !is_absent(kind)).or_else(|| share.main(layer, any)) else {
            return nothing;
        };
        let mark = if present > 0 { shade(present, end - start, is_ascii) } else { mark(layer, kind, is_ascii) };
        return Cell { mark, kind: Some(kind) };
    }
    let is_free = |kind: &Kind| matches!(kind.class, Class::Free(_));
    let free = share.bytes(layer, is_free);
    let is_mostly_free = free > 0 && free >= share.bytes(layer, |kind| !is_free(kind));
    let main = if is_mostly_free { share.main(layer, is_free) } else { share.main(layer, |kind| !is_free(kind)) };
    main.map_or(nothing, |kind| Cell { mark: mark(layer, kind, is_ascii), kind: Some(kind) })
}

/// The character of a cell of which so much is there.
fn shade(part: u64, whole: u64, is_ascii: bool) -> char {
    let eighths = u128::from(part) * 8 / u128::from(whole.max(1));
    let (block, ascii) = match eighths {
        8.. => ('█', '#'),
        4.. => ('▓', '+'),
        2.. => ('▒', '-'),
        _ => ('░', ':'),
    };
    if is_ascii { ascii } else { block }
}

/// The characters of [`LayerName::is_sparse`] layers, and how much of a cell each is for at least, in percent.
pub fn shades(is_ascii: bool) -> [(char, u32); 4] {
    [(1, 0), (2, 25), (4, 50), (8, 100)].map(|(eighths, percent)| (shade(eighths, 8, is_ascii), percent))
}

/// The character of a kind of a layer.
pub fn mark(layer: &Layer, kind: u16, is_ascii: bool) -> char {
    let Some(kind) = layer.kinds.get(usize::from(kind)) else { return '?' };
    let digit = |number: u64| DIGITS.get(saturating_usize(number)).map_or('*', |digit| char::from(*digit));
    let pick = |block: char, ascii: char| if is_ascii { ascii } else { block };
    let has_domains = || layer.kinds.iter().filter(|kind| kind.domain.is_some()).count() > 1;
    match kind.class {
        Class::Ram if has_domains() => kind.domain.map_or_else(|| pick('▓', '+'), |domain| digit(domain.into())),
        Class::Ram | Class::Held => pick('█', '#'),
        Class::File => 'f',
        Class::Anonymous => 'a',
        Class::OtherPage => 'o',
        Class::Hole | Class::Missing => pick('·', '.'),
        Class::Used => pick('░', ':'),
        Class::Free(order) => digit(order.into()),
        Class::Reserved => 'r',
        Class::Acpi => 'a',
        Class::AcpiNvs => 'n',
        Class::Unusable => 'x',
        Class::Persistent => 'p',
        Class::Firmware => 'f',
        Class::WriteBack => 'b',
        Class::WriteThrough => 't',
        Class::WriteProtect => 'p',
        Class::WriteCombine => 'c',
        Class::Uncacheable => 'u',
        Class::DefaultType => 'd',
        Class::UndefinedType => '!',
        Class::UnknownType => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::physical_map::LayerBuilder;

    const MIB: u64 = 1 << 20;

    fn map(ram: &[(u64, u64)], end: u64) -> PhysicalMap {
        let mut memory = LayerBuilder::new(LayerName::Memory, "test");
        ram.iter().for_each(|(start, end)| memory.add(*start, *end, Kind::ram(None)));
        memory.add(0, end, Kind::new(Class::Hole, "hole"));
        PhysicalMap::new(end, vec![memory.build(end).unwrap()])
    }

    fn text(map: &PhysicalMap, options: Options) -> Vec<String> {
        let row = |row: &Row| match row {
            Row::Cells { start, layers } => {
                format!("{start:#x} {}", layers[0].iter().map(|cell| cell.mark).collect::<String>())
            }
            Row::Hole { start, end } => format!("{start:#x}-{end:#x}"),
        };
        Picture::new(map, options).rows.iter().map(row).collect()
    }

    #[test]
    fn long_holes_are_one_row_and_short_ones_are_drawn() {
        let options = Options { columns: 16, max_rows: 4, is_ascii: true };
        let rows = text(&map(&[(0, 16 * MIB), (24 * MIB, 32 * MIB), (4096 * MIB, 4112 * MIB)], 4112 * MIB), options);
        let full = "#".repeat(16);
        let expected = [
            format!("0x0 {full}"),
            "0x1000000 ........########".to_owned(),
            "0x2000000-0x100000000".to_owned(),
            format!("0x100000000 {full}"),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn one_page_and_nothing_are_drawn() {
        let options = Options { columns: 16, max_rows: 8, is_ascii: true };
        assert_eq!(text(&map(&[(0, 4096)], 4096), options), ["0x0 #"]);
        assert_eq!(text(&PhysicalMap::default(), options), [""; 0]);
        let far = u64::MAX - 4095;
        let rows = text(&map(&[(far, u64::MAX)], u64::MAX), options);
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert!(rows[1].ends_with('#'), "{rows:?}");
    }

    #[test]
    fn however_large_memory_is_no_more_rows_are_drawn() {
        for shift in 12..64 {
            for max_rows in [1, 5, 24] {
                let options = Options { columns: 64, max_rows, is_ascii: false };
                let picture = Picture::new(&map(&[(0, 1 << shift)], 1 << shift), options);
                assert!(picture.rows.len() <= max_rows && !picture.rows.is_empty());
                assert!(picture.cell_size.is_power_of_two());
                let is_just_enough =
                    picture.cell_size == 4096 || picture.cell_size / 2 * 64 * (max_rows as u64) < 1 << shift;
                assert!(is_just_enough, "{shift} {picture:?}");
            }
        }
    }
}
