//! The memory map of a process, asked for until it is whole.

use super::{Pid, ProcessHost};
use crate::error::{Error, Result};
use crate::process_map::{Detail, KERNEL, ProcessMap, from_kernel_maps};
use nix::errno::Errno;
use std::thread;
use std::time::Duration;

/// Tries before a map that changes while it is read is given up.
const ATTEMPTS: u32 = 10;

/// The time between two of them.
const PAUSE: Duration = Duration::from_millis(1);

/// The map of a process, or, for 0, of the kernel.
///
/// # Errors
///
/// There is no such process, it is not one's own, it exits meanwhile or becomes another program again and again, or it
/// is the kernel's and has no memory of its own; the kernel does not list its own map, or does not tell the domains.
///
/// ```no_run
/// use memtool::host::{self, Pid, Selection, read_process_map};
/// use memtool::process_map::Detail;
///
/// let host = host::open_for_processes(&Selection::default())?;
/// let map = read_process_map(&*host, Pid::this(), Detail::Mappings)?;
/// for entry in &map.entries {
///     println!("{:#x}..{:#x}", entry.start, entry.end);
/// }
/// # Ok::<(), memtool::Error>(())
/// ```
pub fn read_process_map(host: &dyn ProcessHost, pid: Pid, detail: Detail) -> Result<ProcessMap> {
    if pid == KERNEL {
        if detail == Detail::Domains {
            return Err(Error::Unsupported("kernels do not report the NUMA domains of their own map".to_owned()));
        }
        let Some(maps) = host.kernel_maps()? else {
            return Err(Error::Unsupported("this kernel does not list its own map (vm.pmap.kernel_maps)".to_owned()));
        };
        return Ok(from_kernel_maps(&maps, host.page_size()?));
    }
    until_whole(|| host.process_map(pid, detail))
}

/// Asks for a map until it is of one address space, and of one moment as far as its entries show.
fn until_whole(mut ask: impl FnMut() -> Result<ProcessMap>) -> Result<ProcessMap> {
    let mut attempt = 1;
    loop {
        let failure = match ask() {
            Ok(map) if map.entries.is_empty() => {
                return Err(Error::Unsupported(format!(
                    "process {} is a kernel process without memory of its own; PID 0 is the kernel's map",
                    map.pid
                )));
            }
            Ok(map) => match map.problem() {
                None => return Ok(map),
                Some(why) => Error::Format(format!(
                    "the map of process {} changed during each of {ATTEMPTS} attempts to read it: {why}",
                    map.pid
                )),
            },
            // At execve(2) a process can have no address space for a moment, or not be there at all.
            Err(Error::Kernel(error)) if matches!(error.errno, Errno::EBUSY | Errno::ESRCH) => error.into(),
            Err(error) => return Err(error),
        };
        if attempt == ATTEMPTS {
            return Err(failure);
        }
        attempt += 1;
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_error::{KernelError, Operation};
    use crate::process_map::{MapEntry, Object};

    #[test]
    fn a_map_is_asked_for_again_until_it_is_of_one_address_space() {
        let whole = || ProcessMap {
            pid: 7,
            command: vmcore::text::Name::default(),
            layout: None,
            entries: vec![MapEntry::new(1, 2, Object::None)],
            domains: None,
            structures: None,
        };
        let fail = |errno| Err(KernelError::new(Operation::ProcessMap, "process 7", errno).into());
        let torn = || ProcessMap { entries: vec![MapEntry::new(2, 1, Object::None)], ..whole() };
        let ask = |answers: &[&dyn Fn() -> Result<ProcessMap>]| {
            let mut asked = 0;
            let found = until_whole(|| {
                asked += 1;
                answers[(asked - 1) % answers.len()]()
            });
            (found.map_err(|error| error.to_string()), asked)
        };
        let (busy, gone) = (|| fail(Errno::EBUSY), || fail(Errno::ESRCH));
        assert_eq!(ask(&[&|| Ok(whole())]), (Ok(whole()), 1));
        assert_eq!(ask(&[&busy, &|| Ok(torn()), &gone, &busy, &|| Ok(whole())]), (Ok(whole()), 5));
        for (answer, said) in [
            (&busy as &dyn Fn() -> _, "EBUSY"),
            (&gone, "ESRCH"),
            (&|| Ok(torn()), "process 7 changed during each of 10 attempts"),
        ] {
            let (found, asked) = ask(&[answer]);
            assert!(found.as_ref().is_err_and(|why| why.contains(said)), "{found:?}");
            assert_eq!(asked, ATTEMPTS as usize);
        }
        // What will not change is not asked again.
        let (found, asked) = ask(&[&|| fail(Errno::EPERM)]);
        assert!(found.is_err() && asked == 1);
        let (found, asked) = ask(&[&|| Ok(ProcessMap { entries: Vec::new(), ..whole() })]);
        assert!(found.is_err_and(|why| why.contains("process 7 is a kernel process")) && asked == 1);
    }
}
