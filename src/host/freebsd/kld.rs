//! kldsym(2), kldnext(2) and kldstat(2): where the running kernel's symbols and files lie.

use crate::error::Result;
use crate::host::kernel_files::list_running;
use crate::kernel_error::{KernelError, Operation};
use ioctl_defs::linker::{KLDSYM_LOOKUP, MAXPATHLEN, kld_file_stat, kld_sym_lookup};
use nix::errno::Errno;
use std::ffi::CString;
use vmcore::symbols::{KernelFile, Symbol};

unsafe extern "C" {
    /// kldsym(2).
    fn kldsym(fileid: libc::c_int, cmd: libc::c_int, data: *mut libc::c_void) -> libc::c_int;
    /// kldnext(2).
    fn kldnext(fileid: libc::c_int) -> libc::c_int;
    /// kldstat(2).
    fn kldstat(fileid: libc::c_int, stat: *mut kld_file_stat) -> libc::c_int;
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

/// The kernel and its modules, in the order in which they were linked.
pub fn files() -> Result<Vec<KernelFile>> {
    // SAFETY: it takes a number and touches no memory of ours.
    let next = |id| Errno::result(unsafe { kldnext(id) });
    let fail = |errno| KernelError::new(Operation::ListFiles, "the kernel", errno);
    Ok(list_running(next, stat).map_err(fail)?)
}

fn stat(id: i32) -> Result<KernelFile, Errno> {
    let mut stat = kld_file_stat::new();
    // SAFETY: the kernel writes one kld_file_stat, which is borrowed throughout and says its size.
    Errno::result(unsafe { kldstat(id, &raw mut stat) })?;
    Ok(KernelFile {
        name: text(&stat.name),
        path: text(&stat.pathname),
        address: stat.address as u64,
        size: stat.size as u64,
    })
}

/// Text up to a NUL.
fn text(chars: &[libc::c_char; MAXPATHLEN]) -> String {
    let bytes: Vec<u8> = chars.iter().flat_map(|c| c.to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
