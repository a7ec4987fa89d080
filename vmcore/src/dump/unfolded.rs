//! What is in a compressed dump or image of a device: decompressed where it is read, or from its beginning on.

use super::byte_source::ByteSource;
use super::locate::{Container, last_sectors};
use super::stream::{Stream, StreamError};
use super::unpacked::Unpacked;
use super::{Content, Damage, Depth, Inspection, disk, inspect, seekable};
use crate::bounds::filled;
use crate::error::{Error, Result};
use crate::kerneldump::{self, Compression};
use crate::opened::Scratch;
use crate::progress::Progress;
use std::io;

/// A volume with what was found in it.
pub(super) struct Unfolded {
    pub(super) volume: ByteSource,
    pub(super) inspection: Inspection,
    /// Whether what is read is kept in a file.
    pub(super) is_kept: bool,
}

fn failed(source: io::Error) -> Error {
    Error::Io { what: "read the dump".to_owned(), source }
}

pub(super) fn looked_at(volume: &ByteSource, progress: &Progress) -> Result<Inspection> {
    inspect(volume, Depth::Pages, progress).map_err(failed)
}

impl Unfolded {
    /// Goes on until nothing is compressed: an image of a device may be, and the dump in it once more.
    pub(super) fn all(mut self, scratch: Option<Scratch<'_>>, progress: &Progress) -> Result<Self> {
        while self.inspection.compression != Compression::None
            && self.inspection.content != Content::Encrypted
            && self.inspection.problem().is_none()
        {
            self = self.once(scratch, progress)?;
        }
        Ok(self)
    }

    fn once(self, scratch: Option<Scratch<'_>>, progress: &Progress) -> Result<Self> {
        let Self { volume, inspection: outer, is_kept } = self;
        // Of a disk that is compressed as a whole, a partition is still to be found.
        let partition = volume.partition().filter(|_| outer.location.partition.is_none()).map(str::to_owned);
        let range = (outer.location.start, outer.location.end);
        let framed = match outer.frames {
            Some(_) => seekable::open(&volume, range).map_err(failed)?.ok(),
            None => None,
        };
        let (volume, mut inspection, is_kept) = if let Some((bytes, _)) = framed {
            let bytes = bytes.with_partition(partition);
            let inspection = looked_at(&bytes, &Progress::default())?;
            (bytes, inspection, is_kept)
        } else {
            let scratch = scratch.ok_or(Error::Compressed(outer.compression))?;
            let unpacked = Unpacked::new(&volume, range, outer.compression, scratch)?;
            if matches!(outer.content, Content::Unknown | Content::Image(_)) {
                // Its end tells what it is.
                let length = unpacked.to_end(progress)?;
                let bytes = ByteSource::from_elsewhere(Box::new(unpacked), length).with_partition(partition);
                let inspection = looked_at(&bytes, &Progress::default())?;
                (bytes, inspection, true)
            } else {
                let mut inspection = outer.clone();
                inspection.compression = Compression::None;
                (inspection.location.start, inspection.location.end) = (0, u64::MAX);
                (ByteSource::from_elsewhere(Box::new(unpacked), u64::MAX), inspection, true)
            }
        };
        inspection.location.header = outer.location.header.or(inspection.location.header);
        for damage in outer.damage {
            if !inspection.damage.contains(&damage) {
                inspection.damage.push(damage);
            }
        }
        Ok(Self { volume, inspection, is_kept })
    }
}

/// As [`inspect`], and into the image of a dump device that is compressed as a whole: what of it is read is decompressed, and
/// kept in a file without a name in `scratch` where it has no table of frames.
///
/// # Errors
///
/// It cannot be read, or not decompressed.
pub fn inspect_packed<'a>(
    volume: &ByteSource,
    depth: Depth,
    scratch: impl Into<Option<Scratch<'a>>>,
    progress: &Progress,
) -> Result<Inspection> {
    let mut found = inspect(volume, depth, progress).map_err(failed)?;
    let may_be_image = found.compression != Compression::None
        && found.location.place == Container::File
        && found.content == Content::Unknown
        && found.problem().is_none();
    if !may_be_image {
        return Ok(found);
    }
    let is_device = found.frames.is_some()
        || match may_be_device(volume, &found) {
            Ok(is_device) => is_device,
            Err(StreamError::Io(source)) => return Err(failed(source)),
            Err(stop) => {
                found.damage.push(Damage { place: "compression".to_owned(), what: stop.to_string() });
                return Ok(found);
            }
        };
    if !is_device {
        return Ok(found);
    }
    let packed = found.compression;
    let inside = Unfolded { volume: volume.clone(), inspection: found.clone(), is_kept: false };
    match inside.once(scratch.into(), &Progress::default()) {
        Ok(Unfolded { volume, inspection, .. })
            if inspection.disk.is_some() || inspection.location.place == Container::Device =>
        {
            let inner = inspect(&volume, depth, &Progress::default()).map_err(failed)?;
            Ok(Inspection { packed, frames: found.frames, ..inner })
        }
        Ok(_) => Ok(found),
        Err(error) => Err(error),
    }
}

/// Bytes of the largest last sector of a device.
const LAST_SECTOR: usize = 4096;

/// Whether a compressed file ends with the last header of a dump device or a GPT, or begins with an MBR.
fn may_be_device(volume: &ByteSource, found: &Inspection) -> std::result::Result<bool, StreamError> {
    let range = (found.location.start, found.location.end);
    let progress = Progress::default();
    let mut stream = Stream::new(volume, range, found.compression, &progress).map_err(StreamError::Io)?;
    let mut tail = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        let bytes = filled(&buffer, read).map_err(StreamError::Io)?;
        if tail.is_empty() && disk::begins_as_disk(bytes) {
            return Ok(true);
        }
        tail.extend_from_slice(bytes);
        let before = tail.len().saturating_sub(LAST_SECTOR);
        tail.drain(..before);
    }
    let tail = ByteSource::from_bytes(tail);
    let found = last_sectors(&tail, None).any(|(at, _)| {
        let mut header = [0; kerneldump::HEADER_LENGTH];
        tail.read_at(at, &mut header).is_ok_and(|read| read == header.len())
            && (kerneldump::Header::decode(&header).is_ok() || disk::is_gpt_header(&header))
    });
    Ok(found)
}
