//! Memory of the network: mbufs and the clusters that have their data, as `netstat -m` shows them.
//!
//! Sources: `sys/kern/kern_mbuf.c`, `struct sfstat` in `sys/sys/sf_buf.h`, `mbpr()` in `usr.bin/netstat/mbuf.c`.

use super::counter_array::{CounterValue, NamedCounter, read_counters};
use crate::error::Result;
use crate::inventory::memory::malloc_types::MallocTypes;
use crate::inventory::memory::zones::{Zone, Zones};
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::table::{Table, cell, left};
use serde::{Serialize, Serializer};
use std::iter;

/// The zones, `MBUF_MEM_NAME` and so on.
const ZONES: [&str; 6] = ["mbuf", "mbuf_packet", "mbuf_cluster", "mbuf_jumbo_page", "mbuf_jumbo_9k", "mbuf_jumbo_16k"];
/// The type of memory of tags (`MBUF_TAG_MEM_NAME`).
const TAGS: &str = "mbuf_tag";

/// What sendfile(2) counted: the members of `struct sfstat`, with netstat's texts, in its order.
const SENDFILE: [(&str, &str); 11] = [
    ("sf_syscalls", "sendfile syscalls"),
    ("sf_noiocnt", "sendfile syscalls completed without I/O request"),
    ("sf_iocnt", "requests for I/O initiated by sendfile"),
    ("sf_pages_read", "pages read by sendfile as part of a request"),
    ("sf_pages_valid", "pages were valid at time of a sendfile request"),
    ("sf_pages_bogus", "pages were valid and substituted to bogus page"),
    ("sf_rhpages_requested", "pages were requested for read ahead by applications"),
    ("sf_rhpages_read", "pages were read ahead by sendfile"),
    ("sf_busy", "times sendfile encountered an already busy page"),
    ("sf_allocfail", "requests for sfbufs denied"),
    ("sf_allocwait", "requests for sfbufs delayed"),
];

/// Memory of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mbufs {
    /// The zones, in the order `mbuf`, `mbuf_packet`, `mbuf_cluster`, `mbuf_jumbo_page`, `mbuf_jumbo_9k`, `mbuf_jumbo_16k`;
    /// `None` of one that the kernel does not have.
    pub zones: Box<[Option<Zone>; 6]>,
    /// Bytes of tags of mbufs.
    pub tag_bytes: Option<u64>,
    /// What sendfile(2) counted.
    pub sendfile: Vec<NamedCounter>,
    /// What could not be read.
    pub warnings: Vec<String>,
}

