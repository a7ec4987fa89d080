//! What page tables are read from.

use crate::dump::DumpedMemory;
use crate::memory::{Memory, ReadError};
use crate::ram::Ram;

/// The memory that page tables are read from.
pub(super) enum Physical<'a> {
    Dump(&'a DumpedMemory),
    Live(&'a Ram),
}

impl Physical<'_> {
    /// The memory itself, by physical address.
    pub fn memory(&self) -> &dyn Memory {
        match self {
            Self::Dump(dump) => *dump,
            Self::Live(ram) => *ram,
        }
    }

    /// Whether there is memory at a physical address.
    pub fn has(&self, physical: u64) -> bool {
        match self {
            Self::Dump(dump) => dump.place_of(physical).is_some(),
            Self::Live(ram) => ram.remaining(physical) > 0,
        }
    }

    /// Few bytes at a place in the dump, or at a physical address of the running machine; `None` where the dump has been
    /// cut off.
    pub fn few<const N: usize>(&self, at: u64) -> Result<Option<[u8; N]>, ReadError> {
        match self {
            Self::Dump(dump) => Ok(dump.entry(at)?),
            Self::Live(ram) => {
                let mut bytes = [0; N];
                ram.fill(at, &mut bytes)?;
                Ok(Some(bytes))
            }
        }
    }

    /// The same for many bytes; tells how many there are.
    pub fn many(&self, at: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        match self {
            Self::Dump(dump) => Ok(dump.read_dump(at, buffer)?),
            Self::Live(ram) => ram.fill(at, buffer).map(|()| buffer.len()),
        }
    }

    /// Such a place, as a physical address or as an offset in the dump.
    pub fn physical_or_offset(&self, at: u64) -> (Option<u64>, Option<u64>) {
        match self {
            Self::Dump(_) => (None, Some(at)),
            Self::Live(_) => (Some(at), None),
        }
    }
}
