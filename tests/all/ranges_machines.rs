//! `memtool ranges` on machines that differ in what holds where no range is, and in whose rules ranges follow.
//!
//! Default types and SYSCFG are those of the processor manuals; powerpc's rules are `sys/powerpc/powerpc/mem.c`.

use crate::common::{Run, demo, demo_machine, directory, failing, on, schema, text, write_machine};
use serde_json::{Value, json};

fn range(base: &str, length: &str, flags: &[&str], owner: &str) -> Value {
    json!({ "base": base, "length": length, "flags": flags, "owner": owner })
}

fn firmware(base: &str, length: &str, cache: &str) -> Value {
    range(base, length, &[cache, "set-by-firmware", "active"], "BIOS")
}

fn slots(bits: u32, count: usize) -> Vec<Value> {
    vec![range("0x0", &format!("{:#x}", 1_u64 << bits), &["uncacheable"], ""); count]
}

/// A machine with this RAM and these variable ranges, and a few free slots.
fn machine(bits: u32, ram: &[(&str, &str)], ranges: &[Value]) -> Value {
    let mut machine = demo_machine();
    let segments: Vec<Value> = ram.iter().map(|(start, end)| json!({ "start": start, "end": end })).collect();
    machine["memory"] = json!({ "source": "machdep.efi_map", "segments": segments, "reserved": [] });
    let descriptors: Vec<Value> = ranges.iter().cloned().chain(slots(bits, 4)).collect();
    machine["ranges"] = json!({ "physical_bits": bits, "descriptors": descriptors });
    machine
}

/// As firmware of AMD's machines sets it up: ranges for the RAM below 4 GiB, none above.
fn amd() -> Value {
    let ram = [("0x0", "0xa0000"), ("0x100000", "0xcb000000"), ("0x100000000", "0x82f300000")];
    let ranges = [
        firmware("0x0", "0x80000000", "write-back"),
        firmware("0x80000000", "0x40000000", "write-back"),
        firmware("0xc0000000", "0x10000000", "write-back"),
    ];
    machine(48, &ram, &ranges)
}

/// As much firmware of Intel's machines does: ranges for what is not RAM.
fn intel() -> Value {
    let ram = [("0x0", "0x9f000"), ("0x100000", "0x7a000000"), ("0x100000000", "0x47dc00000")];
    let ranges =
        [firmware("0x80000000", "0x80000000", "uncacheable"), firmware("0x7c000000", "0x4000000", "uncacheable")];
    machine(39, &ram, &ranges)
}

fn with_registers(mut machine: Value, registers: Value) -> Value {
    machine["ranges"]["registers"] = registers;
    machine
}

#[track_caller]
fn ranges(machine: &Value, arguments: &[&str]) -> Run {
    let directory = directory();
    on(&write_machine(directory.path(), machine), &[&["ranges"], arguments].concat())
}

/// The default type at an address: its name, or `null`, what it is known from, and the line for people.
#[track_caller]
fn default_at(machine: &Value, address: &str) -> (Value, Value, String) {
    let document = ranges(machine, &["explain", address, "--json"]).ok().json();
    assert_eq!(document["effective"], "default", "{document}");
    let run = ranges(machine, &["explain", address]).ok();
    let default = &document["default"];
    (default["type"].clone(), default["basis"].clone(), run.lines()[0].to_owned())
}

// default types

#[test]
fn ranges_for_ram_below_4_gib_show_that_the_default_type_is_not_write_back() {
    for address in ["0xfee00000", "0xd8000000", "0xfd000000", "0x1000000000"] {
        let (cache, basis, words) = default_at(&amd(), address);
        assert_eq!((cache, basis), (json!("uncacheable"), json!("inferred")), "{address}");
        assert!(words.contains("most likely uncacheable") && words.contains("firmware"), "{words}");
    }
    let (cache, basis, words) = default_at(&amd(), "0x100000000");
    assert_eq!((cache, basis), (json!("write-back"), json!("inferred")));
    assert!(words.contains("most likely write-back") && words.contains("TOP_MEM2"), "{words}");
}

