//! Recording what a host looks like, to run against it elsewhere.

use crate::error::{Error, Result};
use crate::host::recorded::{Contents, Machine, Process, Ranges, Recorded, SCHEMA, VERSION};
use crate::host::{Host, Pid, read_process_map};
use crate::kernel_error::errno_name;
use crate::process_map::{Detail, ProcessMap};
use crate::ranges::rules::{self, Rules};
use nix::errno::Errno;
use std::collections::BTreeMap;

/// Records a host, and the memory maps of these processes. Memory contents are not recorded; the file says what
/// stands in for them.
///
/// # Errors
///
/// What the host cannot tell about itself. Range operations that are not there are no error: the file then
/// states the errno.
pub fn record(host: &dyn Host, pids: &[Pid]) -> Result<Machine> {
    let processes: Vec<ProcessMap> =
        pids.iter().map(|pid| read_process_map(host, *pid, Detail::Usage)).collect::<Result<_>>()?;
    let system = host.system()?;
    let mut errors = BTreeMap::new();
    let descriptors = match host.range_descriptors() {
        Ok(descriptors) => descriptors,
        Err(Error::Kernel(error)) if no_ranges(error.errno, &system.machine_arch) => {
            errors.insert(error.operation.name().to_owned(), errno_name(error.errno));
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    // For symbols only: a kernel that does not tell is recorded all the same.
    let kernel_files = host.kernel_files().unwrap_or_default();
    Ok(Machine {
        schema: SCHEMA.to_owned(),
        version: VERSION,
        system,
        memory: host.memory_map()?,
        contents: Contents::default(),
        unreadable: Vec::new(),
        ranges: Ranges {
            physical_bits: host.physical_bits().or_else(|| rules::physical_bits(&descriptors)),
            registers: host.processor_registers().ok(),
            descriptors,
        },
        kernel_maps: host.kernel_maps()?,
        pmap_mode: host.pmap_mode()?,
        kernel: None,
        symbols: BTreeMap::new(),
        kernel_files,
        process: Process::default(),
        processes,
        dump_devices: Vec::new(),
        crash_dump: None,
        written: Vec::new(),
        live_dump: host.live_dump_facts()?,
        live_dump_fault: None,
        errors,
    })
}

/// Records a recorded machine as it is now. All its processes are kept, and these have to be among them.
///
/// # Errors
///
/// One of the processes was not recorded.
pub fn record_again(recorded: &Recorded, pids: &[Pid]) -> Result<Machine> {
    pids.iter().try_for_each(|pid| read_process_map(recorded, *pid, Detail::Usage).map(drop))?;
    Ok(recorded.machine())
}

/// Whether an answer to `MEMRANGE_GET` only says that the machine has no ranges (`memioctl_md`, `sys/*/*/mem.c`): no
/// operations on an x86 processor without MTRRs, or where they are turned off; no descriptors where the firmware left
/// the MTRRs off; and on other machines than x86 and powerpc the ioctl is not known. Where it is, ENOTTY says that
/// the device is not mem(4).
fn no_ranges(errno: Errno, machine_arch: &str) -> bool {
    match errno {
        Errno::EOPNOTSUPP | Errno::ENXIO => true,
        Errno::ENOTTY => Rules::from_machine_arch(machine_arch).is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::LiveDumpFacts;
    use crate::host::recorded::DEMO;
    use crate::host::{Backing, Mapping, PageState, ProcessHost};
    use crate::memory_map::MemoryMap;
    use crate::memory_map::kernel_maps::KernelMapping;
    use crate::ranges::Descriptor;
    use crate::ranges::default_type::Registers;
    use crate::ranges::request::Request;
    use crate::{KernelError, Operation};
    use std::fs::File;
    use std::path::Path;
    use vmcore::kerneldump::Compression;
    use vmcore::memory::Memory;
    use vmcore::pmap::riscv;
    use vmcore::symbols::Symbol;
    use vmcore::system::System;

    /// The demo machine, as if it were a real one, of this architecture and with this answer to `MEMRANGE_GET`.
    struct Real {
        demo: Recorded,
        machine_arch: &'static str,
        answer: Option<Errno>,
    }

    impl ProcessHost for Real {
        fn kind(&self) -> &'static str {
            "freebsd"
        }

        fn page_size(&self) -> Result<u64> {
            Ok(self.system()?.page_size.into())
        }

        fn kernel_maps(&self) -> Result<Option<Vec<KernelMapping>>> {
            self.demo.kernel_maps()
        }

        fn process_map(&self, pid: Pid, detail: Detail) -> Result<ProcessMap> {
            self.demo.process_map(pid, detail)
        }

        fn page_states(&self, _: Option<Pid>, _: &[u64]) -> Result<Vec<PageState>> {
            unreachable!()
        }

        fn map(&self, _: &Backing) -> Result<Box<dyn Mapping>, KernelError> {
            unreachable!()
        }
    }

    impl Host for Real {
        fn system(&self) -> Result<System> {
            Ok(System { machine_arch: self.machine_arch.to_owned(), ..self.demo.system()? })
        }

        fn memory_map(&self) -> Result<MemoryMap> {
            self.demo.memory_map()
        }

        fn pmap_mode(&self) -> Result<Option<riscv::Mode>> {
            Ok(riscv::Mode::from_value(1).filter(|_| self.machine_arch == "riscv64"))
        }

        fn range_descriptors(&self) -> Result<Vec<Descriptor>> {
            match self.answer {
                Some(errno) => Err(KernelError::new(Operation::GetRanges, "/dev/mem", errno).into()),
                None => self.demo.range_descriptors(),
            }
        }

        fn processor_registers(&self) -> Result<Registers> {
            self.demo.processor_registers()
        }

        fn physical_bits(&self) -> Option<u32> {
            Some(39)
        }

        fn set_range(&self, _: &Request) -> Result<()> {
            unreachable!()
        }

        fn physical_memory(&self) -> Result<Box<dyn Memory>> {
            unreachable!()
        }

        fn kernel_memory(&self) -> Result<Box<dyn Memory>> {
            unreachable!()
        }

        fn kernel_symbol(&self, _: &str) -> Result<Option<Symbol>> {
            unreachable!()
        }

        fn kernel_dump(&self, _: &File, _: Compression) -> Result<()> {
            unreachable!()
        }

        fn live_dump_facts(&self) -> Result<LiveDumpFacts> {
            self.demo.live_dump_facts()
        }
    }

    fn recorded(machine_arch: &'static str, answer: Option<Errno>) -> Result<Machine> {
        let demo = Recorded::open(Path::new(DEMO)).unwrap();
        record(&Real { demo, machine_arch, answer }, &[])
    }

    #[test]
    fn a_machine_without_ranges_is_recorded_with_the_errno_of_its_kernel() {
        for (arch, errno, name) in [
            ("aarch64", Errno::ENOTTY, "ENOTTY"),
            ("armv7", Errno::ENOTTY, "ENOTTY"),
            ("riscv64", Errno::ENOTTY, "ENOTTY"),
            ("amd64", Errno::EOPNOTSUPP, "EOPNOTSUPP"),
            ("amd64", Errno::ENXIO, "ENXIO"),
            ("powerpc64", Errno::ENXIO, "ENXIO"),
        ] {
            let machine = recorded(arch, Some(errno)).unwrap();
            assert_eq!(machine.ranges.descriptors, []);
            let stated = machine.errors.get("MEMRANGE_GET").map(String::as_str);
            assert_eq!(stated, Some(name), "{arch}");
        }
    }

    #[test]
    fn what_is_no_answer_of_such_a_kernel_is_an_error() {
        // On x86 and powerpc the device is not mem(4) then.
        for (arch, errno) in [
            ("amd64", Errno::ENOTTY),
            ("i386", Errno::ENOTTY),
            ("powerpc64le", Errno::ENOTTY),
            ("aarch64", Errno::EPERM),
            ("amd64", Errno::EIO),
        ] {
            assert!(recorded(arch, Some(errno)).is_err(), "{arch} {errno}");
        }
    }

    #[test]
    fn the_levels_of_riscvs_page_tables_are_recorded() {
        let mode = |arch| recorded(arch, None).unwrap().pmap_mode;
        assert_eq!((mode("riscv64"), mode("amd64")), (Some(riscv::Mode::Sv48), None));
        let text = serde_json::to_value(recorded("riscv64", None).unwrap()).unwrap();
        assert_eq!(text["pmap_mode"], "sv48");
    }

    #[test]
    fn what_the_processor_tells_is_recorded() {
        let machine = recorded("amd64", None).unwrap();
        assert_eq!(machine.ranges.physical_bits, Some(39));
        assert_eq!(machine.ranges.registers.unwrap().vendor, "GenuineIntel");
    }
}
