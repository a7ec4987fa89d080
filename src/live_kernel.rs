//! The kernel of a host, as [`vmcore::live`] reads it: its memory and its symbols, opened through the host.

use crate::error::{Error, Result};
use crate::files;
use crate::host::recorded::KIND as RECORDED;
use crate::host::{Host, direct_map};
use crate::memory_map::{MapError, MapSource};
use std::fs::File;
use std::ops::Deref;
use std::path::Path;
use std::rc::Rc;
use vmcore::Kernel;
use vmcore::dump::header::Relocation;
use vmcore::kernel::{Access, KernelMemory, KernelNames, PhysicalMemory, PhysicalView};
use vmcore::live::{self, LiveKernel, LiveSource};
use vmcore::memory::{Memory, WritableMemory};
use vmcore::minidump::Machine;
use vmcore::ram::Ram;
use vmcore::symbols::{KernelFile, KernelSymbols, Symbol, Symbols, Table};
use vmcore::system::System;
use vmcore::text::first_line;
use vmcore::types::ctf::CtfTypes;

/// The symbols of a host's running kernel, which it tells itself; of a host that is borrowed, or shared.
pub struct RunningSymbols<H>(pub H);

impl<H: Deref<Target: Host>> Symbols for RunningSymbols<H> {
    fn find(&self, name: &str) -> vmcore::Result<Option<Symbol>> {
        Ok(self.0.kernel_symbol(name)?)
    }

    fn source(&self) -> String {
        "the running kernel".to_owned()
    }

    fn is_running_kernel(&self) -> bool {
        true
    }
}

/// The kernel that runs, found by these symbols, with what a dump of it would hold.
///
/// # Errors
///
/// Those of [`LiveKernel::open`]; what the host is asked for cannot be had.
pub fn open<'a>(host: &dyn Host, symbols: &'a dyn Symbols) -> Result<LiveKernel<'a>> {
    let system = host.system()?;
    let machine = live::machine(&system)?;
    let source = LiveSource {
        machine,
        version: system.version,
        own_symbols: &RunningSymbols(host),
        ram: ram(host, machine)?,
        kernel: host.kernel_memory()?,
        physical: host.physical_memory()?,
    };
    Ok(LiveKernel::open(source, symbols)?)
}

