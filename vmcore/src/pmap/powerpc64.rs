//! powerpc64: the hashed page table, which the processor searches for the virtual page instead of walking a tree
//! (`sys/powerpc/include/pte.h` and `slb.h`, `sys/powerpc/aim/mmu_oea64.c`; Power ISA 2.07, book III-S, 5.7).
//!
//! The upper bits of an address, its segment, stand for a virtual segment; that and the number of the page within the
//! segment are hashed to a group of eight entries, or to the group of the inverted hash.

use super::{Protection, Target, page};

/// Where kernels are linked: `KERNBASE`.
pub const KERNBASE: u64 = 0x0010_0100;

/// The physical address of one of the direct map, or of one that is none (`DMAP_BASE_ADDRESS`).
pub const fn physical(address: u64) -> u64 {
    address & !(0xc << 60)
}

/// The direct map, and where the kernel's own map begins behind it (`DMAP_BASE_ADDRESS`, `DMAP_MAX_ADDRESS`,
/// `VM_MIN_KERNEL_ADDRESS`), since FreeBSD 13.0.
pub const DIRECT_MAP: (u64, u64) = (0xc000_0000_0000_0000, 0xc008_0000_0000_0000);
/// See [`DIRECT_MAP`].
pub const KERNEL_MAP: u64 = DIRECT_MAP.1;
/// The last address that dumps have of it (`VM_MAX_SAFE_KERNEL_ADDRESS`).
pub const KERNEL_MAP_LAST: u64 = 0xc008_0007_ffff_ffff;
/// What the kernel calls the processor's own hashed page table.
pub const NATIVE_MMU: &[u8] = b"mmu_g5";
/// Bits of a physical address.
pub const PHYSICAL_BITS: u32 = 51;
/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Entries of a group.
pub const GROUP: u64 = 8;
/// Bytes of an entry: two integers.
pub const ENTRY: u64 = 16;
/// Fewer groups than any machine has (`HTABSIZE`): less than what tells a page's lower bits from a group's number.
pub const FEWEST_GROUPS: u64 = 1 << 11;
/// More groups than a table can have (Power ISA 3.0, book III, 5.7.6.1: `HTABSIZE` is 28 at most).
pub const MOST_GROUPS: u64 = FEWEST_GROUPS << 28;
/// What a table is aligned to, or to its size if that is more (`moea64_bootstrap_native()`).
pub const TABLE_ALIGNMENT: u64 = 1 << 18;

/// A segment: 256 MiB.
const SEGMENT_SHIFT: u32 = 28;
/// `KERNEL_VSID_BIT`, and how many bits are below it.
const KERNEL_BITS: u32 = 36;
const KERNEL_BIT: u64 = 1 << KERNEL_BITS;
/// `KERNEL_VSID`'s factor, and the factor that undoes it.
const FACTOR: u64 = 0x13bb;
const INVERSE: u64 = inverse(FACTOR);

const HASH_MASK: u64 = (1 << 39) - 1;

/// By Newton's method: each step doubles the number of right bits, of which an odd number has three to begin with.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut steps = 0;
    while steps < 5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        steps += 1;
    }
    inverse
}

/// How large the pages are that a segment's addresses are hashed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// 4 KiB.
    Small,
    /// 16 MiB.
    Large,
}

impl Base {
    const fn shift(self) -> u32 {
        match self {
            Self::Small => 12,
            Self::Large => 24,
        }
    }

    /// Bytes that an entry stands for.
    pub const fn span(self) -> u64 {
        1 << self.shift()
    }
}

/// The virtual segment of a kernel address: `KERNEL_VSID`.
const fn segment(address: u64) -> u64 {
    let number = address >> SEGMENT_SHIFT;
    let turned = number << 8 | number >> 28;
    turned.wrapping_mul(FACTOR) & (KERNEL_BIT - 1) | KERNEL_BIT
}

/// The first address of a kernel's virtual segment.
const fn address_of(segment: u64) -> Option<u64> {
    if segment >> KERNEL_BITS != 1 {
        return None;
    }
    let turned = segment.wrapping_mul(INVERSE) & (KERNEL_BIT - 1);
    Some((turned >> 8 | turned << 28) << SEGMENT_SHIFT)
}

/// The group that an address's entry is in, by the first or second hash, of a table of so many groups, a power of 2.
pub const fn group(address: u64, base: Base, second: bool, groups: u64) -> u64 {
    let page = (address & ((1 << SEGMENT_SHIFT) - 1)) >> base.shift();
    let hash = segment(address) & HASH_MASK ^ page;
    (if second { !hash } else { hash }) & (groups - 1)
}

/// An entry that is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageTableEntry {
    /// Whether it is where the second hash leads.
    pub second: bool,
    /// By which pages it was hashed.
    pub base: Base,
    /// Virtual segment, and upper five bits of the 16 of the page in it (`AVPN`).
    virtual_page: u64,
    /// Where it leads. With small pages it may be one of the entries of a page of 16 MiB, each for its 4 KiB.
    pub target: Target,
}

impl PageTableEntry {
    /// Decodes its two integers; `None` if it is not valid.
    pub const fn decode(high: u64, low: u64) -> Option<Self> {
        // LPTE_VALID; segments of 1 TiB are not used.
        if high & 1 == 0 || high >> 62 != 0 {
            return None;
        }
        // LPTE_BIG, and the encoding of the page's size (`LPTE_LP_4K_16M`).
        let (base, size) = match (high & 4 != 0, low >> 12 & 0xff) {
            (false, _) => (Base::Small, 1 << 12),
            (true, 0x38) => (Base::Small, 1 << 24),
            (true, _) => (Base::Large, 1 << 24),
        };
        // LPTE_BR of the bits that protect; LPTE_NOEXEC.
        let protection = Protection { read: true, write: low & 3 != 3, execute: low & 4 == 0 };
        let target = page(low & 0x0fff_ffff_ffff_f000, size, protection);
        Some(Self { second: high & 2 != 0, base, virtual_page: high >> 7, target })
    }

    /// Whether it stands for a kernel address.
    pub const fn is_for(&self, address: u64) -> bool {
        let virtual_page = segment(address) << 5 | address >> 23 & 0x1f;
        // The lowest bit is within a page of 16 MiB.
        let within = match self.base {
            Base::Small => 0,
            Base::Large => 1,
        };
        self.virtual_page | within == virtual_page | within
    }

    /// The address that it stands for, in a group of that number; `None` if it is none of the kernel's.
    pub const fn address(&self, group: u64) -> Option<u64> {
        let virtual_segment = self.virtual_page >> 5;
        let Some(first) = address_of(virtual_segment) else { return None };
        let hash = if self.second { !group } else { group };
        let upper = (self.virtual_page & 0x1f) << 23;
        Some(match self.base {
            Base::Small => first | upper | ((hash ^ virtual_segment) & 0x7ff) << 12,
            Base::Large => first | upper & !((1 << 24) - 1),
        })
    }
}
