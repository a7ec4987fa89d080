//! `memtool read`, `memtool translate` and `memtool write`, on dumps whose contents are known and on a recorded
//! machine.

use crate::common::{Run, command, demo, demo_machine, directory, memtool, names, on, text, write_machine};
use serde_json::json;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use vmcore_synth::image::{AMD64, ET_EXEC, GLOBAL, Image, OBJECT, SHF_WRITE, section, symbol};
use vmcore_synth::{Arch, Compression, ElfSpec, MinidumpSpec};

/// Where the example's kernel map begins; the third to sixth page are mapped, and the ninth and tenth.
const BASE: u64 = 0xffff_fe00_0000_0000;
const PAGE: u64 = 4096;
/// A page with text and numbers in it.
const DATA: u64 = BASE + 2 * PAGE;
const VERSION: &str = "FreeBSD 14.2-RELEASE test\n";

/// A dump, and an image of its kernel.
struct Files {
    directory: TempDir,
    dump: PathBuf,
    kernel: PathBuf,
}

fn spec() -> MinidumpSpec {
    let mut spec = MinidumpSpec::example(Arch::Amd64, 3);
    let page = spec.pages.get_mut(&(0x24 * PAGE)).unwrap();
    page[..VERSION.len()].copy_from_slice(VERSION.as_bytes());
    page[VERSION.len()] = 0;
    page[64..112].fill(0x11);
    page[112..128].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    page[128..136].copy_from_slice(&(DATA + 112).to_le_bytes());
    page[136..144].copy_from_slice(b"~ABC \x7f\x80\0");
    spec
}

fn files(version: &str) -> Files {
    let directory = directory();
    let dump = directory.path().join("vmcore.0");
    std::fs::write(&dump, spec().build()).unwrap();
    let mut bytes = vec![0; 0x1000];
    bytes[..version.len()].copy_from_slice(version.as_bytes());
    let data = |name, offset, size| symbol(name, (GLOBAL, OBJECT), 1, DATA + offset, size);
    let symbols =
        vec![data("version", 0, 64), data("table", 64, 80), data("numbers", 112, 16), data("hole", PAGE * 9, 0)];
    let kernel = directory.path().join("kernel");
    std::fs::write(&kernel, Image::new(AMD64, ET_EXEC, vec![section(".data", 1, DATA, bytes)], symbols).build())
        .unwrap();
    Files { directory, dump, kernel }
}

impl Files {
    #[track_caller]
    fn run(&self, command: &str, arguments: &[&str]) -> Run {
        let options = ["--core", text(&self.dump), "--kernel", text(&self.kernel)];
        memtool(&[&[command], &options[..], arguments].concat())
    }

    #[track_caller]
    fn read(&self, arguments: &[&str]) -> Run {
        self.run("read", arguments)
    }
}

fn bytes_at(file: &Path, offset: usize, length: usize) -> Vec<u8> {
    std::fs::read(file).unwrap()[offset..offset + length].to_vec()
}

#[test]
fn a_symbol_is_dumped_as_hexdump_does() {
    let files = files(VERSION);
    let run = files.read(&["table"]).ok();
    assert_eq!(
        run.lines(),
        [
            "fffffe0000002040  11 11 11 11 11 11 11 11  11 11 11 11 11 11 11 11  |................|",
            "*",
            "fffffe0000002070  01 02 03 04 05 06 07 08  f8 ff ff ff ff ff ff ff  |................|",
            "fffffe0000002080  70 20 00 00 00 fe ff ff  7e 41 42 43 20 7f 80 00  |p ......~ABC ...|",
            "fffffe0000002090",
        ]
    );
    assert_eq!(run.stderr, "");
    // All lines, with -v; the last one is shorter.
    let run = files.read(&["-v", "table", "-l", "50"]).ok();
    assert_eq!(run.lines().len(), 5);
    assert_eq!(
        run.lines()[1],
        "fffffe0000002050  11 11 11 11 11 11 11 11  11 11 11 11 11 11 11 11  |................|"
    );
    assert_eq!(run.lines()[3], "fffffe0000002070  01 02                                             |..|");
    assert_eq!(run.lines()[4], "fffffe0000002072");
    let run = files.read(&["version", "-l", "20"]).ok();
    assert_eq!(
        run.lines()[0],
        "fffffe0000002000  46 72 65 65 42 53 44 20  31 34 2e 32 2d 52 45 4c  |FreeBSD 14.2-REL|"
    );
}

