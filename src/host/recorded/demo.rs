//! The machine that is built in: 384 MiB in two NUMA domains, as a small virtual machine reports itself.

use super::built_in;
use super::file::{
    Contents, CrashDumpState, KernelSource, Machine, Policy, Process, ProcessRange, Ranges, SCHEMA, VERSION,
};
use super::maps;
use crate::host::LiveDumpFacts;
use crate::memory_map::{MapSource, MemoryMap, Reserved};
use crate::process_map::{Layout, MapEntry, Object, ProcessMap, Superpages, Usage};
use crate::ranges::default_type::Registers;
use crate::ranges::{Descriptor, Owner};
use ioctl_defs::memrange::Mdf;
use std::collections::BTreeMap;
use vmcore::kerneldump::Compression;
use vmcore::pmap::Protection;
use vmcore::segment::Segment;
use vmcore::system::System;
use vmcore::units::{AddressRange, Hex};

/// The processor's physical address width.
const PHYSICAL_BITS: u32 = 40;
const VARIABLE_SLOTS: usize = 8;

/// The demo machine.
pub fn machine() -> Machine {
    Machine {
        schema: SCHEMA.to_owned(),
        version: VERSION,
        system: System {
            osreldate: built_in::OSRELDATE,
            version: built_in::VERSION.to_owned(),
            machine_arch: "amd64".to_owned(),
            page_size: 4096,
            domains: 2,
            processors: 2,
            physical_memory: 0x176c_5000,
            hostname: "demo".to_owned(),
        },
        memory: memory(),
        contents: Contents::default(),
        unreadable: Vec::new(),
        ranges: Ranges { physical_bits: Some(PHYSICAL_BITS), registers: Some(registers()), descriptors: descriptors() },
        kernel_maps: Some(maps::built_in()),
        pmap_mode: None,
        kernel: Some(KernelSource::Demo),
        symbols: BTreeMap::new(),
        kernel_files: built_in::files(),
        process: process(),
        processes: vec![shell()],
        dump_devices: Vec::new(),
        crash_dump: Some(CrashDumpState::Present),
        written: Vec::new(),
        live_dump: LiveDumpFacts {
            wired: Some(0x109_7000),
            managed: Some(0x1683_e000),
            pipes: Some(0x40_0000),
            compressions: Some(vec![Compression::None, Compression::Gzip, Compression::Zstd]),
        },
        live_dump_fault: None,
        errors: BTreeMap::new(),
    }
}

/// RAM below and above the hole under 1 MiB and above 4 GiB, the border between the domains at 128 MiB, and what
/// boot took for itself without a domain.
fn memory() -> MemoryMap {
    let segment = |start, end, domain| Segment { start, end, domain };
    let reserved = |start, end| Reserved { start, end, kind: "reserved".to_owned() };
    MemoryMap {
        source: MapSource::Smap,
        segments: vec![
            segment(0, 0x1000, None),
            segment(0x1000, 0x9_f000, Some(0)),
            segment(0x9_f000, 0x9_fc00, None),
            segment(0x10_0000, 0x10_3000, None),
            segment(0x10_3000, 0x3c0_0000, Some(0)),
            segment(0x3c0_0000, 0x3e0_0000, None),
            segment(0x3e0_0000, 0x800_0000, Some(0)),
            segment(0x800_0000, 0xfee_0000, Some(1)),
            segment(0xfee_0000, 0xffd_a000, None),
            segment(0x1_0000_0000, 0x1_0800_0000, Some(1)),
        ],
        reserved: vec![
            reserved(0x9_fc00, 0xa_0000),
            reserved(0xf_0000, 0x10_0000),
            reserved(0xffd_a000, 0x1000_0000),
            reserved(0xfffc_0000, 0x1_0000_0000),
        ],
    }
}

/// Ranges are in effect, fixed ones too, and the default type is uncacheable.
fn registers() -> Registers {
    Registers { vendor: "GenuineIntel".to_owned(), mtrr_def_type: Some(Hex(0xc00)), ..Registers::default() }
}

