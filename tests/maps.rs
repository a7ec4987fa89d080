//! `memtool maps`: the memory map of a process, in every style, of recorded machines and, on Linux, of this one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod common;

use common::{demo, demo_machine, directory, failing, memtool, on, on_terminal_of, write_machine};
use serde_json::{Value, json};

/// The shell whose map the examples of procmap(1) show, with the numbers that they show.
fn shell() -> Value {
    let entry = |start: &str, end: &str, protection: &str, needs_copy: bool, more: Value| {
        let mut entry = json!({
            "start": start, "end": end, "protection": protection, "max_protection": "rwx", "private": true,
            "copy_on_write": true, "needs_copy": needs_copy, "offset": "0x0", "object": "vnode",
            "inheritance": 1, "wired": 0, "advice": 0,
            "usage": {"resident": 0x2000, "private": 0x1000, "shared": 0x1000, "superpages": 0},
        });
        for (key, value) in more.as_object().unwrap() {
            entry[key] = value.clone();
        }
        entry
    };
    json!({
        "pid": 70, "command": "sh",
        "layout": {
            "user": {"start": "0x0", "end": "0xbfbfe000"}, "data": {"start": "0x80b1000", "end": "0x80be000"},
            "stack": {"start": "0xbfb00000", "end": "0xbfbfe000"}, "shared_page": {"start": "0x0", "end": "0x0"}, "flags": 1,
        },
        "entries": [
            entry("0x8048000", "0x80b1000", "r-x", true, json!({"path": "/bin/sh", "inode": 70173, "object_id": "0xcf45a8e8"})),
            entry("0x80b1000", "0x80b3000", "rw-", true, json!({"path": "/bin/sh", "inode": 70173, "offset": "0x68000"})),
            entry("0x80b3000", "0x80ba000", "rw-", false, json!({"object": "anonymous", "label": "anon"})),
            entry("0x80ba000", "0x80be000", "rwx", false, json!({"object": "none", "label": "heap"})),
            entry("0xbfb00000", "0xbfbde000", "---", false, json!({"object": "guard", "label": "guard"})),
            entry("0xbfbde000", "0xbfbfe000", "rw-", false, json!({"object": "anonymous", "label": "stack"})),
        ],
    })
}

fn machine() -> Value {
    let mut machine = demo_machine();
    machine["processes"] = json!([shell()]);
    machine
}

/// Lists the shell with these options.
#[track_caller]
fn shell_in(options: &[&str]) -> String {
    let directory = directory();
    let path = write_machine(directory.path(), &machine());
    let mut arguments = vec!["maps", "70"];
    arguments.extend(options);
    let run = on(&path, &arguments).ok();
    assert_eq!(run.stderr, "");
    run.stdout
}

#[test]
fn the_default_is_solaris_style_as_the_manual_shows_it() {
    // What allows no access is not in the total.
    let expected = "\
08048000    420K read/exec         /bin/sh
080B1000      8K read/write        /bin/sh
080B3000     28K read/write          [ anon ]
080BA000     16K read/write/exec     [ heap ]
BFB00000    888K                     [ guard ]
BFBDE000    128K read/write          [ stack ]
 total      600K
";
    assert_eq!(shell_in(&[]), expected);
    assert_eq!(shell_in(&["-s"]), expected);
}

#[test]
fn map_style_is_as_the_manual_shows_it() {
    let lines = shell_in(&["-m"]);
    let expected = "\
0x8048000 0x80b1000 r-x rwx COW NC 1 0 0
0x80b1000 0x80b3000 rw- rwx COW NC 1 0 0
0x80b3000 0x80ba000 rw- rwx COW NNC 1 0 0
0x80ba000 0x80be000 rwx rwx COW NNC 1 0 0
";
    assert!(lines.starts_with(expected), "{lines}");
    let named = shell_in(&["-m", "-v"]);
    let named: Vec<&str> = named.lines().collect();
    assert_eq!(named[0], "0x8048000 0x80b1000 r-x rwx COW NC 1 0 0 0,0 70173 /bin/sh");
    assert_eq!(named[3], "0x80ba000 0x80be000 rwx rwx COW NNC 1 0 0   [ heap ]");
}

