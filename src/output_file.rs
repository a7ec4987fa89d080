//! Files that appear whole or not at all.
//!
//! What is written goes to a temporary file beside the target, with mode 0600 and a name that did not exist:
//! `.memtool.`, six letters and digits, `.tmp`. Only [`OutputFile::commit`] gives it its name: after fsync(2), by a
//! rename that does not replace anything unless that is asked for, followed by fsync(2) of the directory. Dropped
//! before that, it is gone.
//!
//! What the run reads is not replaced; see [`files_in_use`]. A temporary file is locked, flock(2), for as long as its
//! writer lives. Whoever makes one in a directory removes those that no living writer has locked: what a kill or a
//! crash has left.

use crate::error::{Error, Result};
use crate::files_in_use::{self, Unnamed};
use crate::interrupt::TempFileGuard;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::{DirEntry, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::{Builder, NamedTempFile, TempPath};
use vmcore::opened::{Scratch, directory_of};

/// How names of temporary files begin.
const PREFIX: &str = ".memtool.";
/// How many letters and digits follow.
const RANDOM: usize = 6;
/// How they end.
const SUFFIX: &str = ".tmp";
/// A temporary file is made anew so often if another run takes it for abandoned before it is locked.
const ATTEMPTS: usize = 16;

/// What becomes of a regular file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    /// It stays, and the output is refused.
    Keep,
    /// It is replaced, unless the run uses it.
    Replace,
    /// It is replaced even if the run has read it: what is written is a new state of it.
    Update,
}

impl From<bool> for Existing {
    fn from(replace: bool) -> Self {
        if replace { Self::Replace } else { Self::Keep }
    }
}

/// A file being written.
#[derive(Debug)]
pub struct OutputFile {
    temporary: Temporary,
    target: PathBuf,
    directory: PathBuf,
    existing: Existing,
}

/// A temporary file that a signal removes, and a lock that says that somebody writes it.
#[derive(Debug)]
struct Temporary {
    file: NamedTempFile,
    /// Absent where the file is not to be removed.
    unfinished: Option<TempFileGuard>,
    unnamed: Unnamed,
    /// Absent where the file system has no locks.
    lock: Option<Flock<File>>,
}

impl Temporary {
    /// Makes one, and removes what killed runs have left in the directory.
    fn create(directory: &Path) -> io::Result<Self> {
        remove_abandoned(directory);
        let make = || {
            make_temporary(Builder::new().prefix(PREFIX).suffix(SUFFIX).rand_bytes(RANDOM), directory, |path| {
                OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
            })
        };
        for _ in 0..ATTEMPTS {
            let (file, unfinished) = TempFileGuard::create(make, |file| file.path())?;
            let lock = Flock::lock(file.as_file().try_clone()?, FlockArg::LockExclusiveNonblock);
            // Between its making and its lock another run may have taken it for abandoned.
            let is_taken = matches!(lock, Err((_, Errno::EWOULDBLOCK))) || file.as_file().metadata()?.nlink() == 0;
            if !is_taken {
                let unnamed = Unnamed::new(file.as_file(), file.path())?;
                return Ok(Self { file, unfinished: Some(unfinished), unnamed, lock: lock.ok() });
            }
        }
        Err(io::Error::other("other programs remove the temporary file"))
    }
}

