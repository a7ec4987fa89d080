//! The record of a crash, `crash.json`: all that is known of it besides its dump. The index can be made from the records.

use super::index::Row;
use super::names::{Id, Month};
use super::time::Time;
use serde::{Deserialize, Serialize};

/// The schema of a record.
pub const SCHEMA: &str = "memtool.archive.crash";
/// Its version.
pub const VERSION: u32 = 1;
/// No record is longer, in bytes.
pub const MAX_RECORD: u64 = 1 << 20;
/// Characters that are kept of a text in a dump.
const MAX_TEXT: usize = 1024;
/// Warnings that are kept.
const MAX_WARNINGS: usize = 100;

/// What an object of a crash is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The dump.
    Dump,
    /// What savecore(8) has written of its header.
    Info,
    /// The key of a dump that the kernel has encrypted.
    Key,
    /// What `memtool report --json` says.
    Report,
    /// The kernel, kept once for all crashes of it.
    Kernel,
    /// Its debug information, likewise.
    Debug,
}

/// An object of a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// What it is.
    pub kind: Kind,
    /// Its name in the archive.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes; of what crashes share, which was there before, it is not known.
    pub sha256: Option<String>,
}

/// A fingerprint, as a report has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedFingerprint {
    /// The fingerprint.
    pub value: String,
    /// What it is made of: `stack` or `panic-message`.
    pub basis: String,
    /// The names of the functions, or the message.
    pub parts: Vec<String>,
}

/// The record of a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashRecord {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub version: u32,
    /// Which crash it is.
    pub id: Id,
    /// The name of the host.
    #[serde(rename = "hostname")]
    pub host: Option<String>,
    /// When it crashed, as far as that can be told: the time of the dump or, where that is not known or cannot be right, the
    /// time of adding.
    pub crashed_at: Time,
    /// The time of the dump, by the clock of the host.
    pub dumped_at: Option<Time>,
    /// When it was added to the archive.
    pub added_at: Time,
    /// The first line of the kernel's version.
    pub kernel_version: Option<String>,
    /// The build ID of the kernel, or the SHA-256 of a kernel that has none.
    pub kernel_build_id: Option<String>,
    /// The architecture, as the kernel calls it.
    pub architecture: Option<String>,
    /// What the kernel panicked with.
    pub panic: Option<String>,
    /// What tells its bug from others.
    pub fingerprint: Option<RecordedFingerprint>,
    /// Bytes of the dump before compression and encryption, if they were counted.
    pub dump_size: Option<u64>,
    /// Bytes of the dump in the archive.
    pub stored_size: u64,
    /// How the dump is compressed: `none`, `gzip` or `zstd`; of one that was encrypted before, as its name says.
    pub compression: String,
    /// Whether the dump is encrypted, by the kernel or to recipients.
    pub encrypted: bool,
    /// The public keys that it was encrypted to when it was added.
    pub recipients: Option<Vec<String>>,
    /// The objects, the dump first.
    pub objects: Vec<StoredObject>,
    /// The version of memtool that has added it.
    pub memtool_version: String,
    /// What may be wrong.
    pub warnings: Vec<String>,
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// They are not JSON of that form.
    #[error("damaged: {0}")]
    Damaged(String),
    /// They are another object.
    #[error(
        "version {version} of '{schema}', which this memtool does not read; it reads version {VERSION} of '{SCHEMA}'"
    )]
    Other {
        /// The schema.
        schema: String,
        /// The version.
        version: u32,
    },
}

/// What a text in a dump says, as far as it is kept; `None` if nothing.
pub fn kept(text: &str) -> Option<String> {
    let text: String = text.trim().chars().filter(|c| *c != '\0').take(MAX_TEXT).collect();
    Some(text).filter(|text| !text.is_empty())
}

/// As many warnings as are kept.
pub fn kept_warnings(warnings: &[String]) -> Vec<String> {
    warnings.iter().take(MAX_WARNINGS).filter_map(|warning| kept(warning)).collect()
}

impl CrashRecord {
    /// Reads a record.
    ///
    /// # Errors
    ///
    /// It is none, or one of another version.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
            version: u32,
        }
        let damaged = |error: serde_json::Error| RecordError::Damaged(error.to_string());
        let Head { schema, version } = serde_json::from_slice(bytes).map_err(damaged)?;
        if (schema.as_str(), version) != (SCHEMA, VERSION) {
            let schema = kept(&schema).unwrap_or_default();
            return Err(RecordError::Other { schema, version });
        }
        serde_json::from_slice(bytes).map_err(damaged)
    }

    /// Its bytes.
    ///
    /// # Errors
    ///
    /// There is no memory for them.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The month that it is kept under.
    pub fn month(&self) -> Option<Month> {
        Month::parse(&self.crashed_at.month())
    }

    /// An object of it.
    pub fn object(&self, kind: Kind) -> Option<&StoredObject> {
        self.objects.iter().find(|object| object.kind == kind)
    }

    /// What the index says of it.
    pub fn row(&self) -> Row {
        Row {
            id: self.id.clone(),
            host: self.host.clone(),
            crashed_at: self.crashed_at,
            dumped_at: self.dumped_at,
            added_at: self.added_at,
            kernel_version: self.kernel_version.clone(),
            kernel_build_id: self.kernel_build_id.clone(),
            architecture: self.architecture.clone(),
            panic: self.panic.clone(),
            fingerprint: self.fingerprint.as_ref().map(|fingerprint| fingerprint.value.clone()),
            dump_size: self.dump_size,
            stored_size: self.stored_size,
            compression: self.compression.clone(),
            encrypted: self.encrypted,
            object: self.object(Kind::Dump).map(|dump| dump.name.clone()).unwrap_or_default(),
        }
    }
}
