//! The stacks of threads, one by one or those that are equal together.

use super::{CallFrames, End, Frame, Stack, Unwinder};
use crate::kernel::{Kernel, Process, Processes, State, Thread};
use crate::kinfo::{Wait, WaitReader};
use crate::symbols::{KernelSymbols, SourceFrame, SourceLookup};
use std::collections::BTreeMap;

/// A thread, as a person knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackThread {
    /// Its process.
    pub pid: i32,
    /// The name of the process's program, as it is.
    pub command: Vec<u8>,
    /// Its thread ID.
    pub tid: i32,
    /// Its name, as it is.
    pub name: Vec<u8>,
    /// The CPU that it is on.
    pub cpu: Option<u32>,
    /// What it was doing.
    pub state: State,
    /// What it waits for, if the kernel's types are loaded.
    pub wait: Option<Wait>,
}

/// A stack, and the threads that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadStack {
    /// At least one.
    pub threads: Vec<StackThread>,
    /// The stack.
    pub stack: Stack,
}

/// A function of a stack: that of a frame, or one that is inlined in the function of the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The index of the frame.
    pub frame: usize,
    /// The function's name.
    pub function: Option<String>,
    /// How far in the function; none in an inlined one.
    pub offset: Option<u64>,
    /// The file of the kernel or module that it is from.
    pub file: Option<String>,
    /// Whether that file is a module's.
    pub is_in_module: bool,
    /// Where in the source.
    pub source: Option<SourceFrame>,
    /// Whether it is inlined in the next one.
    pub is_inlined: bool,
}

impl StackThread {
    /// A thread of a process.
    pub fn new(process: &Process, thread: &Thread) -> Self {
        Self {
            pid: process.pid,
            command: process.command.clone(),
            tid: thread.tid,
            name: thread.name.clone(),
            cpu: thread.cpu,
            state: thread.state,
            wait: None,
        }
    }
}

impl ThreadStack {
    /// Follows the stack of each thread. Where the name of a function lacks and the kernel's symbols are from its image,
    /// the modules that it had loaded are opened, too; why one cannot be is among the kernel's warnings.
    pub fn follow(
        kernel: &mut Kernel,
        call_frames: &mut dyn CallFrames,
        processes: &Processes,
        threads: &[(&Process, &Thread)],
    ) -> Vec<Self> {
        let mut stacks = follow(kernel, call_frames, processes, threads.iter().copied());
        let lack: Vec<bool> = stacks.iter().map(|found| may_lack_modules(kernel, &found.stack)).collect();
        if kernel.image().is_some() && lack.contains(&true) {
            // Without the kernel's list of modules, functions in them have addresses instead of names.
            let _ = kernel.load_modules();
            let lacking = threads.iter().zip(&lack).filter(|(_, lack)| **lack).map(|(thread, _)| *thread);
            let again = follow(kernel, call_frames, processes, lacking);
            let places = stacks.iter_mut().zip(&lack).filter(|(_, lack)| **lack).map(|(stack, _)| stack);
            places.zip(again).for_each(|(place, stack)| *place = stack);
        }
        if let Ok(typed) = kernel.typed() {
            let mut waits = WaitReader::new(typed, processes);
            for (found, (_, thread)) in stacks.iter_mut().zip(threads) {
                found.threads.iter_mut().for_each(|found| found.wait = waits.read(thread));
            }
        }
        stacks
    }

    /// Puts equal stacks together, those of the most threads first.
    pub fn group(stacks: Vec<Self>) -> Vec<Self> {
        let mut places: BTreeMap<Course, usize> = BTreeMap::new();
        let mut groups: Vec<Self> = Vec::new();
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

    /// Whether it is complete, or that of a thread that runs, which has none that could be incomplete.
    pub fn is_fine(&self) -> bool {
        self.stack.end.is_whole() || self.stack.end == End::NoRegisters
    }

    /// The functions of the stack: those of its frames, and before each those that are inlined there, from the innermost one.
    pub fn calls(&self, kernel: &Kernel, sources: &mut dyn SourceLookup) -> Vec<Call> {
        let symbols = kernel.names().address_files();
        let frames = self.stack.frames.iter().enumerate();
        frames.flat_map(|(index, frame)| calls_at(kernel, symbols, sources, index, frame)).collect()
    }
}

/// What equal stacks have in common: where their frames are, and why they end.
type Course = (Vec<(u64, u64)>, &'static str);

fn follow<'a>(
    kernel: &Kernel,
    call_frames: &mut dyn CallFrames,
    processes: &Processes,
    threads: impl Iterator<Item = (&'a Process, &'a Thread)>,
) -> Vec<ThreadStack> {
    let mut unwinder = Unwinder::new(kernel).with_call_frames(call_frames);
    let follow = |(process, thread)| ThreadStack {
        threads: vec![StackThread::new(process, thread)],
        stack: unwinder.thread(processes, thread),
    };
    threads.map(follow).collect()
}

/// Whether a function in a stack, or the caller where it ends, has no name: it may be in a module.
fn may_lack_modules(kernel: &Kernel, stack: &Stack) -> bool {
    matches!(stack.end, End::NotCode(_)) || stack.frames.iter().any(|frame| function(kernel, frame).is_none())
}

/// The function that a frame is in: its name, how far in it, and the file of the kernel or module that it is from.
fn function<'a>(kernel: &'a Kernel, frame: &Frame) -> Option<(&'a str, u64, &'a str)> {
    let address = frame.code_address(kernel.memory().architecture());
    let found = kernel.code_at(address)?;
    Some((found.entry.name, found.offset.saturating_add(frame.pc - address), found.module))
}

fn calls_at(
    kernel: &Kernel,
    symbols: Option<&KernelSymbols>,
    sources: &mut dyn SourceLookup,
    index: usize,
    frame: &Frame,
) -> Vec<Call> {
    let function = function(kernel, frame);
    let own = Call {
        frame: index,
        function: function.map(|(name, ..)| name.to_owned()),
        offset: function.map(|(_, offset, _)| offset),
        file: function.map(|(.., file)| file.to_owned()),
        is_in_module: function.is_some_and(|(.., file)| !kernel.is_own_file(file)),
        source: None,
        is_inlined: false,
    };
    let address = frame.code_address(kernel.memory().architecture());
    let found = symbols.filter(|_| function.is_some()).map(|symbols| sources.lookup(symbols, address));
    let Some((source, inlined)) = found.as_deref().and_then(<[SourceFrame]>::split_last) else { return vec![own] };
    let inlined = inlined.iter().map(|source| Call {
        function: source.function.clone(),
        offset: None,
        source: Some(source.clone()),
        is_inlined: true,
        ..own.clone()
    });
    let mut calls: Vec<Call> = inlined.collect();
    calls.push(Call { source: Some(source.clone()), ..own });
    calls
}
