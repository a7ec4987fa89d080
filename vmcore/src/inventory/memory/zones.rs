//! The zones of the kernel's allocator of equal items, UMA, as `vmstat -z` shows them: how many items of each are in use, and
//! how many are free in its slabs and in the caches of CPUs and of domains of memory.
//!
//! Sources: `struct uma_keg`, `struct uma_zone` and `ZDOM_GET` in `sys/vm/uma_int.h`, `sysctl_vm_zone_stats()` in
//! `sys/vm/uma_core.c`, `memstat_sysctl_uma()` in `lib/libmemstat/memstat_uma.c`.

use super::physical::domain_count;
use crate::error::{Error, Result};
use crate::inventory::reader::{MAX_NAME, Reader};
use crate::inventory::source::{Source, Topic};
use crate::kernel::{Object, TypedMemory};
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::Name;
use crate::units::Hex;
use serde::Serialize;

/// More zones than any kernel has.
const MAX_ZONES: usize = 1 << 14;

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Zone {
    /// Its name, which others can have, too.
    pub name: Option<Name>,
    /// Bytes of an item.
    pub size: Option<u64>,
    /// How many items there may be; 0 without a limit.
    #[serde(rename = "item_limit")]
    pub limit: Option<u64>,
    /// Items that are in use.
    #[serde(rename = "used_count")]
    pub used: Option<u64>,
    /// Items that are free, in slabs and in caches.
    #[serde(rename = "free_count")]
    pub free: Option<u64>,
    /// Allocations since the kernel started.
    #[serde(rename = "request_count")]
    pub requests: Option<u64>,
    /// Allocations that failed.
    #[serde(rename = "failure_count")]
    pub failures: Option<u64>,
    /// Allocations that had to wait.
    #[serde(rename = "sleep_count")]
    pub sleeps: Option<u64>,
    /// Items that were freed in another domain of memory than theirs.
    #[serde(rename = "cross_domain_free_count")]
    pub cross_domain_frees: Option<u64>,
    /// Items that are free in the slabs of its keg. Zones that share a keg share them: they are counted as free of the first.
    #[serde(rename = "keg_free_count")]
    pub keg_free: Option<u64>,
    /// Pages of the slabs of its keg.
    #[serde(rename = "keg_page_count")]
    pub keg_pages: Option<u64>,
    /// Items in the cache of each domain of memory.
    pub domain_caches: Option<Vec<DomainCache>>,
    /// Items in the cache of each CPU.
    pub cpu_caches: Option<Vec<CpuCache>>,
    /// Whether it shares the keg of a zone before it.
    pub is_secondary: bool,
    /// Whether it has no keg: it caches what something else allocates.
    pub is_cache: bool,
}

/// The cache of a domain of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DomainCache {
    /// The domain.
    pub domain: usize,
    /// Items in it.
    #[serde(rename = "free_count")]
    pub free: u64,
}

/// The cache of a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CpuCache {
    /// The CPU.
    pub cpu: u32,
    /// Items in it.
    #[serde(rename = "free_count")]
    pub free: u64,
}

/// All zones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Zones {
    /// The zones, in the order of vmstat(8): the oldest ones first, and before them those without a keg.
    pub zones: Vec<Zone>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// What all zones of a keg have.
struct Keg {
    size: Option<u64>,
    free: Option<u64>,
    pages: Option<u64>,
}

/// What a CPU counted of a zone.
struct Cache {
    free: u64,
    allocations: u64,
    frees: u64,
}

impl Zones {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// The kernel's types lack the list of kegs, or its head cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let head = typed.variable("uma_kegs")?;
        let mut reader = Reader::new(typed);
        let domains = reader.keep(|| "the number of domains".to_owned(), domain_count(typed));
        let last_cpu = last_cpu(&mut reader);
        let mut all = All { memory: memory(typed), domains, last_cpu, reader, zones: Vec::new() };
        for keg in all.reader.list(&"the list of kegs", &head, "uk_link", MAX_ZONES)? {
            all.add_keg(&keg);
        }
        if let Ok(head) = typed.variable("uma_cachezones") {
            all.add_list(&"the list of zones without kegs", Ok(head), None);
        }
        if all.zones.is_empty() {
            all.reader.warn(|| "the list of kegs is empty: every kernel has zones".to_owned());
        }
        // libmemstat has the last one first.
        all.zones.reverse();
        Ok(Self { zones: all.zones, warnings: all.reader.into_warnings() })
    }
}

