//! `memtool paddr`: where pages lie, on recorded machines.

use crate::common::{
    Run, address, command, demo, demo_machine, directory, failing, memtool, on, on_terminal, on_terminal_of, text,
    write_file, write_machine,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const PAGE: u64 = 4096;
const SUPERPAGE: u64 = 2 << 20;

/// The demo machine with a process of three pages in domain 0, a page that is not mapped now, and two pages in
/// domain 1. (Domain 1 begins at 128 MiB.)
fn machine() -> Value {
    let mut machine = demo_machine();
    machine["process"] = json!({
        "policy": "first-touch",
        "mappings": [
            { "start": "0x200000", "end": "0x203000", "paddr": "0x5123000" },
            { "start": "0x203000", "end": "0x204000" },
            { "start": "0x204000", "end": "0x206000", "paddr": "0x91c4000" },
        ],
    });
    machine
}

#[track_caller]
fn paddr(machine: &Value, arguments: &[&str]) -> Run {
    let directory = directory();
    let mut all = vec!["paddr"];
    all.extend(arguments);
    on(&write_machine(directory.path(), machine), &all)
}

/// A page of plain output.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    address: u64,
    state: String,
    place: Option<(u64, u32)>,
    pages: Option<u64>,
}

/// The lines, which are all pages.
#[track_caller]
fn pages(run: &Run) -> Vec<Line> {
    let hex = |text: &str| address(&json!(text));
    run.lines()
        .into_iter()
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            assert!((4..=5).contains(&fields.len()), "{line}");
            let place = if fields[1] == "MAPPED" {
                Some((hex(fields[2]), fields[3].parse().unwrap()))
            } else {
                assert_eq!(fields[2..4], ["-", "-"], "{line}");
                None
            };
            let pages = fields.get(4).map(|count| count.parse().unwrap());
            Line { address: hex(fields[0]), state: fields[1].to_owned(), place, pages }
        })
        .collect()
}

/// The summary, worked out from the lines of single pages.
fn sum_up(lines: &[Line]) -> Value {
    let count = |state: &str| lines.iter().filter(|line| line.state == state).count();
    let mut by_domain: BTreeMap<String, u64> = BTreeMap::new();
    let (mut runs, mut longest, mut current) = (0, 0, 0);
    let mut superpages = 0;
    for (index, line) in lines.iter().enumerate() {
        let Some((paddr, domain)) = line.place else { continue };
        *by_domain.entry(domain.to_string()).or_default() += 1;
        let follows = index > 0
            && lines[index - 1].address + PAGE == line.address
            && lines[index - 1].place == Some((paddr.wrapping_sub(PAGE), domain));
        if !follows {
            runs += 1;
            current = 0;
        }
        current += 1;
        longest = longest.max(current);
        // The last page of a superpage's worth, in the same place in both address spaces.
        let last = |address: u64| (address + PAGE).is_multiple_of(SUPERPAGE);
        if last(line.address) && last(paddr) && current >= SUPERPAGE / PAGE {
            superpages += 1;
        }
    }
    json!({
        "page_count": lines.len(),
        "mapped_count": count("MAPPED"),
        "valid_count": count("VALID"),
        "invalid_count": count("INVALID"),
        "by_domain": by_domain,
        "unknown_domain_count": 0,
        "contiguous_run_count": runs,
        "longest_run_page_count": longest,
        "possible_superpage_count": superpages,
        "superpage_size": SUPERPAGE,
    })
}

// single addresses

