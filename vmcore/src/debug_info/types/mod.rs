//! The types of a kernel's C from its debug information (DWARF), where its file has no CTF; and of a kernel or a module
//! alone where its CTF does not tell for certain which symbols have which types.
//!
//! A kernel's thousand units each have most of its types again. They are read one after another, and what an earlier one
//! had is not kept a second time: memory is taken for what is different, and for one unit. Types in other units than the
//! one that refers to them (those that a linker has optimised, or that `dwz` has moved) are not followed: they are unknown.

mod identity;
mod location;
mod merge;
mod unit;

use super::Search;
use super::sections::{ElfFile, SectionReader, failed};
use crate::architecture::Endianness;
use crate::error::{Error, Result};
use crate::symbols::Table;
use crate::types::ctf::CtfTypes;
use crate::types::{Budget, StorageSource, Type, TypeId, TypeSource, TypeTable, Variable};
use gimli::{DwarfSections, EndianSlice, RunTimeEndian};
use identity::{Names, Refusal};
use location::Location;
use merge::Merged;
use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::RandomState;
use std::path::{Path, PathBuf};
use unit::{Unit, Wanted};

/// What is read of a section.
type Slice<'a> = EndianSlice<'a, RunTimeEndian>;

/// Takes types from CTF, and of files without that from their debug information; of the first file also where its CTF does
/// not tell the types of its symbols for certain.
///
/// ```no_run
/// use std::path::Path;
/// use vmcore::Kernel;
/// use vmcore::debug_info::{DebugTypes, Search};
///
/// # fn main() -> vmcore::Result<()> {
/// let mut kernel = Kernel::open(Path::new("vmcore.0"), Some(Path::new("/boot/kernel/kernel")))?;
/// let types = kernel.load_types(&mut DebugTypes::new(Search::default()))?;
/// println!("struct proc has {:?} bytes", types.structure("proc").and_then(|id| types.size_of(id)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DebugTypes {
    ctf: CtfTypes,
    search: Search,
    warnings: Vec<String>,
    /// Files that were asked how the memory of their variables has their values.
    asked: HashSet<PathBuf>,
}

/// What a file has.
struct Contents {
    types: Vec<Type>,
    variables: Vec<Variable>,
}

impl DebugTypes {
    /// Types whose debug information is looked for there.
    pub fn new(search: Search) -> Self {
        Self { ctf: CtfTypes::default(), search, warnings: Vec::new(), asked: HashSet::new() }
    }

    /// Why CTF or debug information is not used, as far as it was not taken before.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Takes the types of debug information.
    fn load_debug_info(&mut self, file: &Table, types: &mut TypeTable) -> bool {
        let first = types.next_id();
        let (found, refused) = self.search.find_with(file, &|path, elf, table| read(path, elf, table, first));
        self.warnings.extend(refused);
        let Some(Contents { types: found, variables }) = found else { return false };
        types.add_file(file.path(), found, variables);
        true
    }
}

impl TypeSource for DebugTypes {
    fn load(&mut self, file: &Table, types: &mut TypeTable) -> Result<bool> {
        let error = match self.ctf.contents(file, types.next_id()) {
            Ok(Some(found)) => {
                // Structures that both tell differ in what CTF leaves out: they are not mixed with those of other files.
                if found.is_whole() || !types.is_empty() || !self.load_debug_info(file, types) {
                    self.ctf.add(file, found, types);
                }
                return Ok(true);
            }
            Ok(None) => return Ok(self.load_debug_info(file, types)),
            Err(error) => error,
        };
        if !self.load_debug_info(file, types) {
            return Err(error);
        }
        self.warnings.push(format!("{error}; those of the debug information are used"));
        Ok(true)
    }
}

impl StorageSource for DebugTypes {
    fn load_storage(&mut self, file: &Table, types: &mut TypeTable) {
        if !self.asked.insert(file.path().to_owned()) {
            return;
        }
        let (found, refused) = self.search.find_with(file, &read_locations);
        self.warnings.extend(refused);
        for (name, Location { address, storage }) in found.into_iter().flatten() {
            types.set_storage(&name, address, storage);
        }
    }
}

