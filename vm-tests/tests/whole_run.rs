//! The program itself with a script in QEMU's place, which boots nothing but this machine's sh.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a test that fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Does as much as the case `starts` wants to see.
const MEMTOOL: &str = r#"#!/bin/sh
case $1 in
--version) echo memtool 1.0 ;;
--machine) echo '0x80000000/0x80000000 BIOS uncacheable set-by-firmware active ' ;;
*) exit 2 ;;
esac
"#;

/// Finds the disk with the cases among QEMU's arguments, and puts it where the guest looks.
const BOOT: &str = r#"#!/bin/sh
for argument; do
    case $argument in
    file=*/disk,*) disk=${argument#file=}; ln -sf "${disk%%,*}" "$HERE/disk" ;;
    esac
done
export TMPDIR="$HERE"
"#;

const LOGIN: &str =
    "printf 'booting\\r\\n\\r\\nlogin: '; read user; [ $user = root ] && printf '# '; read exec; exec sh\n";

struct Setup {
    folder: TempDir,
}

impl Setup {
    /// A machine that boots and then does this, and a memtool.
    fn new(boots: &str, memtool: &str) -> Self {
        let setup = Self { folder: tempfile::tempdir().unwrap() };
        setup.script("qemu", &format!("{BOOT}{boots}"));
        setup.script("memtool", memtool);
        setup
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        program()
            .env("HERE", self.folder.path())
            .args(["--no-image", "--qemu-arg", "-S", "--case", "starts"])
            .args(["--accelerator", "tcg", "--boot-timeout", "60", "--case-timeout", "60"])
            .arg("--qemu")
            .arg(self.path("qemu"))
            .arg("--binary")
            .arg(self.path("memtool"))
            .args(["--disk-device", "/dev/null", "--disk-device"])
            .arg(self.path("disk"))
            .arg("--log")
            .arg(self.path("log"))
            .args(arguments)
            .output()
            .unwrap()
    }
}

fn program() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_vm-tests")));
    command.env_remove("MEMTOOL_VM_IMAGE");
    command
}

#[track_caller]
fn assert_run(output: &Output, code: i32, texts: &[&str]) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    for text in texts {
        assert!(stdout.contains(text), "'{text}' expected in: {output:?}");
    }
}

#[test]
fn without_an_image_nothing_is_tested() {
    assert_run(&program().output().unwrap(), 77, &["nothing was tested"]);
}

#[test]
fn a_case_passes() {
    let setup = Setup::new(LOGIN, MEMTOOL);
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
    let output = Setup::new(LOGIN, "#!/bin/sh\necho no such library >&2; exit 1\n").run(&[]);
    let texts =
        ["\nnot ok 1 - starts: ", "\n# memtool --version: exit status 1: no such library\n", "\n# 0 passed, 1 failed"];
    assert_run(&output, 1, &texts);
}

#[test]
fn an_operation_that_the_kernel_does_not_know_is_a_reason_to_skip() {
    let output = Setup::new(LOGIN, "#!/bin/sh\necho 'memtool: cannot: ENOTTY: too old' >&2; exit 1\n").run(&[]);
    assert_run(&output, 77, &[" # SKIP the kernel is too old: memtool: cannot: ENOTTY"]);
}

#[test]
fn a_case_that_hangs_ends_the_run() {
    let start = Instant::now();
    let output = Setup::new(LOGIN, "#!/bin/sh\nexec sleep 20\n").run(&["--case-timeout", "2"]);
    assert_run(&output, 1, &["# the run ends in the case starts\n", "Bail out! ", "within 2 s", "1 not run"]);
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_panic_and_the_end_of_qemu_end_the_run() {
    let output = Setup::new("printf 'panic: no root\\r\\ndb> '; exec sleep 1000\n", MEMTOOL).run(&[]);
    assert_run(&output, 1, &["Bail out! the guest's kernel panicked: panic: no root\n", "# | db>"]);
    let output = Setup::new("echo 'no such machine' >&2; exit 1\n", MEMTOOL).run(&[]);
    assert_run(&output, 1, &["# QEMU says: no such machine\n", "Bail out! the guest's console was closed"]);
}

#[test]
fn a_guest_without_the_disk_is_told() {
    let output = Setup::new(&format!("rm \"$HERE/disk\"\n{LOGIN}"), MEMTOOL).run(&[]);
    assert_run(&output, 1, &["Bail out! the guest cannot be used: none of /dev/null, "]);
}

#[test]
fn where_kvm_fails_tcg_is_tried() {
    let boots = r#"[ -e "$HERE/tried" ] || { : > "$HERE/tried"; echo 'KVM internal error. Suberror: 1' >&2; exec sleep 1000; }
"#;
    let setup = Setup::new(&format!("{boots}{LOGIN}"), MEMTOOL);
    let output = setup.run(&["--accelerator", "auto"]);
    assert_run(&output, 0, &["# KVM does not work here; starting again with TCG\n", "\nok 1 "]);
    fs::remove_file(setup.path("tried")).unwrap();
    let output = setup.run(&["--accelerator", "kvm"]);
    assert_run(&output, 1, &["Bail out! the virtual machine failed: KVM internal error. Suberror: 1\n"]);
}
