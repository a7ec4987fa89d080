//! The header in the first page of a minidump, as `machine/minidump.h` of each architecture declares it.
//!
//! Integers are in the dump's own byte order, which is little-endian on all four of these.

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
