//! Where a kernel's page tables are in an image of memory: found through its symbols.
//!
//! The kernel is linked at virtual addresses, and its image lies in one piece in physical memory, at a multiple of
//! 2 MiB that the loader chose: on amd64 at 2 MiB unless the kernel can be relocated (`kernphys`), on arm64 and riscv
//! anywhere, on arm at a multiple of 1 MiB. Each candidate is tested: page tables found through a symbol must map that
//! very symbol to the address where it was found. Sources: `sys/amd64/amd64/pmap.c`, `sys/arm64/arm64/locore.S`,
//! `sys/riscv/riscv/locore.S` and `pmap.c`, `sys/i386/i386/pmap.c`, `sys/arm/arm/pmap-v6.c`.

use super::space::{AddressSpace, PageTables, Physical};
use crate::architecture::{Architecture, DirectMap};
use crate::error::{Error, Result};
use crate::pmap::amd64::KvaLayout;
use crate::pmap::{Format, amd64, arm64, riscv};
use crate::symbols::Symbols;
use crate::units::Hex;
use crate::vmcore::{Content, DumpedMemory};

/// The loader puts kernels at multiples of this.
const fn step(architecture: Architecture) -> u64 {
    if matches!(architecture, Architecture::Arm) { 1 << 20 } else { 2 << 20 }
}

/// What leads to the tables.
enum RootLocator {
    /// A variable that holds the physical address of the root.
    Pointer { size: usize },
    /// One that holds its virtual address, in the kernel's own image or behind it.
    Virtual { size: usize },
    /// The root itself.
    Table,
    /// A structure with the value of riscv's `satp` for the kernel somewhere in it.
    Satp,
}

/// A way in which kernels of an architecture have their tables.
struct RootCandidate {
    architecture: Architecture,
    symbol: &'static str,
    locator: RootLocator,
    format: Format,
    /// Where kernel memory begins.
    base: u64,
}

const fn candidate(
    architecture: Architecture,
    symbol: &'static str,
    locator: RootLocator,
    format: Format,
    base: u64,
) -> RootCandidate {
    RootCandidate { architecture, symbol, locator, format, base }
}

/// A variable that a kernel does not use holds 0. A kernel with five levels also has the four that its uppermost
/// entry leads to, so the larger ones come first; so does PAE's root, as its directories look like a root without.
const CANDIDATES: [RootCandidate; 14] = [
    candidate(
        Architecture::Amd64,
        "KPML5phys",
        RootLocator::Pointer { size: 8 },
        Format::Amd64La57,
        amd64::KERNEL_MAP_BASE,
    ),
    candidate(
        Architecture::Amd64,
        "KPML4phys",
        RootLocator::Pointer { size: 8 },
        Format::Amd64,
        amd64::KERNEL_MAP_BASE,
    ),
    // Without LPA2, entries of pages have bits set that would be their addresses' highest with it.
    candidate(Architecture::Arm64, "pagetable_l0_ttbr1", RootLocator::Table, Format::Arm64Lpa2, arm64::KERNBASE),
    candidate(Architecture::Arm64, "pagetable_l0_ttbr1", RootLocator::Table, Format::Arm64LargeLpa2, arm64::KERNBASE),
    candidate(Architecture::Arm64, "pagetable_l0_ttbr1", RootLocator::Table, Format::Arm64, arm64::KERNBASE),
    candidate(Architecture::Arm64, "pagetable_l0_ttbr1", RootLocator::Table, Format::Arm64Large, arm64::KERNBASE),
    // The address space of process 0, whose tables are the kernel's (`pmap_pinit0`): the assembler's may be others.
    candidate(Architecture::Riscv, "vmspace0", RootLocator::Satp, Format::Sv48, riscv::KERNBASE),
    candidate(Architecture::Riscv, "vmspace0", RootLocator::Satp, Format::Sv39, riscv::KERNBASE),
    candidate(Architecture::Riscv, "pagetable_l0", RootLocator::Table, Format::Sv48, riscv::KERNBASE),
    candidate(Architecture::Riscv, "pagetable_l1", RootLocator::Table, Format::Sv39, riscv::KERNBASE),
    candidate(Architecture::I386, "IdlePDPT", RootLocator::Pointer { size: 4 }, Format::I386Pae, 0),
    candidate(Architecture::I386, "IdlePTD", RootLocator::Pointer { size: 4 }, Format::I386, 0),
    candidate(Architecture::I386, "IdlePTD_nopae", RootLocator::Pointer { size: 4 }, Format::I386, 0),
    candidate(Architecture::Arm, "kern_pt1", RootLocator::Virtual { size: 4 }, Format::ArmV6, 0xc000_0000),
];