/// Files whose kernel has a page of constants where the dump has no page for it: from the seventeenth page on.
fn files_with_constants(writable: u64) -> Files {
    let files = files(VERSION);
    let mut data = vec![0; 0x1000];
    data[..VERSION.len()].copy_from_slice(VERSION.as_bytes());
    let mut constants = vec![0x22; 0x200];
    constants[0x10..0x18].copy_from_slice(&0x1122_3344_5566_7788_u64.to_le_bytes());
    constants[0x20..0x2a].copy_from_slice(b"constant\0\0");
    let object = |name, section, address, size| symbol(name, (GLOBAL, OBJECT), section, address, size);
    let symbols = vec![object("version", 1, DATA, 64), object("constant", 2, MISSING + 0x10, 8)];
    let sections = vec![section(".data", SHF_WRITE, DATA, data), section(".rodata", writable, MISSING, constants)];
    std::fs::write(&files.kernel, Image::new(AMD64, ET_EXEC, sections, symbols).build()).unwrap();
    files
}

/// A page that is mapped and not in the dump.
const MISSING: u64 = BASE + 16 * PAGE;

#[test]
fn constants_whose_page_is_not_in_the_dump_are_of_the_kernels_file_and_marked() {
    let files = files_with_constants(0);
    let kernel = text(&files.kernel);
    let run = files.read(&["constant"]).ok();
    let lines = run.lines();
    assert!(
        lines[0].starts_with(&format!("{:016x}  (from {kernel}, not from memory: its page at", MISSING + 0x10)),
        "{run:?}"
    );
    assert!(lines[1].contains("88 77 66 55 44 33 22 11"), "{run:?}");
    // Up to the end of the section; what follows is a hole.
    let at = format!("{MISSING:#x}");
    let run = files.read(&["-v", "-l", "0x300", &at]).ok();
    assert_eq!(run.lines().iter().filter(|line| line.contains("not from memory")).count(), 1, "{run:?}");
    let size = run.lines().iter().find(|line| line.contains("a hole of")).unwrap().to_owned();
    assert!(size.starts_with(&format!("{:016x}  (a hole of 256 B", MISSING + 0x200)), "{size}");
    let json = files.read(&["--json", "-l", "0x300", &at]).ok().json();
    let pieces = json["pieces"].as_array().unwrap();
    assert_eq!(
        (pieces.len(), &pieces[0]["kernel_file"], &pieces[1]["bytes"]),
        (2, &kernel.into(), &serde_json::Value::Null),
        "{json}"
    );
    assert_eq!(pieces[0]["bytes"].as_str().unwrap().len(), 0x400);

    let mark = format!(" (from {kernel}, not from memory)");
    assert_eq!(files.read(&["--as", "u64", "constant"]).ok().stdout, format!("1234605616436508552{mark}\n"));
    let json = files.read(&["--json", "--as", "u32", "constant", "-l", "8"]).ok().json();
    assert_eq!((&json["values"], &json["kernel_file"]), (&json!([0x5566_7788, 0x1122_3344]), &kernel.into()));
    let run = files.read(&["--as", "str", "constant+0x10"]).ok();
    assert_eq!(run.stdout, format!("{}\nconstant\n", mark.trim()));
    let json = files.read(&["--json", "--as", "str", "constant+0x10"]).ok().json();
    assert_eq!((&json["string"], &json["kernel_file"]), (&"constant".into(), &kernel.into()));
    // Raw bytes have no room for a mark, and what is memory has none.
    files.read(&["--as", "raw", "constant"]).exits(1).says_in_one_line(&["0 B were written"]);
    assert_eq!(files.read(&["--json", "--as", "u8", "version"]).ok().json().get("file"), None);
    // Writing does not take it for memory.
    files.run("write", &["constant", "00"]).exits(1).says_in_one_line(&["is missing"]);
}

#[test]
fn what_a_kernel_writes_to_is_never_of_its_file() {
    let files = files_with_constants(SHF_WRITE);
    files.read(&["--as", "u64", "constant"]).exits(1).says_in_one_line(&["is missing"]);
    assert!(files.read(&["constant"]).exits(1).stdout.contains("a hole of 8 B"));
    // Nor is another kernel's file.
    let other = files_with_constants(0);
    let mut bytes = std::fs::read(&other.kernel).unwrap();
    let at = bytes.windows(VERSION.len()).position(|window| window == VERSION.as_bytes()).unwrap();
    bytes[at] = b'f';
    std::fs::write(&other.kernel, bytes).unwrap();
    let run = other.read(&[&format!("{MISSING:#x}")]).exits(1);
    assert!(run.stdout.contains("a hole of"), "{run:?}");
}

