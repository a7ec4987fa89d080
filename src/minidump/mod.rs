//! Minidumps: the format in which FreeBSD kernels dump themselves (`minidump_machdep.c` of each
//! architecture).
//!
//! The pages follow the format's own tables: a header page, the message buffer, `dump_avail`, the page
//! bitmap, page tables, and then one page for each bit that is set.

pub mod amd64;

use crate::kerneldump::Compression;
use std::io::{self, Write};

/// The kernel's default level for both compressors would cost more than it gains here.
const ZSTD_LEVEL: i32 = 3;

/// Runs a writer behind a compressor and hands the sink back.
pub fn compressed<W: Write>(
    mut sink: W,
    compression: Compression,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<W> {
    match compression {
        Compression::None => {
            write(&mut sink)?;
            Ok(sink)
        }
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(sink, flate2::Compression::default());
            write(&mut encoder)?;
            encoder.finish()
        }
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(sink, ZSTD_LEVEL)?;
            write(&mut encoder)?;
            encoder.finish()
        }
    }
}
