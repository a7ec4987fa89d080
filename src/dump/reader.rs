//! Reading RAM segment by segment, in large pieces, without losing a page that can be read.
//!
//! A read that fails or comes up short is taken up again page by page, so that a large buffer loses nothing
//! around a page that cannot be read.

use crate::error::{Error, Result};
use crate::host::Memory;
use crate::memory_map::Segment;
use std::io;

/// A larger buffer gains nothing.
const MAX_BUFFER: usize = 64 << 20;

/// A piece of physical memory, in ascending order of addresses within a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Bytes from an address on.
    Data {
        /// The first byte's physical address.
        address: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Addresses that cannot be read: within one page.
    Unreadable {
        /// The first address.
        start: u64,
        /// The first address after them.
        end: u64,
    },
}

/// Reads segments one after another.
pub struct SegmentReader<'a> {
    memory: &'a dyn Memory,
    segments: std::slice::Iter<'a, Segment>,
    page_size: u64,
    buffer: Vec<u8>,
    /// What is left of the segment.
    at: u64,
    end: u64,
    /// Up to here pages are read one by one.
    careful_until: u64,
}

impl<'a> SegmentReader<'a> {
    /// A reader with a buffer of its own, of whole pages.
    ///
    /// # Errors
    ///
    /// The page size is no power of two, or the buffer is larger than 64 MiB.
    pub fn new(memory: &'a dyn Memory, segments: &'a [Segment], page_size: u64, buffer_size: usize) -> Result<Self> {
        let page = usize::try_from(page_size).ok().filter(|page| page.is_power_of_two() && *page <= MAX_BUFFER);
        let Some(page) = page else {
            return Err(Error::Refused(format!("a page size of {page_size} bytes is not possible")));
        };
        if buffer_size > MAX_BUFFER {
            return Err(Error::Refused(format!(
                "a buffer of {buffer_size} bytes is larger than {} MiB",
                MAX_BUFFER >> 20
            )));
        }
        let buffer = vec![0; buffer_size.max(1).next_multiple_of(page)];
        Ok(Self { memory, segments: segments.iter(), page_size, buffer, at: 0, end: 0, careful_until: 0 })
    }

