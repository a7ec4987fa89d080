//! How a structure or union lies in memory: its members, the holes between them, and the cache lines that they are in.

use super::{Aggregate, Kind, Member, TypeId, TypeTable};

/// More lines than any structure of a kernel takes with everything in it: what comes then is left out.
const MAX_ROWS: usize = 100_000;
/// More structures within each other than any kernel has.
const MAX_NESTING: usize = 32;
/// Bits of a byte.
const BYTE: u64 = 8;

/// What is shown of a structure or union.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayoutOptions {
    /// Bytes of a cache line; 0 where these are of no interest.
    pub cache_line: u64,
    /// How many levels of structures and unions that have a name are unfolded. Those without one always are.
    pub depth: usize,
}

impl Default for LayoutOptions {
    fn default() -> Self {
        Self { cache_line: 64, depth: 0 }
    }
}

/// A structure or union as it lies in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout<'a> {
    /// Bytes.
    pub size: u64,
    /// What is in it, in the order of the declarations.
    pub rows: Vec<Row<'a>>,
    /// How many members with a name it has, with those of unnamed structures and unions in it.
    pub members: usize,
    /// How many holes there are, in it and in unnamed structures in it.
    pub holes: usize,
    /// How many bits these have together.
    pub hole_bits: u64,
    /// How many bits no member has behind the last one, in it and in unnamed structures in it.
    pub padding_bits: u64,
    /// Whether it has more than [`Self::rows`] tell.
    pub is_cut: bool,
}

/// A line of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row<'a> {
    /// A member.
    Member(PlacedMember<'a>),
    /// A member whose own members follow, and the type that has these.
    Begin(PlacedMember<'a>, TypeId),
    /// The end of these members.
    End(PlacedMember<'a>, TypeId),
    /// Bits that no member has.
    Gap(Gap),
    /// Before the next member a cache line begins.
    CacheLine(CacheLine),
}

/// A member with its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedMember<'a> {
    /// The member.
    pub member: &'a Member,
    /// In how many others it is.
    pub depth: usize,
    /// Where it begins, in bits from the beginning of the outermost structure.
    pub bit_offset: u64,
    /// Its bits; `None` where its type has no size.
    pub bits: Option<u64>,
}

/// Bits that no member has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// In how many members that is.
    pub depth: usize,
    /// Where they begin, in bits from the beginning of the outermost structure.
    pub bit_offset: u64,
    /// How many there are.
    pub bits: u64,
    /// Whether no member follows.
    pub is_padding: bool,
}

/// The beginning of a cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLine {
    /// In how many members that is.
    pub depth: usize,
    /// Its number, from 0; the structure begins with 0.
    pub number: u64,
    /// How many bytes before the next member it begins.
    pub bytes_before: u64,
}

/// Where a structure is within the outermost one.
#[derive(Clone, Copy)]
struct Place {
    depth: usize,
    /// How many more levels of named structures are unfolded.
    unfold: usize,
    bit_offset: u64,
    /// Whether its members count as those of the outermost one.
    counts: bool,
    /// Whether it is in a union, where members do not follow one another.
    is_in_union: bool,
}

/// A layout as it is being built.
struct Builder<'a> {
    types: &'a TypeTable,
    cache_line_bits: u64,
    /// The cache line that was last told of.
    line: u64,
    layout: Layout<'a>,
}

impl TypeTable {
    /// How a structure or union lies in memory; `None` of any other type.
    ///
    /// ```
    /// use vmcore::types::layout::LayoutOptions;
    /// use vmcore::types::{Aggregate, Integer, Kind, Meaning, Member, Type, TypeTable};
    ///
    /// let mut types = TypeTable::new(8);
    /// let integer = Integer { size: 4, is_signed: true, meaning: Meaning::Number };
    /// let int = types.add(Type { name: "int".into(), kind: Kind::Integer(integer), source: 0 });
    /// let at = |name: &str, byte: u64| Member { name: name.into(), type_id: int, bit_offset: 8 * byte, bits: None };
    /// let aggregate = Aggregate { is_union: false, size: 16, members: vec![at("a", 0), at("b", 8)] };
    /// let id = types.add(Type { name: "pair".into(), kind: Kind::Aggregate(aggregate), source: 0 });
    /// let layout = types.layout(id, LayoutOptions::default()).unwrap();
    /// assert_eq!((layout.members, layout.holes, layout.hole_bits, layout.padding_bits), (2, 1, 32, 32));
    /// ```
    pub fn layout(&self, id: TypeId, options: LayoutOptions) -> Option<Layout<'_>> {
        let aggregate = self.aggregate(id)?;
        let size = aggregate.size;
        let layout =
            Layout { size, rows: Vec::new(), members: 0, holes: 0, hole_bits: 0, padding_bits: 0, is_cut: false };
        let cache_line_bits = options.cache_line.saturating_mul(BYTE);
        let mut builder = Builder { types: self, cache_line_bits, line: 0, layout };
        let place = Place { depth: 0, unfold: options.depth, bit_offset: 0, counts: true, is_in_union: false };
        builder.add(aggregate, place);
        Some(builder.layout)
    }
}