#[test]
fn a_powerpc64_dump_without_the_kernels_image_says_why() {
    let mut spec = MinidumpSpec::example(Arch::Powerpc64, Arch::Powerpc64.newest());
    // The image lies in memory that dump_avail leaves out.
    let (start, end) = (0x0400_0000, 0x0500_0000);
    spec.direct_map.end = spec.direct_map.base + 0x0800_0000;
    spec.kernel_image = (spec.direct_map.base + start, spec.direct_map.base + end);
    assert!(spec.dump_avail.iter().all(|range| range.1 <= start || end <= range.0), "{:x?}", spec.dump_avail);
    let directory = directory();
    let dump = directory.path().join("vmcore.0");
    std::fs::write(&dump, spec.build()).unwrap();
    let read = |at: u64| memtool(&["read", "--core", text(&dump), "-l", "16", &format!("{at:#x}")]).exits(1).stdout;
    for at in [0x10_0100, spec.kernel_image.0, spec.kernel_image.1 - 16] {
        assert!(read(at).contains("so dump_avail and all dumps omit it"), "{at:#x}: {}", read(at));
    }
    assert!(!read(spec.kernel_image.1).contains("dump_avail"));
}

#[test]
fn holes_are_shown_as_holes() {
    let files = files(VERSION);
    // From the sixth page, which is there, to the ninth, which is too; and to the seventeenth, which is not in the dump.
    let run = files.read(&["-v", &format!("{:#x}", BASE + 6 * PAGE - 16), "-l", "12304"]).ok();
    let lines = run.lines();
    assert!(lines[0].starts_with("fffffe0000005ff0  "), "{lines:?}");
    assert_eq!(lines[1], "fffffe0000006000  (a hole of 8 KiB: not mapped: its PT entry is not valid)");
    assert!(lines[2].starts_with("fffffe0000008000  "), "{lines:?}");
    assert_eq!((lines.len(), lines[258]), (259, "fffffe0000009000"));
    let missing = format!("{:#x}", BASE + 16 * PAGE);
    let run = files.read(&[&missing]).exits(1);
    assert!(run.lines()[0].contains("(a hole of 256 B: its page at physical address 0x29000 is missing)"), "{run:?}");
    // The same in JSON, with the bytes.
    let run = files.read(&["--json", &format!("{:#x}", BASE + 6 * PAGE - 2), "-l", "8196"]).ok();
    let json = run.json();
    assert_eq!((json["host"].as_str(), json["schema"].as_str()), (Some("image"), Some("memtool.read")));
    let pieces = json["pieces"].as_array().unwrap();
    assert_eq!(pieces.len(), 3);
    assert_eq!(pieces[0]["bytes"].as_str().unwrap().len(), 4);
    assert_eq!((pieces[1]["address"].as_str(), pieces[1]["size"].as_u64()), (Some("0xfffffe0000006000"), Some(0x2000)));
    assert!(pieces[1]["hole"].as_str().unwrap().contains("PT entry"), "{json}");
    assert_eq!(pieces[2]["bytes"].as_str().unwrap().len(), 4);
    // The end of the address space is the end of everything.
    let run = files.read(&["0xfffffffffffffff8"]).exits(1);
    assert!(run.lines()[0].contains("(a hole of 8 B: not mapped"), "{run:?}");
    assert_eq!(run.lines()[1], "0000000000000000");
}

#[test]
fn numbers_are_read_in_the_kernels_order() {
    let files = files(VERSION);
    let numbers = |arguments: &[&str]| files.read(&[&["numbers"], arguments].concat()).ok().stdout;
    assert_eq!(numbers(&["--as", "u8"]), "1\n");
    assert_eq!(numbers(&["--as", "u16", "-l", "4"]), "513\n1027\n");
    assert_eq!(numbers(&["--as", "u32"]), format!("{}\n", 0x0403_0201));
    assert_eq!(numbers(&["--as", "u64", "-l", "16"]), format!("{}\n{}\n", 0x0807_0605_0403_0201_u64, u64::MAX - 7));
    assert_eq!(files.read(&["numbers+8", "--as", "u64"]).ok().stdout, format!("{}\n", u64::MAX - 7));
    assert_eq!(files.read(&["numbers+0x8", "--as", "u8", "-v"]).ok().stdout, "0xfffffe0000002078: 248\n");
    assert_eq!(files.read(&["table+64", "--as", "ptr"]).ok().stdout, "0xfffffe0000002070 numbers\n");
    assert_eq!(
        files.read(&["numbers", "--as", "u8", "-l", "2", "--json"]).ok().json()["values"],
        serde_json::json!([1, 2])
    );
    files.read(&["numbers", "--as", "u32", "-l", "6"]).usage_error(&["not a multiple of the 4 bytes"]);
    // A number that is not all there is none.
    files
        .read(&[&format!("{:#x}", BASE + 6 * PAGE - 4), "--as", "u64"])
        .fails_saying(&["0xfffffe0000006000: not mapped"]);
    let spec = MinidumpSpec::example(Arch::Powerpc64, 2);
    std::fs::write(files.directory.path().join("big"), spec.build()).unwrap();
    let big = files.directory.path().join("big");
    let page = spec.pages.values().nth(1).unwrap();
    let expected = u32::from_be_bytes(page[..4].try_into().unwrap());
    let address = format!("{:#x}", spec.pages.keys().nth(1).unwrap());
    let run = memtool(&["read", "--core", text(&big), "--phys", &address, "--as", "u32"]).ok();
    assert_eq!(run.stdout, format!("{expected}\n"));
}

