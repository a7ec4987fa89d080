//! The memory map of a process: what is mapped at which addresses, how, and how much of it is in memory.
//!
//! [`vmmap`] reads what a FreeBSD kernel tells, [`structures`] what its memory or a dump has, [`procfs`] what a Linux kernel
//! tells; [`from_kernel_maps`] makes the same of the kernel's own map. Sizes are bytes throughout.

mod adapters;
mod kernel;
pub mod numa_maps;
mod pages_by_domain;
pub mod procfs;
pub mod structures;
#[cfg(test)]
mod tests;
pub mod vmmap;

pub use adapters::layout_flags::serialize as layout_flags;
use adapters::{advice, inheritance, inode, letters, maybe_letters, text, unless_default};
pub use kernel::from_kernel_maps;
use nix::unistd::Pid;
pub use pages_by_domain::PagesByDomain;
use serde::{Deserialize, Serialize};
use vmcore::pmap::Protection;
use vmcore::text::Name;
use vmcore::units::{AddressRange, Hex, hex};

/// Stands for the kernel.
pub const KERNEL: Pid = Pid::from_raw(0);

/// How much is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What is mapped where.
    Mappings,
    /// Also how much of it is in memory, which takes longer to find out.
    Usage,
    /// Also in which NUMA domains that is.
    Domains,
}

/// The map of a process, or of the kernel.
///
/// Maps are read by [`read_process_map`](crate::host::read_process_map), or kept as JSON:
///
/// ```
/// use memtool::process_map::{ProcessMap, Totals};
///
/// let json = r#"{"pid": 7, "command": "sh", "entries": []}"#;
/// let map: ProcessMap = serde_json::from_str(json)?;
/// assert!(map.problem().is_none());
/// assert_eq!(Totals::from_entries(&map.entries), Totals::from_entries(&[]));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessMap {
    /// The process's number; 0 is the kernel.
    pub pid: i32,
    /// Its arguments, with a space between them, or its program's path.
    pub command: Name,
    /// How its address space is laid out, where the kernel tells.
    #[serde(default)]
    pub layout: Option<Layout>,
    /// Its entries, ascending; no two overlap.
    pub entries: Vec<MapEntry>,
    /// What of each entry is in which NUMA domain; `None` if that was not asked for.
    #[serde(skip)]
    pub domains: Option<Vec<PagesByDomain>>,
    /// The kernel's structures, where it was read from these.
    #[serde(skip)]
    pub structures: Option<MapStructures>,
}

/// The structure that a map was read from, `struct vm_map`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MapStructures {
    /// Where the `struct vmspace` is; the kernel's map has none.
    pub vmspace: Option<Hex>,
    /// Where the `struct vm_map` is.
    pub map: Hex,
    /// The first address that can be mapped.
    pub start: Hex,
    /// The first address behind those that can be mapped.
    pub end: Hex,
    /// How many entries it has, as it says itself.
    pub entry_count: u64,
    /// Bytes that are mapped, as it says itself.
    pub size: u64,
    /// How many refer to the `struct vmspace`.
    #[serde(rename = "reference_count")]
    pub references: Option<u32>,
    /// How often it was changed.
    #[serde(rename = "map_version")]
    pub version: u32,
    /// `MAP_…` of `sys/vm/vm_map.h`.
    #[serde(rename = "map_flags")]
    pub flags: Hex,
    /// Where the `struct pmap` is.
    pub pmap: Hex,
    /// Pages that the pmap maps, where it counts them.
    #[serde(rename = "pmap_resident_count")]
    pub resident_pages: Option<u64>,
}

