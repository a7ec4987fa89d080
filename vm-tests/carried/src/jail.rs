//! A jail (jail(2)) that ends with the process that made it.

use std::io;
use std::path::Path;

/// Makes a jail whose root is a folder, and enters it.
#[cfg(target_os = "freebsd")]
pub fn enter(root: &Path) -> io::Result<()> {
    use std::ffi::{CStr, CString};
    use std::os::unix::ffi::OsStrExt;

    let path = CString::new(root.as_os_str().as_bytes())?;
    let part = |text: &CStr| libc::iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.count_bytes() + 1 };
    let mut parameters = [part(c"path"), part(&path)];
    // SAFETY: jail_set() reads as many bytes as each of the two parts says, which live until it returns, and writes to
    // none, as there is no "errmsg" among them.
    let number = unsafe { libc::jail_set(parameters.as_mut_ptr(), 2, libc::JAIL_CREATE | libc::JAIL_ATTACH) };
    if number < 0 { Err(io::Error::last_os_error()) } else { std::env::set_current_dir("/") }
}

/// Only `FreeBSD` has jails.
#[cfg(not(target_os = "freebsd"))]
pub fn enter(_root: &Path) -> io::Result<()> {
    Err(io::Error::other("only FreeBSD has jails"))
}
