//! Parts of texts and of fields that hold texts.

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
    fn parts_end_where_they_should_or_with_the_text() {
        assert_eq!(
            (until_nul(b"ab\0cd\0"), until_nul(b"ab"), until_nul(b"\0"), until_nul(b"")),
            (&b"ab"[..], &b"ab"[..], &b""[..], &b""[..])
        );
        assert_eq!((first_line("ab \ncd\n"), first_line("ab\r\n"), first_line("")), ("ab", "ab", ""));
        assert_eq!((without_comment("ab # cd # e"), without_comment("ab"), without_comment("#")), ("ab ", "ab", ""));
    }
}
