//! The FreeBSD system that memtool runs on: mem(4) and sysctl(3).
//!
//! Only what needs a system call is here; what the answers mean is decided in plain functions elsewhere.

mod cpuctl;
mod device;
mod kld;
mod sysctl;

use super::process_memory::ProcessMapping;
use super::{
    Backing, Host, LiveDumpFacts, Mapping, PageState, Pid, ProcessHost, System, check_securelevel, direct_map,
    look_up_domains, only_this_process, state_by_page,
};
use crate::error::{Error, Result};
use crate::host::dump_devices;
use crate::host::kernel_config;
use crate::kernel_error::{KernelError, Operation};
use crate::memory_map::kernel_maps::{self, KernelMapping};
use crate::memory_map::{MemoryMap, Tables, phys_free};
use crate::process_map::{self, Detail, ProcessMap, vmmap};
use crate::ranges::Descriptor;
use crate::ranges::default_type::Registers;
use crate::ranges::request::Request;
use crate::ranges::rules::Rules;
use device::Device;
use ioctl_defs::memrange::{
    ME_STATE_INVALID, ME_STATE_MAPPED, MEMRANGE_SET_REMOVE, MEMRANGE_SET_UPDATE, mem_extract, mem_livedump_arg,
    mem_range_desc,
};
use ioctl_defs::user::{KERN_PROC_ARGS, KERN_PROC_PATHNAME, KERN_PROC_VM_LAYOUT, KERN_PROC_VMMAP};
use nix::errno::Errno;
use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use vmcore::architecture::Endianness;
use vmcore::kerneldump::Compression;
use vmcore::live::dump_avail;
use vmcore::memory::{Memory, ReadError, WritableMemory, WriteError};
use vmcore::physical_map::FreeArea;
use vmcore::pmap::riscv;
use vmcore::ram::Ram;
use vmcore::symbols::{KernelFile, Symbol};
use vmcore::text::first_line;
use vmcore::units::Hex;

const DEFAULT_DEVICE: &str = "/dev/mem";
const KERNEL_DEVICE: &str = "/dev/kmem";
const FSTAB: &str = "/etc/fstab";

/// The FreeBSD system that memtool runs on.
pub struct FreeBsd {
    path: PathBuf,
    device: OnceCell<Device>,
}

impl FreeBsd {
    /// The system, through /dev/mem or another device. It is opened when it is first needed.
    pub fn new(device: Option<&Path>) -> Self {
        Self { path: device.unwrap_or(Path::new(DEFAULT_DEVICE)).to_owned(), device: OnceCell::new() }
    }

    fn device(&self) -> Result<&Device> {
        if let Some(device) = self.device.get() {
            return Ok(device);
        }
        let device = Device::open(&self.path)?;
        Ok(self.device.get_or_init(|| device))
    }
}

impl FreeBsd {
    /// The kernel's `dump_avail`; `None` where it is not to be had: `/dev/kmem` is not for everybody.
    fn dump_avail(&self) -> Option<Vec<(u64, u64)>> {
        let symbol = self.kernel_symbol("dump_avail").ok()??;
        let kernel = self.kernel_memory().ok()?;
        let pair = |offset: u64| {
            let mut bytes = [0; 16];
            let at = symbol.address.checked_add(offset).ok_or(ReadError::Absent)?;
            kernel.fill(at, &mut bytes).map(|()| bytes)
        };
        dump_avail::read(symbol.size, Endianness::NATIVE, pair).ok()?.ok()
    }
}

/// A value that the system must have.
fn required<T>(name: &str, value: Result<Option<T>>) -> Result<T> {
    value?.ok_or_else(|| KernelError::new(Operation::Sysctl, name, Errno::ENOENT).into())
}

