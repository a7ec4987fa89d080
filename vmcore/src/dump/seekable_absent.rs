//! What this build cannot decompress has no frames.

use super::byte_source::ByteSource;
use super::frames::{Frames, NoTable};
use std::io;

/// See the module of this name in builds with Zstandard.
#[expect(clippy::unnecessary_wraps, reason = "as in the other builds")]
pub(super) fn open(_: &ByteSource, _: (u64, u64)) -> io::Result<Result<(ByteSource, Frames), NoTable>> {
    Ok(Err(NoTable::Absent))
}
