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
    MemoryMap::from_tables(&Tables { smap, efi_map: Some(&[]), phys_segs, domains: Some(domains), dump_avail: None })
        .unwrap()
}

#[test]
fn the_bios_map_gives_the_ram_and_the_segments_its_domains() {
    let map = map(Some(&real_smap()), Some(PHYS_SEGS), 2);
    assert_eq!(map.source, MapSource::Smap);
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
    assert_eq!(map.source, MapSource::PhysSegs);
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
fn without_a_firmware_map_the_kernels_dump_avail_is_the_ram_its_image_included() {
    let ram = [(0x1000, 0x9f000), (0x10_0000, 0x1f2f_f000)];
    let tables = Tables { phys_segs: Some(PHYS_SEGS), domains: Some(2), dump_avail: Some(&ram), ..Tables::default() };
    let map = MemoryMap::from_tables(&tables).unwrap();
    assert_eq!((map.source, map.source.name()), (MapSource::DumpAvail, "dump_avail"));
    assert_eq!(
        map.segments,
        [
            segment(0x1000, 0x9f000, Some(0)),
            segment(0x100000, 0x103000, None),
            segment(0x103000, 0x3cb7000, Some(0)),
            segment(0x3cb7000, 0x10000000, None),
            segment(0x10000000, 0x1f2ff000, Some(1)),
        ]
    );
    // The firmware's own word counts for more.
    let bios = Tables { smap: Some(&real_smap()), ..tables };
    assert_eq!(MemoryMap::from_tables(&bios).unwrap().source, MapSource::Smap);
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
    assert_eq!(map.source, MapSource::EfiMap);
    assert_eq!(map.segments, [segment(0, 0xa0000, Some(0)), segment(0x100000, 0x120000, Some(0))]);
    assert_eq!(
        map.reserved.iter().map(|range| range.kind.as_str()).collect::<Vec<_>>(),
        ["device memory", "ACPI reclaimable"]
    );
}

#[test]
fn an_efi_map_that_lies_about_its_size_is_refused() {
    let good = efi(&[(7, 0, 0xa0)]);
    for (offset, value) in [
        (0, u64::MAX),
        (0, 49),
        (0, 47),
        (8, 0),
        (8, 39),
        (8, 49),
        (8, u64::MAX),
        (8 + 32, u64::MAX),
        (24 + 32, u64::MAX),
    ] {
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
fn segments_that_overlap_are_no_memory_map() {
    let text = "SEGMENT 0:\nstart: 0x4000\nend: 0x6000\nSEGMENT 1:\nstart: 0x1000\nend: 0x4001\n";
    let tables = Tables { phys_segs: Some(text), ..Tables::default() };
    let error = MemoryMap::from_tables(&tables).unwrap_err().to_string();
    assert_eq!(error, "vm.phys_segs: segment 1 starts at 0x4000, before segment 0 ends");
    let apart = text.replace("0x4001", "0x4000");
    let tables = Tables { phys_segs: Some(&apart), ..Tables::default() };
    assert_eq!(MemoryMap::from_tables(&tables).unwrap().segments, [segment(0x1000, 0x6000, None)]);
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

/// What of these kernel maps may be read: segments, and what is left out with the reason's words.
type Decision = (Vec<(u64, u64)>, Vec<(u64, u64, String)>);

fn readable(text: &str, ram: &MemoryMap) -> Decision {
    readable_by(false, text, ram)
}

fn readable_by(page_tables: bool, text: &str, ram: &MemoryMap) -> Decision {
    let decided = kernel_maps::readable(&kernel_maps::parse(text).unwrap(), ram, page_tables);
    assert!(decided.segments.iter().all(|segment| segment.domain.is_none()));
    (
        decided.segments.iter().map(|segment| (segment.start, segment.end)).collect(),
        decided.skipped.into_iter().map(|range| (range.start, range.end, range.why.to_string())).collect(),
    )
}

fn skipped(start: u64, end: u64, why: &str) -> (u64, u64, String) {
    (start, end, why.to_owned())
}

/// What an amd64 kernel with KASAN prints, with 512 MiB of RAM.
const AMD64_MAPS: &str = "
Recursive map:
0xffff804020100000-0xffff804020101000 rw-s- WB 0 0 1

Large map:
0xffff808000000000-0xffff808040000000 rw-s- WB 1 0 0

KASAN shadow map:
0xfffff7ffc0000000-0xfffff7ffc0200000 rw-s- WB 0 1 0

Direct map:
0xfffff80000000000-0xfffff80000200000 rw-sg WB 0 1 0
0xfffff80000200000-0xfffff80001a00000 r--sg WB 0 12 0
0xfffff80001a00000-0xfffff800c0000000 rw-sg WB 2 499 0
0xfffff800c0000000-0xfffff800c0001000 rw-sg UC 0 0 1
0xfffff800c0001000-0xfffff80100000000 rw-sg WB 0 511 511

Kernel map:
0xfffffe0000000000-0xfffffe0000c00000 rw-sg WB 0 6 0
0xfffffe0000c00000-0xfffffe0000c01000 rw-sg UC 0 0 1
0xfffffe0000c01000-0xfffffe0000c02000 rw-sg U- 0 0 1
0xfffffe0000c02000-0xfffffe0000d02000 rw-sg WC 0 0 256
0xfffffe0000d02000-0xfffffe0000d03000 rw-sg ?? 0 0 1
0xfffffe0000d03000-0xfffffe0000d04000 rw-sg WT 0 0 1
0xfffffe0000d04000-0xfffffe0000d05000 rw-sg WP 0 0 1
0xfffffe0000d05000-0xfffffe0000d06000 --x-g WB 0 0 1
0xffffffff80000000-0xffffffff80200000 rw-sg WB 0 1 0
0xffffffff80200000-0xffffffff81400000 r-xsg WB 0 9 0
0xffffffff81400000-0xffffffff82000000 rw-sg WB 0 6 0
";

#[test]
fn of_amd64s_maps_the_ram_of_the_direct_map_and_the_cached_kernel_map_are_read() {
    let (segments, why) = readable(AMD64_MAPS, &map(Some(&real_smap()), Some(PHYS_SEGS), 2));
    assert_eq!(
        segments,
        [
            (0xffff_f800_0000_0000, 0xffff_f800_0009_fc00),
            (0xffff_f800_0010_0000, 0xffff_f800_1ffd_a000),
            (0xffff_fe00_0000_0000, 0xffff_fe00_00c0_0000),
            (0xffff_fe00_00d0_3000, 0xffff_fe00_00d0_5000),
            (0xffff_ffff_8000_0000, 0xffff_ffff_8009_fc00),
            (0xffff_ffff_8010_0000, 0xffff_ffff_8200_0000),
        ]
    );
    assert_eq!(
        why,
        [
            skipped(0xffff_8040_2010_0000, 0xffff_8040_2010_1000, "listed under 'Recursive map'"),
            skipped(0xffff_8080_0000_0000, 0xffff_8080_4000_0000, "listed under 'Large map'"),
            skipped(0xffff_f7ff_c000_0000, 0xffff_f7ff_c020_0000, "listed under 'KASAN shadow map'"),
            skipped(0xffff_f800_0009_fc00, 0xffff_f800_0010_0000, "not RAM"),
            skipped(0xffff_f800_1ffd_a000, 0xffff_f800_c000_0000, "not RAM"),
            skipped(0xffff_f800_c000_0000, 0xffff_f800_c000_1000, "mapped UC, like device registers"),
            skipped(0xffff_f800_c000_1000, 0xffff_f801_0000_0000, "not RAM"),
            skipped(0xffff_fe00_00c0_0000, 0xffff_fe00_00c0_1000, "mapped UC, like device registers"),
            skipped(0xffff_fe00_00c0_1000, 0xffff_fe00_00c0_2000, "mapped U-, like device registers"),
            skipped(0xffff_fe00_00c0_2000, 0xffff_fe00_00d0_2000, "mapped WC, like device registers"),
            skipped(0xffff_fe00_00d0_2000, 0xffff_fe00_00d0_3000, "mapped ??, like device registers"),
            skipped(0xffff_fe00_00d0_5000, 0xffff_fe00_00d0_6000, "not mapped for reading"),
            skipped(0xffff_ffff_8009_fc00, 0xffff_ffff_8010_0000, "not RAM"),
        ]
    );
}

#[test]
fn what_goes_to_the_end_of_the_address_space_is_not_joined_with_its_start() {
    let maps = "Large map:\n0x0-0x0 rw-s WB 0 0 1\n0x0-0x1000 rw-s WB 0 0 1\n";
    let (segments, why) = readable(maps, &ram_and_reserved(&[(0, 0x1000)], &[]));
    assert_eq!(segments, []);
    let all = skipped(0, 0, "listed under 'Large map'");
    assert_eq!(why, [all, skipped(0, 0x1000, "listed under 'Large map'")]);
}

#[test]
fn the_first_2_mib_of_physical_memory_are_cut_from_a_mapping_around_them() {
    let text = "Kernel map:\n0xffffffff7ff00000-0xffffffff80400000 rw-sg WB 0 2 256\n";
    let (segments, why) = readable(text, &map(Some(&real_smap()), None, 1));
    assert_eq!(
        segments,
        [(0xffff_ffff_7ff0_0000, 0xffff_ffff_8009_fc00), (0xffff_ffff_8010_0000, 0xffff_ffff_8040_0000)]
    );
    assert_eq!(why, [skipped(0xffff_ffff_8009_fc00, 0xffff_ffff_8010_0000, "not RAM")]);
}

#[test]
fn what_stands_under_no_heading_is_left_out() {
    let (segments, why) = readable("0x200000-0x400000 rw-u- WB 0 1 0\n", &map(Some(&real_smap()), None, 1));
    assert_eq!(segments, []);
    assert_eq!(why, [skipped(0x20_0000, 0x40_0000, "listed under no heading")]);
}

#[test]
fn the_last_page_of_the_address_space_is_left_out() {
    let ram = map(Some(&real_smap()), None, 1);
    let last = 0xffff_ffff_ffff_f000;
    let (segments, why) = readable("Kernel map:\n0xffffffffffe00000-0x0000000000000000 rw-sg WB 0 1 0\n", &ram);
    assert_eq!(segments, [(0xffff_ffff_ffe0_0000, last)]);
    assert_eq!(why, [skipped(last, 0, "the last page of the address space")]);
    let (segments, why) = readable("Kernel map:\n0xfffffffffffff000-0x0000000000000000 rw-sg WB 0 0 1\n", &ram);
    assert_eq!(segments, []);
    assert_eq!(why, [skipped(last, 0, "the last page of the address space")]);
    let (segments, why) = readable("Kernel map:\n0xffffffffffe00000-0x0000000000000000 rw-sg UC 0 1 0\n", &ram);
    assert_eq!(segments, []);
    assert_eq!(why, [skipped(0xffff_ffff_ffe0_0000, 0, "mapped UC, like device registers")]);
}

/// What an arm64 kernel with 1 GiB of RAM from 1 GiB on prints.
const ARM64_MAPS: &str = "
Kernel map:
0xffff000000000000-0xffff000000e00000 r-xXsg     WB 0 7 0 0
0xffff000000e00000-0xffff000001400000 rw--s-     WB 0 3 0 0
0xffff000040000000-0xffff000040001000 rw--s-    DEV 0 0 0 1
0xffff000040001000-0xffff000040011000 rw--s-     WB 0 0 1 0
0xffff007fffe00000-0xffff007fffe10000 rw--s- DEV-NP 0 0 0 16

Direct map:
0xffffa00000000000-0xffffa00038000000 rw--s-     WB 0 448 0 0
0xffffa00038000000-0xffffa00038010000 rw--s-     UC 0 0 0 16
0xffffa00038010000-0xffffa00040000000 rw--s-     WB 0 63 31 0
";

const ARM64_KERNEL: [(u64, u64); 2] =
    [(0xffff_0000_0000_0000, 0xffff_0000_0140_0000), (0xffff_0000_4000_1000, 0xffff_0000_4001_1000)];

/// A map of `(start, end)` of RAM and `(start, end, kind)` of the rest.
fn ram_and_reserved(ram: &[(u64, u64)], reserved: &[(u64, u64, &str)]) -> MemoryMap {
    MemoryMap {
        source: MapSource::EfiMap,
        segments: ram.iter().map(|&(start, end)| segment(start, end, Some(0))).collect(),
        reserved: reserved.iter().map(|&(start, end, kind)| Reserved { start, end, kind: kind.to_owned() }).collect(),
    }
}

#[test]
fn arm64s_direct_map_begins_at_the_gib_of_the_lowest_ram() {
    let ram = ram_and_reserved(
        &[(0x4000_0000, 0x7c00_0000), (0x7c10_0000, 0x8000_0000)],
        &[(0x900_0000, 0x900_1000, "device memory"), (0x7c00_0000, 0x7c10_0000, "runtime services data")],
    );
    let (segments, why) = readable(ARM64_MAPS, &ram);
    assert_eq!(segments[..2], ARM64_KERNEL);
    assert_eq!(
        segments[2..],
        [
            (0xffff_a000_0000_0000, 0xffff_a000_3800_0000),
            (0xffff_a000_3801_0000, 0xffff_a000_3c00_0000),
            (0xffff_a000_3c10_0000, 0xffff_a000_4000_0000),
        ]
    );
    assert_eq!(
        why,
        [
            skipped(0xffff_0000_4000_0000, 0xffff_0000_4000_1000, "mapped DEV, like device registers"),
            skipped(0xffff_007f_ffe0_0000, 0xffff_007f_ffe1_0000, "mapped DEV-NP, like device registers"),
            skipped(0xffff_a000_3800_0000, 0xffff_a000_3801_0000, "mapped UC, like device registers"),
            skipped(0xffff_a000_3c00_0000, 0xffff_a000_3c10_0000, "not RAM"),
        ]
    );
}

#[test]
fn arm64s_direct_map_may_begin_with_firmware_that_is_not_ram_for_the_kernel() {
    // The firmware lies in the GiB before the RAM's first.
    let text = "Direct map:\n0xffffa0003ff00000-0xffffa00060000000 rw--s- WB 0 257 0 0\n";
    let firmware = |kind| ram_and_reserved(&[(0x4000_0000, 0x6000_0000)], &[(0x3ff0_0000, 0x4000_0000, kind)]);
    let (segments, why) = readable(text, &firmware("runtime services code"));
    assert_eq!(segments, [(0xffff_a000_4000_0000, 0xffff_a000_6000_0000)]);
    assert_eq!(why, [skipped(0xffff_a000_3ff0_0000, 0xffff_a000_4000_0000, "not RAM")]);
    let (segments, _) = readable(text, &firmware("reserved"));
    assert_eq!(segments, [], "what arm64 does not map tells nothing");
}

#[test]
fn arm64s_direct_map_is_left_out_unless_it_maps_all_ram_in_one_way() {
    let unknown = "in the direct map, whose physical addresses are uncertain";
    for ram in [
        // More RAM than the direct map maps.
        ram_and_reserved(&[(0x4000_0000, 0x8001_0000)], &[]),
        // It would begin within the GiB, as the lowest RAM does.
        ram_and_reserved(&[(0x4020_0000, 0x6000_0000)], &[]),
        // Either of two GiB can be its first.
        ram_and_reserved(&[(0x4000_0000, 0x5000_0000)], &[(0x3000, 0x4000, "ACPI reclaimable")]),
        ram_and_reserved(&[], &[]),
    ] {
        let text = match ram.reserved.len() {
            0 => ARM64_MAPS.to_owned(),
            _ => "Direct map:\n0xffffa00000000000-0xffffa00080000000 rw--s- WB 2 0 0 0\n".to_owned(),
        };
        let (segments, why) = readable(&text, &ram);
        assert!(segments.iter().all(|(start, _)| *start < 0xffff_a000_0000_0000), "{ram:?}: {segments:x?}");
        assert!(why.iter().any(|(start, _, why)| *start == 0xffff_a000_0000_0000 && why == unknown), "{why:x?}");
    }
}

#[test]
fn an_older_arm64_kernel_rounds_the_direct_map_to_2_mib() {
    let text = "Direct map:\n0xfffffd0000000000-0xfffffd0020200000 rw-s  WB 0 257 0 0\n";
    let (segments, why) = readable(text, &ram_and_reserved(&[(0x4001_0000, 0x6000_1000)], &[]));
    assert_eq!(segments, [(0xffff_fd00_0001_0000, 0xffff_fd00_2000_1000)]);
    assert_eq!(
        why,
        [
            skipped(0xffff_fd00_0000_0000, 0xffff_fd00_0001_0000, "not RAM"),
            skipped(0xffff_fd00_2000_1000, 0xffff_fd00_2020_0000, "not RAM"),
        ]
    );
}

#[test]
fn riscvs_maps_do_not_tell_devices_from_ram_and_are_left_out() {
    let text = "\nKernel map:\n0xffffffc000000000-0xffffffc001200000 rwxs- 0 9 0\n\n\
                Direct map:\n0xffffffd000000000-0xffffffd040000000 rw-s- 1 0 0\n";
    let (segments, why) = readable(text, &ram_and_reserved(&[(0x8000_0000, 0xc000_0000)], &[]));
    assert_eq!(segments, []);
    let unknown = "the kernel does not list its cache mode";
    assert_eq!(
        why,
        [
            skipped(0xffff_ffc0_0000_0000, 0xffff_ffc0_0120_0000, unknown),
            skipped(0xffff_ffd0_0000_0000, 0xffff_ffd0_4000_0000, unknown),
        ]
    );
}

/// FreeBSD 15.1's, in QEMU's machine. A device can be mapped PMA.
const RISCV_15: &str = "\nKernel map:\n0xffffffc000000000-0xffffffc001200000 rwxsg PMA 0 9 0\n\
                        0xffffffc001200000-0xffffffc001201000 rw-sg IO  0 0 1\n\
                        0xffffffc001201000-0xffffffc001202000 rw-sg NC  0 0 1\n\
                        0xffffffc001202000-0xffffffc001203000 rw-sg ??? 0 0 1\n\
                        \nDirect map:\n0xffffffd000080000-0xffffffd040000000 rw-sg PMA 0 511 384\n";

#[test]
fn riscvs_maps_are_read_where_page_tables_lead_to_ram() {
    let ram = ram_and_reserved(&[(0x8008_0000, 0xc000_0000)], &[]);
    let devices = [("IO", 0), ("NC", 1), ("???", 2)].map(|(mode, page)| {
        let start = 0xffff_ffc0_0120_0000 + page * 0x1000;
        skipped(start, start + 0x1000, &format!("mapped {mode}, like device registers"))
    });
    let (segments, why) = readable_by(true, RISCV_15, &ram);
    let kernel = (0xffff_ffc0_0000_0000, 0xffff_ffc0_0120_0000);
    assert_eq!(segments, [kernel, (0xffff_ffd0_0008_0000, 0xffff_ffd0_4000_0000)]);
    assert_eq!(why, devices);

    // What the kernel maps nothing of is not certain to be in the direct map as the rest is.
    let (segments, _) = readable_by(true, RISCV_15, &ram_and_reserved(&[(0x8000_0000, 0xc000_0000)], &[]));
    assert_eq!(segments, [kernel]);

    let (segments, why) = readable(RISCV_15, &ram);
    assert_eq!(segments, []);
    let pma = "mapped PMA, so whether it is a device depends on its physical address";
    assert_eq!(why[0], skipped(kernel.0, kernel.1, pma));

    let older = RISCV_15.replace(" PMA", "").replace(" IO ", "").replace(" NC ", "").replace(" ???", "");
    assert_eq!(readable(&older, &ram).0, []);
    assert_eq!(readable_by(true, &older, &ram).0.len(), 2);
}
