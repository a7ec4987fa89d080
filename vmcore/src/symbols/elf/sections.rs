//! The sections of an ELF file: where they are in memory, and what is in them.

use super::super::Symbol;
use super::super::copied_sets::{CopiedSection, CopiedSet};
use super::super::entry::{Binding, SymbolKind};
use super::{
    BuildId, Elf, PlacedSection, Problem, Record, RelocatedCode, SectionRange, Stored, WritableSection, name_of,
    string_at,
};
use crate::architecture::Endianness;
use crate::error::Result;
use crate::text::until_nul;
use object::Endianness as ObjectEndianness;
use object::elf::{
    ELF_NOTE_GNU, EM_PPC64, ET_EXEC, ET_REL, NT_GNU_BUILD_ID, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHN_ABS, SHT_DYNSYM,
    SHT_FINI_ARRAY, SHT_INIT_ARRAY, SHT_NOBITS, SHT_NOTE, SHT_PROGBITS, SHT_RELA, SHT_STRTAB, SHT_SYMTAB,
    SHT_X86_64_UNWIND, STB_LOCAL, STB_WEAK, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE, STT_OBJECT,
};
use object::read::elf::{FileHeader, NoteIterator, SectionHeader, Sym};
use std::str;

/// More bytes of symbols than any kernel has, of their names, of the sections' names, and of function descriptors.
const MAX_SYMBOLS: u64 = 64 << 20;
const MAX_NAMES: u64 = 128 << 20;
const MAX_SECTION_NAMES: u64 = 1 << 20;
const MAX_DESCRIPTORS: u64 = 16 << 20;
/// More bytes of notes than any kernel has in a section.
const MAX_NOTES: u64 = 1 << 16;
/// More bytes of relocations than any module has.
const MAX_RELOCATIONS: u64 = 64 << 20;
/// More bytes of `version` than any kernel has.
const MAX_VERSION: u64 = 1024;
/// Bytes of a function descriptor.
const DESCRIPTOR: u64 = 24;

/// An ELF file with its section headers.
pub(in crate::symbols) struct Sections<'a, E: FileHeader<Endian = ObjectEndianness>> {
    pub(in crate::symbols) elf: &'a Elf<'a>,
    pub(in crate::symbols) header: E,
    pub(in crate::symbols) endian: ObjectEndianness,
    pub(in crate::symbols) sections: &'a [E::SectionHeader],
}

