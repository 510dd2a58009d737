//! Exactly once: what became of each command, by its key, for as long as a retry may come.
//!
//! A key is remembered for 24 hours of state time. The number of keys and the bytes of their outcomes are bounded;
//! past a bound the oldest in log order go first. A key that shows its age (a UUIDv7) and is older than what is
//! remembered is refused: it may have been applied. Every node forgets the same keys at the same slot.

use std::collections::BTreeMap;
use std::hash::Hasher;

use bytes::Bytes;
use twox_hash::XxHash3_64;

use super::borrowed::{self, Field, Value};
use super::command::BodyDigest;
use super::queue::Queue;
use super::{Key, Outcome, Stamp};
use crate::bugs::{Bug, broken};
use crate::config::{Rejection, limits};

/// The table of keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    /// Oldest first; the one in front has number `first`.
    remembered: Queue<Remembered>,
    first: u64,
    numbers: Numbers,
    /// Of all outcomes.
    bytes: usize,
    /// The sum of what is remembered, each hashed: kept up as keys come and go.
    digest: u64,
}

/// The number of each key. A clone is without, and finds them when it is asked: most are only written down.
#[derive(Debug, Default)]
struct Numbers(Option<BTreeMap<Key, u64>>);

impl Clone for Numbers {
    fn clone(&self) -> Self {
        Self(None)
    }
}

#[derive(Clone, Debug)]
struct Remembered {
    key: Key,
    /// State time when it was applied.
    at: Stamp,
    body: BodyDigest,
    outcome: Bytes,
    /// Whether the outcome tells of faults, in words of this build's own.
    worded: bool,
}

/// What an outcome in words counts for among the bytes of all. Others may find more of them for the same, and must not
/// forget at another slot.
const WORDED_BYTES: usize = 4 * 1024;

impl Keys {
    /// The answer to a command that is not to be applied: it was before, or its key cannot be trusted to be new.
    pub(super) fn answer(&mut self, key: &Key, body: &BodyDigest, now: Stamp) -> Option<Outcome> {
        let Some(number) = self.numbers().get(key).copied() else {
            let expired = key.drawn().is_some_and(|drawn| age(drawn, now) > MAX_AGE);
            return expired.then_some(Outcome::KeyExpired);
        };
        let index = usize::try_from(number - self.first).ok()?;
        let remembered = self.remembered.get(index)?;
        if remembered.body != *body {
            return Some(Outcome::KeyReused);
        }
        Outcome::decode(&remembered.outcome).ok()
    }

    /// Remembers what became of a command whose key is new.
    pub(super) fn remember(&mut self, key: Key, body: BodyDigest, at: Stamp, outcome: &Outcome) {
        self.push(Remembered {
            key,
            at,
            body,
            outcome: outcome.encode(),
            worded: is_worded(outcome),
        });
    }

    fn push(&mut self, remembered: Remembered) {
        self.bytes += remembered.bytes();
        self.digest = self.digest.wrapping_add(remembered.digest());
        let number = self.first + self.remembered.len() as u64;
        self.numbers().insert(remembered.key.clone(), number);
        self.remembered.push_back(remembered);
    }

    fn numbers(&mut self) -> &mut BTreeMap<Key, u64> {
        self.numbers.0.get_or_insert_with(|| {
            let keys = self.remembered.iter().map(|it| it.key.clone());
            keys.zip(self.first..).collect()
        })
    }

    /// Forgets what is too old or too much.
    pub(super) fn forget(&mut self, now: Stamp) {
        while let Some(oldest) = self.remembered.front()
            && (age(oldest.at, now) > MAX_AGE
                || self.remembered.len() > limits::KEYS
                || self.bytes > limits::KEYS_BYTES)
        {
            self.bytes -= oldest.bytes();
            self.digest = self.digest.wrapping_sub(oldest.digest());
            if let Some(numbers) = &mut self.numbers.0 {
                numbers.remove(&oldest.key);
            }
            self.remembered.drop_front();
            self.first += 1;
        }
    }

    /// Bytes that [`Keys::write_images`] makes.
    pub(super) fn images_length(&self, tag: u32) -> usize {
        let length = |it: &Remembered| borrowed::nested_length(tag, borrowed::length(&it.image()));
        self.kept().map(length).sum()
    }

    /// Writes a `KeyImage` of each, as a checkpoint keeps them. Oldest first, so that every node goes on forgetting the
    /// same.
    pub(super) fn write_images(&self, tag: u32, out: &mut Vec<u8>) {
        for it in self.kept() {
            let image = it.image();
            borrowed::begin(tag, borrowed::length(&image), out);
            borrowed::write(&image, out);
        }
    }

    fn kept(&self) -> impl Iterator<Item = &Remembered> {
        let kept = self.remembered.iter();
        kept.filter(|_| !broken(Bug::ForgottenKeys))
    }