#[test]
fn ram_without_ranges_shows_that_the_default_type_is_write_back() {
    for address in ["0x100000", "0x100000000", "0x500000000"] {
        let (cache, basis, words) = default_at(&intel(), address);
        assert_eq!((cache, basis), (json!("write-back"), json!("inferred")), "{address}");
        assert!(words.contains("most likely write-back: RAM at 0x0 has no range"), "{words}");
    }
}

#[test]
fn the_processors_registers_win_over_what_the_ranges_show() {
    let amd_registers = |syscfg: &str| {
        let top = json!("0x830000000");
        json!({ "vendor": "AuthenticAMD", "mtrr_def_type": "0xc00", "syscfg": syscfg, "top_mem2": top })
    };
    let machine = with_registers(amd(), amd_registers("0x740000"));
    for (address, expected) in [
        ("0xfee00000", "uncacheable"),
        ("0x100000000", "write-back"),
        ("0x82fffffff", "write-back"),
        ("0x830000000", "uncacheable"),
    ] {
        let (cache, basis, words) = default_at(&machine, address);
        assert_eq!((cache, basis), (json!(expected), json!("processor")), "{address}");
        assert!(words.contains(&format!(", {expected}: ")), "{words}");
        assert!(!words.contains("likely"), "{words}");
    }
    let off = with_registers(amd(), amd_registers("0x0"));
    assert_eq!(default_at(&off, "0x100000000").0, "uncacheable");
    let intel = with_registers(intel(), json!({ "vendor": "GenuineIntel", "mtrr_def_type": "0xc06" }));
    let (cache, basis, words) = default_at(&intel, "0x100000000");
    assert_eq!((cache, basis), (json!("write-back"), json!("processor")));
    assert!(words.contains("MTRRdefType"), "{words}");
}

#[test]
fn why_the_registers_are_not_known_is_said_where_it_matters() {
    let (_, _, words) = default_at(&failing(&intel(), "CPUCTL_RDMSR", "ENOENT"), "0x100000000");
    assert!(words.contains("ENOENT") && words.contains("kldload cpuctl"), "{words}");
    let machine = with_registers(intel(), json!({ "vendor": "GenuineIntel", "mtrr_def_type": "0xc06" }));
    let (_, basis, words) = default_at(&failing(&machine, "CPUCTL_RDMSR", "EACCES"), "0x100000000");
    assert!(basis == "inferred" && words.contains("EACCES"), "{words}");
    // Where a range is, nobody needs them.
    let run = ranges(&failing(&intel(), "CPUCTL_RDMSR", "ENOENT"), &["explain", "0x80000000"]).ok();
    assert!(!run.stdout.contains("ENOENT"), "{}", run.stdout);
}

#[test]
fn what_is_not_known_is_not_guessed() {
    let bare = machine(40, &[], &[firmware("0x80000000", "0x80000000", "uncacheable")]);
    let (cache, basis, words) = default_at(&bare, "0x0");
    assert_eq!((cache, basis), (Value::Null, json!("unknown")));
    assert!(words.contains("not known"), "{words}");
    // What the firmware had set for RAM has been removed since.
    let directory = directory();
    let file = write_machine(
        directory.path(),
        &machine(40, &[("0x0", "0x80000000")], &[firmware("0x0", "0x80000000", "write-back")]),
    );
    let saved = directory.path().join("saved");
    on(&file, &["--save-machine", text(&saved), "ranges", "remove", "-o", "BIOS"]).ok();
    let document = on(&saved, &["ranges", "explain", "0x1000", "--json"]).ok().json();
    assert_eq!(document["default"], json!({ "type": null, "basis": "unknown" }));
}

