//! A voter's end of a follower's connection: who may follow, what it is sent, and what it asks.
//!
//! Sent are the group, what is decided behind the follower's slot (from the log, then from the feed that all share),
//! and beats. What it asks of the leader is asked by this voter in its stead. Nothing here waits for a follower but its
//! own task: one that does not read is cut off, and begins again where it stopped.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::connection::{Reader, Writer};
use super::feed::{self, Found};
use super::frame::{
    Answer, Beat, Body, Fate, Fetch, Follow, Forward, KeepAlive, Nodes, Read, ReadAnswer, Refusal,
};
use super::keeper;
use super::shared::{Event, Fetched, Shared};
use super::transport::{Ended, within};
use super::{Handle, ProposeError};
use crate::paxos::{Ballot, NodeId, Slot};
use crate::state::{Machine, Proposal, SessionId};

/// Between two beats: a follower takes a voter for lost after a few of them.
pub(super) const BEAT: Duration = Duration::from_millis(500);
/// Followers of one voter, at most.
const MAX_FOLLOWERS: usize = 4096;
/// A follower that takes nothing for so long is cut off.
const STALLED: Duration = Duration::from_secs(5);
/// A follower reports every second.
const SILENCE: Duration = Duration::from_secs(5);
/// Questions of one follower that may wait at once, and answers to it.
const MAX_QUESTIONS: usize = 256;
/// How long this voter tries on behalf of a follower, which has a deadline of its own.
const ASKING: Duration = Duration::from_secs(4);

/// One follower of this voter.
pub(super) struct Feeding {
    shared: Arc<Shared>,
    follow: Follow,
    connection: CancellationToken,
}

impl Feeding {
    /// Accepts a follower, or tells it why not.
    pub(super) fn admit(shared: &Arc<Shared>, follow: Follow) -> Result<Self, Refusal> {
        let group = shared.group();
        let refuse = |reason| Refusal {
            wiped: false,
            reason,
            cluster: group.cluster.clone(),
            ..Refusal::default()
        };
        let known = |reason| Refusal {
            known: group.has_no_vote("").and_then(|it| it.known),
            ..refuse(reason)
        };
        group.admits(&follow).map_err(known)?;
        if follow.epoch > epoch(shared) {
            return Err(refuse("this voter knows an older membership".to_owned()));
        }
        if let Some(why) = shared.standing.borrow().state.failure() {
            return Err(refuse(format!("its replica takes no part: {why}")));
        }
        if shared.feed.readers() >= MAX_FOLLOWERS {
            let why = format!("it feeds {MAX_FOLLOWERS} followers already");
            return Err(refuse(why));
        }
        let lag = shared.applied.borrow().saturating_sub(follow.slot);
        let connection = shared.reports.followers.admit(&follow, lag);
        let connection = connection.map_err(refuse)?;
        Ok(Self {
            shared: shared.clone(),
            follow,
            connection,
        })
    }

    /// Feeds it until either end has enough.
    pub(super) async fn run(self, mut reader: Reader, writer: Writer) -> Result<(), Ended> {
        reader.trust();
        self.shared.reports.bump();
        self.shared.reports.news.notify_one();
        let (answers, answered) = mpsc::channel(MAX_QUESTIONS);
        let mut group = self.shared.group_changes();
        // Whichever ends first ends the others: the connection is of no use without any of them.
        let ended = tokio::select! {
            _ = group.wait_for(|group| group.me == 0) => {
                Err(Ended::Refused("this node has no vote any more".to_owned()))
            }
            ended = self.listen(reader, answers) => ended,
            ended = self.tell(writer, answered) => ended,
            () = self.connection.cancelled() => {
                Err(Ended::Refused("another connection or node took its place".to_owned()))
            }
        };
        let followers = &self.shared.reports.followers;
        followers.parted(&self.follow.instance, &self.connection);
        self.shared.reports.bump();
        ended
    }

    /// Takes what the follower says.
    async fn listen(&self, mut reader: Reader, answers: mpsc::Sender<Bytes>) -> Result<(), Ended> {
        let shared = &self.shared;
        let questions = Arc::new(Semaphore::new(MAX_QUESTIONS));
        while let Some(body) = within(SILENCE, reader.next()).await? {
            let question = match body {
                Body::Report(report) => {
                    let applied = *shared.applied.borrow();
                    let followers = &shared.reports.followers;
                    if followers.told(&self.follow.instance, report, applied) {
                        shared.reports.bump();
                        shared.reports.news.notify_one();
                    }
                    continue;
                }
                Body::Leave(_) => {
                    shared.reports.followers.left(&self.follow.instance);
                    shared.reports.news.notify_one();
                    return Ok(());
                }
                body => body,
            };
            // A question beyond the bound stays unanswered, and whoever asked gives up in time.
            let Ok(permit) = questions.clone().try_acquire_owned() else {
                continue;
            };
            let (shared, answers) = (shared.clone(), answers.clone());
            tokio::spawn(async move {
                if let Some(answer) = answer(shared, question).await {
                    // It may have gone; and as many may ask as can be answered.
                    let _ = answers.try_send(feed::encode(answer));
                }
                drop(permit);
            });
        }
        Ok(())
    }

