//! Full dumps: ELF cores of physical memory, as `sys/kern/kern_dump.c` (`dumpsys_generic`) writes them.
//!
//! Source of the offsets: `sys/elf32.h`, `sys/elf64.h`.

use super::{Arch, Endianness, Field, page_of, set};

const EHDR_64: &[Field] = &[
    ("e_ident", 0, 16),
    ("e_type", 16, 2),
    ("e_machine", 18, 2),
    ("e_version", 20, 4),
    ("e_entry", 24, 8),
    ("e_phoff", 32, 8),
    ("e_shoff", 40, 8),
    ("e_flags", 48, 4),
    ("e_ehsize", 52, 2),
    ("e_phentsize", 54, 2),
    ("e_phnum", 56, 2),
    ("e_shentsize", 58, 2),
    ("e_shnum", 60, 2),
    ("e_shstrndx", 62, 2),
];

const EHDR_32: &[Field] = &[
    ("e_ident", 0, 16),
    ("e_type", 16, 2),
    ("e_machine", 18, 2),
    ("e_version", 20, 4),
    ("e_entry", 24, 4),
    ("e_phoff", 28, 4),
    ("e_shoff", 32, 4),
    ("e_flags", 36, 4),
    ("e_ehsize", 40, 2),
    ("e_phentsize", 42, 2),
    ("e_phnum", 44, 2),
    ("e_shentsize", 46, 2),
    ("e_shnum", 48, 2),
    ("e_shstrndx", 50, 2),
];

const PHDR_64: &[Field] = &[
    ("p_type", 0, 4),
    ("p_flags", 4, 4),
    ("p_offset", 8, 8),
    ("p_vaddr", 16, 8),
    ("p_paddr", 24, 8),
    ("p_filesz", 32, 8),
    ("p_memsz", 40, 8),
    ("p_align", 48, 8),
];

const PHDR_32: &[Field] = &[
    ("p_type", 0, 4),
    ("p_offset", 4, 4),
    ("p_vaddr", 8, 4),
    ("p_paddr", 12, 4),
    ("p_filesz", 16, 4),
    ("p_memsz", 20, 4),
    ("p_flags", 24, 4),
    ("p_align", 28, 4),
];

pub const ET_CORE: u64 = 4;
pub const PT_LOAD: u64 = 1;
pub const PF_R: u64 = 4;
pub const ELFOSABI_STANDALONE: u8 = 255;
/// A program header of arm that tells where the kernel was loaded.
pub const PT_DUMP_DELTA: u64 = 0x6fb5_d000;

/// Bytes of a section header, which the file header tells although there are none.
pub fn section_header_size(arch: Arch) -> u64 {
    if arch.is_32_bit() { 40 } else { 64 }
}

/// The fields of the file header, and its size.
pub fn file_header(arch: Arch) -> (&'static [Field], usize) {
    if arch.is_32_bit() { (EHDR_32, 52) } else { (EHDR_64, 64) }
}

/// The fields of a program header, and its size.
pub fn program_header(arch: Arch) -> (&'static [Field], usize) {
    if arch.is_32_bit() { (PHDR_32, 32) } else { (PHDR_64, 56) }
}

/// `e_machine`.
pub fn machine(arch: Arch) -> u64 {
    match arch {
        Arch::Amd64 => 62,
        Arch::Arm64 => 183,
        Arch::Riscv => 243,
        Arch::Arm => 40,
        Arch::I386 => 3,
        Arch::Powerpc64 => 21,
    }
}

/// A full dump to build.
#[derive(Clone, Debug)]
pub struct ElfSpec {
    pub arch: Arch,
    pub order: Endianness,
    pub page_size: u64,
    /// Physical address and contents of each segment.
    pub segments: Vec<(u64, Vec<u8>)>,
    /// arm: virtual and physical address of the kernel.
    pub kernel: (u64, u64),
}

impl ElfSpec {
    /// Two segments of three and two pages.
    pub fn example(arch: Arch) -> Self {
        let page_size = 4096;
        let segment = |start: u64, pages: u64| {
            (start, (0..pages).flat_map(|page| page_of(start + page * page_size, page_size)).collect())
        };
        Self {
            arch,
            order: arch.order(),
            page_size,
            segments: vec![segment(0x1_0000, 3), segment(0x10_0000, 2)],
            kernel: (0xc000_0000, 0x1_0000),
        }
    }

    /// Program headers beside those of the segments.
    fn auxiliary(&self) -> usize {
        match self.arch {
            // arm64 counts one that it does not write: it reads as PT_NULL.
            Arch::Arm | Arch::Arm64 => 1,
            _ => 0,
        }
    }

    /// Where the first segment begins in the file.
    pub fn data_offset(&self) -> u64 {
        let count = self.segments.len() + self.auxiliary();
        ((file_header(self.arch).1 + count * program_header(self.arch).1) as u64).next_multiple_of(self.page_size)
    }

    pub fn build(&self) -> Vec<u8> {
        let (file_fields, file_size) = file_header(self.arch);
        let (program_fields, program_size) = program_header(self.arch);
        let mut bytes = vec![0; file_size];
        bytes[..4].copy_from_slice(b"\x7fELF");
        bytes[4] = if self.arch.is_32_bit() { 1 } else { 2 };
        bytes[5] = if self.order == Endianness::Big { 2 } else { 1 };
        bytes[6] = 1;
        bytes[7] = ELFOSABI_STANDALONE;
        // The kernel sets no e_version.
        for (name, value) in [
            ("e_type", ET_CORE),
            ("e_machine", machine(self.arch)),
            ("e_phoff", file_size as u64),
            ("e_ehsize", file_size as u64),
            ("e_phentsize", program_size as u64),
            ("e_phnum", (self.segments.len() + self.auxiliary()) as u64),
            ("e_shentsize", section_header_size(self.arch)),
        ] {
            set(&mut bytes, file_fields, self.order, name, value);
        }
        let mut program_header = |values: &[(&str, u64)]| {
            let mut header = vec![0; program_size];
            for (name, value) in values {
                set(&mut header, program_fields, self.order, name, *value);
            }
            bytes.extend(header);
        };
        let mut offset = self.data_offset();
        for (physical, contents) in &self.segments {
            let length = contents.len() as u64;
            program_header(&[
                ("p_type", PT_LOAD),
                ("p_flags", PF_R),
                ("p_offset", offset),
                ("p_vaddr", if self.arch == Arch::Powerpc64 { u64::MAX } else { *physical }),
                ("p_paddr", *physical),
                ("p_filesz", length),
                ("p_memsz", length),
                ("p_align", self.page_size),
            ]);
            offset += length;
        }
        if self.arch == Arch::Arm {
            program_header(&[
                ("p_type", PT_DUMP_DELTA),
                ("p_flags", PF_R),
                ("p_vaddr", self.kernel.0),
                ("p_paddr", self.kernel.1),
                ("p_align", self.page_size),
            ]);
        }
        bytes.resize(self.data_offset() as usize, 0);
        bytes.extend(self.segments.iter().flat_map(|segment| &segment.1));
        bytes
    }
}
