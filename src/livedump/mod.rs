//! Live dumps: a minidump of the running kernel, taken by `MEM_KERNELDUMP` and checked, or made from user space
//! ([`crate::live_kernel`]).
//!
//! The kernel writes the dump from the file's start and a `kerneldumpheader` at the next page border behind
//! it, and does not truncate. The header is checked and cut off, so that a compressed dump is a clean
//! stream, as `savecore -L` leaves it.
//!
//! - [`trailer`]: that header;
//! - [`estimate`]: how large a dump can become;
//! - [`kernel_config`]: what the kernel can compress with.

pub mod estimate;
pub mod trailer;

use crate::dump::sink::{Target, write_failed};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::interrupt::with_signals_elsewhere;
use crate::kernel_error::Operation;
use crate::network::Delivered;
use crate::output_file::{self, OutputFile};
use crate::save::directory::{NewDump, SaveDirectory, Saved};
use crate::save::info;
use std::fs::File;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use trailer::Trailer;
use vmcore::kerneldump::{Compression, Header};

/// How a live dump is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What the kernel shall compress with.
    pub compression: Compression,
    /// Leave the header behind the dump, where the kernel has put it.
    pub keep_header: bool,
}

/// A live dump that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveDumpReport {
    /// The header that stood behind the dump.
    pub trailer: Trailer,
    /// Bytes that were written in the end, the header included where it was left.
    pub size: u64,
    /// Its files in a directory of dumps.
    pub saved: Option<Saved>,
    /// How it reached another host.
    pub delivered: Option<Delivered>,
}

impl LiveDumpReport {
    /// Bytes of the dump before compression.
    pub fn uncompressed_size(&self) -> u64 {
        let header = &self.trailer.header;
        if header.compression == Compression::None.code() { header.dump_length } else { header.extent }
    }
}

/// Where a live dump goes.
#[derive(Debug)]
pub enum Destination {
    /// A file, which appears whole or not at all.
    File {
        /// Its name.
        path: PathBuf,
        /// Replace it if it is there.
        replace: bool,
    },
    /// A directory of dumps.
    Directory(PathBuf),
    /// Where bytes can only be written in order. The kernel needs a regular file; it is in a directory
    /// meanwhile, without a name.
    Stream {
        /// Where the dump goes in the end.
        target: Target,
        /// The directory for the file.
        temporary: PathBuf,
    },
}

impl Destination {
    /// The directory that the kernel writes into.
    pub fn directory(&self) -> &Path {
        match self {
            Self::File { path, .. } => output_file::directory_of(path),
            Self::Directory(path) | Self::Stream { temporary: path, .. } => path,
        }
    }

    /// The place by its name, for messages.
    fn name(&self) -> &Path {
        match self {
            Self::File { path, .. } => path,
            other => other.directory(),
        }
    }

    fn begin(self) -> Result<Begun> {
        Ok(match self {
            Self::File { path, replace } => Begun::File(OutputFile::create(&path, replace)?),
            Self::Directory(path) => {
                let directory = SaveDirectory::open(&path)?;
                let file = directory.new_file()?;
                Begun::Saved(directory, file)
            }
            Self::Stream { target, temporary } => Begun::Stream(target, output_file::unnamed_temp_file(&temporary)?),
        })
    }
}

/// A dump that has no name yet. Dropped, it leaves nothing behind.
enum Begun {
    File(OutputFile),
    Saved(SaveDirectory, OutputFile),
    Stream(Target, File),
}

impl Begun {
    fn file(&self) -> &File {
        match self {
            Self::File(output) => output.file(),
            Self::Saved(_, new) => new.file(),
            Self::Stream(_, file) => file,
        }
    }

    fn finish(self, mut report: LiveDumpReport) -> Result<LiveDumpReport> {
        match self {
            Self::File(output) => output.commit()?,
            Self::Saved(directory, new) => {
                let header = &report.trailer.header;
                let compression = Compression::from_code(header.compression).unwrap_or(Compression::None);
                let entry = NewDump {
                    stem: "livecore",
                    compression,
                    link: compression,
                    info: &|number| info::text(&report.trailer.subject(), number),
                    key: None,
                    limit: None,
                };
                let saved = directory.save(new, entry)?;
                report.saved = Some(saved);
            }
            Self::Stream(mut target, mut file) => {
                file.rewind().and_then(|()| io::copy(&mut file, &mut target)).map_err(write_failed)?;
                report.delivered = target.complete()?;
            }
        }
        Ok(report)
    }
}

