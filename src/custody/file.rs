//! The file of a custody log: read line by line, and locked while it is read or added to. Nothing is followed through a
//! link.

use super::chain::{Chain, Line, ReadEntry};
use super::entry::MAX_LINE;
use crate::error::{Error, Result};
use crate::files::open_regular;
use crate::files_in_use;
use crate::observer::Observer;
use crate::output_file::OutputFile;
use crate::signature::VerifyingKey;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// So often a log is opened anew because another file is in its place by then.
const ATTEMPTS: usize = 16;

/// What a log is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be read; others can read it at the same time.
    Read,
    /// To be added to.
    Append,
}

/// A log that is open, and locked.
#[derive(Debug)]
pub struct LogFile {
    file: Flock<File>,
    path: PathBuf,
}

impl LogFile {
    /// Opens a log, and waits until nobody else adds to it; `None` if there is none.
    ///
    /// # Errors
    ///
    /// It cannot be opened or locked, or is no regular file.
    pub fn open(path: &Path, purpose: Purpose, observer: &mut dyn Observer) -> Result<Option<Self>> {
        let failed = |source| Error::io("open", path, source);
        for _ in 0..ATTEMPTS {
            let mut options = OpenOptions::new();
            let options = options.read(true).append(purpose == Purpose::Append);
            let file = match open_regular(path, options) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened.map_err(failed)?,
            };
            files_in_use::read(&file, path).map_err(failed)?;
            let file = lock(file, path, purpose, observer)?;
            // While this waited, another file may have been put in its place.
            let named = path.symlink_metadata().map_err(failed)?;
            let opened = file.metadata().map_err(failed)?;
            if (named.dev(), named.ino()) == (opened.dev(), opened.ino()) {
                return Ok(Some(Self { file, path: path.to_owned() }));
            }
        }
        Err(Error::Refused(format!("{}: other programs put another file in its place", path.display())))
    }

    /// Reads and checks all lines, and hands out every entry.
    ///
    /// # Errors
    ///
    /// It cannot be read; or those of `each`.
    pub fn read(&self, keys: &[VerifyingKey], each: &mut dyn FnMut(&ReadEntry<'_>) -> Result<()>) -> Result<Chain> {
        let failed = |source| Error::io("read", &self.path, source);
        let mut file: &File = &self.file;
        file.rewind().map_err(failed)?;
        let mut lines = BufReader::with_capacity(MAX_LINE, file);
        let mut chain = Chain::default();
        let mut line = Vec::new();
        while !chain.is_over() {
            line.clear();
            let read = (&mut lines).take(MAX_LINE as u64).read_until(b'\n', &mut line).map_err(failed)?;
            let next = match line.last() {
                None => break,
                Some(b'\n') => Line::Whole(&line),
                Some(_) if read < MAX_LINE => Line::Torn(read as u64),
                Some(_) => {
                    lines.skip_until(b'\n').map_err(failed)?;
                    Line::TooLong
                }
            };
            chain.take(next, keys, &mut *each)?;
        }
        Ok(chain)
    }

    /// Adds a line in one write(2), and puts it on disk. If there is no room for all of it, the log is as it was.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn append(&self, line: &str) -> Result<()> {
        let failed = |source| Error::io("write", &self.path, source);
        let mut file: &File = &self.file;
        let before = file.metadata().map_err(failed)?.len();
        let written = file
            .write(line.as_bytes())
            .and_then(|written| if written == line.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) });
        if let Err(error) = written {
            // If that fails as well, the line is found to be not whole.
            let _ = file.set_len(before).and_then(|()| file.sync_all());
            return Err(failed(error));
        }
        file.sync_all().map_err(|source| Error::io("write to disk:", &self.path, source))
    }
}

/// Writes a log's first line into a file that appears with it.
///
/// # Errors
///
/// There is such a file by now; or it cannot be written.
pub fn create(path: &Path, line: &str) -> Result<()> {
    let output = OutputFile::create(path, false)?;
    output.file().write_all(line.as_bytes()).map_err(|source| Error::io("write", path, source))?;
    output.commit()
}

fn lock(file: File, path: &Path, purpose: Purpose, observer: &mut dyn Observer) -> Result<Flock<File>> {
    let (now, wait) = match purpose {
        Purpose::Read => (FlockArg::LockSharedNonblock, FlockArg::LockShared),
        Purpose::Append => (FlockArg::LockExclusiveNonblock, FlockArg::LockExclusive),
    };
    let failed = |errno: Errno| Error::io("lock", path, errno.into());
    let mut file = match Flock::lock(file, now) {
        Ok(locked) => return Ok(locked),
        Err((file, Errno::EWOULDBLOCK)) => file,
        Err((_, errno)) => return Err(failed(errno)),
    };
    observer.remark(&format!("waiting for another program that uses {}", path.display()));
    loop {
        file = match Flock::lock(file, wait) {
            Ok(locked) => return Ok(locked),
            Err((file, Errno::EINTR)) => file,
            Err((_, errno)) => return Err(failed(errno)),
        };
    }
}
