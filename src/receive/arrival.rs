//! A dump that is arriving, or has: a file in the directory, which is called incomplete until it is known to be whole.
//!
//! `vmcore.192.0.2.7.20260131T120000Z.incomplete` keeps this name whatever happens, so that nothing that has arrived is lost.
//! Beside it, with `.json` at the end, is what is known of it: who has sent it, what is missing, and why. A dump that is whole
//! goes on as one that savecore(8) would have found on a dump device; see [`super::keep`].

use super::netdump::session::Session;
use crate::error::{Error, Result};
use crate::files::with_ending;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};
use vmcore::kerneldump::HEADER_LENGTH;
use vmcore::units::{hex, utc};

/// How names of dumps end that are not whole, or not known to be.
pub const INCOMPLETE: &str = ".incomplete";
/// The schema of what is known of one.
pub const SCHEMA: &str = "memtool.incomplete";
/// Its version.
const VERSION: u32 = 1;
/// So many holes are listed.
const MAX_HOLES: usize = 1 << 16;
/// No list is longer.
const MAX_LIST: u64 = 16 << 20;
/// So many names are tried.
const ATTEMPTS: u32 = 100;

/// Where a dump comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// How its name begins.
    pub kind: &'static str,
    /// Who sends it.
    pub client: SocketAddr,
    /// The address of this host that it is sent to.
    pub local: IpAddr,
}

/// A file that a dump is received into.
#[derive(Debug)]
pub struct Incoming {
    file: File,
    path: PathBuf,
    source: Source,
    began: SystemTime,
}

impl Incoming {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// The directory does not take it.
    pub fn create(directory: &Path, source: &Source) -> Result<Self> {
        let began = SystemTime::now();
        let time = utc(began).replace(['-', ':'], "");
        // A name has no colons.
        let client = source.client.ip().to_canonical().to_string().replace(':', "-");
        let stem = format!("{}.{client}.{time}", source.kind);
        for attempt in 0..ATTEMPTS {
            let more = if attempt == 0 { String::new() } else { format!(".{attempt}") };
            // What is there as a whole dump has the name to itself.
            if directory.join(format!("{stem}{more}")).symlink_metadata().is_ok() {
                continue;
            }
            let path = directory.join(format!("{stem}{more}{INCOMPLETE}"));
            let mut options = OpenOptions::new();
            match options.read(true).write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok(Self { file, path, source: *source, began }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::io("create", &path, source)),
            }
        }
        Err(Error::Refused(format!("{}: there are too many dumps of that name", directory.join(stem).display())))
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it on disk, in a thread of its own.
    pub fn sync(&self) -> JoinHandle<io::Result<()>> {
        let file = self.file.try_clone();
        thread::spawn(move || file?.sync_all())
    }
}

/// A range of bytes that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// The first byte.
    #[serde(with = "hex")]
    pub start: u64,
    /// The first byte behind it.
    #[serde(with = "hex")]
    pub end: u64,
    /// How many bytes that is.
    pub size: u64,
}

impl From<&(u64, u64)> for Hole {
    fn from((start, end): &(u64, u64)) -> Self {
        Self { start: *start, end: *end, size: end.saturating_sub(*start) }
    }
}

/// What is known of a dump that is not whole, as it is written beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenDown {
    schema: String,
    version: u32,
    /// Who has sent it.
    pub client: String,
    /// When it began to arrive.
    pub received_at: Option<String>,
    /// Why it is not whole.
    pub reasons: Vec<String>,
    /// Bytes that it should have, as far as that is known.
    pub size: u64,
    /// The ranges of bytes that are missing.
    pub holes: Vec<Hole>,
    /// How many ranges are not listed.
    pub unlisted_hole_count: u64,
}

impl WrittenDown {
    fn new(client: &SocketAddr, reasons: Vec<String>, size: u64, holes: &[(u64, u64)]) -> Self {
        let listed: Vec<Hole> = holes.iter().take(MAX_HOLES).map(Hole::from).collect();
        Self {
            schema: SCHEMA.to_owned(),
            version: VERSION,
            client: client.to_string(),
            received_at: None,
            reasons,
            size,
            unlisted_hole_count: (holes.len() - listed.len()) as u64,
            holes: listed,
        }
    }

    /// Writes it beside a dump.
    fn write(&self, dump: &Path) -> Result<()> {
        let path = list_path(dump);
        let text = serde_json::to_vec_pretty(self);
        write_new(&path, &text.map_err(|error| Error::io("write", &path, error.into()))?)
    }

    /// Whether a file is called incomplete.
    pub fn is_incomplete(dump: &Path) -> bool {
        dump.to_str().is_some_and(|name| name.ends_with(INCOMPLETE))
    }

