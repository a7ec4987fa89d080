//! A crash back into a directory, with savecore(8)'s names, compared with its record.

use super::record::{CrashRecord, Kind, StoredObject};
use crate::dump_input;
use crate::encryption::input::{Unlock, decrypted};
use crate::error::{Error, Result};
use crate::observer::{Observer, Phase, observe_bytes};
use crate::output_file::OutputFile;
use crate::remote::folder::Folder;
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use vmcore::bounds::filled;
use vmcore::dump::stream::Stream;
use vmcore::kerneldump::Compression;
use vmcore::units::hex_digits;

/// Bytes that are copied at a time.
const PART: usize = 1 << 18;
/// The last number that savecore(8) has.
const LAST_NUMBER: u32 = 99_999;
/// No report is longer, in bytes.
const MAX_REPORT: u64 = 256 << 20;

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// Writes the files of a crash to a directory, under the first number that is free. Kernels are decompressed.
///
/// # Errors
///
/// One cannot be read or written, or is not what the record says; it is not written then.
pub fn get(
    folder: &dyn Folder,
    record: &CrashRecord,
    directory: &Path,
    observer: &mut dyn Observer,
) -> Result<Vec<Fetched>> {
    let objects: Vec<_> = record.objects.iter().filter(|object| object.kind != Kind::Report).collect();
    let number = free_number(directory, &objects)?;
    let mut fetched = Vec::new();
    // The dump comes last: it is there when everything is.
    for object in objects.iter().rev() {
        let path = directory.join(file_name(object, number));
        let size = fetch(folder, object, &path, observer)?;
        fetched.push(Fetched { kind: object.kind, path, size });
    }
    fetched.reverse();
    Ok(fetched)
}

/// What an object of a crash is called with a number: `vmcore.0.zst`.
fn file_name(object: &StoredObject, number: u32) -> String {
    let name = object.name.rsplit_once('/').map_or(object.name.as_str(), |(_, name)| name);
    match object.kind {
        Kind::Kernel => format!("kernel.{number}"),
        Kind::Debug => format!("kernel.{number}.debug"),
        _ => {
            let (stem, ending) = match name.strip_prefix("textdump.tar") {
                Some(ending) => ("textdump.tar", ending),
                None => name.split_at(name.find('.').unwrap_or(name.len())),
            };
            format!("{stem}.{number}{ending}")
        }
    }
}

fn free_number(directory: &Path, objects: &[&StoredObject]) -> Result<u32> {
    let is_free = |number: &u32| {
        let is_taken = |object: &&StoredObject| directory.join(file_name(object, *number)).symlink_metadata().is_ok();
        // A dump beside another one's information would be taken for its.
        let info = directory.join(format!("info.{number}"));
        !objects.iter().any(is_taken) && info.symlink_metadata().is_err()
    };
    let full = || Error::Refused(format!("{}: no number is free", directory.display()));
    (0..=LAST_NUMBER).find(is_free).ok_or_else(full)
}

fn is_plain_name(name: &str) -> bool {
    name.split('/').all(|part| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._=".contains(&byte))
    })
}

/// Reads an object, compares it with its record, and writes it to a file.
fn fetch(folder: &dyn Folder, object: &StoredObject, path: &Path, observer: &mut dyn Observer) -> Result<u64> {
    // A record is anybody's.
    if !is_plain_name(&object.name) {
        return Err(Error::Format(format!("{}: a record names an object that cannot be", folder.name())));
    }
    let place = folder.place(&object.name);
    let failed = |source: io::Error| Error::io("read", &place, source);
    let source = dump_input::open(&place)?;
    let length = source.length();
    let is_shared = matches!(object.kind, Kind::Kernel | Kind::Debug);
    let compression = if is_shared { Compression::Zstd } else { Compression::None };
    let out = OutputFile::create(path, false)?;
    let cannot_write = |source| Error::io("write", path, source);
    let mut size = 0_u64;
    let mut hash = Sha256::new();
    observe_bytes(observer, Phase::Copying, length, |progress| {
        let mut stream = Stream::new(&source, (0, length), compression, progress).map_err(failed)?;
        let mut buffer = vec![0; PART];
        loop {
            let read = stream.read(&mut buffer).map_err(|error| failed(io::Error::other(error.to_string())))?;
            if read == 0 {
                return Ok::<(), Error>(());
            }
            let part = filled(&buffer, read).map_err(failed)?;
            hash.update(part);
            size = size.saturating_add(read as u64);
            out.file().write_all(part).map_err(cannot_write)?;
        }
    })?;
    if !is_shared && (size != object.size || object.sha256.as_ref() != Some(&hex_digits(&hash.finalize()))) {
        return Err(Error::Format(format!(
            "{} is not what was added: its length or its SHA-256 differs; nothing is written of it",
            place.display()
        )));
    }
    out.commit()?;
    Ok(size)
}

/// The report of a crash, decrypted if it is encrypted and there is a private key; `None` if there is none, or none that can be
/// decrypted.
///
/// # Errors
///
/// It cannot be read, or is not what the record says.
pub fn report(
    folder: &dyn Folder,
    record: &CrashRecord,
    unlock: Unlock<'_>,
    observer: &mut dyn Observer,
) -> Result<Option<Vec<u8>>> {
    let Some(object) = record.object(Kind::Report).filter(|object| is_plain_name(&object.name)) else {
        return Ok(None);
    };
    let name = format!("{}{}", folder.name(), object.name);
    let missing = || Error::Format(format!("{name} is missing"));
    let bytes = folder.read(&object.name, MAX_REPORT)?.ok_or_else(missing)?;
    if object.sha256.as_ref() != Some(&crate::sha256::of_bytes(&bytes)) {
        return Err(Error::Format(format!("{name} is not what was added: its SHA-256 differs")));
    }
    if !object.name.ends_with(crate::encryption::SUFFIX) {
        return Ok(Some(bytes));
    }
    if unlock.identities.is_empty() {
        return Ok(None);
    }
    let source = vmcore::dump::byte_source::ByteSource::from_bytes(bytes);
    let plain = decrypted(source, &name, unlock, observer)?;
    let mut bytes = Vec::new();
    let progress = vmcore::progress::Progress::default();
    let read = plain.part(0, plain.length(), &progress).take(MAX_REPORT).read_to_end(&mut bytes);
    read.map_err(|source| Error::Io { what: format!("read {name}"), source })?;
    Ok(Some(bytes))
}
