//! What is read of a stream of QEMU's migration from front to back, and what it says before the RAM.

use super::Result;
use crate::bounds::{at_most, filled, head_mut};
use crate::dump::byte_source::ByteSource;

/// Names and lengths of configurations are shorter.
pub(super) const MAX_NAME: usize = 256;
/// Bytes that are read together: few, as most of what is between headers is passed over.
const BUFFER: usize = 512;

/// A stream, read from front to back, with big-endian integers.
pub(super) struct Reader<'a> {
    volume: &'a ByteSource,
    at: u64,
    buffer: Vec<u8>,
    start: u64,
}

impl<'a> Reader<'a> {
    pub fn new(volume: &'a ByteSource, at: u64) -> Self {
        Self { volume, at, buffer: Vec::new(), start: at }
    }

    pub fn position(&self) -> u64 {
        self.at
    }

    pub fn length(&self) -> u64 {
        self.volume.length()
    }

    pub fn volume(&self) -> &'a ByteSource {
        self.volume
    }

    pub fn seek(&mut self, at: u64) {
        self.at = at;
    }

    pub fn skip(&mut self, bytes: u64) {
        self.at = self.at.saturating_add(bytes);
    }

    /// The next bytes; `None` where the file ends before.
    pub fn array<const N: usize>(&mut self) -> Result<Option<[u8; N]>> {
        let within = self.at.checked_sub(self.start).map(|within| at_most(within, self.buffer.len()));
        let kept = within.and_then(|within| self.buffer.get(within..)?.first_chunk().copied());
        let found = match kept {
            Some(found) => Some(found),
            None => {
                self.start = self.at;
                self.buffer.resize(BUFFER, 0);
                let read = self.volume.read_at(self.at, &mut self.buffer)?;
                self.buffer.truncate(read);
                self.buffer.first_chunk().copied()
            }
        };
        if found.is_some() {
            self.skip(N as u64);
        }
        Ok(found)
    }

    pub fn u8(&mut self) -> Result<Option<u8>> {
        Ok(self.array()?.map(|[byte]| byte))
    }

    pub fn u32(&mut self) -> Result<Option<u32>> {
        Ok(self.array()?.map(u32::from_be_bytes))
    }

    pub fn u64(&mut self) -> Result<Option<u64>> {
        Ok(self.array()?.map(u64::from_be_bytes))
    }

    /// So many bytes, which are a name.
    pub fn name(&mut self, length: usize) -> Result<Option<Vec<u8>>> {
        let mut bytes = [0; MAX_NAME];
        let part = head_mut(&mut bytes, length);
        let read = self.volume.read_at(self.at, part)?;
        self.skip(length as u64);
        Ok(if read == length { Some(filled(&bytes, read)?.to_vec()) } else { None })
    }

    /// A name behind a byte with its length.
    pub fn short_name(&mut self) -> Result<Option<Vec<u8>>> {
        match self.u8()? {
            Some(length) => self.name(length.into()),
            None => Ok(None),
        }
    }
}

/// What the configuration says.
#[derive(Default)]
pub(super) struct Configuration {
    pub machine: Vec<u8>,
    pub has_mapped_ram: bool,
    pub has_ignored_blocks: bool,
}
