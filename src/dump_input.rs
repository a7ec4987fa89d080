//! A dump that is read: a file, a device, standard input, or what another host has; encrypted to recipients or not.

use crate::encryption::input::{Unlock, decrypted};
use crate::error::{Error, Result};
use crate::files;
use crate::observer::Observer;
use crate::remote::address::is_address;
use crate::remote::{self, Address};
use std::path::Path;
use vmcore::dump::byte_source::ByteSource;

/// The address that a name on the command line is, if it is one of another host. A file of that name is `./NAME`.
fn address(name: &Path) -> Result<Option<Address>> {
    let Some(text) = name.to_str().filter(|text| is_address(text)) else { return Ok(None) };
    text.parse().map(Some).map_err(|error| Error::Usage(format!("{text}: {error}")))
}

/// Opens a file or device that holds a dump, or what another host has, as it is.
///
/// # Errors
///
/// Those of [`files::open_dump`] and [`remote::open`].
pub fn open(name: &Path) -> Result<ByteSource> {
    match address(name)? {
        Some(address) => remote::open(&address),
        None => files::open_dump(name),
    }
}

/// Opens a dump, which may be standard input. What is encrypted to a private key of `unlock` is decrypted.
///
/// # Errors
///
/// Those of [`files::open_dump_or_standard_input`], [`remote::open`] and [`decrypted`].
pub fn open_unlocked(name: &Path, unlock: Unlock<'_>, observer: &mut dyn Observer) -> Result<ByteSource> {
    let volume = match address(name)? {
        Some(address) => remote::open(&address)?,
        None => files::open_dump_or_standard_input(name, unlock.scratch, observer)?,
    };
    decrypted(volume, &files::in_order(name).0.display().to_string(), unlock, observer)
}
