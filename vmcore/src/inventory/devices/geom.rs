//! The graph of disks and what is made of them, GEOM, with what is under way between its parts, as the `kern.geom` variables
//! of sysctl(8) show it.
//!
//! Sources: `struct g_class`, `g_geom`, `g_consumer` and `g_provider` with their flags in `sys/geom/geom.h`, `struct g_bioq`
//! and `g_io_request()` in `sys/geom/geom_io.c`, `struct bio` in `sys/sys/bio.h`, `sys/geom/geom_dump.c`.

use super::device_statistics::{DeviceStatistics, not_done};
use super::operation::operation;
use crate::bounds::low_u32;
use crate::error::Result;
use crate::inventory::fields::{Fields, flag_names, seconds};
use crate::inventory::reader::Reader;
use crate::inventory::source::{Source, Topic};
use crate::kernel::Object;
use crate::table::{Table, cell, left, name_cell, right};
use crate::text::Name;
use crate::units::Hex;
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;

/// More parts of the graph, and more requests in a queue, than any kernel has.
const MAX_PARTS: usize = 1 << 18;
/// Flags of a geom (`G_GEOM_WITHER` and so on).
const GEOM_FLAGS: [(u64, &str); 4] =
    [(0x01, "wither"), (0x02, "volatile-bio"), (0x04, "in-access"), (0x08, "access-wait")];
/// Flags of a consumer (`G_CF_SPOILED` and so on).
const CONSUMER_FLAGS: [(u64, &str); 4] =
    [(0x01, "spoiled"), (0x04, "orphan"), (0x10, "direct-send"), (0x20, "direct-receive")];
/// Flags of a provider (`G_PF_WITHER` and so on).
const PROVIDER_FLAGS: [(u64, &str); 5] =
    [(0x02, "wither"), (0x04, "orphan"), (0x08, "accept-unmapped"), (0x10, "direct-send"), (0x20, "direct-receive")];
/// Flags that tell how something works, not that something is wrong with it.
const USUAL_FLAGS: [&str; 4] = ["accept-unmapped", "direct-send", "direct-receive", "volatile-bio"];
/// What `g_collectstats` has a bit for: statistics of providers (`G_STATS_PROVIDERS`).
const OF_PROVIDERS: u64 = 1;
/// Statistics of consumers (`G_STATS_CONSUMERS`).
const OF_CONSUMERS: u64 = 2;
/// The queues of requests that wait for a thread of GEOM's, with the variables that have them.
const QUEUES: [(&str, &str); 3] = [("down", "g_bio_run_down"), ("up", "g_bio_run_up"), ("task", "g_bio_run_task")];

/// GEOM.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Geom {
    /// What has providers, consumers or both, by class.
    pub geoms: Vec<Part>,
    /// Requests that wait for a thread of GEOM's.
    pub queues: Vec<Queue>,
    /// What could not be read.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// A geom: what makes its providers out of what it consumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Where its `struct g_geom` is.
    pub address: Hex,
    /// The name of its class: `DISK`, `PART`, `DEV`.
    #[serde(rename = "geom_class")]
    pub class: Option<Name>,
    /// Its name.
    pub name: Option<Name>,
    /// How many others it is above of.
    pub rank: Option<i64>,
    /// Its flags; `wither` if it is going away.
    pub flags: Option<Vec<String>>,
    /// Where its class has its variables of it (`softc`).
    pub softc: Option<Hex>,
    /// What it uses.
    pub consumers: Vec<Consumer>,
    /// What it provides.
    pub providers: Vec<Provider>,
}

/// How often something is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Access {
    /// For reading (`acr`).
    #[serde(rename = "read_count")]
    pub read: Option<i64>,
    /// For writing (`acw`).
    #[serde(rename = "write_count")]
    pub write: Option<i64>,
    /// By those that allow no other one to write (`ace`).
    #[serde(rename = "exclusive_count")]
    pub exclusive: Option<i64>,
}

/// What a geom uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consumer {
    /// Where its `struct g_consumer` is.
    pub address: Hex,
    /// Where the provider is that it is attached to; `None` where it is not attached.
    pub provider: Option<Hex>,
    /// The name of that.
    pub provider_name: Option<Name>,
    /// How often it has the provider open.
    pub access: Access,
    /// Its flags; `orphan` if the provider is gone.
    pub flags: Option<Vec<String>>,
    /// Requests that it has sent and that are not done. `None` where the kernel does not count them: it does if built with
    /// `INVARIANTS`, or if `kern.geom.collectstats` says so.
    #[serde(rename = "outstanding_count")]
    pub outstanding: Option<u32>,
}

