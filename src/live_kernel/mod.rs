//! A minidump of the running kernel, made from user space: what `minidumpsys()` does
//! (`minidump_machdep.c` of amd64, arm64, riscv and powerpc), through /dev/kmem and /dev/mem.
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
mod open;
mod powerpc64;
mod riscv;
mod root;
mod symbols;
mod tables;
mod variables;

pub use open::{kernel_memory, open_kernel, open_physical_memory};
pub use powerpc64::relocation;
pub use symbols::RunningSymbols;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::kernel_error::{KernelError, Operation};
use crate::memory_map::{self, MapError, MemoryMap, dump_avail};
use std::collections::BTreeMap;
use std::ops;
use variables::Variables;
use vmcore::architecture::{DirectMap, Endianness};
use vmcore::chunks::{Chunk, ChunkReader};
use vmcore::dump::header::Relocation;
use vmcore::dump::pages::Pages;
use vmcore::fault::Why;
use vmcore::format::unreadable::Unreadable;
use vmcore::format::writer::SparseWrite;
use vmcore::kernel::{RunningMemory, RunningTable};
use vmcore::memory::{Memory, ReadError};
use vmcore::minidump::writer::{MinidumpWriter, PageSource, Powerpc64};
use vmcore::minidump::{Architecture, MAX_PAGES, MSG_MAGIC, Machine, PageSet};
use vmcore::pmap::{self, Format};
use vmcore::progress::Progress;
use vmcore::ram::Ram;
use vmcore::segment::Segment;
use vmcore::symbols::Symbols;
use vmcore::units::{Hex, rough_size};

/// Far more than kern.msgbufsize can sensibly be.
const MAX_MESSAGE_BUFFER: u32 = 64 << 20;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;
/// Runs of pages that are handed to the reader at once.
const BATCH: usize = 1 << 14;

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

/// The kernel that is dumped, and where its memory is RAM.
pub struct LiveKernel<'a> {
    variables: Variables<'a>,
    machine: Machine,
    dump_avail: Vec<(u64, u64)>,
    direct_map: DirectMap,
    memory: RunningMemory,
    /// powerpc64's page table, and where its kernel is.
    hashed: Option<(RunningTable, Relocation)>,
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
    KernelError::new(
        Operation::ReadMemory,
        format!("the kernel's {what}"),
        nix::errno::Errno::from_raw(error.errno().0),
    )
    .into()
}

impl<'a> LiveKernel<'a> {
    /// Finds the kernel's memory.
    ///
    /// # Errors
    ///
    /// The host is neither amd64 nor arm64 nor riscv64 nor powerpc64, a symbol is missing or is another kernel's, the memory
    /// cannot be read, or what is in it makes no sense.
    pub fn open(host: &dyn Host, symbols: &'a dyn Symbols) -> Result<Self> {
        let system = host.system()?;
        let machine = Machine::from_system(&system).ok_or_else(|| {
            Error::UnknownKernel(format!(
                "a dump from user space can be made of amd64, aarch64, riscv64 and powerpc64, and this machine is {} with pages of {} bytes",
                system.machine_arch, system.page_size
            ))
        })?;
        let architecture = match machine {
            Machine::Tree(architecture) => architecture,
            Machine::Powerpc64(_) => return powerpc64::open(host, symbols, &system),
        };
        let map = match host.memory_map() {
            // What boot took for itself is missing there; the kernel's own dump_avail says it better.
            Ok(map) if map.source == memory_map::MapSource::PhysSegs => None,
            Ok(map) => Some(map),
            Err(Error::MemoryMap(MapError::NoTable)) => None,
            Err(error) => return Err(error),
        };
        check_version_address(host, symbols, None)?;
        let (kernel, physical) = (host.kernel_memory()?, host.physical_memory()?);
        Self::from_parts(architecture, symbols, kernel, physical, map.as_ref(), &system.version)
    }

