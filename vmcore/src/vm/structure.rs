//! The structures of an address space as lines: each member with its value, those of structures within it by their paths.

use super::space::{AddressSpace, Mapping, Target};
use crate::error::Result;
use crate::kernel::{Object, TypedMemory};
use crate::text::escape_control;
use crate::types::{Kind, Meaning, TypeId};
use crate::units::Hex;

/// More structures within each other are not shown.
const MAX_DEPTH: usize = 8;
/// More members are not shown.
const MAX_MEMBERS: usize = 1 << 10;
/// Bytes of a text whose structure does not say how long it is.
const MAX_TEXT: usize = 256;
/// Elements of an array that are shown.
const MAX_ELEMENTS: u64 = 16;

/// A member of a structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StructureMember {
    /// Its path from the structure, `header.start` or `val[1]`.
    pub path: String,
    /// Its value: numbers with a sign in decimal, others and pointers in hexadecimal, enumerators by name, text in quotes.
    pub value: String,
}

/// Which structures of an address space are shown: the bits of procmap(1)'s `-D`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StructureMask(pub u32);

impl StructureMask {
    /// `struct vmspace`, without the map in it.
    pub const VMSPACE: u32 = 1;
    /// `struct vm_map`, without the header of its entries.
    pub const MAP: u32 = 2;
    /// That header.
    pub const HEADER: u32 = 4;
    /// Each `struct vm_map_entry`.
    pub const ENTRIES: u32 = 8;
    /// Each `struct namecache` by which the path of a file was found.
    pub const NAME_CACHE: u32 = 16;
    /// All of these.
    pub const ALL: u32 = 31;

    const fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }
}

/// A structure to be shown.
#[derive(Debug)]
pub struct ShownStructure {
    /// Its name, without `struct`.
    pub name: &'static str,
    /// Where it is.
    pub address: u64,
    /// Its members, or why they cannot be read.
    pub members: Result<Vec<StructureMember>>,
}

impl AddressSpace {
    /// Shows the structures that it was read from, one after another.
    ///
    /// # Errors
    ///
    /// Those of `show`. A structure that cannot be read is none.
    pub fn each_structure<E>(
        &self,
        typed: TypedMemory<'_>,
        mask: StructureMask,
        mut show: impl FnMut(ShownStructure) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut take = |name, address, inner| show(shown(typed, name, address, inner));
        if let Some(vmspace) = self.vmspace.filter(|_| mask.has(StructureMask::VMSPACE)) {
            take("vmspace", vmspace, "vm_map.")?;
        }
        if mask.has(StructureMask::MAP) {
            take("vm_map", self.map.address, "header.")?;
        }
        if mask.has(StructureMask::HEADER) {
            take("vm_map_entry", self.map.header, "")?;
        }
        for mapping in &self.mappings {
            if mask.has(StructureMask::ENTRIES) {
                take("vm_map_entry", mapping.entry.address, "")?;
            }
            for name in name_entries(mapping).iter().filter(|_| mask.has(StructureMask::NAME_CACHE)) {
                take("namecache", *name, "")?;
            }
        }
        Ok(())
    }
}

/// The entries of the name cache that the path of a mapping was found by.
fn name_entries(mapping: &Mapping) -> &[u64] {
    match &mapping.target {
        Target::Object(mapped) => &mapped.path.entries,
        _ => &[],
    }
}

/// A structure without those members whose paths begin in one way.
fn shown(typed: TypedMemory<'_>, name: &'static str, address: u64, without: &str) -> ShownStructure {
    let read = || members(&typed.structure_at(name, address)?);
    let is_shown = |member: &StructureMember| without.is_empty() || !member.path.starts_with(without);
    let members = read().map(|members| members.into_iter().filter(is_shown).collect());
    ShownStructure { name, address, members }
}

/// All members of a structure with their values, in the order in which they are declared.
///
/// # Errors
///
/// The structure cannot be read.
pub fn members(object: &Object<'_>) -> Result<Vec<StructureMember>> {
    let mut found = Vec::new();
    aggregate(&object.fetched()?, object.type_id(), "", MAX_DEPTH, &mut found)?;
    Ok(found)
}

/// Adds the members of an object that a type declares: its own, or that of an unnamed structure in it.
fn aggregate(
    object: &Object<'_>,
    of: TypeId,
    prefix: &str,
    depth: usize,
    found: &mut Vec<StructureMember>,
) -> Result<()> {
    let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
    let Some(declared) = object.typed().types.aggregate(of) else { return Ok(()) };
    for member in &declared.members {
        if found.len() >= MAX_MEMBERS {
            return Ok(());
        }
        if member.name.is_empty() {
            aggregate(object, member.type_id, prefix, depth, found)?;
        } else {
            add(&object.member(&member.name)?, &format!("{prefix}{}", member.name), depth, found)?;
        }
    }
    Ok(())
}

/// Adds an object, or what it consists of.
fn add(object: &Object<'_>, path: &str, depth: usize, found: &mut Vec<StructureMember>) -> Result<()> {
    let types = object.typed().types;
    match &types.get(types.strip(object.type_id())).kind {
        Kind::Aggregate(_) => return aggregate(object, object.type_id(), &format!("{path}."), depth, found),
        Kind::Array { element, count: Some(count) } if !is_character(object, *element) => {
            for index in 0..(*count).min(MAX_ELEMENTS) {
                add(&object.index(index)?, &format!("{path}[{index}]"), depth, found)?;
            }
            return Ok(());
        }
        _ => {}
    }
    found.push(StructureMember { path: path.to_owned(), value: value(object)? });
    Ok(())
}

fn is_character(object: &Object<'_>, element: TypeId) -> bool {
    let types = object.typed().types;
    matches!(&types.get(types.strip(element)).kind, Kind::Integer(integer) if integer.meaning == Meaning::Character)
}

fn value(object: &Object<'_>) -> Result<String> {
    let types = object.typed().types;
    Ok(match &types.get(types.strip(object.type_id())).kind {
        Kind::Enumeration(enumeration) => {
            let number = object.signed()?;
            let name = enumeration.enumerators.iter().find(|(_, value)| *value == number);
            name.map_or_else(|| number.to_string(), |(name, _)| name.to_string())
        }
        Kind::Integer(integer) if integer.is_signed => object.signed()?.to_string(),
        Kind::Integer(_) | Kind::Pointer(_) => Hex(object.unsigned()?).to_string(),
        Kind::Array { count: Some(_), .. } => quoted(&object.text()?),
        Kind::Array { element, count: None } if is_character(object, *element) => {
            quoted(&object.typed().memory.string(object.address(), MAX_TEXT)?)
        }
        _ => "?".to_owned(),
    })
}

fn quoted(text: &[u8]) -> String {
    format!("\"{}\"", escape_control(&String::from_utf8_lossy(text)))
}
