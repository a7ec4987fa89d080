//! AVML's images of memory, version 2: for each range a header as `LiME` has it with another magic, then the range as
//! frames of snappy, then how many bytes those were (`src/image.rs` and `src/io/snappy.rs` of avml;
//! `framing_format.txt` of snappy). Version 1 is `LiME`'s.

use super::Result;
use super::chunks::{Chunk, Chunks};
use super::codec::Codec;
use super::facts::{ImageFacts, ImageFormat};
use super::fields::Fields;
use super::layout::Layout;
use super::unit::{MAX_STORED, MAX_UNIT};
use crate::dump::byte_source::ByteSource;

const MAGIC: &[u8] = b"AVML";
const VERSION: u32 = 2;
/// Bytes of a range's header, and of what follows its frames.
const HEADER: usize = 32;
const TRAILER: u64 = 8;
/// Bytes before what a frame holds: type and size; the checksum; the length of what is compressed.
const FRAME: u64 = 4;
const CHECKSUM: u64 = 4;

/// Whether the first bytes are those of such an image.
pub(super) fn is_avml(head: &[u8]) -> bool {
    head.starts_with(MAGIC) && head.get(4..8) == Some(&VERSION.to_le_bytes())
}

/// Finds the chunks of every range.
pub(super) fn read(volume: &ByteSource) -> Result<ImageFacts> {
    let mut chunks = Vec::new();
    let mut damage = Vec::new();
    let mut at = 0;
    while at < volume.length() {
        match range(volume, at, &mut chunks)? {
            Ok(end) => at = end,
            Err(what) => {
                damage.push((format!("AVML range at {at}"), what));
                break;
            }
        }
    }
    let facts = ImageFacts::new(ImageFormat::Avml, Layout::Chunks(Chunks::new(chunks)?));
    Ok(ImageFacts { page_compression: Some(Codec::Snappy.name()), damage, ..facts })
}

/// Adds the chunks of the range whose header is at a place; tells where the next one is, or what is wrong.
fn range(volume: &ByteSource, header_at: u64, chunks: &mut Vec<Chunk>) -> Result<Result<u64, String>> {
    let cut = || Ok(Err("the file ends within it".to_owned()));
    let Some(header) = volume.array_at::<HEADER>(header_at)? else { return cut() };
    let fields = Fields::little(&header);
    let (Some(start), Some(last)) = (fields.u64(8), fields.u64(16)) else { return cut() };
    if !is_avml(&header) {
        return Ok(Err("its magic and version are others".to_owned()));
    }
    let Some(end) = last.checked_add(1).filter(|end| *end > start) else {
        return Ok(Err(format!("invalid range {start:#x} to {last:#x}")));
    };
    let mut physical = start;
    let mut at = header_at.saturating_add(HEADER as u64);
    while physical < end {
        // A frame's header, its checksum, and the length of what is compressed, which takes up to five bytes.
        let Some(frame) = volume.array_at::<8>(at)? else { return cut() };
        let fields = Fields::little(&frame);
        let word = fields.u32(0).map_or(0, u64::from);
        let (kind, length) = (word & 0xff, word >> 8);
        let body = at.saturating_add(FRAME);
        let next = body.saturating_add(length);
        if next > volume.length() {
            return cut();
        }
        let data = body.saturating_add(CHECKSUM);
        let size = match kind {
            0x00 => snappy_length(volume, data)?,
            0x01 => length.checked_sub(CHECKSUM),
            0x80..=0xff => {
                at = next;
                continue;
            }
            _ => return Ok(Err(format!("a frame of type {kind:#x} at {at}"))),
        };
        let stored = length.checked_sub(CHECKSUM).filter(|stored| *stored <= MAX_STORED);
        let (Some(size), Some(stored)) = (size.filter(|size| (1..=MAX_UNIT).contains(size)), stored) else {
            return Ok(Err(format!("a frame of {length} bytes at {at} that no encoder writes")));
        };
        if physical.saturating_add(size) > end {
            return Ok(Err(format!("its frames hold more than {start:#x} to {end:#x}")));
        }
        let codec = if kind == 0 { Codec::Snappy } else { Codec::Plain };
        chunks.push(Chunk { physical, start: 0, size, at: data, stored, codec });
        physical = physical.saturating_add(size);
        at = next;
    }
    Ok(Ok(at.saturating_add(TRAILER)))
}

/// The length that compressed data begin with, seven bits in each byte.
fn snappy_length(volume: &ByteSource, at: u64) -> Result<Option<u64>> {
    let mut bytes = [0; 5];
    volume.read_at(at, &mut bytes)?;
    let mut length = 0;
    for (byte, shift) in bytes.iter().zip((0..).step_by(7)) {
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(Some(length));
        }
    }
    Ok(None)
}