impl Zones {
    /// Pages of the slabs of all zones whose names are as asked for; `None` if those of one of them are not known.
    pub fn pages(&self, is_asked_for: impl Fn(&Name) -> bool) -> Option<u64> {
        let with_keg = self.zones.iter().filter(|zone| !zone.is_secondary && !zone.is_cache);
        with_keg
            .filter(|zone| zone.name.as_ref().is_some_and(&is_asked_for))
            .try_fold(0_u64, |sum, zone| sum.checked_add(zone.keg_pages?))
    }
}

impl Topic for Zones {
    fn tables(&self) -> Vec<Table> {
        let numbers = ["SIZE", "LIMIT", "USED", "FREE", "REQ", "FAIL", "SLEEP", "XDOM"];
        let columns: Vec<_> = [left("ITEM")].into_iter().chain(numbers.map(right)).collect();
        vec![Table::new(columns, self.zones.iter().map(row).collect())]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
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

/// All zones as they are being read.
struct All<'a> {
    reader: Reader<'a>,
    /// How many domains of memory there are (`vm_ndomains`).
    domains: Option<u64>,
    /// The last number of a CPU (`mp_maxid`): caches of domains follow those of CPUs.
    last_cpu: Option<u64>,
    /// Bytes of memory, of which zones cannot have more; `None` where that is not known.
    memory: Option<u64>,
    zones: Vec<Zone>,
}

/// The last number of a CPU (`mp_maxid`), which none of the CPUs that there are may exceed.
fn last_cpu(reader: &mut Reader<'_>) -> Option<u64> {
    let last = reader.variable("mp_maxid")?;
    let most = reader.cpus()?.into_iter().max().map(u64::from)?;
    if last < most {
        reader.warn(|| format!("mp_maxid is {last}, less than {most}, which is the number of a CPU"));
        return None;
    }
    Some(last)
}

/// Bytes of the pages that the kernel says it has.
fn memory(typed: TypedMemory<'_>) -> Option<u64> {
    let pages = typed.variable("vm_cnt").and_then(|all| all.member("v_page_count")?.unsigned()).ok()?;
    pages.checked_mul(typed.memory.page_size()).filter(|memory| *memory > 0)
}

impl<'a> All<'a> {
    /// A number of things of a size; an error if they have more bytes than memory has.
    fn check(&self, count: u64, size: u64) -> Result<u64> {
        match self.memory {
            Some(memory) if count.saturating_mul(size.max(1)) > memory => {
                Err(Error::Format(format!("{count} of them are more than memory has room for")))
            }
            _ => Ok(count),
        }
    }

    fn add_keg(&mut self, keg: &Object<'a>) {
        let what = format!("the keg at {}", Hex(keg.address()));
        let size = self.reader.number(&what, keg, "uk_size");
        let page_size = self.reader.typed.memory.page_size();
        let mut of_domains = |noun: &str, member: &str, size: u64| {
            let sum = sum_of_domains(keg, self.domains?, member).and_then(|sum| self.check(sum, size));
            self.reader.keep(|| format!("the {noun} of {what}"), sum)
        };
        let free = of_domains("free items", "ud_free_items", size.unwrap_or(0));
        let pages = of_domains("pages", "ud_pages", page_size);
        self.add_list(
            &format_args!("the list of zones of {what}"),
            keg.member("uk_zones"),
            Some(&Keg { size, free, pages }),
        );
    }

    fn add_list(&mut self, what: &dyn std::fmt::Display, head: Result<Object<'a>>, keg: Option<&Keg>) {
        let room = MAX_ZONES.saturating_sub(self.zones.len());
        let zones = head.and_then(|head| self.reader.list(what, &head, "uz_link", room));
        let zones = self.reader.keep(|| what.to_string(), zones);
        for (index, zone) in zones.iter().flatten().enumerate() {
            let zone = self.read_zone(zone, keg, index > 0);
            self.zones.push(zone);
        }
    }

