//! The kernel of a recorded machine, for its live dump and its virtual memory.
//!
//! The recorded kernel maps say which virtual addresses are mapped, with which permissions and page sizes,
//! but not where: memtool lays them out in RAM itself, in ascending order, with true page tables, a message
//! buffer that says so, and some pages that only the direct map reaches. amd64, arm64 and riscv64 only, as
//! `minidump_machdep.c` of each dumps it.

use super::built_in::BuiltIn;
use super::file::Machine;
use super::maps as known_maps;
use crate::error::{Error, Result};
use crate::memory_map::kernel_maps::{self, KernelMapping};
use std::collections::BTreeMap;
use vmcore::architecture::DirectMap;
use vmcore::bounds::{
    at_most, head, head_mut, item_mut, part_mut, saturating_u32, saturating_u64, saturating_usize, tail,
};
use vmcore::messages::MSG_MAGIC;
use vmcore::minidump::dump_avail::DumpAvail;
use vmcore::minidump::writer::directory_entries;
use vmcore::minidump::{Architecture, MAX_PAGES, PageSet};
use vmcore::pmap::amd64::{
    KERNBASE, KERNEL_MAP_BASE, KERNSTART, KvaLayout, PG_A, PG_G, PG_M, PG_NX, PG_PS, PG_RW, PG_V,
};
use vmcore::pmap::walk;
use vmcore::pmap::{Format, Protection, amd64, arm64, riscv};
use vmcore::segment::{add_range, coalesce};
use vmcore::symbols::Symbol;

/// Superpages from the base of amd64's kernel map to the kernel's image.
const KERNBASE_SUPERPAGES: u64 = (KERNBASE - KERNEL_MAP_BASE) / amd64::SUPERPAGE;

/// More page-table pages are not laid out; these map 32 GiB in small pages.
const MAX_TABLES: usize = 16384;

/// The size of the message buffer on a default kernel.
const MESSAGE_BUFFER: usize = 98232;

/// How many pages at each end of a segment only the direct map reaches, as the kernel's small allocations do.
const DIRECT_ONLY: u64 = 64;

/// The first kernel whose page bitmap counts pages through `dump_avail`.
const DUMP_AVAIL_SINCE: u32 = 1_300_000;

/// The first kernel that tells its layout in `kva_layout`, and has five levels where the processor does.
const KVA_LAYOUT_SINCE: u32 = 1_500_000;

/// No page bitmap is laid out for more pieces of memory.
const MAX_DUMP_AVAIL: usize = 128;

type Table = Vec<u64>;

