//! Dumping physical memory: RAM only, and every page of it that can be read.

pub mod map_file;
pub mod reader;

use crate::error::{Error, Result};
use crate::host::Memory;
use crate::memory_map::{Segment, add_range};
use map_file::MapFile;
use reader::{Chunk, SegmentReader};
use std::io::Write;

/// What a dump did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes written.
    pub written: u64,
    /// Physical addresses that could not be read and are not in the output: start and exclusive end.
    pub unreadable: Vec<(u64, u64)>,
}

impl Report {
    /// Bytes that could not be read.
    pub fn unreadable_bytes(&self) -> u64 {
        self.unreadable.iter().map(|(start, end)| end - start).sum()
    }
}

/// Writes the readable bytes of the segments one after another, as memdump(1) does, and what was written
/// where into the map.
///
/// # Errors
///
/// Those of the sink and of the map. What cannot be read is no error: it is left out, and the report says so.
pub fn raw(
    memory: &dyn Memory,
    segments: &[Segment],
    page_size: u64,
    buffer_size: usize,
    out: &mut dyn Write,
    mut map: Option<&mut MapFile<'_>>,
) -> Result<Report> {
    let mut reader = SegmentReader::new(memory, segments, page_size, buffer_size)?;
    let mut report = Report::default();
    let write_failed = |source| Error::Io { what: "write the dump".to_owned(), source };
    while let Some(chunk) = reader.next_chunk() {
        match chunk {
            Chunk::Data { address, bytes } => {
                out.write_all(bytes).map_err(write_failed)?;
                report.written += bytes.len() as u64;
                if let Some(map) = &mut map {
                    map.add(address, address + bytes.len() as u64)?;
                }
            }
            Chunk::Unreadable { start, end } => add_range(&mut report.unreadable, start, end),
        }
    }
    out.flush().map_err(write_failed)?;
    if let Some(map) = map {
        map.finish()?;
    }
    Ok(report)
}