    fn from_parts(
        architecture: Architecture,
        symbols: &'a dyn Symbols,
        kernel: Box<dyn Memory>,
        physical: Box<dyn Memory>,
        map: Option<&MemoryMap>,
        version: &str,
    ) -> Result<Self> {
        let image = match architecture {
            Architecture::Amd64 => amd64::IMAGE,
            Architecture::Arm64 | Architecture::Arm64Large => arm64::IMAGE,
            Architecture::Riscv => riscv::IMAGE,
        };
        let variables = Variables { symbols, memory: kernel, image, order: Endianness::Little, relocation: None };
        if !symbols.is_running_kernel() {
            variables.check_version(version)?;
        }
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
        let ranges = match map {
            Some(map) => reached.flat_map(|(start, end)| whole_pages(map, page, start, end)).collect(),
            None => reached.collect(),
        };
        let ram = Ram::new(physical, ranges);
        let format = match architecture {
            Architecture::Arm64 | Architecture::Arm64Large => Some(arm64::format(&variables, architecture.format())?),
            Architecture::Amd64 | Architecture::Riscv => None,
        };
        let tables = root::find(&variables, architecture.family(), format, &ram)?;
        let memory = RunningMemory::new(ram, architecture.family(), tables, direct.map);
        let machine = Machine::Tree(architecture);
        Ok(Self { variables, machine, dump_avail, direct_map: direct.map, memory, hashed: None })
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
                "a minidump has room for the bits of {limit} of memory, and the kernel's dump_avail has more"
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
            let bytes = bytes.get_mut(..usize::try_from(count).unwrap_or_default() * 8).unwrap_or_default();
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
        let mut fields = [0; 16];
        self.read_virtual(what, self.variables.number(what)?, &mut fields)?;
        // struct msgbuf: msg_ptr, msg_magic, msg_size.
        let (pointer, rest) = fields.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let word = |half: usize| rest.as_chunks().0.get(half).copied().map_or(0, |word| self.order().u32(word));
        let (magic, size) = (word(0), word(1));
        if magic != MSG_MAGIC {
            return Err(odd(what, format!("its magic is {magic:#x}, not {MSG_MAGIC:#x}")));
        }
        if size == 0 || size > MAX_MESSAGE_BUFFER {
            return Err(odd(what, format!("a message buffer of {size} bytes")));
        }
        let mut buffer = vec![0; usize::try_from(size).unwrap_or_default()];
        self.read_virtual("message buffer", self.order().u64(*pointer), &mut buffer)?;
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
        };
        match (self.machine, self.hashed) {
            (Machine::Tree(architecture), _) => snapshot.walk(architecture),
            (Machine::Powerpc64(_), Some((table, relocation))) => snapshot.read_hashed(table, relocation)?,
            (Machine::Powerpc64(_), None) => {}
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
                "this machine has memory beyond 1 PiB, whose page tables memtool writes into no dump; use --method kernel"
                    .to_owned(),
            ));
        }
        let [_, level, _] = architecture.levels();
        let superpages = (end - u128::from(architecture.kernel_base())).div_ceil(level.span().into());
        Ok(u64::try_from(superpages).unwrap_or_default())
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
        marked.retain(&self.before);
        let page_size = self.kernel.machine.page_size();
        let pages = marked.runs().flat_map(|(start, end)| start / page_size..end / page_size);
        let pages = pages.map(|page| page * page_size);
        let lost = pages.filter(|page| !dumped.contains(*page)).count() as u64;
        Ok(Loss { marked: marked.count(), lost })
    }
}

