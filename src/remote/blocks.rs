//! What another host has, read at any place: in blocks, the last of which are kept, and in longer and longer requests
//! as long as one follows another.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use vmcore::bounds::{head_mut, saturating_usize, tail};
use vmcore::dump::byte_source::ReadAt;

/// Bytes of a block: a page table and what is near it, without much that is not asked for.
const BLOCK: u64 = 256 << 10;
/// Blocks that are kept: 64 MiB.
const KEPT: usize = 256;
/// Blocks that one request asks for at most: 8 MiB.
const LONGEST: u64 = 32;

/// Who answers requests for ranges of bytes.
pub trait Ranges: Send + Sync {
    /// So many bytes from a place on; fewer only where there are no more.
    ///
    /// # Errors
    ///
    /// They cannot be had, or are not those any more that were there at first.
    fn fetch(&self, at: u64, length: u64) -> io::Result<Vec<u8>>;
}

/// The blocks of something that is elsewhere.
pub struct Blocks<R> {
    ranges: R,
    length: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By their numbers, with when they were last used.
    blocks: BTreeMap<u64, (u64, Vec<u8>)>,
    /// Counts uses.
    clock: u64,
    /// The block behind the last request.
    next: u64,
    /// Blocks that the last request asked for.
    run: u64,
}

impl<R: Ranges> Blocks<R> {
    /// Of something of so many bytes.
    pub fn new(ranges: R, length: u64) -> Self {
        Self { ranges, length, kept: Mutex::default() }
    }

    /// Asks for a block, and for more behind it if the request before was for what is in front of it.
    fn fetch(&self, kept: &mut Kept, block: u64) -> io::Result<()> {
        kept.run = if block == kept.next { (kept.run * 2).clamp(1, LONGEST) } else { 1 };
        let mut count = 1;
        while count < kept.run && !kept.blocks.contains_key(&(block + count)) {
            count += 1;
        }
        let start = block.saturating_mul(BLOCK);
        let wanted = (count * BLOCK).min(self.length.saturating_sub(start));
        let bytes = self.ranges.fetch(start, wanted)?;
        if bytes.len() as u64 != wanted {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "fewer bytes came than were asked for"));
        }
        kept.next = block + count;
        for (number, bytes) in (block..).zip(bytes.chunks(saturating_usize(BLOCK))) {
            kept.clock += 1;
            kept.blocks.insert(number, (kept.clock, bytes.to_vec()));
        }
        while kept.blocks.len() > KEPT {
            let oldest = kept.blocks.iter().min_by_key(|(_, (used, _))| *used).map(|(number, _)| *number);
            oldest.and_then(|number| kept.blocks.remove(&number));
        }
        Ok(())
    }
}

impl<R: Ranges> ReadAt for Blocks<R> {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let buffer = head_mut(buffer, self.length.saturating_sub(at));
        if buffer.is_empty() {
            return Ok(0);
        }
        let block = at / BLOCK;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *kept;
        if !kept.blocks.contains_key(&block) {
            self.fetch(kept, block)?;
        }
        kept.clock += 1;
        let Some((used, bytes)) = kept.blocks.get_mut(&block) else { return Ok(0) };
        *used = kept.clock;
        io::Read::read(&mut tail(bytes, at % BLOCK), buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers, and the requests for them.
    struct Numbers(Mutex<Vec<(u64, u64)>>);

    fn number(at: u64) -> u8 {
        (at / 7 % 251) as u8
    }

    impl Ranges for &Numbers {
        fn fetch(&self, at: u64, length: u64) -> io::Result<Vec<u8>> {
            self.0.lock().unwrap().push((at, length));
            Ok((at..at + length).map(number).collect())
        }
    }

    fn read(blocks: &Blocks<&Numbers>, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut done = 0;
        while done < length {
            match blocks.read_at(at + done as u64, &mut bytes[done..]).unwrap() {
                0 => break,
                read => done += read,
            }
        }
        bytes.truncate(done);
        bytes
    }

    #[test]
    fn requests_grow_while_one_follows_another_and_what_is_kept_is_not_asked_for_again() {
        let numbers = Numbers(Mutex::default());
        let length = 100 * BLOCK + 5;
        let blocks = Blocks::new(&numbers, length);
        let whole: Vec<u8> = (0..length).map(number).collect();
        assert!(read(&blocks, 0, usize::try_from(length).unwrap()) == whole);
        let lengths: Vec<u64> = numbers.0.lock().unwrap().drain(..).map(|(_, length)| length.div_ceil(BLOCK)).collect();
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 32, 6]);
        assert_eq!(read(&blocks, 3 * BLOCK - 2, 4).len(), 4);
        assert!(numbers.0.lock().unwrap().is_empty());
        assert_eq!(read(&blocks, length, 1), [0; 0]);
    }

    #[test]
    fn what_jumps_about_asks_for_single_blocks_and_no_more_is_kept_than_there_is_room_for() {
        let numbers = Numbers(Mutex::default());
        let blocks = Blocks::new(&numbers, u64::MAX);
        let places: Vec<u64> = (0..2 * KEPT as u64).map(|number| number * 3 * BLOCK).collect();
        places.iter().for_each(|at| assert_eq!(read(&blocks, *at, 1), [number(*at)]));
        assert!(numbers.0.lock().unwrap().drain(..).all(|(_, length)| length == BLOCK));
        assert_eq!(blocks.kept.lock().unwrap().blocks.len(), KEPT);
        assert_eq!(read(&blocks, places[0], 1), [number(places[0])]);
        assert_eq!(numbers.0.lock().unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn every_byte_is_that_of_its_place(length in 0..20 * BLOCK, reads in prop::collection::vec((0..20 * BLOCK, 0..2000_usize), 1..20)) {
            let numbers = Numbers(Mutex::default());
            let blocks = Blocks::new(&numbers, length);
            for (at, wanted) in reads {
                let expected: Vec<u8> = (at.min(length)..(at + wanted as u64).min(length)).map(number).collect();
                prop_assert_eq!(read(&blocks, at, wanted), expected);
            }
        }
    }
}
