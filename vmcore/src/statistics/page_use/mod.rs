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
use crate::kernel::TypedMemory;
use scan::Scanner;

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
    pub fn read(typed: TypedMemory<'_>) -> Result<Self> {
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
}
