//! memtool: FreeBSD's mem(4) as a library.
//!
//! A program picks a [`host::Host`] (the FreeBSD system it runs on, or a recorded machine), or for processes a
//! [`host::ProcessHost`] (Linux, too), and hands it to the module for its question:
//!
//! - [`ranges`]: memory range attributes (MTRRs): list, check, explain; [`range_change`]: change;
//! - [`paddr`]: where the pages of a process lie;
//! - [`process_map`]: what a process has mapped, and how much of it is in memory;
//! - [`dump`]: physical memory, RAM only;
//! - [`livedump`]: a minidump of the running kernel, as the kernel makes it;
//! - [`live_kernel`]: the same, made from user space with the kernel's [`symbols`];
//! - [`save`]: crash dumps from a dump device, checked, saved and cleared;
//! - [`vmcore`]: kernel dumps of every architecture, read and checked;
//! - [`decrypt`]: encrypted kernel dumps;
//! - [`kernel`]: a kernel's memory by virtual address, in a dump or an image;
//! - [`mod@format`]: the formats of memory images, and how they are written;
//! - [`convert`]: a dump as a core file for debuggers, or in another format;
//! - [`pmap`]: what page table entries say;
//! - [`compress`]: where dumps are compressed and written while the next part is read;
//! - [`network`]: a dump that is sent to another host;
//! - [`observer`]: what long work tells while it goes on;
//! - [`record`]: what a host looks like, as a file to run against elsewhere.
//!
//! Every failure is an [`Error`]. The library prints nothing.

pub mod compress;
pub mod convert;
#[cfg(target_os = "freebsd")]
mod disk;
pub mod dump;
mod error;
pub mod files;
pub mod files_in_use;
pub mod format;
pub mod free_space;
pub mod host;
pub mod interrupt;
pub mod kernel_error;
pub mod live_kernel;
pub mod livedump;
pub mod memory_map;
pub mod network;
pub mod observer;
pub mod output_file;
pub mod paddr;
pub mod process_map;
pub mod range_change;
pub mod ranges;
pub mod record;
pub mod save;

pub use error::{Error, Result};
pub use kernel_error::{KernelError, Operation};
