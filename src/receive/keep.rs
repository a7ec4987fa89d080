//! A dump that has arrived and is whole, saved as savecore(8) would have saved it from a dump device: checked, under the next
//! number of the directory that it arrived in, or sent on to where dumps are kept.

use super::arrival::{Arrival, NetdumpFacts};
use crate::dump::destination::Destination;
use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::output_file::OutputFile;
use crate::remote::Settings as RemoteSettings;
use crate::save::directory::SaveDirectory;
use crate::save::send::{SentDump, send};
use crate::save::{self, CrashDump, Options, SavedDump};
use std::path::{Path, PathBuf};
use vmcore::dump::byte_source::ByteSource;

/// Where dumps are kept.
#[derive(Debug)]
pub struct Place<'a> {
    /// The directory that they arrive in.
    pub directory: &'a SaveDirectory,
    /// Where they are sent on.
    pub elsewhere: Option<(&'a Destination, &'a RemoteSettings)>,
}

/// What became of a dump.
#[derive(Debug)]
pub enum Kept {
    /// It is in the directory.
    Saved(SavedDump),
    /// It was sent on.
    Sent(SentDump),
    /// It is in the directory under this name: nothing is known of it but that it is all that was sent.
    Named(PathBuf),
    /// What was to be done with it failed, and it is in the directory as it came.
    AsItIs(SavedDump, Error),
}

/// What the dump is said to come from, where savecore(8) would name a device.
pub fn origin(arrival: &Arrival) -> String {
    format!("netdump {}", arrival.source.client.ip())
}

/// Keeps a dump that is whole.
///
/// # Errors
///
/// The directory does not take it. Its file stays where it is.
pub fn keep(arrival: &Arrival, place: &Place<'_>, options: &Options<'_>, observer: &mut dyn Observer) -> Result<Kept> {
    let Some(NetdumpFacts { header: Some(header), key, .. }) = &arrival.netdump else {
        return name(arrival).map(Kept::Named);
    };
    let failed = |source| Error::io("read", &arrival.path, source);
    // A compressed dump is sent in whole blocks.
    arrival.file.set_len(arrival.size).map_err(|source| Error::io("cut", &arrival.path, source))?;
    let volume = ByteSource::from_file(&arrival.file).map_err(failed)?;
    let dump = CrashDump::apart(&volume, header, arrival.size, key)
        .map_err(|error| Error::Format(format!("{}: {error}", arrival.path.display())))?;
    let name = origin(arrival);
    let is_as_it_is = options.recipients.is_empty()
        && options.compression == vmcore::kerneldump::Compression::None
        && !options.uncompress
        && options.private_key.is_none();
    let adopt = |observer: &mut dyn Observer| {
        let file = arrival.file.try_clone().map_err(failed)?;
        save::adopt(OutputFile::adopt(file, &arrival.path)?, &name, &dump, place.directory, observer)
    };
    let kept = match place.elsewhere {
        None if is_as_it_is => return adopt(observer).map(Kept::Saved),
        None => save::save(&volume, &name, &dump, place.directory, options, observer).map(Kept::Saved),
        Some(to) => send(&volume, &name, &dump, to, options, observer).map(Kept::Sent),
    };
    match kept {
        Ok(kept) => remove(&arrival.path).map(|()| kept),
        // It is not lost for that.
        Err(error) => adopt(observer).map(|saved| Kept::AsItIs(saved, error)),
    }
}

/// Gives what has come on a connection its name.
fn name(arrival: &Arrival) -> Result<PathBuf> {
    let wrong = || Error::Refused(format!("{}: it has no name to be called otherwise", arrival.path.display()));
    let name = arrival.path.file_name().and_then(|name| name.to_str()).ok_or_else(wrong)?;
    let name = name.strip_suffix(super::arrival::INCOMPLETE).ok_or_else(wrong)?;
    let file = arrival.file.try_clone().map_err(|source| Error::io("read", &arrival.path, source))?;
    OutputFile::adopt(file, &arrival.path)?.commit_as(name, false)?;
    Ok(arrival.path.with_file_name(name))
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(|source| Error::io("remove", path, source))
}
