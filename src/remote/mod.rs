//! Other hosts as places for a dump: what can be sent there as one stream, in order.
//!
//! An [`Address`] says where, [`Settings`] what else is to be known, and [`connect`] gives an [`Upload`], which is written
//! to and then finished. What is not finished is given up: the other host must not take it for a dump.
//!
//! - [`address`]: what an address looks like;
//! - `tcp`: a socket that takes the bytes as they are;
//! - `tls`: the same, encrypted, to a receiver that proves which one it is ([`trust`]);
//! - `ssh`: a file on a host that ssh(1) can reach.

pub mod address;
mod ssh;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "tls_absent.rs"]
mod tls;
pub mod trust;

pub use address::{Address, AddressError};

use crate::error::Result;
use std::fmt;
use std::io::Write;
use trust::TlsSettings;

/// What is known of other hosts besides their addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Of receivers that speak TLS.
    pub tls: TlsSettings,
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

/// Begins to send a dump. `at_most` is what it can come to in bytes, where that is known.
///
/// # Errors
///
/// The host cannot be reached, or does not take it.
pub fn connect(address: &Address, settings: &Settings, _at_most: Option<u64>) -> Result<Box<dyn Upload>> {
    match address {
        Address::Tcp(receiver) => Ok(Box::new(tcp::Connection::connect(receiver)?)),
        Address::Tls(receiver) => tls::connect(receiver, &settings.tls),
        Address::Ssh(file) => Ok(Box::new(ssh::Session::begin(file)?)),
    }
}
