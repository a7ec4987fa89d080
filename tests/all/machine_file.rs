//! Files of recorded machines that are broken or hostile, and what every command promises about its arguments
//! and its standard output.

use crate::common::{
    Run, command, demo, demo_machine, directory, memtool, on, run, schema, text, write_file, write_machine,
};
use memtool::host::recorded::Recorded;
use memtool::host::{self, Selection};
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The smallest machine that has everything.
fn small_machine() -> Value {
    json!({
        "schema": "memtool.machine",
        "version": 1,
        "system": {
            "osreldate": 1_402_000,
            "version": "FreeBSD 14.2-RELEASE",
            "machine_arch": "amd64",
            "page_size": 4096,
            "domains": 1,
            "processors": 1,
            "physical_memory": 0x40_0000,
            "hostname": "small",
        },
        "memory": {
            "source": "machdep.smap",
            "segments": [
                { "start": "0x0", "end": "0x9fc00", "domain": null },
                { "start": "0x100000", "end": "0x800000", "domain": 0 },
            ],
            "reserved": [{ "start": "0x9fc00", "end": "0xa0000", "kind": "reserved" }],
        },
        "contents": { "pattern": "address" },
        "unreadable": [{ "start": "0x300000", "end": "0x301000" }],
        "ranges": {
            "physical_bits": 36,
            "descriptors": [
                { "base": "0x0", "length": "0x2000000", "flags": ["write-back", "active"], "owner": "BIOS" },
                { "base": "0x0", "length": "0x1000000000", "flags": ["uncacheable"], "owner": "" },
            ],
        },
        "kernel_maps": [{
            "start": "0xffffffff80200000",
            "end": "0xffffffff80400000",
            "permissions": "rw-sg",
            "cache": "WB",
            "pages": [0, 1, 0],
            "region": "Kernel map",
        }],
        "process": {
            "policy": "first-touch",
            "mappings": [{ "start": "0x200000", "end": "0x201000", "paddr": "0x400000" }],
        },
        "errors": { "mlock": "ENOMEM" },
    })
}

/// The error line of a machine's file: it names the file, and says what is wrong.
#[track_caller]
fn refused(path: &Path, problem: &str) -> Run {
    on(path, &["ranges", "list"]).fails_saying(&[text(path), problem])
}

/// Sets the value at a path such as `/memory/segments/0/end`; makes the last step if it is not there.
fn with(machine: &Value, pointer: &str, value: Value) -> Value {
    let mut machine = machine.clone();
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    match machine.pointer_mut(parent).unwrap() {
        Value::Array(list) => list[last.parse::<usize>().unwrap()] = value,
        object => object[last] = value,
    }
    machine
}

#[test]
fn the_small_machine_is_a_good_one() {
    let directory = directory();
    let file = write_machine(directory.path(), &small_machine());
    on(&file, &["ranges", "list"]).ok();
    on(&file, &["paddr", "0x200000"]).ok();
    assert_eq!(on(&file, &["record", "-"]).ok().json(), small_machine());
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let directory = directory();
    let whole = serde_json::to_vec(&demo_machine()).unwrap();
    let whole = whole.trim_ascii_end();
    let step = whole.len() / 40;
    let ends = (0..whole.len()).step_by(step).chain([1, 2, whole.len() - 2, whole.len() - 1]);
    for end in ends {
        let file = write_file(directory.path(), &whole[..end]);
        refused(&file, "line");
    }
    on(&write_file(directory.path(), whole), &["ranges", "list"]).ok();
}

