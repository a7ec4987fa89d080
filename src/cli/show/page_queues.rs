//! `memtool show page-queues`: the page queues of each memory domain, and what the page daemon starts and stops by: what
//! `sysctl vm.domain` prints, called as there where it has a name there.

use super::{Document, Shown, cell, left, right};
use serde::Serialize;
use std::collections::BTreeMap;
use vmcore::Result;
use vmcore::kernel::TypedMemory;
use vmcore::statistics::page_queues::{DomainQueues, PageDaemon, PageQueue, PageQueues};

/// Page queues in JSON.
#[derive(Serialize)]
pub struct PageQueuesDocument {
    memory_domains: Vec<DomainDocument>,
    page_daemon: DaemonDocument,
}

#[derive(Serialize)]
struct DomainDocument {
    domain: u32,
    page_count: Option<u64>,
    free_count: Option<u64>,
    queues: Vec<QueueDocument>,
    thresholds: BTreeMap<&'static str, Option<u64>>,
    is_wanted: Option<bool>,
    is_waited_for: Option<bool>,
    deficit_count: Option<u64>,
    inactive_pps: Option<u64>,
    laundry_request: Option<String>,
}

#[derive(Serialize)]
struct QueueDocument {
    queue: Option<String>,
    page_count: Option<u64>,
    scanned_count: Option<u64>,
}

#[derive(Serialize)]
struct DaemonDocument {
    wakeup_count: Option<u64>,
    shortfall_count: Option<u64>,
    reactivated_count: Option<u64>,
    freed_count: Option<u64>,
}

pub fn read(typed: TypedMemory<'_>) -> Result<Shown> {
    let queues = PageQueues::read(typed)?;
    let mut rows: Vec<_> = queues.domains.iter().flat_map(domain_rows).collect();
    rows.extend(daemon_rows(&queues.daemon));
    let document = PageQueuesDocument {
        memory_domains: queues.domains.iter().map(DomainDocument::new).collect(),
        page_daemon: DaemonDocument::new(&queues.daemon),
    };
    Ok(Shown {
        headings: vec![right("Domain"), left("Counter"), right("Value")],
        rows,
        document: Document { page_queues: Some(document), ..Document::default() },
        warnings: queues.warnings,
    })
}

/// The thresholds by their names, in ascending order as they are meant to be.
fn thresholds(domain: &DomainQueues) -> [(&'static str, Option<u64>); 9] {
    let of = &domain.thresholds;
    [
        ("interrupt_free_min", of.interrupt_free_min),
        ("pageout_free_min", of.pageout_free_min),
        ("free_reserved", of.free_reserved),
        ("free_severe", of.free_severe),
        ("free_min", of.free_min),
        ("pageout_wakeup_thresh", of.pageout_wakeup),
        ("free_target", of.free_target),
        ("inactive_target", of.inactive_target),
        ("background_launder_target", of.background_launder_target),
    ]
}

fn domain_rows(domain: &DomainQueues) -> Vec<Vec<String>> {
    let row = |name: String, value: String| vec![domain.domain.to_string(), name, value];
    let number = |name: &str, value| row(name.to_owned(), cell(value));
    let mut rows = vec![number("page_count", domain.pages), number("free_count", domain.free)];
    for queue in &domain.queues {
        let name = queue.name.as_deref().unwrap_or("-");
        rows.push(number(name, queue.pages));
        rows.push(number(&format!("{name} scanned"), queue.scanned));
    }
    rows.extend(thresholds(domain).iter().map(|(name, value)| number(name, *value)));
    let paging = &domain.paging;
    rows.push(number("pageout_wanted", paging.is_wanted.map(u64::from)));
    rows.push(number("pageout_pages_needed", paging.is_waited_for.map(u64::from)));
    rows.push(number("pageout_deficit", paging.deficit));
    rows.push(number("inactive_pps", paging.freed_per_second));
    rows.push(row("laundry_request".to_owned(), paging.laundry_request.as_deref().unwrap_or("-").to_owned()));
    rows
}

/// Rows of all domains.
fn daemon_rows(daemon: &PageDaemon) -> [Vec<String>; 4] {
    [
        ("page daemon wakeups", daemon.wakeups),
        ("page daemon shortfalls", daemon.shortfalls),
        ("pages reactivated", daemon.reactivated),
        ("pages freed by daemon", daemon.freed),
    ]
    .map(|(name, value)| vec!["-".to_owned(), name.to_owned(), cell(value)])
}

impl DomainDocument {
    fn new(domain: &DomainQueues) -> Self {
        let queue = |queue: &PageQueue| QueueDocument {
            queue: queue.name.clone(),
            page_count: queue.pages,
            scanned_count: queue.scanned,
        };
        Self {
            domain: domain.domain,
            page_count: domain.pages,
            free_count: domain.free,
            queues: domain.queues.iter().map(queue).collect(),
            thresholds: thresholds(domain).into(),
            is_wanted: domain.paging.is_wanted,
            is_waited_for: domain.paging.is_waited_for,
            deficit_count: domain.paging.deficit,
            inactive_pps: domain.paging.freed_per_second,
            laundry_request: domain.paging.laundry_request.clone(),
        }
    }
}

impl DaemonDocument {
    fn new(daemon: &PageDaemon) -> Self {
        Self {
            wakeup_count: daemon.wakeups,
            shortfall_count: daemon.shortfalls,
            reactivated_count: daemon.reactivated,
            freed_count: daemon.freed,
        }
    }
}
