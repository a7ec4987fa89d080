//! Whom to trust as a receiver that speaks TLS, and who the sender is: as options have it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use vmcore::units::{bytes_of_hex_digits, hex_digits};

/// What is known of receivers that speak TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Which certificates receivers may have.
    pub trust: Trust,
    /// The certificate of the sender, for receivers that ask for one.
    pub client: Option<ClientFiles>,
}

/// Which certificates are those of the right receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// Of the receiver's name, and signed by one that the system trusts.
    #[default]
    System,
    /// Of the receiver's name, and one in a file, or signed by one there. The file has PEM, and can be standard input.
    Certificates(PathBuf),
    /// The one that has this fingerprint, whatever else it says.
    Fingerprint(Fingerprint),
}

/// A certificate and its private key, in files of PEM, which can be standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificate, and those between it and the one that the receiver knows.
    pub certificate: PathBuf,
    /// The private key, which no passphrase protects.
    pub key: PathBuf,
}

/// SHA-256 of a certificate in DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// Why a text is not a [`Fingerprint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the SHA-256 of a certificate has 64 hexadecimal digits, as 'openssl x509 -noout -fingerprint -sha256' prints them"
)]
pub struct FingerprintError;

/// Digits, with colons or not, after `sha256:` or nothing.
impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits = match text.split_at_checked(7) {
            Some((prefix, digits)) if prefix.eq_ignore_ascii_case("sha256:") => digits,
            _ => text,
        };
        let bytes = bytes_of_hex_digits(&digits.replace(':', "")).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(FingerprintError)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex_digits(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_openssl_prints_them() {
        let bytes: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 7).unwrap());
        let colons = bytes.map(|byte| format!("{byte:02X}")).join(":");
        let plain = colons.replace(':', "").to_lowercase();
        for text in [&colons, &plain, &format!("sha256:{plain}"), &format!("SHA256:{colons}")] {
            assert_eq!(text.parse(), Ok(Fingerprint(bytes)), "{text}");
        }
        assert_eq!(Fingerprint(bytes).to_string(), plain);
        for text in ["", "sha256:", "sha1:00", &plain[2..], &format!("{plain}00"), &format!("{}zz", &plain[2..]), "é"]
        {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError), "{text}");
        }
    }
}
