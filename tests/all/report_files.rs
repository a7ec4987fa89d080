//! What `memtool report` finds and writes: the dump, its kernel, `core.txt.N`; as crashinfo(8), whose options it takes.

use crate::common::encryption::{KEYS, block_for, encrypted};
use crate::common::{Run, command, directory, memtool, names, run, text};
use crate::kernel_search::{Installed, Sysroot};
use crate::ps::Memory;
use serde_json::{Value, json};
use std::fs::{read_to_string, write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use vmcore::decrypt::Encryption;
use vmcore_synth::device::{text_archive, text_device};
use vmcore_synth::kerneldump::Compression;
use vmcore_synth::{Arch, MinidumpSpec};

const VERSION: &str = "FreeBSD 15.1-RELEASE-p1 GENERIC\n";
const INFO: &str = "Dump header from device: /dev/ada0p3\n  Architecture: amd64\n  Dumptime: 2026-01-31 12:00:00 +0100\n  \
    Hostname: crashed.example\n  Version String: FreeBSD 15.1-RELEASE-p1 GENERIC\n  Panic String: page fault\n";

/// A system with a crash: kernels in `/boot`, dumps in a directory.
struct Crashed {
    root: Sysroot,
    dumps: TempDir,
    kernel: Installed,
}

impl Crashed {
    fn new() -> Self {
        let mut memory = Memory::with_offsets(Memory::blank(Arch::Amd64, 8));
        let panicked = memory.variable("panicstr", 8);
        let panic = memory.room(16);
        memory.put(panic, b"page fault\0");
        memory.pointer(panicked, panic);
        let said = b"boot\npanic: page fault\ncpuid = 1\n";
        memory.spec = MinidumpSpec { message_buffer: [said, &[0; 4024][said.len()..]].concat(), ..memory.spec };
        let kernel = Installed::in_memory(memory, VERSION, 1);
        let root = Sysroot::new();
        root.install("kernel", &Installed::new("FreeBSD 15.2-RELEASE GENERIC\n", 2).image(), 0);
        root.install("kernel.old", &kernel.image(), 100);
        Self { root, dumps: directory(), kernel }
    }

    /// As savecore(8) leaves the dump with a number.
    fn save(&self, name: &str, dump: &[u8], number: u32) -> PathBuf {
        let path = self.path(name);
        write(&path, dump).unwrap();
        write(self.path(&format!("info.{number}")), INFO).unwrap();
        write(self.path("bounds"), format!("{}\n", number + 1)).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dumps.path().join(name)
    }

    fn dump(&self) -> Vec<u8> {
        self.kernel.memory.dump()
    }

    /// The image of the dump's kernel.
    fn image(&self) -> PathBuf {
        self.root.0.path().join("boot/kernel.old/kernel")
    }

    #[track_caller]
    fn report(&self, arguments: &[&str]) -> Run {
        memtool(&[&["report", "--sysroot", text(self.root.0.path())], arguments].concat())
    }

    /// The same, of a dump in the directory.
    #[track_caller]
    fn report_in(&self, arguments: &[&str]) -> Run {
        self.report(&[&["-d", text(self.dumps.path())], arguments].concat())
    }
}

/// That a report is one of the dump and has the symbols of its kernel.
#[track_caller]
fn is_of(report: &str, crashed: &Crashed, name: &str) {
    assert!(report.contains(text(&crashed.path(name))), "{name}: {report}");
    assert!(report.contains(text(&crashed.image())), "{name}: {report}");
    assert!(report.contains("panic: page fault\ncpuid = 1\n"), "{name}: {report}");
}

#[test]
fn the_newest_dump_is_reported_on_with_the_kernel_that_is_found() {
    let crashed = Crashed::new();
    crashed.save("vmcore.2", b"an older dump, which is none", 2);
    crashed.save("vmcore.3", &crashed.dump(), 3);
    let run = crashed.report_in(&[]);
    is_of(&run.stdout, &crashed, "vmcore.3");
    assert!(run.stdout.starts_with("Crash of crashed.example, 2026-01-31 12:00:00 +0100\n"), "{}", run.stdout);
    let found = crashed.report_in(&["--json"]).json();
    assert_eq!(found["symbol_file"], json!(text(&crashed.image())));
    // By number, and by name.
    is_of(&crashed.report_in(&["-n", "3"]).stdout, &crashed, "vmcore.3");
    is_of(&crashed.report(&[text(&crashed.path("vmcore.3"))]).stdout, &crashed, "vmcore.3");
    symlink("vmcore.3", crashed.path("vmcore.last")).unwrap();
    is_of(&crashed.report(&[text(&crashed.path("vmcore.last"))]).stdout, &crashed, "vmcore.3");
    let run = crashed.report_in(&["-n", "2"]).exits(1);
    assert!(run.stderr.contains("vmcore.2 has no known format") && run.stdout.is_empty(), "{run:?}");
    crashed.report_in(&["-n", "7"]).fails_saying(&["there is no dump", "vmcore.7"]);
    let empty = directory();
    crashed.report(&["-d", text(empty.path())]).fails_saying(&["there are no crash dumps in"]);
    // crashinfo(8)'s name of --kernel.
    for option in ["-k", "-N", "--kernel"] {
        let run = memtool(&["report", "-d", text(crashed.dumps.path()), option, text(&crashed.image())]);
        is_of(&run.stdout, &crashed, "vmcore.3");
    }
}

#[test]
fn a_kernel_that_is_not_found_is_missing_with_what_was_looked_at() {
    let crashed = Crashed::new();
    crashed.save("vmcore.0", &crashed.dump(), 0);
    std::fs::remove_file(crashed.image()).unwrap();
    let run = crashed.report_in(&[]).exits(1);
    let other = crashed.root.0.path().join("boot/kernel/kernel");
    let why = format!("{} is FreeBSD 15.2-RELEASE GENERIC; name it with --kernel", other.display());
    assert!(run.stderr.contains(&why), "{}", run.stderr);
    assert!(run.stdout.contains("panic: page fault\ncpuid = 1\n"), "{}", run.stdout);
    let quiet = crashed.report_in(&["--json"]).exits(1).json();
    assert!(quiet["warnings"][0].as_str().unwrap().contains(&why), "{quiet}");
    crashed.report_in(&["-k", text(&other)]).exits(1);
    crashed.report_in(&["-k", "/nowhere/kernel"]).fails_saying(&["/nowhere/kernel"]);
}

#[test]
fn a_batch_run_writes_core_txt_for_its_owner_and_a_link() {
    let crashed = Crashed::new();
    crashed.save("vmcore.5", &crashed.dump(), 5);
    write(crashed.path("core.txt.5"), "of an older dump").unwrap();
    let run = crashed.report_in(&["-b"]);
    let summary = crashed.path("core.txt.5");
    assert_eq!(run.lines(), [format!("Wrote crash summary to {}.", summary.display())]);
    is_of(&read_to_string(&summary).unwrap(), &crashed, "vmcore.5");
    assert_eq!(summary.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(crashed.path("core.txt.last").read_link().unwrap(), Path::new("core.txt.5"));
    let expected = ["bounds", "core.txt.5", "core.txt.last", "info.5", "vmcore.5"];
    assert_eq!(names(crashed.dumps.path()), expected);
    // The same as without --batch.
    assert_eq!(crashed.report_in(&[]).stdout, read_to_string(&summary).unwrap());
    assert_eq!(crashed.report_in(&["-b", "-q"]).stdout, "");

    // A link is not written through, and nothing is left of the attempt.
    std::fs::remove_file(&summary).unwrap();
    write(crashed.path("victim"), "victim").unwrap();
    symlink("victim", &summary).unwrap();
    crashed.report_in(&["-b"]).fails_saying(&["core.txt.5 is a symbolic link"]);
    assert_eq!(read_to_string(crashed.path("victim")).unwrap(), "victim");
    assert_eq!(names(crashed.dumps.path()).len(), expected.len() + 1);

    // Without a number there is no name.
    let unnumbered = crashed.path("vmcore");
    write(&unnumbered, crashed.dump()).unwrap();
    crashed
        .report(&["-b", text(&unnumbered)])
        .fails_saying(&["vmcore has no number, as vmcore.0 has, which --batch requires"]);
    // What cannot be read leaves no summary.
    crashed.save("vmcore.6", b"", 6);
    crashed.report_in(&["-b"]).fails_saying(&["vmcore.6"]);
    assert!(!crashed.path("core.txt.6").exists());
}

#[test]
fn compressed_and_encrypted_dumps_are_read_and_nothing_stays_of_them() {
    let crashed = Crashed::new();
    let scratch = directory();
    let key = KEYS.path("mine.pem");
    let report = |arguments: &[&str]| {
        let root = text(crashed.root.0.path());
        let mut command = command();
        command.env("TMPDIR", scratch.path()).args(["report", "--sysroot", root, "-d", text(crashed.dumps.path())]);
        run(command.args(arguments))
    };
    for (number, compression, suffix) in [(1, Compression::Gzip, ".gz"), (2, Compression::Zstd, ".zst")] {
        let name = format!("vmcore.{number}{suffix}");
        crashed.save(&name, &compression.compress(&crashed.dump()), number);
        is_of(&report(&[]).stdout, &crashed, &name);
    }
    for (number, encryption, compression) in
        [(3, Encryption::Aes256Cbc, Compression::None), (4, Encryption::ChaCha20, Compression::Zstd)]
    {
        let data = compression.compress(&crashed.dump());
        let name = format!("vmcore_encrypted.{number}");
        crashed.save(&name, &encrypted(encryption, &data), number);
        write(crashed.path(&format!("key.{number}")), block_for("mine.pem", encryption, "oaep")).unwrap();
        report(&[]).fails_saying(&["is encrypted: give the private key with --private-key"]);
        is_of(&report(&["--private-key", text(&key)]).stdout, &crashed, &name);
        report(&["--private-key", text(&KEYS.path("other.pem"))]).fails_saying(&["does not decrypt"]);
    }
    assert_eq!(names(scratch.path()), Vec::<String>::new());
    assert!(names(crashed.dumps.path()).iter().all(|name| !name.starts_with("vmcore.3") && !name.contains("tmp")));
}

#[test]
fn without_room_for_what_is_decompressed_there_is_no_report() {
    let crashed = Crashed::new();
    crashed.save("vmcore.0.zst", &Compression::Zstd.compress(&crashed.dump()), 0);
    for option in [&["-b"][..], &[]] {
        let mut command = command();
        command.env("TMPDIR", "/nonexistent").args(["report", "-d", text(crashed.dumps.path())]).args(option);
        run(&mut command).fails_saying(&["cannot create a temporary file in /nonexistent"]);
    }
    assert!(!crashed.path("core.txt.0").exists());
}

#[test]
fn an_info_file_of_another_dump_is_not_believed() {
    let crashed = Crashed::new();
    let dump = crashed.save("vmcore.0", &crashed.dump(), 0);
    let host = |info: &str| {
        write(crashed.path("info.0"), info).unwrap();
        let run = crashed.report_in(&[]);
        (run.stdout.contains("crashed.example"), run.stderr)
    };
    assert!(host(INFO).0);
    let length = dump.metadata().unwrap().len();
    assert!(host(&format!("{INFO}  Dump Length: {length}\n")).0);
    for (info, why) in [
        (INFO.replace("amd64", "aarch64"), "it says 'aarch64', and the dump is for amd64"),
        (INFO.replace("15.1", "14.0"), "it says 'FreeBSD 14.0-RELEASE-p1 GENERIC', and the kernel is FreeBSD 15.1"),
        (format!("{INFO}  Dump Length: 4096\n"), "it says 4096 bytes, and the dump has"),
    ] {
        let (is_believed, stderr) = host(&info);
        assert!(!is_believed && stderr.contains("info.0 is of another dump, and not used: "), "{stderr}");
        assert!(stderr.contains(why), "{why}: {stderr}");
    }
    let (is_believed, stderr) = host(&format!("{INFO}  Dump Status: bad\n"));
    assert!(is_believed && stderr.contains("info.0: the status of the dump is 'bad'"), "{stderr}");
}

#[test]
fn the_file_is_named_as_with_other_commands_and_one_of_several_is_said_to_be_used() {
    let crashed = Crashed::new();
    let dump = crashed.save("vmcore.0", &crashed.dump(), 0);
    for option in ["-M", "--core"] {
        is_of(&crashed.report(&[option, text(&dump)]).stdout, &crashed, "vmcore.0");
    }
    write(crashed.path("vmcore.0.gz"), "").unwrap();
    let stderr = crashed.report_in(&[]).stderr;
    assert!(stderr.contains("vmcore.0.gz is there, too; ") && stderr.contains("vmcore.0 is used"), "{stderr}");
    let empty = crashed.path("empty");
    write(&empty, "").unwrap();
    for name in ["dmesg", "stack"] {
        memtool(&[name, "-M", text(&empty)]).fails_saying(&["empty: there is no memory to read in it"]);
    }
}

const CAPTURED: &[u8] = b"db:0:kdb.enter.panic>  bt\nTracing pid 60 tid 100088\n";

/// The files of a text dump in the order in which the kernel writes them.
fn files() -> [(&'static str, &'static [u8]); 5] {
    [
        ("ddb.txt", CAPTURED),
        ("config.txt", b"ident GENERIC\nmachine amd64\n"),
        ("msgbuf.txt", b"boot\npanic: page fault\ncpuid = 1\n"),
        ("panic.txt", b"page fault"),
        ("version.txt", b"FreeBSD 15.1-RELEASE-p1 GENERIC\n"),
    ]
}

#[test]
fn a_text_dump_is_reported_on_in_its_own_order() {
    let crashed = Crashed::new();
    crashed.save("textdump.tar.0", &text_archive(&files()), 0);
    let run = crashed.report_in(&[]).ok();
    let at = |what: &str| run.stdout.find(what).unwrap_or_else(|| panic!("{what}: {}", run.stdout));
    let titles = ["(ddb.txt)", "(config.txt)", "(msgbuf.txt)", "(panic.txt)", "(version.txt)"].map(at);
    assert!(titles.is_sorted(), "{titles:?}: {}", run.stdout);
    assert!(at("Tracing pid 60") > titles[0] && at("ident GENERIC") > titles[1], "{}", run.stdout);
    assert!(run.stdout.contains("text dump") && !run.stdout.contains("Processes"), "{}", run.stdout);
    // On its device, and compressed.
    let device = crashed.path("device");
    write(&device, text_device(Arch::Amd64, 4, &files()).build()).unwrap();
    assert!(crashed.report(&[text(&device)]).ok().stdout.contains("Tracing pid 60"));
    crashed.save("textdump.tar.1.zst", &Compression::Zstd.compress(&text_archive(&files())), 1);
    assert!(crashed.report_in(&[]).ok().stdout.contains("Tracing pid 60"));
    // One that ends within its files shows what there is.
    let archive = text_archive(&files());
    crashed.save("textdump.tar.2", &archive[..512 + 10], 2);
    let run = crashed.report_in(&[]).exits(1);
    assert!(run.stdout.contains("db:0:kdb.e\n"), "{}", run.stdout);
    assert!(run.stdout.contains(&format!("does not have {} bytes more", CAPTURED.len() - 10)), "{}", run.stdout);
    // Names and contents are no commands to a terminal.
    let odd = text_archive(&[("panic.txt", b"\x1b[2J\xff\n"), ("a\x1b[2J", b"x"), ("panic.txt", b"twice")]);
    crashed.save("textdump.tar.3", &odd, 3);
    let run = crashed.report_in(&[]).ok();
    assert!(!run.stdout.contains('\x1b') && run.stdout.contains("\\xff"), "{:?}", run.stdout);
    assert!(run.stdout.contains("twice"), "{}", run.stdout);
}

#[test]
fn texts_of_the_kernel_are_in_the_report() {
    let mut crashed = Crashed::new();
    let memory = &mut crashed.kernel.memory;
    let at = memory.variable("kernconfstring", 64);
    memory.put(at, b"options\tCONFIG_AUTOGENERATED\nident\tCRASHED\n\0");
    let pointer = memory.variable("db_capture_buf", 8);
    let buffer = memory.room(64);
    memory.put(buffer, CAPTURED);
    memory.pointer(pointer, buffer);
    memory.int("db_capture_bufoff", CAPTURED.len() as u64);
    memory.int("db_capture_bufsize", CAPTURED.len() as u64);
    crashed.root.install("kernel.old", &crashed.kernel.image(), 100);
    crashed.save("vmcore.0", &crashed.dump(), 0);
    let report = crashed.report_in(&[]).stdout;
    for expected in ["CRASHED", "Tracing pid 60", "The buffer is full"] {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    let found = crashed.report_in(&["--json"]).json();
    assert_eq!(found["configuration"], json!("options\tCONFIG_AUTOGENERATED\nident\tCRASHED\n"));
    let output = json!({"text": String::from_utf8_lossy(CAPTURED), "full": true, "bytes_missing": 0});
    assert_eq!((&found["debugger_output"], &found["text_files"]), (&output, &json!([])));
    // Without them the kernel has neither.
    let plain = Crashed::new();
    plain.save("vmcore.0", &plain.dump(), 0);
    let found = plain.report_in(&["--json"]).json();
    assert_eq!((&found["configuration"], &found["debugger_output"]), (&Value::Null, &Value::Null));
}

#[test]
fn options_that_contradict_each_other_are_usage_errors() {
    for arguments in [
        &["vmcore.0", "-n", "0"][..],
        &["vmcore.0", "-d", "/var/crash"],
        &["-n", "-1"],
        &["-n", "x"],
        &["-b", "-o", "file"],
        &["-b", "--json"],
        &["vmcore.0", "vmcore.1"],
        &["vmcore.0", "-M", "vmcore.0"],
        &["-M", "vmcore.0", "-n", "0"],
        &["-o", "-"],
        &["-"],
        &["-e"],
    ] {
        memtool(&[&["report"], arguments].concat()).usage_error(&[]);
    }
}

/// The lines of rc.d/savecore that run crashinfo(8) (libexec/rc/rc.d/savecore of FreeBSD 15.1).
const RC: &str = "
crashinfo_program=\"memtool report\"
dumpdir=$1
	${crashinfo_program} -b -d ${dumpdir}
";

#[test]
fn rc_d_savecore_runs_it_as_crashinfo_program() {
    let crashed = Crashed::new();
    crashed.save("vmcore.0", &crashed.dump(), 0);
    let program = Path::new(env!("CARGO_BIN_EXE_memtool")).parent().unwrap().to_owned();
    let mut shell = Command::new("/bin/sh");
    shell.env("PATH", program).args(["-c", RC, "rc"]).arg(crashed.dumps.path());
    let run = run(&mut shell);
    assert_eq!(run.lines(), [format!("Wrote crash summary to {}.", crashed.path("core.txt.0").display())]);
    // This system is not the one of the dump.
    assert!(read_to_string(crashed.path("core.txt.0")).unwrap().contains("panic: page fault\ncpuid = 1\n"));
}
