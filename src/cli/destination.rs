//! Where a dump goes: standard output, a file, or another host.

use super::Context;
use clap::Args;
use memtool::compress::{Compression, Level};
use memtool::dump::map_file::MapFile;
use memtool::dump::sink::Target;
use memtool::free_space::FreeSpace;
use memtool::network::{Address, Connection, Delivered};
use memtool::output_file::OutputFile;
use memtool::{Error, Result};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Where a dump goes.
#[derive(Debug, Clone)]
pub enum Destination {
    StandardOutput,
    File(PathBuf),
    Network(Address),
}

impl Destination {
    /// Its name, as it is given.
    pub fn name(&self) -> String {
        match self {
            Self::StandardOutput => "-".to_owned(),
            Self::File(path) => path.display().to_string(),
            Self::Network(address) => address.to_string(),
        }
    }

    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            _ => None,
        }
    }

    /// Refuses standard output where a dump has no business.
    pub fn check(&self, context: &Context) -> Result<()> {
        if !matches!(self, Self::StandardOutput) {
            return Ok(());
        }
        if context.out.is_json() {
            return Err(Error::Refused("--json and the dump cannot share standard output; name a file".to_owned()));
        }
        if context.out.is_terminal() {
            return Err(Error::Refused(
                "standard output is a terminal, and a dump is binary; send it to a pipe, or name a file".to_owned(),
            ));
        }
        Ok(())
    }

    /// Refuses what certainly will not fit: so many bytes, of which some are holes and the others stored. How far
    /// memory can be compressed nobody knows.
    pub fn check_space(&self, context: &mut Context, stored: u64, size: u64, compression: Compression) -> Result<()> {
        let space = match self {
            Self::File(path) => FreeSpace::beside(path)?,
            Self::StandardOutput => match FreeSpace::behind(&context.out.file()?)? {
                Some(space) => space,
                None => return Ok(()),
            },
            Self::Network(_) => return Ok(()),
        };
        let needed = if self.file().is_some() { stored } else { size };
        match space.shortage(needed, size) {
            Some(shortage) if compression == Compression::None => {
                Err(Error::Refused(format!("the dump will not fit: {shortage}; --no-space-check tries all the same")))
            }
            Some(shortage) => {
                context.warn(&format!("the dump may not fit, unless it can be compressed enough: {shortage}"));
                Ok(())
            }
            None => {
                warn_of_crossing(context, &space, needed);
                Ok(())
            }
        }
    }

    /// What is written to; of a file, the one that was begun.
    pub fn target(&self, context: &mut Context, output: Option<&OutputFile>) -> Result<Target> {
        match (self, output) {
            (Self::File(path), Some(output)) => {
                output.file().try_clone().map(Target::File).map_err(|source| Error::io("write", path, source))
            }
            (Self::Network(address), _) => Connection::connect(address).map(Target::Network),
            _ => context.out.file().map(Target::stream),
        }
    }
}

/// Warns where a dump takes of what the file system keeps for the superuser, as savecore(8) does.
pub fn warn_of_crossing(context: &mut Context, space: &FreeSpace, needed: u64) {
    if space.needs_blocks_of_superuser(needed) {
        context.warn("the dump may take of the space that the file system keeps for the superuser");
    }
}

/// Says what is not certain of a dump that was sent away.
pub fn remark_on_delivery(context: &mut Context, delivered: Option<Delivered>) {
    if delivered == Some(Delivered::Acknowledged) {
        context.remark("the receiver's system has everything; the receiver itself has not closed the connection");
    }
}

/// Where the map of a dump goes: a file, or standard error for `-`.
#[derive(Clone, Copy)]
pub struct MapDestination<'a>(pub Option<&'a Path>);

impl<'a> MapDestination<'a> {
    /// Whether it is standard error, which then has no line that is kept up to date.
    pub fn is_standard_error(self) -> bool {
        self.0.is_some_and(|path| path.as_os_str() == "-")
    }

    /// The file, if it is one.
    pub fn file(self) -> Option<&'a Path> {
        self.0.filter(|_| !self.is_standard_error())
    }

    /// What is written to; of a file, the one that was begun.
    pub fn map_file(self, output: Option<&OutputFile>) -> Option<MapFile<'_>> {
        match output {
            Some(output) => Some(MapFile::new(Box::new(io::BufWriter::new(output.file())))),
            None if self.is_standard_error() => Some(MapFile::new(Box::new(io::stderr()))),
            None => None,
        }
    }
}

/// How a dump is compressed.
#[derive(Args)]
pub struct CompressionArguments {
    /// Compress with zstd on all processors, at a level from 1 (fast) to 19 (small), or 3 without one
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_missing_value = "3")]
    zstd: Option<Level>,
    /// Compress with gzip, on one processor
    #[arg(long, conflicts_with = "zstd")]
    gzip: bool,
}

impl CompressionArguments {
    /// What they come to.
    pub fn compression(&self) -> Compression {
        match self.zstd {
            Some(level) => Compression::Zstd(level),
            None if self.gzip => Compression::Gzip,
            None => Compression::None,
        }
    }
}

/// clap's parser for destinations.
pub fn destination(name: OsString) -> Result<Destination, String> {
    // What is no text is no host either.
    let Some(text) = name.to_str() else { return Ok(Destination::File(name.into())) };
    match text.split_once("://") {
        _ if text == "-" => Ok(Destination::StandardOutput),
        _ if text.is_empty() => Err("it is empty".to_owned()),
        Some(("tcp", _)) => text.parse().map(Destination::Network).map_err(|error| format!("{error}")),
        Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => Err(format!(
            "'{scheme}://' is not known: a dump goes to a file, or to tcp://HOST:PORT; a file of that name is './{text}'"
        )),
        _ => Ok(Destination::File(name.into())),
    }
}
