//! What a kernel has for each CPU: `struct pcpu` (`kvm_getpcpu`), variables that each CPU has for itself
//! (`kvm_dpcpu_setcpu`), counters (`kvm_counter_u64_fetch`), and what CPUs spent their time with (`kvm_getcptime`).
//!
//! Sources: `sys/sys/pcpu.h`, `sys/kern/subr_pcpu.c`, `subr_smp.c`, counter(9) and `machine/counter.h`, `lib/libkvm/kvm_pcpu.c`.

use super::{Object, TypedMemory};
use crate::error::{Error, Result};
use crate::fault::{Fault, Why};
use crate::symbols::{CopiedSet, Symbols};
use crate::units::Hex;

/// More CPUs than a kernel can be built for.
const MAX_CPUS: u32 = 1 << 16;
/// Bytes of a part of a counter, which are its alignment, too.
const COUNTER_SIZE: u64 = 8;

/// Ticks of the statistics clock that CPUs spent since they started (`CP_USER` to `CP_IDLE`, `sys/sys/resource.h`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// In programs.
    pub user: u64,
    /// In programs with a positive nice value.
    pub nice: u64,
    /// In the kernel.
    pub system: u64,
    /// In interrupt handlers.
    pub interrupt: u64,
    /// Idle.
    pub idle: u64,
}

impl CpuTimes {
    fn add(self, other: Self) -> Self {
        Self {
            user: self.user.wrapping_add(other.user),
            nice: self.nice.wrapping_add(other.nice),
            system: self.system.wrapping_add(other.system),
            interrupt: self.interrupt.wrapping_add(other.interrupt),
            idle: self.idle.wrapping_add(other.idle),
        }
    }
}

/// The addresses of a section of the kernel's image, whose variables stand for copies elsewhere: the linker's symbols at its
/// beginning and end. `None` where the kernel has no such section.
pub(super) fn section_borders(symbols: &dyn Symbols, set: CopiedSet) -> Result<Option<(u64, u64)>> {
    let border = |edge: &str| symbols.find(&format!("__{edge}_{}", set.section()));
    Ok(border("start")?.zip(border("stop")?).map(|(start, stop)| (start.address, stop.address)))
}

/// Where each CPU has its part of what the zone allocator gave to all of them at once (`UMA_ZONE_PCPU`).
pub struct ZonePerCpu<'a> {
    typed: TypedMemory<'a>,
    parts: Vec<CpuPart>,
}

struct CpuPart {
    cpu: u32,
    /// From the address of such a thing to the CPU's part of it.
    offset: u64,
    /// The counter that all counters are while the kernel boots, if it has that.
    early: Option<u64>,
}

impl ZonePerCpu<'_> {
    /// The numbers of the CPUs and the addresses of their parts, of what is at an address.
    pub fn addresses(&self, base: u64) -> impl Iterator<Item = (u32, u64)> {
        self.parts.iter().map(move |part| (part.cpu, self.typed.wrap(base.wrapping_add(part.offset))))
    }

    /// The value of a counter(9), of which each CPU has a part: their sum, which wraps around (`kvm_counter_u64_fetch`). `base`
    /// is the value of a `counter_u64_t`.
    ///
    /// # Errors
    ///
    /// It is no counter: null or not aligned; a part cannot be read, or it is the one that all counters have while the kernel
    /// boots (`EARLY_COUNTER`).
    pub fn counter(&self, base: u64) -> Result<u64> {
        if base == 0 || !base.is_multiple_of(COUNTER_SIZE) {
            return Err(Error::Unsupported(format!("{} is not a counter", Hex(base))));
        }
        let mut sum = 0_u64;
        for (part, (_, at)) in self.parts.iter().zip(self.addresses(base)) {
            if part.early == Some(at) {
                return Err(Error::Unsupported("the counter was not allocated yet".to_owned()));
            }
            sum = sum.wrapping_add(self.typed.memory.u64(at)?);
        }
        Ok(sum)
    }
}

impl<'a> TypedMemory<'a> {
    /// How many CPUs the kernel was built for: numbers of CPUs are smaller (`kvm_getmaxcpu`, `MAXCPU`).
    ///
    /// # Errors
    ///
    /// The kernel has no variable `mp_maxcpus` (before FreeBSD 8), or its value cannot be read or makes no sense.
    pub fn max_cpus(self) -> Result<u32> {
        let count = self.memory.u32(self.symbol("mp_maxcpus")?)?;
        if count == 0 || count > MAX_CPUS {
            return Err(Error::Format(format!("mp_maxcpus is {count}, which is no number of CPUs")));
        }
        Ok(count)
    }

    /// The numbers of the CPUs that it has, in ascending order (`all_cpus`, a cpuset(9)).
    ///
    /// # Errors
    ///
    /// The kernel has no such variable, or it cannot be read.
    pub fn cpus(self) -> Result<Vec<u32>> {
        let set = self.symbol("all_cpus")?;
        let word = self.memory.word_size() as u64;
        let mut found = Vec::new();
        for first in (0..self.max_cpus()?).step_by(self.memory.word_size().saturating_mul(8)) {
            let offset = u64::from(first) / (8 * word) * word;
            let bits = self.memory.pointer(set.checked_add(offset).ok_or(Fault::new(set, Why::NotCovered))?)?;
            found.extend((0..64).filter(|bit| bits >> bit & 1 == 1).map(|bit: u32| first.saturating_add(bit)));
        }
        Ok(found)
    }

