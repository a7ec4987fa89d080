//! A minidump of the running amd64 kernel, made from user space: what `minidumpsys()` does
//! (`sys/amd64/amd64/minidump_machdep.c`), through /dev/kmem and /dev/mem.
//!
//! Variables of the kernel are found by symbol and read through /dev/kmem; everything else is read through
//! /dev/mem, and only where the kernel's `dump_avail` and its memory map both say that there is RAM. The kernel
//! goes on meanwhile: each structure is read once, and what no longer fits is left out, not an error.
//!
//! Kernels count the bits of `vm_page_dump` through `dump_avail` (`vm_page_dump_pages` tells how many); those
//! before FreeBSD 13.0 count physical pages from 0 (`vm_page_dump_size` bytes). The dump is of version 3 for
//! both. Pages that the kernel maps and yet keeps out of its own dumps (`PG_NODUMP`) are in it.

use super::amd64::{Minidump, Source};
use super::{MSG_MAGIC, PageSet};
use crate::dump::reader::{Piece, Reader};
use crate::dump::sink::{Target, Written, with_sink};
use crate::dump::{Output, Progress, Unreadable};
use crate::error::{Error, KernelError, Operation, Result, errno_of};
use crate::host::{Host, Memory};
use crate::memory_map::{self, MemoryMap, Segment};
use crate::pmap::Format;
use crate::pmap::amd64::{
    DIRECT_MAP, GIB, KERNBASE, KERNEL_MAP_BASE, KERNSTART, PAGE, PG_FRAME, PG_PS, PG_PS_FRAME, PG_PS_PDP_FRAME, PG_V,
    SUPERPAGE, index,
};
use crate::symbols::Symbols;
use crate::units::Hex;
use crate::vmcore::header::DirectMap;
use crate::vmcore::pages::Pages;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::io;

/// The direct map reaches no more physical memory.
const MAX_PHYSICAL: u64 = DIRECT_MAP.1 - DIRECT_MAP.0;

/// Far more than kern.msgbufsize can sensibly be.
const MAX_MESSAGE_BUFFER: u32 = 64 << 20;
/// More pairs than any kernel's `dump_avail` has room for (`PHYS_AVAIL_ENTRIES`); what the dump has room for.
const MAX_DUMP_AVAIL: u64 = 255;
/// Superpages from `KERNBASE` to the end of the address space.
const MAX_NKPT: u32 = 1024;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;
/// Runs of pages that are handed to the reader at once.
const BATCH: usize = 1 << 14;

/// The symbols that are looked for.
pub const SYMBOLS: [&str; 10] = [
    "version",
    "kva_layout",
    "dump_avail",
    "vm_page_dump",
    "vm_page_dump_pages",
    "vm_page_dump_size",
    "msgbufp",
    "KPML4phys",
    "kernel_vm_end",
    "nkpt",
];

/// The kernel that is dumped, and where its memory is RAM.
pub struct LiveKernel<'a> {
    symbols: &'a dyn Symbols,
    kernel: Box<dyn Memory>,
    ram: Ram,
    dump_avail: Vec<(u64, u64)>,
    /// Physical address of the top-level page table.
    top: u64,
}

/// The memory of a running kernel, and its page tables.
pub struct KernelMemory {
    /// Physical memory.
    pub memory: Box<dyn Memory>,
    /// What of it is RAM: ascending, in whole pages.
    pub ram: Vec<(u64, u64)>,
    /// The format of the page tables.
    pub format: Format,
    /// Physical address of the top-level one.
    pub root: u64,
    /// Where the kernel map begins.
    pub base: u64,
    /// The direct map.
    pub direct_map: Option<DirectMap>,
}

/// Physical memory, of which only RAM is read.
struct Ram {
    memory: Box<dyn Memory>,
    /// Ascending, in whole pages.
    ranges: Vec<(u64, u64)>,
}

impl Ram {
    fn has(&self, address: u64, length: u64) -> bool {
        let next = self.ranges.partition_point(|(start, _)| *start <= address);
        let range = next.checked_sub(1).and_then(|index| self.ranges.get(index));
        range.is_some_and(|(_, end)| address.checked_add(length).is_some_and(|last| last <= *end))
    }

