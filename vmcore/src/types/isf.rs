//! Symbols and types as volatility3 reads them: its Intermediate Symbol Format, version 6.2.0
//! (`volatility3/schemas/schema-6.2.0.json`).
//!
//! The format has no typedefs: what they stand for is there. Types without a name get one, `unnamed_` and a number, and of
//! types with one name that are laid out differently all but the first get a number, `td_sched__2`. A name of a symbol
//! is there once: the kernel's before its modules', and in each file a global one before local ones.

use super::{Aggregate, Enumeration, Integer, Kind, KnownStorage, Meaning, Member, Tag, TypeId, TypeTable};
use crate::architecture::Endianness;
use crate::symbols::{KernelSymbols, SymbolEntry, Table};
use base64ct::{Base64, Encoding};
use serde::Serialize;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

/// The version of the format.
const FORMAT: &str = "6.2.0";
/// More pointers and arrays one after another than any C has.
const MAX_DEPTH: usize = 32;
/// More layouts than types of one name have in any kernel; others are not compared.
const MAX_LAYOUTS: usize = 64;
/// What stands where the type is not known.
const VOID: &str = "void";

/// A table of symbols and types, to be written as JSON.
#[derive(Debug, Serialize)]
pub struct Isf {
    metadata: Metadata,
    base_types: BTreeMap<String, BaseType>,
    user_types: BTreeMap<String, UserType>,
    enums: BTreeMap<String, EnumType>,
    symbols: BTreeMap<String, SymbolItem>,
}

#[derive(Debug, Serialize)]
struct Metadata {
    format: &'static str,
    producer: Producer,
}

#[derive(Debug, Serialize)]
struct Producer {
    name: String,
    version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct BaseType {
    size: u64,
    signed: bool,
    kind: &'static str,
    endian: &'static str,
}

#[derive(Debug, Serialize)]
struct UserType {
    kind: &'static str,
    size: u64,
    fields: BTreeMap<String, Field>,
}

#[derive(Debug, Serialize)]
struct Field {
    #[serde(rename = "type")]
    descriptor: Descriptor,
    offset: u64,
    /// Whether its members count as those of what it is in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    anonymous: bool,
}

#[derive(Debug, Serialize)]
struct EnumType {
    size: u64,
    /// The base type with its values.
    base: String,
    constants: BTreeMap<String, i64>,
}

#[derive(Debug, Serialize)]
struct SymbolItem {
    address: u64,
    #[serde(rename = "type")]
    descriptor: Descriptor,
    /// What is there, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    constant_data: Option<String>,
}

/// A type, as it is referred to.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Descriptor {
    Base {
        name: String,
    },
    Struct {
        name: String,
    },
    Union {
        name: String,
    },
    Enum {
        name: String,
    },
    Pointer {
        subtype: Box<Descriptor>,
    },
    Array {
        count: u64,
        subtype: Box<Descriptor>,
    },
    Bitfield {
        /// From the least significant bit of the type on.
        bit_position: u64,
        bit_length: u32,
        #[serde(rename = "type")]
        of: Box<Descriptor>,
    },
    Function {},
}

impl Isf {
    /// The symbols of a kernel, or a module alone, with these types; and the name and version of the program that makes it.
    ///
    /// The symbol `version` has the kernel's version as its constant data, if the kernel's file tells it.
    pub fn new(types: &TypeTable, files: &KernelSymbols, producer: (&str, &str)) -> Self {
        let mut builder = Builder::new(types, files.kernel().order());
        builder.add_types();
        for (_, table) in files.tables() {
            builder.add_symbols(files, table);
        }
        let producer = Producer { name: producer.0.to_owned(), version: producer.1.to_owned() };
        let Builder { base_types, user_types, enums, symbols, .. } = builder;
        Self { metadata: Metadata { format: FORMAT, producer }, base_types, user_types, enums, symbols }
    }

    /// How many symbols it has.
    pub fn symbol_count(&self) -> usize {
        self.symbols.len()
    }

    /// How many structures, unions and enumerations it has.
    pub fn type_count(&self) -> usize {
        self.user_types.len().saturating_add(self.enums.len())
    }
}

/// What names are given to: they are told apart within each.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Space {
    Base,
    User,
    Enum,
}

/// A table as it is being built.
struct Builder<'a> {
    types: &'a TypeTable,
    order: Endianness,
    names: HashMap<TypeId, String>,
    base_types: BTreeMap<String, BaseType>,
    user_types: BTreeMap<String, UserType>,
    enums: BTreeMap<String, EnumType>,
    symbols: BTreeMap<String, SymbolItem>,
}

impl<'a> Builder<'a> {
    fn new(types: &'a TypeTable, order: Endianness) -> Self {
        let endian = order.name();
        let base = |size, kind| BaseType { size, signed: false, kind, endian };
        let base_types = BTreeMap::from([
            (VOID.to_owned(), base(0, "void")),
            ("pointer".to_owned(), base(types.pointer_size(), "int")),
        ]);
        let (user_types, enums, symbols) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { types, order, names: HashMap::new(), base_types, user_types, enums, symbols }
    }

