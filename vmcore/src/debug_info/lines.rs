//! The file, line and inlined functions of an address.

use super::call_frames::FrameSection;
use super::sections::{ElfFile, SectionReader, failed};
use crate::architecture::Endianness;
use crate::error::Result;
use crate::symbols::{SourceFrame, Table};
use addr2line::{Context, Frame};
use gimli::{Dwarf, DwarfSections, EndianReader, EndianSlice, RunTimeEndian, SectionId};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Functions and blocks within each other are not deeper in code that a compiler has made. What reads them calls itself for
/// each.
const MAX_DEPTH: isize = 512;

type Reader = EndianReader<RunTimeEndian, Rc<[u8]>>;

/// The debug information of a file.
pub(super) struct Lines {
    path: PathBuf,
    context: Context<Reader>,
    /// What addresses in the file count from.
    displacement: u64,
    /// Its call frame information, until it is taken.
    call_frames: Option<FrameSection>,
}

impl Lines {
    /// Reads a file whose sections lie as in this table.
    pub(super) fn read(path: &Path, file: &ElfFile<'_>, table: &Table) -> Result<Self> {
        let order = match table.order() {
            Endianness::Little => RunTimeEndian::Little,
            Endianness::Big => RunTimeEndian::Big,
        };
        let mut sections = SectionReader::new(path, file, table);
        let call_frames = sections.read(".debug_frame")?.into();
        let load = |id: SectionId| -> Result<Rc<[u8]>> {
            Ok(if is_used(id) { sections.read(id.name())?.into() } else { Rc::default() })
        };
        let sections = DwarfSections::load(load)?;
        let damaged = |error: gimli::Error| failed(path, &format!("damaged debug information: {error}"));
        if is_too_deep(&sections.borrow(|bytes| EndianSlice::new(bytes, order))).map_err(damaged)? {
            return Err(failed(path, "damaged debug information: more functions within each other than in any code"));
        }
        let context =
            Context::from_dwarf(sections.borrow(|bytes| Reader::new(Rc::clone(bytes), order))).map_err(damaged)?;
        let call_frames = FrameSection::from_debug_file(call_frames, table);
        Ok(Self { path: path.to_owned(), context, displacement: table.displacement(), call_frames })
    }

    /// Takes the file's call frame information.
    pub(super) fn take_call_frames(&mut self) -> Option<FrameSection> {
        self.call_frames.take()
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The functions whose code is at an address, the innermost first.
    pub(super) fn lookup(&self, address: u64) -> Result<Vec<SourceFrame>, gimli::Error> {
        let address = address.wrapping_sub(self.displacement);
        // Behind the last address there is none.
        if address == u64::MAX {
            return Ok(Vec::new());
        }
        let mut found = self.context.find_frames(address).skip_all_loads()?;
        let mut frames = Vec::new();
        while let Some(frame) = found.next()? {
            frames.push(source_frame(&frame)?);
        }
        Ok(frames)
    }
}

fn source_frame(frame: &Frame<'_, Reader>) -> Result<SourceFrame, gimli::Error> {
    let location = frame.location.as_ref();
    let function = frame.function.as_ref().map(|function| Ok::<_, gimli::Error>(function.raw_name()?.into_owned()));
    // 0 stands for none (DWARF 5, section 6.2.2).
    let known = |number: Option<u32>| number.filter(|number| *number != 0);
    Ok(SourceFrame {
        function: function.transpose()?,
        file: location.and_then(|location| location.file).map(str::to_owned),
        line: known(location.and_then(|location| location.line)),
        column: known(location.and_then(|location| location.column)),
    })
}

/// Whether lines and functions are read from a section.
fn is_used(id: SectionId) -> bool {
    matches!(
        id,
        SectionId::DebugAbbrev
            | SectionId::DebugAddr
            | SectionId::DebugAranges
            | SectionId::DebugInfo
            | SectionId::DebugLine
            | SectionId::DebugLineStr
            | SectionId::DebugRanges
            | SectionId::DebugRngLists
            | SectionId::DebugStr
            | SectionId::DebugStrOffsets
    )
}

/// Whether entries are nested too deeply, as far as they can be read: what cannot be read here is not for an address, either.
fn is_too_deep(dwarf: &Dwarf<EndianSlice<'_, RunTimeEndian>>) -> Result<bool, gimli::Error> {
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let Ok(abbreviations) = dwarf.abbreviations(&header) else { continue };
        let Ok(mut entries) = header.entries_raw(&abbreviations, None) else { continue };
        while !entries.is_empty() {
            if entries.next_depth() > MAX_DEPTH {
                return Ok(true);
            }
            let Ok(entry) = entries.read_abbreviation() else { break };
            if entry.is_some_and(|entry| entries.skip_attributes(entry.attributes()).is_err()) {
                break;
            }
        }
    }
    Ok(false)
}
