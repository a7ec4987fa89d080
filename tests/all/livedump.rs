//! `memtool livedump`: a true minidump under the final name, or nothing.

use crate::common::minidump::Minidump;
use crate::common::{
    address, command, demo, demo_machine, directory, failing, memtool, names, on, read_until, schema, start,
    start_with_stderr, text, write_machine,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

/// Takes a plain live dump of a machine and takes it apart.
fn dump_of(machine: &Path) -> Minidump {
    let directory = directory();
    let target = directory.path().join("dump");
    on(machine, &["livedump", text(&target)]).ok();
    Minidump::parse(std::fs::read(&target).unwrap())
}

/// What the pattern puts into a page: each word holds its own physical address.
fn pattern(page: u64) -> Vec<u8> {
    (page..page + 4096).step_by(8).flat_map(u64::to_le_bytes).collect()
}

#[test]
fn the_dump_is_a_version_3_minidump_that_says_where_it_comes_from() {
    let dump = dump_of(Path::new("demo"));
    assert_eq!(dump.version, 3);
    assert_eq!(dump.kernel_base, 0xffff_fe00_0000_0000);
    assert_eq!(dump.direct_map, (0xffff_f800_0000_0000, 0xffff_fc00_0000_0000));
    let messages = String::from_utf8(dump.message_buffer.clone()).unwrap();
    assert!(messages.contains("recorded machine 'demo', not a real one"), "{}", messages.trim_end_matches('\0'));
}

#[test]
fn dump_avail_is_the_ram_in_whole_pages() {
    let machine = demo_machine();
    let mut expected: Vec<(u64, u64)> = Vec::new();
    for segment in machine["memory"]["segments"].as_array().unwrap() {
        let (start, end) = (address(&segment["start"]), address(&segment["end"]));
        match expected.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => expected.push((start, end)),
        }
    }
    for range in &mut expected {
        *range = (range.0.next_multiple_of(4096), range.1 & !4095);
    }
    let dump = dump_of(Path::new("demo"));
    assert_eq!(dump.dump_avail, expected);
    for page in dump.pages.keys() {
        assert!(expected.iter().any(|(start, end)| (start..end).contains(&page)), "{page:#x} is not RAM");
    }
}

#[test]
fn every_address_of_the_kernel_maps_is_mapped_as_they_say_and_no_other() {
    let machine = demo_machine();
    let dump = dump_of(Path::new("demo"));
    let mut slots = std::collections::BTreeSet::new();
    for map in machine["kernel_maps"].as_array().unwrap().iter().filter(|map| map["region"] != "Direct map") {
        let (start, end) = (address(&map["start"]), address(&map["end"]));
        let permissions = map["permissions"].as_str().unwrap();
        let mut superpages = std::collections::BTreeSet::new();
        let mut small = 0;
        for page in (start..end).step_by(4096) {
            let found = dump.translate(page + 0x123).unwrap_or_else(|| panic!("{page:#x} is not mapped"));
            assert_eq!(found.writable, permissions.contains('w'), "{page:#x}");
            assert_eq!(found.executable, permissions.contains('x'), "{page:#x}");
            assert_eq!(found.physical % 4096, 0x123);
            assert!(dump.page(found.physical & !4095).is_some(), "the page behind {page:#x} is not in the dump");
            slots.insert(page & !0x1f_ffff);
            if found.superpage {
                superpages.insert(page >> 21);
            } else {
                small += 1;
            }
        }
        let pages: Vec<usize> = serde_json::from_value(map["pages"].clone()).unwrap();
        assert_eq!([0, superpages.len(), small], pages[..], "pages of each size at {start:#x}");
        for outside in [start - 1, end] {
            let elsewhere = machine["kernel_maps"]
                .as_array()
                .unwrap()
                .iter()
                .any(|map| (address(&map["start"])..address(&map["end"])).contains(&outside));
            assert_eq!(dump.translate(outside).is_some(), elsewhere, "{outside:#x}");
        }
    }
    assert_eq!(dump.mapped_superpage_slots(), slots.into_iter().collect::<Vec<_>>());
}

