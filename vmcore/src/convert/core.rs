//! The kernel's virtual memory as an ELF core file, as debuggers read it: a `PT_LOAD` for each piece that is mapped
//! and in the dump, the direct map included, and notes with the threads' registers ([`super::notes`]).
//!
//! The memory is in the file once, in the order of the dump; what is mapped twice has two program headers that lead
//! to the same bytes. They are written as the page tables are walked, once to count them and once more, so that their
//! number takes no memory.

use super::{PAGE, copy, segment};
use crate::bounds::saturating_u64;
use crate::dump::DumpedMemory;
use crate::elf::{CoreHeader, ELFOSABI_FREEBSD, Ident, PF_R, PF_W, PF_X, PT_LOAD, PT_NOTE, ProgramHeader, Writer};
use crate::error::{Error, Result};
use crate::fault::{Fault, Why};
use crate::format::writer::{Copied, SparseWrite};
use crate::format::{Format, Layout};
use crate::kernel::{Kernel, KernelMemory, Mapping};
use crate::progress::Progress;
use crate::symbols::Table;
use object::elf::NT_GNU_BUILD_ID;
use std::ops::ControlFlow;

/// Bytes of program headers that are written at once.
const CHUNK: usize = 1 << 18;

/// A core file that can be written.
///
/// ```no_run
/// use std::fs::File;
/// use std::path::Path;
/// use vmcore::Kernel;
/// use vmcore::convert::core::Core;
/// use vmcore::convert::notes::Style;
/// use vmcore::convert::threads::CoreThreads;
/// use vmcore::format::writer::SparseFile;
/// use vmcore::progress::Progress;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let kernel = Kernel::open(Path::new("vmcore.0"), Some(Path::new("kernel")))?;
/// let threads = CoreThreads::new(&kernel, &kernel.processes()?, Style::FreeBsd)?;
/// let core = Core::new(&kernel, threads.notes)?;
/// let mut out = SparseFile::new(File::create_new("core")?);
/// let copied = core.write(&mut out, &Progress::default())?;
/// out.finish()?;
/// println!("{} bytes, of which {} could not be read", core.size(), copied.unreadable.bytes());
/// # Ok(())
/// # }
/// ```
pub struct Core<'a> {
    kernel: &'a KernelMemory,
    dump: &'a DumpedMemory,
    notes: Vec<u8>,
    flags: u32,
    layout: Layout,
    page_size: u64,
    /// Where the memory from a physical address on is in the file: what is to be added to its place in the dump.
    shifts: Vec<(u64, u64)>,
    facts: CoreFacts,
}

/// What is in a core file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoreFacts {
    /// Its `PT_LOAD`s.
    pub segments: u32,
    /// Bytes of virtual memory in them.
    pub mapped: u64,
    /// Bytes of mapped memory that are not in the dump; devices are among them.
    pub absent: u64,
    /// Page tables that could not be had: what they map is not in the file.
    pub missing_tables: u64,
    /// Why no page tables are known: only the direct map is in the file.
    pub unknown_tables: Option<&'static str>,
    /// Mappings that are left out because they cannot be: they are within others, or behind the last address.
    pub impossible: u64,
    /// Segments whose physical addresses a file of 32 bits has no room for; it has the last one in their place.
    pub physical_unknown: u64,
}

impl<'a> Core<'a> {
    /// Lays out the core file of a kernel in a dump, with these notes ([`super::threads::CoreThreads`]) and, if the
    /// kernel's image has one, its build ID.
    ///
    /// # Errors
    ///
    /// Nothing is mapped, or the page tables are not known; the kernel is the running one; it does not fit into an ELF
    /// file of its architecture.
    pub fn new(kernel: &'a Kernel, mut notes: Vec<u8>) -> Result<Self> {
        let flags = kernel.image().map_or(0, Table::flags);
        notes.extend(build_id_note(kernel));
        let kernel = kernel.memory();
        let Some(dump) = kernel.dump() else {
            return Err(Error::Refused("the running kernel is not a dump and cannot be converted".to_owned()));
        };
        let page_size = dump.minidump().map_or(PAGE, |facts| facts.header.page_size.into());
        let layout = Layout::from_segments(Format::Elf, std::iter::empty(), page_size, 0)?;
        let shifts = Vec::new();
        let mut core = Self { kernel, dump, notes, flags, layout, page_size, shifts, facts: CoreFacts::default() };
        core.count()?;
        core.place()?;
        Ok(core)
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.layout.size()
    }

