//! The tokens of an expression: C's (ISO/IEC 9899, 6.4), `$NAME`, and names with their module before them, as dtrace(1)
//! writes these.

use super::error::{ExpressionError, Problem};
use super::span::Span;
use crate::bounds::{split_text, tail};

/// Bytes of a longer expression than any person writes.
pub const MAX_LENGTH: usize = 8192;

/// Operators and punctuation; of those that begin alike, the longest first.
const PUNCTUATION: [&str; 33] = [
    "->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "(", ")", "[", "]", ".", ",", "?", ":", "*", "&", "+", "-",
    "~", "!", "/", "%", "<", ">", "^", "|", "@", "=", ";", "{",
];

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it is.
    pub span: Span,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKind {
    /// A name or a keyword; perhaps with the module before it that it is looked for in.
    Name {
        /// The module.
        module: Option<String>,
        /// The name.
        name: String,
    },
    /// `$NAME`, or `$` alone with an empty name.
    Dollar(String),
    /// An integer or a character.
    Integer(Literal),
    /// An operator or punctuation.
    Punctuation(&'static str),
    /// The end of the expression.
    End,
}

/// An integer as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Literal {
    /// Its value.
    pub value: u64,
    /// Whether it is decimal or a character, so that it is unsigned only if that is written.
    pub is_decimal: bool,
    /// Whether `u` is behind it.
    pub is_unsigned: bool,
    /// How many `l` are behind it.
    pub longs: u8,
}

/// The tokens of an expression, with its end as the last.
///
/// # Errors
///
/// A character that begins no token, or a number that is none.
pub fn tokens(text: &str) -> Result<Vec<Token>, ExpressionError> {
    if text.len() > MAX_LENGTH {
        return Err(ExpressionError::new(Span::new(0, 0), Problem::TooLong));
    }
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let rest = split_text(text, at).1;
        let blank = rest.len() - rest.trim_start().len();
        at += blank;
        let rest = split_text(text, at).1;
        let Some(first) = rest.chars().next() else { break };
        let (kind, length) = token(rest, first, at)?;
        let span = Span::new(at, at + length);
        at = span.end;
        found.push(Token { kind, span });
    }
    found.push(Token { kind: TokenKind::End, span: Span::new(text.len(), text.len()) });
    Ok(found)
}

