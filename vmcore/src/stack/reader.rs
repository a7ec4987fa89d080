//! Words of stacks, page by page: most of a stack's words are in one page.

use crate::bounds::{part, saturating_usize};
use crate::fault::{Fault, Why};
use crate::kernel::KernelMemory;

/// Bytes that are read at once: no page is smaller.
const PAGE: usize = 4096;

/// Reads words of stacks.
pub struct StackReader<'a> {
    memory: &'a KernelMemory,
    /// The page that was read last, and its address.
    page: Box<[u8; PAGE]>,
    at: Option<u64>,
}

impl<'a> StackReader<'a> {
    pub fn new(memory: &'a KernelMemory) -> Self {
        Self { memory, page: Box::new([0; PAGE]), at: None }
    }

    /// The word at an address that is a multiple of its size.
    ///
    /// # Errors
    ///
    /// As [`KernelMemory::read`]; the address is not aligned ([`Why::NotCovered`]).
    pub fn word(&mut self, address: u64) -> Result<u64, Fault> {
        let size = self.memory.word_size();
        if !address.is_multiple_of(size as u64) {
            return Err(Fault { address, why: Why::NotCovered });
        }
        let offset = address % PAGE as u64;
        let page = address - offset;
        if self.at != Some(page) {
            self.at = None;
            if self.memory.read(page, &mut *self.page).is_err() {
                // Memory may begin or end within a page.
                return self.memory.pointer(address);
            }
            self.at = Some(page);
        }
        let start = saturating_usize(offset);
        Ok(self.memory.order().number(part(&*self.page, start..start + size)))
    }
}
