//! What the kernel tells of a disk or a partition.

use ioctl_defs::disk::{DIOCGMEDIASIZE, DIOCGSECTORSIZE, off_t};
use nix::errno::Errno;
use std::ffi::c_uint;
use std::fs::File;
use std::os::fd::AsRawFd;

mod raw {
    use super::*;

    // The codes come from the same crate as the argument types, and carry their sizes.
    nix::ioctl_read_bad!(sector_size, DIOCGSECTORSIZE, c_uint);
    nix::ioctl_read_bad!(media_size, DIOCGMEDIASIZE, off_t);
}

/// How large a disk or partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes in all.
    pub length: u64,
    /// Bytes of a sector.
    pub sector_size: u32,
}

/// Asks for the geometry; `None` of a device that is no disk.
pub fn geometry(device: &File) -> Option<Geometry> {
    let (mut sector_size, mut length): (c_uint, off_t) = (0, 0);
    // SAFETY: the kernel writes one integer, which is borrowed throughout.
    let asked: Result<_, Errno> = unsafe { raw::sector_size(device.as_raw_fd(), &mut sector_size) };
    asked.ok()?;
    // SAFETY: likewise.
    let asked: Result<_, Errno> = unsafe { raw::media_size(device.as_raw_fd(), &mut length) };
    asked.ok()?;
    Some(Geometry { length: u64::try_from(length).ok()?, sector_size })
}
