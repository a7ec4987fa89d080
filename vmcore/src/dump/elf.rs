//! Full dumps: ELF core files whose segments are memory (`sys/kern/kern_dump.c`), of either size and byte order.

use super::Findings;
use super::images::{CoreWriter, Processor, notes};
use super::stream::{Stream, StreamError};
use crate::architecture::{Architecture, Endianness};
use crate::bounds::{self, part_mut, tail};
use crate::units::Hex;
use object::elf::{self, FileHeader32, FileHeader64, Machine};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness as ObjectEndianness, FileKind};
use serde::Serialize;
use std::io;

/// Headers are read so far, if there are so many: most files have few. In the end come those of four million segments.
const HEADERS: [usize; 4] = [4096, 1 << 20, 64 << 20, MAX_HEADERS];
const MAX_HEADERS: usize = 256 << 20;
/// Notes are read so far.
const MAX_NOTES: usize = 1 << 20;

/// What an ELF core file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ElfFacts {
    /// Bits of an address: 32 or 64.
    pub bits: u8,
    /// The order of bytes in its integers.
    pub byte_order: Endianness,
    /// `e_machine`.
    pub machine: u16,
    /// Its usual name; empty if it has none here.
    pub machine_name: &'static str,
    /// The machine that wrote the file, by its notes, if that is one that is known.
    pub writer: Option<CoreWriter>,
    /// The processors of that machine, as far as its notes tell.
    #[serde(rename = "cpu_registers")]
    pub processors: Vec<Processor>,
    /// Memory, in the order of the file.
    pub segments: Vec<ElfSegment>,
}

impl ElfFacts {
    /// Whether its memory has virtual addresses only, as that of a process or of `/dev/kmem` has: all physical
    /// addresses are 0.
    pub fn has_virtual_addresses_only(&self) -> bool {
        let mut filled = self.segments.iter().filter(|segment| segment.size > 0).peekable();
        let is_some = filled.peek().is_some();
        let mut has_virtual = false;
        let all_at_0 = filled.all(|segment| {
            has_virtual |= ElfSegment::is_address(segment.virtual_address.0);
            segment.physical.0 == 0
        });
        is_some && all_at_0 && has_virtual
    }

    /// Whose it is; `None` of machines whose kernels are not known here.
    pub fn architecture(&self) -> Option<Architecture> {
        Architecture::from_elf(Machine(self.machine))
    }
}

/// A `PT_LOAD`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ElfSegment {
    /// First physical address.
    #[serde(rename = "paddr")]
    pub physical: Hex,
    /// First virtual address.
    #[serde(rename = "vaddr")]
    pub virtual_address: Hex,
    /// Where its bytes begin in the file.
    #[serde(rename = "file_offset")]
    pub offset: u64,
    /// How many there are in the file.
    pub size: u64,
}

impl ElfSegment {
    /// Whether a virtual address is one, and not what a full dump's header has in its place (`dumpsys_pa_init()`).
    pub(super) fn is_address(virtual_address: u64) -> bool {
        ![0, u64::from(u32::MAX), u64::MAX].contains(&virtual_address)
    }
}

/// Whether an ELF file is of another kind than core files: a program or a kernel, say. Where its kind is missing it is
/// not.
pub fn is_no_core(head: &[u8]) -> bool {
    let is_core = |kind: &[u8]| match head.get(5) {
        Some(data) if *data == elf::ELFDATA2MSB.0 => kind == elf::ET_CORE.0.to_be_bytes(),
        _ => kind == elf::ET_CORE.0.to_le_bytes(),
    };
    head.get(16..18).is_some_and(|kind| !is_core(kind))
}

/// Reads the headers and sees whether the file is as long as they say; `None` if they cannot be understood.
pub fn read(stream: &mut Stream<'_>, findings: &mut Findings) -> io::Result<Option<ElfFacts>> {
    let mut head = Vec::new();
    for wanted in HEADERS {
        let have = head.len();
        head.resize(wanted, 0);
        match stream.read(part_mut(&mut head, have..)) {
            Ok(read) => head.truncate(have + read),
            Err(stop) => {
                findings.stopped("ELF headers", stop)?;
                return Ok(None);
            }
        }
        let (facts, end) = match FileKind::parse(&*head) {
            Ok(FileKind::Elf32) => both::<FileHeader32<ObjectEndianness>>(&head),
            Ok(FileKind::Elf64) => both::<FileHeader64<ObjectEndianness>>(&head),
            _ => (Err("they are not those of a 32-bit or 64-bit file".to_owned()), 0),
        };
        match facts {
            // Notes follow the headers, of each processor some.
            Ok(_) if wanted < MAX_NOTES && head.len() == wanted && (wanted as u64) < end && end <= MAX_NOTES as u64 => {
            }
            Ok(facts) => return check(facts, stream, findings).map(Some),
            Err(why) if head.len() < wanted || end <= head.len() as u64 => {
                findings.damaged("ELF headers", why);
                return Ok(None);
            }
            Err(_) => {}
        }
    }
    findings.limited("ELF headers", format!("there are more than the {MAX_HEADERS} bytes that memtool reads"));
    Ok(None)
}

