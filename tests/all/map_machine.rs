//! `memtool map` of a dump: what its kernel knows of the machine, drawn as the machine itself would be.

use crate::common::typed_kernel::WriteFiles as _;
use crate::common::{demo_machine, directory, on, write_machine};
use crate::map::layer;
use serde_json::{Value, json};
use vmcore_synth::Arch;
use vmcore_synth::machine_tables::{RangeSpec, SMAP, SMAP_ATTRIBUTES, efi_map, efi_map_type, smap};
use vmcore_synth::typed_kernel::TypedKernel;

/// A record that is neither map: the name of the kernel's file.
const NAME: (u32, &[u8]) = (1, b"/boot/kernel/kernel\0");
const PAGE: u64 = 4096;

/// RAM below 640 KiB and from 1 MiB on, what the BIOS keeps, and what ACPI needs.
const BIOS: [(u64, u64, u32); 5] = [
    (0, 0x9_fc00, 1),
    (0x9_fc00, 0x400, 2),
    (0x10_0000, 0x7f0_0000, 1),
    (0x800_0000, 0x1000, 3),
    (0x800_1000, 0x1000, 4),
];

/// `MDF_FIRMWARE` and `MDF_ACTIVE`, and with the flags of fixed ranges.
const FIRMWARE: u32 = 0x0c00_0000;
const FIXED: u32 = FIRMWARE | 0x2300_0000;
const UNCACHEABLE: u32 = 1;
const WRITE_BACK: u32 = 8;

/// Fixed ranges, RAM, a hole in it, and one that is free.
const RANGES: [RangeSpec<'static>; 5] = [
    (0, 0x1_0000, FIXED | WRITE_BACK, "BIOS"),
    (0xa_0000, 0x4000, FIXED | UNCACHEABLE, "BIOS"),
    (0, 0x800_0000, FIRMWARE | WRITE_BACK, "BIOS"),
    (0x400_0000, 0x100_0000, FIRMWARE | UNCACHEABLE, "fb"),
    (0, 1 << 40, UNCACHEABLE, ""),
];

fn name() -> (u32, Vec<u8>) {
    (NAME.0, NAME.1.to_vec())
}

fn map(kernel: &TypedKernel, layers: &str) -> (Value, String) {
    let run = kernel.write().run(&["map", "--json", "--layers", layers]);
    assert!(matches!(run.code, 0 | 1), "{run:?}");
    (run.json(), run.stderr.clone())
}

/// Start, end and description of each range of the layer that is listed.
fn listed(map: &Value) -> Vec<(u64, u64, &str)> {
    let ranges = layer(map, "memory")["ranges"].as_array().unwrap().iter();
    let ranges = ranges.filter(|range| range["kind"] != "hole");
    let address = |value: &Value| crate::common::address(value);
    ranges.map(|range| (address(&range["start"]), address(&range["end"]), range["kind"].as_str().unwrap())).collect()
}

#[test]
fn a_dump_is_drawn_as_the_machine_that_it_is_of() {
    let mut kernel = TypedKernel::new(Arch::Amd64);
    kernel.add_loader_records(&[name(), (SMAP, smap(&BIOS)), name()]);
    kernel.add_memory_ranges(&RANGES);
    kernel.add_processor(0xc06, 40, "GenuineIntel");
    let (map, _) = map(&kernel, "memory,types");
    // The same machine, recorded.
    let directory = directory();
    let mut machine = demo_machine();
    let range =
        |start: u64, length: u64| json!({"start": format!("{start:#x}"), "end": format!("{:#x}", start + length)});
    let with = |mut range: Value, name: &str, value: Value| {
        range[name] = value;
        range
    };
    let of = |kind: u32, name: &str, value: Value| {
        let entries = BIOS.iter().filter(move |entry| entry.2 == kind);
        entries.map(|entry| with(range(entry.0, entry.1), name, value.clone())).collect::<Vec<_>>()
    };
    let reserved =
        [of(2, "kind", json!("reserved")), of(3, "kind", json!("ACPI reclaimable")), of(4, "kind", json!("ACPI NVS"))];
    machine["memory"] =
        json!({"source": "machdep.smap", "segments": of(1, "domain", Value::Null), "reserved": reserved.concat()});
    let flags = |flags: u32| {
        let bits = (0..32).map(|bit| 1_u32 << bit).filter(|bit| flags & bit != 0);
        bits.map(|bit| json!(format!("{bit:#x}"))).collect::<Vec<_>>()
    };
    let descriptors = RANGES.map(|(base, length, of, owner)| {
        json!({"base": format!("{base:#x}"), "length": format!("{length:#x}"), "flags": flags(of), "owner": owner})
    });
    let registers = json!({"vendor": "GenuineIntel", "mtrr_def_type": "0xc06"});
    machine["ranges"] = json!({"physical_bits": 40, "registers": registers, "descriptors": descriptors});
    let machine = write_machine(directory.path(), &machine);
    let recorded = on(&machine, &["map", "--json", "--layers", "memory,types"]).ok().json();
    for name in ["memory", "types"] {
        assert_eq!(layer(&map, name)["ranges"], layer(&recorded, name)["ranges"], "{name}");
        assert_eq!(layer(&map, name)["kind_totals"], layer(&recorded, name)["kind_totals"], "{name}");
    }
    assert_eq!(layer(&map, "memory")["source"], "machdep.smap of the kernel");
    let kinds: Vec<_> = layer(&map, "types")["kind_totals"].as_array().unwrap().iter().map(|of| &of["kind"]).collect();
    assert!(kinds.contains(&&json!("uncacheable")) && kinds.contains(&&json!("default")), "{kinds:?}");
}

