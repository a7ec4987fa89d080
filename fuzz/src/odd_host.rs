//! A recorded machine whose kernel changes while it is read: some words are others than they were.

use memtool::host::recorded::Recorded;
use memtool::host::{Backing, Host, Mapping, PageState, Pid, ProcessHost};
use memtool::memory_map::MemoryMap;
use memtool::memory_map::kernel_maps::KernelMapping;
use memtool::process_map::{Detail, ProcessMap};
use memtool::ranges::Descriptor;
use memtool::ranges::request::Request;
use memtool::{KernelError, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use vmcore::kerneldump::Compression;
use vmcore::memory::{Memory, ReadError};
use vmcore::symbols::Symbol;
use vmcore::system::System;

/// By number of the read: which of its words is another one, and which.
pub type Words = BTreeMap<u64, (usize, u64)>;

/// The machine.
pub struct OddHost {
    /// What it would be.
    pub host: Recorded,
    /// What it is not.
    pub words: Arc<Words>,
    /// Reads so far.
    pub reads: Arc<AtomicU64>,
}

struct OddMemory {
    memory: Box<dyn Memory>,
    words: Arc<Words>,
    reads: Arc<AtomicU64>,
}

impl OddHost {
    fn odd(&self, memory: Box<dyn Memory>) -> Box<dyn Memory> {
        Box::new(OddMemory { memory, words: Arc::clone(&self.words), reads: Arc::clone(&self.reads) })
    }
}

impl Memory for OddMemory {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let read = self.memory.read_at(address, buffer)?;
        let number = self.reads.fetch_add(1, Ordering::Relaxed);
        if let Some((word, value)) = self.words.get(&number) {
            let words = read.div_ceil(8).max(1);
            let bytes = buffer[..read].chunks_mut(8).nth(word % words);
            bytes.into_iter().flatten().zip(value.to_le_bytes()).for_each(|(to, from)| *to = from);
        }
        Ok(read)
    }
}

impl ProcessHost for OddHost {
    fn kind(&self) -> &'static str {
        self.host.kind()
    }

    fn page_size(&self) -> Result<u64> {
        Ok(self.system()?.page_size.into())
    }

    fn kernel_maps(&self) -> Result<Option<Vec<KernelMapping>>> {
        self.host.kernel_maps()
    }

    fn process_map(&self, process: Pid, detail: Detail) -> Result<ProcessMap> {
        self.host.process_map(process, detail)
    }

    fn page_states(&self, process: Option<Pid>, addresses: &[u64]) -> Result<Vec<PageState>> {
        self.host.page_states(process, addresses)
    }

    fn map(&self, backing: &Backing) -> Result<Box<dyn Mapping>, KernelError> {
        self.host.map(backing)
    }
}

impl Host for OddHost {
    fn system(&self) -> Result<System> {
        self.host.system()
    }

    fn memory_map(&self) -> Result<MemoryMap> {
        self.host.memory_map()
    }

    fn range_descriptors(&self) -> Result<Vec<Descriptor>> {
        self.host.range_descriptors()
    }

    fn set_range(&self, request: &Request) -> Result<()> {
        self.host.set_range(request)
    }

    fn physical_memory(&self) -> Result<Box<dyn Memory>> {
        Ok(self.odd(self.host.physical_memory()?))
    }

    fn kernel_memory(&self) -> Result<Box<dyn Memory>> {
        Ok(self.odd(self.host.kernel_memory()?))
    }

    fn kernel_symbol(&self, name: &str) -> Result<Option<Symbol>> {
        self.host.kernel_symbol(name)
    }

    fn kernel_dump(&self, file: &File, compression: Compression) -> Result<()> {
        self.host.kernel_dump(file, compression)
    }
}
