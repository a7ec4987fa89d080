//! What went wrong in TLS, for people.

use super::super::address::Receiver;
use super::verifier::Verifier;
use rustls::{AlertDescription, CertificateError, InconsistentKeys};
use std::error;
use std::fmt;
use std::io;
use vmcore::units::utc_of_unix;

/// What a receiver itself has said, or what is wrong with what it said: why it has no dump.
#[derive(Debug)]
struct OfReceiver(String);

impl fmt::Display for OfReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for OfReceiver {}

/// An error of the receiver's side.
pub fn of_receiver(error: &rustls::Error, has_certificate: bool) -> io::Error {
    let text = match error {
        rustls::Error::AlertReceived(alert) => of_alert(*alert, has_certificate),
        error => format!("the receiver does not keep to TLS: {error}"),
    };
    io::Error::other(OfReceiver(text))
}

/// Whether an error is one of [`of_receiver`].
pub fn is_of_receiver(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<OfReceiver>())
}

fn of_alert(alert: AlertDescription, has_certificate: bool) -> String {
    use AlertDescription as Alert;
    let refused = |why: &str| {
        if has_certificate {
            format!("the receiver does not accept the sender's certificate: {why}")
        } else {
            format!("the receiver wants a certificate of the sender (--client-certificate, --client-key): {why}")
        }
    };
    match alert {
        Alert::CertificateRequired => refused("it is required"),
        Alert::UnknownCA => refused("it does not trust who has signed it"),
        Alert::CertificateExpired => refused("it has expired"),
        Alert::CertificateRevoked => refused("it was revoked"),
        Alert::BadCertificate => refused("it is wrong"),
        Alert::UnsupportedCertificate => refused("it is of a kind that is not supported"),
        Alert::CertificateUnknown => refused("it cannot be used"),
        Alert::AccessDenied => refused("access is denied"),
        Alert::HandshakeFailure if has_certificate => {
            "the receiver refuses the connection: no cipher suits both sides, or it does not accept the certificate"
                .to_owned()
        }
        Alert::HandshakeFailure => "the receiver refuses the connection: no cipher suits both sides, or it wants a \
                                    certificate of the sender (--client-certificate, --client-key)"
            .to_owned(),
        Alert::ProtocolVersion => "the receiver speaks neither TLS 1.2 nor TLS 1.3".to_owned(),
        Alert::UnrecognisedName => "the receiver does not know the name that it was called by".to_owned(),
        Alert::UserCanceled => "the receiver has given up".to_owned(),
        Alert::InternalError => "the receiver has failed".to_owned(),
        alert => format!("the receiver has ended the connection with the alert {alert:?}"),
    }
}

/// Why what the sender shows cannot be used.
pub fn of_client(error: rustls::Error) -> io::Error {
    io::Error::other(match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "the certificate of --client-certificate is not that of --client-key".to_owned()
        }
        error => format!("--client-key cannot be used: {error}"),
    })
}

/// Why both sides have not come to speak.
pub fn of_handshake(error: io::Error, verifier: &Verifier, to: &Receiver, has_certificate: bool) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            return io::Error::new(io::ErrorKind::TimedOut, "the receiver does not answer in TLS");
        }
        io::ErrorKind::UnexpectedEof => {
            return io::Error::new(error.kind(), "the receiver has closed the connection, and may not speak TLS");
        }
        _ => {}
    }
    let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else { return error };
    match inner {
        rustls::Error::InvalidCertificate(inner) => io::Error::other(of_certificate(inner, verifier, to)),
        rustls::Error::InvalidMessage(_) => io::Error::other("the receiver does not speak TLS"),
        rustls::Error::PeerIncompatible(_) => io::Error::other(format!("the receiver speaks another TLS: {inner}")),
        inner => of_receiver(inner, has_certificate),
    }
}

fn of_certificate(error: &CertificateError, verifier: &Verifier, to: &Receiver) -> String {
    let shown = verifier.shown().map_or_else(|| "unknown".to_owned(), |shown| shown.to_string());
    if verifier.is_of_fingerprint() && *error == CertificateError::ApplicationVerificationFailure {
        return format!("the receiver's certificate is not the one of --fingerprint: its SHA-256 is {shown}");
    }
    let why = match error {
        CertificateError::Expired => "has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("has expired, on {}", utc_of_unix(not_after.as_secs()))
        }
        CertificateError::NotValidYet => "is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}", utc_of_unix(not_before.as_secs()))
        }
        CertificateError::NotValidForName => format!("is not for the name {}", to.host),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
            format!("is not for the name {}, but for {names}", to.host)
        }
        CertificateError::UnknownIssuer => "is signed by nobody that is trusted".to_owned(),
        // That of an authority, say, as openssl(1) makes those that sign themselves.
        CertificateError::Other(error) => {
            format!("is signed by nobody that is trusted, or not for receivers ({})", error.0)
        }
        CertificateError::BadSignature => return "the receiver does not have the key of its certificate".to_owned(),
        error => format!("cannot be trusted: {error}"),
    };
    format!(
        "the receiver's certificate {why}; its SHA-256 is {shown}. If that is the right one, use --fingerprint with it, \
         or --certificate with a certificate that is valid"
    )
}
