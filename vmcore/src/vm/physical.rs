//! Where the pages of an address space are in physical memory: those that the objects of its map have there, as the kernel's
//! `struct vm_page` tells. That is known also where the page tables of processes, and their memory, are not in a dump.

use super::map::VmMapEntry;
use super::object::{ObjectReader, VmObject};
use super::space::AddressSpace;
use super::trie::{NodeLayout, layouts};
use crate::error::{Error, Result};
use crate::kernel::TypedMemory;
use crate::units::Hex;
use crate::warnings::Warnings;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Nodes and pages that are read of one map: those of 64 GiB of memory, in pages of 4 KiB.
const MAX_READ: u64 = 1 << 24;

/// Where a `struct vm_page` has what is read of it.
struct PageMembers {
    /// The number by which an object finds its page.
    number: u64,
    /// The physical address, and its bytes.
    physical: u64,
    size: usize,
}

/// Reads the pages of objects, of each once.
struct PageReader<'a> {
    typed: TypedMemory<'a>,
    layout: NodeLayout,
    members: PageMembers,
    objects: ObjectReader<'a>,
    known: HashMap<u64, Rc<Vec<(u64, u64)>>>,
    remaining: u64,
    page_size: u64,
}

impl AddressSpace {
    /// Shows the physical address of each page of it that is in memory, with the object that has it; a page that is mapped twice
    /// is shown twice. Returns what cannot be read.
    ///
    /// # Errors
    ///
    /// The types do not tell how objects have their pages.
    pub fn physical_pages(&self, typed: TypedMemory<'_>, mut show: impl FnMut(&VmObject, u64)) -> Result<Vec<String>> {
        let (layout, _) = layouts(typed)?;
        let mut reader = PageReader {
            typed,
            layout,
            members: PageMembers::new(typed)?,
            objects: ObjectReader::new(typed),
            known: HashMap::new(),
            remaining: MAX_READ,
            page_size: self.page_size.max(1),
        };
        let mut problems = Warnings::default();
        for mapping in self.mappings.iter().filter(|mapping| mapping.has_object()) {
            if let Err(error) = reader.mapping(&mapping.entry, &mut show) {
                let at = Hex(mapping.entry.address);
                problems.add(|| format!("the pages of the map entry at {at} cannot be found: {error}"));
            }
        }
        Ok(problems.into_list("problems"))
    }
}

impl PageMembers {
    fn new(typed: TypedMemory<'_>) -> Result<Self> {
        let page = typed.structure("vm_page")?;
        let member = |name: &str| {
            let found = typed.types.member(page, name);
            found.ok_or_else(|| Error::Unsupported(format!("struct vm_page has no member {name}")))
        };
        let physical = member("phys_addr")?;
        let size = typed.types.size_of(physical.member.type_id).filter(|size| [4, 8].contains(size));
        let size =
            size.ok_or_else(|| Error::Unsupported("phys_addr of struct vm_page has no plausible size".to_owned()))?;
        Ok(Self {
            number: member("pindex")?.bit_offset / 8,
            physical: physical.bit_offset / 8,
            size: if size == 4 { 4 } else { 8 },
        })
    }
}

impl PageReader<'_> {
    /// Shows the pages of an entry: of each the one that hides those of the objects behind.
    fn mapping(&mut self, entry: &VmMapEntry, mut show: impl FnMut(&VmObject, u64)) -> Result<()> {
        let (chain, problem) = self.objects.chain(entry.object);
        let count = entry.end.saturating_sub(entry.start) / self.page_size;
        let mut first = entry.offset / self.page_size;
        let mut seen = HashSet::new();
        for object in &chain {
            let pages = self.pages(object)?;
            let from = pages.partition_point(|(number, _)| *number < first);
            let inside = pages.iter().skip(from).take_while(|(number, _)| number - first < count);
            for (number, physical) in inside {
                if chain.len() == 1 || seen.insert(number - first) {
                    show(object, *physical);
                }
            }
            first = first.saturating_add(object.backing_offset / self.page_size);
        }
        problem.map_or(Ok(()), |problem| Err(Error::Format(problem)))
    }

    /// The numbers and physical addresses of an object's pages, ascending.
    fn pages(&mut self, object: &VmObject) -> Result<Rc<Vec<(u64, u64)>>> {
        if let Some(known) = self.known.get(&object.address) {
            return Ok(Rc::clone(known));
        }
        let memory = self.typed.memory;
        let structure = self.objects.structure(object.address)?;
        let root = memory.pointer(structure.member("rtree")?.address())?;
        let (mut found, members) = (Vec::new(), &self.members);
        // A leaf leads to the page, or to its number.
        let back = if self.layout.is_of_numbers() { members.number } else { 0 };
        self.layout.leaves(memory, root, &mut self.remaining, &mut |leaf| {
            let page = leaf.address.saturating_sub(back);
            let mut bytes = [0; 8];
            let bytes = crate::bounds::head_mut(&mut bytes, members.size);
            memory.read(page.saturating_add(members.physical), bytes)?;
            found.push((leaf.index, memory.order().number(bytes)));
            Ok(())
        })?;
        found.sort_unstable();
        let pages = Rc::new(found);
        self.known.insert(object.address, Rc::clone(&pages));
        Ok(pages)
    }
}
