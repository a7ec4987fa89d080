//! The messages in a kernel's memory, from its `msgbufp` (`sys/kern/subr_prf.c`).

use super::KernelMemory;
use crate::bounds::saturating_usize;
use crate::error::{Error, Result};
use crate::messages::{MessageBuffer, Ring};
use crate::symbols::Symbols;

/// The variable that points to the kernel's `struct msgbuf`.
const NAME: &str = "msgbufp";
/// How often messages are read anew of a kernel that writes more of them meanwhile than there is room for.
const TRIES: usize = 4;

/// Reads the messages, also while the kernel writes more of them.
pub fn read(kernel: &KernelMemory, symbols: &dyn Symbols) -> Result<MessageBuffer> {
    let mut before = ring(kernel, symbols)?;
    for _ in 0..TRIES {
        let mut bytes = vec![0; saturating_usize(before.size)];
        kernel.read(before.address, &mut bytes)?;
        let after = ring(kernel, symbols)?;
        if let Some(messages) = MessageBuffer::from_running(bytes, &before, &after) {
            return Ok(messages);
        }
        before = after;
    }
    Err(Error::Unsupported("the kernel writes messages faster than they can be read".to_owned()))
}

/// The messages that a dump has beside its memory, in the order that the kernel's memory tells.
pub fn order(buffer: &[u8], kernel: &KernelMemory, symbols: &dyn Symbols) -> Option<MessageBuffer> {
    let ring = ring(kernel, symbols).ok().filter(|ring| saturating_usize(ring.size) == buffer.len())?;
    Some(MessageBuffer::from_ring(buffer.to_vec(), Some(ring.next())))
}

/// Where the messages are.
fn ring(kernel: &KernelMemory, symbols: &dyn Symbols) -> Result<Ring> {
    let missing =
        || Error::Unsupported(format!("{} has no symbol {NAME}, which every FreeBSD kernel has", symbols.source()));
    let variable = symbols.find(NAME)?.ok_or_else(missing)?;
    let bytes = kernel.bytes(kernel.pointer(variable.address)?)?;
    Ring::decode(&bytes, kernel.word_size(), kernel.order())
        .map_err(|why| Error::Format(format!("the kernel's message buffer ({NAME}) is not valid: {why}")))
}
