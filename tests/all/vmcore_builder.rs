//! The builder of dumps in `vmcore-synth`: what it builds against what a real kernel wrote, where such
//! dumps stand beside the checkout, against other readers, and against the format's rules.

use crate::common::minidump::Minidump;
use memtool::livedump::trailer::check;
use object::Endianness as ObjectEndianness;
use object::read::elf::FileHeader;
use serde_json::Value;
use std::io::Read;
use vmcore_synth::arch::ARM_V4;
use vmcore_synth::device::text_device;
use vmcore_synth::kerneldump::{self, Kind};
use vmcore_synth::page_tables;
use vmcore_synth::{
    Arch, Compression, DirectMap, DumpDevice, ElfSpec, Endianness, KernelDumpHeader, Mapping, MinidumpSpec, elf,
    every_variant, field, key_block, live_dump, page_of, text_archive,
};

/// An integer of a built minidump's header.
fn header_value(spec: &MinidumpSpec, dump: &[u8], name: &str) -> u64 {
    let (_, offset, size) = field(&spec.header_fields(), name);
    spec.order.value(&dump[offset..offset + size])
}

#[test]
fn the_reader_of_amd64_minidumps_finds_in_a_built_one_what_was_put_in() {
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    let dump = Minidump::parse(spec.build());
    assert_eq!(dump.version, 3);
    assert_eq!(dump.kernel_base, spec.kernel_base);
    assert_eq!(dump.direct_map, (spec.direct_map.base, spec.direct_map.end));
    assert_eq!(dump.dump_avail, spec.dump_avail);
    assert_eq!(dump.message_buffer, spec.message_buffer);
    let pages = spec.pages();
    assert_eq!(dump.pages.len(), pages.len());
    for (physical, contents) in &pages {
        assert_eq!(dump.page(*physical).unwrap(), contents, "{physical:#x}");
    }
    let translations = spec.translations();
    assert!(translations.values().any(|page| page.superpage) && translations.values().any(|page| !page.superpage));
    for (address, expected) in &translations {
        let found = dump.translate(address + 0x123).unwrap_or_else(|| panic!("{address:#x} leads nowhere"));
        assert_eq!(
            (found.physical, found.writable, found.executable, found.superpage),
            (expected.physical + 0x123, expected.writable, expected.executable, expected.superpage),
            "{address:#x}"
        );
    }
    assert_eq!(dump.translate(spec.kernel_base), None);
}

#[test]
fn every_variant_is_laid_out_as_its_header_says() {
    let variants = every_variant();
    assert_eq!(variants.len(), 24, "{:?}", variants.iter().map(|variant| &variant.0).collect::<Vec<_>>());
    for (name, spec) in variants {
        let dump = spec.build();
        let fields = spec.header_fields();
        let value = |field: &str| header_value(&spec, &dump, field);
        assert_eq!(value("version"), u64::from(spec.version), "{name}");
        assert!(dump.starts_with(spec.arch.magic().as_bytes()), "{name}");
        let tables = if fields.iter().any(|field| field.0 == "ptesize") { "ptesize" } else { "pmapsize" };
        let has_array = fields.iter().any(|field| field.0 == "dumpavailsize");
        let round = |size: u64| size.next_multiple_of(spec.page_size);
        let array = if has_array { value("dumpavailsize") } else { 0 };
        let pages_at = [value("msgbufsize"), array, value("bitmapsize"), value(tables)].map(round).iter().sum::<u64>()
            + spec.page_size;

        let parts = spec.parts();
        assert_eq!(parts.pages.start as u64, pages_at, "{name}");
        assert_eq!(parts.pages.end, dump.len(), "{name}");
        assert_eq!(dump[parts.message_buffer.clone()], spec.message_buffer, "{name}");
        // As many bits as pages, and not all that could be.
        let bits: u32 = dump[parts.bitmap.clone()].iter().map(|byte| byte.count_ones()).sum();
        let pages = spec.pages();
        assert_eq!(bits as usize, pages.len(), "{name}");
        for (physical, contents) in &pages {
            let at = spec.offset_of(*physical).unwrap();
            assert_eq!(&dump[at..at + contents.len()], contents, "{name}: {physical:#x}");
        }
        // Nothing behind the header's fields.
        let (_, last, size) = *fields.last().unwrap();
        assert!(dump[last + size..usize::try_from(spec.page_size).unwrap()].iter().all(|byte| *byte == 0), "{name}");
    }
}