#[test]
fn an_address_is_answered_with_state_place_and_domain_and_its_offset_is_kept() {
    for (argument, line) in [
        ("0x200000", "0x200000\tMAPPED\t0x5123000\t0"),
        ("0x200123", "0x200123\tMAPPED\t0x5123123\t0"),
        ("0x202fff", "0x202fff\tMAPPED\t0x5125fff\t0"),
        ("0X205FFF", "0x205fff\tMAPPED\t0x91c5fff\t1"),
        // Decimal.
        ("2097152", "0x200000\tMAPPED\t0x5123000\t0"),
        ("0x203000", "0x203000\tVALID\t-\t-"),
        ("0x203fff", "0x203fff\tVALID\t-\t-"),
        ("0x206000", "0x206000\tINVALID\t-\t-"),
        ("0x1fffff", "0x1fffff\tINVALID\t-\t-"),
        ("0", "0x0\tINVALID\t-\t-"),
        // Kernel and non-canonical addresses.
        ("0xffffffff80200000", "0xffffffff80200000\tINVALID\t-\t-"),
        ("0x8000000000000000", "0x8000000000000000\tINVALID\t-\t-"),
        ("18446744073709551615", "0xffffffffffffffff\tINVALID\t-\t-"),
    ] {
        let run = paddr(&machine(), &[argument]).ok();
        assert_eq!(run.stdout, format!("{line}\n"), "{argument}");
        assert_eq!(run.stderr, "memtool: the machine is recorded\n");
    }
}

#[test]
fn a_page_in_memory_whose_domain_the_machine_does_not_tell_is_in_domain_0() {
    // 0x100000 to 0x103000 and so on are not managed by the kernel, and so without a domain in the recording.
    let mut machine = machine();
    machine["process"]["mappings"][0] = json!({ "start": "0x200000", "end": "0x201000", "paddr": "0x100000" });
    assert_eq!(paddr(&machine, &["0x200010"]).ok().lines()[0], "0x200010\tMAPPED\t0x100010\t0");
}

/// pmap_extract() of some machines answers with the offset alone where no page is mapped, and the kernel takes
/// everything but 0 for a page.
#[test]
fn an_address_within_a_page_that_is_not_mapped_is_valid_on_every_machine() {
    for arch in ["amd64", "i386", "riscv64", "armv7", "aarch64", "powerpc64"] {
        for page_size in [4096, 16384] {
            let mut machine = machine();
            machine["system"]["machine_arch"] = json!(arch);
            machine["system"]["page_size"] = json!(page_size);
            machine["process"]["mappings"] = json!([
                { "start": "0x200000", "end": "0x204000", "paddr": "0x5120000" },
                { "start": "0x204000", "end": "0x208000" },
            ]);
            let run = paddr(&machine, &["0x203fff", "0x204123", "0x207fff", "0x208123"]).ok();
            assert_eq!(
                run.lines()[..4],
                [
                    "0x203fff\tMAPPED\t0x5123fff\t0",
                    "0x204123\tVALID\t-\t-",
                    "0x207fff\tVALID\t-\t-",
                    "0x208123\tINVALID\t-\t-"
                ],
                "{arch}, {page_size}"
            );
        }
    }
}

#[test]
fn the_page_at_physical_address_0_cannot_be_told_from_none() {
    let mut machine = machine();
    machine["process"]["mappings"][0] = json!({ "start": "0x200000", "end": "0x202000", "paddr": "0x0" });
    let run = paddr(&machine, &["0x200010", "0x201010"]).ok();
    assert_eq!(run.lines()[..2], ["0x200010\tVALID\t-\t-", "0x201010\tMAPPED\t0x1010\t0"]);
}

#[test]
fn several_addresses_are_answered_in_their_order_even_twice() {
    let run = paddr(&machine(), &["0x205000", "0x1000", "0x200000", "0x205000"]).ok();
    let addresses: Vec<u64> = pages(&run).iter().map(|line| line.address).collect();
    assert_eq!(addresses, [0x20_5000, 0x1000, 0x20_0000, 0x20_5000]);
}

