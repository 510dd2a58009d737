//! What is decided, encoded once for all followers of this voter.
//!
//! The driver pushes what it decides while anybody listens; each follower's connection reads on from its own place.
//! The newest frames are kept, bounded in number and bytes, and nobody waits for a reader: one whose place was dropped
//! is `Behind`, and asks the replica for what it missed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::{Notify, watch};

use super::codec;
use super::frame::{Body, Frame};
use crate::paxos::{Ballot, Entry, Epoch, MAX_CHUNK_BYTES, Message, Slot};

/// Frames kept for followers that are a little behind.
const MAX_FRAMES: usize = 4096;
/// Their bytes; a single frame may exceed it.
const MAX_BYTES: usize = 8 << 20;
/// What one reader takes at once, beyond its first frame.
const TAKEN_BYTES: usize = 256 << 10;

/// The frames, and who reads them.
#[derive(Default)]
pub(super) struct Feed {
    ring: Mutex<Ring>,
    readers: AtomicUsize,
    /// Something was pushed: the one task that listens wakes the readers, so that the driver wakes one and not all.
    pub(super) pushed: Notify,
    /// The number of the next frame.
    pub(super) moved: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    items: VecDeque<Item>,
    /// The number of the first item.
    head: u64,
    bytes: usize,
    /// The last slot pushed or passed over: entries in the ring follow each other.
    through: Slot,
}

struct Item {
    /// The first slot of its entries and the last; of a frame without entries the last is below the first.
    first: Slot,
    last: Slot,
    frame: Bytes,
}

/// A reader; dropping it ends the reading.
pub(super) struct Reader<'a> {
    feed: &'a Feed,
    /// The number of the next frame.
    next: u64,
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The next frames, none if it has read all.
    Frames(Vec<Bytes>),
    /// Its place was dropped.
    Behind,
}

impl Feed {
    /// Followers that are being fed.
    pub(super) fn readers(&self) -> usize {
        self.readers.load(Relaxed)
    }

    /// These are decided. Costs one load where nobody follows.
    pub(super) fn decide(&self, first: Slot, entries: &[Entry]) {
        if self.readers() == 0 || entries.is_empty() {
            return;
        }
        let mut first = first;
        for chunk in chunks(entries) {
            let last = first.plus(chunk.len()).previous();
            let frame = frame(first, chunk.to_vec());
            self.push(Item { first, last, frame });
            first = last.next();
        }
        self.pushed.notify_one();
    }

    /// All through `slot` came by a checkpoint, and is in no frame: whoever reads has missed it.
    pub(super) fn pass_over(&self, slot: Slot) {
        let mut ring = self.lock();
        ring.clear();
        // No reader is at the next frame.
        ring.head += 1;
        ring.through = slot;
        drop(ring);
        self.wake();
    }

    /// A frame for everybody that carries no entries.
    pub(super) fn tell(&self, body: Body) {
        self.push(Item {
            first: Slot(1),
            last: Slot::ZERO,
            frame: encode(body),
        });
        self.wake();
    }

    /// Wakes all readers.
    pub(super) fn wake(&self) {
        let ring = self.lock();
        let next = ring.head + ring.items.len() as u64;
        drop(ring);
        self.moved.send_replace(next);
    }

    /// Begins to read behind what is there. From here on what is pushed is kept, so whoever then learns from the
    /// replica what was decided by now misses nothing.
    pub(super) fn reader(&self) -> Reader<'_> {
        self.readers.fetch_add(1, Relaxed);
        let ring = self.lock();
        let next = ring.head + ring.items.len() as u64;
        drop(ring);
        Reader { feed: self, next }
    }

    fn push(&self, item: Item) {
        let mut ring = self.lock();
        if item.last >= item.first {
            if item.first != ring.through.next() {
                // Nobody read for a while: what is left from before has a gap behind it.
                ring.clear();
            }
            ring.through = item.last;
        }
        ring.bytes += item.frame.len();
        ring.items.push_back(item);
        while ring.items.len() > MAX_FRAMES || (ring.bytes > MAX_BYTES && ring.items.len() > 1) {
            ring.bytes -= ring.items.pop_front().map_or(0, |item| item.frame.len());
            ring.head += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // Nothing under this lock can panic half-way.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader<'_> {
    /// Goes to where the entries behind `slot` are. False where some of them were dropped or passed over.
    pub(super) fn seek(&mut self, slot: Slot) -> bool {
        let ring = self.feed.lock();
        let at = ring.items.iter().position(|item| item.last > slot);
        let kept = at.map_or(ring.through.next(), |at| ring.items[at].first);
        self.next = ring.head + at.unwrap_or(ring.items.len()) as u64;
        kept <= slot.next()
    }

    /// The next frames.
    pub(super) fn take(&mut self) -> Found {
        let ring = self.feed.lock();
        let Some(at) = self.next.checked_sub(ring.head) else {
            return Found::Behind;
        };
        let mut frames = Vec::new();
        let mut bytes = 0;
        for item in ring.items.range(at as usize..) {
            bytes += item.frame.len();
            if !frames.is_empty() && bytes > TAKEN_BYTES {
                break;
            }
            frames.push(item.frame.clone());
        }
        self.next += frames.len() as u64;
        Found::Frames(frames)
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut ring = self.feed.lock();
        // Under the lock, so that a reader that comes now is counted before or finds nothing.
        if self.feed.readers.fetch_sub(1, Relaxed) == 1 {
            ring.clear();
        }
    }
}

impl Ring {
    fn clear(&mut self) {
        self.head += self.items.len() as u64;
        self.items = VecDeque::new();
        self.bytes = 0;
    }
}

/// Entries in pieces that fit into a frame each.
fn chunks(mut entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.payload.weight();
            bytes <= MAX_CHUNK_BYTES
        };
        let count = entries.iter().take_while(fits).count().max(1);
        let (chunk, rest) = entries.split_at_checked(count)?;
        entries = rest;
        Some(chunk)
    })
}

