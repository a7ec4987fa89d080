//! The side of TLS that takes dumps.

use super::super::Accepted;
use super::super::tcp::reset_when_closed;
use super::super::trust::ClientFiles;
use super::pem;
use crate::error::{Error, Result};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

/// What a receiver shows that it is, and whom it takes dumps from.
#[derive(Debug, Clone)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// A receiver with that certificate. With a file of certificates it takes dumps only from senders whose certificate is
    /// signed by one of these.
    ///
    /// # Errors
    ///
    /// A file cannot be read or is of another kind.
    pub fn new(identity: &ClientFiles, authorities: Option<&Path>) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let unusable = |path: &Path, why: String| Error::Refused(format!("{}: {why}", path.display()));
        let pem::Client { certificates, key } = pem::read_client(identity)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&identity.certificate, error.to_string()))?;
        let builder = match authorities {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in pem::read_certificates(path)? {
                    roots.add(certificate).map_err(|error| unusable(path, error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| unusable(path, error.to_string()))?)
            }
        };
        let mut config = builder
            .with_single_cert(certificates, key)
            .map_err(|error| unusable(&identity.certificate, format!("not with this key: {error}")))?;
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }

    /// Takes a dump on a connection that a sender has made. What comes is an error, not an end, where the sender has not said
    /// that it ends.
    ///
    /// # Errors
    ///
    /// The connection broke, or the sender does not speak TLS, or not with this receiver.
    pub fn accept(&self, mut stream: TcpStream) -> io::Result<Box<dyn Accepted>> {
        reset_when_closed(&stream, true)?;
        let mut connection = ServerConnection::new(Arc::clone(&self.0)).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Box::new(Incoming(StreamOwned::new(connection, stream))))
    }
}

struct Incoming(StreamOwned<ServerConnection, TcpStream>);

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Accepted for Incoming {
    fn finish(self: Box<Self>) -> io::Result<()> {
        let (mut connection, mut stream) = self.0.into_parts();
        connection.send_close_notify();
        while connection.wants_write() {
            connection.write_tls(&mut stream)?;
        }
        reset_when_closed(&stream, false)?;
        stream.shutdown(std::net::Shutdown::Write)
    }
}
