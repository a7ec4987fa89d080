//! move_pages(2), which tells on which NUMA node pages are if it is not told where to move them.

use crate::host::Pid;
use nix::errno::Errno;
use std::ffi::{c_int, c_void};

/// The status of each page of a process, or of the calling one: its node, or a negative errno; see [`domain`].
/// Nothing is moved.
pub fn statuses(process: Option<Pid>, addresses: &[u64]) -> Result<Vec<c_int>, Errno> {
    let pages: Vec<usize> = addresses
        .iter()
        .map(|&address| usize::try_from(address).map_err(|_| Errno::EFAULT))
        .collect::<Result<_, _>>()?;
    let mut statuses = vec![-libc::EFAULT; pages.len()];
    // SAFETY: the kernel reads as many addresses as there are pages, and without nodes writes as many statuses; both
    // live until the call is over. The pages themselves are only looked up.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            process.map_or(0, Pid::as_raw),
            pages.len(),
            pages.as_ptr(),
            std::ptr::null::<c_void>(),
            statuses.as_mut_ptr(),
            0 as c_int,
        )
    };
    Errno::result(answer)?;
    Ok(statuses)
}

/// The NUMA node in a status. There is none for what is no page of memory that the kernel manages or has gone
/// meanwhile (ENOENT), and for the zero page, which belongs to all (EFAULT).
pub fn domain(status: c_int) -> Option<u32> {
    u32::try_from(status).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_that_is_no_errno_is_a_domain() {
        assert_eq!([0, 1, 1023].map(domain), [Some(0), Some(1), Some(1023)]);
        assert_eq!([-libc::ENOENT, -libc::EFAULT, -libc::EACCES, c_int::MIN].map(domain), [None; 4]);
    }

    #[test]
    fn pages_of_this_process_are_on_a_node_and_others_are_nowhere() {
        let here = [7_u8; 1];
        let address = std::hint::black_box(&here).as_ptr().addr() as u64;
        match statuses(None, &[address, 0]) {
            Ok(found) => {
                assert_eq!(found.len(), 2);
                assert!(domain(found[0]).is_some() && domain(found[1]).is_none(), "{found:?}");
            }
            Err(errno) => eprintln!("SKIPPED: there is no move_pages(2) here: {errno}"),
        }
        assert_eq!(statuses(None, &[]), Ok(vec![]));
    }
}
