//! Threads that wait in sleep queues and turnstiles: for what, for how long, and, if it is a lock, who has it.
//!
//! The processes' threads tell of themselves; the queues, which are read as well, must have the same threads.
//!
//! Sources: `td_wchan`, `td_wmesg` and `td_blocked` of `struct thread` in `sys/sys/proc.h`, sleepqueue(9), locking(9).

use super::queues::Queues;
use super::threads::{ThreadName, Threads, WaitedLock};
use crate::error::Result;
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kinfo::{Wait, WaitReader};
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::Name;
use crate::units::Hex;
use serde::Serialize;
use std::collections::HashMap;

/// What a thread waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitKind {
    /// A sleep queue: it sleeps.
    SleepQueue,
    /// The turnstile of a lock.
    Turnstile,
}

/// What a sleep queue is for (`SLEEPQ_SLEEP` to `SLEEPQ_LK`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueType {
    /// sleep(9).
    Sleep,
    /// condvar(9).
    ConditionVariable,
    /// pause(9).
    Pause,
    /// An sx(9) lock.
    Sx,
    /// A lockmgr(9) lock.
    Lockmgr,
}

/// A thread that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingThread {
    /// The thread.
    #[serde(flatten)]
    pub thread: ThreadName,
    /// What it waits in.
    pub kind: WaitKind,
    /// What its sleep queue is for; `None` if it is in none, or that is not known.
    pub queue_type: Option<QueueType>,
    /// The address that it sleeps on.
    pub channel: Option<Hex>,
    /// Why it sleeps, or the name of the lock.
    pub message: Option<Name>,
    /// For how many seconds it waits.
    pub waiting_seconds: Option<u32>,
    /// The lock that it waits for, if it is one.
    pub lock: Option<WaitedLock>,
}

/// All threads that wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Waits {
    /// In the order of processes.
    pub threads: Vec<WaitingThread>,
    /// What could not be read, and queues that do not match the threads.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// What threads wait for, as it was read.
pub(super) struct WaitMap<'a> {
    pub threads: Threads<'a>,
    /// The addresses of threads that wait, and for what, in the order of processes.
    pub waits: Vec<(u64, Wait)>,
    /// Where each of these threads is in that list.
    places: HashMap<u64, usize>,
    queues: Queues,
}

impl<'a> WaitMap<'a> {
    /// Reads what threads wait for, with the queues that they are in.
    pub fn read(source: &'a Source<'_>, reader: &mut Reader<'_>) -> Result<Self> {
        let processes = reader.processes(source)?;
        let queues = Queues::read(reader);
        let mut wait = WaitReader::new(source.typed, processes).with_queue_types(queues.types.clone());
        let all = processes.list.iter().flat_map(|process| &process.threads);
        let waits: Vec<_> = all.filter_map(|thread| Some((thread.address, wait.read(thread)?))).collect();
        let places = waits.iter().enumerate().map(|(place, (thread, _))| (*thread, place)).collect();
        wait.take_warnings().into_iter().for_each(|warning| reader.warn(|| warning));
        Ok(Self { threads: Threads::new(processes), waits, places, queues })
    }

    /// What the thread at an address waits for.
    pub fn wait(&self, thread: u64) -> Option<&Wait> {
        self.waits.get(*self.places.get(&thread)?).map(|(_, wait)| wait)
    }

    /// Warns of threads that say that they wait and are in no queue, and of others that are in one.
    pub(super) fn compare_queues(&self, reader: &mut Reader<'_>) {
        let Queues { sleeping, blocked, .. } = &self.queues;
        let of = |on_turnstile: bool| self.waits.iter().filter(move |(_, wait)| wait.is_on_turnstile == on_turnstile);
        let asleep = of(false).map(|(thread, wait)| (*thread, wait.channel));
        let on_lock = of(true).map(|(thread, wait)| (*thread, wait.lock.as_ref().map(|lock| lock.lock.address)));
        self.compare(reader, sleeping.as_ref(), asleep.collect(), "sleep queue");
        self.compare(reader, blocked.as_ref(), on_lock.collect(), "turnstile");
    }

