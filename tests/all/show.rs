//! `memtool show`: what a kernel counts and holds, by its types.

use crate::common::typed_kernel::WriteFiles as _;
use crate::common::typed_kernel::{Basic, TypedDump, TypedKernel};
use crate::common::{command, on_terminal_of, text};
use crate::kernel_cpus::{with_cpus, with_swap_devices};
use serde_json::{Value, json};
use vmcore_synth::Arch;
use vmcore_synth::ctf::Type;

/// Architectures of both orders of bytes.
const ARCHITECTURES: [Arch; 2] = [Arch::Amd64, Arch::Powerpc64];
/// Bytes from what one CPU has for itself to what the next one has.
const CPU: u64 = 4096;

/// A kernel with CPUs 0 and 2.
struct Counting {
    kernel: TypedKernel,
    /// `counter_u64_t`.
    counter: Type,
    /// Where the next counter is.
    next: u64,
}

impl Counting {
    fn new(arch: Arch) -> Self {
        let (mut kernel, ..) = with_cpus(arch);
        let int = kernel.basic.int;
        for (name, value) in [("mp_maxid", 2), ("vm_ndomains", 2)] {
            kernel.variable(name, int);
            kernel.set_variable(name, "", value);
        }
        let counter = kernel.types.pointer(kernel.basic.unsigned_long_long);
        let next = kernel.allocate_pages(3 * CPU);
        Self { kernel, counter, next }
    }

    /// A counter, of which CPUs 0 and 2 have these parts.
    fn counter(&mut self, parts: [u64; 2]) -> u64 {
        let at = self.next;
        self.next += 8;
        for (cpu, part) in [0, 2].into_iter().zip(parts) {
            let number = self.kernel.basic.unsigned_long_long;
            self.kernel.set(at + CPU * cpu, number, "", part);
        }
        at
    }

    fn counter_variable(&mut self, name: &str, parts: [u64; 2]) {
        let at = self.counter(parts);
        self.kernel.static_variable(name, self.counter);
        self.kernel.set_variable(name, "", at);
    }

    /// Counters of virtual memory: of all that there are, a few.
    fn with_vm_counters(mut self) -> Self {
        let Basic { int, unsigned_int, unsigned_long, unsigned_long_long, long, .. } = self.kernel.basic;
        let counter = self.counter;
        let members =
            [("v_swtch", counter), ("v_intr", counter), ("v_pdpages", counter), ("v_page_size", unsigned_int)];
        let totals = self.kernel.types.record("vmmeter", &members);
        let address = self.kernel.variable("vm_cnt", totals);
        for (member, parts) in [("v_swtch", [40, 2]), ("v_intr", [u64::MAX, 8]), ("v_pdpages", [1, 2])] {
            let at = self.counter(parts);
            self.kernel.set(address, totals, member, at);
        }
        self.kernel.set(address, totals, "v_page_size", 4096);
        let queue = self.kernel.types.record("vm_pagequeue", &[("pq_cnt", int), ("pq_pdpages", unsigned_long_long)]);
        let queues = self.kernel.types.array(queue, 4);
        let members = [("vmd_pagequeues", queues), ("vmd_free_count", unsigned_int)];
        let domain = self.kernel.types.record("vm_domain", &members);
        let domains = self.kernel.types.array(domain, 8);
        self.kernel.variable("vm_dom", domains);
        for domain in 0..2_u64 {
            for queue in 0..4 {
                let path = format!("[{domain}].vmd_pagequeues[{queue}]");
                self.kernel.set_variable("vm_dom", &format!("{path}.pq_cnt"), 100 * (domain + 1) + queue);
                self.kernel.set_variable("vm_dom", &format!("{path}.pq_pdpages"), 10);
            }
            self.kernel.set_variable("vm_dom", &format!("[{domain}].vmd_free_count"), 1000);
        }
        self.kernel.variable("vm_user_wire_count", unsigned_long);
        self.kernel.set_variable("vm_user_wire_count", "", 16);
        for (name, parts) in [
            ("numposhits", [80, 10]),
            ("numneghits", [2, 3]),
            ("numposzaps", [1, 0]),
            ("numnegzaps", [0, 1]),
            ("nummiss", [1, 0]),
            ("nummisszap", [1, 1]),
        ] {
            self.counter_variable(name, parts);
        }
        let members = ["ncs_falsehits", "ncs_long", "ncs_pass2"].map(|member| (member, long));
        let others = self.kernel.types.record("nchstats", &members);
        self.kernel.variable("nchstats", others);
        self
    }

