//! Values as text, in the form that C gives them in declarations.

use super::{MemberValue, Run, Text, Value, ValueKind};
use crate::fault::{Fault, Why};
use crate::text::column;
use crate::types::TypeTable;
use crate::units::{Hex, hex_digits};
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;

/// Columns by which what is in braces is indented.
const INDENT: usize = 2;
/// Columns by which what does not fit in a line is indented in the next.
const HANGING: usize = 4;
/// Numbers from which on an unsigned one is taken to be an address, or bits, and written in hexadecimal.
const LIKE_AN_ADDRESS: i128 = 1 << 48;

/// The form of numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NumberForm {
    /// Decimal, but for addresses and numbers as large as these.
    #[default]
    Usual,
    /// Decimal.
    Decimal,
    /// Hexadecimal.
    Hexadecimal,
}

/// How values are written.
#[derive(Debug, Clone, Copy)]
pub struct TextForm<'a> {
    /// The types of the values.
    pub types: &'a TypeTable,
    /// The form of numbers.
    pub numbers: NumberForm,
    /// Columns of a line.
    pub width: usize,
}

/// A value in lines; `before` is what the first begins with.
pub fn lines(value: &Value, form: TextForm<'_>, before: &str) -> Vec<String> {
    let mut writer = Writer { form, lines: Vec::new() };
    writer.value(0, before, value, "");
    writer.lines
}

/// A value in a cell of a table: what is in braces is left out.
pub fn cell(value: &Value, form: TextForm<'_>) -> String {
    pieces(value, form, usize::MAX).join(" ")
}

/// Whether a value takes several lines, in braces.
pub fn is_block(value: &Value) -> bool {
    match &value.kind {
        ValueKind::Aggregate { members, .. } => !members.is_empty(),
        ValueKind::Array { runs, .. } => runs.iter().any(|run| is_block(&run.value)),
        _ => false,
    }
}

/// Writes lines.
struct Writer<'a> {
    form: TextForm<'a>,
    lines: Vec<String>,
}

impl Writer<'_> {
    fn line(&mut self, indent: usize, text: &str) {
        self.lines.push(format!("{:indent$}{text}", ""));
    }

    /// A value with what is before and behind it.
    fn value(&mut self, indent: usize, before: &str, value: &Value, behind: &str) {
        if !is_block(value) {
            return self.simple(indent, before, value, behind);
        }
        self.line(indent, &format!("{before}{{"));
        let inner = indent + INDENT;
        match &value.kind {
            ValueKind::Aggregate { members, .. } => {
                for (index, member) in members.iter().enumerate() {
                    self.member(inner, member, comma(index, members.len()));
                }
            }
            ValueKind::Array { count, runs } => self.elements(inner, *count, runs),
            _ => {}
        }
        self.line(indent, &format!("}}{behind}"));
    }

    fn member(&mut self, indent: usize, member: &MemberValue, behind: &str) {
        let before = match (&*member.name, &member.value.kind) {
            ("", ValueKind::Aggregate { is_union: true, .. }) => "union ".to_owned(),
            ("", ValueKind::Aggregate { .. }) => "struct ".to_owned(),
            (name, _) => format!("{} = ", column(name.as_bytes())),
        };
        self.value(indent, &before, &member.value, behind);
    }

    fn elements(&mut self, indent: usize, count: Option<u64>, runs: &[Run]) {
        let is_cut = is_cut(count, runs);
        for (position, Run { first, count, value }) in runs.iter().enumerate() {
            let last = first.saturating_add(count.saturating_sub(1));
            let index = if *count == 1 { format!("[{first}] = ") } else { format!("[{first} ... {last}] = ") };
            let behind = if is_cut { "," } else { comma(position, runs.len()) };
            self.value(indent, &index, value, behind);
        }
        if is_cut {
            self.line(indent, "...");
        }
    }

    /// A value without braces, in as many lines as it needs.
    fn simple(&mut self, indent: usize, before: &str, value: &Value, behind: &str) {
        let hanging = indent + HANGING;
        let room = self.form.width.saturating_sub(hanging + behind.len());
        let mut all = pieces(value, self.form, room);
        if let Some(last) = all.last_mut() {
            last.push_str(behind);
        }
        let mut line = format!("{:indent$}{before}", "");
        let mut is_first = true;
        for piece in all {
            let used = line.width() + usize::from(!is_first) + piece.width();
            if used > self.form.width && line.width() > hanging {
                self.lines.push(line.trim_end().to_owned());
                line = " ".repeat(hanging);
            } else if !is_first {
                line.push(' ');
            }
            line.push_str(&piece);
            is_first = false;
        }
        self.lines.push(line);
    }
}

