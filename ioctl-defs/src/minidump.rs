//! The header in the first page of a minidump, as `machine/minidump.h` of each architecture declares it.
//!
//! Integers are in the dump's own byte order, which is little-endian but on powerpc64.

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

    /// `mmuformat`: a kernel that did not say; its entries are as with [`MINIDUMP_MMU_FORMAT_V6`].
    pub const MINIDUMP_MMU_FORMAT_UNKNOWN: u32 = 0;
    /// `mmuformat`: page tables of ARMv4 and ARMv5.
    pub const MINIDUMP_MMU_FORMAT_V4: u32 = 1;
    /// `mmuformat`: short descriptors of ARMv6 and ARMv7.
    pub const MINIDUMP_MMU_FORMAT_V6: u32 = 2;
    /// `mmuformat`: long descriptors (LPAE).
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
        /// Bytes of the second-level page table entries.
        pub ptesize: U32,
        /// Lowest address of the kernel map.
        pub kernbase: U32,
        /// `__ARM_ARCH` of the kernel.
        pub arch: U32,
        /// One of the `MINIDUMP_MMU_FORMAT_*` constants.
        pub mmuformat: U32,
        /// Bytes of the `dump_avail` array, whose addresses have 4 bytes here.
        pub dumpavailsize: U32,
    }
}

/// powerpc64, `sys/powerpc/include/minidump.h`. Big-endian; the kernels for powerpc64le write the same header
/// in little-endian, and with the same magic.
pub mod powerpc64 {
    use zerocopy::byteorder::big_endian::{I32, U32, U64};
    use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

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
        /// The kind of page tables, `mmu_g5`, `mmu_phyp` or `mmu_radix`, and NULs.
        pub mmu_name: [u8; 32],
        /// [`MINIDUMP_VERSION`].
        pub version: U32,
        /// Bytes of the message buffer.
        pub msgbufsize: U32,
        /// Bytes of the page bitmap.
        pub bitmapsize: U32,
        /// Bytes of the page tables.
        pub pmapsize: U32,
        /// Lowest address of the kernel map.
        pub kernbase: U64,
        /// End of the kernel map.
        pub kernend: U64,
        /// First address of the direct map.
        pub dmapbase: U64,
        /// End of the direct map.
        pub dmapend: U64,
        /// Not 0: the processor does the direct map without page tables.
        pub hw_direct_map: I32,
        /// Padding of the C struct.
        pub padding: [u8; 4],
        /// First address of the kernel's image.
        pub startkernel: U64,
        /// End of the kernel's image, exclusive.
        pub endkernel: U64,
        /// Bytes of the `dump_avail` array.
        pub dumpavailsize: U32,
    }
}
