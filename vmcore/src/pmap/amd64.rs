//! amd64: bits of page table entries (`sys/x86/include/pmap.h`, `sys/amd64/include/pmap.h`), and where the kernel
//! has its memory (`sys/amd64/include/vmparam.h`; `kva_layout` and `kva_layout_la57` in `sys/amd64/amd64/pmap.c`). The
//! layout with four levels has not changed since 11.0; kernels that tell their layout have it in `kva_layout`.

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
/// Physical addresses have so many bits at most.
pub const PHYSICAL_BITS: u32 = 52;

/// Where a kernel has its memory: what memtool needs of `struct kva_layout_s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvaLayout {
    /// `dmap_low` and `dmap_high`: the direct map, which begins with physical address 0.
    pub direct_map: (u64, u64),
    /// `km_low`: where the kernel map begins.
    pub kernel_map: u64,
}

impl KvaLayout {
    /// With four levels of page tables, and of every kernel without `kva_layout`.
    pub const LA48: Self =
        Self { direct_map: (0xffff_f800_0000_0000, 0xffff_fc00_0000_0000), kernel_map: KERNEL_MAP_BASE };
    /// With five levels.
    pub const LA57: Self =
        Self { direct_map: (0xff01_0000_0000_0000, 0xff21_0000_0000_0000), kernel_map: KERNEL_MAP_BASE };
    /// Words of `struct kva_layout_s` up to the last one that is needed.
    pub const WORDS: usize = 7;
    /// Bytes of them.
    pub const SIZE: u64 = Self::WORDS as u64 * 8;

    /// Reads `struct kva_layout_s`, of which `word` tells the word at an offset. `Err` as the inner result: its words, where
    /// they cannot be those of a kernel with a direct map.
    ///
    /// # Errors
    ///
    /// Those of `word`.
    pub fn read<E>(mut word: impl FnMut(u64) -> Result<u64, E>) -> Result<Result<Self, [u64; Self::WORDS]>, E> {
        let mut words = [0; Self::WORDS];
        for (value, index) in words.iter_mut().zip(0..) {
            *value = word(index * 8)?;
        }
        Ok(Self::from_words(words).ok_or(words))
    }

    /// From `struct kva_layout_s`, whose members are told by their place: other members of one layout have the values
    /// of these of the other. `None` if they cannot be those of a kernel with a direct map.
    fn from_words(words: [u64; Self::WORDS]) -> Option<Self> {
        let [_, _, low, high, _, _, kernel_map] = words;
        let is_border = |address: u64| address.is_multiple_of(GIB) && address >= 1 << 63;
        let layout = Self { direct_map: (low, high), kernel_map };
        (low < high && [low, high, kernel_map].into_iter().all(is_border)).then_some(layout)
    }

    /// Bytes of physical memory that the direct map has room for.
    pub const fn physical_end(self) -> u64 {
        self.direct_map.1 - self.direct_map.0
    }
}

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
