//! Reading memory segment by segment, in large pieces, without losing a page that can be read.
//!
//! A read that fails or comes up short is taken up again page by page, so that a large buffer loses nothing
//! around a page that cannot be read.

use crate::error::{Error, Result};
use crate::host::Memory;
use crate::memory_map::Segment;
use nix::errno::Errno;
use std::io;

/// A larger buffer gains nothing, and several of them are in use at once.
pub const MAX_BUFFER: usize = 16 << 20;

/// A piece of a segment; pieces come in ascending order of addresses, without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Bytes that were read: the first so many of the buffer.
    Data {
        /// The first byte's address.
        address: u64,
        /// How many.
        length: usize,
    },
    /// Addresses that cannot be read: within one page.
    Unreadable {
        /// The first address.
        start: u64,
        /// The first address after them.
        end: u64,
        /// Why; `None` where the device just has no more bytes.
        errno: Option<Errno>,
    },
}

/// Refuses a page size that is no power of two, or larger than [`MAX_BUFFER`].
pub(super) fn checked_page_size(page_size: u64) -> Result<usize> {
    let page = usize::try_from(page_size).ok().filter(|page| page.is_power_of_two() && *page <= MAX_BUFFER);
    page.ok_or_else(|| {
        Error::Refused(format!(
            "a page size of {page_size} bytes is not possible: it is a power of two, and {} MiB at most",
            MAX_BUFFER >> 20
        ))
    })
}

/// Reads segments one after another.
pub struct SegmentReader<'a> {
    memory: &'a dyn Memory,
    segments: std::slice::Iter<'a, Segment>,
    page_size: u64,
    buffer_size: usize,
    /// What is left of the segment.
    at: u64,
    end: u64,
    /// Up to here pages are read one by one.
    careful_until: u64,
}

impl<'a> SegmentReader<'a> {
    /// A reader that reads up to `buffer_size` bytes at once, made up to whole pages.
    ///
    /// # Errors
    ///
    /// The page size is no power of two, or the buffer is larger than [`MAX_BUFFER`].
    pub fn new(memory: &'a dyn Memory, segments: &'a [Segment], page_size: u64, buffer_size: usize) -> Result<Self> {
        let page = checked_page_size(page_size)?;
        if buffer_size > MAX_BUFFER {
            return Err(Error::Refused(format!(
                "a buffer of {buffer_size} bytes is larger than {} MiB",
                MAX_BUFFER >> 20
            )));
        }
        let buffer_size = buffer_size.max(1).next_multiple_of(page);
        Ok(Self { memory, segments: segments.iter(), page_size, buffer_size, at: 0, end: 0, careful_until: 0 })
    }

    /// A buffer of the right size for [`Self::next_piece`].
    pub fn new_buffer(&self) -> Vec<u8> {
        vec![0; self.buffer_size]
    }

    /// Reads the next piece into the buffer; `None` after the last segment.
    pub fn next_piece(&mut self, buffer: &mut [u8]) -> Option<Piece> {
        while self.at >= self.end {
            let segment = self.segments.next()?;
            (self.at, self.end) = (segment.start, segment.end);
            self.careful_until = 0;
        }
        let address = self.at;
        if address >= self.careful_until {
            let large_end = self.aligned_end();
            let read = self.read(buffer, large_end);
            if let Ok(length @ 1..) = read {
                self.at = address + length as u64;
                if self.at < large_end {
                    self.careful_until = large_end;
                }
                return Some(Piece::Data { address, length });
            }
            self.careful_until = large_end;
        }
        let next_page = (address & !(self.page_size - 1)).saturating_add(self.page_size).min(self.end);
        let read = self.read(buffer, next_page);
        if let Ok(length @ 1..) = read {
            self.at = address + length as u64;
            return Some(Piece::Data { address, length });
        }
        self.at = next_page;
        let errno = read.err().map(|error| crate::error::errno_of(&error));
        Some(Piece::Unreadable { start: address, end: next_page, errno })
    }

    /// The end of the large read that begins here: at a border of the buffer's size, or the segment's end.
    fn aligned_end(&self) -> u64 {
        let size = self.buffer_size as u64;
        (self.at - self.at % size).saturating_add(size).min(self.end)
    }

    /// Reads up to `end`, as far as the buffer goes.
    fn read(&self, buffer: &mut [u8], end: u64) -> io::Result<usize> {
        let length = usize::try_from(end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        loop {
            match self.memory.read_at(self.at, buffer) {
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
        let mut buffer = reader.new_buffer();
        let mut unreadable = BTreeSet::new();
        let mut expected = segments.iter().flat_map(|segment| segment.start..segment.end);
        while let Some(piece) = reader.next_piece(&mut buffer) {
            match piece {
                Piece::Data { address, length } => {
                    for (offset, byte) in buffer[..length].iter().enumerate() {
                        let at = address + offset as u64;
                        assert_eq!(expected.next(), Some(at));
                        assert_eq!(*byte, byte_at(at));
                    }
                }
                Piece::Unreadable { start, end, errno } => {
                    assert!(start < end);
                    assert_eq!(errno, Some(Errno::EFAULT));
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
        let mut buffer = reader.new_buffer();
        let unreadable = |start, end| Some(Piece::Unreadable { start, end, errno: None });
        assert_eq!(reader.next_piece(&mut buffer), Some(Piece::Data { address: 0, length: 5000 }));
        assert_eq!(reader.next_piece(&mut buffer), unreadable(5000, 8192));
        assert_eq!(reader.next_piece(&mut buffer), unreadable(8192, 12_288));
        assert_eq!(reader.next_piece(&mut buffer), None);
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
