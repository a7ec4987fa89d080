//! The guest behind the console: logging in, unpacking the program and the cases, running a case.

use crate::console::{Console, Outcome};
use crate::disk::{BLOCK, CASES, RESULTS, SPARE};
use crate::error::{Error, Result};
use regex::bytes::Regex;
use std::time::{Duration, Instant};

/// A silent console gets an empty line this often: it may wait for one, or its prompt was garbled.
const NUDGE: Duration = Duration::from_secs(60);

/// A shell that is there answers within this time.
const ANSWER: Duration = Duration::from_secs(15);

/// The time that a shell which starts or was interrupted has for an answer, until it is asked again.
const PATIENCE: Duration = Duration::from_secs(3);

/// The prompt of a shell that was started in place of another one comes within this time, if it comes at all.
const SETTLING: Duration = Duration::from_secs(2);

/// Ends line editing, where this sh has it.
const NO_EDITING: &str = "(set +EV) 2>/dev/null && set +EV; :";

/// How often what the shell is doing is interrupted, if there is no answer.
const INTERRUPTS: u32 = 5;

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
    find_prompt(console, entrance, deadline).map_err(|error| match error {
        Error::Timeout { waited_for, .. } if console.is_silent() => Error::Silent { waited_for, within },
        // Not only since the last empty line.
        Error::Timeout { waited_for, .. } => Error::Timeout { waited_for, within },
        error => error,
    })?;
    console.run("PS1= PS2=", ANSWER)?;
    Ok(())
}

