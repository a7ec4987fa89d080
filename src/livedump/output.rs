//! A live dump on its way to where it goes.

use super::trailer::Trailer;
use super::{LiveDump, LiveDumpDestination, LiveDumpOptions};
use crate::dump::sink::{Target, write_failed};
use crate::error::{Error, Result};
use crate::output_file::OutputFile;
use crate::save::directory::{NewDump, SaveDirectory, Saved};
use crate::save::info;
use std::fs::File;
use std::io::{self, Seek};
use std::time::Duration;
use vmcore::kerneldump::Compression;

/// The name of a live dump in a directory before its number.
pub(super) const STEM: &str = "livecore";

/// A dump that has no name yet. Dropped, it leaves nothing behind.
pub(super) struct LiveOutput {
    pub place: Place,
    /// What it is written to.
    pub target: Target,
}

/// What becomes of what was written.
pub(super) enum Place {
    /// It gets its name.
    File(OutputFile),
    /// It gets a number, below a limit if there is one.
    Saved(SaveDirectory, OutputFile, Numbering),
    /// It is gone already.
    Stream,
}

/// How a dump in a directory gets its name.
pub(super) struct Numbering {
    /// Numbers are below this one.
    limit: Option<u32>,
    /// Its name says that it is encrypted.
    is_encrypted: bool,
}

impl Place {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&File> {
        match self {
            Self::File(file) | Self::Saved(_, file, _) => Some(file.file()),
            Self::Stream => None,
        }
    }
}

impl LiveOutput {
    /// Begins one of so many bytes at most, where that is known.
    pub fn new(options: &LiveDumpOptions, at_most: Option<u64>) -> Result<Self> {
        let written_to = |file: &OutputFile| file.file().try_clone().map(Target::File);
        let failed = |source| Error::io("write", &options.kernel_file(), source);
        let (place, target) = match &options.destination {
            LiveDumpDestination::Directory(path) => {
                let directory = SaveDirectory::open(path)?;
                let file = directory.new_file()?;
                let target = written_to(&file).map_err(failed)?;
                let is_encrypted = !options.recipients.is_empty();
                (Place::Saved(directory, file, Numbering { limit: options.limit, is_encrypted }), target)
            }
            LiveDumpDestination::Output(output) => match output.file() {
                Some(path) => {
                    let file = OutputFile::create(path, options.replace)?;
                    let target = written_to(&file).map_err(failed)?;
                    (Place::File(file), target)
                }
                None => (Place::Stream, output.target(None, &options.remote, at_most)?),
            },
        };
        Ok(Self { place, target })
    }

    /// The stream, for another dump: nothing must have gone there.
    pub fn into_stream(self) -> Option<Target> {
        matches!(self.place, Place::Stream).then_some(self.target)
    }

    /// Brings the dump to where it goes; a stream gets it from the file that holds it, unless it has it already.
    pub fn finish(self, held: Option<File>, trailer: Trailer, size: u64) -> Result<LiveDump> {
        let Self { place, mut target } = self;
        let saved = match place {
            Place::File(file) => file.commit().map(|()| None)?,
            Place::Saved(directory, file, numbering) => Some(save(&directory, file, &trailer, &numbering)?),
            Place::Stream => {
                if let Some(mut held) = held {
                    held.rewind().and_then(|()| io::copy(&mut held, &mut target)).map_err(write_failed)?;
                }
                None
            }
        };
        Ok(LiveDump {
            trailer,
            size,
            saved,
            delivered: target.complete()?,
            inspection: None,
            made: None,
            unchecked: None,
            elapsed: Duration::ZERO,
            info: None,
        })
    }
}

/// Gives a dump the next number of a directory.
fn save(directory: &SaveDirectory, file: OutputFile, trailer: &Trailer, numbering: &Numbering) -> Result<Saved> {
    let compression = Compression::from_code(trailer.header.compression).unwrap_or(Compression::None);
    let entry = NewDump {
        stem: STEM,
        compression,
        link: compression,
        info: &|number| info::text(&trailer.subject(), number),
        key: None,
        limit: numbering.limit,
        is_encrypted: numbering.is_encrypted,
    };
    directory.save(file, entry)
}
