//! A kernel's memory by virtual address: that of a dump, an image of memory, or the running kernel; and, as a [`Kernel`],
//! with its symbols and processes. What kvm(3) does, for every architecture on every system.
//!
//! | kvm(3) | here |
//! | --- | --- |
//! | `kvm_open`, `kvm_open2`, `kvm_openfiles` | [`Kernel::open`]; [`KernelMemory::from_dump`], [`KernelMemory::from_live`] |
//! | `kvm_close` | dropping the [`KernelMemory`] |
//! | `kvm_read`, `kvm_read2` | [`KernelMemory::read`] |
//! | `kvm_write` | [`KernelMemory::write`] |
//! | `kvm_kerndisp` | [`KernelMemory::relocation`]; reading needs none: what powerpc64's kernel is linked at leads to where it ran |
//! | `kvm_native` | not needed: integers are those of the dump |
//! | `kvm_nlist`, `kvm_nlist2` | [`crate::symbols`] |
//! | `kvm_walk_pages` | [`KernelMemory::each_mapping`] |
//! | `kvm_getprocs` | [`Processes`] |
//! | `kvm_getargv`, `kvm_getenvv` | [`crate::kinfo::arguments`], [`crate::kinfo::environment`] |
//! | `kvm_getpcpu`, `kvm_getmaxcpu`, `kvm_getncpus` | [`TypedMemory::pcpu`], [`TypedMemory::max_cpus`], [`TypedMemory::cpus`] |
//! | `kvm_dpcpu_setcpu` | [`TypedMemory::per_cpu_address`] |
//! | `kvm_read_zpcpu`, `kvm_counter_u64_fetch` | [`TypedMemory::zone_per_cpu_address`], [`ZonePerCpu`], [`TypedMemory::counter`] |
//! | `kvm_getcptime` | [`TypedMemory::cpu_times`] |
//! | `kvm_getswapinfo` | [`TypedMemory::swap_devices`] |
//! | reading a variable of the process's network stack | [`TypedMemory::per_vnet_address`] |
//! | `kvm_getloadavg` | [`KernelFacts`] |
//! | `kvm_geterr`, `kvm_error` | [`Fault`]: the step that failed, and the address |

mod capture;
mod config;
mod cpus;
mod dumper;
mod facts;
mod hashed;
mod identity;
mod messages;
mod module_sets;
mod names;
mod object;
mod open;
mod physical;
mod pid_table;
mod process;
mod registers;
mod root;
mod running;
mod search;
mod space;
mod swap;
mod tables;
mod trampoline;
mod translation;
mod unaided;
mod user;
mod view;
mod vnet;
mod warning;

pub use capture::DebuggerOutput;
pub use cpus::{CpuTimes, ZonePerCpu};
pub use facts::KernelFacts;
pub(crate) use hashed::RunningTable;
pub use names::KernelNames;
pub use object::{Object, TypedMemory};
pub use open::{FileContents, Kernel, KernelOptions};
pub use physical::PhysicalMemory;
pub use process::{Process, Processes, State, Thread};
pub use registers::{PcbLayout, Registers};
pub(crate) use root::{KernelImage, NoRoot, RootCandidate, running_candidates};
pub use running::RunningMemory;
pub use search::{FoundKernel, KernelSearch, RejectedImage};
pub(crate) use space::PageTables;
pub(crate) use swap::MAX_SWAP_DEVICES;
pub use swap::SwapDevice;
pub use translation::{Mapping, Translation, WalkStep};
pub use user::UserMemory;
pub(crate) use user::user_tables;
pub use view::PhysicalView;
pub use warning::KernelWarning;

use crate::architecture::{Architecture, Endianness};
use crate::bounds::{head, head_mut};
use crate::dump::header::Relocation;
use crate::dump::{Content, DumpedMemory};
use crate::error::{Error, Result};
use crate::fault::{Fault, Why};
use crate::memory::{Memory, ReadError, WritableMemory};
use crate::pmap::{Format, powerpc64};
use crate::symbols::Symbols;
use crate::text::until_nul;
use space::{AddressSpace, Tables};
use std::io;
use std::ops::ControlFlow;

