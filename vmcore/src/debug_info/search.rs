//! Where the debug information of an image is.

use super::lines::Lines;
use super::sections::{ElfFile, failed, has_debug_info, parse};
use crate::bounds::filled;
use crate::error::{Error, Result};
use crate::opened::{Open, directory_of, open_plainly, read_at};
use crate::symbols::{Binding, Table};
use object::ObjectKind;
use object::read::{Object, ReadCache};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{File, canonicalize};
use std::io;
use std::path::{Path, PathBuf};

/// Where FreeBSD and GNU keep files with debug information, below the root directory.
const DEBUG_ROOT: &str = "usr/lib/debug";
/// Bytes that a checksum is computed of at a time.
const PIECE: usize = 1 << 20;

/// Where files with debug information are looked for.
///
/// In this order: the image itself; the file that its `.gnu_debuglink` names, and then one that is called as the image with
/// `.debug` behind it, in the image's directory, in `.debug` there, and in the directory of the same name below
/// `/usr/lib/debug`; and the file of its build ID in `/usr/lib/debug/.build-id`.
#[derive(Debug, Clone)]
pub struct Search {
    /// What stands for the root directory: that of another system, such as the one that a dump is from.
    pub root: PathBuf,
    /// How files are opened.
    pub open: Open,
}

impl Default for Search {
    fn default() -> Self {
        Self { root: "/".into(), open: open_plainly }
    }
}

/// What is made of a file with debug information, and of a table of its sections.
type Read<'a, T> = &'a dyn Fn(&Path, &ElfFile<'_>, &Table) -> Result<T>;

/// What an image tells of the file with its debug information.
struct Image<'a> {
    table: &'a Table,
    /// The name of a file, and its checksum.
    link: Option<(String, u32)>,
}

impl Search {
    /// The file with the debug information of an image, which can be the image itself, and why files that may have had it
    /// are not used. What is in the file is not read.
    pub fn locate(&self, table: &Table) -> (Option<PathBuf>, Vec<String>) {
        self.find_with(table, &|path, _, _| Ok(path.to_owned()))
    }

    /// The debug information of an image, and why files that may have had it are not used.
    pub(super) fn find(&self, table: &Table) -> (Option<Lines>, Vec<String>) {
        self.find_with(table, &Lines::read)
    }

    /// What is made of the file with the debug information of an image, and of the table of its sections.
    pub(super) fn find_with<T>(&self, table: &Table, read: Read<'_, T>) -> (Option<T>, Vec<String>) {
        let mut refused = Vec::new();
        match self.find_or_refuse(table, read, &mut refused) {
            Ok(found) => (found, refused),
            Err(error) => {
                refused.push(format!("no debug information: {error}"));
                (None, refused)
            }
        }
    }

    fn find_or_refuse<T>(&self, table: &Table, read: Read<'_, T>, refused: &mut Vec<String>) -> Result<Option<T>> {
        let cache = ReadCache::new(table.file());
        let file = parse(table.path(), &cache)?;
        if has_debug_info(&file) {
            return read(table.path(), &file, table).map(Some);
        }
        let image = Image {
            table,
            link: file.gnu_debuglink().ok().flatten().and_then(|(name, checksum)| Some((plain(name)?, checksum))),
        };
        for path in self.places(&image) {
            match self.open(&path, &image, read) {
                Ok(found) => return Ok(Some(found)),
                Err(error) => refused.push(format!("debug information is not used: {error}")),
            }
        }
        Ok(None)
    }

