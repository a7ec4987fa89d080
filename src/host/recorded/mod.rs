//! A recorded machine: what a host looks like, in a file, run against in place of the host itself.
//!
//! Ranges follow the kernel's rules and errnos ([`crate::ranges::rules`]), physical memory comes from an
//! image or a pattern (`memory`), a live dump is a true minidump of a kernel that memtool lays out from
//! the recorded kernel maps (`kernel`), kernel virtual memory is read through that kernel's page tables
//! (`kernel_memory`), and a process has pages in the recorded memory (`process`). Reads and changes touch
//! nothing but the value in memory.

mod built_in;
mod demo;
mod file;
mod kernel;
mod kernel_dump;
mod kernel_memory;
mod maps;
mod memory;
mod process;
mod written;

pub use file::{
    Contents, CrashDumpState, ImageLayout, KernelSource, LiveDumpFault, Machine, Pattern, Policy, Process,
    ProcessRange, Ranges, SCHEMA, VERSION,
};

use built_in::BuiltIn;
use written::Written;

pub use written::WrittenBytes;

use super::{
    Backing, Host, Mapping, Memory, PageState, Pid, ProcessHost, System, look_up_domains, only_this_process,
    state_by_page,
};
use crate::error::{Error, Result};
use crate::files;
use crate::host::LiveDumpFacts;
use crate::kernel_error::{KernelError, Operation};
use crate::memory_map::MemoryMap;
use crate::memory_map::kernel_maps::KernelMapping;
use crate::output_file::OutputFile;
use crate::process_map::{Detail, ProcessMap};
use crate::ranges::Descriptor;
use crate::ranges::default_type::Registers;
use crate::ranges::request::Request;
use crate::ranges::rules::{Rules, Table};
use nix::errno::Errno;
use std::cell::{OnceCell, RefCell};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use vmcore::dump::byte_source::ByteSource;
use vmcore::kerneldump::{self, Compression, HEADER_LENGTH};
use vmcore::memory::WritableMemory;
use vmcore::pmap::riscv;
use vmcore::symbols::{KernelFile, Symbol};
use vmcore::units::Hex;

/// The name of the machine that is built in.
pub const DEMO: &str = "demo";

/// See [`ProcessHost::kind`].
pub const KIND: &str = "recorded";

/// The devices, in messages.
const DEVICE: &str = "/dev/mem of the recorded machine";
const KERNEL_DEVICE: &str = "/dev/kmem of the recorded machine";
const PROCESSOR: &str = "/dev/cpuctl0 of the recorded machine";

/// The kernels that brought the newer ioctls.
const EXTRACT_PADDR_SINCE: u32 = 1_300_000;
const KERNEL_DUMP_SINCE: u32 = 1_400_000;

/// A recorded machine that answers as a host.
pub struct Recorded {
    /// As it was recorded.
    machine: Machine,
    /// Its memory ranges, as they are now.
    descriptors: RefCell<Vec<Descriptor>>,
    /// Where the file is; `None` for the demo machine.
    path: Option<PathBuf>,
    process: Rc<RefCell<process::SimulatedProcess>>,
    /// What was written to its memory.
    written: Written,
    /// A copy of the dump device that is built in, once that was asked for.
    device: OnceCell<File>,
}

impl Recorded {
    /// Opens a machine's file; `demo` is the built-in machine, and `-` standard input.
    pub fn open(path: &Path) -> Result<Self> {
        if path.as_os_str() == DEMO {
            return Ok(Self::new(demo::machine(), None));
        }
        let machine = Machine::read(path)?;
        Ok(Self::new(machine, Some(path.to_owned())))
    }

    fn new(machine: Machine, path: Option<PathBuf>) -> Self {
        let process = Rc::new(RefCell::new(process::SimulatedProcess::new(&machine)));
        let descriptors = RefCell::new(machine.ranges.descriptors.clone());
        // A machine that was read has nothing wrong there.
        let written = Written::new(&machine.written).unwrap_or_default();
        Self { machine, descriptors, path, process, written, device: OnceCell::new() }
    }

    /// The copy of the dump device that is built in, as the machine has it.
    fn device(&self) -> Result<&File> {
        if let Some(device) = self.device.get() {
            return Ok(device);
        }
        let device = built_in::dump_device()?;
        if self.machine.crash_dump == Some(CrashDumpState::Cleared) {
            let failed = |source| Error::io("write", Path::new(built_in::DUMP_DEVICE), source);
            let (at, header) = last_header(&device).map_err(failed)?;
            device.write_all_at(&kerneldump::cleared(&header), at).map_err(failed)?;
        }
        Ok(self.device.get_or_init(|| device))
    }

