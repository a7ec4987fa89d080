//! What a report consists of, as people read it. [`Section`]s are made of a kernel's dump, and written as text or HTML.
//!
//! Texts in it are plain: whoever writes them escapes what their format requires.

use crate::physical_map::PhysicalMap;
use crate::table::Table;

/// A part of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Names it in links; lower case, with hyphens.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What is in it, in order.
    pub blocks: Vec<Block>,
}

/// A part of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Names with values.
    Facts(Vec<(&'static str, String)>),
    /// Rows of a table.
    Table(Table),
    /// Lines as the kernel or a file has them.
    Lines(Vec<String>),
    /// Stacks of threads.
    Stacks(Vec<StackText>),
    /// A picture of physical memory, with the bytes of a page where that is known.
    Map(Box<PhysicalMap>, Option<u64>),
    /// What the report does not have, and why; or what limits its use.
    Note(String),
}

/// A stack, and the threads that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackText {
    /// One line for each thread: `PID 812, TID 100092, sysctl, on CPU 1`.
    pub threads: Vec<String>,
    /// From the function that was last.
    pub lines: Vec<StackLine>,
    /// Why it ends, where the last line does not say so.
    pub end: Option<String>,
}

/// A line of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StackLine {
    /// A function.
    Call {
        /// Its number among the calls of the stack, from 0; functions that are inlined count, as debuggers have it.
        frame: usize,
        /// Where in the function: an address.
        pc: u64,
        /// `panic+0x43`, or `?`.
        function: String,
        /// The module that it is from, unless that is the kernel.
        module: Option<String>,
        /// `kern/kern_shutdown.c:962`, where there is debug information.
        source: Option<String>,
        /// Whether it is inlined in the next function.
        is_inlined: bool,
        /// How many more frames like this one follow it.
        repeats: u64,
    },
    /// What led into the kernel, and the registers then: `exception 0xc: page fault at address 0x10`.
    Trap(Vec<String>),
}