    /// Names all types, and then describes them, each by the names of others.
    fn add_types(&mut self) {
        let named = self.name_types();
        for id in named {
            let Some(name) = self.names.get(&id).cloned() else { continue };
            match &self.types.get(id).kind {
                Kind::Integer(integer) => _ = self.base_types.insert(name, self.integer(*integer)),
                Kind::Float(size) => _ = self.base_types.insert(name, self.base_type(*size, true, "float")),
                Kind::Aggregate(aggregate) => {
                    let described = self.user_type(aggregate);
                    self.user_types.insert(name, described);
                }
                Kind::Incomplete(tag) => {
                    let kind = if *tag == Tag::Union { "union" } else { "struct" };
                    self.user_types.entry(name).or_insert(UserType { kind, size: 0, fields: BTreeMap::new() });
                }
                Kind::Enumeration(enumeration) => {
                    let described = self.enumeration(enumeration);
                    self.enums.insert(name, described);
                }
                _ => {}
            }
        }
    }

    /// Gives each type that is referred to by its name one: the types that names were made for, basic ones first. Another
    /// type that is laid out alike has the same.
    fn name_types(&mut self) -> Vec<TypeId> {
        let mut layouts: HashMap<(Space, &str), Vec<TypeId>> = HashMap::new();
        let mut named = Vec::new();
        for space in [Space::Base, Space::User, Space::Enum] {
            // What is only declared has the name of what is complete.
            for is_declared in [false, true] {
                for (id, found) in self.types.iter() {
                    let is_incomplete = matches!(found.kind, Kind::Incomplete(_));
                    if space_of(&found.kind) != Some(space) || is_incomplete != is_declared {
                        continue;
                    }
                    let all = layouts.entry((space, &found.name)).or_default();
                    if let Some(name) = self.known_name(all, id) {
                        self.names.insert(id, name);
                        continue;
                    }
                    let name = match (found.name.as_ref(), all.len()) {
                        ("", _) => format!("unnamed_{:x}", id.0),
                        (name @ (VOID | "pointer"), 0) if space == Space::Base => format!("{name}__1"),
                        (name, 0) => name.to_owned(),
                        (name, others) => format!("{name}__{}", others + 1),
                    };
                    all.push(id);
                    named.push(id);
                    self.names.insert(id, name);
                }
            }
        }
        named
    }

    /// The name of a type that is laid out as another one, or that is only declared.
    fn known_name(&self, all: &[TypeId], id: TypeId) -> Option<String> {
        let found = self.types.get(id);
        if found.name.is_empty() || all.len() >= MAX_LAYOUTS {
            return None;
        }
        // A declaration is that of the only type of its name.
        let is_completed = matches!(found.kind, Kind::Incomplete(_)) && all.len() == 1;
        let same = all.iter().find(|other| is_completed || self.types.is_same_layout(**other, id));
        self.names.get(same?).cloned()
    }

    fn base_type(&self, size: u64, signed: bool, kind: &'static str) -> BaseType {
        BaseType { size, signed, kind, endian: self.order.name() }
    }

    fn integer(&self, integer: Integer) -> BaseType {
        let kind = match integer.meaning {
            Meaning::Number => "int",
            Meaning::Character => "char",
            Meaning::Boolean => "bool",
        };
        self.base_type(integer.size, integer.is_signed, kind)
    }

    fn user_type(&self, aggregate: &Aggregate) -> UserType {
        let kind = if aggregate.is_union { "union" } else { "struct" };
        let fields = aggregate.members.iter().filter_map(|member| self.field(member)).collect();
        UserType { kind, size: aggregate.size, fields }
    }

    fn field(&self, member: &Member) -> Option<(String, Field)> {
        if let Some(bits) = member.bits {
            let (offset, descriptor) = self.bit_field(member, bits)?;
            return Some((member.name.to_string(), Field { descriptor, offset, anonymous: false }));
        }
        let (offset, descriptor) = (member.bit_offset / 8, self.describe(member.type_id));
        if !member.name.is_empty() {
            return Some((member.name.to_string(), Field { descriptor, offset, anonymous: false }));
        }
        let anonymous = matches!(descriptor, Descriptor::Struct { .. } | Descriptor::Union { .. });
        Some((format!("unnamed_field_{offset:x}"), Field { descriptor, offset, anonymous })).filter(|_| anonymous)
    }

