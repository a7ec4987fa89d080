//! A kernel's memory by virtual address, out of dumps of every architecture, version and kind of page tables: all that
//! is mapped is read, across pages and at any offset, and everything else refused with its reason.

use crate::common::directory;
use memtool::output_file::scratch;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use vmcore::dump::DumpedMemory;
use vmcore::dump::byte_source::ByteSource;
use vmcore::fault::{Fault, Why};
use vmcore::kernel::{KernelMemory, Mapping};
use vmcore::progress::Progress;
use vmcore_synth::arch::{MMU_G5, MMU_PHYP, MMU_RADIX};
use vmcore_synth::page_tables::superpage_size;
use vmcore_synth::{Arch, Endianness, Mapping as Mapped, MinidumpSpec, Translation, every_variant, page_of, set};

fn memory(dump: Vec<u8>) -> DumpedMemory {
    let directory = directory();
    DumpedMemory::open(ByteSource::from_bytes(dump), None, scratch(directory.path()), &Progress::default()).unwrap()
}

fn open(dump: Vec<u8>) -> KernelMemory {
    KernelMemory::from_dump(memory(dump), None).unwrap()
}

/// Those of the builder, and powerpc64's kernels of the other byte order.
fn variants() -> Vec<(String, MinidumpSpec)> {
    let little = [MMU_G5, MMU_PHYP, MMU_RADIX].map(|mmu| {
        let spec = MinidumpSpec { order: Endianness::Little, ..MinidumpSpec::powerpc64(2, mmu) };
        (format!("powerpc64le-{mmu}"), spec)
    });
    every_variant().into_iter().chain(little).collect()
}

fn has_tables(spec: &MinidumpSpec) -> bool {
    spec.arch != Arch::Powerpc64 || spec.mmu_name != MMU_RADIX
}

fn mappings(kernel: &KernelMemory) -> Result<Vec<Mapping>, Fault> {
    let mut all = Vec::new();
    let lost = kernel.each_mapping(|mapping| {
        all.push(mapping);
        ControlFlow::Continue(())
    })?;
    assert_eq!(lost, 0);
    Ok(all)
}

/// What a dump's description says of virtual memory.
struct Model<'a> {
    spec: &'a MinidumpSpec,
    pages: BTreeMap<u64, Vec<u8>>,
    translations: BTreeMap<u64, Translation>,
}

/// Why there is nothing at an address.
#[derive(Debug, PartialEq, Eq)]
enum Absent {
    NotCovered,
    NotMapped,
    NoTables,
    NoPage(u64),
}

impl Absent {
    fn of(why: Why) -> Self {
        match why {
            Why::NotMapped(_) => Self::NotMapped,
            Why::NotCovered => Self::NotCovered,
            Why::NoPage(physical) | Why::NoImage(physical) => Self::NoPage(physical),
            Why::Untranslated(_) => Self::NoTables,
            other => panic!("{other:?}"),
        }
    }
}

impl<'a> Model<'a> {
    fn new(spec: &'a MinidumpSpec) -> Self {
        Self { spec, pages: spec.pages(), translations: spec.translations() }
    }

    fn is_direct(&self, address: u64) -> bool {
        (self.spec.direct_map.base..self.spec.direct_map.end).contains(&address)
    }

    /// Where powerpc64's kernel was, of an address that it is linked at.
    fn as_it_ran(&self, address: u64) -> u64 {
        let (start, end) = self.spec.kernel_image;
        let is_linked = (0x10_0100..0x10_0100 + (end - start)).contains(&address);
        if self.spec.arch == Arch::Powerpc64 && is_linked { start + (address - 0x10_0100) } else { address }
    }

