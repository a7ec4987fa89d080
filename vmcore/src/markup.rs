//! Texts in HTML and SVG, and what all pages begin with.

use crate::bounds::split_text;
use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};
use std::fmt::{self, Display, Formatter};

/// The part of a page's style sheet that all pages have: colours, type, facts, controls.
const BASE_STYLE: &str = include_str!("markup.css");

/// A page up to the beginning of its body, with the rest of its style sheet. The policy allows that and these scripts by their
/// hashes, and forbids the browser to load, send or run anything else.
pub(crate) fn page_start(title: &str, style: &str, scripts: &[&str]) -> String {
    let style = format!("{BASE_STYLE}{style}");
    let hash = |text: &str| format!("'sha256-{}'", Base64::encode_string(&Sha256::digest(text)));
    let scripts: Vec<_> = scripts.iter().map(|script| hash(script)).collect();
    format!(
        "<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<meta name=\"color-scheme\" content=\"light dark\">
<title>{}</title>
<style>{style}</style>
</head>
<body>
",
        hash(&style),
        scripts.join(" "),
        Plain(title)
    )
}

/// A text as the content of an element. What cannot be seen, or turns the direction of reading, is written as in Rust, and
/// marked: a text that has `\u{202e}` itself looks different.
pub(crate) struct Text<'a>(pub &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        escape(f, self.0, |f, c| write!(f, "<span class=\"escape\">{}</span>", c.escape_default()))
    }
}

/// A text as the value of an attribute, or where elements are not allowed.
pub(crate) struct Plain<'a>(pub &'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        escape(f, self.0, |f, c| write!(f, "{}", c.escape_default()))
    }
}

fn escape(f: &mut Formatter<'_>, text: &str, show: impl Fn(&mut Formatter<'_>, char) -> fmt::Result) -> fmt::Result {
    let mut rest = text;
    while let Some((before, c)) = split_at_special(rest) {
        f.write_str(before)?;
        match c {
            '&' => f.write_str("&amp;")?,
            '<' => f.write_str("&lt;")?,
            '>' => f.write_str("&gt;")?,
            '"' => f.write_str("&quot;")?,
            '\'' => f.write_str("&#39;")?,
            _ => show(f, c)?,
        }
        (_, rest) = split_text(rest, before.len() + c.len_utf8());
    }
    f.write_str(rest)
}

/// The first character that cannot stand in HTML as it is, and what precedes it.
fn split_at_special(text: &str) -> Option<(&str, char)> {
    let (index, c) =
        text.char_indices().find(|(_, c)| matches!(c, '&' | '<' | '>' | '"' | '\'') || is_invisible(*c))?;
    Some((text.get(..index)?, c))
}

/// Whether a character is not seen, or changes how others are.
pub(crate) fn is_invisible(c: char) -> bool {
    let is_noncharacter = matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
    let is_format = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    );
    c.is_control() && c != '\t' || is_format || is_noncharacter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_look_different_from_texts_with_them() {
        let written = |text| Text(text).to_string();
        assert_eq!(written("a\0b"), "a<span class=\"escape\">\\u{0}</span>b");
        assert_eq!(written("a\\u{0}b"), "a\\u{0}b");
        assert_eq!(written("tab\tstays, é too: שלום"), "tab\tstays, é too: שלום");
        assert_eq!(written("\u{10ffff}"), "<span class=\"escape\">\\u{10ffff}</span>");
    }
}
