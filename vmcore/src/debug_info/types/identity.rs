//! When entries of different units are the same type.
//!
//! A kernel's thousand units each have most of its types again. Two are the same if they have the same name, size, members
//! and so on, with types that are the same; of what a pointer leads to, the name decides, so that it does not matter in which
//! units that is only declared. Names that stand for several structures (those of different source files) are known from a
//! pass before: of these, pointers to each are different types.

use super::unit::{self, Target, Unit};
use crate::types::Budget;
use gimli::{DwTag, constants as dw};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

/// Types within each other, by value or by name, are not deeper in what a compiler has made.
const MAX_DEPTH: usize = 96;

/// What makes a type the one that it is.
pub(super) type Identity = u64;

/// Those of what has no entry.
const VOID: Identity = 0;
const UNKNOWN: Identity = 1;

/// Structures, unions and enumerations by their names.
type Named = (u16, Box<str>);

/// The names that stand for several types, as they become known.
#[derive(Debug, Default)]
pub(super) struct Names {
    seen: HashMap<Named, Identity>,
    budget: Budget,
    ambiguous: HashSet<Named>,
}

/// Why the types of a file are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// They go deeper than any.
    TooDeep,
    /// They take more memory than those of any kernel.
    TooMany,
}

/// Identities of the types of a unit.
pub(super) struct Identities<'u, 'a> {
    unit: &'u Unit<'a>,
    ambiguous: &'u HashSet<Named>,
    hasher: &'u RandomState,
    /// By the places of entries.
    whole: Vec<Option<Identity>>,
    named: Vec<Option<Identity>>,
}

/// Whether it has a tag.
fn has_tag(tag: DwTag) -> bool {
    matches!(tag, dw::DW_TAG_structure_type | dw::DW_TAG_union_type | dw::DW_TAG_enumeration_type)
}

fn key(entry: &unit::Entry<'_>) -> Named {
    (entry.tag.0, entry.name.into())
}

impl Names {
    /// Learns the names of a unit, which stand for several types where there was another one in a unit before.
    pub(super) fn learn(&mut self, unit: &Unit<'_>, hasher: &RandomState) -> Result<(), Refusal> {
        let none = HashSet::new();
        let mut identities = Identities::new(unit, &none, hasher);
        for (place, entry) in unit.iter() {
            if !has_tag(entry.tag) || entry.is_declaration || entry.name.is_empty() {
                continue;
            }
            let identity = identities.of(Target::At(place))?;
            match self.seen.entry(key(entry)) {
                Entry::Vacant(vacant) => {
                    self.budget.take(size_of::<(Named, Identity)>(), entry.name).ok_or(Refusal::TooMany)?;
                    vacant.insert(identity);
                }
                Entry::Occupied(seen) if *seen.get() != identity => {
                    self.ambiguous.insert(key(entry));
                }
                Entry::Occupied(_) => {}
            }
        }
        Ok(())
    }

    /// Identities of the types of a unit, by what was learnt.
    pub(super) fn identities<'u, 'a>(&'u self, unit: &'u Unit<'a>, hasher: &'u RandomState) -> Identities<'u, 'a> {
        Identities::new(unit, &self.ambiguous, hasher)
    }
}

impl<'u, 'a> Identities<'u, 'a> {
    fn new(unit: &'u Unit<'a>, ambiguous: &'u HashSet<Named>, hasher: &'u RandomState) -> Self {
        let unknown = vec![None; unit.len()];
        Self { unit, ambiguous, hasher, whole: unknown.clone(), named: unknown }
    }

    /// The identity of a type.
    pub(super) fn of(&mut self, target: Target) -> Result<Identity, Refusal> {
        self.whole(target, MAX_DEPTH)
    }

    /// The identity of a function's type, which has its parameters and, perhaps, more.
    pub(super) fn of_function(&mut self, entry: &unit::Entry<'a>, is_variadic: bool) -> Result<Identity, Refusal> {
        let mut state = self.hasher.build_hasher();
        (dw::DW_TAG_subprogram.0, is_variadic).hash(&mut state);
        self.add_function(entry, MAX_DEPTH, &mut state, Self::whole)?;
        Ok(state.finish())
    }

