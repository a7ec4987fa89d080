//! The symbols of one ELF file (elf(5)): a kernel, a kernel module, or the file with the debug information of one.
//!
//! Modules are placed as `sys/kern/link_elf.c` places shared objects (`ET_DYN`), and as `sys/kern/link_elf_obj.c` and
//! the loader place the sections of relocatable files (`ET_REL`, on amd64). Where the functions of a powerpc64 kernel
//! have descriptors (ELF ABI version 1, until `FreeBSD` 12), a function's symbol is its descriptor, and its code is
//! called the same with a dot before it, as debuggers call it.

use super::copied_sets::{CopiedSection, CopiedSet};
use super::{Pattern, Symbol, Symbols};
use crate::architecture::{Architecture, Endianness};
use crate::bounds::{at_most, head_mut, part, saturating_u64};
use crate::dump::foreign::{self, Foreign};
use crate::dump::stream::compression_of;
use crate::error::{Error, Result};
use crate::kerneldump::Compression;
use crate::memory::Memory;
use crate::opened::{open_plainly, read_exact_at};
use crate::text::until_nul;
use object::Endianness as ObjectEndianness;
use object::elf::{
    ELF_NOTE_GNU, ELFCLASS32, ELFCLASS64, ELFDATA2LSB, ELFDATA2MSB, ELFMAG, EM_PPC64, ET_DYN, ET_EXEC, ET_REL,
    FileClass, FileHeader32, FileHeader64, NT_GNU_BUILD_ID, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHN_ABS, SHT_DYNSYM,
    SHT_FINI_ARRAY, SHT_INIT_ARRAY, SHT_NOBITS, SHT_NOTE, SHT_PROGBITS, SHT_RELA, SHT_STRTAB, SHT_SYMTAB,
    SHT_X86_64_UNWIND, STB_LOCAL, STB_WEAK, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE, STT_OBJECT,
};
use object::pod::{Pod, from_bytes, slice_from_all_bytes};
use object::read::elf::{FileHeader, NoteIterator, SectionHeader, Sym};
use serde::Serialize;
use std::borrow::Cow;
use std::cmp::Reverse;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str;
use std::sync::Arc;

/// More sections than any kernel has.
const MAX_SECTIONS: u16 = 4096;
/// More bytes of symbols than any kernel has, of their names, of the sections' names, and of function descriptors.
const MAX_SYMBOLS: u64 = 64 << 20;
const MAX_NAMES: u64 = 128 << 20;
const MAX_SECTION_NAMES: u64 = 1 << 20;
const MAX_DESCRIPTORS: u64 = 16 << 20;
/// More bytes of notes than any kernel has in a section.
const MAX_NOTES: u64 = 1 << 16;
/// More bytes of relocations than any module has.
const MAX_RELOCATIONS: u64 = 64 << 20;
/// Bytes of code that are compared at a time, in pages that a dump has or not.
const CODE_PIECE: usize = 4096;
/// Bytes that a relocation changes, at most.
const RELOCATED: u64 = 8;
/// Bytes of code that may be other ones in memory, and which part of it they may be.
const PATCHED: u64 = 4096;
const PATCHED_PART: u64 = 32;
/// A longer name is none.
const MAX_NAME: usize = 1024;
/// More bytes of `version` than any kernel has.
const MAX_VERSION: u64 = 1024;
/// Bytes of a function descriptor.
const DESCRIPTOR: u64 = 24;

/// What a symbol stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SymbolKind {
    /// A function.
    Function,
    /// A variable or constant.
    Object,
    /// A function whose code is chosen when the kernel starts; the symbol is what chooses.
    Ifunc,
    /// Not said: a place in assembly code, or a value.
    Label,
}

impl SymbolKind {
    /// The kind in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Object => "object",
            Self::Ifunc => "ifunc",
            Self::Label => "label",
        }
    }
}

/// Where a symbol's name is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Binding {
    /// Everywhere.
    Global,
    /// Everywhere, unless there is a global one of the name.
    Weak,
    /// In one source file; others can have another one of the name.
    Local,
}

