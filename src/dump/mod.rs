//! Dumping memory: RAM only, and every page of it that can be read.
//!
//! A [`plan::Plan`] says what is read, a [`format::Layout`] how it is written, a [`sink::Sink`] where to;
//! [`dump`] does it. Some threads read while another writes, and compressing has threads of its own.

pub mod format;
pub mod manifest;
pub mod map_file;
pub mod plan;
pub mod sink;

use crate::compress::Compression;
use crate::error::Result;
use format::Layout;
use map_file::MapFile;
use plan::Plan;
use serde::{Deserialize, Serialize};
use sink::{Sink, Target, Written, with_sink};
use vmcore::chunks::{Chunk, ChunkReader};
use vmcore::memory::{Memory, NotRead};
use vmcore::progress::Progress;
use vmcore::segment::Segment;
use vmcore::units::hex;

/// More ranges that cannot be read are counted, but not listed.
const MAX_LISTED: usize = 1 << 18;

/// Addresses that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnreadableRange {
    /// First address.
    #[serde(with = "hex")]
    pub start: u64,
    /// First address after the range.
    #[serde(with = "hex")]
    pub end: u64,
    /// Why: the errno's name, or `no data` where the device just had no more bytes.
    pub why: String,
}

/// Everything that could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unreadable {
    ranges: Vec<UnreadableRange>,
    /// The last range, listed or not: its end, and why it was not read.
    last: Option<(u64, NotRead)>,
    count: u64,
    bytes: u64,
}

impl Unreadable {
    /// The ranges in ascending order; at most 2^18 of them.
    pub fn ranges(&self) -> &[UnreadableRange] {
        &self.ranges
    }

    /// How many ranges there are, listed or not.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many ranges are not listed.
    pub fn not_listed(&self) -> u64 {
        self.count - self.ranges.len() as u64
    }

    /// Bytes in all ranges, listed or not.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a range behind all others.
    pub(crate) fn add(&mut self, start: u64, end: u64, why: NotRead) {
        self.bytes += end - start;
        let goes_on = self.last.replace((end, why)) == Some((start, why));
        if !goes_on {
            self.count += 1;
            if self.ranges.len() < MAX_LISTED {
                self.ranges.push(UnreadableRange { start, end, why: why.to_string() });
            }
        } else if self.not_listed() == 0
            && let Some(last) = self.ranges.last_mut()
        {
            last.end = end;
        }
    }
}

/// What a dump did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpReport {
    /// Bytes of memory that were read.
    pub read: u64,
    /// What was written.
    pub written: Written,
    /// What could not be read.
    pub unreadable: Unreadable,
}

/// Where a dump goes, and how.
#[derive(Debug)]
pub struct Output {
    /// What it is written to.
    pub target: Target,
    /// How it is compressed.
    pub compression: Compression,
    /// Whether to hash it.
    pub hash: bool,
}

/// Dumps what is planned, and notes what was read in the map. Gives the target back, to be completed.
///
/// # Errors
///
/// Those of the sink and of the map, and a buffer or page size that is not possible. What cannot be read is no
/// error: the report lists it.
pub fn dump(
    memory: &dyn Memory,
    plan: &Plan,
    layout: &Layout,
    buffer_size: usize,
    map: Option<&mut MapFile<'_>>,
    output: Output,
    progress: &Progress,
) -> Result<(DumpReport, Target)> {
    let reader = ChunkReader::new(memory, plan.page_size, buffer_size)?;
    let Output { target, compression, hash } = output;
    let ((read, unreadable), written, target) = with_sink(target, compression, hash, |sink| {
        sink.write(layout.head())?;
        let mut image = ImageWriter::new(layout, plan.segments.iter().cloned(), sink, map);
        reader.read(&plan.segments, |piece| {
            progress.add(image.write_chunk(piece)?);
            Ok(())
        })?;
        image.finish()
    })?;
    Ok((DumpReport { read, written, unreadable }, target))
}

/// Puts pieces of memory into the output as the layout demands.
pub(crate) struct ImageWriter<'a, 'm, 's, I> {
    layout: &'a Layout,
    segments: I,
    /// The end of the segment that is being written.
    end: u64,
    sink: &'a mut Sink<'s>,
    map: Option<&'a mut MapFile<'m>>,
    read: u64,
    unreadable: Unreadable,
}

impl<'a, 'm, 's, I: Iterator<Item = Segment>> ImageWriter<'a, 'm, 's, I> {
    /// Writes the memory of segments behind what the sink has.
    pub fn new(layout: &'a Layout, segments: I, sink: &'a mut Sink<'s>, map: Option<&'a mut MapFile<'m>>) -> Self {
        Self { layout, segments, end: 0, sink, map, read: 0, unreadable: Unreadable::default() }
    }

    /// Writes a piece, and tells how many bytes of memory it stands for.
    pub fn write_chunk(&mut self, piece: Chunk<'_>) -> Result<u64> {
        let (Chunk::Data { address: start, .. } | Chunk::Unreadable { start, .. }) = piece;
        if start >= self.end
            && let Some(segment) = self.segments.next()
        {
            let gap = self.layout.gap_before(&segment, self.sink.position());
            self.sink.zeros(gap)?;
            self.sink.write(&self.layout.header_of(&segment))?;
            self.end = segment.end;
        }
        match piece {
            Chunk::Data { address, bytes } => {
                self.sink.write(bytes)?;
                self.read += bytes.len() as u64;
                if let Some(map) = &mut self.map {
                    map.add(address, address + bytes.len() as u64)?;
                }
                Ok(bytes.len() as u64)
            }
            Chunk::Unreadable { start, end, why } => {
                self.unreadable.add(start, end, why);
                if !self.layout.format().is_packed() {
                    self.sink.zeros(end - start)?;
                }
                Ok(end - start)
            }
        }
    }

    /// Writes what comes behind the memory; tells how much was read, and what could not be.
    pub fn finish(mut self) -> Result<(u64, Unreadable)> {
        let tail = self.layout.tail(&self.unreadable, self.sink.position());
        self.sink.write(&tail)?;
        if let Some(map) = &mut self.map {
            map.finish()?;
        }
        Ok((self.read, self.unreadable))
    }
}

#[cfg(test)]
mod tests;
