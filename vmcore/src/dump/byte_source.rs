//! A file or device that holds a dump: bytes at known places, of a known length.

use super::companion;
pub use super::companion::Beside;
pub use super::read_at::ReadAt;
use super::running::{Row, RunningMachine};
use super::saved;
use crate::architecture::Architecture;
use crate::bounds::{head_mut, part_mut, tail};
use crate::error::{Error, Result};
use crate::memory::WriteError;
use crate::opened::{Open, is_device, open_for_writing, open_plainly, read_at, read_exact_at, write_all_at};
use crate::progress::Progress;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Devices are read in blocks of so many bytes: a multiple of every sector size.
const BLOCK: usize = 1 << 16;

/// Where the first data of a file is from a place on; where there is none, the range is empty, and at the file's end.
///
/// # Errors
///
/// The file system does not tell holes from data; the place is behind the file's end.
pub type NextData = fn(&File, u64) -> io::Result<Range<u64>>;

/// Holes that are told of at most, which are 16 MiB.
const MAX_HOLES: usize = 1 << 20;

/// A file or device, opened for reading, and for writing if that was asked for. A clone is of the same one.
#[derive(Clone)]
pub struct ByteSource {
    bytes: Arc<Bytes>,
    length: u64,
    /// Bytes of it that are in the file; zeros follow, which are not.
    stored: u64,
    sector_size: Option<u32>,
    writer: Option<Arc<File>>,
    trouble: Trouble,
    /// The partition to look into.
    partition: Option<String>,
    /// The file that belongs beside it.
    beside: Option<(Beside, Box<Self>)>,
    /// Whether it is the memory of a machine whose state is needed to find addresses in it, and is not there.
    lacks_state: bool,
    next_data: Option<NextData>,
    /// The machine whose memory it is.
    running: Option<Arc<RunningMachine>>,
}

/// Why bytes could not be read that are in no file as they are, in more words than an errno has: what compresses them is
/// damaged, say. Known once it was tried; the first reason counts.
#[derive(Debug, Clone, Default)]
pub struct Trouble(Arc<OnceLock<String>>);

impl Trouble {
    /// The reason, if there is one by now.
    pub fn reason(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    fn note(&self, error: &io::Error) {
        if error.raw_os_error().is_none() && error.kind() != io::ErrorKind::Interrupted {
            let _ = self.0.set(error.to_string());
        }
    }
}

impl ByteSource {
    /// Opens a file or a device.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or has no length: a pipe or /dev/mem, say.
    pub fn open(path: &Path) -> Result<Self> {
        let file = open_plainly(path).map_err(|source| Error::io("open", path, source))?;
        Self::from_opened(path, file, open_plainly)
    }

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or is a device or a symbolic link.
    pub fn open_for_writing(path: &Path) -> Result<Self> {
        let failed = |source| Error::io("open", path, source);
        let writer = open_for_writing(path).map_err(failed)?;
        let file = writer.try_clone().map_err(failed)?;
        Ok(Self::from_opened(path, file, open_plainly)?.with_writer(writer))
    }

    /// A file or device that is open for reading. Zeros that savecore(8) has left out at the end of a file are added;
    /// `open` opens the `info.N` beside it that tells of them.
    ///
    /// # Errors
    ///
    /// It has no length: it is a pipe or /dev/mem, say.
    pub fn from_opened(path: &Path, mut file: File, open: Open) -> Result<Self> {
        let kind = file.metadata().map_err(|source| Error::io("look at", path, source))?.file_type();
        let is_device = is_device(kind);
        let length = if is_device || kind.is_file() { file.seek(SeekFrom::End(0)).ok() } else { None };
        match length {
            Some(length) if is_device && length > 0 => Ok(Self::with_length(file, length, true)),
            Some(stored) if !is_device => {
                let length = saved::length(path, &file, stored, open).unwrap_or(stored);
                let beside = companion::find(path, open).and_then(|(kind, file)| {
                    let length = file.metadata().ok()?.len();
                    Some((kind, Box::new(Self::with_length(file, length, false))))
                });
                let lacks_state = companion::lacks_state(path, length, beside.as_ref().map(|(kind, _)| *kind));
                Ok(Self { length, beside, lacks_state, ..Self::with_length(file, stored, false) })
            }
            _ if path.starts_with("/dev/vmm") => Err(Error::Refused(format!(
                "{} is a bhyve machine that runs: bhyvectl --checkpoint writes a file that can be read",
                path.display()
            ))),
            _ => {
                Err(Error::Refused(format!("{} is neither a regular file nor a device of known size", path.display())))
            }
        }
    }