    /// What became of the dump on the device that is built in.
    fn crash_dump(&self) -> Option<CrashDumpState> {
        let was = self.machine.crash_dump?;
        let header = self.device.get().and_then(|device| last_header(device).ok());
        Some(match header {
            Some((_, header)) if kerneldump::cleared(&header) == header => CrashDumpState::Cleared,
            _ => was,
        })
    }

    /// The machine as it is now, changes included.
    pub fn machine(&self) -> Machine {
        let mut machine = self.machine.clone();
        machine.ranges.descriptors.clone_from(&self.descriptors.borrow());
        machine.crash_dump = self.crash_dump();
        machine.written = self.written.parts();
        machine
    }

    /// Whether the map of a process is recorded.
    pub fn records_process(&self, pid: Pid) -> bool {
        self.machine.processes.iter().any(|process| process.pid == pid.as_raw())
    }

    /// Checks that [`Self::save`] could write this file now: an existing one is replaced only if the machine
    /// was read from it.
    pub fn check_save(&self, path: &Path) -> Result<()> {
        if path.as_os_str() == "-" {
            return Ok(());
        }
        begin(path, self.is_own(path)).map(drop)
    }

    /// Writes the machine as it is now into a file, or to standard output for `-`.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut machine = self.machine();
        if let (Some(own), false) = (&self.path, self.is_own(path)) {
            let image = match &mut machine.contents {
                Contents::Image { path, .. } => Some(path),
                Contents::Pattern(_) => None,
            };
            // A relative path starts at the machine's file, which now is another one.
            for image in image.into_iter().chain(&mut machine.dump_devices) {
                let image_now = own.parent().unwrap_or(Path::new("")).join(&*image);
                *image = image_now.canonicalize().map_err(|source| Error::io("find image", &image_now, source))?;
            }
        }
        machine.write(path, self.is_own(path))
    }

    fn is_own(&self, path: &Path) -> bool {
        match (&self.path, path.canonicalize()) {
            (Some(own), Ok(there)) if !files::is_standard_input(own) => {
                own.canonicalize().is_ok_and(|own| own == there)
            }
            _ => false,
        }
    }

    /// The errno that the file states for an operation.
    fn stated_error(&self, operation: Operation, subject: impl std::fmt::Display) -> Result<(), KernelError> {
        self.stated_error_of(DEVICE, operation, subject)
    }

    /// The same, for an operation on this device.
    fn stated_error_of(
        &self,
        device: &str,
        operation: Operation,
        subject: impl std::fmt::Display,
    ) -> Result<(), KernelError> {
        let device = |errno| KernelError::new(Operation::OpenDevice, device, errno);
        match (self.machine.stated_errno(Operation::OpenDevice), self.machine.stated_errno(operation)) {
            (Some(errno), _) if operation.needs_device() => Err(device(errno)),
            (_, Some(errno)) => Err(KernelError::new(operation, subject, errno)),
            _ => Ok(()),
        }
    }

    /// What the kernel checks before every range operation.
    fn check_ranges(&self, operation: Operation, subject: &str) -> Result<(), KernelError> {
        self.stated_error(operation, subject)?;
        let fail = |errno| Err(KernelError::new(operation, subject, errno));
        if Rules::from_machine_arch(&self.machine.system.machine_arch).is_none() {
            return fail(Errno::ENOTTY);
        }
        if self.machine.ranges.descriptors.is_empty() {
            return fail(Errno::ENXIO);
        }
        Ok(())
    }
}

impl ProcessHost for Recorded {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn page_size(&self) -> Result<u64> {
        Ok(self.system()?.page_size.into())
    }

    fn kernel_maps(&self) -> Result<Option<Vec<KernelMapping>>> {
        self.stated_error(Operation::Sysctl, "vm.pmap.kernel_maps")?;
        Ok(self.machine.kernel_maps.clone())
    }

