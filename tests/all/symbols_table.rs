//! Symbols of kernels and modules, read from files and out of a dump's memory.

use crate::common::{directory, text};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use vmcore::memory::{Memory, ReadError};
use vmcore::opened::open_plainly;
use vmcore::symbols::linker_files::{Listing, list};
use vmcore::symbols::{Binding, CopiedSet, KernelFile, KernelSymbols, Symbol, SymbolKind, Symbols, Table};
use vmcore_synth::image::{
    AMD64, ET_DYN, ET_EXEC, ET_REL, FILE, FUNC, GLOBAL, I386, IFUNC, Image, LOCAL, NOTYPE, OBJECT, POWERPC64,
    SHF_EXECINSTR, SHF_WRITE, SHN_ABS, SHT_DYNSYM, SHT_NOBITS, Section, TARGETS, Target, WEAK, bss, section, symbol,
    write,
};

/// A kernel, with its text from this address on, its data 4 KiB and its bss 8 KiB behind.
fn kernel(target: Target, base: u64) -> Image {
    let version = b"\0\0\0\0FreeBSD 14.1-RELEASE GENERIC\n\0".to_vec();
    let sections = vec![
        section(".text", SHF_EXECINSTR, base, vec![0x90; 0x400]),
        section(".data", SHF_WRITE, base + 0x1000, version),
        bss(".bss", base + 0x2000, 0x1000),
        Section { flags: 0, ..section(".comment", 0, 0, vec![b'x'; 64]) },
    ];
    let symbols = vec![
        symbol("kern.c", (LOCAL, FILE), SHN_ABS, 0, 0),
        symbol("helper", (LOCAL, FUNC), 1, base + 0x180, 0x20),
        symbol("$x", (LOCAL, NOTYPE), 1, base + 0x100, 0),
        symbol("kern_sync", (GLOBAL, FUNC), 1, base + 0x100, 0x80),
        symbol("kern_sync_alias", (WEAK, FUNC), 1, base + 0x100, 0x80),
        symbol("helper", (LOCAL, FUNC), 1, base + 0x1a0, 0x10),
        symbol("calltrap", (GLOBAL, NOTYPE), 1, base + 0x200, 0),
        symbol("after", (LOCAL, NOTYPE), 1, base + 0x240, 0),
        symbol("memcpy", (GLOBAL, IFUNC), 1, base + 0x300, 0x10),
        symbol("version", (GLOBAL, OBJECT), 2, base + 0x1004, 30),
        symbol("allproc", (GLOBAL, OBJECT), 3, base + 0x2000, 8),
        symbol("helper", (GLOBAL, OBJECT), 3, base + 0x2010, 4),
        symbol("kernbase", (GLOBAL, NOTYPE), SHN_ABS, base, 0),
        symbol("missing", (GLOBAL, NOTYPE), 0, 0, 0),
    ];
    Image::new(target, ET_EXEC, sections, symbols)
}

fn base_of(target: Target) -> u64 {
    if target.is_64_bit { 0xffff_ffff_8020_0000 } else { 0xc040_0000 }
}

fn covering(table: &Table, address: u64) -> Option<(&str, u64)> {
    table.lookup_by_addr(address).map(|entry| (entry.name, address - entry.symbol.address))
}

#[test]
fn every_class_and_order_is_read() {
    let directory = directory();
    for target in TARGETS {
        let base = base_of(target);
        let table = Table::open(&write(directory.path(), "kernel", &kernel(target, base))).unwrap();
        assert_eq!(table.find("kern_sync").unwrap(), Some(Symbol { address: base + 0x100, size: 0x80 }), "{target:?}");
        assert_eq!(table.find("kernbase").unwrap(), Some(Symbol { address: base, size: 0 }));
        assert_eq!(table.find("allproc").unwrap(), Some(Symbol { address: base + 0x2000, size: 8 }));
        for name in ["missing", "kern.c", "$x", "", "kern_syn", "kern_sync2"] {
            assert_eq!(table.find(name).unwrap(), None, "{name}");
        }
        assert_eq!(table.version(), Some("FreeBSD 14.1-RELEASE GENERIC\n"));
        assert_eq!(table.pointer_size(), if target.is_64_bit { 8 } else { 4 });
        assert_eq!(table.order().u32([1, 0, 0, 0]) == 1, !target.is_big_endian);
        assert_eq!(covering(&table, base + 0x142), Some(("kern_sync", 0x42)));
        assert_eq!(table.iter().count(), 11);
        assert!(table.iter().map(|entry| entry.name).is_sorted());
    }
}