/// The structure that an entry was read from, `struct vm_map_entry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryStructures {
    /// Where it is.
    pub entry: Hex,
    /// Where its `struct vm_object` is or, of a part of another map, that `struct vm_map`; 0 without one.
    #[serde(rename = "object_address")]
    pub object: Hex,
    /// Where in that object it begins. [`MapEntry::offset`] is that in the last of the objects behind it.
    pub object_offset: Hex,
    /// Where the `struct vnode` of its file is.
    pub vnode: Option<Hex>,
    /// `MAP_ENTRY_…` of `sys/vm/vm_map.h`.
    #[serde(rename = "entry_flags")]
    pub flags: Hex,
    /// Whether it is a part of another map.
    pub sub_map: bool,
}

/// How an address space is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// All that can be mapped.
    pub user: AddressRange,
    /// The program's data, and the heap of brk(2) behind it.
    pub data: AddressRange,
    /// The lowest address that the main thread's stack may grow to.
    #[serde(with = "hex")]
    pub stack_limit: u64,
    /// Bytes that the stack has grown to, from its other end.
    pub stack_size: u64,
    /// The page that the kernel shares with programs.
    pub shared_page: AddressRange,
    /// `KMAP_FLAG_…` of `sys/user.h`.
    #[serde(with = "adapters::layout_flags")]
    pub flags: u32,
}

/// An entry of a map: addresses that are mapped in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapEntry {
    /// First address.
    #[serde(with = "hex")]
    pub start: u64,
    /// First address after the entry; 0 stands for the end of the address space.
    #[serde(with = "hex")]
    pub end: u64,
    /// What may be done with it.
    #[serde(with = "letters")]
    pub protection: Protection,
    /// What mprotect(2) may allow; `None` where the kernel does not tell.
    #[serde(default, with = "maybe_letters")]
    pub max_protection: Option<Protection>,
    /// Whether writing is seen by nobody else.
    pub private: bool,
    /// Whether it is copied when it is written.
    #[serde(default)]
    pub copy_on_write: bool,
    /// Whether nothing of it has been copied yet; `None` where the kernel does not tell.
    #[serde(default)]
    pub needs_copy: Option<bool>,
    /// Where in the object it begins.
    #[serde(with = "hex")]
    pub offset: u64,
    /// The device of the file's file system; 0 and 0 without a file.
    #[serde(default, with = "unless_default")]
    pub device: Device,
    /// The file's number in its file system; 0 without a file.
    #[serde(default, with = "inode")]
    pub inode: u64,
    /// What is mapped.
    pub object: Object,
    /// What identifies the kernel's object, where the kernel tells.
    #[serde(default)]
    pub object_id: Option<Hex>,
    /// How many refer to the object, where the kernel tells.
    #[serde(default, rename = "reference_count")]
    pub references: Option<u32>,
    /// The path of the file, as the kernel knows it; empty without one.
    #[serde(default, with = "text")]
    pub path: Vec<u8>,
    /// What it is, such as `heap`, if it has no path; else empty.
    #[serde(default, with = "text")]
    pub label: Vec<u8>,
    /// What a child gets at fork(2), as `VM_INHERIT_…`: 0 shares it, 1 has a copy, 2 has nothing there, 3 has zeros;
    /// `None` where the kernel does not tell.
    #[serde(default, with = "inheritance")]
    pub inheritance: Option<u32>,
    /// How many keep it from being paged out; `None` where the kernel does not tell.
    #[serde(default, rename = "wired_count")]
    pub wired: Option<u32>,
    /// The advice of madvise(2): 0 normal, 1 random, 2 sequential; `None` where the kernel does not tell.
    #[serde(default, with = "advice")]
    pub advice: Option<u32>,
    /// Whether the process has locked it into memory; `None` where the kernel does not tell.
    #[serde(default)]
    pub locked: Option<bool>,
    /// Whether it is left out of core dumps; `None` where the kernel does not tell.
    #[serde(default)]
    pub no_core_dump: Option<bool>,
    /// How much of it is in memory; `None` where that was not counted.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// The kernel's structures, where it was read from these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structures: Option<EntryStructures>,
}

