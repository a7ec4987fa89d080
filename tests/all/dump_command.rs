//! `memtool dump` as a command: what it reads, its options, its files, the manifest and the progress.

use crate::common::{
    command, demo, demo_machine, directory, failing, memtool, names, noise, on, on_terminal, read_until, run, schema,
    start, start_with_stderr, text, write_file, write_machine,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Stdio;

/// What the demo machine's memory holds: each word its own address.
fn word(address: u64) -> [u8; 8] {
    address.to_le_bytes()
}

fn keys(document: &Value) -> BTreeSet<&str> {
    document.as_object().unwrap().keys().map(String::as_str).collect()
}

fn set(words: &str) -> BTreeSet<&str> {
    words.split_whitespace().collect()
}

// What is read.

#[test]
fn ranges_replace_the_kernels_map_in_ascending_order_without_overlaps() {
    let run =
        demo(&["dump", "-m-", "--range", "0x300000-0x301000", "--range", "1048576+4k", "--range", "0x100800+0x1000"])
            .ok();
    assert_eq!(run.stderr, "0x100000 0x101800\n0x300000 0x301000\n");
    assert_eq!(run.bytes.len(), 0x2800);
    assert_eq!((&run.bytes[..8], &run.bytes[0x1800..0x1808]), (&word(0x10_0000)[..], &word(0x30_0000)[..]));
}

#[test]
fn bad_ranges_are_usage_errors_that_say_what_is_wrong() {
    for (range, words) in [
        ("", "START-END"),
        ("4096", "START-END"),
        ("0x2000-0x1000", "empty"),
        ("0x1000-0x1000", "empty"),
        ("0x1000+0", "empty"),
        ("0x1000-", "not a number"),
        ("-0x1000", "not a number"),
        ("0x1000--0x2000", "not a number"),
        ("0x1000-0x2000-0x3000", "not a number"),
        ("0x1000+4q", "suffix"),
        ("010-020", "leading zero"),
        ("0-0x10000000000000000", "64 bits"),
        ("0xfffffffffffff000+8k", "address space"),
    ] {
        demo(&["dump", &format!("--range={range}")]).usage_error(&["--range", words]);
    }
}

#[test]
fn what_is_not_ram_is_refused_unless_anywhere() {
    for (range, hole) in [
        ("0xa0000-0xa1000", "0xa0000-0xa1000 (4 KiB)"),
        ("0x90000-0x200000", "0x9fc00-0x100000 (385 KiB)"),
        ("0xffd9000-0xffdb000", "0xffda000-0xffdb000 (4 KiB)"),
        ("0xfee00000+4k", "0xfee00000-0xfee01000 (4 KiB)"),
    ] {
        demo(&["dump", "--range", range]).fails_saying(&[hole, "not RAM", "--anywhere"]);
    }
    // The recorded machine has nothing there that could be read.
    let run = demo(&["dump", "-m-", "--anywhere", "--range", "0x9f000-0xa0000"]).ok();
    assert!(run.stderr.starts_with("0x9f000 0x9fc00\n"), "{}", run.stderr);
    assert!(run.stderr.contains("0x9fc00..0xa0000 cannot be read"), "{}", run.stderr);
    demo(&["dump", "--anywhere", "--range", "0xfee00000+4k"]).fails_saying(&["none of the RAM can be read"]);
}

#[test]
fn a_map_of_a_dump_is_a_list_of_segments_and_so_is_a_listing() {
    let directory = directory();
    let list = write_file(
        directory.path(),
        b"# of the demo machine\r\n\r\n0x300000 0x301000\r\n0x100000\t1052672 - 4 KiB # x\r\n",
    );
    let run = demo(&["dump", "-m-", "--segments", text(&list)]).ok();
    assert_eq!(run.stderr, "0x100000 0x101000\n0x300000 0x301000\n");
    let map = write_file(directory.path(), run.stderr.as_bytes());
    assert!(demo(&["dump", "--segments", text(&map)]).ok().bytes == run.bytes);
    let listing = demo(&["dump", "--list-segments"]).ok();
    let all = write_file(directory.path(), listing.stdout.as_bytes());
    assert_eq!(demo(&["dump", "--list-segments", "--segments", text(&all)]).ok().stdout, listing.stdout);
}

#[test]
fn bad_lists_of_segments_are_named_with_the_line() {
    let directory = directory();
    let cases: [(&[u8], &str); 12] = [
        (b"", "no segment"),
        (b"# nothing\n\n", "no segment"),
        (b"\xff\xfe\0\x80", "UTF-8"),
        (b"0x1000 0x2000\n\0\0\0 \0", "line 2: '\\u{0}\\u{0}\\u{0}' is not a number"),
        (b"0x2000 0x1000\n", "line 1: "),
        (b"0x1000 0x1000\n", "line 1: "),
        (b"0x1000\n", "line 1: it has no end"),
        (b"\n0x1000-0x2000\n", "line 2: "),
        (b"0x1000 0x10000000000000000", "line 1: '0x10000000000000000' does not fit in 64 bits"),
        (b"0x1000 -1", "line 1: '-1' is not a number"),
        (b"0x1000 1m", "line 1: '1m' is not a number"),
        (b"0x100000 0xffffffffffffffff", "not RAM"),
    ];
    for (list, words) in cases {
        let list = write_file(directory.path(), list);
        demo(&["dump", "--segments", text(&list)]).fails_saying(&[words]);
    }
    demo(&["dump", "--segments", text(directory.path())]).fails_saying(&["Is a directory"]);
    demo(&["dump", "--segments", "/nowhere/list"]).fails_saying(&["/nowhere/list", "No such file"]);
}

#[test]
fn a_list_can_come_from_a_pipe_that_takes_its_time() {
    let mut running = start(
        command()
            .args(["--machine", "demo", "dump", "-m-", "--segments", "/dev/stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null()),
    );
    let mut list = running.stdin();
    // More than a pipe holds: it is being read now.
    list.write_all(&b"# nothing yet\n".repeat(20_000)).unwrap();
    // Long before the dump begins this must not end the program either.
    #[cfg(not(target_os = "freebsd"))]
    running.signal(Signal::SIGUSR1);
    list.write_all(b"0x100000 0x101000\n").unwrap();
    drop(list);
    assert_eq!(running.end().ok().stderr, "0x100000 0x101000\n");
}

#[test]
fn listing_segments_reads_nothing_and_says_where_they_come_from() {
    let directory = directory();
    for operation in ["open", "read"] {
        let machine = write_machine(directory.path(), &failing(&demo_machine(), operation, "EACCES"));
        let listing = on(&machine, &["dump", "--list-segments"]).ok().of_recording();
        assert_eq!(listing.lines()[1], "0x1000\t0x9f000\t0\t647168");
        assert_eq!(listing.stderr, "");
    }
    let shown = on_terminal(&["dump", "--list-segments"]);
    assert!(
        shown.starts_with("START ") && shown.ends_with("10 segments, 383.5 MiB, by machdep.smap (recorded machine)\n"),
        "{shown}"
    );
    let one = on_terminal(&["dump", "--list-segments", "--range", "0x1000000+4k"]);
    assert!(one.contains("\n1 segment, 4.0 KiB, by "), "{one}");
    let list = demo(&["--json", "dump", "--list-segments"]).ok().json();
    assert_eq!(keys(&list), set("schema version host warnings space segments_from size segments left_out"));
    assert_eq!(list["schema"], "memtool.dump.segments");
    assert_eq!((&list["host"], &list["segments_from"]), (&json!("recorded"), &json!("machdep.smap")));
    assert_eq!(list["size"], 0x9_fc00 + 0xfed_a000 + 0x800_0000);
    assert_eq!(list["segments"][1], json!({"start": "0x1000", "end": "0x9f000", "size": 0x9_e000, "domain": 0}));
    let given = demo(&["--json", "dump", "--list-segments", "--range", "0x100000+1m"]).ok().json();
    assert_eq!((&given["segments_from"], &given["size"]), (&json!("the ranges given"), &json!(1 << 20)));
}

#[test]
fn kernel_memory_is_dumped_by_the_kernels_maps() {
    let list = demo(&["--json", "dump", "-k", "--list-segments"]).ok().json();
    assert_eq!((&list["space"], &list["segments_from"]), (&json!("kernel"), &json!("vm.pmap.kernel_maps")));
    assert!(list["left_out"].as_array().unwrap().iter().any(|gap| gap["why"] == "not RAM"), "{list}");
    let run = demo(&["dump", "--kmem", "-m-", "--range", "0xfffffe0000000000+4k"]).ok();
    assert_eq!((run.stderr.as_str(), run.bytes.len()), ("0xfffffe0000000000 0xfffffe0000001000\n", 4096));
    // A range of the direct map is the physical memory behind it.
    let direct = demo(&["dump", "-k", "--range", "0xfffff80000100000+64k"]).ok();
    assert!(direct.bytes == demo(&["dump", "--range", "0x100000+64k"]).ok().bytes);
    let limited = demo(&["dump", "-k", "-m-", "-d", "8k"]).ok();
    assert_eq!(limited.stderr, "0xfffff80000000000 0xfffff80000002000\n");
    demo(&["dump", "-k", "--range", "0x100000+4k"]).fails_saying(&["not memory in the kernel's maps", "--anywhere"]);
}

#[test]
fn kernel_memory_that_cannot_be_had_is_explained() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["kernel_maps"] = json!([]);
    let image = write_file(directory.path(), &[1; 4096]);
    memtool(&["--device", text(&image), "dump", "-k"]).fails_saying(&["-k", "image"]);
    let nothing = write_machine(directory.path(), &machine);
    on(&nothing, &["dump", "-k"]).fails_saying(&["nothing to dump"]);
    machine.as_object_mut().unwrap().remove("kernel_maps");
    machine["system"]["machine_arch"] = json!("powerpc64");
    let unlisted = write_machine(directory.path(), &machine);
    on(&unlisted, &["dump", "-k"]).fails_saying(&["vm.pmap.kernel_maps", "--range"]);
    let refused = write_machine(directory.path(), &failing(&demo_machine(), "open", "EACCES"));
    on(&refused, &["dump", "-k"]).fails_saying(&["/dev/kmem", "EACCES"]);
}

#[test]
fn as_much_is_dumped_as_is_asked_for() {
    for (size, bytes) in
        [("1", 1), ("5000", 5000), ("64K", 1 << 16), ("0x10k", 0x4000), ("1m", 1 << 20), ("1.5k", 1536)]
    {
        assert_eq!(demo(&["dump", "-d", size]).ok().bytes.len(), bytes, "-d {size}");
    }
    for size in ["", "-1", "1.3m", "4kb", "16777216t", "0x"] {
        demo(&["dump", &format!("--dump-size={size}")]).usage_error(&["--dump-size"]);
        demo(&["dump", &format!("--page-size={size}")]).usage_error(&["--page-size"]);
    }
    // As with memdump(1), 0 stands for what is taken without the option.
    let listed = |size| demo(&["dump", "--list-segments", "-d", size]).ok().stdout;
    assert_eq!(listed("0"), demo(&["dump", "--list-segments"]).ok().stdout);
    assert_ne!(listed("1"), listed("0"));
    assert_eq!(demo(&["dump", "-p", "0", "-d", "8k"]).ok().bytes.len(), 8192);
    for size in ["3000", "1t"] {
        demo(&["dump", "-p", size]).usage_error(&["--page-size", "power of two"]);
    }
}

// Images.

#[test]
fn an_image_is_dumped_whole_or_as_its_segments_say() {
    let directory = directory();
    let bytes = noise(300_001);
    let image = write_file(directory.path(), &bytes);
    let dump = |arguments: &[&str]| run(command().args(["--device", text(&image), "dump"]).args(arguments));
    assert!(dump(&[]).ok().bytes == bytes);
    assert!(dump(&["--range", "0x1001-0x2003"]).ok().bytes == bytes[0x1001..0x2003]);
    let list = write_file(directory.path(), b"0 1\n300000 300001\n");
    assert_eq!(dump(&["--segments", text(&list)]).ok().bytes, [bytes[0], bytes[300_000]]);
    dump(&["--range", "0-300002"]).fails_saying(&["beyond the end", "300001 bytes"]);
    let listing = run(command().args(["--json", "--device", text(&image), "dump", "--list-segments"])).ok().json();
    assert_eq!((&listing["host"], &listing["segments_from"]), (&json!("image"), &json!("the file's length")));
    let target = directory.path().join("out");
    let report = run(command().args(["--json", "--device", text(&image), "dump", "-o", text(&target)])).ok().json();
    assert_eq!((&report["host"], &report["size"]), (&json!("image"), &json!(bytes.len())));
    assert!(fs::read(&target).unwrap() == bytes);
}

#[test]
fn what_is_no_image_says_so() {
    let directory = directory();
    let (fifo, empty) = (directory.path().join("fifo"), write_file(directory.path(), b""));
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let dump =
        |device: &Path, arguments: &[&str]| run(command().arg("--device").arg(device).arg("dump").args(arguments));
    dump(&empty, &[]).fails_saying(&["is empty"]);
    dump(&empty, &["--range", "0-1"]).fails_saying(&["beyond the end", "0 bytes"]);
    dump(directory.path(), &[]).fails_saying(&["neither a regular file nor a device"]);
    dump(&fifo, &["--range", "0-1"]).fails_saying(&["neither a regular file nor a device"]);
    dump(Path::new("/nowhere/at/all"), &[]).fails_saying(&["/nowhere/at/all", "No such file"]);
    for device in ["/dev/null", "/dev/zero"] {
        dump(Path::new(device), &[]).fails_saying(&["the length of", "--range"]);
    }
    let run = dump(Path::new("/dev/null"), &["--range", "0-4096"]);
    run.fails_saying(&["none of the image can be read (no data); no dump was made"]);
    assert_eq!(dump(Path::new("/dev/zero"), &["--range", "0x1000+5000"]).ok().bytes, [0; 5000]);
}

// The files.

#[test]
fn files_are_for_their_owner_only_and_replace_nothing_unasked() {
    let directory = directory();
    let [dump, map, manifest] = ["dump", "map", "manifest"].map(|name| directory.path().join(name));
    let all = ["dump", "-d1m", "-o", text(&dump), "-m", text(&map), "--manifest", text(&manifest)];
    demo(&all).ok();
    for file in [&dump, &map, &manifest] {
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
        let others = [&dump, &map, &manifest].into_iter().filter(|other| *other != file);
        others.for_each(|other| fs::remove_file(other).unwrap());
        fs::write(file, "old").unwrap();
        demo(&all).fails_saying(&["already exists", text(file)]);
        assert_eq!(names(directory.path()).len(), 1);
        demo(&[&all[..], &["--force"]].concat()).ok();
        assert_ne!(fs::read(file).unwrap(), b"old");
        fs::remove_file(file).unwrap();
        symlink("elsewhere", file).unwrap();
        demo(&[&all[..], &["--force"]].concat()).fails_saying(&["symbolic link", text(file)]);
        fs::remove_file(file).unwrap();
        demo(&[&all[..], &["--force"]].concat()).ok();
    }
    assert_eq!(names(directory.path()), ["dump", "manifest", "map"]);
}

#[test]
fn dump_map_and_manifest_are_three_files_however_they_are_spelled() {
    let directory = directory();
    fs::create_dir(directory.path().join("sub")).unwrap();
    symlink("sub", directory.path().join("link")).unwrap();
    for (a, b) in [
        ("out", "out"),
        ("out", "./out"),
        ("sub/../out", "out"),
        ("link/out", "sub/out"),
        ("out", text(&directory.path().join("out"))),
    ] {
        for options in [["-o", "-m"], ["-o", "--manifest"], ["-m", "--manifest"]] {
            let arguments = ["--machine", "demo", "dump", "-d1m", "--force", options[0], a, options[1], b];
            let run = run(command().args(arguments).current_dir(directory.path()));
            run.fails_saying(&["cannot be the same file"]);
        }
    }
    assert_eq!(names(directory.path()), ["link", "sub"]);
}

#[test]
fn unusual_names_are_names_and_never_two_lines() {
    let directory = directory();
    fs::create_dir(directory.path().join("x :")).unwrap();
    let long = "n".repeat(255);
    for name in ["./-", "a\nb", "./tcp:", "x ://y", "-o", "./--force", "ü\u{202e}", " ", long.as_str()] {
        let arguments = ["--machine", "demo", "dump", "-d4k", &format!("--output={name}"), &format!("-m{name}.m")];
        let arguments = if name == long { &arguments[..5] } else { &arguments[..] };
        let run = run(command().args(arguments).current_dir(directory.path())).ok();
        assert_eq!(run.lines().len(), 2, "{name:?}");
        assert_eq!(directory.path().join(name).metadata().unwrap().len(), 4096, "{name:?}");
    }
    let count = names(directory.path()).len();
    let raw = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    run(command().args(["--machine", "demo", "dump", "-d4k", "-o"]).arg(raw).current_dir(directory.path())).ok();
    assert!(directory.path().join(raw).exists());
    fs::remove_file(directory.path().join(raw)).unwrap();
    for name in ["ftp://host/x", "file:///x", "gopher://"] {
        demo(&["dump", "-d4k", "-o", name]).usage_error(&["tcp://HOST:PORT", &format!("./{name}")]);
    }
    for name in ["new/", "new/.", "..", "/", ""] {
        let arguments = ["--machine", "demo", "dump", "-d4k", "-o", name];
        let run = run(command().args(arguments).current_dir(directory.path()));
        if name.is_empty() {
            run.exits(2)
        } else {
            run.fails_saying(&["does not name a file"])
        };
    }
    run(command().args(["--machine", "demo", "dump", "-d4k", "-o", "/nowhere/x"]))
        .fails_saying(&["/nowhere", "No such file"]);
    demo(&["dump", "-d4k", "--manifest", "-"]).fails_saying(&["'-' is not allowed here", "./-"]);
    assert_eq!(names(directory.path()).len(), count);
}

// Options.

#[test]
fn options_that_contradict_each_other_are_usage_errors() {
    for (arguments, words) in [
        (&["--zstd", "--gzip"][..], ["--zstd", "--gzip"]),
        (&["--range", "0-1", "--segments", "x"], ["--range", "--segments"]),
        (&["--anywhere"], ["--range", "--segments"]),
        (&["--force"], ["--output", "--map"]),
        (&["--verify", "x"], ["missing", "--manifest"]),
        (&["--verify", "x", "--manifest", "y", "-o", "z"], ["--verify", "--output"]),
        (&["--verify", "x", "--manifest", "y", "-m", "z"], ["--verify", "--map"]),
        (&["--verify", "x", "--manifest", "y", "--force"], ["--verify", "--force"]),
        (&["--verify", "x", "--manifest", "y", "--list-segments"], ["--verify", "--list-segments"]),
        (&["--verify", "x", "--manifest", "y", "--range", "0-1"], ["--verify", "--range"]),
        (&["--verify", "x", "--manifest", "y", "--segments", "z"], ["--verify", "--segments"]),
        (&["--verify", "x", "--manifest", "y", "-k"], ["--verify", "--kmem"]),
        (&["--verify", "x", "--manifest", "y", "--zstd"], ["--verify", "--zstd"]),
        (&["--verify", "x", "--manifest", "y", "--gzip"], ["--verify", "--gzip"]),
        (&["--verify", "x", "--manifest", "y", "--strict"], ["--verify", "--strict"]),
        (&["--list-segments", "-o", "x"], ["--list-segments", "--output"]),
        (&["--list-segments", "-m", "x"], ["--list-segments", "--map"]),
        (&["--list-segments", "--manifest", "x"], ["--list-segments", "--manifest"]),
    ] {
        demo(&[&["dump"], arguments].concat()).usage_error(&words);
    }
    for level in ["0", "20", "-1", "", "x", "+3", "03", "256", "3.5"] {
        demo(&["dump", &format!("--zstd={level}")]).usage_error(&["--zstd", "from 1 to 19"]);
    }
    demo(&["dump", "--format", "vmcore"]).usage_error(&["--format", "raw, padded, elf, lime"]);
    memtool(&["--machine", "demo", "--device", "x", "dump"]).usage_error(&["--device", "--machine"]);
}

#[test]
fn bad_addresses_of_hosts_are_usage_errors_that_say_what_is_wrong() {
    for (address, words) in [
        ("tcp://", "port"),
        ("tcp://host", "port"),
        ("tcp://host:", "port"),
        ("tcp://:9999", "host"),
        ("tcp://host:0", "1 to 65535"),
        ("tcp://host:65536", "1 to 65535"),
        ("tcp://host:+80", "1 to 65535"),
        ("tcp://host:ssh", "1 to 65535"),
        ("tcp://::1:9999", "brackets"),
        ("tcp://[::1]", "port"),
        ("tcp://[::1:9999", "brackets"),
        ("tcp://[host]:9999", "IPv6"),
        ("tcp://user@host:9999", "host"),
        ("tcp://host:9999/file", "1 to 65535"),
        ("udp://host:9999", "tcp://HOST:PORT"),
    ] {
        demo(&["dump", "-o", address]).usage_error(&["--output", words]);
    }
}

// JSON, the manifest, and what cannot be read.

#[test]
fn json_tells_all_there_is_to_tell() {
    let directory = directory();
    let [target, manifest] = ["a\nb", "manifest"].map(|name| directory.path().join(name));
    let arguments = ["--json", "dump", "-d1m", "--zstd=19", "-o", text(&target)];
    let fields = "schema version host warnings input output format compression recipients space segments_from bytes_read size signature duration_seconds unreadable bytes_unreadable unreadable_unlisted_count";
    let report = demo(&arguments).ok().json();
    assert_eq!(keys(&report), set(fields));
    assert_eq!((&report["schema"], &report["version"]), (&json!("memtool.dump"), &json!(1)));
    assert_eq!((&report["host"], &report["output"]), (&json!("recorded"), &json!(text(&target))));
    assert_eq!((&report["format"], &report["compression"]), (&json!("raw"), &json!("zstd")));
    assert_eq!((&report["space"], &report["segments_from"]), (&json!("physical"), &json!("machdep.smap")));
    assert_eq!((&report["bytes_read"], &report["size"]), (&json!(1 << 20), &json!(target.metadata().unwrap().len())));
    let report = demo(&[&arguments[..], &["--force", "--manifest", text(&manifest)]].concat()).ok().json();
    let written: Value = schema::document(&fs::read(&manifest).unwrap());
    assert_eq!(report["sha256"], written["sha256"]);
    let verified = memtool(&["--json", "dump", "--verify", text(&target), "--manifest", text(&manifest)]).ok().json();
    assert_eq!(
        keys(&verified),
        set(
            "schema version host warnings input size sha256 signed_by trusted_comment matches custody_entry_count last_entry_sha256"
        )
    );
    assert_eq!((&verified["schema"], &verified["host"]), (&json!("memtool.dump.verify"), &json!("recorded")));
    assert_eq!((&verified["sha256"], &verified["matches"]), (&report["sha256"], &json!(true)));
}

#[test]
fn a_manifest_describes_what_was_written_wherever_that_was() {
    use sha2::Digest;
    let directory = directory();
    let mut machine = demo_machine();
    machine["unreadable"] = json!([{"start": "0x105000", "end": "0x107000"}]);
    let machine = write_machine(directory.path(), &machine);
    let [target, manifest] = ["dump", "manifest"].map(|name| directory.path().join(name));
    for destination in [text(&target), "-"] {
        for compression in ["--zstd", "--gzip", "-q"] {
            let run = on(
                &machine,
                &[
                    "dump",
                    "--range",
                    "0x100000-0x110000",
                    "-o",
                    destination,
                    compression,
                    "--force",
                    "--manifest",
                    text(&manifest),
                ],
            )
            .ok();
            let bytes = if destination == "-" { run.bytes } else { fs::read(&target).unwrap() };
            let manifest: Value = schema::document(&fs::read(&manifest).unwrap());
            assert_eq!((&manifest["schema"], &manifest["version"]), (&json!("memtool.manifest"), &json!(1)));
            assert_eq!((&manifest["host"], &manifest["system"]["hostname"]), (&json!("recorded"), &json!("demo")));
            assert_eq!((&manifest["input"], &manifest["page_size"]), (&json!(text(&machine)), &json!(4096)));
            assert_eq!((&manifest["bytes_read"], &manifest["bytes_unreadable"]), (&json!(0xe000), &json!(0x2000)));
            assert_eq!(manifest["unreadable"], json!([{"start": "0x105000", "end": "0x107000", "why": "EIO"}]));
            assert_eq!(manifest["segments"][0]["start"], "0x100000");
            assert_eq!(manifest["segments_from"], "the ranges given");
            let [started, finished] = ["started_at", "finished_at"].map(|time| manifest[time].as_str().unwrap());
            assert!(started.ends_with('Z') && started <= finished, "{started} {finished}");
            assert_eq!((&manifest["output"], &manifest["size"]), (&json!(destination), &json!(bytes.len())));
            let hash: String = sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(manifest["sha256"], hash, "{destination} {compression}");
        }
    }
}

#[test]
fn a_manifest_finds_every_change_of_its_dump() {
    let directory = directory();
    let [dump, manifest, other] = ["dump", "manifest", "other"].map(|name| directory.path().join(name));
    demo(&["dump", "-d", "100000", "-o", text(&dump), "--manifest", text(&manifest)]).ok();
    let verify =
        |dump: &Path, manifest: &Path| memtool(&["dump", "--verify", text(dump), "--manifest", text(manifest)]);
    let run = verify(&dump, &manifest).ok();
    assert!(run.stdout.contains("100000 bytes"), "{}", run.stdout);
    let whole = fs::read(&dump).unwrap();
    let mut flipped = whole.clone();
    flipped[99_999] ^= 1;
    for (bytes, words) in [
        (&flipped[..], "SHA-256"),
        (&whole[..99_999], "99999 bytes instead of 100000"),
        (b"", "0 bytes instead of 100000"),
        (&[&whole[..], b"x"].concat(), "longer than the recorded 100000 bytes"),
    ] {
        fs::write(&other, bytes).unwrap();
        verify(&other, &manifest).fails_saying(&["other", "does not match its manifest", words]);
    }
    verify(Path::new("/nowhere/x"), &manifest).fails_saying(&["/nowhere/x", "No such file"]);
    verify(directory.path(), &manifest).fails_saying(&["Is a directory"]);
    verify(&dump, Path::new("/nowhere/x")).fails_saying(&["/nowhere/x", "No such file"]);
    let good = fs::read_to_string(&manifest).unwrap();
    for (text, words) in [
        (String::new(), "EOF"),
        ("\0\0binary".to_owned(), "expected value"),
        (good[..good.len() / 2].to_owned(), "line"),
        (demo_machine().to_string(), "'memtool.machine'"),
        (json!({"schema": "memtool.manifest", "version": 2}).to_string(), "version 2"),
        (json!({"schema": "memtool.manifest", "version": 1}).to_string(), "missing field"),
        ("{}".to_owned(), "missing field `schema`"),
        ("[]".to_owned(), "line 1"),
    ] {
        fs::write(&other, text).unwrap();
        verify(&dump, &other).fails_saying(&["other", "not a usable manifest", words]);
    }
}

#[test]
fn strict_fails_over_unreadable_pages_and_keeps_the_dump() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["unreadable"] = json!([{"start": "0x105000", "end": "0x106000"}]);
    let machine = write_machine(directory.path(), &machine);
    let [dump, map, manifest] = ["dump", "map", "manifest"].map(|name| directory.path().join(name));
    let files = ["-o", text(&dump), "-m", text(&map), "--manifest", text(&manifest)];
    let run = on(&machine, &[&["dump", "--strict", "--range", "0x100000+64k"], &files[..]].concat()).exits(1);
    assert!(run.stderr.contains("warning: 4 KiB of RAM could not be read"), "{}", run.stderr);
    assert_eq!(dump.metadata().unwrap().len(), 0xf000);
    assert_eq!(fs::read_to_string(&map).unwrap(), "0x100000 0x105000\n0x106000 0x110000\n");
    assert!(manifest.exists());
    on(&machine, &["dump", "--strict", "--range", "0x100000+16k"]).ok();
    on(&machine, &["dump", "--strict", "--range", "0x100000+64k"]).exits(1);
    assert_eq!(
        on(&machine, &["--json", "dump", "--strict", "--range", "0x100000+64k", "--force", "-o", text(&dump)])
            .exits(1)
            .json()["bytes_unreadable"],
        4096
    );
    // Of nothing at all there is no dump.
    fs::remove_file(&dump).unwrap();
    on(&machine, &["dump", "--range", "0x105000+4k", "-o", text(&dump)]).fails_saying(&["none of the RAM can be read"]);
    assert!(!dump.exists());
}

// Progress.

#[test]
fn a_terminal_shows_how_far_the_dump_is() {
    let pty = crate::common::terminal(None);
    let (mut pipe, writer) = std::io::pipe().unwrap();
    let running =
        start_with_stderr(command().args(["--machine", "demo", "dump", "-d4m"]).stdout(writer).stderr(pty.slave));
    let mut terminal = fs::File::from(pty.master);
    // The pipe is not read, so the dump is on its way for as long as it takes.
    let line = read_until(&mut terminal, " left");
    assert!(line.contains("copying: ") && line.contains(" of 4.0 MiB (") && line.contains("B/s, "), "{line}");
    pipe.read_to_end(&mut Vec::new()).unwrap();
    running.end().ok();
    let mut rest = String::new();
    let _ = terminal.read_to_string(&mut rest);
    let (line, said) = rest.rsplit_once("\r\x1b[K").unwrap_or_else(|| panic!("the line stays: {rest:?}"));
    assert!(!line.contains('\n') && said == "memtool: the machine is recorded\r\n", "{rest:?}");
}

#[test]
fn an_interruption_is_told_on_a_line_of_its_own() {
    let pty = crate::common::terminal(None);
    let (_pipe, writer) = std::io::pipe().unwrap();
    let running = start_with_stderr(command().args(["--machine", "demo", "dump"]).stdout(writer).stderr(pty.slave));
    let mut terminal = fs::File::from(pty.master);
    read_until(&mut terminal, " left");
    running.signal(Signal::SIGINT);
    let rest = read_until(&mut terminal, "\n");
    assert!(rest.contains("\r\x1b[Kmemtool: SIGINT: the dump is not complete (while copying)"), "{rest:?}");
    running.end().exits(130);
}

#[test]
fn forty_columns_hold_the_line_and_its_phase() {
    let size = nix::pty::Winsize { ws_row: 24, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = crate::common::terminal(Some(&size));
    let (_pipe, writer) = std::io::pipe().unwrap();
    let mut dump = command();
    dump.args(["--machine", "demo", "dump", "--gzip", "--format=lime"])
        .env("TERM", "xterm")
        .stdout(writer)
        .stderr(pty.slave);
    let running = start_with_stderr(&mut dump);
    let shown = read_until(fs::File::from(pty.master), "\r\x1b[Kcompressing: ");
    assert!(!shown.contains('\n'), "{shown:?}");
    let lines = shown.split("\r\x1b[K");
    assert!(lines.clone().all(|line| line.chars().count() < 40), "{shown:?}");
    running.signal(Signal::SIGTERM);
    drop(running);
}

#[test]
fn nothing_but_a_terminal_shows_progress() {
    let (mut pipe, writer) = std::io::pipe().unwrap();
    let running = start(command().args(["--machine", "demo", "dump", "-d4m", "--format", "lime"]).stdout(writer));
    pipe.read_exact(&mut [0]).unwrap();
    // Longer than it takes a terminal's line to come.
    std::thread::sleep(std::time::Duration::from_millis(700));
    pipe.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(running.end().ok().of_recording().stderr, "");
}

#[test]
fn a_signal_asks_how_far_the_dump_is_and_does_not_end_it() {
    #[cfg(target_os = "freebsd")]
    let signal = Signal::SIGINFO;
    #[cfg(not(target_os = "freebsd"))]
    let signal = Signal::SIGUSR1;
    for arguments in [&["--range=0x100000+4m"][..], &["--range=0x100000+4m", "-q"]] {
        let (mut pipe, writer) = std::io::pipe().unwrap();
        let (mut lines, stderr) = std::io::pipe().unwrap();
        let running = start_with_stderr(
            command().args(["--machine", "demo", "dump"]).args(arguments).stdout(writer).stderr(stderr),
        );
        pipe.read_exact(&mut [0]).unwrap();
        for _ in 0..2 {
            running.signal(signal);
            let line = read_until(&mut lines, "\n");
            assert!(line.starts_with("memtool: ") && line.contains(" of 4.0 MiB ("), "{line}");
        }
        let mut rest = Vec::new();
        pipe.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.len(), (4 << 20) - 1);
        running.end().ok();
    }
}
