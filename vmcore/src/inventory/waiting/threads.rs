//! Threads and locks as the sections of this folder show them.

use crate::kernel::{Process, Processes, Thread};
use crate::kinfo::LockWait;
use crate::text::{Name, column};
use crate::units::Hex;
use serde::Serialize;
use std::collections::HashMap;

/// A thread and its process. What is not known of a thread that no process has is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ThreadName {
    /// Its process ID.
    pub pid: Option<i32>,
    /// Its thread ID.
    pub tid: Option<i32>,
    /// The name of its process's program.
    pub command: Option<Name>,
    /// Its own name.
    pub thread_name: Option<Name>,
    /// Where its `struct thread` is.
    #[serde(rename = "address")]
    pub address: Hex,
}

/// A lock that a thread waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitedLock {
    /// Where it is.
    pub address: Hex,
    /// Its name.
    pub name: Option<Name>,
    /// Its class, as the kernel calls it.
    pub class: Option<Name>,
    /// The thread that owns it; `None` if none does alone, or it is not known.
    #[serde(rename = "owner_thread")]
    pub owner: Option<ThreadName>,
    /// Where it says that its owner's `struct thread` is, whether there is one or not.
    pub owner_address: Option<Hex>,
    /// How many threads share it, if it is shared and that is known.
    pub sharer_count: Option<u64>,
}

impl ThreadName {
    fn new(process: &Process, thread: &Thread) -> Self {
        // Damaged memory can have negative ones.
        let id = |id: i32| (id >= 0).then_some(id);
        Self {
            pid: id(process.pid),
            tid: id(thread.tid),
            command: Some(Name::from(&*process.command)),
            thread_name: Some(Name::from(&*thread.name)),
            address: Hex(thread.address),
        }
    }

    /// A thread that no process has.
    fn unknown(address: u64) -> Self {
        Self { pid: None, tid: None, command: None, thread_name: None, address: Hex(address) }
    }

    /// The names in a column: of the process, and of the thread where that has another one.
    pub(super) fn names(&self) -> String {
        let text =
            |name: &Option<Name>| name.as_ref().filter(|name| !name.is_empty()).map(|name| column(name.as_bytes()));
        match (text(&self.command), text(&self.thread_name)) {
            (Some(command), Some(thread)) if command != thread => format!("{command}/{thread}"),
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => "-".to_owned(),
        }
    }
}

/// All threads of processes, by their addresses.
pub(super) struct Threads<'a>(HashMap<u64, (&'a Process, &'a Thread)>);

impl<'a> Threads<'a> {
    pub fn new(processes: &'a Processes) -> Self {
        Self(processes.threads().map(|(process, thread)| (thread.address, (process, thread))).collect())
    }

    /// The thread at an address, if a process has it.
    pub fn find(&self, address: u64) -> Option<ThreadName> {
        self.0.get(&address).map(|(process, thread)| ThreadName::new(process, thread))
    }

    /// The thread at an address, whether a process has it or not.
    pub fn name(&self, address: u64) -> ThreadName {
        self.find(address).unwrap_or_else(|| ThreadName::unknown(address))
    }

    /// The lock that a thread waits for.
    pub fn lock(&self, wait: &LockWait) -> WaitedLock {
        WaitedLock {
            address: Hex(wait.lock.address),
            name: wait.lock.name.clone(),
            class: wait.lock.class.clone(),
            owner: wait.owner_address.and_then(|owner| self.find(owner)),
            owner_address: wait.owner_address.map(Hex),
            sharer_count: wait.sharers,
        }
    }
}