/// What a geom provides: a disk, a partition, a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provider {
    /// Where its `struct g_provider` is.
    pub address: Hex,
    /// Its name, as below `/dev`.
    pub name: Option<Name>,
    /// Bytes of it.
    #[serde(rename = "size")]
    pub media_size: Option<i64>,
    /// Bytes of a sector.
    pub sector_size: Option<u64>,
    /// Bytes that it is best to read and write at a time; 0 if it does not matter.
    pub stripe_size: Option<i64>,
    /// Where a stripe begins.
    pub stripe_offset: Option<i64>,
    /// How often it is open.
    pub access: Access,
    /// The errno that requests to it fail with; 0 for none.
    #[serde(rename = "error_number")]
    pub error: Option<i64>,
    /// Its flags; `orphan` if it is gone, `wither` if it goes when it is no longer used.
    pub flags: Option<Vec<String>>,
    /// Requests to it that are not done. `None` where the kernel does not count them (`kern.geom.collectstats`).
    #[serde(rename = "outstanding_count")]
    pub outstanding: Option<u32>,
}

/// Requests that wait for a thread of GEOM's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Queue {
    /// Which: `down` to devices, `up` from them, `task` before FreeBSD 15.
    #[serde(rename = "queue")]
    pub name: &'static str,
    /// How many there are, as the queue says.
    #[serde(rename = "request_count")]
    pub length: Option<i64>,
    /// The requests.
    pub requests: Vec<Request>,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Request {
    /// Where its `struct bio` is.
    pub address: Hex,
    /// What is to be done: `read`, `write`; another number as such.
    pub operation: Option<String>,
    /// Who sent it: the name of a geom.
    pub from: Option<Name>,
    /// Where it is sent to: the name of a provider.
    pub to: Option<Name>,
    /// Where it begins, in bytes.
    #[serde(rename = "media_offset")]
    pub offset: Option<i64>,
    /// Bytes.
    pub size: Option<i64>,
    /// Bytes that are done.
    #[serde(rename = "bytes_done")]
    pub done: Option<i64>,
    /// The errno that it failed with; 0 for none.
    #[serde(rename = "error_number")]
    pub error: Option<i64>,
    /// When it was sent, since the kernel started.
    #[serde(rename = "sent_since_boot_seconds", serialize_with = "seconds")]
    pub sent: Option<Duration>,
    /// The request that it is part of.
    pub parent: Option<Hex>,
}

impl Geom {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// The kernel's types lack the list of classes, or its head cannot be read.
    pub fn read(source: &Source<'_>) -> Result<Self> {
        let typed = source.typed;
        let classes = typed.variable("g_classes")?;
        let mut reader = Reader::new(typed);
        let collected = reader.variable("g_collectstats").unwrap_or(0);
        let mut graph = GraphReader { reader, collected, sent: HashMap::new(), room: MAX_PARTS, geoms: Vec::new() };
        let classes = graph.reader.list(&"the list of classes", &classes, "class", MAX_PARTS)?;
        classes.iter().for_each(|class| graph.read_class(class));
        name_providers(&mut graph.geoms);
        graph.count_sent();
        graph.count_of_disks();
        let queues = QUEUES.iter().filter_map(|(name, variable)| graph.read_queue(name, variable)).collect();
        Ok(Self { geoms: graph.geoms, queues, warnings: graph.reader.into_warnings() })
    }
}

/// Names the providers of consumers.
fn name_providers(geoms: &mut [Part]) {
    let providers = geoms.iter().flat_map(|geom| &geom.providers);
    let names: HashMap<_, _> = providers.map(|provider| (provider.address.0, provider.name.clone())).collect();
    for consumer in geoms.iter_mut().flat_map(|geom| &mut geom.consumers) {
        consumer.provider_name = consumer.provider.and_then(|provider| names.get(&provider.0).cloned().flatten());
    }
}

