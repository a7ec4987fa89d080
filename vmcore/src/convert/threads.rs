//! The kernel's threads in a core file: the notes of all of them.

use super::notes::{About, Notes, Style};
use crate::dump::header::Relocation;
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::kernel::{Kernel, Processes, Registers};

/// The threads of a kernel, as notes of a core file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoreThreads {
    /// The notes.
    pub notes: Vec<u8>,
    /// How many threads there are.
    pub count: usize,
    /// How many of them have no registers in the dump; zeros stand for them.
    pub unknown: usize,
    /// Those of them whose registers cannot be read, by their IDs.
    pub unreadable: Vec<(i32, Fault)>,
}

impl CoreThreads {
    /// The notes of all threads of a kernel.
    ///
    /// # Errors
    ///
    /// Those of [`Kernel::facts`]; its symbols are not from its image ([`Error::NoSymbols`]).
    pub fn new(kernel: &Kernel, processes: &Processes, style: Style) -> Result<Self> {
        let release = kernel.facts()?.osreldate.unwrap_or(0);
        let (image, kernel) = (kernel.image().ok_or(Error::NoSymbols)?, kernel.memory());
        let name = image.file_name();
        let about = About {
            architecture: kernel.architecture(),
            order: kernel.order(),
            name: &name,
            entry: image.entry(),
            displacement: kernel.relocation().map(Relocation::displacement),
            release,
            signed: processes.are_signed(kernel),
        };
        let mut notes = Notes::new(style, about);
        let mut threads = Self::default();
        for (process, thread) in processes.threads() {
            let registers = processes.registers(kernel, thread).unwrap_or_else(|fault| {
                threads.unreadable.push((thread.tid, fault));
                Registers::unknown(kernel.architecture())
            });
            threads.unknown += usize::from(registers.pc().is_none());
            notes.add(process, thread, &registers);
        }
        Ok(Self { count: notes.threads(), notes: notes.finish(), ..threads })
    }
}