/// What the headers say, and where they end as far as that can be told.
fn both<H: FileHeader<Endian = ObjectEndianness>>(head: &[u8]) -> (Result<ElfFacts, String>, u64) {
    let facts = facts::<H>(head);
    let end = if facts.is_ok() { end_of_notes::<H>(head) } else { end_of_headers::<H>(head) };
    (facts, end.unwrap_or(0))
}

/// Where the notes end.
fn end_of_notes<H: FileHeader<Endian = ObjectEndianness>>(head: &[u8]) -> Option<u64> {
    let header = H::parse(head).ok()?;
    let endian = header.endian().ok()?;
    let all = header.program_headers(endian, head).ok()?;
    let notes = all.iter().find(|segment| segment.p_type(endian) == elf::PT_NOTE)?;
    Some(notes.p_offset(endian).into().saturating_add(notes.p_filesz(endian).into()))
}

fn end_of_headers<H: FileHeader<Endian = ObjectEndianness>>(head: &[u8]) -> Option<u64> {
    let header = H::parse(head).ok()?;
    let endian = header.endian().ok()?;
    // More than the file header can count stand in the first section header.
    let (start, count, size) = match header.phnum(endian, head) {
        Ok(count) => (header.e_phoff(endian).into(), count as u64, header.e_phentsize(endian)),
        Err(_) => (header.e_shoff(endian).into(), 1, header.e_shentsize(endian)),
    };
    count.checked_mul(size.into())?.checked_add(start)
}

fn facts<H: FileHeader<Endian = ObjectEndianness>>(head: &[u8]) -> Result<ElfFacts, String> {
    let text = |error: object::Error| error.to_string();
    let header = H::parse(head).map_err(text)?;
    let endian = header.endian().map_err(text)?;
    let kind = header.e_type(endian);
    if kind != elf::ET_CORE {
        return Err(format!("e_type: {kind:?} is not a core file"));
    }
    let machine = header.e_machine(endian);
    let all = header.program_headers(endian, head).map_err(text)?;
    let order = if endian == ObjectEndianness::Big { Endianness::Big } else { Endianness::Little };
    let (mut writer, mut processors) = (None, Vec::new());
    // There is one such segment; many of the same bytes would be many times as long.
    if let Some(segment) = all.iter().find(|segment| segment.p_type(endian) == elf::PT_NOTE) {
        let bytes = tail(head, segment.p_offset(endian).into());
        (writer, processors) = notes::processors(bounds::head(bytes, segment.p_filesz(endian).into()), order);
    }
    let segments = all.iter();
    let loads = segments.filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
    let segments = loads.map(|segment| ElfSegment {
        physical: Hex(segment.p_paddr(endian).into()),
        virtual_address: Hex(segment.p_vaddr(endian).into()),
        offset: segment.p_offset(endian).into(),
        size: segment.p_filesz(endian).into(),
    });
    Ok(ElfFacts {
        bits: if header.is_type_64() { 64 } else { 32 },
        byte_order: order,
        writer,
        processors,
        machine: machine.0,
        machine_name: match Architecture::from_elf(machine) {
            Some(architecture) => architecture.name(),
            None if machine == elf::EM_PPC => "powerpc",
            None => "",
        },
        segments: segments.collect(),
    })
}

fn check(facts: ElfFacts, stream: &mut Stream<'_>, findings: &mut Findings) -> io::Result<ElfFacts> {
    let mut end = 0;
    for (number, segment) in facts.segments.iter().enumerate() {
        match segment.offset.checked_add(segment.size) {
            Some(this) => end = end.max(this),
            None => findings.damaged(format!("program header {number}"), "p_filesz: it ends beyond any file"),
        }
    }
    if let Some(rest) = end.checked_sub(stream.position()) {
        match stream.skip(rest) {
            Ok(()) => {}
            Err(StreamError::End { at, .. }) => {
                let hit = facts.segments.iter().position(|segment| segment.offset.saturating_add(segment.size) > at);
                findings.damaged(
                    format!("segment {}", hit.unwrap_or(0)),
                    format!("the file ends after {at} bytes, its segments after {end}"),
                );
            }
            Err(stop) => findings.stopped("segments", stop)?,
        }
    }
    Ok(facts)
}
