//! The kernel of a recorded machine, for its live dump and its virtual memory.
//!
//! The recorded kernel maps say which virtual addresses are mapped, with which permissions and page sizes,
//! but not where: memtool lays them out in RAM itself, in ascending order, with true page tables, a message
//! buffer that says so, and some pages that only the direct map reaches. amd64 only, as
//! `sys/amd64/amd64/minidump_machdep.c` dumps it.

use super::demo;
use super::file::{LiveDumpFault, Machine};
use super::memory::{RecordedMemory, View};
use crate::compress::Encoder;
use crate::error::{Error, KernelError, Operation, Result, errno_of};
use crate::host::Memory;
use crate::kerneldump::{self, Compression, Header, Kind};
use crate::memory_map::kernel_maps::KernelMapping;
use crate::memory_map::{add_range, coalesce};
use crate::minidump::dump_avail::DumpAvail;
use crate::minidump::{MSG_MAGIC, PageSet, amd64};
use crate::pmap::amd64::{
    DIRECT_MAP, GIB, KERNBASE, KERNEL_MAP_BASE, KERNSTART, PAGE, PG_A, PG_FRAME, PG_G, PG_M, PG_NX, PG_PS, PG_RW, PG_V,
    SUPERPAGE, index,
};
use crate::symbols::Symbol;
use ioctl_defs::kerneldump::{KERNELDUMP_AMD64_VERSION, KERNELDUMPVERSION};
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// GiB from the base of the kernel map to the kernel's image.
const KERNBASE_GIB: u64 = (KERNBASE - KERNEL_MAP_BASE) / GIB;

/// More page-table pages are not laid out; these map 32 GiB in small pages.
const MAX_TABLES: usize = 16384;

/// The size of the message buffer on a default kernel.
const MESSAGE_BUFFER: usize = 98232;

/// Where a dump stops that fails in the middle.
const PARTIAL: u64 = 1 << 20;

/// How much at each end of a segment only the direct map reaches, as the kernel's small allocations do.
const DIRECT_ONLY: u64 = 64 * PAGE;

/// The first kernel whose page bitmap counts pages through `dump_avail`.
const DUMP_AVAIL_SINCE: u32 = 1_300_000;

/// No page bitmap is laid out for more memory, nor for more pieces of it.
const MAX_BITMAP_MEMORY: u64 = 1 << 42;
const MAX_DUMP_AVAIL: usize = 128;

type Table = Box<[u64; 512]>;

/// The kernel as it lies in physical memory.
pub struct Kernel {
    /// Pages whose contents the kernel determines, by physical address.
    pages: BTreeMap<u64, Vec<u8>>,
    /// Page directory pages, by GiB from the base of the kernel map.
    directories: BTreeMap<u64, Table>,
    /// GiB from the base of the kernel map to its end.
    directory_count: u64,
    /// Physical pages that are mapped, and the page-table pages: ascending ranges.
    mapped: Vec<(u64, u64)>,
    /// Physical pages that `vm_page_dump` has besides.
    marked: Vec<(u64, u64)>,
    /// RAM in whole pages.
    dump_avail: Vec<(u64, u64)>,
    message_buffer: Vec<u8>,
    symbols: BTreeMap<&'static str, Symbol>,
}

/// Hands out physical pages in ascending order.
struct Pages {
    free: Vec<(u64, u64)>,
}

impl Pages {
    fn new(ram: &[(u64, u64)], from: u64) -> Self {
        let mut free: Vec<(u64, u64)> =
            ram.iter().map(|&(start, end)| (start.max(from), end)).filter(|(start, end)| start < end).collect();
        free.reverse();
        Self { free }
    }

    /// `length` bytes in one piece, aligned to `align`. What is skipped is lost.
    fn take(&mut self, length: u64, align: u64) -> Option<u64> {
        while let Some((start, end)) = self.free.last_mut() {
            let at = start.checked_next_multiple_of(align);
            if let Some(at) = at
                && let Some(after) = at.checked_add(length)
                && after <= *end
            {
                *start = after;
                return Some(at);
            }
            self.free.pop();
        }
        None
    }
}

