//! An expression whose names and types are known: what is left to do is to read memory and to compute.

use super::error::Problem;
use super::span::Span;
use super::syntax::Binary;
use crate::types::{TwoValues, TypeId};

/// An expression that can be evaluated.
#[derive(Debug, Clone)]
pub(super) enum Code {
    /// A place in memory.
    Place(Place),
    /// A number or an address.
    Value(Value),
    /// So many objects, from one on.
    Several(Place, Value),
}

/// A place in memory, to be found.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub span: Span,
    pub type_id: TypeId,
    pub kind: PlaceKind,
}

#[derive(Debug, Clone)]
pub(super) enum PlaceKind {
    /// A variable or a function.
    Variable(u64),
    /// A variable of which there is a byte that tells which of two values it has; `None` where nobody told them, or
    /// whether that is so.
    Choice(u64, Result<TwoValues, Box<Problem>>),
    /// A variable that each processor has for itself, by its address in the kernel's file.
    PerCpu(u64, Box<str>),
    /// A variable that each network stack has for itself, by its address in the kernel's file.
    PerVnet(u64, Box<str>),
    /// The element of a list.
    Element,
    /// What a pointer leads to.
    At(Box<Value>),
    /// A member: of what, and how many bits behind its beginning.
    Member(Box<Place>, u64, Option<u32>),
}

/// A number or an address, to be computed.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub span: Span,
    pub type_id: TypeId,
    /// What numbers its type has.
    pub number: Number,
    pub kind: ValueKind,
}

#[derive(Debug, Clone)]
pub(super) enum ValueKind {
    Constant(i128),
    /// What is at a place.
    Load(Box<Place>),
    AddressOf(Box<Place>),
    /// The same number in another type.
    Convert(Box<Value>),
    /// Whether it is anything but 0.
    Truth(Box<Value>),
    Negate(Box<Value>),
    Complement(Box<Value>),
    Not(Box<Value>),
    /// Both operands are of one type, but those of shifts.
    Binary(Binary, Box<Value>, Box<Value>),
    /// `&&`, if it is that, or else `||`.
    Logical(bool, Box<Value>, Box<Value>),
    Conditional(Box<Value>, Box<Value>, Box<Value>),
    /// An address and so many times a size, which is negative where it is subtracted.
    Offset(Box<Value>, Box<Value>, i128),
    /// How many times a size goes between two addresses.
    Distance(Box<Value>, Box<Value>, i128),
    /// The address of the `struct pcpu` of a processor; that which the expression is evaluated for, if none is said.
    Pcpu(Option<Box<Value>>),
    /// The sum of a counter(9).
    Counter(Box<Value>),
    /// The address of a process by its number.
    Process(Box<Value>),
    /// The address of a thread by its number.
    Thread(Box<Value>),
}

/// The numbers that a type has: so many bits, with a sign or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub bits: u32,
    pub is_signed: bool,
}

impl Number {
    /// The number of this type that has the lower bits of another number.
    pub fn wrap(self, value: i128) -> i128 {
        let above = 128_u32.saturating_sub(self.bits.clamp(1, 64));
        let high = value << above;
        if self.is_signed { high >> above } else { (high.cast_unsigned() >> above).cast_signed() }
    }
}

/// What an expression depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Uses {
    /// Which processor is meant.
    pub cpu: bool,
    /// Which network stack is meant.
    pub vnet: bool,
}
