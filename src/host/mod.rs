//! What memtool runs against: the FreeBSD system it runs on, or a recorded machine; for questions about processes
//! also Linux.
//!
//! [`open`] and [`open_for_processes`] are the places that decide. Everything above them asks a [`Host`], or a
//! [`ProcessHost`], and cannot tell the difference; memtool never takes a recorded machine for a real one by itself.

pub mod direct_map;
pub mod dump_devices;
#[cfg(target_os = "freebsd")]
pub mod freebsd;
pub mod kernel_config;
pub mod kernel_files;
#[cfg(target_os = "linux")]
pub mod linux;
mod live_dump_facts;
pub mod process_memory;
mod read_map;
pub mod recorded;

pub use live_dump_facts::LiveDumpFacts;
pub use nix::unistd::Pid;
pub use read_map::read_process_map;

use crate::error::Result;
use crate::kernel_error::KernelError;
use crate::memory_map::MemoryMap;
use crate::memory_map::kernel_maps::KernelMapping;
use crate::process_map::{Detail, MapEntry, PagesByDomain, ProcessMap};
use crate::ranges::Descriptor;
use crate::ranges::default_type::Registers;
use crate::ranges::request::Request;
use crate::ranges::rules::{Rules, Table};
use std::fs::File;
use std::path::{Path, PathBuf};
use vmcore::bounds::saturating_usize;
use vmcore::dump::byte_source::ByteSource;
use vmcore::kerneldump::Compression;
use vmcore::memory::{Memory, WritableMemory};
use vmcore::physical_map::FreeArea;
use vmcore::pmap::riscv;
use vmcore::symbols::{KernelFile, Symbol};
use vmcore::system::System;

/// Where a page of a process is: the answer of `MEM_EXTRACT_PADDR`, or of Linux's pagemap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageState {
    /// No map entry covers the address.
    Invalid,
    /// A map entry covers the address, but no page is mapped now.
    Valid,
    /// A page is mapped.
    Mapped {
        /// Its physical address, with the offset within the page.
        paddr: u64,
        /// Its NUMA domain, a node on Linux; `None` where the kernel does not tell, as of Linux's zero page and of
        /// device memory.
        domain: Option<u32>,
    },
}

impl PageState {
    /// The kernel's word for the state.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "INVALID",
            Self::Valid => "VALID",
            Self::Mapped { .. } => "MAPPED",
        }
    }
}

/// How many pages are looked up at once where there are many: 256 MiB of pages of 4 KiB.
pub const PAGES_AT_ONCE: usize = 1 << 16;

/// Cuts addresses into parts that are looked up at once.
pub(crate) fn in_parts(mut addresses: impl Iterator<Item = u64>) -> impl Iterator<Item = Vec<u64>> {
    std::iter::from_fn(move || {
        let part: Vec<u64> = addresses.by_ref().take(PAGES_AT_ONCE).collect();
        (!part.is_empty()).then_some(part)
    })
}

/// The size of a superpage where entries take 8 bytes and a page table fills a page: 2 MiB with pages of
/// 4 KiB, 32 MiB with pages of 16 KiB.
pub const fn superpage_size(page_size: u64) -> u64 {
    page_size / 8 * page_size
}

/// What to map into the process, to see where its pages are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backing {
    /// Part of a file, shared with the page cache.
    File {
        /// The file.
        path: PathBuf,
        /// First byte, a multiple of the page size.
        offset: u64,
        /// Bytes; not 0.
        length: u64,
    },
    /// Fresh memory.
    Anonymous {
        /// Bytes; not 0.
        length: u64,
    },
}

/// A range of the process's address space, there for as long as the value lives.
pub trait Mapping {
    /// First virtual address, on a page border.
    fn address(&self) -> u64;
    /// Bytes, whole pages.
    fn length(&self) -> u64;
    /// Makes the page that begins at an address of the mapping present.
    fn touch(&mut self, address: u64) -> Result<(), KernelError>;
    /// Locks all pages into memory, as mlock(2) does.
    fn lock(&mut self) -> Result<(), KernelError>;
}