    /// Fills the buffer; `false` where there is no RAM.
    fn read(&self, address: u64, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.has(address, buffer.len() as u64) {
            return Ok(false);
        }
        read_exact(&*self.memory, address, buffer).map(|()| true)
    }

    /// A page table; `None` where there is no RAM, or none that can be read.
    fn table(&self, address: u64) -> Option<Box<[u64; 512]>> {
        let mut bytes = [0; 4096];
        if !self.read(address, &mut bytes).ok()? {
            return None;
        }
        let mut table = Box::new([0; 512]);
        for (entry, bytes) in table.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *entry = u64::from_le_bytes(*bytes);
        }
        Some(table)
    }
}

fn read_exact(memory: &dyn Memory, address: u64, buffer: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = address.checked_add(done as u64).ok_or(Errno::EFAULT)?;
        match memory.read_at(at, rest) {
            Ok(0) => return Err(Errno::EFAULT.into()),
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn odd(what: &str, why: impl std::fmt::Display) -> Error {
    Error::Format(format!("the kernel's {what} is not as expected: {why}"))
}

fn unreadable(what: &str, error: &io::Error) -> Error {
    KernelError::new(Operation::ReadMemory, format!("the kernel's {what}"), errno_of(error)).into()
}

impl<'a> LiveKernel<'a> {
    /// Finds the kernel's memory.
    ///
    /// # Errors
    ///
    /// The host is no amd64, a symbol is missing or is another kernel's, the memory cannot be read, or what is in it
    /// makes no sense.
    pub fn open(host: &dyn Host, symbols: &'a dyn Symbols) -> Result<Self> {
        let system = host.system()?;
        if system.machine_arch != "amd64" || system.page_size != 4096 {
            return Err(Error::Unsupported(format!(
                "a dump from user space can be made of amd64 so far, and this machine is {}",
                system.machine_arch
            )));
        }
        let map = match host.memory_map() {
            // What boot took for itself is missing there; the kernel's own dump_avail says it better.
            Ok(map) if map.source == memory_map::Source::PhysSegs => None,
            Ok(map) => Some(map),
            Err(Error::Unsupported(_)) => None,
            Err(error) => return Err(error),
        };
        Self::of(symbols, host.kernel_memory()?, host.physical_memory()?, map.as_ref(), &system.version)
    }

    fn of(
        symbols: &'a dyn Symbols,
        kernel: Box<dyn Memory>,
        physical: Box<dyn Memory>,
        map: Option<&MemoryMap>,
        version: &str,
    ) -> Result<Self> {
        let ram = Ram { memory: physical, ranges: Vec::new() };
        let mut live = Self { symbols, kernel, ram, dump_avail: Vec::new(), top: 0 };
        if !symbols.of_running_kernel() {
            live.check_version(version)?;
        }
        live.check_layout()?;
        live.dump_avail = live.read_dump_avail()?;
        live.ram.ranges = match map {
            Some(map) => live.dump_avail.iter().flat_map(|&(start, end)| whole_pages(map, start, end)).collect(),
            None => live.dump_avail.clone(),
        };
        live.top = live.number("KPML4phys")?;
        if !live.top.is_multiple_of(PAGE) || !live.ram.has(live.top, PAGE) {
            return Err(odd("KPML4phys", format!("at {} there is no page of RAM", Hex(live.top))));
        }
        // They must map the very variable that tells where they are.
        let mut again = [0; 8];
        let found = live.read_virtual("KPML4phys", live.required("KPML4phys")?.0, &mut again);
        if found.is_err() || u64::from_le_bytes(again) != live.top {
            return Err(odd("KPML4phys", format!("the page tables at {} do not map the kernel", Hex(live.top))));
        }
        Ok(live)
    }

    /// The address of a variable of the kernel, within its image.
    fn variable(&self, name: &str) -> Result<Option<(u64, u64)>> {
        let Some(symbol) = self.symbols.find(name)? else { return Ok(None) };
        // /dev/kmem reads nothing else for us: everywhere else there may be devices.
        if symbol.address < KERNSTART || symbol.address.checked_add(symbol.size.max(8)).is_none() {
            return Err(odd(name, format!("{} is outside of the kernel's image", Hex(symbol.address))));
        }
        Ok(Some((symbol.address, symbol.size)))
    }

    fn required(&self, name: &str) -> Result<(u64, u64)> {
        self.variable(name)?.ok_or_else(|| {
            Error::Unsupported(format!(
                "{} has no symbol '{name}', and without it no dump can be made from user space; --kernel FILE names another kernel image",
                self.symbols.source()
            ))
        })
    }

    fn read_variable<const N: usize>(&self, name: &str, address: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        read_exact(&*self.kernel, address, &mut bytes).map_err(|error| unreadable(name, &error))?;
        Ok(bytes)
    }

    fn number(&self, name: &str) -> Result<u64> {
        let (address, _) = self.required(name)?;
        self.read_variable(name, address).map(u64::from_le_bytes)
    }

    fn int(&self, name: &str) -> Result<u32> {
        let (address, _) = self.required(name)?;
        self.read_variable(name, address).map(u32::from_le_bytes)
    }

    /// Refuses a kernel image that is not the running kernel's.
    fn check_version(&self, running: &str) -> Result<()> {
        let (address, _) = self.required("version")?;
        let mut text = vec![0; running.len()];
        let found = read_exact(&*self.kernel, address, &mut text);
        if found.is_err() || text != running.as_bytes() || running.is_empty() {
            return Err(Error::Refused(format!(
                "{} is not the image of the running kernel, {running}: its version does not lie where that image says",
                self.symbols.source()
            )));
        }
        Ok(())
    }

    /// Refuses kernels that have their memory elsewhere.
    fn check_layout(&self) -> Result<()> {
        let Some((address, size)) = self.variable("kva_layout")? else { return Ok(()) };
        let words = (size / 8).min(64);
        let mut found = Vec::new();
        for index in 0..words {
            found.push(u64::from_le_bytes(self.read_variable("kva_layout", address + index * 8)?));
        }
        if [DIRECT_MAP.0, DIRECT_MAP.1, KERNEL_MAP_BASE].iter().all(|border| found.contains(border)) {
            return Ok(());
        }
        Err(Error::Unsupported(
            "this kernel has its memory at other addresses (kva_layout) than a dump from user space knows; use --method kernel"
                .to_owned(),
        ))
    }

    fn read_dump_avail(&self) -> Result<Vec<(u64, u64)>> {
        let what = "dump_avail";
        let (address, size) = self.required(what)?;
        let most = if size == 0 { MAX_DUMP_AVAIL } else { (size / 16).min(MAX_DUMP_AVAIL) };
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for index in 0..=most {
            let Some(at) = address.checked_add(index * 16).filter(|_| index < most) else { break };
            let pair: [u8; 16] = self.read_variable(what, at)?;
            let word = |half: usize| pair.as_chunks().0.get(half).copied().map_or(0, u64::from_le_bytes);
            let (start, end) = (word(0), word(1));
            if end == 0 {
                return if ranges.is_empty() { Err(odd(what, "it is empty")) } else { Ok(ranges) };
            }
            let after = ranges.last().map_or(0, |last| last.1);
            let whole = start.is_multiple_of(PAGE) && end.is_multiple_of(PAGE);
            if start < after || start >= end || !whole || end > MAX_PHYSICAL {
                return Err(odd(what, format!("range {index} is {}..{}", Hex(start), Hex(end))));
            }
            ranges.push((start, end));
        }
        Err(odd(what, format!("it has no end within {most} ranges")))
    }

    /// Its memory, for whoever reads it by virtual address.
    pub fn into_memory(self) -> KernelMemory {
        let direct_map = Some(DirectMap { base: DIRECT_MAP.0, end: DIRECT_MAP.1, physical: 0 });
        let (memory, ram) = (self.ram.memory, self.ram.ranges);
        KernelMemory { memory, ram, format: Format::Amd64, root: self.top, base: KERNEL_MAP_BASE, direct_map }
    }

    /// Where a kernel virtual address lies in physical memory, and how many bytes follow it there.
    fn translate(&self, address: u64) -> Option<(u64, u64)> {
        if (DIRECT_MAP.0..DIRECT_MAP.1).contains(&address) {
            return Some((address - DIRECT_MAP.0, DIRECT_MAP.1 - address));
        }
        if address < KERNEL_MAP_BASE {
            return None;
        }
        let mut table = self.top;
        for (size, frame) in [(512 * GIB, 0), (GIB, PG_PS_PDP_FRAME), (SUPERPAGE, PG_PS_FRAME), (PAGE, PG_FRAME)] {
            let entry = *self.ram.table(table)?.get(index(address / size))?;
            if entry & PG_V == 0 {
                return None;
            }
            if size == PAGE || (frame != 0 && entry & PG_PS != 0) {
                return Some(((entry & frame) + address % size, size - address % size));
            }
            table = entry & PG_FRAME;
        }
        None
    }

    /// Reads kernel virtual memory with RAM behind it.
    fn read_virtual(&self, what: &str, address: u64, buffer: &mut [u8]) -> Result<()> {
        let nowhere = |at| odd(what, format!("at {} there is no RAM", Hex(at)));
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = address.checked_add(done as u64).ok_or_else(|| nowhere(address))?;
            let (physical, follow) = self.translate(at).ok_or_else(|| nowhere(at))?;
            let length = usize::try_from(follow).unwrap_or(usize::MAX).min(rest.len());
            let part = rest.get_mut(..length).unwrap_or_default();
            if !self.ram.read(physical, part).map_err(|error| unreadable(what, &error))? {
                return Err(nowhere(at));
            }
            done += length;
        }
        Ok(())
    }

    /// The pages that the kernel marks for its dumps besides those that it maps: `vm_page_dump`, as it is now. And
    /// how many it marks that are not RAM, and so left out.
    ///
    /// # Errors
    ///
    /// The bitmap is not of the size that `dump_avail` demands, or cannot be read.
    pub fn marked(&self) -> Result<(PageSet, u64)> {
        let what = "vm_page_dump";
        let mut set = PageSet::new(&self.dump_avail);
        let at = self.number(what)?;
        if self.variable("vm_page_dump_pages")?.is_some() {
            let pages = self.number("vm_page_dump_pages")?;
            if pages != set.capacity() {
                return Err(odd(
                    "vm_page_dump_pages",
                    format!("it is {pages}, and dump_avail has {} pages", set.capacity()),
                ));
            }
            self.read_words(at, set.words_mut())?;
        } else {
            let last = self.dump_avail.last().map_or(0, |range| range.1);
            let size = u64::from(self.int("vm_page_dump_size")?);
            let needed = (last / PAGE).div_ceil(8);
            if size < needed || size > needed.next_multiple_of(PAGE) {
                return Err(odd(
                    "vm_page_dump_size",
                    format!("it is {size}, and the memory in dump_avail takes {needed} bytes"),
                ));
            }
            for &(start, end) in &self.dump_avail {
                self.read_by_page(at, start / PAGE, end / PAGE, &mut set)?;
            }
        }
        let dropped = set.keep_within(&self.ram.ranges);
        Ok((set, dropped))
    }

    fn read_words(&self, address: u64, words: &mut [u64]) -> Result<()> {
        let mut bytes = vec![0; BUFFER];
        let mut at = address;
        for words in words.chunks_mut(BUFFER / 8) {
            let bytes = bytes.get_mut(..words.len() * 8).unwrap_or_default();
            self.read_virtual("vm_page_dump", at, bytes)?;
            at = at.saturating_add(bytes.len() as u64);
            for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
                *word = u64::from_le_bytes(*bytes);
            }
        }
        Ok(())
    }

    /// Takes pages from a bitmap whose bits count physical pages from 0.
    fn read_by_page(&self, address: u64, first: u64, last: u64, set: &mut PageSet) -> Result<()> {
        let words_at_once = BUFFER as u64 / 8;
        let mut word = first / 64;
        while word < last.div_ceil(64) {
            let count = (last.div_ceil(64) - word).min(words_at_once);
            let mut words = vec![0; usize::try_from(count).unwrap_or_default()];
            let at = address.checked_add(word * 8).ok_or_else(|| odd("vm_page_dump", "it has no end"))?;
            self.read_words(at, &mut words)?;
            for (bits, number) in words.into_iter().zip(word..) {
                for bit in (0..64).filter(|bit| bits & 1 << bit != 0) {
                    let page = number * 64 + bit;
                    if (first..last).contains(&page) {
                        set.insert(page * PAGE);
                    }
                }
            }
            word += count;
        }
        Ok(())
    }

    fn message_buffer(&self) -> Result<Vec<u8>> {
        let what = "msgbufp";
        let mut fields = [0; 16];
        self.read_virtual(what, self.number(what)?, &mut fields)?;
        // struct msgbuf: msg_ptr, msg_magic, msg_size.
        let (pointer, rest) = fields.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let word = |half: usize| rest.as_chunks().0.get(half).copied().map_or(0, u32::from_le_bytes);
        let (magic, size) = (word(0), word(1));
        if magic != MSG_MAGIC {
            return Err(odd(what, format!("its magic is {magic:#x}, not {MSG_MAGIC:#x}")));
        }
        if size == 0 || size > MAX_MESSAGE_BUFFER {
            return Err(odd(what, format!("a message buffer of {size} bytes")));
        }
        let mut buffer = vec![0; usize::try_from(size).unwrap_or_default()];
        self.read_virtual("message buffer", u64::from_le_bytes(*pointer), &mut buffer)?;
        Ok(buffer)
    }

    /// Decides what a dump holds.
    ///
    /// # Errors
    ///
    /// Those of [`Self::marked`], and of the other variables of the kernel.
    pub fn snapshot(&self) -> Result<Snapshot<'_>> {
        let nkpt = self.int("nkpt")?;
        if nkpt > MAX_NKPT {
            return Err(odd("nkpt", format!("it is {nkpt}")));
        }
        let kernel_vm_end = self.number("kernel_vm_end")?;
        if kernel_vm_end < KERNEL_MAP_BASE {
            return Err(odd("kernel_vm_end", format!("it is {}", Hex(kernel_vm_end))));
        }
        // As minidumpsys() has it; 2^64 is possible.
        let end = (u128::from(KERNBASE) + u128::from(nkpt) * u128::from(SUPERPAGE)).max(kernel_vm_end.into());
        let count = (end - u128::from(KERNEL_MAP_BASE)).div_ceil(u128::from(GIB));
        let message_buffer = self.message_buffer()?;
        let (pages, not_ram) = self.marked()?;
        let mut snapshot = Snapshot {
            kernel: self,
            message_buffer,
            directory_count: u64::try_from(count).unwrap_or_default(),
            directories: BTreeMap::new(),
            pages,
            not_ram,
            lost_tables: 0,
        };
        snapshot.walk();
        Ok(snapshot)
    }
}