#[test]
fn every_architectures_loader_is_understood() {
    let ram = [(0, 0x100_0000), (0x800_0000, 0x900_0000)];
    let descriptors = |(start, end): (u64, u64)| (7, start, (end - start) / PAGE);
    let entries = [descriptors(ram[0]), (10, 0x100_0000, 2), (11, 0x7000_0000, 1), descriptors(ram[1])];
    for arch in [Arch::Amd64, Arch::Arm64, Arch::Riscv, Arch::Arm, Arch::I386] {
        let mut kernel = TypedKernel::new(arch);
        kernel.add_loader_records(&[name(), (efi_map_type(arch), efi_map(&entries)), (2, b"elf kernel\0".to_vec())]);
        let (map, _) = map(&kernel, "memory");
        let expected = [
            (ram[0].0, ram[0].1, "ram"),
            (0x100_0000, 0x100_2000, "acpi-nvs"),
            (ram[1].0, ram[1].1, "ram"),
            (0x7000_0000, 0x7000_1000, "firmware"),
        ];
        assert_eq!(listed(&map), expected, "{arch:?}");
        assert_eq!(layer(&map, "memory")["source"], "machdep.efi_map of the kernel", "{arch:?}");
    }
    // The attributes of entries are records of their own, and may be too few.
    for attributes in [4 * BIOS.len(), 4, 0] {
        let mut kernel = TypedKernel::new(Arch::I386);
        kernel.add_loader_records(&[(SMAP_ATTRIBUTES, vec![9; attributes]), name(), (SMAP, smap(&BIOS))]);
        let (map, _) = map(&kernel, "memory");
        let kinds: Vec<_> = listed(&map).into_iter().map(|(.., kind)| kind).collect();
        assert_eq!(kinds, ["ram", "reserved", "ram", "acpi-reclaimable", "acpi-nvs"]);
    }
}

#[test]
fn kernels_without_the_tables_are_drawn_by_what_the_dump_tells() {
    // powerpc's loaders have no such map, and its kernel's ranges are its own.
    let mut kernel = TypedKernel::new(Arch::Powerpc64);
    kernel.add_loader_records(&[name(), (SMAP, smap(&BIOS))]);
    kernel.add_memory_ranges(&[]);
    let (map_of_powerpc, _) = map(&kernel, "memory,types");
    assert_ne!(layer(&map_of_powerpc, "memory")["source"], "machdep.smap of the kernel");
    let absent = &map_of_powerpc["absent"][0];
    assert_eq!((&absent["layer"], &absent["why"]), (&json!("types"), &json!("the kernel has no memory ranges")));
    // A kernel that was started without a loader.
    let mut kernel = TypedKernel::new(Arch::Amd64);
    kernel.add_loader_records(&[]);
    kernel.set_variable("preload_metadata", "", 0);
    let (map, stderr) = map(&kernel, "memory");
    assert!(!listed(&map).is_empty() && !stderr.contains("firmware"), "{stderr}");
}

#[test]
fn tables_that_make_no_sense_are_told_of() {
    let large = (SMAP, vec![0; (1 << 20) + 1]);
    let odd = (SMAP, smap(&BIOS)[..30].to_vec());
    let wrapped = (SMAP, smap(&[(u64::MAX - 4095, 1 << 20, 1)]));
    let short = (efi_map_type(Arch::Amd64), efi_map(&[(7, 0, 4)])[..40].to_vec());
    for (record, why) in [
        (large, Some("has 1048577 bytes")),
        // The kernel counts whole entries.
        (odd, None),
        (wrapped, Some("ends beyond 64 bits")),
        (short, Some("the header promises 48 bytes, 8 follow it")),
    ] {
        let mut kernel = TypedKernel::new(Arch::Amd64);
        kernel.add_loader_records(&[name(), record]);
        let (map, stderr) = map(&kernel, "memory");
        match why {
            Some(why) => assert!(
                stderr.contains("the firmware's map of memory cannot be read") && stderr.contains(why),
                "{stderr}"
            ),
            None => assert_eq!(listed(&map), [(0, 0x9_fc00, "ram")]),
        }
        assert!(!listed(&map).is_empty());
    }
    // Records that go on and on: a size that leads out of memory, and no end.
    let mut kernel = TypedKernel::new(Arch::Amd64);
    let at = kernel.add_loader_records(&[name(), (SMAP, smap(&BIOS))]);
    kernel.write_bytes(at + 4, &u32::MAX.to_le_bytes());
    let (_, stderr) = map(&kernel, "memory");
    assert!(stderr.contains("the firmware's map of memory cannot be read"), "{stderr}");
    let mut kernel = TypedKernel::new(Arch::Amd64);
    kernel.add_loader_records(&vec![(3, Vec::new()); (1 << 16) + 1]);
    let (_, stderr) = map(&kernel, "memory");
    assert!(stderr.contains("have no end"), "{stderr}");
    for count in [-1_i128, 1025, i128::from(i32::MAX)] {
        let mut kernel = TypedKernel::new(Arch::Amd64);
        kernel.add_memory_ranges(&RANGES);
        kernel.set_variable("mem_range_softc", "mr_ndesc", count);
        let (map, stderr) = map(&kernel, "types");
        assert!(stderr.contains("number of memory ranges makes no sense"), "{stderr}");
        assert_eq!(map["layers"], json!([]));
    }
}