#[test]
fn linux_style_is_as_the_manual_shows_it_with_names_where_linux_has_them() {
    let lines = shell_in(&["-l"]);
    let lines: Vec<&str> = lines.lines().collect();
    // The manual's spaces are those of its paragraphs.
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    assert_eq!(words(lines[0]), "08048000-080b1000 r-xp 00000000 00:00 70173 /bin/sh");
    assert_eq!(words(lines[1]), "080b1000-080b3000 rw-p 00068000 00:00 70173 /bin/sh");
    assert_eq!(lines[2], "080b3000-080ba000 rw-p 00000000 00:00 0 ");
    assert_eq!(lines[3], format!("{:<73}[heap]", "080ba000-080be000 rwxp 00000000 00:00 0"));
    assert_eq!(lines[0].find("/bin/sh"), Some(73));
    let named = shell_in(&["-l", "-v"]);
    assert!(named.lines().nth(2).unwrap().ends_with(" [anon]"), "{named}");
}

#[test]
fn all_style_is_as_the_manual_shows_it() {
    let lines = shell_in(&["-a"]);
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines[0], "Start    End         Size  Offset   rwxpc  RWX  I/W/A Dev     Inode - File");
    assert_eq!(lines[1], "08048000-080b0fff     420k 00000000 r-xp+ (rwx) 1/0/0 00:00   70173 - /bin/sh");
    assert_eq!(lines[4], "080ba000-080bdfff      16k 00000000 rwxp- (rwx) 1/0/0 00:00       0 -   [ heap ]");
    assert_eq!(lines[7], " total                600k");
}

#[test]
fn ddb_style_is_as_the_manual_shows_it_but_for_the_kernels_addresses() {
    let lines = shell_in(&["-d", "-v"]);
    let expected = "\
MAP <unknown>: [0x0->0xbfbfe000]
\t#ent=6, sz=1523712, ref=<unknown>, version=<unknown>, flags=0x1
\tpmap=<unknown>(resident=<unknown>)
 - <unknown>: 0x8048000->0x80b1000: obj=0xcf45a8e8/0x0, amap=0x0/0
\tsubmap=F, cow=T, nc=T, prot(max)=5/7, inh=1, wc=0, adv=0
\t(dev=0,0 ino=70173 [/bin/sh] [<unknown>])
 - <unknown>: 0x80b1000->0x80b3000: obj=<unknown>/0x68000, amap=0x0/0
";
    assert!(lines.starts_with(expected), "{lines}");
    assert!(lines.contains("\n - <unknown>: 0x80ba000->0x80be000: obj=0x0/0x0, amap=0x0/0\n"), "{lines}");
    assert!(lines.contains("prot(max)=7/7, inh=1, wc=0, adv=0\n\t([ heap ])\n"), "{lines}");
    assert!(!shell_in(&["-d"]).contains("[ heap ]"));
}

