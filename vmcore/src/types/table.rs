//! All types of a kernel and its modules, found by name, and by the variables that have them.

use super::{Aggregate, Kind, Member, Storage, Tag, Type, TypeId, UntypedSymbols};
use crate::bounds::{saturating_u16, saturating_u32, saturating_usize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// More names of one type after another than any C has: what is deeper is a circle.
const MAX_DEPTH: usize = 64;
/// More structures within each other than any kernel has.
const MAX_NESTING: usize = 32;

/// More comparisons of types, and more members of unnamed structures, than any kernel needs: damaged types can lead to each
/// other in so many ways that no end is in sight.
const MAX_STEPS: usize = 1 << 16;

/// Stands for types that nobody told.
static UNKNOWN: std::sync::LazyLock<Type> =
    std::sync::LazyLock::new(|| Type { name: "".into(), kind: Kind::Unknown, source: 0 });

/// A variable or a function with its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: Box<str>,
    /// Where it is: as the symbol table of its file has it, with a module's where it was loaded.
    pub address: u64,
    /// Bytes, by its symbol; 0 where that is not known. Fewer than its type's where a compiler has found that it takes two
    /// values alone: then its byte says which, and need not be that value.
    pub size: u64,
    /// How its memory has its value; `None` where nobody told, and of functions.
    pub storage: Option<Storage>,
    /// Its type.
    pub type_id: TypeId,
    /// Whether it is a function.
    pub is_function: bool,
    /// The number of the file that told of it.
    pub source: u16,
}

/// A member as it was found by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundMember<'a> {
    /// The member.
    pub member: &'a Member,
    /// Where it begins, in bits from the beginning of the structure that was asked: also of a member of an unnamed structure
    /// in it.
    pub bit_offset: u64,
}

/// All types of a kernel and its modules.
#[derive(Debug, Clone, Default)]
pub struct TypeTable {
    types: Vec<Type>,
    /// Types with a name, in the order in which they were added.
    by_name: HashMap<Box<str>, Vec<TypeId>>,
    variables: Vec<Variable>,
    variables_by_name: HashMap<Box<str>, Vec<usize>>,
    variables_by_address: HashMap<u64, Vec<usize>>,
    pub(super) untyped: Vec<UntypedSymbols>,
    sources: Vec<PathBuf>,
    pointer_size: u64,
}

impl TypeTable {
    /// A table without types, of a machine whose pointers have so many bytes.
    pub fn new(pointer_size: usize) -> Self {
        Self { pointer_size: pointer_size as u64, ..Self::default() }
    }

    /// Bytes of a pointer.
    pub fn pointer_size(&self) -> u64 {
        self.pointer_size
    }

    /// Names a file whose types follow: its number.
    pub fn add_source(&mut self, path: &Path) -> u16 {
        let number = saturating_u16(self.sources.len());
        self.sources.push(path.to_owned());
        number
    }

    /// The file that told of a type or a variable.
    pub fn source(&self, number: u16) -> Option<&Path> {
        self.sources.get(usize::from(number)).map(PathBuf::as_path)
    }

    /// The files that told of the types, the kernel's first.
    pub fn sources(&self) -> &[PathBuf] {
        &self.sources
    }

    /// The number that the next type will have: types refer to ones that follow.
    pub fn next_id(&self) -> TypeId {
        TypeId(saturating_u32(self.types.len()))
    }

    /// The number that the type after so many more will have.
    pub fn id_after(&self, more: u32) -> TypeId {
        TypeId(self.next_id().0.saturating_add(more))
    }

    /// Adds a type.
    pub fn add(&mut self, added: Type) -> TypeId {
        let id = self.next_id();
        if !added.name.is_empty() {
            self.by_name.entry(added.name.clone()).or_default().push(id);
        }
        self.types.push(added);
        id
    }

    /// Adds all types of a file, which refer to each other by the numbers from [`Self::next_id`] on, and its variables and
    /// functions: the number of the file.
    pub(crate) fn add_file(&mut self, path: &Path, types: Vec<Type>, variables: Vec<Variable>) -> u16 {
        let source = self.add_source(path);
        for added in types {
            self.add(Type { source, ..added });
        }
        variables.into_iter().for_each(|added| self.add_variable(Variable { source, ..added }));
        source
    }

    /// Adds variables or functions of which it is known why their types are not.
    pub fn add_untyped(&mut self, added: UntypedSymbols) {
        self.untyped.push(added);
    }

    /// The variables and functions of which it is known why their types are not.
    pub fn untyped(&self) -> &[UntypedSymbols] {
        &self.untyped
    }

    /// Those that one of this name belongs to, at an address if one is given.
    pub fn untyped_named(&self, name: &str, address: Option<u64>) -> Option<&UntypedSymbols> {
        let is_it = |(named, at): &(Box<str>, u64)| **named == *name && address.is_none_or(|address| address == *at);
        self.untyped.iter().find(|untyped| untyped.symbols.iter().any(is_it))
    }

