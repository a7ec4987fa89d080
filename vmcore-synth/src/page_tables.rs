//! The kernel's page tables as a minidump holds them.
//!
//! Sources: `minidump_machdep.c`, `machine/pmap.h` and `machine/pte.h` of each architecture, for arm's two formats
//! `lib/libkvm/kvm_arm.h`, and for powerpc64's hashed tables `machine/slb.h`, `sys/powerpc/aim/mmu_oea64.c` and
//! `lib/libkvm/kvm_minidump_powerpc64_hpt.c`.

use super::arch::{ARM_V4, Arch, Endianness, MMU_PHYP, MMU_RADIX};
use super::spec::MinidumpSpec;
use std::collections::BTreeMap;

/// What a dump says of a virtual page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    pub physical: u64,
    pub writable: bool,
    pub executable: bool,
    /// The dump shows that the page is part of a superpage.
    pub superpage: bool,
}

/// Bytes that a superpage maps.
pub fn superpage_size(spec: &MinidumpSpec) -> u64 {
    match spec.arch {
        Arch::Arm if spec.arm_format == ARM_V4 => 0x1_0000,
        Arch::Arm => 1 << 20,
        Arch::I386 if !spec.pae => 4 << 20,
        Arch::Powerpc64 => POWERPC_LARGE,
        // As many as one page of entries maps: 2 MiB for pages of 4 KiB, 32 MiB for those of 16 KiB.
        _ => spec.page_size * spec.page_size / 8,
    }
}

/// Whether the dump holds page directories instead of last-level entries.
fn has_directories(spec: &MinidumpSpec) -> bool {
    spec.arch == Arch::Amd64 && spec.version >= 2
}

/// Bytes of a last-level entry.
fn entry_size(spec: &MinidumpSpec) -> usize {
    if spec.arch.is_32_bit() && !(spec.arch == Arch::I386 && spec.pae) { 4 } else { 8 }
}

/// What the dump says of each page of the mappings.
pub fn translations(spec: &MinidumpSpec) -> BTreeMap<u64, Translation> {
    let mut translations = BTreeMap::new();
    if spec.arch == Arch::Powerpc64 && spec.mmu_name == MMU_RADIX {
        return translations;
    }
    for mapping in &spec.mappings {
        for offset in (0..mapping.length).step_by(spec.page_size as usize) {
            let mut page = Translation {
                physical: mapping.physical + offset,
                writable: mapping.writable,
                executable: mapping.executable,
                superpage: mapping.superpage,
            };
            let large = spec.arch == Arch::Arm && spec.arm_format == ARM_V4;
            if mapping.superpage && !has_directories(spec) && !large && spec.arch != Arch::Powerpc64 {
                page.superpage = false;
                // The kernel makes last-level entries for these up, with all rights.
                if matches!(spec.arch, Arch::Amd64 | Arch::I386 | Arch::Arm64) {
                    (page.writable, page.executable) = (true, true);
                }
            }
            // There is no bit for it.
            page.executable |= spec.arch == Arch::I386 && !spec.pae || large;
            translations.insert(mapping.address + offset, page);
        }
    }
    translations
}

/// Bits of page-table entries, with their names in the architecture's headers.
pub mod bits {
    // `machine/pmap.h` of amd64; the same on i386.
    pub const X86_PG_V: u64 = 1;
    pub const X86_PG_RW: u64 = 2;
    pub const X86_PG_A: u64 = 0x20;
    pub const X86_PG_M: u64 = 0x40;
    pub const X86_PG_PS: u64 = 0x80;
    pub const X86_PG_NX: u64 = 1 << 63;
    // `machine/pte.h` of arm64.
    pub const L3_PAGE: u64 = 3;
    pub const ATTR_S1_AP_RO: u64 = 1 << 7;
    pub const ATTR_SH_IS: u64 = 3 << 8;
    pub const ATTR_AF: u64 = 1 << 10;
    pub const ATTR_S1_XN: u64 = 3 << 53;
    // `machine/pte.h` of riscv; the page number follows.
    pub const PTE_V: u64 = 1;
    pub const PTE_R: u64 = 2;
    pub const PTE_W: u64 = 4;
    pub const PTE_X: u64 = 8;
    pub const PTE_A: u64 = 0x40;
    pub const PTE_D: u64 = 0x80;
    pub const PTE_PPN0_S: u64 = 10;
    // `machine/pte.h` of arm.
    pub const PTE2_NX: u64 = 1;
    pub const PTE2_V: u64 = 2;
    pub const PTE2_A: u64 = 0x10;
    pub const PTE2_RO: u64 = 0x80;
    pub const PTE2_NM: u64 = 0x200;
    // `pte-v4.h` of arm until FreeBSD 12: large and small pages, and writing allowed in four parts of a page.
    pub const L2_TYPE_L: u64 = 1;
    pub const L2_TYPE_S: u64 = 2;
    pub const L2_AP_W: u64 = 0x550;
}

