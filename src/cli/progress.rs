//! How far a long command is: a line on standard error that is kept up to date on a terminal, and a line on
//! request (SIGINFO, or SIGUSR1 where there is none).

use super::eprint_message;
use memtool::{Error, Result, interrupt};
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use vmcore::progress::Progress;
use vmcore::units::rough_size;

const INTERVAL: Duration = Duration::from_millis(500);

/// Whether a line is being kept up to date.
static LIVE: AtomicBool = AtomicBool::new(false);

/// To the start of the line, and the rest of it gone.
const CLEAR: &str = "\r\x1b[K";

/// Shows how far a command is, for as long as the value lives.
pub struct Display {
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
    _requests: interrupt::StatusRequests,
}

impl Display {
    /// Begins. `total` is what `progress` comes to in the end; without `live` there is only the line on request.
    pub fn start(progress: Arc<Progress>, total: u64, live: bool) -> Result<Self> {
        Self::show(move |elapsed| describe(progress.done(), total, elapsed), live)
    }

    /// Begins, with a line that is made from the time that has passed.
    pub fn show(line: impl Fn(Duration) -> String + Send + Sync + 'static, live: bool) -> Result<Self> {
        let failed = |source| Error::Io { what: "start a thread".to_owned(), source };
        let started = Instant::now();
        let live = live && io::stderr().is_terminal();
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
                        let _ = write!(io::stderr(), "{CLEAR}{}", line());
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

/// Takes the line away, if there is one, and shows no other.
pub fn end_line() {
    if LIVE.swap(false, Ordering::Relaxed) {
        let _ = write!(io::stderr(), "{CLEAR}");
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.ticker.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// `1.2 GiB of 4.0 GiB (30 %), 800.0 MiB/s, 0:04 left`.
fn describe(done: u64, total: u64, elapsed: Duration) -> String {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    let mut line = format!("{} of {} ({percent} %)", rough_size(done), rough_size(total));
    let millis = elapsed.as_millis().max(1);
    let rate = u64::try_from(u128::from(done) * 1000 / millis).unwrap_or(u64::MAX);
    line.push_str(&format!(", {}/s", rough_size(rate)));
    if let Some(remaining) = total.saturating_sub(done).checked_div(rate) {
        line.push_str(&format!(", {} left", clock(remaining)));
    }
    line
}

/// Seconds as minutes and seconds, or hours too.
pub fn clock(seconds: u64) -> String {
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
        assert_eq!(describe(0, 1 << 30, Duration::ZERO), "0 B of 1.0 GiB (0 %), 0 B/s");
        assert_eq!(
            describe(1 << 30, 4 << 30, Duration::from_secs(2)),
            "1.0 GiB of 4.0 GiB (25 %), 512.0 MiB/s, 0:06 left"
        );
        assert_eq!(describe(1, 0, Duration::from_secs(1)), "1 B of 0 B (100 %), 1 B/s, 0:00 left");
        assert!(describe(u64::MAX, u64::MAX, Duration::from_nanos(1)).contains("(100 %)"));
    }

    #[test]
    fn time_is_told_in_the_units_it_needs() {
        assert_eq!(clock(59), "0:59");
        assert_eq!(clock(3599), "59:59");
        assert_eq!(clock(3_600 + 61), "1:01:01");
    }
}