    /// Two types of memory, and one that was never used: the addresses of the former.
    fn with_malloc_types(mut self) -> (Self, Type, [u64; 3]) {
        let Basic { int, string, unsigned_long_long, .. } = self.kernel.basic;
        let members = ["mts_memalloced", "mts_memfreed", "mts_numallocs", "mts_numfrees", "mts_size"];
        let stats = self.kernel.types.record("malloc_type_stats", &members.map(|member| (member, unsigned_long_long)));
        let to_stats = self.kernel.types.pointer(stats);
        let internal = self.kernel.types.record("malloc_type_internal", &[("mti_stats", to_stats)]);
        let of = self.kernel.types.reserve();
        let to_type = self.kernel.types.pointer(of);
        let members = [("ks_next", to_type), ("ks_shortdesc", string), ("ks_mti", internal)];
        self.kernel.types.at(of).record("malloc_type", &members);
        self.kernel.static_variable("kmemstatistics", to_type);
        let zone = self.kernel.types.record("", &[("kz_size", int), ("kz_name", string)]);
        let zones = self.kernel.types.array(zone, 4);
        self.kernel.variable("kmemzones", zones);
        for (index, size) in [16, 32, 384].into_iter().enumerate() {
            self.kernel.set_variable("kmemzones", &format!("[{index}].kz_size"), size);
        }
        let parts = self.kernel.allocate_pages(3 * CPU);
        let types = ["devbuf", "a type of memory whose name is longer than 32", "unused"].map(|name| {
            let (at, name) = (self.kernel.allocate(of), self.kernel.string(name));
            self.kernel.set(at, of, "ks_shortdesc", name);
            at
        });
        for (index, at) in (0..).zip(types) {
            let base = parts + 256 * index;
            self.kernel.set(at, of, "ks_mti.mti_stats", base);
            for cpu in [0, 2] {
                let used = if index < 2 { [100 * (cpu + 1), 50, 10, 4, 1 << cpu] } else { [0; 5] };
                for (member, value) in members_of_stats().zip(used) {
                    self.kernel.set(base + CPU * cpu, stats, member, value);
                }
            }
        }
        for (at, next) in types.into_iter().zip(types.into_iter().skip(1)) {
            self.kernel.set(at, of, "ks_next", next);
        }
        self.kernel.set_variable("kmemstatistics", "", types[0]);
        (self, of, types)
    }
}

/// A dump of a kernel with types of memory.
pub fn with_malloc_types() -> TypedDump {
    Counting::new(Arch::Amd64).with_malloc_types().0.kernel.write()
}

fn members_of_stats() -> impl Iterator<Item = &'static str> {
    ["mts_memalloced", "mts_memfreed", "mts_numallocs", "mts_numfrees", "mts_size"].into_iter()
}

/// The zones of a kernel as they are being built.
struct WithZones {
    all: Counting,
    keg: Type,
    zone: Type,
    cache: Type,
    domain: Type,
    /// Two zones that share a keg, and a zone without one.
    zones: [u64; 3],
    kegs: [u64; 2],
}

