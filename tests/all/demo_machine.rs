//! The machine that is built in: each command has something to say of its kernel and of its crash.

use crate::common::{demo, demo_machine, directory, memtool, names, on, text, write_machine};
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
    assert!(compressed < 500_000, "{compressed} bytes");
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
        said.contains("demo0: <Demo network>") && said.contains("recorded machine 'demo', not of a real one"),
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
        ("geom", "PART\tada0p3\t16777216\t512\tr1w1e0"),
        ("cam", "<MEMTOOL DEMO CD 1.0>\tscbus1 target 0 lun 0\tcd0,pass1"),
        ("buffers", "/var\t/var/log/messages\t1\t32768"),
        ("iostat", "ada0\t61402\t310204"),
        ("procstat-s", "nginx\t80"),
        ("swapinfo", "/dev/ada0p3\t16384"),
    ] {
        let run = demo(&["show", section]).ok();
        assert!(run.stdout.contains(text), "{section}: {run:?}");
        assert!(!run.stderr.contains("warning"), "{section}: {run:?}");
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
    for name in ["types"] {
        assert_eq!(layer(&map, name)["ranges"], layer(&machine, name)["ranges"], "{name}");
    }
}

#[test]
fn another_kernel_than_the_one_that_is_built_in_has_nothing_of_it() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["system"]["osreldate"] = json!(1_402_000);
    let machine = write_machine(directory.path(), &machine);
    on(&machine, &["ps"]).fails_saying(&["has no symbol allproc"]);
    assert!(on(&machine, &["dmesg"]).ok().stdout.contains("recorded machine 'demo', not of a real one"));
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
