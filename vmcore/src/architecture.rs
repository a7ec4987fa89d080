//! The architectures that FreeBSD dumps, the order of their bytes, and their direct map.

use crate::pmap::arm64::strip_signature;
use object::elf::{self, Machine};
use serde::Serialize;

/// An architecture that dumps itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// x86, 64 bits.
    Amd64,
    /// ARM, 64 bits.
    Arm64,
    /// RISC-V, 64 bits.
    Riscv,
    /// ARM, 32 bits.
    Arm,
    /// x86, 32 bits.
    I386,
    /// PowerPC, 64 bits, of either byte order.
    Powerpc64,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Amd64, Self::Arm64, Self::Riscv, Self::Arm, Self::I386, Self::Powerpc64];

    /// As the magic names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Riscv => "riscv",
            Self::Arm => "arm",
            Self::I386 => "i386",
            Self::Powerpc64 => "powerpc64",
        }
    }

    /// The one that a kernel dump's header names, and `hw.machine_arch`: as `uname -p` prints it, `MACHINE_ARCH`.
    pub fn from_machine_arch(name: &str) -> Option<Self> {
        let name = match name {
            "aarch64" => "arm64",
            "armv6" | "armv7" | "armeb" => "arm",
            "powerpc64le" => "powerpc64",
            name if name.starts_with("riscv64") => "riscv",
            name => name,
        };
        Self::ALL.into_iter().find(|architecture| architecture.name() == name)
    }

    /// An address of code without its signature, which arm64's pointer authentication puts into return addresses.
    pub const fn plain_address(self, address: u64) -> u64 {
        match self {
            Self::Arm64 => strip_signature(address),
            _ => address,
        }
    }

    /// An address within the instruction that a function was in, by the one that is next: a call that does not return
    /// can be the last instruction of its function, so that the address behind it belongs to another one.
    pub(crate) const fn code_address(self, pc: u64, is_return: bool) -> u64 {
        match (is_return, self) {
            (false, _) => pc,
            (true, Self::Amd64 | Self::I386) => pc.saturating_sub(1),
            // Instructions of riscv can be compressed.
            (true, Self::Riscv) => pc.saturating_sub(2),
            (true, _) => pc.saturating_sub(4),
        }
    }

    /// The one whose ELF files have this `e_machine`.
    pub fn from_elf(machine: Machine) -> Option<Self> {
        Some(match machine {
            elf::EM_X86_64 => Self::Amd64,
            elf::EM_AARCH64 => Self::Arm64,
            elf::EM_RISCV => Self::Riscv,
            elf::EM_ARM => Self::Arm,
            elf::EM_386 => Self::I386,
            elf::EM_PPC64 => Self::Powerpc64,
            _ => return None,
        })
    }

    /// Bytes of a pointer, and of a `long`.
    pub const fn word_size(self) -> usize {
        match self {
            Self::Arm | Self::I386 => 4,
            _ => 8,
        }
    }

    /// The `e_machine` of its ELF files.
    pub const fn elf_machine(self) -> Machine {
        match self {
            Self::Amd64 => elf::EM_X86_64,
            Self::Arm64 => elf::EM_AARCH64,
            Self::Riscv => elf::EM_RISCV,
            Self::Arm => elf::EM_ARM,
            Self::I386 => elf::EM_386,
            Self::Powerpc64 => elf::EM_PPC64,
        }
    }
}

/// The order of bytes in a dump's integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Endianness {
    /// The least significant byte first.
    Little,
    /// The most significant byte first.
    Big,
}

impl Endianness {
    /// That of the machine that memtool runs on.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    /// Its name: `little` or `big`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Little => "little",
            Self::Big => "big",
        }
    }

    /// That of the machines which `hw.machine_arch` names so.
    pub fn from_machine_arch(name: &str) -> Self {
        match name {
            "powerpc" | "powerpcspe" | "powerpc64" | "armeb" => Self::Big,
            _ => Self::Little,
        }
    }

    /// An integer of 8 bytes.
    pub fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }

    /// An integer of as many bytes as there are, 8 at most.
    pub fn number(self, bytes: &[u8]) -> u64 {
        let join = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, join),
            Self::Big => bytes.iter().fold(0, join),
        }
    }

    /// The bytes of an integer of 8.
    pub fn bytes_of_u64(self, value: u64) -> [u8; 8] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    /// The bytes of an integer of 4.
    pub fn bytes_of_u32(self, value: u32) -> [u8; 4] {
        match self {
            Self::Little => value.to_le_bytes(),
            Self::Big => value.to_be_bytes(),
        }
    }

    /// An integer of 4 bytes.
    pub fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }
}

/// Virtual addresses at which the kernel sees all physical memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectMap {
    /// First virtual address.
    pub base: u64,
    /// First virtual address after it.
    pub end: u64,
    /// Physical address of its first byte.
    pub physical: u64,
}