#[test]
fn json_has_the_symbol_and_no_number_that_a_double_rounds() {
    let files = files(VERSION);
    let read = |arguments: &[&str]| files.read(&[&["--json"], arguments].concat()).ok().json();
    let found = read(&["numbers", "--as", "u64", "-l", "16"]);
    assert_eq!(found["values"], serde_json::json!(["578437695752307201", "18446744073709551608"]));
    assert_eq!((&found["symbol"], &found["address"]), (&"numbers".into(), &format!("{:#x}", DATA + 112).into()));
    assert_eq!(read(&["numbers+8", "--as", "u64"])["symbol"], "numbers+8");
    assert_eq!(read(&["numbers", "--as", "u32"])["values"], serde_json::json!([0x0403_0201]));
    let at = format!("{:#x}", DATA + 120);
    assert_eq!(read(&[&at, "--as", "u64"])["symbol"], "numbers+0x8");
    let at = format!("{:#x}", DATA + 128);
    let found = read(&[&at, "--as", "ptr", "-l", "8"]);
    assert_eq!((&found["values"][0], &found["symbols"][0]), (&"0xfffffe0000002070".into(), &"numbers".into()));
    // What was found is printed, written or not.
    let run = files.run("write", &["--json", "numbers", "ff"]).exits(1);
    let (found, old) = (run.json(), serde_json::json!("01"));
    assert_eq!((&found["written"], &found["old"], &found["new"]), (&false.into(), &old, &"ff".into()));
    assert!(run.stderr.contains("use --force"), "{run:?}");
    let run = files.run("write", &["--json", "numbers", "01", "--force"]).ok();
    assert_eq!(run.json()["written"], true);
}

/// Wherever it stands.
#[test]
fn what_is_about_text_is_refused_with_json() {
    let files = files(VERSION);
    let core = text(&files.dump);
    for (arguments, option) in [
        (&["read", "--core", core, "0xfffffe0000002000", "--as", "raw"][..], "--as raw"),
        (&["ranges", "--memcontrol"], "--memcontrol"),
        (&["ranges", "list", "--memcontrol"], "--memcontrol"),
        (&["maps", "-l"], "-l"),
        (&["maps", "-d"], "-d"),
        (&["completions", "sh"], ""),
    ] {
        memtool(&[&["--json"], arguments].concat()).usage_error(&[option]);
        memtool(&[arguments, &["--json"]].concat()).usage_error(&[option]);
    }
    let messages = |arguments: &[&str]| memtool(arguments).ok().json()["messages"].clone();
    let [before, behind] =
        [messages(&["--json", "inspect", "--msgbuf", core]), messages(&["inspect", core, "--msgbuf", "--json"])];
    assert_eq!(before, behind);
    let text = memtool(&["inspect", "--msgbuf", core]).ok();
    assert_eq!(serde_json::json!(text.lines()), before);
}

#[test]
fn strings_and_raw_bytes_are_read() {
    let files = files(VERSION);
    assert_eq!(files.read(&["version", "--as", "str"]).ok().stdout, VERSION);
    assert_eq!(files.read(&["version", "--as", "str", "-l", "7"]).ok().stdout, "FreeBSD\n");
    assert_eq!(files.read(&["--phys", "0x24008", "--as", "str", "-l", "4"]).ok().stdout, "14.2\n");
    let run = files.read(&["version", "--as", "raw", "-l", "8192"]).ok();
    let spec = spec();
    assert!(run.bytes == [&spec.pages[&(0x24 * PAGE)][..], &spec.pages[&(0x25 * PAGE)][..]].concat());
    // A hole has no bytes: what comes before it is written, and what is missing is said.
    let run = files.read(&[&format!("{:#x}", BASE + 6 * PAGE - 16), "--as", "raw", "-l", "32"]).exits(1);
    assert_eq!(run.bytes.len(), 16);
    run.says_in_one_line(&["0xfffffe0000006000: not mapped", "16 B were written"]);
    let pty = crate::common::terminal(None);
    let mut command = command();
    command.args(["read", "--core", text(&files.dump), "--phys", "0x24000", "--as", "raw"]);
    let output = command.stdout(std::process::Stdio::from(pty.slave)).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("not written to a terminal"), "{output:?}");
}

