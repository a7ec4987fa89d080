//! arm64: bits of page table entries (`sys/arm64/include/pte.h`), and where the kernel has its memory
//! (`sys/arm64/include/vmparam.h`), whatever the size of its pages. But for the direct map nothing has moved since
//! 12.

use super::Protection;

/// `VM_MIN_KERNEL_ADDRESS`, which is `KERNBASE` too: the kernel map begins with the kernel's image.
pub const KERNBASE: u64 = 0xffff_0000_0000_0000;
/// Where the image ends at the latest: `locore.S` and `pmap_bootstrap()` expect it in one entry of level 1 with pages
/// of 4 KiB. Other things that boot takes follow, and devices.
pub const IMAGE_END: u64 = KERNBASE + (1 << 30);
/// `VM_MAX_KERNEL_ADDRESS`.
pub const KERNEL_MAP_END: u64 = 0xffff_0080_0000_0000;
/// `DMAP_MIN_ADDRESS`, of a direct map of 95 TiB, and of one of 2 TiB as 12 has it.
pub const DIRECT_MAPS: [u64; 2] = [0xffff_a000_0000_0000, 0xffff_fd00_0000_0000];
/// `DMAP_MAX_ADDRESS`.
pub const DIRECT_MAP_END: u64 = 0xffff_ff00_0000_0000;
/// Physical addresses have so many bits at most: 48, or with FEAT_LPA2 52.
pub const PHYSICAL_BITS: u32 = 52;
/// What an entry has of a physical address whatever its format: all below these bits.
pub const COMMON_BITS: u32 = 50;
/// `ATTR_OA_51_50_MASK` and `ATTR_OA_51_50_DELTA`: with LPA2 (`pmap_lpa_enabled`) bits 50 and 51 of the address.
pub const LPA2_BITS: u64 = 3 << 8;
/// How far up they belong.
pub const LPA2_SHIFT: u32 = 50 - 8;

/// `L0_TABLE`, `L1_TABLE`, `L2_TABLE`: the entry names a table.
pub const TABLE: u64 = 3;
/// `L1_BLOCK`, `L2_BLOCK`: the entry maps memory.
pub const BLOCK: u64 = 1;
/// `L3_PAGE`: the entry maps a page.
pub const L3_PAGE: u64 = 3;
/// `ATTR_S1_AP_RW_BIT`: the memory cannot be written.
pub const READ_ONLY: u64 = 1 << 7;
/// `ATTR_SH(ATTR_SH_IS)`: it is shared by the processors.
pub const SHARED: u64 = 3 << 8;
/// `ATTR_AF`: it was accessed.
pub const ACCESSED: u64 = 1 << 10;
/// `ATTR_S1_PXN`: the kernel cannot execute it.
pub const PXN: u64 = 1 << 53;
/// `ATTR_S1_UXN`: processes cannot execute it.
pub const UXN: u64 = 1 << 54;

/// `VIRT_BITS`: a virtual address has so many bits, however many a physical one has (`locore.S`).
pub const ADDRESS_BITS: u32 = 48;
/// Bits of a kernel address that hold its signature where pointers are authenticated: all above [`ADDRESS_BITS`] but bit
/// 55, which tells the kernel's addresses from a process's (`PAC_ADDR_MASK_14`).
pub const SIGNATURE: u64 = 0xff7f << 48;

/// A signed address of the kernel without its signature (`ADDR_MAKE_CANONICAL`); any other as it is.
pub const fn strip_signature(address: u64) -> u64 {
    if address >> 55 & 1 == 1 { address | SIGNATURE } else { address }
}

/// The bits of an entry of a page or block of the kernel, without its address and kind.
pub const fn attributes(protection: Protection) -> u64 {
    let Protection { write, execute, .. } = protection;
    ACCESSED | SHARED | UXN | if write { 0 } else { READ_ONLY } | if execute { 0 } else { PXN }
}
