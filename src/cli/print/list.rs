//! The elements of a list: one after another, or a table of what was asked of each.

use super::{Arguments, Printer, label};
use crate::cli::Context;
use memtool::Result;
use vmcore::expression::{Evaluated, ExpressionError, Problem};
use vmcore::lists::{ListEnd, Walk};
use vmcore::query::{Answer, Selection};
use vmcore::units::{Hex, counted};
use vmcore::value::text::{cell, unreadable};

/// Says what is wrong with lists: whether nothing is.
pub fn warn(context: &mut Context, arguments: &Arguments, answers: &[(Selection, Answer<'_>)]) -> bool {
    let mut is_whole = true;
    let member = arguments.walk().map_or("", |(_, member)| member);
    for (selection, answer) in answers {
        let Answer::List(walk) = answer else { continue };
        let label = label(*selection);
        match walk.end {
            ListEnd::Complete => {}
            ListEnd::Limit => {
                context.warn(&format!("{label}only {} shown: --limit N shows more", shown(walk.elements.len())));
            }
            end => {
                is_whole = false;
                context.warn_always(&format!("{label}{end}"));
            }
        }
        is_whole &= walk.stray_count == 0;
        for stray in &walk.stray {
            let why = format!("the list is damaged, was being changed, or is another than that of {member}");
            context.warn_always(&format!("{label}{why}: {stray}"));
        }
        let more = walk.stray_count.saturating_sub(walk.stray.len());
        if more > 0 {
            context.warn_always(&format!("{label}so is that of {}", counted(more, "more element")));
        }
    }
    is_whole
}

fn shown(count: usize) -> String {
    let elements = counted(count, "element");
    if count == 1 { format!("{elements} is") } else { format!("{elements} are") }
}

/// Prints the elements of a list, as they are.
pub fn print_elements(context: &mut Context, printer: &Printer<'_>, selection: Selection, walk: &Walk) -> Result<()> {
    for address in &walk.elements {
        for found in printer.query.element(printer.typed, selection, *address).into_iter().flatten() {
            let value = printer.read(&found);
            printer.print(context, selection, &found, &value)?;
        }
    }
    Ok(())
}

/// Prints a row for each element of lists.
pub fn print_table(
    context: &mut Context,
    printer: &Printer<'_>,
    columns: &[String],
    answers: &[(Selection, Answer<'_>)],
) -> Result<()> {
    let mut rows = Vec::new();
    for (selection, answer) in answers {
        let Answer::List(walk) = answer else { continue };
        rows.extend(walk.elements.iter().map(|address| row(printer, *selection, *address)));
    }
    let has = |part: &dyn Fn(&Selection) -> bool| answers.iter().any(|(selection, _)| part(selection));
    let mut headings = Vec::new();
    headings.extend(has(&|selection| selection.cpu.is_some()).then_some("CPU"));
    headings.extend(has(&|selection| selection.vnet.is_some()).then_some("VNET"));
    headings.push("ADDRESS");
    headings.extend(columns.iter().map(String::as_str));
    context.out.rows(&headings, &rows)
}

fn row(printer: &Printer<'_>, selection: Selection, address: u64) -> Vec<String> {
    let mut row = Vec::new();
    row.extend(selection.cpu.map(|cpu| cpu.to_string()));
    row.extend(selection.vnet.map(|vnet| Hex(vnet).to_string()));
    row.push(Hex(address).to_string());
    let found = printer.query.element(printer.typed, selection, address);
    row.extend(found.iter().map(|found| column(printer, found)));
    row
}

fn column(printer: &Printer<'_>, found: &Result<Evaluated<'_>, ExpressionError>) -> String {
    match found {
        Ok(found) => cell(&printer.read(found), printer.form),
        Err(error) => {
            printer.fail();
            match error.problem {
                Problem::Unreadable(fault) => unreadable(fault),
                _ => format!("<{error}>"),
            }
        }
    }
}
