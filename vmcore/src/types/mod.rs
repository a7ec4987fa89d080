//! The types of a kernel's C: structures, unions, enumerations, and what they are made of; and which variable and function
//! has which.
//!
//! One model, whatever told of them: CTF ([`ctf`], ctf(5)), which release kernels carry, or DWARF
//! (`debug_info::types`). Layouts are those of the kernel's machine: nothing here depends on the one that memtool runs on.

mod budget;
pub mod ctf;
mod declaration;
pub mod isf;
mod known_storage;
pub mod layout;
pub mod search;
mod source;
mod storage;
mod table;
#[cfg(test)]
mod tests;
mod untyped;

pub(crate) use budget::Budget;
pub use known_storage::KnownStorage;
pub use source::{NoStorage, StorageSource, TypeSource};
pub use storage::{Storage, TwoValues};
pub use table::{FoundMember, TypeTable, Variable};
pub use untyped::{SymbolClass, UntypedReason, UntypedSymbols};

/// A type of a [`TypeTable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub(crate) u32);

impl TypeId {
    /// That of no type: what it leads to is [`Kind::Unknown`].
    pub const UNKNOWN: Self = Self(u32::MAX);
}

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// Its name, without `struct`, `union` or `enum`; empty where it has none.
    pub name: Box<str>,
    /// What it is.
    pub kind: Kind,
    /// The number of the file that told of it: see [`TypeTable::source`].
    pub source: u16,
}

/// What a type is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `void`.
    Void,
    /// Nobody told what it is.
    Unknown,
    /// A number without a point.
    Integer(Integer),
    /// A floating-point number of so many bytes.
    Float(u64),
    /// A pointer.
    Pointer(TypeId),
    /// An array.
    Array {
        /// Of what.
        element: TypeId,
        /// How many; `None` of a flexible one, `[]`.
        count: Option<u64>,
    },
    /// A structure or a union.
    Aggregate(Aggregate),
    /// A structure, union or enumeration that is named, and whose contents are told nowhere.
    Incomplete(Tag),
    /// An enumeration.
    Enumeration(Enumeration),
    /// Another name of a type.
    Typedef(TypeId),
    /// A type with a qualifier.
    Qualified(Qualifier, TypeId),
    /// A function.
    Function(Function),
}

/// An integer type, or that of a bit field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Integer {
    /// Bytes.
    pub size: u64,
    /// Whether it has negative values.
    pub is_signed: bool,
    /// What is in it, where it is not just a number.
    pub meaning: Meaning,
}

/// What an integer stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// A number.
    Number,
    /// A character.
    Character,
    /// `false` or `true`.
    Boolean,
}

/// What comes before a name that is not one of a typedef.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// `struct`.
    Structure,
    /// `union`.
    Union,
    /// `enum`.
    Enumeration,
}

impl Tag {
    /// The keyword.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Structure => "struct",
            Self::Union => "union",
            Self::Enumeration => "enum",
        }
    }
}

/// A structure or a union.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// Whether all members are at its beginning.
    pub is_union: bool,
    /// Bytes.
    pub size: u64,
    /// In the order in which they are declared.
    pub members: Vec<Member>,
}

/// A member of a structure or union.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name; empty of a structure or union whose members count as those of the outer one, and of padding.
    pub name: Box<str>,
    /// Its type.
    pub type_id: TypeId,
    /// Where it begins, in bits from the beginning of the structure. Bits are counted as they lie in memory: of a byte, the
    /// least significant comes first on little-endian machines, the most significant on big-endian ones.
    pub bit_offset: u64,
    /// How many bits it has, if it is a bit field.
    pub bits: Option<u32>,
}

/// An enumeration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enumeration {
    /// Bytes.
    pub size: u64,
    /// Names and values, in the order in which they are declared.
    pub enumerators: Vec<(Box<str>, i64)>,
}

/// What changes how a type is used, not what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier {
    /// `const`.
    Const,
    /// `volatile`.
    Volatile,
    /// `restrict`.
    Restrict,
    /// `_Atomic`.
    Atomic,
}

impl Qualifier {
    /// The keyword.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Const => "const",
            Self::Volatile => "volatile",
            Self::Restrict => "restrict",
            Self::Atomic => "_Atomic",
        }
    }
}

/// The type of a function.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Function {
    /// What it returns.
    pub returns: TypeId,
    /// What it takes.
    pub parameters: Vec<TypeId>,
    /// Whether it takes more than that (`...`).
    pub is_variadic: bool,
}
