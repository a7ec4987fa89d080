//! The question to a bhyve machine where its memory is, as `machine/vmm_dev.h` declares it.

use crate::ioccom::iowr;
use core::ffi::c_int;

/// Memory of a machine: the argument of `VM_MMAP_GETNEXT`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct vm_memmap {
    /// In: where to search from. Out: the first physical address, as the machine has them.
    pub gpa: u64,
    /// Out: the number of the memory segment.
    pub segid: c_int,
    /// Out: the offset in the segment.
    pub segoff: i64,
    /// Out: bytes.
    pub len: usize,
    /// Out: what the machine may do there, [`VM_PROT_READ`] and others.
    pub prot: c_int,
    /// Out: whether it is wired, and known to the IOMMU.
    pub flags: c_int,
}

/// It may be read (`vm/vm.h`).
pub const VM_PROT_READ: c_int = 1;

/// Finds the memory that begins at an address or, if none does, at the next one; `ENOENT` if there is no more.
pub const VM_MMAP_GETNEXT: u32 = iowr::<vm_memmap>(b'v', 17);