    /// A disk or partition that is open for reading, of so many bytes, and so many in each sector.
    pub fn from_disk(file: File, length: u64, sector_size: u32) -> Self {
        Self { sector_size: Some(sector_size), ..Self::with_length(file, length, true) }
    }

    /// Lets its bytes be changed through a file that is open for writing, and is the same.
    #[must_use]
    pub fn with_writer(self, writer: File) -> Self {
        Self { writer: Some(Arc::new(writer)), ..self }
    }

    /// Names the partition that a dump is looked for in, if any: `3`, `1b`, `p3`, or its label. Without one, all are searched where the
    /// bytes are those of a disk.
    #[must_use]
    pub fn with_partition(self, partition: Option<String>) -> Self {
        Self { partition, ..self }
    }

    /// The partition that was named.
    pub fn partition(&self) -> Option<&str> {
        self.partition.as_deref()
    }

    /// Can tell the holes of a file, of which it is asked for with this.
    #[must_use]
    pub fn with_next_data(self, next_data: NextData) -> Self {
        Self { next_data: Some(next_data), ..self }
    }

    /// Holes of at least so many bytes in a part of it, as far as they are known: they are zeros, which need not be read.
    /// What is not known to be one may be one.
    pub fn holes(&self, part: Range<u64>, smallest: u64) -> Vec<Range<u64>> {
        let (Bytes::File(file), Some(next_data)) = (&*self.bytes, self.next_data) else { return Vec::new() };
        let end = part.end.min(self.length);
        let mut at = part.start;
        let mut holes = Vec::new();
        while at < end && holes.len() < MAX_HOLES {
            let Ok(data) = next_data(file, at) else { break };
            let hole = at..data.start.min(end);
            if hole.end.saturating_sub(hole.start) >= smallest {
                holes.push(hole);
            }
            if data.end <= at {
                break;
            }
            at = data.end;
        }
        holes
    }

    /// Writes bytes over those that are there.
    ///
    /// # Errors
    ///
    /// Those of write(2); it was not opened for that, or it ends before the last byte.
    pub fn write_at(&self, at: u64, bytes: &[u8]) -> Result<(), WriteError> {
        let writer = self.writer.as_ref().ok_or(WriteError::ReadOnly)?;
        if at.checked_add(bytes.len() as u64).is_none_or(|end| end > self.length) {
            return Err(WriteError::Absent);
        }
        Ok(write_all_at(writer, bytes, at)?)
    }

    /// Writes bytes over those that are known to be there, and has them on disk. A device takes whole sectors only.
    ///
    /// # Errors
    ///
    /// Those of read(2), write(2) and fsync(2); it was not opened for that; other bytes are there.
    pub fn replace(&self, at: u64, known: &[u8], bytes: &[u8]) -> io::Result<()> {
        let writer = self.writer.as_ref().ok_or_else(|| io::Error::other("it was not opened for writing"))?;
        let mut there = vec![0; known.len()];
        read_exact_at(writer, &mut there, at)?;
        if there != known {
            return Err(io::Error::other("the file to be replaced has changed"));
        }
        write_all_at(writer, bytes, at)?;
        writer.sync_all()
    }

    /// A file that is open already.
    ///
    /// # Errors
    ///
    /// Its length cannot be told.
    pub fn from_file(file: &File) -> io::Result<Self> {
        Ok(Self::with_length(file.try_clone()?, file.metadata()?.len(), false))
    }

    /// Bytes in memory, as if they were in a file.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let length = bytes.len() as u64;
        Self::from_parts(Bytes::Memory(bytes), length)
    }

    /// So many bytes that are elsewhere.
    pub fn from_elsewhere(bytes: Box<dyn ReadAt>, length: u64) -> Self {
        Self::from_parts(Bytes::Elsewhere(bytes), length)
    }

    /// The memory of a virtual machine that runs, in ranges that begin at a physical address and end before another one,
    /// and what its processors are. `memory` reads by physical addresses, and is asked for addresses in these ranges only.
    pub fn from_running(memory: Box<dyn ReadAt>, ranges: Vec<(u64, u64)>, architecture: Option<Architecture>) -> Self {
        let machine = RunningMachine::new(ranges, architecture);
        let row = Self::from_elsewhere(Box::new(Row::new(&machine, memory)), machine.length());
        Self { running: Some(Arc::new(machine)), ..row }
    }

