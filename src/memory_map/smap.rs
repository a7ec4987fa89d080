//! `machdep.smap`: the BIOS memory map (INT 15h, E820) as the loader handed it to the kernel.
//!
//! An array of packed entries of 24 bytes, little-endian: u64 base, u64 length, u32 type, u32 extended
//! attributes (`struct bios_smap_xattr`, `sys/x86/include/pc/bios.h`).

use super::{FirmwareRange, MapError, MapSource};
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

#[repr(C)]
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
struct SmapEntry {
    base: U64,
    length: U64,
    kind: U32,
    extended: U32,
}

const RAM: u32 = 1;

fn kind_name(kind: u32) -> String {
    match kind {
        2 => "reserved".to_owned(),
        3 => "ACPI reclaimable".to_owned(),
        4 => "ACPI NVS".to_owned(),
        5 => "unusable".to_owned(),
        6 => "disabled".to_owned(),
        7 => "persistent memory".to_owned(),
        other => format!("type {other}"),
    }
}

/// Reads the table. Empty entries are left out, as the kernel does.
pub fn parse(bytes: &[u8]) -> Result<Vec<FirmwareRange>, MapError> {
    let entries = <[SmapEntry]>::ref_from_bytes(bytes).map_err(|_| {
        MapError::malformed(
            MapSource::Smap,
            format!("{} bytes are not a whole number of {}-byte entries", bytes.len(), size_of::<SmapEntry>()),
        )
    })?;
    let mut ranges = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.length.get() > 0) {
        let start = entry.base.get();
        let end = start.checked_add(entry.length.get()).ok_or_else(|| {
            MapError::malformed(MapSource::Smap, format!("entry {index} at {start:#x} ends beyond 64 bits"))
        })?;
        let kind = entry.kind.get();
        ranges.push(FirmwareRange { start, end, reserved: (kind != RAM).then(|| kind_name(kind)) });
    }
    Ok(ranges)
}
