//! The bounded queues towards the peers, one a connection.
//!
//! Nobody ever waits here: what finds its peer away or its queue full is dropped and counted. The core sends again
//! what matters; whoever asked a question is told that it did not leave.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prost::Message;
use tokio::sync::mpsc;

use super::frame::{Body, Frame, MAX_BYTES};
use super::status::Counters;
use crate::paxos::NodeId;

/// Frames that wait for one peer.
const MAX_FRAMES: usize = 8192;
/// Frames that are written at once.
const MAX_TAKEN: usize = 256;
/// Bytes that wait for one peer.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// The queues of all peers with a connection.
pub(super) struct Links {
    links: Mutex<BTreeMap<NodeId, Link>>,
    opened: AtomicU64,
    counters: Arc<Counters>,
}

struct Link {
    number: u64,
    queue: mpsc::Sender<Bytes>,
    queued: Arc<AtomicUsize>,
}

/// The receiving end of one connection's queue.
pub(super) struct Outbound {
    /// Tells this connection from those to the same peer before and after it.
    pub(super) number: u64,
    queue: mpsc::Receiver<Bytes>,
    queued: Arc<AtomicUsize>,
}

impl Links {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self {
            links: Mutex::default(),
            opened: AtomicU64::default(),
            counters,
        }
    }

    /// A queue for a new connection to `peer`. An older connection's queue ends. `tell` hears whether there was one;
    /// what it tells is in order with what `close` tells.
    pub(super) fn open(&self, peer: NodeId, tell: impl FnOnce(bool)) -> Outbound {
        let number = self.opened.fetch_add(1, Relaxed) + 1;
        let (sender, receiver) = mpsc::channel(MAX_FRAMES);
        let queued = Arc::new(AtomicUsize::new(0));
        let link = Link {
            number,
            queue: sender,
            queued: queued.clone(),
        };
        let mut links = self.lock();
        let replaced = links.insert(peer, link).is_some();
        tell(replaced);
        Outbound {
            number,
            queue: receiver,
            queued,
        }
    }

    /// Ends the queue of connection `number`, unless another has replaced it; `tell` hears of it.
    pub(super) fn close(&self, peer: NodeId, number: u64, tell: impl FnOnce()) {
        let mut links = self.lock();
        let current = links.get(&peer).is_some_and(|link| link.number == number);
        if current {
            links.remove(&peer);
            tell();
        }
    }

    /// Whether there is a connection to `peer`.
    pub(super) fn connected(&self, peer: NodeId) -> bool {
        self.lock().contains_key(&peer)
    }

    /// Queues a frame for `peer`; false when it was dropped.
    pub(super) fn send(&self, peer: NodeId, body: Body) -> bool {
        let frame = Bytes::from(Frame::from(body).encode_to_vec());
        self.lock()
            .get(&peer)
            .is_some_and(|link| self.queue(link, frame))
    }

    /// Queues an answer for the connection `number`, on which it was asked for, and for no later one: questions are
    /// numbered by the process that asks, and the next one of that peer numbers its own alike.
    /// (`an_answer_goes_only_to_the_connection_that_asked`)
    pub(super) fn answer(&self, peer: NodeId, number: u64, body: Body) -> bool {
        let frame = Bytes::from(Frame::from(body).encode_to_vec());
        self.lock()
            .get(&peer)
            .filter(|link| link.number == number)
            .is_some_and(|link| self.queue(link, frame))
    }

    /// Queues a frame for every peer there is a connection to.
    pub(super) fn broadcast(&self, body: Body) {
        let frame = Bytes::from(Frame::from(body).encode_to_vec());
        for link in self.lock().values() {
            self.queue(link, frame.clone());
        }
    }

    fn queue(&self, link: &Link, frame: Bytes) -> bool {
        let length = frame.len();
        if length > MAX_BYTES {
            tracing::warn!("a frame of {length} bytes to a peer is too long, and is dropped");
            self.counters.dropped.fetch_add(1, Relaxed);
            return false;
        }
        // Counted before it can be taken, so that the sum never goes below nothing.
        let queued = link.queued.fetch_add(length, Relaxed);
        if queued <= MAX_QUEUED_BYTES && link.queue.try_send(frame).is_ok() {
            return true;
        }
        link.queued.fetch_sub(length, Relaxed);
        self.counters.dropped.fetch_add(1, Relaxed);
        false
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Link>> {
        // Nothing under this lock can panic half-way.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbound {
    /// Waits for frames and takes all there are, up to a bound; none once the queue has ended.
    ///
    /// Whatever else can go on goes on first, and is likely to add to them: in a crowd each would else be written
    /// alone.
    pub(super) async fn take(&mut self, frames: &mut Vec<Bytes>) {
        if self.queue.recv_many(frames, MAX_TAKEN).await > 0 {
            tokio::task::yield_now().await;
        }
        while frames.len() < MAX_TAKEN
            && let Ok(frame) = self.queue.try_recv()
        {
            frames.push(frame);
        }
        let length = frames.iter().map(Bytes::len).sum();
        self.queued.fetch_sub(length, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::Read;
    use super::*;

    fn read() -> Body {
        Body::Read(Read { request: 1 })
    }

    #[test]
    fn a_new_connection_replaces_the_old_one() {
        let links = Links::new(Arc::default());
        assert!(!links.send(NodeId(2), read()), "nobody is there");
        let mut told = Vec::new();
        let first = links.open(NodeId(2), |replaced| told.push(("open", replaced)));
        let second = links.open(NodeId(2), |replaced| told.push(("open", replaced)));
        links.close(NodeId(2), first.number, || told.push(("close", false)));
        assert!(links.connected(NodeId(2)));
        links.close(NodeId(2), second.number, || told.push(("close", true)));
        assert!(!links.connected(NodeId(2)));
        assert_eq!(told, [("open", false), ("open", true), ("close", true)]);
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts() {
        let counters = Arc::new(Counters::default());
        let links = Links::new(counters.clone());
        let mut outbound = links.open(NodeId(2), |_| ());
        let sent = (0..MAX_FRAMES + 3)
            .filter(|_| links.send(NodeId(2), read()))
            .count();
        assert_eq!((sent, counters.counts().dropped), (MAX_FRAMES, 3));
        let mut frames = Vec::new();
        outbound.take(&mut frames).await;
        assert_eq!(frames.len(), 256);
        assert!(links.send(NodeId(2), read()), "there is room again");
    }
}
