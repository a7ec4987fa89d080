//! The kernel's tables of memory: `machdep.smap`, `machdep.efi_map`, `vm.phys_segs`, `vm.pmap.kernel_maps`.
//! The first bytes say which of them are there and how long they are.

#![no_main]

use libfuzzer_sys::fuzz_target;
use memtool::memory_map::{MapSource, MemoryMap, Tables, kernel_maps, phys_segs};
use memtool_fuzz::{check_map, check_readable};

fuzz_target!(|bytes: &[u8]| {
    let Some(([which, first, second, third], rest)) = bytes.split_first_chunk() else { return };
    let (smap, rest) = split(rest, which & 1 != 0, usize::from(*first));
    let (efi_map, rest) = split(rest, which & 2 != 0, usize::from(*second));
    let (segments, rest) = split(rest, which & 4 != 0, 4 * usize::from(*third));
    let segments = segments.and_then(|text| str::from_utf8(text).ok());
    let maps = str::from_utf8(rest).ok().and_then(|text| kernel_maps::parse(text).ok());

    if let Some(Ok(segments)) = segments.map(phys_segs::parse) {
        assert!(segments.iter().all(|segment| segment.start < segment.end));
    }
    let domains = (which & 8 != 0).then_some(u32::from(which >> 4));
    let Ok(map) = MemoryMap::from_tables(&Tables { smap, efi_map, phys_segs: segments, domains, dump_avail: None })
    else {
        return;
    };
    check_map(&map);
    if smap.is_some_and(|table| !table.is_empty()) {
        assert_eq!(map.source, MapSource::Smap);
    }
    if let Some(maps) = maps {
        check_readable(&maps, &map);
    }
});

/// Cuts a table off, if it is there.
fn split(bytes: &[u8], is_there: bool, length: usize) -> (Option<&[u8]>, &[u8]) {
    if !is_there {
        return (None, bytes);
    }
    let (table, rest) = bytes.split_at(length.min(bytes.len()));
    (Some(table), rest)
}
