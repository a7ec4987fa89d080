//! A dump that is to be added: its files, what they say, and which crash it is.
//!
//! Hosts can have any name, and clocks any time. So a crash is known by a hash: of what the kernel's header says that makes
//! it one crash, as savecore(8) has written it into `info.N` (architecture, kind, host, time, and the parity word, which
//! depends on all of the header), with the first bytes of the dump, since machines without a name of their own that panic at
//! the same second have equal headers. Neither depends on how the dump is compressed. Without `info.N` it is the hash of the
//! whole dump.

use super::names::Id;
use super::time::Time;
use crate::crash_dump::CrashDump;
use crate::dump_input;
use crate::encryption;
use crate::error::{Error, Result};
use crate::files;
use crate::observer::{Observer, Phase, observe_bytes};
use crate::sha256;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::stream::{Stream, StreamError, compression_of};
use vmcore::dump::{Container, Content, Depth, InfoFile, inspect};
use vmcore::kerneldump::Compression;
use vmcore::opened::read_at_most;
use vmcore::progress::Progress;
use vmcore::text::first_line;

/// Bytes of an `info.N` or a `key.N` at most.
const MAX_SMALL: u64 = 64 << 10;
/// The first bytes of a dump that are part of what it is known by: headers, and messages of the kernel.
const BEGINNING: usize = 256 << 10;
/// What a name begins with, if not `vmcore`.
const STEMS: [&str; 3] = ["vmcore_encrypted", "textdump.tar", "livecore"];
/// Bytes that are hashed at a time.
const PART: usize = 1 << 18;

/// A file that goes with a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Companion {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// A dump that is to be added.
pub struct Candidate {
    /// Its files.
    pub files: CrashDump,
    /// Its bytes.
    pub(super) volume: ByteSource,
    /// What its name begins with.
    pub(super) stem: &'static str,
    /// How it is compressed.
    pub(super) compression: Compression,
    /// Whether it is encrypted to recipients.
    pub is_encrypted_to_recipients: bool,
    /// What savecore(8) has written of its header.
    pub info: Option<Companion>,
    /// The key of one that the kernel has encrypted.
    pub key: Option<Companion>,
    /// Which crash it is.
    pub id: Id,
    /// Its time, by the clock of the host.
    pub dumped_at: Option<Time>,
    /// Bytes before compression, where they were counted.
    pub(super) dump_size: Option<u64>,
    /// What may be wrong with it.
    pub warnings: Vec<String>,
}

impl Candidate {
    /// Opens a dump with the files beside it; `info` stands for its `info.N`.
    ///
    /// # Errors
    ///
    /// It cannot be read, is empty, or is no dump in a file of its own.
    pub fn open(files: CrashDump, info: Option<&Path>, observer: &mut dyn Observer) -> Result<Self> {
        let volume = dump_input::open(&files.core)?;
        let failed = |source| Error::io("read", &files.core, source);
        let name = files.core.display().to_string();
        if volume.length() == 0 {
            return Err(Error::Refused(format!("{name} is empty")));
        }
        let is_encrypted_to_recipients = encryption::input::is_encrypted(&volume).map_err(failed)?;
        let mut warnings = Vec::new();
        let (mut stem, mut compression) = (stem(&files), Compression::None);
        if is_encrypted_to_recipients {
            compression = compression_by_name(&files.core);
        } else if files.is_encrypted {
            warnings.push("the dump is encrypted, and was not verified".to_owned());
        } else {
            let found = observe_bytes(observer, Phase::Verifying, None, |progress| {
                inspect(&volume, Depth::Quick, progress).map_err(failed)
            })?;
            if found.location.place != Container::File {
                return Err(Error::Refused(format!(
                    "{name} is a dump device or an image of one: 'memtool save' saves its dump to a file first"
                )));
            }
            if let Some(foreign) = found.foreign.filter(|_| found.content == Content::Unknown) {
                return Err(Error::Refused(format!("{name} is no dump: {}", foreign.name)));
            }
            if matches!(found.content, Content::Text(_)) {
                stem = "textdump.tar";
            }
            compression = found.compression;
            warnings.extend(found.damage.iter().map(|damage| format!("the dump is damaged: {damage}")));
            warnings.extend(found.problem().map(|problem| format!("nothing can be read in the dump: {problem}")));
            if found.content == Content::Unknown && found.problem().is_none() {
                warnings.push("it is not known what the dump is; it may be an image of memory".to_owned());
            }
            warnings.extend(found.warnings);
        }
        let info = match info {
            Some(path) => Some(companion(path, files::open(path)?)?),
            None => files.info_path().map(|path| beside(&path)).transpose()?.flatten(),
        };
        let number = files.number.filter(|_| files.is_encrypted);
        let key = number.map(|number| beside(&files.directory.join(format!("key.{number}")))).transpose()?.flatten();
        let parsed = info.as_ref().map(|info| InfoFile::parse(&info.bytes));
        let dumped_at = parsed.as_ref().and_then(|info| Time::parse_saved(info.field("Dumptime")?));
        let mut candidate = Self {
            volume,
            stem,
            compression,
            is_encrypted_to_recipients,
            info,
            key,
            id: Id::new(b""),
            dumped_at,
            dump_size: None,
            warnings,
            files,
        };
        candidate.id = candidate.identify(parsed.as_ref(), observer)?;
        Ok(candidate)
    }

