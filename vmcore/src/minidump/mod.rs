//! Minidumps: the format in which FreeBSD kernels dump themselves (`minidump_machdep.c` of each
//! architecture).
//!
//! The pages follow the format's own tables: a header page, the message buffer, `dump_avail`, the page
//! bitmap, page tables, and then one page for each bit that is set.

pub mod dump_avail;
pub mod left_out;
mod page_set;
pub mod writer;

pub use page_set::PageSet;

use crate::architecture::Endianness;
use crate::pmap::{self, Format, Level};
use crate::system::System;
use ioctl_defs::kerneldump::{
    KERNELDUMP_AARCH64_VERSION, KERNELDUMP_AMD64_VERSION, KERNELDUMP_POWERPC_VERSION, KERNELDUMP_RISCV_VERSION,
};
use ioctl_defs::minidump::powerpc64;

/// Bits that the `bitmapsize` of a minidump can stand for.
pub const MAX_PAGES: u64 = u32::MAX as u64 * 8;

/// A kind of machine whose minidumps memtool writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// One with a tree of page tables.
    Tree(Architecture),
    /// powerpc64 with the processor's hashed page table, and with this order of bytes.
    Powerpc64(Endianness),
}

impl Machine {
    /// What a system is; `None` if it is none of them.
    pub fn from_system(system: &System) -> Option<Self> {
        match (system.machine_arch.as_str(), system.page_size) {
            (name @ ("powerpc64" | "powerpc64le"), 4096) => Some(Self::Powerpc64(Endianness::from_machine_arch(name))),
            _ => Architecture::from_system(system).map(Self::Tree),
        }
    }

    /// Whose kernels it runs.
    pub const fn family(self) -> crate::architecture::Architecture {
        match self {
            Self::Tree(architecture) => architecture.family(),
            Self::Powerpc64(_) => crate::architecture::Architecture::Powerpc64,
        }
    }

    /// Order of bytes in integers.
    pub const fn order(self) -> Endianness {
        match self {
            Self::Tree(_) => Endianness::Little,
            Self::Powerpc64(order) => order,
        }
    }

    /// Bytes of a page.
    pub const fn page_size(self) -> u64 {
        match self {
            Self::Tree(architecture) => architecture.page_size(),
            Self::Powerpc64(_) => pmap::powerpc64::PAGE,
        }
    }

    /// Whether a live dump that a kernel with this `osreldate` makes may be of use. Those of riscv and powerpc, up to
    /// `FreeBSD` 15.1, write another page bitmap than they dump pages by (`cpu_minidumpsys()`); of later ones a dump
    /// tells.
    pub const fn kernel_dumps_are_of_use(self, osreldate: u32) -> bool {
        !matches!(self, Self::Tree(Architecture::Riscv) | Self::Powerpc64(_)) || osreldate >= 1_502_000
    }

    /// `architectureversion` in the header of its dumps.
    pub const fn dump_version(self) -> u32 {
        match self {
            Self::Tree(architecture) => architecture.dump_version(),
            Self::Powerpc64(_) => KERNELDUMP_POWERPC_VERSION,
        }
    }

    /// The version of its minidumps that debuggers read; see [`Architecture::version`].
    pub const fn version(self, counts_from_0: bool) -> u32 {
        match self {
            Self::Tree(architecture) => architecture.version(counts_from_0),
            Self::Powerpc64(_) => powerpc64::MINIDUMP_VERSION,
        }
    }
}

/// A kind of machine with a tree of page tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// amd64, with four or five levels of page tables.
    Amd64,
    /// arm64 with pages of 4 KiB.
    Arm64,
    /// arm64 with pages of 16 KiB.
    Arm64Large,
    /// riscv64, with three or four levels of page tables.
    Riscv,
}

impl Architecture {
    /// What a system is; `None` if it is none of them.
    pub fn from_system(system: &System) -> Option<Self> {
        match (system.machine_arch.as_str(), system.page_size) {
            ("amd64", 4096) => Some(Self::Amd64),
            ("aarch64", 4096) => Some(Self::Arm64),
            ("aarch64", 16384) => Some(Self::Arm64Large),
            ("riscv64", 4096) => Some(Self::Riscv),
            _ => None,
        }
    }

    /// Whose kernels it runs, whatever the size of pages.
    pub const fn family(self) -> crate::architecture::Architecture {
        match self {
            Self::Amd64 => crate::architecture::Architecture::Amd64,
            Self::Arm64 | Self::Arm64Large => crate::architecture::Architecture::Arm64,
            Self::Riscv => crate::architecture::Architecture::Riscv,
        }
    }

    /// Its page tables, of which some machines have a level more.
    pub const fn format(self) -> Format {
        match self {
            Self::Amd64 => Format::Amd64,
            Self::Arm64 => Format::Arm64,
            Self::Arm64Large => Format::Arm64Large,
            Self::Riscv => Format::Sv39,
        }
    }

    /// Bytes of a page, and of a page table.
    pub const fn page_size(self) -> u64 {
        self.format().page_size()
    }

    /// The three lowest levels of its page tables, the highest first: entries of the first one name page directories,
    /// whose entries stand for superpages or name the tables of the last one.
    pub const fn levels(self) -> [Level; 3] {
        match self.format().levels() {
            &[.., upper, directory, last] => [upper, directory, last],
            _ => [self.format().last_level(); 3],
        }
    }

    /// The lowest address of the kernel map, which the page tables in a dump begin with.
    pub const fn kernel_base(self) -> u64 {
        match self {
            Self::Amd64 => pmap::amd64::KERNEL_MAP_BASE,
            Self::Arm64 | Self::Arm64Large => pmap::arm64::KERNBASE,
            Self::Riscv => pmap::riscv::KERNBASE,
        }
    }

    /// `architectureversion` in the header of its dumps.
    pub const fn dump_version(self) -> u32 {
        match self {
            Self::Amd64 => KERNELDUMP_AMD64_VERSION,
            Self::Arm64 | Self::Arm64Large => KERNELDUMP_AARCH64_VERSION,
            Self::Riscv => KERNELDUMP_RISCV_VERSION,
        }
    }

    /// The version of its minidumps that debuggers read, those of older systems too.
    ///
    /// On arm64 these are version 1, until the page bitmap counted pages through `dump_avail`, and 2 since then:
    /// kernels write 3 since 14.0, but libkvm(3) reads all that are older, and libfbsdvmcore, by which lldb reads dumps,
    /// no newer one. Only version 3 tells the size of pages. riscv's are version 1 and 2 likewise.
    pub const fn version(self, counts_from_0: bool) -> u32 {
        match self {
            Self::Amd64 | Self::Arm64Large => 3,
            Self::Arm64 | Self::Riscv if counts_from_0 => 1,
            Self::Arm64 | Self::Riscv => 2,
        }
    }
}
