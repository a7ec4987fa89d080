//! CTF, the types of C that FreeBSD's kernels and modules have in their section `.SUNW_ctf`: structures, unions,
//! enumerations, what they are made of, and which variable and function has which.
//!
//! The format is specified in ctf(5) and `sys/sys/ctf.h`; what reads it there is
//! `cddl/contrib/opensolaris/lib/libctf`. A [`Container`] is read from a section's bytes; its [`types`](Container::types)
//! refer to each other by number, also to ones that follow. GNU's format of the same name is another one.
//!
//! Nothing in a file is believed: every number that says how much there is, is compared with how much there is, and
//! memory is taken for what was read, not for what a header says.
//!
//! ```
//! # use vmcore_synth::{Endianness, ctf as synth};
//! # let mut builder = synth::Builder::new(synth::CtfSpec::new(Endianness::Little, 8));
//! # let int = builder.integer("int", 4, synth::SIGNED);
//! # builder.record("timeval", &[("tv_sec", int), ("tv_usec", int)]);
//! # let section = builder.build();
//! use ctf::{Container, Kind};
//!
//! let container = Container::read(&section)?;
//! for found in container.types() {
//!     let found = found?;
//!     if let Kind::Structure(structure) = found.kind {
//!         println!("struct {} has {} bytes", found.name, structure.size);
//!         for member in structure.members {
//!             let member = member?;
//!             println!("    {} at bit {}", member.name, member.bit_offset);
//!         }
//!     }
//! }
//! # Ok::<(), ctf::Error>(())
//! ```

#![forbid(unsafe_code)]

mod bytes;
mod container;
mod error;
mod symbols;
mod types;

pub use bytes::Endianness;
pub use container::{Container, Label, MAX_UNPACKED};
pub use error::{Error, Result};
pub use symbols::{EntryCount, SymbolFacts, SymbolKind, SymbolTypes, Typed};
pub use types::{
    Aggregate, Enumeration, Enumerator, Enumerators, Float, Function, Integer, Kind, Member, Members, Parameters,
    Reference, Type, Types,
};

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
