//! The process that `paddr` looks at on a recorded machine.
//!
//! Pages come from reservations of a superpage each, as in FreeBSD's virtual memory system: the first page
//! touched in a superpage's worth of addresses takes a whole physical superpage from the domain that the
//! policy names, and its neighbours fall into place behind it.

use super::file::{Machine, Policy, ProcessRange};
use crate::host::{Backing, Mapping, PageState, superpage_size};
use crate::kernel_error::{KernelError, Operation};
use crate::memory_map::MemoryMap;
use nix::errno::Errno;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use vmcore::units::Hex;

/// Machines whose `pmap_extract()` does not look whether an entry of a page table is valid (`sys/*/*/pmap.c`).
const EXTRACT_ABSENT: [&str; 4] = ["amd64", "armv7", "i386", "riscv64"];

/// Where new mappings begin.
const FIRST_ADDRESS: u64 = 0x8_0000_0000;

/// The address space of the process.
pub struct SimulatedProcess {
    memory: MemoryMap,
    page_size: u64,
    superpage: u64,
    /// Whether `pmap_extract()` of the kernel answers with the offset alone where no page is mapped.
    extracts_absent: bool,
    policy: Policy,
    /// What the file says is mapped.
    recorded: Vec<ProcessRange>,
    /// What was mapped since.
    mapped: BTreeMap<u64, u64>,
    next_address: u64,
    /// Superpages of virtual addresses, by number, and the physical superpage of each.
    reservations: BTreeMap<u64, u64>,
    present: BTreeSet<u64>,
    /// Free physical memory of each domain.
    free: BTreeMap<u32, Vec<(u64, u64)>>,
}

impl SimulatedProcess {
    /// A process of a recorded machine.
    pub fn new(machine: &Machine) -> Self {
        let mut free: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
        for segment in &machine.memory.segments {
            if let Some(domain) = segment.domain {
                free.entry(domain).or_default().push((segment.start, segment.end));
            }
        }
        let page_size = u64::from(machine.system.page_size);
        Self {
            memory: machine.memory.clone(),
            page_size,
            superpage: superpage_size(page_size),
            extracts_absent: EXTRACT_ABSENT.contains(&machine.system.machine_arch.as_str()),
            policy: machine.process.policy,
            recorded: machine.process.mappings.clone(),
            mapped: BTreeMap::new(),
            next_address: FIRST_ADDRESS,
            reservations: BTreeMap::new(),
            present: BTreeSet::new(),
            free,
        }
    }

    /// The answer of `MEM_EXTRACT_PADDR` (`memioctl`, `sys/dev/mem/memdev.c`): what `pmap_extract()` finds is mapped,
    /// unless it is 0. That every page table is there is assumed.
    pub fn state(&self, address: u64) -> PageState {
        match self.place(address) {
            PageState::Valid if self.extracts_absent => self.extracted(address % self.page_size),
            PageState::Mapped { paddr, .. } => self.extracted(paddr),
            other => other,
        }
    }

    fn extracted(&self, paddr: u64) -> PageState {
        if paddr == 0 {
            return PageState::Valid;
        }
        let domain = self.memory.segment_at(paddr).and_then(|segment| segment.domain).unwrap_or(0);
        PageState::Mapped { paddr, domain: Some(domain) }
    }

    /// Where an address truly is.
    fn place(&self, address: u64) -> PageState {
        let mapped_at = |paddr| PageState::Mapped { paddr, domain: None };
        if let Some(range) = self.recorded.iter().find(|range| (range.start..range.end).contains(&address)) {
            return range.paddr.map_or(PageState::Valid, |paddr| mapped_at(paddr.0 + (address - range.start)));
        }
        let covered =
            self.mapped.range(..=address).next_back().is_some_and(|(start, length)| address - start < *length);
        if !covered {
            return PageState::Invalid;
        }
        let page = address & !(self.page_size - 1);
        match self.reservations.get(&(address / self.superpage)) {
            Some(block) if self.present.contains(&page) => mapped_at(block + address % self.superpage),
            _ => PageState::Valid,
        }
    }

