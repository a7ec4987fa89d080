//! Reads values by their types.

use super::{MemberValue, Run, Text, Value, ValueKind, ValueLimits};
use crate::bounds::{head, low_u32, low_u64};
use crate::error::Error;
use crate::expression::Evaluated;
use crate::fault::{Fault, Why};
use crate::kernel::{KernelNames, Object, TypedMemory};
use crate::text::until_nul;
use crate::types::{Aggregate, Enumeration, Integer, Kind, Meaning, TypeId, TypeTable};
use std::cell::Cell;

/// Values within one, each of which costs memory: more are not read.
const MAX_VALUES: usize = 200_000;
/// Elements of an array that are compared with each other.
const MAX_ELEMENTS: u64 = 1 << 20;
/// Arrays within each other.
const MAX_NESTING: usize = 16;

/// Reads values.
pub struct ValueReader<'a> {
    /// What pointers are called by.
    names: &'a KernelNames,
    limits: ValueLimits,
    /// How many more values are read.
    remaining: Cell<usize>,
}

/// How deep a value may go.
#[derive(Clone, Copy)]
struct Depth {
    /// Structures within each other.
    structures: usize,
    /// Arrays and unnamed structures within each other.
    nesting: usize,
}

impl Depth {
    fn nested(self) -> Self {
        Self { nesting: self.nesting.saturating_sub(1), ..self }
    }
}

impl<'a> ValueReader<'a> {
    /// A reader that gives pointers the names of symbols.
    pub fn new(names: &'a KernelNames, limits: ValueLimits) -> Self {
        Self { names, limits, remaining: Cell::new(MAX_VALUES) }
    }

    /// The value that an expression evaluates to.
    pub fn evaluated(&self, typed: TypedMemory<'_>, found: &Evaluated<'_>) -> Value {
        match found {
            Evaluated::Object(object) => self.object(object),
            Evaluated::Several(first, count) => self.several(first, *count),
            Evaluated::Number { type_id, value } => self.number(typed, *type_id, *value),
        }
    }

    /// The value of an object. What of it cannot be read says so in its place.
    pub fn object(&self, object: &Object<'_>) -> Value {
        self.remaining.set(MAX_VALUES);
        self.read(object, Depth { structures: self.limits.depth, nesting: MAX_NESTING })
    }

    /// The value of so many objects, from one on.
    pub fn several(&self, first: &Object<'_>, count: u64) -> Value {
        self.remaining.set(MAX_VALUES);
        let depth = Depth { structures: self.limits.depth, nesting: MAX_NESTING };
        let type_id = first.type_id();
        Value { type_id, kind: self.elements(first, type_id, Some(count), depth) }
    }

    /// A number of a type, which is nowhere in memory.
    pub fn number(&self, typed: TypedMemory<'_>, type_id: TypeId, value: i128) -> Value {
        let kind = match &typed.types.get(typed.types.strip(type_id)).kind {
            Kind::Pointer(target) => self.pointer(typed, *target, low_u64(value.cast_unsigned())),
            Kind::Enumeration(enumeration) => named(enumeration, value),
            Kind::Integer(integer) => integral(*integer, value),
            _ => ValueKind::Integer(value),
        };
        Value { type_id, kind }
    }

    fn read(&self, object: &Object<'_>, depth: Depth) -> Value {
        let type_id = object.type_id();
        let Some(remaining) = self.remaining.get().checked_sub(1) else {
            return Value { type_id, kind: ValueKind::Folded };
        };
        self.remaining.set(remaining);
        Value { type_id, kind: self.kind(object, depth) }
    }

    fn kind(&self, object: &Object<'_>, depth: Depth) -> ValueKind {
        let types = object.typed().types;
        match &types.get(types.strip(object.type_id())).kind {
            Kind::Integer(integer) => self.scalar(object, |value| integral(*integer, value)),
            Kind::Enumeration(enumeration) => self.scalar(object, |value| named(enumeration, value)),
            Kind::Pointer(target) => match object.unsigned() {
                Ok(address) => self.pointer(object.typed(), *target, address),
                Err(error) => self.failed(object, error),
            },
            Kind::Float(_) => self.float(object),
            Kind::Array { element, count } => self.elements_of_array(object, *element, *count, depth),
            Kind::Aggregate(aggregate) => self.aggregate(object, aggregate, depth),
            Kind::Function(_) => self.function(object.address()),
            _ => ValueKind::Opaque,
        }
    }

    fn scalar(&self, object: &Object<'_>, kind: impl FnOnce(i128) -> ValueKind) -> ValueKind {
        match object.integer() {
            Ok(value) => kind(value),
            Err(error) => self.failed(object, error),
        }
    }

