//! Variables and functions whose types are not known, although those of their file are told.

use std::fmt;

/// The variables or functions of a file, or both, of none of which the type is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UntypedSymbols {
    /// Whether they are functions, variables, or both.
    pub what: SymbolClass,
    /// Why.
    pub reason: UntypedReason,
    /// The number of the file: see [`TypeTable::source`](super::TypeTable::source).
    pub source: u16,
    /// Names, and addresses as those of [`Variable`](super::Variable).
    pub symbols: Vec<(Box<str>, u64)>,
}

/// What symbols stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolClass {
    /// Functions.
    Functions,
    /// Variables.
    Variables,
    /// Functions and variables.
    Both,
}

/// Why types of symbols are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UntypedReason {
    /// CTF tells them by the order of the symbols, and the build of a module can have changed that after the CTF was made.
    Reordered,
    /// There are not as many symbols as the CTF was made for.
    Counts {
        /// Of what there are not as many.
        what: SymbolClass,
        /// How many it was made for.
        expected: usize,
        /// How many there are.
        found: usize,
    },
}

impl SymbolClass {
    /// Whether functions or variables belong to it.
    pub const fn includes(self, is_function: bool) -> bool {
        match self {
            Self::Functions => is_function,
            Self::Variables => !is_function,
            Self::Both => true,
        }
    }
}

impl fmt::Display for SymbolClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Functions => "functions",
            Self::Variables => "variables",
            Self::Both => "functions and variables",
        })
    }
}

/// What can follow a colon, in one file's context.
impl fmt::Display for UntypedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reordered => {
                f.write_str("CTF tells types by the order of symbols, which the build of modules can change afterwards")
            }
            Self::Counts { what, expected, found } => {
                write!(f, "the CTF was made for {expected} {what}, and the file has {found}")
            }
        }
    }
}
