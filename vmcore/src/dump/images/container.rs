//! The flattened form of a dump, which is written to pipes: parts of the file, each with the place where it belongs
//! (makedumpfile's IMPLEMENTATION, QEMU's `dump/dump.c`).

use super::fields::Fields;
use super::pieces::{Piece, Pieces, part_for};
use super::{Result, damaged};
use crate::dump::byte_source::ByteSource;
use std::io;

/// What it begins with.
pub(super) const SIGNATURE: &[u8] = b"makedumpfile\0\0\0\0";
/// Bytes of its header.
const HEADER: u64 = 4096;
/// Bytes before each part.
const PART: usize = 16;

/// What a dump's bytes are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    parts: Option<Pieces>,
    /// Whether the end is marked.
    pub is_whole: bool,
}

impl Container {
    /// The file itself.
    pub const fn plain() -> Self {
        Self { parts: None, is_whole: true }
    }

    pub const fn is_flattened(&self) -> bool {
        self.parts.is_some()
    }

    /// Bytes of the dump.
    pub fn length(&self, volume: &ByteSource) -> u64 {
        self.parts.as_ref().map_or_else(|| volume.length(), Pieces::end)
    }

    /// Fills the buffer with bytes of the dump, as far as there are any; tells how many there were.
    pub fn read(&self, volume: &ByteSource, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(parts) = &self.parts else { return volume.read_at(at, buffer) };
        let buffer = part_for(buffer, parts.end().saturating_sub(at));
        let mut done = 0;
        while let Some(rest @ [_, ..]) = buffer.get_mut(done..) {
            let (place, size) = parts.place_of(at.saturating_add(done as u64));
            let part = part_for(rest, size);
            let read = match place {
                Some(place) => volume.read_at(place, part)?,
                None => {
                    part.fill(0);
                    part.len()
                }
            };
            done += read;
            if read == 0 {
                break;
            }
        }
        Ok(done)
    }

    /// So many bytes of the dump; `None` where it ends before.
    pub fn bytes<const N: usize>(&self, volume: &ByteSource, at: u64) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        Ok((self.read(volume, at, &mut bytes)? == N).then_some(bytes))
    }
}

/// Finds out where the parts of a flattened dump belong. Each takes more bytes in the file than in the list.
pub(super) fn flattened(volume: &ByteSource) -> Result<Container> {
    let header: Option<[u8; 32]> = volume.array_at(0)?;
    let kind = header.as_ref().and_then(|header| {
        let fields = Fields::big(header);
        Some((fields.u64(16)?, fields.u64(24)?))
    });
    if kind != Some((1, 1)) {
        return damaged("flattened header", "its type and version are not 1");
    }
    let mut parts = Vec::new();
    let mut at = HEADER;
    let is_whole = loop {
        let Some(header) = volume.array_at::<PART>(at)? else { break false };
        let fields = Fields::big(&header);
        let (Some(offset), Some(size)) = (fields.u64(0), fields.u64(8)) else { break false };
        if (offset, size) == (u64::MAX, u64::MAX) {
            break true;
        }
        let start = at.saturating_add(PART as u64);
        let (true, Some(_), Some(end)) = (size > 0, offset.checked_add(size), start.checked_add(size)) else {
            return damaged(format!("flattened part at {at}"), format!("it is {size} bytes at {offset}"));
        };
        parts.push(Piece::plain(offset, size.min(volume.length().saturating_sub(start)), start));
        if end > volume.length() {
            break false;
        }
        at = end;
    };
    Ok(Container { parts: Some(Pieces::from_written(parts)), is_whole })
}