#[test]
fn header_fields_follow_one_another_in_every_version() {
    for version in 1..=4 {
        let mut end = 0;
        for (name, offset, size) in kerneldump::fields(version) {
            assert_eq!(*offset, end, "version {version}: {name}");
            end = offset + size;
        }
        assert_eq!(end, kerneldump::SIZE, "version {version}");
    }
    for arch in Arch::ALL {
        let mut end = 0;
        for (name, offset, size) in arch.fields() {
            // The alignment of u64.
            let expected = if *name == "startkernel" { end + 4 } else { end };
            assert_eq!(*offset, expected, "{arch:?}: {name}");
            end = offset + size;
        }
    }
}

#[test]
fn bits_count_pages_through_the_ranges_or_from_zero() {
    let with = MinidumpSpec {
        dump_avail: vec![(0x1000, 0x3400), (0x8000, 0x20_0000)],
        ..MinidumpSpec::example(Arch::Amd64, 3)
    };
    // The first range takes 3 bits, one of them for a part of a page.
    assert_eq!([0x1000, 0x3000, 0x8000, 0x9000].map(|page| with.bit(page)), [0, 2, 3, 4]);
    let without = MinidumpSpec { version: 2, ..with };
    assert_eq!([0x1000, 0x3000, 0x8000, 0x9000].map(|page| without.bit(page)), [1, 3, 8, 9]);
    assert_eq!([0, 7, 8, 63, 64].map(|bit| without.byte_of_bit(bit)), [(0, 1), (0, 0x80), (1, 1), (7, 0x80), (8, 1)]);
    let big = MinidumpSpec::example(Arch::Powerpc64, 2);
    assert_eq!([0, 7, 8, 63, 64].map(|bit| big.byte_of_bit(bit)), [(7, 1), (7, 0x80), (6, 1), (0, 0x80), (15, 1)]);
}

/// The entry for an address in the page tables of a dump with last-level entries.
fn last_level_entry(spec: &MinidumpSpec, address: u64, size: usize) -> u64 {
    let table = &spec.build()[spec.parts().page_tables];
    let index = usize::try_from((address - spec.kernel_base) / spec.page_size).unwrap();
    Endianness::Little.value(&table[index * size..][..size])
}

#[test]
fn last_level_entries_are_those_of_the_architecture() {
    // The mapping of page 2 is writable, that of page 8 executable, and the last one a superpage.
    let entries = |spec: MinidumpSpec, size: usize| {
        let superpage = spec.mappings.last().unwrap().address + 3 * spec.page_size;
        let page = |index: u64| spec.kernel_base + index * spec.page_size;
        [page(2), page(8), superpage].map(|address| last_level_entry(&spec, address, size))
    };
    assert_eq!(
        entries(MinidumpSpec::example(Arch::Amd64, 1), 8),
        [0x8000_0000_0002_4063, 0x2_b061, 0x20_3063],
        "amd64: valid 1, writable 2, accessed 0x20, modified 0x40, no execution 1 << 63"
    );
    assert_eq!(
        entries(MinidumpSpec::example(Arch::Arm64, 3), 8),
        [0x0060_0000_4002_4703, 0x4002_b783, 0x4020_3703],
        "arm64: page 3, read-only 0x80, shareable 0x300, accessed 0x400, no execution 3 << 53"
    );
    assert_eq!(
        entries(MinidumpSpec::arm64_16k(3), 8),
        [0x0060_0000_4009_0703, 0x400a_c783, 0x4200_c703],
        "arm64 with pages of 16 KiB"
    );
    assert_eq!(
        entries(MinidumpSpec::example(Arch::Riscv, 2), 8),
        [0x8_0024 << 10 | 0xc7, 0x8_002b << 10 | 0x4b, 0x8_0203 << 10 | 0xc7],
        "riscv: valid 1, readable 2, writable 4, executable 8, accessed 0x40, dirty 0x80"
    );
    assert_eq!(entries(MinidumpSpec::example(Arch::I386, 2), 4), [0x2_4063, 0x2_b061, 0x40_3063]);
    assert_eq!(entries(MinidumpSpec::i386_pae(2), 8), [0x8000_0000_0002_4063, 0x2_b061, 0x20_3063]);
    assert_eq!(
        entries(MinidumpSpec::arm(2, 2), 4),
        [0x1002_4013, 0x1002_b292, 0x1010_3013],
        "arm: page 2, no execution 1, accessed 0x10, read-only 0x80 and 0x200"
    );
    assert_eq!(
        entries(MinidumpSpec::arm(1, ARM_V4), 4),
        [0x1002_4552, 0x1002_b002, 0x1008_0551],
        "arm's old format: small page 2, large page 1, with the same entry in all slots"
    );
}

