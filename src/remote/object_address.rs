//! The addresses of objects in stores and of what web servers have.

use super::address_error::AddressError;
use std::fmt;
use std::path::PathBuf;

/// What comes before the name of a file that has an address of the web in it.
pub(super) const WEB_FILE: &str = "https:@";
/// No store takes longer names of objects, in bytes.
const MAX_KEY: usize = 1024;

/// An object: `s3://BUCKET/KEY`, `gs://BUCKET/KEY` or `az://CONTAINER/KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Whose protocol the store speaks.
    pub provider: Provider,
    /// The bucket, which Azure calls a container.
    pub bucket: String,
    /// The object's name in it. One that ends in a slash stands for a folder.
    pub key: String,
}

/// Protocols of object stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon's S3, which many others speak.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
}

impl Provider {
    /// How addresses of its objects begin.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }
}

/// What a web server has, or takes by PUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebAddress {
    /// `https://HOST/PATH` or `http://HOST/PATH`: nothing of it is secret.
    Url(String),
    /// `https:@FILE`: it is the first line of a file, since it has a signature or a password in it.
    File(PathBuf),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/{}", self.provider.scheme(), self.bucket, self.key)
    }
}

impl Object {
    /// One of a provider, by what follows `://`.
    pub(super) fn parse(provider: Provider, rest: &str) -> Result<Self, AddressError> {
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._$".contains(c);
        if bucket.is_empty() || !bucket.chars().all(is_name) {
            return Err(AddressError::Bucket(bucket.to_owned()));
        }
        let is_bad = |part: &str| part.is_empty() || part == "." || part == "..";
        let parts = key.strip_suffix('/').unwrap_or(key);
        if key.is_empty() || parts.split('/').any(is_bad) || key.chars().any(char::is_control) || key.len() > MAX_KEY {
            return Err(AddressError::Key(key.to_owned()));
        }
        Ok(Self { provider, bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// An object of that name in a folder.
    #[must_use]
    pub fn within(&self, name: &str) -> Self {
        Self { key: format!("{}{name}", self.key), ..self.clone() }
    }

    /// Whether it stands for a folder.
    pub fn is_folder(&self) -> bool {
        self.key.ends_with('/')
    }
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::File(file) => write!(f, "{WEB_FILE}{}", file.display()),
        }
    }
}

impl WebAddress {
    /// One that is in a file.
    pub(super) fn in_file(name: &str) -> Result<Self, AddressError> {
        if name.is_empty() { Err(AddressError::NoAddressFile) } else { Ok(Self::File(name.into())) }
    }

    /// One that stands in an argument, which every user of the system can read; `rest` is what follows `://`.
    pub(super) fn parse(text: &str, rest: &str) -> Result<Self, AddressError> {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if text.contains(['?', '#']) || host.contains('@') {
            return Err(AddressError::Secret);
        }
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        if path.is_empty() || path.ends_with('/') {
            return Err(AddressError::NoPath);
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(AddressError::Space);
        }
        Ok(Self::Url(text.to_owned()))
    }
}
