//! `memtool stack`: which functions the threads of a kernel were in.

use super::kernel::{KernelArguments, RootArguments};
use super::ps::WaitDocument;
use super::{Context, Verdict};
use clap::Args;
use memtool::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use vmcore::debug_info::DebugInfo;
use vmcore::kernel::{Access, Process, Processes, State, Thread};
use vmcore::report::stacks::describe;
use vmcore::report::text::{INDENT, TextLine, stack_lines};
use vmcore::stack::{Call, FoundBy, Frame, StackThread, ThreadStack, Trap, TrapKind};
use vmcore::symbols::Pattern;
use vmcore::text::Name;
use vmcore::units::Hex;

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
            By::Name(pattern) => {
                let both = [&*process.command, b"/", &*thread.name].concat();
                [&*process.command, &*thread.name, &*both].iter().any(|name| is_named(pattern, name))
            }
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
pub struct StackDocument {
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
    wait_message: Option<Name>,
    waits_for: Option<WaitDocument>,
}

#[derive(Serialize)]
struct FrameDocument {
    pc: Hex,
    frame_pointer: Hex,
    is_return_address: bool,
    found_by: FoundBy,
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

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    let mut opened = arguments.kernel.open(context, Access::Read)?;
    // They tell what threads wait for.
    opened.load_own_types_if_any(context);
    let mut processes = opened.kernel.processes()?;
    processes.list.sort_by_key(|process| process.pid);
    for warning in &processes.warnings {
        context.warn_always(warning);
    }
    let threads = arguments.select(&processes)?;
    let mut information = DebugInfo::new(arguments.root.search()?);
    arguments.root.apply(&mut opened.kernel);
    opened.load_names(context);
    let stacks = ThreadStack::follow(&mut opened.kernel, &mut information, &processes, &threads);
    opened.warn(context);
    let stacks = if arguments.group { ThreadStack::group(stacks) } else { stacks };
    let complete = stacks.iter().all(ThreadStack::is_fine) && processes.warnings.is_empty();
    let calls: Vec<_> = stacks.iter().map(|stack| stack.calls(&opened.kernel, &mut information)).collect();
    information.take_warnings().iter().for_each(|warning| context.warn(warning));
    let shown = stacks.iter().zip(&calls);
    if context.out.is_json() {
        let architecture = opened.kernel.memory().architecture().name();
        let stacks = shown.map(|(stack, calls)| StackDocument::new(stack, calls)).collect();
        let document = Document { architecture, dumping_thread: processes.dumping, stacks };
        context.out.document_of("memtool.stack", opened.kind, &document)?;
    } else {
        for (index, (stack, calls)) in shown.enumerate() {
            if index > 0 {
                context.out.line("")?;
            }
            print(context, stack, calls)?;
        }
    }
    Ok(if complete { Verdict::Done } else { Verdict::Failed })
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

impl StackDocument {
    /// A stack with its functions.
    pub fn new(found: &ThreadStack, calls: &[Call]) -> Self {
        let end = found.stack.end;
        let frame = |call: &Call| Some(frame_document(found.stack.frames.get(call.frame)?, call));
        Self {
            threads: found.threads.iter().map(thread_document).collect(),
            frames: calls.iter().filter_map(frame).collect(),
            complete: end.is_whole(),
            end_reason: end.name(),
            end_address: end.address().map(Hex),
            why: end.to_string(),
        }
    }
}

fn thread_document(thread: &StackThread) -> ThreadDocument {
    ThreadDocument {
        pid: thread.pid,
        command: thread.command.as_slice().into(),
        tid: thread.tid,
        name: thread.name.as_slice().into(),
        cpu: thread.cpu,
        state: thread.state.name(),
        wait_message: thread.wait.as_ref().and_then(|wait| wait.message.clone()),
        waits_for: thread.wait.as_ref().and_then(|wait| wait.lock.as_ref()).map(WaitDocument::new),
    }
}

fn frame_document(frame: &Frame, call: &Call) -> FrameDocument {
    let Call { function, offset, file, source, is_inlined, .. } = call;
    FrameDocument {
        pc: Hex(frame.pc),
        frame_pointer: Hex(frame.fp),
        is_return_address: frame.is_return,
        found_by: frame.found_by,
        function: function.clone(),
        offset: offset.map(Hex),
        module: file.clone(),
        source_file: source.as_ref().and_then(|source| source.file.clone()),
        line: source.as_ref().and_then(|source| source.line),
        column: source.as_ref().and_then(|source| source.column),
        is_inlined: *is_inlined,
        repeat_count: if *is_inlined { 0 } else { frame.repeats },
        trap: frame.trap.as_deref().filter(|_| !is_inlined).map(trap_document),
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

fn print(context: &mut Context, stack: &ThreadStack, calls: &[Call]) -> Result<()> {
    for TextLine { text, source } in stack_lines(&describe(stack, calls)) {
        match source {
            Some(source) => context.out.line_at(&text, INDENT, &source)?,
            None => context.out.line(&text)?,
        }
    }
    Ok(())
}