/// The frame of entries that fit into one.
pub(super) fn frame(first: Slot, entries: Vec<Entry>) -> Bytes {
    // Of a chunk only slot and entries count here; each entry carries its own ballot.
    let ballot = Ballot::initial(Epoch(0));
    encode(Body::Entries(codec::encode(&Message::Chunk {
        ballot,
        first,
        entries,
    })))
}

/// A frame with its length before it, as it goes onto the stream.
pub(super) fn encode(body: Body) -> Bytes {
    let frame = Frame::from(body).encode_to_vec();
    let mut bytes = Vec::with_capacity(4 + frame.len());
    bytes.extend((frame.len() as u32).to_be_bytes());
    bytes.extend(frame);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paxos::Payload;

    fn entries(count: usize, bytes: usize) -> Vec<Entry> {
        let entry = Entry {
            ballot: Ballot::initial(Epoch(1)),
            payload: Payload::Command(Bytes::from(vec![7; bytes])),
        };
        vec![entry; count]
    }

    fn count(found: Found) -> usize {
        match found {
            Found::Frames(frames) => frames.len(),
            Found::Behind => panic!("it is behind"),
        }
    }

    #[test]
    fn without_readers_nothing_is_kept() {
        let feed = Feed::default();
        feed.decide(Slot(1), &entries(3, 10));
        assert!(feed.lock().items.is_empty());
        drop(feed.reader());
        let mut reader = feed.reader();
        feed.decide(Slot(4), &entries(3, 10));
        assert_eq!(count(reader.take()), 1);
        feed.decide(Slot(9), &entries(1, 10));
        assert!(!reader.seek(Slot(6)), "it would miss 7 and 8");
        drop(reader);
        assert!(feed.lock().items.is_empty());
    }

    #[test]
    fn all_readers_get_the_same_bytes_each_at_its_own_pace() {
        let feed = Feed::default();
        let (mut fast, mut slow) = (feed.reader(), feed.reader());
        feed.decide(Slot(1), &entries(1, 10));
        let first = fast.take();
        feed.decide(Slot(2), &entries(2, 10));
        let (Found::Frames(first), Found::Frames(second), Found::Frames(both)) =
            (first, fast.take(), slow.take())
        else {
            panic!("nothing was dropped");
        };
        assert_eq!(both, [first.clone(), second].concat());
        assert_eq!(both[0].as_ptr(), first[0].as_ptr(), "it is encoded twice");
    }

    #[test]
    fn a_reader_that_stalls_is_behind_and_the_rest_is_bounded() {
        let feed = Feed::default();
        let mut stalled = feed.reader();
        for slot in 1..=40 {
            feed.decide(Slot(slot), &entries(1, 1 << 20));
        }
        assert!(feed.lock().bytes <= MAX_BYTES);
        assert_eq!(stalled.take(), Found::Behind);
        assert!(!stalled.seek(Slot(3)), "what it lacks is gone");
        assert!(stalled.seek(Slot(39)));
        assert_eq!(count(stalled.take()), 1);
    }

    #[test]
    fn what_came_by_a_checkpoint_is_missed_by_all_who_read() {
        let feed = Feed::default();
        let (mut idle, mut read) = (feed.reader(), feed.reader());
        feed.decide(Slot(1), &entries(1, 10));
        assert_eq!(count(read.take()), 1);
        assert_eq!(count(idle.take()), 1);
        let number = *feed.moved.borrow();
        feed.pass_over(Slot(7));
        assert_ne!(*feed.moved.borrow(), number, "nobody is woken");
        feed.decide(Slot(8), &entries(1, 10));
        assert_eq!(idle.take(), Found::Behind);
        assert_eq!(read.take(), Found::Behind);
        assert!(!read.seek(Slot(1)), "it would miss 2 to 7");
        assert!(read.seek(Slot(7)));
        assert_eq!(count(read.take()), 1);
        feed.pass_over(Slot(20));
        assert!(!read.seek(Slot(8)), "it would miss 9 to 20");
        assert!(read.seek(Slot(20)));
    }

    #[test]
    fn large_bursts_go_in_pieces() {
        let burst = entries(5, 400 << 10);
        let pieces: Vec<usize> = chunks(&burst).map(<[Entry]>::len).collect();
        assert_eq!(pieces, [2, 2, 1]);
        assert_eq!(chunks(&entries(1, 3 << 20)).count(), 1);
    }
}
