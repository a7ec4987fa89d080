//! Standard output: tables on a terminal, plain lines elsewhere, or one JSON object.

use super::{eprint_message, json};
use memtool::host::ProcessHost;
use memtool::{Error, Result};
use serde::Serialize;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Padding, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
use vmcore::bounds::tail;
use vmcore::dump::byte_source::Trouble;
use vmcore::text::escape_control;
use vmcore::units::{exact_size, rough_size};

/// The kind of a host that is a recorded machine.
pub use memtool::host::recorded::KIND as RECORDED;

/// What stands for the middle of a text that is too long.
const LEFT_OUT: &str = "...";

/// Columns of a terminal that does not tell.
pub const COLUMNS: usize = 80;

/// Whether an error only says that nobody reads standard output any more.
pub fn is_closed_pipe(error: &Error) -> bool {
    matches!(error, Error::StandardOutput(source) if source.kind() == io::ErrorKind::BrokenPipe)
}

/// Characters that are echoed at most of what a person has typed.
const ECHOED: usize = 200;

/// Text whose words, such as arguments and paths, are echoed as far as a message has room for them.
pub fn shorten(text: &str) -> Cow<'_, str> {
    if text.split_whitespace().all(|word| word.len() <= ECHOED) && text.len() <= 20 * ECHOED {
        return text.into();
    }
    let mut shown = String::new();
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            shown.push(' ');
        }
        let length = word.chars().count();
        if length <= ECHOED {
            shown.push_str(word);
            continue;
        }
        let half = ECHOED / 2 - LEFT_OUT.len();
        shown.extend(word.chars().take(half));
        shown.push_str(LEFT_OUT);
        shown.extend(word.chars().skip(length - half));
    }
    shown.into()
}

/// What fits in so many columns of a terminal of a name: its beginning and its end.
pub fn fit(name: String, room: usize) -> String {
    /// Less tells nothing.
    const LEAST: usize = 12;
    let room = room.max(LEAST);
    if name.width() <= room {
        return name;
    }
    let kept = room.saturating_sub(LEFT_OUT.len());
    let head: String = fitting(name.chars(), kept / 2).collect();
    let tail: Vec<char> = fitting(name.chars().rev(), kept.saturating_sub(head.width())).collect();
    format!("{head}{LEFT_OUT}{}", tail.iter().rev().collect::<String>())
}

/// As many characters as fit in so many columns.
fn fitting(characters: impl Iterator<Item = char>, room: usize) -> impl Iterator<Item = char> {
    let mut taken = 0;
    characters.take_while(move |c| {
        taken += c.width().unwrap_or(0);
        taken <= room
    })
}

/// Whether a cell is a number in decimal, perhaps with its unit.
fn is_number(cell: &str) -> bool {
    let (number, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    let is_number = number.starts_with(|c: char| c.is_ascii_digit()) && number.parse::<f64>().is_ok();
    is_number && (unit.is_empty() || unit == "%" || unit.ends_with('B'))
}

/// An I/O error of standard output.
pub fn failed(source: io::Error) -> Error {
    Error::StandardOutput(source)
}

/// The heading of a column of [`Output::narrow_rows`].
pub struct NarrowHeading<'a> {
    pub text: &'a str,
    /// Whether its values are aligned on the left.
    pub is_left: bool,
}

/// Standard output.
pub struct Output {
    // The descriptor itself: `Stdout` would look for the ends of lines in a dump.
    out: BufWriter<File>,
    json: bool,
    /// Of the terminal, if it is one.
    columns: Option<usize>,
    /// Whether names are printed whole.
    wide: bool,
    /// Warnings so far, for the JSON object.
    warnings: Vec<String>,
    /// Whether what was printed says that it is of a recorded machine.
    has_told_of_recording: bool,
    /// Dumps of which something may turn out to be unreadable, by their names.
    watched: Vec<(String, Trouble)>,
}

/// The head of every JSON object.
#[derive(Serialize)]
pub struct Document<'a, T> {
    schema: &'a str,
    version: u32,
    host: &'static str,
    #[serde(flatten)]
    body: T,
    /// Every warning of the run, `-q` or not.
    warnings: &'a [String],
}

impl<'a, T> Document<'a, T> {
    /// What is said of a host in version 1 of a schema.
    pub fn new(schema: &'a str, host: &'static str, body: T, warnings: &'a [String]) -> Self {
        Self { schema, version: 1, host, body, warnings }
    }
}

