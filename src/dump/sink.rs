//! Where a dump goes: a file with holes or a stream, compressed and encrypted or not, counted and hashed on the way.

use crate::compress::{Compression, Encoder, overlapped};
use crate::encryption::{EncryptingWriter, Recipients};
use crate::error::{Error, Result};
use crate::files;
use crate::remote::{Delivered, Upload};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Write};
use vmcore::bounds::head;
use vmcore::errno;
use vmcore::format::writer::SparseWrite;
use vmcore::opened::{WRITE_SIZE, write_all_at};
use vmcore::units::hex_digits;

static ZEROS: [u8; 65536] = [0; 65536];

/// What the bytes are written to in the end.
#[derive(Debug)]
pub enum Target {
    /// A new regular file, in which holes can be left.
    File(File),
    /// Anything that only takes bytes in order, such as standard output.
    Stream(File),
    /// Another host.
    Remote(Box<dyn Upload>),
}

impl Target {
    /// Standard output, say. A pipe is made larger, where the system does not do that by itself.
    pub fn stream(file: File) -> Self {
        files::enlarge_pipe(&file);
        Self::Stream(file)
    }

    /// Makes sure that everything has arrived at another host; `None` where it is for none.
    ///
    /// # Errors
    ///
    /// The connection broke before that.
    pub fn complete(self) -> Result<Option<Delivered>> {
        match self {
            Self::Remote(upload) => upload.finish().map(Some),
            Self::File(_) | Self::Stream(_) => Ok(None),
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) | Self::Stream(file) => file.write(head(bytes, WRITE_SIZE)),
            Self::Remote(upload) => upload.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) | Self::Stream(file) => file.flush(),
            Self::Remote(upload) => upload.flush(),
        }
    }
}

/// What was written in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Bytes, after compression and encryption, holes included.
    pub bytes: u64,
    /// SHA-256 of them in hexadecimal, if it was wanted.
    pub sha256: Option<String>,
}

/// Counts and hashes what goes to the target.
struct HashingWriter {
    target: Target,
    bytes: u64,
    hash: Option<Sha256>,
}

impl HashingWriter {
    fn note(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
    }

    /// Writes bytes that come so far behind the start.
    fn put(&mut self, bytes: &[u8], position: u64) -> io::Result<()> {
        match &self.target {
            Target::File(file) => write_all_at(file, bytes, position)?,
            _ => return self.write_all(bytes),
        }
        self.note(bytes);
        Ok(())
    }

    /// Leaves a hole in a file, and writes zeros elsewhere.
    fn put_zeros(&mut self, count: u64) -> io::Result<()> {
        match &self.target {
            Target::File(_) if self.hash.is_none() => {
                self.bytes += count;
                Ok(())
            }
            Target::File(_) => for_zeros(count, |zeros| {
                self.note(zeros);
                Ok(())
            }),
            _ => for_zeros(count, |zeros| self.write_all(zeros)),
        }
    }

    /// The last bytes may be a hole.
    fn end(&mut self) -> io::Result<()> {
        match &self.target {
            Target::File(file) => file.set_len(self.bytes),
            _ => self.flush(),
        }
    }
}

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.target.write(bytes)?;
        self.note(head(bytes, written));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.target.flush()
    }
}

/// Calls with blocks of zeros, so many bytes in all.
fn for_zeros(count: u64, mut block: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut remaining = count;
    while remaining > 0 {
        let zeros = head(&ZEROS, remaining);
        block(zeros)?;
        remaining -= zeros.len() as u64;
    }
    Ok(())
}

/// What is done with the bytes of a dump before they are written: they are compressed, and then encrypted.
#[derive(Debug, Clone, Copy)]
pub struct Packing<'a> {
    /// How they are compressed.
    pub compression: Compression,
    /// Who can decrypt them; of nobody, they are not encrypted.
    pub recipients: &'a Recipients,
}

/// No recipients.
static NOBODY: Recipients = Recipients::nobody();

impl Packing<'_> {
    /// Compressed so, and not encrypted.
    pub fn compressed(compression: Compression) -> Self {
        Self { compression, recipients: &NOBODY }
    }

    /// Whether the bytes are written as they are, so that holes can be left.
    fn is_none(&self) -> bool {
        self.compression == Compression::None && self.recipients.is_empty()
    }
}

enum SinkKind<'a> {
    Plain(&'a mut HashingWriter),
    Packed(Box<Encoder<EncryptingWriter<&'a mut (dyn Write + Send)>>>),
}

/// Takes the bytes of a dump; zeros become a hole in a file that is neither compressed nor encrypted.
struct Sink<'a> {
    kind: SinkKind<'a>,
    /// Bytes taken, before compression.
    position: u64,
}

impl SparseWrite for Sink<'_> {
    fn position(&self) -> u64 {
        self.position
    }

    fn write(&mut self, bytes: &[u8]) -> vmcore::Result<()> {
        match &mut self.kind {
            SinkKind::Plain(tally) => tally.put(bytes, self.position),
            SinkKind::Packed(encoder) => encoder.write_all(bytes),
        }
        .map_err(write_failed)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn zeros(&mut self, count: u64) -> vmcore::Result<()> {
        match &mut self.kind {
            SinkKind::Plain(tally) => tally.put_zeros(count),
            SinkKind::Packed(encoder) => for_zeros(count, |zeros| encoder.write_all(zeros)),
        }
        .map_err(write_failed)?;
        self.position += count;
        Ok(())
    }
}

/// Runs work on a sink before a target. Nothing but what is packed reaches the target. Hands back the work's result, what was
/// written, and the target, to be completed.
///
/// # Errors
///
/// Those of the work and of the target.
pub fn with_sink<R>(
    target: Target,
    packing: Packing<'_>,
    hash: bool,
    work: impl FnOnce(&mut dyn SparseWrite) -> Result<R>,
) -> Result<(R, Written, Target)> {
    let mut tally = HashingWriter { target, bytes: 0, hash: hash.then(Sha256::new) };
    let result = if packing.is_none() {
        let result = work(&mut Sink { kind: SinkKind::Plain(&mut tally), position: 0 })?;
        tally.end().map_err(write_failed)?;
        result
    } else {
        // Writing goes on while the next bytes are compressed.
        let (written, result) = overlapped(tally, |out| {
            let writer = EncryptingWriter::new(out as &mut (dyn Write + Send), packing.recipients);
            let encoder = writer.and_then(|writer| Encoder::new(writer, packing.compression)).map_err(write_failed)?;
            let mut sink = Sink { kind: SinkKind::Packed(Box::new(encoder)), position: 0 };
            let result = work(&mut sink)?;
            if let SinkKind::Packed(encoder) = sink.kind {
                encoder.finish().and_then(EncryptingWriter::finish).map_err(write_failed)?;
            }
            Ok::<R, Error>(result)
        })
        .map_err(write_failed)?;
        tally = written;
        result?
    };
    let sha256 = tally.hash.map(|hash| hex_digits(&hash.finalize()));
    Ok((result, Written { bytes: tally.bytes, sha256 }, tally.target))
}

pub(crate) fn write_failed(source: io::Error) -> Error {
    let source = match source.kind() {
        io::ErrorKind::FileTooLarge => {
            let why = "larger than the file system or the file size limit (ulimit -f) allows";
            io::Error::new(source.kind(), format!("{}: {why}", errno::reason(&source)))
        }
        _ => source,
    };
    Error::Io { what: "write the dump".to_owned(), source }
}
