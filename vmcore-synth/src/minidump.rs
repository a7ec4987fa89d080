//! Minidumps, from a description of what is in them.
//!
//! Sources: `machine/minidump.h`, `minidump_machdep.c` and `sys/vm/vm_dumpset.h`; the bitmap's words as
//! `lib/libkvm/kvm_private.c` reads them.

use super::arch::{ARM_V4, ARM_V6, ARM64_PS_4K, ARM64_PS_16K, Arch, Endianness, MMU_G5, MMU_PHYP, MMU_RADIX};
use super::page_tables::{self, Translation, superpage_size};
use super::spec::{DirectMap, Mapping, MinidumpSpec};
use super::{Field, pad, page_of, set, set_text};
use std::collections::BTreeMap;
use std::ops::Range;

/// Where the parts stand in the file, without the padding behind each. The header is at 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    pub message_buffer: Range<usize>,
    /// Empty where the version has none.
    pub dump_avail: Range<usize>,
    pub bitmap: Range<usize>,
    pub page_tables: Range<usize>,
    pub pages: Range<usize>,
}

impl MinidumpSpec {
    /// A small dump: two ranges of memory with pages missing in both, the first ending within a page; some
    /// mappings, one of them a superpage where there are such, and two to pages that are not in the dump.
    pub fn example(arch: Arch, version: u32) -> Self {
        let (ram, kernel_base, direct_map) = match arch {
            Arch::Amd64 if version == 1 => (0, 0xffff_ffff_8000_0000, 0xffff_ff00_0000_0000),
            Arch::Amd64 => (0, 0xffff_fe00_0000_0000, 0xffff_f800_0000_0000),
            Arch::Arm64 => (0x4000_0000, 0xffff_0000_0000_0000, 0xffff_a000_0000_0000),
            Arch::Riscv => (0x8000_0000, 0xffff_ffc0_0000_0000, 0xffff_ffd0_0000_0000),
            Arch::Arm => (0x1000_0000, 0xc000_0000, 0),
            Arch::I386 if version == 1 => (0, 0xc000_0000, 0),
            Arch::I386 => (0, 0x0080_0000, 0),
            Arch::Powerpc64 => (0, 0xe000_0000_0000_0000, 0xc000_0000_0000_0000),
        };
        let mut spec = Self {
            arch,
            version,
            order: arch.order(),
            page_size: 4096,
            message_buffer: b"Copyright (c) 1992-2023 The FreeBSD Project.\npanic: page fault\n".repeat(70),
            dump_avail: Vec::new(),
            dump_avail_size: None,
            dump_avail_word: arch.physical_word(),
            bitmap_size: None,
            behind_bitmap: 0,
            pages: BTreeMap::new(),
            kernel_base,
            kernel_end: kernel_base,
            mappings: Vec::new(),
            page_table_pages: Vec::new(),
            direct_map: DirectMap { base: direct_map, end: direct_map, physical: 0 },
            pae: false,
            arm_format: if version == 1 { ARM_V4 } else { ARM_V6 },
            mmu_name: MMU_G5,
            kernel_image: (0xc000_0000_0010_0100, 0xc000_0000_0190_0000),
        };
        spec.fill(ram);
        spec
    }

    /// arm64 with pages of 16 KiB.
    pub fn arm64_16k(version: u32) -> Self {
        let mut spec = Self { page_size: 16384, ..Self::example(Arch::Arm64, version) };
        spec.fill(0x4000_0000);
        spec
    }

    /// i386 with entries of 8 bytes.
    pub fn i386_pae(version: u32) -> Self {
        let mut spec = Self { pae: true, ..Self::example(Arch::I386, version) };
        spec.fill(0);
        spec
    }

    /// arm of that version of the header and that format of the page tables.
    pub fn arm(version: u32, format: u32) -> Self {
        let mut spec = Self { arm_format: format, ..Self::example(Arch::Arm, version) };
        spec.fill(0x1000_0000);
        spec
    }

    /// powerpc64 with that kind of page tables, of which radix leaves none in the dump.
    pub fn powerpc64(version: u32, mmu_name: &'static str) -> Self {
        Self { mmu_name, ..Self::example(Arch::Powerpc64, version) }
    }

