//! Where the pages of a process lie: physical address, NUMA domain, and what that adds up to.

use crate::error::Result;
use crate::host::{Backing, Mapping, PageState, Pid, ProcessHost, in_parts, superpage_size};
use crate::process_map::PagesByDomain;
use serde::Serialize;

/// A page, or the address that was asked for, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Its virtual address.
    pub address: u64,
    /// What the kernel says.
    pub state: PageState,
}

/// What to do with a mapping before its pages are looked up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Preparation {
    /// Make every page present.
    pub touch: bool,
    /// Lock all pages into memory.
    pub lock: bool,
}

/// Looks up addresses of a process, or of the calling one: so many at once that there is little to wait for, and not
/// more than memory is sure to have room for.
///
/// ```
/// use memtool::host::{self, Backing, PageState, Selection};
/// use memtool::paddr::{Preparation, look_up, pages, prepare};
/// use std::path::Path;
///
/// let host = host::open_for_processes(&Selection { machine: Some(Path::new("demo")), device: None })?;
/// let page_size = host.page_size()?;
/// let mapping = prepare(&*host, &Backing::Anonymous { length: page_size }, Preparation { touch: true, lock: false })?;
/// for page in look_up(&*host, None, pages(&*mapping, page_size)) {
///     assert!(matches!(page?.state, PageState::Mapped { .. }));
/// }
/// # Ok::<(), memtool::Error>(())
/// ```
pub fn look_up(
    host: &dyn ProcessHost,
    process: Option<Pid>,
    addresses: impl Iterator<Item = u64>,
) -> impl Iterator<Item = Result<Page>> {
    in_parts(addresses).flat_map(move |part| {
        let (states, error) = match host.page_states(process, &part) {
            Ok(states) => (states, None),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        part.into_iter().zip(states).map(|(address, state)| Ok(Page { address, state })).chain(error)
    })
}

/// Maps a backing and prepares it.
///
/// # Errors
///
/// It cannot be mapped, locked or brought in.
pub fn prepare(host: &dyn ProcessHost, backing: &Backing, preparation: Preparation) -> Result<Box<dyn Mapping>> {
    let page_size = host.page_size()?;
    let mut mapping = host.map(backing)?;
    if preparation.lock {
        mapping.lock()?;
    }
    if preparation.touch {
        for address in pages(&*mapping, page_size) {
            mapping.touch(address)?;
        }
    }
    Ok(mapping)
}

/// The addresses of a mapping's pages.
pub fn pages(mapping: &dyn Mapping, page_size: u64) -> impl Iterator<Item = u64> + use<> {
    let start = mapping.address();
    (0..mapping.length() / page_size).map(move |index| start + index * page_size)
}

/// Pages one after another in the same state; mapped ones are contiguous in physical memory and in one
/// domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first page.
    pub first: Page,
    /// How many pages.
    pub pages: u64,
}

impl Run {
    /// Whether a page continues the run.
    fn continues(&self, page: &Page, page_size: u64) -> bool {
        let offset = self.pages * page_size;
        if page.address != self.first.address.wrapping_add(offset) {
            return false;
        }
        match (self.first.state, page.state) {
            (PageState::Mapped { paddr: from, domain: a }, PageState::Mapped { paddr: to, domain: b }) => {
                a == b && to == from.wrapping_add(offset)
            }
            (a, b) => a == b,
        }
    }

    /// Superpages' worth of addresses in the run that one superpage each could map: mapped, and with virtual
    /// and physical addresses on the same border.
    fn possible_superpages(&self, page_size: u64) -> u64 {
        let superpage = superpage_size(page_size);
        let PageState::Mapped { paddr, .. } = self.first.state else { return 0 };
        let start = self.first.address;
        if start % superpage != paddr % superpage {
            return 0;
        }
        let end = start.saturating_add(self.pages * page_size);
        let first = start.checked_next_multiple_of(superpage).unwrap_or(end);
        end.saturating_sub(first) / superpage
    }
}

/// Finds the runs in a sequence of pages.
#[derive(Debug)]
pub struct Runs {
    page_size: u64,
    current: Option<Run>,
}

impl Runs {
    /// Runs of pages of this size.
    pub fn new(page_size: u64) -> Self {
        Self { page_size, current: None }
    }

    /// Takes the next page; returns the run that it ends, if it does.
    pub fn push(&mut self, page: Page) -> Option<Run> {
        match &mut self.current {
            Some(run) if run.continues(&page, self.page_size) => {
                run.pages += 1;
                None
            }
            current => current.replace(Run { first: page, pages: 1 }),
        }
    }

    /// The last run.
    pub fn finish(&mut self) -> Option<Run> {
        self.current.take()
    }
}

