//! Signals that end memtool: nothing half done may stay behind.
//!
//! A thread of its own waits for them, so that a blocked read, write or ioctl(2) does not hold up the
//! cleaning. Signals that are ignored when memtool starts, as under nohup(1), stay ignored.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Temporary files to remove when a signal ends the program.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Undoes something when a signal ends the program.
type UndoStep = Box<dyn FnOnce() + Send>;

/// What to do when a signal ends the program, besides removing files.
static UNDONE: Mutex<BTreeMap<u64, UndoStep>> = Mutex::new(BTreeMap::new());

fn undone() -> MutexGuard<'static, BTreeMap<u64, UndoStep>> {
    UNDONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that is undone by a signal for as long as the value lives: what another host has of a dump, say.
#[derive(Debug)]
pub struct Undo(u64);

impl Undo {
    /// Registers what undoes it. It must come to an end soon: the program waits for it.
    pub fn on_signals(step: impl FnOnce() + Send + 'static) -> Self {
        let mut steps = undone();
        let number = steps.last_key_value().map_or(0, |(last, _)| last.wrapping_add(1));
        steps.insert(number, Box::new(step));
        Self(number)
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        undone().remove(&self.0);
    }
}

/// A temporary file that a signal removes for as long as the value lives.
#[derive(Debug)]
pub struct TempFileGuard(PathBuf);

impl TempFileGuard {
    /// Registers a file. The file itself is created by the closure, so that no signal comes between.
    pub fn create<T>(make: impl FnOnce() -> io::Result<T>, path: impl FnOnce(&T) -> &Path) -> io::Result<(T, Self)> {
        let mut files = unfinished();
        let made = make()?;
        let path = path(&made).to_owned();
        files.insert(path.clone());
        Ok((made, Self(path)))
    }

    /// Does the step after which the file is finished, without a signal between it and the deregistration.
    pub fn finish<T>(self, step: impl FnOnce() -> T) -> T {
        let mut files = unfinished();
        let result = step();
        files.remove(&self.0);
        result
    }
}

impl Drop for TempFileGuard {
    fn drop(&mut self) {
        // Taken already by `finish` or by the thread that ends the program.
        if let Ok(mut files) = UNFINISHED.try_lock() {
            files.remove(&self.0);
        }
    }
}

/// How long the announcement of a signal may take: nobody may be reading it.
const ANNOUNCING: Duration = Duration::from_secs(1);

/// Has SIGINT, SIGTERM and SIGHUP remove unfinished files and end the program: with exit code 130 for
/// SIGINT, else 1. `announce` is called before the end, with the signal's name. SIGINFO, or SIGUSR1 where
/// there is none, is without effect from now on; see [`on_status_request`].
///
/// # Errors
///
/// The system refuses another signal handler or thread.
pub fn clean_up_on_signals(announce: impl FnOnce(&str) + Send + 'static) -> io::Result<()> {
    // Beyond the file size limit there shall be an error, not the end.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    signal_hook::flag::register(STATUS, Arc::new(AtomicBool::new(false)))?;
    let wanted: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)).collect();
    let mut signals = Signals::new(wanted)?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let (name, code) = match signals.forever().next() {
            Some(SIGINT) => ("SIGINT", 130),
            Some(SIGTERM) => ("SIGTERM", 1),
            Some(_) => ("SIGHUP", 1),
            None => return,
        };
        // Kept until the end, so that no file is finished or begun any more.
        let files = unfinished();
        let (done, announced) = channel();
        let announcing = std::thread::Builder::new().name("announce".to_owned()).spawn(move || {
            announce(name);
            let _ = done.send(());
        });
        if announcing.is_ok() {
            let _ = announced.recv_timeout(ANNOUNCING);
        }
        // After the announcement: a file that the kernel dumps into cannot be removed before it is done.
        for file in files.iter() {
            let _ = std::fs::remove_file(file);
        }
        let steps = std::mem::take(&mut *undone());
        steps.into_values().for_each(|step| step());
        std::process::exit(code);
    })?;
    Ok(())
}

/// Does something that no signal interrupts, such as `MEM_KERNELDUMP`, and leaves signals to other threads
/// meanwhile: the kernel gives a signal to one thread that takes it, and in that one it would have to wait.
pub fn with_signals_elsewhere<T>(work: impl FnOnce() -> T) -> T {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, STATUS_SIGNAL].into_iter().collect();
    // It is not refused with a set that is right; then signals would only be late.
    let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let result = work();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    result
}

/// Answers requests for the status for as long as the value lives; the signal is without effect afterwards.
pub struct StatusRequests(signal_hook::iterator::Handle);

impl Drop for StatusRequests {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The signal that asks how far a command is: Ctrl-T on a terminal.
#[cfg(any(target_os = "freebsd", target_os = "macos", target_os = "netbsd", target_os = "openbsd"))]
const STATUS_SIGNAL: Signal = Signal::SIGINFO;
/// The signal that asks how far a command is, where there is no SIGINFO.
#[cfg(not(any(target_os = "freebsd", target_os = "macos", target_os = "netbsd", target_os = "openbsd")))]
const STATUS_SIGNAL: Signal = Signal::SIGUSR1;
/// Its number.
const STATUS: i32 = STATUS_SIGNAL as i32;

/// Calls, in a thread of its own, whenever SIGINFO arrives, or SIGUSR1 where there is none.
///
/// # Errors
///
/// The system refuses another signal handler or thread.
pub fn on_status_request(answer: impl Fn() + Send + 'static) -> io::Result<StatusRequests> {
    let mut signals = Signals::new([STATUS])?;
    let handle = signals.handle();
    std::thread::Builder::new().name("status".to_owned()).spawn(move || {
        for _ in signals.forever() {
            answer();
        }
    })?;
    Ok(StatusRequests(handle))
}

fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with no new action sigaction(2) only writes the present one into the struct it is given.
    let result = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    if Errno::result(result).is_err() {
        return false;
    }
    // SAFETY: sigaction(2) succeeded and has filled the struct, which was zeroed before.
    unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
