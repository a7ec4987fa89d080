//! The kernel of a system that runs, and a minidump made of it from user space: what `minidumpsys()` does
//! (`minidump_machdep.c` of amd64, arm64, riscv and powerpc), through /dev/kmem and /dev/mem, or what stands for them
//! in a [`LiveSource`].
//!
//! Variables of the kernel are found by symbol and read through /dev/kmem; everything else is read through
//! /dev/mem, and only where the kernel's `dump_avail` and its memory map both say that there is RAM. The kernel
//! goes on meanwhile: each structure is read once, and what no longer fits is left out, not an error.
//!
//! Kernels count the bits of `vm_page_dump` through `dump_avail` (`vm_page_dump_pages` tells how many); those
//! before FreeBSD 13.0 count physical pages from 0 (`vm_page_dump_size` bytes). Pages that the kernel maps and yet
//! keeps out of its own dumps (`PG_NODUMP`) are in the dump.

mod amd64;
mod arm64;
mod check;
pub mod dump_avail;
mod powerpc64;
mod riscv;
mod root;
mod snapshot;
mod tables;
mod variables;

pub use check::{Check, Loss};
pub use powerpc64::relocation;
pub use snapshot::{Snapshot, UserDumpReport};

use crate::architecture::{DirectMap, Endianness};
use crate::bounds::{head_mut, saturating_usize};
use crate::error::{Error, Result};
use crate::fault::Why;
use crate::kernel::RunningMemory;
use crate::memory::{Memory, ReadError};
use crate::messages::Ring;
use crate::minidump::{Architecture, MAX_PAGES, Machine, PageSet};
use crate::pmap::{self, Format};
use crate::ram::Ram;
use crate::segment::intersect;
use crate::symbols::Symbols;
use crate::system::System;
use crate::units::{Hex, rough_size};
use std::collections::BTreeMap;
use std::ops;
use variables::Variables;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// The symbols that are looked for.
pub const SYMBOLS: [&str; 22] = [
    "version",
    "dump_avail",
    "vm_page_dump",
    "vm_page_dump_pages",
    "vm_page_dump_size",
    "msgbufp",
    "kernel_vm_end",
    // amd64.
    "kva_layout",
    "KPML4phys",
    "KPML5phys",
    "nkpt",
    // arm64.
    "pagetable_l0_ttbr1",
    "dmap_phys_base",
    "dmap_phys_max",
    "dmap_max_addr",
    "pmap_lpa_enabled",
    // riscv, and three of arm64's.
    "kernel_pmap_store",
    // powerpc64.
    "hw_direct_map",
    "radix_mmu",
    "moea64_pteg_count",
    "__startkernel",
    "__endkernel",
];

/// What the system that runs gives, so that its kernel can be read.
pub struct LiveSource<'a> {
    /// The machine: see [`machine`].
    pub machine: Machine,
    /// The kernel's version, `kern.version`.
    pub version: String,
    /// The symbols that the kernel tells itself, as kldsym(2) does.
    pub own_symbols: &'a dyn Symbols,
    /// Kernel virtual memory, as /dev/kmem reads it. Nothing but the kernel's image is read there.
    pub kernel: Box<dyn Memory>,
    /// Physical memory, as /dev/mem reads it.
    pub physical: Box<dyn Memory>,
    /// What is RAM by the firmware's map, ascending, neighbours joined; `None` where the kernel's `dump_avail` is all that
    /// tells.
    pub ram: Option<Vec<(u64, u64)>>,
}

/// The machine that a system runs on, if its kernel can be read and dumped from user space.
///
/// # Errors
///
/// [`Error::UnknownKernel`]: it is neither amd64 nor arm64 nor riscv64 nor powerpc64.
pub fn machine(system: &System) -> Result<Machine> {
    Machine::from_system(system).ok_or_else(|| {
        Error::UnknownKernel(format!(
            "dumps from user space are supported on amd64, aarch64, riscv64 and powerpc64, and this machine is {} with pages of {} bytes",
            system.machine_arch, system.page_size
        ))
    })
}

