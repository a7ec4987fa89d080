//! amd64: bits of page table entries (`sys/x86/include/pmap.h`, `sys/amd64/include/pmap.h`), and where the kernel
//! has its memory (`sys/amd64/include/vmparam.h`), unchanged from 11.0 on until kernels got `kva_layout`.

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Bytes that a page table maps, and a page directory's entry.
pub const SUPERPAGE: u64 = 2 << 20;
/// Bytes that a page directory maps.
pub const GIB: u64 = 1 << 30;

/// `VM_MIN_KERNEL_ADDRESS`: where the kernel map begins.
pub const KERNEL_MAP_BASE: u64 = 0xffff_fe00_0000_0000;
/// `KERNBASE`: the kernel's own image is linked from here on.
pub const KERNBASE: u64 = 0xffff_ffff_8000_0000;
/// Where the image begins: the first 2 MiB map low physical memory, devices included.
pub const KERNSTART: u64 = KERNBASE + SUPERPAGE;
/// `DMAP_MIN_ADDRESS` and `DMAP_MAX_ADDRESS`.
pub const DIRECT_MAP: (u64, u64) = (0xffff_f800_0000_0000, 0xffff_fc00_0000_0000);

/// The entry is valid.
pub const PG_V: u64 = 1 << 0;
/// The page can be written.
pub const PG_RW: u64 = 1 << 1;
/// It was accessed.
pub const PG_A: u64 = 1 << 5;
/// It was written.
pub const PG_M: u64 = 1 << 6;
/// The entry maps a superpage.
pub const PG_PS: u64 = 1 << 7;
/// The mapping is global.
pub const PG_G: u64 = 1 << 8;
/// The page cannot be executed.
pub const PG_NX: u64 = 1 << 63;
/// The physical address in an entry.
pub const PG_FRAME: u64 = 0x000f_ffff_ffff_f000;
