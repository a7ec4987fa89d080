//! Bytes that are not read from one file of this system as they are in it.

use std::io;

/// Bytes that are read at any place, and are in no file of this system.
pub trait ReadAt: Send + Sync {
    /// Fills a buffer from so many bytes behind the beginning on, as far as it will with one request, and tells how far.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize>;
}
