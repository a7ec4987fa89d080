//! What is written goes on encrypted, or as it is if it has no recipients.

use super::Recipients;
use super::age_format::Writer;
use std::io::{self, Write};

enum Kind<W> {
    Plain(W),
    Encrypted(Writer<W>),
}

/// A writer that encrypts what it is given into a sink. Dropped without [`EncryptingWriter::finish`], it leaves a stream
/// without an end.
pub struct EncryptingWriter<W>(Kind<W>);

impl<W: Write> EncryptingWriter<W> {
    /// Begins a stream; for nobody it stays as it is.
    ///
    /// # Errors
    ///
    /// Those of the sink, which gets a header.
    pub fn new(sink: W, recipients: &Recipients) -> io::Result<Self> {
        let kind = match recipients.is_empty() {
            true => Kind::Plain(sink),
            false => Kind::Encrypted(Writer::new(sink, recipients.keys())?),
        };
        Ok(Self(kind))
    }

    /// Ends the stream and hands back the sink, which is not flushed.
    ///
    /// # Errors
    ///
    /// Those of the sink.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Kind::Plain(sink) => Ok(sink),
            Kind::Encrypted(writer) => writer.finish(),
        }
    }
}

impl<W: Write> Write for EncryptingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Plain(sink) => sink.write(bytes),
            Kind::Encrypted(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Plain(sink) => sink.flush(),
            Kind::Encrypted(writer) => writer.flush(),
        }
    }
}
