//! How much of an entry is in memory, as the kernel counts it (`kern_proc_vmmap_resident()`, `sys/kern/kern_proc.c`): a page
//! is, if its object has it, or else one of those behind that. And what the kernel does not count: whose it is, and how
//! much is in swap space (`sys/vm/swap_pager.c`).

use super::map::VmMapEntry;
use super::object::{ObjectFlags, ObjectReader, VmObject};
use super::ranges::Ranges;
use super::trie::{NodeLayout, layouts};
use crate::bounds::saturating_usize;
use crate::error::{Error, Result};
use crate::kernel::{Object, TypedMemory};
use crate::units::Hex;
use ioctl_defs::user::{KVME_TYPE_SWAP, KVME_TYPE_VNODE};
use std::collections::HashMap;
use std::rc::Rc;

/// Nodes and pages that are read of one map: those of 256 GiB of memory, in pages of 4 KiB.
const MAX_READ: u64 = 1 << 26;
/// Ranges that are compared with each other.
const MAX_COMPARED: u64 = 1 << 28;
/// `SWAPBLK_NONE`: nothing is there in swap space.
const SWAPBLK_NONE: u64 = 1 << 63;
/// Pages that a block of swap space has at most.
const MAX_BLOCK: u64 = 64;

/// How much of an entry is in memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Residency {
    /// What is in memory.
    pub resident: u64,
    /// What of that is in objects to which nothing outside of the process refers.
    pub private: u64,
    /// What is in swap space and not in memory.
    pub swapped: u64,
}

/// Which pages of an object are where.
#[derive(Default)]
struct Pages {
    resident: Ranges,
    swapped: Ranges,
}

/// Counts pages; reads the pages of each object once.
pub(super) struct PageCounter<'a> {
    typed: TypedMemory<'a>,
    page_layout: NodeLayout,
    swap_layout: Option<NodeLayout>,
    page_size: u64,
    known: HashMap<u64, Rc<Pages>>,
    remaining: u64,
    to_compare: u64,
    /// How many entries of the map refer to each object.
    own: HashMap<u64, u32>,
}

impl<'a> PageCounter<'a> {
    /// Of a map with these entries.
    ///
    /// # Errors
    ///
    /// The types do not tell how objects have their pages.
    pub fn new(typed: TypedMemory<'a>, page_size: u64, entries: &[VmMapEntry]) -> Result<Self> {
        let (page_layout, swap_layout) = layouts(typed)?;
        let mut own: HashMap<u64, u32> = HashMap::new();
        for entry in entries {
            let count = own.entry(entry.object).or_default();
            *count = count.saturating_add(1);
        }
        let (remaining, to_compare) = (MAX_READ, MAX_COMPARED);
        Ok(Self { typed, page_layout, swap_layout, page_size, known: HashMap::new(), remaining, to_compare, own })
    }

    /// Whether nothing outside of the map refers to its entries' object; one behind another has a reference from that.
    pub fn is_alone(&self, object: &VmObject, is_behind: bool) -> bool {
        let own = self.own.get(&object.address).copied().unwrap_or(0).saturating_add(is_behind.into());
        object.has(ObjectFlags::ANON) && object.references <= own
    }

    /// Counts the pages of an entry, whose object is the first of these.
    ///
    /// # Errors
    ///
    /// The pages of an object cannot be read, or there are more than are counted.
    pub fn count(
        &mut self,
        objects: &ObjectReader<'_>,
        entry: &VmMapEntry,
        chain: &[Rc<VmObject>],
    ) -> Result<Residency> {
        let count = (entry.end - entry.start) / self.page_size;
        let mut first = entry.offset / self.page_size;
        let (mut resident, mut swapped) = (Ranges::default(), Ranges::default());
        let mut private: u64 = 0;
        let mut is_alone = true;
        for (depth, object) in chain.iter().enumerate() {
            let pages = self.pages(objects, object)?;
            is_alone = is_alone && self.is_alone(object, depth > 0);
            let here = pages.resident.within(first, count);
            let away = pages.swapped.within(first, count);
            self.compare(&[&here, &away, &resident, &swapped])?;
            let found = here.without(&resident);
            if is_alone {
                private = private.saturating_add(found.count());
            }
            resident = resident.with(&found);
            swapped = swapped.with(&away.without(&resident));
            first = first.saturating_add(object.backing_offset / self.page_size);
        }
        let bytes = |pages: u64| pages.saturating_mul(self.page_size);
        Ok(Residency { resident: bytes(resident.count()), private: bytes(private), swapped: bytes(swapped.count()) })
    }

    fn compare(&mut self, sets: &[&Ranges]) -> Result<()> {
        let ranges = sets.iter().fold(0_u64, |sum, set| sum.saturating_add(set.len() as u64));
        let spent = || Error::Unsupported("there are more pages than are counted".to_owned());
        self.to_compare = self.to_compare.checked_sub(ranges).ok_or_else(spent)?;
        Ok(())
    }

    fn pages(&mut self, objects: &ObjectReader<'_>, object: &VmObject) -> Result<Rc<Pages>> {
        if let Some(known) = self.known.get(&object.address) {
            return Ok(Rc::clone(known));
        }
        let structure = objects.structure(object.address)?;
        let resident = self.resident(&structure)?;
        let is_swappable = match object.kvme_type {
            Some(KVME_TYPE_SWAP) => true,
            Some(KVME_TYPE_VNODE) => object.has(ObjectFlags::TMPFS),
            _ => false,
        };
        let swapped = if is_swappable { self.swapped(&structure)? } else { Ranges::default() };
        let pages = Rc::new(Pages { resident, swapped });
        self.known.insert(object.address, Rc::clone(&pages));
        Ok(pages)
    }

    fn resident(&mut self, object: &Object<'_>) -> Result<Ranges> {
        let root = self.root(&object.member("rtree")?)?;
        let mut found = Ranges::default();
        self.page_layout.leaves(self.typed.memory, root, &mut self.remaining, &mut |leaf| {
            if found.push(leaf.index) { Ok(()) } else { Err(out_of_order(object, leaf.index)) }
        })?;
        Ok(found)
    }

    /// The first word of a trie, which leads to its first node.
    fn root(&self, trie: &Object<'_>) -> Result<u64> {
        Ok(self.typed.memory.pointer(trie.address())?)
    }

    fn swapped(&mut self, object: &Object<'_>) -> Result<Ranges> {
        let (Some(layout), true) = (&self.swap_layout, object.has_member("un_pager.swp.swp_blks")) else {
            return Ok(Ranges::default());
        };
        let typed = self.typed;
        let root = self.root(&object.member("un_pager.swp.swp_blks")?)?;
        let block = typed.structure("swblk")?;
        let mut found = Ranges::default();
        layout.leaves(typed.memory, root, &mut self.remaining, &mut |leaf| {
            let addresses = typed.object(leaf.address, block).member("d")?;
            let size = addresses.count().filter(|count| *count <= MAX_BLOCK).unwrap_or(0);
            let bytes = addresses.bytes()?;
            let word = saturating_usize(addresses.index(0)?.size().unwrap_or(8)).max(1);
            for (index, address) in (0..size).zip(bytes.chunks(word)) {
                let page = leaf.index.saturating_add(index);
                if typed.memory.order().number(address) & SWAPBLK_NONE == 0 && !found.push(page) {
                    return Err(out_of_order(object, page));
                }
            }
            Ok(())
        })?;
        Ok(found)
    }
}

fn out_of_order(object: &Object<'_>, page: u64) -> Error {
    Error::Format(format!("page {page} of the object at {} is out of order", Hex(object.address())))
}
