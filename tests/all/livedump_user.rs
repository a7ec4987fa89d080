//! `memtool livedump --method`: dumps that memtool makes from user space, and the check of the kernel's own.

use crate::common::minidump::Minidump;
use crate::common::{
    address, command, demo, demo_machine, directory, failing, memtool, names, on, run, start, text, write_machine,
};
use memtool::dump::destination::Destination;
use memtool::encryption::Recipients;
use memtool::host::recorded::Recorded;
use memtool::live_kernel::RunningSymbols;
use memtool::livedump::{self, LiveDumpDestination, LiveDumpOptions, Method, Verify};
use memtool::observer::{Observer, Work};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use vmcore::kerneldump::Compression;

fn dump_by(machine: &Path, method: &str, directory: &Path) -> Vec<u8> {
    let target = directory.join(format!("by-{method}"));
    on(machine, &["livedump", "--force", "--method", method, text(&target)]).ok();
    std::fs::read(&target).unwrap()
}

#[test]
fn a_dump_from_user_space_is_the_kernels_own_byte_for_byte() {
    let directory = directory();
    let by_user = dump_by(Path::new("demo"), "user", directory.path());
    assert!(by_user == dump_by(Path::new("demo"), "kernel", directory.path()));
    let dump = Minidump::parse(by_user);
    for map in demo_machine()["kernel_maps"].as_array().unwrap().iter().filter(|map| map["region"] != "Direct map") {
        for page in (address(&map["start"])..address(&map["end"])).step_by(4096) {
            let found = dump.translate(page).unwrap_or_else(|| panic!("{page:#x} is not mapped"));
            assert!(dump.page(found.physical).is_some(), "the page behind {page:#x} is not in the dump");
        }
    }
}

#[test]
fn a_kernel_with_five_levels_of_page_tables_is_dumped_read_and_translated() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["system"]["osreldate"] = json!(1_501_000);
    for map in machine["kernel_maps"].as_array_mut().unwrap() {
        if map["region"] == "Direct map" {
            for border in ["start", "end"] {
                map[border] =
                    json!(format!("{:#x}", address(&map[border]) - 0xffff_f800_0000_0000 + 0xff01_0000_0000_0000));
            }
        }
    }
    let path = write_machine(directory.path(), &machine);
    let dump = dump_by(&path, "user", directory.path());
    assert!(dump == dump_by(&path, "kernel", directory.path()));
    let parsed = Minidump::parse(dump);
    assert_eq!(parsed.direct_map, (0xff01_0000_0000_0000, 0xff21_0000_0000_0000));
    let found = on(&path, &["--json", "translate", "version"]).ok().json();
    let levels: Vec<&Value> =
        found["addresses"][0]["entries"].as_array().unwrap().iter().map(|entry| &entry["level"]).collect();
    assert_eq!(levels, ["PML5", "PML4", "PDP", "PD", "PT"]);
    let version = on(&path, &["read", "--as", "str", "version"]).ok().stdout;
    assert!(version.starts_with("FreeBSD "), "{version}");
    // The message buffer is in the direct map.
    let buffer = on(&path, &["read", "--as", "ptr", "msgbufp"]).ok().stdout;
    assert!(buffer.starts_with("0xff01"), "{buffer}");
    assert!(on(&path, &["read", "-l", "16", buffer.trim_end()]).ok().stdout.contains("|"));
    // What the kernel says of itself is believed by the place of its members only.
    machine["symbols"] = json!({"kva_layout": {"address": "0xffffffff81533000", "size": 8}});
    let path = write_machine(directory.path(), &machine);
    on(&path, &["read", "version"]).fails_saying(&["kva_layout", "8 bytes"]);
}

#[test]
fn an_older_kernel_that_counts_physical_pages_has_the_same_pages() {
    let directory = directory();
    let mut machine = demo_machine();
    machine.as_object_mut().unwrap().remove("kernel");
    // Without the RAM behind the large hole, whose bits would be pages of the old bitmap.
    machine["memory"]["segments"].as_array_mut().unwrap().pop();
    let path = write_machine(directory.path(), &machine);
    let new = Minidump::parse(dump_by(&path, "kernel", directory.path()));
    machine["system"]["osreldate"] = json!(1_201_000);
    let path = write_machine(directory.path(), &machine);
    let target = directory.path().join("older");
    on(&path, &["livedump", text(&target)]).ok().says_in_one_line(&["FreeBSD 14.0", "memtool makes the dump"]);
    let old = Minidump::parse(std::fs::read(&target).unwrap());
    assert_eq!(old.version, 3);
    assert!(old.pages.keys().eq(new.pages.keys()));
}

