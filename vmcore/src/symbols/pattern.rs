//! Patterns for names, as a shell matches file names (glob(7), fnmatch(3)).

use std::iter::Peekable;
use std::str::{Chars, FromStr};

/// A pattern: `*` stands for any characters, `?` for one, `[a-z]` for one of a set and `[!a-z]` for one that is not
/// in it; `\` takes away the meaning of what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<PatternPart>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum PatternPart {
    Anything,
    Any,
    Literal(char),
    Set { ranges: Vec<(char, char)>, negated: bool },
}

impl PatternPart {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Anything | Self::Any => true,
            Self::Literal(literal) => *literal == c,
            Self::Set { ranges, negated } => ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated,
        }
    }
}

impl FromStr for Pattern {
    type Err = String;

    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// A set has no end, or nothing stands behind a `\`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => PatternPart::Anything,
                '?' => PatternPart::Any,
                '[' => set(&mut chars).ok_or_else(|| format!("'{text}': '[' without ']'"))?,
                '\\' => PatternPart::Literal(chars.next().ok_or_else(|| format!("'{text}': nothing follows '\\'"))?),
                _ => PatternPart::Literal(c),
            });
        }
        parts.dedup_by(|a, b| (&*a, &*b) == (&PatternPart::Anything, &PatternPart::Anything));
        Ok(Self(parts))
    }
}

/// What stands behind `[`.
fn set(chars: &mut Peekable<Chars<'_>>) -> Option<PatternPart> {
    let negated = chars.next_if(|c| matches!(c, '!' | '^')).is_some();
    let mut ranges = Vec::new();
    loop {
        // First, it is a character like others.
        let from = match chars.next()? {
            ']' if !ranges.is_empty() => return Some(PatternPart::Set { ranges, negated }),
            '\\' => chars.next()?,
            c => c,
        };
        let mut ahead = chars.clone();
        let to = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(to)) if to != ']' => {
                *chars = ahead;
                if to == '\\' { chars.next()? } else { to }
            }
            _ => from,
        };
        ranges.push((from, to));
    }
}

impl Pattern {
    /// Whether a text means more than itself as a pattern.
    pub fn is_one(text: &str) -> bool {
        text.contains(['*', '?', '[', '\\'])
    }

    /// Whether a whole name is as the pattern says.
    pub fn matches(&self, name: &str) -> bool {
        let (mut parts, mut rest) = (self.0.as_slice(), name.chars());
        // Where the last `*` was, and the name behind what it stands for so far: only that can change.
        let mut again: Option<(&[PatternPart], Chars<'_>)> = None;
        loop {
            match (parts.split_first(), rest.clone().next()) {
                (Some((PatternPart::Anything, behind)), _) => {
                    again = Some((behind, rest.clone()));
                    parts = behind;
                    continue;
                }
                (Some((part, behind)), Some(c)) if part.takes(c) => {
                    parts = behind;
                    rest.next();
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            let Some((behind, longer)) = &mut again else { return false };
            if longer.next().is_none() {
                return false;
            }
            (parts, rest) = (behind, longer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, yes, no) in [
            ("vm_*", &["vm_", "vm_map", "vm_*"][..], &["vm", "xvm_", ""][..]),
            ("*_lock", &["_lock", "a_lock", "_lock_lock"], &["a_locks", "lock"]),
            ("*a*b*", &["ab", "xaxbx", "aab"], &["ba", "a", "b"]),
            ("k?d", &["kld", "k?d"], &["kd", "klld"]),
            ("x[0-9a]", &["x0", "x9", "xa"], &["xb", "x", "x10", "x-"]),
            ("x[!0-9]", &["xa", "x]"], &["x1", "x"]),
            ("x[^a]", &["xb"], &["xa"]),
            ("[]a]", &["]", "a"], &["b", "[]a]"]),
            ("[!]]", &["a"], &["]"]),
            ("[a-]", &["a", "-"], &["b"]),
            (r"a\*", &["a*"], &["ab", r"a\b"]),
            (r"[\]\-]", &["]", "-"], &[r"\"]),
            ("**", &["", "a"], &[]),
            ("", &[""], &["a"]),
            ("ö?", &["öä"], &["ö"]),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            for name in yes {
                assert!(pattern.matches(name), "{pattern:?}: {name}");
            }
            for name in no {
                assert!(!pattern.matches(name), "{pattern:?}: {name}");
            }
        }
    }

    #[test]
    fn many_stars_take_no_more_time() {
        let pattern: Pattern = "*a".repeat(60).parse().unwrap();
        assert!(!pattern.matches(&("a".repeat(59) + &"b".repeat(1000))));
        assert!(pattern.matches(&("ab".repeat(1000) + "a")));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["[", "[]", "[!", "a[b", "[a-", r"\", r"a\", r"[\"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }
}
