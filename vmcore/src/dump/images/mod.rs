//! Memory of virtual machines, and images of memory whose pages are compressed or scattered: a file for each format, which
//! finds out where each page is. What comes out is the same for all of them: [`ImageFacts`], which tell where memory is,
//! and a [`ByteSource`] in which all of it lies in a row, in the order of physical addresses; pages are decompressed as
//! they are read.
//!
//! What a file says is believed only as far as the file is long: the tables that are kept are in proportion to it.

mod avml;
mod bhyve;
mod chunks;
mod codec;
mod container;
mod facts;
mod fields;
mod kdump;
mod kdump_pages;
mod layout;
mod lzo;
pub(super) mod notes;
mod pieces;
mod processor;
mod qemu_ram;
mod qemu_state;
mod qemu_stream;
mod unit;
mod view;
mod vmware;
mod xen;

pub use facts::{ImageFacts, ImageFormat};
pub use notes::CoreWriter;
pub use processor::Processor;

use super::byte_source::{Beside, ByteSource};
use super::foreign::Foreign;
use super::{Depth, Findings};
use crate::bounds::head_mut;
use std::fmt;
use std::io;

/// Why an image is not read, or not all of it.
enum ImageError {
    /// The file cannot be read.
    Io(io::Error),
    /// It is not as it has to be: where, and what is wrong.
    Damaged(String, String),
    /// It is of a kind that is not read.
    Refused(Foreign),
}

impl From<io::Error> for ImageError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

type Result<T, E = ImageError> = std::result::Result<T, E>;

fn damaged<T>(place: impl fmt::Display, what: impl fmt::Display) -> Result<T> {
    Err(ImageError::Damaged(place.to_string(), what.to_string()))
}

const fn refused<T>(name: &'static str, remedy: &'static str) -> Result<T> {
    Err(ImageError::Refused(Foreign { name, remedy }))
}

/// The format that a file begins as.
pub(super) fn recognise(head: &[u8]) -> Option<ImageFormat> {
    use ImageFormat::{Avml, Kdump, KdumpFlattened, LibvirtSave, QemuState, VmwareState, XenCore};
    match head {
        _ if avml::is_avml(head) => Some(Avml),
        _ if head.starts_with(kdump::SIGNATURE) => Some(Kdump),
        _ if head.starts_with(container::SIGNATURE) => Some(KdumpFlattened),
        _ if head.starts_with(qemu_state::SIGNATURE) => Some(QemuState),
        _ if head.starts_with(qemu_state::LIBVIRT) => Some(LibvirtSave),
        _ if vmware::is_state(head) => Some(VmwareState),
        _ if xen::is_core(head) => Some(XenCore),
        _ => None,
    }
}

/// The format of a file that tells nothing itself, by what stands beside it.
pub(super) fn recognise_beside(volume: &ByteSource) -> Option<ImageFormat> {
    match volume.beside()? {
        (Beside::VmwareState, _) => Some(ImageFormat::VmwareMemory),
        (Beside::BhyveMetadata, metadata) => bhyve::is_checkpoint(metadata).then_some(ImageFormat::BhyveCheckpoint),
        (Beside::VmwareMemory, _) => None,
    }
}

/// What is in an image.
pub(super) enum ReadImage {
    Known(Box<ImageFacts>),
    Refused(Foreign),
    Damaged,
}

/// Finds out where memory is in an image; with [`Depth::Full`], reads all of it.
pub(super) fn read(
    volume: &ByteSource,
    format: ImageFormat,
    depth: Depth,
    findings: &mut Findings,
) -> io::Result<ReadImage> {
    let read = match format {
        ImageFormat::Avml => avml::read(volume),
        ImageFormat::Kdump => kdump::read(volume, container::Container::plain()),
        ImageFormat::KdumpFlattened => {
            container::flattened(volume).and_then(|container| kdump::read(volume, container))
        }
        ImageFormat::QemuState | ImageFormat::LibvirtSave => qemu_state::read(volume, format),
        ImageFormat::VmwareState | ImageFormat::VmwareMemory => vmware::read(volume, format),
        ImageFormat::XenCore => xen::read(volume),
        ImageFormat::BhyveCheckpoint => bhyve::read(volume),
        ImageFormat::BhyveMachine => bhyve::read_running(volume, findings),
    };
    let facts = match read {
        Ok(facts) => facts,
        Err(ImageError::Io(error)) => return Err(error),
        Err(ImageError::Damaged(place, what)) => {
            findings.damaged(place, what);
            return Ok(ReadImage::Damaged);
        }
        Err(ImageError::Refused(foreign)) => return Ok(ReadImage::Refused(foreign)),
    };
    for (place, what) in &facts.damage {
        findings.damaged(place, what);
    }
    if facts.ranges.is_empty() && !facts.damage.is_empty() {
        return Ok(ReadImage::Damaged);
    }
    if depth == Depth::Full && facts.damage.is_empty() {
        view::check(volume, &facts, findings)?;
    }
    Ok(ReadImage::Known(Box::new(facts)))
}

/// So many bytes from a place on, at most `limit`; fewer where the file ends before.
fn some_at(volume: &ByteSource, at: u64, length: u64, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; crate::bounds::at_most(length.min(volume.length().saturating_sub(at)), limit)];
    let read = volume.read_at(at, &mut bytes)?;
    let length = head_mut(&mut bytes, read).len();
    bytes.truncate(length);
    Ok(bytes)
}
