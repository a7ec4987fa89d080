//! A map, `struct vm_map`, and its entries in ascending order (`sys/vm/vm_map.h`).
//!
//! Since `FreeBSD` 13 the entries are a threaded tree: where an entry has no child on a side, the pointer leads to its
//! neighbour on that side. Earlier ones are a list as well.

use crate::error::Result;
use crate::kernel::{Object, TypedMemory};
use crate::units::Hex;
use std::collections::{HashMap, HashSet};

/// More entries than the map of any process has.
const MAX_ENTRIES: usize = 1 << 20;

/// Bits of [`VmMapEntry::flags`], `MAP_ENTRY_…`.
#[derive(Debug, Clone, Copy)]
pub struct EntryFlags;

impl EntryFlags {
    /// It is part of another map.
    pub const IS_SUB_MAP: u32 = 0x2;
    /// It is copied when it is written.
    pub const COW: u32 = 0x4;
    /// Nothing of it has been copied yet.
    pub const NEEDS_COPY: u32 = 0x8;
    /// It has no object, and no page fault brings pages into it: the kernel maps and unmaps its own memory there.
    pub const NO_FAULT: u32 = 0x10;
    /// The process has locked it into memory.
    pub const USER_WIRED: u32 = 0x20;
    /// madvise(2) said that it is read in sequence.
    pub const SEQUENTIAL: u32 = 0x40;
    /// madvise(2) said that it is read at random.
    pub const RANDOM: u32 = 0x80;
    /// It is left out of core dumps.
    pub const NO_CORE_DUMP: u32 = 0x400;
    /// It grows downwards.
    pub const GROWS_DOWN: u32 = 0x1000;
    /// Nothing may be mapped there.
    pub const GUARD: u32 = 0x1_0000;
}

/// Bits of [`VmMap::flags`], `MAP_…`.
#[derive(Debug, Clone, Copy)]
pub struct MapFlags;

impl MapFlags {
    /// What is mapped is locked into memory.
    pub const WIRE_FUTURE: u32 = 0x1;
    /// Addresses are randomized.
    pub const ASLR: u32 = 0x8;
    /// Addresses are randomized in the place of the heap, too.
    pub const ASLR_IGNORE_START: u32 = 0x10;
    /// Nothing can be both written and executed.
    pub const W_XOR_X: u32 = 0x40;
    /// The stack is at a random address.
    pub const ASLR_STACK: u32 = 0x80;
}

/// A map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmMap {
    /// Where its `struct vm_map` is.
    pub address: u64,
    /// Where the header of its entries is.
    pub header: u64,
    /// The first address that can be mapped.
    pub start: u64,
    /// The first address behind those that can be mapped.
    pub end: u64,
    /// How many entries it has, as it says itself (`nentries`).
    pub entry_count: u64,
    /// Bytes that are mapped, as it says itself.
    pub size: u64,
    /// How often it was changed (`timestamp`).
    pub version: u32,
    /// See [`MapFlags`].
    pub flags: u32,
    /// Where its `struct pmap` is.
    pub pmap: u64,
    /// Pages that the pmap maps.
    pub pmap_resident: Option<u64>,
}

/// An entry of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmMapEntry {
    /// Where its `struct vm_map_entry` is.
    pub address: u64,
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// Its object or, of a part of another map, that map; 0 without one.
    pub object: u64,
    /// Where in the object it begins, in bytes.
    pub offset: u64,
    /// See [`EntryFlags`].
    pub flags: u32,
    /// `VM_PROT_…`: 1 read, 2 write, 4 execute.
    pub protection: u32,
    /// What mprotect(2) may allow.
    pub max_protection: u32,
    /// `VM_INHERIT_…`.
    pub inheritance: u32,
    /// How many keep it from being paged out.
    pub wired_count: u32,
}

impl VmMapEntry {
    /// Whether a flag is set.
    pub const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// An entry, and where it leads to.
struct Node {
    entry: VmMapEntry,
    left: u64,
    right: u64,
}

/// The entries of a map that could be read, and why there are no more.
pub(super) struct Entries {
    pub list: Vec<VmMapEntry>,
    pub problem: Option<String>,
}

/// The number of a member in 32 bits, as most are.
pub(super) fn number(object: &Object<'_>, path: &str) -> Result<u32> {
    Ok(crate::bounds::low_u32(object.member(path)?.unsigned()?))
}

/// The number of a member, if there is one.
pub(super) fn number_if_any(object: &Object<'_>, path: &str) -> Result<Option<u64>> {
    if object.has_member(path) { object.member(path)?.unsigned().map(Some) } else { Ok(None) }
}

impl VmMap {
    /// The map at an address.
    ///
    /// # Errors
    ///
    /// It cannot be read, or the types have no such structure.
    pub fn read(typed: TypedMemory<'_>, address: u64) -> Result<Self> {
        let map = typed.structure_at("vm_map", address)?.fetched()?;
        // Which of the two is the first address changed between releases.
        let (one, other) = (map.member("header.start")?.unsigned()?, map.member("header.end")?.unsigned()?);
        let pmap = map.member("pmap")?.unsigned()?;
        let counted = || number_if_any(&typed.structure_at("pmap", pmap).ok()?, "pm_stats.resident_count").ok()?;
        Ok(Self {
            address,
            header: map.member("header")?.address(),
            start: one.min(other),
            end: one.max(other),
            entry_count: map.member("nentries")?.unsigned()?,
            size: map.member("size")?.unsigned()?,
            version: number(&map, "timestamp")?,
            flags: number(&map, "flags")?,
            pmap,
            pmap_resident: counted(),
        })
    }

