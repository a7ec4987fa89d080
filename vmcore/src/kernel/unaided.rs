//! The page tables of a kernel whose symbols are not known, in an image of memory: by the registers of a processor, or
//! by looking for a page that is their root.
//!
//! Nothing is believed that only looks like a root. What it maps must be FreeBSD's kernel: the kernel's own image begins
//! with the header of an ELF file where kernels of the architecture are linked, and the direct map, which stands where
//! no other system has it, maps the root itself. amd64's root maps itself in its middle entry, too
//! (`PML4PML4I`, `PML5PML5I`; `sys/amd64/include/pmap.h`, `vmparam.h`), and that of arm64 is known to be of the kernel by
//! having no place for processes (`sys/arm64/include/vmparam.h`).

use super::space::{AddressSpace, PageTables, RootOrigin};
use super::tables::Physical;
use crate::architecture::{Architecture, DirectMap};
use crate::bounds::{head, head_mut, item};
use crate::dump::{Content, DumpedMemory, Processor};
use crate::memory::Memory;
use crate::pmap::amd64::{KERNEL_MAP_BASE, KERNSTART, KvaLayout};
use crate::pmap::walk::Table;
use crate::pmap::{Format, Level, Target, arm64};
use object::elf;

/// The number of the entry in which amd64's root maps itself.
const RECURSIVE: u64 = 256;
/// Bytes of memory that are read together.
const BUFFER: usize = 1 << 20;
const PAGE: usize = 4096;
/// Pages that are kept for a closer look: that many roots of processes a machine can have had.
const MAX_CANDIDATES: usize = 1 << 16;

/// Finds the page tables; `None` where there are none for certain.
pub(super) fn find(memory: &DumpedMemory) -> Option<(Architecture, AddressSpace)> {
    let (known, processors): (_, &[Processor]) = match &memory.inspection().content {
        Content::Elf(facts) => (Some(facts.architecture()?), &facts.processors),
        Content::Image(facts) => (facts.architecture, &facts.processors),
        Content::Unknown | Content::Lime(_) => (None, &[]),
        _ => return None,
    };
    let is = |architecture| known.is_none_or(|known| known == architecture);
    if is(Architecture::Amd64) {
        let mut told = processors.iter().filter_map(Processor::amd64_root);
        if let Some(space) = told.find_map(|(format, root)| amd64(memory, format, root)) {
            return Some((Architecture::Amd64, AddressSpace { origin: RootOrigin::Processor, ..space }));
        }
    }
    if !is(Architecture::Amd64) && !is(Architecture::Arm64) {
        return None;
    }
    let candidates = candidates(memory, is(Architecture::Amd64), is(Architecture::Arm64));
    let amd64 = [Format::Amd64La57, Format::Amd64].into_iter().find_map(|format| {
        let space = candidates.amd64.iter().find_map(|root| amd64(memory, format, *root));
        space.map(|space| (Architecture::Amd64, space))
    });
    let arm64 = || {
        let roots = candidates.arm64.iter().filter_map(|root| arm64_root(memory, *root));
        // Two would be those of two kernels.
        let mut roots = roots.map(|space| (Architecture::Arm64, space));
        roots.next().filter(|_| roots.next().is_none())
    };
    let (architecture, space) = amd64.or_else(arm64)?;
    Some((architecture, AddressSpace { origin: RootOrigin::Scan, ..space }))
}

/// The level of a root's entries.
fn top(format: Format) -> Level {
    Table::detached_root(format).level
}

/// Pages that look like roots.
#[derive(Default)]
struct Candidates {
    amd64: Vec<u64>,
    arm64: Vec<u64>,
}

