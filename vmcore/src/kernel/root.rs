//! Where a kernel's page tables are: found through its symbols, in an image of memory or of the kernel that runs.
//!
//! The kernel is linked at virtual addresses. In an image of memory its image lies in one piece, at a multiple of
//! 2 MiB that the loader chose: on amd64 at 2 MiB unless the kernel can be relocated (`kernphys`), on arm64 and riscv
//! anywhere, on arm at a multiple of 1 MiB. Each place is tried. Of the kernel that runs, /dev/kmem reads the image by
//! its virtual addresses. Either way each candidate is tested: page tables found through a symbol must map that very
//! symbol, to the address where it was found or to the bytes that are read there. Sources: `sys/amd64/amd64/pmap.c`,
//! `sys/arm64/arm64/locore.S`, `sys/riscv/riscv/locore.S` and `pmap.c`, `sys/i386/i386/pmap.c`,
//! `sys/arm/arm/pmap-v6.c`.

use super::space::{AddressSpace, PageTables};
use super::tables::Physical;
use super::unaided;
use crate::architecture::{Architecture, DirectMap};
use crate::bounds::{head_mut, part, saturating_usize};
use crate::dump::{Content, DumpedMemory};
use crate::error::{Error, Result};
use crate::memory::{Memory, ReadError};
use crate::pmap::amd64::KvaLayout;
use crate::pmap::walk::{Miss, Table, lookup};
use crate::pmap::{Format, amd64, arm64, riscv};
use crate::ram::Ram;
use crate::symbols::{Symbol, Symbols};
use crate::units::Hex;

/// The loader puts kernels at multiples of this.
const fn step(architecture: Architecture) -> u64 {
    if matches!(architecture, Architecture::Arm) { 1 << 20 } else { 2 << 20 }
}

/// What leads to the tables.
#[derive(Clone, Copy)]
enum RootLocator {
    /// A variable that holds the physical address of the root.
    Pointer { size: usize },
    /// One that holds its virtual address, in the kernel's own image or behind it.
    Virtual { size: usize },
    /// The root itself.
    Table,
    /// A structure with the value of riscv's `satp` for the kernel somewhere in it, which tells the format, too.
    Satp,
}

/// Which kernels are asked for a symbol.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Those in an image of memory.
    Image,
    /// That which runs.
    Running,
    /// All.
    All,
}

/// A way in which kernels of an architecture have their tables.
pub struct RootCandidate {
    architecture: Architecture,
    asked: Asked,
    symbol: &'static str,
    locator: RootLocator,
    /// Of the page tables, where the locator does not tell it.
    format: Format,
    /// Where kernel memory begins.
    base: u64,
}

