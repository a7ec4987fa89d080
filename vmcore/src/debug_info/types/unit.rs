//! What a unit of DWARF tells of types, variables and functions: its entries, with those attributes of them.

use super::Slice;
use super::location::Location;
use crate::bounds::saturating_u32;
use gimli::{Attribute, AttributeValue, DwAt, DwTag, Dwarf, Operation, UnitHeader, constants as dw};
use std::str;

/// More types, members and so on than any unit has: a kernel's largest has a fiftieth of that.
const MAX_ENTRIES: usize = 1 << 20;
/// A longer name is none.
const MAX_NAME: usize = 1024;

/// An entry of types, or part of one. Attributes that it does not have are `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// Where it is in its unit.
    offset: usize,
    pub(super) tag: DwTag,
    pub(super) name: &'a str,
    /// `DW_AT_type`.
    pub(super) of: Link,
    /// The entry that has what this one does not: `DW_AT_abstract_origin`, `DW_AT_specification`.
    pub(super) origin: Link,
    pub(super) is_declaration: bool,
    pub(super) byte_size: Option<u64>,
    pub(super) bit_size: Option<u64>,
    pub(super) encoding: Option<u64>,
    /// Where a member begins, in bytes.
    pub(super) location: Option<u64>,
    pub(super) data_bit_offset: Option<u64>,
    /// As DWARF 3 counts: from the most significant bit of its storage; before that, of one that begins in the unit before.
    pub(super) bit_offset: Option<i64>,
    /// The value of an enumerator, with and without a sign.
    pub(super) value: (Option<u64>, Option<i64>),
    /// How many elements a dimension has.
    pub(super) count: Option<u64>,
    /// Where a variable is, or a function begins.
    pub(super) place: Option<Location>,
    first_part: Option<u32>,
    next_part: Option<u32>,
}

/// Another entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// None.
    Nothing,
    /// That at an offset in the same unit.
    Here(usize),
    /// One in another unit, which is not followed.
    Elsewhere,
}

/// What the type of an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// `void`, which has no entry.
    Void,
    /// Nothing that can be followed.
    Unknown,
    /// The entry at this place.
    At(usize),
}

/// The entries of a unit that tell of types, in their order.
pub(super) struct Unit<'a> {
    entries: Vec<Entry<'a>>,
}

/// Which entries are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Types, variables and functions.
    All,
    /// Variables alone, which is sooner done.
    Variables,
}

/// Whether it is a type, a variable or a function.
fn is_kept(tag: DwTag) -> bool {
    is_type(tag) || matches!(tag, dw::DW_TAG_variable | dw::DW_TAG_subprogram)
}

/// Whether it is a type.
fn is_type(tag: DwTag) -> bool {
    matches!(
        tag,
        dw::DW_TAG_base_type
            | dw::DW_TAG_unspecified_type
            | dw::DW_TAG_pointer_type
            | dw::DW_TAG_structure_type
            | dw::DW_TAG_union_type
            | dw::DW_TAG_enumeration_type
            | dw::DW_TAG_typedef
            | dw::DW_TAG_const_type
            | dw::DW_TAG_volatile_type
            | dw::DW_TAG_restrict_type
            | dw::DW_TAG_atomic_type
            | dw::DW_TAG_array_type
            | dw::DW_TAG_subroutine_type
    )
}

/// Whether it is part of what it is directly in.
fn is_part(tag: DwTag) -> bool {
    matches!(
        tag,
        dw::DW_TAG_member
            | dw::DW_TAG_enumerator
            | dw::DW_TAG_subrange_type
            | dw::DW_TAG_formal_parameter
            | dw::DW_TAG_unspecified_parameters
    )
}

