//! How much memory `memtool inspect` takes for the dump of a large machine.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a helper of a test that fails is a test that fails")]

mod common;

use common::vmcore::{Arch, MinidumpSpec};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Stdio;

const TIB: u64 = 1 << 40;

/// The dump of a machine with 1 TiB, of which few pages are in it: its bitmap takes 32 MiB. It is written as a file
/// with holes, so that this process stays small.
#[test]
#[allow(clippy::zombie_processes, reason = "wait4(2) waits for it")]
fn a_dump_of_one_tebibyte_opens_in_100_mebibytes() {
    let small = MinidumpSpec::example(Arch::Amd64, 3);
    let bitmap = TIB / 4096 / 8;
    let spec = MinidumpSpec { dump_avail: vec![(0, TIB)], bitmap_size: Some(bitmap), ..small.clone() };
    let directory = common::directory();
    let path = directory.path().join("large");
    let file = File::create(&path).unwrap();
    // The header page, the message buffer and dump_avail come from the builder, the bitmap stays a hole but for
    // its last bits.
    let parts = small.parts();
    file.write_all_at(&spec.header(), 0).unwrap();
    file.write_all_at(&spec.message_buffer, parts.message_buffer.start as u64).unwrap();
    file.write_all_at(&spec.dump_avail_array(), parts.dump_avail.start as u64).unwrap();
    file.write_all_at(&[0xff], parts.bitmap.start as u64 + bitmap - 1).unwrap();
    let tables = parts.page_tables.len() as u64;
    file.set_len(parts.bitmap.start as u64 + bitmap + tables + 8 * 4096).unwrap();

    let mut command = common::command();
    let child = command.args(["inspect", "--segments"]).arg(&path).stdout(Stdio::piped()).spawn().unwrap();
    let peak = common::peak(&child);
    let output = std::io::read_to_string(child.stdout.unwrap()).unwrap();
    assert!(output.contains("0x0\t0x10000000000\t8\t268435456\t0.0 %"), "{output}");
    assert!(peak < 100 << 10, "{peak} KiB");
}