#[test]
fn the_summary_explains_the_states_in_words_and_counts_pages() {
    let directory = directory();
    let file = write_machine(directory.path(), &machine());
    let shown = |arguments: &[&str]| {
        on_terminal_of(Some(100), command().arg("--machine").arg(&file).arg("paddr").args(arguments)).replace('\r', "")
    };
    let text = shown(&["0x200000", "0x201000", "0x203000", "0x204000", "0x206000"]);
    let summary: Vec<&str> = text.lines().skip_while(|line| !line.is_empty()).skip(1).collect();
    let line = |count: u32, text: &str| {
        let found = summary.iter().find(|line| line.contains(text));
        assert!(
            found.is_some_and(|line| line.trim_start().starts_with(&format!("{count} "))),
            "{count} {text}: {summary:?}"
        );
    };
    assert_eq!(summary[0].trim_start(), "5 pages (recorded machine)");
    line(3, "MAPPED: a page is mapped");
    line(1, "VALID: a map entry covers it, but no page is mapped now");
    line(1, "INVALID: nothing is mapped there");
    line(2, "in domain 0");
    line(1, "in domain 1");
    line(2, "contiguous");
    // A state that does not occur is not explained.
    let text = shown(&["0x200000"]);
    assert!(text.contains(" 1 page (recorded machine)\n"), "{text}");
    assert!(!text.contains("VALID:"), "{text}");
    assert!(!shown(&["-q", "0x200000"]).contains("page"));
    // Quiet leaves the lines, which are all elsewhere.
    let run = paddr(&machine(), &["-q", "0x200000"]).ok();
    assert_eq!(run.stdout, "0x200000\tMAPPED\t0x5123000\t0\n");
}

/// Where the words of a line begin and end.
fn spans(line: &str) -> Vec<(usize, usize)> {
    let mut at = 0;
    line.split_whitespace()
        .map(|word| {
            let start = at + line[at..].find(word).unwrap();
            at = start + word.len();
            (start, at)
        })
        .collect()
}

#[test]
fn a_terminal_gets_headings_and_aligned_columns() {
    for (arguments, headings) in [
        (&["paddr", "--alloc", "8k", "--touch"][..], &["ADDRESS", "STATE", "PHYSICAL", "DOMAIN"][..]),
        (&["paddr", "0x200000", "0x216000", "--runs"], &["ADDRESS", "STATE", "PHYSICAL", "DOMAIN", "PAGES"]),
    ] {
        let shown = on_terminal(arguments);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), headings);
        // A column is aligned at one of its sides.
        let (heads, fields) = (spans(lines[0]), spans(lines[1]));
        for (head, field) in heads.iter().zip(&fields) {
            assert!(head.0 == field.0 || head.1 == field.1, "{shown}");
        }
    }
}

#[test]
fn json_has_the_same_states_and_leaves_out_what_the_kernel_does_not_tell() {
    let document = paddr(&machine(), &["--json", "0x200123", "0x203000", "0x206000"]).ok().json();
    assert_eq!(document["schema"], "memtool.paddr");
    assert_eq!(document["version"], 1);
    assert_eq!(document["host"], "recorded");
    assert_eq!(document["page_size"], 4096);
    assert_eq!(
        document["pages"],
        json!([
            { "address": "0x200123", "state": "mapped", "paddr": "0x5123123", "domain": 0 },
            { "address": "0x203000", "state": "valid", "paddr": null, "domain": null },
            { "address": "0x206000", "state": "invalid", "paddr": null, "domain": null },
        ])
    );
    let summary = &document["summary"];
    assert_eq!(
        [&summary["page_count"], &summary["mapped_count"], &summary["valid_count"], &summary["invalid_count"]],
        [&json!(3), &json!(1), &json!(1), &json!(1)]
    );
    assert_eq!(summary["by_domain"], json!({ "0": 1 }));
}

// fresh memory

