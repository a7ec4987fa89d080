//! The layouts, constants and request codes as the Rust compiler makes them for a target, in statics that
//! `tests/layout.rs` reads out of the library, which never runs.
#![no_std]

#[path = "../layout/table.rs"]
pub mod table;

/// What is in the headers that are the same everywhere.
#[used]
#[unsafe(no_mangle)]
pub static LAYOUT_COMMON: [u64; table::common::VALUES.len()] = table::common::VALUES;

/// What is in `machine/minidump.h` of amd64.
#[used]
#[unsafe(no_mangle)]
pub static LAYOUT_AMD64: [u64; table::amd64::VALUES.len()] = table::amd64::VALUES;

/// What is in `machine/minidump.h` of arm64.
#[used]
#[unsafe(no_mangle)]
pub static LAYOUT_ARM64: [u64; table::arm64::VALUES.len()] = table::arm64::VALUES;

/// What is in `machine/minidump.h` of riscv.
#[used]
#[unsafe(no_mangle)]
pub static LAYOUT_RISCV: [u64; table::riscv::VALUES.len()] = table::riscv::VALUES;

/// What is in `machine/minidump.h` of i386.
#[used]
#[unsafe(no_mangle)]
pub static LAYOUT_I386: [u64; table::i386::VALUES.len()] = table::i386::VALUES;

/// What is in `machine/minidump.h` of arm.
#[used]
#[unsafe(no_mangle)]
pub static LAYOUT_ARM: [u64; table::arm::VALUES.len()] = table::arm::VALUES;

/// What is in `machine/minidump.h` of powerpc64.
#[used]
#[unsafe(no_mangle)]
pub static LAYOUT_POWERPC64: [u64; table::powerpc64::VALUES.len()] = table::powerpc64::VALUES;
