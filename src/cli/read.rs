//! `memtool read`: kernel memory by address or symbol, as a hexdump, as numbers, or as it is.

use super::kernel::{KernelArguments, Place, View};
use super::{Context, Verdict, size};
use clap::{Args, ValueEnum};
use memtool::{Error, Result};
use serde::Serialize;
use std::fmt::Write as _;
use vmcore::bounds::{at_most, head, head_mut, part_mut, saturating_usize, split_at_most};
use vmcore::fault::Why;
use vmcore::kernel::{Access, FileContents};
use vmcore::text::Name;
use vmcore::text::until_nul;
use vmcore::units::{Hex, decimal, exact_size, hex_digits};

#[derive(Args)]
#[command(
    after_help = "Addresses are decimal, or hexadecimal with 0x. Without --length, the size of the symbol is read, or 256 bytes. Memory that cannot be read is shown as a hole. Exit codes: 0 success, 1 nothing could be read, or, for numbers and raw bytes, not all."
)]
pub struct Arguments {
    #[command(flatten)]
    pub kernel: KernelArguments,
    /// Where to read
    #[arg(value_name = "ADDR|SYMBOL[+OFF]")]
    place: Place,
    /// Number of bytes to read, with suffix k, m, g or t
    #[arg(short, long, short_alias = 'n', value_name = "SIZE", value_parser = size)]
    length: Option<u64>,
    /// The address is a physical address
    #[arg(long)]
    phys: bool,
    /// How to print memory
    #[arg(long = "as", value_name = "FORM", default_value = "hex")]
    form: Form,
}

impl Arguments {
    /// See [`super::Command::text_only`].
    pub fn text_only(&self) -> Option<(&'static str, &'static str)> {
        (self.form == Form::Raw).then_some(("--as raw", "raw bytes do not fit in a JSON object; use --as hex"))
    }

    /// See [`super::Command::check`].
    pub fn check(&self, json: bool) -> Result<(), String> {
        self.place.check_physical(self.phys)?;
        let Some(length) = self.length else { return Ok(()) };
        if length == 0 {
            return Err("--length 0: nothing to read".to_owned());
        }
        if let Some(width) = self.form.fixed_width().filter(|width| !length.is_multiple_of(*width as u64)) {
            return Err(format!("--length {length}: not a multiple of the {width} bytes of a number"));
        }
        if json && length > MAX_IN_JSON && self.form != Form::Str {
            return Err(format!("--length {length}: too much for one JSON object; use --as raw"));
        }
        Ok(())
    }
}

/// How memory is shown.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Unsigned integers of 8 bits
    U8,
    /// Unsigned integers of 16 bits, in the kernel's byte order
    U16,
    /// Unsigned integers of 32 bits
    U32,
    /// Unsigned integers of 64 bits
    U64,
    /// Pointers, with the symbols they point to
    Ptr,
    /// A C string
    Str,
    /// Hexadecimal and ASCII, as hexdump -C
    Hex,
    /// The bytes, unformatted
    Raw,
}

impl Form {
    /// Bytes of a number; `None` if it is none.
    pub fn width(self, view: &View) -> Result<Option<usize>> {
        if self == Self::Ptr { view.word_size().map(Some) } else { Ok(self.fixed_width()) }
    }

    /// Bytes of a number that has as many in every kernel.
    pub fn fixed_width(self) -> Option<usize> {
        match self {
            Self::U8 => Some(1),
            Self::U16 => Some(2),
            Self::U32 => Some(4),
            Self::U64 => Some(8),
            Self::Ptr | Self::Str | Self::Hex | Self::Raw => None,
        }
    }
}

/// Where nothing says how much is meant.
const DEFAULT_LENGTH: u64 = 256;
/// A symbol of unknown size, or one that is larger than anybody wants to see, ends here.
const MAX_SYMBOL: u64 = 1 << 16;
/// A string without end.
const MAX_STRING: usize = 4096;
/// What one JSON object holds.
const MAX_IN_JSON: u64 = 16 << 20;
/// Bytes that are read at once; a multiple of every page size.
const CHUNK: usize = 1 << 16;
/// Memory is there, or not, in pages of at least so many bytes.
const PAGE: u64 = 4096;

/// Memory that is there, or not.
enum Span<'a> {
    Bytes(u64, &'a [u8]),
    /// What the kernel's file has there in place of memory.
    File(u64, FileContents),
    Hole {
        start: u64,
        length: u64,
        why: Why,
    },
}

