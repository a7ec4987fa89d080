//! The symbols of one ELF file (elf(5)): a kernel, a kernel module, or the file with the debug information of one.
//!
//! Modules are placed as `sys/kern/link_elf.c` places shared objects (`ET_DYN`), and as `sys/kern/link_elf_obj.c` and
//! the loader place the sections of relocatable files (`ET_REL`, on amd64). Where the functions of a powerpc64 kernel
//! have descriptors (ELF ABI version 1, until `FreeBSD` 12), a function's symbol is its descriptor, and its code is
//! called the same with a dot before it, as debuggers call it.

use super::copied_sets::{CopiedSection, CopiedSet};
use super::elf::{
    Contents, Elf, ImageFacts, PlacedSection, Record, RelocatedCode, Span, Stored, WritableSection, name_of, unusable,
};
use super::entry::SymbolEntry;
use super::{Pattern, Symbol, Symbols};
use crate::architecture::{Architecture, Endianness};
use crate::bounds::{at_most, head_mut, part, saturating_u64};
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::opened::{open_plainly, read_exact_at};
use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str;
use std::sync::Arc;

/// Bytes of code that are compared at a time, in pages that a dump has or not.
const CODE_PIECE: usize = 4096;
/// Bytes of code that may be other ones in memory, and which part of it they may be.
const PATCHED: u64 = 4096;
const PATCHED_PART: u64 = 32;

/// Where a file was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// That far from where it is linked, modulo 2^64: a kernel, or a shared object.
    Displaced(u64),
    /// A relocatable file: the sections that are in memory, in the order of the file.
    Sections(Vec<PlacedSection>),
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

    /// What the file has from an address on in a section that a kernel writes to: what is there when the kernel starts. At
    /// most so many bytes, and fewer at the section's end. `None` where that is not known: outside of these sections, and in a
    /// file that has debug information only.
    ///
    /// # Errors
    ///
    /// The file cannot be read any more.
    pub fn initial_contents(&self, address: u64, limit: usize) -> Result<Option<Vec<u8>>> {
        let Some(section) = self.writable_section(address) else { return Ok(None) };
        let mut bytes = vec![0; at_most((section.last - address).saturating_add(1), limit)];
        match section.offset {
            Some(offset) => {
                let at = offset.saturating_add(address - section.first);
                read_exact_at(&self.file, &mut bytes, at).map_err(|source| Error::io("read", &self.path, source))?;
            }
            // Where the sections are without contents that must have some, another file has them.
            None if self.read_only.is_empty() && !self.is_relocatable() => return Ok(None),
            None => {}
        }
        Ok(Some(bytes))
    }

    /// Whether a byte that a kernel writes to may be 0 when it starts: the file has a 0 there, or no contents.
    ///
    /// # Errors
    ///
    /// The file cannot be read any more.
    pub fn begins_as_zero(&self, address: u64) -> Result<bool> {
        let is_writable = self.writable_section(address).is_some();
        Ok(is_writable && self.initial_contents(address, 1)?.is_none_or(|byte| byte == [0]))
    }

    fn writable_section(&self, address: u64) -> Option<&WritableSection> {
        self.writable.iter().find(|section| (section.first..=section.last).contains(&address))
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