/// The kernel as it lies in physical memory.
pub struct LaidOutKernel {
    pub(super) architecture: Architecture,
    /// All of its page tables.
    pub(super) format: Format,
    pub(super) direct_map: DirectMap,
    /// Pages whose contents the kernel determines, by physical address.
    pub(super) pages: BTreeMap<u64, Vec<u8>>,
    /// Page directory pages, by number from the base of the kernel map.
    pub(super) directories: BTreeMap<u64, Table>,
    /// Superpages from the base of the kernel map to its end.
    pub(super) superpages: u64,
    /// Physical pages that are mapped, and the page-table pages: ascending ranges.
    pub(super) mapped: Vec<(u64, u64)>,
    /// Physical pages that `vm_page_dump` has besides.
    pub(super) marked: Vec<(u64, u64)>,
    /// RAM in whole pages.
    pub(super) dump_avail: Vec<(u64, u64)>,
    pub(super) message_buffer: Vec<u8>,
    pub(super) symbols: BTreeMap<&'static str, Symbol>,
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

impl LaidOutKernel {
    /// Lays the kernel out.
    ///
    /// # Errors
    ///
    /// The machine is neither amd64 nor arm64 nor riscv64, or has too little memory or too much of it mapped in small
    /// pages.
    pub fn lay_out(machine: &Machine) -> Result<Self> {
        let architecture = Architecture::from_system(&machine.system).ok_or_else(|| {
            unknown(format!(
                "a recorded machine has a kernel on amd64, aarch64 and riscv64 only, and this one is {} with pages of {} bytes",
                machine.system.machine_arch, machine.system.page_size
            ))
        })?;
        let page = architecture.page_size();
        let [_, level, _] = architecture.levels();
        let dump_avail: Vec<(u64, u64)> = machine
            .memory
            .ram_within(0, 1 << 64)
            .into_iter()
            .filter_map(|(start, end)| Some((start.checked_next_multiple_of(page)?, end & !(page - 1))))
            .filter(|(start, end)| start < end)
            .collect();
        let maps = match &machine.kernel_maps {
            Some(maps) => maps.clone(),
            None => known_maps::of_architecture(architecture),
        };
        let format = format(machine, architecture, &maps);
        let base = architecture.kernel_base();
        let limit = match architecture {
            Architecture::Amd64 => 1 << 64,
            // The direct map is behind it; and at its end are devices (`PMAP_MAPDEV_EARLY_SIZE`).
            Architecture::Arm64 | Architecture::Arm64Large => u128::from(arm64::KERNEL_MAP_END - 8 * level.span()),
            Architecture::Riscv => u128::from(riscv::KERNEL_MAP_END - 4 * level.span()),
        };
        let is_kernels = |map: &KernelMapping| map.start >= base && u128::from(map.start) < limit;
        let maps: Vec<KernelMapping> = maps.into_iter().filter(is_kernels).collect();
        let image = Image::new(architecture, &maps, &dump_avail)?;
        let built_in = BuiltIn::of(machine);
        let mut layout = Layout {
            architecture,
            limit,
            image,
            pages: Pages::new(&free_pages(&dump_avail, built_in), image.end),
            ram: &dump_avail,
            tables: BTreeMap::new(),
            directories: BTreeMap::new(),
            dumped: Vec::new(),
        };
        for map in &maps {
            layout.map(map)?;
        }
        let message_buffer = message_buffer(machine);
        let buffer_pages = (message_buffer.len() as u64).next_multiple_of(page);
        let buffer_at = layout.pages.take(buffer_pages, page).ok_or_else(too_small)?;
        let mut marked = vec![(buffer_at, buffer_at + buffer_pages)];
        for &(start, end) in &dump_avail {
            let length = DIRECT_ONLY * page;
            marked.push((start, end.min(start.saturating_add(length))));
            marked.push((start.max(end.saturating_sub(length)), end));
        }
        let end = maps.iter().map(|map| map.end_address().min(limit)).max().unwrap_or_else(|| u128::from(base) + 1);
        let superpages = end.saturating_sub(u128::from(base)).div_ceil(level.span().into());
        let superpages = match architecture {
            // Whole page directories.
            Architecture::Amd64 => superpages.next_multiple_of(512),
            _ => superpages,
        };
        let mut pages: BTreeMap<u64, Vec<u8>> =
            layout.tables.values().map(|(at, table)| (*at, bytes_of(table))).collect();
        let direct_map = direct_map(machine, architecture, format, &dump_avail);
        let mut buffer = message_buffer.clone();
        // struct msgbuf stands behind its buffer (msgbufinit, sys/kern/subr_msgbuf.c).
        buffer.extend(directly(direct_map, buffer_at).to_le_bytes());
        buffer.extend(MSG_MAGIC.to_le_bytes());
        buffer.extend(saturating_u32(message_buffer.len()).to_le_bytes());
        let written = message_buffer.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        buffer.extend(saturating_u32(written).to_le_bytes());
        let mut address = buffer_at;
        for bytes in buffer.chunks(saturating_usize(page)) {
            pages.insert(address, bytes.to_vec());
            address += page;
        }
        let mut kernel = Self {
            architecture,
            format,
            direct_map,
            pages,
            directories: layout.directories,
            superpages: saturating_u64(superpages),
            mapped: coalesce(layout.dumped),
            marked,
            dump_avail: dump_avail.clone(),
            message_buffer,
            symbols: BTreeMap::new(),
        };
        if let Some(built_in) = built_in {
            kernel.load(built_in);
        }
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
        let architecture = self.architecture;
        let page = architecture.page_size();
        let image = match architecture {
            Architecture::Amd64 => KERNSTART..u64::MAX,
            Architecture::Arm64 | Architecture::Arm64Large => arm64::KERNBASE..arm64::IMAGE_END,
            Architecture::Riscv => riscv::KERNBASE..riscv::IMAGE_END,
        };
        let data = maps.iter().rfind(|map| image.contains(&map.start) && map.permissions.contains('w'))?;
        let data_end = u64::try_from(data.end_address()).ok()?;
        let variables_at = data_end.checked_sub(page)? & !(page - 1);
        let (variables_physical, _) = self.translate(variables_at)?;
        let pagetable_at = variables_at.checked_sub(page)?;
        // Before dump_avail counted pages, physical pages were counted from 0.
        let by_page = machine.system.osreldate < DUMP_AVAIL_SINCE;
        let covered = if by_page { vec![(0, self.dump_avail.last()?.1)] } else { self.dump_avail.clone() };
        let mut bitmap = PageSet::new(page, &covered);
        if self.dump_avail.len() > MAX_DUMP_AVAIL || bitmap.capacity() > MAX_PAGES {
            return None;
        }

        // The page tables above the directories; on arm64 the top one is in the kernel's image.
        let [upper_level, directory_level, _] = architecture.levels();
        let entries = usize::try_from(page / 8).ok()?;
        let mut tree = Tree::new(architecture, self.format);
        for (&number, directory) in &self.directories {
            let address = architecture.kernel_base() + number * upper_level.span();
            *tree.table(directory_level.shift, address) = directory.clone();
        }
        if architecture == Architecture::Amd64 {
            self.map_directly(maps, &mut tree);
        }
        let top_at = match architecture {
            Architecture::Amd64 | Architecture::Riscv => free.take(page, page)?,
            Architecture::Arm64 | Architecture::Arm64Large => self.translate(pagetable_at)?.0,
        };
        let placed = tree.place(top_at, free, &mut self.pages)?;

        let words = bitmap.capacity().div_ceil(64);
        let bitmap_size = words * 8;
        let bitmap_pages = bitmap_size.next_multiple_of(page);
        let bitmap_at = free.take(bitmap_pages, page)?;
        self.marked.push((bitmap_at, bitmap_at + bitmap_pages));
        for &(start, end) in &self.marked {
            bitmap.insert_range(start, end);
        }
        let mut address = bitmap_at;
        for first in (0..words).step_by(entries) {
            let numbers = first..words.min(first + page / 8);
            let words: Vec<u64> = if bitmap.has_pages_within(numbers.clone()) {
                numbers.map(|number| bitmap.word(number)).collect()
            } else {
                Vec::new()
            };
            // What a page's bytes lack is zeros.
            let used = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
            self.pages.insert(address, bytes_of(words.get(..used)?));
            address += page;
        }

        let words = |words: [u64; 1]| bytes_of(&words);
        let mut variables: Vec<(&'static str, Vec<u8>)> = vec![
            ("msgbufp", words([directly(self.direct_map, message_buffer) + self.message_buffer.len() as u64])),
            ("vm_page_dump", words([directly(self.direct_map, bitmap_at)])),
            ("version", format!("{}\n    built by memtool\n\0", machine.system.version).into_bytes()),
        ];
        let kernel_map = self.superpages * amd64::SUPERPAGE;
        match architecture {
            Architecture::Amd64 => {
                let nkpt = i32::try_from(self.superpages.saturating_sub(KERNBASE_SUPERPAGES)).ok()?;
                let four_levels = upper_level.shift + upper_level.bits;
                let kernel_map_at = *placed.get(&(four_levels, tree.number(four_levels, KERNEL_MAP_BASE)))?;
                variables.push(("KPML4phys", words([kernel_map_at])));
                let layout = self.kva_layout();
                if machine.system.osreldate >= KVA_LAYOUT_SINCE || layout != KvaLayout::LA48 {
                    variables.push(("KPML5phys", words([if kernel_map_at == top_at { 0 } else { top_at }])));
                    let ((low, high), kernel_map) = (layout.direct_map, layout.kernel_map);
                    variables.push(("kva_layout", bytes_of(&[0, 0, low, high, 0, 0, kernel_map])));
                }
                variables.push(("kernel_vm_end", words([KERNEL_MAP_BASE + kernel_map.min(2 * amd64::GIB)])));
                variables.push(("nkpt", nkpt.to_le_bytes().to_vec()));
            }
            Architecture::Arm64 | Architecture::Arm64Large | Architecture::Riscv => {
                let end = self.dump_avail.last()?.1;
                let kernel_vm_end = architecture.kernel_base() + self.superpages * directory_level.span();
                variables.push(("kernel_vm_end", words([kernel_vm_end])));
                variables.push(("dmap_phys_base", words([self.direct_map.physical])));
                variables.push(("dmap_phys_max", words([end])));
                variables.push(("dmap_max_addr", words([directly(self.direct_map, end)])));
                if architecture == Architecture::Riscv {
                    variables.push(("kernel_pmap_store", self.kernel_pmap(top_at)));
                } else {
                    self.symbols.insert("pagetable_l0_ttbr1", Symbol { address: pagetable_at, size: page });
                }
            }
        }
        variables.push(if by_page {
            let size = i32::try_from(bitmap_pages).ok()?;
            ("vm_page_dump_size", size.to_le_bytes().to_vec())
        } else {
            ("vm_page_dump_pages", bitmap.capacity().to_le_bytes().to_vec())
        });
        let pairs = self.dump_avail.iter().flat_map(|(start, end)| [*start, *end]).chain([0, 0]);
        variables.push(("dump_avail", pairs.flat_map(u64::to_le_bytes).collect()));
        if let Some(built_in) = BuiltIn::of(machine) {
            for (name, bytes) in variables {
                if let Some(symbol) = built_in.symbol(name) {
                    self.symbols.insert(name, symbol);
                    self.write(symbol.address, &bytes);
                }
            }
            return Some(());
        }
        let mut contents = Vec::new();
        for (name, bytes) in variables {
            let symbol = Symbol { address: variables_at + contents.len() as u64, size: bytes.len() as u64 };
            self.symbols.insert(name, symbol);
            contents.extend(&bytes);
            contents.resize(contents.len().next_multiple_of(8), 0);
        }
        if contents.len() as u64 > page {
            self.symbols.clear();
            return None;
        }
        self.pages.insert(variables_physical, contents);
        Some(())
    }

