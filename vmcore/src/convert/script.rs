//! What a debugger has to be told of a core file of the kernel, as a script of its own commands.

use super::notes::Style;
use crate::architecture::Architecture;
use crate::pmap::arm64::ADDRESS_BITS;

/// Whose commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Debugger {
    /// For `lldb -S`, before the files are opened; of a kernel that was moved for `lldb -s`, after it.
    Lldb,
    /// For `gdb -ix`, before the files are opened.
    Gdb,
}

/// A kernel that ran elsewhere than it is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved<'a> {
    /// What is added to the addresses in its file, modulo 2^64.
    pub displacement: u64,
    /// The name of its file, without directories.
    pub name: &'a str,
}

/// An unwinder in gdb's Python: gdb knows how to strip signatures of a process's addresses, and before version 14 not
/// of the kernel's.
const SIGNED_RETURNS: &str = include_str!("signed_returns.py");

/// The script for a core file of this architecture with these notes.
pub fn script(debugger: Debugger, style: Style, architecture: Architecture, moved: Option<Moved<'_>>) -> String {
    match debugger {
        Debugger::Lldb => lldb(architecture, moved),
        Debugger::Gdb => gdb(style, architecture, moved),
    }
}

fn lldb(architecture: Architecture, moved: Option<Moved<'_>>) -> String {
    if let Some(Moved { displacement, name }) = moved {
        // lldb takes a big-endian powerpc64's entry for a descriptor, and finds another displacement by it.
        return format!(
            "# lldb -c CORE KERNEL -s THIS\ntarget modules load --file {name:?} --slide {displacement:#x}\n"
        );
    }
    let bits = format!("settings set target.process.virtual-addressable-bits {ADDRESS_BITS}\n");
    let settings = if architecture == Architecture::Arm64 { bits } else { String::new() };
    format!("# lldb -S THIS -c CORE KERNEL\n{settings}")
}

fn gdb(style: Style, architecture: Architecture, moved: Option<Moved<'_>>) -> String {
    // There is no file yet that could be displaced; with the entry in the notes gdb does so when it opens it.
    let moved = moved.map_or_else(String::new, |Moved { displacement, name }| {
        format!(
            "# The kernel ran elsewhere than it is linked. The notes say where; if 'info files' shows that gdb has not\n\
             # read them: symbol-file -o {displacement:#x} {name:?}\n"
        )
    });
    let system = if style == Style::Linux { "set osabi GNU/Linux\n" } else { "" };
    let unwinder = if architecture == Architecture::Arm64 { SIGNED_RETURNS } else { "" };
    format!("# gdb -ix THIS KERNEL CORE\n{moved}{system}{unwinder}")
}
