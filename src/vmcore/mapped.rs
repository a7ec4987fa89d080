//! A file mapped into memory: reading a few bytes takes no system call.
//!
//! mmap(2) has no errors to give back later: a file that others cut off while it is mapped, or a disk that cannot be
//! read, ends the program with SIGBUS.

use crate::host::Memory;
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

/// A file's bytes, mapped for reading; gone when dropped.
pub struct Mapped {
    address: NonNull<c_void>,
    length: NonZeroUsize,
}

// SAFETY: the mapping belongs to nobody else, is never written to, and is read one atomic byte at a time.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps so many bytes of a file, which is not empty.
    ///
    /// # Errors
    ///
    /// Those of mmap(2).
    pub fn new(file: &File, length: u64) -> io::Result<Self> {
        let length = usize::try_from(length).ok().and_then(NonZeroUsize::new).ok_or(Errno::EINVAL)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours; it is unmapped once,
        // in drop, and never referred to.
        let address = unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Self { address, length })
    }
}

impl Memory for Mapped {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let at = usize::try_from(address).unwrap_or(usize::MAX).min(self.length.get());
        let length = buffer.len().min(self.length.get() - at);
        for (offset, to) in (at..at + length).zip(buffer) {
            // SAFETY: the byte lies within the mapping, which is there as long as `self`. Other programs may write to
            // the file meanwhile, and so it is read as an atomic one; to load one byte needs no right to write to it.
            *to = unsafe { AtomicU8::from_ptr(self.address.as_ptr().cast::<u8>().add(offset)) }.load(Ordering::Relaxed);
        }
        Ok(length)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new` and is unmapped only here; nothing refers to it any more. The only
        // failure is an invalid range, which this is not.
        let _ = unsafe { munmap(self.address, self.length.get()) };
    }
}
