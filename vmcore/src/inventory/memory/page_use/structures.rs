//! Reads the `struct vm_page` of each page of a segment, many at once.

use super::super::physical::PhysicalSegment;
use super::page::{Page, PageLayout};
use crate::bounds::saturating_usize;
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::kernel::TypedMemory;

/// Structures that are read at once.
const BLOCK: u64 = 1 << 13;
/// Pages that are looked at: 8 TiB in pages of 4 KiB.
const MAX_PAGES: u64 = 1 << 31;
/// Pages of memory with structures that cannot be read, after which those of a segment are given up.
const MAX_UNREADABLE: u32 = 1 << 14;

/// Pages whose structures cannot be read.
pub(in crate::inventory::memory) struct Unreadable {
    /// How many there are.
    pub pages: u64,
    /// Why the first one cannot.
    pub error: Fault,
}

/// Refuses more pages than are looked at.
pub(in crate::inventory::memory) fn check_pages(segments: &[PhysicalSegment], page_size: u64) -> Result<()> {
    let total = segments.iter().fold(0_u64, |sum, segment| sum.saturating_add(segment.pages(page_size)));
    if total > MAX_PAGES {
        return Err(Error::Format(format!("vm_phys_segs has {total} pages, more than are counted")));
    }
    Ok(())
}

/// Shows the pages of a segment by their index in it, in ascending order. What it is shown to says how many pages it has taken
/// with that one, which are not shown.
pub(in crate::inventory::memory) fn each_page(
    typed: TypedMemory<'_>,
    layout: &PageLayout,
    segment: &PhysicalSegment,
    page_size: u64,
    mut show: impl FnMut(u64, std::result::Result<&Page, Unreadable>) -> u64,
) {
    let pages = segment.pages(page_size);
    let (mut index, mut block, mut unreadable) = (0, BLOCK, 0_u32);
    while index < pages {
        let at = segment.first_page.saturating_add(index.saturating_mul(layout.size));
        let count = block.min(pages - index);
        let mut bytes = vec![0; saturating_usize(count.saturating_mul(layout.size))];
        match typed.memory.read(at, &mut bytes) {
            Ok(()) => {
                let first = index;
                for (at, bytes) in (first..).zip(bytes.chunks_exact(saturating_usize(layout.size).max(1))) {
                    if at == index {
                        index = index.saturating_add(show(at, Ok(&layout.page(bytes))).max(1));
                    }
                }
                block = BLOCK.min(block.saturating_mul(2));
            }
            Err(_) if count > 1 => block = count / 2,
            Err(error) => {
                unreadable = unreadable.saturating_add(1);
                // What is in the same page of memory is not there either.
                let rest = (page_size - at % page_size).div_ceil(layout.size.max(1));
                let rest = if unreadable < MAX_UNREADABLE { rest } else { u64::MAX };
                let rest = rest.min(pages - index);
                show(index, Err(Unreadable { pages: rest, error }));
                index = index.saturating_add(rest.max(1));
            }
        }
    }
}