/// Refuses another kernel's image before anything is read where that says: some kernels panic when /dev/kmem is asked
/// for what is no RAM ([`crate::host::direct_map`]).
fn check_version_address(host: &dyn Host, symbols: &dyn Symbols, relocation: Option<Relocation>) -> Result<()> {
    let name = "version";
    if symbols.is_running_kernel() {
        return Ok(());
    }
    let symbol = symbols.find(name)?.map(|found| variables::as_it_runs(found, relocation));
    match (host.kernel_symbol(name), symbol) {
        (Ok(Some(running)), Some(symbol)) if running.address != symbol.address => Err(Error::Refused(format!(
            "{} is not the image of the running kernel, whose version is at {} and not at {}",
            symbols.source(),
            Hex(running.address),
            Hex(symbol.address)
        ))),
        _ => Ok(()),
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

/// The whole pages of RAM in a range.
fn whole_pages(map: &MemoryMap, page: u64, start: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
    let pages = map.ram_within(start, end.into()).into_iter();
    let pages = pages.filter_map(move |(start, end)| Some((start.checked_next_multiple_of(page)?, end & !(page - 1))));
    pages.filter(|(start, end)| start < end)
}

/// What a dump of the running kernel holds; its pages are yet to be read.
pub struct Snapshot<'a> {
    kernel: &'a LiveKernel<'a>,
    message_buffer: Vec<u8>,
    version: u32,
    /// From the base of the kernel map to its end.
    superpages: u64,
    /// Page directories as far as they are dumped, by number from the base of the kernel map.
    directories: BTreeMap<u64, Vec<u64>>,
    /// Page tables that they name, by physical address; of amd64 nothing but that.
    tables: BTreeMap<u64, Vec<u8>>,
    /// powerpc64's page table.
    hashed: Vec<u8>,
    pages: PageSet,
    not_ram: u64,
    lost_tables: u64,
}

/// A dump that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserDumpReport {
    /// Bytes before compression.
    pub size: u64,
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
    /// The pages in the dump.
    pub fn page_set(&self) -> &PageSet {
        &self.pages
    }

    /// Bytes of the pages in it: what [`Progress`] comes to.
    pub fn page_bytes(&self) -> u64 {
        self.pages.count() * self.kernel.machine.page_size()
    }

    /// Bytes of the dump before compression.
    ///
    /// # Errors
    ///
    /// A part is larger than the format can say.
    pub fn size(&self) -> Result<u64> {
        Ok(self.layout()?.size())
    }

    fn layout(&self) -> Result<MinidumpWriter<'_>> {
        MinidumpWriter::new(self).map_err(|error| Error::Format(error.to_string()))
    }

    /// Reads the pages and writes the dump.
    ///
    /// # Errors
    ///
    /// Those of the output. What cannot be read is no error: it is zeros in the dump, and the report lists it.
    pub fn write(&self, out: &mut dyn SparseWrite, progress: &Progress) -> Result<UserDumpReport> {
        let layout = self.layout()?;
        let page_size = self.kernel.machine.page_size();
        let reader = ChunkReader::new(self.kernel.ram().memory(), page_size, BUFFER)?;
        layout.write_head(|bytes| out.write(bytes))?;
        let mut unreadable = Unreadable::default();
        let mut runs = self.pages.runs().map(|(start, end)| Segment { start, end, domain: None });
        loop {
            // A fragmented memory has very many runs.
            let batch: Vec<Segment> = runs.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            reader.read(&batch, |piece| match piece {
                Chunk::Data { bytes, .. } => {
                    out.write(bytes)?;
                    progress.add(bytes.len() as u64);
                    Ok(())
                }
                Chunk::Unreadable { start, end, why } => {
                    unreadable.add(start, end, why);
                    out.zeros(end - start)?;
                    progress.add(end - start);
                    Ok(())
                }
            })?;
        }
        Ok(UserDumpReport {
            size: layout.size(),
            pages: layout.page_bytes() / page_size,
            unreadable,
            not_ram: self.not_ram,
            lost_tables: self.lost_tables,
        })
    }
}

impl PageSource for Snapshot<'_> {
    fn machine(&self) -> Machine {
        self.kernel.machine
    }

    fn powerpc64(&self) -> Powerpc64<'_> {
        let image = self.kernel.hashed.map_or((0, 0), |(_, image)| (image.ran, image.ran.saturating_add(image.size)));
        Powerpc64 { table: &self.hashed, image }
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn message_buffer(&self) -> &[u8] {
        &self.message_buffer
    }

    fn dump_avail(&self) -> &[(u64, u64)] {
        &self.kernel.dump_avail
    }

    fn direct_map(&self) -> DirectMap {
        self.kernel.direct_map
    }

    fn superpages(&self) -> u64 {
        self.superpages
    }

    fn directory(&self, number: u64) -> Option<&[u64]> {
        self.directories.get(&number).map(Vec::as_slice)
    }

    fn table(&self, physical: u64) -> Option<&[u8]> {
        self.tables.get(&physical).map(Vec::as_slice)
    }

    fn pages(&self) -> Box<dyn Iterator<Item = (u64, u64)> + '_> {
        Box::new(self.pages.runs())
    }
}

#[cfg(test)]
mod tests;
