//! Counts pages by who holds them; of a free block only the first one tells.

use super::super::free_pages::orders;
use super::super::physical::{PhysicalSegment, available, domains, segments};
use super::buffers::buffer_pages;
use super::held::{DomainUse, HeldPages, PageHolder};
use super::holders::Holders;
use super::page::{Page, PageLayout};
use super::reservations::{ReservationLayout, UnusedPages};
use super::structures::{Unreadable, check_pages, each_page};
use crate::bounds::saturating_usize;
use crate::error::Result;
use crate::kernel::TypedMemory;
use crate::units::Hex;
use crate::warnings::Warnings;
use std::collections::HashSet;
use std::rc::Rc;

/// More blocks of pages than are set aside.
const MAX_SET_ASIDE: usize = 1 << 16;

/// Counts pages.
pub(super) struct Scanner<'a> {
    typed: TypedMemory<'a>,
    layout: Rc<PageLayout>,
    segments: Vec<PhysicalSegment>,
    page_size: u64,
    orders: u64,
    holders: Holders<'a>,
    buffers: HashSet<u64>,
    reservations: Option<ReservationLayout>,
    /// Addresses of structures of pages that are set aside: from one to another.
    set_aside: Vec<(u64, u64)>,
    /// Physical addresses that were available.
    available: Option<Vec<(u64, u64)>>,
    /// What nothing was counted of yet.
    unused: Vec<HeldPages>,
    /// What was counted; the last one is that of the segment that is looked at.
    pub domains: Vec<DomainUse>,
    pub warnings: Warnings,
}

/// The pages of a segment, as they are looked at.
struct Progress<'s> {
    segment: &'s PhysicalSegment,
    count: u64,
    /// Reserved pages that are not in use, of which the first ones are the last not behind the page.
    reserved: &'s [UnusedPages],
}

impl<'a> Scanner<'a> {
    pub fn new(typed: TypedMemory<'a>, queues: usize) -> Result<Self> {
        let layout = PageLayout::new(typed)?;
        let page_size = typed.memory.page_size();
        let segments = segments(typed)?;
        check_pages(&segments, page_size)?;
        let mut warnings = Warnings::default();
        let is_known = layout.is_counted();
        let unused = HeldPages { holder: PageHolder::Free, pages: 0, wired: Some(0), queued: vec![0; queues] };
        Ok(Self {
            orders: orders(typed, &typed.variable("vm_phys_free_queues")?)?,
            buffers: warnings
                .keep(|| "the buffers of file systems".to_owned(), buffer_pages(typed))
                .unwrap_or_default(),
            set_aside: warnings
                .keep(|| "the pages set aside".to_owned(), set_aside(typed, &layout))
                .unwrap_or_default(),
            available: warnings.keep(|| "phys_avail".to_owned(), available(typed)),
            reservations: ReservationLayout::new(typed).ok(),
            holders: Holders::new(typed, is_known),
            unused: PageHolder::ALL.iter().map(|holder| HeldPages { holder: *holder, ..unused.clone() }).collect(),
            domains: Vec::new(),
            typed,
            layout: Rc::new(layout),
            segments,
            page_size,
            warnings,
        })
    }

    /// Pages that were counted.
    pub fn total(&self) -> u64 {
        self.uses().iter().fold(0, |sum, held| sum.saturating_add(held.pages))
    }

    /// What was counted in all domains.
    pub fn uses(&self) -> Vec<HeldPages> {
        let add = |uses: Vec<HeldPages>, domain: &DomainUse| {
            uses.into_iter().zip(&domain.uses).map(|(sum, held)| sum.with(held)).collect()
        };
        self.domains.iter().fold(self.unused.clone(), add)
    }

    /// Pages of the segments that were not available.
    pub fn unavailable(&self) -> Option<u64> {
        let available = self.available.as_ref()?;
        let overlap = |segment: &PhysicalSegment, (start, end): &(u64, u64)| {
            segment.end.min(*end).saturating_sub(segment.start.max(*start)) / self.page_size
        };
        let both = self.segments.iter().flat_map(|segment| available.iter().map(move |range| overlap(segment, range)));
        Some(self.total().saturating_sub(both.fold(0, u64::saturating_add)))
    }

    /// Looks at all pages.
    pub fn scan(&mut self) {
        for segment in std::mem::take(&mut self.segments) {
            self.begin_domain(segment.domain);
            self.scan_segment(&segment);
            self.segments.push(segment);
        }
    }

    /// Counts for a domain from now on.
    fn begin_domain(&mut self, domain: Option<u32>) {
        let known = self.domains.iter().position(|known| known.domain == domain);
        let counted = known.map(|index| self.domains.remove(index));
        self.domains.push(counted.unwrap_or_else(|| DomainUse { domain, uses: self.unused.clone() }));
    }