    /// The machine that runs, if it is the memory of one.
    pub(super) fn running(&self) -> Option<&RunningMachine> {
        self.running.as_deref()
    }

    fn from_parts(bytes: Bytes, length: u64) -> Self {
        Self {
            bytes: Arc::new(bytes),
            length,
            stored: length,
            sector_size: None,
            writer: None,
            trouble: Trouble::default(),
            partition: None,
            beside: None,
            lacks_state: false,
            next_data: None,
            running: None,
        }
    }

    fn with_length(file: File, length: u64, is_device: bool) -> Self {
        let bytes = if is_device {
            Bytes::Device(Blocks { file, last: Mutex::new((0, Vec::new())) })
        } else {
            Bytes::File(file)
        };
        Self::from_parts(bytes, length)
    }

    /// The file that belongs beside it, such as the state of a virtual machine beside its memory, and what it is.
    pub fn beside(&self) -> Option<(Beside, &Self)> {
        self.beside.as_ref().map(|(kind, file)| (*kind, &**file))
    }

    /// Whether it is the memory of a machine, and what tells the addresses in it belongs beside it and is not there.
    pub(super) fn lacks_state(&self) -> bool {
        self.lacks_state
    }

    /// The file that belongs beside it; or itself, if there is none.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(super) fn into_beside(self) -> std::result::Result<Self, Self> {
        match self.beside {
            Some((_, file)) => Ok(*file),
            None => Err(self),
        }
    }

    /// Bytes in all.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Tells later why something could not be read.
    pub fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    /// Bytes at its end that savecore(8) has left out, and that are read as zeros.
    pub fn left_out(&self) -> u64 {
        self.length.saturating_sub(self.stored)
    }

    /// Bytes of a sector, of a device that tells.
    pub fn sector_size(&self) -> Option<u32> {
        self.sector_size
    }

    /// Fills the buffer as far as there are bytes, and tells how many there were.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let buffer = head_mut(buffer, self.length.saturating_sub(at));
        let mut done = 0;
        while let Some(rest @ [_, ..]) = buffer.get_mut(done..) {
            match self.bytes.read_at(at + done as u64, rest) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.trouble.note(&error);
                    return Err(error);
                }
            }
        }
        if self.left_out() > 0 && at.saturating_add(done as u64) >= self.stored {
            part_mut(buffer, done..).fill(0);
            return Ok(buffer.len());
        }
        Ok(done)
    }

    /// So many bytes from a place on; `None` where it ends before.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub(super) fn array_at<const N: usize>(&self, at: u64) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        Ok((self.read_at(at, &mut bytes)? == N).then_some(bytes))
    }

    /// Reads part of it from front to back; the progress counts bytes read.
    pub fn part<'a>(&'a self, start: u64, end: u64, progress: &'a Progress) -> SourceReader<'a> {
        SourceReader { volume: self, at: start, end: end.min(self.length), progress }
    }
}

/// Part of a volume, read from front to back.
pub struct SourceReader<'a> {
    volume: &'a ByteSource,
    at: u64,
    end: u64,
    progress: &'a Progress,
}

impl SourceReader<'_> {
    /// Bytes that are left.
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    /// Leaves out so many bytes.
    pub fn skip(&mut self, bytes: u64) {
        self.at = self.at.saturating_add(bytes);
    }
}

impl Read for SourceReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.volume.read_at(self.at, head_mut(buffer, self.remaining()))?;
        self.at += read as u64;
        self.progress.add(read as u64);
        Ok(read)
    }
}

/// Where the bytes are.
enum Bytes {
    Memory(Vec<u8>),
    File(File),
    Device(Blocks),
    Elsewhere(Box<dyn ReadAt>),
}

impl Bytes {
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(bytes) => tail(bytes, at).read(buffer),
            Self::File(file) => read_at(file, buffer, at),
            Self::Device(blocks) => blocks.read_at(at, buffer),
            Self::Elsewhere(bytes) => bytes.read_at(at, buffer),
        }
    }
}

/// A device, which may take whole sectors only.
struct Blocks {
    file: File,
    /// The block that was read last: its address and bytes.
    last: Mutex<(u64, Vec<u8>)>,
}

impl Blocks {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let start = address - address % BLOCK as u64;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (have, bytes) = &mut *last;
        if *have != start || bytes.is_empty() {
            bytes.resize(BLOCK, 0);
            let read = read_at(&self.file, bytes, start);
            bytes.truncate(*read.as_ref().unwrap_or(&0));
            *have = start;
            read?;
        }
        tail(bytes, address - start).read(buffer)
    }
}
