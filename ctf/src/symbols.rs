//! Which symbols have which types. There are no names for that: the entries are in the order of the file's symbol table,
//! `.symtab`, without those symbols that have none.

use crate::bytes::Cursor;
use crate::container::Container;
use crate::error::{Error, Result};
use crate::types::{Function, Info, Parameters, Reference};

/// Labels of a linker, which have no entries.
const LABELS: [&[u8]; 2] = [b"_START_", b"_END_"];

/// What a symbol stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolKind {
    /// A variable (`STT_OBJECT`).
    Object,
    /// A function (`STT_FUNC`).
    Function,
    /// All else.
    Other,
}

/// A symbol, as far as it decides whether it has an entry.
#[derive(Debug, Clone, Copy)]
pub struct SymbolFacts<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// What it stands for.
    pub kind: SymbolKind,
    /// Whether another file defines it (`SHN_UNDEF`).
    pub is_undefined: bool,
    /// Whether it is a number and not a place (`SHN_ABS`).
    pub is_absolute: bool,
    /// Its value.
    pub value: u64,
}

impl SymbolFacts<'_> {
    /// What it has an entry as.
    fn entry(&self) -> SymbolKind {
        if self.name.is_empty() || self.is_undefined || LABELS.contains(&self.name) {
            return SymbolKind::Other;
        }
        match self.kind {
            SymbolKind::Object if self.is_absolute && self.value == 0 => SymbolKind::Other,
            kind => kind,
        }
    }
}

/// What a symbol is.
#[derive(Debug, Clone, Copy)]
pub enum Typed<'a> {
    /// A variable of a type.
    Object(Reference),
    /// A function.
    Function(Function<'a>),
}

/// Finds the types of symbols.
#[derive(Debug, Clone)]
pub struct SymbolTypes<'a> {
    container: &'a Container,
    objects: Cursor<'a>,
    functions: Cursor<'a>,
    counted: Counts,
    function_entries: usize,
}

/// How many symbols should have an entry.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    objects: usize,
    functions: usize,
}

/// How many entries a container has, and for how many symbols. If these differ, what was said of the symbols is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryCount {
    /// Entries.
    pub entries: usize,
    /// Symbols that should have one.
    pub symbols: usize,
}

impl EntryCount {
    /// Whether there is an entry for each symbol. A container without any is one that was told to leave them out.
    pub const fn is_whole(self) -> bool {
        self.entries == self.symbols || self.entries == 0
    }

    fn check(self, what: &'static str) -> Result<()> {
        let Self { entries: expected, symbols: found } = self;
        if self.is_whole() { Ok(()) } else { Err(Error::Symbols { what, expected, found }) }
    }
}

impl Container {
    /// Finds the types of symbols, which are asked for in the order of the symbol table.
    pub fn symbols(&self) -> SymbolTypes<'_> {
        let (objects, functions) = (self.cursor(self.object_section()), self.cursor(self.function_section()));
        SymbolTypes { container: self, objects, functions, counted: Counts::default(), function_entries: 0 }
    }
}

impl<'a> SymbolTypes<'a> {
    /// What is said of the next symbol of the table; nothing of one that has no entry, or whose type is not known.
    ///
    /// # Errors
    ///
    /// [`Error::Function`].
    pub fn next_symbol(&mut self, symbol: SymbolFacts<'_>) -> Result<Option<Typed<'a>>> {
        match symbol.entry() {
            SymbolKind::Object => {
                self.counted.objects = self.counted.objects.saturating_add(1);
                let of = self.objects.word().map(|number| self.container.reference(number));
                Ok(of.filter(|of| *of != Reference::Untyped).map(Typed::Object))
            }
            SymbolKind::Function => {
                self.counted.functions = self.counted.functions.saturating_add(1);
                Ok(self.function()?.map(Typed::Function))
            }
            SymbolKind::Other => Ok(None),
        }
    }

    fn function(&mut self) -> Result<Option<Function<'a>>> {
        let offset = self.functions.offset();
        let cut = || Error::Function(offset);
        if self.functions.is_at_end() {
            return Ok(None);
        }
        self.function_entries = self.function_entries.saturating_add(1);
        let info = Info::new(self.functions.word().ok_or_else(cut)?, self.functions.is_old());
        if info.kind == 0 && info.count == 0 {
            return Ok(None);
        }
        let returns = self.container.reference(self.functions.word().ok_or_else(cut)?);
        let parameters = Parameters::new(self.container, self.functions, info.count);
        let size = if self.functions.is_old() { 2 } else { 4 };
        self.functions.skip(info.count, size).ok_or_else(cut)?;
        Ok(Some(Function { returns, parameters }))
    }

    /// Checks, after the last symbol, that there were as many as there are entries. If not, what was said of them is wrong.
    ///
    /// # Errors
    ///
    /// [`Error::Symbols`], [`Error::Function`].
    pub fn finish(self) -> Result<()> {
        let (objects, functions) = self.counts()?;
        objects.check("variables")?;
        functions.check("functions")
    }

    /// After the last symbol: how many variables and how many functions there were, and how many entries there are for them.
    ///
    /// # Errors
    ///
    /// [`Error::Function`].
    pub fn counts(mut self) -> Result<(EntryCount, EntryCount)> {
        let size = if self.objects.is_old() { 2 } else { 4 };
        let entries = self.container.object_section().len() / size;
        let objects = EntryCount { entries, symbols: self.counted.objects };
        // Types begin at a multiple of four bytes.
        while self.container.function_section().end.saturating_sub(self.functions.offset()) >= 4 {
            self.function()?;
        }
        Ok((objects, EntryCount { entries: self.function_entries, symbols: self.counted.functions }))
    }
}
