//! Storing a dump as a file of another host, over ssh(1).
//!
//! The other host runs `receive.sh`, a script for its sh, which writes what comes into a file beside the one that is
//! asked for. After the dump comes a token that only this session knows: if ssh(1) or the connection ends before, the
//! script removes the file, so that nothing is ever taken for a dump that is not whole. With the token it has everything
//! brought to disk, gives the file its name, which must be free, and says so.
//!
//! ssh(1) decides who may do that: keys, known hosts and ssh_config(5) count as they always do, and it asks on the
//! terminal where there is one.

use super::address::RemoteFile;
use super::{Delivered, Upload, random};
use crate::error::{Error, Result};
use crate::files;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use vmcore::errno;

/// What the other host does.
const SCRIPT: &str = include_str!("receive.sh");
/// What it says when it has begun the file.
const READY: &str = "memtool: ready";
/// What it says at the end, before the size.
const DONE: &str = "memtool: done ";

/// Has ssh(1) leave it to memtool what a signal from the terminal ends: memtool's own end is the end of its input.
const RUN: &str = r#"trap "" HUP INT; exec ssh "$@""#;
/// The exit code of sh(1) for a program that is not there.
const NOT_FOUND: i32 = 127;
/// The exit code of ssh(1) for what is its own failure.
const OWN_FAILURE: i32 = 255;

/// Bytes of a line that are looked at, and lines, until what the script says: a login shell may say something before.
const MAX_LINE: u64 = 4096;
const MAX_LINES: usize = 1000;
/// Bytes and lines of the messages that are kept.
const MAX_MESSAGES: usize = 4096;
const MAX_MESSAGE_LINES: usize = 5;
/// How long something else may hold the messages open after the end of ssh(1), which can leave a process that holds
/// the connection for others.
const MESSAGES_TIMEOUT: Duration = Duration::from_secs(1);

/// A dump that is on its way to a file of another host.
#[derive(Debug)]
pub struct Session {
    child: Child,
    /// Gone when the end is said, or given up.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    messages: Messages,
    to: RemoteFile,
    token: String,
    /// Bytes of the dump that ssh(1) has taken.
    sent: u64,
}

impl Session {
    /// Runs ssh(1), and waits until the other host has begun the file: without end, as somebody may be asked for a passphrase.
    ///
    /// # Errors
    ///
    /// ssh(1) is not installed, or does not get there; or the other host refuses the file.
    pub fn begin(to: &RemoteFile) -> Result<Self> {
        Self::start(to).map_err(|source| Error::Io { what: format!("write to ssh://{to}"), source })
    }

    fn start(to: &RemoteFile) -> io::Result<Self> {
        let (token, name) = (random::digits::<32>()?, random::digits::<4>()?);
        let mut ssh = Command::new("/bin/sh");
        ssh.args(["-c", RUN, "memtool"]).args(options(to)).arg(remote_command(&token, &name, &to.path));
        let mut child = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        files::enlarge_pipe(&stdin);
        let (stdin, stdout) = (Some(stdin), BufReader::new(stdout));
        let messages = Messages::collect(stderr)?;
        let mut session = Self { child, stdin, stdout, messages, to: to.clone(), token, sent: 0 };
        match session.wait_for_line(|line| (line == READY).then_some(())) {
            Some(()) => Ok(session),
            None => Err(io::Error::other(session.reason())),
        }
    }

    /// What a line says that the script prints; `None` if it ends before that.
    fn wait_for_line<T>(&mut self, meaning: impl Fn(&str) -> Option<T>) -> Option<T> {
        for _ in 0..MAX_LINES {
            let mut line = Vec::new();
            self.stdout.by_ref().take(MAX_LINE).read_until(b'\n', &mut line).ok()?;
            if line.is_empty() {
                return None;
            }
            if let Some(meaning) = meaning(String::from_utf8_lossy(&line).trim_end()) {
                return Some(meaning);
            }
        }
        None
    }

    /// Ends ssh(1) where it does not end by itself, and says why it failed.
    fn reason(&mut self) -> String {
        drop(self.stdin.take());
        // What has closed its output is about to end.
        if !matches!(io::copy(&mut self.stdout.by_ref().take(MAX_LINE), &mut io::sink()), Ok(read) if read < MAX_LINE) {
            let _ = self.child.kill();
        }
        let status = self.child.wait();
        let said = self.messages.last_lines();
        match status {
            Ok(status) if status.code() == Some(NOT_FOUND) && said.is_empty() => "ssh(1) is not installed".to_owned(),
            Ok(status) if said.is_empty() => format!("ssh(1) ended without a message ({})", ended(status)),
            Err(error) => errno::reason(&error),
            Ok(_) => said,
        }
    }

    fn failed(&mut self) -> io::Error {
        let to = self.to.clone();
        io::Error::other(format!("ssh://{to} was not written: {}", self.reason()))
    }