    /// Puts what the kernel that is built in has in memory into the pages of RAM.
    fn load(&mut self, built_in: &BuiltIn) {
        let page = self.architecture.page_size();
        for (start, bytes) in built_in.memory() {
            for (address, bytes) in (start..).step_by(saturating_usize(page)).zip(bytes.chunks(saturating_usize(page)))
            {
                if self.dump_avail.iter().any(|(start, end)| (*start..*end).contains(&address)) {
                    self.pages.insert(address, bytes.to_vec());
                    self.marked.push((address, address + page));
                }
            }
        }
    }

    /// Writes to the kernel's memory, where it is laid out.
    fn write(&mut self, address: u64, bytes: &[u8]) {
        for (address, byte) in (address..).zip(bytes) {
            let Some((physical, _)) = self.translate(address) else { return };
            let page = self.architecture.page_size();
            let contents = self.pages.entry(physical - physical % page).or_default();
            let at = saturating_usize(physical % page);
            if contents.len() <= at {
                contents.resize(at + 1, 0);
            }
            if let Ok(to) = item_mut(contents, at as u64) {
                *to = *byte;
            }
        }
    }

    /// riscv's `struct pmap` of the kernel: behind the lock and the statistics the address of the top-level page table
    /// and the value of `satp`.
    fn kernel_pmap(&self, top: u64) -> Vec<u8> {
        let mode = if self.format == Format::Sv48 { 9 } else { 8 };
        let mut words = [0; 24];
        let lock = self.architecture.kernel_base();
        for (word, value) in
            words.iter_mut().zip([lock, 0, 0, 4, 812, 9, directly(self.direct_map, top), mode << 60 | top >> 12])
        {
            *word = value;
        }
        bytes_of(&words)
    }

