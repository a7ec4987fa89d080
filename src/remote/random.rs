//! Names that nobody can guess, and that no other memtool has.

use std::fs::File;
use std::io::{self, Read};
use vmcore::units::hex_digits;

/// So many random bytes, in hexadecimal digits.
///
/// # Errors
///
/// The system has no random numbers.
pub fn digits<const BYTES: usize>() -> io::Result<String> {
    let mut random = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(hex_digits(&random))
}