/// A change, and what it must warn of.
#[track_caller]
fn warns(machine: &Value, arguments: &[&str], texts: &[&str]) {
    let dry = ranges(machine, &[arguments, &["-n"]].concat()).ok();
    let done = ranges(machine, &[arguments, &["--json"]].concat()).ok();
    let document = done.json();
    let warnings: Vec<&str> = document["warnings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(warnings.len(), texts.len(), "{arguments:?}: {warnings:?}");
    for (warning, text) in warnings.iter().zip(texts) {
        assert!(warning.contains(text), "{text}: {warning}");
        assert!(dry.stderr.contains(warning), "{}", dry.stderr);
    }
}

#[test]
fn the_default_type_counts_on_either_side_of_a_change() {
    let known = |default: &str, machine: Value| {
        with_registers(machine, json!({ "vendor": "GenuineIntel", "mtrr_def_type": default }))
    };
    let remove = ["remove", "-b", "0x80000000", "-l", "2g"];
    let through = ["update", "-b", "0x200000000", "-l", "4g", "-t", "write-through"];
    let combine = ["update", "-b", "0x200000000", "-l", "4g", "-t", "write-combine"];
    let back = ["update", "-b", "0xfe000000", "-l", "16m", "-t", "write-back"];
    let over_ram = ["update", "-b", "0x200000000", "-l", "4g", "-t", "write-back"];
    // Device registers become cached where no range is left.
    let cached = "0x80000000..0x100000000 is not RAM and becomes write-back";
    warns(&intel(), &remove, &[&format!("{cached} by default, most likely")]);
    warns(&known("0xc06", intel()), &remove, &[&format!("{cached} by default")]);
    warns(&known("0xc00", intel()), &remove, &[]);
    // RAM that was write-back without a range.
    let ram = "RAM at 0x200000000..0x300000000 is write-back";
    warns(&intel(), &through, &[&format!("{ram} by default, most likely, now and becomes write-through")]);
    warns(&known("0xc06", intel()), &combine, &[&format!("{ram} by default now and becomes write-combine")]);
    warns(&known("0xc00", intel()), &through, &[]);
    warns(&amd(), &through, &[&format!("{ram} by default, most likely, now and becomes write-through")]);
    warns(&intel(), &over_ram, &[]);
    // What is not RAM had no range, and gets one.
    warns(&amd(), &back, &["0xfe000000..0xff000000 is not RAM and becomes write-back"]);
    warns(&known("0xc06", amd()), &back, &[]);
    let update = ["ranges", "update", "-b", "0x40000000", "-l", "16m", "-t", "write-back", "-n"];
    let run = demo(&update).ok();
    assert!(run.stderr.contains("0x40000000..0x41000000 is not RAM and becomes write-back"), "{}", run.stderr);
    // RAM loses its range.
    warns(
        &amd(),
        &["remove", "-b", "0", "-l", "2g"],
        &["RAM at 0x0..0xa0000 and 1 more is write-back now and becomes uncacheable by default, most likely"],
    );
    warns(&known("0xc06", amd()), &["remove", "-b", "0", "-l", "2g"], &[]);
}

#[test]
fn a_default_type_that_is_not_known_is_warned_of_as_the_worst_that_it_may_be() {
    let unknown = || {
        let mut machine = intel();
        // A range of the firmware's that has been removed since.
        machine["ranges"]["descriptors"][2]["flags"] = json!(["uncacheable", "set-by-firmware"]);
        machine
    };
    warns(
        &unknown(),
        &["update", "-b", "0x200000000", "-l", "4g", "-t", "write-through"],
        &["RAM at 0x200000000..0x300000000 is of the default type, which is not known, now and becomes write-through"],
    );
    warns(
        &unknown(),
        &["remove", "-b", "0x80000000", "-l", "2g"],
        &["0x80000000..0x100000000 is not RAM and becomes of the default type, which is not known"],
    );
}

#[test]
fn the_ranges_of_an_owner_are_judged_by_what_was_there_before_the_first_was_removed() {
    let run = ranges(&intel(), &["remove", "-o", "BIOS"]).ok();
    for place in ["0x80000000..0x100000000", "0x7c000000..0x80000000"] {
        assert!(
            run.stderr.contains(&format!("{place} is not RAM and becomes write-back by default, most likely")),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn registers_are_recorded_and_read_back() {
    let registers =
        json!({ "vendor": "AuthenticAMD", "mtrr_def_type": "0xc00", "syscfg": "0x740000", "top_mem2": "0x830000000" });
    let directory = directory();
    let file = write_machine(directory.path(), &with_registers(amd(), registers.clone()));
    assert_eq!(on(&file, &["record", "-"]).ok().json()["ranges"]["registers"], registers);
    let odd = with_registers(amd(), json!({ "vendor": "AuthenticAMD", "mtrr": "0x0" }));
    ranges(&odd, &["list"]).fails_saying(&["mtrr"]);
}

// slots

#[test]
fn the_longest_inactive_slot_tells_the_address_width() {
    let mut machine = amd();
    let list = machine["ranges"]["descriptors"].as_array_mut().unwrap();
    // Firmware has left a mask, and a base.
    list.insert(3, range("0x0", "0x100000000", &["uncacheable"], ""));
    list.insert(4, range("0x80000000", "0x200000000", &["write-back"], ""));
    machine["ranges"].as_object_mut().unwrap().remove("physical_bits");
    ranges(&machine, &["update", "-b", "0x4000000000", "-l", "4k", "-t", "write-combine"]).ok();
    ranges(&machine, &["update", "-b", "0x1000000000000", "-l", "4k", "-t", "write-combine"])
        .fails_saying(&["beyond 0x1000000000000"]);
    // Where the processor tells, slots do not count.
    machine["ranges"]["physical_bits"] = json!(40);
    ranges(&machine, &["explain", "0x10000000000"]).fails_saying(&["beyond 0x10000000000"]);
}

#[test]
fn what_is_active_is_within_the_address_width_whatever_inactive_slots_say() {
    let mut machine = machine(34, &[], &[firmware("0x4000000000", "0x1000000000", "uncacheable")]);
    machine["ranges"].as_object_mut().unwrap().remove("physical_bits");
    ranges(&machine, &["explain", "0x7fffffffff"]).ok();
    ranges(&machine, &["explain", "0x8000000000"]).fails_saying(&["beyond 0x8000000000"]);
}

#[test]
fn a_processor_without_variable_ranges_is_not_said_to_have_them_in_use() {
    let mut machine = demo_machine();
    machine["ranges"]["descriptors"].as_array_mut().unwrap().truncate(88);
    let update = ["update", "-b", "0x40000000", "-l", "4k", "-t", "write-combine"];
    let run = ranges(&machine, &update).fails_saying(&["ENOSPC", "has no variable ranges", "1 MiB"]);
    assert!(!run.stderr.contains("in use") && !run.stderr.contains("remove"), "{}", run.stderr);
}

// powerpc

const FREE: [&str; 2] = ["0x0", "0x0"];

/// A powerpc machine whose kernel has these ranges; the other entries are free.
fn powerpc(ranges: &[Value]) -> Value {
    let mut machine = machine(40, &[("0x0", "0x40000000")], &[]);
    machine["system"]["machine_arch"] = json!("powerpc64");
    let mut list = ranges.to_vec();
    list.resize(8, range(FREE[0], FREE[1], &[], ""));
    machine["ranges"] = json!({ "descriptors": list });
    machine
}

fn active(base: &str, length: &str, cache: &str) -> Value {
    range(base, length, &[cache, "active"], "me")
}

/// The table after a change.
#[track_caller]
fn changed(machine: &Value, arguments: &[&str]) -> Vec<Value> {
    let directory = directory();
    let file = write_machine(directory.path(), machine);
    let saved = directory.path().join("saved");
    let run = on(&file, &[&["--save-machine", text(&saved), "ranges"], arguments].concat()).ok();
    assert!(!run.stderr.contains("RAM"), "{}", run.stderr);
    let saved: Value = schema::document(&std::fs::read(saved).unwrap());
    saved["ranges"]["descriptors"].as_array().unwrap().clone()
}

#[test]
fn powerpc_asks_nothing_of_base_and_length_and_takes_the_first_free_entry() {
    for (base, length) in [("0x1001", "0x1234"), ("0x100000", "0x3000"), ("0x0", "0x1"), ("0x10000000000000", "0x1000")]
    {
        let list = changed(&powerpc(&[]), &["update", "-b", base, "-l", length, "-t", "uncacheable", "-o", "me"]);
        assert_eq!(list[0], active(base, length, "uncacheable"), "{base}+{length}");
        assert_eq!(list[1], range(FREE[0], FREE[1], &[], ""));
    }
    // --force is a flag of x86.
    let list = changed(&powerpc(&[]), &["update", "-b", "0", "-l", "4k", "-t", "write-protect", "-f", "-o", "me"]);
    assert_eq!(list[0], active("0x0", "0x1000", "write-protect"));
    // Ranges of any types overlap.
    let there = [active("0x1000", "0x1000", "write-back"), active("0x1000", "0x2000", "write-combine")];
    let list = changed(&powerpc(&there), &["update", "-b", "0x1800", "-l", "4k", "-t", "write-through", "-o", "me"]);
    assert_eq!(list[2], active("0x1800", "0x1000", "write-through"));
}

#[test]
fn powerpc_changes_no_range_and_refuses_a_second_one() {
    let machine = powerpc(&[active("0x1000", "0x1000", "write-back")]);
    let update = ["update", "-b", "0x1000", "-l", "4k", "-t", "uncacheable"];
    ranges(&machine, &update).fails_saying(&["EEXIST", "0x1000+0x1000 write-back (me)", "remove it first"]);
    // It is not looked for behind a free entry.
    let hidden = powerpc(&[range(FREE[0], FREE[1], &[], ""), active("0x1000", "0x1000", "write-back")]);
    assert_eq!(changed(&hidden, &update)[0]["flags"], json!(["uncacheable", "active"]));
    let full: Vec<Value> = (1..=8).map(|page| active(&format!("{page:#x}000"), "0x1000", "write-back")).collect();
    ranges(&powerpc(&full), &["update", "-b", "0x9000", "-l", "4k", "-t", "uncacheable"])
        .fails_saying(&["ENOSPC", "all 8 variable ranges are in use"]);
    // The kernel would say that it has done it.
    ranges(&powerpc(&[]), &["update", "-b", "0x1000", "-l", "0", "-t", "uncacheable"]).fails_saying(&["length 0"]);
    ranges(&powerpc(&[]), &["update", "-b", "0xfffffffffffff000", "-l", "8k", "-t", "uncacheable"])
        .fails_saying(&["beyond the address space"]);
}

#[test]
fn powerpc_clears_what_is_removed() {
    let machine = powerpc(&[active("0x1000", "0x1000", "write-back"), active("0x5000", "0x3000", "uncacheable")]);
    let list = changed(&machine, &["remove", "-b", "0x1000", "-l", "4k"]);
    assert_eq!(list[0], range(FREE[0], FREE[1], &[], ""));
    assert_eq!(list[1], active("0x5000", "0x3000", "uncacheable"));
    assert!(changed(&machine, &["remove", "-o", "me"]).iter().all(|entry| entry["length"] == "0x0"));
    ranges(&machine, &["remove", "-b", "0x5000", "-l", "4k"]).fails_saying(&["ENOENT", "0x5000+0x3000 uncacheable"]);
}

#[test]
fn powerpc_gives_mappings_the_type_of_the_first_range() {
    let machine = powerpc(&[
        active("0x1000", "0x1000", "write-through"),
        active("0x1000", "0x3000", "uncacheable"),
        active("0x8000", "0x1000", "write-protect"),
    ]);
    for (address, effective, decides) in [
        ("0x1fff", "write-through", &[true, false][..]),
        ("0x2000", "uncacheable", &[true]),
        ("0x8000", "default", &[true]),
        ("0x4000", "default", &[]),
        ("0xffffffffffffffff", "default", &[]),
    ] {
        let document = ranges(&machine, &["explain", address, "--json"]).ok().json();
        assert_eq!(document["effective"], effective, "{address}");
        // There is no default type of a processor.
        assert_eq!(document["default"], Value::Null, "{address}");
        let shown: Vec<&Value> =
            document["covering"].as_array().unwrap().iter().map(|entry| &entry["decides"]).collect();
        assert_eq!(
            shown,
            decides.iter().map(|one| json!(one)).collect::<Vec<_>>().iter().collect::<Vec<_>>(),
            "{address}"
        );
    }
    let document = ranges(&machine, &["list", "--json"]).ok().json();
    assert_eq!((&document["variable_slot_count"], &document["free_slot_count"]), (&json!(8), &json!(5)));
}

#[test]
fn kernels_of_other_machines_do_not_know_the_ioctls() {
    for arch in ["aarch64", "armv7", "riscv64"] {
        let mut machine = amd();
        machine["system"]["machine_arch"] = json!(arch);
        ranges(&machine, &["list"]).fails_saying(&["ENOTTY", "x86 and powerpc"]);
        ranges(&machine, &["update", "-b", "0x40000000", "-l", "4k", "-t", "write-combine"]).fails_saying(&["ENOTTY"]);
        ranges(&machine, &["remove", "-o", "BIOS"]).fails_saying(&["ENOTTY"]);
    }
}
