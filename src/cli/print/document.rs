//! Values and lists in JSON.

use super::Printer;
use serde::{Serialize, Serializer};
use vmcore::expression::{Evaluated, ExpressionError, Problem};
use vmcore::fault::Fault;
use vmcore::kernel::TypedMemory;
use vmcore::lists::{ListEnd, StrayPointer, Walk};
use vmcore::query::{Answer, Selection};
use vmcore::text::Name;
use vmcore::types::TypeTable;
use vmcore::units::{Hex, hex_digits};
use vmcore::value::{MemberValue, Run, Text, Value, ValueKind};

/// What an expression evaluates to, for a processor and a network stack.
#[derive(Serialize)]
pub struct ResultDocument<'a> {
    cpu: Option<u32>,
    vnet: Option<Hex>,
    contents: Option<TypedValue>,
    list: Option<ListDocument<'a>>,
}

/// A value with its type, and where it is, if it is in memory.
#[derive(Serialize)]
pub struct TypedValue {
    r#type: Option<String>,
    address: Option<Hex>,
    contents: ValueDocument,
}

#[derive(Serialize)]
struct ListDocument<'a> {
    element_count: usize,
    end_reason: &'static str,
    why: Option<String>,
    stray_pointers: Vec<StrayDocument>,
    stray_pointer_count: usize,
    elements: Elements<'a>,
}

#[derive(Serialize)]
struct StrayDocument {
    member: &'static str,
    address: Hex,
    actual: Hex,
    expected: Hex,
}

/// The elements of a list, which are read while they are written: all together may be too much for memory.
struct Elements<'a> {
    printer: &'a Printer<'a>,
    selection: Selection,
    walk: &'a Walk,
}

#[derive(Serialize)]
struct ElementDocument {
    address: Hex,
    values: Vec<TypedValue>,
}

impl<'a> ResultDocument<'a> {
    pub fn new(printer: &'a Printer<'a>, (selection, answer): &'a (Selection, Answer<'a>)) -> Self {
        let (value, list) = match answer {
            Answer::Value(found) => (Some(printer.typed_value(found)), None),
            Answer::List(walk) => (None, Some(ListDocument::new(printer, *selection, walk))),
        };
        Self { cpu: selection.cpu, vnet: selection.vnet.map(Hex), contents: value, list }
    }
}

impl TypedValue {
    pub fn new(typed: TypedMemory<'_>, found: &Evaluated<'_>, value: &Value) -> Self {
        let (type_id, address) = match found {
            Evaluated::Object(object) | Evaluated::Several(object, _) => (object.type_id(), Some(object.address())),
            Evaluated::Number { type_id, .. } => (*type_id, None),
        };
        Self {
            r#type: Some(typed.types.name_of(type_id)),
            address: address.map(Hex),
            contents: ValueDocument::new(typed.types, value),
        }
    }

    /// What cannot be evaluated.
    fn failed(error: &ExpressionError) -> Self {
        let value = match error.problem {
            Problem::Unreadable(fault) => ValueDocument::unreadable(fault),
            _ => ValueDocument::Error { why: error.to_string() },
        };
        Self { r#type: None, address: None, contents: value }
    }
}

impl<'a> ListDocument<'a> {
    fn new(printer: &'a Printer<'a>, selection: Selection, walk: &'a Walk) -> Self {
        let (end_reason, why) = match walk.end {
            ListEnd::Complete => ("complete", None),
            ListEnd::Limit => ("limit", Some(walk.end.to_string())),
            ListEnd::Loop(_) => ("loop", Some(walk.end.to_string())),
            ListEnd::Unreadable { .. } => ("unreadable", Some(walk.end.to_string())),
            ListEnd::TooDeep(_) => ("too-deep", Some(walk.end.to_string())),
        };
        Self {
            element_count: walk.elements.len(),
            end_reason,
            why,
            stray_pointers: walk.stray.iter().map(StrayDocument::new).collect(),
            stray_pointer_count: walk.stray_count,
            elements: Elements { printer, selection, walk },
        }
    }
}

impl StrayDocument {
    fn new(stray: &StrayPointer) -> Self {
        let StrayPointer { member, element, found, expected } = *stray;
        Self { member, address: Hex(element), actual: Hex(found), expected: Hex(expected) }
    }
}

impl Elements<'_> {
    fn element(&self, address: u64) -> ElementDocument {
        let found = self.printer.query.element(self.printer.typed, self.selection, address);
        ElementDocument { address: Hex(address), values: found.iter().map(|found| self.value(found)).collect() }
    }

