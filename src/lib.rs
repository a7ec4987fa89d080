//! memtool: FreeBSD's mem(4) as a library.
//!
//! A program picks a [`host::Host`] (the FreeBSD system it runs on, or a recorded machine), or for processes a
//! [`host::ProcessHost`] (Linux, too), and hands it to the module for its question:
//!
//! - [`ranges`]: memory range attributes (MTRRs): list, check, explain; [`range_change`]: change;
//! - [`paddr`]: where the pages of a process lie;
//! - [`process_map`]: what a process has mapped, and how much of it is in memory;
//! - [`physical_map`]: a picture of physical memory;
//! - [`dump`]: physical memory, RAM only, or what is converted, written where it is to go;
//! - [`livedump`]: a minidump of the running kernel, made by the kernel, or by memtool from user space;
//! - [`live_kernel`]: the memory and the symbols of the running kernel;
//! - [`signature`]: manifests that are signed;
//! - [`custody`]: who had a dump when, and why;
//! - [`save`]: crash dumps from a dump device, checked, saved and cleared;
//! - [`crash_dump`]: the dumps that were saved, found by number;
//! - [`dump_input`]: a dump that is read, wherever it is;
//! - [`decrypt`]: encrypted dumps, decrypted into files;
//! - `archive`: crashes of a fleet, each kept once (feature `archive`);
//! - [`core_files`]: that there are none of the program itself;
//! - [`compress`]: where dumps are compressed and written while the next part is read;
//! - [`encryption`]: outputs encrypted to recipients, and inputs that were;
//! - [`remote`]: a dump that is sent to another host;
//! - [`owner_names`]: the names of this system's users and groups;
//! - [`record`]: what a host looks like, as a file to run against elsewhere.
//!
//! What is in a dump or in a kernel's memory the crate [`vmcore`] reads.
//!
//! Every failure is an [`Error`]. The library prints nothing.

#[cfg(feature = "archive")]
pub mod archive;
#[cfg(target_os = "freebsd")]
mod bhyve;
pub mod compress;
pub mod core_files;
pub mod crash_dump;
pub mod custody;
pub mod decrypt;
#[cfg(target_os = "freebsd")]
mod disk;
pub mod dump;
pub mod dump_input;
pub mod encryption;
mod error;
pub mod files;
pub mod files_in_use;
pub mod free_space;
pub mod host;
pub mod interrupt;
pub mod kernel_error;
pub mod live_kernel;
pub mod livedump;
pub mod memory_map;
pub mod observer;
pub mod output_file;
pub mod owner_names;
pub mod paddr;
pub mod physical_map;
pub mod process_map;
pub mod range_change;
pub mod ranges;
pub mod receive;
pub mod record;
pub mod remote;
pub mod save;
mod sha256;
pub mod signature;

pub use error::{Error, Result};
pub use kernel_error::{KernelError, Operation};
