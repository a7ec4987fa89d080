//! The machine that is built in: each command has something to say of its kernel and of its crash.

use crate::common::{address, demo, demo_machine, directory, memtool, names, on, text, write_machine};
use crate::map::layer;
use serde_json::{Value, json};
use std::path::Path;

/// Where the repository has its files.
fn shipped(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/host/recorded/demo").join(format!("{name}.zst"));
    std::fs::read(path).unwrap()
}

#[test]
fn what_is_built_in_is_what_the_generator_writes() {
    let mut compressed = 0;
    for file in demo_machine::files() {
        let packed = shipped(file.name);
        compressed += packed.len();
        let message = "run: cargo run -p demo-machine -- src/host/recorded/demo";
        assert!(zstd::decode_all(packed.as_slice()).unwrap() == file.bytes, "{} is another one; {message}", file.name);
    }
    assert!(compressed < 200_000, "{compressed} bytes");
}

#[test]
fn processes_have_their_arguments_states_and_threads() {
    let shown = demo(&["ps"]).ok().stdout;
    for text in ["/usr/sbin/syslogd -s", "nginx: worker process (nginx)", "-sh (sh)", "democtl demo0 ring reset"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let threads = demo(&["ps", "-H"]).ok().stdout;
    for text in ["laundry: dom1", "idle: cpu1", "irq24: demo0", "watcher"] {
        assert!(threads.contains(text), "{text}: {threads}");
    }
    let long = demo(&["ps", "-o", "pid,user,tt,time,jid,wchan,command", "-p", "812,762"]).ok();
    assert_eq!(
        long.lines(),
        ["762\t80\t-\t0:39.50\t1\t-\tnginx: worker process (nginx)", "812\t1001\t0\t0:00.08\t0\twait\t-sh (sh)",]
    );
}

#[test]
fn stacks_lead_from_the_scheduler_through_the_module_to_the_system_call() {
    let shown = demo(&["stack", "--all"]).ok().stdout;
    assert!(shown.contains("watcher, waits for demo configuration (sx) of TID 100186"), "{shown}");
    assert!(shown.contains("demo_ioctl+") && shown.contains("(if_demo.ko)"), "{shown}");
    assert!(shown.contains("system call 54 from user mode") && shown.contains("fork_trampoline+"), "{shown}");
}

#[test]
fn variables_have_types_and_symbols_are_those_of_the_kernel_and_its_module() {
    assert_eq!(demo(&["print", "hz"]).ok().stdout, "1000\n");
    assert_eq!(demo(&["print", "averunnable.fscale"]).ok().stdout, "2048\n");
    let shown = demo(&["print", "*initproc->p_ucred"]).ok().stdout;
    assert!(shown.contains("cr_ref = 3,") && shown.contains("cr_prison"), "{shown}");
    assert_eq!(demo(&["read", "--as", "u32", "mp_ncpus"]).ok().stdout, "2\n");
    let found = demo(&["symbols", "demo_*", "sched_switch"]).ok().stdout;
    assert!(found.contains("demo_ring_reset\tif_demo.ko") && found.contains("sched_switch\tkernel"), "{found}");
    assert!(demo(&["types", "demo_softc"]).ok().stdout.contains("struct demo_ring *sc_ring;"));
    assert!(demo(&["translate", "allproc"]).ok().stdout.contains("2 MiB page"));
    let said = demo(&["dmesg"]).ok().stdout;
    assert!(
        said.contains("demo0: <Demo network>") && said.contains("recorded machine 'demo', not a real one"),
        "{said}"
    );
}

#[test]
fn what_the_kernel_counts_and_holds_is_shown() {
    for (section, text) in [
        ("vmstat-s", "cpu context switches"),
        ("vmstat-m", "demo ring"),
        ("vmstat-z", "VM OBJECT"),
        ("vmstat-i", "irq24: demo0"),
        ("swapinfo", "ada0p3"),
        ("page-queues", "laundry"),
        ("deadlocks", "demo configuration"),
        ("waits", "kqread"),
        ("run-queues", "nginx"),
        ("fstat", "/var/log/messages"),
        ("mount", "/dev/ada0p2"),
        ("jls", "www.example.org"),
        ("kldstat", "if_demo.ko"),
        ("kenv", "if_demo_load\tYES"),
        ("sysctl", "kern.ostype"),
        ("netstat-an", "192.0.2.17.443"),
        ("netstat-aL", "*.22"),
        ("netstat-m", "mbufs in use"),
        ("netstat-i", "demo0"),
        ("netstat-r", "192.0.2.1"),
        ("netstat-s", "tcp\t4907\tconnection accepts"),
        ("sysctl-changed", "kern.ipc.soacceptqueue\t1024\t128"),
        ("callouts", "demo_tick\t0x"),
        ("ipcs", "8388608\t760\t762"),
        ("devinfo", "em0\tpci0:0:3:0\tIntel(R) PRO/1000"),
        ("geom", "PART\tada0p3\t33554432\t512\tr1w1e0"),
        ("cam", "<MEMTOOL DEMO CD 1.0>\tscbus1 target 0 lun 0\tcd0,pass1"),
        ("buffers", "/var\t/var/log/messages\t1\t32768"),
        ("iostat", "ada0\t61402\t310204"),
        ("procstat-s", "nginx\t80"),
        ("free-pages", "1\t0\t12\t16384K\t"),
        ("page-use", "anonymous\t"),
        ("page-queues", "1\tpage_count\t65248"),
        ("swapinfo", "/dev/ada0p3\t32768"),
    ] {
        let run = demo(&["show", section]).ok();
        assert!(run.stdout.contains(text), "{section}: {run:?}");
        assert!(!run.stderr.contains("warning"), "{section}: {run:?}");
    }
}

/// Start, end, protection, path and bytes in memory of each entry of a process's map.
fn entries(process: &Value) -> Vec<([String; 4], u64)> {
    let member = |entry: &Value, name: &str| entry[name].to_string();
    let entries = process["entries"].as_array().unwrap().iter();
    let names = ["start", "end", "protection", "path"];
    let texts = |entry: &Value| names.map(|name| member(entry, name));
    entries.map(|entry| (texts(entry), entry["usage"]["bytes_resident"].as_u64().unwrap())).collect()
}

#[test]
fn maps_ps_paddr_and_the_pages_of_the_kernel_agree_about_the_shell() {
    let recorded = demo(&["maps", "-x", "--json", "812"]).ok().json();
    // With one of which no map was recorded, both are read from the kernel's structures.
    let both = demo(&["maps", "-x", "--json", "812", "1"]).ok().json();
    let (told, read) = (&recorded["processes"][0], &both["processes"][0]);
    assert_eq!((entries(told), entries(told).len()), (entries(read), 13));
    assert!(entries(&both["processes"][1])[0].0[3].contains("/sbin/init"));
    let resident: u64 = entries(told).iter().map(|(_, resident)| resident).sum();
    let shown = demo(&["ps", "-o", "rss", "-p", "812"]).ok();
    // ps counts the stack of its thread in the kernel, too.
    assert_eq!(shown.lines(), [(resident / 1024 + 16).to_string()]);
    // Each entry begins in a page that the kernel has for it, and the shell's own pages are above 4 GiB.
    let map = demo(&["map", "--pid", "812", "--layers", "process", "--json"]).ok().json();
    let layers = map["layers"].as_array().unwrap();
    let ranges = layers.iter().find(|layer| layer["layer"] == "process").unwrap()["ranges"].as_array().unwrap();
    let pages: u64 = ranges.iter().map(|range| range["size"].as_u64().unwrap() / 4096).sum();
    // Two pages of files are mapped twice.
    assert_eq!(pages, resident / 4096 - 2);
    for (at, kind, domain) in [
        ("0x200000", "file", 0),
        ("0x222000", "file", 0),
        ("0x223000", "anonymous", 1),
        ("0x8211df000", "anonymous", 1),
        ("0x821400000", "anonymous", 1),
        ("0x821657000", "anonymous", 1),
        ("0x7fffffffe000", "anonymous", 1),
        ("0x7ffffffff000", "other", 0),
    ] {
        let page = demo(&["paddr", "--json", at]).ok().json()["pages"][0].clone();
        let physical = address(&page["paddr"]);
        let range = ranges.iter().find(|range| (address(&range["start"])..address(&range["end"])).contains(&physical));
        assert_eq!((&range.unwrap()["kind"], &page["domain"]), (&json!(kind), &json!(domain)), "{at}");
        assert_eq!(physical >= 1 << 32, kind == "anonymous", "{at}: {physical:#x}");
    }
    // Behind its stack are its arguments.
    let top = demo(&["paddr", "--json", "0x7fffffffefd0"]).ok().json()["pages"][0]["paddr"].clone();
    let text = format!("{:#x}", address(&top));
    assert_eq!(demo(&["read", "--phys", "--as", "str", &text]).ok().stdout, "-sh\n");
    for absent in ["0x8211b0000", "0x821658000", "0x7fffffff9000"] {
        assert_eq!(demo(&["paddr", "--json", absent]).exits(0).json()["pages"][0]["paddr"], Value::Null, "{absent}");
    }
}

#[test]
fn all_pages_have_a_use_and_what_is_counted_of_them_is_what_they_say() {
    let uses = demo(&["show", "page-use", "--json"]).ok().json()["page_use"].clone();
    let count = |name: &str, member: &str| {
        let of = uses["uses"].as_array().unwrap().iter().find(|of| of["use"] == name).unwrap();
        of[member].as_u64().unwrap()
    };
    let all: u64 = uses["uses"].as_array().unwrap().iter().map(|of| of["page_count"].as_u64().unwrap()).sum();
    assert_eq!(
        (&uses["page_count"], &uses["unavailable_count"]),
        (&json!(all), &json!(count("startup", "page_count")))
    );
    assert_eq!(uses["v_page_count"], all - count("startup", "page_count"));
    let free = demo(&["show", "free-pages", "--json"]).ok().json()["free_memory"].clone();
    let queues = demo(&["show", "page-queues", "--json"]).ok().json()["page_queues"].clone();
    let sum = |domains: &Value, member: &str| -> u64 {
        domains["memory_domains"].as_array().unwrap().iter().map(|domain| domain[member].as_u64().unwrap()).sum()
    };
    assert_eq!(
        (sum(&free, "page_count"), sum(&queues, "free_count")),
        (count("free", "page_count"), count("free", "page_count"))
    );
    assert!(count("anonymous", "page_count") > 1000 && count("file", "page_count") > 1000, "{uses}");
}

#[test]
fn every_section_of_show_answers_of_the_machine_and_most_of_its_crash() {
    let directory = directory();
    let (crash, kernel) = (directory.path().join("crash"), directory.path().join("kernel"));
    std::fs::create_dir(&crash).unwrap();
    demo(&["save", "--dir", text(&crash)]).ok();
    std::fs::write(&kernel, zstd::decode_all(shipped("kernel").as_slice()).unwrap()).unwrap();
    let core = crash.join("vmcore.0");
    let help = memtool(&["show", "--help"]).ok().stdout;
    let sections = help.lines().filter_map(|line| line.trim().strip_prefix("- ")?.split_once(':'));
    let sections: Vec<&str> = sections.map(|(name, _)| name).collect();
    assert!(sections.len() > 30, "{sections:?}");
    for section in sections {
        let run = demo(&["show", section]).ok().of_recording();
        assert!(!run.stdout.trim().is_empty() && run.stderr.is_empty(), "{section}: {run:?}");
        // Nothing waits in a circle there.
        let of_crash = memtool(&["show", section, "--core", text(&core), "--kernel", text(&kernel)]).ok();
        assert!(!of_crash.stdout.trim().is_empty() || section == "deadlocks", "{section}: {of_crash:?}");
    }
}

#[test]
fn the_crash_on_its_device_is_reported_without_an_operand() {
    let report = demo(&["report"]).ok().stdout;
    for text in ["/dev/ada0p3", "page fault at address 0x18", "demo_ring_reset+0x", "Fatal trap 12", "if_demo.ko"] {
        assert!(report.contains(text), "{text}: {report}");
    }
    let document = demo(&["report", "--json"]).ok().json();
    assert_eq!((&document["host"], &document["panic"]), (&json!("recorded"), &json!("page fault")));
    assert_eq!(document["dumping_thread"], 100_186);
    // The directory of this system's dumps is not the machine's.
    demo(&["report", "--number", "0"]).usage_error(&["--dir"]);
}

#[test]
fn the_crash_is_saved_once_and_a_saved_machine_knows_that() {
    let directory = directory();
    let (crash, saved) = (directory.path().join("crash"), directory.path().join("saved"));
    std::fs::create_dir(&crash).unwrap();
    let run = demo(&["save", "--dir", text(&crash), "--save-machine", text(&saved)]).ok();
    assert!(run.stdout.contains("/dev/ada0p3: cleared; saved a kernel dump of demo"), "{run:?}");
    assert!(names(&crash).contains(&"vmcore.0".to_owned()));
    let inspected = memtool(&["inspect", "--verify", text(&crash.join("vmcore.0"))]).ok();
    assert!(inspected.stdout.contains("minidump"), "{inspected:?}");
    let report = demo(&["report", "--dir", text(&crash)]).ok().stdout;
    assert!(report.contains("demo_ring_reset+0x") && report.contains("vmcore.0"), "{report}");
    on(&saved, &["save", "--check"]).exits(1);
    assert!(on(&saved, &["save", "--dir", text(&crash)]).ok().stdout.contains("was cleared"));
    assert!(on(&saved, &["report"]).ok().stdout.contains("demo_ring_reset+0x"));
    demo(&["save", "--check"]).ok();
}

#[test]
fn a_crash_that_cannot_be_saved_is_there_all_the_same() {
    let directory = directory();
    let missing = directory.path().join("none");
    for options in [&[][..], &["-n"]] {
        let run = demo(&[&["save", "--dir", text(&missing)], options].concat()).exits(1);
        assert!(run.stderr.contains("No such file") && !run.stderr.contains("ada0p3 does not exist"), "{run:?}");
    }
}

#[test]
fn the_machine_that_runs_was_started_after_its_crash() {
    let running = demo(&["ps", "--json"]).ok().json();
    let crashed = demo(&["report", "--json"]).ok().json();
    let time = |of: &Value| of["kernel"]["time"].as_str().unwrap().to_owned();
    let uptime = |of: &Value| of["kernel"]["uptime_seconds"].as_i64().unwrap();
    assert_eq!((time(&running), uptime(&running)), ("2026-11-29T11:21:07Z".to_owned(), 4 * 86_400 + 2467));
    assert_eq!((time(&crashed), uptime(&crashed)), ("2026-11-25T10:38:32Z".to_owned(), 4 * 86_400 + 2312));
    // init's parent is the kernel.
    assert_eq!(demo(&["ps", "-o", "ppid", "-p", "1"]).ok().lines(), ["0"]);
}

#[test]
fn a_write_is_kept_with_the_recording_alone() {
    let directory = directory();
    let saved = directory.path().join("saved");
    let lost = demo(&["write", "--as", "u32", "hz", "250", "--force"]).ok();
    assert!(lost.stderr.contains("--save-machine keeps it"), "{lost:?}");
    assert_eq!(demo(&["print", "hz"]).ok().stdout, "1000\n");
    demo(&["write", "--as", "u32", "hz", "250", "--force", "--save-machine", text(&saved)]).ok();
    assert_eq!(on(&saved, &["print", "hz"]).ok().stdout, "250\n");
    let ram = directory.path().join("ram");
    let machine: Value = serde_json::from_slice(&std::fs::read(&saved).unwrap()).unwrap();
    let at = machine["written"][0]["address"].as_str().unwrap();
    on(&saved, &["dump", "--range", &format!("{at}+4"), "-o", text(&ram)]).ok();
    assert_eq!(std::fs::read(&ram).unwrap()[..4], 250_u32.to_le_bytes());
    // What is no RAM is not written to.
    demo(&["write", "--phys", "0xf0000000", "00", "--force"]).exits(1);
}

#[test]
fn a_live_dump_has_the_kernel() {
    let directory = directory();
    let core = directory.path().join("core");
    demo(&["livedump", text(&core)]).ok();
    let kernel = directory.path().join("kernel");
    std::fs::write(&kernel, zstd::decode_all(shipped("kernel").as_slice()).unwrap()).unwrap();
    let shown = memtool(&["ps", "--core", text(&core), "--kernel", text(&kernel)]).ok().stdout;
    assert!(shown.contains("democtl demo0 ring reset"), "{shown}");
    // Of what the machine is, the kernel knows what the machine tells of itself.
    let map = memtool(&["map", "--json", "--core", text(&core), "--kernel", text(&kernel)]).ok().json();
    let machine = demo(&["map", "--json"]).ok().json();
    for name in ["memory", "types", "free"] {
        assert_eq!(layer(&map, name)["ranges"], layer(&machine, name)["ranges"], "{name}");
    }
    assert_eq!(map["free_areas"], machine["free_areas"]);
}

#[test]
fn another_kernel_than_the_one_that_is_built_in_has_nothing_of_it() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["system"]["osreldate"] = json!(1_402_000);
    let machine = write_machine(directory.path(), &machine);
    on(&machine, &["ps"]).fails_saying(&["has no symbol allproc"]);
    assert!(on(&machine, &["dmesg"]).ok().stdout.contains("recorded machine 'demo', not a real one"));
}