#[test]
fn no_physical_page_is_mapped_twice() {
    let machine = demo_machine();
    let dump = dump_of(Path::new("demo"));
    let mut seen = std::collections::BTreeMap::new();
    for map in machine["kernel_maps"].as_array().unwrap().iter().filter(|map| map["region"] != "Direct map") {
        for page in (address(&map["start"])..address(&map["end"])).step_by(4096) {
            let physical = dump.translate(page).unwrap().physical;
            assert_eq!(seen.insert(physical, page), None, "{physical:#x} is mapped at {page:#x} and elsewhere");
        }
    }
}

#[test]
fn the_kernel_image_lies_where_the_loader_puts_it() {
    let dump = dump_of(Path::new("demo"));
    assert_eq!(dump.translate(0xffff_ffff_8020_0000).unwrap().physical, 0x20_0000);
}

#[test]
fn pages_hold_the_pattern_except_the_kernels_own() {
    let directory = directory();
    let mut machine = demo_machine();
    // The kernel that is built in has more.
    machine.as_object_mut().unwrap().remove("kernel");
    let dump = dump_of(&write_machine(directory.path(), &machine));
    let other: Vec<u64> =
        dump.pages.keys().copied().filter(|page| dump.page(*page).unwrap() != pattern(*page)).collect();
    // The message buffer, and a page-table page for each 2 MiB with small pages: one in each of the two
    // ranges of kernel virtual memory, one behind the kernel's data, and one for its module. Then the page of its variables, and three
    // of its page bitmap.
    let buffer = dump.message_buffer.len().div_ceil(4096);
    assert_eq!(other.len(), buffer + 4 + 4, "{other:x?}");
}

#[test]
fn memory_read_through_the_device_is_the_memory_in_the_dump() {
    let directory = directory();
    let image = directory.path().join("ram");
    demo(&["dump", "-o", text(&image)]).ok();
    let image = std::fs::read(&image).unwrap();
    let dump = dump_of(Path::new("demo"));
    let place = |page| match page {
        0..0x9_fc00 => page,
        0x10_0000..0xffd_a000 => page - 0x10_0000 + 0x9_fc00,
        _ => page - 0x1_0000_0000 + 0xfed_a000 + 0x9_fc00,
    };
    assert!(dump.pages.keys().any(|page| *page >= 0x1_0000_0000));
    for &page in dump.pages.keys() {
        let at = usize::try_from(place(page)).unwrap();
        assert!(dump.page(page).unwrap() == &image[at..at + 4096], "page {page:#x}");
    }
}

#[test]
fn compressed_dumps_are_clean_streams_of_the_same_bytes() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    demo(&["livedump", text(&path("plain"))]).ok();
    demo(&["livedump", "--gzip", text(&path("gz"))]).ok();
    demo(&["livedump", "--zstd", text(&path("zst"))]).ok();
    let plain = std::fs::read(path("plain")).unwrap();
    let mut gzip = flate2::read::GzDecoder::new(std::fs::File::open(path("gz")).unwrap());
    let mut unpacked = Vec::new();
    gzip.read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == plain, "gzip");
    let mut rest = Vec::new();
    gzip.into_inner().read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{} bytes follow the gzip stream", rest.len());
    assert!(zstd::decode_all(std::fs::File::open(path("zst")).unwrap()).unwrap() == plain, "zstd");
    assert!(path("zst").metadata().unwrap().len() < plain.len() as u64 / 2);
}

#[test]
fn a_machine_made_by_record_dumps_like_the_machine_itself() {
    let directory = directory();
    let machine = directory.path().join("machine.json");
    demo(&["record", text(&machine)]).ok();
    let (a, b) = (dump_of(Path::new("demo")), dump_of(&machine));
    assert_eq!(a.pages, b.pages);
    assert!(a.pages.keys().all(|page| a.page(*page) == b.page(*page)));
}

#[test]
fn a_dump_over_an_image_has_the_images_bytes() {
    let directory = directory();
    let image = directory.path().join("ram.img");
    let total = 0x9_fc00 + 0xfed_a000 + 0x800_0000u64;
    let file = std::fs::File::create(&image).unwrap();
    file.set_len(total).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"here is 0x200010", 0x9_fc00 + 0x10_0010).unwrap();
    let mut machine = demo_machine();
    machine["contents"] = json!({"image": {"path": "ram.img"}});
    let dump = dump_of(&write_machine(directory.path(), &machine));
    assert_eq!(&dump.page(0x20_0000).unwrap()[0x10..0x20], b"here is 0x200010");
    assert!(dump.translate(0xffff_fe00_0000_0000).is_some(), "page tables are there all the same");
}

