//! In place of sending over TLS, where memtool is built without it.

use super::Upload;
use super::address::Receiver;
use super::trust::TlsSettings;
use crate::error::{Error, Result};

pub fn connect(_: &Receiver, _: &TlsSettings) -> Result<Box<dyn Upload>> {
    Err(Error::Unsupported("this memtool was built without TLS (the feature 'tls')".to_owned()))
}
