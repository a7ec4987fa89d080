//! Runs commands: how long they take, how much they write, how much memory they need.

pub mod dev_mem;
pub mod minidump;
pub mod source;

use nix::sys::wait::{Id, WaitPidFlag};
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// A failure is a message.
pub type Result<T> = std::result::Result<T, String>;

/// Where a command's output goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    Null,
    /// A pipe that `cat` reads.
    Pipe,
    /// A file that the command makes.
    File,
}

/// What a command line may mention as `{name}`: a path, or the reason why there is none.
pub struct Names(pub Vec<(&'static str, Result<String>)>);

/// What a command took.
pub struct Cost {
    /// Seconds from its start to its end.
    pub seconds: f64,
    /// Seconds of a processor, whatever else the machine did.
    pub processor: f64,
    /// The most memory that it had, in bytes.
    pub peak: u64,
    /// Bytes that it read with read(2) and pread(2); 0 where the system does not count them.
    pub read: u64,
}

/// Pipelines, one after another.
pub struct Job(Vec<Vec<Vec<String>>>);

impl Job {
    /// Takes words, ` | ` and ` && ` as a shell would. The paths that names stand for may have spaces in them;
    /// `{out}` is where the output goes unless that is standard output.
    pub fn new(line: &str, names: &Names, out: &str) -> Result<Self> {
        let word = |word: &str| {
            let mut word = word.replace("{out}", out);
            for (name, path) in &names.0 {
                let name = format!("{{{name}}}");
                if word.contains(&name) {
                    word = word.replace(&name, path.as_ref().map_err(String::clone)?);
                }
            }
            Ok(word)
        };
        let stage = |stage: &str| stage.split_whitespace().map(word).collect();
        let pipeline = |pipeline: &str| pipeline.split(" | ").map(stage).collect();
        line.split(" && ").map(pipeline).collect::<Result<_>>().map(Self)
    }

    /// Seconds until the last command has ended. A file is a new one each time, and no earlier run's writes
    /// are still under way.
    pub fn time(&self, sink: Sink, out: &Path) -> Result<f64> {
        if sink == Sink::File {
            remove(out)?;
            nix::unistd::sync();
        }
        let cat = ["cat".to_owned()];
        let start = Instant::now();
        for pipeline in &self.0 {
            let mut stages: Vec<&[String]> = pipeline.iter().map(Vec::as_slice).collect();
            if sink == Sink::Pipe {
                stages.push(&cat);
            }
            for (name, mut child) in spawn(&stages, Stdio::null)? {
                check(name, child.wait().map_err(|error| failed(name, &error))?)?;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        if sink == Sink::File {
            remove(out)?;
        }
        Ok(seconds)
    }

    /// Bytes that it writes: to standard output, or to the file that it makes.
    pub fn written(&self, out: &Path) -> Result<u64> {
        remove(out)?;
        let mut bytes = 0;
        for pipeline in &self.0 {
            let stages: Vec<&[String]> = pipeline.iter().map(Vec::as_slice).collect();
            let mut children = spawn(&stages, Stdio::piped)?;
            if let Some((name, last)) = children.last_mut()
                && let Some(stdout) = last.stdout.take()
            {
                bytes += length(stdout).map_err(|error| failed(name, &error))?;
            }
            for (name, mut child) in children {
                check(name, child.wait().map_err(|error| failed(name, &error))?)?;
            }
        }
        if let Ok(file) = fs::metadata(out) {
            bytes += file.len();
        }
        remove(out)?;
        Ok(bytes)
    }

    /// The most memory that one of its commands had, in bytes. What this process has when it starts them counts
    /// too, which is a few MiB.
    pub fn peak_memory(&self) -> Result<u64> {
        let mut peak = 0;
        for pipeline in &self.0 {
            let stages: Vec<&[String]> = pipeline.iter().map(Vec::as_slice).collect();
            for (name, child) in spawn(&stages, Stdio::null)? {
                let ended = wait_with_usage(&child).and_then(|(status, usage)| Ok((status, self::peak(&usage)?)));
                let (status, memory) = ended.map_err(|error| failed(name, &error))?;
                check(name, status)?;
                peak = peak.max(memory);
            }
        }
        Ok(peak)
    }

    /// What its only command takes.
    pub fn cost(&self) -> Result<Cost> {
        let stage: &[String] = self.0.first().and_then(|pipeline| pipeline.first()).ok_or("no command")?;
        let start = Instant::now();
        let mut children = spawn(&[stage], Stdio::null)?;
        let (name, child) = children.pop().ok_or("no command")?;
        let ended = || {
            let pid = nix::unistd::Pid::from_raw(child.id().try_into().map_err(io::Error::other)?);
            // What it read is told until it is waited for.
            nix::sys::wait::waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
            let seconds = start.elapsed().as_secs_f64();
            let read = bytes_read(child.id());
            let (status, usage) = wait_with_usage(&child)?;
            let time = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
            let processor = time(usage.ru_utime) + time(usage.ru_stime);
            Ok::<_, io::Error>((status, Cost { seconds, processor, peak: peak(&usage)?, read }))
        };
        let (status, cost) = ended().map_err(|error| failed(name, &error))?;
        check(name, status)?;
        Ok(cost)
    }
}

/// Bytes that a process has read.
fn bytes_read(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("rchar: ")).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Starts a pipeline; the last command's standard output is made by `stdout`.
fn spawn<'a>(stages: &[&'a [String]], stdout: fn() -> Stdio) -> Result<Vec<(&'a str, Child)>> {
    let mut children = Vec::new();
    let mut input = Stdio::null();
    for (index, stage) in stages.iter().enumerate() {
        let [name, arguments @ ..] = stage else { return Err("an empty command".to_owned()) };
        let (next, output) = if index + 1 < stages.len() {
            let (reader, writer) = io::pipe().map_err(|error| failed(name, &error))?;
            (reader.into(), writer.into())
        } else {
            (Stdio::null(), stdout())
        };
        let input = std::mem::replace(&mut input, next);
        let child = Command::new(name).args(arguments).stdin(input).stdout(output).spawn();
        children.push((name.as_str(), child.map_err(|error| failed(name, &error))?));
    }
    Ok(children)
}

fn failed(name: &str, error: &io::Error) -> String {
    format!("{name}: {error}")
}

fn check(name: &str, status: ExitStatus) -> Result<()> {
    if status.success() { Ok(()) } else { Err(format!("{name}: {status}")) }
}

/// Reads to the end.
pub fn length(mut from: impl Read) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(read) => bytes += read as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
}

/// Removes a file that may not be there.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&path.display().to_string(), &error)),
        _ => Ok(()),
    }
}

/// The largest resident size in bytes.
fn peak(usage: &libc::rusage) -> io::Result<u64> {
    // In KiB, on Linux as on FreeBSD.
    let kilobytes = u64::try_from(usage.ru_maxrss).map_err(io::Error::other)?;
    Ok(kilobytes * 1024)
}

/// Waits for a child; what it used.
fn wait_with_usage(child: &Child) -> io::Result<(ExitStatus, libc::rusage)> {
    let pid = child.id().try_into().map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: rusage is made of integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables of the types that wait4 fills in.
    if unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((ExitStatus::from_raw(status), usage))
}

/// Where a program is. System administration's folders are not in everybody's PATH.
pub fn program(name: &'static str) -> Result<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder: PathBuf| folder.join(name)).find(|path| path.is_file());
    found.map_or_else(|| Err(format!("there is no {name}")), |path| text(&path))
}

/// A path as part of a command line.
pub fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| format!("{} is not UTF-8", path.display()))
}