#[test]
fn what_freebsd_does_not_tell_is_unknown() {
    let unknown = "r--p+ (rwx) <unknown> 00:94     468 - /bin/sh";
    let all = demo(&["maps", "812", "-a"]).ok().stdout;
    assert!(all.lines().nth(1).unwrap().ends_with(unknown), "{all}");
    let map = demo(&["maps", "812", "-m"]).ok().stdout;
    assert_eq!(map.lines().next().unwrap(), "0x200000 0x207000 r-- rwx COW NC <unknown> <unknown> <unknown>");
    let ddb = demo(&["maps", "812", "-d"]).ok().stdout;
    assert!(ddb.contains("prot(max)=1/7, inh=<unknown>, wc=<unknown>, adv=<unknown>"), "{ddb}");
    let mut older = machine();
    for entry in older["processes"][0]["entries"].as_array_mut().unwrap() {
        entry.as_object_mut().unwrap().remove("max_protection");
    }
    older["processes"][0].as_object_mut().unwrap().remove("layout");
    let directory = directory();
    let path = write_machine(directory.path(), &older);
    let map = on(&path, &["maps", "-m", "70"]).ok().stdout;
    assert!(map.starts_with("0x8048000 0x80b1000 r-x <unknown> COW NC 1 0 0\n"), "{map}");
    let ddb = on(&path, &["maps", "-d", "70"]).ok().stdout;
    assert!(ddb.starts_with("MAP <unknown>: [<unknown>-><unknown>]\n"), "{ddb}");
    assert!(ddb.contains("flags=<unknown>") && ddb.contains("prot(max)=5/<unknown>"), "{ddb}");
}

#[test]
fn twice_verbose_shows_where_entries_are_not_adjacent() {
    for style in ["-s", "-l", "-m", "-a", "-d"] {
        let lines = shell_in(&[style, "-vv"]);
        let stars: Vec<usize> = lines.lines().enumerate().filter(|(_, line)| *line == "*").map(|(at, _)| at).collect();
        assert_eq!(stars.len(), 1, "{style}: {lines}");
        let behind = lines.lines().nth(stars[0] + 1).unwrap().to_lowercase();
        assert!(behind.contains("bfb00000"), "{style}: {lines}");
        assert!(!shell_in(&[style, "-v"]).contains('*'), "{style}");
    }
}

#[test]
fn reserved_addresses_are_gaps_and_what_allows_no_access() {
    let gap: u64 = (0xbfb0_0000 - 0x80b_e000) / 1024;
    let expected = format!(
        "\
080BE000 {gap}K -                   [ gap ]
BFB00000     888K -                   [ guard ]
 total   {}K
",
        gap + 888
    );
    assert_eq!(shell_in(&["-r"]), expected);
}

#[test]
fn what_is_in_memory_is_told_with_totals_that_leave_out_what_is_not_divided() {
    let run = demo(&["maps", "812", "-x"]).ok();
    let rows: Vec<Vec<&str>> = run.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows[0], ["000000200000", "28", "28", "0", "28", "-", "r--p", "/bin/sh"]);
    assert_eq!(rows[2], ["000000223000", "8", "8", "-", "-", "-", "rw-p", "/bin/sh"]);
    assert_eq!(rows[9][2..6], ["2400", "2400", "0", "yes"]);
    let (total, entries) = rows.split_last().unwrap();
    let sum = |column: usize| {
        let numbers = entries.iter().filter_map(|row| row[column].parse::<u64>().ok());
        numbers.sum::<u64>().to_string()
    };
    assert_eq!(total[..], ["total", &sum(1), &sum(2), &sum(3), &sum(4), "-", "", ""]);
    let undivided: u64 = entries.iter().filter(|row| row[3] == "-").map(|row| row[2].parse::<u64>().unwrap()).sum();
    let remark = format!("of {undivided} KiB in memory, the kernel does not tell");
    run.says_in_one_line(&[&remark]);
}

#[test]
fn pages_that_were_not_counted_are_no_zeros() {
    let mut machine = machine();
    machine["processes"][0]["entries"][3].as_object_mut().unwrap().remove("usage");
    let directory = directory();
    let path = write_machine(directory.path(), &machine);
    on(&path, &["maps", "-x", "70"]).fails_saying(&["kern.proc_vmmap_skip_resident_count"]);
    on(&path, &["maps", "70"]).ok();
}

