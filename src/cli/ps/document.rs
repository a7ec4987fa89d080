//! The JSON object of `memtool ps`.

use super::super::Context;
use super::super::kernel::Opened;
use super::columns::warn_of_arguments;
use memtool::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use vmcore::architecture::Endianness;
use vmcore::kernel::{KernelFacts, KernelMemory, Process, Processes, Registers, Thread};
use vmcore::kinfo::{
    CommandLine, Credentials, HeldLock, Job, Lock, LockWait, ProcessInfo, ProcessTable, RunState, ThreadInfo, Timestamp,
};
use vmcore::text::Name;
use vmcore::units::{Hex, utc_of_seconds};

#[derive(Serialize)]
struct Document {
    kernel: KernelDocument,
    dumping_thread: Option<i32>,
    processes: Vec<ProcessDocument>,
}

/// What a kernel says of itself in JSON.
#[derive(Serialize)]
pub struct KernelDocument {
    architecture: &'static str,
    byte_order: Endianness,
    kernel_version: Option<Name>,
    release: Option<Name>,
    osreldate: Option<u32>,
    panic: Option<Name>,
    time: Option<String>,
    uptime_seconds: Option<i64>,
    load_averages: Option<[f64; 3]>,
    cpu_count: Option<u32>,
    hz: Option<u32>,
}

/// A process in JSON.
#[derive(Serialize)]
pub struct ProcessDocument {
    pid: i32,
    command: Name,
    zombie: bool,
    thread_count: usize,
    address: Hex,
    /// What the kernel's types tell of it; `None` without types.
    details: Option<ProcessDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<Vec<ThreadEntry>>,
}

/// A thread in JSON.
#[derive(Serialize)]
struct ThreadEntry {
    tid: i32,
    name: Name,
    cpu: Option<u32>,
    state: &'static str,
    address: Hex,
    pcb: Option<Hex>,
    pc: Option<Hex>,
    symbol: Option<String>,
    registers: BTreeMap<&'static str, Hex>,
    error: Option<String>,
    /// What the kernel's types tell of it; `None` without types.
    details: Option<ThreadDetails>,
}

/// What the kernel's types tell of a process.
#[derive(Serialize)]
struct ProcessDetails {
    /// The letters of ps(1).
    state: Option<String>,
    run_state: Option<&'static str>,
    process_flags: Option<Hex>,
    parent_pid: Option<i32>,
    tracer_pid: Option<i32>,
    process_group: Option<i32>,
    session: Option<i32>,
    login: Option<Name>,
    terminal: Option<Name>,
    uid: Option<u32>,
    real_uid: Option<u32>,
    saved_uid: Option<u32>,
    gid: Option<u32>,
    real_gid: Option<u32>,
    saved_gid: Option<u32>,
    login_class: Option<Name>,
    jail_id: Option<i32>,
    jail: Option<Name>,
    nice: Option<i32>,
    started_at: Option<String>,
    cpu_seconds: Option<f64>,
    user_seconds: Option<f64>,
    system_seconds: Option<f64>,
    virtual_size: Option<u64>,
    resident_size: Option<u64>,
    emulation: Option<Name>,
    exit_status: Option<u32>,
    arguments: Option<Vec<Name>>,
    /// Of its first thread.
    priority: Option<u32>,
    wait_channel: Option<Hex>,
    wait_message: Option<Name>,
    last_cpu: Option<i32>,
}

/// What the kernel's types tell of a thread.
#[derive(Serialize)]
struct ThreadDetails {
    run_state: Option<&'static str>,
    thread_flags: Option<Hex>,
    priority: Option<u32>,
    wait_channel: Option<Hex>,
    wait_message: Option<Name>,
    last_cpu: Option<i32>,
    cpu_seconds: Option<f64>,
    lock_name: Option<Name>,
    waits_for: Option<WaitDocument>,
    held_locks: Vec<HeldDocument>,
}

/// A lock in JSON.
#[derive(Serialize)]
struct LockDocument {
    address: Hex,
    name: Option<Name>,
    class: Option<Name>,
}

/// The lock that a thread waits for, in JSON.
#[derive(Serialize)]
pub struct WaitDocument {
    #[serde(flatten)]
    lock: LockDocument,
    owner_tid: Option<i32>,
    owner_pid: Option<i32>,
}

