//! The header of kernel dumps: `struct kerneldumpheader` of `sys/kerneldump.h`, 512 bytes, integers
//! big-endian on every machine.

use ioctl_defs::kerneldump::{
    KERNELDUMP_COMP_GZIP, KERNELDUMP_COMP_NONE, KERNELDUMP_COMP_ZSTD, KERNELDUMPMAGIC, KERNELDUMPMAGIC_CLEARED,
    KERNELDUMPVERSION, TEXTDUMPMAGIC, kerneldumpheader,
};
use serde::Serialize;
use std::fmt;
use zerocopy::{FromZeros, IntoBytes};

/// Bytes of a header.
pub const HEADER_LENGTH: usize = size_of::<kerneldumpheader>();

/// How a kernel compresses a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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

    /// The one with this `KERNELDUMP_COMP_*` constant.
    pub const fn of_code(code: u8) -> Option<Self> {
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
#[serde(rename_all = "snake_case")]
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
    pub hostname: String,
    /// The kernel's version.
    pub version_string: String,
    /// Why the kernel panicked; empty in a live dump.
    pub panic_string: String,
    /// One of the `KERNELDUMP_COMP_*` constants.
    pub compression: u8,
    /// Bytes that the data takes on a device; of a compressed live dump, its size before compression.
    pub extent: u64,
}

/// Why 512 bytes are not a kernel dump's header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The magic is another one.
    #[error("magic: it is '{0}', not one of a kernel dump's")]
    Magic(String),
    /// The version is none that is known.
    #[error("version: it is {0}; versions 1 to {KERNELDUMPVERSION} are known")]
    Version(u32),
    /// The words do not add up.
    #[error("parity: the header's words give {0:#010x}, not 0")]
    Parity(u32),
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// Puts text into a field, cut so that a NUL remains.
fn field<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [0; N];
    for (to, from) in field.iter_mut().take(N - 1).zip(text.bytes()) {
        *to = from;
    }
    field
}

/// The exclusive or of all words; 0 for a header whose parity is right.
pub fn parity(header: &[u8; HEADER_LENGTH]) -> u32 {
    let (words, _) = header.as_chunks::<4>();
    words.iter().fold(0, |parity, word| parity ^ u32::from_be_bytes(*word))
}

/// The name of the field of a version 4 header that a byte belongs to.
pub const fn field_at(byte: usize) -> &'static str {
    match byte {
        0..20 => "magic",
        20..32 => "architecture",
        32..36 => "version",
        36..40 => "architectureversion",
        40..48 => "dumplength",
        48..56 => "dumptime",
        56..60 => "dumpkeysize",
        60..64 => "blocksize",
        64..128 => "hostname",
        128..320 => "versionstring",
        320..495 => "panicstring",
        495 => "compression",
        496..504 => "dumpextent",
        504..508 => "unused",
        _ => "parity",
    }
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

    /// Decodes a header, whatever its parity. Versions 1 to 3 differ behind the time (FreeBSD's history of
    /// `sys/kerneldump.h`): 1 has no key, 2 no compression and extent, and in 3 they lie elsewhere.
    ///
    /// # Errors
    ///
    /// The magic is wrong, or the version is not known.
    pub fn decode(bytes: &[u8; HEADER_LENGTH]) -> Result<Self, HeaderError> {
        let raw: kerneldumpheader = zerocopy::transmute!(*bytes);
        let magic = raw.magic.split(|byte| *byte == 0).next().unwrap_or_default();
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.magic() == magic) else {
            return Err(HeaderError::Magic(String::from_utf8_lossy(magic).escape_debug().to_string()));
        };
        let version = raw.version.get();
        let mut header = Self {
            kind,
            architecture: text(&raw.architecture),
            version,
            architecture_version: raw.architectureversion.get(),
            dump_length: raw.dumplength.get(),
            dump_time: raw.dumptime.get(),
            key_size: raw.dumpkeysize.get(),
            block_size: raw.blocksize.get(),
            hostname: text(&raw.hostname),
            version_string: text(&raw.versionstring).trim_end().to_owned(),
            panic_string: text(&raw.panicstring),
            compression: raw.compression,
            extent: raw.dumpextent.get(),
        };
        let at = |range| bytes.get(range).unwrap_or_default();
        match version {
            1 => {
                header.key_size = 0;
                header.block_size = raw.dumpkeysize.get();
                header.hostname = text(at(60..124));
                text(at(124..316)).trim_end().clone_into(&mut header.version_string);
                header.panic_string = text(at(316..508));
            }
            2 => header.panic_string = text(at(320..508)),
            3 => {
                header.panic_string = text(at(320..499));
                header.compression = at(499..500).first().copied().unwrap_or(0);
                header.extent = at(500..508).iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
            }
            KERNELDUMPVERSION => {}
            other => return Err(HeaderError::Version(other)),
        }
        if version < 3 {
            header.compression = KERNELDUMP_COMP_NONE;
            header.extent = header.dump_length;
        }
        Ok(header)
    }

    /// Encodes a header in the form of version 4, parity included.
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let mut raw = kerneldumpheader::new_zeroed();
        for (to, from) in raw.magic.iter_mut().zip(self.kind.magic()) {
            *to = *from;
        }
        raw.architecture = field(&self.architecture);
        raw.version.set(self.version);
        raw.architectureversion.set(self.architecture_version);
        raw.dumplength.set(self.dump_length);
        raw.dumptime.set(self.dump_time);
        raw.dumpkeysize.set(self.key_size);
        raw.blocksize.set(self.block_size);
        raw.hostname = field(&self.hostname);
        raw.versionstring = field(&self.version_string);
        raw.panicstring = field(&self.panic_string);
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
            hostname: "fvm".to_owned(),
            version_string: "FreeBSD 12.1-RELEASE FVM".to_owned(),
            panic_string: String::new(),
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
    fn text_longer_than_its_field_is_cut() {
        let long = Header { hostname: "h".repeat(100), architecture: "a".repeat(100), ..header() };
        let read = Header::parse(&long.encode()).unwrap();
        assert_eq!((read.hostname.len(), read.architecture.len()), (63, 11));
    }
}
