//! The page queues of each memory domain, from which the page daemon reclaims memory, with what it starts and stops by:
//! what `sysctl vm.domain` and `vm.stats.vm` print.
//!
//! Sources: `struct vm_domain` and `struct vm_pagequeue` in `sys/vm/vm_pagequeue.h`, `sys/vm/vm_meter.c`.

use super::physical::domains;
use crate::bounds::saturating_u32;
use crate::error::{Error, Result};
use crate::inventory::reader::{Reader, enumerator};
use crate::inventory::source::{Source, Topic};
use crate::kernel::{Object, TypedMemory};
use crate::table::{Table, cell, left, right};
use crate::text::column;
use serde::Serialize;

/// More bytes than the name of a queue has.
const MAX_NAME: usize = 64;

/// The page queues of a kernel. What is `None`, the kernel does not have, or it cannot be read, and there is a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PageQueues {
    /// Of each memory domain.
    #[serde(rename = "memory_domains")]
    pub domains: Vec<DomainQueues>,
    /// What the page daemon has done since the kernel started.
    #[serde(rename = "page_daemon")]
    pub daemon: PageDaemon,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// The page queues of a domain. Counts are of pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DomainQueues {
    /// The domain's number.
    pub domain: u32,
    /// Pages that it has (`vmd_page_count`).
    #[serde(rename = "page_count")]
    pub pages: Option<u64>,
    /// Free pages (`vmd_free_count`): those in the free lists, and those of reservations that are not in use.
    #[serde(rename = "free_count")]
    pub free: Option<u64>,
    /// Its queues, in the kernel's order.
    pub queues: Vec<PageQueue>,
    /// What the page daemon starts and stops by.
    pub thresholds: Thresholds,
    /// What it is doing.
    #[serde(flatten)]
    pub paging: Paging,
}

/// A page queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PageQueue {
    /// What the kernel calls it: `inactive`, `active`, `laundry`, `unswappable`. `None` where that cannot be read.
    #[serde(rename = "queue")]
    pub name: Option<String>,
    /// Pages in it.
    #[serde(rename = "page_count")]
    pub pages: Option<u64>,
    /// Pages of it that the page daemon has looked at.
    #[serde(rename = "scanned_count")]
    pub scanned: Option<u64>,
}

/// Numbers of pages at which the page daemon does something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Thresholds {
    /// `vmd_interrupt_free_min`: below it only what cannot fail gets pages.
    pub interrupt_free_min: Option<u64>,
    /// `vmd_pageout_free_min`: threads that wait for pages are woken above it.
    pub pageout_free_min: Option<u64>,
    /// `vmd_free_reserved`: below it only the kernel gets pages.
    pub free_reserved: Option<u64>,
    /// `vmd_free_severe`: below it caches are emptied.
    pub free_severe: Option<u64>,
    /// `vmd_free_min`: below it threads wait for pages.
    pub free_min: Option<u64>,
    /// `vmd_pageout_wakeup_thresh`: below it the page daemon wakes up.
    #[serde(rename = "pageout_wakeup_thresh")]
    pub pageout_wakeup: Option<u64>,
    /// `vmd_free_target`: it reclaims pages until so many are free.
    pub free_target: Option<u64>,
    /// `vmd_inactive_target`: it looks at active pages until so many are inactive.
    pub inactive_target: Option<u64>,
    /// `vmd_background_launder_target`.
    pub background_launder_target: Option<u64>,
}

/// What the page daemon of a domain is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Paging {
    /// Whether it was asked to reclaim pages (`vmd_pageout_wanted`).
    pub is_wanted: Option<bool>,
    /// Whether threads wait for pages (`vmd_pageout_pages_needed`).
    pub is_waited_for: Option<bool>,
    /// Pages that were to be allocated and were not there (`vmd_pageout_deficit`).
    #[serde(rename = "deficit_count")]
    pub deficit: Option<u64>,
    /// Inactive pages that it frees in a second, a decaying average (`vmd_inactive_pps`).
    #[serde(rename = "inactive_pps")]
    pub freed_per_second: Option<u64>,
    /// What was asked of the laundry thread, by the kernel's name: `VM_LAUNDRY_IDLE` and so on.
    pub laundry_request: Option<String>,
}

/// What the page daemon has done since the kernel started (`struct vmmeter`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PageDaemon {
    /// How often it woke up.
    #[serde(rename = "wakeup_count")]
    pub wakeups: Option<u64>,
    /// How often it did not free as many pages as it was to.
    #[serde(rename = "shortfall_count")]
    pub shortfalls: Option<u64>,
    /// Pages that it made active again.
    #[serde(rename = "reactivated_count")]
    pub reactivated: Option<u64>,
    /// Pages that it freed.
    #[serde(rename = "freed_count")]
    pub freed: Option<u64>,
}

impl PageQueues {
    /// Reads the kernel's page queues.
    ///
    /// # Errors
    ///
    /// The kernel has no variable `vm_dom` (before FreeBSD 10), or how many domains there are cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let array = typed.variable("vm_dom")?;
        let mut reader = QueueReader(Reader::new(typed));
        let domains = (0..domains(typed, &array)?).map(|index| reader.domain(&array.index(index)?, index));
        let domains = domains.collect::<Result<_>>()?;
        let daemon = reader.daemon();
        Ok(Self { domains, daemon, warnings: reader.0.into_warnings() })
    }
}

