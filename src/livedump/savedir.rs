//! A directory of dumps as savecore(8) keeps it, /var/crash say: `bounds` with the number of the next dump,
//! `livecore.N`, `info.N`, and symbolic links `info.last` and `livecore.last` (sbin/savecore/savecore.c of
//! FreeBSD 14).
//!
//! Unlike savecore(8), no dump that is there is ever replaced: a number that is taken is passed over. Several
//! memtools that save at the same time take turns.

use super::info;
use super::trailer::Trailer;
use crate::error::{Error, Result};
use crate::host::open_at_once;
use crate::kerneldump::Compression;
use crate::output_file::{self, OutputFile};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What savecore(8) reads of `bounds`: five digits.
const BOUNDS_DIGITS: u64 = 5;
/// What savecore(8) reads of `minfree`.
const MINFREE_LENGTH: u64 = 99;
/// The last number; savecore(8) would read only part of a larger one.
const LAST_NUMBER: u32 = 99_999;

/// The names before the number, and those of links before `.last`.
const STEMS: [&str; 6] = ["info", "key", "vmcore", "vmcore_encrypted", "textdump.tar", "livecore"];
/// What follows the number, or `.last`.
const SUFFIXES: [&str; 3] = [Compression::None.suffix(), Compression::Gzip.suffix(), Compression::Zstd.suffix()];

/// The files of a dump that was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The dump's number.
    pub number: u32,
    /// The dump.
    pub core: PathBuf,
    /// What is known of it.
    pub info: PathBuf,
    /// Links that could not be made, and why.
    pub problems: Vec<String>,
}

/// A directory of dumps.
#[derive(Debug)]
pub struct SaveDirectory {
    path: PathBuf,
    directory: File,
}

