//! The types of an expression: those of the kernel that it names, and those that are made of them.

use super::arithmetic::promote;
use super::code::Number;
use super::error::{ExpressionError, Problem};
use super::syntax::{BaseType, Basic, Derivation, Named, TypeName};
use crate::near::near;
use crate::types::{Function, Integer, Kind, Meaning, Tag, Type, TypeId, TypeTable};
use std::collections::HashMap;

/// Elements of an array that a type's name may have.
const MAX_ELEMENTS: u64 = 1 << 24;
/// Types of one name that an error lists.
const MAX_CHOICES: usize = 8;

/// The types of a kernel, with those that expressions make of them.
pub(super) struct Types<'a> {
    pub table: &'a mut TypeTable,
    pointers: HashMap<TypeId, TypeId>,
    basic: HashMap<&'static str, TypeId>,
}

impl<'a> Types<'a> {
    pub fn new(table: &'a mut TypeTable) -> Self {
        Self { table, pointers: HashMap::new(), basic: HashMap::new() }
    }

    /// A type that is made of another one, from the same file.
    fn derive(&mut self, from: TypeId, kind: Kind) -> TypeId {
        let source = self.table.get(from).source;
        self.table.add(Type { name: "".into(), kind, source })
    }

    /// A pointer to a type.
    pub fn pointer_to(&mut self, target: TypeId) -> TypeId {
        if let Some(found) = self.pointers.get(&target) {
            return *found;
        }
        let made = self.derive(target, Kind::Pointer(target));
        self.pointers.insert(target, made);
        made
    }

    /// The structure of a name with a pointer to it.
    pub fn pointer_to_structure(&mut self, name: &str) -> Result<TypeId, Problem> {
        let missing = || Problem::UnknownType { name: format!("struct {name}"), near: Vec::new() };
        let found = self.table.structure(name).ok_or_else(missing)?;
        Ok(self.pointer_to(found))
    }

    /// What stands for a type that is not known.
    pub fn unknown(&mut self) -> TypeId {
        if let Some(found) = self.basic.get("") {
            return *found;
        }
        let made = self.table.add(Type { name: "".into(), kind: Kind::Unknown, source: 0 });
        self.basic.insert("", made);
        made
    }

    /// Whether a type has only `false` and `true`.
    pub fn is_boolean(&self, type_id: TypeId) -> bool {
        let found = &self.table.get(self.table.strip(type_id)).kind;
        matches!(found, Kind::Integer(Integer { meaning: Meaning::Boolean, .. }))
    }

    /// What numbers a type has: integers, enumerations and pointers.
    pub fn number(&self, type_id: TypeId) -> Option<Number> {
        let (size, is_signed) = match &self.table.get(self.table.strip(type_id)).kind {
            Kind::Integer(integer) => (integer.size, integer.is_signed),
            Kind::Enumeration(found) => (found.size, found.enumerators.iter().any(|(_, value)| *value < 0)),
            Kind::Pointer(_) => (self.table.pointer_size(), false),
            _ => return None,
        };
        let bits = u32::try_from(size).ok().filter(|size| (1..=8).contains(size))? * 8;
        Some(Number { bits, is_signed })
    }

    /// The type of numbers that arithmetic gives.
    pub fn arithmetic(&mut self, number: Number) -> TypeId {
        let Number { bits, is_signed } = promote(number);
        if bits == 32 {
            self.basic(Basic::Int { is_signed })
        } else if self.table.pointer_size() == 8 {
            self.basic(Basic::Long { is_signed })
        } else {
            self.basic(Basic::LongLong { is_signed })
        }
    }

    /// The type of what `sizeof` gives.
    pub fn size_type(&mut self) -> TypeId {
        self.basic(Basic::Long { is_signed: false })
    }

