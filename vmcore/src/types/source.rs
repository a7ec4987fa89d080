//! Who tells the types of a file.

use super::TypeTable;
use crate::error::Result;
use crate::symbols::Table;

/// Who tells the types of a kernel's or a module's file.
pub trait TypeSource {
    /// Adds the types of a file, and which of its variables and functions have which. `false` where the file has none.
    ///
    /// # Errors
    ///
    /// They cannot be read, or make no sense; then none were added.
    fn load(&mut self, file: &Table, types: &mut TypeTable) -> Result<bool>;
}
