//! What a debugger has to be told before it opens a core file of the kernel, as a script of its own commands.

use super::notes::Style;
use crate::pmap::arm64::ADDRESS_BITS;
use crate::vmcore::header::Architecture;

/// Whose commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debugger {
    /// For `lldb -S`.
    Lldb,
    /// For `gdb -ix`.
    Gdb,
}

/// An unwinder in gdb's Python: gdb knows how to strip signatures of a process's addresses, and before version 14 not
/// of the kernel's.
const SIGNED_RETURNS: &str = include_str!("signed_returns.py");

/// The script for a core file of this architecture with these notes.
pub fn script(debugger: Debugger, style: Style, architecture: Architecture) -> String {
    let is_arm64 = architecture == Architecture::Arm64;
    match debugger {
        Debugger::Lldb => {
            let bits = format!("settings set target.process.virtual-addressable-bits {ADDRESS_BITS}\n");
            let settings = if is_arm64 { bits } else { String::new() };
            format!("# lldb -S THIS -c CORE KERNEL\n{settings}")
        }
        Debugger::Gdb => {
            let system = if style == Style::Linux { "set osabi GNU/Linux\n" } else { "" };
            format!("# gdb -ix THIS KERNEL CORE\n{system}{}", if is_arm64 { SIGNED_RETURNS } else { "" })
        }
    }
}
