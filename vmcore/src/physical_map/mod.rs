//! A picture of physical memory: RAM and holes, cache types, what a dump holds, what is free, and where pages of a process lie,
//! each a [`Layer`] over the same addresses.
//!
//! [`PhysicalMap`] is the value; it has exact numbers and serialises to JSON. [`rows`] lays it out in rows of cells for a
//! terminal, [`mod@svg`] draws it, and [`html`] makes a page that zooms.
//!
//! ```
//! use vmcore::physical_map::{Class, Kind, LayerBuilder, LayerName, PhysicalMap};
//!
//! let mut memory = LayerBuilder::new(LayerName::Memory, "machdep.smap");
//! memory.add(0, 0x9_f000, Kind::ram(Some(0)));
//! memory.add(0, 0x10_0000, Kind::new(Class::Hole, "hole"));
//! let map = PhysicalMap::new(0x10_0000, vec![memory.build(0x10_0000)?]);
//! let [ram, hole] = map.layers[0].totals()[..] else { unreachable!() };
//! assert_eq!((ram.bytes, hole.bytes), (0x9_f000, 0x6_1000));
//! # Ok::<(), vmcore::Error>(())
//! ```

mod axis;
mod builder;
mod class;
mod data;
mod document;
pub mod html;
mod palette;
pub mod rows;
mod share;
pub mod svg;

pub use builder::LayerBuilder;
pub use class::{Class, Kind, LayerName};
pub use share::percent;

use crate::bounds::saturating_u64;
use crate::table::{Table, left, right};

/// Ranges that a layer has at most: those of a fragmented machine of 64 GiB and more. Each takes 24 bytes.
pub const MAX_RANGES: usize = 1 << 22;

/// Physical memory, from address 0 on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PhysicalMap {
    /// The first address that is not in it.
    pub end: u64,
    /// What is known of it, in the order of [`LayerName::ALL`].
    pub layers: Vec<Layer>,
    /// Layers that are not known.
    pub absent: Vec<AbsentLayer>,
    /// Blocks of free memory by memory domain and order, as the kernel counts them, where their addresses may be unknown;
    /// `None` if the kernel does not tell.
    pub free_areas: Option<Vec<FreeArea>>,
}

/// What one source tells of physical addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Which one it is.
    pub name: LayerName,
    /// Where it is from, such as the sysctl.
    pub source: String,
    /// What its ranges can be, in the order of a legend.
    pub kinds: Vec<Kind>,
    /// Ascending, without overlaps; neighbours are of different kinds.
    pub ranges: Vec<MapRange>,
}

/// A range of physical addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapRange {
    /// Its first address.
    pub start: u64,
    /// The first address after it.
    pub end: u64,
    /// Its place in [`Layer::kinds`].
    pub kind: u16,
}

impl MapRange {
    /// Bytes.
    pub const fn size(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

/// A layer that is not known, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsentLayer {
    /// Which one.
    pub name: LayerName,
    /// The reason.
    pub why: String,
}

/// Free blocks of one size in one memory domain, as `sysctl vm.phys_free` counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeArea {
    /// The memory domain.
    pub domain: u32,
    /// A block has 2^order pages.
    pub order: u32,
    /// Bytes of a block.
    pub block_size: u64,
    /// Blocks in all lists and pools; `None` where the kernel's count makes no sense.
    pub blocks: Option<u64>,
    /// `vm.phys_frag_idx`: how much smaller the domain's free blocks are on average than one of this order, in thousandths of it;
    /// negative if they are larger. `None` if the kernel does not tell.
    pub fragmentation: Option<i64>,
}

/// What the ranges of one kind add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total<'a> {
    /// The kind.
    pub kind: &'a Kind,
    /// Bytes of all ranges.
    pub bytes: u64,
    /// How many ranges there are.
    pub ranges: u64,
}

impl PhysicalMap {
    /// A map of these layers, up to an address.
    pub fn new(end: u64, layers: Vec<Layer>) -> Self {
        Self { end, layers, ..Self::default() }
    }

    /// What the kinds of each layer add up to, as people read it.
    pub fn tables(&self) -> Vec<Table> {
        let table = |layer: &Layer| {
            let columns = [left("KIND"), right("BYTES"), right("RANGES")];
            let row =
                |total: &Total<'_>| vec![total.kind.text.clone(), total.bytes.to_string(), total.ranges.to_string()];
            let table = Table::new(columns, layer.totals().iter().map(row).collect());
            Table { caption: Some(layer.name.title().to_owned()), ..table }
        };
        self.layers.iter().map(table).collect()
    }

    /// A layer, if it is known.
    pub fn layer(&self, name: LayerName) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.name == name)
    }
}

impl Layer {
    /// What the kinds add up to, in their order. The bytes of all are those of all ranges.
    pub fn totals(&self) -> Vec<Total<'_>> {
        let mut totals: Vec<Total<'_>> = self.kinds.iter().map(|kind| Total { kind, bytes: 0, ranges: 0 }).collect();
        for range in &self.ranges {
            if let Some(total) = totals.get_mut(usize::from(range.kind)) {
                total.bytes = total.bytes.saturating_add(range.size());
                total.ranges = total.ranges.saturating_add(1);
            }
        }
        totals
    }

    /// Bytes of all ranges.
    pub fn bytes(&self) -> u64 {
        saturating_u64(self.ranges.iter().map(|range| u128::from(range.size())).sum::<u128>())
    }

    /// The kind of a range of it.
    pub fn kind(&self, range: &MapRange) -> Option<&Kind> {
        self.kinds.get(usize::from(range.kind))
    }

    /// The ranges that have a part between two addresses.
    pub fn within(&self, start: u64, end: u64) -> impl Iterator<Item = &MapRange> {
        let first = self.ranges.partition_point(|range| range.end <= start);
        self.ranges.iter().skip(first).take_while(move |range| range.start < end)
    }
}
