//! A kernel of powerpc64, which runs elsewhere than it is linked: its pointers and registers have the names of its
//! symbols, either address leads to its memory, and debuggers are told where it was. And i386's, which runs a copy of
//! some of its code.
//!
//! Sources: `sys/powerpc/include/vmparam.h` (`KERNBASE`), `sys/powerpc/powerpc/minidump_machdep.c` (`startkernel`),
//! `lib/libkvm/kvm_powerpc64.c` (`kvm_kerndisp`), `sys/powerpc/include/pcb.h`,
//! `sys/i386/i386/machdep.c` (`setidt_disp`), elf(5).

use crate::common::{Run, command, directory, memtool, text};
use std::path::PathBuf;
use std::process::Command;
use vmcore::dump::header::Relocation;
use vmcore::symbols::{KernelSymbols, Table};
use vmcore_synth::image::{self, EM_PPC64, ET_DYN, ET_EXEC, FUNC, GLOBAL, I386, Image, OBJECT, SHF_EXECINSTR};
use vmcore_synth::image::{SHF_WRITE, Target, section, symbol};
use vmcore_synth::{Arch, Endianness, MinidumpSpec};

/// `KERNBASE`.
const LINKED: u64 = 0x10_0100;
/// `startkernel`, in the direct map, and its physical address.
const RAN: u64 = 0xc000_0000_0002_4100;
const PHYSICAL: u64 = 0x2_4100;
/// How large the kernel is.
const SIZE: u64 = 0x2f00;
/// A function and the kernel's variables, as they are linked.
const DOADUMP: u64 = LINKED + 0x40;
const VARIABLES: u64 = 0x10_1000;
const VERSION: &str = "FreeBSD 15.1-RELEASE test\n";

/// Variables in the order of their places, with their values: integers of 4 bytes.
const INTEGERS: [(&str, u64); 10] = [
    ("proc_off_p_pid", 0),
    ("proc_off_p_comm", 8),
    ("proc_off_p_list", 0x20),
    ("proc_off_p_threads", 0x30),
    ("thread_off_td_tid", 0),
    ("thread_off_td_name", 8),
    ("thread_off_td_oncpu", 0x1c),
    ("thread_off_td_pcb", 0x20),
    ("thread_off_td_plist", 0x28),
    ("osreldate", 1_501_000),
];
/// Variables of 8 bytes.
const ALLPROC: u64 = VARIABLES + 0x100;
const HANDLER: u64 = VARIABLES + 0x108;
/// What the kernel has allocated, as it ran: a process, its thread, and the thread's registers.
const PROCESS: u64 = 0xc000_0000_0002_6000;
const THREAD: u64 = PROCESS + 0x80;
const PCB: u64 = PROCESS + 0x100;

fn ran(linked: u64) -> u64 {
    linked - LINKED + RAN
}

struct Files {
    directory: tempfile::TempDir,
    dump: PathBuf,
    kernel: PathBuf,
}

impl Files {
    fn new(order: Endianness) -> Self {
        Self::of(MinidumpSpec { order, ..MinidumpSpec::example(Arch::Powerpc64, 2) })
    }

