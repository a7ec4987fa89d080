//! The kernel's own map, as a map of entries like those of processes.

use super::{KERNEL, MapEntry, Object, ProcessMap, Superpages, Usage};
use crate::memory_map::kernel_maps::KernelMapping;
use vmcore::pmap::Protection;

/// The kernel's own map, of what `vm.pmap.kernel_maps` lists. All of it is in memory, and what larger pages map
/// counts as superpages. The kernel does not list them in the order of their addresses.
pub fn from_kernel_maps(maps: &[KernelMapping], page_size: u64) -> ProcessMap {
    let mut entries: Vec<MapEntry> = maps.iter().map(|map| entry_from_mapping(map, page_size)).collect();
    entries.sort_by_key(|entry| entry.start);
    ProcessMap {
        pid: KERNEL.as_raw(),
        command: "kernel".into(),
        layout: None,
        entries,
        domains: None,
        structures: None,
    }
}

fn entry_from_mapping(map: &KernelMapping, page_size: u64) -> MapEntry {
    let mut entry = MapEntry::new(map.start, map.end, Object::Kernel);
    let has = |letter| map.permissions.contains(letter);
    entry.private = false;
    entry.needs_copy = Some(false);
    entry.protection = Protection { read: has('r'), write: has('w'), execute: has('x') };
    entry.label = map.region.as_bytes().to_vec();
    let smallest = map.pages.last().map_or(0, |pages| pages.saturating_mul(page_size));
    let superpages = Superpages::Bytes(entry.size().saturating_sub(smallest));
    let usage = Usage { resident: entry.size(), private: None, shared: None, superpages, dirty: None, swapped: None };
    entry.usage = Some(usage);
    entry
}
