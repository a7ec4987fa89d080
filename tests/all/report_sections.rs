//! The sections of `memtool report` on what a kernel counts and holds, and the choice of sections.

use crate::common::schema::all;
use crate::common::typed_kernel::TypedDump;
use crate::common::typed_kernel::WriteFiles as _;
use crate::common::{demo, demo_machine, directory, memtool, on, write_machine};
use crate::kernel_cpus::with_swap_devices;
use crate::show::with_malloc_types;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use vmcore::inventory::SectionName;
use vmcore_synth::Arch;

const RULE: &str = "------------------------------------------------------------------------";

/// The titles of a report's sections.
fn titles(report: &str) -> Vec<&str> {
    let lines: Vec<&str> = report.lines().collect();
    lines.windows(2).filter(|pair| pair[0] == RULE).map(|pair| pair[1]).collect()
}

fn title(name: &str) -> &'static str {
    SectionName::ALL.iter().find(|section| section.name() == name).unwrap().title()
}

/// The parts that are missing, of the sections of the inventory.
fn missing(dump: &TypedDump, options: &[&str]) -> Vec<(String, String)> {
    let document = dump.run(&[&["report", "--json"], options].concat()).exits(1).json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = document["missing"].as_array().unwrap().iter();
    let all = all.map(|missing| (text(&missing["part"]), text(&missing["why"])));
    all.filter(|(part, _)| SectionName::ALL.iter().any(|section| section.name() == part)).collect()
}

#[test]
fn a_report_has_what_show_shows() {
    let dump = with_malloc_types();
    let shown = dump.run(&["show", "vmstat-m", "--json"]).ok().json();
    let report = dump.run(&["report", "--json"]).exits(1).json();
    assert_eq!(report["inventory"]["malloc_types"], shown["malloc_types"]);
    assert_eq!(shown["malloc_types"][0]["name"], "a type of memory whose name is longer than 32");
    let text = dump.run(&["report", "--sections", "vmstat-m"]);
    let rows: Vec<Vec<&str>> = text.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let shown = dump.run(&["show", "vmstat-m"]).ok().stdout;
    for row in shown.lines() {
        let row: Vec<&str> = row.split_whitespace().collect();
        assert!(rows.contains(&row), "{row:?} {text:?}");
    }
}

#[test]
fn sections_that_are_asked_for_are_there_in_the_order_of_a_report_and_no_others() {
    let dump = with_malloc_types();
    let run = dump.run(&["report", "--sections", "swapinfo,vmstat-m", "--sections", "processes"]);
    assert_eq!(titles(&run.stdout), ["Processes", title("vmstat-m"), title("swapinfo")]);
    let all = dump.run(&["report", "--sections", "all"]);
    let without = dump.run(&["report"]);
    let of = |run: &str| titles(run).into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
    let on_request = SectionName::ALL.iter().filter(|name| name.is_on_request()).map(|name| name.title().to_owned());
    // As text, a picture is no more than what it adds up to.
    let on_request = on_request.chain(["Physical memory".to_owned()]);
    assert_eq!(
        of(&all.stdout).difference(&of(&without.stdout)).cloned().collect::<BTreeSet<_>>(),
        on_request.collect::<BTreeSet<_>>()
    );
    assert_eq!(titles(&all.stdout).len(), 13 + SectionName::ALL.len());
    let html = dump.run(&["report", "--html", "--sections", "vmstat-m"]).stdout;
    assert!(html.contains("<section id=\"vmstat-m\"") && !html.contains("<section id=\"panic\""), "{html}");
    dump.run(&["report", "--sections", "vmstat-y"]).usage_error(&["vmstat-y", "did you mean 'vmstat-"]);
}

#[test]
fn what_a_kernel_does_not_have_is_not_damage_and_what_is_damaged_is_said() {
    let dump = with_malloc_types();
    let run = dump.run(&["report", "--sections", "vmstat-s"]);
    assert!(run.stdout.contains("Not available: "), "{run:?}");
    let (mut kernel, swap, [disk, file]) = with_swap_devices(Arch::Amd64);
    let whole = missing(&kernel.write(), &["--sections", "swapinfo"]);
    assert_eq!(whole, []);
    kernel.set(file, swap, "sw_list.tqe_next", disk);
    let dump = kernel.write();
    let damaged = missing(&dump, &["--sections", "swapinfo"]);
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    assert!(damaged[0].1.starts_with("the list of swap devices is damaged: the list leads back to"), "{damaged:?}");
    let run = dump.run(&["report", "--sections", "swapinfo"]).exits(1);
    assert!(run.stdout.contains("the list of swap devices is damaged"), "{run:?}");
}

