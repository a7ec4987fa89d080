//! Numbers as people write and read them: sizes with suffixes, addresses in hexadecimal.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Why a text is not a number that memtool takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Nothing, or no digit, where a number belongs.
    #[error("'{0}' is not a number: use decimal, or hexadecimal with 0x")]
    NotANumber(String),
    /// A size that is no number with a suffix.
    #[error(
        "'{0}' is not a size: use a decimal number, or a hexadecimal one with 0x, and a suffix k, m, g or t, such as 64k or 1.5g"
    )]
    NotASize(String),
    /// Part of a byte.
    #[error("'{0}' is not a whole number of bytes")]
    PartOfAByte(String),
    /// A C programmer would read the number as octal, everybody else as decimal.
    #[error("'{0}' begins with 0: use decimal without leading zeros, or hexadecimal with 0x")]
    LeadingZero(String),
    /// The number does not fit in 64 bits.
    #[error("'{0}' does not fit in 64 bits")]
    TooLarge(String),
    /// The letter after the digits is none of k, m, g, t.
    #[error("'{0}' has an unknown suffix: k, m, g and t are known")]
    UnknownSuffix(String),
}

/// Reads an address: decimal, or hexadecimal with `0x`.
pub fn parse_address(text: &str) -> Result<u64, NumberError> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hexadecimal.map_or((text, 10), |digits| (digits, 16));
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(NumberError::NotANumber(text.to_owned()));
    }
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        return Err(NumberError::LeadingZero(text.to_owned()));
    }
    u64::from_str_radix(digits, radix).map_err(|_| NumberError::TooLarge(text.to_owned()))
}

/// Reads a size in bytes: as [`parse_address`], with an optional suffix k, m, g or t (powers of 1024) in
/// either case, and before a suffix a decimal fraction that makes whole bytes.
///
/// # Errors
///
/// It is not such a size, has part of a byte, or does not fit.
pub fn parse_size(text: &str) -> Result<u64, NumberError> {
    let not_a_size = |error| match error {
        NumberError::NotANumber(_) => NumberError::NotASize(text.to_owned()),
        NumberError::TooLarge(_) => NumberError::TooLarge(text.to_owned()),
        other => other,
    };
    let Some(last) = text.chars().next_back() else {
        return Err(NumberError::NotASize(text.to_owned()));
    };
    let shift = match last.to_ascii_lowercase() {
        'k' => 10,
        'm' => 20,
        'g' => 30,
        't' => 40,
        _ => return parse_address(text).map_err(|error| unknown_suffix(text, last).unwrap_or(not_a_size(error))),
    };
    let number = text.strip_suffix(last).unwrap_or(text);
    match number.split_once('.') {
        None => parse_address(number)
            .map_err(not_a_size)?
            .checked_mul(1 << shift)
            .ok_or_else(|| NumberError::TooLarge(text.to_owned())),
        Some((whole, fraction)) => decimal_fraction(text, whole, fraction, 1 << shift),
    }
}

/// A decimal fraction of units as bytes.
fn decimal_fraction(text: &str, whole: &str, fraction: &str, unit: u64) -> Result<u64, NumberError> {
    let is_decimal = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_decimal(whole) || !is_decimal(fraction) {
        return Err(NumberError::NotASize(text.to_owned()));
    }
    // A digit more can only be part of a byte, since no unit is divisible by 5.
    let fraction = fraction.trim_end_matches('0');
    let part_of_a_byte = || NumberError::PartOfAByte(text.to_owned());
    let scale = u32::try_from(fraction.len()).ok().and_then(|digits| 10_u128.checked_pow(digits));
    let scale = scale.ok_or_else(part_of_a_byte)?;
    let numerator: u128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| part_of_a_byte())? };
    let bytes = numerator.checked_mul(unit.into()).ok_or_else(part_of_a_byte)?;
    if !bytes.is_multiple_of(scale) {
        return Err(part_of_a_byte());
    }
    let whole = u128::from(parse_address(whole).map_err(|error| match error {
        NumberError::TooLarge(_) => NumberError::TooLarge(text.to_owned()),
        other => other,
    })?);
    u64::try_from(whole * u128::from(unit) + bytes / scale).map_err(|_| NumberError::TooLarge(text.to_owned()))
}

