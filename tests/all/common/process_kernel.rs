//! A kernel with types whose memory has processes, threads, and what they lead to: credentials, sessions, terminals, address
//! spaces and locks, with the members that `struct kinfo_proc` is filled from.
//!
//! Sources: `sys/sys/proc.h`, `ucred.h`, `jail.h`, `tty.h`, `sysent.h`, `_lock.h`, `sys/kern/subr_turnstile.c`,
//! `sys/kern/kern_tc.c`, `machine/pmap.h`.

#![allow(clippy::cast_possible_truncation, reason = "a test's helper; what it builds is small")]

use super::typed_kernel::{Basic, TypedKernel};
use vmcore_synth::ctf::Type;
use vmcore_synth::page_tables::bits;
use vmcore_synth::{Arch, Endianness};

/// When the kernel booted, and what time it is: 2026-11-21 10:00:00, half a second, and two hours later.
const BOOT: i64 = 1_795_255_200;
const NOW: i64 = BOOT + 7200;
/// CPU ticks of a second.
pub const FREQUENCY: u64 = 1_000_000_000;
const HZ: i128 = 1000;
/// Where the stacks of processes end.
pub const STACK_TOP: u64 = 0x7fff_f000;
const PAGE: u64 = 4096;

/// Values of flags (`P_*`, `TDF_*`, `TDI_*`).
pub const CONTROLT: i128 = 0x2;
pub const SYSTEM: i128 = 0x200;
pub const WEXIT: i128 = 0x2000;
const SINTR: i128 = 0x8;
const SLEEPING: i128 = 0x2;
pub const ON_LOCK: i128 = 0x8;

/// The structures.
#[derive(Clone, Copy)]
pub struct Structures {
    pub process: Type,
    pub thread: Type,
    pub credentials: Type,
    pub prison: Type,
    pub login_class: Type,
    pub group: Type,
    pub session: Type,
    pub terminal: Type,
    pub device: Type,
    pub vmspace: Type,
    pub vector: Type,
    pub statistics: Type,
    pub actions: Type,
    pub lock_object: Type,
    pub turnstile: Type,
    pub sx: Type,
    pub held_list: Type,
}

/// A kernel with processes.
pub struct ProcessKernel {
    pub kernel: TypedKernel,
    pub types: Structures,
    /// What all processes lead to unless a test says otherwise.
    pub credentials: u64,
    pub host: u64,
    pub vector: u64,
    /// Whether credentials have the effective group by itself, as since FreeBSD 15.
    has_effective_group: bool,
    /// Where the next process is linked: `allproc`, then `p_list` of the last one.
    link: u64,
    /// The same of the last process's threads.
    thread_link: u64,
}

/// The member of `struct pmap` that leads to the page tables.
fn root_member(kernel: &TypedKernel) -> (&'static str, Type) {
    let Basic { unsigned_long_long, pointer, .. } = kernel.basic;
    match kernel.arch {
        Arch::Amd64 | Arch::Powerpc64 => ("pm_cr3", unsigned_long_long),
        Arch::Arm64 => ("pm_l0_paddr", unsigned_long_long),
        Arch::Riscv => ("pm_satp", unsigned_long_long),
        Arch::Arm => ("pm_pt1", pointer),
        Arch::I386 => ("pm_pdir_nopae", pointer),
    }
}

