//! CTF, the types of a kernel's C, as `ctfmerge` writes it into the section `.SUNW_ctf`: versions 2 and 3, in both orders of
//! bytes, compressed or not, alone or as the child of another one. And objects in memory, laid out by these types.
//!
//! Sources: `sys/sys/ctf.h`, ctf(5).
//!
//! ```
//! use vmcore_synth::Endianness;
//! use vmcore_synth::ctf::{Builder, CtfSpec, SIGNED};
//!
//! let mut types = Builder::new(CtfSpec::new(Endianness::Big, 8));
//! let int = types.integer("int", 4, SIGNED);
//! let flag = types.bit_field("unsigned int bitfield", 4, 0, 3);
//! // A structure that leads to another one of its kind: first a place, then what it is.
//! let process = types.reserve();
//! let next = types.pointer(process);
//! types.at(process).record("proc", &[("p_next", next), ("p_pid", int), ("p_state", flag)]);
//! assert_eq!((types.size_of(process), types.offset_of(process, "p_pid")), (16, 8));
//!
//! // Symbols in the order of the symbol table.
//! types.object(Some(process));
//! types.object(None);
//! types.function_symbol(Some((int, &[next], false)));
//! let section = types.build();
//! assert_eq!(section[..2], [0xcf, 0xf1]);
//!
//! let mut bytes = vec![0; 16];
//! types.set(&mut bytes, process, "p_pid", 4711);
//! types.set(&mut bytes, process, "p_state", 5);
//! assert_eq!(bytes[8..], [0, 0, 0x12, 0x67, 5 << 5, 0, 0, 0]);
//! ```

mod build;
mod layout;

use crate::{Endianness, Field};
use std::collections::BTreeMap;

pub const MAGIC: u16 = 0xcff1;
/// `cth_flags` of a container that is compressed.
pub const COMPRESSED: u8 = 1;

/// Encoding of integers.
pub const SIGNED: u8 = 1;
pub const CHAR: u8 = 2;
pub const BOOL: u8 = 4;
pub const VARARGS: u8 = 8;

/// Encoding of floating-point numbers.
pub const SINGLE: u8 = 1;
pub const DOUBLE: u8 = 2;
pub const LONG_DOUBLE: u8 = 6;

/// The header, to spoil; offsets in it count from its end, [`HEADER_SIZE`].
pub const HEADER: &[Field] = &[
    ("cth_magic", 0, 2),
    ("cth_version", 2, 1),
    ("cth_flags", 3, 1),
    ("cth_parlabel", 4, 4),
    ("cth_parname", 8, 4),
    ("cth_lbloff", 12, 4),
    ("cth_objtoff", 16, 4),
    ("cth_funcoff", 20, 4),
    ("cth_typeoff", 24, 4),
    ("cth_stroff", 28, 4),
    ("cth_strlen", 32, 4),
];
pub const HEADER_SIZE: usize = 36;

/// Kinds of types.
pub mod kinds {
    pub const UNKNOWN: u32 = 0;
    pub const INTEGER: u32 = 1;
    pub const FLOAT: u32 = 2;
    pub const POINTER: u32 = 3;
    pub const ARRAY: u32 = 4;
    pub const FUNCTION: u32 = 5;
    pub const STRUCT: u32 = 6;
    pub const UNION: u32 = 7;
    pub const ENUM: u32 = 8;
    pub const FORWARD: u32 = 9;
    pub const TYPEDEF: u32 = 10;
    pub const VOLATILE: u32 = 11;
    pub const CONST: u32 = 12;
    pub const RESTRICT: u32 = 13;

    /// All, with their names in the header.
    pub const ALL: &[(&str, u32)] = &[
        ("UNKNOWN", UNKNOWN),
        ("INTEGER", INTEGER),
        ("FLOAT", FLOAT),
        ("POINTER", POINTER),
        ("ARRAY", ARRAY),
        ("FUNCTION", FUNCTION),
        ("STRUCT", STRUCT),
        ("UNION", UNION),
        ("ENUM", ENUM),
        ("FORWARD", FORWARD),
        ("TYPEDEF", TYPEDEF),
        ("VOLATILE", VOLATILE),
        ("CONST", CONST),
        ("RESTRICT", RESTRICT),
    ];
}

