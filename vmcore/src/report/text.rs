//! Reports as text, of lines of at most 80 columns.

use super::section::{Block, Section, StackLine, StackText};
use crate::bounds::split_text;
use crate::table::{Column, Table};
use crate::text::escape_control;
use crate::units::{Hex, counted};
use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Write};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of a line.
const COLUMNS: usize = 80;
/// Columns of the line between sections, as crashinfo(8) has it.
const RULE: usize = 72;
/// How far what belongs to a line of a stack is moved to the right.
pub const INDENT: &str = "     ";
/// Between columns of a table.
const GAP: usize = 2;
/// No column of a table is made narrower.
const LEAST: usize = 8;
/// Nor than this, where a table does not fit even so and is written in parts.
const LEAST_IN_PARTS: usize = 24;
/// Blanks in which a line begins where it goes on in the next one.
const MAX_INDENT: usize = 20;
/// At the end of a line that is one with the next.
const CONTINUED: &str = "\\";

/// Writes a report.
///
/// # Errors
///
/// Those of the writer.
pub fn write(title: &str, sections: &[Section], out: &mut dyn Write) -> io::Result<()> {
    words(out, "", title)?;
    for section in sections {
        writeln!(out, "\n{}", "-".repeat(RULE))?;
        words(out, "", section.title)?;
        for block in &section.blocks {
            writeln!(out)?;
            write_block(out, block)?;
        }
    }
    Ok(())
}

fn write_block(out: &mut dyn Write, block: &Block) -> io::Result<()> {
    match block {
        Block::Facts(facts) => {
            let width = facts.iter().map(|(name, _)| name.width()).max().unwrap_or_default().min(MAX_INDENT);
            facts.iter().try_for_each(|(name, value)| {
                words(out, &" ".repeat(width + GAP), &format!("{name:width$}{:GAP$}{value}", ""))
            })
        }
        Block::Table(table) => {
            if let Some(caption) = &table.caption {
                words(out, "", caption)?;
            }
            write_table(out, table)
        }
        Block::Lines(lines) => lines.iter().try_for_each(|line| whole(out, line)),
        Block::Stacks(stacks) => write_stacks(out, stacks),
        Block::Map(map, _) => {
            for (index, table) in map.tables().iter().enumerate() {
                if index > 0 {
                    writeln!(out)?;
                }
                table.caption.iter().try_for_each(|caption| words(out, "", caption))?;
                write_table(out, table)?;
            }
            Ok(())
        }
        Block::Note(text) => words(out, "", text),
    }
}

/// A line of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextLine {
    /// It without its source.
    pub text: String,
    /// Where in the source.
    pub source: Option<String>,
}

/// The lines of a stack, in columns of any number.
pub fn stack_lines(stack: &StackText) -> Vec<TextLine> {
    let plain = |text: String| TextLine { text, source: None };
    let mut lines = Vec::new();
    match stack.threads.as_slice() {
        [thread] => lines.push(plain(one_line(thread))),
        threads => {
            lines.push(plain(format!("{}:", counted(threads.len() as u64, "thread"))));
            lines.extend(threads.iter().map(|thread| plain(format!("  {}", one_line(thread)))));
        }
    }
    for line in &stack.lines {
        match line {
            StackLine::Call { source, repeats, .. } => {
                lines.push(TextLine { text: call(line), source: source.clone() });
                if *repeats > 0 {
                    lines.push(plain(format!("{INDENT}repeated {}", counted(*repeats, "more time"))));
                }
            }
            StackLine::Trap(trap) => lines.extend(trap.iter().map(|text| plain(format!("{INDENT}--- {text}")))),
        }
    }
    lines.extend(stack.end.iter().map(|end| plain(format!("{INDENT}{end}"))));
    lines
}

