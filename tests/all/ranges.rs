//! `memtool ranges`: list, explain, update, remove, on recorded machines.
//!
//! The rules and errnos are those of the kernel's `sys/x86/x86/x86_mem.c`; the lines of memcontrol(8) and the
//! real machine were recorded from FreeBSD 12.1 amd64 in QEMU (512 MiB, 88 fixed and 8 variable ranges).

use crate::common::{
    Run, demo, demo_machine, directory, failing, memtool, on, on_terminal, schema, text, write_machine,
};
use serde_json::{Value, json};
use std::path::Path;

/// Fixed ranges of the default PC layout: base, length, cache type.
fn pc_layout() -> Vec<(u64, u64, &'static str)> {
    let mut layout = Vec::new();
    layout.extend((0..8).map(|i| (i * 0x1_0000, 0x1_0000, "write-back")));
    layout.extend((0..8).map(|i| (0x8_0000 + i * 0x4000, 0x4000, "write-back")));
    layout.extend((0..8).map(|i| (0xa_0000 + i * 0x4000, 0x4000, "uncacheable")));
    layout.extend((0..64).map(|i| (0xc_0000 + i * 0x1000, 0x1000, "write-protect")));
    layout
}

const FIXED: usize = 88;
const FIXED_FLAGS: [&str; 4] = ["fixed-base", "fixed-length", "fixed-active", "active"];

fn range(base: u64, length: u64, flags: &[&str], owner: &str) -> Value {
    json!({ "base": format!("{base:#x}"), "length": format!("{length:#x}"), "flags": flags, "owner": owner })
}

fn fixed(base: u64, length: u64, cache: &str) -> Value {
    let flags: Vec<&str> = FIXED_FLAGS.into_iter().chain([cache, "set-by-firmware"]).collect();
    range(base, length, &flags, "BIOS")
}

fn active(base: u64, length: u64, cache: &str) -> Value {
    range(base, length, &[cache, "active"], "me")
}

/// A free slot: base 0, the whole address width, uncacheable.
fn free(bits: u32) -> Value {
    range(0, 1 << bits, &["uncacheable"], "")
}

/// The machine of FreeBSD 12.1 in QEMU.
fn real_machine() -> Value {
    let mut machine = demo_machine();
    machine["system"] = json!({
        "osreldate": 1_201_000,
        "version": "FreeBSD 12.1-RELEASE FVM",
        "machine_arch": "amd64",
        "page_size": 4096,
        "domains": 2,
        "processors": 2,
        "physical_memory": 473_387_008,
        "hostname": "",
    });
    machine["memory"] = json!({
        "source": "machdep.smap",
        "segments": [
            { "start": "0x0", "end": "0x9fc00" },
            { "start": "0x100000", "end": "0x1ffda000" },
        ],
        "reserved": [],
    });
    let mut descriptors: Vec<Value> =
        pc_layout().into_iter().map(|(base, length, cache)| fixed(base, length, cache)).collect();
    descriptors.push(range(0x8000_0000, 0x8000_0000, &["uncacheable", "set-by-firmware", "active"], "BIOS"));
    descriptors.extend((0..7).map(|_| free(40)));
    machine["ranges"] = json!({ "physical_bits": 40, "descriptors": descriptors });
    machine
}

/// A machine with these variable ranges only, and two free slots of 40 bits behind them.
fn variable_only(ranges: &[Value]) -> Value {
    let mut machine = demo_machine();
    let mut descriptors = ranges.to_vec();
    descriptors.extend([free(40), free(40)]);
    machine["ranges"] = json!({ "physical_bits": 40, "descriptors": descriptors });
    machine
}

/// What a change left behind, from the saved machine.
struct Changed {
    run: Run,
    before: Vec<Value>,
    after: Vec<Value>,
}

impl Changed {
    /// The places in the table that are different now.
    fn places(&self) -> Vec<usize> {
        assert_eq!(self.before.len(), self.after.len());
        (0..self.before.len()).filter(|&i| sorted(&self.before[i]) != sorted(&self.after[i])).collect()
    }
}

/// A descriptor with its flags in alphabetical order, so that two can be compared.
fn sorted(descriptor: &Value) -> Value {
    let mut descriptor = descriptor.clone();
    let mut flags: Vec<String> = serde_json::from_value(descriptor["flags"].take()).unwrap();
    flags.sort();
    descriptor["flags"] = json!(flags);
    descriptor
}

#[track_caller]
fn same(left: &Value, right: &Value) {
    assert_eq!(sorted(left), sorted(right));
}

fn descriptors(machine: &Value) -> Vec<Value> {
    machine["ranges"]["descriptors"].as_array().unwrap().clone()
}

fn read(path: &Path) -> Value {
    schema::document(&std::fs::read(path).unwrap())
}

/// Runs `memtool ranges ...` on a machine and keeps what becomes of it.
#[track_caller]
fn change(machine: &Value, arguments: &[&str]) -> Changed {
    let directory = directory();
    let file = write_machine(directory.path(), machine);
    let saved = directory.path().join("saved");
    let mut all = vec!["--save-machine", text(&saved), "ranges"];
    all.extend(arguments);
    let run = on(&file, &all);
    assert_eq!(&read(&file), machine, "the machine's own file must not change");
    let after = if saved.exists() { descriptors(&read(&saved)) } else { Vec::new() };
    Changed { run, before: descriptors(machine), after }
}

#[track_caller]
fn ranges(machine: &Value, arguments: &[&str]) -> Run {
    let directory = directory();
    let mut all = vec!["ranges"];
    all.extend(arguments);
    on(&write_machine(directory.path(), machine), &all)
}

// list

#[test]
fn memcontrol_lines_are_exactly_those_of_memcontrol_on_the_real_machine() {
    let mut expected: Vec<String> = pc_layout()
        .iter()
        .map(|(base, length, cache)| {
            format!("{base:#x}/{length:#x} BIOS {cache} fixed-base fixed-length set-by-firmware active ")
        })
        .collect();
    expected.push("0x80000000/0x80000000 BIOS uncacheable set-by-firmware active ".to_owned());
    let with_inactive: Vec<String> =
        expected.iter().cloned().chain((0..7).map(|_| "0x0/0x10000000000 - uncacheable ".to_owned())).collect();

    let machine = real_machine();
    assert_eq!(ranges(&machine, &["list", "--memcontrol"]).ok().lines(), expected);
    let all = ranges(&machine, &["list", "--all", "--memcontrol"]).ok();
    assert_eq!(all.lines(), with_inactive);
    // The lines as they were recorded.
    for (place, line) in [
        (0, "0x0/0x10000 BIOS write-back fixed-base fixed-length set-by-firmware active "),
        (15, "0x9c000/0x4000 BIOS write-back fixed-base fixed-length set-by-firmware active "),
        (16, "0xa0000/0x4000 BIOS uncacheable fixed-base fixed-length set-by-firmware active "),
        (23, "0xbc000/0x4000 BIOS uncacheable fixed-base fixed-length set-by-firmware active "),
        (24, "0xc0000/0x1000 BIOS write-protect fixed-base fixed-length set-by-firmware active "),
        (87, "0xff000/0x1000 BIOS write-protect fixed-base fixed-length set-by-firmware active "),
        (88, "0x80000000/0x80000000 BIOS uncacheable set-by-firmware active "),
        (95, "0x0/0x10000000000 - uncacheable "),
    ] {
        assert_eq!(all.lines()[place], line);
    }
    assert_eq!(all.lines().len(), 96);
}