#[derive(Serialize)]
struct HeldDocument {
    #[serde(flatten)]
    lock: LockDocument,
    is_contested: bool,
}

impl KernelDocument {
    /// Of the kernel whose memory it is.
    pub fn new(memory: &KernelMemory, facts: &KernelFacts) -> Self {
        let text = |text: &Option<Vec<u8>>| text.as_deref().map(Name::from);
        let first_line = |version: &[u8]| {
            let line = version.split(|byte| *byte == b'\n').next().unwrap_or_default();
            Name::from(line.trim_ascii_end())
        };
        Self {
            architecture: memory.architecture().name(),
            byte_order: memory.order(),
            kernel_version: facts.version.as_deref().map(first_line),
            release: text(&facts.release),
            osreldate: facts.osreldate,
            panic: text(&facts.panic),
            time: super::seconds(facts.time).and_then(utc_of_seconds),
            uptime_seconds: facts.uptime,
            load_averages: facts.load_averages,
            cpu_count: facts.cpus,
            hz: facts.hz,
        }
    }
}

impl ProcessDocument {
    /// A process, without its threads and without what types tell of it.
    pub fn new(process: &Process) -> Self {
        Self {
            pid: process.pid,
            command: process.command.as_slice().into(),
            zombie: process.zombie,
            thread_count: process.threads.len(),
            address: Hex(process.address),
            details: None,
            threads: None,
        }
    }
}

/// Prints it.
pub fn print(
    context: &mut Context,
    opened: &Opened,
    facts: &KernelFacts,
    processes: &Processes,
    (table, threads_wanted): (Option<&ProcessTable>, bool),
) -> Result<()> {
    if let Some(table) = table {
        warn_of_arguments(context, table);
    }
    let entry = |(index, process): (usize, &Process)| {
        let info = table.and_then(|table| Some((table, table.processes.get(index)?)));
        let threads = || {
            let info = |thread: &Thread| {
                let (_, process) = info?;
                Some((process, process.threads.iter().find(|found| found.address == thread.address)?))
            };
            process.threads.iter().map(|thread| thread_entry(opened, processes, thread, info(thread))).collect()
        };
        ProcessDocument {
            details: info.map(|(table, info)| ProcessDetails::new(info, table.page_size)),
            threads: threads_wanted.then(threads),
            ..ProcessDocument::new(process)
        }
    };
    let document = Document {
        kernel: KernelDocument::new(opened.kernel.memory(), facts),
        dumping_thread: processes.dumping,
        processes: processes.list.iter().enumerate().map(entry).collect(),
    };
    context.out.document_of("memtool.ps", opened.kind, &document)
}

fn thread_entry(
    opened: &Opened,
    processes: &Processes,
    thread: &Thread,
    info: Option<(&ProcessInfo, &ThreadInfo)>,
) -> ThreadEntry {
    let (registers, error) = match processes.registers(opened.kernel.memory(), thread) {
        Ok(registers) => (registers, None),
        Err(fault) => (Registers::unknown(opened.kernel.memory().architecture()), Some(fault.to_string())),
    };
    ThreadEntry {
        tid: thread.tid,
        name: thread.name.as_slice().into(),
        cpu: thread.cpu,
        state: thread.state.name(),
        address: Hex(thread.address),
        pcb: thread.pcb.map(Hex),
        pc: registers.pc().map(Hex),
        symbol: registers.pc().and_then(|pc| opened.kernel.name_of(pc)),
        registers: registers.iter().filter_map(|(name, value)| Some((name, Hex(value?)))).collect(),
        error,
        details: info.map(|(process, thread)| ThreadDetails::new(process, thread)),
    }
}