/// Has something with a temporary name made in a directory. The error is the system's: tempfile's own would have the name
/// in it, which tells nobody anything.
pub(crate) fn make_temporary<T>(
    builder: &Builder<'_, '_>,
    directory: &Path,
    mut make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<NamedTempFile<T>> {
    let errno = Cell::new(None);
    let made = builder.make_in(directory, |path| make(path).inspect_err(|error| errno.set(error.raw_os_error())));
    made.map_err(|error| errno.get().map_or(error, io::Error::from_raw_os_error))
}

/// Removes temporary files of memtool's that nobody has locked, as far as they belong to this user. One that cannot be
/// removed takes room, no more.
///
/// A file that a kernel dumps into is locked by the kernel itself, so that on FreeBSD this waits for the end of the dump.
fn remove_abandoned(directory: &Path) {
    for entry in directory.read_dir().into_iter().flatten().flatten() {
        if is_temporary(&entry.file_name()) && is_abandoned(&entry) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether a name is one of a temporary file.
pub(crate) fn is_temporary(name: &OsStr) -> bool {
    let random = name.as_bytes().strip_prefix(PREFIX.as_bytes());
    let random = random.and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
    random.is_some_and(|random| random.len() == RANDOM && random.iter().all(u8::is_ascii_alphanumeric))
}

/// Whether it is a regular file of this user's that nobody has locked. What cannot be looked at, or not be locked,
/// counts as somebody's.
fn is_abandoned(entry: &DirEntry) -> bool {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let open = || OpenOptions::new().read(true).write(true).custom_flags(flags).open(entry.path());
    let is_ours =
        |file: &File| file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.uid() == geteuid().as_raw());
    entry.file_type().is_ok_and(|kind| kind.is_file())
        && open().is_ok_and(|file| is_ours(&file) && Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok())
}

impl OutputFile {
    /// Begins a file. With `replace` a regular file of that name is replaced in the end.
    ///
    /// # Errors
    ///
    /// The name is taken: by anything without `replace`; by what is no regular file (a symbolic link, say), or by a
    /// file that the run uses, with it. Or the directory does not take a new file.
    pub fn create(target: &Path, replace: bool) -> Result<Self> {
        Self::begin(target, replace.into())
    }

    /// Begins the new contents of a file, which the run may have read.
    ///
    /// # Errors
    ///
    /// Those of [`Self::create`] with `replace`.
    pub fn update(target: &Path) -> Result<Self> {
        Self::begin(target, Existing::Update)
    }

    fn begin(target: &Path, existing: Existing) -> Result<Self> {
        check_name(target, existing)?;
        let directory = directory_of(target).to_owned();
        let temporary =
            Temporary::create(&directory).map_err(|source| Error::io("create a file in", &directory, source))?;
        Ok(Self { temporary, target: target.to_owned(), directory, existing })
    }

    /// Begins a file in a directory whose name is decided in the end, by [`Self::commit_as`] or [`Self::update_as`].
    ///
    /// # Errors
    ///
    /// The directory does not take a new file.
    pub fn create_in(directory: &Path) -> Result<Self> {
        let temporary = Temporary::create(directory)
            .map_err(|source| Error::io("create a temporary file in", directory, source))?;
        let (target, directory) = (temporary.file.path().to_owned(), directory.to_owned());
        Ok(Self { temporary, target, directory, existing: Existing::Keep })
    }

    /// Takes a file over that has another name in its directory, and keeps that name until it gets its own. Dropped before
    /// that, it stays as it is.
    ///
    /// # Errors
    ///
    /// The system does not tell what it is.
    pub fn adopt(file: File, path: &Path) -> Result<Self> {
        let failed = |source| Error::io("take over", path, source);
        let mut name = TempPath::try_from_path(path).map_err(failed)?;
        name.disable_cleanup(true);
        let unnamed = Unnamed::new(&file, path).map_err(failed)?;
        let temporary =
            Temporary { file: NamedTempFile::from_parts(file, name), unfinished: None, unnamed, lock: None };
        let directory = directory_of(path).to_owned();
        Ok(Self { temporary, target: path.to_owned(), directory, existing: Existing::Keep })
    }

    /// The name that it gets.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The file to write to.
    pub fn file(&self) -> &File {
        self.temporary.file.as_file()
    }

    /// Puts the file on disk, without a name yet.
    ///
    /// # Errors
    ///
    /// The file system is full, say.
    pub fn sync(&self) -> Result<()> {
        self.file().sync_all().map_err(|source| Error::io("write to disk:", &self.target, source))
    }

    /// As [`Self::commit`], with another name in the same directory; with `replace` a regular file of that name is
    /// replaced.
    ///
    /// # Errors
    ///
    /// Those of [`Self::commit`].
    pub fn commit_as(mut self, name: &str, replace: bool) -> Result<()> {
        self.target = self.directory.join(name);
        self.existing = replace.into();
        self.commit()
    }

    /// As [`Self::commit_as`] with `replace`, for a file that the run may have read or written before.
    ///
    /// # Errors
    ///
    /// Those of [`Self::commit`].
    pub fn update_as(mut self, name: &str) -> Result<()> {
        self.target = self.directory.join(name);
        self.existing = Existing::Update;
        self.commit()
    }

    /// Puts the file on disk and gives it its name.
    ///
    /// # Errors
    ///
    /// Syncing or renaming fails, or the name was taken meanwhile. Nothing stays behind then.
    pub fn commit(self) -> Result<()> {
        self.sync()?;
        let Self { temporary: Temporary { file, unfinished, unnamed, lock }, target, directory, existing } = self;
        match unfinished {
            Some(unfinished) => unfinished.finish(|| rename(file, &target, existing))?,
            None => rename(file, &target, existing)?,
        }
        unnamed.keep();
        // Nobody takes it for abandoned from here on.
        drop(lock);
        // The name is given already; only a crash of the system right now could take it back.
        File::open(&directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| Error::io("write to disk the directory", &directory, source))
    }
}

/// Whether two names stand for one file, there already or not.
fn is_same_name(a: &Path, b: &Path) -> bool {
    let resolved = |path: &Path| Some((directory_of(path).canonicalize().ok()?, path.file_name()?.to_owned()));
    resolved(a).is_some_and(|a| resolved(b) == Some(a))
}

/// Checks, without creating anything, that a file can get that name; see [`OutputFile::create`].
///
/// # Errors
///
/// Those of [`OutputFile::create`], as far as the name goes.
pub fn check(target: &Path, replace: bool) -> Result<()> {
    check_name(target, replace.into())
}

/// The same for all outputs of a run, with what each is; no two of them can be one file.
///
/// # Errors
///
/// Those of [`check`].
pub fn check_all(outputs: &[(&str, Option<&Path>)], replace: bool) -> Result<()> {
    let named = || outputs.iter().filter_map(|(what, path)| Some((*what, (*path)?)));
    for (index, (what, path)) in named().enumerate() {
        if let Some((other, _)) = named().take(index).find(|(_, other)| is_same_name(path, other)) {
            return Err(Error::Refused(format!("{other} and {what} cannot be the same file")));
        }
    }
    named().try_for_each(|(_, path)| check(path, replace))
}

/// The same for [`OutputFile::update`].
///
/// # Errors
///
/// Those of [`OutputFile::update`], as far as the name goes.
pub fn check_update(target: &Path) -> Result<()> {
    check_name(target, Existing::Update)
}

fn check_name(target: &Path, existing: Existing) -> Result<()> {
    // `Path` overlooks what only a directory's name may end in; the rename at the end would not.
    let ends_in_name = |name: &&OsStr| target.as_os_str().as_bytes().ends_with(name.as_bytes());
    let Some(name) = target.file_name().filter(ends_in_name) else {
        return Err(Error::Refused(format!("'{}' does not name a file", target.display())));
    };
    if name == "-" && target.as_os_str() == "-" {
        return Err(Error::Refused("'-' is not allowed here; a file of that name is './-'".to_owned()));
    }
    check_target(target, existing)
}

fn check_target(target: &Path, existing: Existing) -> Result<()> {
    match target.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::io("create", target, source)),
        Ok(metadata) if metadata.is_symlink() => Err(Error::Refused(format!(
            "{} is a symbolic link, and memtool does not write through links",
            target.display()
        ))),
        Ok(metadata) if !metadata.is_file() => {
            Err(Error::Refused(format!("{} exists and is not a regular file", target.display())))
        }
        Ok(_) if existing == Existing::Keep => Err(Error::Exists(target.to_owned())),
        Ok(metadata) => files_in_use::check_replaced(target, &metadata, existing == Existing::Update),
    }
}

