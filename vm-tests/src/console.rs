//! The serial line: waits for text on it, types lines, and runs commands in the shell at its other end.
//!
//! A command is told from its echo and from the kernel's messages by a marker that only its execution
//! prints, since the marker is typed with backslashes, which the shell takes away: `echo @@\m\t1234:$?@@`. There
//! are no quotes in it, so that a shell which has lost a part of the line does not wait for the other quote.

use crate::error::{Error, Result};
use crate::terminal::Plain;
use regex::bytes::{Captures, Regex};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// Text that was not waited for yet is forgotten beyond this length, oldest first.
const MAX_PENDING: usize = 256 << 10;

/// What is kept for [`Console::tail`].
const MAX_TAIL: usize = 16 << 10;

/// How often a wait looks whether a signal has come.
const SLICE: Duration = Duration::from_millis(100);

/// What is waited for after a panic, so that the log has the kernel's last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A marker before its number, as it is printed and as it is typed. Even if the echo loses one backslash, as where
/// a line editor goes on to the next line, the two differ.
const MARKER: (&str, &str) = ("@@mt", r"@@\m\t");

/// What a kernel says that gives up: FreeBSD's, its debugger, and Linux in the harness's own tests. The word may
/// come in the midst of a line; the next one then tells that it is the kernel's.
const PANIC: &str = r"(?x-u)
    (?m:^)(?:panic:\ |Fatal\ (?:double\ fault|trap\ )|KDB:\ enter:\ |db>\ |\[[\ .0-9]+\]\ Kernel\ panic\ ).*
    | .*panic:\ .*\n(?:cpuid|time)\ =\ ";

/// A console whose other end is a booting system, and later a shell.
pub struct Console {
    input: Receiver<Vec<u8>>,
    output: Box<dyn Write>,
    log: Box<dyn Write>,
    plain: Plain,
    /// Text that came and was not waited for yet.
    pending: Vec<u8>,
    /// The last text of all.
    tail: Vec<u8>,
    panic: Option<Regex>,
    interrupted: Arc<AtomicBool>,
    /// Looks for trouble while the console is silent.
    look_out: Box<dyn Fn() -> Option<Error>>,
    /// Makes this run's markers unlike those of any other.
    nonce: u32,
    commands: u32,
}

/// Where a pattern was found.
#[derive(Debug)]
pub struct Found {
    /// Which of the patterns.
    pub pattern: usize,
    /// What came before it.
    pub before: Vec<u8>,
    /// Its first group, or else all of it.
    pub text: Vec<u8>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit status.
    pub status: u8,
    /// What the console showed meanwhile, without control characters.
    pub output: String,
}

