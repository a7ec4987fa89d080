//! Signals of the programs that tests run; vm-tests has this file, too.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has a command heed the signals that tests send, also where whoever runs the tests ignores them, as nohup(1) and the
/// background jobs of a shell do: a child is born with what its parent ignores.
pub fn heed_signals(command: &mut Command) {
    let heed = || {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM] {
            // SAFETY: no handler is set, and sigaction(2) may be called between fork(2) and exec.
            unsafe { sigaction(signal, &default) }?;
        }
        Ok(())
    };
    // SAFETY: the closure calls sigaction(2) alone, and allocates nothing.
    unsafe { command.pre_exec(heed) };
}
