//! Gets a checkpoint of a peer, when what this node lacks is in nobody's log any more.
//!
//! On a connection of its own, so that it delays no vote: the peer tells what it has, then sends it piece by piece,
//! each with its checksum. A transfer that breaks is resumed where it stopped, if the peer still has that checkpoint.
//! What came in counts for nothing until it is whole, verified and durable; then the replica's thread is told.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::connection::{self, Reader};
use super::frame::{Body, Fetch, Piece, VERSION};
use super::log::chain;
use super::shared::{Event, Image, Shared};
use super::storage::checkpoint::Meta;
use super::storage::{Error, Shelf};
use super::transport::{Ended, within};
use crate::paxos::{NodeId, Slot};
use crate::state;

const CONNECT: Duration = Duration::from_secs(2);
/// A peer that sends nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(5);
/// After a transfer that broke, doubled with each that follows. The replica says again what it needs.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// The one task that fetches.
pub(super) struct Fetching {
    pub(super) shared: Arc<Shared>,
    pub(super) shelf: Arc<dyn Shelf>,
}

/// A checkpoint of which a beginning is here.
struct Partial {
    meta: Meta,
    received: u64,
}

impl Fetching {
    /// Fetches what is wanted, for ever.
    pub(super) async fn run(self) {
        let mut wanted = self.shared.wanted.subscribe();
        let (mut partial, mut reached, mut pause) = (None, Slot::ZERO, FIRST_PAUSE);
        let mut number = self.shared.group().me;
        while wanted.changed().await.is_ok() {
            let Some((from, start)) = *wanted.borrow_and_update() else {
                continue;
            };
            let now = self.shared.group().me;
            if std::mem::replace(&mut number, now) != now {
                // What was fetched for the node in its other part is gone with that.
                (partial, reached) = (None, Slot::ZERO);
            }
            if reached.next() >= start {
                continue;
            }
            match self.fetch(from, start, &mut partial).await {
                Ok(slot) => (reached, pause) = (slot, FIRST_PAUSE),
                Err(ended) => {
                    tracing::warn!(%from, "no checkpoint of a peer: {}", why(ended));
                    sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    }

    async fn fetch(
        &self,
        from: NodeId,
        start: Slot,
        partial: &mut Option<Partial>,
    ) -> Result<Slot, Ended> {
        let group = self.shared.group();
        let peer = group.member(from);
        let peer = peer.ok_or_else(|| refused("it is not known"))?;
        if peer.address.is_empty() {
            let why = "it does not say where it is reached; start it with --advertise";
            return Err(refused(why));
        }
        let connected = connection::connect(self.shared.tls.as_deref(), &peer.address);
        let (mut reader, mut writer) = within(CONNECT, connected).await?;
        reader.vouches(&peer.name).map_err(Ended::Refused)?;
        let begun = partial.as_ref().map(|it| (it.meta.slot.0, it.received));
        let (resume, offset) = begun.unwrap_or_default();
        let fetch = Fetch {
            version: VERSION,
            name: group.own().map(|own| own.name.clone()).unwrap_or_default(),
            cluster: group.cluster.clone(),
            slot: start.previous().0,
            resume,
            offset,
        };
        writer.send(Body::Fetch(fetch)).await?;
        let offer = match within(SILENCE, reader.next()).await? {
            Some(Body::Offer(offer)) => offer,
            Some(Body::Refusal(refusal)) => return Err(Ended::Refused(refusal.reason)),
            _ => return Err(refused("it does not offer one")),
        };
        reader.trust();
        let meta = Meta::try_from(&offer).map_err(refused)?;
        if meta.slot.next() < start {
            return Err(refused("its checkpoint is too old"));
        }
        let known = partial.take_if(|known| known.meta == meta && known.received == offer.offset);
        let mut begun = known.unwrap_or(Partial { meta, received: 0 });
        if begun.received != offer.offset {
            return Err(refused("it begins in the middle"));
        }
        let received = self.receive(&mut reader, &mut begun).await;
        // What the disk refuses is begun anew: it may be gone from there.
        *partial = Some(begun).filter(|_| !matches!(received, Err(Ended::Refused(_))));
        received?;
        *partial = None;
        self.hand_over(meta).await?;
        Ok(meta.slot)
    }

    /// Takes pieces until it is whole.
    async fn receive(&self, reader: &mut Reader, to: &mut Partial) -> Result<(), Ended> {
        while to.received < to.meta.size || to.received == 0 {
            let Some(Body::Piece(Piece { bytes, sum })) = within(SILENCE, reader.next()).await?
            else {
                return Err(Ended::Broken(io::ErrorKind::UnexpectedEof.into()));
            };
            let fits = to.received + bytes.len() as u64 <= to.meta.size && !bytes.is_empty();
            if !fits || crc32c::crc32c(&bytes) != sum {
                return Err(refused("a piece of its checkpoint was damaged on the way"));
            }
            let (shelf, meta, at) = (self.shelf.clone(), to.meta, to.received);
            let length = bytes.len() as u64;
            on_disk(move || shelf.receive(&meta, at, &bytes)).await?;
            to.received += length;
            let _ = self.shared.inbox.push(Event::Fetching);
        }
        Ok(())
    }

    /// Verifies it, makes it durable, and tells the replica's thread.
    async fn hand_over(&self, meta: Meta) -> Result<(), Ended> {
        let shelf = self.shelf.clone();
        let whole = on_disk(move || shelf.received(&meta)).await?;
        let (succession, content) = (whole.succession, whole.content);
        let machine = tokio::task::spawn_blocking(move || state::restore(&content)).await;
        let machine = machine.map_err(io::Error::other)?;
        let machine = machine.map_err(|bad| Ended::Refused(bad.to_string()))?;
        if machine.applied() != meta.slot.0 {
            return Err(refused("its checkpoint is of another slot than it says"));
        }
        tracing::info!(slot = %meta.slot, bytes = meta.size, "fetched a checkpoint");
        let image = Box::new(Image {
            meta,
            succession,
            machine,
        });
        let _ = self.shared.inbox.push(Event::Fetched(image));
        Ok(())
    }
}

/// Off the runtime's threads, for it waits for the disk.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Ended> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(io::Error::other)?;
    done.map_err(|error| Ended::Refused(format!("it cannot be kept: {}", chain(&error))))
}

fn refused(why: &str) -> Ended {
    Ended::Refused(why.to_owned())
}

fn why(ended: Ended) -> String {
    match ended {
        Ended::Refused(why) => why,
        Ended::Broken(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::super::codec::WireBallot;
    use super::super::connection::Writer;
    use super::super::frame::Offer;
    use super::super::group::{Group, Member};
    use super::super::reports::Reports;
    use super::super::running::standing;
    use super::super::storage::Memory;
    use super::*;
    use crate::paxos::{Ballot, Epoch, Recovered};
    use crate::state::Machine;

    /// A peer that is asked for its checkpoint of slot 9.
    struct Peer {
        listener: TcpListener,
        shared: Arc<Shared>,
        body: bytes::Bytes,
    }

    impl Peer {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let mut group = Group::alone("n1", [1; 16], [2; 16]);
            group.members.push(Member {
                id: 2,
                name: "n2".to_owned(),
                address: listener.local_addr().expect("it is bound").to_string(),
                ..Member::default()
            });
            let recovered = Recovered::empty(Ballot::initial(Epoch(1)));
            let shared = Shared::new(group, standing(&recovered), Reports::new(None));
            let mut machine = Machine::new();
            (1..=9).for_each(|slot| machine.skip(slot));
            Peer {
                listener,
                shared: Arc::new(shared),
                body: state::checkpoint(&machine),
            }
        }

        /// Is asked; gives what is there already of the checkpoint that is offered from there on.
        async fn asked(&self) -> (u64, Writer) {
            // The replica says it again and again.
            let (stream, _) = loop {
                let wanted = (NodeId(2), Slot(5));
                self.shared.wanted.send_replace(Some(wanted));
                if let Ok(called) = within(CONNECT, self.listener.accept()).await {
                    break called;
                }
            };
            let (mut reader, mut writer) = connection::accept(None, stream).await.expect("no TLS");
            let asked = reader.next().await.expect("it asks");
            let Some(Body::Fetch(fetch)) = asked else {
                panic!("it says {asked:?}");
            };
            assert!(fetch.slot == 4 && [0, 9].contains(&fetch.resume));
            let offer = Offer {
                slot: 9,
                ballot: Some(WireBallot::default()),
                size: self.body.len() as u64,
                sum: crc32c::crc32c(&self.body),
                offset: fetch.offset,
                head: 0,
            };
            writer.send(Body::Offer(offer)).await.expect("it listens");
            (fetch.offset, writer)
        }
    }

    fn piece(bytes: &[u8], sum: u32) -> Body {
        let bytes = bytes::Bytes::copy_from_slice(bytes);
        Body::Piece(Piece { bytes, sum })
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_transfer_that_breaks_is_taken_up_and_what_is_damaged_is_begun_anew() {
        let peer = Peer::new().await;
        let disk = Memory::new(1).boot().expect("it is new");
        let fetching = Fetching {
            shared: peer.shared.clone(),
            shelf: Arc::new(disk),
        };
        tokio::spawn(fetching.run());
        let (first, rest) = peer.body.split_at(20);

        let (offset, mut writer) = peer.asked().await;
        let sent = writer.send(piece(first, crc32c::crc32c(first))).await;
        sent.expect("it listens");
        drop(writer);
        let (taken_up, mut writer) = peer.asked().await;
        assert_eq!((offset, taken_up), (0, 20));
        let damaged = writer.send(piece(rest, crc32c::crc32c(rest) ^ 1)).await;
        damaged.expect("it listens");
        let (anew, mut writer) = peer.asked().await;
        assert_eq!(anew, 0);
        let whole = piece(&peer.body, crc32c::crc32c(&peer.body));
        writer.send(whole).await.expect("it listens");

        let image = loop {
            let taken = tokio::task::block_in_place(|| peer.shared.inbox.take(None));
            let fetched = taken.into_iter().find_map(|event| match event {
                Event::Fetched(image) => Some(image),
                _ => None,
            });
            if let Some(image) = fetched {
                break image;
            }
        };
        assert_eq!((image.meta.slot, image.machine.applied()), (Slot(9), 9));
    }
}
