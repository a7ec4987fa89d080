//! `memtool stack`: which functions the threads of a kernel were in.

use super::kernel::{KernelArguments, Opened, RootArguments};
use super::output::column;
use super::{Context, Verdict};
use clap::Args;
use memtool::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use vmcore::debug_info::{DebugInfo, SourceFrame};
use vmcore::kernel::{Access, Process, Processes, State, Thread};
use vmcore::stack::{End, Frame, Stack, Trap, TrapKind, Unwinder};
use vmcore::symbols::Pattern;
use vmcore::text::Name;
use vmcore::units::{Hex, counted};

#[derive(Args)]
#[command(
    after_help = "Without THREAD and without an option that selects threads, the thread that wrote the dump is shown. Debug information is used where it is found, and not required. Exit codes: 0 all stacks are complete, 1 one is not, or no thread was found."
)]
pub struct Arguments {
    /// Show the threads of this process ID, thread ID, command or thread name; a pattern with *, ? and [...]
    #[arg(value_name = "THREAD", conflicts_with_all = ["all", "panicked", "on_cpu"], value_parser = selector)]
    threads: Vec<Selector>,
    #[command(flatten)]
    pub kernel: KernelArguments,
    /// Show the thread that wrote the dump: the one that panicked
    #[arg(long)]
    panicked: bool,
    /// Show the threads that were on a CPU
    #[arg(long)]
    on_cpu: bool,
    /// Show all threads
    #[arg(long, conflicts_with_all = ["panicked", "on_cpu"])]
    all: bool,
    /// Show equal stacks once, with the threads that have them
    #[arg(long)]
    group: bool,
    #[command(flatten)]
    root: RootArguments,
}

/// A thread or process, as it is written.
#[derive(Clone)]
struct Selector {
    text: String,
    by: By,
}

#[derive(Clone)]
enum By {
    Id(i32),
    Name(Pattern),
}

fn selector(text: &str) -> Result<Selector, String> {
    let by = match text.parse::<i32>() {
        Ok(id) => By::Id(id),
        Err(_) => By::Name(text.parse().map_err(|why| format!("not a pattern: {why}"))?),
    };
    Ok(Selector { text: text.to_owned(), by })
}

impl Selector {
    fn selects(&self, process: &Process, thread: &Thread) -> bool {
        let is_named = |pattern: &Pattern, name: &[u8]| pattern.matches(&String::from_utf8_lossy(name));
        match &self.by {
            By::Id(id) => *id == process.pid || *id == thread.tid,
            By::Name(pattern) => is_named(pattern, &process.command) || is_named(pattern, &thread.name),
        }
    }
}

#[derive(Serialize)]
struct Document {
    architecture: &'static str,
    dumping_thread: Option<i32>,
    stacks: Vec<StackDocument>,
}

/// A stack in JSON, and the threads that have it.
#[derive(Serialize)]
struct StackDocument {
    threads: Vec<ThreadDocument>,
    frames: Vec<FrameDocument>,
    complete: bool,
    end_reason: &'static str,
    end_address: Option<Hex>,
    why: String,
}

#[derive(Serialize)]
struct ThreadDocument {
    pid: i32,
    command: Name,
    tid: i32,
    name: Name,
    cpu: Option<u32>,
    state: &'static str,
}

#[derive(Serialize)]
struct FrameDocument {
    pc: Hex,
    frame_pointer: Hex,
    is_return_address: bool,
    function: Option<String>,
    offset: Option<Hex>,
    module: Option<String>,
    source_file: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
    is_inlined: bool,
    repeat_count: u64,
    trap: Option<TrapDocument>,
}

#[derive(Serialize)]
struct TrapDocument {
    kind: TrapKind,
    number: Option<u64>,
    name: Option<&'static str>,
    fault_address: Option<Hex>,
    from_user: bool,
    address: Hex,
    registers: BTreeMap<&'static str, Hex>,
}

/// A thread with its process.
type Owned<'a> = (&'a Process, &'a Thread);

/// A stack, and the threads that have it.
struct Group<'a> {
    threads: Vec<Owned<'a>>,
    stack: Stack,
}

