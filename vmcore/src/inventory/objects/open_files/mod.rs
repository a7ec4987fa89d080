//! Files that processes have open, as fstat(1) shows them: those of their descriptors, and the program, directories and
//! terminal that each process has.
//!
//! Sources: `struct filedesc` in `sys/sys/filedesc.h`, `struct file` in `sys/sys/file.h`, `kern_proc_filedesc_out()` in
//! `sys/kern/kern_descrip.c`, `usr.bin/fstat/fstat.c`.

mod file;
mod mode;
mod reader;
mod socket;
mod table;

pub(crate) use file::octal;
pub use file::{Details, File, FileUse, OpenFile, PipeEnd, SharedObject, VnodeFile};
pub(crate) use mode::mode_letters;
pub use socket::{Endpoint, Socket};

use crate::text::Name;
use serde::Serialize;

/// The files of all processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct OpenFiles {
    /// Processes that are no zombies, in the order of the kernel's lists.
    pub processes: Vec<ProcessFiles>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// The files of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProcessFiles {
    /// Its process ID.
    pub pid: i32,
    /// The name of its program.
    pub command: Name,
    /// Its effective user ID.
    pub user_id: Option<u64>,
    /// Its program, terminal and directories, and then its descriptors in ascending order; `None` if none of these can be read.
    pub files: Option<Vec<OpenFile>>,
}
