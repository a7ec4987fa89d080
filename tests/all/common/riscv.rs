//! A riscv64 machine.

use super::demo_machine;
use serde_json::{Value, json};

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
