//! Sections of files with debug information, read into memory: decompressed, and relocated.

use crate::architecture::Endianness;
use crate::bounds::saturating_u64;
use crate::error::{Error, Result};
use crate::symbols::Table;
use object::ObjectKind;
use object::read::{
    CompressionFormat, Object, ObjectSection, ObjectSymbol, ReadCache, Relocation, RelocationKind, RelocationTarget,
    SectionIndex,
};
use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// More bytes of debug information than any kernel has.
const MAX_BYTES: u64 = 1 << 30;

/// An ELF file that is read where it is looked at.
pub(super) type ElfFile<'a> = object::File<'a, &'a ReadCache<&'a File>>;

/// Looks at an ELF file.
pub(super) fn parse<'a>(path: &Path, cache: &'a ReadCache<&'a File>) -> Result<ElfFile<'a>> {
    ElfFile::parse(cache).map_err(|_| failed(path, "it is truncated, or not an ELF file"))
}

/// What is wrong with a file.
pub(super) fn failed(path: &Path, why: &str) -> Error {
    Error::Format(format!("{}: {why}", path.display()))
}

/// Whether a file has debug information.
pub(super) fn has_debug_info(file: &ElfFile<'_>) -> bool {
    let section = file.section_by_name(".debug_info");
    section.is_some_and(|section| section.compressed_data().is_ok_and(|data| !data.data.is_empty()))
}

/// Where a section is in memory, in a file whose sections lie as in this table.
pub(super) fn section_address<'a>(section: &impl ObjectSection<'a>, table: &Table) -> u64 {
    table.section_base(section.index().0).unwrap_or(0).wrapping_add(section.address())
}

/// Reads sections of a file.
pub(super) struct SectionReader<'a, 'data> {
    path: &'a Path,
    file: &'a ElfFile<'data>,
    /// Where the file's sections lie.
    table: &'a Table,
    /// How many bytes may still be read.
    remaining: u64,
}

impl<'a, 'data> SectionReader<'a, 'data> {
    pub(super) fn new(path: &'a Path, file: &'a ElfFile<'data>, table: &'a Table) -> Self {
        Self { path, file, table, remaining: MAX_BYTES }
    }

    /// The contents of a section; none of one that is not there.
    pub(super) fn read(&mut self, name: &str) -> Result<Cow<'data, [u8]>> {
        let Some(section) = self.file.section_by_name(name) else { return Ok(Cow::default()) };
        let bad = |why: &str| failed(self.path, &format!("section {name}: {why}"));
        let stored = section.compressed_data().map_err(|error| bad(&error.to_string()))?;
        let (size, stored) = (stored.uncompressed_size, (stored.format, stored.data));
        if size > self.remaining {
            return Err(bad("there is more debug information than any kernel has"));
        }
        let mut bytes = decompress(stored, size).map_err(|why| bad(&why))?;
        if saturating_u64(bytes.len()) != size {
            return Err(bad("its size is not the one that its header has"));
        }
        self.remaining -= size;
        if self.file.kind() == ObjectKind::Relocatable {
            let bytes = bytes.to_mut();
            let start = section_address(&section, self.table);
            for (offset, relocation) in section.relocations() {
                self.relocate(bytes, start, offset, &relocation);
            }
        }
        Ok(bytes)
    }

    /// Writes the address of what is loaded, how far it is from there, or the offset in another section, where the linker
    /// left that to the kernel. The section begins at `start`.
    fn relocate(&self, bytes: &mut [u8], start: u64, offset: u64, relocation: &Relocation) {
        let target = match relocation.target() {
            RelocationTarget::Symbol(symbol) => self.file.symbol_by_index(symbol).ok(),
            _ => None,
        };
        let origin = match relocation.kind() {
            RelocationKind::Absolute => 0,
            RelocationKind::Relative => start.wrapping_add(offset),
            _ => return,
        };
        let Some(symbol) = target else { return };
        let base = |SectionIndex(section)| self.table.section_base(section).unwrap_or(0);
        let value = symbol.section_index().map_or(0, base).wrapping_add(symbol.address());
        let value = value.wrapping_add_signed(relocation.addend()).wrapping_sub(origin);
        let size = usize::from(relocation.size() / 8);
        let place = usize::try_from(offset).ok().and_then(|start| bytes.get_mut(start..start.checked_add(size)?));
        if let Some(place) = place.filter(|_| size == 4 || size == 8) {
            let order = self.table.order();
            let there = if relocation.has_implicit_addend() { order.number(place) } else { 0 };
            let value = order.bytes_of_u64(value.wrapping_add(there));
            let low = if order == Endianness::Big { value.split_at(8 - size).1 } else { value.split_at(size).0 };
            place.copy_from_slice(low);
        }
    }
}

/// The bytes of a section of so many; fewer or more where it is damaged.
fn decompress((format, data): (CompressionFormat, &[u8]), size: u64) -> Result<Cow<'_, [u8]>, String> {
    // What a header says takes no memory.
    let read = |reader: &mut dyn Read| {
        let mut bytes = Vec::new();
        let result = reader.take(size.saturating_add(1)).read_to_end(&mut bytes);
        result.map(|_| bytes.into()).map_err(|error| format!("it cannot be decompressed: {error}"))
    };
    match format {
        CompressionFormat::None => Ok(data.into()),
        CompressionFormat::Zlib => read(&mut flate2::bufread::ZlibDecoder::new(data)),
        #[cfg(feature = "zstd")]
        CompressionFormat::Zstandard => {
            let decoder = zstd::stream::read::Decoder::with_buffer(data);
            read(&mut decoder.map_err(|error| format!("it cannot be decompressed: {error}"))?)
        }
        _ => Err("it is compressed in a way that is not supported".to_owned()),
    }
}
