//! Page tables: what their entries say on each architecture, and how many levels there are (`machine/pmap.h`,
//! `machine/pte.h`, `machine/vmparam.h` of each).
//!
//! [`walk`] leads from one level to the next.

pub mod amd64;
pub mod arm64;
pub mod powerpc64;
pub mod riscv;
pub mod walk;

use crate::units::Hex;
use serde::Serialize;
use std::fmt;

/// A format of page tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// amd64, four levels.
    Amd64,
    /// amd64 with 57-bit addresses, five levels (LA57).
    Amd64La57,
    /// arm64 with pages of 4 KiB.
    Arm64,
    /// arm64 with pages of 16 KiB.
    Arm64Large,
    /// arm64 with physical addresses of 52 bits (FEAT_LPA2), of which entries have the highest two elsewhere.
    Arm64Lpa2,
    /// The same with pages of 16 KiB.
    Arm64LargeLpa2,
    /// riscv with 39-bit addresses.
    Sv39,
    /// riscv with 48-bit addresses.
    Sv48,
    /// i386.
    I386,
    /// i386 with physical address extension.
    I386Pae,
    /// arm until `FreeBSD` 12 (`pte-v4.h`).
    ArmV4,
    /// arm (`pte-v6.h`).
    ArmV6,
}

/// A level of page tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// As the architecture's manual and pmap(9) call it.
    pub name: &'static str,
    /// An entry stands for 2 to the power of this many bytes.
    pub shift: u32,
    /// A table has 2 to the power of this many entries.
    pub bits: u32,
}

impl Level {
    const fn new(name: &'static str, shift: u32, bits: u32) -> Self {
        Self { name, shift, bits }
    }

    /// Bytes that an entry stands for.
    pub const fn span(self) -> u64 {
        1 << self.shift
    }

    /// The number of an address's entry in its table.
    pub const fn index(self, address: u64) -> u64 {
        address >> self.shift & ((1 << self.bits) - 1)
    }
}

/// What may be done with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Protection {
    /// It can be read.
    pub read: bool,
    /// It can be written.
    pub write: bool,
    /// It can be executed by the kernel.
    pub execute: bool,
}

impl fmt::Display for Protection {
    /// As ls(1) does: `r-x`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |set: bool, letter| if set { letter } else { '-' };
        write!(f, "{}{}{}", letter(self.read, 'r'), letter(self.write, 'w'), letter(self.execute, 'x'))
    }
}

/// What an entry of a page table leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Nothing: it is not valid.
    Nothing,
    /// The table of the next level at this physical address.
    Table(u64),
    /// Memory.
    Page {
        /// Its physical address, a multiple of its size.
        physical: u64,
        /// Bytes.
        size: u64,
        /// What may be done with it.
        protection: Protection,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Table(at) => write!(f, "table at {}", Hex(*at)),
            Self::Page { physical, .. } => write!(f, "page at {}", Hex(*physical)),
        }
    }
}

/// arm64: the frame of an entry, or an address in it.
const ARM64_FRAME: u64 = 0x0003_ffff_ffff_f000;

