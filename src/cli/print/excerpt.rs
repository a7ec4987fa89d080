//! The part of an expression that an error is about, underlined.

use crate::cli::output::COLUMNS;
use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;
use vmcore::bounds::split_text;
use vmcore::expression::Span;
use vmcore::text::escape_control;

/// Columns before the expression.
const INDENT: usize = 2;
/// Characters that are shown of what is before and behind the part that is meant, where not all has room.
const CONTEXT: usize = 20;
/// What stands for the rest.
const LEFT_OUT: &str = "...";

/// Prints an expression on standard error with a line below it.
pub fn print(text: &str, span: Span) {
    let [shown, mark] = lines(text, span);
    // Where that cannot be written to, there is nobody to tell.
    let _ = io::stderr().write_all(format!("{shown}\n{mark}\n").as_bytes());
}

/// The expression, and what is below it.
fn lines(text: &str, span: Span) -> [String; 2] {
    let (before, rest) = split_text(text, span.start);
    let (meant, behind) = split_text(rest, span.end.saturating_sub(span.start));
    let [before, meant, behind] = [before, meant, behind].map(shown);
    let is_long = INDENT + before.width() + meant.width() + behind.width() > COLUMNS;
    let (before, behind) = if is_long { (end_of(&before), beginning_of(&behind, CONTEXT)) } else { (before, behind) };
    let room = COLUMNS - INDENT - 2 * (CONTEXT + LEFT_OUT.len());
    let meant = if is_long { beginning_of(&meant, room - LEFT_OUT.len()) } else { meant };
    let marks = "^".repeat(meant.width().max(1));
    let mark = format!("{:indent$}{marks}", "", indent = INDENT + before.width());
    [format!("{:INDENT$}{before}{meant}{behind}", ""), mark]
}

/// Text on one line, each character of which has its own column.
fn shown(text: &str) -> String {
    escape_control(&text.replace('\t', " ")).into_owned()
}

fn beginning_of(text: &str, count: usize) -> String {
    match text.char_indices().nth(count) {
        Some((at, _)) => format!("{}{LEFT_OUT}", split_text(text, at).0),
        None => text.to_owned(),
    }
}

fn end_of(text: &str) -> String {
    let skipped = text.chars().count().saturating_sub(CONTEXT);
    match text.char_indices().nth(skipped).filter(|_| skipped > 0) {
        Some((at, _)) => format!("{LEFT_OUT}{}", split_text(text, at).1),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_that_is_meant_is_underlined() {
        for (text, start, end, expected) in [
            ("proc0.p_pidd", 6, 12, ["  proc0.p_pidd", "        ^^^^^^"]),
            ("a +", 3, 3, ["  a +", "     ^"]),
            ("", 0, 0, ["  ", "  ^"]),
            ("\u{1b}[1m a", 0, 1, ["  \\u{1b}[1m a", "  ^^^^^^"]),
            ("a\tb\u{4e16}c", 6, 7, ["  a b\u{4e16}c", "       ^"]),
        ] {
            assert_eq!(lines(text, Span::new(start, end)), expected.map(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn of_a_long_expression_the_part_is_shown_with_what_is_around_it() {
        let text = format!("{}BAD{}", "a".repeat(500), "b".repeat(500));
        let [shown, mark] = lines(&text, Span::new(500, 503));
        assert_eq!(shown, format!("  ...{}BAD{}...", "a".repeat(20), "b".repeat(20)));
        assert_eq!(mark, format!("{}^^^", " ".repeat(25)));
        for span in [Span::new(0, 1003), Span::new(0, 0), Span::new(1006, 1006)] {
            for line in lines(&text, span) {
                assert!(line.width() <= COLUMNS, "{line}");
            }
        }
    }
}