    fn process_map(&self, pid: Pid, detail: Detail) -> Result<ProcessMap> {
        self.stated_error(Operation::ProcessMap, format_args!("process {pid}"))?;
        let found = self.machine.processes.iter().find(|process| process.pid == pid.as_raw());
        let mut map = found.cloned().ok_or_else(|| {
            let recorded: Vec<String> = self.machine.processes.iter().map(|process| process.pid.to_string()).collect();
            Error::Refused(match recorded.as_slice() {
                [] => format!("process {pid} is not recorded; the machine has none ('memtool record --pid')"),
                recorded => format!("process {pid} is not recorded; the machine has {}", recorded.join(", ")),
            })
        })?;
        if detail == Detail::Domains {
            map.domains = Some(look_up_domains(self, pid, &map.entries)?);
        }
        Ok(map)
    }

    fn page_states(&self, process: Option<Pid>, addresses: &[u64]) -> Result<Vec<PageState>> {
        only_this_process(process)?;
        let page_size = self.machine.system.page_size.into();
        let look_up = |&address: &u64| {
            self.stated_error(Operation::ExtractPaddr, Hex(address))?;
            if self.machine.system.osreldate < EXTRACT_PADDR_SINCE {
                return Err(KernelError::new(Operation::ExtractPaddr, Hex(address), Errno::ENOTTY).into());
            }
            state_by_page(address, page_size, |page| Ok(self.process.borrow().state(page)))
        };
        addresses.iter().map(look_up).collect()
    }

    fn map(&self, backing: &Backing) -> Result<Box<dyn Mapping>, KernelError> {
        self.stated_error(Operation::Map, "memory")?;
        let errors = process::StatedErrors {
            lock: self.machine.stated_errno(Operation::Lock),
            touch: self.machine.stated_errno(Operation::Touch),
        };
        Ok(Box::new(process::SimulatedMapping::new(&self.process, backing, errors)?))
    }
}

impl Host for Recorded {
    fn system(&self) -> Result<System> {
        self.stated_error(Operation::Sysctl, "hw.machine_arch")?;
        Ok(self.machine.system.clone())
    }

    fn memory_map(&self) -> Result<MemoryMap> {
        self.stated_error(Operation::Sysctl, self.machine.memory.source.name())?;
        Ok(self.machine.memory.clone())
    }

    fn pmap_mode(&self) -> Result<Option<riscv::Mode>> {
        self.stated_error(Operation::Sysctl, "vm.pmap.mode")?;
        Ok(self.machine.pmap_mode)
    }

    fn range_descriptors(&self) -> Result<Vec<Descriptor>> {
        self.check_ranges(Operation::GetRanges, DEVICE)?;
        Ok(self.descriptors.borrow().clone())
    }

    fn range_rules(&self) -> Rules {
        Rules::from_machine_arch(&self.machine.system.machine_arch).unwrap_or_default()
    }

    fn processor_registers(&self) -> Result<Registers> {
        self.stated_error_of(PROCESSOR, Operation::ReadRegisters, PROCESSOR)?;
        let none = || Error::Unsupported("the machine's file has no registers of the processor".to_owned());
        self.machine.ranges.registers.clone().ok_or_else(none)
    }

    fn physical_bits(&self) -> Option<u32> {
        self.machine.ranges.physical_bits
    }

    fn set_range(&self, request: &Request) -> Result<()> {
        let (operation, range) = match request {
            Request::Update(range) => (Operation::UpdateRange, range),
            Request::Remove(range) => (Operation::RemoveRange, range),
        };
        let subject = format!("{}+{}", Hex(range.base), Hex(range.length));
        self.check_ranges(operation, &subject)?;
        let descriptors = self.descriptors.borrow().clone();
        let mut table = Table::with_rules(descriptors, self.range_rules(), self.physical_bits());
        table.apply(request).map_err(|violation| KernelError::new(operation, subject, violation.errno()))?;
        *self.descriptors.borrow_mut() = table.descriptors().to_vec();
        Ok(())
    }

    fn physical_memory(&self) -> Result<Box<dyn Memory>> {
        self.stated_error(Operation::ReadMemory, DEVICE)?;
        let view = memory::View::Device;
        Ok(Box::new(memory::RecordedMemory::open(&self.machine, self.path.as_deref(), view, &self.written)?))
    }

    fn writable_memory(&self) -> Result<Box<dyn WritableMemory>> {
        self.stated_error(Operation::ReadMemory, DEVICE)?;
        let view = memory::View::Device;
        Ok(Box::new(memory::RecordedMemory::open(&self.machine, self.path.as_deref(), view, &self.written)?))
    }

    fn kernel_memory(&self) -> Result<Box<dyn Memory>> {
        self.stated_error_of(KERNEL_DEVICE, Operation::ReadMemory, KERNEL_DEVICE)?;
        Ok(Box::new(kernel_memory::KernelMemory::open(&self.machine, self.path.as_deref(), &self.written)?))
    }