#[test]
fn bytes_that_are_none_and_too_many_of_them_are_refused() {
    let directory = directory();
    for (bytes, why) in [("0", "pairs of hexadecimal digits"), ("", "pairs"), ("zz", "pairs")] {
        let mut machine = demo_machine();
        machine["written"] = json!([{ "address": "0x1000", "bytes": bytes }]);
        let path = directory.path().join("machine");
        std::fs::write(&path, serde_json::to_vec(&machine).unwrap()).unwrap();
        on(&path, &["ranges"]).fails_saying(&["written", why]);
    }
    let mut machine = demo_machine();
    machine["written"] = json!([{ "address": "0x1000", "bytes": "00".repeat((1 << 20) + 1) }]);
    let path = directory.path().join("machine");
    std::fs::write(&path, serde_json::to_vec(&machine).unwrap()).unwrap();
    on(&path, &["ranges"]).fails_saying(&["written", "more than 1048576 bytes"]);
}

#[test]
fn a_dump_of_another_kernel_is_not_read_with_the_one_of_the_machine() {
    let directory = directory();
    let core = directory.path().join("core");
    demo(&["livedump", text(&core)]).ok();
    let commands = "ps|stack --all|print hz|show mount|read version|write version 00 --force|translate version|\
        symbols version|types proc|map|maps 812|dmesg";
    for line in commands.split('|') {
        let arguments: Vec<&str> = line.split(' ').chain(["--core", text(&core)]).collect();
        demo(&arguments).usage_error(&["--machine does not apply"]);
    }
    // A report takes the files of the machine for what is a dump of it, and for nothing else.
    let own = demo(&["report", text(&core)]).ok().stdout;
    assert!(own.contains("The kernel did not panic") && own.contains("democtl"), "{own}");
    let elsewhere = vmcore_synth::typed_kernel::TypedKernel::new(vmcore_synth::Arch::Amd64).dump();
    let mut newer = std::fs::read(&core).unwrap();
    let name = b"MEMTOOL-DEMO";
    let places: Vec<usize> =
        newer.windows(name.len()).enumerate().filter(|(_, at)| at == name).map(|(at, _)| at).collect();
    places.iter().for_each(|at| newer[*at..at + name.len()].copy_from_slice(b"MEMTOOL-NEXT"));
    for (name, bytes) in [("elsewhere", elsewhere), ("newer", newer)] {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let run = demo(&["report", text(&path)]).exits(1);
        assert!(run.stderr.contains("is not the kernel of this dump"), "{name}: {run:?}");
        assert!(!run.stdout.contains("democtl demo0 ring reset"), "{name}: {run:?}");
    }
}
