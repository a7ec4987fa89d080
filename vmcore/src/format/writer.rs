//! Writing memory in a format, to whatever takes the bytes.

use super::Layout;
use super::map_file::MapFile;
use super::unreadable::Unreadable;
use crate::chunks::Chunk;
use crate::error::Result;
use crate::segment::Segment;

/// Takes the bytes of a dump in order.
pub trait SparseWrite: Send {
    /// Bytes taken so far, zeros included.
    fn position(&self) -> u64;

    /// Takes bytes.
    ///
    /// # Errors
    ///
    /// They cannot be written.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Takes that many zeros, which can become a hole in a file.
    ///
    /// # Errors
    ///
    /// They cannot be written.
    fn zeros(&mut self, count: u64) -> Result<()>;
}

/// Memory that was copied into a dump.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes that were read.
    pub read: u64,
    /// What could not be read.
    pub unreadable: Unreadable,
}

/// Puts pieces of memory into the output as the layout demands.
pub struct ImageWriter<'a, 'm, I> {
    layout: &'a Layout,
    segments: I,
    /// The end of the segment that is being written.
    end: u64,
    out: &'a mut dyn SparseWrite,
    map: Option<&'a mut MapFile<'m>>,
    read: u64,
    unreadable: Unreadable,
}

impl<'a, 'm, I: Iterator<Item = Segment>> ImageWriter<'a, 'm, I> {
    /// Writes the memory of segments behind what the output has.
    pub fn new(
        layout: &'a Layout,
        segments: I,
        out: &'a mut dyn SparseWrite,
        map: Option<&'a mut MapFile<'m>>,
    ) -> Self {
        Self { layout, segments, end: 0, out, map, read: 0, unreadable: Unreadable::default() }
    }

    /// Writes a piece, and tells how many bytes of memory it stands for.
    pub fn write_chunk(&mut self, piece: Chunk<'_>) -> Result<u64> {
        let (Chunk::Data { address: start, .. } | Chunk::Unreadable { start, .. }) = piece;
        if start >= self.end
            && let Some(segment) = self.segments.next()
        {
            let gap = self.layout.gap_before(&segment, self.out.position());
            self.out.zeros(gap)?;
            self.out.write(&self.layout.header_of(&segment))?;
            self.end = segment.end;
        }
        match piece {
            Chunk::Data { address, bytes } => {
                self.out.write(bytes)?;
                self.read += bytes.len() as u64;
                if let Some(map) = &mut self.map {
                    map.add(address, address + bytes.len() as u64)?;
                }
                Ok(bytes.len() as u64)
            }
            Chunk::Unreadable { start, end, why } => {
                self.unreadable.add(start, end, why);
                if !self.layout.format().is_packed() {
                    self.out.zeros(end - start)?;
                }
                Ok(end - start)
            }
        }
    }

    /// Writes what comes behind the memory.
    pub fn finish(mut self) -> Result<Copied> {
        let tail = self.layout.tail(&self.unreadable, self.out.position());
        self.out.write(&tail)?;
        if let Some(map) = &mut self.map {
            map.finish()?;
        }
        Ok(Copied { read: self.read, unreadable: self.unreadable })
    }
}
