//! `memtool dump`: RAM and nothing but RAM, in order, with a map that is true.

use crate::common::small::{SMALL, bytes, map_text, small_machine, without};
use crate::common::{command, demo, demo_machine, directory, failing, memtool, names, on, text, write_machine};
use memtool::compress::Compression;
use memtool::dump::DumpOptions;
use memtool::dump::destination::{Destination, MapDestination};
use memtool::dump::job::{Companion, JobOptions};
use memtool::dump::manifest::Manifest;
use memtool::dump::source::{DumpRequest, DumpSource};
use memtool::encryption::Recipients;
use memtool::host::recorded::Recorded;
use serde_json::json;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::rc::Rc;
use vmcore::format::{Format, Space};

/// What memdump(1)'s map says of the demo machine: its RAM.
const DEMO_MAP: &str = "0x0 0x9fc00\n0x100000 0xffda000\n0x100000000 0x108000000\n";

#[test]
fn the_segments_follow_each_other_and_the_map_says_so() {
    let directory = directory();
    let machine = write_machine(directory.path(), &small_machine());
    let run = on(&machine, &["dump", "-m-"]).ok();
    assert!(run.bytes == bytes(&SMALL));
    assert_eq!(run.stderr, map_text(&SMALL));
}

#[test]
fn the_library_dumps_as_the_command_does() {
    let directory = directory();
    let machine = write_machine(directory.path(), &small_machine());
    let source = || DumpSource::Host(Rc::new(Recorded::open(&machine).unwrap()));
    let request = DumpRequest { space: Space::Physical, ranges: None, page_size: None, limit: None };
    let plan = source().plan(request).unwrap();
    let [dump, map, manifest] = ["dump", "map", "manifest"].map(|name| directory.path().join(name));
    let mut options = DumpOptions {
        format: Format::Raw,
        buffer_size: 1 << 20,
        device: "/dev/mem".into(),
        output: JobOptions {
            destination: Destination::File(dump.clone()),
            compression: Compression::None,
            recipients: Recipients::nobody(),
            remote: memtool::remote::Settings::default(),
            map: Some(MapDestination::File(map.clone())),
            companion: Some(Companion::Manifest(manifest.clone())),
            custody: None,
            check_space: true,
            replace: false,
        },
        signing_key: None,
    };
    let dumped = memtool::dump::dump(source(), &plan, &options, &mut ()).unwrap();
    assert_eq!((dumped.host, dumped.report.read), ("recorded", bytes(&SMALL).len() as u64));
    assert!(std::fs::read(&dump).unwrap() == bytes(&SMALL));
    assert_eq!(std::fs::read_to_string(&map).unwrap(), map_text(&SMALL));
    Manifest::read(&manifest).unwrap().verify(&dump, &mut ()).unwrap();
    // Names are checked before anything is read, and nothing is left of a dump that was not made.
    let again = memtool::dump::dump(source(), &plan, &options, &mut ()).unwrap_err();
    assert!(again.to_string().contains("already exists"), "{again}");
    options.output.replace = true;
    options.output.map = Some(MapDestination::File(dump));
    let one = memtool::dump::dump(source(), &plan, &options, &mut ()).unwrap_err();
    assert!(one.to_string().contains("cannot be the same file"), "{one}");
    assert_eq!(names(directory.path()).len(), 4);
}

#[test]
fn the_buffer_size_makes_no_difference() {
    let directory = directory();
    let machine = write_machine(directory.path(), &small_machine());
    for size in ["1", "4k", "5000", "64K", "1m", "0x100000", "16m"] {
        let run = on(&machine, &["dump", "-b", size]).ok();
        assert!(run.bytes == bytes(&SMALL), "-b {size}");
    }
    for size in ["0x1000001", "17m", "16777215t"] {
        on(&machine, &["dump", "-b", size]).usage_error(&["a size from 1 to 16m"]);
    }
    for size in ["", "-1", "1x", "18446744073709551616", "0x"] {
        on(&machine, &["dump", &format!("--buffer={size}")]).usage_error(&["--buffer"]);
    }
}

