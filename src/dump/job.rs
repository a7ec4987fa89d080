//! The steps by which memory becomes a dump, whatever memory it is: names are checked; what certainly does not fit is
//! refused; files are begun and connections made; the dump is written, compressed, hashed and mapped on the way, while
//! an [`Observer`] follows; a dump with nothing in it is refused; another host has to confirm that it has everything;
//! and then files get their names. Whatever fails, nothing half done stays behind.

use super::DumpReport;
use super::destination::{Destination, MapDestination};
use super::sink::{Packing, Target, Written, with_sink};
use crate::compress::Compression;
use crate::custody::{self, Beginning, DumpState};
use crate::encryption::Recipients;
use crate::error::{Error, Result};
use crate::observer::{Observer, Phase, Work, observed};
use crate::output_file::{self, OutputFile};
use crate::remote::{Delivered, Settings};
use nix::errno::Errno;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vmcore::format::Layout;
use vmcore::format::map_file::MapFile;
use vmcore::format::writer::{Copied, SparseWrite};
use vmcore::opened::directory_of;
use vmcore::progress::Progress;

/// How a dump is written, and where to.
#[derive(Debug, Clone)]
pub struct JobOptions {
    /// Where it goes.
    pub destination: Destination,
    /// What is known of another host that it goes to.
    pub remote: Settings,
    /// How it is compressed.
    pub compression: Compression,
    /// Who can decrypt it; of nobody, it is not encrypted.
    pub recipients: Recipients,
    /// Where its map goes: which addresses are in it.
    pub map: Option<MapDestination>,
    /// Another file that goes with it.
    pub companion: Option<Companion>,
    /// The first entry of the dump's custody log, if it gets one; then the dump is a file.
    pub custody: Option<Beginning>,
    /// Refuse beforehand what will not fit.
    pub check_space: bool,
    /// Replace files that are there.
    pub replace: bool,
}

impl JobOptions {
    /// What is done with the bytes of the dump before they are written.
    fn packing(&self) -> Packing<'_> {
        Packing { compression: self.compression, recipients: &self.recipients }
    }

    /// Refuses a log that is there: it is of the dump that is there, or was. None is ever replaced.
    fn check_custody(&self) -> Result<()> {
        match (self.destination.file(), &self.custody) {
            (Some(dump), Some(beginning)) => custody::check_begin(dump, beginning),
            _ => Ok(()),
        }
    }

    /// Writes the first entry of the dump's custody log, if it gets one. `manifest_sha256` is the hash of its manifest.
    ///
    /// # Errors
    ///
    /// Those of [`custody::begin`].
    pub(super) fn begin_custody(&self, written: &Written, manifest_sha256: Option<String>) -> Result<()> {
        let (Some(beginning), Some(dump), Some(sha256)) = (&self.custody, self.destination.file(), &written.sha256)
        else {
            return Ok(());
        };
        let state = DumpState { size: written.bytes, sha256: sha256.clone() };
        custody::begin(dump, &state, beginning, manifest_sha256).map(drop)
    }
}

/// A file that goes with a dump. It is text, and appears with the dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Companion {
    /// What was dumped, with the hash of the dump: [`super::manifest`].
    Manifest(PathBuf),
    /// A script for debuggers: [`vmcore::convert::script`].
    Script(PathBuf),
}

impl Companion {
    /// Its name.
    pub fn path(&self) -> &Path {
        match self {
            Self::Manifest(path) | Self::Script(path) => path,
        }
    }

    /// What it is, for messages.
    fn noun(&self) -> &'static str {
        match self {
            Self::Manifest(_) => "its manifest",
            Self::Script(_) => "its script",
        }
    }
}

/// How large a dump is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DumpSizes {
    /// All of it, before compression, holes included.
    pub size: u64,
    /// What of it are no holes.
    pub stored: u64,
    /// Memory in it, readable or not: what the progress comes to.
    pub memory: u64,
}

