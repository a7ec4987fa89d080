//! An input that is encrypted, recognised by its first bytes, and decrypted into a file without a name.

use super::Identities;
use super::age_format::{HeaderError, decrypt};
use crate::error::{Error, Result};
use crate::free_space::FreeSpace;
use crate::observer::{Observer, Phase, observe_bytes};
use crate::output_file::unnamed_temp_file;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use vmcore::bounds::{filled, head};
use vmcore::dump::byte_source::ByteSource;
use vmcore::progress::Progress;

/// What everything in the format of age begins with.
const MAGIC: &[u8] = b"age-encryption.org/v1\n";
/// A header of so many bytes has hundreds of recipients; what takes more is none.
const MAX_HEADER: usize = 256 << 10;
/// What its last line begins with, behind the end of the one before.
const LAST_LINE: &[u8] = b"\n---";
/// Bytes that are decrypted at once: a chunk of age's.
const BUFFER: usize = 64 << 10;

/// Where inputs that are encrypted are decrypted, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Unlock<'a> {
    /// The private keys; without any, nothing is decrypted.
    pub identities: &'a Identities,
    /// A directory for files without a name.
    pub scratch: &'a Path,
}

/// Whether an input is encrypted, by its first bytes.
///
/// # Errors
///
/// It cannot be read.
pub fn is_encrypted(volume: &ByteSource) -> io::Result<bool> {
    let mut first = [0; MAGIC.len()];
    let read = volume.read_at(0, &mut first)?;
    Ok(head(&first, read) == MAGIC)
}

/// Decrypts an input that is encrypted into a file that has no name, and so is gone with this process. All of it is
/// authenticated before any is used. What is not encrypted, or without a private key, is handed back as it is: who looks
/// into it finds what it is.
///
/// # Errors
///
/// None of the private keys is the right one; it is damaged; there is no room for it.
pub fn decrypted(
    volume: ByteSource,
    name: &str,
    unlock: Unlock<'_>,
    observer: &mut dyn Observer,
) -> Result<ByteSource> {
    let Unlock { identities, scratch } = unlock;
    let cannot_read = |source| Error::Io { what: format!("read {name}"), source };
    if identities.is_empty() || !is_encrypted(&volume).map_err(cannot_read)? {
        return Ok(volume);
    }
    check_header(&volume, name)?;
    let length = volume.length();
    if let Some(why) = FreeSpace::within(scratch)?.shortage(length, length) {
        return Err(Error::Refused(format!("{name}, decrypted, does not fit into {}: {why}", scratch.display())));
    }
    let file = unnamed_temp_file(scratch)?;
    observe_bytes(observer, Phase::Decrypting, Some(length), |progress| copy(&volume, name, unlock, &file, progress))?;
    ByteSource::from_file(&file).map_err(cannot_read)
}

/// Refuses what would be read as an endless header.
fn check_header(volume: &ByteSource, name: &str) -> Result<()> {
    let mut first = vec![0; MAX_HEADER];
    let read = volume.read_at(0, &mut first).map_err(|source| Error::Io { what: format!("read {name}"), source })?;
    let first = head(&first, read);
    let has_end = first.windows(LAST_LINE.len()).any(|bytes| bytes == LAST_LINE);
    if has_end { Ok(()) } else { Err(Error::Format(format!("{name}: damaged: its header has no end"))) }
}

fn copy(volume: &ByteSource, name: &str, unlock: Unlock<'_>, file: &File, progress: &Progress) -> Result<()> {
    let Unlock { identities, scratch } = unlock;
    let cannot_read = |source| Error::Io { what: format!("read {name}"), source };
    let cannot_write = |source| Error::io("decrypt into", scratch, source);
    let input = BufReader::with_capacity(BUFFER, volume.part(0, volume.length(), progress));
    let mut contents = decrypt(input, identities.keys()).map_err(|error| match error {
        HeaderError::NoMatchingKey => Error::Refused(format!(
            "{name}: the private keys of --identity cannot decrypt it: it is encrypted to others"
        )),
        HeaderError::Passphrase => Error::Refused(format!(
            "{name} is encrypted with a passphrase, which memtool does not ask for; 'age -d' decrypts it"
        )),
        HeaderError::Damaged => Error::Format(format!("{name}: damaged: its header is not one of age, or was changed")),
        HeaderError::Io(source) => cannot_read(source),
    })?;
    let mut buffer = vec![0; BUFFER];
    let mut at = 0_u64;
    loop {
        let read = match contents.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                return Err(Error::Format(format!(
                    "{name}: damaged: it is cut off or was changed, {at} bytes into what it decrypts to"
                )));
            }
            Err(source) => return Err(cannot_read(source)),
        };
        let bytes = filled(&buffer, read).map_err(cannot_read)?;
        // Zeros are left as holes.
        if bytes.iter().any(|byte| *byte != 0) {
            file.write_all_at(bytes, at).map_err(cannot_write)?;
        }
        at = at.saturating_add(read as u64);
    }
    file.set_len(at).map_err(cannot_write)
}
