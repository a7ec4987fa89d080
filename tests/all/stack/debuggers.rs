//! Scripts that `memtool convert` writes beside a core file: real debuggers open kernel, modules and debug information by
//! the command line in the first line.

use super::lines::{NAME, compile};
use super::{AMD64, ARM64, Cpu, Files, Kernel};
use crate::common::{Run, compiler, memtool, text};
use crate::debuggers::{debugger, lldb};
use object::{Object, ObjectSymbol};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use vmcore_synth::image::{self, ET_DYN, FUNC, GLOBAL, Image, LOCAL, OBJECT, SHF_EXECINSTR, SHT_NOTE, Section};
use vmcore_synth::image::{section, symbol};

const MODULE: &str = "lines.ko";

/// A module's address that is not the kernel's.
fn loaded(cpu: Cpu) -> u64 {
    if cpu == AMD64 { 0xffff_ffff_8300_0000 } else { 0xffff_0000_4300_0000 }
}

/// A kernel with a module at its address and a thread with this program counter.
fn kernel(cpu: Cpu, name: &str, path: &str, pc: u64) -> Kernel {
    let mut kernel = Kernel::new(cpu);
    kernel.link_files_from(name, path, loaded(cpu));
    let mut stack = kernel.in_call();
    kernel.calls(&mut stack, &["sys_read"]);
    kernel.dumper(812, 100_100, b"sh", &stack, pc);
    kernel
}

/// A core file of a dump in this directory, and its script.
struct Scripted {
    script: PathBuf,
    run: Run,
}

fn convert(directory: &Path, notes: &str, script: &str, more: &[&OsStr]) -> Scripted {
    let [dump, kernel, core] = ["core", "kernel", "converted"].map(|name| directory.join(name));
    let script = directory.join(script);
    let mut arguments: Vec<OsString> = ["convert", "--format", "elf", "-f", "--notes", notes].map(Into::into).into();
    arguments.extend([dump.into(), core.into(), "--kernel".into(), kernel.into()]);
    arguments.extend(["--script".into(), script.clone().into()]);
    arguments.extend(more.iter().map(Into::into));
    Scripted { script, run: memtool(&arguments).ok() }
}

/// What a script says.
fn said(script: &Path) -> String {
    String::from_utf8(fs::read(script).unwrap()).unwrap()
}

