//! `memtool show vmstat-s`: counters of virtual memory and of the system's activity.

use super::{Document, Shown, cell, left, right};
use serde::{Serialize, Serializer};
use vmcore::Result;
use vmcore::kernel::TypedMemory;
use vmcore::statistics::vm_counters::{NameCacheCounters, VmCounter, VmCounters};

/// The counters in JSON, each by its name.
#[derive(Serialize)]
pub struct CountersDocument {
    #[serde(flatten)]
    counters: ByName,
    name_cache: NameCacheDocument,
}

struct ByName(Vec<VmCounter>);

#[derive(Serialize)]
struct NameCacheDocument {
    lookup_count: Option<u64>,
    positive_hits: Option<u64>,
    negative_hits: Option<u64>,
    per_directory_hits: Option<u64>,
    deletions: Option<u64>,
    false_hits: Option<u64>,
    misses: Option<u64>,
    too_long: Option<u64>,
}

impl Serialize for ByName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|counter| (counter.name, counter.value)))
    }
}

pub fn read(typed: TypedMemory<'_>) -> Result<Shown> {
    let VmCounters { counters, name_cache, warnings } = VmCounters::read(typed)?;
    let row = |counter: &VmCounter| vec![cell(counter.value), counter.description.to_owned()];
    let mut rows: Vec<_> = counters.iter().map(row).collect();
    rows.push(vec![cell(name_cache.total()), "total name lookups".to_owned()]);
    rows.extend(percentages(&name_cache).map(|text| vec![String::new(), text]));
    let document = CountersDocument { counters: ByName(counters), name_cache: NameCacheDocument::new(&name_cache) };
    Ok(Shown {
        headings: vec![right(""), left("")],
        rows,
        document: Document { vm_counters: Some(document), ..Document::default() },
        warnings,
    })
}

impl NameCacheDocument {
    fn new(counters: &NameCacheCounters) -> Self {
        Self {
            lookup_count: counters.total(),
            positive_hits: counters.positive_hits,
            negative_hits: counters.negative_hits,
            per_directory_hits: counters.per_directory_hits,
            deletions: counters.deletions,
            false_hits: counters.false_hits,
            misses: counters.misses,
            too_long: counters.too_long,
        }
    }
}

/// The lines of vmstat(8) about the name cache, in percent of all lookups, rounded down.
fn percentages(counters: &NameCacheCounters) -> [String; 2] {
    let percent = |part: Option<u64>| match (part, counters.total()) {
        (Some(_), Some(0)) => "0%".to_owned(),
        (Some(part), Some(total)) => format!("{}%", u128::from(part) * 100 / u128::from(total)),
        _ => "-".to_owned(),
    };
    let NameCacheCounters { positive_hits, negative_hits, per_directory_hits, deletions, false_hits, too_long, .. } =
        *counters;
    let [positive, negative, directory] = [positive_hits, negative_hits, per_directory_hits].map(percent);
    let [deletions, false_hits, too_long] = [deletions, false_hits, too_long].map(percent);
    [
        format!("cache hits ({positive} pos + {negative} neg) system {directory} per-directory"),
        format!("deletions {deletions}, falsehits {false_hits}, toolong {too_long}"),
    ]
}
