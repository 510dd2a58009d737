//! Sends a peer the newest checkpoint, on a connection of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::connection::Writer;
use super::frame::{Body, Fetch, Offer, Piece, Refusal, VERSION};
use super::group::hex;
use super::log::chain;
use super::shared::Shared;
use super::storage::checkpoint::Meta;
use super::storage::{Shelf, Shelved};
use super::transport::{Ended, within};
use crate::paxos::Slot;

/// Bytes of a checkpoint in one frame.
const PIECE: u64 = 1 << 20;
/// A peer that takes nothing for so long is cut off.
const STALLED: Duration = Duration::from_secs(5);
/// Peers that are sent one at a time; the others come again.
const MOST: usize = 8;

/// Sends checkpoints to whoever asks.
pub(super) struct Offering {
    shelf: Arc<dyn Shelf>,
    room: Semaphore,
}

impl Offering {
    pub(super) fn new(shelf: Arc<dyn Shelf>) -> Self {
        let room = Semaphore::new(MOST);
        Self { shelf, room }
    }

    /// Answers a peer that wants a checkpoint.
    pub(super) async fn serve(
        &self,
        shared: &Shared,
        fetch: Fetch,
        mut writer: Writer,
    ) -> Result<(), Ended> {
        let room = self.room.try_acquire();
        let offered = match room.as_ref().map_err(|_| busy()) {
            Ok(_) => match judge(shared, &fetch) {
                Ok(()) => self.newest(&fetch).await,
                Err(why) => Err(why),
            },
            Err(why) => Err(why),
        };
        let Shelved { meta, mut body } = match offered {
            Ok(offered) => offered,
            Err(reason) => {
                let refusal = Refusal {
                    cluster: shared.group().cluster.clone(),
                    ..Refusal::because(reason.clone())
                };
                within(STALLED, writer.send(Body::Refusal(refusal))).await?;
                return Err(Ended::Refused(reason));
            }
        };
        let resumes = fetch.resume == meta.slot.0 && fetch.offset <= meta.size;
        let mut at = if resumes { fetch.offset } else { 0 };
        within(STALLED, writer.send(Body::Offer(offer(&meta, at)))).await?;
        while at < meta.size {
            let length = PIECE.min(meta.size - at);
            let read = tokio::task::spawn_blocking(move || {
                let bytes = body.read(at, length as usize);
                (body, bytes)
            });
            let (still_open, bytes) = read.await.map_err(io::Error::other)?;
            let bytes = bytes.map_err(io::Error::other)?;
            let sum = crc32c::crc32c(&bytes);
            within(STALLED, writer.send(Body::Piece(Piece { bytes, sum }))).await?;
            body = still_open;
            at += length;
        }
        Ok(())
    }

    async fn newest(&self, fetch: &Fetch) -> Result<Shelved, String> {
        let (shelf, wanted) = (self.shelf.clone(), Slot(fetch.slot));
        let found = tokio::task::spawn_blocking(move || shelf.newest()).await;
        let found = found.map_err(|error| error.to_string())?;
        match found.map_err(|error| chain(&error))? {
            Some(found) if found.meta.slot >= wanted => Ok(found),
            _ => Err(format!(
                "there is no checkpoint here that reaches slot {wanted}"
            )),
        }
    }
}

fn busy() -> String {
    format!("{MOST} others are being sent a checkpoint")
}

fn judge(shared: &Shared, fetch: &Fetch) -> Result<(), String> {
    let group = shared.group();
    if fetch.version != VERSION {
        return Err(format!(
            "it speaks version {}, this node {VERSION}",
            fetch.version
        ));
    }
    if group.cluster.is_empty() || fetch.cluster != group.cluster {
        let (theirs, ours) = (hex(&fetch.cluster), hex(&group.cluster));
        return Err(format!("it is of cluster {theirs}, this node of {ours}"));
    }
    Ok(())
}

fn offer(meta: &Meta, offset: u64) -> Offer {
    Offer {
        slot: meta.slot.0,
        ballot: Some(meta.ballot.into()),
        size: meta.size,
        sum: meta.sum,
        offset,
        head: meta.head,
    }
}

impl TryFrom<&Offer> for Meta {
    type Error = &'static str;

    fn try_from(offer: &Offer) -> Result<Self, Self::Error> {
        let ballot = offer.ballot.ok_or("its checkpoint has no ballot")?;
        if offer.size == 0 || offer.slot == 0 {
            return Err("its checkpoint is empty");
        }
        Ok(Meta {
            slot: Slot(offer.slot),
            ballot: ballot.into(),
            size: offer.size,
            sum: offer.sum,
            head: offer.head,
        })
    }
}