    fn physical(&self, address: u64) -> Result<u64, Absent> {
        let address = self.as_it_ran(address);
        let spec = self.spec;
        if self.is_direct(address) {
            return Ok(spec.direct_map.physical + (address - spec.direct_map.base));
        }
        let within = address % spec.page_size;
        match self.translations.get(&(address - within)) {
            Some(page) => Ok(page.physical + within),
            None if !has_tables(spec) => Err(Absent::NoTables),
            // A hashed table has no end.
            None if address >= spec.kernel_base && (address < spec.kernel_end || spec.arch == Arch::Powerpc64) => {
                Err(Absent::NotMapped)
            }
            None => Err(Absent::NotCovered),
        }
    }

    /// The bytes up to the first one that is not there.
    fn read(&self, address: u64, length: usize) -> (Vec<u8>, Option<(u64, Absent)>) {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let Some(at) = address.checked_add(bytes.len() as u64) else {
                return (bytes, Some((u64::MAX, Absent::NotCovered)));
            };
            let physical = match self.physical(at) {
                Ok(physical) => physical,
                Err(absent) => return (bytes, Some((at, absent))),
            };
            let within = physical % self.spec.page_size;
            let Some(page) = self.pages.get(&(physical - within)) else {
                return (bytes, Some((at, Absent::NoPage(physical))));
            };
            // To the end of the page; what powerpc64's kernel is linked at does not end there.
            let rest = &page[within as usize..];
            let same = rest
                .iter()
                .zip(at..)
                .take_while(|(_, next)| self.physical(*next).is_ok_and(|found| found == physical + (next - at)));
            let same = if rest.len() > 64 && self.as_it_ran(at) == at { rest.len() } else { same.count() };
            bytes.extend_from_slice(&rest[..same.min(length - bytes.len())]);
        }
        (bytes, None)
    }

    /// Compares a read.
    fn check(&self, name: &str, kernel: &KernelMemory, address: u64, length: usize) {
        let (expected, stop) = self.read(address, length);
        let mut buffer = vec![0xee; length];
        let found = kernel.read(address, &mut buffer).map_err(|fault| (fault.address, Absent::of(fault.why)));
        assert_eq!(found.err(), stop, "{name}: {length} at {address:#x}");
        assert!(buffer[..expected.len()] == expected, "{name}: {length} at {address:#x}");
    }
}

/// Addresses at the borders of all that is mapped, and of the address space.
fn borders(model: &Model<'_>) -> Vec<u64> {
    let (spec, page) = (model.spec, model.spec.page_size);
    let mut borders = vec![0, 1 << 32, 1 << 47, 1 << 63, spec.kernel_base, spec.kernel_end];
    borders.extend([spec.direct_map.base, spec.direct_map.end, spec.kernel_image.0, spec.kernel_image.1]);
    borders.extend([0x10_0100, 0x10_0100 + (spec.kernel_image.1 - spec.kernel_image.0)]);
    // Of a superpage's pages, the first and last few, and those in the dump.
    let near = |address: &u64| {
        let before = address.checked_sub(page).is_some_and(|before| model.translations.contains_key(&before));
        let after = model.translations.contains_key(&address.wrapping_add(page));
        !before || !after || model.pages.contains_key(&model.translations[address].physical)
    };
    for address in model.translations.keys().copied().filter(near) {
        borders.extend([address, address.wrapping_add(page)]);
    }
    let physical = model.pages.keys().filter_map(|physical| physical.checked_sub(spec.direct_map.physical));
    borders.extend(physical.flat_map(|within| [0, page].map(|more| spec.direct_map.base + within + more)));
    borders.sort_unstable();
    borders.dedup();
    borders
}

#[test]
fn every_mapped_byte_is_read_and_every_other_refused() {
    for (name, spec) in variants() {
        let (kernel, model) = (open(spec.build()), Model::new(&spec));
        let page = spec.page_size as usize;
        for border in borders(&model) {
            for (before, length) in [
                (0, 1),
                (1, 1),
                (1, 2),
                (0, page),
                (7, 8),
                (3, 1),
                (page as u64, page),
                (5, 2 * page + 11),
                (1, 3 * page),
            ] {
                model.check(&name, &kernel, border.wrapping_sub(before), length);
            }
        }
        for before in [0, 1, 7, 4095, 8192] {
            model.check(&name, &kernel, u64::MAX - before, 9);
            model.check(&name, &kernel, u64::from(u32::MAX) - before, 9);
        }
    }
}

