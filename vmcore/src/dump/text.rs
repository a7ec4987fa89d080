//! Text dumps, textdump(4): a tar archive (ustar) in blocks of 512 bytes, which a dump device holds backwards,
//! the first block last (`sys/ddb/db_textdump.c`).

use super::byte_source::ByteSource;
use super::stream::{Stream, StreamError};
use super::{Content, Findings, Inspection};
use crate::bounds::{at_most, head, part};
use crate::kerneldump::{Compression, Kind};
use crate::progress::Progress;
use crate::text::{Name, until_nul};
use serde::Serialize;
use std::io;

const BLOCK: usize = 512;

type Block = [u8; BLOCK];
/// More files are not in any text dump.
const MAX_MEMBERS: usize = 1000;

/// The files of a text dump, of which some may be missing (`db_capture.c`, `db_textdump.c`).
const NAMES: [&[u8]; 5] = [b"ddb.txt", b"config.txt", b"msgbuf.txt", b"panic.txt", b"version.txt"];

/// A file in a text dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its name.
    pub name: Name,
    /// Bytes of it.
    pub size: u64,
}

/// More of a file is not read. The kernel's buffers for messages and for what its debugger printed are smaller.
const MAX_FILE: u64 = 16 << 20;

/// A file in a text dump, with what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    /// Its name.
    pub name: Name,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Bytes of it that the dump does not have, or that are too many.
    pub missing: u64,
}

impl TextFile {
    /// Reads the files of a text dump; none of a dump of another kind.
    ///
    /// # Errors
    ///
    /// The dump cannot be read. That it is cut off, or not compressed as it should be, is no error.
    pub fn read_all(volume: &ByteSource, inspection: &Inspection) -> io::Result<Vec<Self>> {
        let Content::Text(members) = &inspection.content else { return Ok(Vec::new()) };
        let (start, end) = (inspection.location.start, inspection.location.end);
        let progress = Progress::default();
        let mut stream = if is_backwards(inspection) {
            Stream::over(Forwards::new(volume, start, end, &progress), Compression::None)?
        } else {
            Stream::new(volume, (start, end), inspection.compression, &progress)?
        };
        let mut files = Vec::new();
        for Member { name, size } in members {
            let bytes = contents(&mut stream, *size).or_else(StreamError::or_empty)?;
            let behind = size.next_multiple_of(BLOCK as u64).saturating_sub(bytes.len() as u64);
            stream.skip(behind).or_else(StreamError::or_empty)?;
            let missing = size.saturating_sub(bytes.len() as u64);
            files.push(Self { name: name.clone(), bytes, missing });
        }
        Ok(files)
    }
}

impl StreamError {
    /// Nothing in place of what is behind the end of a dump, or damaged; only an error of the file itself is one.
    fn or_empty<T: Default>(self) -> io::Result<T> {
        match self {
            Self::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(T::default()),
        }
    }
}

/// What is in a file whose header comes next.
fn contents(stream: &mut Stream<'_>, size: u64) -> Result<Vec<u8>, StreamError> {
    stream.skip(BLOCK as u64)?;
    stream.take_available(size.min(MAX_FILE))
}

/// Whether the archive is backwards, as on a device.
pub(super) fn is_backwards(inspection: &Inspection) -> bool {
    let header = inspection.location.header.as_ref();
    inspection.location.is_text || header.is_some_and(|header| header.kind == Kind::TextDump)
}

/// Whether a block begins a file of a tar archive.
pub fn is_member(block: &Block) -> bool {
    block.get(257..262) == Some(b"ustar")
}

/// Whether a block begins a text dump, and not another archive.
pub fn begins(block: &Block) -> bool {
    is_member(block) && NAMES.contains(&name(block))
}

/// The name of the file that a block begins.
fn name(block: &Block) -> &[u8] {
    until_nul(head(block, 100_usize))
}

/// The archive that a device holds backwards, in its right order.
pub struct Forwards<'a> {
    volume: &'a ByteSource,
    start: u64,
    /// Where what comes next ends.
    at: u64,
    /// What was read, blocks in their right order, and how much of it was handed over.
    read: Vec<u8>,
    taken: usize,
    progress: &'a Progress,
}

impl<'a> Forwards<'a> {
    /// The archive between these places, in whole blocks; the progress counts bytes.
    pub fn new(volume: &'a ByteSource, start: u64, end: u64, progress: &'a Progress) -> Self {
        Self { volume, start, at: end, read: Vec::new(), taken: 0, progress }
    }
}

