//! Random numbers from a seed: splitmix64, small enough to be part of the hashed state.

use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in `[low, high)`.
    pub(super) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let width = high.saturating_sub(low).as_nanos().max(1);
        let offset = (u128::from(self.draw()) * width) >> 64;
        low + Duration::from_nanos(u64::try_from(offset).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_lies_within_its_bounds_and_fills_them() {
        let (low, high) = (Duration::from_millis(100), Duration::from_millis(150));
        let mut random = Random::new(1);
        let drawn: Vec<Duration> = (0..1000).map(|_| random.between(low, high)).collect();
        assert!(drawn.iter().all(|&d| low <= d && d < high));
        assert!(drawn.iter().min() < Some(&Duration::from_millis(101)));
        assert!(drawn.iter().max() > Some(&Duration::from_millis(149)));
    }
}
