//! Callouts, System V IPC, and what protocols of the network counted.

use crate::kernel::{CPUS, Demo, PAGE};

/// Lists of each CPU's wheel of callouts.
const BUCKETS: u64 = 256;
/// A second, as callouts have it.
const SECOND: i128 = 1 << 32;
/// `CALLOUT_ACTIVE`, and `CALLOUT_PENDING` of the kernel's own flags.
const ACTIVE: i128 = 2;
const PENDING: i128 = 4;

/// Callouts: CPU, milliseconds until they are due, and by which they may be late; function, and what it is called with.
const CALLOUTS: &[(u64, i128, i128, &str, &str)] = &[
    (0, 2301, 0, "loadav", ""),
    (0, 840, 31, "iflib_timer", "interface em0"),
    (0, 53_000, 0, "sleepq_timeout", "thread 100099"),
    (0, 412, 16, "sleepq_timeout", "thread 100060"),
    (0, 6_911_040, 216_000, "tcp_timer_enter", "sshd-session/1"),
    (1, 71, 8, "sleepq_timeout", "thread 100074"),
    (1, 205, 0, "demo_tick", "softc"),
    (1, 230, 7, "tcp_timer_enter", "nginx/4"),
    (1, 512, 16, "sleepq_timeout", "thread 100064"),
    (1, 3100, 97, "lim_cb", "thread 100105"),
];

/// Counters of each protocol, in the order of its structure.
const PROTOCOLS: &[(&str, &[u64])] = &[
    (
        "tcpstat",
        &[
            812,
            4907,
            5610,
            204,
            31,
            5811,
            301_220,
            298_114,
            40_771,
            6,
            1204,
            2,
            310,
            288,
            22,
            2_204_118,
            1_680_332,
            1_804_220_113,
            940,
            1_120_336,
            410_220,
            1_960_441,
            902_118,
            340_118_204,
            3,
            870,
            20_114,
            4931,
            0,
        ],
    ),
    ("udpstat", &[91_204, 0, 1204, 310, 0, 88_310]),
    ("ipstat", &[2_061_004, 1, 12, 2_060_880, 4, 0, 0, 2_293_710, 0, 17]),
    ("icmpstat", &[1204, 0, 288]),
    ("arpstat", &[410, 1804, 2204, 402, 2610, 0, 8, 0]),
];
/// Messages of ICMP that are sent and received, by their type: echo replies and requests, and what cannot be reached.
const ICMP: [(u64, u64); 4] = [(3, 288), (3 + 3, 1204), (44 + 3, 61), (44 + 8, 288)];

impl Demo {
    /// Has callouts scheduled.
    pub fn schedule_callouts(&mut self) {
        self.set_variable("callwheelsize", "", BUCKETS);
        let now = i128::from(self.uptime()) * SECOND + SECOND / 4;
        for cpu in 0..CPUS {
            let wheel = self.kernel.allocate_pages(8 * BUCKETS);
            let at = self.copy_of_cpu(cpu, "cc_cpu");
            self.set_all(at, "callout_cpu", &[("cc_callwheel", wheel.into()), ("cc_lastscan", now)]);
            let mutex = self.at(at, "callout_cpu", "cc_lock");
            self.lock(mutex, "mtx", "callout", crate::processes::MUTEX);
            for (_, due, late, function, argument) in CALLOUTS.iter().copied().filter(|callout| callout.0 == cpu) {
                let time = now + due * SECOND / 1000;
                let argument = self.known.get(argument).copied().unwrap_or(0);
                let function = self.function(function).address;
                let callout = self.add(
                    "callout",
                    &[
                        ("c_time", time),
                        ("c_precision", late * SECOND / 1000),
                        ("c_arg", argument.into()),
                        ("c_func", function.into()),
                        ("c_flags", ACTIVE),
                        ("c_iflags", PENDING),
                        ("c_cpu", cpu.into()),
                    ],
                );
                // Lists are of 2^-8 seconds.
                let list = wheel + 8 * ((time >> 24) as u64 % BUCKETS);
                self.push(list, false, ("callout", "c_links.le"), callout);
                if function == self.function("demo_tick").address {
                    let lock = self.variable("demo_mtx");
                    self.set(callout, "callout", "c_lock", lock);
                }
            }
        }
    }

