//! The guest behind the console: logging in, unpacking the program and the cases, running a case.

use crate::cases::Case;
use crate::console::{Console, Outcome};
use crate::disk::{BLOCK, MAGIC};
use crate::error::{Error, Result};
use regex::bytes::Regex;
use std::time::{Duration, Instant};

/// A silent console gets an empty line this often: it may wait for one, or its prompt was garbled.
const NUDGE: Duration = Duration::from_secs(60);

/// A shell that is there answers within this time.
const ANSWER: Duration = Duration::from_secs(15);

/// How often a shell is asked whether it is there, and the time until the next attempt.
const ATTEMPTS: (u32, Duration) = (20, Duration::from_secs(3));

/// Unpacking some MiB on a slow machine takes this long at most.
const UNPACKING: Duration = Duration::from_secs(120);

/// Where the guest may have room for files.
const FOLDERS: [&str; 3] = ["${TMPDIR:-/tmp}", "/var/tmp", "/root"];

/// What stands at the end of booting.
#[derive(Debug)]
pub struct Entrance<'a> {
    /// The user to log in as; `None` if the shell is there without a login.
    pub user: Option<&'a str>,
    /// The shell's prompt.
    pub prompt: &'a Regex,
}

/// A guest whose root shell reads the console and that has the program and the cases.
pub struct Guest<'a> {
    console: &'a mut Console,
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It proves what it says.
    Passed,
    /// It does not; how it ended.
    Failed(String),
    /// It cannot be run on this guest; why.
    Skipped(String),
}

/// A case that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    /// How it ended.
    pub verdict: Verdict,
    /// What it printed.
    pub output: String,
}

impl From<Outcome> for Tested {
    fn from(Outcome { status, output }: Outcome) -> Self {
        let verdict = match status {
            0 => Verdict::Passed,
            77 => Verdict::Skipped(reason(&output).unwrap_or("without a reason").to_owned()),
            129.. => Verdict::Failed(format!("ended by signal {}", status - 128)),
            _ => Verdict::Failed(format!("exit status {status}")),
        };
        Self { verdict, output }
    }
}

/// Why a case was skipped: its last line, unless the kernel had a word after it.
fn reason(output: &str) -> Option<&str> {
    let mut lines = output.lines().rev().map(str::trim);
    lines.clone().find_map(|line| line.strip_prefix("skip: ")).or_else(|| lines.find(|line| !line.is_empty()))
}

/// Waits until the system has booted, logs in, and leaves a quiet sh at the console.
pub fn enter(console: &mut Console, entrance: &Entrance, within: Duration) -> Result<()> {
    let deadline = Instant::now() + within;
    reach_prompt(console, entrance, deadline).map_err(|error| match error {
        // Not only since the last empty line.
        Error::Timeout { waited_for, .. } => Error::Timeout { waited_for, within },
        error => error,
    })?;
    // root's shell may be csh.
    console.type_line("exec /bin/sh")?;
    find_shell(console)?;
    // Without line editing, where this sh has it, and without prompts.
    console.run("(set +EV) 2>/dev/null && set +EV; PS1= PS2=", ANSWER)?;
    Ok(())
}

fn reach_prompt(console: &mut Console, entrance: &Entrance, deadline: Instant) -> Result<()> {
    let pattern = |text| Regex::new(text).map_err(|error| Error::Program(error.to_string()));
    // At the beginning of a line: 'Last login: ' is no prompt.
    let login = pattern("(?m)^login: ")?;
    let password = pattern("(?m)^Password: ?")?;
    let incorrect = pattern("Login incorrect")?;
    let single_user = pattern("Enter full pathname of shell or RETURN for [^:]*:")?;
    let mut named = entrance.user.is_none();
    loop {
        let (what, prompt) = match entrance.user {
            Some(_) if !named => ("'login: '".to_owned(), &login),
            _ => (format!("the prompt '{}'", entrance.prompt), entrance.prompt),
        };
        let patterns = [&single_user, &password, &incorrect, &login, prompt];
        let left = deadline.saturating_duration_since(Instant::now());
        let found = match console.wait_for(&patterns, &what, left.min(NUDGE)) {
            Err(Error::Timeout { .. }) if left > NUDGE => {
                console.type_line("")?;
                continue;
            }
            found => found?,
        };
        let denied = |why| Error::Login { user: entrance.user.unwrap_or_default().to_owned(), why };
        match (found.pattern, entrance.user) {
            (0, _) => console.type_line("")?,
            (1, Some(_)) if named => return Err(denied("the guest asks for a password")),
            (2, Some(_)) if named => return Err(denied("the guest says 'Login incorrect'")),
            (3, Some(user)) => {
                console.type_line(user)?;
                named = true;
            }
            (4, _) => return Ok(()),
            _ => {}
        }
    }
}

