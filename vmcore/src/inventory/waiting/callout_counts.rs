//! How many callouts there are, and how soon they are due, as `kern.callout_stat` counts them.
//!
//! Source: `sysctl_kern_callout_stat()` in `sys/kern/kern_timeout.c`.

use super::uptime::seconds;
use crate::bounds::{low_u64, saturating_u64, saturating_usize};
use crate::table::{Table, right};
use serde::{Serialize, Serializer};

/// Ranges of times: one for each power of two, and 0.
const RANGES: usize = 65;

/// The number of callouts in wheels, and sums over them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CalloutCounts {
    /// Callouts in wheels.
    pub callouts: u64,
    /// Lists of all wheels.
    pub buckets: u64,
    /// Callouts of the longest list.
    pub longest_bucket: u64,
    /// Times until callouts are due, in units of 2^-32 seconds; of those that are due, 0.
    times: Times,
    /// How much later callouts may come, likewise.
    precisions: Times,
}

/// Times of callouts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Times {
    count: u64,
    sum: u128,
    longest: i64,
    /// By the power of two that a time is nearest to.
    ranges: Box<[u64; RANGES]>,
}

impl Default for Times {
    fn default() -> Self {
        Self { count: 0, sum: 0, longest: 0, ranges: Box::new([0; RANGES]) }
    }
}

impl Times {
    fn add(&mut self, time: i64) {
        let time = time.max(0);
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(u128::from(time.unsigned_abs()));
        self.longest = self.longest.max(time);
        if let Some(count) = self.ranges.get_mut(range(time.unsigned_abs())) {
            *count = count.saturating_add(1);
        }
    }

    fn mean(&self) -> Option<f64> {
        let mean = self.sum.checked_div(self.count.into())?;
        i64::try_from(low_u64(mean)).ok().map(seconds)
    }

    fn longest(&self) -> Option<f64> {
        (self.count > 0).then(|| seconds(self.longest))
    }
}

/// The number of the range that a time is in: one more than the power of two that it is nearest to (`flssbt()`).
fn range(time: u64) -> usize {
    let rounded = time.saturating_add(time / 2);
    saturating_usize(64_u32.saturating_sub(rounded.leading_zeros()))
}

/// The time that a range is named by, in seconds: a power of two.
fn range_start(range: usize) -> f64 {
    let power = i32::try_from(range).ok().and_then(|range| range.checked_sub(1)).filter(|power| *power >= 0);
    power.map_or(0.0, |power| 2_f64.powi(power.saturating_sub(32)))
}

/// A range of times, and how many callouts have such ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Range {
    /// The power of two that its times are nearest to.
    range_seconds: f64,
    due_count: u64,
    precision_count: u64,
}

impl CalloutCounts {
    pub(super) fn add_wheel(&mut self, buckets: u64) {
        self.buckets = self.buckets.saturating_add(buckets);
    }

    pub(super) fn add_bucket(&mut self, callouts: usize) {
        self.callouts = self.callouts.saturating_add(saturating_u64(callouts));
        self.longest_bucket = self.longest_bucket.max(saturating_u64(callouts));
    }

    /// Counts the times of a callout, in units of 2^-32 seconds.
    pub(super) fn add(&mut self, time: i64, precision: i64) {
        self.times.add(time);
        self.precisions.add(precision);
    }

    fn ranges(&self) -> Vec<Range> {
        let counts = self.times.ranges.iter().zip(self.precisions.ranges.iter());
        let some = counts.enumerate().filter(|(_, (due, precision))| **due > 0 || **precision > 0);
        let range = |(number, (due, precision)): (usize, (&u64, &u64))| Range {
            range_seconds: range_start(number),
            due_count: *due,
            precision_count: *precision,
        };
        some.map(range).collect()
    }

    /// How many callouts are due in which time.
    pub(super) fn table(&self) -> Table {
        let row = |range: &Range| {
            vec![format!("{:.6}", range.range_seconds), range.due_count.to_string(), range.precision_count.to_string()]
        };
        let caption = format!("{} callouts in {} lists", self.callouts, self.buckets);
        let columns = [right("SECONDS"), right("DUE"), right("PRECISION")];
        Table::new(columns, self.ranges().iter().map(row).collect()).captioned(caption)
    }
}

impl Serialize for CalloutCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Document {
            callout_count: u64,
            list_count: u64,
            longest_list_count: u64,
            mean_due_seconds: Option<f64>,
            longest_due_seconds: Option<f64>,
            mean_precision_seconds: Option<f64>,
            longest_precision_seconds: Option<f64>,
            ranges: Vec<Range>,
        }
        Document {
            callout_count: self.callouts,
            list_count: self.buckets,
            longest_list_count: self.longest_bucket,
            mean_due_seconds: self.times.mean(),
            longest_due_seconds: self.times.longest(),
            mean_precision_seconds: self.precisions.mean(),
            longest_precision_seconds: self.precisions.longest(),
            ranges: self.ranges(),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_the_range_of_the_nearest_power_of_two() {
        let second = 1_u64 << 32;
        assert_eq!([0, 1, second, second * 5 / 4, second * 3 / 2].map(range), [0, 1, 33, 33, 34]);
        assert_eq!([i64::MAX.unsigned_abs(), u64::MAX].map(range), [64, 64]);
        assert_eq!([0, 32, 33, 34].map(range_start), [0.0, 0.5, 1.0, 2.0]);
    }

    #[test]
    fn what_is_overdue_counts_as_due_now() {
        let mut counts = CalloutCounts::default();
        assert_eq!((counts.times.mean(), counts.times.longest()), (None, None));
        counts.add(-5, 0);
        counts.add(2 << 32, 1 << 31);
        assert_eq!((counts.times.mean(), counts.times.longest()), (Some(1.0), Some(2.0)));
        assert_eq!(counts.precisions.mean(), Some(0.25));
        let row = |range_seconds, due_count, precision_count| Range { range_seconds, due_count, precision_count };
        assert_eq!(counts.ranges(), [row(0.0, 1, 1), row(0.5, 0, 1), row(2.0, 1, 0)]);
    }
}
