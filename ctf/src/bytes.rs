//! Numbers in a container, in its order of bytes.

use std::ops::Range;

/// The order of bytes in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endianness {
    /// The lowest first.
    Little,
    /// The highest first.
    Big,
}

impl Endianness {
    pub(crate) const fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    pub(crate) const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }
}

/// Reads numbers one after another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    data: &'a [u8],
    order: Endianness,
    /// What took 2 bytes until version 2 and takes 4 since.
    is_old: bool,
    /// How far it has come.
    offset: usize,
    /// Where it has to stop.
    end: usize,
}

impl<'a> Cursor<'a> {
    /// Over part of the data.
    pub(crate) fn new(data: &'a [u8], range: Range<usize>, order: Endianness, is_old: bool) -> Self {
        Self { data, order, is_old, offset: range.start, end: range.end }
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn is_old(&self) -> bool {
        self.is_old
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.offset >= self.end
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let next = self.offset.checked_add(N).filter(|next| *next <= self.end)?;
        let bytes = *self.data.get(self.offset..next)?.first_chunk()?;
        self.offset = next;
        Some(bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take().map(|bytes| self.order.u16(bytes))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(|bytes| self.order.u32(bytes))
    }

    /// Of 2 bytes until version 2, of 4 since.
    pub(crate) fn word(&mut self) -> Option<u32> {
        if self.is_old { self.u16().map(u32::from) } else { self.u32() }
    }

    /// The high half, and then the low one.
    pub(crate) fn u64_of_halves(&mut self) -> Option<u64> {
        let high = self.u32()?;
        Some(u64::from(high) << 32 | u64::from(self.u32()?))
    }

    /// Goes over so many items of so many bytes, if they are there: where they begin.
    pub(crate) fn skip(&mut self, count: u32, size: usize) -> Option<usize> {
        let start = self.offset;
        let end = usize::try_from(count).ok()?.checked_mul(size)?.checked_add(start)?;
        self.offset = end;
        (end <= self.end).then_some(start)
    }
}