/// A symbol of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SymbolEntry<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it lies.
    pub symbol: Symbol,
    /// What it stands for.
    pub kind: SymbolKind,
    /// Where its name is known.
    pub binding: Binding,
    /// Whether there is code at it.
    pub is_code: bool,
}

/// Where a file was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// That far from where it is linked, modulo 2^64: a kernel, or a shared object.
    Displaced(u64),
    /// A relocatable file: the sections that are in memory, in the order of the file.
    Sections(Vec<PlacedSection>),
}

/// A section of a relocatable file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedSection {
    /// Its name, which need not be text.
    pub name: Vec<u8>,
    /// Its address in memory; `None` where the kernel keeps the contents elsewhere and that is not known, or nowhere.
    pub address: Option<u64>,
}

/// The symbols of a file.
///
/// ```no_run
/// use std::path::Path;
/// use vmcore::symbols::{Symbols, Table};
///
/// # fn main() -> vmcore::Result<()> {
/// let table = Table::open(Path::new("/boot/kernel/kernel"))?;
/// println!("{:?}", table.find("hz")?);
/// if let Some(entry) = table.lookup_by_addr(0xffff_ffff_8020_0000) {
///     println!("{} at {:#x}", entry.name, entry.symbol.address);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    path: PathBuf,
    file: Arc<File>,
    facts: ImageFacts,
    names: Vec<u8>,
    /// By name, and of one name the one that counts first.
    records: Vec<Record>,
    /// By address, and of one address the one that counts last.
    spans: Vec<Span>,
    /// Sections whose contents are in the file, and which a kernel does not write to.
    read_only: Vec<Stored>,
    /// Sections that a kernel writes to.
    writable: Vec<WritableSection>,
    /// Of a relocatable file: its code.
    code: Vec<RelocatedCode>,
    /// What each section's addresses count from, by its number.
    bases: Vec<Option<u64>>,
    /// Of a relocatable file: the sections that are in memory.
    loaded: Option<Vec<PlacedSection>>,
    /// Where it was loaded.
    address: u64,
    /// The sections of variables that have copies.
    copied: Vec<CopiedSection>,
    /// Where the kernel has those of which that is known.
    set_places: Vec<(CopiedSet, u64)>,
}

/// A section of code, into which the kernel's linker writes addresses when it loads it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RelocatedCode {
    section: Stored,
    /// Where in the section it writes, in order.
    written: Vec<u64>,
}

/// A section in the file, and where it is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stored {
    first: u64,
    last: u64,
    offset: u64,
}

/// A section that a kernel writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WritableSection {
    first: u64,
    last: u64,
    /// Where it is in the file; `None` where it is not: it begins as zeros, or another file has it.
    offset: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    symbol: Symbol,
    /// Where its name is in the table's.
    name: usize,
    length: usize,
    kind: SymbolKind,
    binding: Binding,
    is_code: bool,
}

/// The addresses that a symbol covers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    first: u64,
    last: u64,
    /// The highest `last` of this span and of all before.
    highest: u64,
    record: usize,
}

