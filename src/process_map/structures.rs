//! The map of a process as the kernel's own structures have it: in a dump, or in the memory of the running kernel.
//!
//! As [`vmmap`](super::vmmap) makes of what the kernel tells, and with what it does not tell: the addresses of the
//! structures, inheritance, wiring, advice, and what of anonymous memory is private.

use super::vmmap::{device, label, object_of};
use super::{EntryStructures, KERNEL, Layout, MapEntry, MapStructures, Object, ProcessMap, Superpages, Usage};
use crate::error::{Error, Result};
use ioctl_defs::user::*;
use nix::unistd::Pid;
use std::thread;
use std::time::Duration;
use vmcore::Kernel;
use vmcore::kernel::{Process, Processes};
use vmcore::kinfo;
use vmcore::pmap::Protection;
use vmcore::units::{AddressRange, Hex};
use vmcore::vm::{AddressSpace, EntryFlags, MapFlags, MappedObject, Mapping, ObjectFlags, SpaceLayout, Target, VmMap};

/// Tries before a map of the running kernel that changes while it is read is given up.
const ATTEMPTS: u32 = 10;
/// The time between two of them.
const PAUSE: Duration = Duration::from_millis(1);
/// Stands before a path whose beginning the kernel has forgotten; no path begins so.
const FORGOTTEN: &[u8] = b".../";

/// A map that was read from structures.
pub struct StructureMap {
    /// The map.
    pub map: ProcessMap,
    /// The structures that it was read from.
    pub space: AddressSpace,
    /// Files whose device and number are not known, as their file system's structures are not.
    pub unknown_files: usize,
}

/// Reads the map of a process, or, for 0, of the kernel; how much of it is in memory only if that is asked.
///
/// `processes` are the kernel's, where they do not change: those of a dump. The running kernel changes its structures meanwhile:
/// a map is read again until it is of one moment.
///
/// # Errors
///
/// The kernel's types were not loaded, or are not those of a kernel with such structures; there is no such process, or it has
/// no memory of its own; its map cannot be read at all. What is missing in a map is no error: see
/// [`AddressSpace::problems`].
pub fn read_structures(
    kernel: &Kernel,
    processes: Option<&Processes>,
    pid: Pid,
    with_pages: bool,
) -> Result<StructureMap> {
    let is_running = kernel.memory().dump().is_none();
    let mut attempt = 1;
    loop {
        let read = read_once(kernel, processes, pid, with_pages);
        let is_of_one_moment = || match &read {
            Ok(read) => read.space.problems.is_empty() && !has_changed(kernel, &read.space.map),
            Err(error) => matches!(error, Error::Unsupported(_) | Error::Refused(_)),
        };
        if !is_running || attempt == ATTEMPTS || is_of_one_moment() {
            return read;
        }
        attempt += 1;
        thread::sleep(PAUSE);
    }
}

/// Whether a map is another one than when it was read.
fn has_changed(kernel: &Kernel, map: &VmMap) -> bool {
    let is_same = |typed| VmMap::read(typed, map.address).is_ok_and(|now| now.version == map.version);
    !kernel.typed().is_ok_and(is_same)
}

fn read_once(kernel: &Kernel, processes: Option<&Processes>, pid: Pid, with_pages: bool) -> Result<StructureMap> {
    if pid == KERNEL {
        let space = AddressSpace::read_kernel(kernel.typed()?, with_pages)?;
        return Ok(convert(space, 0, b"kernel"));
    }
    let process = match processes {
        Some(processes) => find(processes, pid)?,
        None => find(&kernel.processes()?, pid)?,
    };
    let space = AddressSpace::read_process(kernel.typed()?, &process, with_pages)?;
    if space.mappings.is_empty() && space.problems.is_empty() {
        return Err(Error::Unsupported(format!(
            "process {pid} has no memory of its own: it is a kernel process, or has exited; PID 0 is the kernel's map"
        )));
    }
    Ok(convert(space, process.pid, &command(kernel, &process)))
}