    fn of(mut spec: MinidumpSpec) -> Self {
        let order = spec.order;
        spec.kernel_image = (RAN, RAN + SIZE);
        let mut variables = vec![0; 0x200];
        variables[..VERSION.len()].copy_from_slice(VERSION.as_bytes());
        let mut symbols = vec![
            symbol("doadump", (GLOBAL, FUNC), 1, DOADUMP, 0x100),
            symbol("version", (GLOBAL, OBJECT), 2, VARIABLES, 64),
            symbol("allproc", (GLOBAL, OBJECT), 2, ALLPROC, 8),
            symbol("handler", (GLOBAL, OBJECT), 2, HANDLER, 8),
        ];
        for (offset, (name, value)) in (0x40..).step_by(4).zip(INTEGERS) {
            symbols.push(symbol(name, (GLOBAL, OBJECT), 2, VARIABLES + offset as u64, 4));
            variables[offset..offset + 4].copy_from_slice(&order.bytes(value, 4));
        }
        let mut memory = variables.clone();
        for (address, value) in [(ALLPROC, PROCESS), (HANDLER, ran(DOADUMP) + 0x64)] {
            let at = (address - VARIABLES) as usize;
            memory[at..at + 8].copy_from_slice(&order.bytes(value, 8));
        }
        // The page that the image begins in has code, the next one variables, the one after that what is allocated.
        let mut put = |page: u64, at: u64, bytes: &[u8]| {
            let at = at as usize;
            if let Some(page) = spec.pages.get_mut(&page) {
                page[at..at + bytes.len()].copy_from_slice(bytes);
            }
        };
        put(0x2_5000, 0, &memory);
        put(0x2_6000, 0, &[0; 0x200]);
        for (address, value, size) in [
            (PROCESS, 7, 4),
            // Lists lead back to where they come from: the variable, where the kernel ran.
            (PROCESS + 0x28, ran(ALLPROC), 8),
            (PROCESS + 0x30, THREAD, 8),
            (PROCESS + 0x38, THREAD + 0x28, 8),
            (THREAD + 0x30, PROCESS + 0x30, 8),
            (THREAD, 100_001, 4),
            (THREAD + 0x1c, u64::from(u32::MAX), 4),
            (THREAD + 0x20, PCB, 8),
            // r1 and lr.
            (PCB + 21 * 8, PROCESS + 0x400, 8),
            (PCB + 23 * 8, ran(DOADUMP) + 0x64, 8),
        ] {
            put(0x2_6000, address - PROCESS, &order.bytes(value, size));
        }
        put(0x2_6000, 8, b"init");
        let target = Target { machine: EM_PPC64, is_64_bit: true, is_big_endian: order == Endianness::Big };
        let sections = vec![
            section(".text", SHF_EXECINSTR, LINKED, vec![0x60; 0x200]),
            section(".data", SHF_WRITE, VARIABLES, variables),
        ];
        let directory = directory();
        let dump = directory.path().join("vmcore.0");
        std::fs::write(&dump, spec.build()).unwrap();
        let image = Image::new(target, ET_DYN, sections, symbols);
        let kernel = image::write(directory.path(), "kernel", &image);
        Self { directory, dump, kernel }
    }

    #[track_caller]
    fn run(&self, command: &str, arguments: &[&str]) -> Run {
        memtool(&[&[command, "--core", text(&self.dump), "--kernel", text(&self.kernel)], arguments].concat())
    }

    /// A core file with these notes, and its script; what is told of both.
    fn converted(&self, notes: &str, script: &str) -> (PathBuf, PathBuf) {
        let (core, script) = (self.directory.path().join("core"), self.directory.path().join(script));
        let options = ["--kernel", text(&self.kernel), "--notes", notes, "--script", text(&script), "--force"];
        memtool(&[&["convert", text(&self.dump), text(&core), "--format", "elf"], &options[..]].concat()).ok();
        (core, script)
    }
}