/// What a line of a stack is: a frame, or a function that is inlined in the next one.
struct Call<'a> {
    frame: &'a Frame,
    function: Option<String>,
    /// How far in the function; none in an inlined one.
    offset: Option<u64>,
    module: Option<&'a str>,
    source: Option<SourceFrame>,
    is_inlined: bool,
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let mut opened = arguments.kernel.open(context, Access::Read)?;
    let mut processes = opened.kernel.processes()?;
    processes.list.sort_by_key(|process| process.pid);
    for warning in &processes.warnings {
        context.warn_always(warning);
    }
    let threads = arguments.select(&processes)?;
    let mut information = DebugInfo::new(arguments.root.search()?);
    arguments.root.apply(&mut opened.kernel);
    opened.load_names(context);
    let mut stacks = follow(&opened, &processes, &threads);
    if opened.kernel.image().is_some() && stacks.iter().any(|stack| may_lack_modules(&opened, stack)) {
        // Without the kernel's list of modules, functions in them have addresses instead of names.
        let _ = opened.load_modules(context);
        stacks = follow(&opened, &processes, &threads);
    }
    let stacks = threads.into_iter().zip(stacks).map(|(thread, stack)| Group { threads: vec![thread], stack });
    let groups = if arguments.group { group(stacks) } else { stacks.collect() };
    // A thread that runs has no stack that could be incomplete.
    let is_fine = |group: &Group<'_>| group.stack.end.is_whole() || group.stack.end == End::NoRegisters;
    let complete = groups.iter().all(is_fine) && processes.warnings.is_empty();
    let calls: Vec<_> = groups.iter().map(|group| calls(&opened, &mut information, &group.stack)).collect();
    information.take_warnings().iter().for_each(|warning| context.warn(warning));
    let shown = groups.iter().zip(&calls);
    if context.out.is_json() {
        let architecture = opened.kernel.memory().architecture().name();
        let stacks = shown.map(|(group, calls)| document(group, calls)).collect();
        let document = Document { architecture, dumping_thread: processes.dumping, stacks };
        context.out.document_of("memtool.stack", opened.kind, &document)?;
    } else {
        for (index, (group, calls)) in shown.enumerate() {
            if index > 0 {
                context.out.line("")?;
            }
            print(context, &opened, group, calls)?;
        }
    }
    Ok(if complete { Verdict::Done } else { Verdict::Failed })
}

fn follow(opened: &Opened, processes: &Processes, threads: &[Owned<'_>]) -> Vec<Stack> {
    let mut unwinder = Unwinder::new(&opened.kernel);
    threads.iter().map(|(_, thread)| unwinder.thread(processes, thread)).collect()
}

/// Whether a function in a stack, or the caller where it ends, has no name: it may be in a module.
fn may_lack_modules(opened: &Opened, stack: &Stack) -> bool {
    matches!(stack.end, End::NotCode(_)) || stack.frames.iter().any(|frame| function(opened, frame).is_none())
}

impl Arguments {
    /// The threads that were asked for, the one that wrote the dump first.
    fn select<'a>(&self, processes: &'a Processes) -> Result<Vec<Owned<'a>>> {
        let is_default = self.threads.is_empty() && !self.all && !self.on_cpu;
        if (is_default || self.panicked) && processes.dumping.is_none() {
            let why = "no thread of the kernel has written a dump";
            return Err(Error::Refused(format!("{why}: name threads or processes, or give --on-cpu or --all")));
        }
        for selector in &self.threads {
            if !processes.threads().any(|(process, thread)| selector.selects(process, thread)) {
                return Err(Error::Refused(format!("there is no process or thread '{}'", selector.text)));
            }
        }
        let is_selected = |process: &Process, thread: &Thread| {
            let is_dumping = (is_default || self.panicked) && thread.state == State::Dumping;
            let is_on_cpu = self.on_cpu && thread.state != State::Off;
            let is_named = self.threads.iter().any(|selector| selector.selects(process, thread));
            self.all || is_dumping || is_on_cpu || is_named
        };
        Ok(processes.threads().filter(|(process, thread)| is_selected(process, thread)).collect())
    }
}

