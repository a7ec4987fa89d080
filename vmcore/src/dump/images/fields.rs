//! Integers at places of a buffer.

use crate::architecture::Endianness;

/// A buffer with integers of one byte order.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub bytes: &'a [u8],
    pub order: Endianness,
}

impl<'a> Fields<'a> {
    pub const fn little(bytes: &'a [u8]) -> Self {
        Self { bytes, order: Endianness::Little }
    }

    pub const fn big(bytes: &'a [u8]) -> Self {
        Self { bytes, order: Endianness::Big }
    }

    pub fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }

    pub fn u16(&self, at: usize) -> Option<u16> {
        let bytes = self.array(at)?;
        Some(match self.order {
            Endianness::Little => u16::from_le_bytes(bytes),
            Endianness::Big => u16::from_be_bytes(bytes),
        })
    }

    pub fn u32(&self, at: usize) -> Option<u32> {
        Some(self.order.u32(self.array(at)?))
    }

    pub fn u64(&self, at: usize) -> Option<u64> {
        Some(self.order.u64(self.array(at)?))
    }
}
