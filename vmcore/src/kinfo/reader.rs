//! The state of reading: what was read once, and what could not be.

use super::MissingArguments;
use super::info::{Credentials, Group};
use super::times::Clock;
use crate::error::{Error, Result};
use crate::kernel::{Object, Processes, TypedMemory};
use crate::units::Hex;
use crate::warnings::Warnings;
use std::collections::HashMap;
use std::rc::Rc;

/// More bytes than a name in the kernel has.
const MAX_NAME: usize = 64;

/// Reads processes.
pub(super) struct Reader<'a> {
    pub typed: TypedMemory<'a>,
    pub clock: Clock,
    /// The thread ID and process ID of each `struct thread`, by its address.
    pub threads: HashMap<u64, (i32, i32)>,
    /// The types of sleep queues by their channels, where they were read.
    pub queue_types: HashMap<u64, u32>,
    /// Where `prison0` is: whoever is in another one is in a jail.
    pub host_prison: Option<u64>,
    pub credentials: HashMap<u64, Option<Rc<Credentials>>>,
    pub groups: HashMap<u64, Option<Rc<Group>>>,
    names: HashMap<u64, Option<Rc<[u8]>>>,
    warnings: Warnings,
    /// Processes that have no arguments that can be read.
    pub missing_arguments: Vec<MissingArguments>,
}

impl<'a> Reader<'a> {
    pub fn new(typed: TypedMemory<'a>, processes: &Processes) -> Self {
        let ids = processes
            .list
            .iter()
            .flat_map(|process| process.threads.iter().map(|thread| (thread.address, (thread.tid, process.pid))));
        Self {
            typed,
            clock: Clock::read(typed),
            threads: ids.collect(),
            queue_types: HashMap::new(),
            host_prison: typed.symbol("prison0").ok(),
            credentials: HashMap::new(),
            groups: HashMap::new(),
            names: HashMap::new(),
            warnings: Warnings::default(),
            missing_arguments: Vec::new(),
        }
    }

    /// The value, if it could be read; else there is a warning, unless this kernel has no such thing at all.
    pub fn keep<T>(&mut self, what: impl FnOnce() -> String, read: Result<T>) -> Option<T> {
        self.warnings.keep(what, read)
    }

    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings).into_list("warnings")
    }

    /// The text that a pointer leads to, which many structures point to; `None` of a null pointer, and where it cannot be
    /// read.
    pub fn name(&mut self, pointer: &Object<'a>) -> Option<Rc<[u8]>> {
        let address = pointer.unsigned().ok().filter(|address| *address != 0)?;
        if let Some(name) = self.names.get(&address) {
            return name.clone();
        }
        let text = pointer.typed().memory.string(address, MAX_NAME).map_err(Error::from);
        let name = self.keep(|| format!("the name at {}", Hex(address)), text).map(Rc::from);
        self.names.insert(address, name.clone());
        name
    }
}
