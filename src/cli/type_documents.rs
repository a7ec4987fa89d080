//! What `memtool types` prints, as JSON and in rows.

use serde::Serialize;
use std::path::Path;
use vmcore::text::Name;
use vmcore::types::layout::{Gap, LayoutOptions, PlacedMember, Row};
use vmcore::types::search::{MemberOf, Use, User};
use vmcore::types::{Kind, TypeId, TypeTable, Variable};
use vmcore::units::{Hex, counted};

/// Types, functions and variables by their names.
#[derive(Serialize)]
pub struct Document<'a> {
    pub source: &'a str,
    pub types: Vec<TypeDocument<'a>>,
    /// Variables and functions.
    pub symbols: Vec<VariableDocument<'a>>,
    pub missing: &'a [String],
}

/// A type by its name.
#[derive(Serialize)]
pub struct TypeDocument<'a> {
    name: String,
    kind: &'static str,
    size: Option<u64>,
    path: Option<Name>,
    /// What a typedef stands for.
    target: Option<String>,
    /// What is in a structure or union, also in one that a typedef stands for.
    layout: Option<LayoutDocument<'a>>,
    enumerators: Option<Vec<EnumeratorDocument<'a>>>,
}

#[derive(Serialize)]
struct LayoutDocument<'a> {
    members: Vec<MemberDocument<'a>>,
    holes: Vec<GapDocument>,
    member_count: usize,
    hole_count: usize,
    hole_bit_count: u64,
    padding_bit_count: u64,
    complete: bool,
}

#[derive(Serialize)]
struct MemberDocument<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    type_name: String,
    depth: usize,
    byte_offset: u64,
    bit_offset: u64,
    size: Option<u64>,
    bit_count: Option<u32>,
}

#[derive(Serialize)]
struct GapDocument {
    depth: usize,
    byte_offset: u64,
    bit_offset: u64,
    bit_count: u64,
    is_padding: bool,
}

#[derive(Serialize)]
struct EnumeratorDocument<'a> {
    name: &'a str,
    number: i64,
}

/// A variable or function by its name.
#[derive(Serialize)]
pub struct VariableDocument<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    type_name: String,
    is_function: bool,
    address: Hex,
    size: Option<u64>,
    path: Option<Name>,
}

/// What a search has found, of which there is a list.
#[derive(Serialize)]
pub struct FoundDocument<'a> {
    pub source: &'a str,
    pub found: &'a [Found],
    pub missing: &'a [String],
}

/// What a search has found.
#[derive(Serialize)]
pub struct Found {
    kind: &'static str,
    /// How the type is used that was asked for.
    #[serde(rename = "use")]
    how: Option<&'static str>,
    /// Of a member: what it is one of.
    owner: Option<String>,
    name: String,
    /// Of a typedef, what it stands for.
    #[serde(rename = "type")]
    type_name: Option<String>,
    byte_offset: Option<u64>,
    bit_offset: Option<u64>,
    size: Option<u64>,
    bit_count: Option<u32>,
    address: Option<Hex>,
    path: Option<Name>,
}

/// What a type is, in JSON.
fn kind_of(types: &TypeTable, id: TypeId) -> &'static str {
    match &types.get(id).kind {
        Kind::Void => "void",
        Kind::Unknown => "unknown",
        Kind::Integer(_) => "integer",
        Kind::Float(_) => "float",
        Kind::Pointer(_) => "pointer",
        Kind::Array { .. } => "array",
        Kind::Aggregate(aggregate) if aggregate.is_union => "union",
        Kind::Aggregate(_) => "structure",
        Kind::Incomplete(_) => "incomplete",
        Kind::Enumeration(_) => "enumeration",
        Kind::Typedef(_) => "typedef",
        Kind::Qualified(..) => "qualified",
        Kind::Function(_) => "function",
    }
}

/// The file that told of a type or a variable.
fn file_of(types: &TypeTable, number: u16) -> Option<Name> {
    types.source(number).map(Name::from)
}

