//! What the integration tests share: running the real binary, and making files of recorded machines.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "every test file is a crate of its own and uses some of the helpers; a helper that fails is a test that fails"
)]

pub mod formats;
pub mod minidump;
pub mod small;

use serde_json::Value;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A run may take this long before it counts as hanging. Nothing here depends on how fast it is.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run of memtool left behind.
#[derive(Clone)]
pub struct Run {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// Standard output as it came, for dumps.
    pub bytes: Vec<u8>,
}

/// A dump on standard output would bury the message of a test that fails.
impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = |text: &str| text.chars().take(4000).collect::<String>();
        f.debug_struct("Run")
            .field("code", &self.code)
            .field("stdout", &start(&self.stdout))
            .field("stderr", &start(&self.stderr))
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

impl Run {
    /// Asserts exit code 0 and that the program did not panic.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Asserts the exit code and that the program did not panic.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Asserts that it failed with one line on standard error that contains every one of these texts, and
    /// printed nothing else.
    #[track_caller]
    pub fn fails_saying(self, texts: &[&str]) -> Self {
        let run = self.exits(1);
        assert_eq!(run.stdout, "", "{run:?}");
        run.says_in_one_line(texts)
    }

    /// Asserts that standard error is one line with every one of these texts.
    #[track_caller]
    pub fn says_in_one_line(self, texts: &[&str]) -> Self {
        assert_eq!(self.stderr.lines().count(), 1, "one line expected: {self:?}");
        assert!(self.stderr.ends_with('\n'), "{self:?}");
        for text in texts {
            assert!(self.stderr.contains(text), "'{text}' expected in: {}", self.stderr);
        }
        self
    }

    /// Asserts a usage error: exit code 2, nothing on standard output, each of these texts on standard error.
    #[track_caller]
    pub fn usage_error(self, texts: &[&str]) -> Self {
        let run = self.exits(2);
        assert_eq!(run.stdout, "", "{run:?}");
        for text in texts {
            assert!(run.stderr.contains(text), "'{text}' expected in: {}", run.stderr);
        }
        run
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard output in lines.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

/// The program, to be run without a terminal and with a plain environment.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memtool"));
    command.stdin(Stdio::null()).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env("LC_ALL", "C");
    command
}

/// Runs memtool with these arguments.
#[track_caller]
pub fn memtool<S: AsRef<OsStr>>(arguments: &[S]) -> Run {
    run(command().args(arguments))
}

/// Runs memtool against a machine's file.
#[track_caller]
pub fn on(machine: &Path, arguments: &[&str]) -> Run {
    run(command().arg("--machine").arg(machine).args(arguments))
}

/// Runs memtool against the demo machine.
#[track_caller]
pub fn demo(arguments: &[&str]) -> Run {
    on(Path::new("demo"), arguments)
}

/// Runs a command to its end and collects what it says; fails the test if it hangs.
#[track_caller]
pub fn run(command: &mut Command) -> Run {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = collect(child.stdout.take().unwrap());
    let stderr = collect(child.stderr.take().unwrap());
    let status = wait(&mut child);
    let bytes = stdout.join().unwrap();
    let status = status.unwrap_or_else(|| panic!("memtool hangs: {command:?}"));
    Run {
        code: code(status),
        stdout: String::from_utf8_lossy(&bytes).into_owned(),
        stderr: String::from_utf8_lossy(&stderr.join().unwrap()).into_owned(),
        bytes,
    }
}

fn collect(mut pipe: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// Waits for a child's end; kills it when it hangs.
pub fn wait(child: &mut std::process::Child) -> Option<ExitStatus> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal to a child.
pub fn send_signal(child: &std::process::Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

/// The exit code; -1 if a signal ended the program.
pub fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

/// The demo machine, as `memtool record` writes it.
#[track_caller]
pub fn demo_machine() -> Value {
    demo(&["record", "-"]).ok().json()
}

/// Writes a machine to a new file in a directory, with a name of its own.
pub fn write_machine(directory: &Path, machine: &Value) -> PathBuf {
    write_file(directory, serde_json::to_string_pretty(machine).unwrap().as_bytes())
}

/// Writes bytes to a new file in a directory, with a name of its own.
pub fn write_file(directory: &Path, bytes: &[u8]) -> PathBuf {
    let mut file = tempfile::Builder::new().prefix("machine-").suffix(".json").tempfile_in(directory).unwrap();
    file.write_all(bytes).unwrap();
    file.into_temp_path().keep().unwrap()
}

/// A directory for a test's files, gone with the value.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A machine on which an operation fails with an errno.
pub fn failing(machine: &Value, operation: &str, errno: &str) -> Value {
    let mut machine = machine.clone();
    machine["errors"] = serde_json::json!({ operation: errno });
    machine
}

/// An address of a machine's file or of a `--json` document: a string, `0x` or decimal.
#[track_caller]
pub fn address(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no string"));
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What memtool prints to a terminal on the demo machine; lines end as they do in a pipe.
#[track_caller]
pub fn on_terminal(arguments: &[&str]) -> String {
    use std::io::Read;
    let pty = nix::pty::openpty(None, None).unwrap();
    let mut command = command();
    command.args(["--machine", "demo"]).args(arguments).stdout(Stdio::from(pty.slave));
    let mut child = command.spawn().unwrap();
    // The last open descriptor of the terminal's other side must be the child's.
    drop(command);
    let mut shown = Vec::new();
    // Linux reports the end as EIO, others as no more bytes; what came before is there either way.
    let _ = std::fs::File::from(pty.master).read_to_end(&mut shown);
    assert!(wait(&mut child).is_some_and(|status| status.success()), "{arguments:?}");
    String::from_utf8(shown).unwrap().replace("\r\n", "\n")
}
