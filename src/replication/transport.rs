//! The connections between voters: one for each pair, dialled by the one with the lower id, kept up for ever. The other
//! one calls only where it waits in vain.
//!
//! Both ends say hello and judge the other's (see `group`); then frames go both ways. A connection on which nothing is
//! heard for a while is dead, whatever TCP thinks.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Reader, Writer};
use super::founding::{Accepted, Founding};
use super::frame::Body;
use super::group::Member;
use super::handshake::Called;
use super::links::Outbound;
use super::offering::Offering;
use super::serve::Server;
use super::shared::{Event, Shared};
use crate::paxos::NodeId;

/// Both ends report every second, so this is a silence of several reports.
const SILENCE: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(20);
const LAST_BACKOFF: Duration = Duration::from_secs(1);
/// After a refusal, which only an operator can lift.
const REFUSED_BACKOFF: Duration = Duration::from_secs(5);
/// So long a voter waits to be called: it may have been removed while it was away, and then nobody calls it any more.
/// (`one_that_was_away_when_it_was_removed_follows_when_it_is_back`)
const MISSED: Duration = Duration::from_secs(3);
/// Callers that have not said who they are.
const MAX_HANDSHAKES: usize = 64;

/// The connections of one node.
pub(super) struct Transport {
    pub(super) shared: Arc<Shared>,
    pub(super) founding: Arc<Founding>,
    /// The checkpoints that peers may have.
    pub(super) offering: Offering,
    pub(super) stop: CancellationToken,
}

/// How a connection came to its end.
pub(super) enum Ended {
    /// It was up, and is no longer.
    Broken(io::Error),
    /// One end does not accept the other.
    Refused(String),
}

impl From<io::Error> for Ended {
    /// No TLS is a matter for operators, as a refusal is; a connection that ends is not.
    fn from(error: io::Error) -> Self {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(error) => Self::Refused(format!("no TLS with it: {error}")),
            None => Self::Broken(error),
        }
    }
}

impl Transport {
    /// Starts to listen and to dial, in tasks of `tracker`.
    pub(super) fn start(self: Arc<Self>, listener: Option<TcpListener>, tracker: &TaskTracker) {
        let (transport, dialling) = (self.clone(), tracker.clone());
        tracker.spawn(async move {
            let stop = transport.stop.clone();
            stop.run_until_cancelled(transport.dial_all(dialling)).await;
        });
        if let Some(listener) = listener {
            let tasks = tracker.clone();
            tracker.spawn(async move {
                let accept = self.clone().accept(listener, tasks);
                self.stop.run_until_cancelled(accept).await;
            });
        }
    }

