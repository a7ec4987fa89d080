//! From the types of a container to those of a table.

use crate::bounds::{saturating_u32, saturating_usize};
use crate::types::{
    Aggregate, Budget, Enumeration, Function, Integer, Kind, Meaning, Member, Qualifier, Tag, Type, TypeId,
};
use ctf::{Container, Reference};
use std::collections::HashMap;

/// What is behind more typedefs and qualifiers is a circle.
const MAX_DEPTH: usize = 64;
/// What ctfconvert(1) puts behind the name of an integer that is that of a bit field.
const BIT_FIELD: &str = " bitfield";
/// Kinds of forward declarations.
const UNION: u32 = 7;
const ENUMERATION: u32 = 8;

/// Which number a container's type has in a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbering {
    /// That of the first.
    pub(super) first: TypeId,
    /// How many there are.
    pub(super) count: u32,
    /// First number and how many, of the parent.
    pub(super) parent: Option<(TypeId, u32)>,
}

impl Numbering {
    /// The number of a type; that of no type where there is none.
    pub(super) fn id(&self, reference: Reference) -> TypeId {
        let (number, (first, count)) = match (reference, self.parent) {
            (Reference::Own(number), _) => (number, (self.first, self.count)),
            (Reference::Parent(number), Some(parent)) => (number, parent),
            (Reference::Parent(_), None) | (Reference::Untyped, _) => return TypeId::UNKNOWN,
        };
        let index = number.checked_sub(1).filter(|index| *index < count);
        index.and_then(|index| first.0.checked_add(index)).map_or(TypeId::UNKNOWN, TypeId)
    }

    /// The number that the type at this place has.
    pub(super) fn after(&self, place: usize) -> TypeId {
        TypeId(self.first.0.saturating_add(saturating_u32(place)))
    }

    /// What a function returns and takes.
    pub(super) fn function(&self, found: ctf::Function<'_>) -> Function {
        let mut parameters: Vec<Reference> = found.parameters.collect();
        let is_variadic = parameters.pop_if(|last| *last == Reference::Untyped).is_some();
        let parameters = parameters.into_iter().map(|of| self.id(of)).collect();
        Function { returns: self.id(found.returns), parameters, is_variadic }
    }
}

/// The types of a container as they are converted, by their numbers.
struct Converted {
    types: Vec<Type>,
    numbering: Numbering,
    /// Bits of those integers that are types of bit fields, by their places.
    bits: HashMap<usize, u32>,
    budget: Budget,
}

/// The types of a container, in its order, with the numbers that they have; `None` where there are more than in any kernel.
pub(super) fn convert(container: &Container, numbering: Numbering) -> ctf::Result<Option<Vec<Type>>> {
    let mut converted = Converted { types: Vec::new(), numbering, bits: HashMap::new(), budget: Budget::default() };
    for found in container.types() {
        let found = found?;
        let name = found.name.strip_suffix(BIT_FIELD).unwrap_or(found.name);
        let Some(kind) = converted.kind(&found)?.filter(|_| converted.budget.take(size_of::<Type>(), name).is_some())
        else {
            return Ok(None);
        };
        converted.types.push(Type { name: name.into(), kind, source: 0 });
    }
    converted.place_bit_fields();
    Ok(Some(converted.types))
}

impl Converted {
    /// What a type is; `None` where it takes too much.
    fn kind(&mut self, found: &ctf::Type<'_>) -> ctf::Result<Option<Kind>> {
        let id = |of| self.numbering.id(of);
        Ok(Some(match found.kind {
            ctf::Kind::Unknown => Kind::Unknown,
            ctf::Kind::Integer(integer) => self.integer(integer),
            ctf::Kind::Float(float) => Kind::Float(float.size),
            ctf::Kind::Pointer(target) => Kind::Pointer(id(target)),
            ctf::Kind::Array { element, count, .. } => {
                // A flexible one has no count, and none is all that is said of it.
                Kind::Array { element: id(element), count: (count > 0).then_some(count.into()) }
            }
            ctf::Kind::Function(function) => {
                let function = self.numbering.function(function);
                if self.budget.take(size_of_val(function.parameters.as_slice()), "").is_none() {
                    return Ok(None);
                }
                Kind::Function(function)
            }
            ctf::Kind::Structure(aggregate) => return self.aggregate(aggregate, false),
            ctf::Kind::Union(aggregate) => return self.aggregate(aggregate, true),
            ctf::Kind::Enumeration(enumeration) => return self.enumeration(enumeration),
            ctf::Kind::Forward(UNION) => Kind::Incomplete(Tag::Union),
            ctf::Kind::Forward(ENUMERATION) => Kind::Incomplete(Tag::Enumeration),
            ctf::Kind::Forward(_) => Kind::Incomplete(Tag::Structure),
            ctf::Kind::Typedef(target) => Kind::Typedef(id(target)),
            ctf::Kind::Volatile(target) => Kind::Qualified(Qualifier::Volatile, id(target)),
            ctf::Kind::Const(target) => Kind::Qualified(Qualifier::Const, id(target)),
            ctf::Kind::Restrict(target) => Kind::Qualified(Qualifier::Restrict, id(target)),
        }))
    }

