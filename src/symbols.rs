//! Where the kernel's symbols lie: asked of the running kernel, or read from a kernel image.
//!
//! A kernel image is an ELF file (elf(5)) with a symbol table, such as `/boot/kernel/kernel`.

use crate::error::{Error, Result};
use crate::host::{Host, open_at_once};
use crate::units::hex;
use object::LittleEndian as LE;
use object::elf::{
    ELFCLASS64, ELFDATA2LSB, ELFMAG, FileHeader64, SHN_UNDEF, SHT_STRTAB, SHT_SYMTAB, STT_FUNC, STT_NOTYPE, STT_OBJECT,
    SectionHeader64, Sym64,
};
use object::pod::{Pod, from_bytes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A symbol of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Symbol {
    /// Its virtual address.
    #[serde(with = "hex")]
    pub address: u64,
    /// Bytes; 0 where that is not known.
    pub size: u64,
}

/// What knows where the kernel's symbols lie.
pub trait Symbols {
    /// The symbol of this name, if there is one.
    ///
    /// # Errors
    ///
    /// Those of kldsym(2).
    fn find(&self, name: &str) -> Result<Option<Symbol>>;
    /// Who knows, in messages.
    fn source(&self) -> String;
    /// Whether they are the running kernel's for certain.
    fn of_running_kernel(&self) -> bool;
}

/// The symbols of a host's running kernel.
pub struct Running<'a>(pub &'a dyn Host);

impl Symbols for Running<'_> {
    fn find(&self, name: &str) -> Result<Option<Symbol>> {
        self.0.kernel_symbol(name)
    }

    fn source(&self) -> String {
        "the running kernel".to_owned()
    }

    fn of_running_kernel(&self) -> bool {
        true
    }
}

/// More sections than any kernel has.
const MAX_SECTIONS: u16 = 4096;
/// More bytes of symbols than any kernel has, and more of their names.
const MAX_SYMBOLS: u64 = 256 << 20;
const MAX_NAMES: u64 = 256 << 20;
/// Symbols are read so many at a time.
const CHUNK: u64 = 4096;

/// Symbols of a kernel image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    path: PathBuf,
    symbols: BTreeMap<String, Symbol>,
}

impl Image {
    /// Reads where these symbols lie. Of the others nothing is kept.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no ELF file of 64 bits with a symbol table.
    pub fn open(path: &Path, names: &[&str]) -> Result<Self> {
        let failed = |source| Error::io("read", path, source);
        let file = open_at_once(path).map_err(|source| Error::io("open", path, source))?;
        let metadata = file.metadata().map_err(failed)?;
        let bad = |why: &str| Error::Format(format!("{}: not a usable kernel image: {why}", path.display()));
        if !metadata.is_file() {
            return Err(bad("it is not a regular file"));
        }
        let elf = Elf { file, length: metadata.len() };
        let symbols = elf.symbols(names).map_err(|error| match error {
            Problem::Io(source) => failed(source),
            Problem::Format(why) => bad(why),
        })?;
        Ok(Self { path: path.to_owned(), symbols })
    }
}

impl Symbols for Image {
    fn find(&self, name: &str) -> Result<Option<Symbol>> {
        Ok(self.symbols.get(name).copied())
    }

    fn source(&self) -> String {
        self.path.display().to_string()
    }

    fn of_running_kernel(&self) -> bool {
        false
    }
}

enum Problem {
    Io(io::Error),
    Format(&'static str),
}

const CUT_OFF: Problem = Problem::Format("it is cut off, or no ELF file of 64 bits");

struct Elf {
    file: File,
    length: u64,
}

impl Elf {
    /// Reads what the file is long enough for, and the caller has found small enough.
    fn bytes(&self, offset: u64, size: u64) -> Result<Vec<u8>, Problem> {
        if offset.checked_add(size).is_none_or(|end| end > self.length) {
            return Err(CUT_OFF);
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| CUT_OFF)?];
        self.file.read_exact_at(&mut bytes, offset).map_err(Problem::Io)?;
        Ok(bytes)
    }

