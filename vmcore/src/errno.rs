//! Error numbers of the system: their names and what they mean.
//!
//! The numbers are those of the system that memtool runs on. Up to 34 every Unix agrees on them but for 11; of the rest,
//! what reading and writing files and memory can end with is known by name. `sys/errno.h` of FreeBSD, `errno(3)` of Linux.

use std::borrow::Cow;
use std::fmt;
use std::io;

/// An error number of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub i32);

/// From 1 on, what every Unix has.
const COMMON: [&str; 34] = [
    "EPERM", "ENOENT", "ESRCH", "EINTR", "EIO", "ENXIO", "E2BIG", "ENOEXEC", "EBADF", "ECHILD", "", "ENOMEM", "EACCES",
    "EFAULT", "ENOTBLK", "EBUSY", "EEXIST", "EXDEV", "ENODEV", "ENOTDIR", "EISDIR", "EINVAL", "ENFILE", "EMFILE",
    "ENOTTY", "ETXTBSY", "EFBIG", "ENOSPC", "ESPIPE", "EROFS", "EMLINK", "EPIPE", "EDOM", "ERANGE",
];

#[cfg(any(target_os = "linux", target_os = "android"))]
const OWN: [(i32, &str); 10] = [
    (11, "EAGAIN"),
    (36, "ENAMETOOLONG"),
    (38, "ENOSYS"),
    (40, "ELOOP"),
    (75, "EOVERFLOW"),
    (95, "EOPNOTSUPP"),
    (107, "ENOTCONN"),
    (110, "ETIMEDOUT"),
    (116, "ESTALE"),
    (122, "EDQUOT"),
];
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const OWN: [(i32, &str); 11] = [
    (35, "EAGAIN"),
    (45, "EOPNOTSUPP"),
    (57, "ENOTCONN"),
    (60, "ETIMEDOUT"),
    (62, "ELOOP"),
    (63, "ENAMETOOLONG"),
    (69, "EDQUOT"),
    (70, "ESTALE"),
    (78, "ENOSYS"),
    (84, "EOVERFLOW"),
    (97, "EINTEGRITY"),
];

impl Errno {
    /// Input or output failed.
    pub const EIO: Self = Self(5);
    /// The address is bad: mem(4) answers it where there is no memory.
    pub const EFAULT: Self = Self(14);

    /// The number of an I/O error; EIO for one that is not the system's own.
    pub fn new(error: &io::Error) -> Self {
        error.raw_os_error().map_or(Self::EIO, Self)
    }

    /// Its name, such as `EIO`; `errno 200` of one that is not known.
    pub fn name(self) -> Cow<'static, str> {
        let index = usize::try_from(self.0).ok().and_then(|number| number.checked_sub(1));
        let common = index.and_then(|index| COMMON.get(index)).copied().filter(|name| !name.is_empty());
        let own = || OWN.into_iter().find_map(|(number, name)| (number == self.0).then_some(name));
        common.or_else(own).map_or_else(|| format!("errno {}", self.0).into(), Cow::Borrowed)
    }

    /// What it means, in the system's words.
    pub fn description(self) -> String {
        reason(&io::Error::from(self))
    }
}

/// Why input or output failed, in the system's words: without the error number that the standard library adds, and
/// without the temporary name that a library puts behind it.
pub fn reason(error: &io::Error) -> String {
    let mut text = error.to_string();
    text.truncate(text.find(" (os error ").unwrap_or(text.len()));
    text
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.description())
    }
}
