//! Master boot records and the logical partitions of extended ones (`sys/sys/disk/mbr.h`, `g_part_mbr.c`, `g_part_ebr.c`).

use super::{ByteSource, Disk, Partition, Scheme, bsd, range};
use std::io;
use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// A partition of FreeBSD, which has a disklabel.
const FREEBSD: u8 = 0xa5;
/// What protects a GPT from programs that do not know it.
const PROTECTIVE: u8 = 0xee;
/// Extended partitions, which have logical ones in them.
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// A chain of logical partitions is followed no further.
const MAX_LOGICAL: u32 = 128;
/// The number of the first logical partition.
const FIRST_LOGICAL: u32 = 5;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct Record {
    code: [u8; 446],
    entries: [Entry; 4],
    magic: [u8; 2],
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct Entry {
    flag: u8,
    first_chs: [u8; 3],
    kind: u8,
    last_chs: [u8; 3],
    first: U32,
    count: U32,
}

impl Entry {
    fn is_used(self) -> bool {
        self.kind != 0 && self.count.get() > 0
    }
}

/// The record at a place, if there is one: a boot sector of a file system has code where its entries would be.
fn record(volume: &ByteSource, at: u64) -> io::Result<Option<Record>> {
    let bytes = volume.array_at::<512>(at)?;
    let record = bytes.and_then(|bytes| Record::read_from_bytes(&bytes).ok());
    Ok(record
        .filter(|record| record.magic == [0x55, 0xaa] && record.entries.iter().all(|entry| entry.flag & 0x7f == 0)))
}

/// Reads the partitions of a disk with an MBR; `None` where there is none, or it says nothing that can be.
pub fn read(volume: &ByteSource, sector_size: u32) -> io::Result<Option<Disk>> {
    let Some(record) = record(volume, 0)? else { return Ok(None) };
    let mut disk = Disk { scheme: Scheme::Mbr, sector_size, partitions: Vec::new(), warnings: Vec::new() };
    let mut is_protective = false;
    for (number, entry) in (1..).zip(record.entries).filter(|(_, entry)| entry.is_used()) {
        is_protective |= entry.kind == PROTECTIVE;
        let first = u64::from(entry.first.get());
        // The record itself is in no partition.
        let Some((start, end)) =
            range(first, entry.count.get().into(), sector_size, volume.length()).filter(|_| first > 0)
        else {
            disk.warnings.push(format!("partition {number} of the MBR is not within the disk"));
            continue;
        };
        if EXTENDED.contains(&entry.kind) {
            logical(volume, &mut disk, (start, end))?;
        } else if entry.kind != PROTECTIVE {
            add(volume, &mut disk, number, entry.kind, (start, end))?;
        }
    }
    if is_protective {
        disk.warnings.push("the MBR says that there is a GPT, and there is none".to_owned());
    }
    Ok((!disk.partitions.is_empty() || is_protective).then_some(disk))
}

/// Adds a partition, and those of its disklabel.
fn add(volume: &ByteSource, disk: &mut Disk, number: u32, kind: u8, (start, end): (u64, u64)) -> io::Result<()> {
    let sector_size = disk.sector_size;
    let name = number.to_string();
    disk.partitions.push(Partition { name: name.clone(), kind: kind_name(kind), label: None, start, end, sector_size });
    if kind == FREEBSD {
        disk.partitions.extend(bsd::read(volume, (start, end), sector_size, &name)?);
    }
    Ok(())
}

/// Adds the logical partitions of an extended one. Each record has a partition, and leads to the next record.
fn logical(volume: &ByteSource, disk: &mut Disk, (start, end): (u64, u64)) -> io::Result<()> {
    let sector_size = u64::from(disk.sector_size);
    let mut at = start;
    for number in 0..MAX_LOGICAL {
        let Some(record) = record(volume, at)? else { return Ok(()) };
        let [entry, link, ..] = record.entries;
        let within = |base: u64, entry: Entry| {
            let (first, last) = range(entry.first.get().into(), entry.count.get().into(), disk.sector_size, end)?;
            let (first, last) = (base.checked_add(first)?, base.checked_add(last)?);
            (last <= end).then_some((first, last))
        };
        if let Some(place) = within(at, entry).filter(|_| entry.is_used() && entry.first.get() > 0) {
            add(volume, disk, FIRST_LOGICAL + number, entry.kind, place)?;
        }
        let next = start.checked_add(u64::from(link.first.get()) * sector_size);
        match next.filter(|next| link.is_used() && EXTENDED.contains(&link.kind) && *next > start && *next < end) {
            Some(next) => at = next,
            None => return Ok(()),
        }
    }
    disk.warnings.push(format!("more than {MAX_LOGICAL} logical partitions are not looked at"));
    Ok(())
}

/// Types as gpart(8) calls them.
fn kind_name(kind: u8) -> String {
    let name = match kind {
        0x01 => "fat12",
        0x04 | 0x06 | 0x0e => "fat16",
        0x07 => "ntfs",
        0x0b | 0x0c => "fat32",
        0x82 => "linux-swap",
        0x83 => "linux-data",
        FREEBSD => "freebsd",
        0xef => "efi",
        other => return format!("{other:#04x}"),
    };
    name.to_owned()
}
