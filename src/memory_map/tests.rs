use super::*;

/// What a FreeBSD 12.1 machine of 512 MiB in two domains printed.
const PHYS_SEGS: &str = "
SEGMENT 0:

start:     0x1000
end:       0x9f000
domain:    0
free list: 0xffffffff809d40b0

SEGMENT 1:

start:     0x103000
end:       0x1000000
domain:    0
free list: 0xffffffff809d40b0

SEGMENT 2:

start:     0x1000000
end:       0x3cb7000
domain:    0
free list: 0xffffffff809d3e40

SEGMENT 3:

start:     0x10000000
end:       0x1f2ff000
domain:    1
free list: 0xffffffff809d4590
";

fn smap(entries: &[(u64, u64, u32)]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|(base, length, kind)| {
            [base.to_le_bytes().as_slice(), &length.to_le_bytes(), &kind.to_le_bytes(), &[0; 4]].concat()
        })
        .collect()
}

/// The same machine's BIOS map.
fn real_smap() -> Vec<u8> {
    smap(&[
        (0, 0x9fc00, 1),
        (0x9fc00, 0x400, 2),
        (0xf0000, 0x10000, 2),
        (0x100000, 0x1feda000, 1),
        (0x1ffda000, 0x26000, 2),
        (0xfffc0000, 0x40000, 2),
        (0xfd00000000, 0x300000000, 2),
    ])
}

fn segment(start: u64, end: u64, domain: Option<u32>) -> Segment {
    Segment { start, end, domain }
}

fn map(smap: Option<&[u8]>, phys_segs: Option<&str>, domains: u32) -> MemoryMap {
    MemoryMap::from_tables(&Tables { smap, efi_map: Some(&[]), phys_segs, domains: Some(domains) }).unwrap()
}

#[test]
fn the_bios_map_gives_the_ram_and_the_segments_its_domains() {
    let map = map(Some(&real_smap()), Some(PHYS_SEGS), 2);
    assert_eq!(map.source, Source::Smap);
    assert_eq!(
        map.segments,
        [
            segment(0, 0x1000, None),
            segment(0x1000, 0x9f000, Some(0)),
            segment(0x9f000, 0x9fc00, None),
            segment(0x100000, 0x103000, None),
            segment(0x103000, 0x3cb7000, Some(0)),
            segment(0x3cb7000, 0x10000000, None),
            segment(0x10000000, 0x1f2ff000, Some(1)),
            segment(0x1f2ff000, 0x1ffda000, None),
        ]
    );
    assert_eq!(map.total(), 0x9fc00 + 0x1feda000);
    assert_eq!(map.reserved.len(), 5);
    assert_eq!(map.problem(), None);
}

#[test]
fn with_one_domain_everything_is_in_it() {
    let map = map(Some(&real_smap()), None, 1);
    assert_eq!(map.segments, [segment(0, 0x9fc00, Some(0)), segment(0x100000, 0x1ffda000, Some(0))]);
}

#[test]
fn without_a_firmware_map_the_segments_are_the_map() {
    let map = map(None, Some(PHYS_SEGS), 2);
    assert_eq!(map.source, Source::PhysSegs);
    assert_eq!(
        map.segments,
        [
            segment(0x1000, 0x9f000, Some(0)),
            segment(0x103000, 0x3cb7000, Some(0)),
            segment(0x10000000, 0x1f2ff000, Some(1)),
        ]
    );
}

#[test]
fn with_no_table_there_is_no_map() {
    assert_eq!(MemoryMap::from_tables(&Tables::default()), Err(MapError::NoTable));
}

#[test]
fn overlapping_and_empty_bios_entries_are_made_one() {
    let table = smap(&[(0x2000, 0x2000, 1), (0x1000, 0x2000, 1), (0x9000, 0, 1), (0x4000, 0x1000, 1)]);
    assert_eq!(map(Some(&table), None, 1).segments, [segment(0x1000, 0x5000, Some(0))]);
}

