//! What is riscv's own of a dump from user space (`sys/riscv/riscv/minidump_machdep.c`, `sys/riscv/riscv/pmap.c`,
//! `sys/riscv/include/vmparam.h`).
//!
//! What is read from /dev/mem lies in the direct map: behind it the kernel panics (`pmap_map_io_transient()`).

use super::variables::{DmapVariables, elsewhere};
use super::{Direct, Root, Variables, odd, unreadable};
use crate::error::Result;
use vmcore::architecture::DirectMap;
use vmcore::pmap::riscv::{
    DIRECT_MAP, DIRECT_MAP_END, IMAGE_END, KERNBASE, KERNEL_MAP_END, PHYSICAL_BITS, root as root_of,
};

/// Where the kernel's variables are.
pub const IMAGE: (u64, u64) = (KERNBASE, IMAGE_END);

/// Bytes of `struct pmap` in which the value of `satp` is looked for; it follows the lock and the statistics.
const PMAP: u64 = 1024;

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

/// `kernel_pmap_store` is the kernel's `struct pmap`. Somewhere in it is `pm_satp`, the value of the register that says
/// where the top-level page table is, and in which of the two formats; no other word there looks like one.
pub fn root(variables: &Variables<'_>) -> Result<Root> {
    let name = "kernel_pmap_store";
    let (address, size) = variables.required(name)?;
    let length = if size == 0 { PMAP } else { size.min(PMAP) };
    let mut pmap = vec![0; usize::try_from(length & !7).unwrap_or_default()];
    variables.memory.fill(address, &mut pmap).map_err(|error| unreadable(name, &error))?;
    let words = pmap.as_chunks().0.iter().copied().zip((address..).step_by(8));
    let mut roots = words.filter_map(|(bytes, at)| Some((bytes, at, root_of(u64::from_le_bytes(bytes))?)));
    let (bytes, at, (format, top)) = roots.next().ok_or_else(|| odd(name, "it has no value of satp"))?;
    Ok(Root { name, at, top, format, bytes: bytes.to_vec() })
}

/// The end of the kernel map: `kernel_vm_end`, as `cpu_minidumpsys()` has it.
pub fn kernel_map_end(variables: &Variables<'_>) -> Result<u128> {
    variables.kernel_map_end(KERNBASE, KERNEL_MAP_END)
}
