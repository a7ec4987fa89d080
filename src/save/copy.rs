//! The bytes of a dump on its device, read, decrypted and decompressed, and written on.

use super::CrashDump;
use crate::error::{Error, Result};
use std::io::{self, Read};
use vmcore::bounds::{filled, head, split_at_most};
use vmcore::decrypt::{Decrypter, KeyBlock, PrivateKey};
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::stream::{Stream, StreamError};
use vmcore::dump::{DumpLocation, Forwards};
use vmcore::format::writer::SparseWrite;
use vmcore::kerneldump::Compression;
use vmcore::progress::Progress;

/// Zeros in the dump become holes in the file, in blocks of so many bytes.
const HOLE: usize = 4096;
/// No key block is larger (`KERNELDUMP_ENCKEY_MAX_SIZE`, sys/kerneldump.h), made up to the largest sectors.
const MAX_KEY: u64 = 1 << 20;
/// What is encrypted ends at a multiple of this.
const SECTOR: u64 = 512;
/// So many bytes are copied at a time.
const PART: usize = 1 << 18;

/// The bytes of the dump that are to be stored.
pub(super) fn stream<'a>(
    volume: &'a ByteSource,
    device: &str,
    dump: &CrashDump,
    private_key: Option<&PrivateKey>,
    decompress: Compression,
    progress: &'a Progress,
) -> Result<Stream<'a>> {
    let DumpLocation { start, end, is_text, .. } = dump.found.location;
    let stream = match private_key {
        _ if is_text => Stream::over(Forwards::new(volume, start, end, progress), Compression::None),
        Some(private_key) if dump.is_encrypted() => {
            let mut block = Vec::new();
            let read = key_block(volume, dump, &Progress::default()).take(MAX_KEY).read_to_end(&mut block);
            read.map_err(|error| key_failed(device, error))?;
            let key = private_key.unlock(&KeyBlock::parse(&block)?)?;
            // A cipher may take whole blocks only, which the kernel writes even if the last one is not full.
            let whole = end.saturating_add(dump.size().wrapping_neg() % SECTOR);
            let part = volume.part(start, whole.min(dump.last.at), progress);
            Stream::over(Decrypter::new(key, part).take(dump.size()), decompress)
        }
        _ => Stream::new(volume, (start, end), decompress, progress),
    };
    stream.map_err(|error| cannot_read(device, StreamError::Io(error)))
}

/// What was copied.
pub(super) struct Copied {
    pub bytes: u64,
    /// The first of them.
    pub first: Vec<u8>,
}

/// Copies all there is.
pub(super) fn copy(stream: &mut Stream<'_>, device: &str, sink: &mut dyn SparseWrite) -> Result<Copied> {
    let mut buffer = vec![0; PART];
    let mut first = Vec::new();
    loop {
        let count = stream.read(&mut buffer).map_err(|stop| cannot_read(device, stop))?;
        if count == 0 {
            return Ok(Copied { bytes: sink.position(), first });
        }
        let part = filled(&buffer, count).map_err(|error| cannot_read(device, StreamError::Io(error)))?;
        first.extend_from_slice(head(part, PART - first.len().min(PART)));
        store(part, sink)?;
    }
}

/// Stores bytes; blocks of zeros become holes.
fn store(part: &[u8], sink: &mut dyn SparseWrite) -> Result<()> {
    let is_zero = |block: &&[u8]| block.iter().all(|byte| *byte == 0);
    let blocks: Vec<&[u8]> = part.chunks(HOLE).collect();
    let mut rest = part;
    for run in blocks.chunk_by(|a, b| is_zero(a) == is_zero(b)) {
        let length: usize = run.iter().map(|block| block.len()).sum();
        let (bytes, after) = split_at_most(rest, length);
        match run.first() {
            Some(first) if is_zero(first) => sink.zeros(length as u64)?,
            _ => sink.write(bytes)?,
        }
        rest = after;
    }
    Ok(())
}

fn cannot_read(device: &str, stop: StreamError) -> Error {
    match stop {
        StreamError::Io(source) => Error::Io { what: format!("read the dump on {device}"), source },
        stop => Error::Format(format!("{device}: {stop}")),
    }
}

/// The key block before an encrypted dump, in whole sectors.
pub(super) fn key_block<'a>(volume: &'a ByteSource, dump: &'a CrashDump, progress: &'a Progress) -> Box<dyn Read + 'a> {
    if let Some(key) = &dump.key {
        return Box::new(&**key);
    }
    let start = dump.found.location.start;
    Box::new(volume.part(start.saturating_sub(dump.header.key_size.into()), start, progress))
}

fn key_failed(device: &str, source: io::Error) -> Error {
    Error::Io { what: format!("save the key of the dump on {device}"), source }
}

/// The key block, as savecore(8) keeps it.
pub(super) fn key(volume: &ByteSource, device: &str, dump: &CrashDump) -> Result<Vec<u8>> {
    let progress = Progress::default();
    let size = dump.header.key_size;
    let mut key = Vec::new();
    let read = key_block(volume, dump, &progress).take(MAX_KEY).read_to_end(&mut key);
    read.map_err(|error| key_failed(device, error))?;
    if key.len() as u64 != u64::from(size) {
        return Err(Error::Format(format!("{device}: only {} of the key's {size} bytes exist", key.len())));
    }
    Ok(key)
}
