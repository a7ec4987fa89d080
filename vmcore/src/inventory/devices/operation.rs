//! What is to be done with the blocks of a device.
//!
//! Source: `BIO_READ` and so on in `sys/sys/bio.h`.

/// Names of requests (`BIO_READ` and so on).
const OPERATIONS: [(u64, &str); 7] =
    [(1, "read"), (2, "write"), (3, "delete"), (4, "getattr"), (5, "flush"), (9, "zone"), (10, "speedup")];

/// What a request of GEOM's or a buffer's is to do, in the words of `BIO_READ` and so on; another number as such.
pub(super) fn operation(number: u64) -> String {
    let known = OPERATIONS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}