fn define(kernel: &mut TypedKernel, has_effective_group: bool, more: &[(&str, Type)]) -> Structures {
    let root = root_member(kernel);
    let Basic { character, unsigned_char, unsigned_short, int, unsigned_int, long, .. } = kernel.basic;
    let Basic { unsigned_long, unsigned_long_long, pointer, string, .. } = kernel.basic;
    let types = &mut kernel.types;
    let text = |types: &mut vmcore_synth::ctf::Builder, size| types.array(character, size);
    let [process, thread] = [types.reserve(), types.reserve()];
    let [to_process, to_thread] = [types.pointer(process), types.pointer(thread)];
    let list_of =
        |types: &mut vmcore_synth::ctf::Builder, of| types.record("", &[("le_next", of), ("le_prev", pointer)]);
    let tail_of =
        |types: &mut vmcore_synth::ctf::Builder, of| types.record("", &[("tqe_next", of), ("tqe_prev", pointer)]);
    let time = types.record("timeval", &[("tv_sec", long), ("tv_usec", long)]);
    let words = types.array(unsigned_int, 4);
    let signals = types.record("__sigset", &[("__bits", words)]);
    let queue = types.record("sigqueue", &[("sq_signals", signals), ("sq_kill", signals)]);
    let usage: Vec<(&str, Type)> =
        ["ru_minflt", "ru_majflt", "ru_nswap", "ru_inblock", "ru_oublock", "ru_msgsnd", "ru_msgrcv", "ru_nsignals"]
            .into_iter()
            .chain(["ru_nvcsw", "ru_nivcsw"])
            .map(|name| (name, long))
            .collect();
    let usage = types.record("rusage", &usage);
    let counts = ["runtime", "uticks", "sticks", "iticks", "uu", "su", "tu"].map(|name| format!("rux_{name}"));
    let counts: Vec<(&str, Type)> = counts.iter().map(|name| (name.as_str(), unsigned_long_long)).collect();
    let counts = types.record("rusage_ext", &counts);
    let name = text(types, 33);
    let login_class = types.record("loginclass", &[("lc_name", name)]);
    let name = text(types, 64);
    let prison = types.record("prison", &[("pr_id", int), ("pr_name", name), ("pr_vnet", pointer)]);
    let (to_prison, to_class) = (types.pointer(prison), types.pointer(login_class));
    let effective_group = if has_effective_group { "cr_gid" } else { "" };
    let ids = ["cr_flags", "cr_uid", "cr_ruid", "cr_svuid", effective_group, "cr_rgid", "cr_svgid"];
    let ids = ids.map(|name| (name, unsigned_int));
    let others = [("cr_prison", to_prison), ("cr_loginclass", to_class), ("cr_ref", long), ("cr_ngroups", int)];
    let groups = types.pointer(unsigned_int);
    let credentials = types.record("ucred", &[&ids[..], &others, &[("cr_groups", groups)]].concat());
    let to_credentials = types.pointer(credentials);
    let [terminal, session, group] = [types.reserve(), types.reserve(), types.reserve()];
    let [to_terminal, to_session, to_group] = [terminal, session, group].map(|of| types.pointer(of));
    let name = text(types, 64);
    let plain_device = types.record("cdev", &[("si_flags", unsigned_int), ("si_name", name)]);
    let device = types.record("cdev_priv", &[("cdp_c", plain_device), ("cdp_inode", unsigned_int)]);
    let to_device = types.pointer(plain_device);
    types.at(terminal).record("tty", &[("t_pgrp", to_group), ("t_session", to_session), ("t_dev", to_device)]);
    let login = text(types, 24);
    let members = [("s_leader", to_process), ("s_ttyvp", pointer), ("s_ttyp", to_terminal), ("s_sid", int)];
    types.at(session).record("session", &[&members[..], &[("s_login", login)]].concat());
    types.at(group).record("pgrp", &[("pg_session", to_session), ("pg_id", int)]);
    let pages = types.record("pmap_statistics", &[("resident_count", long), ("wired_count", long)]);
    let pmap = types.record("pmap", &[root, ("pm_stats", pages)]);
    let map = types.record("vm_map", &[("size", unsigned_long)]);
    let segments = ["vm_tsize", "vm_dsize", "vm_ssize"].map(|name| (name, long));
    let vmspace = [&[("vm_map", map)], &segments[..], &[("vm_stacktop", unsigned_long), ("vm_pmap", pmap)]].concat();
    let vmspace = types.record("vmspace", &vmspace);
    let vector = [("sv_name", string), ("sv_psstringssz", unsigned_long), ("sv_flags", unsigned_int)];
    let vector = types.record("sysentvec", &vector);
    let bytes = types.array(unsigned_char, 1);
    let arguments = [("ar_ref", unsigned_int), ("ar_length", unsigned_int), ("ar_args", bytes)];
    let arguments = types.record("pargs", &arguments);
    let statistics = types.record("pstats", &[("p_start", time)]);
    let actions = types.record("sigacts", &[("ps_sigignore", signals), ("ps_sigcatch", signals)]);
    let lock = [("lo_name", string), ("lo_flags", unsigned_int), ("lo_data", unsigned_int), ("lo_witness", pointer)];
    let lock_object = types.record("lock_object", &lock);
    let to_lock = types.pointer(lock_object);
    let sx = types.record("sx", &[("lock_object", lock_object), ("sx_lock", unsigned_long)]);
    types.record("lock", &[("lock_object", lock_object), ("lk_lock", unsigned_long)]);
    let turnstile = types.reserve();
    let to_turnstile = types.pointer(turnstile);
    let contested = list_of(types, to_turnstile);
    let waiters = types.record("threadqueue", &[("tqh_first", to_thread), ("tqh_last", pointer)]);
    let queues = types.array(waiters, 2);
    let members = [
        ("ts_blocked", queues),
        ("ts_pending", waiters),
        ("ts_hash", contested),
        ("ts_link", contested),
        ("ts_lockobj", to_lock),
        ("ts_owner", to_thread),
    ];
    types.at(turnstile).record("turnstile", &members);
    let contested = types.record("", &[("lh_first", to_turnstile)]);
    let instance = [("li_lock", to_lock), ("li_file", string), ("li_line", int), ("li_flags", unsigned_int)];
    let instance = types.record("lock_instance", &instance);
    let held_list = types.reserve();
    let to_held_list = types.pointer(held_list);
    let instances = types.array(instance, 6);
    let members = [("ll_next", to_held_list), ("ll_children", instances), ("ll_count", unsigned_int)];
    types.at(held_list).record("lock_list_entry", &members);
    let class = types.record("lock_class", &[("lc_name", string)]);
    let to_class = types.pointer(class);
    let classes = types.array(to_class, 16);
    let counter = types.record("timecounter", &[("tc_frequency", unsigned_long_long)]);
    let (to_counter, second) = (types.pointer(counter), kernel.basic.long_long);
    let types = &mut kernel.types;
    let precise = types.record("bintime", &[("sec", second), ("frac", unsigned_long_long)]);
    let hands = types.record("timehands", &[("th_counter", to_counter), ("th_boottime", precise)]);
    let to_hands = types.pointer(hands);
    let states = [("TDS_INACTIVE", 0), ("TDS_INHIBITED", 1), ("TDS_CAN_RUN", 2), ("TDS_RUNQ", 3), ("TDS_RUNNING", 4)];
    let thread_state = types.enumeration("td_states", 4, &states);
    let process_state = types.enumeration("p_states", 4, &[("PRS_NEW", 0), ("PRS_NORMAL", 1), ("PRS_ZOMBIE", 2)]);
    let signed_char = types.integer("signed char", 1, vmcore_synth::ctf::SIGNED);
    let name = text(types, 20);
    let next = tail_of(types, to_thread);
    let threads = types.record("", &[("tqh_first", to_thread), ("tqh_last", pointer)]);
    types.at(thread).record(
        "thread",
        &[
            ("td_proc", to_process),
            ("td_plist", next),
            ("td_slpq", next),
            ("td_lockq", next),
            ("td_runq", next),
            ("td_tid", int),
            ("td_sigqueue", queue),
            ("td_flags", int),
            ("td_inhibitors", int),
            ("td_wchan", pointer),
            ("td_wmesg", string),
            ("td_blocked", to_turnstile),
            ("td_lockname", string),
            ("td_contested", contested),
            ("td_sleeplocks", to_held_list),
            ("td_slptick", int),
            ("td_blktick", int),
            ("td_cow", unsigned_int),
            ("td_ru", usage),
            ("td_rux", counts),
            ("td_incruntime", unsigned_long_long),
            ("td_sticks", unsigned_int),
            ("td_iticks", unsigned_int),
            ("td_uticks", unsigned_int),
            ("td_name", name),
            ("td_sigmask", signals),
            ("td_priority", unsigned_char),
            ("td_pri_class", unsigned_char),
            ("td_user_pri", unsigned_char),
            ("td_pcb", pointer),
            ("td_state", thread_state),
            ("td_kstack_pages", unsigned_short),
            ("td_lastcpu", int),
            ("td_oncpu", int),
        ],
    );
    let next = list_of(types, to_process);
    let [to_vmspace, to_vector, to_arguments, to_statistics, to_actions] =
        [vmspace, vector, arguments, statistics, actions].map(|of| types.pointer(of));
    let own = [
        ("p_list", next),
        ("p_threads", threads),
        ("p_ucred", to_credentials),
        ("p_stats", to_statistics),
        ("p_sigacts", to_actions),
        ("p_flag", int),
        ("p_flag2", int),
        ("p_state", process_state),
        ("p_pid", int),
        ("p_hash", next),
        ("p_pptr", to_process),
        ("p_sigqueue", queue),
        ("p_oppid", int),
        ("p_vmspace", to_vmspace),
        ("p_swtick", unsigned_int),
        ("p_ru", usage),
        ("p_rux", counts),
        ("p_traceflag", int),
        ("p_lock", unsigned_int),
        ("p_comm", name),
        ("p_sysent", to_vector),
        ("p_args", to_arguments),
        ("p_nice", signed_char),
        ("p_fibnum", int),
        ("p_xexit", unsigned_int),
        ("p_xsig", unsigned_int),
        ("p_pgrp", to_group),
        ("p_numthreads", int),
        ("p_acflag", unsigned_short),
    ];
    types.at(process).record("proc", &[&own[..], more].concat());
    let head = types.record("proclist", &[("lh_first", to_process)]);
    let function = types.function((unsigned_long_long, &[], false));
    let to_function = types.pointer(function);
    kernel.variable("allproc", head);
    kernel.variable("prison0", prison);
    kernel.variable("lock_classes", classes);
    kernel.variable("timehands", to_hands);
    kernel.variable("time_second", long);
    kernel.variable("cpu_ticks", to_function);
    kernel.variable("cpu_tick_frequency", unsigned_long_long);
    kernel.variable("physmem", long);
    for name in ["hz", "ticks", "mp_maxid"] {
        kernel.variable(name, int);
    }
    let hands_at = kernel.allocate(hands);
    kernel.set(hands_at, hands, "th_boottime.sec", BOOT);
    kernel.set(hands_at, hands, "th_boottime.frac", 1_u64 << 63);
    kernel.set_variable("timehands", "", hands_at);
    Structures {
        process,
        thread,
        credentials,
        prison,
        login_class,
        group,
        session,
        terminal,
        device,
        vmspace,
        vector,
        statistics,
        actions,
        lock_object,
        turnstile,
        sx,
        held_list,
    }
}

