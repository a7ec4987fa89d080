//! `memtool inspect`: every dump that FreeBSD writes is understood, and no damage goes unnoticed.

use crate::common::{command, directory, schema, text, write_file};
use memtool::output_file::scratch;
use proptest::prelude::*;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::Output;
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::{Content, Depth, DumpedMemory, Inspection, inspect};
use vmcore::memory::{Memory, ReadError};
use vmcore::progress::Progress;
use vmcore::units::utc_of_seconds;
use vmcore_synth::device::{DumpDevice, TEXT_BLOCK, key_block, live_dump, text_archive, text_device};
use vmcore_synth::{
    self as synth, Arch, Compression, ElfSpec, Endianness, KernelDumpHeader, MinidumpSpec, every_variant, kerneldump,
};

fn hex(address: u64) -> String {
    format!("{address:#x}")
}

/// Runs the command on a file with these bytes.
fn run(bytes: &[u8], options: &[&str]) -> Output {
    let directory = directory();
    let file = directory.path().join("dump");
    std::fs::write(&file, bytes).unwrap();
    command().arg("inspect").args(options).arg(&file).output().unwrap()
}

/// The JSON object of a dump that is whole.
fn whole(name: &str, bytes: &[u8]) -> Value {
    let output = run(bytes, &["--json", "--verify"]);
    let found: Value = schema::document(&output.stdout);
    assert_eq!(found["damage"], Value::Array(Vec::new()), "{name}");
    assert!(output.status.success(), "{name}");
    found
}

/// What the library finds, which is faster.
fn look(bytes: Vec<u8>) -> Inspection {
    inspect(&ByteSource::from_bytes(bytes), Depth::Full, &Progress::default()).unwrap()
}

/// Compares everything that is said of a minidump with what it was built from.
#[track_caller]
fn compare(name: &str, dump: &Value, spec: &MinidumpSpec) {
    assert_eq!(dump["kind"], "minidump", "{name}");
    assert_eq!(dump["architecture"], spec.arch.name(), "{name}");
    assert_eq!(dump["version"], spec.version, "{name}");
    assert_eq!(dump["page_size"], spec.page_size, "{name}");
    assert_eq!(dump["byte_order"], if spec.order == Endianness::Big { "big" } else { "little" }, "{name}");
    let (start, end) = spec.kernel_image;
    let image = serde_json::json!({"start": hex(start), "end": hex(end), "size": end - start});
    let is_powerpc = spec.arch == Arch::Powerpc64;
    assert_eq!(dump["kernel_image"], if is_powerpc { image } else { Value::Null }, "{name}");
    assert_eq!(dump["hw_direct_map"], if is_powerpc { true.into() } else { Value::Null }, "{name}");
    assert_eq!(dump["kernel_base"], hex(spec.kernel_base), "{name}");
    let map = spec.direct_map;
    if map.end > 0 {
        let expected = serde_json::json!({"start": hex(map.base), "end": hex(map.end), "size": map.end - map.base, "paddr": hex(map.physical)});
        assert_eq!(dump["direct_map"], expected, "{name}");
    } else {
        assert_eq!(dump["direct_map"], Value::Null, "{name}");
    }
    let parts = spec.parts();
    assert_eq!(dump["message_buffer_size"], parts.message_buffer.len(), "{name}");
    assert_eq!(dump["bitmap_size"], parts.bitmap.len(), "{name}");
    assert_eq!(dump["page_tables_size"], parts.page_tables.len(), "{name}");
    let pages = spec.pages();
    assert_eq!(dump["page_count"], pages.len(), "{name}");
    let mut segments = Vec::new();
    for (start, end) in spec.dump_avail.iter().filter(|_| spec.has_dump_avail()) {
        let (first, last) = (start / spec.page_size * spec.page_size, end.next_multiple_of(spec.page_size));
        let count = pages.range(first..last).count();
        let of = (last - first) / spec.page_size;
        segments.push(serde_json::json!({"start": hex(*start), "end": hex(*end), "size": end - start, "page_count": count, "total_page_count": of}));
    }
    assert_eq!(dump["segments"], Value::Array(segments), "{name}");

    if spec.arch == Arch::Powerpc64 {
        assert_eq!(dump["page_tables"], Value::Null, "{name}");
        return;
    }
    // Every page of the mappings, by whether it is memory, and in the dump.
    let bits = spec.bitmap().len() as u64 * 8;
    let is_memory = |physical: u64| match spec.has_dump_avail() {
        true => spec.dump_avail.iter().any(|(start, end)| {
            (start / spec.page_size * spec.page_size..end.next_multiple_of(spec.page_size)).contains(&physical)
        }),
        false => physical / spec.page_size < bits,
    };
    let translations: Vec<u64> = spec.translations().values().map(|page| page.physical).collect();
    let (memory, devices): (Vec<u64>, Vec<u64>) = translations.into_iter().partition(|physical| is_memory(*physical));
    let tables = &dump["page_tables"];
    assert_eq!(tables["mapped_count"], memory.len(), "{name}");
    assert_eq!(tables["outside_count"], devices.len(), "{name}");
    assert_eq!(
        tables["missing_count"],
        memory.iter().filter(|physical| !pages.contains_key(physical)).count(),
        "{name}"
    );
    assert_eq!(tables["missing_table_count"], 0, "{name}");
    let reached = |page: &u64| memory.contains(page) || spec.page_table_pages.contains(page);
    assert_eq!(tables["unmapped_count"], pages.keys().filter(|page| !reached(page)).count(), "{name}");
}

#[test]
fn only_what_has_a_direct_map_is_said_to_have_pages_in_it_alone() {
    for (arch, words) in [
        (Arch::Amd64, "pages, reachable through the direct map only"),
        (Arch::Arm, "pages, reachable through no mapping"),
        (Arch::I386, "pages, reachable through no mapping"),
    ] {
        let mut spec = MinidumpSpec::example(arch, arch.newest());
        let said = |spec: &MinidumpSpec| {
            let output = run(&spec.build(), &["--verify"]);
            assert!(output.status.success(), "{output:?}");
            let facts = String::from_utf8(output.stdout).unwrap();
            facts.lines().find(|line| line.starts_with("unmapped")).map(str::to_owned)
        };
        let line = said(&spec).unwrap();
        assert!(line.ends_with(words), "{line}");
        // Without any such page.
        let mapped: Vec<u64> = spec.translations().values().map(|page| page.physical).collect();
        spec.pages.retain(|page, _| mapped.contains(page));
        assert_eq!(said(&spec).is_some(), arch == Arch::Amd64, "{arch:?}");
    }
}

#[test]
fn every_minidump_is_understood_plain_and_compressed() {
    for (name, spec) in every_variant() {
        let plain = spec.build();
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let found = whole(&name, &compression.compress(&plain));
            assert_eq!((&found["place"], &found["header"]), (&"file".into(), &Value::Null));
            assert_eq!(found["uncompressed_size"], plain.len(), "{name}");
            compare(&name, &found["dump"], &spec);
        }
    }
}

