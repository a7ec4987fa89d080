//! The kernel as it is being built.

use crate::Moment;
use crate::declarations::Types;
use crate::function::Function;
use crate::page_owners::Pages;
use std::collections::BTreeMap;
use vmcore_synth::Arch;
use vmcore_synth::typed_kernel::{Placement, TypedKernel};

pub const PAGE: u64 = 4096;
/// `kern.version`.
pub const VERSION: &str =
    "FreeBSD 15.1-RELEASE MEMTOOL-DEMO (recorded machine, not a real one)\n    built by memtool\n";
/// When the kernel booted: 2026-11-21 10:00:00.
pub const BOOT: i64 = 1_795_255_200;
pub const OSRELDATE: i128 = 1_501_000;
pub const HZ: i128 = 1000;
/// CPU ticks of a second.
pub const FREQUENCY: u64 = 2_400_000_000;
pub const CPUS: u64 = 2;

/// Where the loader has put the kernel: code, data, variables of CPUs and of network stacks, and data without contents.
const IMAGE: [u64; 5] =
    [0xffff_ffff_8020_0000, 0xffff_ffff_8120_0000, 0xffff_ffff_8130_0000, 0xffff_ffff_8138_0000, 0xffff_ffff_8140_0000];
const BUILD_ID: u64 = 0xffff_ffff_8150_0000;
/// Where objects are, in the direct map: at 64 MiB of physical memory.
const OBJECTS: u64 = 0xffff_f800_0400_0000;
/// RAM in whole pages, as the demo machine has it.
pub const RAM: [(u64, u64); 3] = [(0, 0x9_f000), (0x10_0000, 0xffd_a000), (0x1_0000_0000, 0x1_0800_0000)];

/// The kernel.
pub struct Demo {
    pub kernel: TypedKernel,
    pub types: Types,
    pub moment: Moment,
    /// Functions by name.
    pub functions: BTreeMap<String, Function>,
    /// The last link of each list, by the address of its head.
    links: BTreeMap<u64, u64>,
    strings: BTreeMap<String, u64>,
    /// Where the next counter is, of which each CPU has a part.
    next_counter: u64,
    pub pages: Pages,
    /// Of each file that is mapped, how often it is, and where its pages are, by their numbers.
    pub file_pages: BTreeMap<&'static str, (i128, BTreeMap<u64, u64>)>,
    /// Pages that are wired.
    pub wired: u64,
    /// What several parts lead to: mounts, directories, credentials and so on, by a name of its own.
    pub known: BTreeMap<String, u64>,
}

impl Demo {
    /// As it is in its file: nothing has run.
    pub fn unbooted(moment: Moment) -> Self {
        let [text, data, per_cpu, per_vnet, bss] = IMAGE;
        let regions = [text, data, per_cpu, per_vnet, bss, OBJECTS];
        let placement = Placement { regions, build_id: BUILD_ID, is_as_loaded: true, version: VERSION };
        let mut kernel = TypedKernel::placed(Arch::Amd64, crate::empty_dump(), placement);
        kernel.build_id = Some(0xde);
        let types = Types::read(
            &mut kernel,
            concat!(
                include_str!("kernel.h"),
                include_str!("objects.h"),
                include_str!("devices.h"),
                include_str!("pages.h")
            ),
        );
        let next_counter = kernel.allocate_pages(CPUS * PAGE);
        let mut demo = Self {
            kernel,
            types,
            moment,
            functions: BTreeMap::new(),
            links: BTreeMap::new(),
            strings: BTreeMap::new(),
            next_counter,
            pages: Pages::default(),
            file_pages: BTreeMap::new(),
            wired: 0,
            known: BTreeMap::new(),
        };
        demo.define_code();
        demo.initialise();
        demo.describe_machine();
        demo
    }

    pub fn new(moment: Moment) -> Self {
        let mut demo = Self::unbooted(moment);
        demo.start_pages();
        demo.start_clocks();
        demo.start_cpus();
        demo.load_files();
        demo.create_jails();
        demo.mount_file_systems();
        demo.start_network();
        demo.start_processes();
        demo.count_memory();
        demo.attach_devices();
        demo.find_disks();
        demo.create_ipc();
        demo.count_packets();
        demo.schedule_callouts();
        demo.set_environment();
        demo.define_sysctl();
        if moment == Moment::Crashed {
            demo.panic();
        }
        demo.find_file_pages();
        demo.finish_pages();
        demo.count_wired();
        demo
    }

    /// A new object: its address.
    pub fn allocate(&mut self, of: &str) -> u64 {
        self.kernel.allocate(self.types.of(of))
    }