    /// Where amd64's kernel has its memory.
    fn kva_layout(&self) -> KvaLayout {
        if self.format == Format::Amd64La57 { KvaLayout::LA57 } else { KvaLayout::LA48 }
    }

    /// Maps the RAM in amd64's direct map: in pages of 1 GiB, but for superpages around the kernel's image, whose text
    /// and read-only data cannot be written there either (`bootaddr_rwx`).
    fn map_directly(&self, maps: &[KernelMapping], tree: &mut Tree) {
        let image: Vec<&KernelMapping> = maps.iter().filter(|map| map.start >= KERNSTART).collect();
        let image_end = image.iter().map(|map| map.end_address()).max().unwrap_or_default();
        let image_end = image_end.saturating_sub(KERNBASE.into());
        let writable = |physical: u64| {
            let (start, end) = (
                u128::from(KERNBASE) + u128::from(physical),
                u128::from(KERNBASE) + u128::from(physical + amd64::SUPERPAGE),
            );
            let mut here =
                image.iter().filter(|map| u128::from(map.start) < end && map.end_address() > start).peekable();
            here.peek().is_none() || here.any(|map| map.permissions.contains('w'))
        };
        let [.., upper, directory, _] = self.architecture.levels();
        for gib in gibs_of(&self.dump_avail) {
            let address = directly(self.direct_map, gib);
            if u128::from(gib) >= image_end {
                let entry = entry(self.architecture, EntryTarget::Superpage, gib, "rwg");
                set(tree.table(upper.shift, address), upper.index(address), entry);
                continue;
            }
            for physical in (gib..gib + amd64::GIB).step_by(2 << 20) {
                let address = directly(self.direct_map, physical);
                let entry = entry(
                    self.architecture,
                    EntryTarget::Superpage,
                    physical,
                    if writable(physical) { "rwg" } else { "rg" },
                );
                set(tree.table(directory.shift, address), directory.index(address), entry);
            }
        }
    }