#[test]
fn a_bios_map_with_half_an_entry_or_a_wrapped_one_is_refused() {
    let mut table = real_smap();
    table.truncate(30);
    assert!(smap::parse(&table).is_err());
    assert!(smap::parse(&smap(&[(u64::MAX, 2, 1)])).is_err());
}

/// An EFI map with descriptors of 48 bytes, as firmware makes them.
fn efi(descriptors: &[(u32, u64, u64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((descriptors.len() as u64 * 48).to_le_bytes());
    bytes.extend(48u64.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend([0; 12]);
    for (kind, physical, pages) in descriptors {
        bytes.extend(kind.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(physical.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(pages.to_le_bytes());
        bytes.extend([0; 16]);
    }
    bytes
}

#[test]
fn the_efi_map_counts_loader_boot_services_and_free_memory_as_ram() {
    let table =
        efi(&[(7, 0, 0xa0), (4, 0x100000, 0x10), (1, 0x110000, 0x10), (11, 0x80000000, 0x100), (9, 0x120000, 1)]);
    let map = MemoryMap::from_tables(&Tables { efi_map: Some(&table), domains: Some(1), ..Tables::default() }).unwrap();
    assert_eq!(map.source, Source::EfiMap);
    assert_eq!(map.segments, [segment(0, 0xa0000, Some(0)), segment(0x100000, 0x120000, Some(0))]);
    assert_eq!(
        map.reserved.iter().map(|range| range.kind.as_str()).collect::<Vec<_>>(),
        ["device memory", "ACPI reclaimable"]
    );
}

#[test]
fn an_efi_map_that_lies_about_its_size_is_refused() {
    let good = efi(&[(7, 0, 0xa0)]);
    for (offset, value) in [(0, u64::MAX), (0, 49), (8, 0), (8, 39), (8 + 32, u64::MAX), (24 + 32, u64::MAX)] {
        let mut bad = good.clone();
        bad[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
        assert!(efi::parse(&bad).is_err(), "{value:#x} at {offset}");
    }
    for length in 1..good.len() {
        assert!(efi::parse(&good[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn damaged_segment_text_is_refused() {
    for text in
        ["SEGMENT 0:\n\nstart: 0x1000\n", "SEGMENT 0:\nstart: 0x2000\nend: 0x1000\n", "start: banana\n", "nonsense\n"]
    {
        assert!(phys_segs::parse(text).is_err(), "{text}");
    }
    assert_eq!(phys_segs::parse(""), Ok(Vec::new()));
}

#[test]
fn kernel_maps_are_read_with_and_without_a_cache_mode() {
    let text = "\nDirect map:\n0xfffff80000000000-0xfffff80040000000 rw-s- WB 1 0 0\n\nKernel map:\n\
                0xffffffff80200000-0xffffffff80e00000 r-xsg WB 0 6 0\n0xffffffc000000000-0xffffffc000201000 rw-s- 0 1 1\n";
    let maps = kernel_maps::parse(text).unwrap();
    assert_eq!(maps.len(), 3);
    assert_eq!(maps[0].region, "Direct map");
    assert_eq!((maps[1].permissions.as_str(), maps[1].cache.as_deref()), ("r-xsg", Some("WB")));
    assert_eq!((&maps[2].cache, maps[2].pages.as_slice()), (&None, [0, 1, 1].as_slice()));
    for bad in ["0x1000", "0x1000-0x2000", "0x1000-zz rw- WB 1", "0x1000-0x2000 rw- WB x"] {
        assert!(kernel_maps::parse(bad).is_err() || bad == "0x1000-0x2000", "{bad}");
    }
}

#[test]
fn ram_within_a_range_is_found_up_to_the_end_of_the_address_space() {
    let map = map(Some(&real_smap()), None, 1);
    assert_eq!(map.ram_within(0x9f000, 0x101000), [(0x9f000, 0x9fc00), (0x100000, 0x101000)]);
    assert_eq!(map.ram_within(0x20000000, 1 << 64), []);
}
