//! A compressed dump that can only be read from front to back: it is decompressed as far as somebody reads it, and what
//! was passed on the way is kept in a file without a name, in compressed blocks; blocks of zeros take no room in it.

use super::block_cache::BlockCache;
use super::byte_source::{ByteSource, ReadAt};
use super::stream::{Stream, StreamError};
use crate::bounds::{filled, head_mut, item, saturating_usize, tail};
use crate::error::{Error, Result};
use crate::kerneldump::Compression;
use crate::opened::{Scratch, read_exact_at, write_all_at};
use crate::progress::Progress;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a block.
const BLOCK: usize = 256 << 10;
/// Blocks that are kept decompressed.
const KEPT: usize = 256;

/// The compressed bytes, owned.
struct Packed {
    volume: ByteSource,
    at: u64,
    end: u64,
    done: Arc<Progress>,
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.volume.read_at(self.at, head_mut(buffer, self.end.saturating_sub(self.at)))?;
        self.at += read as u64;
        self.done.add(read as u64);
        Ok(read)
    }
}

/// Where a block is in the file.
#[derive(Clone, Copy, Default)]
enum Place {
    /// It is all zeros, and nowhere.
    #[default]
    Zeros,
    At {
        offset: u64,
        length: u32,
    },
}

/// How a stream ended.
enum End {
    At(u64),
    Stopped(io::ErrorKind, Option<i32>, String),
}

impl End {
    fn error(&self) -> Option<io::Error> {
        match self {
            Self::At(_) => None,
            Self::Stopped(_, Some(errno), _) => Some(io::Error::from_raw_os_error(*errno)),
            Self::Stopped(kind, None, why) => Some(io::Error::new(*kind, why.clone())),
        }
    }
}

struct Passed {
    stream: Stream<'static>,
    places: Vec<Place>,
    /// Bytes in the file.
    stored: u64,
    end: Option<End>,
    blocks: BlockFormat,
}

/// What a dump is decompressed to.
pub(super) struct Unpacked {
    passed: Mutex<Passed>,
    file: File,
    limit: u64,
    directory: PathBuf,
    kept: BlockCache,
    done: Arc<Progress>,
}

impl Unpacked {
    /// Of part of a volume that is compressed so.
    pub(super) fn new(
        volume: &ByteSource,
        (at, end): (u64, u64),
        compression: Compression,
        scratch: Scratch<'_>,
    ) -> Result<Self> {
        let failed = |source| Error::Io { what: "read the dump".to_owned(), source };
        let done = Arc::new(Progress::default());
        let packed = Packed { volume: volume.clone(), at, end, done: Arc::clone(&done) };
        let stream = Stream::over(packed, compression).map_err(failed)?;
        let file = (scratch.create)(scratch.directory)
            .map_err(|source| Error::io("create a temporary file in", scratch.directory, source))?;
        let blocks = BlockFormat::new().map_err(failed)?;
        let passed = Passed { stream, places: Vec::new(), stored: 0, end: None, blocks };
        Ok(Self {
            passed: Mutex::new(passed),
            file,
            limit: scratch.limit,
            directory: scratch.directory.to_owned(),
            kept: BlockCache::new(KEPT, BLOCK),
            done,
        })
    }

    fn passed(&self) -> MutexGuard<'_, Passed> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decompresses all of it, and tells how many bytes it has; the progress counts compressed ones.
    pub(super) fn to_end(&self, progress: &Progress) -> Result<u64> {
        let mut counted = 0;
        loop {
            let mut passed = self.passed();
            if let Some(end) = &passed.end {
                return match end {
                    End::At(length) => Ok(*length),
                    End::Stopped(io::ErrorKind::InvalidData, None, why) => Err(Error::Format(why.clone())),
                    End::Stopped(kind, ..) => Err(Error::Io {
                        what: "read the dump".to_owned(),
                        source: end.error().unwrap_or_else(|| (*kind).into()),
                    }),
                };
            }
            self.pass(&mut passed);
            let done = self.done.done();
            progress.add(done.saturating_sub(counted));
            counted = done;
        }
    }

