//! Disks: GEOM with partitions and who uses them, CAM, what was read and written, and buffers of file systems.

use crate::kernel::{Demo, PAGE};

/// Bytes of the disk.
const DISK: u64 = 4 << 30;
const SECTOR: u64 = 512;
/// Partitions: name, bytes, and how often they are open for reading, writing and alone.
const PARTITIONS: [(&str, u64, [i128; 3]); 4] = [
    ("ada0p1", 32 << 20, [0, 0, 0]),
    ("ada0p2", 3 << 30, [1, 1, 1]),
    ("ada0p3", crate::crash::DEVICE, [1, 1, 0]),
    ("ada0p4", 956 << 20, [1, 1, 1]),
];
/// What uses them: class, geom, the partition, and how often it has it open.
const USERS: [(&str, &str, &str, [i128; 3]); 3] = [
    ("SWAP", "swap", "ada0p3", [1, 1, 0]),
    ("VFS", "ffs.ada0p2", "ada0p2", [1, 1, 1]),
    ("VFS", "ffs.ada0p4", "ada0p4", [1, 1, 1]),
];
/// Flags of providers: `G_PF_ACCEPT_UNMAPPED`, `G_PF_DIRECT_SEND` and `G_PF_DIRECT_RECEIVE`.
const DIRECT: i128 = 0x38;
/// Buffers, and bytes of the largest.
const BUFFERS: u64 = 512;
const LARGEST: u64 = 65_536;
/// `B_CACHE`, `B_DELWRI` and `B_IOSTARTED`.
const CACHE: i128 = 0x20;
const DIRTY: i128 = 0x80;
const STARTED: i128 = 0x8_0000;
/// Files with buffers: how many, how many of these are dirty, and bytes of each.
const BUFFERED: [(&str, u64, u64, u64); 7] = [
    ("/dev/ada0p2", 118, 4, 32_768),
    ("/dev/ada0p4", 61, 7, 32_768),
    ("/var/log/messages", 3, 1, 32_768),
    ("/var/log/auth.log", 1, 0, 16_384),
    ("/var/log/cron", 2, 1, 32_768),
    ("/bin/sh", 5, 0, 32_768),
    ("/usr/local/sbin/nginx", 38, 0, 32_768),
];

impl Demo {
    pub fn find_disks(&mut self) {
        self.start_statistics();
        self.taste_disks();
        self.scan_buses();
        self.fill_buffers();
    }

    fn start_statistics(&mut self) {
        let list = self.variable("device_statq");
        // Free, read, write, none: bytes, requests and milliseconds.
        let ada: [[u64; 3]; 4] =
            [[0; 3], [1_904_220_160, 61_402, 41_300], [5_804_118_016, 310_204, 288_400], [0, 41_220, 18_900]];
        let cd: [[u64; 3]; 4] = [[0; 3], [4096, 2, 31], [0; 3], [0, 118, 12]];
        for (name, transfers, [started, ended], busy) in
            [("ada", ada, [412_827, 412_826], 310_704), ("cd", cd, [120, 120], 43)]
        {
            let statistics = self.add(
                "devstat",
                &[
                    ("allocated", 1),
                    ("start_count", started),
                    ("end_count", ended),
                    ("busy_from.sec", i128::from(self.uptime()) - 1),
                    ("busy_time.sec", busy / 1000),
                    ("busy_time.frac", busy % 1000 * ((1 << 64) / 1000)),
                    ("creation_time.sec", 2),
                    ("block_size", if name == "cd" { 2048 } else { 512 }),
                ],
            );
            self.set_text(statistics, "devstat", "device_name", name);
            for (index, [bytes, requests, time]) in transfers.into_iter().enumerate() {
                self.set(statistics, "devstat", &format!("bytes[{index}]"), bytes);
                self.set(statistics, "devstat", &format!("operations[{index}]"), requests);
                self.set(statistics, "devstat", &format!("duration[{index}].sec"), time / 1000);
                let part = u128::from(time % 1000) * ((1 << 64) / 1000);
                self.set(statistics, "devstat", &format!("duration[{index}].frac"), part as u64);
            }
            self.push(list, true, ("devstat", "dev_links"), statistics);
            self.known.insert(format!("statistics {name}0"), statistics);
        }
    }

