//! What a symbol of a file is.

use super::Symbol;
use serde::Serialize;

/// What a symbol stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SymbolKind {
    /// A function.
    Function,
    /// A variable or constant.
    Object,
    /// A function whose code is chosen when the kernel starts; the symbol is what chooses.
    Ifunc,
    /// Not said: a place in assembly code, or a value.
    Label,
}

impl SymbolKind {
    /// The kind in a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Object => "object",
            Self::Ifunc => "ifunc",
            Self::Label => "label",
        }
    }
}

/// Where a symbol's name is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Binding {
    /// Everywhere.
    Global,
    /// Everywhere, unless there is a global one of the name.
    Weak,
    /// In one source file; others can have another one of the name.
    Local,
}

/// A symbol of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SymbolEntry<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it lies.
    pub symbol: Symbol,
    /// What it stands for.
    pub kind: SymbolKind,
    /// Where its name is known.
    pub binding: Binding,
    /// Whether there is code at it.
    pub is_code: bool,
}
