//! Follows stacks.

use super::entry::{self, BEGINNING};
use super::prologue::{self, Place};
use super::reader::StackReader;
use super::trap::{Layout, Trap, TrapKind};
use super::{End, Frame, Stack};
use crate::architecture::Architecture;
use crate::bounds::saturating_usize;
use crate::fault::Why;
use crate::kernel::{Kernel, Processes, Registers, Thread};

/// More frames than a stack has room for, which recursion has filled.
const MAX_FRAMES: u64 = 4096;
/// A caller's frame is not farther away: no kernel's stack is as large (`KSTACK_PAGES`, `machine/param.h`).
const MAX_DISTANCE: u64 = 1 << 20;
/// Bytes of a function's code that are looked at, at most.
const MAX_CODE: u64 = 1 << 16;
/// Bytes of the instruction that is next.
const NEXT: usize = 8;
/// How far above the entry's frame an interrupted arm64 kernel's stack pointer can be: `save_registers_head` leaves
/// 128 bytes between.
const ARM64_GAP: u64 = 1024;

/// The bit of an arm64 address that says whether it is one of the kernel.
const ARM64_KERNEL: u64 = 1 << 55;

/// Follows the stacks of a kernel's threads.
///
/// ```no_run
/// use std::path::Path;
/// use vmcore::Kernel;
/// use vmcore::stack::Unwinder;
///
/// # fn main() -> vmcore::Result<()> {
/// let kernel = Kernel::open(Path::new("vmcore.0"), Some(Path::new("/boot/kernel/kernel")))?;
/// let processes = kernel.processes()?;
/// let mut unwinder = Unwinder::new(&kernel);
/// for (process, thread) in processes.threads() {
///     let stack = unwinder.thread(&processes, thread);
///     println!("{} {}: {}", process.pid, thread.tid, stack.end);
///     for frame in &stack.frames {
///         let address = frame.code_address(kernel.memory().architecture());
///         println!("  {:#x} {:?}", frame.pc, kernel.name_of(address));
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Unwinder<'a> {
    kernel: &'a Kernel,
    architecture: Architecture,
    /// How its trap frames can be laid out.
    layouts: &'static [Layout],
    words: StackReader<'a>,
}

/// What a function is to a stack.
#[derive(Clone, Copy)]
enum Role {
    /// A thread begins in it.
    Beginning,
    /// It is an entry of the kernel, which this led to.
    Entry(TrapKind),
    /// None of them.
    Function,
}

/// A place in a stack: a function, and what leads to its caller.
struct Cursor {
    role: Role,
    pc: u64,
    /// Whether [`Self::pc`] is where a call returns to.
    is_return: bool,
    /// The frame pointer; on powerpc64 the stack pointer.
    fp: u64,
    /// The frame pointer of the function that this one called; `None` where it has called none, or one whose frame is not
    /// known.
    callee: Option<u64>,
    /// Of a function that called none: its registers.
    registers: Option<Registers>,
}

/// The caller of a function without a frame.
struct Caller {
    pc: u64,
    fp: u64,
    /// What the frame pointer of the function would be, where that is known.
    callee: Option<u64>,
}

/// Whether a caller's frame pointer can be that: it is above that of the function, and not far away.
fn is_above(caller: u64, fp: u64) -> bool {
    caller.checked_sub(fp).is_some_and(|distance| (1..=MAX_DISTANCE).contains(&distance))
}

impl<'a> Unwinder<'a> {
    /// Follows stacks of this kernel. The names of its functions tell where it was entered: without them a stack ends
    /// there, or goes on wrongly.
    pub fn new(kernel: &'a Kernel) -> Self {
        let memory = kernel.memory();
        let architecture = memory.architecture();
        let variable = kernel.symbols().ok().and_then(|symbols| symbols.find("osreldate").ok().flatten());
        let release = variable.and_then(|variable| memory.u32(variable.address).ok());
        let layouts = Layout::of(architecture, release);
        Self { kernel, architecture, layouts, words: StackReader::new(memory) }
    }

