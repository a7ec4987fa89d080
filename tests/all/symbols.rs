//! `memtool symbols`: of files, of dumps, and of recorded machines.

use crate::common::{Run, demo, demo_machine, directory, memtool, on, on_terminal, text, write_machine};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use vmcore_synth::image::{
    AMD64, ET_DYN, ET_EXEC, FUNC, GLOBAL, I386, IFUNC, Image, LOCAL, NOTYPE, OBJECT, POWERPC64, SHF_EXECINSTR,
    SHF_WRITE, TARGETS, Target, bss, section, symbol, write,
};
use vmcore_synth::{Arch, Compression, Endianness, MinidumpSpec, every_variant, live_dump};

const VERSION: &str = "FreeBSD 14.1-RELEASE releng/14.1 GENERIC";

/// A kernel with its text at `base` and its data, which begins with `version`, at `data`.
fn kernel(target: Target, base: u64, data: u64, version: &str) -> Image {
    let sections = vec![
        section(".text", SHF_EXECINSTR, base, vec![0; 0x400]),
        section(".data", SHF_WRITE, data, [version.as_bytes(), b"\n\0"].concat()),
        bss(".bss", data + 0x100, 0xf00),
    ];
    let constant = |name, offset| symbol(name, (GLOBAL, OBJECT), 3, data + offset, 4);
    let symbols = vec![
        symbol("kern_sync", (GLOBAL, FUNC), 1, base + 0x100, 0x80),
        symbol("helper", (LOCAL, FUNC), 1, base + 0x180, 0x20),
        symbol("helper", (LOCAL, FUNC), 1, base + 0x1a0, 0x20),
        symbol("calltrap", (GLOBAL, NOTYPE), 1, base + 0x200, 0),
        symbol("memcpy", (GLOBAL, IFUNC), 1, base + 0x300, 0x10),
        symbol("evil\u{1b}[31m", (LOCAL, OBJECT), 3, data + 0x400, 4),
        symbol("version", (GLOBAL, OBJECT), 2, data, version.len() as u64 + 2),
        symbol("linker_files", (LOCAL, OBJECT), 3, data + 0x100, 16),
        constant("kld_off_address", 0x120),
        constant("kld_off_filename", 0x124),
        constant("kld_off_pathname", 0x128),
        constant("kld_off_next", 0x12c),
    ];
    Image::new(target, ET_EXEC, sections, symbols)
}

const BASE: u64 = 0xffff_ffff_8020_0000;

fn module() -> Image {
    Image { kind: ET_DYN, ..kernel(AMD64, 0, 0x1000, VERSION) }
}

fn amd64_kernel(directory: &Path) -> PathBuf {
    write(directory, "kernel", &kernel(AMD64, BASE, BASE + 0x1000, VERSION))
}

fn of_kernel(kernel: &Path, arguments: &[&str]) -> Run {
    memtool(&[&["symbols", "--kernel", text(kernel)], arguments].concat())
}

#[test]
fn names_patterns_and_addresses_of_a_file() {
    let directory = directory();
    let kernel = amd64_kernel(directory.path());
    let run = of_kernel(&kernel, &["calltrap", "kern_sync", "helper"]).ok();
    let expected = [
        "0xffffffff80200200\t-\tlabel\tcalltrap\tkernel",
        "0xffffffff80200100\t128\tfunction\tkern_sync\tkernel",
        "0xffffffff80200180\t32\tfunction\thelper\tkernel",
        "0xffffffff802001a0\t32\tfunction\thelper\tkernel",
    ];
    assert_eq!((run.lines(), run.stderr.as_str()), (expected.to_vec(), ""));
    let run = of_kernel(&kernel, &["mem*", "kld_off_[!af]*"]).ok();
    let names: Vec<_> = run.lines().iter().map(|line| line.split('\t').nth(3).unwrap()).collect();
    assert_eq!(names, ["memcpy", "kld_off_next", "kld_off_pathname"]);
    let run = of_kernel(&kernel, &["--addr", "0xffffffff80200123", "0xffffffff80200200"]).ok();
    let expected = [
        "0xffffffff80200123\t128\tfunction\tkern_sync+0x23\tkernel",
        "0xffffffff80200200\t-\tlabel\tcalltrap+0x0\tkernel",
    ];
    assert_eq!(run.lines(), expected);
}

