//! sysctl(3), by name, and by number for processes.
//!
//! Values are taken as bytes whatever their declared type, and tables that change size between two calls are
//! asked for again.

use crate::error::{Error, Result};
use crate::kernel_error::{KernelError, Operation};
use ioctl_defs::user::{CTL_KERN, KERN_PROC};
use nix::errno::Errno;
use nix::unistd::Pid;
use std::ffi::CString;

/// Tries before a table that keeps growing is given up.
const ATTEMPTS: u32 = 16;

/// A value's bytes; `None` if the kernel does not have it.
pub fn bytes(name: &str) -> Result<Option<Vec<u8>>> {
    let fail = |errno| Error::from(KernelError::new(Operation::Sysctl, name, errno));
    let c_name = CString::new(name).map_err(|_| fail(Errno::EINVAL))?;
    match whole(|buffer| read(&c_name, buffer)) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(fail(errno)),
    }
}

/// What the kernel tells of a process under a number of `KERN_PROC`, such as `KERN_PROC_VMMAP`.
pub fn process_value(what: libc::c_int, process: Pid) -> Result<Vec<u8>, Errno> {
    whole(|buffer| read_number(&[CTL_KERN, KERN_PROC, what, process.as_raw()], buffer))
}

/// A value as large as it is now, by a question that fills a buffer, or, without one, tells how much there is.
fn whole(ask: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    for attempt in 0..ATTEMPTS {
        let mut length = ask(&mut [])?;
        length += length / 8 * attempt as usize;
        let mut value = vec![0; length];
        match ask(&mut value) {
            Ok(filled) => {
                value.truncate(filled);
                return Ok(value);
            }
            Err(Errno::ENOMEM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::ENOMEM)
}

/// Fills the buffer and tells how much of it; without a buffer how much there is.
fn read(name: &CString, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut length = buffer.len();
    let to = if buffer.is_empty() { std::ptr::null_mut() } else { buffer.as_mut_ptr().cast() };
    // SAFETY: the name is NUL-terminated; the kernel writes at most `length` bytes to the buffer, or none
    // where it is null, and then the length; nothing is set.
    let result = unsafe { libc::sysctlbyname(name.as_ptr(), to, &mut length, std::ptr::null(), 0) };
    Errno::result(result).map(|_| length)
}

/// The same, by number.
fn read_number(name: &[libc::c_int; 4], buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut length = buffer.len();
    let to = if buffer.is_empty() { std::ptr::null_mut() } else { buffer.as_mut_ptr().cast() };
    // SAFETY: the name has as many numbers as is said; else as above.
    let result = unsafe { libc::sysctl(name.as_ptr(), 4, to, &mut length, std::ptr::null(), 0) };
    Errno::result(result).map(|_| length)
}

/// A string, without the NUL at its end.
pub fn text(name: &str) -> Result<Option<String>> {
    Ok(bytes(name)?.map(|value| String::from_utf8_lossy(&value).trim_end_matches('\0').to_owned()))
}

/// An integer of 4 or 8 bytes.
pub fn number(name: &str) -> Result<Option<u64>> {
    let Some(value) = bytes(name)? else { return Ok(None) };
    let number = match (<[u8; 4]>::try_from(value.as_slice()), <[u8; 8]>::try_from(value.as_slice())) {
        (Ok(four), _) => u64::from(u32::from_ne_bytes(four)),
        (_, Ok(eight)) => u64::from_ne_bytes(eight),
        _ => return Err(Error::Format(format!("sysctl {name}: {} bytes are not a number", value.len()))),
    };
    Ok(Some(number))
}
