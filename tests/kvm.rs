//! A kernel's memory by virtual address, out of dumps whose page tables are known.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "a test that cannot go on fails"
)]

mod common;

use common::directory;
use common::vmcore::{Arch, MinidumpSpec, every_variant};
use memtool::dump::Progress;
use memtool::kvm::{Kvm, Mapping};
use memtool::vmcore::DumpedMemory;
use memtool::vmcore::volume::Volume;
use std::ops::ControlFlow;

fn open(dump: Vec<u8>) -> Kvm {
    let directory = directory();
    let memory = DumpedMemory::open(Volume::of_bytes(dump), None, directory.path(), &Progress::default()).unwrap();
    Kvm::of_dump(memory, None).unwrap()
}

fn variants() -> impl Iterator<Item = (String, MinidumpSpec)> {
    every_variant().into_iter().filter(|(_, spec)| spec.arch != Arch::Powerpc64)
}

fn mappings(kvm: &Kvm) -> Vec<Mapping> {
    let mut all = Vec::new();
    kvm.each_mapping(|mapping| {
        all.push(mapping);
        ControlFlow::Continue(())
    })
    .unwrap();
    all
}

#[test]
fn every_mapped_page_is_read_and_every_other_refused() {
    for (name, spec) in variants() {
        let kvm = open(spec.build());
        let (pages, translations) = (spec.pages(), spec.translations());
        let size = spec.page_size;
        for (address, expected) in &translations {
            let found = kvm.translate(address + 5).unwrap();
            assert_eq!(found.physical, expected.physical + 5, "{name}: {address:#x}");
            assert_eq!(
                (found.protection.write, found.protection.execute),
                (expected.writable, expected.executable),
                "{name}: {address:#x}"
            );
            assert_eq!(found.page_size.unwrap() > size, expected.superpage, "{name}: {address:#x}");
            let mut buffer = vec![0; size as usize];
            match (kvm.read(*address, &mut buffer), pages.get(&expected.physical)) {
                (Ok(()), Some(bytes)) => assert!(buffer == *bytes, "{name}: {address:#x}"),
                (Err(fault), None) => assert!(fault.is_hole() && fault.address == *address, "{name}: {fault}"),
                (result, page) => panic!("{name}: {address:#x}: {result:?}, in the dump: {}", page.is_some()),
            }
        }
        for address in translations.keys() {
            for next in [address.checked_sub(size), address.checked_add(size)].into_iter().flatten() {
                if !translations.contains_key(&next) {
                    let direct = (spec.direct_map.base..spec.direct_map.end).contains(&next);
                    assert!(direct || kvm.translate(next).is_err(), "{name}: {next:#x}");
                }
            }
        }
        let direct = spec.direct_map.base..spec.direct_map.end;
        let walked: u64 = mappings(&kvm).iter().filter(|map| !direct.contains(&map.address)).map(|map| map.size).sum();
        assert_eq!(walked, translations.len() as u64 * size, "{name}");
    }
}
