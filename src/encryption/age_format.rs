//! What the crate `age` does of all this.

use std::fmt;
use std::io::{self, BufRead, Read, Write};
use std::str::FromStr;

/// A public key.
#[derive(Clone)]
pub enum PublicKey {
    /// age's own.
    X25519(age::x25519::Recipient),
    /// One of ssh(1).
    Ssh(Box<age::ssh::Recipient>),
}

impl PublicKey {
    /// Reads `age1…`.
    pub fn parse_native(text: &str) -> Result<Self, String> {
        let parsed = age::x25519::Recipient::from_str(text);
        parsed.map(Self::X25519).map_err(|why| format!("not a public key of age: {why}"))
    }

    /// Reads a line of a public key of ssh(1).
    pub fn parse_ssh(text: &str) -> Result<Self, String> {
        use age::ssh::ParseRecipientKeyError as Error;
        age::ssh::Recipient::from_str(text).map(|key| Self::Ssh(Box::new(key))).map_err(|error| match error {
            Error::RsaModulusTooLarge => "the RSA key has too many bits".to_owned(),
            Error::RsaModulusTooSmall => "the RSA key has fewer than 2048 bits".to_owned(),
            Error::Unsupported(kind) => {
                format!("keys of ssh(1) of the kind '{kind}' cannot be encrypted to, only ssh-ed25519 and ssh-rsa")
            }
            _ => "not a public key of ssh(1)".to_owned(),
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::X25519(key) => write!(f, "{key}"),
            Self::Ssh(key) => write!(f, "{key}"),
        }
    }
}

/// A private key.
pub struct PrivateKey(Box<dyn age::Identity + Send + Sync>);

impl PrivateKey {
    /// Reads `AGE-SECRET-KEY-1…`.
    pub fn parse_native(text: &str) -> Result<Self, String> {
        let parsed = age::x25519::Identity::from_str(text);
        parsed.map(|key| Self(Box::new(key))).map_err(|_| "no private key of age (AGE-SECRET-KEY-1...)".to_owned())
    }

    /// Reads a file of ssh(1).
    pub fn parse_ssh(bytes: &[u8]) -> Result<Self, String> {
        use age::ssh::{Identity, UnsupportedKey};
        let protected = "the private key of ssh(1) is protected by a passphrase, which memtool does not ask for; 'ssh-keygen -p' removes it from a copy";
        match Identity::from_buffer(bytes, None) {
            Ok(key @ Identity::Unencrypted(_)) => Ok(Self(Box::new(key))),
            Ok(Identity::Encrypted(_)) => Err(protected.to_owned()),
            Ok(Identity::Unsupported(UnsupportedKey::EncryptedPem | UnsupportedKey::EncryptedSsh(_))) => {
                Err(protected.to_owned())
            }
            Ok(Identity::Unsupported(UnsupportedKey::Hardware(kind) | UnsupportedKey::Type(kind))) => {
                let kind = kind.escape_debug();
                Err(format!("keys of ssh(1) of the kind '{kind}' cannot decrypt, only ssh-ed25519 and ssh-rsa"))
            }
            Err(_) => Err("not a usable private key of ssh(1)".to_owned()),
        }
    }
}

/// Encrypts what is written to it.
pub struct Writer<W>(age::stream::StreamWriter<W>);

impl<W: Write> Writer<W> {
    /// Writes the header.
    pub fn new<'a>(sink: W, recipients: impl Iterator<Item = &'a PublicKey>) -> io::Result<Self> {
        let recipients = recipients.map(|key| match key {
            PublicKey::X25519(key) => key as &dyn age::Recipient,
            PublicKey::Ssh(key) => &**key as &dyn age::Recipient,
        });
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        encryptor.wrap_output(sink).map(Self)
    }

    /// Writes the end, without which it cannot be decrypted as a whole.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Why something cannot be decrypted, as far as its header tells.
pub enum HeaderError {
    /// It is encrypted to others.
    NoMatchingKey,
    /// It is encrypted with a passphrase.
    Passphrase,
    /// It is no header, or was changed.
    Damaged,
    /// It cannot be read.
    Io(io::Error),
}

impl From<age::DecryptError> for HeaderError {
    fn from(error: age::DecryptError) -> Self {
        match error {
            age::DecryptError::NoMatchingKeys => Self::NoMatchingKey,
            age::DecryptError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => Self::Io(error),
            _ => Self::Damaged,
        }
    }
}

/// Reads the header; what is then read is decrypted.
pub fn decrypt<'a, R: BufRead + 'a>(
    input: R,
    keys: impl Iterator<Item = &'a PrivateKey>,
) -> Result<impl Read + 'a, HeaderError> {
    let decryptor = age::Decryptor::new_buffered(input)?;
    if decryptor.is_scrypt() {
        return Err(HeaderError::Passphrase);
    }
    Ok(decryptor.decrypt(keys.map(|key| &*key.0 as &dyn age::Identity))?)
}
