//! How far a long piece of work is.

use std::sync::atomic::{AtomicU64, Ordering};

/// How far a dump is; another thread may look at it.
#[derive(Debug, Default)]
pub struct Progress(AtomicU64);

impl Progress {
    /// Counts so many bytes more.
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of memory that are done with, read or not.
    pub fn done(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
