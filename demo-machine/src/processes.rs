//! Processes and threads with what they lead to: credentials, sessions, terminals, stacks, sleep queues and run queues.

use crate::Moment;
use crate::kernel::{CPUS, Demo, FREQUENCY, HZ};
use crate::story::{CRASH, Does, Process, STOPPED, TOOL, TOOL_THREAD, Thread, processes};

/// Values of flags (`P_*`, `TDF_*`, `TDI_*`).
const P_CONTROLT: i128 = 0x2;
const P_KPROC: i128 = 0x4;
const P_SYSTEM: i128 = 0x200;
const TDF_SINTR: i128 = 0x8;
const TDI_SLEEPING: i128 = 0x2;
const TDI_IWAIT: i128 = 0x10;
const SV_LP64: i128 = 0x200;
/// Classes of priority (`PRI_*`), with the usual priority of each.
const INTERRUPT: [i128; 2] = [1, 8];
const TIMESHARE: [i128; 2] = [3, 120];
const IDLE: [i128; 2] = [4, 255];
/// The queues of `sleepq_chains` and lists of the table of process IDs.
const LISTS: u64 = 4;
const PID_LISTS: u64 = 16;
/// Kinds of sleep queues (`SLEEPQ_*`).
const SLEEPQ_SLEEP: i128 = 0;
const SLEEPQ_CONDVAR: i128 = 1;
const SLEEPQ_SX: i128 = 3;
/// Names of the classes of locks, in the order of their numbers.
const LOCK_CLASSES: [&str; 7] = ["spin mutex", "sleep mutex", "sx", "rm", "sleepable rm", "rw", "lockmgr"];
pub const MUTEX: i128 = 1;
pub const SX: i128 = 2;

impl Demo {
    pub fn start_processes(&mut self) {
        self.define_locks();
        self.set_offsets();
        let vector = self.string("FreeBSD ELF64");
        let members = [("sv_name", vector.into()), ("sv_psstringssz", 32), ("sv_flags", SV_LP64)];
        let vector = self.add("sysentvec", &members);
        self.known.insert("vector".to_owned(), vector);
        let table = self.kernel.allocate_pages(8 * PID_LISTS);
        self.set_variable("pidhashtbl", "", table);
        self.set_variable("pidhash", "", PID_LISTS - 1);
        let moment = self.moment;
        let all = processes();
        let started: Vec<&Process> = all.iter().filter(|process| process.started < self.uptime()).collect();
        let addresses: Vec<u64> = started.iter().map(|process| self.start(process)).collect();
        // The newest is the first.
        let all = self.variable("allproc");
        for (process, address) in started.iter().zip(&addresses).rev() {
            self.push(all, false, ("proc", "p_list"), *address);
            let list = table + 8 * (process.pid as u64 % PID_LISTS);
            self.push(list, false, ("proc", "p_hash"), *address);
        }
        for (process, address) in started.iter().zip(&addresses) {
            let parent = started.iter().position(|other| other.pid == process.parent && process.pid != 0);
            if let Some(parent) = parent.map(|index| addresses[index]) {
                self.set(*address, "proc", "p_pptr", parent);
                let children = self.at(parent, "proc", "p_children");
                self.push(children, false, ("proc", "p_sibling"), *address);
            }
        }
        let init = addresses[1];
        self.set_variable("initproc", "", init);
        self.set_variable("nprocs", "", addresses.len() as i128);
        if moment == Moment::Running {
            self.name_idle_threads();
        }
    }

    fn define_locks(&mut self) {
        for (index, name) in LOCK_CLASSES.into_iter().enumerate() {
            let name = self.string(name).into();
            let class = self.add("lock_class", &[("lc_name", name)]);
            self.set_variable("lock_classes", &format!("[{index}]"), class);
        }
        for (variable, of, name, class) in [
            ("Giant", "mtx", "Giant", MUTEX),
            ("allproc_lock", "sx", "allproc", SX),
            ("demo_mtx", "mtx", "demo0", MUTEX),
        ] {
            let address = self.variable(variable);
            self.lock(address, of, name, class);
        }
        let configuration = self.allocate("sx");
        let configuration = self.lock(configuration, "sx", "demo configuration", SX);
        self.known.insert("demo configuration".to_owned(), configuration);
    }