    fn compare(
        &self,
        reader: &mut Reader<'_>,
        queued: Option<&HashMap<u64, u64>>,
        waiting: HashMap<u64, Option<u64>>,
        noun: &str,
    ) {
        let Some(queued) = queued else { return };
        let name = |thread: u64| match self.threads.find(thread).and_then(|thread| thread.tid) {
            Some(tid) => format!("TID {tid}"),
            None => format!("the thread at {}", Hex(thread)),
        };
        let sorted = |mut threads: Vec<u64>| {
            threads.sort_unstable();
            threads
        };
        for thread in sorted(waiting.keys().copied().filter(|thread| !queued.contains_key(thread)).collect()) {
            reader.warn(|| format!("{} waits, but is in no {noun}", name(thread)));
        }
        for thread in sorted(queued.keys().copied().collect()) {
            let Some(key) = queued.get(&thread).copied() else { continue };
            let of = || Hex(key);
            match waiting.get(&thread) {
                None if self.threads.find(thread).is_none() => {
                    reader.warn(|| format!("{} is in the {noun} of {}, but no process has it", name(thread), of()));
                }
                None => reader.warn(|| format!("{} is in the {noun} of {}, but does not wait", name(thread), of())),
                Some(Some(other)) if *other != key => {
                    let other = Hex(*other);
                    reader.warn(|| format!("{} waits for {other}, but is in the {noun} of {}", name(thread), of()));
                }
                Some(_) => {}
            }
        }
    }

    fn show(&self, address: u64, wait: &Wait) -> WaitingThread {
        let kind = if wait.is_on_turnstile { WaitKind::Turnstile } else { WaitKind::SleepQueue };
        let channel = wait.channel.filter(|_| kind == WaitKind::SleepQueue);
        WaitingThread {
            thread: self.threads.name(address),
            kind,
            queue_type: channel.and_then(|channel| queue_type(*self.queues.types.get(&channel)?)),
            channel: channel.map(Hex),
            message: wait.message.clone(),
            waiting_seconds: wait.seconds,
            lock: wait.lock.as_ref().map(|lock| self.threads.lock(lock)),
        }
    }
}

fn queue_type(number: u32) -> Option<QueueType> {
    Some(match number {
        0 => QueueType::Sleep,
        1 => QueueType::ConditionVariable,
        2 => QueueType::Pause,
        3 => QueueType::Sx,
        4 => QueueType::Lockmgr,
        _ => return None,
    })
}

impl Waits {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// Those of [`crate::kernel::Kernel::processes`].
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let mut reader = Reader::new(source.typed);
        let map = WaitMap::read(source, &mut reader)?;
        map.compare_queues(&mut reader);
        let threads = map.waits.iter().map(|(address, wait)| map.show(*address, wait)).collect();
        Ok(Self { threads, warnings: reader.into_warnings() })
    }
}

impl Topic for Waits {
    fn tables(&self) -> Vec<Table> {
        let columns = [
            right("PID"),
            right("TID"),
            left("COMMAND"),
            left("WMESG"),
            right("SECS"),
            left("CLASS"),
            right("OWNER"),
            left("WCHAN"),
        ];
        vec![Table::new(columns, self.threads.iter().map(row).collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn row(one: &WaitingThread) -> Vec<String> {
    let lock = one.lock.as_ref();
    vec![
        cell(one.thread.pid),
        cell(one.thread.tid),
        one.thread.names(),
        name_cell(one.message.as_ref()),
        cell(one.waiting_seconds),
        name_cell(lock.and_then(|lock| lock.class.as_ref())),
        cell(lock.and_then(|lock| lock.owner.as_ref()?.tid)),
        cell(one.channel.or_else(|| lock.map(|lock| lock.address))),
    ]
}
