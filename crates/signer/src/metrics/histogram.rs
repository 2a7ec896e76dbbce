//! Durations counted in fixed buckets, by atomics alone.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds in microseconds. A commit on a good disk takes some 100 µs and a node waits for 5 s: from one to
/// the other in steps of two to two and a half.
pub(super) const BOUNDS_MICROS: [u64; 16] = [
    50, 100, 200, 300, 500, 750, 1_000, 2_000, 5_000, 10_000, 25_000, 100_000, 250_000, 1_000_000, 2_500_000, 5_000_000,
];

/// How often how long. Recording is two additions; nothing waits.
#[derive(Default)]
pub struct Histogram {
    /// One more than there are bounds: the last bucket has none.
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_nanos: AtomicU64,
}

/// What a [`Histogram`] held at one time.
pub(super) struct Counts {
    /// How many took at most the bound of the same index, cumulative; the last counts all.
    pub(super) at_most: [u64; BOUNDS_MICROS.len() + 1],
    pub(super) sum: Duration,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        let micros = duration.as_micros();
        let index = BOUNDS_MICROS.partition_point(|bound| u128::from(*bound) < micros);
        self.buckets[index].fetch_add(1, Relaxed);
        self.sum_nanos.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        let mut total = 0;
        let at_most = self.buckets.each_ref().map(|bucket| {
            total += bucket.load(Relaxed);
            total
        });
        Counts { at_most, sum: Duration::from_nanos(self.sum_nanos.load(Relaxed)) }
    }
}

impl Counts {
    pub(super) const fn total(&self) -> u64 {
        self.at_most[BOUNDS_MICROS.len()]
    }

    /// The bound below which that share of all durations lies; none if there are none, or beyond the last bound.
    pub(super) fn quantile_micros(&self, percent: u64) -> Option<u64> {
        let rank = (self.total().checked_mul(percent)?).div_ceil(100);
        let index = self.at_most.iter().position(|count| *count >= rank && *count > 0)?;
        BOUNDS_MICROS.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_every_bucket_that_it_fits() {
        let histogram = Histogram::default();
        for micros in [50, 51, 5_000_000, 5_000_001] {
            histogram.record(Duration::from_micros(micros));
        }
        let counts = histogram.counts();
        assert_eq!(counts.at_most[..2], [1, 2]);
        assert_eq!(counts.at_most[15..], [3, 4]);
        assert_eq!(counts.sum, Duration::from_micros(10_000_102));
    }

    #[test]
    fn a_quantile_is_the_bound_above_it() {
        let histogram = Histogram::default();
        assert_eq!(histogram.counts().quantile_micros(50), None);
        for _ in 0..99 {
            histogram.record(Duration::from_micros(150));
        }
        histogram.record(Duration::from_secs(2));
        assert_eq!(histogram.counts().quantile_micros(50), Some(200));
        assert_eq!(histogram.counts().quantile_micros(99), Some(200));
        assert_eq!(histogram.counts().quantile_micros(100), Some(2_500_000));
    }
}
