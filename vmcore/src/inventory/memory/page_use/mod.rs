//! Who holds the memory: every page of the kernel's segments of physical memory by what it is used for, as its
//! `struct vm_page` and the object that it belongs to tell.
//!
//! What they do not tell is not guessed: memory of the zone allocator and page tables are either of the kernel's object or
//! have none. How much of both is in zones, and in those that ZFS has its cache in, the zones tell.
//!
//! Sources: `sys/vm/vm_page.h`, `vm_page.c`, `vm_phys.c`, `vm_object.h`, `vm_reserv.c`, `sys/kern/vfs_bio.c`.

mod buffers;
mod held;
pub(super) mod holders;
pub(super) mod page;
mod reservations;
pub(super) mod scan;
pub(super) mod structures;

pub use held::{DomainUse, HeldPages, PageHolder};

use super::page_queues::queue_names;
use super::zones::Zones;
use crate::error::Result;
use crate::inventory::source::{Source, Topic};
use crate::table::{Table, cell, left, right};
use crate::text::Name;
use scan::Scanner;
use serde::{Serialize, Serializer};

/// Columns of page queues, by the kernel's names of them.
const QUEUES: [(&str, &str); 4] =
    [("inactive", "Inactive"), ("active", "Active"), ("laundry", "Laundry"), ("unswappable", "Unswappable")];

/// The use of all pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageUse {
    /// Bytes of a page.
    pub page_size: u64,
    /// Pages by who holds them, in the order of [`PageHolder::ALL`]. Each page is in one of them.
    pub uses: Vec<HeldPages>,
    /// The same of each memory domain, in ascending order.
    pub domains: Vec<DomainUse>,
    /// What the kernel calls the queues of [`HeldPages::queued`].
    pub queues: Vec<Option<String>>,
    /// Pages of all segments: the sum of all uses.
    pub total: u64,
    /// Pages of the segments that the kernel did not have to allocate when it had started: it was loaded there, or took them
    /// before. `None` where it does not say.
    pub unavailable: Option<u64>,
    /// Pages that the kernel says it has to allocate (`v_page_count`).
    pub page_count: Option<u64>,
    /// Pages of [`PageHolder::Kernel`] and [`PageHolder::Wired`] in slabs of zones; `None` where zones do not say.
    pub zone_pages: Option<u64>,
    /// Pages of those in zones of ZFS for the contents of files: of its cache, the ARC, and of what is read and written.
    pub zfs_pages: Option<u64>,
    /// What cannot be read, or cannot be so.
    pub warnings: Vec<String>,
}

impl PageUse {
    /// The pages of some holders together, of which the holder does not matter.
    fn sum(&self, uses: &[HeldPages]) -> HeldPages {
        let none =
            HeldPages { holder: PageHolder::Other, pages: 0, wired: Some(0), queued: vec![0; self.queues.len()] };
        uses.iter().fold(none, |sum, held| sum.with(held))
    }

    /// A row for each use that there is, and their sum.
    fn table(&self, uses: &[HeldPages]) -> Table {
        let mut columns = vec![left("Use"), right("Pages"), right("1K-blocks"), right("Wired")];
        columns.extend(QUEUES.iter().map(|(_, heading)| right(heading)));
        let used = uses.iter().filter(|held| held.pages > 0);
        let mut rows: Vec<_> = used.map(|held| self.row(held.holder.name(), held)).collect();
        rows.push(self.row("total", &self.sum(uses)));
        Table::new(columns, rows)
    }

    /// Looks at each page.
    ///
    /// # Errors
    ///
    /// The kernel's types do not tell of pages, or the segments of physical memory cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let queues = queue_names(typed).unwrap_or_default();
        let mut scanner = Scanner::new(typed, queues.len())?;
        scanner.scan();
        let (uses, total, unavailable) = (scanner.uses(), scanner.total(), scanner.unavailable());
        let page_count = typed.variable("vm_cnt").and_then(|all| all.member("v_page_count")?.unsigned());
        let zones = scanner.warnings.keep(|| "the zones".to_owned(), Zones::read(source));
        // A sum without some of them would be too small.
        let zones = zones.filter(|zones| zones.warnings.is_empty());
        let mut domains = std::mem::take(&mut scanner.domains);
        domains.sort_by_key(|domain| domain.domain);
        Ok(Self {
            page_size: typed.memory.page_size(),
            page_count: page_count.ok(),
            zone_pages: zones.as_ref().and_then(|zones| zones.pages(|_| true)),
            zfs_pages: zones.as_ref().and_then(|zones| zones.pages(has_zfs_contents)),
            queues,
            uses,
            total,
            unavailable,
            domains,
            warnings: scanner.warnings.into_list("warnings"),
        })
    }

    fn row(&self, name: &str, held: &HeldPages) -> Vec<String> {
        let blocks = held.pages.saturating_mul(self.page_size) / 1024;
        let mut row = vec![name.to_owned(), held.pages.to_string(), blocks.to_string(), cell(held.wired)];
        let queued = |queue: &str| {
            let index = self.queues.iter().position(|name| name.as_deref() == Some(queue))?;
            held.queued.get(index).copied()
        };
        row.extend(QUEUES.iter().map(|(queue, _)| cell(queued(queue))));
        row
    }
}

