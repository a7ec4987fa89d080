//! The part of a case that runs on the host: checks what came back from the guest.

use crate::console::Outcome;
use crate::error::{Error, Result};
use crate::process;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// What is shown of a script's output: the last bytes.
const MAX_OUTPUT: u64 = 64 << 10;

/// Runs a script with sh in a folder; its variables are set in its environment. A script that takes longer, and
/// what it has started, is ended.
pub fn run(
    script: &Path,
    folder: &Path,
    variables: &[(&str, &Path)],
    within: Duration,
    interrupted: &AtomicBool,
) -> Result<Outcome> {
    let path = folder.join(".output");
    let output = File::create(&path).map_err(Error::file("write", &path))?;
    let errors = output.try_clone().map_err(Error::file("write", &path))?;
    let mut command = Command::new("sh");
    command.arg(script).current_dir(folder).envs(variables.iter().copied()).stdout(output).stderr(errors);
    let what = format!("the end of {}", script.display());
    let status = process::run(&mut command, &what, Some(within), interrupted)?;
    let output = last_bytes(&path).map_err(Error::file("read", &path))?;
    Ok(Outcome { status: shell_status(status), output: String::from_utf8_lossy(&output).trim_end().to_owned() })
}

/// An exit status as the shell tells it: 128 and the signal, if one ended the program.
fn shell_status(status: ExitStatus) -> u8 {
    let number = status.code().or(status.signal().map(|signal| 128 + signal));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX)
}

fn last_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(fs::metadata(path)?.len().saturating_sub(MAX_OUTPUT)))?;
    let mut bytes = Vec::new();
    file.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;
    use std::thread;
    use std::time::Instant;

    fn run_text(text: &str, within: Duration, interrupted: &AtomicBool) -> Result<Outcome> {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs::write(&script, text).unwrap();
        run(&script, folder.path(), &[("RESULTS", Path::new("/r"))], within, interrupted)
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn status_and_output_are_told() {
        let run = |text| run_text(text, PATIENCE, &AtomicBool::new(false)).unwrap();
        assert_eq!(run("echo $RESULTS; echo x >&2; exit 77"), Outcome { status: 77, output: "/r\nx".to_owned() });
        assert_eq!(run("kill -9 $$").status, 137);
    }

    #[test]
    fn what_does_not_end_is_ended_with_all_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let text = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let error = run_text(&text, Duration::from_secs(1), &AtomicBool::new(false)).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
        let pid = fs::read_to_string(pid).unwrap();
        let start = Instant::now();
        // It is reaped by whoever adopts it.
        while Command::new("kill").args(["-0", pid.trim()]).stderr(Stdio::null()).status().unwrap().success() {
            let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            if state.contains(") Z ") {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "process {pid} is still there");
            thread::sleep(Duration::from_millis(50));
        }
    }

    #[test]
    fn a_signal_ends_it() {
        assert!(matches!(run_text("sleep 1000", PATIENCE, &AtomicBool::new(true)), Err(Error::Interrupted)));
    }
}
