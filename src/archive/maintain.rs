//! The index, merged or made anew from the records; and what is not as it should be in an archive.

use super::contents::{self, Findings, Merge};
use super::index::Row;
use super::names::{CRASHES, Id, Month, RECORD, parse_crash};
use super::prune;
use super::record::{CrashRecord, MAX_RECORD};
use crate::error::{Error, Result};
use crate::remote::folder::{Entry, Folder};
use std::collections::{BTreeMap, HashSet};

/// What became of an index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Crashes in the index.
    pub row_count: u64,
    /// Months.
    pub month_count: u64,
    /// Objects of the index that were removed, since others have their rows.
    pub removed_count: u64,
    /// Crashes that a run before was removing when it was killed.
    pub pruned_count: u64,
    /// Crashes without a record: being added, or left by a run that was killed; where all were looked at.
    pub orphan_count: Option<u64>,
    /// What is wrong.
    pub findings: Findings,
}

impl Maintained {
    fn add(&mut self, merge: Merge) {
        self.row_count += merge.row_count;
        self.removed_count += merge.removed_count;
        self.month_count += 1;
    }
}

/// Merges the objects of each month.
///
/// # Errors
///
/// The archive cannot be read or written; its index is of another version.
pub fn merge(folder: &dyn Folder) -> Result<Maintained> {
    let mut done = Maintained::default();
    done.pruned_count = prune::finish(folder, &mut done.findings)?;
    for (month, objects) in contents::list(folder, &mut done.findings)? {
        let merged = contents::merge(folder, &month, &objects, &HashSet::new(), &mut done.findings)?;
        done.add(merged);
    }
    Ok(done)
}

/// A crash, by the names of its objects.
#[derive(Default)]
struct Objects {
    has_record: bool,
    sizes: Vec<(String, u64)>,
}

/// Makes the index anew from the records, whatever it was before.
///
/// # Errors
///
/// The archive cannot be read or written.
pub fn rebuild(folder: &dyn Folder) -> Result<Maintained> {
    let mut done = Maintained::default();
    // Before the records: the record of a row that is here now is found.
    let before = contents::list(folder, &mut done.findings)?;
    let pruned: HashSet<(Month, Id)> = contents::pruned(folder)?.into_iter().collect();
    let mut crashes: BTreeMap<(Month, Id), Objects> = BTreeMap::new();
    let remarks = &mut done.findings.remarks;
    folder.list(CRASHES, &mut |Entry { name, size }| match parse_crash(CRASHES, &name) {
        Some((month, id, file)) if !file.is_empty() => {
            let objects = crashes.entry((month, id)).or_default();
            objects.has_record |= file == RECORD;
            objects.sizes.push((name, size));
        }
        _ => remarks.push(format!("{}{name} is none of the archive's, and passed over", folder.name())),
    })?;
    crashes.retain(|crash, _| !pruned.contains(crash));
    let mut orphan_count = 0;
    for ((month, id), objects) in crashes.iter().filter(|(_, objects)| !objects.has_record) {
        orphan_count += 1;
        let (name, size) = (month.crash(id), objects.sizes.iter().map(|(_, size)| size).sum::<u64>());
        remarks.push(format!(
            "{}{name} has no record, and {size} bytes: it is being added, or its run was killed; add the dump again, or remove the folder",
            folder.name()
        ));
    }
    crashes.retain(|_, objects| objects.has_record);
    let mut months: BTreeMap<Month, Vec<Row>> = before.keys().map(|month| (month.clone(), Vec::new())).collect();
    for (month, row) in read_records(folder, &crashes, &mut done.findings)? {
        months.entry(month).or_default().push(row);
    }
    for (month, rows) in months {
        let row_count = rows.len() as u64;
        let kept = contents::write(folder, &month, rows)?;
        let old = before.get(&month).map_or(&[][..], Vec::as_slice).iter().map(|listed| listed.name.clone());
        let removed_count = contents::remove(folder, &old.collect::<Vec<_>>(), kept.as_deref())?;
        if row_count > 0 {
            done.add(Merge { row_count, removed_count });
        }
    }
    done.orphan_count = Some(orphan_count);
    // The index is of this version now.
    done.pruned_count = prune::finish(folder, &mut done.findings)?;
    Ok(done)
}

fn read_records(
    folder: &dyn Folder,
    crashes: &BTreeMap<(Month, Id), Objects>,
    findings: &mut Findings,
) -> Result<Vec<(Month, Row)>> {
    let names: Vec<String> = crashes.keys().map(|(month, id)| month.record(id)).collect();
    let all: Vec<_> = crashes.iter().collect();
    let mut rows = Vec::new();
    folder.read_each(&names, MAX_RECORD, &mut |index, bytes| {
        let (Some(((month, id), objects)), Some(name)) = (all.get(index), names.get(index)) else { return Ok(()) };
        let bytes = match bytes {
            Ok(Some(bytes)) => bytes,
            // It is being removed.
            Ok(None) => return Ok(()),
            Err(Error::Format(why)) => {
                findings.problems.push(why);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        match check(month, id, objects, &bytes) {
            Ok((record, missing)) => {
                let place = folder.name();
                missing.iter().for_each(|missing| findings.problems.push(format!("{place}{missing}")));
                rows.push((month.clone(), record.row()));
            }
            Err(why) => findings.problems.push(format!("{}{name}: {why}", folder.name())),
        }
        Ok(())
    })?;
    Ok(rows)
}

/// The record of a crash, and what is missing of it.
fn check(month: &Month, id: &Id, objects: &Objects, bytes: &[u8]) -> Result<(CrashRecord, Vec<String>), String> {
    let record = CrashRecord::parse(bytes).map_err(|error| error.to_string())?;
    if record.id != *id || record.month().as_ref() != Some(month) {
        return Err("it is of another crash".to_owned());
    }
    let crash = format!("{}/", month.crash(id));
    let own = record.objects.iter().filter(|object| object.name.starts_with(&crash));
    let missing = own.filter_map(|object| match objects.sizes.iter().find(|(name, _)| *name == object.name) {
        None => Some(format!("{} is missing", object.name)),
        Some((_, size)) if *size != object.size => {
            Some(format!("{} has {size} bytes, and had {} when it was added", object.name, object.size))
        }
        Some(_) => None,
    });
    let missing = missing.collect();
    let is_named = record.row().object.starts_with(&crash);
    if is_named { Ok((record, missing)) } else { Err("it names no dump of its own".to_owned()) }
}
