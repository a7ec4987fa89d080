//! What can be wrong with a container.

use std::io;

/// Why a container cannot be read. Offsets count from the end of the header, in what is decompressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It ends within its header.
    #[error("CTF of {0} bytes has no header")]
    NoHeader(usize),

    /// It does not begin as CTF does.
    #[error("it is no CTF: it begins with {0:#06x}, not 0xcff1")]
    Magic(u16),

    /// It is GNU's format, of the same name (`.ctf`, magic 0xdff2).
    #[error("it is GNU's CTF, which is another format than FreeBSD's")]
    Gnu,

    /// It is of a version other than 2 and 3.
    #[error("its version, {0}, is not supported: only 2 and 3 are")]
    Version(u8),

    /// Its sections are not in order, or reach beyond its end.
    #[error("the header of the CTF is damaged: its sections are not in order")]
    Layout,

    /// It has more bytes than any kernel's.
    #[error("the CTF would have {0} bytes, more than any kernel's")]
    TooLarge(u64),

    /// It cannot be decompressed.
    #[error("the CTF cannot be decompressed: {0}")]
    Compression(#[source] io::Error),

    /// It ends before what its header says.
    #[error("the CTF is truncated: {found} bytes of {expected}")]
    Truncated {
        /// Bytes that there are behind the header.
        found: u64,
        /// Bytes that there should be.
        expected: u64,
    },

    /// Another container follows: objects were linked whose types were not merged (ctfmerge(1)).
    #[error("the CTF is that of several objects, whose types were not merged (ctfmerge(1))")]
    Unmerged,

    /// A type reaches beyond the end of all types.
    #[error("the CTF is damaged: the type at offset {0} reaches beyond the end")]
    Type(usize),

    /// There is no such kind of types.
    #[error("the CTF is damaged: the type at offset {offset} is of kind {kind}, which there is not")]
    Kind {
        /// Where the type is.
        offset: usize,
        /// Its kind.
        kind: u32,
    },

    /// What is at an offset has a name that is not in the string table, does not end, or is no text.
    #[error("the CTF is damaged: what is at offset {0} has no name that could be one")]
    Name(usize),

    /// What is said of a function reaches beyond the end of all functions.
    #[error("the CTF is damaged: the function at offset {0} reaches beyond the end")]
    Function(usize),

    /// There are not as many symbols as have an entry: the symbol table is not the one that it was made for.
    #[error("the CTF is for {expected} {what} of the symbol table, which has {found}")]
    Symbols {
        /// `variables` or `functions`.
        what: &'static str,
        /// Entries that there are.
        expected: usize,
        /// Symbols that there are.
        found: usize,
    },
}

/// `Result` with the crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