/// A page-table entry of the architecture.
fn entry(spec: &MinidumpSpec, address: u64, page: Translation) -> u64 {
    use bits::*;
    let Translation { physical, writable, executable, superpage } = page;
    let flag = |set: bool, bits: u64| if set { bits } else { 0 };
    match spec.arch {
        Arch::Amd64 | Arch::I386 => {
            let rights = flag(writable, X86_PG_RW) | flag(!executable, X86_PG_NX);
            physical | X86_PG_V | X86_PG_A | X86_PG_M | flag(superpage, X86_PG_PS) | rights
        }
        Arch::Arm64 => {
            let rights = flag(!writable, ATTR_S1_AP_RO) | flag(!executable, ATTR_S1_XN);
            physical | L3_PAGE | ATTR_SH_IS | ATTR_AF | rights
        }
        Arch::Riscv => {
            let rights = PTE_R | flag(writable, PTE_W | PTE_D) | flag(executable, PTE_X);
            ((physical / spec.page_size) << PTE_PPN0_S) | PTE_V | PTE_A | rights
        }
        // A large page's entry stands in each of its 16 slots.
        Arch::Arm if spec.arm_format == ARM_V4 && superpage => {
            (physical - address % 0x1_0000) | L2_TYPE_L | flag(writable, L2_AP_W)
        }
        Arch::Arm if spec.arm_format == ARM_V4 => physical | L2_TYPE_S | flag(writable, L2_AP_W),
        Arch::Arm => {
            let rights = flag(!writable, PTE2_RO | PTE2_NM) | flag(!executable, PTE2_NX);
            physical | PTE2_V | PTE2_A | rights
        }
        Arch::Powerpc64 => panic!("powerpc64's entries take two words: see `hashed`"),
    }
}

const POWERPC_LARGE: u64 = 16 << 20;
/// Groups of eight entries of 16 bytes: the smallest table that the processor takes.
pub const POWERPC_GROUPS: u64 = 2048;

/// powerpc64: the kernel's virtual segment for each 256 MiB.
pub fn powerpc_segment(address: u64) -> u64 {
    let segment = address >> 28;
    (((segment << 8) | (segment >> 28)) * 0x13bb) % (1 << 36) + (1 << 36)
}