    /// By all that it consists of.
    fn whole(&mut self, target: Target, depth: usize) -> Result<Identity, Refusal> {
        let (place, entry) = match self.at(target) {
            Ok(found) => found,
            Err(identity) => return Ok(identity),
        };
        if let Some(Some(known)) = self.whole.get(place) {
            return Ok(*known);
        }
        let depth = depth.checked_sub(1).ok_or(Refusal::TooDeep)?;
        let mut state = self.hasher.build_hasher();
        (entry.tag.0, entry.name, entry.byte_size, entry.bit_size, entry.encoding).hash(&mut state);
        entry.is_declaration.hash(&mut state);
        match entry.tag {
            dw::DW_TAG_pointer_type => self.named(self.unit.target(&entry), depth)?.hash(&mut state),
            dw::DW_TAG_subroutine_type => self.add_function(&entry, depth, &mut state, Self::whole)?,
            _ => {
                self.whole(self.unit.target(&entry), depth)?.hash(&mut state);
                for part in self.unit.parts(&entry) {
                    (part.name, part.location, part.data_bit_offset, part.bit_offset, part.bit_size).hash(&mut state);
                    (part.value, part.count).hash(&mut state);
                    if part.tag == dw::DW_TAG_member {
                        self.whole(self.unit.target(part), depth)?.hash(&mut state);
                    }
                }
            }
        }
        let identity = state.finish();
        if let Some(known) = self.whole.get_mut(place) {
            *known = Some(identity);
        }
        Ok(identity)
    }

    /// By its name, as far as it has one.
    fn named(&mut self, target: Target, depth: usize) -> Result<Identity, Refusal> {
        let (place, entry) = match self.at(target) {
            Ok(found) => found,
            Err(identity) => return Ok(identity),
        };
        if let Some(Some(known)) = self.named.get(place) {
            return Ok(*known);
        }
        let depth = depth.checked_sub(1).ok_or(Refusal::TooDeep)?;
        let mut state = self.hasher.build_hasher();
        (entry.tag.0, entry.name).hash(&mut state);
        let is_named = has_tag(entry.tag) && !entry.name.is_empty();
        if is_named && self.ambiguous.contains(&key(&entry)) {
            // In the unit where it is declared alone, nothing tells which it is.
            entry.is_declaration.hash(&mut state);
            self.shape(&entry, &mut state);
        } else if has_tag(entry.tag) && !is_named {
            self.shape(&entry, &mut state);
        } else if entry.tag == dw::DW_TAG_subroutine_type {
            self.add_function(&entry, depth, &mut state, Self::named)?;
        } else if !is_named {
            (entry.byte_size, entry.encoding).hash(&mut state);
            self.named(self.unit.target(&entry), depth)?.hash(&mut state);
            self.unit.parts(&entry).for_each(|part| part.count.hash(&mut state));
        }
        let identity = state.finish();
        if let Some(known) = self.named.get_mut(place) {
            *known = Some(identity);
        }
        Ok(identity)
    }

    /// Size and members, without their types.
    fn shape(&self, entry: &unit::Entry<'a>, state: &mut impl Hasher) {
        entry.byte_size.hash(state);
        for part in self.unit.parts(entry) {
            (part.name, part.location, part.data_bit_offset, part.bit_offset, part.bit_size, part.value).hash(state);
        }
    }

    fn add_function<H: Hasher>(
        &mut self,
        entry: &unit::Entry<'a>,
        depth: usize,
        state: &mut H,
        identity: fn(&mut Self, Target, usize) -> Result<Identity, Refusal>,
    ) -> Result<(), Refusal> {
        identity(self, self.unit.target(entry), depth)?.hash(state);
        let unit = self.unit;
        for part in unit.parts(entry) {
            part.tag.0.hash(state);
            identity(self, self.unit.target(part), depth)?.hash(state);
        }
        Ok(())
    }

    /// The entry of a type, and its place; the identity of what has none.
    fn at(&self, target: Target) -> Result<(usize, unit::Entry<'a>), Identity> {
        match target {
            Target::Void => Err(VOID),
            Target::Unknown => Err(UNKNOWN),
            Target::At(place) => self.unit.get(place).map(|entry| (place, *entry)).ok_or(UNKNOWN),
        }
    }
}