impl Output {
    pub fn new(json: bool, wide: bool) -> Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?);
        let size = out.is_terminal().then(|| terminal_size::terminal_size_of(&out));
        let columns = size.map(|size| size.map_or(COLUMNS, |(width, _)| width.0.into()));
        Ok(Self {
            out: BufWriter::new(out),
            json,
            columns,
            wide,
            warnings: Vec::new(),
            has_told_of_recording: false,
            watched: Vec::new(),
        })
    }

    /// What text adds about the kind of a host: a recorded machine is never presented as a real one.
    pub fn remark_on(&mut self, kind: &str) -> &'static str {
        if kind != RECORDED {
            return "";
        }
        self.has_told_of_recording = true;
        " (recorded machine)"
    }

    /// Whether what was printed says so.
    pub fn has_told_of_recording(&self) -> bool {
        self.has_told_of_recording
    }

    /// Prints names whole from now on.
    pub fn widen(&mut self) {
        self.wide = true;
    }

    /// Whether one JSON object is wanted.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether a person is reading.
    pub fn is_terminal(&self) -> bool {
        self.columns.is_some()
    }

    /// The columns that lines are to fit in; `None` where they may have any length.
    pub fn columns(&self) -> Option<usize> {
        self.columns.filter(|_| !self.wide)
    }

    /// The columns that lines are folded at, also where nobody is reading.
    pub fn width(&self) -> usize {
        if self.wide { usize::MAX } else { self.columns.unwrap_or(COLUMNS) }
    }

    /// Keeps a warning for the JSON object, which has to come after all of them.
    pub fn keep_warning(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }

    /// Prints the JSON object of a command on a host.
    pub fn document(&mut self, schema: &str, host: &dyn ProcessHost, body: &impl Serialize) -> Result<()> {
        self.document_of(schema, host.kind(), body)
    }

    /// Prints the JSON object of a command on `freebsd`, `linux`, a `recorded` machine or an `image`.
    pub fn document_of(&mut self, schema: &str, host: &'static str, body: &impl Serialize) -> Result<()> {
        self.has_told_of_recording |= host == RECORDED;
        for trouble in self.new_troubles() {
            self.keep_warning(&trouble);
            eprint_message(&format!("warning: {trouble}"));
        }
        let document = Document::new(schema, host, body, &self.warnings);
        json::write(&mut self.out, &document).map_err(failed)
    }

    /// Has it told when something of a dump could not be read, and why.
    pub fn watch(&mut self, name: String, trouble: Trouble) {
        self.watched.push((name, trouble));
    }

    /// Why something could not be read, as far as that was not told.
    pub fn new_troubles(&mut self) -> Vec<String> {
        let is_known = |(_, trouble): &(String, Trouble)| trouble.reason().is_some();
        let (told, watched) = std::mem::take(&mut self.watched).into_iter().partition(is_known);
        self.watched = watched;
        let told: Vec<(String, Trouble)> = told;
        told.iter().filter_map(|(name, trouble)| Some(format!("{name}: {}", trouble.reason()?))).collect()
    }

    /// How many warnings there are so far.
    #[cfg(feature = "archive")]
    pub fn warning_count(&self) -> usize {
        self.warnings.len()
    }

    /// Writes the JSON object of a command into a file, with the warnings from one on; see [`Self::document_of`].
    pub fn write_document(
        &self,
        file: &mut impl Write,
        schema: &str,
        host: &'static str,
        body: &impl Serialize,
        first_warning: usize,
    ) -> io::Result<()> {
        json::write(file, &Document::new(schema, host, body, tail(&self.warnings, first_warning)))
    }

    /// Prints a line.
    pub fn line(&mut self, text: &str) -> Result<()> {
        writeln!(self.out, "{}", escape_control(text)).map_err(failed)
    }

    /// Prints a line that ends in a place in source, ` at FILE:4`; where it is too long, the place is on a line of its own.
    pub fn line_at(&mut self, text: &str, indent: &str, source: &str) -> Result<()> {
        let room = self.width();
        let line = format!("{text} at {source}");
        if escape_control(&line).width() <= room {
            return self.line(&line);
        }
        self.line(text)?;
        let source = escape_control(source).into_owned();
        let used = indent.len() + "at ".len();
        let source = if self.columns().is_some() { fit(source, room.saturating_sub(used)) } else { source };
        self.line(&format!("{indent}at {source}"))
    }

    /// Prints a line that may not be text: as it is where nobody is reading.
    pub fn raw_line(&mut self, line: &[u8]) -> Result<()> {
        if self.is_terminal() {
            return self.line(&String::from_utf8_lossy(line));
        }
        self.bytes(line)?;
        self.bytes(b"\n")
    }

    /// Prints rows: aligned under their headings on a terminal, else with tabs between the fields.
    pub fn rows(&mut self, headings: &[&str], rows: &[Vec<String>]) -> Result<()> {
        if !self.is_terminal() {
            for row in rows {
                self.line(&row.join("\t"))?;
            }
            return Ok(());
        }
        self.table(headings, rows)
    }

    /// The same for rows that can be too wide for a terminal: there each is printed by itself then, with a line for each value
    /// that it has, behind its heading. Of no rows nothing is printed.
    pub fn rows_or_blocks(&mut self, headings: &[&str], rows: &[Vec<String>]) -> Result<()> {
        const GAP: usize = 2;
        let widest = |column: usize, heading: &str| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).fold(heading.width(), usize::max)
        };
        let table = headings.iter().enumerate().map(|(column, heading)| widest(column, heading) + GAP).sum::<usize>();
        match self.columns() {
            _ if rows.is_empty() => Ok(()),
            Some(room) if table.saturating_sub(GAP) > room => {
                let width = headings.iter().map(|heading| heading.width()).max().unwrap_or_default();
                for row in rows {
                    for (heading, cell) in headings.iter().zip(row).filter(|(_, cell)| *cell != "-") {
                        self.line(&format!("{heading:<width$}  {cell}"))?;
                    }
                    self.line("")?;
                }
                Ok(())
            }
            _ => self.rows(headings, rows),
        }
    }

    /// Prints rows as ps(1) does, with one column between fields: aligned under their headings on a terminal, each line cut off
    /// at its width; else as [`Self::rows`]. Tells whether a row had to be cut.
    pub fn narrow_rows(&mut self, headings: &[NarrowHeading<'_>], rows: &[Vec<String>]) -> Result<bool> {
        if !self.is_terminal() {
            return self.rows(&[], rows).map(|()| false);
        }
        let width = |index: usize, heading: &str| {
            let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.width());
            cells.chain([heading.width()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> =
            headings.iter().enumerate().map(|(index, heading)| width(index, heading.text)).collect();
        let titles: Vec<&str> = headings.iter().map(|heading| heading.text).collect();
        if titles.iter().any(|title| !title.is_empty()) {
            self.narrow_row(headings, &widths, &titles)?;
        }
        let mut is_cut = false;
        for row in rows {
            let cells: Vec<_> = row.iter().map(String::as_str).collect();
            is_cut |= self.narrow_row(headings, &widths, &cells)?;
        }
        Ok(is_cut)
    }

    /// Prints a row, and tells whether it had to be cut: within a text, but never within a number, which would be another one.
    fn narrow_row(&mut self, headings: &[NarrowHeading<'_>], widths: &[usize], cells: &[&str]) -> Result<bool> {
        let room = self.columns().unwrap_or(usize::MAX);
        let (mut line, mut is_cut) = (String::new(), false);
        for ((heading, width), cell) in headings.iter().zip(widths).zip(cells) {
            let pad = " ".repeat(width.saturating_sub(cell.width()));
            let (before, behind) = if heading.is_left { ("", &*pad) } else { (&*pad, "") };
            if !heading.is_left && line.width() + before.width() + cell.width() > room {
                is_cut = true;
                break;
            }
            line.extend([before, cell, behind, " "]);
        }
        let line = line.trim_end();
        is_cut |= line.width() > room;
        self.line(&fitting(line.chars(), room).collect::<String>())?;
        Ok(is_cut)
    }

    /// A size in a table: to the nearest tenth of a unit for a person, in bytes for a program.
    pub fn size(&self, bytes: u128) -> String {
        match u64::try_from(bytes) {
            Ok(bytes) if self.is_terminal() => rough_size(bytes),
            _ if self.is_terminal() => exact_size(bytes),
            _ => bytes.to_string(),
        }
    }

    /// Prints rows aligned under their headings, numbers to the right, wherever that is.
    pub fn table(&mut self, headings: &[&str], rows: &[Vec<String>]) -> Result<()> {
        let mut builder = Builder::default();
        builder.push_record(headings.iter().copied());
        for row in rows {
            builder.push_record(row);
        }
        let mut table = builder.build();
        table.with(Style::empty()).with(Padding::new(0, 2, 0, 0));
        for column in 0..headings.len() {
            let mut cells = rows.iter().filter_map(|row| row.get(column)).filter(|cell| *cell != "-").peekable();
            if cells.peek().is_some() && cells.all(|cell| is_number(cell)) {
                table.modify(Columns::one(column), Alignment::right());
            }
        }
        for line in table.to_string().lines() {
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Where bytes are printed as they are.
    pub fn writer(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// Prints bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(failed)
    }

    /// Hands over what is buffered.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(failed)
    }
}
