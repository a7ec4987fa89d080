//! The types, variables and functions of all units together, each once.

use super::identity::{Identities, Identity, Names, Refusal};
use super::location::Location;
use super::unit::{Entry, Target, Unit};
use crate::bounds::{saturating_u32, saturating_usize};
use crate::symbols::{SymbolEntry, Table};
use crate::types::{
    Aggregate, Budget, Enumeration, Function, Integer, Kind, Meaning, Member, Qualifier, Tag, Type, TypeId, Variable,
};
use gimli::constants as dw;
use std::collections::{HashMap, HashSet};
use std::hash::RandomState;

/// What is behind more typedefs and qualifiers is a circle.
const MAX_DEPTH: usize = 64;

/// What was found so far.
pub(super) struct Merged<'t> {
    /// Where the file's code and variables are.
    table: &'t Table,
    first: TypeId,
    pub(super) types: Vec<Type>,
    pub(super) variables: Vec<Variable>,
    known: HashMap<Identity, TypeId>,
    void: Option<TypeId>,
    placed: HashSet<(u64, Box<str>)>,
    budget: Budget,
}

/// A unit whose types are being added.
struct Adding<'m, 't, 'u, 'a> {
    merged: &'m mut Merged<'t>,
    unit: &'u Unit<'a>,
    identities: Identities<'u, 'a>,
    /// Types that have a number, and are yet to be described.
    waiting: Vec<(TypeId, Described)>,
}

/// What a type is described by.
#[derive(Clone, Copy)]
enum Described {
    /// Its entry.
    Entry(usize),
    /// The entry of the function whose type it is, and whether it takes more than is said there.
    Function { place: usize, is_variadic: bool },
}

impl<'t> Merged<'t> {
    /// Nothing yet; types get numbers from one on.
    pub(super) fn new(table: &'t Table, first: TypeId) -> Self {
        let (types, variables, known) = (Vec::new(), Vec::new(), HashMap::new());
        Self { table, first, types, variables, known, void: None, placed: HashSet::new(), budget: Budget::default() }
    }

    /// Adds a unit.
    pub(super) fn add(&mut self, unit: &Unit<'_>, names: &Names, hasher: &RandomState) -> Result<(), Refusal> {
        let identities = names.identities(unit, hasher);
        let mut adding = Adding { merged: self, unit, identities, waiting: Vec::new() };
        for (place, entry) in unit.iter() {
            match entry.tag {
                dw::DW_TAG_variable => adding.variable(entry)?,
                dw::DW_TAG_subprogram => adding.function(place, entry)?,
                _ if entry.is_type() => {
                    adding.id(Target::At(place))?;
                }
                _ => {}
            }
            adding.describe()?;
        }
        Ok(())
    }

    /// Has what leads to a structure that was only declared lead to the one of its name, if there is one alone, and leaves
    /// the declaration out.
    pub(super) fn complete(&mut self) {
        let definitions = self.definitions();
        let mut numbers = Vec::new();
        let (mut kept, mut left_out) = (0, HashMap::new());
        for (place, described) in self.types.iter().enumerate() {
            let definition = match described.kind {
                Kind::Incomplete(tag) => definitions.get(&(tag, &*described.name)).copied().flatten(),
                _ => None,
            };
            numbers.push(self.numbered(kept));
            match definition {
                Some(definition) => {
                    left_out.insert(place, definition);
                }
                None => kept = kept.saturating_add(1),
            }
        }
        let first = self.first;
        let replace = |id: &mut TypeId| {
            let Some(place) = id.0.checked_sub(first.0).map(saturating_usize) else { return };
            let place = left_out.get(&place).copied().unwrap_or(place);
            *id = numbers.get(place).copied().unwrap_or(*id);
        };
        let mut place = 0..;
        self.types.retain(|_| place.next().is_some_and(|place: usize| !left_out.contains_key(&place)));
        self.types.iter_mut().for_each(|described| for_each_reference(&mut described.kind, replace));
        self.variables.iter_mut().for_each(|variable| replace(&mut variable.type_id));
    }

    /// Where the structures, unions and enumerations of each name are that are complete; nothing where there are several.
    fn definitions(&self) -> HashMap<(Tag, &str), Option<usize>> {
        let mut found = HashMap::new();
        for (place, described) in self.types.iter().enumerate().filter(|(_, described)| !described.name.is_empty()) {
            let tag = match &described.kind {
                Kind::Aggregate(Aggregate { is_union: false, .. }) => Tag::Structure,
                Kind::Aggregate(_) => Tag::Union,
                Kind::Enumeration(_) => Tag::Enumeration,
                _ => continue,
            };
            found.entry((tag, &*described.name)).and_modify(|known| *known = None).or_insert(Some(place));
        }
        found
    }

