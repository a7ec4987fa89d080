//! The map beside a raw dump: which addresses its bytes come from, in memdump(1)'s format.
//!
//! A line `0xstart 0xend` for each run of addresses, the end exclusive, in the order of the dump.

use crate::error::{Error, Result};
use std::io::Write;

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

fn write_failed(source: std::io::Error) -> Error {
    Error::Io { what: "write the map".to_owned(), source }
}
