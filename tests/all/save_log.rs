//! What `memtool save` tells syslogd(8), heard by a test that stands in its place: memtool runs in a mount namespace with
//! a `/dev` of its own, which has the socket of the log and a dump device.
#![cfg(target_os = "linux")]

use crate::common::{Run, demo_machine, directory, noise, run, text, write_machine};
use serde_json::json;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use vmcore_synth::device::{DumpDevice, key_block};
use vmcore_synth::{Arch, Compression, KernelDumpHeader, MinidumpSpec};

const ALERT: &str = "daemon.alert";
const ERROR: &str = "daemon.err";
const WARNING: &str = "daemon.warning";
const NOTICE: &str = "daemon.notice";

/// A system with the dump device `/dev/da0p2`.
struct System {
    folder: TempDir,
    crash: PathBuf,
}

/// A run, and the messages that it has sent: facility and level, and text.
struct Logged {
    run: Run,
    messages: Vec<(String, String)>,
}

impl System {
    fn new(device: &[u8]) -> Self {
        let folder = directory();
        let dev = folder.path().join("dev");
        fs::create_dir(&dev).unwrap();
        fs::write(dev.join("da0p2"), device).unwrap();
        fs::write(dev.join("null"), "").unwrap();
        let crash = folder.path().join("crash");
        fs::create_dir(&crash).unwrap();
        Self { crash, folder }
    }

    /// Runs memtool with these arguments; `None`, and a word about it, where the system has no namespaces for us.
    fn run(&self, arguments: &[&str]) -> Option<Logged> {
        let dev = self.folder.path().join("dev");
        let _ = fs::remove_file(dev.join("log"));
        let log = UnixDatagram::bind(dev.join("log")).unwrap();
        log.set_nonblocking(true).unwrap();
        let run = self.run_without_log(arguments)?;
        let mut messages = Vec::new();
        let mut message = [0; 4096];
        while let Ok(length) = log.recv(&mut message) {
            messages.push(parsed(std::str::from_utf8(&message[..length]).unwrap()));
        }
        Some(Logged { run, messages })
    }

