//! Files and devices that are read: opened without waiting, known as in use, and never a mem(4) device by mistake.

use crate::error::{Error, Result};
use crate::files_in_use;
use crate::observer::{Observer, Phase, observe_bytes};
use crate::output_file::unnamed_temp_file;
#[cfg(target_os = "freebsd")]
use crate::{bhyve, disk};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, OFlag, fcntl};
use nix::unistd::{AccessFlags, Whence, faccessat, lseek};
#[cfg(target_os = "freebsd")]
use std::fs::Metadata;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::fd::AsFd;
#[cfg(target_os = "freebsd")]
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use vmcore::dump::byte_source::ByteSource;
use vmcore::format::map_file::read_list;
use vmcore::opened::Open;
use vmcore::progress::Progress;
use vmcore::symbols::Table;

/// Opens a file for reading, without waiting: a FIFO must not hang us before it is recognised as one. Reading
/// waits as usual, for what another program still writes into a pipe. What is opened here no output of the run replaces.
pub fn open_nonblocking(path: &Path) -> io::Result<File> {
    // It is no file to be read from its beginning, which panics some kernels: see `direct_map`.
    if is_mem_device(path) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    open_device_nonblocking(path)
}

/// Opens a regular file without following a link.
///
/// # Errors
///
/// It is a link or no regular file, or cannot be opened.
pub fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let opened = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    let is_link = || path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    let file = match opened {
        Err(_) if is_link() => return Err(io::Error::other("it is a symbolic link; name the file itself")),
        opened => opened?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// As [`open_nonblocking`], with an error that names the file.
///
/// # Errors
///
/// It cannot be opened.
pub fn open(path: &Path) -> Result<File> {
    open_nonblocking(path).map_err(|source| Error::io("open", path, source))
}

/// The name of standard input on the command line.
const STANDARD_INPUT: &str = "-";

/// Whether a name on the command line is that of standard input. A file of that name is `./-`.
pub fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == STANDARD_INPUT
}

/// A file that is read once, from its beginning to its end, and so may be standard input: its name in messages, and how
/// it is opened.
pub fn in_order(path: &Path) -> (&Path, Open) {
    if is_standard_input(path) { (Path::new("standard input"), open_standard_input) } else { (path, open_nonblocking) }
}

fn open_standard_input(name: &Path) -> io::Result<File> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    #[cfg(target_os = "freebsd")]
    if MEM_DEVICES.iter().any(|device| same_device(file.metadata(), Path::new(device).metadata())) {
        return Err(Errno::EOPNOTSUPP.into());
    }
    files_in_use::read(&file, name)?;
    Ok(file)
}

/// Makes a pipe larger, where the system does not do that by itself: fewer changes between the two programs.
pub(crate) fn enlarge_pipe(pipe: &impl AsFd) {
    // It is what Linux allows to anybody. It is refused for anything but a pipe, and if the user's pipes are too large in all.
    #[cfg(target_os = "linux")]
    let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(1 << 20));
    #[cfg(not(target_os = "linux"))]
    let _ = pipe;
}

/// The name of a file beside another one: its name, with that behind it.
pub fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Opens a file that is read once, which may be standard input; see [`in_order`].
///
/// # Errors
///
/// It cannot be opened.
pub fn open_in_order(path: &Path) -> Result<File> {
    let (name, open) = in_order(path);
    open(name).map_err(|source| Error::io("open", name, source))
}

/// Reads a list of segments, which may be standard input.
///
/// # Errors
///
/// Those of [`read_list`].
pub fn read_segments(path: &Path) -> Result<Vec<(u64, u64)>> {
    let (name, open) = in_order(path);
    Ok(read_list(name, open)?)
}

/// A stream of bytes that is counted as it is read.
struct Counted<'a> {
    file: File,
    progress: &'a Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.progress.add(read as u64);
        Ok(read)
    }
}

