//! Encrypted dumps, decrypted into files.

use crate::dump::sink::{Packing, Target, with_sink};
use crate::error::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use vmcore::bounds::filled;

/// Bytes that are written at once.
const BUFFER: usize = 1 << 16;

/// Writes what a [`vmcore::decrypt::Decrypter`] decrypts to a file, with holes for zeros, and tells how many bytes that were;
/// messages have the name of the encrypted dump.
///
/// # Errors
///
/// The dump cannot be read, or the file not be written.
pub fn write_decrypted(mut from: impl Read, name: &Path, to: File, packing: Packing<'_>) -> Result<u64> {
    let failed = |source| Error::io("decrypt", name, source);
    with_sink(Target::File(to), packing, false, |sink| {
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = from.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                return Ok(());
            }
            sink.write(filled(&buffer, read).map_err(failed)?)?;
        }
    })
    .map(|((), written, _)| written.bytes)
}
