//! Finding types: by their names, by those of their members, and by what they are made of.

use super::{Kind, Member, Tag, Type, TypeId, TypeTable, Variable};
use crate::symbols::Pattern;
use std::collections::{BTreeMap, HashMap};

/// More names, pointers and structures one after another than any C has: what is deeper is a circle.
const MAX_DEPTH: usize = 32;
/// More layouts than types of one name have in any kernel: what comes then is left out.
const MAX_LAYOUTS: usize = 64;
/// More members than any structure has, with those of unnamed ones in it: what comes then is left out.
const MAX_MEMBERS: usize = 100_000;
/// More members than any kernel has with a name that a search is for: what comes then is left out.
const MAX_FOUND: usize = 1_000_000;

/// A name of a type, as it is written: `struct proc`, or `proc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeName {
    /// The keyword before it, if there is one.
    pub tag: Option<Tag>,
    /// What follows, with one blank between words.
    pub name: String,
}

impl From<&str> for TypeName {
    fn from(text: &str) -> Self {
        let words: Vec<&str> = text.split_whitespace().collect();
        let tag = match words.first() {
            Some(&"struct") => Some(Tag::Structure),
            Some(&"union") => Some(Tag::Union),
            Some(&"enum") => Some(Tag::Enumeration),
            _ => None,
        };
        Self { tag, name: words.into_iter().skip(tag.is_some().into()).collect::<Vec<_>>().join(" ") }
    }
}

/// A member that a search has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberOf<'a> {
    /// The structure or union, or the typedef of one without a name.
    pub owner: TypeId,
    /// Its name, with those of the members without a type of a name that it is in: `p_children.lh_first`.
    pub path: String,
    /// The member.
    pub member: &'a Member,
    /// Where it begins, in bits from the beginning of the owner.
    pub bit_offset: u64,
}

/// How a type is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// It is there itself, or an array of it.
    Value,
    /// There is a pointer to it.
    Pointer,
    /// A function takes or returns it, or a pointer to it.
    Function,
}

/// Who uses a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User<'a> {
    /// A typedef of it, or of a pointer to it.
    Typedef(TypeId),
    /// A member of a structure or union.
    Member(MemberOf<'a>),
    /// A variable or a function.
    Variable(&'a Variable),
}

impl TypeTable {
    /// The types of a name: without a tag, those with any. Of several that are laid out alike, the first; incomplete ones
    /// only where no other is.
    pub fn named(&self, name: &TypeName) -> Vec<TypeId> {
        let tags = [Some(Tag::Structure), Some(Tag::Union), Some(Tag::Enumeration), None];
        let found = tags.into_iter().flat_map(|tag| self.lookup(tag, &name.name).into_iter().map(move |id| (tag, id)));
        let is_wanted = |tag: Option<Tag>| name.tag.is_none() || tag == name.tag;
        let is_complete = |id: TypeId| !matches!(self.get(id).kind, Kind::Incomplete(_) | Kind::Unknown);
        let (complete, incomplete): (Vec<_>, Vec<_>) = found.partition(|(_, id)| is_complete(*id));
        let wanted: Vec<TypeId> = complete.iter().filter(|(tag, _)| is_wanted(*tag)).map(|(_, id)| *id).collect();
        // A declaration whose tag is not known is that of the one type that there is.
        let is_declared = !complete.iter().any(|(tag, _)| tag.is_some() || is_wanted(*tag));
        let declared = incomplete.first().filter(|_| is_declared).map(|(_, id)| *id);
        wanted.into_iter().chain(declared).collect()
    }

    /// The types whose names match, with this tag if there is one: by name, those of one name as [`Self::named`] has them.
    pub fn matching(&self, tag: Option<Tag>, pattern: &Pattern) -> Vec<TypeId> {
        let mut names: Vec<&str> = self.iter().map(|(_, found)| &*found.name).collect();
        names.retain(|name| !name.is_empty() && pattern.matches(name));
        names.sort_unstable();
        names.dedup();
        let found = names.into_iter().flat_map(|name| self.named(&TypeName { tag, name: name.to_owned() }));
        found.filter(|id| tag.is_none_or(|tag| self.tag(*id) == Some(tag))).collect()
    }

    /// The members whose names match, by the name of what has them. Members of structures without a name count as those of
    /// the one that these are in. At most a million.
    pub fn members_matching(&self, pattern: &Pattern) -> Vec<MemberOf<'_>> {
        self.members_where(|member| pattern.matches(&member.name))
    }

    /// Who has a type of this name, or points to one: typedefs, members, variables and functions, and how. Types are told
    /// from each other by their names, as a pointer to one that is only declared does. At most a million members.
    pub fn users(&self, name: &TypeName) -> Vec<(Use, User<'_>)> {
        let mut search = UseSearch { types: self, name, known: HashMap::new() };
        let mut found = Vec::new();
        let mut typedefs = BTreeMap::new();
        for (id, of) in self.iter() {
            if let Kind::Typedef(target) = of.kind
                && let Some(used) = search.find(target)
            {
                typedefs.entry(&of.name).or_insert((used, User::Typedef(id)));
            }
        }
        found.extend(typedefs.into_values());
        for member in self.members_where(|member| search.find(member.type_id).is_some()) {
            found.extend(search.find(member.member.type_id).map(|used| (used, User::Member(member))));
        }
        let mut variables: Vec<&Variable> = self.variables().iter().collect();
        variables.sort_by_key(|variable| (variable.is_function, &variable.name));
        for variable in variables {
            found.extend(search.find(variable.type_id).map(|used| (used, User::Variable(variable))));
        }
        found
    }

    /// The members for which something holds, each once of structures that are laid out alike.
    fn members_where(&self, holds: impl FnMut(&Member) -> bool) -> Vec<MemberOf<'_>> {
        let mut search = MemberSearch { types: self, holds, looked_at: 0, found: Vec::new() };
        for owner in self.owners() {
            search.looked_at = 0;
            search.add(owner, &MemberPlace { owner, path: String::new(), bit_offset: 0, depth: MAX_DEPTH });
        }
        search.found
    }

    /// Structures and unions with a name, and typedefs of ones without; by name, and of those that are alike the first.
    fn owners(&self) -> Vec<TypeId> {
        let mut by_name: BTreeMap<(&str, Option<Tag>), Vec<TypeId>> = BTreeMap::new();
        for (id, found) in self.iter().filter(|(_, found)| self.is_owner(found)) {
            let same = by_name.entry((&found.name, self.tag(id))).or_default();
            if same.len() < MAX_LAYOUTS && !same.iter().any(|other| self.is_same_layout(*other, id)) {
                same.push(id);
            }
        }
        by_name.into_values().flatten().collect()
    }

    fn is_owner(&self, found: &Type) -> bool {
        match found.kind {
            Kind::Aggregate(_) => !found.name.is_empty(),
            Kind::Typedef(target) => {
                let target = self.get(target);
                target.name.is_empty() && matches!(target.kind, Kind::Aggregate(_))
            }
            _ => false,
        }
    }
}

