//! `--json`: one object wherever the option stands, and no number in it that a parser with doubles rounds, which every
//! look at an object checks.

use crate::common::{command, demo, demo_machine, directory, memtool, names, on, schema, text, write_machine};
use serde_json::{Value, json};
use vmcore_synth::device::live_dump;
use vmcore_synth::{Arch, Compression, MinidumpSpec};

/// A machine on which every number is as large as it can be.
fn large_machine() -> Value {
    let mut machine = demo_machine();
    machine["system"]["physical_memory"] = json!(u64::MAX >> 11);
    machine["ranges"]["descriptors"][89] =
        json!({ "base": "0x8000000000000000", "length": "0x8000000000000000", "flags": ["uncacheable", "active"] });
    machine["live_dump"] = json!({ "wired": u64::MAX >> 11, "managed": u64::MAX >> 11, "pipes": 0 });
    let entry = &mut machine["processes"][0]["entries"][0];
    entry["inode"] = json!(u64::MAX.to_string());
    entry["offset"] = json!("0xfffffffffffff000");
    entry["usage"] =
        json!({ "bytes_resident": u64::MAX, "bytes_private": u64::MAX, "bytes_shared": 0, "superpages": u64::MAX });
    machine
}

#[test]
fn every_object_holds_large_numbers_exactly_wherever_the_option_stands() {
    let directory = directory();
    let machine = write_machine(directory.path(), &large_machine());
    for arguments in [
        &["ranges", "list", "--all"][..],
        &["ranges", "explain", "0x8000000000000000"],
        &["ranges", "update", "-b", "0x40000000", "-l", "4k", "-t", "write-combine"],
        &["ranges", "remove", "-o", "BIOS", "-n"],
        &["paddr", "0x200000", "0xffffffffffffffff"],
        &["paddr", "--runs", "--alloc", "4m", "--touch"],
        &["dump", "--list-segments", "--range", "0x0-0xfffffffffffff000", "--anywhere"],
        &["dump", "--list-segments", "-k"],
        &["symbols", "msgbufp"],
        &["translate", "msgbufp"],
        &["read", "msgbufp", "--as", "u64"],
        &["read", "msgbufp", "--as", "ptr"],
        &["read", "msgbufp"],
        &["maps", "812"],
        &["maps", "-x", "--numa", "812"],
    ] {
        let run = |arguments: &[&str]| on(&machine, arguments);
        let before = run(&[&["--json"], arguments].concat());
        let behind = run(&[arguments, &["--json"]].concat());
        assert_eq!(before.code, behind.code, "{arguments:?}: {before:?}");
        if before.code == 0 {
            let object = before.json();
            assert_eq!(object, behind.json(), "{arguments:?}");
            assert_eq!(object["host"], "recorded", "{arguments:?}");
        } else {
            // These have none for a machine like this, and say why.
            assert!(arguments.contains(&"--numa"), "{arguments:?}: {before:?}");
        }
    }
    let entries = on(&machine, &["maps", "812", "--json"]).ok().json()["processes"][0]["entries"].clone();
    assert_eq!(entries[0]["inode"], u64::MAX.to_string());
    // What can exceed a double is a string whatever it is.
    assert_eq!(entries[1]["inode"], "398");
}

#[test]
fn a_recording_holds_the_number_of_a_file_exactly_and_reads_it_in_either_form() {
    let directory = directory();
    for inode in [json!("18446744073709551615"), json!(u64::MAX), json!("0xffffffffffffffff")] {
        let mut machine = demo_machine();
        machine["processes"][0]["entries"][0]["inode"] = inode;
        let file = write_machine(directory.path(), &machine);
        let copy = on(&file, &["record", "-"]).ok().json();
        assert_eq!(copy["processes"][0]["entries"][0]["inode"], "18446744073709551615");
    }
    for wrong in [json!(-1), json!("x"), json!("18446744073709551616"), json!(1.5), json!([])] {
        let mut machine = demo_machine();
        machine["processes"][0]["entries"][0]["inode"] = wrong;
        on(&write_machine(directory.path(), &machine), &["maps", "812"]).exits(1);
    }
}

#[test]
fn record_prints_an_object_about_its_file_and_the_machine_itself_is_one() {
    let directory = directory();
    let file = directory.path().join("recorded");
    let document = demo(&["record", "--json", text(&file)]).ok().json();
    assert_eq!(document["schema"], "memtool.record");
    assert_eq!(document["output"], text(&file));
    assert_eq!(
        (&document["segment_count"], &document["range_count"], &document["process_count"]),
        (&json!(10), &json!(96), &json!(1))
    );
    assert_eq!(names(directory.path()), ["recorded"]);
    for arguments in [&["record", "-", "--json"][..], &["--json", "record", "-"], &["record", "-"]] {
        assert_eq!(demo(arguments).ok().json()["schema"], "memtool.machine");
    }
    assert_eq!(demo(&["record", text(&directory.path().join("other"))]).ok().stdout, "");
}

#[test]
fn two_objects_never_share_standard_output() {
    let update = ["ranges", "update", "-b", "0x40000000", "-l", "4k", "-t", "write-combine"];
    for options in [&["--json", "--save-machine", "-"][..], &["--save-machine", "-", "--json"]] {
        demo(&[options, &update].concat()).usage_error(&["--save-machine", "--json", "standard output"]);
        demo(&[&update[..], options].concat()).usage_error(&["--save-machine", "--json", "standard output"]);
    }
    memtool(&["--json", "completions", "sh"]).exits(2);
}

#[test]
fn names_that_are_not_utf8_are_lists_of_their_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let directory = directory();
    let [dump, copy] = [&b"\xff.elf"[..], b"\xfe"].map(|name| directory.path().join(OsStr::from_bytes(name)));
    let run = |arguments: &[&OsStr]| {
        let output = command().arg("--json").args(arguments).output().unwrap();
        schema::document(&output.stdout)
    };
    let bytes = |path: &std::path::Path| json!(path.as_os_str().as_bytes());
    let dumped = ["--machine", "demo", "dump", "--range", "0x100000+64k", "--format", "elf", "-o"].map(OsStr::new);
    let written = run(&[&dumped[..], &[dump.as_os_str()]].concat());
    assert_eq!(written["output"], bytes(&dump));
    assert_eq!(run(&["inspect".as_ref(), dump.as_ref()])["input"], bytes(&dump));
    let converted = run(&["convert".as_ref(), "--format".as_ref(), "lime".as_ref(), dump.as_ref(), copy.as_ref()]);
    assert_eq!((&converted["input"], &converted["output"]), (&bytes(&dump), &bytes(&copy)));
    // And what a kernel has written.
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    let mut live = live_dump(spec.arch, &spec.build(), Compression::None, spec.page_size);
    let at = live.len() - 512 + 64;
    live[at] = 0xff;
    let length = live[at..].iter().position(|byte| *byte == 0).unwrap();
    std::fs::write(&copy, &live).unwrap();
    assert_eq!(run(&["inspect".as_ref(), copy.as_ref()])["header"]["hostname"], json!(live[at..at + length]));
}
