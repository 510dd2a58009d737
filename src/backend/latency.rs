//! How long a backend takes to its first byte: the peak-sensitive moving average that `ewma` picks by.
//!
//! A slower answer counts in full at once, a faster one as far as the average has aged: bad news travels fast. What
//! nobody measured for a while fades, so that a backend once slow is tried again.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The age at which a measurement counts for 1/e.
const DECAY_SECONDS: f64 = 10.0;

/// What a failure is charged, unless the backend said for how long to leave it alone.
pub(super) const FAILURE: Duration = Duration::from_secs(5);

/// The most that a backend is left alone for by its own word.
pub(super) const LONGEST_CHARGE: Duration = Duration::from_secs(300);

/// Microseconds in the upper half, and when they were right in the lower one, in milliseconds of this process: both
/// change as one. 0 is nothing measured.
#[derive(Debug, Default)]
pub(super) struct PeakEwma(AtomicU64);

impl PeakEwma {
    /// Takes in one measurement made at `now`.
    pub(super) fn observe(&self, now: Millis, took: Duration) {
        let took = took.as_secs_f64() * 1e6;
        let _ = self.0.fetch_update(Relaxed, Relaxed, |packed| {
            let average = match packed {
                0 => took,
                _ => {
                    let (average, weight) = faded(packed, now);
                    let level = (packed >> 32) as f64;
                    if took >= average {
                        took
                    } else {
                        level * weight + took * (1.0 - weight)
                    }
                }
            };
            Some(pack(average, now))
        });
    }

    /// In microseconds; `None` if nothing was measured yet.
    pub(super) fn at(&self, now: Millis) -> Option<f64> {
        match self.0.load(Relaxed) {
            0 => None,
            packed => Some(faded(packed, now).0.max(1.0)),
        }
    }
}

/// The average at `now`, and how much of it is left.
fn faded(packed: u64, now: Millis) -> (f64, f64) {
    // Another thread's clock reading may be a little newer than this one.
    let age = now.0.wrapping_sub(packed as u32).cast_signed().max(0);
    let weight = (-f64::from(age) / 1e3 / DECAY_SECONDS).exp();
    ((packed >> 32) as f64 * weight, weight)
}

fn pack(micros: f64, now: Millis) -> u64 {
    // At least 1, so that it is not nothing.
    let micros = micros.clamp(1.0, f64::from(u32::MAX)) as u64;
    micros << 32 | u64::from(now.0)
}

/// Milliseconds of this process, wrapping after 49 days; only differences count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Millis(pub(super) u32);

impl Millis {
    /// Of `at`.
    pub(super) fn of(at: Instant) -> Self {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        let origin = *ORIGIN.get_or_init(|| at);
        Self(at.saturating_duration_since(origin).as_millis() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn slower_counts_at_once_and_faster_by_and_by() {
        let ewma = PeakEwma::default();
        assert_eq!(ewma.at(Millis(0)), None);
        ewma.observe(Millis(1_000), ms(10));
        assert_eq!(ewma.at(Millis(1_000)), Some(10_000.0));
        ewma.observe(Millis(1_000), ms(200));
        assert_eq!(ewma.at(Millis(1_000)), Some(200_000.0));
        ewma.observe(Millis(1_000), ms(10));
        assert_eq!(
            ewma.at(Millis(1_000)),
            Some(200_000.0),
            "no time has passed"
        );
        for second in 2..=11 {
            ewma.observe(Millis(second * 1_000), ms(10));
        }
        let after = ewma.at(Millis(11_000)).unwrap();
        let expected = 10_000.0 + 190_000.0 / std::f64::consts::E;
        assert!((after - expected).abs() < 10.0, "{after} not {expected}");
    }

    #[test]
    fn what_nobody_measures_fades() {
        let ewma = PeakEwma::default();
        ewma.observe(Millis(0), FAILURE);
        let after = ewma.at(Millis(85_000)).unwrap();
        assert!((500.0..1_500.0).contains(&after), "{after}");
        assert_eq!(
            ewma.at(Millis(10_000_000)),
            Some(1.0),
            "and is never nothing"
        );
    }

    #[test]
    fn the_clock_may_wrap_and_be_behind() {
        let ewma = PeakEwma::default();
        ewma.observe(Millis(u32::MAX), ms(10));
        assert!(ewma.at(Millis(9)).unwrap() > 9_980.0);
        assert_eq!(ewma.at(Millis(u32::MAX - 5)), Some(10_000.0));
    }
}