/// Opens a dump, which may be standard input. What says where a dump lies is at its end, so what comes through a pipe is
/// copied first, into a file without a name in that directory; what standard input was redirected from is read where it is.
///
/// # Errors
///
/// Those of [`open_dump`]; the directory does not take the copy.
pub fn open_dump_or_standard_input(path: &Path, directory: &Path, observer: &mut dyn Observer) -> Result<ByteSource> {
    if !is_standard_input(path) {
        return open_dump(path);
    }
    let input = Input::open(path)?;
    if input.is_whole()? {
        return byte_source(&input.name, input.file, no_info);
    }
    let copy = unnamed_temp_file(directory)?;
    observe_bytes(observer, Phase::ReadingStandardInput, None, |progress| {
        let failed = |source| Error::io("copy standard input into", directory, source);
        io::copy(&mut Counted { file: input.file, progress }, &mut &copy).map_err(failed)
    })?;
    ByteSource::from_file(&copy).map_err(|source| Error::io("read", &input.name, source))
}

/// An input that is read once, from its beginning to its end.
pub struct Input {
    name: PathBuf,
    file: File,
}

impl Input {
    /// Opens a file, which may be standard input.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { name: in_order(path).0.to_owned(), file: open_in_order(path)? })
    }

    /// Whether it is a file or device that can be read at any place, and nobody has read of it yet.
    fn is_whole(&self) -> Result<bool> {
        let failed = |source| Error::io("look at", &self.name, source);
        let kind = self.file.metadata().map_err(failed)?.file_type();
        let can_be = kind.is_file() || kind.is_block_device() || cfg!(target_os = "freebsd") && kind.is_char_device();
        // A terminal and a pipe refuse to tell a place.
        let at = (&self.file).stream_position();
        // An empty device is none: /dev/null, say.
        let has_end = || (&self.file).seek(SeekFrom::End(0)).is_ok_and(|end| end > 0);
        let is_whole = can_be && at.is_ok_and(|at| at == 0) && (kind.is_file() || has_end());
        if is_whole {
            (&self.file).rewind().map_err(failed)?;
        }
        Ok(is_whole)
    }

    /// Bytes that are left, if it is a regular file.
    pub fn length(&self) -> Option<u64> {
        let metadata = self.file.metadata().ok().filter(|metadata| metadata.is_file())?;
        Some(metadata.len().saturating_sub((&self.file).stream_position().ok()?))
    }

    /// Its bytes; the progress counts them.
    pub fn read<'a>(self, progress: &'a Progress) -> impl Read + 'a {
        Counted { file: self.file, progress }
    }
}

/// As [`open_nonblocking`], also for a mem(4) device.
pub(crate) fn open_device_nonblocking(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    files_in_use::read(&file, path)?;
    // Not on devices, some of which refuse it.
    if file.metadata()?.file_type().is_fifo() {
        let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
        fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    }
    Ok(file)
}

/// Opens a file or device that holds a dump.
///
/// # Errors
///
/// It cannot be opened, or has no length: a pipe or /dev/mem, say.
pub fn open_dump(path: &Path) -> Result<ByteSource> {
    byte_source(path, open(path)?, open_nonblocking)
}

/// Opens a dump device, or a file that stands for one: whatever its name, no `info.N` beside it tells of its length.
///
/// # Errors
///
/// Those of [`open_dump`].
pub fn open_dump_device(path: &Path) -> Result<ByteSource> {
    byte_source(path, open(path)?, no_info)
}

/// As [`open_dump_device`], also for [`ByteSource::replace`].
///
/// # Errors
///
/// Those of [`open_dump`].
pub fn open_dump_to_replace(path: &Path) -> Result<ByteSource> {
    let fail = |source| not_for_writing(path, source);
    let writer = open_to_change(path, libc::O_NONBLOCK).map_err(fail)?;
    let again = writer.try_clone().map_err(fail)?;
    Ok(byte_source(path, again, no_info)?.with_writer(writer))
}

/// Opens a file for reading and writing.
///
/// # Errors
///
/// Those of [`open_dump`]; or it is a device, or a symbolic link.
pub fn open_dump_for_writing(path: &Path) -> Result<ByteSource> {
    let fail = |source| Error::io("open", path, source);
    let writer = open_to_change(path, libc::O_NONBLOCK | libc::O_NOFOLLOW).map_err(fail)?;
    if !writer.metadata().map_err(fail)?.is_file() {
        return Err(Error::Refused(format!(
            "{} is not a regular file, and only regular files are written to",
            path.display()
        )));
    }
    let again = writer.try_clone().map_err(fail)?;
    Ok(byte_source(path, again, open_nonblocking)?.with_writer(writer))
}