/// The name of a file without its directories.
fn file_name(path: &Name) -> String {
    let text = path.text();
    Path::new(&*text).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// What a typedef stands for.
fn typedef_target(types: &TypeTable, id: TypeId) -> Option<String> {
    match types.get(id).kind {
        Kind::Typedef(target) => Some(types.name_of(target)),
        _ => None,
    }
}

impl<'a> TypeDocument<'a> {
    pub fn new(types: &'a TypeTable, id: TypeId, options: LayoutOptions) -> Self {
        let found = types.get(id);
        let enumerators = match &types.get(types.strip(id)).kind {
            Kind::Enumeration(enumeration) => Some(&enumeration.enumerators),
            _ => None,
        };
        let enumerators = enumerators
            .map(|all| all.iter().map(|(name, value)| EnumeratorDocument { name, number: *value }).collect());
        Self {
            name: types.name_of(id),
            kind: kind_of(types, id),
            size: types.size_of(id),
            path: file_of(types, found.source),
            target: typedef_target(types, id),
            layout: LayoutDocument::new(types, id, options),
            enumerators,
        }
    }
}

impl<'a> LayoutDocument<'a> {
    fn new(types: &'a TypeTable, id: TypeId, options: LayoutOptions) -> Option<Self> {
        let layout = types.layout(id, options)?;
        let (mut members, mut holes) = (Vec::new(), Vec::new());
        for row in &layout.rows {
            match row {
                Row::Member(placed) | Row::Begin(placed, _) => members.push(MemberDocument::new(types, placed)),
                Row::Gap(gap) => holes.push(GapDocument::new(gap)),
                Row::End(..) | Row::CacheLine(_) => {}
            }
        }
        Some(Self {
            members,
            holes,
            member_count: layout.members,
            hole_count: layout.holes,
            hole_bit_count: layout.hole_bits,
            padding_bit_count: layout.padding_bits,
            complete: !layout.is_cut,
        })
    }
}

impl<'a> MemberDocument<'a> {
    fn new(types: &TypeTable, placed: &PlacedMember<'a>) -> Self {
        let (member, bits) = (placed.member, placed.member.bits);
        Self {
            name: &member.name,
            type_name: types.name_of(member.type_id),
            depth: placed.depth,
            byte_offset: placed.bit_offset / 8,
            bit_offset: placed.bit_offset % 8,
            size: placed.bits.filter(|_| bits.is_none()).map(|bits| bits / 8),
            bit_count: bits,
        }
    }
}

impl GapDocument {
    const fn new(gap: &Gap) -> Self {
        let Gap { depth, bit_offset, bits, is_padding } = *gap;
        Self { depth, byte_offset: bit_offset / 8, bit_offset: bit_offset % 8, bit_count: bits, is_padding }
    }
}

/// The size of a symbol, where it is known.
fn known_size(variable: &Variable) -> Option<u64> {
    Some(variable.size).filter(|size| *size > 0)
}

impl<'a> VariableDocument<'a> {
    pub fn new(types: &'a TypeTable, variable: &'a Variable) -> Self {
        Self {
            name: &variable.name,
            type_name: types.name_of(variable.type_id),
            is_function: variable.is_function,
            address: Hex(variable.address),
            size: known_size(variable),
            path: file_of(types, variable.source),
        }
    }
}

impl Found {
    pub fn of_type(types: &TypeTable, id: TypeId) -> Self {
        let found = types.get(id);
        Self {
            kind: kind_of(types, id),
            how: None,
            owner: None,
            name: types.name_of(id),
            type_name: typedef_target(types, id),
            byte_offset: None,
            bit_offset: None,
            size: types.size_of(id),
            bit_count: None,
            address: None,
            path: file_of(types, found.source),
        }
    }

    pub fn of_member(types: &TypeTable, of: &MemberOf<'_>) -> Self {
        let MemberOf { owner, path, member, bit_offset } = of;
        Self {
            kind: "member",
            how: None,
            owner: Some(types.name_of(*owner)),
            name: path.clone(),
            type_name: Some(types.name_of(member.type_id)),
            byte_offset: Some(bit_offset / 8),
            bit_offset: Some(bit_offset % 8),
            size: types.size_of(member.type_id).filter(|_| member.bits.is_none()),
            bit_count: member.bits,
            address: None,
            path: file_of(types, types.get(*owner).source),
        }
    }

    fn of_variable(types: &TypeTable, variable: &Variable) -> Self {
        Self {
            kind: if variable.is_function { "function" } else { "variable" },
            how: None,
            owner: None,
            name: variable.name.to_string(),
            type_name: Some(types.name_of(variable.type_id)),
            byte_offset: None,
            bit_offset: None,
            size: known_size(variable),
            bit_count: None,
            address: Some(Hex(variable.address)),
            path: file_of(types, variable.source),
        }
    }

    pub fn of_user(types: &TypeTable, used: Use, user: &User<'_>) -> Self {
        let how = match used {
            Use::Value => "value",
            Use::Pointer => "pointer",
            Use::Function => "function",
        };
        let found = match user {
            User::Typedef(id) => Self::of_type(types, *id),
            User::Member(member) => Self::of_member(types, member),
            User::Variable(variable) => Self::of_variable(types, variable),
        };
        Self { how: Some(how), ..found }
    }

    /// The cells under some headings.
    pub fn row(&self, headings: &[&str], is_hex: bool) -> Vec<String> {
        let number = |number: u64| if is_hex { format!("{number:#x}") } else { number.to_string() };
        let or_dash = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
        let cell = |heading: &&str| match *heading {
            "USE" => self.how.unwrap_or("-").to_owned(),
            "SIZE" => match self.bit_count {
                Some(bits) => counted(bits, "bit"),
                None => or_dash(self.size.map(number)),
            },
            "OFFSET" => match (self.byte_offset, self.bit_count.and(self.bit_offset)) {
                (Some(offset), Some(bit)) => format!("{}:{bit}", number(offset)),
                (offset, _) => or_dash(offset.map(number)),
            },
            "OF" => or_dash(self.owner.clone()),
            "FILE" => or_dash(self.path.as_ref().map(file_name)),
            "NAME" | "MEMBER" => self.name.clone(),
            _ => or_dash(self.type_name.clone()),
        };
        headings.iter().map(cell).collect()
    }
}
