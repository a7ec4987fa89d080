//! Times of processes, in the units that people use: the kernel counts ticks of clocks.
//!
//! Sources: `cputick2usec()` and `getboottime()` in `sys/kern/kern_tc.c`, `calcru1()` in `sys/kern/kern_resource.c`.

use super::members::{number, number32};
use crate::bounds::low_u64;
use crate::error::Result;
use crate::kernel::{Object, TypedMemory};

/// Microseconds of a second.
const MICROSECONDS: u64 = 1_000_000;

/// A time of day, since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds.
    pub seconds: i64,
    /// And microseconds.
    pub microseconds: u32,
}

/// What times are computed with. `None` where the kernel does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    /// The time of day in seconds since 1970, as the kernel has it.
    pub now: Option<i64>,
    /// When it booted.
    pub boot: Option<Timestamp>,
    /// Clock interrupts since it booted (`ticks`), which wrap around.
    pub ticks: Option<i32>,
    /// Clock interrupts each second.
    pub hz: Option<u32>,
    /// What CPU time is counted in: so many each second.
    pub cpu_ticks_per_second: Option<u64>,
}

/// CPU time, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuTime {
    /// All of it.
    pub total: u64,
    /// In the program.
    pub user: u64,
    /// In the kernel on its behalf.
    pub system: u64,
}

/// CPU time as the kernel counts it (`struct rusage_ext`).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RawTime {
    runtime: u64,
    user_ticks: u64,
    system_ticks: u64,
    interrupt_ticks: u64,
    /// User and system time when they were last computed: they never go back.
    last_user: u64,
    last_system: u64,
    last_total: u64,
}

impl Clock {
    /// Reads the kernel's variables.
    pub(super) fn read(typed: TypedMemory<'_>) -> Self {
        let number = |name: &str| typed.symbol(name).and_then(|at| Ok(typed.memory.u32(at)?)).ok();
        Self {
            now: typed.variable("time_second").and_then(|time| time.signed()).ok(),
            boot: boot_time(typed).ok(),
            ticks: number("ticks").map(u32::cast_signed),
            hz: number("hz").filter(|hz| *hz > 0),
            cpu_ticks_per_second: cpu_ticks_per_second(typed).ok().filter(|frequency| *frequency > 0),
        }
    }

    /// Whole seconds from a value of `ticks` until now.
    pub(super) fn seconds_since(&self, ticks: i32) -> Option<i32> {
        let elapsed = self.ticks?.wrapping_sub(ticks);
        elapsed.checked_div(i32::try_from(self.hz?).ok()?)
    }

    /// The time of day of a `struct timeval` that counts from when the kernel booted.
    pub(super) fn time_of(&self, since_boot: &Object<'_>) -> Option<Timestamp> {
        let boot = self.boot?;
        let microseconds = u64::from(boot.microseconds).checked_add(number(since_boot, "tv_usec")?)?;
        let seconds = since_boot.member("tv_sec").and_then(|seconds| seconds.signed()).ok()?;
        let carry = i64::try_from(microseconds / MICROSECONDS).ok()?;
        Some(Timestamp {
            seconds: boot.seconds.checked_add(seconds)?.checked_add(carry)?,
            microseconds: u32::try_from(microseconds % MICROSECONDS).ok()?,
        })
    }

    fn microseconds(&self, cpu_ticks: u64) -> Option<u64> {
        let microseconds = u128::from(cpu_ticks) * u128::from(MICROSECONDS) / u128::from(self.cpu_ticks_per_second?);
        u64::try_from(microseconds).ok()
    }

    /// CPU time in microseconds, divided as the statistics clock found the CPU. `None` where it makes no sense.
    pub(super) fn cpu_time(&self, raw: &RawTime) -> Option<CpuTime> {
        let total = self.microseconds(raw.runtime).filter(|total| i64::try_from(*total).is_ok())?;
        let all = u128::from(raw.user_ticks) + u128::from(raw.system_ticks) + u128::from(raw.interrupt_ticks);
        // Where the clock never found it, all counts as system time.
        let (all, system_ticks) = if all == 0 { (1, 1) } else { (all, raw.system_ticks) };
        let share = |ticks: u64| low_u64(u128::from(total) * u128::from(ticks) / all);
        let (user, system) = (share(raw.user_ticks), share(system_ticks));
        let (user, system) = if total >= raw.last_total {
            (user.max(raw.last_user), system.max(raw.last_system))
        } else if is_slop(total, raw.last_total) {
            (raw.last_user, raw.last_system)
        } else {
            (user, system)
        };
        Some(CpuTime { total, user, system })
    }
}

/// Whether time went back so little that it is for the calibration of the clock.
fn is_slop(now: u64, before: u64) -> bool {
    now.saturating_add(3) > before || u128::from(now) * 101 > u128::from(before) * 100
}

impl RawTime {
    /// That of a `struct rusage_ext`.
    pub fn new(counts: &Object<'_>) -> Result<Self> {
        let value = |member: &str| counts.member(member)?.unsigned();
        Ok(Self {
            runtime: value("rux_runtime")?,
            user_ticks: value("rux_uticks")?,
            system_ticks: value("rux_sticks")?,
            interrupt_ticks: value("rux_iticks")?,
            last_user: value("rux_uu")?,
            last_system: value("rux_su")?,
            last_total: value("rux_tu")?,
        })
    }

    /// With what a thread has used and not yet handed over (`ruxagg()`).
    pub fn with_pending(self, thread: &Object<'_>) -> Result<Self> {
        let value = |member: &str| thread.member(member)?.unsigned();
        Ok(Self {
            runtime: self.runtime.wrapping_add(value("td_incruntime")?),
            user_ticks: self.user_ticks.wrapping_add(value("td_uticks")?),
            system_ticks: self.system_ticks.wrapping_add(value("td_sticks")?),
            interrupt_ticks: self.interrupt_ticks.wrapping_add(value("td_iticks")?),
            ..self
        })
    }
}

/// When the kernel booted, by the current `struct timehands`.
fn boot_time(typed: TypedMemory<'_>) -> Result<Timestamp> {
    let boot = typed.variable("timehands")?.dereference()?.member("th_boottime")?;
    let fraction = boot.member("frac")?.unsigned()?;
    // struct bintime: parts of a second in 64 bits, of which struct timeval takes the upper 32.
    let microseconds = ((fraction >> 32) * MICROSECONDS) >> 32;
    Ok(Timestamp { seconds: boot.member("sec")?.signed()?, microseconds: crate::bounds::low_u32(microseconds) })
}

/// How often a second the clock counts that CPU time is measured with: the CPU's own, or the time counter.
fn cpu_ticks_per_second(typed: TypedMemory<'_>) -> Result<u64> {
    let function = typed.variable("cpu_ticks")?.unsigned()?;
    if typed.symbol("tc_cpu_ticks").is_ok_and(|at| at == function) {
        let counter = typed.variable("timehands")?.dereference()?.member("th_counter")?.dereference()?;
        return counter.member("tc_frequency")?.unsigned();
    }
    typed.variable("cpu_tick_frequency")?.unsigned()
}

/// Whole seconds since a member of a structure, a value of `ticks`.
pub(super) fn seconds_since(clock: &Clock, object: &Object<'_>, member: &str) -> Option<i32> {
    clock.seconds_since(number32(object, member)?.cast_signed())
}