    /// Whether nobody without a key can read it.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted_to_recipients || self.files.is_encrypted
    }

    /// What savecore(8) has written of its header.
    pub(super) fn saved(&self) -> Option<InfoFile> {
        self.info.as_ref().map(|info| InfoFile::parse(&info.bytes))
    }

    fn identify(&mut self, info: Option<&InfoFile>, observer: &mut dyn Observer) -> Result<Id> {
        let name = self.files.core.display().to_string();
        if let Some(info) = info
            && let (Some(time), Some(parity)) = (info.field("Dumptime"), info.field("Dump Parity"))
        {
            // The same in every time zone.
            let time = self.dumped_at.map_or_else(|| time.to_owned(), |time| time.seconds().to_string());
            let field = |label| info.field(label).unwrap_or_default();
            let fields = [field("Architecture"), field("Magic"), field("Hostname"), &time, parity];
            // No field has a line break in it.
            let mut identity = format!("crash\n{}\n", fields.join("\n")).into_bytes();
            if !self.is_encrypted() {
                identity.extend(beginning(&self.volume, self.compression));
            }
            return Ok(Id::new(&identity));
        }
        let Self { volume, compression, .. } = &*self;
        let of_bytes = |size: u64, digits: &str| (size, Id::new(format!("dump\n{digits}\n").as_bytes()));
        let (size, id) = observe_bytes(observer, Phase::Reading, volume.length(), |progress| {
            if !self.is_encrypted()
                && let Ok((size, digits)) = hash_unpacked(volume, *compression, progress)
            {
                return Ok::<_, Error>((Some(size), of_bytes(size, &digits).1));
            }
            // What is damaged or encrypted, as it is.
            let mut reader = volume.part(0, volume.length(), progress);
            let hashed = sha256::of_reader(&mut reader, u64::MAX, |_| {});
            let (size, digits) = hashed.map_err(|source| Error::Io { what: format!("read {name}"), source })?;
            Ok((None, of_bytes(size, &digits).1))
        })?;
        self.dump_size = size;
        Ok(id)
    }

    /// The first line of the kernel's version.
    pub(super) fn kernel_version(&self) -> Option<String> {
        let version = self.saved()?.version()?;
        super::record::kept(first_line(&version))
    }
}

fn stem(files: &CrashDump) -> &'static str {
    let name = files.core.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    STEMS.into_iter().find(|stem| name.starts_with(&format!("{stem}."))).unwrap_or("vmcore")
}

/// How a dump is compressed that nobody can look into: `vmcore.0.zst.age`.
fn compression_by_name(path: &Path) -> Compression {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix(encryption::SUFFIX).unwrap_or(name);
    let all = [Compression::Gzip, Compression::Zstd];
    all.into_iter().find(|compression| name.ends_with(compression.suffix())).unwrap_or(Compression::None)
}

fn companion(path: &Path, file: File) -> Result<Companion> {
    let bytes = read_at_most(file, MAX_SMALL).map_err(|source| Error::io("read", path, source))?;
    let bytes = bytes.ok_or_else(|| Error::Refused(format!("{} is larger than such a file", path.display())))?;
    Ok(Companion { path: path.to_owned(), bytes })
}

/// A file beside a dump, which need not be there.
fn beside(path: &Path) -> Result<Option<Companion>> {
    match files::open_nonblocking(path) {
        Ok(file) => companion(path, file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::io("open", path, source)),
    }
}

/// The first bytes of a dump, as far as they can be read.
pub(super) fn beginning(volume: &ByteSource, compression: Compression) -> Vec<u8> {
    let progress = Progress::default();
    let stream = Stream::new(volume, (0, volume.length()), compression, &progress);
    stream.ok().and_then(|mut stream| stream.take_available(BEGINNING as u64).ok()).unwrap_or_default()
}

/// How a dump is compressed, by its first bytes.
pub(super) fn compression_at(volume: &ByteSource) -> io::Result<Compression> {
    let mut head = [0; 4];
    let read = volume.read_at(0, &mut head)?;
    Ok(compression_of(vmcore::bounds::filled(&head, read)?))
}

/// A stream as what is read to its end.
struct Unpacked<'a>(Stream<'a>);

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error {
            StreamError::Io(source) => source,
            other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
        })
    }
}

fn hash_unpacked(volume: &ByteSource, compression: Compression, progress: &Progress) -> io::Result<(u64, String)> {
    let stream = Stream::new(volume, (0, volume.length()), compression, progress)?;
    sha256::of_reader(&mut io::BufReader::with_capacity(PART, Unpacked(stream)), u64::MAX, |_| {})
}
