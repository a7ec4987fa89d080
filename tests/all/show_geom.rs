//! `memtool show` of disks: GEOM, and what is not done.

use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedKernel};
use crate::show_devices::{ARCHITECTURES, add_statistics, damaged, list, tail_queue};
use serde_json::{Value, json};
use vmcore_synth::Arch;
use vmcore_synth::ctf::Type;

/// A kernel with a disk, a partition of it, and a request that waits.
struct GeomKernel {
    kernel: TypedKernel,
    /// The types of a geom, a consumer, a provider and a request.
    types: [Type; 4],
    /// The geoms of the disk and of the partition, the consumer of the latter, and the provider of each.
    parts: [u64; 5],
    request: u64,
    statistics: (u64, Type),
}

/// A class with a geom.
fn class(kernel: &mut TypedKernel, class: Type, name: &str, geom: u64) -> u64 {
    let (at, name) = (kernel.allocate(class), kernel.string(name));
    kernel.set(at, class, "name", name);
    kernel.set(at, class, "geom.lh_first", geom);
    at
}

impl GeomKernel {
    fn new(arch: Arch) -> Self {
        let mut kernel = TypedKernel::new(arch);
        let Basic { int, unsigned_int, unsigned_short, long_long, string, pointer, .. } = kernel.basic;
        let [of_class, geom, consumer, provider, request] = [(); 5].map(|()| kernel.types.reserve());
        let (classes, class_link) = list(&mut kernel, of_class);
        let (geoms, geom_link) = list(&mut kernel, geom);
        let (consumers, consumer_link) = list(&mut kernel, consumer);
        let (providers, provider_link) = list(&mut kernel, provider);
        let (requests, request_link) = tail_queue(&mut kernel, request);
        let statistics = kernel.types.record("devstat", &[("start_count", unsigned_int), ("end_count", unsigned_int)]);
        let to_statistics = kernel.types.pointer(statistics);
        let [to_geom, to_consumer, to_provider, to_request] =
            [geom, consumer, provider, request].map(|to| kernel.types.pointer(to));
        kernel.types.at(of_class).record("g_class", &[("name", string), ("class", class_link), ("geom", geoms)]);
        let access = [("acr", int), ("acw", int), ("ace", int)];
        let members = [
            ("name", string),
            ("geom", geom_link),
            ("consumer", consumers),
            ("provider", providers),
            ("rank", int),
            ("softc", pointer),
            ("flags", unsigned_int),
        ];
        kernel.types.at(geom).record("g_geom", &members);
        let members = [
            ("geom", to_geom),
            ("consumer", consumer_link),
            ("provider", to_provider),
            ("flags", int),
            ("stat", to_statistics),
            ("nstart", unsigned_int),
            ("nend", unsigned_int),
        ];
        kernel.types.at(consumer).record("g_consumer", &[&members[..], &access].concat());
        let members = [
            ("name", string),
            ("provider", provider_link),
            ("error", int),
            ("mediasize", long_long),
            ("sectorsize", unsigned_int),
            ("stripesize", long_long),
            ("stripeoffset", long_long),
            ("stat", to_statistics),
            ("flags", unsigned_int),
        ];
        kernel.types.at(provider).record("g_provider", &[&members[..], &access].concat());
        let seconds = kernel.types.record("bintime", &[("sec", long_long), ("frac", kernel.basic.unsigned_long_long)]);
        let members = [
            ("bio_cmd", unsigned_short),
            ("bio_queue", request_link),
            ("bio_from", to_consumer),
            ("bio_to", to_provider),
            ("bio_offset", long_long),
            ("bio_length", long_long),
            ("bio_completed", long_long),
            ("bio_error", int),
            ("bio_parent", to_request),
            ("bio_t0", seconds),
        ];
        kernel.types.at(request).record("bio", &members);
        let queue = kernel.types.record("g_bioq", &[("bio_queue", requests), ("bio_queue_length", int)]);
        kernel.variable("g_classes", classes);
        kernel.static_variable("g_bio_run_down", queue);
        kernel.variable("g_collectstats", int);
        let parts = [geom, geom, consumer, provider, provider].map(|of| kernel.allocate(of));
        let (at, of) = (kernel.allocate(statistics), kernel.allocate(request));
        let types = [geom, consumer, provider, request];
        let mut built = Self { kernel, types, parts, request: of, statistics: (at, statistics) };
        let disks = class(&mut built.kernel, of_class, "DISK", parts[0]);
        let partitions = class(&mut built.kernel, of_class, "PART", parts[1]);
        built.kernel.set(disks, of_class, "class.le_next", partitions);
        built.kernel.set_variable("g_classes", "lh_first", disks);
        built.fill();
        built
    }