impl Kernel {
    /// Lays the kernel out.
    ///
    /// # Errors
    ///
    /// The machine is no amd64, or has too little memory or too much of it mapped in small pages.
    pub fn lay_out(machine: &Machine) -> Result<Self> {
        if machine.system.machine_arch != "amd64" || machine.system.page_size != 4096 {
            return Err(Error::Unsupported(format!(
                "the kernel of a recorded machine is laid out for amd64 only, and this one is {}",
                machine.system.machine_arch
            )));
        }
        let dump_avail: Vec<(u64, u64)> = machine
            .memory
            .ram_within(0, 1 << 64)
            .into_iter()
            .filter_map(|(start, end)| Some((start.checked_next_multiple_of(PAGE)?, end & !(PAGE - 1))))
            .filter(|(start, end)| start < end)
            .collect();
        let maps = match &machine.kernel_maps {
            Some(maps) => maps.clone(),
            None => demo::kernel_maps(),
        };
        let maps: Vec<KernelMapping> = maps.into_iter().filter(|map| map.start >= KERNEL_MAP_BASE).collect();
        let image_end = maps
            .iter()
            .filter(|map| map.start >= KERNBASE)
            .map(|map| map.end_address().saturating_sub(u128::from(KERNBASE)))
            .max();
        let image_end = u64::try_from(image_end.unwrap_or(0)).unwrap_or(u64::MAX).max(0x10_0000);
        let mut layout = Layout {
            pages: Pages::new(&dump_avail, image_end),
            ram: &dump_avail,
            tables: BTreeMap::new(),
            directories: BTreeMap::new(),
            dumped: Vec::new(),
        };
        for map in &maps {
            layout.map(map)?;
        }
        let message_buffer = message_buffer(machine);
        let buffer_pages = (message_buffer.len() as u64).next_multiple_of(PAGE);
        let buffer_at = layout.pages.take(buffer_pages, PAGE).ok_or_else(too_small)?;
        let mut marked = vec![(buffer_at, buffer_at + buffer_pages)];
        for &(start, end) in &dump_avail {
            marked.push((start, end.min(start.saturating_add(DIRECT_ONLY))));
            marked.push((start.max(end.saturating_sub(DIRECT_ONLY)), end));
        }
        let end = maps.iter().map(KernelMapping::end_address).max().unwrap_or_else(|| u128::from(KERNEL_MAP_BASE) + 1);
        let directory_count = end.saturating_sub(u128::from(KERNEL_MAP_BASE)).div_ceil(u128::from(GIB));
        let mut pages: BTreeMap<u64, Vec<u8>> =
            layout.tables.values().map(|(at, table)| (*at, bytes_of(&**table))).collect();
        let mut buffer = message_buffer.clone();
        // struct msgbuf stands behind its buffer (msgbufinit, sys/kern/subr_msgbuf.c).
        buffer.extend((DIRECT_MAP.0 + buffer_at).to_le_bytes());
        buffer.extend(MSG_MAGIC.to_le_bytes());
        buffer.extend(u32::try_from(message_buffer.len()).unwrap_or(0).to_le_bytes());
        for (address, bytes) in (buffer_at..).step_by(4096).zip(buffer.chunks(4096)) {
            pages.insert(address, bytes.to_vec());
        }
        let mut kernel = Self {
            pages,
            directories: layout.directories,
            directory_count: u64::try_from(directory_count).unwrap_or(u64::MAX),
            mapped: coalesce(layout.dumped),
            marked,
            dump_avail: dump_avail.clone(),
            message_buffer,
            symbols: BTreeMap::new(),
        };
        // A machine can be too small, or its maps too strange, for what only a dump from user space needs.
        let _ = kernel.lay_out_variables(machine, &maps, &mut layout.pages, buffer_at);
        kernel.marked = coalesce(kernel.marked);
        Ok(kernel)
    }

