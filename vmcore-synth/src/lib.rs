//! A builder of kernel dumps for tests: minidumps of six architectures, full dumps, text dumps, and what
//! stands around them on a dump device or in the file of a live dump.
//!
//! Written from FreeBSD's headers and kernel alone, it shares no layout with the library, so that one
//! error cannot cancel out another. memtool's `tests/all/vmcore_layout.rs` compares its offsets with FreeBSD's
//! headers, `tests/all/vmcore_builder.rs` what it builds with dumps of a real kernel.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "test code: a description that makes no sense is a test that fails"
)]

pub mod arch;
pub mod ctf;
pub mod device;
pub mod disk;
pub mod elf;
pub mod image;
pub mod kernel_memory;
pub mod kerneldump;
pub mod machine_tables;
pub mod minidump;
pub mod page_tables;
pub mod spec;
pub mod stack;
mod trees;
pub mod typed_kernel;
pub mod virtual_machine;

pub use arch::{Arch, Endianness};
pub use device::{DumpDevice, key_block, live_dump, text_archive, text_dump};
pub use elf::ElfSpec;
pub use kernel_memory::{KernelMemory, Paging};
pub use kerneldump::{Compression, KernelDumpHeader, Kind};
pub use minidump::{Parts, every_variant};
pub use page_tables::Translation;
pub use spec::{DirectMap, Mapping, MinidumpSpec};
pub use stack::{Stack, Trap};

/// A field of a structure: its name, and offset and size in bytes.
pub type Field = (&'static str, usize, usize);

/// The field of that name.
pub fn field(fields: &[Field], name: &str) -> Field {
    *fields.iter().find(|field| field.0 == name).unwrap_or_else(|| panic!("no field {name}"))
}

/// Writes an integer into the field of that name.
pub fn set(bytes: &mut [u8], fields: &[Field], order: Endianness, name: &str, value: u64) {
    let (_, offset, size) = field(fields, name);
    bytes[offset..offset + size].copy_from_slice(&order.bytes(value, size));
}

/// Writes text into the field of that name, and leaves NULs behind it.
pub fn set_text(bytes: &mut [u8], fields: &[Field], name: &str, text: &str) {
    let (_, offset, size) = field(fields, name);
    assert!(text.len() <= size, "{name} has room for {size} bytes: {text}");
    bytes[offset..offset + size].fill(0);
    bytes[offset..offset + text.len()].copy_from_slice(text.as_bytes());
}

/// Appends zeros up to a multiple of a block.
pub fn pad(bytes: &mut Vec<u8>, block: u64) {
    bytes.resize(bytes.len().next_multiple_of(block as usize), 0);
}

/// What a page holds unless told otherwise: eight-byte words that tell its address, none of them zero.
pub fn page_of(address: u64, page_size: u64) -> Vec<u8> {
    let mut page = Vec::new();
    let mut word = address;
    // Tests make millions of these words without optimisation, where iterators take their time.
    while word < address + page_size {
        page.extend_from_slice(&(word ^ 0x5a5a_0000_0000_a5a5).to_le_bytes());
        word += 8;
    }
    page
}

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
