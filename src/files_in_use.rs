//! The files of a run: what it reads is never replaced by what it writes, and nothing is written twice.
//!
//! A program that does one thing and ends, as memtool does, calls [`track`] first. From then on every file that this
//! library opens by name is known by its device and inode, whatever names, symbolic links or hard links lead to it, and
//! an [`OutputFile`](crate::output_file::OutputFile) that would replace one is refused. A file that is read while
//! standard output goes to it is refused, too. Without [`track`] nothing is known and nothing refused: a program that
//! goes on may replace later what it has read before.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a run does with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It is read.
    Read,
    /// Bytes in it are changed where they are.
    Changed,
    /// It is an output, finished or not.
    Output,
    /// It is where standard output goes.
    StandardOutput,
}

/// Device and inode.
type Identity = (u64, u64);

/// The files in use; `None` if nobody has asked for that.
static FILES: Mutex<Option<BTreeMap<Identity, (Use, PathBuf)>>> = Mutex::new(None);

fn files() -> MutexGuard<'static, Option<BTreeMap<Identity, (Use, PathBuf)>>> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that can be damaged by being written to: no pipe, no /dev/null.
fn identity(metadata: &Metadata) -> Option<Identity> {
    let kind = metadata.file_type();
    (kind.is_file() || kind.is_block_device()).then(|| (metadata.dev(), metadata.ino()))
}

/// Begins to keep in mind which files the run uses. Of standard output it is looked at where it goes.
pub fn track() {
    let output = io::stdout().as_fd().try_clone_to_owned().map(File::from).and_then(|output| output.metadata());
    let mut known = BTreeMap::new();
    if let Some(identity) = output.ok().as_ref().and_then(identity) {
        known.insert(identity, (Use::StandardOutput, PathBuf::from("standard output")));
    }
    *files() = Some(known);
}

/// Notes that a file is read that was not opened by this library.
///
/// # Errors
///
/// Standard output goes to it, or the run changes it; or the system does not tell which file it is.
pub fn read(file: &File, path: &Path) -> io::Result<()> {
    note(file, path, Use::Read)
}

/// Notes that a file is changed where it is.
pub(crate) fn changed(file: &File, path: &Path) -> io::Result<()> {
    note(file, path, Use::Changed)
}

/// A file that becomes an output; dropped before it is one, it is forgotten, and its inode may be another file's.
#[derive(Debug)]
pub(crate) struct Unnamed(Option<Identity>);

impl Unnamed {
    /// Notes a file that has just been made.
    pub(crate) fn new(file: &File, path: &Path) -> io::Result<Self> {
        let identity = identity(&file.metadata()?);
        if let (Some(known), Some(identity)) = (&mut *files(), identity) {
            known.insert(identity, (Use::Output, path.to_owned()));
        }
        Ok(Self(identity))
    }

    /// The file has its name, and keeps it to the end of the run.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let (Some(known), Some(identity)) = (&mut *files(), self.0) {
            known.remove(&identity);
        }
    }
}

fn note(file: &File, path: &Path, new: Use) -> io::Result<()> {
    let mut files = files();
    let (Some(known), Some(identity)) = (&mut *files, identity(&file.metadata()?)) else { return Ok(()) };
    let conflict = |what: &str| Err(io::Error::other(what.to_owned()));
    match known.get(&identity) {
        Some((Use::StandardOutput, _)) => conflict("standard output is the same file"),
        Some((Use::Changed, _)) if new == Use::Read => conflict("this run changes the same file"),
        Some((Use::Read, _)) if new == Use::Changed => {
            conflict("this run reads the same file for another purpose and does not change it")
        }
        // An output that is done can be read.
        Some(_) => Ok(()),
        None => {
            known.insert(identity, (new, path.to_owned()));
            Ok(())
        }
    }
}

/// Refuses to replace a file that the run uses. With `update` one that it has only read may be: its new contents come
/// from the old ones.
pub(crate) fn check_replaced(target: &Path, metadata: &Metadata, update: bool) -> Result<()> {
    let files = files();
    let (Some(known), Some(identity)) = (&*files, identity(metadata)) else { return Ok(()) };
    let Some((used, path)) = known.get(&identity) else { return Ok(()) };
    let (target, path) = (target.display(), path.display());
    Err(Error::Refused(match used {
        Use::Read | Use::Output if update => return Ok(()),
        Use::Read | Use::Changed => {
            format!("{target} was not replaced: the output and the input {path} cannot be the same file")
        }
        Use::Output => format!("{target} was not replaced: it is already an output of this run"),
        Use::StandardOutput => format!("{target} was not replaced: standard output goes to it"),
    }))
}
