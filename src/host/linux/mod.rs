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

use super::process_memory::{ProcessMapping, page_size};
use super::{Backing, Mapping, PageState, Pid, ProcessHost};
use crate::error::{Error, Result};
use crate::kernel_error::{KernelError, Operation};
use crate::memory_map::kernel_maps::KernelMapping;
use crate::process_map::{Detail, ProcessMap};
use process::Process;

/// The Linux system that memtool runs on.
pub struct Linux;

impl ProcessHost for Linux {
    fn kind(&self) -> &'static str {
        "linux"
    }

    fn page_size(&self) -> Result<u64> {
        page_size().map_err(|errno| Error::Io { what: "ask for the size of a page".to_owned(), source: errno.into() })
    }

    fn page_states(&self, process: Option<Pid>, addresses: &[u64]) -> Result<Vec<PageState>> {
        look_up::page_states(&Process::open(process, Operation::ReadPagemap)?, addresses, self.page_size()?)
    }

    fn process_map(&self, process: Pid, detail: Detail) -> Result<ProcessMap> {
        maps::read(process, detail, self.page_size()?)
    }

    fn map(&self, backing: &Backing) -> Result<Box<dyn Mapping>, KernelError> {
        Ok(Box::new(ProcessMapping::new(backing)?))
    }

    fn kernel_maps(&self) -> Result<Option<Vec<KernelMapping>>> {
        Err(crate::Error::NotFreeBsd)
    }
}
