//! Reads an ELF file (elf(5)) of a kernel or a module: its symbols, and what else a table keeps of it.

mod sections;

pub(super) use sections::Sections;

use super::Symbol;
use super::copied_sets::{CopiedSection, CopiedSet};
use super::entry::{Binding, SymbolKind};
use crate::architecture::{Architecture, Endianness};
use crate::bounds::part;
use crate::dump::foreign::{self, Foreign};
use crate::dump::stream::compression_of;
use crate::error::{Error, Result};
use crate::kerneldump::Compression;
use crate::opened::read_exact_at;
use object::Endianness as ObjectEndianness;
use object::elf::{
    ELFCLASS32, ELFCLASS64, ELFDATA2LSB, ELFDATA2MSB, ELFMAG, ET_DYN, ET_EXEC, ET_REL, FileClass, FileHeader32,
    FileHeader64,
};
use object::pod::{Pod, from_bytes, slice_from_all_bytes};
use object::read::elf::FileHeader;
use std::cmp::Reverse;
use std::fs::File;
use std::io;
use std::path::Path;
use std::str;

/// More sections than any kernel has.
const MAX_SECTIONS: u16 = 4096;
/// Bytes that a relocation changes, at most.
const RELOCATED: u64 = 8;
/// A longer name is none.
const MAX_NAME: usize = 1024;

/// A section of a relocatable file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedSection {
    /// Its name, which need not be text.
    pub name: Vec<u8>,
    /// Its address in memory; `None` where the kernel keeps the contents elsewhere and that is not known, or nowhere.
    pub address: Option<u64>,
}

/// A section of code, into which the kernel's linker writes addresses when it loads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RelocatedCode {
    pub(super) section: Stored,
    /// Where in the section it writes, in order.
    pub(super) written: Vec<u64>,
}

/// A section in the file, and where it is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) offset: u64,
}

/// A section that a kernel writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WritableSection {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Where it is in the file; `None` where it is not: it begins as zeros, or another file has it.
    pub(super) offset: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) symbol: Symbol,
    /// Where its name is in the table's.
    pub(super) name: usize,
    pub(super) length: usize,
    pub(super) kind: SymbolKind,
    pub(super) binding: Binding,
    pub(super) is_code: bool,
}

/// The addresses that a symbol covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u64,
    pub(super) last: u64,
    /// The highest `last` of this span and of all before.
    pub(super) highest: u64,
    pub(super) record: usize,
}

pub(super) fn name_of<'a>(names: &'a [u8], record: &Record) -> &'a [u8] {
    part(names, record.name..record.name + record.length)
}

/// The text from an offset up to a NUL.
pub(super) fn string_at(strings: &[u8], offset: usize) -> Option<&[u8]> {
    let rest = strings.get(offset..)?;
    let rest = rest.get(..rest.len().min(MAX_NAME + 1))?;
    rest.get(..rest.iter().position(|byte| *byte == 0)?)
}

pub(super) enum Problem {
    Io(io::Error),
    Format(&'static str),
    Foreign(Foreign),
}

impl Problem {
    /// What is wrong with a file.
    pub(super) fn error(self, path: &Path) -> Error {
        let bad = |why: &str| unusable(path, why);
        match self {
            Self::Io(source) => Error::io("read", path, source),
            Self::Format(why) => bad(why),
            Self::Foreign(other) => bad(&format!("it is {}; {}", other.name, other.remedy)),
        }
    }
}

pub(super) fn unusable(path: &Path, why: &str) -> Error {
    Error::Format(format!("{}: not a usable kernel image: {why}", path.display()))
}

pub(super) const CUT_OFF: Problem = Problem::Format("it is truncated, or not an ELF file");

/// The build ID of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BuildId {
    pub(super) id: Vec<u8>,
    /// The section of notes that it is in.
    pub(super) section: Vec<u8>,
    /// Where that is loaded; a relocatable file does not say.
    pub(super) address: Option<u64>,
}

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageFacts {
    pub(super) architecture: Option<Architecture>,
    pub(super) order: Endianness,
    pub(super) pointer_size: usize,
    pub(super) entry: u64,
    pub(super) flags: u32,
    pub(super) version: Option<String>,
    pub(super) build_id: Option<BuildId>,
    pub(super) displacement: u64,
}