#[test]
fn what_is_no_json_object_of_a_machine_is_refused() {
    let directory = directory();
    let nested = "[".repeat(200_000);
    let nested_object = "{\"schema\":".repeat(200_000);
    let cases: [(&[u8], &str); 14] = [
        (b"", "EOF"),
        (b"\n\n", "EOF"),
        (b"not json", "line 1"),
        (b"{}", "missing field"),
        (b"[]", "line 1"),
        (b"null", "line 1"),
        (b"42", "line 1"),
        (b"\"demo\"", "line 1"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0", "line 1"),
        (b"{\"schema\": \"\xff\xfe\"}", "line 1"),
        (b"\xef\xbb\xbf{}", "line 1"),
        (b"{\"schema\":\"memtool.machine\",\"schema\":\"memtool.machine\"}", "duplicate field"),
        (nested.as_bytes(), "line 1"),
        (nested_object.as_bytes(), "line 1"),
    ];
    for (bytes, problem) in cases {
        refused(&write_file(directory.path(), bytes), problem);
    }
    // Something behind the object.
    let mut twice = serde_json::to_vec(&small_machine()).unwrap();
    twice.extend_from_slice(b"{}");
    refused(&write_file(directory.path(), &twice), "trailing");
}

#[test]
fn a_value_that_cannot_be_is_refused_and_what_is_wrong_is_named() {
    let directory = directory();
    let mapping = |start: &str, end: &str, paddr: &str| json!([{ "start": start, "end": end, "paddr": paddr }]);
    for (pointer, value, problem) in [
        ("/schema", json!("other.machine"), "schema"),
        ("/schema", json!(1), "line"),
        ("/version", json!(0), "version"),
        ("/version", json!(2), "version"),
        ("/version", json!(-1), "-1"),
        ("/version", json!(4_294_967_296_u64), "4294967296"),
        ("/version", json!("1"), "string"),
        ("/unknown", json!(1), "unknown field `unknown`"),
        ("/system/unknown", json!(1), "unknown field `unknown`"),
        ("/memory/unknown", json!(1), "unknown field `unknown`"),
        ("/memory/segments/0/unknown", json!(1), "unknown field `unknown`"),
        ("/ranges/unknown", json!(1), "unknown field `unknown`"),
        ("/ranges/descriptors/0/unknown", json!(1), "unknown field `unknown`"),
        ("/process/unknown", json!(1), "unknown field `unknown`"),
        ("/process/mappings/0/unknown", json!(1), "unknown field `unknown`"),
        ("/kernel_maps/0/unknown", json!(1), "unknown field `unknown`"),
        ("/system", json!(null), "null"),
        ("/system/page_size", json!(0), "page_size"),
        ("/system/page_size", json!(3), "page_size"),
        ("/system/page_size", json!(2048), "page_size"),
        ("/system/page_size", json!(12288), "page_size"),
        ("/system/page_size", json!(2_147_483_648_u32), "page_size"),
        ("/system/page_size", json!(1_u64 << 32), "4294967296"),
        ("/system/page_size", json!(-4096), "-4096"),
        ("/system/page_size", json!(4096.5), "4096.5"),
        ("/system/osreldate", json!(1e300), "line"),
        ("/system/physical_memory", json!(-1), "-1"),
        ("/memory/source", json!("hw.physmem"), "hw.physmem"),
        ("/memory/segments", json!({}), "line"),
        ("/memory/segments/0/start", json!(0), "line"),
        ("/memory/segments/0/start", json!("-1"), "-1"),
        ("/memory/segments/0/start", json!("0xg"), "0xg"),
        ("/memory/segments/0/start", json!("0x10000000000000000"), "64 bits"),
        ("/memory/segments/0/start", json!(""), "number"),
        ("/memory/segments/0/end", json!("0x0"), "segment 0"),
        ("/memory/segments/1/end", json!("0x1"), "segment 1"),
        ("/memory/segments/1/start", json!("0x9f000"), "segment 1"),
        ("/memory/segments/0/end", json!("0x100001"), "segment 1"),
        ("/memory/segments/1/domain", json!(-1), "-1"),
        ("/memory/reserved/0/end", json!("0x9fc00"), "reserved range 0"),
        ("/unreadable/0/end", json!("0x300000"), "unreadable"),
        ("/unreadable/0/start", json!("0xffffffffffffffff"), "unreadable"),
        ("/contents", json!({ "pattern": "zeros" }), "zeros"),
        ("/contents", json!({ "pattern": "address", "image": { "path": "x" } }), "line"),
        ("/contents", json!({ "image": {} }), "path"),
        ("/contents", json!({ "image": { "path": "x", "layout": "elf" } }), "elf"),
        ("/ranges/physical_bits", json!(-1), "-1"),
        ("/ranges/physical_bits", json!(4_294_967_296_u64), "4294967296"),
        ("/ranges/descriptors/0/flags", json!(["cached"]), "cached"),
        ("/ranges/descriptors/0/flags", json!("active"), "line"),
        ("/ranges/descriptors/0/flags", json!(["0x100000000"]), "0x100000000"),
        ("/ranges/descriptors/0/owner", json!("12345678"), "7 bytes"),
        ("/ranges/descriptors/0/owner", json!("a\u{1b}[2J"), "control"),
        ("/ranges/descriptors/0/base", json!(null), "null"),
        ("/process/policy", json!("interleave"), "interleave"),
        ("/process/mappings", mapping("0x201000", "0x200000", "0x0"), "mapping 0"),
        ("/process/mappings", mapping("0x200000", "0x200000", "0x0"), "mapping 0"),
        ("/process/mappings", mapping("0x200001", "0x201000", "0x0"), "mapping 0"),
        ("/process/mappings", mapping("0x200000", "0x201001", "0x0"), "mapping 0"),
        ("/process/mappings", mapping("0x200000", "0x201000", "0x1"), "mapping 0"),
        ("/process/mappings", mapping("0x200000", "0x202000", "0xfffffffffffff000"), "mapping 0"),
        ("/errors", json!({ "close": "EIO" }), "'close'"),
        ("/errors", json!({ "mlock": "EWHATEVER" }), "'EWHATEVER'"),
        ("/errors", json!({ "mlock": "" }), "errors"),
        ("/errors", json!({ "": "EIO" }), "errors"),
        ("/errors", json!({ "mlock": 12 }), "12"),
        ("/errors", json!(["mlock"]), "line"),
    ] {
        refused(&write_machine(directory.path(), &with(&small_machine(), pointer, value)), problem);
    }
}

#[test]
fn a_kernel_mapping_that_ends_before_it_begins_is_refused() {
    let directory = directory();
    for end in ["0xffffffff80200000", "0xffffffff801ff000", "0xffffffff00000000", "0x1"] {
        let machine = with(&small_machine(), "/kernel_maps/0/end", json!(end));
        refused(&write_machine(directory.path(), &machine), "kernel_maps");
    }
    // 0 is the end of the address space.
    let machine = with(&small_machine(), "/kernel_maps/0/end", json!("0x0"));
    on(&write_machine(directory.path(), &machine), &["ranges", "list"]).ok();
}

#[test]
fn an_address_width_that_no_processor_has_is_refused() {
    let directory = directory();
    for bits in [0, 31, 53, 64, 200] {
        let machine = with(&small_machine(), "/ranges/physical_bits", json!(bits));
        refused(&write_machine(directory.path(), &machine), "physical_bits");
    }
}

#[test]
fn a_missing_part_is_named() {
    let directory = directory();
    for field in ["schema", "version", "system", "memory", "ranges"] {
        let mut machine = small_machine();
        machine.as_object_mut().unwrap().remove(field);
        refused(&write_machine(directory.path(), &machine), &format!("`{field}`"));
    }
    // These have a meaning when they are absent.
    for field in ["contents", "unreadable", "kernel_maps", "process", "errors"] {
        let mut machine = small_machine();
        machine.as_object_mut().unwrap().remove(field);
        on(&write_machine(directory.path(), &machine), &["ranges", "list"]).ok();
    }
}

#[test]
fn more_entries_than_any_machine_has_are_refused() {
    let directory = directory();
    let many = |value: Value| Value::Array(vec![value; 5000]);
    let segments =
        (0..5000).map(|i| json!({ "start": format!("{:#x}", i * 8192), "end": format!("{:#x}", i * 8192 + 4096) }));
    for (pointer, value, problem) in [
        ("/ranges/descriptors", many(small_machine()["ranges"]["descriptors"][0].clone()), "descriptors"),
        ("/process/mappings", many(small_machine()["process"]["mappings"][0].clone()), "mappings"),
        ("/unreadable", many(small_machine()["unreadable"][0].clone()), "unreadable"),
        ("/memory/segments", segments.collect(), "segments"),
    ] {
        refused(&write_machine(directory.path(), &with(&small_machine(), pointer, value)), problem);
    }
}

#[test]
fn a_file_that_no_machine_fills_is_not_read() {
    let directory = directory();
    let big = directory.path().join("big");
    File::create(&big).unwrap().set_len(100 << 20).unwrap();
    refused(&big, "larger than");
    // White space is JSON, and still too much.
    let spaces = directory.path().join("spaces");
    let mut file = File::create(&spaces).unwrap();
    let block = vec![b' '; 1 << 20];
    (0..70).for_each(|_| file.write_all(&block).unwrap());
    refused(&spaces, "larger than");
}

#[test]
fn what_is_no_regular_file_is_refused_and_does_not_hang() {
    let directory = directory();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let dangling = directory.path().join("dangling");
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    let cycle = directory.path().join("cycle");
    std::os::unix::fs::symlink("cycle", &cycle).unwrap();
    let inside = write_file(directory.path(), b"{}").join("inside");
    for (path, problem) in [
        (directory.path(), "not a regular file"),
        (fifo.as_path(), "not a regular file"),
        (Path::new("/dev/null"), "not a regular file"),
        (Path::new("/dev/zero"), "not a regular file"),
        (dangling.as_path(), "No such file"),
        (cycle.as_path(), "symbolic links"),
        (inside.as_path(), "Not a directory"),
        (Path::new("/nonexistent"), "No such file"),
    ] {
        refused(path, problem);
        // An error is found before anything is written, whatever the command.
        let output = directory.path().join("output");
        for arguments in [&["dump", "-o", text(&output)][..], &["livedump", text(&output)], &["record", text(&output)]]
        {
            on(path, arguments).fails_saying(&[text(path), problem]);
            assert!(!output.exists());
        }
    }
    on(Path::new(""), &["ranges", "list"]).usage_error(&["--machine"]);
}

#[test]
fn text_of_a_hostile_file_does_not_reach_the_terminal_as_control_characters() {
    let directory = directory();
    let evil = "\u{1b}[2J\nmemtool: all is well\r\u{7}";
    let mut machines = vec![
        with(&small_machine(), "/schema", json!(evil)),
        with(&small_machine(), "/errors", json!({ "mlock": evil })),
        with(&small_machine(), "/errors", json!({ evil: "EIO" })),
        with(&small_machine(), "/ranges/descriptors/0/flags", json!([evil])),
        with(&small_machine(), "/ranges/descriptors/0/owner", json!("\u{1b}[2J")),
        with(&small_machine(), "/memory/source", json!(evil)),
        with(&small_machine(), "/memory/segments/0/start", json!(evil)),
        with(&small_machine(), "/process/policy", json!(evil)),
    ];
    let mut unknown_field = small_machine();
    unknown_field[evil] = json!(1);
    machines.push(unknown_field);
    let mut problems = Vec::new();
    for machine in machines {
        let file = write_machine(directory.path(), &machine);
        let run = on(&file, &["ranges", "list"]).exits(1);
        let line = run.stderr.strip_suffix('\n').unwrap();
        if line.chars().any(char::is_control) {
            problems.push(line.to_owned());
        }
    }
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn text_of_a_hostile_machine_is_printed_harmlessly() {
    let directory = directory();
    let machine = with(&small_machine(), "/memory/reserved/0/kind", json!("\u{1b}]0;title\u{7}\nRAM"));
    let file = write_machine(directory.path(), &machine);
    // Whether it is printed or refused.
    for format in [&[][..], &["--json"]] {
        let run = on(&file, &[&["ranges", "explain", "0x9fc00"], format].concat());
        let shown = format!("{}{}", run.stdout, run.stderr).replace('\n', "");
        assert!(!shown.chars().any(char::is_control), "{run:?}");
        assert!(run.stdout.lines().all(|line| !line.starts_with("RAM")), "{run:?}");
    }
}

/// Runs in the library, for as many variants of the file as there are values in it.
#[test]
fn no_single_value_of_the_file_makes_memtool_panic() {
    let directory = directory();
    let machine = small_machine();
    let mut pointers = Vec::new();
    collect_pointers(&machine, String::new(), &mut pointers);
    assert!(pointers.len() > 60, "{pointers:?}");
    let hostile = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(3),
        json!(64),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("0"),
        json!("0x1"),
        json!("0xfff"),
        json!("0x7fffffffffffffff"),
        json!("0xfffffffffffff000"),
        json!("0xffffffffffffffff"),
        json!("18446744073709551616"),
        json!("amd64"),
        json!([]),
        json!({}),
    ];
    let path = directory.path().join("machine");
    let dump = directory.path().join("dump");
    let (mut accepted, mut panicked) = (0, Vec::new());
    for pointer in &pointers {
        for value in &hostile {
            let variant = with(&machine, pointer, value.clone());
            std::fs::write(&path, serde_json::to_vec(&variant).unwrap()).unwrap();
            // Dumps take most of the time, and these are what they depend on.
            let dumps = ["/memory", "/kernel_maps", "/contents", "/unreadable", "/system/page", "/system/machine"];
            let dump = dumps.iter().any(|part| pointer.starts_with(part)).then_some(dump.as_path());
            match std::panic::catch_unwind(|| exercise(&path, dump)) {
                Ok(usable) => accepted += usize::from(usable),
                Err(_) => panicked.push(format!("{pointer} = {value}")),
            }
        }
    }
    assert_eq!(panicked, Vec::<String>::new());
    assert!(accepted > 100, "{accepted} variants were usable");
}

#[test]
fn what_the_program_takes_as_a_machine_its_schema_takes() {
    let directory = directory();
    let path = directory.path().join("machine");
    let machine = small_machine();
    let mut pointers = Vec::new();
    collect_pointers(&machine, String::new(), &mut pointers);
    let numbers = [json!(0), json!(1), json!(3), json!(64), json!(4096), json!(u32::MAX), json!(u64::MAX)];
    let texts = ["", "0", "7", "0x1", "0XfFf", "0xffffffffffffffff", "amd64", "r-x"].map(|text| json!(text));
    let others = [json!(true), json!([]), json!({}), json!([0, 255])];
    let mut accepted = 0;
    for pointer in &pointers {
        for value in numbers.iter().chain(&texts).chain(&others) {
            let variant = with(&machine, pointer, value.clone());
            std::fs::write(&path, serde_json::to_vec(&variant).unwrap()).unwrap();
            // serde takes a list of an object's values in its place, which no manual offers.
            let is_list_of_values = value.is_array() && machine.pointer(pointer).is_some_and(Value::is_object);
            if !is_list_of_values && Recorded::open(&path).is_ok() {
                accepted += 1;
                assert_eq!(schema::problems(&variant), [""; 0], "{pointer} = {value}");
            }
        }
    }
    assert!(accepted > 100, "{accepted}");
}

fn collect_pointers(value: &Value, at: String, pointers: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| collect_pointers(value, format!("{at}/{name}"), pointers));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, value)| collect_pointers(value, format!("{at}/{i}"), pointers));
        }
        _ => {}
    }
    if !at.is_empty() {
        pointers.push(at);
    }
}

