//! In place of what the crate `age` does, where memtool is built without it: no key can be read.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, BufRead, Write};
use std::marker::PhantomData;

const ABSENT: &str = "this memtool was built without encryption in the format of age (the feature 'age')";

/// A public key, of which there are none.
#[derive(Clone)]
pub struct PublicKey(Infallible);

impl PublicKey {
    pub fn parse_native(_: &str) -> Result<Self, String> {
        Err(ABSENT.to_owned())
    }

    pub fn parse_ssh(_: &str) -> Result<Self, String> {
        Err(ABSENT.to_owned())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

/// A private key, of which there are none.
#[allow(dead_code, reason = "it says that there is none")]
pub struct PrivateKey(Infallible);

impl PrivateKey {
    pub fn parse_native(_: &str) -> Result<Self, String> {
        Err(ABSENT.to_owned())
    }

    pub fn parse_ssh(_: &[u8]) -> Result<Self, String> {
        Err(ABSENT.to_owned())
    }
}

/// Encrypts to nobody, and so is never made.
pub struct Writer<W>(Infallible, PhantomData<W>);

impl<W: Write> Writer<W> {
    pub fn new<'a>(_: W, _: impl Iterator<Item = &'a PublicKey>) -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, ABSENT))
    }

    pub fn finish(self) -> io::Result<W> {
        match self.0 {}
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

/// Why something cannot be decrypted.
#[allow(dead_code, reason = "nothing comes so far without a key")]
pub enum HeaderError {
    NoMatchingKey,
    Passphrase,
    Damaged,
    Io(io::Error),
}

pub fn decrypt<'a>(_: impl BufRead, _: impl Iterator<Item = &'a PrivateKey>) -> Result<io::Empty, HeaderError> {
    Err(HeaderError::NoMatchingKey)
}