impl Format {
    /// The levels, the highest first; the last one's entries stand for pages.
    pub const fn levels(self) -> &'static [Level] {
        const AMD64: [Level; 5] = [
            Level::new("PML5", 48, 9),
            Level::new("PML4", 39, 9),
            Level::new("PDP", 30, 9),
            Level::new("PD", 21, 9),
            Level::new("PT", 12, 9),
        ];
        const ARM64: [Level; 4] =
            [Level::new("L0", 39, 9), Level::new("L1", 30, 9), Level::new("L2", 21, 9), Level::new("L3", 12, 9)];
        // 48-bit addresses leave one bit for the highest level.
        const ARM64_LARGE: [Level; 4] =
            [Level::new("L0", 47, 1), Level::new("L1", 36, 11), Level::new("L2", 25, 11), Level::new("L3", 14, 11)];
        match self {
            Self::Amd64 => AMD64.split_at(1).1,
            Self::Amd64La57 => &AMD64,
            Self::Arm64 | Self::Arm64Lpa2 | Self::Sv48 => &ARM64,
            Self::Sv39 => ARM64.split_at(1).1,
            Self::Arm64Large | Self::Arm64LargeLpa2 => &ARM64_LARGE,
            Self::I386 => &const { [Level::new("PD", 22, 10), Level::new("PT", 12, 10)] },
            Self::I386Pae => &const { [Level::new("PDP", 30, 2), Level::new("PD", 21, 9), Level::new("PT", 12, 9)] },
            Self::ArmV4 | Self::ArmV6 => &const { [Level::new("L1", 20, 12), Level::new("L2", 12, 8)] },
        }
    }

    /// The level of a page's entry.
    pub const fn last_level(self) -> Level {
        match self.levels().last() {
            Some(level) => *level,
            None => Level::new("", 12, 0),
        }
    }

    /// Bytes of a page.
    pub const fn page_size(self) -> u64 {
        self.last_level().span()
    }

    /// Bytes of an entry.
    pub const fn entry_size(self) -> u64 {
        match self {
            Self::I386 | Self::ArmV4 | Self::ArmV6 => 4,
            _ => 8,
        }
    }

    /// Whether addresses have 32 bits.
    pub const fn is_32_bit(self) -> bool {
        matches!(self, Self::I386 | Self::I386Pae | Self::ArmV4 | Self::ArmV6)
    }

    const fn is_arm64(self) -> bool {
        matches!(self, Self::Arm64 | Self::Arm64Large | Self::Arm64Lpa2 | Self::Arm64LargeLpa2)
    }

    /// The same with physical addresses of 52 bits, where there is such a format.
    #[must_use]
    pub const fn with_lpa2(self) -> Self {
        match self {
            Self::Arm64 => Self::Arm64Lpa2,
            Self::Arm64Large => Self::Arm64LargeLpa2,
            other => other,
        }
    }

    /// Bits of a virtual address that the tables cover.
    fn address_bits(self) -> u32 {
        self.levels().first().map_or(0, |level| level.shift + level.bits)
    }

    /// An address that the tables cover, with the bits above that a kernel address has.
    pub fn canonical(self, address: u64) -> u64 {
        let bits = self.address_bits().clamp(1, 64);
        let low = address & u64::MAX >> (64 - bits);
        match self {
            _ if self.is_32_bit() => low,
            // The kernel has tables of its own, and all of them are for the upper half.
            _ if self.is_arm64() => address | u64::MAX.checked_shl(bits).unwrap_or(0),
            _ if low >> (bits - 1) == 1 => low | u64::MAX.checked_shl(bits).unwrap_or(0),
            _ => low,
        }
    }

    /// The address by which the tables of a process map one that it uses; `None` of addresses that are not for processes.
    pub fn user_address(self, address: u64) -> Option<u64> {
        let bits = self.address_bits();
        let is_for_processes = match self {
            _ if self.is_32_bit() => address <= u32::MAX.into(),
            // Here processes have tables of their own, whose addresses are told apart by the bits above.
            _ if self.is_arm64() => address.checked_shr(bits).is_none_or(|above| above == 0),
            _ => address.checked_shr(bits.saturating_sub(1)).is_none_or(|above| above == 0),
        };
        is_for_processes.then(|| self.canonical(address))
    }

    /// Whether the tables can map an address.
    pub fn is_canonical(self, address: u64) -> bool {
        self.canonical(address) == address
    }

    /// Decodes an entry of a level.
    pub fn decode(self, level: Level, entry: u64) -> Target {
        match self {
            Self::Amd64 | Self::Amd64La57 | Self::I386 | Self::I386Pae => self.x86(level, entry),
            Self::Arm64 | Self::Arm64Large | Self::Arm64Lpa2 | Self::Arm64LargeLpa2 => self.arm64(level, entry),
            Self::Sv39 | Self::Sv48 => riscv_entry(level, entry),
            Self::ArmV4 | Self::ArmV6 => self.arm(level, entry),
        }
    }

    /// An entry for memory so many bytes behind that of an entry.
    pub const fn advance(self, entry: u64, bytes: u64) -> u64 {
        match self {
            Self::Sv39 | Self::Sv48 => entry | riscv::frame(bytes),
            _ => entry | bytes,
        }
    }

    const fn x86(self, level: Level, entry: u64) -> Target {
        use amd64::{PG_FRAME, PG_NX, PG_PS, PG_RW, PG_V};
        let is_last = level.shift == self.last_level().shift;
        if entry & PG_V == 0 {
            Target::Nothing
        } else if is_last || (entry & PG_PS != 0 && level.shift <= 30) {
            let protection = Protection { read: true, write: entry & PG_RW != 0, execute: entry & PG_NX == 0 };
            page(entry & PG_FRAME, level.span(), protection)
        } else {
            Target::Table(entry & PG_FRAME)
        }
    }

    const fn arm64(self, level: Level, entry: u64) -> Target {
        use arm64::{BLOCK, L3_PAGE, LPA2_BITS, LPA2_SHIFT, PXN, READ_ONLY, TABLE};
        let is_last = level.shift == self.last_level().shift;
        let protection = Protection { read: true, write: entry & READ_ONLY == 0, execute: entry & PXN == 0 };
        // Else they say who shares the memory.
        let high = match self {
            Self::Arm64Lpa2 | Self::Arm64LargeLpa2 => (entry & LPA2_BITS) << LPA2_SHIFT,
            _ => 0,
        };
        let address = entry & ARM64_FRAME | high;
        match (entry & 3, is_last) {
            (L3_PAGE, true) | (BLOCK, false) => page(address, level.span(), protection),
            (TABLE, false) => Target::Table(address & !(self.page_size() - 1)),
            _ => Target::Nothing,
        }
    }

    fn arm(self, level: Level, entry: u64) -> Target {
        let v4 = matches!(self, Self::ArmV4);
        let large = level.shift == 20;
        // AP_W, of a page its first quarter's; PTE1_RO or PTE2_RO, as PTE2_NM only says that it was not written yet.
        let write = match (v4, large) {
            (true, true) => entry & 0x400 != 0,
            (true, false) => entry & 0x10 != 0,
            (false, true) => entry & 0x8000 == 0,
            (false, false) => entry & 0x80 == 0,
        };
        let rights = |execute| Protection { read: true, write, execute };
        match (large, entry & 3) {
            (_, 0) | (true, 3) => Target::Nothing,
            (true, 1) => Target::Table(entry & 0xffff_fc00),
            // PTE1_NX.
            (true, _) => page(entry & 0xfff0_0000, 1 << 20, rights(v4 || entry & 0x10 == 0)),
            (false, 1) => page(entry & 0xffff_0000, 1 << 16, rights(true)),
            (false, 3) if v4 => Target::Nothing,
            (false, kind) => page(entry & 0xffff_f000, 1 << 12, rights(v4 || kind == 2)),
        }
    }
}

const fn riscv_entry(level: Level, entry: u64) -> Target {
    use riscv::{EXECUTE, LEAF, READ, VALID, WRITE};
    let address = riscv::address(entry);
    if entry & VALID == 0 {
        Target::Nothing
    } else if entry & LEAF != 0 {
        let (read, write, execute) = (entry & READ != 0, entry & WRITE != 0, entry & EXECUTE != 0);
        page(address, level.span(), Protection { read, write, execute })
    } else if level.shift == 12 {
        Target::Nothing
    } else {
        Target::Table(address)
    }
}

/// Low bits of a large page's address stand for other things.
const fn page(physical: u64, size: u64, protection: Protection) -> Target {
    Target::Page { physical: physical & !(size - 1), size, protection }
}