impl Topic for Geom {
    fn tables(&self) -> Vec<Table> {
        let providers =
            self.geoms.iter().flat_map(|geom| geom.providers.iter().map(|provider| provider_row(geom, provider)));
        let consumers =
            self.geoms.iter().flat_map(|geom| geom.consumers.iter().map(|consumer| consumer_row(geom, consumer)));
        let requests =
            self.queues.iter().flat_map(|queue| queue.requests.iter().map(|request| request_row(queue, request)));
        let of_providers = [
            left("Class"),
            left("Provider"),
            right("Mediasize"),
            right("Sector"),
            left("Mode"),
            right("Active"),
            right("Error"),
            left("State"),
        ];
        let of_consumers =
            [left("Class"), left("Geom"), left("Provider"), left("Mode"), right("Active"), left("State")];
        let of_requests = [
            left("Queue"),
            left("Operation"),
            left("From"),
            left("To"),
            right("Offset"),
            right("Length"),
            right("Since start (s)"),
        ];
        vec![
            Table::new(of_providers, providers.collect()).captioned("Providers"),
            Table::new(of_consumers, consumers.collect()).captioned("Consumers"),
            Table::new(of_requests, requests.collect()).captioned("Requests that wait for a thread"),
        ]
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// As `r1w1e0`.
fn mode(access: &Access) -> String {
    format!("r{}w{}e{}", cell(access.read), cell(access.write), cell(access.exclusive))
}

/// The flags that tell that something is going away.
fn state(flags: Option<&Vec<String>>) -> String {
    let Some(flags) = flags else { return "-".to_owned() };
    let unusual = flags.iter().map(String::as_str).filter(|flag| !USUAL_FLAGS.contains(flag));
    unusual.collect::<Vec<_>>().join(",")
}

fn provider_row(geom: &Part, provider: &Provider) -> Vec<String> {
    vec![
        name_cell(geom.class.as_ref()),
        name_cell(provider.name.as_ref()),
        cell(provider.media_size),
        cell(provider.sector_size),
        mode(&provider.access),
        cell(provider.outstanding),
        cell(provider.error),
        state(provider.flags.as_ref()),
    ]
}

fn consumer_row(geom: &Part, consumer: &Consumer) -> Vec<String> {
    let provider = consumer.provider_name.as_ref();
    vec![
        name_cell(geom.class.as_ref()),
        name_cell(geom.name.as_ref()),
        name_cell(provider),
        mode(&consumer.access),
        cell(consumer.outstanding),
        state(consumer.flags.as_ref()),
    ]
}

fn request_row(queue: &Queue, request: &Request) -> Vec<String> {
    vec![
        queue.name.to_owned(),
        cell(request.operation.as_ref()),
        name_cell(request.from.as_ref()),
        name_cell(request.to.as_ref()),
        cell(request.offset),
        cell(request.size),
        cell(request.sent.map(|sent| sent.as_secs())),
    ]
}

/// The graph as it is being read.
struct GraphReader<'a> {
    reader: Reader<'a>,
    /// What the kernel collects statistics of (`g_collectstats`).
    collected: u64,
    /// Of each consumer, how many requests it sent and how many are done.
    sent: HashMap<u64, (u64, u64)>,
    /// How many more parts may be read.
    room: usize,
    geoms: Vec<Part>,
}

impl<'a> GraphReader<'a> {
    fn read_class(&mut self, class: &Object<'a>) {
        let mut fields = Fields::new(&mut self.reader, "class", class);
        let name = fields.name("name");
        let geoms = fields.list("geom", "geom", self.room);
        self.room = self.room.saturating_sub(geoms.len());
        for geom in &geoms {
            let geom = self.read_geom(name.clone(), geom);
            self.geoms.push(geom);
        }
    }

    fn read_geom(&mut self, class: Option<Name>, geom: &Object<'a>) -> Part {
        let mut fields = Fields::new(&mut self.reader, "geom", geom);
        let consumers = fields.list("consumer", "consumer", self.room);
        self.room = self.room.saturating_sub(consumers.len());
        let providers = fields.list("provider", "provider", self.room);
        self.room = self.room.saturating_sub(providers.len());
        let (name, rank, softc) = (fields.name("name"), fields.signed("rank"), fields.pointer("softc"));
        let flags = fields.number("flags").map(|flags| flag_names(flags, &GEOM_FLAGS));
        Part {
            address: Hex(geom.address()),
            class,
            name,
            rank,
            flags,
            softc,
            consumers: consumers.iter().map(|consumer| self.read_consumer(consumer)).collect(),
            providers: providers.iter().map(|provider| self.read_provider(provider)).collect(),
        }
    }

