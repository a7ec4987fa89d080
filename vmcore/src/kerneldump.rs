//! The header of kernel dumps: `struct kerneldumpheader` of `sys/kerneldump.h`, 512 bytes, integers
//! big-endian on every machine.

use crate::bounds::{head, low_u32, part};
use crate::text::{Name, until_nul};
use ioctl_defs::kerneldump::{
    KERNELDUMP_COMP_GZIP, KERNELDUMP_COMP_NONE, KERNELDUMP_COMP_ZSTD, KERNELDUMPMAGIC, KERNELDUMPMAGIC_CLEARED,
    KERNELDUMPVERSION, TEXTDUMPMAGIC, kerneldumpheader,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use zerocopy::{FromZeros, IntoBytes};

/// Bytes of a header.
pub const HEADER_LENGTH: usize = size_of::<kerneldumpheader>();

/// How a kernel compresses a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// The `KERNELDUMP_COMP_*` constant.
    pub const fn code(self) -> u8 {
        match self {
            Self::None => KERNELDUMP_COMP_NONE,
            Self::Gzip => KERNELDUMP_COMP_GZIP,
            Self::Zstd => KERNELDUMP_COMP_ZSTD,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// What savecore(8) puts behind the name of a file that is compressed so.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// Whether a kernel with pages of so many bytes can compress its live dumps so. Kernels as late as FreeBSD 15.1
    /// hand on what zstd makes in multiples of 4096 bytes (`zst_flush_intermediate()`, `sys/kern/subr_compressor.c`).
    /// Live dumps are written in pages (`sys/kern/kern_vnodedumper.c`), and what is no multiple of them is taken for
    /// the end (`kerneldumpcomp_write_cb()`, `sys/kern/kern_shutdown.c`): the dump fails with EAGAIN. gzip's buffer is
    /// whole pages.
    pub fn suits_live_dumps(self, page_size: u32) -> bool {
        self != Self::Zstd || page_size <= 4096
    }

    /// The one with this `KERNELDUMP_COMP_*` constant.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            KERNELDUMP_COMP_NONE => Some(Self::None),
            KERNELDUMP_COMP_GZIP => Some(Self::Gzip),
            KERNELDUMP_COMP_ZSTD => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// What stands between the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A dump of the kernel's memory.
    KernelDump,
    /// A text dump, textdump(4).
    TextDump,
    /// A dump that was saved already.
    Cleared,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::KernelDump, Self::TextDump, Self::Cleared];

    /// The magic.
    pub const fn magic(self) -> &'static [u8] {
        match self {
            Self::KernelDump => KERNELDUMPMAGIC,
            Self::TextDump => TEXTDUMPMAGIC,
            Self::Cleared => KERNELDUMPMAGIC_CLEARED,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.magic()))
    }
}

/// A kernel dump's header, decoded. Text is cut at its first NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What the magic says.
    pub kind: Kind,
    /// `MACHINE_ARCH` of the kernel.
    pub architecture: String,
    /// Version of the header.
    pub version: u32,
    /// Version of the architecture's dump format.
    pub architecture_version: u32,
    /// Bytes of data without headers, compressed if the dump is.
    pub dump_length: u64,
    /// When the dump was taken, in seconds since the epoch.
    pub dump_time: u64,
    /// Bytes of the key of an encrypted dump; 0 if it is not encrypted.
    pub key_size: u32,
    /// Bytes in a block.
    pub block_size: u32,
    /// The host's name.
    pub hostname: Name,
    /// The kernel's version.
    pub version_string: Name,
    /// Why the kernel panicked; empty in a live dump.
    pub panic_string: Name,
    /// One of the `KERNELDUMP_COMP_*` constants.
    pub compression: u8,
    /// Bytes that the data takes on a device; of a compressed live dump, its size before compression.
    pub extent: u64,
}

/// Why 512 bytes are not a kernel dump's header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The magic is another one.
    #[error("magic: '{0}' is not a kernel dump's")]
    Magic(String),
    /// The version is none that is known.
    #[error("version: unknown version {0}; versions 1 to {KERNELDUMPVERSION} are supported")]
    Version(u32),
    /// The words do not add up.
    #[error("parity: the header's words give {0:#010x}, not 0")]
    Parity(u32),
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(until_nul(field)).into_owned()
}

/// An integer of a field, of 8 bytes at most.
fn number(field: &[u8]) -> u64 {
    field.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Puts text into a field, cut so that a NUL remains.
fn field<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut field = [0; N];
    for (to, from) in field.iter_mut().take(N - 1).zip(text) {
        *to = *from;
    }
    field
}

/// The exclusive or of all words; 0 for a header whose parity is right.
pub fn parity(header: &[u8; HEADER_LENGTH]) -> u32 {
    let (words, _) = header.as_chunks::<4>();
    words.iter().fold(0, |parity, word| parity ^ u32::from_be_bytes(*word))
}

