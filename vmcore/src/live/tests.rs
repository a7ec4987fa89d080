use super::*;
use crate::dump::byte_source::ByteSource;
use crate::dump::{Content, Depth, inspect};
use crate::format::writer::SparseWrite;
use crate::messages::MSG_MAGIC;
use crate::minidump::writer::PageSource;
use crate::pmap::amd64::{
    GIB, KERNBASE, KERNEL_MAP_BASE, KERNSTART, KvaLayout, PAGE, PG_FRAME, PG_PS, PG_V, PHYSICAL_BITS, SUPERPAGE,
};
use crate::progress::Progress;
use crate::symbols::Symbol;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// The direct map of kernels with four levels.
const DIRECT_MAP: (u64, u64) = KvaLayout::LA48.direct_map;

/// Two pieces of RAM around the hole below 1 MiB, and a GiB that one page can map.
const RAM: [(u64, u64); 3] = [(0x1000, 0x9_f000), (0x10_0000, 0x200_0000), (0x4000_0000, 0x8000_0000)];
const VARIABLES: u64 = KERNSTART + 0x12_3000;

const PML4: u64 = 0x10_1000;
const POINTERS: u64 = 0x10_2000;
const DIRECTORY: u64 = 0x10_4000;
const TABLE: u64 = 0x10_5000;
const MESSAGES: u64 = 0x11_0000;
const BITMAP: u64 = 0x12_0000;
/// Where the variables lie in RAM, and the tables that map them: pointers, directory, table.
const VARIABLES_AT: u64 = 0x14_0000;
const IMAGE_TABLES: [u64; 3] = [0x15_0000, 0x15_1000, 0x15_2000];

mod arm64;
mod powerpc64;
mod riscv;

/// A kernel in memory that fails the test when anything but RAM is read.
#[derive(Clone)]
struct Machine {
    architecture: Architecture,
    /// Where its variables lie.
    variables_at: u64,
    pages: BTreeMap<u64, [u64; 512]>,
    unreadable: BTreeSet<u64>,
    symbols: BTreeMap<&'static str, Symbol>,
    variables: Vec<u8>,
    running: bool,
    /// Pages that were read whole.
    reads: Arc<Mutex<Vec<u64>>>,
}

struct Physical(Arc<Machine>);
struct Kernel(Arc<Machine>);

impl Memory for Physical {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let end = address + buffer.len() as u64;
        assert!(RAM.iter().any(|(from, to)| *from <= address && end <= *to), "{address:#x}..{end:#x} is not RAM");
        // Like the kernel, a page at a time.
        let page = address & !(PAGE - 1);
        if self.0.unreadable.contains(&page) {
            return Err(ReadError::Absent);
        }
        if address == page && buffer.len() == 4096 {
            self.0.reads.lock().unwrap().push(page);
        }
        let words = self.0.pages.get(&page).copied().unwrap_or_else(|| std::array::from_fn(|word| page | word as u64));
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let skip = usize::try_from(address - page).unwrap();
        let length = buffer.len().min(4096 - skip);
        buffer[..length].copy_from_slice(&bytes[skip..skip + length]);
        Ok(length)
    }
}

impl Memory for Kernel {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let at = usize::try_from(address.checked_sub(self.0.variables_at).expect("only variables are read")).unwrap();
        let bytes = self.0.variables.get(at..).filter(|bytes| !bytes.is_empty()).ok_or(ReadError::Absent)?;
        let length = bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        Ok(length)
    }
}

impl Symbols for Machine {
    fn find(&self, name: &str) -> crate::Result<Option<Symbol>> {
        Ok(self.symbols.get(name).copied())
    }

    fn source(&self) -> String {
        "the test".to_owned()
    }

    fn is_running_kernel(&self) -> bool {
        self.running
    }
}

/// A kernel that tells no symbols itself.
struct NoSymbols;

impl Symbols for NoSymbols {
    fn find(&self, _: &str) -> crate::Result<Option<Symbol>> {
        Ok(None)
    }

    fn source(&self) -> String {
        "the running kernel".to_owned()
    }

