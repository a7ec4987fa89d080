//! Times of an archive: seconds since 1970 in UTC, written as RFC 3339, and what people write of them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};
use vmcore::units::utc_of_seconds;

const DAY: u64 = 86_400;
/// The first second of 2000. No clock that is set says less.
const YEAR_2000: u64 = 946_684_800;
/// The first second of 10000, which RFC 3339 does not have.
const YEAR_10000: u64 = 253_402_300_800;

/// A time, to the second; before the year 10000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a time: use 2026-11-24, 2026-11-24T12:00:00Z, or an age such as 7d, 12h or 30m")]
pub struct TimeError(String);

/// Why a text is not an age.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an age: use a whole number with s, m, h, d, w or y, such as 90d")]
pub struct AgeError(String);

impl Time {
    /// Seconds since 1970; `None` from the year 10000 on.
    pub fn from_seconds(seconds: u64) -> Option<Self> {
        (seconds < YEAR_10000).then_some(Self(seconds))
    }

    /// What this system's clock says.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self(since.min(YEAR_10000 - 1))
    }

    /// Seconds since 1970.
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// Whether a clock that is right can have said so by now.
    pub const fn is_plausible(self, now: Self) -> bool {
        self.0 >= YEAR_2000 && self.0 <= now.0.saturating_add(DAY)
    }

    /// So many seconds before; no time is before 1970.
    #[must_use]
    pub const fn before(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// `2026-11`.
    pub fn month(self) -> String {
        self.to_string().chars().take(7).collect()
    }

    /// The time that a text says: a day, which begins in UTC, a time of RFC 3339, or an age before `now`.
    ///
    /// # Errors
    ///
    /// It says none.
    pub fn parse(text: &str, now: Self) -> Result<Self, TimeError> {
        if let Ok(age) = parse_age(text) {
            return Ok(now.before(age));
        }
        parse_rfc3339(text).ok_or_else(|| TimeError(text.to_owned()))
    }

    /// The time of an `info.N`, as savecore(8) writes it: `2026-01-31 12:00:00 +0100`.
    pub fn parse_saved(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (day, clock, zone) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || zone.len() != 5 {
            return None;
        }
        let (hours, minutes) = zone.split_at_checked(3)?;
        parse_rfc3339(&format!("{day}T{clock}{hours}:{minutes}"))
    }
}

/// Seconds of an age: `90d`.
///
/// # Errors
///
/// It is none.
pub fn parse_age(text: &str) -> Result<u64, AgeError> {
    let wrong = || AgeError(text.to_owned());
    let unit = match text.chars().next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => DAY,
        Some('w') => 7 * DAY,
        Some('y') => 365 * DAY,
        _ => return Err(wrong()),
    };
    number(text.get(..text.len() - 1).ok_or_else(wrong)?).and_then(|count| count.checked_mul(unit)).ok_or_else(wrong)
}

/// Decimal digits alone.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A number of exactly so many digits, within bounds.
fn digits(text: &str, count: usize, (least, most): (u64, u64)) -> Option<u64> {
    number(text).filter(|number| text.len() == count && (least..=most).contains(number))
}

/// `2026-11-24`, or `2026-11-24T12:00:00Z`, with a fraction, which is left out, or another offset.
fn parse_rfc3339(text: &str) -> Option<Time> {
    let (day, rest) = text.split_at_checked(10)?;
    let mut parts = day.split('-');
    let year = digits(parts.next()?, 4, (1970, 9999))?;
    let month = digits(parts.next()?, 2, (1, 12))?;
    let day = digits(parts.next()?, 2, (1, days_in(year, month)))?;
    let midnight = days_before(year, month, day)?.checked_mul(DAY)?;
    if rest.is_empty() {
        return Some(Time(midnight));
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let mut parts = clock.split(':');
    let hours = digits(parts.next()?, 2, (0, 23))?;
    let minutes = digits(parts.next()?, 2, (0, 59))?;
    // A leap second is the first one of the next minute.
    let seconds = digits(parts.next()?, 2, (0, 60))?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() { None } else { Some(zone) }?
        }
        None => rest,
    };
    let local = midnight.checked_add(hours * 3600 + minutes * 60 + seconds)?;
    let utc = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => local,
        ("+", offset) => local.checked_sub(parse_offset(offset)?)?,
        ("-", offset) => local.checked_add(parse_offset(offset)?)?,
        _ => return None,
    };
    Time::from_seconds(utc)
}

