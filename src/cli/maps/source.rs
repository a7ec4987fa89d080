//! Where `memtool maps` has maps from: what the kernel tells, or its structures in a dump or in its memory.

use super::super::Context;
use super::super::kernel::Opened;
use super::super::output::Output;
use super::Arguments;
use memtool::Result;
use memtool::host::{self, Pid, ProcessHost};
use memtool::process_map::structures::{StructureMap, read_structures};
use memtool::process_map::{Detail, ProcessMap};
use std::rc::Rc;
use vmcore::kernel::{Access, Processes};
use vmcore::units::{Hex, counted};
use vmcore::vm::{AddressSpace, ShownStructure, StructureMask};

/// Where maps are from.
pub enum Source {
    /// The system tells.
    Host(Rc<dyn ProcessHost>),
    /// The kernel's structures, and its processes, if these do not change.
    Structures(Box<Opened>, Option<Processes>),
}

/// A map that was read.
pub struct Read {
    pub map: ProcessMap,
    pub page_size: u64,
    /// The structures that it was read from, if it was.
    space: Option<AddressSpace>,
    unknown_files: usize,
}

impl Source {
    pub fn open(context: &mut Context, arguments: &Arguments) -> Result<Self> {
        if !arguments.uses_structures() {
            return Ok(Self::Host(context.process_host()?));
        }
        let mut opened = arguments.kernel.open(context, Access::Read)?;
        arguments.root.apply(&mut opened.kernel);
        opened.load_types_with(context, arguments.root.search()?)?;
        let is_dump = opened.kernel.memory().dump().is_some();
        // Where they cannot be read, each of them that is asked says so.
        let processes = if is_dump { opened.kernel.processes().ok() } else { None };
        Ok(Self::Structures(Box::new(opened), processes))
    }

    /// What JSON says of it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Host(host) => host.kind(),
            Self::Structures(opened, _) => opened.kind,
        }
    }

    pub fn read(&self, pid: Pid, detail: Detail) -> Result<Read> {
        match self {
            Self::Host(host) => {
                let map = host::read_process_map(&**host, pid, detail)?;
                Ok(Read { map, page_size: host.page_size()?, space: None, unknown_files: 0 })
            }
            Self::Structures(opened, processes) => {
                let read = read_structures(&opened.kernel, processes.as_ref(), pid, detail != Detail::Mappings)?;
                let StructureMap { map, space, unknown_files } = read;
                Ok(Read { map, page_size: space.page_size, space: Some(space), unknown_files })
            }
        }
    }

    /// Prints the structures that a map was read from.
    pub fn print_structures(&self, out: &mut Output, read: &Read, mask: StructureMask) -> Result<()> {
        let (Self::Structures(opened, _), Some(space)) = (self, &read.space) else { return Ok(()) };
        space.each_structure(opened.kernel.typed()?, mask, |shown| print_structure(out, &shown))
    }
}

impl Read {
    /// What is missing in the map.
    pub fn problems(&self) -> &[String] {
        self.space.as_ref().map_or(&[], |space| &space.problems)
    }

    /// Says of how many files the device and the number are not shown.
    pub fn remark_on_files(&self, context: &mut Context) {
        if self.unknown_files > 0 {
            let files = counted(self.unknown_files, "mapping");
            context.remark(&format!("device and inode are unknown for {files} of files, by their file systems"));
        }
    }
}

fn print_structure(out: &mut Output, shown: &ShownStructure) -> Result<()> {
    let (name, address) = (shown.name, Hex(shown.address));
    match &shown.members {
        Ok(members) => {
            out.line(&format!("struct {name} at {address}:"))?;
            members.iter().try_for_each(|member| out.line(&format!("\t{} = {}", member.path, member.value)))
        }
        Err(error) => out.line(&format!("struct {name} at {address} cannot be read: {error}")),
    }
}
