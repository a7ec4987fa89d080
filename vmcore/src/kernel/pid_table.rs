//! The table by which the kernel finds processes by their ID.
//!
//! Source: `pidhashtbl` in `sys/kern/kern_proc.c`.

use super::KernelMemory;
use crate::error::{Error, Result};
use crate::symbols::Symbols;
use crate::types::TypeTable;
use crate::units::Hex;

/// More lists than there can be processes.
const MAX_LISTS: u64 = 1 << 17;

/// The table of process IDs, `pidhashtbl`: lists of the processes whose IDs have the same last bits.
pub(super) struct PidTable {
    /// Where it is, and how many lists there are.
    pub address: u64,
    pub lists: u64,
    /// Where in a process the next one of its list is, and its state.
    pub next: u64,
    pub state: u64,
    /// Where its flags are, if that is known.
    pub flags: Option<u64>,
}

impl PidTable {
    /// `None` where the kernel or its types do not tell.
    pub fn new(kernel: &KernelMemory, symbols: &dyn Symbols, types: &TypeTable) -> Result<Option<Self>> {
        let read = |name, at| kernel.pointer(at).map_err(Error::variable(name));
        let pointer = |name| symbols.find(name)?.map(|found| read(name, found.address)).transpose();
        let (address, mask) = (pointer("pidhashtbl")?, pointer("pidhash")?);
        let process = types.structure("proc");
        let offset = |id, name| types.member(id, name).map(|found| found.bit_offset / 8);
        let link = process.and_then(|id| types.member(id, "p_hash"));
        let next = link.and_then(|link| (link.bit_offset / 8).checked_add(offset(link.member.type_id, "le_next")?));
        let state = process.and_then(|id| offset(id, "p_state"));
        let (Some(address), Some(mask), Some(next), Some(state)) = (address, mask, next, state) else {
            return Ok(None);
        };
        let lists = mask.checked_add(1).filter(|lists| *lists <= MAX_LISTS);
        let lists = lists.ok_or_else(|| Error::Format(format!("pidhash is {}, not a valid mask", Hex(mask))))?;
        Ok(Some(Self { address, lists, next, state, flags: process.and_then(|id| offset(id, "p_flag")) }))
    }
}