/// What a file holds.
pub(super) struct Contents {
    pub(super) facts: ImageFacts,
    pub(super) names: Vec<u8>,
    /// With the number of the section that a symbol lies in.
    pub(super) symbols: Vec<(Record, Option<usize>)>,
    pub(super) places: Vec<SectionRange>,
    pub(super) read_only: Vec<Stored>,
    pub(super) writable: Vec<WritableSection>,
    pub(super) code: Vec<RelocatedCode>,
    pub(super) loaded: Option<Vec<PlacedSection>>,
    pub(super) copied: Vec<CopiedSection>,
}

/// Where a section lies in memory.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SectionRange {
    pub(super) first: u64,
    /// Its last address; `None` where it is empty, or not in memory.
    pub(super) last: Option<u64>,
    /// What its symbols' values count from; `None` where that is not known.
    pub(super) base: Option<u64>,
}

impl RelocatedCode {
    /// Whether the kernel's linker writes to a byte.
    pub(super) fn is_written(&self, at: u64) -> bool {
        let before = self.written.partition_point(|written| *written <= at);
        let last = before.checked_sub(1).and_then(|index| self.written.get(index));
        last.is_some_and(|last| at - last < RELOCATED)
    }
}

impl Contents {
    pub(super) fn sort(&mut self) {
        let Self { names, symbols, .. } = self;
        symbols.sort_by(|(a, _), (b, _)| {
            let key = |record: &Record| (record.binding, record.symbol.address);
            name_of(names, a).cmp(name_of(names, b)).then_with(|| key(a).cmp(&key(b)))
        });
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        // Values are not places, and a place in another section's addresses says nothing of them.
        let mut spans: Vec<(Span, &Record)> = Vec::new();
        for (index, (record, section)) in self.symbols.iter().enumerate() {
            let place = section.and_then(|section| self.places.get(section));
            let Some(last) = place.and_then(|place| place.last) else { continue };
            let first = record.symbol.address;
            if place.is_some_and(|place| place.first <= first) && first <= last {
                spans.push((Span { first, last, highest: 0, record: index }, record));
            }
        }
        spans.sort_by_key(|(span, record)| {
            let is_label = record.kind == SymbolKind::Label;
            let is_ifunc = record.kind == SymbolKind::Ifunc;
            (span.first, Reverse((record.symbol.size == 0, is_label, is_ifunc, record.binding, span.record)))
        });
        let mut next: Option<u64> = None;
        let mut current = None;
        for (span, record) in spans.iter_mut().rev() {
            if current != Some(span.first) {
                next = current;
                current = Some(span.first);
            }
            match record.symbol.size.checked_sub(1) {
                Some(behind) => span.last = span.first.saturating_add(behind),
                None => span.last = next.map_or(span.last, |next| span.last.min(next.saturating_sub(1))),
            }
        }
        let mut highest = 0;
        let set = |(mut span, _): (Span, _)| {
            highest = span.last.max(highest);
            span.highest = highest;
            span
        };
        spans.into_iter().map(set).collect()
    }
}

pub(super) struct Elf<'a> {
    pub(super) file: &'a File,
    pub(super) length: u64,
}

