//! Whether a receiver's certificate is one to trust.

use super::super::trust::{Fingerprint, Trust};
use super::pem;
use crate::error::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Decides by certificates or by a fingerprint. That the receiver has the private key is always checked.
#[derive(Debug)]
pub struct Verifier {
    rule: Rule,
    algorithms: WebPkiSupportedAlgorithms,
    /// Of the last certificate that was shown.
    shown: Mutex<Option<Fingerprint>>,
}

#[derive(Debug)]
enum Rule {
    Fingerprint(Fingerprint),
    Certificates {
        of_chains: Arc<WebPkiServerVerifier>,
        /// Those that a receiver itself may have.
        own: Vec<CertificateDer<'static>>,
    },
}

impl Verifier {
    /// # Errors
    ///
    /// A file of certificates cannot be used, or the system has none.
    pub fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Self> {
        let rule = match trust {
            Trust::Fingerprint(fingerprint) => Rule::Fingerprint(*fingerprint),
            Trust::Certificates(path) => of_file(path, provider)?,
            Trust::System => of_system(provider)?,
        };
        Ok(Self { rule, algorithms: provider.signature_verification_algorithms, shown: Mutex::new(None) })
    }

    /// Of the certificate that the receiver has shown, if it came so far.
    pub fn shown(&self) -> Option<Fingerprint> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a fingerprint decides.
    pub fn is_of_fingerprint(&self) -> bool {
        matches!(self.rule, Rule::Fingerprint(_))
    }
}

fn of_chains(roots: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    verifier.map_err(|error| Error::Unsupported(error.to_string()))
}

fn of_file(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Rule> {
    let own = pem::read_certificates(path)?;
    let mut roots = RootCertStore::empty();
    for certificate in &own {
        let name = path.display();
        let added = roots.add(certificate.clone());
        added.map_err(|_| Error::Refused(format!("{name}: a certificate in it is damaged")))?;
    }
    Ok(Rule::Certificates { of_chains: of_chains(roots, provider)?, own })
}

fn of_system(provider: &Arc<CryptoProvider>) -> Result<Rule> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        return Err(Error::Unsupported(format!(
            "this system has no certificates of authorities{why}; use --certificate or --fingerprint"
        )));
    }
    Ok(Rule::Certificates { of_chains: of_chains(roots, provider)?, own: Vec::new() })
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = Fingerprint(Sha256::digest(end_entity).into());
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        match &self.rule {
            Rule::Fingerprint(fingerprint) if shown == *fingerprint => Ok(ServerCertVerified::assertion()),
            Rule::Fingerprint(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Rule::Certificates { of_chains, own } => {
                let verified = of_chains.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
                match verified {
                    Err(rustls::Error::InvalidCertificate(error))
                        if own.contains(end_entity) && is_of_chain(&error) =>
                    {
                        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                        Ok(ServerCertVerified::assertion())
                    }
                    verified => verified,
                }
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether an error is about who has signed a certificate, or what it is for, which says nothing of one that was given
/// itself; its times are checked before, and its names after that.
fn is_of_chain(error: &CertificateError) -> bool {
    !matches!(
        error,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }
            | CertificateError::BadEncoding
    )
}