/// A kernel's memory, by virtual address.
///
/// ```no_run
/// use std::path::Path;
/// use vmcore::Kernel;
///
/// # fn main() -> vmcore::Result<()> {
/// let kernel = Kernel::open(Path::new("vmcore.0"), None)?;
/// let memory = kernel.memory();
/// let address = 0xffff_ffff_8020_0000;
/// let (steps, found) = memory.walk(address);
/// for step in steps {
///     println!("{}[{}]: {:#x}, {}", step.level.name, step.index, step.entry, step.target);
/// }
/// println!("{address:#x} is at {:#x}", found?.physical);
/// # Ok(())
/// # }
/// ```
pub struct KernelMemory {
    physical: PhysicalMemory,
    architecture: Architecture,
    space: AddressSpace,
}

/// What a kernel's memory is opened for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Access {
    /// Reading only (`O_RDONLY`).
    #[default]
    Read,
    /// Reading and writing (`O_RDWR`).
    Write,
}

impl KernelMemory {
    /// The kernel in a dump. A minidump tells where everything is, and a core file of virtual memory has its addresses;
    /// in a full dump or an image of memory the page tables are found through the symbols of its kernel (`kvm_open`).
    ///
    /// # Errors
    ///
    /// It is no minidump, and there are no symbols; or they do not lead to page tables that map them.
    pub fn from_dump(memory: DumpedMemory, kernel: Option<(Architecture, &dyn Symbols)>) -> Result<Self> {
        let (architecture, space) = Self::space_of(&memory, kernel)?;
        Ok(Self::from_space(memory, architecture, space))
    }

    /// The kernel in a dump whose address space is known.
    fn from_space(memory: DumpedMemory, architecture: Architecture, space: AddressSpace) -> Self {
        Self { physical: PhysicalMemory::from_any_dump(memory), architecture, space }
    }

    /// The address space of the kernel in a dump: see [`Self::from_dump`].
    fn space_of(
        memory: &DumpedMemory,
        kernel: Option<(Architecture, &dyn Symbols)>,
    ) -> Result<(Architecture, AddressSpace)> {
        Ok(match &memory.inspection().content {
            Content::Minidump(facts) => (facts.header.architecture, AddressSpace::from_minidump(&facts.header)),
            Content::Elf(facts) if facts.has_virtual_addresses_only() => {
                let architecture = facts.architecture();
                let unknown = || Error::Unsupported(format!("it is a core file of machine {}", facts.machine));
                (architecture.ok_or_else(unknown)?, AddressSpace::listed(facts.byte_order))
            }
            Content::Elf(facts) if memory.has_virtual_addresses() => {
                let told = |architecture| (architecture, AddressSpace::told(facts.byte_order));
                root::find(memory, kernel).or_else(|error| facts.architecture().map(told).ok_or(error))?
            }
            _ => root::find(memory, kernel)?,
        })
    }

    /// The dump again; `None` of the running kernel.
    fn into_dump(self) -> Option<DumpedMemory> {
        self.physical.into_dump()
    }

    /// The running kernel with this memory, and what writes to it, if it is opened for that. Each read sees it as it is
    /// then.
    pub fn from_live(kernel: RunningMemory, writer: Option<Box<dyn WritableMemory>>) -> Self {
        let architecture = kernel.architecture;
        let (physical, space) = PhysicalMemory::from_live(kernel, writer);
        Self { physical, architecture, space }
    }

    /// Whose kernel it is.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The order of bytes in its integers.
    pub fn order(&self) -> Endianness {
        self.space.order
    }

    /// Where the kernel was when it ran, if that is not where it is linked. Either address of its image can be read.
    pub fn relocation(&self) -> Option<Relocation> {
        self.space.relocation
    }

    /// Where parts of the kernel were when it ran, other than where its symbols are: all of powerpc64's
    /// ([`Self::relocation`]), and i386's code that enters and leaves the kernel, as its `setidt_disp` tells. What
    /// [`crate::symbols::KernelSymbols::relocate`] takes.
    pub fn relocations(&self, symbols: &dyn Symbols) -> Vec<Relocation> {
        self.relocation().into_iter().chain(trampoline::find(self, symbols)).collect()
    }