    /// Sends the group, then what is decided, for ever.
    async fn tell(
        &self,
        mut writer: Writer,
        mut answers: mpsc::Receiver<Bytes>,
    ) -> Result<(), Ended> {
        let shared = &self.shared;
        let mut group = shared.group_changes();
        let mut standing = shared.standing.subscribe();
        let mut moved = shared.feed.moved.subscribe();
        let mut reader = shared.feed.reader();
        let welcome = || feed::encode(Body::Welcome(shared.group().welcome(epoch(shared))));
        send(
            &mut writer,
            &[welcome(), feed::encode(Body::Beat(beat(shared)))],
        )
        .await?;
        let mut at = Slot(self.follow.slot);
        at = self.catch_up(&mut writer, at).await?;
        while !reader.seek(at) {
            at = self.catch_up(&mut writer, at).await?;
        }
        loop {
            let frames = match reader.take() {
                Found::Frames(frames) => frames,
                // What its socket did not take in time would have to be kept for it; and what came here by a checkpoint
                // must come there by one.
                Found::Behind => {
                    let why = "what it lacks is not kept for it: it must come again";
                    return Err(Ended::Refused(why.to_owned()));
                }
            };
            if !frames.is_empty() {
                send(&mut writer, &frames).await?;
                continue;
            }
            // Cancelling any of these loses nothing: what is sent is read afresh.
            tokio::select! {
                _ = moved.changed() => {}
                answer = answers.recv() => match answer {
                    Some(answer) => send(&mut writer, &[answer]).await?,
                    None => return Ok(()),
                },
                _ = group.changed() => send(&mut writer, &[welcome()]).await?,
                _ = standing.changed() => {
                    if standing.borrow_and_update().state.failure().is_some() {
                        return Err(Ended::Refused("this voter's replica has failed".to_owned()));
                    }
                }
            }
        }
    }

    /// Sends what the replica has behind `at`; gives how far that goes.
    async fn catch_up(&self, writer: &mut Writer, mut at: Slot) -> Result<Slot, Ended> {
        loop {
            let (reply, receiver) = oneshot::channel();
            let asked = self.shared.inbox.push(Event::Fetch { after: at, reply });
            let gone = || Ended::Refused("this voter's replica has ended".to_owned());
            asked.map_err(|_| gone())?;
            match receiver.await.map_err(|_| gone())? {
                Fetched::Entries(entries) if entries.is_empty() => return Ok(at),
                Fetched::Entries(entries) => {
                    let first = at.next();
                    at = at.plus(entries.len());
                    send(writer, &[feed::frame(first, entries)]).await?;
                }
                Fetched::Compacted(start) => {
                    // It fetches a checkpoint on another connection, and comes again.
                    let fetch = Fetch {
                        slot: start.previous().0,
                        ..Fetch::default()
                    };
                    send(writer, &[feed::encode(Body::Fetch(fetch))]).await?;
                    let why = format!("the log no longer holds what follows slot {at}");
                    return Err(Ended::Refused(why));
                }
            }
        }
    }
}

/// Sends frames, but waits no longer than a follower may stall.
async fn send(writer: &mut Writer, frames: &[Bytes]) -> io::Result<()> {
    for frame in frames {
        within(STALLED, writer.raw(frame)).await?;
    }
    Ok(())
}

/// What a follower asked, answered as this voter can.
async fn answer(shared: Arc<Shared>, question: Body) -> Option<Body> {
    let handle = Handle(shared);
    match question {
        Body::Forward(Forward { request, command }) => {
            let fate = match Proposal::read(command) {
                Ok(proposal) => match handle.propose(proposal, ASKING).await {
                    Ok(outcome) => Fate::Applied(outcome.encode()),
                    Err(error) => error.into(),
                },
                Err(error) => Fate::NotProposed(error.to_string()),
            };
            let fate = Some(fate);
            Some(Body::Answer(Answer { request, fate }))
        }
        Body::Read(Read { request }) => {
            let deadline = tokio::time::Instant::now() + ASKING;
            let slot = handle.read_slot(deadline).await.ok();
            Some(Body::ReadAnswer(ReadAnswer { request, slot }))
        }
        Body::Order(order) => Some(handle.obey(order).await),
        Body::KeepAlive(KeepAlive { request, sessions }) => {
            let sessions: Vec<SessionId> = sessions.into_iter().map(SessionId).collect();
            let lives = handle.keep_alive(&sessions, ASKING).await.ok();
            Some(Body::KeptAlive(keeper::told(request, lives)))
        }
        Body::Ask(Read { request }) => {
            let nodes = handle.0.reports.list(&handle.0);
            Some(Body::Nodes(Nodes { request, nodes }))
        }
        _ => None,
    }
}

/// Wakes the followers' tasks as things are decided, and tells them now and then that this voter lives.
pub(super) async fn pump(shared: Arc<Shared>) {
    let mut period = tokio::time::interval(BEAT);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // Cancelling either loses nothing: a notice that comes later is kept.
        tokio::select! {
            () = shared.feed.pushed.notified() => shared.feed.wake(),
            _ = period.tick() => if shared.feed.readers() > 0 {
                shared.feed.tell(Body::Beat(beat(&shared)));
            },
        }
    }
}

fn epoch(shared: &Shared) -> u32 {
    shared.standing.borrow().ballot.epoch.0
}

fn beat(shared: &Shared) -> Beat {
    let (slot, digest) = shared.inspect(|machine: &Machine| (machine.applied(), machine.digest()));
    // Of one moment: a leader is one of its epoch.
    let (leader, Ballot { epoch, .. }) = {
        let standing = shared.standing.borrow();
        (standing.leader, standing.ballot)
    };
    let age = leader.and_then(|leader| shared.reports.last_heard(shared, leader));
    Beat {
        slot,
        digest,
        epoch: epoch.0,
        leader: leader.map_or(0, |NodeId(leader)| leader),
        age: age.map_or(0, |at: Instant| at.elapsed().as_millis() as u64),
    }
}

impl From<ProposeError> for Fate {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotProposed { why } => Self::NotProposed(why),
            ProposeError::Unknown { why } => Self::Unknown(why),
        }
    }
}
