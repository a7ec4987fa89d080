//! The configuration that a kernel was built with, if that was with `options INCLUDE_CONFIG_FILE`: `kernconfstring`, which
//! `kern.conftxt` and config(8) `-x` show (`usr.sbin/config/kernconf.tmpl`, `sys/kern/kern_mib.c`).

use super::KernelMemory;
use crate::bounds::at_most;
use crate::error::Result;
use crate::fault::Fault;
use crate::symbols::Symbols;
use crate::text::until_nul;

/// The variable.
const NAME: &str = "kernconfstring";
/// More bytes than a configuration with all its included files has.
const MAX_SIZE: usize = 1 << 20;

/// Reads it from the kernel's memory or, where a dump does not have that, from the kernel's file, which `from_file` reads at
/// a fault, at most so many bytes.
pub fn read(
    kernel: &KernelMemory,
    symbols: &dyn Symbols,
    from_file: impl Fn(Fault, usize) -> Result<Option<Vec<u8>>>,
) -> Result<Option<Vec<u8>>> {
    let Some(symbol) = symbols.find(NAME)? else { return Ok(None) };
    let limit = if symbol.size == 0 { MAX_SIZE } else { at_most(symbol.size, MAX_SIZE) };
    let text = match kernel.string(symbol.address, limit) {
        Ok(text) => text,
        Err(fault) => match from_file(Fault { address: symbol.address, ..fault }, limit)? {
            Some(bytes) => until_nul(&bytes).to_vec(),
            None => return Err(fault.into()),
        },
    };
    // Without the option the variable is empty.
    Ok(Some(text).filter(|text| !text.is_empty()))
}