#[test]
fn a_large_buffer_loses_no_page_around_one_that_cannot_be_read() {
    let directory = directory();
    // Whole pages, part of a page, neighbours, the first page and the last one.
    let holes =
        [(0x1004, 0x2000), (0x5000, 0x6000), (0x10_3000, 0x10_5000), (0x10_6000, 0x10_7000), (0x1f_e000, 0x1f_f000)];
    let mut machine = small_machine();
    machine["unreadable"] =
        holes.iter().map(|(start, end)| json!({"start": format!("{start:#x}"), "end": format!("{end:#x}")})).collect();
    let machine = write_machine(directory.path(), &machine);
    let left = without(&SMALL, &holes);
    for size in ["4k", "8k", "64k", "1m"] {
        let map = directory.path().join(format!("map-{size}"));
        let run = on(&machine, &["dump", "-b", size, "-m", text(&map)]).ok();
        assert!(run.bytes == bytes(&left), "-b {size}");
        assert_eq!(std::fs::read_to_string(&map).unwrap(), map_text(&left), "-b {size}");
        for (start, end) in holes {
            assert!(run.stderr.contains(&format!("{start:#x}..{end:#x} cannot be read")), "{}", run.stderr);
        }
        let total: u64 = holes.iter().map(|(start, end)| end - start).sum();
        assert!(run.stderr.contains(&format!("{total} B of RAM could not be read")), "{}", run.stderr);
    }
}

#[test]
fn part_of_a_page_that_can_be_read_is_dumped() {
    let directory = directory();
    let mut machine = small_machine();
    machine["unreadable"] = json!([{"start": "0x5800", "end": "0x5900"}]);
    let machine = write_machine(directory.path(), &machine);
    let run = on(&machine, &["dump", "-m-", "-q"]).ok();
    let left = without(&SMALL, &[(0x5800, 0x6000)]);
    // That memory is missing is said even with -q.
    assert_eq!(run.stderr, map_text(&left) + "memtool: warning: 2 KiB of RAM could not be read\n");
    assert!(run.bytes == bytes(&left));
}

#[test]
fn a_file_appears_whole_for_its_owner_only_with_its_map() {
    let directory = directory();
    let (file, map) = (directory.path().join("ram"), directory.path().join("map"));
    let run = demo(&["dump", "-o", text(&file), "-m", text(&map)]).ok();
    assert!(run.stdout.contains("machdep.smap"), "{}", run.stdout);
    assert_eq!(std::fs::read_to_string(&map).unwrap(), DEMO_MAP);
    let metadata = file.metadata().unwrap();
    assert_eq!((metadata.len(), metadata.mode() & 0o7777), (0x9_fc00 + 0xfed_a000 + 0x800_0000, 0o600));
    assert_eq!(directory.path().read_dir().unwrap().count(), 2);
    demo(&["dump", "-o", text(&file)]).fails_saying(&["already exists"]);
    demo(&["dump", "-o", text(&directory.path().join("new")), "-m", text(&map)]).fails_saying(&["already exists"]);
    demo(&["dump", "-q", "--force", "-d", "4m", "-o", text(&file), "-m", text(&map)]).ok();
    assert_eq!(file.metadata().unwrap().len(), 4 << 20);
    assert_eq!(directory.path().read_dir().unwrap().count(), 2);
}

#[test]
fn what_a_name_stands_for_is_said_before_the_room_there() {
    let directory = directory();
    let (image, taken) = (directory.path().join("image"), directory.path().join("taken"));
    // More than any file system has free.
    std::fs::File::create(&image).unwrap().set_len(1 << 43).unwrap();
    std::fs::write(&taken, "").unwrap();
    let dump = |output: &[&str]| memtool(&[&["--device", text(&image), "dump"], output].concat());
    let new = directory.path().join("new");
    dump(&["-o", text(&new)]).fails_saying(&["does not fit"]);
    dump(&["-o", text(&taken)]).fails_saying(&["already exists"]);
    dump(&["-o", "/dev/null"]).fails_saying(&["not a regular file"]);
    dump(&["-o", text(&new), "-m", text(&taken)]).fails_saying(&["already exists"]);
    dump(&["-o", text(&new), "--manifest", text(&taken)]).fails_saying(&["already exists"]);
}