    fn run_without_log(&self, arguments: &[&str]) -> Option<Run> {
        const NOT_MOUNTED: i32 = 99;
        let dev = text(&self.folder.path().join("dev")).to_owned();
        let script = format!(
            "{{ mount --bind /dev/null {dev}/null && mount --bind {dev} /dev; }} || exit {NOT_MOUNTED}; exec \"$@\""
        );
        let become_root: &[&str] = if nix::unistd::geteuid().is_root() { &[] } else { &["-r"] };
        let mut unshare = Command::new("unshare");
        unshare.args(become_root).args(["-m", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_memtool")]);
        let run = run(unshare.args(arguments).current_dir(self.folder.path()));
        if run.code == NOT_MOUNTED || run.stderr.starts_with("unshare:") {
            eprintln!("SKIPPED: no /dev can be mounted here: {}", run.stderr);
            return None;
        }
        Some(run)
    }

    fn save(&self, options: &[&str]) -> Option<Logged> {
        self.run(&[&["save", "--dir", text(&self.crash)], options, &["da0p2"]].concat())
    }

    fn core(&self, name: &str) -> String {
        self.crash.join(name).display().to_string()
    }
}

/// `<25>Nov 28 21:19:00 memtool: reboot`.
#[track_caller]
fn parsed(message: &str) -> (String, String) {
    let (priority, rest) = message.strip_prefix('<').and_then(|rest| rest.split_once('>')).unwrap();
    let levels = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
    let priority: usize = priority.parse().unwrap();
    assert_eq!(priority >> 3, 3, "not daemon's: {message}");
    // The rest begins with a time that is always as long.
    let text = rest[16..].strip_prefix("memtool: ").unwrap_or_else(|| panic!("not memtool's: {message}"));
    assert!(!text.chars().any(char::is_control), "{message:?}");
    (format!("daemon.{}", levels[priority & 7]), text.to_owned())
}

impl Logged {
    /// Asserts the messages, of which the texts are the beginnings.
    #[track_caller]
    fn says(&self, expected: &[(&str, &str)]) {
        assert_eq!(self.messages.len(), expected.len(), "{:?}; {:?}", self.messages, self.run);
        for ((level, text), (expected_level, beginning)) in self.messages.iter().zip(expected) {
            assert_eq!(level, expected_level, "{text}");
            assert!(text.starts_with(beginning), "'{beginning}' expected in: {text}");
        }
    }
}

fn device_with(header: KernelDumpHeader) -> DumpDevice {
    DumpDevice::example(header, 512, &MinidumpSpec::example(Arch::Amd64, 3).build())
}

fn header() -> KernelDumpHeader {
    KernelDumpHeader::example(Arch::Amd64, 4, 0)
}

#[test]
fn a_saved_dump_is_logged_as_savecore_logs_it() {
    let system = System::new(&device_with(header()).build());
    let Some(saved) = system.save(&["--keep"]) else { return };
    saved.run.clone().ok();
    saved.says(&[
        (ALERT, "reboot after panic: page fault"),
        (NOTICE, &format!("wrote core to {}", system.core("vmcore.0"))),
    ]);
    // What is not to be printed is logged.
    let quiet = system.save(&["-q", "-Z"]).unwrap();
    assert_eq!(quiet.run.clone().ok().stderr, "");
    let core = system.core("vmcore.1.zst");
    quiet.says(&[(ALERT, "reboot after panic: page fault"), (NOTICE, &format!("wrote compressed core to {core}"))]);
    // Now there is none.
    let nothing = system.save(&[]).unwrap();
    nothing.run.clone().ok();
    nothing.says(&[]);
}

#[test]
fn an_encrypted_dump_and_one_without_a_panic_are_called_so() {
    let mut device = device_with(KernelDumpHeader { compression: Compression::Zstd, ..header() });
    device.data = noise(device.data.len());
    device.key = key_block([7; 32], &[9; 256]);
    let encrypted = System::new(&device.build());
    let Some(saved) = encrypted.save(&[]) else { return };
    let core = encrypted.core("vmcore_encrypted.0");
    saved.says(&[(ALERT, "reboot after panic: page fault"), (NOTICE, &format!("wrote encrypted core to {core}"))]);
    let requested = System::new(&device_with(KernelDumpHeader { panic_string: String::new(), ..header() }).build());
    let saved = requested.save(&[]).unwrap();
    saved.says(&[(ALERT, "reboot"), (NOTICE, "wrote core to ")]);
    assert_eq!(saved.messages[0].1, "reboot");
}

#[test]
fn failures_and_warnings_are_logged() {
    let mut damaged = device_with(header()).build();
    // The leading header is another one.
    let first = damaged.windows(19).position(|bytes| bytes == b"FreeBSD Kernel Dump").unwrap();
    damaged[first + 100] ^= 1;
    let system = System::new(&damaged);
    let Some(refused) = system.save(&[]) else { return };
    refused.run.clone().exits(1);
    refused.says(&[(ERROR, "/dev/da0p2: the dump's headers are damaged: ")]);

    let mut swapped = device_with(header());
    swapped.data[..4096].fill(7);
    let system = System::new(&swapped.build());
    let bad = system.save(&[]).unwrap();
    bad.run.clone().exits(1);
    let error = "/dev/da0p2: the dump is damaged: beginning: ";
    bad.says(&[(ALERT, "reboot after panic: "), (NOTICE, "wrote core to "), (ERROR, error)]);
    let forced = system.save(&["--force"]).unwrap();
    forced.run.clone().ok();
    let warning = format!("{}: damaged: beginning: ", system.core("vmcore.1"));
    forced.says(&[(ALERT, "reboot after panic: "), (NOTICE, "wrote core to "), (WARNING, &warning)]);

    let missing = system.run(&["save", "--dir", text(&system.crash), "/dev/da9"]).unwrap();
    missing.run.clone().exits(1);
    missing.says(&[(ERROR, "cannot open /dev/da9 for writing")]);
    let device = System::new(&device_with(header()).build());
    let no_directory = device.run(&["save", "--dir", "/nonexistent", "da0p2"]).unwrap();
    no_directory.run.clone().exits(1);
    no_directory.says(&[(ALERT, "reboot after panic: "), (ERROR, "")]);
}

#[test]
fn a_discarded_dump_is_logged_and_a_checked_one_is_not() {
    let system = System::new(&device_with(header()).build());
    let Some(checked) = system.run(&["save", "--check", "da0p2"]) else { return };
    checked.run.clone().ok();
    checked.says(&[]);
    let cleared = system.run(&["save", "--clear", "da0p2"]).unwrap();
    cleared.run.clone().ok();
    cleared.says(&[(NOTICE, "/dev/da0p2: cleared; lost: a kernel dump of dumped.example.org, ")]);
}

#[test]
fn images_and_recorded_machines_are_not_logged() {
    let system = System::new(&device_with(header()).build());
    let image = system.folder.path().join("swap.img");
    fs::write(&image, device_with(header()).build()).unwrap();
    let Some(saved) = system.run(&["save", "--dir", text(&system.crash), text(&image)]) else { return };
    saved.run.clone().ok();
    saved.says(&[]);
    // A recorded machine's device is one of its own, wherever its file is.
    let mut machine = demo_machine();
    machine["dump_devices"] = json!(["/dev/da0p2"]);
    let machine = write_machine(system.folder.path(), &machine);
    let saved = system.run(&["--machine", text(&machine), "save", "--dir", text(&system.crash)]).unwrap();
    assert!(saved.run.clone().ok().stdout.contains("/dev/da0p2: cleared; saved "), "{:?}", saved.run);
    saved.says(&[]);
}

#[test]
fn a_panic_string_is_text_and_nothing_else() {
    let panic = "100%s%n \u{1b}[31m\nNov 28 00:00:00 sshd: forged";
    let system = System::new(&device_with(KernelDumpHeader { panic_string: panic.to_owned(), ..header() }).build());
    let Some(saved) = system.save(&[]) else { return };
    let shown = r"reboot after panic: 100%s%n \u{1b}[31m\nNov 28 00:00:00 sshd: forged";
    saved.says(&[(ALERT, shown), (NOTICE, "wrote core to ")]);
}

#[test]
fn without_syslogd_the_dump_is_saved_too() {
    let system = System::new(&device_with(header()).build());
    let Some(saved) = system.run_without_log(&["save", "--dir", text(&system.crash), "da0p2"]) else { return };
    assert_eq!(saved.ok().stderr, "");
    assert!(system.crash.join("vmcore.0").exists());
}
