//! What was left out of a minidump that memtool made, at choice: in terms of `struct vm_page`, as makedumpfile's levels are.
//!
//! It is noted in the first page of the dump, behind `struct minidumphdr` of every architecture, where kernels write zeros
//! and libkvm reads nothing.

use crate::bounds::tail;
use std::fmt;

/// Where the note is in the first page.
pub const OFFSET: usize = 192;
/// Bytes of the note.
pub const LENGTH: usize = 64;

const MAGIC: [u8; 8] = *b"memtool-";
const VERSION: u32 = 1;

/// Pages that can be left out. None of them is the kernel's: a page that is wired, busy, or of the kernel's objects is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// Anonymous and shared memory of processes.
    User,
    /// Clean contents of files.
    Cache,
    /// Pages of zeros.
    Zero,
    /// Pages that nobody has allocated.
    Free,
}

impl Term {
    /// All terms.
    pub const ALL: [Self; 4] = [Self::User, Self::Cache, Self::Zero, Self::Free];

    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Cache => "cache",
            Self::Zero => "zero",
            Self::Free => "free",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Terms that were chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms(u32);

impl Terms {
    /// Whether a term is among them.
    pub const fn contains(self, term: Term) -> bool {
        self.0 & term.bit() != 0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that were chosen.
    pub fn iter(self) -> impl Iterator<Item = Term> {
        Term::ALL.into_iter().filter(move |term| self.contains(*term))
    }
}

impl FromIterator<Term> for Terms {
    fn from_iter<I: IntoIterator<Item = Term>>(terms: I) -> Self {
        Self(terms.into_iter().fold(0, |bits, term| bits | term.bit()))
    }
}

/// `user,cache`.
impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Term::name).collect();
        f.write_str(&names.join(","))
    }
}

/// What was left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// What was chosen.
    pub terms: Terms,
    /// Pages of each of [`Term::ALL`] that would be in the dump otherwise.
    pub pages: [u64; 4],
    /// Pages that the kernel leaves out of its own dumps, too (`PG_NODUMP`).
    pub undumpable: u64,
}

impl LeftOut {
    /// Pages of a term.
    pub fn pages_of(&self, term: Term) -> u64 {
        Term::ALL.iter().zip(self.pages).find_map(|(known, pages)| (*known == term).then_some(pages)).unwrap_or(0)
    }

    /// Counts pages of a term.
    pub fn add(&mut self, term: Term, pages: u64) {
        for (_, count) in Term::ALL.iter().zip(&mut self.pages).filter(|(known, _)| **known == term) {
            *count = count.saturating_add(pages);
        }
    }

    /// Pages in all.
    pub fn total(&self) -> u64 {
        self.pages.iter().fold(self.undumpable, |sum, pages| sum.saturating_add(*pages))
    }

    /// The note. Its integers are little-endian in every dump.
    pub fn encode(&self) -> [u8; LENGTH] {
        let numbers = self.pages.into_iter().chain([self.undumpable]).flat_map(u64::to_le_bytes);
        let fields = [VERSION, self.terms.0].into_iter().flat_map(u32::to_le_bytes);
        let mut bytes = [0; LENGTH];
        bytes.iter_mut().zip(MAGIC.into_iter().chain(fields).chain(numbers)).for_each(|(to, from)| *to = from);
        bytes
    }

    /// The note in the first page of a dump, if there is one.
    pub fn decode(first_page: &[u8]) -> Option<Self> {
        let note = tail(first_page, OFFSET);
        let (magic, rest) = note.split_first_chunk::<8>()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (terms, rest) = rest.split_first_chunk()?;
        if *magic != MAGIC || u32::from_le_bytes(*version) != VERSION {
            return None;
        }
        let [user, cache, zero, free, undumpable, ..] = *rest.as_chunks().0 else { return None };
        let pages = [user, cache, zero, free].map(u64::from_le_bytes);
        let known: Terms = Term::ALL.into_iter().collect();
        let terms = Terms(u32::from_le_bytes(*terms) & known.0);
        Some(Self { terms, pages, undumpable: u64::from_le_bytes(undumpable) })
    }
}

/// What pages are that need not be in a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spare {
    /// Of this term; of none, they are left out as pages of zeros only.
    Of(Option<Term>),
    /// The kernel leaves them out of its own dumps.
    NotForDumps,
}

/// Pages that need not be in a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRange {
    /// Physical address of the first page.
    pub start: u64,
    /// The address behind the last one.
    pub end: u64,
    /// What they are.
    pub spare: Spare,
}
