//! Writing the headers of ELF core files, of either size and byte order (elf(5), System V ABI).
//!
//! With 65,535 program headers or more their number stands in a section header (`PN_XNUM`).

use crate::architecture::Endianness;
use crate::bounds::{head, saturating_u32};

/// What FreeBSD's own programs and kernels have.
pub const ELFOSABI_FREEBSD: u8 = 9;
/// What FreeBSD's own full dumps have.
pub const ELFOSABI_STANDALONE: u8 = 255;
/// Memory.
pub const PT_LOAD: u32 = 1;
/// Notes.
pub const PT_NOTE: u32 = 4;
/// Can be executed.
pub const PF_X: u32 = 1;
/// Can be written.
pub const PF_W: u32 = 2;
/// Can be read.
pub const PF_R: u32 = 4;

const ELFCLASS32: u8 = 1;
const ELFCLASS64: u8 = 2;
const ELFDATA2LSB: u8 = 1;
const ELFDATA2MSB: u8 = 2;
const EV_CURRENT: u8 = 1;
const ET_CORE: u16 = 4;
const PN_XNUM: u16 = 0xffff;

/// The size of addresses, and the order of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ident {
    /// Whether an address has 64 bits, not 32.
    pub wide: bool,
    /// The order of bytes.
    pub order: Endianness,
}

impl Ident {
    /// Bytes of a file header, a program header and a section header.
    const fn sizes(self) -> [u16; 3] {
        if self.wide { [64, 56, 64] } else { [52, 32, 40] }
    }

    /// Bytes of all headers of a file with so many program headers.
    pub fn headers_size(self, segments: u64) -> u64 {
        let [file, program, section] = self.sizes().map(u64::from);
        let section = if counted(segments).is_some() { 0 } else { section };
        segments.saturating_mul(program).saturating_add(file + section)
    }
}

/// The number of program headers, if the file header has room for it.
fn counted(segments: u64) -> Option<u16> {
    u16::try_from(segments).ok().filter(|segments| *segments < PN_XNUM)
}

/// What the file header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreHeader {
    /// `EI_OSABI`.
    pub os_abi: u8,
    /// `e_machine`.
    pub machine: u16,
    /// `e_flags`.
    pub flags: u32,
    /// Program headers.
    pub segments: u32,
}

/// A program header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramHeader {
    /// `p_type`.
    pub kind: u32,
    /// `p_flags`.
    pub flags: u32,
    /// `p_offset`.
    pub offset: u64,
    /// `p_vaddr`.
    pub address: u64,
    /// `p_paddr`.
    pub physical: u64,
    /// `p_filesz`; of memory also `p_memsz`.
    pub size: u64,
    /// `p_align`.
    pub align: u64,
}

/// Puts headers and integers one after another.
pub struct Writer {
    /// What was written.
    pub bytes: Vec<u8>,
    /// How.
    pub kind: Ident,
}

impl Writer {
    /// Begins.
    pub fn new(kind: Ident) -> Self {
        Self { bytes: Vec::new(), kind }
    }

    fn put<const N: usize>(&mut self, little: [u8; N], big: [u8; N]) {
        self.bytes.extend(if self.kind.order == Endianness::Big { big } else { little });
    }

    /// An integer of 2 bytes.
    pub fn half(&mut self, value: u16) {
        self.put(value.to_le_bytes(), value.to_be_bytes());
    }

    /// An integer of 4 bytes.
    pub fn word(&mut self, value: u32) {
        self.put(value.to_le_bytes(), value.to_be_bytes());
    }

    /// An integer of 8 bytes.
    pub fn xword(&mut self, value: u64) {
        self.put(value.to_le_bytes(), value.to_be_bytes());
    }

    /// An address or offset; what does not fit becomes the largest one.
    pub fn address(&mut self, value: u64) {
        if self.kind.wide { self.xword(value) } else { self.word(saturating_u32(value)) }
    }

    /// Zeros up to where an address may begin.
    pub fn align(&mut self) {
        let align = if self.kind.wide { 8 } else { 4 };
        self.zeros(self.bytes.len().next_multiple_of(align) - self.bytes.len());
    }

    /// Text in a field of so many bytes, of which the last one is NUL.
    pub fn text(&mut self, text: &[u8], size: usize) {
        let text = head(text, size.saturating_sub(1));
        self.bytes.extend(text);
        self.zeros(size - text.len());
    }

    /// So many zeros.
    pub fn zeros(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len() + count, 0);
    }

    /// The file header; program headers follow it.
    pub fn core_header(&mut self, header: CoreHeader) {
        let Ident { wide, order } = self.kind;
        let [file, program, section] = self.kind.sizes();
        let count = counted(header.segments.into());
        let sections = self.kind.headers_size(header.segments.into()) - u64::from(section);
        let class = if wide { ELFCLASS64 } else { ELFCLASS32 };
        let data = if order == Endianness::Big { ELFDATA2MSB } else { ELFDATA2LSB };
        self.bytes.extend([0x7f, b'E', b'L', b'F', class, data, EV_CURRENT, header.os_abi]);
        self.zeros(8);
        self.half(ET_CORE);
        self.half(header.machine);
        self.word(EV_CURRENT.into());
        self.address(0);
        self.address(file.into());
        self.address(if count.is_some() { 0 } else { sections });
        self.word(header.flags);
        self.half(file);
        self.half(program);
        self.half(count.unwrap_or(PN_XNUM));
        self.half(section);
        self.half(count.is_none().into());
        self.half(0);
    }

    /// A program header.
    pub fn program_header(&mut self, header: ProgramHeader) {
        let ProgramHeader { kind, flags, offset, address, physical, size, align } = header;
        self.word(kind);
        if self.kind.wide {
            self.word(flags);
        }
        self.address(offset);
        self.address(address);
        self.address(physical);
        self.address(size);
        self.address(if kind == PT_LOAD { size } else { 0 });
        if !self.kind.wide {
            self.word(flags);
        }
        self.address(align);
    }

    /// What follows the program headers: the section header with their number, if it is needed.
    pub fn end_of_headers(&mut self, segments: u32) {
        if counted(segments.into()).is_some() {
            return;
        }
        // sh_info comes after two words, four addresses and a word.
        self.zeros(if self.kind.wide { 44 } else { 28 });
        self.word(segments);
        self.zeros(if self.kind.wide { 16 } else { 8 });
    }

    /// A note: its owner, without the NUL, its type and what it says.
    pub fn note(&mut self, owner: &str, kind: u32, description: &[u8]) {
        self.word(saturating_u32(owner.len() + 1));
        self.word(saturating_u32(description.len()));
        self.word(kind);
        for part in [&[owner.as_bytes(), &[0]].concat(), description] {
            self.bytes.extend(part);
            self.zeros(part.len().next_multiple_of(4) - part.len());
        }
    }
}