    /// A queue of messages, shared memory, and semaphores of the server in the jail.
    pub fn create_ipc(&mut self) {
        let master = 760;
        let permissions = |prefix: &str| {
            let members = [("uid", 80), ("gid", 80), ("cuid", 80), ("cgid", 80), ("seq", 1), ("key", 0x6e67_7801)];
            members.map(|(member, value)| (format!("u.{prefix}_perm.{member}"), value))
        };
        for (variable, of, prefix, mode) in [
            ("msqids", "msqid_kernel", "msg", 0o660),
            // SHMSEG_ALLOCATED, SEM_ALLOC.
            ("shmsegs", "shmid_kernel", "shm", 0o4600),
            ("sema", "semid_kernel", "sem", 0o1600),
        ] {
            let table = self.kernel.allocate_pages(PAGE);
            self.set_variable(variable, "", table);
            let credentials = self.credentials(80, true);
            for (member, value) in permissions(prefix) {
                self.set(table, of, &member, value);
            }
            self.set(table, of, &format!("u.{prefix}_perm.mode"), mode);
            self.set(table, of, "cred", credentials);
            // SHMSEG_FREE.
            if of == "shmid_kernel" {
                for free in 1..4 {
                    self.set(table + free * self.size_of(of), of, "u.shm_perm.mode", 0o1000);
                }
            }
            let boot = self.boot();
            let since = |seconds: i64| i128::from(boot + seconds);
            let members: &[(&str, i128)] = match prefix {
                "msg" => &[
                    ("u.msg_qbytes", 2048),
                    ("u.msg_cbytes", 96),
                    ("u.msg_qnum", 2),
                    ("u.msg_lspid", 762),
                    ("u.msg_lrpid", 761),
                    ("u.msg_stime", since(347_001)),
                    ("u.msg_rtime", since(346_988)),
                    ("u.msg_ctime", since(21)),
                ],
                "shm" => &[
                    ("u.shm_segsz", 8 << 20),
                    ("u.shm_cpid", master),
                    ("u.shm_lpid", 762),
                    ("u.shm_nattch", 3),
                    ("u.shm_atime", since(21)),
                    ("u.shm_ctime", since(21)),
                ],
                _ => &[("u.sem_nsems", 2), ("u.sem_otime", since(347_002)), ("u.sem_ctime", since(21))],
            };
            self.set_all(table, of, members);
            if prefix == "sem" {
                let semaphores = self.kernel.allocate_pages(PAGE);
                self.set(table, of, "u.__sem_base", semaphores);
                self.set_all(semaphores, "sem", &[("semval", 1), ("sempid", 762)]);
                let second = semaphores + self.size_of("sem");
                self.set_all(second, "sem", &[("sempid", 761), ("semncnt", 1)]);
            }
        }
        self.set_variable("shmalloced", "", 4);
        for (variable, limits) in [
            (
                "msginfo",
                &[("msgmax", 16_384), ("msgmni", 1), ("msgmnb", 2048), ("msgtql", 40), ("msgssz", 8), ("msgseg", 2048)]
                    [..],
            ),
            ("shminfo", &[("shmmax", 512 << 20), ("shmmin", 1), ("shmmni", 4), ("shmseg", 128), ("shmall", 131_072)]),
            (
                "seminfo",
                &[
                    ("semmni", 1),
                    ("semmns", 340),
                    ("semmnu", 150),
                    ("semmsl", 340),
                    ("semopm", 100),
                    ("semume", 50),
                    ("semusz", 632),
                    ("semvmx", 32_767),
                    ("semaem", 16_384),
                ],
            ),
        ] {
            for (member, value) in limits {
                self.set_variable(variable, member, *value);
            }
        }
    }

    pub fn count_packets(&mut self) {
        for (name, counts) in PROTOCOLS.iter().copied() {
            let at = self.copy_of(name);
            let size = self.size_of(name) / 8;
            for index in 0..size {
                let histogram = ICMP.iter().find(|(slot, _)| name == "icmpstat" && *slot == index);
                let count = counts.get(index as usize).copied().or(histogram.map(|(_, count)| *count));
                let counter = self.counter(count.unwrap_or(0));
                self.kernel.write_pointer(at + 8 * index, counter as u64);
            }
        }
    }
}
