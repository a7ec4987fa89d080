//! What is amd64's own of a dump from user space (`sys/amd64/amd64/minidump_machdep.c`, `sys/amd64/amd64/pmap.c`).

use super::{Direct, Root, Variables, odd};
use crate::error::{Error, Result};
use crate::pmap::amd64::{DIRECT_MAP, KERNBASE, KERNEL_MAP_BASE, KERNSTART, SUPERPAGE};
use crate::units::Hex;
use crate::vmcore::header::DirectMap;

/// Where the kernel's variables are.
pub const IMAGE: (u64, u64) = (KERNSTART, u64::MAX);
/// The direct map reaches no more physical memory.
pub const MAX_PHYSICAL: u64 = DIRECT_MAP.1 - DIRECT_MAP.0;

/// Superpages from `KERNBASE` to the end of the address space.
const MAX_NKPT: u32 = 1024;

/// The direct map; refuses kernels that have their memory elsewhere.
pub fn direct_map(variables: &Variables<'_>) -> Result<Direct> {
    let direct =
        Direct { map: DirectMap { base: DIRECT_MAP.0, end: DIRECT_MAP.1, physical: 0 }, physical_end: MAX_PHYSICAL };
    let Some((address, size)) = variables.find("kva_layout")? else { return Ok(direct) };
    let words = (size / 8).min(64);
    let mut found = Vec::new();
    for index in 0..words {
        found.push(u64::from_le_bytes(variables.read("kva_layout", address + index * 8)?));
    }
    if [DIRECT_MAP.0, DIRECT_MAP.1, KERNEL_MAP_BASE].iter().all(|border| found.contains(border)) {
        return Ok(direct);
    }
    Err(Error::Unsupported(
        "this kernel has its memory at other addresses (kva_layout) than a dump from user space knows; use --method kernel"
            .to_owned(),
    ))
}

/// `KPML4phys` is the physical address of the top-level page table.
pub fn root(variables: &Variables<'_>) -> Result<Root> {
    let name = "KPML4phys";
    let top = variables.number(name)?;
    Ok(Root { name, top, bytes: top.to_le_bytes().to_vec() })
}

/// The end of the kernel map, as `minidumpsys()` has it; 2^64 is possible. It is a multiple of 1 GiB.
pub fn kernel_map_end(variables: &Variables<'_>) -> Result<u128> {
    let nkpt = variables.int("nkpt")?;
    if nkpt > MAX_NKPT {
        return Err(odd("nkpt", format!("it is {nkpt}")));
    }
    let kernel_vm_end = variables.number("kernel_vm_end")?;
    if kernel_vm_end < KERNEL_MAP_BASE {
        return Err(odd("kernel_vm_end", format!("it is {}", Hex(kernel_vm_end))));
    }
    let end = (u128::from(KERNBASE) + u128::from(nkpt) * u128::from(SUPERPAGE)).max(kernel_vm_end.into());
    Ok(end.next_multiple_of(1 << 30))
}