/// Reads the symbols of a kernel.
///
/// # Errors
///
/// Those of [`Table::open`].
pub fn open_kernel(path: &Path) -> Result<Table> {
    Ok(Table::from_opened(path, open(path)?, 0)?)
}

/// Whether this process may do that with a file, without opening it.
///
/// # Errors
///
/// Those of faccessat(2): it may not, or the file system is read-only, say.
pub fn check_access(path: &Path, wanted: AccessFlags) -> io::Result<()> {
    Ok(faccessat(AT_FDCWD, path, wanted, AtFlags::AT_EACCESS)?)
}

/// Whether [`open_dump_to_replace`] would be let write to a dump device.
///
/// # Errors
///
/// Its error, as far as that is known without opening the device.
pub fn check_dump_to_replace(path: &Path) -> Result<()> {
    check_access(path, AccessFlags::R_OK | AccessFlags::W_OK).map_err(|source| not_for_writing(path, source))
}

fn not_for_writing(path: &Path, source: io::Error) -> Error {
    Error::Io { what: format!("open {} for writing", path.display()), source }
}

fn open_to_change(path: &Path, flags: i32) -> io::Result<File> {
    let writer = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    files_in_use::changed(&writer, path)?;
    Ok(writer)
}

/// Says that there is no `info.N`.
fn no_info(_: &Path) -> io::Result<File> {
    Err(io::ErrorKind::NotFound.into())
}

fn byte_source(path: &Path, file: File, open_info: Open) -> Result<ByteSource> {
    #[cfg(target_os = "freebsd")]
    if bhyve::is_machine(path) {
        return bhyve::memory(path, file);
    }
    #[cfg(target_os = "freebsd")]
    if let Some(geometry) = disk::geometry(&file) {
        return Ok(ByteSource::from_disk(file, geometry.length, geometry.sector_size));
    }
    Ok(ByteSource::from_opened(path, file, open_info)?.with_next_data(next_data))
}

/// Where the first data of a file is from a place on: lseek(2) with `SEEK_DATA` and `SEEK_HOLE`. Nothing reads from where
/// it leaves the file's offset.
fn next_data(file: &File, at: u64) -> io::Result<Range<u64>> {
    let seek = |at: u64, whence| {
        let found = lseek(file, i64::try_from(at).map_err(|_| Errno::EOVERFLOW)?, whence)?;
        u64::try_from(found).map_err(|_| Errno::EOVERFLOW)
    };
    match seek(at, Whence::SeekData) {
        Ok(start) => Ok(start..seek(start, Whence::SeekHole)?),
        // A hole to the end, or behind it: a file that has shrunk has no zeros there.
        Err(Errno::ENXIO) => {
            let end = file.metadata()?.len();
            if at < end { Ok(end..end) } else { Err(Errno::ENXIO.into()) }
        }
        Err(errno) => Err(errno.into()),
    }
}

/// The mem(4) devices.
#[cfg(target_os = "freebsd")]
const MEM_DEVICES: [&str; 2] = ["/dev/mem", "/dev/kmem"];

/// Whether a path names a mem(4) device of the system that memtool runs on; other devices, and files, are read
/// as images of memory.
pub fn is_mem_device(path: &Path) -> bool {
    #[cfg(target_os = "freebsd")]
    return MEM_DEVICES
        .map(Path::new)
        .into_iter()
        .any(|device| path == device || same_device(path.metadata(), device.metadata()));
    #[cfg(not(target_os = "freebsd"))]
    {
        let _ = path;
        false
    }
}

/// Whether both are there and are the same device.
#[cfg(target_os = "freebsd")]
pub fn same_device(a: io::Result<Metadata>, b: io::Result<Metadata>) -> bool {
    matches!((a, b), (Ok(a), Ok(b)) if a.rdev() == b.rdev())
}