#[test]
fn a_translation_says_what_the_entry_says() {
    for (name, spec) in variants() {
        let (kernel, model) = (open(spec.build()), Model::new(&spec));
        for (address, expected) in &model.translations {
            for within in [0, 5, spec.page_size - 1] {
                let (steps, walked) = kernel.walk(address + within);
                let found = kernel.translate(address + within).unwrap();
                assert_eq!(walked, Ok(found), "{name}: {address:#x}");
                assert_eq!(found.physical, expected.physical + within, "{name}: {address:#x}");
                let rights = (found.protection.write, found.protection.execute);
                assert_eq!(rights, (expected.writable, expected.executable), "{name}: {address:#x}");
                assert_eq!(found.page_size.unwrap() > spec.page_size, expected.superpage, "{name}: {address:#x}");
                assert!(found.remaining >= spec.page_size - within && !steps.is_empty(), "{name}: {address:#x}");
                // Each entry stands in the dump where its step says.
                for step in steps {
                    let size = if spec.arch.is_32_bit() && !spec.pae { 4 } else { 8 };
                    let mut bytes = [0; 16];
                    let offset = step.offset.unwrap();
                    kernel.dump().unwrap().read_dump(offset, &mut bytes).unwrap();
                    let order = if spec.mmu_name == MMU_PHYP { spec.order } else { spec.arch.order() };
                    let at = if spec.arch == Arch::Powerpc64 { 8 } else { 0 };
                    assert_eq!(order.value(&bytes[at..at + size]), step.entry, "{name}: {address:#x}");
                }
            }
        }
    }
}

#[test]
fn all_mappings_are_those_that_are_translated() {
    for (name, spec) in variants() {
        let (kernel, model) = (open(spec.build()), Model::new(&spec));
        let Ok(all) = mappings(&kernel) else {
            assert!(!has_tables(&spec), "{name}");
            continue;
        };
        assert!(all.is_sorted_by(|before, after| before.address + (before.size - 1) < after.address), "{name}");
        let mut left = model.translations.clone();
        for mapping in all {
            for within in (0..mapping.size).step_by(spec.page_size as usize) {
                let address = mapping.address + within;
                if model.is_direct(address) {
                    assert_eq!(model.physical(address), Ok(mapping.physical + within), "{name}: {address:#x}");
                    assert!(model.pages.contains_key(&(mapping.physical + within)), "{name}: {address:#x}");
                    continue;
                }
                let page = left.remove(&address).unwrap_or_else(|| panic!("{name}: {address:#x}"));
                let rights = (mapping.protection.write, mapping.protection.execute);
                assert_eq!(
                    (page.physical, page.writable, page.executable),
                    (mapping.physical + within, rights.0, rights.1)
                );
            }
        }
        assert!(left.is_empty(), "{name}: {:#x?}", left.first_key_value());
    }
}

