//! A kernel in a minidump whose image has types (`.SUNW_ctf`): variables, functions and objects in its memory, laid out by
//! the types that a test defines, for what reads them by these types.
//!
//! Sources: ctf(5), `sys/pcpu.h` and `net/vnet.h` (sections of variables), and those of the other modules here.
//!
//! A test defines types, places objects, and has the program read the dump:
//!
//! ```
//! use vmcore_synth::Arch;
//! use vmcore_synth::typed_kernel::{Basic, TypedKernel};
//!
//! let mut kernel = TypedKernel::new(Arch::Powerpc64);
//! let Basic { int, character, .. } = kernel.basic;
//! let comm = kernel.types.array(character, 20);
//! let process = kernel.types.reserve();
//! let link = kernel.types.pointer(process);
//! kernel.types.at(process).record("proc", &[("p_next", link), ("p_pid", int), ("p_comm", comm)]);
//! kernel.variable("allproc", link);
//!
//! let init = kernel.allocate(process);
//! kernel.set(init, process, "p_pid", 1);
//! kernel.set_text(init, process, "p_comm", "init");
//! kernel.set_variable("allproc", "", init);
//!
//! let (dump, image) = (kernel.dump(), kernel.image());
//! assert!(dump.starts_with(b"minidump FreeBSD/powerpc64") && image.starts_with(b"\x7fELF"));
//! ```

use super::arch::{Arch, Endianness};
use super::ctf::{BOOL, Builder, CHAR, CtfSpec, SIGNED, Signature, Type};
use super::image::{
    ET_EXEC, FUNC, GLOBAL, Image, LOCAL, NOTYPE, OBJECT, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_PROGBITS, Section,
    Symbol, TARGETS, Target, bss, section, symbol,
};
use super::spec::{Mapping, MinidumpSpec};
use std::collections::{BTreeMap, BTreeSet};

const PAGE: u64 = 4096;
/// Parts of memory with higher numbers are modules: behind the regions and the build ID.
const MODULES: usize = 6;
/// Where amd64's loader has physical address 0.
const KERNBASE: u64 = 0xffff_ffff_8000_0000;
/// Bytes of RAM.
const RAM: u64 = 64 << 20;
/// Bytes from one region of memory to the next: as many as one page table maps on amd64.
const REGION: u64 = 2 << 20;
/// `kern.version` of it.
pub const VERSION: &str = "FreeBSD 15.1-RELEASE releng/15.1-n281042-6c9f1e2d7b50 GENERIC\n";

/// Where something is in memory, in the order of its regions; the last has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Region {
    Text,
    Data,
    PerCpu,
    PerVnet,
    Bss,
    Heap,
}

/// Where the parts of a kernel are.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The address of each region: code, data, variables of CPUs and of network stacks, data without contents in the image,
    /// and objects.
    pub regions: [u64; 6],
    /// The build ID's.
    pub build_id: u64,
    /// Whether everything is in physical memory where the loader puts it: the image from its base on, and the objects where the
    /// direct map has them. If not, pages that follow each other virtually do not so physically.
    pub is_as_loaded: bool,
    /// `kern.version`.
    pub version: &'static str,
}

/// Names of the sections of all regions but the heap, whose numbers count from 1.
const SECTIONS: [(&str, u64); 5] = [
    (".text", SHF_EXECINSTR),
    (".data", SHF_WRITE),
    ("set_pcpu", SHF_WRITE),
    ("set_vnet", SHF_WRITE),
    (".bss", SHF_WRITE),
];

/// Types that most tests need.
#[derive(Clone, Copy, Debug)]
pub struct Basic {
    pub void: Type,
    pub character: Type,
    pub boolean: Type,
    pub unsigned_char: Type,
    pub short: Type,
    pub unsigned_short: Type,
    pub int: Type,
    pub unsigned_int: Type,
    pub long: Type,
    pub unsigned_long: Type,
    pub long_long: Type,
    pub unsigned_long_long: Type,
    /// `void *`.
    pub pointer: Type,
    /// `char *`.
    pub string: Type,
}

