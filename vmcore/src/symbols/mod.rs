//! Where the kernel's symbols lie, and which symbol covers an address: asked of the running kernel, or read from
//! the files of a kernel and its modules.
//!
//! [`Table`] is the symbol table of one file, [`KernelSymbols`] those of a kernel with its modules, and
//! [`linker_files`] lists the modules that a dump's kernel had. [`SourceLookup`] is asked for the source of their code.

mod copied_sets;
mod elf;
mod entry;
pub mod linker_files;
mod modules;
mod pattern;
mod raw;
mod set_places;
mod source;
mod table;

pub use copied_sets::{CopiedSection, CopiedSet, SetPlace};
pub use elf::PlacedSection;
pub use entry::{Binding, SymbolEntry, SymbolKind};
pub use linker_files::KernelFile;
pub use modules::{Found, KernelSymbols};
pub use pattern::Pattern;
pub use raw::{Linked, RawKind, RawSymbol, RawSymbols};
pub use source::{NoSource, SourceFrame, SourceLookup};
pub use table::{Placement, Table};

use crate::error::Result;
use crate::units::hex;
use serde::{Deserialize, Serialize};

/// A symbol of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Symbol {
    /// Its virtual address.
    #[serde(with = "hex")]
    pub address: u64,
    /// Bytes; 0 where that is not known.
    pub size: u64,
}

/// What knows where the kernel's symbols lie.
pub trait Symbols {
    /// The symbol of this name, if there is one.
    ///
    /// # Errors
    ///
    /// Those of kldsym(2).
    fn find(&self, name: &str) -> Result<Option<Symbol>>;
    /// Who knows, in messages.
    fn source(&self) -> String;
    /// Whether they are the running kernel's for certain.
    fn is_running_kernel(&self) -> bool;
}
