//! Which dump is meant: that of a file or device, or one in the partitions of a disk.

use super::byte_source::ByteSource;
use super::disk::{Disk, Partition, partitions};
use super::locate::{DeviceDump, DumpLocation, begins_as_dump, in_file, on_device, on_partition};
use super::{Damage, Findings, stream};
use crate::kerneldump::Compression;
use std::fmt;
use std::io;

/// Finds the dump in a file or device.
pub fn locate(volume: &ByteSource, findings: &mut Findings) -> io::Result<DumpLocation> {
    if volume.running().is_some() {
        // Its memory may begin with anything.
        return Ok(DumpLocation::file(volume));
    }
    let mut of_device = Findings::default();
    let device = match volume.partition() {
        Some(_) => None,
        None => on_device(volume, volume.sector_size(), &mut of_device)?,
    };
    match device {
        // A device may begin with anything, such as a page that looks like a dump: two headers that agree decide.
        Some(found) if of_device.damage.is_empty() => Ok(found.location),
        _ if begins_as_dump(volume)? => {
            // What is compressed may be a disk.
            if let Some(wanted) = volume.partition()
                && stream::compression_at(volume, 0)? == Compression::None
            {
                findings.disk = Some(DiskSearch::without_table(wanted));
                return Ok(DumpLocation::file(volume));
            }
            in_file(volume, findings)
        }
        Some(found) => {
            findings.damage.append(&mut of_device.damage);
            Ok(found.location)
        }
        None => in_partition(volume, findings),
    }
}

/// Finds the dump in a partition of a disk. What has no partition table is a file that holds nothing else.
fn in_partition(volume: &ByteSource, findings: &mut Findings) -> io::Result<DumpLocation> {
    let Some(search) = on_disk(volume, None)? else { return Ok(DumpLocation::file(volume)) };
    let chosen = search.chosen().map(|found| (found.dump.location.clone(), found.damage.clone()));
    if chosen.is_some() {
        findings.warnings.extend(search.warnings());
    }
    findings.disk = Some(search);
    let Some((location, damage)) = chosen else { return Ok(DumpLocation::file(volume)) };
    findings.damage.extend(damage);
    Ok(location)
}

/// A dump in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDump {
    /// The partition.
    pub partition: Partition,
    /// The dump, by its place on the disk.
    pub dump: DeviceDump,
    /// What is wrong with its headers.
    pub damage: Vec<Damage>,
}

/// The partitions of a disk, and the dumps that were found in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSearch {
    /// Its partitions; `None` if it has no partition table.
    pub disk: Option<Disk>,
    /// In the order of the partitions.
    pub dumps: Vec<PartitionDump>,
    /// The partition that somebody named.
    wanted: Option<String>,
}

/// Looks for dumps in the partitions of a disk, or in the one that was named ([`ByteSource::with_partition`]). `None` where
/// there is no partition table and none was named.
///
/// # Errors
///
/// It cannot be read.
pub fn on_disk(volume: &ByteSource, sector_size: Option<u32>) -> io::Result<Option<DiskSearch>> {
    let disk = partitions(volume, volume.sector_size().or(sector_size))?;
    let wanted = volume.partition().map(str::to_owned);
    if disk.is_none() && wanted.is_none() {
        return Ok(None);
    }
    let mut search = DiskSearch { disk, dumps: Vec::new(), wanted };
    for partition in search.searched() {
        let mut findings = Findings::default();
        if let Some(dump) = on_partition(volume, &partition, sector_size, &mut findings)? {
            search.add(PartitionDump { partition, dump, damage: findings.damage });
        }
    }
    Ok(Some(search))
}

impl DiskSearch {
    /// That there is no partition table where a partition was named.
    pub(super) fn without_table(wanted: &str) -> Self {
        Self { disk: None, dumps: Vec::new(), wanted: Some(wanted.to_owned()) }
    }

    /// The partitions that are looked into: all, or the one that was named, or those of that label.
    pub fn searched(&self) -> Vec<Partition> {
        let all = || self.disk.iter().flat_map(|disk| &disk.partitions);
        let Some(name) = &self.wanted else { return all().cloned().collect() };
        let named: Vec<Partition> = all().filter(|partition| partition.is_named(name)).cloned().collect();
        if !named.is_empty() {
            return named;
        }
        all().filter(|partition| partition.label.as_ref() == Some(name)).cloned().collect()
    }

    /// Adds a dump. A slice and its last partition end in the same sector: the smaller one has the dump.
    fn add(&mut self, found: PartitionDump) {
        let last_at = found.dump.last_at;
        match self.dumps.iter_mut().find(|other| other.dump.last_at == last_at) {
            Some(other) if found.partition.start >= other.partition.start => *other = found,
            Some(_) => {}
            None => self.dumps.push(found),
        }
    }

    /// The dump that is meant: the only one, the only one whose headers agree or, of those, the only one that was not cleared.
    pub fn chosen(&self) -> Option<&PartitionDump> {
        let all: Vec<&PartitionDump> = self.dumps.iter().collect();
        let whole: Vec<&PartitionDump> = all.iter().copied().filter(|found| found.damage.is_empty()).collect();
        let new: Vec<&PartitionDump> =
            whole.iter().copied().filter(|found| found.dump.last == found.dump.uncleared).collect();
        [all, whole, new].iter().find_map(|dumps| if let [only] = dumps.as_slice() { Some(*only) } else { None })
    }

    /// What is wrong with the partition tables, and that there are other dumps besides the one that is meant.
    pub fn warnings(&self) -> Vec<String> {
        self.disk.iter().flat_map(|disk| &disk.warnings).cloned().chain(self.others()).collect()
    }

    /// Dumps that there are besides the one that is meant, as a sentence.
    fn others(&self) -> Option<String> {
        let chosen = self.chosen().filter(|_| self.dumps.len() > 1)?;
        let others = self.dumps.iter().filter(|found| found.partition != chosen.partition);
        let others: Vec<String> = others.map(ToString::to_string).collect();
        Some(format!("there is another dump, in {}: --partition chooses it", others.join("; in ")))
    }

    /// Why there is no dump that is meant.
    pub fn problem(&self) -> String {
        let named = |partitions: &[Partition]| {
            let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
            if names.is_empty() { "no partitions".to_owned() } else { names.join("; ") }
        };
        let Some(disk) = &self.disk else {
            let wanted = self.wanted.as_deref().unwrap_or_default().escape_debug();
            return format!("there is no partition '{wanted}' in it: it has no partition table");
        };
        let scheme = disk.scheme.name();
        let damage = disk.warnings.iter().map(|warning| format!("; {warning}")).collect::<String>();
        match &self.wanted {
            Some(name) if self.searched().is_empty() => {
                let (name, all) = (name.escape_debug(), named(&disk.partitions));
                format!("a disk ({scheme}) without a partition '{name}'; it has {all}{damage}")
            }
            _ if self.dumps.is_empty() => {
                format!("a disk ({scheme}), and no partition searched has a dump: {}{damage}", named(&self.searched()))
            }
            _ => {
                let dumps: Vec<String> = self.dumps.iter().map(ToString::to_string).collect();
                format!(
                    "a disk ({scheme}) with several dumps: in {}; choose one with --partition{damage}",
                    dumps.join("; in ")
                )
            }
        }
    }
}

/// Its partition, and what is to be known of the dump besides.
impl fmt::Display for PartitionDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.partition.fmt(f)?;
        if self.dump.last != self.dump.uncleared {
            f.write_str(", cleared")?;
        }
        if !self.damage.is_empty() {
            f.write_str(", with damaged headers")?;
        }
        Ok(())
    }
}