/// A live dump that was not taken.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// The stream that it was for, if nothing has gone there: another dump can.
    pub target: Option<Target>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, target: None }
    }
}

/// Takes a live dump. It is at its destination when it is complete and right, or not at all; of a stream that
/// breaks, the beginning has gone.
///
/// `verify` is called before that, with the file, from which the header is gone unless it was to be kept; when
/// it fails there is no dump.
///
/// # Errors
///
/// The kernel refuses or fails, what it wrote is not what was asked for, or the destination does not take it.
pub fn take(
    host: &dyn Host,
    destination: Destination,
    options: Options,
    verify: impl FnOnce(&File, &Trailer) -> Result<()>,
) -> Result<LiveDumpReport, Failure> {
    let name = destination.name().to_owned();
    let begun = destination.begin()?;
    let written = write(host, begun.file(), &name, options).and_then(|(trailer, size)| {
        verify(begun.file(), &trailer)?;
        Ok(LiveDumpReport { trailer, size, saved: None, delivered: None })
    });
    match (written, begun) {
        (Ok(report), begun) => Ok(begun.finish(report)?),
        (Err(error), Begun::Stream(target, _)) => Err(Failure { error, target: Some(target) }),
        (Err(error), _) => Err(error.into()),
    }
}

/// Has the kernel write a dump, and checks and cuts off the header. Gives the bytes that are left as well.
fn write(host: &dyn Host, file: &File, name: &Path, options: Options) -> Result<(Trailer, u64)> {
    let architecture = host.system()?.machine_arch;
    with_signals_elsewhere(|| host.kernel_dump(file, options.compression)).map_err(|error| name_file(error, name))?;
    let length = file.metadata().map_err(|source| Error::io("look at", name, source))?.len();
    let trailer = Trailer::read(file, length, &architecture, options.compression)?;
    if options.keep_header {
        return Ok((trailer, length));
    }
    let size = trailer.header.dump_length;
    file.set_len(size).map_err(|source| Error::io("truncate", name, source))?;
    Ok((trailer, size))
}

/// Makes a live dump without the kernel: `write` writes it to the target it gets and hands that back, and `header` says
/// of what it wrote what the kernel would say of its own dump. It is at its destination when it is complete, or not
/// at all; a stream gets it as it is made. `verify` is called with the file before it gets its name.
///
/// # Errors
///
/// Those of `write` and `verify`; the destination does not take the dump.
pub fn make<R>(
    destination: Destination,
    write: impl FnOnce(Target) -> Result<(R, Target)>,
    header: impl FnOnce(&R) -> Header,
    verify: impl FnOnce(&File) -> Result<()>,
) -> Result<(R, LiveDumpReport)> {
    let report = |header: Header| {
        let (size, bytes) = (header.dump_length, header.encode());
        let trailer = Trailer { header, parity: info::parity_word(&bytes) };
        LiveDumpReport { trailer, size, saved: None, delivered: None }
    };
    if let Destination::Stream { target, .. } = destination {
        let (result, target) = write(target)?;
        let delivered = target.complete()?;
        let report = report(header(&result));
        return Ok((result, LiveDumpReport { delivered, ..report }));
    }
    let name = destination.name().to_owned();
    let begun = destination.begin()?;
    let file = begun.file().try_clone().map_err(|source| Error::io("write", &name, source))?;
    let (result, _) = write(Target::File(file))?;
    verify(begun.file())?;
    let report = report(header(&result));
    Ok((result, begun.finish(report)?))
}

/// The host knows a descriptor only; the user knows the file's name.
fn name_file(error: Error, name: &Path) -> Error {
    match error {
        Error::Kernel(mut error) if error.operation == Operation::KernelDump => {
            error.subject = name.display().to_string();
            Error::Kernel(error)
        }
        other => other,
    }
}
