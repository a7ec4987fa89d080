//! The one error type of the library.

use crate::explain;
use nix::errno::Errno;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What memtool asked the kernel to do when it refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// open(2) of /dev/mem or /dev/kmem.
    OpenDevice,
    /// `MEMRANGE_GET`.
    GetRanges,
    /// `MEMRANGE_SET` with `MEMRANGE_SET_UPDATE`.
    UpdateRange,
    /// `MEMRANGE_SET` with `MEMRANGE_SET_REMOVE`.
    RemoveRange,
    /// `MEM_EXTRACT_PADDR`.
    ExtractPaddr,
    /// `MEM_KERNELDUMP`.
    KernelDump,
    /// read(2) of /dev/mem or /dev/kmem.
    ReadMemory,
    /// sysctl(3).
    Sysctl,
    /// mmap(2) of memory for `paddr`.
    Map,
    /// mlock(2) of memory for `paddr`.
    Lock,
    /// Making a page of a mapping present.
    Touch,
    /// kldsym(2).
    FindSymbol,
    /// kldnext(2) and kldstat(2).
    ListFiles,
    /// The memory map of a process: `kern.proc.vmmap`, or `/proc/PID/maps`.
    ProcessMap,
    /// open(2) of /dev/cpuctl0, `CPUCTL_CPUID` and `CPUCTL_RDMSR`.
    ReadRegisters,
    /// Reading a process's pagemap and maps in Linux's proc(5).
    ReadPagemap,
    /// move_pages(2), which moves none here but tells where pages are.
    FindDomains,
}

impl Operation {
    /// The operations of FreeBSD, any of which a recorded machine can have fail.
    pub const OF_FREEBSD: [Self; 15] = [
        Self::OpenDevice,
        Self::GetRanges,
        Self::UpdateRange,
        Self::RemoveRange,
        Self::ExtractPaddr,
        Self::KernelDump,
        Self::ReadMemory,
        Self::Sysctl,
        Self::Map,
        Self::Lock,
        Self::Touch,
        Self::FindSymbol,
        Self::ListFiles,
        Self::ProcessMap,
        Self::ReadRegisters,
    ];

    /// Whether it takes /dev/mem or /dev/kmem, or may.
    pub(crate) const fn needs_device(self) -> bool {
        !matches!(self, Self::Sysctl | Self::ProcessMap | Self::ReadRegisters)
    }

    /// The call by its name in the manual; recorded machines use it as a key.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenDevice => "open",
            Self::GetRanges => "MEMRANGE_GET",
            Self::UpdateRange => "MEMRANGE_SET_UPDATE",
            Self::RemoveRange => "MEMRANGE_SET_REMOVE",
            Self::ExtractPaddr => "MEM_EXTRACT_PADDR",
            Self::KernelDump => "MEM_KERNELDUMP",
            Self::ReadMemory => "read",
            Self::Sysctl => "sysctl",
            Self::Map => "mmap",
            Self::Lock => "mlock",
            Self::Touch => "touch",
            Self::FindSymbol => "kldsym",
            Self::ListFiles => "kldstat",
            Self::ProcessMap => "vmmap",
            Self::ReadRegisters => "CPUCTL_RDMSR",
            Self::ReadPagemap => "pagemap",
            Self::FindDomains => "move_pages",
        }
    }

    /// What it is for, after "cannot".
    const fn purpose(self) -> &'static str {
        match self {
            Self::OpenDevice => "open",
            Self::GetRanges => "list the memory ranges of",
            Self::UpdateRange => "update memory range",
            Self::RemoveRange => "remove memory range",
            Self::ExtractPaddr => "look up virtual address",
            Self::KernelDump => "take a live dump into",
            Self::ReadMemory => "read",
            Self::Sysctl => "read sysctl",
            Self::Map => "map",
            Self::Lock => "lock",
            Self::Touch => "bring in",
            Self::FindSymbol => "find kernel symbol",
            Self::ListFiles => "list the files of",
            Self::ProcessMap => "read the memory map of",
            Self::ReadRegisters => "read the processor's registers through",
            Self::ReadPagemap => "look up pages of",
            Self::FindDomains => "find the NUMA domains of pages of",
        }
    }
}

/// The kernel refused an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelError {
    /// What was asked.
    pub operation: Operation,
    /// What it was asked for: a path, an address, a range, a sysctl's name.
    pub subject: String,
    /// The answer.
    pub errno: Errno,
}

impl KernelError {
    /// Puts an errno with what was asked.
    pub fn new(operation: Operation, subject: impl fmt::Display, errno: Errno) -> Self {
        Self { operation, subject: subject.to_string(), errno }
    }
}

impl fmt::Display for KernelError {
    /// One sentence: what happened, the errno's name, why, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = explain::errno_name(self.errno);
        write!(f, "cannot {} {}: {name}: ", self.operation.purpose(), self.subject)?;
        match explain::errno(self.operation, self.errno) {
            Some(text) => f.write_str(text),
            None => f.write_str(self.errno.desc()),
        }
    }
}

impl std::error::Error for KernelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.errno)
    }
}

/// The errno of an I/O error; EIO for one that is not the system's own.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Why memtool did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused; the text explains the errno.
    #[error(transparent)]
    Kernel(#[from] KernelError),

    /// A change of memory ranges breaks one of the kernel's rules, found before asking it.
    #[error("{request}: the kernel would answer {errno}: {violation}", errno = explain::errno_name(violation.errno()))]
    Rule {
        /// What was asked for.
        request: String,
        /// The rule.
        #[source]
        violation: crate::ranges::rules::Violation,
    },

    /// memtool itself declines: the request is dangerous, or cannot mean what was meant.
    #[error("{0}")]
    Refused(String),

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

    /// A dump, header or kernel table is not as its format demands.
    #[error("{0}")]
    Format(String),

    /// What was asked for needs something that this host does not have.
    #[error("{0}")]
    Unsupported(String),

    /// An address of a kernel's memory cannot be read, written or translated.
    #[error(transparent)]
    Fault(#[from] crate::kvm::Fault),

    /// Reading or writing failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// The attempt, after "cannot".
        what: String,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// An I/O failure, with the attempt and the path it was about.
    pub fn io(attempt: &str, path: &Path, source: io::Error) -> Self {
        Self::Io { what: format!("{attempt} {}", path.display()), source }
    }
}

/// `Result` with the library's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
