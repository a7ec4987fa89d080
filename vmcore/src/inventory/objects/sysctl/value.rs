//! Values of the kernel's variables.

use crate::text::decode;
use crate::units::hex_digits;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SysctlValue {
    /// A number, or several.
    Numbers(Vec<i128>),
    /// A text.
    Text(Vec<u8>),
    /// A structure.
    Bytes(Vec<u8>),
}

impl SysctlValue {
    /// As sysctl(8) shows it: numbers with blanks between them, and structures in hexadecimal.
    pub fn text(&self) -> String {
        match self {
            Self::Numbers(numbers) => numbers.iter().map(i128::to_string).collect::<Vec<_>>().join(" "),
            Self::Text(text) => decode(text),
            Self::Bytes(bytes) => format!("0x{}", hex_digits(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_sysctl_does() {
        assert_eq!(SysctlValue::Numbers(vec![-1, i128::from(u64::MAX)]).text(), "-1 18446744073709551615");
        assert_eq!(SysctlValue::Text(b"a\xff".to_vec()).text(), "a\\xff");
        assert_eq!(SysctlValue::Bytes(vec![0, 0xab]).text(), "0x00ab");
    }
}
