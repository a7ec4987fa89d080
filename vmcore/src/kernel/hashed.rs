//! The hashed page table of powerpc64, in a minidump or in memory: [`crate::pmap::powerpc64`] says how it is searched.
//!
//! Which table there is in a minidump says `mmu_name`. `mmu_g5` is the processor's own, whose integers are big-endian whatever the
//! kernel is (`moea64_dump_pmap_native`); `mmu_phyp` is a hypervisor's, and its integers are the kernel's, which reads
//! them one by one (`mphyp_dump_pmap`). With `mmu_radix` there is a tree, which the kernel does not dump: that MMU has
//! no `dumpsys_scan_pmap`, so the dump has pages but no tables (`sys/powerpc/aim/mmu_radix.c`).

use super::tables::Physical;
use super::translation::{Mapping, Translation, WalkStep};
use crate::architecture::Endianness;
use crate::bounds::{head_mut, part};
use crate::dump::header::{Header, Section};
use crate::fault::{Fault, Why};
use crate::memory::ReadError;
use crate::pmap::powerpc64::{Base, ENTRY, FEWEST_GROUPS, GROUP, PageTableEntry, group};
use crate::pmap::{Level, Target};
use crate::ram::Ram;

/// Bytes of a group of entries.
const SIZE: usize = 128;
/// As messages and steps call the table. It has one level; each entry says itself how much it stands for.
const LEVEL: Level = Level { name: "HPT", shift: 12, bits: 0 };
/// More entries of the kernel's than there are pages of 4 KiB from its base to its end.
const MAX_TABLE: usize = 1 << 23;

/// The hashed page table that the processors of a running machine search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningTable {
    /// Its physical address.
    pub physical: u64,
    /// How many groups it has, a power of 2.
    pub groups: u64,
}

/// A hashed page table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hashed {
    /// Kernel memory is mapped from this address on.
    pub base: u64,
    /// Where it is in the dump, or of the running kernel its physical address.
    at: u64,
    /// How many groups it has, a power of 2.
    groups: u64,
    /// Of its integers.
    order: Endianness,
}

impl RunningTable {
    /// The physical address of a kernel address, of the direct map too.
    pub fn look_up(self, ram: &Ram, address: u64) -> Option<u64> {
        let found = Hashed::from_running(self, 0).follow(&Physical::Live(ram), address, &mut |_| {});
        found.ok().map(|found| found.physical)
    }
}

impl Hashed {
    /// The table in a minidump of powerpc64.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn from_minidump(header: &Header) -> Result<Self, &'static str> {
        let order = match header.mmu.as_deref() {
            Some("mmu_g5") => Endianness::Big,
            Some("mmu_phyp") => header.order,
            Some("mmu_radix") => return Err("kernels with mmu_radix do not dump their page tables"),
            _ => return Err("the page tables of this dump's MMU are not supported"),
        };
        let groups = header.size_of(Section::PageTables) / SIZE as u64;
        if !groups.is_power_of_two() || groups < FEWEST_GROUPS {
            return Err("the hashed page table has an impossible size");
        }
        // Without a direct map the kernel itself is mapped below the base.
        let base = header.direct_map.map_or(0, |_| header.kernel_base);
        Ok(Self { base, at: header.offset_of(Section::PageTables), groups, order })
    }

    /// The table of the running kernel, which is the processor's own.
    pub fn from_running(table: RunningTable, base: u64) -> Self {
        Self { base, at: table.physical, groups: table.groups, order: Endianness::Big }
    }

    /// Where that of a running kernel is.
    pub fn running(&self) -> RunningTable {
        RunningTable { physical: self.at, groups: self.groups }
    }

    /// Looks an address up, and shows the entry.
    pub fn follow(
        &self,
        memory: &Physical<'_>,
        address: u64,
        seen: &mut dyn FnMut(WalkStep),
    ) -> Result<Translation, Fault> {
        let fault = |why| Fault::new(address, why);
        if address < self.base {
            return Err(fault(Why::NotCovered));
        }
        let found = self.search(memory, address).map_err(|error| Fault::read(address, self.at, &error))?;
        let (step, base) = found.ok_or(fault(Why::NotMapped(LEVEL.name)))?;
        seen(step);
        let Target::Page { physical, size, protection } = step.target else {
            return Err(fault(Why::NotMapped(LEVEL.name)));
        };
        // There is an entry for each base page of a larger one.
        let remaining = base.span() - address % base.span();
        Ok(Translation {
            physical: physical.saturating_add(address % size),
            remaining,
            protection,
            page_size: Some(size),
        })
    }

    /// The first entry for an address, in the order in which they are looked through here; no address has two.
    fn search(&self, memory: &Physical<'_>, address: u64) -> Result<Option<(WalkStep, Base)>, ReadError> {
        for (base, second) in [Base::Large, Base::Small].into_iter().flat_map(|base| [(base, false), (base, true)]) {
            let first = group(address, base, second, self.groups) * GROUP;
            // What has been cut off maps nothing.
            let Some(bytes) = memory.few::<SIZE>(self.at.saturating_add(first * ENTRY))? else { continue };
            for (index, (entry, low)) in (first..).zip(self.entries(&bytes)) {
                if let Some(entry) = entry
                    && (entry.base, entry.second) == (base, second)
                    && entry.is_for(address)
                {
                    let (physical, offset) = memory.physical_or_offset(self.at.saturating_add(index * ENTRY));
                    let step = WalkStep { level: LEVEL, index, physical, offset, entry: low, target: entry.target };
                    return Ok(Some((step, base)));
                }
            }
        }
        Ok(None)
    }

    /// Each entry, if it is valid, and its second integer.
    fn entries(&self, bytes: &[u8]) -> impl Iterator<Item = (Option<PageTableEntry>, u64)> {
        let words = bytes.as_chunks().0.as_chunks().0.iter();
        words.map(|[high, low]: &[[u8; 8]; 2]| {
            let (high, low) = (self.order.u64(*high), self.order.u64(*low));
            (PageTableEntry::decode(high, low), low)
        })
    }

    /// Shows what is mapped, in ascending order, until it is told to stop; tells whether all of the table was there.
    pub fn each_mapping(
        &self,
        memory: &Physical<'_>,
        take: &mut dyn FnMut(Mapping) -> std::ops::ControlFlow<()>,
    ) -> Result<bool, ReadError> {
        let mut addresses = Vec::new();
        let mut is_whole = true;
        let mut bytes = vec![0; SIZE << 10];
        for first in (0..self.groups).step_by(1 << 10) {
            let bytes = head_mut(&mut bytes, (self.groups - first).saturating_mul(SIZE as u64));
            let read = memory.many(self.at.saturating_add(first * SIZE as u64), bytes)?;
            for (number, group) in (first..).zip(part(bytes, ..read).as_chunks::<SIZE>().0) {
                let entries = self.entries(group).filter_map(|(entry, _)| entry?.address(number));
                addresses.extend(entries.filter(|address| *address >= self.base));
            }
            is_whole = read == bytes.len() && addresses.len() < MAX_TABLE;
            if !is_whole {
                break;
            }
        }
        addresses.sort_unstable();
        let mut end = self.base;
        for address in addresses {
            // An entry of an address that has another one, or that is where no hash leads, counts for nothing.
            if address >= end
                && let Some((step, base)) = self.search(memory, address)?
                && let Target::Page { physical, size, protection } = step.target
            {
                let (physical, size) = (physical.saturating_add(address % size), base.span());
                end = address.saturating_add(size);
                if take(Mapping { address, physical, size, protection }).is_break() {
                    break;
                }
            }
        }
        Ok(is_whole)
    }
}