    /// A new object with these numbers.
    #[track_caller]
    pub fn add(&mut self, of: &str, members: &[(&str, i128)]) -> u64 {
        let address = self.allocate(of);
        self.set_all(address, of, members);
        address
    }

    #[track_caller]
    pub fn set(&mut self, address: u64, of: &str, path: &str, value: impl Into<i128>) {
        self.kernel.set(address, self.types.of(of), path, value);
    }

    #[track_caller]
    pub fn set_all(&mut self, address: u64, of: &str, members: &[(&str, i128)]) {
        members.iter().for_each(|(member, value)| self.set(address, of, member, *value));
    }

    #[track_caller]
    pub fn set_text(&mut self, address: u64, of: &str, path: &str, text: &str) {
        self.kernel.set_text(address, self.types.of(of), path, text);
    }

    /// Text into a variable that is an array.
    pub fn set_text_variable(&mut self, name: &str, text: &str) {
        let (address, of) = self.kernel.variable_of(name);
        self.kernel.set_text(address, of, "", text);
    }

    #[track_caller]
    pub fn set_variable(&mut self, name: &str, path: &str, value: impl Into<i128>) {
        self.kernel.set_variable(name, path, value);
    }

    pub fn at(&self, address: u64, of: &str, path: &str) -> u64 {
        self.kernel.address_of(address, self.types.of(of), path)
    }

    pub fn variable(&self, name: &str) -> u64 {
        self.kernel.variable_of(name).0
    }

    pub fn size_of(&self, of: &str) -> u64 {
        self.kernel.types.size_of(self.types.of(of))
    }

    /// The address of a text, of which there is one.
    pub fn string(&mut self, text: &str) -> u64 {
        if let Some(known) = self.strings.get(text) {
            return *known;
        }
        let address = self.kernel.string(text);
        self.strings.insert(text.to_owned(), address);
        address
    }

    /// Puts an element at the end of a list of queue(3), whose head is there: `link` is the element's member for it.
    pub fn push(&mut self, head: u64, has_last: bool, (of, link): (&str, &str), element: u64) {
        let of = self.types.of(of);
        self.kernel.connect(head, of, link, has_last);
        let entry = self.kernel.types.type_of(of, link);
        let nexts = ["le_next", "cle_next", "tqe_next", "stqe_next", "cstqe_next"];
        let next = nexts.into_iter().find(|next| !self.kernel.types.offsets_of(entry, next).is_empty());
        let next = next.expect("a link of queue(3)");
        let before = *self.links.get(&head).unwrap_or(&head);
        self.kernel.write_pointer(before, element);
        self.links.insert(head, self.kernel.address_of(element, of, &format!("{link}.{next}")));
    }

    /// A counter(9) with these parts of both CPUs.
    pub fn counter(&mut self, value: u64) -> i128 {
        let at = self.next_counter;
        self.next_counter += 8;
        assert!(!self.next_counter.is_multiple_of(PAGE), "too many counters");
        let of = self.kernel.basic.unsigned_long;
        for (cpu, part) in [value - value / 3, value / 3].into_iter().enumerate() {
            self.kernel.set(at + PAGE * cpu as u64, of, "", part);
        }
        at.into()
    }

    /// Where a CPU has its copy of a variable.
    pub fn copy_of_cpu(&self, cpu: u64, name: &str) -> u64 {
        let first = self.variable("pcpu_entry_tdq");
        self.known[&format!("copies {cpu}")] + (self.variable(&format!("pcpu_entry_{name}")) - first)
    }

    /// Seconds since the kernel booted.
    pub fn uptime(&self) -> i64 {
        match self.moment {
            Moment::Running => 348_067,
            Moment::Crashed => 347_912,
        }
    }

    /// When it has started: the one that runs, after the crash.
    pub fn boot(&self) -> i64 {
        match self.moment {
            Moment::Running => BOOT + 347_912 + 88,
            Moment::Crashed => BOOT,
        }
    }

    /// What the compiler has put into variables.
    fn initialise(&mut self) {
        self.set_variable("osreldate", "", OSRELDATE);
        for (name, text) in [
            ("ostype", "FreeBSD"),
            ("osrelease", "15.1-RELEASE"),
            ("kern_ident", "MEMTOOL-DEMO"),
            ("kernelname", "/kernel"),
            ("machine", "amd64"),
        ] {
            self.set_text_variable(name, text);
        }
        for (name, value) in [("somaxconn", 128), ("tcp_sendspace", 32_768), ("do_coredump", 1), ("see_other_uids", 1)]
        {
            self.set_variable(name, "", value);
        }
    }

