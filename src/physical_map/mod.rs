//! The picture of physical memory that `memtool map` draws: layers from a host, a dump, a kernel and a process, put together.
//!
//! ```
//! use memtool::host::{self, Selection};
//! use memtool::physical_map::Collector;
//! use std::path::Path;
//! use vmcore::physical_map::LayerName;
//!
//! let host = host::open(&Selection { machine: Some(Path::new("demo")), device: None })?;
//! let mut collector = Collector::new(&LayerName::ALL);
//! collector.add_host(&*host)?;
//! let map = collector.finish();
//! assert!(map.end > 1 << 32);
//! assert!(map.layer(LayerName::Types).is_some() && map.layer(LayerName::Dump).is_none());
//! # Ok::<(), memtool::Error>(())
//! ```

mod kernel;
mod pages;

use crate::error::Result;
use crate::host::Host;
use crate::memory_map::{MemoryMap, Reserved, with_domains};
use crate::ranges::CacheType;
use crate::ranges::default_type::Defaults;
use crate::ranges::effective::{Effective, pieces_cut_at};
use crate::ranges::rules::Table;
use vmcore::bounds::saturating_u64;
use vmcore::dump::DumpedMemory;
use vmcore::physical_map::{AbsentLayer, Class, FreeArea, Kind, LayerBuilder, LayerName, PhysicalMap};
use vmcore::segment::{Segment, coalesce};

/// Up to here what is no RAM is drawn too: devices and firmware are there.
const FOUR_GIB: u64 = 1 << 32;

/// Collects layers.
#[derive(Debug)]
pub struct Collector {
    wanted: Vec<LayerName>,
    builders: Vec<LayerBuilder>,
    /// Where RAM is, and the table that says so.
    ram: Option<(Vec<Segment>, String)>,
    reserved: Vec<Reserved>,
    types: Option<(Table, MemoryMap, Defaults)>,
    absent: Vec<AbsentLayer>,
    free_areas: Option<Vec<FreeArea>>,
    /// What the kernel allocates pages from: what of it is not free is in use.
    managed: Vec<(u64, u64)>,
}

impl Collector {
    /// Collects these layers and no others.
    pub fn new(wanted: &[LayerName]) -> Self {
        Self {
            wanted: wanted.to_vec(),
            builders: Vec::new(),
            ram: None,
            reserved: Vec::new(),
            types: None,
            absent: Vec::new(),
            free_areas: None,
            managed: Vec::new(),
        }
    }

    /// Whether a layer is wanted.
    pub fn wants(&self, name: LayerName) -> bool {
        self.wanted.contains(&name)
    }

    /// Bytes of RAM, as far as that is known by now.
    pub fn ram_size(&self) -> u64 {
        let segments = self.ram.iter().flat_map(|(segments, _)| segments);
        segments.fold(0, |sum, segment| sum.saturating_add(segment.end.saturating_sub(segment.start)))
    }

    /// Says why a layer is not there; the first reason counts.
    pub fn set_absent(&mut self, name: LayerName, why: impl Into<String>) {
        if !self.absent.iter().any(|absent| absent.name == name) {
            self.absent.push(AbsentLayer { name, why: why.into() });
        }
    }

    /// Takes a host's memory map and memory ranges. That a machine has no memory ranges is no error.
    ///
    /// # Errors
    ///
    /// The host does not tell which addresses are RAM.
    pub fn add_host(&mut self, host: &dyn Host) -> Result<()> {
        let map = host.memory_map()?;
        self.ram = Some((map.segments.clone(), map.source.name().to_owned()));
        self.reserved.clone_from(&map.reserved);
        if self.wants(LayerName::Types) {
            match host.range_table() {
                Ok(table) => {
                    let registers = host.processor_registers();
                    let defaults = Defaults::find(registers.as_ref().ok(), &table, Some(&map));
                    self.types = Some((table, map, defaults));
                }
                Err(error) => self.set_absent(LayerName::Types, error.to_string()),
            }
        }
        if self.wants(LayerName::Free) {
            match host.free_areas() {
                Ok(areas) => self.free_areas = areas,
                Err(error) => self.set_absent(LayerName::Free, error.to_string()),
            }
        }
        Ok(())
    }

    /// Takes what a dump holds, and what it tells of RAM.
    ///
    /// # Errors
    ///
    /// Its physical addresses are unknown.
    pub fn add_dump(&mut self, dump: &DumpedMemory) -> Result<()> {
        dump.check_physical()?;
        let mut held = LayerBuilder::new(LayerName::Dump, dump.inspection().description());
        for extent in dump.extents() {
            held.add(
                extent.physical,
                extent.physical.saturating_add(extent.size),
                Kind::new(Class::Held, "in the dump"),
            );
        }
        let covered = dump.minidump().map(|facts| facts.segments()).filter(|segments| !segments.is_empty());
        let (ram, source) = match covered {
            Some(segments) => {
                (segments.iter().map(|segment| (segment.start.0, segment.end.0)).collect(), "dump_avail of the dump")
            }
            None => (
                dump.extents().map(|extent| (extent.physical, extent.physical.saturating_add(extent.size))).collect(),
                "the memory in the dump",
            ),
        };
        let ram = coalesce(ram).into_iter().map(|(start, end)| Segment { start, end, domain: None });
        self.ram = Some((ram.collect(), source.to_owned()));
        self.builders.push(held);
        Ok(())
    }

