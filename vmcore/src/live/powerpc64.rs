//! The running kernel of powerpc64 (`sys/powerpc/aim/mmu_oea64.c`, `moea64_native.c`, `sys/powerpc/include/vmparam.h`).
//!
//! It runs in its direct map, and its page table is hashed. Where that is, no symbol that it exports tells; but it is
//! aligned to its size, which is a 64th to a 128th of memory, so that there are few places where it can be.

use super::variables::Variables;
use super::{LiveKernel, LiveSource, Snapshot, odd, read_dump_avail, unreadable};
use crate::architecture::{DirectMap, Endianness};
use crate::bounds::saturating_usize;
use crate::dump::header::Relocation;
use crate::error::{Error, Result};
use crate::kernel::{RunningMemory, RunningTable};
use crate::memory::Memory;
use crate::minidump::Machine;
use crate::pmap::Target;
use crate::pmap::powerpc64::{
    DIRECT_MAP, FEWEST_GROUPS, KERNBASE, KERNEL_MAP, MOST_GROUPS, PAGE, PHYSICAL_BITS, PageTableEntry, TABLE_ALIGNMENT,
    physical,
};
use crate::ram::Ram;
use crate::segment::coalesce;
use crate::symbols::Symbols;
use crate::units::Hex;

/// Bytes of a group of entries.
const GROUP_SIZE: usize = 128;
/// Bytes that are compared of what is known to be somewhere: the magic and size of a message buffer are among them.
const KNOWN: usize = 16;

/// Where a running kernel of powerpc64 is, other than where it is linked, as variables by its own symbols tell; its memory is
/// kernel virtual memory.
///
/// # Errors
///
/// The kernel does not tell.
pub fn relocation(order: Endianness, own_symbols: &dyn Symbols, kernel: Box<dyn Memory>) -> Result<Relocation> {
    relocation_of(&Variables::new(own_symbols, kernel, DIRECT_MAP, order))
}

fn relocation_of(variables: &Variables<'_>) -> Result<Relocation> {
    let (start, end) = (variables.number("__startkernel")?, variables.number("__endkernel")?);
    let (first, last) = DIRECT_MAP;
    if start < first || end <= start || end > last {
        return Err(odd("image (__startkernel, __endkernel)", format!("it is {}..{}", Hex(start), Hex(end))));
    }
    Ok(Relocation { linked: KERNBASE, ran: start, size: end - start })
}

/// Finds the kernel's memory and its page table.
///
/// # Errors
///
/// A symbol is missing or is another kernel's, the kernel has another kind of page tables, the memory cannot be read,
/// or what is in it makes no sense.
pub fn open<'a>(order: Endianness, source: LiveSource<'_>, symbols: &'a dyn Symbols) -> Result<LiveKernel<'a>> {
    let LiveSource { own_symbols, kernel, physical, version, .. } = source;
    let own = Variables::new(own_symbols, kernel, DIRECT_MAP, order);
    let relocation = if symbols.is_running_kernel() { None } else { Some(relocation_of(&own)?) };
    let variables = Variables { symbols, memory: own.memory, image: DIRECT_MAP, order, relocation };
    variables.check_kernel(own_symbols, &version)?;
    from_variables(variables, physical)
}

pub(super) fn from_variables(variables: Variables<'_>, memory: Box<dyn Memory>) -> Result<LiveKernel<'_>> {
    if variables.int("hw_direct_map")? == 0 {
        return Err(Error::UnknownKernel(
            "this kernel has no direct map, through which its memory could be read".to_owned(),
        ));
    }
    if variables.int("radix_mmu")? != 0 {
        return Err(Error::UnknownKernel(
            "this kernel uses radix page tables, which memtool does not support".to_owned(),
        ));
    }
    let relocation = relocation_of(&variables)?;
    let dump_avail = read_dump_avail(&variables, PAGE, PHYSICAL_BITS)?;
    let ram = Ram::new(memory, with_image(&dump_avail, relocation));
    let table = find_table(&variables, &ram)?;
    let (base, end) = DIRECT_MAP;
    let direct_map = DirectMap { base, end, physical: 0 };
    let machine = Machine::Powerpc64(variables.order);
    let memory = RunningMemory::hashed(ram, table, variables.order, direct_map, relocation);
    Ok(LiveKernel { variables, machine, dump_avail, direct_map, memory })
}

/// What is RAM: `dump_avail`, and the kernel's image, which the firmware may have left out there.
fn with_image(dump_avail: &[(u64, u64)], Relocation { ran, size, .. }: Relocation) -> Vec<(u64, u64)> {
    let (start, end) = (physical(ran), physical(ran) + size);
    let image = (start & !(PAGE - 1), end.next_multiple_of(PAGE));
    coalesce(dump_avail.iter().copied().chain([image]).collect())
}

impl Snapshot<'_> {
    /// Keeps powerpc64's page table, and adds what it maps, and the kernel's image.
    pub(super) fn read_hashed(&mut self, table: RunningTable, image: Relocation) -> Result<()> {
        self.hashed = read_table(table, self.kernel.ram())?;
        let start = physical(image.ran);
        self.add(start, start + image.size);
        let groups = self.hashed.chunks_exact(GROUP_SIZE).zip(0..);
        let mapped: Vec<_> = groups.flat_map(|(bytes, group)| mapped(bytes, group)).collect();
        for (physical, size) in mapped {
            self.add(physical, physical.saturating_add(size));
        }
        Ok(())
    }
}

