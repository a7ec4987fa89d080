//! The bytes of a dump from front to back, decompressed where they are compressed.

use super::byte_source::{ByteSource, SourceReader};
use crate::bounds::{at_most, filled, head, head_mut};
use crate::kerneldump::Compression;
use crate::progress::Progress;
#[cfg(feature = "gzip")]
use std::io::BufRead;
#[cfg(any(feature = "gzip", feature = "zstd"))]
use std::io::BufReader;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use zerocopy::transmute;

/// zstd needs a window of so many bytes at most, as a power of two: what zstd(1) takes without being asked.
#[cfg(feature = "zstd")]
const WINDOW_LOG: u32 = 27;

/// Why a dump cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// It ends.
    #[error("the dump ends after {at} bytes, {wanted} more are missing")]
    End {
        /// Bytes there were.
        at: u64,
        /// Bytes that are missing from what was to be read.
        wanted: u64,
    },
    /// What compresses it is damaged.
    #[error("the {compression} stream is damaged: {why}; {at} bytes could be decompressed")]
    Damaged {
        /// `gzip` or `zstd`.
        compression: &'static str,
        /// What the decompressor says.
        why: String,
        /// Bytes that could be decompressed.
        at: u64,
    },
    /// A frame of it is damaged; the others need not be.
    #[error("{0}")]
    Frame(String),
    /// The file cannot be read.
    #[error(transparent)]
    Io(io::Error),
}

enum StreamKind<'a> {
    Plain(SourceReader<'a>),
    Read(Compression, Box<dyn Read + Send + 'a>),
}

/// Bytes behind the end of what compresses a dump.
pub(super) type Ignored = Arc<AtomicU64>;

fn decompressed<'a>(
    from: impl Read + Send + 'a,
    compression: Compression,
    ignored: &Ignored,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(from),
        #[cfg(feature = "gzip")]
        Compression::Gzip => {
            let mut from = BufReader::new(from);
            let is_gzip = from.fill_buf()?.first().is_none_or(|first| *first == 0x1f);
            if is_gzip {
                Box::new(super::gzip::Gzip::new(from, Arc::clone(ignored)))
            } else {
                Box::new(flate2::bufread::ZlibDecoder::new(from))
            }
        }
        #[cfg(feature = "zstd")]
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(1 << 17, from))?;
            decoder.window_log_max(WINDOW_LOG)?;
            Box::new(decoder)
        }
        #[cfg(not(all(feature = "gzip", feature = "zstd")))]
        other => {
            let _ = ignored;
            let why = format!("it is compressed with {}, which this build does not support", other.name());
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
    })
}

/// A dump's bytes from front to back.
pub struct Stream<'a> {
    kind: StreamKind<'a>,
    position: u64,
    ignored: Ignored,
}

