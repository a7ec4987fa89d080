//! What kind of system memory belongs to.

use serde::{Deserialize, Serialize};

/// What kind of system a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// `kern.osreldate`, such as 1400097 for FreeBSD 14.0.
    pub osreldate: u32,
    /// `kern.version`, its first line.
    pub version: String,
    /// `hw.machine_arch`, such as `amd64` or `aarch64`.
    pub machine_arch: String,
    /// `hw.pagesize`, in bytes.
    pub page_size: u32,
    /// `vm.ndomains`: NUMA domains.
    pub domains: u32,
    /// `hw.ncpu`: processors.
    pub processors: u32,
    /// `hw.physmem`: bytes of RAM that the kernel has to hand out.
    pub physical_memory: u64,
    /// `kern.hostname`.
    pub hostname: String,
}