/// `#3   0xffffffff80526567 vpanic+0x167 (inlined)`.
fn call(line: &StackLine) -> String {
    let StackLine::Call { frame, pc, function, module, is_inlined, .. } = line else { return String::new() };
    let module = module.as_ref().map(|module| format!(" ({module})")).unwrap_or_default();
    let inlined = if *is_inlined { " (inlined)" } else { "" };
    format!("#{frame:<3} {} {function}{module}{inlined}", Hex(*pc))
}

fn write_stacks(out: &mut dyn Write, stacks: &[StackText]) -> io::Result<()> {
    for (index, stack) in stacks.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        for TextLine { text, source } in stack_lines(stack) {
            let Some(source) = source else {
                whole(out, &text)?;
                continue;
            };
            let line = format!("{text} at {source}");
            if escape_control(&line).width() <= COLUMNS {
                whole(out, &line)?;
            } else {
                whole(out, &text)?;
                whole(out, &format!("{INDENT}at {source}"))?;
            }
        }
    }
    Ok(())
}

/// A text as one line: without tabs.
fn one_line(text: &str) -> String {
    text.replace('\t', "\\t")
}

/// A text without commands to a terminal, and with blanks for tabs: to where a terminal has its next stop.
fn printable(text: &str) -> Cow<'_, str> {
    let text = escape_control(text);
    if !text.contains('\t') {
        return text;
    }
    let mut expanded = String::new();
    let mut column = 0;
    for c in text.chars() {
        let width = if c == '\t' { 8 - column % 8 } else { c.width().unwrap_or(0) };
        if c == '\t' {
            expanded.push_str(&" ".repeat(width))
        } else {
            expanded.push(c)
        }
        column += width;
    }
    expanded.into()
}

/// Writes a line as it is; where it is too long, each part but the last ends in a backslash.
fn whole(out: &mut dyn Write, text: &str) -> io::Result<()> {
    let text = printable(text);
    let mut rest = text.trim_end();
    // Not by the width of the rest, which a line of millions of characters would be asked for again and again.
    while fitting(rest, COLUMNS) < rest.len() {
        let (part, behind) = rest.split_at(fitting(rest, COLUMNS - CONTINUED.len()));
        writeln!(out, "{part}{CONTINUED}")?;
        rest = behind;
    }
    writeln!(out, "{rest}")
}

/// Writes text in lines that end between words, as far as they do not have too long ones; all but the first are moved to
/// the right.
fn words(out: &mut dyn Write, indent: &str, text: &str) -> io::Result<()> {
    let text = printable(text);
    let mut rest = text.trim_end();
    let mut before = "";
    loop {
        let end = fitting(rest, COLUMNS - before.len());
        if end == rest.len() {
            return writeln!(out, "{before}{rest}");
        }
        let (head, _) = split_text(rest, end);
        // Not before what is moved to the right anyway.
        let from = indent.len().min(head.len());
        let blank = head.rfind(' ').filter(|at| *at > from || !before.is_empty() && *at > 0);
        let (part, behind) = rest.split_at(blank.unwrap_or(end));
        writeln!(out, "{before}{}", part.trim_end())?;
        (rest, before) = (behind.trim_start(), indent);
    }
}

/// Bytes of a text that fit into so many columns; of one that is not empty, at least a character.
fn fitting(text: &str, columns: usize) -> usize {
    let mut used = 0;
    let exceeds = |(index, c): &(usize, char)| {
        used += c.width().unwrap_or(0);
        used > columns && *index > 0
    };
    text.char_indices().find(exceeds).map_or(text.len(), |(index, _)| index)
}

fn write_table(out: &mut dyn Write, table: &Table) -> io::Result<()> {
    let titles: Vec<String> = table.columns.iter().map(|column| column.title.to_owned()).collect();
    let escape = |row: &Vec<String>| row.iter().map(|cell| one_line(&escape_control(cell))).collect();
    let rows: Vec<Vec<String>> = std::iter::once(titles).chain(table.rows.iter().map(escape)).collect();
    for (index, part) in parts(&rows, table.columns.len()).iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        let columns: Vec<Column> = part.iter().filter_map(|column| table.columns.get(*column)).copied().collect();
        let widths = narrowed(part.iter().map(|column| width(&rows, *column)).collect());
        let cells = |row: &Vec<String>| part.iter().filter_map(|at| row.get(*at)).cloned().collect::<Vec<_>>();
        rows.iter().try_for_each(|row| write_row(out, &columns, &widths, &cells(row)))?;
    }
    Ok(())
}