#[test]
fn places_that_make_no_sense_are_refused() {
    let files = files(VERSION);
    files.read(&["nothing"]).fails_saying(&["has no symbol 'nothing'"]);
    files.read(&["version+x"]).usage_error(&["'x' is not a size"]);
    files.read(&["0x12345678901234567"]).usage_error(&["does not fit in 64 bits"]);
    files.read(&["version+0xffffffffffffffff"]).fails_saying(&["beyond the address space"]);
    files.read(&["version", "-l", "0"]).usage_error(&["nothing to read"]);
    files.read(&["--phys", "version"]).usage_error(&["--phys", "'version' is not a number"]);
    files.read(&[]).usage_error(&["ADDR|SYMBOL[+OFF]"]);
    files.read(&["version", "--as", "u128"]).usage_error(&["u128"]);
    let core = ["read", "--core", text(&files.dump)];
    memtool(&[&core[..], &["version"]].concat()).fails_saying(&["--kernel"]);
    memtool(&["read", "--segments", "x", "version"]).usage_error(&["--core"]);
    memtool(&["read", "--core", text(files.directory.path()), "0"])
        .fails_saying(&["neither a regular file nor a device"]);
}

#[test]
fn another_kernels_symbols_are_not_used() {
    let files = files("FreeBSD 13.1-RELEASE other\n");
    let why = "is not the kernel of this dump";
    for command in [&["read", "numbers"][..], &["translate", "numbers"], &["write", "numbers", "00", "--force"]] {
        let run = files.run(command[0], &command[1..]).exits(1);
        assert_eq!(run.stdout, "");
        // It is said once.
        let said = &run.stderr;
        assert_eq!((said.matches(why).count(), said.lines().count()), (1, 2), "{run:?}");
        assert!(said.ends_with("memtool: give the kernel that was running with --kernel\n"), "{run:?}");
        let quiet = files.run(command[0], &[&command[1..], &["-q"]].concat());
        quiet.fails_saying(&[why, "give the kernel that was running"]);
    }
    files.run("symbols", &["numbers"]).exits(1);
    // Addresses are the dump's own.
    let address = format!("{:#x}", DATA + 128);
    let run = files.read(&["--json", &address, "--as", "ptr"]).ok();
    assert!(run.json()["warnings"][0].as_str().unwrap().contains(why), "{run:?}");
    let run = files.read(&[&address, "--as", "ptr"]).ok();
    assert_eq!(run.stdout, "0xfffffe0000002070\n");
    run.says_in_one_line(&["warning", why]);
}

#[test]
fn compressed_and_damaged_dumps_are_read() {
    let files = files(VERSION);
    let dump = std::fs::read(&files.dump).unwrap();
    for (compression, cut) in [(Compression::Zstd, 0), (Compression::Gzip, 0), (Compression::None, 1)] {
        std::fs::write(&files.dump, compression.compress(&dump[..dump.len() - cut])).unwrap();
        let run = files.read(&["version", "--as", "str"]).ok();
        assert_eq!(run.stdout, VERSION, "{compression:?}");
        assert_eq!(run.stderr.contains("is damaged"), cut > 0, "{}", run.stderr);
    }
    std::fs::write(&files.dump, &Compression::Zstd.compress(&dump)[..200]).unwrap();
    files.read(&["version"]).fails_saying(&["zstd stream is damaged"]);
}

