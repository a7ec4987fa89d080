//! How a dump is cut into the parts of a multipart upload.
//!
//! A store takes at most 10,000 parts, of at least 5 MiB but for the last, and some want all of one size (Amazon S3 User
//! Guide, "Amazon S3 multipart upload limits"; Azure takes 50,000 blocks). How long a dump becomes is known before it is
//! written at most, not exactly: it may be compressed.

use vmcore::bounds::saturating_usize;

/// A store takes no more parts.
pub const MAX_PARTS: usize = 10_000;
/// Parts that a dump is cut into at most, by what it can come to. The others are for what was estimated too low.
const PLANNED_PARTS: u64 = 9_000;
/// The smallest parts: fewer and larger ones are faster, smaller ones take less memory.
const SMALLEST: u64 = 8 << 20;
/// Parts of a dump of which nobody knows what it can come to: enough for 625 GiB.
const UNKNOWN: u64 = 64 << 20;
/// Memory for parts that are on their way or being filled.
const MEMORY: u64 = 192 << 20;
/// Parts that are on their way at once, at most.
const MAX_CONCURRENT: u64 = 8;

/// Bytes of each part of a dump that comes to so many bytes at most; a whole number of MiB.
pub fn part_size(at_most: Option<u64>) -> u64 {
    const MIB: u64 = 1 << 20;
    at_most.map_or(UNKNOWN, |bytes| bytes.div_ceil(PLANNED_PARTS).div_ceil(MIB).saturating_mul(MIB).max(SMALLEST))
}

/// Parts that are on their way at once while the next is filled: as many as there is memory for, and one at least.
pub fn concurrent(part_size: u64) -> usize {
    let parts = (MEMORY / part_size.max(1)).saturating_sub(1).clamp(1, MAX_CONCURRENT);
    saturating_usize(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_dumps_have_small_parts() {
        assert_eq!((part_size(Some(0)), concurrent(part_size(Some(0)))), (8 << 20, 8));
        assert_eq!(part_size(Some(64 << 30)), 8 << 20);
        assert_eq!((part_size(None), concurrent(part_size(None))), (64 << 20, 2));
    }

    proptest! {
        #[test]
        fn everything_fits_into_the_parts_of_a_store(bytes in 0..u64::MAX / 2) {
            let size = part_size(Some(bytes));
            prop_assert!(bytes.div_ceil(size) <= PLANNED_PARTS);
            prop_assert!(size.is_multiple_of(1 << 20));
        }

        #[test]
        fn parts_of_a_dump_of_less_than_a_terabyte_take_192_mib(bytes in 0..800_u64 << 30) {
            let size = part_size(Some(bytes));
            prop_assert!((concurrent(size) as u64 + 1) * size <= MEMORY);
        }
    }
}
