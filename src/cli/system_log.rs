//! Messages to syslogd(8) in savecore(8)'s words and levels, for those who watch the logs of many machines.
//!
//! openlog(3) is not called: without it syslog(3) sends the program's name, and FreeBSD's openlog(3) keeps the pointer it
//! gets, which `nix::syslog::openlog` does not let live that long.

use nix::syslog::{Facility, Priority, Severity, syslog};
use vmcore::text::escape_control;

/// The system's log; messages are sent only while it is on.
#[derive(Default)]
pub struct SystemLog {
    is_on: bool,
}

impl SystemLog {
    /// Turns it on or off.
    pub fn turn(&mut self, on: bool) {
        self.is_on = on;
    }

    /// What somebody has to know now: that the system has panicked.
    pub fn alert(&self, text: &str) {
        self.send(Severity::LOG_ALERT, text);
    }

    /// A failure.
    pub fn error(&self, text: &str) {
        self.send(Severity::LOG_ERR, text);
    }

    /// A warning.
    pub fn warning(&self, text: &str) {
        self.send(Severity::LOG_WARNING, text);
    }

    /// What was done.
    pub fn notice(&self, text: &str) {
        self.send(Severity::LOG_NOTICE, text);
    }

    fn send(&self, severity: Severity, text: &str) {
        if self.is_on {
            // Where no syslogd(8) listens the message is lost, as savecore(8)'s is. NUL, which alone is an error, is
            // escaped.
            let _ = syslog(Priority::new(severity, Facility::LOG_DAEMON), &*escape_control(text));
        }
    }
}