    fn start_clocks(&mut self) {
        // By the loader, and by sysctl.conf.
        self.set_text_variable("kernelname", "/boot/kernel/kernel");
        for (name, value) in [("somaxconn", 1024), ("tcp_sendspace", 65_536), ("see_other_uids", 0)] {
            self.set_variable(name, "", value);
        }
        let uptime = self.uptime();
        let name = self.string("TSC-low").into();
        let counter = self.add("timecounter", &[("tc_frequency", FREQUENCY.into()), ("tc_name", name)]);
        let hands = self.add("timehands", &[("th_counter", counter.into())]);
        for (path, seconds) in [("th_offset", uptime), ("th_boottime", self.boot())] {
            self.set(hands, "timehands", &format!("{path}.sec"), seconds);
            self.set(hands, "timehands", &format!("{path}.frac"), 1_u64 << 62);
        }
        let ticks = self.functions["tsc_read"].address;
        for (name, value) in [
            ("timehands", i128::from(hands)),
            ("time_second", (self.boot() + uptime).into()),
            ("time_uptime", uptime.into()),
            ("hz", HZ),
            ("ticks", i128::from(uptime) * HZ),
            ("cpu_ticks", ticks.into()),
            ("cpu_tick_frequency", FREQUENCY.into()),
            ("physmem", 0x1_76c5),
            ("realmem", 0x1_8000),
            ("Maxmem", 0x10_8000),
            ("maxusers", 48),
            ("maxproc", 3828),
            ("maxfiles", 7808),
            ("openfiles", 96),
            ("desiredvnodes", 8934),
            ("numvnodes", 2107),
            ("freevnodes", 1633),
            ("vm_ndomains", 2),
        ] {
            self.set_variable(name, "", value);
        }
        // Of a fifth, a quarter and three tenths.
        for (index, load) in [410, 512, 614].into_iter().enumerate() {
            self.set_variable("averunnable", &format!("ldavg[{index}]"), load);
        }
        self.set_variable("averunnable", "fscale", 2048);
        for (index, (start, end)) in RAM.into_iter().enumerate() {
            self.set_variable("dump_avail", &format!("[{}]", 2 * index), start);
            self.set_variable("dump_avail", &format!("[{}]", 2 * index + 1), end);
        }
    }

    fn start_cpus(&mut self) {
        for (name, value) in [("mp_ncpus", CPUS), ("mp_maxid", CPUS - 1), ("mp_maxcpus", 1024)] {
            self.set_variable(name, "", value);
        }
        self.set_variable("all_cpus", "__bits[0]", (1 << CPUS) - 1);
        let pcbs = self.kernel.allocate_pages(CPUS * self.size_of("pcb"));
        self.set_variable("stoppcbs", "", pcbs);
        let first = self.variable("pcpu_entry_tdq");
        for cpu in 0..CPUS {
            let pcpu = self.add("pcpu", &[("pc_cpuid", cpu.into()), ("pc_domain", cpu.into())]);
            self.set(pcpu, "pcpu", "pc_zpcpu_offset", cpu * PAGE);
            let uptime = i128::from(self.uptime()) * 127;
            for (state, part) in [3, 0, 2, 1, 94].into_iter().enumerate() {
                self.set(pcpu, "pcpu", &format!("pc_cp_time[{state}]"), uptime * part / 100);
            }
            self.set_variable("cpuid_to_pcpu", &format!("[{cpu}]"), pcpu);
            let copies = self.kernel.allocate_pages(PAGE);
            self.known.insert(format!("copies {cpu}"), copies);
            // It is the first of these variables.
            let queues = copies;
            self.set(queues, "tdq", "tdq_load", 1);
            self.set_variable("dpcpu_off", &format!("[{cpu}]"), queues.wrapping_sub(first));
            self.known.insert(format!("cpu {cpu}"), pcpu);
            self.known.insert(format!("queues {cpu}"), queues);
        }
        let name = self.string("ULE");
        let scheduler = self.variable("sched_ule_instance");
        self.set(scheduler, "sched_instance", "name", name);
        self.set_variable("active_sched", "", scheduler);
    }

    /// A lock of a class, by the number of that: its name and whether it may be taken again.
    pub fn lock(&mut self, address: u64, of: &str, name: &str, class: i128) -> u64 {
        let name = self.string(name);
        self.set(address, of, "lock_object.lo_name", name);
        self.set(address, of, "lock_object.lo_flags", class << 24 | 0x1_0000);
        self.set(
            address,
            of,
            if of == "mtx" {
                "mtx_lock"
            } else if of == "sx" {
                "sx_lock"
            } else {
                "lk_lock"
            },
            u64::from(of != "mtx"),
        );
        address
    }
}