    /// Where a variable of the kernel lies.
    pub fn symbol(&self, name: &str) -> Option<Symbol> {
        self.symbols.get(name).copied()
    }

    /// Physical pages that a dump has, ascending: what is mapped, and what `vm_page_dump` marks; of that only the
    /// first eighth if the kernel copies it short.
    pub(super) fn dumped(&self, short_copy: bool) -> Vec<(u64, u64)> {
        let limit = if short_copy { self.first_eighth() } else { u64::MAX };
        let marked = self.marked.iter().map(|(start, end)| (*start, (*end).min(limit)));
        let marked = marked.filter(|(start, end)| start < end);
        coalesce(self.mapped.iter().copied().chain(marked).collect())
    }

    /// Where the memory ends that the first eighth of the page bitmap stands for.
    fn first_eighth(&self) -> u64 {
        let covered = DumpAvail::new(self.architecture.page_size(), &self.dump_avail);
        covered.address_of(covered.bits().div_ceil(8)).unwrap_or(u64::MAX)
    }

    /// Where a kernel virtual address lies in physical memory, and how many bytes follow it there in one
    /// piece; `None` if it is not mapped. In the direct map every address counts as mapped, whether there is
    /// RAM behind it or not.
    pub fn translate(&self, address: u64) -> Option<(u64, u64)> {
        let DirectMap { base, end, physical } = self.direct_map;
        if (base..end).contains(&address) {
            return Some(((address - base).checked_add(physical)?, end - address));
        }
        // As in amd64's minidumps, the directories stand one behind another.
        let [_, level, _] = self.architecture.levels();
        let (base, entries) = (self.architecture.kernel_base(), self.superpages);
        let directories = walk::Table { level, physical: None, base, entries };
        let read = |table: &walk::Table, index| self.entry(table, index).ok_or(());
        let found = walk::lookup(self.architecture.format(), &directories, address, read, |_| {}).ok()?;
        Some((found.physical, found.remaining))
    }

    /// An entry of the page directories, or of a page table.
    fn entry(&self, table: &walk::Table, index: u64) -> Option<u64> {
        let Some(at) = table.physical else {
            let per_directory = directory_entries(self.architecture);
            let directory = self.directories.get(&(index / per_directory))?;
            return directory.get(usize::try_from(index % per_directory).ok()?).copied();
        };
        self.pages.get(&at)?.as_chunks().0.get(usize::try_from(index).ok()?).copied().map(u64::from_le_bytes)
    }

