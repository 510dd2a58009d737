//! A latency histogram with fixed buckets, for one shard.
//!
//! The buckets are the same everywhere, so that series of routes, backends and nodes can be added up.

use std::time::Duration;

use super::shards::{Count, Shards};

/// Upper bounds, in microseconds; above the last one everything counts as infinite.
const BOUNDS: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// How often each bucket was hit, and the sum of all durations.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [Count; BOUNDS.len() + 1],
    microseconds: Count,
}

/// The merged view of a sharded histogram.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Totals {
    /// Seconds, summed.
    pub(crate) sum: f64,
    /// Observations.
    pub(crate) count: u64,
    /// Upper bound in seconds and the hits of that bucket alone.
    pub(crate) buckets: Vec<(f64, u64)>,
}

impl Histogram {
    pub(crate) fn observe(&self, duration: Duration) {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < microseconds);
        self.buckets[bucket].add(1);
        self.microseconds.add(microseconds);
    }
}

/// Adds up the histograms that `of` finds in each shard.
pub(crate) fn totals<T: Default>(shards: &Shards<T>, of: impl Fn(&T) -> &Histogram) -> Totals {
    let buckets: Vec<(f64, u64)> = (0..=BOUNDS.len())
        .map(|i| {
            let bound = BOUNDS.get(i).map_or(f64::INFINITY, |us| *us as f64 / 1e6);
            (bound, shards.sum(|shard| of(shard).buckets[i].read()))
        })
        .collect();
    Totals {
        sum: shards.sum(|shard| of(shard).microseconds.read()) as f64 / 1e6,
        count: buckets.iter().map(|(_, hits)| hits).sum(),
        buckets,
    }
}

/// Estimated from buckets of (upper bound, hits of that bucket), linear inside a bucket; in the unit of the bounds.
/// `None` without observations. Above the last bound there is only that bound to tell.
pub(crate) fn quantile(buckets: &[(f64, u64)], q: f64) -> Option<f64> {
    let count: u64 = buckets.iter().map(|(_, hits)| hits).sum();
    let wanted = (count as f64 * q).max(1.0);
    let (mut below, mut lower) = (0.0, 0.0);
    for (upper, hits) in buckets.iter().map(|(upper, hits)| (*upper, *hits as f64)) {
        if hits > 0.0 && below + hits >= wanted {
            let width = if upper.is_finite() {
                upper - lower
            } else {
                0.0
            };
            return Some(lower + width * (wanted - below) / hits);
        }
        below += hits;
        lower = upper;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_linear_inside_a_bucket() {
        let buckets = [(1.0, 50), (2.0, 50), (f64::INFINITY, 0)];
        assert_eq!(quantile(&buckets, 0.5), Some(1.0));
        assert_eq!(quantile(&buckets, 0.75), Some(1.5));
        assert_eq!(quantile(&[(1.0, 0)], 0.5), None);
        assert_eq!(quantile(&[(1.0, 0), (f64::INFINITY, 3)], 0.99), Some(1.0));
    }

    #[test]
    fn a_bound_belongs_to_the_bucket_it_closes() {
        let shards: Shards<Histogram> = Shards::new(1);
        for microseconds in [0, 250, 251, 10_000_000, 10_000_001] {
            shards.own().observe(Duration::from_micros(microseconds));
        }
        let totals = totals(&shards, |shard| shard);
        assert_eq!(totals.count, 5);
        let hits: Vec<u64> = totals.buckets.iter().map(|bucket| bucket.1).collect();
        assert_eq!((hits[0], hits[1], hits[14], hits[15]), (2, 1, 1, 1));
    }
}
