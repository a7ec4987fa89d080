//! The pages that need not be in a dump of the kernel, by their `struct vm_page` and the object that they belong to.
//!
//! A page is named only where both say what it is. Whatever is wired, busy, fictitious, of the kernel's objects, of devices, or
//! cannot be read is not named: page tables, memory of malloc(9) and uma(9), kernel stacks and buffers among them.
//!
//! Sources: `sys/vm/vm_page.h` and `vm_page.c` of FreeBSD 13.0 to 15.1, `vm_phys_is_dumpable()` in `sys/vm/vm_phys.c`.

use super::free_pages::orders;
use super::page_use::PageHolder;
use super::page_use::holders::Holders;
use super::page_use::page::{Page, PageLayout};
use super::page_use::scan::{is_within, set_aside};
use super::page_use::structures::{check_pages, each_page};
use super::physical::{PhysicalSegment, available, segments};
use crate::error::{Error, Result};
use crate::kernel::TypedMemory;
use crate::minidump::left_out::{PageRange, Spare, Term};

/// `VPB_UNBUSIED`: nobody changes the page or what it holds.
const UNBUSIED: u64 = 1;
/// `VPB_FREED`.
const FREED: u64 = 0xffff_fffe;

/// Tells of the pages that need not be in a dump, in ascending order of their segments. Pages are freed and allocated
/// meanwhile: what is told of each is what it was once.
///
/// # Errors
///
/// The types do not have what tells it, as of kernels before FreeBSD 13.0; the kernel's tables of its pages cannot be read, or
/// make no sense.
pub fn spare_pages(typed: TypedMemory<'_>, show: &mut dyn FnMut(PageRange)) -> Result<()> {
    let layout = PageLayout::new(typed)?;
    if !layout.tells_states() {
        return Err(Error::Unsupported(
            "struct vm_page of this kernel does not tell which pages can be left out: it has no ref_count, busy_lock, dirty or flags"
                .to_owned(),
        ));
    }
    let page_size = typed.memory.page_size();
    let segments = segments(typed)?;
    check_pages(&segments, page_size)?;
    let set_aside = match set_aside(typed, &layout) {
        // Kernels before FreeBSD 15 set none aside.
        Err(Error::Unsupported(_)) => Vec::new(),
        found => found?,
    };
    let mut sorter = Sorter {
        orders: orders(typed, &typed.variable("vm_phys_free_queues")?)?,
        available: available(typed)?,
        set_aside,
        holders: Holders::new(typed, true),
        page_size,
        size: layout.size,
    };
    for segment in &segments {
        let pages = segment.pages(page_size);
        each_page(typed, &layout, segment, page_size, |index, read| match read {
            // Nothing is known of them.
            Err(unreadable) => unreadable.pages,
            Ok(page) => {
                let (spare, count) = sorter.spare(segment, index, page);
                let count = count.min(pages - index);
                let at = |index: u64| segment.start.saturating_add(index.saturating_mul(page_size));
                if let Some(spare) = spare {
                    show(PageRange { start: at(index), end: at(index.saturating_add(count)), spare });
                }
                count
            }
        });
    }
    Ok(())
}

/// Tells what pages are.
struct Sorter<'a> {
    orders: u64,
    /// Physical addresses that the kernel was given to allocate.
    available: Vec<(u64, u64)>,
    /// Addresses of structures of pages that are never freed.
    set_aside: Vec<(u64, u64)>,
    holders: Holders<'a>,
    page_size: u64,
    /// Bytes of a structure.
    size: u64,
}

impl Sorter<'_> {
    /// What a page is, and how many with it are the same.
    fn spare(&mut self, segment: &PhysicalSegment, index: u64, page: &Page) -> (Option<Spare>, u64) {
        if page.is_fictitious {
            return (None, 1);
        }
        if page.object == 0 && page.order < self.orders {
            return (Some(Spare::Of(Some(Term::Free))), 1_u64 << page.order);
        }
        let structure = segment.first_page.saturating_add(index.saturating_mul(self.size));
        if is_within(&self.set_aside, structure) {
            return (None, 1);
        }
        if page.is_undumpable {
            return (Some(Spare::NotForDumps), 1);
        }
        let physical = segment.start.saturating_add(index.saturating_mul(self.page_size));
        (self.spare_of(page, physical).map(Spare::Of), 1)
    }

    /// The term of a page that begins no free block; `None` of one that is kept.
    fn spare_of(&mut self, page: &Page, physical: u64) -> Option<Option<Term>> {
        if page.object == 0 {
            // CPUs keep free pages to allocate them quickly, and reservations have such. What was never available, the
            // kernel's own image among it, looks the same.
            let is_free = page.references == 0 && page.busy == Some(FREED) && is_within(&self.available, physical);
            return is_free.then_some(Some(Term::Free));
        }
        if page.is_wired != Some(false) || page.busy != Some(UNBUSIED) {
            return None;
        }
        match self.holders.of_object(page.object) {
            Ok(PageHolder::File) => Some(Some(Term::Cache).filter(|_| page.is_clean)),
            Ok(PageHolder::Anonymous | PageHolder::Shared) => Some(Some(Term::User)),
            // Files of tmpfs(5), say: what is in them is nowhere else.
            Ok(PageHolder::Swappable) => Some(None),
            _ => None,
        }
    }
}