/// A device's number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its driver.
    pub major: u32,
    /// Which of the driver's.
    pub minor: u32,
}

/// What is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    /// Nothing yet.
    None,
    /// Memory that belongs to no file.
    Anonymous,
    /// A file.
    Vnode,
    /// A device's memory.
    Device,
    /// Physical memory that is never paged.
    Physical,
    /// An object whose file or device is gone.
    Dead,
    /// A scatter/gather list of physical memory.
    ScatterGather,
    /// Addresses that nothing may be mapped at.
    Guard,
    /// Shared memory of shmget(2).
    SysvShm,
    /// Shared memory of `shm_open(2)`.
    PosixShm,
    /// The kernel's own memory.
    Kernel,
    /// The kernel does not say what.
    Unknown,
}

/// How much of an entry is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// What is in memory.
    #[serde(rename = "bytes_resident")]
    pub resident: u64,
    /// What of that nobody else uses; `None` where the kernel does not tell it apart.
    #[serde(rename = "bytes_private")]
    pub private: Option<u64>,
    /// What of that others may use too; `None` where the kernel does not tell it apart.
    #[serde(rename = "bytes_shared")]
    pub shared: Option<u64>,
    /// What superpages map.
    pub superpages: Superpages,
    /// What has been written and is not on disk; `None` where the kernel does not tell.
    #[serde(default, rename = "bytes_dirty")]
    pub dirty: Option<u64>,
    /// What is in swap space; `None` where the kernel does not tell.
    #[serde(default, rename = "bytes_swapped")]
    pub swapped: Option<u64>,
}

/// What superpages map of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Superpages {
    /// So many bytes.
    Bytes(u64),
    /// Whether there is one at all; how many is not told.
    Used(bool),
    /// The page tables are not known.
    Unknown,
}

impl MapEntry {
    /// An entry without anything but addresses and what it maps.
    pub fn new(start: u64, end: u64, object: Object) -> Self {
        Self {
            start,
            end,
            protection: Protection { read: false, write: false, execute: false },
            max_protection: None,
            private: true,
            copy_on_write: false,
            needs_copy: None,
            offset: 0,
            device: Device::default(),
            inode: 0,
            object,
            object_id: None,
            references: None,
            path: Vec::new(),
            label: Vec::new(),
            inheritance: None,
            wired: None,
            advice: None,
            locked: None,
            no_core_dump: None,
            usage: None,
            structures: None,
        }
    }

    /// Bytes of addresses.
    pub const fn size(&self) -> u64 {
        self.end.wrapping_sub(self.start)
    }

    /// First address after the entry; 2^64 at the end of the address space.
    pub fn end_address(&self) -> u128 {
        if self.end == 0 { 1 << 64 } else { self.end.into() }
    }

    /// Whether nothing may be done with it: it only reserves addresses.
    pub const fn is_reserved(&self) -> bool {
        !(self.protection.read || self.protection.write || self.protection.execute)
    }
}

/// Reads a process's arguments, each with a NUL behind it, as one line.
pub fn command_line(mut arguments: &[u8]) -> Name {
    // A process that has shortened its title leaves NULs behind it.
    while let [before @ .., 0] = arguments {
        arguments = before;
    }
    arguments.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect::<Vec<u8>>().into()
}

/// Addresses between two entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
}

impl ProcessMap {
    /// What is wrong with it, if anything: entries that are empty, or begin before the one before them ends.
    pub fn problem(&self) -> Option<String> {
        let mut before = 0;
        for (index, entry) in self.entries.iter().enumerate() {
            let (start, end) = (u128::from(entry.start), entry.end_address());
            if end <= start {
                return Some(format!("entry {index} does not end after its start"));
            }
            if start < before {
                return Some(format!("entry {index} begins before the previous one ends"));
            }
            before = end;
        }
        None
    }

