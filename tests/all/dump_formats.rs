//! The formats of `memtool dump`, read by readers that are not memtool's.

use crate::common::formats::{self, Elf, Range, Runs, decompress, ranges_of};
use crate::common::small::{SMALL, byte, bytes, map_text, small_machine, without};
use crate::common::{Run, demo, directory, memtool, on, schema, text, write_machine};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

const FORMATS: [&str; 4] = ["raw", "padded", "elf", "lime"];
const COMPRESSIONS: [(&str, &[&str]); 4] =
    [("none", &[]), ("gzip", &["--gzip"]), ("zstd", &["--zstd"]), ("zstd", &["--zstd=9"])];

/// The small machine's segments: two of them touch and are of different domains.
const SEGMENTS: [Range; 3] = [(0x1004, 0x9c01), (0x9c01, 0xb000), (0x10_0000, 0x1f_f000)];
/// Part of the first page, all around the border of two segments, pages alone and in pairs, the last page.
const HOLES: [Range; 5] =
    [(0x1004, 0x2000), (0x9000, 0xa000), (0x10_3000, 0x10_5000), (0x10_6000, 0x10_7000), (0x1f_e000, 0x1f_f000)];

fn ranges_json(ranges: &[Range]) -> Value {
    ranges.iter().map(|(start, end)| json!({"start": format!("{start:#x}"), "end": format!("{end:#x}")})).collect()
}

fn machine_with(segments: &[Range], unreadable: &[Range]) -> Value {
    let mut machine = small_machine();
    machine["memory"]["segments"] = ranges_json(segments);
    machine["unreadable"] = ranges_json(unreadable);
    machine
}

/// What a dump of the segments has: all their bytes and zeros in the holes, or, of a raw one, what is outside.
fn memory(format: &str, segments: &[Range], holes: &[Range]) -> Runs {
    if format == "raw" {
        return joined(&without(segments, holes)).into_iter().map(|range| (range.0, bytes(&[range]))).collect();
    }
    let in_hole = |address: u64| holes.iter().any(|(start, end)| (*start..*end).contains(&address));
    let byte = |address| if in_hole(address) { 0 } else { byte(address) };
    segments.iter().map(|&(start, end)| (start, (start..end).map(byte).collect())).collect()
}

/// Ranges that touch as one, as a map has them.
fn joined(ranges: &[Range]) -> Vec<Range> {
    let mut joined: Vec<Range> = Vec::new();
    for &(start, end) in ranges {
        match joined.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => joined.push((start, end)),
        }
    }
    joined
}

fn runs(format: &str, file: &[u8], segments: &[Range], map: &str) -> Runs {
    match format {
        "raw" => formats::raw(file, map),
        "padded" => formats::padded(file, segments),
        "elf" => Elf::parse(file).runs(),
        _ => formats::lime(file),
    }
}

/// Dumps with a map and checks both: `segments` are dumped, without the holes.
#[track_caller]
fn check(run: impl Fn(&[&str]) -> Run, format: &str, arguments: &[&str], segments: &[Range], holes: &[Range]) {
    let directory = directory();
    let map = directory.path().join("map");
    let run = run(&[&["dump", "-m", text(&map), "--format", format], arguments].concat()).ok();
    let map = std::fs::read_to_string(map).unwrap();
    assert_eq!(map, map_text(&joined(&without(segments, holes))), "{format} {arguments:?}");
    let same = runs(format, &run.bytes, segments, &map) == memory(format, segments, holes);
    assert!(same, "{format} {arguments:?}");
}

fn read_json(path: &Path) -> Value {
    schema::document(&std::fs::read(path).unwrap())
}

/// Runs readelf(1), which must have nothing to complain of.
#[track_caller]
fn readelf(options: &str, file: &Path) -> String {
    let run = crate::common::run(Command::new("readelf").env("LC_ALL", "C").args([options, text(file)])).ok();
    assert_eq!(run.stderr, "");
    let complaint = run.stdout.lines().find(|line| line.contains("arning") || line.contains("rror"));
    assert_eq!(complaint, None);
    run.stdout
}

/// Offset, virtual and physical address, and size in file and memory of each `PT_LOAD`, by `readelf -lW`.
#[track_caller]
fn loads(readelf: &str) -> Vec<[u64; 5]> {
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let fields = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let loads = readelf.lines().map(fields).filter(|fields| fields.first().is_some_and(|kind| kind == "LOAD"));
    loads.map(|fields| [1, 2, 3, 4, 5].map(|field| number(&fields[field]))).collect()
}

