//! Stacks of threads in a page.

use super::super::section::{StackLine, StackText};
use super::data::Stacks;
use super::lines::{gist, split_offset, width_of_pcs};
use super::{LONG, Room, write_data, write_folded};
use crate::bounds::tail;
use crate::markup::{Plain, Text};
use crate::units::counted;
use std::fmt::{self, Formatter, Write};

/// A section's stacks are shown at once if there are no more, otherwise folded.
const FEW_STACKS: usize = 8;

/// Stacks in the order in which they are given.
pub(super) fn write_stacks(f: &mut Formatter<'_>, stacks: &[StackText], room: &mut Room) -> fmt::Result {
    let count = stacks.len();
    let elements = |stack: &StackText| 6 + 3 * stack.lines.len() + stack.threads.len().min(LONG);
    let is_written = room.has(count, stacks.iter().map(elements).sum());
    write_folded(f, count, "stack", |f| {
        if !is_written {
            f.write_str("<div class=\"data\"></div>\n")?;
            return write_data(f, "stacks", count, Stacks(stacks));
        }
        stacks.iter().try_for_each(|stack| write_stack(f, stack, count <= FEW_STACKS))
    })
}

fn write_stack(f: &mut Formatter<'_>, stack: &StackText, is_open: bool) -> fmt::Result {
    let open = if is_open { " open" } else { "" };
    write!(f, "<details class=\"stack\"{open}>\n<summary>")?;
    f.write_str("<span class=\"what\">")?;
    match stack.threads.split_first() {
        None => f.write_str("Stack")?,
        Some((thread, more)) => {
            write!(f, "{}", Text(thread))?;
            if !more.is_empty() {
                write!(f, " <small>and {}</small>", counted(more.len() as u64, "more thread"))?;
            }
        }
    }
    f.write_str("</span>")?;
    let gist = gist(&stack.lines);
    let gist = gist.iter().map(|name| Plain(name).to_string()).collect::<Vec<_>>().join(" \u{2190} ");
    if !gist.is_empty() {
        write!(f, "<span class=\"gist\" aria-hidden=\"true\">{gist}</span>")?;
    }
    f.write_str("</summary>\n")?;
    let more = tail(&stack.threads, 1);
    if more.len() > LONG {
        write_folded(f, more.len(), "more thread", |f| {
            f.write_str("<pre>\n")?;
            more.iter().try_for_each(|thread| writeln!(f, "{}", Text(thread)))?;
            f.write_str("</pre>\n")
        })?;
    } else if !more.is_empty() {
        f.write_str("<ul class=\"threads\" tabindex=\"0\" aria-label=\"More threads with this stack\">\n")?;
        more.iter().try_for_each(|thread| writeln!(f, "<li>{}</li>", Text(thread)))?;
        f.write_str("</ul>\n")?;
    }
    write_frames(f, stack)?;
    f.write_str("</details>\n")
}

fn write_frames(f: &mut Formatter<'_>, stack: &StackText) -> fmt::Result {
    if stack.lines.is_empty() && stack.end.is_none() {
        return Ok(());
    }
    let width = width_of_pcs(&stack.lines);
    f.write_str("<pre>\n")?;
    stack.lines.iter().try_for_each(|line| write_stack_line(f, line, width))?;
    if let Some(end) = &stack.end {
        writeln!(f, "{:5}<span class=\"end\">{}</span>", "", Text(end))?;
    }
    f.write_str("</pre>\n")
}

/// A line of a stack, whose addresses have so many characters.
fn write_stack_line(f: &mut Formatter<'_>, line: &StackLine, width: usize) -> fmt::Result {
    let (frame, pc, function, module, source, is_inlined, repeats) = match line {
        StackLine::Trap(lines) => return write_trap(f, lines),
        StackLine::Call { frame, pc, function, module, source, is_inlined, repeats } => {
            (frame, pc, function, module, source, *is_inlined, *repeats)
        }
    };
    let (name, offset) = split_offset(function);
    let name = Text(name);
    if is_inlined {
        let pc = " ".repeat(width);
        write!(f, "<span class=\"inlined\">#{frame:<3} <span class=\"pc\">{pc} </span><b>{name}</b></span>")?;
    } else {
        write!(f, "#{frame:<3} <span class=\"pc\">{pc:#width$x} </span><b>{name}</b>")?;
    }
    if !offset.is_empty() {
        write!(f, "+{}", Text(offset))?;
    }
    if is_inlined {
        f.write_str(" <i>inlined</i>")?;
    }
    if let Some(module) = module {
        write!(f, " <span class=\"module\">{}</span>", Text(module))?;
    }
    if let Some(source) = source {
        write!(f, "  {}", Text(source))?;
    }
    f.write_char('\n')?;
    if repeats > 0 {
        writeln!(f, "{:5}<span class=\"end\">repeated {}</span>", "", counted(repeats, "more time"))?;
    }
    Ok(())
}

fn write_trap(f: &mut Formatter<'_>, lines: &[String]) -> fmt::Result {
    let Some((what, registers)) = lines.split_first() else {
        return Ok(());
    };
    writeln!(f, "<span class=\"trap\"><b>{}</b>", Text(what))?;
    registers.iter().try_for_each(|line| writeln!(f, "{}", Text(line)))?;
    f.write_str("</span>")
}