    /// Puts the kernel's own pages over bytes that were read from `address` on.
    pub fn overlay(&self, address: u64, buffer: &mut [u8]) {
        let end = address.saturating_add(buffer.len() as u64);
        let page_size = self.architecture.page_size();
        for (&at, page) in self.pages.range(address.saturating_sub(page_size - 1)..end) {
            let skipped = address.saturating_sub(at);
            let offset = at_most(at.saturating_sub(address), buffer.len());
            let to = head_mut(part_mut(buffer, offset..), page_size.saturating_sub(skipped));
            let from = head(tail(page, skipped), to.len());
            let (bytes, zeros) = to.split_at_mut(from.len());
            bytes.copy_from_slice(from);
            // What a page's bytes lack is zeros.
            zeros.fill(0);
        }
    }
}

/// RAM without what the kernel that is built in has in it.
fn free_pages(ram: &[(u64, u64)], built_in: Option<&BuiltIn>) -> Vec<(u64, u64)> {
    let mut free = ram.to_vec();
    for (start, bytes) in built_in.iter().flat_map(|kernel| kernel.memory()) {
        let end = start + bytes.len() as u64;
        let without = |range: (u64, u64)| [(range.0, range.1.min(start)), (range.0.max(end), range.1)];
        free = free.into_iter().flat_map(without).filter(|(start, end)| start < end).collect();
    }
    free
}

/// Where each GiB begins that has RAM.
fn gibs_of(ram: &[(u64, u64)]) -> Vec<u64> {
    let gibs = ram.iter().flat_map(|(start, end)| start / amd64::GIB..end.div_ceil(amd64::GIB));
    let mut gibs: Vec<u64> = gibs.filter_map(|number| number.checked_mul(amd64::GIB)).collect();
    gibs.dedup();
    gibs
}

/// The format of the page tables: amd64's have five levels where the direct map is that of five, riscv's four where the
/// machine says so.
fn format(machine: &Machine, architecture: Architecture, maps: &[KernelMapping]) -> Format {
    let (low, high) = KvaLayout::LA57.direct_map;
    let is_la57 = |map: &KernelMapping| map.region == kernel_maps::DIRECT_MAP && (low..high).contains(&map.start);
    match architecture {
        Architecture::Amd64 if maps.iter().any(is_la57) => Format::Amd64La57,
        Architecture::Riscv => machine.pmap_mode.map_or(architecture.format(), riscv::Mode::format),
        other => other.format(),
    }
}

/// Page tables that are laid out from the root down.
struct Tree {
    architecture: Architecture,
    format: Format,
    /// By the lowest bit of the index into them, and by number.
    tables: BTreeMap<(u32, u64), Table>,
}

impl Tree {
    fn new(architecture: Architecture, format: Format) -> Self {
        Self { architecture, format, tables: BTreeMap::new() }
    }

    /// The number of a level's table that an address is in; there is one root.
    fn number(&self, shift: u32, address: u64) -> u64 {
        let level = self.format.levels().iter().skip(1).find(|level| level.shift == shift);
        level.map_or(0, |level| address >> (level.shift + level.bits))
    }

    /// The table of a level that an address is in; it and those that lead to it are made.
    fn table(&mut self, shift: u32, address: u64) -> &mut Table {
        for level in self.format.levels().iter().filter(|level| level.shift > shift) {
            self.one(level.shift, address);
        }
        self.one(shift, address)
    }

    fn one(&mut self, shift: u32, address: u64) -> &mut Table {
        let entries = saturating_usize(self.architecture.page_size() / 8);
        self.tables.entry((shift, self.number(shift, address))).or_insert_with(|| vec![0; entries])
    }

