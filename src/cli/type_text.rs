//! Types as C declares them, with comments that say where members are.

use super::output::COLUMNS;
use unicode_width::UnicodeWidthStr;
use vmcore::text::escape_control;
use vmcore::types::layout::{CacheLine, Gap, Layout, LayoutOptions, PlacedMember, Row};
use vmcore::types::{Aggregate, Enumeration, Integer, Kind, Meaning, TypeId, TypeTable, Variable};
use vmcore::units::{Hex, counted};

/// What a level of structures is moved to the right by.
const INDENT: &str = "    ";
/// Columns of a comment with an offset and a size.
const PLACE_WIDTH: usize = "/* 12345678 1234567 */".len();
/// More names of one type after another than any C has.
const MAX_CHAIN: usize = 64;
/// More enumerators than any kernel's enumeration has: what comes then is left out.
const MAX_ENUMERATORS: usize = 100_000;

/// Prints types of a table.
pub struct TypeText<'a> {
    /// The types.
    pub types: &'a TypeTable,
    /// What is shown of structures.
    pub options: LayoutOptions,
    /// Whether offsets and sizes are hexadecimal.
    pub is_hex: bool,
    /// Columns that lines fit in; `None` where they may have any length.
    pub columns: Option<usize>,
}

impl TypeText<'_> {
    /// A type: of a typedef, all names up to a structure or a basic type, and that.
    pub fn describe(&self, id: TypeId) -> Vec<String> {
        let mut lines = Vec::new();
        let mut at = id;
        for _ in 0..MAX_CHAIN {
            let found = self.types.get(at);
            let Kind::Typedef(target) = found.kind else { break };
            if self.types.get(target).name.is_empty() && self.is_defined(target) {
                self.add_definition(target, "typedef ", &format!(" {}", found.name), &mut lines);
                return lines;
            }
            lines.push(format!("typedef {};", self.types.declare(target, &found.name)));
            at = target;
        }
        if self.is_defined(at) {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            self.add_definition(at, "", "", &mut lines);
        } else {
            let text = lines.pop().unwrap_or_else(|| format!("{};", self.types.name_of(at)));
            self.add_remark(&text, &self.nature(at), &mut lines);
        }
        lines
    }

    /// A variable or function, and where it is.
    pub fn declare(&self, variable: &Variable) -> Vec<String> {
        let mut lines = Vec::new();
        let at = Hex(variable.address);
        let size = variable.size;
        let remark = if size == 0 { format!("at {at}") } else { format!("at {at}, {}", counted(size, "byte")) };
        let text = format!("{};", self.types.declare(variable.type_id, &variable.name));
        self.add_remark(&text, &remark, &mut lines);
        lines
    }

    /// Whether a type has contents, and is no other name of one that has.
    fn is_defined(&self, id: TypeId) -> bool {
        matches!(self.types.get(id).kind, Kind::Aggregate(_) | Kind::Enumeration(_))
    }

    /// What a type without contents is.
    fn nature(&self, id: TypeId) -> String {
        let what = match &self.types.get(self.types.strip(id)).kind {
            Kind::Integer(Integer { meaning: Meaning::Character, is_signed: true, .. }) => "signed character",
            Kind::Integer(Integer { meaning: Meaning::Character, .. }) => "unsigned character",
            Kind::Integer(Integer { meaning: Meaning::Boolean, .. }) => "boolean",
            Kind::Integer(Integer { is_signed: true, .. }) => "signed integer",
            Kind::Integer(_) => "unsigned integer",
            Kind::Float(_) => "floating point",
            Kind::Pointer(_) => "pointer",
            Kind::Array { .. } => "array",
            Kind::Aggregate(Aggregate { is_union: false, .. }) => "structure",
            Kind::Aggregate(_) => "union",
            Kind::Enumeration(_) => "enumeration",
            Kind::Function(_) => "function",
            Kind::Incomplete(_) => "declared only: its members are not known",
            Kind::Void => "no value",
            Kind::Typedef(_) | Kind::Qualified(..) | Kind::Unknown => "not known",
        };
        match self.types.size_of(id) {
            Some(size) => format!("{}, {what}", counted(size, "byte")),
            None => what.to_owned(),
        }
    }

    fn add_definition(&self, id: TypeId, before: &str, after: &str, lines: &mut Vec<String>) {
        let name = self.head_of(id);
        match &self.types.get(id).kind {
            Kind::Enumeration(enumeration) => {
                self.add_remark(&format!("{before}{name} {{"), &counted(enumeration.size, "byte"), lines);
                add_enumerators(enumeration, INDENT, lines);
                lines.push(format!("}}{after};"));
            }
            _ => {
                let Some(layout) = self.types.layout(id, self.options) else { return };
                self.add_place(&format!("{before}{name} {{"), ("offset", "size"), lines);
                self.add_rows(&layout, lines);
                lines.extend(self.summary(&layout).into_iter().map(|line| format!("{INDENT}/* {line} */")));
                lines.push(format!("}}{after};"));
            }
        }
    }

    /// What stands before the members of a structure, union or enumeration.
    fn head_of(&self, id: TypeId) -> String {
        let keyword = self.types.tag(id).map_or("", |tag| tag.keyword());
        match &*self.types.get(id).name {
            "" => keyword.to_owned(),
            name => format!("{keyword} {name}"),
        }
    }

    fn add_rows(&self, layout: &Layout<'_>, lines: &mut Vec<String>) {
        for row in &layout.rows {
            match row {
                Row::Member(placed) => self.add_member(placed, lines),
                Row::Begin(placed, inner) => self.add_beginning(placed, *inner, lines),
                Row::End(placed, _) => self.add_end(placed, lines),
                Row::Gap(Gap { depth, bits, is_padding, .. }) => {
                    let what = if *is_padding { "padding" } else { "hole" };
                    lines.push(format!("{}/* {what}: {} */", indent(*depth), amount(*bits)));
                }
                Row::CacheLine(CacheLine { depth, number, bytes_before }) => {
                    let before = match bytes_before {
                        0 => String::new(),
                        bytes => format!(", begun {} before", counted(*bytes, "byte")),
                    };
                    lines.push(format!("{}/* --- cache line {number}{before} --- */", indent(*depth)));
                }
            }
        }
        if layout.is_cut {
            lines.push(format!("{INDENT}/* more members are left out */"));
        }
    }

    fn add_member(&self, placed: &PlacedMember<'_>, lines: &mut Vec<String>) {
        let member = placed.member;
        let declared = self.types.declare(member.type_id, &member.name);
        let bits = member.bits.map_or_else(String::new, |bits| format!(":{bits}"));
        let text = format!("{}{declared}{bits};", indent(placed.depth));
        self.add_placed(&text, placed, lines);
    }

    fn add_beginning(&self, placed: &PlacedMember<'_>, inner: TypeId, lines: &mut Vec<String>) {
        let mut line = format!("{}{} {{", indent(placed.depth), self.head_of(inner));
        let written = self.types.written_contents(placed.member.type_id);
        if let Kind::Typedef(_) = self.types.get(written).kind {
            line.push_str(&format!(" /* {} */", self.types.get(written).name));
        }
        lines.push(line);
        if let Kind::Enumeration(enumeration) = &self.types.get(inner).kind {
            add_enumerators(enumeration, &indent(placed.depth + 1), lines);
        }
    }

    fn add_end(&self, placed: &PlacedMember<'_>, lines: &mut Vec<String>) {
        let mut name = placed.member.name.to_string();
        let mut at = placed.member.type_id;
        for _ in 0..MAX_CHAIN {
            at = match &self.types.get(at).kind {
                Kind::Array { element, count } => {
                    name.push_str(&count.map_or_else(|| "[]".to_owned(), |count| format!("[{count}]")));
                    *element
                }
                Kind::Qualified(_, target) => *target,
                _ => break,
            };
        }
        let blank = if name.is_empty() { "" } else { " " };
        self.add_placed(&format!("{}}}{blank}{name};", indent(placed.depth)), placed, lines);
    }

    fn add_placed(&self, text: &str, placed: &PlacedMember<'_>, lines: &mut Vec<String>) {
        let (byte, bit) = (placed.bit_offset / 8, placed.bit_offset % 8);
        let (offset, size) = match placed.member.bits {
            Some(bits) => (format!("{}:{bit}", self.number(byte)), counted(bits, "bit")),
            None => {
                let size = placed.bits.map_or_else(|| "?".to_owned(), |bits| self.number(bits / 8));
                (self.number(byte), size)
            }
        };
        self.add_place(text, (&offset, &size), lines);
    }

    fn number(&self, number: u64) -> String {
        if self.is_hex { format!("{number:#x}") } else { number.to_string() }
    }

    /// Adds a declaration with a place, in columns; on a line of its own where there is no room.
    fn add_place(&self, text: &str, (offset, size): (&str, &str), lines: &mut Vec<String>) {
        let comment = format!("/* {offset:>8} {size:>7} */");
        let room = COLUMNS.saturating_sub(PLACE_WIDTH);
        if escape_control(text).width() < room {
            lines.push(format!("{text:<room$}{comment}"));
            return;
        }
        let Some(columns) = self.columns else { return lines.push(format!("{text} {comment}")) };
        lines.extend(wrap(text, columns));
        lines.push(format!("{:room$}{comment}", ""));
    }

    /// Adds a declaration with a remark; on a line of its own where there is no room.
    fn add_remark(&self, text: &str, remark: &str, lines: &mut Vec<String>) {
        let line = format!("{text}  /* {remark} */");
        let Some(columns) = self.columns.filter(|columns| escape_control(&line).width() > *columns) else {
            return lines.push(line);
        };
        lines.extend(wrap(text, columns));
        lines.push(format!("{INDENT}/* {remark} */"));
    }

    /// What is said of a structure as a whole.
    fn summary(&self, layout: &Layout<'_>) -> Vec<String> {
        let mut size = format!("size: {}, members: {}", self.number(layout.size), layout.members);
        let lines = layout.size.checked_div(self.options.cache_line);
        if let Some(rest) = lines.and_then(|_| layout.size.checked_rem(self.options.cache_line)) {
            let all = layout.size.div_ceil(self.options.cache_line);
            size.push_str(&format!(", cache lines: {all}"));
            if rest != 0 && all > 1 {
                size.push_str(&format!(", the last: {}", counted(rest, "byte")));
            }
        }
        let mut unused = Vec::new();
        if layout.holes > 0 {
            unused.push(format!("holes: {}, together {}", layout.holes, amount(layout.hole_bits)));
        }
        if layout.padding_bits > 0 {
            unused.push(format!("padding: {}", amount(layout.padding_bits)));
        }
        std::iter::once(size).chain((!unused.is_empty()).then(|| unused.join(", "))).collect()
    }
}

