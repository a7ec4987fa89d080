//! The memory of an image in a row, as a file that is read at any place.

use super::codec::Codec;
use super::facts::ImageFacts;
use super::layout::Layout;
use super::pieces::{Piece, part_for};
use super::unit::{MAX_STORED, MAX_UNIT, Stored, Unit};
use crate::bounds::{at_most, filled, saturating_usize, tail};
use crate::dump::Findings;
use crate::dump::block_cache::BlockCache;
use crate::dump::byte_source::{ByteSource, ReadAt};
use crate::dump::extent::{Extent, in_a_row};
use crate::dump::memory_range::MemoryRange;
use std::io::{self, Read};
use std::sync::Arc;

/// Units of the largest size that are kept decompressed; of smaller ones there are more.
const KEPT: usize = 64;

struct View {
    volume: ByteSource,
    layout: Arc<Layout>,
    /// Units that were decompressed before, by where they begin.
    kept: BlockCache,
}

/// Fills a buffer with what a unit holds; `Ok(None)` where the file ends within it.
fn unpack(
    volume: &ByteSource,
    layout: &Layout,
    (at, length, codec): (u64, u64, Codec),
    out: &mut [u8],
) -> io::Result<Option<()>> {
    let mut stored = vec![0; at_most(length, saturating_usize(MAX_STORED))];
    if length > MAX_STORED {
        return Err(invalid(at, format!("it takes {length} bytes")));
    }
    if layout.read_stored(volume, at, &mut stored)? < stored.len() {
        return Ok(None);
    }
    codec.decompress(&stored, out).map(Some).map_err(|why| invalid(at, why))
}

fn invalid(at: u64, why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the page at {at} of the file is damaged: {why}"))
}

impl View {
    /// The part of a unit from a place on, which is decompressed and kept.
    fn keep(&self, unit: &Unit, place: (u64, u64, Codec), within: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let size = at_most(unit.size, saturating_usize(MAX_UNIT));
        let unit = self.kept.get(unit.start, size, |out| {
            let done = unpack(&self.volume, &self.layout, place, out)?;
            Ok(done.map_or(0, |()| out.len()))
        })?;
        tail(&unit, within).read(buffer)
    }
}

impl ReadAt for View {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(unit) = self.layout.unit_at(&self.volume, at)? else { return Ok(0) };
        let within = at.saturating_sub(unit.start);
        let part = part_for(buffer, unit.size.saturating_sub(within));
        match unit.stored {
            Stored::Zeros => {
                part.fill(0);
                Ok(part.len())
            }
            Stored::At(place, _, Codec::Plain) => {
                self.layout.read_stored(&self.volume, place.saturating_add(within), part)
            }
            // Who reads a whole unit need not wait for others.
            Stored::At(place, length, codec) if within == 0 && part.len() as u64 == unit.size => {
                let done = unpack(&self.volume, &self.layout, (place, length, codec), part)?;
                Ok(done.map_or(0, |()| part.len()))
            }
            Stored::At(place, length, codec) => self.keep(&unit, (place, length, codec), within, part),
        }
    }
}

/// An image whose memory is to be read.
pub(in crate::dump) struct OpenedImage {
    /// What the offsets are in.
    pub volume: ByteSource,
    /// Where memory is in `volume`, in ascending order.
    pub extents: Vec<Extent>,
    /// Whether `volume` is not the file itself but its memory in a row.
    pub is_view: bool,
}

impl ImageFacts {
    /// Opens the memory of an image that is in a volume. Where it lies in the file as it is, it is read and written there.
    pub(in crate::dump) fn open(&self, volume: ByteSource) -> OpenedImage {
        let Some(layout) = &self.layout else { return OpenedImage { volume, extents: Vec::new(), is_view: false } };
        let (volume, is_view) = match &**layout {
            Layout::Beside(_) => match volume.into_beside() {
                Ok(beside) => (beside, true),
                Err(volume) => (volume, false),
            },
            _ => (volume, false),
        };
        match &**layout {
            Layout::Pieces(pieces) | Layout::Beside(pieces)
                if pieces.are_plain() && pieces.iter().count() == self.ranges.len() =>
            {
                let extent = |piece: &Piece| {
                    piece.at.map(|offset| Extent { physical: piece.physical, size: piece.size, offset })
                };
                OpenedImage { volume, extents: pieces.iter().filter_map(extent).collect(), is_view }
            }
            _ => {
                let extents = in_a_row(self.ranges.iter().map(MemoryRange::bounds), 0);
                let length = layout.length();
                let view = View {
                    volume,
                    layout: Arc::clone(layout),
                    kept: BlockCache::new(KEPT, saturating_usize(MAX_UNIT)),
                };
                OpenedImage { volume: ByteSource::from_elsewhere(Box::new(view), length), extents, is_view: true }
            }
        }
    }
}

/// Damage that is listed at most.
const MAX_DAMAGE: usize = 20;

/// Reads all memory of an image, and says what of it cannot be.
pub(super) fn check(volume: &ByteSource, facts: &ImageFacts, findings: &mut Findings) -> io::Result<()> {
    let Some(layout) = &facts.layout else { return Ok(()) };
    let beside;
    let volume = match (&**layout, volume.beside()) {
        (Layout::Beside(_), Some((_, file))) => {
            beside = file;
            beside
        }
        _ => volume,
    };
    let mut buffer = vec![0; saturating_usize(MAX_UNIT)];
    let (mut at, mut damaged) = (0, 0);
    while at < layout.length() && damaged < MAX_DAMAGE {
        let unit = match layout.unit_at(volume, at) {
            Ok(Some(unit)) => unit,
            Ok(None) => {
                findings.damaged("pages", format!("the file ends before memory {at} of {}", layout.length()));
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                findings.damaged("pages", error);
                break;
            }
            Err(error) => return Err(error),
        };
        let size = unit.size.min(MAX_UNIT);
        let out = part_for(&mut buffer, size);
        let read = match unit.stored {
            Stored::Zeros => Ok(Some(())),
            Stored::At(place, _, Codec::Plain) => {
                let read = layout.read_stored(volume, place, out)?;
                Ok((filled(out, read)?.len() as u64 == size).then_some(()))
            }
            Stored::At(place, length, codec) => unpack(volume, layout, (place, length, codec), out),
        };
        match read {
            Ok(Some(())) => {}
            Ok(None) => {
                findings.damaged("pages", format!("the file ends within the memory {at} of {}", layout.length()));
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                damaged += 1;
                findings.damaged("pages", error);
            }
            Err(error) => return Err(error),
        }
        at = at.saturating_add(size.max(1));
    }
    Ok(())
}