#[track_caller]
fn assert_readelf_agrees(file: &Path, elf: &Elf) {
    let expected = elf.loads.iter().map(|load| {
        let size = load.bytes.len() as u64;
        [load.offset, load.virtual_address, load.physical_address, size, size]
    });
    let shown = readelf("-hlW", file);
    assert!(shown.contains("CORE"), "{shown}");
    assert!(loads(&shown).into_iter().eq(expected));
    let notes = readelf("-nW", file);
    for text in ["6d656d01", "6d656d02"] {
        assert!(notes.contains(text), "{}", notes.chars().take(2000).collect::<String>());
    }
    assert!(notes.matches("memtool").count() >= 2);
}

#[test]
fn every_format_and_compression_holds_the_memory_and_says_what_is_missing() {
    let machine_directory = directory();
    let mut machine = small_machine();
    machine["unreadable"] = ranges_json(&HOLES);
    let machine = write_machine(machine_directory.path(), &machine);
    let total: u64 = HOLES.iter().map(|(start, end)| end - start).sum();
    let mut unreadable = ranges_json(&HOLES);
    unreadable.as_array_mut().unwrap().iter_mut().for_each(|range| range["why"] = json!("EIO"));
    for format in FORMATS {
        for (compression, option) in COMPRESSIONS {
            let directory = directory();
            let [file, map, manifest] = ["ram", "map", "manifest"].map(|name| directory.path().join(name));
            let to = ["-o", text(&file), "-m", text(&map), "--manifest", text(&manifest), "--format", format];
            let run = on(&machine, &[&["--json", "dump"], &to[..], option].concat()).ok();
            let dumped = std::fs::read(&file).unwrap();
            let map_says = std::fs::read_to_string(&map).unwrap();
            let found = runs(format, &decompress(&dumped, compression), &SEGMENTS, &map_says);
            assert!(found == memory(format, &SEGMENTS, &HOLES), "{format} {option:?}");
            assert_eq!(map_says, map_text(&without(&SMALL, &HOLES)));

            let (report, manifest_says) = (run.json(), read_json(&manifest));
            assert_eq!(manifest_says["unreadable"], unreadable);
            for (says, is_said) in report["unreadable"].as_array().unwrap().iter().zip(unreadable.as_array().unwrap()) {
                let [start, end] = ["start", "end"].map(|end| crate::common::address(&says[end]));
                assert_eq!(
                    (&says["start"], &says["end"], &says["size"]),
                    (&is_said["start"], &is_said["end"], &json!(end - start))
                );
                assert_eq!(says["why"], is_said["why"]);
            }
            for says in [&report, &manifest_says] {
                assert_eq!(says["unreadable"].as_array().unwrap().len(), unreadable.as_array().unwrap().len());
                assert_eq!(says["bytes_unreadable"], total);
                assert_eq!(says["bytes_read"], bytes(&SMALL).len() as u64 - total);
            }
            assert_eq!([&report["format"], &report["compression"]], [format, compression]);
            assert_eq!(report["size"], dumped.len());
            assert_eq!([&manifest_says["format"], &manifest_says["compression"]], [format, compression]);
            assert_eq!(manifest_says["size"], dumped.len());
            let hash: String = Sha256::digest(&dumped).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(manifest_says["sha256"], hash);
            memtool(&["dump", "--verify", text(&file), "--manifest", text(&manifest)]).ok();

            let fate = if format == "raw" { "is not in the dump" } else { "is zeros in the dump" };
            for (start, end) in HOLES {
                let warning = format!("{start:#x}..{end:#x} cannot be read (EIO) and {fate}");
                assert!(run.stderr.contains(&warning), "{}", run.stderr);
            }
        }
    }
}

#[test]
fn a_pipe_gets_what_a_file_would() {
    let directory = directory();
    let machine = write_machine(directory.path(), &machine_with(&SEGMENTS, &HOLES));
    let map = map_text(&without(&SMALL, &HOLES));
    for format in FORMATS {
        for (compression, option) in COMPRESSIONS {
            let run = on(&machine, &[&["dump", "-q", "--format", format], option].concat()).ok();
            let found = runs(format, &decompress(&run.bytes, compression), &SEGMENTS, &map);
            assert!(found == memory(format, &SEGMENTS, &HOLES), "{format} {option:?}");
        }
    }
}

