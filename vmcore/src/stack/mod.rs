//! The kernel stack of a thread: the functions that it was in, from the one that it was in last to the one where it
//! entered the kernel or began.
//!
//! FreeBSD's kernels are built with frame pointers, so that the stack can be followed without debug information. Where
//! there is call frame information ([`CallFrames`]), it leads on in functions without frames, too, and in those that were
//! interrupted before they had one. Where the kernel was entered by an exception, an interrupt or a system call, code in assembly language saved the registers
//! in a trap frame (`struct trapframe`); the stack goes on with what was interrupted.
//!
//! | architecture | caller's frame pointer | return address | trap frame |
//! | --- | --- | --- | --- |
//! | amd64 | `[fp]` | `[fp + 8]` | 16 bytes above the frame pointer of the function that the entry called |
//! | i386 | `[fp]` | `[fp + 4]` | where an argument of the function that the entry called points |
//! | arm64 | `[fp]` | `[fp + 8]` | below the entry's frame pointer |
//! | riscv | `[fp - 16]` | `[fp - 8]` | at the entry's stack pointer, which is the frame pointer of what it called |
//! | arm | `[fp]` | `[fp + 4]` | at the entry's stack pointer |
//! | powerpc64 | back chain `[sp]` | `[caller's sp + 16]` | 48 bytes above the stack pointer of the entry |
//!
//! arm's kernels have tables that tell more than their frame pointers, and follow stacks by them themselves.
//!
//! Sources: `db_trace.c` and `exception.S` of each architecture (`sys/amd64/amd64`, `sys/i386/i386`, `sys/arm64/arm64`,
//! `sys/riscv/riscv`, `sys/powerpc/powerpc` with `trap_subr64.S`), `machine/frame.h`, and the calling conventions.

mod call_frames;
mod entry;
mod exception_index;
mod prologue;
mod reader;
mod threads;
mod trap;
mod unwinder;

pub use call_frames::{CallFrames, CodeInformation};
pub use threads::{Call, StackThread, ThreadStack};
pub use trap::{Trap, TrapKind};
pub use unwinder::Unwinder;

use crate::architecture::Architecture;
use crate::fault::Fault;
use crate::units::Hex;
use serde::Serialize;
use std::fmt;

/// Whether the function of this name is an entry of the kernel: code that saves a trap frame.
pub fn is_entry(architecture: Architecture, name: &str) -> bool {
    entry::kind(architecture, name).is_some()
}

/// The functions that a thread was in, and why there are no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// From the function that it was in last.
    pub frames: Vec<Frame>,
    /// Why the stack ends there.
    pub end: End,
}

/// A function that a thread was in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where in the function: without a signature of arm64's pointer authentication.
    pub pc: u64,
    /// Whether [`Self::pc`] is where a call returns to; else it is the instruction that is next.
    pub is_return: bool,
    /// The function's frame pointer; on powerpc64 its stack pointer.
    pub fp: u64,
    /// How the frame was found.
    pub found_by: FoundBy,
    /// How many more frames like this one follow it, as in a recursion without end.
    pub repeats: u64,
    /// The function is an entry to the kernel: what led there. What was interrupted comes next.
    pub trap: Option<Box<Trap>>,
}

impl Frame {
    /// An address within the instruction that the function was in: a call that does not return can be the last
    /// instruction of its function, so that the address behind it belongs to another one.
    pub fn code_address(&self, architecture: Architecture) -> u64 {
        architecture.code_address(self.pc, self.is_return)
    }
}

/// How a frame was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FoundBy {
    /// By the registers that were saved of the thread.
    Registers,
    /// By the registers in a trap frame.
    TrapFrame,
    /// By the frame pointer of the function that it called.
    FramePointer,
    /// By what call frame information says of the function that it called.
    CallFrameInformation,
    /// By what the tables for exceptions of arm's kernels say of it.
    ExceptionTable,
    /// By the instructions around the place where the function that it called was interrupted: there that function had
    /// no frame.
    Code,
}

/// Why a stack ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The kernel was entered from user mode.
    UserMode,
    /// The thread began there: at `fork_trampoline`, or at the kernel's own beginning, whose frame pointer is 0.
    Beginning,
    /// The last frame is in code that enters or leaves the kernel: the registers are those of what it interrupted, in
    /// part.
    EntryCode,
    /// The address that the last frame returns to is not one of code.
    NotCode(u64),
    /// The frame pointer is not that of a caller: it does not rise, is not aligned, or is too far away.
    FramePointer(u64),
    /// Memory of the stack cannot be read.
    Unreadable(Fault),
    /// The trap frame is not laid out in a way that is known.
    TrapFrame(u64),
    /// There are more frames than a stack has room for.
    TooMany,
    /// Nobody has saved the thread's registers: it is running.
    NoRegisters,
}

impl End {
    /// The reason in a word, for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UserMode => "user-mode",
            Self::Beginning => "beginning",
            Self::EntryCode => "entry-code",
            Self::NotCode(_) => "not-code",
            Self::FramePointer(_) => "frame-pointer",
            Self::Unreadable(_) => "unreadable",
            Self::TrapFrame(_) => "trap-frame",
            Self::TooMany => "too-many",
            Self::NoRegisters => "no-registers",
        }
    }

    /// The address that the reason is about, where it is about one.
    pub const fn address(self) -> Option<u64> {
        match self {
            Self::NotCode(address) | Self::FramePointer(address) | Self::TrapFrame(address) => Some(address),
            Self::Unreadable(fault) => Some(fault.address),
            _ => None,
        }
    }

    /// Whether the stack is whole: it ends where the thread entered the kernel or began.
    pub const fn is_whole(self) -> bool {
        matches!(self, Self::UserMode | Self::Beginning)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserMode => f.write_str("user mode"),
            Self::Beginning => f.write_str("the thread began here"),
            Self::EntryCode => f.write_str("interrupted in code that enters or leaves the kernel"),
            Self::NotCode(address) => write!(f, "the return address {} is not code", Hex(*address)),
            Self::FramePointer(address) => write!(f, "the frame pointer {} is not a caller's", Hex(*address)),
            Self::Unreadable(fault) => write!(f, "the stack cannot be read at {fault}"),
            Self::TrapFrame(address) => write!(f, "the trap frame at {} is not valid", Hex(*address)),
            Self::TooMany => f.write_str("more frames than a stack has room for"),
            Self::NoRegisters => f.write_str("running: its registers were not saved"),
        }
    }
}