fn comma(index: usize, count: usize) -> &'static str {
    if index + 1 < count { "," } else { "" }
}

/// Whether an array has elements that were not read.
fn is_cut(count: Option<u64>, runs: &[Run]) -> bool {
    let shown = runs.last().map_or(0, |run| run.first.saturating_add(run.count));
    count.is_some_and(|count| shown < count)
}

/// What a value without braces consists of, and may be broken between; texts in parts that fit in so many columns.
fn pieces(value: &Value, form: TextForm<'_>, room: usize) -> Vec<String> {
    match &value.kind {
        ValueKind::Integer(number) => vec![integer(*number, form.numbers)],
        ValueKind::Character(number) => character(*number, form.numbers),
        ValueKind::Boolean(0) => vec!["false".to_owned()],
        ValueKind::Boolean(1) => vec!["true".to_owned()],
        ValueKind::Boolean(number) => vec![format!("true ({number})")],
        ValueKind::Enumeration { value, names, rest } => enumeration(*value, names, *rest, form.numbers),
        ValueKind::Float(number) => vec![format!("{number:?}")],
        ValueKind::Pointer { address, symbol, text } => pointer(*address, symbol.as_deref(), text.as_ref(), room),
        ValueKind::Text(text) => quoted(text, room),
        ValueKind::Bytes(bytes) => bytes_in_hexadecimal(bytes, room),
        ValueKind::Array { count, runs } => array(*count, runs, form, room),
        ValueKind::Aggregate { members, .. } if members.is_empty() => vec!["{}".to_owned()],
        ValueKind::Aggregate { .. } | ValueKind::Folded => vec!["{...}".to_owned()],
        ValueKind::Opaque => vec![format!("<of unknown contents: {}>", form.types.name_of(value.type_id))],
        ValueKind::Unreadable(fault) => vec![unreadable(*fault)],
    }
}

fn integer(number: i128, form: NumberForm) -> String {
    let is_hexadecimal = match form {
        NumberForm::Usual => number >= LIKE_AN_ADDRESS,
        NumberForm::Decimal => false,
        NumberForm::Hexadecimal => true,
    };
    match number {
        _ if !is_hexadecimal => number.to_string(),
        0.. => format!("{number:#x}"),
        _ => format!("-{:#x}", number.unsigned_abs()),
    }
}

/// A `char`: its number, and what it stands for, if that is more than a number.
fn character(number: i128, form: NumberForm) -> Vec<String> {
    let mut all = vec![integer(number, form)];
    if let Some(byte) = u8::try_from(number).ok().filter(|byte| (b' '..0x7f).contains(byte)) {
        all.push(format!("'{}'", escaped(byte, '\'')));
    }
    all
}

fn enumeration(value: i128, names: &[Box<str>], rest: i128, form: NumberForm) -> Vec<String> {
    let mut all: Vec<String> = names.iter().map(|name| column(name.as_bytes())).collect();
    if rest != 0 || all.is_empty() {
        let form = if all.is_empty() { form } else { NumberForm::Hexadecimal };
        all.push(integer(if all.is_empty() { value } else { rest }, form));
    }
    let count = all.len();
    all.iter_mut().take(count.saturating_sub(1)).for_each(|name| name.push_str(" |"));
    all
}

