//! The root of the running kernel's page tables.

use super::{Variables, odd, unreadable};
use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::kernel::{KernelImage, NoRoot, PageTables, RootCandidate, running_candidates};
use crate::memory::ReadError;
use crate::pmap::Format;
use crate::ram::Ram;
use crate::symbols::Symbol;
use crate::units::Hex;

impl KernelImage for Variables<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        self.memory.fill(address, buffer).map(|()| buffer.len())
    }

    fn physical(&self, _: u64) -> Option<u64> {
        None
    }
}

/// Finds the page tables through the kernel's variables; of a format if that is known. The first variable that the
/// kernel uses counts.
pub fn find(
    variables: &Variables<'_>,
    architecture: Architecture,
    format: Option<Format>,
    ram: &Ram,
) -> Result<PageTables> {
    let mut candidates = running_candidates(architecture, format).peekable();
    while let Some(candidate) = candidates.next() {
        let name = candidate.symbol();
        let is_last = candidates.peek().is_none();
        let found = if is_last { Some(variables.required(name)?) } else { variables.find(name)? };
        let Some((address, size)) = found else { continue };
        match candidate.try_running(Symbol { address, size }, variables, ram) {
            Ok(tables) => return Ok(tables),
            Err(NoRoot::Unused) if !is_last => {}
            Err(why) => return Err(describe(candidate, address, &why)),
        }
    }
    Err(odd("page tables", "no variable is known that leads to them"))
}

fn describe(candidate: &RootCandidate, address: u64, why: &NoRoot) -> Error {
    let name = candidate.symbol();
    let no_memory = |at| odd(name, format!("at {} there is no page of RAM", Hex(at)));
    match why {
        NoRoot::Unused => no_memory(0),
        NoRoot::NoMemory(at) => no_memory(*at),
        NoRoot::Unreadable(error) => unreadable(name, error),
        NoRoot::Unaligned => odd(name, format!("it is at {}, no page's beginning", Hex(address))),
        NoRoot::NoSatp => odd(name, "it has no value of satp"),
        NoRoot::NotItself => odd(name, "the page tables there do not map themselves"),
        NoRoot::NotTheKernel(at) => odd(name, format!("the page tables at {} do not map the kernel", Hex(*at))),
    }
}
