//! The types of a kernel's C from its debug information (DWARF), where its file has no CTF.
//!
//! A kernel's thousand units each have most of its types again. They are read one after another, and what an earlier one
//! had is not kept a second time: memory is taken for what is different, and for one unit. Types in other units than the
//! one that refers to them (those that a linker has optimised, or that `dwz` has moved) are not followed: they are unknown.

mod identity;
mod merge;
mod unit;

use super::Search;
use super::sections::{ElfFile, SectionReader, failed};
use crate::architecture::Endianness;
use crate::error::{Error, Result};
use crate::symbols::Table;
use crate::types::ctf::CtfTypes;
use crate::types::{Type, TypeId, TypeSource, TypeTable, Variable};
use gimli::{Dwarf, DwarfSections, EndianSlice, RunTimeEndian};
use identity::{Names, Refusal};
use merge::Merged;
use std::hash::RandomState;
use std::path::Path;
use unit::{Slice, Unit};

/// Takes types from CTF, and of files without that from their debug information.
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
}

/// What a file has.
struct Contents {
    types: Vec<Type>,
    variables: Vec<Variable>,
}

impl DebugTypes {
    /// Types whose debug information is looked for there.
    pub fn new(search: Search) -> Self {
        Self { ctf: CtfTypes::default(), search, warnings: Vec::new() }
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
        let error = match self.ctf.load(file, types) {
            Ok(true) => return Ok(true),
            Ok(false) => return Ok(self.load_debug_info(file, types)),
            Err(error) => error,
        };
        if !self.load_debug_info(file, types) {
            return Err(error);
        }
        self.warnings.push(format!("{error}; those of the debug information are used"));
        Ok(true)
    }
}

/// Reads the types of a file whose sections lie as in this table; they get numbers from one on.
fn read(path: &Path, file: &ElfFile<'_>, table: &Table, first: TypeId) -> Result<Contents> {
    let order = match table.order() {
        Endianness::Little => RunTimeEndian::Little,
        Endianness::Big => RunTimeEndian::Big,
    };
    let mut sections = SectionReader::new(path, file, table);
    let sections =
        DwarfSections::load(|id| if is_used(id) { sections.read(id.name()) } else { Ok(Default::default()) })?;
    let dwarf = sections.borrow(|bytes| EndianSlice::new(bytes, order));
    let damaged = |error: gimli::Error| failed(path, &format!("damaged debug information: {error}"));
    let refused = |refusal| match refusal {
        Refusal::TooDeep => failed(path, "damaged debug information: a type within more others than in any code"),
        Refusal::TooMany => Error::TooManyTypes(path.to_owned()),
    };
    let hasher = RandomState::new();
    let mut names = Names::default();
    for_each_unit(&dwarf, &mut |unit| names.learn(unit, &hasher)).map_err(damaged)?.map_err(refused)?;
    let mut merged = Merged::new(table, first);
    for_each_unit(&dwarf, &mut |unit| merged.add(unit, &names, &hasher)).map_err(damaged)?.map_err(refused)?;
    merged.complete();
    let Merged { types, variables, .. } = merged;
    Ok(Contents { types, variables })
}

/// Whether a section is read: those that tell of types, and the one that every unit begins with.
fn is_used(section: gimli::SectionId) -> bool {
    use gimli::SectionId::{DebugAbbrev, DebugAddr, DebugInfo, DebugLine, DebugLineStr, DebugStr, DebugStrOffsets};
    matches!(section, DebugAbbrev | DebugAddr | DebugInfo | DebugLine | DebugLineStr | DebugStr | DebugStrOffsets)
}

/// Reads the units one after another, as long as all is well.
fn for_each_unit<'a>(
    dwarf: &Dwarf<Slice<'a>>,
    visit: &mut dyn FnMut(&Unit<'a>) -> Result<(), Refusal>,
) -> gimli::Result<Result<(), Refusal>> {
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = Unit::read(dwarf, header)?;
        if let Err(refusal) = unit.as_ref().ok_or(Refusal::TooMany).and_then(&mut *visit) {
            return Ok(Err(refusal));
        }
    }
    Ok(Ok(()))
}
