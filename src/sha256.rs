//! SHA-256, in hexadecimal digits as manifests and logs have it.

use sha2::{Digest, Sha256};
use std::io::{self, Read};
use vmcore::bounds::filled;
use vmcore::units::hex_digits;

/// So many bytes are read at a time.
const PART: usize = 1 << 20;

/// Of bytes.
pub fn of_bytes(bytes: &[u8]) -> String {
    hex_digits(&Sha256::digest(bytes))
}

/// How many bytes a reader has, and their SHA-256. Not much more than `at_most` are read: then there are more, and the hash is
/// of some of them. `count` is told of bytes as they are read.
///
/// # Errors
///
/// Those of the reader.
pub fn of_reader(reader: &mut impl Read, at_most: u64, mut count: impl FnMut(u64)) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut size = 0_u64;
    let mut buffer = vec![0; PART];
    while size <= at_most {
        let read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(filled(&buffer, read)?);
        size = size.saturating_add(read as u64);
        count(read as u64);
    }
    Ok((size, hex_digits(&hash.finalize())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of "abc" (FIPS 180-2, appendix B.1).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_reader_is_read_to_its_end_or_until_it_is_longer_than_it_may_be() {
        assert_eq!(of_bytes(b"abc"), ABC);
        let mut counted = 0;
        assert_eq!(of_reader(&mut &b"abc"[..], 3, |read| counted += read).unwrap(), (3, ABC.to_owned()));
        assert_eq!(counted, 3);
        let long = vec![0; 3 * PART];
        let (size, _) = of_reader(&mut &long[..], 10, |_| {}).unwrap();
        assert!(size > 10 && size < long.len() as u64, "{size}");
    }
}