impl SaveDirectory {
    /// Opens a directory.
    ///
    /// # Errors
    ///
    /// It is not there, or no directory.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::io("open", path, source);
        let directory = open_at_once(path).map_err(failed)?;
        if !directory.metadata().map_err(failed)?.is_dir() {
            return Err(Error::Refused(format!("{} is not a directory", path.display())));
        }
        Ok(Self { path: path.to_owned(), directory })
    }

    /// Begins a dump, without a number yet.
    ///
    /// # Errors
    ///
    /// The directory does not take a new file, or `bounds` could not be replaced.
    pub fn new_dump(&self) -> Result<OutputFile> {
        output_file::check(&self.path.join("bounds"), true)?;
        OutputFile::create_in(&self.path, "livecore")
    }

    /// Gives a dump the next number, and with it its name.
    ///
    /// Killed at any step, this loses nothing: what needs room is on disk before anything gets a name, and
    /// `bounds` is past the number before the dump has it, since savecore(8) removes what has the number in
    /// `bounds`.
    ///
    /// # Errors
    ///
    /// The directory cannot be read or written to, or every number is taken.
    pub fn save(&self, dump: OutputFile, trailer: &Trailer) -> Result<Saved> {
        let _lock = self.lock()?;
        let number = self.next_number()?;
        let suffix = Compression::of_code(trailer.header.compression).map_or("", Compression::suffix);
        let core_name = format!("livecore.{number}{suffix}");
        let info_name = format!("info.{number}");
        let info = self.new_file(&info_name, false, info::text(trailer, number).as_bytes())?;
        let bounds = self.new_file("bounds", true, format!("{}\n", number + 1).as_bytes())?;
        // As savecore(8) makes it; it is no secret.
        let readable = bounds.file().set_permissions(Permissions::from_mode(0o644));
        readable.map_err(|source| Error::io("make readable", &self.path.join("bounds"), source))?;
        dump.sync()?;
        info.sync()?;
        bounds.commit()?;
        dump.commit_as(&core_name)?;
        info.commit()?;
        let links = [("info.last".to_owned(), &info_name), (format!("livecore.last{suffix}"), &core_name)];
        let made = links.iter().map(|(link, name)| self.link(name, link));
        let problems = made.filter_map(|made| made.err().map(|error| error.to_string())).collect();
        self.remove_other_links(&links.map(|(link, _)| link));
        Ok(Saved { number, core: self.path.join(core_name), info: self.path.join(info_name), problems })
    }

    /// Keeps other memtools out for as long as the value lives. File systems without locks do without.
    fn lock(&self) -> Result<Option<Flock<File>>> {
        let failed = |source| Error::io("lock", &self.path, source);
        match Flock::lock(self.directory.try_clone().map_err(failed)?, FlockArg::LockExclusive) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, Errno::EOPNOTSUPP | Errno::ENOLCK | Errno::ENOSYS | Errno::EBADF)) => Ok(None),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }

    /// The number in `bounds`, or the first one after it that no file has.
    fn next_number(&self) -> Result<u32> {
        let failed = |source| Error::io("read", &self.path, source);
        let mut taken = BTreeSet::new();
        for entry in self.path.read_dir().map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            taken.extend(name.to_str().and_then(number_of));
        }
        let first = parse_bounds(&self.beginning_of("bounds", BOUNDS_DIGITS).unwrap_or_default());
        (first..=LAST_NUMBER).find(|number| !taken.contains(number)).ok_or_else(|| {
            Error::Refused(format!(
                "{}: no number from {first} to {LAST_NUMBER} is free; correct its file 'bounds'",
                self.path.display()
            ))
        })
    }

    /// KiB that dumps shall leave free, as the file `minfree` says.
    ///
    /// # Errors
    ///
    /// What the file says where that is no number; savecore(8) takes it for 0.
    pub fn min_free(&self) -> Result<u64, String> {
        self.beginning_of("minfree", MINFREE_LENGTH).map_or(Ok(0), |text| parse_min_free(&text))
    }

    /// The beginning of a file's first line; `None` without such a file.
    fn beginning_of(&self, name: &str, most: u64) -> Option<String> {
        let file = open_at_once(&self.path.join(name)).ok()?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes).ok()?;
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Some(String::from_utf8_lossy(line).into_owned())
    }

    fn new_file(&self, name: &str, replace: bool, bytes: &[u8]) -> Result<OutputFile> {
        let path = self.path.join(name);
        let output = OutputFile::create(&path, replace)?;
        output.file().write_all(bytes).map_err(|source| Error::io("write", &path, source))?;
        Ok(output)
    }

    /// Puts a symbolic link in place of the one that is there.
    fn link(&self, name: &str, link: &str) -> Result<()> {
        let path = self.path.join(link);
        if path.symlink_metadata().is_ok_and(|metadata| !metadata.is_symlink()) {
            return Err(Error::Refused(format!("{} is not a symbolic link, and stays", path.display())));
        }
        let failed = |source| Error::io("make the symbolic link", &path, source);
        let make = |at: &Path| symlink(name, at);
        let temporary = tempfile::Builder::new().prefix(".last.").make_in(&self.path, make).map_err(failed)?;
        temporary.into_temp_path().persist(&path).map_err(|error| failed(error.error))
    }

    /// As savecore(8): no link tells of an older dump than `info.last`.
    fn remove_other_links(&self, kept: &[String]) {
        for name in STEMS.iter().flat_map(|stem| SUFFIXES.map(|suffix| format!("{stem}.last{suffix}"))) {
            let path = self.path.join(&name);
            if !kept.contains(&name) && path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
                // A link that stays does no harm.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

/// The number in a name of savecore(8)'s.
fn number_of(name: &str) -> Option<u32> {
    STEMS.iter().find_map(|stem| {
        let rest = name.strip_prefix(stem)?.strip_prefix('.')?;
        let digits = SUFFIXES.iter().rev().find_map(|suffix| rest.strip_suffix(suffix))?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    })
}

/// strtol(3): blanks, a sign, digits; what follows does not matter, and no digits are 0. There is no dump with
/// a number below 0.
fn parse_bounds(text: &str) -> u32 {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn parse_min_free(text: &str) -> Result<u64, String> {
    let number = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let number = number.strip_prefix('+').unwrap_or(number);
    if number.is_empty() {
        return Ok(0);
    }
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| number.parse().ok()).flatten().ok_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_is_read_as_strtol_reads_it() {
        for (text, number) in
            [("", 0), ("7", 7), ("  12x", 12), ("+3", 3), ("-3", 0), ("x", 0), ("007", 7), ("99999", 99_999)]
        {
            assert_eq!(parse_bounds(text), number, "'{text}'");
        }
    }

    #[test]
    fn minfree_is_a_number_of_kib_or_nothing() {
        for (text, number) in [("", 0), ("2048", 2048), (" 5 ", 5), ("+5", 5)] {
            assert_eq!(parse_min_free(text), Ok(number), "'{text}'");
        }
        for text in ["2048x", "-1", "x", "1 2", "99999999999999999999999"] {
            assert_eq!(parse_min_free(text), Err(text.to_owned()));
        }
    }

    #[test]
    fn every_name_of_savecore_takes_its_number() {
        for name in ["info.7", "vmcore.7", "vmcore.7.gz", "livecore.7.zst", "textdump.tar.7.gz", "key.7"] {
            assert_eq!(number_of(name), Some(7), "{name}");
        }
        for name in ["info.last", "livecore.", "livecore.7.bz2", "livecore", "7", "bounds", "info.7x", "info.-7"] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
