//! What is arm64's own of a dump from user space (`sys/arm64/arm64/minidump_machdep.c`, `sys/arm64/arm64/pmap.c`,
//! `sys/arm64/include/vmparam.h`).

use super::variables::{DmapVariables, elsewhere};
use super::{Direct, Variables};
use crate::architecture::DirectMap;
use crate::error::Result;
use crate::pmap::Format;
use crate::pmap::arm64::{DIRECT_MAP_END, DIRECT_MAPS, IMAGE_END, KERNBASE, KERNEL_MAP_END, PHYSICAL_BITS};

/// Where the kernel's variables are.
pub const IMAGE: (u64, u64) = (KERNBASE, IMAGE_END);

/// The direct map: `pmap_bootstrap_dmap()` notes from which physical address on to which one it goes, and to which
/// virtual one. Where it begins follows, and tells kernels apart whose memory is elsewhere.
pub fn direct_map(variables: &Variables<'_>) -> Result<Direct> {
    let DmapVariables { physical, physical_end, length, end } = variables.direct_map(PHYSICAL_BITS)?;
    let base = end.checked_sub(length).filter(|base| DIRECT_MAPS.contains(base) && end <= DIRECT_MAP_END);
    let base = base.ok_or_else(|| elsewhere(length, end, "; use --method kernel"))?;
    Ok(Direct { map: DirectMap { base, end: DIRECT_MAP_END, physical }, physical_end })
}

/// The format of the page tables: that of the kernel's pages, with physical addresses of 52 bits if
/// `pmap_lpa_enabled` says so.
pub fn format(variables: &Variables<'_>, format: Format) -> Result<Format> {
    let name = "pmap_lpa_enabled";
    let Some((address, _)) = variables.find(name)? else { return Ok(format) };
    let [enabled] = variables.read(name, address)?;
    Ok(if enabled == 0 { format } else { format.with_lpa2() })
}

/// The end of the kernel map: `kernel_vm_end`, as `minidumpsys()` has it.
pub fn kernel_map_end(variables: &Variables<'_>) -> Result<u128> {
    variables.kernel_map_end(KERNBASE, KERNEL_MAP_END)
}