/// What equal stacks have in common: where their frames are, and why they end.
type Course = (Vec<(u64, u64)>, &'static str);

/// Puts equal stacks together, those of the most threads first.
fn group<'a>(stacks: impl Iterator<Item = Group<'a>>) -> Vec<Group<'a>> {
    let mut places: BTreeMap<Course, usize> = BTreeMap::new();
    let mut groups: Vec<Group<'a>> = Vec::new();
    for found in stacks {
        let course = found.stack.frames.iter().map(|frame| (frame.pc, frame.repeats)).collect();
        let place = *places.entry((course, found.stack.end.name())).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(known) => known.threads.extend(found.threads),
            None => groups.push(found),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.threads.len()));
    groups
}

/// The function that a frame is in: its name, how far in it, and the file of the kernel or module that it is from.
fn function<'a>(opened: &'a Opened, frame: &Frame) -> Option<(&'a str, u64, &'a str)> {
    let address = frame.code_address(opened.kernel.memory().architecture());
    let found = opened.kernel.code_at(address)?;
    Some((found.entry.name, found.offset.saturating_add(frame.pc - address), found.module))
}

/// The lines of a stack: its frames, and before each the functions that are inlined there, from the innermost one.
fn calls<'a>(opened: &'a Opened, information: &mut DebugInfo, stack: &'a Stack) -> Vec<Call<'a>> {
    let mut calls = Vec::new();
    for frame in &stack.frames {
        let function = function(opened, frame);
        let module = function.map(|(.., module)| module);
        let own = |source| Call {
            frame,
            function: function.map(|(name, ..)| name.to_owned()),
            offset: function.map(|(_, offset, _)| offset),
            module,
            source,
            is_inlined: false,
        };
        let address = frame.code_address(opened.kernel.memory().architecture());
        let symbols = opened.kernel.names().address_files().filter(|_| function.is_some());
        let sources = symbols.map(|symbols| information.lookup(symbols, address));
        let Some((source, inlined)) = sources.as_deref().and_then(<[SourceFrame]>::split_last) else {
            calls.push(own(None));
            continue;
        };
        for source in inlined {
            let (function, source) = (source.function.clone(), Some(source.clone()));
            calls.push(Call { frame, function, offset: None, module, source, is_inlined: true });
        }
        calls.push(own(Some(source.clone())));
    }
    calls
}

fn document(group: &Group<'_>, calls: &[Call<'_>]) -> StackDocument {
    let frame = |call: &Call<'_>| {
        let Call { frame, function, source, is_inlined, .. } = call;
        FrameDocument {
            pc: Hex(frame.pc),
            frame_pointer: Hex(frame.fp),
            is_return_address: frame.is_return,
            function: function.clone(),
            offset: call.offset.map(Hex),
            module: call.module.map(str::to_owned),
            source_file: source.as_ref().and_then(|source| source.file.clone()),
            line: source.as_ref().and_then(|source| source.line),
            column: source.as_ref().and_then(|source| source.column),
            is_inlined: *is_inlined,
            repeat_count: if *is_inlined { 0 } else { frame.repeats },
            trap: frame.trap.as_deref().filter(|_| !is_inlined).map(trap_document),
        }
    };
    let thread = |(process, thread): &Owned<'_>| ThreadDocument {
        pid: process.pid,
        command: process.command.as_slice().into(),
        tid: thread.tid,
        name: thread.name.as_slice().into(),
        cpu: thread.cpu,
        state: thread.state.name(),
    };
    let end = group.stack.end;
    StackDocument {
        threads: group.threads.iter().map(thread).collect(),
        frames: calls.iter().map(frame).collect(),
        complete: end.is_whole(),
        end_reason: end.name(),
        end_address: end.address().map(Hex),
        why: end.to_string(),
    }
}

fn trap_document(trap: &Trap) -> TrapDocument {
    TrapDocument {
        kind: trap.kind,
        number: trap.number,
        name: trap.name,
        fault_address: trap.fault_address.map(Hex),
        from_user: trap.from_user,
        address: Hex(trap.address),
        registers: trap.registers.iter().filter_map(|(name, value)| Some((name, Hex(value?)))).collect(),
    }
}

