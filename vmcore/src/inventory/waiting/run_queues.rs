//! What each CPU runs, and the threads in its run queues, as `show allpcpu` of ddb(4) and `tdq_print()` tell them.
//!
//! Sources: `struct tdq` in `sys/kern/sched_ule.c`, `runq` and `runq_pcpu` in `sys/kern/sched_4bsd.c`, `sys/sys/runq.h`,
//! `active_sched` in `sys/kern/sched_shim.c`, `sys/sys/pcpu.h`, `sys/sys/priority.h`.

use super::per_cpu::variable_of_cpu;
use super::threads::{ThreadName, Threads};
use crate::error::{Error, Result};
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::{Kernel, Object, TypedMemory};
use crate::table::{Table, cell, left, right};
use crate::units::Hex;
use serde::Serialize;

/// More threads than are plausible.
const MAX_THREADS: usize = 1 << 18;
/// More queues than a run queue has.
const MAX_QUEUES: u64 = 1 << 12;
/// What a thread's class has beside it (`PRI_FIFO_BIT`).
const PRI_FIFO_BIT: u64 = 8;

/// A scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduler {
    /// `sched_ule`(4).
    Ule,
    /// `sched_4bsd`(4).
    #[serde(rename = "4bsd")]
    FourBsd,
}

/// One of the run queues that a CPU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunQueue {
    /// The one for all classes: of ULE since FreeBSD 15, and of 4BSD.
    All,
    /// That for interrupts, real time and interactive threads.
    Realtime,
    /// That for others.
    Timeshare,
    /// That for threads that run when nothing else does.
    Idle,
}

/// The class of a thread (`PRI_ITHD` to `PRI_IDLE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PriorityClass {
    /// An interrupt thread.
    Interrupt,
    /// Real time.
    Realtime,
    /// Time sharing.
    Timeshare,
    /// Idle.
    Idle,
}

/// A thread in a run queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueuedThread {
    /// The thread.
    #[serde(flatten)]
    pub thread: ThreadName,
    /// The run queue that it is in.
    pub queue: RunQueue,
    /// Which list of the run queue; lists with smaller numbers come first, but for those of time sharing, which take turns.
    pub index: u64,
    /// Its priority; smaller numbers come first.
    pub priority: Option<u64>,
    /// Its class.
    pub class: Option<PriorityClass>,
}

/// A CPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CpuQueues {
    /// Its number.
    pub cpu: u32,
    /// The thread that it runs.
    pub current: Option<ThreadName>,
    /// Whether that is its idle thread.
    pub is_idle: Option<bool>,
    /// How many threads it has to run, with the current one, as the scheduler counts them.
    pub load: Option<i64>,
    /// The threads in its run queues.
    pub queued: Option<Vec<QueuedThread>>,
}

/// All CPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunQueues {
    /// The scheduler that runs; `None` if that is not known.
    pub scheduler: Option<Scheduler>,
    /// The CPUs.
    #[serde(rename = "cpu_queues")]
    pub cpus: Vec<CpuQueues>,
    /// The threads in the run queue of all CPUs, which 4BSD has.
    pub shared: Vec<QueuedThread>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// The members of `struct tdq` that are run queues.
const ULE_QUEUES: [(&str, RunQueue); 4] = [
    ("tdq_runq", RunQueue::All),
    ("tdq_realtime", RunQueue::Realtime),
    ("tdq_timeshare", RunQueue::Timeshare),
    ("tdq_idle", RunQueue::Idle),
];

impl RunQueues {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's CPUs or processes cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let mut reader = Reader::new(typed);
        let processes = reader.processes(source)?;
        let scheduler = reader.keep(|| "active_sched".to_owned(), scheduler(source.kernel, typed)).flatten();
        let mut all = All { reader, scheduler, threads: Threads::new(processes), left: MAX_THREADS };
        let cpus = typed.cpus()?.into_iter().map(|cpu| all.cpu(cpu)).collect();
        let shared = match scheduler {
            Some(Scheduler::FourBsd) => all.shared().unwrap_or_default(),
            _ => Vec::new(),
        };
        Ok(Self { scheduler, cpus, shared, warnings: all.reader.into_warnings() })
    }
}