    fn integer(&mut self, found: ctf::Integer) -> Kind {
        if found.is_void() {
            return Kind::Void;
        }
        if let Some(bits) = found.bit_field() {
            // Nothing that a compiler makes has bits that are not in its bytes.
            if bits == 0 || u64::from(bits) > found.size.saturating_mul(8) {
                return Kind::Unknown;
            }
            self.bits.insert(self.types.len(), bits.into());
        }
        if found.offset > 0 {
            return Kind::Unknown;
        }
        let meaning = match found {
            ctf::Integer { is_boolean: true, .. } => Meaning::Boolean,
            ctf::Integer { is_character: true, .. } => Meaning::Character,
            _ => Meaning::Number,
        };
        // It is said of `_Bool` that it is signed.
        let is_signed = found.is_signed && !found.is_boolean;
        Kind::Integer(Integer { size: found.size, is_signed, meaning })
    }

    fn aggregate(&mut self, found: ctf::Aggregate<'_>, is_union: bool) -> ctf::Result<Option<Kind>> {
        let mut members = Vec::new();
        for member in found.members {
            let ctf::Member { name, of, bit_offset } = member?;
            if self.budget.take(size_of::<Member>(), name).is_none() {
                return Ok(None);
            }
            members.push(Member { name: name.into(), type_id: self.numbering.id(of), bit_offset, bits: None });
        }
        Ok(Some(Kind::Aggregate(Aggregate { is_union, size: found.size, members })))
    }

    fn enumeration(&mut self, found: ctf::Enumeration<'_>) -> ctf::Result<Option<Kind>> {
        let mut enumerators = Vec::new();
        for enumerator in found.enumerators {
            let ctf::Enumerator { name, value } = enumerator?;
            if self.budget.take(size_of::<(Box<str>, i64)>(), name).is_none() {
                return Ok(None);
            }
            enumerators.push((name.into(), value.into()));
        }
        Ok(Some(Kind::Enumeration(Enumeration { size: found.size, enumerators })))
    }

    /// Has members whose types are those of bit fields, or enumerations with fewer bits than they have, be bit fields.
    fn place_bit_fields(&mut self) {
        let integers = self.plain_integers();
        for index in 0..self.types.len() {
            let Some(Kind::Aggregate(aggregate)) = self.types.get_mut(index).map(|found| &mut found.kind) else {
                continue;
            };
            let (is_union, size) = (aggregate.is_union, aggregate.size);
            let mut members = std::mem::take(&mut aggregate.members);
            let starts: Vec<u64> = members.iter().map(|member| member.bit_offset).collect();
            let ends = starts.into_iter().skip(1).map(|next| if is_union { u64::MAX } else { next });
            let ends = ends.chain([size.saturating_mul(8)]);
            for (member, end) in members.iter_mut().zip(ends) {
                self.place_bit_field(member, end, &integers);
            }
            if let Some(Kind::Aggregate(aggregate)) = self.types.get_mut(index).map(|found| &mut found.kind) {
                aggregate.members = members;
            }
        }
    }

    /// The integers that are not those of bit fields, by their names.
    fn plain_integers(&self) -> HashMap<(Box<str>, Integer), TypeId> {
        let mut found = HashMap::new();
        for (index, described) in self.types.iter().enumerate() {
            if let Kind::Integer(integer) = described.kind
                && !self.bits.contains_key(&index)
            {
                found.entry((described.name.clone(), integer)).or_insert(self.numbering.after(index));
            }
        }
        found
    }

    /// The place of a type that is behind typedefs and qualifiers; `None` of the parent's.
    fn plain(&self, id: TypeId) -> Option<(usize, &Type)> {
        let mut at = id;
        for _ in 0..MAX_DEPTH {
            let index = saturating_usize(at.0.checked_sub(self.numbering.first.0)?);
            let found = self.types.get(index)?;
            match found.kind {
                Kind::Typedef(target) | Kind::Qualified(_, target) => at = target,
                _ => return Some((index, found)),
            }
        }
        None
    }

    /// `end` is where the next member begins.
    fn place_bit_field(&self, member: &mut Member, end: u64, integers: &HashMap<(Box<str>, Integer), TypeId>) {
        let Some((index, found)) = self.plain(member.type_id) else { return };
        match (&found.kind, self.bits.get(&index)) {
            (Kind::Integer(integer), Some(bits)) => {
                member.bits = Some(*bits);
                let plain = integers.get(&(found.name.clone(), *integer));
                member.type_id = plain.copied().unwrap_or(member.type_id);
            }
            // A bit field of all bits of its type has no type of its own.
            (Kind::Integer(integer), None) if !member.bit_offset.is_multiple_of(8) => {
                member.bits = u32::try_from(integer.size.saturating_mul(8)).ok();
            }
            (Kind::Enumeration(enumeration), _) => {
                member.bits = enumeration_bits(member.bit_offset, enumeration.size, end);
            }
            _ => {}
        }
    }
}

/// The bits of an enumeration that is a bit field, which CTF does not tell: one that does not begin at a byte, or that the
/// next member overlaps, reaches to that member, and no further than the bytes that its type would be aligned to.
fn enumeration_bits(start: u64, size: u64, next: u64) -> Option<u32> {
    let bits = size.checked_mul(8).filter(|bits| *bits > 0)?;
    let unit_end = (start / bits).saturating_add(1).saturating_mul(bits);
    let end = start.saturating_add(bits);
    let is_bit_field = !start.is_multiple_of(8) || (start < next && next < end);
    let length = next.min(unit_end).checked_sub(start).filter(|_| is_bit_field)?;
    u32::try_from(length).ok().filter(|length| (1..=64).contains(length))
}