    /// Adds a variable or a function.
    pub fn add_variable(&mut self, added: Variable) {
        let index = self.variables.len();
        self.variables_by_name.entry(added.name.clone()).or_default().push(index);
        self.variables_by_address.entry(added.address).or_default().push(index);
        self.variables.push(added);
    }

    /// A type; one of unknown kind where there is none.
    pub fn get(&self, id: TypeId) -> &Type {
        self.types.get(saturating_usize(id.0)).unwrap_or(&UNKNOWN)
    }

    /// All types.
    pub fn iter(&self) -> impl Iterator<Item = (TypeId, &Type)> {
        (0..).map(TypeId).zip(&self.types)
    }

    /// How many types there are.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// The tag that comes before a type's name, if one does.
    pub fn tag(&self, id: TypeId) -> Option<Tag> {
        match &self.get(id).kind {
            Kind::Aggregate(Aggregate { is_union: false, .. }) => Some(Tag::Structure),
            Kind::Aggregate(_) => Some(Tag::Union),
            Kind::Enumeration(_) => Some(Tag::Enumeration),
            Kind::Incomplete(tag) => Some(*tag),
            _ => None,
        }
    }

    /// The types of a name: with a tag (`struct proc`) those with that, without one typedefs and basic types. Complete ones
    /// come first, of those the kernel's before its modules'; of several that are the same, the first.
    pub fn lookup(&self, tag: Option<Tag>, name: &str) -> Vec<TypeId> {
        let all = self.by_name.get(name).map(Vec::as_slice).unwrap_or_default();
        let fits = |id: &TypeId| self.tag(*id) == tag;
        let is_complete = |id: &TypeId| !matches!(self.get(*id).kind, Kind::Incomplete(_) | Kind::Unknown);
        let mut found: Vec<TypeId> = Vec::new();
        for id in all.iter().filter(|id| fits(id) && is_complete(id)) {
            if !found.iter().any(|other| self.is_same_layout(*other, *id)) {
                found.push(*id);
            }
        }
        if found.is_empty() {
            // A forward declaration has no kind in CTF: it may be that of another tag.
            found.extend(all.iter().find(|id| !is_complete(id) && tag.is_some()));
        }
        found
    }

    /// The first type of a name, complete if there is one: see [`Self::lookup`].
    pub fn find(&self, tag: Option<Tag>, name: &str) -> Option<TypeId> {
        self.lookup(tag, name).first().copied()
    }

    /// The structure of a name, complete.
    pub fn structure(&self, name: &str) -> Option<TypeId> {
        self.find(Some(Tag::Structure), name).filter(|id| matches!(self.get(*id).kind, Kind::Aggregate(_)))
    }

    /// Whether two types are laid out alike: of the same kind and size, with the same members at the same places.
    pub fn is_same_layout(&self, one: TypeId, other: TypeId) -> bool {
        self.is_same(one, other, MAX_NESTING, &mut MAX_STEPS.clone())
    }

    fn is_same(&self, one: TypeId, other: TypeId, depth: usize, steps: &mut usize) -> bool {
        let (one, other) = (self.strip(one), self.strip(other));
        if one == other {
            return true;
        }
        let Some(depth) = depth.checked_sub(1) else { return true };
        // What cannot be compared is not the same.
        let Some(remaining) = steps.checked_sub(1) else { return false };
        *steps = remaining;
        match (&self.get(one).kind, &self.get(other).kind) {
            (Kind::Aggregate(a), Kind::Aggregate(b)) => {
                a.is_union == b.is_union
                    && a.size == b.size
                    && a.members.len() == b.members.len()
                    && a.members.iter().zip(&b.members).all(|(a, b)| {
                        (&a.name, a.bit_offset, a.bits) == (&b.name, b.bit_offset, b.bits)
                            && self.is_same(a.type_id, b.type_id, depth, steps)
                    })
            }
            (Kind::Array { element: a, count: m }, Kind::Array { element: b, count: n }) => {
                m == n && self.is_same(*a, *b, depth, steps)
            }
            // What they point to may be told in one place and not in the other.
            (Kind::Pointer(_), Kind::Pointer(_)) => true,
            (Kind::Incomplete(_), Kind::Incomplete(_)) => self.get(one).name == self.get(other).name,
            (Kind::Function(_), Kind::Function(_)) => true,
            (a, b) => a == b,
        }
    }

