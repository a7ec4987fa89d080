//! The pages of files that are in buffers of file systems.
//!
//! Source: `struct buf` in `sys/sys/buf.h`.

use crate::bounds::{part, saturating_usize};
use crate::error::{Error, Result};
use crate::inventory::buffer_headers::BufferHeaders;
use crate::kernel::TypedMemory;
use std::collections::HashSet;

/// Pages in buffers that are remembered: 32 GiB in pages of 4 KiB.
const MAX_PAGES: usize = 1 << 23;

/// The addresses of the `struct vm_page` of all pages in buffers.
///
/// # Errors
///
/// The kernel's variables or types do not tell of buffers, or they cannot be read.
pub(super) fn buffer_pages(typed: TypedMemory<'_>) -> Result<HashSet<u64>> {
    let headers = BufferHeaders::new(typed)?;
    let (count, start) = (headers.member("b_npages")?, headers.member("b_pages")?.start);
    let (order, word) = (typed.memory.order(), typed.memory.word_size());
    let mut pages = HashSet::new();
    for block in headers.blocks() {
        for (_, header) in block?.headers() {
            let count = order.number(part(header, count.clone()));
            let addresses = part(header, start..).chunks_exact(word);
            pages.extend(addresses.take(saturating_usize(count)).map(|address| order.number(address)));
        }
        if pages.len() > MAX_PAGES {
            return Err(Error::Format("there are more pages in buffers than are counted".to_owned()));
        }
    }
    Ok(pages)
}
