//! Memory: what the kernel counts of it, which allocator has how much, free pages and queues of pages, and who holds each page.

pub mod firmware_maps;
pub mod free_blocks;
pub mod free_pages;
pub mod malloc_types;
pub mod memory_ranges;
pub mod page_queues;
pub mod page_use;
mod physical;
pub mod spare_pages;
pub mod swap_devices;
pub mod vm_counters;
pub mod zones;
