//! Programs on the host that are waited for: builds, and the checks that are part of a case.

use crate::error::{Error, Result};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often a wait looks whether the program has ended.
const SLICE: Duration = Duration::from_millis(50);

/// The time that a program which is asked to end has for it.
const GRACE: Duration = Duration::from_secs(2);

/// Runs a program without input and waits until it ends. It and all that it has started are ended when
/// `interrupted` becomes true or the time is over, if there is a limit; `what` is what an error says was waited for.
pub fn run(
    command: &mut Command,
    what: &str,
    within: Option<Duration>,
    interrupted: &AtomicBool,
) -> Result<ExitStatus> {
    let program = command.get_program().display().to_string();
    let failed = |error| Error::Program(format!("cannot run {program}: {error}"));
    // A group of its own, so that all of it can be ended.
    let mut child = command.process_group(0).stdin(Stdio::null()).spawn().map_err(failed)?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status);
        }
        let error = if interrupted.load(Ordering::Relaxed) {
            Error::Interrupted
        } else if let Some(within) = within.filter(|&within| start.elapsed() > within) {
            Error::Timeout { waited_for: what.to_owned(), within }
        } else {
            thread::sleep(SLICE);
            continue;
        };
        end(&mut child).map_err(failed)?;
        return Err(error);
    }
}

/// Whether this program was started with SIGHUP ignored, as by nohup(1). To be asked before a handler is set.
pub fn ignores_hangups() -> bool {
    // A program inherits that, and sh does not let go of it.
    let status = Command::new("sh").args(["-c", "trap 'exit 1' HUP; kill -HUP $$"]).stdin(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Ends a program and its group.
fn end(child: &mut Child) -> io::Result<()> {
    let group = format!("-{}", child.id());
    let signal = |name| Command::new("kill").args([name, "--", &group]).stderr(Stdio::null()).status();
    // Some tidy up.
    signal("-TERM")?;
    let start = Instant::now();
    while child.try_wait()?.is_none() && start.elapsed() < GRACE {
        thread::sleep(SLICE);
    }
    // What it has started may still be there.
    signal("-KILL")?;
    child.wait().map(drop)
}
