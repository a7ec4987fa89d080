//! A directory as a [`Folder`]: files for their owner alone, never through symbolic links below it.

use super::folder::{Entry, Folder, too_long};
use crate::error::{Error, Result};
use crate::files::open_regular;
use crate::output_file::{self, OutputFile};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Folders in each other that are looked into.
const MAX_DEPTH: usize = 8;

/// The directory.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// A directory, which need not be there yet.
    ///
    /// # Errors
    ///
    /// There is something else of that name.
    pub fn open(path: &Path) -> Result<Self> {
        match path.metadata() {
            Ok(metadata) if !metadata.is_dir() => Err(Error::Refused(format!("{} is not a directory", path.display()))),
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::io("open", path, source)),
            _ => Ok(Self(path.to_owned())),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.0.clone() } else { self.0.join(name) }
    }

    /// The directory of a name; refuses one that is behind a symbolic link. `None` if it is not there.
    fn parent(&self, name: &str) -> Result<Option<PathBuf>> {
        let mut path = self.0.clone();
        for part in name.rsplit_once('/').map(|(folder, _)| folder).into_iter().flat_map(|folder| folder.split('/')) {
            path.push(part);
            match path.symlink_metadata() {
                Err(source) if is_absent(&source) => return Ok(None),
                Err(source) => return Err(Error::io("look at", &path, source)),
                Ok(metadata) if !metadata.is_dir() => {
                    return Err(Error::Refused(format!("{} is not a directory", path.display())));
                }
                Ok(_) => {}
            }
        }
        Ok(Some(path))
    }

    fn walk(&self, below: &str, depth: usize, each: &mut dyn FnMut(Entry)) -> Result<()> {
        let path = self.path(below);
        let entries = match path.read_dir() {
            Err(source) if is_absent(&source) => return Ok(()),
            entries => entries.map_err(|source| Error::io("list", &path, source))?,
        };
        for entry in entries {
            let entry = entry.map_err(|source| Error::io("list", &path, source))?;
            // What is not text is none of memtool's, but is told of.
            let own = entry.file_name().to_string_lossy().into_owned();
            let name = if below.is_empty() { own } else { format!("{below}/{own}") };
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() && depth > 0 => self.walk(&name, depth - 1, each)?,
                // One that is being written, or was when its run was killed.
                Ok(_) if output_file::is_temporary(&entry.file_name()) => {}
                Ok(metadata) => each(Entry { name, size: metadata.len() }),
                // It was removed meanwhile.
                Err(source) if is_absent(&source) => {}
                Err(source) => return Err(Error::io("look at", &entry.path(), source)),
            }
        }
        Ok(())
    }

    /// Makes the directories of a name.
    fn make_parents(&self, name: &str) -> Result<()> {
        let parent = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let path = self.path(parent);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|source| Error::io("create", &path, source))?;
        self.parent(name).map(drop)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Folder for Directory {
    fn name(&self) -> String {
        format!("{}/", self.0.display().to_string().trim_end_matches('/'))
    }

    fn list(&self, below: &str, each: &mut dyn FnMut(Entry)) -> Result<()> {
        match self.parent(&format!("{below}/"))? {
            Some(_) => self.walk(below, MAX_DEPTH, each),
            None => Ok(()),
        }
    }

    fn folders(&self, below: &str) -> Result<Vec<String>> {
        let path = self.path(below);
        let entries = match path.read_dir() {
            Err(source) if is_absent(&source) => return Ok(Vec::new()),
            entries => entries.map_err(|source| Error::io("list", &path, source))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| Error::io("list", &path, source))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    fn size(&self, name: &str) -> Result<Option<u64>> {
        if self.parent(name)?.is_none() {
            return Ok(None);
        }
        let path = self.path(name);
        match path.symlink_metadata() {
            Err(source) if is_absent(&source) => Ok(None),
            Err(source) => Err(Error::io("look at", &path, source)),
            Ok(metadata) if !metadata.is_file() => {
                Err(Error::Refused(format!("{} is not a regular file", path.display())))
            }
            Ok(metadata) => Ok(Some(metadata.len())),
        }
    }

    fn read(&self, name: &str, at_most: u64) -> Result<Option<Vec<u8>>> {
        let Some(size) = self.size(name)? else { return Ok(None) };
        let path = self.path(name);
        if size > at_most {
            return Err(too_long(&path.display().to_string(), size, at_most));
        }
        let failed = |source| Error::io("read", &path, source);
        let file = match open_regular(&path, OpenOptions::new().read(true)) {
            Err(source) if is_absent(&source) => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        file.take(at_most).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        self.make_parents(name)?;
        let path = self.path(name);
        let create = || {
            let file = OutputFile::create(&path, false)?;
            file.file().write_all(bytes).map_err(|source| Error::io("write", &path, source))?;
            file.commit()
        };
        match create() {
            Ok(()) => Ok(true),
            Err(Error::Exists(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn remove(&self, name: &str) -> Result<()> {
        let Some(parent) = self.parent(name)? else { return Ok(()) };
        let path = self.path(name);
        match std::fs::remove_file(&path) {
            Err(source) if !is_absent(&source) => return Err(Error::io("remove", &path, source)),
            _ => {}
        }
        // The last file of a directory takes it along; one that has others refuses.
        let mut emptied = parent;
        while emptied != self.0 && std::fs::remove_dir(&emptied).is_ok() && emptied.pop() {}
        Ok(())
    }

    fn place(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    fn prepare(&self, name: &str) -> Result<()> {
        self.make_parents(name)
    }
}