    /// Memory and mappings of the example, in pages and superpages of their size.
    fn fill(&mut self, ram: u64) {
        let page = self.page_size;
        // With superpages of 64 KiB the ranges would be too short for what follows.
        let large = superpage_size(self).max(0x80 * page);
        let at = |index: u64| ram + index * page;
        self.dump_avail = vec![(ram, at(0x1e) + 0x400), (at(0x23), ram + 3 * large)];
        let dumped = [0, 1, 2, 5, 7, 0x1d, 0x1e, 0x23, 0x24, 0x25, 0x26, 0x27, 0x2b, 0x40, 0x41, 0x42, 0x7f];
        let of_superpage = [0, 1, 3, 15, large / page - 1].map(|index| large / page + index);
        let last = 3 * large / page - 1;
        self.pages = dumped
            .into_iter()
            .chain(of_superpage)
            .chain([last])
            .map(|index| (at(index), page_of(at(index), page)))
            .collect();
        if matches!(self.arch, Arch::Amd64 | Arch::Arm64 | Arch::Riscv | Arch::Powerpc64) {
            self.direct_map.end = self.direct_map.base + 3 * large;
        }
        if matches!(self.arch, Arch::Arm64 | Arch::Riscv) {
            self.direct_map.physical = ram;
        }
        let map = |offset: u64, physical, length, writable, executable| Mapping {
            address: self.kernel_base + offset,
            physical,
            length,
            writable,
            executable,
            superpage: false,
        };
        self.mappings = vec![
            map(2 * page, at(0x24), 4 * page, true, false),
            map(8 * page, at(0x2b), page, false, true),
            map(9 * page, at(5), page, false, false),
            // Not dumped, and no memory.
            map(16 * page, at(0x29), page, true, false),
            map(17 * page, 0xfec0_0000, page, true, false),
            Mapping { superpage: true, ..map(large, ram + large, superpage_size(self), true, false) },
        ];
        self.kernel_end = self.kernel_base + 2 * large;
        if self.arch == Arch::Powerpc64 {
            self.kernel_end = self.kernel_base + (32 << 30);
            // Part of a page of 16 MiB in another segment.
            let part = map((1 << 28) + 5 * large + 4 * page, ram + large + 4 * page, 3 * page, true, true);
            self.mappings.push(Mapping { superpage: true, ..part });
        }
        if self.arch == Arch::Amd64 && self.version >= 2 {
            // In the second GiB.
            self.mappings.push(map((1 << 30) + 5 * page, at(0x7f), page, true, true));
            self.kernel_end = self.kernel_base + (2 << 30);
            self.page_table_pages = vec![at(0x30), at(0x33)];
        }
    }

    pub fn has_dump_avail(&self) -> bool {
        self.version >= self.arch.dump_avail_since()
    }

    /// All dumped pages, page-table pages included.
    pub fn pages(&self) -> BTreeMap<u64, Vec<u8>> {
        let mut pages = self.pages.clone();
        pages.extend(page_tables::build(self).1);
        pages
    }

    /// Where virtual pages lead, by their first address.
    pub fn translations(&self) -> BTreeMap<u64, Translation> {
        page_tables::translations(self)
    }

    /// First page and number of pages of each range that the bitmap counts.
    fn counted(&self) -> Vec<(u64, u64)> {
        let page_of_end = |end: u64| end.div_ceil(self.page_size);
        if !self.has_dump_avail() {
            return vec![(0, page_of_end(self.dump_avail.last().expect("no memory").1))];
        }
        let count = |&(start, end): &(u64, u64)| {
            let first = start / self.page_size;
            (first, page_of_end(end) - first)
        };
        self.dump_avail.iter().map(count).collect()
    }

    /// The bit that stands for a page.
    pub fn bit(&self, physical: u64) -> u64 {
        let page = physical / self.page_size;
        let mut before = 0;
        for (first, count) in self.counted() {
            if (first..first + count).contains(&page) {
                return before + page - first;
            }
            before += count;
        }
        panic!("no bit stands for {physical:#x}");
    }

    /// The byte of the bitmap and the mask of a bit in it: bits are counted within words.
    pub fn byte_of_bit(&self, bit: u64) -> (usize, u8) {
        let byte = bit as usize / 8;
        let word = self.arch.word();
        let byte = match self.order {
            Endianness::Little => byte,
            Endianness::Big => byte / word * word + word - 1 - byte % word,
        };
        (byte, 1 << (bit % 8))
    }

    /// The page bitmap.
    pub fn bitmap(&self) -> Vec<u8> {
        let bits: u64 = self.counted().iter().map(|range| range.1).sum();
        let whole_words = bits.div_ceil(8).next_multiple_of(self.arch.word() as u64);
        let mut bitmap = vec![0; self.bitmap_size.unwrap_or(whole_words) as usize];
        for physical in self.pages().keys() {
            let (byte, mask) = self.byte_of_bit(self.bit(*physical));
            bitmap[byte] |= mask;
        }
        for bit in bits..bitmap.len() as u64 * 8 {
            let (byte, mask) = self.byte_of_bit(bit);
            bitmap[byte] |= mask & self.behind_bitmap;
        }
        bitmap
    }

    /// The `dump_avail` array; nothing where the version has none.
    pub fn dump_avail_array(&self) -> Vec<u8> {
        if !self.has_dump_avail() {
            return Vec::new();
        }
        let word = self.dump_avail_word;
        let numbers = self.dump_avail.iter().flat_map(|range| [range.0, range.1]).chain([0, 0]);
        let mut array: Vec<u8> = numbers.flat_map(|number| self.order.bytes(number, word)).collect();
        match self.dump_avail_size {
            Some(size) => array.resize(size as usize, 0),
            None => pad(&mut array, self.page_size),
        }
        array
    }

