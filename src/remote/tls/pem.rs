//! Certificates and keys in files of PEM.

use super::super::trust::ClientFiles;
use crate::error::{Error, Result};
use crate::files;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a file that are read: all certificates of a system are less than half of it.
const MAX_FILE: u64 = 1 << 20;

/// The sender's certificate, those behind it, and its private key.
pub struct Client {
    pub certificates: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = files::open_in_order(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|source| Error::io("read", files::in_order(path).0, source))?;
    if bytes.len() as u64 > MAX_FILE { Err(unusable(path, "it has more than 1 MiB")) } else { Ok(bytes) }
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::Refused(format!("{}: {why}", files::in_order(path).0.display()))
}

/// The certificates in a file: one or more.
///
/// # Errors
///
/// It cannot be read, or is of another kind.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unusable(path, "no certificate is in it (-----BEGIN CERTIFICATE-----)")),
        Err(_) => Err(unusable(path, "a certificate in it is damaged")),
    }
}

/// What the sender shows that it is, and proves it with.
///
/// # Errors
///
/// A file cannot be read or is of another kind, or a passphrase protects the key.
pub fn read_client(files: &ClientFiles) -> Result<Client> {
    let certificates = read_certificates(&files.certificate)?;
    let bytes = read(&files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let is_encrypted = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"]
            .iter()
            .any(|mark| bytes.windows(mark.len()).any(|bytes| bytes == *mark));
        let why = match error {
            _ if is_encrypted => "a passphrase protects the key; memtool does not ask for one",
            pem::Error::NoItemsFound => "no private key is in it (-----BEGIN PRIVATE KEY-----)",
            _ => "the private key in it is damaged",
        };
        unusable(&files.key, why)
    })?;
    Ok(Client { certificates, key })
}