    fn taste_disks(&mut self) {
        self.set_variable("g_collectstats", "", 1);
        let (disk, medium) = (self.geom("DISK", "ada0", 1), self.geom("DISK", "cd0", 1));
        self.provider(disk, "ada0", [DISK, SECTOR], [3, 3, 5]);
        self.provider(medium, "cd0", [0, 2048], [0; 3]);
        for (name, provider) in [("ada0", "provider ada0"), ("cd0", "provider cd0")] {
            let (statistics, provider) = (self.known[&format!("statistics {name}")], self.known[provider]);
            self.set(statistics, "devstat", "id", provider);
        }
        let table = self.geom("PART", "ada0", 2);
        self.consumer(table, "ada0", [3, 3, 5]);
        for (name, size, access) in PARTITIONS {
            self.provider(table, name, [size, SECTOR], access);
        }
        for (class, name, partition, access) in USERS {
            let geom = self.geom(class, name, 3);
            self.consumer(geom, partition, access);
        }
        for name in ["ada0", "cd0"].into_iter().chain(PARTITIONS.map(|(name, ..)| name)) {
            let geom = self.geom("DEV", name, if name.len() > 4 { 3 } else { 2 });
            self.consumer(geom, name, [0; 3]);
        }
    }

    fn geom(&mut self, class: &str, name: &str, rank: i128) -> u64 {
        let key = format!("class {class}");
        if !self.known.contains_key(&key) {
            let text = self.string(class);
            let added = self.add("g_class", &[("name", text.into())]);
            let classes = self.variable("g_classes");
            self.push(classes, false, ("g_class", "class"), added);
            self.known.insert(key.clone(), added);
        }
        let (class, text) = (self.known[&key], self.string(name));
        let geom = self.add("g_geom", &[("name", text.into()), ("class", class.into()), ("rank", rank)]);
        let list = self.at(class, "g_class", "geom");
        self.push(list, false, ("g_geom", "geom"), geom);
        geom
    }

    fn provider(&mut self, geom: u64, name: &str, [size, sector]: [u64; 2], access: [i128; 3]) {
        let text = self.string(name);
        let [read, write, exclusive] = access;
        let provider = self.add(
            "g_provider",
            &[
                ("name", text.into()),
                ("geom", geom.into()),
                ("mediasize", size.into()),
                ("sectorsize", sector.into()),
                ("flags", DIRECT),
                ("acr", read),
                ("acw", write),
                ("ace", exclusive),
            ],
        );
        let list = self.at(geom, "g_geom", "provider");
        self.push(list, false, ("g_provider", "provider"), provider);
        self.known.insert(format!("provider {name}"), provider);
    }

    fn consumer(&mut self, geom: u64, provider: &str, [read, write, exclusive]: [i128; 3]) {
        let provider = self.known[&format!("provider {provider}")];
        let consumer = self.add(
            "g_consumer",
            &[
                ("geom", geom.into()),
                ("provider", provider.into()),
                ("acr", read),
                ("acw", write),
                ("ace", exclusive),
                ("flags", 0x30),
            ],
        );
        let list = self.at(geom, "g_geom", "consumer");
        self.push(list, false, ("g_consumer", "consumer"), consumer);
        let list = self.at(provider, "g_provider", "consumers");
        self.push(list, false, ("g_consumer", "consumers"), consumer);
    }

