//! Free pages by memory domain, free list, pool and order: what `sysctl vm.phys_free` and `vm.phys_segs` print.
//!
//! Free memory is in blocks of 2^order pages. A free list has the blocks of a range of physical addresses, a pool those
//! that pages of one purpose are taken from, first.
//!
//! Source: `sysctl_vm_phys_free()` and `sysctl_vm_phys_segs()` in `sys/vm/vm_phys.c`.

pub use super::physical::PhysicalSegment;
use super::physical::{domains, segments, used};
use crate::bounds::{saturating_u32, saturating_u64};
use crate::error::{Error, Result};
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::{Object, TypedMemory};
use crate::table::{Column, Table, cell, right};
use crate::units::Hex;
use serde::{Serialize, Serializer};

/// More orders than there can be: a block would be larger than the address space.
const MAX_ORDERS: u64 = 52;
/// Headings of pools; kernels have at most three.
const POOLS: [&str; 4] = ["Pool 0", "Pool 1", "Pool 2", "Pool 3"];

/// The free memory of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreePages {
    /// Bytes of a page.
    pub page_size: u64,
    /// Of each memory domain.
    pub domains: Vec<FreeDomain>,
    /// The segments of physical memory, in ascending order.
    pub segments: Vec<PhysicalSegment>,
    /// What cannot be so.
    pub warnings: Vec<String>,
}

/// The free memory of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeDomain {
    /// The domain's number.
    pub domain: u32,
    /// Its free lists, by their number.
    pub lists: Vec<FreeList>,
}

/// A free list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeList {
    /// For each order, for each pool: how many blocks are free; `None` where the kernel's count makes no sense.
    pub orders: Vec<Vec<Option<u64>>>,
}

impl FreeList {
    /// Pages of the blocks; `None` if one of the counts is not known.
    pub fn pages(&self) -> Option<u64> {
        let blocks = (0..).zip(&self.orders).flat_map(|(order, pools)| pools.iter().map(move |count| (order, *count)));
        blocks.into_iter().try_fold(0_u64, |sum, (order, count)| sum.checked_add(count?.checked_mul(1 << order)?))
    }
}

impl FreeDomain {
    /// Free pages; `None` if one of the counts is not known.
    pub fn pages(&self) -> Option<u64> {
        self.lists.iter().try_fold(0_u64, |sum, list| sum.checked_add(list.pages()?))
    }
}

impl FreePages {
    /// How many pools each free list has.
    pub fn pools(&self) -> usize {
        let lists = self.domains.iter().flat_map(|domain| &domain.lists);
        lists.flat_map(|list| &list.orders).map(Vec::len).max().unwrap_or(0)
    }

    /// Reads the kernel's counts of free blocks, and its segments.
    ///
    /// # Errors
    ///
    /// The kernel has no such variables, they cannot be read, or there are more of one than its types have room for.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let queues = typed.variable("vm_phys_free_queues")?;
        let domains = domains(typed, &queues)?;
        let lists = used(&typed.variable("vm_nfreelists")?, "vm_nfreelists", &queues.index(0)?)?;
        let orders = orders(typed, &queues)?;
        let mut reader = Reader::new(typed);
        let queues = queues.fetched()?;
        let domains = (0..domains).map(|domain| {
            let lists = (0..lists)
                .map(|list| free_list(&mut reader, &queues.index(domain)?.index(list)?, orders, (domain, list)));
            Ok(FreeDomain { domain: saturating_u32(domain), lists: lists.collect::<Result<_>>()? })
        });
        Ok(Self {
            page_size: typed.memory.page_size(),
            domains: domains.collect::<Result<_>>()?,
            segments: segments(typed)?,
            warnings: reader.into_warnings(),
        })
    }
}

