//! `memtool show page-use`: all pages of memory by what they are used for.

use super::{Document, Shown, cell, left, right};
use serde::Serialize;
use vmcore::Result;
use vmcore::kernel::TypedMemory;
use vmcore::statistics::page_use::{HeldPages, PageHolder, PageUse};

/// Columns of page queues, by the kernel's names of them.
const QUEUES: [(&str, &str); 4] =
    [("inactive", "Inactive"), ("active", "Active"), ("laundry", "Laundry"), ("unswappable", "Unswappable")];

/// The use of all pages in JSON.
#[derive(Serialize)]
pub struct PageUseDocument {
    page_size: u64,
    page_count: u64,
    unavailable_count: Option<u64>,
    v_page_count: Option<u64>,
    uses: Vec<UseDocument>,
}

#[derive(Serialize)]
struct UseDocument {
    #[serde(rename = "use")]
    name: &'static str,
    page_count: u64,
    wired_count: Option<u64>,
    queues: Vec<QueueDocument>,
}

#[derive(Serialize)]
struct QueueDocument {
    queue: Option<String>,
    page_count: u64,
}

pub fn read(typed: TypedMemory<'_>) -> Result<Shown> {
    let pages = PageUse::read(typed)?;
    let mut headings = vec![left("Use"), right("Pages"), right("1K-blocks"), right("Wired")];
    headings.extend(QUEUES.iter().map(|(_, heading)| right(heading)));
    let document = PageUseDocument {
        page_size: pages.page_size,
        page_count: pages.total,
        unavailable_count: pages.unavailable,
        v_page_count: pages.page_count,
        uses: pages.uses.iter().map(|held| UseDocument::new(held, &pages.queues)).collect(),
    };
    Ok(Shown {
        headings,
        rows: rows(&pages),
        document: Document { page_use: Some(document), ..Document::default() },
        warnings: pages.warnings,
    })
}

/// A row for each use that there is, and their sum.
fn rows(pages: &PageUse) -> Vec<Vec<String>> {
    let used = pages.uses.iter().filter(|held| held.pages > 0);
    let mut rows: Vec<_> = used.map(|held| row(name(held.holder), held, pages)).collect();
    rows.push(row("total", &pages.sum(), pages));
    rows
}

fn row(name: &str, held: &HeldPages, pages: &PageUse) -> Vec<String> {
    let blocks = held.pages.saturating_mul(pages.page_size) / 1024;
    let mut row = vec![name.to_owned(), held.pages.to_string(), blocks.to_string(), cell(held.wired)];
    let queued = |queue: &str| {
        let index = pages.queues.iter().position(|name| name.as_deref() == Some(queue))?;
        held.queued.get(index).copied()
    };
    row.extend(QUEUES.iter().map(|(queue, _)| cell(queued(queue))));
    row
}

const fn name(holder: PageHolder) -> &'static str {
    match holder {
        PageHolder::Free => "free",
        PageHolder::Reserved => "reserved",
        PageHolder::SetAside => "set-aside",
        PageHolder::Unreferenced => "unreferenced",
        PageHolder::Startup => "startup",
        PageHolder::Kernel => "kernel",
        PageHolder::KernelStack => "kernel-stack",
        PageHolder::Wired => "wired",
        PageHolder::Anonymous => "anonymous",
        PageHolder::Shared => "shared",
        PageHolder::Swappable => "swappable",
        PageHolder::Buffer => "buffer",
        PageHolder::File => "file",
        PageHolder::Device => "device",
        PageHolder::Physical => "physical",
        PageHolder::ScatterGather => "scatter-gather",
        PageHolder::Fictitious => "fictitious",
        PageHolder::Other => "other",
        PageHolder::Unreadable => "unreadable",
    }
}

impl UseDocument {
    fn new(held: &HeldPages, queues: &[Option<String>]) -> Self {
        let queue =
            |(queue, pages): (&Option<String>, &u64)| QueueDocument { queue: queue.clone(), page_count: *pages };
        Self {
            name: name(held.holder),
            page_count: held.pages,
            wired_count: held.wired,
            queues: queues.iter().zip(&held.queued).map(queue).collect(),
        }
    }
}
