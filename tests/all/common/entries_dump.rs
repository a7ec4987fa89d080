//! A reader of minidumps with an entry for each page of the kernel map, those of arm64 and riscv64, for checking what
//! memtool writes; and the checks that both have in common.
//!
//! The reader takes its offsets from the formats' descriptions alone and shares no layout with the writer, so that
//! one wrong offset cannot hide another.

use super::{directory, on, text, write_machine};
use memtool::host::{self, Host, Selection};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Entries of a page table of 4 KiB.
const ENTRIES: usize = 512;

/// An opened minidump.
pub struct EntriesDump {
    pub bytes: Vec<u8>,
    pub version: u32,
    /// arm64's; 0 on riscv64.
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
    is_riscv: bool,
}

impl EntriesDump {
    /// Takes a dump apart; panics where it is not as the format demands.
    pub fn parse(bytes: Vec<u8>) -> Self {
        let is_riscv = bytes.starts_with(b"minidump FreeBSD/riscv\0\0");
        assert!(is_riscv || bytes.starts_with(b"minidump FreeBSD/arm64\0\0"));
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let version = u32_at(24);
        let (avail_size, flags) = (u32_at(72) as usize, u32_at(76));
        match (is_riscv, version) {
            (true, _) => assert_eq!((avail_size, flags), (if version == 1 { 0 } else { 4096 }, 0)),
            (_, 1) => assert_eq!((avail_size, flags), (0, 0)),
            (_, 2) => assert_eq!(flags, 0),
            (_, 3) => assert!(flags < 2, "{flags:#x}"),
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
            is_riscv,
        }
    }

    /// The dump in a file.
    pub fn read(path: &Path) -> Self {
        Self::parse(std::fs::read(path).unwrap())
    }

    /// A page's contents.
    pub fn page(&self, physical: u64) -> Option<&[u8]> {
        let at = *self.pages.get(&physical)?;
        Some(&self.bytes[at..at + self.page_size])
    }

    /// Whether an entry is a page's: `PTE_V` of riscv64, the two lowest bits of arm64.
    fn is_valid(&self, entry: u64) -> bool {
        let valid = if self.is_riscv { 1 } else { 3 };
        entry & valid == valid
    }

    /// Where a page of the kernel map lies, and its permissions; `None` if it is not mapped.
    pub fn translate(&self, address: u64) -> Option<(u64, String)> {
        let index = (address - self.kernel_base) / self.page_size as u64;
        let entry = *self.entries.get(usize::try_from(index).unwrap())?;
        let letter = |set: bool, letter: char| if set { letter } else { '-' };
        let (physical, permissions) = if self.is_riscv {
            let bit = |bit: u32| entry >> bit & 1 == 1;
            // The number of the page stands from bit 10 to 53.
            ((entry << 10 >> 20) << 12, [letter(bit(1), 'r'), letter(bit(2), 'w'), letter(bit(3), 'x')])
        } else {
            let permissions = ['r', letter(entry & 1 << 7 == 0, 'w'), letter(entry & 1 << 53 == 0, 'x')];
            (entry & 0x0003_ffff_ffff_f000, permissions)
        };
        self.is_valid(entry).then(|| (physical, permissions.iter().collect()))
    }

    /// All that is there, but for how it is written down.
    pub fn contents(&self) -> BTreeMap<u64, &[u8]> {
        self.pages.keys().map(|page| (*page, self.page(*page).unwrap())).collect()
    }

    /// Asserts that each page of these mappings is there with its permissions and what /dev/kmem and /dev/mem read,
    /// and nothing else is mapped; that both ends of each piece of RAM are there, which the kernel marks. Tells how many
    /// pages are mapped.
    pub fn check_pages(&self, host: &dyn Host, maps: &[(u64, u64, &str)], ram: &[(u64, u64)]) -> usize {
        let (kernel, physical) = (host.kernel_memory().unwrap(), host.physical_memory().unwrap());
        let (mut seen, mut mapped) = (BTreeSet::new(), 0);
        for (start, end, permissions) in maps {
            for address in (*start..*end).step_by(self.page_size) {
                let (at, found) = self.translate(address).unwrap_or_else(|| panic!("{address:#x} is not mapped"));
                assert_eq!(found, permissions[..3], "{address:#x}");
                assert!(seen.insert(at), "{at:#x} is mapped twice");
                let contents = self.page(at).unwrap_or_else(|| panic!("the page behind {address:#x} is not there"));
                let mut bytes = vec![0; self.page_size];
                assert_eq!(kernel.read_at(address, &mut bytes).unwrap(), bytes.len());
                assert!(bytes == contents, "{address:#x}");
                mapped += 1;
            }
        }
        assert_eq!(self.entries.iter().filter(|entry| self.is_valid(**entry)).count(), mapped);
        let superpage = self.page_size * (self.page_size / 8);
        let end = maps.last().unwrap().0 + superpage as u64;
        let pages = (end - self.kernel_base) / self.page_size as u64;
        assert_eq!(self.entries.len() as u64, pages, "to the end of the kernel map");
        for at in self.pages.keys() {
            let mut bytes = vec![0; self.page_size];
            assert_eq!(physical.read_at(*at, &mut bytes).unwrap(), bytes.len());
            assert!(bytes == self.page(*at).unwrap(), "{at:#x}");
        }
        for (start, end) in ram {
            assert!(self.page(*start).is_some() && self.page(end - self.page_size as u64).is_some());
        }
        assert!(self.pages.len() > mapped);
        mapped
    }
}

/// The host of a recorded machine.
pub fn opened(machine: &Path) -> Box<dyn Host> {
    host::open(&Selection { machine: Some(machine), device: None }).unwrap()
}

/// Asserts that a page table which cannot be read, the one of the mapping at `last`, is counted, and its entries are
/// zeros in a dump from user space; `machine` has pages of 4 KiB, and RAM there.
pub fn check_unreadable_table(mut machine: Value, last: u64, ram: (u64, u64)) {
    let directory = directory();
    let target = directory.path().join("out");
    let dump = |path: &Path| {
        let run = on(path, &["livedump", "--force", "--method", "user", text(&target)]).ok();
        (run, EntriesDump::read(&target))
    };
    let path = write_machine(directory.path(), &machine);
    let (_, whole) = dump(&path);
    // The kernel's tables follow what it maps: the pattern of RAM is not in them, and their entries are in the dump.
    let memory = opened(&path).physical_memory().unwrap();
    let index = usize::try_from((last - whole.kernel_base) / 4096).unwrap();
    let wanted: Vec<u8> = whole.entries[index..index + ENTRIES].iter().flat_map(|entry| entry.to_le_bytes()).collect();
    let holds = |at: &u64| {
        let mut bytes = vec![0; 4096];
        memory.read_at(*at, &mut bytes).unwrap() == 4096 && bytes == wanted
    };
    let at = (ram.0..ram.1).step_by(4096).find(holds).expect("the table is in RAM");
    machine["unreadable"] = json!([{"start": format!("{at:#x}"), "end": format!("{:#x}", at + 8)}]);
    let (run, dump) = dump(&write_machine(directory.path(), &machine));
    run.says_in_one_line(&["1 page table could not be read"]);
    assert_eq!(dump.translate(last), None);
    assert!(dump.entries[..index] == whole.entries[..index]);
}
