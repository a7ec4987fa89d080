//! Where a dump begins and ends: in a file of its own, before a live dump's header, or between the two headers
//! of a dump device (`sys/kern/kern_shutdown.c`, `sbin/savecore/savecore.c`).

use super::byte_source::ByteSource;
use super::disk::Partition;
use super::{BEGINNING, Beginning, Findings, stream};
use crate::bounds::filled;
use crate::kerneldump::{self, Compression, HEADER_LENGTH, Header, HeaderError, Kind};
use serde::Serialize;
use std::io;

/// What a dump lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Container {
    /// A file that holds nothing else.
    File,
    /// A live dump's file, with its header still behind it.
    LiveDump,
    /// A dump device, or the image of one.
    Device,
}

/// Where a dump is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpLocation {
    /// What it lies in.
    pub place: Container,
    /// Its first byte, compressed or not.
    pub start: u64,
    /// The first byte behind it.
    pub end: u64,
    /// The kernel's header, if it is there.
    pub header: Option<Header>,
    /// Bytes of a device's sector.
    pub sector_size: Option<u32>,
    /// Whether it is a text dump on a device, cleared or not, which holds it backwards.
    pub is_text: bool,
    /// The partition that it is in, of a whole disk.
    pub partition: Option<Partition>,
}

impl DumpLocation {
    /// A file that holds nothing else.
    pub(super) fn file(volume: &ByteSource) -> Self {
        let end = volume.length();
        Self { place: Container::File, start: 0, end, header: None, sector_size: None, is_text: false, partition: None }
    }
}

/// A dump on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceDump {
    /// Where it is.
    pub location: DumpLocation,
    /// Where the last header is.
    pub last_at: u64,
    /// The last header, as it is.
    pub last: [u8; HEADER_LENGTH],
    /// The same as it was before the dump was cleared, if it was.
    pub uncleared: [u8; HEADER_LENGTH],
}

/// Sizes that a device's sectors may have, where nobody tells it.
const SECTORS: [u32; 2] = [512, 4096];

/// Where a device's last header may be: in its last sector. With the size of that.
pub fn last_sectors(volume: &ByteSource, sector_size: Option<u32>) -> impl Iterator<Item = (u64, u32)> {
    last_sectors_of((0, volume.length()), sector_size)
}

/// The same of a partition.
pub fn last_sectors_of((start, end): (u64, u64), sector_size: Option<u32>) -> impl Iterator<Item = (u64, u32)> {
    let sizes = SECTORS.into_iter().filter(move |_| sector_size.is_none()).chain(sector_size);
    sizes.filter_map(move |size| Some((end.checked_sub(size.into()).filter(|at| *at >= start)?, size)))
}

/// Whether the first bytes are those of a dump, or compressed.
pub(super) fn begins_as_dump(volume: &ByteSource) -> io::Result<bool> {
    let mut head = vec![0; BEGINNING];
    let read = volume.read_at(0, &mut head)?;
    let is_known = !matches!(Beginning::from_head(filled(&head, read)?), Beginning::Other | Beginning::Foreign(_));
    Ok(is_known || stream::compression_at(volume, 0)? != Compression::None)
}

/// Finds the dump of a device by its last header, whatever the device begins with. Where nobody tells the size of
/// its sectors, the usual ones are tried.
pub fn on_device(
    volume: &ByteSource,
    sector_size: Option<u32>,
    findings: &mut Findings,
) -> io::Result<Option<DeviceDump>> {
    within(volume, (0, volume.length()), sector_size, findings)
}

/// Finds the dump of a partition, as [`on_device`] does of a device; nothing outside the partition is part of it.
pub(super) fn on_partition(
    volume: &ByteSource,
    partition: &Partition,
    sector_size: Option<u32>,
    findings: &mut Findings,
) -> io::Result<Option<DeviceDump>> {
    let found = within(volume, (partition.start, partition.end), sector_size, findings)?;
    Ok(found.map(|found| DeviceDump {
        location: DumpLocation { partition: Some(partition.clone()), ..found.location },
        ..found
    }))
}

