//! What is known of processes and threads.
//!
//! Sources: `struct kinfo_proc` in `sys/sys/user.h`; flags in `sys/sys/proc.h`, scheduling classes in `sys/sys/priority.h`.

use super::times::{CpuTime, Timestamp};
use crate::text::Name;
use std::rc::Rc;

/// Values of `p_flag`.
pub(super) const P_CONTROLT: u32 = 0x2;
pub(super) const P_PPWAIT: u32 = 0x10;
pub(super) const P_SYSTEM: u32 = 0x200;
pub(super) const P_TRACED: u32 = 0x800;
pub(super) const P_WEXIT: u32 = 0x2000;
/// `P_STOPPED_SIG`, `P_STOPPED_TRACE`, `P_STOPPED_SINGLE`.
pub(super) const P_STOPPED: u32 = 0x000e_0000;
/// The kernel sets it in what it tells.
pub(super) const P_JAILED: u32 = 0x0100_0000;

/// Its sleep can be interrupted.
pub(super) const TDF_SINTR: u32 = 0x8;
/// Values of `td_pri_class`.
pub(super) const PRI_REALTIME: u32 = 2;
pub(super) const PRI_IDLE: u32 = 4;

/// How far a process is (`p_state`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// It is being created.
    New,
    /// It can run.
    Normal,
    /// It has exited, and its parent has not asked how.
    Zombie,
}

/// Sizes of a process's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// Bytes of its address space.
    pub virtual_bytes: Option<u64>,
    /// Pages in memory, with those of its threads' stacks in the kernel.
    pub resident_pages: Option<u64>,
    /// Pages of text.
    pub text_pages: Option<u64>,
    /// Pages of data.
    pub data_pages: Option<u64>,
    /// Pages of stack.
    pub stack_pages: Option<u64>,
}

/// Resources that were used (`struct rusage`); the numbers wrap around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Page faults that needed no input.
    pub minor_faults: u64,
    /// Page faults that did.
    pub major_faults: u64,
    /// Times it was swapped out.
    pub swaps: u64,
    /// Blocks read.
    pub blocks_read: u64,
    /// Blocks written.
    pub blocks_written: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Signals taken.
    pub signals: u64,
    /// Times it waited.
    pub voluntary_switches: u64,
    /// Times it was interrupted.
    pub involuntary_switches: u64,
}

/// Sets of signals, of which the first 32 are a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signals {
    /// That wait for the process.
    pub pending: Option<u32>,
    /// That it ignores.
    pub ignored: Option<u32>,
    /// That it has functions for.
    pub caught: Option<u32>,
}

/// What the kernel tells of a process. `None` where it cannot be read, or this kernel does not tell.
#[derive(Debug, Clone, Default)]
pub struct ProcessInfo {
    /// How far it is.
    pub state: Option<ProcessState>,
    /// Flags (`P_*`); with `P_JAILED`, which the kernel sets only in what it tells.
    pub flags: Option<u32>,
    /// More flags (`P2_*`).
    pub flags2: Option<u32>,
    /// The process ID of its parent; 0 of one without.
    pub parent: Option<i32>,
    /// The process ID of who traces it; 0 where nobody does.
    pub tracer: Option<i32>,
    /// Its process group and session.
    pub job: Option<Job>,
    /// Its credentials.
    pub credentials: Option<Rc<Credentials>>,
    /// Its nice value, from -20 to 20.
    pub nice: Option<i32>,
    /// How many hold it in memory (`p_lock`).
    pub holds: Option<u32>,
    /// The kind of its program: `FreeBSD ELF64`.
    pub emulation: Option<Rc<[u8]>>,
    /// Its arguments.
    pub arguments: CommandLine,
    /// When it started.
    pub start: Option<Timestamp>,
    /// Seconds since it was swapped in.
    pub residency: Option<i32>,
    /// CPU time of all its threads.
    pub time: Option<CpuTime>,
    /// Sizes of its memory.
    pub sizes: Sizes,
    /// Resources that it used.
    pub usage: Option<Usage>,
    /// Its signals.
    pub signals: Signals,
    /// How it exited, as wait(2) tells it.
    pub exit_status: Option<u32>,
    /// What accounting says of it (acct(5)).
    pub accounting_flags: Option<u32>,
    /// What ktrace(2) records of it.
    pub trace_points: Option<u32>,
    /// The number of its routing table (setfib(2)).
    pub fib: Option<i32>,
    /// Copy-on-write faults of its threads.
    pub copy_faults: Option<u32>,
    /// How many threads it has.
    pub thread_count: Option<i32>,
    /// Where its `struct vmspace` is; 0 where it has none.
    pub vmspace: Option<u64>,
    /// Its threads, in the order of [`crate::kernel::Process::threads`], without those that cannot be read.
    pub threads: Vec<ThreadInfo>,
}

/// The priority of a thread. Smaller numbers are more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Priority {
    /// The priority that it has now.
    pub level: Option<u32>,
    /// The one that it has in programs.
    pub user: Option<u32>,
    /// The scheduling class: 1 interrupts, 2 real time, 3 time sharing, 4 idle; plus 8 of first in, first out.
    pub class: Option<u32>,
}