    /// What a type is behind its typedefs and qualifiers. An incomplete structure is the complete one of its name, if
    /// there is one alone.
    pub fn strip(&self, id: TypeId) -> TypeId {
        let mut at = id;
        for _ in 0..MAX_DEPTH {
            at = match &self.get(at).kind {
                Kind::Typedef(target) | Kind::Qualified(_, target) => *target,
                Kind::Incomplete(tag) => return self.completion(*tag, &self.get(at).name).unwrap_or(at),
                _ => return at,
            };
        }
        // Names that lead to each other name nothing.
        TypeId::UNKNOWN
    }

    /// The complete type that a declaration leads to, if there is one alone.
    fn completion(&self, tag: Tag, name: &str) -> Option<TypeId> {
        let all = self.by_name.get(name)?;
        // CTF says of every forward declaration that it is a structure's.
        let fits = |id: &&TypeId| match (&self.get(**id).kind, tag) {
            (Kind::Aggregate(_), Tag::Structure) => true,
            (Kind::Aggregate(aggregate), Tag::Union) => aggregate.is_union,
            (Kind::Enumeration(_), Tag::Structure | Tag::Enumeration) => true,
            _ => false,
        };
        let mut found = all.iter().filter(fits);
        let first = *found.next()?;
        found.all(|other| self.is_same(first, *other, 2, &mut MAX_STEPS.clone())).then_some(first)
    }

    /// Bytes of a type; `None` of what has no size: functions, incomplete types, flexible arrays, and what is
    /// damaged.
    pub fn size_of(&self, id: TypeId) -> Option<u64> {
        self.size_within(id, MAX_NESTING)
    }

    fn size_within(&self, id: TypeId, depth: usize) -> Option<u64> {
        let depth = depth.checked_sub(1)?;
        match &self.get(self.strip(id)).kind {
            Kind::Integer(integer) => Some(integer.size),
            Kind::Float(size) => Some(*size),
            Kind::Pointer(_) => Some(self.pointer_size),
            Kind::Array { element, count } => self.size_within(*element, depth)?.checked_mul((*count)?),
            Kind::Aggregate(aggregate) => Some(aggregate.size),
            Kind::Enumeration(enumeration) => Some(enumeration.size),
            Kind::Void | Kind::Unknown | Kind::Incomplete(_) | Kind::Function(_) => None,
            // These are gone.
            Kind::Typedef(_) | Kind::Qualified(..) => None,
        }
    }

    /// The structure or union that a type is, behind its typedefs.
    pub fn aggregate(&self, id: TypeId) -> Option<&Aggregate> {
        match &self.get(self.strip(id)).kind {
            Kind::Aggregate(aggregate) => Some(aggregate),
            _ => None,
        }
    }

    /// What a pointer points to, or an array consists of.
    pub fn target(&self, id: TypeId) -> Option<TypeId> {
        match &self.get(self.strip(id)).kind {
            Kind::Pointer(target) | Kind::Array { element: target, .. } => Some(*target),
            _ => None,
        }
    }

    /// The member of a structure or union, or of an unnamed one in it.
    pub fn member(&self, id: TypeId, name: &str) -> Option<FoundMember<'_>> {
        self.member_within(id, name, 0, MAX_NESTING, &mut MAX_STEPS.clone())
    }

    fn member_within(
        &self,
        id: TypeId,
        name: &str,
        before: u64,
        depth: usize,
        steps: &mut usize,
    ) -> Option<FoundMember<'_>> {
        let depth = depth.checked_sub(1)?;
        *steps = steps.checked_sub(1)?;
        let members = &self.aggregate(id)?.members;
        let at = |member: &Member| before.checked_add(member.bit_offset);
        if let Some(member) = members.iter().find(|member| &*member.name == name) {
            return Some(FoundMember { member, bit_offset: at(member)? });
        }
        let mut unnamed = members.iter().filter(|member| member.name.is_empty());
        unnamed.find_map(|member| self.member_within(member.type_id, name, at(member)?, depth, steps))
    }

    /// Notes how the memory of a variable has its value, where that was not told.
    pub fn set_storage(&mut self, name: &str, address: u64, storage: Storage) {
        let all = self.variables_by_address.get(&address).into_iter().flatten();
        for index in all {
            if let Some(variable) = self.variables.get_mut(*index).filter(|variable| &*variable.name == name) {
                variable.storage.get_or_insert(storage);
            }
        }
    }

    /// All variables and functions, in the order of the symbol tables.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// The variables and functions of a name: statics of several files can have the same.
    pub fn variables_named(&self, name: &str) -> impl Iterator<Item = &Variable> {
        let all = self.variables_by_name.get(name).into_iter().flatten();
        all.filter_map(|index| self.variables.get(*index))
    }

    /// The variables or functions that begin at an address, as [`Variable::address`] counts.
    pub fn variables_at(&self, address: u64) -> impl Iterator<Item = &Variable> {
        let all = self.variables_by_address.get(&address).into_iter().flatten();
        all.filter_map(|index| self.variables.get(*index))
    }
}
