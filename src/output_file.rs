//! Files that appear whole or not at all.
//!
//! What is written goes to a temporary file beside the target, with mode 0600 and a name that did not exist.
//! Only [`OutputFile::commit`] gives it its name: after fsync(2), by a rename that does not replace anything
//! unless that is asked for, followed by fsync(2) of the directory. Dropped before that, it is gone.

use crate::error::{Error, Result};
use crate::interrupt::Unfinished;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};

/// A file being written.
#[derive(Debug)]
pub struct OutputFile {
    temporary: NamedTempFile,
    unfinished: Unfinished,
    target: PathBuf,
    directory: PathBuf,
    replace: bool,
}

impl OutputFile {
    /// Begins a file. With `replace` a regular file of that name is replaced in the end.
    ///
    /// # Errors
    ///
    /// The name is taken: by anything without `replace`, by what is no regular file (a symbolic link, say)
    /// with it. Or the directory does not take a new file.
    pub fn create(target: &Path, replace: bool) -> Result<Self> {
        let name = check_name(target, replace)?;
        let directory = directory_of(target).to_owned();
        let mut prefix = OsString::from(".");
        // There is room for the rest of the temporary name where names have 255 bytes.
        prefix.push(OsStr::from_bytes(name.as_bytes().get(..200).unwrap_or(name.as_bytes())));
        prefix.push(".");
        let make = || Builder::new().prefix(&prefix).suffix(".tmp").tempfile_in(&directory);
        let (temporary, unfinished) = Unfinished::create(make, |file| file.path())
            .map_err(|source| Error::io("create a temporary file beside", target, source))?;
        Ok(Self { temporary, unfinished, target: target.to_owned(), directory, replace })
    }

    /// Begins a file in a directory whose name is decided in the end, by [`Self::commit_as`]. Until then its name
    /// begins with `prefix` and ends in `suffix`, with six letters and digits between them.
    ///
    /// # Errors
    ///
    /// The directory does not take a new file.
    pub fn create_in(directory: &Path, prefix: &str, suffix: &str) -> Result<Self> {
        let make = || Builder::new().prefix(prefix).suffix(suffix).rand_bytes(6).tempfile_in(directory);
        let (temporary, unfinished) = Unfinished::create(make, |file| file.path())
            .map_err(|source| Error::io("create a temporary file in", directory, source))?;
        let (target, directory) = (temporary.path().to_owned(), directory.to_owned());
        Ok(Self { temporary, unfinished, target, directory, replace: false })
    }

    /// The file to write to.
    pub fn file(&self) -> &File {
        self.temporary.as_file()
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
        self.replace = replace;
        self.commit()
    }

    /// Puts the file on disk and gives it its name.
    ///
    /// # Errors
    ///
    /// Syncing or renaming fails, or the name was taken meanwhile. Nothing stays behind then.
    pub fn commit(self) -> Result<()> {
        self.sync()?;
        let Self { temporary, unfinished, target, directory, replace } = self;
        unfinished.finish(|| rename(temporary, &target, replace))?;
        // The name is given already; only a crash of the system right now could take it back.
        File::open(&directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| Error::io("write to disk the directory", &directory, source))
    }
}

/// The directory that a file of that name is in.
pub fn directory_of(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether two names stand for one file, there already or not.
pub fn is_same_name(a: &Path, b: &Path) -> bool {
    let resolved = |path: &Path| Some((directory_of(path).canonicalize().ok()?, path.file_name()?.to_owned()));
    resolved(a).is_some_and(|a| resolved(b) == Some(a))
}

/// Checks, without creating anything, that a file can get that name; see [`OutputFile::create`].
///
/// # Errors
///
/// Those of [`OutputFile::create`], as far as the name goes.
pub fn check(target: &Path, replace: bool) -> Result<()> {
    check_name(target, replace).map(drop)
}

fn check_name(target: &Path, replace: bool) -> Result<&OsStr> {
    // `Path` overlooks what only a directory's name may end in; the rename at the end would not.
    let ends_in_name = |name: &&OsStr| target.as_os_str().as_bytes().ends_with(name.as_bytes());
    let Some(name) = target.file_name().filter(ends_in_name) else {
        return Err(Error::Refused(format!("'{}' does not name a file", target.display())));
    };
    if name == "-" && target.as_os_str() == "-" {
        return Err(Error::Refused("'-' is no file here; a file of that name is './-'".to_owned()));
    }
    check_target(target, replace)?;
    Ok(name)
}

fn check_target(target: &Path, replace: bool) -> Result<()> {
    match target.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::io("look at", target, source)),
        Ok(metadata) if metadata.is_symlink() => {
            Err(Error::Refused(format!("{} is a symbolic link, and memtool writes through none", target.display())))
        }
        Ok(metadata) if !metadata.is_file() => {
            Err(Error::Refused(format!("{} exists and is not a regular file", target.display())))
        }
        Ok(_) if !replace => Err(Error::Refused(format!("{} exists already", target.display()))),
        Ok(_) => Ok(()),
    }
}

fn rename(temporary: NamedTempFile, target: &Path, replace: bool) -> Result<()> {
    if replace {
        check_target(target, true)?;
        return temporary.persist(target).map(drop).map_err(|error| Error::io("rename to", target, error.error));
    }
    match temporary.persist_noclobber(target) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => check_target(target, false),
        // A file system without hard links, such as msdosfs: look, then rename.
        Err(error) => {
            check_target(target, false)?;
            error.file.persist(target).map(drop).map_err(|error| Error::io("rename to", target, error.error))
        }
    }
}

/// Where files without a name go that have no better place: `TMPDIR`, or /var/tmp, which is on disk.
pub fn temporary_directory() -> PathBuf {
    let chosen = std::env::var_os("TMPDIR").filter(|path| !path.is_empty());
    chosen.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

/// Makes a file that is gone with its descriptor.
///
/// # Errors
///
/// The directory does not take a new file.
pub fn nameless(directory: &Path) -> Result<File> {
    let failed = |source| Error::io("create a temporary file in", directory, source);
    let make = || Builder::new().prefix(".memtool.").suffix(".tmp").tempfile_in(directory);
    let (named, unfinished) = Unfinished::create(make, |file| file.path()).map_err(failed)?;
    unfinished
        .finish(|| {
            let (file, path) = named.into_parts();
            path.close().map(|()| file)
        })
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, symlink};

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
