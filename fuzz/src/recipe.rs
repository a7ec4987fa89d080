//! Dumps by recipe: one of the test builder's, changes to its fields, what stands around it, and changes to
//! that. So a few bytes of input reach what lies behind many kilobytes that have to be right.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use std::ops::Range;
use std::sync::LazyLock;
use vmcore_synth::kerneldump::{self, Compression, KernelDumpHeader};
use vmcore_synth::{Arch, DumpDevice, ElfSpec, Endianness, Field, device, every_variant, key_block, live_dump};

/// A dump that is right, and where its fields and parts are.
pub struct Base {
    /// Architecture, version and kind.
    pub name: String,
    /// Whose it is.
    pub arch: Arch,
    /// The dump.
    pub bytes: Vec<u8>,
    /// Pages, if it is a minidump.
    pub pages: Option<u64>,
    order: Endianness,
    page_size: u64,
    fields: Vec<Field>,
    parts: Vec<Range<usize>>,
}

/// All dumps that recipes begin with.
pub static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let minidumps = every_variant().into_iter().map(|(name, mut spec)| {
        spec.message_buffer.truncate(200);
        let parts = spec.parts();
        Base {
            name,
            arch: spec.arch,
            bytes: spec.build(),
            pages: Some(spec.pages().len() as u64),
            order: spec.order,
            page_size: spec.page_size,
            fields: spec.header_fields(),
            parts: vec![parts.message_buffer, parts.dump_avail, parts.bitmap, parts.page_tables, parts.pages],
        }
    });
    let full = Arch::ALL.into_iter().map(|arch| {
        let bytes = ElfSpec::example(arch).build();
        let headers = vmcore_synth::elf::file_header(arch).1;
        Base {
            name: format!("{}-elf", arch.name()),
            arch,
            pages: None,
            order: arch.order(),
            page_size: 4096,
            fields: vmcore_synth::elf::file_header(arch).0.to_vec(),
            parts: vec![0..headers, headers..headers + 3 * vmcore_synth::elf::program_header(arch).1],
            bytes,
        }
    });
    let archive = {
        let mut archive = device::text_archive(&[("ddb.txt", b"db> bt\n"), ("version.txt", &[b'x'; 700])]);
        archive.resize(archive.len() + 1024, 0);
        Base {
            name: "text".to_owned(),
            arch: Arch::Amd64,
            pages: None,
            order: Endianness::Big,
            page_size: 512,
            fields: vec![("name", 0, 100), ("size", 124, 12), ("magic", 257, 6)],
            parts: vec![0..512, 1024..1536],
            bytes: archive,
        }
    };
    minidumps.chain(full).chain([archive]).collect()
});

/// A dump that was made by a recipe.
pub struct Made {
    /// What it began with.
    pub base: &'static Base,
    /// The dump by itself.
    pub dump: Vec<u8>,
    /// The dump with what stands around it.
    pub bytes: Vec<u8>,
    /// Whether nothing was changed, neither in the dump nor around it.
    pub is_right: bool,
}

/// A number that is likely to be at a border.
///
/// # Errors
///
/// The bytes are too few.
pub fn number(u: &mut Unstructured<'_>, before: u64) -> Result<u64> {
    Ok(match u.int_in_range(0..=7)? {
        0 => u.arbitrary::<u8>()?.into(),
        1 => u.arbitrary()?,
        2 => 1 << u.int_in_range(0..=63)?,
        3 => (1 << u.int_in_range(0..=63)?) - 1,
        4 => u64::MAX - u64::from(u.arbitrary::<u16>()?),
        5 => u64::from(u.arbitrary::<u32>()?) << 12,
        6 => before.wrapping_add(u64::from(u.arbitrary::<u8>()?)),
        _ => before.wrapping_sub(u64::from(u.arbitrary::<u16>()?)),
    })
}

fn put(bytes: &mut [u8], at: usize, order: Endianness, size: usize, u: &mut Unstructured<'_>) -> Result<()> {
    let Some(field) = bytes.get_mut(at..at + size) else { return Ok(()) };
    let value = number(u, order.value(field))?;
    let mask = u64::MAX >> (64 - 8 * size.min(8));
    field.copy_from_slice(&order.bytes(value & mask, size));
    Ok(())
}

