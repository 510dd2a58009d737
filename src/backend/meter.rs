//! Meters the requests of a route against its rate: GCRA, one atomic a key.
//!
//! Kept is the time at which a key's allowance would be whole again (the theoretical arrival time). Keys share a table
//! of fixed size: four places for those that hash alike, the one that is whole soonest is given away. So memory is
//! bounded whoever asks; a key that is pushed out begins anew.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::config::RateLimit;

/// Sets of places in a table.
const SETS: usize = 16_384;
const PLACES: usize = 4;

/// A place holds 16 bits of its key above 48 bits of microseconds, which are nine years.
const TIME: u64 = (1 << 48) - 1;

/// After so many lost races a request passes.
const RACES: usize = 8;

/// What was taken of the rate of one route, over revisions.
#[derive(Debug)]
pub struct Meter {
    origin: Instant,
    whole: AtomicU64,
    keys: OnceLock<Box<[AtomicU64]>>,
    seed: u64,
}

impl Meter {
    /// Nothing was taken.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
            whole: AtomicU64::new(0),
            keys: OnceLock::new(),
            seed: rand::random(),
        }
    }

    /// Takes one request at `now`, of `key` if the rate is of each; else tells how long it takes until there is one.
    pub fn take(&self, rate: &RateLimit, key: Option<u64>, now: Instant) -> Result<(), Duration> {
        // Never 0, which is an empty place.
        let now = now.saturating_duration_since(self.origin).as_micros() as u64 + 1;
        let Some(key) = key else {
            let whole = || (&self.whole, self.whole.load(Relaxed));
            return race(whole, rate, now, 0, !0);
        };
        let keys = self
            .keys
            .get_or_init(|| (0..SETS * PLACES).map(|_| AtomicU64::new(0)).collect());
        // Nobody outside can choose keys that meet.
        let mixed = (key ^ self.seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let tag = mixed & !TIME;
        let set = &keys[(mixed as usize % SETS) * PLACES..][..PLACES];
        race(|| place_of(set, tag), rate, now, tag, TIME)
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

/// The place of `tag` and what it holds; else the one to give away, as if it held nothing.
fn place_of(set: &[AtomicU64], tag: u64) -> (&AtomicU64, u64) {
    let held = set.iter().map(|place| (place, place.load(Relaxed)));
    // False comes first: a place of the tag before all others, and then the one that is whole soonest.
    let of_tag = |held: u64| held & TIME != 0 && held & !TIME == tag;
    let best = held.min_by_key(|(_, held)| (!of_tag(*held), held & TIME));
    best.unwrap_or((&set[0], 0))
}

fn race<'a>(
    place: impl Fn() -> (&'a AtomicU64, u64),
    rate: &RateLimit,
    now: u64,
    tag: u64,
    mask: u64,
) -> Result<(), Duration> {
    for _ in 0..RACES {
        let (place, seen) = place();
        // What another key left says nothing.
        let whole_at = if seen & !mask == tag { seen & mask } else { 0 };
        let next = step(rate, whole_at, now)?;
        let exchanged = place.compare_exchange(seen, tag | next & mask, Relaxed, Relaxed);
        if exchanged.is_ok() {
            return Ok(());
        }
    }
    Ok(())
}

/// When the allowance is whole again after one more request; else how long until it is allowed. In microseconds.
fn step(rate: &RateLimit, whole_at: u64, now: u64) -> Result<u64, Duration> {
    let interval = rate.per.as_micros() as u64 / u64::from(rate.requests);
    let next = whole_at.max(now) + interval;
    // The config sees to it that this is at most 30 days.
    let most = now.saturating_add(interval.saturating_mul(rate.burst.into()));
    if next > most {
        return Err(Duration::from_micros(next - most));
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(requests: u32, per: u64, burst: u32) -> RateLimit {
        RateLimit {
            requests,
            per: Duration::from_secs(per),
            burst,
            by: None,
        }
    }

    fn taken(meter: &Meter, rate: &RateLimit, key: Option<u64>, now: Instant) -> usize {
        (0..1_000)
            .filter(|_| meter.take(rate, key, now).is_ok())
            .count()
    }

    #[test]
    fn a_burst_and_then_the_rate_for_the_whole_and_for_each_key() {
        let (meter, rate) = (Meter::new(), rate(10, 1, 25));
        for key in [None, Some(1), Some(2)] {
            let start = Instant::now();
            assert_eq!(taken(&meter, &rate, key, start), 25, "{key:?}");
            let after = |millis| start + Duration::from_millis(millis);
            assert_eq!(taken(&meter, &rate, key, after(99)), 0);
            assert_eq!(taken(&meter, &rate, key, after(350)), 3);
            assert_eq!(taken(&meter, &rate, key, after(60_000)), 25);
        }
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_back() {
        let (meter, rate) = (Meter::new(), rate(1, 60, 1));
        let start = Instant::now();
        assert_eq!(meter.take(&rate, Some(7), start), Ok(()));
        let wait = meter.take(&rate, Some(7), start + Duration::from_secs(15));
        assert_eq!(wait, Err(Duration::from_secs(45)));
        assert_eq!(
            meter.take(&rate, Some(7), start + Duration::from_secs(60)),
            Ok(())
        );
    }

    #[test]
    fn keys_do_not_meet_and_the_table_does_not_grow() {
        let (meter, rate) = (Meter::new(), rate(1, 3_600, 1));
        let now = Instant::now();
        let refused = (0..10_000_u64).filter(|key| meter.take(&rate, Some(*key), now).is_err());
        assert!(refused.count() <= 3);
        // Far more keys than places: each finds one.
        let refused = (0..200_000_u64).filter(|key| {
            let key = key.wrapping_mul(0x1234_5678_9ABC_DEF1);
            meter.take(&rate, Some(key), now).is_err()
        });
        assert!(refused.count() < 100);
        assert_eq!(meter.keys.get().unwrap().len(), SETS * PLACES);
    }

    #[test]
    fn threads_together_take_no_more_than_there_is() {
        let (meter, rate) = (Meter::new(), rate(1, 3_600, 100));
        let now = Instant::now();
        let taken = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    taken.fetch_add(super::tests::taken(&meter, &rate, None, now), Relaxed)
                });
            }
        });
        // A request that lost its races passes; that is rare.
        assert!((100..=110).contains(&taken.load(Relaxed)));
    }
}
