//! What a kernel counts and holds, read from its memory by its types: the tables that vmstat(8), swapinfo(8) and the like
//! show of a running system. One file for each table.
//!
//! The values are those that the running kernel's sysctl(3) tells, not the fewer ones that FreeBSD's programs read from a dump.
//! What cannot be read is not known, and a warning says so; what this kernel's structures do not have is not known
//! either, without one. Nothing is taken to be 0.

pub mod free_pages;
pub mod malloc_types;
pub mod page_queues;
pub mod page_use;
mod physical;
mod reader;
pub mod swap_devices;
pub mod vm_counters;
pub mod zones;