/// Whether a zone is one of those that the contents of files are in (`abd_os.c` and `zio.c` of OpenZFS).
fn has_zfs_contents(zone: &Name) -> bool {
    let name = zone.as_bytes();
    name == b"abd_chunk" || [&b"zio_buf_"[..], b"zio_data_buf_"].iter().any(|prefix| name.starts_with(prefix))
}

impl Topic for PageUse {
    /// All pages; how many of them are in zones; then those of each domain, if there are several.
    fn tables(&self) -> Vec<Table> {
        let domains = if self.domains.len() > 1 { self.domains.as_slice() } else { &[] };
        let of_domain = |of: &DomainUse| self.table(&of.uses).captioned(format!("Domain {}", cell(of.domain)));
        let of_zones = |(name, pages): (&str, Option<u64>)| {
            let blocks = pages.map(|pages| pages.saturating_mul(self.page_size) / 1024);
            vec![name.to_owned(), cell(pages), cell(blocks)]
        };
        let zones = [("zones", self.zone_pages), ("zfs", self.zfs_pages)].map(of_zones);
        let zones = Table::new([left("Use"), right("Pages"), right("1K-blocks")], zones.into());
        let zones = zones.captioned("Of the kernel's and wired pages:");
        [self.table(&self.uses), zones].into_iter().chain(domains.iter().map(of_domain)).collect()
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// The use of all pages in JSON.
#[derive(Serialize)]
struct PageUseDocument<'a> {
    page_size: u64,
    page_count: u64,
    unavailable_count: Option<u64>,
    v_page_count: Option<u64>,
    zone_page_count: Option<u64>,
    zfs_page_count: Option<u64>,
    uses: Vec<UseDocument<'a>>,
    memory_domains: Vec<DomainDocument<'a>>,
}

#[derive(Serialize)]
struct DomainDocument<'a> {
    domain: Option<u32>,
    uses: Vec<UseDocument<'a>>,
}

#[derive(Serialize)]
struct UseDocument<'a> {
    #[serde(rename = "use")]
    name: &'static str,
    page_count: u64,
    wired_count: Option<u64>,
    queues: Vec<QueueDocument<'a>>,
}

#[derive(Serialize)]
struct QueueDocument<'a> {
    queue: Option<&'a str>,
    page_count: u64,
}

impl Serialize for PageUse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let uses =
            |uses: &[HeldPages]| uses.iter().map(|held| UseDocument::new(held, &self.queues)).collect::<Vec<_>>();
        let domain = |of: &DomainUse| DomainDocument { domain: of.domain, uses: uses(&of.uses) };
        let document = PageUseDocument {
            page_size: self.page_size,
            page_count: self.total,
            unavailable_count: self.unavailable,
            v_page_count: self.page_count,
            zone_page_count: self.zone_pages,
            zfs_page_count: self.zfs_pages,
            uses: uses(&self.uses),
            memory_domains: self.domains.iter().map(domain).collect(),
        };
        document.serialize(serializer)
    }
}

impl<'a> UseDocument<'a> {
    fn new(held: &HeldPages, queues: &'a [Option<String>]) -> Self {
        let queue =
            |(queue, pages): (&'a Option<String>, &u64)| QueueDocument { queue: queue.as_deref(), page_count: *pages };
        Self {
            name: held.holder.name(),
            page_count: held.pages,
            wired_count: held.wired,
            queues: queues.iter().zip(&held.queued).map(queue).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_of_zfs_are_known_by_their_names() {
        let has_contents = |name: &str| has_zfs_contents(&Name::from(name));
        assert!(["abd_chunk", "zio_buf_comb_131072", "zio_buf_512", "zio_data_buf_4096"].into_iter().all(has_contents));
        assert!(!["zio_cache", "zio_link_cache", "arc_buf_t", "buf"].into_iter().any(has_contents));
    }
}
