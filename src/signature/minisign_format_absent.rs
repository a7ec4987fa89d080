//! In place of what the crate `minisign` does, where memtool is built without it: no key can be read.

use super::Verified;
use std::convert::Infallible;
use std::io;
use zeroize::Zeroizing;

const ABSENT: &str = "this memtool was built without signatures (the feature 'sign')";

pub fn ask_password(_: &str) -> io::Result<Zeroizing<String>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, ABSENT))
}

/// A private key, of which there are none.
pub struct PrivateKey(Infallible);

impl PrivateKey {
    pub fn parse<E>(
        _: &str,
        _: impl FnOnce() -> Result<Zeroizing<String>, E>,
        wrong: impl Fn(String) -> E,
    ) -> Result<Self, E> {
        Err(wrong(ABSENT.to_owned()))
    }

    pub fn sign(&self, _: &[u8], _: &str) -> Result<String, String> {
        match self.0 {}
    }
}

/// A public key, of which there are none.
pub struct PublicKey(Infallible);

impl PublicKey {
    pub fn parse(_: &str) -> Result<Self, String> {
        Err(ABSENT.to_owned())
    }

    pub fn verify(&self, _: &[u8], _: &str) -> Result<Verified, String> {
        match self.0 {}
    }
}
