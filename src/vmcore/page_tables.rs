//! Page table entries in minidumps (`minidump_machdep.c` and `pmap.c` of each architecture): where a virtual
//! page of the kernel lies.

use super::header::{Architecture, Header};

/// Entries in a page of them, where they take 8 bytes and a page has 4 KiB.
pub const ENTRIES: u64 = 512;

/// amd64: the entry is valid (`X86_PG_V`).
const PG_V: u64 = 1;
/// amd64: the entry maps a superpage (`X86_PG_PS`).
const PG_PS: u64 = 0x80;
/// amd64: the address of a page (`PG_FRAME`).
const PG_FRAME: u64 = 0x000f_ffff_ffff_f000;
/// amd64: the address of a superpage (`PG_PS_FRAME`).
const PG_PS_FRAME: u64 = 0x000f_ffff_ffe0_0000;

/// Whether the dump holds page directory pages, whose page table pages are among the dumped pages, rather than
/// an entry for each page.
pub fn has_directories(header: &Header) -> bool {
    header.architecture == Architecture::Amd64 && header.version >= 2
}

/// Whether the dump holds entries that tell where pages lie; the tables of powerpc64 are hashed, or the MMU
/// driver's own.
pub fn are_known(header: &Header) -> bool {
    header.architecture != Architecture::Powerpc64 && header.mmu.as_deref() != Some("v6, LPAE")
}

/// What a page directory entry leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directory {
    /// Nothing.
    Empty,
    /// A superpage at this physical address.
    Superpage(u64),
    /// The page table page at this physical address.
    Table(u64),
}

/// Decodes a page directory entry of amd64.
pub fn directory(entry: u64) -> Directory {
    match (entry & PG_V != 0, entry & PG_PS != 0) {
        (false, _) => Directory::Empty,
        (true, true) => Directory::Superpage(entry & PG_PS_FRAME),
        (true, false) => Directory::Table(entry & PG_FRAME),
    }
}

/// Decodes the entry of one page: its physical address, or `None` if it maps nothing. `index` is the number of
/// the entry, counted from the kernel's base.
pub fn page(header: &Header, index: u64, entry: u64) -> Option<u64> {
    match header.architecture {
        Architecture::Amd64 => (entry & PG_V != 0).then_some(entry & PG_FRAME),
        // Valid, and a page (ATTR_DESCR_MASK, L3_PAGE); the address lies between the page offset and bit 48.
        Architecture::Arm64 => {
            (entry & 3 == 3).then_some(entry & 0x0003_ffff_ffff_f000 & !(u64::from(header.page_size) - 1))
        }
        // PTE_V, and the page's number from bit 10 to 53.
        Architecture::Riscv => (entry & 1 != 0).then_some((entry >> 10 & 0x0fff_ffff_ffff) << 12),
        Architecture::I386 => (entry & PG_V != 0).then_some(entry & PG_FRAME),
        Architecture::Arm => match entry & 3 {
            0 => None,
            // A large page of 64 KiB has 16 equal entries, and the kernel's base is a multiple of that.
            1 => Some((entry & 0xffff_0000) + index % 16 * 4096),
            3 if header.mmu.as_deref() == Some("v4") => None,
            _ => Some(entry & 0xffff_f000),
        },
        Architecture::Powerpc64 => None,
    }
}
