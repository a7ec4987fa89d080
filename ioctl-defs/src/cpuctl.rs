//! The ioctls of cpuctl(4) that only read, as `sys/cpuctl.h` declares them.

use crate::ioccom::iowr;

/// The argument of `CPUCTL_RDMSR`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct cpuctl_msr_args_t {
    /// In: the number of a model-specific register.
    pub msr: i32,
    /// Out: what it holds.
    pub data: u64,
}

/// The argument of `CPUCTL_CPUID`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct cpuctl_cpuid_args_t {
    /// In: the leaf.
    pub level: i32,
    /// Out: EAX, EBX, ECX and EDX.
    pub data: [u32; 4],
}

/// Reads a model-specific register (FreeBSD 8.0).
pub const CPUCTL_RDMSR: u32 = iowr::<cpuctl_msr_args_t>(b'c', 1);
/// Executes the CPUID instruction (FreeBSD 8.0).
pub const CPUCTL_CPUID: u32 = iowr::<cpuctl_cpuid_args_t>(b'c', 3);
