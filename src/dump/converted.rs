//! Dumps that are there already, converted ([`vmcore::convert`]) and written where they are to go.

use super::job::{DumpSizes, Finished, Job};
use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::output_file::OutputFile;
use vmcore::convert::core::Core;
use vmcore::convert::{write_image, write_minidump};
use vmcore::dump::DumpInOrder;
use vmcore::format::Layout;

/// What the memory of a dump is called.
const NOUN: &str = "memory in the dump";

/// Writes the physical memory in a dump, as it was laid out ([`vmcore::convert::layout`]).
///
/// # Errors
///
/// Those of the output; the dump cannot be decompressed, or nothing of it can be read. What else cannot be read is no
/// error: the report lists it.
pub fn image(dump: &DumpInOrder, layout: &Layout, job: Job<'_>, observer: &mut dyn Observer) -> Result<Finished> {
    let memory = dump.extents().map(|extent| extent.size).sum();
    let begun = job.begin(DumpSizes::from_layout(layout, memory), observer)?;
    begun.write(NOUN, observer, |out, map, progress| Ok(write_image(dump, layout, out, map, progress)?))
}

/// Writes a minidump as it is before compression; the name is the file's that it is in.
///
/// # Errors
///
/// Those of [`image`]; it is no minidump ([`Error::Refused`]).
pub fn minidump(dump: &DumpInOrder, name: &str, job: Job<'_>, observer: &mut dyn Observer) -> Result<Finished> {
    let size = dump.minidump_size().ok_or_else(|| {
        let what = dump.inspection().content.name();
        Error::Refused(format!("{name} is no minidump, but {what}: another format of memory is not made to one"))
    })?;
    let begun = job.begin(DumpSizes { size, stored: size, memory: size }, observer)?;
    begun.write(NOUN, observer, |out, _, progress| Ok(write_minidump(dump, out, progress)?))
}

/// Writes a core file, and the script for debuggers that goes with it.
///
/// # Errors
///
/// Those of [`image`].
pub fn core(core: &Core<'_>, script: &[u8], job: Job<'_>, observer: &mut dyn Observer) -> Result<Finished> {
    let begun = job.begin(DumpSizes { size: core.size(), stored: core.size(), memory: core.memory() }, observer)?;
    begun.write_companion(script)?;
    let mut finished = begun.write(NOUN, observer, |out, _, progress| Ok(core.write(out, progress)?))?;
    finished.companion.take().map_or(Ok(()), OutputFile::commit)?;
    Ok(finished)
}
