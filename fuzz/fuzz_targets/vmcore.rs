//! Any bytes as a dump: minidumps, ELF core files, LiME images, text dumps, dump devices, gzip, zstd; and any
//! bytes as a kernel dump's header.

#![no_main]

use libfuzzer_sys::fuzz_target;
use memtool::host::dump_devices::list;
use memtool::livedump::trailer;
use memtool::save::{Found, find};
use vmcore::dump::byte_source::ByteSource;
use vmcore::dump::on_disk;
use vmcore::kerneldump::{HEADER_LENGTH, Header, cleared};

fuzz_target!(|bytes: &[u8]| {
    memtool_fuzz::inspected(bytes);
    check_found(bytes);
    check_disk(bytes);
    if let Some(header) = bytes.first_chunk() {
        check_header(header);
    }
});

/// A dump between headers lies before the last one, and clearing it changes nothing but that.
fn check_found(bytes: &[u8]) {
    let volume = ByteSource::from_bytes(bytes.to_vec());
    if let Ok(Found::Dump(dump)) = find(&volume, None) {
        assert!(dump.size() <= dump.last.at);
        // The magic alone is another one.
        assert_eq!(cleared(&dump.last.bytes)[20..], dump.last.bytes[20..]);
        let devices = list("", bytes);
        assert!(devices.len() <= bytes.len());
    }
}

/// Partitions are within the disk, and so are the dumps in them, each in its partition.
fn check_disk(bytes: &[u8]) {
    let volume = ByteSource::from_bytes(bytes.to_vec());
    let Some(search) = on_disk(&volume, None).expect("memory can be read") else { return };
    let disk = search.disk.as_ref().expect("none was named");
    assert!(disk.partitions.len() < 1 << 14);
    for partition in &disk.partitions {
        assert!(partition.start < partition.end && partition.end <= volume.length());
        assert!(partition.is_named(&partition.name));
    }
    for found in &search.dumps {
        let (location, partition) = (&found.dump.location, &found.partition);
        assert!(location.start >= partition.start && location.end <= found.dump.last_at);
        assert!(found.dump.last_at < partition.end && location.start <= location.end);
    }
    assert!(search.chosen().is_some() || !search.problem().is_empty());
}

fn check_header(bytes: &[u8; HEADER_LENGTH]) {
    let Ok(header) = Header::decode(bytes) else { return };
    assert_eq!(Header::parse(bytes).is_ok(), vmcore::kerneldump::parity(bytes) == 0);
    for compression in [0, 1, 2].map(vmcore::kerneldump::Compression::from_code) {
        let compression = compression.expect("it is known");
        let _ = trailer::check(&header, header.dump_length.saturating_add(512), &header.architecture, compression);
    }
    // Text that is no UTF-8 becomes longer when it is shown.
    let is_ascii = header.architecture.is_ascii();
    let newest = Header { version: 4, ..header };
    let again = Header::parse(&newest.encode()).expect("what is encoded can be decoded");
    if is_ascii {
        // Fields have room for a NUL, and older versions for more text.
        let cut = |text: &[u8], size: usize| text.iter().take(size - 1).copied().collect::<Vec<u8>>();
        let expected = Header {
            architecture: newest.architecture.chars().take(11).collect(),
            hostname: cut(newest.hostname.as_bytes(), 64).into(),
            version_string: cut(newest.version_string.as_bytes(), 192).trim_ascii_end().into(),
            panic_string: cut(newest.panic_string.as_bytes(), 175).into(),
            ..newest
        };
        assert_eq!(again, expected);
    }
}
