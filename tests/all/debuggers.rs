//! Debuggers as they are open what `memtool convert --format elf` makes of a dump: threads, variables and backtraces.
//!
//! The commands are those of the manual.

use crate::common::kernel::{BuiltKernel, Thread};
use crate::common::{memtool, text};
use object::Endianness as ObjectEndianness;
use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use std::path::{Path, PathBuf};
use std::process::Command;
use vmcore::architecture::{Architecture, Endianness};
use vmcore::convert::notes::{self, About, Style};
use vmcore::kernel::{Process, Registers, State};
use vmcore_synth::Arch;

/// A kernel, and the core file of its dump.
struct Converted {
    kernel: BuiltKernel,
    image: PathBuf,
    core: PathBuf,
    /// What its debugger has to be told.
    script: PathBuf,
    _directory: tempfile::TempDir,
}

impl Converted {
    /// `None` where there is no compiler for that architecture.
    fn new(arch: Arch, version: u32, notes: &str) -> Option<Self> {
        BuiltKernel::in_minidump(arch, version).map(|kernel| Self::from_live(kernel, notes))
    }

    fn from_live(kernel: BuiltKernel, notes: &str) -> Self {
        let directory = crate::common::directory();
        let (dump, core) = (directory.path().join("dump"), directory.path().join("core"));
        std::fs::write(&dump, kernel.dump.build()).unwrap();
        let image = kernel.image.path();
        let script = directory.path().join("script");
        let options = ["--format", "elf", "--kernel", text(&image), "--notes", notes, "--script", text(&script)];
        let run = memtool(&[&["convert", text(&dump), text(&core)], &options[..]].concat()).ok();
        let threads = threads(&kernel).len();
        assert!(run.stdout.contains(&format!(" segments, {threads} threads\n")), "{run:?}");
        Self { kernel, image, core, script, _directory: directory }
    }
}

/// All threads, the one that dumped first.
fn threads(kernel: &BuiltKernel) -> Vec<&Thread> {
    kernel.processes.iter().flat_map(|process| &process.threads).collect()
}

