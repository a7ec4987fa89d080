//! Questions to a disk or a partition, as `sys/disk.h` declares them.

use crate::ioccom::ior;
use core::ffi::c_uint;

/// `off_t`: 8 bytes on every architecture.
#[allow(non_camel_case_types, reason = "the name in C")]
pub type off_t = i64;

/// Tells the bytes in a sector.
pub const DIOCGSECTORSIZE: u32 = ior::<c_uint>(b'd', 128);
/// Tells the bytes of the whole.
pub const DIOCGMEDIASIZE: u32 = ior::<off_t>(b'd', 129);
