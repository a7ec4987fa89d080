//! The one error type of the library.

use crate::kernel_error::{KernelError, Operation, errno_name};
use nix::errno::Errno;
use std::io;
use std::path::{Path, PathBuf};
use vmcore::errno;

/// Why memtool did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused; the text explains the errno.
    #[error(transparent)]
    Kernel(#[from] KernelError),

    /// A change of memory ranges breaks one of the kernel's rules, found before asking it.
    #[error("{request}: the kernel would answer {errno}: {violation}", errno = errno_name(violation.errno()))]
    Rule {
        /// What was asked for.
        request: String,
        /// The rule.
        #[source]
        violation: crate::ranges::request::Violation,
    },

    /// memtool itself declines: the request is dangerous, or cannot mean what was meant.
    #[error("{0}")]
    Refused(String),

    /// An output exists, and nothing is replaced unless that is asked for.
    #[error("{} already exists", .0.display())]
    Exists(PathBuf),

    /// The arguments of a command are no values, or contradict each other.
    #[error("{0}")]
    Usage(String),

    /// After a change, the kernel's table is not what its rules promise.
    #[error("the kernel accepted the change, but its table is not as expected: {0}")]
    Unexpected(String),

    /// A file of a recorded machine is not valid.
    #[error("{}: not a usable recorded machine: {why}", path.display())]
    Machine {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        why: String,
    },

    /// A file or kernel table is not as its format demands.
    #[error("{0}")]
    Format(String),

    /// A dump, a kernel or a kernel's memory cannot be read, or not be used.
    #[error(transparent)]
    Vmcore(vmcore::Error),

    /// Which addresses are RAM cannot be told.
    #[error(transparent)]
    MemoryMap(#[from] crate::memory_map::MapError),

    /// What was asked for needs something that this host does not have.
    #[error("{0}")]
    Unsupported(String),

    /// The running system cannot be asked.
    #[error("this system is not FreeBSD and has no mem(4)")]
    NotFreeBsd,

    /// Standard output cannot be written to.
    #[error("cannot write to standard output: {}", if .0.raw_os_error() == Some(libc::EBADF) { "it is closed".to_owned() } else { errno::reason(.0) })]
    StandardOutput(#[source] io::Error),

    /// Reading or writing failed.
    #[error("cannot {what}: {}", errno::reason(source))]
    Io {
        /// The attempt, after "cannot".
        what: String,
        /// Why.
        source: io::Error,
    },
}

impl From<vmcore::Error> for Error {
    fn from(error: vmcore::Error) -> Self {
        match error {
            vmcore::Error::Unreadable { what, errno } => {
                let errno = Errno::from_raw(errno.0);
                KernelError::new(Operation::ReadMemory, format!("the kernel's {what}"), errno).into()
            }
            // What was memtool's before is so again.
            vmcore::Error::Host(error) => match error.downcast() {
                Ok(error) => *error,
                Err(error) => Self::Vmcore(vmcore::Error::Host(error)),
            },
            error => Self::Vmcore(error),
        }
    }
}

impl From<Error> for vmcore::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Vmcore(error) => error,
            error => Self::Host(Box::new(error)),
        }
    }
}

impl From<vmcore::fault::Fault> for Error {
    fn from(fault: vmcore::fault::Fault) -> Self {
        Self::Vmcore(fault.into())
    }
}

impl Error {
    /// An I/O failure, with the attempt and the path it was about.
    pub fn io(attempt: &str, path: &Path, source: io::Error) -> Self {
        Self::Io { what: format!("{attempt} {}", path.display()), source }
    }
}

/// `Result` with the library's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