#[test]
fn addresses_at_which_it_ran_have_names() {
    for order in [Endianness::Big, Endianness::Little] {
        let files = Files::new(order);
        let at = format!("{:#x}", ran(DOADUMP) + 0x64);
        let linked = format!("{:#x}", DOADUMP + 0x64);
        let run = files.run("ps", &["-q", "--threads"]).ok();
        assert_eq!(run.lines()[0].split_ascii_whitespace().last(), Some("doadump+0x64"), "{run:?}");
        assert!(run.stdout.contains("100001") && run.stderr.is_empty(), "{run:?}");
        let json = files.run("ps", &["--json", "--threads"]).ok().json();
        let thread = &json["processes"][0]["threads"][0];
        assert_eq!((thread["pc"].as_str(), &thread["symbol"]), (Some(&*at), &"doadump+0x64".into()));

        for address in [&at, &linked] {
            let run = files.run("symbols", &["--addr", address]).ok();
            assert_eq!(run.stdout, format!("{address}\t256\tfunction\tdoadump+0x64\tkernel\n"));
            let json = files.run("symbols", &["--json", "--addr", address]).ok().json();
            let found = &json["symbols"][0];
            assert_eq!((&found["query"], &found["offset"]), (&address.as_str().into(), &"0x64".into()), "{json}");
            assert_eq!(found["address"], format!("{DOADUMP:#x}"), "{json}");
        }
        assert_eq!(files.run("read", &["--as", "ptr", "handler"]).ok().stdout, format!("{at} doadump+0x64\n"));
        let place = format!("{:#x}", ran(HANDLER));
        let run = files.run("read", &["--as", "ptr", "-v", &place]).ok();
        assert_eq!(run.stdout, format!("{place}: {at} doadump+0x64\n"));
        assert_eq!(files.run("read", &["--json", "--as", "ptr", &place]).ok().json()["symbol"], "handler");
        let physical = format!("{:#x}", PHYSICAL + (HANDLER - LINKED));
        let run = files.run("read", &["--phys", "--as", "ptr", &physical]).ok();
        assert_eq!(run.stdout, format!("{at} doadump+0x64\n"));
    }
}

#[test]
fn its_borders_are_those_of_its_image() {
    let files = Files::new(Endianness::Big);
    // The address before it and the one behind it are not its own.
    for address in [RAN - 1, RAN + SIZE] {
        let run = files.run("symbols", &["--addr", &format!("{address:#x}")]).exits(1);
        assert!(run.stderr.contains(&format!("no symbol contains {address:#x}")), "{run:?}");
    }
    let last = format!("{:#x}", ran(VARIABLES + 0x10f));
    assert!(files.run("symbols", &["--addr", &last]).ok().stdout.contains("handler+0x7"));
}

#[test]
fn translate_says_where_it_was() {
    let files = Files::new(Endianness::Big);
    let run = files.run("translate", &["doadump"]).ok();
    let lines = run.lines();
    assert_eq!(lines[0], format!("{DOADUMP:#x} (doadump)"));
    assert!(lines[1].contains(&format!("the kernel ran at {:#x}", ran(DOADUMP))), "{run:?}");
    let json = files.run("translate", &["--json", "doadump", &format!("{:#x}", ran(DOADUMP))]).ok().json();
    let (linked, moved) = (&json["addresses"][0], &json["addresses"][1]);
    assert_eq!(linked["runtime_address"], format!("{:#x}", ran(DOADUMP)));
    assert_eq!((&moved["symbol"], &moved["runtime_address"]), (&"doadump".into(), &serde_json::Value::Null));
    assert_eq!(moved["paddr"], linked["paddr"]);
    // The kernel runs in its direct map.
    assert_eq!((&linked["protection"], &moved["protection"]), (&"rwx".into(), &"rwx".into()), "{json}");
}

#[test]
fn constants_and_code_are_of_the_kernels_file_by_either_address() {
    let mut spec = MinidumpSpec::example(Arch::Powerpc64, 2);
    // The page that the image begins in.
    spec.pages.remove(&0x2_4000);
    let files = Files::of(spec);
    for address in [DOADUMP, ran(DOADUMP)] {
        let run = files.run("read", &["--as", "u32", &format!("{address:#x}")]).ok();
        assert_eq!(run.stdout, format!("1616928864 (from {}, not from memory)\n", text(&files.kernel)));
    }
}

