//! What there is instead of [object stores and web servers](super) in a memtool that was built without them: refusals.

use super::address::Address;
use super::object_address::{Object, WebAddress};
use super::{Settings, Upload};
use crate::error::{Error, Result};
use vmcore::dump::byte_source::ByteSource;

fn refused<T>(address: Address) -> Result<T> {
    Err(Error::Unsupported(format!("{address}: this memtool was built without object stores (feature 'store')")))
}

/// Refuses.
///
/// # Errors
///
/// Always.
pub fn open_object(object: &Object) -> Result<ByteSource> {
    refused(Address::Object(object.clone()))
}

/// Refuses.
///
/// # Errors
///
/// Always.
pub fn has_object(object: &Object, _: &str) -> Result<bool> {
    refused(Address::Object(object.clone()))
}

/// Refuses.
///
/// # Errors
///
/// Always.
pub fn open_page(page: &WebAddress) -> Result<ByteSource> {
    refused(Address::Web(page.clone()))
}

/// Refuses.
///
/// # Errors
///
/// Always.
pub fn send_object(object: &Object, _: &Settings, _: Option<u64>) -> Result<Box<dyn Upload>> {
    refused(Address::Object(object.clone()))
}

/// Refuses.
///
/// # Errors
///
/// Always.
pub fn send_page(page: &WebAddress) -> Result<Box<dyn Upload>> {
    refused(Address::Web(page.clone()))
}

/// Refuses.
///
/// # Errors
///
/// Always.
pub fn open_folder(folder: &Object) -> Result<super::directory::Directory> {
    refused(Address::Object(folder.clone()))
}
