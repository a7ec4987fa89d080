//! What a kernel's own structures tell of physical memory: domains, and free blocks.

use super::Collector;
use crate::error::Result;
use std::collections::BTreeMap;
use vmcore::Kernel;
use vmcore::inventory::Source;
use vmcore::inventory::memory::free_blocks::FreeBlocks;
use vmcore::inventory::memory::free_pages::{FreePages, fragmentation_index};
use vmcore::physical_map::{FreeArea, Kind, LayerBuilder, LayerName};
use vmcore::segment::Segment;

impl Collector {
    /// Takes the free blocks of a kernel whose types are loaded, and the segments that it allocates pages from. Returns what
    /// cannot be read.
    ///
    /// # Errors
    ///
    /// It has no types, or no such structures.
    pub fn add_kernel(&mut self, kernel: &Kernel) -> Result<Vec<String>> {
        let source = Source::new(kernel)?;
        let mut free = LayerBuilder::new(LayerName::Free, "struct vm_page");
        let blocks = FreeBlocks::each(source.typed, |block| {
            free.add(block.start, block.end, Kind::free(block.order, block.domain));
        })?;
        let segment = |segment: &vmcore::inventory::memory::free_pages::PhysicalSegment| Segment {
            start: segment.start,
            end: segment.end,
            domain: segment.domain,
        };
        self.add_managed(&blocks.segments.iter().map(segment).collect::<Vec<_>>());
        self.add_layer(free);
        let mut warnings = blocks.warnings;
        match FreePages::read(&source) {
            Ok(pages) => {
                self.free_areas = Some(areas(&pages));
                warnings.extend(pages.warnings);
            }
            Err(error) => warnings.push(format!("the free lists cannot be read: {error}")),
        }
        Ok(warnings)
    }
}

/// The blocks of each domain and order, of all lists and pools.
fn areas(pages: &FreePages) -> Vec<FreeArea> {
    let mut areas = Vec::new();
    for domain in &pages.domains {
        let mut counts: BTreeMap<u32, Option<u64>> = BTreeMap::new();
        for list in &domain.lists {
            for (order, pools) in (0..).zip(&list.orders) {
                let count = counts.entry(order).or_insert(Some(0));
                let sum = pools.iter().copied().try_fold(0_u64, |sum, pool| Some(sum.saturating_add(pool?)));
                *count = count.zip(sum).map(|(count, sum)| count.saturating_add(sum));
            }
        }
        let known: Option<Vec<(u32, u64)>> = counts.iter().map(|(order, count)| Some((*order, (*count)?))).collect();
        areas.extend(counts.iter().map(|(&order, &blocks)| FreeArea {
            domain: domain.domain,
            order,
            block_size: pages.page_size.saturating_mul(1_u64.checked_shl(order).unwrap_or(0)),
            blocks,
            fragmentation: known.as_ref().map(|known| fragmentation_index(order, known)),
        }));
    }
    areas
}
