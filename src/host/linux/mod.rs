//! The Linux system that memtool runs on: what its processes have mapped, and where the pages of that lie.
//!
//! /proc/pid/pagemap tells which pages are present and where, /proc/pid/maps what is mapped at all, move_pages(2) on
//! which NUMA node a page is, and /proc/pid/numa_maps how many are on each. Everything else is asked of mem(4), which
//! Linux does not have.
//!
//! Sources: `Documentation/admin-guide/mm/pagemap.rst` and `fs/proc/task_mmu.c` of Linux, proc(5), move_pages(2).

mod look_up;
mod maps;
mod move_pages;
mod pagemap;
mod process;

use super::process_memory::ProcessMapping;
use super::{Backing, Host, Mapping, Memory, PageState, Pid, System, WritableMemory, not_freebsd};
use crate::error::Result;
use crate::kernel_error::{KernelError, Operation};
use crate::kerneldump::Compression;
use crate::memory_map::MemoryMap;
use crate::memory_map::kernel_maps::KernelMapping;
use crate::process_map::{Detail, ProcessMap};
use crate::ranges::Descriptor;
use crate::ranges::request::Request;
use crate::symbols::Symbol;
use nix::unistd::{SysconfVar, sysconf};
use process::Process;
use std::fs::File;

/// The Linux system that memtool runs on.
pub struct Linux;

/// Bytes in a page.
fn page_size() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    // Every Linux knows it.
    size.and_then(|size| u64::try_from(size).ok()).filter(|size| size.is_power_of_two()).unwrap_or(4096)
}

impl Host for Linux {
    fn kind(&self) -> &'static str {
        "linux"
    }

    fn page_size(&self) -> Result<u64> {
        Ok(page_size())
    }

    fn page_states(&self, process: Option<Pid>, addresses: &[u64]) -> Result<Vec<PageState>> {
        look_up::page_states(&Process::open(process, Operation::ReadPagemap)?, addresses, page_size())
    }

    fn process_map(&self, process: Pid, detail: Detail) -> Result<ProcessMap> {
        maps::read(process, detail, page_size())
    }

    fn map(&mut self, backing: &Backing) -> Result<Box<dyn Mapping>, KernelError> {
        Ok(Box::new(ProcessMapping::new(backing, page_size())?))
    }

    // What takes mem(4).

    fn system(&self) -> Result<System> {
        Err(not_freebsd())
    }

    fn memory_map(&self) -> Result<MemoryMap> {
        Err(not_freebsd())
    }

    fn kernel_maps(&self) -> Result<Option<Vec<KernelMapping>>> {
        Err(not_freebsd())
    }

    fn range_descriptors(&self) -> Result<Vec<Descriptor>> {
        Err(not_freebsd())
    }

    fn set_range(&mut self, _: &Request) -> Result<()> {
        Err(not_freebsd())
    }

    fn physical_memory(&self) -> Result<Box<dyn Memory>> {
        Err(not_freebsd())
    }

    fn writable_memory(&self) -> Result<Box<dyn WritableMemory>> {
        Err(not_freebsd())
    }

    fn kernel_memory(&self) -> Result<Box<dyn Memory>> {
        Err(not_freebsd())
    }

    fn kernel_symbol(&self, _: &str) -> Result<Option<Symbol>> {
        Err(not_freebsd())
    }

    fn kernel_dump(&self, _: &File, _: Compression) -> Result<()> {
        Err(not_freebsd())
    }
}
