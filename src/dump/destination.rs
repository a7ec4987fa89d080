//! Where a dump and its map go: files, standard output or standard error, or another host.

use super::sink::Target;
use crate::error::{Error, Result};
use crate::free_space::FreeSpace;
use crate::output_file::OutputFile;
use crate::remote::address::is_address;
use crate::remote::{self, Address, AddressError, Delivered, SCHEMES, Settings};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use vmcore::format::map_file::MapFile;
use vmcore::text::Name;

/// Where a dump goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    StandardOutput,
    /// A file, which appears whole or not at all.
    File(PathBuf),
    /// Another host.
    Remote(Address),
}

/// Why a name is not a [`Destination`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It begins as another host's address and is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// It begins as an address of another kind.
    #[error(
        "unknown scheme '{scheme}': a dump is written to a file or to {SCHEMES}; a file of that name is './{name}'"
    )]
    Scheme {
        /// What it begins with.
        scheme: String,
        /// The whole name.
        name: String,
    },
}

/// As it is named: a path, `-` for standard output, or `tcp://HOST:PORT`.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StandardOutput => f.write_str("-"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Remote(address) => write!(f, "{address}"),
        }
    }
}

/// The same, with a path as its bytes.
impl From<&Destination> for Name {
    fn from(destination: &Destination) -> Self {
        match destination {
            Destination::File(path) => path.as_path().into(),
            other => other.to_string().into(),
        }
    }
}

impl TryFrom<OsString> for Destination {
    type Error = DestinationError;

    fn try_from(name: OsString) -> Result<Self, DestinationError> {
        // What is no text is no host either.
        let Some(text) = name.to_str() else { return Ok(Self::File(name.into())) };
        match text {
            "-" => Ok(Self::StandardOutput),
            "" => Err(DestinationError::Empty),
            _ if is_address(text) => match text.parse() {
                Ok(address) => Ok(Self::Remote(address)),
                Err(AddressError::Scheme(scheme)) => Err(DestinationError::Scheme { scheme, name: text.to_owned() }),
                Err(error) => Err(error.into()),
            },
            _ => Ok(Self::File(name.into())),
        }
    }
}

impl Destination {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::StandardOutput | Self::Remote(_) => None,
        }
    }

    /// Whether it is another host.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// Whether it is a folder of an object store, which has room for many dumps.
    pub fn is_folder(&self) -> bool {
        matches!(self, Self::Remote(Address::Object(object)) if object.is_folder())
    }

    /// Refuses standard output where it is a terminal.
    ///
    /// # Errors
    ///
    /// It is one.
    pub fn check(&self) -> Result<()> {
        if *self == Self::StandardOutput && io::stdout().is_terminal() {
            return Err(Error::Refused(
                "a dump is binary and is not written to a terminal; use a pipe or give a file".to_owned(),
            ));
        }
        Ok(())
    }

    /// What can be written there; `None` where nobody knows.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub fn free_space(&self) -> Result<Option<FreeSpace>> {
        match self {
            Self::File(path) => FreeSpace::beside(path).map(Some),
            Self::StandardOutput => FreeSpace::behind(&standard_output()?),
            Self::Remote(_) => Ok(None),
        }
    }

    /// Writes something there that is short enough to be written at once: all of it, or nothing.
    ///
    /// # Errors
    ///
    /// Those of `content`; it cannot be written, or is there already and not to be replaced.
    pub fn write(
        &self,
        replace: bool,
        settings: &Settings,
        content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Option<Delivered>> {
        let file = self.file().map(|path| OutputFile::create(path, replace)).transpose()?;
        let target = self.target(file.as_ref(), settings, Some(0))?;
        let mut buffered = BufWriter::new(target);
        let written = content(&mut buffered).and_then(|()| buffered.flush());
        written.map_err(|source| Error::Io { what: format!("write {self}"), source })?;
        let (target, _) = buffered.into_parts();
        let delivered = target.complete()?;
        file.map_or(Ok(()), OutputFile::commit)?;
        Ok(delivered)
    }

    /// What is written to; of a file, the one that was begun. Another host is connected to, by what is known of it; `at_most`
    /// is what the dump can come to in bytes, where that is known.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or the host does not answer.
    pub(crate) fn target(
        &self,
        begun: Option<&OutputFile>,
        settings: &Settings,
        at_most: Option<u64>,
    ) -> Result<Target> {
        match (self, begun) {
            (Self::File(path), Some(begun)) => {
                begun.file().try_clone().map(Target::File).map_err(|source| Error::io("write", path, source))
            }
            (Self::Remote(address), _) => remote::connect(address, settings, at_most).map(Target::Remote),
            _ => standard_output().map(Target::stream),
        }
    }
}

/// Standard output itself: [`io::Stdout`] would look for the ends of lines in a dump.
fn standard_output() -> Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(Error::StandardOutput)
}

/// Where the map of a dump goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapDestination {
    /// Standard error.
    StandardError,
    /// A file, which appears whole or not at all.
    File(PathBuf),
}

impl From<PathBuf> for MapDestination {
    /// `-` is standard error.
    fn from(name: PathBuf) -> Self {
        if name.as_os_str() == "-" { Self::StandardError } else { Self::File(name) }
    }
}

impl MapDestination {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::StandardError => None,
        }
    }

    /// What is written to; of a file, the one that was begun.
    pub(crate) fn map_file<'a>(&self, begun: Option<&'a OutputFile>) -> MapFile<'a> {
        match begun {
            Some(begun) => MapFile::new(Box::new(BufWriter::new(begun.file()))),
            None => MapFile::new(Box::new(io::stderr())),
        }
    }
}
