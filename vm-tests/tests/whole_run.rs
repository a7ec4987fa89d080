//! The program itself with a script in QEMU's place, which boots nothing but this machine's sh.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a test that fails")]

mod common;
#[path = "../../tests/all/common/signals.rs"]
mod signals;

use common::assert_run;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The project's own cases.
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases");

/// Does as much as the case `starts` wants to see.
const MEMTOOL: &str = r#"#!/bin/sh
case $1 in
--version) echo memtool 1.0 ;;
--machine) echo '0x80000000/0x80000000 BIOS uncacheable set-by-firmware active ' ;;
*) exit 2 ;;
esac
"#;

/// Finds the disks among QEMU's arguments, and puts them where the guest looks. `$GUEST` is the process that
/// stands for the guest.
const BOOT: &str = r#"#!/bin/sh
for argument; do
    case $argument in
    file=*,format=raw,if=virtio,index=1[567]*)
        disk=${argument#file=} index=${argument#*index=}
        ln -sf "${disk%%,*}" "$HERE/disk${index%%,*}"
        ;;
    esac
done
echo boot >> "$HERE/boots"
echo $$ > "$HERE/qemu.pid"
temporary=$TMPDIR
export TMPDIR="$HERE" GUEST=$$
"#;

const LOGIN: &str =
    "printf 'booting\\r\\n\\r\\nlogin: '; read user; [ $user = root ] && printf '# '; read exec; exec sh\n";

/// What a case does to panic a guest that goes down at once.
const PANIC: &str = "echo 'panic: by request'; kill -9 $GUEST\n";

struct Setup {
    folder: TempDir,
}

impl Setup {
    /// A machine that boots and then does this, and a memtool; there are no cases yet.
    fn new(boots: &str, memtool: &str) -> Self {
        let setup = Self { folder: tempfile::tempdir().unwrap() };
        setup.program("qemu", &format!("{BOOT}{boots}"));
        setup.program("memtool", memtool);
        for folder in ["cases", "tools"] {
            fs::create_dir(setup.path(folder)).unwrap();
        }
        setup.program(
            "tools/freebsd-cargo",
            "#!/bin/sh\necho $$ > $HERE/build; : > $HERE/ready; sleep 1000; echo built\n",
        );
        setup.copy("helpers.sh");
        setup
    }

    /// The same with the project's case `starts`.
    fn starting(boots: &str, memtool: &str) -> Self {
        let setup = Self::new(boots, memtool);
        setup.copy("starts.sh");
        setup
    }

    /// The same with cases, each a file name and what follows the first line and the helpers.
    fn with(cases: &[(&str, &str)]) -> Self {
        let setup = Self::new(LOGIN, MEMTOOL);
        for (name, text) in cases {
            let text = format!("# It works.\n. ../helpers.sh\n{text}");
            fs::write(setup.path("cases").join(name), text).unwrap();
        }
        setup
    }

    fn copy(&self, file: &str) {
        fs::copy(Path::new(CASES).join(file), self.path("cases").join(file)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn boots(&self) -> usize {
        fs::read_to_string(self.path("boots")).unwrap().lines().count()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Everything but which memtool is tested.
    fn building(&self, arguments: &[&str]) -> Command {
        let mut program = program();
        program
            .env("HERE", self.folder.path())
            // A project of its own.
            .env_remove("CARGO_MANIFEST_DIR")
            .current_dir(self.folder.path())
            .args(["--no-image", "--qemu-arg", "-S", "--accelerator", "tcg"])
            .args(["--boot-timeout", "60", "--case-timeout", "60", "--disk-device", "/dev/null"]);
        for disk in ["disk17", "disk16", "disk15"] {
            program.arg("--disk-device").arg(self.path(disk));
        }
        for (option, file) in [("--qemu", "qemu"), ("--cases", "cases"), ("--log", "log"), ("--results", "results")] {
            program.arg(option).arg(self.path(file));
        }
        program.args(arguments);
        program
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut program = self.building(&[]);
        for option in ["--binary", "--host-binary"] {
            program.arg(option).arg(self.path("memtool"));
        }
        program.args(arguments);
        program
    }

    /// Sends a signal to a command when the file `ready` is there, and then makes the file `go`.
    fn signalled(&self, mut command: Command, signal: &str) -> Output {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !self.path("ready").exists() && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(20));
        }
        let kill = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(kill.success(), "it has ended before the signal");
        fs::write(self.path("go"), "").unwrap();
        child.wait_with_output().unwrap()
    }

    /// Asserts that the process whose number is in this file ends, and that the run has left no files.
    #[track_caller]
    fn assert_gone(&self, pids: &[&str]) {
        for pid in pids {
            let pid = fs::read_to_string(self.path(pid)).unwrap();
            let start = Instant::now();
            // It is reaped by whoever adopts it.
            while Command::new("kill").args(["-0", pid.trim()]).stderr(Stdio::null()).status().unwrap().success()
                && !fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default().contains(") Z ")
            {
                assert!(start.elapsed() < Duration::from_secs(60), "process {pid} is still there");
                thread::sleep(Duration::from_millis(20));
            }
        }
        let left = fs::read_dir(self.path("target/vm-tests")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "files are left in target/vm-tests");
    }
}

fn program() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_vm-tests")));
    command.env_remove("MEMTOOL_VM_IMAGE");
    signals::heed_signals(&mut command);
    command
}

#[test]
fn without_an_image_or_cases_nothing_is_tested() {
    let nothing = "TAP version 13\n1..0 # SKIP nothing was tested: ";
    assert_run(&program().output().unwrap(), 77, &[nothing, "no image"]);
    let setup = Setup::with(&[]);
    assert_run(&setup.run(&[]), 77, &[nothing, "there are no cases in "]);
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let output = program().stdout(File::create("/dev/full").unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot print the report"), "{output:?}");
}

#[test]
fn what_is_wrong_is_told_before_anything_is_built() {
    let setup = Setup::with(&[("a.sh", "")]);
    setup.program("tools/freebsd-cargo", "#!/bin/sh\n: > $HERE/build; exit 1\n");
    for (name, contents) in [("empty", &b""[..]), ("x.xz", b"\xfd7zXZ\0\0\0"), ("x.img", b"x")] {
        fs::write(setup.path(name), contents).unwrap();
    }
    fs::create_dir(setup.path("old")).unwrap();
    for (option, value, why) in [
        ("--image", "none", "cannot read none"),
        ("--cdrom", "none", "cannot read none"),
        ("--firmware", "none", "cannot read none"),
        ("--firmware", "cases", "cannot read cases"),
        ("--binary", "none", "cannot read none"),
        ("--host-binary", "none", "cannot read none"),
        ("--image", "cases", "cases is not an image"),
        ("--image", "empty", "empty is empty"),
        ("--cdrom", "x.xz", "unpack it first, with xz -d"),
        ("--qemu", "/no/qemu", "there is no program /no/qemu"),
        ("--qemu", "no-such-qemu", "there is no program no-such-qemu"),
        ("--qemu", "./cases", "there is no program ./cases"),
        ("--log", "none/log", "cannot write none/log"),
        ("--results", "old", "cannot make the folder old"),
        ("--results", "none/new", "cannot make the folder none/new"),
        ("--case", "none", "there is no case 'none'"),
        ("--arch", "powerpc64", "name the kernel with --qemu-arg -kernel --qemu-arg FILE"),
    ] {
        let mut program = program();
        program.env("HERE", setup.folder.path()).env_remove("CARGO_MANIFEST_DIR").current_dir(setup.folder.path());
        let output = program.args(["--image", "x.img", "--qemu", "./qemu", "--cases", "cases", option, value]).output();
        let output = output.unwrap();
        let code = if ["--case", "--arch"].contains(&option) { 2 } else { 1 };
        assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{option} {value}: {output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(why) && stderr.lines().count() == 1, "{option} {value}: {output:?}");
        assert!(!setup.path("build").exists(), "{option} {value}");
    }
}

#[test]
fn a_build_that_fails_can_be_tried_again() {
    let setup = Setup::with(&[("a.sh", "")]);
    setup.program("tools/freebsd-cargo", "#!/bin/sh\necho no compiler >&2; exit 1\n");
    for _ in 0..2 {
        let output = setup.building(&[]).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("no compiler\nvm-tests: memtool could not be built"), "{output:?}");
    }
    assert!(!setup.path("results").exists());
}

#[test]
fn temporary_files_of_qemu_go_where_the_run_has_its_own() {
    let setup = Setup::new(&format!("echo \"$temporary\" > $HERE/temporary\n{LOGIN}"), MEMTOOL);
    setup.copy("starts.sh");
    assert_run(&setup.run(&[]), 0, &["\nok 1 "]);
    let folder = fs::read_to_string(setup.path("temporary")).unwrap();
    let run = setup.folder.path().canonicalize().unwrap().join("target/vm-tests/run-");
    assert!(folder.starts_with(run.to_str().unwrap()), "{folder}");
}

#[test]
fn a_case_passes() {
    let setup = Setup::starting(LOGIN, MEMTOOL);
    let output = setup.run(&[]);
    assert_run(
        &output,
        0,
        &["TAP version 13\n1..1\n", "\nok 1 - starts: The program starts", "\n# 1 passed, 0 failed, "],
    );
    assert!(fs::read_to_string(setup.path("log")).unwrap().starts_with("booting\r\n\r\nlogin: "));
}

#[test]
fn a_case_fails_and_shows_why() {
    let output = Setup::starting(LOGIN, "#!/bin/sh\necho no such library >&2; exit 1\n").run(&[]);
    let texts =
        ["\nnot ok 1 - starts: ", "\n# memtool --version: exit status 1: no such library\n", "\n# 0 passed, 1 failed"];
    assert_run(&output, 1, &texts);
}

#[test]
fn an_operation_that_the_kernel_does_not_know_is_a_reason_to_skip() {
    let output = Setup::starting(LOGIN, "#!/bin/sh\necho 'memtool: cannot: ENOTTY: too old' >&2; exit 1\n").run(&[]);
    assert_run(&output, 77, &[" # SKIP the kernel is too old: memtool: cannot: ENOTTY"]);
}

#[test]
fn an_operation_that_the_kernel_has_to_know_is_no_reason_to_skip() {
    let ranges = "must ranges list";
    let setup = Setup::with(&[("a.sh", "must paddr --quiet 0x1000"), ("b.sh", "must livedump file"), ("c.sh", ranges)]);
    setup.program("memtool", "#!/bin/sh\necho 'memtool: cannot: ENOTTY: too old' >&2; exit 1\n");
    setup.program("qemu", &format!("{BOOT}PATH=$HERE:$PATH\n{LOGIN}"));
    let (failed, skipped) =
        ("It works.\n# exit status 1\n# memtool ", "It works. # SKIP the kernel is too old: memtool: ");
    // Memory ranges are older than all of these.
    for (command, version, texts) in [
        ("sysctl", 1_400_097, [("not ok 1 - a", failed), ("not ok 2 - b", failed), ("not ok 3 - c", failed)]),
        ("sysctl", 1_300_139, [("not ok 1 - a", failed), ("ok 2 - b", skipped), ("not ok 3 - c", failed)]),
        ("sysctl", 1_201_000, [("ok 1 - a", skipped), ("ok 2 - b", skipped), ("not ok 3 - c", failed)]),
        ("uname", 1_400_097, [("not ok 1 - a", failed), ("not ok 2 - b", failed), ("not ok 3 - c", failed)]),
    ] {
        setup.program(command, &format!("#!/bin/sh\necho {version}\n"));
        let output = setup.run(&[]);
        for (case, end) in texts {
            assert_run(&output, 1, &[&format!("\n{case}: {end}")]);
        }
        fs::remove_file(setup.path(command)).unwrap();
        fs::remove_dir_all(setup.path("results")).unwrap();
    }
}

#[test]
fn after_a_case_that_hangs_another_guest_goes_on() {
    // ^C does nothing here, since there is no terminal.
    let setup = Setup::with(&[("a.sh", "echo seen > file; keep file a.txt; exec sleep 1000"), ("b.sh", "")]);
    let start = Instant::now();
    let output = setup.run(&["--case-timeout", "2"]);
    assert_run(&output, 1, &["\nnot ok 1 - a: ", "\n# the end of ", "within 2 s\n", "\nok 2 - b: ", " 0 not run\n"]);
    assert_eq!(setup.boots(), 2);
    assert_eq!(fs::read_to_string(setup.path("results/a/a.txt")).unwrap(), "seen\n");
    assert!(start.elapsed() < Duration::from_secs(200));
}

#[test]
fn a_panic_and_the_end_of_qemu_while_booting_end_the_run() {
    let output = Setup::starting("printf 'panic: no root\\r\\ndb> '; exec sleep 1000\n", MEMTOOL).run(&[]);
    assert_run(&output, 1, &["Bail out! the guest's kernel panicked: panic: no root\n", "# | db>", " 1 not run\n"]);
    let output = Setup::starting("echo 'no such machine' >&2; exit 1\n", MEMTOOL).run(&[]);
    assert_run(&output, 1, &["# QEMU says: no such machine\n", "Bail out! the guest's console was closed"]);
}

#[test]
fn after_a_panic_in_a_case_another_guest_goes_on() {
    let setup = Setup::with(&[("a.sh", "echo before; echo 'panic: oops'; sleep 1000"), ("b.sh", ""), ("c.sh", "")]);
    let output = setup.run(&[]);
    let texts = ["\nnot ok 1 - a: ", "\n# the guest's kernel panicked: panic: oops\n", "\n# | before\n", "\nok 2 - b"];
    assert_run(&output, 1, &texts);
    assert_run(&output, 1, &["\nok 3 - c", "\n# 2 passed, 1 failed, 0 skipped, 0 not run\n"]);
    assert_eq!(setup.boots(), 2);
}

#[test]
fn a_guest_that_is_lost_again_and_again_ends_the_run() {
    let names: Vec<_> = (0..9).map(|number| format!("case{number}.sh")).collect();
    let cases: Vec<_> = names.iter().map(|name| (name.as_str(), PANIC)).collect();
    let setup = Setup::with(&cases);
    assert_run(&setup.run(&[]), 1, &["\nBail out! the guest cannot be used: it was lost in 6 cases\n", " 3 not run\n"]);
    assert_eq!(setup.boots(), 6);
}

#[test]
fn what_a_case_keeps_is_checked_on_the_host() {
    let setup = Setup::with(&[
        ("a.sh", "echo hello > file; keep file a.txt; must_keep version --version"),
        ("a.host.sh", "must --version; equal version \"$out\" \"$(show \"$RESULTS/version\")\"; show $RESULTS/a.txt"),
        ("b.sh", ""),
        ("b.host.sh", "[ -d $RESULTS ] || fail 'no folder'; echo look; fail 'not that'"),
        ("c.sh", ""),
        ("c.host.sh", "skip 'no such tool'"),
        ("d.sh", "exit 1"),
        ("d.host.sh", "echo must not run"),
    ]);
    let output = setup.run(&[]);
    assert_run(
        &output,
        1,
        &["\nok 1 - a", "\nnot ok 2 - b: It works.\n# on the host: exit status 1\n# look\n# not that\n"],
    );
    assert_run(&output, 1, &["\nok 3 - c: It works. # SKIP on the host: no such tool", "\nnot ok 4 - d"]);
    assert_eq!(fs::read_to_string(setup.path("results/a/a.txt")).unwrap(), "hello\n");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("must not run"));
    // Nothing is written over.
    let again = setup.run(&[]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("cannot make the folder"), "{again:?}");
}