/// How a container is written.
#[derive(Clone, Debug)]
pub struct CtfSpec {
    /// 2 or 3.
    pub version: u8,
    pub order: Endianness,
    /// Bytes of a pointer.
    pub word: usize,
    pub compressed: bool,
    /// Of a child: the parent's label and name.
    pub parent: Option<(&'static str, &'static str)>,
    /// The label of all types.
    pub label: &'static str,
    /// Names that are not in the container, and where they are in the string table of its file.
    pub external_names: BTreeMap<String, u32>,
}

impl CtfSpec {
    /// As a kernel's of `FreeBSD` 14 and later.
    pub fn new(order: Endianness, word: usize) -> Self {
        let (label, external_names) = ("FreeBSD 15.1-RELEASE", BTreeMap::new());
        Self { version: 3, order, word, compressed: true, parent: None, label, external_names }
    }
}

/// A type of a [`Builder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    /// From 1 on, in the order of the container.
    number: u32,
    is_parents: bool,
}

impl Type {
    /// What is written where a type is not known, or for `...`.
    pub const UNTYPED: Self = Self { number: 0, is_parents: false };

    /// The type of that number in the container, whether there is one or not.
    pub const fn numbered(number: u32) -> Self {
        Self { number, is_parents: false }
    }

    /// A parent's type, as its child refers to it.
    #[must_use]
    pub const fn of_parent(self) -> Self {
        Self { is_parents: true, ..self }
    }

    /// Its number in the container.
    pub const fn number(self) -> u32 {
        self.number
    }
}

/// A member: name, type, and offset in bits.
pub type Member<'a> = (&'a str, Type, u64);
/// What a function returns and takes, and whether it takes more.
pub type Signature<'a> = (Type, &'a [Type], bool);

#[derive(Clone, Debug)]
enum Definition {
    /// Yet to be defined.
    Reserved,
    Integer {
        size: u64,
        encoding: u8,
        offset: u8,
        bits: u16,
    },
    Float {
        size: u64,
        encoding: u8,
    },
    Array {
        element: Type,
        index: Type,
        count: u32,
    },
    Function {
        returns: Type,
        parameters: Vec<Type>,
    },
    Aggregate {
        is_union: bool,
        size: u64,
        members: Vec<(String, Type, u64)>,
    },
    Enumeration {
        size: u64,
        values: Vec<(String, i32)>,
    },
    /// With the kind of the tag, or 0.
    Forward(u32),
    /// Pointers, typedefs and qualifiers, by their kind.
    Reference(u32, Type),
}

#[derive(Clone, Debug)]
struct Described {
    name: String,
    is_root: bool,
    definition: Definition,
}

/// Types of a kernel or module, and which of its symbols have which.
#[derive(Clone, Debug)]
pub struct Builder {
    pub spec: CtfSpec,
    types: Vec<Described>,
    /// Where the next type goes, if not to the end.
    place: Option<Type>,
    /// Whether the types that follow are found by name.
    pub is_root: bool,
    objects: Vec<Option<Type>>,
    functions: Vec<Option<(Type, Vec<Type>)>>,
}

impl Builder {
    pub fn new(spec: CtfSpec) -> Self {
        Self { spec, types: Vec::new(), place: None, is_root: true, objects: Vec::new(), functions: Vec::new() }
    }

    fn add(&mut self, name: &str, definition: Definition) -> Type {
        let described = Described { name: name.to_owned(), is_root: self.is_root, definition };
        if let Some(place) = self.place.take() {
            let at = &mut self.types[place.number as usize - 1];
            assert!(matches!(at.definition, Definition::Reserved), "type {} is defined", place.number);
            *at = described;
            return place;
        }
        self.types.push(described);
        Type { number: self.types.len() as u32, is_parents: false }
    }

    /// A number for a type that is defined later: [`Self::at`].
    pub fn reserve(&mut self) -> Type {
        self.add("", Definition::Reserved)
    }

    /// Has the next type that is defined be the one that was reserved.
    pub fn at(&mut self, reserved: Type) -> &mut Self {
        self.place = Some(reserved);
        self
    }

    pub fn integer(&mut self, name: &str, size: u64, encoding: u8) -> Type {
        self.add(name, Definition::Integer { size, encoding, offset: 0, bits: 8 * size as u16 })
    }

    /// The type of a bit field: an integer of so many bits.
    pub fn bit_field(&mut self, name: &str, size: u64, encoding: u8, bits: u16) -> Type {
        self.add(name, Definition::Integer { size, encoding, offset: 0, bits })
    }