/// Where the dump has neither the page of the version nor a header, the messages from when the kernel booted tell it.
#[test]
fn contents_of_another_kernels_file_are_not_taken() {
    let first_line = VERSION.lines().next().unwrap();
    for (messages, is_its_own) in [
        (format!("{first_line} powerpc\n"), true),
        (format!("FreeBSD 9.9-OTHER powerpc\n{first_line} powerpc\n"), true),
        (format!("{first_line}LE powerpc\n"), false),
        ("FreeBSD 9.9-OTHER powerpc\n".to_owned(), false),
    ] {
        let mut spec = MinidumpSpec::example(Arch::Powerpc64, 2);
        spec.message_buffer = messages.clone().into_bytes();
        spec.pages.retain(|page, _| ![0x2_4000, 0x2_5000].contains(page));
        let run = Files::of(spec).run("read", &["--as", "u32", "doadump"]);
        if is_its_own {
            assert!(run.ok().stdout.contains("not from memory"), "{messages}");
        } else {
            let said = run.exits(1).stderr;
            assert!(
                said.contains(
                    format!(", {first_line}, is not the kernel of this dump, which was {messages}").trim_end()
                ),
                "{said}"
            );
        }
    }
    let (big, little) = (Files::new(Endianness::Big), Files::new(Endianness::Little));
    for command in ["read", "translate"] {
        memtool(&[command, "--core", text(&big.dump), "--kernel", text(&little.kernel), "doadump"])
            .fails_saying(&["a dump of a big-endian kernel", "a little-endian one"]);
    }
}

#[test]
fn the_core_file_and_the_script_say_where_it_was() {
    let displacement = RAN - LINKED;
    for order in [Endianness::Big, Endianness::Little] {
        let files = Files::new(order);
        // What names the entry: AT_ENTRY in the auxiliary vector, behind whose size FreeBSD's has it.
        for (notes, kind, skipped) in [("linux", 6_u64, 0), ("freebsd", 16, 4)] {
            let (core, script) = files.converted(notes, "core.gdb");
            let file = std::fs::read(core).unwrap();
            let vector = [9, displacement, 0, 0].map(|word: u64| order.bytes(word, 8)).concat();
            let at = file.windows(vector.len()).position(|window| window == vector).unwrap();
            // Before that the note's type, and the name of 8 bytes.
            let kind_at = at - skipped - 12;
            assert_eq!(file[kind_at..kind_at + 4], order.bytes(kind, 4), "{notes}");
            let said = std::fs::read_to_string(script).unwrap();
            assert!(said.contains(&format!("symbol-file -o {displacement:#x} \"kernel\"\n")), "{said}");
            assert_eq!(said.contains("\nset osabi GNU/Linux\n"), notes == "linux", "{said}");
        }
        let (_, script) = files.converted("freebsd", "core.lldb");
        let said = std::fs::read_to_string(script).unwrap();
        assert!(said.ends_with(&format!("\ntarget modules load --file \"kernel\" --slide {displacement:#x}\n")));
    }
}

