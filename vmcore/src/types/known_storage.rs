//! What is known of how the memory of a variable has its value: by its symbol, and what debug information tells.

use super::{Integer, Kind, Qualifier, Storage, TwoValues, TypeId, TypeTable, Variable};
use crate::error::Result;
use crate::symbols::{Binding, SymbolEntry, Table};

/// More names of one type after another than any C has.
const MAX_DEPTH: usize = 64;

/// What is known of how the memory of a variable has its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownStorage {
    /// As [`Storage::Plain`].
    Plain,
    /// As [`Storage::Choice`].
    Choice(TwoValues),
    /// A byte tells which of two values it is that nobody told: its symbol has so many bytes, and its type more.
    Narrowed {
        /// Bytes of its symbol.
        kept: u64,
        /// Bytes of its type.
        size: u64,
    },
    /// It may be either of these: it has one byte anyway.
    Doubtful,
}

impl TypeTable {
    /// What is known of how the memory of a variable has its value, by its symbol in its file.
    ///
    /// # Errors
    ///
    /// The file cannot be read any more.
    pub fn storage_of(&self, variable: &Variable, symbol: &SymbolEntry<'_>, file: &Table) -> Result<KnownStorage> {
        let plain = self.strip(variable.type_id);
        let size = match &self.get(plain).kind {
            Kind::Integer(Integer { size, .. }) => *size,
            Kind::Enumeration(enumeration) => enumeration.size,
            _ => return Ok(KnownStorage::Plain),
        };
        let kept = symbol.symbol.size;
        Ok(match variable.storage {
            // The byte of what is 0 or 1, and has no more bytes, is its value.
            Some(Storage::Choice(TwoValues { initial: 0, other: 1 })) if size == 1 => KnownStorage::Plain,
            Some(Storage::Choice(values)) => KnownStorage::Choice(values),
            _ if (1..size).contains(&kept) => KnownStorage::Narrowed { kept, size },
            None if size == 1 && symbol.binding == Binding::Local && !self.is_volatile(variable.type_id) => {
                // The byte of such a variable begins as 0, whatever it stands for.
                let is_it = file.begins_as_zero(symbol.symbol.address)?;
                if is_it { KnownStorage::Doubtful } else { KnownStorage::Plain }
            }
            _ => KnownStorage::Plain,
        })
    }

    /// Whether a type is one whose objects no compiler keeps otherwise.
    fn is_volatile(&self, id: TypeId) -> bool {
        let mut at = id;
        for _ in 0..MAX_DEPTH {
            at = match &self.get(at).kind {
                Kind::Qualified(Qualifier::Volatile | Qualifier::Atomic, _) => return true,
                Kind::Typedef(target) | Kind::Qualified(_, target) => *target,
                _ => return false,
            };
        }
        false
    }
}
