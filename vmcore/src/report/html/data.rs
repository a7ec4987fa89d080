//! Folded parts of a page as JSON, of which its script makes the elements that [`super`] would have written.
//!
//! A character that is not seen, or that changes how others are, is escaped as in Rust between U+0001 and U+0002, and no text
//! has others of those.

use super::super::section::{StackLine, StackText};
use super::lines::{place_of_gist, split_offset, width_of_pcs};
use crate::markup::is_invisible;
use crate::table::Table;
use std::collections::HashMap;
use std::fmt::{self, Display, Formatter, Write};

/// A text as JSON that can stand in a page: it has no `<`.
struct Json<'a>(&'a str);

impl Display for Json<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\""),
                '\\' => f.write_str("\\\\"),
                '<' => f.write_str("\\u003c"),
                '\t' => f.write_str("\\t"),
                // The one backslash of the escape is one of the text.
                c if is_invisible(c) => write!(f, "\\u0001\\{}\\u0002", c.escape_default()),
                c => f.write_char(c),
            }?;
        }
        f.write_char('"')
    }
}

/// Values of JSON in brackets.
fn list<T: Display>(f: &mut Formatter<'_>, values: impl IntoIterator<Item = T>) -> fmt::Result {
    f.write_char('[')?;
    for (index, value) in values.into_iter().enumerate() {
        let before = if index > 0 { "," } else { "" };
        write!(f, "{before}{value}")?;
    }
    f.write_char(']')
}

/// Texts.
pub(super) struct Strings<'a>(pub &'a [String]);

impl Display for Strings<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        list(f, self.0.iter().map(|text| Json(text)))
    }
}

/// The cells of each row of a table.
pub(super) struct Rows<'a>(pub &'a Table);

impl Display for Rows<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        list(f, self.0.rows.iter().map(|row| Strings(row)))
    }
}

/// Stacks: all lines that are in any of them, once; and of each stack its threads, the numbers of its lines, and which of its
/// functions tell where it is.
pub(super) struct Stacks<'a>(pub &'a [StackText]);

impl Display for Stacks<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut lines = Lines::default();
        f.write_str("{\"stacks\":[")?;
        for (index, stack) in self.0.iter().enumerate() {
            let before = if index > 0 { "," } else { "" };
            write!(f, "{before}[{},", Strings(&stack.threads))?;
            let width = width_of_pcs(&stack.lines);
            let end = stack.end.as_ref().map(|end| format!("{{\"end\":{}}}", Json(end)));
            let described = stack.lines.iter().filter_map(|line| describe(line, width)).chain(end);
            list(f, described.map(|line| lines.number(line)))?;
            let (skipped, told) = place_of_gist(&stack.lines);
            write!(f, ",{skipped},{told}]")?;
        }
        f.write_str("],\"lines\":")?;
        list(f, lines.in_order())?;
        f.write_char('}')
    }
}

/// Lines of stacks, each with a number.
#[derive(Default)]
struct Lines(HashMap<String, usize>);

impl Lines {
    fn number(&mut self, line: String) -> usize {
        let next = self.0.len();
        *self.0.entry(line).or_insert(next)
    }

    fn in_order(self) -> impl Iterator<Item = String> {
        let mut lines: Vec<_> = self.0.into_iter().collect();
        lines.sort_unstable_by_key(|(_, number)| *number);
        lines.into_iter().map(|(line, _)| line)
    }
}

/// A line of a stack whose addresses have so many characters; none of a trap without a text.
fn describe(line: &StackLine, width: usize) -> Option<String> {
    let (frame, pc, function, module, source, is_inlined, repeats) = match line {
        StackLine::Trap(lines) if lines.is_empty() => return None,
        StackLine::Trap(lines) => return Some(format!("{{\"trap\":{}}}", Strings(lines))),
        StackLine::Call { frame, pc, function, module, source, is_inlined, repeats } => {
            (frame, pc, function, module, source, u8::from(*is_inlined), repeats)
        }
    };
    let pc = if is_inlined == 1 { " ".repeat(width) } else { format!("{pc:#width$x}") };
    let (name, offset) = split_offset(function);
    let or_null =
        |text: &Option<String>| text.as_ref().map_or_else(|| "null".to_owned(), |text| Json(text).to_string());
    let (name, offset, module, source) = (Json(name), Json(offset), or_null(module), or_null(source));
    Some(format!("[\"#{frame:<3} \",\"{pc}\",{name},{offset},{is_inlined},{module},{source},{repeats}]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_json_that_can_stand_in_a_page() {
        let hostile = "</script><!-- \0\u{1}\u{2}\u{1b}\u{202e}\u{2028} \"quoted\" \\n \t end";
        let json = Json(hostile).to_string();
        assert!(!json.contains('<') && json.chars().all(|c| !is_invisible(c)), "{json}");
        let text: String = serde_json::from_str(&json).unwrap();
        let shown = "</script><!-- \\u{0}\\u{1}\\u{2}\\u{1b}\\u{202e}\\u{2028} \"quoted\" \\n \t end";
        assert_eq!(text.replace(['\u{1}', '\u{2}'], ""), shown);
        assert_eq!(text.matches('\u{1}').count(), 6);
    }

    #[test]
    fn lines_that_several_stacks_have_are_written_once() {
        let stack = StackText {
            threads: vec!["PID 1".to_owned()],
            lines: vec![StackLine::Trap(vec!["trap".to_owned()]), StackLine::Trap(Vec::new())],
            end: Some("end".to_owned()),
        };
        let json = Stacks(&[stack.clone(), stack]).to_string();
        assert_eq!(
            json,
            r#"{"stacks":[[["PID 1"],[0,1],0,0],[["PID 1"],[0,1],0,0]],"lines":[{"trap":["trap"]},{"end":"end"}]}"#
        );
    }
}