#[test]
fn memory_none_of_which_can_be_read_is_no_dump_and_the_reason_is_given() {
    let directory = directory();
    let mut machine = small_machine();
    machine["unreadable"] = json!([{"start": "0x10000", "end": "0x11000"}]);
    machine["memory"]["segments"] = json!([{"start": "0x10000", "end": "0x11000", "domain": 0}]);
    let machine = write_machine(directory.path(), &machine);
    let target = directory.path().join("out");
    on(&machine, &["dump", "-q", "-o", text(&target)]).fails_saying(&["none of the RAM can be read (EIO)"]);
    assert!(!target.exists());
}

#[test]
fn json_describes_the_dump_and_needs_a_file() {
    let directory = directory();
    let mut machine = small_machine();
    machine["unreadable"] = json!([{"start": "0x5000", "end": "0x6000"}]);
    let machine = write_machine(directory.path(), &machine);
    let file = directory.path().join("ram");
    let report = on(&machine, &["--json", "dump", "-o", text(&file)]).ok().json();
    assert_eq!(report["schema"], "memtool.dump");
    assert_eq!(report["host"], "recorded");
    assert_eq!(report["size"], file.metadata().unwrap().len());
    assert_eq!(report["unreadable"], json!([{"start": "0x5000", "end": "0x6000", "size": 4096, "why": "EIO"}]));
    assert_eq!(report["bytes_unreadable"], 4096);
    on(&machine, &["--json", "dump"]).usage_error(&["cannot share standard output", "give a file"]);
}

#[test]
fn an_image_is_replayed_byte_for_byte_packed_and_padded() {
    let directory = directory();
    let content: Vec<u8> = (0..0xb000 - 0x1004 + 0xf_f000u64).map(|i| (i * 7 + i / 251).to_le_bytes()[0]).collect();
    std::fs::write(directory.path().join("packed.img"), &content).unwrap();
    let padded = std::fs::File::create(directory.path().join("padded.img")).unwrap();
    let first = 0xb000 - 0x1004;
    padded.write_all_at(&content[..first], 0x1004).unwrap();
    padded.write_all_at(&content[first..], 0x10_0000).unwrap();
    for layout in ["packed", "padded"] {
        let mut machine = small_machine();
        machine["contents"] = json!({"image": {"path": format!("{layout}.img"), "layout": layout}});
        let run = on(&write_machine(directory.path(), &machine), &["dump"]).ok();
        assert!(run.bytes == content, "{layout}");
    }
}

#[test]
fn a_raw_dump_that_lacks_its_addresses_is_warned_of_before_it_is_made() {
    let directory = directory();
    let machine = write_machine(directory.path(), &small_machine());
    let [dump, map, manifest, list] = ["ram", "map", "manifest", "list"].map(|name| directory.path().join(name));
    let [dump, map, manifest, list] = [&dump, &map, &manifest, &list].map(|path| text(path));
    std::fs::write(list, map_text(&SMALL)).unwrap();
    let (start, end) = SMALL[1];
    let (first, second) = (format!("{start:#x}-{end:#x}"), format!("{:#x}-{:#x}", SMALL[0].0, SMALL[0].1));
    let output = ["-f", "-o", dump];
    let says_where = |arguments: &[&str]| {
        let run = on(&machine, &[&["--json", "dump"], &output[..], arguments].concat()).ok();
        let document = run.json();
        let is_silent = document["warnings"].as_array().unwrap().is_empty();
        assert_eq!(run.stderr.contains("warning: this raw dump will not say"), !is_silent, "{arguments:?}");
        is_silent
    };
    let others = [
        vec!["-m", map],
        vec!["--manifest", manifest],
        vec!["--format", "elf"],
        vec!["--format", "lime"],
        vec!["--format", "padded"],
        vec!["--segments", list],
        vec!["--range", &first],
    ];
    assert!(others.iter().all(|arguments| says_where(arguments)), "{others:?}");
    assert!(!says_where(&[]) && !says_where(&["--zstd"]) && !says_where(&["--range", &first, "--range", &second]));

    let run = on(&machine, &["dump", "-o", dump, "-f"]).ok();
    assert!(run.stderr.contains("without the gaps between them; --format elf or lime records"), "{}", run.stderr);
    // It is said although nothing comes of the dump, because it is said before the dump is made.
    let run = on(&machine, &["dump", "-o", "tcp://127.0.0.1:1"]);
    assert!(run.code == 1 && run.stderr.contains("will not say which address"), "{}", run.stderr);
    assert_eq!(on(&machine, &["-q", "dump", "-f", "-o", dump]).ok().stderr, "");
}