    /// Decompresses one more block.
    fn pass(&self, passed: &mut Passed) {
        if let Err(stop) = self.next_block(passed) {
            passed.end = Some(match stop {
                StreamError::Io(error) => End::Stopped(error.kind(), error.raw_os_error(), error.to_string()),
                stop => End::Stopped(io::ErrorKind::InvalidData, None, stop.to_string()),
            });
        }
    }

    fn next_block(&self, passed: &mut Passed) -> std::result::Result<(), StreamError> {
        let mut buffer = vec![0; BLOCK];
        let (mut read, mut stop) = (0, None);
        // Of a block that ends early, what there is counts.
        while let Some(rest @ [_, ..]) = buffer.get_mut(read..) {
            match passed.stream.read(rest) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) => {
                    stop = Some(error);
                    break;
                }
            }
        }
        let block = filled(&buffer, read).map_err(StreamError::Io)?;
        if !block.is_empty() {
            let failed = |error: io::Error| {
                let what = format!("decompress the dump into {}: {error}", self.directory.display());
                StreamError::Io(io::Error::new(error.kind(), what))
            };
            let place = self.store(passed, block).map_err(failed)?;
            passed.places.push(place);
        }
        match stop {
            Some(stop) => Err(stop),
            None if read < BLOCK => {
                passed.end = Some(End::At(passed.stream.position()));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn store(&self, passed: &mut Passed, block: &[u8]) -> io::Result<Place> {
        if block.len() == BLOCK && block.iter().all(|byte| *byte == 0) {
            return Ok(Place::Zeros);
        }
        let bytes = passed.blocks.pack(block)?;
        let (offset, length) = (passed.stored, u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?);
        if offset.saturating_add(length.into()) > self.limit {
            let what = format!("it takes more than the {} bytes that --scratch-limit allows", self.limit);
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, what));
        }
        write_all_at(&self.file, &bytes, offset)?;
        passed.stored += u64::from(length);
        Ok(Place::At { offset, length })
    }

    /// A block that has been passed.
    fn load(&self, place: Place) -> io::Result<Vec<u8>> {
        let Place::At { offset, length } = place else { return Ok(vec![0; BLOCK]) };
        let mut bytes = vec![0; saturating_usize(length)];
        read_exact_at(&self.file, &mut bytes, offset)?;
        BlockFormat::unpack(bytes)
    }
}

impl ReadAt for Unpacked {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let number = at / BLOCK as u64;
        let block = self.kept.get(number, BLOCK, |buffer| {
            let mut passed = self.passed();
            while passed.places.len() as u64 <= number && passed.end.is_none() {
                self.pass(&mut passed);
            }
            if passed.places.len() as u64 <= number {
                return passed.end.as_ref().and_then(End::error).map_or(Ok(0), Err);
            }
            let place = item(&passed.places, number);
            drop(passed);
            self.load(place)?.as_slice().read(buffer)
        })?;
        let read = tail(&block, at % BLOCK as u64).read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            // The last block ends where the stream does, or where it cannot be read on.
            return self.passed().end.as_ref().and_then(End::error).map_or(Ok(0), Err);
        }
        Ok(read)
    }
}

/// How blocks are in the file.
#[cfg(feature = "zstd")]
struct BlockFormat(zstd::bulk::Compressor<'static>);

#[cfg(feature = "zstd")]
impl BlockFormat {
    /// Faster than most disks, and a third of the size.
    const LEVEL: i32 = -3;

    fn new() -> io::Result<Self> {
        zstd::bulk::Compressor::new(Self::LEVEL).map(Self)
    }

    fn pack(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        self.0.compress(block)
    }

    fn unpack(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        zstd::bulk::decompress(&bytes, BLOCK)
    }
}

#[cfg(not(feature = "zstd"))]
struct BlockFormat;

#[cfg(not(feature = "zstd"))]
impl BlockFormat {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    fn pack(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        Ok(block.to_vec())
    }

    fn unpack(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok(bytes)
    }
}