/// Looks up the first address of a page of the calling process: `MEM_EXTRACT_PADDR`.
fn extract_paddr(device: &Device, address: u64) -> Result<PageState> {
    let mut extract = mem_extract { me_vaddr: address, ..mem_extract::default() };
    device
        .extract_paddr(&mut extract)
        .map_err(|errno| KernelError::new(Operation::ExtractPaddr, Hex(address), errno))?;
    Ok(match extract.me_state {
        ME_STATE_INVALID => PageState::Invalid,
        ME_STATE_MAPPED => PageState::Mapped { paddr: extract.me_paddr, domain: u32::try_from(extract.me_domain).ok() },
        _ => PageState::Valid,
    })
}

impl ProcessHost for FreeBsd {
    fn kind(&self) -> &'static str {
        "freebsd"
    }

    fn page_size(&self) -> Result<u64> {
        required("hw.pagesize", sysctl::number("hw.pagesize"))
    }

    fn kernel_maps(&self) -> Result<Option<Vec<KernelMapping>>> {
        let Some(text) = sysctl::text("vm.pmap.kernel_maps")? else { return Ok(None) };
        kernel_maps::parse(&text).map(Some).map_err(|why| Error::Format(format!("vm.pmap.kernel_maps: {why}")))
    }

    fn process_map(&self, pid: Pid, detail: Detail) -> Result<ProcessMap> {
        let ask = |what| {
            let fail =
                |errno| Error::from(KernelError::new(Operation::ProcessMap, format_args!("process {pid}"), errno));
            sysctl::process_value(what, pid).map_err(fail)
        };
        let page_size = self.page_size()?;
        // Older kernels do not know it, and what else is wrong with the process the next question tells.
        let layout = ask(KERN_PROC_VM_LAYOUT).ok().and_then(|layout| vmmap::parse_layout(&layout, page_size));
        let skipped = sysctl::number("kern.proc_vmmap_skip_resident_count")?.unwrap_or(0);
        let facts = vmmap::VmmapContext { page_size, layout, counted: skipped == 0 };
        let entries = vmmap::parse(&ask(KERN_PROC_VMMAP)?, &facts)
            .map_err(|why| Error::Format(format!("kern.proc.vmmap of process {pid}: {why}")))?;
        let domains = (detail == Detail::Domains).then(|| look_up_domains(self, pid, &entries)).transpose()?;
        // Both can be empty: the kernel's processes have no arguments, and programs change theirs.
        let arguments = ask(KERN_PROC_ARGS).ok().filter(|arguments| !arguments.is_empty());
        let command = arguments.or_else(|| ask(KERN_PROC_PATHNAME).ok()).unwrap_or_default();
        Ok(ProcessMap {
            pid: pid.as_raw(),
            command: process_map::command_line(&command),
            layout,
            entries,
            domains,
            structures: None,
        })
    }

    fn page_states(&self, process: Option<Pid>, addresses: &[u64]) -> Result<Vec<PageState>> {
        only_this_process(process)?;
        let (device, page_size) = (self.device()?, self.page_size()?);
        let look_up = |&address: &u64| state_by_page(address, page_size, |page| extract_paddr(device, page));
        addresses.iter().map(look_up).collect()
    }

    fn map(&self, backing: &Backing) -> Result<Box<dyn Mapping>, KernelError> {
        Ok(Box::new(ProcessMapping::new(backing)?))
    }
}

impl Host for FreeBsd {
    fn system(&self) -> Result<System> {
        let text = |name| required(name, sysctl::text(name));
        let number = |name| required(name, sysctl::number(name));
        let small = |name: &str, value: Result<u64>| {
            u32::try_from(value?).map_err(|_| Error::Format(format!("sysctl {name}: the value is too large")))
        };
        Ok(System {
            osreldate: small("kern.osreldate", number("kern.osreldate"))?,
            version: first_line(&text("kern.version")?).to_owned(),
            machine_arch: text("hw.machine_arch")?,
            page_size: small("hw.pagesize", number("hw.pagesize"))?,
            domains: small("vm.ndomains", sysctl::number("vm.ndomains").map(|domains| domains.unwrap_or(1)))?,
            processors: small("hw.ncpu", number("hw.ncpu"))?,
            physical_memory: number("hw.physmem")?,
            hostname: text("kern.hostname")?,
        })
    }

