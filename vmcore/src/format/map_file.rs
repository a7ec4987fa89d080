//! The map beside a raw dump: which addresses its bytes come from, in memdump(1)'s format.
//!
//! A line `0xstart 0xend` for each run of addresses, the end exclusive, in the order of the dump.

use crate::error::{Error, Result};
use crate::opened::{Open, read_at_most};
use crate::text::without_comment;
use crate::units::parse_address;
use std::io::{self, Write};
use std::path::Path;

/// A longer list of segments is not read.
const MAX_LIST: u64 = 64 << 20;

/// Writes a map, adjacent runs as one line.
pub struct MapFile<'a> {
    out: Box<dyn Write + Send + 'a>,
    pending: Option<(u64, u64)>,
}

impl<'a> MapFile<'a> {
    /// A map into a sink.
    pub fn new(out: Box<dyn Write + Send + 'a>) -> Self {
        Self { out, pending: None }
    }

    /// Notes that the bytes of `start..end` were dumped next.
    pub fn add(&mut self, start: u64, end: u64) -> Result<()> {
        match &mut self.pending {
            Some(run) if run.1 == start => {
                run.1 = end;
                Ok(())
            }
            pending => {
                let done = pending.replace((start, end));
                self.write(done)
            }
        }
    }

    /// Writes what is left.
    pub fn finish(&mut self) -> Result<()> {
        let done = self.pending.take();
        self.write(done)?;
        self.out.flush().map_err(write_failed)
    }

    fn write(&mut self, run: Option<(u64, u64)>) -> Result<()> {
        match run {
            Some((start, end)) => writeln!(self.out, "{start:#x} {end:#x}").map_err(write_failed),
            None => Ok(()),
        }
    }
}

fn write_failed(source: io::Error) -> Error {
    Error::Io { what: "write the map".to_owned(), source }
}

/// Reads a list of segments: a line `START END`, the end exclusive, for each, as maps of dumps and listings
/// of segments have it. Further columns, empty lines and what follows `#` mean nothing.
///
/// # Errors
///
/// The line that is not understood, or a file that is too large or cannot be read.
pub fn read_list(path: &Path, open: Open) -> Result<Vec<(u64, u64)>> {
    let file = open(path).map_err(|source| Error::io("open", path, source))?;
    let read_failed = |source| Error::io("read", path, source);
    let bytes = read_at_most(file, MAX_LIST).map_err(read_failed)?.ok_or_else(|| {
        Error::Format(format!("{}: a list of segments has {} MiB at most", path.display(), MAX_LIST >> 20))
    })?;
    let text = io::read_to_string(bytes.as_slice()).map_err(read_failed)?;
    let mut ranges = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = without_comment(line);
        let mut fields = line.split_whitespace();
        let Some(start) = fields.next() else { continue };
        let range = fields.next().ok_or_else(|| "it has no end".to_owned()).and_then(|end| {
            let address = |text| parse_address(text).map_err(|error| error.to_string());
            let range = (address(start)?, address(end)?);
            if range.0 < range.1 { Ok(range) } else { Err("it is empty".to_owned()) }
        });
        let in_line = |why| Error::Format(format!("{}: line {}: {why}", path.display(), number + 1));
        ranges.push(range.map_err(in_line)?);
    }
    if ranges.is_empty() {
        return Err(Error::Format(format!("{}: there is no segment in it", path.display())));
    }
    Ok(ranges)
}