impl WithZones {
    fn new(arch: Arch) -> Self {
        let mut all = Counting::new(arch);
        let Basic { short, long, unsigned_int, unsigned_long_long, string, pointer, .. } = all.kernel.basic;
        let (counter, types) = (all.counter, &mut all.kernel.types);
        let bucket = types.record("uma_cache_bucket", &[("ucb_bucket", pointer), ("ucb_cnt", short)]);
        let members = [
            ("uc_freebucket", bucket),
            ("uc_allocbucket", bucket),
            ("uc_crossbucket", bucket),
            ("uc_allocs", unsigned_long_long),
            ("uc_frees", unsigned_long_long),
        ];
        let cache = types.record("uma_cache", &members);
        let domain = types.record("uma_zone_domain", &[("uzd_buckets", pointer), ("uzd_nitems", long)]);
        let (zone, keg) = (types.reserve(), types.reserve());
        let (to_zone, to_keg, caches) = (types.pointer(zone), types.pointer(keg), types.array(cache, 0));
        let link = types.record("", &[("le_next", to_zone), ("le_prev", pointer)]);
        let members = [
            ("uz_size", unsigned_int),
            ("uz_max_items", unsigned_long_long),
            ("uz_xdomain", counter),
            ("uz_sleeps", unsigned_long_long),
            ("uz_link", link),
            ("uz_allocs", counter),
            ("uz_frees", counter),
            ("uz_fails", counter),
            ("uz_name", string),
            ("uz_cpu", caches),
        ];
        types.at(zone).record("uma_zone", &members);
        let zones = types.record("", &[("lh_first", to_zone)]);
        let slabs = types.record("uma_domain", &[("ud_pages", unsigned_int), ("ud_free_items", unsigned_int)]);
        let slabs = types.array(slabs, 0);
        let link = types.record("", &[("le_next", to_keg), ("le_prev", pointer)]);
        let members = [("uk_zones", zones), ("uk_size", unsigned_int), ("uk_link", link), ("uk_domain", slabs)];
        types.at(keg).record("uma_keg", &members);
        let kegs = types.record("", &[("lh_first", to_keg)]);
        all.kernel.static_variable("uma_kegs", kegs);
        all.kernel.static_variable("uma_cachezones", zones);
        // What is behind the structures takes room, too.
        let zones = [0; 3].map(|_| all.kernel.allocate_pages(4096));
        let kegs = [0; 2].map(|_| all.kernel.allocate_pages(4096));
        let mut built = Self { all, keg, zone, cache, domain, zones, kegs };
        built.fill();
        built
    }

    fn fill(&mut self) {
        let (kegs, zones) = (self.kegs, self.zones);
        self.all.kernel.set_variable("uma_kegs", "lh_first", kegs[0]);
        self.all.kernel.set(kegs[0], self.keg, "uk_link.le_next", kegs[1]);
        self.all.kernel.set(kegs[0], self.keg, "uk_zones.lh_first", zones[0]);
        self.all.kernel.set(kegs[0], self.keg, "uk_size", 256);
        self.all.kernel.set(kegs[0], self.keg, "uk_domain[0].ud_free_items", 30);
        self.all.kernel.set(kegs[0], self.keg, "uk_domain[1].ud_free_items", 5);
        self.all.kernel.set(kegs[0], self.keg, "uk_domain[0].ud_pages", 6);
        self.all.kernel.set(kegs[0], self.keg, "uk_domain[1].ud_pages", 1);
        self.all.kernel.set(zones[0], self.zone, "uz_link.le_next", zones[1]);
        self.all.kernel.set_variable("uma_cachezones", "lh_first", zones[2]);
        for (at, name) in zones.into_iter().zip(["mbuf", "mbuf_packet", "vm pgcache"]) {
            let name = self.all.kernel.string(name);
            self.all.kernel.set(at, self.zone, "uz_name", name);
            for (member, parts) in
                [("uz_allocs", [1000, 5]), ("uz_frees", [900, 6]), ("uz_fails", [1, 2]), ("uz_xdomain", [4, 3])]
            {
                let counter = self.all.counter(parts);
                self.all.kernel.set(at, self.zone, member, counter);
            }
            for (member, value) in [("uz_size", 256), ("uz_max_items", 5000), ("uz_sleeps", 9)] {
                self.all.kernel.set(at, self.zone, member, value);
            }
            for cpu in [0_u64, 2] {
                let cache = self.cache_of(at, cpu);
                for (member, value) in [
                    ("uc_freebucket.ucb_cnt", 1),
                    ("uc_allocbucket.ucb_cnt", 10),
                    ("uc_crossbucket.ucb_cnt", 2),
                    ("uc_allocs", 70),
                    ("uc_frees", 60),
                ] {
                    self.all.kernel.set(cache, self.cache, member, value);
                }
            }
            // Those of domains follow the cache of the last CPU.
            let domains = self.cache_of(at, 3);
            let size = self.all.kernel.types.size_of(self.domain);
            for domain in 0..2 {
                self.all.kernel.set(domains + size * domain, self.domain, "uzd_nitems", 100 + domain);
            }
        }
    }

