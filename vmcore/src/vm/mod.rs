//! The virtual memory of processes and of the kernel, read from the kernel's own structures by its types: maps and their
//! entries, the objects behind them, how much of these is in memory, and the paths of files by the name cache.
//!
//! What [`kern.proc.vmmap`](https://man.freebsd.org/procstat/1) tells of a running kernel, this tells of a dump too, with
//! the addresses of the structures.
//!
//! ```no_run
//! use std::path::Path;
//! use vmcore::Kernel;
//! use vmcore::types::ctf::CtfTypes;
//! use vmcore::vm::AddressSpace;
//!
//! # fn main() -> vmcore::Result<()> {
//! let mut kernel = Kernel::open(Path::new("vmcore.0"), Some(Path::new("/boot/kernel/kernel")))?;
//! kernel.load_types(&mut CtfTypes::default())?;
//! let process = kernel.processes()?.list.into_iter().find(|process| process.pid == 1);
//! if let Some(process) = process {
//!     let space = AddressSpace::read_process(kernel.typed()?, &process, false)?;
//!     for mapping in &space.mappings {
//!         println!("{:#x}-{:#x}", mapping.entry.start, mapping.entry.end);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Sources: `sys/vm/vm_map.h`, `vm_map.c`, `vm_object.h`, `vm_page.h`, `swap_pager.c`, `sys/kern/subr_pctrie.c`,
//! `vfs_cache.c`, and `kern_proc_vmmap_out()` in `sys/kern/kern_proc.c`.

mod file_status;
mod map;
mod name_cache;
mod object;
mod physical;
mod ranges;
mod resident;
mod space;
mod structure;
mod superpages;
mod trie;

pub use file_status::{FileId, FileStatus};
pub use map::{EntryFlags, MapFlags, VmMap, VmMapEntry};
pub use name_cache::CachedPath;
pub(crate) use name_cache::NameCache;
pub(crate) use object::ObjectReader;
pub use object::{ObjectFlags, VmObject};
pub use resident::Residency;
pub use space::{AddressSpace, MappedObject, Mapping, SpaceLayout, Target};
pub use structure::{ShownStructure, StructureMask, StructureMember, members};