impl Basic {
    fn new(types: &mut Builder) -> Self {
        let word = types.spec.word as u64;
        let (void, character) = (types.void(), types.integer("char", 1, SIGNED | CHAR));
        Self {
            void,
            character,
            boolean: types.integer("_Bool", 1, BOOL),
            unsigned_char: types.integer("unsigned char", 1, CHAR),
            short: types.integer("short", 2, SIGNED),
            unsigned_short: types.integer("unsigned short", 2, 0),
            int: types.integer("int", 4, SIGNED),
            unsigned_int: types.integer("unsigned int", 4, 0),
            long: types.integer("long", word, SIGNED),
            unsigned_long: types.integer("unsigned long", word, 0),
            long_long: types.integer("long long", 8, SIGNED),
            unsigned_long_long: types.integer("unsigned long long", 8, 0),
            pointer: types.pointer(void),
            string: types.pointer(character),
        }
    }
}

/// The head of a list: where elements have the pointers of it, and where the head has the one to the last of these.
#[derive(Clone, Copy)]
struct ListHead {
    next: u64,
    previous: Option<u64>,
    last: Option<u64>,
}

/// The members of lists of queue(3): the first of a head, its last, and those of elements.
const LISTS: [[&str; 4]; 5] = [
    ["lh_first", "", "le_next", "le_prev"],
    ["clh_first", "", "cle_next", "cle_prev"],
    ["tqh_first", "tqh_last", "tqe_next", "tqe_prev"],
    ["stqh_first", "stqh_last", "stqe_next", ""],
    ["cstqh_first", "cstqh_last", "cstqe_next", ""],
];

impl ListHead {
    /// That of the member at a path, if it is one and elements are in one such list only.
    fn new(types: &Builder, of: Type, path: &str) -> Option<Self> {
        let (before, name) = path.rsplit_once('.').unwrap_or(("", path));
        let [first, last, next, previous] = LISTS.into_iter().find(|[first, ..]| *first == name)?;
        let element = types.target(types.type_of(of, path))?;
        let [next] = types.offsets_of(element, next)[..] else { return None };
        let head = types.type_of(of, before);
        let last = types.offsets_of(head, last).first().map(|last| last - types.offset_of(head, first));
        Some(Self { next, previous: types.offsets_of(element, previous).first().copied(), last })
    }
}

/// A kernel as it is being built. The order of variables and functions is that of the symbol table.
pub struct TypedKernel {
    pub arch: Arch,
    pub types: Builder,
    pub basic: Basic,
    pub dump: MinidumpSpec,
    placement: Placement,
    /// The end of RAM.
    ram_end: u64,
    /// The address of the first region.
    base: u64,
    /// The contents of each region.
    regions: [Vec<u8>; 6],
    symbols: Vec<Symbol>,
    variables: BTreeMap<String, (u64, Type)>,
    /// The heads of lists that have elements.
    lists: BTreeMap<u64, ListHead>,
    /// What is in memory besides the regions.
    loaded: Vec<(u64, Vec<u8>)>,
    /// Pages that are mapped, but not in the dump.
    omitted: BTreeSet<u64>,
    /// Whether the image has its types.
    pub has_types: bool,
    /// Whether the image has the contents of memory, which that of debug information lacks.
    pub has_contents: bool,
    /// The byte that its build ID consists of; without one it has none.
    pub build_id: Option<u8>,
}

/// `SHT_NOTE`.
const SHT_NOTE: u32 = 7;

/// What an image of an architecture is for.
pub fn target(arch: Arch) -> Target {
    let machine = u16::try_from(super::elf::machine(arch)).unwrap();
    *TARGETS.iter().find(|target| target.machine == machine).unwrap()
}

impl TypedKernel {
    /// A kernel with the newest minidump of its architecture, and CTF of version 3.
    pub fn new(arch: Arch) -> Self {
        let mut dump = MinidumpSpec::example(arch, arch.newest());
        let ram = dump.dump_avail[0].0;
        dump.dump_avail = vec![(ram, ram + RAM)];
        (dump.pages, dump.mappings, dump.page_table_pages) = Default::default();
        if dump.direct_map.end != dump.direct_map.base {
            dump.direct_map.end = dump.direct_map.base + (ram + RAM - dump.direct_map.physical);
        }
        // powerpc64's kernel runs in the direct map.
        let base = if arch == Arch::Powerpc64 { dump.direct_map.base } else { dump.kernel_base } + REGION;
        let regions = [0, 1, 2, 3, 4, 5].map(|index| base + index * REGION);
        let build_id = base + 6 * REGION;
        Self::placed(arch, dump, Placement { regions, build_id, is_as_loaded: false, version: VERSION })
    }