#[test]
fn every_class_and_order_is_read() {
    let directory = directory();
    for target in TARGETS {
        let kernel = write(directory.path(), "kernel", &kernel(target, 0xc040_0000, 0xc050_0000, VERSION));
        let run = of_kernel(&kernel, &["kern_sync", "kld_off_next"]).ok();
        let expected = ["0xc0400100\t128\tfunction\tkern_sync\tkernel", "0xc050012c\t4\tobject\tkld_off_next\tkernel"];
        assert_eq!(run.lines(), expected, "{target:?}");
    }
}

#[test]
fn a_signed_address_of_arm64_has_the_name_of_the_plain_one() {
    let directory = directory();
    let base = 0xffff_0000_0020_0000;
    // Bits 48 to 54 and 56 to 63 are the signature.
    let signed = format!("{:#x}", 0xc290_0000_0020_0110_u64);
    let of = |machine, base| {
        let image = kernel(Target { machine, ..AMD64 }, base, base + 0x1000, VERSION);
        of_kernel(&write(directory.path(), "kernel", &image), &["--addr", &signed])
    };
    let arm64 = of(vmcore_synth::image::EM_AARCH64, base).ok();
    assert_eq!(arm64.stdout, format!("{signed}\t128\tfunction\tkern_sync+0x10\tkernel\n"));
    // Elsewhere there are no signatures.
    of(vmcore_synth::image::EM_RISCV, base).exits(1).says_in_one_line(&["no symbol contains", &signed]);
}

#[test]
fn what_is_not_found_is_said_and_the_rest_printed() {
    let directory = directory();
    let kernel = amd64_kernel(directory.path());
    let run = of_kernel(&kernel, &["nothing", "kern_sync", "xy*"]).exits(1);
    assert_eq!(run.lines().len(), 1);
    assert_eq!(run.stderr.lines().count(), 2);
    assert!(run.stderr.contains("no symbol is named 'nothing'") && run.stderr.contains("no symbol matches 'xy*'"));
    // Before the first and behind the last.
    of_kernel(&kernel, &["--addr", "0xffffffff802000ff"]).fails_saying(&["no symbol contains 0xffffffff802000ff"]);
    of_kernel(&kernel, &["--addr", "0xffffffffffffffff"]).fails_saying(&["no symbol contains", text(&kernel)]);
    of_kernel(&kernel, &["-q", "x["]).usage_error(&["not a pattern", "'[' without ']'"]);
}

#[test]
fn json_has_every_field() {
    let directory = directory();
    let kernel = amd64_kernel(directory.path());
    let document = of_kernel(&kernel, &["--json", "--addr", "0xffffffff80200123", "1"]).exits(1).json();
    let expected = json!({
        "schema": "memtool.symbols",
        "version": 1,
        "host": "image",
        "source": text(&kernel),
        "symbols": [{
            "name": "kern_sync",
            "address": "0xffffffff80200100",
            "size": 128,
            "kind": "function",
            "binding": "global",
            "module": "kernel",
            "query": "0xffffffff80200123",
            "offset": "0x23",
        }],
        "missing": ["no symbol contains 0x1"],
        "warnings": [],
    });
    assert_eq!(document, expected);
    let document = of_kernel(&kernel, &["--json", "helper"]).ok().json();
    assert_eq!(document["symbols"].as_array().unwrap().len(), 2);
    assert_eq!(document["symbols"][0].get("query"), None);
}

#[test]
fn names_from_files_do_not_command_the_terminal() {
    let directory = directory();
    let run = of_kernel(&amd64_kernel(directory.path()), &["evil*"]).ok();
    assert!(run.stdout.contains(r"evil\u{1b}[31m"), "{run:?}");
}

#[test]
fn the_command_line_says_what_is_asked_and_of_what() {
    memtool(&["symbols"]).usage_error(&["NAME|PATTERN"]);
    memtool(&["symbols", "a", "--addr", "1"]).usage_error(&["cannot be used with"]);
    memtool(&["symbols", "--addr", "x"]).usage_error(&["not a number"]);
    let directory = directory();
    let nothing = directory.path().join("nothing");
    std::fs::write(&nothing, b"nothing").unwrap();
    memtool(&["symbols", "--core", text(&nothing), "a"]).fails_saying(&["--kernel", "/boot/kernel/kernel"]);
    of_kernel(&nothing, &["a"]).fails_saying(&["not a usable kernel image", text(&nothing)]);
    of_kernel(directory.path(), &["a"]).fails_saying(&["regular file"]);
}

