//! Compressing, and writing at the same time.
//!
//! An [`Encoder`] uses all processors, within a fixed amount of memory whatever their number; what it makes of
//! Zstandard can be read at any place. [`overlapped`] gives it a thread that writes, so that a slow disk or network does
//! not hold it up.

mod encoder;
mod frames;
mod overlapped;
#[cfg(test)]
mod tests;

pub use encoder::Encoder;
pub use overlapped::{Overlapped, overlapped};

use std::str::FromStr;
use vmcore::kerneldump;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What a stream is compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Nothing.
    #[default]
    None,
    /// gzip, at its default level and on one processor.
    Gzip,
    /// Zstandard in its seekable format, with checksums, on all processors.
    Zstd(Level),
}

impl Compression {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd(_) => "zstd",
        }
    }
}

impl Compression {
    /// What a kernel dump is compressed with, by zstd at this level.
    pub fn at_level(compression: kerneldump::Compression, level: Level) -> Self {
        match compression {
            kerneldump::Compression::None => Self::None,
            kerneldump::Compression::Gzip => Self::Gzip,
            kerneldump::Compression::Zstd => Self::Zstd(level),
        }
    }
}

impl From<kerneldump::Compression> for Compression {
    /// The kernel's default levels would cost more than they gain here, so zstd gets its own.
    fn from(compression: kerneldump::Compression) -> Self {
        Self::at_level(compression, Level::default())
    }
}

/// A level of Zstandard: more is slower and smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

/// A level that [`Level`] does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a zstd level is a number from {} to {}", Level::MIN, Level::MAX)]
pub struct LevelError;

impl Level {
    /// The fastest.
    pub const MIN: u8 = 1;
    /// The smallest; what zstd(1) has beyond it takes more memory to decompress.
    pub const MAX: u8 = 19;

    /// Checks a level.
    ///
    /// # Errors
    ///
    /// It is not in `MIN..=MAX`.
    pub const fn new(level: u8) -> Result<Self, LevelError> {
        if level < Self::MIN || level > Self::MAX { Err(LevelError) } else { Ok(Self(level)) }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl Default for Level {
    /// zstd's own: 3.
    fn default() -> Self {
        Self(3)
    }
}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        // What `parse` takes besides, such as +3, is no level.
        let level = text.parse().map_err(|_| LevelError).and_then(Self::new)?;
        if level.0.to_string() == text { Ok(level) } else { Err(LevelError) }
    }
}
