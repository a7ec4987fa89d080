//! Custody logs: who had a dump when, and why. The log of a dump is beside it, `FILE.custody`: one line of JSON for each
//! [`Entry`], each with the hash of the dump and the hash of the line before ([`chain`]).
//!
//! - [`add`]: adds an entry, after all those that are there were checked;
//! - [`begin`]: writes the first entry of a dump that memtool has made;
//! - [`Log`]: reads and checks a log, and compares the dump with it.

pub mod chain;
pub mod entry;
mod file;

use crate::error::{Error, Result};
use crate::files::{open_regular, with_ending};
use crate::files_in_use;
use crate::observer::{Observer, Phase, observe_bytes};
use crate::output_file;
use crate::sha256;
use crate::signature::{SigningKey, VerifyingKey};
use chain::{Chain, Link, ReadEntry};
use entry::{Changed, Entry, Origin, SCHEMA, VERSION};
use file::{LogFile, Purpose};
use nix::sys::utsname::uname;
use nix::unistd::{User, getuid};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use vmcore::text::Name;
use vmcore::units::utc_if_known;

/// So often an entry is begun anew because another program has just made the log.
const ATTEMPTS: usize = 16;

/// The name of a dump's log.
pub fn log_path(dump: &Path) -> PathBuf {
    with_ending(dump, ".custody")
}

/// How many entries, for messages.
pub fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

/// The bytes of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DumpState {
    /// How many.
    pub size: u64,
    /// Their SHA-256 in hexadecimal.
    pub sha256: String,
}

impl DumpState {
    /// Reads a dump, which has to be a regular file.
    ///
    /// # Errors
    ///
    /// It is a link or no file, or cannot be read.
    pub fn read(dump: &Path, observer: &mut dyn Observer) -> Result<Self> {
        let opened = open_regular(dump, OpenOptions::new().read(true));
        let opened = opened.and_then(|file| files_in_use::read(&file, dump).map(|()| file));
        let mut file = opened.map_err(|source| Error::io("open", dump, source))?;
        let failed = |source| Error::io("read", dump, source);
        let length = file.metadata().map_err(failed)?.len();
        observe_bytes(observer, Phase::Verifying, length, |progress| {
            let (size, sha256) = sha256::of_reader(&mut file, u64::MAX, |read| progress.add(read)).map_err(failed)?;
            Ok::<_, Error>(Self { size, sha256 })
        })
    }

    fn is_at(&self, link: &Link) -> bool {
        (self.size, &self.sha256) == (link.size, &link.sha256)
    }
}

/// What an entry says that a person knows.
#[derive(Debug, Clone, Default)]
pub struct Statement {
    /// What was done.
    pub action: String,
    /// Why.
    pub reason: String,
    /// The case.
    pub case: Option<String>,
    /// Who did it.
    pub by: Option<String>,
    /// Where the dump came from.
    pub from: Option<String>,
    /// Where it went.
    pub to: Option<String>,
    /// Why the dump is not what it was, if it is not.
    pub changed: Option<String>,
    /// The key that signs the entry.
    pub signing_key: Option<SigningKey>,
}

impl Statement {
    /// Refuses texts that say nothing.
    fn check(&self) -> Result<()> {
        let texts = [
            ("the action", Some(&self.action)),
            ("the reason", Some(&self.reason)),
            ("the case", self.case.as_ref()),
            ("who did it", self.by.as_ref()),
            ("where it came from", self.from.as_ref()),
            ("where it went", self.to.as_ref()),
            ("why the dump has changed", self.changed.as_ref()),
        ];
        let is_empty = |text: &Option<&String>| text.is_some_and(|text| text.trim().is_empty());
        match texts.into_iter().find(|(_, text)| is_empty(text)) {
            Some((what, _)) => Err(Error::Refused(format!("{what} is empty"))),
            None => Ok(()),
        }
    }
}

/// An entry that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The log.
    pub log: PathBuf,
    /// The entry.
    pub entry: Entry,
    /// The SHA-256 of its line, which proves later that nothing was cut off.
    pub entry_sha256: String,
}

/// What is before an entry.
#[derive(Debug, Default)]
struct Before {
    last: Option<Link>,
    manifest_sha256: Option<String>,
    changed: Option<Changed>,
    derived_from: Option<Origin>,
}

