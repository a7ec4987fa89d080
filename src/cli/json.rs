//! JSON without a number that a double cannot hold: parsers read numbers as doubles, jq(1) and JavaScript's among them,
//! and round what is larger without a word.

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, PrettyFormatter};
use std::fmt::Display;
use std::io::{self, Write};
use vmcore::format::unreadable::{Unreadable, UnreadableRange};

/// The largest integer up to which a double holds them all.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// Writes an object, and a line's end.
pub fn write(out: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    object.serialize(&mut serde_json::Serializer::with_formatter(&mut *out, Exact(PrettyFormatter::new())))?;
    writeln!(out)
}

/// An object with two addresses, and the bytes between them: a number to compute with.
#[derive(Serialize)]
pub struct Measured<T> {
    #[serde(flatten)]
    range: T,
    size: u64,
}

impl<T> Measured<T> {
    /// An object whose addresses begin and end there; 0 is the end of the address space.
    pub fn new(range: T, start: u64, end: u64) -> Self {
        Self { range, size: end.wrapping_sub(start) }
    }
}

/// What could not be read, as all commands that make dumps say it.
#[derive(Serialize)]
pub struct UnreadableDocument<'a> {
    unreadable: Vec<Measured<&'a UnreadableRange>>,
    bytes_unreadable: u64,
    /// Ranges that are too many to list.
    unreadable_unlisted_count: u64,
}

impl<'a> From<&'a Unreadable> for UnreadableDocument<'a> {
    fn from(unreadable: &'a Unreadable) -> Self {
        let measured = |range: &'a UnreadableRange| Measured::new(range, range.start, range.end);
        Self {
            unreadable: unreadable.ranges().iter().map(measured).collect(),
            bytes_unreadable: unreadable.bytes(),
            unreadable_unlisted_count: unreadable.not_listed(),
        }
    }
}

/// Writes larger integers as strings of decimal digits.
struct Exact<'a>(PrettyFormatter<'a>);

fn integer<W: Write + ?Sized>(out: &mut W, value: impl Display, magnitude: u128) -> io::Result<()> {
    if magnitude > MAX_EXACT.into() { write!(out, "\"{value}\"") } else { write!(out, "{value}") }
}

impl Formatter for Exact<'_> {
    fn write_i64<W: Write + ?Sized>(&mut self, out: &mut W, value: i64) -> io::Result<()> {
        integer(out, value, value.unsigned_abs().into())
    }

    fn write_i128<W: Write + ?Sized>(&mut self, out: &mut W, value: i128) -> io::Result<()> {
        integer(out, value, value.unsigned_abs())
    }

    fn write_u64<W: Write + ?Sized>(&mut self, out: &mut W, value: u64) -> io::Result<()> {
        integer(out, value, value.into())
    }

    fn write_u128<W: Write + ?Sized>(&mut self, out: &mut W, value: u128) -> io::Result<()> {
        integer(out, value, value)
    }

    fn write_char_escape<W: Write + ?Sized>(&mut self, out: &mut W, escape: CharEscape) -> io::Result<()> {
        self.0.write_char_escape(out, escape)
    }

    fn begin_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_that_a_double_does_not_hold_are_strings_wherever_they_stand() {
        let largest = MAX_EXACT;
        let object = serde_json::json!({
            "exact": [largest, -(i64::try_from(largest).unwrap()), 0, 1.5],
            "large": {"u": [largest + 1, u64::MAX], "i": [i64::MIN]},
            "text": "1\n2",
        });
        let mut written = Vec::new();
        write(&mut written, &object).unwrap();
        let text = String::from_utf8(written).unwrap();
        let expected = serde_json::json!({
            "exact": [largest, -(i64::try_from(largest).unwrap()), 0, 1.5],
            "large": {"u": ["9007199254740992", "18446744073709551615"], "i": ["-9223372036854775808"]},
            "text": "1\n2",
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
        assert!(text.starts_with("{\n  \"exact\": [\n    9007199254740991,\n"), "{text}");
    }
}