/// Reads where the variables of a file are, whose sections lie as in this table, and how their memory has their values.
fn read_locations(path: &Path, file: &ElfFile<'_>, table: &Table) -> Result<Vec<(Box<str>, Location)>> {
    let (mut found, mut budget) = (Vec::new(), Budget::default());
    Units::read(path, file, table)?.for_each(Wanted::Variables, &mut |unit| {
        let located = unit.iter().filter_map(|(_, entry)| Some((unit.told(entry).name, entry.place?)));
        for (name, Location { address, storage }) in located {
            budget.take(size_of::<(Box<str>, Location)>(), name).ok_or(Refusal::TooMany)?;
            let address = address.wrapping_add(table.displacement());
            found.push((name.into(), Location { address, storage }));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Reads the types of a file whose sections lie as in this table; they get numbers from one on.
fn read(path: &Path, file: &ElfFile<'_>, table: &Table, first: TypeId) -> Result<Contents> {
    let units = Units::read(path, file, table)?;
    let hasher = RandomState::new();
    let mut names = Names::default();
    units.for_each(Wanted::All, &mut |unit| names.learn(unit, &hasher))?;
    let mut merged = Merged::new(table, first);
    units.for_each(Wanted::All, &mut |unit| merged.add(unit, &names, &hasher))?;
    merged.complete();
    let Merged { types, variables, .. } = merged;
    Ok(Contents { types, variables })
}

/// The units of a file.
struct Units<'a, 'data> {
    path: &'a Path,
    sections: DwarfSections<Cow<'data, [u8]>>,
    order: RunTimeEndian,
}

impl<'a, 'data> Units<'a, 'data> {
    /// Reads the sections of a file, which lie as in this table.
    fn read(path: &'a Path, file: &ElfFile<'data>, table: &Table) -> Result<Self> {
        let order = match table.order() {
            Endianness::Little => RunTimeEndian::Little,
            Endianness::Big => RunTimeEndian::Big,
        };
        let mut reader = SectionReader::new(path, file, table);
        let read = |id| if is_used(id) { reader.read(id.name()) } else { Ok(Cow::default()) };
        Ok(Self { path, sections: DwarfSections::load(read)?, order })
    }

    /// Has something done with one unit after another, as long as all is well.
    fn for_each(&self, wanted: Wanted, visit: Visit<'_>) -> Result<()> {
        let damaged = |error| failed(self.path, &format!("damaged debug information: {error}"));
        self.visit(wanted, visit).map_err(damaged)?.map_err(|refusal| match refusal {
            Refusal::TooDeep => {
                failed(self.path, "damaged debug information: a type within more others than in any code")
            }
            Refusal::TooMany => Error::TooManyTypes(self.path.to_owned()),
        })
    }

    fn visit(&self, wanted: Wanted, visit: Visit<'_>) -> gimli::Result<Result<(), Refusal>> {
        let dwarf = self.sections.borrow(|bytes| EndianSlice::new(bytes, self.order));
        let mut units = dwarf.units();
        while let Some(header) = units.next()? {
            let unit = Unit::read(&dwarf, header, wanted)?;
            if let Err(refusal) = unit.as_ref().ok_or(Refusal::TooMany).and_then(&mut *visit) {
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(()))
    }
}

/// What is done with a unit.
type Visit<'a> = &'a mut dyn FnMut(&Unit<'_>) -> Result<(), Refusal>;

/// Whether a section is read: those that tell of types, and the one that every unit begins with.
fn is_used(section: gimli::SectionId) -> bool {
    use gimli::SectionId::{DebugAbbrev, DebugAddr, DebugInfo, DebugLine, DebugLineStr, DebugStr, DebugStrOffsets};
    matches!(section, DebugAbbrev | DebugAddr | DebugInfo | DebugLine | DebugLineStr | DebugStr | DebugStrOffsets)
}
