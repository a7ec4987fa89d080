//! Outputs that are encrypted to recipients before they leave the process, and inputs that were, in the format of age(1)
//! (age-encryption.org/v1).
//!
//! - [`Recipients`]: to whom an output is encrypted, from `age1…`, public keys of ssh(1), or files of them;
//! - [`EncryptingWriter`]: what is written to it goes on encrypted;
//! - [`Identities`]: the private keys for inputs;
//! - [`input`]: an input that is encrypted is recognised by its first bytes, and decrypted into a file without a name.
//!
//! Neither a private key nor a line that could be one is ever in a message. Without the feature `age`, encrypted inputs are
//! still recognised; there are no recipients and no identities.

#[cfg(feature = "age")]
mod age_format;
#[cfg(not(feature = "age"))]
#[path = "age_format_absent.rs"]
mod age_format;
mod identities;
pub mod input;
mod recipients;
mod writer;

pub use identities::Identities;
pub use recipients::Recipients;
pub use writer::EncryptingWriter;

/// What the name of an encrypted file ends in where memtool chooses it.
pub const SUFFIX: &str = ".age";
