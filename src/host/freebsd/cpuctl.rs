//! The processor's registers, through cpuctl(4). The device is opened for reading, and nothing is written.

use crate::error::Result;
use crate::files::open_nonblocking;
use crate::kernel_error::errno_of;
use crate::kernel_error::{KernelError, Operation};
use crate::ranges::default_type::Registers;
use ioctl_defs::cpuctl::{CPUCTL_CPUID, CPUCTL_RDMSR, cpuctl_cpuid_args_t, cpuctl_msr_args_t};
use nix::errno::Errno;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use vmcore::units::Hex;

const DEVICE: &str = "/dev/cpuctl0";

/// CPUID: the vendor, and the last leaf of the first ones.
const VENDOR: u32 = 0;
/// CPUID: the last leaf of the extended ones.
const LAST_EXTENDED: u32 = 0x8000_0000;
/// CPUID: the address width, in the lowest byte of EAX.
const ADDRESS_WIDTH: u32 = 0x8000_0008;

mod raw {
    use super::*;

    // The codes come from the same crate as the argument types, and carry their sizes.
    nix::ioctl_readwrite_bad!(cpuid, CPUCTL_CPUID, cpuctl_cpuid_args_t);
    nix::ioctl_readwrite_bad!(rdmsr, CPUCTL_RDMSR, cpuctl_msr_args_t);
}

/// The first processor, which stands for all of them: the kernel keeps their ranges alike.
struct Processor(File);

impl Processor {
    fn open() -> Result<Self, Errno> {
        open_nonblocking(Path::new(DEVICE)).map(Self).map_err(|error| errno_of(&error))
    }

    /// EAX, EBX, ECX and EDX.
    fn cpuid(&self, leaf: u32) -> Result<[u32; 4], Errno> {
        let mut arguments = cpuctl_cpuid_args_t { level: leaf.cast_signed(), ..Default::default() };
        // SAFETY: the kernel reads and writes one cpuctl_cpuid_args_t, which is borrowed throughout.
        unsafe { raw::cpuid(self.0.as_raw_fd(), &mut arguments) }?;
        Ok(arguments.data)
    }

    /// A model-specific register; `None` if the processor does not have it, for which the kernel answers EFAULT
    /// (`rdmsr_safe`).
    fn register(&self, number: u32) -> Result<Option<Hex>, Errno> {
        let mut arguments = cpuctl_msr_args_t { msr: number.cast_signed(), ..Default::default() };
        // SAFETY: the kernel reads and writes one cpuctl_msr_args_t, which is borrowed throughout.
        match unsafe { raw::rdmsr(self.0.as_raw_fd(), &mut arguments) } {
            Ok(_) => Ok(Some(Hex(arguments.data))),
            Err(Errno::EFAULT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn vendor(&self) -> Result<String, Errno> {
        let [_, ebx, ecx, edx] = self.cpuid(VENDOR)?;
        let bytes = [ebx, edx, ecx].map(u32::to_le_bytes).concat();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn registers(&self) -> Result<Registers, Errno> {
        let vendor = self.vendor()?;
        let has_top_mem2 = Registers::has_top_mem2(&vendor);
        let of_amd = |number| if has_top_mem2 { self.register(number) } else { Ok(None) };
        Ok(Registers {
            mtrr_def_type: self.register(Registers::MTRR_DEF_TYPE)?,
            syscfg: of_amd(Registers::SYSCFG)?,
            top_mem2: of_amd(Registers::TOP_MEM2)?,
            vendor,
        })
    }

    fn physical_bits(&self) -> Result<Option<u32>, Errno> {
        let [last, ..] = self.cpuid(LAST_EXTENDED)?;
        if last < ADDRESS_WIDTH {
            return Ok(None);
        }
        let [width, ..] = self.cpuid(ADDRESS_WIDTH)?;
        Ok(Some(width & 0xff))
    }
}

/// What the registers say of memory types.
pub fn registers() -> Result<Registers> {
    let fail = |errno| KernelError::new(Operation::ReadRegisters, DEVICE, errno);
    Ok(Processor::open().and_then(|processor| processor.registers()).map_err(fail)?)
}

/// The width of physical addresses in bits, if the processor tells.
pub fn physical_bits() -> Option<u32> {
    Processor::open().and_then(|processor| processor.physical_bits()).ok().flatten()
}
