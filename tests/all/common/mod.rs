//! What the integration tests share: running the real binary, and making files of recorded machines.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test program that stands alone uses some of the helpers; a helper that fails is a test that fails"
)]

pub mod arm64;
pub mod browser;
pub mod certificates;
pub mod compiler;
pub mod dwarf;
pub mod encryption;
pub mod entries_dump;
pub mod file_kernel;
pub mod formats;
pub mod kernel;
pub mod minidump;
pub mod netdump;
pub mod nginx;
pub mod object_kernel;
pub mod page_kernel;
pub mod process_kernel;
pub mod process_maps;
pub mod proxy;
pub mod recipients;
pub mod riscv;
pub mod s3;
pub mod schema;
pub mod signals;
pub mod small;
pub mod sshd;
pub mod typed_kernel;

use serde_json::Value;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Whether a parser that has doubles only rounds a number in it.
fn has_rounded(value: &Value) -> bool {
    const LARGEST: u64 = (1 << 53) - 1;
    match value {
        Value::Number(number) if number.is_f64() => false,
        Value::Number(number) => {
            number.as_u64().or(number.as_i64().map(i64::unsigned_abs)).is_none_or(|number| number > LARGEST)
        }
        Value::Array(values) => values.iter().any(has_rounded),
        Value::Object(fields) => fields.values().any(has_rounded),
        _ => false,
    }
}

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

    /// Asserts that the last line on standard error says that the machine is recorded, and takes it off.
    #[track_caller]
    pub fn of_recording(mut self) -> Self {
        let lines: Vec<&str> = self.stderr.lines().collect();
        let (last, rest) = lines.split_last().unwrap_or_else(|| panic!("nothing is said of a recording: {self:?}"));
        assert_eq!(*last, "memtool: the machine is recorded", "{self:?}");
        self.stderr = rest.iter().map(|line| format!("{line}\n")).collect();
        self
    }

    /// Asserts a usage error: exit code 2, nothing on standard output, each of these texts on standard error.
    #[track_caller]
    pub fn usage_error(self, texts: &[&str]) -> Self {
        let run = self.exits(2);
        assert_eq!(run.stdout, "", "{run:?}");
        // In the form of every other message.
        assert!(run.stderr.starts_with("memtool: ") && run.stderr.ends_with(" --help'\n"), "{run:?}");
        run.says_in_one_line(texts)
    }

    /// Standard output as one JSON document that its schema allows, which has every warning that standard error has, and
    /// no number that a parser with doubles rounds.
    #[track_caller]
    pub fn json(&self) -> Value {
        let document = schema::document(&self.bytes);
        assert!(!has_rounded(&document), "a double does not hold every number: {self:?}");
        if document["schema"] == "memtool.machine" {
            return document;
        }
        let kept = document["warnings"].as_array().unwrap_or_else(|| panic!("no list of warnings: {self:?}"));
        let kept: Vec<&str> = kept.iter().map(|warning| warning.as_str().unwrap()).collect();
        let said = self.stderr.lines().filter_map(|line| line.strip_prefix("memtool: warning: "));
        // Only JSON has what would command a terminal as it is.
        let is_kept = |said: &str| kept.contains(&said) || said.contains('\\') && !kept.is_empty();
        for said in said {
            assert!(is_kept(said), "'{said}' is not in the JSON object: {self:?}");
        }
        document
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
    signals::heed_signals(&mut command);
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
    start(command.stdout(Stdio::piped())).end()
}

/// A run that goes on while the test does something; ended with the value.
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    /// Ends the watch over the child.
    _watched: Sender<()>,
}

/// Starts a command whose standard output the test has set up; what is a pipe of its own is collected.
#[track_caller]
pub fn start(command: &mut Command) -> Running {
    start_with_stderr(command.stderr(Stdio::piped()))
}

/// As [`start`], with standard error set up as well.
#[track_caller]
pub fn start_with_stderr(command: &mut Command) -> Running {
    signals::heed_signals(command);
    let mut child = command.spawn().unwrap();
    // Pipes and terminals are the child's alone, so that their end is seen.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (stdout, stderr) = (child.stdout.take().map(collect), child.stderr.take().map(collect));
    Running { stdout, stderr, _watched: kill_when_hanging(&child), child }
}