#[test]
fn integers_and_strings_are_those_of_the_dump() {
    for (name, mut spec) in variants() {
        let Some(page) = spec.mappings.first().copied().filter(|_| has_tables(&spec)) else { continue };
        let size = spec.page_size as usize;
        let contents = spec.pages.get_mut(&page.physical).unwrap();
        contents[8..16].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        contents[32..40].copy_from_slice(b"kernel\0x");
        // One string ends with its page and goes on in the next one, another does not.
        contents[size - 3..].copy_from_slice(b"the");
        spec.pages.get_mut(&(page.physical + page.length / 4)).unwrap()[..5].copy_from_slice(b" end\0");
        let last = page.address + page.length;
        let end = spec.pages.get_mut(&(page.physical + page.length - spec.page_size)).unwrap();
        end[size - 70..].fill(b'a');
        end[size - 1] = 0;
        end[size - 80..size - 70].copy_from_slice(b"unended\0bc");
        let kernel = open(spec.build());
        let at = page.address + 8;
        let (u32, u64) = match spec.order {
            Endianness::Little => (0x0403_0201, 0x0807_0605_0403_0201),
            Endianness::Big => (0x0102_0304, 0x0102_0304_0506_0708),
        };
        assert_eq!((kernel.u32(at), kernel.u64(at)), (Ok(u32), Ok(u64)), "{name}");
        let pointer = if spec.arch.is_32_bit() { u64::from(u32) } else { u64 };
        assert_eq!((kernel.pointer(at), kernel.word_size()), (Ok(pointer), spec.arch.word()), "{name}");
        let string = |address, most| kernel.string(address, most).map(|text| String::from_utf8(text).unwrap());
        assert_eq!(string(page.address + 32, 100).unwrap(), "kernel", "{name}");
        assert_eq!(string(page.address + 32, 3).unwrap(), "ker", "{name}");
        assert_eq!(string(page.address + 32, 0).unwrap(), "", "{name}");
        assert_eq!(string(page.address + spec.page_size - 3, 100).unwrap(), "the end", "{name}");
        // The page behind it is not mapped.
        assert_eq!(string(last - 70, 200).unwrap(), "a".repeat(69), "{name}");
        let open_end = open({
            let end = spec.pages.get_mut(&(page.physical + page.length - spec.page_size)).unwrap();
            end[size - 1] = b'a';
            spec.build()
        });
        assert_eq!(open_end.string(last - 70, 200).unwrap_err().address, last, "{name}");
        assert_eq!(open_end.string(last - 70, 70).unwrap().len(), 70, "{name}");
    }
}

/// Two words of the hash table's entries lead to the second group where the first one is full.
#[test]
fn hashed_entries_are_found_in_either_group() {
    for mmu in [MMU_G5, MMU_PHYP] {
        let mut spec = MinidumpSpec::powerpc64(2, mmu);
        let first = spec.mappings[0];
        // The number of a group has eleven bits, so that these have the same.
        let address = |number: u64| spec.kernel_base + 0x123_0000 + (number << 23);
        spec.mappings = (0..14)
            .map(|number| Mapped { address: address(number), physical: number << 12, length: 4096, ..first })
            .collect();
        spec.pages = (0..14).map(|number| (number << 12, page_of(number << 12, 4096))).collect();
        let kernel = open(spec.build());
        for number in 0..14 {
            assert_eq!(kernel.translate(address(number) + 9).unwrap().physical, (number << 12) + 9, "{mmu}");
        }
        assert_eq!(mappings(&kernel).unwrap().len(), 15, "and what the direct map has of it");
        assert!(kernel.translate(address(14)).is_err());
    }
}

#[test]
fn what_has_no_tables_is_refused_with_the_reason() {
    let kernel = open(MinidumpSpec::powerpc64(2, MMU_RADIX).build());
    let fault = kernel.translate(0xe000_0000_0000_0000).unwrap_err();
    assert!(fault.to_string().contains("kernels with mmu_radix do not dump their page tables"), "{fault}");
    assert_eq!(kernel.each_mapping(|_| ControlFlow::Continue(())).unwrap_err().why, fault.why);
    let spec = MinidumpSpec { mmu_name: "mmu_new", ..MinidumpSpec::powerpc64(2, MMU_G5) };
    assert!(matches!(open(spec.build()).translate(0xe000_0000_0000_0000).unwrap_err().why, Why::Untranslated(_)));
    let mut spec = MinidumpSpec::example(Arch::Arm64, 3);
    spec.kernel_base += 1;
    spec.mappings.clear();
    assert!(matches!(open(spec.build()).translate(spec.kernel_base).unwrap_err().why, Why::Untranslated(_)));
}