fn descriptors() -> Vec<Descriptor> {
    let fixed = |base, length, cache| Descriptor {
        base,
        length,
        flags: Mdf::FIXBASE | Mdf::FIXLEN | Mdf::FIXACTIVE | Mdf::FIRMWARE | Mdf::ACTIVE | cache,
        owner: Owner::firmware(),
    };
    let mut table = Vec::new();
    table.extend((0..8).map(|i| fixed(i * 0x1_0000, 0x1_0000, Mdf::WRITEBACK)));
    table.extend((0..8).map(|i| fixed(0x8_0000 + i * 0x4000, 0x4000, Mdf::WRITEBACK)));
    table.extend((0..8).map(|i| fixed(0xa_0000 + i * 0x4000, 0x4000, Mdf::UNCACHEABLE)));
    table.extend((0..64).map(|i| fixed(0xc_0000 + i * 0x1000, 0x1000, Mdf::WRITEPROTECT)));
    let variable = |base, length, cache| Descriptor {
        base,
        length,
        flags: Mdf::FIRMWARE | Mdf::ACTIVE | cache,
        owner: Owner::firmware(),
    };
    let active = [
        variable(0, 0x1000_0000, Mdf::WRITEBACK),
        variable(0x8000_0000, 0x8000_0000, Mdf::UNCACHEABLE),
        // What no range covers is uncacheable, RAM as well.
        variable(0x1_0000_0000, 0x800_0000, Mdf::WRITEBACK),
    ];
    let free = VARIABLE_SLOTS - active.len();
    table.extend(active);
    let slot = Descriptor { base: 0, length: 1 << PHYSICAL_BITS, flags: Mdf::UNCACHEABLE, owner: Owner::default() };
    table.extend(std::iter::repeat_n(slot, free));
    table
}

/// Where the pages of the shell are, of which the own ones are above 4 GiB: as its map and the kernel have them.
fn process() -> Process {
    const PAGE: u64 = 4096;
    let pages = |start, count, paddr: u64| ProcessRange { start, end: start + count * PAGE, paddr: Some(Hex(paddr)) };
    let absent = |start, end| ProcessRange { start, end, paddr: None };
    Process {
        policy: Policy::FirstTouch,
        mappings: vec![
            pages(0x20_0000, 7, 0x52e_2000),
            pages(0x20_7000, 28, 0x52e_8000),
            pages(0x22_3000, 2, 0x1_02a7_a000),
            pages(0x22_5000, 3, 0x1_02a7_c000),
            pages(0x8_2100_0000, 132, 0x502_2000),
            pages(0x8_2108_4000, 300, 0x50a_5000),
            absent(0x8_211b_0000, 0x8_211c_f000),
            pages(0x8_211c_f000, 9, 0x1_02a7_f000),
            pages(0x8_211d_8000, 7, 0x1_02a8_8000),
            pages(0x8_211d_f000, 15, 0x1_02a8_f000),
            absent(0x8_211e_e000, 0x8_213f_c000),
            pages(0x8_2140_0000, 600, 0x1_02c0_0000),
            absent(0x8_2165_8000, 0x8_2180_0000),
            absent(0x7fff_fffd_f000, 0x7fff_ffff_a000),
            pages(0x7fff_ffff_a000, 5, 0x1_02e5_8000),
            pages(0x7fff_ffff_f000, 1, 0x51d_1000),
        ],
    }
}