#[test]
fn memcontrol_lines_can_be_restricted_to_an_owner() {
    let mut machine = real_machine();
    machine["ranges"]["descriptors"][89] = active(0x4000_0000, 0x1000, "write-combine");
    let run = ranges(&machine, &["list", "--memcontrol", "--owner", "me"]).ok();
    assert_eq!(run.stdout, "0x40000000/0x1000 me write-combine active \n");
}

#[test]
fn memcontrol_lines_have_every_name_that_memcontrol_knows_and_no_other() {
    let flags = [
        "uncacheable",
        "write-combine",
        "write-through",
        "write-back",
        "write-protect",
        "force",
        "unknown",
        "fixed-base",
        "fixed-length",
        "set-by-firmware",
        "active",
        "bogus",
    ];
    let all: Vec<&str> = flags.into_iter().chain(["fixed-active", "busy", "0x40"]).collect();
    let machine = variable_only(&[range(0x1000, 0x1000, &all, "0123456")]);
    let run = ranges(&machine, &["list", "--memcontrol"]).ok();
    assert_eq!(run.stdout, format!("0x1000/0x1000 0123456 {} \n", flags.join(" ")));
}

/// Plain lines, cut into their fields.
fn fields(run: &Run) -> Vec<Vec<&str>> {
    run.lines().into_iter().map(|line| line.split('\t').collect()).collect()
}

#[test]
fn a_piped_list_is_plain_lines_of_six_fields_with_neighbours_joined() {
    for arguments in [&["list"][..], &[]] {
        let run = ranges(&real_machine(), arguments).ok();
        assert!(!run.stdout.contains('\u{1b}'));
        let rows = fields(&run);
        let areas: Vec<(&str, &str, &str, &str, &str)> = rows
            .iter()
            .map(|row| {
                assert_eq!(row.len(), 6, "{row:?}");
                (row[0], row[1], row[2], row[3], row[5])
            })
            .collect();
        assert_eq!(
            areas,
            [
                ("0x0", "0xa0000", "655360", "write-back", "BIOS"),
                ("0xa0000", "0xc0000", "131072", "uncacheable", "BIOS"),
                ("0xc0000", "0x100000", "262144", "write-protect", "BIOS"),
                ("0x80000000", "0x100000000", "2147483648", "uncacheable", "BIOS"),
            ]
        );
        let mut fixed_flags: Vec<&str> = rows[0][4].split(',').collect();
        fixed_flags.sort_unstable();
        assert_eq!(fixed_flags, ["active", "fixed-active", "fixed-base", "fixed-length", "set-by-firmware"]);
        assert_eq!(rows[3][4], "set-by-firmware,active");
    }
}

#[test]
fn no_join_shows_every_range_and_all_shows_inactive_slots_too() {
    let machine = real_machine();
    let run = ranges(&machine, &["list", "--no-join"]).ok();
    let expected: Vec<(u64, u64, &str)> =
        pc_layout().into_iter().chain([(0x8000_0000, 0x8000_0000, "uncacheable")]).collect();
    let shown: Vec<[String; 4]> =
        fields(&run).iter().map(|row| [row[0], row[1], row[2], row[3]].map(str::to_owned)).collect();
    let wanted: Vec<[String; 4]> = expected
        .iter()
        .map(|&(base, length, cache)| {
            [format!("{base:#x}"), format!("{:#x}", base + length), length.to_string(), cache.to_owned()]
        })
        .collect();
    assert_eq!(shown, wanted);

    for (arguments, count) in [(&["list", "-a", "--no-join"][..], 96), (&["list", "--all"], 4 + 7)] {
        let run = ranges(&machine, arguments).ok();
        let rows = fields(&run);
        assert_eq!(rows.len(), count, "{arguments:?}");
        for row in rows.iter().rev().take(7) {
            assert_eq!(row[..4], ["0x0", "0x10000000000", "1099511627776", "uncacheable"], "{arguments:?}");
            assert_eq!(row[4..], ["-", "-"], "{arguments:?}");
        }
    }
}

#[test]
fn only_true_neighbours_are_joined() {
    let cases: [(&str, [Value; 2], usize); 7] = [
        ("adjacent and alike", [active(0x10_0000, 0x1000, "write-back"), active(0x10_1000, 0x1000, "write-back")], 1),
        ("a gap", [active(0x10_0000, 0x1000, "write-back"), active(0x10_2000, 0x1000, "write-back")], 2),
        ("an overlap", [active(0x10_0000, 0x2000, "write-back"), active(0x10_1000, 0x1000, "write-back")], 2),
        ("another type", [active(0x10_0000, 0x1000, "write-back"), active(0x10_1000, 0x1000, "uncacheable")], 2),
        (
            "another owner",
            [active(0x10_0000, 0x1000, "write-back"), range(0x10_1000, 0x1000, &["write-back", "active"], "you")],
            2,
        ),
        (
            "another flag",
            [
                active(0x10_0000, 0x1000, "write-back"),
                range(0x10_1000, 0x1000, &["write-back", "active", "busy"], "me"),
            ],
            2,
        ),
        ("the wrong order", [active(0x10_1000, 0x1000, "write-back"), active(0x10_0000, 0x1000, "write-back")], 2),
    ];
    for (what, pair, count) in cases {
        let run = ranges(&variable_only(&pair), &["list"]).ok();
        assert_eq!(run.lines().len(), count, "{what}: {}", run.stdout);
    }
}

#[test]
fn owner_selects_by_the_whole_name() {
    let machine = variable_only(&[
        range(0x1000, 0x1000, &["write-back", "active"], "me"),
        range(0x3000, 0x1000, &["write-back", "active"], "mee"),
        range(0x5000, 0x1000, &["write-back"], "me"),
    ]);
    for (arguments, bases) in [
        (&["list", "--owner", "me"][..], &["0x1000"][..]),
        (&["list", "-o", "mee"], &["0x3000"]),
        (&["list", "-a", "-o", "me"], &["0x1000", "0x5000"]),
        (&["list", "-o", "m"], &[]),
    ] {
        let run = ranges(&machine, arguments).ok();
        let shown: Vec<&str> = fields(&run).iter().map(|row| row[0]).collect();
        assert_eq!(shown, bases, "{arguments:?}");
    }
}