/// Runs the command line in a script's first line with these options, and more behind it.
fn opened(script: &Path, name: &str, program: &str, more: &str) -> Option<String> {
    debugger(program, &["--version"])?;
    let run = "first=$(head -n 1 \"$1\") && eval \"$3 ${first#\"# $2\"} $4\"";
    let output = Command::new("sh").args(["-c", run, "sh"]).arg(script).args([name, program, more]).output().unwrap();
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

fn in_lldb(script: &Path, commands: &[&str]) -> Option<String> {
    let (lldb, _) = lldb()?;
    let more: String = commands.iter().map(|command| format!(" -o '{command}'")).collect();
    opened(script, "lldb", lldb, &format!("-x -b {more}"))
}

fn in_gdb(script: &Path, commands: &[&str]) -> Option<String> {
    let more: String = commands.iter().map(|command| format!(" -ex '{command}'")).collect();
    opened(script, "gdb", "gdb-multiarch", &format!("-nx -batch {more}"))
}

/// Splits the compiled module into itself and the file with its debug information.
fn split(directory: &Path, module: &Path, debug: &Path) {
    let full = directory.join("full");
    let copy = |arguments: &[&OsStr]| compiler::succeed(Command::new("objcopy").args(arguments));
    copy(&["--only-keep-debug".as_ref(), full.as_ref(), debug.as_ref()]);
    copy(&["--strip-debug".as_ref(), full.as_ref(), module.as_ref()]);
}

#[test]
fn debuggers_show_the_lines_of_a_module_in_a_directory_of_any_name() {
    let scratch = crate::common::directory();
    let Some(object) = compile(scratch.path(), 4) else { return };
    let file = object::File::parse(&*object).unwrap();
    let outer = file.symbols().find(|symbol| symbol.name() == Ok("outer")).unwrap();
    let at = loaded(AMD64) + outer.address() + 4;
    let files = kernel(AMD64, MODULE, MODULE, at).files();
    #[cfg(unix)]
    let bytes = <OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff");
    #[cfg(not(unix))]
    let bytes = OsStr::new("y");
    for name in [OsStr::new("plain"), OsStr::new("a b\"c'd\\e$f (g) #\u{e9};{h}%\\"), bytes] {
        let directory = files.directory.path().join(name);
        fs::create_dir(&directory).unwrap();
        for name in ["core", "kernel"] {
            fs::copy(files.path(name), directory.join(name)).unwrap();
        }
        fs::write(directory.join("full"), &object).unwrap();
        split(&directory, &directory.join(MODULE), &directory.join("lines.ko.debug"));
        let place = format!("{NAME}:");

        // lldb itself does not take a script with a quotation mark in its path.
        let in_plain = text(&files.path("script")).to_owned();
        let Scripted { script, run } = convert(&directory, "freebsd", &in_plain, &[]);
        assert!(!run.stderr.contains("warning"), "{run:?}");
        if let Some(said) = in_lldb(&script, &["bt", "image lookup -n second"]) {
            let frame = said.lines().find(|line| line.contains("frame #0")).unwrap_or_else(|| panic!("{said}"));
            assert!(frame.contains(&format!("{at:#x}")) && frame.contains("lines.ko`outer"), "{said}");
            assert!(frame.contains(&place) && said.contains(&format!("second at {place}")), "{said}");
            assert!(!said.contains("error:"), "{said}");
        }
        let Scripted { script, .. } = convert(&directory, "linux", "script.gdb", &[]);
        let asked = [format!("info symbol {at:#x}"), format!("info line *{at:#x}"), "bt 1".to_owned()];
        if let Some(said) = in_gdb(&script, &asked.each_ref().map(String::as_str)) {
            assert!(said.contains("outer + 4 in section .text of"), "{said}");
            assert!(said.contains(NAME) && said.contains("#0") && said.contains("outer"), "{said}");
        }
        // Without the file with debug information there are functions.
        fs::remove_file(directory.join("lines.ko.debug")).unwrap();
        let Scripted { script, .. } = convert(&directory, "freebsd", &in_plain, &[]);
        if let Some(said) = in_lldb(&script, &["bt"]) {
            assert!(said.contains("lines.ko`outer + 4\n"), "{said}");
        }
        let Scripted { script, .. } = convert(&directory, "linux", "script.gdb", &[]);
        if let Some(said) = in_gdb(&script, &asked.each_ref().map(String::as_str)) {
            assert!(said.contains("outer + 4 in section .text of") && !said.contains(NAME), "{said}");
        }
    }
}

#[test]
fn every_section_of_a_relocatable_module_has_an_address() {
    let files = kernel(AMD64, MODULE, MODULE, loaded(AMD64)).files();
    let sections = vec![
        section(".text", SHF_EXECINSTR, 0, vec![0x90; 0x123]),
        section("set_vnet", image::SHF_WRITE, 0, vec![0; 0x10]),
        section(".data", image::SHF_WRITE, 0, vec![0; 0x8]),
        section("odd \"name\"", 0, 0, vec![0; 0x8]),
        section(".data", image::SHF_WRITE, 0, vec![0; 0x8]),
    ];
    let read = symbol("zfs_read", (LOCAL, FUNC), 1, 0x100, 0x23);
    let kept = symbol("kept_elsewhere", (GLOBAL, OBJECT), 2, 0, 8);
    let module = Image::new(AMD64.target(), image::ET_REL, sections, vec![read, kept]);
    fs::write(files.path(MODULE), module.build()).unwrap();
    let base = loaded(AMD64);
    let [data, odd, again] = [0x140, 0x150, 0x160].map(|offset| format!("{:#x}", base + offset));

    let Scripted { script, .. } = convert(files.directory.path(), "linux", "script", &[]);
    let sections = format!(
        " -s \".text\" {base:#x} -s \"set_vnet\" 0x8000000000000000 -s \".data\" {data} -s \"odd \\\"name\\\"\" {odd} -s \
         \".data\" {again}\n"
    );
    assert!(said(&script).contains(&sections), "{}", said(&script));
    let asked = ["info symbol 0", "print &kept_elsewhere", &format!("info symbol {:#x}", base + 0x110)];
    if let Some(said) = in_gdb(&script, &asked) {
        assert!(said.contains("No symbol matches 0."), "{said}");
        assert!(said.contains("0x8000000000000000 <kept_elsewhere>"), "{said}");
        assert!(said.contains("zfs_read + 16 in section .text"), "{said}");
    }
    // lldb knows one section of a name.
    let Scripted { script, .. } = convert(files.directory.path(), "freebsd", "script", &[]);
    let sections = format!(" \".text\" {base:#x} \".data\" {data} \"odd \\\"name\\\"\" {odd}\n");
    assert!(said(&script).contains(&sections), "{}", said(&script));
    if let Some(said) = in_lldb(&script, &[&format!("image lookup -a {:#x}", base + 0x110)]) {
        assert!(said.contains("lines.ko`zfs_read + 16") && !said.contains("error:"), "{said}");
    }
}

#[test]
fn shared_objects_are_displaced_and_found_below_the_root_of_their_system() {
    let pc = loaded(ARM64) + 0x1_0110;
    let files = kernel(ARM64, MODULE, "/boot/modules/lines.ko", pc).files();
    let directory = files.directory.path();
    let code = section(".text", SHF_EXECINSTR, 0x1_0000, [0x1f, 0x20, 0x03, 0xd5].repeat(0x80));
    let read = symbol("zfs_read", (GLOBAL, FUNC), 1, 0x1_0100, 0x23);
    let module = Image::new(ARM64.target(), ET_DYN, vec![code], vec![read]).build();
    // It is nowhere yet.
    let Scripted { run, .. } = convert(directory, "freebsd", "script", &[]);
    assert!(run.stderr.contains("the symbols of lines.ko are missing"), "{run:?}");
    let root = directory.join("root");
    fs::create_dir_all(root.join("boot/modules")).unwrap();
    fs::write(root.join("boot/modules/lines.ko"), module).unwrap();
    let sysroot = ["--sysroot".as_ref(), root.as_os_str()];

    let Scripted { script, run } = convert(directory, "freebsd", "script", &sysroot);
    assert!(!run.stderr.contains("lines.ko"), "{run:?}");
    if let Some(said) = in_lldb(&script, &["bt", &format!("image lookup -a {pc:#x}")]) {
        assert!(said.contains("lines.ko`zfs_read + 16") && said.contains("frame #0"), "{said}");
        assert!(!said.contains("error:"), "{said}");
    }
    let Scripted { script, .. } = convert(directory, "linux", "script.gdb", &sysroot);
    if let Some(said) = in_gdb(&script, &["bt 1", &format!("info symbol {pc:#x}")]) {
        assert!(said.contains("zfs_read + 16 in section .text"), "{said}");
        assert!(said.contains(&format!("#0  {pc:#018x} in zfs_read ()")), "{said}");
    }
    let missing = root.join("missing");
    let arguments = ["convert", "core", "--format", "elf", "--script", "x", "--sysroot"].map(OsString::from);
    let run = memtool(&[&arguments[..3], &["raw".into()], &["--sysroot".into(), missing.into()]].concat());
    run.usage_error(&["--sysroot", "--script"]);
}

#[test]
fn a_module_that_lldb_finds_itself_is_not_added_twice() {
    for has_list in [false, true] {
        let mut kernel = kernel(ARM64, MODULE, MODULE, loaded(ARM64));
        if has_list {
            kernel.memory.int("r_debug", 0);
        }
        let files = kernel.files();
        let code = section(".text", SHF_EXECINSTR, 0, vec![0; 0x200]);
        let read = symbol("zfs_read", (GLOBAL, FUNC), 1, 0x100, 0x23);
        fs::write(files.path(MODULE), Image::new(ARM64.target(), ET_DYN, vec![code], vec![read]).build()).unwrap();
        let Scripted { script, .. } = convert(files.directory.path(), "freebsd", "script", &[]);
        let said = said(&script);
        assert_eq!(said.contains("target modules add"), !has_list, "{said}");
        assert!(said.ends_with(&format!("lines.ko\" --slide {:#x}\n", loaded(ARM64))), "{said}");
    }
}

#[test]
fn nothing_that_a_dump_says_is_a_command() {
    for name in ["x\nshell touch pwned\n", "x\rshell touch pwned", "`platform shell touch pwned`", "x\u{85}\\"] {
        let files = kernel(AMD64, name, name, loaded(AMD64)).files();
        let directory = files.directory.path();
        // It is missing, and then it is there.
        for is_there in [false, true] {
            if is_there {
                let code = section(".text", SHF_EXECINSTR, 0, vec![0x90; 0x200]);
                let read = symbol("zfs_read", (GLOBAL, FUNC), 1, 0x100, 0x23);
                let module = Image::new(AMD64.target(), image::ET_REL, vec![code], vec![read]);
                fs::write(directory.join(name), module.build()).unwrap();
            }
            for (notes, name) in [("freebsd", "script"), ("linux", "script.gdb")] {
                let Scripted { script, run } = convert(directory, notes, name, &[]);
                assert_eq!(run.stderr.contains("are missing"), !is_there, "{run:?}");
                let said = said(&script);
                assert!(!said.contains('\r'), "{said:?}");
                let is_known = |line: &str| {
                    ["#", "add-symbol-file ", "set ", "target "].iter().any(|start| line.starts_with(start))
                };
                assert!(said.lines().all(is_known), "{said}");
                let is_comment = said.lines().any(|line| line.starts_with("# ") && line.contains("are missing"));
                assert_eq!(is_comment, !is_there, "{said}");
                let shown = if name == "script" { in_lldb(&script, &["bt"]) } else { in_gdb(&script, &["bt"]) };
                let pwned = [directory.join("pwned"), PathBuf::from("pwned")];
                assert!(pwned.iter().all(|path| !path.exists()), "{shown:?}");
            }
        }
    }
}

/// A section with this build ID.
fn build_id(id: &[u8]) -> Section {
    let mut note = [4_u32, id.len() as u32, 3].map(u32::to_le_bytes).concat();
    note.extend(b"GNU\0");
    note.extend(id);
    Section { kind: SHT_NOTE, align: 4, ..section(".note.gnu.build-id", 0, 0, note) }
}

fn with_build_id(id: &[u8]) -> Files {
    let mut kernel = kernel(AMD64, MODULE, MODULE, loaded(AMD64));
    let mut image = kernel.image();
    image.sections.push(build_id(id));
    kernel.files_with(image)
}

#[test]
fn the_notes_have_the_kernels_build_id() {
    let id: Vec<u8> = (0x81..0x95).collect();
    let files = with_build_id(&id);
    let hexadecimal: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    for notes in ["freebsd", "lldb", "linux"] {
        convert(files.directory.path(), notes, "script", &[]);
        let core = files.path("converted");
        let Some(said) = debugger("readelf", &["-n", text(&core)]) else { return };
        assert!(said.contains("NT_GNU_BUILD_ID"), "{said}");
        assert!(said.contains(&format!("Build ID: {hexadecimal}\n")), "{said}");
    }
    // gdb finds the kernel by it.
    let (start, rest) = hexadecimal.split_at(2);
    let identified = files.path("debug/.build-id").join(start);
    fs::create_dir_all(&identified).unwrap();
    fs::copy(files.path("kernel"), identified.join(rest)).unwrap();
    let directory = format!("set debug-file-directory {}", text(&files.path("debug")));
    let core = files.path("converted");
    let arguments = ["-nx", "-batch", "-iex", "set osabi GNU/Linux", "-iex", &directory, "-c", text(&core)];
    if let Some(said) = debugger("gdb-multiarch", &[&arguments[..], &["-ex", "info address sys_read"]].concat()) {
        assert!(said.contains("Symbol \"sys_read\" is"), "{said}");
    }
}

#[test]
fn damaged_notes_are_no_build_id() {
    let whole = build_id(&[1; 20]).bytes;
    for damaged in [&whole[..whole.len() - 1], &whole[..11], &[0xff; 32], &[]] {
        let mut kernel = kernel(AMD64, MODULE, MODULE, loaded(AMD64));
        let mut image = kernel.image();
        image.sections.push(Section { bytes: damaged.to_vec(), ..build_id(&[]) });
        let files = kernel.files_with(image);
        convert(files.directory.path(), "freebsd", "script", &[]);
        let Some(said) = debugger("readelf", &["-n", text(&files.path("converted"))]) else { return };
        assert!(said.contains("NT_PRSTATUS") && !said.contains("NT_GNU_BUILD_ID"), "{said}");
    }
}
