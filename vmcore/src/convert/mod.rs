//! Converting dumps: into a core file of the kernel's virtual memory ([`core`]), or into another format of physical
//! memory. Either is one pass over the memory in the dump, and takes the same memory for a dump of any size.

pub mod core;
pub mod notes;
pub mod script;
pub mod threads;

use crate::dump::{DumpInOrder, DumpedMemory, Extent};
use crate::error::Result;
use crate::format::map_file::MapFile;
use crate::format::unreadable::Unreadable;
use crate::format::writer::{Copied, ImageWriter, SparseWrite};
use crate::format::{Format, Layout};
use crate::memory::NotRead;
use crate::progress::Progress;
use crate::segment::Segment;

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

/// Writes all memory in a dump in a format other than ELF, and notes in the map what it is. The progress counts bytes of
/// memory.
///
/// # Errors
///
/// Those of the output and of the map; the dump cannot be decompressed. What cannot be read is no error: the report
/// lists it.
///
/// ```no_run
/// use std::fs::File;
/// use std::path::Path;
/// use vmcore::convert::{layout, write_image};
/// use vmcore::dump::{DumpInOrder, byte_source::ByteSource};
/// use vmcore::format::{Format, writer::SparseFile};
/// use vmcore::progress::Progress;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let progress = Progress::default();
/// let dump = DumpInOrder::open(ByteSource::open(Path::new("vmcore.0"))?, None, None, &progress)?;
/// let mut out = SparseFile::new(File::create_new("memory.lime")?);
/// write_image(&dump, &layout(&dump, Format::Lime)?, &mut out, None, &progress)?;
/// out.finish()?;
/// # Ok(())
/// # }
/// ```
pub fn write_image(
    dump: &DumpInOrder,
    layout: &Layout,
    out: &mut dyn SparseWrite,
    map: Option<&mut MapFile<'_>>,
    progress: &Progress,
) -> Result<Copied> {
    copy(dump.memory(), layout, out, map, progress)
}

/// Writes a minidump as it is before compression; the progress counts its bytes. What it is too short for is in the
/// result, by place in the dump.
///
/// # Errors
///
/// Those of the output and of [`DumpInOrder::read_minidump`].
pub fn write_minidump(dump: &DumpInOrder, out: &mut dyn SparseWrite, progress: &Progress) -> Result<Copied> {
    let read = dump.read_minidump(|bytes| {
        progress.add(bytes.len() as u64);
        if bytes.iter().all(|byte| *byte == 0) { out.zeros(bytes.len() as u64) } else { out.write(bytes) }
    })?;
    let mut unreadable = Unreadable::default();
    if let Some(size) = dump.minidump_size().filter(|size| read < *size) {
        unreadable.add(read, size, NotRead::End);
    }
    Ok(Copied { read, unreadable })
}

/// Writes all memory in a dump.
fn copy(
    dump: &DumpedMemory,
    layout: &Layout,
    out: &mut dyn SparseWrite,
    map: Option<&mut MapFile<'_>>,
    progress: &Progress,
) -> Result<Copied> {
    let mut image = ImageWriter::new(layout, dump.extents().map(segment), out, map);
    dump.read_in_order(|piece| {
        progress.add(image.write_chunk(piece)?);
        Ok(())
    })?;
    image.finish()
}
