//! A stream of QEMU's migration, as `migrate file:`, `savevm` and libvirt's `save` write it: sections, of which that of
//! RAM comes first; the state of devices follows, which only their code can tell apart and is not read
//! (`migration/savevm.c`; libvirt's `src/qemu/qemu_saveimage.h`).

use super::facts::{ImageFacts, ImageFormat};
use super::fields::Fields;
use super::layout::Layout;
use super::pieces::Pieces;
use super::qemu_ram::{Ended, Ram};
use super::qemu_stream::{Configuration, MAX_NAME, Reader};
use super::{Result, damaged, refused};
use crate::dump::byte_source::ByteSource;

pub(super) const SIGNATURE: &[u8] = b"QEVM\0\0\0\x03";
pub(super) const LIBVIRT: &[u8] = b"LibvirtQemudSave";
/// Bytes of libvirt's header.
const LIBVIRT_HEADER: usize = 92;

/// What begins a section.
const START: u8 = 0x01;
const PART: u8 = 0x02;
const END: u8 = 0x03;
const SUBSECTION: u8 = 0x05;
const CONFIGURATION: u8 = 0x07;
const COMMAND: u8 = 0x08;
const FOOTER: u8 = 0x7e;

/// Capabilities that are read: QEMU has fewer.
const MAX_CAPABILITIES: u32 = 256;

/// Finds out where RAM is.
pub(super) fn read(volume: &ByteSource, format: ImageFormat) -> Result<ImageFacts> {
    let start = if format == ImageFormat::LibvirtSave { libvirt(volume)? } else { 0 };
    if volume.array_at::<8>(start)?.is_none_or(|head| head != SIGNATURE) {
        return damaged("QEMU header", "the stream does not begin as one of version 3");
    }
    let mut reader = Reader::new(volume, start + 8);
    let mut ram = None;
    let mut configuration = Configuration::default();
    let is_whole = sections(&mut reader, &mut configuration, &mut ram)?;
    let Some((_, ram)) = ram else {
        return damaged("QEMU state", "there is no RAM in it");
    };
    if !is_whole && !ram.has_main() {
        return damaged("QEMU state", format!("the file ends after {} bytes, before the main memory", volume.length()));
    }
    let mut damage = Vec::new();
    if !is_whole {
        damage
            .push(("QEMU state".to_owned(), format!("the file ends after {} bytes, within the RAM", volume.length())));
    }
    let pieces = Pieces::from_written(ram.into_pieces(&configuration.machine)?);
    Ok(ImageFacts { damage, ..ImageFacts::new(format, Layout::Pieces(pieces)) })
}

/// Where the stream is in a file of libvirt's.
fn libvirt(volume: &ByteSource) -> Result<u64> {
    let Some(header) = volume.array_at::<LIBVIRT_HEADER>(0)? else {
        return damaged("libvirt header", "the file is too short for it");
    };
    // In the byte order of the host; the version tells it.
    let little = Fields::little(&header);
    let fields = if little.u32(16).is_some_and(|version| version < 1 << 16) { little } else { Fields::big(&header) };
    let (Some(data), Some(compressed)) = (fields.u32(20), fields.u32(28)) else {
        return damaged("libvirt header", "the file is too short for it");
    };
    match compressed {
        // As it is; or, of newer ones, with holes, as the mapped RAM of QEMU.
        0 | 6 => Ok(u64::from(data).saturating_add(LIBVIRT_HEADER as u64)),
        _ => refused(
            "the state of a QEMU machine that libvirt compressed",
            "virsh save writes it as it is with save_image_format = \"raw\" in qemu.conf; virsh dump --memory-only writes an ELF core file",
        ),
    }
}

/// Goes through the sections up to the end of RAM; tells whether that was there.
fn sections(reader: &mut Reader<'_>, configuration: &mut Configuration, ram: &mut Option<(u32, Ram)>) -> Result<bool> {
    loop {
        let Some(kind) = reader.u8()? else { return Ok(false) };
        match kind {
            CONFIGURATION => match self::configuration(reader)? {
                Some(found) => *configuration = found,
                None => return Ok(false),
            },
            COMMAND => {
                let Some([_, _, high, low]) = reader.array()? else { return Ok(false) };
                reader.skip(u16::from_be_bytes([high, low]).into());
            }
            START => {
                let Some(id) = reader.u32()? else { return Ok(false) };
                let Some(name) = reader.short_name()? else { return Ok(false) };
                let Some([_, version]) = reader.array::<8>()?.map(|bytes| {
                    bytes
                        .as_chunks()
                        .0
                        .first_chunk()
                        .copied()
                        .map_or([0; 2], |words: [[u8; 4]; 2]| words.map(u32::from_be_bytes))
                }) else {
                    return Ok(false);
                };
                if name != b"ram" || version != 4 {
                    return refused(
                        "the state of a QEMU machine with something else before its RAM",
                        "QEMU's dump-guest-memory writes what memtool reads",
                    );
                }
                let (_, ram) = ram.insert((id, Ram::default()));
                if ram.read_section(reader, configuration)? == Ended::CutOff {
                    return Ok(false);
                }
            }
            PART | END => {
                let Some(id) = reader.u32()? else { return Ok(false) };
                let Some((_, ram)) = ram.as_mut().filter(|(ram, _)| *ram == id) else {
                    return damaged("QEMU state", format!("part of an unknown section at {}", reader.position()));
                };
                if ram.read_section(reader, configuration)? == Ended::CutOff {
                    return Ok(false);
                }
                if kind == END {
                    return Ok(true);
                }
            }
            FOOTER => reader.skip(4),
            _ => {
                return damaged(
                    "QEMU state",
                    format!("a section of type {kind:#x} at {} before the end of RAM", reader.position()),
                );
            }
        }
    }
}

/// The configuration: the machine's name, and subsections.
fn configuration(reader: &mut Reader<'_>) -> Result<Option<Configuration>> {
    let Some(length) = reader.u32()? else { return Ok(None) };
    if length as usize > MAX_NAME {
        return damaged("QEMU configuration", format!("the name of a machine has {length} bytes"));
    }
    let Some(machine) = reader.name(length as usize)? else { return Ok(None) };
    let mut configuration = Configuration { machine, ..Configuration::default() };
    loop {
        let before = reader.position();
        if reader.u8()? != Some(SUBSECTION) {
            reader.seek(before);
            return Ok(Some(configuration));
        }
        let (Some(name), Some(_)) = (reader.short_name()?, reader.u32()?) else { return Ok(None) };
        match &*name {
            b"configuration/target-page-bits" => match reader.u32()? {
                Some(12) | None => {}
                Some(_) => {
                    return refused(
                        "the state of a QEMU machine with pages of another size than 4096 bytes",
                        "QEMU's dump-guest-memory writes what memtool reads",
                    );
                }
            },
            b"configuration/uuid" => reader.skip(16),
            b"configuration/capabilities" => {
                let Some(count) = reader.u32()?.filter(|count| *count <= MAX_CAPABILITIES) else { return Ok(None) };
                for _ in 0..count {
                    let Some(name) = reader.short_name()? else { return Ok(None) };
                    configuration.has_mapped_ram |= name == b"mapped-ram";
                    configuration.has_ignored_blocks |= name == b"x-ignore-shared";
                }
            }
            _ => return damaged("QEMU configuration", format!("unknown part {}", String::from_utf8_lossy(&name))),
        }
    }
}
