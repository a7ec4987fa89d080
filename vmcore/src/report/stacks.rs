//! Stacks of threads, as people read them.

use super::section::{StackLine, StackText};
use crate::kernel::State;
use crate::stack::{Call, End, StackThread, ThreadStack, Trap, TrapKind};
use crate::symbols::SourceFrame;
use crate::units::Hex;

/// `PID 812, TID 100092, sh, CPU 1, stopped`.
pub fn heading(thread: &StackThread) -> String {
    let command = String::from_utf8_lossy(&thread.command);
    let mut text = format!("PID {}, TID {}, {command}", thread.pid, thread.tid);
    if thread.name != thread.command {
        text.push_str(&format!("/{}", String::from_utf8_lossy(&thread.name)));
    }
    if let Some(cpu) = thread.cpu {
        text.push_str(&format!(", CPU {cpu}"));
    }
    if thread.state != State::Off {
        text.push_str(&format!(", {}", thread.state.name()));
    }
    if let Some(wait) = &thread.wait {
        text.push_str(&format!(", {wait}"));
    }
    text
}

/// A stack with its functions.
pub fn describe(found: &ThreadStack, calls: &[Call]) -> StackText {
    let mut lines = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        let Some(frame) = found.stack.frames.get(call.frame) else { continue };
        let repeats = if call.is_inlined { 0 } else { frame.repeats };
        lines.push(StackLine::Call {
            frame: index,
            pc: frame.pc,
            function: function(call),
            module: call.file.clone().filter(|_| call.is_in_module),
            source: call.source.as_ref().and_then(source),
            is_inlined: call.is_inlined,
            repeats,
        });
        if let Some(trap) = frame.trap.as_deref().filter(|_| !call.is_inlined) {
            lines.push(StackLine::Trap(trap_lines(trap, found.threads.len() == 1)));
        }
    }
    let end = match found.stack.end {
        // The trap says so.
        End::UserMode => None,
        end @ (End::Beginning | End::NoRegisters) => Some(end.to_string()),
        end => Some(format!("incomplete: {end}")),
    };
    StackText { threads: found.threads.iter().map(heading).collect(), lines, end }
}

fn function(call: &Call) -> String {
    let name = call.function.as_deref().unwrap_or("?");
    call.offset.map_or_else(|| name.to_owned(), |offset| format!("{name}+{offset:#x}"))
}

fn source(source: &SourceFrame) -> Option<String> {
    let file = source.file.as_deref()?;
    Some(source.line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}")))
}

/// `exception 0xc: page fault at address 0x10`.
pub fn trap_title(trap: &Trap) -> String {
    let what = match (trap.kind, trap.name, trap.number) {
        (TrapKind::Exception, Some(name), Some(number)) => format!("exception {number:#x}: {name}"),
        (TrapKind::Exception, None, Some(number)) => format!("exception {number:#x}"),
        (kind, Some(name), _) => format!("{}: {name}", kind.name()),
        (kind, None, Some(number)) => format!("{} {number}", kind.name()),
        (kind, None, None) => kind.name().to_owned(),
    };
    let at = trap.fault_address.map(|address| format!(" at address {}", Hex(address))).unwrap_or_default();
    let from = if trap.from_user { " from user mode" } else { "" };
    format!("{what}{at}{from}")
}

/// What led to an entry, and the registers of what was interrupted.
fn trap_lines(trap: &Trap, is_of_one: bool) -> Vec<String> {
    let mut lines = vec![trap_title(trap)];
    // Threads whose stacks are equal came from different places in user mode.
    if !trap.from_user || is_of_one {
        let register = |name: &str, value: Option<u64>| value.map(|value| format!("{name} {}", Hex(value)));
        let registers = &trap.registers;
        let shown = [register("pc", registers.pc()), register("sp", registers.sp()), register("fp", registers.fp())];
        lines.push(shown.into_iter().flatten().collect::<Vec<_>>().join(", "));
    }
    lines
}