#[test]
fn the_dump_is_for_its_owner_only_and_nothing_else_is_left() {
    let directory = directory();
    let target = directory.path().join("out.mdmp");
    demo(&["livedump", "--zstd", text(&target)]).ok();
    assert_eq!(target.metadata().unwrap().mode() & 0o7777, 0o600);
    assert_eq!(names(directory.path()), ["out.mdmp"]);
}

#[test]
fn json_describes_the_dump() {
    let directory = directory();
    let target = directory.path().join("out");
    let report = demo(&["--json", "livedump", "--zstd", text(&target)]).ok().json();
    assert_eq!(report["schema"], "memtool.livedump");
    assert_eq!(report["host"], "recorded");
    assert_eq!(report["compression"], "zstd");
    assert_eq!(report["architecture"], "amd64");
    assert_eq!(report["size"], target.metadata().unwrap().len());
    let unpacked = zstd::decode_all(std::fs::File::open(&target).unwrap()).unwrap();
    assert_eq!(report["uncompressed_size"], unpacked.len());
}

#[test]
fn nothing_is_written_over_and_nothing_through_a_link() {
    let directory = directory();
    let target = directory.path().join("out");
    std::fs::write(&target, "precious").unwrap();
    let link = directory.path().join("link");
    symlink(directory.path().join("elsewhere"), &link).unwrap();
    demo(&["livedump", text(&target)]).fails_saying(&["already exists"]);
    demo(&["livedump", text(&link)]).fails_saying(&["symbolic link"]);
    demo(&["livedump", "--force", text(&link)]).fails_saying(&["symbolic link"]);
    demo(&["livedump", "--force", text(directory.path())]).fails_saying(&["not a regular file"]);
    assert_eq!(std::fs::read(&target).unwrap(), b"precious");
    demo(&["livedump", "--force", text(&target)]).ok();
    assert!(std::fs::read(&target).unwrap().starts_with(b"minidump FreeBSD/amd64"));
    assert_eq!(names(directory.path()), ["link", "out"]);
    demo(&["livedump", "/nowhere/at/all"]).fails_saying(&["/nowhere/at", "No such file"]);
}

/// Each errno of MEM_KERNELDUMP, and words that its explanation must have.
const REFUSALS: [(&str, &str); 11] = [
    ("EBUSY", "another live dump is in progress"),
    ("EPERM", "policy"),
    ("EINVAL", "GZIO, ZSTDIO"),
    ("EBADF", "open for writing"),
    ("EAGAIN", "more than 4096 bytes"),
    ("EOPNOTSUPP", "architecture"),
    ("ENOSPC", "full"),
    ("EFBIG", "ulimit -f"),
    ("EDQUOT", "quota"),
    ("EIO", "dmesg"),
    ("ENOTTY", "FreeBSD 14.0"),
];

#[test]
fn every_refusal_of_the_kernel_is_explained_and_leaves_nothing() {
    let machine = demo_machine();
    for (errno, words) in REFUSALS {
        let directory = directory();
        let files = directory.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let path = write_machine(directory.path(), &failing(&machine, "MEM_KERNELDUMP", errno));
        let target = files.join("out");
        on(&path, &["livedump", "--method", "kernel", text(&target)]).fails_saying(&[errno, words, text(&target)]);
        assert_eq!(names(&files), Vec::<String>::new(), "{errno}");
    }
}

#[test]
fn a_kernel_before_14_has_no_live_dumps() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["system"]["osreldate"] = json!(1_399_999);
    let path = write_machine(directory.path(), &machine);
    let out = directory.path().join("out");
    on(&path, &["livedump", "--method", "kernel", text(&out)]).fails_saying(&["ENOTTY", "FreeBSD 14.0"]);
    machine["system"]["osreldate"] = json!(1_400_000);
    on(&write_machine(directory.path(), &machine), &["livedump", "--method", "kernel", text(&out)]).ok();
}

#[test]
fn only_some_kernels_can_be_made_up() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["system"]["machine_arch"] = json!("i386");
    let path = write_machine(directory.path(), &machine);
    on(&path, &["livedump", text(&directory.path().join("out"))])
        .fails_saying(&["amd64, aarch64 and riscv64 only", "i386"]);
    assert_eq!(names(directory.path()).len(), 1);
}

