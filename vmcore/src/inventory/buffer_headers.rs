//! The headers of the buffers of file systems, of which there are too many to read each by its types.
//!
//! Source: `nbufp()` and `struct buf` in `sys/kern/vfs_bio.c`, `sys/sys/buf.h`.

use crate::bounds::saturating_usize;
use crate::error::{Error, Result};
use crate::kernel::{Object, TypedMemory};
use std::ops::Range;

/// More buffers than a kernel has.
const MAX_BUFFERS: u64 = 1 << 22;
/// More bytes than a buffer's header has, with the addresses of its pages.
const MAX_HEADER: u64 = 1 << 14;
/// Headers that are read at once.
const BLOCK: u64 = 1 << 10;

/// The headers of all buffers, which are in an array.
pub(crate) struct BufferHeaders<'a> {
    typed: TypedMemory<'a>,
    start: u64,
    /// How many there are (`nbuf`).
    pub count: u64,
    /// Bytes from one to the next.
    pub size: u64,
}

/// Headers that follow each other.
pub(crate) struct Block {
    start: u64,
    size: u64,
    bytes: Vec<u8>,
}

impl<'a> BufferHeaders<'a> {
    /// Those of a kernel.
    ///
    /// # Errors
    ///
    /// Its variables or types do not tell of buffers, or they cannot be read.
    pub fn new(typed: TypedMemory<'a>) -> Result<Self> {
        let (count, start) = (typed.variable("nbuf")?.unsigned()?, typed.variable("buf")?.unsigned()?);
        if count == 0 || count > MAX_BUFFERS {
            return Err(Error::Format(format!("nbuf is {count}, which is no number of buffers")));
        }
        let header = typed.structure_at("buf", 0)?;
        let mut size = header.size().unwrap_or(0);
        if header.member("b_pages")?.count().is_none_or(|count| count == 0) {
            // The addresses are behind the structure, room for those of the largest buffer.
            let most = typed.variable("maxbcachebuf")?.unsigned()? / typed.memory.page_size();
            size = size.saturating_add(most.saturating_mul(typed.memory.word_size() as u64));
        }
        if size == 0 || size > MAX_HEADER {
            return Err(Error::Format(format!("headers of buffers have {size} bytes")));
        }
        Ok(Self { typed, start, count, size })
    }

    /// Where a header has a member.
    ///
    /// # Errors
    ///
    /// There is no such member, or it is not in the header.
    pub fn member(&self, path: &str) -> Result<Range<usize>> {
        let member = self.typed.structure_at("buf", 0)?.member(path)?;
        let start = member.address();
        // An array without a number of elements has no size.
        let end = start.checked_add(member.size().unwrap_or(0)).filter(|end| *end <= self.size);
        let end = end.ok_or_else(|| Error::Unsupported(format!("{path} of struct buf is outside of it")))?;
        Ok(saturating_usize(start)..saturating_usize(end))
    }

    /// A header as an object.
    ///
    /// # Errors
    ///
    /// The kernel's types do not tell of buffers.
    pub fn object(&self, address: u64) -> Result<Object<'a>> {
        self.typed.structure_at("buf", address)
    }

    /// All headers in blocks, each of which is an error if it cannot be read.
    pub fn blocks(&self) -> impl Iterator<Item = Result<Block>> + use<'a> {
        let (typed, start, size, count) = (self.typed, self.start, self.size, self.count);
        (0..count.div_ceil(BLOCK)).map(move |block| {
            let first = block.saturating_mul(BLOCK);
            let headers = BLOCK.min(count.saturating_sub(first));
            let start = start.wrapping_add(first.saturating_mul(size));
            let mut bytes = vec![0; saturating_usize(headers.saturating_mul(size))];
            typed.memory.read(start, &mut bytes)?;
            Ok(Block { start, size, bytes })
        })
    }
}

impl Block {
    /// The address and the bytes of each header.
    pub fn headers(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let addresses = (0..).map(|index: u64| self.start.wrapping_add(self.size.wrapping_mul(index)));
        addresses.zip(self.bytes.chunks_exact(saturating_usize(self.size).max(1)))
    }
}