#[test]
fn a_recorded_machine_knows_names() {
    let run = demo(&["symbols", "dump_avail", "nothing"]).exits(1);
    assert_eq!(run.lines().len(), 1);
    assert!(run.lines()[0].ends_with("\t1040\t-\tdump_avail\tkernel"), "{run:?}");
    run.says_in_one_line(&["recorded machine", "'nothing'"]);
    let directory = directory();
    let unknown = machine(directory.path(), "FreeBSD 14.2-RELEASE MEMTOOL", &[]);
    on(&unknown, &["symbols", "dump*"]).fails_saying(&["the file of the running kernel is unknown", "--kernel"]);
    let shown = on_terminal(&["symbols", "dump_avail"]);
    assert!(shown.starts_with("ADDRESS") && shown.contains("(recorded machine)"), "{shown}");
    assert_eq!(demo(&["symbols", "--json", "dump_avail"]).ok().json()["host"], "recorded");
}

/// A machine whose kernel and modules these files are.
fn machine(directory: &Path, version: &str, files: &[(&str, &Path, u64)]) -> PathBuf {
    let mut machine = demo_machine();
    machine["system"]["version"] = version.into();
    let file = |(name, path, address): &(&str, &Path, u64)| json!({ "name": name, "path": path, "address": format!("{address:#x}"), "size": 0x10_0000 });
    machine["kernel_files"] = files.iter().map(file).collect::<Vec<Value>>().into();
    machine["symbols"]["in_module"] = json!({ "address": "0xffffffff83000010", "size": 8 });
    write_machine(directory, &machine)
}

#[test]
fn a_size_that_is_unknown_is_null() {
    let directory = directory();
    let mut machine = demo_machine();
    machine["symbols"]["unsized"] = json!({ "address": "0xffffffff83000010", "size": 0 });
    let machine = write_machine(directory.path(), &machine);
    let found = on(&machine, &["symbols", "unsized", "--json"]).ok().json();
    assert_eq!(found["symbols"][0]["size"], Value::Null, "{found}");
    assert!(on(&machine, &["symbols", "unsized"]).ok().lines()[0].starts_with("0xffffffff83000010\t-\t"));
}

#[test]
fn the_files_of_a_recorded_machine_know_patterns_and_addresses() {
    let (directory, elsewhere) = (directory(), crate::common::directory());
    let kernel = amd64_kernel(directory.path());
    let module = write(elsewhere.path(), "a.ko", &module());
    let files = [("kernel", kernel.as_path(), BASE), ("a.ko", &module, 0xffff_ffff_8300_0000)];
    let here = machine(directory.path(), VERSION, &files);
    let run = on(&here, &["symbols", "kern_s*"]).ok().of_recording();
    let expected =
        ["0xffffffff80200100\t128\tfunction\tkern_sync\tkernel", "0xffffffff83000100\t128\tfunction\tkern_sync\ta.ko"];
    assert_eq!((run.lines(), run.stderr.as_str()), (expected.to_vec(), ""));
    let run = on(&here, &["symbols", "--addr", "0xffffffff83000101"]).ok();
    assert_eq!(run.lines(), ["0xffffffff83000101\t128\tfunction\tkern_sync+0x1\ta.ko"]);
    assert_eq!(on(&here, &["symbols", "in_module"]).ok().lines(), ["0xffffffff83000010\t8\t-\tin_module\ta.ko"]);
    // They are recorded.
    let copy = on(&here, &["record", "-"]).ok().json();
    assert_eq!(copy["kernel_files"][1]["name"], "a.ko");

    let gone = machine(directory.path(), VERSION, &[files[0], ("b.ko", Path::new("/nowhere/b.ko"), 1)]);
    on(&gone, &["symbols", "kern_s*"]).ok().of_recording().says_in_one_line(&["warning", "b.ko", "missing"]);
    let other = machine(directory.path(), "FreeBSD 13.2-RELEASE", &files);
    on(&other, &["symbols", "kern_s*"]).fails_saying(&["not the running kernel, FreeBSD 13.2", "but FreeBSD 14.1"]);
    let failing = crate::common::failing(&crate::common::demo_machine(), "kldstat", "EPERM");
    on(&write_machine(directory.path(), &failing), &["symbols", "a*"]).fails_saying(&["EPERM", "list the files"]);
}