/// What is RAM by the firmware's map, where the kernel's own `dump_avail` does not say it better.
fn ram(host: &dyn Host, machine: Machine) -> Result<Option<Vec<(u64, u64)>>> {
    if matches!(machine, Machine::Powerpc64(_)) {
        return Ok(None);
    }
    match host.memory_map() {
        // What boot took for itself is missing there.
        Ok(map) if map.source == MapSource::PhysSegs => Ok(None),
        Ok(map) => Ok(Some(map.ram_within(0, 1 << 64))),
        Err(Error::MemoryMap(MapError::NoTable)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the running kernel is, other than where it is linked; `None` of other machines than powerpc64.
///
/// # Errors
///
/// The kernel does not tell.
pub fn relocation(host: &dyn Host) -> Result<Option<Relocation>> {
    match Machine::from_system(&host.system()?) {
        Some(Machine::Powerpc64(order)) => {
            Ok(Some(live::relocation(order, &RunningSymbols(host), host.kernel_memory()?)?))
        }
        _ => Ok(None),
    }
}

/// What writes to the memory of the running kernel, if that is wanted.
fn writer(host: &dyn Host, access: Access) -> Result<Option<Box<dyn WritableMemory>>> {
    match access {
        Access::Read => Ok(None),
        Access::Write => host.writable_memory().map(Some),
    }
}

/// The kernel that runs (`kvm_open` without a file), with its symbols from the kernel itself, or from an image that is named.
/// Its memory is read through /dev/mem, and only where there is RAM; each read sees it as it is then.
///
/// # Errors
///
/// As [`open`]; for writing, also those of [`Host::writable_memory`].
///
/// ```no_run
/// use memtool::host::{self, Host, Selection};
/// use memtool::live_kernel::open_kernel;
/// use std::rc::Rc;
/// use vmcore::kernel::Access;
///
/// let host: Rc<dyn Host> = host::open(&Selection::default())?.into();
/// let mut kernel = open_kernel(&host, None, Access::Read)?;
/// if let Some(symbol) = kernel.find("hz")? {
///     println!("hz is {}", kernel.memory().u32(symbol.address)?);
/// }
/// # Ok::<(), memtool::Error>(())
/// ```
pub fn open_kernel(host: &Rc<dyn Host>, image: Option<Table>, access: Access) -> Result<Kernel> {
    let names = names(host, image);
    let memory = open_memory(&**host, names.symbols()?, access)?;
    Ok(Kernel::from_running(memory, names).with_modules_of(installed_system(&**host), files::open_nonblocking))
}

/// The kernel that runs, with the types of its file: the one that it says it came from, or an image of it that is named.
///
/// # Errors
///
/// Those of [`RunningFiles::open`] and [`open`]; the file has no types, or is another kernel's.
pub fn open_typed(host: &dyn Host, image: Option<Table>) -> Result<Kernel> {
    let symbols = match image {
        Some(table) => as_running(host, table),
        None => RunningFiles::open(host)?.symbols,
    };
    let memory = open_memory(host, &symbols, Access::Read)?;
    let mut kernel = Kernel::from_running(memory, KernelNames::Files(symbols));
    kernel.load_own_types(&mut CtfTypes::default())?;
    Ok(kernel)
}

/// The system that memtool runs on, if that is what the host is: files of modules are those that its kernel had.
pub fn installed_system(host: &dyn Host) -> Option<System> {
    (host.kind() != RECORDED).then(|| host.system().ok()).flatten()
}

/// Who knows the symbols of the kernel that runs.
fn names(host: &Rc<dyn Host>, image: Option<Table>) -> KernelNames {
    match image {
        Some(table) => KernelNames::Files(as_running(&**host, table)),
        None => KernelNames::from_running(RunningSymbols(Rc::clone(host))),
    }
}

/// The symbols of an image of the running kernel, where that is.
fn as_running(host: &dyn Host, image: Table) -> KernelSymbols {
    // A kernel that does not tell has no symbols where they are linked.
    let relocation = relocation(host).ok().flatten();
    KernelSymbols::new(image).relocate(relocation.into_iter().collect())
}

/// The files that the running kernel says it came from: its own, and those of its modules.
pub struct RunningFiles {
    /// Their symbols.
    pub symbols: KernelSymbols,
    /// Whether the kernel's file does not tell its version: it may be another kernel's.
    pub is_of_unknown_version: bool,
}

impl RunningFiles {
    /// Opens them.
    ///
    /// # Errors
    ///
    /// The kernel does not say where it came from, or its file is another kernel's by now.
    pub fn open(host: &dyn Host) -> Result<Self> {
        let files = host.kernel_files()?;
        let kernel = files.first().map(|kernel| Path::new(&kernel.path)).filter(|path| path.is_absolute());
        let unknown =
            || Error::Unsupported("the file of the running kernel is unknown: give it with --kernel".to_owned());
        let table = open_kernel_file(host, kernel.ok_or_else(unknown)?)?;
        let running = host.system()?.version;
        if let Some(version) = table.version()
            && first_line(version) != first_line(&running)
        {
            return Err(Error::Refused(format!(
                "{} is not the running kernel, {}, but {}: give its file with --kernel",
                table.path().display(),
                first_line(&running),
                first_line(version)
            )));
        }
        let is_of_unknown_version = table.version().is_none();
        let mut symbols = as_running(host, table);
        symbols.give_module_files(own_module_files(host, &files)?);
        symbols.add_modules(&files, Some(Path::new("/")), files::open_nonblocking, None);
        Ok(Self { symbols, is_of_unknown_version })
    }
}

/// The kernel's file at a path: the host's own, or one of the system that memtool runs on.
fn open_kernel_file(host: &dyn Host, path: &Path) -> Result<Table> {
    match host.own_kernel_file(path)? {
        Some(file) => Ok(Table::from_opened(path, file, 0)?),
        None => files::open_kernel(path),
    }
}

/// The files of modules that the host has of its own.
fn own_module_files(host: &dyn Host, files: &[KernelFile]) -> Result<Vec<(String, File)>> {
    let modules = files.iter().skip(1);
    let own = modules
        .map(|module| Ok(host.own_kernel_file(Path::new(&module.path))?.map(|file| (module.name.clone(), file))));
    own.filter_map(Result::transpose).collect()
}

/// The files of a kernel that a host has of its own.
pub struct OwnFiles {
    /// The kernel's symbols.
    pub kernel: Table,
    /// The files of its modules, by their names, open for reading.
    pub modules: Vec<(String, File)>,
}

/// The file of the host's kernel and those of its modules, if it has them of its own, as a recorded machine can.
///
/// # Errors
///
/// The host does not list them, or they cannot be read.
pub fn own_files(host: &dyn Host) -> Result<Option<OwnFiles>> {
    let files = host.kernel_files()?;
    let Some(path) = files.first().map(|kernel| Path::new(&kernel.path)) else { return Ok(None) };
    match host.own_kernel_file(path)? {
        Some(file) => {
            let kernel = Table::from_opened(path, file, 0)?;
            Ok(Some(OwnFiles { kernel, modules: own_module_files(host, &files)? }))
        }
        None => Ok(None),
    }
}

/// The memory of the kernel that runs, found by these symbols.
///
/// # Errors
///
/// Those of [`open_kernel`].
pub fn open_memory(host: &dyn Host, symbols: &dyn Symbols, access: Access) -> Result<KernelMemory> {
    let writer = writer(host, access)?;
    Ok(KernelMemory::from_live(open(host, symbols)?.into_memory(), writer))
}

/// The running machine's memory by physical address, where there is RAM: by the kernel's `dump_avail`, or where that is
/// not known by its memory map.
///
/// # Errors
///
/// Neither can be had, or /dev/mem cannot be opened; for writing, those of [`Host::writable_memory`].
pub fn open_physical(host: &Rc<dyn Host>, image: Option<Table>, access: Access) -> Result<PhysicalView> {
    let names = names(host, image);
    let memory = physical_memory(&**host, names.symbols()?, access)?;
    Ok(PhysicalView::from_running(memory, &host.system()?, names))
}

fn physical_memory(host: &dyn Host, symbols: &dyn Symbols, access: Access) -> Result<PhysicalMemory> {
    let writer = writer(host, access)?;
    match open(host, symbols) {
        Ok(kernel) => Ok(PhysicalMemory::from_running(kernel.into_memory(), writer)),
        Err(Error::Vmcore(vmcore::Error::UnknownKernel(_))) => {
            let ranges = host.memory_map()?.segments.iter().map(|segment| (segment.start, segment.end)).collect();
            Ok(PhysicalMemory::from_ram(Ram::new(host.physical_memory()?, ranges), writer))
        }
        Err(error) => Err(error),
    }
}

/// The kernel virtual memory of a host. Where /dev/kmem panics the kernel for a mapping of anything but RAM, memory is
/// read by the kernel's page tables, and from RAM alone.
///
/// # Errors
///
/// As [`Host::kernel_memory`]; those of [`open_kernel`] where its page tables are needed.
pub fn kernel_memory(host: &dyn Host) -> Result<Box<dyn Memory>> {
    if !direct_map::is_needed(&host.system()?) {
        return host.kernel_memory();
    }
    match open_memory(host, &RunningSymbols(host), Access::Read) {
        Ok(kernel) => Ok(Box::new(kernel)),
        Err(Error::Vmcore(vmcore::Error::UnknownKernel(why))) => Err(Error::Unsupported(format!(
            "this kernel panics when a device mapping is read through /dev/kmem, so its memory can only be read through its page tables: {why}"
        ))),
        Err(error) => Err(error),
    }
}