/// Runs a debugger; `None`, and a word about it, where there is none.
pub fn debugger(name: &str, arguments: &[&str]) -> Option<String> {
    let Ok(output) = Command::new(name).args(arguments).env("LC_ALL", "C").output() else {
        eprintln!("SKIPPED: there is no {name} here");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// The first version of lldb that reads riscv64's registers from a core file.
const KNOWS_RISCV: u32 = 19;

/// The newest lldb here, as Debian names it or as it calls itself, and its version.
pub fn lldb() -> Option<(&'static str, u32)> {
    ["lldb-19", "lldb"].into_iter().find_map(|name| {
        let said = debugger(name, &["--version"])?;
        let version = said.split("lldb version ").nth(1)?.split('.').next()?;
        Some((name, version.parse().ok()?))
    })
}

/// The functions of a backtrace in which frames have such a mark before the function.
fn functions(backtrace: &str, before: &str) -> Vec<String> {
    let frames = backtrace.lines().filter(|line| line.contains("kernel.c:"));
    let function = |line: &str| {
        let rest = &line[line.find(before).unwrap() + before.len()..];
        rest.split(['(', ' ']).next().unwrap().to_owned()
    };
    frames.map(function).collect()
}

const DUMPS: [(Arch, u32); 5] =
    [(Arch::Amd64, 1), (Arch::Amd64, 3), (Arch::Arm64, 1), (Arch::Arm64, 3), (Arch::Riscv, 2)];

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn lldb_shows_threads_variables_and_backtraces() {
    let Some((lldb, version_of_lldb)) = lldb() else { return };
    for (arch, version) in DUMPS {
        if arch == Arch::Riscv && version_of_lldb < KNOWS_RISCV {
            eprintln!("SKIPPED: {lldb} {version_of_lldb} does not know riscv64's registers");
            continue;
        }
        let notes = if arch == Arch::Riscv { "lldb" } else { "freebsd" };
        let Some(Converted { kernel, image, core, .. }) = &Converted::new(arch, version, notes) else {
            continue;
        };
        let commands = ["thread list", "target variable hz", "p osreldate", "thread backtrace all"];
        let mut arguments = vec!["-x", "-b"];
        arguments.extend(commands.iter().flat_map(|command| ["-o", command]));
        arguments.extend(["-c", text(core), text(image)]);
        let Some(said) = debugger(lldb, &arguments) else { return };
        assert!(said.contains("(int) hz = 1000"), "{said}");
        assert!(said.contains(&kernel.image.osreldate.to_string()), "{said}");
        let all = said.split("thread backtrace all").nth(1).unwrap();
        let parts: Vec<&str> = all.split("thread #").skip(1).collect();
        assert_eq!(parts.len(), threads(kernel).len(), "{all}");
        assert!(parts[0].contains("stop reason = signal SIGABRT"), "{all}");
        for (part, thread) in parts.iter().zip(threads(kernel)) {
            assert!(part.contains(&format!("name = '{}'", thread.name)) || thread.name.is_empty(), "{part}");
            assert!(said.contains(&format!("tid = {}, ", thread.tid)), "{said}");
            assert_eq!(functions(part, "`"), thread.frames, "{arch:?} {version}: {part}");
        }
    }
}

/// The frames of each thread, as lldb shows them.
fn lldb_backtraces(arguments: &[&str]) -> Option<Vec<Vec<String>>> {
    let said = debugger("lldb", &[&["-x", "-b", "-o", "thread backtrace all"], arguments].concat())?;
    let all = said.split("thread backtrace all").nth(1).unwrap_or_else(|| panic!("{said}")).to_owned();
    Some(all.split("thread #").skip(1).map(|part| functions(part, "`")).collect())
}

/// The frames of each thread, as gdb shows them.
fn gdb_backtraces(arguments: &[&str]) -> Option<Vec<Vec<String>>> {
    let commands = ["-nx", "-batch", "-ex", "thread apply all -ascending backtrace"];
    let said = debugger("gdb-multiarch", &[&commands[..], arguments].concat())?;
    let functions = |part: &str| {
        let calls = part.lines().filter(|line| line.starts_with('#') && line.contains("kernel.c:"));
        let call =
            |line: &str| line.split_once(" in ").map_or_else(|| line[4..].to_owned(), |(_, call)| call.to_owned());
        calls.map(|line| call(line).split(' ').next().unwrap().to_owned()).collect()
    };
    Some(said.split("\nThread ").skip(1).map(functions).collect())
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn signed_return_addresses_are_followed_with_the_script() {
    for version in [1, 3] {
        let Some(kernel) = BuiltKernel::in_minidump(Arch::Arm64, version) else { return };
        let Converted { kernel, image, core, script, .. } = &Converted::from_live(kernel.signed(), "freebsd");
        let expected: Vec<_> = threads(kernel).iter().map(|thread| thread.frames.clone()).collect();
        let opened = ["-c", text(core), text(image)];
        if let Some(found) = lldb_backtraces(&[&["-S", text(script)], &opened[..]].concat()) {
            assert_eq!(found, expected, "{version}");
            // It is the script that does it.
            assert!(lldb_backtraces(&opened).unwrap().iter().all(|frames| frames.len() < 4));
        }
        let masks: Vec<_> = notes(core).into_iter().filter(|(_, kind, _)| *kind == 0x406).collect();
        assert_eq!(masks.len(), expected.len());
        let mask = 0xff7f_0000_0000_0000_u64.to_le_bytes();
        assert!(masks.iter().all(|(owner, _, masks)| owner == b"FreeBSD" && *masks == [mask, mask].concat()));

        let kernel = BuiltKernel::in_minidump(Arch::Arm64, version).unwrap();
        let Converted { image, core, script, .. } = &Converted::from_live(kernel.signed(), "linux");
        if let Some(found) = gdb_backtraces(&["-ix", text(script), text(image), text(core)]) {
            assert_eq!(found, expected, "{version}");
        }
        let owners: Vec<_> = notes(core).into_iter().filter(|(_, kind, _)| *kind == 0x406 || *kind == 6).collect();
        assert_eq!(owners.len(), expected.len() + 1);
        assert_eq!((&*owners[0].0, word(&owners[0].2, 0, 8), word(&owners[0].2, 8, 8)), (&b"CORE"[..], 16, 1 << 30));
        assert!(owners[1..].iter().all(|(owner, ..)| owner == b"LINUX"));
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn a_signed_return_address_has_the_name_of_what_it_returns_to() {
    let Some(kernel) = BuiltKernel::in_minidump(Arch::Arm64, 3) else { return };
    let kernel = kernel.signed();
    let directory = crate::common::directory();
    let (dump, image) = (directory.path().join("dump"), kernel.image.path());
    std::fs::write(&dump, kernel.dump.build()).unwrap();
    let thread = threads(&kernel)[0];
    let at = format!("{:#x}", thread.fp + 8);
    let read = ["read", "--core", text(&dump), "--kernel", text(&image), "--as", "ptr", &at];
    let run = memtool(&read).ok();
    let signed = word(&kernel.read(thread.fp + 8, 8).unwrap(), 0, 8);
    // What is in memory is shown as it is.
    assert!(run.stdout.starts_with(&format!("{signed:#x} {}+0x", thread.frames[1])), "{run:?}");
    let json = memtool(&[&["--json"], &read[..]].concat()).ok().json();
    assert_eq!(json["values"][0], format!("{signed:#x}"));
    assert!(json["symbols"][0].as_str().unwrap().starts_with(thread.frames[1]), "{json}");
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn plain_return_addresses_are_followed_with_the_script_too() {
    for arch in [Arch::Amd64, Arch::Arm64] {
        for notes_of in ["freebsd", "linux"] {
            let Some(converted) = Converted::new(arch, 3, notes_of) else { continue };
            let Converted { kernel, image, core, script, .. } = &converted;
            let expected: Vec<_> = threads(kernel).iter().map(|thread| thread.frames.clone()).collect();
            let found = match notes_of {
                "linux" => gdb_backtraces(&["-ix", text(script), text(image), text(core)]),
                _ => lldb_backtraces(&["-S", text(script), "-c", text(core), text(image)]),
            };
            let Some(found) = found else { return };
            assert_eq!(found, expected, "{arch:?}: {notes_of}");
            assert!(notes(core).iter().all(|(_, kind, _)| *kind != 0x406), "{arch:?}: {notes_of}");
        }
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn a_script_is_the_debuggers_that_reads_the_notes_and_for_core_files_only() {
    let Some(Converted { image, script, core, .. }) = &Converted::new(Arch::Arm64, 3, "freebsd") else { return };
    let said = std::fs::read_to_string(script).unwrap();
    assert!(said.ends_with("settings set target.process.virtual-addressable-bits 48\n"), "{said}");
    let directory = crate::common::directory();
    let (dump, gdb) = (directory.path().join("dump"), directory.path().join("core.gdb"));
    std::fs::write(&dump, BuiltKernel::in_minidump(Arch::Arm64, 3).unwrap().dump.build()).unwrap();
    let convert = |to, more: &[&str]| {
        let out = directory.path().join("out");
        let _ = std::fs::remove_file(&out);
        memtool(&[&["convert", text(&dump), text(&out), "--format", to, "--script", text(&gdb)], more].concat())
    };
    convert("elf", &["--kernel", text(image)]).ok();
    let said = std::fs::read_to_string(&gdb).unwrap();
    assert!(said.contains("register_unwinder") && !said.contains("osabi"), "{said}");
    // Nothing is replaced, and only core files have a debugger.
    convert("elf", &["--kernel", text(image)]).fails_saying(&["core.gdb"]);
    convert("lime", &[]).usage_error(&["--script"]);
    assert!(!directory.path().join("out").exists());
    assert!(core.exists());
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn gdb_without_freebsd_support_shows_threads_variables_and_backtraces() {
    for (arch, version) in DUMPS {
        let Some(converted) = Converted::new(arch, version, "linux") else { continue };
        let Converted { kernel, image, core, .. } = &converted;
        let mut arguments = vec!["-nx", "-batch", "-iex", "set osabi GNU/Linux"];
        arguments.extend(["-ex", "print hz", "-ex", "x/s panicstr", "-ex", "thread apply all -ascending backtrace"]);
        arguments.extend([text(image), text(core)]);
        let Some(said) = debugger("gdb-multiarch", &arguments) else { return };
        assert!(said.contains("$1 = 1000"), "{said}");
        assert!(said.contains(kernel.panic_message), "{said}");
        assert!(said.contains("terminated with signal SIGABRT"), "{said}");
        assert!(!said.contains("may not match"), "{said}");
        let parts: Vec<&str> = said.split("\nThread ").skip(1).collect();
        assert_eq!(parts.len(), threads(kernel).len(), "{said}");
        for (part, thread) in parts.iter().zip(threads(kernel)) {
            assert!(part.contains(&format!("(LWP {})", thread.tid)), "{part}");
            let lines: String = part.lines().filter(|line| line.starts_with('#')).fold(String::new(), |all, line| {
                // The innermost frame has no address.
                let call = line.split_once(" in ").map_or_else(|| &line[4..], |(_, call)| call);
                all + "in " + call + "\n"
            });
            assert_eq!(functions(&lines, "in "), thread.frames, "{arch:?} {version}: {part}");
        }
    }
}

/// The notes of a core file: owner, type and description.
type Notes = Vec<(Vec<u8>, u32, Vec<u8>)>;

fn notes(core: &Path) -> Notes {
    fn of<H: FileHeader<Endian = ObjectEndianness>>(file: &[u8]) -> Notes {
        let header = H::parse(file).unwrap();
        let endian = header.endian().unwrap();
        let mut all = Vec::new();
        for segment in header.program_headers(endian, file).unwrap() {
            let Some(mut found) = segment.notes(endian, file).unwrap() else { continue };
            while let Some(note) = found.next().unwrap() {
                all.push((note.name().to_vec(), note.n_type(endian).0, note.desc().to_vec()));
            }
        }
        all
    }
    let file = std::fs::read(core).unwrap();
    if file[4] == 1 { of::<FileHeader32<ObjectEndianness>>(&file) } else { of::<FileHeader64<ObjectEndianness>>(&file) }
}

fn word(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Where a FreeBSD `prstatus` has `pr_pid` and the registers, the size of `struct reg`, and in it the places of frame
/// pointer, stack pointer and program counter.
fn freebsd_status(arch: Arch) -> (usize, usize, usize, [usize; 3]) {
    match arch {
        Arch::Amd64 => (40, 48, 176, [80, 160, 136]),
        Arch::Arm64 => (40, 48, 272, [232, 248, 256]),
        Arch::Riscv => (40, 48, 264, [88, 8, 248]),
        Arch::I386 => (24, 28, 76, [20, 64, 52]),
        _ => (24, 28, 68, [44, 52, 60]),
    }
}

/// Each architecture with the bytes of its `struct fpreg` (`machine/reg.h`; amd64's and i386's in `x86/include/reg.h`).
const FLOATING_POINT: [(Architecture, u64); 6] = [
    (Architecture::Amd64, 512),
    (Architecture::I386, 176),
    // 32 registers of 16 bytes and two words, aligned to 16; the same and fcsr of 8 bytes.
    (Architecture::Arm64, 528),
    (Architecture::Riscv, 520),
    // 32 registers of 8 bytes and fpscr, aligned to 8.
    (Architecture::Arm, 264),
    (Architecture::Powerpc64, 264),
];

#[test]
fn freebsd_notes_tell_the_size_of_the_floating_point_registers() {
    for (architecture, size) in FLOATING_POINT {
        let about = About {
            architecture,
            order: Endianness::Little,
            name: "kernel",
            entry: 0,
            displacement: None,
            release: 1_501_000,
            signed: false,
        };
        let thread = vmcore::kernel::Thread {
            address: 0,
            tid: 100_001,
            name: b"init".to_vec(),
            cpu: None,
            state: State::Off,
            pcb: None,
        };
        let process =
            Process { address: 0, pid: 1, command: b"init".to_vec(), zombie: false, threads: vec![thread.clone()] };
        let mut notes = notes::Notes::new(Style::FreeBsd, about);
        notes.add(&process, &thread, &Registers::unknown(architecture));
        let notes = notes.finish();
        // Behind pr_version, pr_statussz and pr_gregsetsz of the second note; the first one's lengths tell where that is.
        let (wordsize, first) = (architecture.word_size(), 12 + 8 + word(&notes, 4, 4) as usize);
        let status = &notes[first + 12 + 8..];
        assert_eq!(word(&notes, first + 8, 4), 1, "{architecture:?}");
        assert_eq!(word(status, 3 * wordsize, wordsize), size, "{architecture:?}");
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn freebsd_notes_are_as_the_headers_of_every_architecture_say() {
    for arch in Arch::ALL.into_iter().filter(|arch| *arch != Arch::Powerpc64) {
        let Some(Converted { kernel, core, .. }) = &Converted::new(arch, arch.newest(), "freebsd") else { continue };
        let mut notes = notes(core).into_iter();
        let mut next = |kind| {
            let (owner, found, description) = notes.next().unwrap();
            assert_eq!((owner.as_slice(), found), (&b"FreeBSD"[..], kind), "{arch:?}");
            description
        };
        let info = next(3);
        let wide = !arch.is_32_bit();
        assert_eq!(info.len(), if wide { 120 } else { 112 }, "{arch:?}");
        assert!(info[if wide { 16 } else { 8 }..].starts_with(b"kernel\0"), "{arch:?}");
        let (pid, registers, size, places) = freebsd_status(arch);
        for thread in threads(kernel) {
            let status = next(1);
            assert_eq!(status.len(), registers + size, "{arch:?}");
            assert_eq!(word(&status, arch.word(), arch.word()), status.len() as u64, "{arch:?}");
            assert_eq!(word(&status, 2 * arch.word(), arch.word()), size as u64, "{arch:?}");
            assert_eq!(word(&status, pid - 8, 4), u64::from(kernel.image.osreldate), "{arch:?}");
            assert_eq!(word(&status, pid - 4, 4), if thread.tid == kernel.dumper { 6 } else { 0 }, "{arch:?}");
            assert_eq!(word(&status, pid, 4), u64::from(thread.tid), "{arch:?}");
            if matches!(arch, Arch::Amd64 | Arch::Arm64 | Arch::Riscv) {
                let found = places.map(|place| word(&status, registers + place, arch.word()));
                assert_eq!(found, [thread.fp, thread.sp, thread.pc], "{arch:?}: {}", thread.tid);
            }
            let name = next(7);
            assert_eq!(name.len(), 24, "{arch:?}");
            assert_eq!(name.split(|byte| *byte == 0).next().unwrap(), thread.name.as_bytes());
        }
        let auxiliary = next(16);
        let entry = kernel.image.address("btext");
        assert_eq!(word(&auxiliary, 0, 4), 2 * arch.word() as u64);
        let words: Vec<u64> = auxiliary[4..].chunks(arch.word()).map(|bytes| word(bytes, 0, arch.word())).collect();
        assert_eq!(words, [9, entry, 0, 0], "{arch:?}");
        assert!(notes.next().is_none());
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn a_dump_that_the_kernel_did_not_write_has_no_thread_that_dumps() {
    for arch in [Arch::Amd64, Arch::Arm64] {
        let Some(kernel) = BuiltKernel::in_minidump(arch, 3) else { continue };
        let Converted { kernel, core, .. } = &Converted::from_live(kernel.long_after_a_live_dump(), "freebsd");
        let (pid, registers, _, places) = freebsd_status(arch);
        let statuses: Vec<_> = notes(core).into_iter().filter(|(_, kind, _)| *kind == 1).collect();
        assert_eq!(statuses.len(), threads(kernel).len(), "{arch:?}");
        for ((_, _, status), thread) in statuses.iter().zip(threads(kernel)) {
            assert_eq!((word(status, pid - 4, 4), word(status, pid, 4)), (0, thread.tid.into()), "{arch:?}");
            let found = places.map(|place| word(status, registers + place, arch.word()));
            // Nobody has saved the registers of those that run.
            let expected = if thread.cpu.is_some() { [0; 3] } else { [thread.fp, thread.sp, thread.pc] };
            assert_eq!(found, expected, "{arch:?}: {}", thread.tid);
        }
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn notes_for_lldb_are_freebsds_but_for_riscvs_status() {
    for arch in Arch::ALL.into_iter().filter(|arch| *arch != Arch::Powerpc64) {
        let Some(Converted { kernel, core, .. }) = &Converted::new(arch, arch.newest(), "lldb") else { continue };
        let Some(freebsd) = Converted::new(arch, arch.newest(), "freebsd") else { continue };
        let (found, expected) = (notes(core), notes(&freebsd.core));
        if arch != Arch::Riscv {
            assert_eq!(found, expected, "{arch:?}");
            continue;
        }
        assert_eq!(found.len(), expected.len());
        let statuses = found.iter().zip(&expected).filter(|(note, other)| *note != *other);
        let statuses: Vec<&[u8]> = statuses.map(|((_, _, status), _)| status.as_slice()).collect();
        assert_eq!(statuses.len(), threads(kernel).len());
        for (status, thread) in statuses.into_iter().zip(threads(kernel)) {
            assert_eq!(status.len(), 28 + 256);
            assert_eq!([word(status, 4, 4), word(status, 8, 4), word(status, 24, 4)], [284, 256, thread.tid.into()]);
            assert_eq!(word(status, 20, 4), if thread.tid == kernel.dumper { 6 } else { 0 });
            // pc, sp and s0 where GNU/Linux has them.
            let registers = [0, 16, 64].map(|place| word(status, 28 + place, 8));
            assert_eq!(registers, [thread.pc, thread.sp, thread.fp]);
        }
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn linux_notes_have_the_sizes_of_every_architecture() {
    let sizes = |arch| match arch {
        Arch::Amd64 => (136, 336),
        Arch::Arm64 => (136, 392),
        Arch::Riscv => (136, 376),
        Arch::I386 => (124, 144),
        _ => (124, 148),
    };
    for arch in Arch::ALL.into_iter().filter(|arch| *arch != Arch::Powerpc64) {
        let Some(Converted { kernel, core, .. }) = &Converted::new(arch, arch.newest(), "linux") else { continue };
        let (info, status) = sizes(arch);
        let notes = notes(core);
        let expected = std::iter::once((3, info)).chain(threads(kernel).into_iter().map(|_| (1, status)));
        assert!(notes.iter().map(|(_, kind, text)| (*kind, text.len())).eq(expected), "{arch:?}");
        for ((owner, _, description), thread) in notes.iter().skip(1).zip(threads(kernel)) {
            assert_eq!(owner, b"CORE");
            let at = if arch.is_32_bit() { 24 } else { 32 };
            assert_eq!(word(description, at, 4), u64::from(thread.tid), "{arch:?}");
        }
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn a_kernel_that_did_not_run_is_refused_and_without_one_there_are_no_threads() {
    let (Some(kernel), Some(other)) =
        (BuiltKernel::in_minidump(Arch::Amd64, 3), BuiltKernel::in_minidump(Arch::Amd64, 1))
    else {
        return;
    };
    let directory = crate::common::directory();
    let (dump, core) = (directory.path().join("dump"), directory.path().join("core"));
    let mut empty = kernel.dump.clone();
    // Nothing of what the symbols stand for is there.
    empty.mappings.retain(|mapping| mapping.address < kernel.image.address("btext") & !0xfff);
    std::fs::write(&dump, empty.build()).unwrap();
    let image = other.image.path();
    let run = memtool(&["convert", text(&dump), text(&core), "--format", "elf", "--kernel", text(&image)]).exits(1);
    assert!(run.stderr.contains("is not the kernel of this dump"), "{run:?}");
    assert!(!core.exists());
    let run = memtool(&["convert", text(&dump), text(&core), "--format", "elf"]);
    assert!(run.stderr.contains("the core file has no threads"), "{run:?}");
    assert!(run.ok().stdout.contains(", 0 threads\n"));
    assert!(notes(&core).is_empty());
}