    /// `void`, as `ctfconvert` writes it.
    pub fn void(&mut self) -> Type {
        self.add("void", Definition::Integer { size: 0, encoding: SIGNED, offset: 0, bits: 0 })
    }

    pub fn float(&mut self, name: &str, size: u64, encoding: u8) -> Type {
        self.add(name, Definition::Float { size, encoding })
    }

    pub fn pointer(&mut self, to: Type) -> Type {
        self.add("", Definition::Reference(kinds::POINTER, to))
    }

    pub fn typedef(&mut self, name: &str, of: Type) -> Type {
        self.add(name, Definition::Reference(kinds::TYPEDEF, of))
    }

    pub fn qualified_const(&mut self, of: Type) -> Type {
        self.add("", Definition::Reference(kinds::CONST, of))
    }

    pub fn qualified_volatile(&mut self, of: Type) -> Type {
        self.add("", Definition::Reference(kinds::VOLATILE, of))
    }

    pub fn qualified_restrict(&mut self, of: Type) -> Type {
        self.add("", Definition::Reference(kinds::RESTRICT, of))
    }

    /// An array; one of 0 elements is a flexible one.
    pub fn array(&mut self, element: Type, count: u32) -> Type {
        self.add("", Definition::Array { element, index: Type::UNTYPED, count })
    }

    pub fn function(&mut self, (returns, parameters, is_variadic): Signature<'_>) -> Type {
        let mut parameters = parameters.to_vec();
        parameters.extend(is_variadic.then_some(Type::UNTYPED));
        self.add("", Definition::Function { returns, parameters })
    }

    /// A structure with members at these bits.
    pub fn structure(&mut self, name: &str, size: u64, members: &[Member<'_>]) -> Type {
        self.aggregate(name, size, members, false)
    }

    /// A union with members at these bits.
    pub fn union(&mut self, name: &str, size: u64, members: &[Member<'_>]) -> Type {
        self.aggregate(name, size, members, true)
    }

    fn aggregate(&mut self, name: &str, size: u64, members: &[Member<'_>], is_union: bool) -> Type {
        let members = members.iter().map(|(name, of, offset)| ((*name).to_owned(), *of, *offset)).collect();
        self.add(name, Definition::Aggregate { is_union, size, members })
    }

    /// A structure with members one after another, as a compiler lays them out: each at a multiple of its size, bit fields
    /// within one unit of their type. What it is made of has to be defined.
    pub fn record(&mut self, name: &str, members: &[(&str, Type)]) -> Type {
        let (size, offsets) = self.lay_out(members);
        let members: Vec<Member<'_>> =
            members.iter().zip(offsets).map(|((name, of), offset)| (*name, *of, offset)).collect();
        self.structure(name, size, &members)
    }

    /// A union of members, as large as the largest of them.
    pub fn union_of(&mut self, name: &str, members: &[(&str, Type)]) -> Type {
        let align = members.iter().map(|(_, of)| self.align_of(*of)).max().unwrap_or(1);
        let size = members.iter().map(|(_, of)| self.size_of(*of)).max().unwrap_or(0).next_multiple_of(align);
        let members: Vec<Member<'_>> = members.iter().map(|(name, of)| (*name, *of, 0)).collect();
        self.union(name, size, &members)
    }

    pub fn enumeration(&mut self, name: &str, size: u64, values: &[(&str, i32)]) -> Type {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        self.add(name, Definition::Enumeration { size, values })
    }

    /// A declaration of a structure that is defined nowhere, with the kind 0 that `ctfconvert` writes for all of them.
    pub fn forward(&mut self, name: &str) -> Type {
        self.add(name, Definition::Forward(0))
    }

    /// A declaration with a kind.
    pub fn forward_of(&mut self, name: &str, kind: u32) -> Type {
        self.add(name, Definition::Forward(kind))
    }

    /// The next variable of the symbol table: the type that it has.
    pub fn object(&mut self, of: Option<Type>) {
        self.objects.push(of);
    }

    /// The next function of the symbol table: what it returns and takes.
    pub fn function_symbol(&mut self, of: Option<Signature<'_>>) {
        let owned = of.map(|(returns, parameters, is_variadic)| {
            let mut parameters = parameters.to_vec();
            parameters.extend(is_variadic.then_some(Type::UNTYPED));
            (returns, parameters)
        });
        self.functions.push(owned);
    }

    fn described(&self, of: Type) -> &Described {
        assert!(!of.is_parents && of.number > 0, "{of:?} is not one of these types");
        &self.types[of.number as usize - 1]
    }
}
