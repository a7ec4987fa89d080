//! The header behind a live dump.
//!
//! The kernel writes a `kerneldumpheader` at the next page border behind the dump (`vnode_write_headers`,
//! sys/kern/kern_vnodedumper.c). It is the only word on how long the dump is, so nothing is believed unchecked.

use crate::error::{Error, Result};
use crate::save::info;
use ioctl_defs::kerneldump::KERNELDUMPVERSION;
use std::fs::File;
use std::os::unix::fs::FileExt;
use vmcore::kerneldump::{Compression, HEADER_LENGTH, Header, Kind};
use vmcore::units::counted;

/// The header behind a live dump, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// The header, decoded.
    pub header: Header,
    /// The parity word as it stands in the header.
    pub parity: [u8; 4],
    /// Whether nothing was wrong with it.
    pub good: bool,
}

impl Trailer {
    /// Reads the header at the end of a file of this length and checks it; see [`check`]. `lenient` takes it with a wrong
    /// parity, and with another compression than was asked for.
    ///
    /// # Errors
    ///
    /// Reading fails, or the field that is wrong, and how.
    pub fn read(file: &File, length: u64, architecture: &str, compression: Compression, lenient: bool) -> Result<Self> {
        let Some(offset) = length.checked_sub(HEADER_LENGTH as u64) else {
            return Err(bad(format!("the file has {}, less than a header", counted(length, "byte"))));
        };
        let mut bytes = [0; HEADER_LENGTH];
        file.read_exact_at(&mut bytes, offset)
            .map_err(|source| Error::Io { what: "read back the header behind the dump".to_owned(), source })?;
        let parsed = Header::parse(&bytes);
        let good = parsed.is_ok();
        let header = if lenient { Header::decode(&bytes) } else { parsed }.map_err(|error| bad(error.to_string()))?;
        let compression = Compression::from_code(header.compression).filter(|_| lenient).unwrap_or(compression);
        check(&header, length, architecture, compression)?;
        Ok(Self { header, parity: info::parity_word(&bytes), good })
    }

    /// What is written about the dump.
    pub fn subject(&self) -> info::Subject<'_> {
        info::Subject { device: info::LIVE, header: &self.header, parity: self.parity, good: self.good }
    }
}

fn bad(why: String) -> Error {
    Error::Format(format!("the kernel reported success, but the header at the end of the dump is wrong: {why}"))
}

/// Checks the header against what was asked for and against the file's length.
///
/// # Errors
///
/// The field that is wrong, and how.
pub fn check(header: &Header, file_length: u64, architecture: &str, compression: Compression) -> Result<()> {
    if header.kind != Kind::KernelDump {
        return Err(bad(format!("magic: it is '{}'", header.kind)));
    }
    if header.version != KERNELDUMPVERSION {
        return Err(bad(format!("version: it is {}, not {KERNELDUMPVERSION}", header.version)));
    }
    if header.architecture != architecture {
        return Err(bad(format!(
            "architecture: '{}', but this machine is '{architecture}'",
            header.architecture.escape_debug()
        )));
    }
    if header.compression != compression.code() {
        return Err(bad(format!(
            "compression: {}, but {} ({}) was requested",
            header.compression,
            compression.code(),
            compression.name()
        )));
    }
    if header.key_size != 0 {
        return Err(bad(format!("dumpkeysize: {}, but a live dump is never encrypted", header.key_size)));
    }
    if header.block_size == 0 {
        return Err(bad("blocksize: it is 0".to_owned()));
    }
    let expected = header
        .dump_length
        .checked_next_multiple_of(u64::from(header.block_size))
        .and_then(|end| end.checked_add(HEADER_LENGTH as u64));
    if header.dump_length == 0 || expected != Some(file_length) {
        return Err(bad(format!(
            "dumplength: {} in blocks of {} does not match a file of {file_length} bytes",
            header.dump_length, header.block_size
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmcore::text::Name;

    fn good() -> Header {
        Header {
            kind: Kind::KernelDump,
            architecture: "amd64".to_owned(),
            version: 4,
            architecture_version: 2,
            dump_length: 10_000,
            dump_time: 0,
            key_size: 0,
            block_size: 4096,
            hostname: Name::default(),
            version_string: Name::default(),
            panic_string: Name::default(),
            compression: 2,
            extent: 20_000,
        }
    }

    fn checked(header: &Header, length: u64) -> Result<(), String> {
        super::check(header, length, "amd64", Compression::Zstd).map_err(|error| error.to_string())
    }

    #[test]
    fn a_right_header_passes() {
        assert_eq!(checked(&good(), 12_288 + 512), Ok(()));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let cases = [
            ("magic", Header { kind: Kind::Cleared, ..good() }),
            ("version", Header { version: 3, ..good() }),
            ("architecture", Header { architecture: "arm64".to_owned(), ..good() }),
            ("compression", Header { compression: 1, ..good() }),
            ("dumpkeysize", Header { key_size: 1, ..good() }),
            ("blocksize", Header { block_size: 0, ..good() }),
            ("dumplength", Header { dump_length: 0, ..good() }),
            ("dumplength", Header { dump_length: 13_000, ..good() }),
            ("dumplength", Header { dump_length: u64::MAX, ..good() }),
        ];
        for (field, header) in cases {
            let error = checked(&header, 12_288 + 512).unwrap_err();
            assert!(error.contains(&format!("{field}: ")), "{field}: {error}");
        }
        for length in [0, 512, 12_288, 12_288 + 511, 12_288 + 513, 16_384 + 512] {
            assert!(checked(&good(), length).unwrap_err().contains("dumplength"), "{length}");
        }
    }
}
