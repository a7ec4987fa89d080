//! Types, as they follow each other in a container.

use crate::bytes::Cursor;
use crate::container::Container;
use crate::error::{Error, Result};

/// Bits of an integer's encoding.
const SIGNED: u8 = 1;
const CHARACTER: u8 = 2;
const BOOLEAN: u8 = 4;

/// Another type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reference {
    /// None is known.
    Untyped,
    /// That of this number in the same container, whether there is one or not.
    Own(u32),
    /// That of this number in the parent.
    Parent(u32),
}

/// A type.
#[derive(Debug, Clone, Copy)]
pub struct Type<'a> {
    /// Its number, from 1 on: what [`Reference::Own`] has.
    pub number: u32,
    /// Its name, without a tag; empty where it has none.
    pub name: &'a str,
    /// Whether it is found by its name. Half of a kernel's types are not, although they are named.
    pub is_root: bool,
    /// What it is.
    pub kind: Kind<'a>,
}

/// What a type is.
#[derive(Debug, Clone, Copy)]
pub enum Kind<'a> {
    /// A number that was left out.
    Unknown,
    /// An integer, the type of a bit field, or, of size 0, `void`.
    Integer(Integer),
    /// A floating-point number.
    Float(Float),
    /// A pointer.
    Pointer(Reference),
    /// An array.
    Array {
        /// Of what.
        element: Reference,
        /// The type of its index.
        index: Reference,
        /// How many; 0 of a flexible one, too.
        count: u32,
    },
    /// A function.
    Function(Function<'a>),
    /// A structure.
    Structure(Aggregate<'a>),
    /// A union.
    Union(Aggregate<'a>),
    /// An enumeration.
    Enumeration(Enumeration<'a>),
    /// A declaration, with the kind that it says it is of: 7 a union, 8 an enumeration, all else a structure. FreeBSD writes
    /// 0 whatever it is.
    Forward(u32),
    /// Another name.
    Typedef(Reference),
    /// `volatile`.
    Volatile(Reference),
    /// `const`.
    Const(Reference),
    /// `restrict`.
    Restrict(Reference),
}

/// An integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Integer {
    /// Bytes.
    pub size: u64,
    /// How many bits of them are used: others than `8 * size` of a bit field.
    pub bits: u16,
    /// At which bit they begin; FreeBSD writes 0.
    pub offset: u8,
    /// Whether it has negative values; said of `char` everywhere.
    pub is_signed: bool,
    /// Whether it is a character.
    pub is_character: bool,
    /// Whether it is `_Bool`.
    pub is_boolean: bool,
}

/// A floating-point number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Float {
    /// Bytes.
    pub size: u64,
    /// Bits.
    pub bits: u16,
    /// `CTF_FP_*` of `sys/ctf.h`: 1 `float`, 2 `double`, 6 `long double`, others complex or imaginary.
    pub encoding: u8,
}

/// A structure or union.
#[derive(Debug, Clone, Copy)]
pub struct Aggregate<'a> {
    /// Bytes.
    pub size: u64,
    /// What is in it.
    pub members: Members<'a>,
}

/// A member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name; empty of an unnamed structure or union.
    pub name: &'a str,
    /// Its type.
    pub of: Reference,
    /// Where it begins, in bits from the beginning. On big-endian machines those of a byte count from the most significant
    /// one.
    pub bit_offset: u64,
}

/// An enumeration.
#[derive(Debug, Clone, Copy)]
pub struct Enumeration<'a> {
    /// Bytes.
    pub size: u64,
    /// Names and values.
    pub enumerators: Enumerators<'a>,
}

/// A name of an enumeration's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enumerator<'a> {
    /// The name.
    pub name: &'a str,
    /// The value: its lower 32 bits, taken for a signed number.
    pub value: i32,
}

/// A function.
#[derive(Debug, Clone, Copy)]
pub struct Function<'a> {
    /// What it returns.
    pub returns: Reference,
    /// What it takes. A last one without type stands for `...`.
    pub parameters: Parameters<'a>,
}

/// The types of a container.
#[derive(Debug, Clone)]
pub struct Types<'a> {
    container: &'a Container,
    cursor: Cursor<'a>,
    number: u32,
}

