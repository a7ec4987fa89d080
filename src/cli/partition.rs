//! Partitions of disks in JSON.

use serde::Serialize;
use vmcore::dump::DiskSearch;
use vmcore::dump::disk::{Partition, Scheme};
use vmcore::text::Name;

#[derive(Serialize)]
pub struct PartitionDocument {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    label: Option<Name>,
    first_sector: u64,
    last_sector: u64,
}

impl PartitionDocument {
    pub fn new(partition: &Partition) -> Self {
        Self {
            name: partition.name.clone(),
            kind: partition.kind.clone(),
            label: partition.label.as_deref().map(Name::from),
            first_sector: partition.first_sector(),
            last_sector: partition.last_sector(),
        }
    }
}

#[derive(Serialize)]
pub struct DiskDocument {
    scheme: Scheme,
    sector_size: u32,
    partitions: Vec<Listed>,
}

/// A partition, and whether there is a dump in it.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    partition: PartitionDocument,
    has_dump: bool,
}

impl DiskDocument {
    /// `None` of what has no partition table.
    pub fn new(search: &DiskSearch) -> Option<Self> {
        let disk = search.disk.as_ref()?;
        let has_dump = |partition: &Partition| search.dumps.iter().any(|found| found.partition == *partition);
        let listed = |partition| Listed { partition: PartitionDocument::new(partition), has_dump: has_dump(partition) };
        let partitions = disk.partitions.iter().map(listed).collect();
        Some(Self { scheme: disk.scheme, sector_size: disk.sector_size, partitions })
    }
}