    fn cache_of(&self, zone: u64, cpu: u64) -> u64 {
        self.all.kernel.address_of(zone, self.zone, "uz_cpu") + self.all.kernel.types.size_of(self.cache) * cpu
    }
}

#[test]
fn counters_are_added_and_what_a_kernel_lacks_is_unknown() {
    for arch in ARCHITECTURES {
        let dump = Counting::new(arch).with_vm_counters().kernel.write();
        let run = dump.run(&["show", "vmstat-s"]).ok();
        assert_eq!(run.stderr, "", "{arch:?}");
        let rows = run.lines();
        for (row, text) in [
            (0, "42\tcpu context switches"),
            // A sum wraps around.
            (1, "7\tdevice interrupts"),
            (2, "-\tsoftware interrupts"),
            (18, "83\tpages examined by the page daemon"),
            (35, "302\tpages active"),
            (36, "300\tpages inactive"),
            (37, "610\tpages in the laundry queue"),
            (38, "-\tpages wired down"),
            (39, "16\tvirtual user pages wired down"),
            (41, "2000\tpages free"),
            (42, "4096\tbytes per page"),
            (43, "100\ttotal name lookups"),
            (44, "\tcache hits (90% pos + 5% neg) system 0% per-directory"),
            (45, "\tdeletions 2%, falsehits 0%, toolong 0%"),
        ] {
            assert_eq!(rows[row], text, "{arch:?}");
        }
        let found = &dump.run(&["show", "vmstat-s", "--json"]).ok().json()["vm_counters"];
        assert_eq!([&found["context_switches"], &found["traps"]], [&json!(42), &Value::Null]);
        assert_eq!([&found["name_cache"]["lookup_count"], &found["name_cache"]["misses"]], [&json!(100), &json!(3)]);
    }
}

#[test]
fn a_counter_that_cannot_be_read_is_unknown_and_a_warning_says_so() {
    let mut all = Counting::new(Arch::Amd64).with_vm_counters();
    let away = all.kernel.unmapped();
    all.kernel.set_variable("vm_cnt", "v_swtch", away);
    all.kernel.set_variable("vm_cnt", "v_intr", away + 1);
    all.kernel.set_variable("vm_ndomains", "", 9);
    let (run, json) = all.kernel.write().damaged("vmstat-s");
    assert_eq!(run.lines()[0..2], ["-\tcpu context switches", "-\tdevice interrupts"]);
    assert_eq!(run.lines()[41], "-\tpages free");
    assert!(run.stderr.contains("warning: vm_cnt.v_swtch cannot be read"), "{run:?}");
    assert!(run.stderr.contains("vm_cnt.v_intr is damaged"), "{run:?}");
    assert!(run.stderr.contains("vm_ndomains is 9: vm_dom has 8 domains"), "{run:?}");
    assert_eq!(json["warnings"].as_array().unwrap().len(), 3, "{json}");
}