fn pointer(address: u64, symbol: Option<&str>, text: Option<&Result<Text, Fault>>, room: usize) -> Vec<String> {
    let mut all = vec![if address == 0 { "NULL".to_owned() } else { Hex(address).to_string() }];
    all.extend(symbol.map(|symbol| format!("<{}>", column(symbol.as_bytes()))));
    match text {
        Some(Ok(text)) => all.extend(quoted(text, room)),
        Some(Err(fault)) => all.push(unreadable(*fault)),
        None => {}
    }
    all
}

/// No kernel has anything in the first page: what is read there is a member by way of a null pointer.
const NULL_PAGE: u64 = 4096;

/// Why memory cannot be read, in few words: messages have more.
pub fn unreadable(fault: Fault) -> String {
    if fault.address < NULL_PAGE {
        return "<null pointer>".to_owned();
    }
    let why = match fault.why {
        Why::NotMapped(_) | Why::NotCovered => "not mapped".to_owned(),
        Why::NoTable(_) => "its page table is missing".to_owned(),
        Why::NoPage(_) | Why::LeftOut(..) | Why::NoImage(_) | Why::NotListed => "its page is missing".to_owned(),
        Why::Untranslated(_) | Why::ReadOnlyDirectly(_) | Why::ReadOnly => "not translated".to_owned(),
        Why::Io(errno) => errno.name().into_owned(),
    };
    format!("<unreadable: {why}>")
}

/// A byte as it is in quotes in C.
fn escaped(byte: u8, quote: char) -> String {
    match byte {
        b'\n' => "\\n".to_owned(),
        b'\t' => "\\t".to_owned(),
        b'\r' => "\\r".to_owned(),
        b'\\' => "\\\\".to_owned(),
        _ if char::from(byte) == quote => format!("\\{quote}"),
        b' '..=b'~' => char::from(byte).to_string(),
        // Of three digits at most: what follows does not change it.
        _ => format!("\\{byte:03o}"),
    }
}

/// A text in quotes, in as many of them as lines need.
fn quoted(text: &Text, room: usize) -> Vec<String> {
    let room = room.saturating_sub("\"\"...".len()).max(8);
    let mut all = Vec::new();
    let mut part = String::new();
    for byte in &text.bytes {
        let written = escaped(*byte, '"');
        if part.len() + written.len() > room {
            all.push(format!("\"{}\"", std::mem::take(&mut part)));
        }
        part.push_str(&written);
    }
    if !part.is_empty() || all.is_empty() {
        all.push(format!("\"{part}\""));
    }
    if let Some(last) = all.last_mut().filter(|_| text.is_cut) {
        last.push_str("...");
    }
    all
}

fn bytes_in_hexadecimal(bytes: &Text, room: usize) -> Vec<String> {
    // Each byte takes two digits, and parts of eight keep lines of an even length.
    let in_part = (room.saturating_sub("...".len()) / 2 / 8 * 8).clamp(8, bytes.bytes.len().max(8));
    let mut all: Vec<String> = bytes.bytes.chunks(in_part).map(hex_digits).collect();
    match all.last_mut() {
        Some(last) if bytes.is_cut => last.push_str("..."),
        Some(_) => {}
        None => all.push("{}".to_owned()),
    }
    all
}

/// An array in one line, or in lines that are filled.
fn array(count: Option<u64>, runs: &[Run], form: TextForm<'_>, room: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for Run { count, value, .. } in runs {
        let mut element = pieces(value, form, room);
        if let Some(last) = element.last_mut() {
            if *count > 1 {
                let _ = write!(last, " <{count} times>");
            }
            last.push(',');
        }
        all.extend(element);
    }
    if is_cut(count, runs) {
        all.push("...".to_owned());
    } else if let Some(last) = all.last_mut() {
        last.pop();
    }
    match all.first_mut() {
        Some(first) => first.insert(0, '{'),
        None => return vec!["{}".to_owned()],
    }
    if let Some(last) = all.last_mut() {
        last.push('}');
    }
    all
}