    fn deliver(&mut self) -> io::Result<Delivered> {
        let (sent, trailer) = (self.sent, format!("{:020}{}", self.sent, self.token));
        if let Some(mut stdin) = self.stdin.take() {
            stdin.write_all(trailer.as_bytes()).map_err(|_| self.failed())?;
        }
        let stored = self.wait_for_line(|line| line.strip_prefix(DONE).map(|size| size.parse() == Ok(sent)));
        match stored {
            Some(true) => Ok(Delivered::Stored),
            Some(false) => Err(io::Error::other(format!("ssh://{} has another size than what was sent", self.to))),
            None => {
                let error = self.failed();
                let is_lost = matches!(self.child.try_wait(), Ok(Some(status)) if status.code() == Some(OWN_FAILURE));
                // The script may have come to its end without being heard.
                Err(if is_lost { io::Error::other(format!("{error}; the file may be there, complete")) } else { error })
            }
        }
    }
}

fn ended(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"))
}

impl Write for Session {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.stdin {
            Some(stdin) => stdin.write(bytes),
            None => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        match written {
            Ok(written) => {
                self.sent += written as u64;
                Ok(written)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(_) => Err(self.failed()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for Session {
    /// Sends the token, and waits until the other host has said that the file has its name.
    ///
    /// # Errors
    ///
    /// The other host does not have all of it, cannot bring it to disk, or has a file of that name by now.
    fn finish(mut self: Box<Self>) -> Result<Delivered> {
        self.deliver().map_err(|source| Error::Io { what: "finish sending".to_owned(), source })
    }
}

impl Drop for Session {
    /// Ends ssh(1), so that the other host removes the file, unless it has everything.
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Without effect if it has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of what ssh(1) and the other host say to people.
#[derive(Debug)]
struct Messages {
    last: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Messages {
    fn collect(mut from: ChildStderr) -> io::Result<Self> {
        let last = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = channel();
        let kept = Arc::clone(&last);
        std::thread::Builder::new().name("ssh".to_owned()).spawn(move || {
            let mut piece = [0; 1024];
            while let Ok(read @ 1..) = from.read(&mut piece) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(piece.iter().take(read));
                let excess = kept.len().saturating_sub(MAX_MESSAGES);
                kept.drain(..excess);
            }
            let _ = end.send(());
        })?;
        Ok(Self { last, ended })
    }

    fn last_lines(&self) -> String {
        let _ = self.ended.recv_timeout(MESSAGES_TIMEOUT);
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&last);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines.iter().skip(lines.len().saturating_sub(MAX_MESSAGE_LINES)).copied().collect::<Vec<_>>().join("; ")
    }
}

/// The command line of ssh(1) before the command.
fn options(to: &RemoteFile) -> Vec<String> {
    // Bytes as they are, and nothing else on this connection.
    let mut options = ["-T", "-a", "-x", "-e", "none", "-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none"]
        .map(str::to_owned)
        .to_vec();
    // A connection that is dead ends, even while nothing is sent.
    options.extend(["-o".to_owned(), "ServerAliveInterval=30".to_owned()]);
    // Where nobody can answer, nobody is asked.
    if File::open("/dev/tty").is_err() {
        options.extend(["-o".to_owned(), "BatchMode=yes".to_owned()]);
    }
    if let Some(port) = to.port {
        options.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(user) = &to.user {
        options.extend(["-l".to_owned(), user.clone()]);
    }
    options.extend(["--".to_owned(), to.host.clone()]);
    options
}

/// What the other host's login shell is to run: the script as one line, which no shell finds anything in between its quotes.
fn remote_command(token: &str, name: &str, path: &str) -> String {
    let lines: Vec<&str> =
        SCRIPT.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let path: String = path.bytes().map(|byte| format!("\\{byte:03o}")).collect();
    format!("exec sh -c '{}' memtool {token} {name} '{path}'", lines.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_login_shell_takes_the_script_as_it_is() {
        let command = remote_command(&"0".repeat(64), "01234567", "/a'b\u{e9}");
        assert!(!command.contains(['!', '\n']), "{command}");
        assert!(!command.contains("\\\\") && !command.contains("\\'"), "{command}");
        // Around the script and around the path.
        assert_eq!(command.matches('\'').count(), 4, "{command}");
        assert!(command.ends_with(r" 01234567 '\057\141\047\142\303\251'"), "{command}");
    }

    #[test]
    fn what_begins_like_an_option_is_never_one() {
        let to = |text: &str| options(&text.parse().unwrap());
        let options = to("me@[::1]:2222/x");
        assert!(options.ends_with(&["-p", "2222", "-l", "me", "--", "::1"].map(str::to_owned)), "{options:?}");
        assert!(to("host/-x").ends_with(&["--", "host"].map(str::to_owned)));
    }
}