/// A system with processes whose pages can be looked up.
pub trait ProcessHost {
    /// What JSON calls this kind of host: `freebsd`, `linux` or `recorded`.
    fn kind(&self) -> &'static str;

    /// Bytes in a page.
    fn page_size(&self) -> Result<u64>;

    /// The kernel's mapped virtual ranges; `None` where the kernel does not list them.
    fn kernel_maps(&self) -> Result<Option<Vec<KernelMapping>>>;

    /// The memory map of a process, as the kernel lists it, all of it of one address space; without entries if the
    /// process has no memory of its own. Use [`read_process_map`], which asks again where
    /// the answer is EBUSY: the process became another program meanwhile.
    fn process_map(&self, process: Pid, detail: Detail) -> Result<ProcessMap>;

    /// Looks up virtual addresses of a process, of the calling one if none is named; a state for each address, in
    /// their order. The answers can be out of date at once, and need not be of one moment.
    ///
    /// FreeBSD is asked with `MEM_EXTRACT_PADDR` and tells of the calling process only. Linux is asked with
    /// /proc/pid/pagemap and move_pages(2); it takes `CAP_SYS_ADMIN`, and ptrace access to another process.
    ///
    /// # Errors
    ///
    /// No such process, or it ends meanwhile; it is a kernel thread; the privilege is missing; another process than
    /// the calling one where the kernel does not tell.
    fn page_states(&self, process: Option<Pid>, addresses: &[u64]) -> Result<Vec<PageState>>;

    /// Maps something into the calling process.
    fn map(&self, backing: &Backing) -> Result<Box<dyn Mapping>, KernelError>;
}

/// A machine with mem(4).
pub trait Host: ProcessHost {
    /// What kind of system it is.
    fn system(&self) -> Result<System>;

    /// Which physical addresses are RAM.
    fn memory_map(&self) -> Result<MemoryMap>;

    /// Blocks of free memory by memory domain and order, as the kernel counts them; `None` where it does not tell.
    fn free_areas(&self) -> Result<Option<Vec<FreeArea>>> {
        Ok(None)
    }

    /// `vm.pmap.mode` of riscv64: how many levels the page tables have; `None` where the kernel does not say.
    fn pmap_mode(&self) -> Result<Option<riscv::Mode>> {
        Ok(None)
    }

    /// All memory ranges, inactive slots included: `MEMRANGE_GET`.
    fn range_descriptors(&self) -> Result<Vec<Descriptor>>;

    /// Whose rules the kernel follows when a memory range is changed.
    fn range_rules(&self) -> Rules {
        Rules::default()
    }

    /// What the processor's registers say of memory types, as cpuctl(4) reads them.
    ///
    /// # Errors
    ///
    /// They cannot be had here.
    fn processor_registers(&self) -> Result<Registers> {
        Err(crate::Error::Unsupported("the processor's registers cannot be read here".to_owned()))
    }

    /// The width of the processor's physical addresses in bits, where it tells.
    fn physical_bits(&self) -> Option<u32> {
        None
    }

    /// All memory ranges, with the kernel's rules for them.
    fn range_table(&self) -> Result<Table> {
        let descriptors = self.range_descriptors()?;
        Ok(Table::with_rules(descriptors, self.range_rules(), self.physical_bits()))
    }

    /// Changes a memory range: `MEMRANGE_SET`.
    fn set_range(&self, request: &Request) -> Result<()>;

    /// Physical memory, by physical address. Only RAM may be read; see [`Self::memory_map`].
    fn physical_memory(&self) -> Result<Box<dyn Memory>>;

