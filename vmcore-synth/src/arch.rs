//! The architectures: where the fields of their minidump headers stand, and what else differs.
//!
//! Source: `machine/minidump.h`, `machine/elf.h`, `machine/_types.h` of each.

use super::Field;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    Amd64,
    Arm64,
    Riscv,
    Arm,
    I386,
    Powerpc64,
}

/// The byte order of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endianness {
    Little,
    Big,
}

impl Endianness {
    /// An integer of `size` bytes.
    pub fn bytes(self, value: u64, size: usize) -> Vec<u8> {
        assert!(size >= 8 || value >> (8 * size) == 0, "{value:#x} does not fit into {size} bytes");
        match self {
            Self::Little => value.to_le_bytes()[..size].to_vec(),
            Self::Big => value.to_be_bytes()[8 - size..].to_vec(),
        }
    }

    /// The integer in these bytes, at most eight.
    pub fn value(self, bytes: &[u8]) -> u64 {
        let shift = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, shift),
            Self::Big => bytes.iter().fold(0, shift),
        }
    }
}

const AMD64: &[Field] = &[
    ("magic", 0, 24),
    ("version", 24, 4),
    ("msgbufsize", 28, 4),
    ("bitmapsize", 32, 4),
    ("pmapsize", 36, 4),
    ("kernbase", 40, 8),
    ("dmapbase", 48, 8),
    ("dmapend", 56, 8),
    ("dumpavailsize", 64, 4),
];

const ARM64: &[Field] = &[
    ("magic", 0, 24),
    ("version", 24, 4),
    ("msgbufsize", 28, 4),
    ("bitmapsize", 32, 4),
    ("pmapsize", 36, 4),
    ("kernbase", 40, 8),
    ("dmapphys", 48, 8),
    ("dmapbase", 56, 8),
    ("dmapend", 64, 8),
    ("dumpavailsize", 72, 4),
    ("flags", 76, 4),
];

const RISCV: &[Field] = ARM64.split_at(10).0;

const ARM: &[Field] = &[
    ("magic", 0, 24),
    ("version", 24, 4),
    ("msgbufsize", 28, 4),
    ("bitmapsize", 32, 4),
    ("ptesize", 36, 4),
    ("kernbase", 40, 4),
    ("arch", 44, 4),
    ("mmuformat", 48, 4),
    ("dumpavailsize", 52, 4),
];

const I386: &[Field] = &[
    ("magic", 0, 24),
    ("version", 24, 4),
    ("msgbufsize", 28, 4),
    ("bitmapsize", 32, 4),
    ("ptesize", 36, 4),
    ("kernbase", 40, 4),
    ("paemode", 44, 4),
    ("dumpavailsize", 48, 4),
];

const POWERPC64: &[Field] = &[
    ("magic", 0, 32),
    ("mmu_name", 32, 32),
    ("version", 64, 4),
    ("msgbufsize", 68, 4),
    ("bitmapsize", 72, 4),
    ("pmapsize", 76, 4),
    ("kernbase", 80, 8),
    ("kernend", 88, 8),
    ("dmapbase", 96, 8),
    ("dmapend", 104, 8),
    ("hw_direct_map", 112, 4),
    // An int stands before a u64.
    ("startkernel", 120, 8),
    ("endkernel", 128, 8),
    ("dumpavailsize", 136, 4),
];

/// `mmuformat` of arm: the kernel did not say, which means `ARM_V6`.
pub const ARM_UNKNOWN: u32 = 0;
pub const ARM_V4: u32 = 1;
pub const ARM_V6: u32 = 2;
pub const ARM_V6_LPAE: u32 = 3;

/// `flags` of arm64: the page size.
pub const ARM64_PS_MASK: u32 = 3;
pub const ARM64_PS_4K: u32 = 0;
pub const ARM64_PS_16K: u32 = 1;

/// Names of the memory management of powerpc64: hash tables of the processor and of a hypervisor, radix.
pub const MMU_G5: &str = "mmu_g5";
pub const MMU_PHYP: &str = "mmu_phyp";
pub const MMU_RADIX: &str = "mmu_radix";

impl Arch {
    pub const ALL: [Self; 6] = [Self::Amd64, Self::Arm64, Self::Riscv, Self::Arm, Self::I386, Self::Powerpc64];

    /// As in the minidump's magic.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Riscv => "riscv",
            Self::Arm => "arm",
            Self::I386 => "i386",
            Self::Powerpc64 => "powerpc64",
        }
    }

    /// `MACHINE_ARCH`, as in the kernel dump header.
    pub fn machine_arch(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "aarch64",
            Self::Riscv => "riscv64",
            Self::Arm => "armv7",
            Self::I386 => "i386",
            Self::Powerpc64 => "powerpc64",
        }
    }

    /// `architectureversion` in the kernel dump header.
    pub fn architecture_version(self) -> u32 {
        match self {
            Self::Amd64 | Self::I386 => 2,
            Self::Arm64 | Self::Riscv | Self::Arm | Self::Powerpc64 => 1,
        }
    }

    pub fn magic(self) -> String {
        format!("minidump FreeBSD/{}", self.name())
    }

    /// The newest version of the minidump header.
    pub fn newest(self) -> u32 {
        match self {
            Self::Amd64 | Self::Arm64 => 3,
            Self::Riscv | Self::Arm | Self::I386 | Self::Powerpc64 => 2,
        }
    }

    /// The first version with a `dump_avail` array.
    pub fn dump_avail_since(self) -> u32 {
        if self == Self::Amd64 { 3 } else { 2 }
    }

    /// The fields of the newest minidump header.
    pub fn fields(self) -> &'static [Field] {
        match self {
            Self::Amd64 => AMD64,
            Self::Arm64 => ARM64,
            Self::Riscv => RISCV,
            Self::Arm => ARM,
            Self::I386 => I386,
            Self::Powerpc64 => POWERPC64,
        }
    }

    /// The fields that a version of the header has.
    pub fn fields_of(self, version: u32) -> Vec<Field> {
        let since = |name| match name {
            "dumpavailsize" => self.dump_avail_since(),
            "flags" => 3,
            _ => 1,
        };
        self.fields().iter().copied().filter(|(name, ..)| version >= since(name)).collect()
    }

    /// Usual byte order; powerpc64 also has a little-endian variant.
    pub fn order(self) -> Endianness {
        if self == Self::Powerpc64 { Endianness::Big } else { Endianness::Little }
    }

    /// Bytes of a pointer, and of a word of the page bitmap.
    pub fn word(self) -> usize {
        if self.is_32_bit() { 4 } else { 8 }
    }

    /// Bytes of a physical address, and so of a number in `dump_avail`. i386 had four without PAE, but not
    /// any more when it got `dump_avail`.
    pub fn physical_word(self) -> usize {
        if self == Self::Arm { 4 } else { 8 }
    }

    pub fn is_32_bit(self) -> bool {
        matches!(self, Self::Arm | Self::I386)
    }
}