/// Asks a machine about everything, with a path for a dump about its memory too; whether it is usable at all.
fn exercise(path: &Path, dump: Option<&Path>) -> bool {
    use memtool::host::Backing;
    use memtool::paddr::{Preparation, pages, prepare};
    use memtool::range_change::{Mode, Update, remove, update};
    use memtool::ranges::default_type::Defaults;
    use memtool::ranges::{CacheType, Owner, effective};
    use vmcore::kerneldump::Compression;
    let Ok(host) = host::open(&Selection { machine: Some(path), device: None }) else { return false };
    let page_size = host.system().map_or(4096, |system| u64::from(system.page_size));
    for address in [0, 0x20_0000, 0x30_0800, 0x9_fc00, u64::MAX] {
        let _ = host.page_states(None, &[address]);
        if let Ok(table) = host.range_table() {
            let _ = effective::explain(&table, address);
            if let Ok(map) = host.memory_map() {
                let registers = host.processor_registers().ok();
                let _ = Defaults::find(registers.as_ref(), &table, Some(&map)).at(address);
                let _ = effective::pieces(&table, &map, 0, 1 << 64);
            }
        }
    }
    if let Ok(mapping) =
        prepare(&*host, &Backing::Anonymous { length: 10_000 }, Preparation { touch: true, lock: true })
    {
        let _ = host.page_states(None, &pages(&*mapping, page_size).collect::<Vec<_>>());
    }
    if let Some(dump) = dump {
        if let Ok(memory) = host.physical_memory() {
            for address in [0, 0x9_fbff, 0x9_fc00, 0x30_0800, u64::MAX] {
                let _ = memory.read_at(address, &mut [0; 5000]);
            }
        }
        if let Ok(memory) = host.kernel_memory() {
            for address in [0, 0xffff_f800_0009_f000, 0xffff_ffff_8020_0000, u64::MAX] {
                let _ = memory.read_at(address, &mut [0; 5000]);
            }
        }
        if let (Ok(Some(maps)), Ok(ram)) = (host.kernel_maps(), host.memory_map()) {
            for by_page_tables in [false, true] {
                let decided = memtool::memory_map::kernel_maps::readable(&maps, &ram, by_page_tables);
                assert!(decided.segments.iter().all(|segment| segment.start < segment.end));
            }
        }
        let _ = host.kernel_dump(&File::create(dump).unwrap(), Compression::None);
    }
    for (base, length) in [(0x100_0000, 0x1000), (0, 0x1000), (0, 0x200_0000), (1 << 63, 1 << 63)] {
        for cache in CacheType::ALL {
            let wanted = Update { base, length, cache, owner: Owner::default(), force: true };
            let _ = update(&*host, &wanted, Mode::Apply);
        }
        let _ = remove(&*host, base, length, Mode::Apply);
    }
    true
}