    fn scan_segment(&mut self, segment: &PhysicalSegment) {
        let reserved = self.reservations.as_ref().map(|layout| layout.unused(self.typed, segment, self.page_size));
        let reserved =
            reserved.and_then(|read| self.warnings.keep(|| "reservations".to_owned(), read)).unwrap_or_default();
        let mut progress = Progress { segment, count: segment.pages(self.page_size), reserved: &reserved };
        let (typed, layout, page_size) = (self.typed, Rc::clone(&self.layout), self.page_size);
        each_page(typed, &layout, segment, page_size, |index, read| match read {
            Ok(page) => self.page(&mut progress, index, page),
            Err(Unreadable { pages, error }) => {
                self.warnings.add(|| format!("the structures of {pages} pages cannot be read: {error}"));
                self.add(PageHolder::Unreadable, pages);
                pages
            }
        });
    }

    /// Counts a page, and those that are free with it: how many these are.
    fn page(&mut self, progress: &mut Progress<'_>, index: u64, page: &Page) -> u64 {
        if page.order < self.orders && page.object == 0 {
            let wanted = 1_u64 << page.order;
            let pages = wanted.min(progress.count - index);
            if pages < wanted {
                let at = Hex(progress.segment.start.saturating_add(index.saturating_mul(self.page_size)));
                self.warnings.add(|| format!("the free block of {wanted} pages at {at} ends behind its segment"));
            }
            self.add(PageHolder::Free, pages);
            return pages;
        }
        let holder = self.holder(progress, index, page);
        self.add(holder, 1);
        self.add_state(holder, page);
        1
    }

    fn holder(&mut self, progress: &mut Progress<'_>, index: u64, page: &Page) -> PageHolder {
        let address = progress.segment.first_page.saturating_add(index.saturating_mul(self.layout.size));
        if page.is_fictitious {
            return PageHolder::Fictitious;
        }
        if page.object != 0 {
            return match self.holders.of_object(page.object) {
                Ok(PageHolder::File) if self.buffers.contains(&address) => PageHolder::Buffer,
                Ok(holder) => holder,
                Err(error) => {
                    self.warnings.add(|| format!("the object at {} cannot be read: {error}", Hex(page.object)));
                    PageHolder::Other
                }
            };
        }
        if is_within(&self.set_aside, address) {
            return PageHolder::SetAside;
        }
        if page.references != 0 {
            return PageHolder::Wired;
        }
        if progress.is_reserved(index) {
            return PageHolder::Reserved;
        }
        let physical = progress.segment.start.saturating_add(index.saturating_mul(self.page_size));
        match &self.available {
            Some(available) if is_within(available, physical) => PageHolder::Unreferenced,
            Some(_) => PageHolder::Startup,
            None => PageHolder::Other,
        }
    }

    fn held(&mut self, holder: PageHolder) -> Option<&mut HeldPages> {
        self.domains.last_mut()?.uses.get_mut(holder as usize).filter(|held| held.holder == holder)
    }

    fn add(&mut self, holder: PageHolder, pages: u64) {
        if let Some(held) = self.held(holder) {
            held.pages = held.pages.saturating_add(pages);
        }
    }

    /// Counts whether a page is wired, and its queue. One that is set aside has the number of those behind it there.
    fn add_state(&mut self, holder: PageHolder, page: &Page) {
        let Some(held) = self.held(holder) else { return };
        let is_wired = if holder == PageHolder::SetAside { Some(false) } else { page.is_wired };
        held.wired = held.wired.zip(is_wired).map(|(count, is_wired)| count.saturating_add(is_wired.into()));
        let queue = page.queue.and_then(|queue| held.queued.get_mut(saturating_usize(queue)));
        if let Some(count) = queue {
            *count = count.saturating_add(1);
        }
    }
}

impl Progress<'_> {
    /// Whether a page is in a reservation and not in use; asked of pages in ascending order.
    fn is_reserved(&mut self, index: u64) -> bool {
        while let Some((_, rest)) = self.reserved.split_first()
            && rest.first().is_some_and(|next| next.first <= index)
        {
            self.reserved = rest;
        }
        let bit = self.reserved.first().and_then(|pages| Some((pages.bits, index.checked_sub(pages.first)?)));
        bit.is_some_and(|(bits, place)| place < 64 && bits >> place & 1 == 1)
    }
}

/// Whether one of ranges, which do not overlap and are in ascending order, has an address.
pub(in crate::inventory::memory) fn is_within(ranges: &[(u64, u64)], address: u64) -> bool {
    let behind = ranges.partition_point(|(start, _)| *start <= address);
    behind.checked_sub(1).and_then(|last| ranges.get(last)).is_some_and(|(_, end)| address < *end)
}

/// The structures of pages that are set aside for what is never freed: each in the queue stands for itself and for as many
/// behind it as its references are.
pub(in crate::inventory::memory) fn set_aside(typed: TypedMemory<'_>, layout: &PageLayout) -> Result<Vec<(u64, u64)>> {
    let array = typed.variable("vm_dom")?;
    let mut found = Vec::new();
    for domain in 0..domains(typed, &array)? {
        let first = array.index(domain)?.member("vmd_nofreeq.tqh_first")?;
        for page in first.chain("plinks.q.tqe_next", MAX_SET_ASIDE)? {
            let pages = page.member("ref_count")?.unsigned()?.saturating_add(1);
            found.push((page.address(), page.address().saturating_add(pages.saturating_mul(layout.size))));
        }
    }
    found.sort_unstable();
    Ok(found)
}
