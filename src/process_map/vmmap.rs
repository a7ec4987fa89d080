//! `kern.proc.vmmap` and `kern.proc.vm_layout`: what a FreeBSD kernel tells of a process's memory
//! (`sys/user.h`; `kern_proc_vmmap_out` and `sysctl_kern_proc_vm_layout`, `sys/kern/kern_proc.c`).
//!
//! Records one after another, each of the size that it states itself.

use super::{Device, Layout, MapEntry, Object, Superpages, Usage};
use ioctl_defs::user::*;
use std::collections::HashMap;
use std::mem::{offset_of, size_of};
use vmcore::bounds::low_u32;
use vmcore::pmap::Protection;
use vmcore::text::until_nul;
use vmcore::units::{AddressRange, Hex};

/// What a record has in front of the path.
const FIXED: usize = offset_of!(kinfo_vmentry, kve_path);

/// What else has to be known to understand the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VmmapContext {
    /// Bytes of a page.
    pub page_size: u64,
    /// How the process's address space is laid out, where the kernel tells.
    pub layout: Option<Layout>,
    /// Whether the kernel counts the pages in memory: not if `kern.proc_vmmap_skip_resident_count` is set.
    pub counted: bool,
}

/// A record, taken apart.
struct Record {
    kind: i32,
    flags: i32,
    /// Anonymous memory: what identifies the object, where the kernel tells.
    object: Option<u64>,
    resident: u64,
    /// Pages of the first object, if no other is behind it.
    first_object: u64,
    references: u32,
    entry: MapEntry,
}

impl Record {
    const fn has(&self, flag: i32) -> bool {
        self.flags & flag != 0
    }

    const fn is_anonymous(&self) -> bool {
        matches!(self.kind, KVME_TYPE_NONE | KVME_TYPE_DEFAULT | KVME_TYPE_SWAP)
            && !self.has(KVME_FLAG_SYSVSHM | KVME_FLAG_POSIXSHM)
    }
}

/// Reads the records.
///
/// # Errors
///
/// The record that is not understood, and why.
pub fn parse(bytes: &[u8], facts: &VmmapContext) -> Result<Vec<MapEntry>, String> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Some(size) = number::<4>(rest, 0).map(i32::from_ne_bytes) {
        if size == 0 && rest.iter().all(|byte| *byte == 0) {
            rest = &[];
            break;
        }
        let index = records.len();
        let wrong = || format!("record {index} claims {size} bytes, and {} remain", rest.len());
        let length = usize::try_from(size).map_err(|_| wrong())?;
        let (record, behind) = rest.split_at_checked(length).ok_or_else(wrong)?;
        records.push(read(record, facts).ok_or_else(|| format!("record {index} has only {size} bytes"))?);
        rest = behind;
    }
    if !rest.is_empty() {
        return Err(format!("{} bytes remain after the last record", rest.len()));
    }
    // How many entries of this process refer to an object; others may as well.
    let mut own: HashMap<u64, u32> = HashMap::new();
    for object in records.iter().filter_map(|record| record.object) {
        *own.entry(object).or_default() += 1;
    }
    let finish = |record: Record| {
        let own = record.object.and_then(|object| own.get(&object)).copied().unwrap_or(1);
        finish(record, own, facts)
    };
    Ok(records.into_iter().map(finish).collect())
}

fn number<const BYTES: usize>(record: &[u8], at: usize) -> Option<[u8; BYTES]> {
    record.get(at..)?.first_chunk().copied()
}

