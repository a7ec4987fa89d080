//! Core files of memtool itself: there are none, since keys, passwords and the memory of a machine would be in them.

use nix::sys::resource::{Resource, setrlimit};

/// Has the system write no core file of this process, nor of those that it starts, and hand none to a program, which on Linux
/// it does whatever the limit is (core(5), prctl(2)).
pub fn forbid() {
    // A limit can always be lowered.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
}
