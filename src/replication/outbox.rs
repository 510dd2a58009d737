//! What leaves the replica: batches to the log, messages to peers, and the messages that wait for a batch.
//!
//! The rule "durable before the reply" is kept here and nowhere else: a message that names a batch is parked until the
//! log has said that this batch is durable, and is dropped with the process.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::codec;
use super::frame::Body;
use super::log::Log;
use super::shared::Shared;
use crate::paxos::{Batch, Message, NodeId, PersistId, Slot};

/// Messages that wait for the disk, at most: more than the window of all that is accepted. A disk that is full or hangs
/// would gather questions without end.
const MAX_PARKED: usize = 1 << 14;

/// The way out, for the driver alone.
pub(super) struct Outbox {
    shared: Arc<Shared>,
    log: Log,
    persisted: PersistId,
    /// Messages that wait until a batch is durable.
    parked: VecDeque<(PersistId, NodeId, Message)>,
    /// Which batch carries which decided slot.
    decided: VecDeque<(PersistId, Slot)>,
}

impl Outbox {
    pub(super) fn new(shared: Arc<Shared>, log: Log) -> Self {
        Self {
            shared,
            log,
            persisted: PersistId::default(),
            parked: VecDeque::new(),
            decided: VecDeque::new(),
        }
    }

    /// Hands batches to the log, all at once, so that they share a sync.
    pub(super) fn persist(&mut self, batches: Vec<(PersistId, Batch)>) {
        for (id, batch) in &batches {
            self.decided.extend(batch.decided.map(|slot| (*id, slot)));
        }
        if !batches.is_empty() {
            self.log.persist(batches);
        }
    }

    /// Sends a message, once `after` is durable.
    pub(super) fn send(&mut self, to: NodeId, message: Message, after: Option<PersistId>) {
        match after {
            // Batches are named in ascending order, so what is parked stays in order too.
            Some(after) if after > self.persisted && self.parked.len() < MAX_PARKED => {
                self.parked.push_back((after, to, message));
            }
            Some(after) if after > self.persisted => {
                // As if lost on the way: the core sends again.
                self.shared.counters.dropped.fetch_add(1, Relaxed);
            }
            _ => self.deliver(to, &message),
        }
    }

    /// All up to `id` is durable: what waited for it leaves now.
    pub(super) fn persisted(&mut self, id: PersistId) {
        self.persisted = id;
        while let Some((_, to, message)) = self.parked.pop_front_if(|(after, ..)| *after <= id) {
            self.deliver(to, &message);
        }
        while let Some((_, slot)) = self.decided.pop_front_if(|(batch, _)| *batch <= id) {
            self.shared.durable.send_if_modified(|durable| {
                let news = slot.0 > *durable;
                *durable = slot.0.max(*durable);
                news
            });
        }
    }

    fn deliver(&self, to: NodeId, message: &Message) {
        let body = Body::Paxos(codec::encode(message));
        self.shared.links.send(to, body);
    }
}

#[cfg(test)]
mod tests {
    use super::super::group::Group;
    use super::super::reports::Reports;
    use super::super::running::standing;
    use super::super::storage::{Error, Storage, checkpoint};
    use super::*;
    use crate::paxos::{Ballot, Epoch, Recovered};

    struct NoDisk;

    impl Storage for NoDisk {
        fn write(&mut self, _: &[Batch]) -> Result<(), Error> {
            Ok(())
        }

        fn keep(&mut self, _: &checkpoint::Meta) -> Result<Slot, Error> {
            Ok(Slot::ZERO)
        }
    }

    #[test]
    fn what_waits_for_a_disk_that_hangs_is_bounded() {
        let (group, ballot) = (
            Group::alone("n1", [1; 16], [2; 16]),
            Ballot::initial(Epoch(1)),
        );
        let standing = standing(&Recovered::empty(ballot));
        let shared = Arc::new(Shared::new(group, standing, Reports::new(None)));
        let log = Log::start(Box::new(NoDisk), shared.clone()).expect("a thread");
        let mut outbox = Outbox::new(shared.clone(), log);
        for _ in 0..MAX_PARKED + 3 {
            outbox.send(NodeId(2), Message::Prepare { ballot }, Some(PersistId(1)));
        }
        assert_eq!(outbox.parked.len(), MAX_PARKED);
        assert_eq!(shared.counters.counts().dropped, 3);
        outbox.persisted(PersistId(1));
        assert!(outbox.parked.is_empty());
    }
}
