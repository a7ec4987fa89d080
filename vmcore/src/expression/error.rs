//! What is wrong with an expression, and where in it.

use super::span::Span;
use crate::error::Error;
use crate::fault::Fault;
use crate::near::did_you_mean;
use crate::types::UntypedReason;
use crate::units::{Hex, counted};
use std::fmt;

/// What is wrong with an expression, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionError {
    /// The part that is meant.
    pub span: Span,
    /// What is wrong with it.
    pub problem: Problem,
}

impl ExpressionError {
    pub(super) fn new(span: Span, problem: Problem) -> Self {
        Self { span, problem }
    }
}

/// What is wrong with a part of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It has more bytes than are read.
    TooLong,
    /// More is nested in it than is read.
    TooDeep,
    /// No token begins with this character.
    UnknownCharacter(char),
    /// It begins like a number and is none.
    NotANumber,
    /// It is not less than 2^64.
    NumberTooLarge,
    /// It is decimal, not marked as unsigned, and not less than 2^63.
    NotSigned,
    /// It begins like a character in quotes and is none.
    NotACharacter,
    /// Something else has to be here.
    Expected(&'static str),
    /// It would assign a value.
    Assignment,
    /// It would call a function.
    Call,
    /// Nothing has this name.
    UnknownName {
        /// The name.
        name: String,
        /// Names that are like it.
        near: Vec<String>,
    },
    /// The kernel has no such module, or none with symbols.
    UnknownModule(String),
    /// Several things have this name.
    AmbiguousName {
        /// The name.
        name: String,
        /// What says which is meant, for each.
        choices: Vec<String>,
    },
    /// No type has this name.
    UnknownType {
        /// The name, with its tag.
        name: String,
        /// Names that are like it.
        near: Vec<String>,
    },
    /// Several types that are laid out differently have this name.
    AmbiguousType {
        /// The name, with its tag.
        name: String,
        /// Their sizes and the files that they are from.
        choices: Vec<String>,
    },
    /// The type of a symbol is not known.
    Untyped {
        /// Why, if that is known.
        reason: Option<UntypedReason>,
    },
    /// Nothing can be cast to this type.
    CastTarget(String),
    /// A structure has no such member.
    NoMember {
        /// The structure.
        of: String,
        /// The member.
        name: String,
        /// Names that are like it.
        near: Vec<String>,
    },
    /// It has no members: it is of this type.
    NotAStructure(String),
    /// It is a pointer: its members follow `->`.
    WriteArrow,
    /// It is no pointer: its members follow `.`.
    WritePoint,
    /// It does not lead to anything: it is of this type.
    NotAPointer(String),
    /// It has no value to compute with: it is of this type.
    NotANumberType(String),
    /// It is no place in memory.
    NoAddress,
    /// It is a bit field, which has no address of its own.
    BitField,
    /// A variable of which the compiler has kept one byte, as the symbol table tells: it takes two values only, and the byte
    /// tells which of them it is, not what they are.
    Shrunk {
        /// The variable.
        name: String,
        /// Bytes that there are.
        kept: u64,
        /// Bytes of its type.
        size: u64,
    },
    /// A variable of which the compiler may have kept such a byte: its type has no more bytes than that.
    MayBeShrunk(String),
    /// The byte that tells which of two values a variable has is this one, which is neither 0 nor 1.
    NeitherValue(u8),
    /// There is a byte of it that tells which of two values it has, and no object of its type.
    OneByte,
    /// Its type has no size.
    NoSize(String),
    /// These two types do not go together.
    Mismatched(String, String),
    /// It divides by 0.
    DivisionByZero,
    /// It shifts a number of so many bits by so many.
    ShiftOutOfRange {
        /// By how many.
        by: i128,
        /// How many bits the number has.
        bits: u32,
    },
    /// There is no element of a list.
    NoElement,
    /// There is nothing of this name behind `$`.
    UnknownSpecial(String),
    /// What is behind `$` needs an argument in parentheses, or takes none.
    SpecialArgument(&'static str),
    /// Each processor has its own, and it is not said which is meant.
    WhichCpu(String),
    /// There is no processor of this number.
    NoCpu(i128),
    /// Where the copies of a variable are that each processor or network stack has is not known.
    NoCopies(String),
    /// Where the copies of a variable of a module are is not known.
    NotPlaced {
        /// The variable.
        name: String,
        /// The module.
        module: String,
        /// Why.
        why: String,
    },
    /// There is no process of this number.
    NoProcess(i128),
    /// There is no thread of this number.
    NoThread(i128),
    /// It is no number of elements that can be shown.
    ElementCount(i128),
    /// It is one object, and not several.
    SeveralInside,
    /// It cannot be read.
    Unreadable(Fault),
    /// Something that the expression needs of the kernel cannot be had, for this reason.
    Failed(String),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Fault(fault) => Self::Unreadable(fault),
            error => Self::Failed(error.to_string()),
        }
    }
}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("the expression is too long"),
            Self::TooDeep => f.write_str("too much is nested in the expression"),
            Self::UnknownCharacter(character) => write!(f, "unexpected character '{character}'"),
            Self::NotANumber => f.write_str("not an integer"),
            Self::NumberTooLarge => f.write_str("the number does not fit in 64 bits"),
            Self::NotSigned => f.write_str("the number does not fit in 63 bits and a sign: write u behind it"),
            Self::NotACharacter => f.write_str("not a character in single quotes"),
            Self::Expected(what) => write!(f, "expected {what}"),
            Self::Assignment => f.write_str("nothing can be assigned; == compares"),
            Self::Call => f.write_str("functions cannot be called"),
            Self::UnknownName { name, near } => write!(f, "the kernel has no symbol '{name}'{}", did_you_mean(near)),
            Self::UnknownModule(name) => write!(f, "no symbols of a module '{name}' are known"),
            Self::AmbiguousName { name, choices } => {
                write!(f, "there are several symbols '{name}': write {}", choices.join(" or "))
            }
            Self::UnknownType { name, near } => write!(f, "the kernel has no type '{name}'{}", did_you_mean(near)),
            Self::AmbiguousType { name, choices } => {
                write!(f, "there are several types '{name}': {}", choices.join(", "))
            }
            Self::Untyped { reason: None } => {
                f.write_str("its type is not known: cast its address, as in *(int *)&NAME")
            }
            Self::Untyped { reason: Some(reason) } => {
                write!(f, "its type is not known: {reason}; cast its address, as in *(int *)&NAME")
            }
            Self::CastTarget(name) => {
                write!(f, "nothing can be cast to {name}; an object at an address is *(TYPE *)ADDRESS")
            }
            Self::NoMember { of, name, near } => write!(f, "{of} has no member '{name}'{}", did_you_mean(near)),
            Self::NotAStructure(name) => write!(f, "it has no members: its type is {name}"),
            Self::WriteArrow => f.write_str("it is a pointer: write -> before the member"),
            Self::WritePoint => f.write_str("it is not a pointer: write . before the member"),
            Self::NotAPointer(name) => {
                write!(f, "it is not a pointer: its type is {name}; cast it, as in *(int *)ADDRESS")
            }
            Self::NotANumberType(name) => write!(f, "it is not a number: its type is {name}"),
            Self::NoAddress => f.write_str("it is a value, which has no address"),
            Self::BitField => f.write_str("it is a bit field, which has no address of its own"),
            Self::Shrunk { name, kept, size } => {
                let bytes = counted(*size, "byte");
                write!(f, "the compiler has kept {kept} of its {bytes}, which tells which of two values it has; ")?;
                write!(f, "only a debug file tells what they are: the byte is *(unsigned char *)&{name}")
            }
            Self::MayBeShrunk(name) => {
                f.write_str("the compiler may have kept the opposite of its value, or a byte that stands for it; ")?;
                write!(f, "only a debug file tells: the byte is *(unsigned char *)&{name}")
            }
            Self::NeitherValue(byte) => {
                write!(f, "its byte is {byte}, where the compiler keeps 0 or 1: it was overwritten")
            }
            Self::OneByte => f.write_str("the compiler has kept one byte of it, behind which there are no others"),
            Self::NoSize(name) => write!(f, "the size of {name} is not known"),
            Self::Mismatched(left, right) => write!(f, "{left} and {right} cannot be combined by this operator"),
            Self::DivisionByZero => f.write_str("division by zero"),
            Self::ShiftOutOfRange { by, bits } => write!(f, "a number of {bits} bits cannot be shifted by {by}"),
            Self::NoElement => f.write_str("there is no list, whose element it could be"),
            Self::UnknownSpecial(name) => {
                let known = "$pcpu(CPU), $proc(PID), $thread(TID), $counter(COUNTER), and $ in --each";
                write!(f, "there is no ${name}: there are {known}")
            }
            Self::SpecialArgument(usage) => write!(f, "expected {usage}"),
            Self::WhichCpu(name) => write!(f, "each CPU has its own '{name}': give --cpu N or --cpu all"),
            Self::NoCpu(cpu) => write!(f, "the kernel has no CPU {cpu}"),
            Self::NoCopies(name) => write!(f, "where the kernel has its copies of '{name}' is not known"),
            Self::NotPlaced { name, module, why } => {
                write!(f, "where the kernel has its copies of '{name}' of {module} is not known: {why}")
            }
            Self::NoProcess(pid) => write!(f, "there is no process {pid}"),
            Self::NoThread(tid) => write!(f, "there is no thread {tid}"),
            Self::ElementCount(count) => write!(f, "{count} is not a number of elements from 0 to 16777216"),
            Self::SeveralInside => f.write_str("@ may only be the last operator"),
            Self::Unreadable(fault) => write!(f, "cannot read {}: {}", Hex(fault.address), fault.why),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ExpressionError {}