    fn fill(&mut self) {
        let [geom, consumer, provider, request] = self.types;
        let [disk, table, uses, whole, partition] = self.parts;
        let (statistics, of_statistics) = self.statistics;
        let names = ["vtbd0", "vtbd0p1"].map(|name| self.kernel.string(name));
        for (at, of, member, value) in [
            (disk, geom, "name", names[0]),
            (disk, geom, "provider.lh_first", whole),
            (table, geom, "name", names[0]),
            (table, geom, "rank", 2),
            (table, geom, "consumer.lh_first", uses),
            (table, geom, "provider.lh_first", partition),
            (uses, consumer, "geom", table),
            (uses, consumer, "provider", whole),
            (uses, consumer, "acr", 2),
            (uses, consumer, "flags", 0x14),
            (whole, provider, "name", names[0]),
            (whole, provider, "mediasize", 1 << 40),
            (whole, provider, "sectorsize", 512),
            (whole, provider, "error", 6),
            (whole, provider, "flags", 0x8c),
            (whole, provider, "stat", statistics),
            (partition, provider, "name", names[1]),
            (statistics, of_statistics, "start_count", 2),
            (statistics, of_statistics, "end_count", u64::from(u32::MAX)),
            (self.request, request, "bio_cmd", 2),
            (self.request, request, "bio_from", uses),
            (self.request, request, "bio_to", whole),
            (self.request, request, "bio_offset", 4096),
            (self.request, request, "bio_length", 512),
            (self.request, request, "bio_error", 5),
            (self.request, request, "bio_t0.sec", 7),
            (self.request, request, "bio_t0.frac", 1 << 63),
        ] {
            self.kernel.set(at, of, member, value);
        }
        self.kernel.set_variable("g_collectstats", "", 1);
        self.kernel.set_variable("g_bio_run_down", "bio_queue.tqh_first", self.request);
        self.kernel.set_variable("g_bio_run_down", "bio_queue_length", 1);
    }
}

#[test]
fn disks_and_what_is_made_of_them_are_shown_with_what_is_not_done() {
    for arch in ARCHITECTURES {
        let built = GeomKernel::new(arch);
        let dump = built.kernel.write();
        let run = dump.run(&["show", "geom"]).ok();
        assert_eq!(run.stderr, "", "{arch:?}");
        let expected = [
            "DISK\tvtbd0\t1099511627776\t512\tr0w0e0\t3\t6\torphan,0x80",
            "PART\tvtbd0p1\t0\t0\tr0w0e0\t-\t0\t",
            "",
            "PART\tvtbd0\tvtbd0\tr2w0e0\t-\torphan",
            "",
            "down\twrite\tvtbd0\tvtbd0\t4096\t512\t7",
        ];
        assert_eq!(run.stdout.lines().collect::<Vec<_>>(), expected, "{arch:?}");
        let document = dump.run(&["show", "geom", "--json"]).ok().json();
        let request = &document["geom"]["queues"][0]["requests"][0];
        assert_eq!(request["sent_since_boot_seconds"], 7.5, "{arch:?}");
        assert_eq!((&request["error_number"], &request["parent"]), (&json!(5), &Value::Null));
        let consumer = &document["geom"]["geoms"][1]["consumers"][0];
        assert_eq!(consumer["provider"], format!("{:#x}", built.parts[3]));
        assert_eq!(document["geom"]["geoms"][0]["providers"][0]["flags"], json!(["orphan", "accept-unmapped", "0x80"]));
    }
}