/// Makes an entry, and its line.
fn compose(dump: &Path, state: &DumpState, statement: &Statement, before: Before) -> Result<(Entry, String)> {
    let Before { last, manifest_sha256, changed, derived_from } = before;
    let system =
        uname().map_err(|errno| Error::Io { what: "find the name of this host".to_owned(), source: errno.into() })?;
    let (now, uid) = (SystemTime::now(), getuid());
    // A user without a name is one by number.
    let user = User::from_uid(uid).ok().flatten();
    let mut entry = Entry {
        schema: SCHEMA.to_owned(),
        version: VERSION,
        number: last.as_ref().map_or(0, |last| last.number).saturating_add(1),
        written_at: utc_if_known(now),
        action: statement.action.clone(),
        reason: statement.reason.clone(),
        case: statement.case.clone(),
        by: statement.by.clone(),
        from: statement.from.clone(),
        to: statement.to.clone(),
        user_name: user.map(|user| user.name),
        uid: uid.as_raw(),
        hostname: Path::new(system.nodename()).into(),
        written_by: concat!("memtool ", env!("CARGO_PKG_VERSION")).to_owned(),
        name: dump.file_name().map_or_else(|| dump.into(), |name| Path::new(name).into()),
        size: state.size,
        sha256: state.sha256.clone(),
        changed,
        derived_from,
        previous_sha256: last.map(|last| last.entry_sha256).or(manifest_sha256),
        signature: None,
    };
    if let Some(key) = &statement.signing_key {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        entry.signature = Some(key.sign(entry.line()?.as_bytes(), &log_path(dump), seconds)?);
    }
    let line = entry.line()?;
    Ok((entry, line))
}

fn added(log: &Path, entry: Entry, line: &str) -> Added {
    Added { log: log.to_owned(), entry, entry_sha256: sha256::of_bytes(line.as_bytes()) }
}

/// Adds an entry to a dump's log, or begins one. While it is written no other memtool adds to the log.
///
/// # Errors
///
/// Anything is wrong with the log; the dump is not what the last entry says, and the statement does not say why, or the
/// other way round; the dump or the log is not a regular file, or cannot be read or written.
pub fn add(dump: &Path, statement: &Statement, observer: &mut dyn Observer) -> Result<Added> {
    statement.check()?;
    let path = log_path(dump);
    for _ in 0..ATTEMPTS {
        let log = LogFile::open(&path, Purpose::Append, observer)?;
        let chain = log.as_ref().map(|log| log.read(&[], &mut |_| Ok(()))).transpose()?;
        if let Some(chain) = &chain {
            check_whole(&path, chain, "; nothing was added")?;
            chain.warnings.first.iter().for_each(|why| observer.warn(why));
        }
        let state = DumpState::read(dump, observer)?;
        let last = chain.and_then(|chain| chain.last);
        let changed = changed(dump, &state, last.as_ref(), statement)?;
        let (entry, line) =
            compose(dump, &state, statement, Before { last: last.clone(), changed, ..Before::default() })?;
        if let Some(before) = last.and_then(|last| last.written_at)
            && entry.written_at.as_ref().is_some_and(|now| *now < before)
        {
            observer.warn(&format!("the clock is behind the last entry, which is dated {before}"));
        }
        match log {
            Some(log) => log.append(&line)?,
            None => match file::create(&path, &line) {
                Err(Error::Exists(_)) => continue,
                created => created?,
            },
        }
        return Ok(added(&path, entry, &line));
    }
    Err(Error::Refused(format!("{}: other programs make and remove it", path.display())))
}

/// What the entry says of a dump that is not what the last one says.
fn changed(dump: &Path, state: &DumpState, last: Option<&Link>, statement: &Statement) -> Result<Option<Changed>> {
    let dump = dump.display();
    match (last, &statement.changed) {
        (Some(last), Some(_)) if state.is_at(last) => {
            Err(Error::Refused(format!("{dump} has not changed since entry {}; --changed does not apply", last.number)))
        }
        (None, Some(_)) => Err(Error::Refused(format!("{dump} has no log yet; --changed does not apply"))),
        (Some(last), Some(why)) => Ok(Some(Changed { why: why.clone(), size: last.size, sha256: last.sha256.clone() })),
        (Some(last), None) if !state.is_at(last) => Err(Error::Refused(format!(
            "{}; nothing was added; --changed says why it was changed",
            differs(&dump.to_string(), state, last)
        ))),
        _ => Ok(None),
    }
}

/// That a dump is not what an entry says.
fn differs(dump: &str, state: &DumpState, link: &Link) -> String {
    let number = link.number;
    if state.size == link.size {
        return format!("{dump} is not what entry {number} says: SHA-256 {} instead of {}", state.sha256, link.sha256);
    }
    format!("{dump} is not what entry {number} says: {} bytes instead of {}", state.size, link.size)
}

