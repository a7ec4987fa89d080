//! Variables of modules of which each processor, or each network stack, has a copy. A module's file has them in a section of
//! their own; the kernel gives that section a place among its own such variables (`dpcpu_alloc` of `sys/kern/subr_pcpu.c`,
//! `vnet_data_alloc` of `sys/net/vnet.c`), which the file does not tell.

/// What has copies of variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopiedSet {
    /// Each processor (`DPCPU_DEFINE`, `sys/pcpu.h`).
    PerCpu,
    /// Each network stack (`VNET_DEFINE`, `net/vnet.h`).
    PerVnet,
}

impl CopiedSet {
    /// Both.
    pub const ALL: [Self; 2] = [Self::PerCpu, Self::PerVnet];

    /// The section that the variables are in (`DPCPU_SETNAME`, `VNET_SETNAME`).
    pub const fn section(self) -> &'static str {
        match self {
            Self::PerCpu => "set_pcpu",
            Self::PerVnet => "set_vnet",
        }
    }

    /// What symbols of such variables begin with (`DPCPU_NAME`, `VNET_NAME`).
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::PerCpu => "pcpu_entry_",
            Self::PerVnet => "vnet_entry_",
        }
    }
}

/// A section of a file with variables that have copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopiedSection {
    /// What has the copies.
    pub set: CopiedSet,
    /// The number of the section.
    pub number: usize,
    /// Where it lies beside the module's other sections. No symbol of a relocatable file leads there.
    pub address: u64,
    /// Its bytes.
    pub size: u64,
}

/// Where the kernel has such a section of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetPlace {
    /// The number of the module's table among [`super::KernelSymbols::tables`].
    pub module: usize,
    /// What has the copies.
    pub set: CopiedSet,
    /// The address among the kernel's own such variables, or why it is not known.
    pub address: Result<u64, String>,
}
