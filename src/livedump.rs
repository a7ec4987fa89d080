//! Live dumps: a minidump of the running kernel, taken by `MEM_KERNELDUMP` and checked.
//!
//! The kernel writes the dump from the file's start and a `kerneldumpheader` at the next page border behind
//! it, and does not truncate. The header is checked and cut off, so that a compressed dump is a clean
//! stream, as `savecore -L` leaves it.

use crate::error::{Error, Operation, Result};
use crate::host::Host;
use crate::kerneldump::{Compression, HEADER_LENGTH, Header};
use crate::output_file::OutputFile;
use ioctl_defs::kerneldump::KERNELDUMPVERSION;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How a live dump is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What the kernel shall compress with.
    pub compression: Compression,
    /// Replace the file if it is there.
    pub replace: bool,
}

/// A live dump that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The header that stood behind the dump.
    pub header: Header,
}

/// Takes a live dump into a file, which appears whole or not at all.
///
/// # Errors
///
/// The kernel refuses or fails, or what it wrote is not what was asked for.
pub fn take(host: &dyn Host, target: &Path, options: Options) -> Result<Report> {
    let architecture = host.system()?.machine_arch;
    let output = OutputFile::create(target, options.replace)?;
    host.kernel_dump(output.file(), options.compression).map_err(|error| name_file(error, target))?;
    let length = output.file().metadata().map_err(|source| Error::io("look at", target, source))?.len();
    let header = read_trailer(output.file(), length).map_err(|error| match error {
        Error::Io { source, .. } => Error::io("read back", target, source),
        other => other,
    })?;
    check_trailer(&header, length, &architecture, options.compression)?;
    output.file().set_len(header.dump_length).map_err(|source| Error::io("truncate", target, source))?;
    output.commit()?;
    Ok(Report { header })
}

/// The host knows a descriptor only; the user knows the file's name.
fn name_file(error: Error, target: &Path) -> Error {
    match error {
        Error::Kernel(mut error) if error.operation == Operation::KernelDump => {
            error.subject = target.display().to_string();
            Error::Kernel(error)
        }
        other => other,
    }
}

fn read_trailer(file: &std::fs::File, length: u64) -> Result<Header> {
    let Some(offset) = length.checked_sub(HEADER_LENGTH as u64) else {
        return Err(bad(format!("the file has {length} bytes, less than a header")));
    };
    let mut bytes = [0; HEADER_LENGTH];
    file.read_exact_at(&mut bytes, offset)
        .map_err(|source: io::Error| Error::Io { what: "read the header back".to_owned(), source })?;
    Header::parse(&bytes).map_err(|error| bad(error.to_string()))
}

fn bad(why: String) -> Error {
    Error::Format(format!("the kernel reported success, but the header behind the dump is not right: {why}"))
}

/// Checks the header against what was asked for and against the file's length.
///
/// # Errors
///
/// The field that is wrong, and how.
pub fn check_trailer(header: &Header, file_length: u64, architecture: &str, compression: Compression) -> Result<()> {
    if header.version != KERNELDUMPVERSION {
        return Err(bad(format!("version: it is {}, not {KERNELDUMPVERSION}", header.version)));
    }
    if header.architecture != architecture {
        return Err(bad(format!(
            "architecture: it is '{}', this machine is '{architecture}'",
            header.architecture.escape_debug()
        )));
    }
    if header.compression != compression.code() {
        return Err(bad(format!(
            "compression: it is {}, {} ({}) was asked for",
            header.compression,
            compression.code(),
            compression.name()
        )));
    }
    if header.key_size != 0 {
        return Err(bad(format!("dumpkeysize: it is {}, but a live dump is never encrypted", header.key_size)));
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
            "dumplength: it is {} in blocks of {}, which does not fit a file of {file_length} bytes",
            header.dump_length, header.block_size
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Header {
        Header {
            kind: crate::kerneldump::Kind::KernelDump,
            architecture: "amd64".to_owned(),
            version: 4,
            architecture_version: 2,
            dump_length: 10_000,
            dump_time: 0,
            key_size: 0,
            block_size: 4096,
            hostname: String::new(),
            version_string: String::new(),
            panic_string: String::new(),
            compression: 2,
            extent: 20_000,
        }
    }

    fn check(header: &Header, length: u64) -> Result<(), String> {
        check_trailer(header, length, "amd64", Compression::Zstd).map_err(|error| error.to_string())
    }

    #[test]
    fn a_right_header_passes() {
        assert_eq!(check(&good(), 12_288 + 512), Ok(()));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let cases = [
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
            let error = check(&header, 12_288 + 512).unwrap_err();
            assert!(error.contains(&format!("{field}: ")), "{field}: {error}");
        }
        for length in [0, 512, 12_288, 12_288 + 511, 12_288 + 513, 16_384 + 512] {
            assert!(check(&good(), length).unwrap_err().contains("dumplength"), "{length}");
        }
    }
}
