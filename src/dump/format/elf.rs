//! An ELF core file: a `PT_LOAD` for each segment, as FreeBSD's full kernel dumps have them
//! (`sys/kern/kern_dump.c`; elf(5), System V ABI).
//!
//! Two notes of the owner `memtool` go with it, both text. The first, before the memory, names host and time.
//! The second, behind the memory, lists what could not be read and is zeros in the file; room is kept for it,
//! because its place must be known before anything is read. With 65,535 program headers or more their number
//! stands in a section header (`PN_XNUM`).

use super::About;
use crate::dump::Unreadable;
use crate::dump::plan::{Plan, Space};
use crate::error::{Error, Result};
use crate::memory_map::Segment;
use crate::units::Hex;

/// Bytes of the note behind the memory.
const TAIL: usize = 16384;

/// Bytes of a file, program and section header.
const EHDR: u16 = 64;
const PHDR: u16 = 56;
const SHDR: u16 = 64;

const ELFCLASS64: u8 = 2;
const ELFDATA2LSB: u8 = 1;
const ELFDATA2MSB: u8 = 2;
const EV_CURRENT: u8 = 1;
/// What FreeBSD's own full dumps have.
const ELFOSABI_STANDALONE: u8 = 255;
const ET_CORE: u16 = 4;
const PN_XNUM: u16 = 0xffff;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PF_R: u32 = 4;

/// The notes' owner. Readers of core files take small types for their own, whoever the owner.
const OWNER: &[u8] = b"memtool\0";
/// The note of host and time.
const NOTE_ABOUT: u32 = 0x6d65_6d01;
/// The note of what could not be read.
const NOTE_UNREADABLE: u32 = 0x6d65_6d02;
/// Bytes of a note before its text: three words, the owner.
const NOTE_HEAD: usize = 12 + OWNER.len();

/// Everything before the memory.
#[derive(Debug)]
pub struct Head {
    bytes: Vec<u8>,
    big_endian: bool,
    page_size: u64,
}

/// Numbers in the machine's byte order.
struct Writer {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Writer {
    fn put<const N: usize>(&mut self, little: [u8; N], big: [u8; N]) {
        self.bytes.extend(if self.big_endian { big } else { little });
    }

    fn half(&mut self, value: u16) {
        self.put(value.to_le_bytes(), value.to_be_bytes());
    }

    fn word(&mut self, value: u32) {
        self.put(value.to_le_bytes(), value.to_be_bytes());
    }

    fn xword(&mut self, value: u64) {
        self.put(value.to_le_bytes(), value.to_be_bytes());
    }

    /// A program header; in the order of its fields.
    fn program_header(&mut self, kind: u32, offset: u64, (virtual_, physical): (u64, u64), size: u64, align: u64) {
        self.word(kind);
        self.word(PF_R);
        self.xword(offset);
        self.xword(virtual_);
        self.xword(physical);
        self.xword(size);
        self.xword(if kind == PT_LOAD { size } else { 0 });
        self.xword(align);
    }

    /// A note whose text takes exactly so many bytes, NULs at the end.
    fn note(&mut self, kind: u32, text: &str, length: usize) {
        self.word(u32::try_from(OWNER.len()).unwrap_or(0));
        self.word(u32::try_from(length).unwrap_or(0));
        self.word(kind);
        self.bytes.extend(OWNER);
        let text = text.as_bytes();
        let text = text.get(..length).unwrap_or(text);
        self.bytes.extend(text);
        self.zeros(length - text.len());
    }

    fn zeros(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len() + count, 0);
    }
}

/// `e_machine` and whether the machine is big-endian, by `hw.machine_arch`.
fn machine(arch: &str) -> Result<(u16, bool)> {
    Ok(match arch {
        "amd64" | "x86_64" => (62, false),
        "i386" | "x86" => (3, false),
        "aarch64" | "arm64" => (183, false),
        "armv6" | "armv7" | "arm" => (40, false),
        "riscv64" | "riscv64sf" => (243, false),
        "powerpc64" => (21, true),
        "powerpc64le" => (21, false),
        "powerpc" | "powerpcspe" => (20, true),
        other => return Err(Error::Unsupported(format!("no ELF machine is known for the architecture {other}"))),
    })
}