/// Takes a record apart; `None` if it is too short.
fn read(record: &[u8], facts: &VmmapContext) -> Option<Record> {
    let int = |at| Some(i32::from_ne_bytes(number(record, at)?));
    let long = |at| Some(u64::from_ne_bytes(number(record, at)?));
    let count = |at| Some(int(at)?.max(0).cast_unsigned());
    let path = record.get(FIXED..).filter(|path| !path.is_empty())?;
    let path = until_nul(path);
    let kind = int(offset_of!(kinfo_vmentry, kve_type))?;
    let flags = int(offset_of!(kinfo_vmentry, kve_flags))?;
    // What shm_open(2) made without a name has this one, which no name is: they begin with '/' (`shm_get_path`,
    // `sys/kern/uipc_shm.c`).
    let path = if flags & KVME_FLAG_POSIXSHM != 0 && path == b"anon" { &[] } else { path };
    let bits = int(offset_of!(kinfo_vmentry, kve_protection))?;
    let specific = long(offset_of!(kinfo_vmentry, kve_type_spec))?;
    let narrow = int(offset_of!(kinfo_vmentry, kve_vn_fsid_freebsd11))?.cast_unsigned();
    let status = i32::from(u16::from_ne_bytes(number(record, offset_of!(kinfo_vmentry, kve_status))?));
    let is_file = kind == KVME_TYPE_VNODE;
    let object = Some(specific).filter(|id| *id != 0 && matches!(kind, KVME_TYPE_DEFAULT | KVME_TYPE_SWAP));
    let file_system = if specific == 0 { narrow.into() } else { specific };
    let has = |flag| flags & flag != 0;
    let resident = count(offset_of!(kinfo_vmentry, kve_resident))?.into();
    let first_object = count(offset_of!(kinfo_vmentry, kve_private_resident))?.into();
    let references = count(offset_of!(kinfo_vmentry, kve_ref_count))?;
    let start = long(offset_of!(kinfo_vmentry, kve_start))?;
    let mut entry = MapEntry::new(start, long(offset_of!(kinfo_vmentry, kve_end))?, object_of(kind, flags));
    let limits = KVME_MAX_PROT_READ | KVME_MAX_PROT_WRITE | KVME_MAX_PROT_EXEC;
    let allowed = |read: i32, write: i32, execute: i32| Protection {
        read: bits & read != 0,
        write: bits & write != 0,
        execute: bits & execute != 0,
    };
    entry.protection = allowed(KVME_PROT_READ, KVME_PROT_WRITE, KVME_PROT_EXEC);
    // Only a guard allows nothing at all; older kernels say so of every entry, and mean nothing by it.
    let tells = bits & limits != 0 || kind == KVME_TYPE_GUARD;
    entry.max_protection = tells.then(|| allowed(KVME_MAX_PROT_READ, KVME_MAX_PROT_WRITE, KVME_MAX_PROT_EXEC));
    entry.copy_on_write = has(KVME_FLAG_COW);
    entry.needs_copy = Some(has(KVME_FLAG_NEEDS_COPY));
    // Where there is no object, there is no place in one: a stack's guard keeps the stack's protection in that field
    // (vm_map_stack_locked).
    entry.offset = match kind {
        KVME_TYPE_NONE | KVME_TYPE_GUARD => 0,
        _ => long(offset_of!(kinfo_vmentry, kve_offset))?,
    };
    // The kernel may not have been able to ask the file system; then what it has there is something else.
    if is_file && status & KF_ATTR_VALID != 0 {
        entry.inode = long(offset_of!(kinfo_vmentry, kve_vn_fileid))?;
        entry.device = device(file_system);
    }
    entry.object_id = object.map(Hex);
    entry.references = (kind != KVME_TYPE_NONE).then_some(references);
    entry.locked = Some(has(KVME_FLAG_USER_WIRED));
    entry.no_core_dump = Some(has(KVME_FLAG_NOCOREDUMP));
    entry.path = path.to_vec();
    if path.is_empty() {
        entry.label = label(kind, flags, &entry, facts.layout.as_ref()).as_bytes().to_vec();
    }
    Some(Record { kind, flags, object, resident, first_object, references, entry })
}

pub(super) const fn object_of(kind: i32, flags: i32) -> Object {
    match kind {
        _ if flags & KVME_FLAG_SYSVSHM != 0 => Object::SysvShm,
        _ if flags & KVME_FLAG_POSIXSHM != 0 => Object::PosixShm,
        KVME_TYPE_NONE => Object::None,
        KVME_TYPE_DEFAULT | KVME_TYPE_SWAP => Object::Anonymous,
        KVME_TYPE_VNODE => Object::Vnode,
        KVME_TYPE_DEVICE | KVME_TYPE_MGTDEVICE => Object::Device,
        KVME_TYPE_PHYS => Object::Physical,
        KVME_TYPE_DEAD => Object::Dead,
        KVME_TYPE_SG => Object::ScatterGather,
        KVME_TYPE_GUARD => Object::Guard,
        _ => Object::Unknown,
    }
}

