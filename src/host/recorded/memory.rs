//! The physical memory of a recorded machine: an image, or a pattern with the made-up kernel's own pages in
//! it. Only RAM can be read.

use super::file::{Contents, ImageLayout, Machine, Pattern};
use super::kernel::LaidOutKernel;
use super::written::Written;
use crate::error::{Error, Result};
use crate::files::open_nonblocking;
use nix::errno::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use vmcore::bounds::{head, head_mut, part_mut, saturating_usize};
use vmcore::memory::{Memory, ReadError, WritableMemory, WriteError};
use vmcore::segment::Segment;
use vmcore::units::counted;

/// Whose eyes memory is seen with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// /dev/mem: an image is exactly what it is.
    Device,
    /// The made-up kernel's: its pages are there even if an image does not have them.
    Kernel,
}

enum ContentsSource {
    Pattern(Pattern),
    Image(File, ImageLayout),
}

/// Physical memory of a recorded machine.
pub struct RecordedMemory {
    segments: Vec<Segment>,
    unreadable: Vec<(u64, u64)>,
    source: ContentsSource,
    kernel: Option<LaidOutKernel>,
    written: Written,
}

impl RecordedMemory {
    /// Opens the image, if there is one, and checks that it is large enough.
    pub fn open(machine: &Machine, machine_path: Option<&Path>, view: View, written: &Written) -> Result<Self> {
        let segments = machine.memory.segments.clone();
        let source = match &machine.contents {
            Contents::Pattern(pattern) => ContentsSource::Pattern(*pattern),
            Contents::Image { path, layout } => {
                let machine_path = machine_path.unwrap_or(Path::new(""));
                let path = machine_path.parent().unwrap_or(Path::new("")).join(path);
                let file = open_image(&path, *layout, &segments).map_err(|why| Error::Machine {
                    path: machine_path.to_owned(),
                    why: format!("contents.image: {}: {why}", path.display()),
                })?;
                ContentsSource::Image(file, *layout)
            }
        };
        // A machine whose kernel cannot be laid out still has memory.
        let with_kernel = view == View::Kernel || matches!(source, ContentsSource::Pattern(_));
        let kernel = if with_kernel { LaidOutKernel::lay_out(machine).ok() } else { None };
        let unreadable = machine.unreadable.iter().map(|range| (range.start, range.end)).collect();
        Ok(Self { segments, unreadable, source, kernel, written: written.clone() })
    }

    /// How many of `length` bytes from `address` on can be read in one go, and how far into the packed image
    /// they are.
    fn readable(&self, address: u64, length: u64) -> Result<(u64, u64), ReadError> {
        let mut packed = 0;
        for segment in &self.segments {
            if (segment.start..segment.end).contains(&address) {
                let mut end = segment.end.min(address.saturating_add(length));
                for &(from, to) in &self.unreadable {
                    if (from..to).contains(&address) {
                        return Err(ReadError::Io(Errno::EIO.into()));
                    }
                    if from > address {
                        end = end.min(from);
                    }
                }
                return Ok((end - address, packed + (address - segment.start)));
            }
            packed += segment.end - segment.start;
        }
        Err(ReadError::Absent)
    }
}

impl Memory for RecordedMemory {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let (length, packed) = self.readable(address, buffer.len() as u64)?;
        let buffer = head_mut(buffer, length);
        let length = match &self.source {
            ContentsSource::Pattern(Pattern::Address) => {
                fill_with_address(address, buffer);
                buffer.len()
            }
            ContentsSource::Image(file, ImageLayout::Packed) => file.read_at(buffer, packed)?,
            ContentsSource::Image(file, ImageLayout::Padded) => file.read_at(buffer, address)?,
        };
        if let Some(kernel) = &self.kernel {
            kernel.overlay(address, part_mut(buffer, ..length));
        }
        self.written.overlay(address, part_mut(buffer, ..length));
        Ok(length)
    }
}

/// Only RAM can be written.
impl WritableMemory for RecordedMemory {
    fn write_at(&self, address: u64, bytes: &[u8]) -> Result<usize, WriteError> {
        match self.readable(address, bytes.len() as u64) {
            Ok((length, _)) => {
                let bytes = head(bytes, length);
                self.written.store(address, bytes)?;
                Ok(bytes.len())
            }
            Err(ReadError::Absent) => Err(WriteError::Absent),
            Err(ReadError::Io(error)) => Err(error.into()),
        }
    }
}

fn fill_with_address(address: u64, buffer: &mut [u8]) {
    let lead = saturating_usize(address % 8);
    let head = ((8 - lead) % 8).min(buffer.len());
    let (first, words) = buffer.split_at_mut(head);
    for (to, from) in first.iter_mut().zip((address & !7).to_le_bytes().into_iter().skip(lead)) {
        *to = from;
    }
    let mut word = address.wrapping_add(head as u64);
    let (whole, rest) = words.as_chunks_mut();
    for to in whole {
        *to = word.to_le_bytes();
        word = word.wrapping_add(8);
    }
    for (to, from) in rest.iter_mut().zip(word.to_le_bytes()) {
        *to = from;
    }
}

fn open_image(path: &Path, layout: ImageLayout, segments: &[Segment]) -> Result<File, String> {
    let file = open_nonblocking(path).map_err(|error| error.to_string())?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let needed = match layout {
        ImageLayout::Packed => segments.iter().map(|segment| segment.end - segment.start).sum(),
        ImageLayout::Padded => segments.last().map_or(0, |segment| segment.end),
    };
    if metadata.len() < needed {
        return Err(format!("it has {}, the machine's memory {needed}", counted(metadata.len(), "byte")));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::fill_with_address;

    #[test]
    fn every_word_of_the_pattern_holds_its_own_address() {
        let mut whole = [0; 64];
        fill_with_address(0x1_0000, &mut whole);
        assert_eq!(whole[8..16], 0x1_0008u64.to_le_bytes());
        for start in 0..64 {
            for end in start..64 {
                let mut part = vec![0; end - start];
                fill_with_address(0x1_0000 + start as u64, &mut part);
                assert_eq!(part, whole[start..end], "{start}..{end}");
            }
        }
    }
}
