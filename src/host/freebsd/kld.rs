//! kldsym(2): where the running kernel's symbols lie.

use crate::error::{KernelError, Operation, Result};
use crate::symbols::Symbol;
use ioctl_defs::linker::{KLDSYM_LOOKUP, kld_sym_lookup};
use nix::errno::Errno;
use std::ffi::CString;

unsafe extern "C" {
    /// kldsym(2).
    fn kldsym(fileid: libc::c_int, cmd: libc::c_int, data: *mut libc::c_void) -> libc::c_int;
}

/// Looks a symbol up in the kernel and its modules; `None` if there is none of that name.
pub fn symbol(name: &str) -> Result<Option<Symbol>> {
    let fail = |errno| KernelError::new(Operation::FindSymbol, name, errno);
    let c_name = CString::new(name).map_err(|_| fail(Errno::EINVAL))?;
    let mut lookup = kld_sym_lookup::new(c_name.as_ptr());
    // SAFETY: with KLDSYM_LOOKUP the kernel reads and writes one kld_sym_lookup, which is borrowed throughout,
    // and reads the name in it, which is NUL-terminated and outlives the call. File 0 stands for all files.
    let result = unsafe { kldsym(0, KLDSYM_LOOKUP, (&raw mut lookup).cast()) };
    match Errno::result(result) {
        Ok(_) => Ok(Some(Symbol { address: lookup.symvalue, size: lookup.symsize as u64 })),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(fail(errno).into()),
    }
}
