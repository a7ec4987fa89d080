//! What the kernel knows of the machine: the firmware's map, and memory ranges. They are those that the demo machine tells of
//! itself.

use crate::kernel::Demo;
use vmcore_synth::machine_tables::{RangeSpec, SMAP, smap};

/// The address, bytes and type of what the firmware lists: 1 is RAM, 2 is reserved.
const MAP: [(u64, u64, u32); 7] = [
    (0, 0x9_fc00, 1),
    (0x9_fc00, 0x400, 2),
    (0xf_0000, 0x1_0000, 2),
    (0x10_0000, 0xfed_a000, 1),
    (0xffd_a000, 0x2_6000, 2),
    (0xfffc_0000, 0x4_0000, 2),
    (0x1_0000_0000, 0x800_0000, 1),
];

/// `MDF_FIRMWARE` and `MDF_ACTIVE`; fixed ranges have `MDF_FIXBASE`, `MDF_FIXLEN` and `MDF_FIXACTIVE`, too.
const FIRMWARE: u32 = 0x0c00_0000;
const FIXED: u32 = FIRMWARE | 0x2300_0000;
const UNCACHEABLE: u32 = 1 << 0;
const WRITE_BACK: u32 = 1 << 3;
const WRITE_PROTECT: u32 = 1 << 4;

/// Where fixed ranges begin: address, number, bytes of each, and type.
const FIXED_RANGES: [(u64, u64, u64, u32); 4] = [
    (0, 8, 0x1_0000, WRITE_BACK),
    (0x8_0000, 8, 0x4000, WRITE_BACK),
    (0xa_0000, 8, 0x4000, UNCACHEABLE),
    (0xc_0000, 64, 0x1000, WRITE_PROTECT),
];

const VARIABLE_RANGES: [(u64, u64, u32); 3] =
    [(0, 0x1000_0000, WRITE_BACK), (0x8000_0000, 0x8000_0000, UNCACHEABLE), (0x1_0000_0000, 0x800_0000, WRITE_BACK)];
const VARIABLE_SLOTS: usize = 8;
const PHYSICAL_BITS: u32 = 40;
/// `MTRRdefType`: ranges are in effect, and what none covers is uncacheable.
const DEFAULT_TYPE: u64 = 0xc00;

impl Demo {
    pub fn describe_machine(&mut self) {
        let name = (1, b"/boot/kernel/kernel\0".to_vec());
        let kind = (2, b"elf kernel\0".to_vec());
        self.kernel.add_loader_records(&[name, kind, (SMAP, smap(&MAP))]);
        let mut ranges: Vec<RangeSpec<'_>> = Vec::new();
        for (first, count, size, kind) in FIXED_RANGES {
            ranges.extend((0..count).map(|index| (first + index * size, size, FIXED | kind, "BIOS")));
        }
        ranges.extend(VARIABLE_RANGES.map(|(base, length, kind)| (base, length, FIRMWARE | kind, "BIOS")));
        let free = VARIABLE_SLOTS - VARIABLE_RANGES.len();
        ranges.extend(std::iter::repeat_n((0, 1 << PHYSICAL_BITS, UNCACHEABLE, ""), free));
        self.kernel.add_memory_ranges(&ranges);
        self.kernel.add_processor(DEFAULT_TYPE, PHYSICAL_BITS, "GenuineIntel");
    }
}
