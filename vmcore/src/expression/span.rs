//! Where in an expression something is.

/// A part of the text of an expression, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first byte.
    pub start: usize,
    /// The byte behind it.
    pub end: usize,
}

impl Span {
    /// The part from one byte to, but without, another one.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The part from the beginning of this one to the end of another.
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}
