//! The kernel of a host, as [`vmcore::live`] reads it: its memory and its symbols, opened through the host.

use crate::error::{Error, Result};
use crate::host::{Host, direct_map};
use crate::memory_map::{MapError, MapSource};
use std::ops::Deref;
use vmcore::dump::header::Relocation;
use vmcore::kernel::{Access, Kernel, PhysicalMemory};
use vmcore::live::{self, LiveKernel, LiveSource};
use vmcore::memory::{Memory, WritableMemory};
use vmcore::minidump::Machine;
use vmcore::ram::Ram;
use vmcore::symbols::{Symbol, Symbols};

/// The symbols of a host's running kernel, which it tells itself; of a host that is borrowed, or shared.
pub struct RunningSymbols<H>(pub H);

impl<H: Deref<Target: Host>> Symbols for RunningSymbols<H> {
    fn find(&self, name: &str) -> vmcore::Result<Option<Symbol>> {
        Ok(self.0.kernel_symbol(name)?)
    }

    fn source(&self) -> String {
        "the running kernel".to_owned()
    }

    fn is_running_kernel(&self) -> bool {
        true
    }
}

/// The kernel that runs, found by these symbols, with what a dump of it would hold.
///
/// # Errors
///
/// Those of [`LiveKernel::open`]; what the host is asked for cannot be had.
pub fn open<'a>(host: &dyn Host, symbols: &'a dyn Symbols) -> Result<LiveKernel<'a>> {
    let system = host.system()?;
    let machine = live::machine(&system)?;
    let source = LiveSource {
        machine,
        version: system.version,
        own_symbols: &RunningSymbols(host),
        ram: ram(host, machine)?,
        kernel: host.kernel_memory()?,
        physical: host.physical_memory()?,
    };
    Ok(LiveKernel::open(source, symbols)?)
}

/// What is RAM by the firmware's map, where the kernel's own `dump_avail` does not say it better.
fn ram(host: &dyn Host, machine: Machine) -> Result<Option<Vec<(u64, u64)>>> {
    if matches!(machine, Machine::Powerpc64(_)) {
        return Ok(None);
    }
    match host.memory_map() {
        // What boot took for itself is missing there.
        Ok(map) if map.source == MapSource::PhysSegs => Ok(None),
        Ok(map) => Ok(Some(map.ram_within(0, 1 << 64))),
        Err(Error::MemoryMap(MapError::NoTable)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the running kernel is, other than where it is linked; `None` of other machines than powerpc64.
///
/// # Errors
///
/// The kernel does not tell.
pub fn relocation(host: &dyn Host) -> Result<Option<Relocation>> {
    match Machine::from_system(&host.system()?) {
        Some(Machine::Powerpc64(order)) => {
            Ok(Some(live::relocation(order, &RunningSymbols(host), host.kernel_memory()?)?))
        }
        _ => Ok(None),
    }
}

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
/// As [`open`]; for writing, also those of [`Host::writable_memory`].
pub fn open_kernel(host: &dyn Host, symbols: &dyn Symbols, access: Access) -> Result<Kernel> {
    let writer = writer(host, access)?;
    Ok(Kernel::from_live(open(host, symbols)?.into_memory(), writer))
}

/// The running machine's memory by physical address, where there is RAM: by the kernel's `dump_avail`, or where that is
/// not known by its memory map.
///
/// # Errors
///
/// Neither can be had, or /dev/mem cannot be opened; for writing, those of [`Host::writable_memory`].
pub fn open_physical_memory(host: &dyn Host, symbols: &dyn Symbols, access: Access) -> Result<PhysicalMemory> {
    let writer = writer(host, access)?;
    match open(host, symbols) {
        Ok(kernel) => Ok(PhysicalMemory::from_running(kernel.into_memory(), writer)),
        Err(Error::Vmcore(vmcore::Error::UnknownKernel(_))) => {
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
        Err(Error::Vmcore(vmcore::Error::UnknownKernel(why))) => Err(Error::Unsupported(format!(
            "this kernel panics when a device mapping is read through /dev/kmem, so its memory can only be read through its page tables: {why}"
        ))),
        Err(error) => Err(error),
    }
}