#[test]
fn json_has_everything() {
    let document = demo(&["maps", "812", "-r", "--json"]).ok().json();
    assert_eq!((&document["schema"], &document["host"]), (&json!("memtool.maps"), &json!("recorded")));
    let process = &document["processes"][0];
    assert_eq!(process["entries"], demo_machine()["processes"][0]["entries"]);
    assert_eq!(process["layout"]["stack"]["start"], "0x7fffdffff000");
    let entries = process["entries"].as_array().unwrap();
    let gaps = process["gaps"].as_array().unwrap();
    let apart = entries.windows(2).filter(|pair| pair[0]["end"] != pair[1]["start"]).count();
    assert_eq!((gaps.len(), &gaps[0]["start"]), (apart, &json!("0x228000")));
    let resident: u64 = entries.iter().map(|entry| entry["usage"]["resident"].as_u64().unwrap()).sum();
    assert_eq!(process["totals"]["resident"], resident);
    assert!(demo(&["maps", "812", "--json"]).ok().json()["processes"][0].get("gaps").is_none());
}

#[test]
fn several_processes_are_listed_each_under_its_name_and_one_that_fails_does_not_stop_the_rest() {
    let one = demo(&["maps", "812"]).ok().stdout;
    let run = demo(&["maps", "-p", "812", "5", "0", "812"]).exits(1);
    assert!(run.stdout.starts_with(&format!("812: -sh\n{one}0: kernel\n")), "{run:?}");
    assert!(run.stdout.ends_with(&format!("812: -sh\n{one}")), "{run:?}");
    let run = run.says_in_one_line(&["process 5 is not recorded", "812"]);
    assert_eq!(run.stdout.matches("812: -sh").count(), 2);
    let document = demo(&["maps", "5", "812", "--json"]).exits(1).json();
    assert_eq!(document["processes"].as_array().unwrap().len(), 1);
    // The last one counts.
    assert_eq!(demo(&["maps", "-p", "5", "-p", "812"]).ok().stdout, one);
    assert_eq!(demo(&["maps", "-P", "-p", "812"]).ok().stdout, one);
    demo(&["maps", "-p", "812", "-P"]).fails_saying(&["is not recorded"]);
}

#[test]
fn pid_0_is_the_kernel() {
    let maps = demo_machine()["kernel_maps"].clone();
    let maps = maps.as_array().unwrap();
    let document = demo(&["maps", "0", "--json"]).ok().json();
    let entries = document["processes"][0]["entries"].as_array().unwrap();
    let mut starts: Vec<&str> = maps.iter().map(|map| map["start"].as_str().unwrap()).collect();
    starts.sort_unstable();
    let listed: Vec<&str> = entries.iter().map(|entry| entry["start"].as_str().unwrap()).collect();
    assert_eq!(listed, starts);
    let text = demo(&["maps", "-x", "0"]).ok();
    assert_eq!((text.lines().len(), text.stderr.as_str()), (maps.len() + 1, ""));
    assert!(
        text.stdout.contains("\trw-s\tKernel map\n") || text.stdout.contains("\trw-s\t[ Kernel map ]\n"),
        "{text:?}"
    );
    let mut machine = machine();
    machine.as_object_mut().unwrap().remove("kernel_maps");
    let directory = directory();
    let path = write_machine(directory.path(), &machine);
    on(&path, &["maps", "0"]).fails_saying(&["vm.pmap.kernel_maps"]);
}

#[test]
fn a_process_that_cannot_be_read_is_explained_and_nothing_is_printed() {
    let directory = directory();
    for (errno, why) in [("ESRCH", "has exited"), ("EPERM", "become root")] {
        let path = write_machine(directory.path(), &failing(&machine(), "vmmap", errno));
        on(&path, &["maps", "70"]).fails_saying(&["process 70", errno, why]);
        on(&path, &["maps", "--json", "70"]).fails_saying(&["process 70", errno]);
    }
    let mut kernel_process = machine();
    kernel_process["processes"][0]["entries"] = json!([]);
    let path = write_machine(directory.path(), &kernel_process);
    on(&path, &["maps", "70"]).fails_saying(&["process 70 (sh) is the kernel's", "no memory of its own"]);
    let mut none = machine();
    none.as_object_mut().unwrap().remove("processes");
    let path = write_machine(directory.path(), &none);
    on(&path, &["maps", "70"]).fails_saying(&["70 is not recorded", "memtool record --pid"]);
    // Without a PID the parent is meant, which a recorded machine does not have.
    on(&path, &["maps"]).fails_saying(&["is not recorded"]);
}