    /// One whose parts are there, in the RAM of a dump that has no pages yet.
    pub fn placed(arch: Arch, dump: MinidumpSpec, placement: Placement) -> Self {
        let version = placement.version;
        let ram_end = dump.dump_avail.last().expect("a kernel has RAM").1;
        let mut types = Builder::new(CtfSpec::new(arch.order(), arch.word()));
        let basic = Basic::new(&mut types);
        let mut kernel = Self {
            arch,
            types,
            basic,
            dump,
            base: placement.regions[0],
            placement,
            ram_end,
            regions: Default::default(),
            symbols: Vec::new(),
            variables: BTreeMap::new(),
            lists: BTreeMap::new(),
            loaded: Vec::new(),
            omitted: BTreeSet::new(),
            has_types: true,
            has_contents: true,
            build_id: Some(0x5a),
        };
        let text = kernel.types.array(basic.character, version.len() as u32 + 1);
        let address = kernel.variable("version", text);
        kernel.write_bytes(address, version.as_bytes());
        kernel
    }

    /// The same with the types in another form: version 2, not compressed.
    #[must_use]
    pub fn with_spec(mut self, version: u8, compressed: bool) -> Self {
        (self.types.spec.version, self.types.spec.compressed) = (version, compressed);
        self
    }

    fn start(&self, region: Region) -> u64 {
        self.placement.regions[region as usize]
    }

    /// The number of the region that an address is in, and how far in it.
    fn region_of(&self, address: u64) -> Option<(usize, u64)> {
        let regions = self.placement.regions.iter().enumerate();
        regions
            .filter_map(|(index, start)| Some((index, address.checked_sub(*start)?)))
            .min_by_key(|(_, offset)| *offset)
    }

    fn order(&self) -> Endianness {
        self.arch.order()
    }

    /// Room in a region.
    fn room(&mut self, region: Region, size: u64, align: u64) -> u64 {
        let start = self.start(region);
        let contents = &mut self.regions[region as usize];
        let at = contents.len().next_multiple_of(align.max(1) as usize);
        contents.resize(at + size.max(1) as usize, 0);
        assert!(region == Region::Heap || contents.len() as u64 <= REGION, "too much for {region:?}");
        start + at as u64
    }

    fn place(&mut self, region: Region, name: &str, of: Type) -> u64 {
        let (size, align) = (self.types.size_of(of), self.types.align_of(of));
        let address = self.room(region, size, align);
        self.add_symbol((GLOBAL, OBJECT), region, name, address, size);
        self.types.object(Some(of));
        self.variables.insert(name.to_owned(), (address, of));
        address
    }

    fn add_symbol(&mut self, kind: (u8, u8), region: Region, name: &str, address: u64, size: u64) {
        self.symbols.push(symbol(name, kind, region as u16 + 1, address, size));
    }

    /// A variable of the kernel, filled with zeros: its address.
    pub fn variable(&mut self, name: &str, of: Type) -> u64 {
        self.place(Region::Data, name, of)
    }

    /// A variable whose type the kernel does not tell.
    pub fn untyped_variable(&mut self, name: &str, size: u64) -> u64 {
        let address = self.room(Region::Data, size, 8);
        self.add_symbol((GLOBAL, OBJECT), Region::Data, name, address, size);
        self.types.object(None);
        address
    }

    /// A static variable that the image has no contents of, and of which the compiler has kept only so many bytes, as its
    /// symbol tells: what is behind them is set.
    pub fn narrowed_variable(&mut self, name: &str, of: Type, size: u64) -> u64 {
        let address = self.place(Region::Bss, name, of);
        let whole = self.types.size_of(of) as usize;
        self.write_bytes(address, &vec![0xff; whole]);
        self.write_bytes(address, &vec![0; size as usize]);
        let symbol = self.symbols.last_mut().unwrap();
        (symbol.size, symbol.binding) = (size, LOCAL);
        address
    }

    /// A variable that the image has no contents of: it is 0 when the kernel starts.
    pub fn zeroed_variable(&mut self, name: &str, of: Type) -> u64 {
        self.place(Region::Bss, name, of)
    }

    /// A static variable of one of several source files, which another one may be called like.
    pub fn static_variable(&mut self, name: &str, of: Type) -> u64 {
        let address = self.variable(name, of);
        self.symbols.last_mut().unwrap().binding = LOCAL;
        address
    }