#[test]
fn a_kernel_without_types_has_one_section_that_says_so() {
    let (mut kernel, ..) = with_swap_devices(Arch::Amd64);
    kernel.has_types = false;
    let dump = kernel.write();
    let run = dump.run(&["report", "--json"]).exits(1);
    let document = run.json();
    assert_eq!(document["inventory"], Value::Null);
    let about = document["missing"].as_array().unwrap().iter().find(|missing| missing["part"] == json!("inventory"));
    assert!(about.unwrap()["why"].as_str().unwrap().contains("types"), "{document:#}");
    let run = dump.run(&["report"]).exits(1);
    assert_eq!(titles(&run.stdout).iter().filter(|title| **title == "What the kernel counts and holds").count(), 1);
}

#[test]
fn every_section_has_its_member_in_the_schemas_of_show_and_of_reports() {
    let schemas = all();
    let members: BTreeSet<&str> = SectionName::ALL.iter().map(|name| name.member()).collect();
    let shown = schemas["memtool.show"]["properties"].as_object().unwrap().keys().map(String::as_str);
    let shown: BTreeSet<&str> =
        shown.filter(|member| !["schema", "version", "host", "warnings"].contains(member)).collect();
    assert_eq!(shown, members);
    let reported = &schemas["memtool.report"]["properties"]["inventory"]["anyOf"][0]["properties"];
    let reported: BTreeSet<&str> = reported.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(reported, members);
}

#[test]
fn the_running_kernel_has_a_report_with_all_that_is_no_crash() {
    let shown = demo(&["report", "--running"]).ok();
    let titles = self::titles(&shown.stdout);
    assert_eq!(titles[..4], ["System", "Threads on CPUs", "Stacks of the other threads", "Processes"]);
    let of_crash = ["Dump", "Panic", "Fingerprint", "Stack of the thread that panicked"];
    assert!(titles.iter().all(|title| !of_crash.contains(title)), "{titles:?}");
    for text in [
        "Report of demo, ",
        "host          demo\n",
        "demo_stop+0x69 (if_demo.ko)",
        "PID 930, TID 100186, democtl, waits for demodr",
        "/boot/kernel/if_demo.ko",
    ] {
        assert!(shown.stdout.contains(text), "{text}: {}", shown.stdout);
    }
    let report = demo(&["report", "--running", "--json"]).ok().json();
    assert_eq!(
        (&report["hostname"], &report["dump"], &report["host"]),
        (&json!("demo"), &Value::Null, &json!("recorded"))
    );
    assert_eq!((&report["fingerprint"], &report["missing"]), (&Value::Null, &json!([])));
    let listed = demo(&["ps", "--json"]).ok().json();
    let pids = |list: &Value| list.as_array().unwrap().iter().map(|process| process["pid"].clone()).collect::<Vec<_>>();
    assert_eq!(pids(&report["processes"]), pids(&listed["processes"]));
    // The picture is that of the machine.
    let page = demo(&["report", "--running", "--html"]).ok().stdout;
    let sections = page.matches("<section id=").count();
    assert_eq!(sections, titles.len() + 1, "the picture is in the page alone");
    assert!(page.contains("<section id=\"map\"") && page.contains("machdep.smap"));
    let only = demo(&["report", "--running", "--sections", "map,system"]).ok().stdout;
    assert_eq!(self::titles(&only), ["System", "Physical memory"]);
    let run = demo(&["report", "--running", "--sections", "system,panic"]).exits(1);
    assert!(run.stderr.contains("this report has no section 'panic'"), "{}", run.stderr);
    for option in
        [&["vmcore.0"][..], &["--core", "vmcore.0"], &["-n", "1"], &["-d", "."], &["--private-key", "k"], &["-b"]]
    {
        demo(&[&["report", "--running"], option].concat()).usage_error(&["--running"]);
    }
    // A device is that of a system.
    assert!(memtool(&["--device", "/dev/none", "report", "vmcore.0"]).exits(2).stderr.contains("--device"));
    assert_ne!(memtool(&["--device", "/dev/none", "report", "--running"]).code, 2);
    // Where nothing runs that could be asked.
    if cfg!(target_os = "linux") {
        memtool(&["report", "--running"]).fails_saying(&["not FreeBSD"]);
    }
}

#[test]
fn a_running_machine_without_a_kernels_file_has_what_it_tells() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["kernel_files"] = json!([]);
    let machine = write_machine(directory.path(), &machine);
    let run = on(&machine, &["report", "--running", "--html"]);
    assert!(matches!(run.code, 0 | 1), "{run:?}");
    assert!(run.stdout.contains("<section id=\"map\"") && run.stdout.contains("democtl"), "{run:?}");
}
