//! What long work tells while it goes on: the library prints nothing.

use crate::error::{Error, Result};
use std::path::Path;
use std::sync::Arc;
use vmcore::progress::Progress;

/// A part of long work, as a person calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Memory or a dump is copied as it is.
    Copying,
    /// The same, and it is compressed on the way.
    Compressing,
    /// The same, and it goes to another host.
    Sending,
    /// The same, and it is encrypted on the way.
    Encrypting,
    /// What is compressed is decompressed.
    Decompressing,
    /// What is encrypted is decrypted.
    Decrypting,
    /// A dump is looked at from its beginning to its end.
    Reading,
    /// A dump in a pipe is copied to where it can be read at any place.
    ReadingStandardInput,
    /// The page tables of a kernel are followed.
    ReadingPageTables,
    /// What was written, or was there, is checked.
    Verifying,
}

impl Phase {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Copying => "copying",
            Self::Compressing => "compressing",
            Self::Sending => "sending",
            Self::Encrypting => "encrypting",
            Self::Decompressing => "decompressing",
            Self::Decrypting => "decrypting",
            Self::Reading => "reading the dump",
            Self::ReadingStandardInput => "reading standard input",
            Self::ReadingPageTables => "reading page tables",
            Self::Verifying => "verifying",
        }
    }
}

/// Long work that begins.
#[derive(Debug, Clone, Copy)]
pub enum Work<'a> {
    /// Bytes are read or written.
    Bytes {
        /// What is done with them.
        phase: Phase,
        /// How far it is.
        progress: &'a Arc<Progress>,
        /// What that comes to in the end, where it is known.
        total: Option<u64>,
        /// Whether the output goes to standard error meanwhile.
        uses_standard_error: bool,
    },
    /// The kernel writes a dump, and does not say how far it is; then memtool checks it
    /// ([`crate::livedump::kernel_dumps`] tells which of the two).
    KernelDump {
        /// The directory that it writes into.
        directory: &'a Path,
        /// Bytes that the dump takes at most, where that can be told.
        limit: Option<u64>,
    },
}

/// Follows long work. By default nothing is done with what is told.
#[allow(unused_variables, reason = "the names of what is told")]
pub trait Observer {
    /// A warning: the outcome may not be what was wanted. One sentence, without a full stop.
    fn warn(&mut self, warning: &str) {}

    /// A remark: what is good to know.
    fn remark(&mut self, remark: &str) {}

    /// A remark for those who want to know more.
    fn detail(&mut self, remark: &str) {}

    /// Work begins. At most one goes on at a time.
    ///
    /// # Errors
    ///
    /// It cannot be shown, and then it is not done.
    fn begin(&mut self, work: Work<'_>) -> Result<()> {
        Ok(())
    }

    /// The work that began is over, done or failed.
    fn end(&mut self) {}
}

/// Nobody follows.
impl Observer for () {}

/// Does work that an observer follows.
pub(crate) fn observed<T>(observer: &mut dyn Observer, work: Work<'_>, run: impl FnOnce() -> Result<T>) -> Result<T> {
    observer.begin(work)?;
    let result = run();
    observer.end();
    result
}

/// Does work on that many bytes, or on bytes whose number is not known, which an observer follows.
///
/// # Errors
///
/// Those of the work; it cannot be shown.
pub fn observe_bytes<T, E: Into<Error>>(
    observer: &mut dyn Observer,
    phase: Phase,
    total: impl Into<Option<u64>>,
    run: impl FnOnce(&Progress) -> Result<T, E>,
) -> Result<T> {
    let progress = Arc::new(Progress::default());
    let work = Work::Bytes { phase, progress: &progress, total: total.into(), uses_standard_error: false };
    observed(observer, work, || run(&progress).map_err(Into::into))
}
