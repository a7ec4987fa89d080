//! Circles of threads each of which waits for a lock that the next one owns, and chains of such threads that end elsewhere, as
//! `show lockchain` and `show allchains` of ddb(4) tell them.
//!
//! Only locks that one thread owns lead on: who shares a lock is not known.
//!
//! Sources: `print_lockchain()` in `sys/kern/subr_turnstile.c`, `sx_chain()` in `sys/kern/kern_sx.c`, `lockmgr_chain()` in
//! `sys/kern/kern_lock.c`, `LK_KERNPROC` in `sys/sys/lockmgr.h`.

use super::chain_end::{ChainEnd, EndKind};
use super::threads::{ThreadName, WaitedLock};
use super::waits::WaitMap;
use crate::error::Result;
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::TypedMemory;
use crate::kinfo::{LockWait, Wait};
use crate::table::{Table, cell, left, name_cell, right};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// More links of chains than people read: a damaged kernel's chains can have all others behind them.
const MAX_LINKS: usize = 1 << 17;

/// A thread, and the lock that it waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainLink {
    /// The thread.
    #[serde(flatten)]
    pub thread: ThreadName,
    /// The lock.
    pub lock: WaitedLock,
}

/// A circle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deadlock {
    /// Its threads: each waits for a lock of the next one, the last one for a lock of the first.
    pub circle: Vec<ChainLink>,
    /// The threads that wait for a lock of one of these, or of one that does so.
    pub behind: Vec<ChainLink>,
}

/// A chain that is no circle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LockChain {
    /// Its threads: each waits for a lock of the next one.
    pub links: Vec<ChainLink>,
    /// What the last one waits for.
    #[serde(rename = "chain_end")]
    pub end: ChainEnd,
}

/// All circles and chains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deadlocks {
    /// The circles.
    pub circles: Vec<Deadlock>,
    /// The other chains, from each thread on that waits for a lock and has none that others wait for.
    pub chains: Vec<LockChain>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// Where the chain from a thread leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Circle(usize),
    End,
}

/// Who waits for whom.
struct Graph<'a> {
    map: &'a WaitMap<'a>,
    /// The threads that wait for a lock, by their addresses, and which they are in the order of processes.
    waiting: HashMap<u64, (usize, &'a LockWait)>,
    ways: HashMap<u64, Way>,
    /// The addresses of the threads of each circle.
    circles: Vec<Vec<u64>>,
}

impl<'a> Graph<'a> {
    fn new(map: &'a WaitMap<'a>) -> Self {
        let lock = |(index, (thread, wait)): (usize, &'a (u64, Wait))| Some((*thread, (index, wait.lock.as_ref()?)));
        let waiting = map.waits.iter().enumerate().filter_map(lock).collect();
        let mut graph = Self { map, waiting, ways: HashMap::new(), circles: Vec::new() };
        for thread in graph.in_order() {
            graph.follow(thread);
        }
        graph
    }

    /// The threads that wait for a lock, in the order of processes.
    fn in_order(&self) -> Vec<u64> {
        self.map.waits.iter().filter(|(_, wait)| wait.lock.is_some()).map(|(thread, _)| *thread).collect()
    }

    /// The owner of the lock that a thread waits for, if that waits for a lock itself.
    fn next(&self, thread: u64) -> Option<u64> {
        let (_, wait) = self.waiting.get(&thread)?;
        wait.owner_address.filter(|owner| self.waiting.contains_key(owner))
    }

    /// Finds out where the chain from a thread leads to.
    fn follow(&mut self, start: u64) {
        let (mut path, mut seen) = (Vec::new(), HashSet::new());
        let mut at = Some(start);
        let way = loop {
            let Some(thread) = at else { break Way::End };
            if let Some(way) = self.ways.get(&thread) {
                break *way;
            }
            if !seen.insert(thread) {
                self.circles.push(self.circle(thread));
                break Way::Circle(self.circles.len().saturating_sub(1));
            }
            path.push(thread);
            at = self.next(thread);
        };
        self.ways.extend(path.into_iter().map(|thread| (thread, way)));
    }

    /// The circle that a thread is in, from its first thread in the order of processes on.
    fn circle(&self, member: u64) -> Vec<u64> {
        let mut circle = vec![member];
        circle.extend(std::iter::successors(self.next(member), |at| self.next(*at)).take_while(|at| *at != member));
        let place = |thread: &u64| self.waiting.get(thread).map(|(index, _)| *index);
        let first = circle.iter().enumerate().min_by_key(|(_, thread)| place(thread)).map_or(0, |(index, _)| index);
        circle.rotate_left(first);
        circle
    }

    fn link(&self, thread: u64) -> Option<ChainLink> {
        let (_, wait) = self.waiting.get(&thread)?;
        Some(ChainLink { thread: self.map.threads.name(thread), lock: self.map.threads.lock(wait) })
    }

    fn deadlocks(&self) -> Vec<Deadlock> {
        let mut behind: Vec<Vec<ChainLink>> = vec![Vec::new(); self.circles.len()];
        let members: HashSet<&u64> = self.circles.iter().flatten().collect();
        for thread in self.in_order().iter().filter(|thread| !members.contains(thread)) {
            if let Some(Way::Circle(number)) = self.ways.get(thread)
                && let Some(behind) = behind.get_mut(*number)
            {
                behind.extend(self.link(*thread));
            }
        }
        let circle = |threads: &Vec<u64>| threads.iter().filter_map(|thread| self.link(*thread)).collect();
        self.circles.iter().map(circle).zip(behind).map(|(circle, behind)| Deadlock { circle, behind }).collect()
    }

    /// The chains that are no circles, each from the thread on whose locks nobody waits for.
    fn chains(&self, reader: &mut Reader<'_>, typed: TypedMemory<'_>) -> Vec<LockChain> {
        let owners: HashSet<u64> = self.waiting.values().filter_map(|(_, wait)| wait.owner_address).collect();
        let is_first = |thread: &u64| self.ways.get(thread) == Some(&Way::End) && !owners.contains(thread);
        let mut chains = Vec::new();
        let mut left = MAX_LINKS;
        for first in self.in_order().into_iter().filter(is_first) {
            let threads: Vec<u64> = std::iter::successors(Some(first), |at| self.next(*at)).take(left).collect();
            left = left.saturating_sub(threads.len());
            let Some((last, (_, wait))) = threads.last().and_then(|last| Some((*last, self.waiting.get(last)?))) else {
                reader.warn(|| "there are more chains of locks than are shown".to_owned());
                break;
            };
            let end = match self.next(last) {
                Some(_) => ChainEnd::of_kind(EndKind::Unknown),
                None => ChainEnd::read(reader, typed, (wait, self.map)),
            };
            chains.push(LockChain { links: threads.iter().filter_map(|thread| self.link(*thread)).collect(), end });
        }
        chains
    }
}

impl Deadlocks {
    /// Finds them.
    ///
    /// # Errors
    ///
    /// Those of [`crate::kernel::Kernel::processes`].
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let mut reader = Reader::new(source.typed);
        let map = WaitMap::read(source, &mut reader)?;
        // A thread that the processes do not tell of could be part of a circle.
        map.compare_queues(&mut reader);
        let graph = Graph::new(&map);
        let chains = graph.chains(&mut reader, source.typed);
        Ok(Self { circles: graph.deadlocks(), chains, warnings: reader.into_warnings() })
    }
}