/// Which scheduler runs: since FreeBSD 15 a kernel can have both.
fn scheduler(kernel: &Kernel, typed: TypedMemory<'_>) -> Result<Option<Scheduler>> {
    if let Ok(active) = typed.variable("active_sched") {
        return Ok(match kernel.name_of(active.unsigned()?).as_deref() {
            Some("sched_ule_instance") => Some(Scheduler::Ule),
            Some("sched_4bsd_instance") => Some(Scheduler::FourBsd),
            _ => None,
        });
    }
    let has = |name: &str| Ok::<_, Error>(typed.symbols.find(name)?.is_some());
    Ok(match (has("pcpu_entry_tdq")? || has("tdq_cpu")?, has("runq_length")? || has("runq_pcpu")?) {
        (true, false) => Some(Scheduler::Ule),
        (false, true) => Some(Scheduler::FourBsd),
        _ => None,
    })
}

struct All<'a> {
    reader: Reader<'a>,
    scheduler: Option<Scheduler>,
    threads: Threads<'a>,
    /// How many threads of run queues are read at most from now on.
    left: usize,
}

impl<'a> All<'a> {
    fn cpu(&mut self, cpu: u32) -> CpuQueues {
        let typed = self.reader.typed;
        let threads = typed.pcpu(cpu).and_then(|pcpu| {
            let pcpu = pcpu.ok_or_else(|| Error::Format(format!("CPU {cpu} has no struct pcpu")))?;
            Ok((pcpu.member("pc_curthread")?.unsigned()?, pcpu.member("pc_idlethread")?.unsigned()?))
        });
        let threads = self.reader.keep(|| format!("the threads of CPU {cpu}"), threads);
        let (load, queued) = match self.scheduler {
            Some(Scheduler::Ule) => self.ule(cpu),
            Some(Scheduler::FourBsd) => self.four_bsd(cpu),
            None => (None, None),
        };
        let current = threads.filter(|(current, _)| *current != 0).map(|(current, _)| self.threads.name(current));
        CpuQueues { cpu, current, is_idle: threads.map(|(current, idle)| current == idle), load, queued }
    }

    fn ule(&mut self, cpu: u32) -> (Option<i64>, Option<Vec<QueuedThread>>) {
        let what = format!("the run queues of CPU {cpu}");
        let queues = variable_of_cpu(self.reader.typed, ("tdq", "tdq_cpu"), cpu).and_then(|queues| queues.fetched());
        let Some(queues) = self.reader.keep(|| what.clone(), queues) else { return (None, None) };
        let load = queues.member("tdq_load").and_then(|load| load.signed());
        let load = self.reader.keep(|| format!("the load of CPU {cpu}"), load);
        let members = ULE_QUEUES.iter().filter_map(|(member, queue)| Some((queues.member(member).ok()?, *queue)));
        let members: Vec<_> = members.collect();
        let mut queued = Vec::new();
        for (member, queue) in members {
            queued.extend(self.run_queue(&what, &member, queue));
        }
        (load, Some(queued))
    }

    fn four_bsd(&mut self, cpu: u32) -> (Option<i64>, Option<Vec<QueuedThread>>) {
        let typed = self.reader.typed;
        let load = typed.variable("runq_length").and_then(|all| all.index(cpu.into())?.signed());
        let load = self.reader.keep(|| format!("the load of CPU {cpu}"), load);
        let what = format!("the run queue of CPU {cpu}");
        let queue = typed.variable("runq_pcpu").and_then(|all| all.index(cpu.into())?.fetched());
        let Some(queue) = self.reader.keep(|| what.clone(), queue) else { return (load, None) };
        (load, Some(self.run_queue(&what, &queue, RunQueue::All)))
    }

    /// The run queue of all CPUs.
    fn shared(&mut self) -> Option<Vec<QueuedThread>> {
        let what = "the run queue of all CPUs";
        let queue = self.reader.typed.variable("runq").and_then(|queue| queue.fetched());
        let queue = self.reader.keep(|| what.to_owned(), queue)?;
        Some(self.run_queue(what, &queue, RunQueue::All))
    }

