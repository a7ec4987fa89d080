//! Checks what stands in for a kernel in other tests (`common/kernel.rs`): that the dumps hold the image and what
//! is said of them, and that a debugger knows the image and unwinds the stacks.

use crate::common::kernel::{BuiltKernel, Damage, FREEBSD_12, FREEBSD_14, Image};
use crate::common::minidump::Minidump;
use crate::common::text;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use vmcore_synth::Arch;

/// Every kernel in every version of a minidump.
fn kernels() -> impl Iterator<Item = (String, BuiltKernel)> {
    let versions = |arch: Arch| (1..=arch.newest()).map(move |version| (arch, version));
    let archs = Arch::ALL.into_iter().filter(|arch| *arch != Arch::Powerpc64);
    archs.flat_map(versions).filter_map(|(arch, version)| {
        Some((format!("{}-v{version}", arch.name()), BuiltKernel::in_minidump(arch, version)?))
    })
}

/// Variables that memory has otherwise than the image.
const SET: &[&str] = &[
    "allproc",
    "averunnable",
    "dumping",
    "dumppcb",
    "dumptid",
    "linker_files",
    "panicbuf",
    "panicstr",
    "proc0",
    "stopped_cpus",
    "stoppcbs",
    "thread0_st",
    "ticks",
    "time_second",
    "time_uptime",
];

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn dumps_hold_the_image_where_its_symbols_lie() {
    for (name, kernel) in kernels() {
        let (dump, translations) = (kernel.dump.build(), kernel.dump.translations());
        let mut offsets = BTreeMap::new();
        let mut compared = 0;
        for (symbol, &(address, size)) in &kernel.image.symbols {
            let Some(contents) = kernel.image.initial(address, size as usize) else { continue };
            for (address, expected) in (address..).zip(contents).filter(|_| !SET.contains(&symbol.as_str())) {
                let page = translations[&(address & !0xfff)].physical;
                let offset = *offsets.entry(page).or_insert_with(|| kernel.dump.offset_of(page).unwrap());
                let at = offset + (address & 0xfff) as usize;
                assert_eq!(dump[at], *expected, "{name}: {symbol} at {address:#x}");
                compared += 1;
            }
        }
        assert!(compared > 1000, "{name}: {compared}");
        for (symbol, size, value) in &kernel.values {
            let found = kernel.read(kernel.image.address(symbol), *size).unwrap();
            assert_eq!(kernel.image.arch.order().value(&found), *value, "{name}: {symbol}");
        }
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn another_reader_finds_the_processes() {
    let Some(kernel) = BuiltKernel::in_minidump(Arch::Amd64, 3) else { return };
    let dump = Minidump::parse(kernel.dump.build());
    let read = |address: u64, size: usize| -> Vec<u8> {
        let byte = |address: u64| {
            let physical = dump.translate(address).unwrap_or_else(|| panic!("{address:#x}")).physical;
            dump.page(physical & !0xfff).unwrap()[(physical & 0xfff) as usize]
        };
        (address..address + size as u64).map(byte).collect()
    };
    let pointer = |address| u64::from_le_bytes(read(address, 8).try_into().unwrap());
    let mut process = pointer(kernel.image.address("allproc"));
    for expected in &kernel.processes {
        assert_eq!(process, expected.address);
        let comm = read(process + kernel.offset("proc_off_p_comm"), 20);
        assert_eq!(comm.split(|byte| *byte == 0).next().unwrap(), expected.comm.as_bytes());
        let mut thread = pointer(process + kernel.offset("proc_off_p_threads"));
        for expected in &expected.threads {
            assert_eq!(thread, expected.address);
            let tid = read(thread + kernel.offset("thread_off_td_tid"), 4);
            assert_eq!(u32::from_le_bytes(tid.try_into().unwrap()), expected.tid);
            assert_eq!(
                [4, 5, 7].map(|index| pointer(expected.pcb + 8 * index)),
                [expected.fp, expected.sp, expected.pc]
            );
            thread = pointer(thread + kernel.offset("thread_off_td_plist"));
        }
        assert_eq!(thread, 0);
        process = pointer(process + kernel.offset("proc_off_p_list"));
    }
    assert_eq!(process, 0);
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn damage_changes_the_dump_and_nothing_else() {
    let Some(whole) = BuiltKernel::in_minidump(Arch::Arm64, 3) else { return };
    for damage in Damage::ALL {
        let damaged = BuiltKernel::in_minidump(Arch::Arm64, 3).unwrap().damaged(damage);
        assert_ne!(damaged.dump.build(), whole.dump.build(), "{damage:?}");
        assert_eq!(damaged.processes.len(), whole.processes.len());
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn images_of_all_architectures_have_the_constants() {
    for arch in Arch::ALL {
        for osreldate in [FREEBSD_12, FREEBSD_14] {
            let address = if arch == Arch::Amd64 { 0xffff_ffff_8020_0000 } else { 0xc020_0000 };
            let Some(image) = Image::build(arch, osreldate, address) else { continue };
            assert_eq!(image.value("osreldate", 4), u64::from(osreldate), "{arch:?}");
            let version = image.initial(image.address("version"), 9).unwrap();
            assert_eq!(version, b"FreeBSD 1", "{arch:?}");
            // A process's name is behind its pid, and both are behind other things.
            let (pid, comm) = (image.value("proc_off_p_pid", 4), image.value("proc_off_p_comm", 4));
            assert!(0 < pid && pid < comm && comm < 128, "{arch:?}: {pid} {comm}");
            let array = image.symbols["stoppcbs"].1 == 4 * image.value("pcb_size", 4);
            assert_eq!(array, osreldate == FREEBSD_12, "{arch:?}");
        }
    }
}

/// Runs a debugger; `None`, and a word about it, where there is none.
fn debugger(name: &str, arguments: &[&str]) -> Option<String> {
    let Ok(output) = Command::new(name).args(arguments).env("LC_ALL", "C").output() else {
        eprintln!("SKIPPED: there is no {name} here");
        return None;
    };
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

/// Writes an ELF core of all that is mapped, with a GNU/Linux NT_PRSTATUS of each thread: the one layout that a gdb
/// built for Linux reads.
fn write_core(kernel: &BuiltKernel, path: &Path) {
    let mut notes = Vec::new();
    for thread in kernel.processes.iter().flat_map(|process| &process.threads) {
        let mut registers = [0_u64; 34];
        let (count, machine_registers) = match kernel.image.arch {
            // rbp, rip and rsp of user_regs_struct.
            Arch::Amd64 => (27, [(4, thread.fp), (16, thread.pc), (19, thread.sp)]),
            // x29, pc and sp of user_pt_regs.
            _ => (34, [(29, thread.fp), (32, thread.pc), (31, thread.sp)]),
        };
        for (index, value) in machine_registers {
            registers[index] = value;
        }
        let mut status = vec![0; 112];
        status[32..36].copy_from_slice(&thread.tid.to_le_bytes());
        status.extend(registers[..count].iter().flat_map(|register| register.to_le_bytes()));
        status.extend([0; 8]);
        for word in [5, status.len() as u32, 1] {
            notes.extend(word.to_le_bytes());
        }
        notes.extend(b"CORE\0\0\0\0");
        notes.extend(status);
    }
    let segments = kernel.dump.mappings.len() + 1;
    let machine = if kernel.image.arch == Arch::Amd64 { 62_u64 } else { 183 };
    let mut core = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for (value, size) in
        [(4, 2), (machine, 2), (1, 4), (0, 8), (64, 8), (0, 8), (0, 4), (64, 2), (56, 2), (segments as u64, 2), (0, 6)]
    {
        core.extend(&value.to_le_bytes()[..size]);
    }
    let notes_at = (64 + 56 * segments) as u64;
    let pages_at = (notes_at + notes.len() as u64).next_multiple_of(4096);
    let mut header = |kind: u64, offset: u64, address: u64, size: u64| {
        for (value, size) in [(kind, 4), (4, 4), (offset, 8), (address, 8), (0, 8), (size, 8), (size, 8), (4, 8)] {
            core.extend(&value.to_le_bytes()[..size]);
        }
    };
    header(4, notes_at, 0, notes.len() as u64);
    for (index, mapping) in kernel.dump.mappings.iter().enumerate() {
        header(1, pages_at + 4096 * index as u64, mapping.address, 4096);
    }
    core.extend(notes);
    core.resize(pages_at as usize, 0);
    for mapping in &kernel.dump.mappings {
        core.extend(&kernel.dump.pages[&mapping.physical]);
    }
    std::fs::write(path, core).unwrap();
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn a_debugger_unwinds_every_stack() {
    for (arch, version) in [(Arch::Amd64, 1), (Arch::Amd64, 3), (Arch::Arm64, 1), (Arch::Arm64, 3)] {
        let Some(kernel) = BuiltKernel::in_minidump(arch, version) else { continue };
        let directory = crate::common::directory();
        let core = directory.path().join("core");
        write_core(&kernel, &core);
        // gdb's own name for it, since not every gdb knows FreeBSD's, and these notes are not.
        let mut arguments = vec!["-nx", "-batch", "-iex", "set osabi GNU/Linux", "-ex", "print hz"];
        arguments.extend(["-ex", "x/s panicstr", "-ex", "thread apply all backtrace"]);
        let image = kernel.image.path();
        let Some(said) = debugger("gdb-multiarch", &[&arguments[..], &[text(&image), text(&core)]].concat()) else {
            return;
        };
        assert!(said.contains("$1 = 1000"), "{said}");
        assert!(said.contains(kernel.panic_message), "{said}");
        for thread in kernel.processes.iter().flat_map(|process| &process.threads) {
            let stack =
                said.split("\nThread ").skip(1).find(|part| part.contains(&format!("(LWP {})", thread.tid))).unwrap();
            let mut frames = String::new();
            for line in stack.lines().filter(|line| line.starts_with('#') && line.contains("kernel.c:")) {
                let function = line.split(" (").next().unwrap().rsplit(' ').next().unwrap();
                write!(frames, "{function} ").unwrap();
            }
            assert_eq!(frames.trim_end(), thread.frames.join(" "), "{arch:?} {version} {}: {stack}", thread.tid);
        }
    }
}

#[test]
#[cfg_attr(not(target_os = "freebsd"), ignore = "needs the FreeBSD toolchain: run tools/test")]
fn lldb_knows_the_image() {
    let Some(kernel) = BuiltKernel::in_minidump(Arch::Arm64, 3) else { return };
    let image = kernel.image.path();
    let commands = ["-x", "-b", "-o", "image lookup -s vm_pageout", "-o", "target variable hz", text(&image)];
    let Some(said) = debugger("lldb", &commands) else { return };
    assert!(said.contains("(int) hz = 1000"), "{said}");
    assert!(said.contains("1 symbols match 'vm_pageout'"), "{said}");
}