impl ProcessDetails {
    fn new(info: &ProcessInfo, page_size: u64) -> Self {
        let first = info.threads.first();
        let job = |member: fn(&Job) -> Option<i32>| info.job.as_ref().and_then(member);
        let credentials = info.credentials.as_deref();
        let id = |member: fn(&Credentials) -> Option<u32>| credentials.and_then(member);
        Self {
            state: info.state_letters(first),
            run_state: info.run_state(first).map(RunState::name),
            process_flags: info.flags.map(|flags| Hex(flags.into())),
            parent_pid: info.parent.and_then(pid),
            tracer_pid: info.tracer.and_then(pid),
            process_group: job(|job| job.pgid).and_then(pid),
            session: job(|job| job.sid).and_then(pid),
            login: info.job.as_ref().and_then(|job| job.login.clone()),
            terminal: info.job.as_ref().and_then(|job| job.terminal.as_ref()?.name.clone()),
            uid: id(|credentials| credentials.uid),
            real_uid: id(|credentials| credentials.ruid),
            saved_uid: id(|credentials| credentials.svuid),
            gid: id(|credentials| credentials.gid),
            real_gid: id(|credentials| credentials.rgid),
            saved_gid: id(|credentials| credentials.svgid),
            login_class: credentials.and_then(|credentials| credentials.login_class.clone()),
            jail_id: credentials.and_then(|credentials| credentials.jail_id).and_then(pid),
            jail: credentials.and_then(|credentials| credentials.jail.clone()),
            nice: info.nice,
            started_at: info.start.and_then(started_at),
            cpu_seconds: info.time.map(|time| cpu_seconds(time.total)),
            user_seconds: info.time.map(|time| cpu_seconds(time.user)),
            system_seconds: info.time.map(|time| cpu_seconds(time.system)),
            virtual_size: info.sizes.virtual_bytes,
            resident_size: info.sizes.resident_pages.and_then(|pages| pages.checked_mul(page_size)),
            emulation: info.emulation.as_deref().map(Name::from),
            exit_status: info.exit_status,
            arguments: arguments(&info.arguments),
            priority: first.and_then(|thread| thread.priority.level),
            wait_channel: first.and_then(|thread| thread.wait_channel).map(Hex),
            wait_message: first.and_then(|thread| thread.wait_message.as_deref()).map(Name::from),
            last_cpu: first.and_then(|thread| thread.last_cpu),
        }
    }
}

impl ThreadDetails {
    fn new(process: &ProcessInfo, thread: &ThreadInfo) -> Self {
        Self {
            run_state: process.run_state(Some(thread)).map(RunState::name),
            thread_flags: thread.flags.map(|flags| Hex(flags.into())),
            priority: thread.priority.level,
            wait_channel: thread.wait_channel.map(Hex),
            wait_message: thread.wait_message.as_deref().map(Name::from),
            last_cpu: thread.last_cpu,
            cpu_seconds: thread.time.map(|time| cpu_seconds(time.total)),
            lock_name: thread.lock_name.as_deref().map(Name::from),
            waits_for: thread.waits_for.as_ref().map(WaitDocument::new),
            held_locks: thread.held.iter().map(HeldDocument::new).collect(),
        }
    }
}

impl LockDocument {
    fn new(lock: &Lock) -> Self {
        Self { address: Hex(lock.address), name: lock.name.clone(), class: lock.class.clone() }
    }
}

impl WaitDocument {
    pub fn new(wait: &LockWait) -> Self {
        let (owner_tid, owner_pid) = (wait.owner.map(|owner| owner.tid), wait.owner.map(|owner| owner.pid));
        Self { lock: LockDocument::new(&wait.lock), owner_tid, owner_pid }
    }
}

impl HeldDocument {
    fn new(held: &HeldLock) -> Self {
        Self { lock: LockDocument::new(&held.lock), is_contested: held.is_contested }
    }
}

/// An ID; damaged memory can have a negative one.
fn pid(id: i32) -> Option<i32> {
    (id >= 0).then_some(id)
}

fn cpu_seconds(microseconds: u64) -> f64 {
    Duration::from_micros(microseconds).as_secs_f64()
}

fn started_at(time: Timestamp) -> Option<String> {
    utc_of_seconds(u64::try_from(time.seconds).ok()?)
}

/// The arguments; none of a kernel process, `None` of what is not known.
fn arguments(line: &CommandLine) -> Option<Vec<Name>> {
    match line {
        CommandLine::Unknown => None,
        CommandLine::None => Some(Vec::new()),
        CommandLine::Known(arguments) => Some(arguments.iter().map(|argument| argument.as_slice().into()).collect()),
    }
}