#[test]
fn an_address_belongs_to_the_nearest_symbol_that_reaches_it() {
    let directory = directory();
    let base = base_of(AMD64);
    let table = Table::open(&write(directory.path(), "kernel", &kernel(AMD64, base))).unwrap();
    for (offset, expected) in [
        // Before the first symbol, and from its first byte to its last.
        (0, None),
        (0xff, None),
        (0x100, Some(("kern_sync", 0))),
        (0x17f, Some(("kern_sync", 0x7f))),
        (0x180, Some(("helper", 0))),
        (0x1af, Some(("helper", 0xf))),
        (0x1b0, None),
        // Without a size: to the next symbol.
        (0x200, Some(("calltrap", 0))),
        (0x23f, Some(("calltrap", 0x3f))),
        (0x240, Some(("after", 0))),
        (0x2ff, Some(("after", 0xbf))),
        (0x300, Some(("memcpy", 0))),
        (0x310, None),
        (0x3ff, None),
        // Between sections, in data, behind all.
        (0x900, None),
        (0x1003, None),
        (0x1004, Some(("version", 0))),
        (0x2007, Some(("allproc", 7))),
        (0x2008, None),
        (0x2013, Some(("helper", 3))),
        (0x2014, None),
        (0x9000, None),
    ] {
        assert_eq!(covering(&table, base + offset), expected, "{offset:#x}");
    }
    for address in [0, 1, base - 1, u64::MAX] {
        assert_eq!(covering(&table, address), None, "{address:#x}");
    }
}

#[test]
fn what_has_no_size_ends_with_its_section_and_what_is_inside_hides_what_is_around() {
    let directory = directory();
    let sections = vec![
        section(".text", SHF_EXECINSTR, 0x1000, vec![0; 0x100]),
        // It reaches to the last address there is.
        bss(".bss", u64::MAX - 0xf, 0x10),
    ];
    let symbols = vec![
        symbol("outer", (GLOBAL, FUNC), 1, 0x1000, 0x40),
        symbol("inner", (LOCAL, FUNC), 1, 0x1010, 0x10),
        symbol("label", (LOCAL, NOTYPE), 1, 0x1030, 0),
        symbol("last", (GLOBAL, NOTYPE), 1, 0x1080, 0),
        symbol("sized", (LOCAL, OBJECT), 1, 0x1080, 0x10),
        symbol("global", (GLOBAL, OBJECT), 1, 0x1080, 0x10),
        symbol("outside", (GLOBAL, FUNC), 1, 0x3000, 0x10),
        symbol("end", (GLOBAL, OBJECT), 2, u64::MAX - 0xf, 0x1000),
        symbol("value", (GLOBAL, NOTYPE), SHN_ABS, 0x1090, 0),
    ];
    let image = Image::new(AMD64, ET_EXEC, sections, symbols);
    let table = Table::open(&write(directory.path(), "kernel", &image)).unwrap();
    for (address, expected) in [
        (0x100f, Some(("outer", 0xf))),
        (0x1010, Some(("inner", 0))),
        (0x1020, Some(("outer", 0x20))),
        (0x1038, Some(("label", 8))),
        (0x1080, Some(("global", 0))),
        (0x1090, Some(("last", 0x10))),
        (0x10ff, Some(("last", 0x7f))),
        (0x1100, None),
        (0x3000, None),
        (u64::MAX - 0x10, None),
        (u64::MAX, Some(("end", 0xf))),
    ] {
        assert_eq!(covering(&table, address), expected, "{address:#x}");
    }
}

