//! How a node without a vote finds a voter, holds on to it, and finds another when it is gone.
//!
//! It remembers all voters it was ever told of; where it knows none it calls those it was started with. It tells its
//! voter what it serves, and asks it what it must ask of the leader. Alone it serves on, and calls again and again.

use std::io;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::codec;
use super::connection::{self, Reader, Writer};
use super::feeding::BEAT;
use super::founding::Founding;
use super::frame::{Beat, Body, Follow, Leave, VERSION, Welcome};
use super::handshake::HANDSHAKE;
use super::links::Outbound;
use super::orders;
use super::shared::{Event, Heartbeat, Shared};
use super::status::State;
use super::transport::{Ended, within};
use crate::config::Address;
use crate::paxos::{Message, NodeId, Slot};

const CONNECT: Duration = Duration::from_secs(1);
/// A voter that says nothing for so long is left for another.
const SILENCE: Duration = Duration::from_millis(3 * BEAT.as_millis() as u64);
/// So long a voter may be without a leader before another is tried, which may have one.
const LEADERLESS: Duration = Duration::from_secs(3);
/// Between two rounds in which no voter took it.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LAST_BACKOFF: Duration = Duration::from_secs(2);
/// To say that it leaves.
const PARTING: Duration = Duration::from_secs(1);
/// Bytes taken in and not yet durable, in KiB: the stream waits for the disk.
const ROOM: usize = 16 << 10;

/// A node without a vote, towards its voter.
pub(super) struct Following {
    pub(super) shared: Arc<Shared>,
    pub(super) founding: Arc<Founding>,
    /// The voters it was started with.
    pub(super) join: Vec<Address>,
    /// Where peers can reach it, once it has a vote.
    pub(super) peer: Option<Address>,
    pub(super) stop: CancellationToken,
}

impl Following {
    /// Follows whenever this node has no vote, until it is stopped.
    pub(super) async fn run(self) {
        let mut group = self.shared.group_changes();
        loop {
            let without_a_vote = async {
                let known = group.wait_for(|group| group.follower.is_some()).await;
                known.map(|known| known.me).ok()
            };
            let Some(Some(number)) = self.stop.run_until_cancelled(without_a_vote).await else {
                return;
            };
            if number > 0 {
                self.wait_for_successors().await;
                let _ = self.shared.inbox.push(Event::Demoted);
                // The replica's thread takes its time, and does not come to it where it has failed.
                let demoted = group.wait_for(|group| group.me == 0);
                if self.stop.run_until_cancelled(demoted).await.is_none() {
                    return;
                }
            }
            // Cancelling either drops the connection, which is what its end means.
            tokio::select! {
                _ = group.wait_for(|group| group.follower.is_none()) => {}
                () = self.search() => {}
            }
        }
    }