/// What a set of pages adds up to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Pages in all.
    #[serde(rename = "page_count")]
    pub pages: u64,
    /// Pages that are mapped.
    #[serde(rename = "mapped_count")]
    pub mapped: u64,
    /// Pages that are valid, but not mapped now.
    #[serde(rename = "valid_count")]
    pub valid: u64,
    /// Pages that no map entry covers.
    #[serde(rename = "invalid_count")]
    pub invalid: u64,
    /// Mapped pages by NUMA domain.
    #[serde(flatten)]
    pub domains: PagesByDomain,
    /// Runs of physically contiguous mapped pages.
    #[serde(rename = "contiguous_run_count")]
    pub contiguous_runs: u64,
    /// Pages in the longest of them.
    #[serde(rename = "longest_run_page_count")]
    pub longest_run: u64,
    /// How many superpages could map what is mapped, as it lies.
    #[serde(rename = "possible_superpage_count")]
    pub possible_superpages: u64,
    /// Bytes of a superpage.
    pub superpage_size: u64,
}

impl Summary {
    /// An empty summary for a page size.
    pub fn new(page_size: u64) -> Self {
        Self { superpage_size: superpage_size(page_size), ..Self::default() }
    }

    /// Adds a run.
    pub fn add(&mut self, run: &Run, page_size: u64) {
        self.pages += run.pages;
        match run.first.state {
            PageState::Invalid => self.invalid += run.pages,
            PageState::Valid => self.valid += run.pages,
            PageState::Mapped { domain, .. } => {
                self.mapped += run.pages;
                self.domains.add(domain, run.pages);
                self.contiguous_runs += 1;
                self.longest_run = self.longest_run.max(run.pages);
                self.possible_superpages += run.possible_superpages(page_size);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const PAGE: u64 = 4096;
    const SUPER: u64 = 2 << 20;

    fn summary(pages: impl IntoIterator<Item = Page>) -> Summary {
        let mut runs = Runs::new(PAGE);
        let mut summary = Summary::new(PAGE);
        for page in pages {
            if let Some(run) = runs.push(page) {
                summary.add(&run, PAGE);
            }
        }
        if let Some(run) = runs.finish() {
            summary.add(&run, PAGE);
        }
        summary
    }

    fn mapped(address: u64, paddr: u64, domain: u32) -> Page {
        let domain = Some(domain);
        Page { address, state: PageState::Mapped { paddr, domain } }
    }

    fn block(address: u64, paddr: u64, pages: u64, domain: u32) -> impl Iterator<Item = Page> {
        (0..pages).map(move |page| mapped(address + page * PAGE, paddr + page * PAGE, domain))
    }

    #[test]
    fn superpages_need_the_same_border_in_both_address_spaces() {
        assert_eq!(summary(block(4 * SUPER, 8 * SUPER, 1024, 0)).possible_superpages, 2);
        assert_eq!(summary(block(4 * SUPER, 8 * SUPER + PAGE, 1024, 0)).possible_superpages, 0);
        assert_eq!(summary(block(4 * SUPER, 8 * SUPER, 511, 0)).possible_superpages, 0);
        assert_eq!(summary(block(4 * SUPER + PAGE, 8 * SUPER + PAGE, 1022, 0)).possible_superpages, 0);
        assert_eq!(summary(block(4 * SUPER + PAGE, 8 * SUPER + PAGE, 1023, 0)).possible_superpages, 1);
    }

    #[test]
    fn a_run_ends_where_memory_is_not_contiguous_or_the_domain_changes() {
        let pages = block(0, 0x10000, 3, 0).chain(block(3 * PAGE, 0x13000, 2, 1)).chain(block(5 * PAGE, 0x90000, 1, 1));
        let summary = summary(pages);
        assert_eq!((summary.contiguous_runs, summary.longest_run), (3, 3));
        assert_eq!(summary.domains.by_domain, BTreeMap::from([(0, 3), (1, 3)]));
    }

    #[test]
    fn a_page_of_no_known_domain_is_counted_apart_and_ends_a_run() {
        let nowhere = Page { address: PAGE, state: PageState::Mapped { paddr: 0x11000, domain: None } };
        let summary = summary([mapped(0, 0x10000, 0), nowhere, mapped(2 * PAGE, 0x12000, 0)]);
        assert_eq!((summary.mapped, summary.contiguous_runs, summary.domains.unknown_domain), (3, 3, 1));
        assert_eq!(summary.domains.by_domain, BTreeMap::from([(0, 2)]));
        assert_eq!(summary.domains.total(), 3);
    }

    #[test]
    fn pages_are_counted_by_state() {
        let state = |page: u64, state| Page { address: page * PAGE, state };
        let summary = summary([
            state(0, PageState::Valid),
            state(1, PageState::Valid),
            state(2, PageState::Invalid),
            mapped(3 * PAGE, 0x5000, 1),
        ]);
        assert_eq!((summary.pages, summary.valid, summary.invalid, summary.mapped), (4, 2, 1, 1));
    }
}