#[test]
fn of_one_name_the_global_symbol_counts_and_none_is_lost() {
    let directory = directory();
    let base = base_of(I386);
    let table = Table::open(&write(directory.path(), "kernel", &kernel(I386, base))).unwrap();
    let helpers: Vec<_> =
        table.lookup_by_name("helper").map(|entry| (entry.binding, entry.kind, entry.symbol.address)).collect();
    let expected = [
        (Binding::Global, SymbolKind::Object, base + 0x2010),
        (Binding::Local, SymbolKind::Function, base + 0x180),
        (Binding::Local, SymbolKind::Function, base + 0x1a0),
    ];
    assert_eq!(helpers, expected);
    assert_eq!(table.find("helper").unwrap().unwrap().address, base + 0x2010);
    let pattern = "[a-k]?l*".parse().unwrap();
    let names: Vec<_> = table.matching(&pattern).map(|entry| entry.name).collect();
    assert_eq!(names, ["allproc", "calltrap", "helper", "helper", "helper"]);
}

#[test]
fn a_stripped_kernel_has_its_dynamic_symbols_and_a_debug_file_no_version() {
    let directory = directory();
    let base = base_of(AMD64);
    let stripped = Image { symbol_table: SHT_DYNSYM, ..kernel(AMD64, base) };
    let table = Table::open(&write(directory.path(), "kernel", &stripped)).unwrap();
    assert_eq!(table.find("kern_sync").unwrap().unwrap().address, base + 0x100);

    let mut debug = kernel(AMD64, base);
    for section in &mut debug.sections {
        (section.kind, section.size) = (SHT_NOBITS, section.size.max(section.bytes.len() as u64));
        section.bytes.clear();
    }
    let debug = Table::open(&write(directory.path(), "kernel.debug", &debug)).unwrap();
    assert_eq!(debug.version(), None);
    assert!(debug.iter().eq(table.iter()));
    assert_eq!(covering(&debug, base + 0x142), Some(("kern_sync", 0x42)));

    let none = Image { symbol_table: 5, ..kernel(AMD64, base) };
    let error = Table::open(&write(directory.path(), "none", &none)).unwrap_err();
    assert!(error.to_string().contains("no symbol table"), "{error}");
    for (head, expected) in [
        (&b"\x1f\x8b\x08\0\0\0\0\0"[..], "compressed with gzip"),
        (b"\x28\xb5\x2f\xfd\0\0\0\0", "compressed with zstd"),
        (b"\xfd7zXZ\0\0\x04", "compressed with xz"),
        (b"no kernel at all", "not an ELF file"),
    ] {
        let path = directory.path().join("kernel");
        std::fs::write(&path, head).unwrap();
        let error = Table::open(&path).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_shared_object_lies_where_it_was_loaded() {
    let directory = directory();
    for target in [I386, POWERPC64] {
        let module = Image { kind: ET_DYN, ..kernel(target, 0) };
        let at = base_of(target) + 0x10_0000;
        let table = Table::open_at(&write(directory.path(), "a.ko", &module), at).unwrap();
        assert_eq!(table.find("kern_sync").unwrap().unwrap().address, at + 0x100, "{target:?}");
        assert_eq!(covering(&table, at + 0x2001), Some(("allproc", 1)));
        assert_eq!(table.find("kernbase").unwrap().unwrap().address, 0);
    }
    // One that is linked for its address stays there.
    let table = Table::open_at(&write(directory.path(), "b.ko", &kernel(AMD64, 0x10_0000)), 0x1000).unwrap();
    assert_eq!(table.find("kern_sync").unwrap().unwrap().address, 0x10_0100);
}

#[test]
fn sections_of_a_relocatable_file_lie_one_behind_the_other() {
    let directory = directory();
    let sections = vec![
        section(".text", SHF_EXECINSTR, 0, vec![0; 0x33]),
        Section { flags: 0, ..section(".comment", 0, 0, vec![0; 0x1000]) },
        Section { align: 0, ..section(".rodata.str", 0, 0, vec![0; 5]) },
        Section { align: 64, ..section("set_pcpu", SHF_WRITE, 0, vec![0; 8]) },
        Section { align: 4096, ..section(".empty", SHF_WRITE, 0, vec![]) },
        Section { kind: 0x7000_0001, align: 8, ..section(".eh_frame", 0, 0, vec![0; 0x11]) },
        Section { align: 32, ..bss(".bss", 0, 0x20) },
    ];
    let symbols = vec![
        symbol("start", (LOCAL, FUNC), 1, 0x10, 4),
        symbol("text", (GLOBAL, NOTYPE), 3, 1, 0),
        symbol("each_cpu", (LOCAL, OBJECT), 4, 0, 8),
        symbol("comment", (LOCAL, OBJECT), 2, 0, 8),
        symbol("frame", (LOCAL, OBJECT), 6, 0x10, 1),
        symbol("state", (GLOBAL, OBJECT), 7, 8, 4),
    ];
    let path = write(directory.path(), "a.ko", &Image::new(AMD64, ET_REL, sections, symbols));
    let base = 0xffff_ffff_8300_0000;
    let table = Table::open_at(&path, base).unwrap();
    let found: Vec<_> = table.iter().map(|entry| (entry.name, entry.symbol.address - base)).collect();
    // .rodata.str at 0x33, set_pcpu's own copy at 0x40, .eh_frame at 0x48, .bss at 0x60.
    assert_eq!(found, [("frame", 0x58), ("start", 0x10), ("state", 0x68), ("text", 0x34)]);
    assert_eq!(covering(&table, base + 0x37), Some(("text", 3)));
    assert_eq!(covering(&table, base + 0x38), None);
    assert_eq!(covering(&table, base + 0x6b), Some(("state", 3)));
}

#[test]
fn sections_with_copies_lie_where_the_kernel_placed_them() {
    let directory = directory();
    let base = 0xffff_ffff_8300_0000;
    let (cpus, stacks) = (0xffff_ffff_8100_0010, 0xffff_ffff_8120_0040);
    for kind in [ET_REL, ET_DYN] {
        let at = |address: u64| if kind == ET_REL { 0 } else { address };
        let sections = vec![
            section(".data", SHF_WRITE, at(0), vec![0; 0x20]),
            section("set_pcpu", SHF_WRITE, at(0x20), vec![0; 0x10]),
            section("set_vnet", SHF_WRITE, at(0x30), vec![0; 0x18]),
            section(".bss", SHF_WRITE, at(0x50), vec![0; 8]),
        ];
        let symbols = vec![
            symbol("pcpu_entry_hits", (LOCAL, OBJECT), 2, at(0x20) + 4, 4),
            symbol("state", (LOCAL, OBJECT), 4, at(0x50), 8),
            symbol("vnet_entry_list", (LOCAL, OBJECT), 3, at(0x30) + 8, 8),
        ];
        let path = write(directory.path(), "a.ko", &Image::new(AMD64, kind, sections, symbols));
        let table = Table::open_at(&path, base).unwrap();
        assert!(table.defines("vnet_entry_list").unwrap() && !table.defines("vnet_entry_other").unwrap());
        let found: Vec<_> =
            table.copied_sections().iter().map(|found| (found.set, found.address, found.size)).collect();
        let expected = [(CopiedSet::PerCpu, base + 0x20, 0x10), (CopiedSet::PerVnet, base + 0x30, 0x18)];
        assert_eq!(found, expected, "{kind}");
        let placed = table.with_set_at(CopiedSet::PerVnet, stacks).unwrap();
        let placed = placed.with_set_at(CopiedSet::PerCpu, cpus).unwrap();
        assert_eq!(placed.copied_sections(), table.copied_sections());
        let found: Vec<_> = placed.iter().map(|entry| (entry.name, entry.symbol.address)).collect();
        let expected = [("pcpu_entry_hits", cpus + 4), ("state", base + 0x50), ("vnet_entry_list", stacks + 8)];
        assert_eq!(found, expected, "{kind}");
        assert_eq!(covering(&placed, stacks + 9), Some(("vnet_entry_list", 1)));
        for (beside, there) in [(base + 0x2f, cpus + 0xf), (base + 0x30, stacks), (base + 0x48, base + 0x48)] {
            assert_eq!((table.as_placed(beside), placed.as_placed(beside)), (beside, there), "{kind}");
        }
        // A file with debug information has the same sections.
        let file = std::fs::File::open(&path).unwrap();
        assert!(Table::from_opened_as(&path, file, &placed).unwrap().iter().eq(placed.iter()));
    }
}

#[test]
fn a_function_descriptor_leads_to_the_code() {
    let directory = directory();
    let words = |entries: [u64; 2]| entries.map(|entry| [entry.to_be_bytes(), [0; 8], [0; 8]].concat()).concat();
    let sections = vec![
        section(".text", SHF_EXECINSTR, 0x10_0000, vec![0; 0x100]),
        section(".opd", SHF_WRITE, 0x20_0000, words([0x10_0040, 0])),
    ];
    let symbols = vec![
        symbol("known", (GLOBAL, FUNC), 2, 0x20_0000, 0x30),
        symbol("relocated", (GLOBAL, FUNC), 2, 0x20_0018, 0x30),
        symbol("beyond", (GLOBAL, FUNC), 2, 0x20_0040, 0x30),
    ];
    let image = Image::new(POWERPC64, ET_EXEC, sections, symbols);
    let table = Table::open(&write(directory.path(), "kernel", &image)).unwrap();
    assert_eq!(table.find("known").unwrap(), Some(Symbol { address: 0x20_0000, size: 24 }));
    assert_eq!(covering(&table, 0x10_006f), Some((".known", 0x2f)));
    assert_eq!(covering(&table, 0x20_0017), Some(("known", 0x17)));
    assert_eq!(covering(&table, 0x20_0018), Some(("relocated", 0)));
    assert_eq!(table.iter().count(), 4);
    // Version 2 of the ABI has none.
    let table = Table::open(&write(directory.path(), "kernel", &Image { flags: 2, ..image })).unwrap();
    assert_eq!(table.find("known").unwrap(), Some(Symbol { address: 0x20_0000, size: 0x30 }));
    assert_eq!(table.iter().count(), 3);
}

/// Asks a table everything.
fn ask(path: &Path) {
    if let Ok(table) = Table::open_at(path, 0xffff_ffff_ffff_f000) {
        for entry in table.iter() {
            assert!(!entry.name.is_empty());
            assert!(table.lookup_by_name(entry.name).any(|other| other == entry));
            let _ = table.lookup_by_addr(entry.symbol.address);
        }
        for address in [0, 0x1000, u64::MAX] {
            if let Some(entry) = table.lookup_by_addr(address) {
                assert!(entry.symbol.address <= address);
            }
        }
    }
}

#[test]
fn files_that_are_cut_off_or_flipped_end_with_a_message_or_a_table() {
    let directory = directory();
    let path = directory.path().join("kernel");
    for target in [AMD64, POWERPC64, I386] {
        for kind in [ET_EXEC, ET_REL] {
            let whole = Image { kind, ..kernel(target, base_of(target)) }.build();
            std::fs::write(&path, &whole).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            let headers = whole.len() - 8 * if target.is_64_bit { 64 } else { 40 };
            for at in (0..64).chain(headers - 0x200..whole.len()) {
                for bits in [1, 0xff] {
                    file.write_all_at(&[whole[at] ^ bits], at as u64).unwrap();
                    ask(&path);
                }
                file.write_all_at(&[whole[at]], at as u64).unwrap();
            }
            for length in (0..whole.len()).step_by(16).rev() {
                file.set_len(length as u64).unwrap();
                // The section headers are at the end.
                assert!(Table::open(&path).is_err(), "{length}");
            }
        }
    }
}

#[test]
fn a_table_that_is_said_to_be_huge_is_not_allocated() {
    let directory = directory();
    let path = directory.path().join("kernel");
    let whole = kernel(AMD64, base_of(AMD64)).build();
    let headers = whole.len() - 8 * 64;
    // The symbol table is section 5, and its names section 6; a sparse file is as long as they say.
    for section in [5, 6] {
        for size in [1 << 30, 1 << 40, u64::MAX] {
            let mut broken = whole.clone();
            broken[headers + section * 64 + 32..][..8].copy_from_slice(&u64::to_le_bytes(size));
            std::fs::write(&path, &broken).unwrap();
            File::options().write(true).open(&path).unwrap().set_len(1 << 41).unwrap();
            let error = Table::open(&path).unwrap_err().to_string();
            assert!(error.contains("larger than any kernel's"), "{error}");
        }
    }
}

/// Memory with holes.
struct Fake(BTreeMap<u64, Vec<u8>>);

impl Memory for Fake {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let (start, bytes) = self.0.range(..=address).next_back().ok_or(ReadError::Absent)?;
        let rest = usize::try_from(address - start).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        if rest.is_empty() {
            return Err(ReadError::Absent);
        }
        // Never much at a time.
        let length = rest.len().min(buffer.len()).min(5);
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

/// A kernel's list of files in memory: name, path and address of each.
struct Linked {
    target: Target,
    memory: Fake,
}

const HEAD: u64 = 0xc100_0000;
const FILES: u64 = 0xc200_0000;
const TEXTS: u64 = 0xc300_0000;

/// Text as the kernel allocates memory for it.
fn in_memory(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize((bytes.len() + 1).next_multiple_of(64), 0);
    bytes
}

impl Linked {
    fn new(target: Target, files: &[(&str, &str, u64)]) -> Self {
        let mut linked = Self { target, memory: Fake(BTreeMap::new()) };
        for (index, offset) in [24, 32, 40, 8].into_iter().enumerate() {
            linked.set(HEAD + 0x100 + 4 * index as u64, offset, 4);
        }
        let at = |index: usize| if index < files.len() { FILES + 0x100 * index as u64 } else { 0 };
        linked.pointer(HEAD, at(0));
        for (index, (name, path, address)) in files.iter().enumerate() {
            let text = TEXTS + 0x1000 * index as u64;
            linked.memory.0.insert(text, in_memory(name));
            linked.memory.0.insert(text + 0x800, in_memory(path));
            for (offset, value) in [(8, at(index + 1)), (24, *address), (32, text), (40, text + 0x800)] {
                linked.pointer(at(index) + offset, value);
            }
        }
        linked
    }

    fn pointer(&mut self, address: u64, value: u64) {
        self.set(address, value, if self.target.is_64_bit { 8 } else { 4 });
    }

    fn set(&mut self, address: u64, value: u64, size: usize) {
        let (big, little) = (value.to_be_bytes(), value.to_le_bytes());
        let bytes = if self.target.is_big_endian { &big[8 - size..] } else { &little[..size] };
        self.memory.0.insert(address, bytes.to_vec());
    }

    fn kernel(&self) -> Image {
        let names = ["kld_off_address", "kld_off_filename", "kld_off_pathname", "kld_off_next"];
        let object = (GLOBAL, OBJECT);
        let mut image = kernel(self.target, base_of(self.target));
        let constants =
            (0..).step_by(4).zip(names).map(|(offset, name)| symbol(name, object, 2, HEAD + 0x100 + offset, 4));
        image.symbols.extend(constants);
        image.symbols.push(symbol("linker_files", (LOCAL, OBJECT), 3, HEAD, 16));
        image
    }

    fn list(&self) -> Listing {
        let directory = directory();
        let table = Table::open(&write(directory.path(), "kernel", &self.kernel())).unwrap();
        list(&table, &self.memory).unwrap()
    }
}

fn file(name: &str, path: &str, address: u64) -> KernelFile {
    KernelFile { name: name.to_owned(), path: path.to_owned(), address, size: 0 }
}

const THREE: [(&str, &str, u64); 3] = [
    ("kernel", "/boot/kernel/kernel", 0xc040_0000),
    ("zfs.ko", "/boot/kernel/zfs.ko", 0xc500_0000),
    ("a.ko", "", 0xc600_0000),
];

#[test]
fn a_dumps_list_of_modules_is_followed() {
    for target in TARGETS {
        let listing = Linked::new(target, &THREE).list();
        let expected: Vec<_> = THREE.iter().map(|(name, path, address)| file(name, path, *address)).collect();
        assert_eq!(listing, Listing { files: expected, broken: None }, "{target:?}");
        assert_eq!(Linked::new(target, &[]).list(), Listing::default());
    }
}

#[test]
fn a_list_that_loops_or_leads_nowhere_ends() {
    let broken = |change: &dyn Fn(&mut Linked), files: usize, why: &str| {
        let mut linked = Linked::new(AMD64, &THREE);
        change(&mut linked);
        let listing = linked.list();
        assert_eq!(listing.files.len(), files, "{listing:?}");
        assert!(listing.broken.as_deref().is_some_and(|text| text.contains(why)), "{listing:?}");
    };
    broken(&|linked| linked.pointer(FILES + 0x108, FILES), 2, "is a loop at 0xc2000000");
    broken(&|linked| linked.pointer(FILES + 8, FILES), 1, "is a loop at 0xc2000000");
    broken(&|linked| linked.pointer(FILES + 8, 0x1234), 1, "0x125");
    broken(&|linked| linked.pointer(FILES + 8, u64::MAX), 1, "leaves the address space");
    broken(&|linked| linked.pointer(FILES + 0x120, u64::MAX), 1, "cannot be read");
    broken(&|linked| linked.set(HEAD + 0x100, u64::MAX, 4), 0, "cannot be read");
    broken(&|linked| drop(linked.memory.0.insert(TEXTS + 0x1000, vec![b'x'; 0x1000])), 1, "unterminated");
    broken(&|linked| drop(linked.memory.0.remove(&HEAD)), 0, "0xc1000000, which cannot be read");
}

#[test]
fn a_kernel_without_the_list_is_refused() {
    let directory = directory();
    let table = Table::open(&write(directory.path(), "kernel", &kernel(AMD64, 0x1000))).unwrap();
    let error = list(&table, &Fake(BTreeMap::new())).unwrap_err().to_string();
    assert!(error.contains("no symbol 'linker_files'"), "{error}");
}

#[test]
fn modules_are_looked_for_beside_the_kernel_only() {
    let (directory, elsewhere) = (directory(), directory());
    let module = Image { kind: ET_DYN, ..kernel(AMD64, 0) };
    let table = Table::open(&write(directory.path(), "kernel", &kernel(AMD64, base_of(AMD64)))).unwrap();
    write(directory.path(), "zfs.ko", &module);
    write(directory.path(), "debug.ko.debug", &module);
    write(directory.path(), "stripped.ko", &Image { symbol_table: 5, ..module.clone() });
    write(directory.path(), "stripped.ko.debug", &module);
    std::fs::write(directory.path().join("broken.ko"), b"#!/bin/sh").unwrap();
    let other = write(elsewhere.path(), "other.ko", &module);
    let above = format!("../{}/other.ko", text(Path::new(elsewhere.path().file_name().unwrap())));
    let files = [
        file("kernel", "", 0),
        file("zfs.ko", "", 0x10_0000),
        file("debug.ko", "", 0x20_0000),
        file("stripped.ko", "", 0x30_0000),
        file("broken.ko", "", 0x40_0000),
        file("other.ko", text(&other), 0x50_0000),
        file(&above, "", 0x60_0000),
        file("", "", 0x70_0000),
        file(text(&other), "", 0x80_0000),
    ];
    let mut symbols = KernelSymbols::new(table.clone());
    symbols.add_modules(&files, None, open_plainly, None);
    let names: Vec<_> = symbols.tables().map(|(name, _)| name).collect();
    assert_eq!(names, ["kernel", "zfs.ko", "debug.ko", "stripped.ko"]);
    assert_eq!(symbols.missing().len(), 5, "{:?}", symbols.missing());
    let found = symbols.lookup_by_addr(0x30_0123).unwrap();
    assert_eq!((found.module, found.entry.name, found.entry.symbol.address), ("stripped.ko", "kern_sync", 0x30_0100));
    assert_eq!(symbols.find("allproc").unwrap().unwrap().address, base_of(AMD64) + 0x2000);
    assert_eq!(symbols.lookup_by_addr(0x50_0123), None);

    let mut symbols = KernelSymbols::new(table);
    symbols.add_modules(&files, Some(Path::new("/")), open_plainly, None);
    assert_eq!(symbols.lookup_by_addr(0x50_0123).unwrap().module, "other.ko");
    assert_eq!(symbols.tables().count(), 5);
}