impl Head {
    /// Lays the file out up to the memory.
    ///
    /// # Errors
    ///
    /// The architecture has no ELF machine number here, or there are 2^32 segments.
    pub fn new(plan: &Plan, about: &About) -> Result<Self> {
        let (machine, big_endian) = machine(&about.machine_arch)?;
        let text = about_text(plan, about);
        let about_length = text.len().next_multiple_of(4);
        let headers = plan.segments.len() as u64 + 2;
        let too_many = || Error::Refused("there are too many segments for an ELF file".to_owned());
        let (phnum, section_headers) = match u16::try_from(headers) {
            Ok(headers) if headers < PN_XNUM => (headers, 0),
            _ => (PN_XNUM, 1),
        };
        let sh_info = u32::try_from(headers).map_err(|_| too_many())?;
        let headers_end = u64::from(EHDR) + headers * u64::from(PHDR);
        let shoff = if section_headers == 0 { 0 } else { headers_end };
        let note_at = headers_end + u64::from(section_headers) * u64::from(SHDR);
        let note_size = (NOTE_HEAD + about_length) as u64;

        let mut writer = Writer { bytes: Vec::new(), big_endian };
        let data = if big_endian { ELFDATA2MSB } else { ELFDATA2LSB };
        writer.bytes.extend([0x7f, b'E', b'L', b'F', ELFCLASS64, data, EV_CURRENT, ELFOSABI_STANDALONE]);
        writer.zeros(8);
        writer.half(ET_CORE);
        writer.half(machine);
        writer.word(EV_CURRENT.into());
        writer.xword(0);
        writer.xword(EHDR.into());
        writer.xword(shoff);
        writer.word(0);
        writer.half(EHDR);
        writer.half(PHDR);
        writer.half(phnum);
        writer.half(SHDR);
        writer.half(section_headers);
        writer.half(0);

        let mut head = Self { bytes: Vec::new(), big_endian, page_size: plan.page_size };
        writer.program_header(PT_NOTE, note_at, (0, 0), note_size, 4);
        let mut position = note_at + note_size;
        for segment in &plan.segments {
            position = position.saturating_add(head.gap_before(segment, position));
            let size = segment.end - segment.start;
            let physical = if plan.space == Space::Physical { segment.start } else { 0 };
            writer.program_header(PT_LOAD, position, (segment.start, physical), size, plan.page_size);
            position = position.saturating_add(size);
        }
        writer.program_header(PT_NOTE, position.saturating_add(tail_gap(position)), (0, 0), TAIL as u64, 4);
        if section_headers > 0 {
            writer.zeros(44);
            writer.word(sh_info);
            writer.zeros(16);
        }
        writer.note(NOTE_ABOUT, &text, about_length);
        head.bytes = writer.bytes;
        Ok(head)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Zeros that bring a segment to the same offset within a page as its address has.
    pub fn gap_before(&self, segment: &Segment, position: u64) -> u64 {
        segment.start.wrapping_sub(position) & (self.page_size - 1)
    }

    /// The note behind the memory, and what brings it to its place, when the output has so many bytes.
    pub fn tail(&self, unreadable: &Unreadable, position: u64) -> Vec<u8> {
        let room = TAIL - NOTE_HEAD;
        let mut writer = Writer { bytes: Vec::new(), big_endian: self.big_endian };
        writer.zeros(usize::try_from(tail_gap(position)).unwrap_or(0));
        writer.note(NOTE_UNREADABLE, &unreadable_text(unreadable, room), room);
        writer.bytes
    }
}

/// Notes begin at a multiple of four bytes.
fn tail_gap(position: u64) -> u64 {
    position.wrapping_neg() % 4
}

/// Bytes behind the memory, when the output has so many bytes.
pub fn tail_size(position: u64) -> u64 {
    tail_gap(position) + TAIL as u64
}

fn about_text(plan: &Plan, about: &About) -> String {
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
    line("page_size", &plan.page_size.to_string());
    line("segments_from", &plan.origin.to_string());
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