/// A child that hangs would have the test hang that reads what it says.
fn kill_when_hanging(child: &Child) -> Sender<()> {
    let pid = pid_of(child);
    let (watched, ended) = channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    });
    watched
}

impl Running {
    /// Whether it is over.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until something has happened, which the run must not end before.
    #[track_caller]
    pub fn until(&mut self, mut happened: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !happened() {
            assert!(!self.has_ended(), "it ended before that");
            assert!(Instant::now() < deadline, "that does not happen");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until the run has written more than so many bytes to a file in a directory.
    #[track_caller]
    pub fn until_written(&mut self, directory: &Path, bytes: u64) {
        let length = |name: &String| directory.join(name).metadata().map_or(0, |file| file.len());
        self.until(|| names(directory).iter().any(|name| length(name) > bytes));
    }

    /// Stops the run, and waits until it has stopped.
    pub fn stop(&self) {
        use nix::sys::wait::{Id, WaitPidFlag, waitid};
        self.signal(nix::sys::signal::Signal::SIGSTOP);
        waitid(Id::Pid(pid_of(&self.child)), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT).unwrap();
    }

    /// Where the test writes what the run reads.
    pub fn stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        send_signal(&self.child, signal);
    }

    /// Waits for the end; fails the test if it does not come.
    #[track_caller]
    pub fn end(mut self) -> Run {
        let status = wait(&mut self.child);
        let text = |pipe: Option<JoinHandle<Vec<u8>>>| pipe.map_or_else(Vec::new, |pipe| pipe.join().unwrap());
        let (bytes, stderr) = (text(self.stdout.take()), text(self.stderr.take()));
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let status = status.unwrap_or_else(|| panic!("memtool hangs; so far it said: {stderr}"));
        Run { code: code(status), stdout: String::from_utf8_lossy(&bytes).into_owned(), stderr, bytes }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Without effect on a child that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads from a pipe or a terminal until that has come.
#[track_caller]
pub fn read_until(mut from: impl std::io::Read, sign: &str) -> String {
    let mut read = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&read).contains(sign) {
        from.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after: {}", String::from_utf8_lossy(&read)));
        read.push(byte[0]);
    }
    String::from_utf8(read).unwrap()
}

fn collect(mut pipe: impl std::io::Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// The names in a directory.
pub fn names(directory: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = directory.read_dir().unwrap().map(name).collect();
    names.sort();
    names
}

/// The names of all files below a directory, with slashes.
pub fn files_below(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in names(directory) {
        let path = directory.join(&name);
        match path.symlink_metadata().unwrap().is_dir() {
            true => found.extend(files_below(&path).into_iter().map(|inner| format!("{name}/{inner}"))),
            false => found.push(name),
        }
    }
    found
}

/// Runs memtool with a file system of 2 MiB mounted on a directory, `DIR` in the arguments, in a mount
/// namespace of its own; what is left in the directory follows on standard output. `None`, and a word about
/// it, where the system does not let us.
#[cfg(target_os = "linux")]
pub fn on_a_small_disk(arguments: &str) -> Option<Run> {
    on_a_disk("mount -t tmpfs -o size=2m none DIR", arguments)
}

/// The same with a file system of 8 MiB, of which about half is kept for the superuser.
#[cfg(target_os = "linux")]
pub fn on_a_disk_with_a_reserve(arguments: &str) -> Option<Run> {
    on_a_disk_with_a_reserve_and("true", arguments)
}

/// The same after a command.
#[cfg(target_os = "linux")]
pub fn on_a_disk_with_a_reserve_and(before: &str, arguments: &str) -> Option<Run> {
    let images = directory();
    let image = text(&images.path().join("image")).to_owned();
    let mount =
        format!("truncate -s 8m {image} && mke2fs -q -t ext2 -m 50 {image} && mount -o loop {image} DIR && {before}");
    on_a_disk(&mount, arguments)
}

#[cfg(target_os = "linux")]
fn on_a_disk(mount: &str, arguments: &str) -> Option<Run> {
    const NOT_MOUNTED: i32 = 99;
    let directory = directory();
    let script = format!(
        "{{ {mount}; }} || exit {NOT_MOUNTED}
        {program} {arguments}; code=$?; ls -A {dir}; exit $code",
        mount = mount.replace("DIR", text(directory.path())),
        dir = text(directory.path()),
        program = env!("CARGO_BIN_EXE_memtool"),
        arguments = arguments.replace("DIR", text(directory.path())),
    );
    // Whoever is not root becomes it in a user namespace, where the system has them.
    let become_root: &[&str] = if nix::unistd::geteuid().is_root() { &[] } else { &["-r"] };
    let run = run(Command::new("unshare").args(become_root).args(["-m", "sh", "-c", &script]));
    if run.code == NOT_MOUNTED || run.stderr.starts_with("unshare:") {
        eprintln!("SKIPPED: no small file system can be mounted here: {}", run.stderr);
        return None;
    }
    Some(run)
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
    nix::sys::signal::kill(pid_of(child), signal).unwrap();
}

fn pid_of(child: &Child) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(child.id().try_into().unwrap())
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

/// How an output can be compressed, by its options.
pub const COMPRESSIONS: [&[&str]; 3] = [&[], &["--zstd"], &["--gzip"]];

/// What they have compressed, as it was.
pub fn decompress(bytes: &[u8], compression: &[&str]) -> Vec<u8> {
    match compression.first() {
        Some(&"--zstd") => zstd::decode_all(bytes).unwrap(),
        Some(_) => {
            let mut all = Vec::new();
            flate2::read::GzDecoder::new(bytes).read_to_end(&mut all).unwrap();
            all
        }
        None => bytes.to_vec(),
    }
}

/// Noise, which cannot be compressed, the same in every run.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
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

/// The folder with dumps of a real kernel; says so where it is missing.
pub fn real_dumps() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !folder.is_dir() {
        eprintln!("NOT CHECKED: there are no real dumps in {}", folder.display());
        return None;
    }
    Some(folder)
}

/// Waits for a child that is to succeed; its peak of memory in KiB. On Linux that is not below its parent's when it
/// was started, so a test that asks is a program of its own.
#[track_caller]
pub fn peak(child: &std::process::Child) -> i64 {
    let pid = libc::pid_t::try_from(child.id()).unwrap();
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    let mut status = 0;
    // SAFETY: wait4(2) writes the int and the struct it is given.
    assert_eq!(unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) }, pid);
    assert_eq!(status, 0);
    // SAFETY: it succeeded and has filled the struct.
    unsafe { usage.assume_init() }.ru_maxrss
}

