//! `machdep.efi_map`: the UEFI memory map as the loader handed it to the kernel.
//!
//! A header (u64 memory_size, u64 descriptor_size, u32 version, padded to 32 bytes: 24 rounded up to a
//! multiple of 16), then `memory_size` bytes of descriptors that stand `descriptor_size` apart (`struct
//! efi_map_header`, `struct efi_md`; UEFI specification, EFI_MEMORY_DESCRIPTOR). Pages are 4 KiB on every
//! architecture.

use super::{FirmwareRange, MapError, MapSource};
use vmcore::bounds::saturating_usize;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

#[repr(C)]
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
struct Header {
    memory_size: U64,
    descriptor_size: U64,
    version: U32,
    pad: [u8; 12],
}

#[repr(C)]
#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
struct Descriptor {
    kind: U32,
    pad: U32,
    physical: U64,
    virtual_address: U64,
    pages: U64,
    attributes: U64,
}

const PAGE: u64 = 4096;

/// The type's name; `None` for what the kernel uses as RAM once the loader is gone: loader and boot
/// services code and data (1 to 4), and free memory (7).
fn reserved_name(kind: u32) -> Option<String> {
    Some(match kind {
        1..=4 | 7 => return None,
        0 => "reserved".to_owned(),
        5 => "runtime services code".to_owned(),
        6 => "runtime services data".to_owned(),
        8 => "unusable".to_owned(),
        9 => "ACPI reclaimable".to_owned(),
        10 => "ACPI NVS".to_owned(),
        11 => "device memory".to_owned(),
        12 => "device I/O ports".to_owned(),
        13 => "PAL code".to_owned(),
        14 => "persistent memory".to_owned(),
        other => format!("type {other}"),
    })
}

/// Reads the table.
pub fn parse(bytes: &[u8]) -> Result<Vec<FirmwareRange>, MapError> {
    let malformed = |why: String| MapError::malformed(MapSource::EfiMap, why);
    let (header, descriptors) = Header::ref_from_prefix(bytes)
        .map_err(|_| malformed(format!("{} bytes are too short for the header", bytes.len())))?;
    let (size, step) = (header.memory_size.get(), header.descriptor_size.get());
    let descriptors = descriptors
        .get(..saturating_usize(size))
        .ok_or_else(|| malformed(format!("the header promises {size} bytes, {} follow it", descriptors.len())))?;
    if step < size_of::<Descriptor>() as u64 {
        return Err(malformed(format!("descriptors of {step} bytes are too short")));
    }
    if !size.is_multiple_of(step) {
        return Err(malformed(format!("{size} bytes are no whole number of descriptors of {step} bytes")));
    }
    let mut ranges = Vec::new();
    for (index, bytes) in descriptors.chunks_exact(saturating_usize(step)).enumerate() {
        let Ok((descriptor, _)) = Descriptor::ref_from_prefix(bytes) else { continue };
        let start = descriptor.physical.get();
        let length = descriptor.pages.get().checked_mul(PAGE);
        let end = length
            .and_then(|length| start.checked_add(length))
            .ok_or_else(|| malformed(format!("descriptor {index} at {start:#x} ends beyond 64 bits")))?;
        if start < end {
            ranges.push(FirmwareRange { start, end, reserved: reserved_name(descriptor.kind.get()) });
        }
    }
    Ok(ranges)
}