/// A shell's memory map, as FreeBSD lays one out: its program, the heap behind it, two libraries' worth of
/// anonymous memory, the shared page and the stack.
fn shell() -> ProcessMap {
    const PAGE: u64 = 4096;
    let region = |start, end| AddressRange { start, end };
    let letters =
        |text: &str| Protection { read: text.contains('r'), write: text.contains('w'), execute: text.contains('x') };
    let entry = |start, end, object, protection: &str, resident: u64, private: Option<u64>| {
        let mut entry = MapEntry::new(start, end, object);
        entry.protection = letters(protection);
        entry.max_protection = Some(letters(if object == Object::Guard { "" } else { "rwx" }));
        entry.private = object != Object::Physical;
        entry.needs_copy = Some(false);
        entry.locked = Some(false);
        entry.no_core_dump = Some(object == Object::Guard);
        entry.usage = Some(Usage {
            resident: resident * PAGE,
            private: private.map(|pages| pages * PAGE),
            shared: private.map(|pages| (resident - pages) * PAGE),
            superpages: Superpages::Used(false),
            dirty: None,
            swapped: None,
        });
        entry
    };
    let file = |mut entry: MapEntry, path: &str, inode, offset, needs_copy| {
        (entry.path, entry.inode, entry.offset) = (path.as_bytes().to_vec(), inode, offset);
        (entry.copy_on_write, entry.needs_copy, entry.references) = (true, Some(needs_copy), Some(3));
        entry.device.minor = 0x5e;
        entry
    };
    let named = |mut entry: MapEntry, label: &str| {
        entry.label = label.as_bytes().to_vec();
        entry.references = (!matches!(entry.object, Object::None | Object::Guard)).then_some(1);
        entry
    };
    let (sh, libc) = ("/bin/sh", "/lib/libc.so.7");
    let entries = vec![
        file(entry(0x20_0000, 0x20_7000, Object::Vnode, "r--", 7, Some(0)), sh, 0x18e, 0, true),
        file(entry(0x20_7000, 0x22_3000, Object::Vnode, "r-x", 28, Some(0)), sh, 0x18e, 0x6000, true),
        file(entry(0x22_3000, 0x22_5000, Object::Vnode, "rw-", 2, None), sh, 0x18e, 0x2_1000, false),
        named(entry(0x22_5000, 0x22_8000, Object::Anonymous, "rw-", 3, Some(3)), "heap"),
        file(entry(0x8_2100_0000, 0x8_2108_4000, Object::Vnode, "r--", 132, Some(0)), libc, 0x3f1, 0, true),
        file(entry(0x8_2108_4000, 0x8_211c_f000, Object::Vnode, "r-x", 300, Some(0)), libc, 0x3f1, 0x8_3000, true),
        file(entry(0x8_211c_f000, 0x8_211d_8000, Object::Vnode, "r--", 9, None), libc, 0x3f1, 0x1c_d000, false),
        file(entry(0x8_211d_8000, 0x8_211d_f000, Object::Vnode, "rw-", 7, None), libc, 0x3f1, 0x1d_5000, false),
        named(entry(0x8_211d_f000, 0x8_213f_c000, Object::Anonymous, "rw-", 15, Some(15)), "anon"),
        {
            let mut arena =
                named(entry(0x8_2140_0000, 0x8_2180_0000, Object::Anonymous, "rw-", 600, Some(600)), "anon");
            arena.usage = arena.usage.map(|usage| Usage { superpages: Superpages::Used(true), ..usage });
            arena
        },
        named(entry(0x7fff_dfff_f000, 0x7fff_fffd_f000, Object::Guard, "---", 0, Some(0)), "guard"),
        named(entry(0x7fff_fffd_f000, 0x7fff_ffff_f000, Object::Anonymous, "rw-", 5, Some(5)), "stack"),
        named(entry(0x7fff_ffff_f000, 0x8000_0000_0000, Object::Physical, "r-x", 1, Some(0)), "vdso"),
    ];
    let layout = Layout {
        user: region(PAGE, 0x8000_0000_0000),
        data: region(0x22_3000, 0x22_8000),
        stack_limit: 0x7fff_dfff_f000,
        stack_size: 0x2_0000,
        shared_page: region(0x7fff_ffff_f000, 0x8000_0000_0000),
        flags: 0,
    };
    ProcessMap { pid: 812, command: "-sh".into(), layout: Some(layout), entries, domains: None, structures: None }
}
