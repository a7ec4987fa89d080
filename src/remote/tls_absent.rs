//! In place of sending over TLS, where memtool is built without it.

use super::address::Receiver;
use super::trust::ClientFiles;
use super::trust::TlsSettings;
use super::{Accepted, Upload};
use crate::error::{Error, Result};
use std::convert::Infallible;
use std::io;
use std::net::TcpStream;
use std::path::Path;

fn refused<T>() -> Result<T> {
    Err(Error::Unsupported("this memtool was built without TLS (the feature 'tls')".to_owned()))
}

pub fn connect(_: &Receiver, _: &TlsSettings) -> Result<Box<dyn Upload>> {
    refused()
}

/// There is none.
#[derive(Debug, Clone)]
pub struct Acceptor(Infallible);

impl Acceptor {
    /// Refuses.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn new(_: &ClientFiles, _: Option<&Path>) -> Result<Self> {
        refused()
    }

    /// Cannot be called.
    ///
    /// # Errors
    ///
    /// None.
    pub fn accept(&self, _: TcpStream) -> io::Result<Box<dyn Accepted>> {
        match self.0 {}
    }
}