/// The section has entries for the end of the address space, and more.
#[test]
fn tables_end_with_the_address_space() {
    for (arch, base) in [(Arch::I386, 0xffff_f000), (Arch::Arm64, u64::MAX - 0xfff)] {
        let spec = MinidumpSpec::example(arch, 2);
        let mut dump = spec.build();
        let table = spec.parts().page_tables.start;
        set(&mut dump, &spec.header_fields(), spec.order, "kernbase", base);
        // The first entry is that of a mapped page; so are others behind it.
        let size = if arch == Arch::I386 { 4 } else { 8 };
        let filled = (0..).find(|index| dump[table + index * size] != 0).unwrap();
        let entry = dump[table + filled * size..][..size].to_vec();
        dump[table..table + size].copy_from_slice(&entry);
        let kernel = open(dump);
        let listed: Vec<u64> = mappings(&kernel).unwrap().iter().map(|mapping| mapping.address).collect();
        assert!(listed.iter().all(|address| *address >= base || spec.direct_map.base <= *address), "{listed:x?}");
        assert_eq!(listed.iter().filter(|address| **address >= base).count(), 1, "{arch:?}");
        let behind = kernel.translate(base.wrapping_add(filled as u64 * spec.page_size));
        assert!(behind.is_err_and(|fault| fault.why == Why::NotCovered), "{arch:?}");
    }
}