#[test]
fn powerpc64_is_understood_in_either_byte_order() {
    for order in [Endianness::Little, Endianness::Big] {
        let spec = MinidumpSpec { order, ..MinidumpSpec::powerpc64(2, synth::arch::MMU_RADIX) };
        let found = whole("powerpc64", &spec.build());
        compare("powerpc64", &found["dump"], &spec);
        assert_eq!(found["dump"]["mmu"], "mmu_radix");
    }
}

#[test]
fn a_live_dumps_header_is_told_from_the_dump() {
    for (name, spec) in every_variant() {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let found = whole(&name, &live_dump(spec.arch, &spec.build(), compression, spec.page_size));
            assert_eq!(found["place"], "live-dump", "{name}");
            assert_eq!(found["header"]["kind"], "kernel-dump");
            compare(&name, &found["dump"], &spec);
        }
    }
}

#[test]
fn a_dump_device_is_understood_with_every_header() {
    for sector in [512, 4096] {
        for version in 1..=4 {
            let spec = MinidumpSpec::example(Arch::Amd64, 3);
            let dump = spec.build();
            let mut header = KernelDumpHeader::example(Arch::Amd64, version, dump.len() as u64);
            let compressions = [Compression::None, Compression::Gzip, Compression::Zstd];
            for compression in compressions.into_iter().take(if version < 3 { 1 } else { 3 }) {
                header.compression = compression;
                let device = DumpDevice::example(header.clone(), sector, &dump);
                let name = format!("version {version}, {compression:?}, sectors of {sector}");
                let found = whole(&name, &device.build());
                assert_eq!((&found["place"], &found["sector_size"]), (&"device".into(), &sector.into()), "{name}");
                let parts = device.parts();
                assert_eq!(
                    (&found["file_offset"], &found["size"]),
                    (&parts.data.start.into(), &(parts.data.end - parts.data.start).into()),
                    "{name}"
                );
                let said = &found["header"];
                assert_eq!(said["version"], version, "{name}");
                assert_eq!(said["hostname"], *header.hostname, "{name}");
                assert_eq!(said["kernel_version"], header.version_string.trim_end(), "{name}");
                assert_eq!(said["panic"], *header.panic_string, "{name}");
                assert_eq!(said["dumped_at"], utc_of_seconds(header.dump_time).unwrap(), "{name}");
                assert_eq!(said["size"], parts.data.end - parts.data.start, "{name}");
                compare(&name, &found["dump"], &spec);
            }
        }
    }
}

#[test]
fn a_compressed_image_of_a_dump_device_is_understood_as_the_device_is() {
    let spec = MinidumpSpec::example(Arch::Arm64, 3);
    for sector in [512, 4096] {
        for inner in [Compression::None, Compression::Gzip] {
            let mut header = KernelDumpHeader::example(Arch::Arm64, 4, spec.build().len() as u64);
            header.compression = inner;
            let device = DumpDevice::example(header, sector, &spec.build()).build();
            let plain = whole("device", &device);
            assert_eq!(plain["packed"], "none");
            for (outer, name) in [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd")] {
                let mut found = whole(name, &outer.compress(&device));
                assert_eq!(found["packed"], name);
                (found["packed"], found["input"]) = (plain["packed"].clone(), plain["input"].clone());
                assert_eq!(found, plain, "{name}, {inner:?}, sectors of {sector}");
            }
        }
    }
    // Damage in the stream is told, too.
    let device = DumpDevice::example(KernelDumpHeader::example(Arch::Arm64, 4, 0), 512, &spec.build()).build();
    let gzip = Compression::Gzip.compress(&device);
    let output = run(&gzip[..gzip.len() - 9], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("gzip stream is damaged"));
}

/// Pages that were swapped out before the dump was written may look like anything.
#[test]
fn a_device_that_begins_as_another_dump_is_still_a_device() {
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    let other = MinidumpSpec::example(Arch::Riscv, 2).build();
    for begins in
        [&other[..4096], &ElfSpec::example(Arch::Arm64).build()[..512], &[0x28, 0xb5, 0x2f, 0xfd], b"\xfd7zXZ\0"]
    {
        let header = KernelDumpHeader::example(Arch::Amd64, 4, spec.build().len() as u64);
        let device = DumpDevice::example(header, 512, &spec.build());
        let mut bytes = device.build();
        assert!(device.parts().first_header.start as usize >= begins.len());
        bytes[..begins.len()].copy_from_slice(begins);
        let found = whole("device", &bytes);
        assert_eq!(found["place"], "device", "{begins:x?}");
        compare("device", &found["dump"], &spec);
    }
}

/// A frame that decompressors pass over.
fn skippable(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[0x50 | number, 0x2a, 0x4d, 0x18][..], &(bytes.len() as u32).to_le_bytes(), bytes].concat()
}

#[test]
fn streams_of_several_frames_and_members_are_read_to_their_end() {
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    let dump = spec.build();
    let parts: Vec<&[u8]> = dump.chunks(dump.len() / 3).collect();
    let each = |how: Compression| parts.iter().map(|part| how.compress(part)).collect::<Vec<_>>();
    // pzstd puts the size of each frame into one before it.
    let pzstd = each(Compression::Zstd)
        .into_iter()
        .flat_map(|frame| [skippable(0, &(frame.len() as u32).to_le_bytes()), frame].concat());
    let mut long = skippable(15, &crate::common::noise(100_000));
    long.extend(skippable(3, b""));
    long.extend(Compression::Zstd.compress(&dump));
    long.extend(skippable(1, b"behind"));
    let streams = [
        ("frames", each(Compression::Zstd).concat()),
        ("members", each(Compression::Gzip).concat()),
        ("pzstd", pzstd.collect()),
        ("skippable", long),
        ("gzip and zeros", [Compression::Gzip.compress(&dump), vec![0; 5000]].concat()),
        ("gzip and a zero", [Compression::Gzip.compress(&dump), vec![0]].concat()),
        ("members and zeros", [each(Compression::Gzip).concat(), vec![0; 70_000]].concat()),
    ];
    for (name, stream) in streams {
        let found = whole(name, &stream);
        assert_eq!(
            (&found["uncompressed_size"], &found["warnings"]),
            (&dump.len().into(), &serde_json::json!([])),
            "{name}"
        );
        compare(name, &found["dump"], &spec);
        compare_memory(name, ByteSource::from_bytes(stream), &spec);
    }
    // Members may be larger than what is read at once, and end anywhere in it.
    for cut in [1, 2, 3, 4, 5] {
        let stream = [Compression::Gzip.compress(&dump[..cut]), Compression::Gzip.compress(&dump[cut..])].concat();
        let mut padded = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 3];
        // A header whose extra field fills the buffer up to the last byte of the member.
        let extra = 8192 - stream.len() % 8192 + cut;
        padded.extend(u16::try_from(extra).unwrap().to_le_bytes());
        padded.extend(vec![0; extra]);
        padded.extend(&Compression::Gzip.compress(b"")[10..]);
        padded.extend(stream);
        compare("members", &whole("members", &padded)["dump"], &spec);
    }
}