impl Elf<'_> {
    /// Reads what the file is long enough for, and the caller has found small enough.
    fn bytes(&self, offset: u64, size: u64) -> Result<Vec<u8>, Problem> {
        if offset.checked_add(size).is_none_or(|end| end > self.length) {
            return Err(CUT_OFF);
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| CUT_OFF)?];
        read_exact_at(self.file, &mut bytes, offset).map_err(Problem::Io)?;
        Ok(bytes)
    }

    fn read<T: Pod>(&self, offset: u64) -> Result<T, Problem> {
        let bytes = self.bytes(offset, size_of::<T>() as u64)?;
        from_bytes::<T>(&bytes).map(|(value, _)| *value).map_err(|()| CUT_OFF)
    }

    /// The format that the file has in place of ELF, if it is a known one.
    fn recognised(&self) -> Result<Option<Foreign>, Problem> {
        let head = self.bytes(0, self.length.min(MAGIC))?;
        Ok(match compression_of(&head) {
            Compression::Gzip => Some(Foreign { name: "compressed with gzip", remedy: "decompress it with gunzip(1)" }),
            Compression::Zstd => Some(Foreign { name: "compressed with zstd", remedy: "decompress it with unzstd(1)" }),
            Compression::None => foreign::recognise(&head),
        })
    }

    pub(super) fn contents(&self, address: u64, set_places: &[(CopiedSet, u64)]) -> Result<Contents, Problem> {
        let ident: [u8; 6] = self.read(0)?;
        let [magic @ .., class, data] = ident;
        if magic != ELFMAG
            && let Some(other) = self.recognised()?
        {
            return Err(Problem::Foreign(other));
        }
        if magic != ELFMAG || ![ELFDATA2LSB.0, ELFDATA2MSB.0].contains(&data) {
            return Err(Problem::Format("it is not an ELF file"));
        }
        match FileClass(class) {
            ELFCLASS32 => self.contents_of::<FileHeader32<ObjectEndianness>>(address, set_places),
            ELFCLASS64 => self.contents_of::<FileHeader64<ObjectEndianness>>(address, set_places),
            _ => Err(Problem::Format("it is not an ELF file")),
        }
    }

    /// The file's header and order of bytes, and its section headers.
    pub(super) fn headers<E: FileHeader<Endian = ObjectEndianness>>(
        &self,
    ) -> Result<(E, ObjectEndianness, Vec<u8>), Problem> {
        let header: E = self.read(0)?;
        let endian = header.endian().map_err(|_| CUT_OFF)?;
        if ![ET_EXEC, ET_DYN, ET_REL].contains(&header.e_type(endian)) {
            return Err(Problem::Format("it is neither a kernel nor a module"));
        }
        let (count, entry) = (header.e_shnum(endian), size_of::<E::SectionHeader>());
        if usize::from(header.e_shentsize(endian)) != entry || count > MAX_SECTIONS {
            return Err(Problem::Format("its section headers are not as expected"));
        }
        let bytes = self.bytes(header.e_shoff(endian).into(), u64::from(count).saturating_mul(entry as u64))?;
        Ok((header, endian, bytes))
    }

    fn contents_of<E: FileHeader<Endian = ObjectEndianness>>(
        &self,
        address: u64,
        set_places: &[(CopiedSet, u64)],
    ) -> Result<Contents, Problem> {
        let (header, endian, bytes) = self.headers::<E>()?;
        let sections: &[E::SectionHeader] = slice_from_all_bytes(&bytes).map_err(|()| CUT_OFF)?;
        let is_64_bit = E::is_type_64_sized();
        let file = Sections { elf: self, header, endian, sections };
        let (symbols, mut names) = file.tables()?;
        let symbols: &[E::Sym] = slice_from_all_bytes(&symbols).map_err(|()| CUT_OFF)?;
        let mut places = file.places(address)?;
        let copied = file.copied_sections(&places)?;
        file.move_sets(&mut places, &copied, set_places);
        let symbols = file.symbols(symbols, &mut names, &places, address)?;
        let facts = ImageFacts {
            architecture: Architecture::from_elf(header.e_machine(endian)),
            order: file.order(),
            pointer_size: if is_64_bit { 8 } else { 4 },
            entry: header.e_entry(endian).into(),
            flags: header.e_flags(endian).0,
            version: file.version(&names, &symbols, &places),
            build_id: file.build_id(&places),
            displacement: if header.e_type(endian) == ET_REL { 0 } else { file.base(address) },
        };
        let read_only = file.read_only(&places);
        let writable = file.writable(&places);
        let code = file.relocated_code(&places);
        let loaded = file.loaded(&places)?;
        Ok(Contents { facts, names, symbols, places, read_only, writable, code, loaded, copied })
    }
}

/// Bytes by which formats are told.
const MAGIC: u64 = 4096;
