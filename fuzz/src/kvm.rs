//! Kernel memory by virtual address: what must hold of any dump and any page tables.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use memtool::output_file::scratch;
use std::ops::ControlFlow;
use vmcore::Error;
use vmcore::architecture::Architecture;
use vmcore::dump::DumpedMemory;
use vmcore::dump::byte_source::ByteSource;
use vmcore::kernel::{self, Mapping};
use vmcore::progress::Progress;
use vmcore::symbols::{Symbol, Symbols};
use vmcore_synth::{ElfSpec, KernelMemory, Paging};

/// A kernel whose every symbol lies at the same address.
struct Everywhere(u64);

impl Symbols for Everywhere {
    fn find(&self, _: &str) -> std::result::Result<Option<Symbol>, Error> {
        Ok(Some(Symbol { address: self.0, size: 0 }))
    }

    fn source(&self) -> String {
        "kernel".to_owned()
    }

    fn is_running_kernel(&self) -> bool {
        false
    }
}

fn open(bytes: Vec<u8>, kernel: Option<(Architecture, u64)>) -> Option<kernel::KernelMemory> {
    let memory =
        DumpedMemory::open(ByteSource::from_bytes(bytes), None, scratch(&std::env::temp_dir()), &Progress::default())
            .ok()?;
    let symbols = Everywhere(kernel.map_or(0, |kernel| kernel.1));
    kernel::KernelMemory::from_dump(memory, kernel.map(|kernel| (kernel.0, &symbols as &dyn Symbols))).ok()
}

/// Opens bytes as a dump, and asserts that what is said of its virtual memory agrees with itself.
///
/// # Panics
///
/// It does not.
pub fn dumped(bytes: Vec<u8>, addresses: &[u64]) {
    if let Some(kvm) = open(bytes, None) {
        agrees(&kvm, addresses);
    }
}

/// More pieces than are looked at.
const MOST: usize = 2000;

