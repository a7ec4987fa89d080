//! What `memtool save` says of devices in JSON.

use super::super::inspect::KernelHeader;
use super::super::partition::PartitionDocument;
use memtool::save::CrashDump;
use memtool::save::directory::DumpFiles;
use memtool::save::send::{Places, SentDump};
use serde::Serialize;
use std::path::Path;
use vmcore::dump::Damage;
use vmcore::kerneldump::Compression;
use vmcore::text::Name;

/// What became of the dump on a device.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// There is none, or it was cleared already.
    NoDump,
    /// There is one, and that was the question.
    Found,
    Saved,
    /// Cleared without being saved.
    GivenUp,
    Failed,
}

/// What is said of a device in JSON.
#[derive(Serialize)]
pub struct Outcome {
    pub input: Name,
    pub result: Ending,
    /// The partition of a whole disk that the dump is in.
    pub partition: Option<PartitionDocument>,
    /// The last header of the dump there, as before it was cleared.
    pub header: Option<KernelHeader>,
    /// Bytes of the dump on the device.
    pub size: Option<u64>,
    pub encrypted: bool,
    /// Whether the dump is cleared now.
    pub cleared: bool,
    pub damage: Vec<Damage>,
    pub saved: Option<SavedFile>,
    pub error: Option<String>,
}

#[derive(Serialize)]
pub struct SavedFile {
    /// Its number in a directory of dumps.
    pub number: Option<u32>,
    pub output: Name,
    pub info: Option<Name>,
    pub key: Option<Name>,
    /// Not known with `--dry-run` if the dump is to be compressed or decompressed.
    pub size: Option<u64>,
    pub compression: Compression,
    /// Who can decrypt the file.
    pub recipients: Option<Vec<String>>,
    pub good: bool,
    pub verified: bool,
    pub warnings: Vec<String>,
}

#[derive(Serialize)]
pub struct Document {
    /// Whether all of this would be done, and nothing was.
    pub dry_run: bool,
    pub devices: Vec<Outcome>,
}

impl Outcome {
    pub fn new(device: &Path, result: Ending) -> Self {
        let input = device.into();
        let (partition, header, size, saved, error) = (None, None, None, None, None);
        Self {
            input,
            result,
            partition,
            header,
            size,
            encrypted: false,
            cleared: false,
            damage: Vec::new(),
            saved,
            error,
        }
    }

    pub fn with_dump(device: &Path, result: Ending, dump: &CrashDump) -> Self {
        Self {
            partition: dump.partition().map(PartitionDocument::new),
            header: Some(KernelHeader::new(&dump.header)),
            size: Some(dump.size()),
            encrypted: dump.is_encrypted(),
            cleared: dump.cleared,
            damage: dump.damage.iter().chain(&dump.beginning).cloned().collect(),
            ..Self::new(device, result)
        }
    }
}

impl SavedFile {
    /// A dump that was sent, or would be.
    pub fn sent(sent: &SentDump) -> Self {
        let Places { core, info, key } = &sent.places;
        Self {
            number: None,
            output: core.into(),
            info: info.as_ref().map(Name::from),
            key: key.as_ref().map(Name::from),
            size: sent.size,
            compression: sent.compression,
            recipients: None,
            good: sent.good,
            verified: false,
            warnings: sent.warnings.clone(),
        }
    }

    /// The files of a dump of which nothing was verified, and nothing is to be warned of.
    pub fn new(files: &DumpFiles, size: Option<u64>, compression: Compression, good: bool) -> Self {
        let path = |path: &Path| Name::from(path);
        Self {
            number: Some(files.number),
            output: path(&files.core),
            info: Some(path(&files.info)),
            key: files.key.as_deref().map(path),
            size,
            compression,
            recipients: None,
            good,
            verified: false,
            warnings: Vec::new(),
        }
    }
}
