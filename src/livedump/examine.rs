//! What may be wrong with a live dump: it is damaged, or pages are missing that the kernel marked for it.

use crate::error::{Error, Result};
use std::fs::File;
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::pages::Pages;
use vmcore::dump::{Content, Damage, Depth, Inspection, inspect};
use vmcore::live::{Check, Loss};
use vmcore::progress::Progress;
use vmcore::units::counted;

/// Why a live dump is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Its bytes are not as the format demands.
    #[error("the dump is damaged: {0}")]
    Damaged(Damage),
    /// It is something else.
    #[error("the dump is not a minidump: {0}")]
    NoMinidump(&'static str),
    /// More pages are missing than can be.
    #[error("the kernel's dump lacks {lost} of the {} that it marked for dumping", counted(.0.marked, "page"), lost = .0.lost)]
    PagesLost(Loss),
    /// What the kernel says of its pages made sense before the dump, and does not now.
    #[error("{0}")]
    Unclear(String),
}

impl From<Distrust> for Error {
    fn from(distrust: Distrust) -> Self {
        Self::Format(distrust.to_string())
    }
}

/// Looks at a dump, and sees whether it is a whole minidump; with a check, whether it has the pages that were marked
/// before and after it was taken.
///
/// # Errors
///
/// The dump or the kernel's memory cannot be read.
pub(super) fn examine(
    dump: &File,
    depth: Depth,
    check: Option<&Check<'_>>,
    progress: &Progress,
) -> Result<Result<Inspection, Distrust>> {
    let looked = ByteSource::from_file(dump).and_then(|volume| inspect(&volume, depth, progress));
    let inspection = looked.map_err(|source| Error::Io { what: "read the dump back".to_owned(), source })?;
    if let Some(damage) = inspection.damage.first() {
        return Ok(Err(Distrust::Damaged(damage.clone())));
    }
    let Content::Minidump(facts) = &inspection.content else {
        return Ok(Err(Distrust::NoMinidump(inspection.content.name())));
    };
    let lost = check.map(|check| pages_lost(check, &facts.pages)).transpose()?.flatten();
    Ok(lost.map_or(Ok(inspection), Err))
}

fn pages_lost(check: &Check<'_>, dumped: &Pages) -> Result<Option<Distrust>> {
    match check.after(dumped) {
        Ok(loss) => Ok(loss.is_too_large().then_some(Distrust::PagesLost(loss))),
        Err(vmcore::Error::Format(why)) => Ok(Some(Distrust::Unclear(why))),
        Err(error) => Err(error.into()),
    }
}
