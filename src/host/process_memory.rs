//! Memory of this process, mapped so that its pages can be looked up.
//!
//! Pages are brought in through a pipe: the kernel reads or writes one byte of the page and answers EFAULT
//! where an access of our own would end in a signal, as when the file has become shorter meanwhile.

use super::{Backing, Mapping};
use crate::files::open_device_nonblocking;
use crate::kernel_error::errno_of;
use crate::kernel_error::{KernelError, Operation};
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mlock, mmap, mmap_anonymous, munmap};
use nix::unistd::{SysconfVar, sysconf};
use std::ffi::c_void;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use vmcore::units::Hex;

/// Bytes in a page of this system.
pub fn page_size() -> Result<u64, Errno> {
    let size = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|size| u64::try_from(size).ok());
    size.filter(|size| size.is_power_of_two()).ok_or(Errno::EINVAL)
}

/// A mapping made with mmap(2), gone when dropped.
pub struct ProcessMapping {
    address: NonNull<c_void>,
    length: NonZeroUsize,
    writable: bool,
    pipe: (PipeReader, PipeWriter),
    name: String,
}

impl ProcessMapping {
    /// Maps a file shared and read-only, or fresh memory private and writable.
    pub fn new(backing: &Backing) -> Result<Self, KernelError> {
        let name = match backing {
            Backing::File { path, .. } => path.display().to_string(),
            Backing::Anonymous { length } => format!("{length} bytes of memory"),
        };
        let fail = |errno| KernelError::new(Operation::Map, &name, errno);
        let (Backing::File { length, .. } | Backing::Anonymous { length }) = backing;
        let length = length
            .checked_next_multiple_of(page_size().map_err(fail)?)
            .and_then(|length| usize::try_from(length).ok())
            .ok_or_else(|| fail(Errno::ENOMEM))?;
        let length = NonZeroUsize::new(length).ok_or_else(|| fail(Errno::EINVAL))?;
        let pipe = std::io::pipe().map_err(|error| fail(errno_of(&error)))?;
        let address = match backing {
            Backing::File { path, offset, .. } => {
                let file = open_device_nonblocking(path).map_err(|error| fail(errno_of(&error)))?;
                let offset = libc::off_t::try_from(*offset).map_err(|_| fail(Errno::EOVERFLOW))?;
                // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours; it is
                // unmapped once, in drop, and never accessed through a reference.
                unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &file, offset) }
            }
            Backing::Anonymous { .. } => {
                let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
                // SAFETY: as above.
                unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_PRIVATE) }
            }
        }
        .map_err(fail)?;
        let writable = matches!(backing, Backing::Anonymous { .. });
        Ok(Self { address, length, writable, pipe, name })
    }

    /// Has the kernel read a byte of the page, or write one.
    fn fault_in(&mut self, page: NonNull<c_void>) -> std::io::Result<()> {
        let (reader, writer) = &mut self.pipe;
        if self.writable {
            writer.write_all(&[0])?;
            // SAFETY: the page lies within the mapping, which is alive, is writable and has no references to
            // it; the kernel checks the address and answers EFAULT where it cannot write.
            let read = unsafe { libc::read(reader.as_raw_fd(), page.as_ptr(), 1) };
            Errno::result(read)?;
        } else {
            // SAFETY: the page lies within the mapping, which is alive; the kernel checks the address and
            // answers EFAULT where it cannot read.
            let written = unsafe { libc::write(writer.as_raw_fd(), page.as_ptr(), 1) };
            Errno::result(written)?;
            reader.read_exact(&mut [0])?;
        }
        Ok(())
    }
}

impl Mapping for ProcessMapping {
    fn address(&self) -> u64 {
        self.address.addr().get() as u64
    }

    fn length(&self) -> u64 {
        self.length.get() as u64
    }

    fn touch(&mut self, address: u64) -> Result<(), KernelError> {
        let fail = |errno| KernelError::new(Operation::Touch, Hex(address), errno);
        let offset = address.checked_sub(self.address()).and_then(|offset| usize::try_from(offset).ok());
        let offset = offset.filter(|offset| *offset < self.length.get()).ok_or_else(|| fail(Errno::EFAULT))?;
        // SAFETY: the offset was just checked to lie within the mapping.
        let page = unsafe { self.address.byte_add(offset) };
        self.fault_in(page).map_err(|error| fail(errno_of(&error)))
    }

    fn lock(&mut self) -> Result<(), KernelError> {
        // SAFETY: the range is a mapping of ours and stays mapped while it is locked.
        unsafe { mlock(self.address, self.length.get()) }
            .map_err(|errno| KernelError::new(Operation::Lock, &self.name, errno))
    }
}

impl Drop for ProcessMapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new` and is unmapped only here; nothing refers to it any more.
        // The only failure is an invalid range, which this is not.
        let _ = unsafe { munmap(self.address, self.length.get()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_memory_can_be_touched_page_by_page_and_nowhere_else() {
        let mut mapping = ProcessMapping::new(&Backing::Anonymous { length: 10_000 }).unwrap();
        assert_eq!(mapping.length(), 12_288);
        for page in 0..3 {
            mapping.touch(mapping.address() + page * 4096).unwrap();
        }
        for outside in [mapping.address() - 1, mapping.address() + 12_288, 0, u64::MAX] {
            assert_eq!(mapping.touch(outside).unwrap_err().errno, Errno::EFAULT);
        }
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error_and_not_a_signal() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8192).unwrap();
        let backing = Backing::File { path: file.path().to_owned(), offset: 0, length: 8192 };
        let mut mapping = ProcessMapping::new(&backing).unwrap();
        mapping.touch(mapping.address()).unwrap();
        file.as_file().set_len(4096).unwrap();
        assert_eq!(mapping.touch(mapping.address() + 4096).unwrap_err().errno, Errno::EFAULT);
    }

    #[test]
    fn impossible_mappings_are_refused() {
        for length in [u64::MAX, u64::MAX - 4095, 1 << 62] {
            let error = ProcessMapping::new(&Backing::Anonymous { length }).err().unwrap();
            assert_eq!(error.errno, Errno::ENOMEM, "{length}");
        }
        let backing = Backing::File { path: "/dev/null".into(), offset: 0, length: 4096 };
        assert!(ProcessMapping::new(&backing).is_err());
    }
}
