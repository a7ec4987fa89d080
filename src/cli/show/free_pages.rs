//! `memtool show free-pages`: free blocks of pages, as `sysctl vm.phys_free` prints them, and the segments of physical memory,
//! as `sysctl vm.phys_segs` does, in JSON.

use super::{Document, Shown, cell, right};
use serde::Serialize;
use vmcore::Result;
use vmcore::kernel::TypedMemory;
use vmcore::statistics::free_pages::{FreeDomain, FreeList, FreePages, PhysicalSegment};
use vmcore::units::Hex;

/// Headings of pools; kernels have at most three.
const POOLS: [&str; 4] = ["Pool 0", "Pool 1", "Pool 2", "Pool 3"];

/// Free memory in JSON.
#[derive(Serialize)]
pub struct FreePagesDocument {
    page_size: u64,
    memory_domains: Vec<DomainDocument>,
    segments: Vec<SegmentDocument>,
}

#[derive(Serialize)]
struct DomainDocument {
    domain: u32,
    page_count: Option<u64>,
    lists: Vec<ListDocument>,
}

#[derive(Serialize)]
struct ListDocument {
    page_count: Option<u64>,
    orders: Vec<OrderDocument>,
}

/// The blocks of an order: of each pool, how many are free.
#[derive(Serialize)]
struct OrderDocument {
    block_size: u64,
    pools: Vec<Option<u64>>,
}

#[derive(Serialize)]
struct SegmentDocument {
    start: Hex,
    end: Hex,
    size: u64,
    domain: Option<u32>,
    free_list: Option<Hex>,
    first_page: Hex,
}

pub fn read(typed: TypedMemory<'_>) -> Result<Shown> {
    let free = FreePages::read(typed)?;
    let pools = free.pools().min(POOLS.len());
    let mut headings = vec![right("Domain"), right("List"), right("Order"), right("Size")];
    headings.extend(POOLS.iter().take(pools).map(|name| right(name)));
    let lists = free.domains.iter().flat_map(|domain| (0..).zip(&domain.lists).map(move |list| (domain.domain, list)));
    let rows = lists.flat_map(|(domain, (index, list))| rows(free.page_size, (domain, index), list)).collect();
    Ok(Shown {
        headings,
        rows,
        document: Document { free_memory: Some(FreePagesDocument::new(&free)), ..Document::default() },
        warnings: free.warnings,
    })
}

/// A row for each order, the largest first.
fn rows(page_size: u64, (domain, index): (u32, usize), list: &FreeList) -> Vec<Vec<String>> {
    let orders = (0..).zip(&list.orders).map(|(order, pools)| {
        let size = block_size(page_size, order) / 1024;
        let mut row = vec![domain.to_string(), index.to_string(), order.to_string(), format!("{size}K")];
        row.extend(pools.iter().take(POOLS.len()).map(|count| cell(*count)));
        row
    });
    let mut rows: Vec<_> = orders.collect();
    rows.reverse();
    rows
}

fn block_size(page_size: u64, order: u32) -> u64 {
    1_u64.checked_shl(order).unwrap_or(0).saturating_mul(page_size)
}

impl FreePagesDocument {
    fn new(free: &FreePages) -> Self {
        let domains = free.domains.iter().map(|domain| DomainDocument::new(domain, free.page_size)).collect();
        Self {
            page_size: free.page_size,
            memory_domains: domains,
            segments: free.segments.iter().map(SegmentDocument::new).collect(),
        }
    }
}

impl DomainDocument {
    fn new(domain: &FreeDomain, page_size: u64) -> Self {
        let order = |(order, pools): (u32, &Vec<Option<u64>>)| OrderDocument {
            block_size: block_size(page_size, order),
            pools: pools.clone(),
        };
        let list = |list: &FreeList| ListDocument {
            page_count: list.pages(),
            orders: (0..).zip(&list.orders).map(order).collect(),
        };
        Self { domain: domain.domain, page_count: domain.pages(), lists: domain.lists.iter().map(list).collect() }
    }
}

impl SegmentDocument {
    fn new(segment: &PhysicalSegment) -> Self {
        Self {
            start: Hex(segment.start),
            end: Hex(segment.end),
            size: segment.end - segment.start,
            domain: segment.domain,
            free_list: segment.free_lists.map(Hex),
            first_page: Hex(segment.first_page),
        }
    }
}
