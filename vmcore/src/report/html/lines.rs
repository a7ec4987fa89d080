//! What the lines of a stack tell together: where its thread is, and how wide their addresses are.

use super::super::section::StackLine;

/// How many characters the longest address of a program counter has.
pub(super) fn width_of_pcs(lines: &[StackLine]) -> usize {
    let widths = lines.iter().map(|line| match line {
        StackLine::Call { pc, .. } => format!("{pc:#x}").len(),
        StackLine::Trap(_) => 0,
    });
    widths.max().unwrap_or(0)
}

/// How the names of functions begin that switch to another thread, and wait for it to switch back.
const SWITCHING: [&str; 8] =
    ["cpu_switch", "sched_", "mi_switch", "sleepq_", "_sleep", "msleep_", "_cv_", "turnstile_wait"];
/// Where threads begin.
const BEGINNING: [&str; 2] = ["fork_exit", "fork_trampoline"];
/// How many functions tell enough.
const TELLING: usize = 6;

/// Where a thread is, in one line: its functions without those that say only that it sleeps, or how it began.
pub(super) fn gist(lines: &[StackLine]) -> Vec<&str> {
    let (skipped, told) = place_of_gist(lines);
    names(lines).skip(skipped).take(told).collect()
}

/// How many functions, of those that are not inlined, precede those that tell where a thread is, and how many these are.
pub(super) fn place_of_gist(lines: &[StackLine]) -> (usize, usize) {
    let is_switching = |name: &&str| SWITCHING.iter().any(|start| name.starts_with(start));
    let skipped = names(lines).take_while(is_switching).count();
    let telling = names(lines).skip(skipped).take_while(|name| !BEGINNING.contains(name));
    (skipped, telling.take(TELLING).count())
}

/// The names of the functions that are not inlined.
fn names(lines: &[StackLine]) -> impl Iterator<Item = &str> {
    lines.iter().filter_map(|line| match line {
        StackLine::Call { function, is_inlined: false, .. } => Some(split_offset(function).0),
        _ => None,
    })
}

/// A function and the offset in it, which may be missing.
pub(super) fn split_offset(function: &str) -> (&str, &str) {
    function.rsplit_once('+').unwrap_or((function, ""))
}