#[test]
fn a_check_on_the_host_that_hangs_fails_the_case() {
    let setup = Setup::with(&[("a.sh", ""), ("a.host.sh", "sleep 1000"), ("b.sh", "")]);
    let output = setup.run(&["--case-timeout", "2"]);
    assert_run(&output, 1, &["\nnot ok 1 - a: It works.\n# on the host: the end of ", " within 2 s\n", "\nok 2 - b"]);
    assert_eq!(setup.boots(), 1);
}

#[test]
fn a_signal_ends_a_run_with_all_that_it_has_started() {
    for signal in ["-HUP", "-TERM", "-INT"] {
        let setup = Setup::with(&[("a.sh", ""), ("a.host.sh", "echo $$ > $HERE/host; : > $HERE/ready; sleep 1000")]);
        let output = setup.signalled(setup.command(&[]), signal);
        assert_run(&output, 1, &["Bail out! interrupted by a signal\n"]);
        setup.assert_gone(&["qemu.pid", "host"]);
    }
}

#[test]
fn a_signal_ends_a_build_with_all_that_it_has_started() {
    let setup = Setup::with(&[("a.sh", "")]);
    let output = setup.signalled(setup.building(&[]), "-TERM");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("interrupted by a signal"), "{output:?}");
    setup.assert_gone(&["build"]);
}