impl Table {
    /// Reads the symbols of a kernel: of each architecture, or of the file with its debug information.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no ELF file with a symbol table.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_at(path, 0)
    }

    /// Reads the symbols of a module that was loaded at an address, or of a kernel that was moved by as much.
    /// Variables that each processor or network stack has for itself are left out of a relocatable file's symbols: the
    /// file does not tell where they came to lie; see [`Self::with_set_at`]. A file that is linked for its address (`ET_EXEC`) lies there.
    ///
    /// # Errors
    ///
    /// Those of [`Self::open`].
    pub fn open_at(path: &Path, address: u64) -> Result<Self> {
        Self::from_opened(path, open_plainly(path).map_err(|source| Error::io("open", path, source))?, address)
    }

    /// As [`Self::open_at`], from a file that is open for reading.
    ///
    /// # Errors
    ///
    /// Those of [`Self::open`].
    pub fn from_opened(path: &Path, file: File, address: u64) -> Result<Self> {
        Self::read(path, Arc::new(file), address, &[])
    }

    /// As [`Self::from_opened`], with sections of variables that have copies where the kernel has them.
    pub(super) fn read(path: &Path, file: Arc<File>, address: u64, set_places: &[(CopiedSet, u64)]) -> Result<Self> {
        let failed = |source| Error::io("read", path, source);
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(unusable(path, "it is not a regular file"));
        }
        let elf = Elf { file: &file, length: metadata.len() };
        let mut contents = elf.contents(address, set_places).map_err(|problem| problem.error(path))?;
        contents.sort();
        let spans = contents.spans();
        let Contents { facts, names, symbols, places, read_only, writable, code, loaded, copied } = contents;
        let records = symbols.into_iter().map(|(record, _)| record).collect();
        let bases = places.into_iter().map(|place| place.base).collect();
        Ok(Self {
            path: path.to_owned(),
            file,
            facts,
            names,
            records,
            spans,
            read_only,
            writable,
            code,
            bases,
            loaded,
            address,
            copied,
            set_places: set_places.to_vec(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's name, without directories.
    pub fn file_name(&self) -> Cow<'_, str> {
        self.path.file_name().unwrap_or_default().to_string_lossy()
    }

    /// Whose kernel it is; `None` if it is none that dumps itself.
    pub fn architecture(&self) -> Option<Architecture> {
        self.facts.architecture
    }

    /// The order of bytes in the kernel's integers.
    pub fn order(&self) -> Endianness {
        self.facts.order
    }

    /// The size of the kernel's pointers and longs: 4 or 8 bytes.
    pub fn pointer_size(&self) -> usize {
        self.facts.pointer_size
    }

    /// What the file has from an address on in a section that a kernel does not write to: code, and data that are only
    /// read. At most so many bytes, and fewer at the section's end. A running kernel may have changed some of it.
    ///
    /// # Errors
    ///
    /// The file cannot be read any more.
    pub fn read_only_contents(&self, address: u64, limit: usize) -> Result<Option<Vec<u8>>> {
        let covers = |section: &&Stored| (section.first..=section.last).contains(&address);
        let Some(section) = self.read_only.iter().find(covers) else { return Ok(None) };
        let mut bytes = vec![0; at_most((section.last - address).saturating_add(1), limit)];
        let at = section.offset.saturating_add(address - section.first);
        read_exact_at(&self.file, &mut bytes, at).map_err(|source| Error::io("read", &self.path, source))?;
        Ok(Some(bytes))
    }

    /// Whether a byte that a kernel writes to may be 0 when it starts: the file has a 0 there, or no contents.
    ///
    /// # Errors
    ///
    /// The file cannot be read any more.
    pub fn begins_as_zero(&self, address: u64) -> Result<bool> {
        let covers = |section: &&WritableSection| (section.first..=section.last).contains(&address);
        let Some(section) = self.writable.iter().find(covers) else { return Ok(false) };
        let Some(offset) = section.offset else { return Ok(true) };
        let mut byte = [0];
        let at = offset.saturating_add(address - section.first);
        read_exact_at(&self.file, &mut byte, at).map_err(|source| Error::io("read", &self.path, source))?;
        Ok(byte == [0])
    }

    /// Whether a kernel's memory has this file where it was loaded: by its build ID or, in a relocatable file, by its code.
    /// `None` where neither can be compared.
    ///
    /// # Errors
    ///
    /// The file cannot be read any more.
    pub fn is_in(&self, memory: &dyn Memory) -> Result<Option<bool>> {
        if let Some((address, note)) = self.build_id_note() {
            let mut found = vec![0; note.len()];
            if memory.fill(address, &mut found).is_ok() {
                return Ok(Some(found == note));
            }
        }
        let (mut compared, mut different) = (0, 0);
        for code in &self.code {
            let Stored { first, last, offset } = code.section;
            let (mut own, mut found) = (vec![0; CODE_PIECE], vec![0; CODE_PIECE]);
            let size = last.saturating_sub(first).saturating_add(1);
            for at in (0..size).step_by(CODE_PIECE) {
                let length = at_most(size.saturating_sub(at), CODE_PIECE);
                let (own, found) = (head_mut(&mut own, length), head_mut(&mut found, length));
                let failed = |source| Error::io("read", &self.path, source);
                read_exact_at(&self.file, own, offset.saturating_add(at)).map_err(failed)?;
                if memory.fill(first.saturating_add(at), found).is_err() {
                    continue;
                }
                compared += saturating_u64(length);
                let differs = own.iter().zip(&*found).zip(at..).filter(|((own, found), _)| own != found);
                different += saturating_u64(differs.filter(|(_, at)| !code.is_written(*at)).count());
            }
        }
        // Probes change some instructions of a kernel that runs.
        let is_same = different <= PATCHED.min(compared / PATCHED_PART);
        Ok((compared > 0).then_some(is_same))
    }

    /// The file, as it was opened.
    pub fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn shared_file(&self) -> &Arc<File> {
        &self.file
    }

    /// The sections of variables that each processor or network stack has a copy of.
    pub fn copied_sections(&self) -> &[CopiedSection] {
        &self.copied
    }

    /// Where the kernel has those of which that is known.
    pub(super) fn set_places(&self) -> &[(CopiedSet, u64)] {
        &self.set_places
    }

    /// Whether it is a relocatable file (`ET_REL`), as modules of amd64 are.
    pub fn is_relocatable(&self) -> bool {
        self.loaded.is_some()
    }

    /// Where the file was loaded, as [`Self::open_at`] was told.
    pub fn load_address(&self) -> u64 {
        self.address
    }

    /// What addresses in the file count from: where a shared object was loaded, and 0 of other files, which are linked or
    /// relocated for where they lie.
    pub fn displacement(&self) -> u64 {
        self.facts.displacement
    }

    /// What the addresses in a section of the file count from, by its number; `None` where that is not known. Of a
    /// relocatable file that is where the section was loaded.
    pub fn section_base(&self, section: usize) -> Option<u64> {
        self.bases.get(section).copied().flatten()
    }

    /// Where the file was loaded, as debuggers are told.
    pub fn placement(&self) -> Placement {
        match &self.loaded {
            Some(sections) => Placement::Sections(sections.clone()),
            None => Placement::Displaced(self.displacement()),
        }
    }

    /// Where the file says that it begins to run, `e_entry`.
    pub fn entry(&self) -> u64 {
        self.facts.entry
    }

    /// What the file says of the code in it, `e_flags`.
    pub fn flags(&self) -> u32 {
        self.facts.flags
    }

    /// The kernel's `version`, as `kern.version` tells it; `None` if the file does not hold the contents of variables,
    /// as one with debug information does not, or is no kernel's.
    pub fn version(&self) -> Option<&str> {
        self.facts.version.as_deref()
    }

    /// The build ID that the linker gave the file (`.note.gnu.build-id`), if it has one. The file with its debug
    /// information has the same.
    pub fn build_id(&self) -> Option<&[u8]> {
        self.facts.build_id.as_ref().map(|build_id| build_id.id.as_slice())
    }

    /// The note with the build ID (`.note.gnu.build-id`): its address, and its bytes, which a kernel has in its memory, too.
    /// Two kernels of the same version have different ones. `None` if the linker was not told to make one.
    pub fn build_id_note(&self) -> Option<(u64, &[u8])> {
        let build_id = self.facts.build_id.as_ref()?;
        Some((build_id.address?, build_id.section.as_slice()))
    }

    /// All symbols, by name; of one name, the global one first.
    pub fn iter(&self) -> impl Iterator<Item = SymbolEntry<'_>> {
        self.records.iter().map(|record| self.entry_of(record))
    }

    /// The symbols of a name: more than one where source files have local ones.
    pub fn lookup_by_name(&self, name: &str) -> impl Iterator<Item = SymbolEntry<'_>> {
        let start = self.records.partition_point(|record| self.name(record) < name.as_bytes());
        let rest = part(&self.records, start..);
        rest.iter().take_while(move |record| self.name(record) == name.as_bytes()).map(|record| self.entry_of(record))
    }

    /// The symbols whose names match, by name.
    pub fn matching(&self, pattern: &Pattern) -> impl Iterator<Item = SymbolEntry<'_>> {
        self.iter().filter(|entry| pattern.matches(entry.name))
    }

    /// The symbol that covers an address: the nearest below it that is long enough. One whose size is not known
    /// reaches to the next one, or to the end of its section. Of several that begin there, it is one with a
    /// size if there is one, a function or object rather than a label, and global rather than local.
    pub fn lookup_by_addr(&self, address: u64) -> Option<SymbolEntry<'_>> {
        let below = self.spans.partition_point(|span| span.first <= address);
        let mut candidates = self.spans.get(..below)?.iter().rev().take_while(|span| span.highest >= address);
        let span = candidates.find(|span| span.last >= address)?;
        self.records.get(span.record).map(|record| self.entry_of(record))
    }

    fn name(&self, record: &Record) -> &[u8] {
        name_of(&self.names, record)
    }

    fn entry_of(&self, record: &Record) -> SymbolEntry<'_> {
        let name = str::from_utf8(self.name(record));
        debug_assert!(name.is_ok(), "only names that are UTF-8 were taken");
        let name = name.unwrap_or_default();
        let Record { symbol, kind, binding, is_code, .. } = *record;
        SymbolEntry { name, symbol, kind, binding, is_code }
    }
}

