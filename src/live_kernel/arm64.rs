//! What is arm64's own of a dump from user space (`sys/arm64/arm64/minidump_machdep.c`, `sys/arm64/arm64/pmap.c`,
//! `sys/arm64/include/vmparam.h`).

use super::variables::{DmapVariables, elsewhere};
use super::{Direct, PageTables, Root, Variables, odd, unreadable, words_of};
use crate::error::Result;
use vmcore::architecture::DirectMap;
use vmcore::pmap::Format;
use vmcore::pmap::arm64::{DIRECT_MAP_END, DIRECT_MAPS, IMAGE_END, KERNBASE, KERNEL_MAP_END, PHYSICAL_BITS};
use vmcore::units::Hex;

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

/// `pagetable_l0_ttbr1` is the top-level page table itself, in the kernel's image. It tells where it lies. In
/// `locore.S` of older kernels it is a local label, which kldsym(2) finds all the same unless
/// `debug.link_elf_leak_locals` is 0.
pub fn root(variables: &Variables<'_>, tables: PageTables<'_>) -> Result<Root> {
    let name = "pagetable_l0_ttbr1";
    let (address, _) = variables.required(name)?;
    let page = tables.format.page_size();
    if !address.is_multiple_of(page) {
        return Err(odd(name, format!("it is at {}, no page's beginning", Hex(address))));
    }
    let mut bytes = vec![0; usize::try_from(page).unwrap_or_default()];
    variables.memory.fill(address, &mut bytes).map_err(|error| unreadable(name, &error))?;
    let found = tables.walk(words_of(&bytes).collect(), address);
    let (top, _) = found.ok_or_else(|| odd(name, "the page tables there do not map themselves"))?;
    Ok(Root { name, at: address, top, format: tables.format, bytes })
}

/// The end of the kernel map: `kernel_vm_end`, as `minidumpsys()` has it.
pub fn kernel_map_end(variables: &Variables<'_>) -> Result<u128> {
    variables.kernel_map_end(KERNBASE, KERNEL_MAP_END)
}
