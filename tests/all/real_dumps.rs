//! Dumps that a real FreeBSD kernel wrote, where they stand beside the checkout: they show that the reader
//! these tests trust, and the check of a live dump's header, take what kernels really make.

use crate::common::address;
use crate::common::minidump::Minidump;
use memtool::livedump::trailer;
use serde_json::Value;
use std::path::Path;
use vmcore::kerneldump::Compression;
use vmcore::kerneldump::Header;

#[test]
fn live_dumps_of_a_real_kernel_pass_the_check_and_hold_what_they_should() {
    let Some(folder) = crate::common::real_dumps() else { return };
    let facts: Value = serde_json::from_slice(&std::fs::read(folder.join("facts.json")).unwrap()).unwrap();
    for name in ["live-complete.mdmp", "live-pages-lost.mdmp"] {
        let facts = &facts[name];
        let file = std::fs::File::open(folder.join(format!("{name}.zst"))).unwrap();
        let mut bytes = zstd::decode_all(file).unwrap();
        assert_eq!(bytes.len() as u64, facts["file_size"], "{name}");

        let trailer = bytes[bytes.len() - 512..].try_into().unwrap();
        let header = Header::parse(trailer).unwrap();
        assert_eq!((&*header.hostname.text(), header.architecture.as_str()), ("fvm", "amd64"));
        trailer::check(&header, bytes.len() as u64, "amd64", Compression::None).unwrap();
        assert_eq!(header.encode(), without_newline_of_the_version(trailer), "{name}");

        bytes.truncate(usize::try_from(header.dump_length).unwrap());
        let dump = Minidump::parse(bytes);
        assert_eq!(u64::from(dump.version), facts["version"]);
        assert_eq!(dump.kernel_base, address(&facts["kernbase"]));
        assert_eq!(dump.direct_map, (address(&facts["dmapbase"]), address(&facts["dmapend"])));
        assert_eq!(dump.message_buffer.len() as u64, facts["msgbufsize"]);
        let avail: Vec<(u64, u64)> =
            facts["dump_avail"].as_array().unwrap().iter().map(|pair| (address(&pair[0]), address(&pair[1]))).collect();
        assert_eq!(dump.dump_avail, avail);
        assert_eq!(dump.pages.len() as u64, facts["pages"], "{name}");
        let slots = dump.mapped_superpage_slots();
        assert_eq!(slots.len() as u64, facts["valid_pdes"], "{name}");
    }
}

/// The kernel keeps a line feed at the end of its version, which a decoded header leaves out.
fn without_newline_of_the_version(trailer: &[u8; 512]) -> [u8; 512] {
    let mut bytes = *trailer;
    let version = &mut bytes[128..320];
    let end = version.iter().position(|byte| *byte == 0).unwrap();
    assert_eq!(version[end - 1], b'\n');
    version[end - 1] = 0;
    bytes[508..].fill(0);
    let words = bytes.chunks_exact(4).fold(0, |all, word| all ^ u32::from_be_bytes(word.try_into().unwrap()));
    bytes[508..].copy_from_slice(&words.to_be_bytes());
    bytes
}

/// What `memtool inspect --json --verify` says of a file, and whether it exits with 0.
fn inspect(file: &Path) -> (Value, bool) {
    let output = crate::common::command().args(["inspect", "--json", "--verify"]).arg(file).output().unwrap();
    (crate::common::schema::document(&output.stdout), output.status.success())
}

#[test]
fn inspect_finds_in_real_dumps_what_is_in_them() {
    let Some(folder) = crate::common::real_dumps() else { return };
    let facts: Value = serde_json::from_slice(&std::fs::read(folder.join("facts.json")).unwrap()).unwrap();
    let directory = crate::common::directory();
    for (name, facts) in facts.as_object().unwrap() {
        let name = name.as_str();
        let path = directory.path().join(name);
        let mut decoder = zstd::Decoder::new(std::fs::File::open(folder.join(format!("{name}.zst"))).unwrap()).unwrap();
        decoder.window_log_max(27).unwrap();
        std::io::copy(&mut decoder, &mut std::fs::File::create(&path).unwrap()).unwrap();

        let (found, success) = inspect(&path);
        assert!(success, "{name}: {found:#}");
        assert_eq!(found["damage"], Value::Array(vec![]), "{name}");
        let dump = &found["dump"];
        let same = [
            ("version", "version"),
            ("msgbufsize", "message_buffer_size"),
            ("bitmapsize", "bitmap_size"),
            ("pmapsize", "page_tables_size"),
            ("kernbase", "kernel_base"),
            ("dumpavailsize", "dump_avail_size"),
            ("pages", "page_count"),
        ];
        for (fact, field) in same {
            assert_eq!(dump[field], facts[fact], "{name}: {field}");
        }
        if let Some(architecture) = facts.get("architecture") {
            assert_eq!(&dump["architecture"], architecture, "{name}");
        }
        let direct_map = &dump["direct_map"];
        // This powerpc64 machine has none (`hw_direct_map` is 0), though the header has its borders.
        if facts["architecture"] == "powerpc64" {
            assert_eq!(direct_map, &Value::Null);
        } else {
            assert_eq!((&direct_map["start"], &direct_map["end"]), (&facts["dmapbase"], &facts["dmapend"]), "{name}");
            assert!(facts.get("dmapphys").is_none_or(|physical| direct_map["paddr"] == *physical), "{name}");
        }
        let segments = dump["segments"].as_array().unwrap();
        let ranges: Vec<Value> = segments
            .iter()
            .map(|segment| [&segment["start"], &segment["end"]].into_iter().cloned().collect())
            .collect();
        assert_eq!(Value::Array(ranges), facts["dump_avail"], "{name}");
        if let (Some(missing), Some(all)) = (facts.get("page_table_pages_missing"), facts.get("mapped_pages")) {
            let tables = &dump["page_tables"];
            assert_eq!(&tables["missing_table_count"], missing, "{name}");
            let mapped = tables["mapped_count"].as_u64().unwrap() + tables["outside_count"].as_u64().unwrap();
            assert_eq!(mapped, all.as_u64().unwrap(), "{name}");
        }
        if let Some(bits) = facts.get("bits").and_then(Value::as_u64) {
            assert_eq!(
                segments.iter().map(|segment| segment["total_page_count"].as_u64().unwrap()).sum::<u64>(),
                bits,
                "{name}"
            );
            let behind = facts["bits_behind"].as_u64().unwrap();
            let remarks = found["remarks"].as_array().unwrap();
            assert_eq!(remarks.len(), usize::from(behind > 0), "{name}");
            let says = format!("{behind} bits are set beyond");
            assert!(remarks.iter().all(|remark| remark.as_str().unwrap().contains(&says)), "{name}: {remarks:?}");
        }
        // Only the dump whose bitmap the kernel cut off is suspect.
        let warned = found["warnings"].to_string().contains("looks cut off");
        assert_eq!(warned, name == "live-pages-lost.mdmp", "{name}: {}", found["warnings"]);
        if name.starts_with("live-") || name.ends_with(".img") {
            assert_eq!(found["header"]["hostname"], "fvm", "{name}");
        }
    }
}
