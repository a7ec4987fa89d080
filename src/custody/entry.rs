//! An entry of a custody log: one line of JSON.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use vmcore::text::Name;

/// The `schema` of an entry.
pub const SCHEMA: &str = "memtool.custody.entry";
/// The `version` of the schema.
pub const VERSION: u32 = 1;
/// Bytes of a line, with its end. A longer one is no entry.
pub const MAX_LINE: usize = 64 << 10;

/// How the signature of a line begins that has one. Within a string of JSON a quotation mark has a backslash before it,
/// so that this stands where the member is and nowhere else.
const SIGNATURE: &str = ",\"signature\":\"";
/// What the line has in its place when it is signed.
const NO_SIGNATURE: &str = ",\"signature\":null}\n";

/// Who had a dump when, and why. The members are in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub version: u32,
    /// From 1 on.
    pub number: u64,
    /// When it was written, UTC, RFC 3339; `None` where the clock was beyond the calendar.
    pub written_at: Option<String>,
    /// What was done: `acquired`, `transferred`, or any other words.
    pub action: String,
    /// Why.
    pub reason: String,
    /// The case that it belongs to.
    pub case: Option<String>,
    /// Who did it, as they call themselves.
    pub by: Option<String>,
    /// Where the dump came from.
    pub from: Option<String>,
    /// Where it went.
    pub to: Option<String>,
    /// The user who ran memtool; `None` if the user ID has no name.
    pub user_name: Option<String>,
    /// The user ID.
    pub uid: u32,
    /// The host on which that was.
    pub hostname: Name,
    /// The program, with its version.
    pub written_by: String,
    /// The dump's name then, without its directory.
    pub name: Name,
    /// Its bytes.
    pub size: u64,
    /// Their SHA-256 in hexadecimal.
    pub sha256: String,
    /// If the dump is not what the entry before says: why, and what it was.
    pub changed: Option<Changed>,
    /// If the dump was made from another file: from which.
    pub derived_from: Option<Origin>,
    /// The SHA-256 of the line before, with its end; in the first entry that of the manifest, if there is one.
    pub previous_sha256: Option<String>,
    /// The signature of the line, as minisign(1) writes it; what is signed has null here.
    pub signature: Option<String>,
}

/// That a dump is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// Why.
    pub why: String,
    /// Bytes before.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: String,
}

/// A file that a dump was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Its name.
    pub input: Name,
    /// Its bytes; `None`, as the others, if it has no custody log.
    pub size: Option<u64>,
    /// Their SHA-256.
    pub sha256: Option<String>,
    /// The SHA-256 of the last entry of its log.
    pub entry_sha256: Option<String>,
}

/// What every line begins with, of this version or another.
#[derive(Deserialize)]
struct Head {
    schema: String,
    version: u32,
}

/// Why a line is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is an entry of a version that is not known.
    #[error("an entry of version {0}, which this memtool does not know")]
    Version(u32),
    /// It is none.
    #[error("not an entry of a custody log: {0}")]
    Foreign(String),
}

impl Entry {
    /// Reads a line.
    ///
    /// # Errors
    ///
    /// It is no entry of this version.
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        let foreign = |error: serde_json::Error| LineError::Foreign(error.to_string());
        let head: Head = serde_json::from_slice(line).map_err(foreign)?;
        match (&*head.schema, head.version) {
            (SCHEMA, VERSION) => serde_json::from_slice(line).map_err(foreign),
            (SCHEMA, other) => Err(LineError::Version(other)),
            (other, _) => Err(LineError::Foreign(format!("its schema is '{other}'"))),
        }
    }

    /// Its line, with its end.
    ///
    /// # Errors
    ///
    /// It is longer than [`MAX_LINE`].
    pub fn line(&self) -> Result<String> {
        let line = serde_json::to_string(self).map_err(|error| Error::Refused(error.to_string()))?;
        if line.len() >= MAX_LINE {
            return Err(Error::Refused(format!("the entry is longer than {} KiB", MAX_LINE >> 10)));
        }
        Ok(line + "\n")
    }
}

/// What is signed of a line that has a signature; `None` if that is not where memtool writes it.
pub fn signed_text(line: &str) -> Option<String> {
    let (text, signature) = line.split_once(SIGNATURE)?;
    // Nothing follows the signature.
    let is_last = signature.find('"').is_some_and(|end| signature.get(end..) == Some("\"}\n"));
    is_last.then(|| format!("{text}{NO_SIGNATURE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(signature: Option<&str>) -> Entry {
        Entry {
            schema: SCHEMA.to_owned(),
            version: VERSION,
            number: 1,
            written_at: None,
            action: "acquired".to_owned(),
            reason: "said \",\"signature\":\"x\" and \\".to_owned(),
            case: None,
            by: None,
            from: None,
            to: None,
            user_name: None,
            uid: 0,
            hostname: "host".into(),
            written_by: "memtool".to_owned(),
            name: "ram".into(),
            size: 0,
            sha256: crate::sha256::of_bytes(b""),
            changed: None,
            derived_from: None,
            previous_sha256: None,
            signature: signature.map(str::to_owned),
        }
    }

    #[test]
    fn what_is_signed_is_the_line_without_a_signature_whatever_the_texts_say() {
        let unsigned = entry(None).line().unwrap();
        let signed = entry(Some("two\nlines")).line().unwrap();
        assert_ne!(signed, unsigned);
        assert_eq!(signed_text(&signed), Some(unsigned.clone()));
        assert_eq!(signed_text(&unsigned), None);
        assert_eq!(signed_text(&signed.replace("\"}\n", "\",\"more\":1}\n")), None);
        assert_eq!(Entry::parse(signed.as_bytes()).unwrap(), entry(Some("two\nlines")));
    }
}