fn agrees(kvm: &kernel::KernelMemory, addresses: &[u64]) {
    let mut all: Vec<Mapping> = Vec::new();
    let lost = kvm.each_mapping(|mapping| {
        all.push(mapping);
        if all.len() < MOST { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let header = kvm.dump().and_then(|dump| dump.minidump()).map(|facts| &facts.header);
    let direct = header.and_then(|header| header.direct_map);
    // Where the direct map and the tables overlap, the former counts, and each is listed by itself.
    let overlaps = direct.is_some_and(|map| {
        let base = header.map_or(0, |header| header.kernel_base);
        let reach = header.map_or(0, |header| u64::from(header.page_tables_size)) << 18;
        header.is_some_and(|header| header.architecture == Architecture::Powerpc64)
            || map.base < base.saturating_add(reach) && map.end > base
    });
    let linked = header.is_some_and(|header| header.kernel_image.is_some());
    assert!(overlaps || all.is_sorted_by(|before, after| before.address + (before.size - 1) < after.address));
    for mapping in &all {
        for within in [0, mapping.size / 2, mapping.size - 1] {
            let address = mapping.address + within;
            follow(kvm, address);
            if !overlaps {
                let found = kvm.translate(address).expect("it is mapped");
                assert_eq!(found.physical, mapping.physical + within, "{address:#x}");
                assert_eq!(found.protection, mapping.protection, "{address:#x}");
            }
        }
    }
    let is_whole = lost == Ok(0) && all.len() < MOST && !overlaps && !linked && header.is_some();
    for address in addresses {
        let is_listed = all.iter().any(|mapping| address.wrapping_sub(mapping.address) < mapping.size);
        let found = follow(kvm, *address);
        let is_direct = direct.is_some_and(|map| (map.base..map.end).contains(address));
        assert!(!is_whole || is_direct || found == is_listed, "{address:#x}");
    }
}

/// Looks at an address in every way; tells whether it is mapped.
fn follow(kvm: &kernel::KernelMemory, address: u64) -> bool {
    let found = kvm.translate(address);
    let (steps, end) = kvm.walk(address);
    assert_eq!(found, end, "{address:#x}");
    assert!(steps.len() <= 5);
    let mut buffer = [0; 40];
    let read = kvm.read(address, &mut buffer);
    match found {
        Ok(found) => {
            assert!(found.remaining > 0);
            let here = (found.remaining.min(40)) as usize;
            let mut again = [0; 40];
            let physical = kvm.physical_memory().read(found.physical, &mut again[..here]);
            if physical.is_ok() {
                assert_eq!(buffer[..here], again[..here], "{address:#x}");
            } else {
                assert!(read.is_err(), "{address:#x}");
            }
        }
        Err(fault) => {
            assert_eq!(fault.address, address);
            assert_eq!(read, Err(fault));
        }
    }
    if let Err(fault) = read {
        assert!(fault.address >= address && !fault.to_string().is_empty());
    }
    let _ = kvm.string(address, 100);
    found.is_ok()
}

/// Makes an image of memory whose tables map its kernel, and some entries that lead anywhere.
///
/// # Errors
///
/// The bytes are too few.
pub fn image(u: &mut Unstructured<'_>) -> Result<()> {
    const LOADED: u64 = 2 << 20;
    let paging = *u.choose(&Paging::ALL)?;
    let page = paging.page_size();
    let mut memory = KernelMemory::new(paging, &[(LOADED, LOADED + 64 * page)], LOADED + 4 * page);
    let is_small = paging.arch().is_32_bit();
    let kernel: u64 = if is_small { 0xc020_0000 } else { 0xffff_ffff_8020_0000 };
    let last = paging.bits().len() - 2;
    // The root itself is the symbol, and what leads to it.
    memory.map(kernel, LOADED, last, true, true);
    let root = memory.root;
    memory.map(kernel + (root - LOADED), root, last, true, true);
    let is_table = matches!(paging, Paging::Arm64 | Paging::Arm64Large | Paging::Sv48 | Paging::Sv39);
    let symbol = if is_table { kernel + (root - LOADED) } else { kernel };
    let held = if paging == Paging::ArmV6 { kernel + (root - LOADED) } else { root };
    memory.set(LOADED, held, if is_small { 4 } else { 8 });
    let mut addresses = vec![0, kernel, kernel + page - 1, kernel + page, u64::MAX];
    for _ in 0..u.int_in_range(0..=40_u8)? {
        let low = u64::from(u.arbitrary::<u32>()?) << 9;
        let address = if u.arbitrary()? { kernel.wrapping_add(low) } else { kernel.wrapping_sub(low) };
        let address = if is_small { address & 0xffff_ffff } else { address };
        addresses.push(address);
        let level = u.int_in_range(0..=last)?;
        // Among the tables, or anywhere.
        let physical = match u.int_in_range(0..=3_u8)? {
            0 => u64::from(u.arbitrary::<u32>()?) << 12,
            _ => LOADED + u64::from(u.int_in_range(0..=70_u8)?) * page,
        };
        let entry = match u.int_in_range(0..=4_u8)? {
            0 => u.arbitrary()?,
            1 | 2 => paging.table(physical, level),
            _ => paging.page(physical, level, u.arbitrary()?, u.arbitrary()?),
        };
        let at = LOADED + 4 * page + u64::from(u.arbitrary::<u16>()?) % (60 * page - 8);
        memory.set(at - at % 8, entry, if u.arbitrary()? { 4 } else { 8 });
    }
    let bytes = match u.int_in_range(0..=2_u8)? {
        0 => memory.padded(),
        1 => memory.lime(),
        _ => ElfSpec { segments: memory.segments(), ..ElfSpec::example(paging.arch()) }.build(),
    };
    let architecture = Architecture::ALL.into_iter().find(|architecture| architecture.name() == paging.arch().name());
    if let Some(kvm) = open(bytes, architecture.map(|architecture| (architecture, symbol))) {
        agrees(&kvm, &addresses);
    }
    Ok(())
}
