//! The kernel of memtool's demo machine: made up, but whole. Its image has symbols and types; its memory has processes with
//! threads and stacks, files, sockets, and what the kernel counts; and it has crashed once, in a module.
//!
//! Everything is written from FreeBSD's headers by way of `vmcore_synth`, so it shares no layout with the reader. What is
//! written is the same each time.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a tool that is run by developers: a description that makes no sense is to fail"
)]

mod code;
mod counters;
mod crash;
mod declarations;
mod devices;
mod disks;
mod files;
mod firmware;
mod function;
mod kernel;
mod memory;
mod messages;
mod module;
mod network;
mod objects;
mod page_owners;
mod pages;
mod processes;
mod spaces;
mod story;

pub use kernel::{BOOT, VERSION};

use kernel::Demo;
use vmcore_synth::{DirectMap, MinidumpSpec};

/// A file of the demo machine.
pub struct File {
    /// What it is called.
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

/// What the kernel does when its memory is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It runs.
    Running,
    /// It has panicked, four days earlier, and dumps.
    Crashed,
}

/// All files, as they are before they are compressed.
pub fn files() -> Vec<File> {
    let running = Demo::new(Moment::Running);
    let crashed = Demo::new(Moment::Crashed);
    vec![
        File { name: "kernel", bytes: Demo::unbooted(Moment::Running).kernel.image() },
        File { name: module::NAME, bytes: module::file() },
        File { name: "memory.lime", bytes: lime(&running) },
        File { name: "messages", bytes: messages::of_boot().into_bytes() },
        File { name: "swap", bytes: crash::device(&crashed) },
    ]
}

/// Compresses a file, as it is shipped.
pub fn compress(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 19).expect("memory has room")
}

/// What memory has, by physical address, in the format of LiME: a header with the first and the last address before each range.
fn lime(demo: &Demo) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (address, contents) in demo.kernel.memory().into_iter().filter(|(_, contents)| !contents.is_empty()) {
        let start = demo.kernel.physical(address);
        let mut contents = contents;
        vmcore_synth::pad(&mut contents, kernel::PAGE);
        bytes.extend(0x4c69_4d45_u32.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        for number in [start, start + contents.len() as u64 - 1, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(contents);
    }
    bytes
}

/// A dump without pages, of the RAM that the machine has.
fn empty_dump() -> MinidumpSpec {
    let mut dump = MinidumpSpec::example(vmcore_synth::Arch::Amd64, 3);
    dump.dump_avail = kernel::RAM.to_vec();
    (dump.pages, dump.mappings, dump.page_table_pages) = Default::default();
    let base = dump.direct_map.base;
    dump.direct_map = DirectMap { base, end: base + (4 << 40), physical: 0 };
    dump
}
