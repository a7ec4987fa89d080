//! What a kernel counts and holds, read from its memory by its types: what vmstat(8), swapinfo(8) and the like show of a
//! running system. One file for each section, one folder for each subject; [`SectionName`] lists them.
//!
//! The values are those that the running kernel's sysctl(3) tells, not the fewer ones that FreeBSD's programs read from a dump.
//! What cannot be read is not known, and a warning says so; what this kernel's structures do not have is not known
//! either, without one. Nothing is taken to be 0.
//!
//! ```no_run
//! use std::path::Path;
//! use vmcore::Kernel;
//! use vmcore::inventory::{SectionName, Source};
//! use vmcore::types::ctf::CtfTypes;
//!
//! # fn main() -> vmcore::Result<()> {
//! let mut kernel = Kernel::open(Path::new("vmcore.0"), Some(Path::new("/boot/kernel/kernel")))?;
//! kernel.load_types(&mut CtfTypes::default())?;
//! let zones = SectionName::Zones.read(&Source::new(&kernel)?)?;
//! for table in zones.tables() {
//!     println!("{:?}", table.rows);
//! }
//! # Ok(())
//! # }
//! ```

mod buffer_headers;
mod descriptors;
pub mod devices;
mod fields;
mod host_address;
pub mod memory;
pub mod network;
pub mod objects;
mod pcb;
mod reader;
mod sections;
mod source;
pub mod waiting;

pub use host_address::HostAddress;
pub use sections::{Inventory, NoSection, SectionData, SectionName};
pub use source::{Source, Topic};