    fn numbered(&self, place: usize) -> TypeId {
        TypeId(self.first.0.saturating_add(saturating_u32(place)))
    }

    /// A number for a type that is described later.
    fn reserve(&mut self) -> Result<TypeId, Refusal> {
        self.budget.take(size_of::<Type>(), "").ok_or(Refusal::TooMany)?;
        let id = self.numbered(self.types.len());
        self.types.push(Type { name: Box::default(), kind: Kind::Unknown, source: 0 });
        Ok(id)
    }

    fn set(&mut self, id: TypeId, name: &str, kind: Kind) -> Result<(), Refusal> {
        self.budget.take(0, name).ok_or(Refusal::TooMany)?;
        let place = saturating_usize(id.0.saturating_sub(self.first.0));
        if let Some(described) = self.types.get_mut(place) {
            *described = Type { name: name.into(), kind, source: 0 };
        }
        Ok(())
    }

    fn void(&mut self) -> Result<TypeId, Refusal> {
        if let Some(void) = self.void {
            return Ok(void);
        }
        let void = self.reserve()?;
        self.set(void, "void", Kind::Void)?;
        self.void = Some(void);
        Ok(void)
    }

    /// Adds what a symbol of the file is at.
    fn place(&mut self, name: &str, place: Location, type_id: TypeId, is_function: bool) -> Result<(), Refusal> {
        let address = self.table.as_placed(place.address.wrapping_add(self.table.displacement()));
        // What the linker has left out has an address, too, and so has what a kernel keeps elsewhere.
        let is_it = |entry: &SymbolEntry<'_>| entry.symbol.address == address && entry.is_code == is_function;
        // A static variable of a function has a symbol of another name.
        let named = self.table.lookup_by_name(name).find(is_it);
        let Some(symbol) = named.or_else(|| self.table.lookup_by_addr(address).filter(is_it)) else { return Ok(()) };
        if self.placed.insert((address, name.into())) {
            self.budget.take(size_of::<Variable>(), name).ok_or(Refusal::TooMany)?;
            let (name, size) = (name.into(), symbol.symbol.size);
            let storage = (!is_function).then_some(place.storage);
            self.variables.push(Variable { name, address, size, storage, type_id, is_function, source: 0 });
        }
        Ok(())
    }
}

