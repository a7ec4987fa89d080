//! Whether a live dump that the kernel made has the pages that it marked.

use super::LiveKernel;
use crate::dump::pages::Pages;
use crate::error::Result;
use crate::minidump::PageSet;

/// A check of the kernel's own live dump against the pages that it marks: some kernels lose them.
///
/// Kernels that copy their page bitmap short (`minidumpsys()` in live dumps) lose most of what lies beyond its first
/// eighth.
pub struct Check<'a> {
    kernel: LiveKernel<'a>,
    before: PageSet,
}

/// Pages that were marked before and after a dump was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// All of them.
    pub marked: u64,
    /// Those that are not in the dump.
    pub lost: u64,
}

impl Loss {
    /// Whether the dump cannot be trusted. A page that was given up and taken again while the dump was taken is
    /// missing with right, and memory that is given up is what the kernel takes first; but that concerns a few
    /// pages, and a bitmap that was copied short most of them. The border is one page in 64.
    pub fn is_too_large(&self) -> bool {
        self.lost > self.marked / 64
    }
}

impl<'a> Check<'a> {
    /// Notes what is marked now, before the dump is taken.
    ///
    /// # Errors
    ///
    /// Those of [`LiveKernel::marked`].
    pub fn before(kernel: LiveKernel<'a>) -> Result<Self> {
        let (before, _) = kernel.marked()?;
        Ok(Self { kernel, before })
    }

    /// Counts what a dump with these pages lacks.
    ///
    /// # Errors
    ///
    /// Those of [`LiveKernel::marked`].
    pub fn after(&self, dumped: &Pages) -> Result<Loss> {
        let (mut marked, _) = self.kernel.marked()?;
        marked.retain(&self.before);
        let page_size = self.kernel.machine.page_size();
        let pages = marked.runs().flat_map(|(start, end)| start / page_size..end / page_size);
        let pages = pages.map(|page| page * page_size);
        let lost = pages.filter(|page| !dumped.contains(*page)).count() as u64;
        Ok(Loss { marked: marked.count(), lost })
    }
}