#[test]
fn fresh_memory_is_valid_until_it_is_touched_or_locked() {
    for (arguments, state) in [
        (&["--alloc", "40k"][..], "VALID"),
        (&["--alloc", "40k", "--touch"], "MAPPED"),
        (&["--alloc", "40k", "--lock"], "MAPPED"),
        (&["--alloc", "40k", "--touch", "--lock"], "MAPPED"),
    ] {
        let run = paddr(&machine(), arguments).ok();
        let lines = pages(&run);
        assert_eq!(lines.len(), 10, "{arguments:?}");
        for (index, line) in lines.iter().enumerate() {
            assert_eq!(line.state, state, "{arguments:?}");
            assert_eq!(line.address, lines[0].address + index as u64 * PAGE);
        }
    }
}

#[test]
fn a_part_of_a_page_is_a_page() {
    for (size, count) in [("1", 1), ("4095", 1), ("4096", 1), ("4097", 2), ("0x3000", 3)] {
        assert_eq!(pages(&paddr(&machine(), &["--alloc", size]).ok()).len(), count, "{size}");
    }
}

#[test]
fn pages_lie_in_ram_that_the_kernel_manages_and_no_two_in_the_same_place() {
    let lines = pages(&demo(&["paddr", "--alloc", "9m", "--touch"]).ok());
    let mut places: Vec<u64> = lines.iter().map(|line| line.place.unwrap().0).collect();
    let segments = demo_machine()["memory"]["segments"].as_array().unwrap().clone();
    for line in &lines {
        let (paddr, domain) = line.place.unwrap();
        let segment =
            segments.iter().find(|segment| (address(&segment["start"])..address(&segment["end"])).contains(&paddr));
        assert_eq!(segment.unwrap()["domain"], domain, "{paddr:#x}");
    }
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 9 * 256);
}

#[test]
fn first_touch_stays_in_one_domain_and_round_robin_takes_turns() {
    let mut machine = machine();
    for (policy, by_domain) in [
        ("first-touch", json!({ "0": 2048 })),
        // A superpage of each domain in turn.
        ("round-robin", json!({ "0": 1024, "1": 1024 })),
    ] {
        machine["process"]["policy"] = json!(policy);
        let document = paddr(&machine, &["--alloc", "8m", "--touch", "--json"]).ok().json();
        assert_eq!(document["summary"]["by_domain"], by_domain, "{policy}");
        assert_eq!(document["summary"]["possible_superpage_count"], 4, "{policy}");
    }
    machine["process"]["policy"] = json!("nearest");
    paddr(&machine, &["--alloc", "8m"]).fails_saying(&["nearest"]);
}

#[test]
fn the_summary_of_json_is_that_of_the_pages_listed() {
    let mut robin = machine();
    robin["process"]["policy"] = json!("round-robin");
    for machine in [machine(), robin] {
        for arguments in [
            &["--alloc", "5m", "--touch"][..],
            &["--alloc", "4m", "--lock"],
            &["--alloc", "2044k", "--touch"],
            &["--alloc", "64k"],
            &["0x200000", "0x201000", "0x202000", "0x203000", "0x204000", "0x205000", "0x206000", "0x207000"],
            // Not adjacent, although the pages are.
            &["0x201000", "0x200000", "0x202000"],
        ] {
            let lines = pages(&paddr(&machine, arguments).ok());
            let document = paddr(&machine, &[arguments, &["--json"]].concat()).ok().json();
            assert_eq!(document["summary"], sum_up(&lines), "{arguments:?}");
            assert_eq!(document["pages"].as_array().unwrap().len(), lines.len());
        }
    }
}

