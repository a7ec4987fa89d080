//! The pages of files that are in buffers of file systems.
//!
//! Source: `nbufp()` and `struct buf` in `sys/kern/vfs_bio.c`, `sys/sys/buf.h`.

use crate::bounds::{part, saturating_usize};
use crate::error::{Error, Result};
use crate::kernel::TypedMemory;
use std::collections::HashSet;

/// More buffers than a kernel has.
const MAX_BUFFERS: u64 = 1 << 22;
/// More bytes than a buffer's header has, with the addresses of its pages.
const MAX_HEADER: u64 = 1 << 14;
/// Pages in buffers that are remembered: 32 GiB in pages of 4 KiB.
const MAX_PAGES: usize = 1 << 23;
/// Headers that are read at once.
const BLOCK: u64 = 1 << 10;

/// The addresses of the `struct vm_page` of all pages in buffers.
///
/// # Errors
///
/// The kernel's variables or types do not tell of buffers, or they cannot be read.
pub(super) fn buffer_pages(typed: TypedMemory<'_>) -> Result<HashSet<u64>> {
    let headers = Headers::new(typed)?;
    let mut pages = HashSet::new();
    let mut first = 0;
    while first < headers.count {
        let count = BLOCK.min(headers.count - first);
        headers.read(first, count, &mut pages)?;
        if pages.len() > MAX_PAGES {
            return Err(Error::Format("there are more pages in buffers than are counted".to_owned()));
        }
        first = first.saturating_add(count);
    }
    Ok(pages)
}

struct Headers<'a> {
    typed: TypedMemory<'a>,
    start: u64,
    count: u64,
    size: u64,
    /// Where a header has the number of its pages, and their addresses.
    page_count: (usize, usize),
    pages: usize,
}

impl<'a> Headers<'a> {
    fn new(typed: TypedMemory<'a>) -> Result<Self> {
        let (count, start) = (typed.variable("nbuf")?.unsigned()?, typed.variable("buf")?.unsigned()?);
        if count > MAX_BUFFERS {
            return Err(Error::Format(format!("nbuf is {count}, more than a kernel has")));
        }
        let header = typed.structure_at("buf", 0)?;
        let (pages, page_count) = (header.member("b_pages")?, header.member("b_npages")?);
        let mut size = header.size().unwrap_or(0);
        if pages.count().is_none_or(|count| count == 0) {
            // The addresses are behind the structure, room for those of the largest buffer.
            let most = typed.variable("maxbcachebuf")?.unsigned()? / typed.memory.page_size();
            size = size.saturating_add(most.saturating_mul(typed.memory.word_size() as u64));
        }
        if size == 0 || size > MAX_HEADER {
            return Err(Error::Format(format!("headers of buffers have {size} bytes")));
        }
        let at = saturating_usize(page_count.address());
        let page_count = (at, at.saturating_add(saturating_usize(page_count.size().unwrap_or(0))));
        let pages = saturating_usize(pages.address());
        if pages.max(page_count.1) > saturating_usize(size) {
            return Err(Error::Unsupported("struct buf is not laid out as is known".to_owned()));
        }
        Ok(Self { typed, start, count, size, page_count, pages })
    }

    /// Adds the pages of some headers.
    fn read(&self, first: u64, count: u64, found: &mut HashSet<u64>) -> Result<()> {
        let size = saturating_usize(self.size);
        let mut bytes = vec![0; size.saturating_mul(saturating_usize(count))];
        self.typed.memory.read(self.start.saturating_add(first.saturating_mul(self.size)), &mut bytes)?;
        let (order, word) = (self.typed.memory.order(), self.typed.memory.word_size());
        for header in bytes.chunks_exact(size) {
            let pages = order.number(part(header, self.page_count.0..self.page_count.1));
            let addresses = part(header, self.pages..).chunks_exact(word);
            found.extend(addresses.take(saturating_usize(pages)).map(|address| order.number(address)));
        }
        Ok(())
    }
}