/// What follows the head of a type, of items of one kind.
#[derive(Debug, Clone, Copy)]
struct Items<'a> {
    container: &'a Container,
    cursor: Cursor<'a>,
    left: u32,
}

/// The members of a structure or union.
#[derive(Debug, Clone, Copy)]
pub struct Members<'a> {
    items: Items<'a>,
    /// Whether offsets take 64 bits.
    is_large: bool,
}

/// The names of an enumeration's values.
#[derive(Debug, Clone, Copy)]
pub struct Enumerators<'a>(Items<'a>);

/// What a function takes.
#[derive(Debug, Clone, Copy)]
pub struct Parameters<'a>(Items<'a>);

/// A type's kind, whether it is found by name, and how many items follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Info {
    pub(crate) kind: u32,
    is_root: bool,
    pub(crate) count: u32,
}

impl Info {
    pub(crate) fn new(word: u32, is_old: bool) -> Self {
        let (kind, root, count) = if is_old { (11, 10, 0x3ff) } else { (26, 25, 0xff_ffff) };
        Self { kind: word >> kind, is_root: word >> root & 1 == 1, count: word & count }
    }
}

impl Container {
    /// The types, by number from 1 on.
    pub fn types(&self) -> Types<'_> {
        Types { container: self, cursor: self.cursor(self.type_section()), number: 0 }
    }

    /// What a number stands for.
    pub(crate) fn reference(&self, number: u32) -> Reference {
        let bit = if self.version() == 2 { 1 << 15 } else { 1 << 31 };
        match (self.is_child(), number & bit != 0) {
            _ if number == 0 => Reference::Untyped,
            (true, false) => Reference::Parent(number),
            (true, true) => Reference::Own(number & !bit),
            (false, _) => Reference::Own(number),
        }
    }
}

/// How large a structure is from which on offsets take 64 bits.
fn large_size(is_old: bool) -> u64 {
    if is_old { 1 << 13 } else { 1 << 29 }
}

/// Bytes of a member.
fn member_size(is_old: bool, is_large: bool) -> usize {
    match (is_old, is_large) {
        (true, false) => 8,
        (false, false) => 12,
        (_, true) => 16,
    }
}

impl<'a> Types<'a> {
    fn read(&mut self) -> Result<Type<'a>> {
        let offset = self.cursor.offset();
        let (name, info, kind) = self.parts(offset)?;
        self.number = self.number.saturating_add(1);
        let name = self.container.name(name, offset)?;
        Ok(Type { number: self.number, name, is_root: info.is_root, kind })
    }

    /// The name, and what is behind it.
    fn parts(&mut self, offset: usize) -> Result<(u32, Info, Kind<'a>)> {
        let cut = || Error::Type(offset);
        let is_old = self.cursor.is_old();
        let name = self.cursor.u32().ok_or_else(cut)?;
        let info = Info::new(self.cursor.word().ok_or_else(cut)?, is_old);
        let word = self.cursor.word().ok_or_else(cut)?;
        let size = match (is_old, word) {
            (true, 0xffff) | (false, 0xffff_ffff) => self.cursor.u64_of_halves().ok_or_else(cut)?,
            _ => word.into(),
        };
        let kind = self.kind(info, word, size).ok_or_else(cut)?;
        Ok((name, info, kind.ok_or(Error::Kind { offset, kind: info.kind })?))
    }

    /// What it is; nothing where it is cut off, or of no kind that there is.
    fn kind(&mut self, info: Info, word: u32, size: u64) -> Option<Option<Kind<'a>>> {
        let to = self.container.reference(word);
        Some(Some(match info.kind {
            0 => Kind::Unknown,
            1 => Kind::Integer(Integer::new(size, self.cursor.u32()?)),
            2 => Kind::Float(Float::new(size, self.cursor.u32()?)),
            3 => Kind::Pointer(to),
            4 => self.array()?,
            5 => Kind::Function(Function { returns: to, parameters: Parameters(self.parameters(info.count)?) }),
            6 => Kind::Structure(self.aggregate(info.count, size)?),
            7 => Kind::Union(self.aggregate(info.count, size)?),
            8 => Kind::Enumeration(Enumeration { size, enumerators: Enumerators(self.items(info.count, 8)?) }),
            9 => Kind::Forward(word),
            10 => Kind::Typedef(to),
            11 => Kind::Volatile(to),
            12 => Kind::Const(to),
            13 => Kind::Restrict(to),
            _ => return Some(None),
        }))
    }

    fn array(&mut self) -> Option<Kind<'a>> {
        let element = self.container.reference(self.cursor.word()?);
        let index = self.container.reference(self.cursor.word()?);
        Some(Kind::Array { element, index, count: self.cursor.u32()? })
    }

    fn aggregate(&mut self, count: u32, size: u64) -> Option<Aggregate<'a>> {
        let is_old = self.cursor.is_old();
        let is_large = size >= large_size(is_old);
        let items = self.items(count, member_size(is_old, is_large))?;
        Some(Aggregate { size, members: Members { items, is_large } })
    }

    /// Of version 2, there is an even number of them.
    fn parameters(&mut self, count: u32) -> Option<Items<'a>> {
        let is_old = self.cursor.is_old();
        let items = self.items(count, if is_old { 2 } else { 4 })?;
        if is_old && count % 2 == 1 {
            self.cursor.u16()?;
        }
        Some(items)
    }

    /// Goes over items of so many bytes.
    fn items(&mut self, count: u32, size: usize) -> Option<Items<'a>> {
        let cursor = self.cursor;
        self.cursor.skip(count, size)?;
        Some(Items { container: self.container, cursor, left: count })
    }
}

