//! How the memory of a variable has its value.
//!
//! Of a static variable that takes two values alone a compiler may keep one byte, which is 0 while the variable has the value
//! that it begins with, and 1 when it has the other one (clang does so, `GlobalOpt` of LLVM). Debug information tells which two
//! values these are; CTF does not, and the symbol table shows it only where the variable's type has more bytes.

/// How the memory of a variable has its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// As its type says.
    Plain,
    /// One byte tells which of two values it is.
    Choice(TwoValues),
}

/// The values of a variable that takes two alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwoValues {
    /// The one that it begins with, of which its byte is 0; modulo 2^64.
    pub initial: u64,
    /// The other one, of which its byte is 1.
    pub other: u64,
}

impl TwoValues {
    /// The value that a byte stands for; `None` of one that no compiler stores.
    pub fn chosen(self, byte: u8) -> Option<u64> {
        match byte {
            0 => Some(self.initial),
            1 => Some(self.other),
            _ => None,
        }
    }
}
