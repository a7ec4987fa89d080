//! Reading memory chunk by chunk, by several threads at once, without losing a page that can be read.
//!
//! A read that fails or comes up short is taken up again page by page, so that a large buffer loses nothing
//! around a page that cannot be read.

use crate::bounds::{head_mut, split_at_most, split_at_most_mut};
use crate::error::{Error, Result};
use crate::memory::{Memory, NotRead, ReadError};
use crate::segment::Segment;
use std::io;
use std::iter::Peekable;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

/// A larger buffer gains nothing, and several of them are in use at once.
pub const MAX_BUFFER: usize = 16 << 20;

/// Threads, each with a buffer: while one writes, the others read.
const MAX_THREADS: usize = 3;

/// Parts that are taken at once.
const MAX_PARTS: usize = 1024;

/// A piece of a segment; pieces come in ascending order of addresses, without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Bytes that were read.
    Data {
        /// The first byte's address.
        address: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Bytes that are known to be zeros, and were not read.
    Zeros {
        /// The first address.
        start: u64,
        /// The first address after them.
        end: u64,
    },
    /// Addresses that cannot be read.
    Unreadable {
        /// The first address.
        start: u64,
        /// The first address after them.
        end: u64,
        /// Why.
        why: NotRead,
    },
}

/// Refuses a page size that is no power of two, or larger than [`MAX_BUFFER`].
pub fn checked_page_size(page_size: u64) -> Result<usize> {
    let page = usize::try_from(page_size).ok().filter(|page| page.is_power_of_two() && *page <= MAX_BUFFER);
    page.ok_or_else(|| {
        Error::Refused(format!(
            "invalid page size of {page_size} bytes: it must be a power of two and at most {} MiB",
            MAX_BUFFER >> 20
        ))
    })
}

/// Where memory is read from, and how.
#[derive(Clone, Copy)]
pub struct ChunkReader<'a> {
    memory: &'a dyn Memory,
    page_size: u64,
    buffer_size: usize,
    holes: &'a [Range<u64>],
}

impl<'a> ChunkReader<'a> {
    /// A reader that reads up to `buffer_size` bytes at once, made up to whole pages.
    ///
    /// # Errors
    ///
    /// The page size is no power of two, or the buffer is larger than [`MAX_BUFFER`].
    pub fn new(memory: &'a dyn Memory, page_size: u64, buffer_size: usize) -> Result<Self> {
        let page = checked_page_size(page_size)?;
        if buffer_size > MAX_BUFFER {
            return Err(Error::Refused(format!(
                "a buffer of {buffer_size} bytes is larger than {} MiB",
                MAX_BUFFER >> 20
            )));
        }
        Ok(Self { memory, page_size, buffer_size: buffer_size.max(1).next_multiple_of(page), holes: &[] })
    }

    /// Does not read these addresses, which are ascending and disjoint: they are zeros, each of them in one piece as far as
    /// a segment has it.
    #[must_use]
    pub fn with_holes(self, holes: &'a [Range<u64>]) -> Self {
        Self { holes, ..self }
    }