#[test]
fn a_dump_of_one_segment_from_0_needs_no_map() {
    let directory = directory();
    let image = directory.path().join("image");
    std::fs::write(&image, vec![1; 8192]).unwrap();
    let dump = |arguments: &[&str]| memtool(&[&["--device", text(&image), "dump"], arguments].concat()).ok().stderr;
    assert_eq!(dump(&[]), "");
    assert_eq!(dump(&["--range", "0x1000+4k"]), "");
    assert!(dump(&["--range", "0+1k", "--range", "0x1000+1k"]).contains("it is 2 ranges without the gaps"));
}

#[test]
fn a_map_that_leaves_memory_out_is_warned_of() {
    let directory = directory();
    let mut machine = small_machine();
    machine["memory"]["source"] = json!("vm.phys_segs");
    let machine = write_machine(directory.path(), &machine);
    let run = on(&machine, &["dump"]).ok();
    assert!(run.stderr.contains("vm.phys_segs, which omits"), "{}", run.stderr);
    assert_eq!(on(&machine, &["dump", "-q"]).ok().stderr, "");
}

#[test]
fn a_terminal_gets_no_dump() {
    let pty = crate::common::terminal(None);
    let output = command()
        .args(["--machine", "demo", "dump"])
        .stdout(std::process::Stdio::from(pty.slave))
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("not written to a terminal"));
}

#[test]
fn a_closed_pipe_is_an_error_with_a_message() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command()
        .args(["--machine", "demo", "dump"])
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("cannot write the dump") && stderr.contains("Broken pipe"), "{stderr}");
}

#[test]
fn interrupting_a_dump_into_a_slow_pipe_works_at_once() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child = command()
        .args(["--machine", "demo", "dump"])
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The pipe fills up and nobody reads on: the first byte shows that the dump has begun.
    let mut reader = reader;
    std::io::Read::read_exact(&mut reader, &mut [0]).unwrap();
    crate::common::send_signal(&child, nix::sys::signal::Signal::SIGINT);
    let status = crate::common::wait(&mut child).expect("the signal did not end it");
    assert_eq!(crate::common::code(status), 130);
}

#[test]
fn a_refused_read_or_open_is_explained() {
    let directory = directory();
    for (operation, errno, words) in [
        ("open", "EACCES", "group kmem"),
        ("open", "EPERM", "jail"),
        ("open", "ENOENT", "device mem"),
        ("read", "EFAULT", "physical memory"),
        ("sysctl", "EPERM", "sysctl"),
    ] {
        let machine = write_machine(directory.path(), &failing(&demo_machine(), operation, errno));
        let target = directory.path().join("out");
        on(&machine, &["dump", "-o", text(&target)]).fails_saying(&[errno, words]);
        assert!(!target.exists());
    }
}

#[test]
fn usage_errors_exit_with_2() {
    memtool(&["--machine", "demo", "dump", "--force"]).usage_error(&["--output"]);
    memtool(&["--machine", "demo", "dump", "extra"]).usage_error(&["extra"]);
}