    /// Puts the root at an address and all others where there is room, and tells where they are; `None` if there is
    /// none.
    fn place(
        &mut self,
        root: u64,
        free: &mut Pages,
        pages: &mut BTreeMap<u64, Vec<u8>>,
    ) -> Option<BTreeMap<(u32, u64), u64>> {
        let page = self.architecture.page_size();
        let mut placed = BTreeMap::new();
        // The lowest come first.
        let keys: Vec<(u32, u64)> = self.tables.keys().copied().collect();
        for (shift, number) in keys {
            let level = self.format.levels().iter().find(|level| level.shift == shift)?;
            let above = self.format.levels().iter().rfind(|level| level.shift > shift);
            let at = if above.is_some() { free.take(page, page)? } else { root };
            if let Some(above) = above {
                let address = number << (level.shift + level.bits);
                let key = (above.shift, self.number(above.shift, address));
                set(
                    self.tables.get_mut(&key)?,
                    above.index(address),
                    entry(self.architecture, EntryTarget::Table, at, ""),
                );
            }
            pages.insert(at, bytes_of(self.tables.get(&(shift, number))?));
            placed.insert((shift, number), at);
        }
        Some(placed)
    }
}

/// Where the direct map is. On arm64 and riscv it begins with the entry of level 1 that the lowest RAM is in
/// (`pmap_bootstrap_dmap`).
fn direct_map(machine: &Machine, architecture: Architecture, format: Format, ram: &[(u64, u64)]) -> DirectMap {
    let of = |(base, end): (u64, u64)| DirectMap { base, end, physical: 0 };
    match format {
        Format::Amd64 => return of(KvaLayout::LA48.direct_map),
        Format::Amd64La57 => return of(KvaLayout::LA57.direct_map),
        _ => {}
    }
    let [upper_level, ..] = architecture.levels();
    let [now, before] = arm64::DIRECT_MAPS;
    let (base, end) = match architecture {
        Architecture::Riscv => (riscv::DIRECT_MAP, riscv::DIRECT_MAP_END),
        _ if machine.system.osreldate < DUMP_AVAIL_SINCE => (before, arm64::DIRECT_MAP_END),
        _ => (now, arm64::DIRECT_MAP_END),
    };
    DirectMap { base, end, physical: ram.first().map_or(0, |range| range.0) & !(upper_level.span() - 1) }
}

/// The virtual address of RAM in the direct map.
fn directly(map: DirectMap, physical: u64) -> u64 {
    map.base.saturating_add(physical.saturating_sub(map.physical))
}

/// Where the kernel's image lies: in one piece, as the loader puts it.
#[derive(Clone, Copy)]
struct Image {
    base: u64,
    physical: u64,
    /// Physical.
    end: u64,
}

impl Image {
    fn new(architecture: Architecture, maps: &[KernelMapping], ram: &[(u64, u64)]) -> Result<Self> {
        let (base, image_end) = match architecture {
            Architecture::Amd64 => (KERNBASE, u64::MAX),
            Architecture::Arm64 | Architecture::Arm64Large => (arm64::KERNBASE, arm64::IMAGE_END),
            Architecture::Riscv => (riscv::KERNBASE, riscv::IMAGE_END),
        };
        let ends = maps.iter().filter(|map| (base..image_end).contains(&map.start)).map(KernelMapping::end_address);
        let length = ends.max().map_or(0, |end| end.saturating_sub(base.into()));
        let length = saturating_u64(length);
        if architecture == Architecture::Amd64 {
            return Ok(Self { base, physical: 0, end: length.max(0x10_0000) });
        }
        let [_, level, _] = architecture.levels();
        let physical = Pages::new(ram, 0).take(length, level.span()).ok_or_else(too_small)?;
        Ok(Self { base, physical, end: physical.saturating_add(length) })
    }
}

/// What an entry of a page table leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EntryTarget {
    Table,
    Superpage,
    Page,
}

fn entry(architecture: Architecture, kind: EntryTarget, physical: u64, permissions: &str) -> u64 {
    let [write, global, execute] = ['w', 'g', 'x'].map(|letter| permissions.contains(letter));
    let when = |set: bool, flags: u64| if set { flags } else { 0 };
    let read = true;
    if architecture == Architecture::Riscv {
        let attributes = riscv::attributes(Protection { read, write, execute });
        return riscv::frame(physical) | if kind == EntryTarget::Table { riscv::VALID } else { attributes };
    }
    physical
        | match (architecture, kind) {
            (Architecture::Amd64, EntryTarget::Table) => PG_V | PG_RW | PG_A | PG_M,
            (Architecture::Amd64, _) => {
                let size = when(kind == EntryTarget::Superpage, PG_PS);
                size | PG_V | PG_A | when(write, PG_RW | PG_M) | when(global, PG_G) | when(!execute, PG_NX)
            }
            (_, EntryTarget::Table) => arm64::TABLE,
            (_, _) => {
                let kind = if kind == EntryTarget::Superpage { arm64::BLOCK } else { arm64::L3_PAGE };
                kind | arm64::attributes(Protection { read, write, execute })
            }
        }
}

struct Layout<'a> {
    architecture: Architecture,
    /// The end of the kernel map.
    limit: u128,
    image: Image,
    pages: Pages,
    ram: &'a [(u64, u64)],
    /// Page-table pages, by number of the superpage they map, with their physical address.
    tables: BTreeMap<u64, (u64, Table)>,
    directories: BTreeMap<u64, Table>,
    dumped: Vec<(u64, u64)>,
}