/// What the kernel tells of a thread.
#[derive(Debug, Clone)]
pub struct ThreadInfo {
    /// Where its `struct thread` is.
    pub address: u64,
    /// Its thread ID.
    pub tid: i32,
    /// Its name.
    pub name: Name,
    /// Flags (`TDF_*`).
    pub flags: Option<u32>,
    /// Whether it runs or is ready to.
    pub is_runnable: Option<bool>,
    /// Whether it sleeps.
    pub is_sleeping: bool,
    /// Whether it waits for a lock on which threads do not sleep.
    pub is_on_lock: bool,
    /// What it sleeps on: an address; `None` where it does not sleep.
    pub wait_channel: Option<u64>,
    /// Why it sleeps.
    pub wait_message: Option<Rc<[u8]>>,
    /// The name of the lock that it waits for.
    pub lock_name: Option<Rc<[u8]>>,
    /// The lock that it waits for, if the types tell which that is.
    pub waits_for: Option<LockWait>,
    /// The locks that it holds, as far as that is known: all of a kernel with `WITNESS`, else those that others wait for.
    pub held: Vec<HeldLock>,
    /// Its priority.
    pub priority: Priority,
    /// The CPU that it is on.
    pub on_cpu: Option<i32>,
    /// The CPU that it was last on.
    pub last_cpu: Option<i32>,
    /// Seconds since it went to sleep.
    pub slept: Option<i32>,
    /// Copy-on-write faults.
    pub copy_faults: Option<u32>,
    /// Pages of its stack in the kernel.
    pub stack_pages: Option<u64>,
    /// The first 32 signals that it has blocked: a bit each.
    pub blocked_signals: Option<u32>,
    /// The first 32 signals that wait for it: a bit each.
    pub pending_signals: Option<u32>,
    /// CPU time of its own.
    pub time: Option<CpuTime>,
    /// Resources that it used.
    pub usage: Option<Usage>,
}

/// `struct ucred`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The effective user ID.
    pub uid: Option<u32>,
    /// The real user ID.
    pub ruid: Option<u32>,
    /// The saved user ID.
    pub svuid: Option<u32>,
    /// The effective group ID.
    pub gid: Option<u32>,
    /// The real group ID.
    pub rgid: Option<u32>,
    /// The saved group ID.
    pub svgid: Option<u32>,
    /// Whether it is in capability mode (capsicum(4)).
    pub is_in_capability_mode: bool,
    /// Whether it is in a jail.
    pub is_jailed: bool,
    /// The jail's ID; 0 of the host.
    pub jail_id: Option<i32>,
    /// The jail's name.
    pub jail: Option<Name>,
    /// The login class (login.conf(5)).
    pub login_class: Option<Name>,
}

/// A process group, its session, and the session's terminal: what all its processes share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub pgid: Option<i32>,
    pub sid: Option<i32>,
    pub login: Option<Name>,
    /// The address of the `struct proc` that leads the session.
    pub leader: Option<u64>,
    pub has_terminal_vnode: bool,
    pub terminal: Option<Terminal>,
}

/// The process group and session of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// The ID of its process group.
    pub pgid: Option<i32>,
    /// The ID of its session.
    pub sid: Option<i32>,
    /// Who logged in (setlogin(2)); empty where nobody did.
    pub login: Option<Name>,
    /// Whether it leads its session.
    pub is_leader: bool,
    /// Whether the session's terminal can still be reached (`KI_CTTY`).
    pub has_terminal_vnode: bool,
    /// Its controlling terminal.
    pub terminal: Option<Terminal>,
}

/// A terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// Its number in devfs(4), as stat(2) tells it; `None` where the device is gone.
    pub number: Option<u64>,
    /// Its name in devfs(4), without the directory.
    pub name: Option<Name>,
    /// The process group in its foreground.
    pub pgid: Option<i32>,
    /// The session that it is the terminal of.
    pub sid: Option<i32>,
}

/// The arguments of a process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CommandLine {
    /// They cannot be read.
    #[default]
    Unknown,
    /// It has none: it is a kernel process, or has exited.
    None,
    /// What they are; the first is the program as it was called.
    Known(Vec<Vec<u8>>),
}

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Where its `struct lock_object` is, with which every lock begins.
    pub address: u64,
    /// Its name.
    pub name: Option<Name>,
    /// Its class, as the kernel calls it: `sleep mutex`, `rw`, `sx`, `lockmgr`.
    pub class: Option<Name>,
}

/// Who owns a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockOwner {
    /// The thread.
    pub tid: i32,
    /// Its process.
    pub pid: i32,
}

/// A lock that a thread waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockWait {
    /// The lock.
    pub lock: Lock,
    /// Who owns it; `None` where nobody does alone, or that is not known.
    pub owner: Option<LockOwner>,
    /// Where its word or its turnstile says that the owner's `struct thread` is, whether there is a thread or not.
    pub owner_address: Option<u64>,
    /// How many threads share it; `None` where it is not shared, or that is not known.
    pub sharers: Option<u64>,
}

/// A lock that a thread holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLock {
    /// The lock.
    pub lock: Lock,
    /// Whether others wait for it.
    pub is_contested: bool,
}
