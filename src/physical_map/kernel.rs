//! What a kernel's own structures tell of physical memory: domains, free blocks, the firmware's map, and memory ranges.

use super::Collector;
use crate::error::Result;
use crate::memory_map::phys_free::BlockCounts;
use crate::memory_map::{MapError, MapSource, MemoryMap, Tables};
use crate::ranges::Descriptor;
use crate::ranges::default_type::{Defaults, Registers};
use crate::ranges::rules::{Rules, Table};
use vmcore::Kernel;
use vmcore::inventory::Source;
use vmcore::inventory::memory::firmware_maps::FirmwareMaps;
use vmcore::inventory::memory::free_blocks::FreeBlocks;
use vmcore::inventory::memory::free_pages::{FreePages, PhysicalSegment};
use vmcore::inventory::memory::memory_ranges::MemoryRanges;
use vmcore::physical_map::{FreeArea, Kind, LayerBuilder, LayerName};
use vmcore::segment::Segment;
use vmcore::units::Hex;

impl Collector {
    /// Takes the segments that a kernel, whose types are loaded, allocates pages from, and the free blocks; those only if it has no
    /// more than so many bytes of RAM. Returns what cannot be read.
    ///
    /// # Errors
    ///
    /// It has no types, or no such structures.
    pub fn add_kernel(&mut self, kernel: &Kernel, max_scanned: u64) -> Result<Vec<String>> {
        let source = Source::new(kernel)?;
        let pages = FreePages::read(&source)?;
        let segment =
            |segment: &PhysicalSegment| Segment { start: segment.start, end: segment.end, domain: segment.domain };
        let only_domain = (pages.domains.len() == 1).then_some(0);
        self.add_managed(&pages.segments.iter().map(segment).collect::<Vec<_>>(), only_domain);
        if !self.wants(LayerName::Free) {
            return Ok(pages.warnings);
        }
        self.free_areas = Some(areas(&pages));
        if self.ram_size() > max_scanned {
            self.set_absent(LayerName::Free, "of so much memory, 'memtool map' looks at each page");
            return Ok(pages.warnings);
        }
        let mut free = LayerBuilder::new(LayerName::Free, "struct vm_page");
        let blocks = FreeBlocks::each(source.typed, |block| {
            free.add(block.start, block.end, Kind::free(block.order, block.domain));
        })?;
        self.add_layer(free);
        Ok([blocks.warnings, pages.warnings].concat())
    }

    /// Takes what the kernel in a dump, whose types are loaded, knows of the machine as a host would tell it: the firmware's map,
    /// which replaces what the dump tells of RAM, and the memory ranges. Returns what cannot be read.
    ///
    /// # Errors
    ///
    /// It has no types.
    pub fn add_machine_of(&mut self, kernel: &Kernel) -> Result<Vec<String>> {
        let source = Source::new(kernel)?;
        let mut warnings = Vec::new();
        let map = firmware_map(&source).unwrap_or_else(|error| {
            warnings.push(format!("the firmware's map of memory cannot be read: {error}"));
            None
        });
        if let Some(map) = map {
            self.ram = Some((map.segments, format!("{} of the kernel", map.source.name())));
            self.reserved = map.reserved;
        }
        if self.wants(LayerName::Types) {
            match MemoryRanges::read(source.typed) {
                Ok(found) if found.ranges.is_empty() => {
                    self.set_absent(LayerName::Types, "the kernel has no memory ranges");
                }
                Ok(found) => self.add_ranges(kernel, &found),
                Err(error) => self.set_absent(LayerName::Types, error.to_string()),
            }
        }
        Ok(warnings)
    }

    fn add_ranges(&mut self, kernel: &Kernel, found: &MemoryRanges) {
        let architecture = kernel.memory().architecture();
        let Some(rules) = Rules::from_machine_arch(architecture.name()) else {
            return self.set_absent(LayerName::Types, format!("{} has no memory ranges", architecture.name()));
        };
        let descriptors = found.ranges.iter().map(Descriptor::from).collect();
        let table = Table::with_rules(descriptors, rules, found.physical_bits);
        let registers = Registers {
            vendor: found.vendor.clone().unwrap_or_default(),
            mtrr_def_type: found.default_type.map(Hex),
            ..Registers::default()
        };
        let segments = self.ram.iter().flat_map(|(segments, _)| segments).cloned().collect();
        let map = MemoryMap { source: MapSource::DumpAvail, segments, reserved: self.reserved.clone() };
        let defaults = Defaults::find(Some(&registers), &table, Some(&map));
        self.types = Some((table, map, defaults));
    }
}

/// The map that the loader handed to the kernel; `None` where it has handed over none.
fn firmware_map(source: &Source<'_>) -> Result<Option<MemoryMap>> {
    let maps = FirmwareMaps::read(source.typed)?;
    let tables = Tables { smap: maps.smap.as_deref(), efi_map: maps.efi_map.as_deref(), ..Tables::default() };
    match MemoryMap::from_tables(&tables) {
        Ok(map) => Ok(Some(map)),
        Err(MapError::NoTable) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The blocks of each domain and order, of all lists and pools.
fn areas(pages: &FreePages) -> Vec<FreeArea> {
    let mut counts = BlockCounts::default();
    for domain in &pages.domains {
        for (order, pools) in domain.lists.iter().flat_map(|list| (0..).zip(&list.orders)) {
            counts.add(domain.domain, order, pools.iter().copied());
        }
    }
    counts.areas(pages.page_size)
}
