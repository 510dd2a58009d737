//! The events tell all that happens, and how far back they reach.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// What a reader of all events knows.
#[derive(Debug, Default, PartialEq)]
struct Reader {
    at: u64,
    sessions: BTreeSet<SessionId>,
    held: BTreeMap<(Name, SessionId), Token>,
    waiting: BTreeSet<(Name, SessionId)>,
}

impl Reader {
    fn read(&mut self, events: &Events) {
        for happened in events.after(self.at) {
            assert!(happened.slot > self.at && !happened.events.is_empty());
            self.at = happened.slot;
            happened.events.iter().for_each(|event| self.take(event));
        }
    }

    fn take(&mut self, event: &LockEvent) {
        let first = match event.clone() {
            LockEvent::Opened { session, .. } => self.sessions.insert(session),
            LockEvent::Closed { session } | LockEvent::Expired { session } => {
                self.sessions.remove(&session)
            }
            LockEvent::Waiting { lock, session, .. } => self.waiting.insert((lock, session)),
            LockEvent::Granted {
                lock,
                session,
                token,
                ..
            } => {
                self.waiting.remove(&(lock.clone(), session));
                self.held.insert((lock, session), token).is_none()
            }
            LockEvent::Released {
                lock,
                session,
                token,
            } => self.held.remove(&(lock, session)) == Some(token),
            LockEvent::Withdrawn { lock, session } => self.waiting.remove(&(lock, session)),
        };
        assert!(first, "{event:?} is told twice, or of what was not there");
    }

    /// What there is.
    fn of(locks: &Locks, at: u64) -> Self {
        let mut all = Self {
            at,
            sessions: locks.sessions().map(|(id, _)| id).collect(),
            ..Self::default()
        };
        for (name, lock) in locks.locks() {
            let held = lock.holders().iter();
            let held = held.map(|it| ((name.clone(), it.claim.session), it.token));
            all.held.extend(held);
            let waiting = lock.queue().map(|it| (name.clone(), it.session));
            all.waiting.extend(waiting);
        }
        all
    }
}

#[test]
fn the_oldest_go_first_and_a_slot_is_kept_whole_or_not_at_all() {
    let mut m = led();
    let session = open(&mut m);
    assert_eq!(m.locks().events().compacted(), 0);
    for _ in 0..limits::LOCK_EVENTS / 2 {
        ask(&mut m, acquire(session, Exclusive, 0, 0));
        ask(&mut m, release(session));
    }
    let events = m.locks().events();
    assert_eq!(events.compacted(), 2, "the session's opening");
    assert_eq!(events.after(0).count(), limits::LOCK_EVENTS);
    assert_eq!(events.after(m.applied() - 1).count(), 1);
    ask(&mut m, Operation::Close { session });
    assert_eq!(m.locks().events().compacted(), 3);
    let restored = restore(&checkpoint(&m)).unwrap();
    let slots = |m: &Machine| m.locks().events().after(0).cloned().collect::<Vec<_>>();
    assert_eq!(slots(&restored), slots(&m));
    assert_eq!(restored.locks().events().compacted(), 3);
}

#[test]
fn where_they_cannot_be_read_none_is_kept() {
    let mut m = led();
    open(&mut m);
    let mut image = LocksImage::whole(m.locks());
    image.forget_events();
    let locks = image.restore(m.applied()).unwrap();
    assert_eq!(locks.events().compacted(), m.applied());
    assert_eq!(locks.digest(), m.locks().digest(), "nothing hangs on them");
}

proptest! {
    #[test]
    fn who_reads_all_events_knows_all_there_is(steps in vec(step(), 1..80)) {
        let (mut m, mut sessions) = (led(), Vec::new());
        let mut reader = Reader::default();
        for step in &steps {
            take(&mut m, step, &mut sessions);
            reader.read(m.locks().events());
            prop_assert_eq!(&reader, &Reader::of(m.locks(), reader.at));
        }
    }
}

#[test]
fn a_slot_of_more_events_than_are_kept_is_told_whole() {
    let mut m = led();
    let sessions: Vec<SessionId> = (0..200).map(|_| open(&mut m)).collect();
    for (session, lock) in sessions
        .iter()
        .flat_map(|it| (0..60).map(move |lock| (*it, lock)))
    {
        let mut claim = acquire(session, Shared, 0, 0);
        if let Operation::Acquire(acquire) = &mut claim {
            acquire.lock = name(&format!("l{lock}"));
        }
        ask(&mut m, claim);
    }
    let all = sessions.iter().map(|it| Subject::Session(*it)).collect();
    expire(&mut m, TERM, all);
    for m in [&m, &restore(&checkpoint(&m)).unwrap()] {
        let events = m.locks().events();
        let kept: Vec<_> = events
            .after(0)
            .map(|it| (it.slot, it.events.len()))
            .collect();
        assert_eq!(kept, [(m.applied(), 200 + 200 * 60)]);
        assert!(events.compacted() < m.applied());
    }
    ask(
        &mut m,
        Operation::Open {
            lease: limits::LEASE,
        },
    );
    assert_eq!(
        m.locks().events().after(0).count(),
        1,
        "the bound is kept again"
    );
}