#[test]
fn gzip_itself_reads_what_is_compressed() {
    let directory = directory();
    let machine = write_machine(directory.path(), &small_machine());
    let file = directory.path().join("ram.gz");
    on(&machine, &["dump", "--gzip", "-o", text(&file)]).ok();
    let run = crate::common::run(Command::new("gzip").arg("-dc").stdin(std::fs::File::open(&file).unwrap())).ok();
    assert!(run.bytes == bytes(&SMALL));
}

#[cfg(target_os = "linux")]
#[test]
fn avml_reads_the_lime_image() {
    let directory = directory();
    let machine = write_machine(directory.path(), &machine_with(&SEGMENTS, &HOLES));
    let file = on(&machine, &["dump", "--format", "lime"]).ok().bytes;
    let mut left = &file[..];
    let mut found = Runs::new();
    while !left.is_empty() {
        let header = avml::image::Header::read(&mut left).unwrap();
        assert_eq!(header.format, avml::Format::Lime);
        let (bytes, rest) = left.split_at(header.size().unwrap());
        found.push((header.range.start, bytes.to_vec()));
        left = rest;
    }
    assert!(found == memory("lime", &SEGMENTS, &HOLES));
}

#[test]
fn readelf_and_object_agree_on_an_elf_file_and_its_notes_name_host_and_time() {
    let directory = directory();
    let [file, manifest] = ["ram", "manifest"].map(|name| directory.path().join(name));
    let mut machine = machine_with(&SEGMENTS, &HOLES);
    machine["system"]["hostname"] = json!("größe.example");
    let machine = write_machine(directory.path(), &machine);
    let arguments = ["dump", "-q", "--format", "elf", "-o", text(&file), "--manifest", text(&manifest)];
    on(&machine, &arguments).ok();
    let elf = Elf::parse(&std::fs::read(&file).unwrap());
    assert_readelf_agrees(&file, &elf);
    assert_eq!(elf.loads.len(), SEGMENTS.len());
    for (load, (start, _)) in elf.loads.iter().zip(SEGMENTS) {
        assert_eq!([load.virtual_address, load.physical_address, load.align], [start, start, 4096]);
        assert_eq!(load.offset % 4096, start % 4096);
    }
    let [(0x6d65_6d01, about), (0x6d65_6d02, missing)] = &elf.notes[..] else { panic!("{:?}", elf.notes) };
    let started = read_json(&manifest)["started_at"].as_str().unwrap().to_owned();
    for line in ["host=recorded", "hostname=größe.example", "machine=powerpc64le", &format!("started={started}")] {
        assert!(about.lines().any(|is| is == line), "{line} in {about}");
    }
    let total: u64 = HOLES.iter().map(|(start, end)| end - start).sum();
    assert_eq!(*missing, format!("unreadable_bytes={total}\n{}", map_text(&HOLES)));
}

#[test]
fn kernel_memory_lies_at_its_virtual_addresses() {
    let directory = directory();
    let file = directory.path().join("kernel");
    let start = 0xffff_ffff_8020_0000;
    let ranges = ["--range", "0xffffffff80200000+64k", "--range", "0xffffffff80240000+4k"];
    let expected: Vec<Range> = vec![(start, start + 0x1_0000), (start + 0x4_0000, start + 0x4_1000)];
    demo(&[&["dump", "-k", "--format", "elf", "-o", text(&file)], &ranges[..]].concat()).ok();
    let elf = Elf::parse(&std::fs::read(&file).unwrap());
    assert_readelf_agrees(&file, &elf);
    assert!(elf.loads.iter().all(|load| load.physical_address == 0));
    let raw = demo(&[&["dump", "-k"], &ranges[..]].concat()).ok().bytes;
    assert!(elf.runs() == formats::raw(&raw, &map_text(&expected)));
    for format in ["padded", "lime"] {
        let other = directory.path().join(format);
        let run = demo(&["dump", "-k", "--format", format, "-o", text(&other)]);
        run.fails_saying(&[format, "physical addresses"]);
        assert!(!other.exists());
    }
}

