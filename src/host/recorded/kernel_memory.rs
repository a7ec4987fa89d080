//! The kernel virtual memory of a recorded machine, read as /dev/kmem reads it (`sys/amd64/amd64/mem.c`):
//! through the direct map, and through the page tables of the kernel that memtool lays out.

use super::file::Machine;
use super::kernel::LaidOutKernel;
use super::memory::{RecordedMemory, View};
use super::written::Written;
use crate::error::Result;
use std::path::Path;
use vmcore::bounds::head_mut;
use vmcore::memory::{Memory, ReadError};

/// Kernel virtual memory of a recorded machine.
pub struct KernelMemory {
    kernel: LaidOutKernel,
    memory: RecordedMemory,
}

impl KernelMemory {
    /// Lays the kernel out and opens the memory it lies in.
    ///
    /// # Errors
    ///
    /// Those of [`LaidOutKernel::lay_out`] and [`RecordedMemory::open`].
    pub fn open(machine: &Machine, machine_path: Option<&Path>, written: &Written) -> Result<Self> {
        Ok(Self {
            kernel: LaidOutKernel::lay_out(machine)?,
            memory: RecordedMemory::open(machine, machine_path, View::Kernel, written)?,
        })
    }

    /// Reads what is physically in one piece.
    fn read_piece(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let (physical, length) = self.kernel.translate(address).ok_or(ReadError::Absent)?;
        self.memory.read_at(physical, head_mut(buffer, length))
    }
}

impl Memory for KernelMemory {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            // At the end of the address space there is nothing more to read.
            let Some(at) = address.checked_add(done as u64) else { break };
            match self.read_piece(at, rest) {
                Ok(0) => break,
                Ok(read) => done += read,
                // An error counts only if nothing was read.
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}