    /// Makes the kernel's variables, page bitmap and upper page tables; `None` if there is no room for them.
    fn lay_out_variables(
        &mut self,
        machine: &Machine,
        maps: &[KernelMapping],
        free: &mut Pages,
        message_buffer: u64,
    ) -> Option<()> {
        let data = maps.iter().rfind(|map| map.start >= KERNSTART && map.permissions.contains('w'))?;
        let data_end = u64::try_from(data.end_address()).ok()?;
        let variables_at = data_end.checked_sub(PAGE)? & !(PAGE - 1);
        let (variables_physical, _) = self.translate(variables_at)?;
        if self.dump_avail.last()?.1 > MAX_BITMAP_MEMORY || self.dump_avail.len() > MAX_DUMP_AVAIL {
            return None;
        }

        // KPML4phys, a page of page directory pointers for each 512 GiB, and the directories.
        let pml4_at = free.take(PAGE, PAGE)?;
        let pointers_at = free.take(4 * PAGE, PAGE)?;
        let entry = |physical: u64| physical | PG_V | PG_RW | PG_A | PG_M;
        let mut pml4 = [0; 512];
        for (slot, number) in pml4.iter_mut().skip(508).zip(0..) {
            *slot = entry(pointers_at + number * PAGE);
        }
        let mut pointers = vec![0; 4 * 512];
        for (&number, directory) in &self.directories {
            let at = free.take(PAGE, PAGE)?;
            *pointers.get_mut(usize::try_from(number).ok()?)? = entry(at);
            self.pages.insert(at, bytes_of(&**directory));
        }
        self.pages.insert(pml4_at, bytes_of(&pml4));
        for (address, table) in (pointers_at..).step_by(4096).zip(pointers.chunks(512)) {
            self.pages.insert(address, bytes_of(table));
        }

        // Before dump_avail counted pages, physical pages were counted from 0.
        let by_page = machine.system.osreldate < DUMP_AVAIL_SINCE;
        let covered = if by_page { vec![(0, self.dump_avail.last()?.1)] } else { self.dump_avail.clone() };
        let mut bitmap = PageSet::new(&covered);
        let bitmap_size = bitmap.words().len() as u64 * 8;
        let bitmap_pages = bitmap_size.next_multiple_of(PAGE);
        let bitmap_at = free.take(bitmap_pages, PAGE)?;
        self.marked.push((bitmap_at, bitmap_at + bitmap_pages));
        for &(start, end) in &self.marked {
            bitmap.insert_range(start, end);
        }
        for (address, words) in (bitmap_at..bitmap_at + bitmap_pages).step_by(4096).zip(bitmap.words().chunks(512)) {
            // What a page's bytes lack is zeros.
            let used = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
            self.pages.insert(address, bytes_of(words.get(..used)?));
        }

        let mut variables: Vec<(&'static str, Vec<u8>)> = vec![
            ("KPML4phys", pml4_at.to_le_bytes().to_vec()),
            ("kernel_vm_end", (KERNEL_MAP_BASE + self.directory_count.min(2) * GIB).to_le_bytes().to_vec()),
            (
                "nkpt",
                i32::try_from(self.directory_count.saturating_sub(KERNBASE_GIB) * 512).ok()?.to_le_bytes().to_vec(),
            ),
            ("msgbufp", (DIRECT_MAP.0 + message_buffer + self.message_buffer.len() as u64).to_le_bytes().to_vec()),
            ("vm_page_dump", (DIRECT_MAP.0 + bitmap_at).to_le_bytes().to_vec()),
            ("version", format!("{}\n    built by memtool\n\0", machine.system.version).into_bytes()),
        ];
        variables.push(if by_page {
            let size = i32::try_from(bitmap_pages).ok()?;
            ("vm_page_dump_size", size.to_le_bytes().to_vec())
        } else {
            ("vm_page_dump_pages", bitmap.capacity().to_le_bytes().to_vec())
        });
        let pairs = self.dump_avail.iter().flat_map(|(start, end)| [*start, *end]).chain([0, 0]);
        variables.push(("dump_avail", pairs.flat_map(u64::to_le_bytes).collect()));
        let mut page = Vec::new();
        for (name, bytes) in variables {
            let symbol = Symbol { address: variables_at + page.len() as u64, size: bytes.len() as u64 };
            self.symbols.insert(name, symbol);
            page.extend(&bytes);
            page.resize(page.len().next_multiple_of(8), 0);
        }
        if page.len() > 4096 {
            self.symbols.clear();
            return None;
        }
        self.pages.insert(variables_physical, page);
        Some(())
    }