/// All of the table.
fn read_table(table: RunningTable, ram: &Ram) -> Result<Vec<u8>> {
    let what = "page table";
    let too_large =
        || Error::Unsupported(format!("the kernel's {what} has {} groups, too many for a dump", table.groups));
    let size = u32::try_from(table.groups * GROUP_SIZE as u64).ok().and_then(|size| usize::try_from(size).ok());
    let size = size.ok_or_else(too_large)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| too_large())?;
    bytes.resize(size, 0);
    ram.fill(table.physical, &mut bytes).map_err(|error| unreadable(what, &error))?;
    Ok(bytes)
}

/// What the entries of a group map of the kernel's own map: physical addresses, and bytes from there on.
fn mapped(bytes: &[u8], group: u64) -> impl Iterator<Item = (u64, u64)> {
    let entries = bytes.as_chunks().0.as_chunks().0.iter();
    entries.filter_map(move |[high, low]: &[[u8; 8]; 2]| {
        let entry = PageTableEntry::decode(u64::from_be_bytes(*high), u64::from_be_bytes(*low))?;
        let address = entry.address(group).filter(|address| *address >= KERNEL_MAP)?;
        match entry.target {
            Target::Page { physical, size, .. } => Some((physical.saturating_add(address % size), entry.base.span())),
            Target::Nothing | Target::Table(_) => None,
        }
    })
}

/// The table that maps the message buffer where the kernel has it, and the kernel itself.
fn find_table(variables: &Variables<'_>, ram: &Ram) -> Result<RunningTable> {
    let name = "moea64_pteg_count";
    let groups = variables.number(name)?;
    if !groups.is_power_of_two() || !(FEWEST_GROUPS..=MOST_GROUPS).contains(&groups) {
        return Err(odd(name, format!("it is {groups}")));
    }
    let (version, _) = variables.required("version")?;
    let buffer = variables.number("msgbufp")?;
    let mut known = [(version, [0; KNOWN]), (buffer, [0; KNOWN])];
    for (address, bytes) in &mut known {
        *bytes = variables.read("message buffer", *address)?;
    }
    let is_kernels = |table: &RunningTable| known.iter().all(|(address, bytes)| maps(*table, ram, *address, bytes));
    let mut found = places(ram.ranges(), groups).filter(is_kernels);
    match (found.next(), found.next()) {
        (Some(table), None) => Ok(table),
        (None, _) => Err(Error::UnknownKernel(
            "the kernel's page table is not in this machine's memory: a hypervisor may hold it".to_owned(),
        )),
        (Some(table), Some(other)) => {
            let both = format!("there is one at {} and one at {}", Hex(table.physical), Hex(other.physical));
            Err(odd("page table", both))
        }
    }
}

/// Where a table of so many groups can be.
fn places(ram: &[(u64, u64)], groups: u64) -> impl Iterator<Item = RunningTable> {
    let size = groups * GROUP_SIZE as u64;
    let alignment = size.max(TABLE_ALIGNMENT);
    ram.iter().flat_map(move |&(start, end)| {
        let first = start.next_multiple_of(alignment);
        let places = (first..end).step_by(saturating_usize(alignment));
        places.filter(move |at| end - at >= size).map(move |physical| RunningTable { physical, groups })
    })
}

/// Whether a table maps an address to these bytes.
fn maps(table: RunningTable, ram: &Ram, address: u64, bytes: &[u8; KNOWN]) -> bool {
    let mut found = [0; KNOWN];
    table.look_up(ram, address).is_some_and(|physical| ram.fill(physical, &mut found).is_ok() && found == *bytes)
}
