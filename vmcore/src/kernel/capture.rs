//! What ddb(4) has captured of its own output (`sys/ddb/db_capture.c`), which `ddb capture print` shows.

use super::KernelMemory;
use crate::bounds::{head, head_mut, saturating_usize};
use crate::error::{Error, Result};
use crate::symbols::Symbols;

/// A buffer of more bytes is none: `DDB_CAPTURE_MAXBUFSIZE` is 5 MiB.
const MAX_SIZE: u32 = 64 << 20;
/// Bytes that are read at a time, so that no more memory is taken than there are bytes.
const PIECE: u32 = 1 << 16;

/// What the kernel's debugger has printed while `capture on`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DebuggerOutput {
    /// What it printed, as far as it can be read.
    pub bytes: Vec<u8>,
    /// Whether the buffer was full, so that what followed was not captured.
    pub is_full: bool,
    /// Bytes that were captured and are not in the dump.
    pub missing: u64,
}

/// Reads what was captured: nothing, if the kernel did not capture; `None` of a kernel without ddb(4).
pub fn read(kernel: &KernelMemory, symbols: &dyn Symbols) -> Result<Option<DebuggerOutput>> {
    let find = |name: &str| Ok::<_, Error>(symbols.find(name)?.map(|symbol| symbol.address));
    let variables = (find("db_capture_buf")?, find("db_capture_bufoff")?, find("db_capture_bufsize")?);
    let (Some(buffer), Some(used), Some(size)) = variables else { return Ok(None) };
    let (used, size) = (kernel.u32(used)?, kernel.u32(size)?);
    if size > MAX_SIZE || used > size {
        return Err(Error::Format(format!("ddb's capture buffer is not valid: {used} of {size} bytes are used")));
    }
    let mut output = DebuggerOutput { is_full: used == size && size > 0, ..DebuggerOutput::default() };
    if used > 0 {
        let address = kernel.pointer(buffer)?;
        output.bytes = available(kernel, address, used);
    }
    output.missing = u64::from(used).saturating_sub(output.bytes.len() as u64);
    Ok(Some(output))
}

/// The bytes from an address on, up to the first one that cannot be read.
fn available(kernel: &KernelMemory, address: u64, size: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; saturating_usize(PIECE.min(size))];
    while let Some(remaining @ 1..) = u64::from(size).checked_sub(bytes.len() as u64) {
        let Some(at) = address.checked_add(bytes.len() as u64) else { break };
        let part = head_mut(&mut piece, remaining);
        match kernel.read(at, part) {
            Ok(()) => bytes.extend_from_slice(part),
            Err(fault) => {
                bytes.extend_from_slice(head(part, fault.address.saturating_sub(at)));
                break;
            }
        }
    }
    bytes
}