    fn map(&mut self, length: u64) -> Result<(u64, u64), Errno> {
        let length = length.checked_next_multiple_of(self.page_size).ok_or(Errno::ENOMEM)?;
        if length > self.memory.total() {
            return Err(Errno::ENOMEM);
        }
        let address = self.next_address;
        let end = address.checked_add(length).and_then(|end| end.checked_next_multiple_of(self.superpage));
        self.next_address = end.and_then(|end| end.checked_add(self.superpage)).ok_or(Errno::ENOMEM)?;
        self.mapped.insert(address, length);
        Ok((address, length))
    }

    fn unmap(&mut self, address: u64, length: u64) {
        self.mapped.remove(&address);
        self.present.retain(|page| !(address..address + length).contains(page));
    }

    fn touch(&mut self, address: u64) -> Result<(), Errno> {
        let number = address / self.superpage;
        if !self.reservations.contains_key(&number) {
            let block = self.reserve().ok_or(Errno::ENOMEM)?;
            self.reservations.insert(number, block);
        }
        self.present.insert(address & !(self.page_size - 1));
        Ok(())
    }

    /// Takes a physical superpage: from the policy's domain, or from the next one that has one.
    fn reserve(&mut self) -> Option<u64> {
        let domains: Vec<u32> = self.free.keys().copied().collect();
        let first = match self.policy {
            Policy::FirstTouch => 0,
            Policy::RoundRobin => self.reservations.len() % domains.len().max(1),
        };
        let superpage = self.superpage;
        domains.iter().cycle().skip(first).take(domains.len()).find_map(|domain| {
            let ranges = self.free.get_mut(domain)?;
            while let Some((start, end)) = ranges.last_mut() {
                let top = *end & !(superpage - 1);
                match top.checked_sub(superpage) {
                    Some(block) if block >= *start => {
                        *end = block;
                        return Some(block);
                    }
                    _ => ranges.pop(),
                };
            }
            None
        })
    }
}

/// What the machine's file says of operations on a mapping.
#[derive(Debug, Clone, Copy)]
pub struct StatedErrors {
    /// mlock(2) fails with this.
    pub lock: Option<Errno>,
    /// Bringing a page in fails with this.
    pub touch: Option<Errno>,
}

/// A mapping in the process of a recorded machine.
pub struct SimulatedMapping {
    process: Rc<RefCell<SimulatedProcess>>,
    address: u64,
    length: u64,
    errors: StatedErrors,
}

impl SimulatedMapping {
    /// Maps a backing. A file only lends its length: what it holds does not matter here.
    pub fn new(
        process: &Rc<RefCell<SimulatedProcess>>,
        backing: &Backing,
        errors: StatedErrors,
    ) -> Result<Self, KernelError> {
        let (Backing::File { length, .. } | Backing::Anonymous { length }) = *backing;
        let (address, length) = process
            .borrow_mut()
            .map(length)
            .map_err(|errno| KernelError::new(Operation::Map, format!("{length} bytes of memory"), errno))?;
        Ok(Self { process: Rc::clone(process), address, length, errors })
    }
}

impl Mapping for SimulatedMapping {
    fn address(&self) -> u64 {
        self.address
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn touch(&mut self, address: u64) -> Result<(), KernelError> {
        let fail = |errno| KernelError::new(Operation::Touch, Hex(address), errno);
        if !(self.address..self.address + self.length).contains(&address) {
            return Err(fail(Errno::EFAULT));
        }
        if let Some(errno) = self.errors.touch {
            return Err(fail(errno));
        }
        self.process.borrow_mut().touch(address).map_err(fail)
    }

    fn lock(&mut self) -> Result<(), KernelError> {
        let fail = |errno| KernelError::new(Operation::Lock, format!("{} bytes of memory", self.length), errno);
        if let Some(errno) = self.errors.lock {
            return Err(fail(errno));
        }
        let mut process = self.process.borrow_mut();
        let mut page = self.address;
        while page < self.address + self.length {
            process.touch(page).map_err(fail)?;
            page += process.page_size;
        }
        Ok(())
    }
}

impl Drop for SimulatedMapping {
    fn drop(&mut self) {
        self.process.borrow_mut().unmap(self.address, self.length);
    }
}
