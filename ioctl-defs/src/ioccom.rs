//! FreeBSD's encoding of ioctl request codes (`sys/ioccom.h`).
//!
//! Bits 31 to 29 tell the direction, bits 28 to 16 the argument's size, bits 15 to 8 the group and bits
//! 7 to 0 the number within the group.

/// The argument is copied out of the kernel.
const IOC_OUT: u32 = 0x4000_0000;
/// The argument is copied into the kernel.
const IOC_IN: u32 = 0x8000_0000;
/// The size field has 13 bits.
const SIZE_MASK: u32 = (1 << 13) - 1;

/// A request code; the type of the argument gives the size. A size that the field cannot hold does not
/// compile.
const fn ioc<T>(direction: u32, group: u8, number: u8) -> u32 {
    assert!(size_of::<T>() <= SIZE_MASK as usize);
    #[expect(clippy::cast_possible_truncation, reason = "checked in the line above")]
    let size = size_of::<T>() as u32;
    direction | (size << 16) | ((group as u32) << 8) | number as u32
}

/// `_IOR(group, number, T)`: the kernel writes a `T`.
pub const fn ior<T>(group: u8, number: u8) -> u32 {
    ioc::<T>(IOC_OUT, group, number)
}

/// `_IOW(group, number, T)`: the kernel reads a `T`.
pub const fn iow<T>(group: u8, number: u8) -> u32 {
    ioc::<T>(IOC_IN, group, number)
}

/// `_IOWR(group, number, T)`: the kernel reads a `T` and writes it back.
pub const fn iowr<T>(group: u8, number: u8) -> u32 {
    ioc::<T>(IOC_IN | IOC_OUT, group, number)
}