#[test]
fn a_json_list_says_what_the_plain_list_says_and_how_many_slots_are_free() {
    let machine = real_machine();
    let document = ranges(&machine, &["list", "--json"]).ok().json();
    assert_eq!(document["schema"], "memtool.ranges");
    assert_eq!(document["version"], 1);
    assert_eq!(document["host"], "recorded");
    assert_eq!((document["variable_slot_count"].clone(), document["free_slot_count"].clone()), (json!(8), json!(7)));
    let list = document["ranges"].as_array().unwrap();
    let counts: Vec<u64> = list.iter().map(|entry| entry["range_count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [16, 8, 64, 1]);
    assert_eq!(list[2]["base"], "0xc0000");
    assert_eq!((&list[2]["length"], &list[2]["size"]), (&json!("0x40000"), &json!(0x40000)));
    assert_eq!(list[2]["type"], "write-protect");
    assert_eq!(list[2]["owner"], "BIOS");
    assert!(list[2]["flags"].as_array().unwrap().contains(&json!("fixed-active")));

    let all = ranges(&machine, &["list", "--json", "--all", "--no-join"]).ok().json();
    let all = all["ranges"].as_array().unwrap().clone();
    assert_eq!(all.len(), 96);
    for (entry, descriptor) in all.iter().zip(descriptors(&machine)) {
        assert_eq!(entry["base"], descriptor["base"]);
        assert_eq!(entry["length"], descriptor["length"]);
        assert_eq!(entry["owner"], descriptor["owner"]);
        same(&json!({ "base": 0, "flags": entry["flags"] }), &json!({ "base": 0, "flags": descriptor["flags"] }));
    }
}

#[test]
fn a_range_up_to_the_top_of_the_address_space_is_listed_right() {
    let machine = variable_only(&[active(1 << 63, 1 << 63, "uncacheable")]);
    let run = ranges(&machine, &["list"]).ok();
    assert_eq!(fields(&run)[0][..3], ["0x8000000000000000", "0x10000000000000000", "9223372036854775808"]);
}

#[test]
fn a_terminal_gets_headings_aligned_columns_and_the_number_of_free_slots() {
    let shown = on_terminal(&["ranges"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["BASE", "END", "SIZE", "TYPE", "FLAGS", "OWNER"]);
    // Every column of words begins under its heading; numbers end under theirs.
    let size_end = lines[0].find("SIZE").unwrap() + "SIZE".len();
    assert!(lines[1..6].iter().all(|line| line[..size_end].ends_with("iB")), "{shown}");
    for heading in ["END", "TYPE", "OWNER"] {
        let column = lines[0].find(heading).unwrap();
        for line in &lines[1..6] {
            assert_eq!(&line[column - 1..column], " ", "{heading}: {line}");
            assert_ne!(&line[column..=column], " ", "{heading}: {line}");
        }
    }
    assert!(lines[1].contains("640.0 KiB") && lines[1].contains("fixed firmware"), "{shown}");
    // Of the 8 variable ranges of the demo machine 3 are in use, and it must not pass for a real machine.
    assert_eq!(lines.last().unwrap(), &"5 of 8 variable ranges are free (recorded machine)");
    assert!(!shown.contains('\u{1b}') && lines.iter().all(|line| line.trim_end() == *line), "{shown:?}");
    assert!(!on_terminal(&["ranges", "--quiet"]).contains("free"));
    // memcontrol's lines and JSON are the same everywhere.
    for arguments in [&["ranges", "--memcontrol", "--all"][..], &["ranges", "--json"]] {
        assert_eq!(on_terminal(arguments), demo(arguments).ok().stdout);
    }
}

#[test]
fn no_join_changes_nothing_of_memcontrols_lines() {
    let lines = demo(&["ranges", "list", "--memcontrol"]).ok();
    assert_eq!(demo(&["ranges", "list", "--memcontrol", "--no-join"]).ok().stdout, lines.stdout);
}

#[test]
fn wrong_list_arguments_are_usage_errors() {
    demo(&["ranges", "list", "--owner", "12345678"]).usage_error(&["7 bytes"]);
    demo(&["ranges", "list", "0x1000"]).usage_error(&["0x1000"]);
}

// update

#[test]
fn an_update_below_1_mib_is_widened_to_whole_fixed_ranges() {
    let machine = real_machine();
    for (arguments, places, warned) in [
        // A 4 KiB request inside a fixed range of 16 KiB.
        (["-b", "0xa1000", "-l", "4k"], 16..17, Some(["0xa0000", "0xa4000"])),
        // 4 KiB inside 64 KiB.
        (["-b", "0x1f000", "-l", "4k"], 1..2, Some(["0x10000", "0x20000"])),
        // 32 KiB inside 64 KiB.
        (["-b", "0x78000", "-l", "32k"], 7..8, Some(["0x70000", "0x80000"])),
        // Exactly one, exactly two, and everything from the 16 KiB ranges to 1 MiB.
        (["-b", "0xff000", "-l", "4k"], 87..88, None),
        (["-b", "0xb0000", "-l", "32k"], 20..22, None),
        (["-b", "0x80000", "-l", "512k"], 8..88, None),
        (["-b", "0", "-l", "1m"], 0..88, None),
    ] {
        let mut all = vec!["update"];
        all.extend(arguments);
        all.extend(["--type", "write-combine", "--owner", "me"]);
        let changed = change(&machine, &all);
        let run = changed.run.clone().ok();
        assert_eq!(changed.places(), places.clone().collect::<Vec<_>>(), "{arguments:?}");
        for place in places {
            let flags: Vec<&str> = FIXED_FLAGS.into_iter().chain(["write-combine"]).collect();
            let (base, length, _) = pc_layout()[place];
            same(&changed.after[place], &range(base, length, &flags, "me"));
        }
        match warned {
            Some(texts) => {
                assert!(texts.iter().all(|text| run.stderr.contains(text)), "{arguments:?}: {}", run.stderr);
            }
            None => assert!(!run.stderr.contains("whole"), "{arguments:?}: {}", run.stderr),
        }
    }
}

#[test]
fn an_update_that_ends_above_1_mib_takes_a_variable_range() {
    for (base, length) in [("0x100000", "4k"), ("0", "2m")] {
        let changed = change(&real_machine(), &["update", "-b", base, "-l", length, "--type", "write-back"]);
        changed.run.clone().ok();
        assert_eq!(changed.places(), [FIXED + 1]);
    }
}

#[test]
fn a_new_variable_range_takes_the_first_free_slot_and_is_active_and_owned() {
    let arguments = ["update", "--base", "0x40000000", "--length", "256m", "--type", "write-combine"];
    let changed = change(&real_machine(), &arguments);
    let run = changed.run.clone().ok();
    assert_eq!(changed.places(), [89]);
    // memcontrol's default owner.
    same(&changed.after[89], &range(0x4000_0000, 0x1000_0000, &["write-combine", "active"], "user"));
    assert!(run.stdout.contains("range 89 changed: inactive -> 0x40000000+0x10000000 write-combine (user)"));
}

#[test]
fn the_names_of_memcontrol_do_as_well() {
    let set = change(&real_machine(), &["set", "-b", "0x40000000", "--length", "0x1000", "--type", "uncacheable"]);
    set.run.clone().ok();
    same(&set.after[89], &range(0x4000_0000, 0x1000, &["uncacheable", "active"], "user"));
    // Its attributes are no options.
    let words = ["set", "-b", "0x40000000", "-l", "0x1000", "-o", "me", "write-combine"];
    let set = change(&real_machine(), &words);
    set.run.clone().ok();
    same(&set.after[89], &range(0x4000_0000, 0x1000, &["write-combine", "active"], "me"));
    ranges(&real_machine(), &[&words[..], &["-t", "write-combine"]].concat()).usage_error(&["cannot be used with"]);
    ranges(&real_machine(), &words[..7]).usage_error(&["missing: --type"]);
    ranges(&real_machine(), &[&words[..7], &["bogus"]].concat()).usage_error(&["unknown value 'bogus'"]);
    let clear = change(&real_machine(), &["clear", "-b", "0x80000000", "--length", "2g"]);
    clear.run.clone().ok();
    assert_eq!(clear.places(), [88]);
}

#[test]
fn an_exact_match_is_taken_over_and_is_no_longer_the_firmwares() {
    let changed = change(
        &real_machine(),
        &["update", "-b", "0x80000000", "-l", "2g", "--type", "write-combine", "-o", "drm", "--json"],
    );
    let document = changed.run.clone().ok().json();
    assert_eq!(changed.places(), [88]);
    same(&changed.after[88], &range(0x8000_0000, 0x8000_0000, &["write-combine", "active"], "drm"));
    assert_eq!(document["schema"], "memtool.range-change");
    assert_eq!(document["dry_run"], false);
    assert_eq!(document["errors"], json!([]));
    let changes = document["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0]["index"], 88);
    let side = |name: &str| (changes[0][name]["type"].clone(), changes[0][name]["owner"].clone());
    assert_eq!(side("before"), (json!("uncacheable"), json!("BIOS")));
    assert_eq!(side("after"), (json!("write-combine"), json!("drm")));
}

#[test]
fn ranges_of_one_type_and_write_back_with_uncacheable_may_overlap() {
    let types = ["uncacheable", "write-combine", "write-through", "write-back", "write-protect"];
    for there in types {
        let machine = variable_only(&[active(0x4000_0000, 0x1000_0000, there)]);
        for wanted in types {
            // Within the other one, around it; both are far from RAM.
            for (base, length) in [("0x48000000", "4k"), ("0x40000000", "512m")] {
                let mut pair = [there, wanted];
                pair.sort_unstable();
                let allowed = there == wanted || pair == ["uncacheable", "write-back"];
                let changed = change(&machine, &["update", "-b", base, "-l", length, "--type", wanted]);
                if allowed {
                    changed.run.clone().ok();
                    assert_eq!(changed.places(), [1], "{there}, {wanted}");
                } else {
                    let neighbour = format!("0x40000000+0x10000000 {there} (me)");
                    changed.run.fails_saying(&["EINVAL", "overlap", &neighbour]);
                    assert_eq!(changed.after, Vec::<Value>::new());
                }
            }
        }
    }
}

#[test]
fn every_rule_that_a_request_breaks_is_told_with_its_errno_and_a_way_out() {
    let machine = real_machine();
    for (arguments, texts) in [
        // The base: multiples of 4 KiB around it are named.
        (["-b", "0x40000800", "-l", "4k"], &["EINVAL", "base", "4 KiB", "0x40000000", "0x40001000"][..]),
        (["-b", "1", "-l", "4k"], &["EINVAL", "base", "4 KiB", "0x1000"]),
        // Checked before the length.
        (["-b", "1", "-l", "3"], &["EINVAL", "base"]),
        (["-b", "0x40000000", "-l", "0"], &["EINVAL", "length", "4 KiB"]),
        (["-b", "0x40000000", "-l", "2k"], &["EINVAL", "length", "4 KiB", "2 KiB"]),
        (["-b", "0x40000000", "-l", "4095"], &["EINVAL", "length", "4 KiB"]),
        (["-b", "0x40000000", "-l", "12k"], &["EINVAL", "power of two", "0x2000", "0x4000"]),
        (["-b", "0x40000000", "-l", "0xffffffffffffffff"], &["EINVAL", "power of two", "0x8000000000000000"]),
        (["-b", "0x40001000", "-l", "8k"], &["EINVAL", "multiple of the length", "0x40000000", "0x40002000", "0x1000"]),
        (["-b", "0xfffffffffffff000", "-l", "8k"], &["EINVAL", "multiple of the length", "0xffffffffffffe000"]),
        // Fixed or variable, the shape comes first.
        (["-b", "0xa1000", "-l", "8k"], &["EINVAL", "multiple of the length"]),
    ] {
        let mut all = vec!["update", "--type", "write-combine"];
        all.extend(arguments);
        let changed = change(&machine, &all);
        let mut expected = vec![arguments[1]];
        expected.retain(|base| base.starts_with("0x"));
        expected.extend(texts);
        changed.run.fails_saying(&expected);
        assert!(changed.after.is_empty(), "nothing is saved after a failure: {arguments:?}");
    }
}

#[test]
fn a_full_table_is_enospc() {
    let bases: Vec<u64> = (0..4).map(|i| 0x4000_0000 + i * 0x1000).collect();
    let mut machine = demo_machine();
    let full: Vec<Value> = bases.iter().map(|&base| active(base, 0x1000, "write-combine")).collect();
    machine["ranges"] = json!({ "physical_bits": 40, "descriptors": full });
    let new = ["update", "-b", "0x50000000", "-l", "4k", "--type", "write-combine"];
    ranges(&machine, &new).fails_saying(&["ENOSPC", "4 variable ranges", "remove"]);
    // An exact match needs no slot.
    ranges(&machine, &["update", "-b", "0x40003000", "-l", "4k", "--type", "uncacheable"]).ok();
    // Neither do fixed ranges, full or not.
    let mut machine = real_machine();
    for place in 89..96 {
        let base = 0x4000_0000 + (place as u64) * 0x1000;
        machine["ranges"]["descriptors"][place] = active(base, 0x1000, "write-combine");
    }
    ranges(&machine, &["update", "-b", "0xa0000", "-l", "16k", "--type", "write-combine"]).ok();
    ranges(&machine, &new).fails_saying(&["ENOSPC", "8 variable ranges"]);
}

#[test]
fn a_busy_range_can_be_neither_taken_over_nor_removed_even_by_force() {
    let busy = range(0x4000_0000, 0x1000, &["write-combine", "active", "busy"], "drm");
    let machine = variable_only(&[busy]);
    let there = "0x40000000+0x1000 write-combine (drm)";
    let update = ["update", "-b", "0x40000000", "-l", "4k", "--type", "uncacheable"];
    ranges(&machine, &update).fails_saying(&["EBUSY", "another process", there]);
    ranges(&machine, &[&update[..], &["--force"]].concat()).fails_saying(&["EBUSY", there]);
    ranges(&machine, &["remove", "-b", "0x40000000", "-l", "4k"]).fails_saying(&["EBUSY", there]);
}

#[test]
fn a_range_of_unknown_type_is_replaced_only_by_force() {
    let mut machine = real_machine();
    let list = &mut machine["ranges"]["descriptors"];
    list[17]["flags"] = json!(["unknown", "fixed-base", "fixed-length", "fixed-active", "active"]);
    list[89] = range(0x4000_0000, 0x1000, &["unknown", "active"], "me");
    for (base, length, place) in [("0x40000000", "4k", 89), ("0xa4000", "16k", 17), ("0xa0000", "128k", 17)] {
        let update = ["update", "-b", base, "-l", length, "--type", "write-combine"];
        ranges(&machine, &update).fails_saying(&["EACCES", "--force"]);
        let changed = change(&machine, &[&update[..], &["-f"]].concat());
        changed.run.clone().ok();
        assert!(changed.places().contains(&place));
        let flags = changed.after[place]["flags"].as_array().unwrap();
        assert!(flags.contains(&json!("write-combine")) && !flags.contains(&json!("unknown")), "{flags:?}");
        assert!(!flags.contains(&json!("force")), "force belongs to the request: {flags:?}");
    }
    // What overlaps a range of unknown type without matching it conflicts with it, by force or not.
    for force in [&[][..], &["--force"]] {
        let update = ["update", "-b", "0x40000000", "-l", "8k", "--type", "write-combine"];
        ranges(&machine, &[&update[..], force].concat()).fails_saying(&["EINVAL", "0x40000000+0x1000 unknown"]);
    }
}

#[test]
fn addresses_beyond_the_processors_width_are_refused() {
    let machine = real_machine();
    for (base, length) in [
        ("0x10000000000", "4k"),
        ("0x10000000000", "0x10000000000"),
        ("0", "0x20000000000"),
        ("0x8000000000000000", "0x8000000000000000"),
        ("0xfffffffffffff000", "4k"),
    ] {
        let changed = change(&machine, &["update", "-b", base, "-l", length, "--type", "write-back"]);
        changed.run.exits(1).says_in_one_line(&["memory range"]);
        assert!(changed.after.is_empty());
    }
    ranges(&machine, &["update", "-b", "0x10000000000", "-l", "4k", "--type", "write-back"])
        .fails_saying(&["beyond 0x10000000000", "physical addresses"]);
    // The last range that there can be.
    let changed = change(&machine, &["update", "-b", "0xfffffff000", "-l", "4k", "--type", "write-back"]);
    changed.run.clone().ok();
    same(&changed.after[89], &range(0xff_ffff_f000, 0x1000, &["write-back", "active"], "user"));
}

#[test]
fn ram_becomes_uncacheable_or_write_protected_only_by_force() {
    let machine = real_machine();
    for cache in ["uncacheable", "write-protect"] {
        for (base, length, ram) in [
            ("0x100000", "4k", "0x100000..0x101000"),
            ("0x10000000", "256m", "0x10000000..0x1ffda000"),
            // Fixed ranges: the 16 KiB around the page hold RAM up to 0x9fc00.
            ("0x9f000", "4k", "0x9c000..0x9fc00"),
        ] {
            let update = ["update", "-b", base, "-l", length, "--type", cache];
            ranges(&machine, &update).fails_saying(&[ram, "RAM", cache, "--force"]);
            ranges(&machine, &[&update[..], &["--dry-run"]].concat()).fails_saying(&["RAM"]);
            let changed = change(&machine, &[&update[..], &["--force"]].concat());
            changed.run.clone().ok();
            assert_eq!(changed.places().len(), 1);
        }
        // No RAM there.
        for (base, length) in [("0x40000000", "4k"), ("0xa0000", "64k"), ("0x1ffe0000", "64k")] {
            ranges(&machine, &["update", "-b", base, "-l", length, "--type", cache]).ok();
        }
    }
}

#[test]
fn ram_that_only_the_widened_range_reaches_counts_too() {
    let mut machine = real_machine();
    machine["memory"]["segments"][0]["end"] = json!("0x9d000");
    ranges(&machine, &["update", "-b", "0x9f000", "-l", "4k", "--type", "uncacheable"]).fails_saying(&[
        "0x9c000..0x9d000",
        "RAM",
        "--force",
    ]);
}

#[test]
fn where_the_memory_map_cannot_be_had_only_force_makes_anything_uncacheable() {
    let machine = failing(&real_machine(), "sysctl", "EPERM");
    let update = ["update", "-b", "0x40000000", "-l", "4k", "--type", "uncacheable"];
    ranges(&machine, &update).fails_saying(&["RAM", "--force", "EPERM"]);
    ranges(&machine, &[&update[..], &["--force"]].concat()).ok();
    ranges(&machine, &["update", "-b", "0x40000000", "-l", "4k", "--type", "write-combine"]).ok();
}

#[test]
fn risky_changes_are_warned_of_unless_quiet() {
    // RAM loses write-back.
    let update = ["update", "-b", "0", "-l", "256m", "--type", "write-combine"];
    let demo_update = |extra: &[&str]| demo(&[&["ranges"], &update[..], extra].concat()).ok();
    let run = demo_update(&[]);
    assert!(run.stderr.contains("warning: RAM at 0x100000"), "{}", run.stderr);
    assert!(run.stderr.contains("write-combine"), "{}", run.stderr);
    assert_eq!(demo_update(&["--quiet"]).stderr, "");
    let document = demo_update(&["--json"]).json();
    assert!(document["warnings"][0].as_str().unwrap().contains("RAM at 0x100000"), "{document}");
    // Device memory becomes cached.
    let run = ranges(&real_machine(), &["update", "-b", "0x80000000", "-l", "2g", "--type", "write-back"]).ok();
    assert!(run.stderr.contains("0x80000000..0x100000000 is not RAM and becomes write-back"), "{}", run.stderr);
}

#[test]
fn only_the_five_cache_types_and_one_of_them_can_be_asked_for() {
    let update = ["ranges", "update", "-b", "0x40000000", "-l", "4k"];
    for cache in ["unknown", "wb", "", "active", "write-back,uncacheable"] {
        demo(&[&update[..], &["--type", cache]].concat()).usage_error(&["--type"]);
    }
    let twice = [&update[..], &["--type", "write-back", "--type", "uncacheable"]].concat();
    demo(&twice).usage_error(&["--type"]);
    demo(&update).usage_error(&["--type"]);
}

#[test]
fn numbers_and_owners_that_cannot_be_meant_are_usage_errors() {
    for (option, value, text) in [
        ("--base", "-1", "-1"),
        ("--base", "010", "0x"),
        ("--base", "4k", "4k"),
        ("--base", "0x10000000000000000", "64 bits"),
        ("--length", "4q", "suffix"),
        ("--length", "16777216t", "64 bits"),
        ("--owner", "12345678", "7 bytes"),
        ("--owner", "éééé", "7 bytes"),
        ("--owner", "a\nb", "control"),
        ("--owner", "", "one byte"),
    ] {
        let mut arguments = vec!["ranges", "update", "--type=write-back"];
        for (name, default) in [("--base", "0x40000000"), ("--length", "4k"), ("--owner", "me")] {
            arguments.extend([name, if name == option { value } else { default }]);
        }
        demo(&arguments).usage_error(&[text]);
    }
    let seven =
        change(&real_machine(), &["update", "-b", "0x40000000", "-l", "4k", "--type", "write-back", "-o", "1234567"]);
    seven.run.clone().ok();
    assert_eq!(seven.after[89]["owner"], "1234567");
}

// remove

#[test]
fn a_removed_range_leaves_a_free_slot_as_the_registers_show_it() {
    let changed = change(&demo_machine(), &["remove", "-b", "0x80000000", "-l", "2g"]);
    changed.run.clone().ok();
    assert_eq!(changed.places(), [89]);
    let slot = &changed.after[89];
    assert_eq!((&slot["base"], &slot["length"], &slot["owner"]), (&json!("0x0"), &json!("0x10000000000"), &json!("")));
    let flags = slot["flags"].as_array().unwrap();
    assert!(flags.contains(&json!("uncacheable")) && !flags.contains(&json!("active")), "{flags:?}");
}

#[test]
fn remove_wants_the_exact_range_and_leaves_fixed_ones() {
    let machine = real_machine();
    let covering = "0x80000000+0x80000000 uncacheable (BIOS)";
    for (arguments, texts) in [
        (["-b", "0x80000000", "-l", "1g"], &["ENOENT", "exactly", covering][..]),
        (["-b", "0xc0000000", "-l", "1g"], &["ENOENT", covering]),
        (["-b", "0x40000000", "-l", "4k"], &["ENOENT"]),
        (["-b", "1", "-l", "3"], &["ENOENT"]),
        (["-b", "0xffffffffffffffff", "-l", "0xffffffffffffffff"], &["ENOENT"]),
        (["-b", "0xa0000", "-l", "16k"], &["EPERM", "fixed", "update", "0xa0000+0x4000 uncacheable"]),
        (["-b", "0", "-l", "64k"], &["EPERM", "fixed"]),
    ] {
        let mut all = vec!["remove"];
        all.extend(arguments);
        let changed = change(&machine, &all);
        changed.run.fails_saying(texts);
        assert!(changed.after.is_empty(), "{arguments:?}");
    }
}

/// A machine with three ranges of `me` (one inactive), a fixed one of `me`, and one of somebody else.
fn owned_machine() -> Value {
    let mut machine = real_machine();
    let list = &mut machine["ranges"]["descriptors"];
    list[20]["owner"] = json!("me");
    list[89] = active(0x4000_0000, 0x1000, "write-combine");
    list[90] = range(0x4000_2000, 0x1000, &["write-combine", "active"], "you");
    list[91] = active(0x4000_4000, 0x1000, "uncacheable");
    machine
}

#[test]
fn remove_by_owner_removes_what_is_active_and_not_fixed() {
    let changed = change(&owned_machine(), &["remove", "--owner", "me"]);
    changed.run.clone().ok();
    assert_eq!(changed.places(), [89, 91]);
    assert_eq!(changed.run.lines().len(), 2);
}

#[test]
fn one_range_that_cannot_be_removed_does_not_keep_the_others() {
    for busy in [89, 91] {
        let mut machine = owned_machine();
        let flags = machine["ranges"]["descriptors"][busy]["flags"].as_array_mut().unwrap();
        flags.push(json!("busy"));
        // The warning that device registers become cached is not the point here.
        let changed = change(&machine, &["remove", "--owner", "me", "--quiet"]);
        let base = machine["ranges"]["descriptors"][busy]["base"].as_str().unwrap();
        changed.run.clone().exits(1).says_in_one_line(&["EBUSY", base]);
        assert_eq!(changed.places(), [180 - busy], "the other of 89 and 91");

        let document = ranges(&machine, &["remove", "--owner", "me", "--json", "--quiet"]).exits(1).json();
        assert_eq!(document["changes"].as_array().unwrap().len(), 1);
        assert!(document["errors"][0].as_str().unwrap().contains("EBUSY"), "{document}");
    }
}

#[test]
fn an_owner_of_nothing_that_can_be_removed_is_an_error() {
    ranges(&owned_machine(), &["remove", "--owner", "nobody"]).fails_saying(&["nobody"]);
    // Fixed ranges only.
    let mut machine = real_machine();
    machine["ranges"]["descriptors"][20]["owner"] = json!("me");
    ranges(&machine, &["remove", "--owner", "me"]).fails_saying(&["me"]);
}

#[test]
fn remove_wants_base_and_length_or_an_owner() {
    for arguments in [
        &[][..],
        &["--base", "0x1000"],
        &["--length", "4k"],
        &["--owner", "me", "--base", "0x1000", "--length", "4k"],
        &["--owner", "me", "--length", "4k"],
        &["--owner", ""],
    ] {
        demo(&[&["ranges", "remove"], arguments].concat()).usage_error(&["--"]);
    }
}

// dry run

#[test]
fn a_dry_run_tells_what_would_change_and_changes_nothing() {
    for arguments in [
        &["update", "-b", "0x50000000", "-l", "4k", "--type", "write-combine"][..],
        &["update", "-b", "0xa0000", "-l", "128k", "--type", "write-combine"],
        &["remove", "-b", "0x80000000", "-l", "2g"],
        &["remove", "-o", "me"],
    ] {
        let machine = owned_machine();
        let real = change(&machine, arguments);
        real.run.clone().ok();
        for flag in ["--dry-run", "-n"] {
            let dry = change(&machine, &[arguments, &[flag]].concat());
            let run = dry.run.clone().ok();
            assert_eq!(dry.places(), Vec::<usize>::new(), "{arguments:?}");
            // It foretells exactly what the real run reports.
            assert_eq!(run.stdout, real.run.stdout.replace(" changed: ", " would change: "));
        }
        let document = ranges(&machine, &[arguments, &["-n", "--json"]].concat()).ok().json();
        assert_eq!(document["dry_run"], true);
        assert_eq!(document["changes"].as_array().unwrap().len(), real.places().len());
    }
}

#[test]
fn a_dry_run_reports_broken_rules_but_does_not_ask_the_kernel_to_change() {
    let update = ["update", "-b", "0x50000000", "-l", "4k", "--type", "write-combine", "-n"];
    let machine = failing(&real_machine(), "MEMRANGE_SET_UPDATE", "EBUSY");
    ranges(&machine, &update).ok();
    ranges(&machine, &update[..7]).fails_saying(&["EBUSY"]);
    let remove = ["remove", "-b", "0x80000000", "-l", "4k", "-n"];
    ranges(&real_machine(), &remove).fails_saying(&["ENOENT"]);
}

// --save-machine

const UPDATE: [&str; 8] = ["ranges", "update", "-b", "0x50000000", "-l", "4k", "--type", "write-combine"];

#[test]
fn save_machine_makes_a_new_file_that_has_the_change() {
    let directory = directory();
    let saved = directory.path().join("new");
    let run = demo(&[&["--save-machine", text(&saved)], &UPDATE[..]].concat()).ok();
    assert_eq!(run.of_recording().stderr, "", "no reminder where the change is kept");
    let list = on(&saved, &["ranges", "list", "--owner", "user", "--memcontrol"]).ok();
    assert_eq!(list.stdout, "0x50000000/0x1000 user write-combine active \n");
    // All else is as it was.
    let (mut after, mut before) = (read(&saved), demo_machine());
    after["ranges"].take();
    before["ranges"].take();
    assert_eq!(after, before);
}

#[test]
fn save_machine_may_name_the_machine_itself_under_any_of_its_names() {
    let directory = directory();
    let file = write_machine(directory.path(), &demo_machine());
    on(&file, &[&["--save-machine", text(&file)], &UPDATE[..]].concat()).ok();
    assert_eq!(descriptors(&read(&file))[91]["base"], "0x50000000");
    let detour = directory.path().join(".").join(file.file_name().unwrap());
    let remove = ["--save-machine", text(&detour), "ranges", "remove", "-o", "user"];
    on(&file, &remove).ok();
    assert_eq!(descriptors(&read(&file))[91]["base"], "0x0");
    assert_eq!(directory.path().read_dir().unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn save_machine_writes_over_no_other_file() {
    let directory = directory();
    let file = write_machine(directory.path(), &demo_machine());
    let other = directory.path().join("other");
    std::fs::write(&other, "precious").unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&other, &link).unwrap();
    for target in [&other, &link] {
        let run = on(&file, &[&["--save-machine", text(target)], &UPDATE[..]].concat()).exits(1);
        assert!(run.stderr.contains(text(target)), "{}", run.stderr);
    }
    let run = demo(&[&["--save-machine", text(&other)], &UPDATE[..]].concat()).exits(1);
    assert!(run.stderr.contains("exists"), "{}", run.stderr);
    assert_eq!(std::fs::read(&other).unwrap(), b"precious");
    demo(&[&["--save-machine", "/nonexistent/directory/file"], &UPDATE[..]].concat()).exits(1);
}

#[test]
fn save_machine_without_a_machine_is_a_usage_error() {
    let directory = directory();
    let file = directory.path().join("new");
    memtool(&[&["--save-machine", text(&file)], &UPDATE[..]].concat()).usage_error(&["--save-machine", "--machine"]);
    assert!(!file.exists());
}

#[test]
fn a_change_that_is_not_saved_is_said_to_be_lost() {
    let run = demo(&UPDATE).ok();
    run.clone().says_in_one_line(&["--save-machine", "memory only"]);
    assert_eq!(demo(&[&UPDATE[..], &["-q"]].concat()).ok().stderr, "");
}

#[test]
fn an_update_that_changes_nothing_says_so_and_claims_no_change() {
    let mut machine = real_machine();
    machine["ranges"]["descriptors"][89] = range(0x5000_0000, 0x1000, &["write-combine", "active"], "user");
    let directory = directory();
    let run = on(&write_machine(directory.path(), &machine), &UPDATE).ok();
    assert!(run.stdout.contains("nothing to change"), "{}", run.stdout);
    assert!(!run.stderr.contains("was changed"), "{}", run.stderr);
}

// explain

#[test]
fn explain_applies_the_processors_rules_for_overlaps() {
    let cases: [(&[&str], &str, &str); 16] = [
        (&[], "default", "no range"),
        (&["write-back"], "write-back", "one range"),
        (&["write-protect"], "write-protect", "one range"),
        (&["write-combine", "write-combine"], "write-combine", "have this type"),
        (&["uncacheable", "write-back"], "uncacheable", "uncacheable takes precedence"),
        (&["write-back", "uncacheable"], "uncacheable", "uncacheable takes precedence"),
        (&["write-combine", "uncacheable"], "uncacheable", "uncacheable takes precedence"),
        (&["write-protect", "uncacheable"], "uncacheable", "uncacheable takes precedence"),
        (&["write-back", "write-through", "uncacheable"], "uncacheable", "uncacheable takes precedence"),
        (&["write-through", "write-back"], "write-through", "write-through takes precedence"),
        (&["write-back", "write-through", "write-back"], "write-through", "write-through takes precedence"),
        (&["write-back", "write-combine"], "undefined", "undefined"),
        (&["write-through", "write-protect"], "undefined", "undefined"),
        (&["write-back", "write-back", "write-protect"], "undefined", "undefined"),
        (&["write-back", "unknown"], "unknown", "unknown type"),
        (&["unknown"], "unknown", "unknown type"),
    ];
    for (types, effective, why) in cases {
        let covering: Vec<Value> = types.iter().map(|cache| active(0x4000_0000, 0x1000_0000, cache)).collect();
        let machine = variable_only(&covering);
        let document = ranges(&machine, &["explain", "0x48000123", "--json"]).ok().json();
        assert_eq!(document["schema"], "memtool.range-explanation");
        assert_eq!(document["address"], "0x48000123");
        assert_eq!(document["effective"], effective, "{types:?}");
        assert!(document["why"].as_str().unwrap().contains(why), "{types:?}: {}", document["why"]);
        let listed = document["covering"].as_array().unwrap();
        let shown: Vec<(u64, &str, bool)> = listed
            .iter()
            .map(|entry| {
                let decides = entry["decides"].as_bool().unwrap();
                (entry["index"].as_u64().unwrap(), entry["type"].as_str().unwrap(), decides)
            })
            .collect();
        let expected: Vec<(u64, &str, bool)> = (0..).zip(types).map(|(index, cache)| (index, *cache, true)).collect();
        assert_eq!(shown, expected);
        let words = ranges(&machine, &["explain", "0x48000123"]).ok();
        assert!(words.lines()[0].starts_with(&format!("0x48000123: {effective}: ")), "{}", words.stdout);
        assert_eq!(words.lines().len(), 1 + types.len() + 1, "{}", words.stdout);
    }
}

#[test]
fn explain_does_not_trust_a_bogus_range_and_ignores_inactive_ones() {
    let bogus = range(0x4000_0000, 0x1000, &["write-back", "active", "bogus"], "me");
    let document = ranges(&variable_only(&[bogus]), &["explain", "0x40000000", "--json"]).ok().json();
    assert_eq!(document["effective"], "unknown");
    let inactive = range(0x4000_0000, 0x1000, &["write-combine"], "me");
    let there = active(0x4000_0000, 0x1000, "write-back");
    let document = ranges(&variable_only(&[inactive, there]), &["explain", "0x40000000", "--json"]).ok().json();
    assert_eq!(document["effective"], "write-back");
    assert_eq!(document["covering"].as_array().unwrap().len(), 1);
}

#[test]
fn explain_knows_where_a_range_begins_and_ends() {
    let machine = variable_only(&[active(0x4000_0000, 0x1000, "write-combine")]);
    for (address, effective) in [
        ("0x3fffffff", "default"),
        ("0x40000000", "write-combine"),
        ("0x40000fff", "write-combine"),
        ("0x40001000", "default"),
        ("1073741824", "write-combine"),
    ] {
        let document = ranges(&machine, &["explain", address, "--json"]).ok().json();
        assert_eq!(document["effective"], effective, "{address}");
    }
    let top = variable_only(&[active(1 << 63, 1 << 63, "write-combine")]);
    let document = ranges(&top, &["explain", "0xffffffffffffffff", "--json"]).ok().json();
    assert_eq!(document["effective"], "write-combine");
}

#[test]
fn below_1_mib_the_fixed_range_decides_alone() {
    // The variable range 0 to 256 MiB of the demo machine is write-back.
    for (address, effective, fixed) in [
        ("0x0", "write-back", true),
        ("0xa0000", "uncacheable", true),
        ("0xfffff", "write-protect", true),
        ("0x100000", "write-back", false),
    ] {
        let document = demo(&["ranges", "explain", address, "--json"]).ok().json();
        assert_eq!(document["effective"], effective, "{address}");
        let covering = document["covering"].as_array().unwrap();
        let decides: Vec<&Value> = covering.iter().map(|entry| &entry["decides"]).collect();
        if fixed {
            assert_eq!(decides, [&json!(true), &json!(false)], "{address}");
        } else {
            assert_eq!(decides, [&json!(true)], "{address}");
        }
    }
    let words = demo(&["ranges", "explain", "0xa0000"]).ok();
    assert!(words.lines()[0].contains("below 1 MiB the fixed range decides"), "{}", words.stdout);
    // A processor without fixed ranges.
    let machine = variable_only(&[active(0, 0x1000_0000, "write-back"), active(0, 0x1000, "uncacheable")]);
    let document = ranges(&machine, &["explain", "0x10", "--json"]).ok().json();
    assert_eq!(document["effective"], "uncacheable");
}

#[test]
fn explain_says_whether_there_is_ram_and_in_which_domain() {
    for (address, ram, domain, reserved, words) in [
        ("0x1000", true, json!(0), Value::Null, "RAM in domain 0"),
        ("0x8000000", true, json!(1), Value::Null, "RAM in domain 1"),
        ("0x0", true, Value::Null, Value::Null, "RAM, domain unknown"),
        ("0xf0000", false, Value::Null, json!("reserved"), "not RAM: reserved"),
        ("0x20000000", false, Value::Null, Value::Null, "not RAM"),
    ] {
        let document = demo(&["ranges", "explain", address, "--json"]).ok().json();
        assert_eq!(document["ram"], ram, "{address}");
        assert_eq!(document["domain"], domain, "{address}");
        assert_eq!(document["reserved"], reserved, "{address}");
        let run = demo(&["ranges", "explain", address]).ok();
        assert!(run.lines().last().unwrap().contains(words), "{}", run.stdout);
    }
}

// what the kernel refuses

/// The errnos of the range ioctls and of open, and what their advice is about.
const STATED: [(&str, &str, &[&str]); 21] = [
    ("open", "EACCES", &["/dev/mem", "root", "kmem"]),
    ("open", "EPERM", &["/dev/mem", "jail", "policy"]),
    ("open", "ENOENT", &["/dev/mem", "device mem", "jail"]),
    ("open", "ENXIO", &["/dev/mem", "mem.ko"]),
    ("MEMRANGE_GET", "EOPNOTSUPP", &["x86"]),
    ("MEMRANGE_GET", "ENXIO", &["MTRRs", "firmware"]),
    ("MEMRANGE_GET", "ENOTTY", &["--device"]),
    ("MEMRANGE_GET", "EPERM", &["policy"]),
    ("MEMRANGE_SET_UPDATE", "EINVAL", &["0x50000000", "overlap", "list --all"]),
    ("MEMRANGE_SET_UPDATE", "EACCES", &["0x50000000", "--force"]),
    ("MEMRANGE_SET_UPDATE", "EBUSY", &["0x50000000", "another process"]),
    ("MEMRANGE_SET_UPDATE", "ENOSPC", &["0x50000000", "remove"]),
    ("MEMRANGE_SET_UPDATE", "EPERM", &["0x50000000", "policy"]),
    ("MEMRANGE_SET_UPDATE", "EOPNOTSUPP", &["x86"]),
    ("MEMRANGE_SET_UPDATE", "ENXIO", &["firmware"]),
    ("MEMRANGE_SET_UPDATE", "ENOTTY", &["--device"]),
    ("MEMRANGE_SET_REMOVE", "ENOENT", &["0x80000000", "list --all --no-join"]),
    ("MEMRANGE_SET_REMOVE", "EPERM", &["0x80000000", "fixed", "update"]),
    ("MEMRANGE_SET_REMOVE", "EBUSY", &["0x80000000", "another process"]),
    ("MEMRANGE_SET_REMOVE", "EOPNOTSUPP", &["x86"]),
    ("MEMRANGE_SET_REMOVE", "ENXIO", &["firmware"]),
];

#[test]
fn every_errno_of_the_kernel_is_told_by_name_with_advice_and_v_adds_the_cause() {
    let machine = real_machine();
    let commands: [(&str, &[&str]); 4] = [
        ("list", &["list"]),
        ("explain", &["explain", "0x1000"]),
        ("update", &["update", "-b", "0x50000000", "-l", "4k", "--type", "write-combine"]),
        ("remove", &["remove", "-b", "0x80000000", "-l", "2g"]),
    ];
    for (operation, errno, advice) in STATED {
        let broken = failing(&machine, operation, errno);
        for (name, arguments) in commands {
            let concerned = match operation {
                "MEMRANGE_SET_UPDATE" => name == "update",
                "MEMRANGE_SET_REMOVE" => name == "remove",
                _ => true,
            };
            if !concerned {
                ranges(&broken, arguments).ok();
                continue;
            }
            let run = ranges(&broken, arguments).fails_saying(&[errno]).says_in_one_line(advice);
            let verbose = ranges(&broken, &[arguments, &["-v"]].concat()).exits(1);
            let lines: Vec<&str> = verbose.stderr.lines().collect();
            assert_eq!(lines[0], run.stderr.trim_end(), "{operation} {errno}");
            assert!(lines.len() > 1, "{operation} {errno}: {lines:?}");
            assert!(lines[1..].iter().all(|line| line.starts_with("memtool: caused by: ")), "{lines:?}");
            assert!(lines[lines.len() - 1].contains(errno), "{lines:?}");
        }
    }
}

#[test]
fn an_errno_without_advice_has_at_least_its_name_and_meaning() {
    let machine = failing(&real_machine(), "MEMRANGE_GET", "EIO");
    ranges(&machine, &["list"]).fails_saying(&["EIO", "rror", "/dev/mem"]);
}

#[test]
fn a_failed_change_is_not_reported_as_made() {
    let machine = failing(&real_machine(), "MEMRANGE_SET_UPDATE", "EINVAL");
    let changed = change(&machine, &UPDATE[1..]);
    changed.run.fails_saying(&["EINVAL"]);
    assert!(changed.after.is_empty());
    // By owner, each range is reported, and none is changed.
    let mut machine = failing(&owned_machine(), "MEMRANGE_SET_REMOVE", "EBUSY");
    machine["ranges"]["descriptors"][90]["owner"] = json!("me");
    let changed = change(&machine, &["remove", "-o", "me"]);
    let run = changed.run.clone().exits(1);
    assert_eq!(run.stderr.lines().filter(|line| line.contains("EBUSY")).count(), 3, "{}", run.stderr);
    assert_eq!(changed.places(), Vec::<usize>::new());
    assert!(!run.stdout.contains("already so"), "nothing was removed: {}", run.stdout);
}

#[test]
fn no_descriptors_is_enxio() {
    let mut machine = real_machine();
    machine["ranges"]["descriptors"] = json!([]);
    for arguments in [&["list"][..], &["explain", "0"], &UPDATE[1..]] {
        ranges(&machine, arguments).fails_saying(&["ENXIO", "MTRRs"]);
    }
    let mut machine = real_machine();
    machine["system"]["machine_arch"] = json!("i386");
    ranges(&machine, &["list"]).ok();
}

/// A free slot looks like a range of base 0 and the full width, and the kernel takes the first entry that
/// matches: removing a range behind it would report success and do nothing.
#[test]
fn a_removal_that_the_kernel_would_give_to_another_entry_is_refused() {
    let mut machine = real_machine();
    let list = &mut machine["ranges"]["descriptors"];
    list[88] = range(0, 1 << 40, &["uncacheable"], "");
    list[89] = active(0, 1 << 40, "write-back");
    for arguments in [&["remove", "-b", "0", "-l", "1t"][..], &["remove", "-o", "me"]] {
        let changed = change(&machine, arguments);
        let mut run = changed.run.clone().exits(1);
        if arguments[1] == "-o" {
            run = run.of_recording();
        }
        run.says_in_one_line(&["another entry", "0x0+0x10000000000 write-back (me)"]);
        assert!(changed.after.is_empty() || changed.places().is_empty(), "{arguments:?}");
    }
    machine["ranges"]["descriptors"][89] = range(0, 1 << 40, &["uncacheable"], "");
    change(&machine, &["remove", "-b", "0", "-l", "1t"]).run.fails_saying(&["no active range"]);
}

#[test]
fn an_owner_does_not_lose_a_range_to_a_removal_of_another_owners() {
    let mut machine = real_machine();
    let list = &mut machine["ranges"]["descriptors"];
    list[89] = range(0x5000_0000, 0x1000, &["write-combine", "active"], "you");
    list[90] = range(0x5000_0000, 0x1000, &["write-combine", "active"], "me");
    let changed = change(&machine, &["remove", "-o", "me"]);
    changed.run.clone().exits(1).of_recording().says_in_one_line(&["another entry", "(me)"]);
    assert_eq!(changed.places(), Vec::<usize>::new());
}

#[test]
fn an_address_that_the_processor_does_not_have_is_not_explained() {
    let directory = directory();
    let machine = write_machine(directory.path(), &real_machine());
    on(&machine, &["ranges", "explain", "0x10000000000"]).fails_saying(&["beyond 0x10000000000"]);
    on(&machine, &["ranges", "explain", "0xffffffffff"]).ok();
}
