//! How much memory `memtool inspect` takes for the dumps of large machines.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper of a test that fails is a test that fails")]

#[path = "all/common/mod.rs"]
mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use vmcore_synth::{Arch, MinidumpSpec, set};

const TIB: u64 = 1 << 40;
const PAGE: u64 = 4096;

/// Writes the dump of a machine with one range of memory that ends there, of which the pages of these bits are in it. The
/// bitmap is a hole but for them, so that this process stays small.
fn write(path: &Path, end: u64, bitmap: u64, bits: &[u64]) {
    let small = MinidumpSpec::example(Arch::Amd64, 3);
    let spec = MinidumpSpec { dump_avail: vec![(0, end)], ..small.clone() };
    let file = File::create(path).unwrap();
    // The header page, the message buffer and dump_avail come from the builder.
    let parts = small.parts();
    let mut header = small.header();
    set(&mut header, &spec.header_fields(), spec.order, "bitmapsize", bitmap);
    file.write_all_at(&header, 0).unwrap();
    file.write_all_at(&spec.message_buffer, parts.message_buffer.start as u64).unwrap();
    file.write_all_at(&spec.dump_avail_array(), parts.dump_avail.start as u64).unwrap();
    let mut bytes = std::collections::BTreeMap::<u64, u8>::new();
    for bit in bits {
        *bytes.entry(bit / 8).or_default() |= 1 << (bit % 8);
    }
    for (at, byte) in bytes {
        file.write_all_at(&[byte], parts.bitmap.start as u64 + at).unwrap();
    }
    let tables = parts.bitmap.start as u64 + bitmap.next_multiple_of(PAGE);
    let pages = tables + parts.page_tables.len() as u64;
    // Each page tells its number.
    file.set_len(pages + bits.len() as u64 * PAGE).unwrap();
    for number in 0..bits.len() as u64 {
        file.write_all_at(&number.to_le_bytes(), pages + number * PAGE).unwrap();
    }
}

/// What a command prints that takes less than 100 MiB.
#[track_caller]
#[allow(clippy::zombie_processes, reason = "wait4(2) waits for it")]
fn within_100_mebibytes(arguments: &[&str]) -> String {
    let child = common::command().args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let peak = common::peak(&child);
    assert!(peak < 100 << 10, "{arguments:?}: {peak} KiB");
    std::io::read_to_string(child.stdout.unwrap()).unwrap()
}

#[test]
fn dumps_of_large_machines_open_in_100_mebibytes() {
    let directory = common::directory();
    let path = directory.path().join("large");
    let file = common::text(&path);
    // 1, 64 and nearly 128 TiB, the last of which is all that bitmapsize can say.
    for (end, bitmap) in
        [(TIB, TIB / PAGE / 8), (64 * TIB, 64 * TIB / PAGE / 8), (128 * TIB - (128 << 20), 0xffff_f000)]
    {
        let all = end / PAGE;
        // Runs and single pages all over it, the first and the last one among them.
        let mut bits: Vec<u64> = (0..200).map(|number| number * (all / 200)).chain([all - 1]).collect();
        bits.extend(all / 2 + 1..all / 2 + 100);
        bits.sort_unstable();
        bits.dedup();
        write(&path, end, bitmap, &bits);

        let output = within_100_mebibytes(&["inspect", "--list-segments", file]);
        assert!(output.contains(&format!("0x0\t{end:#x}\t{}\t{all}\t0.0\n", bits.len())), "{output}");
        assert!(within_100_mebibytes(&["inspect", file]).contains("no damage found"), "{output}");
        for number in [bits.len() / 2, bits.len() - 1].into_iter().skip(usize::from(end > TIB)) {
            let at = format!("{:#x}", bits[number] * PAGE);
            let arguments = ["read", "--core", file, "--phys", &at, "--as", "u64", "-l", "8"];
            assert!(within_100_mebibytes(&arguments).contains(&number.to_string()), "{at}");
        }
    }
}

/// Every second part of a bitmap of 16 TiB has bits, and a run of 64 MiB is in it.
#[test]
fn a_dump_with_pages_all_over_a_large_machine_opens_in_100_mebibytes() {
    let directory = common::directory();
    let path = directory.path().join("scattered");
    let end = 16 * TIB;
    let mut bits: Vec<u64> = (0..end / PAGE).step_by(65_536).flat_map(|first| [first + 5, first + 9_000]).collect();
    bits.extend(1 << 30..(1 << 30) + (1 << 14));
    bits.sort_unstable();
    bits.dedup();
    write(&path, end, end / PAGE / 8, &bits);
    let output = within_100_mebibytes(&["inspect", "--verify", "--json", common::text(&path)]);
    let found = common::schema::document(output.as_bytes());
    assert_eq!(found["dump"]["page_count"], bits.len());
    assert_eq!((&found["damage"], &found["limits"]), (&serde_json::json!([]), &serde_json::json!([])));
}