#[test]
fn the_library_takes_a_built_header_of_version_4_and_no_other() {
    let header = KernelDumpHeader::example(Arch::Arm64, 4, 0x1234_5000);
    let parsed = vmcore::kerneldump::Header::parse(header.build().as_slice().try_into().unwrap()).unwrap();
    assert_eq!(parsed.architecture, "aarch64");
    assert_eq!(parsed.hostname.text(), header.hostname);
    assert_eq!(parsed.dump_length, 0x1234_5000);
    for version in 1..=4 {
        let bytes = KernelDumpHeader { version, ..header.clone() }.build();
        let words = bytes.chunks_exact(4).fold(0, |all, word| all ^ u32::from_be_bytes(word.try_into().unwrap()));
        assert_eq!(words, 0, "version {version}");
        let end = bytes.windows(10).position(|window| window == b"page fault").unwrap();
        assert_eq!(end, field(kerneldump::fields(version), "panicstring").1, "version {version}");
    }
}

#[test]
fn a_built_live_dump_passes_the_check_compressed_or_not() {
    let minidump = MinidumpSpec::example(Arch::Amd64, 3).build();
    for (compression, expected) in [
        (Compression::None, vmcore::kerneldump::Compression::None),
        (Compression::Gzip, vmcore::kerneldump::Compression::Gzip),
        (Compression::Zstd, vmcore::kerneldump::Compression::Zstd),
    ] {
        let file = live_dump(Arch::Amd64, &minidump, compression, 4096);
        let trailer = file[file.len() - 512..].try_into().unwrap();
        let header = vmcore::kerneldump::Header::parse(trailer).unwrap();
        check(&header, file.len() as u64, "amd64", expected).unwrap();
        let data = &file[..usize::try_from(header.dump_length).unwrap()];
        let mut plain = Vec::new();
        match compression {
            Compression::None => plain.extend(data),
            Compression::Gzip => drop(flate2::read::GzDecoder::new(data).read_to_end(&mut plain).unwrap()),
            Compression::Zstd => plain = zstd::decode_all(data).unwrap(),
        }
        assert_eq!(plain, minidump, "{compression:?}");
    }
}

/// Type, virtual and physical address, and contents.
type Segment = (u32, u64, u64, Vec<u8>);