impl io::Read for Forwards<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let remaining = self.at.saturating_sub(self.start);
        if self.taken == self.read.len() && remaining > 0 {
            let length = at_most(remaining, 128 * BLOCK);
            let mut bytes = vec![0; length];
            self.at -= length as u64;
            if self.volume.read_at(self.at, &mut bytes)? < length || !length.is_multiple_of(BLOCK) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.read = bytes.rchunks(BLOCK).flatten().copied().collect();
            self.taken = 0;
            self.progress.add(length as u64);
        }
        let mut rest = part(&self.read, self.taken..);
        let read = rest.read(buffer)?;
        self.taken += read;
        Ok(read)
    }
}

/// What comes after so many bytes.
enum Next {
    Block,
    End,
    /// Less than that many bytes, or less than a block behind them.
    CutOff,
}

/// Lists the archive that a device holds backwards.
pub fn backwards(volume: &ByteSource, start: u64, end: u64, findings: &mut Findings) -> io::Result<Vec<Member>> {
    let mut at = end;
    let mut next = |skip: u64, block: &mut Block| {
        let remaining = (at - start).checked_sub(skip);
        let Some(remaining) = remaining.filter(|remaining| *remaining == 0 || *remaining >= BLOCK as u64) else {
            return Ok(Next::CutOff);
        };
        if remaining == 0 {
            return Ok(Next::End);
        }
        at = start + remaining - BLOCK as u64;
        Ok(if volume.read_at(at, block)? == block.len() { Next::Block } else { Next::CutOff })
    };
    list(&mut next, findings)
}

/// Lists an archive as savecore(8) leaves it.
pub fn forwards(stream: &mut Stream<'_>, findings: &mut Findings) -> io::Result<Vec<Member>> {
    let mut stopped = None;
    let mut next = |skip: u64, block: &mut Block| {
        Ok(match stream.skip(skip).and_then(|()| stream.read(block)) {
            Ok(0) => Next::End,
            Ok(read) if read == block.len() => Next::Block,
            Ok(_) | Err(StreamError::End { .. }) => Next::CutOff,
            Err(stop) => {
                stopped = Some(stop);
                Next::End
            }
        })
    };
    let members = list(&mut next, findings)?;
    if let Some(stop) = stopped {
        findings.stopped("text dump", stop)?;
    }
    Ok(members)
}

/// Lists the files. The kernel does not write the empty blocks that end other archives.
fn list(next: &mut dyn FnMut(u64, &mut Block) -> io::Result<Next>, findings: &mut Findings) -> io::Result<Vec<Member>> {
    let mut members: Vec<Member> = Vec::new();
    let mut block = [0; BLOCK];
    let mut skip = 0;
    loop {
        let before = || members.last().map_or_else(|| "the beginning".to_owned(), |last| format!("'{}'", last.name));
        match next(skip, &mut block)? {
            Next::Block if block.iter().any(|byte| *byte != 0) => {}
            Next::Block | Next::End => break,
            Next::CutOff => {
                findings.damaged("text dump", format!("it is truncated in or after {}", before()));
                break;
            }
        }
        let size = block.get(124..136).and_then(octal);
        let (true, Some(size)) = (is_member(&block), size) else {
            findings.damaged("text dump", format!("the block after {} is not a file header", before()));
            break;
        };
        members.push(Member { name: name(&block).into(), size });
        if members.len() == MAX_MEMBERS {
            findings.damaged("text dump", format!("it has {MAX_MEMBERS} files or more"));
            break;
        }
        skip = size.next_multiple_of(BLOCK as u64);
    }
    Ok(members)
}

/// A number as tar writes it. 11 digits have 33 bits.
fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    u64::from_str_radix(text, 8).ok().filter(|size| *size < 1 << 33)
}

#[cfg(test)]
mod tests {
    use super::octal;

    #[test]
    fn sizes_are_octal() {
        assert_eq!(octal(b"00000001750\0"), Some(1000));
        assert_eq!(octal(b"       1750 "), Some(1000));
        assert_eq!(octal(b"77777777777\0"), Some((1 << 33) - 1));
        for bad in [&b"\0\0\0"[..], b"8", b"x", b"-1", &[0x80, 0, 0, 1], b"777777777777"] {
            assert_eq!(octal(bad), None, "{bad:?}");
        }
    }
}