/// Members that something holds for.
struct MemberSearch<'a, F> {
    types: &'a TypeTable,
    holds: F,
    /// How many members of an owner were looked at.
    looked_at: usize,
    found: Vec<MemberOf<'a>>,
}

/// Where members are looked for.
struct MemberPlace {
    owner: TypeId,
    path: String,
    bit_offset: u64,
    /// How many more structures within each other.
    depth: usize,
}

impl<F: FnMut(&Member) -> bool> MemberSearch<'_, F> {
    fn add(&mut self, id: TypeId, place: &MemberPlace) {
        let Some(aggregate) = self.types.aggregate(id) else { return };
        for member in &aggregate.members {
            self.looked_at += 1;
            if self.looked_at > MAX_MEMBERS || self.found.len() >= MAX_FOUND {
                return;
            }
            let bit_offset = place.bit_offset.saturating_add(member.bit_offset);
            let path = match (place.path.as_str(), &*member.name) {
                (path, "") => path.to_owned(),
                ("", name) => name.to_owned(),
                (path, name) => format!("{path}.{name}"),
            };
            if !member.name.is_empty() && (self.holds)(member) {
                self.found.push(MemberOf { owner: place.owner, path: path.clone(), member, bit_offset });
            }
            let inner = self.types.written_contents(member.type_id);
            if self.types.get(inner).name.is_empty()
                && let Some(depth) = place.depth.checked_sub(1)
            {
                self.add(inner, &MemberPlace { owner: place.owner, path, bit_offset, depth });
            }
        }
    }
}

/// How types use one of a name.
struct UseSearch<'a> {
    types: &'a TypeTable,
    name: &'a TypeName,
    /// What was found out.
    known: HashMap<TypeId, Option<Use>>,
}

impl UseSearch<'_> {
    fn find(&mut self, id: TypeId) -> Option<Use> {
        self.find_within(id, MAX_DEPTH)
    }

    fn find_within(&mut self, id: TypeId, depth: usize) -> Option<Use> {
        let depth = depth.checked_sub(1)?;
        if let Some(known) = self.known.get(&id) {
            return *known;
        }
        // Until it is found out, a circle of types says nothing.
        self.known.insert(id, None);
        let found = if self.is_it(id) { Some(Use::Value) } else { self.find_in(id, depth) };
        self.known.insert(id, found);
        found
    }

    /// Whether a type has the name.
    fn is_it(&self, id: TypeId) -> bool {
        let found = self.types.get(id);
        let is_incomplete = matches!(found.kind, Kind::Incomplete(_));
        *found.name == *self.name.name
            && (self.name.tag.is_none() || is_incomplete || self.types.tag(id) == self.name.tag)
    }

    fn find_in(&mut self, id: TypeId, depth: usize) -> Option<Use> {
        let types = self.types;
        match &types.get(id).kind {
            Kind::Typedef(target) | Kind::Qualified(_, target) | Kind::Array { element: target, .. } => {
                self.find_within(*target, depth)
            }
            Kind::Pointer(target) => self.find_within(*target, depth).map(|used| used.max(Use::Pointer)),
            Kind::Function(function) => {
                let mut parts = std::iter::once(&function.returns).chain(&function.parameters);
                parts.find_map(|part| self.find_within(*part, depth)).map(|_| Use::Function)
            }
            _ => None,
        }
    }
}
