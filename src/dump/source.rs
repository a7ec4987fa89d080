//! Whose memory is dumped: a host's, or what an image has.

use super::plan::{Image, Plan, RequestedRanges};
use crate::dump_input;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::live_kernel;
use std::path::Path;
use std::rc::Rc;
use vmcore::dump::{Content, Depth, inspect};
use vmcore::format::Space;
use vmcore::kerneldump::Compression;
use vmcore::memory::Memory;
use vmcore::progress::Progress;

/// Whose memory is dumped.
pub enum DumpSource {
    /// A host's.
    Host(Rc<dyn Host>),
    /// A file's or another device's, whose offsets are addresses.
    Image(Image),
}

/// What of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpRequest {
    /// Which addresses.
    pub space: Space,
    /// Ranges in place of what the kernel lists, or in place of the whole image.
    pub ranges: Option<RequestedRanges>,
    /// Bytes to step over where nothing can be read, in place of the kernel's page size.
    pub page_size: Option<u64>,
    /// Bytes of memory at most.
    pub limit: Option<u64>,
}

impl DumpSource {
    /// Opens an image.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or its offsets are no addresses: it is a dump, or compressed.
    pub fn open_image(path: &Path) -> Result<Self> {
        let image = Image::open(path)?;
        check_raw(path, &image)?;
        Ok(Self::Image(image))
    }

    /// `freebsd`, `recorded` or `image`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Host(host) => host.kind(),
            Self::Image(_) => "image",
        }
    }

    /// What will be read.
    ///
    /// # Errors
    ///
    /// Those of [`Plan::from_host`] and [`Plan::from_image`]; kernel virtual memory is asked of an image.
    pub fn plan(&self, request: DumpRequest) -> Result<Plan> {
        let DumpRequest { space, ranges, page_size, limit } = request;
        let mut plan = match self {
            Self::Host(host) => Plan::from_host(&**host, space, ranges)?,
            Self::Image(image) if space == Space::Physical => Plan::from_image(image, ranges)?,
            Self::Image(_) => {
                return Err(Error::Refused(
                    "-k reads the running kernel's memory, which an image does not have".to_owned(),
                ));
            }
        };
        plan.page_size = page_size.unwrap_or(plan.page_size);
        if let Some(bytes) = limit {
            plan.limit(bytes);
        }
        Ok(plan)
    }

    /// Its memory.
    pub(super) fn memory(self, space: Space) -> Result<Box<dyn Memory>> {
        match (self, space) {
            (Self::Host(host), Space::Physical) => host.physical_memory(),
            (Self::Host(host), Space::Kernel) => live_kernel::kernel_memory(&*host),
            (Self::Image(image), _) => Ok(Box::new(image)),
        }
    }
}

/// Refuses an image whose offsets are no addresses: a dump, or what is compressed.
fn check_raw(path: &Path, image: &Image) -> Result<()> {
    if image.length().is_none_or(|length| length == 0) {
        return Ok(());
    }
    // What cannot be read is told by the dump.
    let Ok(found) = inspect(&dump_input::open(path)?, Depth::Pages, &Progress::default()) else {
        return Ok(());
    };
    let is = match found.problem() {
        Some(problem) => problem,
        None if found.content != Content::Unknown => {
            format!("it is not an image of memory but {}", found.content.name())
        }
        None if found.compression != Compression::None => format!("it is compressed with {}", found.compression.name()),
        None => return Ok(()),
    };
    let path = path.display();
    Err(Error::Refused(format!("{path}: {is}; file offsets in it are not physical addresses (see convert)")))
}
