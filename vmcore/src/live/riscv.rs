//! What is riscv's own of a dump from user space (`sys/riscv/riscv/minidump_machdep.c`, `sys/riscv/riscv/pmap.c`,
//! `sys/riscv/include/vmparam.h`).
//!
//! What is read from /dev/mem lies in the direct map: behind it the kernel panics (`pmap_map_io_transient()`).

use super::variables::{DmapVariables, elsewhere};
use super::{Direct, Variables};
use crate::architecture::DirectMap;
use crate::error::Result;
use crate::pmap::riscv::{DIRECT_MAP, DIRECT_MAP_END, IMAGE_END, KERNBASE, KERNEL_MAP_END, PHYSICAL_BITS};

/// Where the kernel's variables are.
pub const IMAGE: (u64, u64) = (KERNBASE, IMAGE_END);

/// The direct map: `pmap_bootstrap_dmap()` notes from which physical address on to which one it goes, and to which
/// virtual one, the end of the last page.
pub fn direct_map(variables: &Variables<'_>) -> Result<Direct> {
    let DmapVariables { physical, physical_end, length, end } = variables.direct_map(PHYSICAL_BITS)?;
    let expected = DIRECT_MAP.checked_add(length.next_multiple_of(4096));
    if expected != Some(end) || end > DIRECT_MAP_END {
        return Err(elsewhere(length, end, ""));
    }
    Ok(Direct { map: DirectMap { base: DIRECT_MAP, end: DIRECT_MAP_END, physical }, physical_end })
}

/// The end of the kernel map: `kernel_vm_end`, as `cpu_minidumpsys()` has it.
pub fn kernel_map_end(variables: &Variables<'_>) -> Result<u128> {
    variables.kernel_map_end(KERNBASE, KERNEL_MAP_END)
}