/// gzip(1) leaves out what is behind the last member, and warns.
#[test]
fn what_is_behind_a_gzip_stream_is_left_out_and_told() {
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    for behind in [&b"x"[..], b"garbage", b"\0\0\x1f\x8b\x08", &[1; 100_000]] {
        let found = whole("garbage", &[Compression::Gzip.compress(&spec.build()), behind.to_vec()].concat());
        let warning = format!(
            "data after the end of the gzip stream is ignored: {}",
            if behind.len() == 1 { "1 byte".to_owned() } else { format!("{} bytes", behind.len()) }
        );
        let warnings = found["warnings"].as_array().unwrap();
        assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().ends_with(&warning), "{warnings:?}");
        compare("garbage", &found["dump"], &spec);
    }
    for behind in [&b"\x1f\x8b\x08"[..], b"\x1f\x8b\x08\0\0\0\0\0\0\0"] {
        let damage = look([Compression::Gzip.compress(&spec.build()), behind.to_vec()].concat()).damage;
        assert!(damage[0].to_string().contains("gzip stream is damaged"), "a member is cut off: {damage:?}");
    }
    let damage = look([Compression::Zstd.compress(&spec.build()), vec![0; 100]].concat()).damage;
    assert!(damage[0].to_string().contains("zstd stream is damaged"), "as zstd(1) says: {damage:?}");
}

#[test]
fn an_encrypted_dump_is_as_good_as_its_headers() {
    let dump = MinidumpSpec::example(Arch::Amd64, 3).build();
    let mut device = DumpDevice::example(KernelDumpHeader::example(Arch::Amd64, 4, dump.len() as u64), 512, &dump);
    device.key = key_block([7; 32], &[9; 256]);
    let found = whole("encrypted", &device.build());
    assert_eq!(found["dump"]["kind"], "encrypted");
    let key = device.parts().key;
    assert_eq!(found["header"]["key_size"], key.end - key.start);
}

#[test]
fn a_text_dump_is_listed_backwards_and_forwards() {
    let files: [(&str, &[u8]); 3] = [("panic.txt", b"page fault"), ("msgbuf.txt", &[b'x'; 5000]), ("version.txt", b"")];
    let expected = serde_json::json!([
        {"name": "panic.txt", "size": 10}, {"name": "msgbuf.txt", "size": 5000}, {"name": "version.txt", "size": 0}
    ]);
    for bytes in [text_archive(&files), text_device(Arch::Amd64, 4, &files).build()] {
        assert_eq!(whole("text dump", &bytes)["dump"]["files"], expected);
    }
    // Within the header of the first file, in and after the second, whose contents begin with the fourth block.
    for length in [700, TEXT_BLOCK, 3 * TEXT_BLOCK, 4 * TEXT_BLOCK + 100, text_archive(&files).len() - 1] {
        let damage = look(text_archive(&files)[..length].to_vec()).damage;
        assert!(damage[0].to_string().starts_with("text dump: it is truncated"), "{length}: {damage:?}");
    }
}

#[test]
fn full_dumps_of_every_architecture_are_understood() {
    for arch in Arch::ALL {
        let spec = ElfSpec::example(arch);
        let bytes = spec.build();
        let dump = &whole(arch.name(), &bytes)["dump"];
        assert_eq!((&dump["kind"], &dump["machine_name"]), (&"elf".into(), &arch.name().into()));
        assert_eq!(
            (&dump["bits"], &dump["byte_order"]),
            (
                &(if arch.is_32_bit() { 32 } else { 64 }).into(),
                &(if arch.order() == Endianness::Big { "big" } else { "little" }).into()
            )
        );
        let segments = dump["segments"].as_array().unwrap();
        let found: Vec<(u64, usize)> = segments
            .iter()
            .map(|segment| {
                (crate::common::address(&segment["paddr"]), usize::try_from(segment["size"].as_u64().unwrap()).unwrap())
            })
            .collect();
        let expected: Vec<(u64, usize)> = spec.segments.iter().map(|(start, bytes)| (*start, bytes.len())).collect();
        assert_eq!(found, expected, "{arch:?}");
        for length in [bytes.len() - 1, spec.data_offset() as usize, 100, 20] {
            let inspection = look(bytes[..length].to_vec());
            assert!(!inspection.damage.is_empty(), "{arch:?}, {length}");
        }
    }
}

/// A dump that ends early is damaged wherever that is, and the place is named.
#[test]
fn truncation_is_noticed_at_every_page() {
    for (name, spec) in every_variant() {
        let bytes = spec.build();
        let parts = spec.parts();
        let borders = (0..bytes.len()).step_by(4096).filter(|border| *border > 0);
        for length in borders.chain([bytes.len() - 1, parts.pages.start + 1, parts.bitmap.start + 1, 200]) {
            let inspection = look(bytes[..length].to_vec());
            let place = &inspection.damage.first().unwrap_or_else(|| panic!("{name}, {length}: no damage")).place;
            let end_of = |range: &std::ops::Range<usize>| range.end.next_multiple_of(spec.page_size as usize);
            let expected = match length {
                _ if length < spec.page_size as usize => "header",
                _ if length < end_of(&parts.message_buffer) => "message buffer",
                _ if spec.has_dump_avail() && length < end_of(&parts.dump_avail) => "dump_avail",
                _ if length < end_of(&parts.bitmap) => "page bitmap",
                _ => "pages",
            };
            assert_eq!(place, expected, "{name}, {length}");
            let zstd = look(Compression::Zstd.compress(&bytes[..length]));
            assert!(!zstd.damage.is_empty(), "{name}, {length}, zstd");
        }
    }
}