#[test]
fn requests_are_counted_where_the_kernel_counts_them() {
    let mut built = GeomKernel::new(Arch::Amd64);
    built.kernel.set_variable("g_collectstats", "", 0);
    let rows = |built: &GeomKernel| built.kernel.write().run(&["show", "geom"]).ok().stdout;
    assert!(rows(&built).starts_with("DISK\tvtbd0\t1099511627776\t512\tr0w0e0\t-\t6\t"));
    // Kernels with INVARIANTS count what consumers send.
    let (uses, consumer) = (built.parts[2], built.types[1]);
    built.kernel.set(uses, consumer, "nstart", 9);
    built.kernel.set(uses, consumer, "nend", 5);
    assert!(rows(&built).contains("\nPART\tvtbd0\tvtbd0\tr2w0e0\t4\torphan\n"));
    // So do statistics of consumers.
    let statistics = built.statistics.0;
    built.kernel.set(uses, consumer, "nstart", 0);
    built.kernel.set(uses, consumer, "stat", statistics);
    built.kernel.set_variable("g_collectstats", "", 2);
    assert!(rows(&built).contains("\nPART\tvtbd0\tvtbd0\tr2w0e0\t3\torphan\n"));
}

#[test]
fn a_damaged_graph_of_disks_is_shown_up_to_where_it_can_be_followed() {
    let mut built = GeomKernel::new(Arch::Amd64);
    let [geom, consumer, provider, request] = built.types;
    let [disk, table, uses, whole, partition] = built.parts;
    let away = built.kernel.unmapped();
    built.kernel.set(disk, geom, "geom.le_next", disk);
    built.kernel.set(table, geom, "name", away);
    built.kernel.set(uses, consumer, "consumer.le_next", away);
    built.kernel.set(whole, provider, "stat", away);
    built.kernel.set(partition, provider, "stat", built.statistics.0);
    built.kernel.set(built.request, request, "bio_t0.sec", -1);
    built.kernel.set(built.request, request, "bio_to", away);
    built.kernel.set_variable("g_bio_run_down", "bio_queue_length", -3);
    let (stderr, document) = damaged(&built.kernel, "geom");
    for text in [
        "geom of the class at",
        "the list leads back to",
        &format!("name of the geom at {table:#x} cannot be read") as &str,
        "the list cannot be followed beyond",
        &format!("start_count of the devstat at {away:#x} cannot be read"),
        "bio_t0 of the request",
        &format!("name of the provider at {away:#x} cannot be read"),
        "g_bio_run_down has 1 requests, but says that it has -3",
    ] {
        assert!(stderr.contains(text), "{text}: {stderr}");
    }
    let geoms = &document["geom"]["geoms"];
    assert_eq!(geoms[0]["providers"][0]["outstanding_count"], Value::Null);
    assert_eq!(geoms[1]["providers"][0]["outstanding_count"], 3);
    assert_eq!(document["geom"]["queues"][0]["requests"][0]["sent_since_boot_seconds"], Value::Null);
}

#[test]
fn what_is_not_done_of_a_disk_is_what_its_statistics_as_a_device_say() {
    let mut built = GeomKernel::new(Arch::Amd64);
    let (whole, provider) = (built.parts[3], built.types[2]);
    built.kernel.set(whole, provider, "stat", 0);
    let (at, statistics) = add_statistics(&mut built.kernel, "vtbd_devstat");
    built.kernel.set(at, statistics, "id", whole);
    let run = built.kernel.write().run(&["show", "geom"]).ok();
    assert!(run.stdout.starts_with("DISK\tvtbd0\t1099511627776\t512\tr0w0e0\t2\t6\t"), "{run:?}");
}
