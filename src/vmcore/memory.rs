//! Physical memory as a minidump holds it, at any address.

use super::minidump::MinidumpFacts;
use super::volume::Volume;
use super::{Content, Inspection};
use crate::host::Memory;
use crate::kerneldump::Compression;
use nix::errno::Errno;
use std::io;

/// The pages of a minidump that is not compressed. Finding one takes the same time in every dump.
pub struct DumpedMemory<'a> {
    volume: &'a Volume,
    /// Where the dump begins in the volume.
    start: u64,
    facts: &'a MinidumpFacts,
}

impl<'a> DumpedMemory<'a> {
    /// The memory in a dump that was inspected; `None` if it is no minidump, or compressed, so that it can only be
    /// read from front to back.
    pub fn of(volume: &'a Volume, inspection: &'a Inspection) -> Option<Self> {
        match &inspection.content {
            Content::Minidump(facts) if inspection.compression == Compression::None => {
                Some(Self { volume, start: inspection.located.start, facts })
            }
            _ => None,
        }
    }
}

impl Memory for DumpedMemory<'_> {
    /// Reads up to the end of a page. A page that is not in the dump is EFAULT; where a dump has been cut off there
    /// are 0 bytes.
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let page = u64::from(self.facts.header.page_size);
        let offset = self.facts.offset_of(address).ok_or(Errno::EFAULT)?;
        let left = usize::try_from(page - address % page).unwrap_or(usize::MAX).min(buffer.len());
        self.volume.read_at(self.start.saturating_add(offset), buffer.get_mut(..left).unwrap_or_default())
    }
}