    fn is_running_kernel(&self) -> bool {
        true
    }
}

impl Machine {
    fn new() -> Self {
        let mut machine = Self::empty(Architecture::Amd64, VARIABLES);
        machine.map(PML4, 508, POINTERS | PG_V);
        machine.map(POINTERS, 0, DIRECTORY | PG_V);
        machine.map(DIRECTORY, 0, TABLE | PG_V);
        let [pointers, directory, table] = IMAGE_TABLES;
        machine.map(PML4, 511, pointers | PG_V);
        machine.map(pointers, 510, directory | PG_V);
        machine.map(directory, 1, table | PG_V);
        machine.set_common(DIRECT_MAP.0);
        machine.set_words("KPML4phys", [PML4]);
        machine.set_words("kernel_vm_end", [KERNEL_MAP_BASE + 5 * GIB]);
        machine.set_words("nkpt", [3]);
        machine
    }

    /// A machine with empty tables.
    fn empty(architecture: Architecture, variables_at: u64) -> Self {
        let mut machine = Self {
            architecture,
            variables_at,
            pages: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            symbols: BTreeMap::new(),
            variables: Vec::new(),
            running: true,
            reads: Arc::default(),
        };
        for page in [PML4, POINTERS, DIRECTORY, TABLE] {
            machine.pages.insert(page, [0; 512]);
        }
        for page in (BITMAP..BITMAP + 0x9000).step_by(4096) {
            machine.pages.insert(page, [0; 512]);
        }
        machine
    }

    /// The variables that all kernels have, and what they lead to, in a direct map that begins with this address for
    /// physical address 0.
    fn set_common(&mut self, direct_map: u64) {
        self.mark(MESSAGES);
        let messages = self.page(MESSAGES);
        messages[0] = direct_map + MESSAGES + 0x100;
        messages[1] = u64::from(MSG_MAGIC) | 0x1800 << 32;
        self.set_words("dump_avail", RAM.iter().flat_map(|(start, end)| [*start, *end]).chain([0, 0]));
        self.set_words("vm_page_dump", [direct_map + BITMAP]);
        self.set_words("vm_page_dump_pages", [PageSet::new(PAGE, &RAM).capacity()]);
        self.set_words("msgbufp", [direct_map + MESSAGES]);
    }

    fn page(&mut self, page: u64) -> &mut [u64; 512] {
        self.pages.entry(page).or_insert([0; 512])
    }

    fn map(&mut self, table: u64, index: usize, entry: u64) {
        self.page(table)[index] = entry;
    }

    /// Marks a page in the kernel's bitmap.
    fn mark(&mut self, page: u64) {
        let mut first = 0;
        for (start, end) in RAM {
            if (start..end).contains(&page) {
                self.mark_bit(first + (page - start) / PAGE);
            }
            first += (end - start) / PAGE;
        }
    }

    fn mark_bit(&mut self, bit: u64) {
        let word = usize::try_from(bit / 64 % 512).unwrap();
        self.page(BITMAP + bit / (8 * PAGE) * PAGE)[word] |= 1 << (bit % 64);
    }

    fn set(&mut self, name: &'static str, bytes: &[u8]) {
        let address = self.variables_at + self.variables.len() as u64;
        self.symbols.insert(name, Symbol { address, size: bytes.len() as u64 });
        self.variables.extend(bytes);
        self.variables.resize(self.variables.len().next_multiple_of(8), 0);
    }

    fn set_words(&mut self, name: &'static str, words: impl IntoIterator<Item = u64>) {
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        self.set(name, &bytes);
    }