/// Whether all that is wrong with a size is the letter at its end.
fn unknown_suffix(text: &str, last: char) -> Option<NumberError> {
    let number = text.strip_suffix(last)?;
    let is_suffix = last.is_ascii_alphabetic() && !text.eq_ignore_ascii_case("0x");
    (is_suffix && parse_address(number).is_ok()).then(|| NumberError::UnknownSuffix(text.to_owned()))
}

/// A number with its noun: `1 segment`, `2 segments`.
pub fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, word: &str) -> String {
    format!("{count} {}", noun(&count, word))
}

/// The noun of a number, which takes an s unless there is one.
pub fn noun<N: PartialEq + From<u8>>(count: &N, word: &str) -> String {
    let ending = if *count == N::from(1) { "" } else { "s" };
    format!("{word}{ending}")
}

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Serialises an integer that a double may not hold, as parsers of JSON have them, as a string of decimal digits.
///
/// # Errors
///
/// Those of the serialiser.
pub fn decimal<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Reads an integer that [`decimal`] has written, or a JSON number.
///
/// # Errors
///
/// It is neither.
pub fn from_decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => parse_address(&text).map_err(serde::de::Error::custom),
    }
}

/// A size in the largest unit that gives it exactly: `64 KiB`, `639 KiB`, `4097 B`.
pub fn exact_size(bytes: u128) -> String {
    let mut value = bytes;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while value >= 1024 && value.is_multiple_of(1024) {
        let Some(larger) = units.next() else { break };
        value /= 1024;
        unit = Some(larger);
    }
    format!("{value} {}", unit.unwrap_or(&""))
}

/// A size for reading at a glance, rounded to the nearest tenth of the unit: `12.3 MiB`.
pub fn rough_size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut divisor: u128 = 1024;
    let mut units = UNITS.iter().skip(1).peekable();
    loop {
        let tenths = (u128::from(bytes) * 10 + divisor / 2) / divisor;
        let name = units.next().copied().unwrap_or_default();
        // What rounds to 1024.0 is 1.0 of the next unit.
        if tenths < 10240 || units.peek().is_none() {
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
        divisor *= 1024;
    }
}

/// Two hexadecimal digits for each byte.
pub fn hex_digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of pairs of hexadecimal digits, as [`hex_digits`] writes them; `None` if there are none, or anything else.
pub fn bytes_of_hex_digits(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    bytes.filter(|bytes| !bytes.is_empty() && rest.is_empty())
}

/// A time as UTC in RFC 3339, to the second: `2026-11-21T04:05:06Z`; `None` before 1970 and after 9999, which a clock may
/// be set to.
pub fn utc_if_known(time: SystemTime) -> Option<String> {
    let mut text = String::new();
    let written = time >= UNIX_EPOCH && write!(text, "{}", humantime::format_rfc3339_seconds(time)).is_ok();
    written.then_some(text)
}

/// The same of seconds since 1970.
pub fn utc_of_seconds(seconds: u64) -> Option<String> {
    utc_if_known(UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?)
}

/// The same for people and files that have words for it: `unknown` where it cannot be written.
pub fn utc(time: SystemTime) -> String {
    utc_if_known(time).unwrap_or_else(|| "unknown".to_owned())
}

/// A time that a kernel keeps, in seconds since 1970, for people.
pub fn utc_of_unix(seconds: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    time.map_or_else(|| format!("{seconds} s after 1970"), utc)
}

/// Seconds as uptime(1) shows them, to the second: `3 days 04:05:06`.
pub fn days_and_time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        1 => format!("1 day {clock}"),
        days => format!("{days} days {clock}"),
    }
}

