//! `memtool map`: what a picture of physical memory says, as JSON, in a pipe and on a terminal.

use crate::common::page_kernel::{ORDERS, PAGE, PAGES, PageKernel, Release, SEGMENTS};
use crate::common::process_maps::{ANON, Entry, MapKernel, Object, PHYSICAL, SWAP, VNODE};
use crate::common::typed_kernel::WriteFiles as _;
use crate::common::{
    Run, address, command, demo, demo_machine, directory, memtool, on, on_terminal_of, run, text, write_machine,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use vmcore_synth::Arch;
use vmcore_synth::MinidumpSpec;
use vmcore_synth::elf::ElfSpec;

const GIB: u64 = 1 << 30;

/// A range of a layer: its addresses, and its kind.
type Range = (u64, u64, String);

/// A layer of a map.
pub fn layer<'a>(map: &'a Value, name: &str) -> &'a Value {
    let layers = map["layers"].as_array().unwrap().iter();
    layers.into_iter().find(|layer| layer["layer"] == name).unwrap_or_else(|| panic!("no {name}: {map:#}"))
}

fn ranges(map: &Value, name: &str) -> Vec<Range> {
    let ranges = layer(map, name)["ranges"].as_array().unwrap().iter();
    let range =
        |range: &Value| (address(&range["start"]), address(&range["end"]), range["kind"].as_str().unwrap().to_owned());
    ranges.map(range).collect()
}

/// Bytes of each kind of a layer, by its totals.
fn totals(map: &Value, name: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for total in layer(map, name)["kind_totals"].as_array().unwrap() {
        *sums.entry(total["kind"].as_str().unwrap().to_owned()).or_insert(0) += total["bytes_total"].as_u64().unwrap();
    }
    sums
}

/// Asserts that ranges ascend without overlaps, and that each layer's totals are those of its ranges.
#[track_caller]
fn assert_sound(map: &Value) {
    let end = address(&map["end"]);
    for layer in map["layers"].as_array().unwrap() {
        let name = layer["layer"].as_str().unwrap();
        let ranges = ranges(map, name);
        assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{name}: {ranges:x?}");
        assert!(ranges.iter().all(|(from, to, _)| from < to && *to <= end), "{name}: {ranges:x?}");
        let mut sums = BTreeMap::new();
        ranges.iter().for_each(|(from, to, kind)| *sums.entry(kind.clone()).or_insert(0) += to - from);
        assert_eq!(sums, totals(map, name), "{name}");
        let counted: u64 =
            layer["kind_totals"].as_array().unwrap().iter().map(|of| of["range_count"].as_u64().unwrap()).sum();
        assert_eq!(counted, ranges.len() as u64, "{name}");
        assert_eq!(layer["bytes_covered"].as_u64().unwrap(), sums.values().sum::<u64>(), "{name}");
        if matches!(name, "memory" | "types") {
            assert_eq!(sums.values().sum::<u64>(), end, "{name} is not of every address");
        }
    }
}

#[track_caller]
fn json(run: Run) -> Value {
    let map = run.json();
    assert_sound(&map);
    map
}

/// A machine with RAM at these addresses, each in a domain, and nothing else.
fn machine(directory: &Path, ram: &[(u64, u64)], change: impl FnOnce(&mut Value)) -> PathBuf {
    let mut machine = demo_machine();
    // Its kernel has pages of its own memory.
    machine.as_object_mut().unwrap().remove("kernel");
    let segments = (0..).zip(ram).map(
        |(domain, (start, end))| json!({"start": format!("{start:#x}"), "end": format!("{end:#x}"), "domain": domain}),
    );
    machine["memory"] = json!({"source": "machdep.smap", "segments": segments.collect::<Vec<_>>(), "reserved": []});
    machine["ranges"] = json!({"descriptors": []});
    change(&mut machine);
    write_machine(directory, &machine)
}

fn map_of(machine: &Path) -> Value {
    json(on(machine, &["map", "--json"]).ok())
}