const fn candidate(
    architecture: Architecture,
    asked: Asked,
    (symbol, locator): (&'static str, RootLocator),
    format: Format,
    base: u64,
) -> RootCandidate {
    RootCandidate { architecture, asked, symbol, locator, format, base }
}

/// A variable that a kernel does not use holds 0. A kernel with five levels also has the four that its uppermost
/// entry leads to, so the larger ones come first; so does PAE's root, as its directories look like a root without.
const CANDIDATES: [RootCandidate; 14] = {
    use Architecture::{Amd64, Arm, Arm64, I386, Riscv};
    use RootLocator::{Pointer, Satp, Virtual};
    const ARM64: (&str, RootLocator) = ("pagetable_l0_ttbr1", RootLocator::Table);
    [
        candidate(Amd64, Asked::All, ("KPML5phys", Pointer { size: 8 }), Format::Amd64La57, amd64::KERNEL_MAP_BASE),
        candidate(Amd64, Asked::All, ("KPML4phys", Pointer { size: 8 }), Format::Amd64, amd64::KERNEL_MAP_BASE),
        // Without LPA2, entries of pages have bits set that would be their addresses' highest with it. In `locore.S` of
        // older kernels the symbol is a local label, which kldsym(2) finds all the same unless
        // `debug.link_elf_leak_locals` is 0.
        candidate(Arm64, Asked::All, ARM64, Format::Arm64Lpa2, arm64::KERNBASE),
        candidate(Arm64, Asked::All, ARM64, Format::Arm64LargeLpa2, arm64::KERNBASE),
        candidate(Arm64, Asked::All, ARM64, Format::Arm64, arm64::KERNBASE),
        candidate(Arm64, Asked::All, ARM64, Format::Arm64Large, arm64::KERNBASE),
        // The address space of process 0, whose tables are the kernel's (`pmap_pinit0`): the assembler's may be others.
        candidate(Riscv, Asked::Image, ("vmspace0", Satp), Format::Sv48, riscv::KERNBASE),
        candidate(Riscv, Asked::Image, ("pagetable_l0", RootLocator::Table), Format::Sv48, riscv::KERNBASE),
        candidate(Riscv, Asked::Image, ("pagetable_l1", RootLocator::Table), Format::Sv39, riscv::KERNBASE),
        // The kernel's `struct pmap`. No other word in it looks like `pm_satp`.
        candidate(Riscv, Asked::Running, ("kernel_pmap_store", Satp), Format::Sv48, riscv::KERNBASE),
        candidate(I386, Asked::Image, ("IdlePDPT", Pointer { size: 4 }), Format::I386Pae, 0),
        candidate(I386, Asked::Image, ("IdlePTD", Pointer { size: 4 }), Format::I386, 0),
        candidate(I386, Asked::Image, ("IdlePTD_nopae", Pointer { size: 4 }), Format::I386, 0),
        candidate(Arm, Asked::Image, ("kern_pt1", Virtual { size: 4 }), Format::ArmV6, 0xc000_0000),
    ]
};

/// The ways in which the kernel of an architecture that runs may have its tables, of a format if that is known.
pub fn running_candidates(
    architecture: Architecture,
    format: Option<Format>,
) -> impl Iterator<Item = &'static RootCandidate> {
    let asked = CANDIDATES.iter().filter(move |one| one.architecture == architecture && one.asked != Asked::Image);
    asked.filter(move |candidate| format.is_none_or(|format| candidate.format == format))
}

/// The kernel's image, as it is seen before the page tables are known.
pub trait KernelImage {
    /// Reads from a virtual address of it on, as far as there is anything; tells how many bytes.
    ///
    /// # Errors
    ///
    /// There is nothing, or reading failed.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError>;

    /// The physical address of a virtual one, where that is known before.
    fn physical(&self, address: u64) -> Option<u64>;
}

/// Why a symbol does not lead to the kernel's page tables.
#[derive(Debug)]
pub enum NoRoot {
    /// The variable is 0: this kernel does not use it.
    Unused,
    /// It cannot be read.
    Unreadable(ReadError),
    /// It is a page table that does not begin with a page.
    Unaligned,
    /// There is no value of `satp` in it.
    NoSatp,
    /// It is a page table that does not map itself.
    NotItself,
    /// At this physical address, where the root would be, there is no memory.
    NoMemory(u64),
    /// The page tables at this physical address do not map the kernel.
    NotTheKernel(u64),
}

/// What a symbol says of the root.
struct Root {
    format: Format,
    physical: u64,
    /// Where it is said: a virtual address, and bytes. The page tables must map them.
    said: (u64, usize),
}