    fn value(&self, found: &Result<Evaluated<'_>, ExpressionError>) -> TypedValue {
        match found {
            Ok(found) => self.printer.typed_value(found),
            Err(error) => {
                self.printer.fail();
                TypedValue::failed(error)
            }
        }
    }
}

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.walk.elements.iter().map(|address| self.element(*address)))
    }
}

/// A value in JSON.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum ValueDocument {
    Integer { number: i128 },
    Character { number: i128 },
    Boolean { truth: bool },
    Enumeration { number: i128, names: Vec<String>, rest: i128 },
    Float { float: f64 },
    Pointer { address: Hex, symbol: Option<String>, text: Option<Name>, is_cut: bool, why: Option<String> },
    Text { text: Name, is_cut: bool },
    Bytes { bytes: String, is_cut: bool },
    Array { element_count: Option<u64>, elements: Vec<RunDocument> },
    Structure { members: Vec<MemberDocument> },
    Union { members: Vec<MemberDocument> },
    Folded,
    Opaque,
    Unreadable { address: Hex, why: String },
    Error { why: String },
}

#[derive(Serialize)]
struct RunDocument {
    index: u64,
    repeat_count: u64,
    contents: ValueDocument,
}

#[derive(Serialize)]
struct MemberDocument {
    name: Name,
    r#type: String,
    bit_offset: u64,
    bit_count: Option<u32>,
    contents: ValueDocument,
}

impl ValueDocument {
    fn new(types: &TypeTable, value: &Value) -> Self {
        match &value.kind {
            ValueKind::Integer(value) => Self::Integer { number: *value },
            ValueKind::Character(value) => Self::Character { number: *value },
            ValueKind::Boolean(value) => Self::Boolean { truth: *value != 0 },
            ValueKind::Enumeration { value, names, rest } => Self::Enumeration {
                number: *value,
                names: names.iter().map(ToString::to_string).collect(),
                rest: *rest,
            },
            ValueKind::Float(value) => Self::Float { float: *value },
            ValueKind::Pointer { address, symbol, text } => Self::pointer(*address, symbol.clone(), text.as_ref()),
            ValueKind::Text(text) => Self::Text { text: text.bytes.clone().into(), is_cut: text.is_cut },
            ValueKind::Bytes(bytes) => Self::Bytes { bytes: hex_digits(&bytes.bytes), is_cut: bytes.is_cut },
            ValueKind::Array { count, runs } => {
                Self::Array { element_count: *count, elements: runs.iter().map(|run| element(types, run)).collect() }
            }
            ValueKind::Aggregate { is_union, members } => {
                let members = members.iter().map(|found| member(types, found)).collect();
                if *is_union { Self::Union { members } } else { Self::Structure { members } }
            }
            ValueKind::Folded => Self::Folded,
            ValueKind::Opaque => Self::Opaque,
            ValueKind::Unreadable(fault) => Self::unreadable(*fault),
        }
    }

    fn pointer(address: u64, symbol: Option<String>, text: Option<&Result<Text, Fault>>) -> Self {
        let (text, is_cut, why) = match text {
            Some(Ok(text)) => (Some(text.bytes.clone().into()), text.is_cut, None),
            Some(Err(fault)) => (None, false, Some(fault.to_string())),
            None => (None, false, None),
        };
        Self::Pointer { address: Hex(address), symbol, text, is_cut, why }
    }

    fn unreadable(fault: Fault) -> Self {
        Self::Unreadable { address: Hex(fault.address), why: fault.why.to_string() }
    }
}

fn element(types: &TypeTable, run: &Run) -> RunDocument {
    RunDocument { index: run.first, repeat_count: run.count, contents: ValueDocument::new(types, &run.value) }
}

fn member(types: &TypeTable, found: &MemberValue) -> MemberDocument {
    MemberDocument {
        name: (&*found.name).into(),
        r#type: types.name_of(found.value.type_id),
        bit_offset: found.bit_offset,
        bit_count: found.bits,
        contents: ValueDocument::new(types, &found.value),
    }
}