/// Names and first bytes of the fields, by version: a field ends where the next one begins. Version 1 has no key,
/// 2 no compression and no extent, and 3 has them elsewhere than 4 (`sys/kerneldump.h` through its history).
const FIELDS: [&[(&str, usize)]; 4] = [
    &[
        ("magic", 0),
        ("architecture", 20),
        ("version", 32),
        ("architectureversion", 36),
        ("dumplength", 40),
        ("dumptime", 48),
        ("blocksize", 56),
        ("hostname", 60),
        ("versionstring", 124),
        ("panicstring", 316),
        ("parity", 508),
    ],
    &[
        ("magic", 0),
        ("architecture", 20),
        ("version", 32),
        ("architectureversion", 36),
        ("dumplength", 40),
        ("dumptime", 48),
        ("dumpkeysize", 56),
        ("blocksize", 60),
        ("hostname", 64),
        ("versionstring", 128),
        ("panicstring", 320),
        ("parity", 508),
    ],
    &[
        ("magic", 0),
        ("architecture", 20),
        ("version", 32),
        ("architectureversion", 36),
        ("dumplength", 40),
        ("dumpextent", 48),
        ("dumptime", 56),
        ("dumpkeysize", 64),
        ("blocksize", 68),
        ("compression", 72),
        ("hostname", 73),
        ("versionstring", 137),
        ("panicstring", 329),
        ("parity", 508),
    ],
    &[
        ("magic", 0),
        ("architecture", 20),
        ("version", 32),
        ("architectureversion", 36),
        ("dumplength", 40),
        ("dumptime", 48),
        ("dumpkeysize", 56),
        ("blocksize", 60),
        ("hostname", 64),
        ("versionstring", 128),
        ("panicstring", 320),
        ("compression", 495),
        ("dumpextent", 496),
        ("unused", 504),
        ("parity", 508),
    ],
];

/// The fields of a version; `None` if it is none that is known.
fn fields(version: u32) -> Option<&'static [(&'static str, usize)]> {
    FIELDS.get(usize::try_from(version).ok()?.checked_sub(1)?).copied()
}

/// The name of the field of a version that a byte belongs to.
pub fn field_at(version: u32, byte: usize) -> &'static str {
    let before = fields(version).unwrap_or_default().iter().rev().find(|(_, start)| *start <= byte);
    before.map_or("header", |(name, _)| name)
}

/// Bytes of the magic.
const MAGIC: usize = 20;
/// The first byte of the parity, in every version.
const PARITY: usize = HEADER_LENGTH - 4;

/// What remains of the last header when its dump was saved, as savecore(8) leaves it: with another magic and the same
/// parity, so that `savecore -f`, which puts the magic back, finds both headers equal.
pub fn cleared(header: &[u8; HEADER_LENGTH]) -> [u8; HEADER_LENGTH] {
    with_magic(header, Kind::Cleared)
}

/// A header with another magic, and its parity changed along with it: how earlier versions of memtool cleared dumps.
fn with_magic_and_parity(header: &[u8; HEADER_LENGTH], kind: Kind) -> [u8; HEADER_LENGTH] {
    let mut changed = with_magic(header, kind);
    let difference = parity(header) ^ parity(&changed);
    for (byte, difference) in changed.iter_mut().skip(PARITY).zip(difference.to_be_bytes()) {
        *byte ^= difference;
    }
    changed
}

fn with_magic(header: &[u8; HEADER_LENGTH], kind: Kind) -> [u8; HEADER_LENGTH] {
    let mut changed = *header;
    let magic = kind.magic().iter().chain(std::iter::repeat(&0));
    changed.iter_mut().take(MAGIC).zip(magic).for_each(|(to, from)| *to = *from);
    changed
}

/// A header as it was before its dump was cleared, by savecore(8) or by an earlier memtool, as far as that can be told
/// from the last header, which is given, and the first one, which stays as it was.
pub fn uncleared(last: &[u8; HEADER_LENGTH], first: Option<&[u8; HEADER_LENGTH]>) -> [u8; HEADER_LENGTH] {
    const KINDS: [Kind; 2] = [Kind::KernelDump, Kind::TextDump];
    let savecore = KINDS.map(|kind| with_magic(last, kind));
    let earlier = KINDS.map(|kind| with_magic_and_parity(last, kind));
    let is_first = |header: &&[u8; HEADER_LENGTH]| first == Some(*header);
    let candidates = || savecore.iter().chain(&earlier);
    let is_right = |header: &&[u8; HEADER_LENGTH]| parity(header) == 0;
    let found = candidates().find(is_first).or_else(|| candidates().find(is_right));
    found.copied().unwrap_or_else(|| with_magic(last, Kind::KernelDump))
}

