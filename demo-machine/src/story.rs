//! Which processes and threads there are, and what they do.

use crate::code::From;

/// A process.
#[derive(Clone, Copy)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub command: &'static str,
    /// What it was started with; nothing of the kernel's own.
    pub arguments: &'static [&'static str],
    pub user: u32,
    /// Its terminal, with the leader of the session.
    pub terminal: Option<(&'static str, i32)>,
    /// Whether it is in the jail.
    pub is_jailed: bool,
    /// Seconds after the kernel booted.
    pub started: i64,
    /// KiB in memory; a program has some at least.
    pub resident: u64,
    pub threads: &'static [Thread],
}

/// A thread.
#[derive(Clone, Copy)]
pub struct Thread {
    pub id: i32,
    pub name: &'static str,
    pub does: Does,
    pub from: From,
    /// What it is in, the outermost function first.
    pub calls: &'static [&'static str],
    /// Milliseconds of CPU time.
    pub time: u64,
}

/// What a thread does.
#[derive(Clone, Copy)]
pub enum Does {
    /// It sleeps, for so many seconds, with this reason.
    Sleep(&'static str, i128),
    /// It waits for the lock of the module's configuration, that the process of that tool has.
    Lock(&'static str),
    /// It waits for an interrupt.
    Interrupt,
    /// It runs on a CPU.
    Run(u64),
    /// It is in the run queue of a CPU.
    Queue(u64),
}

use Does::{Interrupt, Lock, Queue, Run, Sleep};
use From::{Call, Kernel};

/// The functions of a thread, and those in which it gives up its CPU.
macro_rules! asleep {
    ($($name:literal),*) => { &[$($name,)* "mi_switch", "sched_switch"] };
}

/// The functions of a thread in the ioctl of the module's interface, and those that follow.
macro_rules! in_demo_ioctl {
    ($($name:literal),*) => {
        &["amd64_syscall", "sys_ioctl", "kern_ioctl", "soo_ioctl", "ifioctl", "ifhwioctl", "demo_ioctl", $($name,)*]
    };
}

const SELECT: &[&str] =
    asleep!["amd64_syscall", "sys_select", "kern_select", "seltdwait", "_cv_wait_sig", "sleepq_wait_sig"];
const SELECT_FOR: &[&str] =
    asleep!["amd64_syscall", "sys_select", "kern_select", "seltdwait", "_cv_timedwait_sig_sbt", "sleepq_timedwait_sig"];
const POLL: &[&str] = asleep!["amd64_syscall", "sys_poll", "kern_poll", "seltdwait", "_cv_wait_sig", "sleepq_wait_sig"];
const SLEEP: &[&str] =
    asleep!["amd64_syscall", "sys_nanosleep", "kern_clock_nanosleep", "_sleep", "sleepq_timedwait_sig"];
const WAIT: &[&str] = asleep!["amd64_syscall", "sys_wait4", "kern_wait6", "_sleep", "sleepq_wait_sig"];
const KEVENT: &[&str] =
    asleep!["amd64_syscall", "sys_kevent", "kern_kevent", "kqueue_kevent", "_sleep", "sleepq_wait_sig"];
const SUSPEND: &[&str] = asleep!["amd64_syscall", "sys_sigsuspend", "kern_sigsuspend", "_sleep", "sleepq_wait_sig"];
const TTY: &[&str] = asleep![
    "amd64_syscall",
    "sys_read",
    "kern_readv",
    "dofileread",
    "devfs_read_f",
    "ttydev_read",
    "ttydisc_read",
    "tty_wait",
    "_cv_wait_sig",
    "sleepq_wait_sig"
];
const SX: &[&str] = in_demo_ioctl!["_sx_xlock_hard", "sleepq_wait", "mi_switch", "sched_switch"];
const DRAIN: &[&str] = in_demo_ioctl!["demo_stop", "_sleep", "sleepq_timedwait", "mi_switch", "sched_switch"];
const IDLE: &[&str] = &["fork_exit", "sched_idletd", "cpu_idle", "cpu_idle_acpi"];
const ITHREAD: &[&str] = &["fork_exit", "ithread_loop", "mi_switch", "sched_switch"];
const SOFTCLOCK: &[&str] = &["fork_exit", "softclock_thread", "mi_switch", "sched_switch"];
const TASKQUEUE: &[&str] = asleep!["fork_exit", "taskqueue_thread_loop", "_sleep", "sleepq_wait"];
const GROUP_TASKQUEUE: &[&str] = asleep!["fork_exit", "gtaskqueue_thread_loop", "msleep_spin_sbt", "sleepq_wait"];
const SWAPPER: &[&str] = asleep!["swapper", "_sleep", "sleepq_timedwait"];
const DONEQ: &[&str] = asleep!["fork_exit", "cam_doneq_thread", "_sleep", "sleepq_wait"];
const SCANNER: &[&str] = asleep!["fork_exit", "xpt_scanner_thread", "_sleep", "sleepq_wait"];
const PAGEOUT: &[&str] = asleep!["fork_exit", "vm_pageout", "vm_pageout_worker", "_sleep", "sleepq_timedwait"];
const LAUNDRY: &[&str] = asleep!["fork_exit", "vm_pageout_laundry_worker", "_sleep", "sleepq_timedwait"];
const UMA: &[&str] = asleep!["fork_exit", "uma_reclaim_worker", "_sleep", "sleepq_timedwait"];
const BUFDAEMON: &[&str] = asleep!["fork_exit", "buf_daemon", "_sleep", "sleepq_timedwait"];
const VNLRU: &[&str] = asleep!["fork_exit", "vnlru_proc", "_sleep", "sleepq_timedwait"];
const SYNCER: &[&str] = asleep!["fork_exit", "sched_sync", "_cv_timedwait_sig_sbt", "sleepq_timedwait"];
const EVENTS: &[&str] = asleep!["fork_exit", "g_run_events", "_sleep", "sleepq_wait"];
const UP: &[&str] = asleep!["fork_exit", "g_io_schedule_up", "_sleep", "sleepq_wait"];
const DOWN: &[&str] = asleep!["fork_exit", "g_io_schedule_down", "_sleep", "sleepq_wait"];
const INIT: &[&str] = WAIT;
/// Before the tool stops the interface, in the crash: what it was in.
pub const CRASH: &[&str] = in_demo_ioctl![
    "demo_ring_reset!",
    "trap",
    "trap_pfault",
    "trap_fatal",
    "panic",
    "vpanic",
    "kern_reboot",
    "doadump"
];
/// What a CPU is in that another one stops.
pub const STOPPED: &[&str] =
    &["fork_exit", "sched_idletd", "cpu_idle", "cpu_idle_acpi", "ipi_stop_handler", "cpustop_handler"];

/// The process of the tool that crashes the machine, and its thread.
pub const TOOL: i32 = 930;
pub const TOOL_THREAD: i32 = 100_186;
/// The shell.
pub const SHELL: i32 = 812;
/// Numbers of system calls.
const READ: u64 = 3;
const WAIT4: u64 = 7;
const IOCTL: u64 = 54;
const SELECT_CALL: u64 = 93;
const POLL_CALL: u64 = 209;
const NANOSLEEP: u64 = 240;
const SIGSUSPEND: u64 = 341;
const KEVENT_CALL: u64 = 560;

const fn thread(
    id: i32,
    name: &'static str,
    does: Does,
    from: From,
    calls: &'static [&'static str],
    time: u64,
) -> Thread {
    Thread { id, name, does, from, calls, time }
}

/// One that is nothing in particular.
const PROCESS: Process = Process {
    pid: 0,
    parent: 0,
    command: "",
    arguments: &[],
    user: 0,
    terminal: None,
    is_jailed: false,
    started: 0,
    resident: 16,
    threads: &[],
};

const fn daemon(
    pid: i32,
    command: &'static str,
    arguments: &'static [&'static str],
    started: i64,
    resident: u64,
    threads: &'static [Thread],
) -> Process {
    Process { pid, command, arguments, started, resident, parent: 1, threads, ..PROCESS }
}