impl Symbols for Table {
    fn find(&self, name: &str) -> Result<Option<Symbol>> {
        Ok(self.lookup_by_name(name).next().map(|entry| entry.symbol))
    }

    fn source(&self) -> String {
        self.path.display().to_string()
    }

    fn is_running_kernel(&self) -> bool {
        false
    }
}

fn name_of<'a>(names: &'a [u8], record: &Record) -> &'a [u8] {
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

fn unusable(path: &Path, why: &str) -> Error {
    Error::Format(format!("{}: not a usable kernel image: {why}", path.display()))
}

pub(super) const CUT_OFF: Problem = Problem::Format("it is truncated, or not an ELF file");

/// The build ID of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BuildId {
    id: Vec<u8>,
    /// The section of notes that it is in.
    section: Vec<u8>,
    /// Where that is loaded; a relocatable file does not say.
    address: Option<u64>,
}

/// What a file says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ImageFacts {
    architecture: Option<Architecture>,
    order: Endianness,
    pointer_size: usize,
    entry: u64,
    flags: u32,
    version: Option<String>,
    build_id: Option<BuildId>,
    displacement: u64,
}

/// What a file holds.
struct Contents {
    facts: ImageFacts,
    names: Vec<u8>,
    /// With the number of the section that a symbol lies in.
    symbols: Vec<(Record, Option<usize>)>,
    places: Vec<SectionRange>,
    read_only: Vec<Stored>,
    writable: Vec<WritableSection>,
    code: Vec<RelocatedCode>,
    loaded: Option<Vec<PlacedSection>>,
    copied: Vec<CopiedSection>,
}