/// Keeps what the library tells.
#[derive(Default)]
struct Heard {
    warnings: Vec<String>,
    remarks: Vec<String>,
    phases: Vec<&'static str>,
}

impl Observer for Heard {
    fn warn(&mut self, warning: &str) {
        self.warnings.push(warning.to_owned());
    }

    fn remark(&mut self, remark: &str) {
        self.remarks.push(remark.to_owned());
    }

    fn begin(&mut self, work: Work<'_>) -> memtool::Result<()> {
        self.phases.push(match work {
            Work::Bytes { phase, .. } => phase.name(),
            Work::KernelDump { .. } => "the kernel",
        });
        Ok(())
    }
}

#[test]
fn the_library_decides_who_makes_a_dump() {
    let directory = directory();
    let mut lossy = demo_machine();
    lossy["live_dump_fault"] = json!("lost-pages");
    let mut old = demo_machine();
    old["system"]["osreldate"] = json!(1_201_000);
    for (machine, is_lossy, makes, text) in
        [(demo_machine(), false, false, ""), (lossy, true, true, "lacks"), (old, false, true, "makes no live dumps")]
    {
        let host = Recorded::open(&write_machine(directory.path(), &machine)).unwrap();
        let file = directory.path().join("dump");
        let mut options = LiveDumpOptions {
            destination: LiveDumpDestination::Output(Destination::File(file.clone())),
            method: Method::Auto,
            compression: Compression::None,
            level: None,
            recipients: Recipients::nobody(),
            remote: memtool::remote::Settings::default(),
            keep_header: false,
            verify: Verify::Full,
            info: None,
            check_space: true,
            replace: true,
            limit: None,
            without: vmcore::minidump::left_out::Terms::default(),
            image: None,
            lenient: false,
        };
        let mut heard = Heard::default();
        let dump = livedump::run(&host, &RunningSymbols(&host), &options, &mut heard).unwrap();
        assert_eq!(dump.made.is_some(), makes, "{text}");
        assert_eq!(dump.size, file.metadata().unwrap().len());
        assert_eq!(dump.pages(), Some(Minidump::parse(std::fs::read(&file).unwrap()).pages.len() as u64));
        let said = if is_lossy { &heard.warnings } else { &heard.remarks };
        assert_eq!(said.iter().any(|said| said.contains(text) && said.contains("memtool makes the dump")), makes);
        // The kernel's pages are counted before it is asked, and memtool's own dump is made in steps.
        let asked: &[&str] = &["reading page tables", "the kernel"];
        let made: &[&str] = &["reading page tables", "copying", "verifying"];
        assert_eq!(heard.phases, if makes { [asked, made].concat() } else { asked.to_vec() }, "{text}");
        options.method = Method::User;
        options.compression = Compression::Zstd;
        let mut heard = Heard::default();
        livedump::run(&host, &RunningSymbols(&host), &options, &mut heard).unwrap();
        assert_eq!(heard.phases, ["reading page tables", "compressing", "verifying"]);
        options.compression = Compression::None;
        // Told to leave it to the kernel, it does, for better or worse.
        options.method = Method::Kernel;
        let taken = livedump::run(&host, &RunningSymbols(&host), &options, &mut ());
        assert!(taken.map_or(makes && !is_lossy, |dump| dump.made.is_none()), "{text}");
    }
}

#[test]
fn a_kernel_that_loses_pages_is_found_out() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["live_dump_fault"] = json!("lost-pages");
    let path = write_machine(directory.path(), &machine);
    let whole = dump_by(Path::new("demo"), "kernel", directory.path());
    let lossy = dump_by(&path, "kernel", directory.path());
    let (pages, left) = (Minidump::parse(whole.clone()).pages.len(), Minidump::parse(lossy).pages.len());
    assert!(left < pages, "{left} of {pages}");
    let lost = format!("lacks {} of the ", pages - left);
    for compression in ["--uncompress", "--zstd", "--gzip"] {
        let target = directory.path().join("out");
        let said = on(&path, &["livedump", "--force", compression, text(&target)]).ok();
        said.says_in_one_line(&["warning", &lost, "memtool makes the dump"]);
        let written = std::fs::File::open(&target).unwrap();
        let mut plain = Vec::new();
        match compression {
            "--zstd" => drop(zstd::stream::copy_decode(written, &mut plain)),
            "--gzip" => drop(std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(written), &mut plain)),
            _ => plain = std::fs::read(&target).unwrap(),
        }
        assert!(plain == whole, "{compression}");
    }
    let target = directory.path().join("no-header");
    let said = on(&path, &["livedump", "--keep-header", text(&target)]).ok().stderr;
    assert!(said.contains("warning: --keep-header"), "{said}");
    assert!(std::fs::read(&target).unwrap() == whole);
    let report = on(&path, &["--json", "livedump", "--force", text(&directory.path().join("out"))]).ok().json();
    assert_eq!((&report["method"], &report["page_count"]), (&json!("user"), &json!(pages)));
}