    fn with<R>(&self, ram: Option<&[(u64, u64)]>, work: impl FnOnce(LiveKernel<'_>) -> Result<R>) -> Result<R> {
        let mut machine = self.clone();
        if self.architecture == Architecture::Arm64 {
            // The top-level table is a part of the image.
            machine.variables.resize(4096, 0);
            machine.variables.extend(machine.pages[&PML4].iter().flat_map(|entry| entry.to_le_bytes()));
        }
        let first = usize::try_from(self.variables_at >> 12 & 511).unwrap();
        let bits = if self.architecture == Architecture::Amd64 { PG_V } else { 3 };
        let variables = machine.variables.clone();
        for (number, bytes) in variables.chunks(4096).enumerate() {
            let at = VARIABLES_AT + number as u64 * PAGE;
            let entry = if self.architecture == Architecture::Riscv { at >> 2 | 0xcf } else { at | bits };
            machine.map(IMAGE_TABLES[2], first + number, entry);
            for (word, bytes) in machine.page(at).iter_mut().zip(bytes.as_chunks().0) {
                *word = u64::from_le_bytes(*bytes);
            }
        }
        let machine = Arc::new(machine);
        let (kernel, physical) = (Box::new(Kernel(Arc::clone(&machine))), Box::new(Physical(machine)));
        let source = LiveSource {
            machine: crate::minidump::Machine::Tree(self.architecture),
            version: "FreeBSD 14.2 of the test".to_owned(),
            own_symbols: &NoSymbols,
            kernel,
            physical,
            ram: ram.map(<[_]>::to_vec),
        };
        work(LiveKernel::open(source, self)?)
    }

    /// The pages in its dump, as runs.
    fn runs(&self) -> Result<Vec<(u64, u64)>> {
        self.with(None, |live| Ok(live.snapshot()?.pages.runs().collect()))
    }

    fn error(&self) -> String {
        self.with(None, |live| live.snapshot().map(drop)).unwrap_err().to_string()
    }
}

/// Asserts that memory which the direct map, from this address on, does not reach is left out and not read, so that what
/// is always there is dumped, and one page more.
fn check_unreached(machine: &mut Machine, direct_map: u64, always: &[(u64, u64)]) {
    machine.mark(0x4000_0000);
    machine.mark(0x7fff_f000);
    machine.set_words("dmap_phys_max", [0x7fff_f000]);
    machine.set_words("dmap_max_addr", [direct_map + 0x7fff_f000]);
    let found = machine.with(None, |live| {
        let snapshot = live.snapshot()?;
        Ok((snapshot.pages.runs().collect::<Vec<_>>(), snapshot.not_ram))
    });
    let expected = [always, &[(0x4000_0000, 0x4000_1000)]].concat();
    assert_eq!(found.unwrap(), (expected, 1));
}

/// Asserts that a variable with these words is refused, each with its name and these words of what is wrong.
fn check_refusals(machine: impl Fn() -> Machine, cases: Vec<(&'static str, Vec<u64>, &str)>) {
    for (name, words, text) in cases {
        let mut machine = machine();
        machine.set_words(name, words.clone());
        let error = machine.error();
        assert!(error.contains(name) && error.contains(text), "{name} {words:x?}: {error}");
    }
}

/// A dump in memory.
#[derive(Default)]
struct Written(Vec<u8>);

impl SparseWrite for Written {
    fn position(&self) -> u64 {
        self.0.len() as u64
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.extend(bytes);
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> Result<()> {
        self.0.resize(self.0.len() + usize::try_from(count).unwrap(), 0);
        Ok(())
    }
}

/// Writes the dump and gives the report and the bytes.
fn written(snapshot: &Snapshot<'_>) -> (UserDumpReport, Vec<u8>) {
    let (progress, mut out) = (Progress::default(), Written::default());
    let report = snapshot.write(&mut out, &progress).unwrap();
    assert_eq!(progress.done(), snapshot.page_bytes());
    (report, out.0)
}

#[test]
fn what_is_marked_and_what_is_mapped_is_dumped_if_it_is_ram() {
    let mut machine = Machine::new();
    machine.map(TABLE, 0, 0x30_0000 | PG_V);
    // A device, a page beyond all memory, and an entry that is not valid.
    machine.map(TABLE, 1, 0xfee0_0000 | PG_V);
    machine.map(TABLE, 2, PG_FRAME | PG_V);
    machine.map(TABLE, 3, 0x31_0000);
    machine.map(TABLE, 511, 0x9_e000 | PG_V | 1 << 63);
    machine.map(DIRECTORY, 1, 0x80_0000 | PG_V | PG_PS);
    machine.map(DIRECTORY, 2, 0xfec0_0000 | PG_V | PG_PS);
    // Reaches over the end of RAM.
    machine.map(DIRECTORY, 511, 0x1e0_0000 | PG_V | PG_PS);
    machine.mark(0x1000);
    machine.mark(0x4000_5000);
    let expected = [
        (0x1000, 0x2000),
        (0x9_e000, 0x9_f000),
        (TABLE, TABLE + PAGE),
        (MESSAGES, MESSAGES + PAGE),
        (VARIABLES_AT, VARIABLES_AT + PAGE),
        (IMAGE_TABLES[2], IMAGE_TABLES[2] + PAGE),
        (0x30_0000, 0x30_1000),
        (0x80_0000, 0xa0_0000),
        (0x1e0_0000, 0x200_0000),
        (0x4000_5000, 0x4000_6000),
    ];
    assert_eq!(machine.runs().unwrap(), expected);
}

#[test]
fn a_page_of_1_gib_becomes_512_superpages() {
    let mut machine = Machine::new();
    machine.map(POINTERS, 1, 0x4000_0000 | PG_V | PG_PS | 2);
    let directory = machine.with(None, |live| {
        let snapshot = live.snapshot()?;
        assert!(snapshot.page_set().contains(0x7fff_f000));
        Ok(snapshot.directory(1).unwrap().to_vec())
    });
    let directory = directory.unwrap();
    assert_eq!(directory[0], 0x4000_0000 | PG_V | PG_PS | 2);
    assert_eq!(directory[511], (0x4000_0000 + 511 * SUPERPAGE) | PG_V | PG_PS | 2);
}

#[test]
fn entries_of_ones_lead_to_no_ram() {
    for table in [POINTERS, DIRECTORY, TABLE] {
        let mut machine = Machine::new();
        machine.map(table, 1, u64::MAX);
        assert_eq!(machine.runs().unwrap(), Machine::new().runs().unwrap(), "{table:#x}");
    }
}

#[test]
fn the_dump_goes_as_far_as_the_kernel_map() {
    let count = |machine: &Machine| machine.with(None, |live| Ok(live.snapshot()?.superpages / 512)).unwrap();
    let mut machine = Machine::new();
    assert_eq!(count(&machine), 2047, "nkpt superpages from KERNBASE on");
    machine.set_words("nkpt", [1024]);
    assert_eq!(count(&machine), 2048);
    machine.set_words("kernel_vm_end", [u64::MAX]);
    machine.set_words("nkpt", [0]);
    assert_eq!(count(&machine), 2048);
}

#[test]
fn pages_that_cannot_be_read_are_zeros_and_counted() {
    let mut machine = Machine::new();
    machine.map(DIRECTORY, 1, 0x80_0000 | PG_V | PG_PS);
    machine.unreadable.extend([0x80_3000, 0x80_4000, 0x90_0000]);
    let (report, bytes) = machine.with(None, |live| Ok(written(&live.snapshot()?))).unwrap();
    assert_eq!(report.unreadable.bytes(), 3 * PAGE);
    assert_eq!((report.pages, report.lost_tables), (516, 0));
    assert_eq!(report.size, bytes.len() as u64);
    let pages: Vec<&[u8]> = bytes[bytes.len() - 512 * 4096..].chunks(4096).collect();
    for (number, page) in pages.into_iter().enumerate() {
        let zeros = page.iter().all(|byte| *byte == 0);
        assert_eq!(zeros, [3, 4, 0x100].contains(&number), "page {number}");
    }
}

#[test]
fn tables_that_cannot_be_read_lead_nowhere() {
    let mut machine = Machine::new();
    machine.unreadable.insert(0x10_6000);
    for (index, entry) in [0xa_0000, 0x10_6000, 0xfee0_0000, PG_FRAME].into_iter().enumerate() {
        machine.map(DIRECTORY, index + 1, entry | PG_V);
        machine.map(POINTERS, index + 1, entry | PG_V);
    }
    machine.map(PML4, 509, 0xa_0000 | PG_V);
    let lost = machine.with(None, |live| Ok(live.snapshot()?.lost_tables)).unwrap();
    assert_eq!(lost, 9);
}

#[test]
fn tables_that_point_to_each_other_are_walked_once() {
    let mut machine = Machine::new();
    machine.map(POINTERS, 1, PML4 | PG_V);
    machine.map(POINTERS, 2, POINTERS | PG_V);
    machine.map(TABLE, 7, TABLE | PG_V);
    machine.map(PML4, 510, PML4 | PG_V);
    let runs = machine.runs().unwrap();
    assert!(runs.iter().any(|(start, end)| *start <= POINTERS && *end > POINTERS), "{runs:x?}");
}

#[test]
fn the_first_variable_that_the_kernel_uses_leads_to_the_root() {
    let mut machine = Machine::new();
    machine.set_words("KPML5phys", [0]);
    assert_eq!(machine.runs().unwrap(), Machine::new().runs().unwrap());
    for (name, top, words) in [
        ("KPML5phys", 0xa_0000, "at 0xa0000 there is no page of RAM"),
        // A kernel with five levels has the four below, too: nothing else may be tried.
        ("KPML5phys", PML4, "do not map the kernel"),
        ("KPML4phys", 0, "at 0x0 there is no page of RAM"),
    ] {
        let mut machine = Machine::new();
        machine.set_words(name, [top]);
        let error = machine.error();
        assert!(error.contains(name) && error.contains(words), "{error}");
    }
}

#[test]
fn a_page_table_is_read_once_however_many_entries_name_it() {
    let mut machine = Machine::new();
    for index in 1..512 {
        machine.map(DIRECTORY, index, TABLE | PG_V);
    }
    machine.map(POINTERS, 1, 0x10_7000 | PG_V);
    machine.map(0x10_7000, 511, TABLE | PG_V);
    machine.with(None, |live| live.snapshot().map(drop)).unwrap();
    let reads = machine.reads.lock().unwrap();
    for table in [PML4, POINTERS, DIRECTORY, TABLE, 0x10_7000] {
        let count = reads.iter().filter(|page| **page == table).count();
        // Of the top-level table, only the entries of the kernel map.
        assert_eq!(count, usize::from(table != PML4), "{table:#x}");
    }
}

#[test]
fn what_the_memory_map_does_not_list_is_never_read() {
    let mut machine = Machine::new();
    machine.map(DIRECTORY, 1, 0x80_0000 | PG_V | PG_PS);
    machine.mark(0x70_0000);
    let ram = [(0, 0x9_f000), (0x10_0000, 0x50_0000), (0x80_0800, 0x80_4800)];
    let found = machine.with(Some(&ram), |live| {
        let snapshot = live.snapshot()?;
        Ok((snapshot.pages.runs().collect::<Vec<_>>(), snapshot.not_ram))
    });
    let kernel = [TABLE, MESSAGES, VARIABLES_AT, IMAGE_TABLES[2]].map(|page| (page, page + PAGE));
    let expected = [&kernel[..], &[(0x80_1000, 0x80_4000)]].concat();
    assert_eq!(found.unwrap(), (expected, 1));
}

#[test]
fn a_bitmap_that_counts_physical_pages_says_the_same() {
    let mut by_range = Machine::new();
    let pages = [0x1000, 0x9_e000, 0x10_0000, 0x1ff_f000, 0x4000_0000, 0x7fff_f000];
    let mut by_page = Machine::new();
    for page in (BITMAP..BITMAP + 0x1_0000).step_by(4096) {
        by_page.pages.insert(page, [0; 512]);
    }
    for page in pages.into_iter().chain([MESSAGES]) {
        by_range.mark(page);
        by_page.mark_bit(page / PAGE);
    }
    // Pages in holes.
    by_page.mark_bit(0);
    by_page.mark_bit(0xa0);
    by_page.symbols.remove("vm_page_dump_pages");
    by_page.set("vm_page_dump_size", &0x1_0000u32.to_le_bytes());
    assert_eq!(by_page.runs().unwrap(), by_range.runs().unwrap());
}

#[test]
fn variables_may_point_into_the_kernel_map() {
    let mut machine = Machine::new();
    machine.map(TABLE, 5, MESSAGES | PG_V);
    for (slot, page) in (BITMAP..BITMAP + 0x9000).step_by(4096).enumerate() {
        machine.map(TABLE, 0x10 + slot, page | PG_V);
    }
    machine.set_words("msgbufp", [KERNEL_MAP_BASE + 0x5000]);
    machine.set_words("vm_page_dump", [KERNEL_MAP_BASE + 0x1_0000]);
    machine.mark(0x70_0000);
    assert!(machine.runs().unwrap().contains(&(0x70_0000, 0x70_1000)));
}

#[test]
fn a_missing_symbol_is_named() {
    for name in ["dump_avail", "vm_page_dump", "msgbufp", "KPML4phys", "kernel_vm_end", "nkpt"] {
        let mut machine = Machine::new();
        machine.symbols.remove(name);
        let error = machine.error();
        assert!(error.contains(&format!("the test has no symbol '{name}'")), "{error}");
    }
    let mut machine = Machine::new();
    machine.symbols.remove("vm_page_dump_pages");
    assert!(machine.error().contains("'vm_page_dump_size'"));
}

#[test]
fn a_symbol_outside_of_the_kernels_image_is_not_read() {
    for address in [0, 0xa_0000, DIRECT_MAP.0 + 0xa_0000, KERNBASE + 0xa_0000, u64::MAX - 3] {
        let mut machine = Machine::new();
        machine.symbols.insert("nkpt", Symbol { address, size: 4 });
        assert!(machine.error().contains("outside of the kernel's image"), "{address:#x}");
    }
}

#[test]
fn an_image_must_be_the_running_kernels() {
    let mut machine = Machine::new();
    machine.running = false;
    assert!(machine.error().contains("no symbol 'version'"));
    machine.set("version", b"FreeBSD 14.1 of the test\n");
    assert!(machine.error().contains("not the image of the running kernel"));
    machine.set("version", b"FreeBSD 14.2 of the test\n    somebody@somewhere");
    machine.runs().unwrap();
}

#[test]
fn kernels_with_memory_elsewhere_are_refused() {
    let mut machine = Machine::new();
    let (low, high) = DIRECT_MAP;
    for (direct_map, kernel_map, words) in [
        ((low, high), KERNEL_MAP_BASE - GIB, "begins at 0xfffffdffc0000000 (kva_layout)"),
        ((high, low), KERNEL_MAP_BASE, "kva_layout is not as expected"),
        ((0, high), KERNEL_MAP_BASE, "kva_layout is not as expected"),
        ((low + 1, high), KERNEL_MAP_BASE, "kva_layout is not as expected"),
    ] {
        // Other members have the borders that are looked for.
        let (low, high) = (direct_map.0, direct_map.1);
        machine
            .set_words("kva_layout", [0, 0, low, high, 0, 0, kernel_map, DIRECT_MAP.0, DIRECT_MAP.1, KERNEL_MAP_BASE]);
        let error = machine.error();
        assert!(error.contains(words), "{error}");
    }
    machine.set_words("kva_layout", [0, 0, low, high, 0, 0, KERNEL_MAP_BASE, 0, 0, 0]);
    machine.runs().unwrap();
}

/// Variables that no kernel has, and words of what is said about them.
#[test]
fn senseless_variables_are_refused() {
    let endless: Vec<u64> = (0..600).map(|border| 0x1000 + border * 0x1000).collect();
    let cases: Vec<(&'static str, Vec<u64>, &str)> = vec![
        ("dump_avail", endless, "no end within 255 ranges"),
        ("dump_avail", vec![0x1000, 0x2000], "no end within 1 ranges"),
        ("dump_avail", vec![0, 0], "it is empty"),
        ("dump_avail", vec![0x3000, 0x2000, 0, 0], "range 0"),
        ("dump_avail", vec![0x1000, 0x3000, 0x2000, 0x4000, 0, 0], "range 1"),
        ("dump_avail", vec![0x1000, 0x3001, 0, 0], "range 0"),
        ("dump_avail", vec![0x1000, (1 << PHYSICAL_BITS) + PAGE, 0, 0], "range 0"),
        ("dump_avail", vec![0x1000, u64::MAX, 0, 0], "range 0"),
        ("vm_page_dump_pages", vec![0], "dump_avail has"),
        ("vm_page_dump_pages", vec![u64::MAX], "dump_avail has"),
        ("vm_page_dump", vec![0], "there is no RAM"),
        ("vm_page_dump", vec![DIRECT_MAP.0 + 0xa_0000], "there is no RAM"),
        ("vm_page_dump", vec![u64::MAX], "there is no RAM"),
        ("msgbufp", vec![DIRECT_MAP.0 + 0xa_0000], "there is no RAM"),
        ("msgbufp", vec![DIRECT_MAP.0 + 0x20_0000], "magic"),
        ("KPML4phys", vec![0xa_0000], "no page of RAM"),
        ("KPML4phys", vec![PML4 + 8], "no page of RAM"),
        ("KPML4phys", vec![u64::MAX - 4095], "no page of RAM"),
        ("KPML4phys", vec![POINTERS], "do not map the kernel"),
        ("nkpt", vec![1025], "nkpt"),
        ("nkpt", vec![u64::from(u32::MAX)], "nkpt"),
        ("kernel_vm_end", vec![0], "kernel_vm_end"),
    ];
    check_refusals(Machine::new, cases);
    for (word, value) in [(1, u64::from(MSG_MAGIC)), (1, u64::from(MSG_MAGIC) | 0xffff_ffff << 32), (0, DIRECT_MAP.0)] {
        let mut machine = Machine::new();
        machine.page(MESSAGES)[word] = value;
        let error = machine.error();
        assert!(error.contains("message buffer"), "{error}");
    }
    for size in [0u32, 0xffff, 0x1_0001, u32::MAX] {
        let mut machine = Machine::new();
        machine.symbols.remove("vm_page_dump_pages");
        machine.set("vm_page_dump_size", &size.to_le_bytes());
        assert!(machine.error().contains("vm_page_dump_size"), "{size}");
    }
}

#[test]
fn a_kernel_that_loses_pages_is_found_out() {
    let mut machine = Machine::new();
    for page in 0..640 {
        machine.mark(0x100_0000 + page * PAGE);
    }
    let dump = machine.with(None, |live| Ok(written(&live.snapshot()?).1)).unwrap();
    let inspection = inspect(&ByteSource::from_bytes(dump), Depth::Full, &Progress::default()).unwrap();
    assert_eq!(inspection.damage, []);
    let Content::Minidump(facts) = inspection.content else { panic!("{:?}", inspection.content) };
    let loss = |machine: &Machine| machine.with(None, |live| Check::before(live)?.after(&facts.pages)).unwrap();
    assert_eq!(loss(&machine), Loss { marked: 641, lost: 0 });
    for page in 0..10 {
        machine.mark(0x4000_0000 + page * PAGE);
    }
    assert_eq!(loss(&machine), Loss { marked: 651, lost: 10 });
    assert!(!loss(&machine).is_too_large());
    machine.mark(0x5000_0000);
    assert!(loss(&machine).is_too_large());
}

proptest! {
    #[test]
    fn whatever_page_tables_hold_only_ram_is_read(
        entries in proptest::collection::vec((0usize..4, 0usize..512, prop_oneof![
            any::<u64>(),
            (0u64..0x200).prop_map(|page| (page * PAGE) | PG_V),
            (0u64..0x200, any::<u8>()).prop_map(|(page, flags)| (page * PAGE) | u64::from(flags)),
        ]), 0..60),
    ) {
        let mut machine = Machine::new();
        for (table, index, entry) in entries {
            machine.map([PML4, POINTERS, DIRECTORY, TABLE][table], index, entry);
        }
        machine.map(PML4, 510, POINTERS | PG_V);
        // Without the kernel's image it is no kernel.
        let Ok(runs) = machine.runs() else { return Ok(()) };
        for (start, end) in runs {
            prop_assert!(RAM.iter().any(|(from, to)| *from <= start && end <= *to));
        }
    }
}