    /// The stack of a thread.
    pub fn thread(&mut self, processes: &Processes, thread: &Thread) -> Stack {
        match processes.registers(self.kernel.memory(), thread) {
            Ok(registers) => self.registers(&registers),
            Err(fault) => Stack { frames: Vec::new(), end: End::Unreadable(fault) },
        }
    }

    /// The stack that registers lead to.
    pub fn registers(&mut self, registers: &Registers) -> Stack {
        let mut frames: Vec<Frame> = Vec::new();
        if self.layouts.is_empty() {
            return Stack { frames, end: End::Unsupported };
        }
        let Some(mut cursor) = self.interrupted(registers.clone()) else {
            return Stack { frames, end: End::NoRegisters };
        };
        for _ in 0..MAX_FRAMES {
            let Cursor { pc, is_return, fp, .. } = cursor;
            let mut frame = Frame { pc, is_return, fp, repeats: 0, trap: None };
            let next = self.step(cursor, &mut frame);
            match frames.last_mut() {
                Some(last)
                    if last.trap.is_none() && frame.trap.is_none() && (last.pc, last.is_return) == (pc, is_return) =>
                {
                    last.repeats += 1;
                }
                _ => frames.push(frame),
            }
            match next {
                Ok(caller) => cursor = caller,
                Err(end) => return Stack { frames, end },
            }
        }
        Stack { frames, end: End::TooMany }
    }

    /// Where code was interrupted, or gave up the processor.
    fn interrupted(&self, registers: Registers) -> Option<Cursor> {
        let pc = self.architecture.plain_address(registers.pc()?);
        let fp = match self.architecture {
            Architecture::Powerpc64 => registers.sp()?,
            _ => registers.fp()?,
        };
        Some(Cursor { role: self.role(pc, false), pc, is_return: false, fp, callee: None, registers: Some(registers) })
    }

    /// The function at an address, and how far behind its beginning that is.
    fn name_at(&self, address: u64) -> Option<(&'a str, u64)> {
        self.kernel.code_at(address).map(|found| (found.entry.name, found.offset))
    }

    /// The caller of a function, or why there is none.
    fn step(&mut self, cursor: Cursor, frame: &mut Frame) -> Result<Cursor, End> {
        match cursor.role {
            Role::Beginning => return Err(End::Beginning),
            Role::Entry(kind) => return self.cross(&cursor, kind, frame),
            Role::Function => {}
        }
        let Some(registers) = &cursor.registers else { return self.caller(&cursor) };
        match self.frameless(&cursor, registers)? {
            None => self.caller(&cursor),
            Some(Caller { pc, fp, callee }) if self.kernel.is_code(pc) => {
                let pc = self.architecture.plain_address(pc);
                Ok(Cursor { role: self.role(pc, true), pc, is_return: true, fp, callee, registers: None })
            }
            Some(Caller { pc, .. }) => Err(End::NotCode(pc)),
        }
    }

    /// What the function at an address is, to which a call returns or which was interrupted there.
    fn role(&self, pc: u64, is_return: bool) -> Role {
        let function = self.name_at(self.architecture.code_address(pc, is_return));
        if function.is_some_and(|(name, _)| name == BEGINNING) {
            return Role::Beginning;
        }
        // powerpc64's labels stand behind the call and the instruction that is left empty after it.
        let is_labelled = is_return && self.architecture == Architecture::Powerpc64;
        let label = pc.checked_add(4).filter(|_| is_labelled).and_then(|at| self.name_at(at));
        let entry = label.filter(|(_, offset)| *offset == 0).or(function);
        entry.and_then(|(name, _)| entry::kind(self.architecture, name)).map_or(Role::Function, Role::Entry)
    }

