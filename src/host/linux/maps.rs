//! A process's memory map, from /proc/pid/maps or, with what is in memory, from smaps.
//!
//! The kernel hands both over in parts, and what the process maps meanwhile may be in them or not. The entries are
//! those of one address space all the same, or there is an error.

use super::process::Process;
use crate::error::{Error, Operation, Result, errno_of};
use crate::host::Pid;
use crate::process_map::{self, Detail, ProcessMap, procfs};
use nix::errno::Errno;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

/// More of a process's arguments is not read.
const MOST_ARGUMENTS: u64 = 4096;

/// Reads the map of a process.
pub fn read(pid: Pid, detail: Detail) -> Result<ProcessMap> {
    let process = Process::open(Some(pid), Operation::ProcessMap)?;
    let name = match detail {
        Detail::Mappings => "maps",
        Detail::Usage => "smaps",
    };
    let fail = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => Error::Format(format!("/proc/{pid}/{name}: {error}")),
        _ => process.error(Operation::ProcessMap, errno_of(&error)),
    };
    let file = process.file(name).map_err(fail)?;
    let entries = procfs::parse(BufReader::new(&file)).map_err(fail)?;
    // Of an address space that has gone meanwhile, the kernel says nothing more.
    if is_empty(&file).map_err(fail)? {
        return Err(process.error(Operation::ProcessMap, Errno::ESRCH));
    }
    let mut arguments = Vec::new();
    let read = process.file("cmdline").and_then(|file| file.take(MOST_ARGUMENTS).read_to_end(&mut arguments));
    read.map_err(fail)?;
    Ok(ProcessMap { pid: pid.as_raw(), command: process_map::command_line(&arguments), layout: None, entries })
}

/// Whether a file in proc(5) has nothing to say now.
fn is_empty(file: &File) -> io::Result<bool> {
    Ok(file.read_at(&mut [0], 0)? == 0)
}
