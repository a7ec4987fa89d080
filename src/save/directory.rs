//! A directory of dumps as savecore(8) keeps it, /var/crash say: `bounds` with the number of the next dump;
//! `vmcore.N`, `vmcore_encrypted.N`, `textdump.tar.N` or `livecore.N`; `info.N`, `key.N`; and symbolic links
//! `info.last`, `vmcore.last` and so on (sbin/savecore/savecore.c of FreeBSD 15.1).
//!
//! Unlike savecore(8), no dump that is there is ever replaced, unless numbers are to come round: a number that is
//! taken is passed over. Several memtools that save at the same time take turns, by a lock of the directory, flock(2).

use crate::encryption;
use crate::error::{Error, Result};
use crate::files::{self, open_nonblocking};
use crate::free_space::FreeSpace;
use crate::observer::Observer;
use crate::output_file::{self, OutputFile};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::AccessFlags;
use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use vmcore::kerneldump::Compression;
use vmcore::text::first_line;

/// What savecore(8) reads of `bounds`: five digits.
const BOUNDS_DIGITS: u64 = 5;
/// What savecore(8) reads of `minfree`.
const MINFREE_LENGTH: u64 = 99;
/// The last number; savecore(8) would read only part of a larger one.
const LAST_NUMBER: u32 = 99_999;

/// The names before the number, and those of links before `.last`.
const STEMS: [&str; 6] = ["info", "key", "vmcore", "vmcore_encrypted", "textdump.tar", "livecore"];
/// What follows the number, or `.last`, in the order of crashinfo(8); then the same encrypted, [`encryption::SUFFIX`].
pub const SUFFIXES: [&str; 6] = [
    Compression::None.suffix(),
    Compression::Gzip.suffix(),
    Compression::Zstd.suffix(),
    encryption::SUFFIX,
    ".gz.age",
    ".zst.age",
];

/// How names of unfinished links begin; so many letters and digits follow, and the ending.
const UNFINISHED: (&str, usize, &str) = (".memtool.", 6, ".last");

/// What a dump is called, and what goes with it.
pub struct NewDump<'a> {
    /// The name before the number: `vmcore`, say.
    pub stem: &'static str,
    /// How the file is compressed, which its name tells.
    pub compression: Compression,
    /// What the name of the link tells. Of a dump that is compressed and then encrypted it is more than the file's.
    pub link: Compression,
    /// Whether it is encrypted to recipients, which both names tell.
    pub is_encrypted: bool,
    /// The text of the info file of the dump with this number.
    pub info: &'a dyn Fn(u32) -> String,
    /// The key of an encrypted dump.
    pub key: Option<OutputFile>,
    /// Numbers are below this one, and come round: what has the number is replaced. Without it nothing is.
    pub limit: Option<u32>,
}

/// The files of a dump in its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpFiles {
    /// The dump's number.
    pub number: u32,
    /// The dump.
    pub core: PathBuf,
    /// What is known of it.
    pub info: PathBuf,
    /// The key of an encrypted dump.
    pub key: Option<PathBuf>,
}

/// A dump that was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Its files.
    pub files: DumpFiles,
    /// Links that could not be made and files that could not be removed, and why.
    pub problems: Vec<String>,
}

/// What the files of a dump are called.
struct Names {
    number: u32,
    core: String,
    info: String,
    key: Option<String>,
}

/// What the names of a dump depend on, but for its number.
pub struct PlannedNames {
    /// The name before the number.
    pub stem: &'static str,
    /// How the file is compressed.
    pub compression: Compression,
    /// Whether it is encrypted to recipients.
    pub is_encrypted: bool,
    /// Whether its key is beside it.
    pub has_key: bool,
}

/// What follows the number of a dump that is compressed so, and then encrypted to recipients or not.
pub fn suffix(compression: Compression, is_encrypted: bool) -> String {
    format!("{}{}", compression.suffix(), if is_encrypted { encryption::SUFFIX } else { "" })
}

impl Names {
    fn new(names: &PlannedNames, number: u32) -> Self {
        let PlannedNames { stem, compression, is_encrypted, has_key } = *names;
        Self {
            number,
            core: format!("{stem}.{number}{}", suffix(compression, is_encrypted)),
            info: format!("info.{number}"),
            key: has_key.then(|| format!("key.{number}")),
        }
    }

    fn within(self, directory: &Path) -> DumpFiles {
        let Self { number, core, info, key } = self;
        let path = |name| directory.join(name);
        DumpFiles { number, core: path(core), info: path(info), key: key.map(path) }
    }
}