    /// Bytes of a pointer, and of a `long`.
    pub fn word_size(&self) -> usize {
        self.architecture.word_size()
    }

    /// Bytes of a page.
    pub fn page_size(&self) -> u64 {
        self.table_format().map_or(4096, Format::page_size)
    }

    /// How its page tables are laid out; `None` where that is not known, or where they are hashed. A minidump of amd64 has no
    /// entries of the level by which LA57 differs.
    pub(crate) fn table_format(&self) -> Option<Format> {
        match self.space.tables {
            Tables::Tree(tree) => Some(tree.format),
            _ => None,
        }
    }

    /// The dump it is in; `None` of the running kernel.
    pub fn dump(&self) -> Option<&DumpedMemory> {
        self.physical.dump()
    }

    /// The memory that it lies in, by physical address.
    pub fn physical_memory(&self) -> &PhysicalMemory {
        &self.physical
    }

    /// Where a virtual address lies (`kvm_kvatop` within libkvm).
    ///
    /// # Errors
    ///
    /// It is not mapped, or a page table is not there.
    pub fn translate(&self, address: u64) -> Result<Translation, Fault> {
        self.space.follow(&self.physical.tables(), address, |_| {})
    }

    /// Every page table entry on the way to an address, and where that leads.
    pub fn walk(&self, address: u64) -> (Vec<WalkStep>, Result<Translation, Fault>) {
        let mut steps = Vec::new();
        let end = self.space.follow(&self.physical.tables(), address, |step| steps.push(step));
        (steps, end)
    }

    /// Shows all that is mapped, in ascending order, in pieces as large as they come, until it is told to stop; of
    /// the direct map, what is in the dump (`kvm_walk_pages`). Tells how many page tables could not be had.
    ///
    /// # Errors
    ///
    /// The page tables are not known ([`Why::Untranslated`]): the direct map, if there is one, was shown. Or the file
    /// cannot be read.
    pub fn each_mapping(&self, mut take: impl FnMut(Mapping) -> ControlFlow<()>) -> Result<u64, Fault> {
        self.space.each_mapping(&self.physical.tables(), &mut *self.physical.pieces(), &mut take)
    }

    /// Whether all bytes from a virtual address on can be written: see [`PhysicalMemory::check_writable`].
    ///
    /// # Errors
    ///
    /// The first address that cannot be written.
    pub fn check_writable(&self, address: u64, length: u64) -> Result<(), Fault> {
        self.physical.check_pieces(address, length, |at| self.place(at))
    }

    /// Where the byte at a virtual address is among [`Self::physical`], and how many bytes follow it there.
    fn place(&self, address: u64) -> Result<(u64, u64), Fault> {
        match (self.dump(), self.space.tables) {
            (Some(dump), Tables::Listed) => {
                let (_, remaining) = dump.place_of(address).ok_or(Fault::new(address, Why::NotListed))?;
                Ok((address, remaining))
            }
            _ => self.translate(address).map(|found| (found.physical, found.remaining)),
        }
    }

