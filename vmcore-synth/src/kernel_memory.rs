//! Physical memory with a kernel's page tables in it, written as its processor reads them.
//!
//! Sources: Intel's, ARM's and RISC-V's manuals by way of `machine/pmap.h`, `machine/pte.h` and `machine/vmparam.h` of
//! each architecture.

use super::{Arch, page_of};
use std::collections::BTreeMap;

/// How a processor translates addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paging {
    Amd64,
    /// Five levels.
    Amd64La57,
    Arm64,
    /// Pages of 16 KiB.
    Arm64Large,
    /// Physical addresses of 52 bits.
    Arm64Lpa2,
    Sv39,
    Sv48,
    I386,
    I386Pae,
    /// Short descriptors with access permissions as FreeBSD uses them since 11.
    ArmV6,
}

impl Paging {
    pub const ALL: [Self; 10] = [
        Self::Amd64,
        Self::Amd64La57,
        Self::Arm64,
        Self::Arm64Large,
        Self::Arm64Lpa2,
        Self::Sv39,
        Self::Sv48,
        Self::I386,
        Self::I386Pae,
        Self::ArmV6,
    ];

    pub fn arch(self) -> Arch {
        match self {
            Self::Amd64 | Self::Amd64La57 => Arch::Amd64,
            Self::Arm64 | Self::Arm64Large | Self::Arm64Lpa2 => Arch::Arm64,
            Self::Sv39 | Self::Sv48 => Arch::Riscv,
            Self::I386 | Self::I386Pae => Arch::I386,
            Self::ArmV6 => Arch::Arm,
        }
    }

    pub fn page_size(self) -> u64 {
        if self == Self::Arm64Large { 16384 } else { 4096 }
    }

    fn entry_size(self) -> usize {
        if matches!(self, Self::I386 | Self::ArmV6) { 4 } else { 8 }
    }

    /// The lowest bit of the index into each table, from the root on, and above them the highest one.
    pub fn bits(self) -> &'static [u32] {
        match self {
            Self::Amd64 | Self::Arm64 | Self::Arm64Lpa2 | Self::Sv48 => &[48, 39, 30, 21, 12],
            Self::Amd64La57 => &[57, 48, 39, 30, 21, 12],
            Self::Arm64Large => &[48, 47, 36, 25, 14],
            Self::Sv39 => &[39, 30, 21, 12],
            Self::I386 => &[32, 22, 12],
            Self::I386Pae => &[32, 30, 21, 12],
            Self::ArmV6 => &[32, 20, 12],
        }
    }

    /// An entry that leads to the table at an address.
    pub fn table(self, physical: u64, level: usize) -> u64 {
        match self {
            // The entries of PAE's first table have no rights.
            Self::I386Pae if level == 0 => physical | 1,
            Self::Amd64 | Self::Amd64La57 | Self::I386 | Self::I386Pae => physical | 0x63,
            Self::Arm64 | Self::Arm64Large => physical | 3,
            Self::Arm64Lpa2 => lpa2(physical) | 3,
            Self::Sv39 | Self::Sv48 => physical >> 12 << 10 | 1,
            Self::ArmV6 => physical | 1,
        }
    }

    /// An entry that maps memory: a page, or at a higher level a superpage.
    pub fn page(self, physical: u64, level: usize, writable: bool, executable: bool) -> u64 {
        let is_last = level + 2 == self.bits().len();
        let flag = |set: bool, bits: u64| if set { bits } else { 0 };
        match self {
            Self::Amd64 | Self::Amd64La57 | Self::I386 | Self::I386Pae => {
                let no_execute = flag(!executable && self.entry_size() == 8, 1 << 63);
                physical | 0x61 | flag(writable, 2) | flag(!is_last, 0x80) | no_execute
            }
            Self::Arm64 | Self::Arm64Large => {
                let kind = if is_last { 3 } else { 1 };
                physical | 0x700 | kind | flag(!writable, 0x80) | flag(!executable, 3 << 53)
            }
            Self::Arm64Lpa2 => {
                let kind = if is_last { 3 } else { 1 };
                lpa2(physical) | 0x400 | kind | flag(!writable, 0x80) | flag(!executable, 3 << 53)
            }
            Self::Sv39 | Self::Sv48 => physical >> 12 << 10 | 0xc3 | flag(writable, 4) | flag(executable, 8),
            // Sections have their bits elsewhere than small pages.
            Self::ArmV6 if !is_last => physical | 0x402 | flag(!writable, 0x8000) | flag(!executable, 0x10),
            Self::ArmV6 => physical | 0x12 | flag(!writable, 0x80) | flag(!executable, 1),
        }
    }
}

/// An address in an entry, bits 50 and 51 in bits 8 and 9.
fn lpa2(physical: u64) -> u64 {
    physical & 0x0003_ffff_ffff_f000 | (physical >> 50 & 3) << 8
}