    /// Crosses a trap frame.
    fn cross(&mut self, cursor: &Cursor, kind: TrapKind, frame: &mut Frame) -> Result<Cursor, End> {
        if !cursor.is_return {
            // In the entry's own code the registers are not the kernel's yet, or not any more, unless it is an entry for
            // what interrupts the kernel: then they are still those of what was interrupted.
            let is_from_kernel = self.name_at(frame.pc).is_some_and(|(name, _)| entry::is_from_kernel(name));
            return if is_from_kernel { self.caller(cursor).map_err(|_| End::EntryCode) } else { Err(End::EntryCode) };
        }
        let trap = self.trap(cursor, kind)?;
        let (from_user, registers) = (trap.from_user, trap.registers.clone());
        frame.trap = Some(Box::new(trap));
        if from_user {
            return Err(End::UserMode);
        }
        self.interrupted(registers).ok_or(End::NoRegisters)
    }

    /// The trap frame of an entry.
    fn trap(&self, cursor: &Cursor, kind: TrapKind) -> Result<Trap, End> {
        if cursor.callee.is_none() && matches!(self.architecture, Architecture::Amd64 | Architecture::Riscv) {
            return Err(End::EntryCode);
        }
        let is_i386 = self.architecture == Architecture::I386;
        let argument = cursor.callee.filter(|_| is_i386).and_then(|callee| self.argument(callee));
        if is_i386 && argument.is_none() && cursor.fp == 0 {
            return Err(End::Beginning);
        }
        let place = |layout: &Layout| match self.architecture {
            Architecture::Amd64 => cursor.callee?.checked_add(16),
            Architecture::Arm64 => cursor.fp.checked_sub(layout.size as u64),
            Architecture::Riscv => cursor.callee,
            Architecture::Powerpc64 => cursor.fp.checked_add(48),
            Architecture::I386 => argument.or(Some(cursor.fp)),
            Architecture::Arm => None,
        };
        let mut wrong = End::TrapFrame(cursor.fp);
        for layout in self.layouts {
            let Some(at) = place(layout) else { continue };
            let mut bytes = vec![0; layout.size];
            if let Err(fault) = self.kernel.memory().read(at, &mut bytes) {
                wrong = End::Unreadable(fault);
                continue;
            }
            let trap = layout.decode(&bytes, self.kernel.memory().order(), at, kind);
            if self.is_plausible(&trap, cursor) {
                return Ok(trap);
            }
            wrong = End::TrapFrame(at);
        }
        Err(wrong)
    }

    /// i386: the trap frame that an entry handed to the function that it called: its address is an argument, and stands
    /// immediately below it. The entry's `ebp` is that of what it interrupted or, in kernels that run most of their entries
    /// in a copy, leads to a stack that is not in dumps.
    fn argument(&self, callee: u64) -> Option<u64> {
        // Above the frame pointer and the return address; handlers of interrupts have the interrupt before it.
        let places = [8, 12, 16].into_iter().filter_map(|offset| callee.checked_add(offset));
        let mut frames = places.filter_map(|at| Some((at, self.kernel.memory().pointer(at).ok()?)));
        frames.find(|(at, frame)| at.checked_add(4) == Some(*frame)).map(|(_, frame)| frame)
    }

    /// Whether a trap frame can be one: arm64's kernels have two kinds, which do not say which they are.
    fn is_plausible(&self, trap: &Trap, cursor: &Cursor) -> bool {
        let is_of_user = |address: u64| address & ARM64_KERNEL == 0;
        match (self.architecture, trap.registers.sp(), trap.registers.pc()) {
            (Architecture::Arm64, Some(sp), Some(pc)) if trap.from_user => is_of_user(sp) && is_of_user(pc),
            (Architecture::Arm64, Some(sp), _) => (cursor.fp..=cursor.fp.saturating_add(ARM64_GAP)).contains(&sp),
            _ => true,
        }
    }