#[test]
fn a_dump_that_is_damaged_is_not_kept_unless_nobody_looks() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["live_dump_fault"] = json!("damaged");
    let path = write_machine(directory.path(), &machine);
    let target = directory.path().join("out");
    for compression in ["--uncompress", "--gzip", "--zstd"] {
        let take =
            |options: &[&str]| on(&path, &[&["livedump", "--force", compression, text(&target)], options].concat());
        for verify in ["full", "quick"] {
            take(&["--method", "kernel", &format!("--verify={verify}")]).fails_saying(&["the dump is damaged: "]);
            assert_eq!(names(directory.path()).len(), 1, "{compression}, {verify}: more than the machine");
        }
        take(&["--method", "kernel", "--verify=none"]).ok();
        std::fs::remove_file(&target).unwrap();
    }
    // Left alone, memtool makes the dump itself.
    on(&path, &["livedump", text(&target)]).ok().says_in_one_line(&["the dump is damaged: ", "memtool makes the dump"]);
    assert!(std::fs::read(&target).unwrap() == dump_by(Path::new("demo"), "kernel", directory.path()));
}

#[test]
fn a_dump_from_user_space_can_be_interrupted() {
    let directory = directory();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = command();
    command.args(["--machine", "demo", "livedump", "--method", "user", "-", "--info"]);
    let running = start(command.arg(directory.path().join("info")).stdout(writer));
    drop(command);
    // It is at the pages, and the pipe is full.
    std::io::Read::read_exact(&mut reader, &mut [0; 1]).unwrap();
    running.signal(Signal::SIGINT);
    let run = running.end().exits(130);
    assert!(run.stderr.contains("SIGINT: the dump is not complete"), "{run:?}");
    assert_eq!(names(directory.path()), [""; 0]);
}

#[test]
fn another_hosts_connection_serves_for_the_dump_that_replaces_the_kernels() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["live_dump_fault"] = json!("lost-pages");
    let path = write_machine(directory.path(), &machine);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    // It takes one connection and no other.
    let receiver = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        drop(listener);
        let mut received = Vec::new();
        std::io::Read::read_to_end(&mut connection, &mut received).unwrap();
        received
    });
    on(&path, &["livedump", &address]).ok().says_in_one_line(&["warning", "memtool makes the dump"]);
    assert!(receiver.join().unwrap() == dump_by(Path::new("demo"), "kernel", directory.path()));
}

#[test]
fn a_kernel_that_loses_nothing_is_believed() {
    let directory = directory();
    let run = demo(&["--json", "livedump", text(&directory.path().join("out"))]).ok();
    assert_eq!(run.stderr, "");
    assert_eq!(run.json()["method"], "kernel");
}

#[test]
fn a_check_that_cannot_be_made_does_not_stop_the_dump() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["symbols"] = json!({"vm_page_dump": null});
    let path = write_machine(directory.path(), &machine);
    let target = directory.path().join("out");
    on(&path, &["livedump", text(&target)]).ok().says_in_one_line(&["not checked", "'vm_page_dump'"]);
    assert!(target.exists());
}

