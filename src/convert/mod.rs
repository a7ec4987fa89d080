//! Converting dumps: into a core file of the kernel's virtual memory ([`core`]), or into another format of physical
//! memory. Either is one pass over the memory in the dump, and takes the same memory for a dump of any size.

pub mod core;
pub mod notes;
pub mod script;

use crate::dump::format::{Format, Layout};
use crate::dump::map_file::MapFile;
use crate::dump::sink::{Sink, Target, with_sink};
use crate::dump::{DumpReport, ImageWriter, Output, Unreadable};
use crate::error::Result;
use vmcore::dump::{DumpInOrder, DumpedMemory, Extent};
use vmcore::progress::Progress;
use vmcore::segment::Segment;

/// What memory is aligned to in ELF files, where no dump tells the kernel's page size. Larger pages are multiples of it;
/// what is read, and the page tables' formats, do not depend on it.
const PAGE: u64 = 4096;

fn segment(extent: Extent) -> Segment {
    let Extent { physical, size, .. } = extent;
    Segment { start: physical, end: physical.saturating_add(size), domain: None }
}

/// Lays out the memory of a dump in a format other than ELF.
///
/// # Errors
///
/// There are more than 2^63 bytes of it.
pub fn layout(dump: &DumpInOrder, format: Format) -> Result<Layout> {
    Layout::from_segments(format, dump.extents().map(segment), PAGE, 0)
}

/// Writes all memory in a dump in a format other than ELF, and notes in the map what it is. Gives the target back, to
/// be completed. The progress counts bytes of memory.
///
/// # Errors
///
/// Those of the target and of the map; the dump cannot be decompressed. What cannot be read is no error: the report
/// lists it.
pub fn image(
    dump: &DumpInOrder,
    layout: &Layout,
    map: Option<&mut MapFile<'_>>,
    output: Output,
    progress: &Progress,
) -> Result<(DumpReport, Target)> {
    let Output { target, compression, hash } = output;
    let work = |sink: &mut Sink<'_>| copy(dump.memory(), layout, sink, map, progress);
    let ((read, unreadable), written, target) = with_sink(target, compression, hash, work)?;
    Ok((DumpReport { read, written, unreadable }, target))
}

/// Writes all memory in a dump; tells how much was read, and what could not be.
fn copy(
    dump: &DumpedMemory,
    layout: &Layout,
    sink: &mut Sink<'_>,
    map: Option<&mut MapFile<'_>>,
    progress: &Progress,
) -> Result<(u64, Unreadable)> {
    let mut image = ImageWriter::new(layout, dump.extents().map(segment), sink, map);
    dump.read_in_order(|piece| {
        progress.add(image.write_chunk(piece)?);
        Ok(())
    })?;
    image.finish()
}