    fn kernel_symbol(&self, name: &str) -> Result<Option<Symbol>> {
        self.stated_error(Operation::FindSymbol, name)?;
        match (self.machine.symbols.get(name), BuiltIn::of(&self.machine)) {
            (Some(symbol), _) => Ok(*symbol),
            (None, Some(kernel)) => Ok(kernel.symbol(name)),
            (None, None) => Ok(kernel::LaidOutKernel::lay_out(&self.machine)?.symbol(name)),
        }
    }

    fn kernel_files(&self) -> Result<Vec<KernelFile>> {
        self.stated_error(Operation::ListFiles, "the kernel")?;
        Ok(self.machine.kernel_files.clone())
    }

    fn kernel_dump(&self, file: &File, compression: Compression) -> Result<()> {
        self.stated_error(Operation::KernelDump, "the file")?;
        if self.machine.system.osreldate < KERNEL_DUMP_SINCE {
            return Err(KernelError::new(Operation::KernelDump, "the file", Errno::ENOTTY).into());
        }
        if self.machine.live_dump.compressions.as_ref().is_some_and(|built_in| !built_in.contains(&compression)) {
            return Err(KernelError::new(Operation::KernelDump, "the file", Errno::EINVAL).into());
        }
        if !compression.suits_live_dumps(self.machine.system.page_size) {
            return Err(KernelError::new(Operation::KernelDump, "the file", Errno::EAGAIN).into());
        }
        kernel_dump::dump(&self.machine, self.path.as_deref(), &self.written, file, compression)
    }

    fn dump_devices(&self) -> Result<Vec<PathBuf>> {
        self.stated_error(Operation::Sysctl, "kern.shutdown.dumpdevname")?;
        let folder = self.path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let built_in = self.machine.crash_dump.map(|_| PathBuf::from(built_in::DUMP_DEVICE));
        let files = self.machine.dump_devices.iter().map(|device| folder.join(device));
        Ok(built_in.into_iter().chain(files).collect())
    }

    fn own_dump_device(&self, path: &Path) -> Result<Option<ByteSource>> {
        if self.machine.crash_dump.is_none() || path != Path::new(built_in::DUMP_DEVICE) {
            return Ok(None);
        }
        let failed = |source| Error::io("open", path, source);
        let device = self.device()?;
        let volume = ByteSource::from_file(device).map_err(failed)?;
        Ok(Some(volume.with_writer(device.try_clone().map_err(failed)?)))
    }

    fn own_kernel_file(&self, path: &Path) -> Result<Option<File>> {
        match BuiltIn::of(&self.machine) {
            Some(_) => built_in::kernel_file(path),
            None => Ok(None),
        }
    }

    fn live_dump_facts(&self) -> Result<LiveDumpFacts> {
        self.stated_error(Operation::Sysctl, "vm.stats.vm.v_wire_count")?;
        Ok(self.machine.live_dump.clone())
    }
}

/// The last header on a dump device in a file, and where it is.
fn last_header(device: &File) -> io::Result<(u64, [u8; HEADER_LENGTH])> {
    let at = device.metadata()?.len().saturating_sub(HEADER_LENGTH as u64);
    let mut header = [0; HEADER_LENGTH];
    device.read_exact_at(&mut header, at)?;
    Ok((at, header))
}

/// Begins a machine's file; with `update` in place of the one that the machine was read from.
fn begin(path: &Path, update: bool) -> Result<OutputFile> {
    if update { OutputFile::update(path) } else { OutputFile::create(path, false) }
}

impl Machine {
    /// Writes the machine as JSON: to standard output for `-`, else to a file, which is replaced only if
    /// `update` says that the machine was read from it.
    pub fn write(&self, path: &Path, update: bool) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Format(format!("cannot write the machine as JSON: {error}")))?;
        text.push('\n');
        if path.as_os_str() == "-" {
            // The descriptor itself: `Stdout` takes one that is closed for one that nobody reads.
            let output = io::stdout().as_fd().try_clone_to_owned().map(File::from);
            return output.and_then(|mut output| output.write_all(text.as_bytes())).map_err(Error::StandardOutput);
        }
        let output = begin(path, update)?;
        output.file().write_all(text.as_bytes()).map_err(|source| Error::io("write", path, source))?;
        output.commit()
    }
}