#[test]
fn memory_of_any_kind_is_read_and_written_by_physical_address_without_a_kernel() {
    let files = files(VERSION);
    let directory = files.directory.path();
    let dump = |format: &str, options: &[&str]| {
        let path = directory.join(format);
        let arguments = ["dump", "--range", "0x1000000+64k", "--range", "0x2000000+64k", "--format", format, "-o"];
        demo(&[&arguments[..], &[text(&path)], options].concat()).ok();
        path
    };
    let map = directory.join("map");
    let [elf, lime, padded, raw] =
        [dump("elf", &[]), dump("lime", &[]), dump("padded", &[]), dump("raw", &["--map", text(&map)])];
    let full = directory.join("full");
    let spec = ElfSpec::example(Arch::Riscv);
    std::fs::write(&full, spec.build()).unwrap();
    let (start, bytes) = spec.segments.first().unwrap();
    let expected: String = bytes[..4].iter().map(|byte| format!("{byte}\n")).collect();
    let at = format!("{start:#x}");
    assert_eq!(memtool(&["read", "--core", text(&full), "--phys", &at, "--as", "u8", "-l", "4"]).ok().stdout, expected);

    let own = demo(&["read", "--phys", "0x2000010", "-l", "64"]).ok();
    for (path, options) in [
        (&elf, &[][..]),
        (&lime, &[]),
        (&padded, &[]),
        (&raw, &["--segments", text(&map)]),
        (&elf, &["--kernel", text(&files.kernel)]),
    ] {
        let on = |command: &str, rest: &[&str]| {
            memtool(&[&[command, "--core", text(path), "--phys"], options, rest].concat())
        };
        let run = on("read", &["0x2000010", "-l", "64"]).ok();
        assert_eq!(run.stdout, own.stdout, "{path:?}");
        // What has no header is said to be taken for memory.
        let has_header = path != &padded && path != &raw;
        assert_eq!(run.stderr.is_empty(), has_header, "{path:?}: {}", run.stderr);
        assert_eq!(run.stderr.contains("is read as memory"), !has_header, "{path:?}: {}", run.stderr);
        on("write", &["0x2008010", "c0ffee", "--force"]).ok();
        assert!(on("read", &["0x2008010", "-l", "3"]).ok().stdout.contains("c0 ff ee"), "{path:?}");
        assert_eq!(on("read", &["--json", "0x2000010"]).ok().json()["physical"], true);
        let outside = on("read", &["0x7000000"]).exits(1);
        assert!(outside.stdout.contains("hole") || path == &padded, "{outside:?}");
    }
    memtool(&["read", "--core", text(&lime), "--phys", "0x2000010", "--as", "ptr"])
        .fails_saying(&["the size of a pointer", "--kernel"]);
    memtool(&["read", "--core", text(&elf), "--phys", "0x2000010", "--as", "ptr"]).ok();
    // A virtual address still needs page tables.
    memtool(&["read", "--core", text(&lime), "0xffffffff81200000"]).fails_saying(&["--kernel"]);
}

#[test]
fn integers_of_the_running_machine_have_its_order_of_bytes() {
    let directory = directory();
    let mut machine = demo_machine();
    for (arch, order) in [("powerpc64", "big"), ("powerpc64le", "little")] {
        machine["system"]["machine_arch"] = json!(arch);
        let path = write_machine(directory.path(), &machine);
        let read = |form: &[&str]| {
            let run = memtool(&[&["--machine", text(&path), "read", "--phys", "0x2000010"], form].concat()).ok();
            run.stdout.trim().to_owned()
        };
        let bytes = read(&["--as", "u8", "-l", "4"]);
        let bytes: Vec<u8> = bytes.lines().map(|line| line.parse().unwrap()).collect();
        let mut expected: [u8; 4] = bytes.try_into().unwrap();
        if order == "big" {
            expected.reverse();
        }
        assert_eq!(read(&["--as", "u32"]), u32::from_le_bytes(expected).to_string(), "{arch}");
    }
}

#[test]
fn physical_memory_is_read_where_the_running_kernel_is_not_found() {
    let directory = directory();
    for (arch, end, why) in
        [("amd64", "0x20000", "too little memory for a kernel"), ("armv7", "0x8000000", "this machine is armv7")]
    {
        let mut machine = demo_machine();
        machine["system"]["machine_arch"] = json!(arch);
        machine["memory"]["segments"] = json!([{"start": "0x1000", "end": end}]);
        machine["memory"]["reserved"] = json!([]);
        machine["process"]["mappings"] = json!([]);
        let path = write_machine(directory.path(), &machine);
        let run = on(&path, &["read", "--phys", "0x1008", "--as", "u64"]).ok();
        assert_eq!(run.stdout, "4104\n", "{arch}");
        on(&path, &["read", "--phys", "0x0"]).exits(1);
        on(&path, &["read", "0xffffffff80200000"]).fails_saying(&[why]);
    }
}