    /// A bit field in one unit of its type, and the byte where that begins; `None` where it is in no unit, also not in one
    /// that begins with its first byte.
    fn bit_field(&self, member: &Member, bits: u32) -> Option<(u64, Descriptor)> {
        let size = self.types.size_of(member.type_id).filter(|size| *size > 0)?;
        let unit = size.checked_mul(8)?;
        let length = u64::from(bits);
        let fits = |start: u64| {
            let first = member.bit_offset.checked_sub(start)?;
            let behind = unit.checked_sub(first.checked_add(length)?)?;
            Some((start / 8, first, behind))
        };
        let aligned = member.bit_offset.checked_div(unit)?.checked_mul(unit)?;
        let (offset, first, behind) = fits(aligned).or_else(|| fits(member.bit_offset / 8 * 8))?;
        // Bits are counted as they lie in memory.
        let bit_position = if self.order == Endianness::Little { first } else { behind };
        let of = Box::new(self.describe(member.type_id));
        matches!(*of, Descriptor::Base { .. } | Descriptor::Enum { .. })
            .then_some((offset, Descriptor::Bitfield { bit_position, bit_length: bits, of }))
    }

    /// An enumeration, whose values are those of a base type of its size.
    fn enumeration(&mut self, enumeration: &Enumeration) -> EnumType {
        let signed = enumeration.enumerators.iter().any(|(_, value)| *value < 0);
        let wanted = self.base_type(enumeration.size, signed, "int");
        let found = self.base_types.iter().find(|(name, base)| **base == wanted && *name != "pointer");
        let base = found.map_or_else(
            || format!("unnamed_{}int{}", if signed { "" } else { "u" }, enumeration.size.saturating_mul(8)),
            |(name, _)| name.clone(),
        );
        self.base_types.entry(base.clone()).or_insert(wanted);
        let constants = enumeration.enumerators.iter().map(|(name, value)| (name.to_string(), *value)).collect();
        EnumType { size: enumeration.size, base, constants }
    }

    fn describe(&self, id: TypeId) -> Descriptor {
        self.describe_within(id, MAX_DEPTH)
    }

    fn describe_within(&self, id: TypeId, depth: usize) -> Descriptor {
        let void = || Descriptor::Base { name: VOID.to_owned() };
        let Some(depth) = depth.checked_sub(1) else { return void() };
        let plain = self.types.strip(id);
        let name = || self.names.get(&plain).cloned();
        let inner = |id| Box::new(self.describe_within(id, depth));
        let described = match &self.types.get(plain).kind {
            Kind::Integer(_) | Kind::Float(_) => name().map(|name| Descriptor::Base { name }),
            Kind::Pointer(target) => Some(Descriptor::Pointer { subtype: inner(*target) }),
            Kind::Array { element, count } => {
                Some(Descriptor::Array { count: count.unwrap_or(0), subtype: inner(*element) })
            }
            Kind::Aggregate(Aggregate { is_union: true, .. }) | Kind::Incomplete(Tag::Union) => {
                name().map(|name| Descriptor::Union { name })
            }
            Kind::Aggregate(_) | Kind::Incomplete(Tag::Structure) => name().map(|name| Descriptor::Struct { name }),
            Kind::Enumeration(_) => name().map(|name| Descriptor::Enum { name }),
            Kind::Function(_) => Some(Descriptor::Function {}),
            Kind::Incomplete(Tag::Enumeration)
            | Kind::Void
            | Kind::Unknown
            | Kind::Typedef(_)
            | Kind::Qualified(..) => None,
        };
        described.unwrap_or_else(void)
    }

    /// Adds the symbols of a file whose names are not there yet.
    fn add_symbols(&mut self, files: &KernelSymbols, table: &Table) {
        let version = table.version().map(|version| Base64::encode_string(format!("{version}\0").as_bytes()));
        for entry in table.iter() {
            let descriptor = self.symbol_type(&entry, table);
            if let Entry::Vacant(free) = self.symbols.entry(entry.name.to_owned()) {
                let constant_data = version.clone().filter(|_| entry.name == "version");
                let address = files.as_it_ran(entry.symbol.address);
                free.insert(SymbolItem { address, descriptor, constant_data });
            }
        }
    }

    /// The type of a symbol; none of one whose memory need not have a value of its type.
    fn symbol_type(&self, entry: &SymbolEntry<'_>, table: &Table) -> Descriptor {
        let mut at = self.types.variables_at(entry.symbol.address).filter(|variable| &*variable.name == entry.name);
        match at.next() {
            Some(variable) if matches!(self.types.storage_of(variable, entry, table), Ok(KnownStorage::Plain)) => {
                self.describe(variable.type_id)
            }
            _ => Descriptor::Base { name: VOID.to_owned() },
        }
    }
}

/// What a kind of type gets its name in; `None` of those that are not referred to by names.
const fn space_of(kind: &Kind) -> Option<Space> {
    match kind {
        Kind::Integer(_) | Kind::Float(_) => Some(Space::Base),
        Kind::Aggregate(_) | Kind::Incomplete(Tag::Structure | Tag::Union) => Some(Space::User),
        Kind::Enumeration(_) => Some(Space::Enum),
        _ => None,
    }
}
