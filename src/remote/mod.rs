//! Other hosts as places for a dump: what can be sent there as one stream, in order.
//!
//! An [`Address`] says where, [`Settings`] what else is to be known, and [`connect`] gives an [`Upload`], which is written
//! to and then finished. What is not finished is given up: the other host must not take it for a dump.
//!
//! - [`address`]: what an address looks like;
//! - `blocks`: what another host has, read at any place;
//! - [`folder`]: many small objects below a folder of a store, or in a `directory`;
//! - `tcp`: a socket that takes the bytes as they are;
//! - `tls`: the same, encrypted, to a receiver that proves which one it is ([`trust`]);
//! - `ssh`: a file on a host that ssh(1) can reach;
//! - `store`: object stores and web servers.

pub mod address;
mod address_error;
#[cfg(feature = "store")]
mod blocks;
mod directory;
pub mod folder;
pub mod object_address;
mod random;
mod ssh;
#[cfg(feature = "store")]
mod store;
#[cfg(not(feature = "store"))]
#[path = "store_absent.rs"]
mod store;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls_absent.rs"]
mod tls;
pub mod trust;

pub use address::Address;
pub use address_error::{AddressError, SCHEMES};
pub use tls::Acceptor;

use crate::error::{Error, Result};
use folder::Folder;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use trust::TlsSettings;
use vmcore::dump::byte_source::ByteSource;

/// What is known of other hosts besides their addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Of receivers that speak TLS.
    pub tls: TlsSettings,
    /// The file from which an upload to a store goes on that was interrupted, and in which it is written down how far it is.
    pub resume: Option<PathBuf>,
    /// What an object says of itself, if it is known which dump it is; an object that says the same is that dump.
    pub identity: Option<String>,
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The receiver's system has acknowledged everything, and the receiver has closed the connection.
    Closed,
    /// The receiver's system has acknowledged everything; the receiver keeps the connection open, so whether
    /// it has read everything is not known.
    Acknowledged,
    /// The same, but the connection was closed in a way that TLS does not protect, so by whom is not known.
    ClosedUnannounced,
    /// The other host has said that it has everything on disk, under its name.
    Stored,
}

/// A dump on its way to another host. Dropped before it is finished, it is given up, and nothing there may be taken for it.
pub trait Upload: Write + Send + fmt::Debug {
    /// Says that this was all, and waits until the other host has it.
    ///
    /// # Errors
    ///
    /// The other host does not have all of it.
    fn finish(self: Box<Self>) -> Result<Delivered>;
}

/// A dump that another host sends on a connection. Dropped before [`Accepted::finish`], the connection is reset.
pub trait Accepted: Read + Send {
    /// Tells the sender that all of it is stored.
    ///
    /// # Errors
    ///
    /// The connection broke.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Takes a dump on a connection that a sender has made, without TLS. One that says nothing for a while is given up.
///
/// # Errors
///
/// The connection broke.
pub fn accept_plain(stream: TcpStream) -> io::Result<Box<dyn Accepted>> {
    tcp::accept(stream)
}

/// Whether the other host has what the settings say the identity of, as far as it tells.
///
/// # Errors
///
/// It cannot be reached.
pub fn has(address: &Address, settings: &Settings) -> Result<bool> {
    match (address, &settings.identity) {
        (Address::Object(object), Some(identity)) => store::has_object(object, identity),
        _ => Ok(false),
    }
}

/// Opens what another host has, to be read at any place, by requests for ranges of it.
///
/// # Errors
///
/// The host cannot be reached or does not have it, or takes only what is sent there.
pub fn open(address: &Address) -> Result<ByteSource> {
    match address {
        Address::Object(object) => store::open_object(object),
        Address::Web(page) => store::open_page(page),
        Address::Tcp(_) | Address::Tls(_) | Address::Ssh(_) => {
            Err(Error::Usage(format!("{address}: nothing is read from there, only sent")))
        }
    }
}

/// Begins to send a dump. `at_most` is what it can come to in bytes, where that is known.
///
/// # Errors
///
/// The host cannot be reached, or does not take it.
pub fn connect(address: &Address, settings: &Settings, at_most: Option<u64>) -> Result<Box<dyn Upload>> {
    match address {
        _ if settings.resume.is_some() && !matches!(address, Address::Object(_)) => {
            Err(Error::Usage(format!("{address}: only what goes to an object store can be resumed")))
        }
        Address::Object(object) => store::send_object(object, settings, at_most),
        Address::Web(page) => store::send_page(page),
        Address::Tcp(receiver) => Ok(Box::new(tcp::Connection::connect(receiver)?)),
        Address::Tls(receiver) => tls::connect(receiver, &settings.tls),
        Address::Ssh(file) => Ok(Box::new(ssh::Session::begin(file)?)),
    }
}

/// Opens a directory, or a folder of an object store, which `s3://BUCKET/FOLDER` names.
///
/// # Errors
///
/// It is an address of another kind, or something else than a directory; what the environment says of the store cannot be
/// used.
pub fn open_folder(name: &Path) -> Result<Box<dyn Folder>> {
    let Some(text) = name.to_str().filter(|text| address::is_address(text)) else {
        return Ok(Box::new(directory::Directory::open(name)?));
    };
    match text.parse() {
        Ok(Address::Object(folder)) => Ok(Box::new(store::open_folder(&folder)?)),
        Ok(_) => Err(Error::Usage(format!("{text} is no folder: a directory or s3://BUCKET/FOLDER/ is needed"))),
        Err(error) => Err(Error::Usage(format!("{text}: {error}"))),
    }
}
