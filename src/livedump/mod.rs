//! Live dumps: a minidump of the running kernel, taken by `MEM_KERNELDUMP` and checked, or made from user space
//! ([`vmcore::live`]).
//!
//! [`run`] decides who makes the dump, if that is left to it: the kernel; or memtool, where the kernel's dumps are of no
//! use, or it makes none, or the one that it made is damaged or lacks pages.
//!
//! The kernel writes the dump from the file's start and a `kerneldumpheader` at the next page border behind
//! it, and does not truncate. The header is checked and cut off, so that a compressed dump is a clean
//! stream, as `savecore -L` leaves it.
//!
//! - [`trailer`]: that header;
//! - [`examine`]: what may be wrong with a dump;
//! - [`estimate`]: how large a dump can become.

pub mod estimate;
pub mod examine;
mod kernel;
mod output;
pub mod trailer;
mod user;

pub use kernel::kernel_dumps;

use crate::compress::Level;
use crate::dump;
use crate::encryption::Recipients;
use crate::error::{Error, Result};
use crate::free_space::FreeSpace;
use crate::host::Host;
use crate::observer::Observer;
use crate::output_file::{self, OutputFile, temporary_directory};
use crate::remote::{Delivered, Settings};
use crate::save::directory::{PlannedFiles, PlannedNames, PlannedNumbers, SaveDirectory, Saved};
use crate::save::info;
use examine::Distrust;
use kernel::Taken;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trailer::Trailer;
use vmcore::dump::{Content, Depth, Inspection};
use vmcore::kerneldump::Compression;
use vmcore::live::UserDumpReport;
use vmcore::minidump::Machine;
use vmcore::minidump::left_out::Terms;
use vmcore::opened::directory_of;
use vmcore::symbols::Symbols;
use vmcore::units::rough_size;

/// Who makes a live dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The kernel, or memtool if the kernel cannot, or if its dump is unusable or lacks pages.
    Auto,
    /// The kernel, even if it loses pages.
    Kernel,
    /// memtool, from /dev/kmem and /dev/mem.
    User,
}

/// How a dump is looked at before it gets its name. A stream that memtool makes is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Only the kernel's header.
    None,
    /// Headers and tables.
    Quick,
    /// Every byte and every page table entry.
    Full,
}

impl Verify {
    fn depth(self) -> Option<Depth> {
        match self {
            Self::None => None,
            Self::Quick => Some(Depth::Quick),
            Self::Full => Some(Depth::Full),
        }
    }
}

/// Where a live dump goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveDumpDestination {
    /// To a file or, in order, to standard output or another host. The kernel needs a regular file; for those two it is
    /// one without a name, in a directory for temporary files.
    Output(dump::destination::Destination),
    /// Into a directory of dumps.
    Directory(PathBuf),
}

impl LiveDumpDestination {
    /// The file, if it is one with a name that is known beforehand.
    fn file(&self) -> Option<&Path> {
        match self {
            Self::Output(output) => output.file(),
            Self::Directory(_) => None,
        }
    }

    /// Whether the dump is written in order.
    fn is_stream(&self) -> bool {
        matches!(self, Self::Output(output) if output.file().is_none())
    }

    /// The directory that the kernel writes into.
    fn directory(&self) -> PathBuf {
        match self {
            Self::Directory(path) => path.clone(),
            Self::Output(output) => {
                output.file().map_or_else(temporary_directory, |path| directory_of(path).to_owned())
            }
        }
    }
}

