//! What the kernel counts of its memory: types of malloc(9), zones of UMA, pages, and interrupts.

use crate::kernel::{CPUS, Demo, PAGE};

/// Types of memory: name, allocations in use, bytes of each, and all requests.
const TYPES: &[(&str, u64, u64, u64)] = &[
    ("devbuf", 2314, 1620, 2921),
    ("temp", 21, 1365, 120_877),
    ("subproc", 96, 4181, 51_204),
    ("session", 17, 128, 402),
    ("proc-args", 22, 74, 30_116),
    ("filedesc", 27, 3204, 24_070),
    ("pcb", 19, 2750, 81),
    ("soname", 12, 49, 9130),
    ("ifnet", 4, 1536, 5),
    ("ifaddr", 31, 139, 34),
    ("routetbl", 44, 285, 310),
    ("vnet", 1, 64, 1),
    ("mount", 81, 110, 350),
    ("UFS mount", 2, 17_236, 3),
    ("newblk", 5, 272_000, 220_031),
    ("sysctloid", 6120, 47, 6240),
    ("linker", 140, 1380, 410),
    ("kqueue", 14, 2310, 5190),
    ("demo ring", 1, 8192, 18),
];

/// Zones: name, bytes of an item, limit, items in use and free, and all requests.
const ZONES: &[(&str, u64, u64, u64, u64, u64)] = &[
    ("PROC", 1368, 0, 25, 23, 24_310),
    ("THREAD", 1808, 0, 79, 61, 240),
    ("VMSPACE", 616, 0, 15, 33, 24_280),
    ("VNODE", 448, 0, 2107, 41, 61_204),
    ("VM OBJECT", 264, 0, 3104, 526, 490_772),
    ("RADIX NODE", 144, 0, 8702, 1238, 1_201_377),
    ("UMA Zones", 640, 0, 171, 1, 171),
    ("socket", 960, 7808, 17, 43, 9208),
    ("tcp_inpcb", 1344, 7808, 6, 30, 611),
    ("udp_inpcb", 424, 7808, 4, 50, 8009),
    ("unpcb", 256, 7808, 9, 66, 580),
    ("mbuf", 256, 156_210, 1040, 1490, 40_802_113),
    ("mbuf_packet", 256, 156_210, 1029, 501, 18_340_772),
    ("mbuf_cluster", 2048, 24_408, 1530, 16, 1546),
    ("FFS inode", 1160, 0, 2040, 38, 60_118),
    ("namei", 1024, 0, 0, 96, 5_210_440),
    ("pipe", 760, 0, 2, 58, 12_430),
];

/// Interrupts and how often they came.
const INTERRUPTS: &[(&str, u64)] = &[
    ("irq1: atkbd0", 412),
    ("irq16: ahci0", 402_118),
    ("irq24: demo0", 1_803_442),
    ("cpu0:timer", 20_114_883),
    ("cpu1:timer", 18_773_020),
];

/// Counters of virtual memory.
const COUNTERS: &[(&str, u64)] = &[
    ("v_swtch", 91_204_118),
    ("v_trap", 4_210_774),
    ("v_syscall", 88_410_336),
    ("v_intr", 41_093_875),
    ("v_soft", 12_730_114),
    ("v_vm_faults", 4_180_021),
    ("v_io_faults", 2160),
    ("v_cow_faults", 1_040_331),
    ("v_cow_optim", 214),
    ("v_zfod", 1_902_441),
    ("v_ozfod", 31),
    ("v_swapin", 11),
    ("v_swapout", 9),
    ("v_swappgsin", 12),
    ("v_swappgsout", 37),
    ("v_vnodein", 9114),
    ("v_vnodeout", 803),
    ("v_vnodepgsin", 61_220),
    ("v_vnodepgsout", 4470),
    ("v_intrans", 18),
    ("v_reactivated", 1204),
    ("v_pdwakeups", 77),
    ("v_pdpages", 6_710_220),
    ("v_pdshortfalls", 1),
    ("v_dfree", 10_288),
    ("v_pfree", 1_401_772),
    ("v_tfree", 3_801_229),
    ("v_forks", 23_880),
    ("v_vforks", 430),
    ("v_rforks", 0),
    ("v_kthreads", 54),
    ("v_forkpages", 1_204_882),
    ("v_vforkpages", 20_117),
    ("v_rforkpages", 0),
    ("v_kthreadpages", 0),
];

impl Demo {
    pub fn count_memory(&mut self) {
        self.count_types();
        self.count_zones();
        self.count_pages();
        self.count_interrupts();
        self.set_variable("vm_kmem_size", "", 0x175a_0000);
        self.set_variable("uma_kmem_total", "", 0x1a4_1000);
    }

    fn count_types(&mut self) {
        for (index, size) in
            [16, 32, 64, 128, 256, 384, 512, 1024, 2048, 4096, 8192, 16_384, 32_768].into_iter().enumerate()
        {
            let name = self.string(&format!("malloc-{size}"));
            self.set_variable("kmemzones", &format!("[{index}].kz_size"), size);
            self.set_variable("kmemzones", &format!("[{index}].kz_name"), name);
        }
        let parts = self.kernel.allocate_pages(CPUS * PAGE);
        let mut next = 0;
        for (index, (name, used, size, requests)) in (0..).zip(TYPES.iter().copied()) {
            let name = self.string(name).into();
            let base = parts + 64 * index;
            let of = self.add(
                "malloc_type",
                &[
                    ("ks_next", i128::from(next)),
                    ("ks_version", 20_200_503),
                    ("ks_shortdesc", name),
                    ("ks_mti.mti_stats", base.into()),
                ],
            );
            let frees = requests - used;
            for cpu in 0..CPUS {
                let part = |value: u64| i128::from(if cpu == 0 { value - value / 2 } else { value / 2 });
                self.set_all(
                    base + PAGE * cpu,
                    "malloc_type_stats",
                    &[
                        ("mts_memalloced", part(requests * size)),
                        ("mts_memfreed", part(frees * size)),
                        ("mts_numallocs", part(requests)),
                        ("mts_numfrees", part(frees)),
                        ("mts_size", 1 << (size.max(16).ilog2() - 3).min(12)),
                    ],
                );
            }
            next = of;
        }
        self.set_variable("kmemstatistics", "", next);
    }