    /// The caller of a function that was interrupted where it has no frame, or not all of it; `None` where it has one.
    fn frameless(&mut self, cursor: &Cursor, registers: &Registers) -> Result<Option<Caller>, End> {
        let (pc, fp) = (cursor.pc, cursor.fp);
        let unknown = || End::NotCode(pc);
        let link = || registers.link().ok_or_else(unknown);
        Ok(Some(match self.place(pc) {
            Place::Frame => return Ok(None),
            Place::Link => Caller { pc: link()?, fp, callee: None },
            Place::LinkAndFrame => {
                let next = self.read(fp, End::FramePointer(fp))?;
                if !is_above(next, fp) {
                    return Err(End::FramePointer(next));
                }
                Caller { pc: link()?, fp: next, callee: Some(fp) }
            }
            Place::Stack(offset) => {
                let at = registers.sp().and_then(|sp| sp.checked_add(offset)).ok_or_else(unknown)?;
                let pc = self.words.word(at).map_err(End::Unreadable)?;
                Caller { pc, fp, callee: at.checked_sub(self.kernel.memory().word_size() as u64) }
            }
        }))
    }

    /// Where the caller of a function that was interrupted is found.
    fn place(&self, pc: u64) -> Place {
        let memory = self.kernel.memory();
        match self.kernel.code_at(pc) {
            Some(found) => {
                let length = found.offset.min(MAX_CODE);
                let mut before = vec![0; saturating_usize(length)];
                let mut next = [0; NEXT];
                let is_read = memory.read(pc - length, &mut before).is_ok() && memory.read(pc, &mut next).is_ok();
                if is_read { prologue::caller(self.architecture, memory.order(), &before, &next) } else { Place::Frame }
            }
            None if self.kernel.is_code(pc) => Place::Frame,
            // A jump to where there is no code, by a call.
            None => match self.architecture {
                Architecture::Amd64 | Architecture::I386 => Place::Stack(0),
                _ => Place::Link,
            },
        }
    }

    /// The caller of a function that has a frame.
    fn caller(&mut self, cursor: &Cursor) -> Result<Cursor, End> {
        let fp = cursor.fp;
        if fp == 0 {
            return Err(End::Beginning);
        }
        let word = self.kernel.memory().word_size() as u64;
        let wrong = End::FramePointer(fp);
        let at = |address: Option<u64>| address.ok_or(wrong);
        let (next, back) = match self.architecture {
            Architecture::Riscv => (at(fp.checked_sub(2 * word))?, at(fp.checked_sub(word))?),
            _ => (fp, at(fp.checked_add(word))?),
        };
        let caller = self.read(next, wrong)?;
        // In powerpc64's frames the address is in the caller's.
        let back = match self.architecture {
            Architecture::Powerpc64 if caller == 0 => return Err(End::Beginning),
            Architecture::Powerpc64 => at(caller.checked_add(2 * word))?,
            _ => back,
        };
        let pc = self.architecture.plain_address(self.read(back, wrong)?);
        if pc == 0 && caller == 0 {
            return Err(End::Beginning);
        }
        if !self.kernel.is_code(pc) {
            return Err(End::NotCode(pc));
        }
        let role = self.role(pc, true);
        // An entry's frame pointer is that of what it interrupted, on another stack or in user mode; of i386 it leads to
        // the trap frame.
        if matches!(role, Role::Function) && caller != 0 && !is_above(caller, fp) {
            return Err(End::FramePointer(caller));
        }
        Ok(Cursor { role, pc, is_return: true, fp: caller, callee: Some(fp), registers: None })
    }

    /// A word of the stack; an address that is none of a stack's is `wrong`.
    fn read(&mut self, address: u64, wrong: End) -> Result<u64, End> {
        self.words.word(address).map_err(|fault| match fault.why {
            Why::NotCovered => wrong,
            _ => End::Unreadable(fault),
        })
    }
}
