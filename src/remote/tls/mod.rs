//! Sending a dump to another host over TLS, 1.2 or 1.3.
//!
//! As over TCP there is no protocol, and the same rules hold. TLS adds to them that the receiver is the right one,
//! that nobody else reads or changes anything, and that the end is said (`close_notify`): a receiver never takes a
//! connection that breaks for a dump.
//!
//! - [`verifier`]: whether a receiver's certificate is one to trust;
//! - [`pem`]: certificates and keys in files;
//! - [`words`]: what went wrong, for people;
//! - [`server`]: the other side.

mod pem;
mod server;
mod verifier;
mod words;

pub use server::Acceptor;

use super::address::Receiver;
use super::tcp::{CONNECT_TIMEOUT, Connection, Language};
use super::trust::TlsSettings;
use super::{Delivered, Upload};
use crate::error::Result;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, SupportedCipherSuite};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use verifier::Verifier;

/// Bytes that are encrypted before they are handed to the system.
const BUFFER: usize = 1 << 18;
/// Bytes of a record of TLS.
const RECORD: usize = 1 << 14;
/// How long there is for what a receiver said before the connection broke.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(20);
/// How often it is read then.
const MAX_LAST_WORDS: usize = 1000;

/// Connects to a receiver, and makes sure that it is the right one.
///
/// # Errors
///
/// Those of TCP; files of certificates cannot be used; or the receiver's certificate is not to be trusted, or it does
/// not speak TLS, or not with this sender.
pub fn connect(to: &Receiver, settings: &TlsSettings) -> Result<Box<dyn Upload>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Verifier::new(&settings.trust, &provider)?);
    let client = settings.client.as_ref().map(pem::read_client).transpose()?;
    let has_certificate = client.is_some();
    let begin = |stream: &mut TcpStream| {
        let words = |error: io::Error| words::of_handshake(error, &verifier, to, has_certificate);
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<_>);
        let mut config = match client {
            Some(client) => config.with_client_auth_cert(client.certificates, client.key).map_err(words::of_client)?,
            None => config.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        let mut connection = ClientConnection::new(Arc::new(config), server_name(to)?).map_err(io::Error::other)?;
        connection.set_buffer_limit(Some(BUFFER));
        stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        while connection.is_handshaking() {
            connection.complete_io(stream).map_err(words)?;
        }
        stream.set_read_timeout(None)?;
        let records = records_for(&connection);
        Ok(Tls { connection, has_certificate, records })
    };
    Ok(Box::new(Connection::connect_with(to, begin)?))
}

/// The name that a receiver's certificate must have.
fn server_name(to: &Receiver) -> io::Result<ServerName<'static>> {
    // Certificates have no zones, as in fe80::1%em0.
    let host = to.host.split_once('%').map_or(&*to.host, |(address, _)| address);
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|_| io::Error::other(format!("'{host}' is no name that a certificate can have")))
}

/// How many records can be sent with the keys of a connection; `None` where it makes new ones. rustls would end the
/// stream there as if it were complete.
fn records_for(connection: &ClientConnection) -> Option<u64> {
    match connection.negotiated_cipher_suite() {
        // A few are for the end.
        Some(SupportedCipherSuite::Tls12(suite)) => Some(suite.common.confidentiality_limit.saturating_sub(1 << 10)),
        _ => None,
    }
}

/// TLS on a connection.
#[derive(Debug)]
struct Tls {
    connection: ClientConnection,
    has_certificate: bool,
    /// Records that can still be sent.
    records: Option<u64>,
}

impl Tls {
    fn send(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Language for Tls {
    const SCHEME: &'static str = "tls";

    fn write(&mut self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        let written = self.connection.writer().write(bytes)?;
        if let Some(records) = &mut self.records {
            let used = written.div_ceil(RECORD) as u64;
            *records = records.checked_sub(used).ok_or_else(|| {
                io::Error::other("TLS 1.2 has no more keys for so many bytes; the receiver should speak TLS 1.3")
            })?;
        }
        self.send(stream)?;
        Ok(written)
    }

    fn end(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        self.connection.send_close_notify();
        self.send(stream)
    }

    fn read(&mut self, stream: &mut TcpStream) -> io::Result<Option<Delivered>> {
        // An end without close_notify may be anybody's.
        if self.connection.read_tls(stream)? == 0 {
            return Ok(Some(Delivered::ClosedUnannounced));
        }
        let state =
            self.connection.process_new_packets().map_err(|error| words::of_receiver(&error, self.has_certificate))?;
        let mut said = self.connection.reader();
        let mut dropped = [0; 4096];
        while matches!(said.read(&mut dropped), Ok(1..)) {}
        Ok(state.peer_has_closed().then_some(Delivered::Closed))
    }

    fn explanation(&mut self, stream: &mut TcpStream) -> Option<io::Error> {
        stream.set_read_timeout(Some(LAST_WORDS_TIMEOUT)).ok()?;
        for _ in 0..MAX_LAST_WORDS {
            match self.read(stream) {
                Ok(None) => {}
                Ok(Some(_)) => return None,
                Err(error) => return words::is_of_receiver(&error).then_some(error),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::trust::{Fingerprint, Trust};
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_connection_ends_with_an_error_before_rustls_ends_it_for_want_of_keys() {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier::new(&Trust::Fingerprint(Fingerprint([0; 32])), &provider).unwrap();
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut tls = Tls { connection, has_certificate: false, records: Some(3) };
        assert_eq!(tls.write(&mut stream, &[0; RECORD + 1]).unwrap(), RECORD + 1);
        assert_eq!(tls.write(&mut stream, &[0; 1]).unwrap(), 1);
        assert!(tls.write(&mut stream, &[0; 1]).unwrap_err().to_string().contains("TLS 1.3"));
    }
}
