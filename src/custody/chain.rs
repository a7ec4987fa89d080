//! The chain of the entries: each has the hash of the one before, so that no entry can be changed, left out or moved
//! without that being found. Only what is cut off at the end is not.

use super::entry::{Entry, LineError, MAX_LINE, signed_text};
use crate::sha256;
use crate::signature::VerifyingKey;
use std::fmt;

/// So many problems, and warnings, are listed.
const MAX_LISTED: usize = 100;

/// A line of a log.
#[derive(Debug, Clone, Copy)]
pub enum Line<'a> {
    /// With its end.
    Whole(&'a [u8]),
    /// Longer than an entry can be.
    TooLong,
    /// The last one, which has no end: so many bytes.
    Torn(u64),
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1 on; `None` if it is about all of them.
    pub line: Option<u64>,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// The first of many, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The first.
    pub first: Vec<T>,
    /// All of them.
    pub count: u64,
}

impl<T> Listed<T> {
    const fn new() -> Self {
        Self { first: Vec::new(), count: 0 }
    }

    fn push(&mut self, item: T) {
        self.count += 1;
        if self.first.len() < MAX_LISTED {
            self.first.push(item);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Those that are not listed.
    pub fn unlisted(&self) -> u64 {
        self.count.saturating_sub(self.first.len() as u64)
    }
}

/// An entry that others follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub number: u64,
    /// The SHA-256 of its line.
    pub entry_sha256: String,
    /// When it was written.
    pub written_at: Option<String>,
    /// The size of the dump by it.
    pub size: u64,
    /// The SHA-256 of the dump by it.
    pub sha256: String,
}

/// An entry as it was read.
#[derive(Debug)]
pub struct ReadEntry<'a> {
    /// The entry.
    pub entry: &'a Entry,
    /// The SHA-256 of its line.
    pub entry_sha256: &'a str,
    /// The public key that its signature was verified with.
    pub signed_by: Option<&'a str>,
}

/// A log as far as it was read.
#[derive(Debug)]
pub struct Chain {
    lines: u64,
    is_over: bool,
    /// Entries.
    pub entry_count: u64,
    /// Those with a signature.
    pub signed_count: u64,
    /// Those whose signature was verified.
    pub verified_count: u64,
    /// The last entry that is protected by a signature that was verified: its number.
    pub verified_to: Option<u64>,
    /// The entry with the highest number.
    pub last: Option<Link>,
    /// What the first entry follows: the hash of a manifest.
    pub manifest_sha256: Option<String>,
    /// Bytes of the lines that are whole.
    pub whole_bytes: u64,
    /// What is wrong.
    pub problems: Listed<Problem>,
    /// What is strange, and can be right.
    pub warnings: Listed<String>,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            lines: 0,
            is_over: false,
            entry_count: 0,
            signed_count: 0,
            verified_count: 0,
            verified_to: None,
            last: None,
            manifest_sha256: None,
            whole_bytes: 0,
            problems: Listed::new(),
            warnings: Listed::new(),
        }
    }
}

impl Chain {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether there is no reason to read on: what follows cannot be understood.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    fn problem(&mut self, why: String) {
        self.problems.push(Problem { line: Some(self.lines), why });
    }

    /// Notes what is wrong with all of it.
    pub(super) fn problem_of_all(&mut self, why: String) {
        self.problems.push(Problem { line: None, why });
    }