fn rename(temporary: NamedTempFile, target: &Path, existing: Existing) -> Result<()> {
    if existing != Existing::Keep {
        check_target(target, existing)?;
        return temporary.persist(target).map(drop).map_err(|error| Error::io("rename to", target, error.error));
    }
    match temporary.persist_noclobber(target) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => check_target(target, Existing::Keep),
        // A file system without hard links, such as msdosfs: look, then rename.
        Err(error) => {
            check_target(target, Existing::Keep)?;
            error.file.persist(target).map(drop).map_err(|error| Error::io("rename to", target, error.error))
        }
    }
}

/// What was chosen for this run, once.
static SCRATCH: OnceLock<ScratchChoice> = OnceLock::new();

/// Where files without a name go, and how much of a dump.
#[derive(Debug, Clone, Default)]
pub struct ScratchChoice {
    /// The directory, instead of `TMPDIR`.
    pub directory: Option<PathBuf>,
    /// Bytes that a dump which has to be decompressed may take there.
    pub limit: Option<u64>,
}

/// Chooses for this run where files without a name go; only the first choice counts.
pub fn choose_scratch(choice: ScratchChoice) {
    let _ = SCRATCH.set(choice);
}

/// The directory that was chosen for files without a name, instead of any other.
pub fn chosen_directory() -> Option<PathBuf> {
    SCRATCH.get().and_then(|choice| choice.directory.clone())
}

