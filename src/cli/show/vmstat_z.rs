//! `memtool show vmstat-z`: zones of the kernel's allocator of equal items, with what is cached in them.

use super::{Document, Shown, cell, left, name_cell, right};
use serde::Serialize;
use vmcore::Result;
use vmcore::kernel::TypedMemory;
use vmcore::statistics::zones::{Zone, Zones};
use vmcore::text::Name;

/// A zone in JSON.
#[derive(Serialize)]
pub struct ZoneDocument {
    name: Option<Name>,
    size: Option<u64>,
    item_limit: Option<u64>,
    used_count: Option<u64>,
    free_count: Option<u64>,
    request_count: Option<u64>,
    failure_count: Option<u64>,
    sleep_count: Option<u64>,
    cross_domain_free_count: Option<u64>,
    keg_free_count: Option<u64>,
    domain_caches: Option<Vec<DomainCacheDocument>>,
    cpu_caches: Option<Vec<CpuCacheDocument>>,
    is_secondary: bool,
    is_cache: bool,
}

#[derive(Serialize)]
struct DomainCacheDocument {
    domain: usize,
    free_count: u64,
}

#[derive(Serialize)]
struct CpuCacheDocument {
    cpu: u32,
    free_count: u64,
}

pub fn read(typed: TypedMemory<'_>) -> Result<Shown> {
    let Zones { zones, warnings } = Zones::read(typed)?;
    let numbers = ["SIZE", "LIMIT", "USED", "FREE", "REQ", "FAIL", "SLEEP", "XDOM"];
    Ok(Shown {
        headings: [left("ITEM")].into_iter().chain(numbers.map(right)).collect(),
        rows: zones.iter().map(row).collect(),
        document: Document { zones: Some(zones.into_iter().map(ZoneDocument::new).collect()), ..Document::default() },
        warnings,
    })
}

fn row(zone: &Zone) -> Vec<String> {
    let numbers = [
        zone.size,
        zone.limit,
        zone.used,
        zone.free,
        zone.requests,
        zone.failures,
        zone.sleeps,
        zone.cross_domain_frees,
    ];
    [name_cell(zone.name.as_ref())].into_iter().chain(numbers.map(cell)).collect()
}

impl ZoneDocument {
    fn new(zone: Zone) -> Self {
        let domain = |(domain, free_count): (usize, u64)| DomainCacheDocument { domain, free_count };
        let cpu = |(cpu, free_count): (u32, u64)| CpuCacheDocument { cpu, free_count };
        Self {
            name: zone.name,
            size: zone.size,
            item_limit: zone.limit,
            used_count: zone.used,
            free_count: zone.free,
            request_count: zone.requests,
            failure_count: zone.failures,
            sleep_count: zone.sleeps,
            cross_domain_free_count: zone.cross_domain_frees,
            keg_free_count: zone.keg_free,
            domain_caches: zone.domain_free.map(|all| all.into_iter().enumerate().map(domain).collect()),
            cpu_caches: zone.cpu_free.map(|all| all.into_iter().map(cpu).collect()),
            is_secondary: zone.is_secondary,
            is_cache: zone.is_cache,
        }
    }
}