#[test]
fn a_hangup_that_is_ignored_ends_nothing() {
    let wait = ": > $HERE/ready; while [ ! -e $HERE/go ]; do sleep 0.1; done";
    let setup = Setup::with(&[("a.sh", ""), ("a.host.sh", wait), ("b.sh", "")]);
    let command = setup.command(&[]);
    // As nohup(1) does.
    let mut ignoring = Command::new("sh");
    ignoring.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    ignoring.env("HERE", setup.folder.path()).current_dir(setup.folder.path()).env_remove("CARGO_MANIFEST_DIR");
    assert_run(&setup.signalled(ignoring, "-HUP"), 0, &["\nok 1 - a", "\nok 2 - b"]);
}

#[test]
fn a_damaged_disk_for_results_fails_the_case() {
    let damage = "echo garbage | dd of=$RESULTS_DISK bs=4096 seek=1 conv=notrunc 2>/dev/null";
    let failing = format!("{damage}; exit 1");
    let panicking = format!("{damage}; {PANIC}");
    let setup = Setup::with(&[
        ("a.sh", damage),
        ("b.sh", ""),
        ("c.sh", &failing),
        ("d.sh", &panicking),
        ("e.sh", &panicking),
        ("e.after-panic.sh", ""),
        ("f.sh", PANIC),
        ("f.after-panic.sh", ""),
    ]);
    let damaged = "the guest cannot be used: the disk for results is damaged: 'garbage'\n";
    let failed = |case: &str, why: &str| format!("\nnot ok {case}: It works.\n# {why}{damaged}");
    let texts = [
        &failed("1 - a", ""),
        "\nok 2 - b",
        &failed("3 - c", "exit status 1; "),
        "\nnot ok 4 - d",
        &format!("panic: by request; {damaged}"),
        &failed("5 - e", ""),
        "\nok 6 - f",
    ];
    assert_run(&setup.run(&[]), 1, &texts);
    // Only panics want another guest; the disk is emptied for each case.
    assert_eq!(setup.boots(), 4);
}

