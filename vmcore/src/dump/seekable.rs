//! A dump that is compressed in frames which can be read alone, decompressed where it is read: Zstandard's seekable
//! format (`contrib/seekable_format/zstd_seekable_compression_format.md` of zstd), whose last frame, which decompressors
//! pass over, is a table of the others.
//!
//! The table is believed only where its frames fill the file to its own first byte, and each frame only where it has as
//! many bytes as the table says: then what is read is what would be read from front to back.

use super::block_cache::BlockCache;
use super::byte_source::{ByteSource, ReadAt};
use super::frames::{Frames, NoTable};
use crate::bounds::{saturating_usize, tail};
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};
use zeekstd::{BytesWrapper, SEEKABLE_MAGIC_NUMBER, SeekTable};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, little_endian};
use zstd::bulk::Decompressor;

/// The last bytes of a table.
#[derive(Default, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Footer {
    frames: little_endian::U32,
    descriptor: u8,
    magic: little_endian::U32,
}

/// In a footer's descriptor: the table has a checksum of each frame, too.
const HAS_CHECKSUMS: u8 = 1 << 7;
/// Bytes of the header of a frame that is passed over.
const SKIPPABLE_HEADER: u64 = 8;
/// Frames may have so many bytes, decompressed or not; what has larger ones is read from front to back.
const LARGEST_FRAME: u64 = 32 << 20;
/// What is kept of frames: 256 of those that memtool writes.
const KEPT: usize = 256;
const USUAL_FRAME: usize = 256 << 10;

/// The table of part of a volume that is compressed with Zstandard.
fn table_of(volume: &ByteSource, (start, end): (u64, u64)) -> io::Result<Result<SeekTable, NoTable>> {
    let foot_length = size_of::<Footer>() as u64;
    let foot_at = end.checked_sub(foot_length).filter(|at| *at >= start);
    let foot = foot_at.map(|at| volume.array_at::<{ size_of::<Footer>() }>(at)).transpose()?.flatten();
    let footer = foot.and_then(|foot| Footer::read_from_bytes(&foot).ok());
    let Some(footer) = footer.filter(|footer| footer.magic.get() == SEEKABLE_MAGIC_NUMBER) else {
        return Ok(Err(NoTable::Absent));
    };
    let damaged = |why: &str| Ok(Err(NoTable::Damaged(why.to_owned())));
    // The library has room for so many entries as the footer says: only a file that is as long may say so.
    let entry = if footer.descriptor & HAS_CHECKSUMS == 0 { 8 } else { 12 };
    let length = u64::from(footer.frames.get()) * entry + SKIPPABLE_HEADER + foot_length;
    let Some(table_at) = end.checked_sub(length).filter(|at| *at >= start) else {
        return damaged("it is longer than the file");
    };
    let mut bytes = Vec::new();
    let unseen = crate::progress::Progress::default();
    volume.part(table_at, end, &unseen).read_to_end(&mut bytes)?;
    let table = match SeekTable::from_seekable(&mut BytesWrapper::new(&bytes)) {
        Ok(table) => table,
        Err(why) => return damaged(&why.to_string()),
    };
    if table.size_comp() != table_at - start {
        return damaged("its frames do not fill the file");
    }
    let largest = table.max_frame_size_decomp().max(table.max_frame_size_comp());
    Ok(if largest > LARGEST_FRAME { Err(NoTable::LargeFrames(largest)) } else { Ok(table) })
}

/// Part of a volume in frames, decompressed.
struct FramedBytes {
    volume: ByteSource,
    start: u64,
    table: SeekTable,
    frames: BlockCache,
    /// Those that are not at work.
    decompressors: Mutex<Vec<Decompressor<'static>>>,
}

/// Part of a volume, decompressed where it is read; with how many frames it has, and how many bytes the largest.
pub(super) fn open(volume: &ByteSource, range: (u64, u64)) -> io::Result<Result<(ByteSource, Frames), NoTable>> {
    let table = match table_of(volume, range)? {
        Ok(table) => table,
        Err(why) => return Ok(Err(why)),
    };
    let (length, frames) =
        (table.size_decomp(), Frames { count: table.num_frames(), largest: table.max_frame_size_decomp() });
    let bytes = FramedBytes {
        volume: volume.clone(),
        start: range.0,
        table,
        frames: BlockCache::new(KEPT, USUAL_FRAME),
        decompressors: Mutex::default(),
    };
    Ok(Ok((ByteSource::from_elsewhere(Box::new(bytes), length), frames)))
}

fn damaged(frame: u32, why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("frame {frame} of the zstd stream is damaged: {why}"))
}

impl FramedBytes {
    /// Fills the buffer with a frame.
    fn decompress(&self, frame: u32, buffer: &mut [u8]) -> io::Result<usize> {
        let of_table = |why| damaged(frame, why);
        let at = self.table.frame_start_comp(frame).map_err(of_table)?;
        let packed_length = self.table.frame_size_comp(frame).map_err(of_table)?;
        let mut packed = vec![0; saturating_usize(packed_length)];
        if self.volume.read_at(self.start.saturating_add(at), &mut packed)? < packed.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let free = self.decompressors.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut decompressor = free.map_or_else(Decompressor::new, Ok)?;
        let length = decompressor.decompress_to_buffer(&packed, buffer).map_err(|why| damaged(frame, why))?;
        self.decompressors.lock().unwrap_or_else(PoisonError::into_inner).push(decompressor);
        if length == buffer.len() {
            Ok(length)
        } else {
            Err(damaged(frame, "it has not as many bytes as its table says"))
        }
    }
}

impl ReadAt for FramedBytes {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if at >= self.table.size_decomp() {
            return Ok(0);
        }
        let frame = self.table.frame_index_decomp(at);
        let first = self.table.frame_start_decomp(frame).map_err(|why| damaged(frame, why))?;
        let length = self.table.frame_size_decomp(frame).map_err(|why| damaged(frame, why))?;
        let bytes = self.frames.get(frame.into(), saturating_usize(length), |buffer| self.decompress(frame, buffer))?;
        match tail(&bytes, at.saturating_sub(first)).read(buffer)? {
            0 if !buffer.is_empty() => Err(damaged(frame, "its table is not in order")),
            read => Ok(read),
        }
    }
}
