//! `memtool maps`: the memory map of a process, in every style, of recorded machines and, on Linux, of this one.
use crate::common::{
    address, command, demo, demo_machine, directory, failing, memtool, on, on_terminal_of, write_machine,
};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

/// The shell whose map the examples of procmap(1) show, with the numbers that they show.
fn shell() -> Value {
    let entry = |start: &str, end: &str, protection: &str, needs_copy: bool, more: Value| {
        let mut entry = json!({
            "start": start, "end": end, "protection": protection, "max_protection": "rwx", "private": true,
            "copy_on_write": true, "needs_copy": needs_copy, "offset": "0x0", "object": "vnode",
            "inheritance": "copy", "wired_count": 0, "advice": "normal",
            "usage": {"bytes_resident": 0x2000, "bytes_private": 0x1000, "bytes_shared": 0x1000, "superpages": 0},
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
            "stack_limit": "0xbfb00000", "stack_size": 0x2_0000, "shared_page": {"start": "0x0", "end": "0x0"}, "flags": ["wire-future"],
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
    let run = on(&path, &arguments).ok().of_recording();
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
    let unknown = "r--p+ (rwx) <unknown> 00:94     398 - /bin/sh";
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
    for style in ["-x", "-r"] {
        assert!(!shell_in(&[style, "-vv"]).contains('*'), "{style}");
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
    let remark = format!("for {undivided} KiB in memory, the kernel does not report");
    run.of_recording().says_in_one_line(&[&remark]);
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
    let mut recorded = demo_machine()["processes"][0]["entries"].clone();
    for entry in recorded.as_array_mut().unwrap() {
        let [start, end] = ["start", "end"].map(|end| address(&entry[end]));
        entry["size"] = json!(end - start);
    }
    assert_eq!(process["entries"], recorded);
    assert_eq!(process["layout"]["stack_limit"], "0x7fffdffff000");
    let entries = process["entries"].as_array().unwrap();
    let gaps = process["gaps"].as_array().unwrap();
    let apart = entries.windows(2).filter(|pair| pair[0]["end"] != pair[1]["start"]).count();
    assert_eq!((gaps.len(), &gaps[0]["start"]), (apart, &json!("0x228000")));
    let resident: u64 = entries.iter().map(|entry| entry["usage"]["bytes_resident"].as_u64().unwrap()).sum();
    assert_eq!(process["totals"]["bytes_resident"], resident);
    assert!(demo(&["maps", "812", "--json"]).ok().json()["processes"][0].get("gaps").is_none());
}

#[test]
fn several_processes_are_listed_each_under_its_name_and_one_that_fails_does_not_stop_the_rest() {
    let one = demo(&["maps", "812"]).ok().stdout;
    let run = demo(&["maps", "-p", "812", "5", "0", "812"]).exits(1);
    assert!(run.stdout.starts_with(&format!("812: -sh\n{one}0: kernel\n")), "{run:?}");
    assert!(run.stdout.ends_with(&format!("812: -sh\n{one}")), "{run:?}");
    let run = run.of_recording().says_in_one_line(&["process 5 is not recorded", "812"]);
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
    let text = demo(&["maps", "-x", "0"]).ok().of_recording();
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
    for (errno, why) in [("ESRCH", "has exited"), ("EPERM", "run as root"), ("EBUSY", "executed another program")] {
        let path = write_machine(directory.path(), &failing(&machine(), "vmmap", errno));
        on(&path, &["maps", "70"]).fails_saying(&["process 70", errno, why]);
        on(&path, &["maps", "--json", "70"]).fails_saying(&["process 70", errno]);
    }
    let mut kernel_process = machine();
    kernel_process["processes"][0]["entries"] = json!([]);
    let path = write_machine(directory.path(), &kernel_process);
    on(&path, &["maps", "70"]).fails_saying(&["process 70 is a kernel process", "without memory of its own"]);
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
    refused(&|process| process["pid"] = json!(0), "0 is not a process ID");
    refused(&|process| process["entries"][1]["end"] = json!("0x80b1000"), "entry 1 does not end after its start");
    refused(&|process| process["entries"][1]["start"] = json!("0x80b0000"), "entry 1 begins before");
    refused(&|process| process["entries"][1]["protection"] = json!("rwxx"), "'rwxx' is not a protection");
    refused(&|process| process["entries"][1]["max_protection"] = json!("x"), "'x' is not a protection");
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
        &["maps", "--numa"],
        &["maps", "-r", "--numa"],
        &["maps", "-s", "--numa"],
        &["maps", "-x", "-l", "--numa"],
        &["record", "--pid", "0", "-"],
    ] {
        memtool(arguments).usage_error(&["--help"]);
    }
}

/// Beside the numbers of -x there is little room: a path that is too long for it is whole in a line of its own.
#[test]
fn a_name_that_does_not_fit_beside_the_numbers_has_a_line_of_its_own() {
    let directory = directory();
    let mut machine = machine();
    let paths = ["/lib/short.so", "/usr/local/lib/with/a/rather/long/name/of/a/library/in/it.so.12"];
    for (entry, path) in machine["processes"][0]["entries"].as_array_mut().unwrap().iter_mut().zip(paths) {
        entry["path"] = json!(path);
    }
    let path = write_machine(directory.path(), &machine);
    let shown = |columns: Option<u16>, more: &[&str]| {
        let mut command = command();
        command.arg("--machine").arg(&path).args(["maps", "-x"]).args(more).arg("70");
        on_terminal_of(columns, &mut command)
    };
    let plain = on(&path, &["maps", "-x", "70"]).ok().stdout;
    let narrow = shown(Some(80), &[]);
    assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
    let lines: Vec<&str> = narrow.lines().collect();
    let short = lines.iter().find(|line| line.contains(paths[0])).unwrap();
    assert!(short.starts_with(|c: char| c.is_ascii_hexdigit()), "{short}");
    let long = lines.iter().position(|line| *line == format!("  {}", paths[1])).unwrap_or_else(|| panic!("{narrow}"));
    assert!(lines[long - 1].starts_with(plain.lines().nth(1).unwrap().split('\t').next().unwrap()), "{narrow}");
    // Where there is room, or none is wanted, each entry has one line.
    for (columns, more) in [(Some(160), &[][..]), (Some(80), &["--wide"])] {
        let wide = shown(columns, more);
        assert!(wide.lines().any(|line| line.ends_with(paths[1]) && !line.starts_with(' ')), "{wide}");
        assert_eq!(wide.lines().count(), plain.lines().count() + 1, "{wide}");
    }
    // Where even the line is too short, the name loses its middle.
    let tiny = shown(Some(40), &[]);
    let name = tiny.lines().find(|line| line.ends_with("so.12")).unwrap_or_else(|| panic!("{tiny}"));
    assert!(name.contains("...") && name.chars().count() == 40, "{name}");
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
        // Eighty where it does not tell.
        for (columns, at_most) in [(None, 80), (Some(100), 100), (Some(160), 160)] {
            let mut command = command();
            let shown = on_terminal_of(columns, command.arg("--machine").arg(&path).args(["maps", style, "70"]));
            let line = shown.lines().find(|line| line.contains("/usr")).unwrap_or_else(|| panic!("{style}: {shown}"));
            assert!(line.contains("...") && line.ends_with("so.1"), "{style}: {line}");
            assert!(!shown.contains(&escaped), "{style}: {shown}");
            let longest = shown.lines().map(|line| line.chars().count()).max();
            if style != "-a" || columns == Some(160) {
                assert_eq!(longest, Some(at_most), "{style}: {shown}");
            }
        }
    }
}

/// Whatever a name has in it, a line keeps to its terminal, and nothing but text gets there.
#[test]
fn no_name_overruns_a_terminal() {
    let names = [
        "/long/".to_owned() + &"漢字".repeat(60) + "/end.so",
        "/long/".to_owned() + &"\u{1b}[31m\u{7}".repeat(30) + "/end.so",
        "/long/".to_owned() + &"a\tb".repeat(40) + "/end.so",
        // What follows is shown from right to left.
        "/long/".to_owned() + &"\u{202e}os.\u{2066}".repeat(40) + "/end.so",
        "/long/".to_owned() + &"e\u{301}".repeat(200) + "/end.so",
    ];
    for name in &names {
        let directory = directory();
        let mut machine = machine();
        machine["processes"][0]["entries"][0]["path"] = json!(name);
        machine["processes"][0]["command"] = json!(name);
        let mut other = shell();
        (other["pid"], other["command"]) = (json!(812), json!("other"));
        machine["processes"].as_array_mut().unwrap().push(other);
        let path = write_machine(directory.path(), &machine);
        for (style, columns) in [("-s", 80), ("-l", 80), ("-x", 80), ("-r", 80), ("-a", 160), ("-m", 120), ("-d", 120)]
        {
            let mut command = command();
            command.arg("--machine").arg(&path).args(["maps", style, "-v", "70", "812"]);
            let shown = on_terminal_of(Some(columns), &mut command);
            let (named, cut) = (shown.matches("/long/").count(), shown.matches("...").count());
            assert!(named > 0 && cut >= named && shown.matches("/end.so").count() == named, "{style}: {shown}");
            let plain = shown.replace("\n\t", "\n        ");
            let harmful = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{2066}".contains(c);
            assert!(!plain.contains(harmful), "{style}: {shown}");
            let width = plain.lines().map(UnicodeWidthStr::width).max().unwrap();
            assert!(width <= usize::from(columns), "{style}: {width}: {shown}");
        }
    }
}

/// A name that is not UTF-8 stays what it is, in JSON and in a recording.
#[test]
fn bytes_that_are_not_text_are_not_lost() {
    let directory = directory();
    let mut machine = machine();
    let bytes = json!([0x2f, 0xff, 0xfe, 0x21]);
    machine["processes"][0]["entries"][0]["path"] = bytes.clone();
    let path = write_machine(directory.path(), &machine);
    let listed = on(&path, &["--json", "maps", "70"]).ok().json();
    assert_eq!(listed["processes"][0]["entries"][0]["path"], bytes);
    let again = on(&path, &["record", "--pid", "70", "-"]).ok().json();
    assert_eq!(again["processes"][0]["entries"][0]["path"], bytes);
    let run = on(&path, &["maps", "-s", "70"]).ok();
    assert!(run.bytes.windows(4).any(|part| part == b"/\xff\xfe!"), "{run:?}");
    machine["processes"][0]["entries"][0]["path"] = json!([1, 256]);
    let path = write_machine(directory.path(), &machine);
    on(&path, &["maps", "70"]).fails_saying(&["a string, or a list of bytes"]);
}

/// Of the machine that the tests run on.
#[cfg(target_os = "linux")]
mod linux {
    use crate::common::{Run, command, directory, memtool, run, text};
    use serde_json::json;
    use std::ffi::OsString;
    use std::fs;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::sync::atomic::{AtomicI32, Ordering};

    /// A process that changes nothing any more; killed at the end.
    struct Still(Child);

    impl Still {
        /// A shell that waits for its input to end, once it has said that it does.
        fn new(program: &Path, script: &str) -> Self {
            use std::io::{BufRead, BufReader};
            let mut command = Command::new(program);
            command.args(["-c", &format!("{script}\necho ready\nread line")]);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
            // It is still on its way to read(2), which can touch more pages.
            while !fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap().contains(") S ") {
                std::thread::yield_now();
            }
            Self(child)
        }

        fn shell() -> Self {
            Self::new(Path::new("/bin/sh"), "")
        }

        fn pid(&self) -> String {
            self.0.id().to_string()
        }

        fn file(&self, name: &str) -> Vec<u8> {
            fs::read(format!("/proc/{}/{name}", self.0.id())).unwrap()
        }
    }

    impl Drop for Still {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn lines(bytes: &[u8]) -> Vec<&[u8]> {
        bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n').collect()
    }

    #[test]
    fn linux_style_is_what_the_kernel_writes_to_the_byte() {
        let shell = Still::shell();
        let run = memtool(&["maps", "-l", &shell.pid()]).ok();
        assert_eq!(run.bytes, shell.file("maps"));
        assert!(run.stdout.contains("[stack]") && run.stdout.contains("/ld-"), "{run:?}");
        // From smaps, which has the same lines and others between them.
        let run = memtool(&["maps", "--json", &shell.pid()]).ok().json();
        assert_eq!(run["host"], "linux");
        assert_eq!(run["processes"][0]["entries"].as_array().unwrap().len(), lines(&shell.file("maps")).len());
    }

    #[test]
    fn a_path_may_hold_any_byte() {
        let directory = directory();
        let name = OsString::from_vec(b"two words\n\x1b[31m\xff [deleted]".to_vec());
        let program = directory.path().join(&name);
        // By another process: while a file is open for writing here, a child of another test could inherit it.
        assert!(Command::new("cp").arg("/bin/sh").arg(&program).status().unwrap().success());
        let shell = Still::new(&program, "");
        let run = memtool(&["maps", "-l", &shell.pid()]).ok();
        assert_eq!(run.bytes, shell.file("maps"));
        let escaped = [directory.path().as_os_str().as_bytes(), b"/two words\\012\x1b[31m\xff [deleted]\n"].concat();
        assert!(run.bytes.windows(escaped.len()).any(|window| window == escaped), "{run:?}");
    }

    #[test]
    fn every_style_has_a_line_for_each_entry() {
        let shell = Still::shell();
        let maps = shell.file("maps");
        let count = lines(&maps).len();
        for (style, per_entry, others) in [("-s", 1, 1), ("-m", 1, 0), ("-a", 1, 2), ("-d", 2, 3), ("-x", 1, 1)] {
            let run = memtool(&["maps", style, &shell.pid()]).ok();
            assert_eq!(run.lines().len(), count * per_entry + others, "{style}: {run:?}");
            assert_eq!(run.stderr, "");
            assert!(!run.stdout.contains("<unknown> <unknown>"), "{style}: {run:?}");
        }
    }

    /// The totals of pmap -x, in KiB: all, in memory, dirty.
    fn pmap_totals(pid: &str) -> Option<[u64; 3]> {
        let pmap = Command::new("pmap").args(["-x", pid]).output().ok()?;
        let text = String::from_utf8(pmap.stdout).unwrap();
        let total: Vec<u64> = text.lines().last()?.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        Some(total.try_into().unwrap())
    }

    #[test]
    fn the_totals_are_those_of_pmap() {
        let shell = Still::new(Path::new("/bin/sh"), "text=$(cat /etc/passwd /etc/services /etc/group)");
        let Some([size, resident, dirty]) = pmap_totals(&shell.pid()) else {
            eprintln!("SKIPPED: there is no pmap(1)");
            return;
        };
        let run = memtool(&["maps", "-x", &shell.pid()]).ok();
        let total: Vec<&str> = run.lines().last().unwrap().split('\t').collect();
        assert_eq!(total[..3], ["total", &size.to_string(), &resident.to_string()]);
        let divided: u64 = total[3..5].iter().map(|size| size.parse::<u64>().unwrap()).sum();
        assert_eq!(divided, resident);
        let document = memtool(&["maps", "--json", &shell.pid()]).ok().json();
        assert_eq!(document["processes"][0]["totals"]["bytes_dirty"], dirty * 1024);
        assert!(dirty > 0);
    }

    #[test]
    fn pages_by_domain_add_up_to_what_is_mapped() {
        let shell = Still::shell();
        let document = memtool(&["maps", "-x", "--numa", "--json", &shell.pid()]).ok().json();
        let process = &document["processes"][0];
        let domains = process["numa"].as_array().unwrap();
        let entries = process["entries"].as_array().unwrap();
        assert_eq!(domains.len(), entries.len());
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).unwrap().unwrap().unsigned_abs();
        let mut mapped = 0;
        for (entry, counted) in entries.iter().zip(domains) {
            let known: u64 =
                counted["by_domain"].as_object().unwrap().values().map(|pages| pages.as_u64().unwrap()).sum();
            let pages = known + counted["unknown_domain_count"].as_u64().unwrap();
            let resident = entry["usage"]["bytes_resident"].as_u64().unwrap();
            assert_eq!(pages * page, resident, "{entry}");
            // The kernel's own pages can be in none that it tells of.
            if entry["object"] != "kernel" {
                assert_eq!(known, pages, "{entry}");
            }
            mapped += known;
        }
        assert!(mapped > 0);
        let run = memtool(&["maps", "-x", "--numa", &shell.pid()]).ok();
        let plain = memtool(&["maps", "-x", &shell.pid()]).ok();
        let columns = |run: &Run| run.lines()[0].split('\t').count();
        assert!(columns(&run) > columns(&plain), "{run:?}");
    }

    #[test]
    fn the_parent_is_the_default_and_minus_p_in_capitals_is_memtool() {
        let parent = memtool(&["maps", "--json"]).ok().json();
        assert_eq!(parent["processes"][0]["pid"], std::process::id());
        let own = memtool(&["maps", "-P", "--json"]).ok().json();
        assert_eq!(own["processes"][0]["command"], format!("{} maps -P --json", env!("CARGO_BIN_EXE_memtool")));
        assert_eq!(memtool(&["maps", "-x", "--numa", "-P"]).ok().stderr, "");
    }

    /// There /proc numbers processes in another way than getpid(2).
    #[test]
    fn in_another_pid_namespace_memtool_still_finds_itself() {
        let program = env!("CARGO_BIN_EXE_memtool");
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", program, "maps", "-P", "-x", "--numa", "--json"]);
        let may = Command::new("unshare").args(["--pid", "--fork", "true"]).output();
        if !may.is_ok_and(|may| may.status.success()) {
            eprintln!("SKIPPED: no PID namespace can be made here");
            return;
        }
        let own = run(&mut command).ok().json();
        assert_eq!(own["processes"][0]["command"], format!("{program} maps -P -x --numa --json"));
        assert_eq!(own["processes"][0]["pid"], 1);
    }

    /// Programs that become themselves again and again, in a shell that is told to end by closing its input.
    struct Restless(Child);

    impl Restless {
        fn new(directory: &Path) -> Self {
            let script = directory.join("restless.sh");
            fs::write(&script, "exec /bin/sh \"$0\"\n").unwrap();
            Self(Command::new("/bin/sh").arg(&script).stdin(Stdio::null()).spawn().unwrap())
        }
    }

    impl Drop for Restless {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// The two readings of a table of domains are of one program, or there is none; and nobody says that the process
    /// has gone.
    #[test]
    fn a_process_that_becomes_another_program_meanwhile_is_read_again() {
        let directory = directory();
        let process = Restless::new(directory.path());
        let pid = process.0.id().to_string();
        let (mut tables, mut refused) = (0, 0);
        for round in 0..300 {
            let options = if round % 2 == 0 { &["maps", "--json"][..] } else { &["maps", "-x", "--numa", "--json"] };
            let run = memtool(&[options, &[&pid]].concat());
            if run.code != 0 {
                run.fails_saying(&[&format!("process {pid}: EBUSY"), "executed another program"]);
                refused += 1;
                continue;
            }
            is_of_one_program(&run);
            tables += 1;
        }
        eprintln!("{tables} tables, {refused} errors");
    }

    /// Checks that a process has memory, and if its domains were asked for, that they were found: of another program
    /// everything is elsewhere, unless that is turned off.
    #[track_caller]
    fn is_of_one_program(run: &Run) {
        let document = run.json();
        let process = &document["processes"][0];
        assert!(process["totals"]["bytes_resident"].as_u64().unwrap() > 0, "{process}");
        if let Some(domains) = process.get("numa") {
            let known = domains.as_array().unwrap().iter().any(|counted| counted["by_domain"] != json!({}));
            assert!(known, "{process}");
        }
    }

    /// Its address space stays when it becomes another program: it is its parent's.
    #[test]
    fn a_child_in_vfork_is_listed_as_what_it_is_before_or_after() {
        static CHILD: AtomicI32 = AtomicI32::new(0);
        extern "C" fn child(delay: *mut libc::c_void) -> libc::c_int {
            let arguments = [c"sleep".as_ptr(), c"600".as_ptr(), std::ptr::null()];
            CHILD.store(std::process::id().cast_signed(), Ordering::SeqCst);
            // SAFETY: the strings live for ever, and the thread whose memory this is waits.
            unsafe {
                libc::usleep(delay.addr().try_into().unwrap_or(0));
                libc::execv(c"/bin/sleep".as_ptr(), arguments.as_ptr());
                libc::_exit(1)
            }
        }
        let (mut tables, mut refused) = (0, 0);
        for round in 0..150_usize {
            CHILD.store(0, Ordering::SeqCst);
            let delay = 1000 + round * 100;
            let parent = std::thread::spawn(move || {
                let mut stack = vec![0_u128; 1 << 12];
                let top = stack.as_mut_ptr_range().end.cast();
                let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
                // SAFETY: as vfork(2), on a stack of its own, which stays till the child has another address space.
                unsafe { libc::clone(child, top, flags, std::ptr::without_provenance_mut(delay)) }
            });
            while CHILD.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            let pid = CHILD.load(Ordering::SeqCst);
            let run = memtool(&["maps", "-x", "--numa", "--json", &pid.to_string()]);
            assert_eq!(parent.join().unwrap(), pid);
            let child = nix::unistd::Pid::from_raw(pid);
            nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).unwrap();
            nix::sys::wait::waitpid(child, None).unwrap();
            if run.code == 0 {
                is_of_one_program(&run);
                tables += 1;
            } else {
                run.fails_saying(&[&format!("process {pid}: EBUSY"), "executed another program"]);
                refused += 1;
            }
        }
        eprintln!("{tables} tables, {refused} errors");
    }

    /// As after pthread_exit(3) in main.
    #[test]
    fn a_process_whose_main_thread_has_ended_is_listed_all_the_same() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "maps::linux::a_child_whose_main_thread_ends", "--nocapture"]);
        command.env("MEMTOOL_TEST_THREAD_ENDS", "").stdin(Stdio::piped()).stdout(Stdio::null());
        let child = Still(command.spawn().unwrap());
        let pid = child.pid();
        while !fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|thread| thread.unwrap().file_name());
        let other = threads.map(|thread| thread.into_string().unwrap()).find(|thread| *thread != pid).unwrap();
        let map = fs::read(format!("/proc/{pid}/task/{other}/maps")).unwrap();
        let run = memtool(&["maps", "-l", &pid]).ok();
        assert!(run.bytes == map && run.stdout.contains("[stack]"), "{run:?}");
        let document = memtool(&["maps", "-x", "--numa", "--json", &pid]).ok().json();
        assert_eq!(document["processes"][0]["pid"].to_string(), pid);
        assert_eq!(document["processes"][0]["entries"].as_array().unwrap().len(), lines(&map).len());
    }

    /// What the child process of another test does.
    #[test]
    #[ignore = "run by another test, in a process of its own"]
    fn a_child_whose_main_thread_ends() {
        use nix::sys::signal::{SigHandler, Signal, signal};
        extern "C" fn end_thread(_: libc::c_int) {
            // SAFETY: nothing comes after it in this thread, which leaves all that it has to the process.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }
        if std::env::var_os("MEMTOOL_TEST_THREAD_ENDS").is_none() {
            eprintln!("SKIPPED: nobody has started this process to see its main thread end");
            return;
        }
        // SAFETY: the handler makes a system call and nothing else.
        unsafe { signal(Signal::SIGUSR1, SigHandler::Handler(end_thread)) }.unwrap();
        let pid = std::process::id();
        // SAFETY: of all threads, the main one has the process's number; it waits for this one.
        assert_eq!(unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, libc::SIGUSR1) }, 0);
        let _ = std::io::stdin().read_line(&mut String::new());
    }

    #[test]
    fn processes_that_are_not_there_or_not_ones_own_are_clear_errors() {
        let nobody = |arguments: &[&str]| {
            let mut command = command();
            command.args(arguments).uid(65534).gid(65534).current_dir("/");
            run(&mut command)
        };
        memtool(&["maps", &i32::MAX.to_string()]).fails_saying(&["process 2147483647", "no such process"]);
        memtool(&["maps", "0"]).fails_saying(&["not FreeBSD"]);
        if fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n") {
            memtool(&["maps", "2"]).fails_saying(&["process 2 is the kernel thread kthreadd"]);
        } else {
            eprintln!("SKIPPED: no kernel thread can be seen here");
        }
        // Killed, and not waited for.
        let mut shell = Still::shell();
        shell.0.kill().unwrap();
        while !fs::read_to_string(format!("/proc/{}/stat", shell.0.id())).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        for style in ["-l", "-x"] {
            memtool(&["maps", style, &shell.pid()]).fails_saying(&[&format!("process {}", shell.pid()), "has exited"]);
        }
        let reachable = Command::new(env!("CARGO_BIN_EXE_memtool")).uid(65534).gid(65534).arg("--version").output();
        if !nix::unistd::geteuid().is_root() || reachable.is_err() {
            eprintln!("SKIPPED: only root can become somebody else, who has to be able to run the program");
            return;
        }
        let shell = Still::shell();
        for style in ["-l", "-x"] {
            nobody(&["maps", style, &shell.pid()]).fails_saying(&[
                "EACCES",
                "it belongs to another user",
                "run as root",
            ]);
        }
        nobody(&["maps", "-P"]).ok();
    }

    /// A program can be started without as much as its name.
    #[test]
    fn a_process_without_arguments_has_its_programs_path() {
        let cat = fs::canonicalize("/bin/cat").unwrap();
        let mut child = Command::new(&cat).arg0("").stdin(Stdio::piped()).spawn().unwrap();
        let listed = memtool(&["--json", "maps", &child.id().to_string()]).ok().json();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(listed["processes"][0]["command"], text(&cat));
    }

    /// As the manual says.
    #[test]
    fn of_a_long_command_there_is_the_beginning() {
        let long = "x".repeat(9000);
        let mut child =
            Command::new("/bin/cat").args(["-", &long]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let listed = memtool(&["--json", "maps", &child.id().to_string()]).ok().json();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(listed["processes"][0]["command"], format!("/bin/cat - {long}")[..4096]);
    }

    /// The number of a parent outside of a container is 0, which stands for the kernel elsewhere.
    #[test]
    fn a_parent_that_cannot_be_seen_is_not_the_kernel() {
        let become_root: &[&str] = if nix::unistd::geteuid().is_root() { &[] } else { &["-r"] };
        let mut command = Command::new("unshare");
        command.args(become_root).args([
            "-pf",
            "--mount-proc",
            env!("CARGO_BIN_EXE_memtool"),
            "--machine",
            "demo",
            "maps",
        ]);
        let run = run(command.stdin(Stdio::null()));
        if run.stderr.starts_with("unshare:") {
            eprintln!("SKIPPED: no container can be made here: {}", run.stderr);
            return;
        }
        run.fails_saying(&["the parent process is outside of this container", "give a PID"]);
    }

    /// A process that exits at any moment gives a whole map or none.
    #[test]
    fn a_process_that_exits_meanwhile_is_an_error_and_no_half_map() {
        let directory = directory();
        let file = directory.path().join("pages");
        fs::write(&file, [0; 4096]).unwrap();
        let (mut whole, mut gone) = (0, 0);
        for round in 0..40 {
            let victim = Mapper::new(text(&file), 4000);
            let pid = victim.0.pid();
            let expected = victim.0.file("maps");
            let killer = std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_micros(150 * round));
                drop(victim);
            });
            let run = memtool(&["maps", "-l", &pid]);
            killer.join().unwrap();
            if run.code == 0 {
                assert!(run.bytes == expected, "{} of {} bytes", run.bytes.len(), expected.len());
                whole += 1;
            } else {
                run.fails_saying(&["process", "no such process"]);
                gone += 1;
            }
        }
        eprintln!("{whole} whole maps, {gone} errors");
    }

    /// A process with many mappings: this test's program, run again to do nothing else.
    struct Mapper(Still);

    impl Mapper {
        fn new(file: &str, count: usize) -> Self {
            let program = std::env::current_exe().unwrap();
            let test = "maps::linux::many_mappings_of_a_child";
            let script = format!(
                "MEMTOOL_TEST_MAP={file} MEMTOOL_TEST_MAPPINGS={count} exec {} --ignored --exact {test} --nocapture",
                text(&program)
            );
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut output = std::io::BufReader::new(child.stdout.as_mut().unwrap());
            let mut line = String::new();
            while !line.contains("ready") {
                line.clear();
                assert!(std::io::BufRead::read_line(&mut output, &mut line).unwrap() > 0, "it ended");
            }
            Self(Still(child))
        }
    }

    /// What the child process of others does; by itself, with few mappings, it shows that they are entries of their own.
    #[test]
    #[ignore = "run by other tests, in a process of its own"]
    fn many_mappings_of_a_child() {
        use nix::sys::mman::{MapFlags, ProtFlags, mmap};
        let file = std::env::var_os("MEMTOOL_TEST_MAP").map_or_else(|| std::env::current_exe().unwrap(), Into::into);
        let count: usize = std::env::var("MEMTOOL_TEST_MAPPINGS").map_or(100, |count| count.parse().unwrap());
        let file = fs::File::open(file).unwrap();
        let length = 4096.try_into().unwrap();
        for index in 0..count {
            // Neighbours of different protection are entries of their own.
            let protection = if index % 2 == 0 { ProtFlags::PROT_READ } else { ProtFlags::PROT_NONE };
            // SAFETY: a new mapping at an address of the kernel's choice, which nothing refers to.
            unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, &file, 0) }.unwrap();
        }
        assert!(lines(&fs::read("/proc/self/maps").unwrap()).len() >= count);
        println!("ready");
        let _ = std::io::stdin().read_line(&mut String::new());
    }

    /// More than vm.max_map_count usually allows takes a privilege; as many as that allows are listed.
    #[test]
    fn tens_of_thousands_of_mappings_are_listed() {
        let directory = directory();
        let file = directory.path().join("page");
        fs::write(&file, [0; 4096]).unwrap();
        let most: usize = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
        let count = 100_000.min(most - 500);
        let mapper = Mapper::new(text(&file), count);
        let expected = mapper.0.file("maps");
        assert!(lines(&expected).len() >= count);
        let run = memtool(&["maps", "-l", &mapper.0.pid()]).ok();
        assert!(run.bytes == expected, "{} of {} bytes", run.bytes.len(), expected.len());
        let run = memtool(&["maps", "-x", &mapper.0.pid()]).ok();
        assert_eq!(run.lines().len(), lines(&expected).len() + 1);
    }
}