/// A thread of one of the kernel's own processes: the process, the thread, what it does and is in, and milliseconds of CPU
/// time.
type OwnThread = (i32, &'static str, i32, &'static str, Does, &'static [&'static str], u64);

const OWN: &[OwnThread] = &[
    (0, "kernel", 100_000, "swapper", Sleep("swapin", 348_060), SWAPPER, 40),
    (0, "kernel", 100_007, "softirq_0", Sleep("-", 4), GROUP_TASKQUEUE, 1200),
    (0, "kernel", 100_008, "softirq_1", Sleep("-", 9), GROUP_TASKQUEUE, 980),
    (0, "kernel", 100_009, "if_io_tqg_0", Sleep("-", 0), GROUP_TASKQUEUE, 3100),
    (0, "kernel", 100_010, "if_io_tqg_1", Sleep("-", 0), GROUP_TASKQUEUE, 2900),
    (0, "kernel", 100_014, "thread taskq", Sleep("-", 300), TASKQUEUE, 20),
    (0, "kernel", 100_015, "acpi_task_0", Sleep("-", 348_000), TASKQUEUE, 0),
    (2, "clock", 100_020, "clock (0)", Sleep("-", 0), SOFTCLOCK, 31_000),
    (2, "clock", 100_021, "clock (1)", Sleep("-", 0), SOFTCLOCK, 29_000),
    (4, "cam", 100_044, "doneq0", Sleep("-", 2), DONEQ, 900),
    (4, "cam", 100_058, "scanner", Sleep("-", 348_000), SCANNER, 0),
    (6, "pagedaemon", 100_060, "dom0", Sleep("psleep", 1), PAGEOUT, 4200),
    (6, "pagedaemon", 100_064, "dom1", Sleep("psleep", 1), PAGEOUT, 3900),
    (6, "pagedaemon", 100_065, "laundry: dom0", Sleep("launds", 0), LAUNDRY, 700),
    (6, "pagedaemon", 100_066, "laundry: dom1", Sleep("launds", 0), LAUNDRY, 690),
    (6, "pagedaemon", 100_067, "uma", Sleep("umarcl", 30), UMA, 10),
    (8, "bufdaemon", 100_069, "", Sleep("psleep", 0), BUFDAEMON, 1700),
    (9, "vnlru", 100_073, "", Sleep("vlruwt", 0), VNLRU, 800),
    (10, "syncer", 100_074, "", Sleep("syncer", 0), SYNCER, 5200),
    (11, "idle", 100_003, "idle: cpu0", Run(0), IDLE, 330_000_000),
    (11, "idle", 100_004, "idle: cpu1", Run(1), IDLE, 331_000_000),
    (12, "intr", 100_012, "swi6: task queue", Interrupt, ITHREAD, 3),
    (12, "intr", 100_022, "swi1: netisr 0", Interrupt, ITHREAD, 2100),
    (12, "intr", 100_040, "irq16: ahci0", Interrupt, ITHREAD, 2500),
    (12, "intr", 100_041, "irq24: demo0", Interrupt, ITHREAD, 4400),
    (12, "intr", 100_042, "irq1: atkbd0", Interrupt, ITHREAD, 1),
    (13, "geom", 100_025, "g_event", Sleep("-", 600), EVENTS, 12),
    (13, "geom", 100_026, "g_up", Sleep("-", 2), UP, 2300),
    (13, "geom", 100_027, "g_down", Sleep("-", 2), DOWN, 2200),
];