    /// What has no value: memory that is not there, or bytes of a size that no number has.
    fn failed(&self, object: &Object<'_>, error: Error) -> ValueKind {
        match error {
            Error::Fault(fault) => ValueKind::Unreadable(fault),
            _ => self.raw(object),
        }
    }

    fn raw(&self, object: &Object<'_>) -> ValueKind {
        match object.bytes() {
            Ok(bytes) => ValueKind::Bytes(self.text(&bytes)),
            Err(Error::Fault(fault)) => ValueKind::Unreadable(fault),
            Err(_) => ValueKind::Opaque,
        }
    }

    fn text(&self, bytes: &[u8]) -> Text {
        Text { bytes: head(bytes, self.limits.bytes).to_vec(), is_cut: bytes.len() > self.limits.bytes }
    }

    fn float(&self, object: &Object<'_>) -> ValueKind {
        let order = object.typed().memory.order();
        match object.bytes() {
            Ok(bytes) if bytes.len() == 8 => ValueKind::Float(f64::from_bits(order.number(&bytes))),
            Ok(bytes) if bytes.len() == 4 => ValueKind::Float(f32::from_bits(low_u32(order.number(&bytes))).into()),
            _ => self.raw(object),
        }
    }

    fn function(&self, address: u64) -> ValueKind {
        ValueKind::Pointer { address, symbol: self.names.name_of(address), text: None }
    }

    fn pointer(&self, typed: TypedMemory<'_>, target: TypeId, address: u64) -> ValueKind {
        // `caddr_t`, which is a pointer to `char`, leads anywhere: code is no text.
        let is_code = || self.names.lookup_by_addr(address).is_some_and(|found| found.entry.is_code);
        let is_text = address != 0 && is_character(typed.types, target) && !is_code();
        let text = is_text.then(|| self.string(typed, address));
        let symbol = if address == 0 { None } else { self.names.name_of(address) };
        ValueKind::Pointer { address, symbol, text }
    }

    fn string(&self, typed: TypedMemory<'_>, address: u64) -> Result<Text, Fault> {
        Ok(self.text(&typed.memory.string(address, self.limits.bytes.saturating_add(1))?))
    }

    fn aggregate(&self, object: &Object<'_>, aggregate: &Aggregate, depth: Depth) -> ValueKind {
        let Some(structures) = depth.structures.checked_sub(1) else { return ValueKind::Folded };
        if depth.nesting == 0 {
            return ValueKind::Folded;
        }
        // Where not all of it is there, its members are read one by one.
        let whole = object.fetched().unwrap_or_else(|_| object.clone());
        let inner = Depth { structures, ..depth.nested() };
        let member = |member: &crate::types::Member| {
            // Members of an unnamed one are the outer one's.
            let depth = if member.name.is_empty() { depth.nested() } else { inner };
            let value = match whole.part(member.bit_offset, member.type_id, member.bits) {
                Ok(part) => self.read(&part, depth),
                Err(_) => Value { type_id: member.type_id, kind: beyond(object) },
            };
            MemberValue { name: member.name.clone(), bit_offset: member.bit_offset, bits: member.bits, value }
        };
        // Bits without a name are padding.
        let shown = aggregate.members.iter().filter(|member| !member.name.is_empty() || member.bits.is_none());
        ValueKind::Aggregate { is_union: aggregate.is_union, members: shown.map(member).collect() }
    }

    fn elements_of_array(&self, array: &Object<'_>, element: TypeId, count: Option<u64>, depth: Depth) -> ValueKind {
        let whole = array.fetched().unwrap_or_else(|_| array.clone());
        match whole.part(0, element, None) {
            Ok(first) => self.elements(&first, element, count, depth),
            Err(_) => beyond(array),
        }
    }

    /// The elements of an array, of which the first is given.
    fn elements(&self, first: &Object<'_>, element: TypeId, count: Option<u64>, depth: Depth) -> ValueKind {
        let types = first.typed().types;
        let size = types.size_of(element).unwrap_or(0);
        let Some(counted) = count.filter(|count| *count > 0 && size > 0) else {
            return ValueKind::Array { count, runs: Vec::new() };
        };
        if is_character(types, element) {
            return self.characters(first, counted);
        }
        if is_byte(types, element) {
            return self.bytes(first, counted);
        }
        if depth.nesting == 0 || (depth.structures == 0 && is_aggregate(types, element)) {
            return ValueKind::Folded;
        }
        ValueKind::Array { count, runs: self.runs(first, size, counted, depth.nested()) }
    }

