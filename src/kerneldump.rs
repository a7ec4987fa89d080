//! The header of kernel dumps: `struct kerneldumpheader` of `sys/kerneldump.h`, 512 bytes, integers
//! big-endian on every machine.

use ioctl_defs::kerneldump::{
    KERNELDUMP_COMP_GZIP, KERNELDUMP_COMP_NONE, KERNELDUMP_COMP_ZSTD, KERNELDUMPMAGIC, kerneldumpheader,
};
use serde::{Deserialize, Serialize};
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
}

/// A kernel dump's header, decoded. Text is cut at its first NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
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
    #[error("magic: it is '{0}', not 'FreeBSD Kernel Dump'")]
    Magic(String),
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

impl Header {
    /// Decodes a header.
    ///
    /// # Errors
    ///
    /// The magic or the parity is wrong.
    pub fn parse(bytes: &[u8; HEADER_LENGTH]) -> Result<Self, HeaderError> {
        let raw: kerneldumpheader = zerocopy::transmute!(*bytes);
        let magic = raw.magic.split(|byte| *byte == 0).next().unwrap_or_default();
        if magic != KERNELDUMPMAGIC {
            return Err(HeaderError::Magic(String::from_utf8_lossy(magic).escape_debug().to_string()));
        }
        let parity = parity(bytes);
        if parity != 0 {
            return Err(HeaderError::Parity(parity));
        }
        Ok(Self {
            architecture: text(&raw.architecture),
            version: raw.version.get(),
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
        })
    }

    /// Encodes a header, parity included.
    pub fn encode(&self) -> [u8; HEADER_LENGTH] {
        let mut raw = kerneldumpheader::new_zeroed();
        for (to, from) in raw.magic.iter_mut().zip(KERNELDUMPMAGIC) {
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