#[test]
fn types_of_memory_are_added_over_cpus() {
    for arch in ARCHITECTURES {
        let (all, ..) = Counting::new(arch).with_malloc_types();
        let dump = all.kernel.write();
        let run = dump.run(&["show", "vmstat-m"]).ok();
        let expected =
            ["a type of memory whose name is longer than 32\t12\t300\t20\t16,384", "devbuf\t12\t300\t20\t16,384"];
        assert_eq!(run.lines(), expected, "{arch:?}");
        let json = dump.run(&["show", "vmstat-m", "--json"]).ok().json();
        let devbuf = json!({
            "name": "devbuf", "in_use_count": 12, "bytes_used": 300, "request_count": 20, "zone_sizes": [16, 384],
        });
        assert_eq!(json["malloc_types"][1], devbuf);
        assert!(json.get("zones").is_none());
    }
}

#[test]
fn a_list_of_types_that_leads_back_or_away_is_shown_up_to_there() {
    for (arch, is_loop) in [(Arch::Amd64, true), (Arch::Powerpc64, true), (Arch::Amd64, false)] {
        let (mut all, of, types) = Counting::new(arch).with_malloc_types();
        let next = if is_loop { types[0] } else { all.kernel.unmapped() };
        all.kernel.set(types[1], of, "ks_next", next);
        let (run, json) = all.kernel.write().damaged("vmstat-m");
        assert_eq!(run.lines().len(), 2, "{run:?}");
        let says = if is_loop { "the list leads back to" } else { "the list cannot be followed beyond" };
        assert!(run.stderr.contains("the list of types of memory is damaged") && run.stderr.contains(says), "{run:?}");
        assert_eq!(json["malloc_types"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_type_whose_numbers_are_not_there_is_unknown_and_the_others_are_shown() {
    let (mut all, of, types) = Counting::new(Arch::Amd64).with_malloc_types();
    let away = all.kernel.unmapped();
    all.kernel.set(types[1], of, "ks_mti.mti_stats", away);
    all.kernel.set(types[0], of, "ks_shortdesc", away);
    let (run, json) = all.kernel.write().damaged("vmstat-m");
    assert_eq!(run.lines()[0], "a type of memory whose name is longer than 32\t-\t-\t-\t-");
    assert_eq!(run.lines()[1], "-\t12\t300\t20\t16,384");
    assert_eq!(json["malloc_types"][0]["bytes_used"], Value::Null);
    assert!(run.stderr.contains("what CPU 0 counted of the type of memory at"), "{run:?}");
}

#[test]
fn zones_have_what_cpus_and_domains_have_cached_and_share_what_is_free_in_their_keg() {
    for arch in ARCHITECTURES {
        let dump = WithZones::new(arch).all.kernel.write();
        let run = dump.run(&["show", "vmstat-z"]).ok();
        // 1005 and 140 allocated, 906 and 120 freed; 26 free in caches of CPUs, 201 in those of domains, 35 in the keg.
        let expected = [
            "vm pgcache\t256\t5000\t119\t227\t1145\t3\t9\t7",
            "mbuf_packet\t256\t5000\t119\t227\t1145\t3\t9\t7",
            "mbuf\t256\t5000\t119\t262\t1145\t3\t9\t7",
        ];
        assert_eq!(run.lines(), expected, "{arch:?}");
        let json = dump.run(&["show", "vmstat-z", "--json"]).ok().json();
        let zone = &json["zones"][1];
        assert_eq!([&zone["is_secondary"], &zone["keg_free_count"]], [&json!(true), &json!(35)]);
        assert_eq!(zone["keg_page_count"], 7);
        assert_eq!(zone["cpu_caches"], json!([{"cpu": 0, "free_count": 13}, {"cpu": 2, "free_count": 13}]));
        assert_eq!(zone["domain_caches"], json!([{"domain": 0, "free_count": 100}, {"domain": 1, "free_count": 101}]));
        assert_eq!([&json["zones"][0]["is_cache"], &json["zones"][0]["keg_free_count"]], [&json!(true), &Value::Null]);
    }
}

#[test]
fn mbufs_are_those_of_their_zones_and_sendfile_has_its_counters() {
    for arch in ARCHITECTURES {
        let mut built = WithZones::new(arch);
        let Basic { unsigned_long_long, unsigned_int, .. } = built.all.kernel.basic;
        let types = &mut built.all.kernel.types;
        // Two members of 32 bits are one counter, whose parts are not known.
        let halves = [("sf_busy", unsigned_int), ("sf_allocfail", unsigned_int)];
        let members = [("sf_syscalls", unsigned_long_long), ("sf_iocnt", unsigned_long_long)];
        types.record("sfstat", &[members, halves].concat());
        let array = types.array(built.all.counter, 3);
        built.all.kernel.variable("sfstat", array);
        for (index, parts) in [[40, 2], [u64::MAX, 6], [1, 1]].into_iter().enumerate() {
            let counter = built.all.counter(parts);
            built.all.kernel.set_variable("sfstat", &format!("[{index}]"), counter);
        }
        let dump = built.all.kernel.write();
        let run = dump.run(&["show", "netstat-m"]).ok();
        let rows = run.lines();
        assert_eq!(rows[0], "238/489/727\tmbufs in use (current/cache/total)", "{arch:?}");
        assert_eq!(rows[6], "-K/-K/-K\tbytes allocated to network (current/cache/total)");
        assert_eq!(rows[7], "3/-/3\trequests for mbufs denied (mbufs/clusters/mbuf+clusters)");
        assert_eq!(rows[11], "42\tsendfile syscalls", "{arch:?}");
        let json = &dump.run(&["show", "netstat-m", "--json"]).ok().json()["mbufs"];
        let sendfile = &json["sendfile"];
        assert_eq!([&sendfile["sf_iocnt"], &sendfile["sf_busy"]], [&json!(5), &Value::Null]);
        assert_eq!([&json["zones"][1]["name"], &json["bytes_tags"]], [&json!("mbuf_packet"), &Value::Null]);
    }
}

#[test]
fn more_frees_than_allocations_are_no_items_in_use() {
    let mut built = WithZones::new(Arch::Amd64);
    let counter = built.all.counter([2000, 0]);
    built.all.kernel.set(built.zones[0], built.zone, "uz_frees", counter);
    let run = built.all.kernel.write().run(&["show", "vmstat-z"]).ok();
    assert_eq!(run.lines()[2], "mbuf\t256\t5000\t0\t262\t2120\t3\t9\t7");
}

#[test]
fn lists_of_zones_and_kegs_that_lead_back_end_there() {
    for arch in ARCHITECTURES {
        let mut built = WithZones::new(arch);
        let (kegs, zones) = (built.kegs, built.zones);
        built.all.kernel.set(kegs[1], built.keg, "uk_link.le_next", kegs[0]);
        built.all.kernel.set(zones[1], built.zone, "uz_link.le_next", zones[0]);
        let (run, _) = built.all.kernel.write().damaged("vmstat-z");
        assert_eq!(run.lines().len(), 3, "{run:?}");
        assert!(run.stderr.contains("the list of kegs is damaged: the list leads back to"), "{run:?}");
        assert!(run.stderr.contains("the list of zones of the keg at"), "{run:?}");
    }
}

#[test]
fn caches_that_are_not_in_the_dump_make_what_depends_on_them_unknown() {
    let mut built = WithZones::new(Arch::Amd64);
    let away = built.all.kernel.allocate_pages(4096);
    built.all.kernel.set(built.zones[0], built.zone, "uz_link.le_next", away - 32);
    built.all.kernel.omit(away);
    let (run, _) = built.all.kernel.write().damaged("vmstat-z");
    assert!(run.stderr.contains("the list cannot be followed beyond"), "{run:?}");
    assert_eq!(run.lines().len(), 2, "{run:?}");
}

#[test]
fn a_kernel_without_caches_of_cpus_has_zones_whose_items_are_unknown() {
    let mut all = Counting::new(Arch::Amd64);
    let Basic { string, pointer, unsigned_int, .. } = all.kernel.basic;
    let (zone, keg) = (all.kernel.types.reserve(), all.kernel.types.reserve());
    let (to_zone, to_keg) = (all.kernel.types.pointer(zone), all.kernel.types.pointer(keg));
    let link = all.kernel.types.record("", &[("le_next", to_zone), ("le_prev", pointer)]);
    all.kernel.types.at(zone).record("uma_zone", &[("uz_link", link), ("uz_name", string)]);
    let zones = all.kernel.types.record("", &[("lh_first", to_zone)]);
    let link = all.kernel.types.record("", &[("le_next", to_keg), ("le_prev", pointer)]);
    let members = [("uk_zones", zones), ("uk_size", unsigned_int), ("uk_link", link)];
    all.kernel.types.at(keg).record("uma_keg", &members);
    let kegs = all.kernel.types.record("", &[("lh_first", to_keg)]);
    all.kernel.static_variable("uma_kegs", kegs);
    let [of_keg, of_zone] = [keg, zone].map(|of| all.kernel.allocate(of));
    all.kernel.set_variable("uma_kegs", "lh_first", of_keg);
    all.kernel.set(of_keg, keg, "uk_zones.lh_first", of_zone);
    all.kernel.set(of_keg, keg, "uk_size", 64);
    let name = all.kernel.string("old");
    all.kernel.set(of_zone, zone, "uz_name", name);
    let run = all.kernel.write().run(&["show", "vmstat-z"]).ok();
    assert_eq!((run.lines(), &*run.stderr), (vec!["old\t64\t-\t-\t-\t-\t-\t-\t-"], ""));
}

#[test]
fn swap_devices_have_their_whole_size_and_a_sum() {
    for arch in ARCHITECTURES {
        let dump = with_swap_devices(arch).0.write();
        let run = dump.run(&["show", "swapinfo"]).ok();
        let expected = ["/dev/ada0p3\t4000\t28\t3972\t0%", "-\t2128\t0\t2128\t0%", "Total\t6128\t28\t6100\t0%"];
        assert_eq!(run.lines(), expected, "{arch:?}");
        let json = dump.run(&["show", "swapinfo", "--json"]).ok().json();
        let devices = json!([
            {"path": "/dev/ada0p3", "size": 4_096_000, "bytes_used": 28_672},
            {"path": null, "size": 2_179_072, "bytes_used": 0},
        ]);
        assert_eq!(json["swap_devices"], devices);
    }
}

#[test]
fn a_list_of_swap_devices_that_leads_back_is_shown_up_to_there() {
    let (mut kernel, swap, [disk, file]) = with_swap_devices(Arch::Amd64);
    kernel.set(file, swap, "sw_list.tqe_next", disk);
    let (run, _) = kernel.write().damaged("swapinfo");
    assert_eq!(run.lines().len(), 3, "{run:?}");
    assert!(run.stderr.contains("the list of swap devices is damaged: the list leads back to"), "{run:?}");
}

#[test]
fn a_list_that_skips_elements_or_is_cut_off_is_damaged() {
    let (mut kernel, swap, [disk, file]) = with_swap_devices(Arch::Amd64);
    kernel.set(file, swap, "sw_list.tqe_prev", disk);
    let (run, json) = kernel.write().damaged("swapinfo");
    assert!(run.stderr.contains("the list of swap devices is damaged: tqe_prev of"), "{run:?}");
    assert_eq!(json["swap_devices"].as_array().unwrap().len(), 2);
    let (mut kernel, swap, [disk, file]) = with_swap_devices(Arch::Amd64);
    let last = kernel.address_of(file, swap, "sw_list.tqe_next");
    kernel.set_variable("swtailq", "tqh_last", last);
    kernel.write().run(&["show", "swapinfo"]).ok();
    kernel.set(disk, swap, "sw_list.tqe_next", 0);
    let (run, _) = kernel.write().damaged("swapinfo");
    assert!(run.stderr.contains("the list of swap devices is damaged: tqh_last of"), "{run:?}");
    // What was zeroed leads nowhere.
    let (mut kernel, ..) = with_swap_devices(Arch::Amd64);
    kernel.disconnect();
    let (run, _) = kernel.write().damaged("swapinfo");
    assert!(run.stderr.contains("tqe_prev of") && run.stderr.contains(" is 0x0, not "), "{run:?}");
}

#[test]
fn more_swap_in_use_than_there_is_and_no_memory_domains_are_damage() {
    let (mut kernel, swap, [disk, _]) = with_swap_devices(Arch::Amd64);
    kernel.set(disk, swap, "sw_used", 1001);
    let (run, _) = kernel.write().damaged("swapinfo");
    assert!(run.stderr.contains("has 1001 pages in use, more than the 1000 that it has"), "{run:?}");
    let mut all = WithZones::new(Arch::Amd64).all;
    all.kernel.set_variable("vm_ndomains", "", 0);
    let (run, json) = all.kernel.write().damaged("vmstat-z");
    assert!(run.stderr.contains("vm_ndomains is 0, which is no number of domains"), "{run:?}");
    assert_eq!(json["zones"][0]["free_count"], Value::Null);
    all.kernel.set_variable("vm_ndomains", "", 2);
    all.kernel.set_variable("mp_maxid", "", 1);
    let (run, _) = all.kernel.write().damaged("vmstat-z");
    assert!(run.stderr.contains("mp_maxid is 1, less than 2, which is the number of a CPU"), "{run:?}");
}

#[test]
fn a_swap_device_that_cannot_be_read_is_left_out_and_a_warning_says_so() {
    let (mut kernel, swap, [disk, _]) = with_swap_devices(Arch::Amd64);
    let away = kernel.unmapped();
    kernel.set(disk, swap, "sw_list.tqe_next", away);
    let (run, json) = kernel.write().damaged("swapinfo");
    assert_eq!(run.lines().len(), 1, "{run:?}");
    assert_eq!(json["swap_devices"].as_array().unwrap().len(), 1);
}

#[test]
fn a_terminal_has_the_headings_of_freebsd_and_80_columns() {
    let dump = WithZones::new(Arch::Amd64).all.kernel.write();
    let files = ["-M", text(&dump.core), "-N", text(&dump.kernel)];
    let shown = on_terminal_of(Some(80), command().args(["show", "vmstat-z"]).args(files));
    let mut lines = shown.lines();
    let headings: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(headings, ["ITEM", "SIZE", "LIMIT", "USED", "FREE", "REQ", "FAIL", "SLEEP", "XDOM"]);
    assert!(lines.all(|line| line.len() <= 80), "{shown}");
}

#[test]
fn a_kernel_without_types_and_a_section_that_is_none_are_errors() {
    let mut all = Counting::new(Arch::Amd64);
    let run = all.kernel.write().run(&["show", "vmstat-s"]).exits(1);
    assert!(run.stderr.contains("has no symbol vm_cnt"), "{run:?}");
    all.kernel.has_types = false;
    let run = all.kernel.write().run(&["show", "vmstat-s"]).exits(1);
    assert!(run.stderr.contains("types"), "{run:?}");
    all.kernel.write().run(&["show", "vmstat"]).usage_error(&["vmstat-s", "vmstat-m", "vmstat-z", "swapinfo"]);
}
