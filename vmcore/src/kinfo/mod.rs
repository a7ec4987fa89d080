//! What the kernel tells ps(1) of processes and threads, `struct kinfo_proc`, read from its memory by its types: parents,
//! credentials, states, times, sizes, arguments, and the locks that threads wait for and hold.
//!
//! The values are those that the running kernel's `fill_kinfo_proc()` computes (`sys/kern/kern_proc.c`), not the fewer ones of
//! `kvm_getprocs` on a dump. What cannot be read is not known, and a warning says so; what this kernel's structures do not have
//! is not known either, without one.
//!
//! ```no_run
//! use std::path::Path;
//! use vmcore::Kernel;
//! use vmcore::kinfo::ProcessTable;
//! use vmcore::types::ctf::CtfTypes;
//!
//! # fn main() -> vmcore::Result<()> {
//! let mut kernel = Kernel::open(Path::new("vmcore.0"), Some(Path::new("/boot/kernel/kernel")))?;
//! kernel.load_types(&mut CtfTypes::default())?;
//! let processes = kernel.processes()?;
//! let table = ProcessTable::read(kernel.typed()?, &processes);
//! for (process, info) in processes.list.iter().zip(&table.processes) {
//!     println!("{} {:?} {:?}", process.pid, info.parent, info.start);
//! }
//! # Ok(())
//! # }
//! ```

mod arguments;
mod cell;
pub(crate) mod credentials;
mod info;
mod keyword;
mod locks;
mod members;
mod process;
mod reader;
mod row;
mod session;
mod state;
mod thread;
mod times;
mod usage;
mod wait;

pub use arguments::{arguments, environment};
pub use info::{
    CommandLine, Credentials, HeldLock, Job, Lock, LockOwner, LockWait, Priority, ProcessInfo, ProcessState, Signals,
    Sizes, Terminal, ThreadInfo, Usage,
};
pub use keyword::{ALIASES, KEYWORDS, Keyword, UNAVAILABLE, find_keyword, suggest_keyword};
pub use row::{OwnerNames, Row, UNKNOWN};
pub use state::RunState;
pub use times::{Clock, CpuTime, Timestamp};
pub use wait::{Wait, WaitReader};

use crate::kernel::{Processes, TypedMemory};
use reader::Reader;

/// What a kernel tells of all its processes.
#[derive(Debug, Clone)]
pub struct ProcessTable {
    /// Of each process, in the order of [`Processes::list`].
    pub processes: Vec<ProcessInfo>,
    /// What times are computed with.
    pub clock: Clock,
    /// Bytes of a page.
    pub page_size: u64,
    /// Pages of RAM (`hw.availpages`), if that is known.
    pub physical_pages: Option<u64>,
    /// What could not be read, with the address.
    pub warnings: Vec<String>,
    /// Processes whose arguments cannot be read: most dumps do not have the memory of processes, where the kernel leaves long
    /// ones.
    pub missing_arguments: Vec<MissingArguments>,
}

/// A process whose arguments cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingArguments {
    /// Its process ID.
    pub pid: i32,
    /// Why they cannot.
    pub why: String,
}

impl ProcessTable {
    /// Reads what the kernel tells of processes that were listed.
    pub fn read(typed: TypedMemory<'_>, processes: &Processes) -> Self {
        let mut reader = Reader::new(typed, processes);
        let mut table = Self {
            processes: processes.list.iter().map(|process| reader.process(process)).collect(),
            clock: reader.clock,
            page_size: typed.memory.page_size(),
            physical_pages: typed.symbol("physmem").and_then(|at| Ok(typed.memory.pointer(at)?)).ok(),
            warnings: reader.take_warnings(),
            missing_arguments: reader.missing_arguments,
        };
        locks::add_waited_for(&mut table.processes);
        table
    }
}
