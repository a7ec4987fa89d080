//! An arm64 machine.

use super::demo_machine;
use serde_json::{Value, json};

/// Where the kernel's image and its map begin.
pub const KERNBASE: u64 = 0xffff_0000_0000_0000;
/// RAM of the machine.
pub const RAM: [(u64, u64); 2] = [(0x4000_0000, 0x4800_0000), (0x8_8000_0000, 0x8_8080_0000)];

/// Bytes of a superpage: what a page of entries of the last level maps.
pub fn superpage(page: u64) -> u64 {
    page * (page / 8)
}

/// What its kernel maps: start, end, permissions.
pub fn maps(page: u64) -> [(u64, u64, &'static str); 4] {
    let superpage = superpage(page);
    let map = KERNBASE + (1 << 30);
    [
        (KERNBASE, KERNBASE + 100 * page, "r-xsg"),
        (KERNBASE + superpage, KERNBASE + superpage + 60 * page, "rw-sg"),
        (map, map + superpage + 40 * page, "rw-sg"),
        (map + 3 * superpage, map + 3 * superpage + 3 * page, "r--sg"),
    ]
}

/// A recorded machine with pages of this size.
pub fn arm64_machine(page: u64) -> Value {
    let mut machine = demo_machine();
    machine["system"]["machine_arch"] = json!("aarch64");
    machine["system"]["page_size"] = json!(page);
    machine["memory"]["segments"] =
        RAM.map(|(start, end)| json!({"start": format!("{start:#x}"), "end": format!("{end:#x}")})).into();
    machine["memory"]["reserved"] = json!([]);
    machine["process"]["mappings"] = json!([]);
    let map = |(start, end, permissions): (u64, u64, &str)| {
        let superpages = u64::from(end - start > superpage(page));
        json!({
            "start": format!("{start:#x}"), "end": format!("{end:#x}"), "permissions": permissions, "cache": "WB",
            "pages": [0, superpages, 0, (end - start - superpages * superpage(page)) / page], "region": "Kernel map",
        })
    };
    machine["kernel_maps"] = maps(page).map(map).into();
    machine
}