impl<'a> Iterator for Types<'a> {
    type Item = Result<Type<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.is_at_end() {
            return None;
        }
        let found = self.read();
        if found.is_err() {
            // What follows cannot be found.
            let end = self.container.type_section().end;
            self.cursor = self.container.cursor(end..end);
        }
        Some(found)
    }
}

impl Integer {
    fn new(size: u64, data: u32) -> Self {
        let [encoding, offset, high, low] = data.to_be_bytes();
        let is = |bit: u8| encoding & bit != 0;
        let (is_signed, is_character, is_boolean) = (is(SIGNED), is(CHARACTER), is(BOOLEAN));
        Self { size, bits: u16::from_be_bytes([high, low]), offset, is_signed, is_character, is_boolean }
    }

    /// Whether it is `void`.
    pub fn is_void(self) -> bool {
        self.size == 0
    }

    /// How many bits it has, if it is the type of a bit field.
    pub fn bit_field(self) -> Option<u16> {
        (!self.is_void() && u64::from(self.bits) != self.size.saturating_mul(8)).then_some(self.bits)
    }
}

impl Float {
    fn new(size: u64, data: u32) -> Self {
        let [encoding, _, high, low] = data.to_be_bytes();
        Self { size, bits: u16::from_be_bytes([high, low]), encoding }
    }
}

impl Items<'_> {
    /// Goes on to the next one.
    fn advance(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        Some(self.cursor.offset())
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let Items { container, .. } = self.items;
        let offset = self.items.advance()?;
        let cursor = &mut self.items.cursor;
        let (name, of) = (cursor.u32()?, container.reference(cursor.word()?));
        if self.is_large && cursor.is_old() {
            // Padding.
            cursor.u16()?;
        }
        let bit_offset = if self.is_large { cursor.u64_of_halves()? } else { cursor.word()?.into() };
        Some(container.name(name, offset).map(|name| Member { name, of, bit_offset }))
    }
}

impl<'a> Iterator for Enumerators<'a> {
    type Item = Result<Enumerator<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self(items) = self;
        let offset = items.advance()?;
        let (name, value) = (items.cursor.u32()?, items.cursor.u32()?.cast_signed());
        Some(items.container.name(name, offset).map(|name| Enumerator { name, value }))
    }
}

impl<'a> Parameters<'a> {
    /// So many, from where the cursor is on.
    pub(crate) fn new(container: &'a Container, cursor: Cursor<'a>, count: u32) -> Self {
        Self(Items { container, cursor, left: count })
    }
}

impl Iterator for Parameters<'_> {
    type Item = Reference;

    fn next(&mut self) -> Option<Self::Item> {
        let Self(items) = self;
        items.advance()?;
        Some(items.container.reference(items.cursor.word()?))
    }
}
