//! ELF files as the kernel and its modules are, of both classes and both orders of bytes, built field by field.
//!
//! Source of the layouts: elf(5), `sys/elf32.h`, `sys/elf64.h`.

use std::path::{Path, PathBuf};

pub const ET_REL: u16 = 1;
pub const ET_EXEC: u16 = 2;
pub const ET_DYN: u16 = 3;

pub const EM_386: u16 = 3;
pub const EM_PPC64: u16 = 21;
pub const EM_ARM: u16 = 40;
pub const EM_X86_64: u16 = 62;
pub const EM_AARCH64: u16 = 183;
pub const EM_RISCV: u16 = 243;

pub const SHT_PROGBITS: u32 = 1;
pub const SHT_SYMTAB: u32 = 2;
pub const SHT_STRTAB: u32 = 3;
pub const SHT_NOTE: u32 = 7;
pub const SHT_NOBITS: u32 = 8;
pub const SHT_DYNSYM: u32 = 11;

pub const SHF_WRITE: u64 = 1;
pub const SHF_ALLOC: u64 = 2;
pub const SHF_EXECINSTR: u64 = 4;

pub const LOCAL: u8 = 0;
pub const GLOBAL: u8 = 1;
pub const WEAK: u8 = 2;

pub const NOTYPE: u8 = 0;
pub const OBJECT: u8 = 1;
pub const FUNC: u8 = 2;
pub const FILE: u8 = 4;
pub const IFUNC: u8 = 10;

pub const SHN_ABS: u16 = 0xfff1;

/// What an image is for.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub machine: u16,
    pub is_64_bit: bool,
    pub is_big_endian: bool,
}

const fn target(machine: u16, is_64_bit: bool, is_big_endian: bool) -> Target {
    Target { machine, is_64_bit, is_big_endian }
}

pub const AMD64: Target = target(EM_X86_64, true, false);
pub const I386: Target = target(EM_386, false, false);
pub const POWERPC64: Target = target(EM_PPC64, true, true);

/// Every architecture that FreeBSD dumps, and a class and order that none of them has.
pub const TARGETS: [Target; 8] = [
    AMD64,
    target(EM_AARCH64, true, false),
    target(EM_RISCV, true, false),
    target(EM_ARM, false, false),
    I386,
    POWERPC64,
    target(EM_PPC64, true, false),
    target(EM_ARM, false, true),
];

#[derive(Clone, Debug)]
pub struct Section {
    pub name: &'static str,
    pub kind: u32,
    pub flags: u64,
    pub address: u64,
    pub align: u64,
    pub bytes: Vec<u8>,
    /// Of a section without bytes in the file.
    pub size: u64,
}

#[derive(Clone, Debug)]
pub struct Symbol {
    pub name: String,
    pub binding: u8,
    pub kind: u8,
    /// The number of the section, from 1 on, or a special one.
    pub section: u16,
    pub value: u64,
    pub size: u64,
}

/// A kernel or module to be built.
#[derive(Clone, Debug)]
pub struct Image {
    pub target: Target,
    pub kind: u16,
    pub flags: u32,
    pub sections: Vec<Section>,
    pub symbols: Vec<Symbol>,
    pub symbol_table: u32,
}

pub fn section(name: &'static str, flags: u64, address: u64, bytes: Vec<u8>) -> Section {
    Section { name, kind: SHT_PROGBITS, flags: flags | SHF_ALLOC, address, align: 16, bytes, size: 0 }
}

pub fn bss(name: &'static str, address: u64, size: u64) -> Section {
    let flags = SHF_ALLOC | SHF_WRITE;
    Section { name, kind: SHT_NOBITS, flags, address, align: 16, bytes: Vec::new(), size }
}

pub fn symbol(name: &str, (binding, kind): (u8, u8), section: u16, value: u64, size: u64) -> Symbol {
    Symbol { name: name.to_owned(), binding, kind, section, value, size }
}

/// Writes an image's file into a directory.
pub fn write(directory: &Path, name: &str, image: &Image) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, image.build()).unwrap();
    path
}

impl Image {
    pub fn new(target: Target, kind: u16, sections: Vec<Section>, symbols: Vec<Symbol>) -> Self {
        Self { target, kind, flags: 0, sections, symbols, symbol_table: SHT_SYMTAB }
    }