#[test]
fn superpages_count_only_where_a_whole_one_fits() {
    for (size, superpages) in [("2m", 1), ("2044k", 0), ("3m", 1), ("4m", 2), ("6m", 3)] {
        let document = demo(&["paddr", "--alloc", size, "--touch", "--json"]).ok().json();
        assert_eq!(document["summary"]["possible_superpage_count"], superpages, "{size}");
        assert_eq!(document["summary"]["superpage_size"], SUPERPAGE);
    }
    // Contiguous, but on another border than its virtual addresses.
    let mut machine = machine();
    machine["process"]["mappings"] = json!([{ "start": "0x200000", "end": "0x600000", "paddr": "0x4001000" }]);
    let addresses: Vec<String> = (0..1024).map(|page| format!("{:#x}", 0x20_0000 + page * PAGE)).collect();
    let mut arguments = vec!["--json"];
    arguments.extend(addresses.iter().map(String::as_str));
    let document = paddr(&machine, &arguments).ok().json();
    assert_eq!(document["summary"]["contiguous_run_count"], 1);
    assert_eq!(document["summary"]["possible_superpage_count"], 0);
}

#[test]
fn pages_of_16_kib_make_superpages_of_32_mib() {
    let mut machine = machine();
    machine["system"]["machine_arch"] = json!("aarch64");
    machine["system"]["page_size"] = json!(16384);
    machine["process"]["mappings"] = json!([]);
    let document = paddr(&machine, &["--alloc", "64k", "--json"]).ok().json();
    assert_eq!(document["page_size"], 16384);
    assert_eq!(document["pages"].as_array().unwrap().len(), 4);
    assert_eq!(document["summary"]["superpage_size"], 32 << 20);
}

// runs

/// The runs that single pages add up to.
fn expected_runs(lines: Vec<Line>) -> Vec<Line> {
    let mut runs: Vec<Line> = Vec::new();
    for line in lines {
        let continued = runs.last().is_some_and(|run| {
            let offset = run.pages.unwrap() * PAGE;
            run.state == line.state
                && run.address + offset == line.address
                && run.place.map(|(paddr, domain)| (paddr + offset, domain)) == line.place
        });
        match runs.last_mut().filter(|_| continued) {
            Some(run) => run.pages = run.pages.map(|pages| pages + 1),
            None => runs.push(Line { pages: Some(1), ..line }),
        }
    }
    runs
}

#[test]
fn runs_are_what_the_single_pages_add_up_to() {
    let mut robin = machine();
    robin["process"]["policy"] = json!("round-robin");
    for arguments in [
        &["--alloc", "5m", "--touch"][..],
        &["--alloc", "64k"],
        &["0x200000", "0x201000", "0x202000", "0x203000", "0x204000", "0x205000", "0x206000", "0x207000"],
        &["0x200000", "0x200000", "0x201000"],
    ] {
        let single = paddr(&robin, arguments).ok();
        let with_runs = [arguments, &["--runs"]].concat();
        let runs = paddr(&robin, &with_runs).ok();
        let expected = expected_runs(pages(&single));
        assert_eq!(pages(&runs), expected, "{arguments:?}");
        // The summary does not depend on it.
        let summary =
            |arguments: &[&str]| paddr(&robin, &[arguments, &["--json"]].concat()).ok().json()["summary"].clone();
        assert_eq!(summary(&with_runs), summary(arguments));
        let document = paddr(&robin, &[&with_runs[..], &["--json"]].concat()).ok().json();
        let counts: Vec<u64> =
            document["pages"].as_array().unwrap().iter().map(|run| run["page_count"].as_u64().unwrap()).collect();
        assert_eq!(counts, expected.iter().map(|run| run.pages.unwrap()).collect::<Vec<_>>());
    }
    let runs = paddr(&machine(), &["--runs", "0x200000", "0x201000", "0x202000", "0x203000", "0x204000"]).ok();
    assert_eq!(
        runs.lines()[..3],
        ["0x200000\tMAPPED\t0x5123000\t0\t3", "0x203000\tVALID\t-\t-\t1", "0x204000\tMAPPED\t0x91c4000\t1\t1"]
    );
}