/// How a live dump is made.
#[derive(Debug, Clone)]
pub struct LiveDumpOptions {
    /// Where it goes.
    pub destination: LiveDumpDestination,
    /// What is known of another host that it goes to.
    pub remote: Settings,
    /// Who makes it.
    pub method: Method,
    /// What it is compressed with.
    pub compression: Compression,
    /// zstd's level, which only dumps have that memtool makes; `None` for its default, or the kernel's.
    pub level: Option<Level>,
    /// Who can decrypt it; of nobody, it is not encrypted. The kernel would write it in the clear, so memtool makes it.
    pub recipients: Recipients,
    /// Leave the header behind the dump, where the kernel has put it.
    pub keep_header: bool,
    /// How it is looked at.
    pub verify: Verify,
    /// A file for what is known of it.
    pub info: Option<PathBuf>,
    /// Refuse beforehand what may not fit.
    pub check_space: bool,
    /// Replace files that are there.
    pub replace: bool,
    /// In a directory, numbers are below this one, and come round: what has the number is replaced.
    pub limit: Option<u32>,
    /// Pages that are left out of a dump that memtool makes, with those that the kernel leaves out of its own.
    pub without: Terms,
    /// The image of the running kernel, whose types tell what pages are used for; without it, the file that it came from.
    pub image: Option<PathBuf>,
    /// Take the kernel's dump even if the parity of its header is wrong, or its compression another one, as
    /// `savecore -f` does.
    pub lenient: bool,
}

impl LiveDumpOptions {
    /// The file that the kernel writes into, or the directory that it is in, for messages.
    fn kernel_file(&self) -> PathBuf {
        self.destination.file().map_or_else(|| self.destination.directory(), Path::to_owned)
    }
}

/// A live dump that was taken.
#[derive(Debug)]
pub struct LiveDump {
    /// The header that stood behind the dump, or would.
    pub trailer: Trailer,
    /// Bytes that were written in the end, the header included where it was left.
    pub size: u64,
    /// Its files in a directory of dumps.
    pub saved: Option<Saved>,
    /// How it reached another host.
    pub delivered: Option<Delivered>,
    /// What was found where it was looked at.
    pub inspection: Option<Inspection>,
    /// What memtool knows of a dump that it has made itself.
    pub made: Option<UserDumpReport>,
    /// Why it was not checked whether the kernel has lost pages, if that was wanted.
    pub unchecked: Option<Error>,
    /// What it took.
    pub elapsed: Duration,
    /// The file for what is known of it, to be written and committed.
    pub info: Option<OutputFile>,
}

impl LiveDump {
    /// Bytes of the dump before compression.
    pub fn uncompressed_size(&self) -> u64 {
        let header = &self.trailer.header;
        if header.compression == Compression::None.code() { header.dump_length } else { header.extent }
    }

    /// Pages of memory in it, where that is known.
    pub fn pages(&self) -> Option<u64> {
        let found = || match &self.inspection.as_ref()?.content {
            Content::Minidump(facts) => Some(facts.pages.count()),
            _ => None,
        };
        self.made.as_ref().map(|made| made.pages).or_else(found)
    }

    /// What is known of it, as savecore(8) writes it.
    pub fn info_text(&self) -> String {
        info::text(&self.trailer.subject(), self.saved.as_ref().map_or(0, |saved| saved.files.number))
    }
}

/// Why memtool makes a dump that the kernel could have been asked for, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Kernels of this version and `hw.machine_arch` make dumps that cannot be used.
    UselessDumps(String),
    /// Kernels with such pages cannot compress live dumps with this.
    Compression(Compression),
    /// The kernel compresses by zstd at a level of its own.
    Level,
    /// The kernel would write the dump to a disk in the clear.
    Encryption,
    /// The kernel cannot leave out of its dump what is not wanted there.
    Without(Terms),
    /// The kernel does not know `MEM_KERNELDUMP`.
    NoLiveDumps,
    /// The kernel has made one that is not to be trusted.
    Distrust(Distrust),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UselessDumps(machine_arch) => {
                write!(f, "live dumps made by this {machine_arch} kernel are unusable")
            }
            Self::Compression(compression) => write!(
                f,
                "kernels cannot compress live dumps with {} where a page has more than 4096 bytes",
                compression.name()
            ),
            Self::Level => f.write_str("the kernel compresses at its own zstd level"),
            Self::Encryption => f.write_str("the kernel would write the dump to disk unencrypted"),
            Self::Without(terms) => write!(f, "the kernel cannot make a live dump without {terms}"),
            Self::NoLiveDumps => f.write_str("this kernel makes no live dumps, as FreeBSD 14.0 and later do"),
            Self::Distrust(distrust) => write!(f, "{distrust}"),
        }
    }
}