    /// Takes the segments that a kernel allocates pages from: they tell the domains of RAM. What they leave out is in the only
    /// domain, if there is one alone.
    pub fn add_managed(&mut self, segments: &[Segment], only_domain: Option<u32>) {
        self.managed = segments.iter().map(|segment| (segment.start, segment.end)).collect();
        if let Some((ram, _)) = &mut self.ram {
            let ranges = coalesce(ram.iter().map(|segment| (segment.start, segment.end)).collect());
            if ram.iter().all(|segment| segment.domain.is_none()) {
                *ram = with_domains(&ranges, segments, only_domain);
            }
        } else {
            self.ram = Some((segments.to_vec(), "vm_phys_segs".to_owned()));
        }
    }

    /// Takes a layer as it is.
    pub fn add_layer(&mut self, layer: LayerBuilder) {
        self.builders.push(layer);
    }

    /// The map. Layers of which nothing was taken are absent.
    pub fn finish(mut self) -> PhysicalMap {
        let end = self.end();
        if let Some(memory) = self.memory(end) {
            self.builders.push(memory);
        }
        if let Some(types) = self.types_layer(end) {
            self.builders.push(types);
        }
        let mut layers = Vec::new();
        for mut builder in std::mem::take(&mut self.builders) {
            let name = builder.name();
            match name {
                LayerName::Dump => self.ram_of(&mut builder, &Kind::new(Class::Missing, "not in the dump")),
                LayerName::Free => self.used(&mut builder),
                LayerName::Memory | LayerName::Types | LayerName::Process => {}
            }
            if !self.wants(name) {
                continue;
            }
            match builder.build(end) {
                Ok(layer) => layers.push(layer),
                Err(error) => self.set_absent(name, error.to_string()),
            }
        }
        layers.sort_by_key(|layer| layer.name);
        let is_absent = |absent: &AbsentLayer| {
            self.wanted.contains(&absent.name) && !layers.iter().any(|layer| layer.name == absent.name)
        };
        let mut absent: Vec<AbsentLayer> = self.absent.iter().filter(|absent| is_absent(absent)).cloned().collect();
        absent.sort_by_key(|absent| absent.name);
        PhysicalMap { end, layers, absent, free_areas: self.free_areas.take() }
    }

    /// Where the picture ends: behind all that is in it, but for what is listed beyond RAM and 4 GiB.
    fn end(&self) -> u64 {
        let ram = self.ram.iter().flat_map(|(segments, _)| segments).map(|segment| segment.end);
        let layers = self.builders.iter().map(LayerBuilder::end);
        let reserved = self.reserved.iter().map(|range| range.end);
        let ranges = self.types.iter().flat_map(|(table, ..)| table.descriptors());
        let ranges = ranges.filter(|range| range.is_active()).map(|range| saturating_u64(range.end()));
        ram.chain(layers).chain(reserved.chain(ranges).filter(|end| *end <= FOUR_GIB)).max().unwrap_or(0)
    }

    /// RAM counts where the firmware lists something else too: the kernel uses it.
    fn memory(&self, end: u64) -> Option<LayerBuilder> {
        let (segments, source) = self.ram.as_ref()?;
        let mut memory = LayerBuilder::new(LayerName::Memory, source.clone());
        segments.iter().for_each(|segment| memory.add(segment.start, segment.end, Kind::ram(segment.domain)));
        for range in &self.reserved {
            memory.add(range.start, range.end, Kind::new(reserved_class(&range.kind), range.kind.clone()));
        }
        memory.add(0, end, Kind::new(Class::Hole, "hole"));
        Some(memory)
    }

    fn types_layer(&self, end: u64) -> Option<LayerBuilder> {
        let (table, map, defaults) = self.types.as_ref()?;
        let mut types = LayerBuilder::new(LayerName::Types, "memory ranges");
        for piece in pieces_cut_at(table, map, 0, end.into(), defaults.borders()) {
            types.add(piece.start, saturating_u64(piece.end), type_kind(piece.effective, defaults, piece.start));
        }
        Some(types)
    }

    /// Adds RAM that a layer does not have.
    fn ram_of(&self, builder: &mut LayerBuilder, kind: &Kind) {
        for segment in self.ram.iter().flat_map(|(segments, _)| segments) {
            builder.add(segment.start, segment.end, kind.clone());
        }
    }

    /// Adds what the kernel allocates pages from and is not free.
    fn used(&self, builder: &mut LayerBuilder) {
        for (start, end) in &self.managed {
            builder.add(*start, *end, Kind::new(Class::Used, "in use"));
        }
    }
}

/// What a word of the firmware's is.
fn reserved_class(kind: &str) -> Class {
    let kind = kind.to_ascii_lowercase();
    match kind.as_str() {
        "reserved" => Class::Reserved,
        "unusable" | "disabled" => Class::Unusable,
        _ if kind.contains("persistent") => Class::Persistent,
        _ if kind.contains("acpi") && kind.contains("nvs") => Class::AcpiNvs,
        _ if kind.contains("acpi") => Class::Acpi,
        _ => Class::Firmware,
    }
}

fn type_kind(effective: Effective, defaults: &Defaults, address: u64) -> Kind {
    let class = match effective {
        Effective::Cache(CacheType::Uncacheable) => Class::Uncacheable,
        Effective::Cache(CacheType::WriteCombine) => Class::WriteCombine,
        Effective::Cache(CacheType::WriteThrough) => Class::WriteThrough,
        Effective::Cache(CacheType::WriteBack) => Class::WriteBack,
        Effective::Cache(CacheType::WriteProtect) => Class::WriteProtect,
        Effective::Default => Class::DefaultType,
        Effective::Undefined => Class::UndefinedType,
        Effective::Unknown => Class::UnknownType,
    };
    let text = match effective {
        Effective::Default => {
            let default = defaults.at(address);
            format!("default type, {}", default.cache.map_or("unknown", CacheType::name))
        }
        other => other.name().to_owned(),
    };
    Kind::new(class, text)
}
