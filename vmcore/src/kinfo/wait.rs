//! What threads wait for.
//!
//! Sources: `td_wmesg` and `td_lockname` of `struct thread` (`sys/sys/proc.h`); msleep(9), locking(9).

use super::info::{LockWait, ThreadInfo};
use super::reader::Reader;
use super::row::UNKNOWN;
use super::times::seconds_since;
use crate::kernel::{Processes, Thread, TypedMemory};
use crate::text::Name;
use crate::units::Hex;
use std::collections::HashMap;
use std::fmt;

/// What a thread waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// Why it sleeps, as ps(1) shows it (`mwchan`), or the name of the lock.
    pub message: Option<Name>,
    /// The address that it sleeps on.
    pub channel: Option<u64>,
    /// Whether it is on a turnstile, and not on a sleep queue.
    pub is_on_turnstile: bool,
    /// For how many seconds it waits.
    pub seconds: Option<u32>,
    /// The lock, if the types tell which that is.
    pub lock: Option<LockWait>,
}

/// Reads what threads wait for.
pub struct WaitReader<'a>(Reader<'a>);

impl<'a> WaitReader<'a> {
    /// Of the threads of these processes.
    pub fn new(typed: TypedMemory<'a>, processes: &Processes) -> Self {
        Self(Reader::new(typed, processes))
    }

    /// The same, with the types of sleep queues (`sq_type` in `sys/kern/subr_sleepqueue.c`) by their channels: they tell apart
    /// locks from what looks like them.
    #[must_use]
    pub fn with_queue_types(mut self, types: HashMap<u64, u32>) -> Self {
        self.0.queue_types = types;
        self
    }

    /// What could not be read.
    pub fn take_warnings(&mut self) -> Vec<String> {
        self.0.take_warnings()
    }

    /// What a thread waits for; `None` where it does not, and where that cannot be read.
    pub fn read(&mut self, thread: &Thread) -> Option<Wait> {
        let (info, structure) = self.0.thread(thread)?;
        let message = wait_message(&info)?;
        let is_on_turnstile = info.is_on_lock;
        let seconds = match is_on_turnstile {
            true => seconds_since(&self.0.clock, &structure, "td_blktick"),
            false => info.slept.filter(|_| info.is_sleeping),
        };
        let lock = self.0.lock_wait(&info, &structure);
        let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
        Some(Wait { message, channel: info.wait_channel, is_on_turnstile, seconds, lock })
    }
}

/// Why a thread waits, if it does.
fn wait_message(thread: &ThreadInfo) -> Option<Option<Name>> {
    let message = match (thread.is_on_lock, thread.wait_channel) {
        (true, _) => &thread.lock_name,
        (false, Some(_)) => &thread.wait_message,
        (false, None) => return None,
    };
    Some(message.as_deref().filter(|message| !message.is_empty()).map(Name::from))
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(LockWait { lock, owner, .. }) = &self.lock else {
            return match (&self.message, self.channel) {
                (Some(message), _) => write!(f, "waits for {message}"),
                (None, Some(channel)) => write!(f, "waits for {}", Hex(channel)),
                (None, None) => f.write_str("waits for a lock"),
            };
        };
        let name = |name: &Option<Name>| name.as_ref().map_or_else(|| UNKNOWN.to_owned(), Name::to_string);
        write!(f, "waits for {} ({})", name(&lock.name), name(&lock.class))?;
        match owner {
            Some(owner) => write!(f, " of TID {}", owner.tid),
            None => Ok(()),
        }
    }
}