#[test]
fn strange_kernel_maps_and_memory_do_not_break_the_dump() {
    let machine = demo_machine();
    let map = |start: &str, end: &str, pages: Value| json!({"start": start, "end": end, "permissions": "rw-sg", "pages": pages, "region": "Kernel map"});
    let cases: Vec<Value> = vec![
        json!([]),
        json!([map("0x1000", "0x2000", json!([0, 0, 1]))]),
        json!([map("0xfffffe0000001000", "0xfffffe0000000000", json!([0, 0, 1]))]),
        json!([map("0xffffffffffe00000", "0", json!([0, 1, 0]))]),
        json!([map("0xfffffffffffff000", "0", json!([]))]),
        json!([map("0xfffffe0000000fff", "0xfffffe0000001001", json!([0, 0, 2]))]),
        json!([map("0xfffffe0000000000", "0", json!([2048, 0, 0]))]),
        json!([map("0xfffffe0000000000", "0xffffffff80000000", json!([0, 0, 18446744073709551615u64]))]),
        json!([
            map("0xffffffff80000000", "0xffffffff80001000", json!([0, 0, 1])),
            map("0xffffffff80000000", "0xffffffff80001000", json!([0, 0, 1]))
        ]),
    ];
    for maps in cases {
        let directory = directory();
        let mut machine = machine.clone();
        machine["kernel_maps"] = maps.clone();
        // Small, so that what does not fit is left out.
        machine["memory"]["segments"] = json!([{"start": "0x100000", "end": "0x900000"}]);
        let path = write_machine(directory.path(), &machine);
        let target = directory.path().join("out");
        let run = on(&path, &["livedump", text(&target)]);
        assert!(!run.stderr.contains("panicked"), "{maps}: {run:?}");
        if run.code == 0 {
            Minidump::parse(std::fs::read(&target).unwrap());
        } else {
            run.fails_saying(&["memtool: "]);
            assert!(!target.exists());
        }
    }
}

#[test]
fn a_machine_without_memory_for_a_kernel_says_so() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["memory"]["segments"] = json!([{"start": "0x100000", "end": "0x102000"}]);
    let path = write_machine(directory.path(), &machine);
    on(&path, &["livedump", text(&directory.path().join("out"))]).fails_saying(&["too little memory"]);
}

#[test]
fn usage_errors_exit_with_2() {
    memtool(&["--machine", "demo", "livedump"]).usage_error(&["FILE"]);
    memtool(&["--machine", "demo", "livedump", "--zstd", "--gzip", "x"]).usage_error(&["--gzip"]);
    memtool(&["--machine", "demo", "livedump", "--bzip2", "x"]).usage_error(&["--bzip2"]);
}

/// The signal that asks how far a command is.
#[cfg(any(target_os = "freebsd", target_os = "macos", target_os = "netbsd", target_os = "openbsd"))]
const STATUS: Signal = Signal::SIGINFO;
#[cfg(not(any(target_os = "freebsd", target_os = "macos", target_os = "netbsd", target_os = "openbsd")))]
const STATUS: Signal = Signal::SIGUSR1;

/// A machine whose kernel takes long to dump, so that it can be interrupted.
fn large_machine(directory: &Path) -> std::path::PathBuf {
    let mut machine = demo_machine();
    machine["memory"]["segments"] = json!([{"start": "0x0", "end": "0x10000000000"}]);
    machine["kernel_maps"] = json!([{"start": "0xfffffe0000000000", "end": "0xfffffe4000000000",
        "permissions": "rw-sg", "pages": [256, 0, 0]}]);
    write_machine(directory, &machine)
}

