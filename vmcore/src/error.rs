//! The one error type of the library.

use crate::errno::Errno;
use std::io;
use std::path::Path;

/// Why something cannot be read, or not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request cannot mean what was meant.
    #[error("{0}")]
    Refused(String),

    /// A dump, header or kernel table is not as its format demands.
    #[error("{0}")]
    Format(String),

    /// What was asked for needs something that is not there.
    #[error("{0}")]
    Unsupported(String),

    /// The running kernel's page tables and variables cannot be found: physical memory is all there is to read.
    #[error("{0}")]
    UnknownKernel(String),

    /// Something in the running kernel's memory cannot be read.
    #[error("cannot read the kernel's {what}: {errno}")]
    Unreadable {
        /// A variable, or what it leads to.
        what: String,
        /// What the system answers; EFAULT where there is no memory.
        errno: Errno,
    },

    /// An address of a kernel's memory cannot be read, written or translated.
    #[error(transparent)]
    Fault(#[from] crate::fault::Fault),

    /// Reading or writing failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// The attempt, after "cannot".
        what: String,
        /// Why.
        source: io::Error,
    },

    /// What answers for the running system failed.
    #[error(transparent)]
    Host(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// An I/O failure, with the attempt and the path it was about.
    pub fn io(attempt: &str, path: &Path, source: io::Error) -> Self {
        Self::Io { what: format!("{attempt} {}", path.display()), source }
    }
}

/// `Result` with the library's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
