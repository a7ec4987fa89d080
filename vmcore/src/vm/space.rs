//! The address space of a process, `struct vmspace`, or the kernel's: its map, and what each entry of it leads to.

use super::file_status::{FileId, FileStatus};
use super::map::{EntryFlags, VmMap, VmMapEntry, number, number_if_any};
use super::name_cache::{CachedPath, NameCache};
use super::object::{ObjectReader, VmObject};
use super::resident::{PageCounter, Residency};
use super::superpages::UserTables;
use crate::error::{Error, Result};
use crate::kernel::{Object, Process, TypedMemory};
use crate::units::{AddressRange, Hex};
use crate::warnings::Warnings;
use std::rc::Rc;

/// Parts of the kernel's map, by their variables and their names.
const SUB_MAPS: [(&str, &str); 2] = [("exec_map_store", "exec_map"), ("pipe_map_store", "pipe_map")];

/// An address space.
#[derive(Debug, Clone)]
pub struct AddressSpace {
    /// Where its `struct vmspace` is; the kernel's has none.
    pub vmspace: Option<u64>,
    /// How many refer to that.
    pub references: Option<u32>,
    /// How it is laid out, where its kernel has that.
    pub layout: Option<SpaceLayout>,
    /// Its map.
    pub map: VmMap,
    /// The map's entries, ascending.
    pub mappings: Vec<Mapping>,
    /// Bytes of a page.
    pub page_size: u64,
    /// What could not be read, with the addresses: without any, all of it was.
    pub problems: Vec<String>,
}

/// How the address space of a process is laid out (`sysctl_kern_proc_vm_layout()`, `sys/kern/kern_proc.c`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceLayout {
    /// The program's data, and the heap behind it.
    pub data: AddressRange,
    /// The lowest address that the main thread's stack may grow to.
    pub stack_limit: u64,
    /// Bytes that it has.
    pub stack_size: u64,
    /// The page that the kernel shares with programs.
    pub shared_page: AddressRange,
    /// Whether that page is at a random address.
    pub is_shared_page_moved: bool,
}

/// An entry of a map, and what is mapped.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The entry.
    pub entry: VmMapEntry,
    /// What it leads to.
    pub target: Target,
    /// How much of it is in memory; `None` if that was not asked, or cannot be counted.
    pub residency: Option<Residency>,
    /// Bytes that superpages map; `None` if that was not asked, or the page tables are not known.
    pub superpages: Option<u64>,
}

/// What an entry leads to.
#[derive(Debug, Clone)]
pub enum Target {
    /// Nothing yet, or memory that the kernel manages without an object.
    Nothing,
    /// Nothing may be mapped there.
    Guard,
    /// Another map, with its name, if it is a part of the kernel's that has one.
    SubMap(Option<&'static str>),
    /// An object.
    Object(Box<MappedObject>),
    /// An object that cannot be read.
    Unread,
}

/// The object of an entry.
#[derive(Debug, Clone)]
pub struct MappedObject {
    /// The entry's own.
    pub first: Rc<VmObject>,
    /// The last one behind that, which says what is mapped: itself, if there is no other.
    pub last: Rc<VmObject>,
    /// Where in the last one the entry begins, in bytes.
    pub offset: u64,
    /// Whether nothing but entries of this map refers to the first one.
    pub is_alone: bool,
    /// The file's vnode.
    pub vnode: Option<u64>,
    /// The file's path, or the name of a device or of shared memory.
    pub path: Rc<CachedPath>,
    /// Which file it is, where that is known.
    pub file: Option<FileId>,
}

impl Mapping {
    /// Whether there is an object, whose pages can be in memory.
    pub const fn has_object(&self) -> bool {
        matches!(self.target, Target::Object(_))
    }
}

impl AddressSpace {
    /// Reads that of a process; how much of it is in memory only if that is asked, as it takes longer.
    ///
    /// # Errors
    ///
    /// The process or its map cannot be read, or the types have no such structures. Entries that cannot be read are no error:
    /// see [`Self::problems`].
    pub fn read_process(typed: TypedMemory<'_>, process: &Process, with_pages: bool) -> Result<Self> {
        let process = typed.structure_at("proc", process.address)?;
        let Some(vmspace) = process.member("p_vmspace")?.follow()? else {
            return Err(Error::Unsupported("it has no address space".to_owned()));
        };
        let map = vmspace.member("vm_map")?;
        let mut space = Reader::new(typed).read(map.address(), with_pages)?;
        space.vmspace = Some(vmspace.address());
        space.references = Some(number(&vmspace, "vm_refcnt")?);
        space.layout = layout(&process, &vmspace, space.page_size)?;
        Ok(space)
    }