/// Reads all memory once, in order.
fn candidates(memory: &DumpedMemory, has_amd64: bool, has_arm64: bool) -> Candidates {
    let mut found = Candidates::default();
    let mut buffer = vec![0; BUFFER];
    for extent in memory.extents() {
        let end = extent.physical.saturating_add(extent.size);
        let Some(mut at) = extent.physical.checked_next_multiple_of(PAGE as u64) else { break };
        while at < end {
            let part = head_mut(&mut buffer, end - at);
            // What cannot be read is no root.
            let read = memory.read_at(at, part).unwrap_or(0);
            let pages = head(part, read).as_chunks::<PAGE>().0;
            for (page, address) in pages.iter().zip((at..).step_by(PAGE)) {
                let words = page.as_chunks().0;
                let word = |number: u64| u64::from_le_bytes(item(words, number));
                if has_amd64
                    && Format::Amd64.decode(top(Format::Amd64), word(RECURSIVE)) == Target::Table(address)
                    && found.amd64.len() < MAX_CANDIDATES
                {
                    found.amd64.push(address);
                }
                if has_arm64 && is_arm64_root(word) && found.arm64.len() < MAX_CANDIDATES {
                    found.arm64.push(address);
                }
            }
            // A page that cannot be read is passed over; what remains behind the last whole page is none.
            at = at.saturating_add((pages.len() as u64).max(1) * PAGE as u64);
        }
    }
    found
}

/// Whether an ELF file of a machine begins at an address.
fn is_image(memory: &DumpedMemory, space: &AddressSpace, address: u64, machine: elf::Machine) -> bool {
    let Ok(found) = space.follow(&Physical::Dump(memory), address, |_| {}) else { return false };
    let mut bytes = [0; 20];
    let is_read = memory.fill(found.physical, &mut bytes).is_ok();
    is_read && bytes.starts_with(b"\x7fELF\x02\x01\x01") && bytes.ends_with(&machine.0.to_le_bytes())
}

/// Whether an address of a direct map leads to a physical one.
fn leads_to(memory: &DumpedMemory, space: &AddressSpace, address: Option<u64>, physical: u64) -> bool {
    let found = address.and_then(|address| space.follow(&Physical::Dump(memory), address, |_| {}).ok());
    found.is_some_and(|found| found.physical == physical)
}

/// amd64's kernel with this root, if it is one. That of a process maps the kernel, too.
fn amd64(memory: &DumpedMemory, format: Format, root: u64) -> Option<AddressSpace> {
    let layout = if format == Format::Amd64La57 { KvaLayout::LA57 } else { KvaLayout::LA48 };
    let space = AddressSpace::from_tables(PageTables::from_root(format, root, KERNEL_MAP_BASE));
    let (base, end) = layout.direct_map;
    let is_root =
        is_image(memory, &space, KERNSTART, elf::EM_X86_64) && leads_to(memory, &space, base.checked_add(root), root);
    let direct_map = Some(DirectMap { base, end, physical: 0 });
    is_root.then_some(AddressSpace { direct_map, ..space })
}

/// Whether a page has tables for the kernel's image and one of the direct maps, and nothing that is none.
fn is_arm64_root(word: impl Fn(u64) -> u64) -> bool {
    let level = top(Format::Arm64);
    let is_table = |address: u64| matches!(Format::Arm64.decode(level, word(level.index(address))), Target::Table(_));
    is_table(arm64::KERNBASE) && arm64::DIRECT_MAPS.into_iter().any(is_table)
}

/// arm64's kernel with this root, if it is one. Where the direct map begins in physical memory is a multiple of a
/// superpage below the first memory.
fn arm64_root(memory: &DumpedMemory, root: u64) -> Option<AddressSpace> {
    let first = memory.extents().next()?.physical;
    let tables = PageTables::from_root(Format::Arm64, root, arm64::KERNBASE);
    let space = AddressSpace::from_tables(tables);
    let bases = [first & !((1 << 30) - 1), first & !((2 << 20) - 1), 0];
    let maps_itself = || {
        arm64::DIRECT_MAPS.into_iter().any(|map| {
            let at = |base: u64| root.checked_sub(base).and_then(|offset| map.checked_add(offset));
            bases.into_iter().any(|base| leads_to(memory, &space, at(base), root))
        })
    };
    (is_image(memory, &space, arm64::KERNBASE, elf::EM_AARCH64) && maps_itself()).then_some(space)
}
