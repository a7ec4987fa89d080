//! Crashes by their bugs: those of one fingerprint, or of one panic message where there is no fingerprint.

use super::index::Row;
use super::time::Time;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What the crashes of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A fingerprint.
    Fingerprint(String),
    /// A panic message, of crashes without a fingerprint; `None` if nothing at all is known.
    Panic(Option<String>),
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What its crashes have in common.
    pub key: Key,
    /// What the newest of them panicked with.
    pub panic: Option<String>,
    /// Crashes.
    pub count: u64,
    /// When the first of them was.
    pub first_seen: Time,
    /// When the last of them was.
    pub last_seen: Time,
    /// When the first of them came into the archive, whatever the clocks of hosts say, and however long a dump took to come.
    pub first_added: Time,
    /// The hosts, as far as they are known, with how often each crashed.
    pub hosts: BTreeMap<String, u64>,
    /// The versions of the kernel.
    pub kernel_versions: BTreeSet<String>,
    /// Bytes of the dumps in the archive.
    pub stored_size: u64,
}

impl Key {
    /// That of a crash.
    pub fn new(row: &Row) -> Self {
        match &row.fingerprint {
            Some(fingerprint) => Self::Fingerprint(fingerprint.clone()),
            None => Self::Panic(row.panic.clone()),
        }
    }
}

/// The groups of crashes, which are sorted with the newest first; the largest group first.
pub fn groups(rows: &[Row]) -> Vec<Group> {
    let mut groups: HashMap<Key, Group> = HashMap::new();
    for row in rows {
        let key = Key::new(row);
        let group = groups.entry(key.clone()).or_insert_with(|| Group {
            key,
            panic: row.panic.clone(),
            count: 0,
            first_seen: row.crashed_at,
            last_seen: row.crashed_at,
            first_added: row.added_at,
            hosts: BTreeMap::new(),
            kernel_versions: BTreeSet::new(),
            stored_size: 0,
        });
        group.count += 1;
        group.first_seen = group.first_seen.min(row.crashed_at);
        group.last_seen = group.last_seen.max(row.crashed_at);
        group.first_added = group.first_added.min(row.added_at);
        group.stored_size = group.stored_size.saturating_add(row.stored_size);
        if let Some(host) = &row.host {
            *group.hosts.entry(host.clone()).or_default() += 1;
        }
        group.kernel_versions.extend(row.kernel_version.clone());
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_unstable_by(|a, b| (b.count, b.last_seen, &a.key).cmp(&(a.count, a.last_seen, &b.key)));
    groups
}