impl Topic for PageQueues {
    fn tables(&self) -> Vec<Table> {
        let mut rows: Vec<_> = self.domains.iter().flat_map(domain_rows).collect();
        rows.extend(daemon_rows(&self.daemon));
        vec![Table::new([right("Domain"), left("Counter"), right("Value")], rows)]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
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

/// What the kernel calls its page queues, in its order.
///
/// # Errors
///
/// It has no such variable, or it cannot be read.
pub(super) fn queue_names(typed: TypedMemory<'_>) -> Result<Vec<Option<String>>> {
    let queues = typed.variable("vm_dom")?.index(0)?.member("vmd_pagequeues")?;
    Ok((0..queues.count().unwrap_or(0)).map(|index| name(&queues.index(index)?)).map(Result::ok).collect())
}

/// `vm inactive pagequeue` is called `inactive`.
fn name(queue: &Object<'_>) -> Result<String> {
    let name = queue.member("pq_name")?.string(MAX_NAME)?;
    let name = name.ok_or_else(|| Error::Format("a page queue has no name".to_owned()))?;
    let name = column(&name);
    let short = name.strip_prefix("vm ").and_then(|name| name.strip_suffix(" pagequeue"));
    Ok(short.unwrap_or(&name).to_owned())
}

struct QueueReader<'a>(Reader<'a>);

impl<'a> QueueReader<'a> {
    fn domain(&mut self, domain: &Object<'a>, index: u64) -> Result<DomainQueues> {
        let queues = domain.member("vmd_pagequeues")?;
        // Read at once; if that fails, each member says what cannot be read.
        let domain = domain.fetched().unwrap_or_else(|_| domain.clone());
        let (pages, free) = (self.count(&domain, "vmd_page_count"), self.count(&domain, "vmd_free_count"));
        if let (Some(pages), Some(free)) = (pages, free)
            && free > pages
        {
            self.0.warn(|| format!("domain {index} has {free} free pages, more than the {pages} that it has"));
        }
        Ok(DomainQueues {
            domain: saturating_u32(index),
            pages,
            free,
            queues: self.queues(&queues)?,
            thresholds: self.thresholds(&domain),
            paging: self.paging(&domain),
        })
    }

    fn queues(&mut self, queues: &Object<'a>) -> Result<Vec<PageQueue>> {
        let queue = |index| {
            let queue = queues.index(index)?;
            Ok(PageQueue {
                name: self.keep("the name of a page queue", name(&queue)),
                pages: self.count(&queue, "pq_cnt"),
                scanned: self.count(&queue, "pq_pdpages"),
            })
        };
        (0..queues.count().unwrap_or(0)).map(queue).collect()
    }

    fn thresholds(&mut self, domain: &Object<'a>) -> Thresholds {
        let mut count = |name| self.count(domain, name);
        Thresholds {
            interrupt_free_min: count("vmd_interrupt_free_min"),
            pageout_free_min: count("vmd_pageout_free_min"),
            free_reserved: count("vmd_free_reserved"),
            free_severe: count("vmd_free_severe"),
            free_min: count("vmd_free_min"),
            pageout_wakeup: count("vmd_pageout_wakeup_thresh"),
            free_target: count("vmd_free_target"),
            inactive_target: count("vmd_inactive_target"),
            background_launder_target: count("vmd_background_launder_target"),
        }
    }

    fn paging(&mut self, domain: &Object<'a>) -> Paging {
        let request = domain.member("vmd_laundry_request").and_then(|request| enumerator(&request));
        Paging {
            is_wanted: self.count(domain, "vmd_pageout_wanted").map(|wanted| wanted != 0),
            is_waited_for: self.count(domain, "vmd_pageout_pages_needed").map(|needed| needed != 0),
            deficit: self.count(domain, "vmd_pageout_deficit"),
            freed_per_second: self.count(domain, "vmd_inactive_pps"),
            laundry_request: self.keep("vmd_laundry_request", request),
        }
    }

    fn daemon(&mut self) -> PageDaemon {
        let all = self.0.typed.variable("vm_cnt").ok();
        let mut counter = |name: &str| self.0.counter(&name, all.as_ref()?.member(name));
        PageDaemon {
            wakeups: counter("v_pdwakeups"),
            shortfalls: counter("v_pdshortfalls"),
            reactivated: counter("v_reactivated"),
            freed: counter("v_dfree"),
        }
    }

    /// A count, which is not negative.
    fn count(&mut self, object: &Object<'a>, name: &str) -> Option<u64> {
        let read = object.member(name).and_then(|member| {
            let value = member.integer()?;
            u64::try_from(value).map_err(|_| Error::Format(format!("it is {value}")))
        });
        self.keep(name, read)
    }

    fn keep<T>(&mut self, what: &str, read: Result<T>) -> Option<T> {
        self.0.keep(|| what.to_owned(), read)
    }
}