impl<'a> Builder<'a> {
    fn add(&mut self, aggregate: &'a Aggregate, place: Place) {
        let place = Place { is_in_union: place.is_in_union || aggregate.is_union, ..place };
        let depth = place.depth;
        // Where the members so far end; `None` behind one whose size is not known.
        let mut end = Some(place.bit_offset);
        for member in &aggregate.members {
            if self.layout.rows.len() >= MAX_ROWS {
                self.layout.is_cut = true;
                return;
            }
            let bit_offset = place.bit_offset.saturating_add(member.bit_offset);
            if let Some(hole) = end.and_then(|end| bit_offset.checked_sub(end)).filter(|_| !aggregate.is_union) {
                let gap = Gap { depth, bit_offset: bit_offset.saturating_sub(hole), bits: hole, is_padding: false };
                self.add_gap(gap, place);
            }
            if !place.is_in_union {
                self.add_cache_line(bit_offset, depth);
            }
            let bits = self.bits_of(member);
            self.add_member(PlacedMember { member, depth, bit_offset, bits }, place);
            let own_end = bits.map(|bits| bit_offset.saturating_add(bits));
            end = own_end.map(|own_end| own_end.max(end.unwrap_or(0)));
        }
        let behind = place.bit_offset.saturating_add(aggregate.size.saturating_mul(BYTE));
        if let Some((end, bits)) = end.and_then(|end| Some((end, behind.checked_sub(end)?))) {
            self.add_gap(Gap { depth, bit_offset: end, bits, is_padding: true }, place);
        }
    }

    fn add_gap(&mut self, gap: Gap, place: Place) {
        if gap.bits == 0 {
            return;
        }
        self.layout.rows.push(Row::Gap(gap));
        let layout = &mut self.layout;
        if !place.counts {
            return;
        }
        if gap.is_padding {
            layout.padding_bits = layout.padding_bits.saturating_add(gap.bits);
        } else {
            layout.holes += 1;
            layout.hole_bits = layout.hole_bits.saturating_add(gap.bits);
        }
    }

    fn add_cache_line(&mut self, bit_offset: u64, depth: usize) {
        let Some(number) = bit_offset.checked_div(self.cache_line_bits).filter(|number| *number > self.line) else {
            return;
        };
        self.line = number;
        let bits_before = bit_offset.saturating_sub(number.saturating_mul(self.cache_line_bits));
        self.layout.rows.push(Row::CacheLine(CacheLine { depth, number, bytes_before: bits_before / BYTE }));
    }

    fn add_member(&mut self, placed: PlacedMember<'a>, place: Place) {
        let is_unnamed = placed.member.name.is_empty();
        if place.counts && !is_unnamed {
            self.layout.members += 1;
        }
        let Some((inner, unfold)) = self.unfolded(placed.member, place) else {
            return self.layout.rows.push(Row::Member(placed));
        };
        self.layout.rows.push(Row::Begin(placed, inner));
        if let Kind::Aggregate(aggregate) = &self.types.get(inner).kind {
            let depth = place.depth + 1;
            let counts = place.counts && is_unnamed;
            self.add(aggregate, Place { depth, unfold, bit_offset: placed.bit_offset, counts, ..place });
        }
        self.layout.rows.push(Row::End(placed, inner));
    }

    /// The structure, union or enumeration that a member consists of, if it is unfolded; and how many levels of named ones
    /// are within that.
    fn unfolded(&self, member: &Member, place: Place) -> Option<(TypeId, usize)> {
        if place.depth >= MAX_NESTING || member.bits.is_some() {
            return None;
        }
        let written = self.types.written_contents(member.type_id);
        let found = self.types.get(written);
        match &found.kind {
            Kind::Aggregate(_) | Kind::Enumeration(_) if found.name.is_empty() => Some((written, place.unfold)),
            Kind::Enumeration(_) => None,
            _ => {
                let inner = self.types.strip(written);
                let unfold = place.unfold.checked_sub(1)?;
                matches!(self.types.get(inner).kind, Kind::Aggregate(_)).then_some((inner, unfold))
            }
        }
    }

    /// Bits of a member; none of a flexible array.
    fn bits_of(&self, member: &Member) -> Option<u64> {
        if let Some(bits) = member.bits {
            return Some(bits.into());
        }
        if let Kind::Array { count: None, .. } = self.types.get(self.types.strip(member.type_id)).kind {
            return Some(0);
        }
        self.types.size_of(member.type_id).map(|size| size.saturating_mul(BYTE))
    }
}

impl TypeTable {
    /// What an array consists of, behind qualifiers, but not behind the name that a typedef gives to it.
    pub fn written_contents(&self, id: TypeId) -> TypeId {
        let mut at = id;
        for _ in 0..MAX_NESTING {
            at = match &self.get(at).kind {
                Kind::Array { element, .. } => *element,
                Kind::Qualified(_, target) => *target,
                _ => return at,
            };
        }
        at
    }
}
