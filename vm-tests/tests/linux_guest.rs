//! The program and a real QEMU with a small Linux guest, which `tools/linux-guest` makes: boots, finds disks, runs
//! into time-outs, panics. Where there is none, or no QEMU, this is said and nothing is tested.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a test that fails")]

mod common;

use common::assert_run;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const QEMU: &str = "qemu-system-x86_64";

/// Runs cases, each a file name and what follows the first line and the helpers; `None` without a guest.
fn run(cases: &[(&str, &str)], arguments: &[&str]) -> Option<Output> {
    let guest = Path::new(PROJECT).join("target/linux-guest");
    let (kernel, initrd) = (guest.join("kernel"), guest.join("initrd"));
    if !kernel.exists() || !initrd.exists() {
        eprintln!("SKIPPED: there is no Linux guest here; tools/linux-guest makes one");
        return None;
    }
    if Command::new(QEMU).arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: there is no {QEMU} here");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let helpers = fs::read(Path::new(PROJECT).join("vm-tests/cases/helpers.sh")).unwrap();
    fs::write(folder.path().join("helpers.sh"), helpers).unwrap();
    for (name, text) in cases {
        fs::write(folder.path().join(name), format!("# It works.\n. ../helpers.sh\n{text}\n")).unwrap();
    }
    let mut program = Command::new(env!("CARGO_BIN_EXE_vm-tests"));
    program.args(["--no-image", "--accelerator", "tcg", "--memory", "256", "--cases"]).arg(folder.path());
    if !arguments.contains(&"--login") {
        program.arg("--no-login");
    }
    for (option, value) in [("-kernel", kernel.as_path()), ("-initrd", &initrd), ("-append", Path::new(APPEND))] {
        program.args(["--qemu-arg", option, "--qemu-arg"]).arg(value);
    }
    for disk in ["/dev/sda", "/dev/vdc", "/dev/vdb", "/dev/vda"] {
        program.args(["--disk-device", disk]);
    }
    for option in ["--binary", "--host-binary"] {
        program.args([option, "/bin/sh"]);
    }
    let log = folder.path().join("log");
    let output = program.arg("--log").arg(&log).args(arguments).output().unwrap();
    if !output.status.success() {
        println!("{}", String::from_utf8_lossy(&fs::read(log).unwrap_or_default()));
    }
    Some(output)
}

/// The kernel's console, and its way to end: QEMU is told to end where the guest boots again.
const APPEND: &str = "console=ttyS0 panic=-1";

#[test]
fn disks_nodes_results_and_a_panic_in_two_boots() {
    let machine = "
        equal processors \"$(nproc)\" 2
        for node in 0 1; do
            read -r _ _ _ memory _ < /sys/devices/system/node/node$node/meminfo
            [ \"$memory\" -gt 65536 ] || fail \"node $node has $memory KiB\"
        done
        (: < \"$MEMTOOL\") && [ -x \"$MEMTOOL\" ] || fail 'there is no program'
        dd if=/dev/urandom bs=1024 count=5000 of=random 2> /dev/null
        keep random random
        md5sum < random | keep - sum || exit 1
        { dd if=/dev/zero bs=65536 count=400; echo end; } 2> /dev/null | keep - zeros || exit 1";
    let machine_on_host = "
        equal sum \"$(md5sum < $RESULTS/random)\" \"$(show $RESULTS/sum)\"
        equal zeros \"$(tail -c 4 $RESULTS/zeros)\" end
        equal length \"$(wc -c < $RESULTS/zeros)\" 26214404";
    let panic = "
        equal 'the spare disk' \"$(dd if=$SPARE_DISK bs=512 skip=9 count=1 2> /dev/null | { read -r l; echo $l; })\" ''
        echo dump | dd of=$SPARE_DISK bs=512 seek=9 conv=sync 2> /dev/null
        cat /proc/sys/kernel/random/boot_id > first; keep first first
        echo c > /proc/sysrq-trigger
        sleep 1000";
    let after_panic = "
        equal 'the spare disk' \"$(dd if=$SPARE_DISK bs=512 skip=9 count=1 2> /dev/null | { read -r l; echo $l; })\" dump
        cat /proc/sys/kernel/random/boot_id > second; keep second second";
    let panic_on_host = "[ \"$(show $RESULTS/first)\" != \"$(show $RESULTS/second)\" ]";
    let cases = [
        ("machine.sh", machine),
        ("machine.host.sh", machine_on_host),
        ("panic.sh", panic),
        ("panic.after-panic.sh", after_panic),
        ("panic.host.sh", panic_on_host),
    ];
    let Some(output) = run(&cases, &[]) else { return };
    assert_run(&output, 0, &["# the guest runs Linux ", "\nok 1 - machine", "\nok 2 - panic", "\n# 2 passed"]);
}

#[test]
fn a_guest_that_asks_who_it_is_is_told() {
    let append = format!("{APPEND} login");
    let logging_in_as = |user| {
        let arguments = ["--boot-timeout", "90", "--login", user, "--qemu-arg", "-append", "--qemu-arg", &append];
        run(&[("a.sh", "equal user \"$(id -u)\" 0")], &arguments)
    };
    let Some(output) = logging_in_as("root") else { return };
    assert_run(&output, 0, &["\nok 1 - a", "\n# 1 passed"]);
    let Some(output) = logging_in_as("nobody") else { return };
    assert_run(&output, 1, &["\nBail out!", "nobody", "the guest says 'Login incorrect'", " 1 not run\n"]);
}

#[test]
fn a_guest_that_hangs_or_panics_goes_on_with_the_next_case() {
    let cases = [
        ("a-hangs.sh", "echo $$ > ../pid; sleep 1000"),
        // ^C has ended the one before, and its guest is still there.
        ("b-next.sh", "[ -e ../pid ] && ! kill -0 \"$(show ../pid)\" 2> /dev/null"),
        ("c-stuck.sh", "trap '' INT; while :; do :; done"),
        ("d-next.sh", "[ ! -e ../pid ]"),
        ("e-panics.sh", "echo c > /proc/sysrq-trigger; sleep 1000"),
        ("f-next.sh", ":"),
    ];
    let Some(output) = run(&cases, &["--case-timeout", "8"]) else { return };
    assert_run(&output, 1, &["\nnot ok 1 - a-hangs", "\nok 2 - b-next", "\nnot ok 3 - c-stuck", "\nok 4 - d-next"]);
    let texts = ["\nnot ok 5 - e-panics", "Kernel panic - not syncing: sysrq triggered crash", "\n# | "];
    assert_run(&output, 1, &texts);
    assert_run(&output, 1, &["\nok 6 - f-next", "\n# 3 passed, 3 failed, 0 skipped, 0 not run\n"]);
    let boots = String::from_utf8_lossy(&output.stdout).matches("# the guest runs Linux ").count();
    assert_eq!(boots, 3, "{output:?}");
}

#[test]
fn a_guest_that_does_not_boot_ends_the_run_in_time() {
    // The kernel finds no init, and has no console to say so.
    let arguments = ["--boot-timeout", "5", "--qemu-arg", "-append", "--qemu-arg", "rdinit=/none"];
    let Some(output) = run(&[("a.sh", ":")], &arguments) else { return };
    assert_run(
        &output,
        1,
        &[
            "\nBail out! the prompt '# ' did not come within 5 s, nor did anything else over the serial port: ",
            " 1 not run\n",
        ],
    );
}