impl Reason {
    fn tell(&self, observer: &mut dyn Observer) {
        let text = format!("{self}; memtool makes the dump");
        match self {
            Self::Distrust(_) => observer.warn(&text),
            Self::UselessDumps(_)
            | Self::Compression(_)
            | Self::Level
            | Self::Encryption
            | Self::Without(_)
            | Self::NoLiveDumps => observer.remark(&text),
        }
    }
}

/// Takes a live dump. It is at its destination when it is complete and right, or not at all; of a stream that breaks, the
/// beginning has gone.
///
/// # Errors
///
/// A name is taken, or the dump may not fit. The kernel refuses or fails, or what it wrote is not what was asked for,
/// and memtool is not to make the dump or cannot. The destination does not take it.
///
/// ```no_run
/// use memtool::dump::destination::Destination;
/// use memtool::encryption::Recipients;
/// use memtool::host::{self, Selection};
/// use memtool::live_kernel::RunningSymbols;
/// use memtool::remote::Settings;
/// use memtool::livedump::{LiveDumpDestination, LiveDumpOptions, Method, Verify, run};
/// use vmcore::kerneldump::Compression;
///
/// let host = host::open(&Selection::default())?;
/// let options = LiveDumpOptions {
///     destination: LiveDumpDestination::Output(Destination::File("vmcore.live".into())),
///     remote: Settings::default(),
///     method: Method::Auto,
///     compression: Compression::Zstd,
///     level: None,
///     recipients: Recipients::nobody(),
///     keep_header: false,
///     verify: Verify::Quick,
///     info: None,
///     check_space: true,
///     replace: false,
///     limit: None,
///     without: vmcore::minidump::left_out::Terms::default(),
///     image: None,
///     lenient: false,
/// };
/// let dump = run(&*host, &RunningSymbols(&*host), &options, &mut ())?;
/// println!("{} bytes, {:?} pages", dump.size, dump.pages());
/// # Ok::<(), memtool::Error>(())
/// ```
pub fn run(
    host: &dyn Host,
    symbols: &dyn Symbols,
    options: &LiveDumpOptions,
    observer: &mut dyn Observer,
) -> Result<LiveDump> {
    check_names(options)?;
    let mut stream = None;
    if options.method != Method::User {
        let reason = match reason_not_to_ask(host, options)? {
            Some(reason) => reason,
            None => match kernel::take(host, symbols, options, observer)? {
                Taken::Dump(dump) => return Ok(*dump),
                Taken::Nothing(reason, target) => {
                    stream = target;
                    reason
                }
            },
        };
        reason.tell(observer);
    }
    user::make(host, symbols, options, stream, observer)
}

/// What [`run`] would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedLiveDump {
    /// Why memtool would make the dump and not the kernel.
    pub reason: Option<Reason>,
    /// Bytes of the dump before compression at most, where that can be told.
    pub at_most: Option<u64>,
    /// Its files, if it goes into a directory of dumps.
    pub files: Option<PlannedFiles>,
}

