//! The running kernel's memory, opened through its host.

use super::{LiveKernel, RunningSymbols};
use crate::error::{Error, Result};
use crate::host::{Host, direct_map};
use vmcore::kernel::{Access, Kernel, PhysicalMemory};
use vmcore::memory::{Memory, WritableMemory};
use vmcore::ram::Ram;
use vmcore::symbols::Symbols;

/// What writes to the memory of the running kernel, if that is wanted.
fn writer(host: &dyn Host, access: Access) -> Result<Option<Box<dyn WritableMemory>>> {
    match access {
        Access::Read => Ok(None),
        Access::Write => host.writable_memory().map(Some),
    }
}

/// The kernel that runs (`kvm_open` without a file). Its memory is read through /dev/mem, and only where there is
/// RAM; each read sees it as it is then.
///
/// # Errors
///
/// As [`LiveKernel::open`]; for writing, also those of [`Host::writable_memory`].
pub fn open_kernel(host: &dyn Host, symbols: &dyn Symbols, access: Access) -> Result<Kernel> {
    let writer = writer(host, access)?;
    Ok(Kernel::from_live(LiveKernel::open(host, symbols)?.into_memory(), writer))
}

/// The running machine's memory by physical address, where there is RAM: by the kernel's `dump_avail`, or where that is
/// not known by its memory map.
///
/// # Errors
///
/// Neither can be had, or /dev/mem cannot be opened; for writing, those of [`Host::writable_memory`].
pub fn open_physical_memory(host: &dyn Host, symbols: &dyn Symbols, access: Access) -> Result<PhysicalMemory> {
    let writer = writer(host, access)?;
    match LiveKernel::open(host, symbols) {
        Ok(kernel) => Ok(PhysicalMemory::from_running(kernel.into_memory(), writer)),
        Err(Error::UnknownKernel(_)) => {
            let ranges = host.memory_map()?.segments.iter().map(|segment| (segment.start, segment.end)).collect();
            Ok(PhysicalMemory::from_ram(Ram::new(host.physical_memory()?, ranges), writer))
        }
        Err(error) => Err(error),
    }
}

/// The kernel virtual memory of a host. Where /dev/kmem panics the kernel for a mapping of anything but RAM, memory is
/// read by the kernel's page tables, and from RAM alone.
///
/// # Errors
///
/// As [`Host::kernel_memory`]; those of [`open_kernel`] where its page tables are needed.
pub fn kernel_memory(host: &dyn Host) -> Result<Box<dyn Memory>> {
    if !direct_map::is_needed(&host.system()?) {
        return host.kernel_memory();
    }
    match open_kernel(host, &RunningSymbols(host), Access::Read) {
        Ok(kernel) => Ok(Box::new(kernel)),
        Err(Error::UnknownKernel(why)) => Err(Error::Unsupported(format!(
            "this kernel panics when /dev/kmem is asked for a mapping of a device, so that its memory is read by its page tables only: {why}"
        ))),
        Err(error) => Err(error),
    }
}
