//! To whom an output is encrypted.

use super::age_format::PublicKey;
use crate::error::{Error, Result};
use std::fmt;
use std::io::Read;

/// A larger file is none of recipients.
const MAX_FILE: u64 = 1 << 20;
/// More recipients than anybody has, and so many that the header stays small.
const MAX_RECIPIENTS: usize = 128;
/// What private keys of age begin with; in capitals, as all of them are.
const SECRET: &str = "AGE-SECRET-KEY-";

/// One of those who can decrypt an output.
#[derive(Clone)]
struct Recipient {
    /// As it is written, without a comment.
    text: String,
    key: PublicKey,
}

/// Those who can decrypt an output; of nobody, it is not encrypted.
#[derive(Clone, Default)]
pub struct Recipients(Vec<Recipient>);

/// By their public keys.
impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.texts()).finish()
    }
}

impl Recipients {
    /// Nobody.
    pub const fn nobody() -> Self {
        Self(Vec::new())
    }

    /// Bytes of what so many bytes become for them, about: a header, and 16 bytes for each 64 KiB.
    pub fn size_of(&self, bytes: u64) -> u64 {
        if self.is_empty() {
            return bytes;
        }
        bytes.saturating_add((bytes >> 16).saturating_mul(16)).saturating_add(1 << 10)
    }

    /// Whether the output is not encrypted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Their public keys, as JSON and manifests have them; `None` if the output is not encrypted.
    pub fn public_keys(&self) -> Option<Vec<String>> {
        (!self.is_empty()).then(|| self.texts().map(str::to_owned).collect())
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|recipient| recipient.text.as_str())
    }

    /// Their keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.iter().map(|recipient| &recipient.key)
    }

    /// Whether a name is that of a recipient, and none of a file.
    pub fn is_recipient(name: &str) -> bool {
        name.starts_with("age1") || name.contains(' ') && is_ssh(name) || is_secret(name)
    }

    /// Adds one who is written as in a file of recipients: `age1…`, `ssh-ed25519 …` or `ssh-rsa …`. One that is there
    /// already does not matter.
    ///
    /// # Errors
    ///
    /// It is none, of an unknown kind, or a private key; there are too many.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let key = parse(text).map_err(Error::Refused)?;
        let text = key.to_string();
        if self.texts().all(|known| known != text) {
            self.0.push(Recipient { text, key });
        }
        if self.0.len() > MAX_RECIPIENTS {
            return Err(Error::Refused(format!("more than {MAX_RECIPIENTS} recipients")));
        }
        Ok(())
    }

    /// Adds those in a file: one a line, as age(1) reads it with `-R`. Empty lines and those that begin with `#` do not
    /// matter.
    ///
    /// # Errors
    ///
    /// It cannot be read, has none, or a line is none; the line's number is told, and never what it says.
    pub fn add_file(&mut self, name: &str, file: impl Read) -> Result<()> {
        let mut text = Vec::new();
        let read = file.take(MAX_FILE + 1).read_to_end(&mut text);
        read.map_err(|source| Error::Io { what: format!("read {name}"), source })?;
        let wrong = |what: &str| Error::Refused(format!("{name}: not a file of recipients: {what}"));
        let text = std::str::from_utf8(&text).map_err(|_| wrong("it is no text"))?;
        if text.len() as u64 > MAX_FILE {
            return Err(wrong("it has more than 1 MiB"));
        }
        let lines = text.lines().map(str::trim).enumerate();
        let mut has_any = false;
        for (index, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            self.add(line).map_err(|error| wrong(&format!("line {}: {error}", index + 1)))?;
            has_any = true;
        }
        if has_any { Ok(()) } else { Err(wrong("it has no recipient")) }
    }
}

fn is_ssh(text: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| text.starts_with(prefix))
}

fn is_secret(text: &str) -> bool {
    text.get(..SECRET.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(SECRET)) || text.starts_with("-----BEGIN")
}

/// The kind of a recipient that age knows and memtool does not: of a plugin or of its own newer ones, `age1KIND1…`. Keys have
/// no 1.
fn other_kind(text: &str) -> Option<&str> {
    let (kind, _) = text.strip_prefix("age1")?.rsplit_once('1')?;
    kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte)).then_some(kind)
}

fn parse(text: &str) -> Result<PublicKey, String> {
    if is_secret(text) {
        return Err("a private key is no recipient; give its public key, which 'age-keygen -y' or 'ssh-keygen -y' prints, and replace a private key that others could have read".to_owned());
    }
    if let Some(kind) = other_kind(text) {
        return Err(format!(
            "recipients of the plugin or kind '{kind}' are not supported, only age's X25519 and ssh(1)'s"
        ));
    }
    if text.starts_with("age1") {
        return PublicKey::parse_native(text);
    }
    if is_ssh(text) {
        return PublicKey::parse_ssh(text);
    }
    Err("not a recipient: 'age1...', 'ssh-ed25519 ...' or 'ssh-rsa ...'".to_owned())
}
