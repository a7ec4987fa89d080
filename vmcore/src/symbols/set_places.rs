//! Has the symbols of modules' variables that each processor or network stack has a copy of lead to where the kernel has these:
//! see [`super::CopiedSet`].

use super::{CopiedSet, KernelSymbols, SetPlace, Table};
use crate::error::Result;
use std::fs::File;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

impl Table {
    /// As [`Self::from_opened`], of a file whose sections lie where those of another one do, as the file with debug
    /// information of a module.
    ///
    /// # Errors
    ///
    /// Those of [`Self::open`].
    pub fn from_opened_as(path: &Path, file: File, image: &Self) -> Result<Self> {
        Self::read(path, Arc::new(file), image.load_address(), image.set_places())
    }

    /// The same file, with a section of variables that have copies where the kernel has it: its symbols lead there.
    ///
    /// # Errors
    ///
    /// The file cannot be read any more.
    pub fn with_set_at(&self, set: CopiedSet, address: u64) -> Result<Self> {
        let others = self.set_places().iter().filter(|(other, _)| *other != set).copied();
        let places: Vec<_> = others.chain([(set, address)]).collect();
        Self::read(self.path(), Arc::clone(self.shared_file()), self.load_address(), &places)
    }

    /// Where the kernel has what the file has at an address: elsewhere, if that is in a section that was placed so.
    pub fn as_placed(&self, address: u64) -> u64 {
        let placed = self.copied_sections().iter().find_map(|section| {
            let offset = address.checked_sub(section.address).filter(|offset| *offset < section.size)?;
            let (_, place) = self.set_places().iter().find(|(set, _)| *set == section.set)?;
            place.checked_add(offset)
        });
        placed.unwrap_or(address)
    }

    /// Whether the file defines a symbol of this name, wherever that lies.
    ///
    /// # Errors
    ///
    /// The file cannot be read any more.
    pub fn defines(&self, name: &str) -> Result<bool> {
        if self.lookup_by_name(name).next().is_some() {
            return Ok(true);
        }
        let symbols = self.raw_symbols()?;
        Ok(symbols
            .is_some_and(|symbols| symbols.iter().any(|symbol| !symbol.is_undefined && symbol.name == name.as_bytes())))
    }
}

impl KernelSymbols {
    /// Has the symbols of modules' variables that have copies lead to where the kernel has these.
    pub fn place_sets(&mut self, places: Vec<SetPlace>) {
        for mut place in places {
            if let Some(table) = self.module_mut(place.module) {
                let placed = place.address.and_then(|address| {
                    let placed = table.with_set_at(place.set, address);
                    placed.map(|placed| (address, placed)).map_err(|error| error.to_string())
                });
                place.address = placed.map(|(address, placed)| {
                    *table = placed;
                    address
                });
            }
            self.add_set_place(place);
        }
    }

    /// Why it is not known where the kernel has a set of variables of a module, if it is not.
    pub fn why_unplaced(&self, set: CopiedSet, module: &Table) -> Option<&str> {
        let is_it = |place: &&SetPlace| {
            place.set == set && self.tables().nth(place.module).is_some_and(|(_, table)| ptr::eq(table, module))
        };
        self.set_places().iter().find(is_it)?.address.as_ref().err().map(String::as_str)
    }
}