    /// Where a variable of the kernel lies.
    pub fn symbol(&self, name: &str) -> Option<Symbol> {
        self.symbols.get(name).copied()
    }

    /// Physical pages that a dump has, ascending: what is mapped, and what `vm_page_dump` marks; of that only the
    /// first eighth if the kernel copies it short.
    fn dumped(&self, short_copy: bool) -> Vec<(u64, u64)> {
        let limit = if short_copy { self.first_eighth() } else { u64::MAX };
        let marked = self.marked.iter().map(|(start, end)| (*start, (*end).min(limit)));
        let marked = marked.filter(|(start, end)| start < end);
        coalesce(self.mapped.iter().copied().chain(marked).collect())
    }

    /// Where the memory ends that the first eighth of the page bitmap stands for.
    fn first_eighth(&self) -> u64 {
        let covered = DumpAvail::new(PAGE, &self.dump_avail);
        covered.address_of(covered.bits().div_ceil(8)).unwrap_or(u64::MAX)
    }

    /// Where a kernel virtual address lies in physical memory, and how many bytes follow it there in one
    /// piece; `None` if it is not mapped. In the direct map every address counts as mapped, whether there is
    /// RAM behind it or not.
    pub fn translate(&self, address: u64) -> Option<(u64, u64)> {
        if (DIRECT_MAP.0..DIRECT_MAP.1).contains(&address) {
            return Some((address - DIRECT_MAP.0, DIRECT_MAP.1 - address));
        }
        let directory = self.directories.get(&(address.checked_sub(KERNEL_MAP_BASE)? / GIB))?;
        let entry = *directory.get(index(address / SUPERPAGE))?;
        if entry & PG_V == 0 {
            return None;
        }
        if entry & PG_PS != 0 {
            return Some(within(entry, address, SUPERPAGE));
        }
        let table = self.pages.get(&(entry & PG_FRAME))?;
        let bytes = table.as_chunks::<8>().0.get(index(address / PAGE))?;
        let entry = u64::from_le_bytes(*bytes);
        (entry & PG_V != 0).then(|| within(entry, address, PAGE))
    }

    /// Puts the kernel's own pages over bytes that were read from `address` on.
    pub fn overlay(&self, address: u64, buffer: &mut [u8]) {
        let end = address.saturating_add(buffer.len() as u64);
        for (&at, page) in self.pages.range(address.saturating_sub(PAGE - 1)..end) {
            let skip = usize::try_from(address.saturating_sub(at)).unwrap_or(usize::MAX);
            let offset = usize::try_from(at.saturating_sub(address)).unwrap_or(usize::MAX);
            let from = page.iter().copied().chain(std::iter::repeat(0)).take(4096).skip(skip);
            for (to, from) in buffer.iter_mut().skip(offset).zip(from) {
                *to = from;
            }
        }
    }
}

struct Layout<'a> {
    pages: Pages,
    ram: &'a [(u64, u64)],
    /// Page-table pages, by number of the superpage they map, with their physical address.
    tables: BTreeMap<u64, (u64, Table)>,
    directories: BTreeMap<u64, Table>,
    dumped: Vec<(u64, u64)>,
}

