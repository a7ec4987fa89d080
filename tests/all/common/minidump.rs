//! A reader of amd64 minidumps, for checking what memtool writes.
//!
//! It takes its offsets from the format's description alone and shares no layout with the writer, so that
//! one wrong offset cannot hide another.

use std::collections::BTreeMap;

const PAGE: u64 = 4096;
const FRAME: u64 = 0x000f_ffff_ffff_f000;
const SUPERPAGE_FRAME: u64 = 0x000f_ffff_ffe0_0000;

/// An opened minidump.
pub struct Minidump {
    bytes: Vec<u8>,
    pub version: u32,
    pub kernel_base: u64,
    pub direct_map: (u64, u64),
    pub dump_avail: Vec<(u64, u64)>,
    pub message_buffer: Vec<u8>,
    directories: (usize, usize),
    /// Where each dumped page stands in the file.
    pub pages: BTreeMap<u64, usize>,
}

/// Where a virtual address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    pub physical: u64,
    pub writable: bool,
    pub executable: bool,
    pub superpage: bool,
}

fn round(size: usize) -> usize {
    size.next_multiple_of(4096)
}

impl Minidump {
    /// Takes a dump apart; panics where it is not as the format demands.
    pub fn parse(bytes: Vec<u8>) -> Self {
        assert_eq!(&bytes[..24], b"minidump FreeBSD/amd64\0\0");
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let version = u32_at(24);
        let message_size = u32_at(28) as usize;
        let bitmap_size = u32_at(32) as usize;
        let directories_size = u32_at(36) as usize;
        let avail_size = u32_at(64) as usize;
        assert!(bytes[68..4096].iter().all(|byte| *byte == 0), "the rest of the header page is not zero");

        let message_at = 4096;
        let avail_at = message_at + round(message_size);
        let bitmap_at = avail_at + round(avail_size);
        let directories_at = bitmap_at + round(bitmap_size);
        let pages_at = directories_at + round(directories_size);

        let mut dump_avail = Vec::new();
        let mut at = avail_at;
        while u64_at(at + 8) != 0 {
            dump_avail.push((u64_at(at), u64_at(at + 8)));
            at += 16;
            assert!(at + 16 <= bitmap_at, "dump_avail has no end");
        }

        let mut pages = BTreeMap::new();
        let mut next_page = pages_at;
        let mut bit = 0usize;
        for &(start, end) in &dump_avail {
            for page in start / PAGE..end.div_ceil(PAGE) {
                if bytes[bitmap_at + bit / 8] & (1 << (bit % 8)) != 0 {
                    pages.insert(page * PAGE, next_page);
                    next_page += 4096;
                }
                bit += 1;
            }
        }
        for beyond in bit..bitmap_size * 8 {
            assert_eq!(bytes[bitmap_at + beyond / 8] & (1 << (beyond % 8)), 0, "bit {beyond} stands for no page");
        }
        assert_eq!(next_page, bytes.len(), "the file does not end after the last page");

        Self {
            version,
            kernel_base: u64_at(40),
            direct_map: (u64_at(48), u64_at(56)),
            message_buffer: bytes[message_at..message_at + message_size].to_vec(),
            dump_avail,
            directories: (directories_at, directories_size),
            pages,
            bytes,
        }
    }

    /// A page's contents.
    pub fn page(&self, physical: u64) -> Option<&[u8]> {
        let at = *self.pages.get(&physical)?;
        Some(&self.bytes[at..at + 4096])
    }

    fn entry_at(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    /// Walks the dumped page tables, or goes through the direct map.
    pub fn translate(&self, address: u64) -> Option<Translation> {
        let (dmap_start, dmap_end) = self.direct_map;
        if (dmap_start..dmap_end).contains(&address) {
            let physical = address - dmap_start;
            return Some(Translation { physical, writable: true, executable: false, superpage: false });
        }
        let index = usize::try_from(address.checked_sub(self.kernel_base)? >> 21).unwrap();
        let (at, size) = self.directories;
        if (index + 1) * 8 > size {
            return None;
        }
        let directory_entry = self.entry_at(at + index * 8);
        if directory_entry & 1 == 0 {
            return None;
        }
        let (entry, frame, offset, superpage) = if directory_entry & 0x80 != 0 {
            (directory_entry, SUPERPAGE_FRAME, address & 0x1f_ffff, true)
        } else {
            let table = *self.pages.get(&(directory_entry & FRAME)).expect("the page-table page is not in the dump");
            let slot = usize::try_from((address >> 12) & 511).unwrap();
            (self.entry_at(table + slot * 8), FRAME, address & 0xfff, false)
        };
        (entry & 1 != 0).then_some(Translation {
            physical: (entry & frame) + offset,
            writable: entry & 2 != 0,
            executable: entry & (1 << 63) == 0,
            superpage,
        })
    }

    /// All directory entries that are valid, with the first address each maps.
    pub fn mapped_superpage_slots(&self) -> Vec<u64> {
        let (at, size) = self.directories;
        (0..size / 8)
            .filter(|index| self.entry_at(at + index * 8) & 1 != 0)
            .map(|index| self.kernel_base + ((index as u64) << 21))
            .collect()
    }
}