#[test]
fn addresses_of_the_running_kernel_have_names_in_every_command() {
    let (directory, elsewhere) = (directory(), crate::common::directory());
    let kernel = amd64_kernel(directory.path());
    let module = write(elsewhere.path(), "a.ko", &module());
    let files = [("kernel", kernel.as_path(), BASE), ("a.ko", &module, 0xffff_ffff_8300_0000)];
    let here = machine(directory.path(), VERSION, &files);
    for (address, name) in [("0xffffffff80200101", "kern_sync+0x1"), ("0xffffffff83000101", "kern_sync+0x1")] {
        // Whether anything is mapped there or not.
        let run = on(&here, &["translate", address]).of_recording();
        assert_eq!((run.lines()[0], run.stderr.as_str()), (&*format!("{address} ({name})"), ""));
        let json = on(&here, &["read", "--json", "-l", "8", address]).json();
        assert_eq!(json["symbol"], name, "{json}");
    }
    // Where the files are not to be had, that is said, and the addresses are shown.
    let other = machine(directory.path(), "FreeBSD 13.2-RELEASE", &files);
    let run = on(&other, &["translate", "0xffffffff80200101"]);
    assert_eq!(run.lines()[0], "0xffffffff80200101");
    assert!(run.stderr.contains("no names") && run.stderr.contains("but FreeBSD 14.1"), "{run:?}");
    assert_eq!(on(&other, &["-q", "translate", "0xffffffff80200101"]).stderr, "");
}

/// A minidump with a list of modules in a page of its kernel's data, and the address of that page.
fn dump_with_modules(mut spec: MinidumpSpec, modules: &[(&str, u64)]) -> (MinidumpSpec, u64) {
    let translations = spec.translations();
    let (data, page) = translations.iter().find(|(_, page)| spec.pages.contains_key(&page.physical)).unwrap();
    let word = if spec.arch.is_32_bit() { 4 } else { 8 };
    let mut bytes = vec![0; spec.page_size as usize];
    let mut put = |offset: u64, value: u64, size: usize| {
        let (big, little) = (value.to_be_bytes(), value.to_le_bytes());
        let value = if spec.order == Endianness::Big { &big[8 - size..] } else { &little[..size] };
        bytes[offset as usize..][..size].copy_from_slice(value);
    };
    for (index, offset) in [0, 8, 16, 24].into_iter().enumerate() {
        put(0x120 + 4 * index as u64, offset, 4);
    }
    let at = |index: usize| if index < modules.len() { data + 0x200 + 0x20 * index as u64 } else { 0 };
    put(0x100, at(0), word);
    for (index, (_, address)) in modules.iter().enumerate() {
        let name = 0x800 + 0x40 * index as u64;
        for (offset, value) in [(0, *address), (8, data + name), (16, 0), (24, at(index + 1))] {
            put(at(index) - data + offset, value, word);
        }
    }
    bytes[..VERSION.len()].copy_from_slice(VERSION.as_bytes());
    for (index, (name, _)) in modules.iter().enumerate() {
        bytes[0x800 + 0x40 * index..][..name.len()].copy_from_slice(name.as_bytes());
    }
    let (data, physical) = (*data, page.physical);
    spec.pages.insert(physical, bytes);
    (spec, data)
}

fn target(spec: &MinidumpSpec) -> Target {
    let machine = match spec.arch {
        Arch::Amd64 => AMD64.machine,
        Arch::Arm64 => vmcore_synth::image::EM_AARCH64,
        Arch::Riscv => vmcore_synth::image::EM_RISCV,
        Arch::Arm => vmcore_synth::image::EM_ARM,
        Arch::I386 => I386.machine,
        Arch::Powerpc64 => POWERPC64.machine,
    };
    Target { machine, is_64_bit: !spec.arch.is_32_bit(), is_big_endian: spec.order == Endianness::Big }
}

fn of_core(core: &Path, kernel: &Path, arguments: &[&str]) -> Run {
    memtool(&[&["symbols", "--core", text(core), "--kernel", text(kernel)], arguments].concat())
}

#[test]
fn a_dumps_modules_are_found_on_every_architecture() {
    for (name, spec) in every_variant().into_iter().filter(|(_, spec)| spec.arch != Arch::Powerpc64) {
        let directory = directory();
        let base = spec.kernel_base + 0x0100_0000;
        let (spec, data) = dump_with_modules(spec, &[("kernel", base), ("a.ko", 0xd000_0000), ("b.ko", 1)]);
        let target = target(&spec);
        let core = directory.path().join("vmcore");
        std::fs::write(&core, spec.build()).unwrap();
        let kernel = write(directory.path(), "kernel", &kernel(target, base, data, VERSION));
        write(directory.path(), "a.ko", &Image { target, ..module() });
        let run = of_core(&core, &kernel, &["--addr", &format!("{:#x}", base + 0x110), "0xd0000110"]).ok();
        let symbols: Vec<Vec<&str>> = run.lines().iter().map(|line| line.split('\t').collect()).collect();
        assert_eq!([symbols[0][3], symbols[0][4]], ["kern_sync+0x10", "kernel"], "{name}");
        assert_eq!([symbols[1][3], symbols[1][4]], ["kern_sync+0x10", "a.ko"], "{name}");
        run.says_in_one_line(&["warning", "b.ko", "missing"]);
    }
}

