//! vmcore: what is in a FreeBSD kernel dump, or in a kernel's memory.
//!
//! [`Kernel::open`] opens a dump with the image of its kernel, and answers memory, symbols and processes. Below it:
//!
//! - [`dump`]: kernel dumps of every architecture, in files, live dumps and dump devices, read and checked;
//! - [`kernel`]: a kernel's memory by virtual address, in a dump or an image, its processes and threads;
//! - [`kinfo`]: what ps(1) shows of them, by the kernel's types;
//! - [`inventory`]: what it counts and holds, as vmstat(8) and the like show it;
//! - [`stack`]: which functions its threads were in;
//! - [`messages`]: what it said;
//! - [`physical_map`]: a picture of physical memory;
//! - [`report`]: all of that of a crash;
//! - [`live`]: the kernel of a system that runs, and minidumps made of it from user space;
//! - [`symbols`]: the symbols of a kernel and its modules;
//! - `debug_info`: the source of their code, if the feature `debug-info` is enabled;
//! - [`types`]: the types of its C, from the kernel alone;
//! - [`expression`]: expressions of its variables, as C has them;
//! - [`pmap`]: what page table entries say;
//! - [`convert`]: a dump as a core file for debuggers, or in another format;
//! - [`decrypt`]: encrypted dumps;
//! - [`mod@format`]: images of memory as they are written: raw, padded, ELF, LiME;
//! - [`minidump`], [`kerneldump`], [`lime`]: formats, with their writers;
//! - [`bounds`], [`mod@text`]: parts of buffers, tables and texts, without a panic.
//!
//! Every failure is an [`Error`]. The library prints nothing, opens nothing but what it is asked to read, and makes no
//! system calls but those of Rust's standard library.

#![forbid(unsafe_code)]

pub mod architecture;
pub mod bounds;
pub mod chunks;
pub mod convert;
#[cfg(feature = "debug-info")]
pub mod debug_info;
#[cfg(feature = "decrypt")]
pub mod decrypt;
pub mod dump;
pub mod elf;
pub mod errno;
mod error;
pub mod expression;
pub mod fault;
pub mod format;
pub mod inventory;
pub mod kernel;
pub mod kerneldump;
pub mod kinfo;
pub mod lime;
pub mod lists;
pub mod live;
mod markup;
pub mod memory;
pub mod messages;
pub mod minidump;
pub mod mismatch;
pub mod near;
pub mod opened;
pub mod physical_map;
pub mod pmap;
pub mod progress;
pub mod query;
pub mod ram;
pub mod report;
pub mod segment;
mod sparse_bits;
pub mod stack;
pub mod symbols;
pub mod system;
pub mod table;
pub mod text;
pub mod types;
pub mod units;
pub mod value;
pub mod vm;
mod warnings;

pub use error::{Error, Result};
pub use kernel::Kernel;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