    /// Dials every other voter, and those that come.
    async fn dial_all(self: Arc<Self>, tasks: TaskTracker) {
        let mut groups = self.shared.group_changes();
        let mut dialled: BTreeMap<NodeId, CancellationToken> = BTreeMap::new();
        loop {
            let group = groups.borrow_and_update().clone();
            if group.me == 0 {
                // A follower has no number, and dials one voter at a time by other rules.
                dialled.values().for_each(CancellationToken::cancel);
                dialled.clear();
            }
            let others = |member: &&Member| group.me > 0 && member.id != group.me;
            for peer in group.members.iter().filter(others).map(|m| NodeId(m.id)) {
                let Entry::Vacant(new) = dialled.entry(peer) else {
                    continue;
                };
                let end = new.insert(self.stop.child_token()).clone();
                let transport = self.clone();
                tasks.spawn(async move {
                    // Cancelling drops the connection, which is what its end means.
                    end.run_until_cancelled(transport.dial(peer)).await;
                });
            }
            if groups.changed().await.is_err() {
                return;
            }
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker) {
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        loop {
            // The semaphore is never closed; without a permit nobody else is let in.
            let Ok(permit) = handshakes.clone().acquire_owned().await else {
                return;
            };
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or the caller has gone: neither ends the listener.
                    tracing::warn!("cannot accept a peer: {error}");
                    sleep(FIRST_BACKOFF).await;
                    continue;
                }
            };
            let transport = self.clone();
            tasks.spawn(async move {
                let answer = async {
                    let called = transport.answer(stream).await?;
                    drop(permit);
                    match called {
                        Called::Voter(accepted, reader, writer) => {
                            transport.converse(accepted, reader, writer).await
                        }
                        Called::Follower(feeding, reader, writer) => {
                            feeding.run(reader, writer).await
                        }
                        Called::Fetcher(fetch, writer) => {
                            let shared = &transport.shared;
                            transport.offering.serve(shared, fetch, writer).await
                        }
                    }
                };
                match transport.stop.run_until_cancelled(answer).await {
                    Some(Err(Ended::Refused(why))) => {
                        tracing::warn!(%from, "refused a peer: {why}")
                    }
                    Some(Err(Ended::Broken(error))) => {
                        tracing::debug!(%from, "a peer has gone: {error}")
                    }
                    Some(Ok(())) | None => {}
                }
            });
        }
    }

    /// Keeps a connection to `peer` up.
    async fn dial(self: Arc<Self>, peer: NodeId) {
        let mut backoff = FIRST_BACKOFF;
        loop {
            if peer < NodeId(self.shared.group().me) {
                self.misses(peer).await;
            }
            let Some((name, address)) = self.whereabouts(peer) else {
                return;
            };
            let connected = async {
                let (accepted, reader, writer) = self.call(peer, &name, &address).await?;
                tracing::debug!(peer = %name, "connected");
                self.converse(accepted, reader, writer).await
            };
            let since = tokio::time::Instant::now();
            match connected.await {
                Err(Ended::Refused(why)) => {
                    tracing::warn!(peer = %name, %address, "no connection to a peer: {why}");
                    backoff = REFUSED_BACKOFF;
                }
                Err(Ended::Broken(error)) => {
                    tracing::debug!(peer = %name, "no connection: {error}")
                }
                Ok(()) => {}
            }
            if since.elapsed() > SILENCE {
                backoff = FIRST_BACKOFF;
            }
            // Jitter, so that nodes that lost each other do not all knock at once.
            sleep(backoff.mul_f64(rand::random_range(0.5..1.0))).await;
            backoff = (backoff * 2).min(LAST_BACKOFF);
        }
    }

    /// Returns when this node has waited to be called by `peer` in vain.
    async fn misses(&self, peer: NodeId) {
        loop {
            sleep(MISSED).await;
            if !self.shared.links.connected(peer) {
                return;
            }
        }
    }

    fn whereabouts(&self, peer: NodeId) -> Option<(String, String)> {
        let group = self.shared.group();
        group
            .member(peer)
            .map(|member| (member.name.clone(), member.address.clone()))
    }

    /// Carries frames both ways until one side ends it.
    async fn converse(
        &self,
        with: Accepted,
        mut reader: Reader,
        writer: Writer,
    ) -> Result<(), Ended> {
        let (shared, peer) = (&self.shared, with.peer);
        reader.trust();
        let outbound = shared.links.open(peer, |replaced| {
            if replaced {
                shared.calls.lost(peer);
                let _ = shared.inbox.push(Event::Disconnected(peer));
            }
            let _ = shared.inbox.push(Event::Connected(peer));
        });
        let open = Open {
            shared,
            peer,
            number: outbound.number,
        };
        // What was said at the handshake may be old by now.
        shared
            .links
            .send(peer, Body::Hello(shared.group().hello("")));
        shared.links.send(peer, shared.reports.frame(shared));
        if with.settled {
            self.settled();
        }
        let mut group = shared.group_changes();
        // Whichever ends first ends the others: the connection is of no use without any of them.
        let ended = tokio::select! {
            ended = self.read(peer, open.number, reader) => ended,
            ended = write(outbound, writer) => ended.map_err(Ended::Broken),
            _ = group.wait_for(|group| group.me == 0) => Ok(()),
        };
        drop(open);
        ended
    }

    /// The membership is durable here: the other voters wait to hear it.
    fn settled(&self) {
        self.shared
            .links
            .broadcast(Body::Hello(self.shared.group().hello("")));
    }

    async fn read(&self, peer: NodeId, number: u64, mut reader: Reader) -> Result<(), Ended> {
        let server = Server::new(self.shared.clone(), peer, number);
        while let Some(body) = within(SILENCE, reader.next()).await? {
            match body {
                Body::Hello(hello) => match self.meet(hello, &reader).await? {
                    Ok(accepted) if accepted.settled => self.settled(),
                    Ok(_) => {}
                    Err(refusal) => {
                        let reason = refusal.reason.clone();
                        self.shared.links.send(peer, Body::Refusal(refusal));
                        return Err(Ended::Refused(reason));
                    }
                },
                Body::Refusal(refusal) => return Err(self.refused(refusal).await?),
                body => server.take(body)?,
            }
        }
        Ok(())
    }
}

/// A connection that peers' messages may take; dropping it says that they no longer can.
struct Open<'a> {
    shared: &'a Shared,
    peer: NodeId,
    number: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let (shared, peer) = (self.shared, self.peer);
        shared.links.close(peer, self.number, || {
            shared.calls.lost(peer);
            let _ = shared.inbox.push(Event::Disconnected(peer));
        });
    }
}

async fn write(mut outbound: Outbound, mut writer: Writer) -> io::Result<()> {
    let mut frames = Vec::new();
    loop {
        outbound.take(&mut frames).await;
        if frames.is_empty() {
            return Ok(());
        }
        writer.write(&mut frames).await?;
    }
}

/// Something that must not take longer.
pub(super) async fn within<T>(
    limit: Duration,
    what: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(limit, what)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