/// The token that a text begins with, and its length.
fn token(rest: &str, first: char, at: usize) -> Result<(TokenKind, usize), ExpressionError> {
    if first.is_ascii_digit() {
        return number(rest, at);
    }
    if first == '\'' {
        return character(rest, at);
    }
    if is_name(first) {
        return Ok(name(rest));
    }
    if let Some(rest) = rest.strip_prefix('$') {
        let name = name_at_start(rest);
        return Ok((TokenKind::Dollar(name.to_owned()), 1 + name.len()));
    }
    let found = PUNCTUATION.iter().find(|text| rest.starts_with(**text));
    let unknown = ExpressionError::new(Span::new(at, at + first.len_utf8()), Problem::UnknownCharacter(first));
    found.map(|text| (TokenKind::Punctuation(text), text.len())).ok_or(unknown)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn name_at_start(text: &str) -> &str {
    let end = text.find(|c: char| !is_name(c) && !c.is_ascii_digit()).unwrap_or(text.len());
    split_text(text, end).0
}

/// A name, or `MODULE` with a backquote and a name: a module's name can have points in it.
fn name(rest: &str) -> (TokenKind, usize) {
    let dotted = rest.find(|c: char| !is_name(c) && !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (module, behind) = split_text(rest, dotted);
    if let Some(behind) = behind.strip_prefix('`') {
        let name = name_at_start(behind);
        if !name.is_empty() {
            let kind = TokenKind::Name { module: Some(module.to_owned()), name: name.to_owned() };
            return (kind, module.len() + 1 + name.len());
        }
    }
    let name = name_at_start(rest);
    (TokenKind::Name { module: None, name: name.to_owned() }, name.len())
}

/// A number, with all letters and digits behind it: what is no suffix makes it none.
fn number(rest: &str, at: usize) -> Result<(TokenKind, usize), ExpressionError> {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (word, behind) = split_text(rest, end);
    let length = if behind.starts_with('.') { end + 1 } else { end };
    let error = |problem| ExpressionError::new(Span::new(at, at + length), problem);
    if behind.starts_with('.') {
        return Err(error(Problem::NotANumber));
    }
    let lower = word.to_ascii_lowercase();
    let (digits, radix) = match lower.as_bytes() {
        [b'0', b'x', ..] => (split_text(&lower, 2).1, 16),
        [b'0', b'b', ..] => (split_text(&lower, 2).1, 2),
        [b'0', _, ..] => (split_text(&lower, 1).1, 8),
        _ => (&*lower, 10),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (digits, suffix) = split_text(digits, end);
    let (is_unsigned, longs) = match suffix {
        "" => (false, 0),
        "u" => (true, 0),
        "l" => (false, 1),
        "ul" | "lu" => (true, 1),
        "ll" => (false, 2),
        "ull" | "llu" => (true, 2),
        _ => return Err(error(Problem::NotANumber)),
    };
    // `0u` has its digit before the suffix.
    let digits = if digits.is_empty() && radix == 8 { "0" } else { digits };
    if digits.is_empty() {
        return Err(error(Problem::NotANumber));
    }
    let value = u64::from_str_radix(digits, radix).map_err(|_| error(Problem::NumberTooLarge))?;
    Ok((TokenKind::Integer(Literal { value, is_decimal: radix == 10, is_unsigned, longs }), word.len()))
}

/// A character in single quotes, of one byte as C's, which is an `int`.
fn character(rest: &str, at: usize) -> Result<(TokenKind, usize), ExpressionError> {
    let bytes = rest.as_bytes();
    let error = ExpressionError::new(Span::new(at, at + 1), Problem::NotACharacter);
    let escaped = |letter: u8| {
        Some(match letter {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            b'\\' | b'\'' | b'"' | b'?' => letter,
            _ => return None,
        })
    };
    let of_radix = |digits: &[u8], radix| u8::from_str_radix(str::from_utf8(digits).ok()?, radix).ok();
    let hexadecimal = |digits: &[u8]| of_radix(digits, 16);
    let octal = |digits: &[u8]| of_radix(digits, 8);
    let (value, length) = match tail(bytes, 1) {
        [b'\\', b'x', a, b'\'', ..] => (hexadecimal(&[*a]), 5),
        [b'\\', b'x', a, b, b'\'', ..] => (hexadecimal(&[*a, *b]), 6),
        [b'\\', a @ b'0'..=b'7', b'\'', ..] => (octal(&[*a]), 4),
        [b'\\', a @ b'0'..=b'7', b, b'\'', ..] => (octal(&[*a, *b]), 5),
        [b'\\', a @ b'0'..=b'7', b, c, b'\'', ..] => (octal(&[*a, *b, *c]), 6),
        [b'\\', letter, b'\'', ..] => (escaped(*letter), 4),
        [plain @ (b' '..=b'&' | b'('..=b'[' | b']'..=b'~'), b'\'', ..] => (Some(*plain), 3),
        _ => (None, 0),
    };
    // C's characters are `char`, which is signed on most machines; one above 127 is nothing to rely on.
    let value = value.filter(u8::is_ascii).ok_or(error)?;
    let literal = Literal { value: value.into(), is_decimal: true, is_unsigned: false, longs: 0 };
    Ok((TokenKind::Integer(literal), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokens(text).unwrap().into_iter().map(|token| token.kind).collect()
    }

    fn value(text: &str) -> Result<u64, Problem> {
        let found = tokens(text).map_err(|error| error.problem)?;
        match found.as_slice() {
            [Token { kind: TokenKind::Integer(literal), span }, _] if span.end == text.len() => Ok(literal.value),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn integers_are_as_c_writes_them() {
        for (text, expected) in [
            ("0", 0),
            ("17", 17),
            ("0x1F", 31),
            ("0X1f", 31),
            ("017", 15),
            ("0b101", 5),
            ("18446744073709551615", u64::MAX),
            ("0xffffffffffffffff", u64::MAX),
            ("0u", 0),
            ("1ull", 1),
            ("0x10UL", 16),
            ("'a'", 97),
            ("'\\n'", 10),
            ("'\\0'", 0),
            ("'\\012'", 10),
            ("'\\12'", 10),
            ("'\\x41'", 65),
            ("'\\''", 39),
            ("' '", 32),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
        for text in ["08", "0x", "0b2", "1x", "1_000", "1.5", "0xg", "1lul", "1e5", "0b"] {
            assert_eq!(value(text), Err(Problem::NotANumber), "{text}");
        }
        for text in ["18446744073709551616", "0x10000000000000000"] {
            assert_eq!(value(text), Err(Problem::NumberTooLarge), "{text}");
        }
        for text in ["'", "''", "'ab'", "'\\q'", "'\\xff'", "'\u{e4}'", "'a", "'\\x'", "'\\xgg'"] {
            assert_eq!(value(text), Err(Problem::NotACharacter), "{text}");
        }
    }

    #[test]
    fn a_name_can_have_its_module_before_it() {
        let name = |module: Option<&str>, name: &str| TokenKind::Name {
            module: module.map(str::to_owned),
            name: name.to_owned(),
        };
        assert_eq!(kinds("if_bridge.ko`x"), [name(Some("if_bridge.ko"), "x"), TokenKind::End]);
        assert_eq!(kinds("kernel`x"), [name(Some("kernel"), "x"), TokenKind::End]);
        assert_eq!(kinds("a.b"), [name(None, "a"), TokenKind::Punctuation("."), name(None, "b"), TokenKind::End]);
        assert_eq!(tokens("a`").unwrap_err().problem, Problem::UnknownCharacter('`'));
        assert_eq!(
            kinds("$pcpu $"),
            [TokenKind::Dollar("pcpu".to_owned()), TokenKind::Dollar(String::new()), TokenKind::End]
        );
    }

    #[test]
    fn the_longest_operator_is_taken_and_each_token_knows_its_place() {
        let found = tokens(" a->b <<= 3").unwrap();
        let spans: Vec<_> = found.iter().map(|token| (token.span.start, token.span.end)).collect();
        assert_eq!(spans, [(1, 2), (2, 4), (4, 5), (6, 8), (8, 9), (10, 11), (11, 11)]);
        for (text, at, character) in [("a \" b", 2, '"'), ("\u{e4}", 0, '\u{e4}'), ("a\u{1b}", 1, '\u{1b}')] {
            let error = tokens(text).unwrap_err();
            assert_eq!((error.span.start, error.problem), (at, Problem::UnknownCharacter(character)));
            assert_eq!(error.span.end, at + character.len_utf8());
        }
        assert_eq!(tokens(&"1".repeat(MAX_LENGTH + 1)).unwrap_err().problem, Problem::TooLong);
    }
}
