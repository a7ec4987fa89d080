//! How each level of Zstandard is run within a fixed amount of memory.

use super::Level;
use std::num::NonZeroUsize;

pub(super) const KIB: usize = 1 << 10;
pub(super) const MIB: usize = 1 << 20;

/// Bytes that zstd may take at most. It leaves room for the rest of a process of 256 MiB.
pub(super) const MEMORY: usize = 160 * MIB;

/// How one level is run.
pub(super) struct Tuning {
    /// Bytes of one worker's tables.
    pub(super) tables: usize,
    /// Bytes in which matches are looked for.
    pub(super) window: usize,
    /// Bytes before its own that a worker reads for matches: `window >> (9 - overlap)`.
    pub(super) overlap: u32,
    /// Logarithm of the chain table's length, where zstd's own does not leave room for two workers.
    pub(super) chain_log: Option<u32>,
}

impl Tuning {
    /// Of zstd 1.5.7; a test compares it with the linked library.
    pub(super) const fn from_level(level: Level) -> Self {
        let (tables, window_log, overlap) = match level.0 {
            1 => (569, 19, 6),
            2 => (761, 20, 6),
            3 => (1273, 21, 6),
            4 => (2553, 21, 6),
            5 | 6 => (3065, 21, 6),
            7 => (5625, 21, 6),
            8 => (5625, 21, 7),
            9 => (10_745, 22, 7),
            10 | 11 => (20_985, 22, 7),
            12 => (41_465, 22, 7),
            13 => (33_273, 22, 7),
            14 => (49_657, 22, 7),
            15 => (66_041, 22, 7),
            16 => (33_418, 22, 8),
            // zstd's own overlaps, 8 and 9, would ask for jobs too large for two workers.
            17 => (49_802, 23, 7),
            18 => (50_432, 23, 7),
            _ => (50_432, 23, 7),
        };
        // Half of zstd's own; the output grows by less than a thousandth.
        let chain_log = if level.0 == 19 { Some(23) } else { None };
        Self { tables: tables * KIB, window: 1 << window_log, overlap, chain_log }
    }

    pub(super) const fn prefix(&self) -> usize {
        self.window >> (9 - self.overlap)
    }
}

/// How many workers compress, and how much each at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// Threads; 0 to compress in the caller's.
    pub(super) workers: usize,
    /// Bytes of a job.
    pub(super) job: usize,
}

impl Plan {
    /// Bytes at most: each worker's tables, and for each job there may be its input and its output. zstd's
    /// ring of input has room for three jobs more than there are workers.
    pub(super) const fn memory(self, tuning: &Tuning) -> usize {
        self.workers * tuning.tables + (self.workers + 3) * 2 * self.job
    }

    /// As many workers as there are processors and memory allows, then jobs as large as it allows, up to
    /// zstd's own size: at their borders matches are lost.
    pub(super) fn new(level: Level, processors: NonZeroUsize) -> Self {
        let tuning = Tuning::from_level(level);
        let fits = |plan: &Self| plan.memory(&tuning) <= MEMORY;
        let smallest = MIB.max(2 * tuning.prefix());
        let largest = MIB.max(4 * tuning.window);
        // More would not get their input fast enough.
        let processors = processors.get().min(64);
        let workers = (2..=processors).rev().find(|workers| fits(&Self { workers: *workers, job: smallest }));
        // A single worker gains nothing: what it would overlap with is writing, and that has its own thread.
        let Some(workers) = workers else { return Self { workers: 0, job: 0 } };
        let jobs = std::iter::successors(Some(smallest), |job| Some(job * 2)).take_while(|job| *job <= largest);
        let job = jobs.filter(|job| fits(&Self { workers, job: *job })).last().unwrap_or(smallest);
        Self { workers, job }
    }
}