impl DumpSizes {
    /// Of a layout for that much memory.
    pub fn from_layout(layout: &Layout, memory: u64) -> Self {
        Self { size: layout.size(), stored: layout.stored(), memory }
    }
}

/// A dump that is to be written.
///
/// ```no_run
/// use memtool::compress::Compression;
/// use memtool::dump::converted;
/// use memtool::dump::destination::Destination;
/// use memtool::dump::job::{Job, JobOptions};
/// use memtool::encryption::Recipients;
/// use memtool::remote::Settings;
/// use std::path::Path;
/// use vmcore::dump::{DumpInOrder, byte_source::ByteSource};
/// use vmcore::format::Format;
/// use vmcore::progress::Progress;
///
/// let options = JobOptions {
///     destination: Destination::File("memory.lime".into()),
///     remote: Settings::default(),
///     compression: Compression::Gzip,
///     recipients: Recipients::nobody(),
///     map: None,
///     companion: None,
///     custody: None,
///     check_space: true,
///     replace: false,
/// };
/// let job = Job::new(&options)?;
/// let dump = DumpInOrder::open(ByteSource::open(Path::new("vmcore.0"))?, None, None, &Progress::default())?;
/// let layout = vmcore::convert::layout(&dump, Format::Lime)?;
/// let finished = converted::image(&dump, &layout, job, &mut ())?;
/// println!("{} bytes were written", finished.report.written.bytes);
/// # Ok::<(), memtool::Error>(())
/// ```
#[derive(Debug)]
pub struct Job<'a>(&'a JobOptions);

impl<'a> Job<'a> {
    /// Checks all names, without creating anything.
    ///
    /// # Errors
    ///
    /// A name is taken, or two are one file's; a directory does not exist; or a terminal is to get the dump.
    pub fn new(options: &'a JobOptions) -> Result<Self> {
        options.destination.check()?;
        let map = options.map.as_ref().and_then(MapDestination::file);
        let companion = options.companion.as_ref();
        let outputs = [
            ("the output", options.destination.file()),
            ("its map", map),
            (companion.map_or("", Companion::noun), companion.map(Companion::path)),
        ];
        output_file::check_all(&outputs, options.replace)?;
        outputs.iter().filter_map(|(_, path)| *path).try_for_each(check_directory)?;
        options.check_custody()?;
        Ok(Self(options))
    }

    /// Sees to it that there is room, begins the files and connects to another host.
    ///
    /// # Errors
    ///
    /// The dump will not fit, a file cannot be created, or the host does not answer.
    pub fn begin(self, sizes: DumpSizes, observer: &mut dyn Observer) -> Result<Begun<'a>> {
        let Self(options) = self;
        if options.check_space {
            check_space(options, sizes, observer)?;
        }
        let create = |path: Option<&Path>| path.map(|path| OutputFile::create(path, options.replace)).transpose();
        let file = create(options.destination.file())?;
        let map = create(options.map.as_ref().and_then(MapDestination::file))?;
        let companion = create(options.companion.as_ref().map(Companion::path))?;
        let target =
            options.destination.target(file.as_ref(), &options.remote, Some(options.recipients.size_of(sizes.size)))?;
        Ok(Begun { options, memory: sizes.memory, file, map, companion, target })
    }
}

/// Refuses a file in a directory that is not there, before the work rather than after it.
fn check_directory(path: &Path) -> Result<()> {
    let directory = directory_of(path);
    let looked_at = directory.metadata();
    let is_directory = looked_at.and_then(|found| found.is_dir().then_some(()).ok_or(Errno::ENOTDIR.into()));
    is_directory.map_err(|source| Error::io("create a file in", directory, source))
}