/// Physical memory: RAM that tells its addresses, and page tables in part of it.
#[derive(Clone, Debug)]
pub struct KernelMemory {
    pub paging: Paging,
    /// Pages of RAM by physical address.
    pub pages: BTreeMap<u64, Vec<u8>>,
    /// Where the root is.
    pub root: u64,
    /// Where the next table goes.
    next: u64,
}

impl KernelMemory {
    /// RAM in these ranges, and an empty root at an address; tables follow it.
    pub fn new(paging: Paging, ram: &[(u64, u64)], root: u64) -> Self {
        let page = paging.page_size();
        let pages = ram.iter().flat_map(|&(start, end)| (start..end).step_by(page as usize));
        let pages = pages.map(|address| (address, page_of(address, page))).collect();
        let mut memory = Self { paging, pages, root, next: root };
        memory.allocate(0);
        memory
    }

    /// Room for an empty table of a level.
    fn allocate(&mut self, level: usize) -> u64 {
        let bits = self.paging.bits();
        let size = (self.paging.entry_size() as u64) << (bits[level] - bits[level + 1]);
        let at = self.next.next_multiple_of(size);
        self.next = at + size;
        self.write(at, &vec![0; size as usize]);
        at
    }

    /// Writes to RAM.
    pub fn write(&mut self, physical: u64, bytes: &[u8]) {
        let page = self.paging.page_size();
        for (at, byte) in (physical..).zip(bytes) {
            let contents = self.pages.get_mut(&(at - at % page)).unwrap_or_else(|| panic!("no RAM at {at:#x}"));
            contents[(at % page) as usize] = *byte;
        }
    }

    /// The bytes in RAM.
    pub fn bytes(&self, physical: u64, size: usize) -> Option<Vec<u8>> {
        let page = self.paging.page_size();
        (physical..).take(size).map(|at| Some(self.pages.get(&(at - at % page))?[(at % page) as usize])).collect()
    }

    /// Writes an integer.
    pub fn set(&mut self, physical: u64, value: u64, size: usize) {
        self.write(physical, &value.to_le_bytes()[..size]);
    }

    fn entry(&self, physical: u64) -> u64 {
        let bytes = self.bytes(physical, self.paging.entry_size()).expect("a table is in RAM");
        bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    /// Where the entry of a level for a virtual address is; tables that lead there are made.
    pub fn entry_of(&mut self, address: u64, level: usize) -> u64 {
        let bits = self.paging.bits();
        let mut table = self.root;
        for above in 0..=level {
            let index = (address >> bits[above + 1]) % (1 << (bits[above] - bits[above + 1]));
            let at = table + index * self.paging.entry_size() as u64;
            if above == level {
                return at;
            }
            let here = self.entry(at);
            table = match here {
                0 => {
                    let table = self.allocate(above + 1);
                    self.set(at, self.paging.table(table, above), self.paging.entry_size());
                    table
                }
                entry => match self.paging {
                    Paging::Sv39 | Paging::Sv48 => entry >> 10 << 12,
                    Paging::ArmV6 => entry & !0x3ff,
                    Paging::Arm64Lpa2 => entry & 0x0003_ffff_ffff_f000 | (entry >> 8 & 3) << 50,
                    _ => entry & 0x000f_ffff_ffff_f000,
                },
            };
        }
        unreachable!("the last level is one of them")
    }

    /// Maps a page, or a superpage of a level: 0 is the root's.
    pub fn map(&mut self, address: u64, physical: u64, level: usize, writable: bool, executable: bool) {
        let entry = self.paging.page(physical, level, writable, executable);
        let at = self.entry_of(address, level);
        self.set(at, entry, self.paging.entry_size());
    }

    /// RAM in pieces: physical address and contents.
    pub fn segments(&self) -> Vec<(u64, Vec<u8>)> {
        let mut segments: Vec<(u64, Vec<u8>)> = Vec::new();
        for (address, contents) in &self.pages {
            match segments.last_mut() {
                Some((start, bytes)) if *start + bytes.len() as u64 == *address => bytes.extend(contents),
                _ => segments.push((*address, contents.clone())),
            }
        }
        segments
    }

    /// As `/dev/mem` has it, with zeros where there is no RAM.
    pub fn padded(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (address, contents) in self.segments() {
            bytes.resize(address as usize, 0);
            bytes.extend(contents);
        }
        bytes
    }

    /// RAM one piece after another.
    pub fn packed(&self) -> Vec<u8> {
        self.segments().into_iter().flat_map(|segment| segment.1).collect()
    }

    /// A LiME image: before each piece, a header with its first and last address.
    pub fn lime(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (address, contents) in self.segments() {
            bytes.extend(0x4c69_4d45_u32.to_le_bytes());
            bytes.extend(1_u32.to_le_bytes());
            for number in [address, address + contents.len() as u64 - 1, 0] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend(contents);
        }
        bytes
    }
}
