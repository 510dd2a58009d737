//! Which tokens of a lock are good, for the request path: three numbers to read, no lock and no log.
//!
//! Told by whoever watches the state machine. A fence admits nothing before it was told, nor when it was not confirmed
//! for a while that what it was told is the newest: somebody else may hold the lock by then. A grant waits so long for
//! a node that is silent (`FENCE_LEASE`), so a token that is answered to anybody makes all older ones useless on every
//! node. A request that was on its way to a backend by then is not called back.
//!
//! The time is this machine's. One whose clock stood still with it, as that of a paused virtual machine may, passes
//! what was good before until it has caught up: a backend that must never see that compares tokens too.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::config::Name;

/// How long a fence admits without being confirmed.
pub const FENCE_LEASE: Duration = Duration::from_secs(5);

/// One lock's fence; the same one in every snapshot.
#[derive(Debug)]
pub struct Fence {
    /// The oldest good token; 0 before it is known.
    oldest: AtomicU64,
    /// The newest token granted.
    newest: AtomicU64,
    confirmed: Arc<Confirmed>,
}

/// The token in the value of a header field.
pub fn fence_token(shown: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(shown).ok()?;
    let all = digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().ok())?
}

/// Whether a request may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Its token is good.
    Free,
    /// Somebody else was granted the lock since.
    Old,
    /// No such token was granted.
    Unknown,
    /// What is known here may not be the newest.
    Unsure,
}

impl Fence {
    /// Whether a request with this token may pass now.
    pub fn passage(&self, token: u64) -> Passage {
        match self.oldest.load(Acquire) {
            0 => Passage::Unsure,
            // Tokens only rise: an old one stays old, whatever is not known here.
            oldest if token < oldest => Passage::Old,
            _ if !self.confirmed.is_recent() => Passage::Unsure,
            // A token is answered to its holder only when it was told here.
            _ if token > self.newest.load(Acquire) => Passage::Unknown,
            _ => Passage::Free,
        }
    }

    /// From the oldest to the newest token they are good now.
    pub fn tell(&self, oldest: u64, newest: u64) {
        // In this order: whoever reads that older ones are no longer good knows of the one that made them so.
        self.newest.fetch_max(newest, Release);
        self.oldest.fetch_max(oldest.max(1), Release);
    }
}

/// Until when what the fences were told can be relied on, in milliseconds since `origin`.
#[derive(Debug)]
struct Confirmed {
    origin: Instant,
    until: AtomicU64,
}

impl Confirmed {
    fn is_recent(&self) -> bool {
        self.since_origin(Instant::now()) < self.until.load(Acquire)
    }

    fn since_origin(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

/// The fences of all locks that any snapshot names.
#[derive(Debug)]
pub struct Fences {
    confirmed: Arc<Confirmed>,
    known: Mutex<BTreeMap<Name, Weak<Fence>>>,
}

impl Default for Fences {
    fn default() -> Self {
        let confirmed = Confirmed {
            origin: Instant::now(),
            until: AtomicU64::new(0),
        };
        Self {
            confirmed: Arc::new(confirmed),
            known: Mutex::default(),
        }
    }
}

impl Fences {
    /// The fence of that lock: the one in use, or a new one that admits nothing yet.
    pub fn of(&self, lock: &Name) -> Arc<Fence> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fence) = known.get(lock).and_then(Weak::upgrade) {
            return fence;
        }
        let fence = Arc::new(Fence {
            oldest: AtomicU64::new(0),
            newest: AtomicU64::new(0),
            confirmed: self.confirmed.clone(),
        });
        known.insert(lock.clone(), Arc::downgrade(&fence));
        fence
    }

    /// All that are in use, to be told.
    pub fn in_use(&self) -> Vec<(Name, Arc<Fence>)> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, fence| fence.strong_count() > 0);
        let fences = known.iter();
        fences
            .filter_map(|(name, fence)| Some((name.clone(), fence.upgrade()?)))
            .collect()
    }

    /// All that was decided by `asked` is told.
    pub fn confirm(&self, asked: Instant) {
        let until = self.confirmed.since_origin(asked + FENCE_LEASE);
        self.confirmed.until.fetch_max(until, Release);
    }

    /// Nothing is confirmed any more: what is told may be old from here on.
    pub fn revoke(&self) {
        self.confirmed.until.store(0, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_admits_what_is_good_as_long_as_that_is_confirmed() {
        let fences = Fences::default();
        let lock = Name::new("deploy").unwrap();
        let fence = fences.of(&lock);
        assert_eq!(fence.passage(7), Passage::Unsure, "nothing is known");
        fence.tell(5, 6);
        assert_eq!(fence.passage(5), Passage::Unsure, "nothing is confirmed");
        fences.confirm(Instant::now());
        let passages = [4, 5, 6, 7, u64::MAX].map(|token| fences.of(&lock).passage(token));
        use Passage::{Free, Old, Unknown};
        assert_eq!(passages, [Old, Free, Free, Unknown, Unknown]);
        fence.tell(3, 3);
        assert_eq!(fence.passage(6), Passage::Free, "it never goes back");
        assert_eq!(fence.passage(4), Passage::Old, "it never goes back");
        drop(fence);
        assert!(fences.in_use().is_empty());
    }

    #[test]
    fn what_is_revoked_is_no_longer_sure() {
        let fences = Fences::default();
        let fence = fences.of(&Name::new("deploy").unwrap());
        fence.tell(5, 5);
        fences.confirm(Instant::now());
        assert_eq!(fence.passage(5), Passage::Free);
        fences.revoke();
        assert_eq!(fence.passage(5), Passage::Unsure);
        fences.confirm(Instant::now());
        assert_eq!(fence.passage(5), Passage::Free);
    }

    #[test]
    fn what_was_confirmed_long_ago_is_no_longer_sure() {
        let fences = Fences::default();
        let fence = fences.of(&Name::new("deploy").unwrap());
        fence.tell(5, 5);
        let Some(long_ago) = Instant::now().checked_sub(FENCE_LEASE) else {
            return;
        };
        fences.confirm(long_ago);
        assert_eq!(
            [4, 5].map(|token| fence.passage(token)),
            [Passage::Old, Passage::Unsure]
        );
    }
}
