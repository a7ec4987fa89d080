//! The kernel's time since it booted, and times that count from then (`sbintime_t`).
//!
//! Sources: `struct timehands` in `sys/kern/kern_tc.c`, `sys/sys/time.h`.

use crate::bounds::{low_u64, saturating_u32};
use crate::error::Result;
use crate::kernel::TypedMemory;

/// How long the kernel runs, in units of 2^-32 seconds, as of the last time that it computed the time, which is up to a clock
/// interrupt ago (`sbinuptime()` without what its time counter has counted since).
pub(super) fn uptime(typed: TypedMemory<'_>) -> Result<u64> {
    let offset = typed.variable("timehands")?.dereference()?.member("th_offset")?;
    let (seconds, fraction) = (offset.member("sec")?.unsigned()?, offset.member("frac")?.unsigned()?);
    Ok(low_u64(u128::from(seconds) << 32 | u128::from(fraction >> 32)))
}

/// A time in milliseconds.
pub(super) fn milliseconds(time: u64) -> u64 {
    low_u64((u128::from(time) * 1000) >> 32)
}

/// A time in seconds, with a fraction of microseconds.
pub(super) fn seconds(time: i64) -> f64 {
    let microseconds = low_u64((u128::from(time.unsigned_abs()) * 1_000_000) >> 32);
    // Less than 2^51 microseconds: a double has them all.
    let (whole, part) = (microseconds / 1_000_000, microseconds % 1_000_000);
    let seconds = f64::from(saturating_u32(whole)) + f64::from(saturating_u32(part)) / 1_000_000.0;
    if time < 0 { -seconds } else { seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SBT_1S`.
    const SECOND: u64 = 1 << 32;

    #[test]
    fn times_are_shown_in_seconds_and_milliseconds() {
        let second = i64::try_from(SECOND).unwrap();
        assert_eq!([0, second, -second, second / 2, second + second / 4].map(seconds), [0.0, 1.0, -1.0, 0.5, 1.25]);
        assert_eq!([i64::MAX, i64::MIN].map(seconds), [2_147_483_647.999_999, -2_147_483_648.0]);
        assert_eq!([0, SECOND, SECOND * 5 / 2, u64::MAX].map(milliseconds), [0, 1000, 2500, 4_294_967_295_999]);
    }
}