    /// Reads that of the kernel.
    ///
    /// # Errors
    ///
    /// Those of [`Self::read_process`].
    pub fn read_kernel(typed: TypedMemory<'_>, with_pages: bool) -> Result<Self> {
        let map = match typed.variable("kernel_map_store") {
            Ok(map) => map,
            // Until FreeBSD 12.
            Err(_) => typed.variable("kernel_map")?.dereference()?,
        };
        Reader::new(typed).read(map.address(), with_pages)
    }
}

fn layout(process: &Object<'_>, vmspace: &Object<'_>, page_size: u64) -> Result<Option<SpaceLayout>> {
    let Some(shared_page) = number_if_any(vmspace, "vm_shp_base")? else { return Ok(None) };
    let long = |name| vmspace.member(name)?.unsigned();
    let region = |start: u64, size: u64| AddressRange { start, end: start.saturating_add(size) };
    let system = process.member("p_sysent")?.dereference()?;
    let has_shared_page = system.member("sv_shared_page_obj")?.unsigned()? != 0;
    let shared_page_size = system.member("sv_shared_page_len")?.unsigned()?;
    Ok(Some(SpaceLayout {
        data: region(long("vm_daddr")?, long("vm_dsize")?.saturating_mul(page_size)),
        stack_limit: long("vm_maxsaddr")?,
        stack_size: long("vm_ssize")?.saturating_mul(page_size),
        shared_page: region(shared_page, shared_page_size),
        is_shared_page_moved: has_shared_page && system.member("sv_shared_page_base")?.unsigned()? != shared_page,
    }))
}

struct Reader<'a> {
    typed: TypedMemory<'a>,
    page_size: u64,
    objects: ObjectReader<'a>,
    names: Option<NameCache<'a>>,
    problems: Warnings,
}

/// What counts an entry's pages.
struct Counters<'a> {
    pages: Option<PageCounter<'a>>,
    tables: Option<UserTables<'a>>,
}

impl<'a> Reader<'a> {
    fn new(typed: TypedMemory<'a>) -> Self {
        let (objects, page_size) = (ObjectReader::new(typed), typed.memory.page_size());
        Self { typed, page_size, objects, names: None, problems: Warnings::default() }
    }

    fn problem(&mut self, problem: String) {
        self.problems.add(|| problem);
    }

    fn read(mut self, map: u64, with_pages: bool) -> Result<AddressSpace> {
        let map = VmMap::read(self.typed, map)?;
        let entries = map.entries(self.typed);
        let alone = PageCounter::new(self.typed, self.page_size, &entries.list);
        let alone = alone.inspect_err(|error| self.problem(format!("pages in memory cannot be counted: {error}"))).ok();
        let tables = if with_pages { UserTables::new(self.typed, map.pmap) } else { None };
        let mut counters = Counters { pages: alone, tables };
        let mut mappings = Vec::with_capacity(entries.list.len());
        for entry in entries.list {
            mappings.push(self.mapping(entry, &mut counters, with_pages));
        }
        // It is why the list ends, so it comes last.
        if let Some(problem) = entries.problem {
            self.problems.add_last(problem);
        }
        let (page_size, problems) = (self.page_size, self.problems.into_list("problems"));
        Ok(AddressSpace { vmspace: None, references: None, layout: None, map, mappings, page_size, problems })
    }