    /// What lies between an entry and the one in front of it; `None` if they are adjacent.
    pub fn gap_before(&self, index: usize) -> Option<Gap> {
        let before = self.entries.get(index.checked_sub(1)?)?;
        let size = self.entries.get(index)?.start.checked_sub(before.end)?;
        (size > 0).then_some(Gap { start: before.end, size })
    }

    /// The gaps that something could be mapped in, each with the number of the entry behind it: not what lies between
    /// the two halves of the address space, where Linux has an entry of its own in every map.
    pub fn gaps(&self) -> impl Iterator<Item = (usize, Gap)> {
        let halves =
            |gap: &Gap| gap.start.cast_signed().is_negative() == (gap.start + gap.size).cast_signed().is_negative();
        (0..self.entries.len()).filter_map(move |index| Some((index, self.gap_before(index).filter(halves)?)))
    }

    /// Digits that an address takes in listings: those of 32 or of 64 bits.
    pub fn address_digits(&self) -> usize {
        let last = self.entries.last().map_or(0, MapEntry::end_address);
        if last <= 1 << 32 { 8 } else { 16 }
    }
}

/// Sums over the entries of a map.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Entries.
    #[serde(rename = "entry_count")]
    pub entries: u64,
    /// All addresses.
    pub size: u64,
    /// Addresses that something may be done with.
    #[serde(rename = "bytes_accessible")]
    pub accessible: u64,
    /// In memory; this and the following are `None` if it was not counted for each entry.
    #[serde(rename = "bytes_resident")]
    pub resident: Option<u64>,
    /// What of that nobody else uses, of the entries for which it is told.
    #[serde(rename = "bytes_private")]
    pub private: Option<u64>,
    /// What of that others may use too, of the entries for which it is told.
    #[serde(rename = "bytes_shared")]
    pub shared: Option<u64>,
    /// What of that the kernel does not tell apart.
    #[serde(rename = "bytes_undivided")]
    pub undivided: Option<u64>,
    /// What superpages map; `None` if the kernel does not tell how much.
    pub superpages: Option<u64>,
    /// What has been written and is not on disk; `None` if the kernel does not tell.
    #[serde(rename = "bytes_dirty")]
    pub dirty: Option<u64>,
}

impl Totals {
    /// The sums of these entries.
    pub fn from_entries<'a>(entries: impl IntoIterator<Item = &'a MapEntry>) -> Self {
        let mut totals = Self::default();
        let add = |sum: &mut u64, value: u64| *sum = sum.saturating_add(value);
        let add_some = |sum: &mut Option<u64>, value: u64| *sum = Some(sum.unwrap_or(0).saturating_add(value));
        let (mut are_unknown, mut is_complete) = (false, true);
        for entry in entries {
            totals.entries += 1;
            add(&mut totals.size, entry.size());
            if !entry.is_reserved() {
                add(&mut totals.accessible, entry.size());
            }
            let Some(usage) = entry.usage else {
                is_complete = false;
                continue;
            };
            add_some(&mut totals.resident, usage.resident);
            match (usage.private, usage.shared) {
                (Some(private), Some(shared)) => {
                    add_some(&mut totals.private, private);
                    add_some(&mut totals.shared, shared);
                }
                _ => add_some(&mut totals.undivided, usage.resident),
            }
            match usage.superpages {
                Superpages::Bytes(bytes) => add_some(&mut totals.superpages, bytes),
                Superpages::Used(_) => {}
                Superpages::Unknown => are_unknown = true,
            }
            if let Some(dirty) = usage.dirty {
                add_some(&mut totals.dirty, dirty);
            }
        }
        if are_unknown {
            totals.superpages = None;
        }
        if is_complete { totals } else { totals.without_usage() }
    }

    /// The sums of addresses alone.
    const fn without_usage(self) -> Self {
        let (resident, private, shared, undivided, superpages, dirty) = (None, None, None, None, None, None);
        Self { resident, private, shared, undivided, superpages, dirty, ..self }
    }
}