    /// What is in it.
    pub fn facts(&self) -> &CoreFacts {
        &self.facts
    }

    /// Bytes of memory that will be read.
    pub fn memory(&self) -> u64 {
        self.dump.extents().map(|extent| extent.size).sum()
    }

    fn kind(&self) -> Ident {
        Ident { wide: self.kernel.word_size() == 8, order: self.kernel.order() }
    }

    /// Program headers in all.
    fn headers(&self) -> Result<u32> {
        let notes = u32::from(!self.notes.is_empty());
        let too_many = || Error::Refused("there are too many mappings for an ELF file".to_owned());
        self.facts.segments.checked_add(notes).ok_or_else(too_many)
    }

    /// Where the memory begins in the file.
    fn memory_at(&self) -> Result<u64> {
        let before = self.kind().headers_size(self.headers()?.into()) + self.notes.len() as u64;
        Ok(before.next_multiple_of(self.page_size))
    }

    fn count(&mut self) -> Result<()> {
        let mut facts = CoreFacts::default();
        let wide = self.kind().wide;
        let mut bytes = 0;
        let walked = self.each_segment(|found| {
            match found {
                Found::Segment(header) => {
                    facts.segments = facts.segments.saturating_add(1);
                    facts.mapped = facts.mapped.saturating_add(header.size);
                    facts.physical_unknown += u64::from(!wide && u32::try_from(header.physical).is_err());
                }
                Found::Impossible => facts.impossible += 1,
                Found::Mapping(size) => bytes += u128::from(size),
            }
            ControlFlow::Continue(())
        })?;
        (facts.missing_tables, facts.unknown_tables) = (walked.missing, walked.unknown);
        facts.absent = saturating_u64(bytes.saturating_sub(facts.mapped.into()));
        match facts.unknown_tables {
            Some(why) if facts.segments == 0 => {
                return Err(Error::Unsupported(format!("a dump cannot be converted without page tables: {why}")));
            }
            None if facts.segments == 0 => {
                return Err(Error::Refused("no kernel memory that is mapped is in the dump".to_owned()));
            }
            _ => {}
        }
        self.facts = facts;
        Ok(())
    }

    /// Decides where memory goes: into the order of the dump, and to the same place within a page as in memory.
    fn place(&mut self) -> Result<()> {
        let first = self.memory_at()?;
        self.layout = Layout::from_segments(Format::Elf, self.dump.extents().map(segment), self.page_size, first)?;
        let mut position = first;
        for extent in self.dump.extents() {
            position = position.saturating_add(self.layout.gap_before(&segment(extent), position));
            let shift = position.wrapping_sub(extent.offset);
            if self.shifts.last().is_none_or(|(_, last)| *last != shift) {
                self.shifts.push((extent.physical, shift));
            }
            position = position.saturating_add(extent.size);
        }
        if !self.kind().wide && self.size() > u32::MAX.into() {
            return Err(Error::Refused(format!(
                "the core file would have {} bytes, and one of 32 bits has 4 GiB at most",
                self.size()
            )));
        }
        Ok(())
    }

