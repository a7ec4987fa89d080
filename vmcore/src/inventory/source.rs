//! What a section of the inventory is read from, and what each is.

use crate::error::Result;
use crate::kernel::{Kernel, Processes, TypedMemory};
use crate::table::Table;
use std::borrow::Cow;
use std::cell::OnceCell;

/// A kernel that is read.
pub struct Source<'a> {
    /// The kernel.
    pub kernel: &'a Kernel,
    /// Its memory with its types.
    pub typed: TypedMemory<'a>,
    /// Its processes, once they are asked for.
    processes: OnceCell<Cow<'a, Processes>>,
}

impl<'a> Source<'a> {
    /// A kernel whose types are loaded.
    ///
    /// # Errors
    ///
    /// It has no types.
    pub fn new(kernel: &'a Kernel) -> Result<Self> {
        Ok(Self { kernel, typed: kernel.typed()?, processes: OnceCell::new() })
    }

    /// The same with its processes, which were read already.
    #[must_use]
    pub fn with_processes(self, processes: &'a Processes) -> Self {
        Self { processes: Cow::Borrowed(processes).into(), ..self }
    }

    /// Its processes and threads, which are read once.
    ///
    /// # Errors
    ///
    /// Those of [`Kernel::processes`].
    pub fn processes(&self) -> Result<&Processes> {
        if let Some(processes) = self.processes.get() {
            return Ok(processes);
        }
        let processes = self.kernel.processes()?;
        Ok(self.processes.get_or_init(|| Cow::Owned(processes)))
    }
}

/// What was read of a section.
pub trait Topic {
    /// It as people read it: the columns are those of the command of FreeBSD's.
    fn tables(&self) -> Vec<Table>;

    /// What could not be read, or cannot be so.
    fn warnings(&self) -> &[String];
}
