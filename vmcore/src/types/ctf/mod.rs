//! Types from the CTF in a file's section `.SUNW_ctf` (ctf(5)), which kernels and modules have that were built with
//! `makeoptions WITH_CTF=1`, and keep when they are stripped.
//!
//! What CTF does not tell, is not here either: `_Atomic`; whether a plain `char` has a sign (it says so of every one, also
//! of machines where it has none); that a function takes more arguments than it names (`...`; ctfconvert(1) leaves that
//! out, and only pointers to such functions have it); the types of variables that are static in a function; enumerators of
//! more than 32 bits; which bits of an enumeration's bit field are padding; of a variable that takes two values alone,
//! which ones its only byte stands for; and the names of the symbols that it has types of: see `order`.

mod convert;
mod order;

use super::{Function, Kind, Type, TypeId, TypeSource, TypeTable, UntypedSymbols, Variable};
use crate::error::{Error, Result};
use crate::symbols::{RawKind, RawSymbol, RawSymbols, Table};
use convert::{Numbering, convert};
use ctf::{Container, SymbolFacts, SymbolKind, Typed};
use std::collections::HashMap;

/// The section.
const SECTION: &str = ".SUNW_ctf";
/// More bytes than any kernel's section has.
const MAX_SECTION: u64 = 64 << 20;

/// Takes types from CTF. Containers of modules that build on another one's types are read after that one.
#[derive(Debug, Clone, Default)]
pub struct CtfTypes {
    parents: Vec<Parent>,
}

/// What was read, for those that build on it.
#[derive(Debug, Clone)]
struct Parent {
    /// What its file is called.
    name: String,
    labels: Vec<String>,
    types: Numbering,
}

impl TypeSource for CtfTypes {
    fn load(&mut self, file: &Table, types: &mut TypeTable) -> Result<bool> {
        let Some(found) = self.contents(file, types.next_id())? else { return Ok(false) };
        self.add(file, found, types);
        Ok(true)
    }
}

/// What a file has.
pub(crate) struct Contents {
    types: Vec<Type>,
    variables: Vec<Variable>,
    untyped: Vec<UntypedSymbols>,
    parent: Parent,
}

#[cfg(feature = "debug-info")]
impl Contents {
    /// Whether the types of all variables and functions are told, as far as CTF tells any.
    pub(crate) fn is_whole(&self) -> bool {
        self.untyped.is_empty()
    }
}

impl CtfTypes {
    /// What a file has, with types whose numbers count from one on; `None` where it has no CTF.
    pub(crate) fn contents(&self, file: &Table, first: TypeId) -> Result<Option<Contents>> {
        let Some(section) = file.section(SECTION, MAX_SECTION)? else { return Ok(None) };
        let symbols = file.raw_symbols()?;
        let failed = |source| Error::Ctf { path: file.path().to_owned(), source };
        let read = self.read(&section, symbols.as_ref(), first).map_err(failed)?;
        read.ok_or_else(|| Error::TooManyTypes(file.path().to_owned())).map(Some)
    }

    /// Adds what a file has, right after it was read.
    pub(crate) fn add(&mut self, file: &Table, found: Contents, types: &mut TypeTable) {
        let Contents { types: found, variables, untyped, parent } = found;
        let source = types.add_file(file.path(), found, variables);
        untyped.into_iter().for_each(|added| types.add_untyped(UntypedSymbols { source, ..added }));
        self.parents.push(Parent { name: file.file_name().into_owned(), ..parent });
    }

    /// Reads a container whose types get numbers from one on; `None` where there are more than in any kernel.
    fn read(&self, section: &[u8], symbols: Option<&RawSymbols>, first: TypeId) -> ctf::Result<Option<Contents>> {
        let strings = symbols.map_or_else(Vec::new, |symbols| symbols.strings().to_vec());
        let container = Container::read(section)?.with_external_strings(strings);
        let labels: Vec<String> =
            container.labels().map(|label| Ok(label?.name.to_owned())).collect::<ctf::Result<_>>()?;
        let count = container.types().try_fold(0_u32, |count, found| found.map(|_| count.saturating_add(1)))?;
        let numbering = Numbering { first, count, parent: self.parent(&container)? };
        let Some(mut types) = convert(&container, numbering)? else { return Ok(None) };
        let (variables, untyped) = match symbols {
            Some(symbols) => variables(&container, symbols, numbering, &mut types)?,
            None => Default::default(),
        };
        let parent = Parent { name: String::new(), labels, types: numbering };
        Ok(Some(Contents { types, variables, untyped, parent }))
    }

    /// First number and how many, of the types that a child builds on: those of a file that is called as it says, with the
    /// label that it says.
    fn parent(&self, child: &Container) -> ctf::Result<Option<(TypeId, u32)>> {
        if !child.is_child() {
            return Ok(None);
        }
        let (name, label) = (child.parent_name()?, child.parent_label()?);
        let is_it = |parent: &&Parent| {
            parent.name == name && (label.is_empty() || parent.labels.iter().any(|found| found == label))
        };
        Ok(self.parents.iter().find(is_it).map(|parent| (parent.types.first, parent.types.count)))
    }
}

/// What a symbol decides by.
fn facts<'a>(symbol: &RawSymbol<'a>) -> SymbolFacts<'a> {
    let RawSymbol { name, is_undefined, is_absolute, value, .. } = *symbol;
    let kind = match symbol.kind {
        RawKind::Object => SymbolKind::Object,
        RawKind::Function => SymbolKind::Function,
        RawKind::Other => SymbolKind::Other,
    };
    SymbolFacts { name, kind, is_undefined, is_absolute, value }
}

/// Variables and functions with their types, and those whose types are not certain; types of functions are added to the
/// others.
fn variables(
    container: &Container,
    symbols: &RawSymbols,
    numbering: Numbering,
    types: &mut Vec<Type>,
) -> ctf::Result<(Vec<Variable>, Vec<UntypedSymbols>)> {
    let mut found = Vec::new();
    let mut functions: HashMap<Function, TypeId> = HashMap::new();
    let mut entries = container.symbols();
    for symbol in symbols.iter() {
        let Some(typed) = entries.next_symbol(facts(&symbol))? else { continue };
        let (Some(address), Ok(name)) = (symbol.address, str::from_utf8(symbol.name)) else { continue };
        let type_id = match typed {
            Typed::Object(of) => numbering.id(of),
            Typed::Function(function) => {
                *functions.entry(numbering.function(function)).or_insert_with_key(|function| {
                    let id = numbering.after(types.len());
                    types.push(Type { name: Box::default(), kind: Kind::Function(function.clone()), source: 0 });
                    id
                })
            }
        };
        let is_function = symbol.kind == RawKind::Function;
        let (name, size) = (name.into(), symbol.size);
        found.push(Variable { name, address, size, storage: None, type_id, is_function, source: 0 });
    }
    // What is not known is better than what is wrong.
    let untyped = order::untyped(symbols, entries.counts()?);
    found.retain(|variable| !untyped.iter().any(|untyped| untyped.what.includes(variable.is_function)));
    Ok((found, untyped))
}