    /// Returns once those that vote in place of this node, which did until now, have a leader, or at the stop. Until
    /// then a voter that has missed the end of the epoch may have nobody else to learn of it.
    async fn wait_for_successors(&self) {
        let mut backoff = FIRST_BACKOFF;
        while !self.stop.is_cancelled() {
            for address in self.addresses(None) {
                let asked = self.stop.run_until_cancelled(self.has_successors(&address));
                match asked.await {
                    Some(Ok(false)) => {}
                    Some(Ok(true)) | None => return,
                    Some(Err(ended)) => {
                        tracing::debug!(
                            "a voter does not feed this node: {}",
                            why(&address, Err(ended))
                        );
                    }
                }
            }
            let pause = sleep(backoff.mul_f64(rand::random_range(0.5..1.0)));
            self.stop.run_until_cancelled(pause).await;
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
    }

    /// Whether the voter at `address` has a leader in a later epoch, in which this node has no vote: then a majority
    /// has entered that epoch, and hands over all that was decided before. What is fed says less: this node may not
    /// have applied all of its own epoch. (`one_that_waits_for_an_upgrade_hands_over_as_all_do`)
    pub(super) async fn has_successors(&self, address: &str) -> Result<bool, Ended> {
        let slot = *self.shared.decided.borrow();
        let (mut welcome, mut reader, _writer) = self.call(address, slot).await?;
        reader.trust();
        let (began, number) = (Instant::now(), self.shared.group().me);
        while began.elapsed() < SILENCE
            && let Some(body) = within(SILENCE, reader.next()).await?
        {
            match body {
                Body::Welcome(news) => welcome = news,
                // It knows no earlier epoch than this node's: else it would not be followed.
                Body::Beat(beat) if beat.leader > 0 && beat.epoch == welcome.epoch => {
                    return Ok(welcome.voters.iter().all(|voter| voter.id != number));
                }
                Body::Refusal(refusal) => return Err(Ended::Refused(refusal.reason)),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Follows one voter after the other until it is stopped.
    async fn search(&self) {
        let mut backoff = FIRST_BACKOFF;
        let mut last = None;
        while !self.stop.is_cancelled() {
            let mut served = false;
            for address in self.addresses(last.as_deref()) {
                if self.stop.is_cancelled() {
                    return;
                }
                let since = Instant::now();
                let ended = self.follow(&address).await;
                // To hold for a while is a success: the next search begins afresh, at another voter.
                served = since.elapsed() > SILENCE;
                self.is_alone(&address, ended);
                if served {
                    last = Some(address);
                    break;
                }
            }
            if served {
                backoff = FIRST_BACKOFF;
            }
            // Jitter: a voter that dies is missed by all its followers at once.
            let pause = sleep(backoff.mul_f64(rand::random_range(0.2..1.0)));
            self.stop.run_until_cancelled(pause).await;
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
    }

    /// Whom to call, in order: the voters it knows as luck has them, so that followers spread, but last the one it
    /// has just lost; then those that followers told it of, and those it was started with. Never itself, which may not
    /// know yet that it is one of them.
    fn addresses(&self, lost: Option<&str>) -> Vec<String> {
        let group = self.shared.group();
        let own = self.peer.as_ref().map(ToString::to_string);
        let callable = |at: &String| !at.is_empty() && Some(at) != own.as_ref();
        let others = group.members.iter().filter(|member| member.id != group.me);
        let known = others.map(|member| member.address.clone());
        let mut addresses: Vec<String> = known.filter(callable).collect();
        addresses.shuffle(&mut rand::rng());
        addresses.sort_by_key(|address| Some(address.as_str()) == lost);
        let told = self.founding.told_of().into_iter();
        let named = self.join.iter().map(ToString::to_string);
        for told in told.chain(named).filter(callable) {
            if !addresses.contains(&told) {
                addresses.push(told);
            }
        }
        addresses
    }

    /// Follows the voter at `address` as long as it can be followed.
    async fn follow(&self, address: &str) -> Result<(), Ended> {
        let slot = *self.shared.decided.borrow();
        let welcomed = self
            .stop
            .run_until_cancelled(self.call(address, slot))
            .await;
        let Some(welcomed) = welcomed else {
            return Ok(());
        };
        let (welcome, mut reader, writer) = welcomed?;
        let voter = NodeId(welcome.me);
        let shared = &self.shared;
        tracing::info!(%address, voter = %voter, "this node follows a voter");
        reader.trust();
        let outbound = shared.links.open(voter, |_| shared.calls.lost(voter));
        let link = Link {
            shared,
            voter,
            number: outbound.number,
        };
        shared.stand(|standing| {
            standing.voter = Some(voter);
            if matches!(standing.state, State::Joining { .. } | State::Alone { .. }) {
                standing.state = State::Running;
            }
        });
        shared.links.send(voter, shared.reports.frame(shared));
        // Whichever ends first ends the other: the connection is of no use without either.
        let ended = tokio::select! {
            ended = self.listen(reader, slot) => ended,
            ended = self.tell(outbound, writer) => ended.map_err(Ended::Broken),
        };
        drop(link);
        ended
    }

    /// Says who this node is, and that it wants what is behind `slot`; gives what the voter answers to it.
    async fn call(&self, address: &str, slot: Slot) -> Result<(Welcome, Reader, Writer), Ended> {
        let connected = connection::connect(self.shared.tls.as_deref(), address);
        let (mut reader, mut writer) = within(CONNECT, connected).await?;
        let group = self.shared.group();
        let own = group.own().cloned().unwrap_or_default();
        let follow = Follow {
            version: VERSION,
            name: own.name,
            instance: own.instance,
            cluster: group.cluster.clone(),
            slot: slot.0,
            epoch: group.epoch,
            peer: self
                .peer
                .as_ref()
                .map(Address::to_string)
                .unwrap_or_default(),
        };
        writer.send(Body::Follow(follow)).await?;
        match within(HANDSHAKE, reader.next()).await? {
            Some(Body::Welcome(welcome)) => {
                let speaker = welcome.speaker().unwrap_or_default();
                reader.vouches(speaker).map_err(Ended::Refused)?;
                self.welcomed(welcome.clone()).await?;
                Ok((welcome, reader, writer))
            }
            Some(Body::Refusal(refusal)) => {
                self.founding.hears_of(&refusal);
                Err(Ended::Refused(refusal.reason))
            }
            Some(_) => Err(Ended::Refused("it does not answer as a voter".to_owned())),
            None => Err(Ended::Broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// What the voter says of the group is durable here when this returns: off the runtime's threads, for it may wait
    /// for the disk.
    async fn welcomed(&self, welcome: Welcome) -> Result<(), Ended> {
        let founding = self.founding.clone();
        let taken = tokio::task::spawn_blocking(move || founding.welcomed(&welcome)).await;
        taken.map_err(io::Error::other)?.map_err(Ended::Refused)
    }

    /// Takes what the voter says, whose entries are those behind `through`.
    async fn listen(&self, mut reader: Reader, mut through: Slot) -> Result<(), Ended> {
        let shared = &self.shared;
        let room = Arc::new(Semaphore::new(ROOM));
        let mut led = Instant::now();
        while let Some(body) = within(SILENCE, reader.next()).await? {
            match body {
                Body::Entries(bytes) => {
                    let weight = (bytes.len() >> 10).clamp(1, ROOM) as u32;
                    let message = codec::decode(bytes).map_err(io::Error::other)?;
                    let Message::Chunk { first, entries, .. } = message else {
                        return Err(Ended::Refused("it sends what no follower takes".to_owned()));
                    };
                    if first > through.next() {
                        let why =
                            format!("it has left out what is between slots {through} and {first}");
                        return Err(Ended::Refused(why));
                    }
                    through = through.max(first.plus(entries.len()).previous());
                    // The semaphore is never closed.
                    let Ok(room) = room.clone().acquire_many_owned(weight).await else {
                        return Ok(());
                    };
                    // After its end the thread takes nothing: the status says why.
                    let _ = shared.inbox.push(Event::Entries {
                        first,
                        entries,
                        room,
                    });
                }
                Body::Beat(beat) => {
                    self.beat(&beat);
                    if beat.leader > 0 {
                        led = Instant::now();
                    } else if led.elapsed() > LEADERLESS {
                        return Err(Ended::Refused("it knows no leader".to_owned()));
                    }
                }
                Body::Fetch(fetch) => {
                    let voter = shared.standing.borrow().voter;
                    let wanted = voter.map(|voter| (voter, Slot(fetch.slot).next()));
                    shared.wanted.send_replace(wanted);
                }
                Body::Welcome(welcome) => self.welcomed(welcome).await?,
                Body::Answer(answer) => {
                    let fate = answer.fate.into();
                    self.asked(|voter| shared.calls.answered(voter, answer.request, fate));
                }
                Body::ReadAnswer(answer) => {
                    self.asked(|voter| shared.calls.read(voter, answer.request, answer.slot));
                }
                Body::Ordered(answer) => {
                    let fulfilled = orders::fulfilled(answer.verdict);
                    self.asked(|voter| shared.calls.ordered(voter, answer.request, fulfilled));
                }
                Body::KeptAlive(told) => {
                    self.asked(|voter| shared.calls.kept(voter, told));
                }
                Body::Nodes(answer) => {
                    self.asked(|voter| shared.calls.listed(voter, answer.request, answer.nodes));
                }
                Body::Refusal(refusal) => return Err(Ended::Refused(refusal.reason)),
                _ => {}
            }
        }
        Ok(())
    }

    fn beat(&self, beat: &Beat) {
        let shared = &self.shared;
        let heartbeat = Heartbeat {
            at: Instant::now(),
            slot: beat.slot,
            age: Duration::from_millis(beat.age),
            led: beat.leader > 0,
        };
        *shared
            .heartbeat
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(heartbeat);
        shared.stand(|standing| {
            standing.leader = Some(NodeId(beat.leader)).filter(|leader| leader.0 > 0);
        });
        let _ = shared.inbox.push(Event::Digest {
            slot: beat.slot,
            digest: beat.digest,
        });
    }

    fn asked(&self, answer: impl FnOnce(NodeId)) {
        if let Some(voter) = self.shared.standing.borrow().voter {
            answer(voter);
        }
    }

    /// Writes what is queued; at a clean stop the last word is that this node leaves.
    async fn tell(&self, mut outbound: Outbound, mut writer: Writer) -> io::Result<()> {
        let mut frames = Vec::new();
        loop {
            // Cancelling the first loses frames that nobody waits for any more.
            tokio::select! {
                () = outbound.take(&mut frames) => {}
                () = self.stop.cancelled() => {
                    if self.shared.leaving.load(Relaxed) {
                        within(PARTING, writer.send(Body::Leave(Leave {}))).await?;
                    }
                    return Ok(());
                }
            }
            if frames.is_empty() {
                return Ok(());
            }
            writer.write(&mut frames).await?;
        }
    }

    /// No voter feeds it now.
    fn is_alone(&self, address: &str, ended: Result<(), Ended>) {
        let why = why(address, ended);
        let stranger = self.shared.group().cluster.is_empty();
        self.shared.stand(|standing| {
            let new = match &standing.state {
                State::Joining { why: before } | State::Alone { why: before } => *before != why,
                _ => true,
            };
            if new && !self.stop.is_cancelled() {
                tracing::warn!("this node follows nobody: {why}");
            }
            match standing.state {
                State::Running | State::Joining { .. } | State::Alone { .. } => {
                    standing.state = match stranger {
                        true => State::Joining { why },
                        false => State::Alone { why },
                    };
                }
                _ => {}
            }
        });
    }
}

/// Why the voter at `address` does not feed this node.
fn why(address: &str, ended: Result<(), Ended>) -> String {
    match ended {
        Ok(()) => format!("{address} has closed the connection"),
        Err(Ended::Broken(error)) => format!("{address} cannot be reached: {error}"),
        Err(Ended::Refused(why)) => format!("{address}: {why}"),
    }
}

/// The connection by which this node asks; dropping it says that it no longer can.
struct Link<'a> {
    shared: &'a Shared,
    voter: NodeId,
    number: u64,
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        let shared = self.shared;
        shared.links.close(self.voter, self.number, || ());
        shared.calls.lost(self.voter);
        shared.stand(|standing| {
            // A node that has come to vote has a leader of its own finding by now.
            if standing.voter == Some(self.voter) {
                (standing.voter, standing.leader) = (None, None);
            }
        });
    }
}
