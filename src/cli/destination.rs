//! Where a dump goes: standard output, a file, or another host.

use super::Context;
use memtool::network::Address;
use memtool::{Error, Result};
use std::ffi::OsString;
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
