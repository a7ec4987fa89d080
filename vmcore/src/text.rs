//! Parts of texts and of fields that hold texts, and names that need not be text.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt::{self, Write};
use std::path::Path;

/// A name, a path or another text of a system: bytes that are mostly UTF-8. In JSON it is a string, or, where it is not
/// UTF-8, a list of its bytes, so that no two names become one; printed, it has U+FFFD for what is not UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Name(Vec<u8>);

impl Name {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// It as text, with U+FFFD for what is not UTF-8.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

impl From<Vec<u8>> for Name {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&Path> for Name {
    fn from(path: &Path) -> Self {
        path.as_os_str().as_encoded_bytes().into()
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, text: &str) -> bool {
        self.0 == text.as_bytes()
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match str::from_utf8(&self.0) {
            Ok(text) => text.serialize(serializer),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a string, or a list of bytes")]
        enum Written {
            Text(String),
            Bytes(Vec<u8>),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Text(text) => text.into_bytes(),
            Written::Bytes(bytes) => bytes,
        }))
    }
}

/// Text without what would begin another line, command a terminal, or turn the direction of reading, which makes one
/// name look like another: file names and recorded machines can hold anything.
pub fn escape_control(text: &str) -> Cow<'_, str> {
    // As most text is: this takes a fraction of the time.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return text.into();
    }
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let harmful = |c: char| c.is_control() && c != '\t' || turns(c);
    if !text.contains(harmful) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if harmful(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown.into()
}

/// A name as it stands in a column, whatever bytes it has.
pub fn column(name: &[u8]) -> String {
    escape_control(&String::from_utf8_lossy(name)).replace('\t', "\\t")
}

/// Bytes that are mostly UTF-8 as text: what is not is shown as `\xff`.
pub fn decode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The bytes before the first NUL; all if there is none.
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The first line, without blanks at its end; empty if there is none.
pub fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_end()
}

/// A line without the comment that `#` begins.
pub fn without_comment(line: &str) -> &str {
    line.split_once('#').map_or(line, |(before, _)| before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_written_as_a_string_or_as_its_bytes_and_read_again() {
        for (bytes, json) in
            [(&b"a b"[..], r#""a b""#), (b"", r#""""#), ("\u{e4}".as_bytes(), "\"\u{e4}\""), (b"a\xff", "[97,255]")]
        {
            let name = Name::from(bytes);
            assert_eq!(serde_json::to_string(&name).unwrap(), json);
            assert_eq!(serde_json::from_str::<Name>(json).unwrap(), name);
        }
        assert!(serde_json::from_str::<Name>("[256]").is_err());
        assert_eq!(
            (Name::from(&b"a\xff"[..]).to_string(), Name::from("a").is_empty()),
            ("a\u{fffd}".to_owned(), false)
        );
    }

    #[test]
    fn parts_end_where_they_should_or_with_the_text() {
        assert_eq!(
            (until_nul(b"ab\0cd\0"), until_nul(b"ab"), until_nul(b"\0"), until_nul(b"")),
            (&b"ab"[..], &b"ab"[..], &b""[..], &b""[..])
        );
        assert_eq!((first_line("ab \ncd\n"), first_line("ab\r\n"), first_line("")), ("ab", "ab", ""));
        assert_eq!((without_comment("ab # cd # e"), without_comment("ab"), without_comment("#")), ("ab ", "ab", ""));
    }
}
