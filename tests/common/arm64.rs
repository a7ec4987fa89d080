//! An arm64 machine, and a reader of arm64 minidumps, for checking what memtool writes.
//!
//! The reader takes its offsets from the format's description alone and shares no layout with the writer, so that
//! one wrong offset cannot hide another.

use super::demo_machine;
use serde_json::{Value, json};
use std::collections::BTreeMap;

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

/// An opened minidump.
pub struct Arm64Dump {
    pub bytes: Vec<u8>,
    pub version: u32,
    pub flags: u32,
    pub page_size: usize,
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

impl Arm64Dump {
    /// Takes a dump apart; panics where it is not as the format demands.
    pub fn parse(bytes: Vec<u8>) -> Self {
        assert_eq!(&bytes[..24], b"minidump FreeBSD/arm64\0\0");
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let version = u32_at(24);
        let (avail_size, flags) = (u32_at(72) as usize, u32_at(76));
        match version {
            1 => assert_eq!((avail_size, flags), (0, 0)),
            2 => assert_eq!(flags, 0),
            3 => assert!(flags < 2, "{flags:#x}"),
            _ => panic!("version {version}"),
        }
        let page_size = if flags == 1 { 16384 } else { 4096 };
        let round = |size: u32| (size as usize).next_multiple_of(page_size);
        assert!(bytes[80..page_size].iter().all(|byte| *byte == 0), "the rest of the header page is not zero");
        let message_at = page_size;
        let avail_at = message_at + round(u32_at(28));
        let bitmap_at = avail_at + avail_size.next_multiple_of(page_size);
        let bitmap_size = u32_at(32) as usize;
        let entries_at = bitmap_at + round(u32_at(32));
        let entries_size = u32_at(36) as usize;
        let pages_at = entries_at + round(u32_at(36));

        let mut dump_avail = Vec::new();
        if version > 1 {
            let mut at = avail_at;
            while u64_at(at + 8) != 0 {
                dump_avail.push((u64_at(at), u64_at(at + 8)));
                at += 16;
                assert!(at + 16 <= bitmap_at, "dump_avail has no end");
            }
        }
        let mut numbers: Box<dyn Iterator<Item = u64>> = match version {
            1 => Box::new(0..),
            _ => {
                let page = page_size as u64;
                let pages = move |(start, end): (u64, u64)| start / page..end.div_ceil(page);
                Box::new(dump_avail.clone().into_iter().flat_map(pages))
            }
        };
        let mut pages = BTreeMap::new();
        let mut next_page = pages_at;
        for bit in 0..bitmap_size * 8 {
            let number = numbers.next();
            if bytes[bitmap_at + bit / 8] & (1 << (bit % 8)) != 0 {
                pages.insert(number.expect("a bit stands for no page") * page_size as u64, next_page);
                next_page += page_size;
            }
        }
        drop(numbers);
        assert_eq!(next_page, bytes.len(), "the file does not end after the last page");
        Self {
            version,
            flags,
            page_size,
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
        Some(&self.bytes[at..at + self.page_size])
    }

    /// Where a page of the kernel map lies, and its permissions; `None` if it is not mapped.
    pub fn translate(&self, address: u64) -> Option<(u64, String)> {
        let index = (address - self.kernel_base) / self.page_size as u64;
        let entry = *self.entries.get(usize::try_from(index).unwrap())?;
        let letter = |set: bool, letter: char| if set { letter } else { '-' };
        let permissions = ['r', letter(entry & 1 << 7 == 0, 'w'), letter(entry & 1 << 53 == 0, 'x')];
        (entry & 3 == 3).then(|| (entry & 0x0003_ffff_ffff_f000, permissions.iter().collect()))
    }

    /// All that is there, but for how it is written down.
    pub fn contents(&self) -> BTreeMap<u64, &[u8]> {
        self.pages.keys().map(|page| (*page, self.page(*page).unwrap())).collect()
    }
}