impl ProcessKernel {
    /// A kernel without processes.
    pub fn new(arch: Arch) -> Self {
        Self::with_members(arch, |_| Vec::new())
    }

    /// The same with more members at the end of `struct proc`.
    pub fn with_members(arch: Arch, define_more: impl FnOnce(&mut TypedKernel) -> Vec<(&'static str, Type)>) -> Self {
        let mut kernel = TypedKernel::new(arch);
        let members = define_more(&mut kernel);
        let types = define(&mut kernel, true, &members);
        Self::from_types(kernel, types, true)
    }

    /// The same of FreeBSD 14, whose credentials have the effective group as the first one of their list.
    pub fn of_14(arch: Arch) -> Self {
        let mut kernel = TypedKernel::new(arch);
        let types = define(&mut kernel, false, &[]);
        Self::from_types(kernel, types, false)
    }

    fn from_types(mut kernel: TypedKernel, types: Structures, has_effective_group: bool) -> Self {
        let arch = kernel.arch;
        let int = kernel.basic.int;
        let offsets = [
            ("proc_off_p_pid", types.process, "p_pid"),
            ("proc_off_p_comm", types.process, "p_comm"),
            ("proc_off_p_list", types.process, "p_list"),
            ("proc_off_p_threads", types.process, "p_threads"),
            ("thread_off_td_tid", types.thread, "td_tid"),
            ("thread_off_td_name", types.thread, "td_name"),
            ("thread_off_td_oncpu", types.thread, "td_oncpu"),
            ("thread_off_td_pcb", types.thread, "td_pcb"),
            ("thread_off_td_plist", types.thread, "td_plist"),
        ];
        for (name, of, member) in offsets {
            kernel.variable(name, int);
            let offset = kernel.types.offset_of(of, member);
            kernel.set_variable(name, "", offset);
        }
        for (name, value) in [("hz", HZ), ("ticks", 100 * HZ), ("mp_maxid", 3), ("physmem", 1000)] {
            kernel.set_variable(name, "", value);
        }
        kernel.set_variable("time_second", "", NOW);
        kernel.set_variable("cpu_tick_frequency", "", FREQUENCY);
        kernel.variable("osreldate", int);
        kernel.set_variable("osreldate", "", 1_501_000);
        let classes = ["spin mutex", "sleep mutex", "sx", "rm", "sleepable rm", "rw", "lockmgr"];
        let (classes_at, of) = kernel.variable_of("lock_classes");
        for (index, name) in classes.into_iter().enumerate() {
            let pointer = kernel.basic.pointer;
            let (text, class) = (kernel.string(name), kernel.allocate(pointer));
            kernel.write_pointer(class, text);
            kernel.set(classes_at, of, &format!("[{index}]"), class);
        }
        let host = kernel.variable_of("prison0").0;
        kernel.set_text(host, types.prison, "pr_name", "0");
        let link = kernel.variable_of("allproc").0;
        let mut all =
            Self { kernel, types, has_effective_group, credentials: 0, host, vector: 0, link, thread_link: 0 };
        all.credentials = all.add_credentials(0, host);
        all.vector = all.add_vector("FreeBSD ELF64", 4 * arch.word() as u64, 0);
        all
    }

    /// Credentials with that user ID for all users, and 100 more for all groups.
    pub fn add_credentials(&mut self, uid: i128, prison: u64) -> u64 {
        let Structures { credentials, login_class, .. } = self.types;
        let (address, class) = (self.kernel.allocate(credentials), self.kernel.allocate(login_class));
        for (index, member) in ["cr_uid", "cr_ruid", "cr_svuid"].into_iter().enumerate() {
            self.kernel.set(address, credentials, member, uid + index as i128);
        }
        let members = ["cr_gid", "cr_rgid", "cr_svgid"].into_iter().enumerate();
        for (index, member) in members.filter(|(_, member)| self.has_effective_group || *member != "cr_gid") {
            self.kernel.set(address, credentials, member, uid + 100 + index as i128);
        }
        self.kernel.set_text(class, login_class, "lc_name", "daemon");
        self.kernel.set(address, credentials, "cr_prison", prison);
        self.kernel.set(address, credentials, "cr_loginclass", class);
        address
    }

    pub fn add_vector(&mut self, name: &str, strings_size: u64, flags: i128) -> u64 {
        let vector = self.types.vector;
        let (address, name) = (self.kernel.allocate(vector), self.kernel.string(name));
        self.kernel.set(address, vector, "sv_name", name);
        self.kernel.set(address, vector, "sv_psstringssz", strings_size);
        self.kernel.set(address, vector, "sv_flags", flags);
        address
    }

    /// Takes the process that was added last out of the list of processes, as `exit1()` does.
    pub fn remove_process(&mut self, added: u64, before: u64) {
        let process = self.types.process;
        self.link = self.kernel.address_of(before, process, "p_list.le_next");
        self.kernel.write_pointer(self.link, 0);
        self.kernel.set(added, process, "p_state", 2);
    }

    /// The table of process IDs, with a list for each of these processes' last bits; those of one list are in this order.
    pub fn add_pid_table(&mut self, lists: &[&[u64]]) {
        let Structures { process, .. } = self.types;
        let (pointer, long) = (self.kernel.basic.pointer, self.kernel.basic.unsigned_long);
        self.kernel.variable("pidhashtbl", pointer);
        self.kernel.variable("pidhash", long);
        let table = self.kernel.allocate_pages(8 * lists.len() as u64);
        let word = self.kernel.arch.word() as u64;
        for (index, list) in lists.iter().enumerate() {
            let mut link = table + index as u64 * word;
            for address in *list {
                self.kernel.write_pointer(link, *address);
                link = self.kernel.address_of(*address, process, "p_hash.le_next");
            }
        }
        self.kernel.set_variable("pidhashtbl", "", table);
        self.kernel.set_variable("pidhash", "", lists.len() as i128 - 1);
    }

    /// A process behind the others, which started ten seconds after the kernel booted.
    pub fn add_process(&mut self, pid: i128, command: &str, flags: i128) -> u64 {
        let Structures { process, statistics, .. } = self.types;
        let (address, started) = (self.kernel.allocate(process), self.kernel.allocate(statistics));
        self.kernel.set(started, statistics, "p_start.tv_sec", 10);
        self.kernel.set(started, statistics, "p_start.tv_usec", 600_000);
        self.kernel.write_pointer(self.link, address);
        self.kernel.set(address, process, "p_list.le_prev", self.link);
        self.link = self.kernel.address_of(address, process, "p_list.le_next");
        self.thread_link = self.kernel.address_of(address, process, "p_threads.tqh_first");
        self.kernel.set(address, process, "p_threads.tqh_last", self.thread_link);
        let values = [("p_pid", pid), ("p_flag", flags), ("p_state", 1)];
        let pointers = [("p_ucred", self.credentials), ("p_stats", started), ("p_sysent", self.vector)];
        for (member, value) in values.into_iter().chain(pointers.map(|(member, at)| (member, at.into()))) {
            self.kernel.set(address, process, member, value);
        }
        self.kernel.set_text(address, process, "p_comm", command);
        address
    }

    /// A thread of the last process, which can run and is on no CPU.
    pub fn add_thread(&mut self, process: u64, tid: i128, name: &str) -> u64 {
        let Structures { process: process_type, thread, .. } = self.types;
        let address = self.kernel.allocate(thread);
        self.kernel.write_pointer(self.thread_link, address);
        self.kernel.set(address, thread, "td_plist.tqe_prev", self.thread_link);
        self.thread_link = self.kernel.address_of(address, thread, "td_plist.tqe_next");
        let values = [("td_tid", tid), ("td_state", 2), ("td_oncpu", -1), ("td_lastcpu", 1), ("td_pri_class", 3)];
        for (member, value) in values {
            self.kernel.set(address, thread, member, value);
        }
        self.kernel.set(process, process_type, "p_threads.tqh_last", self.thread_link);
        self.kernel.set(address, thread, "td_proc", process);
        self.kernel.set_text(address, thread, "td_name", name);
        let count = self.threads(process);
        self.kernel.set(process, process_type, "p_numthreads", count);
        address
    }

    fn threads(&mut self, process: u64) -> i128 {
        let of = self.types.process;
        let at = self.kernel.address_of(process, of, "p_numthreads");
        i128::from(self.kernel.number(at, 4)) + 1
    }

    /// Has a thread sleep for so many seconds.
    pub fn sleep(&mut self, thread: u64, channel: u64, message: u64, seconds: i128) {
        let of = self.types.thread;
        let values = [
            ("td_state", 1),
            ("td_inhibitors", SLEEPING),
            ("td_flags", SINTR),
            ("td_wchan", channel.into()),
            ("td_wmesg", message.into()),
            ("td_slptick", (100 - seconds) * HZ),
        ];
        values.into_iter().for_each(|(member, value)| self.kernel.set(thread, of, member, value));
    }

    /// A lock of a class, by its number.
    pub fn add_lock(&mut self, of: Type, name: &str, class: i128) -> u64 {
        let address = self.kernel.allocate(of);
        let (name, object) = (self.kernel.string(name), self.types.lock_object);
        self.kernel.set(address, object, "lo_name", name);
        self.kernel.set(address, object, "lo_flags", class << 24 | 0x1_0000);
        address
    }

    /// Arguments that the kernel keeps.
    pub fn keep_arguments(&mut self, process: u64, arguments: &[u8]) {
        let room = self.kernel.allocate_pages(8 + arguments.len() as u64);
        let length = self.kernel.arch.order().bytes(arguments.len() as u64, 4);
        self.kernel.write_bytes(room + 4, &length);
        self.kernel.write_bytes(room + 8, arguments);
        self.kernel.set(process, self.types.process, "p_args", room);
    }

    /// An address space with a stack whose last page ends in `struct ps_strings`, of pointers of so many bytes: what it
    /// has of memory, and the address of that page.
    pub fn add_stack(&mut self, process: u64, word: usize, strings: [&[&str]; 2]) -> (u64, u64) {
        let vmspace = self.types.vmspace;
        let space = self.kernel.allocate(vmspace);
        let (page, order) = (self.kernel.allocate_pages(PAGE), self.kernel.arch.order());
        let root = self.map_user_page(STACK_TOP - PAGE, page);
        let (member, _) = root_member(&self.kernel);
        self.kernel.set(space, vmspace, &format!("vm_pmap.{member}"), root);
        self.kernel.set(space, vmspace, "vm_pmap.pm_stats.resident_count", 25);
        self.kernel.set(space, vmspace, "vm_map.size", 12_345_344);
        self.kernel.set(space, vmspace, "vm_stacktop", STACK_TOP);
        self.kernel.set(process, self.types.process, "p_vmspace", space);
        let contents = stack_page(order, word, strings);
        self.kernel.write_bytes(page, &contents);
        (space, page)
    }

    /// Page tables of a process that map one page: what leads to them.
    fn map_user_page(&mut self, address: u64, page: u64) -> u64 {
        let arch = self.kernel.arch;
        // What each level's entries stand for, as a power of two, and entries of a table.
        let levels: &[(u32, u32)] = match arch {
            Arch::Amd64 | Arch::Arm64 => &[(39, 9), (30, 9), (21, 9), (12, 9)],
            Arch::Riscv => &[(30, 9), (21, 9), (12, 9)],
            Arch::I386 => &[(22, 10), (12, 10)],
            Arch::Arm => &[(20, 12), (12, 8)],
            Arch::Powerpc64 => return 0,
        };
        let size: u64 = if matches!(arch, Arch::I386 | Arch::Arm) { 4 } else { 8 };
        let mut below = self.kernel.physical(page);
        let mut table = 0;
        for (level, (shift, bits)) in levels.iter().enumerate().rev() {
            let is_last = level + 1 == levels.len();
            // Pages that follow one another in physical memory do so there only within a larger range.
            table = self.kernel.allocate_pages((1 << bits) * size + 4 * PAGE) + 2 * PAGE;
            let index = address >> shift & ((1 << bits) - 1);
            let entry = match arch {
                Arch::Amd64 | Arch::I386 => below | bits::X86_PG_V | bits::X86_PG_RW,
                Arch::Arm64 => below | bits::L3_PAGE | bits::ATTR_AF,
                Arch::Riscv if is_last => below >> 12 << bits::PTE_PPN0_S | bits::PTE_V | bits::PTE_R,
                Arch::Riscv => below >> 12 << bits::PTE_PPN0_S | bits::PTE_V,
                Arch::Arm if is_last => below | bits::PTE2_V | bits::PTE2_A,
                Arch::Arm => below | 1,
                Arch::Powerpc64 => unreachable!(),
            };
            below = self.kernel.physical(table);
            let at = self.kernel.mapped_at(below + index * size);
            self.kernel.write_bytes(at, &arch.order().bytes(entry, size as usize));
        }
        match arch {
            Arch::Riscv => 8 << 60 | below >> 12,
            Arch::Arm | Arch::I386 => table,
            _ => below,
        }
    }
}

/// The last page of a stack: arguments, environment, and what tells of them.
fn stack_page(order: Endianness, word: usize, strings: [&[&str]; 2]) -> Vec<u8> {
    let mut page = vec![0; PAGE as usize];
    let start = STACK_TOP - PAGE;
    let mut text_at = 0;
    let mut pointers_at = PAGE as usize / 2;
    let mut fields = Vec::new();
    for strings in strings {
        fields.push((start + pointers_at as u64, strings.len() as u64));
        for text in strings {
            let pointer = order.bytes(start + text_at as u64, word);
            page[pointers_at..pointers_at + word].copy_from_slice(&pointer);
            page[text_at..text_at + text.len()].copy_from_slice(text.as_bytes());
            (text_at, pointers_at) = (text_at + text.len() + 1, pointers_at + word);
        }
    }
    for (index, (at, count)) in fields.into_iter().enumerate() {
        let field = PAGE as usize - (4 - 2 * index) * word;
        page[field..field + word].copy_from_slice(&order.bytes(at, word));
        page[field + word..field + word + 4].copy_from_slice(&order.bytes(count, 4));
    }
    page
}
