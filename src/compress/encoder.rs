//! A writer that compresses, on all processors.

use super::Compression;
use super::frames::Frames;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::thread;

/// A sink that takes something only while it is open. flate2's encoder ends its stream when it is dropped; of
/// a dump that failed nothing shall look whole.
#[derive(Debug)]
pub(super) struct Gate<W> {
    pub(super) sink: W,
    open: bool,
}

impl<W: Write> Write for Gate<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.open { self.sink.write(bytes) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

pub(super) type Gzip<W> = flate2::write::GzEncoder<Gate<W>>;

/// Does something with a gzip encoder that may write.
fn with_open<W: Write, R>(encoder: &mut Gzip<W>, work: impl FnOnce(&mut Gzip<W>) -> R) -> R {
    encoder.get_mut().open = true;
    let result = work(encoder);
    encoder.get_mut().open = false;
    result
}

pub(super) enum EncoderKind<W: Write> {
    None(W),
    Gzip(Gzip<W>),
    Zstd(Frames<W>),
}

/// A writer that compresses what it is given into a sink. Dropped without [`Encoder::finish`], it leaves a
/// stream without an end.
pub struct Encoder<W: Write>(pub(super) EncoderKind<W>);

impl<W: Write> Encoder<W> {
    /// Begins a stream.
    ///
    /// # Errors
    ///
    /// zstd cannot allocate its memory.
    pub fn new(sink: W, how: Compression) -> io::Result<Self> {
        Self::with_processors(sink, how, thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }

    /// Begins a stream that is compressed on at most this many processors.
    ///
    /// # Errors
    ///
    /// zstd cannot allocate its memory.
    pub fn with_processors(sink: W, how: Compression, processors: NonZeroUsize) -> io::Result<Self> {
        Ok(Self(match how {
            Compression::None => EncoderKind::None(sink),
            Compression::Gzip => {
                let gate = Gate { sink, open: false };
                EncoderKind::Gzip(flate2::write::GzEncoder::new(gate, flate2::Compression::default()))
            }
            Compression::Zstd(level) => EncoderKind::Zstd(Frames::new(sink, level, processors)?),
        }))
    }

    /// Ends the stream and hands back the sink, which is not flushed.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            EncoderKind::None(sink) => Ok(sink),
            EncoderKind::Gzip(mut encoder) => {
                with_open(&mut encoder, Gzip::try_finish)?;
                Ok(encoder.finish()?.sink)
            }
            EncoderKind::Zstd(frames) => frames.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            EncoderKind::None(sink) => sink.write(bytes),
            EncoderKind::Gzip(encoder) => with_open(encoder, |encoder| encoder.write(bytes)),
            EncoderKind::Zstd(frames) => frames.write(bytes),
        }
    }

    /// Ends a block, so that what was written so far can be decompressed: it costs size.
    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            EncoderKind::None(sink) => sink.flush(),
            EncoderKind::Gzip(encoder) => with_open(encoder, Write::flush),
            EncoderKind::Zstd(frames) => frames.flush(),
        }
    }
}