/// The kernel that is dumped, and where its memory is RAM.
///
/// ```no_run
/// use std::fs::File;
/// use vmcore::format::writer::SparseFile;
/// use vmcore::live::{LiveKernel, LiveSource};
/// use vmcore::progress::Progress;
/// use vmcore::symbols::Symbols;
///
/// fn dump(source: LiveSource<'_>, symbols: &dyn Symbols) -> Result<(), Box<dyn std::error::Error>> {
///     let kernel = LiveKernel::open(source, symbols)?;
///     let mut out = SparseFile::new(File::create_new("vmcore.live")?);
///     let report = kernel.snapshot()?.write(&mut out, &Progress::default())?;
///     out.finish()?;
///     println!("{} pages, of which {} bytes could not be read", report.pages, report.unreadable.bytes());
///     Ok(())
/// }
/// ```
pub struct LiveKernel<'a> {
    variables: Variables<'a>,
    machine: Machine,
    dump_avail: Vec<(u64, u64)>,
    direct_map: DirectMap,
    memory: RunningMemory,
}

/// The entries of a table in a tree.
fn words_of(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks().0.iter().copied().map(u64::from_le_bytes)
}

/// The memory that the direct map of a kernel is for, and where it is.
struct Direct {
    map: DirectMap,
    /// First physical address that it does not map.
    physical_end: u64,
}

fn odd(what: &str, why: impl std::fmt::Display) -> Error {
    Error::Format(format!("the kernel's {what} is not as expected: {why}"))
}

fn unreadable(what: &str, error: &ReadError) -> Error {
    Error::Unreadable { what: what.to_owned(), errno: error.errno() }
}

impl<'a> LiveKernel<'a> {
    /// Finds the kernel's memory by the symbols of its image, or by its own.
    ///
    /// # Errors
    ///
    /// A symbol is missing or is another kernel's, the kernel has its memory or page tables as no known kernel has
    /// ([`Error::UnknownKernel`]), its memory cannot be read, or what is in it makes no sense.
    pub fn open(source: LiveSource<'_>, symbols: &'a dyn Symbols) -> Result<Self> {
        match source.machine {
            Machine::Tree(architecture) => Self::open_tree(architecture, source, symbols),
            Machine::Powerpc64(order) => powerpc64::open(order, source, symbols),
        }
    }

    fn open_tree(architecture: Architecture, source: LiveSource<'_>, symbols: &'a dyn Symbols) -> Result<Self> {
        let image = match architecture {
            Architecture::Amd64 => amd64::IMAGE,
            Architecture::Arm64 | Architecture::Arm64Large => arm64::IMAGE,
            Architecture::Riscv => riscv::IMAGE,
        };
        let LiveSource { own_symbols, kernel, physical, ram, version, .. } = source;
        let variables = Variables::new(symbols, kernel, image, Endianness::Little);
        variables.check_kernel(own_symbols, &version)?;
        let direct = match architecture {
            Architecture::Amd64 => amd64::direct_map(&variables)?,
            Architecture::Arm64 | Architecture::Arm64Large => arm64::direct_map(&variables)?,
            Architecture::Riscv => riscv::direct_map(&variables)?,
        };
        let page = architecture.page_size();
        let physical_bits = match architecture {
            Architecture::Amd64 => pmap::amd64::PHYSICAL_BITS,
            Architecture::Arm64 | Architecture::Arm64Large => pmap::arm64::PHYSICAL_BITS,
            Architecture::Riscv => pmap::riscv::PHYSICAL_BITS,
        };
        let dump_avail = read_dump_avail(&variables, page, physical_bits)?;
        // Like the kernel, without what its direct map does not reach.
        let reached = dump_avail
            .iter()
            .map(|&(start, end)| (start.max(direct.map.physical), end.min(direct.physical_end & !(page - 1))));
        let reached = reached.filter(|(start, end)| start < end);
        let reached: Vec<(u64, u64)> = reached.collect();
        let ranges = match ram {
            Some(ram) => whole_pages(&intersect(&reached, &ram), page),
            None => reached,
        };
        let ram = Ram::new(physical, ranges);
        let format = match architecture {
            Architecture::Arm64 | Architecture::Arm64Large => Some(arm64::format(&variables, architecture.format())?),
            Architecture::Amd64 | Architecture::Riscv => None,
        };
        let tables = root::find(&variables, architecture.family(), format, &ram)?;
        let memory = RunningMemory::new(ram, architecture.family(), tables, direct.map);
        let machine = Machine::Tree(architecture);
        Ok(Self { variables, machine, dump_avail, direct_map: direct.map, memory })
    }

