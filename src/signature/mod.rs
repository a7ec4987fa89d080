//! Signatures of manifests, in the format of minisign(1): `FILE.minisig` beside `FILE`.
//!
//! - [`SigningKey`]: a private key of minisign(1), which signs;
//! - [`VerifyingKey`]: a public key, which verifies.
//!
//! No private key and no password is ever in a message. Without the feature `sign` there are no keys.

#[cfg(feature = "sign")]
mod minisign_format;
#[cfg(not(feature = "sign"))]
#[path = "minisign_format_absent.rs"]
mod minisign_format;
#[cfg(feature = "sign")]
mod secret_key;

use crate::error::{Error, Result};
use crate::files::with_ending;
use minisign_format::{PrivateKey, PublicKey};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use zeroize::Zeroizing;

/// Larger files are no keys or signatures.
const MAX_FILE: usize = 64 << 10;
/// Letters of a public key.
const PUBLIC_KEY_LENGTH: usize = 56;

/// The name of a file's signature.
pub fn signature_path(signed: &Path) -> PathBuf {
    with_ending(signed, ".minisig")
}

/// Reads a small file; what is in it is overwritten in memory afterwards.
fn read(name: &str, what: &str, file: impl Read) -> Result<Zeroizing<String>> {
    // As large as it can become, so that no copy is left behind where it grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
    let read = file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|source| Error::Io { what: format!("read {name}"), source })?;
    let text = std::str::from_utf8(&bytes).ok().filter(|text| text.len() <= MAX_FILE);
    text.map(|text| Zeroizing::new(text.to_owned())).ok_or_else(|| Error::Refused(format!("{name}: not {what}")))
}

/// Where the password of a private key comes from, if it has one.
pub enum Password<'a> {
    /// The first line of a file.
    File(&'a str, &'a mut dyn Read),
    /// The terminal.
    Terminal,
}

/// A private key, which signs.
#[derive(Clone)]
pub struct SigningKey(Rc<PrivateKey>);

/// Nothing of it.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// Reads a file of minisign(1), `minisign.key` say. `password` is asked for only if the key has one.
    ///
    /// # Errors
    ///
    /// It cannot be read or is none; the password is wrong, or there is no terminal to ask for it.
    pub fn read(name: &str, file: impl Read, password: Password<'_>) -> Result<Self> {
        let wrong = |why: String| Error::Refused(format!("{name}: not a usable private key of minisign: {why}"));
        let text = read(name, "a private key of minisign", file)?;
        let ask = || match password {
            Password::File(name, file) => {
                let text = read(name, "a password", file)?;
                Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
            }
            Password::Terminal => minisign_format::ask_password(&format!("Password of {name}: ")).map_err(|error| {
                let why =
                    format!("it is protected by a password, which no terminal tells ({error}); use --password-file");
                wrong(why)
            }),
        };
        PrivateKey::parse(&text, ask, wrong).map(|key| Self(Rc::new(key)))
    }

    /// Signs the contents of a file of that name: the text of its signature.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub fn sign(&self, contents: &[u8], name: &Path, unix_time: u64) -> Result<String> {
        // As minisign(1) has it, which shows it once it is verified.
        let file = name.file_name().and_then(|name| name.to_str()).filter(|name| !name.contains(char::is_control));
        let file = file.map_or_else(String::new, |file| format!("\tfile:{file}"));
        let comment = format!("timestamp:{unix_time}{file}\thashed");
        let signed = self.0.sign(contents, &comment);
        signed.map_err(|why| Error::Refused(format!("{} cannot be signed: {why}", name.display())))
    }
}

/// A public key, which verifies signatures.
pub struct VerifyingKey(PublicKey);

/// A signature that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The public key.
    pub public_key: String,
    /// What who signed it says of it.
    pub trusted_comment: String,
}

impl VerifyingKey {
    /// Whether a name is that of a key, and none of a file.
    pub fn is_key(name: &str) -> bool {
        name.len() == PUBLIC_KEY_LENGTH && name.starts_with("RW")
    }

    /// A key as it is written.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn parse(text: &str) -> Result<Self> {
        PublicKey::parse(text).map(Self).map_err(|why| Error::Refused(format!("not a public key of minisign: {why}")))
    }

    /// Reads a file of minisign(1), `minisign.pub` say.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is none.
    pub fn read(name: &str, file: impl Read) -> Result<Self> {
        let text = read(name, "a public key of minisign", file)?;
        let key = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("untrusted comment:"));
        let named = |error| Error::Refused(format!("{name}: {error}"));
        Self::parse(key.unwrap_or_default().trim()).map_err(named)
    }

    /// Verifies the signature of a file's contents. `name` is that of the signature.
    ///
    /// # Errors
    ///
    /// The signature cannot be read or is none, is another key's, or of other contents.
    pub fn verify(&self, contents: &[u8], name: &str, signature: impl Read) -> Result<Verified> {
        let text = read(name, "a signature of minisign", signature)?;
        let verified = self.0.verify(contents, &text);
        verified.map_err(|why| Error::Format(format!("{name}: the signature is not right: {why}")))
    }
}
