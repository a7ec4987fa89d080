//! What a file has beside what a [`Table`] keeps of it: its symbols in the order of the file, which other sections count on,
//! and sections by their names.

use super::Table;
use super::elf::{CUT_OFF, Elf, Problem, Sections, string_at};
use crate::bounds::{saturating_usize, tail};
use crate::error::{Error, Result};
use object::Endianness as ObjectEndianness;
use object::elf::{
    ET_EXEC, ET_REL, FileHeader32, FileHeader64, SHN_ABS, SHN_UNDEF, SHT_NOBITS, SHT_SYMTAB, STB_LOCAL, STT_FUNC,
    STT_OBJECT,
};
use object::pod::slice_from_all_bytes;
use object::read::elf::{FileHeader, SectionHeader, Sym};

/// What the file says that a symbol is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawKind {
    /// A variable, `STT_OBJECT`.
    Object,
    /// A function, `STT_FUNC`.
    Function,
    /// All else.
    Other,
}

/// What a linker has made of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    /// A program, as kernels are: `ET_EXEC`, or a shared object with an interpreter (`.interp`).
    Program,
    /// A shared object: a module on all architectures but amd64.
    SharedObject,
    /// A relocatable file: a module on amd64.
    Relocatable,
}

/// A symbol of a file's `.symtab`.
#[derive(Debug, Clone, Copy)]
pub struct RawSymbol<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// What it is.
    pub kind: RawKind,
    /// Whether another file defines it.
    pub is_undefined: bool,
    /// Whether its name is known in one source file alone, `STB_LOCAL`.
    pub is_local: bool,
    /// Whether it is a number, and not a place.
    pub is_absolute: bool,
    /// As the file has it.
    pub value: u64,
    /// Bytes; 0 where that is not known.
    pub size: u64,
    /// Where it lies, as in the file's [`Table`]; `None` where that is not known.
    pub address: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    /// Where its name is in the string table.
    name: usize,
    symbol: RawSymbol<'static>,
}

/// The symbols of a file in its order, without the first, empty one.
#[derive(Debug, Clone)]
pub struct RawSymbols {
    records: Vec<Record>,
    strings: Vec<u8>,
    linked: Linked,
}

impl RawSymbols {
    /// The symbols.
    pub fn iter(&self) -> impl Iterator<Item = RawSymbol<'_>> {
        self.records.iter().map(|record| RawSymbol {
            name: string_at(&self.strings, record.name).unwrap_or_default(),
            ..record.symbol
        })
    }

    /// What the file is.
    pub fn linked(&self) -> Linked {
        self.linked
    }

    /// The string table that their names are from.
    pub fn strings(&self) -> &[u8] {
        &self.strings
    }
}

impl Table {
    /// The symbols of the file's `.symtab` in its order; `None` of a file that was stripped of them.
    ///
    /// # Errors
    ///
    /// The file cannot be read any more.
    pub fn raw_symbols(&self) -> Result<Option<RawSymbols>> {
        let read = |elf: &Elf<'_>| match self.pointer_size() {
            8 => raw_symbols_of::<FileHeader64<ObjectEndianness>>(elf, self),
            _ => raw_symbols_of::<FileHeader32<ObjectEndianness>>(elf, self),
        };
        self.look(read)
    }

    /// The contents of the first section of this name, as they are in the file; `None` where there is none.
    ///
    /// # Errors
    ///
    /// The file cannot be read any more, or the section is larger than `limit`.
    pub fn section(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let read = |elf: &Elf<'_>| match self.pointer_size() {
            8 => section_of::<FileHeader64<ObjectEndianness>>(elf, name, limit),
            _ => section_of::<FileHeader32<ObjectEndianness>>(elf, name, limit),
        };
        self.look(read)
    }

    fn look<T>(&self, read: impl FnOnce(&Elf<'_>) -> Result<T, Problem>) -> Result<T> {
        let metadata = self.file().metadata().map_err(|source| Error::io("read", self.path(), source))?;
        let elf = Elf { file: self.file(), length: metadata.len() };
        read(&elf).map_err(|problem| problem.error(self.path()))
    }
}

impl<E: FileHeader<Endian = ObjectEndianness>> Sections<'_, E> {
    fn linked(&self) -> Result<Linked, Problem> {
        let kind = self.header.e_type(self.endian);
        if kind == ET_REL {
            return Ok(Linked::Relocatable);
        }
        let names = self.section_names()?;
        let is_program = kind == ET_EXEC || self.sections.iter().any(|of| self.is_named(of, &names, b".interp"));
        Ok(if is_program { Linked::Program } else { Linked::SharedObject })
    }
}

fn section_of<E: FileHeader<Endian = ObjectEndianness>>(
    elf: &Elf<'_>,
    name: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, Problem> {
    let (header, endian, bytes) = elf.headers::<E>()?;
    let sections: &[E::SectionHeader] = slice_from_all_bytes(&bytes).map_err(|()| CUT_OFF)?;
    let file = Sections { elf, header, endian, sections };
    let names = file.section_names()?;
    let is_it = |section: &&E::SectionHeader| {
        section.sh_type(endian) != SHT_NOBITS && file.is_named(section, &names, name.as_bytes())
    };
    let Some(section) = sections.iter().find(is_it) else { return Ok(None) };
    if section.sh_size(endian).into() > limit {
        return Err(Problem::Format("one of its sections is larger than any kernel's"));
    }
    file.data(section, limit).map(Some)
}

fn raw_symbols_of<E: FileHeader<Endian = ObjectEndianness>>(
    elf: &Elf<'_>,
    table: &Table,
) -> Result<Option<RawSymbols>, Problem> {
    let (header, endian, bytes) = elf.headers::<E>()?;
    let sections: &[E::SectionHeader] = slice_from_all_bytes(&bytes).map_err(|()| CUT_OFF)?;
    let file = Sections { elf, header, endian, sections };
    if sections.iter().all(|section| section.sh_type(endian) != SHT_SYMTAB) {
        return Ok(None);
    }
    let (symbols, strings) = file.tables()?;
    let symbols: &[E::Sym] = slice_from_all_bytes(&symbols).map_err(|()| CUT_OFF)?;
    let record = |symbol: &E::Sym| {
        let value = symbol.st_value(endian).into();
        let index = symbol.st_shndx(endian);
        let section = index.index().map(usize::from);
        let base = if index == SHN_ABS { Some(0) } else { section.and_then(|section| table.section_base(section)) };
        let kind = match symbol.st_type() {
            STT_OBJECT => RawKind::Object,
            STT_FUNC => RawKind::Function,
            _ => RawKind::Other,
        };
        let found = RawSymbol {
            name: &[],
            kind,
            is_undefined: index == SHN_UNDEF,
            is_local: symbol.st_bind() == STB_LOCAL,
            is_absolute: index == SHN_ABS,
            value,
            size: symbol.st_size(endian).into(),
            address: base.map(|base| file.address(base, value)),
        };
        Record { name: saturating_usize(symbol.st_name(endian)), symbol: found }
    };
    let records = tail(symbols, 1).iter().map(record).collect();
    Ok(Some(RawSymbols { records, strings, linked: file.linked()? }))
}