/// Waits until a shell answers; it may have lost what was typed while it started.
fn find_shell(console: &mut Console) -> Result<()> {
    let (attempts, pause) = ATTEMPTS;
    for _ in 0..attempts {
        match console.run(":", pause) {
            Err(Error::Timeout { .. }) => console.type_interrupt()?,
            answer => return answer.map(drop),
        }
    }
    Err(Error::Timeout { waited_for: "the answer of a shell after the prompt".to_owned(), within: pause * attempts })
}

impl<'a> Guest<'a> {
    /// Unpacks the disk, which is one of these devices, in a guest that was entered.
    pub fn prepare(console: &'a mut Console, devices: &[String]) -> Result<Self> {
        let mut guest = Self { console };
        guest.make_folder()?;
        let device = guest.find_disk(devices)?;
        guest.must(&format!("sh $F/unpack {device} $F"), UNPACKING)?;
        guest.must("cd $F && MEMTOOL=$F/memtool && export MEMTOOL", ANSWER)?;
        Ok(guest)
    }

    /// What runs there, in a few words.
    pub fn describe(&mut self) -> Result<String> {
        let Outcome { status, output } = self.console.run("uname -srm", ANSWER)?;
        Ok(if status == 0 { output } else { "a system without uname(1)".to_owned() })
    }

    /// Runs a case in a new folder.
    pub fn run(&mut self, case: &Case, within: Duration) -> Result<Tested> {
        let (name, file) = (case.name, case.file());
        let command = format!("(mkdir {name} && cd {name} && sh ../{file}) </dev/null 2>&1");
        let outcome = self.console.run(&command, within)?;
        Ok(outcome.into())
    }

    /// Makes a folder for this run, and names it in the shell's $F.
    fn make_folder(&mut self) -> Result<()> {
        for last in [false, true] {
            for parent in FOLDERS {
                let command = format!("F={parent}/memtool-vm-tests.$$; mkdir $F 2>/dev/null");
                if self.console.run(&command, ANSWER)?.status == 0 {
                    return Ok(());
                }
            }
            if !last {
                // As in single user mode.
                self.console.run("mount -t tmpfs tmpfs /tmp || mount -u -o rw /", ANSWER)?;
            }
        }
        Err(Error::Guest(format!("no folder can be made in any of {}", FOLDERS.join(", "))))
    }

    /// Finds the disk by its first line, and takes the unpacking script from it.
    fn find_disk(&mut self, devices: &[String]) -> Result<String> {
        let dd = format!("dd if=$1 bs={BLOCK} 2>/dev/null");
        self.must(
            &format!("u() {{ {dd} count=1|{{ read m;read s n;[ \"$m\" = {MAGIC} ]&&{dd} skip=$s count=$n >$2;}};}}"),
            ANSWER,
        )?;
        for device in devices {
            if self.console.run(&format!("u {device} $F/unpack"), UNPACKING)?.status == 0 {
                return Ok(device.clone());
            }
        }
        Err(Error::Guest(format!("none of {} is the disk with the cases", devices.join(", "))))
    }

    fn must(&mut self, command: &str, within: Duration) -> Result<()> {
        let Outcome { status, output } = self.console.run(command, within)?;
        if status == 0 {
            return Ok(());
        }
        Err(Error::Guest(format!("'{command}' ended with exit status {status}: {output}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tested(status: u8, output: &str) -> Verdict {
        Tested::from(Outcome { status, output: output.to_owned() }).verdict
    }

    #[test]
    fn a_skipped_case_tells_the_reason_in_its_last_line() {
        assert_eq!(tested(77, "a\nno such thing\n"), Verdict::Skipped("no such thing".to_owned()));
        assert_eq!(tested(77, "skip: too old\nda0: removed"), Verdict::Skipped("too old".to_owned()));
        assert_eq!(tested(77, ""), Verdict::Skipped("without a reason".to_owned()));
    }

    #[test]
    fn every_other_status_but_zero_is_a_failure() {
        assert_eq!(tested(0, ""), Verdict::Passed);
        assert_eq!(tested(1, ""), Verdict::Failed("exit status 1".to_owned()));
        assert_eq!(tested(139, ""), Verdict::Failed("ended by signal 11".to_owned()));
    }
}