impl Layout<'_> {
    fn map(&mut self, map: &KernelMapping) -> Result<()> {
        let architecture = self.architecture;
        let [upper_level, level, last] = architecture.levels();
        let (page, superpage) = (last.span(), level.span());
        // Pages of the largest size appear in a dump as superpages.
        let counts = |index: usize| map.pages.get(index).copied().unwrap_or(0);
        let per_largest = upper_level.span() / superpage;
        let mut superpages = counts(0).saturating_mul(per_largest).saturating_add(counts(1));
        let mut at = u128::from(map.start & !(page - 1));
        let end = map.end_address().min(self.limit);
        while at < end {
            let Ok(address) = u64::try_from(at) else { break };
            let fits = address.is_multiple_of(superpage) && at + u128::from(superpage) <= end;
            let size = if superpages > 0 && fits { superpage } else { page };
            // A machine smaller than its kernel maps: what does not fit stays unmapped.
            let Some(physical) = self.place(address, size) else { break };
            add_range(&mut self.dumped, physical, physical + size);
            if size == superpage {
                superpages -= 1;
                let entry = entry(architecture, EntryTarget::Superpage, physical, &map.permissions);
                set(self.directory(address), level.index(address), entry);
            } else {
                let entry = entry(architecture, EntryTarget::Page, physical, &map.permissions);
                set(self.table(address)?, last.index(address), entry);
            }
            at += u128::from(size);
        }
        Ok(())
    }

    /// The kernel's image lies where the loader puts it, everything else where there is room.
    fn place(&mut self, address: u64, size: u64) -> Option<u64> {
        let Image { base, physical, end } = self.image;
        if let Some(at) = address.checked_sub(base).and_then(|offset| offset.checked_add(physical))
            && at < end
            && self.is_ram(at, size)
        {
            return Some(at);
        }
        self.pages.take(size, size)
    }

    fn is_ram(&self, physical: u64, size: u64) -> bool {
        let next = self.ram.partition_point(|(start, _)| *start <= physical);
        next.checked_sub(1).and_then(|index| self.ram.get(index)).is_some_and(|(_, end)| physical + size <= *end)
    }

    fn directory(&mut self, address: u64) -> &mut Table {
        let [upper_level, ..] = self.architecture.levels();
        let number = (address - self.architecture.kernel_base()) >> upper_level.shift;
        let entries = self.architecture.page_size() / 8;
        let empty = || vec![0; saturating_usize(entries)];
        self.directories.entry(number).or_insert_with(empty)
    }

    fn table(&mut self, address: u64) -> Result<&mut Table> {
        let [_, level, _] = self.architecture.levels();
        let number = address >> level.shift;
        if !self.tables.contains_key(&number) {
            if self.tables.len() >= MAX_TABLES {
                return Err(unknown(
                    "kernel_maps: a recorded machine supports at most 32 GiB in small pages".to_owned(),
                ));
            }
            let page = self.architecture.page_size();
            let physical = self.pages.take(page, page).ok_or_else(too_small)?;
            // On arm64 and riscv the dump has the tables apart from the pages.
            if self.architecture == Architecture::Amd64 {
                add_range(&mut self.dumped, physical, physical + page);
            }
            let entry = entry(self.architecture, EntryTarget::Table, physical, "");
            set(self.directory(address), level.index(address), entry);
            self.tables.insert(number, (physical, vec![0; saturating_usize(page / 8)]));
        }
        self.tables.get_mut(&number).map(|(_, table)| table).ok_or_else(too_small)
    }
}

fn unknown(why: String) -> Error {
    vmcore::Error::UnknownKernel(why).into()
}

fn too_small() -> Error {
    unknown("the recorded machine has too little memory for a kernel".to_owned())
}

fn set(table: &mut Table, slot: u64, value: u64) {
    if let Ok(slot) = item_mut(table, slot) {
        *slot = value;
    }
}

fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn message_buffer(machine: &Machine) -> Vec<u8> {
    if let Some(kernel) = BuiltIn::of(machine) {
        let mut buffer = kernel.messages.clone();
        let name = &machine.system.hostname;
        let told = format!("memtool: this is the recorded machine '{name}', not a real one\n");
        buffer.extend(told.into_bytes());
        buffer.resize(MESSAGE_BUFFER, 0);
        return buffer;
    }
    let text = format!(
        "---<<BOOT>>---\n{}\nmemtool: live dump of the recorded machine '{}', not a real one\nreal memory  = {} ({} MB)\n",
        machine.system.version,
        machine.system.hostname,
        machine.memory.total(),
        machine.memory.total() >> 20
    );
    let mut buffer = text.into_bytes();
    buffer.resize(MESSAGE_BUFFER, 0);
    buffer
}