/// What a debugger says; `None`, and a word about it, where there is none.
fn debugger(name: &str, arguments: &[&str]) -> Option<String> {
    let Ok(output) = Command::new(name).args(arguments).env("LC_ALL", "C").output() else {
        eprintln!("SKIPPED: there is no {name} here");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn debuggers_find_its_symbols_where_it_ran() {
    let at = format!("{:#x}", ran(DOADUMP) + 0x64);
    for order in [Endianness::Big, Endianness::Little] {
        let files = Files::new(order);
        let (core, script) = files.converted("linux", "core.gdb");
        let opened = ["-nx", "-batch", "-ix", text(&script), text(&files.kernel), text(&core)];
        let asked = ["-ex", &format!("info symbol {at}"), "-ex", "x/s &version", "-ex", "x/gx &handler"];
        if let Some(said) = debugger("gdb-multiarch", &[&opened[..], &asked].concat()) {
            assert!(said.contains("doadump + 100 in section .text"), "{said}");
            assert!(said.contains("FreeBSD 15.1-RELEASE test"), "{said}");
            assert!(said.contains(&format!("0x{:016x}", ran(DOADUMP) + 0x64)), "{said}");
        }
    }
    // lldb 19 ends with a signal where it reads FreeBSD's notes of little-endian powerpc64.
    let files = Files::new(Endianness::Big);
    let (core, script) = files.converted("freebsd", "core.lldb");
    let lookup = format!("image lookup -a {at}");
    let asked = ["-x", "-b", "-c", text(&core), text(&files.kernel), "-s", text(&script), "-o", &lookup];
    if let Some(said) = debugger("lldb-19", &asked) {
        assert!(said.contains("Summary: kernel`doadump + 100"), "{said}");
    }
}

#[test]
fn borders_that_cannot_be_are_no_move() {
    for image in [(RAN, RAN - 1), (0, u64::MAX), (LINKED, LINKED + SIZE), (u64::MAX, u64::MAX)] {
        let mut spec = MinidumpSpec::example(Arch::Powerpc64, 2);
        spec.kernel_image = image;
        let directory = directory();
        let dump = directory.path().join("vmcore.0");
        std::fs::write(&dump, spec.build()).unwrap();
        let at = format!("{RAN:#x}");
        let output = command().args(["translate", "--json", "--core", text(&dump), &at]).output().unwrap();
        assert!(output.status.code().is_some_and(|code| code < 2), "{image:x?}");
        let ran = crate::common::schema::document(&output.stdout)["addresses"][0]["runtime_address"].clone();
        assert_eq!(ran, serde_json::Value::Null, "{image:x?}");
    }
}

#[test]
fn the_code_that_i386_runs_a_copy_of_has_names_there() {
    // The third page from the kernel's base on is mapped, and in the dump.
    let data = 0x80_2000;
    for (displacement, named) in [(0xff30_3000_u32, true), (0, false)] {
        let mut spec = MinidumpSpec::example(Arch::I386, 2);
        let page = spec.pages.get_mut(&0x2_4000).unwrap();
        page[..0x100].fill(0);
        page[..VERSION.len()].copy_from_slice(VERSION.as_bytes());
        page[0x40..0x44].copy_from_slice(&displacement.to_le_bytes());
        let mut contents = vec![0; 0x100];
        contents[..VERSION.len()].copy_from_slice(VERSION.as_bytes());
        let function = |name, address| symbol(name, (GLOBAL, FUNC), 1, address, 0);
        let symbols = vec![
            function("start_exceptions", 0x90_0000),
            function("fork_trampoline", 0x90_0100),
            function("end_exceptions", 0x90_1000),
            symbol("version", (GLOBAL, OBJECT), 2, data, 64),
            symbol("setidt_disp", (GLOBAL, OBJECT), 2, data + 0x40, 4),
        ];
        let sections = vec![
            section(".text", SHF_EXECINSTR, 0x90_0000, vec![0x90; 0x2000]),
            section(".data", SHF_WRITE, data, contents),
        ];
        let directory = directory();
        let dump = directory.path().join("vmcore.0");
        std::fs::write(&dump, spec.build()).unwrap();
        let kernel = image::write(directory.path(), "kernel", &Image::new(I386, ET_EXEC, sections, symbols));
        let files = Files { directory, dump, kernel };
        let at = |address: &str| files.run("symbols", &["--addr", address]).stdout;
        assert_eq!(at("0xffc03104").contains("fork_trampoline+0x4"), named);
        assert!(at("0x900104").contains("fork_trampoline+0x4"));
        for outside in ["0xffc02fff", "0xffc04000"] {
            assert_eq!(at(outside), "", "{outside}");
        }
    }
}

/// The symbols of a file, where the kernel has what they name.
#[test]
fn symbols_of_a_file_are_where_the_kernel_runs() {
    let files = Files::new(Endianness::Big);
    let symbols = KernelSymbols::new(Table::open(&files.kernel).unwrap());
    assert_eq!(symbols.as_it_ran(DOADUMP), DOADUMP);
    let symbols = symbols.relocate(vec![Relocation { linked: LINKED, ran: RAN, size: SIZE }]);
    assert_eq!(symbols.as_it_ran(DOADUMP), ran(DOADUMP));
    assert_eq!(symbols.as_linked(ran(DOADUMP)), DOADUMP);
    for other in [LINKED - 1, LINKED + SIZE, RAN] {
        assert_eq!(symbols.as_it_ran(other), other);
    }
}
