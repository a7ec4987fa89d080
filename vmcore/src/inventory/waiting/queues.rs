//! The queues that threads wait in: sleep queues by the addresses that threads sleep on, and turnstiles of locks.
//!
//! Sources: sleepqueue(9), `sys/kern/subr_sleepqueue.c`, `sys/kern/subr_turnstile.c`.

use crate::bounds::low_u32;
use crate::error::{Error, Result};
use crate::inventory::reader::Reader;
use crate::kernel::Object;
use crate::units::Hex;
use std::collections::HashMap;

/// More threads than are plausible, and so more queues.
const MAX_THREADS: usize = 1 << 18;
/// More lists than these tables have.
const MAX_CHAINS: u64 = 1 << 16;

/// The threads in queues, by their addresses.
pub(super) struct Queues {
    /// Of each thread in a sleep queue, the address that it sleeps on; `None` if the kernel's types do not tell of them.
    pub sleeping: Option<HashMap<u64, u64>>,
    /// Of each thread in a turnstile, the lock; `None` likewise.
    pub blocked: Option<HashMap<u64, u64>>,
    /// The types of sleep queues, by the addresses that threads sleep on.
    pub types: HashMap<u64, u32>,
    /// How many threads are read at most from now on: damaged queues can all lead to the same ones.
    threads_left: usize,
}

/// A table of queues: its variable, the head of each of its lists, what connects queues, and what threads in them.
struct Table {
    variable: &'static str,
    head: &'static str,
    link: &'static str,
    thread_link: &'static str,
    /// What the queue is of.
    key: &'static str,
    noun: &'static str,
}

const SLEEP_QUEUES: Table = Table {
    variable: "sleepq_chains",
    head: "sc_queues",
    link: "sq_hash",
    thread_link: "td_slpq",
    key: "sq_wchan",
    noun: "the sleep queue of",
};
const TURNSTILES: Table = Table {
    variable: "turnstile_chains",
    head: "tc_turnstiles",
    link: "ts_hash",
    thread_link: "td_lockq",
    key: "ts_lockobj",
    noun: "the turnstile of",
};

impl Queues {
    /// Reads both tables.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let mut all = Self { sleeping: None, blocked: None, types: HashMap::new(), threads_left: MAX_THREADS };
        let sleeping = all.read_table(reader, &SLEEP_QUEUES);
        all.sleeping = reader.keep(|| "the table of sleep queues".to_owned(), sleeping);
        let blocked = all.read_table(reader, &TURNSTILES);
        all.blocked = reader.keep(|| "the table of turnstiles".to_owned(), blocked);
        all
    }

    fn read_table(&mut self, reader: &mut Reader<'_>, table: &Table) -> Result<HashMap<u64, u64>> {
        let chains = reader.typed.variable(table.variable)?;
        let count = chains.count().ok_or_else(|| Error::Unsupported(format!("{} is no array", table.variable)))?;
        let mut found = HashMap::new();
        let mut left = MAX_THREADS;
        for index in 0..count.min(MAX_CHAINS) {
            let head = chains.index(index)?.member(table.head)?;
            let what = format!("list {index} of {}", table.variable);
            let Some(queues) = list(reader, &what, &head, (table.link, "lh_first"), left) else { continue };
            left = left.saturating_sub(queues.len());
            for queue in queues {
                self.read_queue(reader, table, &queue, &mut found);
            }
        }
        Ok(found)
    }

    fn read_queue<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        table: &Table,
        queue: &Object<'a>,
        found: &mut HashMap<u64, u64>,
    ) {
        let queue = queue.fetched();
        let Some(queue) = reader.keep(|| format!("a queue of {}", table.variable), queue) else { return };
        let what = format!("the queue at {}", Hex(queue.address()));
        let Some(key) = reader.number(&what, &queue, table.key) else { return };
        if let Ok(kind) = queue.member("sq_type").and_then(|kind| kind.unsigned()) {
            self.types.insert(key, low_u32(kind));
        }
        for head in heads(&queue) {
            let what = format!("{} {}", table.noun, Hex(key));
            let threads = list(reader, &what, &head, (table.thread_link, "tqh_first"), self.threads_left);
            for thread in threads.into_iter().flatten() {
                self.threads_left = self.threads_left.saturating_sub(1);
                if found.insert(thread.address(), key).is_some() {
                    reader.warn(|| format!("the thread at {} is in several queues", Hex(thread.address())));
                }
            }
        }
    }
}

/// The heads of the lists of threads that a queue has.
fn heads<'a>(queue: &Object<'a>) -> Vec<Object<'a>> {
    let arrays = ["sq_blocked", "ts_blocked"].into_iter().filter_map(|member| queue.member(member).ok());
    let of_array =
        |array: Object<'a>| (0..array.count().unwrap_or(0).min(2)).filter_map(move |at| array.index(at).ok());
    arrays.flat_map(of_array).chain(queue.member("ts_pending")).collect()
}

/// The elements of a list, most of which are empty; `None` if it cannot be read.
fn list<'a>(
    reader: &mut Reader<'a>,
    what: &str,
    head: &Object<'a>,
    (link, first): (&str, &str),
    limit: usize,
) -> Option<Vec<Object<'a>>> {
    let is_empty = head.member(first).and_then(|first| first.unsigned());
    if reader.keep(|| what.to_owned(), is_empty)? == 0 {
        return None;
    }
    let elements = reader.list(&what, head, link, limit);
    reader.keep(|| what.to_owned(), elements)
}
