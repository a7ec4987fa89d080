//! What an expression says, as a tree, before anything is known of what its names stand for.

use super::span::Span;
use super::token::Literal;
use crate::types::Tag;

/// A part of an expression.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it is.
    pub span: Span,
    /// What it is.
    pub kind: NodeKind,
    /// How many nodes there are one within another, this one among them.
    pub height: usize,
}

/// What a part of an expression is.
#[derive(Debug, Clone)]
pub enum NodeKind {
    /// A number.
    Integer(Literal),
    /// A variable, a function or an enumerator.
    Name {
        /// The module to look in: all of them, if none is said.
        module: Option<String>,
        /// The name.
        name: String,
    },
    /// The element of a list that the expression is of: `$`, or nothing before `.` or `->`.
    Element,
    /// `$NAME(ARGUMENT)`.
    Special {
        /// The name.
        name: String,
        /// What is in parentheses.
        argument: Option<Box<Node>>,
    },
    /// `a.b`, and, if it is through a pointer, `a->b`.
    Member {
        /// What has it.
        of: Box<Node>,
        /// Its name.
        name: String,
        /// Where the name is.
        name_span: Span,
        /// Whether it is `->`.
        through_pointer: bool,
    },
    /// `a[b]`.
    Index(Box<Node>, Box<Node>),
    /// `*a`.
    Dereference(Box<Node>),
    /// `&a`.
    AddressOf(Box<Node>),
    /// `+a`, `-a`, `~a`, `!a`.
    Unary(Unary, Box<Node>),
    /// `a + b` and all other operators with two operands, but `&&` and `||`.
    Binary(Binary, Box<Node>, Box<Node>),
    /// `a && b`; if it is not that, `a || b`.
    Logical {
        /// Whether it is `&&`.
        is_and: bool,
        /// Before it.
        left: Box<Node>,
        /// Behind it.
        right: Box<Node>,
    },
    /// `a ? b : c`.
    Conditional(Box<Node>, Box<Node>, Box<Node>),
    /// `(TYPE)a`.
    Cast(TypeName, Box<Node>),
    /// `sizeof a`.
    SizeOf(Box<Node>),
    /// `sizeof(TYPE)`.
    SizeOfType(TypeName),
    /// `offsetof(TYPE, a.b)`.
    OffsetOf(TypeName, Vec<(String, Span)>),
    /// `a@b`: b objects such as a, from a on.
    Several(Box<Node>, Box<Node>),
}

/// An operator with one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
    /// `+`.
    Plus,
    /// `-`.
    Minus,
    /// `~`.
    Complement,
    /// `!`.
    Not,
}

/// An operator with two operands that are both evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
    /// `%`.
    Remainder,
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `<<`.
    ShiftLeft,
    /// `>>`.
    ShiftRight,
    /// `<`.
    Less,
    /// `>`.
    Greater,
    /// `<=`.
    LessOrEqual,
    /// `>=`.
    GreaterOrEqual,
    /// `==`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `&`.
    And,
    /// `^`.
    ExclusiveOr,
    /// `|`.
    Or,
}

impl Binary {
    /// Whether it compares.
    pub const fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Less | Self::Greater | Self::LessOrEqual | Self::GreaterOrEqual | Self::Equal | Self::NotEqual
        )
    }
}

/// The name of a type: `struct proc *`, `unsigned long`, `int (*)[4]`.
#[derive(Debug, Clone)]
pub struct TypeName {
    /// Where it is.
    pub span: Span,
    /// What the declaration begins with.
    pub base: BaseType,
    /// What is made of it, in this order.
    pub derivations: Vec<Derivation>,
}

/// What the name of a type begins with.
#[derive(Debug, Clone)]
pub enum BaseType {
    /// `struct NAME`, `union NAME`, `enum NAME`.
    Tagged(Tag, Named),
    /// The name of a typedef, or of a basic type that is one word.
    Typedef(Named),
    /// `unsigned long` and others that consist of keywords.
    Basic(Basic),
}

/// A name of a type and, perhaps, the module to look in.
#[derive(Debug, Clone)]
pub struct Named {
    /// The module.
    pub module: Option<String>,
    /// The name.
    pub name: String,
    /// Where it is.
    pub span: Span,
}

/// A type whose name consists of keywords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basic {
    /// `void`.
    Void,
    /// `_Bool`.
    Boolean,
    /// `char`: no other is text.
    Character,
    /// `signed char` and `unsigned char`.
    Byte {
        /// Which of them.
        is_signed: bool,
    },
    /// `short`.
    Short {
        /// Whether it has negative values.
        is_signed: bool,
    },
    /// `int`.
    Int {
        /// Whether it has negative values.
        is_signed: bool,
    },
    /// `long`.
    Long {
        /// Whether it has negative values.
        is_signed: bool,
    },
    /// `long long`.
    LongLong {
        /// Whether it has negative values.
        is_signed: bool,
    },
}

/// What is made of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derivation {
    /// A pointer to it.
    Pointer,
    /// An array of so many.
    Array(Option<u64>),
    /// A function that returns it.
    Function,
}
