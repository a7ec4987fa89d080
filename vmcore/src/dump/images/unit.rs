//! What is read or decompressed together.

use super::codec::Codec;

/// Bytes of a unit at most: chunks of snappy's frames have 64 KiB, pages of makedumpfile too.
pub(super) const MAX_UNIT: u64 = 1 << 16;
/// What a unit takes at most in the file: what does not get smaller is stored as it is, with a little around it.
pub(super) const MAX_STORED: u64 = 2 * MAX_UNIT;

/// Bytes that are read or decompressed together.
pub(super) struct Unit {
    /// Where they begin in the row.
    pub start: u64,
    /// How many there are in the row.
    pub size: u64,
    pub stored: Stored,
}

/// How they are stored.
pub(super) enum Stored {
    /// As zeros.
    Zeros,
    /// At this place of the file, as so many bytes.
    At(u64, u64, Codec),
}
