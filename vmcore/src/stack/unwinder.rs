//! Follows stacks.

use super::call_frames::CallFrames;
use super::entry::{self, BEGINNING};
use super::exception_index::ExceptionIndex;
use super::prologue::{self, Place, Site};
use super::reader::StackReader;
use super::trap::{Layout, Trap, TrapKind};
use super::{End, FoundBy, Frame, Stack};
use crate::architecture::Architecture;
use crate::bounds::saturating_usize;
use crate::fault::Why;
use crate::kernel::{Kernel, Processes, Registers, Thread};
use std::collections::HashMap;

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
    call_frames: Option<&'a mut dyn CallFrames>,
    /// arm's.
    exceptions: Option<ExceptionIndex>,
    /// What is known of addresses, and of those that calls return to: many threads were in the same functions.
    known: HashMap<(u64, bool), Code>,
}

/// What is at an address.
#[derive(Clone, Copy)]
struct Code {
    /// Whether it is code.
    is_code: bool,
    /// What its function is, or that from which a call returns to it.
    role: Role,
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
    /// Whether [`Self::pc`] is where a call returns to; else all registers may be known.
    is_return: bool,
    /// The frame pointer; on powerpc64 the stack pointer.
    fp: u64,
    /// The function's registers, as far as they are known.
    registers: Registers,
    found_by: FoundBy,
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
        Self {
            kernel,
            architecture,
            layouts,
            words: StackReader::new(memory),
            call_frames: None,
            exceptions: ExceptionIndex::read(kernel),
            known: HashMap::new(),
        }
    }

    /// The same with call frame information, where there is some.
    #[must_use]
    pub fn with_call_frames(mut self, call_frames: &'a mut dyn CallFrames) -> Self {
        self.call_frames = Some(call_frames);
        self
    }

    /// The stack of a thread.
    pub fn thread(&mut self, processes: &Processes, thread: &Thread) -> Stack {
        match processes.registers(self.kernel.memory(), thread) {
            Ok(registers) => self.registers(&registers),
            Err(fault) => Stack { frames: Vec::new(), end: End::Unreadable(fault) },
        }
    }

    /// The stack that registers lead to, as a `struct pcb` has them.
    pub fn registers(&mut self, registers: &Registers) -> Stack {
        let mut frames: Vec<Frame> = Vec::new();
        let Some(mut cursor) = self.saved(registers.clone()) else {
            return Stack { frames, end: End::NoRegisters };
        };
        for _ in 0..MAX_FRAMES {
            let Cursor { pc, is_return, fp, found_by, .. } = cursor;
            let mut frame = Frame { pc, is_return, fp, found_by, repeats: 0, trap: None };
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

    /// Where a thread gave up the processor: `cpu_switch()` and `savectx()` save where they return to, but for arm's, which
    /// save their own program counter. A thread that never ran begins at the first instruction of a function.
    fn saved(&mut self, registers: Registers) -> Option<Cursor> {
        let cursor = self.interrupted(registers, FoundBy::Registers)?;
        let is_within = self.name_at(cursor.pc).is_some_and(|(_, offset)| offset > 0);
        let is_call = is_within && matches!(cursor.role, Role::Function);
        let is_return = is_call && self.architecture != Architecture::Arm;
        Some(Cursor { is_return, ..cursor })
    }

    /// Where code was interrupted.
    fn interrupted(&mut self, registers: Registers, found_by: FoundBy) -> Option<Cursor> {
        let pc = self.architecture.plain_address(registers.pc()?);
        let fp = self.frame_pointer(&registers)?;
        let role = self.code(pc, false).role;
        Some(Cursor { role, pc, is_return: false, fp, registers, found_by })
    }

    /// What leads from frame to frame.
    fn frame_pointer(&self, registers: &Registers) -> Option<u64> {
        match self.architecture {
            Architecture::Powerpc64 => registers.sp(),
            _ => registers.fp(),
        }
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
        let caller = self.caller(&cursor)?;
        Ok(if self.architecture == Architecture::Arm { self.handed_back(&cursor, caller) } else { caller })
    }

    /// arm: where a function returns that an entry has jumped to, as if it had been called from where the kernel goes back
    /// to what it interrupted. A new thread's first function returns there, too.
    fn handed_back(&self, from: &Cursor, caller: Cursor) -> Cursor {
        let Some(kind) = self.label(caller.pc) else { return caller };
        let name = self.name_at(self.architecture.code_address(from.pc, from.is_return)).map(|(name, _)| name);
        match name {
            Some(entry::FIRST) => Cursor { role: Role::Beginning, is_return: false, ..caller },
            Some(name) if entry::handles_interrupts(name) => {
                Cursor { role: Role::Entry(TrapKind::Interrupt), is_return: false, ..caller }
            }
            _ => Cursor { is_return: kind == TrapKind::SystemCall, ..caller },
        }
    }

    /// arm: what has led to a place that handlers return to.
    fn label(&self, pc: u64) -> Option<TrapKind> {
        let found = self.name_at(pc).filter(|(_, offset)| *offset == 0 && self.architecture == Architecture::Arm);
        found.and_then(|(name, _)| entry::label(name))
    }

    /// The caller of a function.
    ///
    /// Where call frame information leads to one, that is the caller: it knows functions without frames, and of those that
    /// call others frame pointers lead to the same. But few compilers describe each instruction that makes a frame or gives
    /// it up: there, the code tells. Without call frame information the code tells whether a function that was interrupted
    /// has its frame, and if it has, the frame pointer leads to the caller.
    fn caller(&mut self, cursor: &Cursor) -> Result<Cursor, End> {
        let site = if cursor.is_return { Site::new(Place::Frame) } else { self.site(cursor.pc) };
        if let Some(caller) = self.described(cursor, site).or_else(|| self.listed(cursor, site)) {
            return Ok(caller);
        }
        match site.place {
            Place::Frame => self.framed(cursor),
            // Code in assembly language may have put something else onto the stack.
            place => self.frameless(cursor, place).or_else(|end| match end {
                End::NotCode(_) if self.kernel.is_code(cursor.pc) => self.framed(cursor).map_err(|_| end),
                _ => Err(end),
            }),
        }
    }

    /// The caller by call frame information, if it can be one.
    fn described(&mut self, cursor: &Cursor, site: Site) -> Option<Cursor> {
        if site.is_between {
            return None;
        }
        let address = self.architecture.code_address(cursor.pc, cursor.is_return);
        let words = &mut self.words;
        let read = &mut |at| words.word(at).ok();
        let registers = self.call_frames.as_mut()?.caller(self.kernel, address, &cursor.registers, read)?;
        // Nothing is on the stack only of a function that was interrupted and has made no frame. What is said of some code in
        // assembly language does not go beyond its first instruction.
        let least = u64::from(site.place == Place::Frame || !self.has_link());
        self.plausible(cursor, registers, least, FoundBy::CallFrameInformation)
    }

    /// arm: the caller by the kernel's tables, if it can be one. They describe functions that have their frames.
    fn listed(&mut self, cursor: &Cursor, site: Site) -> Option<Cursor> {
        if site.place != Place::Frame {
            return None;
        }
        let address = self.architecture.code_address(cursor.pc, cursor.is_return);
        let words = &mut self.words;
        let read = &mut |at| words.word(at).ok();
        let registers = self.exceptions.as_ref()?.caller(self.kernel, address, &cursor.registers, read)?;
        // They say nothing of the stack of cpu_switch() and savectx(), in which threads are off the processor.
        self.plausible(cursor, registers, cursor.is_return.into(), FoundBy::ExceptionTable)
    }

    /// The caller with these registers, if its stack pointer is at least as far above that of the function, not too far, and
    /// the call returns to code.
    fn plausible(&mut self, cursor: &Cursor, registers: Registers, least: u64, found_by: FoundBy) -> Option<Cursor> {
        let (pc, fp) = (self.architecture.plain_address(registers.pc()?), self.frame_pointer(&registers)?);
        let rise = registers.sp()?.checked_sub(cursor.registers.sp().unwrap_or(cursor.fp))?;
        let Code { is_code, role } = self.code(pc, true);
        let is_plausible = (least..=MAX_DISTANCE).contains(&rise) && is_code;
        is_plausible.then_some(Cursor { role, pc, is_return: true, fp, registers, found_by })
    }

    /// Whether calls leave the return address in a register.
    fn has_link(&self) -> bool {
        !matches!(self.architecture, Architecture::Amd64 | Architecture::I386)
    }

    /// What is at an address, to which a call returns or where a function was interrupted.
    fn code(&mut self, pc: u64, is_return: bool) -> Code {
        if let Some(known) = self.known.get(&(pc, is_return)) {
            return *known;
        }
        let code = Code { is_code: self.kernel.is_code(pc), role: self.role(pc, is_return) };
        self.known.insert((pc, is_return), code);
        code
    }

    /// What the function at an address is, to which a call returns or which was interrupted there.
    fn role(&self, pc: u64, is_return: bool) -> Role {
        let function = self.name_at(self.architecture.code_address(pc, is_return));
        if function.is_some_and(|(name, _)| name == BEGINNING) {
            return Role::Beginning;
        }
        if let Some(kind) = self.label(pc) {
            return Role::Entry(kind);
        }
        // powerpc64's labels stand behind the call and the instruction that is left empty after it.
        let is_labelled = is_return && self.architecture == Architecture::Powerpc64;
        let label = pc.checked_add(4).filter(|_| is_labelled).and_then(|at| self.name_at(at));
        let entry = label.filter(|(_, offset)| *offset == 0).or(function);
        entry.and_then(|(name, _)| entry::kind(self.architecture, name)).map_or(Role::Function, Role::Entry)
    }

    /// Crosses a trap frame.
    fn cross(&mut self, cursor: &Cursor, kind: TrapKind, frame: &mut Frame) -> Result<Cursor, End> {
        if !cursor.is_return && self.label(cursor.pc).is_none() {
            // In the entry's own code the registers are not the kernel's yet, or not any more, unless it is an entry for
            // what interrupts the kernel: then they are still those of what was interrupted.
            let is_from_kernel = self.name_at(frame.pc).is_some_and(|(name, _)| entry::is_from_kernel(name));
            return if is_from_kernel { self.framed(cursor).map_err(|_| End::EntryCode) } else { Err(End::EntryCode) };
        }
        let trap = self.trap(cursor, kind)?;
        let (from_user, registers) = (trap.from_user, trap.registers.clone());
        frame.trap = Some(Box::new(trap));
        if from_user {
            return Err(End::UserMode);
        }
        self.interrupted(registers, FoundBy::TrapFrame).ok_or(End::NoRegisters)
    }

    /// The trap frame of an entry.
    fn trap(&self, cursor: &Cursor, kind: TrapKind) -> Result<Trap, End> {
        let sp = cursor.registers.sp();
        if sp.is_none() && matches!(self.architecture, Architecture::Amd64 | Architecture::Arm | Architecture::Riscv) {
            return Err(End::EntryCode);
        }
        let is_i386 = self.architecture == Architecture::I386;
        let argument = sp.filter(|_| is_i386).and_then(|sp| self.argument(sp));
        if is_i386 && argument.is_none() && cursor.fp == 0 {
            return Err(End::Beginning);
        }
        let place = |layout: &Layout| match self.architecture {
            Architecture::Amd64 | Architecture::Arm | Architecture::Riscv => sp,
            Architecture::Arm64 => cursor.fp.checked_sub(layout.size as u64),
            Architecture::Powerpc64 => cursor.fp.checked_add(48),
            Architecture::I386 => argument.or(Some(cursor.fp)),
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
    fn argument(&self, sp: u64) -> Option<u64> {
        // Handlers of interrupts have the interrupt before it.
        let places = [0, 4, 8].into_iter().filter_map(|offset| sp.checked_add(offset));
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

    /// The caller of a function that was interrupted where it has no frame.
    fn frameless(&mut self, cursor: &Cursor, place: Place) -> Result<Cursor, End> {
        let unknown = || End::NotCode(cursor.pc);
        let mut fp = cursor.fp;
        let (pc, sp) = match place {
            // How much the function has on the stack is not known. arm's functions without frames have nothing there, as a
            // rule, and others find theirs by the frame pointer.
            Place::Frame | Place::Link => {
                let sp = cursor.registers.sp().filter(|_| self.architecture == Architecture::Arm);
                (cursor.registers.link().ok_or_else(unknown)?, sp)
            }
            Place::LinkAndFrame => {
                fp = self.read(cursor.fp, End::FramePointer(cursor.fp))?;
                if !is_above(fp, cursor.fp) {
                    return Err(End::FramePointer(fp));
                }
                (cursor.registers.link().ok_or_else(unknown)?, None)
            }
            Place::Stack(offset) => {
                let at = cursor.registers.sp().and_then(|sp| sp.checked_add(offset)).ok_or_else(unknown)?;
                let back = self.words.word(at).map_err(End::Unreadable)?;
                let is_popped = !self.has_link();
                (back, at.checked_add(self.kernel.memory().word_size() as u64).filter(|_| is_popped))
            }
        };
        let plain = self.architecture.plain_address(pc);
        let Code { is_code, role } = self.code(plain, true);
        if !is_code {
            return Err(End::NotCode(pc));
        }
        Ok(self.returned(role, plain, (fp, sp), FoundBy::Code))
    }

    /// A caller of whose registers the frame pointer is known, and perhaps the stack pointer.
    fn returned(&self, role: Role, pc: u64, (fp, sp): (u64, Option<u64>), found_by: FoundBy) -> Cursor {
        let (sp, register) = match self.architecture {
            Architecture::Powerpc64 => (Some(fp), None),
            _ => (sp, Some(fp)),
        };
        let registers = Registers::of_caller(self.architecture, pc, sp, register);
        Cursor { role, pc, is_return: true, fp, registers, found_by }
    }

    /// What a function's code tells of the place where it was interrupted.
    fn site(&self, pc: u64) -> Site {
        let memory = self.kernel.memory();
        match self.kernel.code_at(pc) {
            Some(found) => {
                let length = found.offset.min(MAX_CODE);
                let mut before = vec![0; saturating_usize(length)];
                let mut next = [0; NEXT];
                let is_read = memory.read(pc - length, &mut before).is_ok() && memory.read(pc, &mut next).is_ok();
                let tells = || prologue::caller(self.architecture, memory.order(), &before, &next);
                if is_read { tells() } else { Site::new(Place::Frame) }
            }
            None if self.kernel.is_code(pc) => Site::new(Place::Frame),
            // A jump to where there is no code, by a call.
            None if self.has_link() => Site::new(Place::Link),
            None => Site::new(Place::Stack(0)),
        }
    }

    /// The caller of a function that has a frame.
    fn framed(&mut self, cursor: &Cursor) -> Result<Cursor, End> {
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
        let Code { is_code, role } = self.code(pc, true);
        if !is_code {
            return Err(End::NotCode(pc));
        }
        let sp = match self.architecture {
            Architecture::Amd64 | Architecture::I386 | Architecture::Arm => back.checked_add(word),
            Architecture::Riscv => Some(fp),
            // Its functions have their frames anywhere in what they have on the stack.
            _ => None,
        };
        // An entry's frame pointer is that of what it interrupted, on another stack or in user mode; of i386 it leads to
        // the trap frame.
        if matches!(role, Role::Function) && caller != 0 && !is_above(caller, fp) {
            return Err(End::FramePointer(caller));
        }
        Ok(self.returned(role, pc, (caller, sp), FoundBy::FramePointer))
    }

    /// A word of the stack; an address that is none of a stack's is `wrong`.
    fn read(&mut self, address: u64, wrong: End) -> Result<u64, End> {
        self.words.word(address).map_err(|fault| match fault.why {
            Why::NotCovered => wrong,
            _ => End::Unreadable(fault),
        })
    }
}
