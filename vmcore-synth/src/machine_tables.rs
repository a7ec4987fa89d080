//! What a kernel knows of the machine: the loader's records with the firmware's maps of memory, and memory ranges.
//!
//! Sources: `sys/kern/subr_module.c`, `sys/sys/linker.h`, `sys/*/include/metadata.h`, `struct bios_smap` in
//! `sys/x86/include/pc/bios.h`, `struct efi_map_header` in `sys/sys/efi_map.h`, `sys/sys/memrange.h`.

use super::arch::Arch;
use super::typed_kernel::TypedKernel;

/// `MODINFO_METADATA`.
const METADATA: u32 = 0x8000;
/// `MODINFOMD_SMAP` and `MODINFOMD_SMAP_XATTR` of x86.
pub const SMAP: u32 = METADATA | 0x1001;
pub const SMAP_ATTRIBUTES: u32 = METADATA | 0x1002;

/// `MODINFOMD_EFI_MAP`.
pub fn efi_map_type(arch: Arch) -> u32 {
    METADATA
        | match arch {
            Arch::Amd64 | Arch::I386 => 0x1004,
            Arch::Arm64 => 0x1001,
            Arch::Riscv => 0x1002,
            Arch::Arm => 0x1003,
            Arch::Powerpc64 => panic!("loaders of powerpc have no such map"),
        }
}

/// A memory range: base, length, flags and owner.
pub type RangeSpec<'a> = (u64, u64, u32, &'a str);

/// The BIOS's map as the loader hands it over: base, length and type of each entry.
pub fn smap(entries: &[(u64, u64, u32)]) -> Vec<u8> {
    let entry = |&(base, length, kind): &(u64, u64, u32)| {
        [&base.to_le_bytes()[..], &length.to_le_bytes(), &kind.to_le_bytes()].concat()
    };
    entries.iter().flat_map(entry).collect()
}

/// UEFI's map as the loader hands it over: type, address and pages of 4 KiB of each descriptor.
pub fn efi_map(entries: &[(u32, u64, u64)]) -> Vec<u8> {
    const DESCRIPTOR: u64 = 48;
    let size = DESCRIPTOR * entries.len() as u64;
    let header = [size.to_le_bytes(), DESCRIPTOR.to_le_bytes(), 1_u64.to_le_bytes(), [0; 8]];
    let mut bytes = header.concat();
    for &(kind, start, pages) in entries {
        let fields = [u64::from(kind), start, 0, pages, 0xf, 0];
        bytes.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
    }
    bytes
}

impl TypedKernel {
    /// Gives it the loader's records, type and contents of each, and the end. Returns where they are.
    pub fn add_loader_records(&mut self, records: &[(u32, Vec<u8>)]) -> u64 {
        let (order, word) = (self.arch.order(), self.arch.word());
        let mut bytes = Vec::new();
        for (kind, contents) in records {
            bytes.extend(order.bytes(u64::from(*kind), 4));
            bytes.extend(order.bytes(contents.len() as u64, 4));
            bytes.extend(contents);
            bytes.resize(bytes.len().next_multiple_of(word), 0);
        }
        bytes.extend([0; 8]);
        let at = self.allocate_pages(bytes.len() as u64);
        self.write_bytes(at, &bytes);
        let text = self.basic.string;
        self.zeroed_variable("preload_metadata", text);
        self.set_variable("preload_metadata", "", at);
        at
    }

    /// Gives it memory ranges.
    pub fn add_memory_ranges(&mut self, ranges: &[RangeSpec<'_>]) {
        let basic = self.basic;
        let (long, int) = (basic.unsigned_long_long, basic.int);
        let owner = self.types.array(basic.character, 8);
        let members = [("mr_base", long), ("mr_len", long), ("mr_flags", int), ("mr_owner", owner)];
        let range = self.types.record("mem_range_desc", &members);
        let pointer = self.types.pointer(range);
        let members = [("mr_op", basic.pointer), ("mr_cap", int), ("mr_ndesc", int), ("mr_desc", pointer)];
        let table = self.types.record("mem_range_softc", &members);
        self.zeroed_variable("mem_range_softc", table);
        let each = self.types.size_of(range);
        let first = self.allocate_pages(each * ranges.len().max(1) as u64);
        for (index, &(base, length, flags, owner)) in (0..).zip(ranges) {
            let at = first + index * each;
            self.set(at, range, "mr_base", base);
            self.set(at, range, "mr_len", length);
            self.set(at, range, "mr_flags", flags);
            self.set_text(at, range, "mr_owner", owner);
        }
        self.set_variable("mem_range_softc", "mr_ndesc", ranges.len() as u64);
        self.set_variable("mem_range_softc", "mr_desc", first);
    }

    /// Gives it what it has read of an x86 processor: `MTRRdefType`, the width of physical addresses in bits, and who made it.
    pub fn add_processor(&mut self, default_type: u64, physical_bits: u32, vendor: &str) {
        let basic = self.basic;
        let vendor_type = self.types.array(basic.character, 20);
        let numbers = [
            ("mtrrdef", basic.unsigned_long_long, default_type),
            ("cpu_maxphyaddr", basic.unsigned_int, physical_bits.into()),
        ];
        for (name, of, value) in numbers {
            self.zeroed_variable(name, of);
            self.set_variable(name, "", value);
        }
        let at = self.zeroed_variable("cpu_vendor", vendor_type);
        self.write_bytes(at, vendor.as_bytes());
    }
}