    /// Physical memory, to be written. The kernel forbids it from securelevel 1 on (security(7)). What is written to a
    /// recorded machine is in the value alone.
    fn writable_memory(&self) -> Result<Box<dyn WritableMemory>> {
        Err(crate::Error::Unsupported("the memory of this machine cannot be written".to_owned()))
    }

    /// Kernel virtual memory, by virtual address, as /dev/kmem reads it. Only what
    /// [`readable`](crate::memory_map::kernel_maps::readable) finds in [`ProcessHost::kernel_maps`] may be read;
    /// what the kernel has unmapped meanwhile is absent.
    fn kernel_memory(&self) -> Result<Box<dyn Memory>>;

    /// Where a symbol of the running kernel or its modules lies, as kldsym(2) tells; `None` if there is none of
    /// that name.
    fn kernel_symbol(&self, name: &str) -> Result<Option<Symbol>>;

    /// The running kernel's file and its modules', the kernel first, as kldstat(2) lists them; empty where that is
    /// not known.
    fn kernel_files(&self) -> Result<Vec<KernelFile>> {
        Ok(Vec::new())
    }

    /// A file that [`Self::kernel_files`] lists, if it is not one of the system that memtool runs on.
    ///
    /// # Errors
    ///
    /// The temporary directory does not take a copy.
    fn own_kernel_file(&self, _path: &Path) -> Result<Option<File>> {
        Ok(None)
    }

    /// Writes a minidump of the running kernel into a file, and the header behind it: `MEM_KERNELDUMP`.
    fn kernel_dump(&self, file: &File, compression: Compression) -> Result<()>;

    /// Where the kernel dumps when it panics, and has dumped: the configured dump devices, and swap and dump
    /// partitions of fstab(5).
    fn dump_devices(&self) -> Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    /// One of [`Self::dump_devices`], to be read and written, if it is not one of the system that memtool runs on.
    ///
    /// # Errors
    ///
    /// The temporary directory does not take a copy.
    fn own_dump_device(&self, _path: &Path) -> Result<Option<ByteSource>> {
        Ok(None)
    }

    /// What the kernel tells beforehand of what bears on a live dump.
    fn live_dump_facts(&self) -> Result<LiveDumpFacts> {
        Ok(LiveDumpFacts::default())
    }
}

/// Counts the mapped pages of each entry of a map by NUMA domain, one by one; the map must be the calling process's.
/// Where nothing is in memory none is looked for: entries can be large.
fn look_up_domains(host: &dyn ProcessHost, pid: Pid, entries: &[MapEntry]) -> Result<Vec<PagesByDomain>> {
    only_this_process(Some(pid).filter(|pid| *pid != Pid::this()))?;
    let step = saturating_usize(host.page_size()?.max(1));
    let count = |entry: &MapEntry| {
        let mut counted = PagesByDomain::default();
        if entry.usage.is_some_and(|usage| usage.resident == 0) {
            return Ok(counted);
        }
        for part in in_parts((entry.start..entry.end).step_by(step)) {
            for state in host.page_states(None, &part)? {
                if let PageState::Mapped { domain, .. } = state {
                    counted.add(domain, 1);
                }
            }
        }
        Ok(counted)
    };
    entries.iter().map(count).collect()
}

/// Where an address of the calling process lies, from what the kernel answers for the first address of its page.
///
/// Of other addresses some kernels say that a page is mapped where none is: `pmap_extract()` of amd64, i386, riscv and
/// arm does not look whether the entry is valid and answers with the offset alone, and `MEM_EXTRACT_PADDR` takes
/// all but 0 for a page (`memioctl`, `sys/dev/mem/memdev.c`).
fn state_by_page(address: u64, page_size: u64, ask: impl FnOnce(u64) -> Result<PageState>) -> Result<PageState> {
    let offset = address % page_size.max(1);
    Ok(match ask(address - offset)? {
        PageState::Mapped { paddr, domain } => PageState::Mapped { paddr: paddr.saturating_add(offset), domain },
        other => other,
    })
}

