//! Locks that threads wait for and hold.
//!
//! Threads that wait for a mutex or a reader-writer lock are on a turnstile, which knows the lock and its owner. Threads that
//! wait for an sx or a lockmgr lock sleep on it, with its name as the reason. Which locks a thread holds is recorded by
//! `WITNESS` alone; without it, those are known that others wait for.
//!
//! Sources: `sys/sys/_lock.h`, `sys/sys/lock.h`, `sys/kern/subr_turnstile.c`, `subr_lock.c`, `subr_witness.c`, `sys/sys/sx.h`,
//! `sys/sys/lockmgr.h`.

use super::info::{HeldLock, Lock, LockOwner, LockWait, ProcessInfo, ThreadInfo};
use super::members::{number, number32, target};
use super::reader::Reader;
use crate::error::{Error, Result};
use crate::kernel::{Object, TypedMemory};
use crate::text::Name;
use std::collections::HashMap;

/// More locks than a thread holds.
const MAX_HELD: usize = 256;
/// More bytes than the name of a lock has.
const MAX_NAME: usize = 64;
/// `LO_INITIALIZED`, and the number of its class in the flags of a lock.
const INITIALIZED: u32 = 0x1_0000;
const CLASS_MASK: u32 = 0xf;
const CLASS_SHIFT: u32 = 24;
/// Bits of an sx or lockmgr lock's word that are no part of its owner's address; the lowest says that it is shared.
const FLAGS: u64 = 0x1f;
const SHARED: u64 = 1;
/// Where the number of threads that share a lock begins in its word.
const SHARERS_SHIFT: u32 = 5;
/// The type of the sleep queue of a lockmgr lock (`SLEEPQ_LK`, `sys/sys/sleepqueue.h`).
const SLEEPQ_LK: u32 = 4;

impl<'a> Reader<'a> {
    /// A thread with the locks that it waits for and holds.
    pub fn with_locks(&mut self, thread: ThreadInfo, structure: &Object<'a>) -> ThreadInfo {
        let waits_for = self.lock_wait(&thread, structure);
        let what = || format!("the lock that thread {} holds", thread.tid);
        let contested = self.keep(what, contested(structure)).unwrap_or_default();
        let witnessed = self.keep(what, witnessed(structure)).unwrap_or_default();
        let mut held: Vec<HeldLock> = contested.into_iter().map(|lock| HeldLock { lock, is_contested: true }).collect();
        for lock in witnessed {
            if !held.iter().any(|held| held.lock.address == lock.address) {
                held.push(HeldLock { lock, is_contested: false });
            }
        }
        ThreadInfo { waits_for, held, ..thread }
    }

    /// The lock that a thread waits for.
    pub fn lock_wait(&mut self, thread: &ThreadInfo, structure: &Object<'a>) -> Option<LockWait> {
        let found = if thread.is_on_lock {
            self.turnstile_wait(structure)
        } else {
            thread.wait_channel.map_or(Ok(None), |channel| self.sleep_wait(structure, channel))
        };
        self.keep(|| format!("the lock that thread {} waits for", thread.tid), found).flatten()
    }

    fn owner(&self, thread: u64) -> Option<LockOwner> {
        self.threads.get(&thread).map(|(tid, pid)| LockOwner { tid: *tid, pid: *pid })
    }

    /// The lock of the turnstile that a thread is on.
    fn turnstile_wait(&self, thread: &Object<'a>) -> Result<Option<LockWait>> {
        let Some(turnstile) = target(thread, "td_blocked")? else { return Ok(None) };
        let Some(lock) = target(&turnstile, "ts_lockobj")? else { return Ok(None) };
        let lock = lock_of(&lock);
        let owner = number(&turnstile, "ts_owner").filter(|owner| *owner != 0);
        let is_rw = lock.class.as_ref().is_some_and(|class| class.as_bytes() == b"rw");
        let word = is_rw.then(|| word_of(thread.typed(), &lock, "rwlock", "rw_lock").ok()).flatten();
        Ok(Some(self.wait(lock, owner, word)))
    }

