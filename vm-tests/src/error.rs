//! What ends a run before its cases are through.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The console did not say in time what it was expected to say.
    #[error("{waited_for} did not come within {} s", .within.as_secs())]
    Timeout {
        /// What was expected.
        waited_for: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// The console has said nothing at all.
    #[error(
        "{waited_for} did not come within {} s, nor did anything else over the serial port: either nothing boots, \
         with this firmware, or the system's console is elsewhere; see 'What to boot' in vm-tests/README.md",
        .within.as_secs()
    )]
    Silent {
        /// What was expected.
        waited_for: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// The console is closed: QEMU has ended.
    #[error(
        "the guest's console was closed while waiting for {waited_for}: the guest has powered off or rebooted, or \
         QEMU has failed"
    )]
    Closed {
        /// What was expected.
        waited_for: String,
    },
    /// The guest's kernel gave up.
    #[error("the guest's kernel panicked: {line}")]
    Panic {
        /// The line that tells.
        line: String,
    },
    /// The virtual machine stands still.
    #[error("the virtual machine failed: {0}")]
    Machine(String),
    /// A signal asked the run to end.
    #[error("interrupted by a signal")]
    Interrupted,
    /// Nothing can be written to the console.
    #[error("cannot write to the guest's console: {0}")]
    Send(#[source] io::Error),
    /// The guest does not let the user in.
    #[error("cannot log in as {user}: {why}")]
    Login {
        /// The user.
        user: String,
        /// What the guest said.
        why: &'static str,
    },
    /// The guest is up and lacks something.
    #[error("the guest cannot be used: {0}")]
    Guest(String),
    /// The command line names what is not there.
    #[error("{0}")]
    Usage(String),
    /// A program that the run needs did not do its part.
    #[error("{0}")]
    Program(String),
    /// Nobody reads the report.
    #[error("cannot print the report: {0}")]
    Report(#[source] io::Error),
    /// A file on this side.
    #[error("cannot {what} {}: {source}", .path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether it is the guest that fails, and not this side: another guest may do better.
    pub fn is_of_guest(&self) -> bool {
        match self {
            Self::Timeout { .. }
            | Self::Silent { .. }
            | Self::Closed { .. }
            | Self::Panic { .. }
            | Self::Machine(_)
            | Self::Send(_)
            | Self::Login { .. }
            | Self::Guest(_) => true,
            Self::Interrupted | Self::Usage(_) | Self::Program(_) | Self::Report(_) | Self::File { .. } => false,
        }
    }

    /// Makes an [`Error::File`] of an I/O error.
    pub fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}
