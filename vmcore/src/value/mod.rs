//! Values of a kernel's objects for people and programs: read by their types ([`ValueReader`]), down to a depth and so many
//! elements, and as text in the form of C ([`text::lines`]).

mod read;
pub mod text;

pub use read::ValueReader;

use crate::fault::Fault;
use crate::types::TypeId;

/// How much of a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueLimits {
    /// Structures within each other whose members are read.
    pub depth: usize,
    /// Elements of an array: equal ones that follow each other count as one.
    pub elements: usize,
    /// Bytes of a text, or of an array of bytes.
    pub bytes: usize,
}

impl Default for ValueLimits {
    fn default() -> Self {
        Self { depth: 1, elements: 100, bytes: 200 }
    }
}

/// A value with its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Its type.
    pub type_id: TypeId,
    /// It.
    pub kind: ValueKind,
}

impl Value {
    /// Whether all of it could be read; texts that pointers lead to are not part of it.
    pub fn is_whole(&self) -> bool {
        match &self.kind {
            ValueKind::Aggregate { members, .. } => members.iter().all(|member| member.value.is_whole()),
            ValueKind::Array { runs, .. } => runs.iter().all(|run| run.value.is_whole()),
            ValueKind::Unreadable(_) | ValueKind::Opaque => false,
            _ => true,
        }
    }
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueKind {
    /// A number.
    Integer(i128),
    /// A `char`.
    Character(i128),
    /// A truth value: 0 or 1, unless memory has something else there.
    Boolean(i128),
    /// A number of an enumeration.
    Enumeration {
        /// The number.
        value: i128,
        /// Its name; or those of flags, if all names of the enumeration are, that it consists of.
        names: Vec<Box<str>>,
        /// What no name stands for.
        rest: i128,
    },
    /// A floating-point number.
    Float(f64),
    /// A pointer, or a function.
    Pointer {
        /// Where it leads to.
        address: u64,
        /// The symbol there.
        symbol: Option<String>,
        /// The text there, if it is one to `char`, or why it cannot be read.
        text: Option<Result<Text, Fault>>,
    },
    /// An array of `char`, up to a NUL.
    Text(Text),
    /// Bytes that are no numbers to compute with: an array of `uint8_t`.
    Bytes(Text),
    /// An array.
    Array {
        /// How many elements it has by its type; `None` of a flexible one.
        count: Option<u64>,
        /// Those that were read.
        runs: Vec<Run>,
    },
    /// A structure or union.
    Aggregate {
        /// Whether it is a union.
        is_union: bool,
        /// Its members.
        members: Vec<MemberValue>,
    },
    /// A structure, a union, or an array of them, that is deeper than was asked for.
    Folded,
    /// Something whose contents its type does not tell.
    Opaque,
    /// Something that cannot be read.
    Unreadable(Fault),
}

/// Bytes, as far as they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// They.
    pub bytes: Vec<u8>,
    /// Whether more follow.
    pub is_cut: bool,
}

/// Elements of an array that follow each other and are equal.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The index of the first.
    pub first: u64,
    /// How many they are.
    pub count: u64,
    /// What each of them is.
    pub value: Value,
}

/// A member of a structure or union with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberValue {
    /// Its name; empty of an unnamed structure or union.
    pub name: Box<str>,
    /// Where it begins, in bits from the beginning of the structure.
    pub bit_offset: u64,
    /// How many bits it has, if it is a bit field.
    pub bits: Option<u32>,
    /// Its value.
    pub value: Value,
}