    /// Shows all program headers of memory, in the order of their virtual addresses. Tells which page tables could not
    /// be had.
    fn each_segment(&self, mut take: impl FnMut(Found) -> ControlFlow<()>) -> Result<Walked> {
        let has_virtual = self.dump.has_virtual_addresses_only();
        let last = if self.kind().wide { u64::MAX } else { u32::MAX.into() };
        // The first address behind those that were shown, if there is one.
        let mut next = Some(0);
        let walked = self.kernel.each_mapping(|mapping| {
            let Mapping { address: start, physical, size, protection } = mapping;
            let end = size.checked_sub(1).and_then(|size| start.checked_add(size)).filter(|end| *end <= last);
            let possible = next.is_some_and(|next| start >= next);
            let (true, Some(end)) = (possible, end) else { return take(Found::Impossible) };
            next = end.checked_add(1);
            take(Found::Mapping(size))?;
            let flag = |set: bool, flag: u32| if set { flag } else { 0 };
            let flags = flag(protection.read, PF_R) | flag(protection.write, PF_W) | flag(protection.execute, PF_X);
            for extent in self.dump.extents_within(physical, physical.saturating_add(size)) {
                let before = self.shifts.partition_point(|(first, _)| *first <= extent.physical);
                let shift =
                    before.checked_sub(1).and_then(|index| self.shifts.get(index)).map_or(0, |(_, shift)| *shift);
                take(Found::Segment(ProgramHeader {
                    kind: PT_LOAD,
                    flags,
                    offset: extent.offset.wrapping_add(shift),
                    address: start.wrapping_add(extent.physical - physical),
                    physical: if has_virtual { 0 } else { extent.physical },
                    size: extent.size,
                    align: self.page_size,
                }))?;
            }
            ControlFlow::Continue(())
        });
        match walked {
            Ok(missing) => Ok(Walked { missing, unknown: None }),
            Err(Fault { why: Why::Untranslated(why), .. }) => Ok(Walked { missing: 0, unknown: Some(why) }),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Writes the file. The progress counts bytes of memory.
    ///
    /// # Errors
    ///
    /// Those of the output; the dump is not the same any more. What cannot be read is no error: it is zeros, and the
    /// report lists it.
    pub fn write(&self, out: &mut dyn SparseWrite, progress: &Progress) -> Result<Copied> {
        let (kind, headers) = (self.kind(), self.headers()?);
        let machine = self.kernel.architecture().elf_machine().0;
        let mut writer = Writer::new(kind);
        writer.core_header(CoreHeader { os_abi: ELFOSABI_FREEBSD, machine, flags: self.flags, segments: headers });
        if !self.notes.is_empty() {
            writer.program_header(ProgramHeader {
                kind: PT_NOTE,
                flags: PF_R,
                offset: kind.headers_size(headers.into()),
                address: 0,
                physical: 0,
                size: self.notes.len() as u64,
                align: 4,
            });
        }
        let mut remaining = self.facts.segments;
        let mut failed = None;
        self.each_segment(|found| {
            let Found::Segment(header) = found else { return ControlFlow::Continue(()) };
            let Some(rest) = remaining.checked_sub(1) else {
                failed = Some(changed());
                return ControlFlow::Break(());
            };
            remaining = rest;
            writer.program_header(header);
            if writer.bytes.len() >= CHUNK {
                if let Err(error) = out.write(&writer.bytes) {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
                writer.bytes.clear();
            }
            ControlFlow::Continue(())
        })?;
        match failed {
            Some(error) => return Err(error),
            None if remaining > 0 => return Err(changed()),
            None => {}
        }
        writer.end_of_headers(headers);
        out.write(&writer.bytes)?;
        out.write(&self.notes)?;
        out.zeros(self.memory_at()?.saturating_sub(out.position()))?;
        copy(self.dump, &self.layout, out, None, progress)
    }
}

/// The note of the kernel's build ID, as an executable file has it. By it gdb finds the kernel's file
/// (`build_id_bfd_get`), and whoever has core file and kernel sees that they belong together.
fn build_id_note(kernel: &Kernel) -> Vec<u8> {
    let image = kernel.image().filter(|_| kernel.mismatch().is_none());
    let Some(id) = image.and_then(Table::build_id) else { return Vec::new() };
    let wide = kernel.memory().word_size() == 8;
    let mut writer = Writer::new(Ident { wide, order: kernel.memory().order() });
    writer.note("GNU", NT_GNU_BUILD_ID.0, id);
    writer.bytes
}

fn changed() -> Error {
    Error::Format("the dump's page tables have changed since they were first read".to_owned())
}

/// Page tables that could not be had.
struct Walked {
    missing: u64,
    /// Why none are known.
    unknown: Option<&'static str>,
}

/// What was found in the page tables.
enum Found {
    /// A mapping of so many bytes; what of it is in the dump follows.
    Mapping(u64),
    /// Memory that is mapped and in the dump.
    Segment(ProgramHeader),
    /// A mapping that cannot be.
    Impossible,
}