    fn section(&self, header: &FileHeader64<LE>, index: u64) -> Result<SectionHeader64<LE>, Problem> {
        let entry = size_of::<SectionHeader64<LE>>() as u64;
        let offset = index.checked_mul(entry).and_then(|offset| header.e_shoff.get(LE).checked_add(offset));
        self.read(offset.ok_or(CUT_OFF)?)
    }

    fn read<T: Pod>(&self, offset: u64) -> Result<T, Problem> {
        let bytes = self.bytes(offset, size_of::<T>() as u64)?;
        from_bytes::<T>(&bytes).map(|(value, _)| *value).map_err(|()| CUT_OFF)
    }

    fn symbols(&self, names: &[&str]) -> Result<BTreeMap<String, Symbol>, Problem> {
        let header: FileHeader64<LE> = self.read(0)?;
        let ident = &header.e_ident;
        if ident.magic != ELFMAG || ident.class != ELFCLASS64 || ident.data != ELFDATA2LSB {
            return Err(Problem::Format("it is no little-endian ELF file of 64 bits"));
        }
        let sections = header.e_shnum.get(LE);
        if usize::from(header.e_shentsize.get(LE)) != size_of::<SectionHeader64<LE>>() || sections > MAX_SECTIONS {
            return Err(Problem::Format("its section headers are not as expected"));
        }
        for index in 0..sections {
            let table = self.section(&header, index.into())?;
            if table.sh_type.get(LE) == SHT_SYMTAB {
                let names_section = table.sh_link.get(LE);
                if names_section >= sections.into() {
                    return Err(Problem::Format("its symbols have no names"));
                }
                let strings = self.section(&header, names_section.into())?;
                return self.find(&table, &strings, names);
            }
        }
        Err(Problem::Format("it has no symbol table"))
    }

    fn find(
        &self,
        table: &SectionHeader64<LE>,
        strings: &SectionHeader64<LE>,
        names: &[&str],
    ) -> Result<BTreeMap<String, Symbol>, Problem> {
        if strings.sh_type.get(LE) != SHT_STRTAB {
            return Err(Problem::Format("its symbols have no names"));
        }
        let (size, names_size) = (table.sh_size.get(LE), strings.sh_size.get(LE));
        if size > MAX_SYMBOLS || names_size > MAX_NAMES {
            return Err(Problem::Format("its symbol table is larger than any kernel's"));
        }
        let strings = self.bytes(strings.sh_offset.get(LE), names_size)?;
        let entry = size_of::<Sym64<LE>>() as u64;
        let mut found = BTreeMap::new();
        let (mut offset, mut left) = (table.sh_offset.get(LE), size / entry);
        while left > 0 {
            let count = left.min(CHUNK);
            let bytes = self.bytes(offset, count * entry)?;
            let mut rest = bytes.as_slice();
            while let Ok((symbol, tail)) = from_bytes::<Sym64<LE>>(rest) {
                rest = tail;
                let kind = symbol.st_info.st_type();
                let named = [STT_OBJECT, STT_FUNC, STT_NOTYPE].contains(&kind) && symbol.st_shndx.get(LE) != SHN_UNDEF;
                if named && let Some(name) = name_of(&strings, symbol.st_name.get(LE), names) {
                    let place = Symbol { address: symbol.st_value.get(LE), size: symbol.st_size.get(LE) };
                    // As kldsym(2) does, the first of the name.
                    found.entry(name.to_owned()).or_insert(place);
                }
            }
            offset = offset.saturating_add(count * entry);
            left -= count;
        }
        Ok(found)
    }
}

/// The one of `names` that stands at an offset of the string table.
fn name_of<'a>(strings: &[u8], offset: u32, names: &[&'a str]) -> Option<&'a str> {
    let from = strings.get(usize::try_from(offset).ok()?..)?;
    names.iter().copied().find(|name| from.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0)))
}