impl<'a> Unit<'a> {
    /// Reads the entries of a unit that are wanted, of those that tell of types; `None` of a unit with more than any.
    pub(super) fn read(
        dwarf: &Dwarf<Slice<'a>>,
        header: UnitHeader<Slice<'a>>,
        wanted: Wanted,
    ) -> gimli::Result<Option<Self>> {
        let unit = dwarf.unit(header)?;
        let mut raw = unit.entries_raw(None)?;
        let mut entries: Vec<Entry<'a>> = Vec::new();
        // The entries that the next one is in, if they are kept: each with its depth and its last part.
        let mut around: Vec<(isize, u32, Option<u32>)> = Vec::new();
        while !raw.is_empty() {
            let (offset, depth) = (raw.next_offset().0, raw.next_depth());
            let Some(abbreviation) = raw.read_abbreviation()? else { continue };
            while around.pop_if(|(outer, ..)| *outer >= depth).is_some() {}
            let tag = abbreviation.tag();
            let inside = around.last_mut().filter(|(outer, ..)| outer.checked_add(1) == Some(depth));
            let is_part_of_one = is_part(tag) && inside.is_some();
            let is_wanted = wanted == Wanted::All || tag == dw::DW_TAG_variable;
            if !is_wanted || (!is_kept(tag) && !is_part_of_one) {
                raw.skip_attributes(abbreviation.attributes())?;
                continue;
            }
            if entries.len() >= MAX_ENTRIES {
                return Ok(None);
            }
            let index = saturating_u32(entries.len());
            let mut entry = Entry::new(offset, tag);
            for specification in abbreviation.attributes() {
                entry.take(dwarf, &unit, &raw.read_attribute(*specification)?)?;
            }
            if let Some((_, outer, last)) = inside.filter(|_| is_part(tag)) {
                let before = last.replace(index).and_then(|last| entries.get_mut(usize::try_from(last).ok()?));
                match before {
                    Some(before) => before.next_part = Some(index),
                    None => {
                        if let Some(outer) = usize::try_from(*outer).ok().and_then(|outer| entries.get_mut(outer)) {
                            outer.first_part = Some(index);
                        }
                    }
                }
            }
            entries.push(entry);
            around.push((depth, index, None));
        }
        Ok(Some(Self { entries }))
    }

    /// All entries, with their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Entry<'a>)> {
        self.entries.iter().enumerate()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, place: usize) -> Option<&Entry<'a>> {
        self.entries.get(place)
    }

    /// The place of the entry that a link leads to.
    pub(super) fn follow(&self, link: Link) -> Option<usize> {
        let Link::Here(offset) = link else { return None };
        self.entries.binary_search_by_key(&offset, |entry| entry.offset).ok()
    }

    /// What the type of an entry is.
    pub(super) fn target(&self, entry: &Entry<'a>) -> Target {
        if entry.of == Link::Nothing {
            return Target::Void;
        }
        let place = self.follow(entry.of).filter(|place| self.get(*place).is_some_and(|found| is_type(found.tag)));
        place.map_or(Target::Unknown, Target::At)
    }

    /// The entry that tells what a variable is: another one, if that has what this one does not.
    pub(super) fn told(&self, entry: &Entry<'a>) -> Entry<'a> {
        let origin = self.follow(entry.origin).and_then(|place| self.get(place));
        *origin.unwrap_or(entry)
    }

    /// What an entry consists of.
    pub(super) fn parts<'b>(&'b self, entry: &Entry<'a>) -> impl Iterator<Item = &'b Entry<'a>> + use<'a, 'b> {
        let mut next = entry.first_part;
        std::iter::from_fn(move || {
            let part = self.entries.get(usize::try_from(next?).ok()?)?;
            next = part.next_part;
            Some(part)
        })
    }
}

impl<'a> Entry<'a> {
    /// Whether it is a type.
    pub(super) fn is_type(&self) -> bool {
        is_type(self.tag)
    }

