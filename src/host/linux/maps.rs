//! A process's memory map, from /proc/pid/maps or, with what is in memory, from smaps and numa_maps.
//!
//! The kernel hands each over in parts, and what the process maps meanwhile may be in them or not. All is of one
//! address space all the same, or there is an error.

use super::process::{Process, has_nodes};
use crate::error::{Error, Result};
use crate::host::Pid;
use crate::kernel_error::Operation;
use crate::kernel_error::errno_of;
use crate::process_map::PagesByDomain;
use crate::process_map::{self, Detail, MapEntry, ProcessMap, numa_maps, procfs};
use nix::errno::Errno;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;

/// More of a process's arguments is not read.
const MAX_ARGUMENTS: u64 = 4096;

/// Reads the map of a process.
pub fn read(pid: Pid, detail: Detail, page_size: u64) -> Result<ProcessMap> {
    // In a PID namespace that has no /proc of its own, this process is there under another number.
    let process = Process::open(Some(pid).filter(|pid| *pid != Pid::this()), Operation::ProcessMap)?;
    let fail = |name: &str, error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData => Error::Format(format!("/proc/{pid}/{name}: {error}")),
        _ => process.error(Operation::ProcessMap, errno_of(&error)),
    };
    let stack = process.stack_start().map_err(|error| fail("stat", error))?;
    let name = if detail == Detail::Mappings { "maps" } else { "smaps" };
    let file = process.file(name).map_err(|error| fail(name, error))?;
    let entries = procfs::parse(BufReader::new(&file)).map_err(|error| fail(name, error))?;
    let domains = (detail == Detail::Domains).then(|| domains(&process, &entries, page_size)).transpose();
    let domains = domains.map_err(|error| fail("numa_maps", error))?;
    let mut command = Vec::new();
    let read = process.file("cmdline").and_then(|file| file.take(MAX_ARGUMENTS).read_to_end(&mut command));
    read.map_err(|error| fail("cmdline", error))?;
    if command.iter().all(|byte| *byte == 0) {
        command = process.link("exe").unwrap_or_default().into_vec();
    }
    // Of an address space that has gone meanwhile, the kernel says nothing more. A parent in vfork(2) keeps its own,
    // which the child had till it became another program, whose stack is elsewhere.
    let same_stack = process.stack_start().map_err(|error| fail("stat", error))? == stack;
    if !same_stack || is_empty(&file).map_err(|error| fail(name, error))? {
        return Err(process.error(Operation::ProcessMap, Errno::EBUSY));
    }
    Ok(ProcessMap {
        pid: pid.as_raw(),
        command: process_map::command_line(&command),
        layout: None,
        entries,
        domains,
        structures: None,
    })
}

/// The pages of each entry by NUMA domain.
fn domains(process: &Process, entries: &[MapEntry], page_size: u64) -> io::Result<Vec<PagesByDomain>> {
    match process.file("numa_maps") {
        Ok(file) => numa_maps::parse(BufReader::new(file), page_size)
            .map(|counted| numa_maps::for_entries(entries, counted, page_size)),
        // A kernel without NUMA has one domain, and no such file.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !has_nodes() => {
            let resident = |entry: &MapEntry| entry.usage.map_or(0, |usage| usage.resident / page_size);
            let in_one = |pages| {
                let mut counted = PagesByDomain::default();
                counted.add(Some(0), pages);
                counted
            };
            Ok(entries.iter().map(|entry| in_one(resident(entry))).collect())
        }
        Err(error) => Err(error),
    }
}

/// Whether a file in proc(5) has nothing to say now.
fn is_empty(file: &File) -> io::Result<bool> {
    Ok(file.read_at(&mut [0], 0)? == 0)
}