fn print(context: &mut Context, opened: &Opened, group: &Group<'_>, calls: &[Call<'_>]) -> Result<()> {
    if let [(process, thread)] = group.threads.as_slice() {
        context.out.line(&heading(process, thread))?;
    } else {
        context.out.line(&format!("{}:", counted(group.threads.len() as u64, "thread")))?;
        for (process, thread) in &group.threads {
            context.out.line(&format!("  {}", heading(process, thread)))?;
        }
    }
    for (index, call) in calls.iter().enumerate() {
        print_call(context, opened, index, call)?;
        if call.is_inlined {
            continue;
        }
        if call.frame.repeats > 0 {
            context.out.line(&format!("     repeated {}", counted(call.frame.repeats, "more time")))?;
        }
        if let Some(trap) = &call.frame.trap {
            print_trap(context, trap, group.threads.len() == 1)?;
        }
    }
    let end = group.stack.end;
    match end {
        // The trap says so.
        End::UserMode => Ok(()),
        End::Beginning | End::NoRegisters => context.out.line(&format!("     {end}")),
        _ => context.out.line(&format!("     incomplete: {end}")),
    }
}

/// `#3   0xffffffff80526567 vpanic+0x167 at /usr/src/sys/kern/kern_shutdown.c:974`.
fn print_call(context: &mut Context, opened: &Opened, index: usize, call: &Call<'_>) -> Result<()> {
    let mut text = format!("#{index:<3} {} {}", Hex(call.frame.pc), call.function.as_deref().unwrap_or("?"));
    if let Some(offset) = call.offset {
        text.push_str(&format!("+{offset:#x}"));
    }
    if let Some(module) = call.module.filter(|module| !opened.kernel.is_own_file(module)) {
        text.push_str(&format!(" ({module})"));
    }
    if call.is_inlined {
        text.push_str(" (inlined)");
    }
    match call.source.as_ref().and_then(|source| Some((source.file.as_deref()?, source.line))) {
        Some((file, line)) => {
            let line = line.map(|line| format!(":{line}")).unwrap_or_default();
            context.out.line_at(&text, "     ", file, &line)
        }
        None => context.out.line(&text),
    }
}

/// `PID 812, TID 100092, sh, on CPU 1, stopped`.
fn heading(process: &Process, thread: &Thread) -> String {
    let mut text = format!("PID {}, TID {}, {}", process.pid, thread.tid, column(&process.command));
    if thread.name != process.command {
        text.push_str(&format!("/{}", column(&thread.name)));
    }
    if let Some(cpu) = thread.cpu {
        text.push_str(&format!(", CPU {cpu}"));
    }
    if thread.state != State::Off {
        text.push_str(&format!(", {}", thread.state.name()));
    }
    text
}

/// `exception 0xc: page fault at address 0x10`, and the registers of what was interrupted.
fn print_trap(context: &mut Context, trap: &Trap, is_of_one: bool) -> Result<()> {
    let what = match (trap.kind, trap.name, trap.number) {
        (TrapKind::Exception, Some(name), Some(number)) => format!("exception {number:#x}: {name}"),
        (kind, Some(name), _) => format!("{}: {name}", kind.name()),
        (kind, None, Some(number)) => format!("{} {number}", kind.name()),
        (kind, None, None) => kind.name().to_owned(),
    };
    let at = trap.fault_address.map(|address| format!(" at address {}", Hex(address))).unwrap_or_default();
    let from = if trap.from_user { " from user mode" } else { "" };
    context.out.line(&format!("     --- {what}{at}{from}"))?;
    // Threads whose stacks are equal came from different places in user mode.
    if trap.from_user && !is_of_one {
        return Ok(());
    }
    let register = |name: &str, value: Option<u64>| value.map(|value| format!("{name} {}", Hex(value)));
    let registers = &trap.registers;
    let shown = [register("pc", registers.pc()), register("sp", registers.sp()), register("fp", registers.fp())];
    let shown: Vec<String> = shown.into_iter().flatten().collect();
    context.out.line(&format!("     --- {}", shown.join(", ")))
}