impl Topic for Deadlocks {
    /// The circles, even if there is none; what waits behind them; and the chains.
    fn tables(&self) -> Vec<Table> {
        let of_all = |links: fn(&Deadlock) -> &Vec<ChainLink>| {
            let all = self.circles.iter().enumerate();
            all.flat_map(move |(index, deadlock)| links(deadlock).iter().map(move |link| row(index, link, None)))
        };
        let circles: Vec<_> = of_all(|deadlock| &deadlock.circle).collect();
        let caption =
            if circles.is_empty() { "No threads wait for each other" } else { "Threads that wait for each other" };
        let mut tables = vec![table(caption, circles)];
        let of_chain = |(index, chain): (usize, &LockChain)| -> Vec<Vec<String>> {
            let count = chain.links.len();
            let end = |at: usize| (at.saturating_add(1) == count).then_some(&chain.end);
            chain.links.iter().enumerate().map(|(at, link)| row(index, link, end(at))).collect()
        };
        let behind: Vec<_> = of_all(|deadlock| &deadlock.behind).collect();
        let chains: Vec<_> = self.chains.iter().enumerate().flat_map(of_chain).collect();
        let others = [("Threads that wait behind these", behind), ("Other threads that wait for locks", chains)];
        tables.extend(
            others.into_iter().filter(|(_, rows)| !rows.is_empty()).map(|(caption, rows)| table(caption, rows)),
        );
        tables
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn table(caption: &str, rows: Vec<Vec<String>>) -> Table {
    let columns = [
        right("#"),
        right("PID"),
        right("TID"),
        left("COMMAND"),
        left("CLASS"),
        left("LOCK"),
        right("OWNER"),
        left("STATE"),
        left("ADDRESS"),
    ];
    Table::new(columns, rows).captioned(caption)
}

/// A thread of the circle or chain of a number; the end is that of the chain's last one.
fn row(index: usize, link: &ChainLink, end: Option<&ChainEnd>) -> Vec<String> {
    let ChainLink { thread, lock } = link;
    vec![
        index.saturating_add(1).to_string(),
        cell(thread.pid),
        cell(thread.tid),
        thread.names(),
        name_cell(lock.class.as_ref()),
        name_cell(lock.name.as_ref()),
        cell(lock.owner.as_ref().and_then(|owner| owner.tid)),
        end.map_or_else(|| "waits".to_owned(), ToString::to_string),
        lock.address.to_string(),
    ]
}