impl Console {
    /// Takes hold of a console. Everything that comes is written to `log` as well. Waiting ends early when
    /// `interrupted` becomes true.
    pub fn new(
        mut reader: impl Read + Send + 'static,
        writer: impl Write + 'static,
        log: impl Write + 'static,
        interrupted: Arc<AtomicBool>,
    ) -> Self {
        // A guest that floods the console waits for its reader.
        let (sender, input) = sync_channel(16);
        thread::spawn(move || {
            let mut buffer = vec![0; 16 << 10];
            // An error is the end as well: the console of a process that has gone.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                let Some(bytes) = buffer.get(..length) else { return };
                if sender.send(bytes.to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            input,
            output: Box::new(writer),
            log: Box::new(log),
            plain: Plain::default(),
            pending: Vec::new(),
            tail: Vec::new(),
            panic: Regex::new(PANIC).ok(),
            interrupted,
            look_out: Box::new(|| None),
            // Random enough, and no dependency.
            nonce: u32::try_from(RandomState::new().build_hasher().finish() >> 44).unwrap_or_default(),
            commands: 0,
        }
    }

    /// Has waiting end early with an error that `look_out` finds while the console is silent.
    pub fn look_out(&mut self, look_out: impl Fn() -> Option<Error> + 'static) {
        self.look_out = Box::new(look_out);
    }

    /// Waits for one of the patterns; everything up to its end counts as read. `what` is what an error says
    /// was waited for.
    pub fn wait_for(&mut self, patterns: &[&Regex], what: &str, within: Duration) -> Result<Found> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(found) = self.look_for(patterns)? {
                return Ok(found);
            }
            // Looked at even while text comes without an end.
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Err(Error::Timeout { waited_for: what.to_owned(), within });
            }
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            match self.input.recv_timeout(remaining.min(SLICE)) {
                Ok(bytes) => self.take(&bytes),
                Err(RecvTimeoutError::Timeout) => (self.look_out)().map_or(Ok(()), Err)?,
                // The signal may have ended the other end as well.
                Err(RecvTimeoutError::Disconnected) if self.interrupted.load(Ordering::Relaxed) => {
                    return Err(Error::Interrupted);
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Closed { waited_for: what.to_owned() }),
            }
        }
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        let typed = self.output.write_all(format!("{line}\n").as_bytes());
        typed.and_then(|()| self.output.flush()).map_err(Error::Send)
    }

    /// Types ^C, which ends what a shell is doing, or the line it is reading.
    pub fn type_interrupt(&mut self) -> Result<()> {
        self.output.write_all(b"\x03").and_then(|()| self.output.flush()).map_err(Error::Send)
    }

    /// Runs a command in the shell that reads the console, and waits until it ends. The command is one line
    /// and a whole command; what it reads from the console is lost.
    pub fn run(&mut self, command: &str, within: Duration) -> Result<Outcome> {
        self.commands += 1;
        let (printed, typed) = MARKER;
        let number = format!("{:x}.{}", self.nonce, self.commands);
        // The end is told twice, for the case that a message of the kernel falls into one.
        let end = format!("echo {typed}{number}:$r@@");
        self.type_line(&format!(r"echo {typed}{number}\<; {command}; r=$?; {end}; {end}"))?;
        let marker = regex::escape(&format!("{printed}{number}"));
        let (Ok(start), Ok(end)) = (Regex::new(&format!("{marker}<\n?")), Regex::new(&format!("{marker}:([0-9]+)@@")))
        else {
            return Err(Error::Program(format!("no pattern can be made of the marker {marker}")));
        };
        let found = self.wait_for(&[&end], &format!("the end of '{command}'"), within)?;
        let output = match start.find(&found.before) {
            Some(start) => found.before.get(start.end()..).unwrap_or_default(),
            // The beginning was garbled, or has been forgotten.
            None => &found.before,
        };
        let status = String::from_utf8_lossy(&found.text).parse().map_err(|_| {
            Error::Guest(format!("'{command}' ended with the status {}", String::from_utf8_lossy(&found.text)))
        })?;
        Ok(Outcome { status, output: String::from_utf8_lossy(output).trim_end().to_owned() })
    }

    /// Listens for a while to what the guest says last, for the log.
    pub fn listen(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while let Some(remaining) = deadline.checked_duration_since(Instant::now()) {
            match self.input.recv_timeout(remaining) {
                Ok(bytes) => self.take(&bytes),
                Err(_) => return,
            }
        }
    }

    /// After a panic, waits until the guest has written its dump and goes down to boot again, which ends QEMU. A
    /// debugger that waits for orders is told to go on.
    pub fn wait_for_end(&mut self, within: Duration) -> Result<()> {
        let debugger = Regex::new("(?m)^db> ").map_err(|error| Error::Program(error.to_string()))?;
        let what = "the guest's going down after the panic";
        let mut ended = self.wait_for(&[&debugger], what, within);
        if ended.is_ok() {
            self.type_line("c")?;
            ended = self.wait_for(&[&debugger], what, within);
        }
        match ended {
            Err(Error::Closed { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(Error::Guest("its debugger does not go on after the panic".to_owned())),
        }
    }

    /// Whether nothing has come yet but control characters.
    pub fn is_silent(&self) -> bool {
        self.tail.trim_ascii().is_empty()
    }

    /// The last lines that came, at most so many, without markers and the commands that print them.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.tail).into_owned();
        let [marker, typed] = [MARKER.0, MARKER.1].map(|marker| format!("{marker}{:x}.", self.nonce));
        let said = |line: &&str| !line.is_empty() && !line.starts_with(&marker) && !line.contains(&typed);
        let all: Vec<_> = text.lines().map(str::trim_end).filter(said).collect();
        all.iter().skip(all.len().saturating_sub(lines)).map(|&line| line.to_owned()).collect()
    }

    /// Looks through what has come. A panic counts only before the first match.
    fn look_for(&mut self, patterns: &[&Regex]) -> Result<Option<Found>> {
        let first = patterns
            .iter()
            .enumerate()
            .filter_map(|(index, pattern)| Some((index, pattern.captures(&self.pending)?)))
            .min_by_key(|(_, captures)| range(captures).start);
        let limit = first.as_ref().map_or(usize::MAX, |(_, captures)| range(captures).start);
        let panic = self.panic.as_ref().and_then(|panic| panic.find(&self.pending)).map(|found| found.range());
        if panic.is_some_and(|panic| panic.start < limit) {
            // The line may not be whole yet.
            self.listen(LAST_WORDS);
            let found = self.panic.as_ref().and_then(|panic| panic.find(&self.pending));
            let line = found.and_then(|found| {
                String::from_utf8_lossy(found.as_bytes()).lines().next().map(|line| line.trim_end().to_owned())
            });
            // It is told once.
            self.panic = None;
            return Err(Error::Panic { line: line.unwrap_or_default() });
        }
        let Some((pattern, captures)) = first else { return Ok(None) };
        let range = range(&captures);
        let text = captures.get(1).or(captures.get(0)).map(|found| found.as_bytes().to_vec()).unwrap_or_default();
        let before = self.pending.get(..range.start).unwrap_or_default().to_vec();
        self.pending.drain(..range.end);
        Ok(Some(Found { pattern, before, text }))
    }

    fn take(&mut self, bytes: &[u8]) {
        // A log that cannot be written must not end the run; the cases count.
        let _ = self.log.write_all(bytes);
        let known = self.pending.len();
        self.plain.append(bytes, &mut self.pending);
        self.tail.extend_from_slice(self.pending.get(known..).unwrap_or_default());
        for (text, limit) in [(&mut self.pending, MAX_PENDING), (&mut self.tail, MAX_TAIL)] {
            // Not at every byte: moving the rest takes time.
            if text.len() > 2 * limit {
                text.drain(..text.len() - limit);
            }
        }
    }
}

/// The whole of a match.
fn range(captures: &Captures) -> std::ops::Range<usize> {
    captures.get(0).map_or(0..0, |found| found.range())
}