#[test]
fn a_run_ends_at_the_border_of_two_domains() {
    // Domain 1 begins at 128 MiB.
    let mut machine = machine();
    machine["process"]["mappings"] = json!([{ "start": "0x200000", "end": "0x203000", "paddr": "0x7ffe000" }]);
    let run = paddr(&machine, &["--runs", "0x200000", "0x201000", "0x202000"]).ok();
    assert_eq!(run.lines()[..2], ["0x200000\tMAPPED\t0x7ffe000\t0\t2", "0x202000\tMAPPED\t0x8000000\t1\t1"]);
}

// files

#[test]
fn every_page_of_a_file_or_of_a_part_of_it_is_reported() {
    let directory = directory();
    // Three pages and a bit.
    let file = write_file(directory.path(), &vec![7; 3 * 4096 + 100]);
    for (arguments, count) in [
        (&[][..], 4),
        (&["--offset", "4k"], 3),
        (&["--offset", "4k", "--length", "4k"], 1),
        (&["--offset", "4095", "--length", "2"], 2),
        (&["--offset", "4097", "--length", "4k"], 2),
        (&["--offset", "1", "--length", "1"], 1),
        (&["--length", "1t"], 4),
        (&["--offset", "12387"], 1),
    ] {
        let mut all = vec!["--file", text(&file)];
        all.extend(arguments);
        for (touch, state) in [(&[][..], "VALID"), (&["--touch"], "MAPPED")] {
            let lines = pages(&paddr(&machine(), &[&all[..], touch].concat()).ok());
            assert_eq!(lines.len(), count, "{arguments:?}");
            assert!(lines.iter().all(|line| line.state == state), "{arguments:?}: {lines:?}");
        }
    }
    // 12388 bytes: nothing is behind them.
    for arguments in [&["--offset", "12388"][..], &["--offset", "1t"]] {
        let mut all = vec!["--file", text(&file)];
        all.extend(arguments);
        paddr(&machine(), &all).fails_saying(&[text(&file), "12388 bytes"]);
    }
    paddr(&machine(), &["--file", text(&file), "--length", "0"]).usage_error(&["--length 0"]);
}

#[test]
fn what_is_no_regular_file_with_something_in_it_is_refused_by_name() {
    let directory = directory();
    let empty = write_file(directory.path(), b"");
    let missing = directory.path().join("missing");
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (path, why) in [
        (text(&empty), "0 bytes"),
        (text(&missing), "No such file"),
        (text(directory.path()), "not a regular file"),
        (text(&fifo), "not a regular file"),
        ("/dev/null", "not a regular file"),
    ] {
        paddr(&machine(), &["--file", path]).fails_saying(&[path, why]);
    }
}

// refusals

#[test]
fn a_kernel_before_13_0_does_not_know_the_ioctl() {
    for (osreldate, known) in [(1_300_000, true), (1_299_999, false), (1_201_000, false)] {
        let mut machine = machine();
        machine["system"]["osreldate"] = json!(osreldate);
        for arguments in [&["0x200000"][..], &["--alloc", "4k"]] {
            let run = paddr(&machine, arguments);
            if known {
                run.ok();
            } else {
                run.exits(1).says_in_one_line(&["ENOTTY", "13.0", "MEM_EXTRACT_PADDR"]);
            }
        }
    }
}