    /// Takes the next line. Signatures are verified by the keys, if there are any. An entry is handed to `each`, whatever
    /// is wrong with it.
    pub(super) fn take<E>(
        &mut self,
        line: Line<'_>,
        keys: &[VerifyingKey],
        each: impl FnOnce(&ReadEntry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.lines += 1;
        let line = match line {
            Line::Whole(line) => line,
            Line::TooLong => {
                self.problem(format!("longer than {} KiB, which no entry is", MAX_LINE >> 10));
                return Ok(());
            }
            Line::Torn(bytes) => {
                self.problem(format!(
                    "not whole: it ends after {bytes} bytes; what wrote it was interrupted. The first {} bytes of the log are whole lines",
                    self.whole_bytes
                ));
                return Ok(());
            }
        };
        self.whole_bytes += line.len() as u64;
        match Entry::parse(line) {
            Ok(entry) => {
                let entry_sha256 = sha256::of_bytes(line);
                let signed_by = self.check_signature(&entry, line, keys);
                self.check(&entry, &entry_sha256);
                each(&ReadEntry { entry: &entry, entry_sha256: &entry_sha256, signed_by: signed_by.as_deref() })
            }
            Err(why) => {
                self.is_over = matches!(why, LineError::Version(_));
                let rest = if self.is_over { "; it and what follows were not checked" } else { "" };
                self.problem(format!("{why}{rest}"));
                Ok(())
            }
        }
    }

    fn check(&mut self, entry: &Entry, entry_sha256: &str) {
        let number = entry.number;
        self.entry_count += 1;
        let expected = self.last.as_ref().map_or(0, |last| last.number).saturating_add(1);
        if number < expected {
            self.problem(format!("entry {number} is not in its place: it follows entry {}", expected - 1));
            return;
        }
        match number - expected {
            0 => self.check_link(entry),
            1 => self.problem(format!("entry {expected} is missing: this is entry {number}")),
            _ => self.problem(format!("entries {expected} to {} are missing: this is entry {number}", number - 1)),
        }
        if let Some(why) = self.last.as_ref().and_then(|last| clock_went_back(last, entry)) {
            self.warnings.push(why);
        }
        self.last = Some(Link {
            number,
            entry_sha256: entry_sha256.to_owned(),
            written_at: entry.written_at.clone(),
            size: entry.size,
            sha256: entry.sha256.clone(),
        });
    }

    /// Compares an entry with the one whose number is before its own.
    fn check_link(&mut self, entry: &Entry) {
        let Some(last) = &self.last else {
            self.manifest_sha256.clone_from(&entry.previous_sha256);
            if entry.changed.is_some() {
                self.problem("entry 1 says that the dump has changed, but nothing is before it".to_owned());
            }
            return;
        };
        let (before, number) = (last.number, entry.number);
        let is_same = (last.size, &last.sha256) == (entry.size, &entry.sha256);
        let is_explained =
            entry.changed.as_ref().map(|changed| (changed.size, &changed.sha256) == (last.size, &last.sha256));
        let is_linked = entry.previous_sha256.as_ref() == Some(&last.entry_sha256);
        if !is_linked {
            self.problem(format!("entry {before} was changed: its hash is not the one that entry {number} has"));
        } else if is_explained == Some(false) || is_explained.is_none() && !is_same {
            self.problem(format!("entry {number} is of another dump than entry {before}, and does not say why"));
        }
    }

    /// The key that an entry is signed with.
    fn check_signature(&mut self, entry: &Entry, line: &[u8], keys: &[VerifyingKey]) -> Option<String> {
        let signature = entry.signature.as_ref()?;
        self.signed_count += 1;
        let number = entry.number;
        let mut why = "not where an entry has it".to_owned();
        let text = std::str::from_utf8(line).ok().and_then(signed_text);
        for key in keys.iter().filter(|_| text.is_some()) {
            match key.verify(text.as_deref()?.as_bytes(), &format!("entry {number}"), signature.as_bytes()) {
                Ok(verified) => {
                    self.verified_count += 1;
                    self.verified_to = self.verified_to.max(Some(number));
                    return Some(verified.public_key);
                }
                Err(error) => why = error.to_string(),
            }
        }
        if text.is_none() || !keys.is_empty() {
            self.problem(format!("the signature of entry {number} is not one of the keys given: {why}"));
        }
        None
    }
}

/// That an entry was written before the one that it follows.
fn clock_went_back(last: &Link, entry: &Entry) -> Option<String> {
    let (before, after) = (last.written_at.as_deref()?, entry.written_at.as_deref()?);
    let number = entry.number;
    (after < before).then(|| {
        format!("entry {number} is dated {after}, before entry {}, {before}: a clock was not right", last.number)
    })
}
