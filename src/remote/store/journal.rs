//! The file from which an upload that was interrupted goes on: lines of JSON, the first of which says which upload it is,
//! and each other one which part the store has, with the SHA-256 of its bytes.
//!
//! A part is left out of the next attempt only if its bytes are the same then. So nothing depends on a dump becoming the
//! same bytes twice: what does not is sent again. A last line that was cut off is one part that is sent again.

use crate::error::{Error, Result};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The version of the file's format.
const VERSION: u32 = 1;
/// No line is longer.
const MAX_LINE: u64 = 64 << 10;

/// Which upload it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// The version of this format.
    memtool_upload: u32,
    /// Where the dump goes.
    pub address: String,
    /// The store's own name for the upload.
    pub upload: String,
    /// What the object will say of itself, so that it is recognised.
    pub tag: String,
    /// Bytes of each part.
    pub part_size: u64,
}

/// A part that the store has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    /// Its place, from 0.
    part: usize,
    /// SHA-256 of its bytes.
    sha256: String,
    /// The store's name for it.
    id: String,
}

/// The file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Flock<File>,
    parts: BTreeMap<usize, Part>,
}

impl Journal {
    /// Opens the file, or creates it; tells which upload it is on, if there is one.
    ///
    /// # Errors
    ///
    /// It cannot be opened, is a symbolic link, is another memtool's, or is no such file, or for another dump.
    pub fn open(path: &Path, address: &str) -> Result<(Self, Option<Begun>)> {
        let failed = |source| Error::io("open", path, source);
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(flags).open(path);
        let file = file.map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(Error::Refused(format!("{} is not a regular file", path.display())));
        }
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, _)| Error::Refused(format!("{}: another memtool is sending that dump", path.display())))?;
        let (begun, parts, end) = read(&file, path)?;
        // What was cut off is no beginning of the next line.
        file.set_len(end).map_err(|source| Error::io("write", path, source))?;
        if let Some(begun) = &begun
            && begun.address != address
        {
            return Err(Error::Refused(format!(
                "{} is of an upload to {}, not to {address}",
                path.display(),
                begun.address
            )));
        }
        Ok((Self { path: path.to_owned(), file, parts }, begun))
    }

    /// Says which upload it is, in a file that is empty.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn begin(&mut self, address: &str, upload: &str, tag: &str, part_size: u64) -> Result<()> {
        let begun = Begun {
            memtool_upload: VERSION,
            address: address.to_owned(),
            upload: upload.to_owned(),
            tag: tag.to_owned(),
            part_size,
        };
        self.file.set_len(0).map_err(|source| self.failed(source))?;
        self.append(&begun)?;
        self.file.sync_all().map_err(|source| self.failed(source))
    }

    /// The store's name for a part that it has, if its bytes were these.
    pub fn part(&self, part: usize, sha256: &str) -> Option<&str> {
        self.parts.get(&part).filter(|known| known.sha256 == sha256).map(|known| known.id.as_str())
    }

    /// Says that the store has a part.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn add(&mut self, part: usize, sha256: String, id: &str) -> Result<()> {
        let part = Part { part, sha256, id: id.to_owned() };
        self.append(&part)?;
        self.parts.insert(part.part, part);
        Ok(())
    }

    /// Removes the file: nothing goes on from it.
    pub fn remove(self) {
        // If it stays, the next attempt finds the object and says that it is there.
        let _ = std::fs::remove_file(&self.path);
    }

    fn append(&self, line: &impl Serialize) -> Result<()> {
        let written = serde_json::to_vec(line).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            // One write, so that a line is there or is cut off at the end.
            (&*self.file).write_all(&line)
        });
        written.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::io("write", &self.path, source)
    }
}

/// What is in the file, and where its last whole line ends.
fn read(file: &File, path: &Path) -> Result<(Option<Begun>, BTreeMap<usize, Part>, u64)> {
    let failed = |source| Error::io("read", path, source);
    let not_one = || Error::Format(format!("{} is not the state of an upload that memtool began", path.display()));
    let mut reader = BufReader::new(file);
    let Some(first) = line(&mut reader).map_err(failed)? else { return Ok((None, BTreeMap::new(), 0)) };
    let begun: Begun = serde_json::from_slice(&first).map_err(|_| not_one())?;
    if begun.memtool_upload != VERSION || begun.part_size == 0 {
        return Err(not_one());
    }
    let mut end = first.len() as u64;
    let mut parts = BTreeMap::new();
    while let Some(line) = line(&mut reader).map_err(failed)? {
        let part: Part = serde_json::from_slice(&line).map_err(|_| not_one())?;
        if part.part >= super::parts::MAX_PARTS {
            return Err(not_one());
        }
        parts.insert(part.part, part);
        end = end.saturating_add(line.len() as u64);
    }
    Ok((Some(begun), parts, end))
}

/// The next whole line. One that was cut off is none.
fn line(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    io::Read::take(reader, MAX_LINE).read_until(b'\n', &mut line)?;
    Ok((line.last() == Some(&b'\n')).then_some(line))
}