    /// The threads of a `struct runq`.
    fn run_queue(&mut self, what: &str, run_queue: &Object<'a>, queue: RunQueue) -> Vec<QueuedThread> {
        let lists = run_queue.member("rq_queues");
        let Some(lists) = self.reader.keep(|| what.to_owned(), lists) else { return Vec::new() };
        let mut queued = Vec::new();
        for index in 0..lists.count().unwrap_or(0).min(MAX_QUEUES) {
            let what = format!("list {index} of {what}");
            let threads = lists.index(index).and_then(|head| {
                if head.member("tqh_first")?.unsigned()? == 0 {
                    return Ok(Vec::new());
                }
                self.reader.list(&what, &head, "td_runq", self.left)
            });
            for thread in self.reader.keep(|| what.clone(), threads).into_iter().flatten() {
                self.left = self.left.saturating_sub(1);
                queued.push(self.queued_thread(&what, &thread, (queue, index)));
            }
        }
        queued
    }

    fn queued_thread(&mut self, what: &str, thread: &Object<'a>, (queue, index): (RunQueue, u64)) -> QueuedThread {
        let address = thread.address();
        let name = format!("the thread at {}", Hex(address));
        if self.threads.find(address).is_none() {
            self.reader.warn(|| format!("no process has {name}, which is in {what}"));
        }
        let priority = self.reader.number(&name, thread, "td_priority");
        let class = self.reader.number(&name, thread, "td_pri_class").and_then(priority_class);
        QueuedThread { thread: self.threads.name(address), queue, index, priority, class }
    }
}

fn priority_class(class: u64) -> Option<PriorityClass> {
    Some(match class & !PRI_FIFO_BIT {
        1 => PriorityClass::Interrupt,
        2 => PriorityClass::Realtime,
        3 => PriorityClass::Timeshare,
        4 => PriorityClass::Idle,
        _ => return None,
    })
}

impl PriorityClass {
    const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "interrupt",
            Self::Realtime => "realtime",
            Self::Timeshare => "timeshare",
            Self::Idle => "idle",
        }
    }
}

impl RunQueue {
    const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Realtime => "realtime",
            Self::Timeshare => "timeshare",
            Self::Idle => "idle",
        }
    }
}

impl Topic for RunQueues {
    /// The CPUs with what they run, and, if there are any, the threads in run queues.
    fn tables(&self) -> Vec<Table> {
        let columns =
            [right("CPU"), right("PID"), right("TID"), left("COMMAND"), left("IDLE"), right("LOAD"), right("QUEUED")];
        let cpus = Table::new(columns, self.cpus.iter().map(cpu_row).collect()).captioned("CPUs and what they run");
        let of_cpu = |cpu: &CpuQueues| {
            let rows = cpu.queued.iter().flatten().map(|thread| queued_row(Some(cpu.cpu), thread));
            rows.collect::<Vec<_>>()
        };
        let shared = self.shared.iter().map(|thread| queued_row(None, thread));
        let queued: Vec<_> = self.cpus.iter().flat_map(of_cpu).chain(shared).collect();
        let columns = [
            right("CPU"),
            left("QUEUE"),
            right("INDEX"),
            right("PRI"),
            left("CLASS"),
            right("PID"),
            right("TID"),
            left("COMMAND"),
        ];
        let queued = Some(queued).filter(|rows| !rows.is_empty());
        let queued = queued.map(|rows| Table::new(columns, rows).captioned("Threads in run queues"));
        std::iter::once(cpus).chain(queued).collect()
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn cpu_row(cpu: &CpuQueues) -> Vec<String> {
    let current = cpu.current.as_ref();
    vec![
        cpu.cpu.to_string(),
        cell(current.and_then(|thread| thread.pid)),
        cell(current.and_then(|thread| thread.tid)),
        cell(current.map(ThreadName::names)),
        cell(cpu.is_idle.map(|is_idle| if is_idle { "yes" } else { "no" })),
        cell(cpu.load),
        cell(cpu.queued.as_ref().map(Vec::len)),
    ]
}

fn queued_row(cpu: Option<u32>, one: &QueuedThread) -> Vec<String> {
    vec![
        cell(cpu),
        one.queue.name().to_owned(),
        one.index.to_string(),
        cell(one.priority),
        cell(one.class.map(PriorityClass::name)),
        cell(one.thread.pid),
        cell(one.thread.tid),
        one.thread.names(),
    ]
}
