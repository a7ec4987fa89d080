//! What is known of a dump that is compressed in frames which can be read alone.

use serde::Serialize;

/// The frames of a dump: see [`super::inspect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Frames {
    /// How many there are.
    #[serde(rename = "frame_count")]
    pub count: u32,
    /// Bytes of the largest one before it was compressed.
    #[serde(rename = "largest_frame_bytes")]
    pub largest: u64,
}

/// Why what is compressed is not read by its frames.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "zstd"), expect(dead_code, reason = "without Zstandard no table is looked for"))]
pub(super) enum NoTable {
    /// No table tells of them.
    Absent,
    /// It does not fit the file.
    Damaged(String),
    /// They are too large to be read for a page of them: so many bytes.
    LargeFrames(u64),
}