/// Where a section lies in memory.
#[derive(Debug, Clone, Copy, Default)]
struct SectionRange {
    first: u64,
    /// Its last address; `None` where it is empty, or not in memory.
    last: Option<u64>,
    /// What its symbols' values count from; `None` where that is not known.
    base: Option<u64>,
}

impl RelocatedCode {
    /// Whether the kernel's linker writes to a byte.
    fn is_written(&self, at: u64) -> bool {
        let before = self.written.partition_point(|written| *written <= at);
        let last = before.checked_sub(1).and_then(|index| self.written.get(index));
        last.is_some_and(|last| at - last < RELOCATED)
    }
}

impl Contents {
    fn sort(&mut self) {
        let Self { names, symbols, .. } = self;
        symbols.sort_by(|(a, _), (b, _)| {
            let key = |record: &Record| (record.binding, record.symbol.address);
            name_of(names, a).cmp(name_of(names, b)).then_with(|| key(a).cmp(&key(b)))
        });
    }

    fn spans(&self) -> Vec<Span> {
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

    fn contents(&self, address: u64, set_places: &[(CopiedSet, u64)]) -> Result<Contents, Problem> {
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

/// An ELF file with its section headers.
pub(super) struct Sections<'a, E: FileHeader<Endian = ObjectEndianness>> {
    pub(super) elf: &'a Elf<'a>,
    pub(super) header: E,
    pub(super) endian: ObjectEndianness,
    pub(super) sections: &'a [E::SectionHeader],
}

impl<E: FileHeader<Endian = ObjectEndianness>> Sections<'_, E> {
    fn order(&self) -> Endianness {
        if self.endian == ObjectEndianness::Big { Endianness::Big } else { Endianness::Little }
    }

    /// An address of the file's architecture.
    pub(super) fn address(&self, base: u64, value: u64) -> u64 {
        let address = base.wrapping_add(value);
        if E::is_type_64_sized() { address } else { address & u64::from(u32::MAX) }
    }

    /// Reads a section that is not larger than any kernel's.
    pub(super) fn data(&self, section: &E::SectionHeader, limit: u64) -> Result<Vec<u8>, Problem> {
        let size = section.sh_size(self.endian).into();
        if size > limit {
            return Err(Problem::Format("its symbol table is larger than any kernel's"));
        }
        self.elf.bytes(section.sh_offset(self.endian).into(), size)
    }

    /// The symbols and the string table with their names.
    pub(super) fn tables(&self) -> Result<(Vec<u8>, Vec<u8>), Problem> {
        // What strip(1) leaves is the dynamic table: the global symbols.
        let of_type = |kind| self.sections.iter().find(|section| section.sh_type(self.endian) == kind);
        let table = of_type(SHT_SYMTAB).or_else(|| of_type(SHT_DYNSYM));
        let table = table.ok_or(Problem::Format("it has no symbol table"))?;
        let strings = usize::try_from(table.sh_link(self.endian)).ok().and_then(|link| self.sections.get(link));
        let strings = strings.filter(|strings| strings.sh_type(self.endian) == SHT_STRTAB);
        let strings = strings.ok_or(Problem::Format("its symbols have no names"))?;
        Ok((self.data(table, MAX_SYMBOLS)?, self.data(strings, MAX_NAMES)?))
    }

    pub(super) fn section_names(&self) -> Result<Vec<u8>, Problem> {
        let index = self.header.e_shstrndx(self.endian).index().map(usize::from);
        match index.and_then(|index| self.sections.get(index)) {
            Some(section) if section.sh_type(self.endian) == SHT_STRTAB => self.data(section, MAX_SECTION_NAMES),
            _ => Ok(Vec::new()),
        }
    }

    pub(super) fn is_named(&self, section: &E::SectionHeader, names: &[u8], name: &[u8]) -> bool {
        let offset = usize::try_from(section.sh_name(self.endian)).ok();
        offset.and_then(|offset| string_at(names, offset)) == Some(name)
    }

    /// Where the sections lie in memory, as a module's file tells.
    fn places(&self, address: u64) -> Result<Vec<SectionRange>, Problem> {
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
    fn copied_sections(&self, places: &[SectionRange]) -> Result<Vec<CopiedSection>, Problem> {
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
    fn move_sets(&self, places: &mut [SectionRange], copied: &[CopiedSection], set_places: &[(CopiedSet, u64)]) {
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
    fn loaded(&self, places: &[SectionRange]) -> Result<Option<Vec<PlacedSection>>, Problem> {
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
    fn base(&self, address: u64) -> u64 {
        if self.header.e_type(self.endian) == ET_EXEC { 0 } else { address }
    }

    fn symbols(
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
    fn relocated_code(&self, places: &[SectionRange]) -> Vec<RelocatedCode> {
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
    fn read_only(&self, places: &[SectionRange]) -> Vec<Stored> {
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
    fn writable(&self, places: &[SectionRange]) -> Vec<WritableSection> {
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
    fn build_id(&self, places: &[SectionRange]) -> Option<BuildId> {
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
    fn version(&self, names: &[u8], symbols: &[(Record, Option<usize>)], places: &[SectionRange]) -> Option<String> {
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
    fn contains(&self, address: u64) -> bool {
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