/// Refuses what certainly will not fit. How far memory can be compressed is not known.
fn check_space(options: &JobOptions, sizes: DumpSizes, observer: &mut dyn Observer) -> Result<()> {
    let Some(space) = options.destination.free_space()? else { return Ok(()) };
    let size = options.recipients.size_of(sizes.size);
    // Holes are left in files of memtool's own only, and what is encrypted has none.
    let has_holes = options.destination.file().is_some() && options.recipients.is_empty();
    let needed = if has_holes { sizes.stored } else { size };
    match space.shortage(needed, size) {
        Some(shortage) if options.compression == Compression::None => {
            return Err(Error::Refused(format!("the dump does not fit: {shortage}; --no-space-check tries anyway")));
        }
        Some(shortage) => {
            observer.warn(&format!("the dump may not fit, depending on compression: {shortage}"));
        }
        None => space.warn_of_reserve(needed, observer),
    }
    Ok(())
}

/// A dump that was begun. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Begun<'a> {
    options: &'a JobOptions,
    memory: u64,
    file: Option<OutputFile>,
    map: Option<OutputFile>,
    companion: Option<OutputFile>,
    target: Target,
}

/// A dump that is where it belongs.
#[derive(Debug)]
pub struct Finished {
    /// What was dumped.
    pub report: DumpReport,
    /// How it reached another host.
    pub delivered: Option<Delivered>,
    /// The file that goes with it, to be written, if that has not been done, and committed.
    pub companion: Option<OutputFile>,
}

impl Begun<'_> {
    /// Writes the text of the file that goes with the dump, which gets its name after the dump.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn write_companion(&self, text: &[u8]) -> Result<()> {
        let (Some(file), Some(companion)) = (&self.companion, &self.options.companion) else { return Ok(()) };
        let written = file.file().write_all(text);
        written.map_err(|source| Error::io("write", companion.path(), source))
    }

    /// Has the dump written by `write`, and gives it and its map their names. `noun` is what the memory is called.
    ///
    /// # Errors
    ///
    /// Those of `write`; no memory can be read; the output takes no more, or the connection breaks.
    pub fn write(
        self,
        noun: &str,
        observer: &mut dyn Observer,
        write: impl FnOnce(&mut dyn SparseWrite, Option<&mut MapFile<'_>>, &Progress) -> Result<Copied>,
    ) -> Result<Finished> {
        let Self { options, memory, file, map, companion, target } = self;
        let progress = Arc::new(Progress::default());
        let uses_standard_error = options.map == Some(MapDestination::StandardError);
        let is_manifest = matches!(options.companion, Some(Companion::Manifest(_)));
        let hash = is_manifest || options.custody.is_some();
        let mut map_file = options.map.as_ref().map(|to| to.map_file(map.as_ref()));
        let phase = phase(options);
        let work = Work::Bytes { phase, progress: &progress, total: Some(memory), uses_standard_error };
        let dumped = observed(observer, work, || {
            with_sink(target, options.packing(), hash, |out| write(out, map_file.as_mut(), &progress))
        });
        drop(map_file);
        let (Copied { read, unreadable }, written, target) = dumped?;
        let report = DumpReport { read, written, unreadable };
        check_read(&report, noun)?;
        let delivered = target.complete()?;
        file.map_or(Ok(()), OutputFile::commit)?;
        map.map_or(Ok(()), OutputFile::commit)?;
        // With a manifest it has the hash of that, which is not written yet.
        if !is_manifest {
            options.begin_custody(&report.written, None)?;
        }
        Ok(Finished { report, delivered, companion })
    }
}

/// What is done with the memory.
fn phase(options: &JobOptions) -> Phase {
    match (&options.destination, options.compression) {
        (_, Compression::Gzip | Compression::Zstd(_)) => Phase::Compressing,
        (_, Compression::None) if !options.recipients.is_empty() => Phase::Encrypting,
        (Destination::Remote(_), Compression::None) => Phase::Sending,
        (_, Compression::None) => Phase::Copying,
    }
}

/// Refuses a dump without anything in it.
fn check_read(report: &DumpReport, noun: &str) -> Result<()> {
    if report.read > 0 {
        return Ok(());
    }
    let why = report.unreadable.ranges().first().map_or_else(String::new, |range| format!(" ({})", range.why));
    Err(Error::Refused(format!("none of the {noun} can be read{why}; no dump was made")))
}
