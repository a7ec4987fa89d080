//! The one error type of the library.

use crate::architecture::{Architecture, Endianness};
use crate::errno::{self, Errno};
use crate::kerneldump::Compression;
use crate::mismatch::Mismatch;
use std::io;
use std::path::{Path, PathBuf};

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

    /// It is a dump, and the image of its kernel, which has the symbols, is not named.
    #[error(
        "a dump has no symbols: give the image of its kernel with --kernel, such as /boot/kernel/kernel of that system"
    )]
    NoSymbols,

    /// The file of a kernel has no types: neither CTF nor, as far as that was looked for, DWARF.
    #[error(
        "{} has no types: it was built without CTF (makeoptions WITH_CTF=1), and no file with its debug information was found",
        .0.display()
    )]
    NoTypes(PathBuf),

    /// The CTF of a kernel's or module's file cannot be read.
    #[error("the types of {} cannot be read: {source}", path.display())]
    Ctf {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ctf::Error,
    },

    /// The types of a file would take more memory than those of any kernel.
    #[error("the types of {} would take more memory than those of any kernel", .0.display())]
    TooManyTypes(PathBuf),

    /// It is a dump without the kernel's memory, or with memory that only its key's owner can read.
    #[error("there is no memory to read in it: {0}")]
    NoMemory(&'static str),

    /// It is no minidump, and its page tables are found only through the symbols of its kernel, whose image is not named.
    #[error("only a minidump says where its page tables are, and this is {0}; give its kernel with --kernel")]
    NeedsImage(&'static str),

    /// The image that is named is not that of the kernel in the dump, so that its symbols say nothing.
    #[error("{0}; give the kernel that was running with --kernel")]
    OtherKernel(Mismatch),

    /// The image is that of a kernel of another architecture than the dump's.
    #[error(
        "{} is a dump of {}, but the --kernel image is for {}",
        core.display(), dump.name(), kernel.name()
    )]
    OtherArchitecture {
        /// The dump.
        core: PathBuf,
        /// Its architecture.
        dump: Architecture,
        /// The image's.
        kernel: Architecture,
    },

    /// The image is that of a kernel with another order of bytes than the dump's.
    #[error(
        "{} is a dump of a {}-endian kernel, and {} is the image of a {}-endian one",
        core.display(), dump.name(), image.display(), kernel.name()
    )]
    OtherByteOrder {
        /// The dump.
        core: PathBuf,
        /// Its order of bytes.
        dump: Endianness,
        /// The image.
        image: PathBuf,
        /// Its order of bytes.
        kernel: Endianness,
    },

    /// The dump is compressed, and no directory is named in which it can be decompressed.
    #[error("the dump is compressed with {}: name a directory where it can be decompressed", .0.name())]
    Compressed(Compression),

    /// An address of a kernel's memory cannot be read, written or translated.
    #[error(transparent)]
    Fault(#[from] crate::fault::Fault),

    /// A variable of the kernel cannot be read.
    #[error("cannot read {name}: {fault}")]
    Variable {
        /// Its name.
        name: String,
        /// Why.
        fault: crate::fault::Fault,
    },

    /// Reading or writing failed.
    #[error("cannot {what}: {}", errno::reason(source))]
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

    /// A variable of this name that cannot be read.
    pub(crate) fn variable(name: &str) -> impl FnOnce(crate::fault::Fault) -> Self {
        move |fault| Self::Variable { name: name.to_owned(), fault }
    }
}

/// `Result` with the library's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