impl Layout<'_> {
    fn map(&mut self, map: &KernelMapping) -> Result<()> {
        let mut flags = PG_V | PG_A;
        if map.permissions.contains('w') {
            flags |= PG_RW | PG_M;
        }
        if map.permissions.contains('g') {
            flags |= PG_G;
        }
        if !map.permissions.contains('x') {
            flags |= PG_NX;
        }
        // Pages of 1 GiB appear in a dump as 512 superpages each.
        let counts = |index: usize| map.pages.get(index).copied().unwrap_or(0);
        let mut superpages = counts(0).saturating_mul(512).saturating_add(counts(1));
        let mut at = u128::from(map.start & !(PAGE - 1));
        let end = map.end_address();
        while at < end {
            let Ok(address) = u64::try_from(at) else { break };
            let fits = address % SUPERPAGE == 0 && at + u128::from(SUPERPAGE) <= end;
            let size = if superpages > 0 && fits { SUPERPAGE } else { PAGE };
            // A machine smaller than its kernel maps: what does not fit stays unmapped.
            let Some(physical) = self.place(address, size) else { break };
            add_range(&mut self.dumped, physical, physical + size);
            if size == SUPERPAGE {
                superpages -= 1;
                set(self.directory(address), address / SUPERPAGE, physical | flags | PG_PS);
            } else {
                set(self.table(address)?, address / PAGE, physical | flags);
            }
            at += u128::from(size);
        }
        Ok(())
    }

    /// The kernel's image lies where the loader puts it, everything else where there is room.
    fn place(&mut self, address: u64, size: u64) -> Option<u64> {
        if let Some(offset) = address.checked_sub(KERNBASE)
            && self.is_ram(offset, size)
        {
            return Some(offset);
        }
        self.pages.take(size, size)
    }

    fn is_ram(&self, physical: u64, size: u64) -> bool {
        let next = self.ram.partition_point(|(start, _)| *start <= physical);
        next.checked_sub(1).and_then(|index| self.ram.get(index)).is_some_and(|(_, end)| physical + size <= *end)
    }

    fn directory(&mut self, address: u64) -> &mut Table {
        self.directories.entry((address - KERNEL_MAP_BASE) / GIB).or_insert_with(|| Box::new([0; 512]))
    }

    fn table(&mut self, address: u64) -> Result<&mut Table> {
        let number = address / SUPERPAGE;
        if !self.tables.contains_key(&number) {
            if self.tables.len() >= MAX_TABLES {
                return Err(Error::Unsupported(
                    "kernel_maps: more than 32 GiB in small pages cannot be laid out for a recorded machine".to_owned(),
                ));
            }
            let physical = self.pages.take(PAGE, PAGE).ok_or_else(too_small)?;
            add_range(&mut self.dumped, physical, physical + PAGE);
            set(self.directory(address), number, physical | PG_V | PG_RW | PG_A | PG_M);
            self.tables.insert(number, (physical, Box::new([0; 512])));
        }
        self.tables.get_mut(&number).map(|(_, table)| table).ok_or_else(too_small)
    }
}

fn too_small() -> Error {
    Error::Unsupported("the recorded machine has too little memory to lay a kernel out in".to_owned())
}

fn set(table: &mut Table, number: u64, value: u64) {
    if let Some(slot) = table.get_mut(index(number)) {
        *slot = value;
    }
}

/// The physical address behind a virtual one in the page of this entry, and the bytes to the page's end.
fn within(entry: u64, address: u64, size: u64) -> (u64, u64) {
    let offset = address % size;
    ((entry & PG_FRAME & !(size - 1)) + offset, size - offset)
}

fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn message_buffer(machine: &Machine) -> Vec<u8> {
    let text = format!(
        "---<<BOOT>>---\n{}\nmemtool: live dump of the recorded machine '{}', not of a real one\nreal memory  = {} ({} MB)\n",
        machine.system.version,
        machine.system.hostname,
        machine.memory.total(),
        machine.memory.total() >> 20
    );
    let mut buffer = text.into_bytes();
    buffer.resize(MESSAGE_BUFFER, 0);
    buffer
}

/// What the dump is made from: the laid-out kernel over the machine's memory.
struct DumpSource {
    kernel: Kernel,
    memory: RecordedMemory,
    pages: Vec<(u64, u64)>,
}

impl amd64::Source for DumpSource {
    fn message_buffer(&self) -> &[u8] {
        &self.kernel.message_buffer
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
        self.kernel.directory_count
    }

    fn directory(&self, index: u64) -> Option<&[u64; 512]> {
        self.kernel.directories.get(&index).map(|table| &**table)
    }

    fn pages(&self) -> Box<dyn Iterator<Item = (u64, u64)> + '_> {
        Box::new(self.pages.iter().copied())
    }
}

impl DumpSource {
    /// Writes all pages. The kernel copies what the memory bus gives it: memory that cannot be read does not stop
    /// its dump.
    fn write_pages(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut buffer = [0; 4096];
        for &(start, end) in &self.pages {
            for at in (start..end).step_by(4096) {
                buffer.fill(0);
                let mut done = 0;
                while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
                    match self.memory.read_at(at + done as u64, rest) {
                        Ok(read) if read > 0 => done += read,
                        _ => break,
                    }
                }
                out.write_all(&buffer)?;
            }
        }
        Ok(())
    }
}