fn within(
    volume: &ByteSource,
    part: (u64, u64),
    sector_size: Option<u32>,
    findings: &mut Findings,
) -> io::Result<Option<DeviceDump>> {
    for (at, sector_size) in last_sectors_of(part, sector_size) {
        if let Some((bytes, header)) = header_at(volume, at)? {
            return between_headers(volume, part.0, (at, sector_size), &bytes, header, findings).map(Some);
        }
    }
    Ok(None)
}

/// The dump that a file begins with; the header of a live dump may stand behind it.
pub(super) fn in_file(volume: &ByteSource, findings: &mut Findings) -> io::Result<DumpLocation> {
    let behind = volume.length().checked_sub(HEADER_LENGTH as u64);
    let header = behind.map(|at| header_at(volume, at)).transpose()?.flatten();
    let (Some(at), Some((bytes, header))) = (behind, header) else {
        return Ok(DumpLocation::file(volume));
    };
    let parity = kerneldump::parity(&bytes);
    if parity != 0 {
        findings.damaged("live dump's header", HeaderError::Parity(parity));
    }
    if header.dump_length > at {
        findings.damaged("dumplength", format!("{}, but the header is at {at}", header.dump_length));
    }
    let end = header.dump_length.min(at);
    Ok(DumpLocation {
        place: Container::LiveDump,
        start: 0,
        end,
        header: Some(header),
        sector_size: None,
        is_text: false,
        partition: None,
    })
}

/// A kernel dump's header, as it is and decoded; `None` if it is none.
fn header_at(volume: &ByteSource, at: u64) -> io::Result<Option<([u8; HEADER_LENGTH], Header)>> {
    let mut bytes = [0; HEADER_LENGTH];
    let read = volume.read_at(at, &mut bytes)?;
    let header = Header::decode(&bytes).ok().filter(|_| read == bytes.len());
    Ok(header.map(|header| (bytes, header)))
}

/// The dump before a device's last header, and not before `begin`. The first header, which is the same, comes before the key and the data.
fn between_headers(
    volume: &ByteSource,
    begin: u64,
    (last_at, sector_size): (u64, u32),
    last: &[u8; HEADER_LENGTH],
    header: Header,
    findings: &mut Findings,
) -> io::Result<DeviceDump> {
    let before = u128::from(header.extent) + u128::from(header.key_size) + u128::from(sector_size);
    let first_at = u64::try_from(before).ok().and_then(|before| last_at.checked_sub(before));
    let first_at = first_at.filter(|at| *at >= begin);
    let first = first_at.map(|at| header_at(volume, at)).transpose()?.flatten().map(|(bytes, _)| bytes);
    let uncleared = match header.kind {
        Kind::Cleared => kerneldump::uncleared(last, first.as_ref()),
        Kind::KernelDump | Kind::TextDump => *last,
    };
    let parity = kerneldump::parity(&uncleared);
    if parity != 0 {
        findings.damaged("last header", HeaderError::Parity(parity));
    }
    let is_text = Header::decode(&uncleared).is_ok_and(|header| header.kind == Kind::TextDump);
    let (extent, length, key_size, version) = (header.extent, header.dump_length, header.key_size, header.version);
    let found = |start, end| {
        let sector_size = Some(sector_size);
        let location = DumpLocation {
            place: Container::Device,
            start,
            end,
            header: Some(header),
            sector_size,
            is_text,
            partition: None,
        };
        Ok(DeviceDump { location, last_at, last: *last, uncleared })
    };
    let Some(first_at) = first_at else {
        let what = format!("{extent} is more than the space before the last header at {last_at}");
        findings.damaged("dumpextent", what);
        return found(last_at, last_at);
    };
    match first {
        None => findings.damaged("first header", format!("there is none at {first_at}")),
        Some(first) if first != uncleared => {
            let byte = first.iter().zip(&uncleared).position(|(first, last)| first != last).unwrap_or(0);
            let field = kerneldump::field_at(version, byte);
            findings.damaged("first header", format!("its {field} differs from the last header's (byte {byte})"));
        }
        Some(_) => {}
    }
    let start = first_at + u64::from(sector_size) + u64::from(key_size);
    if start.checked_add(length).is_none_or(|end| end > last_at) {
        findings.damaged("dumplength", format!("{length} is more than the {extent} of dumpextent"));
    }
    if is_text {
        // It grows from the end.
        return found(start.max(last_at.saturating_sub(length)), last_at);
    }
    found(start, start.saturating_add(length).min(last_at))
}