    /// What `image` was made of.
    pub(super) fn from_image(image: Vec<KeyImage>) -> Result<Self, &'static str> {
        let mut keys = Self::default();
        for it in image {
            let key = Key::new(&it.key).map_err(|_| "a key is none")?;
            let body = it.body.as_ref().try_into();
            let body = body.map_err(|_| "a key's digest is not 32 bytes")?;
            // A refusal to read it later would be one that no other node gives.
            let outcome = Outcome::decode(&it.outcome);
            let outcome = outcome.map_err(|_| "a key's outcome cannot be read")?;
            if keys.numbers().contains_key(&key) {
                return Err("a key is there twice");
            }
            keys.push(Remembered {
                key,
                at: Stamp(it.at),
                body,
                outcome: it.outcome,
                worded: is_worded(&outcome),
            });
        }
        Ok(keys)
    }

    /// Over all that is remembered.
    pub(super) fn digest(&self) -> u64 {
        match broken(Bug::ForgottenKeys) {
            true => 0,
            false => self.digest,
        }
    }
}

/// A key in a checkpoint.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KeyImage {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(uint64, tag = "2")]
    at: u64,
    #[prost(bytes = "bytes", tag = "3")]
    body: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    outcome: Bytes,
}

impl Remembered {
    /// As a `KeyImage`.
    fn image(&self) -> [Field<'_>; 4] {
        [
            (1, Value::Bytes(self.key.as_str().as_bytes())),
            (2, Value::Number(self.at.0)),
            (3, Value::Bytes(&self.body)),
            (4, Value::Bytes(&self.outcome)),
        ]
    }

    /// What it counts for among the bytes of all outcomes.
    fn bytes(&self) -> usize {
        match self.worded {
            true => WORDED_BYTES,
            false => self.outcome.len(),
        }
    }

    /// Equal for what is equal to a client's eye: a build that words a fault otherwise has not diverged.
    fn digest(&self) -> u64 {
        let outcome = match self.worded {
            true => &b"invalid"[..],
            false => &self.outcome,
        };
        let mut hasher = XxHash3_64::with_seed(self.at.0);
        hasher.write(&self.body);
        hasher.write(&(outcome.len() as u64).to_le_bytes());
        hasher.write(outcome);
        hasher.write(self.key.as_str().as_bytes());
        hasher.finish()
    }
}

fn is_worded(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rejected(Rejection::Invalid(_)))
}

const MAX_AGE: u64 = limits::KEY_AGE.as_millis() as u64;

/// Milliseconds from `then` to `now`; none if `then` is later.
fn age(then: Stamp, now: Stamp) -> u64 {
    now.0.saturating_sub(then.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Faults, Revision};

    fn done(revision: u64) -> Outcome {
        Outcome::Done {
            revision: Revision(revision),
            changed: true,
            effects: Vec::new(),
        }
    }

    fn key(number: usize) -> Key {
        Key::new(&format!("key-{number}")).unwrap()
    }

    #[test]
    fn a_key_is_forgotten_after_its_time_and_not_before() {
        let mut keys = Keys::default();
        keys.remember(key(1), [1; 32], Stamp(1_000), &done(1));
        keys.forget(Stamp(1_000 + MAX_AGE));
        assert_eq!(keys.answer(&key(1), &[1; 32], Stamp(1_000)), Some(done(1)));
        assert_eq!(
            keys.answer(&key(1), &[2; 32], Stamp(1_000)),
            Some(Outcome::KeyReused)
        );
        keys.forget(Stamp(1_001 + MAX_AGE));
        assert_eq!(keys.answer(&key(1), &[1; 32], Stamp(1_000)), None);
        assert_eq!(
            (keys.digest(), keys.bytes, keys.numbers().len()),
            (0, 0, 0),
            "nothing is left of it"
        );
    }

    #[test]
    fn builds_that_word_a_fault_otherwise_stay_of_one_state() {
        let told = |detail| {
            let mut keys = Keys::default();
            let outcome = Outcome::Rejected(Rejection::Invalid(Faults::one("/0", detail)));
            keys.remember(key(1), [1; 32], Stamp(1_000), &outcome);
            assert_eq!(keys.answer(&key(1), &[1; 32], Stamp(1_000)), Some(outcome));
            (keys.digest(), keys.bytes)
        };
        assert_eq!(told("is not there"), told("there is no such pool"));
    }

    #[test]
    fn past_the_bound_the_oldest_in_log_order_go() {
        let mut keys = Keys::default();
        for number in 0..limits::KEYS + 10 {
            keys.remember(key(number), [0; 32], Stamp(5), &done(number as u64));
            keys.forget(Stamp(5));
        }
        assert_eq!(keys.remembered.len(), limits::KEYS);
        assert_eq!(keys.answer(&key(9), &[0; 32], Stamp(5)), None);
        assert_eq!(keys.answer(&key(10), &[0; 32], Stamp(5)), Some(done(10)));
        let last = limits::KEYS + 9;
        assert_eq!(
            keys.answer(&key(last), &[0; 32], Stamp(5)),
            Some(done(last as u64))
        );
    }

    #[test]
    fn a_key_that_shows_an_age_beyond_memory_is_refused() {
        let (mut keys, drawn) = (Keys::default(), Stamp(1_763_850_000_000));
        let key = Key::fresh(drawn, [3; 10]);
        assert_eq!(keys.answer(&key, &[0; 32], Stamp(drawn.0 + MAX_AGE)), None);
        assert_eq!(
            keys.answer(&key, &[0; 32], Stamp(drawn.0 + MAX_AGE + 1)),
            Some(Outcome::KeyExpired)
        );
        assert_eq!(
            keys.answer(&key, &[0; 32], Stamp(0)),
            None,
            "a clock ahead is no fault"
        );
    }
}