impl Header {
    /// Decodes a header and checks its parity.
    ///
    /// # Errors
    ///
    /// The magic or the parity is wrong, or the version is not known.
    pub fn parse(bytes: &[u8; HEADER_LENGTH]) -> Result<Self, HeaderError> {
        let header = Self::decode(bytes)?;
        match parity(bytes) {
            0 => Ok(header),
            wrong => Err(HeaderError::Parity(wrong)),
        }
    }

    /// Decodes a header of any version, whatever its parity.
    ///
    /// # Errors
    ///
    /// The magic is wrong, or the version is not known.
    pub fn decode(bytes: &[u8; HEADER_LENGTH]) -> Result<Self, HeaderError> {
        let magic = text(head(bytes, MAGIC));
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.magic() == magic.as_bytes()) else {
            return Err(HeaderError::Magic(magic.escape_debug().to_string()));
        };
        let version = low_u32(number(part(bytes, 32..36)));
        let fields = fields(version).ok_or(HeaderError::Version(version))?;
        let field = |name: &str| {
            let index = fields.iter().position(|(field, _)| *field == name)?;
            let (_, start) = fields.get(index)?;
            bytes.get(*start..fields.get(index + 1).map_or(HEADER_LENGTH, |(_, next)| *next))
        };
        let number = |name: &str| field(name).map(number);
        let int = |name: &str| number(name).map_or(0, low_u32);
        let text = |name: &str| field(name).map(text).unwrap_or_default();
        let name = |name: &str| field(name).map(until_nul).unwrap_or_default();
        let dump_length = number("dumplength").unwrap_or(0);
        Ok(Self {
            kind,
            architecture: text("architecture"),
            version,
            architecture_version: int("architectureversion"),
            dump_length,
            dump_time: number("dumptime").unwrap_or(0),
            key_size: int("dumpkeysize"),
            block_size: int("blocksize"),
            hostname: name("hostname").into(),
            version_string: name("versionstring").trim_ascii_end().into(),
            panic_string: name("panicstring").into(),
            compression: field("compression").and_then(<[u8]>::first).copied().unwrap_or(KERNELDUMP_COMP_NONE),
            extent: number("dumpextent").unwrap_or(dump_length),
        })
    }

    /// Encodes a header in the form of version 4, parity included.
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let mut raw = kerneldumpheader::new_zeroed();
        for (to, from) in raw.magic.iter_mut().zip(self.kind.magic()) {
            *to = *from;
        }
        raw.architecture = field(self.architecture.as_bytes());
        raw.version.set(self.version);
        raw.architectureversion.set(self.architecture_version);
        raw.dumplength.set(self.dump_length);
        raw.dumptime.set(self.dump_time);
        raw.dumpkeysize.set(self.key_size);
        raw.blocksize.set(self.block_size);
        raw.hostname = field(self.hostname.as_bytes());
        raw.versionstring = field(self.version_string.as_bytes());
        raw.panicstring = field(self.panic_string.as_bytes());
        raw.compression = self.compression;
        raw.dumpextent.set(self.extent);
        let mut bytes = [0; HEADER_LENGTH];
        bytes.copy_from_slice(raw.as_bytes());
        raw.parity.set(parity(&bytes));
        bytes.copy_from_slice(raw.as_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            kind: Kind::KernelDump,
            architecture: "amd64".to_owned(),
            version: 4,
            architecture_version: 2,
            dump_length: 0x0855_3000,
            dump_time: 0x6b00_e575,
            key_size: 0,
            block_size: 4096,
            hostname: "fvm".into(),
            version_string: "FreeBSD 12.1-RELEASE FVM".into(),
            panic_string: Name::default(),
            compression: 2,
            extent: 0x0855_3000,
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let bytes = header().encode();
        assert_eq!(parity(&bytes), 0);
        assert_eq!(Header::parse(&bytes), Ok(header()));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let bytes = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn what_is_cleared_is_as_savecore_leaves_it_and_can_be_brought_back() {
        for kind in [Kind::KernelDump, Kind::TextDump] {
            let before = Header { kind, ..header() }.encode();
            let mut savecore = before;
            savecore[..20].copy_from_slice(b"Cleared Kernel Dump\0");
            assert_eq!(cleared(&before), savecore);
            assert_eq!(uncleared(&savecore, Some(&before)), before);
            assert_eq!(uncleared(&savecore, None), before);
            // The way an earlier memtool did it.
            let earlier = with_magic_and_parity(&before, Kind::Cleared);
            assert_eq!(Header::parse(&earlier), Ok(Header { kind: Kind::Cleared, ..header() }));
            assert_eq!(uncleared(&earlier, Some(&before)), before);
        }
    }

    #[test]
    fn text_longer_than_its_field_is_cut() {
        let long = Header { hostname: "h".repeat(100).into(), architecture: "a".repeat(100), ..header() };
        let read = Header::parse(&long.encode()).unwrap();
        assert_eq!((read.hostname.as_bytes().len(), read.architecture.len()), (63, 11));
    }
}