    /// A basic type: the kernel's, or one that is made.
    pub fn basic(&mut self, basic: Basic) -> TypeId {
        let word = self.table.pointer_size();
        let (names, size, is_signed, meaning): (&[&'static str], _, _, _) = match basic {
            Basic::Void => return self.void(),
            Basic::Boolean => (&["_Bool", "bool"], 1, false, Meaning::Boolean),
            Basic::Character => (&["char"], 1, true, Meaning::Character),
            Basic::Byte { is_signed: true } => (&["signed char"], 1, true, Meaning::Number),
            Basic::Byte { is_signed: false } => (&["unsigned char"], 1, false, Meaning::Number),
            Basic::Short { is_signed: true } => (&["short", "short int"], 2, true, Meaning::Number),
            Basic::Short { is_signed: false } => (&["unsigned short", "short unsigned int"], 2, false, Meaning::Number),
            Basic::Int { is_signed: true } => (&["int"], 4, true, Meaning::Number),
            Basic::Int { is_signed: false } => (&["unsigned int"], 4, false, Meaning::Number),
            Basic::Long { is_signed: true } => (&["long", "long int"], word, true, Meaning::Number),
            Basic::Long { is_signed: false } => (&["unsigned long", "long unsigned int"], word, false, Meaning::Number),
            Basic::LongLong { is_signed: true } => (&["long long", "long long int"], 8, true, Meaning::Number),
            Basic::LongLong { is_signed: false } => {
                (&["unsigned long long", "long long unsigned int"], 8, false, Meaning::Number)
            }
        };
        let name = names.first().copied().unwrap_or_default();
        if let Some(found) = self.basic.get(name) {
            return *found;
        }
        let fits = |id: &TypeId| match self.table.get(*id).kind {
            Kind::Integer(integer) => integer.size == size && (integer.is_signed == is_signed || name == "char"),
            _ => false,
        };
        let known = names.iter().flat_map(|name| self.table.lookup(None, name)).find(fits);
        let integer = Kind::Integer(Integer { size, is_signed, meaning });
        let found = known.unwrap_or_else(|| self.table.add(Type { name: name.into(), kind: integer, source: 0 }));
        self.basic.insert(name, found);
        found
    }

    /// `void`.
    pub fn void(&mut self) -> TypeId {
        if let Some(found) = self.basic.get("void") {
            return *found;
        }
        let known = self.table.iter().find(|(_, found)| found.kind == Kind::Void).map(|(id, _)| id);
        let found = known.unwrap_or_else(|| self.table.add(Type { name: "void".into(), kind: Kind::Void, source: 0 }));
        self.basic.insert("void", found);
        found
    }

    /// The type that a name stands for.
    pub fn resolve(&mut self, name: &TypeName) -> Result<TypeId, ExpressionError> {
        let mut found = match &name.base {
            BaseType::Basic(basic) => self.basic(*basic),
            BaseType::Tagged(tag, named) => self.named(Some(*tag), named)?,
            BaseType::Typedef(named) => self.named(None, named)?,
        };
        for derivation in &name.derivations {
            found = match derivation {
                Derivation::Pointer => self.pointer_to(found),
                Derivation::Array(count) if count.is_none_or(|count| count <= MAX_ELEMENTS) => {
                    self.derive(found, Kind::Array { element: found, count: *count })
                }
                Derivation::Array(_) => return Err(ExpressionError::new(name.span, Problem::NumberTooLarge)),
                Derivation::Function => {
                    let function = Function { returns: found, parameters: Vec::new(), is_variadic: false };
                    self.derive(found, Kind::Function(function))
                }
            };
        }
        Ok(found)
    }

    fn named(&self, tag: Option<Tag>, named: &Named) -> Result<TypeId, ExpressionError> {
        let Named { module, name, span } = named;
        let found = self.table.lookup(tag, name);
        let in_module = |id: &TypeId| module.as_deref().is_none_or(|module| self.is_from(*id, module));
        let mut fitting: Vec<TypeId> = found.iter().copied().filter(in_module).collect();
        // The kernel's own are meant before those that modules have of that name.
        if fitting.iter().any(|id| self.table.get(*id).source == 0) {
            fitting.retain(|id| self.table.get(*id).source == 0);
        }
        let error = |problem| Err(ExpressionError::new(*span, problem));
        let full = tag.map_or_else(|| name.clone(), |tag| format!("{} {name}", tag.keyword()));
        match fitting.as_slice() {
            [only] => Ok(*only),
            [] => error(Problem::UnknownType { name: full, near: self.near(tag, name) }),
            several => {
                let choices = several.iter().take(MAX_CHOICES).map(|id| self.choice(*id)).collect();
                error(Problem::AmbiguousType { name: full, choices })
            }
        }
    }

    fn is_from(&self, id: TypeId, module: &str) -> bool {
        let source = self.table.get(id).source;
        let file = self.table.source(source).and_then(|path| path.file_name()).and_then(|name| name.to_str());
        let plain = |name: &str| name.strip_suffix(".ko").unwrap_or(name).to_owned();
        let file = file.map(|file| file.strip_suffix(".debug").unwrap_or(file));
        file.is_some_and(|file| plain(file) == plain(module)) || (source == 0 && module == "kernel")
    }

    fn choice(&self, id: TypeId) -> String {
        let file = self
            .table
            .source(self.table.get(id).source)
            .map_or_else(String::new, |path| format!(" in {}", path.file_name().unwrap_or_default().to_string_lossy()));
        let size =
            self.table.size_of(id).map_or_else(|| "of unknown size".to_owned(), |size| format!("of {size} bytes"));
        format!("{size}{file}")
    }

    fn near(&self, tag: Option<Tag>, name: &str) -> Vec<String> {
        let names = self.table.iter().filter(|(id, _)| self.table.tag(*id) == tag).map(|(_, found)| &*found.name);
        let found = near(name, names.filter(|name| !name.is_empty()));
        match tag {
            Some(tag) => found.iter().map(|name| format!("{} {name}", tag.keyword())).collect(),
            None => found,
        }
    }
}
