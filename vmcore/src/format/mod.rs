//! The formats of a dump: what stands around the memory, and how a dump is written in them ([`writer`]).
//!
//! - raw: the segments one after another, and nothing else, as memdump(1) writes it;
//! - padded: every byte at the offset of its address;
//! - elf: an ELF core file ([`elf`]);
//! - lime: the format of the Linux Memory Extractor ([`lime`]).
//!
//! Every format can be written as a stream, in one pass.

pub mod elf;
pub mod map_file;
pub mod unreadable;
pub mod writer;

use crate::chunks::checked_page_size;
use crate::error::{Error, Result};
use crate::lime;
use crate::segment::Segment;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;
use unreadable::Unreadable;

/// A format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The segments one after another.
    #[default]
    Raw,
    /// Every byte at the offset of its address.
    Padded,
    /// An ELF core file.
    Elf,
    /// LiME, version 1.
    Lime,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Raw, Self::Padded, Self::Elf, Self::Lime];

    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Padded => "padded",
            Self::Elf => "elf",
            Self::Lime => "lime",
        }
    }

    /// Whether what cannot be read is left out, rather than zeros in its place.
    pub const fn is_packed(self) -> bool {
        matches!(self, Self::Raw)
    }
}

/// Which addresses a dump's are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Space {
    /// Physical: /dev/mem, or an image of memory.
    Physical,
    /// Kernel virtual: /dev/kmem.
    Kernel,
}

/// What a dump says of itself, where its format has room for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The host's name; `None` for an image of unknown origin.
    pub hostname: Option<String>,
    /// Its kernel's version, likewise.
    pub version: Option<String>,
    /// Its `hw.machine_arch`; for an image the one that memtool runs on.
    pub machine_arch: String,
    /// `freebsd`, `recorded` or `image`: what was dumped.
    pub host: &'static str,
    /// When the dump was begun.
    pub started: SystemTime,
    /// Which addresses it has.
    pub space: Space,
    /// Bytes of a page.
    pub page_size: u64,
    /// Who said which addresses to dump.
    pub segments_from: String,
}

/// Where everything goes in the output.
#[derive(Debug)]
pub struct Layout {
    format: Format,
    elf: Option<elf::Head>,
    page_size: u64,
    /// Bytes of the output, holes included.
    size: u64,
    /// Bytes of the output that are no holes.
    stored: u64,
}

impl Layout {
    /// Lays out a dump of segments, which are ascending and do not overlap.
    ///
    /// # Errors
    ///
    /// The format cannot hold the dump: kernel virtual addresses in a format of physical ones, or more than
    /// 2^63 bytes. Or the page size is not possible.
    pub fn new(format: Format, segments: &[Segment], about: &About) -> Result<Self> {
        checked_page_size(about.page_size)?;
        if about.space == Space::Kernel && matches!(format, Format::Padded | Format::Lime) {
            return Err(Error::Refused(format!(
                "format {} is for physical addresses; kernel virtual addresses require raw or elf",
                format.name()
            )));
        }
        let head = if format == Format::Elf { Some(elf::Head::new(segments, about)?) } else { None };
        let before = head.as_ref().map_or(0, |head| head.bytes().len() as u64);
        Self { format, elf: head, page_size: about.page_size, size: 0, stored: 0 }
            .measured(before, segments.iter().cloned())
    }

    /// Lays out segments in a format, where nothing is to be said of them: in an ELF file, what comes before and
    /// behind the memory is somebody else's, and so many bytes come before it.
    ///
    /// # Errors
    ///
    /// There are more than 2^63 bytes, or the page size is not possible.
    pub fn from_segments(
        format: Format,
        segments: impl Iterator<Item = Segment>,
        page_size: u64,
        before: u64,
    ) -> Result<Self> {
        checked_page_size(page_size)?;
        Self { format, elf: None, page_size, size: 0, stored: 0 }.measured(before, segments)
    }

    fn measured(mut self, before: u64, segments: impl Iterator<Item = Segment>) -> Result<Self> {
        let mut position = before;
        let mut holes = 0u64;
        let too_large = || Error::Refused("a dump of 8 EiB or more cannot be written".to_owned());
        for segment in segments {
            let gap = self.gap_before(&segment, position);
            holes += if self.format == Format::Padded { gap } else { 0 };
            position = position
                .checked_add(gap)
                .and_then(|position| position.checked_add(self.header_of(&segment).len() as u64))
                .and_then(|position| position.checked_add(segment.end - segment.start))
                .filter(|position| i64::try_from(*position).is_ok())
                .ok_or_else(too_large)?;
        }
        self.size = position + self.elf.as_ref().map_or(0, |_| elf::tail_size(position));
        self.stored = self.size - holes;
        Ok(self)
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes of the output if everything can be read, before compression.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of them that a file with holes takes on disk.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// What stands before everything.
    pub fn head(&self) -> &[u8] {
        self.elf.as_ref().map_or(&[], elf::Head::bytes)
    }

    /// Zeros before a segment (before its header), when the output has so many bytes.
    pub fn gap_before(&self, segment: &Segment, position: u64) -> u64 {
        match self.format {
            Format::Padded => segment.start.saturating_sub(position),
            Format::Elf => elf::gap_before(segment, position, self.page_size),
            Format::Raw | Format::Lime => 0,
        }
    }

    /// What stands right before a segment.
    pub fn header_of(&self, segment: &Segment) -> Vec<u8> {
        match self.format {
            Format::Lime => lime::encode_header(segment.start, segment.end).to_vec(),
            _ => Vec::new(),
        }
    }

    /// What stands behind everything, when the output has so many bytes and it is known what could not be read.
    pub fn tail(&self, unreadable: &Unreadable, position: u64) -> Vec<u8> {
        self.elf.as_ref().map_or_else(Vec::new, |elf| elf.tail(unreadable, position))
    }
}
