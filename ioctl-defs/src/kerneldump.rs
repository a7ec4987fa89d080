//! The header of kernel dumps, and the key of encrypted ones, as `sys/kerneldump.h` declares them: integers
//! are big-endian on every machine, and the header has 512 bytes.

use zerocopy::byteorder::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `compression`: none.
pub const KERNELDUMP_COMP_NONE: u8 = 0;
/// `compression`: gzip.
pub const KERNELDUMP_COMP_GZIP: u8 = 1;
/// `compression`: zstd.
pub const KERNELDUMP_COMP_ZSTD: u8 = 2;

/// `kdk_encryption`: AES-256-CBC.
pub const KERNELDUMP_ENC_AES_256_CBC: u8 = 1;
/// `kdk_encryption`: ChaCha20, which FreeBSD 12.1 does not have yet.
pub const KERNELDUMP_ENC_CHACHA20: u8 = 2;

/// Bytes of `kdk_iv`.
pub const KERNELDUMP_IV_MAX_SIZE: usize = 32;
/// Bytes of the key of a dump, before it is encrypted.
pub const KERNELDUMP_KEY_MAX_SIZE: usize = 64;
/// Bytes of an encrypted key at most.
pub const KERNELDUMP_ENCKEY_MAX_SIZE: u32 = 16384 / 8;

/// `magic` of a kernel dump.
pub const KERNELDUMPMAGIC: &[u8] = b"FreeBSD Kernel Dump";
/// `magic` of a text dump.
pub const TEXTDUMPMAGIC: &[u8] = b"FreeBSD Text Dump";
/// `magic` of a dump that was saved already.
pub const KERNELDUMPMAGIC_CLEARED: &[u8] = b"Cleared Kernel Dump";
/// `version` since FreeBSD 12.
pub const KERNELDUMPVERSION: u32 = 4;

/// `architectureversion` of amd64.
pub const KERNELDUMP_AMD64_VERSION: u32 = 2;
/// `architectureversion` of arm64.
pub const KERNELDUMP_AARCH64_VERSION: u32 = 1;
/// `architectureversion` of arm.
pub const KERNELDUMP_ARM_VERSION: u32 = 1;
/// `architectureversion` of i386.
pub const KERNELDUMP_I386_VERSION: u32 = 2;
/// `architectureversion` of powerpc and powerpc64.
pub const KERNELDUMP_POWERPC_VERSION: u32 = 1;
/// `architectureversion` of riscv.
pub const KERNELDUMP_RISCV_VERSION: u32 = 1;

/// Stands before and after a dump on a dump device, and after the data of a live dump.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct kerneldumpheader {
    /// [`KERNELDUMPMAGIC`] and NULs.
    pub magic: [u8; 20],
    /// `MACHINE_ARCH` and NULs.
    pub architecture: [u8; 12],
    /// [`KERNELDUMPVERSION`].
    pub version: U32,
    /// One of the `KERNELDUMP_*_VERSION` constants.
    pub architectureversion: U32,
    /// Bytes of data, without headers; compressed: the compressed length.
    pub dumplength: U64,
    /// Seconds since the epoch.
    pub dumptime: U64,
    /// Not 0: the dump is encrypted, and this is the size of its key.
    pub dumpkeysize: U32,
    /// Bytes in a block of the device.
    pub blocksize: U32,
    /// NUL-terminated.
    pub hostname: [u8; 64],
    /// The kernel's version, NUL-terminated.
    pub versionstring: [u8; 192],
    /// NUL-terminated; empty in a live dump.
    pub panicstring: [u8; 175],
    /// One of the `KERNELDUMP_COMP_*` constants.
    pub compression: u8,
    /// Bytes the data takes on the device, padding included.
    pub dumpextent: U64,
    /// Reserved.
    pub unused: [u8; 4],
    /// Makes the exclusive or of all 128 words zero.
    pub parity: U32,
}

/// Stands before the data of an encrypted dump; the encrypted key (`kdk_encryptedkey`) and zeros up to a whole block
/// follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct kerneldumpkey {
    /// One of the `KERNELDUMP_ENC_*` constants.
    pub kdk_encryption: u8,
    /// The initialisation vector; a cipher that needs less takes its first bytes.
    pub kdk_iv: [u8; KERNELDUMP_IV_MAX_SIZE],
    /// Bytes of the encrypted key.
    pub kdk_encryptedkeysize: U32,
}