    /// The files that there are.
    fn places(&self, image: &Image<'_>) -> Vec<PathBuf> {
        let path = image.table.path();
        let directory = directory_of(path);
        // A symbolic link to an image is as good as the image.
        let real = canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        let root = canonicalize(&self.root).unwrap_or_else(|_| self.root.clone());
        let below_root = real.strip_prefix(&root).or_else(|_| real.strip_prefix("/")).unwrap_or(&real);
        let debug_root = self.root.join(DEBUG_ROOT);
        let directories = [directory.to_owned(), directory.join(".debug"), debug_root.join(below_root)];
        let mut suffixed = OsString::from(path.file_name().unwrap_or_default());
        suffixed.push(".debug");
        let names = image.link.iter().map(|(name, _)| OsString::from(name)).chain([suffixed]);
        let named = names.flat_map(|name| directories.iter().map(move |directory| directory.join(&name)));
        let identified = image.table.build_id().and_then(of_build_id);
        let identified = identified.map(|name| debug_root.join(".build-id").join(name));
        let mut seen = BTreeSet::from([path.to_owned()]);
        named.chain(identified).filter(|place| place.is_file() && seen.insert(place.clone())).collect()
    }

    /// Opens a file with debug information, if it is that of this image.
    fn open<T>(&self, path: &Path, image: &Image<'_>, read: Read<'_, T>) -> Result<T> {
        let opened = (self.open)(path).map_err(|source| Error::io("open", path, source))?;
        let copy = opened.try_clone().map_err(|source| Error::io("open", path, source))?;
        let cache = ReadCache::new(&copy);
        let file = parse(path, &cache)?;
        let is_identified = image.identifies(path, &copy, &file)?;
        if !has_debug_info(&file) {
            return Err(failed(path, "it has no debug information"));
        }
        if is_identified && file.kind() != ObjectKind::Relocatable {
            return read(path, &file, image.table);
        }
        let table = Table::from_opened_as(path, opened, image.table)?;
        if !is_identified && !has_symbols_of(&table, image.table) {
            return Err(image.is_another(path, "its symbols are not those"));
        }
        read(path, &file, &table)
    }
}

impl Image<'_> {
    /// Whether a file is shown to be that of this image; `false` where nothing tells.
    fn identifies(&self, path: &Path, opened: &File, file: &ElfFile<'_>) -> Result<bool> {
        let mut is_identified = false;
        if let (Some(own), Ok(Some(other))) = (self.table.build_id(), file.build_id()) {
            if own != other {
                return Err(self.is_another(path, "its build ID is not that"));
            }
            is_identified = true;
        }
        if let Some((_, checksum)) = self.link.as_ref().filter(|(name, _)| path.file_name() == Some(OsStr::new(name))) {
            let found = checksum_of(opened).map_err(|source| Error::io("read", path, source))?;
            if found != *checksum {
                return Err(self.is_another(path, "its checksum is not the one"));
            }
            is_identified = true;
        }
        Ok(is_identified)
    }

    fn is_another(&self, path: &Path, why: &str) -> Error {
        failed(path, &format!("{why} of {}", self.table.path().display()))
    }
}

/// A name of a file in the same directory, if it is one: no other place is looked into because of it.
fn plain(name: &[u8]) -> Option<String> {
    let name = str::from_utf8(name).ok()?;
    (Path::new(name).file_name() == Some(OsStr::new(name))).then(|| name.to_owned())
}

/// `ab/cdef.debug`.
fn of_build_id(id: &[u8]) -> Option<String> {
    let (first, rest) = id.split_first()?;
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    (!rest.is_empty()).then(|| format!("{first:02x}/{rest}.debug"))
}

/// Whether all global symbols of code in an image are in the other file, at the same addresses.
fn has_symbols_of(other: &Table, image: &Table) -> bool {
    let mut symbols = image.iter().filter(|entry| entry.is_code && entry.binding == Binding::Global).peekable();
    symbols.peek().is_some()
        && symbols.all(|entry| other.lookup_by_name(entry.name).any(|found| found.symbol == entry.symbol))
}

/// The checksum of a file's contents: that of gzip.
fn checksum_of(file: &File) -> io::Result<u32> {
    let mut checksum = flate2::Crc::new();
    let mut piece = vec![0; PIECE];
    let mut at: u64 = 0;
    loop {
        match read_at(file, &mut piece, at) {
            Ok(0) => return Ok(checksum.sum()),
            Ok(read) => {
                checksum.update(filled(&piece, read)?);
                at = at.saturating_add(read as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
