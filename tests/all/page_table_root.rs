//! A kernel's memory by virtual address, out of full dumps and images of memory: the page tables are found through the
//! kernel's symbols, wherever the loader put it.

use crate::common::directory;
use memtool::output_file::scratch;
use std::ops::ControlFlow;
use vmcore::Error;
use vmcore::architecture::Architecture;
use vmcore::dump::DumpedMemory;
use vmcore::dump::byte_source::ByteSource;
use vmcore::fault::Why;
use vmcore::kernel::{self, Mapping};
use vmcore::progress::Progress;
use vmcore::symbols::{Symbol, Symbols};
use vmcore_synth::{ElfSpec, KernelMemory, Paging};

/// Some symbols of a kernel.
#[derive(Clone)]
struct Few(Vec<(&'static str, u64)>);

impl Symbols for Few {
    fn find(&self, name: &str) -> Result<Option<Symbol>, Error> {
        let found = self.0.iter().find(|symbol| symbol.0 == name);
        Ok(found.map(|(_, address)| Symbol { address: *address, size: 0 }))
    }

    fn source(&self) -> String {
        "/boot/kernel/kernel".to_owned()
    }

    fn is_running_kernel(&self) -> bool {
        false
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A machine whose kernel was loaded somewhere, and what is mapped.
struct Machine {
    memory: KernelMemory,
    symbols: Few,
    /// First address, physical address, bytes, writable, executable.
    mapped: Vec<(u64, u64, u64, bool, bool)>,
    /// RAM, for a packed image.
    ram: Vec<(u64, u64)>,
}

/// How the kernel tells where its tables are, and how its addresses are laid out.
struct BuiltKernel {
    name: &'static str,
    paging: Paging,
    /// First address of its image, and of other memory that it maps.
    image: u64,
    other: u64,
    clue: RootLocator,
}

enum RootLocator {
    /// Variables that hold 0.
    Pointer(&'static str, &'static [&'static str]),
    Virtual(&'static str),
    Table(&'static str),
    Satp(u64),
}

const AMD64: u64 = 0xffff_ffff_8020_0000;
const RISCV: u64 = 0xffff_ffc0_0000_0000;

const KERNELS: [BuiltKernel; 14] = [
    kernel("amd64", Paging::Amd64, AMD64, 0xffff_fe00_4000_0000, RootLocator::Pointer("KPML4phys", &[])),
    kernel(
        "amd64, since 13",
        Paging::Amd64,
        AMD64,
        0xffff_fe00_4000_0000,
        RootLocator::Pointer("KPML4phys", &["KPML5phys"]),
    ),
    kernel(
        "amd64, five levels",
        Paging::Amd64La57,
        AMD64,
        0xffff_fe00_4000_0000,
        RootLocator::Pointer("KPML5phys", &[]),
    ),
    kernel(
        "arm64",
        Paging::Arm64,
        0xffff_0000_0000_0000,
        0xffff_a000_0000_0000,
        RootLocator::Table("pagetable_l0_ttbr1"),
    ),
    kernel(
        "arm64, 16 KiB",
        Paging::Arm64Large,
        0xffff_0000_0000_0000,
        0xffff_a000_0000_0000,
        RootLocator::Table("pagetable_l0_ttbr1"),
    ),
    kernel("riscv 12", Paging::Sv39, RISCV, 0xffff_ffd0_0000_0000, RootLocator::Table("pagetable_l1")),
    kernel("riscv 11", Paging::Sv48, RISCV, 0xffff_ffd0_0000_0000, RootLocator::Table("pagetable_l0")),
    kernel("riscv, Sv39", Paging::Sv39, RISCV, 0xffff_ffd0_0000_0000, RootLocator::Satp(8)),
    kernel("riscv, Sv48", Paging::Sv48, RISCV, 0xffff_ffd0_0000_0000, RootLocator::Satp(9)),
    kernel("i386 until 11", Paging::I386, 0xc040_0000, 0xc800_0000, RootLocator::Pointer("IdlePTD", &[])),
    kernel(
        "i386 with PAE until 12",
        Paging::I386Pae,
        0xc040_0000,
        0xc800_0000,
        RootLocator::Pointer("IdlePDPT", &["IdlePTD"]),
    ),
    kernel(
        "i386 since 13",
        Paging::I386,
        0x0080_0000,
        0x8800_0000,
        RootLocator::Pointer("IdlePTD_nopae", &["IdlePDPT", "IdlePTD_pae"]),
    ),
    kernel(
        "i386 with PAE since 13",
        Paging::I386Pae,
        0x0080_0000,
        0x8800_0000,
        RootLocator::Pointer("IdlePDPT", &["IdlePTD_nopae"]),
    ),
    kernel("arm", Paging::ArmV6, 0xc000_0000, 0xd000_0000, RootLocator::Virtual("kern_pt1")),
];

const fn kernel(name: &'static str, paging: Paging, image: u64, other: u64, clue: RootLocator) -> BuiltKernel {
    BuiltKernel { name, paging, image, other, clue }
}

/// Where the kernel's variables are in its image.
const VARIABLES: u64 = 256 * KIB + 0x4560;
/// Bytes of its image; the first half is read-only.
const IMAGE: u64 = 512 * KIB;

impl Machine {
    /// A kernel that was loaded at an address.
    fn new(kernel: &BuiltKernel, loaded: u64) -> Self {
        let (paging, page) = (kernel.paging, kernel.paging.page_size());
        // Tables stand behind the image; more RAM comes after a hole.
        let ram = vec![(loaded, loaded + MIB), (loaded + 6 * MIB, loaded + 6 * MIB + 64 * KIB)];
        // The assembler's tables are in the image itself.
        let tables = match kernel.clue {
            RootLocator::Table(_) => loaded + 320 * KIB,
            _ => loaded + IMAGE,
        };
        let mut machine =
            Self { memory: KernelMemory::new(paging, &ram, tables), symbols: Few(Vec::new()), mapped: Vec::new(), ram };
        // The image in small pages, as what is read-only is not what is written.
        for offset in (0..IMAGE).step_by(page as usize) {
            machine.map(kernel.image + offset, loaded + offset, page, (offset >= IMAGE / 2, offset < IMAGE / 2));
        }
        // Pages that lie together virtually only, one that is not in RAM, and what larger entries map.
        let far = loaded + 6 * MIB;
        machine.map(kernel.other + page, far + 3 * page, page, (true, false));
        machine.map(kernel.other + 2 * page, far, page, (true, true));
        machine.map(
            kernel.other + 3 * page,
            0x5_0000_0000 >> if paging.page_size() == 4096 { 4 } else { 0 },
            page,
            (true, false),
        );
        let bits = paging.bits();
        let large = 1 << bits[bits.len() - 2];
        machine.map(kernel.other + 2 * large, loaded / large * large, large, (true, false));
        if !paging.arch().is_32_bit() && paging != Paging::Arm64Large {
            let huge = 1 << 30;
            machine.map((kernel.other / huge + 2) * huge, 0, huge, (true, false));
        }
        let variable = kernel.image + VARIABLES;
        let word = if paging.arch().is_32_bit() { 4 } else { 8 };
        match kernel.clue {
            RootLocator::Pointer(name, unused) => {
                machine.symbols.0.push((name, variable));
                machine.memory.set(loaded + VARIABLES, tables, word);
                for (index, name) in (1..).zip(unused) {
                    machine.symbols.0.push((name, variable + 16 * index));
                    machine.memory.set(loaded + VARIABLES + 16 * index, 0, word);
                }
            }
            RootLocator::Virtual(name) => {
                machine.symbols.0.push((name, variable));
                machine.memory.set(loaded + VARIABLES, kernel.image + (tables - loaded), word);
            }
            RootLocator::Table(name) => machine.symbols.0.push((name, kernel.image + (tables - loaded))),
            RootLocator::Satp(mode) => {
                machine.symbols.0.push(("vmspace0", variable));
                machine.memory.set(loaded + VARIABLES + 0x170, mode << 60 | tables >> 12, 8);
            }
        }
        machine
    }

    fn map(&mut self, address: u64, physical: u64, size: u64, (writable, executable): (bool, bool)) {
        let bits = self.memory.paging.bits();
        let level = bits.iter().position(|bit| 1 << bit == size).unwrap() - 1;
        self.memory.map(address, physical, level, writable, executable);
        // There is no bit for it.
        let executable = executable || self.memory.paging == Paging::I386;
        self.mapped.push((address, physical, size, writable, executable));
    }

    fn elf(&self) -> Vec<u8> {
        let arch = self.memory.paging.arch();
        ElfSpec { segments: self.memory.segments(), ..ElfSpec::example(arch) }.build()
    }

    fn architecture(&self) -> Architecture {
        let name = self.memory.paging.arch().name();
        Architecture::ALL.into_iter().find(|architecture| architecture.name() == name).unwrap()
    }

    fn open(&self, bytes: Vec<u8>, packed: bool) -> Result<kernel::KernelMemory, Error> {
        let directory = directory();
        let ranges = packed.then_some(self.ram.as_slice());
        let memory =
            DumpedMemory::open(ByteSource::from_bytes(bytes), ranges, scratch(directory.path()), &Progress::default())
                .unwrap();
        kernel::KernelMemory::from_dump(memory, Some((self.architecture(), &self.symbols)))
    }

    /// Compares all that is mapped, and what is not.
    fn check(&self, what: &str, opened: &kernel::KernelMemory) {
        for &(address, physical, size, writable, executable) in &self.mapped {
            for within in [0, 1, size / 2, size - 8, size - 1] {
                let found = opened.translate(address + within).unwrap();
                let seen = (found.physical, found.protection.write, found.protection.execute);
                assert_eq!(seen, (physical + within, writable, executable), "{what}: {address:#x}");
                assert_eq!(opened.walk(address + within).1, Ok(found), "{what}: {address:#x}");
                let mut byte = [0];
                match (opened.read(address + within, &mut byte), self.memory.bytes(physical + within, 1)) {
                    (Ok(()), Some(expected)) => assert_eq!(byte.as_slice(), expected, "{what}: {address:#x}"),
                    (Err(fault), None) => assert_eq!(fault.why, Why::NoPage(physical + within), "{what}"),
                    (read, expected) => panic!("{what}: {address:#x}: {read:?}, {expected:?}"),
                }
            }
            let before = (address.wrapping_sub(1), address.wrapping_add(size));
            for other in [before.0, before.1] {
                let is_mapped = self.mapped.iter().any(|map| (map.0..=map.0 + (map.2 - 1)).contains(&other));
                assert_eq!(opened.translate(other).is_ok(), is_mapped, "{what}: {other:#x}");
            }
        }
        let mut all = Vec::new();
        let mut take = |mapping: Mapping| {
            all.push((
                mapping.address,
                mapping.physical,
                mapping.size,
                mapping.protection.write,
                mapping.protection.execute,
            ));
            ControlFlow::Continue(())
        };
        assert_eq!(opened.each_mapping(&mut take), Ok(0), "{what}");
        let mut expected: Vec<(u64, u64, u64, bool, bool)> = Vec::new();
        let mut mapped = self.mapped.clone();
        mapped.sort_unstable();
        for map in mapped {
            match expected.last_mut() {
                Some(last)
                    if last.0 + last.2 == map.0 && last.1 + last.2 == map.1 && (last.3, last.4) == (map.3, map.4) =>
                {
                    last.2 += map.2;
                }
                _ => expected.push(map),
            }
        }
        assert_eq!(all, expected, "{what}");
    }
}

#[test]
fn every_kernel_is_found_in_every_image_wherever_it_was_loaded() {
    for kernel in &KERNELS {
        let is_small = kernel.paging.arch().is_32_bit();
        // Where there is no other choice, the kernel is at its own address; see `sys/i386/i386/pmap.c` since 12.
        let places: &[u64] = match kernel.image {
            0x0080_0000 => &[8 * MIB],
            _ if is_small => &[4 * MIB, 18 * MIB],
            _ => &[2 * MIB, 42 * MIB],
        };
        for &loaded in places {
            let machine = Machine::new(kernel, loaded);
            let what = |kind: &str| format!("{} at {loaded:#x}, {kind}", kernel.name);
            machine.check(&what("ELF"), &machine.open(machine.elf(), false).unwrap());
            machine.check(&what("LiME"), &machine.open(machine.memory.lime(), false).unwrap());
            machine.check(&what("packed"), &machine.open(machine.memory.packed(), true).unwrap());
            // With zeros where there is no RAM, what is not there can be read.
            let padded = machine.open(machine.memory.padded(), false).unwrap();
            for map in machine.mapped.iter().filter(|map| machine.memory.bytes(map.1, 1).is_some()) {
                assert_eq!(padded.bytes::<1>(map.0).unwrap().to_vec(), machine.memory.bytes(map.1, 1).unwrap());
            }
        }
    }
}

#[test]
fn a_kernel_that_did_not_run_is_refused_by_name() {
    for kernel in &KERNELS {
        let loaded = if kernel.image == 0x0080_0000 { 8 * MIB } else { 4 * MIB };
        let mut machine = Machine::new(kernel, loaded);
        let symbols = machine.symbols.clone();
        machine.symbols.0.clear();
        let message = machine.open(machine.elf(), false).err().unwrap().to_string();
        assert!(message.contains("/boot/kernel/kernel has no symbol that leads to the page tables"), "{message}");
        for (_, address) in &mut machine.symbols.0 {
            *address += 0x1238;
        }
        machine.symbols = Few(symbols.0.iter().map(|(name, address)| (*name, address + 0x1238)).collect());
        let message = machine.open(machine.elf(), false).err().unwrap().to_string();
        let expected = format!("{} at {:#x}", symbols.0[0].0, symbols.0[0].1 + 0x1238);
        assert!(message.contains("page tables are not in this memory") && message.contains(&expected), "{message}");
        assert!(message.contains("is /boot/kernel/kernel the kernel that was running?"), "{message}");
        let directory = directory();
        let bytes = ByteSource::from_bytes(machine.elf());
        let memory = DumpedMemory::open(bytes, None, scratch(directory.path()), &Progress::default()).unwrap();
        let message = kernel::KernelMemory::from_dump(memory, None).err().unwrap().to_string();
        assert!(message.contains("give its kernel with --kernel"), "{message}");
    }
}

/// The first gigabytes of an image without RAM at 0 are not looked through byte by byte.
#[test]
fn amd64s_direct_map_is_known_by_its_first_page_or_by_the_kernels_own_word() {
    let elsewhere = (0xffff_a000_0000_0000, 0xffff_a800_0000_0000);
    let four = (0xffff_f800_0000_0000, 0xffff_fc00_0000_0000);
    let five = (0xff01_0000_0000_0000, 0xff21_0000_0000_0000);
    // Kernels before 15 with five levels have the addresses of four.
    for (kernel, (base, end), is_told) in
        [(0, four, false), (2, five, false), (2, four, false), (2, five, true), (0, elsewhere, true)]
    {
        let kernel = &KERNELS[kernel];
        let mut machine = Machine::new(kernel, 42 * MIB);
        machine.map(base, 0, 1 << 30, (true, false));
        if is_told {
            // A layout with five levels has the borders of the one with four among its later members.
            let words = [0, 0, base, end, 1 << 63, 1 << 63, 0xffff_fe00_0000_0000, 0, four.0, four.1];
            machine.symbols.0.push(("kva_layout", kernel.image + VARIABLES + 0x100));
            for (word, index) in words.into_iter().zip(0..) {
                machine.memory.set(42 * MIB + VARIABLES + 0x100 + 8 * index, word, 8);
            }
        }
        let opened = machine.open(machine.elf(), false).unwrap();
        let found = opened.translate(base + 42 * MIB).unwrap();
        assert_eq!((found.physical, found.page_size), (42 * MIB, None), "{base:#x}");
        let mut direct = Vec::new();
        opened
            .each_mapping(|mapping| {
                direct.extend((base..end).contains(&mapping.address).then_some((mapping.physical, mapping.size)));
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(direct, [(42 * MIB, MIB), (48 * MIB, 64 * KIB)], "{base:#x}");
    }
}

/// Whoever shares the memory, or where it lies beyond 1 PiB: the same bits of an entry.
#[test]
fn arm64s_physical_addresses_have_52_bits_where_the_kernel_has_them() {
    let lpa2 = kernel(
        "LPA2",
        Paging::Arm64Lpa2,
        0xffff_0000_0000_0000,
        0xffff_a000_0000_0000,
        RootLocator::Table("pagetable_l0_ttbr1"),
    );
    for loaded in [42 * MIB, (3 << 50) + 42 * MIB, (1 << 51) + (1 << 49) + 2 * MIB] {
        let mut machine = Machine::new(&lpa2, loaded);
        if loaded >> 50 > 0 {
            // Where the builder maps devices.
            machine.mapped.retain(|map| map.1 >= loaded - 42 * MIB);
        }
        for (what, opened) in [
            ("ELF", machine.open(machine.elf(), false).unwrap()),
            ("LiME", machine.open(machine.memory.lime(), false).unwrap()),
            ("packed", machine.open(machine.memory.packed(), true).unwrap()),
        ] {
            for &(address, physical, size, writable, executable) in &machine.mapped {
                let found = opened.translate(address + size - 8).unwrap();
                let seen = (found.physical, found.protection.write, found.protection.execute);
                assert_eq!(seen, (physical + size - 8, writable, executable), "{what} at {loaded:#x}: {address:#x}");
            }
            assert_eq!(opened.read(lpa2.image, &mut [0; 4096]), Ok(()), "{what} at {loaded:#x}");
        }
    }
}

/// A kernel that ran before left its tables behind, which still lead to the same places, but not to all.
#[test]
fn an_old_copy_of_the_tables_is_not_taken_for_them() {
    let kernel = KERNELS.iter().find(|kernel| kernel.paging == Paging::Arm64).unwrap();
    let mut machine = Machine::new(kernel, 42 * MIB);
    let root = machine.memory.root;
    let index = (kernel.other >> 39) % 512;
    let mut copy = machine.memory.bytes(root, 4096).unwrap();
    copy[index as usize * 8..][..8].fill(0);
    machine.memory.pages.insert(root - 40 * MIB, copy);
    machine.check("arm64 with a copy", &machine.open(machine.elf(), false).unwrap());
}
