//! An ELF core file: a `PT_LOAD` for each segment, as FreeBSD's full kernel dumps have them
//! (`sys/kern/kern_dump.c`; elf(5), System V ABI).
//!
//! Two notes of the owner `memtool` go with it, both text. The first, before the memory, names host and time.
//! The second, behind the memory, lists what could not be read and is zeros in the file; room is kept for it,
//! because its place must be known before anything is read.

use super::unreadable::Unreadable;
use super::{About, Space};
use crate::architecture::Endianness;
use crate::bounds::saturating_usize;
use crate::elf::{CoreHeader, ELFOSABI_STANDALONE, Ident, PF_R, PT_LOAD, PT_NOTE, ProgramHeader, Writer};
use crate::error::{Error, Result};
use crate::segment::Segment;
use crate::units::Hex;

/// Bytes of the note behind the memory.
const TAIL: usize = 16384;

/// The notes' owner. Readers of core files take small types for their own, whoever the owner.
const OWNER: &str = "memtool";
/// The note of host and time.
const NOTE_ABOUT: u32 = 0x6d65_6d01;
/// The note of what could not be read.
const NOTE_UNREADABLE: u32 = 0x6d65_6d02;
/// Bytes of a note before its text: three words, the owner.
const NOTE_HEAD: usize = 12 + OWNER.len() + 1;

/// Everything before the memory.
#[derive(Debug)]
pub struct Head {
    bytes: Vec<u8>,
    kind: Ident,
}

/// A note of text that takes exactly so many bytes, NULs at the end.
fn note(writer: &mut Writer, kind: u32, text: &str, length: usize) {
    let mut text = text.as_bytes().to_vec();
    text.resize(length, 0);
    writer.note(OWNER, kind, &text);
}

/// `e_machine` and the order of bytes, by `hw.machine_arch`.
fn machine(arch: &str) -> Result<(u16, Endianness)> {
    Ok(match arch {
        "amd64" | "x86_64" => (62, Endianness::Little),
        "i386" | "x86" => (3, Endianness::Little),
        "aarch64" | "arm64" => (183, Endianness::Little),
        "armv6" | "armv7" | "arm" => (40, Endianness::Little),
        "riscv64" | "riscv64sf" => (243, Endianness::Little),
        "powerpc64" => (21, Endianness::Big),
        "powerpc64le" => (21, Endianness::Little),
        "powerpc" | "powerpcspe" => (20, Endianness::Big),
        other => return Err(Error::Unsupported(format!("no ELF machine is known for the architecture {other}"))),
    })
}

impl Head {
    /// Lays the file out up to the memory.
    ///
    /// # Errors
    ///
    /// The architecture has no ELF machine number here, or there are 2^32 segments.
    pub fn new(segments: &[Segment], about: &About) -> Result<Self> {
        let (machine, order) = machine(&about.machine_arch)?;
        let kind = Ident { wide: true, order };
        let text = about_text(about);
        let about_length = text.len().next_multiple_of(4);
        let count = u32::try_from(segments.len() as u64 + 2)
            .map_err(|_| Error::Refused("there are too many segments for an ELF file".to_owned()))?;
        let note_at = kind.headers_size(count.into());
        let note_size = (NOTE_HEAD + about_length) as u64;

        let mut writer = Writer::new(kind);
        writer.core_header(CoreHeader { os_abi: ELFOSABI_STANDALONE, machine, flags: 0, segments: count });
        let mut program_header = |kind, offset, (address, physical), size, align| {
            writer.program_header(ProgramHeader { kind, flags: PF_R, offset, address, physical, size, align });
        };
        program_header(PT_NOTE, note_at, (0, 0), note_size, 4);
        let mut position = note_at + note_size;
        for segment in segments {
            position = position.saturating_add(gap_before(segment, position, about.page_size));
            let size = segment.end - segment.start;
            let physical = if about.space == Space::Physical { segment.start } else { 0 };
            program_header(PT_LOAD, position, (segment.start, physical), size, about.page_size);
            position = position.saturating_add(size);
        }
        program_header(PT_NOTE, position.saturating_add(tail_gap(position)), (0, 0), TAIL as u64, 4);
        writer.end_of_headers(count);
        note(&mut writer, NOTE_ABOUT, &text, about_length);
        Ok(Self { bytes: writer.bytes, kind })
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The note behind the memory, and what brings it to its place, when the output has so many bytes.
    pub fn tail(&self, unreadable: &Unreadable, position: u64) -> Vec<u8> {
        let room = TAIL - NOTE_HEAD;
        let mut writer = Writer::new(self.kind);
        writer.zeros(saturating_usize(tail_gap(position)));
        note(&mut writer, NOTE_UNREADABLE, &unreadable_text(unreadable, room), room);
        writer.bytes
    }
}

/// Zeros that bring a segment to the same offset within a page as its address has.
pub fn gap_before(segment: &Segment, position: u64, page_size: u64) -> u64 {
    segment.start.wrapping_sub(position) & (page_size - 1)
}

/// Notes begin at a multiple of four bytes.
fn tail_gap(position: u64) -> u64 {
    position.wrapping_neg() % 4
}

/// Bytes behind the memory, when the output has so many bytes.
pub fn tail_size(position: u64) -> u64 {
    tail_gap(position) + TAIL as u64
}

fn about_text(about: &About) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        // A value with a line's end in it must not look like two.
        text.extend([key, "=", &value.replace(char::is_control, " "), "\n"]);
    };
    line("host", about.host);
    if let Some(hostname) = &about.hostname {
        line("hostname", hostname);
    }
    if let Some(version) = &about.version {
        line("version", version);
    }
    line("machine", &about.machine_arch);
    line("started", &crate::units::utc(about.started));
    line("page_size", &about.page_size.to_string());
    line("segments_from", &about.segments_from);
    line("written_by", concat!("memtool ", env!("CARGO_PKG_VERSION")));
    text
}

/// A line for each range, as far as there is room; the first line counts them all.
fn unreadable_text(unreadable: &Unreadable, room: usize) -> String {
    let mut text = format!("unreadable_bytes={}\n", unreadable.bytes());
    let mut listed = 0;
    for range in unreadable.ranges() {
        let line = format!("{} {}\n", Hex(range.start), Hex(range.end));
        // Enough for the last line.
        if text.len() + line.len() + 64 > room {
            break;
        }
        text.push_str(&line);
        listed += 1;
    }
    let left_out = unreadable.count().saturating_sub(listed);
    if left_out > 0 {
        text.push_str(&format!("ranges_not_listed={left_out}\n"));
    }
    text
}
