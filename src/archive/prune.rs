//! Retention: crashes that are too many, too old or too large are removed, and never the last one of a group.
//!
//! A crash goes in this order, so that a run that is killed anywhere leaves neither a row without a dump nor a dump that
//! nothing tells of, and the next one goes on: it is marked as being removed, and counts no more; its row goes; its record,
//! its dump and its other objects go; the mark goes.

use super::contents::{self, Findings};
use super::groups::Key;
use super::index::Row;
use super::names::{CRASHES, Id, Month, RECORD, parse_crash};
use super::time::Time;
use crate::error::Result;
use crate::remote::folder::{Entry, Folder};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Crashes of a group.
    pub keep: Option<u64>,
    /// Seconds since a crash.
    pub max_age: Option<u64>,
    /// Bytes of all dumps in the archive.
    pub max_size: Option<u64>,
}

/// The crashes that are not kept, the oldest first. `rows` are sorted with the newest first.
pub fn plan(rows: &[Row], retention: &Retention, now: Time) -> Vec<Row> {
    let mut places: HashMap<Key, u64> = HashMap::new();
    let oldest = retention.max_age.map(|age| now.before(age));
    let mut size: u64 = 0;
    let mut kept = Vec::new();
    let mut removed = Vec::new();
    for row in rows {
        let place = places.entry(Key::new(row)).or_default();
        let is_last = *place == 0;
        let is_over = retention.keep.is_some_and(|keep| *place >= keep);
        let is_old = oldest.is_some_and(|oldest| row.crashed_at < oldest);
        if !is_last && (is_over || is_old) {
            removed.push(row.clone());
            continue;
        }
        *place += 1;
        size = size.saturating_add(row.stored_size);
        kept.push((row, is_last));
    }
    // The oldest go first.
    for (row, is_last) in kept.into_iter().rev() {
        if retention.max_size.is_none_or(|most| size <= most) {
            break;
        }
        if !is_last {
            size = size.saturating_sub(row.stored_size);
            removed.push(row.clone());
        }
    }
    removed.sort_unstable_by(|a, b| (a.crashed_at, &a.id).cmp(&(b.crashed_at, &b.id)));
    removed
}

/// Removes crashes, with those that a run before was killed at; tells how many of the latter.
///
/// # Errors
///
/// One cannot be removed; the next run goes on with it.
pub fn remove(folder: &dyn Folder, rows: &[Row], findings: &mut Findings) -> Result<()> {
    for row in rows {
        if let Some((month, id, _)) = parse_crash(CRASHES, &row.object) {
            folder.create(&month.pruning(&id), b"")?;
        }
    }
    finish(folder, findings).map(drop)
}

/// Removes what is marked, and tells how many crashes that were.
///
/// # Errors
///
/// One cannot be removed; the next run goes on with it.
pub fn finish(folder: &dyn Folder, findings: &mut Findings) -> Result<u64> {
    let marked = contents::pruned(folder)?;
    let mut by_month: BTreeMap<&Month, HashSet<Id>> = BTreeMap::new();
    for (month, id) in &marked {
        by_month.entry(month).or_default().insert(id.clone());
    }
    for (month, ids) in by_month {
        contents::drop_rows(folder, month, &ids, findings)?;
    }
    for (month, id) in &marked {
        let mut names = Vec::new();
        folder.list(&month.crash(id), &mut |Entry { name, .. }| names.push(name))?;
        let record = month.record(id);
        names.sort_by_key(|name| *name != record);
        debug_assert!(record.ends_with(RECORD));
        names.iter().try_for_each(|name| folder.remove(name))?;
        folder.remove(&month.pruning(id))?;
    }
    Ok(marked.len() as u64)
}