#[test]
fn errors_of_the_kernel_are_told_by_name_with_advice() {
    let alloc: &[&str] = &["--alloc", "64k"];
    let lock: &[&str] = &["--alloc", "64k", "--lock"];
    let touch: &[&str] = &["--alloc", "64k", "--touch"];
    for (operation, errno, arguments, texts) in [
        ("MEM_EXTRACT_PADDR", "EPERM", &["0x200000"][..], &["0x200000", "policy"][..]),
        ("MEM_EXTRACT_PADDR", "ENOTTY", &["0x200000"], &["13.0"]),
        ("MEM_EXTRACT_PADDR", "EPERM", alloc, &["policy"]),
        ("open", "EACCES", &["0x200000"], &["/dev/mem", "kmem", "root"]),
        ("open", "EPERM", alloc, &["/dev/mem", "jail"]),
        ("open", "ENOENT", &["0x200000"], &["/dev/mem", "device mem"]),
        ("mlock", "ENOMEM", lock, &["ulimit -l", "65536"]),
        ("mlock", "EAGAIN", lock, &["ulimit -l"]),
        ("mlock", "EPERM", lock, &["root"]),
        ("mmap", "ENOMEM", alloc, &["request less"]),
        ("touch", "EFAULT", touch, &["the page cannot be read"]),
        ("sysctl", "EPERM", &["0x200000"], &["sysctl"]),
    ] {
        let broken = failing(&machine(), operation, errno);
        let run = paddr(&broken, arguments).exits(1).says_in_one_line(&[errno]).says_in_one_line(texts);
        assert_eq!(pages(&run), [], "{operation}");
        let verbose = paddr(&broken, &[arguments, &["-v"]].concat()).exits(1);
        let lines: Vec<&str> = verbose.stderr.lines().collect();
        assert!(lines.len() > 1 && lines[1].contains("caused by") && lines[1].contains(errno), "{lines:?}");
    }
    // What is not asked for cannot fail.
    paddr(&failing(&machine(), "mlock", "ENOMEM"), touch).ok();
    paddr(&failing(&machine(), "touch", "EFAULT"), alloc).ok();
    paddr(&failing(&machine(), "mmap", "ENOMEM"), &["0x200000"]).ok();
}

#[test]
fn more_memory_than_there_is_cannot_be_had() {
    for size in ["385m", "1t", "16777215t", "18446744073709551615", "0xfffffffffffff001"] {
        paddr(&machine(), &["--alloc", size]).exits(1).says_in_one_line(&["ENOMEM", "less"]);
    }
    paddr(&machine(), &["--alloc", "0"]).usage_error(&["--alloc 0"]);
    // Not even by touching: a part of the RAM is the kernel's.
    paddr(&machine(), &["--alloc", "383m", "--touch"]).exits(1).says_in_one_line(&["ENOMEM"]);
}

#[test]
fn another_process_is_refused_and_nothing_is_printed() {
    for json in [&[][..], &["--json"]] {
        let run = paddr(&machine(), &[json, &["--pid", "1", "0x200000", "0x1000"]].concat());
        run.fails_saying(&["process 1: ", "calling process only", "MEM_EXTRACT_PADDR"]);
    }
}

#[test]
fn contradictory_or_malformed_arguments_are_usage_errors() {
    let directory = directory();
    let file = write_file(directory.path(), b"x");
    let file = text(&file);
    for arguments in [
        &[][..],
        &["0x200000", "--file", file],
        &["0x200000", "--alloc", "4k"],
        &["--file", file, "--alloc", "4k"],
        &["0x200000", "--touch"],
        &["0x200000", "--lock"],
        &["--file", file, "--lock"],
        &["0x200000", "--offset", "4k"],
        &["--alloc", "4k", "--length", "4k"],
        &["010"],
        &["0xxyz"],
        &["4k"],
        &["--", "-1"],
        &[""],
        &["0x10000000000000000"],
        &["--alloc", "4q"],
        &["--alloc", "-4k"],
        &["--alloc", ""],
        &["--pid", "1"],
        &["--pid", "0", "0x200000"],
        &["--pid", "-1", "0x200000"],
        &["--pid", "2147483648", "0x200000"],
        &["--pid", "init", "0x200000"],
        &["--pid", "1", "--alloc", "4k"],
        &["--pid", "1", "--file", file],
        &["--pid", "1", "0x200000", "--touch"],
        &["--pid", "1", "0x200000", "--lock"],
        &["--unknown-option"],
    ] {
        demo(&[&["paddr"], arguments].concat()).usage_error(&[]);
    }
    memtool(&["--machine", "demo", "paddr", "0xxyz"]).usage_error(&["0xxyz"]);
}
