//! The kernel dump header: 512 bytes, integers big-endian on every machine.
//!
//! Sources: `sys/sys/kerneldump.h` of FreeBSD 10.4 for version 1 and of 12.1 and 14 for version 4; for 2
//! and 3 the structures in `kerneldump_compat.h` (Mark Johnston, 2018).

use super::{Arch, Endianness, Field, set, set_text};

/// Bytes of a header.
pub const SIZE: usize = 512;

const V1: &[Field] = &[
    ("magic", 0, 20),
    ("architecture", 20, 12),
    ("version", 32, 4),
    ("architectureversion", 36, 4),
    ("dumplength", 40, 8),
    ("dumptime", 48, 8),
    ("blocksize", 56, 4),
    ("hostname", 60, 64),
    ("versionstring", 124, 192),
    ("panicstring", 316, 192),
    ("parity", 508, 4),
];

/// With the size of a key.
const V2: &[Field] = &[
    ("magic", 0, 20),
    ("architecture", 20, 12),
    ("version", 32, 4),
    ("architectureversion", 36, 4),
    ("dumplength", 40, 8),
    ("dumptime", 48, 8),
    ("dumpkeysize", 56, 4),
    ("blocksize", 60, 4),
    ("hostname", 64, 64),
    ("versionstring", 128, 192),
    ("panicstring", 320, 188),
    ("parity", 508, 4),
];

/// With compression and extent, which version 4 has elsewhere.
const V3: &[Field] = &[
    ("magic", 0, 20),
    ("architecture", 20, 12),
    ("version", 32, 4),
    ("architectureversion", 36, 4),
    ("dumplength", 40, 8),
    ("dumpextent", 48, 8),
    ("dumptime", 56, 8),
    ("dumpkeysize", 64, 4),
    ("blocksize", 68, 4),
    ("compression", 72, 1),
    ("hostname", 73, 64),
    ("versionstring", 137, 192),
    ("panicstring", 329, 179),
    ("parity", 508, 4),
];

const V4: &[Field] = &[
    ("magic", 0, 20),
    ("architecture", 20, 12),
    ("version", 32, 4),
    ("architectureversion", 36, 4),
    ("dumplength", 40, 8),
    ("dumptime", 48, 8),
    ("dumpkeysize", 56, 4),
    ("blocksize", 60, 4),
    ("hostname", 64, 64),
    ("versionstring", 128, 192),
    ("panicstring", 320, 175),
    ("compression", 495, 1),
    ("dumpextent", 496, 8),
    ("unused", 504, 4),
    ("parity", 508, 4),
];

/// The fields of a version, 1 to 4.
pub fn fields(version: u32) -> &'static [Field] {
    match version {
        1 => V1,
        2 => V2,
        3 => V3,
        4 => V4,
        other => panic!("no version {other}"),
    }
}

/// What a header says the dump is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Kernel,
    Text,
    /// Saved already.
    Cleared,
}

impl Kind {
    pub fn magic(self) -> &'static str {
        match self {
            Self::Kernel => "FreeBSD Kernel Dump",
            Self::Text => "FreeBSD Text Dump",
            Self::Cleared => "Cleared Kernel Dump",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None = 0,
    Gzip = 1,
    Zstd = 2,
}

impl Compression {
    /// Compresses as the kernel does: one plain stream.
    pub fn compress(self, bytes: &[u8]) -> Vec<u8> {
        use std::io::Write;
        match self {
            Self::None => bytes.to_vec(),
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Self::Zstd => zstd::encode_all(bytes, 1).unwrap(),
        }
    }
}

/// A header to build. What its version has no field for is left out.
#[derive(Clone, Debug)]
pub struct KernelDumpHeader {
    pub kind: Kind,
    pub architecture: String,
    pub version: u32,
    pub architecture_version: u32,
    pub dump_length: u64,
    pub dump_time: u64,
    pub key_size: u32,
    pub block_size: u32,
    pub hostname: String,
    pub version_string: String,
    pub panic_string: String,
    pub compression: Compression,
    pub extent: u64,
}

impl KernelDumpHeader {
    /// A header of an uncompressed dump of that length, as a panic leaves it.
    pub fn example(arch: Arch, version: u32, dump_length: u64) -> Self {
        Self {
            kind: Kind::Kernel,
            architecture: arch.machine_arch().into(),
            version,
            architecture_version: arch.architecture_version(),
            dump_length,
            dump_time: 1_700_000_000,
            key_size: 0,
            block_size: 512,
            hostname: "dumped.example.org".into(),
            version_string: "FreeBSD 14.0-RELEASE #0: Fri Nov 10 05:57:23 UTC 2023\n    GENERIC\n".into(),
            panic_string: "page fault".into(),
            compression: Compression::None,
            extent: dump_length,
        }
    }

    pub fn build(&self) -> Vec<u8> {
        let fields = fields(self.version);
        let mut bytes = vec![0; SIZE];
        set_text(&mut bytes, fields, "magic", self.kind.magic());
        set_text(&mut bytes, fields, "architecture", &self.architecture);
        set_text(&mut bytes, fields, "hostname", &self.hostname);
        set_text(&mut bytes, fields, "versionstring", &self.version_string);
        set_text(&mut bytes, fields, "panicstring", &self.panic_string);
        let integers = [
            ("version", self.version.into()),
            ("architectureversion", self.architecture_version.into()),
            ("dumplength", self.dump_length),
            ("dumptime", self.dump_time),
            ("dumpkeysize", self.key_size.into()),
            ("blocksize", self.block_size.into()),
            ("compression", self.compression as u64),
            ("dumpextent", self.extent),
        ];
        for (name, value) in integers {
            if fields.iter().any(|field| field.0 == name) {
                set(&mut bytes, fields, Endianness::Big, name, value);
            }
        }
        set_parity(&mut bytes);
        bytes
    }
}

/// Makes the exclusive or of all words zero again, after a change to a header.
pub fn set_parity(header: &mut [u8]) {
    let (parity, end) = (SIZE - 4, SIZE);
    header[parity..end].fill(0);
    let words = header[..end]
        .chunks_exact(4)
        .fold([0; 4], |all: [u8; 4], word| std::array::from_fn(|index| all[index] ^ word[index]));
    header[parity..end].copy_from_slice(&words);
}
