//! Where free memory is: the blocks of the kernel's free lists by their addresses, which the structures of their first pages
//! tell (`struct vm_page`, `sys/vm/vm_page.h`).

use super::free_pages::orders;
use super::page_use::page::PageLayout;
use super::page_use::structures::{Unreadable, check_pages, each_page};
use super::physical::{PhysicalSegment, segments};
use crate::bounds::{saturating_u32, saturating_u64};
use crate::error::Result;
use crate::kernel::TypedMemory;
use crate::units::{Hex, counted};
use crate::warnings::Warnings;

/// A block of free memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeBlock {
    /// Its first physical address.
    pub start: u64,
    /// The first address after it.
    pub end: u64,
    /// It has 2^order pages.
    pub order: u32,
    /// The memory domain; `None` where this kernel has none.
    pub domain: Option<u32>,
}

/// All free blocks that could be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeBlocks {
    /// What the kernel allocates pages from, in ascending order.
    pub segments: Vec<PhysicalSegment>,
    /// What cannot be read, or cannot be so.
    pub warnings: Vec<String>,
}

impl FreeBlocks {
    /// Looks for free blocks, and shows each, in ascending order: there can be millions.
    ///
    /// # Errors
    ///
    /// The kernel has no such structures, or says that it has more pages than are looked at.
    pub fn each(typed: TypedMemory<'_>, mut show: impl FnMut(FreeBlock)) -> Result<Self> {
        let layout = PageLayout::new(typed)?;
        let page_size = typed.memory.page_size();
        let segments = segments(typed)?;
        check_pages(&segments, page_size)?;
        let orders = orders(typed, &typed.variable("vm_phys_free_queues")?)?;
        let mut warnings = Warnings::default();
        for segment in &segments {
            let all = segment.pages(page_size);
            each_page(typed, &layout, segment, page_size, |index, read| match read {
                Err(Unreadable { pages, error }) => {
                    let pages = counted(pages, "page");
                    warnings.add(|| format!("whether {pages} are free cannot be read: {error}"));
                    1
                }
                Ok(page) if page.order < orders && page.object == 0 => {
                    let wanted = 1_u64.checked_shl(saturating_u32(page.order)).map_or(u64::MAX, |pages| pages);
                    let pages = wanted.min(all - index);
                    let start = segment.start.saturating_add(index.saturating_mul(page_size));
                    if pages < wanted {
                        let at = Hex(start);
                        warnings.add(|| format!("the free block of {wanted} pages at {at} ends behind its segment"));
                    }
                    let end = saturating_u64(u128::from(start) + u128::from(pages) * u128::from(page_size));
                    let order = saturating_u32(page.order);
                    show(FreeBlock { start, end, order, domain: segment.domain });
                    pages
                }
                Ok(_) => 1,
            });
        }
        Ok(Self { segments, warnings: warnings.into_list("warnings") })
    }
}
