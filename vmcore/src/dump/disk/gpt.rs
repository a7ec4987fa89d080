//! GUID partition tables (UEFI specification 2.10, section 5.3; FreeBSD's `sys/sys/disk/gpt.h`).

use super::{ByteSource, Disk, Partition, Scheme, range};
use crate::bounds::{filled, head, saturating_usize, tail};
use std::io;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub const SIGNATURE: [u8; 8] = *b"EFI PART";
/// Bytes of the header as far as its fields reach.
const HEADER: usize = 92;
/// A table with more bytes of entries is not read; the usual one has 16 KiB.
const MAX_TABLE: u64 = 1 << 20;
/// The smallest entry.
const ENTRY: usize = 128;
/// Sizes that sectors may have, where nobody tells it.
const SECTORS: [u32; 2] = [512, 4096];

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct Header {
    signature: [u8; 8],
    revision: U32,
    size: U32,
    crc: U32,
    reserved: U32,
    this_sector: U64,
    other_sector: U64,
    first_usable: U64,
    last_usable: U64,
    disk: [u8; 16],
    table_sector: U64,
    entry_count: U32,
    entry_size: U32,
    table_crc: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Entry {
    kind: [u8; 16],
    unique: [u8; 16],
    first: U64,
    last: U64,
    attributes: U64,
    name: [U16; 36],
}

/// Reads a GPT by the header at the disk's beginning or, where that is damaged, by the one in its last sector.
pub fn read(volume: &ByteSource, sector_size: Option<u32>) -> io::Result<Option<Disk>> {
    let sizes = SECTORS.into_iter().filter(|_| sector_size.is_none()).chain(sector_size);
    let mut damaged = None;
    for sector_size in sizes.clone() {
        match table(volume, sector_size, 1)? {
            Table::Read(partitions) => return Ok(Some(disk(sector_size, partitions, Vec::new()))),
            Table::Damaged(why) => damaged = damaged.or(Some((sector_size, why))),
            Table::None => {}
        }
    }
    for sector_size in sizes {
        let Some(last) = (volume.length() / u64::from(sector_size.max(1))).checked_sub(1) else { continue };
        let backup = table(volume, sector_size, last)?;
        let why = damaged.as_ref().map_or("there is none", |(_, why)| why);
        match backup {
            Table::Read(partitions) => {
                let warning =
                    format!("the first GPT header is damaged ({why}); the one at the end of the disk is used");
                return Ok(Some(disk(sector_size, partitions, vec![warning])));
            }
            Table::Damaged(other) => {
                let warning = format!("both GPT headers are damaged: the first: {why}; the last: {other}");
                return Ok(Some(disk(sector_size, Vec::new(), vec![warning])));
            }
            Table::None => {}
        }
    }
    let none_left = |(sector_size, why)| {
        let warning = format!("the first GPT header is damaged ({why}), and there is none at the end of the disk");
        disk(sector_size, Vec::new(), vec![warning])
    };
    Ok(damaged.map(none_left))
}

fn disk(sector_size: u32, partitions: Vec<Partition>, warnings: Vec<String>) -> Disk {
    Disk { scheme: Scheme::Gpt, sector_size, partitions, warnings }
}

/// What a header leads to.
enum Table {
    None,
    Damaged(String),
    Read(Vec<Partition>),
}

/// The table of the header in a sector.
fn table(volume: &ByteSource, sector_size: u32, sector: u64) -> io::Result<Table> {
    let at = sector.checked_mul(sector_size.into());
    let bytes = at.map(|at| volume.array_at::<HEADER>(at)).transpose()?.flatten();
    let Some(header) = bytes.and_then(|bytes| Header::read_from_bytes(&bytes).ok()) else { return Ok(Table::None) };
    if header.signature != SIGNATURE {
        return Ok(Table::None);
    }
    match checked(volume, &header, sector_size, sector)? {
        Err(why) => Ok(Table::Damaged(why)),
        Ok(entry_size) => entries(volume, &header, sector_size, entry_size),
    }
}

/// The size of an entry, or what is wrong with a header.
fn checked(volume: &ByteSource, header: &Header, sector_size: u32, sector: u64) -> io::Result<Result<u64, String>> {
    let size = header.size.get();
    if saturating_usize(size) < HEADER || size > sector_size {
        return Ok(Err(format!("its size is {size}")));
    }
    let mut whole = vec![0; saturating_usize(sector_size)];
    let read = volume.read_at(sector.saturating_mul(sector_size.into()), &mut whole)?;
    let whole = head(filled(&whole, read)?, size);
    let mut hash = crc32fast::Hasher::new();
    hash.update(Header { crc: U32::ZERO, ..*header }.as_bytes());
    hash.update(tail(whole, HEADER));
    if hash.finalize() != header.crc.get() {
        return Ok(Err("its CRC is wrong".to_owned()));
    }
    if header.this_sector.get() != sector {
        return Ok(Err(format!("it says that it is in sector {}", header.this_sector)));
    }
    let (count, entry_size) = (u64::from(header.entry_count.get()), u64::from(header.entry_size.get()));
    if entry_size < ENTRY as u64 || !entry_size.is_power_of_two() || count * entry_size > MAX_TABLE {
        return Ok(Err(format!("it has {count} entries of {entry_size} bytes")));
    }
    Ok(Ok(entry_size))
}

/// The partitions of a table that has its checksum. It is read in parts, and only entries in use are kept.
fn entries(volume: &ByteSource, header: &Header, sector_size: u32, entry_size: u64) -> io::Result<Table> {
    let count = u64::from(header.entry_count.get());
    let Some(start) = header.table_sector.get().checked_mul(sector_size.into()) else {
        return Ok(Table::Damaged("its table is beyond the end of the disk".to_owned()));
    };
    let mut hash = crc32fast::Hasher::new();
    let mut partitions = Vec::new();
    let mut buffer = vec![0; saturating_usize(entry_size)];
    for number in 0..count {
        let read = volume.read_at(start.saturating_add(number * entry_size), &mut buffer)?;
        if read < buffer.len() {
            return Ok(Table::Damaged("its table is beyond the end of the disk".to_owned()));
        }
        hash.update(&buffer);
        if let Ok((entry, _)) = Entry::read_from_prefix(&buffer) {
            partitions.extend(partition(&entry, number + 1, sector_size, volume.length()));
        }
    }
    if hash.finalize() != header.table_crc.get() {
        return Ok(Table::Damaged("the CRC of its table is wrong".to_owned()));
    }
    Ok(Table::Read(partitions))
}

/// An entry that is in use, and all of which is on the disk.
fn partition(entry: &Entry, number: u64, sector_size: u32, end: u64) -> Option<Partition> {
    if entry.kind == [0; 16] {
        return None;
    }
    let (first, last) = (entry.first.get(), entry.last.get());
    let (start, end) = range(first, last.checked_sub(first)?.checked_add(1)?, sector_size, end)?;
    let units = entry.name.iter().map(|unit| unit.get()).take_while(|unit| *unit != 0);
    let label: String = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Some(Partition {
        name: number.to_string(),
        kind: kind(&entry.kind),
        label: Some(label).filter(|label| !label.is_empty()),
        start,
        end,
        sector_size,
    })
}

/// Types as gpart(8) calls them.
const KINDS: [(&str, &str); 13] = [
    ("516e7cb5-6ecf-11d6-8ff8-00022d09712b", "freebsd-swap"),
    ("516e7cb6-6ecf-11d6-8ff8-00022d09712b", "freebsd-ufs"),
    ("516e7cba-6ecf-11d6-8ff8-00022d09712b", "freebsd-zfs"),
    ("516e7cb8-6ecf-11d6-8ff8-00022d09712b", "freebsd-vinum"),
    ("516e7cb4-6ecf-11d6-8ff8-00022d09712b", "freebsd"),
    ("83bd6b9d-7f41-11dc-be0b-001560b84f0f", "freebsd-boot"),
    ("74ba7dd9-a689-11e1-bd04-00e081286acf", "freebsd-nandfs"),
    ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "efi"),
    ("21686148-6449-6e6f-744e-656564454649", "bios-boot"),
    ("0fc63daf-8483-4772-8e79-3d69d8477de4", "linux-data"),
    ("0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "linux-swap"),
    ("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "ms-basic-data"),
    ("e3c9e316-0b5c-4db8-817d-f92df00215ae", "ms-reserved"),
];

/// The name of a type, or its GUID.
fn kind(bytes: &[u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *bytes;
    let (first, second, third) =
        (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
    let [i, j, node @ ..] = rest;
    let node: String = node.iter().map(|byte| format!("{byte:02x}")).collect();
    let guid = format!("{first:08x}-{second:04x}-{third:04x}-{i:02x}{j:02x}-{node}");
    KINDS.iter().find(|(known, _)| *known == guid).map_or(guid, |(_, name)| (*name).to_owned())
}