    /// A variable that each processor has for itself, `DPCPU_DEFINE`: where the image has it. The symbol is called
    /// `pcpu_entry_NAME`.
    pub fn per_cpu_variable(&mut self, name: &str, of: Type) -> u64 {
        self.place(Region::PerCpu, &format!("pcpu_entry_{name}"), of)
    }

    /// A variable that each network stack has for itself, `VNET_DEFINE`: where the image has it. The symbol is called
    /// `vnet_entry_NAME`.
    pub fn per_vnet_variable(&mut self, name: &str, of: Type) -> u64 {
        self.place(Region::PerVnet, &format!("vnet_entry_{name}"), of)
    }

    /// A function: where its code begins.
    pub fn function(&mut self, name: &str, signature: Option<Signature<'_>>) -> u64 {
        self.function_of_size(name, signature, 32)
    }

    /// A function whose code has so many bytes: where it begins.
    pub fn function_of_size(&mut self, name: &str, signature: Option<Signature<'_>>, size: u64) -> u64 {
        let address = self.room(Region::Text, size, 16);
        self.add_symbol((GLOBAL, FUNC), Region::Text, name, address, size);
        self.types.function_symbol(signature);
        address
    }

    /// Has the symbol that was added last be one of a source file alone.
    pub fn make_local(&mut self) {
        self.symbols.last_mut().unwrap().binding = LOCAL;
    }

    /// An object that no symbol names, at the beginning of a cache line, as the kernel places them: its address.
    pub fn allocate(&mut self, of: Type) -> u64 {
        let size = self.types.size_of(of);
        self.room(Region::Heap, size, 64)
    }

    /// Memory of so many bytes, at the beginning of a page.
    pub fn allocate_pages(&mut self, size: u64) -> u64 {
        self.room(Region::Heap, size.next_multiple_of(PAGE), PAGE)
    }

    /// Text in memory, with a NUL behind it.
    pub fn string(&mut self, text: &str) -> u64 {
        let address = self.room(Region::Heap, text.len() as u64 + 1, 1);
        self.write_bytes(address, text.as_bytes());
        address
    }

    /// Has what no symbol of the image names at an address, such as a module; it stays as it is.
    pub fn load(&mut self, address: u64, bytes: Vec<u8>) {
        self.loaded.push((address, bytes));
    }

    /// An address that is not mapped.
    pub fn unmapped(&self) -> u64 {
        self.base - 4 * PAGE
    }

    /// Leaves the page of an address out of the dump.
    pub fn omit(&mut self, address: u64) {
        self.omitted.insert(address & !(PAGE - 1));
    }

    /// What memory has from an address on, to the end of its region.
    #[track_caller]
    fn bytes_mut(&mut self, address: u64) -> &mut [u8] {
        let (region, offset) = self.region_of(address).expect("an address of this kernel");
        &mut self.regions[region][offset as usize..]
    }

    #[track_caller]
    pub fn write_bytes(&mut self, address: u64, bytes: &[u8]) {
        self.bytes_mut(address)[..bytes.len()].copy_from_slice(bytes);
    }

    /// Writes a pointer at an address.
    #[track_caller]
    pub fn write_pointer(&mut self, address: u64, value: u64) {
        let bytes = self.order().bytes(value, self.arch.word());
        self.write_bytes(address, &bytes);
    }

    /// Has something changed in the bytes from an address on.
    fn change(&mut self, address: u64, change: impl FnOnce(&Builder, &mut [u8])) {
        // The types are not in the memory that they describe.
        let types = std::mem::replace(&mut self.types, Builder::new(CtfSpec::new(Endianness::Little, 8)));
        change(&types, self.bytes_mut(address));
        self.types = types;
    }

    /// Writes a number or an address into a member of an object, `vm_map.header.start` or `v[2]`; without a path, into all
    /// of it.
    #[track_caller]
    pub fn set(&mut self, address: u64, of: Type, path: &str, value: impl Into<i128>) {
        let value = value.into();
        if let Some(head) = ListHead::new(&self.types, of, path) {
            self.lists.insert(self.address_of(address, of, path), head);
        }
        self.change(address, |types, bytes| types.set(bytes, of, path, value));
    }