    fn read_consumer(&mut self, consumer: &Object<'a>) -> Consumer {
        let mut fields = Fields::new(&mut self.reader, "consumer", consumer);
        if let Some(sent) = fields.number("nstart").zip(fields.number("nend")) {
            self.sent.insert(consumer.address(), sent);
        }
        Consumer {
            address: Hex(consumer.address()),
            provider: fields.pointer("provider"),
            provider_name: None,
            access: read_access(&mut fields),
            flags: fields.number("flags").map(|flags| flag_names(flags, &CONSUMER_FLAGS)),
            outstanding: fields
                .target("stat")
                .filter(|_| self.collected & OF_CONSUMERS != 0)
                .and_then(|stat| not_done(&mut Fields::new(&mut self.reader, "devstat", &stat))),
        }
    }

    fn read_provider(&mut self, provider: &Object<'a>) -> Provider {
        let mut fields = Fields::new(&mut self.reader, "provider", provider);
        Provider {
            address: Hex(provider.address()),
            name: fields.name("name"),
            media_size: fields.signed("mediasize"),
            sector_size: fields.number("sectorsize"),
            stripe_size: fields.signed("stripesize"),
            stripe_offset: fields.signed("stripeoffset"),
            access: read_access(&mut fields),
            error: fields.signed("error"),
            flags: fields.number("flags").map(|flags| flag_names(flags, &PROVIDER_FLAGS)),
            outstanding: fields
                .target("stat")
                .filter(|_| self.collected & OF_PROVIDERS != 0)
                .and_then(|stat| not_done(&mut Fields::new(&mut self.reader, "devstat", &stat))),
        }
    }

    /// What consumers sent, if this kernel counts that: then at least one has sent something.
    fn count_sent(&mut self) {
        if self.sent.values().all(|(started, _)| *started == 0) {
            return;
        }
        for consumer in self.geoms.iter_mut().flat_map(|geom| &mut geom.consumers) {
            let sent = self.sent.get(&consumer.address.0);
            consumer.outstanding = sent.map(|(started, ended)| low_u32(started.wrapping_sub(*ended)));
        }
    }

    /// What is not done of disks, which have statistics as devices in place of those as providers.
    fn count_of_disks(&mut self) {
        let statistics = DeviceStatistics::outstanding(&mut self.reader);
        for provider in self.geoms.iter_mut().flat_map(|geom| &mut geom.providers) {
            provider.outstanding = provider.outstanding.or_else(|| statistics.get(&provider.address.0).copied());
        }
    }

    /// A queue; `None` where this kernel has none of that name.
    fn read_queue(&mut self, name: &'static str, variable: &str) -> Option<Queue> {
        let queue = self.reader.typed.variable(variable).ok()?;
        let mut fields = Fields::new(&mut self.reader, "queue of requests", &queue);
        let length = fields.signed("bio_queue_length");
        let requests = fields.list("bio_queue", "bio_queue", MAX_PARTS);
        let requests = requests.iter().map(|request| read_request(&mut self.reader, request)).collect::<Vec<_>>();
        if let Some(length) = length.filter(|length| usize::try_from(*length) != Ok(requests.len())) {
            self.reader.warn(|| format!("{variable} has {} requests, but says that it has {length}", requests.len()));
        }
        Some(Queue { name, length, requests })
    }
}

fn read_access(fields: &mut Fields<'_, '_>) -> Access {
    Access { read: fields.signed("acr"), write: fields.signed("acw"), exclusive: fields.signed("ace") }
}

fn read_request<'a>(reader: &mut Reader<'a>, request: &Object<'a>) -> Request {
    let mut fields = Fields::new(reader, "request", request);
    let (from, to) = (fields.target("bio_from"), fields.target("bio_to"));
    let error = if fields.object().has_member("bio_exterr") { "bio_exterr.error" } else { "bio_error" };
    let mut request = Request {
        address: Hex(request.address()),
        operation: fields.number("bio_cmd").map(operation),
        from: None,
        to: None,
        offset: fields.signed("bio_offset"),
        size: fields.signed("bio_length"),
        done: fields.signed("bio_completed"),
        error: fields.signed(error),
        sent: fields.duration("bio_t0"),
        parent: fields.pointer("bio_parent"),
    };
    let geom = from.and_then(|from| Fields::new(reader, "consumer", &from).target("geom"));
    request.from = geom.and_then(|geom| Fields::new(reader, "geom", &geom).name("name"));
    request.to = to.and_then(|to| Fields::new(reader, "provider", &to).name("name"));
    request
}
