//! Where `memtool maps` has maps from: what the kernel tells, or its structures in a dump or in its memory.

use super::super::Context;
use super::super::kernel::Opened;
use super::super::output::Output;
use super::Arguments;
use memtool::Result;
use memtool::host::{self, Pid, ProcessHost};
use memtool::live_kernel::own_files;
use memtool::process_map::structures::{StructureMap, read_structures};
use memtool::process_map::{Detail, KERNEL, ProcessMap};
use std::rc::Rc;
use vmcore::kernel::{Access, Processes};
use vmcore::units::{Hex, counted};
use vmcore::vm::{AddressSpace, ShownStructure, StructureMask};

/// Where maps are from.
pub enum Source {
    /// The system tells.
    Host(Rc<dyn ProcessHost>),
    /// A recorded machine tells, but of these processes its kernel.
    Recorded { host: Rc<dyn ProcessHost>, opened: Box<Opened>, more: Vec<Pid> },
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
            return Self::of_host(context, arguments);
        }
        Self::of_kernel(context, arguments)
    }

    /// What the system tells; of a recorded machine whose kernel is there, too, what that has more.
    fn of_host(context: &mut Context, arguments: &Arguments) -> Result<Self> {
        let host = context.process_host()?;
        let Some(recorded) = context.recorded()?.filter(|_| !arguments.numa) else { return Ok(Self::Host(host)) };
        let is_unknown = |pid: &Pid| *pid != KERNEL && !recorded.records_process(*pid);
        let unknown: Vec<Pid> = arguments.named().into_iter().filter(is_unknown).collect();
        if unknown.is_empty() || own_files(&*recorded)?.is_none() {
            return Ok(Self::Host(host));
        }
        // Without it, the machine says what it has.
        let Ok(Self::Structures(opened, _)) = Self::of_kernel(context, arguments) else { return Ok(Self::Host(host)) };
        let known = opened.kernel.processes().map(|all| all.list).unwrap_or_default();
        let more = unknown.into_iter().filter(|pid| known.iter().any(|process| process.pid == pid.as_raw()));
        let more = more.collect();
        Ok(Self::Recorded { host, opened, more })
    }

    fn of_kernel(context: &mut Context, arguments: &Arguments) -> Result<Self> {
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
            Self::Host(host) | Self::Recorded { host, .. } => host.kind(),
            Self::Structures(opened, _) => opened.kind,
        }
    }

    pub fn read(&self, pid: Pid, detail: Detail) -> Result<Read> {
        let (opened, processes) = match self {
            Self::Structures(opened, processes) => (opened, processes.as_ref()),
            Self::Recorded { opened, more, .. } if more.contains(&pid) => (opened, None),
            Self::Host(host) | Self::Recorded { host, .. } => {
                let map = host::read_process_map(&**host, pid, detail)?;
                return Ok(Read { map, page_size: host.page_size()?, space: None, unknown_files: 0 });
            }
        };
        let read = read_structures(&opened.kernel, processes, pid, detail != Detail::Mappings)?;
        let StructureMap { map, space, unknown_files } = read;
        Ok(Read { map, page_size: space.page_size, space: Some(space), unknown_files })
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