/// Waits for a prompt at which sh answers, and logs in meanwhile.
fn find_prompt(console: &mut Console, entrance: &Entrance, deadline: Instant) -> Result<()> {
    let pattern = |text| Regex::new(text).map_err(|error| Error::Program(error.to_string()));
    // At the beginning of a line: 'Last login: ' is no prompt.
    let login = pattern("(?m)^login: ")?;
    let password = pattern("(?m)^Password: ?")?;
    let incorrect = pattern("Login incorrect")?;
    let single_user = pattern("Enter full pathname of shell or RETURN for [^:]*:")?;
    let mut named = entrance.user.is_none();
    let (mut nudge, mut patience) = (NUDGE, PATIENCE);
    let mut unanswered = false;
    loop {
        let (what, prompt) = match entrance.user {
            Some(_) if !named => ("'login: '".to_owned(), &login),
            _ if unanswered => (format!("a shell that answers at the prompt '{}'", entrance.prompt), entrance.prompt),
            _ => (format!("the prompt '{}'", entrance.prompt), entrance.prompt),
        };
        let patterns = [&single_user, &password, &incorrect, &login, prompt];
        let remaining = deadline.saturating_duration_since(Instant::now());
        let found = match console.wait_for(&patterns, &what, remaining.min(nudge)) {
            Err(Error::Timeout { .. }) if remaining > nudge => {
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
            (4, _) => {
                // root's shell may be csh.
                console.type_line("exec /bin/sh")?;
                // A shell that edits lines forgets what was typed before its prompt.
                let remaining = deadline.saturating_duration_since(Instant::now());
                match console.wait_for(&[entrance.prompt], "its prompt", remaining.min(SETTLING)) {
                    Err(Error::Timeout { .. }) => {}
                    found => drop(found?),
                }
                let remaining = deadline.saturating_duration_since(Instant::now());
                match console.run(NO_EDITING, patience.min(remaining).max(PATIENCE)) {
                    Err(Error::Timeout { .. }) => {}
                    answer => return answer.map(drop),
                }
                // It was no prompt, or what was typed is lost. Not ^C: the system may still boot, which that breaks
                // off. A slow shell must be able to catch up.
                unanswered = true;
                nudge = patience;
                patience = (patience * 2).min(NUDGE);
            }
            _ => {}
        }
    }
}

/// Unpacks the disk with the cases in a guest that was entered, and has its shell's variables name the disks:
/// they are among these devices. The spare disk need not be there.
pub fn prepare(console: &mut Console, devices: &[String]) -> Result<()> {
    make_folder(console)?;
    find_disks(console, devices)?;
    // The cases' disk says where the unpacking script is.
    let dd = format!("dd if=$CASES_DISK bs={BLOCK} 2>/dev/null");
    must(console, &format!("{dd} count=1 | {{ read m; read s n; {dd} skip=$s count=$n >$F/unpack; }}"), ANSWER)?;
    must(console, "sh $F/unpack $CASES_DISK $F", UNPACKING)?;
    must(console, "cd $F && MEMTOOL=$F/memtool && export MEMTOOL RESULTS_DISK SPARE_DISK", ANSWER)?;
    must(console, "CARRIED= && [ ! -e carried ] || CARRIED=$F/carried && export CARRIED", ANSWER)
}

/// What runs there, in a few words.
pub fn describe(console: &mut Console) -> Result<String> {
    let Outcome { status, output } = console.run("uname -srm", ANSWER)?;
    Ok(if status == 0 { output } else { "a system without uname(1)".to_owned() })
}

/// Runs a script of this name from the disk with the cases, in a new folder.
pub fn run(console: &mut Console, script: &str, within: Duration) -> Result<Tested> {
    let folder = script.trim_end_matches(".sh");
    let command = format!("(mkdir {folder} && cd {folder} && sh ../{script}) </dev/null 2>&1");
    Ok(console.run(&command, within)?.into())
}

/// Ends what the shell is doing; fails if it cannot be had back.
pub fn interrupt(console: &mut Console) -> Result<()> {
    for _ in 0..INTERRUPTS {
        console.type_interrupt()?;
        match console.run(":", PATIENCE) {
            Err(Error::Timeout { .. }) => {}
            answer => return answer.map(drop),
        }
    }
    Err(Error::Timeout { waited_for: "the shell's answer to ^C".to_owned(), within: PATIENCE * INTERRUPTS })
}

/// Makes a folder for this run, and names it in the shell's $F.
fn make_folder(console: &mut Console) -> Result<()> {
    for last in [false, true] {
        for parent in FOLDERS {
            let command = format!("F={parent}/memtool-vm-tests.$$; mkdir $F 2>/dev/null");
            if console.run(&command, ANSWER)?.status == 0 {
                return Ok(());
            }
        }
        if !last {
            // As in single user mode.
            console.run("mount -t tmpfs tmpfs /tmp || mount -u -o rw /", ANSWER)?;
        }
    }
    Err(Error::Guest(format!("no folder can be made in any of {}", FOLDERS.join(", "))))
}

/// Finds the disks by their first lines.
fn find_disks(console: &mut Console, devices: &[String]) -> Result<()> {
    let mut missing = vec![(CASES, "CASES_DISK"), (RESULTS, "RESULTS_DISK"), (SPARE, "SPARE_DISK")];
    let first_line = format!("dd if=$1 bs={BLOCK} count=1 2>/dev/null | {{ read -r m");
    must(console, &format!("w() {{ {first_line}; case $m in memtool-vm-*) echo $m;; esac; }}; }}"), ANSWER)?;
    for device in devices {
        let output = console.run(&format!("w {device}"), UNPACKING)?.output;
        if let Some(index) = missing.iter().position(|(name, _)| output.contains(name)) {
            let (_, variable) = missing.swap_remove(index);
            must(console, &format!("{variable}={device}"), ANSWER)?;
        }
        if missing.is_empty() {
            break;
        }
    }
    match missing.iter().find(|(name, _)| *name != SPARE) {
        Some((name, _)) => Err(Error::Guest(format!("none of {} is the disk {name}", devices.join(", ")))),
        None => Ok(()),
    }
}

fn must(console: &mut Console, command: &str, within: Duration) -> Result<()> {
    let Outcome { status, output } = console.run(command, within)?;
    if status == 0 {
        return Ok(());
    }
    Err(Error::Guest(format!("'{command}' ended with exit status {status}: {output}")))
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