/// A writer that starts at offset 0 of a file, wherever the file's own offset is.
struct FromStart<'a> {
    file: &'a File,
    offset: u64,
    /// Writing at this offset fails.
    fails_at: u64,
}

impl Write for FromStart<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = usize::try_from(self.fails_at - self.offset).unwrap_or(usize::MAX);
        let bytes = bytes.get(..left).unwrap_or(bytes);
        if bytes.is_empty() {
            return Err(Errno::EIO.into());
        }
        let written = self.file.write_at(bytes, self.offset)?;
        self.offset += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Does what `MEM_KERNELDUMP` does: the dump from offset 0 on, the header at the next page border, and no
/// truncation.
pub fn dump(machine: &Machine, machine_path: Option<&Path>, file: &File, compression: Compression) -> Result<()> {
    let refuse = |errno| Error::from(KernelError::new(Operation::KernelDump, "the file", errno));
    let kind = file.metadata().map_err(|error| refuse(errno_of(&error)))?.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        return Err(refuse(Errno::EIO));
    }
    if !kind.is_file() {
        return Err(refuse(Errno::EINVAL));
    }
    let kernel = Kernel::lay_out(machine)?;
    let memory = RecordedMemory::open(machine, machine_path, View::Kernel)?;
    let fault = machine.live_dump_fault;
    let pages = kernel.dumped(fault == Some(LiveDumpFault::LostPages));
    let source = DumpSource { kernel, memory, pages };
    let minidump = amd64::Minidump::of(&source).map_err(|error| Error::Format(error.to_string()))?;
    let fails_at = if fault == Some(LiveDumpFault::Partial) { PARTIAL } else { u64::MAX };
    let write = || -> io::Result<u64> {
        let out = BufWriter::with_capacity(1 << 20, FromStart { file, offset: 0, fails_at });
        let mut encoder = Encoder::new(out, compression.into())?;
        minidump.write_head(|bytes| encoder.write_all(bytes))?;
        source.write_pages(&mut encoder)?;
        Ok(encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.offset)
    };
    let length = write().map_err(|error| refuse(errno_of(&error)))?;
    let mut header = Header {
        kind: Kind::KernelDump,
        architecture: machine.system.machine_arch.clone(),
        version: KERNELDUMPVERSION,
        architecture_version: KERNELDUMP_AMD64_VERSION,
        dump_length: length,
        dump_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        key_size: 0,
        block_size: 4096,
        hostname: machine.system.hostname.clone(),
        version_string: machine.system.version.clone(),
        panic_string: String::new(),
        compression: compression.code(),
        extent: minidump.size(),
    };
    match fault {
        Some(LiveDumpFault::Version) => header.version -= 1,
        Some(LiveDumpFault::Architecture) => header.architecture = "riscv64".to_owned(),
        Some(LiveDumpFault::Compression) => header.compression = (header.compression + 1) % 3,
        Some(LiveDumpFault::Encrypted) => header.key_size = 256,
        _ => {}
    }
    let mut bytes: [u8; kerneldump::HEADER_LENGTH] = header.encode();
    let mut offset = length.next_multiple_of(PAGE);
    match fault {
        Some(LiveDumpFault::NoHeader) => bytes.fill(0),
        // Where the size of the page bitmap is, or the compressed stream has begun.
        Some(LiveDumpFault::Damaged) => file.write_all_at(&[0; 4], 32).map_err(|error| refuse(errno_of(&error)))?,
        // In the name of the host.
        Some(LiveDumpFault::Parity) => bytes.iter_mut().skip(64).take(1).for_each(|byte| *byte ^= 1),
        Some(LiveDumpFault::Short) => {
            offset = offset.saturating_sub(PAGE);
            file.set_len(offset).map_err(|error| refuse(errno_of(&error)))?;
        }
        _ => {}
    }
    file.write_all_at(&bytes, offset).map_err(|error| refuse(errno_of(&error)))
}
