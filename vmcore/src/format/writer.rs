//! Writing memory in a format, to whatever takes the bytes.

use super::Layout;
use super::map_file::MapFile;
use super::unreadable::Unreadable;
use crate::chunks::Chunk;
use crate::error::{Error, Result};
use crate::opened::write_all_at;
use crate::segment::Segment;
use std::fs::File;
use std::io;

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

/// A file that takes a dump from its beginning on, with holes where there are zeros.
pub struct SparseFile {
    file: File,
    position: u64,
}

impl SparseFile {
    /// Takes a file that is open for writing, and empty.
    pub fn new(file: File) -> Self {
        Self { file, position: 0 }
    }

    /// Has the file end where the dump does, which may be a hole, and the bytes on disk.
    ///
    /// # Errors
    ///
    /// Those of ftruncate(2) and fsync(2).
    pub fn finish(self) -> Result<()> {
        self.file.set_len(self.position).and_then(|()| self.file.sync_all()).map_err(not_written)
    }
}

fn not_written(source: io::Error) -> Error {
    Error::Io { what: "write the dump".to_owned(), source }
}

impl SparseWrite for SparseFile {
    fn position(&self) -> u64 {
        self.position
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        write_all_at(&self.file, bytes, self.position).map_err(not_written)?;
        self.zeros(bytes.len() as u64)
    }

    fn zeros(&mut self, count: u64) -> Result<()> {
        self.position = self.position.saturating_add(count);
        Ok(())
    }
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
///
/// ```
/// use vmcore::chunks::Chunk;
/// use vmcore::format::writer::{ImageWriter, SparseFile};
/// use vmcore::format::{Format, Layout};
/// use vmcore::segment::Segment;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let segments = [Segment { start: 0x1000, end: 0x1004, domain: None }];
/// let layout = Layout::from_segments(Format::Padded, segments.iter().cloned(), 4096, 0)?;
/// let file = tempfile::NamedTempFile::new()?;
/// let mut out = SparseFile::new(file.reopen()?);
/// let mut image = ImageWriter::new(&layout, segments.into_iter(), &mut out, None);
/// image.write_chunk(Chunk::Data { address: 0x1000, bytes: b"RAM!" })?;
/// assert_eq!(image.finish()?.read, 4);
/// out.finish()?;
/// let bytes = std::fs::read(file.path())?;
/// assert_eq!((bytes.len() as u64, &bytes[0x1000..]), (layout.size(), b"RAM!".as_slice()));
/// # Ok(())
/// # }
/// ```
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
        let (Chunk::Data { address: start, .. } | Chunk::Zeros { start, .. } | Chunk::Unreadable { start, .. }) = piece;
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
            Chunk::Zeros { start, end } => {
                self.out.zeros(end - start)?;
                self.read += end - start;
                if let Some(map) = &mut self.map {
                    map.add(start, end)?;
                }
                Ok(end - start)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[test]
    fn zeros_are_holes_in_a_file_and_count_at_its_end_too() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut out = SparseFile::new(file.reopen().unwrap());
        out.zeros(2).unwrap();
        out.write(b"ab").unwrap();
        out.zeros(1 << 20).unwrap();
        assert_eq!(out.position(), 4 + (1 << 20));
        out.finish().unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        assert_eq!((bytes.len(), &bytes[..6]), (4 + (1 << 20), &b"\0\0ab\0\0"[..]));
    }
}