#[test]
fn signals_leave_nothing_behind() {
    let directory = directory();
    let machine = large_machine(directory.path());
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 1), (Signal::SIGHUP, 1)] {
        let files = tempfile::tempdir_in(directory.path()).unwrap();
        let target = files.path().join("out");
        let mut running = start(
            command()
                .arg("--machine")
                .arg(&machine)
                .args(["livedump", "--no-space-check"])
                .arg(&target)
                .stdout(std::process::Stdio::null()),
        );
        running.until_written(files.path(), 0);
        running.signal(signal);
        running.end().exits(code).says_in_one_line(&["cannot stop", signal.as_str()]);
        assert_eq!(names(files.path()), Vec::<String>::new(), "{signal}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let Some(run) = crate::common::on_a_small_disk("--machine demo livedump --no-space-check DIR/out") else { return };
    run.fails_saying(&["ENOSPC"]);
}

#[test]
fn the_file_size_limit_is_an_error_and_not_the_end() {
    let directory = directory();
    let script = format!(
        "ulimit -f 1000; exec {} --machine demo livedump --no-space-check {}/out",
        env!("CARGO_BIN_EXE_memtool"),
        text(directory.path())
    );
    crate::common::run(std::process::Command::new("sh").args(["-c", &script])).fails_saying(&["EFBIG", "ulimit -f"]);
    assert_eq!(names(directory.path()), Vec::<String>::new());
}

/// A machine whose kernel's dumps go wrong in one way.
fn faulty(directory: &Path, fault: &str) -> std::path::PathBuf {
    let mut machine = demo_machine();
    machine["live_dump_fault"] = json!(fault);
    write_machine(directory, &machine)
}

/// Each fault, and words about it.
const FAULTS: [(&str, &str); 8] = [
    ("partial", "EIO"),
    ("short", "dumplength: "),
    ("no-header", "magic: "),
    ("parity", "parity: "),
    ("version", "version: "),
    ("architecture", "architecture: "),
    ("compression", "compression: "),
    ("encrypted", "dumpkeysize: "),
];

#[test]
fn a_dump_that_is_not_right_gets_no_name() {
    for ((fault, words), option) in FAULTS.into_iter().zip(["--uncompress", "--gzip", "--zstd"].into_iter().cycle()) {
        let directory = directory();
        let files = tempfile::tempdir_in(directory.path()).unwrap();
        let machine = faulty(directory.path(), fault);
        let target = files.path().join("out");
        on(&machine, &["livedump", option, text(&target)]).fails_saying(&[words]);
        let run = on(&machine, &["livedump", option, "-"]).fails_saying(&[words]);
        assert!(run.bytes.is_empty());
        on(&machine, &["livedump", option, "--dir", text(files.path())]).fails_saying(&[words]);
        assert_eq!(names(files.path()), Vec::<String>::new(), "{fault}");
        let old = files.path().join("old");
        std::fs::write(&old, "old").unwrap();
        on(&machine, &["livedump", "--force", text(&old)]).fails_saying(&[words]);
        assert_eq!(std::fs::read(&old).unwrap(), b"old", "{fault}");
    }
}

#[test]
fn killed_it_leaves_no_dump_under_the_final_name() {
    let directory = directory();
    let machine = large_machine(directory.path());
    let files = tempfile::tempdir_in(directory.path()).unwrap();
    let target = files.path().join("out");
    let mut command = command();
    command.arg("--machine").arg(&machine).args(["livedump", "--no-space-check"]).arg(&target);
    let mut running = start(command.stdout(std::process::Stdio::null()));
    running.until_written(files.path(), 0);
    running.signal(Signal::SIGKILL);
    assert_eq!(running.end().code, -1);
    assert!(!target.exists());
    // What is left is hidden and for its owner only; there was nobody to remove it.
    for name in names(files.path()) {
        assert!(name.starts_with(".memtool.") && name.ends_with(".tmp"), "{name}");
        assert_eq!(files.path().join(name).metadata().unwrap().mode() & 0o7777, 0o600);
    }
}

#[test]
fn a_second_signal_changes_nothing() {
    let directory = directory();
    let machine = large_machine(directory.path());
    let files = tempfile::tempdir_in(directory.path()).unwrap();
    let mut command = command();
    command.arg("--machine").arg(&machine).args(["livedump", "--no-space-check", "--dir"]).arg(files.path());
    let mut running = start(command.stdout(std::process::Stdio::null()));
    running.until_written(files.path(), 0);
    for _ in 0..3 {
        running.signal(Signal::SIGINT);
    }
    running.end().exits(130).says_in_one_line(&["SIGINT", "cannot stop"]);
    assert_eq!(names(files.path()), Vec::<String>::new());
}

#[test]
fn the_header_can_be_kept() {
    let directory = directory();
    let (plain, kept) = (directory.path().join("plain"), directory.path().join("kept"));
    for option in ["--uncompress", "--gzip"] {
        demo(&["livedump", option, "--force", text(&plain)]).ok();
        let report = demo(&["--json", "livedump", option, "--force", "--keep-header", text(&kept)]).ok().json();
        let (plain, kept) = (std::fs::read(&plain).unwrap(), std::fs::read(&kept).unwrap());
        assert_eq!(report["header_kept"], true);
        assert_eq!(report["size"], kept.len());
        assert_eq!(kept.len(), plain.len().next_multiple_of(4096) + 512);
        assert!(kept[kept.len() - 512..].starts_with(b"FreeBSD Kernel Dump\0"));
        if option == "--uncompress" {
            assert!(kept.starts_with(&plain[..4096]));
        }
    }
}

#[test]
fn standard_output_gets_the_dump_alone_and_no_file_stays() {
    let temporary = directory();
    let run = |options: &[&str]| {
        let mut command = command();
        command.env("TMPDIR", temporary.path()).args(["--machine", "demo", "livedump"]).args(options);
        crate::common::run(&mut command)
    };
    let plain = run(&["-"]).ok().of_recording();
    assert_eq!(plain.stderr, "");
    Minidump::parse(plain.bytes.clone());
    let compressed = run(&["--zstd", "-"]).ok();
    assert!(zstd::decode_all(&*compressed.bytes).unwrap() == plain.bytes);
    assert_eq!(names(temporary.path()), Vec::<String>::new());
    run(&["--json", "-"]).usage_error(&["--json", "standard output"]);
    run(&["--info", "-", "-"]).usage_error(&["standard output", "--info"]);
    let mut elsewhere = command();
    elsewhere.env("TMPDIR", temporary.path().join("none")).args(["--machine", "demo", "livedump", "-"]);
    crate::common::run(&mut elsewhere).fails_saying(&["none", "No such file"]);
}

#[test]
fn a_terminal_gets_no_dump() {
    let pty = crate::common::terminal(None);
    let mut command = command();
    command.args(["--machine", "demo", "livedump", "-"]).stdout(std::process::Stdio::from(pty.slave));
    start(&mut command).end().exits(1).says_in_one_line(&["terminal"]);
}

#[test]
fn another_host_gets_the_dump() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let receiving = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let report = demo(&["--json", "livedump", "--zstd", &address]).ok().json();
    let bytes = receiving.join().unwrap();
    assert_eq!(report["output"], address);
    assert_eq!(report["size"], bytes.len());
    Minidump::parse(zstd::decode_all(&*bytes).unwrap());
}