impl RootCandidate {
    /// The symbol that leads to the tables.
    pub fn symbol(&self) -> &'static str {
        self.symbol
    }

    /// The page tables of the running kernel, if the symbol leads to them.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub fn try_running(&self, symbol: Symbol, image: &dyn KernelImage, ram: &Ram) -> Result<PageTables, NoRoot> {
        self.find(symbol, image, &Physical::Live(ram))
    }

    fn find(&self, symbol: Symbol, image: &dyn KernelImage, memory: &Physical<'_>) -> Result<PageTables, NoRoot> {
        let address = symbol.address;
        let root = |physical, length| Root { format: self.format, physical, said: (address, length) };
        match self.locator {
            RootLocator::Table => {
                let page = self.format.page_size();
                if !address.is_multiple_of(page) {
                    return Err(NoRoot::Unaligned);
                }
                let physical = match image.physical(address) {
                    Some(physical) => physical,
                    None => self.own_address(address, image, memory)?,
                };
                self.check(&root(physical, saturating_usize(page)), image, memory)
            }
            RootLocator::Pointer { size } => match word_at(image, address, size)? {
                0 => Err(NoRoot::Unused),
                physical => self.check(&root(physical, size), image, memory),
            },
            RootLocator::Virtual { size } => match word_at(image, address, size)? {
                0 => Err(NoRoot::Unused),
                at => self.check(&root(image.physical(at).ok_or(NoRoot::NotItself)?, size), image, memory),
            },
            RootLocator::Satp => self.find_satp(symbol, image, memory),
        }
    }

    /// Where the top-level page table at an address of the image lies, which it must tell itself.
    fn own_address(&self, address: u64, image: &dyn KernelImage, memory: &Physical<'_>) -> Result<u64, NoRoot> {
        let space = AddressSpace::from_tables(PageTables::from_root(self.format, 0, self.base));
        let read = |table: &Table, index: u64| match table.physical {
            None => word_at(image, address.wrapping_add(index * 8), 8),
            Some(_) => space.entry(memory, table, index).ok_or(NoRoot::NotItself),
        };
        let table = Table::detached_root(self.format);
        match lookup(self.format, &table, address, read, |_| {}) {
            Ok(page) => Ok(page.physical),
            Err(Miss::Unread(why)) => Err(why),
            Err(_) => Err(NoRoot::NotItself),
        }
    }

    /// Tries each value of `satp` in a structure; the first failure counts.
    fn find_satp(&self, symbol: Symbol, image: &dyn KernelImage, memory: &Physical<'_>) -> Result<PageTables, NoRoot> {
        let length = if symbol.size == 0 { MAX_STRUCTURE } else { symbol.size.min(MAX_STRUCTURE) };
        let mut bytes = vec![0; saturating_usize(length & !7)];
        let read = read_on(image, symbol.address, &mut bytes)?;
        let words = part(&bytes, ..read).as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        let roots = (0..).zip(words).filter_map(|(number, word): (u64, u64)| {
            let (format, physical) = riscv::root(word)?;
            Some(Root { format, physical, said: (symbol.address.wrapping_add(number * 8), 8) })
        });
        let mut failure = None;
        for root in roots {
            match self.check(&root, image, memory) {
                Ok(tables) => return Ok(tables),
                Err(why) => failure = failure.or(Some(why)),
            }
        }
        Err(failure.unwrap_or(NoRoot::NoSatp))
    }

    /// The page tables with that root, if they map what told of the root.
    fn check(&self, root: &Root, image: &dyn KernelImage, memory: &Physical<'_>) -> Result<PageTables, NoRoot> {
        // PAE's has four entries, and need not be alone in its page.
        let alignment = if root.format == Format::I386Pae { 32 } else { root.format.page_size() };
        if root.physical == 0 || !root.physical.is_multiple_of(alignment) || !memory.has(root.physical) {
            return Err(NoRoot::NoMemory(root.physical));
        }
        let tables = PageTables::from_root(root.format, root.physical, self.base);
        let space = AddressSpace::from_tables(tables);
        let (at, length) = root.said;
        let is_mapped = match (image.physical(at), memory) {
            (Some(physical), _) => space.follow(memory, at, |_| {}).is_ok_and(|found| found.physical == physical),
            (None, Physical::Live(ram)) => {
                let (mut bytes, mut again) = (vec![0; length], vec![0; length]);
                let read = image.read(at, &mut bytes).map_err(NoRoot::Unreadable)?;
                read == length && space.read(ram, at, &mut again).is_ok() && bytes == again
            }
            (None, Physical::Dump(_)) => false,
        };
        if is_mapped { Ok(tables) } else { Err(NoRoot::NotTheKernel(root.physical)) }
    }
}

/// More bytes than `struct vmspace` has, and `struct pmap`.
const MAX_STRUCTURE: u64 = 1024;