#[test]
fn a_missing_or_senseless_symbol_leaves_nothing() {
    for (name, symbol, words) in [
        ("msgbufp", Value::Null, "no symbol 'msgbufp'"),
        ("nkpt", json!({"address": "0xfee00000", "size": 4}), "outside of the kernel's image"),
        ("KPML4phys", json!({"address": "0xffffffff81532000", "size": 8}), "KPML4phys"),
        ("dump_avail", json!({"address": "0xffffffffffff0000", "size": 64}), "EFAULT"),
    ] {
        let directory = directory();
        let files = directory.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let mut machine = demo_machine();
        machine["symbols"] = json!({name: symbol});
        let path = write_machine(directory.path(), &machine);
        on(&path, &["livedump", "--method", "user", text(&files.join("out"))]).fails_saying(&[name, words]);
        assert_eq!(names(&files), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn pages_that_cannot_be_read_are_zeros_and_reported() {
    let directory = directory();
    let whole = Minidump::parse(dump_by(Path::new("demo"), "user", directory.path()));
    let page = whole.translate(0xffff_ffff_8030_0000).unwrap().physical;
    let mut machine = demo_machine();
    machine["unreadable"] = json!([{"start": format!("{page:#x}"), "end": format!("{:#x}", page + 0x2000)}]);
    let path = write_machine(directory.path(), &machine);
    let target = directory.path().join("out");
    on(&path, &["livedump", "--method", "user", text(&target)]).ok().says_in_one_line(&["2 pages could not be read"]);
    let dump = Minidump::parse(std::fs::read(&target).unwrap());
    assert!(dump.pages.keys().eq(whole.pages.keys()));
    for other in dump.pages.keys() {
        let expected = if (page..page + 0x2000).contains(other) { &[0; 4096][..] } else { whole.page(*other).unwrap() };
        assert!(dump.page(*other).unwrap() == expected, "{other:#x}");
    }
    let report = on(&path, &["--json", "livedump", "--force", "--method", "user", text(&target)]).ok().json();
    assert_eq!(report["bytes_unreadable"], 8192);
    assert_eq!(report["unreadable"][0]["why"], "EIO");
}

#[test]
fn it_streams_without_a_file() {
    let directory = directory();
    let whole = dump_by(Path::new("demo"), "user", directory.path());
    let script = format!(
        "cd {} && TMPDIR=/nowhere {} --machine demo livedump --method user --zstd - > {}",
        text(directory.path()),
        env!("CARGO_BIN_EXE_memtool"),
        text(&directory.path().join("stream"))
    );
    run(std::process::Command::new("sh").args(["-c", &script])).ok();
    let stream = zstd::decode_all(std::fs::File::open(directory.path().join("stream")).unwrap()).unwrap();
    assert!(stream == whole);
}

#[test]
fn it_goes_into_a_directory_of_dumps_too() {
    let directory = directory();
    demo(&["livedump", "--method", "user", "--zstd", "--dir", text(directory.path())]).ok();
    let info = std::fs::read_to_string(directory.path().join("info.0")).unwrap();
    assert!(info.contains("Architecture: amd64") && info.contains("Parity: "), "{info}");
    let dump = zstd::decode_all(std::fs::File::open(directory.path().join("livecore.0.zst")).unwrap()).unwrap();
    Minidump::parse(dump);
}

#[test]
fn only_some_architectures_and_no_header_behind_it() {
    let directory = directory();
    let target = directory.path().join("out");
    demo(&["livedump", "--method", "user", "--keep-header", text(&target)]).fails_saying(&["--keep-header"]);
    for (architecture, page_size) in
        [("i386", 4096), ("aarch64", 65536), ("amd64", 16384), ("riscv64", 16384), ("powerpc64", 65536)]
    {
        let mut machine = demo_machine();
        machine["system"]["machine_arch"] = json!(architecture);
        machine["system"]["page_size"] = json!(page_size);
        machine["process"]["mappings"] = json!([]);
        let path = write_machine(directory.path(), &machine);
        on(&path, &["livedump", "--method", "user", text(&target)]).fails_saying(&[
            "supported on amd64, aarch64, riscv64 and powerpc64",
            &format!("{architecture} with pages of {page_size} bytes"),
        ]);
    }
    memtool(&["--machine", "demo", "livedump", "--method", "best", text(&target)]).usage_error(&["best"]);
}

#[test]
fn the_kernels_devices_must_be_there() {
    let directory = directory();
    let files = directory.path().join("files");
    std::fs::create_dir(&files).unwrap();
    for (operation, errno) in [("open", "EACCES"), ("read", "EPERM"), ("kldsym", "EPERM")] {
        let path = write_machine(directory.path(), &failing(&demo_machine(), operation, errno));
        on(&path, &["livedump", "--method", "user", text(&files.join("out"))]).fails_saying(&[errno]);
    }
    assert_eq!(names(&files), Vec::<String>::new());
}

/// An ELF file of 64 bits with a symbol table and nothing else: section headers at 64, names of symbols behind.
fn image(symbols: &[(&str, u64, u64)]) -> Vec<u8> {
    let mut names = vec![0];
    let mut table = vec![0; 24];
    for (name, address, size) in symbols {
        table.extend(u32::try_from(names.len()).unwrap().to_le_bytes());
        // STB_GLOBAL, STT_OBJECT; the section is any.
        table.extend([0x11, 0, 1, 0]);
        table.extend(address.to_le_bytes());
        table.extend(size.to_le_bytes());
        names.extend(name.bytes().chain([0]));
    }
    let mut elf = b"\x7fELF\x02\x01\x01\x09\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    elf.extend([0; 16]);
    elf.extend(64u64.to_le_bytes());
    elf.extend([0; 4]);
    for half in [64u16, 56, 0, 64, 3, 0] {
        elf.extend(half.to_le_bytes());
    }
    let mut section = |kind: u32, offset: usize, size: usize, link: u32| {
        elf.extend([0u32, kind].map(u32::to_le_bytes).concat());
        elf.extend([0, 0, offset as u64, size as u64].map(u64::to_le_bytes).concat());
        elf.extend([link, 1].map(u32::to_le_bytes).concat());
        elf.extend([8u64, 24].map(u64::to_le_bytes).concat());
    };
    let at = 64 + 3 * 64;
    section(0, 0, 0, 0);
    section(2, at, table.len(), 2);
    section(3, at + table.len(), names.len(), 0);
    elf.extend(table);
    elf.extend(names);
    elf
}

/// The demo kernel's symbols, as its variables lie.
fn demo_symbols() -> Vec<(&'static str, u64, u64)> {
    let host =
        memtool::host::open(&memtool::host::Selection { machine: Some(Path::new("demo")), device: None }).unwrap();
    let names = vmcore::live::SYMBOLS;
    let symbols = names.into_iter().filter_map(|name| Some((name, host.kernel_symbol(name).unwrap()?)));
    symbols.map(|(name, symbol)| (name, symbol.address, symbol.size)).collect()
}

/// A machine that knows no symbols itself.
fn without_symbols(directory: &Path) -> PathBuf {
    let mut machine = demo_machine();
    machine["symbols"] = demo_symbols().into_iter().map(|(name, _, _)| (name.to_owned(), Value::Null)).collect();
    write_machine(directory, &machine)
}

#[test]
fn a_kernel_image_serves_in_place_of_the_kernels_symbols() {
    let directory = directory();
    let machine = without_symbols(directory.path());
    let (kernel, target) = (directory.path().join("kernel"), directory.path().join("out"));
    std::fs::write(&kernel, image(&demo_symbols())).unwrap();
    on(&machine, &["livedump", "--method", "user", text(&target)]).fails_saying(&["no symbol"]);
    on(&machine, &["livedump", "--method", "user", "--kernel", text(&kernel), text(&target)]).ok();
    assert!(std::fs::read(&target).unwrap() == dump_by(Path::new("demo"), "kernel", directory.path()));

    let mut other = demo_symbols();
    for (name, address, _) in &mut other {
        if *name == "version" {
            *address += 1;
        }
    }
    std::fs::write(&kernel, image(&other)).unwrap();
    let target = directory.path().join("other");
    on(&machine, &["livedump", "--method", "user", "--kernel", text(&kernel), text(&target)])
        .fails_saying(&["not the image of the running kernel", text(&kernel)]);
    assert!(!target.exists());
}

#[test]
fn what_is_no_kernel_image_is_refused() {
    let directory = directory();
    let (kernel, target) = (directory.path().join("kernel"), directory.path().join("out"));
    let whole = image(&demo_symbols());
    let refused = |bytes: &[u8]| {
        std::fs::write(&kernel, bytes).unwrap();
        let arguments = ["livedump", "--method", "user", "--kernel", text(&kernel), text(&target)];
        demo(&arguments).fails_saying(&["not a usable kernel image", text(&kernel)]);
    };
    for length in [0, 1, 63, 64, 200, 256, 300, whole.len() - 1] {
        refused(&whole[..length]);
    }
    // Each a field that says what is not so: offset of the section headers, their size, a section's offset and
    // size, the section of the names and its size.
    for (offset, bytes) in [(40, 8), (58, 2), (152, 8), (160, 8), (168, 4), (224, 8)] {
        let mut broken = whole.clone();
        broken[offset..offset + bytes].fill(0xff);
        refused(&broken);
    }
    let mut no_table = whole.clone();
    no_table[132] = 1;
    refused(&no_table);
    let mut big_endian = whole;
    big_endian[5] = 2;
    refused(&big_endian);
    demo(&["livedump", "--kernel", text(directory.path()), text(&target)]).fails_saying(&["regular file"]);
    assert!(!target.exists());
}