    /// Tells which list begins with the pointer at an address, where elements can be in several: its member in them. `has_last`:
    /// whether the pointer to the last pointer of it follows the first.
    #[track_caller]
    pub fn connect(&mut self, first: u64, element: Type, link: &str, has_last: bool) {
        let (begin, of) = (self.types.offset_of(element, link), self.types.type_of(element, link));
        let head = LISTS.into_iter().find_map(|[.., next, previous]| {
            let place = |name: &str| self.types.offsets_of(of, name).first().map(|inner| begin + inner);
            let last = has_last.then(|| self.arch.word() as u64);
            Some(ListHead { next: place(next)?, previous: place(previous), last })
        });
        self.lists.insert(first, head.expect("a link of queue(3)"));
    }

    /// Leaves what leads back in lists as it is from now on: null where it was not set.
    pub fn disconnect(&mut self) {
        self.lists.clear();
    }

    /// Writes text into a member of an object.
    #[track_caller]
    pub fn set_text(&mut self, address: u64, of: Type, path: &str, text: &str) {
        self.change(address, |types, bytes| types.set_text(bytes, of, path, text));
    }

    /// Address and type of a variable.
    #[track_caller]
    pub fn variable_of(&self, name: &str) -> (u64, Type) {
        *self.variables.get(name).unwrap_or_else(|| panic!("no variable {name}"))
    }

    /// Writes a number or an address into a variable or a member of it.
    #[track_caller]
    pub fn set_variable(&mut self, name: &str, path: &str, value: impl Into<i128>) {
        let (address, of) = self.variable_of(name);
        self.set(address, of, path, value);
    }

    /// The address of a member.
    #[track_caller]
    pub fn address_of(&self, address: u64, of: Type, path: &str) -> u64 {
        address + self.types.offset_of(of, path)
    }

    /// The number of so many bytes at an address.
    #[track_caller]
    pub fn number(&mut self, address: u64, size: usize) -> u64 {
        let order = self.order();
        order.value(&self.bytes_mut(address)[..size])
    }

    /// Whether an address is in the direct map.
    fn is_direct(&self, address: u64) -> bool {
        (self.dump.direct_map.base..self.dump.direct_map.end).contains(&address)
    }

    /// Where the page of an address is in physical memory.
    pub fn physical(&self, address: u64) -> u64 {
        match self.arch {
            Arch::Powerpc64 => address - self.dump.direct_map.base,
            _ if self.placement.is_as_loaded && self.is_direct(address) => address - self.dump.direct_map.base,
            _ if self.placement.is_as_loaded => address - KERNBASE,
            // What is together virtually, is not so physically.
            _ => self.dump.dump_avail[0].0 + ((address - self.base) ^ PAGE),
        }
    }

    /// The address at which a byte of physical memory is mapped.
    pub fn mapped_at(&self, physical: u64) -> u64 {
        match self.arch {
            Arch::Powerpc64 => physical + self.dump.direct_map.base,
            _ if self.placement.is_as_loaded => physical + self.dump.direct_map.base,
            _ => self.base + ((physical - self.dump.dump_avail[0].0) ^ PAGE),
        }
    }

    /// The contents of all regions, with the pointers of lists that lead back, where these are null.
    fn connected(&self) -> [Vec<u8>; 6] {
        let mut regions = self.regions.clone();
        let (order, word) = (self.order(), self.arch.word());
        let place = |address: u64, regions: &[Vec<u8>; 6]| {
            let (region, offset) = self.region_of(address)?;
            let at = offset as usize;
            (at.checked_add(word)? <= regions[region].len()).then_some((region, at))
        };
        for (slot, head) in &self.lists {
            let mut seen = BTreeSet::new();
            let read = |address: u64, regions: &[Vec<u8>; 6]| {
                let (region, at) = place(address, regions)?;
                Some(order.value(&regions[region][at..at + word]))
            };
            let complete = |address: u64, value: u64, regions: &mut [Vec<u8>; 6]| {
                if let Some((region, at)) = place(address, regions)
                    && read(address, regions) == Some(0)
                {
                    regions[region][at..at + word].copy_from_slice(&order.bytes(value, word));
                }
            };
            let (mut link, mut at) = (*slot, read(*slot, &regions));
            while let Some(element) = at.filter(|at| *at != 0 && seen.insert(*at)) {
                if let Some(previous) = head.previous {
                    complete(element + previous, link, &mut regions);
                }
                link = element + head.next;
                at = read(link, &regions);
            }
            if let (Some(0), Some(last)) = (at, head.last) {
                complete(slot + last, link, &mut regions);
            }
        }
        regions
    }