/// `01:00` in seconds.
fn parse_offset(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    Some(digits(hours, 2, (0, 23))? * 3600 + digits(minutes, 2, (0, 59))? * 60)
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

const fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day.
fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year.checked_sub(1970)?) * 365 + leap_days(year - 1) - leap_days(1969);
    let months: u64 = (1..month).map(|month| days_in(year, month)).sum();
    Some(years + months + day - 1)
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every one has a text.
        f.pad(&utc_of_seconds(self.0).unwrap_or_default())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_rfc3339(&text).ok_or_else(|| serde::de::Error::custom(TimeError(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Option<u64> {
        parse_rfc3339(text).map(Time::seconds)
    }

    #[test]
    fn times_are_read_as_rfc_3339_has_them() {
        assert_eq!(parsed("1970-01-01"), Some(0));
        assert_eq!(parsed("2000-01-01T00:00:00Z"), Some(YEAR_2000));
        assert_eq!(parsed("2026-11-24T12:00:00+01:00"), parsed("2026-11-24T11:00:00.25Z"));
        assert_eq!(parsed("2024-02-29T23:59:60Z"), parsed("2024-03-01"));
        assert_eq!(parsed("9999-12-31T23:59:59Z"), Some(YEAR_10000 - 1));
        assert_eq!(Time::parse_saved("2026-01-31 12:00:00 +0100").map(Time::seconds), parsed("2026-01-31T11:00:00Z"));
        for text in [
            "",
            "2026",
            "2026-11",
            "2026-13-01",
            "2026-02-29",
            "2026-1-1",
            "2026-11-24T",
            "2026-11-24T12:00",
            "2026-11-24T12:00:00",
            "2026-11-24T24:00:00Z",
            "2026-11-24T12:00:00+1:00",
            "1969-12-31",
            "2026-11-24x",
            "9999-12-31T23:59:59-01:00",
            "1970-01-01T00:00:00+01:00",
            "2026-11-24T12:00:00.Z",
            "+026-11-24",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
        for text in ["", "2026-01-31 12:00:00", "2026-01-31 12:00:00 +01:00", "Sat Jan 31 12:00:00 2026"] {
            assert_eq!(Time::parse_saved(text), None, "{text}");
        }
    }

    #[test]
    fn ages_are_whole_numbers_with_a_unit() {
        let now = Time(10 * DAY);
        assert_eq!(Time::parse("7d", now), Ok(Time(3 * DAY)));
        assert_eq!(Time::parse("9y", now), Ok(Time(0)));
        for text in ["", "d", "7", "-7d", "7D", "1.5d", "99999999999999999999d", "9999999999999999y"] {
            assert!(parse_age(text).is_err(), "{text}");
        }
        assert_eq!(parse_age("0s"), Ok(0));
    }

    #[test]
    fn a_clock_that_is_not_set_is_seen() {
        let now = parse_rfc3339("2026-11-24").unwrap();
        for (text, is_plausible) in [
            ("1999-12-31T23:59:59Z", false),
            ("2000-01-01", true),
            ("2026-11-25", true),
            ("2026-11-25T00:00:01Z", false),
        ] {
            assert_eq!(parse_rfc3339(text).unwrap().is_plausible(now), is_plausible, "{text}");
        }
        assert_eq!(now.month(), "2026-11");
    }

    proptest! {
        #[test]
        fn any_time_is_read_as_it_was_written(seconds in 0..YEAR_10000) {
            prop_assert_eq!(parsed(&Time(seconds).to_string()), Some(seconds));
        }

        #[test]
        fn any_text_is_taken_or_refused(text in ".*") {
            let _ = Time::parse(&text, Time(0));
            let _ = Time::parse_saved(&text);
        }
    }
}