#[test]
fn a_case_goes_on_after_the_panic_that_it_causes() {
    let first = "echo dump | dd of=$SPARE_DISK bs=4096 seek=3 conv=notrunc 2>/dev/null
        echo 1 > one; keep one one; keep one uno; ";
    let second = "equal dump \"$(dd if=$SPARE_DISK bs=4096 skip=3 count=1 2>/dev/null | { read -r d; echo $d; })\" dump
        echo 2 > two; keep two two";
    let setup = Setup::with(&[
        ("a.sh", &format!("{first}{PANIC}")),
        ("a.after-panic.sh", second),
        ("a.host.sh", "equal both \"$(show $RESULTS/one)$(show $RESULTS/two)\" 12"),
        // Runs before the others, whatever its name.
        ("z.sh", ""),
    ]);
    let output = setup.run(&[]);
    assert_run(&output, 0, &["\nok 1 - z", "\nok 2 - a"]);
    assert_eq!(setup.boots(), 2);
}

#[test]
fn a_case_that_has_to_panic_and_does_not_fails() {
    let setup = Setup::with(&[
        ("a.sh", ""),
        ("a.after-panic.sh", ""),
        ("b.sh", "skip 'cannot panic'"),
        ("b.after-panic.sh", ""),
        ("c.sh", "kill -9 $GUEST"),
        ("c.after-panic.sh", ""),
        ("d.sh", PANIC),
        ("d.after-panic.sh", "fail 'nothing there'"),
        ("e.sh", "echo 'panic: for ever'; sleep 1000"),
        ("e.after-panic.sh", ""),
    ]);
    let output = setup.run(&["--case-timeout", "3"]);
    assert_run(
        &output,
        1,
        &["\nnot ok 1 - a: It works.\n# the kernel did not panic\n", "\nok 2 - b: It works. # SKIP"],
    );
    assert_run(&output, 1, &["\nnot ok 3 - c: It works.\n# the guest's console was closed"]);
    assert_run(&output, 1, &["\nnot ok 4 - d: It works.\n# exit status 1\n# nothing there\n"]);
    assert_run(&output, 1, &["\nnot ok 5 - e: It works.\n# the guest's going down after the panic did not come"]);
}