/// Where files without a name go that have no better place: what was chosen, `TMPDIR`, or /var/tmp, which is on disk.
pub fn temporary_directory() -> PathBuf {
    if let Some(directory) = chosen_directory() {
        return directory;
    }
    let chosen = std::env::var_os("TMPDIR").filter(|path| !path.is_empty());
    chosen.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

/// Makes a file that is gone with its descriptor.
///
/// # Errors
///
/// The directory does not take a new file.
pub fn unnamed_temp_file(directory: &Path) -> Result<File> {
    make_unnamed(directory).map_err(|source| Error::io("create a temporary file in", directory, source))
}

fn make_unnamed(directory: &Path) -> io::Result<File> {
    let Temporary { file, unfinished, .. } = Temporary::create(directory)?;
    let close = || {
        let (file, path) = file.into_parts();
        path.close().map(|()| file)
    };
    match unfinished {
        Some(unfinished) => unfinished.finish(close),
        None => close(),
    }
}

/// A directory for files that are made by [`unnamed_temp_file`].
pub fn scratch(directory: &Path) -> Scratch<'_> {
    let limit = SCRATCH.get().and_then(|choice| choice.limit).unwrap_or(u64::MAX);
    Scratch { directory, create: make_unnamed, limit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::symlink;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            directory.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_whole_and_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("out");
        let output = OutputFile::create(&target, false).unwrap();
        output.file().write_all(b"whole").unwrap();
        assert!(!target.exists());
        output.commit().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"whole");
        assert_eq!(target.metadata().unwrap().mode() & 0o7777, 0o600);
        assert_eq!(names(directory.path()), ["out"]);
    }

    #[test]
    fn an_abandoned_file_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        drop(OutputFile::create(&directory.path().join("out"), false).unwrap());
        assert_eq!(names(directory.path()), Vec::<String>::new());
    }

    #[test]
    fn nothing_is_written_over_unless_asked_and_never_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("out");
        std::fs::write(&target, "old").unwrap();
        let link = directory.path().join("link");
        symlink(&target, &link).unwrap();
        assert!(OutputFile::create(&target, false).is_err());
        assert!(OutputFile::create(&link, false).is_err());
        assert!(OutputFile::create(&link, true).is_err());
        assert!(OutputFile::create(directory.path(), true).is_err());
        assert!(OutputFile::create(Path::new("/"), false).is_err());
        let output = OutputFile::create(&target, true).unwrap();
        output.file().write_all(b"new").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        output.commit().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["link", "out"]);
    }

    #[test]
    fn a_name_taken_meanwhile_is_not_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("out");
        let output = OutputFile::create(&target, false).unwrap();
        symlink("/nowhere", &target).unwrap();
        assert!(output.commit().is_err());
        assert_eq!(names(directory.path()), ["out"]);
        assert!(target.symlink_metadata().unwrap().is_symlink());
    }
}