/// Changes something, anywhere in a dump.
fn change(bytes: &mut Vec<u8>, base: &Base, u: &mut Unstructured<'_>) -> Result<()> {
    match u.int_in_range(0..=9)? {
        0..=3 => {
            let (_, at, size) = *u.choose(&base.fields)?;
            put(bytes, at, base.order, if size > 8 { 1 } else { size }, u)
        }
        4..=6 => {
            let part = u.choose(&base.parts)?;
            let size = *u.choose(&[8_usize, 4, 1])?;
            put(bytes, part.start + usize::from(u.arbitrary::<u16>()?) * size, base.order, size, u)
        }
        7 => {
            let part = u.choose(&base.parts)?.clone();
            let value = u.arbitrary()?;
            if let Some(part) = bytes.get_mut(part) {
                part.fill(value);
            }
            Ok(())
        }
        8 => {
            let length = u.int_in_range(0..=bytes.len())?;
            bytes.truncate(length);
            Ok(())
        }
        _ => {
            let more = usize::from(u.arbitrary::<u16>()?);
            bytes.resize(bytes.len() + more, u.arbitrary()?);
            Ok(())
        }
    }
}

/// Changes something in a kernel dump's header, which may keep its parity.
fn change_header(bytes: &mut [u8], at: usize, version: u32, u: &mut Unstructured<'_>) -> Result<()> {
    let Some(header) = bytes.get_mut(at..at + kerneldump::SIZE) else { return Ok(()) };
    let (_, at, size) = *u.choose(kerneldump::fields(version))?;
    let at = if size > 8 { at + u.choose_index(size)? } else { at };
    put(header, at, Endianness::Big, if size > 8 { 1 } else { size }, u)?;
    if u.arbitrary()? {
        kerneldump::set_parity(header);
    }
    Ok(())
}

/// Makes a dump by the recipe in these bytes.
///
/// # Errors
///
/// The bytes are too few.
pub fn make(u: &mut Unstructured<'_>) -> Result<Made> {
    let base = &BASES[u.choose_index(BASES.len())?];
    let mut dump = base.bytes.clone();
    let changes = u.int_in_range(0..=6_u8)?;
    for _ in 0..changes {
        change(&mut dump, base, u)?;
    }
    let compression = *u.choose(&[Compression::None, Compression::Zstd, Compression::Gzip])?;
    let (mut bytes, headers, version) = match u.int_in_range(0..=3_u8)? {
        0 | 1 => (compression.compress(&dump), Vec::new(), 4),
        2 => {
            let bytes = live_dump(base.arch, &dump, compression, base.page_size.max(512));
            let header = bytes.len() - kerneldump::SIZE;
            (bytes, vec![header], 4)
        }
        _ => {
            let version = u.int_in_range(1..=4)?;
            let device = dump_device(base, &dump, version, compression, u)?;
            let parts = device.parts();
            let headers = [parts.first_header.start, parts.last_header.start].map(|at| at as usize);
            (device.build(), headers.to_vec(), version)
        }
    };
    let around = u.int_in_range(0..=3_u8)?;
    for _ in 0..around {
        match headers.as_slice() {
            // One header, or both in the same way.
            [first, .., last] if u.arbitrary()? => {
                change_header(&mut bytes, *last, version, u)?;
                bytes.copy_within(*last..*last + kerneldump::SIZE, *first);
            }
            [_, ..] if u.arbitrary()? => {
                let header = *u.choose(&headers)?;
                change_header(&mut bytes, header, version, u)?;
            }
            _ => {
                let at = u.choose_index(bytes.len().max(1))?;
                let value: u8 = u.arbitrary()?;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= value;
                }
            }
        }
    }
    Ok(Made { base, dump, bytes, is_right: changes == 0 && around == 0 })
}

fn dump_device(
    base: &Base,
    dump: &[u8],
    version: u32,
    compression: Compression,
    u: &mut Unstructured<'_>,
) -> Result<DumpDevice> {
    if base.name == "text" {
        return Ok(DumpDevice { size: 128 << 10, ..device::text_device(base.arch, version, &[("ddb.txt", b"db>")]) });
    }
    let sector = *u.choose(&[512, 4096])?;
    // Only the newest header has room for that, and what compression makes larger is not written.
    let shrinks = version == 4 && dump.len() >= 512;
    let compression = if shrinks { compression } else { Compression::None };
    let header = KernelDumpHeader { compression, ..KernelDumpHeader::example(base.arch, version, 0) };
    let example = DumpDevice::example(header, sector, dump);
    let key = if version == 4 && u.ratio(1, 16)? { key_block([7; 32], &[9; 64]) } else { Vec::new() };
    let data = example.data.len().max(dump.len()) as u64;
    // The kernel leaves 64 KiB alone.
    let size = (64 << 10) + data.next_multiple_of(4096) + 4 * 4096;
    Ok(DumpDevice { size, key, ..example })
}