impl<E: FileHeader<Endian = ObjectEndianness>> Sections<'_, E> {
    pub(super) fn order(&self) -> Endianness {
        if self.endian == ObjectEndianness::Big { Endianness::Big } else { Endianness::Little }
    }

    /// An address of the file's architecture.
    pub(in crate::symbols) fn address(&self, base: u64, value: u64) -> u64 {
        let address = base.wrapping_add(value);
        if E::is_type_64_sized() { address } else { address & u64::from(u32::MAX) }
    }

    /// Reads a section that is not larger than any kernel's.
    pub(in crate::symbols) fn data(&self, section: &E::SectionHeader, limit: u64) -> Result<Vec<u8>, Problem> {
        let size = section.sh_size(self.endian).into();
        if size > limit {
            return Err(Problem::Format("its symbol table is larger than any kernel's"));
        }
        self.elf.bytes(section.sh_offset(self.endian).into(), size)
    }

    /// The symbols and the string table with their names.
    pub(in crate::symbols) fn tables(&self) -> Result<(Vec<u8>, Vec<u8>), Problem> {
        // What strip(1) leaves is the dynamic table: the global symbols.
        let of_type = |kind| self.sections.iter().find(|section| section.sh_type(self.endian) == kind);
        let table = of_type(SHT_SYMTAB).or_else(|| of_type(SHT_DYNSYM));
        let table = table.ok_or(Problem::Format("it has no symbol table"))?;
        let strings = usize::try_from(table.sh_link(self.endian)).ok().and_then(|link| self.sections.get(link));
        let strings = strings.filter(|strings| strings.sh_type(self.endian) == SHT_STRTAB);
        let strings = strings.ok_or(Problem::Format("its symbols have no names"))?;
        Ok((self.data(table, MAX_SYMBOLS)?, self.data(strings, MAX_NAMES)?))
    }

    pub(in crate::symbols) fn section_names(&self) -> Result<Vec<u8>, Problem> {
        let index = self.header.e_shstrndx(self.endian).index().map(usize::from);
        match index.and_then(|index| self.sections.get(index)) {
            Some(section) if section.sh_type(self.endian) == SHT_STRTAB => self.data(section, MAX_SECTION_NAMES),
            _ => Ok(Vec::new()),
        }
    }

    pub(in crate::symbols) fn is_named(&self, section: &E::SectionHeader, names: &[u8], name: &[u8]) -> bool {
        let offset = usize::try_from(section.sh_name(self.endian)).ok();
        offset.and_then(|offset| string_at(names, offset)) == Some(name)
    }

    /// Where the sections lie in memory, as a module's file tells.
    pub(super) fn places(&self, address: u64) -> Result<Vec<SectionRange>, Problem> {
        let endian = self.endian;
        let is_relocatable = self.header.e_type(endian) == ET_REL;
        let mut end = address;
        let mut place = |section: &E::SectionHeader| {
            let size: u64 = section.sh_size(endian).into();
            if !section.sh_flags(endian).contains(SHF_ALLOC) {
                return SectionRange { base: (!is_relocatable).then_some(address), ..SectionRange::default() };
            }
            if !is_relocatable {
                let first = self.address(self.base(address), section.sh_addr(endian).into());
                let last = size.checked_sub(1).map(|behind| first.saturating_add(behind));
                return SectionRange { first, last, base: Some(self.base(address)) };
            }
            let is_loaded = [SHT_PROGBITS, SHT_NOBITS, SHT_X86_64_UNWIND, SHT_INIT_ARRAY, SHT_FINI_ARRAY]
                .contains(&section.sh_type(endian));
            if !is_loaded || size == 0 {
                return SectionRange::default();
            }
            let alignment: u64 = section.sh_addralign(endian).into();
            let first = end.checked_next_multiple_of(alignment.max(1)).unwrap_or(end);
            end = first.saturating_add(size);
            SectionRange { first, last: Some(end.saturating_sub(1)), base: Some(first) }
        };
        Ok(self.sections.iter().map(&mut place).collect())
    }

    /// The sections of variables that have copies, with their places in the module.
    pub(super) fn copied_sections(&self, places: &[SectionRange]) -> Result<Vec<CopiedSection>, Problem> {
        let names = self.section_names()?;
        let copied = |(number, (section, place)): (usize, (&E::SectionHeader, &SectionRange))| {
            let is_it = |set: &CopiedSet| self.is_named(section, &names, set.section().as_bytes());
            let (set, last) = (CopiedSet::ALL.into_iter().find(is_it)?, place.last?);
            let size = last.checked_sub(place.first)?.checked_add(1)?;
            Some(CopiedSection { set, number, address: place.first, size })
        };
        Ok(self.sections.iter().zip(places).enumerate().filter_map(copied).collect())
    }

    /// Has sections of variables that have copies lie where the kernel has them. What is not known of a relocatable file's is
    /// nowhere: the kernel does not use the place beside the other sections.
    pub(super) fn move_sets(
        &self,
        places: &mut [SectionRange],
        copied: &[CopiedSection],
        set_places: &[(CopiedSet, u64)],
    ) {
        for CopiedSection { set, number, size, .. } in copied {
            let Some((place, section)) = places.get_mut(*number).zip(self.sections.get(*number)) else { continue };
            let known = set_places.iter().find(|(other, _)| other == set);
            *place = match known {
                Some((_, first)) => SectionRange {
                    first: *first,
                    last: size.checked_sub(1).and_then(|behind| first.checked_add(behind)),
                    base: Some(first.wrapping_sub(section.sh_addr(self.endian).into())),
                },
                None if self.header.e_type(self.endian) == ET_REL => SectionRange::default(),
                None => continue,
            };
        }
    }

    /// The sections of a relocatable file that are in memory.
    pub(super) fn loaded(&self, places: &[SectionRange]) -> Result<Option<Vec<PlacedSection>>, Problem> {
        if self.header.e_type(self.endian) != ET_REL {
            return Ok(None);
        }
        let names = self.section_names()?;
        let loaded = |(section, place): (&E::SectionHeader, &SectionRange)| {
            let name = string_at(&names, usize::try_from(section.sh_name(self.endian)).ok()?)?;
            let is_loaded = section.sh_flags(self.endian).contains(SHF_ALLOC);
            is_loaded.then(|| PlacedSection { name: name.to_vec(), address: place.base })
        };
        Ok(Some(self.sections.iter().zip(places).filter_map(loaded).collect()))
    }

    /// What symbols' values count from outside of relocatable files.
    pub(super) fn base(&self, address: u64) -> u64 {
        if self.header.e_type(self.endian) == ET_EXEC { 0 } else { address }
    }

    pub(super) fn symbols(
        &self,
        symbols: &[E::Sym],
        names: &mut Vec<u8>,
        places: &[SectionRange],
        address: u64,
    ) -> Result<Vec<(Record, Option<usize>)>, Problem> {
        let endian = self.endian;
        let is_relocatable = self.header.e_type(endian) == ET_REL;
        let descriptors = self.descriptors()?;
        let mut found = Vec::new();
        for symbol in symbols {
            let kind = match symbol.st_type() {
                STT_FUNC => SymbolKind::Function,
                STT_OBJECT => SymbolKind::Object,
                STT_GNU_IFUNC => SymbolKind::Ifunc,
                STT_NOTYPE => SymbolKind::Label,
                _ => continue,
            };
            let binding = match symbol.st_bind() {
                STB_LOCAL => Binding::Local,
                STB_WEAK => Binding::Weak,
                _ => Binding::Global,
            };
            let index = symbol.st_shndx(endian);
            let section = index.index().map(usize::from);
            let place = section.and_then(|section| places.get(section));
            let value: u64 = symbol.st_value(endian).into();
            let base = match (index, place) {
                (SHN_ABS, _) => Some(0),
                (_, Some(place)) => place.base,
                (_, None) if section.is_some() && !is_relocatable => Some(self.base(address)),
                _ => None,
            };
            let Some(base) = base else { continue };
            let Ok(offset) = usize::try_from(symbol.st_name(endian)) else { continue };
            let Some(name) = string_at(names, offset).filter(|name| is_name(name, kind, binding)) else { continue };
            let place = Symbol { address: self.address(base, value), size: symbol.st_size(endian).into() };
            let is_code = |section: Option<usize>| {
                let section = section.and_then(|section| self.sections.get(section));
                section.is_some_and(|section| section.sh_flags(endian).contains(SHF_EXECINSTR))
            };
            let (length, in_code) = (name.len(), is_code(section));
            let mut record = Record { symbol: place, name: offset, length, kind, binding, is_code: in_code };
            if let Some(descriptors) = &descriptors
                && section == Some(descriptors.section)
                && kind == SymbolKind::Function
            {
                if let Some(entry) = descriptors.entry(value) {
                    let dotted = [&b"."[..], name].concat();
                    let at = self.address(self.base(address), entry);
                    let code = Record { name: names.len(), length: dotted.len(), ..record.clone() };
                    let section = places.iter().position(|place| place.contains(at));
                    let symbol = Symbol { address: at, size: place.size };
                    found.push((Record { symbol, is_code: is_code(section), ..code }, section));
                    names.extend(dotted);
                }
                record.symbol.size = DESCRIPTOR;
            }
            found.push((record, section));
        }
        Ok(found)
    }

    /// The function descriptors of a powerpc64 kernel that has them.
    fn descriptors(&self) -> Result<Option<Descriptors>, Problem> {
        let endian = self.endian;
        if self.header.e_machine(endian) != EM_PPC64 || self.header.e_flags(endian).ppc64_abi() >= 2 {
            return Ok(None);
        }
        let names = self.section_names()?;
        let Some(section) = self.sections.iter().position(|section| self.is_named(section, &names, b".opd")) else {
            return Ok(None);
        };
        let Some(header) = self.sections.get(section) else { return Ok(None) };
        let data = match header.sh_type(endian) {
            SHT_PROGBITS => self.data(header, MAX_DESCRIPTORS)?,
            _ => Vec::new(),
        };
        Ok(Some(Descriptors { section, address: header.sh_addr(endian).into(), data, order: self.order() }))
    }

    /// The code of a relocatable file of 64 bits, and where it is relocated. None where that cannot be read.
    pub(super) fn relocated_code(&self, places: &[SectionRange]) -> Vec<RelocatedCode> {
        let endian = self.endian;
        if self.header.e_type(endian) != ET_REL || !self.header.is_type_64() {
            return Vec::new();
        }
        let code = |(index, (section, place)): (usize, (&E::SectionHeader, &SectionRange))| {
            let is_code = section.sh_flags(endian).contains(SHF_EXECINSTR) && section.sh_type(endian) == SHT_PROGBITS;
            let last = place.last.filter(|_| is_code)?;
            let offset = section.sh_offset(endian).into();
            Some(RelocatedCode { section: Stored { first: place.first, last, offset }, written: self.written(index)? })
        };
        self.sections.iter().zip(places).enumerate().filter_map(code).collect()
    }

    /// Where a section is relocated (`Elf64_Rela`); `None` where that cannot be read.
    fn written(&self, section: usize) -> Option<Vec<u64>> {
        let is_of = |other: &&E::SectionHeader| {
            other.sh_type(self.endian) == SHT_RELA && usize::try_from(other.sh_info(self.endian)) == Ok(section)
        };
        let mut written = Vec::new();
        for relocations in self.sections.iter().filter(is_of) {
            let data = self.data(relocations, MAX_RELOCATIONS).ok()?;
            let (entries, _) = data.as_chunks::<24>();
            written.extend(entries.iter().filter_map(|entry| entry.first_chunk()).map(|offset| match self.endian {
                ObjectEndianness::Little => u64::from_le_bytes(*offset),
                ObjectEndianness::Big => u64::from_be_bytes(*offset),
            }));
        }
        written.sort_unstable();
        Some(written)
    }

    /// The sections that hold what the kernel does not write to. What a relocatable file has is yet to be relocated.
    pub(super) fn read_only(&self, places: &[SectionRange]) -> Vec<Stored> {
        let endian = self.endian;
        let stored = |(section, place): (&E::SectionHeader, &SectionRange)| {
            let flags = section.sh_flags(endian);
            let is_kept = flags.contains(SHF_ALLOC) && !flags.contains(SHF_WRITE);
            let is_there = section.sh_type(endian) == SHT_PROGBITS;
            let last = place.last.filter(|_| is_kept && is_there)?;
            let (offset, size): (u64, u64) = (section.sh_offset(endian).into(), section.sh_size(endian).into());
            let is_whole = offset.checked_add(size).is_some_and(|end| end <= self.elf.length);
            is_whole.then_some(Stored { first: place.first, last, offset })
        };
        match self.header.e_type(endian) {
            ET_REL => Vec::new(),
            _ => self.sections.iter().zip(places).filter_map(stored).collect(),
        }
    }

    /// The sections that hold what the kernel writes to.
    pub(super) fn writable(&self, places: &[SectionRange]) -> Vec<WritableSection> {
        let endian = self.endian;
        let written = |(section, place): (&E::SectionHeader, &SectionRange)| {
            let flags = section.sh_flags(endian);
            let last = place.last.filter(|_| flags.contains(SHF_ALLOC) && flags.contains(SHF_WRITE))?;
            let is_stored = section.sh_type(endian) != SHT_NOBITS;
            let offset = is_stored.then(|| section.sh_offset(endian).into());
            Some(WritableSection { first: place.first, last, offset })
        };
        self.sections.iter().zip(places).filter_map(written).collect()
    }

    /// The build ID. A section of notes that is damaged has none.
    pub(super) fn build_id(&self, places: &[SectionRange]) -> Option<BuildId> {
        let endian = self.endian;
        let is_linked = self.header.e_type(endian) != ET_REL;
        let sections = self.sections.iter().zip(places).filter(|(section, _)| section.sh_type(endian) == SHT_NOTE);
        sections.into_iter().find_map(|(section, place)| {
            let data = self.data(section, MAX_NOTES).ok()?;
            let mut notes = NoteIterator::<E>::new(endian, section.sh_addralign(endian), &data).ok()?;
            while let Some(note) = notes.next().ok()? {
                if (note.name(), note.n_type(endian)) == (ELF_NOTE_GNU, NT_GNU_BUILD_ID) {
                    let address = (is_linked && place.last.is_some()).then_some(place.first);
                    return Some(BuildId { id: note.desc().to_vec(), section: data.to_vec(), address });
                }
            }
            None
        })
    }

    /// The kernel's `version`.
    pub(super) fn version(
        &self,
        names: &[u8],
        symbols: &[(Record, Option<usize>)],
        places: &[SectionRange],
    ) -> Option<String> {
        let is_version = |record: &Record| {
            (record.kind, record.binding) == (SymbolKind::Object, Binding::Global)
                && name_of(names, record) == b"version"
        };
        let (record, section) = symbols.iter().find(|(record, _)| is_version(record))?;
        let (section, place) = (self.sections.get((*section)?)?, places.get((*section)?)?);
        if section.sh_type(self.endian) != SHT_PROGBITS || !place.contains(record.symbol.address) {
            return None;
        }
        let offset = record.symbol.address.checked_sub(place.first)?;
        let remaining = place.last?.checked_sub(record.symbol.address)?.saturating_add(1).min(MAX_VERSION);
        let text = self.elf.bytes(section.sh_offset(self.endian).into().checked_add(offset)?, remaining).ok()?;
        let text = until_nul(&text);
        Some(String::from_utf8_lossy(text).into_owned()).filter(|text| !text.is_empty())
    }
}

impl SectionRange {
    pub(super) fn contains(&self, address: u64) -> bool {
        self.first <= address && self.last.is_some_and(|last| address <= last)
    }
}

/// Whether a name is a symbol's for people; assemblers and linkers have others of their own.
fn is_name(name: &[u8], kind: SymbolKind, binding: Binding) -> bool {
    let is_theirs =
        (kind, binding) == (SymbolKind::Label, Binding::Local) && (name.starts_with(b"$") || name.starts_with(b".L"));
    !name.is_empty() && !is_theirs && str::from_utf8(name).is_ok()
}

/// Function descriptors: the first of their three words is the address of the code.
struct Descriptors {
    section: usize,
    address: u64,
    data: Vec<u8>,
    order: Endianness,
}

impl Descriptors {
    /// Where the code is; `None` if only relocation tells.
    fn entry(&self, descriptor: u64) -> Option<u64> {
        let offset = usize::try_from(descriptor.checked_sub(self.address)?).ok()?;
        let word = self.order.u64(*self.data.get(offset..)?.first_chunk()?);
        (word != 0).then_some(word)
    }
}
