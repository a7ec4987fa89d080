//! `memtool ps`: the processes and threads of a kernel.

mod columns;
mod document;
mod threads;

pub use document::{KernelDocument, ProcessDocument, WaitDocument};

use super::kernel::{KernelArguments, Opened, this_system};
use super::output::RECORDED;
use super::{Context, Verdict, pid_or_kernel};
use clap::{ArgAction, Args};
use columns::{Chosen, Columns, Listing};
use memtool::Result;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};
use vmcore::kernel::{Access, KernelFacts, Process, Processes};
use vmcore::kinfo::ProcessTable;
use vmcore::report::{PROCESS_COLUMNS, process_row};
use vmcore::text::{column, first_line};
use vmcore::units::{counted, days_and_time, utc};

#[derive(Args)]
#[command(
    after_help = "Debug information is not required. Exit codes: 0 all processes were listed, 1 a list is damaged, one of -p does not exist, or the kernel cannot be read."
)]
pub struct Arguments {
    #[command(flatten)]
    pub kernel: KernelArguments,
    /// List threads, with their CPU and program counter
    #[arg(short = 'H', long)]
    threads: bool,
    /// Show the long list of ps(1): users, priorities, sizes, terminals
    #[arg(short, long)]
    long: bool,
    /// Show these columns, by the keywords of ps(1), as in 'pid,user,command' or 'pid=ID'
    #[arg(short = 'o', long, value_name = "KEYWORDS", value_parser = Columns::parse)]
    columns: Vec<Columns>,
    /// Show these columns, too, behind the process ID
    #[arg(short = 'O', long, value_name = "KEYWORDS", value_parser = Columns::parse)]
    more_columns: Vec<Columns>,
    /// Show these processes only; commas separate process IDs
    #[arg(short, value_name = "PID", value_delimiter = ',', value_parser = pid_or_kernel)]
    pids: Vec<i32>,
    /// Do not cut lines off at the width of the terminal (--wide)
    #[arg(short, action = ArgAction::Count)]
    w: u8,
    /// No effect, as in 'ps -ax': all processes are listed
    #[arg(short = 'a', action = ArgAction::Count)]
    _others: u8,
    /// No effect, as -a
    #[arg(short = 'x', action = ArgAction::Count)]
    _without_terminal: u8,
}

impl Arguments {
    fn chosen(&self) -> Chosen<'_> {
        Chosen { long: self.long, only: &self.columns, more: &self.more_columns }
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let mut opened = arguments.kernel.open(context, Access::Read)?;
    let facts = opened.kernel.facts()?;
    // Zombies are found by types.
    let has_types = load_types(context, &mut opened, &arguments.chosen())?;
    let mut processes = opened.kernel.processes()?;
    processes.list.sort_by_key(|process| process.pid);
    let mut table = if has_types { Some(ProcessTable::read(opened.kernel.typed()?, &processes)) } else { None };
    // Who holds a lock is known only when all were read.
    let absent = select(&mut processes, table.as_mut(), &arguments.pids);
    if arguments.threads {
        opened.load_names(context);
        if opened.kernel.image().is_some() && has_unnamed(&opened, &processes) {
            // Without the kernel's list of modules, what is in them has addresses instead of names.
            let _ = opened.load_modules(context);
        }
    }
    let table_warnings = table.as_ref().map(|table| table.warnings.as_slice()).unwrap_or_default();
    let warnings = [processes.warnings.as_slice(), table_warnings, &absent].concat();
    // They are why the command fails.
    for warning in &warnings {
        context.warn_always(warning);
    }
    if arguments.w > 0 {
        context.out.widen();
    }
    if context.out.is_json() {
        document::print(context, &opened, &facts, &processes, (table.as_ref(), arguments.threads))?;
    } else {
        if !context.global.quiet && context.out.is_terminal() {
            print_facts(context, &opened, &facts)?;
        }
        print_list(context, &opened, &processes, table.as_ref(), arguments)?;
    }
    Ok(if warnings.is_empty() { Verdict::Done } else { Verdict::Failed })
}

/// Keeps the processes that are asked for, if any are; returns a warning for each that does not exist.
fn select(processes: &mut Processes, table: Option<&mut ProcessTable>, pids: &[i32]) -> Vec<String> {
    if pids.is_empty() {
        return Vec::new();
    }
    let wanted: BTreeSet<i32> = pids.iter().copied().collect();
    if let Some(table) = table {
        let mut list = processes.list.iter();
        table.processes.retain(|_| list.next().is_some_and(|process| wanted.contains(&process.pid)));
        table.missing_arguments.retain(|missing| wanted.contains(&missing.pid));
    }
    processes.list.retain(|process| wanted.contains(&process.pid));
    let found: BTreeSet<i32> = processes.list.iter().map(|process| process.pid).collect();
    wanted.difference(&found).map(|pid| format!("the kernel has no process {pid}")).collect()
}

/// Loads the kernel's types, if it has any; where columns are chosen that takes them, it has to.
fn load_types(context: &mut Context, opened: &mut Opened, chosen: &Chosen<'_>) -> Result<bool> {
    if !chosen.is_any() {
        return Ok(opened.load_own_types_if_any(context));
    }
    opened.load_own_or_all_types(context, this_system()).map(|()| true)
}

/// Prints the columns that are chosen, or the list that is most useful by what is known.
fn print_list(
    context: &mut Context,
    opened: &Opened,
    processes: &Processes,
    table: Option<&ProcessTable>,
    arguments: &Arguments,
) -> Result<()> {
    let chosen = arguments.chosen();
    match table {
        Some(table) if chosen.is_any() || !arguments.threads => {
            let is_of_this_system = opened.kernel.memory().dump().is_none() && opened.kind != RECORDED;
            let listing = Listing { processes, table, is_of_this_system, threads: arguments.threads };
            listing.print(context, &chosen)
        }
        _ if arguments.threads => threads::print(context, opened, processes),
        _ => print_processes(context, processes),
    }
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