    /// The lock that a thread sleeps on, if it does: the reason for its sleep is that lock's own name then.
    fn sleep_wait(&self, thread: &Object<'a>, channel: u64) -> Result<Option<LockWait>> {
        let typed = thread.typed();
        let object = typed.structure_at("lock_object", channel)?;
        // Threads sleep on anything, also on what is no memory.
        let Ok(object) = object.fetched() else { return Ok(None) };
        let flags = number32(&object, "lo_flags").unwrap_or(0);
        if flags & INITIALIZED == 0 {
            return Ok(None);
        }
        let is_reason = number(&object, "lo_name") == number(thread, "td_wmesg");
        let lock = lock_of(&object);
        let (structure, word) = match lock.class.as_ref().map(Name::as_bytes) {
            Some(b"sx") if is_reason => ("sx", "sx_lock"),
            // Whoever waits for it can give another reason, as for buffers.
            Some(b"lockmgr") if is_reason || self.queue_types.get(&channel) == Some(&SLEEPQ_LK) => ("lock", "lk_lock"),
            _ => return Ok(None),
        };
        let word = word_of(typed, &lock, structure, word)?;
        let owner = (word & SHARED == 0).then_some(word & !FLAGS).filter(|owner| *owner != 0);
        Ok(Some(self.wait(lock, owner, Some(word))))
    }

    /// The wait for a lock, whose word also says how many threads share it.
    fn wait(&self, lock: Lock, owner_address: Option<u64>, word: Option<u64>) -> LockWait {
        let sharers = word.filter(|word| word & SHARED != 0).map(|word| word >> SHARERS_SHIFT);
        LockWait { lock, owner: owner_address.and_then(|owner| self.owner(owner)), owner_address, sharers }
    }
}

/// Adds to the locks that a thread holds those that others wait for.
pub(super) fn add_waited_for(processes: &mut [ProcessInfo]) {
    let threads = processes.iter().flat_map(|process| &process.threads);
    let mut wanted: HashMap<i32, Vec<Lock>> = HashMap::new();
    for wait in threads.filter_map(|thread| thread.waits_for.as_ref()) {
        if let Some(owner) = wait.owner {
            wanted.entry(owner.tid).or_default().push(wait.lock.clone());
        }
    }
    for thread in processes.iter_mut().flat_map(|process| &mut process.threads) {
        for lock in wanted.remove(&thread.tid).into_iter().flatten() {
            match thread.held.iter_mut().find(|held| held.lock.address == lock.address) {
                Some(held) => held.is_contested = true,
                None => thread.held.push(HeldLock { lock, is_contested: true }),
            }
        }
    }
}

fn word_of(typed: TypedMemory<'_>, lock: &Lock, structure: &str, member: &str) -> Result<u64> {
    typed.structure_at(structure, lock.address)?.member(member)?.unsigned()
}

impl Lock {
    /// The lock whose `struct lock_object` this is; what cannot be read of it is not known.
    pub(crate) fn read(object: &Object<'_>) -> Self {
        lock_of(object)
    }
}

fn lock_of(object: &Object<'_>) -> Lock {
    let text = |pointer: Result<Object<'_>>| pointer.and_then(|pointer| pointer.string(MAX_NAME)).ok().flatten();
    let class = number32(object, "lo_flags").map(|flags| flags >> CLASS_SHIFT & CLASS_MASK);
    let class = class.and_then(|class| {
        let class = object.typed().variable("lock_classes").and_then(|classes| classes.index(class.into())?.follow());
        text(class.ok().flatten()?.member("lc_name"))
    });
    Lock {
        address: object.address(),
        name: text(object.member("lo_name")).map(Name::from),
        class: class.map(Name::from),
    }
}

/// The locks of the turnstiles that a thread owns.
fn contested(thread: &Object<'_>) -> Result<Vec<Lock>> {
    let turnstiles = thread.member("td_contested")?.member("lh_first")?.chain("ts_link.le_next", MAX_HELD)?;
    let locks = turnstiles.iter().map(|turnstile| target(turnstile, "ts_lockobj"));
    locks.filter_map(Result::transpose).map(|lock| lock.map(|lock| lock_of(&lock))).collect()
}

/// The locks that `WITNESS` has recorded of a thread.
fn witnessed(thread: &Object<'_>) -> Result<Vec<Lock>> {
    let mut found = Vec::new();
    for entry in thread.member("td_sleeplocks")?.chain("ll_next", MAX_HELD)? {
        let instances = entry.member("ll_children")?;
        let (count, limit) = (entry.member("ll_count")?.unsigned()?, instances.count().unwrap_or(0));
        if count > limit {
            return Err(Error::Format(format!("a struct lock_list_entry has {count} of {limit} locks")));
        }
        for index in 0..count {
            found.extend(target(&instances.index(index)?, "li_lock")?.map(|lock| lock_of(&lock)));
        }
    }
    Ok(found)
}