    /// The header's fields in this version, to cut and to spoil.
    pub fn header_fields(&self) -> Vec<Field> {
        self.arch.fields_of(self.version)
    }

    /// The first page of the file.
    pub fn header(&self) -> Vec<u8> {
        let mut page = vec![0; self.page_size as usize];
        let fields = self.header_fields();
        set_text(&mut page, &fields, "magic", &self.arch.magic());
        if self.arch == Arch::Powerpc64 {
            set_text(&mut page, &fields, "mmu_name", self.mmu_name);
        }
        let size = |part: Range<usize>| part.len() as u64;
        let parts = self.parts();
        let tables = size(parts.page_tables);
        for (name, value) in [
            ("version", self.version.into()),
            ("msgbufsize", size(parts.message_buffer)),
            ("bitmapsize", size(parts.bitmap)),
            ("pmapsize", tables),
            ("ptesize", tables),
            ("kernbase", self.kernel_base),
            // powerpc64 has the last address here, and of the direct map.
            ("kernend", self.kernel_end.wrapping_sub(1)),
            ("dmapphys", self.direct_map.physical),
            ("dmapbase", self.direct_map.base),
            ("dmapend", self.direct_map.end.wrapping_sub(u64::from(self.arch == Arch::Powerpc64))),
            ("dumpavailsize", size(parts.dump_avail)),
            ("flags", if self.page_size == 16384 { ARM64_PS_16K } else { ARM64_PS_4K }.into()),
            ("arch", 7),
            ("mmuformat", self.arm_format.into()),
            ("paemode", self.pae.into()),
            ("hw_direct_map", 1),
            ("startkernel", self.kernel_image.0),
            ("endkernel", self.kernel_image.1),
        ] {
            if fields.iter().any(|field| field.0 == name) {
                set(&mut page, &fields, self.order, name, value);
            }
        }
        page
    }

    pub fn parts(&self) -> Parts {
        let mut next = self.page_size as usize;
        let mut part = |size: usize| {
            let part = next..next + size;
            next = part.end.next_multiple_of(self.page_size as usize);
            part
        };
        Parts {
            message_buffer: part(self.message_buffer.len()),
            dump_avail: part(self.dump_avail_array().len()),
            bitmap: part(self.bitmap().len()),
            page_tables: part(page_tables::build(self).0.len()),
            pages: part(self.pages().len() * self.page_size as usize),
        }
    }

    /// Where a dumped page stands in the file.
    pub fn offset_of(&self, physical: u64) -> Option<usize> {
        let mut in_bit_order: Vec<u64> = self.pages().into_keys().collect();
        in_bit_order.sort_by_key(|page| self.bit(*page));
        let index = in_bit_order.iter().position(|page| *page == physical)?;
        Some(self.parts().pages.start + index * self.page_size as usize)
    }

    pub fn build(&self) -> Vec<u8> {
        let mut dump = self.header();
        let (tables, _) = page_tables::build(self);
        for part in [self.message_buffer.clone(), self.dump_avail_array(), self.bitmap(), tables] {
            dump.extend(part);
            pad(&mut dump, self.page_size);
        }
        let end = self.parts().bitmap.end;
        dump[end..end.next_multiple_of(self.page_size as usize)].fill(self.behind_bitmap);
        let mut pages: Vec<(u64, Vec<u8>)> = self.pages().into_iter().collect();
        pages.sort_by_key(|page| self.bit(page.0));
        for (physical, contents) in pages {
            assert_eq!(contents.len() as u64, self.page_size, "the page at {physical:#x}");
            dump.extend(contents);
        }
        dump
    }
}

/// Small dumps of all architectures, versions and kinds of page tables, with a name for each.
pub fn every_variant() -> Vec<(String, MinidumpSpec)> {
    let mut variants = Vec::new();
    for arch in Arch::ALL {
        for version in 1..=arch.newest() {
            let name = format!("{}-v{version}", arch.name());
            let mut add = |kind: &str, spec| variants.push((format!("{name}{kind}"), spec));
            match arch {
                Arch::Arm => {
                    add("-armv4", MinidumpSpec::arm(version, ARM_V4));
                    add("-armv6", MinidumpSpec::arm(version, ARM_V6));
                    if version == 2 {
                        let spec = MinidumpSpec { dump_avail_word: 8, ..MinidumpSpec::arm(version, ARM_V6) };
                        add("-armv6-64-bit-dump_avail", spec);
                    }
                }
                Arch::Powerpc64 => {
                    for (kind, mmu_name) in [("-g5", MMU_G5), ("-phyp", MMU_PHYP), ("-radix", MMU_RADIX)] {
                        add(kind, MinidumpSpec::powerpc64(version, mmu_name));
                    }
                }
                _ => add("", MinidumpSpec::example(arch, version)),
            }
            if arch == Arch::I386 {
                add("-pae", MinidumpSpec::i386_pae(version));
            }
            if arch == Arch::Arm64 && version == 3 {
                add("-16k", MinidumpSpec::arm64_16k(version));
            }
        }
    }
    variants
}