    fn new(offset: usize, tag: DwTag) -> Self {
        Self {
            offset,
            tag,
            name: "",
            of: Link::Nothing,
            origin: Link::Nothing,
            is_declaration: false,
            byte_size: None,
            bit_size: None,
            encoding: None,
            location: None,
            data_bit_offset: None,
            bit_offset: None,
            value: (None, None),
            count: None,
            place: None,
            first_part: None,
            next_part: None,
        }
    }

    fn take(
        &mut self,
        dwarf: &Dwarf<Slice<'a>>,
        unit: &gimli::Unit<Slice<'a>>,
        attribute: &Attribute<Slice<'a>>,
    ) -> gimli::Result<()> {
        match attribute.name() {
            dw::DW_AT_name => self.name = name(dwarf.attr_string(unit, attribute.value())?.slice()),
            dw::DW_AT_type => self.of = link(attribute),
            dw::DW_AT_abstract_origin | dw::DW_AT_specification => self.origin = link(attribute),
            dw::DW_AT_declaration => self.is_declaration = attribute.value() == AttributeValue::Flag(true),
            dw::DW_AT_low_pc => self.place = dwarf.attr_address(unit, attribute.value())?.map(Location::plain),
            dw::DW_AT_location => self.place = Location::read(dwarf, unit, attribute)?,
            dw::DW_AT_const_value => self.value = value(attribute),
            dw::DW_AT_bit_offset => self.bit_offset = attribute.sdata_value(),
            name => self.take_number(name, unit, attribute)?,
        }
        Ok(())
    }

    fn take_number(
        &mut self,
        name: DwAt,
        unit: &gimli::Unit<Slice<'a>>,
        attribute: &Attribute<Slice<'a>>,
    ) -> gimli::Result<()> {
        let place = match name {
            dw::DW_AT_byte_size => &mut self.byte_size,
            dw::DW_AT_bit_size => &mut self.bit_size,
            dw::DW_AT_data_bit_offset => &mut self.data_bit_offset,
            dw::DW_AT_count => &mut self.count,
            dw::DW_AT_encoding => {
                if let AttributeValue::Encoding(encoding) = attribute.value() {
                    self.encoding = Some(encoding.0.into());
                }
                return Ok(());
            }
            dw::DW_AT_upper_bound => {
                // One that is not constant says nothing; -1 is that of no elements.
                self.count = match attribute.udata_value().map(|bound| bound.checked_add(1)) {
                    Some(count) => Some(count.unwrap_or(0)),
                    None => (attribute.sdata_value() == Some(-1)).then_some(0),
                };
                return Ok(());
            }
            dw::DW_AT_data_member_location => {
                self.location = match attribute.exprloc_value() {
                    Some(expression) => offset_of(&mut expression.operations(unit.encoding()))?,
                    None => attribute.udata_value(),
                };
                return Ok(());
            }
            _ => return Ok(()),
        };
        *place = attribute.udata_value();
        Ok(())
    }
}

/// What a name is; nothing where it is no text, or would command a terminal.
fn name(bytes: &[u8]) -> &str {
    let text = str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_NAME);
    text.filter(|text| !text.contains(char::is_control)).unwrap_or_default()
}

fn link(attribute: &Attribute<Slice<'_>>) -> Link {
    match attribute.value() {
        AttributeValue::UnitRef(offset) => Link::Here(offset.0),
        _ => Link::Elsewhere,
    }
}

/// A value without and with a sign, as far as its form tells.
fn value(attribute: &Attribute<Slice<'_>>) -> (Option<u64>, Option<i64>) {
    match attribute.raw_value() {
        // Its own form says that it is signed.
        AttributeValue::Sdata(value) => (u64::try_from(value).ok(), Some(value)),
        _ => (attribute.udata_value(), attribute.sdata_value()),
    }
}

/// The offset that is added to where a structure begins.
fn offset_of(operations: &mut gimli::OperationIter<Slice<'_>>) -> gimli::Result<Option<u64>> {
    match operations.next()? {
        Some(Operation::PlusConstant { value }) => Ok(Some(value)),
        _ => Ok(None),
    }
}
