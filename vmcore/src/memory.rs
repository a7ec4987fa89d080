//! Memory that is read and written by address: physical memory, or a kernel's virtual memory.

use crate::errno::Errno;
use std::fmt;
use std::io;

/// Why memory was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no memory at the address. Devices of mem(4) answer EFAULT; arm's answers EINVAL
    /// (`memrw()`, `sys/arm/arm/mem.c`).
    #[error("there is no memory at this address")]
    Absent,
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ReadError {
    /// The errno that mem(4) has for it; EIO for a failure that is not the system's own.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Absent => Errno::EFAULT,
            Self::Io(error) => Errno::new(error),
        }
    }
}

impl From<Errno> for ReadError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// Why memory was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is no memory at the address.
    #[error("there is no memory at this address")]
    Absent,
    /// The memory was not opened for writing.
    #[error("it was not opened for writing")]
    ReadOnly,
    /// Writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Memory that can be read by address: physical, or the kernel's virtual memory.
pub trait Memory: Send + Sync {
    /// Reads from an address on; like read(2), it may deliver less than asked for, and 0 bytes at the end.
    ///
    /// # Errors
    ///
    /// There is no memory at the address, or reading failed.
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError>;

    /// Fills the buffer from an address on.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read_at`]; the memory ends before the buffer is full.
    fn fill(&self, address: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
        let mut done = 0;
        while let Some(rest @ [_, ..]) = buffer.get_mut(done..) {
            let at = address.checked_add(done as u64).ok_or(ReadError::Absent)?;
            match self.read_at(at, rest) {
                Ok(0) => return Err(ReadError::Absent),
                Ok(read) => done += read,
                Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Memory that can be written, by physical address.
pub trait WritableMemory: Send + Sync {
    /// Writes from an address on; like write(2), it may take less than it is given.
    ///
    /// # Errors
    ///
    /// There is no memory at the address, it cannot be written, or writing failed.
    fn write_at(&self, address: u64, bytes: &[u8]) -> Result<usize, WriteError>;
}

/// Why a range of addresses was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRead {
    /// The source has no more bytes.
    End,
    /// There is no memory.
    Absent,
    /// Reading failed.
    Failed(Errno),
}

impl From<ReadError> for NotRead {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Absent => Self::Absent,
            ReadError::Io(error) => Self::Failed(Errno::new(&error)),
        }
    }
}

impl fmt::Display for NotRead {
    /// The errno's name, as manifests have it; `no data` at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("no data"),
            Self::Absent => f.write_str(&Errno::EFAULT.name()),
            Self::Failed(errno) => f.write_str(&errno.name()),
        }
    }
}
