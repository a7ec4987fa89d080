//! Files and devices that are read: opened without waiting, known as in use, and never a mem(4) device by mistake.

use crate::files_in_use;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
#[cfg(target_os = "freebsd")]
use std::fs::Metadata;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
#[cfg(target_os = "freebsd")]
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens a file for reading, without waiting: a FIFO must not hang us before it is recognised as one. Reading
/// waits as usual, for what another program still writes into a pipe. What is opened here no output of the run replaces.
pub(crate) fn open_nonblocking(path: &Path) -> io::Result<File> {
    // It is no file to be read from its beginning, which panics some kernels: see `direct_map`.
    if is_mem_device(path) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    open_device_nonblocking(path)
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

/// Reads a file to its end; `None` if it has more than `limit` bytes.
pub(crate) fn read_at_most(file: File, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= limit))
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
