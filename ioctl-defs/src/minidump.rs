//! The header in the first page of a minidump, as `machine/minidump.h` of each architecture declares it.
//!
//! Integers are in the dump's own byte order, which is little-endian but for powerpc64.

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// amd64, `sys/amd64/include/minidump.h`.
pub mod amd64 {
    use super::*;

    /// `magic`.
    pub const MINIDUMP_MAGIC: &[u8] = b"minidump FreeBSD/amd64";
    /// `version`.
    pub const MINIDUMP_VERSION: u32 = 3;

    /// The header of version 3.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
    pub struct minidumphdr {
        /// [`MINIDUMP_MAGIC`] and NULs.
        pub magic: [u8; 24],
        /// [`MINIDUMP_VERSION`].
        pub version: U32,
        /// Bytes of the message buffer.
        pub msgbufsize: U32,
        /// Bytes of the page bitmap.
        pub bitmapsize: U32,
        /// Bytes of the page directory pages.
        pub pmapsize: U32,
        /// Lowest address of the kernel map.
        pub kernbase: U64,
        /// First address of the direct map.
        pub dmapbase: U64,
        /// End of the direct map, exclusive.
        pub dmapend: U64,
        /// Bytes of the `dump_avail` array.
        pub dumpavailsize: U32,
    }
}

/// arm64, `sys/arm64/include/minidump.h`.
pub mod arm64 {
    use super::*;

    /// `magic`.
    pub const MINIDUMP_MAGIC: &[u8] = b"minidump FreeBSD/arm64";
    /// `version`.
    pub const MINIDUMP_VERSION: u32 = 3;

    /// The header of version 3.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
    pub struct minidumphdr {
        /// [`MINIDUMP_MAGIC`] and NULs.
        pub magic: [u8; 24],
        /// [`MINIDUMP_VERSION`].
        pub version: U32,
        /// Bytes of the message buffer.
        pub msgbufsize: U32,
        /// Bytes of the page bitmap.
        pub bitmapsize: U32,
        /// Bytes of the last-level page table entries.
        pub pmapsize: U32,
        /// Lowest address of the kernel map.
        pub kernbase: U64,
        /// Physical address of the direct map's first byte.
        pub dmapphys: U64,
        /// First address of the direct map.
        pub dmapbase: U64,
        /// End of the direct map, exclusive.
        pub dmapend: U64,
        /// Bytes of the `dump_avail` array.
        pub dumpavailsize: U32,
        /// Bits 0 and 1: page size (0: 4 KiB, 1: 16 KiB).
        pub flags: U32,
    }
}

/// riscv, `sys/riscv/include/minidump.h`.
pub mod riscv {
    use super::*;

    /// `magic`.
    pub const MINIDUMP_MAGIC: &[u8] = b"minidump FreeBSD/riscv";
    /// `version`.
    pub const MINIDUMP_VERSION: u32 = 2;

    /// The header of version 2.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
    pub struct minidumphdr {
        /// [`MINIDUMP_MAGIC`] and NULs.
        pub magic: [u8; 24],
        /// [`MINIDUMP_VERSION`].
        pub version: U32,
        /// Bytes of the message buffer.
        pub msgbufsize: U32,
        /// Bytes of the page bitmap.
        pub bitmapsize: U32,
        /// Bytes of the last-level page table entries.
        pub pmapsize: U32,
        /// Lowest address of the kernel map.
        pub kernbase: U64,
        /// Physical address of the direct map's first byte.
        pub dmapphys: U64,
        /// First address of the direct map.
        pub dmapbase: U64,
        /// End of the direct map, exclusive.
        pub dmapend: U64,
        /// Bytes of the `dump_avail` array.
        pub dumpavailsize: U32,
    }
}

/// i386, `sys/i386/include/minidump.h`.
pub mod i386 {
    use super::*;

    /// `magic`.
    pub const MINIDUMP_MAGIC: &[u8] = b"minidump FreeBSD/i386";
    /// `version`.
    pub const MINIDUMP_VERSION: u32 = 2;

