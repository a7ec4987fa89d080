//! Error numbers of the system, by their names.

use nix::errno::Errno;
use std::io;

/// An errno's name, the same on every system: on FreeBSD EOPNOTSUPP and ENOTSUP are one number.
pub fn errno_name(errno: Errno) -> String {
    if errno == Errno::EOPNOTSUPP { "EOPNOTSUPP".to_owned() } else { format!("{errno:?}") }
}

/// The errno of an I/O error; EIO for one that is not the system's own.
pub fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
