//! Files and devices that are read: opened without waiting, known as in use, and never a mem(4) device by mistake.

#[cfg(target_os = "freebsd")]
use crate::disk;
use crate::error::{Error, Result};
use crate::files_in_use;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
#[cfg(target_os = "freebsd")]
use std::fs::Metadata;
use std::fs::{File, OpenOptions};
use std::io;
#[cfg(target_os = "freebsd")]
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use vmcore::dump::byte_source::ByteSource;
use vmcore::opened::Open;
use vmcore::symbols::Table;

/// Opens a file for reading, without waiting: a FIFO must not hang us before it is recognised as one. Reading
/// waits as usual, for what another program still writes into a pipe. What is opened here no output of the run replaces.
pub fn open_nonblocking(path: &Path) -> io::Result<File> {
    // It is no file to be read from its beginning, which panics some kernels: see `direct_map`.
    if is_mem_device(path) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    open_device_nonblocking(path)
}

/// As [`open_nonblocking`], with an error that names the file.
///
/// # Errors
///
/// It cannot be opened.
pub fn open(path: &Path) -> Result<File> {
    open_nonblocking(path).map_err(|source| Error::io("open", path, source))
}

/// As [`open_nonblocking`], also for a mem(4) device.
pub(crate) fn open_device_nonblocking(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    files_in_use::read(&file, path)?;
    // Not on devices, some of which refuse it.
    if file.metadata()?.file_type().is_fifo() {
        let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
        fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    }
    Ok(file)
}

/// Opens a file or device that holds a dump.
///
/// # Errors
///
/// It cannot be opened, or has no length: a pipe or /dev/mem, say.
pub fn open_dump(path: &Path) -> Result<ByteSource> {
    byte_source(path, open(path)?, open_nonblocking)
}

/// Opens a dump device, or a file that stands for one: whatever its name, no `info.N` beside it tells of its length.
///
/// # Errors
///
/// Those of [`open_dump`].
pub fn open_dump_device(path: &Path) -> Result<ByteSource> {
    byte_source(path, open(path)?, no_info)
}

/// As [`open_dump_device`], also for [`ByteSource::replace`].
///
/// # Errors
///
/// Those of [`open_dump`].
pub fn open_dump_to_replace(path: &Path) -> Result<ByteSource> {
    let fail = |source| Error::io("open for writing", path, source);
    let writer = open_to_change(path, libc::O_NONBLOCK).map_err(fail)?;
    let again = writer.try_clone().map_err(fail)?;
    Ok(byte_source(path, again, no_info)?.with_writer(writer))
}

/// Opens a file for reading and writing.
///
/// # Errors
///
/// Those of [`open_dump`]; or it is a device, or a symbolic link.
pub fn open_dump_for_writing(path: &Path) -> Result<ByteSource> {
    let fail = |source| Error::io("open", path, source);
    let writer = open_to_change(path, libc::O_NONBLOCK | libc::O_NOFOLLOW).map_err(fail)?;
    if !writer.metadata().map_err(fail)?.is_file() {
        return Err(Error::Refused(format!(
            "{} is not a regular file, and only regular files are written to",
            path.display()
        )));
    }
    let again = writer.try_clone().map_err(fail)?;
    Ok(byte_source(path, again, open_nonblocking)?.with_writer(writer))
}

/// Reads the symbols of a kernel.
///
/// # Errors
///
/// Those of [`Table::open`].
pub fn open_kernel(path: &Path) -> Result<Table> {
    Ok(Table::from_opened(path, open(path)?, 0)?)
}

fn open_to_change(path: &Path, flags: i32) -> io::Result<File> {
    let writer = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    files_in_use::changed(&writer, path)?;
    Ok(writer)
}

/// Says that there is no `info.N`.
fn no_info(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::NotFound.into())
}

fn byte_source(path: &Path, file: File, open_info: Open) -> Result<ByteSource> {
    #[cfg(target_os = "freebsd")]
    if let Some(geometry) = disk::geometry(&file) {
        return Ok(ByteSource::from_disk(file, geometry.length, geometry.sector_size));
    }
    Ok(ByteSource::from_opened(path, file, open_info)?)
}

/// The mem(4) devices.
#[cfg(target_os = "freebsd")]
const MEM_DEVICES: [&str; 2] = ["/dev/mem", "/dev/kmem"];

/// Whether a path names a mem(4) device of the system that memtool runs on; other devices, and files, are read
/// as images of memory.
pub fn is_mem_device(path: &Path) -> bool {
    #[cfg(target_os = "freebsd")]
    return MEM_DEVICES
        .map(Path::new)
        .into_iter()
        .any(|device| path == device || same_device(path.metadata(), device.metadata()));
    #[cfg(not(target_os = "freebsd"))]
    {
        let _ = path;
        false
    }
}

/// Whether both are there and are the same device.
#[cfg(target_os = "freebsd")]
pub fn same_device(a: io::Result<Metadata>, b: io::Result<Metadata>) -> bool {
    matches!((a, b), (Ok(a), Ok(b)) if a.rdev() == b.rdev())
}