#[test]
fn as_many_program_headers_as_it_takes() {
    let directory = directory();
    let [image, list, file] = ["image", "list", "ram"].map(|name| directory.path().join(name));
    let content: Vec<u8> = (0..140_000u32).map(|at| (at % 251 + 1).to_le_bytes()[0]).collect();
    std::fs::write(&image, &content).unwrap();
    // Two notes make the number of headers one less than PN_XNUM, just that, and more than 16 bits hold.
    for (segments, phnum) in [(65_532, 65_534), (65_533, 0xffff), (70_000, 0xffff)] {
        let ranges: Vec<Range> = (0..segments).map(|number| (2 * number, 2 * number + 1)).collect();
        std::fs::write(&list, map_text(&ranges)).unwrap();
        let to = ["--format", "elf", "--force", "-o", text(&file)];
        memtool(&[&["--device", text(&image), "dump", "--segments", text(&list)], &to[..]].concat()).ok();
        let elf = Elf::parse(&std::fs::read(&file).unwrap());
        assert_eq!(elf.phnum, phnum);
        assert_readelf_agrees(&file, &elf);
        assert!(elf.loads.iter().all(|load| load.physical_address == load.virtual_address));
        let byte = |start: u64| content[usize::try_from(start).unwrap()];
        assert!(elf.runs().into_iter().eq(ranges.iter().map(|(start, _)| (*start, vec![byte(*start)]))));
    }
}

#[test]
fn an_image_is_dumped_in_every_format_range_by_range() {
    let directory = directory();
    let image = directory.path().join("image");
    std::fs::write(&image, (0..0x2_0000).map(byte).collect::<Vec<u8>>()).unwrap();
    let on_image = |arguments: &[&str]| memtool(&[&["--device", text(&image)], arguments].concat());
    for format in FORMATS {
        check(on_image, format, &[], &[(0, 0x2_0000)], &[]);
        // In any order, overlapping, and touching.
        let ranges =
            ["--range", "0x12345-0x20000", "--range", "3+4k", "--range", "0x800-0x1100", "--range", "0x1100+1"];
        check(on_image, format, &ranges, &[(3, 0x1101), (0x1_2345, 0x2_0000)], &[]);
    }
}

#[test]
fn the_machine_decides_on_machine_number_and_byte_order() {
    let directory = directory();
    let machines = [
        ("amd64", 62, false),
        ("i386", 3, false),
        ("aarch64", 183, false),
        ("armv7", 40, false),
        ("riscv64", 243, false),
        ("powerpc64", 21, true),
        ("powerpc64le", 21, false),
        ("powerpc", 20, true),
    ];
    for (arch, number, big_endian) in machines {
        let mut machine = machine_with(&SEGMENTS, &HOLES);
        machine["system"]["machine_arch"] = json!(arch);
        // There is no room for what the demo machine's kernel is on that architecture.
        machine.as_object_mut().unwrap().remove("kernel_maps");
        let machine = write_machine(directory.path(), &machine);
        let file = directory.path().join(arch);
        on(&machine, &["dump", "-q", "--format", "elf", "-o", text(&file)]).ok();
        let elf = Elf::parse(&std::fs::read(&file).unwrap());
        assert_eq!((elf.machine, elf.big_endian), (number, big_endian), "{arch}");
        assert_eq!(elf.notes.len(), 2);
        assert_readelf_agrees(&file, &elf);
        assert!(elf.runs() == memory("elf", &SEGMENTS, &HOLES), "{arch}");
    }
    let mut machine = small_machine();
    machine["system"]["machine_arch"] = json!("vax");
    let machine = write_machine(directory.path(), &machine);
    let file = directory.path().join("vax");
    on(&machine, &["dump", "--format", "elf", "-o", text(&file)]).fails_saying(&["ELF", "architecture vax"]);
    assert!(!file.exists());
    on(&machine, &["dump", "--format", "lime", "-o", text(&file)]).ok();
}

