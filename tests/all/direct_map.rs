//! Kernels that panic when mem(4) is asked for what their direct map does not map: memtool never asks there, whatever
//! the options say.

use crate::common::arm64::{RAM, arm64_machine};
use crate::common::{demo_machine, directory, on, write_machine};
use serde_json::{Value, json};

/// Where the direct map of an arm64 kernel begins.
const DIRECT_MAP: u64 = 0xffff_a000_0000_0000;
/// Part of the RAM that the direct map has no pages for, as for a frame buffer.
const FRAME_BUFFER: (u64, u64) = (0x4010_0000, 0x4020_0000);
/// The firmware's memory behind the RAM, which the direct map has pages for.
const FIRMWARE: (u64, u64) = (RAM[0].1, RAM[0].1 + 0x10_0000);

/// An arm64 machine whose kernel lists its direct map.
fn machine_with_a_direct_map() -> Value {
    let mut machine = arm64_machine(4096);
    let line = |(start, end): (u64, u64)| {
        let address = |physical: u64| format!("{:#x}", physical - RAM[0].0 + DIRECT_MAP);
        json!({
            "start": address(start), "end": address(end), "permissions": "rw-sg", "cache": "WB",
            "pages": [0, 0, 0, (end - start) / 4096], "region": "Direct map",
        })
    };
    let mapped = [(RAM[0].0, FRAME_BUFFER.0), (FRAME_BUFFER.1, FIRMWARE.1), RAM[1]].map(line);
    machine["kernel_maps"].as_array_mut().unwrap().extend(mapped);
    machine
}

#[test]
fn no_option_reads_what_the_direct_map_does_not_map() {
    let directory = directory();
    let listed = write_machine(directory.path(), &machine_with_a_direct_map());
    let unlisted = write_machine(directory.path(), &arm64_machine(4096));
    let says = &["no option allows reading it", "panics", "0x"];
    for (machine, range, refused) in [
        // Below the direct map, above it, between its parts, and across its border.
        (&listed, "0x9000000+4k", "0x9000000-0x9001000 (4 KiB)"),
        (&listed, "0x10000000000+4k", "0x10000000000-0x10000001000 (4 KiB)"),
        (&listed, "0x48100000+4k", "0x48100000-0x48101000 (4 KiB)"),
        (&listed, "0x480ff000+8k", "0x48100000-0x48101000 (4 KiB)"),
        (&listed, "0-0xfffffffffffff000", "0x0-0x40000000 (1 GiB)"),
        // RAM by the memory map.
        (&listed, "0x40100000+4k", "0x40100000-0x40101000 (4 KiB)"),
        (&listed, "0x400ff000-0x40201000", "0x40100000-0x40200000 (1 MiB)"),
        // Where the kernel does not tell what is mapped, RAM is all that is read.
        (&unlisted, "0x48000000+4k", "0x48000000-0x48001000 (4 KiB)"),
        (&unlisted, "0x9000000+4k", "0x9000000-0x9001000 (4 KiB)"),
    ] {
        let run = on(machine, &["dump", "--anywhere", "--range", range]);
        run.fails_saying(&[says, &[refused][..]].concat());
    }
    // That RAM is named without the option, too.
    on(&listed, &["dump", "--range", "0x40100000+4k"]).fails_saying(says);
    // Firmware's memory is no RAM, and mapped: the option counts for it. The recorded machine has nothing there.
    on(&listed, &["dump", "--range", "0x48000000+4k"]).fails_saying(&["not RAM", "--anywhere"]);
    on(&listed, &["dump", "--anywhere", "--range", "0x48000000+4k"]).fails_saying(&["none of the RAM can be read"]);
    let run = on(&listed, &["dump", "--anywhere", "--range", "0x40000000+4k"]).ok();
    assert_eq!(run.bytes.len(), 4096);
}

#[test]
fn what_the_direct_map_lacks_is_left_out_of_a_dump_with_the_reason() {
    let directory = directory();
    let machine = write_machine(directory.path(), &machine_with_a_direct_map());
    let list = on(&machine, &["--json", "dump", "--list-segments"]).ok().json();
    let ranges = |name: &str| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        list[name].as_array().unwrap().iter().map(|part| (text(&part["start"]), text(&part["end"]))).collect()
    };
    let hex = |ranges: &[(u64, u64)]| -> Vec<(String, String)> {
        ranges.iter().map(|(start, end)| (format!("{start:#x}"), format!("{end:#x}"))).collect()
    };
    assert_eq!(ranges("segments"), hex(&[(RAM[0].0, FRAME_BUFFER.0), (FRAME_BUFFER.1, RAM[0].1), RAM[1]]));
    assert_eq!(ranges("left_out"), hex(&[FRAME_BUFFER]));
    assert!(list["left_out"][0]["why"].as_str().unwrap().contains("direct map"), "{list}");
    // Other kernels test each address themselves.
    let demo =
        on(&write_machine(directory.path(), &demo_machine()), &["--json", "dump", "--list-segments"]).ok().json();
    assert_eq!(demo["left_out"], json!([]));
}

#[test]
fn kernel_memory_is_read_by_the_page_tables() {
    let directory = directory();
    let machine = write_machine(directory.path(), &machine_with_a_direct_map());
    // Mapped by RAM; not mapped; in the direct map, with and without RAM.
    let kernel = on(&machine, &["dump", "-k", "--anywhere", "--range", "0xffff000000000000+4k"]).ok();
    let read = on(&machine, &["read", "--as", "raw", "-l", "4k", "0xffff000000000000"]).ok();
    assert!(kernel.bytes.len() == 4096 && kernel.bytes == read.bytes);
    let direct = on(&machine, &["dump", "-k", "--anywhere", "--range", "0xffffa00000001000+4k"]).ok();
    assert!(direct.bytes == on(&machine, &["dump", "--range", "0x40001000+4k"]).ok().bytes);
    for range in ["0xffff000100000000+4k", "0xffffa00008000000+4k", "0xffff9fffffff0000+4k", "0x9000000+4k"] {
        let run = on(&machine, &["dump", "-k", "--anywhere", "--range", range]);
        run.fails_saying(&["none of the kernel memory can be read"]);
    }
}

#[test]
fn riscv_kernels_are_read_where_there_is_ram() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["system"]["machine_arch"] = json!("riscv64");
    let path = write_machine(directory.path(), &machine);
    on(&path, &["dump", "--anywhere", "--range", "0xfee00000+4k"])
        .fails_saying(&["no option allows reading it", "panics"]);
    assert_eq!(on(&path, &["dump", "--range", "0x100000+4k"]).ok().bytes.len(), 4096);
    let run = on(&path, &["dump", "-k", "--anywhere", "--range", "0xffffffc000000000+4k"]);
    run.fails_saying(&["panics", "/dev/kmem", "page tables"]);
}
