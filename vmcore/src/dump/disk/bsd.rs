//! BSD disklabels (`sys/sys/disk/bsd.h`, `sys/geom/part/g_part_bsd.c`).

use super::{ByteSource, Disk, Partition, Scheme};
use std::io;
use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

const MAGIC: u32 = 0x8256_4557;
/// The partition that is the whole slice.
const RAW_PART: usize = 2;
/// Partitions that FreeBSD's labels have at most (`BSD_NPARTS_MAX`).
const MAX_PARTS: usize = 20;
/// Bytes before the partitions.
const BEFORE: usize = 148;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Label {
    magic: U32,
    before: [u8; 36],
    sector_size: U32,
    between: [u8; 88],
    magic2: U32,
    checksum: U16,
    count: U16,
    sizes: [U32; 2],
    parts: [Part; MAX_PARTS],
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct Part {
    count: U32,
    first: U32,
    fragment: U32,
    kind: u8,
    fragments: u8,
    group: U16,
}

const LABEL: usize = BEFORE + 16 * MAX_PARTS;

/// Reads the partitions of a disk that has a disklabel only.
pub fn read_disk(volume: &ByteSource, sector_size: u32) -> io::Result<Option<Disk>> {
    let partitions = read(volume, (0, volume.length()), sector_size, "")?;
    let disk = Disk { scheme: Scheme::Bsd, sector_size, partitions, warnings: Vec::new() };
    Ok((!disk.partitions.is_empty()).then_some(disk))
}

/// The partitions of the disklabel in the second sector of a slice, but for the one that is all of it; none where there is
/// no label. Their offsets count from where that one begins.
pub fn read(
    volume: &ByteSource,
    (start, end): (u64, u64),
    sector_size: u32,
    slice: &str,
) -> io::Result<Vec<Partition>> {
    let at = start.saturating_add(sector_size.into());
    let bytes = volume.array_at::<LABEL>(at)?.filter(|_| at < end);
    let label = bytes.as_ref().and_then(|bytes| Label::ref_from_bytes(bytes).ok());
    let is_right = |label: &&Label| {
        let magics = [label.magic, label.magic2].map(U32::get);
        magics == [MAGIC; 2] && label.sector_size.get() == sector_size && usize::from(label.count.get()) <= MAX_PARTS
    };
    let Some((bytes, label)) = bytes.as_ref().zip(label.filter(is_right)) else { return Ok(Vec::new()) };
    let count = usize::from(label.count.get());
    let words = bytes.chunks_exact(2).take((BEFORE + 16 * count) / 2);
    // The checksum is one of the words, so that all of them together are 0.
    let sum = words.fold(0, |sum, word| sum ^ word.iter().rev().fold(0, |word, byte| word << 8 | u16::from(*byte)));
    if sum != 0 {
        return Ok(Vec::new());
    }
    let raw = label.parts.get(RAW_PART).map_or(0, |raw| raw.first.get());
    let parts = label.parts.iter().take(count).zip('a'..).enumerate().filter(|(index, _)| *index != RAW_PART);
    let partition = |(_, (part, letter)): (usize, (&Part, char))| {
        let first = part.first.get().checked_sub(raw)?;
        let (first, last) = super::range(first.into(), part.count.get().into(), sector_size, end)?;
        let (first, last) = (start.checked_add(first)?, start.checked_add(last)?);
        (last <= end).then(|| Partition {
            name: format!("{slice}{letter}"),
            kind: kind_name(part.kind),
            label: None,
            start: first,
            end: last,
            sector_size,
        })
    };
    Ok(parts.filter_map(partition).collect())
}

/// Types as gpart(8) calls them.
fn kind_name(kind: u8) -> String {
    let name = match kind {
        1 => "freebsd-swap",
        7 => "freebsd-ufs",
        14 => "freebsd-vinum",
        27 => "freebsd-zfs",
        30 => "freebsd-nandfs",
        other => return format!("{other:#04x}"),
    };
    name.to_owned()
}