#[test]
fn another_kernel_than_the_dumps_is_refused_and_another_architectures_too() {
    let directory = directory();
    let (spec, data) = dump_with_modules(MinidumpSpec::example(Arch::Amd64, 2), &[("kernel", BASE)]);
    let core = directory.path().join("vmcore");
    std::fs::write(&core, spec.build()).unwrap();
    let right = amd64_at(directory.path(), "kernel", data, VERSION);
    assert_eq!(of_core(&core, &right, &["kern_sync"]).ok().stderr, "");
    let other = amd64_at(directory.path(), "other", data, "FreeBSD 13.2-RELEASE");
    let refused = |kernel: &Path| {
        let run = of_core(&core, kernel, &["kern_sync"]).exits(1);
        assert_eq!(run.stdout, "");
        let said = &run.stderr;
        assert!(said.contains("not the kernel of this dump") && said.contains(text(kernel)), "{run:?}");
    };
    refused(&other);
    // The same kernel by its file, but its data lie elsewhere in the dump.
    refused(&amd64_at(directory.path(), "moved", data + 0x40, VERSION));
    // Nothing is mapped where its version would be.
    refused(&amd64_at(directory.path(), "unmapped", 0x1000, VERSION));

    // The debug file does not hold the version, but the dump's header, of 14.0, does.
    let mut debug = kernel(AMD64, BASE, data, VERSION);
    debug.sections[1] = bss(".data", data, 0x100);
    let debug = write(directory.path(), "kernel.debug", &debug);
    assert_eq!(of_core(&core, &debug, &["kern_sync"]).ok().stderr, "");
    std::fs::write(&core, live_dump(Arch::Amd64, &spec.build(), Compression::Zstd, 4096)).unwrap();
    refused(&debug);
    of_core(&core, &right, &["kern_sync"]).ok().says_in_one_line(&["compressed as one stream"]);

    let foreign = write(directory.path(), "foreign", &kernel(I386, 0xc040_0000, 0xc050_0000, VERSION));
    of_core(&core, &foreign, &["-q", "kern_sync"]).fails_saying(&["amd64", "for i386"]);
}

fn amd64_at(directory: &Path, name: &str, data: u64, version: &str) -> PathBuf {
    write(directory, name, &kernel(AMD64, BASE, data, version))
}

#[test]
fn a_list_of_modules_that_loops_costs_the_modules_only() {
    let directory = directory();
    let (mut spec, data) = dump_with_modules(MinidumpSpec::example(Arch::Amd64, 2), &[("kernel", BASE), ("a.ko", 1)]);
    let physical = spec.translations()[&data].physical;
    // The second file leads to the first.
    let next = &mut spec.pages.get_mut(&physical).unwrap()[0x220 + 24..][..8];
    next.copy_from_slice(&(data + 0x200).to_le_bytes());
    let core = directory.path().join("vmcore");
    std::fs::write(&core, spec.build()).unwrap();
    write(directory.path(), "a.ko", &module());
    let run = of_core(&core, &amd64_at(directory.path(), "kernel", data, VERSION), &["kern_sync"]).ok();
    assert_eq!(run.lines().len(), 2);
    run.says_in_one_line(&["is a loop", "modules may be missing"]);
}

#[test]
fn a_dump_without_readable_memory_still_has_its_kernel() {
    let directory = directory();
    let core = directory.path().join("vmcore");
    std::fs::write(&core, MinidumpSpec::example(Arch::Amd64, 2).build()).unwrap();
    // It is mapped there, and the page is not in the dump.
    let kernel = amd64_at(directory.path(), "kernel", 0xffff_fe00_0001_0000, VERSION);
    let run = of_core(&core, &kernel, &["kern_sync"]).ok();
    assert_eq!(run.lines().len(), 1);
    assert!(run.stderr.contains("warning"), "{run:?}");
}
