//! The virtual memory of kernels of which no map was recorded, and of the one that is built in.

use crate::memory_map::kernel_maps::KernelMapping;
use vmcore::minidump::Architecture;

/// The kernel's map: on amd64 the direct map, a bit of kernel virtual memory in small pages, and the kernel itself in
/// superpages; on arm64 and riscv the latter two.
pub fn of_architecture(architecture: Architecture) -> Vec<KernelMapping> {
    let mapping = |region: &str, start, end, permissions: &str, pages: [u64; 3]| KernelMapping {
        start,
        end,
        permissions: permissions.to_owned(),
        cache: Some("WB".to_owned()),
        pages: pages.to_vec(),
        region: region.to_owned(),
    };
    if architecture != Architecture::Amd64 {
        let [_, level, last] = architecture.levels();
        let (page, superpage) = (last.span(), level.span());
        let base = architecture.kernel_base();
        let (data, map) = (base + superpage, base + (1 << 30));
        // The third size, of contiguous pages, makes no difference to page tables.
        let mapping = |start, length, permissions, [superpages, pages]: [u64; 2]| KernelMapping {
            pages: vec![0, superpages, 0, pages],
            ..mapping("Kernel map", start, start + length, permissions, [0; 3])
        };
        return vec![
            mapping(base, superpage, "r-xsg", [1, 0]),
            mapping(data, 308 * page, "rw-sg", [0, 308]),
            mapping(map, superpage + 100 * page, "rw-sg", [1, 100]),
        ];
    }
    vec![
        mapping("Direct map", 0xffff_f800_0000_0000, 0xffff_f800_1000_0000, "rw-sg", [0, 128, 0]),
        mapping("Kernel map", 0xffff_fe00_0000_0000, 0xffff_fe00_0030_0000, "rw-sg", [0, 1, 256]),
        mapping("Kernel map", 0xffff_fe00_4000_0000, 0xffff_fe00_4006_4000, "rw-sg", [0, 0, 100]),
        mapping("Kernel map", 0xffff_ffff_8020_0000, 0xffff_ffff_8100_0000, "r-xsg", [0, 7, 0]),
        mapping("Kernel map", 0xffff_ffff_8100_0000, 0xffff_ffff_8120_0000, "r--sg", [0, 1, 0]),
        mapping("Kernel map", 0xffff_ffff_8120_0000, 0xffff_ffff_8153_4000, "rw-sg", [0, 1, 308]),
    ]
}

/// The map of the kernel that is built in, with its module.
pub fn built_in() -> Vec<KernelMapping> {
    let mut maps = of_architecture(Architecture::Amd64);
    maps.insert(
        1,
        KernelMapping {
            start: 0xffff_f801_0000_0000,
            end: 0xffff_f801_0800_0000,
            permissions: "rw-sg".to_owned(),
            cache: Some("WB".to_owned()),
            pages: vec![0, 64, 0],
            region: "Direct map".to_owned(),
        },
    );
    maps.push(KernelMapping {
        start: 0xffff_ffff_8200_0000,
        end: 0xffff_ffff_8200_3000,
        permissions: "rwxsg".to_owned(),
        cache: Some("WB".to_owned()),
        pages: vec![0, 0, 3],
        region: "Kernel map".to_owned(),
    });
    maps
}
