//! The Linux system that memtool runs on: what its processes have mapped, and where the pages of that lie.
//!
//! /proc/pid/pagemap tells which pages are present and where, /proc/pid/maps what is mapped at all, move_pages(2) on
//! which NUMA node a page is, and /proc/pid/numa_maps how many are on each. mem(4) it does not have.
//!
//! Sources: `Documentation/admin-guide/mm/pagemap.rst` and `fs/proc/task_mmu.c` of Linux, proc(5), move_pages(2).

mod look_up;
mod maps;
mod move_pages;
mod pagemap;
mod process;

use super::process_memory::ProcessMapping;
use super::{Backing, Mapping, PageState, Pid, ProcessHost, not_freebsd};
use crate::error::Result;
use crate::kernel_error::{KernelError, Operation};
use crate::memory_map::kernel_maps::KernelMapping;
use crate::process_map::{Detail, ProcessMap};
use nix::unistd::{SysconfVar, sysconf};
use process::Process;

/// The Linux system that memtool runs on.
pub struct Linux;

/// Bytes in a page.
fn page_size() -> u64 {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    // Every Linux knows it.
    size.and_then(|size| u64::try_from(size).ok()).filter(|size| size.is_power_of_two()).unwrap_or(4096)
}

impl ProcessHost for Linux {
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

    fn map(&self, backing: &Backing) -> Result<Box<dyn Mapping>, KernelError> {
        Ok(Box::new(ProcessMapping::new(backing, page_size())?))
    }

    fn kernel_maps(&self) -> Result<Option<Vec<KernelMapping>>> {
        Err(not_freebsd())
    }
}