#[test]
fn a_core_file_of_virtual_memory_is_read_by_its_addresses_and_has_no_physical_ones() {
    let directory = directory();
    let [core, out] = ["kmem", "out"].map(|name| directory.path().join(name));
    demo(&["dump", "-k", "--format", "elf", "-o", text(&core)]).ok();
    let read = |arguments: &[&str]| memtool(&[&["read", "--core", text(&core)], arguments].concat());
    for (address, length) in
        [("0xffffffff81533000", "512"), ("0xfffffe00000ff000", "8192"), ("0xfffff80001000000", "64")]
    {
        let own = demo(&["read", address, "-l", length]).ok();
        assert_eq!(read(&[address, "-l", length]).ok().stdout, own.stdout, "{address}");
    }
    assert!(
        read(&["0xffffffff70000000"])
            .exits(1)
            .stdout
            .contains("not in the dump, which has only its own virtual addresses")
    );
    read(&["--phys", "0x1000000"]).fails_saying(&["core file of virtual memory"]);
    let run = memtool(&["translate", "--core", text(&core), "0xffffffff81533000"]).exits(1);
    assert!(run.stdout.contains("only its own virtual addresses"), "{run:?}");
    for to in ["lime", "raw", "padded"] {
        memtool(&["convert", text(&core), text(&out), "--format", to]).fails_saying(&["core file of virtual memory"]);
        assert!(!out.exists());
    }
    memtool(&["convert", text(&core), text(&out), "--format", "elf"]).ok();
    let converted = memtool(&["read", "--core", text(&out), "0xffffffff81533000", "-l", "512"]).ok();
    assert_eq!(converted.stdout, read(&["0xffffffff81533000", "-l", "512"]).ok().stdout);
    // One range alone is told by its virtual address, too.
    demo(&["dump", "-k", "--range", "0xffffffff81533000+4k", "--format", "elf", "--force", "-o", text(&core)]).ok();
    read(&["0xffffffff81533000"]).ok();
    memtool(&["convert", text(&core), text(&out), "--force", "--format", "lime"]).fails_saying(&["virtual memory"]);
}

#[test]
fn translate_shows_every_step() {
    let files = files(VERSION);
    let run =
        files.run("translate", &["version", "0xfffffe0000000000", "0xfffff80000024010", "0xfffffe0000010000"]).exits(1);
    let lines = run.lines();
    assert_eq!(lines[0], "0xfffffe0000002000 (version)");
    assert!(lines[2].starts_with("PD[0]  ") && lines[2].ends_with("  table at 0x30000"), "{lines:?}");
    assert!(lines[3].starts_with("PT[2]  ") && lines[3].ends_with("  4 KiB page 0x24000 rw-"), "{lines:?}");
    let offset: u64 = lines[4].strip_suffix(" in the dump").unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(lines[4].starts_with("physical address 0x24000, in a page of 4 KiB, rw-, at "), "{lines:?}");
    assert_eq!(bytes_at(&files.dump, usize::try_from(offset).unwrap(), VERSION.len()), VERSION.as_bytes());
    // The entries are where it says.
    let field = |line: &str, index: usize| line.split_whitespace().nth(index).unwrap().to_owned();
    for line in &lines[2..4] {
        let entry = u64::from_str_radix(&field(line, 1)[2..], 16).unwrap();
        let at: usize = field(line, 3).parse().unwrap();
        assert_eq!(bytes_at(&files.dump, at, 8), entry.to_le_bytes(), "{line}");
    }
    assert_eq!(field(lines[3], 2), "0x30010");
    assert!(run.stdout.contains("0xfffffe0000000000: not mapped: its PT entry is not valid"), "{run:?}");
    assert!(run.stdout.contains("physical address 0x24010, in the direct map, rw-, at "), "{run:?}");
    assert!(run.stdout.contains("0xfffffe0000010000: its page is not in the dump"), "{run:?}");
    let json = files.run("translate", &["--json", "version"]).ok().json();
    let found = &json["addresses"][0];
    assert_eq!((found["symbol"].as_str(), found["page_size"].as_u64()), (Some("version"), Some(4096)));
    assert_eq!((found["entries"].as_array().unwrap().len(), found["file_offset"].as_u64()), (2, Some(offset)));
}

