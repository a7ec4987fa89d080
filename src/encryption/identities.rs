//! The private keys for inputs that are encrypted.

use super::age_format::PrivateKey;
use crate::error::{Error, Result};
use std::fmt;
use std::io::Read;
use zeroize::Zeroizing;

/// A larger file is none of identities; a key of 16384 bits has 13 KiB.
const MAX_FILE: usize = 256 << 10;

/// Private keys, one of which decrypts an input.
#[derive(Default)]
pub struct Identities(Vec<PrivateKey>);

/// How many they are, and nothing else of them.
impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities({})", self.0.len())
    }
}

impl Identities {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &PrivateKey> {
        self.0.iter()
    }

    /// Adds those in a file of age(1), one a line, or the one in a file of ssh(1).
    ///
    /// # Errors
    ///
    /// It cannot be read, has none, is protected by a passphrase, or a line is none; what is in the file is never told.
    pub fn add_file(&mut self, name: &str, file: impl Read) -> Result<()> {
        // As large as it can become, so that no copy is left behind where it grows.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
        let read = file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|source| Error::Io { what: format!("read {name}"), source })?;
        let wrong = |what: &str| Error::Refused(format!("{name}: not a usable identity: {what}"));
        if bytes.len() > MAX_FILE {
            return Err(wrong("it has more than 256 KiB"));
        }
        let begins = |with: &str| bytes.starts_with(with.as_bytes());
        if begins("age-encryption.org/") || begins("-----BEGIN AGE ENCRYPTED FILE-----") {
            return Err(wrong(
                "it is encrypted itself, and memtool asks for no passphrase; 'age -d FILE | memtool ... --identity -' decrypts it first",
            ));
        }
        if begins("-----BEGIN ") {
            self.0.push(PrivateKey::parse_ssh(&bytes).map_err(|why| wrong(&why))?);
            return Ok(());
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is no text"))?;
        let before = self.0.len();
        let lines = text.lines().map(str::trim).enumerate();
        for (index, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let at = |what: String| wrong(&format!("line {}: {what}", index + 1));
            if let Some(plugin) = plugin(line) {
                return Err(at(format!("identities of the plugin or kind '{plugin}' are not supported")));
            }
            self.0.push(PrivateKey::parse_native(line).map_err(at)?);
        }
        if self.0.len() > before { Ok(()) } else { Err(wrong("it has no private key")) }
    }
}

/// The plugin of `AGE-PLUGIN-NAME-1…`, or `PQ` of age's own newer kind. Nothing of the key is in it.
fn plugin(line: &str) -> Option<&str> {
    if line.starts_with("AGE-SECRET-KEY-PQ-1") {
        return Some("PQ");
    }
    let (name, _) = line.strip_prefix("AGE-PLUGIN-")?.split_once("-1")?;
    Some(name).filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte)))
}
