//! Memory by physical address, which takes neither page tables nor symbols: that of a dump, of an image of any system, or
//! of the running machine.

use super::space::AddressSpace;
use super::tables::Physical;
use super::{RunningMemory, read_some};
use crate::architecture::DirectMap;
use crate::bounds::head;
use crate::dump::DumpedMemory;
use crate::errno::Errno;
use crate::error::Result;
use crate::fault::{Fault, Why};
use crate::memory::{Memory, WritableMemory, WriteError};
use crate::pmap::Protection;
use crate::ram::Ram;
use std::io;

/// Protection is the same within so many bytes.
const PAGE: u64 = 4096;

/// Physical memory that can be read, and written if it was opened for that.
pub struct PhysicalMemory(MemorySource);

enum MemorySource {
    Dump(Box<DumpedMemory>),
    Running(Box<Running>),
}

/// The running machine's.
pub(super) struct Running {
    pub ram: Ram,
    /// What writes to it, if it was opened for that.
    pub writer: Option<Box<dyn WritableMemory>>,
    /// The kernel's page tables, where they are known, and the direct map that they have.
    pub tables: Option<(AddressSpace, DirectMap)>,
}

impl Running {
    /// What may be done with a physical page through the direct map, by the kernel's page tables; `None` where they do
    /// not tell.
    fn protection(&self, physical: u64) -> Option<Protection> {
        let (space, map) = self.tables.as_ref()?;
        let address = map.base.checked_add(physical.checked_sub(map.physical)?)?;
        space.follow(&Physical::Live(&self.ram), address, |_| {}).ok().map(|found| found.protection)
    }
}

impl PhysicalMemory {
    /// That of a dump, or of an image of memory.
    ///
    /// # Errors
    ///
    /// It has virtual addresses only.
    pub fn from_dump(memory: DumpedMemory) -> Result<Self> {
        memory.check_physical()?;
        Ok(Self::from_any_dump(memory))
    }

    /// As [`Self::from_dump`]; whoever asks knows whether its addresses are physical.
    pub(super) fn from_any_dump(memory: DumpedMemory) -> Self {
        Self(MemorySource::Dump(Box::new(memory)))
    }

    /// That of the running machine, where its page tables are not known.
    pub fn from_ram(ram: Ram, writer: Option<Box<dyn WritableMemory>>) -> Self {
        Self(MemorySource::Running(Box::new(Running { ram, writer, tables: None })))
    }

    /// That of the running machine with this memory.
    pub fn from_running(kernel: RunningMemory, writer: Option<Box<dyn WritableMemory>>) -> Self {
        Self::from_live(kernel, writer).0
    }

    /// That of the running machine, and the address space of its kernel.
    pub(super) fn from_live(kernel: RunningMemory, writer: Option<Box<dyn WritableMemory>>) -> (Self, AddressSpace) {
        let RunningMemory { ram, space, .. } = kernel;
        let tables = space.direct_map.map(|map| (AddressSpace { direct_map: None, ..space.clone() }, map));
        (Self(MemorySource::Running(Box::new(Running { ram, writer, tables }))), space)
    }

    /// The dump it is in; `None` of the running machine.
    pub fn dump(&self) -> Option<&DumpedMemory> {
        match &self.0 {
            MemorySource::Dump(memory) => Some(memory),
            MemorySource::Running(..) => None,
        }
    }

    /// The dump again; `None` of the running machine.
    pub(super) fn into_dump(self) -> Option<DumpedMemory> {
        match self.0 {
            MemorySource::Dump(memory) => Some(*memory),
            MemorySource::Running(..) => None,
        }
    }

    /// The memory itself, by physical address.
    pub fn memory(&self) -> &dyn Memory {
        match &self.0 {
            MemorySource::Dump(memory) => &**memory,
            MemorySource::Running(running) => &running.ram,
        }
    }

