//! How far a long command is: a line on standard error that is kept up to date on a terminal, and a line on
//! request (SIGINFO, or SIGUSR1 where there is none).

use super::eprint_message;
use super::output::COLUMNS;
use memtool::observer::{Phase, Work};
use memtool::{Error, Result, free_space, interrupt, livedump};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vmcore::bounds::saturating_u64;
use vmcore::units::rough_size;

const INTERVAL: Duration = Duration::from_millis(500);

/// Whether a line is being kept up to date.
static LIVE: AtomicBool = AtomicBool::new(false);

/// What is being done.
static PHASE: Mutex<Option<Phase>> = Mutex::new(None);

fn now(phase: Option<Phase>) {
    *PHASE.lock().unwrap_or_else(PoisonError::into_inner) = phase;
}

/// What was being done, for a message that says that it was ended: ` (while copying)`.
pub fn interrupted_phase() -> String {
    let phase = *PHASE.lock().unwrap_or_else(PoisonError::into_inner);
    phase.map_or_else(String::new, |phase| format!(" (while {})", phase.name()))
}

/// To the start of the line, and the rest of it gone.
const CLEAR: &str = "\r\x1b[K";

/// Shows how far a command is, for as long as the value lives.
pub struct Display {
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
    _requests: interrupt::StatusRequests,
}

impl Display {
    /// Begins to show work; without `live` only on request.
    pub fn follow(work: Work<'_>, live: bool) -> Result<Self> {
        match work {
            Work::Bytes { phase, progress, total, uses_standard_error } => {
                now(Some(phase));
                let progress = Arc::clone(progress);
                let line = move |elapsed| describe(phase, progress.done(), total, elapsed);
                Self::show(line, live && !uses_standard_error)
            }
            Work::KernelDump { directory, limit } => Self::show(kernel_dump(directory, limit)?, live),
        }
    }

    /// Begins, with a line that is made from the time that has passed; without `live` there is only the line on request.
    fn show(line: impl Fn(Duration) -> String + Send + Sync + 'static, live: bool) -> Result<Self> {
        let failed = |source| Error::Io { what: "start a thread".to_owned(), source };
        let started = Instant::now();
        // A dumb terminal cannot take a line back.
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let live = live && io::stderr().is_terminal() && !is_dumb;
        let line = Arc::new(move || line(started.elapsed()));
        let asked = Arc::clone(&line);
        let requests = interrupt::on_status_request(move || {
            if live {
                let _ = write!(io::stderr(), "{CLEAR}");
            }
            eprint_message(&asked());
        })
        .map_err(failed)?;
        let tick = || {
            let (stop, stopped) = channel::<()>();
            let show = move || {
                while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    if LIVE.load(Ordering::Relaxed) {
                        let _ = write!(io::stderr(), "{CLEAR}{}", one_line(line(), columns()));
                    }
                }
                end_line();
            };
            let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(show);
            thread.map(|thread| (stop, thread)).map_err(failed)
        };
        LIVE.store(live, Ordering::Relaxed);
        let ticker = if live { Some(tick()?) } else { None };
        Ok(Self { ticker, _requests: requests })
    }
}

/// Columns of the terminal that the line is on.
fn columns() -> usize {
    terminal_size::terminal_size_of(io::stderr()).map_or(COLUMNS, |(width, _)| width.0.into())
}

/// As much of a line as a terminal shows in one: what goes on in the next could not be taken back.
fn one_line(mut line: String, columns: usize) -> String {
    // In its last column some terminals begin the next line.
    if let Some((end, _)) = line.char_indices().nth(columns.saturating_sub(1)) {
        line.truncate(end);
    }
    line
}