fn check_whole(log: &Path, chain: &Chain, consequence: &str) -> Result<()> {
    match chain.problems.first.first() {
        Some(problem) => Err(Error::Format(format!("{}: {problem}{consequence}", log.display()))),
        None => Ok(()),
    }
}

/// The first entry of a dump that memtool has made.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// What it says.
    pub statement: Statement,
    /// What the dump was made from, if that is a file.
    pub derived_from: Option<Origin>,
}

/// Checks, without creating anything, that a dump can get a log. One that is there is of the dump that is there, or was,
/// and is never replaced.
///
/// # Errors
///
/// There is one, or anything else of that name; or the entry says nothing.
pub fn check_begin(dump: &Path, beginning: &Beginning) -> Result<()> {
    beginning.statement.check()?;
    let log = log_path(dump);
    match output_file::check(&log, false) {
        Err(Error::Exists(_)) => Err(Error::Refused(format!(
            "{} already exists, and no custody log is replaced: move it away with its dump",
            log.display()
        ))),
        checked => checked,
    }
}

/// Writes the first entry of a dump that memtool has just made. Its log must not be there. With a manifest, the entry has
/// the hash of that.
///
/// # Errors
///
/// There is a log; or it cannot be written.
pub fn begin(dump: &Path, state: &DumpState, beginning: &Beginning, manifest_sha256: Option<String>) -> Result<Added> {
    let path = log_path(dump);
    let derived_from = beginning.derived_from.clone();
    let before = Before { manifest_sha256, derived_from, ..Before::default() };
    let (entry, line) = compose(dump, state, &beginning.statement, before)?;
    file::create(&path, &line)?;
    Ok(added(&path, entry, &line))
}

/// A log that is open, and that nobody adds to meanwhile.
#[derive(Debug)]
pub struct Log {
    file: LogFile,
    path: PathBuf,
}

impl Log {
    /// Opens the log of a dump; `None` if it has none.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn open(dump: &Path, observer: &mut dyn Observer) -> Result<Option<Self>> {
        let path = log_path(dump);
        let file = LogFile::open(&path, Purpose::Read, observer)?;
        Ok(file.map(|file| Self { file, path }))
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks all entries, and hands them out one after another. With keys, signatures are verified.
    ///
    /// # Errors
    ///
    /// It cannot be read; or those of `each`. What is wrong with the entries is in the result.
    pub fn read(&self, keys: &[VerifyingKey], each: &mut dyn FnMut(&ReadEntry<'_>) -> Result<()>) -> Result<Chain> {
        let mut chain = self.file.read(keys, each)?;
        if chain.entry_count == 0 && chain.is_whole() {
            chain.problem_of_all("it has no entry".to_owned());
        } else if !keys.is_empty() && chain.verified_count == 0 && chain.is_whole() {
            chain.problem_of_all("no entry is signed".to_owned());
        }
        Ok(chain)
    }

    /// Checks all entries, and that a dump is what the last one says.
    ///
    /// # Errors
    ///
    /// Anything is wrong with it.
    pub fn verify(&self, dump: &Path, state: &DumpState) -> Result<(Chain, Link)> {
        let chain = self.read(&[], &mut |_| Ok(()))?;
        check_whole(&self.path, &chain, "")?;
        let no_entry = || Error::Format(format!("{}: it has no entry", self.path.display()));
        let last = chain.last.clone().ok_or_else(no_entry)?;
        compare(dump, state, &last)?;
        Ok((chain, last))
    }
}

/// Compares a dump with an entry.
///
/// # Errors
///
/// It is another.
pub fn compare(dump: &Path, state: &DumpState, link: &Link) -> Result<()> {
    if state.is_at(link) {
        return Ok(());
    }
    Err(Error::Format(differs(&dump.display().to_string(), state, link)))
}

impl Origin {
    /// A file that a dump is made from, with what its log says of it, if it has one.
    ///
    /// # Errors
    ///
    /// Anything is wrong with the log; or the file is not what its last entry says.
    pub fn of(input: &Path, observer: &mut dyn Observer) -> Result<Self> {
        let unknown = Self { input: Name::from(input), size: None, sha256: None, entry_sha256: None };
        if !input.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Ok(unknown);
        }
        let Some(log) = Log::open(input, observer)? else { return Ok(unknown) };
        let state = DumpState::read(input, observer)?;
        let (_, last) = log.verify(input, &state)?;
        let DumpState { size, sha256 } = state;
        Ok(Self { size: Some(size), sha256: Some(sha256), entry_sha256: Some(last.entry_sha256), ..unknown })
    }
}
