//! Standard output that was closed when the program began. Rust's runtime opens /dev/null in the place of a standard
//! descriptor that is closed, so that what is printed there would be lost without a word.

use memtool::{Error, Result};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Looks at the descriptor before the runtime does.
extern "C" fn look() {
    // SAFETY: fcntl(2) only looks up a descriptor, whether there is one or not.
    if unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) } == -1 {
        WAS_CLOSED.store(true, Ordering::Relaxed);
    }
}

/// Called before `main`, as the dynamic linker of every ELF system does.
// SAFETY: the section is one of pointers to functions without arguments, and `look` needs nothing that the runtime sets up.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Makes writing fail where standard output was closed, as it would have: nothing can be written to a descriptor that is
/// open for reading.
pub fn restore() {
    if WAS_CLOSED.load(Ordering::Relaxed) {
        let null = File::open("/dev/null").map_err(|_| ());
        let _ = null.and_then(|null| nix::unistd::dup2_stdout(null).map_err(|_| ()));
    }
}

/// That standard output can be written to: the standard library takes one that cannot for one that nobody reads.
///
/// # Errors
///
/// It is closed, or open for reading only.
pub fn check() -> Result<()> {
    let flags = fcntl(io::stdout().as_fd(), FcntlArg::F_GETFL).map_err(io::Error::from);
    match flags.map_err(Error::StandardOutput)? & OFlag::O_ACCMODE.bits() {
        mode if mode == OFlag::O_RDONLY.bits() => Err(Error::StandardOutput(io::Error::from_raw_os_error(libc::EBADF))),
        _ => Ok(()),
    }
}