/// powerpc64: the table that the processor or the hypervisor has, with the direct map's entries in it, a user's and
/// some that are not valid.
fn hashed(spec: &MinidumpSpec) -> Vec<u8> {
    // The processor's is big-endian, the hypervisor's as it answers a kernel.
    let order = if spec.mmu_name == MMU_PHYP { spec.order } else { Endianness::Big };
    let mut table = vec![[0_u64; 2]; POWERPC_GROUPS as usize * 8];
    // Puts an entry into the first free place of its group, counted from anywhere, or into the second group.
    let mut put = |segment: u64, address: u64, shift: u32, low: u64, big: u64| {
        let hash = (segment % (1 << 39)) ^ ((address % (1 << 28)) >> shift);
        let abbreviated = (segment << 12) | ((address >> 23) % 32) << 7;
        for (second, group) in [(0, hash % POWERPC_GROUPS), (2, POWERPC_GROUPS - 1 - hash % POWERPC_GROUPS)] {
            let places = (0..8).map(|place| (group * 8 + (address / 4096 + place) % 8) as usize);
            if let Some(free) = places.into_iter().find(|place| table[*place][0] & 1 == 0) {
                table[free] = [abbreviated | big << 2 | second | 1, low];
                return;
            }
        }
        panic!("no place for {address:#x}");
    };
    // The processor only looks at what is marked as in use.
    for physical in (0..4 * POWERPC_LARGE).step_by(POWERPC_LARGE as usize) {
        let address = spec.direct_map.base + physical;
        put(powerpc_segment(address), address, 24, physical | 2, 1);
    }
    for mapping in &spec.mappings {
        // PP of what supervisors write, or all read; N; M of WIMG, changed and referenced.
        let rights = if mapping.writable { 2 } else { 3 } | if mapping.executable { 0 } else { 4 };
        let whole = mapping.superpage && mapping.length % POWERPC_LARGE == 0;
        let (shift, step) = if whole { (24, POWERPC_LARGE) } else { (12, 4096) };
        for offset in (0..mapping.length).step_by(step as usize) {
            let (address, physical) = (mapping.address + offset, mapping.physical + offset);
            // 4 KiB within 16 MiB.
            let part = if mapping.superpage && !whole { 0x38 << 12 } else { 0 };
            let frame = if mapping.superpage { physical - physical % POWERPC_LARGE } else { physical };
            put(powerpc_segment(address), address, shift, frame | part | 0x190 | rights, u64::from(mapping.superpage));
        }
    }
    // A user's page, and the hypervisor's own, which have no kernel's segment.
    put(0x1234, 0x1000_0000, 12, 0x5000 | 2, 0);
    put(0x1ff_ffff, 0x2000, 12, 0x6000 | 2, 0);
    let unused = table.iter_mut().filter(|entry| entry[0] == 0).step_by(50);
    unused.for_each(|entry| *entry = [powerpc_segment(spec.kernel_base) << 12, 0x7000 | 2]);
    table.iter().flatten().flat_map(|word| order.bytes(*word, 8)).collect()
}

/// The page-table area of the dump, and page-table pages among the dumped pages.
pub fn build(spec: &MinidumpSpec) -> (Vec<u8>, BTreeMap<u64, Vec<u8>>) {
    if spec.arch == Arch::Powerpc64 {
        // That MMU has no function that dumps its tables.
        let table = if spec.mmu_name == MMU_RADIX { Vec::new() } else { hashed(spec) };
        return (table, BTreeMap::new());
    }
    let size = entry_size(spec);
    let put = |table: &mut [u8], index: u64, entry: u64| {
        let at = index as usize * size;
        table[at..at + size].copy_from_slice(&Endianness::Little.bytes(entry, size));
    };
    let translations = translations(spec);
    if !has_directories(spec) {
        let pages = (spec.kernel_end - spec.kernel_base).div_ceil(spec.page_size);
        let mut table = vec![0; pages as usize * size];
        for (address, page) in translations {
            put(&mut table, (address - spec.kernel_base) / spec.page_size, entry(spec, address, page));
        }
        return (table, BTreeMap::new());
    }

    const SLOT: u64 = 2 << 20;
    // One page of directory entries for each GiB.
    let directories = (spec.kernel_end - spec.kernel_base).div_ceil(1 << 30);
    let mut area = vec![0; directories as usize * 4096];
    let mut tables = BTreeMap::new();
    let mut table_addresses = spec.page_table_pages.iter().copied();
    let mut table_of_slot = BTreeMap::new();
    for (address, page) in translations {
        let slot = (address - spec.kernel_base) / SLOT;
        if page.superpage {
            let first = Translation { physical: page.physical - address % SLOT, ..page };
            put(&mut area, slot, entry(spec, address, first));
            continue;
        }
        let table = *table_of_slot.entry(slot).or_insert_with(|| {
            let table = table_addresses.next().expect("too few page-table pages");
            let all = Translation { physical: table, writable: true, executable: true, superpage: false };
            put(&mut area, slot, entry(spec, address, all));
            table
        });
        let contents = tables.entry(table).or_insert_with(|| vec![0; 4096]);
        put(contents, address / 4096 % 512, entry(spec, address, page));
    }
    (area, tables)
}