    /// The machine.
    pub fn machine(&self) -> Machine {
        self.machine
    }

    fn order(&self) -> Endianness {
        self.machine.order()
    }

    /// Its memory, for whoever reads it by virtual address.
    pub fn into_memory(self) -> RunningMemory {
        self.memory
    }

    fn ram(&self) -> &Ram {
        self.memory.ram()
    }

    /// Reads kernel virtual memory with RAM behind it.
    fn read_virtual(&self, what: &str, address: u64, buffer: &mut [u8]) -> Result<()> {
        self.memory.read(address, buffer).map_err(|fault| match fault.why {
            Why::Io(errno) => unreadable(what, &errno.into()),
            Why::NoPage(physical) if self.ram().remaining(physical) > 0 => unreadable(what, &ReadError::Absent),
            _ => odd(what, format!("at {} there is no RAM", Hex(fault.address))),
        })
    }

    /// Whether the bits of `vm_page_dump` count physical pages from 0.
    fn counts_from_0(&self) -> Result<bool> {
        self.variables.find("vm_page_dump_pages").map(|found| found.is_none())
    }

    /// The pages that the kernel marks for its dumps besides those that it maps: `vm_page_dump`, as it is now. And
    /// how many it marks that are not RAM, and so left out.
    ///
    /// # Errors
    ///
    /// The bitmap is not of the size that `dump_avail` demands, or cannot be read.
    pub fn marked(&self) -> Result<(PageSet, u64)> {
        let what = "vm_page_dump";
        let page = self.machine.page_size();
        let mut set = PageSet::new(page, &self.dump_avail);
        if set.capacity() > MAX_PAGES {
            let limit = rough_size(MAX_PAGES.saturating_mul(page));
            return Err(Error::Unsupported(format!(
                "a minidump's bitmap covers at most {limit} of memory, and the kernel's dump_avail has more"
            )));
        }
        let at = self.variables.number(what)?;
        if !self.counts_from_0()? {
            let pages = self.variables.number("vm_page_dump_pages")?;
            if pages != set.capacity() {
                return Err(odd(
                    "vm_page_dump_pages",
                    format!("it is {pages}, and dump_avail has {} pages", set.capacity()),
                ));
            }
            self.read_words(at, 0..pages.div_ceil(64), |number, word| set.add_word(number, word))?;
        } else {
            let last = self.dump_avail.last().map_or(0, |range| range.1);
            let size = u64::from(self.variables.int("vm_page_dump_size")?);
            let needed = (last / page).div_ceil(8);
            if size < needed || size > needed.next_multiple_of(page) {
                return Err(odd(
                    "vm_page_dump_size",
                    format!("it is {size}, and the memory in dump_avail takes {needed} bytes"),
                ));
            }
            for &(start, end) in &self.dump_avail {
                self.read_by_page(at, start / page, end / page, &mut set)?;
            }
        }
        let dropped = set.keep_within(self.ram().ranges());
        Ok((set, dropped))
    }

    /// Calls with the words of a bitmap, and their numbers.
    fn read_words(&self, address: u64, words: ops::Range<u64>, mut take: impl FnMut(u64, u64)) -> Result<()> {
        let mut bytes = vec![0; BUFFER];
        let mut first = words.start;
        while first < words.end {
            let count = (words.end - first).min(BUFFER as u64 / 8);
            let bytes = head_mut(&mut bytes, count * 8);
            let at = first.checked_mul(8).and_then(|offset| address.checked_add(offset));
            self.read_virtual("vm_page_dump", at.ok_or_else(|| odd("vm_page_dump", "it has no end"))?, bytes)?;
            let words = bytes.as_chunks().0.iter().map(|word| self.order().u64(*word));
            words.zip(first..).for_each(|(word, number)| take(number, word));
            first += count;
        }
        Ok(())
    }

    /// Takes pages from a bitmap whose bits count physical pages from 0.
    fn read_by_page(&self, address: u64, first: u64, last: u64, set: &mut PageSet) -> Result<()> {
        let page_size = self.machine.page_size();
        self.read_words(address, first / 64..last.div_ceil(64), |number, bits| {
            for bit in (0..64).filter(|bit| bits & 1 << bit != 0) {
                let page = number * 64 + bit;
                if (first..last).contains(&page) {
                    set.insert(page * page_size);
                }
            }
        })
    }

