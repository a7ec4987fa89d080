//! Files that are open: read and written at an offset, on every system that Rust's standard library knows.

use crate::bounds::head;
use std::fs::{File, FileType, Metadata};
use std::io::{self, Read};
use std::path::Path;
#[cfg(any(unix, windows))]
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(any(unix, windows))]
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a file is opened for reading; [`open_plainly`] does it with nothing besides.
pub type Open = fn(&Path) -> io::Result<File>;

/// Opens a file or device for reading. A FIFO is not opened: that would wait for another program.
///
/// # Errors
///
/// Those of open(2); it is a FIFO.
pub fn open_plainly(path: &Path) -> io::Result<File> {
    if is_fifo(path.metadata()?.file_type()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a FIFO"));
    }
    File::open(path)
}

/// Opens a file for reading and writing. A symbolic link is not followed, and a device not opened.
///
/// # Errors
///
/// Those of open(2); it is no file.
pub fn open_for_writing(path: &Path) -> io::Result<File> {
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a file, and only files are written to");
    let named = path.symlink_metadata()?;
    if !named.is_file() {
        return Err(refused());
    }
    let file = File::options().read(true).write(true).open(path)?;
    // A link can have been put there since.
    if is_same(&named, &file.metadata()?) { Ok(file) } else { Err(refused()) }
}

/// Whether both are of one file, as far as the system tells.
#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, other: &Metadata) -> bool {
    other.is_file()
}

/// The directory that a file of that name is in.
pub fn directory_of(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(unix)]
fn is_fifo(kind: FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&kind)
}

#[cfg(not(unix))]
fn is_fifo(_: FileType) -> bool {
    false
}

/// Whether it is a device.
#[cfg(unix)]
pub(crate) fn is_device(kind: FileType) -> bool {
    use std::os::unix::fs::FileTypeExt;
    kind.is_char_device() || kind.is_block_device()
}

#[cfg(not(unix))]
pub(crate) fn is_device(_: FileType) -> bool {
    false
}

/// Reads at an offset, as pread(2).
#[cfg(unix)]
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(not(any(unix, windows)))]
pub(crate) fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes at an offset, as pwrite(2).
#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, offset)
}

#[cfg(not(any(unix, windows)))]
fn write_at(_: &File, _: &[u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Fills the buffer from an offset on.
pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest @ [_, ..]) = buffer.get_mut(done..) {
        match read_at(file, rest, offset.saturating_add(done as u64)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Bytes that are written to a file at once. Linux's file systems look for memory in one piece for all of a write, which
/// takes several times as long for half a MiB as for this much.
pub const WRITE_SIZE: usize = 256 << 10;

/// Writes all bytes from an offset on, [`WRITE_SIZE`] at once.
///
/// # Errors
///
/// Those of pwrite(2).
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest @ [_, ..]) = bytes.get(done..) {
        match write_at(file, head(rest, WRITE_SIZE), offset.saturating_add(done as u64)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a file to its end; `None` if it has more than `limit` bytes.
pub fn read_at_most(file: File, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= limit))
}

/// Where files without a name are made, for what does not fit into memory.
#[derive(Debug, Clone, Copy)]
pub struct Scratch<'a> {
    /// The directory.
    pub directory: &'a Path,
    /// Makes a file in it that is gone with its last descriptor.
    pub create: fn(&Path) -> io::Result<File>,
    /// Bytes that a dump may take there at most.
    pub limit: u64,
}

impl<'a> Scratch<'a> {
    /// A directory in which files are made with nothing but the standard library.
    pub fn new(directory: &'a Path) -> Self {
        Self { directory, create: create_unnamed, limit: u64::MAX }
    }
}

#[cfg(any(unix, windows))]
/// Files that were made in this process, so that each has a name of its own while it has one.
static MADE: AtomicU64 = AtomicU64::new(0);

#[cfg(any(unix, windows))]
fn create_unnamed(directory: &Path) -> io::Result<File> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let name = format!(".vmcore-{}-{number}-{:x}", std::process::id(), since_1970.as_nanos());
    let path = directory.join(name);
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    }
    #[cfg(windows)]
    {
        /// `FILE_FLAG_DELETE_ON_CLOSE`.
        const DELETE_ON_CLOSE: u32 = 0x0400_0000;
        std::os::windows::fs::OpenOptionsExt::custom_flags(&mut options, DELETE_ON_CLOSE);
        options.open(&path)
    }
}

#[cfg(not(any(unix, windows)))]
fn create_unnamed(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    #[cfg(unix)]
    #[test]
    fn no_link_is_written_through_and_no_other_file_taken_for_the_one_named() {
        let directory = tempfile::tempdir().unwrap();
        let [file, other, link] = ["file", "other", "link"].map(|name| directory.path().join(name));
        std::fs::write(&file, "").unwrap();
        std::fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for refused in [&link, &directory.path().to_owned()] {
            assert_eq!(open_for_writing(refused).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        let opened = open_for_writing(&file).unwrap().metadata().unwrap();
        assert!(is_same(&file.symlink_metadata().unwrap(), &opened));
        assert!(!is_same(&other.symlink_metadata().unwrap(), &opened));
    }

    #[test]
    fn a_file_for_what_does_not_fit_into_memory_has_no_name() {
        let directory = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(directory.path());
        let files = [(scratch.create)(scratch.directory).unwrap(), (scratch.create)(scratch.directory).unwrap()];
        for (file, bytes) in files.iter().zip([b"one", b"two"]) {
            write_all_at(file, bytes, 0).unwrap();
        }
        for (file, bytes) in files.iter().zip([b"one", b"two"]) {
            let mut found = [0; 3];
            read_exact_at(file, &mut found, 0).unwrap();
            assert_eq!(&found, bytes);
        }
        #[cfg(unix)]
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
    }
}