impl Topic for FreePages {
    fn tables(&self) -> Vec<Table> {
        let pools = self.pools().min(POOLS.len());
        let mut columns: Vec<Column> = ["Domain", "List", "Order", "Size"].map(right).into();
        columns.extend(POOLS.iter().take(pools).map(|name| right(name)));
        let lists =
            self.domains.iter().flat_map(|domain| (0..).zip(&domain.lists).map(move |list| (domain.domain, list)));
        let rows = lists.flat_map(|(domain, (index, list))| rows(self.page_size, (domain, index), list));
        vec![Table::new(columns, rows.collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
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

/// How far the allocation of a block of an order would fail because memory is fragmented, in thousandths, not because there is
/// too little: 1000 - 1000 * free pages / pages of the block / free blocks, of a domain whose blocks are these, by order and
/// count; 0 without any (`vm_phys_fragmentation_index()`, as `sysctl vm.phys_frag_idx` prints it).
pub fn fragmentation_index(order: u32, blocks: &[(u32, u64)]) -> i64 {
    let pages = blocks.iter().map(|(order, count)| u128::from(*count) << (*order).min(63)).sum::<u128>();
    let count = blocks.iter().map(|(_, count)| u128::from(*count)).sum::<u128>();
    let wanted = 1_u128 << order.min(63);
    let part = (pages.saturating_mul(1000) / wanted).checked_div(count);
    part.map_or(0, |part| 1000 - saturating_u64(part).min(1 << 62).cast_signed())
}

fn block_size(page_size: u64, order: u32) -> u64 {
    1_u64.checked_shl(order).unwrap_or(0).saturating_mul(page_size)
}

/// Free memory in JSON.
#[derive(Serialize)]
struct FreePagesDocument<'a> {
    page_size: u64,
    memory_domains: Vec<DomainDocument<'a>>,
    segments: Vec<SegmentDocument>,
}

#[derive(Serialize)]
struct DomainDocument<'a> {
    domain: u32,
    page_count: Option<u64>,
    lists: Vec<ListDocument<'a>>,
}

#[derive(Serialize)]
struct ListDocument<'a> {
    page_count: Option<u64>,
    orders: Vec<OrderDocument<'a>>,
}

/// The blocks of an order: of each pool, how many are free.
#[derive(Serialize)]
struct OrderDocument<'a> {
    block_size: u64,
    pools: &'a [Option<u64>],
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

impl Serialize for FreePages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = FreePagesDocument {
            page_size: self.page_size,
            memory_domains: self.domains.iter().map(|domain| DomainDocument::new(domain, self.page_size)).collect(),
            segments: self.segments.iter().map(SegmentDocument::new).collect(),
        };
        document.serialize(serializer)
    }
}

impl<'a> DomainDocument<'a> {
    fn new(domain: &'a FreeDomain, page_size: u64) -> Self {
        let order =
            |(order, pools): (u32, &'a Vec<_>)| OrderDocument { block_size: block_size(page_size, order), pools };
        let list = |list: &'a FreeList| ListDocument {
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
            size: segment.end.saturating_sub(segment.start),
            domain: segment.domain,
            free_list: segment.free_lists.map(Hex),
            first_page: Hex(segment.first_page),
        }
    }
}

/// How many orders of blocks there are: i386 has fewer than its arrays have room for, with one of its two page tables.
///
/// # Errors
///
/// The type of the free lists is not known, or the number of orders makes no sense.
pub(super) fn orders(typed: TypedMemory<'_>, queues: &Object<'_>) -> Result<u64> {
    let pool = queues.index(0)?.index(0)?.index(0)?;
    let orders = match typed.variable("i386_pmap_VM_NFREEORDER") {
        Ok(orders) => used(&orders, "i386_pmap_VM_NFREEORDER", &pool)?,
        Err(_) => pool.count().unwrap_or(0),
    };
    if orders == 0 || orders > MAX_ORDERS {
        return Err(Error::Unsupported(format!("the kernel's free lists have {orders} orders of blocks")));
    }
    Ok(orders)
}

fn free_list(reader: &mut Reader<'_>, list: &Object<'_>, orders: u64, (domain, index): (u64, u64)) -> Result<FreeList> {
    let pools = list.count().unwrap_or(0);
    let mut blocks = |order: u64, pool: u64| {
        let count = list.index(pool)?.index(order)?.member("lcnt")?.signed()?;
        if count < 0 {
            reader.warn(|| {
                format!("pool {pool} of free list {index} of domain {domain} has {count} blocks of order {order}")
            });
        }
        Ok(u64::try_from(count).ok())
    };
    let orders = (0..orders).map(|order| (0..pools).map(|pool| blocks(order, pool)).collect());
    Ok(FreeList { orders: orders.collect::<Result<_>>()? })
}
