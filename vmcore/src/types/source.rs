//! Who tells the types of a file.

use super::TypeTable;
use crate::error::{Error, Result};
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

/// Tells how the memory of variables has their values.
pub trait StorageSource {
    /// Adds what it tells of the variables of a file to those of a table that came from there, if it was not asked before.
    fn load_storage(&mut self, file: &Table, types: &mut TypeTable);
}

/// Tells nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoStorage;

impl StorageSource for NoStorage {
    fn load_storage(&mut self, _: &Table, _: &mut TypeTable) {}
}

impl TypeTable {
    /// The types of a kernel's file, or of a module's alone.
    ///
    /// # Errors
    ///
    /// It has none ([`Error::NoTypes`]), or they cannot be read.
    pub fn from_file(file: &Table, source: &mut dyn TypeSource) -> Result<Self> {
        let mut types = Self::new(file.pointer_size());
        if source.load(file, &mut types)? { Ok(types) } else { Err(Error::NoTypes(file.path().to_owned())) }
    }

    /// Adds the types of a kernel's modules: why those of some are missing. A module without types is not one of these.
    pub fn add_modules<'a>(
        &mut self,
        modules: impl Iterator<Item = &'a Table>,
        source: &mut dyn TypeSource,
    ) -> Vec<Error> {
        modules.filter_map(|module| source.load(module, self).err()).collect()
    }
}
