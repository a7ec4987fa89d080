//! `memtool ps`: the processes and threads of a kernel.

use super::kernel::{KernelArguments, Opened};
use super::{Context, Verdict};
use clap::Args;
use memtool::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use vmcore::architecture::Endianness;
use vmcore::fault::Fault;
use vmcore::kernel::{Access, KernelFacts, KernelMemory, Process, Processes, Registers, State, Thread};
use vmcore::report::{PROCESS_COLUMNS, process_row};
use vmcore::text::{Name, column, first_line};
use vmcore::units::{Hex, counted, days_and_time, utc, utc_of_seconds};

#[derive(Args)]
#[command(
    after_help = "Debug information is not required. Exit codes: 0 all processes were listed, 1 a list is damaged, or the kernel cannot be read."
)]
pub struct Arguments {
    #[command(flatten)]
    pub kernel: KernelArguments,
    /// List threads, with their CPU and program counter
    #[arg(long)]
    threads: bool,
}

/// Between columns.
const GAP: usize = 2;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "threads")]
    thread_list: Option<Vec<ThreadEntry>>,
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
            time: seconds(facts.time).and_then(utc_of_seconds),
            uptime_seconds: facts.uptime,
            load_averages: facts.load_averages,
            cpu_count: facts.cpus,
            hz: facts.hz,
        }
    }
}

impl ProcessDocument {
    /// A process, without its threads.
    pub fn new(process: &Process) -> Self {
        Self {
            pid: process.pid,
            command: process.command.as_slice().into(),
            zombie: process.zombie,
            thread_count: process.threads.len(),
            address: Hex(process.address),
            thread_list: None,
        }
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let mut opened = arguments.kernel.open(context, Access::Read)?;
    let facts = opened.kernel.facts()?;
    let mut processes = opened.kernel.processes()?;
    processes.list.sort_by_key(|process| process.pid);
    if arguments.threads {
        opened.load_names(context);
        if opened.kernel.image().is_some() && has_unnamed(&opened, &processes) {
            // Without the kernel's list of modules, what is in them has addresses instead of names.
            let _ = opened.load_modules(context);
        }
    }
    // They are why the command fails.
    for warning in &processes.warnings {
        context.warn_always(warning);
    }
    if context.out.is_json() {
        json(context, &opened, &facts, &processes, arguments.threads)?;
    } else {
        if !context.global.quiet && context.out.is_terminal() {
            print_facts(context, &opened, &facts)?;
        }
        if arguments.threads {
            print_threads(context, &opened, &processes)?;
        } else {
            print_processes(context, &processes)?;
        }
    }
    Ok(if processes.warnings.is_empty() { Verdict::Done } else { Verdict::Failed })
}

/// Whether a thread is where no symbol is known: in a module.
fn has_unnamed(opened: &Opened, processes: &Processes) -> bool {
    processes.threads().any(|(_, thread)| {
        let pc = processes.registers(opened.kernel.memory(), thread).ok().and_then(|registers| registers.pc());
        pc.is_some_and(|pc| opened.kernel.name_of(pc).is_none())
    })
}

/// Seconds since 1970, or of uptime, that are not before it.
fn seconds(seconds: Option<i64>) -> Option<u64> {
    seconds.and_then(|seconds| u64::try_from(seconds).ok())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The part of a kernel's version that tells which one it is.
fn short_version(version: &[u8]) -> String {
    first_line(&lossy(version)).to_owned()
}

fn json(
    context: &mut Context,
    opened: &Opened,
    facts: &KernelFacts,
    processes: &Processes,
    threads_wanted: bool,
) -> Result<()> {
    let entry = |process: &Process| {
        let threads = || process.threads.iter().map(|thread| thread_entry(opened, processes, thread)).collect();
        ProcessDocument { thread_list: threads_wanted.then(threads), ..ProcessDocument::new(process) }
    };
    let document = Document {
        kernel: KernelDocument::new(opened.kernel.memory(), facts),
        dumping_thread: processes.dumping,
        processes: processes.list.iter().map(entry).collect(),
    };
    context.out.document_of("memtool.ps", opened.kind, &document)
}

fn thread_entry(opened: &Opened, processes: &Processes, thread: &Thread) -> ThreadEntry {
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
    }
}

fn print_facts(context: &mut Context, opened: &Opened, facts: &KernelFacts) -> Result<()> {
    let version = facts.version.as_deref().map_or_else(|| "a kernel".to_owned(), short_version);
    context.out.line(&format!("{version}, {}", opened.kernel.memory().architecture().name()))?;
    let mut parts = Vec::new();
    let time = seconds(facts.time).and_then(|time| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time)));
    parts.extend(time.map(utc));
    parts.extend(seconds(facts.uptime).map(|uptime| format!("up {}", days_and_time(uptime))));
    parts.extend(facts.load_averages.map(|[one, five, fifteen]| format!("load {one:.2} {five:.2} {fifteen:.2}")));
    parts.extend(facts.cpus.map(|cpus| counted(cpus, "CPU")));
    if !parts.is_empty() {
        context.out.line(&parts.join(", "))?;
    }
    if let Some(panic) = &facts.panic {
        context.out.line(&format!("panic: {}", lossy(panic).trim_end()))?;
    }
    context.out.line("")
}