    /// The image's file.
    pub fn image(&self) -> Vec<u8> {
        let types = self.has_types.then(|| (".SUNW_ctf", self.types.build()));
        self.image_with(types.into_iter().collect())
    }

    /// The image's file with these sections, which are not in memory, and without types.
    pub fn image_with(&self, others: Vec<(&'static str, Vec<u8>)>) -> Vec<u8> {
        let regions = self.connected();
        let of_region = |(index, (name, flags)): (usize, (&'static str, u64))| {
            let (address, contents) = (self.placement.regions[index], &regions[index]);
            if index == Region::Bss as usize || !self.has_contents {
                return Section { flags: flags | SHF_ALLOC, ..bss(name, address, contents.len() as u64) };
            }
            section(name, flags, address, contents.clone())
        };
        let mut sections: Vec<Section> = SECTIONS.into_iter().enumerate().map(of_region).collect();
        if let Some(bytes) = self.build_id_note() {
            let address = self.placement.build_id;
            sections.push(Section { kind: SHT_NOTE, align: 4, ..section(".note.gnu.build-id", 0, address, bytes) });
        }
        let kind = SHT_PROGBITS;
        let added = |(name, bytes)| Section { name, kind, flags: 0, address: 0, align: 4, bytes, size: 0 };
        sections.extend(others.into_iter().map(added));
        let mut symbols = self.symbols.clone();
        for region in [Region::PerCpu, Region::PerVnet] {
            let (name, start) = (SECTIONS[region as usize].0, self.start(region));
            let end = start + self.regions[region as usize].len() as u64;
            for (edge, at) in [("start", start), ("stop", end)] {
                symbols.push(symbol(&format!("__{edge}_{name}"), (GLOBAL, NOTYPE), region as u16 + 1, at, 0));
            }
        }
        // The second version of powerpc64's ABI: functions have no descriptors.
        let flags = if self.arch == Arch::Powerpc64 { 2 } else { 0 };
        Image { flags, ..Image::new(target(self.arch), ET_EXEC, sections, symbols) }.build()
    }

    /// The note with its build ID, behind all regions.
    fn build_id_note(&self) -> Option<Vec<u8>> {
        let words = [4, 20, 3].map(|word| self.order().bytes(word, 4)).concat();
        self.build_id.map(|byte| [&words, &b"GNU\0"[..], &[byte; 20]].concat())
    }

    /// What is in memory: the address of each part, and its bytes; first all regions.
    pub fn memory(&self) -> Vec<(u64, Vec<u8>)> {
        let regions = self.placement.regions.into_iter().zip(self.connected());
        let note = self.build_id_note().map(|note| (self.placement.build_id, note));
        regions.chain(note).chain(self.loaded.iter().cloned()).collect()
    }

    /// The dump's file.
    pub fn dump(&self) -> Vec<u8> {
        let mut dump = self.dump.clone();
        for (index, (start, contents)) in self.memory().into_iter().enumerate() {
            for (address, page) in (start..).step_by(PAGE as usize).zip(contents.chunks(PAGE as usize)) {
                let mut bytes = page.to_vec();
                bytes.resize(PAGE as usize, 0);
                let physical = self.physical(address);
                if self.arch != Arch::Powerpc64 && !(self.placement.is_as_loaded && self.is_direct(address)) {
                    let (writable, executable) = (index > 0, index == 0 || index > MODULES);
                    let superpage = false;
                    dump.mappings.push(Mapping { address, physical, length: PAGE, writable, executable, superpage });
                }
                assert!(physical < self.ram_end, "too little RAM");
                if !self.omitted.contains(&address) {
                    dump.pages.insert(physical, bytes);
                }
            }
        }
        let slot = |mapping: &Mapping| (mapping.address - dump.kernel_base) / REGION;
        let slots: BTreeSet<u64> = dump.mappings.iter().map(slot).collect();
        if let Some(last) = slots.last() {
            dump.kernel_end = dump.kernel_base + (last + 1) * REGION;
        }
        if self.arch == Arch::Amd64 {
            dump.page_table_pages = (1..=slots.len() as u64).map(|page| self.ram_end - page * PAGE).collect();
        }
        dump.build()
    }
}