impl View {
    /// Reads so many bytes piece by piece; holes end at the borders of pages.
    fn each(&self, start: u64, length: u64, mut take: impl FnMut(Span<'_>) -> Result<()>) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        let mut hole: Option<(u64, u64, Why)> = None;
        let mut done = 0;
        while done < length {
            let at = start.saturating_add(done);
            let wanted = (length - done).min(CHUNK as u64 - at % CHUNK as u64);
            let part = head_mut(&mut buffer, wanted);
            let (good, fault) = match self.read(at, part) {
                Ok(()) => (wanted, None),
                Err(fault) if fault.is_hole() => (fault.address.saturating_sub(at).min(wanted), Some(fault)),
                Err(fault) => return Err(fault.into()),
            };
            if good > 0 {
                if let Some((start, length, why)) = hole.take() {
                    take(Span::Hole { start, length, why })?;
                }
                take(Span::Bytes(at, head(part, good)))?;
                done += good;
            }
            if let Some(fault) = fault {
                let remaining = (length - done).min(PAGE - fault.address % PAGE);
                if let Some(found) = self.file_contents(fault, saturating_usize(remaining))? {
                    if let Some((start, length, why)) = hole.take() {
                        take(Span::Hole { start, length, why })?;
                    }
                    done += found.bytes.len() as u64;
                    take(Span::File(fault.address, found))?;
                    continue;
                }
                let (_, length, _) = hole.get_or_insert((fault.address, 0, fault.why));
                *length += remaining;
                done += remaining;
            }
        }
        match hole {
            Some((start, length, why)) => take(Span::Hole { start, length, why }),
            None => Ok(()),
        }
    }

    /// Fills the buffer; names the kernel's file where some of it is not of memory, but of that.
    fn read_or_file(&self, address: u64, buffer: &mut [u8]) -> Result<Option<Name>> {
        let mut done = 0;
        let mut of = None;
        while let Some(rest @ [_, ..]) = buffer.get_mut(done..) {
            let at = address.saturating_add(done as u64);
            let Err(fault) = self.read(at, rest) else { break };
            let there = at_most(fault.address.saturating_sub(at), rest.len());
            let rest = part_mut(rest, there..);
            done += there;
            let found = self.file_contents(fault, rest.len())?.filter(|found| !found.bytes.is_empty());
            let FileContents { bytes, path, .. } = found.ok_or(fault)?;
            rest.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
            done += bytes.len();
            of = Some(path.as_path().into());
        }
        Ok(of)
    }
}

pub fn run(context: &mut Context, arguments: &Arguments) -> Result<Verdict> {
    if arguments.form == Form::Raw && context.out.is_terminal() {
        return Err(Error::Refused(
            "raw bytes are not written to a terminal; send them to a file or a pipe".to_owned(),
        ));
    }
    let mut view = arguments.kernel.view(context, Access::Read, arguments.phys)?;
    let (address, rest) = view.place(context, &arguments.place)?;
    if arguments.form == Form::Ptr || context.out.is_json() {
        view.load_names(context);
    }
    let width = arguments.form.width(&view)?;
    let length = match (arguments.length, width) {
        (Some(length), _) => length,
        (None, Some(width)) => width as u64,
        (None, None) => rest.map_or(DEFAULT_LENGTH, |rest| rest.min(MAX_SYMBOL)),
    };
    // What would come after the last address is not there.
    let length = length.min((u64::MAX - address).saturating_add(1));
    let symbol = arguments.place.is_symbol().then_some(arguments.place.text.as_str());
    let place = ReadPlace { address, symbol };
    match arguments.form {
        Form::Str => string(context, &view, &place, arguments.length),
        Form::Hex if context.out.is_json() => json(context, &view, &place, length),
        Form::Hex => hexdump(context, &view, address, length),
        Form::Raw => raw(context, &view, address, length),
        _ => numbers(context, &view, arguments.form, &place, length),
    }
}

/// What was asked for.
struct ReadPlace<'a> {
    address: u64,
    /// As it was written, unless it was an address.
    symbol: Option<&'a str>,
}

#[derive(Serialize)]
struct Document<T: Serialize> {
    address: Hex,
    physical: bool,
    /// What was asked for, or what covers the address.
    symbol: Option<String>,
    #[serde(flatten)]
    content: T,
}

impl View {
    fn document<T: Serialize>(&self, context: &mut Context, place: &ReadPlace<'_>, content: T) -> Result<()> {
        let address = place.address;
        let symbol =
            if self.is_physical() { None } else { place.symbol.map(str::to_owned).or_else(|| self.name_of(address)) };
        let document = Document { address: Hex(address), physical: self.is_physical(), symbol, content };
        context.out.document_of("memtool.read", self.kind(), &document)
    }
}

fn raw(context: &mut Context, view: &View, address: u64, length: u64) -> Result<Verdict> {
    view.each(address, length, |piece| match piece {
        Span::Bytes(_, bytes) => context.out.bytes(bytes),
        // Nothing would tell which bytes are the file's, and no memory.
        Span::File(start, FileContents { why, .. }) | Span::Hole { start, why, .. } => Err(Error::Refused(format!(
            "{}: {why}; {} were written",
            Hex(start),
            exact_size(start.saturating_sub(address).into())
        ))),
    })?;
    Ok(Verdict::Done)
}

