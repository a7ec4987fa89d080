//! Checkpoints of bhyve: `NAME` has the memory below the hole and then that above it, `NAME.meta` tells how much, as JSON,
//! `NAME.kern` has the state of the kernel's devices and processors, which is not read (`usr.sbin/bhyve/snapshot.c`,
//! `lib/libvmmapi/vmmapi.c`).

use super::facts::{ImageFacts, ImageFormat};
use super::layout::Layout;
use super::pieces::{Piece, Pieces};
use super::{Result, damaged, some_at};
use crate::architecture::Architecture;
use crate::dump::byte_source::ByteSource;
use serde::Deserialize;
use std::io;

/// `VM_LOWMEM_LIMIT`: where the hole begins.
const LOW_LIMIT: u64 = 3 << 30;
/// `VM_HIGHMEM_BASE`: where memory goes on.
const HIGH_BASE: u64 = 4 << 30;
/// Bytes of metadata that are read.
const MAX_METADATA: usize = 1 << 20;

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "basic metadata")]
    basic: Basic,
}

#[derive(Deserialize)]
struct Basic {
    memsize: u64,
}

fn metadata(file: &ByteSource) -> io::Result<Option<Metadata>> {
    let bytes = some_at(file, 0, file.length(), MAX_METADATA)?;
    Ok(serde_json::from_slice(&bytes).ok())
}

/// Whether a file tells of a checkpoint.
pub(super) fn is_checkpoint(file: &ByteSource) -> bool {
    metadata(file).is_ok_and(|metadata| metadata.is_some())
}

/// Finds out where memory is.
pub(super) fn read(volume: &ByteSource) -> Result<ImageFacts> {
    let metadata = match volume.beside() {
        Some((_, file)) => metadata(file)?,
        None => None,
    };
    let Some(size) = metadata.map(|metadata| metadata.basic.memsize).filter(|size| *size > 0) else {
        return damaged("metadata", "it does not tell how much memory there is");
    };
    let low = size.min(LOW_LIMIT);
    let there = volume.length().min(size);
    let pieces = [(0, low.min(there), 0), (HIGH_BASE, there.saturating_sub(low), low)];
    let pieces = pieces.into_iter().filter(|(_, size, _)| *size > 0);
    let pieces = Pieces::from_sorted(pieces.map(|(physical, size, at)| Piece::plain(physical, size, at)));
    let mut damage = Vec::new();
    if there < size {
        damage.push(("memory".to_owned(), format!("the file has {there} bytes of {size}")));
    }
    let facts = ImageFacts::new(ImageFormat::BhyveCheckpoint, Layout::Pieces(pieces));
    Ok(ImageFacts { architecture: Some(Architecture::Amd64), damage, ..facts })
}