    /// The next piece; `None` after the last segment.
    pub fn next_chunk(&mut self) -> Option<Chunk<'_>> {
        while self.at >= self.end {
            let segment = self.segments.next()?;
            (self.at, self.end) = (segment.start, segment.end);
            self.careful_until = 0;
        }
        let address = self.at;
        let next_page = (address & !(self.page_size - 1)).saturating_add(self.page_size).min(self.end);
        let large_end = self.aligned_end();
        if address >= self.careful_until {
            let read = self.read(address, large_end);
            if let Ok(read @ 1..) = read {
                self.at = address + read as u64;
                if self.at < large_end {
                    self.careful_until = large_end;
                }
                return Some(Chunk::Data { address, bytes: self.buffer.get(..read).unwrap_or_default() });
            }
            self.careful_until = large_end;
        }
        match self.read(address, next_page) {
            Ok(read @ 1..) => {
                self.at = address + read as u64;
                Some(Chunk::Data { address, bytes: self.buffer.get(..read).unwrap_or_default() })
            }
            _ => {
                self.at = next_page;
                Some(Chunk::Unreadable { start: address, end: next_page })
            }
        }
    }

    /// The end of the large read that begins here: at a border of the buffer's size, or the segment's end.
    fn aligned_end(&self) -> u64 {
        let size = self.buffer.len() as u64;
        (self.at - self.at % size).saturating_add(size).min(self.end)
    }

    fn read(&mut self, address: u64, end: u64) -> io::Result<usize> {
        let length = usize::try_from(end - address).unwrap_or(usize::MAX).min(self.buffer.len());
        let buffer = self.buffer.get_mut(..length).unwrap_or_default();
        loop {
            match self.memory.read_at(address, buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const PAGE: u64 = 4096;

    /// Memory whose bytes tell their address, with pages that fail and reads that stop at arbitrary places.
    struct Faulty {
        bad_pages: BTreeSet<u64>,
        longest: usize,
    }

    fn byte_at(address: u64) -> u8 {
        (address ^ (address >> 12) ^ (address >> 24)).to_le_bytes()[0]
    }

    impl Memory for Faulty {
        fn read_at(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
            if self.bad_pages.contains(&(address / PAGE)) {
                return Err(io::Error::from_raw_os_error(libc::EFAULT));
            }
            let mut done = 0;
            while done < buffer.len().min(self.longest) {
                let at = address + done as u64;
                if self.bad_pages.contains(&(at / PAGE)) {
                    break;
                }
                buffer[done] = byte_at(at);
                done += 1;
            }
            Ok(done)
        }
    }

    fn segment(start: u64, end: u64) -> Segment {
        Segment { start, end, domain: None }
    }

    /// Reads everything; checks each byte, and that the pieces follow each other without gap or overlap.
    fn read_all(memory: &Faulty, segments: &[Segment], buffer: usize) -> BTreeSet<u64> {
        let mut reader = SegmentReader::new(memory, segments, PAGE, buffer).unwrap();
        let mut unreadable = BTreeSet::new();
        let mut expected = segments.iter().flat_map(|segment| segment.start..segment.end);
        while let Some(chunk) = reader.next_chunk() {
            match chunk {
                Chunk::Data { address, bytes } => {
                    for (offset, byte) in bytes.iter().enumerate() {
                        let at = address + offset as u64;
                        assert_eq!(expected.next(), Some(at));
                        assert_eq!(*byte, byte_at(at));
                    }
                }
                Chunk::Unreadable { start, end } => {
                    assert!(start < end);
                    for at in start..end {
                        assert_eq!(expected.next(), Some(at));
                        unreadable.insert(at / PAGE);
                    }
                }
            }
        }
        assert_eq!(expected.next(), None);
        unreadable
    }

    proptest! {
        /// memdump's documented fault: a large buffer loses the memory around a hole.
        #[test]
        fn a_large_buffer_loses_no_readable_page(
            bad in proptest::collection::btree_set(0u64..40, 0..20),
            buffer in 1usize..100_000,
            longest in prop_oneof![Just(usize::MAX), 1usize..20_000],
            start in 0u64..9000,
            length in 1u64..120_000,
        ) {
            let memory = Faulty { bad_pages: bad.clone(), longest };
            let segments = [segment(start, start + length), segment(1 << 32, (1 << 32) + 10_000)];
            let unreadable = read_all(&memory, &segments, buffer);
            let inside = |page: &u64| page * PAGE < start + length && (page + 1) * PAGE > start;
            let expected: BTreeSet<u64> = bad.into_iter().filter(inside).collect();
            prop_assert_eq!(unreadable, expected);
        }
    }

    #[test]
    fn a_source_that_ends_early_is_unreadable_from_there_on() {
        struct Ends;
        impl Memory for Ends {
            fn read_at(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
                let left = 5000u64.saturating_sub(address);
                Ok(usize::try_from(left).unwrap().min(buffer.len()))
            }
        }
        let segments = [segment(0, 12_288)];
        let mut reader = SegmentReader::new(&Ends, &segments, PAGE, 1 << 20).unwrap();
        assert!(matches!(reader.next_chunk(), Some(Chunk::Data { address: 0, bytes }) if bytes.len() == 5000));
        assert_eq!(reader.next_chunk(), Some(Chunk::Unreadable { start: 5000, end: 8192 }));
        assert_eq!(reader.next_chunk(), Some(Chunk::Unreadable { start: 8192, end: 12_288 }));
        assert_eq!(reader.next_chunk(), None);
    }

    #[test]
    fn a_segment_at_the_top_of_the_address_space_ends_there() {
        let memory = Faulty { bad_pages: BTreeSet::new(), longest: usize::MAX };
        let segments = [segment(u64::MAX - 5000, u64::MAX)];
        assert_eq!(read_all(&memory, &segments, 1 << 16), BTreeSet::new());
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let memory = Faulty { bad_pages: BTreeSet::new(), longest: 1 };
        assert!(SegmentReader::new(&memory, &[], 0, 1).is_err());
        assert!(SegmentReader::new(&memory, &[], 3000, 1).is_err());
        assert!(SegmentReader::new(&memory, &[], 4096, usize::MAX).is_err());
    }
}