/// A minidump with other mappings than the example's.
fn dumps() -> impl Strategy<Value = (String, MinidumpSpec)> {
    let mapping = (0_u64..2000, 0_u64..300, 1_u64..5, any::<[bool; 2]>(), 0..10);
    (0..variants().len(), proptest::collection::vec(mapping, 0..12)).prop_map(|(variant, wanted)| {
        let (name, mut spec) = variants().swap_remove(variant);
        let (page, large) = (spec.page_size, superpage_size(&spec));
        let ram = spec.dump_avail[0].0;
        spec.mappings.clear();
        let mut taken = std::collections::BTreeSet::new();
        let mut slots = std::collections::BTreeSet::new();
        for (number, physical, pages, [writable, executable], kind) in wanted {
            let superpage = kind == 0;
            let number = if spec.arch == Arch::Amd64 || superpage { number % 900 } else { number };
            let (address, physical, length) = if superpage {
                (number / (large / page).max(1) * large, ram + physical % 2 * large, large)
            } else {
                (number * page, ram + physical * page, pages * page)
            };
            let (address, end) = (spec.kernel_base + address, spec.kernel_base + address + length);
            let pages: Vec<u64> = (address..end).step_by(page as usize).collect();
            let slot: Vec<u64> = pages.iter().map(|page| page / large).collect();
            let has_tables = spec.arch == Arch::Amd64 && spec.version >= 2;
            // A slot has a page table or is a superpage; there are pages for two tables.
            let tables = slots.iter().chain(&slot).collect::<std::collections::BTreeSet<_>>().len();
            if end > spec.kernel_end
                || pages.iter().any(|page| taken.contains(page))
                || (has_tables && (superpage || tables > 2))
            {
                continue;
            }
            taken.extend(pages);
            slots.extend(slot);
            spec.mappings.push(Mapped { address, physical, length, writable, executable, superpage });
        }
        (name, spec)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_mapped_is_translated_walked_listed_and_read(
        (name, spec) in dumps(),
        probes in proptest::collection::vec((any::<u32>(), 0_usize..20_000), 12),
    ) {
        let (kernel, model) = (open(spec.build()), Model::new(&spec));
        let reach = spec.kernel_end - spec.kernel_base + 0x4000;
        for (offset, length) in probes {
            let address = (spec.kernel_base - 0x2000).wrapping_add(u64::from(offset) % reach);
            model.check(&name, &kernel, address, length);
            prop_assert_eq!(kernel.walk(address).1, kernel.translate(address));
        }
        for (address, expected) in &model.translations {
            let found = kernel.translate(*address).unwrap();
            prop_assert_eq!((found.physical, found.protection.write), (expected.physical, expected.writable));
            model.check(&name, &kernel, address + spec.page_size - 3, 7);
        }
        if has_tables(&spec) {
            let all = mappings(&kernel).unwrap();
            let listed = all.iter().filter(|mapping| !model.is_direct(mapping.address)).map(|mapping| mapping.size);
            prop_assert_eq!(listed.sum::<u64>(), model.translations.len() as u64 * spec.page_size, "{}", name);
        }
    }
}

/// Does everything with a dump that may be anything.
fn use_all(dump: &[u8]) {
    let directory = directory();
    let volume = ByteSource::from_bytes(dump.to_vec());
    let Ok(memory) = DumpedMemory::open(volume, None, scratch(directory.path()), &Progress::default()) else { return };
    let Ok(kernel) = KernelMemory::from_dump(memory, None) else { return };
    let mut seen = 0;
    let _ = kernel.each_mapping(|mapping| {
        seen += 1;
        let mut buffer = [0; 16];
        let _ = kernel.read(mapping.address, &mut buffer);
        if seen < 200 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    for address in [0, u64::MAX, 0xc000_0000, 0xffff_fe00_0000_0000, 0xe000_0000_0000_2000] {
        assert_eq!(kernel.walk(address).1, kernel.translate(address));
    }
}

#[test]
fn a_dump_may_be_cut_off_and_its_bits_flipped_anywhere() {
    for (_, mut spec) in variants() {
        spec.message_buffer.truncate(100);
        let dump = spec.build();
        let parts = spec.parts();
        for end in (0..dump.len()).step_by(spec.page_size as usize).chain([parts.page_tables.start + 12]).take(20) {
            use_all(&dump[..end]);
        }
        for (_, offset, size) in spec.header_fields() {
            for bit in (0..size * 8).step_by(11) {
                let mut flipped = dump.clone();
                flipped[offset + bit / 8] ^= 1 << (bit % 8);
                use_all(&flipped);
            }
        }
        let used: Vec<usize> = parts.page_tables.filter(|at| dump[*at] != 0).take(200).collect();
        for (bit, at) in used.into_iter().step_by(23).enumerate() {
            let mut flipped = dump.clone();
            flipped[at] ^= 1 << (bit % 8);
            use_all(&flipped);
        }
    }
}

/// Each page directory entry, of which there are very many, leads to the same page table.
#[test]
fn tables_that_are_shared_are_not_read_for_ever() {
    let mut spec = MinidumpSpec::example(Arch::Amd64, 3);
    spec.kernel_end = spec.kernel_base + (1 << 40);
    spec.mappings.truncate(1);
    let mut dump = spec.build();
    let parts = spec.parts();
    let first = dump[parts.page_tables.start..parts.page_tables.start + 8].to_vec();
    for entry in dump[parts.page_tables].chunks_exact_mut(8) {
        entry.copy_from_slice(&first);
    }
    let kernel = open(dump);
    let mut pages = 0;
    let lost = kernel.each_mapping(|mapping| {
        pages += mapping.size / 4096;
        ControlFlow::Continue(())
    });
    // As many tables as there are pages are read, and the others are told.
    let most = spec.pages().len() as u64;
    let direct = spec.pages().range(..spec.direct_map.end - spec.direct_map.base).count() as u64;
    assert_eq!((lost, pages), (Ok((1 << 19) - most), 4 * most + direct));
    let end = spec.kernel_base + (1 << 40) - (2 << 20) + 2 * 4096;
    assert_eq!(kernel.translate(end).unwrap().physical, spec.mappings[0].physical);
}