#[test]
fn write_changes_these_bytes_and_no_others() {
    let files = files(VERSION);
    let before = std::fs::read(&files.dump).unwrap();
    let run = files.run("write", &["numbers", "--as", "u32", "0x11223344", "9"]).exits(1);
    assert_eq!(run.stdout, "0xfffffe0000002070 old 0102030405060708\n0xfffffe0000002070 new 4433221109000000\n");
    assert!(run.stderr.contains("nothing was written") && run.stderr.contains("--force"), "{run:?}");
    assert!(std::fs::read(&files.dump).unwrap() == before);

    let run = files.run("write", &["numbers", "--as", "u32", "0x11223344", "9", "--force"]).ok();
    assert!(run.stderr.contains("keep a copy"), "{run:?}");
    assert_eq!(files.read(&["numbers", "--as", "u32", "-l", "8"]).ok().stdout, "287454020\n9\n");
    let after = std::fs::read(&files.dump).unwrap();
    let changed: Vec<usize> = (0..before.len()).filter(|at| before[*at] != after[*at]).collect();
    assert_eq!((changed.len(), changed.last().unwrap() - changed.first().unwrap()), (8, 7));

    // The line that it prints puts them back.
    let undo = run.lines()[2].strip_prefix("to restore the old bytes: memtool ").unwrap().to_owned();
    let shell = format!("exec '{}' {undo}", env!("CARGO_BIN_EXE_memtool"));
    assert!(std::process::Command::new("sh").args(["-c", &shell]).status().unwrap().success());
    assert!(std::fs::read(&files.dump).unwrap() == before);

    // Across two pages; text with its NUL; a pointer.
    let border = format!("{:#x}", DATA + PAGE - 2);
    files.run("write", &[&border, "aabbccdd", "--force"]).ok();
    assert_eq!(files.read(&["--phys", "0x24ffe", "--as", "u32"]).ok().stdout, format!("{}\n", 0xddcc_bbaa_u32));
    files.run("write", &["version", "--as", "str", "mem", "--force"]).ok();
    let at = format!("{DATA:#x}");
    assert!(files.run("read", &[&at, "--as", "str"]).ok().stdout.starts_with("mem\n"));
    files.run("write", &["--phys", "0x24000", "--as", "str", VERSION, "--force"]).ok();
    files.run("write", &["--phys", "0x24040", "--as", "ptr", "0xfffffe0000002070", "--force"]).ok();
    assert_eq!(files.read(&["table", "--as", "ptr"]).ok().stdout, "0xfffffe0000002070 numbers\n");
}

#[test]
fn what_cannot_be_written_is_refused_and_left_alone() {
    let files = files(VERSION);
    let before = std::fs::read(&files.dump).unwrap();
    // Half of it would be in a hole.
    let border = format!("{:#x}", BASE + 6 * PAGE - 2);
    files.run("write", &[&border, "aabbccdd", "--force"]).fails_saying(&["0xfffffe0000006000: not mapped"]);
    files.run("write", &["numbers", "--as", "u8", "256", "--force"]).usage_error(&["'256' does not fit in 1 byte"]);
    files.run("write", &["numbers", "abc", "--force"]).usage_error(&["pairs of hexadecimal digits"]);
    let run = files.run("write", &[&format!("{:#x}", BASE + 8 * PAGE), "00"]).exits(1);
    assert!(run.stderr.contains("the kernel cannot write to 0xfffffe0000008000: it is mapped r-x"), "{run:?}");
    assert!(std::fs::read(&files.dump).unwrap() == before);
    let link = files.directory.path().join("link");
    std::os::unix::fs::symlink(&files.dump, &link).unwrap();
    memtool(&["write", "--core", text(&link), "--phys", "0x24000", "00", "--force"]).fails_saying(&["cannot open"]);
    std::fs::write(&files.dump, Compression::Zstd.compress(&before)).unwrap();
    for options in [&["numbers", "00", "--force"][..], &["numbers", "00"], &["--phys", "0x24000", "00"]] {
        files.run("write", options).fails_saying(&["compressed with zstd", "cannot be written"]);
    }
    // What cannot be written to the running kernel is said beforehand.
    for arguments in [&["write", "0xffffffff80300ffe", "00000000"][..], &["write", "--phys", "0x300000", "00"]] {
        let run = demo(arguments).exits(1);
        assert!(run.stderr.contains("text and read-only data") && run.stderr.contains("EFAULT"), "{run:?}");
        assert!(!run.stderr.contains("panic"), "{run:?}");
    }
    let run = demo(&["write", "nkpt", "00"]).exits(1);
    assert!(run.stderr.contains("use --force") && !run.stderr.contains("panic"), "{run:?}");
    assert_eq!(names(files.directory.path()), ["kernel", "link", "vmcore.0"]);
}

#[test]
fn a_recorded_machines_kernel_is_read() {
    let run = demo(&["read", "version", "--as", "str"]).ok();
    assert!(run.stdout.starts_with("FreeBSD 15.1-RELEASE MEMTOOL-DEMO"), "{run:?}");
    let run = demo(&["translate", "version"]).ok();
    let levels: Vec<&str> = run.lines()[2..5].iter().map(|line| line.split('[').next().unwrap()).collect();
    assert_eq!(levels, ["PML4", "PDP", "PD"]);
    assert_eq!(demo(&["--json", "translate", "version"]).ok().json()["host"], "recorded");
    // What is no RAM is not read.
    let run = demo(&["read", "--phys", "0xfee00000", "-l", "16"]).exits(1);
    assert!(run.stdout.contains("a hole of 16 B"), "{run:?}");
}