    fn memory_map(&self) -> Result<MemoryMap> {
        let smap = sysctl::bytes("machdep.smap")?;
        let efi_map = sysctl::bytes("machdep.efi_map")?;
        let phys_segs = sysctl::text("vm.phys_segs")?;
        let domains = sysctl::number("vm.ndomains")?.map_or(Some(1), |domains| u32::try_from(domains).ok());
        let is_there = |table: &Option<Vec<u8>>| table.as_ref().is_some_and(|table| !table.is_empty());
        let by_firmware = is_there(&smap) || is_there(&efi_map);
        let dump_avail = if by_firmware { None } else { self.dump_avail() };
        MemoryMap::from_tables(&Tables {
            smap: smap.as_deref(),
            efi_map: efi_map.as_deref(),
            dump_avail: dump_avail.as_deref(),
            phys_segs: phys_segs.as_deref(),
            domains,
        })
        .map_err(Error::from)
    }

    fn free_areas(&self) -> Result<Option<Vec<FreeArea>>> {
        let name = "vm.phys_free";
        let Some(text) = sysctl::text(name)? else { return Ok(None) };
        let areas = phys_free::parse(&text, self.page_size()?);
        areas.map(Some).map_err(|why| Error::Format(format!("sysctl {name}: {why}")))
    }

    fn pmap_mode(&self) -> Result<Option<riscv::Mode>> {
        let name = "vm.pmap.mode";
        let Some(value) = sysctl::number(name)? else { return Ok(None) };
        let unknown = || Error::Format(format!("sysctl {name}: unknown mode {value}"));
        riscv::Mode::from_value(value).map(Some).ok_or_else(unknown)
    }

    fn range_descriptors(&self) -> Result<Vec<Descriptor>> {
        let fail = |errno| KernelError::new(Operation::GetRanges, self.path.display(), errno);
        let device = self.device()?;
        loop {
            let count = device.get_ranges(&mut []).map_err(fail)?;
            // One more than there were: if it is filled, the table has grown meanwhile.
            let mut descriptors = vec![mem_range_desc::default(); count + 1];
            let filled = device.get_ranges(&mut descriptors).map_err(fail)?;
            if filled <= count {
                descriptors.truncate(filled);
                return Ok(descriptors.into_iter().map(Descriptor::from).collect());
            }
        }
    }

    fn range_rules(&self) -> Rules {
        Rules::from_machine_arch(std::env::consts::ARCH).unwrap_or_default()
    }

    fn processor_registers(&self) -> Result<Registers> {
        cpuctl::registers()
    }

    fn physical_bits(&self) -> Option<u32> {
        cpuctl::physical_bits()
    }

    fn set_range(&self, request: &Request) -> Result<()> {
        let (operation, code, range) = match request {
            Request::Update(range) => (Operation::UpdateRange, MEMRANGE_SET_UPDATE, range),
            Request::Remove(range) => (Operation::RemoveRange, MEMRANGE_SET_REMOVE, range),
        };
        let subject = format!("{}+{}", Hex(range.base), Hex(range.length));
        self.device()?
            .set_range(code, mem_range_desc::from(range))
            .map_err(|errno| KernelError::new(operation, subject, errno).into())
    }

    fn physical_memory(&self) -> Result<Box<dyn Memory>> {
        let device = Device::open(&self.path)?;
        if !device.is_same(Path::new(DEFAULT_DEVICE)) {
            return Err(Error::Refused(format!(
                "{} is not {DEFAULT_DEVICE}, the only device read by physical address",
                self.path.display()
            )));
        }
        // What would panic the kernel is not asked for, whoever asks.
        Ok(match direct_map::reachable(self)? {
            Some(ranges) => Box::new(Ram::new(Box::new(device), ranges)),
            None => Box::new(device),
        })
    }

