//! How much of a processor something takes.

use nix::sys::resource::{UsageWho, getrusage};
use std::hint::black_box;

/// Seconds of a processor that it takes, whatever else the machine does.
pub fn time<T>(run: impl FnOnce() -> T) -> f64 {
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    };
    let before = used();
    black_box(run());
    used() - before
}
