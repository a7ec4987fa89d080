//! Why an address cannot be read, written or translated.

use crate::errno::Errno;
use crate::memory::{ReadError, WriteError};
use crate::minidump::left_out::Terms;
use crate::units::Hex;
use std::fmt;
use std::io;

/// An address that something failed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The address that was asked for: virtual, or physical where physical memory was.
    pub address: u64,
    /// The step that failed.
    pub why: Why,
}

/// The step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No entry of the page tables maps the address: the one of this level is not valid.
    NotMapped(&'static str),
    /// The page tables do not cover the address.
    NotCovered,
    /// The page table at this physical address cannot be had.
    NoTable(u64),
    /// The page at this physical address is not in the dump, or is no memory.
    NoPage(u64),
    /// The page at this physical address is not in the dump, of which pages of these terms were left out.
    LeftOut(u64, Terms),
    /// The page at this physical address is the kernel's image, and `dump_avail`, by which the kernel dumps, leaves that
    /// out.
    NoImage(u64),
    /// The dump has virtual memory only, and not at the address.
    NotListed,
    /// Virtual addresses cannot be followed, for this reason.
    Untranslated(&'static str),
    /// The running kernel maps this physical address read-only in its direct map, through which it would write.
    ReadOnlyDirectly(u64),
    /// It was not opened for writing.
    ReadOnly,
    /// Reading or writing failed.
    Io(Errno),
}

impl Fault {
    pub(super) fn new(address: u64, why: Why) -> Self {
        Self { address, why }
    }

    /// From the error of reading a dump.
    pub(super) fn io(address: u64, error: &io::Error) -> Self {
        Self::new(address, Why::Io(Errno::new(error)))
    }

    /// From the error of reading memory at a physical address.
    pub(super) fn read(address: u64, physical: u64, error: &ReadError) -> Self {
        Self::new(address, Why::unread(physical, error))
    }

    /// From the error of writing memory at a physical address.
    pub(super) fn written(address: u64, physical: u64, error: &WriteError) -> Self {
        let why = match error {
            WriteError::Absent => Why::NoPage(physical),
            WriteError::ReadOnly => Why::ReadOnly,
            WriteError::Io(error) => Why::Io(Errno::new(error)),
        };
        Self { address, why }
    }

    /// Whether there is simply nothing at the address, rather than a failure.
    pub fn is_hole(&self) -> bool {
        use Why::{LeftOut, NoImage, NoPage, NoTable, NotCovered, NotListed, NotMapped};
        matches!(self.why, NotMapped(_) | NotCovered | NoTable(_) | NoPage(_) | LeftOut(..) | NoImage(_) | NotListed)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Hex(self.address), self.why)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMapped(level) => write!(f, "not mapped: its {level} entry is not valid"),
            Self::NotCovered => f.write_str("not mapped: the kernel's page tables do not cover the address"),
            Self::NoTable(physical) => write!(f, "its page table at {} is missing", Hex(*physical)),
            Self::NoPage(physical) => write!(f, "its page at physical address {} is missing", Hex(*physical)),
            Self::LeftOut(physical, terms) => write!(
                f,
                "its page at physical address {} is missing: left out by --without {terms}, unless it is none that dumps have",
                Hex(*physical)
            ),
            Self::NoImage(physical) => write!(
                f,
                "its page at physical address {} is missing: it belongs to the kernel's image, which this powerpc64 machine's firmware reported as unavailable, so dump_avail and all dumps omit it",
                Hex(*physical)
            ),
            Self::NotListed => f.write_str("not in the dump, which has only its own virtual addresses"),
            Self::Untranslated(reason) => write!(f, "it cannot be translated: {reason}"),
            Self::ReadOnlyDirectly(physical) => write!(
                f,
                "the kernel writes through its direct map, where physical address {} is mapped read-only, like its text and read-only data: it would answer EFAULT",
                Hex(*physical)
            ),
            Self::ReadOnly => f.write_str("it was not opened for writing"),
            Self::Io(errno) => errno.fmt(f),
        }
    }
}

impl Why {
    /// From the error of reading memory at a physical address.
    pub(super) fn unread(physical: u64, error: &ReadError) -> Self {
        match error {
            ReadError::Absent => Self::NoPage(physical),
            ReadError::Io(error) => Self::Io(Errno::new(error)),
        }
    }
}

impl From<io::Error> for Why {
    /// From the error of reading a dump.
    fn from(error: io::Error) -> Self {
        Self::Io(Errno::new(&error))
    }
}

impl std::error::Error for Fault {}