#[test]
fn a_full_dump_is_an_elf_core_of_its_architecture() {
    fn segments<H: FileHeader<Endian = ObjectEndianness>>(bytes: &[u8]) -> (u16, Vec<Segment>) {
        use object::read::elf::ProgramHeader;
        let header = H::parse(bytes).unwrap();
        let endian = header.endian().unwrap();
        assert_eq!(header.e_type(endian), object::elf::ET_CORE);
        let segments = header.program_headers(endian, bytes).unwrap();
        let segment = |segment: &H::ProgramHeader| {
            let data = segment.data(endian, bytes).unwrap().to_vec();
            (segment.p_type(endian).0, segment.p_vaddr(endian).into(), segment.p_paddr(endian).into(), data)
        };
        (header.e_machine(endian).0, segments.iter().map(segment).collect())
    }
    for arch in Arch::ALL {
        let spec = ElfSpec::example(arch);
        let bytes = spec.build();
        let (machine, found) = if arch.is_32_bit() {
            segments::<object::elf::FileHeader32<ObjectEndianness>>(&bytes)
        } else {
            segments::<object::elf::FileHeader64<ObjectEndianness>>(&bytes)
        };
        assert_eq!(u64::from(machine), elf::machine(arch), "{arch:?}");
        let loaded: Vec<_> = found.iter().filter(|segment| segment.0 == 1).cloned().collect();
        let address = |physical: u64| if arch == Arch::Powerpc64 { u64::MAX } else { physical };
        let expected: Vec<_> =
            spec.segments.iter().map(|(start, data)| (1, address(*start), *start, data.clone())).collect();
        assert_eq!(loaded, expected, "{arch:?}");
        assert_eq!(found.len() - loaded.len(), usize::from(matches!(arch, Arch::Arm | Arch::Arm64)), "{arch:?}");
    }
}

#[test]
fn a_dump_device_has_its_parts_before_the_last_sector() {
    let dump = MinidumpSpec::example(Arch::Amd64, 3).build();
    let mut compressed = Vec::new();
    for (sector, key, compression, version) in [
        (512, vec![], Compression::None, 4),
        (4096, vec![], Compression::None, 1),
        (512, key_block([7; 32], &[9; 256]), Compression::None, 2),
        (4096, key_block([7; 32], &[9; 256]), Compression::Zstd, 3),
        (512, vec![], Compression::Gzip, 4),
    ] {
        let header = KernelDumpHeader { compression, ..KernelDumpHeader::example(Arch::Amd64, version, 0) };
        let device = DumpDevice { key, ..DumpDevice::example(header, sector, &dump) };
        let parts = device.parts();
        let bytes = device.build();
        assert_eq!(bytes.len() as u64, device.size);
        let at = |range: &std::ops::Range<u64>| &bytes[range.start as usize..range.end as usize];
        assert_eq!(at(&parts.first_header), at(&parts.last_header));
        assert_eq!(parts.last_header.start, device.size - sector);
        assert_eq!(parts.key.start - parts.first_header.start, sector);
        assert!(at(&parts.key).starts_with(&device.key));
        assert_eq!(at(&parts.data), device.data);
        let extent = device.header().extent;
        assert_eq!(extent, dump.len() as u64);
        assert_eq!(parts.data.start, device.size - sector - extent);
        compressed.push(device.header().dump_length < extent);
    }
    assert_eq!(compressed, [false, false, false, true, true]);
    // What would not fit uncompressed gets all but the first 64 KiB.
    let header = KernelDumpHeader { compression: Compression::Zstd, ..KernelDumpHeader::example(Arch::Amd64, 4, 0) };
    let device = DumpDevice { size: 256 << 10, ..DumpDevice::example(header, 512, &vec![0; 1 << 20]) };
    assert_eq!(device.parts().first_header.start, 64 << 10);
}

#[test]
fn a_text_dump_is_an_archive_written_backwards() {
    let long = vec![b'x'; 700];
    let files: &[(&str, &[u8])] = &[("ddb.txt", b"db> bt\n"), ("msgbuf.txt", &long), ("panic.txt", b"page fault")];
    let device = text_device(Arch::Amd64, 4, files);
    assert_eq!(device.header().kind, Kind::Text);
    let archive: Vec<u8> = device.data.chunks_exact(512).rev().flatten().copied().collect();
    assert_eq!(archive, text_archive(files));
    let directory = crate::common::directory();
    let file = directory.path().join("textdump.tar");
    std::fs::write(&file, &archive).unwrap();
    let tar = std::process::Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(directory.path()).output().unwrap();
    assert!(tar.status.success(), "{tar:?}");
    for (name, contents) in files {
        assert_eq!(std::fs::read(directory.path().join(name)).unwrap(), *contents, "{name}");
    }
}