#[test]
fn a_recorded_map_that_cannot_be_is_refused() {
    let directory = directory();
    let refused = |change: &dyn Fn(&mut Value), why: &str| {
        let mut machine = machine();
        change(&mut machine["processes"][0]);
        let path = write_machine(directory.path(), &machine);
        on(&path, &["maps", "70"]).fails_saying(&["not a usable recorded machine", why]);
    };
    refused(&|process| process["pid"] = json!(0), "0 is the number of no process");
    refused(&|process| process["entries"][1]["end"] = json!("0x80b1000"), "entry 1 does not end after its start");
    refused(&|process| process["entries"][1]["start"] = json!("0x80b0000"), "entry 1 begins before");
    refused(&|process| process["entries"][1]["protection"] = json!("rwxx"), "'rwxx' is no protection");
    refused(&|process| process["entries"][1]["max_protection"] = json!("x"), "'x' is no protection");
    refused(&|process| process["entries"][1]["object"] = json!("thing"), "thing");
    refused(&|process| process["entries"][1]["colour"] = json!(1), "colour");
}

#[test]
fn record_takes_processes_and_they_are_listed_as_before() {
    let directory = directory();
    let path = directory.path().join("again.json");
    demo(&["record", "--pid", "812", path.to_str().unwrap()]).ok();
    assert_eq!(on(&path, &["maps", "-x", "812"]).ok().stdout, demo(&["maps", "-x", "812"]).ok().stdout);
    let not_there = directory.path().join("not-there.json");
    demo(&["record", "--pid", "5", not_there.to_str().unwrap()]).fails_saying(&["process 5 is not recorded"]);
    assert!(!not_there.exists());
}

#[test]
fn wrong_command_lines_are_usage_errors() {
    for arguments in [
        &["maps", "-l", "-m"][..],
        &["maps", "-s", "-x"],
        &["maps", "-r", "-d"],
        &["maps", "x"],
        &["maps", "-1"],
        &["maps", "4294967296"],
        &["maps", "-p"],
        &["record", "--pid", "0", "-"],
    ] {
        memtool(arguments).usage_error(&["--help"]);
    }
}

/// On a terminal a long path loses its middle; in a pipe nothing is cut, and nothing begins a line of its own.
#[test]
fn long_names_are_cut_on_a_terminal_only() {
    let directory = directory();
    let mut machine = machine();
    let long = format!("/usr/local/{}/lib/first\nsecond.so.1", "deep/".repeat(30));
    machine["processes"][0]["entries"][0]["path"] = json!(long);
    let path = write_machine(directory.path(), &machine);
    let escaped = long.replace('\n', "\\012");
    for style in ["-s", "-l", "-a", "-x"] {
        let listed = on(&path, &["maps", style, "70"]).ok().stdout;
        assert!(listed.contains(&escaped), "{style}: {listed}");
        let shown = on_terminal_of(&path, &["maps", style, "70"]);
        let line = shown.lines().find(|line| line.contains("/usr")).unwrap_or_else(|| panic!("{style}: {shown}"));
        assert!(line.contains("...") && line.ends_with("so.1"), "{style}: {line}");
        assert!(!shown.contains(&escaped), "{style}: {shown}");
        if style != "-a" && style != "-l" {
            assert!(shown.lines().all(|line| line.chars().count() <= 80), "{style}: {shown}");
        }
    }
}