    fn scan_buses(&mut self) {
        let buses = self.kernel.variable_of("xsoftc").0;
        let buses = self.at(buses, "xpt_softc", "xpt_busses");
        let name = self.string("ahcich");
        for unit in 0..2 {
            let queue = self.add("cam_devq", &[("send_openings", 31 + unit), ("send_active", 1 - unit)]);
            let sim = self.add(
                "cam_sim",
                &[("sim_name", name.into()), ("unit_number", unit), ("path_id", unit), ("devq", queue.into())],
            );
            let bus = self.add("cam_eb", &[("path_id", unit), ("sim", sim.into())]);
            self.push(buses, true, ("cam_eb", "links"), bus);
            let target = self.add("cam_et", &[("bus", bus.into())]);
            let targets = self.at(bus, "cam_eb", "et_entries");
            self.push(targets, true, ("cam_et", "links"), target);
            // CAM_DEV_INQUIRY_DATA_VALID; protocols of ATA and SCSI, SATA.
            let members = [
                ("target", i128::from(target)),
                ("flags", 0x40),
                ("protocol", 3 - unit),
                ("transport", 9),
                ("ccbq.total_openings", 32),
                ("ccbq.queue.array_size", 32),
                ("ccbq.dev_openings", 31 + unit),
                ("ccbq.dev_active", 1 - unit),
            ];
            let device = self.add("cam_ed", &members);
            let texts: &[(&str, &str)] = if unit == 0 {
                &[
                    ("ident_data.model", "MEMTOOL DEMO DISK"),
                    ("ident_data.revision", "1.0"),
                    ("ident_data.serial", "D1"),
                ]
            } else {
                &[
                    ("inq_data.vendor", "MEMTOOL "),
                    ("inq_data.product", "DEMO CD         "),
                    ("inq_data.revision", "1.0 "),
                ]
            };
            for (member, text) in texts {
                let at = self.at(device, "cam_ed", member);
                self.kernel.write_bytes(at, text.as_bytes());
            }
            let serial = self.string(if unit == 0 { "DEMO-0001" } else { "DEMO-0002" });
            self.set_all(device, "cam_ed", &[("serial_num_len", 9), ("serial_num", serial.into())]);
            let devices = self.at(target, "cam_et", "ed_entries");
            self.push(devices, true, ("cam_ed", "links"), device);
            let mut next = 0;
            for driver in ["pass", if unit == 0 { "ada" } else { "cd" }] {
                let driver_name = self.string(driver);
                next = self.add(
                    "cam_periph",
                    &[
                        ("periph_name", driver_name.into()),
                        ("sim", sim.into()),
                        ("unit_number", if driver == "pass" { unit } else { 0 }),
                        // CAM_PERIPH_ANNOUNCED.
                        ("flags", 0x100),
                        ("refcount", if driver == "ada" { 5 } else { 1 }),
                        ("periph_links.sle_next", i128::from(next)),
                    ],
                );
            }
            self.set(device, "cam_ed", "periphs.slh_first", next);
        }
        self.set_variable("xsoftc", "xpt_generation", 2);
    }

    fn fill_buffers(&mut self) {
        let size = self.size_of("buf") + LARGEST / PAGE * 8;
        let start = self.kernel.allocate_pages(size * BUFFERS);
        let (mut next, mut bytes, mut dirty) = (start, 0, 0);
        for (path, count, changed, each) in BUFFERED {
            let vnode = self.known[path];
            for index in 0..count {
                let is_dirty = index < changed;
                let members = [
                    ("b_vp", i128::from(vnode)),
                    ("b_flags", CACHE | if is_dirty { DIRTY } else { 0 }),
                    ("b_bufsize", each.into()),
                    ("b_bcount", each.into()),
                    ("b_lblkno", index.into()),
                    ("b_blkno", i128::from(0x9_1000 + 64 * (next - start) / size)),
                    ("b_npages", (each / PAGE).into()),
                ];
                self.set_all(next, "buf", &members);
                next += size;
                bytes += each;
                dirty += i128::from(is_dirty);
            }
        }
        // One is being written: the log's.
        let log = self.known["/var/log/messages"];
        self.set_all(
            next,
            "buf",
            &[
                ("b_vp", log.into()),
                ("b_flags", CACHE | STARTED),
                ("b_iocmd", 2),
                ("b_bufsize", 32_768),
                ("b_bcount", 12_288),
                ("b_resid", 12_288),
                ("b_lblkno", 3),
                ("b_blkno", 0x9_4a40),
                ("b_runningbufspace", 32_768),
                ("b_npages", 8),
            ],
        );
        for (name, value) in [
            ("nbuf", BUFFERS),
            ("maxbcachebuf", LARGEST),
            ("buf", start),
            ("buf_domains", 1),
            ("runningbufspace", 32_768),
            ("lorunningspace", 1 << 20),
            ("hirunningspace", 2 << 20),
        ] {
            self.set_variable(name, "", value);
        }
        for (member, value) in [
            ("bd_numdirtybuffers", dirty),
            ("bd_lodirtybuffers", 64),
            ("bd_hidirtybuffers", 128),
            ("bd_bufspace", i128::from(bytes + 32_768)),
            ("bd_lobufspace", 14 << 20),
            ("bd_hibufspace", 15 << 20),
        ] {
            self.set_variable("bdomain", &format!("[0].{member}"), value);
        }
    }
}