fn print_processes(context: &mut Context, processes: &Processes) -> Result<()> {
    let row = |process: &Process| process_row(process).iter().map(|cell| column(cell.as_bytes())).collect();
    let rows: Vec<Vec<String>> = processes.list.iter().map(row).collect();
    context.out.rows(&PROCESS_COLUMNS, &rows)
}

fn print_threads(context: &mut Context, opened: &Opened, processes: &Processes) -> Result<()> {
    let mut unreadable: Option<(usize, Fault)> = None;
    let mut rows = Vec::new();
    for process in &processes.list {
        for thread in &process.threads {
            let registers = processes.registers(opened.kernel.memory(), thread);
            if let Err(fault) = &registers {
                unreadable.get_or_insert((0, *fault)).0 += 1;
            }
            let pc = registers.ok().and_then(|registers| registers.pc());
            rows.push(vec![
                process.pid.to_string(),
                thread.tid.to_string(),
                column(&thread.name),
                thread.cpu.map_or_else(|| "-".to_owned(), |cpu| cpu.to_string()),
                if thread.state == State::Off { "-" } else { thread.state.name() }.to_owned(),
                pc.map_or_else(
                    || "-".to_owned(),
                    |pc| opened.kernel.name_of(pc).unwrap_or_else(|| Hex(pc).to_string()),
                ),
            ]);
        }
    }
    let headings = ["PID", "TID", "NAME", "CPU", "STATE", "PC"];
    if let Some(columns) = context.out.columns() {
        fit(columns, &headings, &mut rows);
    }
    context.out.rows(&headings, &rows)?;
    match unreadable {
        None => {}
        Some((1, fault)) => context.warn(&format!("the registers of a thread cannot be read: {fault}")),
        Some((threads, fault)) => {
            context.warn(&format!("the registers of {threads} threads cannot be read; the first: {fault}"));
        }
    }
    Ok(())
}

/// Shortens the names in the last column so that the table fits a terminal of so many columns; offsets stay as they
/// are.
fn fit(columns: usize, headings: &[&str], rows: &mut [Vec<String>]) {
    let width = |text: &str| text.chars().count();
    let before: usize = (0..headings.len().saturating_sub(1))
        .map(|index| {
            let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| width(cell));
            cells.chain(headings.get(index).map(|heading| width(heading))).max().unwrap_or_default() + GAP
        })
        .sum();
    let room = columns.saturating_sub(before);
    for cell in rows.iter_mut().filter_map(|row| row.last_mut()).filter(|cell| width(cell) > room) {
        let (name, offset) = cell.split_at(cell.rfind('+').unwrap_or(cell.len()));
        let remaining = room.saturating_sub(width(offset) + 3).max(1);
        *cell = name.chars().take(remaining).collect::<String>() + "..." + offset;
    }
}