    fn count_zones(&mut self) {
        let domain_size = self.size_of("uma_zone_domain");
        for (name, size, limit, used, free, requests) in ZONES.iter().copied() {
            let requests = requests.max(used + free);
            // What is behind the structures takes room, too.
            let (keg, zone) = (self.kernel.allocate_pages(512), self.kernel.allocate_pages(1024));
            let name = self.string(name);
            self.set_all(keg, "uma_keg", &[("uk_size", size.into()), ("uk_name", name.into())]);
            let pages = ((used + free) * size).div_ceil(PAGE).max(1);
            // Half of what is free is in the slabs; the caches of CPUs and domains have the rest.
            let (slabs, caches) = (free / 2, free - free / 2);
            for domain in 0..2 {
                let at = self.at(keg, "uma_keg", "uk_domain") + domain * self.size_of("uma_domain");
                let part = |value: u64| i128::from(if domain == 0 { value - value / 2 } else { value / 2 });
                self.set_all(at, "uma_domain", &[("ud_pages", part(pages)), ("ud_free_items", part(slabs))]);
            }
            let counters = [
                ("uz_allocs", requests),
                ("uz_frees", requests - used - caches),
                ("uz_fails", 0),
                ("uz_xdomain", used / 9),
            ];
            for (member, value) in counters {
                let counter = self.counter(value);
                self.set(zone, "uma_zone", member, counter);
            }
            self.set_all(
                zone,
                "uma_zone",
                &[("uz_size", size.into()), ("uz_max_items", limit.into()), ("uz_name", name.into())],
            );
            let at = self.at(zone, "uma_zone", "uz_cpu");
            let in_bucket = (caches / 4).min(64);
            for cpu in 0..CPUS {
                let cache = at + cpu * self.size_of("uma_cache");
                self.set(cache, "uma_cache", "uc_allocbucket.ucb_cnt", in_bucket);
            }
            let domains = at + CPUS * self.size_of("uma_cache");
            let rest = caches - CPUS * in_bucket;
            for (domain, value) in [(0, rest - rest / 2), (1, rest / 2)] {
                self.set(domains + domain * domain_size, "uma_zone_domain", "uzd_nitems", value);
            }
            let zones = self.at(keg, "uma_keg", "uk_zones");
            self.push(zones, false, ("uma_zone", "uz_link"), zone);
            let kegs = self.variable("uma_kegs");
            self.push(kegs, false, ("uma_keg", "uk_link"), keg);
        }
    }

    fn count_pages(&mut self) {
        for (member, value) in COUNTERS.iter().copied() {
            let counter = self.counter(value);
            self.set_variable("vm_cnt", member, counter);
        }
        for (member, value) in [
            ("v_page_size", PAGE),
            ("v_free_reserved", 363),
            ("v_free_target", 1376),
            ("v_free_min", 446),
            ("v_inactive_target", 2064),
            ("v_pageout_free_min", 34),
            ("v_interrupt_free_min", 2),
            ("v_free_severe", 408),
        ] {
            self.set_variable("vm_cnt", member, value);
        }
        for domain in 0..2_u64 {
            for (queue, (name, scanned)) in
                [("inactive", 10_980_480), ("active", 4_587_240), ("laundry", 264_880), ("unswappable", 0)]
                    .into_iter()
                    .enumerate()
            {
                let path = format!("[{domain}].vmd_pagequeues[{queue}]");
                let name = self.string(&format!("vm {name} pagequeue"));
                self.set_variable("vm_dom", &format!("{path}.pq_name"), name);
                self.set_variable("vm_dom", &format!("{path}.pq_pdpages"), scanned / (domain + 1));
            }
            for (member, value) in [("vmd_domain", domain), ("vmd_free_target", 688), ("vmd_free_min", 223)] {
                self.set_variable("vm_dom", &format!("[{domain}].{member}"), value);
            }
        }
        self.set_variable("vm_user_wire_count", "", 0);
        for (name, value) in [
            ("numposhits", 8_220_114),
            ("numneghits", 310_220),
            ("numposzaps", 1012),
            ("numnegzaps", 20_113),
            ("nummiss", 402_331),
            ("nummisszap", 5120),
        ] {
            let counter = self.counter(value);
            self.set_variable(name, "", counter);
        }
    }

    /// What is known when all pages are given away.
    pub fn count_wired(&mut self) {
        let counter = self.counter(self.wired);
        self.set_variable("vm_cnt", "v_wire_count", counter);
    }

    fn count_interrupts(&mut self) {
        let counts = self.kernel.allocate_pages(8 * INTERRUPTS.len() as u64);
        for (index, (_, count)) in (0..).zip(INTERRUPTS) {
            self.kernel.write_pointer(counts + 8 * index, *count);
        }
        let names: String = INTERRUPTS.iter().map(|(name, _)| format!("{name}\0")).collect();
        let at = self.kernel.string(&names);
        for (variable, value) in [
            ("intrcnt", counts),
            ("intrnames", at),
            ("sintrcnt", 8 * INTERRUPTS.len() as u64),
            ("sintrnames", names.len() as u64),
        ] {
            self.set_variable(variable, "", value);
        }
    }
}
