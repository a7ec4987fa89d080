//! Who holds the memory: every page of the kernel's segments of physical memory by what it is used for, as its
//! `struct vm_page` and the object that it belongs to tell.
//!
//! What they do not tell is not guessed: memory of the zone allocator and page tables are either of the kernel's object or
//! have none, and ZFS has its cache in the former; [`PageHolder::Wired`] is not divided further.
//!
//! Sources: `sys/vm/vm_page.h`, `vm_page.c`, `vm_phys.c`, `vm_object.h`, `vm_reserv.c`, `sys/kern/vfs_bio.c`.

mod buffers;
mod held;
mod holders;
mod page;
mod reservations;
mod scan;

pub use held::{HeldPages, PageHolder};

use super::page_queues::queue_names;
use crate::error::Result;
use crate::inventory::source::{Source, Topic};
use crate::table::{Table, cell, left, right};
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
    /// What the kernel calls the queues of [`HeldPages::queued`].
    pub queues: Vec<Option<String>>,
    /// Pages of all segments: the sum of all uses.
    pub total: u64,
    /// Pages of the segments that the kernel did not have to allocate when it had started: it was loaded there, or took them
    /// before. `None` where it does not say.
    pub unavailable: Option<u64>,
    /// Pages that the kernel says it has to allocate (`v_page_count`).
    pub page_count: Option<u64>,
    /// What cannot be read, or cannot be so.
    pub warnings: Vec<String>,
}

impl PageUse {
    /// The pages of all holders together, of which the holder does not matter.
    pub fn sum(&self) -> HeldPages {
        let none =
            HeldPages { holder: PageHolder::Other, pages: 0, wired: Some(0), queued: vec![0; self.queues.len()] };
        self.uses.iter().fold(none, |sum, held| sum.with(held))
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
        let page_count = typed.variable("vm_cnt").and_then(|all| all.member("v_page_count")?.unsigned());
        Ok(Self {
            page_size: typed.memory.page_size(),
            total: scanner.total(),
            unavailable: scanner.unavailable(),
            page_count: page_count.ok(),
            queues,
            uses: scanner.uses,
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

impl Topic for PageUse {
    /// A row for each use that there is, and their sum.
    fn tables(&self) -> Vec<Table> {
        let mut columns = vec![left("Use"), right("Pages"), right("1K-blocks"), right("Wired")];
        columns.extend(QUEUES.iter().map(|(_, heading)| right(heading)));
        let used = self.uses.iter().filter(|held| held.pages > 0);
        let mut rows: Vec<_> = used.map(|held| self.row(held.holder.name(), held)).collect();
        rows.push(self.row("total", &self.sum()));
        vec![Table::new(columns, rows)]
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
        let document = PageUseDocument {
            page_size: self.page_size,
            page_count: self.total,
            unavailable_count: self.unavailable,
            v_page_count: self.page_count,
            uses: self.uses.iter().map(|held| UseDocument::new(held, &self.queues)).collect(),
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