impl<'a> Adding<'_, '_, '_, 'a> {
    /// The number of a type.
    fn id(&mut self, target: Target) -> Result<TypeId, Refusal> {
        let place = match target {
            Target::Void => return self.merged.void(),
            Target::Unknown => return Ok(TypeId::UNKNOWN),
            Target::At(place) => place,
        };
        let identity = self.identities.of(target)?;
        self.id_of(identity, Described::Entry(place))
    }

    fn id_of(&mut self, identity: Identity, described: Described) -> Result<TypeId, Refusal> {
        if let Some(known) = self.merged.known.get(&identity) {
            return Ok(*known);
        }
        let id = self.merged.reserve()?;
        self.merged.known.insert(identity, id);
        self.waiting.push((id, described));
        Ok(id)
    }

    /// The number of the type of an entry.
    fn target(&mut self, entry: &Entry<'a>) -> Result<TypeId, Refusal> {
        self.id(self.unit.target(entry))
    }

    /// Describes the types that have got a number.
    fn describe(&mut self) -> Result<(), Refusal> {
        while let Some((id, described)) = self.waiting.pop() {
            let (Described::Entry(place) | Described::Function { place, .. }) = described;
            let Some(entry) = self.unit.get(place).copied() else { continue };
            let (name, kind) = match described {
                Described::Entry(_) => (entry.name, self.kind(&entry)?),
                Described::Function { is_variadic, .. } => {
                    let function = self.function_type(&entry)?;
                    let is_variadic = is_variadic || function.is_variadic;
                    ("", Kind::Function(Function { is_variadic, ..function }))
                }
            };
            self.merged.set(id, name, kind)?;
        }
        Ok(())
    }

    fn kind(&mut self, entry: &Entry<'a>) -> Result<Kind, Refusal> {
        let size = entry.byte_size;
        Ok(match entry.tag {
            dw::DW_TAG_base_type => base(entry),
            dw::DW_TAG_pointer_type => Kind::Pointer(self.target(entry)?),
            dw::DW_TAG_typedef => Kind::Typedef(self.target(entry)?),
            dw::DW_TAG_const_type => Kind::Qualified(Qualifier::Const, self.target(entry)?),
            dw::DW_TAG_volatile_type => Kind::Qualified(Qualifier::Volatile, self.target(entry)?),
            dw::DW_TAG_restrict_type => Kind::Qualified(Qualifier::Restrict, self.target(entry)?),
            dw::DW_TAG_atomic_type => Kind::Qualified(Qualifier::Atomic, self.target(entry)?),
            dw::DW_TAG_array_type => return self.array(entry),
            dw::DW_TAG_subroutine_type => Kind::Function(self.function_type(entry)?),
            dw::DW_TAG_structure_type => match size.filter(|_| !entry.is_declaration) {
                Some(size) => self.aggregate(entry, size, false)?,
                None => Kind::Incomplete(Tag::Structure),
            },
            dw::DW_TAG_union_type => match size.filter(|_| !entry.is_declaration) {
                Some(size) => self.aggregate(entry, size, true)?,
                None => Kind::Incomplete(Tag::Union),
            },
            dw::DW_TAG_enumeration_type => match size.filter(|_| !entry.is_declaration) {
                Some(size) => self.enumeration(entry, size)?,
                None => Kind::Incomplete(Tag::Enumeration),
            },
            _ => Kind::Unknown,
        })
    }

    /// An array of arrays, where it has several dimensions: the last is that of the innermost one.
    fn array(&mut self, entry: &Entry<'a>) -> Result<Kind, Refusal> {
        let unit = self.unit;
        let mut dimensions: Vec<Option<u64>> =
            unit.parts(entry).filter(|part| part.tag == dw::DW_TAG_subrange_type).map(|part| part.count).collect();
        let mut element = self.target(entry)?;
        let outermost = if dimensions.is_empty() { None } else { dimensions.remove(0) };
        for count in dimensions.into_iter().rev() {
            let inner = self.merged.reserve()?;
            self.merged.set(inner, "", Kind::Array { element, count })?;
            element = inner;
        }
        Ok(Kind::Array { element, count: outermost })
    }

    fn function_type(&mut self, entry: &Entry<'a>) -> Result<Function, Refusal> {
        let (returns, mut parameters, mut is_variadic) = (self.target(entry)?, Vec::new(), false);
        let unit = self.unit;
        for part in unit.parts(entry) {
            match part.tag {
                dw::DW_TAG_formal_parameter => {
                    self.merged.budget.take(size_of::<TypeId>(), "").ok_or(Refusal::TooMany)?;
                    parameters.push(self.target(part)?);
                }
                dw::DW_TAG_unspecified_parameters => is_variadic = true,
                _ => {}
            }
        }
        Ok(Function { returns, parameters, is_variadic })
    }

    fn aggregate(&mut self, entry: &Entry<'a>, size: u64, is_union: bool) -> Result<Kind, Refusal> {
        let unit = self.unit;
        let mut members = Vec::new();
        for part in unit.parts(entry).filter(|part| part.tag == dw::DW_TAG_member) {
            self.merged.budget.take(size_of::<Member>(), part.name).ok_or(Refusal::TooMany)?;
            let type_id = self.target(part)?;
            let bits = part.bit_size.and_then(|bits| u32::try_from(bits).ok());
            let bit_offset = self.bit_offset(part);
            members.push(Member { name: part.name.into(), type_id, bit_offset, bits });
        }
        Ok(Kind::Aggregate(Aggregate { is_union, size, members }))
    }

    /// Where a member begins, as the bits lie in memory.
    fn bit_offset(&self, member: &Entry<'a>) -> u64 {
        if let Some(offset) = member.data_bit_offset {
            return offset;
        }
        // A union says of no member where it begins.
        let start = member.location.map_or(0, |bytes| bytes.saturating_mul(8));
        let Some(from_top) = member.bit_offset else { return start };
        if self.merged.table.order() == crate::architecture::Endianness::Big {
            return start.saturating_add_signed(from_top);
        }
        let storage = member.byte_size.or_else(|| self.size_of(self.unit.target(member)));
        let bits = storage.map_or(0, |bytes| bytes.saturating_mul(8));
        let end = start.saturating_add(bits).saturating_add_signed(from_top.saturating_neg());
        end.saturating_sub(member.bit_size.unwrap_or(0))
    }

    /// Bytes of an integer or enumeration behind typedefs and qualifiers.
    fn size_of(&self, target: Target) -> Option<u64> {
        self.plain(target)?.byte_size
    }

    /// What is behind typedefs and qualifiers.
    fn plain(&self, mut target: Target) -> Option<&Entry<'a>> {
        for _ in 0..MAX_DEPTH {
            let Target::At(place) = target else { return None };
            let entry = self.unit.get(place)?;
            match entry.tag {
                dw::DW_TAG_typedef
                | dw::DW_TAG_const_type
                | dw::DW_TAG_volatile_type
                | dw::DW_TAG_restrict_type
                | dw::DW_TAG_atomic_type => target = self.unit.target(entry),
                _ => return Some(entry),
            }
        }
        None
    }

    fn enumeration(&mut self, entry: &Entry<'a>, size: u64) -> Result<Kind, Refusal> {
        let underlying = self.plain(self.unit.target(entry)).copied();
        let is_signed = underlying.map(|base| is_signed(&base));
        let mut enumerators = Vec::new();
        let unit = self.unit;
        for part in unit.parts(entry).filter(|part| part.tag == dw::DW_TAG_enumerator) {
            self.merged.budget.take(size_of::<(Box<str>, i64)>(), part.name).ok_or(Refusal::TooMany)?;
            let (unsigned, signed) = part.value;
            let unsigned = unsigned.map(u64::cast_signed);
            // Without an underlying type, the form of the value says whether it is signed.
            let value = if is_signed == Some(true) { signed.or(unsigned) } else { unsigned.or(signed) };
            if let Some(value) = value {
                enumerators.push((part.name.into(), value));
            }
        }
        Ok(Kind::Enumeration(Enumeration { size, enumerators }))
    }

    /// The entry that says what another one leaves out.
    fn origin(&self, entry: &Entry<'a>) -> Option<(usize, Entry<'a>)> {
        let place = self.unit.follow(entry.origin)?;
        Some((place, *self.unit.get(place)?))
    }

    fn variable(&mut self, entry: &Entry<'a>) -> Result<(), Refusal> {
        let Some(location) = entry.place else { return Ok(()) };
        let told = self.unit.told(entry);
        if told.name.is_empty() {
            return Ok(());
        }
        // The definition of an array can tell its length, which the declaration does not.
        let of = if entry.of == super::unit::Link::Nothing { &told } else { entry };
        let type_id = self.target(of)?;
        self.merged.place(told.name, location, type_id, false)
    }

    fn function(&mut self, place: usize, entry: &Entry<'a>) -> Result<(), Refusal> {
        let Some(location) = entry.place.filter(|_| !entry.is_declaration) else { return Ok(()) };
        let (place, told) = self.origin(entry).unwrap_or((place, *entry));
        if told.name.is_empty() {
            return Ok(());
        }
        // Of a function that is inlined elsewhere, too, only the one that is called tells of `...`.
        let is_variadic = self.unit.parts(entry).any(|part| part.tag == dw::DW_TAG_unspecified_parameters);
        let identity = self.identities.of_function(&told, is_variadic)?;
        let type_id = self.id_of(identity, Described::Function { place, is_variadic })?;
        self.merged.place(told.name, location, type_id, true)
    }
}