#[test]
fn info_is_json_or_savecores_lines() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    let dump = path("dump");
    let take = |options: &[&str]| demo(&[&["livedump", "--force", text(&dump)], options].concat()).ok();
    let run = take(&["--info", text(&path("facts.json"))]);
    assert!(run.stdout.contains("recorded machine demo"), "{run:?}");
    let facts: Value = schema::document(&std::fs::read(path("facts.json")).unwrap());
    assert_eq!((&facts["schema"], &facts["host"]), (&json!("memtool.livedump"), &json!("recorded")));
    assert_eq!(facts["size"], dump.metadata().unwrap().len());
    take(&["--info", text(&path("facts"))]);
    let lines = std::fs::read_to_string(path("facts")).unwrap();
    assert!(lines.starts_with("Dump header from device: /dev/mem\n  Architecture: amd64\n"), "{lines}");
    assert!(lines.ends_with("  Bounds: 0\n  Dump Status: good\n"), "{lines}");
    let run = take(&["--json", "--info", text(&path("facts"))]);
    assert_eq!(schema::document(&std::fs::read(path("facts")).unwrap()), run.json());
    assert_eq!(take(&["--info", "-"]).lines()[0], "Dump header from device: /dev/mem");
    assert_eq!(take(&["--json", "--info", "-"]).json()["schema"], "memtool.livedump");
    demo(&["livedump", "--info", text(&path("facts")), text(&path("new"))]).fails_saying(&["facts", "already exists"]);
    demo(&["livedump", "--force", "--info", text(&dump), text(&dump)]).fails_saying(&["the same file"]);
    assert_eq!(names(directory.path()), ["dump", "facts", "facts.json"]);
}