// images

#[test]
fn an_image_that_cannot_hold_the_memory_is_refused_by_name() {
    let directory = directory();
    // 0x9fc00 and 0x700000 bytes of RAM, up to 0x800000.
    let (packed, padded) = (0x9fc00 + 0x70_0000, 0x80_0000);
    let image = |name: &str, length: u64| {
        File::create(directory.path().join(name)).unwrap().set_len(length).unwrap();
        name.to_owned()
    };
    std::fs::create_dir(directory.path().join("directory")).unwrap();
    nix::unistd::mkfifo(&directory.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (path, layout, problem) in [
        ("missing".to_owned(), "packed", Some("No such file")),
        ("directory".to_owned(), "packed", Some("not a regular file")),
        ("fifo".to_owned(), "packed", Some("not a regular file")),
        ("/dev/zero".to_owned(), "packed", Some("not a regular file")),
        ("/dev/full".to_owned(), "padded", Some("not a regular file")),
        (image("empty", 0), "packed", Some("0 bytes")),
        (image("short", packed - 1), "packed", Some("bytes")),
        (image("short-padded", padded - 1), "padded", Some("bytes")),
        (image("whole", packed), "packed", None),
        (image("whole-padded", padded), "padded", None),
    ] {
        let contents = json!({ "image": { "path": path, "layout": layout } });
        let mut machine = with(&small_machine(), "/contents", contents);
        machine["unreadable"] = json!([]);
        let file = write_machine(directory.path(), &machine);
        let output = directory.path().join(format!("{}.out", path.replace('/', "-")));
        let run = on(&file, &["dump", "-o", text(&output)]);
        match problem {
            Some(problem) => {
                run.exits(1).says_in_one_line(&[&path, problem]);
                assert!(!output.exists(), "{path}");
            }
            // An image's path starts at the machine's file, not at the working directory.
            None => assert!(run.ok().stderr.lines().all(|line| !line.contains("cannot"))),
        }
        // What needs no memory works all the same.
        on(&file, &["ranges", "list"]).ok();
    }
}

// the machine and the device

/// Every command, with arguments that would do.
fn commands(output: &Path) -> Vec<Vec<String>> {
    let output = text(output);
    [
        &["ranges"][..],
        &["ranges", "list"],
        &["ranges", "explain", "0"],
        &["ranges", "update", "-b", "0x40000000", "-l", "4k", "--type", "write-back"],
        &["ranges", "remove", "-o", "BIOS"],
        &["paddr", "0x1000"],
        &["dump", "-o", output],
        &["livedump", output],
        &["record", output],
    ]
    .into_iter()
    .map(|arguments| arguments.iter().map(|&argument| argument.to_owned()).collect())
    .collect()
}

#[cfg(not(target_os = "freebsd"))]
#[test]
fn without_a_machine_other_systems_are_told_what_memtool_needs() {
    let directory = directory();
    let output = directory.path().join("output");
    for arguments in commands(&output) {
        // Linux tells of its processes' pages by itself.
        if !(cfg!(target_os = "linux") && arguments.first().is_some_and(|command| command == "paddr")) {
            memtool(&arguments).fails_saying(&["not FreeBSD", "--machine"]);
        }
        let with_device = [&["--device".to_owned(), "/dev/kmem".to_owned()], &arguments[..]].concat();
        // To dump, any file or device does: it is read as an image.
        if arguments.first().is_some_and(|command| command != "dump") {
            memtool(&with_device).fails_saying(&["not FreeBSD", "--machine"]);
        }
        assert!(!output.exists());
    }
    memtool(&["completions", "bash"]).ok();
}

#[test]
fn a_device_and_a_machine_are_a_usage_error_for_every_command() {
    let directory = directory();
    let output = directory.path().join("output");
    for arguments in commands(&output) {
        let both = ["--machine", "demo", "--device", "/dev/mem"].map(str::to_owned);
        memtool(&[&both, &arguments[..]].concat()).usage_error(&["--device", "--machine"]);
        memtool(&[&arguments[..], &both].concat()).usage_error(&["--device", "--machine"]);
        assert!(!output.exists());
    }
}

#[test]
fn unknown_options_and_commands_are_usage_errors() {
    for arguments in [
        &[][..],
        &["--unknown"],
        &["-Z"],
        &["frobnicate"],
        &["ranges", "frobnicate"],
        &["ranges", "list", "--unknown"],
        &["ranges", "explain"],
        &["ranges", "explain", "0x1", "0x2"],
        &["record"],
        &["completions", "nosuchshell"],
        &["--machine"],
    ] {
        if arguments.is_empty() {
            // There is nothing wrong to name, so that the whole help comes.
            assert!(memtool(arguments).exits(2).stderr.contains("Commands:"));
        } else {
            memtool(arguments).usage_error(&["help"]);
        }
    }
}

#[test]
fn help_and_version_are_no_errors_and_need_no_machine() {
    for arguments in
        [&["--help"][..], &["-h"], &["help"], &["ranges", "--help"], &["paddr", "-h"], &["ranges", "help", "update"]]
    {
        let run = memtool(arguments).ok();
        assert!(run.stdout.contains("Usage: memtool") && run.stderr.is_empty(), "{run:?}");
    }
    let version = memtool(&["--version"]).ok();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let git = |arguments: &[&str]| Command::new("git").args(arguments).current_dir(root).output();
    // A tree that was unpacked from a package has no revision.
    let revision =
        git(&["log", "-1", "--format=%H"]).ok().filter(|log| log.status.success() && root.join(".git").exists());
    match revision.map(|log| String::from_utf8(log.stdout).unwrap()) {
        Some(revision) => {
            let told = version.stdout.strip_prefix(concat!("memtool ", env!("CARGO_PKG_VERSION"), " ("));
            let told = told.and_then(|rest| rest.strip_suffix(")\n")).unwrap();
            assert!(told.len() == 12 && revision.starts_with(told), "{told} {revision}");
        }
        None => assert_eq!(version.stdout, concat!("memtool ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

// odd arguments

fn not_utf8() -> OsString {
    OsString::from_vec(b"0x1\xff\xfe".to_vec())
}

#[test]
fn arguments_that_are_no_text_are_usage_errors_where_text_is_wanted() {
    let odd = not_utf8();
    let odd = odd.as_os_str();
    for before in [
        &["ranges", "explain"][..],
        &["paddr"],
        &["paddr", "--alloc"],
        &["ranges", "list", "--owner"],
        &["ranges", "remove", "--owner"],
        &["ranges", "update", "-l", "4k", "--type", "write-back", "-b"],
        &["ranges", "update", "-b", "0", "-l", "4k", "--type"],
        &["ranges"],
        &[],
    ] {
        let arguments: Vec<&OsStr> = ["--machine", "demo"].iter().chain(before).map(OsStr::new).chain([odd]).collect();
        memtool(&arguments).usage_error(&[]);
    }
}

#[test]
fn paths_need_not_be_text() {
    let directory = directory();
    let path: PathBuf = directory.path().join(not_utf8());
    let arguments =
        |command: &[&OsStr]| -> Run { run(crate::common::command().arg("--machine").arg(&path).args(command)) };
    arguments(&[OsStr::new("ranges")]).exits(1).says_in_one_line(&["No such file"]);
    run(command().args(["--machine", "demo", "record"]).arg(&path)).ok();
    arguments(&[OsStr::new("ranges")]).ok();
    run(command().args(["--machine", "demo", "paddr", "--file"]).arg(&path)).ok();
}

#[test]
fn a_path_with_a_line_break_does_not_make_two_lines() {
    let directory = directory();
    let path = directory.path().join("a\nmemtool: all is well\u{1b}[2J");
    on(&path, &["ranges", "list"]).exits(1).says_in_one_line(&["No such file"]);
}

// standard output

#[test]
fn a_reader_that_goes_away_is_no_news() {
    let machine = demo_machine();
    for arguments in [
        &["ranges", "list", "--no-join"][..],
        &["ranges", "list", "--json"],
        &["paddr", "--alloc", "64m"],
        &["paddr", "--alloc", "64m", "--json"],
        &["record", "-"],
        &["completions", "zsh"],
    ] {
        let directory = directory();
        let file = write_machine(directory.path(), &machine);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        // There is no machine that completions could be of.
        let machine = if arguments[0] == "completions" { vec![] } else { vec!["--machine", text(&file)] };
        let mut child = command().args(machine).args(arguments).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let status = crate::common::wait(&mut child).unwrap();
        let mut stderr = String::new();
        std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut stderr).unwrap();
        assert_eq!(stderr, "", "{arguments:?}");
        assert!(crate::common::code(status) >= 0, "no signal ends it: {arguments:?}: {status}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error() {
    for arguments in [
        &["ranges", "list"][..],
        &["ranges", "list", "--json"],
        &["ranges", "list", "--memcontrol"],
        &["ranges", "explain", "0"],
        &["ranges", "explain", "0", "--json"],
        &["ranges", "update", "-q", "--json", "-b", "0x40000000", "-l", "4k", "--type", "write-back"],
        &["paddr", "0x1000"],
        &["paddr", "--alloc", "64m"],
        &["paddr", "0x1000", "--json"],
        &["record", "-"],
        &["completions", "fish"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let machine: &[&str] = if arguments[0] == "completions" { &[] } else { &["--machine", "demo"] };
        let output = command().args(machine).args(arguments).stdout(full).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
        assert!(stderr.contains("standard output") && stderr.contains("No space left"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_pipe_gets_no_colours_whatever_the_environment_says() {
    for (name, value) in [("NO_COLOR", "1"), ("NO_COLOR", ""), ("TERM", "xterm-256color"), ("COLORTERM", "truecolor")] {
        for arguments in [&["ranges"][..], &["--help"], &["ranges", "--unknown"], &["paddr", "0x200000"]] {
            let run = run(command().args(["--machine", "demo"]).args(arguments).env(name, value));
            assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'), "{name}: {run:?}");
        }
    }
}

// record

#[test]
fn what_record_writes_is_the_same_machine() {
    let directory = directory();
    let (first, second) = (directory.path().join("first"), directory.path().join("second"));
    demo(&["record", text(&first)]).ok();
    let run = on(&first, &["record", text(&second)]).ok().of_recording();
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    let bytes = std::fs::read(&first).unwrap();
    assert_eq!(std::fs::read(&second).unwrap(), bytes);
    assert_eq!(on(&second, &["record", "-"]).ok().bytes, bytes);
    assert_eq!(demo(&["record", "-"]).ok().bytes, bytes);
    // And every command says the same of it.
    for arguments in [&["ranges", "list", "--all"][..], &["ranges", "explain", "0x1000"], &["paddr", "0x200000"]] {
        assert_eq!(on(&first, arguments).ok().stdout, demo(arguments).ok().stdout);
    }
    // Fields that are often absent survive too.
    let small = write_machine(directory.path(), &small_machine());
    assert_eq!(on(&small, &["record", "-"]).ok().json(), small_machine());
}

#[test]
fn record_writes_over_nothing() {
    let directory = directory();
    let file = write_file(directory.path(), b"precious");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [file.as_path(), link.as_path(), directory.path(), Path::new("/dev/null")] {
        demo(&["record", text(path)]).fails_saying(&[text(path)]);
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    demo(&["record", text(&directory.path().join("no").join("file"))]).fails_saying(&["No such file"]);
    assert_eq!(directory.path().read_dir().unwrap().count(), 2, "no temporary file stays");
}

/// Command lines of every command: with files alone, which no machine has to do with, and of a machine.
const COMMANDS: [(&str, &[&str], &[&str]); 26] = [
    ("ranges", &[], &["ranges"]),
    ("paddr", &[], &["paddr", "0x200000"]),
    ("dump", &["dump", "--verify", "file", "--manifest", "file"], &["dump", "-d", "4k", "-o", "out"]),
    ("livedump", &[], &["livedump", "out"]),
    ("save", &["save", "--clear", "--force", "file"], &["save", "--check"]),
    ("receive", &["receive", "--accept", "any", "--listen", "127.0.0.1:0", "--dir", "file"], &[]),
    ("inspect", &["inspect", "file"], &[]),
    ("convert", &["convert", "file", "out", "--format", "raw"], &[]),
    ("archive", &["archive", "ls", "file"], &[]),
    ("custody", &["custody", "file"], &[]),
    ("decrypt", &["decrypt", "--key", "file", "--private-key", "file", "file", "out"], &[]),
    ("read", &["read", "--core", "file", "--phys", "0"], &["read", "version"]),
    ("print", &["print", "--core", "file", "1"], &["print", "hz"]),
    ("translate", &["translate", "--core", "file", "0"], &["translate", "version"]),
    ("write", &["write", "--core", "file", "--phys", "0", "00", "--force"], &["write", "version", "00"]),
    ("symbols", &["symbols", "--kernel", "file", "x"], &["symbols", "version"]),
    ("types", &["types", "--kernel", "file", "x"], &["types", "proc"]),
    ("ps", &["ps", "--core", "file"], &["ps"]),
    ("stack", &["stack", "--core", "file"], &["stack", "--on-cpu"]),
    ("show", &["show", "vmstat-s", "--core", "file"], &["show", "vmstat-s"]),
    ("dmesg", &["dmesg", "--core", "file"], &["dmesg"]),
    ("report", &[], &["report"]),
    ("map", &["map", "--core", "file"], &["map"]),
    ("maps", &[], &["maps", "812"]),
    ("record", &[], &["record", "out"]),
    ("completions", &["completions", "bash"], &[]),
];

/// The commands that the program has, by its own word.
fn listed_commands() -> Vec<String> {
    let help = memtool(&["--help"]).ok().stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.map(|line| line.split_whitespace().next().unwrap().to_owned()).filter(|name| name != "help").collect()
}

#[test]
fn an_option_that_means_nothing_is_a_usage_error_and_no_file_outside_of_the_recording_changes() {
    let mut known: Vec<&str> = COMMANDS.iter().map(|command| command.0).collect();
    let mut listed = listed_commands();
    known.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, known, "a command is missing here");
    let directory = directory();
    let file = directory.path().join("file");
    let bytes = crate::common::noise(8192);
    std::fs::write(&file, &bytes).unwrap();
    for (name, of_files, _) in COMMANDS.into_iter().filter(|command| !command.1.is_empty()) {
        for options in
            [&["--machine", "demo"][..], &["--machine", "demo", "--save-machine", "new"], &["--device", "file"]]
        {
            let before = run(command().current_dir(directory.path()).args(options).args(of_files));
            let behind = run(command().current_dir(directory.path()).args(of_files).args(options));
            for run in [before, behind] {
                run.usage_error(&[options[0], "does not apply"]);
            }
            assert_eq!(std::fs::read(&file).unwrap(), bytes, "{name}");
            assert_eq!(crate::common::names(directory.path()), ["file"], "{name}");
        }
    }
}

#[test]
fn every_command_says_of_a_recorded_machine_that_it_is_one() {
    for (name, _, from_machine_arch) in COMMANDS.into_iter().filter(|command| !command.2.is_empty()) {
        let in_text = directory();
        let run_in = |directory: &Path, options: &[&str]| {
            run(command().current_dir(directory).args(["--machine", "demo"]).args(from_machine_arch).args(options))
        };
        let said = run_in(in_text.path(), &[]);
        let all = format!("{}{}", said.stdout, said.stderr);
        assert!(all.contains("recorded"), "{name}: {all}");
        if name != "record" {
            let in_json = directory();
            assert_eq!(run_in(in_json.path(), &["--json"]).json()["host"], "recorded", "{name}");
        }
    }
}
