//! /dev/mem and /dev/kmem: the ioctls of mem(4), each as one safe method.
//!
//! The ioctls work on a descriptor opened read-only; only what writes to memory opens it for writing.

use crate::error::{Error, Result};
use crate::files::{open_device_nonblocking, same_device};
use crate::kernel_error::errno_of;
use crate::kernel_error::{KernelError, Operation};
use ioctl_defs::memrange::{
    MEM_EXTRACT_PADDR, MEM_KERNELDUMP, MEMRANGE_GET, MEMRANGE_SET, mem_extract, mem_livedump_arg, mem_range_desc,
    mem_range_op,
};
use nix::errno::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

mod raw {
    use super::*;

    // The codes come from the same crate as the argument types, and carry their sizes.
    nix::ioctl_readwrite_bad!(memrange_get, MEMRANGE_GET, mem_range_op);
    nix::ioctl_write_ptr_bad!(memrange_set, MEMRANGE_SET, mem_range_op);
    nix::ioctl_readwrite_bad!(mem_extract_paddr, MEM_EXTRACT_PADDR, mem_extract);
    nix::ioctl_write_ptr_bad!(mem_kerneldump, MEM_KERNELDUMP, mem_livedump_arg);
}

/// An open mem(4) device.
pub struct Device(File);

impl Device {
    /// Opens a device for reading.
    pub fn open(path: &Path) -> Result<Self> {
        Self::from_opened(path, open_device_nonblocking(path))
    }

    /// Opens a device for reading and writing.
    pub fn open_for_writing(path: &Path) -> Result<Self> {
        Self::from_opened(path, OpenOptions::new().read(true).write(true).open(path))
    }

    fn from_opened(path: &Path, opened: io::Result<File>) -> Result<Self> {
        let fail = |error: io::Error| KernelError::new(Operation::OpenDevice, path.display(), errno_of(&error));
        let file = opened.map_err(fail)?;
        if !file.metadata().map_err(fail)?.file_type().is_char_device() {
            return Err(Error::Refused(format!("{} is not a device", path.display())));
        }
        Ok(Self(file))
    }

    /// Whether it is the same device as another one, whatever their paths.
    pub fn is_same(&self, other: &Path) -> bool {
        same_device(self.0.metadata(), other.metadata())
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// `MEMRANGE_GET`: fills the descriptors and tells how many there are room and ranges for; without room
    /// how many ranges there are.
    pub fn get_ranges(&self, descriptors: &mut [mem_range_desc]) -> Result<usize, Errno> {
        let room = i32::try_from(descriptors.len()).map_err(|_| Errno::EINVAL)?;
        let mut request = mem_range_op { mo_desc: descriptors.as_mut_ptr(), mo_arg: [room, 0] };
        // SAFETY: the kernel writes at most mo_arg[0] descriptors to mo_desc, which is the length of the slice
        // that stays borrowed throughout; with 0 it does not touch mo_desc.
        unsafe { raw::memrange_get(self.0.as_raw_fd(), &mut request) }?;
        let [count, _] = request.mo_arg;
        usize::try_from(count).map_err(|_| Errno::EINVAL)
    }

    /// `MEMRANGE_SET` with one of the `MEMRANGE_SET_*` operations.
    pub fn set_range(&self, operation: i32, mut descriptor: mem_range_desc) -> Result<(), Errno> {
        let request = mem_range_op { mo_desc: &mut descriptor, mo_arg: [operation, 0] };
        // SAFETY: the kernel reads one descriptor from mo_desc, which lives until the call is over.
        unsafe { raw::memrange_set(self.0.as_raw_fd(), &request) }.map(drop)
    }

    /// `MEM_EXTRACT_PADDR`.
    pub fn extract_paddr(&self, extract: &mut mem_extract) -> Result<(), Errno> {
        // SAFETY: the kernel reads and writes one mem_extract, which is borrowed throughout; the address in
        // it is only looked up, not accessed.
        unsafe { raw::mem_extract_paddr(self.0.as_raw_fd(), extract) }.map(drop)
    }

    /// `MEM_KERNELDUMP`.
    pub fn kernel_dump(&self, argument: mem_livedump_arg) -> Result<(), Errno> {
        // SAFETY: the kernel reads one mem_livedump_arg, which lives until the call is over, and writes to
        // the file behind its descriptor only.
        unsafe { raw::mem_kerneldump(self.0.as_raw_fd(), &argument) }.map(drop)
    }
}