/// A physical or virtual address, or a length in bytes beside one: printed, and written in JSON, as
/// hexadecimal with `0x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hex(pub u64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:#x}", self.0))
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_address(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Addresses from `start` up to, but without, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressRange {
    /// First address.
    #[serde(with = "hex")]
    pub start: u64,
    /// First address after the range.
    #[serde(with = "hex")]
    pub end: u64,
}

impl AddressRange {
    /// Whether it has an address.
    pub const fn contains(self, address: u64) -> bool {
        self.start <= address && address < self.end
    }
}

/// [`Hex`] as a serde adapter for plain `u64` fields: `#[serde(with = "hex")]`.
pub mod hex {
    use super::Hex;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the number as a `0x` string.
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        Hex(*value).serialize(serializer)
    }

    /// Reads a `0x` or decimal string.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        Hex::deserialize(deserializer).map(|hex| hex.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_are_bytes_in_pairs_alone() {
        let bytes = [0, 0x0f, 0xa5, 0xff];
        assert_eq!(bytes_of_hex_digits(&hex_digits(&bytes)), Some(bytes.to_vec()));
        assert_eq!(bytes_of_hex_digits("A5"), Some(vec![0xa5]));
        for text in ["", "a", "abc", "0x", "+1", "zz", "a\u{e9}", " a"] {
            assert_eq!(bytes_of_hex_digits(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_take_suffixes_in_either_case_and_hexadecimal() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("4k", 4096),
            ("4K", 4096),
            ("1m", 1 << 20),
            ("2G", 2 << 30),
            ("3t", 3 << 40),
            ("0x1000", 4096),
            ("0X10k", 16384),
            ("0xbad", 0xbad),
            ("18446744073709551615", u64::MAX),
            ("1.5g", 3 << 29),
            ("0.5K", 512),
            ("1.0m", 1 << 20),
            ("0.0009765625m", 1 << 10),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_by_name() {
        for text in [
            "", "k", "-1", "+1", " 1", "1 ", "0x", "x10", "1.5", "1_000", "k4", "4kb", "0x-1", "٣", ".5k", "1.k",
            "0x1.8k", "1.5.5k", "1.-5k",
        ] {
            assert!(matches!(parse_size(text), Err(NumberError::NotASize(_))), "{text}: {:?}", parse_size(text));
        }
        for text in ["0.0001k", "1.3m", "0.00000000000000000000000000000000000000000000001t"] {
            assert!(matches!(parse_size(text), Err(NumberError::PartOfAByte(_))), "{text}: {:?}", parse_size(text));
        }
        for text in [
            "18446744073709551616",
            "18446744073709551616.5k",
            "16777216.5t",
            "16777216t",
            "0x10000000000000000",
            "18014398509481984k",
        ] {
            assert!(matches!(parse_size(text), Err(NumberError::TooLarge(_))), "{text}");
        }
        for text in ["010", "00", "07k"] {
            assert!(matches!(parse_size(text), Err(NumberError::LeadingZero(_))), "{text}");
        }
        for text in ["1b", "10q", "0x10z"] {
            assert!(matches!(parse_size(text), Err(NumberError::UnknownSuffix(_))), "{text}: {:?}", parse_size(text));
        }
    }

    #[test]
    fn one_is_counted_without_an_s() {
        assert_eq!(counted(0_u64, "segment"), "0 segments");
        assert_eq!(counted(1_usize, "segment"), "1 segment");
        assert_eq!(counted(2_u32, "page table"), "2 page tables");
    }

    #[test]
    fn an_address_takes_no_suffix() {
        assert_eq!(parse_address("0xffffffffffffffff"), Ok(u64::MAX));
        assert!(parse_address("4k").is_err());
    }

    #[test]
    fn sizes_are_printed_exactly_or_to_a_tenth() {
        assert_eq!(exact_size(0), "0 B");
        assert_eq!(exact_size(0x9fc00), "639 KiB");
        assert_eq!(exact_size(4097), "4097 B");
        assert_eq!(exact_size(1 << 64), "16 EiB");
        assert_eq!(rough_size(1023), "1023 B");
        assert_eq!(rough_size(1024), "1.0 KiB");
        assert_eq!(rough_size(1536), "1.5 KiB");
        // To the nearest tenth, across units too.
        assert_eq!(rough_size(1587), "1.5 KiB");
        assert_eq!(rough_size(1588), "1.6 KiB");
        assert_eq!(rough_size((1 << 20) - 52), "1023.9 KiB");
        assert_eq!(rough_size((1 << 20) - 51), "1.0 MiB");
        assert_eq!(rough_size(u64::MAX), "16.0 EiB");
    }
}