#[test]
fn each_case_finds_the_disks_empty() {
    let clean = "[ -n \"$SPARE_DISK\" ] || fail 'no spare disk'
        equal rest \"$(dd if=$SPARE_DISK bs=4096 skip=3 count=1 2>/dev/null | { read -r d; echo \"$d\"; })\" ''
        echo dump | dd of=$SPARE_DISK bs=4096 seek=3 conv=notrunc 2>/dev/null
        echo $SPARE_DISK > file; keep file file";
    let setup = Setup::with(&[("a.sh", clean), ("b.sh", clean)]);
    assert_run(&setup.run(&[]), 0, &["# 2 passed"]);
    let setup = Setup::with(&[("a.sh", "equal 'the spare disk' \"$SPARE_DISK\" ''")]);
    assert_run(&setup.run(&["--spare-disk", "0"]), 0, &["# 1 passed"]);
}

#[test]
fn a_guest_without_the_disks_is_told() {
    for (disk, name) in [("disk15", "memtool-vm-tests-1"), ("disk16", "memtool-vm-results-1")] {
        let output = Setup::starting(&format!("rm \"$HERE/{disk}\"\n{LOGIN}"), MEMTOOL).run(&[]);
        assert_run(&output, 1, &["Bail out! the guest cannot be used: none of /dev/null, ", &format!("disk {name}\n")]);
    }
}

#[test]
fn where_kvm_fails_tcg_is_tried() {
    let boots = r#"[ -e "$HERE/tried" ] || { : > "$HERE/tried"; echo 'KVM internal error. Suberror: 1' >&2; exec sleep 1000; }
"#;
    let setup = Setup::starting(&format!("{boots}{LOGIN}"), MEMTOOL);
    let output = setup.run(&["--accelerator", "auto"]);
    assert_run(&output, 0, &["# KVM does not work here; starting again with TCG\n", "\nok 1 "]);
    fs::remove_file(setup.path("tried")).unwrap();
    fs::remove_dir(setup.path("results")).unwrap();
    let output = setup.run(&["--accelerator", "kvm"]);
    assert_run(&output, 1, &["Bail out! the virtual machine failed: KVM internal error. Suberror: 1\n"]);
}