impl Mbufs {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack zones.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let Zones { zones, mut warnings } = Zones::read(source)?;
        let find = |name: &str| zones.iter().find(|zone| zone.name.as_ref().is_some_and(|found| *found == *name));
        let mut reader = Reader::new(source.typed);
        let tags = reader.keep(|| "types of memory".to_owned(), MallocTypes::read(source));
        let array = source.typed.variable("sfstat");
        let sendfile = array.and_then(|array| read_counters(&mut reader, "sfstat", &array, "sfstat"));
        let sendfile = reader.keep(|| "sfstat".to_owned(), sendfile).into_iter().flatten().collect();
        let tag_bytes = tags.as_ref().and_then(bytes_of_tags);
        warnings.extend(tags.into_iter().flat_map(|tags| tags.warnings));
        warnings.extend(reader.into_warnings());
        Ok(Self { zones: Box::new(ZONES.map(|name| find(name).cloned())), tag_bytes, sendfile, warnings })
    }

    /// Bytes that are in use: mbufs, clusters and tags.
    pub fn bytes_used(&self) -> Option<u64> {
        let [mbuf, packet, cluster, jumbo @ ..] = &*self.zones;
        let in_packets = free(packet)?.wrapping_mul(size(cluster)?);
        let parts = [bytes(mbuf, used)?, bytes(packet, used)?, bytes(cluster, used)?, self.tag_bytes?];
        let jumbo = jumbo.iter().try_fold(0_u64, |sum, zone| Some(sum.wrapping_add(bytes(zone, used)?)))?;
        // Clusters of packets that are cached are in use for the zone of clusters.
        Some(parts.into_iter().fold(jumbo, u64::wrapping_add).wrapping_sub(in_packets))
    }

    /// Bytes of mbufs and clusters that are cached.
    pub fn bytes_cached(&self) -> Option<u64> {
        let [mbuf, packet, others @ ..] = &*self.zones;
        let of_packet = size(mbuf)?.wrapping_add(size(&others[0])?);
        let packets = free(packet)?.wrapping_mul(of_packet);
        let add = |sum: u64, zone: &Option<Zone>| Some(sum.wrapping_add(bytes(zone, free)?));
        iter::once(mbuf).chain(others).try_fold(packets, add)
    }

    fn sendfile_count(&self, name: &str) -> Option<u64> {
        match self.sendfile.iter().find(|counter| counter.name == name)?.value {
            CounterValue::One(value) => value,
            CounterValue::Several(_) => None,
        }
    }

    /// Lines about what is in use.
    fn used_lines(&self) -> Vec<[String; 2]> {
        let [mbuf, packet, cluster, page, nine, sixteen] = &*self.zones;
        let (mbufs, cached) = (sum(used(mbuf), used(packet)), sum(free(mbuf), free(packet)));
        let of_zone = |zone| [used(zone), free(zone), sum(used(zone), free(zone)), limit(zone)];
        let clusters = [
            used(cluster).zip(free(packet)).map(|(used, free)| used.wrapping_sub(free)),
            sum(free(cluster), free(packet)),
            sum(used(cluster), free(cluster)),
            limit(cluster),
        ];
        let page_size = cell(size(page).map(|size| size / 1024));
        let all = "jumbo clusters in use (current/cache/total/max)";
        let line = |values: &[Option<u64>], text: &str| [joined(values), text.to_owned()];
        let kib = |bytes: Option<u64>| format!("{}K", cell(bytes.map(|bytes| bytes / 1024)));
        let bytes = [self.bytes_used(), self.bytes_cached(), sum(self.bytes_used(), self.bytes_cached())];
        vec![
            line(&[mbufs, cached, sum(mbufs, cached)], "mbufs in use (current/cache/total)"),
            line(&clusters, "mbuf clusters in use (current/cache/total/max)"),
            line(&[used(packet), free(packet)], "mbuf+clusters out of packet secondary zone in use (current/cache)"),
            line(&of_zone(page), &format!("{page_size}k (page size) {all}")),
            line(&of_zone(nine), &format!("9k {all}")),
            line(&of_zone(sixteen), &format!("16k {all}")),
            [bytes.map(kib).join("/"), "bytes allocated to network (current/cache/total)".to_owned()],
        ]
    }

    /// Lines about allocations that failed or waited.
    fn failure_lines(&self) -> Vec<[String; 2]> {
        let [mbuf, packet, cluster, jumbo @ ..] = &*self.zones;
        let page_size = cell(size(&jumbo[0]).map(|size| size / 1024));
        let of = |zones: [&Option<Zone>; 3], value: fn(&Zone) -> Option<u64>| {
            joined(&zones.map(|zone| zone.as_ref().and_then(value)))
        };
        let (mbufs, jumbo) = ([mbuf, cluster, packet], jumbo.each_ref());
        let (failures, sleeps) = (|zone: &Zone| zone.failures, |zone: &Zone| zone.sleeps);
        let sizes = format!("({page_size}k/9k/16k)");
        vec![
            [of(mbufs, failures), "requests for mbufs denied (mbufs/clusters/mbuf+clusters)".to_owned()],
            [of(mbufs, sleeps), "requests for mbufs delayed (mbufs/clusters/mbuf+clusters)".to_owned()],
            [of(jumbo, sleeps), format!("requests for jumbo clusters delayed {sizes}")],
            [of(jumbo, failures), format!("requests for jumbo clusters denied {sizes}")],
        ]
    }
}

/// Bytes of tags of mbufs; a type of memory that was never used is in no list.
fn bytes_of_tags(types: &MallocTypes) -> Option<u64> {
    let found = types.types.iter().find(|of| of.name.as_ref().is_some_and(|name| *name == *TAGS));
    match found {
        Some(found) => found.bytes,
        None => types.warnings.is_empty().then_some(0),
    }
}

fn used(zone: &Option<Zone>) -> Option<u64> {
    zone.as_ref()?.used
}

fn free(zone: &Option<Zone>) -> Option<u64> {
    zone.as_ref()?.free
}

fn size(zone: &Option<Zone>) -> Option<u64> {
    zone.as_ref()?.size
}

