//! What is amd64's own of a dump from user space (`sys/amd64/amd64/minidump_machdep.c`, `sys/amd64/amd64/pmap.c`).

use super::{Direct, Variables, odd};
use crate::architecture::DirectMap;
use crate::error::{Error, Result};
use crate::pmap::amd64::{KERNBASE, KERNEL_MAP_BASE, KERNSTART, KvaLayout, SUPERPAGE};
use crate::units::Hex;

/// Where the kernel's variables are.
pub const IMAGE: (u64, u64) = (KERNSTART, u64::MAX);

/// Superpages from `KERNBASE` to the end of the address space.
const MAX_NKPT: u32 = 1024;

/// The direct map. Kernels that do not tell their layout have the one with four levels, whatever the number of levels;
/// those whose kernel map begins elsewhere are refused. Unlike an image of memory, whose page tables are known before and
/// show whether a layout is right, the kernel that runs is believed or refused: what is read at a guess may be a device.
pub fn direct_map(variables: &Variables<'_>) -> Result<Direct> {
    let name = "kva_layout";
    let layout = match variables.find(name)? {
        None => KvaLayout::LA48,
        Some((address, size)) => {
            if size != 0 && size < KvaLayout::SIZE {
                return Err(odd(name, format!("it has {size} bytes")));
            }
            let layout = KvaLayout::read(|offset| variables.read(name, address + offset).map(u64::from_le_bytes))?;
            layout.map_err(|words| odd(name, format!("its direct map is {}..{}", Hex(words[2]), Hex(words[3]))))?
        }
    };
    if layout.kernel_map != KERNEL_MAP_BASE {
        return Err(Error::UnknownKernel(format!(
            "this kernel's map begins at {} (kva_layout), and memtool supports {} only",
            Hex(layout.kernel_map),
            Hex(KERNEL_MAP_BASE)
        )));
    }
    let (base, end) = layout.direct_map;
    Ok(Direct { map: DirectMap { base, end, physical: 0 }, physical_end: layout.physical_end() })
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
