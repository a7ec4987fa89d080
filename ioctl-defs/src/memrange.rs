//! The ioctls of mem(4), as `sys/memrange.h` declares them.
//!
//! Fields keep their C names. The padding is part of the layout, because the size of the argument is
//! part of the request code.

use crate::ioccom::{iow, iowr};

bitflags::bitflags! {
    /// Attributes and state of a memory range: `mr_flags` of [`mem_range_desc`], the `MDF_*` constants.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Mdf: u32 {
        /// The region is not cached.
        const UNCACHEABLE = 1 << 0;
        /// Writes may be combined or performed out of order.
        const WRITECOMBINE = 1 << 1;
        /// Writes go through the cache to memory at once.
        const WRITETHROUGH = 1 << 2;
        /// Writes stay in the cache until it is written back.
        const WRITEBACK = 1 << 3;
        /// The region cannot be written to.
        const WRITEPROTECT = 1 << 4;
        /// The processor reports a type that the kernel does not know.
        const UNKNOWN = 1 << 5;
        /// The base address cannot be changed.
        const FIXBASE = 1 << 24;
        /// The length cannot be changed.
        const FIXLEN = 1 << 25;
        /// Believed to have been set up by the firmware.
        const FIRMWARE = 1 << 26;
        /// In effect now.
        const ACTIVE = 1 << 27;
        /// The kernel believes the range to be invalid.
        const BOGUS = 1 << 28;
        /// Cannot be made inactive.
        const FIXACTIVE = 1 << 29;
        /// Owned by another process: may be neither removed nor updated.
        const BUSY = 1 << 30;
        /// In a request: change ranges of unknown type too. The sign bit of the C int.
        const FORCE = 1 << 31;
        // Bits without a name are kept as the kernel gave them.
        const _ = !0;
    }
}

impl Mdf {
    /// `MDF_ATTRMASK`: the bits that give the cache type.
    pub const ATTRMASK: Self = Self::from_bits_retain(0x00ff_ffff);

    /// The flags in a C `int`, as [`mem_range_desc`] carries them.
    pub const fn from_int(flags: i32) -> Self {
        Self::from_bits_retain(flags.cast_unsigned())
    }

    /// The flags as the C `int` of [`mem_range_desc`].
    pub const fn to_int(self) -> i32 {
        self.bits().cast_signed()
    }
}

/// One memory range: what `MEMRANGE_GET` returns and `MEMRANGE_SET` takes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct mem_range_desc {
    /// Physical base address, in bytes.
    pub mr_base: u64,
    /// Length in bytes.
    pub mr_len: u64,
    /// [`Mdf`] bits.
    pub mr_flags: i32,
    /// Who set the range: up to 7 bytes and a NUL.
    pub mr_owner: [u8; 8],
}

/// The argument of `MEMRANGE_GET` and `MEMRANGE_SET`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mem_range_op {
    /// GET: room for `mo_arg[0]` descriptors. SET: the one descriptor of the request.
    pub mo_desc: *mut mem_range_desc,
    /// GET: in, how many descriptors there is room for (0: only count); out, how many there are.
    /// SET: `MEMRANGE_SET_UPDATE` or `MEMRANGE_SET_REMOVE`. The second element is unused.
    pub mo_arg: [i32; 2],
}

/// `mo_arg[0]` of `MEMRANGE_SET`: update a range, or establish a new one.
pub const MEMRANGE_SET_UPDATE: i32 = 0;
/// `mo_arg[0]` of `MEMRANGE_SET`: remove a range.
pub const MEMRANGE_SET_REMOVE: i32 = 1;

/// Fetches memory range descriptors (FreeBSD 3.2).
pub const MEMRANGE_GET: u32 = iowr::<mem_range_op>(b'm', 50);
/// Updates or removes a memory range (FreeBSD 3.2).
pub const MEMRANGE_SET: u32 = iow::<mem_range_op>(b'm', 51);

/// `me_state`: no map entry covers the address.
pub const ME_STATE_INVALID: i32 = 0;
/// `me_state`: a map entry covers the address, but no page is mapped now.
pub const ME_STATE_VALID: i32 = 1;
/// `me_state`: a page is mapped; `me_paddr` and `me_domain` tell where.
pub const ME_STATE_MAPPED: i32 = 2;

/// The argument of `MEM_EXTRACT_PADDR`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct mem_extract {
    /// In: a virtual address of the calling process.
    pub me_vaddr: u64,
    /// Out: its physical address, page offset included, if mapped.
    pub me_paddr: u64,
    /// Out: the NUMA domain of the page, if mapped.
    pub me_domain: i32,
    /// Out: one of the `ME_STATE_*` constants.
    pub me_state: i32,
    /// Reserved.
    pub pad1: [u64; 5],
}

/// Looks up a virtual address of the calling process (FreeBSD 13.0).
pub const MEM_EXTRACT_PADDR: u32 = iowr::<mem_extract>(b'm', 52);

/// The argument of `MEM_KERNELDUMP`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct mem_livedump_arg {
    /// A regular file, open for writing.
    pub fd: i32,
    /// Must be 0.
    pub flags: i32,
    /// One of the `KERNELDUMP_COMP_*` constants.
    pub compression: u8,
    /// Reserved.
    pub pad1: [u8; 7],
    /// Reserved.
    pub pad2: [u64; 2],
}

/// Writes a minidump of the running kernel into a file (FreeBSD 14.0).
pub const MEM_KERNELDUMP: u32 = iow::<mem_livedump_arg>(b'm', 53);
