//! The memory of bhyve machines that run on this host: `/dev/vmm/NAME`, which is read by the machine's physical addresses
//! (`sys/dev/vmm/vmm_dev.c`; see [bhyve(8)](https://man.freebsd.org/bhyve/8)).

use crate::error::{Error, Result};
use ioctl_defs::vmm::{VM_MMAP_GETNEXT, VM_PROT_READ, vm_memmap};
use nix::errno::Errno;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use vmcore::architecture::Architecture;
use vmcore::dump::byte_source::{ByteSource, ReadAt};

mod raw {
    use super::*;

    // The code comes from the same crate as the argument type, and carries its size.
    nix::ioctl_readwrite_bad!(next_memory, VM_MMAP_GETNEXT, vm_memmap);
}

/// Where the devices of machines are.
const DEVICES: &str = "/dev/vmm";
/// Ranges of a machine at most: the kernel has 22 (`VM_MAX_MEMMAPS`).
const MAX_RANGES: usize = 1024;

/// A machine's processors are of the host's kind.
const ARCHITECTURE: Option<Architecture> = if cfg!(target_arch = "x86_64") {
    Some(Architecture::Amd64)
} else if cfg!(target_arch = "aarch64") {
    Some(Architecture::Arm64)
} else {
    None
};

/// Whether a path is that of a machine's device. Nothing else is asked for its memory: to another device the question
/// may mean something else.
pub fn is_machine(path: &Path) -> bool {
    fs::canonicalize(path).is_ok_and(|path| path.parent() == Some(Path::new(DEVICES)))
}

/// The memory of a machine whose device is open for reading.
///
/// # Errors
///
/// Those of the ioctl `VM_MMAP_GETNEXT`.
pub fn memory(path: &Path, device: File) -> Result<ByteSource> {
    let ranges = ranges(&device)
        .map_err(|source| Error::Io { what: format!("ask where the memory of {} is", path.display()), source })?;
    Ok(ByteSource::from_running(Box::new(Device(device)), ranges, ARCHITECTURE))
}

/// Where its memory is, as far as it may be read, with firmware and a framebuffer if it has them.
fn ranges(device: &File) -> io::Result<Vec<(u64, u64)>> {
    let mut ranges = Vec::new();
    let mut asked = vm_memmap::default();
    while ranges.len() < MAX_RANGES {
        // SAFETY: the kernel reads and writes one structure, which is borrowed throughout.
        match unsafe { raw::next_memory(device.as_raw_fd(), &mut asked) } {
            Ok(_) => {}
            Err(Errno::ENOENT) => break,
            Err(errno) => return Err(errno.into()),
        }
        let end = asked.gpa.saturating_add(asked.len as u64);
        if asked.prot & VM_PROT_READ != 0 {
            ranges.push((asked.gpa, end));
        }
        // The next one begins behind it.
        match asked.gpa.checked_add(1) {
            Some(next) => asked.gpa = next.max(end),
            None => break,
        }
    }
    Ok(ranges)
}

struct Device(File);

impl ReadAt for Device {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }
}