    fn mapping(&mut self, entry: VmMapEntry, counters: &mut Counters<'a>, with_pages: bool) -> Mapping {
        let nothing = Mapping { entry: entry.clone(), target: Target::Nothing, residency: None, superpages: None };
        if entry.has(EntryFlags::IS_SUB_MAP) {
            return Mapping { target: Target::SubMap(self.sub_map(entry.object)), ..nothing };
        }
        if entry.has(EntryFlags::NO_FAULT) && entry.object == 0 {
            // What is in memory, the page tables alone tell.
            return nothing;
        }
        if entry.object == 0 {
            let target = if entry.has(EntryFlags::GUARD) { Target::Guard } else { Target::Nothing };
            let empty = Residency { resident: 0, private: 0, swapped: 0 };
            let residency = with_pages.then_some(empty);
            return Mapping { target, residency, superpages: with_pages.then_some(0), ..nothing };
        }
        let (chain, problem) = self.objects.chain(entry.object);
        if let Some(problem) = problem {
            self.problem(problem);
            return Mapping { target: Target::Unread, ..nothing };
        }
        let residency = if with_pages { self.count(&entry, &chain, counters) } else { None };
        let superpages = match residency {
            Some(Residency { resident: 0, .. }) => Some(0),
            _ => counters.tables.as_ref().filter(|_| with_pages).and_then(|tables| tables.superpages(&entry)),
        };
        let is_alone = |object: &VmObject| counters.pages.as_ref().is_some_and(|pages| pages.is_alone(object, false));
        let target = match (chain.first(), chain.last()) {
            (Some(first), Some(last)) => {
                Target::Object(Box::new(self.mapped(&entry, first, last, is_alone(first), &chain)))
            }
            _ => Target::Unread,
        };
        Mapping { entry, target, residency, superpages }
    }

    fn count(&mut self, entry: &VmMapEntry, chain: &[Rc<VmObject>], counters: &mut Counters<'a>) -> Option<Residency> {
        let counted = counters.pages.as_mut()?.count(&self.objects, entry, chain);
        let at = Hex(entry.address);
        let problem = |error: &Error| format!("the pages of the map entry at {at} cannot be counted: {error}");
        counted.inspect_err(|error| self.problem(problem(error))).ok()
    }

    fn mapped(
        &mut self,
        entry: &VmMapEntry,
        first: &Rc<VmObject>,
        last: &Rc<VmObject>,
        is_alone: bool,
        chain: &[Rc<VmObject>],
    ) -> MappedObject {
        let offset = chain.iter().fold(entry.offset, |offset, object| offset.wrapping_add(object.backing_offset));
        let mut mapped = MappedObject {
            first: Rc::clone(first),
            last: Rc::clone(last),
            offset,
            is_alone,
            vnode: None,
            path: Rc::default(),
            file: None,
        };
        if let Err(error) = self.name(&mut mapped) {
            self.problem(format!("what the object at {} is cannot be read: {error}", Hex(last.address)));
        }
        mapped
    }

    /// Finds out which file, device or shared memory an object is.
    fn name(&mut self, mapped: &mut MappedObject) -> Result<()> {
        mapped.vnode = self.objects.vnode(&mapped.last)?;
        let Some(vnode) = mapped.vnode else {
            let path = self.objects.name(&mapped.last)?;
            mapped.path = Rc::new(CachedPath { is_whole: !path.is_empty(), path, entries: Vec::new() });
            return Ok(());
        };
        if self.names.is_none() {
            self.names = Some(NameCache::new(self.typed)?);
        }
        if let Some(names) = &mut self.names {
            let (path, followed) = names.path(vnode);
            mapped.path = path;
            let file = self.typed.structure_at("vnode", vnode)?.fetched()?;
            mapped.file = FileStatus::read(&file)?.and_then(|status| status.id);
            followed?;
        }
        Ok(())
    }

    fn sub_map(&self, address: u64) -> Option<&'static str> {
        let is_it = |name: &str| matches!(self.typed.symbols.find(name), Ok(Some(symbol)) if symbol.address == address);
        SUB_MAPS.into_iter().find(|(variable, _)| is_it(variable)).map(|(_, name)| name)
    }
}
