//! riscv64: a machine, and minidumps of it, taken apart by an independent reader of the format.

use super::demo_machine;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Where the kernel's image and its map begin.
pub const KERNBASE: u64 = 0xffff_ffc0_0000_0000;
/// `DMAP_MIN_ADDRESS` and `DMAP_MAX_ADDRESS`.
pub const DIRECT_MAP: (u64, u64) = (0xffff_ffd0_0000_0000, 0xffff_fff0_0000_0000);
/// RAM of the machine, behind what the firmware keeps for itself.
pub const RAM: [(u64, u64); 2] = [(0x8020_0000, 0x8800_0000), (0x1_0000_0000, 0x1_0080_0000)];

const PAGE: u64 = 4096;
const SUPERPAGE: u64 = 2 << 20;

/// What its kernel maps: start, end, permissions; the first two are the image, all of it in superpages.
pub const MAPS: [(u64, u64, &str); 4] = [
    (KERNBASE, KERNBASE + SUPERPAGE, "r-xsg"),
    (KERNBASE + SUPERPAGE, KERNBASE + 2 * SUPERPAGE, "rw-sg"),
    (KERNBASE + (1 << 30), KERNBASE + (1 << 30) + SUPERPAGE + 40 * PAGE, "rw-sg"),
    (KERNBASE + (1 << 30) + 3 * SUPERPAGE, KERNBASE + (1 << 30) + 3 * SUPERPAGE + 3 * PAGE, "r--sg"),
];

/// A recorded machine in this mode of translation.
pub fn riscv_machine(mode: &str) -> Value {
    let mut machine = demo_machine();
    machine["system"]["machine_arch"] = json!("riscv64");
    machine["pmap_mode"] = json!(mode);
    machine["memory"]["segments"] =
        RAM.map(|(start, end)| json!({"start": format!("{start:#x}"), "end": format!("{end:#x}")})).into();
    machine["memory"]["reserved"] = json!([]);
    machine["process"]["mappings"] = json!([]);
    let map = |(start, end, permissions): (u64, u64, &str)| {
        let superpages = u64::from(end - start >= SUPERPAGE);
        json!({
            "start": format!("{start:#x}"), "end": format!("{end:#x}"), "permissions": permissions, "cache": "WB",
            "pages": [0, superpages, (end - start - superpages * SUPERPAGE) / PAGE], "region": "Kernel map",
        })
    };
    machine["kernel_maps"] = MAPS.map(map).into();
    machine
}

/// An opened minidump.
pub struct RiscvDump {
    pub bytes: Vec<u8>,
    pub version: u32,
    pub kernel_base: u64,
    /// Its first address, the one after it, and the physical address of the first.
    pub direct_map: (u64, u64, u64),
    pub dump_avail: Vec<(u64, u64)>,
    pub message_buffer: Vec<u8>,
    /// An entry for each page from the kernel's base on.
    pub entries: Vec<u64>,
    /// Where each dumped page stands in the file.
    pub pages: BTreeMap<u64, usize>,
}

impl RiscvDump {
    /// Takes a dump apart; panics where it is not as the format demands.
    pub fn parse(bytes: Vec<u8>) -> Self {
        assert_eq!(&bytes[..24], b"minidump FreeBSD/riscv\0\0");
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let page_size = 4096;
        let round = |size: u32| (size as usize).next_multiple_of(page_size);
        let (version, avail_size) = (u32_at(24), u32_at(72));
        assert_eq!(avail_size, if version == 1 { 0 } else { 4096 });
        assert!(bytes[76..page_size].iter().all(|byte| *byte == 0), "the rest of the header page is not zero");
        let message_at = page_size;
        let avail_at = message_at + round(u32_at(28));
        let bitmap_at = avail_at + round(avail_size);
        let bitmap_size = u32_at(32) as usize;
        let entries_at = bitmap_at + round(u32_at(32));
        let entries_size = u32_at(36) as usize;
        let pages_at = entries_at + round(u32_at(36));
        let mut dump_avail = Vec::new();
        for at in (avail_at..bitmap_at).step_by(16).take_while(|at| u64_at(at + 8) != 0) {
            dump_avail.push((u64_at(at), u64_at(at + 8)));
        }
        let numbers = dump_avail.iter().flat_map(|(start, end)| start / PAGE..end.div_ceil(PAGE));
        let mut numbers: Box<dyn Iterator<Item = u64>> = if version == 1 { Box::new(0..) } else { Box::new(numbers) };
        let mut pages = BTreeMap::new();
        let mut next_page = pages_at;
        for bit in 0..bitmap_size * 8 {
            let number = numbers.next();
            if bytes[bitmap_at + bit / 8] & (1 << (bit % 8)) != 0 {
                pages.insert(number.expect("a bit stands for no page") * PAGE, next_page);
                next_page += page_size;
            }
        }
        drop(numbers);
        assert_eq!(next_page, bytes.len(), "the file does not end after the last page");
        Self {
            version,
            kernel_base: u64_at(40),
            direct_map: (u64_at(56), u64_at(64), u64_at(48)),
            message_buffer: bytes[message_at..message_at + u32_at(28) as usize].to_vec(),
            dump_avail,
            entries: (entries_at..entries_at + entries_size).step_by(8).map(u64_at).collect(),
            pages,
            bytes,
        }
    }

    /// A page's contents.
    pub fn page(&self, physical: u64) -> Option<&[u8]> {
        let at = *self.pages.get(&physical)?;
        Some(&self.bytes[at..at + 4096])
    }

    /// Where a page of the kernel map lies, and its permissions; `None` if it is not mapped.
    pub fn translate(&self, address: u64) -> Option<(u64, String)> {
        let index = (address - self.kernel_base) / PAGE;
        let entry = *self.entries.get(usize::try_from(index).unwrap())?;
        let letter = |bit: u32, letter: char| if entry >> bit & 1 == 1 { letter } else { '-' };
        let permissions = [letter(1, 'r'), letter(2, 'w'), letter(3, 'x')];
        // PTE_V; the number of the page stands from bit 10 to 53.
        (entry & 1 == 1).then(|| ((entry << 10 >> 20) << 12, permissions.iter().collect()))
    }

    /// All that is there, but for how it is written down.
    pub fn contents(&self) -> BTreeMap<u64, &[u8]> {
        self.pages.keys().map(|page| (*page, self.page(*page).unwrap())).collect()
    }
}