#[test]
fn the_estimate_is_no_less_than_the_dump_and_decides_what_fits() {
    let directory = directory();
    let target = directory.path().join("out");
    let report = demo(&["--json", "livedump", text(&target)]).ok().json();
    let mut machine = demo_machine();
    let run = demo(&["-v", "livedump", "--force", text(&target)]).ok();
    assert!(run.stderr.contains("the dump takes") && run.stderr.contains("at most"), "{run:?}");
    assert!(report["size"].as_u64().unwrap() < 59 << 20, "{report}");
    // Much more RAM than there is room.
    machine["memory"]["segments"] = json!([{"start": "0x0", "end": "0x8000000000000"}]);
    machine["live_dump"] = json!({"wired": 1u64 << 50, "managed": 1u64 << 50});
    let path = write_machine(directory.path(), &machine);
    let other = directory.path().join("other");
    on(&path, &["livedump", text(&other)]).fails_saying(&["may not fit", "--no-space-check"]);
    assert!(!other.exists());
    on(&path, &["livedump", "-"]).fails_saying(&["may not fit"]);
}

#[test]
fn a_machine_that_does_not_tell_is_dumped_all_the_same() {
    let directory = directory();
    let mut machine = demo_machine();
    machine.as_object_mut().unwrap().remove("live_dump");
    let path = write_machine(directory.path(), &machine);
    let run = on(&path, &["livedump", "--zstd", text(&directory.path().join("out"))]).ok();
    run.says_in_one_line(&["warning", "does not report"]);
}

#[test]
fn a_compression_that_the_kernel_lacks_is_refused_beforehand() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["live_dump"]["compressions"] = json!(["none", "gzip"]);
    let path = write_machine(directory.path(), &machine);
    let target = directory.path().join("out");
    on(&path, &["livedump", "--zstd", text(&target)]).fails_saying(&["options ZSTDIO", "--gzip or --uncompress"]);
    assert!(!target.exists());
    on(&path, &["livedump", "--gzip", text(&target)]).ok();
}

#[test]
fn the_status_can_be_asked_for_while_the_kernel_is_busy() {
    let directory = directory();
    let machine = large_machine(directory.path());
    let files = tempfile::tempdir_in(directory.path()).unwrap();
    let mut command = command();
    command.arg("--machine").arg(&machine).args(["livedump", "--no-space-check"]).arg(files.path().join("out"));
    let (mut lines, stderr) = std::io::pipe().unwrap();
    let mut running = start_with_stderr(command.stdout(std::process::Stdio::null()).stderr(stderr));
    running.until_written(files.path(), 0);
    running.signal(STATUS);
    let line = read_until(&mut lines, "\n");
    assert!(line.contains("the kernel is dumping: 0:") && line.contains("free space fell by"), "{line}");
    running.signal(Signal::SIGINT);
    running.end().exits(130);
}

#[test]
fn the_summary_tells_size_ratio_kernel_and_time() {
    let directory = directory();
    let run = demo(&["livedump", "--zstd", text(&directory.path().join("out"))]).ok();
    let [first, second, third] = run.lines()[..] else { panic!("{run:?}") };
    assert!(first.contains("MiB before zstd (") && first.contains(" to 1), in "), "{first}");
    assert!(second.ends_with(" pages; every byte checked"), "{second}");
    assert!(third.contains("FreeBSD 15.1-RELEASE"), "{third}");
}

#[test]
fn a_host_without_a_name_is_said_to_have_none() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["system"]["hostname"] = json!("");
    let machine = write_machine(directory.path(), &machine);
    let file = directory.path().join("out");
    let run = on(&machine, &["livedump", "--keep-header", text(&file)]).ok();
    assert!(run.lines()[2].contains(" without a name, amd64, FreeBSD"), "{}", run.stdout);
    let inspected = memtool(&["inspect", text(&file)]).ok();
    assert!(!inspected.lines().iter().any(|line| line.trim_end() != *line), "{}", inspected.stdout);
}

#[test]
fn options_that_exclude_each_other_are_usage_errors() {
    let wrong: [&[&str]; 5] = [
        &["--uncompress", "--zstd", "x"],
        &["--uncompress", "--gzip", "x"],
        &["--dir", "d", "x"],
        &["--dir", "d", "--force"],
        &["--zstd"],
    ];
    for arguments in wrong {
        memtool(&[&["--machine", "demo", "livedump"], arguments].concat()).usage_error(&["livedump"]);
    }
    memtool(&["--machine", "demo", "livedump", "ftp://host/x"]).usage_error(&["tcp://HOST:PORT"]);
}