fn limit(zone: &Option<Zone>) -> Option<u64> {
    zone.as_ref()?.limit
}

fn bytes(zone: &Option<Zone>, count: fn(&Option<Zone>) -> Option<u64>) -> Option<u64> {
    Some(count(zone)?.wrapping_mul(size(zone)?))
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    Some(one?.wrapping_add(other?))
}

fn joined(values: &[Option<u64>]) -> String {
    values.iter().map(|value| cell(*value)).collect::<Vec<_>>().join("/")
}

impl Topic for Mbufs {
    fn tables(&self) -> Vec<Table> {
        let sendfile = SENDFILE.iter().map(|(name, text)| [cell(self.sendfile_count(name)), (*text).to_owned()]);
        let lines = self.used_lines().into_iter().chain(self.failure_lines()).chain(sendfile);
        vec![Table::new([left(""), left("")], lines.map(Vec::from).collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Memory of the network in JSON.
#[derive(Serialize)]
struct MbufsDocument<'a> {
    zones: Vec<&'a Zone>,
    bytes_used: Option<u64>,
    bytes_cached: Option<u64>,
    bytes_tags: Option<u64>,
    sendfile: SendfileDocument<'a>,
}

/// The counters by their names.
struct SendfileDocument<'a>(&'a Mbufs);

impl Serialize for SendfileDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(SENDFILE.iter().map(|(name, _)| (name, self.0.sendfile_count(name))))
    }
}

impl Serialize for Mbufs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = MbufsDocument {
            zones: self.zones.iter().flatten().collect(),
            bytes_used: self.bytes_used(),
            bytes_cached: self.bytes_cached(),
            bytes_tags: self.tag_bytes,
            sendfile: SendfileDocument(self),
        };
        document.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str, [size, used, free]: [u64; 3]) -> Option<Zone> {
        Some(Zone {
            name: Some(name.into()),
            size: Some(size),
            limit: Some(1000),
            used: Some(used),
            free: Some(free),
            requests: Some(0),
            failures: Some(1),
            sleeps: Some(2),
            cross_domain_frees: Some(0),
            keg_free: Some(0),
            keg_pages: Some(0),
            domain_caches: None,
            cpu_caches: None,
            is_secondary: false,
            is_cache: false,
        })
    }

    /// 10 mbufs and 3 packets are in use, whose clusters, and 5 of cached packets, are among 9 clusters.
    fn mbufs() -> Mbufs {
        let numbers = [[256, 10, 4], [256, 3, 5], [2048, 9, 2], [4096, 1, 0], [9216, 0, 1], [16384, 0, 0]];
        let zones = [0, 1, 2, 3, 4, 5].map(|index: usize| zone(ZONES[index], numbers[index]));
        Mbufs { zones: Box::new(zones), tag_bytes: Some(100), sendfile: Vec::new(), warnings: Vec::new() }
    }

    #[test]
    fn clusters_of_cached_packets_are_not_in_use() {
        let mbufs = mbufs();
        assert_eq!(mbufs.bytes_used(), Some(10 * 256 + 3 * 256 + 4 * 2048 + 100 + 4096));
        assert_eq!(mbufs.bytes_cached(), Some(4 * 256 + 5 * (256 + 2048) + 2 * 2048 + 9216));
        let rows = &mbufs.tables()[0].rows;
        let values: Vec<&str> = rows.iter().map(|row| &*row[0]).take(11).collect();
        let expected = ["13/9/22", "4/7/11/1000", "3/5", "1/0/1/1000", "0/1/1/1000", "0/0/0/1000", "15K/25K/40K"];
        assert_eq!(values[..7], expected);
        assert_eq!(values[7..], ["1/1/1", "2/2/2", "2/2/2", "1/1/1"]);
        assert_eq!(rows[3][1], "4k (page size) jumbo clusters in use (current/cache/total/max)");
    }

    #[test]
    fn what_is_not_known_of_a_zone_is_in_no_sum() {
        let mut mbufs = mbufs();
        mbufs.zones[1] = None;
        assert_eq!((mbufs.bytes_used(), mbufs.bytes_cached()), (None, None));
        let rows = &mbufs.tables()[0].rows;
        assert_eq!(
            [&*rows[0][0], &*rows[1][0], &*rows[6][0], &*rows[11][0]],
            ["-/-/-", "-/-/11/1000", "-K/-K/-K", "-"]
        );
    }
}
