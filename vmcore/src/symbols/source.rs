//! Where in its source a kernel's code is: what is asked of debug information.

use super::KernelSymbols;
use std::rc::Rc;

/// A function whose code is at an address, and where in its source that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFrame {
    /// The name of the function.
    pub function: Option<String>,
    /// The file, with the directories that the compiler was told.
    pub file: Option<String>,
    /// The line, from 1; in a function that another one is inlined in, that of the call.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
}

/// What knows the source of a kernel's code.
pub trait SourceLookup {
    /// The functions whose code is at an address, as [`KernelSymbols::lookup_by_addr`] takes it: inlined ones from the
    /// innermost one, then the function that they are inlined in. None where the source is not known.
    fn lookup(&mut self, symbols: &KernelSymbols, address: u64) -> Rc<[SourceFrame]>;
}

/// Knows no source.
pub struct NoSource;

impl SourceLookup for NoSource {
    fn lookup(&mut self, _: &KernelSymbols, _: u64) -> Rc<[SourceFrame]> {
        Rc::default()
    }
}