/// Reads from an address of the image on, across the borders of what lies in one piece, and tells how many bytes there
/// were.
fn read_on(image: &dyn KernelImage, address: u64, bytes: &mut [u8]) -> Result<usize, NoRoot> {
    let mut done = 0;
    while let Some(rest @ [_, ..]) = bytes.get_mut(done..) {
        match image.read(address.wrapping_add(done as u64), rest) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(_) if done > 0 => break,
            Err(why) => return Err(NoRoot::Unreadable(why)),
        }
    }
    Ok(done)
}

/// A little-endian integer in the image, of 4 or 8 bytes.
fn word_at(image: &dyn KernelImage, address: u64, size: usize) -> Result<u64, NoRoot> {
    let mut bytes = [0; 8];
    let part = head_mut(&mut bytes, size);
    match image.read(address, part) {
        Ok(read) if read == part.len() => Ok(u64::from_le_bytes(bytes)),
        Ok(_) => Err(NoRoot::Unreadable(ReadError::Absent)),
        Err(error) => Err(NoRoot::Unreadable(error)),
    }
}

/// The image of a kernel at a place in an image of memory.
struct PlacedImage<'a> {
    memory: &'a DumpedMemory,
    /// The physical address of the virtual address 0, if there were one.
    displacement: u64,
}

impl KernelImage for PlacedImage<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        self.memory.read_at(address.wrapping_add(self.displacement), buffer)
    }

    fn physical(&self, address: u64) -> Option<u64> {
        Some(address.wrapping_add(self.displacement))
    }
}

/// Finds the page tables of a kernel in an image of memory.
pub(super) fn find(
    memory: &DumpedMemory,
    kernel: Option<(Architecture, &dyn Symbols)>,
) -> Result<(Architecture, AddressSpace)> {
    let Some((architecture, symbols)) = kernel else {
        return unaided::find(memory).ok_or(Error::NeedsImage(memory.inspection().content.name()));
    };
    let machine = match &memory.inspection().content {
        Content::Elf(facts) => Some(facts.machine_name),
        Content::Image(facts) => facts.architecture.map(Architecture::name),
        _ => None,
    };
    if let Some(machine) = machine.filter(|machine| *machine != architecture.name()) {
        let machine = if machine.is_empty() { "another machine" } else { machine };
        return Err(Error::Refused(format!(
            "the dump is for {machine}, and {} is a kernel for {}",
            symbols.source(),
            architecture.name()
        )));
    }
    let known = CANDIDATES.iter().filter(|one| one.architecture == architecture && one.asked != Asked::Running);
    let mut tried = Vec::new();
    for candidate in known {
        let Some(symbol) = symbols.find(candidate.symbol)? else { continue };
        for physical in places(memory, symbol.address, step(architecture)) {
            let image = PlacedImage { memory, displacement: physical.wrapping_sub(symbol.address) };
            if let Ok(tables) = candidate.find(symbol, &image, &Physical::Dump(memory)) {
                let mut space = AddressSpace::from_tables(tables);
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
            "the kernel's page tables are not in this memory ({}): is {kernel} the kernel that was running?",
            tried.join(", ")
        )),
    })
}

/// Physical addresses at which a symbol may lie.
fn places(memory: &DumpedMemory, address: u64, step: u64) -> impl Iterator<Item = u64> {
    let within = address % step;
    memory.extents().flat_map(move |extent| {
        let end = extent.physical.saturating_add(extent.size);
        let first = extent.physical.saturating_sub(within).checked_next_multiple_of(step);
        let place = move |number: u64| first?.checked_add(number.checked_mul(step)?)?.checked_add(within);
        let places = (0..).map_while(place);
        places.skip_while(move |place| *place < extent.physical).take_while(move |place| *place < end)
    })
}

/// amd64's direct map, where the kernel says that it is, or where kernels have it: it maps the first memory to where
/// that is. What an image of memory says may be damaged, and a guess is tested here without harm; of the kernel that
/// runs ([`crate::live`]) nothing is guessed.
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
    let word = |offset| {
        let at = address.checked_add(offset).ok_or(())?;
        let physical = space.follow(&Physical::Dump(memory), at, |_| {}).map_err(drop)?.physical;
        word_at(&PlacedImage { memory, displacement: physical.wrapping_sub(at) }, at, 8).map_err(drop)
    };
    KvaLayout::read(word).ok()?.ok()
}