/// A header with the same contents, by its fields' offsets alone.
fn rebuilt(header: &[u8]) -> KernelDumpHeader {
    let fields = kerneldump::fields(4);
    let bytes = |name| {
        let (_, offset, size) = field(fields, name);
        &header[offset..offset + size]
    };
    let text = |name| String::from_utf8(bytes(name).split(|byte| *byte == 0).next().unwrap().to_vec()).unwrap();
    let value = |name| Endianness::Big.value(bytes(name));
    assert_eq!(value("compression"), 0);
    KernelDumpHeader {
        kind: Kind::Kernel,
        architecture: text("architecture"),
        version: value("version").try_into().unwrap(),
        architecture_version: value("architectureversion").try_into().unwrap(),
        dump_length: value("dumplength"),
        dump_time: value("dumptime"),
        key_size: value("dumpkeysize").try_into().unwrap(),
        block_size: value("blocksize").try_into().unwrap(),
        hostname: text("hostname"),
        version_string: text("versionstring"),
        panic_string: text("panicstring"),
        compression: Compression::None,
        extent: value("dumpextent"),
    }
}

/// The description of a dump that a real kernel wrote, without the contents of pages.
fn description(real: &[u8], dump: &Minidump, fact: impl Fn(&str) -> u64) -> MinidumpSpec {
    let directories = words(&real[(fact("data_offset") - fact("pmapsize")) as usize..fact("data_offset") as usize]);
    let mut page_table_pages = Vec::new();
    let mut mappings = Vec::new();
    for slot in dump.mapped_superpage_slots() {
        let directory_entry = directories[((slot - dump.kernel_base) >> 21) as usize];
        let superpage = directory_entry & 0x80 != 0;
        let length = if superpage { 2 << 20 } else { 4096 };
        let before = mappings.len();
        for address in (slot..slot + (2 << 20)).step_by(length) {
            let Some(page) = dump.translate(address) else { continue };
            mappings.push(Mapping {
                address,
                physical: page.physical,
                length: length as u64,
                writable: page.writable,
                executable: page.executable,
                superpage,
            });
        }
        // An empty table leaves no trace in the mappings.
        if !superpage && mappings.len() > before {
            page_table_pages.push(directory_entry & FRAME);
        }
    }
    MinidumpSpec {
        message_buffer: real[4096..4096 + fact("msgbufsize") as usize].to_vec(),
        dump_avail: dump.dump_avail.clone(),
        bitmap_size: Some(fact("bitmapsize")),
        pages: dump.pages.keys().map(|physical| (*physical, Vec::new())).collect(),
        kernel_base: dump.kernel_base,
        kernel_end: dump.kernel_base + fact("pmapsize") / 4096 * (1 << 30),
        mappings,
        page_table_pages,
        direct_map: DirectMap { base: dump.direct_map.0, end: dump.direct_map.1, physical: 0 },
        ..MinidumpSpec::example(Arch::Amd64, 3)
    }
}

/// The frame in a page-table entry of amd64.
const FRAME: u64 = 0x000f_ffff_ffff_f000;

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks_exact(8).map(|word| Endianness::Little.value(word)).collect()
}

/// Whether two entries of amd64 mean the same, leaving aside accessed, modified, global and memory types.
#[track_caller]
fn assert_same_entry(built: u64, real: u64, superpage: u64) {
    let (valid, writable, no_execute) = (1, 2, 1 << 63);
    let counts = if real & valid == 0 { valid } else { FRAME | no_execute | writable | valid | superpage };
    assert_eq!(built & counts, real & counts, "built {built:#x}, real {real:#x}");
}