    /// Memory in ascending order: the first address of each piece, and its bytes.
    pub(super) fn pieces(&self) -> Box<dyn Iterator<Item = (u64, u64)> + '_> {
        match &self.0 {
            MemorySource::Dump(memory) => Box::new(memory.extents().map(|extent| (extent.physical, extent.size))),
            MemorySource::Running(running) => {
                Box::new(running.ram.ranges().iter().map(|(start, end)| (*start, end - start)))
            }
        }
    }

    /// What page tables are read from.
    pub(super) fn tables(&self) -> Physical<'_> {
        match &self.0 {
            MemorySource::Dump(memory) => Physical::Dump(memory),
            MemorySource::Running(running) => Physical::Live(&running.ram),
        }
    }

    /// Fills the buffer from a physical address on.
    ///
    /// # Errors
    ///
    /// The first address that cannot be read, and why. Up to there the buffer is filled.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        let mut done = 0;
        while let Some(rest @ [_, ..]) = buffer.get_mut(done..) {
            let at = address.checked_add(done as u64).ok_or(Fault::new(u64::MAX, Why::NoPage(u64::MAX)))?;
            done += self.read_some(at, at, rest)?;
        }
        Ok(())
    }

    /// Reads at least one byte at a physical address; a fault is that of the address `at`.
    pub(super) fn read_some(&self, at: u64, physical: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
        read_some(self.memory(), at, physical, buffer).map_err(|fault| {
            let facts = self.dump().and_then(DumpedMemory::minidump);
            match (fault.why, facts) {
                (Why::NoPage(physical), Some(facts)) => Fault { why: facts.why_absent(physical), ..fault },
                _ => fault,
            }
        })
    }

    /// The bytes of a C string at a physical address, without the NUL; at most so many.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], where it comes before the NUL.
    pub fn string(&self, address: u64, limit: usize) -> Result<Vec<u8>, Fault> {
        super::string(address, limit, |at, part| self.read(at, part))
    }

    /// Writes bytes from a physical address on. Before the first one is written, all of them are seen to be there.
    ///
    /// # Errors
    ///
    /// The first address that cannot be written, and why. It was not opened for writing, for one.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.read(address, &mut vec![0; bytes.len()])?;
        self.check_writable(address, bytes.len() as u64)?;
        self.write_pieces(address, bytes, |at| Ok((at, u64::MAX)))
    }

    /// Whether all bytes from a physical address on can be written, as far as that is known beforehand: the running
    /// kernel writes through its direct map (`memrw()`), in which it may have mapped its text and read-only data
    /// read-only, as amd64's does (`bootaddr_rwx()`, `sys/amd64/amd64/pmap.c`).
    ///
    /// # Errors
    ///
    /// The first address that cannot be written.
    pub fn check_writable(&self, address: u64, length: u64) -> Result<(), Fault> {
        self.check_pieces(address, length, |at| Ok((at, u64::MAX)))
    }

    /// As [`Self::check_writable`], from an address on of which `place` tells the physical one, and how many bytes
    /// follow it there.
    pub(super) fn check_pieces(
        &self,
        address: u64,
        length: u64,
        place: impl Fn(u64) -> Result<(u64, u64), Fault>,
    ) -> Result<(), Fault> {
        let MemorySource::Running(running) = &self.0 else { return Ok(()) };
        let mut done = 0;
        while done < length {
            let at = address.checked_add(done).ok_or(Fault::new(u64::MAX, Why::NotCovered))?;
            let (physical, remaining) = place(at)?;
            if running.protection(physical).is_some_and(|protection| !protection.write) {
                return Err(Fault::new(at, Why::ReadOnlyDirectly(physical)));
            }
            done = done.saturating_add(remaining.min(PAGE - physical % PAGE));
        }
        Ok(())
    }

    /// Writes bytes from an address on, of which `place` tells the physical one and how many bytes follow it there.
    pub(super) fn write_pieces(
        &self,
        address: u64,
        bytes: &[u8],
        place: impl Fn(u64) -> Result<(u64, u64), Fault>,
    ) -> Result<(), Fault> {
        let mut done = 0;
        while let Some(rest @ [_, ..]) = bytes.get(done..) {
            let at = address.checked_add(done as u64).ok_or(Fault::new(u64::MAX, Why::NotCovered))?;
            let (physical, remaining) = place(at)?;
            let part = head(rest, remaining);
            let written = match &self.0 {
                MemorySource::Dump(memory) => memory.write_at(physical, part),
                MemorySource::Running(running) => {
                    let Some(writer) = &running.writer else { return Err(Fault::new(at, Why::ReadOnly)) };
                    match running.ram.remaining(physical) {
                        0 => Err(WriteError::Absent),
                        remaining => writer.write_at(physical, head(part, remaining)),
                    }
                }
            };
            match written {
                Ok(0) => return Err(Fault::new(at, Why::Io(Errno::EIO))),
                Ok(written) => done += written,
                Err(WriteError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::written(at, physical, &error)),
            }
        }
        Ok(())
    }
}