/// Columns of a line that the widest cell of a column needs.
fn width(rows: &[Vec<String>], column: usize) -> usize {
    rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or_default()
}

fn line_width(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// The columns of each part of a table: all in one, or as many as fit, and the others behind those that tell rows apart.
fn parts(rows: &[Vec<String>], columns: usize) -> Vec<Vec<usize>> {
    let widths: Vec<usize> = (0..columns).map(|column| width(rows, column)).collect();
    if line_width(&widths.iter().map(|width| *width.min(&LEAST)).collect::<Vec<_>>()) <= COLUMNS {
        return vec![(0..columns).collect()];
    }
    let (mut parts, mut part, mut used) = (Vec::new(), Vec::new(), Vec::new());
    let repeated = repeated_columns(rows);
    for (column, width) in widths.iter().map(|width| *width.min(&LEAST_IN_PARTS)).enumerate() {
        used.push(width);
        if line_width(&used) > COLUMNS {
            parts.push(std::mem::replace(&mut part, (0..repeated).collect()));
            used = widths.iter().take(repeated).map(|width| *width.min(&LEAST_IN_PARTS)).collect();
            used.push(width);
        }
        part.push(column);
    }
    parts.push(part);
    parts
}

/// How many of the first columns each part of a table has: one, or two if several rows have the same in the first.
fn repeated_columns(rows: &[Vec<String>]) -> usize {
    let mut seen = HashSet::new();
    if rows.iter().all(|row| seen.insert(row.first())) { 1 } else { 2 }
}

/// Widths of columns that fit into a line, the widest of which are made narrower.
fn narrowed(mut widths: Vec<usize>) -> Vec<usize> {
    loop {
        let is_too_wide = line_width(&widths) > COLUMNS;
        let Some(widest) = widths.iter_mut().max().filter(|widest| is_too_wide && **widest > LEAST) else {
            return widths;
        };
        *widest -= 1;
    }
}

/// Writes a row, in several lines where a cell is wider than its column.
fn write_row(out: &mut dyn Write, columns: &[Column], widths: &[usize], row: &[String]) -> io::Result<()> {
    let mut rests: Vec<&str> = row.iter().map(String::as_str).collect();
    loop {
        let mut line = String::new();
        for ((rest, width), column) in rests.iter_mut().zip(widths).zip(columns) {
            let (part, behind) = rest.split_at(fitting(rest, *width));
            let blanks = " ".repeat(width.saturating_sub(part.width()));
            let cell = if column.is_number { blanks + part } else { part.to_owned() + &blanks };
            line.push_str(&cell);
            line.push_str(&" ".repeat(GAP));
            *rest = behind;
        }
        writeln!(out, "{}", line.trim_end())?;
        if rests.iter().all(|rest| rest.is_empty()) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(blocks: Vec<Block>) -> Vec<String> {
        let mut out = Vec::new();
        write("title", &[Section { id: "a", title: "A section", blocks }], &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().all(|line| line.width() <= COLUMNS && line == line.trim_end()), "{text}");
        text.lines().skip(5).map(str::to_owned).collect()
    }

    #[test]
    fn lines_that_are_too_long_go_on_behind_a_backslash() {
        let long = format!("{}{}", "x".repeat(79), "y".repeat(80));
        let expected = [format!("{}\\", "x".repeat(79)), "y".repeat(80)];
        assert_eq!(lines(vec![Block::Lines(vec![long])]), expected);
        assert_eq!(lines(vec![Block::Lines(vec!["a\tb\u{1b}[2J".to_owned()])]), ["a       b\\u{1b}[2J"]);
    }

    #[test]
    fn a_line_of_millions_of_characters_is_written_in_time_that_grows_with_it() {
        let found = lines(vec![Block::Lines(vec!["x".repeat(4 << 20)]), Block::Note("y".repeat(4 << 20))]);
        assert_eq!(found.iter().map(|line| line.matches(['x', 'y']).count()).sum::<usize>(), 8 << 20);
    }

    #[test]
    fn facts_and_notes_are_broken_between_words() {
        let value = "word ".repeat(30);
        let found = lines(vec![Block::Facts(vec![("name", value), ("other name", "1".repeat(100))])]);
        assert!(found[0].starts_with("name        word word") && found[0].ends_with("word"), "{found:?}");
        assert!(found[1].starts_with("            word"), "{found:?}");
        assert_eq!(found[3], format!("other name  {}", "1".repeat(68)));
        assert_eq!(found[4], format!("            {}", "1".repeat(32)));
        assert_eq!(lines(vec![Block::Note("n ".repeat(60))]).len(), 2);
    }

    /// Tables whose columns are called A, B and so on, of cells so wide that name their column and row.
    fn table(widths: &[usize], rows: usize) -> Table {
        const TITLES: [&str; 16] = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P"];
        let columns: Vec<_> = TITLES.iter().take(widths.len()).map(|title| crate::table::left(title)).collect();
        let cell = |row: usize, (title, width): (&&str, &usize)| format!("{:x<width$}", format!("{title}{row}"));
        let rows = (0..rows).map(|row| TITLES.iter().zip(widths).map(|each| cell(row, each)).collect());
        Table::new(columns, rows.collect())
    }

    #[test]
    fn tables_of_too_many_columns_are_written_in_parts() {
        let found = lines(vec![Block::Table(table(&[10; 11], 2))]);
        let titles = |line: &str| line.split_whitespace().collect::<String>();
        assert_eq!(found.len(), 7, "{found:?}");
        assert_eq!((titles(&found[0]), titles(&found[4])), ("ABCDEF".to_owned(), "AGHIJK".to_owned()));
        assert!(found[6].starts_with("A1xxxxxxxx  G1xxxxxxxx  H1"), "{found:?}");
        assert_eq!(found[3], "");
        // Rows that have the same in the first column have two in each part.
        let mut same = table(&[10; 11], 2);
        same.rows.iter_mut().for_each(|row| row[0] = "q".to_owned());
        let found = lines(vec![Block::Table(same)]);
        assert_eq!((titles(&found[0]), titles(&found[4])), ("ABCDEFG".to_owned(), "ABHIJK".to_owned()));
        // Lines fit whatever the columns are, and each column is in some part.
        for columns in 1..=16 {
            for width in [1, 4, 8, 9, 24, 25, 90, 300] {
                let found = lines(vec![Block::Table(table(&vec![width; columns], 3))]);
                let text = found.concat();
                let cells = (b'A'..).take(columns).filter(|title| text.contains(char::from(*title)));
                assert_eq!(cells.count(), columns, "{columns} columns of {width}");
            }
        }
    }

    #[test]
    fn cells_that_are_too_wide_go_on_below() {
        let column = |title, is_number| Column { title, is_number };
        let columns = vec![column("ID", true), column("NAME", false), column("TEXT", false)];
        let rows = vec![vec!["7".to_owned(), "\u{4e16}".repeat(60), "end".to_owned()], vec![String::new(); 3]];
        let found = lines(vec![Block::Table(Table::new(columns, rows))]);
        assert!(found[1].starts_with(" 7  \u{4e16}") && found[1].ends_with("end"), "{found:?}");
        assert!(found[2].starts_with("    \u{4e16}"), "{found:?}");
        let wide: usize = found[1..=2].iter().map(|line| line.matches('\u{4e16}').count()).sum();
        assert_eq!(wide, 60, "{found:?}");
    }
}