/// Says what [`run`] would do, as far as that is known before: no dump is made, and nothing is written.
///
/// # Errors
///
/// Those of [`run`], as far as they are known.
pub fn plan(host: &dyn Host, options: &LiveDumpOptions, observer: &mut dyn Observer) -> Result<PlannedLiveDump> {
    check_names(options)?;
    let reason = reason_not_to_ask(host, options)?;
    let facts = host.live_dump_facts()?;
    if reason.is_none() && options.method != Method::User {
        kernel::check_compression(&facts, options.compression)?;
    }
    let at_most = host.memory_map().ok().and_then(|map| estimate::at_most(&facts, map.total()));
    if options.check_space {
        check_space(options, at_most, observer)?;
    }
    let files = match &options.destination {
        LiveDumpDestination::Directory(path) => {
            let numbers = &mut PlannedNumbers::default();
            let is_encrypted = !options.recipients.is_empty();
            Some(SaveDirectory::open(path)?.plan(
                &PlannedNames { stem: output::STEM, compression: options.compression, is_encrypted, has_key: false },
                options.limit,
                numbers,
            )?)
        }
        LiveDumpDestination::Output(_) => None,
    };
    Ok(PlannedLiveDump { reason, at_most, files })
}

/// Refuses what cannot become a dump or its info file, before anything is done.
fn check_names(options: &LiveDumpOptions) -> Result<()> {
    if let LiveDumpDestination::Output(output) = &options.destination {
        output.check()?;
    }
    let outputs = [("the dump", options.destination.file()), ("its info file", options.info.as_deref())];
    output_file::check_all(&outputs, options.replace)
}

/// Why the kernel need not be asked, where memtool may choose.
fn reason_not_to_ask(host: &dyn Host, options: &LiveDumpOptions) -> Result<Option<Reason>> {
    if options.method == Method::Kernel && !options.recipients.is_empty() {
        return Err(Error::Refused(
            "the kernel writes a live dump to disk unencrypted; with recipients memtool makes it (--method user)"
                .to_owned(),
        ));
    }
    if options.method == Method::Kernel && !options.without.is_empty() {
        return Err(Error::Refused(format!(
            "the kernel cannot make a live dump without {}; memtool can (--method user)",
            options.without
        )));
    }
    if options.method != Method::Auto {
        return Ok(None);
    }
    if !options.without.is_empty() {
        return Ok(Some(Reason::Without(options.without)));
    }
    if !options.recipients.is_empty() {
        return Ok(Some(Reason::Encryption));
    }
    let system = host.system()?;
    let machine = Machine::from_system(&system);
    if machine.is_some_and(|machine| !machine.kernel_dumps_are_of_use(system.osreldate)) {
        return Ok(Some(Reason::UselessDumps(system.machine_arch)));
    }
    let suits = options.compression.suits_live_dumps(system.page_size);
    if !suits {
        return Ok(Some(Reason::Compression(options.compression)));
    }
    Ok(options.level.map(|_| Reason::Level))
}

/// Refuses what may not fit. How far the kernel's memory can be compressed is not known.
fn check_space(options: &LiveDumpOptions, limit: Option<u64>, observer: &mut dyn Observer) -> Result<()> {
    let directory = options.destination.directory();
    let space = match options.destination {
        LiveDumpDestination::Directory(_) => SaveDirectory::open(&directory)?.free_space(observer)?,
        LiveDumpDestination::Output(_) => FreeSpace::within(&directory)?,
    };
    let Some(limit) = limit else {
        observer.warn("the kernel does not report the maximum size of the dump, so it is unknown whether it fits");
        return Ok(());
    };
    observer.detail(&format!("the dump takes {} at most before compression", rough_size(limit)));
    match space.shortage(limit, limit) {
        Some(shortage) if options.compression == Compression::None => {
            return Err(Error::Refused(format!(
                "the dump may not fit into {}: at its maximum size {shortage}; --zstd takes less, --no-space-check tries anyway",
                directory.display()
            )));
        }
        Some(shortage) => {
            observer.warn(&format!("the dump may not fit, depending on compression: at its maximum size {shortage}"))
        }
        None => space.warn_of_reserve(limit, observer),
    }
    Ok(())
}

/// Begins the file for what is known of a dump.
fn begin_info(options: &LiveDumpOptions) -> Result<Option<OutputFile>> {
    options.info.as_deref().map(|path| OutputFile::create(path, options.replace)).transpose()
}