/// A check of the kernel's own live dump against the pages that it marks: some kernels lose them.
///
/// Kernels that copy their page bitmap short (`minidumpsys()` in live dumps) lose most of what lies beyond its first
/// eighth.
pub struct Check<'a> {
    kernel: LiveKernel<'a>,
    before: PageSet,
}

/// Pages that were marked before and after a dump was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// All of them.
    pub marked: u64,
    /// Those that are not in the dump.
    pub lost: u64,
}

impl Loss {
    /// Whether the dump cannot be trusted. A page that was given up and taken again while the dump was taken is
    /// missing with right, and memory that is given up is what the kernel takes first; but that concerns a few
    /// pages, and a bitmap that was copied short most of them. The border is one page in 64.
    pub fn is_too_large(&self) -> bool {
        self.lost > self.marked / 64
    }
}

impl<'a> Check<'a> {
    /// Notes what is marked now, before the dump is taken.
    ///
    /// # Errors
    ///
    /// Those of [`LiveKernel::marked`].
    pub fn before(kernel: LiveKernel<'a>) -> Result<Self> {
        let (before, _) = kernel.marked()?;
        Ok(Self { kernel, before })
    }

    /// Counts what a dump with these pages lacks.
    ///
    /// # Errors
    ///
    /// Those of [`LiveKernel::marked`].
    pub fn after(&self, dumped: &Pages) -> Result<Loss> {
        let (mut marked, _) = self.kernel.marked()?;
        for (now, before) in marked.words_mut().iter_mut().zip(self.before.words()) {
            *now &= before;
        }
        let pages = marked.runs().flat_map(|(start, end)| (start..end).step_by(4096));
        let lost = pages.filter(|page| !dumped.contains(*page)).count() as u64;
        Ok(Loss { marked: marked.count(), lost })
    }
}

