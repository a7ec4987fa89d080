//! A container: its header, and what that says is where.

use crate::bytes::{Cursor, Endianness};
use crate::error::{Error, Result};
use flate2::bufread::ZlibDecoder;
use std::io::Read;
use std::ops::Range;

const MAGIC: u16 = 0xcff1;
const GNU_MAGIC: u16 = 0xdff2;
const HEADER_SIZE: usize = 36;
/// `CTF_F_COMPRESS`: what follows the header is one stream of zlib(3).
const COMPRESSED: u8 = 1;
/// A name is not in the container's string table, but in that of its file.
const EXTERNAL: u32 = 1 << 31;
/// A longer name is none.
const MAX_NAME: usize = 1024;
/// More bytes than any kernel's types have.
pub const MAX_UNPACKED: u64 = 256 << 20;

/// Types, and which symbols have which.
#[derive(Debug, Clone)]
pub struct Container {
    order: Endianness,
    version: u8,
    header: Header,
    /// All that follows the header, decompressed.
    data: Vec<u8>,
    /// The string table of the file.
    external: Vec<u8>,
}

/// Where sections begin, behind the header.
#[derive(Debug, Clone, Copy)]
struct Header {
    parent_label: u32,
    parent_name: u32,
    labels: usize,
    objects: usize,
    functions: usize,
    types: usize,
    strings: usize,
    end: usize,
}

/// The label of a group of types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label<'a> {
    /// Its name, such as the release that the kernel is of.
    pub name: &'a str,
    /// The number of the last type of the group.
    pub last_type: u32,
}

impl Container {
    /// Reads the container in a section.
    ///
    /// # Errors
    ///
    /// It is no container of a version that is supported, is truncated, or cannot be decompressed. Its types were not looked
    /// at.
    pub fn read(section: &[u8]) -> Result<Self> {
        let (order, version, flags) = preamble(section)?;
        let header = Header::read(section, order)?;
        let expected = header.end as u64;
        if expected > MAX_UNPACKED {
            return Err(Error::TooLarge(expected));
        }
        let (_, stored) = section.split_at_checked(HEADER_SIZE).ok_or(Error::NoHeader(section.len()))?;
        let mut rest = stored;
        let mut data = Vec::new();
        if flags & COMPRESSED == 0 {
            (&mut rest).take(expected).read_to_end(&mut data).map_err(Error::Compression)?;
        } else {
            let mut decoder = ZlibDecoder::new(stored);
            // Memory grows with what there is.
            decoder.by_ref().take(expected).read_to_end(&mut data).map_err(Error::Compression)?;
            // The end of the stream, with its checksum.
            let more = decoder.read(&mut [0]).map_err(Error::Compression)?;
            if more > 0 {
                return Err(Error::Layout);
            }
            rest = decoder.into_inner();
        }
        let found = data.len() as u64;
        if found != expected {
            return Err(Error::Truncated { found, expected });
        }
        check_rest(rest, order)?;
        Ok(Self { order, version, header, data, external: Vec::new() })
    }

    /// Gives it the string table of its file (that of the symbol table), which names may be in.
    #[must_use]
    pub fn with_external_strings(self, external: Vec<u8>) -> Self {
        Self { external, ..self }
    }

    /// The order of bytes of the machine that the types are of.
    pub fn order(&self) -> Endianness {
        self.order
    }

    /// The version of the format.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Whether its types build on those of a parent, and numbers without the highest bit are that one's.
    pub fn is_child(&self) -> bool {
        self.header.parent_name != 0
    }

    /// The name of the parent.
    ///
    /// # Errors
    ///
    /// [`Error::Name`].
    pub fn parent_name(&self) -> Result<&str> {
        self.name(self.header.parent_name, 0)
    }

    /// The label that the parent has.
    ///
    /// # Errors
    ///
    /// [`Error::Name`].
    pub fn parent_label(&self) -> Result<&str> {
        self.name(self.header.parent_label, 0)
    }