    fn read_zone(&mut self, zone: &Object<'a>, keg: Option<&Keg>, is_secondary: bool) -> Zone {
        let what = format!("the zone at {}", Hex(zone.address()));
        let reader = &mut self.reader;
        let name = zone.member("uz_name").and_then(|name| name.string(MAX_NAME));
        let name = reader.keep(|| format!("the name of {what}"), name).flatten();
        let mut counter = |member: &str| reader.counter(&format_args!("{member} of {what}"), zone.member(member));
        let [allocations, frees] = ["uz_allocs", "uz_frees"].map(&mut counter);
        let [failures, cross_domain_frees] = ["uz_fails", "uz_xdomain"].map(&mut counter);
        let caches = self.read_caches(&what, zone);
        let sum = |counted: Option<u64>, of: fn(&Cache) -> u64| {
            let caches = caches.as_ref()?.iter().map(|(_, cache)| of(cache));
            Some(caches.fold(counted?, u64::wrapping_add))
        };
        let frees = sum(frees, |cache| cache.frees);
        // They are not counted at the same instant.
        let requests = sum(allocations, |cache| cache.allocations).zip(frees).map(|(all, frees)| all.max(frees));
        let domain_free = self.read_domain_caches(&what, zone);
        let in_keg = match keg {
            Some(keg) if !is_secondary => keg.free,
            _ => Some(0),
        };
        let in_domains = domain_free.as_ref().map(|free| free.iter().copied().fold(0, u64::wrapping_add));
        let of_domain = |(domain, free)| DomainCache { domain, free };
        let of_cpu = |(cpu, cache): &(u32, Cache)| CpuCache { cpu: *cpu, free: cache.free };
        let cached = in_keg.zip(in_domains).map(|(keg, domains)| keg.wrapping_add(domains));
        Zone {
            name: name.map(Name::from),
            size: keg.map_or_else(|| self.reader.number(&what, zone, "uz_size"), |keg| keg.size),
            limit: self.reader.number(&what, zone, "uz_max_items"),
            used: requests.zip(frees).map(|(requests, frees)| requests.wrapping_sub(frees)),
            free: sum(cached, |cache| cache.free),
            requests,
            failures,
            sleeps: self.reader.number(&what, zone, "uz_sleeps"),
            cross_domain_frees,
            keg_free: keg.and_then(|keg| keg.free),
            keg_pages: keg.and_then(|keg| keg.pages),
            domain_caches: domain_free.map(|all| all.into_iter().enumerate().map(of_domain).collect()),
            cpu_caches: caches.map(|caches| caches.iter().map(of_cpu).collect()),
            is_secondary,
            is_cache: keg.is_none(),
        }
    }

    /// What each CPU has of a zone.
    fn read_caches(&mut self, what: &str, zone: &Object<'a>) -> Option<Vec<(u32, Cache)>> {
        let all = zone.member("uz_cpu").ok()?;
        let cache = |cpu: u32| Ok((cpu, read_cache(&all.index(cpu.into())?)?));
        let caches = self.reader.cpus()?.into_iter().map(cache).collect();
        self.reader.keep(|| format!("the caches of {what}"), caches)
    }

    /// Items in the caches of domains, which are behind those of CPUs.
    fn read_domain_caches(&mut self, what: &str, zone: &Object<'a>) -> Option<Vec<u64>> {
        let (domains, last_cpu) = (self.domains?, self.last_cpu?);
        let size = zone.member("uz_size").and_then(|size| size.unsigned()).unwrap_or(0);
        let items = domain_caches(zone, last_cpu, domains);
        let read = items.and_then(|items| {
            self.check(items.iter().copied().fold(0, u64::saturating_add), size)?;
            Ok(items)
        });
        self.reader.keep(|| format!("the caches of domains of {what}"), read)
    }
}

fn domain_caches(zone: &Object<'_>, last_cpu: u64, domains: u64) -> Result<Vec<u64>> {
    let cpus = zone.member("uz_cpu")?;
    if cpus.count().is_some_and(|count| count > 0) {
        return Err(Error::Unsupported("the caches of domains are elsewhere before FreeBSD 13".to_owned()));
    }
    let behind = cpus.index(last_cpu.saturating_add(1))?;
    let typed = zone.typed();
    let of = typed.structure("uma_zone_domain")?;
    let size = typed.types.size_of(of);
    let size = size.ok_or_else(|| Error::Unsupported("uma_zone_domain has no size".to_owned()))?;
    let items = |domain: u64| {
        let address = behind.address().wrapping_add(size.wrapping_mul(domain));
        typed.object(address, of).member("uzd_nitems")?.unsigned()
    };
    (0..domains).map(items).collect()
}

/// The sum of a number that a keg has of each domain.
fn sum_of_domains(keg: &Object<'_>, domains: u64, member: &str) -> Result<u64> {
    let all = keg.member("uk_domain")?;
    let number = |domain: u64| all.index(domain)?.member(member)?.unsigned();
    (0..domains).try_fold(0_u64, |sum, domain| Ok(sum.wrapping_add(number(domain)?)))
}

fn read_cache(cache: &Object<'_>) -> Result<Cache> {
    let cache = cache.fetched()?;
    let items = |bucket: &str| cache.member(bucket)?.member("ucb_cnt")?.signed();
    let buckets = ["uc_allocbucket", "uc_freebucket", "uc_crossbucket"];
    Ok(Cache {
        free: buckets.iter().try_fold(0_u64, |sum, bucket| Ok::<_, Error>(sum.wrapping_add_signed(items(bucket)?)))?,
        allocations: cache.member("uc_allocs")?.unsigned()?,
        frees: cache.member("uc_frees")?.unsigned()?,
    })
}