/// Finds the page tables of a kernel in an image of memory.
pub(super) fn find(
    memory: &DumpedMemory,
    kernel: Option<(Architecture, &dyn Symbols)>,
) -> Result<(Architecture, AddressSpace)> {
    let Some((architecture, symbols)) = kernel else {
        return Err(Error::Refused(format!(
            "only a minidump tells where its page tables are, and this is: {}; name its kernel with --kernel",
            memory.inspection().content.name()
        )));
    };
    if let Content::Elf(facts) = &memory.inspection().content
        && facts.machine_name != architecture.name()
    {
        let machine = if facts.machine_name.is_empty() { "another machine" } else { facts.machine_name };
        return Err(Error::Refused(format!(
            "the dump is one of {machine}, and {} is a kernel of {}",
            symbols.source(),
            architecture.name()
        )));
    }
    let known = CANDIDATES.iter().filter(|candidate| candidate.architecture == architecture);
    let mut tried = Vec::new();
    for candidate in known {
        let Some(symbol) = symbols.find(candidate.symbol)? else { continue };
        for physical in candidates(memory, symbol.address, step(architecture)) {
            if let Some(mut space) = try_at(memory, candidate, symbol.address, physical) {
                if architecture == Architecture::Amd64 {
                    space.direct_map = amd64_direct_map(&space, memory, symbols)?;
                }
                return Ok((architecture, space));
            }
        }
        tried.push(format!("{} at {}", candidate.symbol, Hex(symbol.address)));
    }
    let kernel = symbols.source();
    Err(match tried.as_slice() {
        [] => Error::Unsupported(format!(
            "{kernel} has no symbol that leads to the page tables of {} in an image of memory",
            architecture.name()
        )),
        tried => Error::Format(format!(
            "the kernel's page tables are not in this memory ({}): is {kernel} the kernel that ran?",
            tried.join(", ")
        )),
    })
}

/// Physical addresses at which a symbol may lie.
fn candidates(memory: &DumpedMemory, address: u64, step: u64) -> impl Iterator<Item = u64> {
    let within = address % step;
    memory.extents().flat_map(move |extent| {
        let end = extent.physical.saturating_add(extent.size);
        let first = extent.physical.saturating_sub(within).checked_next_multiple_of(step);
        let place = move |number: u64| first?.checked_add(number.checked_mul(step)?)?.checked_add(within);
        let places = (0..).map_while(place);
        places.skip_while(move |place| *place < extent.physical).take_while(move |place| *place < end)
    })
}

/// More bytes than `struct vmspace` has.
const VMSPACE: u64 = 1024;

/// The address space, if the symbol lies at a physical address.
fn try_at(memory: &DumpedMemory, candidate: &RootCandidate, address: u64, physical: u64) -> Option<AddressSpace> {
    let within = |root: u64| try_root(memory, candidate, (address, physical), root);
    match candidate.locator {
        RootLocator::Table => within(physical),
        RootLocator::Pointer { size } => within(pointer(memory, physical, size)?),
        RootLocator::Virtual { size } => match pointer(memory, physical, size)? {
            0 => None,
            root => within(root.wrapping_sub(address).wrapping_add(physical)),
        },
        RootLocator::Satp => (0..VMSPACE).step_by(8).find_map(|offset| {
            let (format, root) = riscv::root(pointer(memory, physical.checked_add(offset)?, 8)?)?;
            if format == candidate.format { within(root) } else { None }
        }),
    }
}

/// The address space with that root, if it maps the symbol to where it was found.
fn try_root(
    memory: &DumpedMemory,
    candidate: &RootCandidate,
    (address, physical): (u64, u64),
    root: u64,
) -> Option<AddressSpace> {
    if root == 0 || !root.is_multiple_of(32) || memory.place_of(root).is_none() {
        return None;
    }
    let space = AddressSpace::from_tables(PageTables::from_root(candidate.format, root, candidate.base));
    let found = space.follow(&Physical::Dump(memory), address, |_| {}).ok()?;
    if found.physical != physical {
        return None;
    }
    Some(space)
}

/// A variable's value.
fn pointer(memory: &DumpedMemory, physical: u64, size: usize) -> Option<u64> {
    let (offset, remaining) = memory.place_of(physical)?;
    match size {
        4 if remaining >= 4 => Some(u32::from_le_bytes(memory.entry(offset).ok()??).into()),
        8 if remaining >= 8 => Some(u64::from_le_bytes(memory.entry(offset).ok()??)),
        _ => None,
    }
}

/// amd64's direct map, where the kernel says that it is, or where kernels have it: it maps the first memory to where
/// that is.
fn amd64_direct_map(space: &AddressSpace, memory: &DumpedMemory, symbols: &dyn Symbols) -> Result<Option<DirectMap>> {
    let told = symbols.find("kva_layout")?.and_then(|symbol| kva_layout(space, memory, symbol.address));
    let Some(first) = memory.extents().next().map(|extent| extent.physical) else { return Ok(None) };
    let maps_first = |layout: &KvaLayout| {
        let at = layout.direct_map.0.checked_add(first);
        let found = at.and_then(|at| space.follow(&Physical::Dump(memory), at, |_| {}).ok());
        found.is_some_and(|found| found.physical == first)
    };
    let layout = told.into_iter().chain([KvaLayout::LA57, KvaLayout::LA48]).find(maps_first);
    Ok(layout.map(|KvaLayout { direct_map: (base, end), .. }| DirectMap { base, end, physical: 0 }))
}

/// The variable `kva_layout` at a virtual address.
fn kva_layout(space: &AddressSpace, memory: &DumpedMemory, address: u64) -> Option<KvaLayout> {
    let mut words = [0; KvaLayout::WORDS];
    for (word, index) in words.iter_mut().zip(0..) {
        let at = address.checked_add(index * 8)?;
        *word = pointer(memory, space.follow(&Physical::Dump(memory), at, |_| {}).ok()?.physical, 8)?;
    }
    KvaLayout::from_words(words)
}