/// The whole pages of RAM in a range.
fn whole_pages(map: &MemoryMap, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
    let pages = map.ram_within(start, end.into()).into_iter();
    let pages = pages.filter_map(|(start, end)| Some((start.checked_next_multiple_of(PAGE)?, end & !(PAGE - 1))));
    pages.filter(|(start, end)| start < end)
}

/// What a dump of the running kernel holds; its pages are yet to be read.
pub struct Snapshot<'a> {
    kernel: &'a LiveKernel<'a>,
    message_buffer: Vec<u8>,
    directory_count: u64,
    /// Page directories, by GiB from the base of the kernel map.
    directories: BTreeMap<u64, Box<[u64; 512]>>,
    pages: PageSet,
    not_ram: u64,
    lost_tables: u64,
}

/// A dump that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Bytes before compression.
    pub size: u64,
    /// What was written.
    pub written: Written,
    /// Pages in it.
    pub pages: u64,
    /// Pages that could not be read; they are zeros in the dump.
    pub unreadable: Unreadable,
    /// Pages that the kernel marks for its dumps and that are not RAM; they are not in the dump.
    pub not_ram: u64,
    /// Page tables that could not be read, or had gone before they were: what only they map is not in the dump.
    pub lost_tables: u64,
}

impl Snapshot<'_> {
    /// Adds what the kernel's page tables map, and the tables of the lowest level.
    fn walk(&mut self) {
        let ram = &self.kernel.ram;
        let Some(top) = ram.table(self.kernel.top) else { return self.lost_tables += 1 };
        let mut pointers: Option<(u64, Option<Box<[u64; 512]>>)> = None;
        for number in 0..self.directory_count {
            let address = KERNEL_MAP_BASE + number * GIB;
            let slot = top.get(index(address / (512 * GIB))).copied().unwrap_or(0);
            if slot & PG_V == 0 {
                continue;
            }
            if pointers.as_ref().is_none_or(|(of, _)| *of != slot) {
                let table = ram.table(slot & PG_FRAME);
                self.lost_tables += u64::from(table.is_none());
                pointers = Some((slot, table));
            }
            let table = pointers.as_ref().and_then(|(_, table)| table.as_deref());
            let entry = table.and_then(|table| table.get(index(address / GIB))).copied().unwrap_or(0);
            if entry & PG_V == 0 {
                continue;
            }
            if entry & PG_PS != 0 {
                let start = entry & PG_PS_PDP_FRAME;
                self.add(start, start + GIB);
                let mut directory = Box::new([0; 512]);
                for (slot, superpage) in directory.iter_mut().zip(0..) {
                    *slot = entry | (superpage * SUPERPAGE);
                }
                self.directories.insert(number, directory);
            } else if let Some(directory) = ram.table(entry & PG_FRAME) {
                self.walk_directory(&directory);
                self.directories.insert(number, directory);
            } else {
                self.lost_tables += 1;
            }
        }
    }

    fn walk_directory(&mut self, directory: &[u64; 512]) {
        for entry in directory.iter().filter(|entry| *entry & PG_V != 0) {
            if entry & PG_PS != 0 {
                let start = entry & PG_PS_FRAME;
                self.add(start, start + SUPERPAGE);
                continue;
            }
            let table = entry & PG_FRAME;
            self.add(table, table + PAGE);
            match self.kernel.ram.table(table) {
                Some(table) => {
                    for page in table.iter().filter(|entry| *entry & PG_V != 0).map(|entry| entry & PG_FRAME) {
                        self.add(page, page + PAGE);
                    }
                }
                None => self.lost_tables += 1,
            }
        }
    }

    /// Adds what is RAM of a range.
    fn add(&mut self, start: u64, end: u64) {
        let ranges = &self.kernel.ram.ranges;
        let first = ranges.partition_point(|range| range.1 <= start);
        for &(from, to) in ranges.iter().skip(first).take_while(|range| range.0 < end) {
            self.pages.insert_range(start.max(from), end.min(to));
        }
    }

    /// The pages in the dump.
    pub fn page_set(&self) -> &PageSet {
        &self.pages
    }

    /// Bytes of the pages in it: what [`Progress`] comes to.
    pub fn page_bytes(&self) -> u64 {
        self.pages.count() * PAGE
    }

    /// Bytes of the dump before compression.
    ///
    /// # Errors
    ///
    /// A part is larger than the format can say.
    pub fn size(&self) -> Result<u64> {
        Ok(self.layout()?.size())
    }

    fn layout(&self) -> Result<Minidump<'_>> {
        Minidump::of(self).map_err(|error| Error::Format(error.to_string()))
    }

    /// Reads the pages and writes the dump. Gives the target back, to be completed.
    ///
    /// # Errors
    ///
    /// Those of the target. What cannot be read is no error: it is zeros in the dump, and the report lists it.
    pub fn write(&self, output: Output, progress: &Progress) -> Result<(Report, Target)> {
        let layout = self.layout()?;
        let Output { target, compression, hash } = output;
        let reader = Reader::new(&*self.kernel.ram.memory, PAGE, BUFFER)?;
        let (unreadable, written, target) = with_sink(target, compression, hash, |sink| {
            layout.write_head(|bytes| sink.write(bytes))?;
            let mut unreadable = Unreadable::default();
            let mut runs = self.pages.runs().map(|(start, end)| Segment { start, end, domain: None });
            loop {
                // A fragmented memory has very many runs.
                let batch: Vec<Segment> = runs.by_ref().take(BATCH).collect();
                if batch.is_empty() {
                    return Ok(unreadable);
                }
                reader.read(&batch, |piece| match piece {
                    Piece::Data { bytes, .. } => {
                        sink.write(bytes)?;
                        progress.add(bytes.len() as u64);
                        Ok(())
                    }
                    Piece::Unreadable { start, end, errno } => {
                        unreadable.add(start, end, errno);
                        sink.zeros(end - start)?;
                        progress.add(end - start);
                        Ok(())
                    }
                })?;
            }
        })?;
        let report = Report {
            size: layout.size(),
            written,
            pages: layout.page_bytes() / PAGE,
            unreadable,
            not_ram: self.not_ram,
            lost_tables: self.lost_tables,
        };
        Ok((report, target))
    }
}

impl Source for Snapshot<'_> {
    fn message_buffer(&self) -> &[u8] {
        &self.message_buffer
    }

    fn dump_avail(&self) -> &[(u64, u64)] {
        &self.kernel.dump_avail
    }

    fn kernel_base(&self) -> u64 {
        KERNEL_MAP_BASE
    }

    fn direct_map(&self) -> (u64, u64) {
        DIRECT_MAP
    }

    fn directory_count(&self) -> u64 {
        self.directory_count
    }

    fn directory(&self, index: u64) -> Option<&[u64; 512]> {
        self.directories.get(&index).map(|table| &**table)
    }

    fn pages(&self) -> Box<dyn Iterator<Item = (u64, u64)> + '_> {
        Box::new(self.pages.runs())
    }
}

#[cfg(test)]
#[path = "live_amd64_tests.rs"]
mod tests;