    /// Fills the buffer from a virtual address on, across pages (`kvm_read`).
    ///
    /// # Errors
    ///
    /// The first address that cannot be read, and why. Up to there the buffer is filled.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        let read = |at, physical, part: &mut [u8]| {
            self.physical.read_some(at, physical, part).map_err(|fault| self.with_cause(fault))
        };
        read_pieces(address, buffer, |at| self.place(at), read)
    }

    /// A fault with the reason why the page is not there, if that is known: powerpc's `dump_avail` is what the firmware
    /// calls available (`sys/powerpc/aim/mmu_oea64.c`, `mmu_radix.c`). Open Firmware's `available` property lacks what
    /// was claimed of it, and the loader claims memory for the kernel (`stand/libofw/ofw_copy.c`).
    fn with_cause(&self, fault: Fault) -> Fault {
        let Some(facts) = self.dump().and_then(DumpedMemory::minidump) else { return fault };
        match (fault.why, facts.header.kernel_image) {
            (Why::NoPage(at), Some((start, end)))
                if (powerpc64::physical(start)..powerpc64::physical(end)).contains(&at)
                    && !facts.segments().iter().any(|segment| (segment.start.0..segment.end.0).contains(&at)) =>
            {
                Fault { why: Why::NoImage(at), ..fault }
            }
            _ => fault,
        }
    }

    /// Writes bytes from a virtual address on, across pages (`kvm_write`). Before the first one is written, all of
    /// them are seen to be there.
    ///
    /// # Errors
    ///
    /// The first address that cannot be written, and why. It was not opened for writing, for one.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mut there = vec![0; bytes.len()];
        self.read(address, &mut there)?;
        self.check_writable(address, bytes.len() as u64)?;
        self.physical.write_pieces(address, bytes, |at| self.place(at))
    }

    /// So many bytes at a virtual address.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn bytes<const N: usize>(&self, address: u64) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    /// A `uint32_t` at a virtual address.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn u32(&self, address: u64) -> Result<u32, Fault> {
        Ok(self.order().u32(self.bytes(address)?))
    }

    /// A `uint64_t` at a virtual address.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn u64(&self, address: u64) -> Result<u64, Fault> {
        Ok(self.order().u64(self.bytes(address)?))
    }

    /// A pointer, or an `unsigned long`, at a virtual address.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn pointer(&self, address: u64) -> Result<u64, Fault> {
        if self.word_size() == 4 { self.u32(address).map(u64::from) } else { self.u64(address) }
    }

    /// The bytes of a C string at a virtual address, without the NUL; at most so many.
    ///
    /// # Errors
    ///
    /// As [`Self::read`], where it comes before the NUL.
    pub fn string(&self, address: u64, limit: usize) -> Result<Vec<u8>, Fault> {
        string(address, limit, |at, part| self.read(at, part))
    }
}

/// Fills the buffer from a virtual address on, of which `place` tells the physical one, and how many bytes follow it
/// there; `read` reads some of them.
fn read_pieces(
    address: u64,
    buffer: &mut [u8],
    place: impl Fn(u64) -> Result<(u64, u64), Fault>,
    read: impl Fn(u64, u64, &mut [u8]) -> Result<usize, Fault>,
) -> Result<(), Fault> {
    let mut done = 0;
    while let Some(rest @ [_, ..]) = buffer.get_mut(done..) {
        let at = address.checked_add(done as u64).ok_or(Fault::new(u64::MAX, Why::NotCovered))?;
        let (physical, remaining) = place(at)?;
        done += read(at, physical, head_mut(rest, remaining))?;
    }
    Ok(())
}

/// Reads at least one byte of memory at a physical address; a fault is that of the address `at`.
fn read_some(memory: &dyn Memory, at: u64, physical: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
    loop {
        match memory.read_at(physical, buffer) {
            // The dump has been cut off.
            Ok(0) => return Err(Fault::new(at, Why::NoPage(physical))),
            Ok(read) => return Ok(read),
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::read(at, physical, &error)),
        }
    }
}

fn string(address: u64, limit: usize, read: impl Fn(u64, &mut [u8]) -> Result<(), Fault>) -> Result<Vec<u8>, Fault> {
    let mut text = Vec::new();
    let mut buffer = [0; 64];
    while text.len() < limit {
        let at = address.checked_add(text.len() as u64).ok_or(Fault::new(u64::MAX, Why::NotCovered))?;
        // Not beyond what a NUL may end: the next page may not be there.
        let part = head_mut(head_mut(&mut buffer, 64 - at % 64), limit - text.len());
        let fault = read(at, part).err();
        // Memory may end within a page, too.
        let there = fault.map_or(&*part, |fault| head(part, fault.address.saturating_sub(at)));
        let before = until_nul(there);
        text.extend_from_slice(before);
        match fault {
            _ if before.len() < there.len() => break,
            Some(fault) => return Err(fault),
            None => {}
        }
    }
    Ok(text)
}

impl Memory for KernelMemory {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let error = |fault: Fault| match fault.why {
            Why::Io(errno) => ReadError::Io(errno.into()),
            _ => ReadError::Absent,
        };
        let (physical, remaining) = self.place(address).map_err(error)?;
        self.physical.read_some(address, physical, head_mut(buffer, remaining)).map_err(error)
    }
}
