//! LiME, version 1: for each range of memory a header of 32 bytes, then its bytes.
//!
//! The header, all little-endian: u32 magic, u32 version, u64 first address, u64 last address (inclusive),
//! u64 zero. It is the format of the Linux Memory Extractor, which its own document specifies and Volatility
//! and others read.

use std::fmt;
use zerocopy::little_endian::U64;
use zerocopy::transmute;

/// `EMiL` in the file.
const MAGIC: u32 = 0x4c69_4d45;
const VERSION: u32 = 1;
/// Bytes of the header before each range.
pub const HEADER_LENGTH: usize = 32;

/// Whether the first bytes are a LiME image's.
pub fn is_lime(head: &[u8]) -> bool {
    head.starts_with(&MAGIC.to_le_bytes())
}

/// The header of a range: its first address, and the first one after it.
pub fn encode_header(start: u64, end: u64) -> [u8; HEADER_LENGTH] {
    let mut header = [0; HEADER_LENGTH];
    let words = [u64::from(VERSION) << 32 | u64::from(MAGIC), start, end.saturating_sub(1)];
    let (slots, _) = header.as_chunks_mut();
    for (slot, word) in slots.iter_mut().zip(words) {
        *slot = word.to_le_bytes();
    }
    header
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// Magic and version are others: both, as one integer.
    Magic(u64),
    /// The last address comes before the first one, or is the last of the address space.
    Range {
        /// The first address.
        start: u64,
        /// The last one.
        last: u64,
    },
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(head) => write!(f, "its magic and version are {head:#x}"),
            Self::Range { start, last } => write!(f, "invalid range {start:#x} to {last:#x}"),
        }
    }
}

/// The range that a header is of: its first address, and the first one after it.
///
/// # Errors
///
/// It is not a header, or its range is none.
pub fn decode_header(header: &[u8; HEADER_LENGTH]) -> Result<(u64, u64), HeaderError> {
    let words: [U64; 4] = transmute!(*header);
    let [head, start, last, _] = words.map(U64::get);
    if head != u64::from(VERSION) << 32 | u64::from(MAGIC) {
        return Err(HeaderError::Magic(head));
    }
    match last.checked_add(1) {
        Some(end) if start <= last => Ok((start, end)),
        _ => Err(HeaderError::Range { start, last }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_is_laid_out_as_its_specification_says() {
        let header = encode_header(0x1000, 0x1_2345_6000);
        assert_eq!(header[..8], *b"EMiL\x01\0\0\0");
        assert_eq!(header[8..16], 0x1000_u64.to_le_bytes());
        assert_eq!(header[16..24], 0x1_2345_5fff_u64.to_le_bytes());
        assert_eq!(header[24..], [0; 8]);
        assert!(is_lime(&header) && !is_lime(&header[..3]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(start in any::<u64>(), length in 1..u64::MAX) {
            let end = start.saturating_add(length).max(1);
            prop_assume!(start < end);
            prop_assert_eq!(decode_header(&encode_header(start, end)), Ok((start, end)));
        }
    }

    #[test]
    fn what_is_no_header_is_told() {
        let mut header = encode_header(0x1000, 0x2000);
        header[4] = 2;
        assert_eq!(decode_header(&header), Err(HeaderError::Magic(0x2_4c69_4d45)));
        for (start, last) in [(0x2000_u64, 0x1000_u64), (0, u64::MAX)] {
            let mut header = encode_header(0, 1);
            header[8..16].copy_from_slice(&start.to_le_bytes());
            header[16..24].copy_from_slice(&last.to_le_bytes());
            assert_eq!(decode_header(&header), Err(HeaderError::Range { start, last }));
        }
    }
}