/// A pseudo-terminal, whose end another test's child would hold back if it were born with it.
pub fn terminal(size: Option<&nix::pty::Winsize>) -> nix::pty::OpenptyResult {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    let pty = nix::pty::openpty(size, None).unwrap();
    for side in [&pty.master, &pty.slave] {
        fcntl(side, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
    }
    pty
}

/// What memtool prints to a terminal on the demo machine; lines end as they do in a pipe.
#[track_caller]
pub fn on_terminal(arguments: &[&str]) -> String {
    on_terminal_of(None, command().args(["--machine", "demo"]).args(arguments))
}

/// What a command prints to a terminal of so many columns, or one that does not tell.
#[track_caller]
pub fn on_terminal_of(columns: Option<u16>, command: &mut Command) -> String {
    use std::io::Read;
    let size = columns.map(|ws_col| nix::pty::Winsize { ws_row: 24, ws_col, ws_xpixel: 0, ws_ypixel: 0 });
    let pty = terminal(size.as_ref());
    command.stdout(Stdio::from(pty.slave));
    let mut child = command.spawn().unwrap();
    // The last open descriptor of the terminal's other side must be the child's.
    command.stdout(Stdio::null());
    let mut shown = Vec::new();
    // Linux reports the end as EIO, others as no more bytes; what came before is there either way.
    let _ = std::fs::File::from(pty.master).read_to_end(&mut shown);
    assert!(wait(&mut child).is_some_and(|status| status.success()), "{command:?}");
    String::from_utf8(shown).unwrap().replace("\r\n", "\n")
}