/// The files that a dump would be saved in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFiles {
    /// They themselves.
    pub files: DumpFiles,
    /// The files of that number that are there, and would be replaced or removed.
    pub replaced: Vec<PathBuf>,
}

/// The numbers that were planned in a run, which saves nothing and so leaves them free.
#[derive(Debug, Default)]
pub struct PlannedNumbers {
    /// What would be in `bounds`.
    bounds: Option<u32>,
    given: BTreeSet<u32>,
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
        let directory = files::open(path)?;
        if !directory.metadata().map_err(failed)?.is_dir() {
            return Err(Error::Refused(format!("{} is not a directory", path.display())));
        }
        Ok(Self { path: path.to_owned(), directory })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a dump or its key, without a number yet.
    ///
    /// # Errors
    ///
    /// The directory does not take a new file, or `bounds` could not be replaced.
    pub fn new_file(&self) -> Result<OutputFile> {
        output_file::check_update(&self.path.join("bounds"))?;
        OutputFile::create_in(&self.path)
    }

    /// Removes unfinished links, which only a kill leaves. It is for who has the lock, without which nobody makes them.
    fn remove_abandoned_links(&self) {
        let (prefix, length, suffix) = UNFINISHED;
        let is_unfinished = |name: &str| {
            let random = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
            random
                .is_some_and(|random| random.len() == length && random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        };
        for entry in self.path.read_dir().into_iter().flatten().flatten() {
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if is_link && entry.file_name().to_str().is_some_and(is_unfinished) {
                // One that stays does no harm.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Gives a dump the next number, and with it its name.
    ///
    /// Killed at any step, this loses nothing: what needs room is on disk before anything gets a name, and
    /// `bounds` is past the number before the dump has it, since savecore(8) removes what has the number in
    /// `bounds`. Where numbers come round, what had the number goes when the new dump is in place, and `bounds`
    /// is written last, so that the number is not used up before that.
    ///
    /// # Errors
    ///
    /// The directory cannot be read or written to, every number is taken, or what is to be replaced is no file.
    pub fn save(&self, dump: OutputFile, entry: NewDump<'_>) -> Result<Saved> {
        let NewDump { stem, compression, link, is_encrypted, info, key, limit } = entry;
        let lock = self.lock()?;
        if lock.is_some() {
            self.remove_abandoned_links();
        }
        let round = limit.is_some();
        let number = self.number(limit, &PlannedNumbers::default())?;
        let old = if round { self.names_with(number)? } else { Vec::new() };
        for name in &old {
            output_file::check(&self.path.join(name), true)?;
        }
        let names = Names::new(&PlannedNames { stem, compression, is_encrypted, has_key: key.is_some() }, number);
        let info = self.text_file(&names.info, &info(number))?;
        let bounds = self.text_file("bounds", &format!("{}\n", number + 1))?;
        // As savecore(8) makes it; it is no secret.
        let readable = bounds.file().set_permissions(Permissions::from_mode(0o644));
        readable.map_err(|source| Error::io("make readable", &self.path.join("bounds"), source))?;
        for file in [&dump, &info].into_iter().chain(&key) {
            file.sync()?;
        }
        let mut bounds = Some(bounds);
        if let Some(bounds) = bounds.take_if(|_| !round) {
            bounds.update_as("bounds")?;
        }
        dump.commit_as(&names.core, round)?;
        if let (Some(key), Some(name)) = (key, &names.key) {
            key.commit_as(name, round)?;
        }
        info.commit_as(&names.info, round)?;
        let mut problems = Vec::new();
        let new = |name: &String| *name == names.core || *name == names.info || Some(name) == names.key.as_ref();
        for path in old.iter().filter(|name| !new(name)).map(|name| self.path.join(name)) {
            problems
                .extend(std::fs::remove_file(&path).err().map(|source| Error::io("remove", &path, source).to_string()));
        }
        if let Some(bounds) = bounds {
            bounds.update_as("bounds")?;
        }
        let key_link = names.key.as_ref().map(|name| ("key.last".to_owned(), name));
        let links = [
            ("info.last".to_owned(), &names.info),
            (format!("{stem}.last{}", suffix(link, is_encrypted)), &names.core),
        ];
        let links: Vec<(String, &String)> = links.into_iter().chain(key_link).collect();
        let made = links.iter().map(|(link, name)| self.link(name, link));
        problems.extend(made.filter_map(|made| made.err().map(|error| error.to_string())));
        self.remove_other_links(&links.into_iter().map(|(link, _)| link).collect::<Vec<_>>());
        Ok(Saved { files: names.within(&self.path), problems })
    }

    /// Says what [`Self::save`] would call a dump, and what it would replace. Nothing is written, and nobody kept out: a
    /// dump that is saved meanwhile takes the number.
    ///
    /// # Errors
    ///
    /// Those of [`Self::new_file`] and [`Self::save`], as far as they are known.
    pub fn plan(&self, names: &PlannedNames, limit: Option<u32>, planned: &mut PlannedNumbers) -> Result<PlannedFiles> {
        output_file::check_update(&self.path.join("bounds"))?;
        files::check_access(&self.path, AccessFlags::W_OK | AccessFlags::X_OK)
            .map_err(|source| Error::io("create a temporary file in", &self.path, source))?;
        let number = self.number(limit, planned)?;
        let files = Names::new(names, number).within(&self.path);
        if !planned.given.insert(number) {
            let name = files.core.display();
            return Err(Error::Refused(format!("{name} was not replaced: it is already an output of this run")));
        }
        planned.bounds = Some(number + 1);
        let mut old = if limit.is_some() { self.names_with(number)? } else { Vec::new() };
        old.sort();
        let replaced: Vec<PathBuf> = old.into_iter().map(|name| self.path.join(name)).collect();
        replaced.iter().try_for_each(|path| output_file::check(path, true))?;
        Ok(PlannedFiles { files, replaced })
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

    /// The number of the dump that was saved last, and what tells it: the one before that in `bounds`, as crashinfo(8) takes
    /// it, or where that says nothing the one of `info.last`.
    pub fn newest(&self) -> Option<(u32, &'static str)> {
        // The link is one of savecore(8)'s only if it leads to a name in the directory.
        let linked = || number_of(self.path.join("info.last").read_link().ok()?.to_str()?);
        let bounds = self.bounds().checked_sub(1).map(|number| (number, "bounds"));
        bounds.or_else(|| Some((linked()?, "info.last")))
    }

    /// Writes what is known of the crash of a dump: `core.txt.N`, for the owner only, which replaces an older one; and the
    /// link `core.txt.last`. Returns the file, and why the link could not be made.
    ///
    /// # Errors
    ///
    /// The directory cannot be written to, or what has the name is no regular file, such as a link.
    pub fn save_report(&self, number: u32, text: &[u8], is_encrypted: bool) -> Result<(PathBuf, Option<Error>)> {
        let lock = self.lock()?;
        if lock.is_some() {
            self.remove_abandoned_links();
        }
        let name = report_name(number, is_encrypted);
        output_file::check(&self.path.join(&name), true)?;
        self.file(&name, text)?.commit_as(&name, true)?;
        let problem = self.link(&name, &format!("core.txt.last{}", suffix(Compression::None, is_encrypted))).err();
        Ok((self.path.join(name), problem))
    }

    /// The number in `bounds`.
    fn bounds(&self) -> u32 {
        parse_bounds(&self.beginning_of("bounds", BOUNDS_DIGITS).unwrap_or_default())
    }

    /// The number of the next dump. With a limit, that in `bounds`, or 0 if it has reached the limit; without, the first
    /// one from that in `bounds` on that no file has, nor a dump that was planned before.
    fn number(&self, limit: Option<u32>, planned: &PlannedNumbers) -> Result<u32> {
        let first = planned.bounds.unwrap_or_else(|| self.bounds());
        if let Some(limit) = limit {
            return Ok(Some(first).filter(|number| *number < limit).unwrap_or(0));
        }
        let mut taken: BTreeSet<u32> = self.names()?.iter().filter_map(|name| number_of(name)).collect();
        taken.extend(&planned.given);
        (first..=LAST_NUMBER).find(|number| !taken.contains(number)).ok_or_else(|| {
            Error::Refused(format!(
                "{}: no number from {first} to {LAST_NUMBER} is free; correct its file 'bounds'",
                self.path.display()
            ))
        })
    }

    /// The names of savecore(8)'s that have a number.
    fn names_with(&self, number: u32) -> Result<Vec<String>> {
        let mut names = self.names()?;
        names.retain(|name| number_of(name) == Some(number));
        Ok(names)
    }

    /// The names in the directory, as far as they are text.
    fn names(&self) -> Result<Vec<String>> {
        let failed = |source| Error::io("read", &self.path, source);
        let entries = self.path.read_dir().map_err(failed)?;
        let names = entries.map(|entry| Ok(entry.map_err(failed)?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    /// KiB that dumps shall leave free, as the file `minfree` says.
    ///
    /// # Errors
    ///
    /// What the file says where that is no number; savecore(8) takes it for 0.
    fn min_free(&self) -> Result<u64, String> {
        self.beginning_of("minfree", MINFREE_LENGTH).map_or(Ok(0), |text| parse_min_free(&text))
    }

    /// What there is for dumps in it; its file `minfree` may say how much of that shall stay free.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub fn free_space(&self, observer: &mut dyn Observer) -> Result<FreeSpace> {
        let file = self.path.join("minfree");
        let reserved = self.min_free().unwrap_or_else(|text| {
            observer.warn(&format!("{}: '{text}' is not a size in KiB; 0 is used", file.display()));
            0
        });
        Ok(FreeSpace::within(&self.path)?.with_reserve(reserved.saturating_mul(1024), file))
    }

    /// The beginning of a file's first line; `None` without such a file.
    fn beginning_of(&self, name: &str, limit: u64) -> Option<String> {
        let file = open_nonblocking(&self.path.join(name)).ok()?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes).ok()?;
        Some(first_line(&String::from_utf8_lossy(&bytes)).to_owned())
    }

    fn text_file(&self, name: &str, text: &str) -> Result<OutputFile> {
        self.file(name, text.as_bytes())
    }

    /// A file that is to have a name, and does not yet.
    fn file(&self, name: &str, bytes: &[u8]) -> Result<OutputFile> {
        let new = OutputFile::create_in(&self.path)?;
        new.file().write_all(bytes).map_err(|source| Error::io("write to", &self.path.join(name), source))?;
        Ok(new)
    }

    /// Puts a symbolic link in place of the one that is there.
    fn link(&self, name: &str, link: &str) -> Result<()> {
        let path = self.path.join(link);
        if path.symlink_metadata().is_ok_and(|metadata| !metadata.is_symlink()) {
            return Err(Error::Refused(format!("{} is not a symbolic link and was kept", path.display())));
        }
        let failed = |source| Error::io("make the symbolic link", &path, source);
        let make = |at: &Path| symlink(name, at);
        let (prefix, length, suffix) = UNFINISHED;
        let mut builder = tempfile::Builder::new();
        builder.prefix(prefix).suffix(suffix).rand_bytes(length);
        let temporary = output_file::make_temporary(&builder, &self.path, make).map_err(failed)?;
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

/// What crashinfo(8) calls what is known of the crash of a dump.
pub fn report_name(number: u32, is_encrypted: bool) -> String {
    format!("core.txt.{number}{}", suffix(Compression::None, is_encrypted))
}

/// The number in a name of savecore(8)'s.
fn number_of(name: &str) -> Option<u32> {
    stem_and_number(name, &STEMS).map(|(_, number)| number)
}

/// Which of these a name begins with, and its number.
pub fn stem_and_number(name: &str, stems: &[&'static str]) -> Option<(&'static str, u32)> {
    stems.iter().find_map(|stem| {
        let rest = name.strip_prefix(stem)?.strip_prefix('.')?;
        let digits = SUFFIXES.iter().rev().find_map(|suffix| rest.strip_suffix(suffix))?;
        let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
        Some((*stem, number?))
    })
}

/// strtol(3): blanks, a sign, digits; what follows does not matter, and no digits are 0. There is no dump with
/// a number below 0.
fn parse_bounds(text: &str) -> u32 {
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
    let text = text.strip_prefix('+').unwrap_or(text);
    let digits = text.split(|c: char| !c.is_ascii_digit()).next();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
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
    fn every_dump_is_found_by_what_its_name_ends_in() {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            for is_encrypted in [false, true] {
                assert!(SUFFIXES.contains(&&*suffix(compression, is_encrypted)), "{compression:?} {is_encrypted}");
            }
        }
    }

    #[test]
    fn every_name_of_savecore_takes_its_number() {
        for name in [
            "info.7",
            "vmcore.7",
            "vmcore.7.gz",
            "livecore.7.zst",
            "textdump.tar.7.gz",
            "key.7",
            "vmcore.7.age",
            "livecore.7.zst.age",
        ] {
            assert_eq!(number_of(name), Some(7), "{name}");
        }
        for name in ["info.last", "livecore.", "livecore.7.bz2", "livecore", "7", "bounds", "info.7x", "info.-7"] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