    /// Its entries, ascending.
    pub(super) fn entries(&self, typed: TypedMemory<'_>) -> Entries {
        let is_list = is_list(typed);
        let mut walk = Walk { typed, map: self, is_list, nodes: HashMap::new(), descended: HashSet::new() };
        let mut list: Vec<VmMapEntry> = Vec::new();
        let problem = walk.all(&mut list).err();
        let count = list.len() as u64;
        let is_short = problem.is_none() && count != self.entry_count;
        let short = is_short.then(|| {
            format!("the map at {} says that it has {} entries, not {count}", Hex(self.address), self.entry_count)
        });
        Entries { list, problem: problem.or(short) }
    }
}

fn is_list(typed: TypedMemory<'_>) -> bool {
    let entry = typed.types.structure("vm_map_entry");
    entry.is_some_and(|entry| typed.types.member(entry, "next").is_some())
}

/// A walk along the entries of a map.
struct Walk<'a> {
    typed: TypedMemory<'a>,
    map: &'a VmMap,
    /// Whether entries are a list as well.
    is_list: bool,
    /// The entries that were read.
    nodes: HashMap<u64, Node>,
    /// Those that were come to from their right-hand neighbours, which happens to each once at most.
    descended: HashSet<u64>,
}

impl Walk<'_> {
    /// Adds all entries; ends with the reason why there are no more.
    fn all(&mut self, list: &mut Vec<VmMapEntry>) -> Result<(), String> {
        let header = self.map.header;
        let mut next = self.follow(header)?;
        while next != header {
            let entry = self.node(next)?.entry.clone();
            self.check(&entry, list.last())?;
            list.push(entry);
            if list.len() > MAX_ENTRIES {
                return Err(format!("the map at {} has more than {MAX_ENTRIES} entries", Hex(self.map.address)));
            }
            next = self.follow(next)?;
        }
        Ok(())
    }

    /// That an entry is one, and comes after the one before it.
    fn check(&self, entry: &VmMapEntry, before: Option<&VmMapEntry>) -> Result<(), String> {
        let at = Hex(entry.address);
        if entry.end <= entry.start || entry.start < self.map.start || entry.end > self.map.end {
            return Err(format!(
                "the map entry at {at} is damaged: it goes from {} to {}",
                Hex(entry.start),
                Hex(entry.end)
            ));
        }
        match before {
            Some(before) if entry.start < before.end => {
                Err(format!("the map entry at {at} is out of order: it begins at {}", Hex(entry.start)))
            }
            _ => Ok(()),
        }
    }

    /// The entry behind one (`vm_map_entry_succ()`), or behind the header the first.
    fn follow(&mut self, address: u64) -> Result<u64, String> {
        let (right, start) = {
            let node = self.node(address)?;
            (node.right, node.entry.start)
        };
        // The header's leads to the first one, and a list's to the next.
        if address == self.map.header || self.is_list {
            return Ok(right);
        }
        let mut after = right;
        let left = self.node(after)?.left;
        // It is a child of this one, not its neighbour, if there is something between them.
        if self.node(left)?.entry.start > start {
            while self.node(after)?.left != address {
                after = self.node(after)?.left;
                if !self.descended.insert(after) {
                    return Err(format!("the map's tree leads back to the entry at {}", Hex(after)));
                }
            }
        }
        Ok(after)
    }

    fn node(&mut self, address: u64) -> Result<&Node, String> {
        if !self.nodes.contains_key(&address) {
            let node = self
                .read(address)
                .map_err(|error| format!("the map entry at {} cannot be read: {error}", Hex(address)))?;
            self.nodes.insert(address, node);
        }
        self.nodes.get(&address).ok_or_else(|| format!("there is no map entry at {}", Hex(address)))
    }

    fn read(&self, address: u64) -> Result<Node> {
        let entry = self.typed.structure_at("vm_map_entry", address)?.fetched()?;
        let long = |name| entry.member(name)?.unsigned();
        let right = if self.is_list { long("next")? } else { long("right")? };
        let (left, start, end) = (long("left")?, long("start")?, long("end")?);
        let entry = VmMapEntry {
            address,
            start,
            end,
            object: long("object.vm_object")?,
            offset: long("offset")?,
            flags: number(&entry, "eflags")?,
            protection: number(&entry, "protection")?,
            max_protection: number(&entry, "max_protection")?,
            inheritance: number(&entry, "inheritance")?,
            wired_count: number(&entry, "wired_count")?,
        };
        Ok(Node { entry, left, right })
    }
}
