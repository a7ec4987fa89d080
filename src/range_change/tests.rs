//! Changes on a host whose kernel does not do what its rules promise.

use super::*;
use crate::error::{Error, Result};
use crate::host::{Backing, Host, Mapping, PageState, ProcessHost};
use crate::kernel_error::KernelError;
use crate::memory_map::kernel_maps::KernelMapping;
use crate::memory_map::{MapSource, MemoryMap};
use crate::process_map::{Detail, ProcessMap};
use crate::ranges::request::Request;
use std::cell::Cell;
use vmcore::kerneldump::Compression;
use vmcore::memory::Memory;
use vmcore::system::System;

fn owner(name: &str) -> Owner {
    name.parse().unwrap()
}

fn active(base: u64, length: u64, cache: CacheType) -> Descriptor {
    Descriptor { base, length, flags: Mdf::ACTIVE | cache.flag(), owner: owner("me") }
}

struct OddHost {
    before: Vec<Descriptor>,
    after: Vec<Descriptor>,
    changed: Cell<bool>,
}

impl ProcessHost for OddHost {
    fn kind(&self) -> &'static str {
        "odd"
    }

    fn page_size(&self) -> Result<u64> {
        Ok(self.system()?.page_size.into())
    }

    fn kernel_maps(&self) -> Result<Option<Vec<KernelMapping>>> {
        Ok(None)
    }

    fn process_map(&self, _: crate::host::Pid, _: Detail) -> Result<ProcessMap> {
        unreachable!()
    }

    fn page_states(&self, _: Option<crate::host::Pid>, _: &[u64]) -> crate::Result<Vec<PageState>> {
        unreachable!()
    }

    fn map(&self, _backing: &Backing) -> Result<Box<dyn Mapping>, KernelError> {
        unreachable!()
    }
}

impl Host for OddHost {
    fn system(&self) -> Result<System> {
        Err(Error::Unsupported("system".to_owned()))
    }

    fn memory_map(&self) -> Result<MemoryMap> {
        Ok(MemoryMap { source: MapSource::Smap, segments: Vec::new(), reserved: Vec::new() })
    }

    fn range_descriptors(&self) -> crate::Result<Vec<Descriptor>> {
        Ok(if self.changed.get() { self.after.clone() } else { self.before.clone() })
    }

    fn set_range(&self, _request: &Request) -> crate::Result<()> {
        self.changed.set(true);
        Ok(())
    }

    fn physical_memory(&self) -> Result<Box<dyn Memory>> {
        unreachable!()
    }

    fn kernel_memory(&self) -> Result<Box<dyn Memory>> {
        unreachable!()
    }

    fn kernel_symbol(&self, _: &str) -> Result<Option<vmcore::symbols::Symbol>> {
        unreachable!()
    }

    fn kernel_dump(&self, _file: &std::fs::File, _compression: Compression) -> Result<()> {
        unreachable!()
    }
}

#[test]
fn a_table_that_is_not_as_expected_after_the_change_is_an_error() {
    let slot = Descriptor { base: 0, length: 1 << 40, flags: Mdf::UNCACHEABLE, owner: Owner::default() };
    let good = active(0x4000_0000, 0x1000, CacheType::WriteCombine);
    let other = Descriptor { owner: owner("you"), ..good.clone() };
    let update =
        Update { base: 0x4000_0000, length: 0x1000, cache: CacheType::WriteCombine, owner: owner("me"), force: false };
    for (after, right) in [
        (vec![good.clone(), slot.clone()], true),
        // What an inactive slot says does not matter.
        (vec![good.clone(), Descriptor { base: 5, ..slot.clone() }], true),
        (vec![slot.clone(), good.clone()], false),
        (vec![slot.clone(), slot.clone()], false),
        (vec![other, slot.clone()], false),
        (vec![good.clone()], false),
        (vec![good.clone(), good.clone()], false),
        (vec![Descriptor { flags: good.flags | Mdf::BOGUS, ..good.clone() }, slot.clone()], false),
        (vec![Descriptor { length: 0x2000, ..good.clone() }, slot.clone()], false),
    ] {
        let host =
            OddHost { before: vec![slot.clone(), slot.clone()], after: after.clone(), changed: Cell::new(false) };
        let outcome = super::update(&host, &update, Mode::Apply);
        assert!(host.changed.get());
        match outcome {
            Ok(outcome) => {
                assert!(right, "{after:?}");
                assert_eq!(outcome.differences.len(), 1);
            }
            Err(error) => {
                assert!(!right && matches!(error, Error::Unexpected(_)), "{after:?}: {error}");
            }
        }
        // A dry run does not get that far.
        host.changed.set(false);
        super::update(&host, &update, Mode::DryRun).unwrap();
        assert!(!host.changed.get());
    }
}
