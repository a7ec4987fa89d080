//! How pages are compressed.

use super::lzo;
#[cfg(feature = "gzip")]
use crate::bounds::saturating_usize;

/// How bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// As they are.
    Plain,
    Zlib,
    Lzo,
    Snappy,
    Zstd,
}

impl Codec {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "none",
            Self::Zlib => "zlib",
            Self::Lzo => "lzo",
            Self::Snappy => "snappy",
            Self::Zstd => "zstd",
        }
    }

    /// Decompresses what fills the buffer.
    ///
    /// # Errors
    ///
    /// It does not fill it, or more than that; or it is damaged; or this build does not have the codec.
    pub fn decompress(self, stored: &[u8], out: &mut [u8]) -> Result<(), String> {
        let length = match self {
            Self::Plain if stored.len() == out.len() => {
                out.copy_from_slice(stored);
                out.len()
            }
            Self::Plain => stored.len(),
            Self::Zlib => inflate(stored, out)?,
            Self::Lzo => lzo::decompress(stored, out).ok_or("the LZO data are damaged")?,
            Self::Snappy => snappy(stored, out)?,
            Self::Zstd => zstd(stored, out)?,
        };
        if length == out.len() { Ok(()) } else { Err(format!("{length} bytes are in place of {}", out.len())) }
    }
}

#[cfg(feature = "gzip")]
fn inflate(stored: &[u8], out: &mut [u8]) -> Result<usize, String> {
    let mut inflate = flate2::Decompress::new(true);
    let done = inflate.decompress(stored, out, flate2::FlushDecompress::Finish).map_err(|error| error.to_string())?;
    match done {
        flate2::Status::StreamEnd => Ok(saturating_usize(inflate.total_out())),
        _ => Err("the zlib stream does not end".to_owned()),
    }
}

#[cfg(feature = "snappy")]
fn snappy(stored: &[u8], out: &mut [u8]) -> Result<usize, String> {
    snap::raw::Decoder::new().decompress(stored, out).map_err(|error| error.to_string())
}

#[cfg(feature = "zstd")]
fn zstd(stored: &[u8], out: &mut [u8]) -> Result<usize, String> {
    zstd::bulk::decompress_to_buffer(stored, out).map_err(|error| error.to_string())
}

#[cfg(not(feature = "gzip"))]
fn inflate(_: &[u8], _: &mut [u8]) -> Result<usize, String> {
    Err(missing(Codec::Zlib))
}

#[cfg(not(feature = "snappy"))]
fn snappy(_: &[u8], _: &mut [u8]) -> Result<usize, String> {
    Err(missing(Codec::Snappy))
}

#[cfg(not(feature = "zstd"))]
fn zstd(_: &[u8], _: &mut [u8]) -> Result<usize, String> {
    Err(missing(Codec::Zstd))
}

#[cfg(not(all(feature = "gzip", feature = "snappy", feature = "zstd")))]
fn missing(codec: Codec) -> String {
    format!("it is compressed with {}, which this build does not support", codec.name())
}
