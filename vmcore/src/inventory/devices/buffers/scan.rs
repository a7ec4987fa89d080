//! Looks at the header of each buffer.
//!
//! Source: `sys/sys/buf.h`, `runningbufwakeup()` and `bufspace_adjust()` in `sys/kern/vfs_bio.c`.

use super::FoundBuffers;
use crate::architecture::Endianness;
use crate::bounds::part;
use crate::error::Result;
use crate::inventory::buffer_headers::BufferHeaders;
use crate::inventory::reader::Reader;
use crate::kernel::TypedMemory;
use std::ops::Range;

/// `B_DELWRI`: it is to be written.
const TO_BE_WRITTEN: u64 = 0x80;
/// `B_MALLOC`: its memory is that of malloc(9).
const OF_MALLOC: u64 = 0x0001_0000;
/// `B_IOSTARTED`, of which older kernels make no use.
const STARTED: u64 = 0x0008_0000;

/// Counts buffers.
pub(super) struct Scanner {
    order: Endianness,
    flags: Range<usize>,
    running: Range<usize>,
    size: Range<usize>,
    /// Those that are in I/O or are to be written.
    pub listed: Vec<Listed>,
}

/// A buffer that is in I/O or is to be written.
pub(super) struct Listed {
    pub address: u64,
    pub flags: u64,
    pub is_in_io: bool,
    pub is_dirty: bool,
}

/// What was counted so far.
#[derive(Default)]
struct Sums {
    dirty: u64,
    dirty_bytes: u64,
    in_io: u64,
    running_bytes: u64,
    bytes: u64,
    malloc_bytes: u64,
}

impl Scanner {
    pub fn new(typed: TypedMemory<'_>, headers: &BufferHeaders<'_>) -> Result<Self> {
        Ok(Self {
            order: typed.memory.order(),
            flags: headers.member("b_flags")?,
            running: headers.member("b_runningbufspace")?,
            size: headers.member("b_bufsize")?,
            listed: Vec::new(),
        })
    }

    /// Looks at all of them, and lists at most so many.
    pub fn scan(&mut self, reader: &mut Reader<'_>, headers: &BufferHeaders<'_>, limit: usize) -> FoundBuffers {
        let mut sums = Sums::default();
        let mut is_whole = true;
        for block in headers.blocks() {
            let Some(block) = reader.keep(|| "headers of buffers".to_owned(), block) else {
                is_whole = false;
                continue;
            };
            block.headers().for_each(|(address, header)| self.count(address, header, &mut sums));
        }
        if self.listed.len() > limit {
            reader.warn(|| {
                format!("of {} buffers that are in I/O or to be written, {limit} are listed", self.listed.len())
            });
            self.listed.sort_by_key(|listed| !listed.is_in_io);
            self.listed.truncate(limit);
        }
        if is_whole { sums.found() } else { FoundBuffers::default() }
    }

    fn count(&mut self, address: u64, header: &[u8], sums: &mut Sums) {
        let number = |at: &Range<usize>| self.order.number(part(header, at.clone()));
        let (flags, running, size) = (number(&self.flags), number(&self.running), number(&self.size));
        let is_dirty = flags & TO_BE_WRITTEN != 0;
        let is_in_io = flags & STARTED != 0 || running != 0;
        let bytes = if flags & OF_MALLOC == 0 { &mut sums.bytes } else { &mut sums.malloc_bytes };
        *bytes = bytes.wrapping_add(size);
        sums.running_bytes = sums.running_bytes.wrapping_add(running);
        if is_dirty {
            sums.dirty = sums.dirty.saturating_add(1);
            sums.dirty_bytes = sums.dirty_bytes.wrapping_add(size);
        }
        sums.in_io = sums.in_io.saturating_add(u64::from(is_in_io));
        if is_dirty || is_in_io {
            self.listed.push(Listed { address, flags, is_in_io, is_dirty });
        }
    }
}

impl Sums {
    fn found(&self) -> FoundBuffers {
        FoundBuffers {
            dirty: Some(self.dirty),
            dirty_bytes: Some(self.dirty_bytes),
            in_io: Some(self.in_io),
            running_bytes: Some(self.running_bytes),
            bytes: Some(self.bytes),
            malloc_bytes: Some(self.malloc_bytes),
        }
    }
}