fn string(context: &mut Context, view: &View, place: &ReadPlace<'_>, length: Option<u64>) -> Result<Verdict> {
    #[derive(Serialize)]
    struct Text {
        string: Name,
        /// The kernel's file that it is of, in place of memory.
        kernel_file: Option<Name>,
    }
    let limit = length.map_or(MAX_STRING, saturating_usize);
    let (bytes, file) = match view.string(place.address, limit) {
        Ok(bytes) => (bytes, None),
        Err(fault) => {
            let of_file = if fault.address == place.address { view.file_contents(fault, limit)? } else { None };
            let FileContents { bytes, path, .. } = of_file.ok_or(fault)?;
            (until_nul(&bytes).to_vec(), Some(Name::from(path.as_path())))
        }
    };
    let string = Name::from(bytes);
    if context.out.is_json() {
        view.document(context, place, Text { string, kernel_file: file })?;
    } else {
        if let Some(file) = file {
            context.out.line(&format!("(from {file}, not from memory)"))?;
        }
        string.text().lines().try_for_each(|line| context.out.line(line))?;
    }
    Ok(Verdict::Done)
}

fn numbers(context: &mut Context, view: &View, form: Form, place: &ReadPlace<'_>, length: u64) -> Result<Verdict> {
    /// What a double cannot hold is a string.
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Value {
        Small(u64),
        Large(#[serde(serialize_with = "decimal")] u64),
        Pointer(Hex),
    }
    #[derive(Serialize)]
    struct Values {
        values: Vec<Value>,
        /// The symbols that pointers point to, where there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        symbols: Option<Vec<Option<String>>>,
        /// The kernel's file that some of them are of, in place of memory.
        kernel_file: Option<Name>,
    }
    let mut symbols = Vec::new();
    let width = form.width(view)?.unwrap_or(1);
    if !length.is_multiple_of(width as u64) {
        return Err(Error::Usage(format!("--length {length}: not a multiple of the {width} bytes of a number")));
    }
    if context.out.is_json() && length > MAX_IN_JSON {
        return Err(Error::Usage(format!("--length {length}: too much for one JSON object")));
    }
    let order = view.order();
    let (mut values, mut of_file) = (Vec::new(), None);
    for index in 0..length / width as u64 {
        let at = place.address.saturating_add(index * width as u64);
        let mut bytes = [0; 8];
        let part = head_mut(&mut bytes, width);
        let file = view.read_or_file(at, part)?;
        let value = order.number(part);
        let mark = file.as_ref().map_or_else(String::new, |file| format!(" (from {file}, not from memory)"));
        of_file = of_file.or(file);
        if context.out.is_json() {
            values.push(match form {
                Form::Ptr => Value::Pointer(Hex(value)),
                Form::U64 => Value::Large(value),
                _ => Value::Small(value),
            });
            symbols.push(view.name_of(value));
            continue;
        }
        let text = match (form, view.name_of(value)) {
            (Form::Ptr, Some(name)) => format!("{} {name}{mark}", Hex(value)),
            (Form::Ptr, None) => format!("{}{mark}", Hex(value)),
            _ => format!("{value}{mark}"),
        };
        context.out.line(&if context.global.verbose > 0 { format!("{}: {text}", Hex(at)) } else { text })?;
    }
    if context.out.is_json() {
        let symbols = (form == Form::Ptr).then_some(symbols);
        view.document(context, place, Values { values, symbols, kernel_file: of_file })?;
    }
    Ok(Verdict::Done)
}

fn json(context: &mut Context, view: &View, place: &ReadPlace<'_>, length: u64) -> Result<Verdict> {
    #[derive(Serialize)]
    struct SpanDocument {
        address: Hex,
        size: u64,
        /// Two hexadecimal digits for each byte.
        bytes: Option<String>,
        hole: Option<String>,
        /// The kernel's file that the bytes are of, in place of memory.
        kernel_file: Option<Name>,
    }
    #[derive(Serialize)]
    struct SpanDocuments {
        size: u64,
        pieces: Vec<SpanDocument>,
    }
    if length > MAX_IN_JSON {
        return Err(Error::Usage(format!("--length {length}: too much for one JSON object; use --as raw")));
    }
    let mut pieces: Vec<SpanDocument> = Vec::new();
    view.each(place.address, length, |piece| {
        match (piece, pieces.last_mut()) {
            (Span::Bytes(_, bytes), Some(SpanDocument { size, bytes: Some(before), kernel_file: None, .. })) => {
                *size += bytes.len() as u64;
                before.push_str(&hex_digits(bytes));
            }
            (Span::Bytes(at, bytes), _) => {
                let size = bytes.len() as u64;
                let bytes = Some(hex_digits(bytes));
                pieces.push(SpanDocument { address: Hex(at), size, bytes, hole: None, kernel_file: None });
            }
            (Span::File(at, FileContents { bytes, path, why }), _) => {
                let kernel_file = Some(path.as_path().into());
                let size = bytes.len() as u64;
                let (bytes, hole) = (Some(hex_digits(&bytes)), Some(why.to_string()));
                pieces.push(SpanDocument { address: Hex(at), size, bytes, hole, kernel_file });
            }
            (Span::Hole { start, length, why }, _) => {
                pieces.push(SpanDocument {
                    address: Hex(start),
                    size: length,
                    bytes: None,
                    hole: Some(why.to_string()),
                    kernel_file: None,
                });
            }
        }
        Ok(())
    })?;
    let verdict = if pieces.iter().any(|part| part.bytes.is_some()) { Verdict::Done } else { Verdict::Failed };
    view.document(context, place, SpanDocuments { size: length, pieces })?;
    Ok(verdict)
}

fn hexdump(context: &mut Context, view: &View, address: u64, length: u64) -> Result<Verdict> {
    let width = if u32::try_from(address.saturating_add(length)).is_ok() { 8 } else { 16 };
    let all = context.global.verbose > 0;
    let mut dump =
        Hexdump { context, line: Line { width, start: address, bytes: Vec::new() }, all, before: None, starred: false };
    let mut anything = false;
    let mut in_file = false;
    view.each(address, length, |piece| match piece {
        Span::Bytes(at, bytes) => {
            anything = true;
            if std::mem::take(&mut in_file) {
                dump.end_part()?;
                dump.context.out.line(&format!("{at:0width$x}  (memory again)"))?;
            }
            dump.bytes(at, bytes)
        }
        Span::File(at, FileContents { bytes, path, why }) => {
            anything = true;
            if !std::mem::replace(&mut in_file, true) {
                dump.end_part()?;
                dump.context.out.line(&format!("{at:0width$x}  (from {}, not from memory: {why})", path.display()))?;
            }
            dump.bytes(at, &bytes)
        }
        Span::Hole { start, length, why } => {
            in_file = false;
            dump.end_part()?;
            let size = exact_size(length.into());
            dump.context.out.line(&format!("{start:0width$x}  (a hole of {size}: {why})"))
        }
    })?;
    dump.end_line()?;
    // 2^64 comes out as 0.
    context.out.line(&format!("{:0width$x}", address.wrapping_add(length)))?;
    Ok(if anything { Verdict::Done } else { Verdict::Failed })
}

/// A hexdump as far as it has come.
struct Hexdump<'a> {
    context: &'a mut Context,
    /// The line that is being filled.
    line: Line,
    /// Whether lines that repeat the one before are shown.
    all: bool,
    /// The line before, and whether the `*` stands for more like it.
    before: Option<Vec<u8>>,
    starred: bool,
}