    /// Where debuggers find members.
    fn set_offsets(&mut self) {
        for (variable, of, member) in [
            ("proc_off_p_pid", "proc", "p_pid"),
            ("proc_off_p_comm", "proc", "p_comm"),
            ("proc_off_p_list", "proc", "p_list"),
            ("proc_off_p_hash", "proc", "p_hash"),
            ("proc_off_p_threads", "proc", "p_threads"),
            ("thread_off_td_tid", "thread", "td_tid"),
            ("thread_off_td_name", "thread", "td_name"),
            ("thread_off_td_oncpu", "thread", "td_oncpu"),
            ("thread_off_td_pcb", "thread", "td_pcb"),
            ("thread_off_td_plist", "thread", "td_plist"),
        ] {
            let offset = self.at(0, of, member);
            self.set_variable(variable, "", offset);
        }
    }

    /// The credentials of a user, perhaps in the jail.
    pub fn credentials(&mut self, user: u32, is_jailed: bool) -> u64 {
        let name = format!("credentials {user} {is_jailed}");
        if let Some(known) = self.known.get(&name) {
            return *known;
        }
        let class = self.allocate("loginclass");
        self.set_text(class, "loginclass", "lc_name", if user == 1001 { "default" } else { "daemon" });
        let prison = if is_jailed { self.known["jail"] } else { self.variable("prison0") };
        let user = i128::from(user);
        let mut members = vec![("cr_prison", prison.into()), ("cr_loginclass", class.into()), ("cr_ref", 3)];
        members.extend(["cr_uid", "cr_ruid", "cr_svuid", "cr_gid", "cr_rgid", "cr_svgid"].map(|member| (member, user)));
        let address = self.add("ucred", &members);
        self.known.insert(name, address);
        address
    }

    fn start(&mut self, process: &Process) -> u64 {
        let is_own = process.arguments.is_empty();
        let credentials = self.credentials(process.user, process.is_jailed);
        let start = self.add("pstats", &[("p_start.tv_sec", process.started.into()), ("p_start.tv_usec", 250_000)]);
        let actions = self.add("sigacts", &[("ps_sigignore.__bits[0]", 0x1000)]);
        let flags = if is_own { P_KPROC | P_SYSTEM } else { 0x1000_4000 };
        let flags = flags | if process.terminal.is_some() { P_CONTROLT } else { 0 };
        let vector = self.known["vector"];
        let time: i128 = process.threads.iter().map(|thread| i128::from(thread.time)).sum();
        let address = self.add(
            "proc",
            &[
                ("p_pid", process.pid.into()),
                ("p_oppid", process.parent.into()),
                ("p_flag", flags),
                ("p_state", 1),
                ("p_ucred", credentials.into()),
                ("p_stats", start.into()),
                ("p_sigacts", actions.into()),
                ("p_sysent", vector.into()),
                ("p_numthreads", process.threads.len() as i128),
                ("p_rux.rux_runtime", time * i128::from(FREQUENCY) / 1000),
                ("p_rux.rux_sticks", time / 12),
                ("p_rux.rux_uticks", if is_own { 0 } else { time / 9 }),
            ],
        );
        self.set_text(address, "proc", "p_comm", process.command);
        let mutex = self.at(address, "proc", "p_mtx");
        self.lock(mutex, "mtx", "process lock", MUTEX);
        self.set_memory(address, process);
        if !is_own {
            self.keep_arguments(address, process.arguments);
            self.open_files(address, process);
        }
        self.join_session(address, process);
        for thread in process.threads {
            self.start_thread(address, process, thread, credentials);
        }
        address
    }

    fn set_memory(&mut self, address: u64, process: &Process) {
        let space = self.add("vmspace", &[("vm_refcnt", 1)]);
        let header = self.at(space, "vmspace", "vm_map.header");
        for (member, value) in [("left", header), ("right", header), ("end", 0x1000), ("start", 0x8000_0000_0000)] {
            self.set(header, "vm_map_entry", member, value);
        }
        let pmap = self.at(space, "vmspace", "vm_pmap");
        self.set(space, "vmspace", "vm_map.pmap", pmap);
        let is_own = process.arguments.is_empty();
        let resident = if is_own { process.resident / 4 } else { self.map_program(space, process) };
        self.set(space, "vmspace", "vm_pmap.pm_stats.resident_count", resident);
        self.set(address, "proc", "p_vmspace", space);
    }