/// All processes, the oldest one first.
pub fn processes() -> Vec<Process> {
    let of_thread = |&(_, _, id, name, does, calls, time): &OwnThread| thread(id, name, does, Kernel, calls, time);
    let of_rows = |rows: &[OwnThread]| {
        let (pid, command, ..) = rows[0];
        let threads: Vec<Thread> = rows.iter().map(of_thread).collect();
        // They are as much part of the program as those of the others.
        Process { pid, command, threads: Vec::leak(threads), ..PROCESS }
    };
    let own = OWN.chunk_by(|one, other| one.0 == other.0).map(of_rows);
    let mut processes: Vec<Process> = own.chain(PROGRAMS.iter().copied()).collect();
    processes.sort_by_key(|process| process.pid);
    processes
}

/// Processes that run programs.
const PROGRAMS: &[Process] = &[
    Process {
        parent: 0,
        ..daemon(
            1,
            "init",
            &["/sbin/init"],
            3,
            1164,
            &[thread(100_002, "", Sleep("wait", 340_000), Call(WAIT4), INIT, 310)],
        )
    },
    daemon(
        412,
        "devd",
        &["/sbin/devd"],
        11,
        2532,
        &[thread(100_088, "", Sleep("select", 9000), Call(SELECT_CALL), SELECT, 90)],
    ),
    daemon(
        598,
        "syslogd",
        &["/usr/sbin/syslogd", "-s"],
        12,
        3072,
        &[thread(100_091, "", Sleep("kqread", 61), Call(KEVENT_CALL), KEVENT, 2600)],
    ),
    Process {
        user: 123,
        ..daemon(
            640,
            "ntpd",
            &["/usr/sbin/ntpd", "-c", "/etc/ntp.conf", "-f", "/var/db/ntp/ntpd.drift"],
            13,
            3084,
            &[
                thread(100_094, "", Sleep("select", 0), Call(SELECT_CALL), SELECT_FOR, 18_000),
                thread(100_095, "blocker", Sleep("sigsusp", 348_000), Call(SIGSUSPEND), SUSPEND, 1),
            ],
        )
    },
    daemon(
        702,
        "sshd",
        &["sshd: /usr/sbin/sshd [listener] 0 of 10-100 startups"],
        13,
        4308,
        &[thread(100_097, "", Sleep("select", 5100), Call(POLL_CALL), POLL, 130)],
    ),
    daemon(
        741,
        "cron",
        &["/usr/sbin/cron", "-s"],
        14,
        2728,
        &[thread(100_099, "", Sleep("nanslp", 7), Call(NANOSLEEP), SLEEP, 1400)],
    ),
    Process {
        is_jailed: true,
        ..daemon(
            760,
            "nginx",
            &["nginx: master process /usr/local/sbin/nginx"],
            20,
            4136,
            &[thread(100_104, "", Sleep("sigsusp", 340_000), Call(SIGSUSPEND), SUSPEND, 25)],
        )
    },
    Process {
        is_jailed: true,
        user: 80,
        parent: 760,
        ..daemon(
            761,
            "nginx",
            &["nginx: worker process"],
            20,
            4396,
            &[thread(100_105, "", Sleep("kqread", 0), Call(KEVENT_CALL), KEVENT, 41_000)],
        )
    },
    Process {
        is_jailed: true,
        user: 80,
        parent: 760,
        ..daemon(
            762,
            "nginx",
            &["nginx: worker process"],
            20,
            4384,
            &[thread(100_106, "", Queue(1), Call(KEVENT_CALL), KEVENT, 39_500)],
        )
    },
    Process {
        terminal: Some(("ttyv0", 790)),
        ..daemon(
            790,
            "getty",
            &["/usr/libexec/getty", "Pc", "ttyv0"],
            22,
            2316,
            &[thread(100_110, "", Sleep("ttyin", 348_000), Call(READ), TTY, 2)],
        )
    },
    Process {
        parent: 702,
        ..daemon(
            801,
            "sshd-session",
            &["sshd-session: alice [priv]"],
            340_000,
            4544,
            &[thread(100_119, "", Sleep("select", 7800), Call(POLL_CALL), POLL, 60)],
        )
    },
    Process {
        parent: 801,
        user: 1001,
        ..daemon(
            805,
            "sshd-session",
            &["sshd-session: alice@pts/0"],
            340_001,
            4600,
            &[thread(100_121, "", Sleep("select", 3), Call(POLL_CALL), POLL, 700)],
        )
    },
    Process {
        parent: 805,
        user: 1001,
        terminal: Some(("pts/0", 812)),
        ..daemon(SHELL, "sh", &["-sh"], 340_001, 3420, &[thread(100_124, "", Sleep("wait", 12), Call(WAIT4), WAIT, 80)])
    },
    Process {
        parent: 812,
        terminal: Some(("pts/0", 812)),
        ..daemon(
            TOOL,
            "democtl",
            &["democtl", "demo0", "ring", "reset"],
            347_890,
            2208,
            &[
                thread(TOOL_THREAD, "", Sleep("demodr", 2), Call(IOCTL), DRAIN, 15),
                thread(100_190, "watcher", Lock("demo configuration"), Call(IOCTL), SX, 5),
            ],
        )
    },
];
