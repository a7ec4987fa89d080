//! A kernel's memory by virtual address, out of dumps of every architecture, version and kind of page tables: all that
//! is mapped is read, across pages and at any offset, and everything else refused with its reason.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test that cannot go on fails"
)]

mod common;

use common::directory;
use common::vmcore::arch::{MMU_G5, MMU_PHYP, MMU_RADIX};
use common::vmcore::{Arch, Mapping as Mapped, MinidumpSpec, Order, Translation, every_variant, set};
use memtool::dump::Progress;
use memtool::host::Memory;
use memtool::kvm::{Fault, Kvm, Mapping, Why};
use memtool::vmcore::DumpedMemory;
use memtool::vmcore::volume::Volume;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

fn memory(dump: Vec<u8>) -> DumpedMemory {
    let directory = directory();
    DumpedMemory::open(Volume::of_bytes(dump), None, directory.path(), &Progress::default()).unwrap()
}

fn open(dump: Vec<u8>) -> Kvm {
    Kvm::of_dump(memory(dump), None).unwrap()
}

/// Those of the builder, and powerpc64's kernels of the other byte order.
fn variants() -> Vec<(String, MinidumpSpec)> {
    let little = [MMU_G5, MMU_PHYP, MMU_RADIX].map(|mmu| {
        let spec = MinidumpSpec { order: Order::Little, ..MinidumpSpec::powerpc64(2, mmu) };
        (format!("powerpc64le-{mmu}"), spec)
    });
    every_variant().into_iter().chain(little).collect()
}

fn has_tables(spec: &MinidumpSpec) -> bool {
    spec.arch != Arch::Powerpc64 || spec.mmu_name != MMU_RADIX
}

fn mappings(kvm: &Kvm) -> Result<Vec<Mapping>, Fault> {
    let mut all = Vec::new();
    let lost = kvm.each_mapping(|mapping| {
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
            Why::NoPage(physical) => Self::NoPage(physical),
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
    fn check(&self, name: &str, kvm: &Kvm, address: u64, length: usize) {
        let (expected, stop) = self.read(address, length);
        let mut buffer = vec![0xee; length];
        let found = kvm.read(address, &mut buffer).map_err(|fault| (fault.address, Absent::of(fault.why)));
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
        let (kvm, model) = (open(spec.build()), Model::new(&spec));
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
                model.check(&name, &kvm, border.wrapping_sub(before), length);
            }
        }
        for before in [0, 1, 7, 4095, 8192] {
            model.check(&name, &kvm, u64::MAX - before, 9);
            model.check(&name, &kvm, u64::from(u32::MAX) - before, 9);
        }
    }
}

#[test]
fn a_translation_says_what_the_entry_says() {
    for (name, spec) in variants() {
        let (kvm, model) = (open(spec.build()), Model::new(&spec));
        for (address, expected) in &model.translations {
            for within in [0, 5, spec.page_size - 1] {
                let (steps, walked) = kvm.walk(address + within);
                let found = kvm.translate(address + within).unwrap();
                assert_eq!(walked, Ok(found), "{name}: {address:#x}");
                assert_eq!(found.physical, expected.physical + within, "{name}: {address:#x}");
                let rights = (found.protection.write, found.protection.execute);
                assert_eq!(rights, (expected.writable, expected.executable), "{name}: {address:#x}");
                assert_eq!(found.page_size.unwrap() > spec.page_size, expected.superpage, "{name}: {address:#x}");
                assert!(found.left >= spec.page_size - within && !steps.is_empty(), "{name}: {address:#x}");
                // Each entry stands in the dump where its step says.
                for step in steps {
                    let size = if spec.arch.is_32_bit() && !spec.pae { 4 } else { 8 };
                    let mut bytes = [0; 16];
                    let offset = step.offset.unwrap();
                    kvm.dump().unwrap().read_dump(offset, &mut bytes).unwrap();
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
        let (kvm, model) = (open(spec.build()), Model::new(&spec));
        let Ok(all) = mappings(&kvm) else {
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