/// What an entry without a path is.
pub(super) fn label(kind: i32, flags: i32, entry: &MapEntry, layout: Option<&Layout>) -> &'static str {
    let within = |region: fn(&Layout) -> AddressRange| layout.map(|layout| region(layout).contains(entry.start));
    match kind {
        _ if flags & KVME_FLAG_SYSVSHM != 0 => "sysv shm",
        _ if flags & KVME_FLAG_POSIXSHM != 0 => "posix shm",
        KVME_TYPE_GUARD => "guard",
        _ if flags & (KVME_FLAG_GROWS_DOWN | KVME_FLAG_GROWS_UP) != 0 => "stack",
        // Where the kernel does not tell where it is: it alone is physical memory that can be executed.
        KVME_TYPE_PHYS if within(|layout| layout.shared_page).unwrap_or(entry.protection.execute) => "vdso",
        KVME_TYPE_PHYS => "physical",
        KVME_TYPE_DEVICE | KVME_TYPE_MGTDEVICE => "device",
        KVME_TYPE_SG => "scatter/gather",
        KVME_TYPE_DEAD => "dead",
        KVME_TYPE_VNODE => "file",
        KVME_TYPE_NONE | KVME_TYPE_DEFAULT | KVME_TYPE_SWAP => {
            if within(|layout| layout.data) == Some(true) {
                "heap"
            } else {
                "anon"
            }
        }
        _ => "unknown",
    }
}

/// Adds what takes the whole map to know.
fn finish(record: Record, own: u32, facts: &VmmapContext) -> MapEntry {
    // MAP_ANON sets no copy-on-write (vm_mmap_object): such memory is private unless somebody else refers to it.
    let alone = record.is_anonymous() && record.references <= own;
    let bytes = |pages: u64| pages.saturating_mul(facts.page_size);
    let resident = bytes(record.resident);
    let private = if record.resident == 0 {
        Some(0)
    } else if record.has(KVME_FLAG_COW) && !record.has(KVME_FLAG_NEEDS_COPY) {
        // An object of its own, with another one behind it unless its pages are told.
        (alone && record.first_object > 0).then_some(resident)
    } else if record.is_anonymous() {
        // An object of nobody else that has one behind it: after fork(2), when the child has gone.
        if alone { (record.first_object > 0).then_some(resident) } else { Some(0) }
    } else {
        Some(0)
    };
    let usage = Usage {
        resident,
        private,
        shared: private.map(|private| resident.saturating_sub(private)),
        superpages: Superpages::Used(record.has(KVME_FLAG_SUPER)),
        dirty: None,
        swapped: None,
    };
    let mut entry = record.entry;
    entry.private = entry.copy_on_write || alone || entry.object == Object::Guard;
    entry.usage = facts.counted.then_some(usage);
    entry
}

/// `major` and `minor` of `sys/types.h`.
pub(super) fn device(number: u64) -> Device {
    Device {
        major: low_u32(number >> 32 & 0xffff_ff00 | number >> 8 & 0xff),
        minor: low_u32(number >> 24 & 0xff00 | number & 0xffff_00ff),
    }
}

/// Reads the layout that the kernel answered, whose sizes are in pages but for the shared page's; `None` if it is of
/// another size than this machine's.
pub fn parse_layout(bytes: &[u8], page_size: u64) -> Option<Layout> {
    if bytes.len() != size_of::<kinfo_vm_layout>() {
        return None;
    }
    let word = |at| Some(usize::from_ne_bytes(number(bytes, at)?) as u64);
    let pages = |at| Some(word(at)?.saturating_mul(page_size));
    let region = |start, size| {
        let start = word(start)?;
        Some(AddressRange { start, end: start.saturating_add(size) })
    };
    Some(Layout {
        user: AddressRange {
            start: word(offset_of!(kinfo_vm_layout, kvm_min_user_addr))?,
            end: word(offset_of!(kinfo_vm_layout, kvm_max_user_addr))?,
        },
        data: region(offset_of!(kinfo_vm_layout, kvm_data_addr), pages(offset_of!(kinfo_vm_layout, kvm_data_size))?)?,
        stack_limit: word(offset_of!(kinfo_vm_layout, kvm_stack_addr))?,
        stack_size: pages(offset_of!(kinfo_vm_layout, kvm_stack_size))?,
        shared_page: region(
            offset_of!(kinfo_vm_layout, kvm_shp_addr),
            word(offset_of!(kinfo_vm_layout, kvm_shp_size))?,
        )?,
        flags: u32::from_ne_bytes(number(bytes, offset_of!(kinfo_vm_layout, kvm_map_flags))?),
    })
}