    fn writable_memory(&self) -> Result<Box<dyn WritableMemory>> {
        check_securelevel(&sysctl::bytes("kern.securelevel")?.unwrap_or_default())?;
        let device = Device::open_for_writing(&self.path)?;
        if !device.is_same(Path::new(DEFAULT_DEVICE)) {
            return Err(Error::Refused(format!(
                "{} is not {DEFAULT_DEVICE}, the only device written by physical address",
                self.path.display()
            )));
        }
        Ok(Box::new(device))
    }

    fn kernel_memory(&self) -> Result<Box<dyn Memory>> {
        if self.path != Path::new(DEFAULT_DEVICE) {
            let device = Device::open(&self.path)?;
            if device.is_same(Path::new(KERNEL_DEVICE)) {
                return Ok(Box::new(device));
            }
            if !device.is_same(Path::new(DEFAULT_DEVICE)) {
                return Err(Error::Refused(format!(
                    "{} is neither {DEFAULT_DEVICE} nor {KERNEL_DEVICE}, the only device read by kernel virtual address",
                    self.path.display()
                )));
            }
        }
        Ok(Box::new(Device::open(Path::new(KERNEL_DEVICE))?))
    }

    fn kernel_symbol(&self, name: &str) -> Result<Option<Symbol>> {
        kld::symbol(name)
    }

    fn kernel_files(&self) -> Result<Vec<KernelFile>> {
        let mut files = kld::files()?;
        if let (Some(kernel), Some(path)) = (files.first_mut(), sysctl::text("kern.bootfile")?) {
            kernel.path = path;
        }
        Ok(files)
    }

    fn kernel_dump(&self, file: &File, compression: Compression) -> Result<()> {
        let argument =
            mem_livedump_arg { fd: file.as_raw_fd(), compression: compression.code(), ..mem_livedump_arg::default() };
        self.device()?
            .kernel_dump(argument)
            .map_err(|errno| KernelError::new(Operation::KernelDump, "the file", errno).into())
    }

    fn dump_devices(&self) -> Result<Vec<PathBuf>> {
        let configured = sysctl::text("kern.shutdown.dumpdevname")?.unwrap_or_default();
        let fstab = match std::fs::read(FSTAB) {
            Ok(fstab) => fstab,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(Error::io("read", Path::new(FSTAB), source)),
        };
        Ok(dump_devices::list(&configured, &fstab))
    }

    fn live_dump_facts(&self) -> Result<LiveDumpFacts> {
        let page_size = self.page_size()?;
        let pages = |name| Ok::<_, Error>(sysctl::number(name)?.map(|count| count.saturating_mul(page_size)));
        Ok(LiveDumpFacts {
            wired: pages("vm.stats.vm.v_wire_count")?,
            managed: pages("vm.stats.vm.v_page_count")?,
            pipes: sysctl::number("kern.ipc.maxpipekva")?,
            compressions: sysctl::text("kern.conftxt")?.as_deref().map(kernel_config::compressions),
        })
    }
}

impl WritableMemory for Device {
    fn write_at(&self, address: u64, bytes: &[u8]) -> Result<usize, WriteError> {
        self.file().write_at(bytes, address).map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
            Some(errno) if is_absent(errno) => WriteError::Absent,
            Some(Errno::EBADF) => WriteError::ReadOnly,
            _ => error.into(),
        })
    }
}

impl Memory for Device {
    fn read_at(&self, address: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        // Kernel addresses are negative as an off_t; pread(2) takes them for character devices
        // (kern_preadv, sys/kern/sys_generic.c).
        self.file().read_at(buffer, address).map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
            Some(errno) if is_absent(errno) => ReadError::Absent,
            _ => error.into(),
        })
    }
}

/// Whether mem(4) answers so where there is no memory: EFAULT, and EINVAL on arm (`memrw()`, `sys/arm/arm/mem.c`).
fn is_absent(errno: Errno) -> bool {
    errno == Errno::EFAULT || cfg!(target_arch = "arm") && errno == Errno::EINVAL
}
