//! A file that is to a dump what memory is: zero pages, structures, text, code, and pages that do not compress.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

const PAGE: usize = 4096;

/// The most pages of one kind in a row. A MiB: avml leaves out 16 MiB that are all zero, and shall find none.
const RUN: u64 = 256;

/// To be changed with the contents, so that an older file is not taken for this one.
pub const VERSION: u32 = 1;

/// Makes the file, always the same; it is there as a whole or not at all.
pub fn make(path: &Path, size: u64) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = File::create(&part)?;
    let mut maker = Maker::new();
    let mut left = size;
    while left > 0 {
        let run = maker.run();
        let length = usize::try_from(left).map_or(run.len(), |left| left.min(run.len()));
        file.write_all(&run[..length])?;
        left -= length as u64;
    }
    // Not to be written out under the first measurements.
    file.sync_all()?;
    fs::rename(part, path)
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Mostly small numbers.
    fn skewed(&mut self, end: u64) -> usize {
        let end = 1 + self.below(end);
        usize::try_from(self.below(end)).unwrap()
    }
}

struct Maker {
    random: Random,
    words: Vec<Vec<u8>>,
    /// What text and code repeat.
    phrases: Vec<Vec<u8>>,
    blocks: Vec<Vec<u8>>,
}

impl Maker {
    fn new() -> Self {
        let mut random = Random(1);
        let words = many(1024, || many(2 + random.skewed(12), || b"etaoinshrdlucmfwypvbgkjqxz"[random.skewed(26)]));
        let phrases = many(4096, || many(1 + random.skewed(8), || &words[random.skewed(1024)][..]).join(&b' '));
        let instructions = many(512, || random.next().to_le_bytes());
        let blocks = many(4096, || many(1 + random.skewed(12), || &instructions[random.skewed(512)][..4]).concat());
        Self { random, words, phrases, blocks }
    }

    /// Pages of one kind.
    fn run(&mut self) -> Vec<u8> {
        let pages = 1 + self.random.skewed(RUN);
        let length = pages * PAGE;
        let mut run = Vec::with_capacity(length + 64);
        match self.random.below(100) {
            0..25 => run.resize(length, 0),
            25..50 => self.fill(&mut run, length, Self::structure),
            50..70 => self.fill(&mut run, length, Self::text),
            70..90 => self.fill(&mut run, length, Self::code),
            _ => self.fill(&mut run, length, |maker, run| run.extend(maker.random.next().to_le_bytes())),
        }
        run
    }

    fn fill(&mut self, run: &mut Vec<u8>, length: usize, add: impl Fn(&mut Self, &mut Vec<u8>)) {
        while run.len() < length {
            add(self, run);
        }
        run.truncate(length);
    }

    /// 64 bytes: pointers into the kernel, a counter, flags, a name, and room.
    fn structure(&mut self, run: &mut Vec<u8>) {
        let random = self.random.next();
        run.extend((0xffff_f800_0000_0000 | (random & 0xff_ffc0)).to_le_bytes());
        run.extend((0xffff_f800_0000_0000 | ((random >> 20) & 0xff_ffc0)).to_le_bytes());
        run.extend((run.len() as u64).to_le_bytes());
        run.extend((1_u64 << (random >> 60)).to_le_bytes());
        run.extend(&self.words[self.random.skewed(1024)]);
        run.resize(run.len().next_multiple_of(64), 0);
    }

    fn text(&mut self, run: &mut Vec<u8>) {
        let phrase = self.random.skewed(4096);
        run.extend(&self.phrases[phrase]);
        run.push(if phrase % 8 == 7 { b'\n' } else { b' ' });
    }

    /// A few instructions, and an operand.
    fn code(&mut self, run: &mut Vec<u8>) {
        run.extend(&self.blocks[self.random.skewed(4096)]);
        run.extend(&self.random.next().to_le_bytes()[..2]);
    }
}

fn many<T>(count: usize, make: impl FnMut() -> T) -> Vec<T> {
    std::iter::repeat_with(make).take(count).collect()
}