    /// Calls with each piece of the segments, one after another. Several threads take turns: each reads as much as its
    /// buffer has room for, waits until all before it are done with, and calls with its pieces.
    ///
    /// # Errors
    ///
    /// Those of the function called, which is not called again then; a thread cannot be started.
    pub fn read(&self, segments: &[Segment], mut take: impl FnMut(Chunk<'_>) -> Result<()> + Send) -> Result<()> {
        let threads = thread::available_parallelism().map_or(1, usize::from).clamp(2, MAX_THREADS);
        let (mut next, mine): (Vec<_>, Vec<_>) = (0..threads).map(|_| sync_channel::<Turn<'_>>(1)).unzip();
        if let Some(first) = next.first() {
            let _ = first.send(&mut take);
        }
        next.rotate_left(1);
        thread::scope(|scope| {
            let mut readers = Vec::new();
            for (number, (mine, next)) in mine.into_iter().zip(next).enumerate() {
                let batches = Batches::new(segments, self.buffer_size, self.holes).skip(number).step_by(threads);
                let thread = thread::Builder::new().name("reader".to_owned());
                let reader = thread.spawn_scoped(scope, move || self.take_turns(batches, &mine, &next));
                readers.push(reader.map_err(|source| Error::Io { what: "start a thread".to_owned(), source })?);
            }
            let ended = readers.into_iter().map(|reader| reader.join().unwrap_or_else(|panic| resume_unwind(panic)));
            ended.collect()
        })
    }

    /// Reads batches and hands them on when it is their turn. Ends, and so ends the others, when one of them has
    /// failed.
    fn take_turns<'t>(
        &self,
        batches: impl Iterator<Item = Vec<Part>>,
        mine: &Receiver<Turn<'t>>,
        next: &SyncSender<Turn<'t>>,
    ) -> Result<()> {
        let mut buffer = vec![0; self.buffer_size];
        let mut pieces = Vec::new();
        for batch in batches {
            let mut room = &mut *buffer;
            for Part { range, is_hole } in batch {
                if is_hole {
                    pieces.push(Piece { range, state: State::Hole });
                    continue;
                }
                let (bytes, behind) = split_at_most_mut(room, range.end - range.start);
                self.read_part(range.start, bytes, &mut pieces);
                room = behind;
            }
            let Ok(take) = mine.recv() else { break };
            let mut rest = &*buffer;
            for Piece { range: Range { start, end }, state } in pieces.drain(..) {
                let in_buffer = if matches!(state, State::Hole) { 0 } else { end - start };
                let (bytes, behind) = split_at_most(rest, in_buffer);
                rest = behind;
                take(match state {
                    State::Read => Chunk::Data { address: start, bytes },
                    State::Hole => Chunk::Zeros { start, end },
                    State::NotRead(why) => Chunk::Unreadable { start, end, why },
                })?;
            }
            // The next one may have ended for want of batches.
            let _ = next.send(take);
        }
        Ok(())
    }

    /// Fills the buffer with what can be read from an address on; the pieces say which parts of it are filled.
    fn read_part(&self, start: u64, buffer: &mut [u8], pieces: &mut Vec<Piece>) {
        let before = pieces.len();
        let mut done = 0;
        let mut page_by_page = false;
        while let Some(rest @ [_, ..]) = buffer.get_mut(done..) {
            let at = start + done as u64;
            let in_page = at & (self.page_size - 1);
            let part = if page_by_page { head_mut(rest, self.page_size - in_page) } else { rest };
            let wanted = part.len();
            let (read, state) = match self.read_at(at, part) {
                Ok(read @ 1..) => (read, State::Read),
                _ if !page_by_page => {
                    page_by_page = true;
                    continue;
                }
                Ok(0) => (wanted, State::NotRead(NotRead::End)),
                Err(error) => (wanted, State::NotRead(error.into())),
            };
            page_by_page |= read < wanted;
            done += read;
            let range = at..start + done as u64;
            match pieces.get_mut(before..).and_then(<[Piece]>::last_mut) {
                Some(last) if last.state == state => last.range.end = range.end,
                _ => pieces.push(Piece { range, state }),
            }
        }
    }

    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        loop {
            match self.memory.read_at(address, buffer) {
                Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

/// What takes the pieces: the one that has it may call it.
type Turn<'a> = &'a mut (dyn FnMut(Chunk<'_>) -> Result<()> + Send);

/// What was made of a part, or of some of it. Holes have no place in the buffer.
struct Piece {
    range: Range<u64>,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Read,
    Hole,
    NotRead(NotRead),
}

/// What is read at once, or a hole.
struct Part {
    range: Range<u64>,
    is_hole: bool,
}

/// What is read at once: up to a border of the buffer's size, a hole, or the segment's end. And holes.
struct Chunks<'a> {
    segments: std::slice::Iter<'a, Segment>,
    size: u64,
    holes: &'a [Range<u64>],
    /// What is left of the segment.
    rest: Range<u64>,
}

impl<'a> Chunks<'a> {
    fn new(segments: &'a [Segment], size: usize, holes: &'a [Range<u64>]) -> Self {
        Self { segments: segments.iter(), size: size as u64, holes, rest: 0..0 }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        while self.rest.is_empty() {
            let segment = self.segments.next()?;
            self.rest = segment.start..segment.end;
        }
        let start = self.rest.start;
        let hole = self.holes.get(self.holes.partition_point(|hole| hole.end <= start));
        let border = (start - start % self.size).saturating_add(self.size);
        let (end, is_hole) = match hole {
            Some(hole) if hole.start <= start => (hole.end, true),
            Some(hole) => (border.min(hole.start), false),
            None => (border, false),
        };
        let end = end.min(self.rest.end);
        self.rest.start = end;
        Some(Part { range: start..end, is_hole })
    }
}

/// What a thread takes at once: a full buffer, or of small parts as many as it has room for, since each turn costs as much as
/// some of them.
struct Batches<'a> {
    parts: Peekable<Chunks<'a>>,
    size: u64,
}

impl<'a> Batches<'a> {
    fn new(segments: &'a [Segment], size: usize, holes: &'a [Range<u64>]) -> Self {
        Self { parts: Chunks::new(segments, size, holes).peekable(), size: size as u64 }
    }
}

impl Iterator for Batches<'_> {
    type Item = Vec<Part>;

    fn next(&mut self) -> Option<Vec<Part>> {
        let mut batch = Vec::new();
        let mut room = self.size;
        while batch.len() < MAX_PARTS
            && let Some(part) = self.parts.next_if(|part| part.is_hole || part.range.end - part.range.start <= room)
        {
            if !part.is_hole {
                room -= part.range.end - part.range.start;
            }
            batch.push(part);
        }
        (!batch.is_empty()).then_some(batch)
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
        fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
            if self.bad_pages.contains(&(address / PAGE)) {
                return Err(ReadError::Absent);
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
        let reader = ChunkReader::new(memory, PAGE, buffer).unwrap();
        let mut unreadable = BTreeSet::new();
        let mut expected = segments.iter().flat_map(|segment| segment.start..segment.end);
        let check = |piece: Chunk<'_>| {
            match piece {
                Chunk::Data { address, bytes } => {
                    assert!(!bytes.is_empty());
                    for (at, byte) in (address..=u64::MAX).zip(bytes) {
                        assert_eq!(expected.next(), Some(at));
                        assert_eq!(*byte, byte_at(at));
                    }
                }
                Chunk::Zeros { .. } => panic!("no hole is known"),
                Chunk::Unreadable { start, end, why } => {
                    assert!(start < end);
                    assert_eq!(why, NotRead::Absent);
                    for at in start..end {
                        assert_eq!(expected.next(), Some(at));
                        unreadable.insert(at / PAGE);
                    }
                }
            }
            Ok(())
        };
        reader.read(segments, check).unwrap();
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
            fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
                let remaining = 5000u64.saturating_sub(address);
                Ok(usize::try_from(remaining).unwrap().min(buffer.len()))
            }
        }
        let segments = [segment(0, 12_288)];
        let mut pieces = Vec::new();
        let note = |piece: Chunk<'_>| {
            pieces.push(match piece {
                Chunk::Data { address, bytes } => (address, address + bytes.len() as u64, true),
                Chunk::Zeros { start, end } => panic!("no hole is known: {start:#x} to {end:#x}"),
                Chunk::Unreadable { start, end, why } => (start, end, why != NotRead::End),
            });
            Ok(())
        };
        ChunkReader::new(&Ends, PAGE, 8192).unwrap().read(&segments, note).unwrap();
        assert_eq!(pieces, [(0, 5000, true), (5000, 8192, false), (8192, 12_288, false)]);
    }

