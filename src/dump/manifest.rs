//! The manifest of a dump: a JSON object that says what was dumped, and proves later that a copy is whole.

use super::plan::Plan;
use crate::error::{Error, Result};
use crate::files;
use crate::files_in_use;
use crate::observer::{Observer, Phase, observe_bytes};
use crate::sha256;
use crate::signature::{Verified, VerifyingKey, signature_path};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;
use vmcore::format::unreadable::UnreadableRange;
use vmcore::format::{About, Format, Space};
use vmcore::opened::read_at_most;
use vmcore::progress::Progress;
use vmcore::segment::Segment;
use vmcore::system::System;
use vmcore::text::Name;
use vmcore::units::{counted, utc_if_known};

/// The `schema` of the object.
pub const SCHEMA: &str = "memtool.manifest";
/// The `version` of the schema.
pub const VERSION: u32 = 1;

/// A larger manifest is not read; one of 2^18 unreadable ranges takes 26 MiB.
const MAX_FILE: u64 = 256 << 20;

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`VERSION`].
    pub version: u32,
    /// The program that made the dump, with its version.
    pub written_by: String,
    /// `freebsd`, `recorded` or `image`: what was dumped.
    pub host: String,
    /// The system whose memory it is; absent for an image of unknown origin.
    #[serde(default)]
    pub system: Option<System>,
    /// The device or image that was read.
    #[serde(rename = "input")]
    pub device: Name,
    /// Which addresses they are.
    pub space: Space,
    /// When reading began, UTC, RFC 3339; `None` where the clock was beyond the calendar.
    pub started_at: Option<String>,
    /// When the dump was complete, likewise.
    pub finished_at: Option<String>,
    /// Bytes of a page.
    pub page_size: u64,
    /// Who said which addresses to dump.
    pub segments_from: String,
    /// What was dumped, in this order.
    pub segments: Vec<Segment>,
    /// Bytes of memory that were read.
    pub bytes_read: u64,
    /// Bytes that could not be read.
    pub bytes_unreadable: u64,
    /// Where they are.
    pub unreadable: Vec<UnreadableRange>,
    /// More ranges of them that are not listed.
    pub unreadable_unlisted_count: u64,
    /// The dump.
    #[serde(flatten)]
    pub output: Output,
}

/// A manifest that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadManifest {
    /// The manifest.
    pub manifest: Manifest,
    /// The SHA-256 of its text.
    pub text_sha256: String,
    /// Its signature, if that was verified.
    pub verified: Option<Verified>,
}

/// What a manifest says of the dump's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Where it was written: a path, `-` for standard output, or `tcp://HOST:PORT`.
    #[serde(rename = "output")]
    pub name: Name,
    /// The format.
    pub format: Format,
    /// `none`, `gzip` or `zstd`.
    pub compression: String,
    /// Who can decrypt it; `None` if it is not encrypted.
    #[serde(default)]
    pub recipients: Option<Vec<String>>,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// What every file with a schema begins with.
#[derive(Deserialize)]
struct Head {
    schema: String,
    version: u32,
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::Format(format!("{}: not a usable manifest: {why}", path.display()))
}

impl Manifest {
    /// The manifest of a dump that is complete now, in which nothing was read.
    pub fn new(plan: &Plan, about: &About, device: Name, output: Output) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            version: VERSION,
            written_by: concat!("memtool ", env!("CARGO_PKG_VERSION")).to_owned(),
            host: about.host.to_owned(),
            system: plan.system.clone(),
            device,
            space: plan.space,
            started_at: utc_if_known(about.started),
            finished_at: utc_if_known(SystemTime::now()),
            page_size: plan.page_size,
            segments_from: about.segments_from.clone(),
            segments: plan.segments.clone(),
            bytes_read: 0,
            bytes_unreadable: 0,
            unreadable: Vec::new(),
            unreadable_unlisted_count: 0,
            output,
        }
    }

    /// Reads a manifest; `-` is standard input.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is no manifest of this version.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(path, &Self::read_text(path)?)
    }

    /// As [`Self::read`], with what is around it. With a key, its signature is verified first.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read`] and [`VerifyingKey::verify`]; there is no signature beside it.
    pub fn read_verified(path: &Path, key: Option<&VerifyingKey>) -> Result<ReadManifest> {
        let text = Self::read_text(path)?;
        let verify = |key: &VerifyingKey| {
            let signature = signature_path(path);
            key.verify(&text, &signature.display().to_string(), files::open(&signature)?)
        };
        let verified = key.map(verify).transpose()?;
        Ok(ReadManifest { manifest: Self::parse(path, &text)?, text_sha256: sha256::of_bytes(&text), verified })
    }

    fn read_text(path: &Path) -> Result<Vec<u8>> {
        let file = files::open_in_order(path)?;
        let (path, _) = files::in_order(path);
        let text = read_at_most(file, MAX_FILE).map_err(|source| Error::io("read", path, source))?;
        text.ok_or_else(|| unusable(path, &format!("it has more than {} MiB", MAX_FILE >> 20)))
    }

    fn parse(path: &Path, text: &[u8]) -> Result<Self> {
        let (path, _) = files::in_order(path);
        let unusable = |why: String| unusable(path, &why);
        // First of all whether it is one: what another schema has in it is not this one's.
        let head: Head = serde_json::from_slice(text).map_err(|error| unusable(error.to_string()))?;
        if head.schema != SCHEMA || head.version != VERSION {
            let Head { schema, version } = head;
            return Err(unusable(format!(
                "its schema is '{schema}' version {version}, not '{SCHEMA}' version {VERSION}"
            )));
        }
        serde_json::from_slice(text).map_err(|error| unusable(error.to_string()))
    }

    /// Writes the manifest as text.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Checks that a dump is what the manifest says; `-` is standard input.
    ///
    /// # Errors
    ///
    /// The dump cannot be read, or has another size or hash.
    pub fn verify(&self, path: &Path, observer: &mut dyn Observer) -> Result<()> {
        let opened = if files::is_standard_input(path) {
            files::open_in_order(path)
        } else {
            let opened = File::open(path).and_then(|file| files_in_use::read(&file, path).map(|()| file));
            opened.map_err(|source| Error::io("open", path, source))
        };
        let mut dump = opened?;
        let name = files::in_order(path).0.display().to_string();
        observe_bytes(observer, Phase::Verifying, self.output.size, |progress| self.compare(&mut dump, &name, progress))
    }

    fn compare(&self, dump: &mut File, name: &str, progress: &Progress) -> Result<()> {
        let differs = |what: String| Err(Error::Format(format!("{name} does not match its manifest: {what}")));
        let read = sha256::of_reader(dump, self.output.size, |read| progress.add(read));
        let (size, hash) = read.map_err(|source| Error::Io { what: format!("read {name}"), source })?;
        let expected = self.output.size;
        if size > expected {
            return differs(format!("longer than the recorded {}", counted(expected, "byte")));
        }
        if size < expected {
            return differs(format!("{} instead of {expected}", counted(size, "byte")));
        }
        if !hash.eq_ignore_ascii_case(&self.output.sha256) {
            return differs(format!("SHA-256 {hash} instead of {}", self.output.sha256));
        }
        Ok(())
    }
}