    fn keep_arguments(&mut self, process: u64, arguments: &[&str]) {
        let text: Vec<u8> = arguments.iter().flat_map(|argument| argument.bytes().chain([0])).collect();
        let kept = self.kernel.allocate_pages(8 + text.len() as u64);
        self.set_all(kept, "pargs", &[("ar_ref", 1), ("ar_length", text.len() as i128)]);
        let at = self.at(kept, "pargs", "ar_args");
        self.kernel.write_bytes(at, &text);
        self.set(process, "proc", "p_args", kept);
    }

    /// Puts a process into its group and session; those of a terminal belong to the leader.
    fn join_session(&mut self, address: u64, process: &Process) {
        let leader = match process.terminal {
            Some((_, leader)) => leader,
            None if process.arguments.is_empty() => 0,
            // Children of the kernel's first process lead sessions of their own.
            None if process.is_jailed && process.parent != 1 => process.parent,
            None => process.pid,
        };
        let name = format!("session {leader}");
        if !self.known.contains_key(&name) {
            let session =
                self.add("session", &[("s_count", 1), ("s_sid", leader.into()), ("s_leader", address.into())]);
            self.set_text(session, "session", "s_login", if process.user == 1001 { "alice" } else { "root" });
            self.known.insert(name.clone(), session);
        }
        let session = self.known[&name];
        let group = self.add("pgrp", &[("pg_session", session.into()), ("pg_id", process.pid.into())]);
        self.set(address, "proc", "p_pgrp", group);
        let Some((terminal, leader)) = process.terminal else { return };
        if process.pid == leader {
            let device = self.add("cdev_priv", &[("cdp_inode", 0x30 + i128::from(leader))]);
            self.set_text(device, "cdev_priv", "cdp_c.si_name", terminal);
            let tty = self.add("tty", &[("t_session", session.into()), ("t_dev", device.into())]);
            self.set(session, "session", "s_ttyp", tty);
            self.known.insert(format!("tty {leader}"), tty);
        }
        // The group of the newest process is in the foreground.
        let tty = self.known[&format!("tty {leader}")];
        let vnode = self.known[&format!("/dev/{terminal}")];
        self.set(session, "session", "s_ttyvp", vnode);
        self.set(tty, "tty", "t_pgrp", group);
    }