    /// Reads what is written beside a file; `None` where there is nothing.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is something else.
    pub fn beside(dump: &Path) -> Result<Option<Self>> {
        let path = list_path(dump);
        let file = match crate::files::open(&path) {
            Ok(file) => file,
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        file.take(MAX_LIST).read_to_end(&mut text).map_err(|source| Error::io("read", &path, source))?;
        let wrong = |why: String| Error::Format(format!("{}: not what is known of a dump: {why}", path.display()));
        let read: Self = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if read.schema != SCHEMA || read.version != VERSION {
            return Err(wrong(format!("its schema is {} {}, not {SCHEMA} {VERSION}", read.schema, read.version)));
        }
        Ok(Some(read))
    }
}

/// The file beside a dump that says what is known of it.
fn list_path(dump: &Path) -> PathBuf {
    with_ending(dump, ".json")
}

/// A dump that has arrived, whole or not.
#[derive(Debug)]
pub struct Arrival {
    /// The file, which may be more than the dump.
    pub file: File,
    /// Its name.
    pub path: PathBuf,
    /// Who has sent it.
    pub source: Source,
    /// When it began to arrive.
    pub began: SystemTime,
    /// How long it took.
    pub elapsed: Duration,
    /// Bytes of the dump.
    pub size: u64,
    /// Why it is not whole; of one that is, nothing.
    pub problems: Vec<String>,
    /// What is missing.
    pub holes: Vec<(u64, u64)>,
    /// What is strange, and can be right.
    pub warnings: Vec<String>,
    /// What only netdump tells.
    pub netdump: Option<NetdumpFacts>,
}

/// What netdump tells of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetdumpFacts {
    /// What the client calls its dumps.
    pub path: String,
    /// Packets that came, those that came again included.
    pub packets: u64,
    /// Packets that came again.
    pub repeated: u64,
    /// The header as it came.
    pub header: Option<[u8; HEADER_LENGTH]>,
    /// The key as it came.
    pub key: Vec<u8>,
}

impl Arrival {
    /// What came from a client of netdump(4); with why it ended, if it was not the client, and what was refused of it, which
    /// explains what is missing and is no problem by itself.
    pub(crate) fn of_netdump(
        session: &Session,
        incoming: Incoming,
        (ended, refusal): (Option<String>, Option<String>),
        elapsed: Duration,
    ) -> Self {
        let mut problems: Vec<String> = session.problems().iter().map(ToString::to_string).chain(ended).collect();
        if !problems.is_empty() {
            problems.extend(refusal);
        }
        let Incoming { file, path, source, began } = incoming;
        let warnings = session.says_more().map(|said| {
            format!("its header says {said} bytes, and it is shorter: the kernel computes that before it dumps")
        });
        let (packets, repeated) = session.packets();
        let netdump = NetdumpFacts {
            path: session.path().to_owned(),
            packets,
            repeated,
            header: session.header().copied(),
            key: session.key().to_vec(),
        };
        Self {
            file,
            path,
            source,
            began,
            elapsed,
            size: session.length(),
            problems,
            holes: session.holes(),
            warnings: warnings.into_iter().collect(),
            netdump: Some(netdump),
        }
    }

    /// What came on a connection.
    pub(crate) fn of_stream(incoming: Incoming, size: u64, problem: Option<String>, elapsed: Duration) -> Self {
        let Incoming { file, path, source, began } = incoming;
        let (problems, holes) = (problem.into_iter().collect(), Vec::new());
        Self { file, path, source, began, elapsed, size, problems, holes, warnings: Vec::new(), netdump: None }
    }

    /// Writes down that a signal has ended a dump that was arriving on a connection.
    pub(crate) fn write_ended(path: &Path, client: SocketAddr) {
        let size = path.metadata().map_or(0, |metadata| metadata.len());
        let written = WrittenDown::new(&client, vec!["the receiver was ended".to_owned()], size, &[]);
        // Nobody is there to be told of an error.
        let _ = written.write(path);
    }

    /// Whether all of it is there.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    /// Writes down what is known of a dump that is not whole, beside it, and puts both on disk.
    ///
    /// # Errors
    ///
    /// They cannot be written.
    pub fn write_down(&self) -> Result<PathBuf> {
        let written = WrittenDown::new(&self.source.client, self.problems.clone(), self.size, &self.holes);
        let written = WrittenDown { received_at: Some(utc(self.began)), ..written };
        self.file.sync_all().map_err(|source| Error::io("write to disk:", &self.path, source))?;
        written.write(&self.path)?;
        if let Some(NetdumpFacts { header, key, .. }) = &self.netdump {
            if let Some(header) = header {
                self.write_beside(".header", header)?;
            }
            if !key.is_empty() {
                self.write_beside(".key", key)?;
            }
        }
        Ok(list_path(&self.path))
    }

    fn write_beside(&self, ending: &str, bytes: &[u8]) -> Result<()> {
        write_new(&with_ending(&self.path, ending), bytes)
    }
}

/// Writes a file that is not there yet. A signal's thread, which holds what is known of temporary files, cannot make one.
fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if written.is_err() {
            // Half of it would say something else.
            let _ = std::fs::remove_file(path);
        }
        written
    };
    write().map_err(|source| Error::io("write", path, source))
}