/// Takes the line away, if there is one, and shows no other.
pub fn end_line() {
    if LIVE.swap(false, Ordering::Relaxed) {
        let _ = write!(io::stderr(), "{CLEAR}");
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        now(None);
        if let Some((stop, thread)) = self.ticker.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// `copying: 1.2 GiB of 4.0 GiB (30 %), 800.0 MiB/s, 0:04 left`; of work that is not counted in bytes, the time that
/// has passed: `reading page tables: 0:12`.
fn describe(phase: Phase, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let phase = phase.name();
    let mut line = match total {
        None if done == 0 => return format!("{phase}: {}", clock(elapsed.as_secs())),
        None => format!("{phase}: {}", rough_size(done)),
        Some(total) => {
            let percent = u128::from(done) * 100 / u128::from(total.max(1));
            format!("{phase}: {} of {} ({percent} %)", rough_size(done), rough_size(total))
        }
    };
    let millis = elapsed.as_millis().max(1);
    let rate = saturating_u64(u128::from(done) * 1000 / millis);
    line.push_str(&format!(", {}/s", rough_size(rate)));
    if let Some(remaining) = total.and_then(|total| total.saturating_sub(done).checked_div(rate)) {
        line.push_str(&format!(", {} left", clock(remaining)));
    }
    line
}

/// The line of a dump that the kernel makes: time and free space, since looking at the file itself would wait until the
/// kernel is done with it.
fn kernel_dump(directory: &Path, limit: Option<u64>) -> Result<impl Fn(Duration) -> String + Send + Sync + 'static> {
    let opened = File::open(directory).map_err(|source| Error::io("open", directory, source))?;
    let before = free_space::free_behind(&opened).ok();
    Ok(move |elapsed: Duration| {
        if !livedump::kernel_dumps() {
            return describe(Phase::Verifying, 0, None, elapsed);
        }
        let fallen = before.zip(free_space::free_behind(&opened).ok()).map(|(was, is)| was.saturating_sub(is));
        describe_kernel_dump(elapsed, fallen, limit)
    })
}

/// `0:12, free space fell by 80.0 MiB; the dump takes 120.0 MiB at most`.
fn describe_kernel_dump(elapsed: Duration, fallen: Option<u64>, limit: Option<u64>) -> String {
    let mut line = format!("the kernel is dumping: {}", clock(elapsed.as_secs()));
    if let Some(fallen) = fallen {
        line.push_str(&format!(", free space fell by {}", rough_size(fallen)));
    }
    if let Some(limit) = limit {
        line.push_str(&format!("; the dump takes {} at most", rough_size(limit)));
    }
    line
}

/// Seconds as minutes and seconds, or hours too.
fn clock(seconds: u64) -> String {
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    match minutes / 60 {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{:02}:{seconds:02}", minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_amount_rate_and_time_left() {
        let copying = |done, total: u64, elapsed| describe(Phase::Copying, done, Some(total), elapsed);
        assert_eq!(copying(0, 1 << 30, Duration::ZERO), "copying: 0 B of 1.0 GiB (0 %), 0 B/s");
        assert_eq!(
            copying(1 << 30, 4 << 30, Duration::from_secs(2)),
            "copying: 1.0 GiB of 4.0 GiB (25 %), 512.0 MiB/s, 0:06 left"
        );
        assert_eq!(copying(1, 0, Duration::from_secs(1)), "copying: 1 B of 0 B (100 %), 1 B/s, 0:00 left");
        assert!(copying(u64::MAX, u64::MAX, Duration::from_nanos(1)).contains("(100 %)"));
    }

    #[test]
    fn what_has_no_known_end_tells_no_share() {
        let unknown = |phase, done| describe(phase, done, None, Duration::from_secs(2));
        assert_eq!(unknown(Phase::ReadingStandardInput, 1 << 30), "reading standard input: 1.0 GiB, 512.0 MiB/s");
        assert_eq!(unknown(Phase::ReadingPageTables, 0), "reading page tables: 0:02");
    }

    #[test]
    fn progress_of_the_kernel_is_time_and_free_space() {
        let after = Duration::from_secs(72);
        assert_eq!(describe_kernel_dump(after, None, None), "the kernel is dumping: 1:12");
        assert_eq!(
            describe_kernel_dump(after, Some(80 << 20), Some(120 << 20)),
            "the kernel is dumping: 1:12, free space fell by 80.0 MiB; the dump takes 120.0 MiB at most"
        );
    }

    #[test]
    fn a_narrow_terminal_shows_the_beginning_in_one_line() {
        let line = "1.0 GiB of 4.0 GiB (25 %), 512.0 MiB/s, 0:06 left";
        assert_eq!(one_line(line.to_owned(), 40), "1.0 GiB of 4.0 GiB (25 %), 512.0 MiB/s,");
        assert_eq!(one_line(line.to_owned(), 80), line);
        assert_eq!(one_line("äöü".to_owned(), 2), "ä");
        assert_eq!(one_line(String::new(), 0), "");
    }

    #[test]
    fn time_is_told_in_the_units_it_needs() {
        assert_eq!(clock(59), "0:59");
        assert_eq!(clock(3599), "59:59");
        assert_eq!(clock(3_600 + 61), "1:01:01");
    }
}