    /// The header of version 2.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
    pub struct minidumphdr {
        /// [`MINIDUMP_MAGIC`] and NULs.
        pub magic: [u8; 24],
        /// [`MINIDUMP_VERSION`].
        pub version: U32,
        /// Bytes of the message buffer.
        pub msgbufsize: U32,
        /// Bytes of the page bitmap.
        pub bitmapsize: U32,
        /// Bytes of the page table entries.
        pub ptesize: U32,
        /// Lowest address of the kernel map.
        pub kernbase: U32,
        /// 1: entries are 8 bytes (PAE), 0: they are 4.
        pub paemode: U32,
        /// Bytes of the `dump_avail` array.
        pub dumpavailsize: U32,
    }
}

/// arm, `sys/arm/include/minidump.h`.
pub mod arm {
    use super::*;

    /// `magic`.
    pub const MINIDUMP_MAGIC: &[u8] = b"minidump FreeBSD/arm";
    /// `version`.
    pub const MINIDUMP_VERSION: u32 = 2;
    /// `mmuformat`: entries of ARMv4 and v5.
    pub const MINIDUMP_MMU_FORMAT_V4: u32 = 1;
    /// `mmuformat`: short entries of ARMv6 and v7.
    pub const MINIDUMP_MMU_FORMAT_V6: u32 = 2;
    /// `mmuformat`: long entries of ARMv7.
    pub const MINIDUMP_MMU_FORMAT_V6_LPAE: u32 = 3;

    /// The header of version 2.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
    pub struct minidumphdr {
        /// [`MINIDUMP_MAGIC`] and NULs.
        pub magic: [u8; 24],
        /// [`MINIDUMP_VERSION`].
        pub version: U32,
        /// Bytes of the message buffer.
        pub msgbufsize: U32,
        /// Bytes of the page bitmap.
        pub bitmapsize: U32,
        /// Bytes of the page table entries.
        pub ptesize: U32,
        /// Lowest address of the kernel map.
        pub kernbase: U32,
        /// `__ARM_ARCH` of the kernel.
        pub arch: U32,
        /// One of the `MINIDUMP_MMU_FORMAT_*` constants.
        pub mmuformat: U32,
        /// Bytes of the `dump_avail` array.
        pub dumpavailsize: U32,
    }
}

/// powerpc64, `sys/powerpc/include/minidump.h`; big-endian, and little-endian on powerpc64le.
pub mod powerpc64 {
    use super::*;
    use zerocopy::byteorder::big_endian::{U32 as Int, U64 as Long};

    /// `magic`.
    pub const MINIDUMP_MAGIC: &[u8] = b"minidump FreeBSD/powerpc64";
    /// `version`.
    pub const MINIDUMP_VERSION: u32 = 2;

    /// The header of version 2.
    #[repr(C)]
    #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
    pub struct minidumphdr {
        /// [`MINIDUMP_MAGIC`] and NULs.
        pub magic: [u8; 32],
        /// Name of the MMU's driver, such as `mmu_radix`, and NULs.
        pub mmu_name: [u8; 32],
        /// [`MINIDUMP_VERSION`].
        pub version: Int,
        /// Bytes of the message buffer.
        pub msgbufsize: Int,
        /// Bytes of the page bitmap.
        pub bitmapsize: Int,
        /// Bytes of the MMU's tables.
        pub pmapsize: Int,
        /// Lowest address of the kernel map.
        pub kernbase: Long,
        /// End of the kernel map.
        pub kernend: Long,
        /// First address of the direct map.
        pub dmapbase: Long,
        /// End of the direct map, exclusive.
        pub dmapend: Long,
        /// Not 0: the direct map needs no tables.
        pub hw_direct_map: Int,
        /// Padding.
        pub pad: [u8; 4],
        /// First address of the kernel image.
        pub startkernel: Long,
        /// End of the kernel image.
        pub endkernel: Long,
        /// Bytes of the `dump_avail` array.
        pub dumpavailsize: Int,
    }
}
