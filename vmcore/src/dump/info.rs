//! The `info.N` that savecore(8) writes beside a dump: what the dump's header says, in lines (`printheader` in
//! sbin/savecore/savecore.c).

use crate::opened::{Open, read_at_most};
use std::io;
use std::path::Path;

/// An `info.N` that is larger is none.
const MAX_INFO: u64 = 64 << 10;

/// An `info.N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfoFile {
    text: String,
}

impl InfoFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// It cannot be opened or read, is no regular file, or is larger than any `info.N`.
    pub fn read(path: &Path, open: Open) -> io::Result<Self> {
        let file = open(path)?;
        let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
        if !file.metadata()?.is_file() {
            return Err(wrong("it is not a regular file"));
        }
        let text = read_at_most(file, MAX_INFO)?.ok_or_else(|| wrong("it is larger than an info file"))?;
        Ok(Self::parse(&text))
    }

    /// Takes the bytes of a file.
    pub fn parse(bytes: &[u8]) -> Self {
        Self { text: String::from_utf8_lossy(bytes).into_owned() }
    }

    /// The value of a field that is on one line, such as `Hostname`.
    pub fn field(&self, label: &str) -> Option<&str> {
        self.text.lines().find_map(|line| value(line, label))
    }

    /// The version of the kernel, which can have several lines, each but the last with its newline, without blanks at the
    /// end; cut off where it was longer than the dump's header has room for. It is what crashinfo(8) takes.
    pub fn version(&self) -> Option<String> {
        let mut lines = self.text.lines();
        let first = lines.find_map(|line| value(line, "Version String"))?;
        let more = lines.take_while(|line| !is_field(line));
        let version = more.fold(first.to_owned(), |version, line| version + "\n" + line);
        Some(version.trim_end().to_owned()).filter(|version| !version.is_empty())
    }

    /// How long a dump was that was not compressed.
    pub fn dump_length(&self) -> Option<u64> {
        // Before version 12 there was no compression.
        if self.field("Compression").is_some_and(|compression| compression != "none") {
            return None;
        }
        self.field("Dump Length")?.parse().ok()
    }
}

/// The value that a line has of a field.
fn value<'a>(line: &'a str, label: &str) -> Option<&'a str> {
    line.trim_start().strip_prefix(label)?.strip_prefix(": ")
}

/// Whether a line begins another field: two blanks, letters and blanks, a colon and a blank.
fn is_field(line: &str) -> bool {
    let label = line.strip_prefix("  ").and_then(|rest| rest.split_once(": ")).map(|(label, _)| label);
    label.is_some_and(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "Dump header from device: /dev/ada0p3\n  Architecture: amd64\n  Dump Length: 8192\n  \
        Compression: none\n  Hostname: a: b\n  Version String: FreeBSD 15.1\n    root@host:/usr/obj\n\n  Panic String: x\n";

    #[test]
    fn a_version_has_the_lines_up_to_the_next_field() {
        let info = InfoFile::parse(INFO.as_bytes());
        assert_eq!(info.version().as_deref(), Some("FreeBSD 15.1\n    root@host:/usr/obj"));
        assert_eq!((info.field("Panic String"), info.field("Hostname")), (Some("x"), Some("a: b")));
        assert_eq!((info.field("Panic"), info.field("Bounds")), (None, None));
        for text in ["", "  Version String: \n  Panic String: x\n", "  Version String:", "\0\u{fffd}"] {
            assert_eq!(InfoFile::parse(text.as_bytes()).version(), None, "{text:?}");
        }
        let cut = InfoFile::parse(b"  Version String: FreeBSD 15.1 \xff");
        assert_eq!(cut.version().as_deref(), Some("FreeBSD 15.1 \u{fffd}"));
    }

    #[test]
    fn the_length_is_taken_from_the_fields_and_not_from_texts_behind_them() {
        let length = |text: &str| InfoFile::parse(text.as_bytes()).dump_length();
        assert_eq!(length(INFO), Some(8192));
        assert_eq!(length(&format!("{INFO}  Panic String: x\n  Dump Length: 5\n")), Some(8192));
        assert_eq!(length(&INFO.replace("none", "zstd")), None);
        assert_eq!(length(&INFO.replace("8192", "-1")), None);
        assert_eq!(length(""), None);
        assert_eq!(length("  Dump Length: 77\n"), Some(77));
    }
}