#[test]
fn a_padded_file_has_holes_and_a_pipe_gets_their_zeros() {
    let directory = directory();
    let segments = [(0x1004, 0xb000), (0x100_0000, 0x180_0000)];
    // The last 8 MiB less a page cannot be read.
    let holes = [(0x100_1000, 0x180_0000)];
    let machine = write_machine(directory.path(), &machine_with(&segments, &holes));
    let expected = memory("padded", &segments, &holes);
    for manifest in [false, true] {
        let [file, note] = ["padded", "manifest"].map(|name| directory.path().join(name));
        let mut arguments = vec!["dump", "-q", "--force", "--format", "padded", "-o", text(&file)];
        if manifest {
            arguments.extend(["--manifest", text(&note)]);
        }
        on(&machine, &arguments).ok();
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), 0x180_0000);
        assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
        assert!(formats::padded(&std::fs::read(&file).unwrap(), &segments) == expected);
        if manifest {
            memtool(&["dump", "--verify", text(&file), "--manifest", text(&note)]).ok();
        }
    }
    let piped = on(&machine, &["dump", "-q", "--format", "padded"]).ok().bytes;
    assert!(formats::padded(&piped, &segments) == expected);
    // Standard output in a file takes every byte too, and the file's end is theirs.
    let file = directory.path().join("redirected");
    let mut command = crate::common::command();
    command.arg("--machine").arg(&machine).args(["dump", "-q", "--format", "padded"]);
    let status = command.stdout(std::fs::File::create(&file).unwrap()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success());
    assert!(std::fs::read(&file).unwrap() == piped);
}

#[test]
fn limit_page_size_and_buffer_hold_in_every_format() {
    let directory = directory();
    let whole = write_machine(directory.path(), &small_machine());
    let holed = write_machine(directory.path(), &machine_with(&SEGMENTS, &[(0x5000, 0x6000), (0x10_9000, 0x10_a000)]));
    // Up to here each page is given up; all that comes before the hole is read.
    let coarse = [(0x5000, 0x8000), (0x10_9000, 0x10_c000)];
    for format in FORMATS {
        let cut = [(0x1004, 0x9c01), (0x9c01, 0xa004)];
        for limit in [["-d", "36k"], ["-s", "0x9000"]] {
            check(|arguments| on(&whole, arguments), format, &limit, &cut, &[]);
        }
        check(|arguments| on(&whole, arguments), format, &["-d1"], &[(0x1004, 0x1005)], &[]);
        check(|arguments| on(&whole, arguments), format, &["-d16m"], &SEGMENTS, &[]);
        for buffer in ["1", "5000", "64k", "16m"] {
            check(|arguments| on(&holed, arguments), format, &["-p16k", "-b", buffer], &SEGMENTS, &coarse);
        }
    }
    for format in FORMATS {
        let file = directory.path().join("none");
        on(&whole, &["dump", "-p3000", "--format", format, "-o", text(&file)]).usage_error(&["power of two"]);
        assert!(!file.exists());
    }
}

#[test]
fn the_elf_note_has_as_many_ranges_as_it_holds_and_counts_the_rest() {
    let directory = directory();
    let holes: Vec<Range> = (0..1500).map(|number| 0x10_0000 + number * 0x2000).map(|at| (at, at + 0x1000)).collect();
    let machine = write_machine(directory.path(), &machine_with(&[(0x10_0000, 0x10_0000 + 1500 * 0x2000)], &holes));
    let [file, manifest] = ["ram", "manifest"].map(|name| directory.path().join(name));
    let arguments = ["--json", "dump", "--format", "elf", "-o", text(&file), "--manifest", text(&manifest)];
    let run = on(&machine, &arguments).ok();
    let elf = Elf::parse(&std::fs::read(&file).unwrap());
    let text = &elf.notes[1].1;
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.remove(0), format!("unreadable_bytes={}", 1500 * 0x1000));
    let more: usize = lines.pop().unwrap().strip_prefix("ranges_not_listed=").unwrap().parse().unwrap();
    let listed = ranges_of(&lines.join("\n"));
    assert_eq!(listed[..], holes[..1500 - more]);
    assert!(listed.len() > 800, "{} lines of 18 bytes in 16 KiB", listed.len());

    // Elsewhere all of them are listed; on the terminal some, and the number of the others.
    for says in [run.json(), read_json(&manifest)] {
        assert_eq!(says["unreadable"].as_array().unwrap().len(), 1500);
        assert_eq!(says["bytes_unreadable"], 1500 * 0x1000);
    }
    assert_eq!(run.stderr.lines().filter(|line| line.contains("cannot be read")).count(), 10);
    assert!(run.stderr.contains("and 1490 more ranges"), "{}", run.stderr);
}