fn find(processes: &Processes, pid: Pid) -> Result<Process> {
    let found = processes.list.iter().find(|process| process.pid == pid.as_raw());
    found.cloned().ok_or_else(|| match processes.warnings.first() {
        Some(warning) => Error::Refused(format!("process {pid} was not found, and the list is damaged: {warning}")),
        None => Error::Refused(format!("the kernel has no process {pid}")),
    })
}

/// A process's arguments, with a space between them, or its program's name where these are not in memory.
fn command(kernel: &Kernel, process: &Process) -> Vec<u8> {
    let read = || kinfo::arguments(&kernel.typed()?.structure_at("proc", process.address)?);
    match read() {
        Ok(Some(arguments)) if !arguments.is_empty() => arguments.join(&b' '),
        _ => process.command.clone(),
    }
}

fn convert(space: AddressSpace, pid: i32, command: &[u8]) -> StructureMap {
    let layout = space.layout.map(|layout| layout_of(&space.map, layout));
    let mut unknown_files = 0;
    let mut entries = Vec::with_capacity(space.mappings.len());
    for mapping in &space.mappings {
        let entry = if pid == KERNEL.as_raw() { kernel_entry(mapping) } else { entry_of(mapping, layout.as_ref()) };
        unknown_files += usize::from(is_unknown_file(mapping));
        entries.push(entry);
    }
    let structures = Some(MapStructures {
        vmspace: space.vmspace.map(Hex),
        map: Hex(space.map.address),
        start: Hex(space.map.start),
        end: Hex(space.map.end),
        entry_count: space.map.entry_count,
        size: space.map.size,
        references: space.references,
        version: space.map.version,
        flags: Hex(space.map.flags.into()),
        pmap: Hex(space.map.pmap),
        resident_pages: space.map.pmap_resident,
    });
    let map = ProcessMap { pid, command: command.into(), layout, entries, domains: None, structures };
    StructureMap { map, space, unknown_files }
}

fn is_unknown_file(mapping: &Mapping) -> bool {
    matches!(&mapping.target, Target::Object(mapped) if mapped.vnode.is_some() && mapped.file.is_none())
}

/// As `sysctl_kern_proc_vm_layout()`, `sys/kern/kern_proc.c`.
fn layout_of(map: &VmMap, layout: SpaceLayout) -> Layout {
    let flags = [
        map.flags & MapFlags::WIRE_FUTURE != 0,
        map.flags & MapFlags::ASLR != 0,
        map.flags & MapFlags::ASLR_IGNORE_START != 0,
        map.flags & MapFlags::W_XOR_X != 0,
        map.flags & MapFlags::ASLR_STACK != 0,
        layout.is_shared_page_moved,
    ];
    Layout {
        user: AddressRange { start: map.start, end: map.end },
        data: layout.data,
        stack_limit: layout.stack_limit,
        stack_size: layout.stack_size,
        shared_page: layout.shared_page,
        // In the order of `KMAP_FLAG_…`.
        flags: (0..).zip(flags).fold(0, |all, (bit, is_set)| all | u32::from(is_set) << bit),
    }
}

/// What an entry says without its object.
fn bare_entry(mapping: &Mapping, object: Object) -> MapEntry {
    let from = &mapping.entry;
    let mut entry = MapEntry::new(from.start, from.end, object);
    entry.protection = protection(from.protection);
    entry.max_protection = Some(protection(from.max_protection));
    entry.copy_on_write = from.has(EntryFlags::COW);
    entry.needs_copy = Some(from.has(EntryFlags::NEEDS_COPY));
    entry.private = entry.copy_on_write;
    entry.inheritance = Some(from.inheritance);
    entry.wired = Some(from.wired_count);
    entry.advice = Some(match from.flags & (EntryFlags::SEQUENTIAL | EntryFlags::RANDOM) {
        EntryFlags::RANDOM => 1,
        EntryFlags::SEQUENTIAL => 2,
        _ => 0,
    });
    entry.locked = Some(from.has(EntryFlags::USER_WIRED));
    entry.no_core_dump = Some(from.has(EntryFlags::NO_CORE_DUMP));
    entry.usage = usage(mapping);
    entry.structures = Some(EntryStructures {
        entry: Hex(from.address),
        object: Hex(from.object),
        object_offset: Hex(from.offset),
        vnode: None,
        flags: Hex(from.flags.into()),
        sub_map: from.has(EntryFlags::IS_SUB_MAP),
    });
    entry
}

