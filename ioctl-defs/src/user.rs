//! `sys/user.h` and `sys/sysctl.h`: what `kern.proc.vmmap` and `kern.proc.vm_layout` tell of a process's memory.

use core::ffi::{c_char, c_int};

/// `CTL_KERN`: the first number of both names.
pub const CTL_KERN: c_int = 1;
/// `KERN_PROC`: the second.
pub const KERN_PROC: c_int = 14;
/// `KERN_PROC_ARGS`: the third of a process's arguments; the process's number follows.
pub const KERN_PROC_ARGS: c_int = 7;
/// `KERN_PROC_PATHNAME`: the third of the path of a process's program.
pub const KERN_PROC_PATHNAME: c_int = 12;
/// `KERN_PROC_VMMAP`: the third of a process's map entries.
pub const KERN_PROC_VMMAP: c_int = 32;
/// `KERN_PROC_VM_LAYOUT`: the third of the layout of a process's address space.
/// FreeBSD 12 does not know it.
pub const KERN_PROC_VM_LAYOUT: c_int = 45;

/// There is no object behind the entry.
pub const KVME_TYPE_NONE: c_int = 0;
/// Anonymous memory, in older kernels.
pub const KVME_TYPE_DEFAULT: c_int = 1;
/// A file.
pub const KVME_TYPE_VNODE: c_int = 2;
/// Anonymous memory, which can be swapped out.
pub const KVME_TYPE_SWAP: c_int = 3;
/// A device's memory.
pub const KVME_TYPE_DEVICE: c_int = 4;
/// Physical memory that is never paged.
pub const KVME_TYPE_PHYS: c_int = 5;
/// An object whose file or device is gone.
pub const KVME_TYPE_DEAD: c_int = 6;
/// A scatter/gather list of physical memory.
pub const KVME_TYPE_SG: c_int = 7;
/// A device's memory, page by page.
pub const KVME_TYPE_MGTDEVICE: c_int = 8;
/// Addresses that nothing may be mapped at. Older kernels have no word for them.
pub const KVME_TYPE_GUARD: c_int = 9;
/// Something else.
pub const KVME_TYPE_UNKNOWN: c_int = 255;

/// It can be read.
pub const KVME_PROT_READ: c_int = 0x1;
/// It can be written.
pub const KVME_PROT_WRITE: c_int = 0x2;
/// It can be executed.
pub const KVME_PROT_EXEC: c_int = 0x4;
/// It may be made readable; FreeBSD 12 sets none of the three.
pub const KVME_MAX_PROT_READ: c_int = 0x1_0000;
/// It may be made writable.
pub const KVME_MAX_PROT_WRITE: c_int = 0x2_0000;
/// It may be made executable.
pub const KVME_MAX_PROT_EXEC: c_int = 0x4_0000;

/// Copied on write.
pub const KVME_FLAG_COW: c_int = 0x1;
/// Not copied yet.
pub const KVME_FLAG_NEEDS_COPY: c_int = 0x2;
/// Left out of core dumps.
pub const KVME_FLAG_NOCOREDUMP: c_int = 0x4;
/// At least one superpage maps part of it.
pub const KVME_FLAG_SUPER: c_int = 0x8;
/// A stack that grows upward.
pub const KVME_FLAG_GROWS_UP: c_int = 0x10;
/// A stack that grows downward.
pub const KVME_FLAG_GROWS_DOWN: c_int = 0x20;
/// Locked by the process, as mlock(2) does.
pub const KVME_FLAG_USER_WIRED: c_int = 0x40;
/// Shared memory of shmget(2).
pub const KVME_FLAG_SYSVSHM: c_int = 0x80;
/// Shared memory of shm_open(2).
pub const KVME_FLAG_POSIXSHM: c_int = 0x100;

/// The kernel has asked the file system about the file.
pub const KF_ATTR_VALID: c_int = 0x1;

/// A record of `kern.proc.vmmap`: an entry of a process's map. The kernel sends [`Self::kve_structsize`] bytes of
/// it, which end behind the path's NUL, at a multiple of 8.
#[allow(non_camel_case_types, reason = "the header's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct kinfo_vmentry {
    /// Bytes of this record.
    pub kve_structsize: c_int,
    /// `KVME_TYPE_…`: what the last object of the entry's chain is.
    pub kve_type: c_int,
    /// First address.
    pub kve_start: u64,
    /// First address after the entry.
    pub kve_end: u64,
    /// Where in the object it begins, in bytes.
    pub kve_offset: u64,
    /// The file's number in its file system.
    pub kve_vn_fileid: u64,
    /// The file system's device, cut to 32 bits.
    pub kve_vn_fsid_freebsd11: u32,
    /// `KVME_FLAG_…`.
    pub kve_flags: c_int,
    /// Pages in memory, whether this process has them mapped or not.
    pub kve_resident: c_int,
    /// Pages in memory of the first object, within the entry or not, if no other object is behind it.
    pub kve_private_resident: c_int,
    /// `KVME_PROT_…` and `KVME_MAX_PROT_…`.
    pub kve_protection: c_int,
    /// How many refer to the first object.
    pub kve_ref_count: c_int,
    /// How many objects have it behind them.
    pub kve_shadow_count: c_int,
    /// The file's kind.
    pub kve_vn_type: c_int,
    /// The file's length in bytes.
    pub kve_vn_size: u64,
    /// The device, if the file is one, cut to 32 bits.
    pub kve_vn_rdev_freebsd11: u32,
    /// The file's mode.
    pub kve_vn_mode: u16,
    /// [`KF_ATTR_VALID`] if what is told of the file is valid.
    pub kve_status: u16,
    /// A file: its file system's device. Anonymous memory, of newer kernels: what identifies the object.
    pub kve_type_spec: u64,
    /// The device, if the file is one.
    pub kve_vn_rdev: u64,
    /// Zero.
    pub _kve_ispare: [c_int; 8],
    /// The path of what is mapped, as far as the kernel knows it, and a NUL.
    pub kve_path: [c_char; 1024],
}

/// What `kern.proc.vm_layout` answers: where the parts of a process lie.
#[allow(non_camel_case_types, reason = "the header's name")]
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct kinfo_vm_layout {
    /// The lowest address that can be mapped.
    pub kvm_min_user_addr: usize,
    /// The first address after the highest one.
    pub kvm_max_user_addr: usize,
    /// The program's text.
    pub kvm_text_addr: usize,
    /// Pages of it.
    pub kvm_text_size: usize,
    /// The program's data; the heap of brk(2) grows at its end.
    pub kvm_data_addr: usize,
    /// Pages of both.
    pub kvm_data_size: usize,
    /// The lowest address that the main thread's stack may grow to.
    pub kvm_stack_addr: usize,
    /// Pages that it has grown to, from its other end.
    pub kvm_stack_size: usize,
    /// `KMAP_FLAG_…`.
    pub kvm_map_flags: c_int,
    /// The page that the kernel shares with programs: signal trampoline, time, vdso.
    pub kvm_shp_addr: usize,
    /// Bytes of it.
    pub kvm_shp_size: usize,
    /// Zero.
    pub kvm_spare: [usize; 12],
}
