//! What the objects of an archive are called.
//!
//! ```text
//! crashes/2026-11/ID/crash.json          the record of a crash, written last
//! crashes/2026-11/ID/vmcore.zst          its dump; or vmcore_encrypted, textdump.tar, livecore; .gz; .age
//! crashes/2026-11/ID/info, key, report.json
//! kernels/BUILD-ID/kernel.zst, kernel.debug.zst
//! index/month=2026-11/ID.parquet         one row of the index
//! index/month=2026-11/merged-HASH.parquet   the rows of many; HASH is of its bytes
//! pruning/2026-11/ID                     that a crash is being removed
//! ```

use crate::sha256;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use vmcore::bounds::split_text;

/// Hexadecimal digits of an ID and of the hash in a name.
const DIGITS: usize = 32;
/// Folders.
pub const CRASHES: &str = "crashes";
/// See [`CRASHES`].
pub const INDEX: &str = "index";
/// See [`CRASHES`].
pub const PRUNING: &str = "pruning";
/// The file of a record.
pub const RECORD: &str = "crash.json";

/// Which crash it is: 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

/// That a text is no ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an ID has {DIGITS} hexadecimal digits")]
pub struct IdError;

/// The month that a crash is kept under: `2026-11`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(String);

/// The first digits of the SHA-256 of bytes.
pub fn short_hash(bytes: &[u8]) -> String {
    sha256::of_bytes(bytes).chars().take(DIGITS).collect()
}

fn are_digits(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

impl Id {
    /// By what tells a crash from all others.
    pub fn new(identity: &[u8]) -> Self {
        Self(short_hash(identity))
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As many digits as people read.
    pub fn short(&self) -> &str {
        const SHORT: usize = 12;
        split_text(&self.0, SHORT).0
    }
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if are_digits(text) { Ok(Self(text.to_owned())) } else { Err(IdError) }
    }
}

impl TryFrom<String> for Id {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Month {
    /// `2026-11`; `None` of another text.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let is_number = |text: &str, digits: usize| text.len() == digits && text.bytes().all(|c| c.is_ascii_digit());
        let is_month = is_number(year, 4) && is_number(month, 2) && ("01"..="12").contains(&month);
        is_month.then(|| Self(text.to_owned()))
    }

    /// The month before; none before the year 0.
    pub fn before(&self) -> Option<Self> {
        let (year, month) = self.0.split_once('-')?;
        let (year, month): (u32, u32) = (year.parse().ok()?, month.parse().ok()?);
        let (year, month) = if month > 1 { (year, month - 1) } else { (year.checked_sub(1)?, 12) };
        Self::parse(&format!("{year:04}-{month:02}"))
    }

    /// The folder of a crash, without a slash at the end.
    pub fn crash(&self, id: &Id) -> String {
        format!("{CRASHES}/{self}/{id}")
    }

    /// The record of a crash.
    pub fn record(&self, id: &Id) -> String {
        format!("{}/{RECORD}", self.crash(id))
    }

    /// The row of a crash.
    pub fn row(&self, id: &Id) -> String {
        format!("{INDEX}/month={self}/{id}.parquet")
    }

    /// The rows of many crashes, by the bytes of the object.
    pub fn merged(&self, bytes: &[u8]) -> String {
        format!("{INDEX}/month={self}/merged-{}.parquet", short_hash(bytes))
    }

    /// That a crash is being removed.
    pub fn pruning(&self, id: &Id) -> String {
        format!("{PRUNING}/{self}/{id}")
    }
}

/// An object of the index, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexObject {
    /// One row.
    Row(Id),
    /// Many, with the hash of its bytes.
    Merged(String),
}

/// What an object of the index is; `None` for a foreign one.
pub fn parse_index(name: &str) -> Option<(Month, IndexObject)> {
    let (month, file) = name.strip_prefix(INDEX)?.strip_prefix("/month=")?.split_once('/')?;
    let month = Month::parse(month)?;
    let stem = file.strip_suffix(".parquet")?;
    match stem.strip_prefix("merged-") {
        Some(hash) => are_digits(hash).then(|| (month, IndexObject::Merged(hash.to_owned()))),
        None => Some((month, IndexObject::Row(stem.parse().ok()?))),
    }
}

/// Which crash an object below [`CRASHES`] or [`PRUNING`] belongs to, and what follows; `None` for a foreign one.
pub fn parse_crash<'a>(below: &str, name: &'a str) -> Option<(Month, Id, &'a str)> {
    let (month, rest) = name.strip_prefix(below)?.strip_prefix('/')?.split_once('/')?;
    let (id, file) = rest.split_once('/').unwrap_or((rest, ""));
    Some((Month::parse(month)?, id.parse().ok()?, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_made() {
        let (month, id) = (Month::parse("2026-11").unwrap(), Id::new(b"x"));
        assert_eq!(parse_index(&month.row(&id)), Some((month.clone(), IndexObject::Row(id.clone()))));
        let merged = IndexObject::Merged(short_hash(b"y"));
        assert_eq!(parse_index(&month.merged(b"y")), Some((month.clone(), merged)));
        assert_eq!(parse_crash(CRASHES, &month.record(&id)), Some((month.clone(), id.clone(), RECORD)));
        assert_eq!(parse_crash(PRUNING, &month.pruning(&id)), Some((month.clone(), id.clone(), "")));
        let names = [month.row(&id), month.merged(b"y"), month.record(&id)];
        for foreign in names.iter().flat_map(|name| {
            [name.to_uppercase(), name.replace("11", "13"), name.replace("2026", "26"), format!("x{name}")]
        }) {
            assert!(parse_index(&foreign).is_none() && parse_crash(CRASHES, &foreign).is_none(), "{foreign}");
        }
        assert_eq!(parse_index(&format!("{}.tmp", month.row(&id))), None);
    }
}
