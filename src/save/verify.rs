//! What was saved, looked at before it gets its name.

use super::beginning;
use crate::error::{Error, Result};
use crate::output_file::OutputFile;
use crate::sha256;
use std::io;
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::stream::Stream;
use vmcore::dump::{self, Content, Damage, Depth};
use vmcore::kerneldump::{Compression, Header};
use vmcore::progress::Progress;

pub(super) fn cannot_read_back(source: io::Error) -> Error {
    Error::Io { what: "read the dump back".to_owned(), source }
}

/// What is wrong with the first bytes of a dump that was stored: while it was copied, the device may have been swapped
/// to.
pub(super) fn beginning_of(stored: &ByteSource, header: &Header, compression: Compression) -> Result<Option<Damage>> {
    let progress = Progress::default();
    let stream = Stream::new(stored, (0, stored.length()), compression, &progress).map_err(cannot_read_back)?;
    Ok(beginning::check(stream, header))
}

/// Reads a file back and compares it with what was written.
pub(super) fn compare(file: &OutputFile, expected: &str, progress: &Progress) -> Result<()> {
    let back = ByteSource::from_file(file.file()).map_err(cannot_read_back)?;
    let mut reader = back.part(0, back.length(), progress);
    let (_, found) = sha256::of_reader(&mut reader, u64::MAX, |_| {}).map_err(cannot_read_back)?;
    match found == expected {
        true => Ok(()),
        false => Err(Error::Format("the dump that was written cannot be read back: its SHA-256 differs".to_owned())),
    }
}

/// Reads a dump that is compressed so, and gives what may be wrong with it.
pub(super) fn verify(
    volume: &ByteSource,
    device: &str,
    compression: Compression,
    depth: Depth,
    progress: &Progress,
) -> Result<Vec<String>> {
    let found = dump::inspect(volume, depth, progress).map_err(cannot_read_back)?;
    if let Some(damage) = found.damage.first() {
        return Err(Error::Format(format!("the dump on {device} is damaged: {damage}")));
    }
    if compression != Compression::None && found.compression != compression {
        let name = compression.name();
        return Err(Error::Format(format!("the dump on {device} is damaged: compression: not a {name} stream")));
    }
    let mut warnings = found.warnings;
    warnings.extend(found.limits.iter().map(|limit| format!("a limit of memtool, not damage: {limit}")));
    if found.content == Content::Unknown {
        warnings.push("the dump has nothing can be checked".to_owned());
    }
    Ok(warnings)
}