    /// The file: header, contents of the sections, symbols, names, section headers.
    pub fn build(&self) -> Vec<u8> {
        let Target { machine, is_64_bit, is_big_endian } = self.target;
        let (header_size, section_size) = if is_64_bit { (64, 64) } else { (52, 40) };
        let mut out = Writer { bytes: vec![0; header_size], is_64_bit, is_big_endian };
        let mut headers = vec![[0; 10]];
        let mut section_names = vec![0];
        let mut name_of = |name: &str| {
            let at = section_names.len() as u64;
            section_names.extend(name.bytes().chain([0]));
            at
        };
        for section in &self.sections {
            let at = out.align();
            out.bytes.extend(&section.bytes);
            let size = section.size.max(section.bytes.len() as u64);
            let Section { kind, flags, address, align, .. } = *section;
            headers.push([name_of(section.name), kind.into(), flags, address, at, size, 0, 0, align, 0]);
        }
        let (mut strings, at) = (vec![0], out.align());
        out.symbol(0, 0, 0, 0, 0);
        for symbol in &self.symbols {
            let info = symbol.binding << 4 | symbol.kind;
            out.symbol(strings.len() as u64, info, symbol.section, symbol.value, symbol.size);
            strings.extend(symbol.name.bytes().chain([0]));
        }
        let (count, size) = (headers.len() as u64, out.bytes.len() as u64 - at);
        let entry = if is_64_bit { 24 } else { 16 };
        headers.push([name_of(".symtab"), self.symbol_table.into(), 0, 0, at, size, count + 1, 0, 8, entry]);
        let at = out.align();
        out.bytes.extend(&strings);
        headers.push([name_of(".strtab"), SHT_STRTAB.into(), 0, 0, at, strings.len() as u64, 0, 0, 1, 0]);
        let name = name_of(".shstrtab");
        let at = out.align();
        out.bytes.extend(&section_names);
        headers.push([name, SHT_STRTAB.into(), 0, 0, at, section_names.len() as u64, 0, 0, 1, 0]);
        let at = out.align();
        for [name, kind, flags, address, offset, size, link, info, align, entry] in &headers {
            [name, kind].into_iter().for_each(|field| out.word(*field));
            [flags, address, offset, size].into_iter().for_each(|field| out.long(*field));
            [link, info].into_iter().for_each(|field| out.word(*field));
            [align, entry].into_iter().for_each(|field| out.long(*field));
        }
        let mut header = Writer { bytes: Vec::new(), is_64_bit, is_big_endian };
        header.bytes.extend(b"\x7fELF");
        header.bytes.extend([1 + u8::from(is_64_bit), 1 + u8::from(is_big_endian), 1, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
        header.half(self.kind.into());
        header.half(machine.into());
        header.word(1);
        [0, 0, at].into_iter().for_each(|field| header.long(field));
        header.word(self.flags.into());
        let count = headers.len() as u64;
        [header_size as u64, 0, 0, section_size, count, count - 1].into_iter().for_each(|field| header.half(field));
        assert_eq!(header.bytes.len(), header_size);
        out.bytes[..header_size].copy_from_slice(&header.bytes);
        out.bytes
    }
}

struct Writer {
    bytes: Vec<u8>,
    is_64_bit: bool,
    is_big_endian: bool,
}

impl Writer {
    fn put(&mut self, value: u64, size: usize) {
        let (big, little) = (value.to_be_bytes(), value.to_le_bytes());
        self.bytes.extend(if self.is_big_endian { &big[8 - size..] } else { &little[..size] });
    }

    fn half(&mut self, value: u64) {
        self.put(value, 2);
    }

    fn word(&mut self, value: u64) {
        self.put(value, 4);
    }

    fn long(&mut self, value: u64) {
        self.put(value, if self.is_64_bit { 8 } else { 4 });
    }

    fn align(&mut self) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        self.bytes.len() as u64
    }

    fn symbol(&mut self, name: u64, info: u8, section: u16, value: u64, size: u64) {
        self.word(name);
        if self.is_64_bit {
            self.bytes.extend([info, 0]);
            self.half(section.into());
        }
        self.long(value);
        self.long(size);
        if !self.is_64_bit {
            self.bytes.extend([info, 0]);
            self.half(section.into());
        }
    }
}