    fn characters(&self, first: &Object<'_>, count: u64) -> ValueKind {
        match self.bytes(first, count) {
            ValueKind::Bytes(Text { bytes, is_cut }) => {
                let text = until_nul(&bytes);
                ValueKind::Text(Text { bytes: text.to_vec(), is_cut: is_cut && text.len() == bytes.len() })
            }
            other => other,
        }
    }

    fn bytes(&self, first: &Object<'_>, count: u64) -> ValueKind {
        let shown = count.min(self.limits.bytes as u64);
        match first.leading_bytes(shown) {
            Ok(bytes) => ValueKind::Bytes(Text { bytes, is_cut: count > shown }),
            Err(Error::Fault(fault)) => ValueKind::Unreadable(fault),
            Err(_) => ValueKind::Opaque,
        }
    }

    /// Elements of so many bytes each, equal ones together.
    fn runs(&self, first: &Object<'_>, size: u64, count: u64, depth: Depth) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut last: Option<Result<Vec<u8>, Why>> = None;
        for index in 0..count.min(MAX_ELEMENTS) {
            let offset = size.checked_mul(index).and_then(|offset| offset.checked_mul(8));
            let Some(Ok(element)) = offset.map(|offset| first.part(offset, first.type_id(), None)) else { break };
            let bytes = element.bytes();
            let contents = match &bytes {
                Ok(bytes) => Ok(bytes.clone()),
                Err(Error::Fault(fault)) => Err(fault.why),
                Err(_) => break,
            };
            if let Some(run) = runs.last_mut().filter(|_| last.as_ref() == Some(&contents)) {
                run.count += 1;
                continue;
            }
            if runs.len() >= self.limits.elements || self.remaining.get() == 0 {
                break;
            }
            runs.push(Run { first: index, count: 1, value: self.read(&element, depth) });
            last = Some(contents);
        }
        runs
    }
}

/// What is beyond the address space.
fn beyond(object: &Object<'_>) -> ValueKind {
    ValueKind::Unreadable(Fault::new(object.address(), Why::NotCovered))
}

fn is_aggregate(types: &TypeTable, type_id: TypeId) -> bool {
    match &types.get(types.strip(type_id)).kind {
        Kind::Aggregate(_) => true,
        Kind::Array { element, .. } => is_aggregate_element(types, *element),
        _ => false,
    }
}

fn is_aggregate_element(types: &TypeTable, type_id: TypeId) -> bool {
    matches!(types.get(types.strip(type_id)).kind, Kind::Aggregate(_))
}

/// Whether a type is `char`, whose arrays are texts: CTF has it signed everywhere, DWARF as the machine has it.
fn is_character(types: &TypeTable, type_id: TypeId) -> bool {
    let found = types.get(types.strip(type_id));
    match found.kind {
        Kind::Integer(Integer { size: 1, meaning: Meaning::Character, is_signed }) => {
            is_signed || &*found.name == "char"
        }
        _ => false,
    }
}

/// Whether a type is a byte that is neither `char` nor a truth value.
fn is_byte(types: &TypeTable, type_id: TypeId) -> bool {
    let found = &types.get(types.strip(type_id)).kind;
    matches!(found, Kind::Integer(Integer { size: 1, is_signed: false, meaning: Meaning::Number | Meaning::Character }))
}

fn integral(integer: Integer, value: i128) -> ValueKind {
    match integer.meaning {
        Meaning::Boolean => ValueKind::Boolean(value),
        Meaning::Character if integer.is_signed => ValueKind::Character(value),
        _ => ValueKind::Integer(value),
    }
}

/// The names of a number of an enumeration.
fn named(enumeration: &Enumeration, value: i128) -> ValueKind {
    let all = &enumeration.enumerators;
    if let Some((name, _)) = all.iter().find(|(_, named)| i128::from(*named) == value) {
        return ValueKind::Enumeration { value, names: vec![name.clone()], rest: 0 };
    }
    let (mut names, mut rest) = (Vec::new(), value);
    let is_flag = |(_, named): &(Box<str>, i64)| *named == 0 || named.cast_unsigned().is_power_of_two();
    // What counts 0, 1, 2 has no bits.
    if value > 0 && all.iter().all(is_flag) && all.iter().any(|(_, flag)| *flag > 2) {
        for (name, flag) in all.iter().filter(|(_, flag)| *flag != 0) {
            if rest & i128::from(*flag) != 0 {
                names.push(name.clone());
                rest &= !i128::from(*flag);
            }
        }
    }
    ValueKind::Enumeration { value, names, rest }
}