fn usage(mapping: &Mapping) -> Option<Usage> {
    let counted = mapping.residency?;
    Some(Usage {
        resident: counted.resident,
        private: Some(counted.private),
        shared: Some(counted.resident.saturating_sub(counted.private)),
        superpages: mapping.superpages.map_or(Superpages::Unknown, Superpages::Bytes),
        dirty: None,
        swapped: Some(counted.swapped),
    })
}

const fn protection(bits: u32) -> Protection {
    Protection { read: bits & 1 != 0, write: bits & 2 != 0, execute: bits & 4 != 0 }
}

fn entry_of(mapping: &Mapping, layout: Option<&Layout>) -> MapEntry {
    let (kind, flags) = kind_of(mapping);
    let mut entry = bare_entry(mapping, object_of(kind, flags));
    match &mapping.target {
        Target::Guard => (entry.private, entry.references) = (true, Some(0)),
        Target::Object(mapped) => add_object(&mut entry, mapped),
        // Memory that nobody has touched: its object will be nobody else's.
        Target::Nothing => entry.private = true,
        Target::SubMap(_) | Target::Unread => {}
    }
    if entry.path.is_empty() {
        entry.label = label(kind, flags, &entry, layout).as_bytes().to_vec();
    }
    entry
}

/// `KVME_TYPE_…` and `KVME_FLAG_…` of an entry, as `kern_proc_vmmap_out()` has them.
fn kind_of(mapping: &Mapping) -> (i32, i32) {
    let growing = if mapping.entry.has(EntryFlags::GROWS_DOWN) { KVME_FLAG_GROWS_DOWN } else { 0 };
    match &mapping.target {
        Target::Nothing => (KVME_TYPE_NONE, growing),
        Target::Guard => (KVME_TYPE_GUARD, growing),
        Target::SubMap(_) | Target::Unread => (KVME_TYPE_UNKNOWN, growing),
        Target::Object(mapped) => {
            let flag = |object, flag| if mapped.last.has(object) { flag } else { 0 };
            let shared =
                flag(ObjectFlags::SYSV_SHM, KVME_FLAG_SYSVSHM) | flag(ObjectFlags::POSIX_SHM, KVME_FLAG_POSIXSHM);
            (mapped.last.kvme_type.unwrap_or(KVME_TYPE_UNKNOWN), growing | shared)
        }
    }
}

fn add_object(entry: &mut MapEntry, mapped: &MappedObject) {
    entry.private = entry.private || mapped.is_alone;
    entry.offset = mapped.offset;
    entry.references = Some(mapped.first.references);
    entry.object_id = mapped.first.has(ObjectFlags::ANON).then_some(Hex(mapped.first.address));
    if let Some(file) = mapped.file {
        (entry.device, entry.inode) = (device(file.device), file.inode);
    }
    if let Some(structures) = &mut entry.structures {
        structures.vnode = mapped.vnode.map(Hex);
    }
    entry.path = match &*mapped.path {
        path if path.is_whole || path.path.is_empty() => path.path.clone(),
        path => [FORGOTTEN, &path.path].concat(),
    };
}

/// An entry of the kernel's own map, all of which is the kernel's.
fn kernel_entry(mapping: &Mapping) -> MapEntry {
    let object = if matches!(mapping.target, Target::Guard) { Object::Guard } else { Object::Kernel };
    let mut entry = bare_entry(mapping, object);
    entry.label = match &mapping.target {
        Target::Guard => "guard",
        Target::SubMap(name) => name.unwrap_or("submap"),
        _ => "kernel",
    }
    .as_bytes()
    .to_vec();
    if let Target::Object(mapped) = &mapping.target {
        entry.offset = mapped.offset;
        entry.references = Some(mapped.first.references);
    }
    entry
}