    #[test]
    fn what_is_known_to_be_zeros_is_not_read_and_is_in_its_place() {
        let memory = Faulty { bad_pages: (2..7).collect(), longest: usize::MAX };
        let segments = [segment(0, 9 * PAGE), segment(1 << 30, (1 << 30) + PAGE), segment(100 * PAGE, 101 * PAGE)];
        let holes = [2 * PAGE + 1..7 * PAGE, 100 * PAGE..(1 << 30) + 1];
        let mut pieces = Vec::new();
        let note = |piece: Chunk<'_>| {
            pieces.push(match piece {
                Chunk::Data { address, bytes } => (address, address + bytes.len() as u64, "data"),
                Chunk::Zeros { start, end } => (start, end, "zeros"),
                Chunk::Unreadable { start, end, .. } => (start, end, "unreadable"),
            });
            Ok(())
        };
        ChunkReader::new(&memory, PAGE, 8 << 10).unwrap().with_holes(&holes).read(&segments, note).unwrap();
        let expected = [
            (0, 2 * PAGE, "data"),
            (2 * PAGE, 2 * PAGE + 1, "unreadable"),
            (2 * PAGE + 1, 7 * PAGE, "zeros"),
            (7 * PAGE, 8 * PAGE, "data"),
            (8 * PAGE, 9 * PAGE, "data"),
            (1 << 30, (1 << 30) + 1, "zeros"),
            ((1 << 30) + 1, (1 << 30) + PAGE, "data"),
            (100 * PAGE, 101 * PAGE, "zeros"),
        ];
        assert_eq!(pieces, expected);
    }

    #[test]
    fn small_parts_are_taken_together_as_far_as_the_buffer_goes() {
        let segments: Vec<Segment> =
            (0..5000).map(|number| segment(number * 3 * PAGE, (number * 3 + 1) * PAGE)).collect();
        let hole = 3 * PAGE..4 * PAGE;
        let batches: Vec<_> = Batches::new(&segments, 4 * 4096, std::slice::from_ref(&hole)).collect();
        // Holes take no room.
        assert_eq!(batches[..3].iter().map(Vec::len).collect::<Vec<_>>(), [5, 4, 4]);
        let parts: Vec<_> = batches.iter().flatten().map(|part| part.range.clone()).collect();
        assert_eq!(parts, segments.iter().map(|segment| segment.start..segment.end).collect::<Vec<_>>());
        let largest = Batches::new(&segments, 16 << 20, &[]).map(|batch| batch.len()).max();
        assert_eq!(largest, Some(MAX_PARTS));
        read_all(&Faulty { bad_pages: (3000..6000).collect(), longest: 1000 }, &segments, 1 << 18);
    }

    #[test]
    fn after_an_error_nothing_more_is_taken() {
        let memory = Faulty { bad_pages: BTreeSet::new(), longest: usize::MAX };
        let segments = [segment(0, 1 << 20)];
        for last in [1, 2, 3, 4, 200] {
            let mut taken = 0;
            let take = |_: Chunk<'_>| {
                taken += 1;
                if taken == last { Err(Error::Refused("enough".to_owned())) } else { Ok(()) }
            };
            let error = ChunkReader::new(&memory, PAGE, 1).unwrap().read(&segments, take).unwrap_err();
            assert_eq!((taken, error.to_string()), (last, "enough".to_owned()));
        }
    }

    #[test]
    #[should_panic(expected = "the test's own")]
    fn a_panic_in_one_thread_does_not_leave_the_others_waiting() {
        let memory = Faulty { bad_pages: BTreeSet::new(), longest: usize::MAX };
        let take = |_: Chunk<'_>| panic!("the test's own");
        let _ = ChunkReader::new(&memory, PAGE, 1).unwrap().read(&[segment(0, 1 << 20)], take);
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
        assert!(ChunkReader::new(&memory, 0, 1).is_err());
        assert!(ChunkReader::new(&memory, 3000, 1).is_err());
        assert!(ChunkReader::new(&memory, 4096, usize::MAX).is_err());
    }
}