fn indent(depth: usize) -> String {
    INDENT.repeat(depth.saturating_add(1))
}

/// So many bits, in bytes if they are whole ones.
fn amount(bits: u64) -> String {
    if bits.is_multiple_of(8) { counted(bits / 8, "byte") } else { counted(bits, "bit") }
}

fn add_enumerators(enumeration: &Enumeration, indent: &str, lines: &mut Vec<String>) {
    /// Others are the same in both notations.
    const FIRST_WITH_HEX: i64 = 10;
    for (name, value) in enumeration.enumerators.iter().take(MAX_ENUMERATORS) {
        let hex = if *value >= FIRST_WITH_HEX { format!("  /* {value:#x} */") } else { String::new() };
        lines.push(format!("{indent}{name} = {value},{hex}"));
    }
    let more = enumeration.enumerators.len().saturating_sub(MAX_ENUMERATORS);
    if more > 0 {
        lines.push(format!("{indent}/* {} left out */", counted(more, "more enumerator")));
    }
}

/// A declaration on lines of at most so many columns, as far as its words allow that.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let before: String = text.chars().take_while(|c| *c == ' ').collect();
    let mut lines = vec![String::new()];
    for word in text.trim_start().split_inclusive(' ') {
        let start = if lines.len() == 1 { before.clone() } else { format!("{before}{INDENT}") };
        let line = lines.last().map_or("", String::as_str);
        let width = escape_control(&format!("{start}{line}{}", word.trim_end())).width();
        if width > columns && !line.is_empty() {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(word);
        }
    }
    let indented = |(index, line): (usize, &String)| {
        let start = if index == 0 { before.clone() } else { format!("{before}{INDENT}") };
        format!("{start}{}", line.trim_end())
    };
    lines.iter().enumerate().map(indented).collect()
}