impl Hexdump<'_> {
    fn bytes(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let mut at = at;
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.line.bytes.is_empty() {
                self.line.start = at;
            }
            let (part, behind) = split_at_most(rest, LINE - self.line.bytes.len());
            self.line.bytes.extend_from_slice(part);
            at = at.wrapping_add(part.len() as u64);
            rest = behind;
            if self.line.bytes.len() == LINE {
                self.end_line()?;
            }
        }
        Ok(())
    }

    /// Ends the line before something else than the bytes that follow.
    fn end_part(&mut self) -> Result<()> {
        self.end_line()?;
        self.before = None;
        Ok(())
    }

    fn end_line(&mut self) -> Result<()> {
        let repeated = !self.all && self.before.as_ref() == Some(&self.line.bytes) && self.line.bytes.len() == LINE;
        if repeated && !std::mem::replace(&mut self.starred, true) {
            self.context.out.line("*")?;
        } else if !repeated && !self.line.bytes.is_empty() {
            self.context.out.line(&self.line.to_string())?;
            self.starred = false;
            self.before = Some(self.line.bytes.clone());
        }
        self.line.bytes.clear();
        Ok(())
    }
}

/// Bytes in a line of a hexdump.
const LINE: usize = 16;

/// A line of a hexdump.
struct Line {
    width: usize,
    start: u64,
    bytes: Vec<u8>,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = self.width;
        write!(f, "{:0width$x} ", self.start)?;
        for index in 0..LINE {
            if index % 8 == 0 {
                f.write_char(' ')?;
            }
            match self.bytes.get(index) {
                Some(byte) => write!(f, "{byte:02x} ")?,
                None => f.write_str("   ")?,
            }
        }
        f.write_str(" |")?;
        for byte in &self.bytes {
            f.write_char(if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' })?;
        }
        f.write_char('|')
    }
}