    fn message_buffer(&self) -> Result<Vec<u8>> {
        let what = "msgbufp";
        let mut fields = [0; Ring::LENGTH];
        self.read_virtual(what, self.variables.number(what)?, &mut fields)?;
        let word_size = self.machine.family().word_size();
        let ring = Ring::decode(&fields, word_size, self.order()).map_err(|why| odd(what, why))?;
        let mut buffer = vec![0; saturating_usize(ring.size)];
        self.read_virtual("message buffer", ring.address, &mut buffer)?;
        Ok(buffer)
    }

    /// Decides what a dump holds.
    ///
    /// # Errors
    ///
    /// Those of [`Self::marked`], and of the other variables of the kernel.
    pub fn snapshot(&self) -> Result<Snapshot<'_>> {
        let superpages = match self.machine {
            Machine::Tree(architecture) => self.superpages(architecture)?,
            Machine::Powerpc64(_) => 0,
        };
        let message_buffer = self.message_buffer()?;
        let (pages, not_ram) = self.marked()?;
        let mut snapshot = Snapshot {
            kernel: self,
            version: self.machine.version(self.counts_from_0()?),
            message_buffer,
            superpages,
            directories: BTreeMap::new(),
            tables: BTreeMap::new(),
            hashed: Vec::new(),
            pages,
            not_ram,
            lost_tables: 0,
            left_out: None,
        };
        if let Machine::Tree(architecture) = self.machine {
            snapshot.walk(architecture);
        }
        if let Some((table, image)) = self.memory.hashed_table() {
            snapshot.read_hashed(table, image)?;
        }
        Ok(snapshot)
    }

    /// Superpages of the kernel map.
    fn superpages(&self, architecture: Architecture) -> Result<u64> {
        let end = match architecture {
            Architecture::Amd64 => amd64::kernel_map_end(&self.variables)?,
            Architecture::Arm64 | Architecture::Arm64Large => arm64::kernel_map_end(&self.variables)?,
            Architecture::Riscv => riscv::kernel_map_end(&self.variables)?,
        };
        let is_lpa2 = matches!(self.memory.format(), Some(Format::Arm64Lpa2 | Format::Arm64LargeLpa2));
        if is_lpa2 && self.dump_avail.last().is_some_and(|last| last.1 >> pmap::arm64::COMMON_BITS > 0) {
            return Err(Error::Unsupported(
                "this machine has memory beyond 1 PiB, whose page tables memtool cannot write into a dump; use --method kernel"
                    .to_owned(),
            ));
        }
        let [_, level, _] = architecture.levels();
        let superpages = (end - u128::from(architecture.kernel_base())).div_ceil(level.span().into());
        u64::try_from(superpages).map_err(|_| odd("kernel_vm_end", format!("it is {end:#x}")))
    }
}

/// `dump_avail` of a kernel whose pages have so many bytes, and its physical addresses so many bits.
fn read_dump_avail(variables: &Variables<'_>, page: u64, physical_bits: u32) -> Result<Vec<(u64, u64)>> {
    let what = "dump_avail";
    let (address, size) = variables.required(what)?;
    let pair = |offset| variables.read(what, address.checked_add(offset).ok_or_else(|| odd(what, "it has no end"))?);
    let ranges = dump_avail::read(size, variables.order, pair)?.map_err(|why| odd(what, why))?;
    for (index, &(start, end)) in ranges.iter().enumerate() {
        if !start.is_multiple_of(page) || !end.is_multiple_of(page) || end > 1 << physical_bits {
            return Err(odd(what, format!("range {index} is {}..{}", Hex(start), Hex(end))));
        }
    }
    Ok(ranges)
}

/// The whole pages in ranges.
fn whole_pages(ranges: &[(u64, u64)], page: u64) -> Vec<(u64, u64)> {
    let pages =
        ranges.iter().filter_map(|(start, end)| Some((start.checked_next_multiple_of(page)?, end & !(page - 1))));
    pages.filter(|(start, end)| start < end).collect()
}

#[cfg(test)]
mod tests;
