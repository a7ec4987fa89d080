//! Many small objects below a folder: named, read whole, created once, removed. What is large goes there as dumps do, by
//! [`Folder::place`].

use crate::error::{Error, Result};
use std::fmt;
use std::path::PathBuf;
use vmcore::units::counted;

/// An object below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name below the folder, with slashes.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// A folder: a directory, or one of an object store. Names are those that memtool makes: letters, digits, `-`, `.`, `_` and
/// `=`, with slashes between them.
pub trait Folder: Send + Sync + fmt::Debug {
    /// What the folder is called, with a slash at the end.
    fn name(&self) -> String;

    /// Tells of every object below a folder in this one, such as `index`, or of all for an empty name; in any order.
    ///
    /// # Errors
    ///
    /// It cannot be listed. A folder that is not there has no objects.
    fn list(&self, below: &str, each: &mut dyn FnMut(Entry)) -> Result<()>;

    /// The names of the folders in a folder in this one, without what is below them.
    ///
    /// # Errors
    ///
    /// It cannot be listed.
    fn folders(&self, below: &str) -> Result<Vec<String>>;

    /// The size of an object in bytes; `None` if there is none.
    ///
    /// # Errors
    ///
    /// The store does not tell.
    fn size(&self, name: &str) -> Result<Option<u64>>;

    /// All bytes of an object; `None` if there is none.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is longer than it may be.
    fn read(&self, name: &str, at_most: u64) -> Result<Option<Vec<u8>>>;

    /// Reads objects, several at a time, and tells of each by its place in the list; in any order.
    ///
    /// # Errors
    ///
    /// Those of `each`.
    fn read_each(&self, names: &[String], at_most: u64, each: &mut EachRead<'_>) -> Result<()> {
        names.iter().enumerate().try_for_each(|(index, name)| each(index, self.read(name, at_most)))
    }

    /// Creates an object; whether that was done: not if there is another one of that name, which stays as it is.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool>;

    /// Removes an object. That there is none is no error.
    ///
    /// # Errors
    ///
    /// It cannot be removed.
    fn remove(&self, name: &str) -> Result<()>;

    /// What an object is called as the place of a dump, to be read or written; see [`crate::dump_input::open`].
    fn place(&self, name: &str) -> PathBuf;

    /// Sees to it that a dump can be written to the place of an object.
    ///
    /// # Errors
    ///
    /// A directory cannot be made.
    fn prepare(&self, name: &str) -> Result<()>;
}

/// What is told of objects that are read: which one, and its bytes; `None` if there is none.
pub type EachRead<'a> = dyn FnMut(usize, Result<Option<Vec<u8>>>) -> Result<()> + 'a;

/// Says that an object is longer than it may be.
pub(super) fn too_long(what: &str, size: u64, at_most: u64) -> Error {
    Error::Format(format!("{what}: {}, more than the {at_most} that are read of it", counted(size, "byte")))
}