#[test]
fn a_live_dump_of_a_real_kernel_can_be_built_again() {
    let Some(folder) = crate::common::real_dumps() else { return };
    let facts: Value = serde_json::from_slice(&std::fs::read(folder.join("facts.json")).unwrap()).unwrap();
    for name in ["live-complete.mdmp", "live-pages-lost.mdmp"] {
        let file = std::fs::File::open(folder.join(format!("{name}.zst"))).unwrap();
        let mut real = zstd::decode_all(file).unwrap();
        let trailer = real.split_off(real.len() - kerneldump::SIZE);
        assert_eq!(rebuilt(&trailer).build(), trailer, "{name}");

        let dump = Minidump::parse(real.clone());
        let spec = description(&real, &dump, |fact| facts[name][fact].as_u64().unwrap());
        let parts = spec.parts();
        assert_eq!(spec.header(), real[..4096], "{name}");
        assert_eq!(spec.dump_avail_array(), real[parts.dump_avail], "{name}");
        assert!(spec.bitmap() == real[parts.bitmap], "{name}: the bitmaps differ");
        assert_eq!(parts.pages.end, real.len(), "{name}");

        let (directories, tables) = page_tables::build(&spec);
        for (built, real) in words(&directories).into_iter().zip(words(&real[parts.page_tables])) {
            let table = dump.page(real & FRAME).filter(|_| real & 0x81 == 1);
            if table.is_some_and(|table| words(table).iter().all(|entry| entry & 1 == 0)) {
                assert_eq!(built, 0, "{name}: a table that the kernel keeps ready");
            } else {
                assert_same_entry(built, real, 0x80);
            }
        }
        assert!(tables.len() > 4 && spec.mappings.iter().any(|mapping| mapping.superpage), "{name}");
        for (table, contents) in tables {
            for (built, real) in words(&contents).into_iter().zip(words(dump.page(table).unwrap())) {
                assert_same_entry(built, real, 0);
            }
        }
    }
}

#[test]
fn a_dump_device_of_a_real_panic_has_its_parts_where_the_builder_puts_them() {
    let Some(folder) = crate::common::real_dumps() else { return };
    let facts: Value = serde_json::from_slice(&std::fs::read(folder.join("facts.json")).unwrap()).unwrap();
    let facts = &facts["panic-disk.img"];
    let (size, dump_at) = (facts["file_size"].as_u64().unwrap(), facts["minidump_offset"].as_u64().unwrap());
    let mut image = zstd::Decoder::new(std::fs::File::open(folder.join("panic-disk.img.zst")).unwrap()).unwrap();
    image.window_log_max(27).unwrap();
    let mut read = |from: u64, to: u64, length: usize| {
        std::io::copy(&mut (&mut image).take(to - from), &mut std::io::sink()).unwrap();
        let mut bytes = vec![0; length];
        image.read_exact(&mut bytes).unwrap();
        bytes
    };
    let first = read(0, dump_at - 512, 512 + 4096);
    let last = read(dump_at + 4096, size - 512, 512);
    assert_eq!(first[..512], last);
    assert!(first[512..].starts_with(Arch::Amd64.magic().as_bytes()));

    let header = rebuilt(&last);
    assert_eq!(header.build(), last);
    // The data itself does not matter here, only how long it is.
    let device = DumpDevice {
        size,
        sector: 512,
        key: Vec::new(),
        data: vec![0; usize::try_from(header.dump_length).unwrap()],
        uncompressed: header.dump_length,
        header,
    };
    assert_eq!(device.header().build(), last);
    let parts = device.parts();
    assert_eq!((parts.first_header.start, parts.data.start), (dump_at - 512, dump_at));
    assert_eq!(parts.last_header, size - 512..size);
}

#[test]
fn pages_tell_their_address() {
    assert_ne!(page_of(0, 4096), page_of(4096, 4096));
    assert_eq!(page_of(0x2000, 4096)[..8], (0x2000_u64 ^ 0x5a5a_0000_0000_a5a5).to_le_bytes());
}