    /// The `struct pcpu` of a CPU; `None` where there is no CPU of that number (`kvm_getpcpu`).
    ///
    /// # Errors
    ///
    /// The kernel's types lack `cpuid_to_pcpu`, or it cannot be read.
    pub fn pcpu(self, cpu: u32) -> Result<Option<Object<'a>>> {
        if cpu >= self.max_cpus()? {
            return Ok(None);
        }
        self.variable("cpuid_to_pcpu")?.index(cpu.into())?.follow()
    }

    fn existing_pcpu(self, cpu: u32) -> Result<Object<'a>> {
        self.pcpu(cpu)?.ok_or_else(|| no_cpu(cpu))
    }

    /// Whether each CPU has a copy of the variable at an address, defined with `DPCPU_DEFINE`: the address itself has what
    /// all copies began with.
    ///
    /// # Errors
    ///
    /// The symbols cannot be had.
    pub fn is_per_cpu(self, address: u64) -> Result<bool> {
        let borders = section_borders(self.symbols, CopiedSet::PerCpu)?;
        Ok(borders.is_some_and(|(start, stop)| (start..stop).contains(&address)))
    }

    /// Where a CPU has its copy of the variable at an address; the address itself if there are no copies of that
    /// (`kvm_dpcpu_setcpu`). Symbols of such variables begin with `pcpu_entry_`.
    ///
    /// # Errors
    ///
    /// There is no such CPU, or where it has its copies cannot be read.
    pub fn per_cpu_address(self, address: u64, cpu: u32) -> Result<u64> {
        if !self.is_per_cpu(address)? {
            return Ok(address);
        }
        if cpu >= self.max_cpus()? {
            return Err(no_cpu(cpu));
        }
        let array = self.symbol("dpcpu_off")?;
        let at = u64::from(cpu).saturating_mul(self.memory.word_size() as u64);
        let offset = self.memory.pointer(array.checked_add(at).ok_or(Fault::new(array, Why::NotCovered))?)?;
        if offset == 0 {
            return Err(no_cpu(cpu));
        }
        // An offset from the section to the copy can be negative.
        Ok(self.wrap(offset.wrapping_add(address)))
    }

    /// Where a CPU has its part of what the zone allocator gave to all CPUs at once (`UMA_ZONE_PCPU`, `zpcpu_get_cpu`).
    ///
    /// # Errors
    ///
    /// There is no such CPU, or its `struct pcpu` cannot be read.
    pub fn zone_per_cpu_address(self, base: u64, cpu: u32) -> Result<u64> {
        let pcpu = self.existing_pcpu(cpu)?;
        let offset = match pcpu.member("pc_zpcpu_offset") {
            Ok(offset) => offset.unsigned()?,
            // Before FreeBSD 13 such parts are as far apart as a struct pcpu is large.
            Err(_) => pcpu.size().unwrap_or(0).wrapping_mul(cpu.into()),
        };
        Ok(self.wrap(base.wrapping_add(offset)))
    }

    /// The parts that each CPU has of what the zone allocator gave to all of them at once: read once, for many such things.
    ///
    /// # Errors
    ///
    /// The CPUs, or the `struct pcpu` of one, cannot be read.
    pub fn zone_per_cpu(self) -> Result<ZonePerCpu<'a>> {
        let part = |cpu| {
            let early = self.existing_pcpu(cpu)?.member("pc_early_dummy_counter");
            let early = early.ok().map(|early| early.address());
            Ok(CpuPart { cpu, offset: self.zone_per_cpu_address(0, cpu)?, early })
        };
        Ok(ZonePerCpu { typed: self, parts: self.cpus()?.into_iter().map(part).collect::<Result<_>>()? })
    }

    /// The value of a counter(9): see [`ZonePerCpu::counter`].
    ///
    /// # Errors
    ///
    /// Those of [`Self::zone_per_cpu`] and [`ZonePerCpu::counter`].
    pub fn counter(self, base: u64) -> Result<u64> {
        self.zone_per_cpu()?.counter(base)
    }

    /// What a CPU spent its time with (`pc_cp_time`, `kern.cp_times`).
    ///
    /// # Errors
    ///
    /// There is no such CPU, or its `struct pcpu` cannot be read.
    pub fn times_of_cpu(self, cpu: u32) -> Result<CpuTimes> {
        let times = self.existing_pcpu(cpu)?.member("pc_cp_time")?.fetched()?;
        let time = |state: u64| times.index(state)?.unsigned();
        Ok(CpuTimes { user: time(0)?, nice: time(1)?, system: time(2)?, interrupt: time(3)?, idle: time(4)? })
    }

    /// What all CPUs spent their time with (`kvm_getcptime`, `kern.cp_time`).
    ///
    /// # Errors
    ///
    /// Those of [`Self::cpus`] and [`Self::times_of_cpu`].
    pub fn cpu_times(self) -> Result<CpuTimes> {
        let mut each = self.cpus()?.into_iter().map(|cpu| self.times_of_cpu(cpu));
        each.try_fold(CpuTimes::default(), |sum, times| Ok(sum.add(times?)))
    }

    /// The address of a symbol.
    ///
    /// # Errors
    ///
    /// There is none of that name.
    pub fn symbol(self, name: &str) -> Result<u64> {
        let found = self.symbols.find(name)?.map(|symbol| symbol.address);
        found.ok_or_else(|| Error::Unsupported(format!("{} has no symbol {name}", self.symbols.source())))
    }

    /// A sum of addresses, in as many bits as an address has.
    pub(super) fn wrap(self, address: u64) -> u64 {
        if self.memory.word_size() == 4 { address & u64::from(u32::MAX) } else { address }
    }
}

fn no_cpu(cpu: u32) -> Error {
    Error::Unsupported(format!("the kernel has no CPU {cpu}"))
}
