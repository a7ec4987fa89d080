//! Which physical addresses mem(4) can be asked for without a panic of the kernel.
//!
//! Where there is no memory, kernels answer an error, or map what is there for as long as they copy it. Those of arm64 and
//! riscv64 do not: `memrw()` reads and writes through the direct map alone, and hands everything else to
//! `uiomove_fromphys()`, which panics (`pmap_map_io_transient`: "TODO: Map out of DMAP data"). On arm64 that is what the
//! direct map has no page for, within its borders too; below its beginning riscv64 reads other memory in place of it.
//! /dev/kmem ends up there with every address of the kernel map behind which there is no RAM: a device's registers, or
//! tables of the firmware, which are mapped write-back as RAM is.
//!
//! Sources: `sys/{arm64,riscv}/…/mem.c`, `pmap.c` (`pmap_bootstrap_dmap()`, `pmap_map_io_transient()`) and
//! `include/vmparam.h` (`PHYS_IN_DMAP`). arm and powerpc test each address;
//! amd64 and i386 map it, up to the last one that the processor has.

use super::{Host, System};
use crate::error::Result;
use crate::memory_map::kernel_maps::{DIRECT_MAP, KernelMapping};
use vmcore::memory::Memory;
use vmcore::segment::{coalesce, intersect};

/// Whether a kernel panics where mem(4) is asked for what its direct map does not map.
pub fn is_needed(system: &System) -> bool {
    system.machine_arch == "aarch64" || is_riscv(system)
}

fn is_riscv(system: &System) -> bool {
    system.machine_arch.starts_with("riscv64")
}

/// The physical addresses that can be asked for, ascending; `None` where the kernel tests each itself. Where the direct
/// map's borders cannot be had, it is what the memory map calls RAM.
///
/// # Errors
///
/// The host does not say what it is, or has no memory map where that is needed.
pub fn reachable(host: &dyn Host) -> Result<Option<Vec<(u64, u64)>>> {
    let system = host.system()?;
    if !is_needed(&system) {
        return Ok(None);
    }
    let borders = Borders::read(host);
    let mapped = borders.and_then(|borders| match is_riscv(&system) {
        // All of it is mapped, or answers EFAULT.
        true => Some(vec![(borders.start, borders.end)]),
        false => borders.mapped(&host.kernel_maps().ok()??),
    });
    if mapped.is_some() {
        return Ok(mapped);
    }
    let ram = coalesce(host.memory_map()?.segments.iter().map(|segment| (segment.start, segment.end)).collect());
    Ok(Some(match borders {
        Some(borders) => intersect(&ram, &[(borders.start, borders.end)]),
        None => ram,
    }))
}

/// The borders of the direct map, by the variables of the kernel.
#[derive(Debug, Clone, Copy)]
struct Borders {
    /// `dmap_phys_base`: the first physical address.
    start: u64,
    /// `dmap_phys_max`: the first physical address after it.
    end: u64,
    /// `dmap_max_addr`: where that is in the kernel's address space.
    address: u64,
}

impl Borders {
    /// `None` where a variable cannot be had, or makes no sense.
    fn read(host: &dyn Host) -> Option<Self> {
        let memory = host.kernel_memory().ok()?;
        let variable = |name| number(host, &*memory, name);
        let [start, end, address] =
            [variable("dmap_phys_base")?, variable("dmap_phys_max")?, variable("dmap_max_addr")?];
        (start < end).then_some(Self { start, end, address })
    }

    /// What the direct map maps; `None` where the kernel does not list it.
    fn mapped(self, maps: &[KernelMapping]) -> Option<Vec<(u64, u64)>> {
        let base = self.address.checked_sub(self.end - self.start)?;
        let listed = maps.iter().filter(|map| map.region == DIRECT_MAP && map.permissions.contains('r'));
        let physical = |address: u64| address.checked_sub(base)?.checked_add(self.start);
        let ranges: Option<Vec<_>> = listed.map(|map| Some((physical(map.start)?, physical(map.end)?))).collect();
        let ranges = intersect(&coalesce(ranges?), &[(self.start, self.end)]);
        (!ranges.is_empty()).then_some(ranges)
    }
}

/// A variable of the running kernel, which is of 64 bits.
fn number(host: &dyn Host, memory: &dyn Memory, name: &str) -> Option<u64> {
    let symbol = host.kernel_symbol(name).ok()??;
    let mut bytes = [0; 8];
    memory.fill(symbol.address, &mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes))
}