/// How a file that begins with these bytes is compressed.
pub fn compression_of(head: &[u8]) -> Compression {
    match head {
        [0x1f, 0x8b, 8, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// Frames of a Zstandard stream that decompressors pass over, as pzstd(1) puts before each other one (RFC 8878, 3.1.2):
/// the magic, of which 16 are for them, and the size of what follows.
pub(super) const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184d_2a50..=0x184d_2a5f;
/// A stream that begins with more of them is none.
const MAX_SKIPPABLE: usize = 1024;

/// Where a stream begins, behind frames that are passed over.
fn beginning_of(volume: &ByteSource, start: u64) -> io::Result<u64> {
    let mut at = start;
    for _ in 0..MAX_SKIPPABLE {
        let mut head = [0; 8];
        let read = volume.read_at(at, &mut head)?;
        let [magic, size] = <[[u8; 4]; 2]>::map(transmute!(head), u32::from_le_bytes);
        if read < head.len() || !SKIPPABLE.contains(&magic) {
            return Ok(at);
        }
        at = at.saturating_add(head.len() as u64).saturating_add(size.into());
    }
    Ok(start)
}

/// How a file is compressed; a zlib stream, as `LiME` writes, counts as gzip, whose decompressor it has.
///
/// # Errors
///
/// Those of read(2).
pub(super) fn compression_at(volume: &ByteSource, start: u64) -> io::Result<Compression> {
    if volume.running().is_some() {
        return Ok(Compression::None);
    }
    let mut head = [0; 1 << 10];
    let beginning = beginning_of(volume, start)?;
    let read = volume.read_at(beginning, &mut head)?;
    let head = filled(&head, read)?;
    let compression = compression_of(head);
    #[cfg(feature = "gzip")]
    if super::gzip::is_packed_lime(head) {
        return Ok(Compression::Gzip);
    }
    // Other streams have no such frames.
    Ok(if beginning > start && compression != Compression::Zstd { Compression::None } else { compression })
}

impl<'a> Stream<'a> {
    /// Reads part of a volume, compressed so.
    ///
    /// # Errors
    ///
    /// The decompressor cannot be set up.
    pub fn new(
        volume: &'a ByteSource,
        (start, end): (u64, u64),
        compression: Compression,
        progress: &'a Progress,
    ) -> io::Result<Self> {
        let part = volume.part(start, end, progress);
        let ignored = Ignored::default();
        let kind = match compression {
            Compression::None => StreamKind::Plain(part),
            compression => StreamKind::Read(compression, decompressed(part, compression, &ignored)?),
        };
        Ok(Self { kind, position: 0, ignored })
    }

    /// Reads what comes from elsewhere, compressed so.
    ///
    /// # Errors
    ///
    /// The decompressor cannot be set up.
    pub fn over(from: impl Read + Send + 'a, compression: Compression) -> io::Result<Self> {
        let ignored = Ignored::default();
        Ok(Self {
            kind: StreamKind::Read(compression, decompressed(from, compression, &ignored)?),
            position: 0,
            ignored,
        })
    }

    /// Whether it is decompressed.
    pub fn is_compressed(&self) -> bool {
        matches!(self.kind, StreamKind::Read(compression, _) if compression != Compression::None)
    }

    /// Bytes behind the end of a gzip stream, if they are not all zeros; known when all of it was read.
    pub fn ignored(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }

    /// Bytes that were read or left out so far, decompressed.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes in all, where that is known: not of compressed ones, nor of those from elsewhere.
    pub fn length(&self) -> Option<u64> {
        match &self.kind {
            StreamKind::Plain(part) => Some(self.position + part.remaining()),
            StreamKind::Read(..) => None,
        }
    }

    /// Fills the buffer as far as there are bytes, and tells how many there were.
    ///
    /// # Errors
    ///
    /// As [`StreamError`] says, but for the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError> {
        let mut done = 0;
        while let Some(rest @ [_, ..]) = buffer.get_mut(done..) {
            let read = match &mut self.kind {
                StreamKind::Plain(part) => part.read(rest),
                StreamKind::Read(_, from) => from.read(rest),
            };
            match read {
                Ok(0) => break,
                Ok(read) => {
                    done += read;
                    self.position += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.stop(error)),
            }
        }
        Ok(done)
    }

    /// An error of the file, or of the decompressor.
    fn stop(&self, error: io::Error) -> StreamError {
        match self.kind {
            StreamKind::Read(compression, _) if compression != Compression::None && error.raw_os_error().is_none() => {
                StreamError::Damaged { compression: compression.name(), why: error.to_string(), at: self.position }
            }
            // So says who decompresses where it is read.
            StreamKind::Plain(_) if error.kind() == io::ErrorKind::InvalidData => StreamError::Frame(error.to_string()),
            _ => StreamError::Io(error),
        }
    }

    /// Fills the buffer.
    ///
    /// # Errors
    ///
    /// As [`StreamError`] says.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<(), StreamError> {
        let wanted = buffer.len();
        let read = self.read(buffer)?;
        if read < wanted {
            return Err(StreamError::End { at: self.position, wanted: (wanted - read) as u64 });
        }
        Ok(())
    }

    /// Reads so many bytes, and needs no more memory than there are bytes.
    ///
    /// # Errors
    ///
    /// As [`StreamError`] says.
    pub fn take(&mut self, bytes: u64) -> Result<Vec<u8>, StreamError> {
        let mut taken = Vec::new();
        self.each(bytes, |part| taken.extend_from_slice(part))?;
        Ok(taken)
    }

    /// Reads so many bytes, or those that there are, and needs no more memory than for them.
    ///
    /// # Errors
    ///
    /// As [`StreamError`] says, but for the end.
    pub fn take_available(&mut self, bytes: u64) -> Result<Vec<u8>, StreamError> {
        let mut taken = Vec::new();
        let mut buffer = vec![0; at_most(bytes, 1 << 16)];
        let mut remaining = bytes;
        while remaining > 0 {
            let part = head_mut(&mut buffer, remaining);
            let read = self.read(part)?;
            taken.extend_from_slice(head(part, read));
            if read < part.len() {
                break;
            }
            remaining -= read as u64;
        }
        Ok(taken)
    }

    /// Calls with so many bytes, in parts whose lengths are multiples of 64 KiB, but for the last.
    ///
    /// # Errors
    ///
    /// As [`StreamError`] says.
    pub fn each(&mut self, bytes: u64, mut call: impl FnMut(&[u8])) -> Result<(), StreamError> {
        let mut buffer = vec![0; at_most(bytes, 1 << 18)];
        let mut remaining = bytes;
        while remaining > 0 {
            let part = head_mut(&mut buffer, remaining);
            self.fill(part)?;
            call(part);
            remaining -= part.len() as u64;
        }
        Ok(())
    }

    /// Leaves out so many bytes; those of a compressed dump are read all the same.
    ///
    /// # Errors
    ///
    /// As [`StreamError`] says.
    pub fn skip(&mut self, bytes: u64) -> Result<(), StreamError> {
        let StreamKind::Plain(part) = &mut self.kind else { return self.each(bytes, |_| {}) };
        let there = part.remaining().min(bytes);
        part.skip(there);
        self.position += there;
        if there < bytes {
            return Err(StreamError::End { at: self.position, wanted: bytes - there });
        }
        Ok(())
    }

    /// Counts what is left, to the end.
    ///
    /// # Errors
    ///
    /// As [`StreamError`] says, but for the end.
    pub fn rest(&mut self) -> Result<u64, StreamError> {
        let before = self.position;
        if let StreamKind::Plain(part) = &mut self.kind {
            let remaining = part.remaining();
            part.skip(remaining);
            return Ok(remaining);
        }
        let mut buffer = vec![0; 1 << 18];
        while self.read(&mut buffer)? > 0 {}
        Ok(self.position - before)
    }
}