    /// The labels.
    pub fn labels(&self) -> impl Iterator<Item = Result<Label<'_>>> {
        let mut cursor = self.cursor(self.header.labels..self.header.objects);
        std::iter::from_fn(move || {
            let offset = cursor.offset();
            let (name, last_type) = (cursor.u32()?, cursor.u32()?);
            Some(self.name(name, offset).map(|name| Label { name, last_type }))
        })
    }

    /// What is in a section.
    pub(crate) fn cursor(&self, section: Range<usize>) -> Cursor<'_> {
        Cursor::new(&self.data, section, self.order, self.version == 2)
    }

    pub(crate) fn object_section(&self) -> Range<usize> {
        self.header.objects..self.header.functions
    }

    pub(crate) fn function_section(&self) -> Range<usize> {
        self.header.functions..self.header.types
    }

    pub(crate) fn type_section(&self) -> Range<usize> {
        self.header.types..self.header.strings
    }

    /// A name; `offset` is where what it names is.
    pub(crate) fn name(&self, name: u32, offset: usize) -> Result<&str> {
        let (strings, base) = match name & EXTERNAL {
            0 => (&self.data, self.header.strings),
            _ => (&self.external, 0),
        };
        string(strings, base, name & !EXTERNAL).ok_or(Error::Name(offset))
    }
}

/// The text at an offset in a string table that begins somewhere in these bytes.
fn string(bytes: &[u8], table: usize, offset: u32) -> Option<&str> {
    let start = table.checked_add(usize::try_from(offset).ok()?)?;
    let (_, rest) = bytes.split_at_checked(start)?;
    let length = rest.iter().take(MAX_NAME).position(|byte| *byte == 0)?;
    let text = str::from_utf8(rest.split_at_checked(length)?.0).ok()?;
    // What would command a terminal is no name.
    (!text.contains(char::is_control)).then_some(text)
}

/// Order of bytes, version and flags.
fn preamble(section: &[u8]) -> Result<(Endianness, u8, u8)> {
    let [a, b, version, flags] = *section.first_chunk().ok_or(Error::NoHeader(section.len()))?;
    let order = match u16::from_le_bytes([a, b]) {
        MAGIC => Endianness::Little,
        other if other.swap_bytes() == MAGIC => Endianness::Big,
        other if [other, other.swap_bytes()].contains(&GNU_MAGIC) => return Err(Error::Gnu),
        other => return Err(Error::Magic(other)),
    };
    match version {
        2 | 3 => Ok((order, version, flags)),
        _ => Err(Error::Version(version)),
    }
}

impl Header {
    fn read(section: &[u8], order: Endianness) -> Result<Self> {
        let fields = |mut cursor: Cursor<'_>| {
            let mut field = || cursor.u32();
            Some([field()?, field()?, field()?, field()?, field()?, field()?, field()?, field()?])
        };
        let fields =
            fields(Cursor::new(section, 4..HEADER_SIZE, order, false)).ok_or(Error::NoHeader(section.len()))?;
        let [parent_label, parent_name, labels, objects, functions, types, strings, string_bytes] = fields;
        if !(labels <= objects && objects <= functions && functions <= types && types <= strings) {
            return Err(Error::Layout);
        }
        let end = u64::from(strings) + u64::from(string_bytes);
        let at = |offset: u32| usize::try_from(offset).map_err(|_| Error::TooLarge(end));
        Ok(Self {
            parent_label,
            parent_name,
            labels: at(labels)?,
            objects: at(objects)?,
            functions: at(functions)?,
            types: at(types)?,
            strings: at(strings)?,
            end: usize::try_from(end).map_err(|_| Error::TooLarge(end))?,
        })
    }
}

/// Refuses what follows if it is another container; other bytes fill up the section.
fn check_rest(rest: &[u8], order: Endianness) -> Result<()> {
    let mut filled = rest.iter().skip_while(|byte| **byte == 0);
    let magic = filled.next().copied().zip(filled.next().copied());
    match magic {
        Some((a, b)) if order.u16([a, b]) == MAGIC => Err(Error::Unmerged),
        _ => Ok(()),
    }
}