    fn start_thread(&mut self, process: u64, of: &Process, thread: &Thread, credentials: u64) {
        let is_idle = of.command == "idle";
        let (calls, does) = match (self.moment, thread.id, thread.does) {
            (Moment::Crashed, TOOL_THREAD, _) => (CRASH, Does::Run(1)),
            // The tool has taken its CPU.
            (Moment::Crashed, _, Does::Run(1)) => {
                (&["fork_exit", "sched_idletd", "mi_switch", "sched_switch"][..], Does::Queue(1))
            }
            (Moment::Crashed, _, Does::Run(_)) => (STOPPED, thread.does),
            // Nobody holds the lock for which it waits later.
            (_, _, does) => (thread.calls, does),
        };
        let made = self.stack(thread.from, calls);
        let [class, priority] = match of.command {
            "idle" => IDLE,
            "intr" | "clock" => INTERRUPT,
            _ => TIMESHARE,
        };
        let pcb = self.own_pcb(made);
        let ticks = i128::from(thread.time) * i128::from(FREQUENCY) / 1000;
        let address = self.add(
            "thread",
            &[
                ("td_proc", process.into()),
                ("td_tid", thread.id.into()),
                ("td_ucred", credentials.into()),
                ("td_realucred", credentials.into()),
                ("td_pcb", pcb.into()),
                ("td_kstack", made.base.into()),
                ("td_kstack_pages", 4),
                ("td_oncpu", -1),
                ("td_lastcpu", i128::from(thread.id) % CPUS as i128),
                ("td_pri_class", class),
                ("td_priority", priority),
                ("td_user_pri", priority),
                ("td_rux.rux_runtime", ticks),
                ("td_rux.rux_uticks", if of.arguments.is_empty() { 0 } else { i128::from(thread.time) / 12 }),
                ("td_rux.rux_sticks", i128::from(thread.time) / 20),
                ("td_ru.ru_nvcsw", i128::from(thread.time) * 3),
            ],
        );
        let name = if thread.name.is_empty() { of.command } else { thread.name };
        self.set_text(address, "thread", "td_name", name);
        self.save_registers(pcb, made);
        let threads = self.at(process, "proc", "p_threads");
        self.push(threads, true, ("thread", "td_plist"), address);
        self.known.insert(format!("thread {}", thread.id), address);
        if is_idle {
            let cpu = self.known[&format!("cpu {}", (thread.id + 1) % 2)];
            self.set(cpu, "pcpu", "pc_idlethread", address);
        }
        match does {
            Does::Run(cpu) => {
                self.set_all(
                    address,
                    "thread",
                    &[("td_state", 4), ("td_oncpu", cpu.into()), ("td_lastcpu", cpu.into())],
                );
                let pcpu = self.known[&format!("cpu {cpu}")];
                self.set(pcpu, "pcpu", "pc_curthread", address);
                let stopped = self.kernel.variable_of("stoppcbs").0;
                let stopped = self.kernel.number(stopped, 8) + cpu * self.size_of("pcb");
                match (self.moment, of.pid) {
                    (Moment::Crashed, TOOL) => self.save_registers(self.variable("dumppcb"), made),
                    (Moment::Crashed, _) => self.save_registers(stopped, made),
                    (Moment::Running, _) => {}
                }
            }
            Does::Queue(cpu) => self.enqueue(address, cpu, is_idle),
            Does::Interrupt => {
                self.set_all(address, "thread", &[("td_state", 1), ("td_inhibitors", TDI_IWAIT), ("td_wmesg", 0)]);
            }
            Does::Sleep(reason, seconds) => {
                let channel = self.allocate("mtx");
                let kind = if reason == "select" || reason == "ttyin" { SLEEPQ_CONDVAR } else { SLEEPQ_SLEEP };
                self.sleep(address, (channel, reason, kind), seconds, !of.arguments.is_empty());
            }
            Does::Lock(name) => {
                let lock = self.known[name];
                let owner = self.known[&format!("thread {TOOL_THREAD}")];
                // SX_LOCK_EXCLUSIVE_WAITERS.
                self.set(lock, "sx", "sx_lock", owner | 4);
                self.sleep(address, (lock, name, SLEEPQ_SX), 2, false);
            }
        }
    }

    fn sleep(&mut self, thread: u64, (channel, reason, kind): (u64, &str, i128), seconds: i128, can_be_woken: bool) {
        let message = self.string(reason);
        let ticks = i128::from(self.uptime()) * HZ;
        self.set_all(
            thread,
            "thread",
            &[
                ("td_state", 1),
                ("td_inhibitors", TDI_SLEEPING),
                ("td_flags", if can_be_woken { TDF_SINTR } else { 0 }),
                ("td_wchan", channel.into()),
                ("td_wmesg", message.into()),
                ("td_slptick", (ticks - seconds * HZ).max(1)),
            ],
        );
        let queue = self.add("sleepqueue", &[("sq_wchan", channel.into()), ("sq_type", kind)]);
        let chain = format!("[{}].sc_queues", channel / 64 % LISTS);
        let (chains, of) = self.kernel.variable_of("sleepq_chains");
        let chain = self.kernel.address_of(chains, of, &chain);
        self.push(chain, false, ("sleepqueue", "sq_hash"), queue);
        let threads = self.at(queue, "sleepqueue", "sq_blocked[0]");
        self.push(threads, true, ("thread", "td_slpq"), thread);
    }

    /// Puts a thread into the run queue of a CPU.
    fn enqueue(&mut self, thread: u64, cpu: u64, is_idle: bool) {
        // An idle thread is in no queue.
        self.set(thread, "thread", "td_state", if is_idle { 2 } else { 3 });
        if is_idle {
            return;
        }
        let queues = self.known[&format!("queues {cpu}")];
        self.set(queues, "tdq", "tdq_load", 2);
        let list = self.at(queues, "tdq", "tdq_runq.rq_queues[30]");
        self.push(list, true, ("thread", "td_runq"), thread);
    }

    fn name_idle_threads(&mut self) {
        for cpu in 0..CPUS {
            let queues = self.known[&format!("queues {cpu}")];
            let load = if cpu == 1 { 1 } else { 0 };
            self.set(queues, "tdq", "tdq_load", load);
        }
    }

    /// Mount times are not kept; the time of day is.
    pub fn now(&self) -> i64 {
        self.boot() + self.uptime()
    }
}