/// Refuses to look at another process than the calling one, where the kernel is asked with `MEM_EXTRACT_PADDR`.
fn only_this_process(process: Option<Pid>) -> Result<()> {
    match process {
        Some(pid) => Err(crate::Error::Unsupported(format!(
            "process {pid}: FreeBSD's kernel looks up addresses of the calling process only (MEM_EXTRACT_PADDR)"
        ))),
        None => Ok(()),
    }
}

/// Refuses to write to memory where the securelevel forbids it: `kern.securelevel`, an `int` as sysctl(3) has it.
pub fn check_securelevel(value: &[u8]) -> Result<()> {
    let level = value.first_chunk().copied().map(i32::from_ne_bytes);
    match level {
        Some(..=0) => Ok(()),
        Some(level) => Err(crate::Error::Refused(format!(
            "kern.securelevel is {level}: the kernel would answer EPERM; at level 1 and above, its memory cannot be written, and only a reboot lowers the level (security(7))"
        ))),
        None => Err(crate::Error::Refused("kern.securelevel cannot be read; memory was not written to".to_owned())),
    }
}

/// Which host the user wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection<'a> {
    /// A recorded machine: a file, or `demo`.
    pub machine: Option<&'a Path>,
    /// The device in place of /dev/mem.
    pub device: Option<&'a Path>,
}

/// Opens the host that the user wants.
///
/// # Errors
///
/// The device cannot be opened, the machine's file is not usable, or this is not FreeBSD and no machine is
/// named.
///
/// ```
/// use memtool::host::{self, Host, Selection};
/// use std::path::Path;
///
/// // The machine that is built in; with `Selection::default()` the FreeBSD system that runs.
/// let host = host::open(&Selection { machine: Some(Path::new("demo")), device: None })?;
/// assert_eq!(host.system()?.machine_arch, "amd64");
/// # Ok::<(), memtool::Error>(())
/// ```
pub fn open(selection: &Selection<'_>) -> Result<Box<dyn Host>> {
    match selection.machine {
        Some(machine) => Ok(Box::new(recorded::Recorded::open(machine)?)),
        None => open_real(selection.device),
    }
}

/// Opens the host that the user wants to ask about processes and their pages. That can be Linux too.
///
/// # Errors
///
/// As [`open`]; on Linux also that a device is named.
///
/// ```no_run
/// use memtool::host::{self, Pid, ProcessHost, Selection};
///
/// let host = host::open_for_processes(&Selection::default())?;
/// println!("{:?}", host.page_states(Some(Pid::from_raw(1)), &[0x40_0000])?);
/// # Ok::<(), memtool::Error>(())
/// ```
pub fn open_for_processes(selection: &Selection<'_>) -> Result<Box<dyn ProcessHost>> {
    #[cfg(target_os = "linux")]
    if *selection == Selection::default() {
        return Ok(Box::new(linux::Linux));
    }
    Ok(open(selection)?)
}

#[cfg(target_os = "freebsd")]
fn open_real(device: Option<&Path>) -> Result<Box<dyn Host>> {
    Ok(Box::new(freebsd::FreeBsd::new(device)))
}

#[cfg(not(target_os = "freebsd"))]
fn open_real(_device: Option<&Path>) -> Result<Box<dyn Host>> {
    Err(crate::Error::NotFreeBsd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_written_to_below_securelevel_1_only_and_the_refusal_has_the_kernels_errno() {
        for level in [i32::MIN, -1, 0] {
            assert!(check_securelevel(&level.to_ne_bytes()).is_ok(), "{level}");
        }
        for level in [1, 2, i32::MAX] {
            let error = check_securelevel(&level.to_ne_bytes()).unwrap_err().to_string();
            assert!(error.contains(&format!("kern.securelevel is {level}")) && error.contains("EPERM"), "{error}");
        }
        assert!(check_securelevel(&[]).is_err());
    }
}
