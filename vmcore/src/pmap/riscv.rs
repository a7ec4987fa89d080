//! riscv: bits of page table entries (`sys/riscv/include/pte.h`), and where the kernel has its memory
//! (`sys/riscv/include/vmparam.h`), which is the same with three and with four levels of page tables.

use super::{Format, Protection};
use serde::{Deserialize, Serialize};

/// How addresses are translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Addresses of 39 bits, three levels of page tables.
    Sv39,
    /// Addresses of 48 bits, four levels.
    Sv48,
}

impl Mode {
    /// What `vm.pmap.mode` says (`enum pmap_mode`, `sys/riscv/include/pmap.h`); `None` if it is no mode that is known.
    pub const fn from_value(value: u64) -> Option<Self> {
        match value {
            0 => Some(Self::Sv39),
            1 => Some(Self::Sv48),
            _ => None,
        }
    }

    /// Its page tables.
    pub const fn format(self) -> Format {
        match self {
            Self::Sv39 => Format::Sv39,
            Self::Sv48 => Format::Sv48,
        }
    }
}

/// `VM_MIN_KERNEL_ADDRESS`, which is `KERNBASE` too: the kernel map begins with the kernel's image.
pub const KERNBASE: u64 = 0xffff_ffc0_0000_0000;
/// Where the image ends at the latest: `locore.S` maps it, and what was loaded behind it, with one table of superpages.
pub const IMAGE_END: u64 = KERNBASE + (1 << 30);
/// `VM_MAX_KERNEL_ADDRESS`.
pub const KERNEL_MAP_END: u64 = 0xffff_ffc8_0000_0000;
/// `DMAP_MIN_ADDRESS`.
pub const DIRECT_MAP: u64 = 0xffff_ffd0_0000_0000;
/// `DMAP_MAX_ADDRESS`.
pub const DIRECT_MAP_END: u64 = 0xffff_fff0_0000_0000;
/// Physical addresses have so many bits at most.
pub const PHYSICAL_BITS: u32 = 56;

/// `PTE_V`: the entry is valid.
pub const VALID: u64 = 1;
/// `PTE_R`: the memory can be read.
pub const READ: u64 = 1 << 1;
/// `PTE_W`: it can be written.
pub const WRITE: u64 = 1 << 2;
/// `PTE_X`: it can be executed.
pub const EXECUTE: u64 = 1 << 3;
/// `PTE_RWX`: an entry with none of them names a table.
pub const LEAF: u64 = READ | WRITE | EXECUTE;
/// `PTE_A`: it was accessed.
pub const ACCESSED: u64 = 1 << 6;
/// `PTE_D`: it was written.
pub const DIRTY: u64 = 1 << 7;
/// The page's number stands from bit 10 to 53.
const FRAME: u64 = 0x003f_ffff_ffff_fc00;

/// The physical address in an entry.
pub const fn address(entry: u64) -> u64 {
    (entry & FRAME) << 2
}

/// An entry's bits for a physical address.
pub const fn frame(address: u64) -> u64 {
    address >> 2 & FRAME
}

/// The bits of an entry of a page or superpage of the kernel, without its address.
pub const fn attributes(protection: Protection) -> u64 {
    let Protection { read, write, execute } = protection;
    VALID
        | ACCESSED
        | if read { READ } else { 0 }
        | if write { WRITE | DIRTY } else { 0 }
        | if execute { EXECUTE } else { 0 }
}

/// The format and physical address of the top-level page table that a value of `satp` names, the kernel's own: without
/// the number of an address space. `None` if it is none of those that `FreeBSD` uses.
pub const fn root(satp: u64) -> Option<(Format, u64)> {
    let format = match satp >> 44 {
        0x8_0000 => Format::Sv39,
        0x9_0000 => Format::Sv48,
        _ => return None,
    };
    Some((format, (satp & ((1 << 44) - 1)) << 12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_page_numbers_ten_bits_up() {
        assert_eq!(frame(0x8020_0000), 0x2008_0000);
        assert_eq!(address(0x2008_0000 | 0xef), 0x8020_0000);
        // Memory attributes stand above the number.
        assert_eq!(address(u64::MAX), 0x00ff_ffff_ffff_f000);
        assert_eq!(frame(0x00ff_ffff_ffff_f000), FRAME);
    }

    #[test]
    fn the_kernel_numbers_its_modes() {
        assert_eq!([0, 1, 2].map(Mode::from_value), [Some(Mode::Sv39), Some(Mode::Sv48), None]);
        assert_eq!((Mode::Sv39.format(), Mode::Sv48.format()), (Format::Sv39, Format::Sv48));
    }

    #[test]
    fn satp_names_the_root_and_the_number_of_levels() {
        assert_eq!(root(0x8000_0000_0008_0a01), Some((Format::Sv39, 0x80a0_1000)));
        assert_eq!(root(0x9000_0000_0008_0a01), Some((Format::Sv48, 0x80a0_1000)));
        // Sv57, none at all, and that of a process.
        for satp in [0xa000_0000_0008_0a01, 0x80a01, 0x8000_1000_0008_0a01, u64::MAX] {
            assert_eq!(root(satp), None, "{satp:#x}");
        }
    }
}