#[test]
fn ram_is_what_dump_lists_and_cache_types_are_what_ranges_explains() {
    let map = json(demo(&["map", "--json"]).ok());
    let listed = demo(&["dump", "--list-segments", "--json"]).ok().json();
    let segments: Vec<_> = listed["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| (of["start"].clone(), of["end"].clone(), of["domain"].clone()))
        .collect();
    let ram: Vec<_> = layer(&map, "memory")["ranges"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|range| range["kind"] == "ram")
        .map(|of| (of["start"].clone(), of["end"].clone(), of["domain"].clone()))
        .collect();
    assert_eq!(ram, segments);
    assert_eq!(totals(&map, "memory")["ram"], listed["size"].as_u64().unwrap());
    let types = ranges(&map, "types");
    assert!(types.len() > 4);
    for (start, end, kind) in types {
        for at in [start, start + (end - start) / 2, end - 1] {
            let explained = demo(&["ranges", "explain", &at.to_string(), "--json"]).ok().json();
            assert_eq!(explained["effective"], kind.as_str(), "{at:#x}");
        }
    }
}

#[test]
fn pages_of_a_file_are_where_paddr_finds_them() {
    let directory = directory();
    let file = directory.path().join("file");
    std::fs::write(&file, vec![1; 3 * PAGE as usize + 1]).unwrap();
    let options = ["--touch", "--file", text(&file)];
    let map = json(demo(&[&["map", "--json", "--layers", "process"], &options[..]].concat()).ok());
    let pages = demo(&[&["paddr", "--json"], &options[..]].concat()).ok().json();
    let mut found: Vec<u64> = pages["pages"].as_array().unwrap().iter().map(|page| address(&page["paddr"])).collect();
    found.sort_unstable();
    let drawn = ranges(&map, "process").into_iter().flat_map(|(start, end, _)| (start..end).step_by(PAGE as usize));
    assert_eq!(drawn.collect::<Vec<_>>(), found);
    assert_eq!(totals(&map, "process"), BTreeMap::from([("file".to_owned(), 4 * PAGE)]));
    // Without it nothing is mapped.
    let run = demo(&["map", "--json", "--layers", "process", "--file", text(&file)]).ok();
    assert!(run.stderr.contains("is mapped: --touch faults them in"), "{}", run.stderr);
    let map = json(run);
    assert_eq!(ranges(&map, "process"), []);
    for (name, why) in [("none", "No such file"), ("", "not a regular file")] {
        let run = demo(&["map", "--file", text(&directory.path().join(name))]).exits(1);
        assert!(run.stderr.contains(why), "{}", run.stderr);
    }
}

#[test]
fn machines_of_every_size_are_drawn() {
    let directory = directory();
    let none = map_of(&machine(directory.path(), &[], |_| ()));
    assert_eq!((&none["size"], &ranges(&none, "memory")), (&json!(0), &vec![]));
    let page = map_of(&machine(directory.path(), &[(0, PAGE)], |_| ()));
    assert_eq!(ranges(&page, "memory"), [(0, PAGE, "ram".to_owned())]);
    let above = [(0, 3 * GIB), (4 * GIB, 6 * GIB)];
    let map = map_of(&machine(directory.path(), &above, |_| ()));
    assert_eq!(totals(&map, "memory"), BTreeMap::from([("hole".to_owned(), GIB), ("ram".to_owned(), 5 * GIB)]));
    let large = machine(directory.path(), &[(0, 2 * GIB), (4 * GIB, 12 << 40)], |_| ());
    assert_eq!(totals(&map_of(&large), "memory")["ram"], (12 << 40) - 2 * GIB);
    let far = machine(directory.path(), &[(0, GIB), (1 << 52, (1 << 52) + PAGE)], |_| ());
    for machine in [&large, &far] {
        let shown = terminal(80, machine, &["map"]);
        assert!(shown.lines().count() < 60, "{shown}");
    }
    assert!(terminal(80, &far, &["map"]).contains(" ... hole of 4.0 PiB\n"));
}

#[test]
fn where_the_firmware_contradicts_itself_ram_counts_and_then_what_it_lists_first() {
    let directory = directory();
    let machine = machine(directory.path(), &[(0x1000, 0x3000)], |machine| {
        machine["memory"]["reserved"] = json!([
            {"start": "0x2000", "end": "0x5000", "kind": "ACPI NVS"},
            {"start": "0x0", "end": "0x6000", "kind": "reserved"},
            {"start": "0x5000", "end": "0x7000", "kind": "ACPI reclaimable"},
            {"start": "0xfd00000000", "end": "0xfd00001000", "kind": "reserved"},
        ]);
    });
    let expected = [
        (0, 0x1000, "reserved"),
        (0x1000, 0x3000, "ram"),
        (0x3000, 0x5000, "acpi-nvs"),
        (0x5000, 0x6000, "reserved"),
        (0x6000, 0x7000, "acpi-reclaimable"),
    ];
    assert_eq!(ranges(&map_of(&machine), "memory"), expected.map(|(from, to, kind)| (from, to, kind.to_owned())));
}

#[test]
fn memory_ranges_that_cannot_be_read_leave_out_their_layer_alone() {
    let directory = directory();
    let machine = machine(directory.path(), &[(0, GIB)], |machine| {
        machine["errors"] = json!({"MEMRANGE_GET": "EIO"});
    });
    let map = map_of(&machine);
    let absent: Vec<_> = map["absent"].as_array().unwrap().iter().map(|of| of["layer"].as_str().unwrap()).collect();
    assert_eq!(absent, ["types", "dump", "free", "process"]);
    // It is asked for.
    let run = on(&machine, &["map", "--layers", "types"]).exits(1);
    assert!(run.stderr.contains("there is no layer 'types'"), "{}", run.stderr);
}

#[test]
fn a_pipe_has_a_line_for_each_range() {
    let run = demo(&["map"]).ok();
    let map = json(demo(&["map", "--json"]).ok());
    let cell = |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
    let mut expected = Vec::new();
    for layer in map["layers"].as_array().unwrap() {
        for range in layer["ranges"].as_array().unwrap() {
            let words = [&layer["layer"], &range["start"], &range["end"]].map(|word| word.as_str().unwrap().to_owned());
            let [kind, text] = [&range["kind"], &range["text"]].map(|word| word.as_str().unwrap().to_owned());
            let [layer, start, end] = words;
            let (domain, order) = (cell(&range["domain"]), cell(&range["order"]));
            expected.push([layer, start, end, cell(&range["size"]), kind, domain, order, text].join("\t"));
        }
    }
    assert_eq!(run.lines(), expected);
    assert_eq!(demo(&["map", "--layers", "types"]).ok().lines(), expected[16..23]);
}

/// What is shown on a terminal of so many columns.
fn terminal(columns: u16, machine: &Path, arguments: &[&str]) -> String {
    on_terminal_of(Some(columns), command().arg("--machine").arg(machine).args(arguments).env("NO_COLOR", "1"))
}

#[test]
fn terminals_of_all_widths_have_lines_that_fit() {
    for columns in [40, 80, 200] {
        let shown = terminal(columns, Path::new("demo"), &["-q", "map"]);
        let rows: Vec<&str> = shown.lines().skip(1).take_while(|line| !line.is_empty()).collect();
        assert!(rows.len() > 8, "{shown}");
        for row in rows {
            assert!(row.chars().count() <= usize::from(columns), "{columns}: {row}");
        }
        assert!(shown.is_ascii() && shown.contains("hole"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= usize::from(columns).max(60)), "{shown}");
    }
}

#[test]
fn colours_and_block_characters_are_for_those_who_have_them() {
    let shown = |change: &dyn Fn(&mut std::process::Command)| {
        let mut command = command();
        command.args(["--machine", "demo", "map", "--layers", "memory"]);
        change(&mut command);
        on_terminal_of(Some(80), &mut command)
    };
    let plain = shown(&|command| _ = command.env("NO_COLOR", "1"));
    assert!(plain.is_ascii() && !plain.contains('\x1b'), "{plain}");
    assert_eq!(shown(&|command| _ = command.env("TERM", "dumb")), plain);
    let coloured = shown(&|_| ());
    assert!(coloured.contains("\x1b[32m0") && coloured.contains("\x1b[0m"), "{coloured}");
    let blocks = shown(&|command| _ = command.env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8"));
    assert!(blocks.contains("···r"), "{blocks}");
    assert_eq!(shown(&|command| _ = command.env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8").arg("--ascii")), plain);
    // The picture without a terminal.
    let piped = demo(&["map", "--layers", "memory", "--ascii"]).ok().stdout;
    assert_eq!(plain.lines().take(20).collect::<Vec<_>>(), piped.lines().take(20).collect::<Vec<_>>());
}

#[test]
fn a_cell_is_what_most_of_it_is_and_a_page_of_a_dump_is_seen() {
    let directory = directory();
    let core = directory.path().join("vmcore");
    let page = vec![7; PAGE as usize];
    let spec = ElfSpec { segments: vec![(0, vec![0; 1 << 20]), (GIB, page)], ..ElfSpec::example(Arch::Amd64) };
    std::fs::write(&core, spec.build()).unwrap();
    let mut memtool = command();
    let shown = run(memtool.args(["map", "--ascii", "-M"]).arg(&core)).ok().stdout;
    let last: Vec<&str> = shown.lines().skip_while(|line| !line.contains("hole of 1022.")).skip(1).take(2).collect();
    assert_eq!(last[1].split_whitespace().collect::<Vec<_>>(), ["dump", "#"], "{shown}");
}

#[test]
fn a_dump_holds_its_pages_and_lacks_the_rest_of_ram() {
    for arch in [Arch::Amd64, Arch::Arm64, Arch::Riscv, Arch::Powerpc64, Arch::I386] {
        let spec = MinidumpSpec::example(arch, arch.newest());
        let directory = directory();
        let core = directory.path().join("vmcore");
        std::fs::write(&core, spec.build()).unwrap();
        let map = json(memtool(&["map", "--json", "-M", text(&core)]).ok());
        let held = ranges(&map, "dump").into_iter().filter(|(.., kind)| kind == "held");
        let held: Vec<u64> = held.flat_map(|(start, end, _)| (start..end).step_by(spec.page_size as usize)).collect();
        assert_eq!(held, spec.pages().into_keys().collect::<Vec<_>>(), "{arch:?}");
        assert_eq!(totals(&map, "dump")["held"], spec.pages().len() as u64 * spec.page_size, "{arch:?}");
        if spec.has_dump_avail() {
            let ram: Vec<_> = ranges(&map, "memory")
                .into_iter()
                .filter(|(.., kind)| kind == "ram")
                .map(|(start, end, _)| (start, end))
                .collect();
            assert_eq!(ram, spec.dump_avail, "{arch:?}");
        }
    }
}

#[test]
fn a_damaged_dump_is_drawn_as_far_as_it_goes() {
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    let (whole, parts) = (spec.build(), spec.parts());
    let directory = directory();
    let core = directory.path().join("vmcore");
    std::fs::write(&core, &whole[..parts.pages.start + 2 * spec.page_size as usize]).unwrap();
    let run = memtool(&["map", "--json", "-M", text(&core)]).exits(1);
    assert!(run.stderr.contains("is damaged"), "{}", run.stderr);
    assert_eq!(totals(&json(run), "dump")["held"], 2 * spec.page_size);
    for length in [0, 100, parts.bitmap.start + 8, parts.bitmap.end] {
        std::fs::write(&core, &whole[..length]).unwrap();
        let page = directory.path().join(format!("{length}.html"));
        let run = memtool(&["map", "-M", text(&core), "--html", text(&page)]).exits(1);
        assert!(!run.stderr.contains("panicked"), "{run:?}");
        assert!(!page.exists(), "{length}: {run:?}");
    }
    memtool(&["map", "-M", text(&directory.path().join("none"))]).fails_saying(&["No such file"]);
}

#[test]
fn free_blocks_are_drawn_where_they_are() {
    for arch in [Arch::Amd64, Arch::Powerpc64, Arch::I386] {
        let mut kernel = PageKernel::new(arch, Release { is_new: true });
        kernel.free(0, 0, 4);
        kernel.free(0, 32, 1);
        kernel.free(1, 3, 0);
        let map = json(kernel.kernel.write().run(&["map", "--json", "--layers", "free,memory"]).ok());
        let all = layer(&map, "free")["ranges"].as_array().unwrap();
        let free = all.iter().filter(|range| range["kind"] == "free");
        let found: Vec<_> = free.map(|of| (address(&of["start"]), &of["size"], &of["order"], &of["domain"])).collect();
        let expected = [
            (SEGMENTS[0], json!(16 * PAGE), json!(4), json!(0)),
            (SEGMENTS[0] + 32 * PAGE, json!(2 * PAGE), json!(1), json!(0)),
            (SEGMENTS[1] + 3 * PAGE, json!(PAGE), json!(0), json!(1)),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(start, size, order, domain)| (*start, size, order, domain)).collect();
        assert_eq!(found, expected, "{arch:?}");
        assert_eq!(
            totals(&map, "free"),
            BTreeMap::from([("free".to_owned(), 19 * PAGE), ("used".to_owned(), (2 * PAGES - 19) * PAGE)])
        );
        // The kernel's own counts.
        let areas = map["free_areas"].as_array().unwrap();
        assert_eq!(areas.len() as u64, 2 * ORDERS);
        assert_eq!((&areas[4]["block_count"], &areas[4]["block_size"]), (&json!(1), &json!(16 * PAGE)));
        // 18 pages in 2 blocks: 1000 - 18000 / 16 / 2.
        assert_eq!(areas[4]["fragmentation_index"], json!(438));
        // Segments tell domains.
        let domains = layer(&map, "memory")["ranges"].as_array().unwrap().iter().filter_map(|of| of["domain"].as_u64());
        assert_eq!(domains.collect::<Vec<_>>(), [0, 1], "{map:#}");
    }
}

#[test]
fn pages_whose_structures_cannot_be_read_are_told_of() {
    let mut kernel = PageKernel::new(Arch::Amd64, Release { is_new: true });
    let second = kernel.pages[1] + PAGE;
    kernel.kernel.omit(second);
    let run = kernel.kernel.write().run(&["map", "--json"]).ok();
    assert!(run.stderr.contains("are free cannot be read"), "{}", run.stderr);
    assert_sound(&run.json());
}

#[test]
fn pages_of_a_process_in_a_dump_are_where_its_kernel_has_them() {
    for arch in [Arch::Amd64, Arch::Arm64, Arch::Powerpc64] {
        let mut built = MapKernel::new(arch);
        let vnode = built.file("/bin/sh", 7);
        let file = Object { of: VNODE, references: 2, handle: vnode, pages: vec![0, 1, 5, 300], ..Object::default() };
        let file = built.object(&file);
        let copied =
            Object { of: SWAP, flags: ANON, references: 1, backing: file, pages: vec![100, 101], ..Object::default() };
        let copied = built.object(&Object { backing_offset: PAGE, ..copied });
        let entry = |start, pages, object, offset| Entry {
            start,
            end: start + pages * PAGE,
            object,
            offset,
            protection: 5,
            ..Entry::default()
        };
        // Pages 1 and 5 of the file, and, through the object before it, 101 and 102 of which one is copied.
        built.process(70, "sh", &[entry(0x20_0000, 5, file, PAGE), entry(0x40_0000, 64, copied, 101 * PAGE)]);
        let dump = built.kernel.write();
        let map = json(dump.run(&["map", "--json", "--layers", "process", "--pid", "70"]).ok());
        let at = |number: u64| PHYSICAL + number * PAGE;
        let expected = [(at(1), at(2), "file"), (at(5), at(6), "file"), (at(101), at(102), "anonymous")];
        assert_eq!(ranges(&map, "process"), expected.map(|(from, to, kind)| (from, to, kind.to_owned())), "{arch:?}");
        // The kernel does not have it.
        let run = dump.run(&["map", "--json", "--pid", "71"]).exits(1);
        assert!(
            run.stderr.contains("there is no layer 'process'") && run.stderr.contains("process 71"),
            "{}",
            run.stderr
        );
        assert!(run.json()["absent"].as_array().unwrap().iter().any(|absent| absent["layer"] == "process"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn on_linux_the_pages_of_a_process_are_drawn_where_paddr_finds_them() {
    let pid = std::process::id().to_string();
    let run = memtool(&["map", "--json", "--pid", &pid]);
    if run.code != 0 {
        eprintln!("SKIPPED: this user may not look up physical addresses: {}", run.stderr);
        return;
    }
    let map = json(run);
    assert_eq!(map["host"], "linux");
    // Code that is never paged out: the test's own, which runs.
    let address = on_linux_the_pages_of_a_process_are_drawn_where_paddr_finds_them as *const () as usize;
    let found = memtool(&["paddr", "--json", "--pid", &pid, &address.to_string()]).ok().json();
    let paddr = crate::common::address(&found["pages"][0]["paddr"]);
    assert!(ranges(&map, "process").iter().any(|(start, end, _)| (*start..*end).contains(&paddr)), "{paddr:#x}");
    memtool(&["map"]).fails_saying(&["not FreeBSD", "a dump with --core FILE"]);
}

#[test]
fn arguments_that_contradict_each_other_are_refused() {
    for (arguments, texts) in [
        (&["map", "--layers", "heap"][..], &["'heap'"][..]),
        (&["map", "--touch"], &["--file"]),
        (&["map", "--pid", "1", "--file", "x"], &["--pid", "--file"]),
        (&["map", "--core", "x", "--file", "y"], &["--core", "--file"]),
        (&["map", "--pid", "-1"], &["-1"]),
        (&["map", "--segments", "x"], &["--core"]),
        (&["--machine", "demo", "map", "--core", "x"], &["--machine does not apply"]),
        (&["--machine", "demo", "map", "--file", "-"], &["standard input"]),
        (&["--machine", "demo", "map", "--html", "-", "--svg", "-"], &["cannot share standard output"]),
        (&["--machine", "demo", "map", "--html", "-", "--json"], &["cannot share standard output"]),
    ] {
        memtool(arguments).usage_error(texts);
    }
}