/// A flipped bit in the first page is either damage or a fact that is shown otherwise; never nothing.
#[test]
fn a_flipped_bit_in_a_minidumps_header_does_not_go_unnoticed() {
    for (name, spec) in every_variant() {
        let bytes = spec.build();
        let before = look(bytes.clone());
        for (field, offset, size) in spec.header_fields() {
            // Padding, and what says nothing about the dump's layout.
            if ["arch", "hw_direct_map", "kernend", "startkernel", "endkernel"].contains(&field)
                || field.contains("pad")
            {
                continue;
            }
            // Behind the NUL of a text there is nothing to notice.
            let is_text = ["magic", "mmu_name"].contains(&field);
            let text = bytes[offset..offset + size].iter().position(|byte| is_text && *byte == 0);
            for bit in 0..text.map_or(size, |nul| nul + 1) * 8 {
                let mut flipped = bytes.clone();
                flipped[offset + bit / 8] ^= 1 << (bit % 8);
                let after = look(flipped);
                let (Content::Minidump(then), Content::Minidump(now)) = (&before.content, &after.content) else {
                    continue;
                };
                let noticed = !after.damage.is_empty() || then.header != now.header;
                assert!(noticed, "{name}: {field}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_field_that_cannot_be_is_named() {
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    let bytes = spec.build();
    let cases: [(&str, u64, &str); 8] = [
        ("version", 9, "version: unknown version 9; versions 1 to 3 are supported"),
        ("msgbufsize", 0xffff_ffff, "msgbufsize: 4294967295 bytes"),
        ("dumpavailsize", 0, "dumpavailsize: it is 0"),
        ("dumpavailsize", 0xffff_f000, "dumpavailsize: 4294963200 bytes"),
        ("bitmapsize", 0, "bitmapsize: it is 0"),
        ("bitmapsize", 8, "bitmapsize: 8 bytes are too few"),
        ("bitmapsize", 0xffff_ffff, "page bitmap: the dump ends"),
        ("dmapend", 1, "dmapend: the direct map ends at 0x1"),
    ];
    for (field, value, expected) in cases {
        let mut bytes = bytes.clone();
        synth::set(&mut bytes, &spec.header_fields(), spec.order, field, value);
        let found = look(bytes);
        let said: Vec<String> = found.damage.iter().chain(&found.limits).map(ToString::to_string).collect();
        assert!(said.iter().any(|said| said.contains(expected)), "{field}: {said:?}");
    }
}

/// A LiME image of ranges of so many bytes, with holes between them.
fn lime(ranges: u64, size: u64) -> Vec<u8> {
    let mut image = Vec::new();
    for start in (0..ranges).map(|number| number * 2 * size) {
        image.extend([0x4c69_4d45, 1].map(u32::to_le_bytes).concat());
        image.extend([start, start + size - 1, 0].map(u64::to_le_bytes).concat());
        image.resize(image.len() + size as usize, 7);
    }
    image
}

/// memtool writes such images itself, of dumps whose pages are scattered.
#[test]
fn images_of_many_ranges_are_read() {
    let found = whole("LiME", &lime(70_000, 16));
    assert_eq!(found["dump"]["ranges"].as_array().unwrap().len(), 70_000);
    assert_eq!(found["limits"], serde_json::json!([]));
    let directory = directory();
    let [image, raw] = ["image", "raw"].map(|name| directory.path().join(name));
    std::fs::write(&image, lime(70_000, 16)).unwrap();
    crate::common::run(command().args(["convert", "--format", "raw", text(&image), text(&raw)])).ok();
    assert_eq!(raw.metadata().unwrap().len(), 70_000 * 16);

    // As many program headers as took more than memtool read of them: their number stands in a section header.
    let count = 1_300_000_u64;
    let mut elf = ElfSpec { segments: Vec::new(), ..ElfSpec::example(Arch::Amd64) }.build();
    elf.truncate(64);
    let end = 64 + 56 * count;
    for (offset, bytes) in
        [(32, &64_u64.to_le_bytes()[..]), (40, &end.to_le_bytes()), (56, &[0xff; 2]), (58, &[64, 0, 1, 0])]
    {
        elf[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    for number in 0..count {
        // p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align.
        elf.extend([1_u32, 6].map(u32::to_le_bytes).concat());
        elf.extend([0, 0, number << 13, 16, 16, 0].map(u64::to_le_bytes).concat());
    }
    let mut section = [0; 64];
    section[44..48].copy_from_slice(&(count as u32).to_le_bytes());
    elf.extend(section);
    let found = look(elf);
    let Content::Elf(facts) = &found.content else { panic!("{:?}", found.damage) };
    assert_eq!((facts.segments.len() as u64, found.damage, found.limits), (count, vec![], vec![]));
}

/// What memtool does not look at for the memory that it would take is told apart from damage.
#[test]
fn limits_of_memtool_are_no_damage() {
    let found = look(lime((1 << 20) + 80_000, 1));
    assert_eq!((found.damage.len(), found.limits.len()), (0, 1));
    let Content::Lime(ranges) = found.content else { panic!("it is a LiME image") };
    assert!(ranges.len() > 1 << 20);

    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    let fields = spec.header_fields();
    let mut bytes = spec.build();
    synth::set(&mut bytes, &fields, spec.order, "dumpavailsize", (16 << 20) + 4096);
    let output = run(&bytes, &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = schema::document(&output.stdout);
    assert_eq!((&found["damage"], &found["limits"][0]["place"]), (&serde_json::json!([]), &"dumpavailsize".into()));
    let output = run(&bytes, &[]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("no damage found; not everything was checked"));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("a limit of memtool, not damage") && !error.contains("damaged"), "{error}");
    let directory = directory();
    let file = write_file(directory.path(), &bytes);
    for arguments in [&["read", "--phys", "0", "--core"][..], &["convert", "--format", "lime"]] {
        let mut command = command();
        command.args(arguments).arg(&file);
        if arguments[0] == "convert" {
            command.arg(directory.path().join("out"));
        }
        crate::common::run(&mut command).fails_saying(&["a limit of memtool, not damage"]);
    }

    // A message buffer is not needed to read what is behind it.
    let mut large = MinidumpSpec { message_buffer: vec![b'm'; (64 << 20) + 1], ..spec };
    large.mappings.clear();
    let found = look(large.build());
    assert_eq!((found.damage.len(), found.limits.len()), (0, 1));
    let Content::Minidump(facts) = found.content else { panic!("it is a minidump") };
    assert_eq!((facts.pages.count() as usize, facts.message_buffer.len()), (large.pages().len(), 0));
}

/// Kernels write the rest of the bitmap's last page from memory that was never cleared: only bits that dump_avail
/// covers stand for pages.
#[test]
fn bits_behind_the_last_pages_stand_for_no_page() {
    for (name, spec) in every_variant().into_iter().filter(|(_, spec)| spec.has_dump_avail()) {
        for (behind_bitmap, size) in [(0xff, None), (0x5a, None), (0xff, Some(spec.page_size)), (0x42, Some(4096))] {
            let spec = MinidumpSpec { behind_bitmap, bitmap_size: size, ..spec.clone() };
            let bytes = spec.build();
            let found = whole(&name, &bytes);
            compare(&name, &found["dump"], &spec);
            assert_eq!(found["uncompressed_size"], bytes.len(), "{name}");
            let bits: u32 = bytes[spec.parts().bitmap].iter().map(|byte| byte.count_ones()).sum();
            let behind = bits as usize - spec.pages().len();
            let remark =
                format!("page bitmap: {behind} bits are set beyond the end of dump_avail; they belong to no page");
            assert_eq!(found["remarks"], if behind > 0 { serde_json::json!([remark]) } else { serde_json::json!([]) });
            compare_memory(&name, ByteSource::from_bytes(bytes), &spec);
        }
    }
    let spec = MinidumpSpec { behind_bitmap: 0x81, bitmap_size: Some(4096), ..MinidumpSpec::example(Arch::Amd64, 3) };
    for (options, says) in [(&["--verify"][..], false), (&["--verify", "-v"][..], true)] {
        let output = run(&spec.build(), options);
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("consistent: everything was read"));
        assert_eq!(String::from_utf8_lossy(&output.stderr).contains("belong to no page"), says, "{options:?}");
    }
}

/// FreeBSD 15 writes addresses of 64 bits into arm's dump_avail, older systems of 32, in the same version.
#[test]
fn addresses_of_either_size_in_arms_dump_avail_are_read_by_what_fits() {
    let low = vec![(0x1000_0000, 0x1000_8000), (0x1001_0000, 0x1001_4000), (0x2000_0000, 0x2000_1000)];
    let high = vec![(0x8000_0000, 0x8001_0000), (0x8_8000_0000, 0x8_8000_4000)];
    let from_0 = vec![(0, 0x8000), (0x10_0000, 0x10_4000)];
    for (ranges, word) in [(&low, 4), (&low, 8), (&high, 8), (&from_0, 4), (&from_0, 8)] {
        let mut spec = MinidumpSpec { dump_avail_word: word, ..MinidumpSpec::arm(2, synth::arch::ARM_V6) };
        spec.mappings.clear();
        spec.dump_avail = ranges.clone();
        let page = |address| (address, synth::page_of(address, spec.page_size));
        spec.pages = ranges.iter().flat_map(|(start, end)| [page(*start), page(end - 0x1000)]).collect();
        for dump_avail_size in [None, Some((ranges.len() as u64 + 1) * 2 * word as u64)] {
            let spec = MinidumpSpec { dump_avail_size, ..spec.clone() };
            let name = format!("{ranges:x?}, {word} bytes each");
            compare(&name, &whole(&name, &spec.build())["dump"], &spec);
            compare_memory(&name, ByteSource::from_bytes(spec.build()), &spec);
        }
    }
    // Where no size of an address fits the bitmap, the list is still told.
    let mut spec = MinidumpSpec { dump_avail_word: 8, ..MinidumpSpec::arm(2, synth::arch::ARM_V6) };
    spec.dump_avail = vec![(0x1000_0000, 0x9000_0000)];
    let mut bytes = spec.build();
    synth::set(&mut bytes, &spec.header_fields(), spec.order, "bitmapsize", 8);
    let damage = look(bytes).damage;
    assert!(damage[0].to_string().contains("8 bytes are too few for the 524288 pages"), "{damage:?}");
}

/// The last page of the address space has no address behind it.
#[test]
fn memory_may_reach_the_end_of_the_address_space() {
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    let array = spec.parts().dump_avail.start;
    for (end, follows) in [(u64::MAX, false), (u64::MAX - 1, true)] {
        let mut bytes = spec.build();
        let mut numbers = vec![0, 0x1000, 1 << 63, end];
        numbers.extend(follows.then_some([u64::MAX - 1, u64::MAX]).into_iter().flatten());
        for (index, number) in numbers.iter().chain(&[0, 0]).enumerate() {
            bytes[array + index * 8..][..8].copy_from_slice(&u64::to_le_bytes(*number));
        }
        let Content::Minidump(facts) = look(bytes).content else { panic!("it is a minidump") };
        assert_eq!(facts.segments().len(), numbers.len() / 2);
        assert_eq!(facts.segments()[1].end.0, end);
    }
}

#[test]
fn every_byte_of_a_devices_headers_counts() {
    for version in 1..=4 {
        let dump = MinidumpSpec::example(Arch::Amd64, 3).build();
        let header = KernelDumpHeader::example(Arch::Amd64, version, dump.len() as u64);
        // Small, since it is copied for each byte.
        let device = DumpDevice { size: 512 << 10, ..DumpDevice::example(header, 512, &dump) };
        let bytes = device.build();
        let parts = device.parts();
        for (field, offset, size) in kerneldump::fields(version) {
            for byte in 0..*size {
                let mut first = bytes.clone();
                first[parts.first_header.start as usize + offset + byte] ^= 0x10;
                let damage = look(first).damage[0].to_string();
                let named = damage.contains(&format!("its {field} differs from the last header's"));
                assert!(
                    named || (["magic", "version"].contains(field) && damage.contains("there is none")),
                    "{field}: {damage}"
                );

                let mut last = bytes.clone();
                last[parts.last_header.start as usize + offset + byte] ^= 0x10;
                let inspection = look(last);
                let gone = ["magic", "version"].contains(field) && inspection.content == Content::Unknown;
                assert!(gone || !inspection.damage.is_empty(), "version {version}: {field}, byte {byte}");
            }
        }
    }
}

/// Compresses as kernels do: zstd has a checksum at its end, as gzip always has.
fn with_checksum(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    if compression != Compression::Zstd {
        return compression.compress(bytes);
    }
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_compressed_dump_that_is_broken_is_damaged_and_says_where() {
    let spec = MinidumpSpec::example(Arch::Arm64, 3);
    for (compression, name) in [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd")] {
        let bytes = with_checksum(compression, &spec.build());
        for at in [bytes.len() / 3, bytes.len() / 2, bytes.len() - 3] {
            let mut broken = bytes.clone();
            broken[at] ^= 0x5a;
            let output = run(&broken, &["--verify"]);
            assert_eq!(output.status.code(), Some(1), "{name}, {at}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("damaged"), "{name}, {at}");
            assert!(!look(bytes[..at].to_vec()).damage.is_empty(), "{name}, {at}");
        }
    }
}

#[test]
fn damage_is_printed_with_its_place_and_exits_with_1() {
    let spec = MinidumpSpec::example(Arch::Riscv, 2);
    let bytes = spec.build();
    let output = run(&bytes[..spec.parts().pages.start + 4096], &[]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let missing = spec.pages().len() - 1;
    let second = spec.pages().keys().nth(1).copied().unwrap();
    assert!(
        error.contains(&format!("damaged: pages: the dump ends after {}", spec.parts().pages.start + 4096)),
        "{error}"
    );
    assert!(
        error.contains(&format!("{missing} of {} pages are missing, from physical address {second:#x}", missing + 1)),
        "{error}"
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("DAMAGED in one place"));
}

/// Kernels of these architectures dump by a copy of the page bitmap, and write the one that they have copied.
#[test]
fn a_live_dump_with_another_bitmap_than_its_pages_names_the_cause() {
    for arch in Arch::ALL {
        let spec = MinidumpSpec::example(arch, arch.newest());
        let mut dump = spec.build();
        for physical in spec.pages().keys().take(5) {
            let (byte, mask) = spec.byte_of_bit(spec.bit(*physical));
            dump[spec.parts().bitmap.start + byte] &= !mask;
        }
        let known = matches!(arch, Arch::Riscv | Arch::I386 | Arch::Powerpc64);
        let cause = format!("{} kernels write a bitmap into their live dumps", arch.name());
        for bytes in [dump.clone(), live_dump(arch, &dump, Compression::Zstd, spec.page_size)] {
            let damage = look(bytes).damage[0].to_string();
            assert!(damage.contains(&format!("follow the last of {} pages", spec.pages().len() - 5)), "{damage}");
            assert_eq!(damage.contains(&cause), known, "{damage}");
        }
        // Fewer pages have other causes, unless it is certain that the dump is a live one.
        let cut = &spec.build()[..dump.len() - 4096];
        for (bytes, known) in [(live_dump(arch, cut, Compression::None, spec.page_size), known), (cut.to_vec(), false)]
        {
            let damage = look(bytes).damage[0].to_string();
            assert!(damage.contains("pages are missing"), "{damage}");
            assert_eq!(damage.contains(&cause), known, "{damage}");
        }
    }
}

/// savecore(8) omits zeros at the end; the info.N beside the file tells how long the dump was.
#[test]
fn zeros_that_savecore_has_left_out_are_no_damage() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    let mut spec = MinidumpSpec::example(Arch::Amd64, 3);
    let pages: Vec<u64> = spec.pages.keys().copied().rev().take(3).collect();
    for page in &pages {
        spec.pages.get_mut(page).unwrap().fill(0);
    }
    let elf = {
        let mut spec = ElfSpec::example(Arch::Amd64);
        spec.segments.last_mut().unwrap().1.extend([0; 5 * 4096]);
        spec.build()
    };
    for (kind, whole) in [("minidump", spec.build()), ("elf", elf)] {
        let blocks = whole.chunks(4096).rposition(|block| block.iter().any(|byte| *byte != 0)).unwrap() + 1;
        let left_out = whole.len() - blocks * 4096;
        assert!(left_out >= 3 * 4096, "{kind}");
        let info = |length: usize, compression| {
            format!(
                "Dump header from device: /dev/ada0p3\n  Architecture: amd64\n  Dump Length: {length}\n  Compression: {compression}\n"
            )
        };
        let inspect = |name: &str, length: usize, info: &str| {
            std::fs::write(at("vmcore.3"), &whole[..length]).unwrap();
            std::fs::write(at("info.3"), info).unwrap();
            let output = command().args(["inspect", "--json", "--verify"]).arg(at(name)).output().unwrap();
            (output.status.code(), schema::document(&output.stdout))
        };
        let (code, found) = inspect("vmcore.3", blocks * 4096, &info(whole.len(), "none"));
        assert_eq!((code, &found["damage"]), (Some(0), &serde_json::json!([])), "{kind}");
        assert_eq!((&found["dump"]["kind"], &found["uncompressed_size"]), (&kind.into(), &whole.len().into()));
        let warning = found["warnings"][0].as_str().unwrap();
        assert!(warning.contains("savecore(8) omits zeros") && warning.contains(&left_out.to_string()), "{warning}");

        // All of its memory is there, zeros among it.
        let out = at("out");
        for (dump, lime) in [(at("vmcore.3"), &out), (write_file(directory.path(), &whole), &at("expected"))] {
            crate::common::run(command().args([
                "-q",
                "convert",
                "--force",
                "--format",
                "lime",
                text(&dump),
                text(lime),
            ]))
            .ok();
        }
        assert!(std::fs::read(&out).unwrap() == std::fs::read(at("expected")).unwrap(), "{kind}");

        // What does not end as savecore(8) ends it, or has no file that tells its length, is damaged.
        let shorter = blocks * 4096 - 8192;
        for (name, length, info) in [
            ("vmcore.3", blocks * 4096 - 100, info(whole.len(), "none")),
            ("vmcore.3", blocks * 4096 + 4096, info(whole.len(), "none")),
            ("vmcore.3", blocks * 4096, info(whole.len() - 4096, "none")),
            ("vmcore.3", blocks * 4096, info(whole.len(), "zstd")),
            ("vmcore.3", blocks * 4096, "Dump Length: many".to_owned()),
            ("vmcore.3", shorter, info(shorter, "none")),
        ] {
            let (code, found) = inspect(name, length, &info);
            assert_eq!(code, Some(1), "{kind}, {length}, {info}: {found:#}");
            assert!(!found["damage"].as_array().unwrap().is_empty(), "{kind}");
        }
        std::fs::rename(at("vmcore.3"), at("renamed.3")).unwrap();
        let output = command().args(["inspect"]).arg(at("renamed.3")).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(kind == "elf" || error.contains("info.N"), "{error}");
    }
}

#[test]
fn messages_are_printed_as_dmesg_does() {
    let mut spec = MinidumpSpec::example(Arch::Amd64, 3);
    spec.message_buffer = b"boot\n<2>kernel speaks\n<14>daemon speaks\n<118>console\nlast \x1b[31mred\n".to_vec();
    spec.message_buffer.extend([0; 3000]);
    let output = run(&spec.build(), &["--msgbuf"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "boot\nkernel speaks\nlast \\u{1b}[31mred\n");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    spec.message_buffer.retain(|byte| *byte != 0);
    let output = run(&spec.build(), &["--msgbuf"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("the message buffer is full"));
    let output = run(&ElfSpec::example(Arch::Amd64).build(), &["--msgbuf"]);
    assert_eq!(output.status.code(), Some(1));
}

/// The first bytes of formats that are known by name only, and what has to be said of each.
fn foreign_formats() -> Vec<(Vec<u8>, &'static str)> {
    let mut tar = text_archive(&[("panic.txt", b"page fault")]);
    tar[..9].copy_from_slice(b"vmcore.0\0");
    let mut vdi = b"<<< Oracle VM VirtualBox Disk Image >>>\n".to_vec();
    vdi.resize(64, 0);
    vdi.extend([0x7f, 0x10, 0xda, 0xbe]);
    let mut kernel = ElfSpec::example(Arch::Amd64).build();
    kernel[16] = 2;
    let mut big_kernel = ElfSpec::example(Arch::Powerpc64).build();
    big_kernel[17] = 2;
    let zlib = |level| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(&MinidumpSpec::example(Arch::Amd64, 3).build()).unwrap();
        encoder.finish().unwrap()
    };
    let skippable = [&0x184d_2a50_u32.to_le_bytes()[..], &[4, 0, 0, 0, 1, 2, 3, 4, 4, 0x22, 0x4d, 0x18]].concat();
    let heads: &[(&[u8], &str)] = &[
        (b"\xfd7zXZ\0\0\x04", "xz -d"),
        (b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0", "xz -d --format=lzma"),
        (b"BZh91AY&SY", "bzip2 -d"),
        (b"\x04\x22\x4d\x18", "lz4 -d"),
        (b"\x02\x21\x4c\x18", "lz4 -d"),
        (&skippable, "skippable frames"),
        (b"\x22\xb5\x2f\xfd", "zstd before its first release"),
        (b"\xff\x06\0\0sNaPpY", "snzip -d"),
        (b"\x1f\x9d\x90", "uncompress"),
        (b"LZIP\x01", "lzip -d"),
        (b"\x89LZO\0\r\n\x1a\n", "lzop -d"),
        (b"PK\x03\x04", "a zip archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
        (b"AVML\x01\0\0\0", "avml-convert"),
        (b"DISKDUMP", "diskdump"),
        (b"\x7fVirtualBox SavedState V2.0\n", "dumpvmcore"),
        (b"QEVM\0\0\0\x02", "dump-guest-memory"),
        (b"\xed\xeb\x0f\xf0", "Xen"),
        (b"PAGEDUMP", "Windows"),
        (b"PAGEDU64", "Windows"),
        (b"hibr\0\0\0\0", "hibernation"),
        (b"QFI\xfb\0\0\0\x03", "qcow2"),
        (b"EVF\x09\x0d\x0a\xff\0", "ewfexport"),
        (b"\xcf\xfa\xed\xfe\x07\0\0\x01\x03\0\0\0\x04\0\0\0", "Mach-O"),
    ];
    let built = [
        (tar, "tar -xf"),
        (vdi, "VirtualBox (VDI)"),
        (kernel, "an ELF file but not a core file"),
        (big_kernel, "an ELF file but not a core file"),
        (Compression::Zstd.compress(&Compression::Gzip.compress(b"memory")), "compressed twice"),
    ];
    let zlib = [0, 1, 6, 9].map(|level| (zlib(level), "zlib"));
    // What follows does not matter.
    let padded = |(head, says): &(&[u8], &'static str)| {
        let head = [head, &[0x55; 9000][..]].concat();
        [(Compression::Gzip.compress(&head), *says), (head, *says)]
    };
    heads.iter().flat_map(padded).chain(built).chain(zlib).collect()
}

/// Every command names a format that is not read, and takes nothing of it for memory.
#[test]
fn formats_that_are_not_read_are_named_by_every_command() {
    let directory = directory();
    let out = directory.path().join("out");
    for (bytes, says) in foreign_formats() {
        let found: Value = schema::document(&run(&bytes, &["--json"]).stdout);
        assert_eq!(found["dump"]["kind"], "unknown", "{says}");
        assert!(format!("{} {}", found["dump"]["format"], found["dump"]["remedy"]).contains(says), "{says}: {found}");
        let file = write_file(directory.path(), &bytes);
        let segments = write_file(directory.path(), b"0x0 0x1000\n");
        let (file, out) = (text(&file), text(&out));
        let commands: [&[&str]; 8] = [
            &["inspect", "--verify", file],
            &["convert", "--format", "lime", file, out],
            &["convert", "--format", "padded", "--segments", text(&segments), file, out],
            &["convert", "--format", "elf", file, out],
            &["read", "--core", file, "--phys", "0"],
            &["write", "--core", file, "--phys", "0", "00"],
            &["ps", "--core", file],
            &["dump", "--device", file, "-o", out],
        ];
        for arguments in commands {
            let run = crate::common::run(command().args(arguments));
            assert_eq!(run.code, 1, "{arguments:?}: {run:?}");
            // A dump into a file says compressed what inspect says decompressed.
            let gzip = arguments[0] == "dump" && bytes.starts_with(&[0x1f, 0x8b]) && !run.stderr.contains(says);
            assert!(gzip || run.stderr.contains(says), "{says}, {arguments:?}: {run:?}");
        }
        assert!(!Path::new(out).exists(), "{says}");
    }
}

/// Dumps are no memory at their places in the file.
#[test]
fn a_dump_is_not_dumped_again_as_memory() {
    let directory = directory();
    let out = directory.path().join("out");
    let minidump = MinidumpSpec::example(Arch::Amd64, 3).build();
    let device =
        DumpDevice::example(KernelDumpHeader::example(Arch::Amd64, 4, minidump.len() as u64), 512, &minidump).build();
    for (bytes, says) in [
        (ElfSpec::example(Arch::Arm64).build(), "ELF core file"),
        (Compression::Zstd.compress(&minidump), "minidump"),
        (Compression::Gzip.compress(&[7; 5000]), "compressed with gzip"),
        (device, "minidump"),
        (minidump, "minidump"),
    ] {
        let file = write_file(directory.path(), &bytes);
        let run = crate::common::run(command().args(["dump", "--device", text(&file), "-o", text(&out)]));
        run.fails_saying(&[says, "convert"]);
        assert!(!out.exists(), "{says}");
    }
}

#[test]
fn what_is_no_dump_is_not_called_one() {
    let noise = || crate::common::noise(100_000);
    for (bytes, says) in [
        (vec![], "it is empty"),
        (vec![0; 1], "not a dump or image that memtool knows"),
        (vec![0; 100_000], "not a dump or image that memtool knows"),
        (noise(), "not a dump or image that memtool knows"),
        (Compression::Zstd.compress(&noise()), "not a dump or image that memtool knows"),
        (b"# README\n".repeat(50), "not a dump or image that memtool knows"),
        (b"minidump FreeBSD/vax\0".repeat(50), "not a dump or image that memtool knows"),
    ] {
        for options in [&[][..], &["--verify"]] {
            let output = run(&bytes, &[&["--json"], options].concat());
            let found: Value = schema::document(&output.stdout);
            assert_eq!((&found["dump"]["kind"], output.status.code()), (&"unknown".into(), Some(1)), "{says}");
            assert!(String::from_utf8_lossy(&run(&bytes, options).stderr).contains(says), "{says}");
        }
    }
    let directory = directory();
    for (path, why) in [
        (directory.path().join("missing"), "No such file"),
        (directory.path().to_owned(), "neither a regular file nor a device"),
        (Path::new("/dev/null").to_owned(), "neither a regular file nor a device"),
    ] {
        let output = command().args(["inspect", text(&path)]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(why), "{error}");
    }
}

/// Compares all of a dump's memory, byte for byte, and the pages that are not in it.
fn compare_memory(name: &str, volume: ByteSource, spec: &MinidumpSpec) {
    let directory = directory();
    let memory = DumpedMemory::open(volume, None, scratch(directory.path()), &Progress::default()).unwrap();
    assert_eq!(memory.inspection().damage, [], "{name}");
    let pages = spec.pages();
    let mut buffer = vec![0; spec.page_size as usize + 1];
    for (start, bytes) in &pages {
        assert_eq!(memory.read_at(*start, &mut buffer).unwrap(), bytes.len(), "{name}: {start:#x}");
        assert!(buffer[..bytes.len()] == **bytes, "{name}: {start:#x}");
        assert_eq!(memory.read_at(start + 5, &mut buffer[..3]).unwrap(), 3);
        assert!(buffer[..3] == bytes[5..8], "{name}: {start:#x}");
    }
    let end = spec.dump_avail.last().unwrap().1.next_multiple_of(spec.page_size);
    let all = (0..=end).step_by(spec.page_size as usize);
    for missing in all.filter(|page| !pages.contains_key(page)).chain([u64::MAX]) {
        let error = memory.read_at(missing, &mut buffer).unwrap_err();
        assert!(matches!(error, ReadError::Absent), "{name}: {missing:#x}: {error}");
    }
}

#[test]
fn memory_is_read_out_of_every_minidump() {
    for (name, spec) in every_variant() {
        compare_memory(&name, ByteSource::from_bytes(spec.build()), &spec);
        let device = DumpDevice::example(KernelDumpHeader::example(spec.arch, 4, 0), 512, &spec.build());
        if spec.build().len() < (8 << 20) {
            compare_memory(&name, ByteSource::from_bytes(device.build()), &spec);
        }
    }
    let spec = MinidumpSpec::example(Arch::Amd64, 3);
    let directory = directory();
    compare_memory("file", ByteSource::open(&write_file(directory.path(), &spec.build())).unwrap(), &spec);
    for compression in [Compression::Zstd, Compression::Gzip] {
        let volume = ByteSource::from_bytes(compression.compress(&spec.build()));
        compare_memory(&format!("{compression:?}"), volume, &spec);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_dumped_is_read_back(
        variant in 0usize..100,
        dumped in proptest::collection::btree_set(0u64..0x60, 0..60),
        borders in proptest::collection::btree_set(0u64..0x60_0000, 2..8),
        fill in any::<u64>(),
    ) {
        let variants = every_variant();
        let (name, mut spec) = variants[variant % variants.len()].clone();
        let base = spec.dump_avail[0].0;
        let page = spec.page_size;
        // Ranges that share no page.
        let borders: Vec<u64> = borders.into_iter().map(|border| base + border / page * 2 * page).collect();
        let mut ranges: Vec<(u64, u64)> = borders.chunks_exact(2).map(|pair| (pair[0], pair[1] - page / 2)).collect();
        ranges.retain(|(start, end)| start < end);
        if !ranges.is_empty() {
            spec.dump_avail = ranges;
            spec.mappings.clear();
            spec.page_table_pages.clear();
            let of_ranges = spec.dump_avail.iter().flat_map(|(start, end)| (*start..*end).step_by(page as usize));
            let chosen = of_ranges.enumerate().filter(|(number, _)| dumped.contains(&(*number as u64 % 0x60)));
            spec.pages = chosen.map(|(_, address)| (address, synth::page_of((address ^ fill) & (u64::MAX >> 1), page))).collect();
            compare_memory(&name, ByteSource::from_bytes(spec.build()), &spec);
        }
    }
}

/// A directory with a good dump, one that is cut off, one with messages, and none.
fn several() -> tempfile::TempDir {
    let folder = directory();
    let dump = MinidumpSpec::example(Arch::Amd64, 2).build();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("good", &dump);
    write("cut", &dump[..dump.len() - 5000]);
    write("arm64.zst", &Compression::Zstd.compress(&MinidumpSpec::example(Arch::Arm64, 2).build()));
    folder
}

fn in_folder(folder: &Path, arguments: &[&str]) -> crate::common::Run {
    crate::common::run(command().current_dir(folder).arg("inspect").args(arguments))
}

#[test]
fn several_files_are_described_each_under_its_name() {
    let folder = several();
    for options in [&[][..], &["--verify"], &["--list-segments"], &["--msgbuf"], &["--verify", "--list-segments"]] {
        let alone = |name: &str| in_folder(folder.path(), &[options, &[name]].concat());
        let both = in_folder(folder.path(), &[options, &["good", "arm64.zst"]].concat()).ok();
        let [good, arm64] = ["good", "arm64.zst"].map(|name| alone(name).ok().stdout);
        assert_eq!(both.stdout, format!("good:\n{good}\narm64.zst:\n{arm64}"), "{options:?}");
        // A damaged one and one that is not there keep no other back, wherever they stand.
        let all = in_folder(folder.path(), &[options, &["cut", "absent", "good"]].concat()).exits(1);
        let cut = alone("cut");
        assert_eq!(all.stdout, format!("cut:\n{}\nabsent:\n\ngood:\n{good}", cut.stdout), "{options:?}");
        let absent = alone("absent").exits(1).stderr;
        let said = format!("{}{absent}{}", cut.stderr, alone("good").stderr);
        assert_eq!(all.stderr, said, "{options:?}");
        assert!(absent.starts_with("memtool: cannot open absent: "), "{absent}");
    }
}

#[test]
fn several_files_are_one_object_with_the_object_of_each() {
    let folder = several();
    for options in [&[][..], &["--verify"], &["--msgbuf"]] {
        let options = [options, &["--json"]].concat();
        let alone = |name: &str| in_folder(folder.path(), &[&options[..], &[name]].concat()).json();
        let all = in_folder(folder.path(), &[&options[..], &["cut", "absent", "good", "arm64.zst"]].concat());
        let all = all.exits(1).json();
        assert_eq!(all["schema"], "memtool.inspect.files");
        let files = all["files"].as_array().unwrap();
        let names: Vec<&str> = files.iter().map(|file| file["input"].as_str().unwrap()).collect();
        assert_eq!(names, ["cut", "absent", "good", "arm64.zst"]);
        for (file, name) in files.iter().zip(names).filter(|(_, name)| *name != "absent") {
            assert_eq!((&file["inspection"], &file["error"]), (&alone(name), &Value::Null), "{options:?}");
        }
        assert_eq!(files[1]["inspection"], Value::Null);
        assert!(files[1]["error"].as_str().unwrap().starts_with("cannot open absent: "), "{files:?}");
        let good = in_folder(folder.path(), &[&options[..], &["good", "arm64.zst"]].concat()).ok().json();
        assert_eq!(good["files"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn the_object_of_a_file_has_the_warnings_about_it_alone() {
    let folder = several();
    let mut packed = Compression::Gzip.compress(&MinidumpSpec::example(Arch::Amd64, 2).build());
    packed.extend(b"something behind it");
    std::fs::write(folder.path().join("more.gz"), packed).unwrap();
    let run = in_folder(folder.path(), &["--verify", "--json", "more.gz", "good"]).ok();
    let all = run.json();
    let warnings = |file: usize| all["files"][file]["inspection"]["warnings"].as_array().unwrap().len();
    assert_eq!((warnings(0), warnings(1), all["warnings"].as_array().unwrap().len()), (1, 0, 1), "{all:#}");
}
