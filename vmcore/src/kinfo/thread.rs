//! What the kernel tells of a thread.
//!
//! Sources: `struct thread` in `sys/sys/proc.h`, `fill_kinfo_thread()` in `sys/kern/kern_proc.c`, `sys/sys/priority.h`.

use super::info::{Priority, ThreadInfo};
use super::members::{first_signals, int, number, number32, whole};
use super::reader::Reader;
use super::times::{CpuTime, RawTime, seconds_since};
use super::usage::usage_of;
use crate::kernel::{Object, Thread};
use crate::units::Hex;

/// Bits of `td_inhibitors`: it sleeps, it waits for a lock.
const TDI_SLEEPING: u32 = 0x2;
const TDI_LOCK: u32 = 0x8;
/// Values of `td_state` from which on it runs or can: `TDS_CAN_RUN`, `TDS_RUNQ`, `TDS_RUNNING`.
const TDS_CAN_RUN: u32 = 2;
/// No CPU (`NOCPU`), which has one byte before FreeBSD 11.
const NO_CPU: i32 = -1;

impl<'a> Reader<'a> {
    /// What the kernel tells of a thread, and its structure. Where it cannot be read, little is known.
    pub fn thread(&mut self, thread: &Thread) -> Option<(ThreadInfo, Object<'a>)> {
        let found = self.typed.structure_at("thread", thread.address).map(|object| whole(&object));
        let object = self.keep(|| format!("the thread at {}", Hex(thread.address)), found)?;
        let inhibitors = number32(&object, "td_inhibitors").unwrap_or(0);
        let wait_channel = number(&object, "td_wchan").filter(|address| *address != 0);
        let mut text = |member: &str| object.member(member).ok().and_then(|pointer| self.name(&pointer));
        let info = ThreadInfo {
            address: thread.address,
            tid: thread.tid,
            name: thread.name.as_slice().into(),
            flags: number32(&object, "td_flags"),
            is_runnable: state(&object).map(|state| state >= TDS_CAN_RUN),
            is_sleeping: inhibitors & TDI_SLEEPING != 0,
            is_on_lock: inhibitors & TDI_LOCK != 0,
            wait_channel,
            wait_message: text("td_wmesg"),
            lock_name: text("td_lockname"),
            waits_for: None,
            held: Vec::new(),
            priority: priority(&object),
            on_cpu: int(&object, "td_oncpu").filter(|cpu| *cpu != NO_CPU),
            last_cpu: int(&object, "td_lastcpu"),
            slept: seconds_since(&self.clock, &object, "td_slptick"),
            copy_faults: number32(&object, "td_cow"),
            stack_pages: number(&object, "td_kstack_pages"),
            blocked_signals: first_signals(&object, "td_sigmask"),
            pending_signals: first_signals(&object, "td_sigqueue.sq_signals"),
            time: self.thread_time(&object),
            usage: object.member("td_ru").ok().map(|usage| usage_of(&usage)),
        };
        Some((info, object))
    }

    fn thread_time(&self, thread: &Object<'a>) -> Option<CpuTime> {
        let raw = RawTime::new(&thread.member("td_rux").ok()?).and_then(|raw| raw.with_pending(thread));
        self.clock.cpu_time(&raw.ok()?)
    }
}

/// `td_state`, which has no type of its own in some kernels.
fn state(thread: &Object<'_>) -> Option<u32> {
    number32(thread, "td_state")
}

fn priority(thread: &Object<'_>) -> Priority {
    Priority {
        level: number32(thread, "td_priority"),
        user: number32(thread, "td_user_pri"),
        class: number32(thread, "td_pri_class"),
    }
}