/// Has something done with each type that one refers to.
fn for_each_reference(kind: &mut Kind, mut change: impl FnMut(&mut TypeId)) {
    match kind {
        Kind::Pointer(target) | Kind::Typedef(target) | Kind::Qualified(_, target) => change(target),
        Kind::Array { element, .. } => change(element),
        Kind::Aggregate(aggregate) => aggregate.members.iter_mut().for_each(|member| change(&mut member.type_id)),
        Kind::Function(function) => {
            change(&mut function.returns);
            function.parameters.iter_mut().for_each(change);
        }
        Kind::Void | Kind::Unknown | Kind::Integer(_) | Kind::Float(_) | Kind::Incomplete(_) | Kind::Enumeration(_) => {
        }
    }
}

fn is_signed(base: &Entry<'_>) -> bool {
    let encoding = base.encoding;
    [dw::DW_ATE_signed, dw::DW_ATE_signed_char].iter().any(|signed| encoding == Some(signed.0.into()))
}

/// A type that the compiler knows.
fn base(entry: &Entry<'_>) -> Kind {
    let Some(size) = entry.byte_size else { return Kind::Unknown };
    let is = |encoding: gimli::DwAte| entry.encoding == Some(encoding.0.into());
    let meaning = if is(dw::DW_ATE_boolean) {
        Meaning::Boolean
    } else if is(dw::DW_ATE_signed_char) || is(dw::DW_ATE_unsigned_char) || is(dw::DW_ATE_UTF) {
        Meaning::Character
    } else if is(dw::DW_ATE_signed) || is(dw::DW_ATE_unsigned) || is(dw::DW_ATE_address) {
        Meaning::Number
    } else if is(dw::DW_ATE_float) || is(dw::DW_ATE_complex_float) {
        return Kind::Float(size);
    } else {
        return Kind::Unknown;
    };
    Kind::Integer(Integer { size, is_signed: is_signed(entry), meaning })
}
